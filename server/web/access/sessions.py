"""Sessions of people: opened at login, found by their cookie, ended. Their rows are in store/sessions.py.

A session is a row in PostgreSQL, so that it is valid on every node and needs no Redis; of its cookie only the hash is
kept. What was found good counts as good for a second without asking again. Nothing here compares passwords.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final, cast

import structlog
from msgspec import Struct

from server.store.connections import Pool
from server.store.query import DatabaseAway
from server.store.sessions import (
    OpenSession,
    delete_session,
    end_sessions_of,
    find_good_sessions,
    insert_session,
    note_session_use,
    sessions_of_user,
    sweep_sessions,
)
from server.store.users import PersonRole
from server.tasks import wait_until_set
from server.web.access.fresh_reads import FreshReads
from server.web.access.tokens import hashed
from server.web.http.caller import AsgiConnection, Call, Principal
from server.web.http.errors import CSRF_FAILED, Problem
from server.web.http.forms import read_fields

IDLE_SECONDS: Final = 12 * 3600.0
"""A session that was unused for this long has ended."""
LONGEST_SECONDS: Final = 7 * 86_400.0
"""A session ends this long after its login, even in use."""
USE_RECORDED_SECONDS: Final = 60.0
"""That a session is used is written down this often at most."""
LOOK_SECONDS: Final = 0.5
SWEEP_SECONDS: Final = 600.0
CACHE_LIMIT: Final = 5000
LISTED_LIMIT: Final = 200

COOKIE: Final = "callboard"
SECURE: Final = "__Host-"
"""The beginning of a secure cookie's name: other hosts of the domain cannot set it."""
SECURE_BELOW: Final = "__Secure-"
"""The same under a path: browsers take cookies with `__Host-` for whole hosts only."""
CSRF_HEADERS: Final = ("x-csrf-token", "x-csrftoken")
CSRF_FIELD: Final = "csrf_token"
CSRF_LIMIT: Final = 200
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
FORM: Final = "form"
"""The handler's `opt` which says that its body is a form with the CSRF token."""


log = structlog.get_logger(__name__)


class LoginSession(Struct, frozen=True):
    """A valid session. `token` is the cookie's value; `expires_at` is in Unix seconds, if it is not used again."""

    token: str
    user_id: str
    name: str
    role: PersonRole
    expires_at: float

    @property
    def principal(self) -> Principal:
        """The actor of this session's requests; the history shows their name."""
        return Principal(self.role, self.name, self.expires_at)


class Sessions:
    """This process's cache of sessions. `pool` returns the pool of the database, once it is open; `root` returns the
    path of the public URL.
    """

    def __init__(
        self, pool: Callable[[], Pool], secrets_: tuple[str, ...], *, secure: bool, root: Callable[[], str]
    ) -> None:
        self._pool = pool
        self._csrf_keys = [hashlib.sha256(b"callboard csrf\0" + secret.encode()).digest() for secret in secrets_]
        self._secure = secure
        self._root = root
        self._reads = FreshReads[LoginSession]("session", CACHE_LIMIT)
        self._on_end: dict[Callable[[], None], str] = {}
        self._look = asyncio.Event()

    # Finding

    async def of(self, connection: AsgiConnection) -> LoginSession | None:
        """The session of a request, by its cookie. Raises DatabaseAway if that cannot be found out now."""
        state = connection.scope["state"]
        if "session" not in state:
            token = connection.cookies.get(self.cookie_name(connection))
            state["session"] = await self.find(token) if token else None
        return cast("LoginSession | None", state["session"])

    async def principal(self, connection: AsgiConnection) -> Principal | None:
        """Who makes a request, by its cookie. Unsafe ones need the CSRF token. Raises 403 or DatabaseAway."""
        session = await self.of(connection)
        if session is None:
            return None
        if connection.scope.get("method", "GET") not in SAFE_METHODS:
            await self.check_csrf(connection, session)
        return session.principal

    async def find(self, token: str) -> LoginSession | None:
        """The valid session with this token, or None. Raises DatabaseAway."""
        if len(token) > CSRF_LIMIT:
            return None
        token_hash = hashed(token)
        return await self._reads.of(token_hash, lambda: self._read(token, token_hash))

    async def _read(self, token: str, token_hash: str) -> LoginSession | None:
        rows = await find_good_sessions(self._pool(), [token_hash], IDLE_SECONDS, USE_RECORDED_SECONDS)
        if not rows:
            return None
        found = rows[0]
        if found.is_use_old:
            try:
                await note_session_use(self._pool(), token_hash)
            except DatabaseAway as error:
                log.warning("session_use_not_recorded", reason=str(error))
        return LoginSession(token, found.user_id, found.name, found.role, found.expires_at)

    # Opening and ending

    async def open(self, user_id: str, client: str | None = None) -> str:
        """Create a session in a browser (`client`); returns its token, which is stored nowhere. Raises DatabaseAway."""
        token = secrets.token_urlsafe(32)
        await insert_session(self._pool(), hashed(token), user_id, LONGEST_SECONDS, client)
        return token

    async def all_of(self, user_id: str) -> list[OpenSession]:
        """The valid sessions of a user, the last used first. Raises DatabaseAway."""
        return await sessions_of_user(self._pool(), user_id, IDLE_SECONDS, LISTED_LIMIT)

    async def close_one(self, user_id: str, key: str) -> bool:
        """End the session of this user with this key, see `key_of`. Returns whether there is one. Raises
        DatabaseAway.
        """
        for one in await self.all_of(user_id):
            if key_of(one.token_hash) == key:
                await delete_session(self._pool(), one.token_hash)
                self._forget(one.token_hash)
                return True
        return False

    async def close(self, token: str) -> None:
        """End a session: on this node at once, on others within a second. Raises DatabaseAway."""
        token_hash = hashed(token)
        await delete_session(self._pool(), token_hash)
        self._forget(token_hash)

    async def close_all(self, user_id: str) -> None:
        """End every session of a user. Raises DatabaseAway."""
        await end_sessions_of(self._pool(), user_id)
        self.user_changed(user_id)

    def user_changed(self, user_id: str) -> None:
        """The cached sessions of this user are no longer valid."""
        self._reads.forget_all(lambda _, session: session.user_id == user_id)
        self._look.set()

    def _forget(self, token_hash: str) -> None:
        self._reads.forget(token_hash)
        self._look.set()

    # Requests that last

    def on_end(self, connection: AsgiConnection, over: Callable[[], None]) -> Callable[[], None]:
        """Call `over` once when the session (or the token) of this request ends; the returned function undoes this.

        For streams: a user who loses their access loses their streams within a second.
        """
        session: LoginSession | None = connection.scope["state"].get("session")
        if session is not None:
            self._on_end[over] = hashed(session.token)
            return lambda: cast(None, self._on_end.pop(over, None))
        principal: Principal = connection.scope["user"]
        left = principal.expires_at - time.time()
        if left > LONGEST_SECONDS:
            return lambda: None
        return asyncio.get_running_loop().call_later(left, over).cancel

    async def keep(self) -> None:
        """Notify streams whose session has ended, and delete rows that are no longer useful."""
        swept = time.monotonic() - SWEEP_SECONDS
        while True:
            try:
                await self._notify_ended()
                if time.monotonic() - swept >= SWEEP_SECONDS:
                    swept = time.monotonic()
                    await sweep_sessions(self._pool(), IDLE_SECONDS)
            except DatabaseAway as error:
                log.warning("sessions_not_read", reason=str(error))
            self._look.clear()
            await wait_until_set(self._look, LOOK_SECONDS)

    async def _notify_ended(self) -> None:
        streams = dict(self._on_end)
        if not streams:
            return
        found = await find_good_sessions(self._pool(), set(streams.values()), IDLE_SECONDS, USE_RECORDED_SECONDS)
        good = {session.token_hash for session in found}
        for over, token_hash in streams.items():
            if token_hash not in good and self._on_end.pop(over, None) is not None:
                over()

    # Cookies and CSRF tokens

    def is_secure(self, connection: AsgiConnection) -> bool:
        """Whether the cookie is to be sent over https only."""
        return self._secure or connection.scope["scheme"] in ("https", "wss")

    def cookie_name(self, connection: AsgiConnection, name: str = COOKIE) -> str:
        """What the cookie is called in this connection."""
        prefix = SECURE_BELOW if self._root() else SECURE
        return f"{prefix}{name}" if self.is_secure(connection) else name

    def mark(self, session: LoginSession) -> str:
        """Identifies this session and grants nothing: pages and streams contain it."""
        return hashlib.sha256(b"callboard mark\0" + session.token.encode()).hexdigest()[:16]

    def csrf_token(self, session: LoginSession) -> str:
        """A CSRF token for the pages of this session: a new one each time, all valid until the session ends."""
        nonce = secrets.token_urlsafe(12)
        return f"{nonce}.{_signature(self._csrf_keys[0], nonce, session)}"

    def _is_csrf_token(self, text: str, session: LoginSession) -> bool:
        nonce, _, signature = text.partition(".")
        return text.isascii() and any(
            hmac.compare_digest(signature, _signature(key, nonce, session)) for key in self._csrf_keys
        )

    async def check_csrf(self, connection: AsgiConnection, session: LoginSession) -> None:
        """Check that a request has a CSRF token of its session. Raises 403."""
        for header in CSRF_HEADERS:
            given = connection.headers.get(header)
            if given is not None:
                break
        else:
            given = None
            if connection.scope["route_handler"].opt.get(FORM):
                fields = await read_fields(cast("Call", connection))
                connection.scope["state"]["form_fields"] = fields
                given = fields[CSRF_FIELD][-1] if CSRF_FIELD in fields else None
        if given is None or len(given) > CSRF_LIMIT or not self._is_csrf_token(given, session):
            raise Problem(CSRF_FAILED, "Send the CSRF token of your session: `X-CSRF-Token: ...`.")


def key_of(token_hash: str) -> str:
    """Identifies a session among those of its user, and grants nothing."""
    return hashlib.sha256(b"callboard key\0" + token_hash.encode()).hexdigest()[:16]


def _signature(key: bytes, nonce: str, session: LoginSession) -> str:
    return hmac.digest(key, f"{nonce}.{session.token}".encode(), "sha256").hex()
