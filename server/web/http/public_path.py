"""Callboard under a path of a host, as https://fleet.example/dispatch: the path of `public_url`, called root.

Handlers, scripts and templates write addresses from Callboard's own root, as `/board`. The root is added where an
address leaves the server: here for redirects and cookies, in templates as they are compiled (board/constant_texts.py),
in scripts by `static/app.js`.
"""

from collections.abc import Iterable
from typing import cast
from urllib.parse import quote

from litestar.types import HTTPResponseStartEvent, Message, Scope, Send

LOCATIONS = frozenset({b"location", b"hx-redirect", b"service-worker-allowed"})


def below(scope: Scope, root: str) -> Scope:
    """The request as if Callboard had the host for itself. A proxy may have removed the root already."""
    path = without(scope["path"], root)
    if path is None:
        return scope
    raw = without(scope["raw_path"].decode("latin-1"), root) or quote(path)
    return cast(Scope, {**scope, "path": path, "raw_path": raw.encode("latin-1")})


def without(path: str, root: str) -> str | None:
    """A path of Callboard without the root; None if it has not got it."""
    return (path[len(root) :] or "/") if path == root or path.startswith(f"{root}/") else None


def leading_below(send: Send, root: str) -> Send:
    """Redirects lead to addresses below the root, and cookies are sent to them only."""

    async def send_below(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*_below(message["headers"], root.encode())]
            message = cast(HTTPResponseStartEvent, {**message, "headers": headers})
        await send(message)

    return send_below


def _below(headers: Iterable[tuple[bytes, bytes]], root: bytes) -> Iterable[tuple[bytes, bytes]]:
    for name, value in headers:
        lower = name.lower()
        if lower in LOCATIONS and value.startswith(b"/") and not value.startswith(b"//"):
            yield name, root + value
        elif lower == b"set-cookie":
            yield name, value.replace(b"Path=/", b"Path=" + root, 1)
        else:
            yield name, value
