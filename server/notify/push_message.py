"""A push message (RFC 8030): its body encrypted for one browser (RFC 8291), signed for its push service (RFC 8292).

It makes no calls. What it is made of is imported when the first message is: most nodes never send one.
"""

import base64
import binascii
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from server.notify.addresses import mistake_in

POINT_BYTES: Final = 65
AUTH_BYTES: Final = 16
SIGNED_SECONDS: Final = 12 * 3600
"""How long a signature is valid; push services accept at most a day."""
SIGN_AGAIN_SECONDS: Final = 3600
SIGNATURES_KEPT: Final = 100
NOBODY: Final = "mailto:callboard@localhost.localdomain"
"""The contact for push services if the settings have none."""


class Address(Struct, frozen=True):
    """Where one browser is reached, and the keys for which its messages are encrypted, in base64url."""

    endpoint: str
    p256dh: str
    auth: str


def new_private_key() -> str:
    """A private key for signing, as 32 bytes in base64url."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    return encoded(generate_private_key(SECP256R1()).private_numbers().private_value.to_bytes(32, "big"))


def mistake_in_endpoint(url: str, *, allow_private: bool) -> str | None:
    """What is wrong with the URL of a push service, without resolving its name; or None."""
    mistake = mistake_in(url, allow_private=allow_private)
    if mistake is not None:
        return mistake
    if not url.isascii() or "[" in url:
        return "must name a push service in ASCII"
    return None if allow_private or url.lower().startswith("https://") else "must be an https URL"


def mistake_in_p256dh(text: str) -> str | None:
    """What is wrong with a browser's public key, or None."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

    try:
        raw = decoded(text)
        if len(raw) != POINT_BYTES:
            raise ValueError
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), raw)
    except ValueError:
        return "must be a point of P-256, uncompressed, in base64url"
    return None


def mistake_in_auth(text: str) -> str | None:
    """What is wrong with a browser's secret, or None."""
    try:
        length = len(decoded(text))
    except ValueError:
        length = 0
    return None if length == AUTH_BYTES else f"must be {AUTH_BYTES} bytes in base64url"


class Signer:
    """The identity of this server for push services, proven by a key that browsers know. `subject` is the contact for
    problems, a `mailto:` or `https:` address.
    """

    def __init__(self, private_key: str, subject: str) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
        from py_vapid import Vapid02

        self._vapid: Any = Vapid02.from_raw(private_key.encode())
        self._vapid.conf["no-strict"] = True  # the settings have looked at the subject
        self._subject = subject
        self._signed: dict[str, tuple[float, str]] = {}
        point = self._vapid.public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self.public_key: str = encoded(point)
        """What browsers subscribe to, in base64url."""

    def authorization(self, endpoint: str) -> str:
        """The header for one push service, with a signature that is reused for an hour."""
        audience = origin_of(endpoint)
        now = time.time()
        signed_at, header = self._signed.get(audience, (0.0, ""))
        if not 0 <= now - signed_at < SIGN_AGAIN_SECONDS:
            claims = {"aud": audience, "exp": int(now) + SIGNED_SECONDS, "sub": self._subject}
            header = self._vapid.sign(claims)["Authorization"]
            if len(self._signed) >= SIGNATURES_KEPT:
                self._signed.clear()
            self._signed[audience] = (now, header)
        return header


def encrypted(address: Address, body: bytes) -> bytes:
    """The body, encrypted for this browser. Raises ValueError for invalid keys."""
    from pywebpush import WebPusher

    keys = {"p256dh": address.p256dh, "auth": address.auth}
    message = WebPusher({"endpoint": address.endpoint, "keys": keys}).encode(body, "aes128gcm")
    return bytes(message["body"])


def push_headers(signer: Signer, address: Address, *, ttl_seconds: int, topic: str) -> Mapping[str, str]:
    """The headers of a message that is useful for `seconds`. It replaces an undelivered message with the same topic."""
    return {
        "authorization": signer.authorization(address.endpoint),
        "content-encoding": "aes128gcm",
        "content-type": "application/octet-stream",
        "ttl": str(ttl_seconds),
        "topic": topic,
        "urgency": "high",
    }


def origin_of(endpoint: str) -> str:
    """The push service of an endpoint, as its signature names it."""
    parts = urlsplit(endpoint)
    return f"{parts.scheme}://{parts.netloc.lower()}".removesuffix(":443" if parts.scheme == "https" else ":80")


def topic_of(about: str) -> str:
    """An offer or a message as a topic: 32 characters of base64url at most."""
    return about.replace("-", "")


def encoded(raw: bytes) -> str:
    """Bytes in base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """The bytes of base64url, padded or not. ValueError for anything else."""
    plain = text.rstrip("=").encode("ascii")
    if len(plain) % 4 == 1:
        raise ValueError("not base64url")
    try:
        return base64.b64decode(plain.translate(_STANDARD) + b"=" * (-len(plain) % 4), validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None


_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
