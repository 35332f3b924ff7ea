"""A driver's browser towards web push: its keys, what it tells the server of them, and how it reads what comes."""

import json
import os
import re
from typing import Any

import http_ece
import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.notify.push_message import decoded, encoded
from tests.receiver import Heard, Receiver


class Phone:
    """Subscribed at a push service under its own path."""

    def __init__(self, service: Receiver, name: str = "phone") -> None:
        self.path = f"/push/{name}-{os.urandom(8).hex()}"
        self.endpoint = f"http://127.0.0.1:{service.port}{self.path}"
        self._service = service
        self._key = generate_private_key(SECP256R1())
        self._auth = os.urandom(16)

    @property
    def subscription(self) -> dict[str, Any]:
        """As `PushSubscription.toJSON()` gives it."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {
            "endpoint": self.endpoint,
            "expirationTime": None,
            "keys": {"p256dh": encoded(point), "auth": encoded(self._auth)},
        }

    @property
    def secrets(self) -> tuple[str, ...]:
        """What has no place in a log or an answer."""
        keys = self.subscription["keys"]
        return self.path, self.endpoint, keys["p256dh"], keys["auth"]

    @property
    def heard(self) -> list[Heard]:
        """What came for this phone."""
        return [heard for heard in self._service.heard if heard.path == self.path]

    def read(self, heard: Heard) -> dict[str, Any]:
        """The message, as only this phone can read it."""
        assert heard.headers["content-encoding"] == "aes128gcm"
        plain = http_ece.decrypt(heard.body, private_key=self._key, auth_secret=self._auth, version="aes128gcm")
        message: dict[str, Any] = json.loads(plain)
        return message

    @property
    def messages(self) -> list[dict[str, Any]]:
        """All of them, oldest first."""
        return [self.read(heard) for heard in self.heard]


def claims_of(heard: Heard, service: Receiver, public_key: str) -> dict[str, Any]:
    """What the message is signed with, as a push service checks it: by this key, for this service."""
    shown = re.fullmatch(r"vapid t=([\w.-]+),k=([\w-]+)", heard.headers["authorization"])
    assert shown is not None, heard.headers["authorization"]
    assert shown.group(2) == public_key
    key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), decoded(public_key))
    audience = f"http://127.0.0.1:{service.port}"
    claims: dict[str, Any] = jwt.decode(shown.group(1), key, algorithms=["ES256"], audience=audience)
    return claims
