"""Tokens of all callers (JWT, HS256): made, and checked for requests (`principal_of`) and sockets (`authenticate`).

`principal_of` also takes an API key or a session's cookie.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final, Literal, cast

import jwt

from server.contract.unstorable import is_whole
from server.ids import canonical, is_id
from server.sockets.revocations import Revocations
from server.web.http.caller import ROLES, AsgiConnection, Principal, Role
from server.web.http.errors import unauthorized

Invalid = Literal["expired", "invalid"]
"""Why a token is refused. `expired` is said only of a driver's: the app renews it."""
ALGORITHM: Final = "HS256"
KEY_PREFIX: Final = "cb_"
DEVICE_CLAIM: Final = "cb_device"
"""In a driver's token: the id of its device. Tokens from back ends have none."""
SUBJECT_LIMIT: Final = 200
TOKEN_LIMIT: Final = 4096
"""A longer token is refused without decoding."""
VERIFIED_LIMIT: Final = 8192
AHEAD_SECONDS: Final = 60
"""`iat` and `nbf` of a token may be this far in the future: clocks differ."""
GRACE_SECONDS: Final = 30
"""A token is accepted for this long after its `exp`."""

_verified: "OrderedDict[tuple[str, tuple[str, ...]], Principal]" = OrderedDict()


def verify_token(token: str, secrets: tuple[str, ...]) -> Principal | None:
    """The principal of a valid token: signed with one of `secrets`, not expired, with a role and a subject. Valid
    tokens are cached until they expire, the most recently used ones longest.
    """
    key = (token, secrets)
    known = _verified.get(key)
    if known is None:
        known = read_token(token, secrets)
        if known is None or is_expired(known):
            return None
        _verified[key] = known
        if len(_verified) > VERIFIED_LIMIT:
            _verified.popitem(last=False)
        return known
    _verified.move_to_end(key)
    if is_expired(known):
        _verified.pop(key, None)
        return None
    return known


def read_token(token: str, secrets: tuple[str, ...]) -> Principal | None:
    """Whose token this is or was: like a good one, but it may be expired."""
    return next((found for secret in secrets if (found := _verify(token, secret)) is not None), None)


def is_expired(principal: Principal) -> bool:
    """Whether what they came with was good, and is no longer."""
    return principal.expires_at <= time.time()


def _verify(token: str, secret: str) -> Principal | None:
    if len(token) > TOKEN_LIMIT:
        return None
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            options={
                "require": ["exp", "sub"],
                "verify_aud": False,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        expires_at = float(int(claims["exp"])) + GRACE_SECONDS
        begins_at = max((int(claims[name]) for name in ("iat", "nbf") if claims.get(name) is not None), default=0)
    except Exception:  # of many kinds: a token is anything that anybody cares to send
        return None
    if begins_at > time.time() + AHEAD_SECONDS:
        return None
    role, subject = claims.get("role"), claims["sub"]
    if role not in ROLES or not is_subject(subject):
        return None
    if role != "driver":
        return Principal(role, subject, expires_at)
    driver_id, device = canonical(subject), claims.get(DEVICE_CLAIM)
    if driver_id is None or (device is not None and not (isinstance(device, str) and is_id(device))):
        return None
    return Principal(role, driver_id, expires_at, device=device)


def is_subject(subject: object) -> bool:
    """Whether this can be the subject of a token: text that can also be stored."""
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_LIMIT or "\x00" in subject:
        return False
    return is_whole(subject)


def mint_token(secret: str, role: Role, subject: str, seconds: float, device: str | None = None) -> tuple[str, int]:
    """A token that is valid for `seconds` from now, and its expiry in Unix seconds. `device` is the id of the driver's
    device that it is for.
    """
    now = int(time.time())
    expires_at = now + max(1, round(seconds))
    claims: dict[str, Any] = {"sub": subject, "role": role, "iat": now, "exp": expires_at}
    if device is not None:
        claims[DEVICE_CLAIM] = device
    return jwt.encode(claims, secret, algorithm=ALGORITHM), expires_at


async def principal_of(connection: AsgiConnection) -> Principal:
    """The caller of this request, by its token or API key, otherwise by its session cookie. Raises 401, 403 for an
    unsafe request with a cookie but without its CSRF token, or DatabaseAway.
    """
    credentials = bearer(connection.scope["headers"])
    state = connection.app.state
    if credentials is None:
        person = await state.sessions.principal(connection)
        if person is None:
            raise unauthorized("Send a token: `Authorization: Bearer ...`.")
        return cast(Principal, person)
    if credentials.startswith(KEY_PREFIX):
        principal = await state.api_keys.principal(credentials)
    else:
        principal = authenticate(credentials, state.settings.secrets, state.node.revocations)
    if not isinstance(principal, Principal):
        raise unauthorized("Invalid or expired token.")
    return principal


def authenticate(token: str, secrets: tuple[str, ...], revocations: Revocations) -> Principal | Invalid:
    """The principal of a token of a request or a socket, or why the token is refused. Remembers that a driver used
    their device.
    """
    principal = verify_token(token, secrets)
    if principal is None:
        once = read_token(token, secrets)
        return "expired" if once is not None and once.role == "driver" else "invalid"
    if principal.role == "driver":
        if revocations.refuses(principal.subject, principal.device):
            return "invalid"
        if principal.device is not None:
            revocations.used(principal.device)
    return principal


def hashed(text: str) -> str:
    """What is kept of a key, a code or a token: its SHA-256. No dictionary holds 128 random bits."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def address_of(connection: AsgiConnection) -> str:
    """Where a request comes from; behind a trusted proxy what it says."""
    return connection.client.host if connection.client is not None else ""


def holder_of(device: str | None, token: str) -> str:
    """What a driver's connection is known by: the device of the token, or a hash of a token that names none."""
    return device or hashlib.sha256(token.encode()).hexdigest()[:16]


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The bearer credentials in the headers of a request or a handshake, or None."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, credentials = value.decode("latin-1").partition(" ")
            return credentials.strip() if scheme.lower() == "bearer" else None
    return None
