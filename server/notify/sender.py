"""One outgoing call: a POST with a deadline for all of it, and what came back as one line. It never raises.

Connections are kept and used again, one call at a time on each. Calls are written and answers are read right on the
loop's transports (httptools parses): a general client costs twenty times as much a call.
"""

import asyncio
import os
import ssl
import time
from collections import deque
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from typing import Final

import httpx2
from msgspec import Struct

from server.notify.addresses import AddressNotAllowed, Network
from server.notify.receiver_connection import (
    EXCERPT_BYTES,
    ConnectionEnded,
    ReceiverConnection,
    ReceiverReply,
)

TIMEOUT_SECONDS: Final = 10.0
"""From resolving the name to the last byte of the answer that is read."""
CONNECTIONS_KEPT: Final = 64
"""The limit of idle connections to one address."""
KEPT_SECONDS: Final = 30.0
LONGEST_RETRY_AFTER_SECONDS: Final = 3600.0
AGENT: Final = "Callboard/1"


class Result(Struct, frozen=True):
    """The result of a call. `error` is None after a 2xx; `retry_after` is the time that the receiver asked for."""

    status: int | None
    ms: int
    error: str | None
    retry_after: float | None = None
    outcome: str = "delivered"

    @property
    def receiver_is_down(self) -> bool:
        """The receiver does not answer, or only with an overload: other messages would fail as well now."""
        return self.status is None or self.status == 429 or self.status >= 500


class Target(Struct, frozen=True):
    """The address of a URL: calls to the same address share connections."""

    secure: bool
    host: str
    port: int


class Sender:
    """Connections for outgoing calls, without proxies and redirects. `allow_private` allows private addresses."""

    def __init__(self, *, allow_private: bool) -> None:
        self._network = Network(allow_private=allow_private)
        self._kept: dict[Target, deque[ReceiverConnection]] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, within: float | None = None) -> Result:
        """Send a request; the whole call takes at most `within` seconds."""
        seconds = TIMEOUT_SECONDS if within is None else within
        started = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                answer = await self._post(url, body, headers)
        except TimeoutError:
            return Result(None, _ms(started), f"no answer within {seconds:.3g} s", outcome="timeout")
        except (httpx2.InvalidURL, OSError, ValueError) as error:
            refused = isinstance(error, AddressNotAllowed)
            return Result(None, _ms(started), _line(error), outcome="not_allowed" if refused else "unreachable")
        if 200 <= answer.status < 300:
            return Result(answer.status, _ms(started), None)
        excerpt = " ".join(answer.excerpt[:EXCERPT_BYTES].decode("utf-8", "replace").split()).replace("\x00", "\ufffd")
        text = f"answered {answer.status}" + (f": {excerpt}" if excerpt else "")
        return Result(answer.status, _ms(started), text, _retry_after(answer.retry_after), "refused")

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> ReceiverReply:
        target, head = _target(url)
        request = _request(head, headers, body)
        kept = self._kept.get(target)
        if kept:
            connection = kept.pop()
            try:
                return await self._ask(target, connection, request)
            except ConnectionEnded as ended:
                # The receiver may have closed the idle connection. It sent no byte, so a second attempt is safe.
                if not ended.unheard:
                    raise
        context = _tls() if target.secure else None
        connection = await self._network.connect(ReceiverConnection, target.host, target.port, context)
        return await self._ask(target, connection, request)

    async def _ask(self, target: Target, connection: ReceiverConnection, request: bytes) -> ReceiverReply:
        try:
            answer = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        if answer.keep:
            self._keep(target, connection)
        else:
            connection.close()
        return answer

    def _keep(self, target: Target, connection: ReceiverConnection) -> None:
        kept = self._kept.setdefault(target, deque())
        kept.append(connection)
        if len(kept) > CONNECTIONS_KEPT:
            kept.popleft().close()
        connection.kept_since = time.monotonic()
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(KEPT_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close connections that were idle for long. The most recently used are taken first, so the idle ones are on
        the left.
        """
        self._sweeping = None
        old = time.monotonic() - KEPT_SECONDS
        for target, kept in list(self._kept.items()):
            while kept and (kept[0].kept_since <= old or kept[0].closed):
                kept.popleft().close()
            if not kept:
                del self._kept[target]
        if self._kept:
            self._sweeping = asyncio.get_running_loop().call_later(KEPT_SECONDS / 4, self._sweep)

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for kept in self._kept.values():
            for connection in kept:
                connection.close()
        self._kept.clear()


@lru_cache(maxsize=256)
def _target(url: str) -> tuple[Target, bytes]:
    """Where to connect, and how a request begins. Raises InvalidURL or ValueError."""
    parsed = httpx2.URL(url)
    host = parsed.raw_host.decode("ascii")
    if parsed.scheme not in ("http", "https") or not host:
        raise ValueError("not a valid URL")
    secure = parsed.scheme == "https"
    path = parsed.raw_path or b"/"
    head = b"POST %b HTTP/1.1\r\nhost: %b\r\naccept: */*\r\n" % (path, parsed.netloc)
    if any(byte < 0x20 and byte not in b"\r\n" for byte in head) or head.count(b"\n") != 3:
        raise ValueError("not a valid URL")
    return Target(secure, host, parsed.port or (443 if secure else 80)), head


def _request(head: bytes, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of a request. Raises ValueError for a header with a line break."""
    lines = []
    for name, value in headers.items():
        if "\n" in value or "\r" in value or "\x00" in value:
            raise ValueError(f"the header {name} contains a line break")
        lines.append(f"{name}: {value}\r\n")
    if not any(name.lower() == "user-agent" for name in headers):
        lines.append(f"user-agent: {AGENT}\r\n")
    return b"%b%bcontent-length: %d\r\n\r\n%b" % (head, "".join(lines).encode("latin-1"), len(body), body)


@cache
def _tls() -> ssl.SSLContext:
    """Cached, because reading the certificates takes tens of milliseconds."""
    context = httpx2.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _line(error: BaseException) -> str:
    """What went wrong, in one line: of an error of the system its plain name, such as "connection refused"."""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0).lower()
    said = " ".join(str(error).split())[:EXCERPT_BYTES].replace("\x00", "\ufffd")
    return said or type(error).__name__


def without_answer(error: str) -> str:
    """An error of a `Result` for the log: of an answer its status, since its text can quote what was sent."""
    return error.partition(":")[0] if error.startswith("answered ") else error


def _retry_after(value: bytes) -> float | None:
    """Seconds, or the time until a date of HTTP."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value.decode("latin-1")).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(seconds, LONGEST_RETRY_AFTER_SECONDS) if seconds > 0 else None
