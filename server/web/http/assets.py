"""The files under `/static/`: their URLs, which contain a hash of all files, and how they are served.

Under the URL of this build, browsers may cache a file for ever; under any other URL they must ask again. Modules import
each other by relative paths, so they stay in one build.
"""

import asyncio
import gzip
import hashlib
from collections import OrderedDict
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Final

from litestar import get
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import Struct

from server.paths import STATIC
from server.web.http.caller import Call
from server.web.http.errors import existing

FOREVER: Final = "public, max-age=31536000, immutable"
ASK_AGAIN: Final = "no-cache"
BUILD_PREFIX: Final = "b-"
PACKED: Final = frozenset({".css", ".html", ".js", ".json", ".md", ".svg", ".txt", ".webmanifest"})
WORTH_PACKING_BYTES: Final = 1024
KINDS: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".md": "text/markdown",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
OTHER_KIND: Final = "application/octet-stream"
KEPT_LIMIT: Final = 500


class Asset(Struct, frozen=True):
    """The content of a file. `packed` is its gzip, if that is smaller."""

    body: bytes
    packed: bytes | None
    kind: str
    tag: str
    modified: str


@cache
def build() -> str:
    """A short hash of all files in `static/`, at the first call of this process."""
    digest = hashlib.sha256()
    for path in sorted(path for path in STATIC.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(STATIC)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def asset(path: str) -> str:
    """The address of a file under `static/`."""
    return f"/static/{BUILD_PREFIX}{build()}/{path}"


_kept: "OrderedDict[tuple[Path, int, int], Asset]" = OrderedDict()


def read_asset(name: str) -> Asset | None:
    """The file with this name in `static/`, or None. It is read again when it changes."""
    try:
        path = (STATIC / name).resolve()
        if not path.is_relative_to(STATIC.resolve()):
            return None
        stat = path.stat()
        if not path.is_file():
            return None
        key = (path, stat.st_mtime_ns, stat.st_size)
        found = _kept.get(key)
        if found is None:
            body = path.read_bytes()
            suffix = path.suffix.lower()
            packed = None
            if suffix in PACKED and len(body) >= WORTH_PACKING_BYTES:
                packed = gzip.compress(body, 6, mtime=0)
            found = Asset(
                body,
                packed,
                KINDS.get(suffix, OTHER_KIND),
                f'"{hashlib.sha256(body).hexdigest()[:20]}"',
                formatdate(stat.st_mtime, usegmt=True),
            )
            _kept[key] = found
            while len(_kept) > KEPT_LIMIT:
                _kept.popitem(last=False)
    except (OSError, ValueError):
        return None
    return found


@get("/static/{path:path}")
async def static_file(request: Call, path: FromPath[Path]) -> ASGIResponse:
    """A file under `static/`, with or without the build in front of its name."""
    first, _, rest = path.as_posix().lstrip("/").partition("/")
    of_build = first.startswith(BUILD_PREFIX)
    found = existing(await asyncio.to_thread(read_asset, rest if of_build else f"{first}/{rest}" if rest else first))
    headers = {
        "Cache-Control": FOREVER if of_build and first == BUILD_PREFIX + build() else ASK_AGAIN,
        "ETag": found.tag,
        "Last-Modified": found.modified,
        "X-Content-Type-Options": "nosniff",
    }
    if request.headers.get("if-none-match") == found.tag:
        return ASGIResponse(status_code=304, headers=headers)
    body = found.body
    if found.packed is not None:
        headers["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            body = found.packed
            headers["Content-Encoding"] = "gzip"
    return ASGIResponse(body=body, headers=headers, media_type=found.kind)
