"""Calls from pages of other origins, such as a driver's app in a web view, if the settings name the origin.

Only calls with a token: a browser sends no cookies with them, because no response allows credentials, and a request
with a cookie gets no header of this kind.
"""

from collections.abc import Collection
from typing import Final

from litestar.types import Message, Scope, Send

VARY: Final = (b"vary", b"Origin")
EXPOSED: Final = (b"access-control-expose-headers", b"Location, Retry-After")
PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
    (b"access-control-allow-headers", b"Authorization, Content-Type"),
    (b"access-control-max-age", b"600"),
)
"""The browser may remember it for ten minutes."""


def allowed_origin(scope: Scope, origins: Collection[bytes]) -> bytes | None:
    """The origin of the calling page, if it is one of these and the request has no cookie."""
    found = None
    for name, value in scope["headers"]:
        if name == b"cookie":
            return None
        if name == b"origin":
            found = value
    return found if found in origins else None


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks, before the call itself, whether the page may make it."""
    names = {name for name, _ in scope["headers"]}
    return scope["method"] == "OPTIONS" and {b"origin", b"access-control-request-method"} <= names  # type: ignore[typeddict-item]


async def answer_preflight(send: Send, origin: bytes) -> None:
    """Allow every method, with a token and JSON or a photo."""
    headers = [(b"access-control-allow-origin", origin), *PREFLIGHT, VARY]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def readable_by(send: Send, origin: bytes | None) -> Send:
    """Sends responses that pages of this origin may read; for None only with the hint that it depends on the origin."""
    more = (VARY,) if origin is None else ((b"access-control-allow-origin", origin), EXPOSED, VARY)

    async def send_readable(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return send_readable
