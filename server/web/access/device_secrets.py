"""The secrets for which a device gets a driver's tokens: codes of invitations, and device tokens, each of which is
replaced when it is used. `tokens.py` checks the driver's tokens.

All are random, and only their hashes are stored. A phone that repeats a request because it got no answer gets the same
answer: the new device token is derived from the phone's `actionId`, from the old one or the code, and from the node's
secret. Nobody else can compute it, and no node has to store it.
"""

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from datetime import datetime
from typing import Final

from msgspec import Struct

from server.web.access.tokens import hashed

PREFIX: Final = "cbd_"
_BYTES: Final = 16
_TOKEN: Final = re.compile(r"cbd_([A-Za-z0-9_-]{22})([A-Za-z0-9_-]{22})").fullmatch


class DeviceToken(Struct, frozen=True):
    """A device token. `family` is the same in all tokens of one device."""

    family: str
    rest: str

    @property
    def text(self) -> str:
        """The token as the phone stores it."""
        return f"{PREFIX}{self.family}{self.rest}"

    @property
    def family_hash(self) -> str:
        return hashed(PREFIX + self.family)

    @property
    def token_hash(self) -> str:
        return hashed(self.text)


def new_code() -> str:
    """The code of an invitation: 128 random bits."""
    return secrets.token_urlsafe(_BYTES)


def code_of_form(secret: str, once: str, read_at: datetime, driver_id: str, session: str, subject: str) -> str:
    """The code of an invitation by a form that may be sent twice: `once` and `read_at` are the form's own, `session`
    and `subject` are who sends it. Nobody else can compute it, and the same form sent again gives the same.
    """
    return _derived(secret, "invitation", once, read_at.isoformat(), driver_id, session, subject)


def read_device_token(text: str) -> DeviceToken | None:
    """Parse a device token. None if the text is not in its form."""
    found = _TOKEN(text.strip())
    return None if found is None else DeviceToken(found[1], found[2])


def first_token(secret: str, code: str, action_id: str | None) -> DeviceToken:
    """The first token of a device that signs in with this code."""
    if action_id is None:
        return DeviceToken(new_code(), new_code())
    return DeviceToken(*(_derived(secret, part, code, action_id) for part in ("family", "first")))


def next_token(secret: str, token: DeviceToken, action_id: str | None) -> DeviceToken:
    rest = new_code() if action_id is None else _derived(secret, "next", token.text, action_id)
    return DeviceToken(token.family, rest)


def _derived(secret: str, *parts: str) -> str:
    digest = hmac.digest(secret.encode(), "\0".join(("callboard device token", *parts)).encode(), "sha256")
    return urlsafe_b64encode(digest[:_BYTES]).decode().rstrip("=")
