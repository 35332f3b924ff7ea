"""The cookie of a browser that was logged in before: with it, the login limits of a name treat its user and strangers
differently.

It grants no access and contains no name, only a few signed marks, each valid for one name. It is signed with the
secret, so it works on every node and needs no row.
"""

import base64
import hashlib
import hmac
import secrets
import time
from typing import Final

from litestar.datastructures import Cookie

from server.web.access.login_limits import normalized
from server.web.access.sessions import Sessions
from server.web.http.caller import AsgiConnection

COOKIE: Final = "callboard_device"
GOOD_SECONDS: Final = 400 * 86_400
"""The longest lifetime of a cookie in browsers."""
MARKS: Final = 4
"""How many users of one browser are remembered; the last login comes first."""
COOKIE_LIMIT: Final = 500


class LoginMarks:
    """Makes and reads the marks of browsers."""

    def __init__(self, sessions: Sessions, secrets_: tuple[str, ...]) -> None:
        self._sessions = sessions
        self._keys = [hashlib.sha256(b"callboard device\0" + secret.encode()).digest() for secret in secrets_]

    def known(self, connection: AsgiConnection, name: str) -> str | None:
        """The id of this browser in its mark for this name, if it has a valid one."""
        for mark in self._marks(connection):
            if self._is_good(mark, name):
                return mark.split(".")[0]
        return None

    def cookie(self, connection: AsgiConnection, name: str) -> Cookie:
        """After a login: the browser's marks with a new one for this name, under what it was called before."""
        called = self.known(connection, name) or secrets.token_urlsafe(12)
        others = [mark for mark in self._marks(connection) if not self._is_good(mark, name)]
        since = str(int(time.time()))
        mark = f"{called}.{since}.{_signature(self._keys[0], called, since, name)}"
        return Cookie(
            self._name(connection),
            value="~".join([mark, *others][:MARKS]),
            max_age=GOOD_SECONDS,
            httponly=True,
            samesite="lax",
            secure=self._sessions.is_secure(connection),
        )

    def _name(self, connection: AsgiConnection) -> str:
        return self._sessions.cookie_name(connection, COOKIE)

    def _marks(self, connection: AsgiConnection) -> list[str]:
        text = connection.cookies.get(self._name(connection), "")
        if not text or len(text) > COOKIE_LIMIT or not text.isascii():
            return []
        return [mark for mark in text.split("~")[:MARKS] if mark.count(".") == 2]

    def _is_good(self, mark: str, name: str) -> bool:
        called, since, signature = mark.split(".")
        if not any(hmac.compare_digest(signature, _signature(key, called, since, name)) for key in self._keys):
            return False
        return int(since) + GOOD_SECONDS > time.time()


def _signature(key: bytes, called: str, since: str, name: str) -> str:
    digest = hmac.digest(key, f"{called}.{since}.{normalized(name)}".encode("utf-8", "surrogatepass"), "sha256")
    return base64.urlsafe_b64encode(digest[:24]).decode()
