"""Limits of each HTTP connection: time, bytes, number of requests; and the limit of all connections together.

uvicorn sets none of them. Opening a connection needs no login, so they hold for everyone. A client that exceeds one
gets an error if possible and is disconnected.
"""

import asyncio
import logging
import math
import re
import resource
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from typing import Any, Final, Literal, cast

import httptools
from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from server.web.http import errors
from server.web.http.errors import MEDIA_TYPE, Kind, Problem, problem_body

REQUEST_SECONDS: Final = 20.0
"""A complete request must arrive within this time after its first byte, or after the connection was opened."""
UNREAD_SECONDS: Final = 60.0
"""The connection is closed when the server could write none of a response for this long."""
FLUSH_SECONDS: Final = 5.0
"""After a disconnect, the final error may take this long to reach the client."""
HEAD_LIMIT_BYTES: Final = 32_768
HEADERS_LIMIT: Final = 100
MESSAGE_LIMIT_BYTES: Final = 1_048_576
"""A complete request with chunk sizes and trailers. Handlers limit the body itself."""
UPLOADS: Final = (b"/proofs", b"/imports/drivers", b"/imports/deliveries", b"/import")
"""The ends of the paths that files are sent to: they may be larger, and take longer on a phone's network."""
UPLOAD_LIMIT_BYTES: Final = 6 * 1_048_576
UPLOAD_SECONDS: Final = 120.0
PIPELINE_LIMIT: Final = 64
"""Requests of a connection that may wait while one is being answered."""
FILES_WANTED: Final = 1_048_576
FILES_RESERVED: Final = 128
"""Open files reserved for the rest of the process: database, Redis, webhooks, static files."""

RequestPart = Literal["head", "body"]

REFUSED: Final = Counter(
    "callboard_connections_refused", "Connections that the server closed, by the limit they exceeded", ["bound"]
)

_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(?::([0-9]{0,5}))?")

log = logging.getLogger("uvicorn.error")


class _Refused(Exception):
    """Raised through the parser to stop it."""


class FinalAnswer:
    """The final response to a client, and the limit under which it is counted."""

    def __init__(self, bound: str, kind: Kind, detail: str) -> None:
        body = problem_body(Problem(kind, detail))
        self.counted = REFUSED.labels(bound)
        self.words = (
            f"HTTP/1.1 {kind.status} {HTTPStatus(kind.status).phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
        ).encode() + body


MALFORMED: Final = FinalAnswer("malformed", errors.BAD_REQUEST, "This is not a valid HTTP/1.1 request.")
TOO_SLOW: Final = FinalAnswer(
    "slow", errors.REQUEST_TIMEOUT, f"The request did not arrive within {REQUEST_SECONDS:g} s."
)
TOO_LONG: Final = FinalAnswer("long", errors.TOO_LARGE, f"The limit of a request is {MESSAGE_LIMIT_BYTES} bytes.")
UPLOAD_TOO_LONG: Final = FinalAnswer(
    "upload_long", errors.TOO_LARGE, f"The limit of an upload is {UPLOAD_LIMIT_BYTES} bytes."
)
HEAD_TOO_LARGE: Final = FinalAnswer(
    "head",
    errors.HEAD_TOO_LARGE,
    f"The limit of the request headers is {HEADERS_LIMIT} fields and {HEAD_LIMIT_BYTES} bytes.",
)
TOO_MANY_WAITING: Final = FinalAnswer(
    "pipeline", errors.TOO_MANY, "Too many requests wait on this connection. Read the responses first."
)
MAPPED: Final = "::ffff:"
FULL: Final = FinalAnswer("full", errors.TRY_AGAIN, "The server has too many connections. Try again.")


def plain_address(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """A client's address and port, IPv4 also if it came to a socket of IPv6 (`::ffff:127.0.0.1`): otherwise a proxy
    at 127.0.0.1 would not be the trusted one.
    """
    if client is None or not client[0].startswith(MAPPED):
        return client
    return client[0].removeprefix(MAPPED), client[1]


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with limits. Call `look` regularly; it enforces the deadlines."""

    def connection_made(self, transport: Any) -> None:
        """Accept the connection, or refuse it when the limit of connections is reached."""
        super().connection_made(transport)
        self.client = plain_address(self.client)
        self._part: RequestPart | None = None
        self._taken = 0
        self._limit = MESSAGE_LIMIT_BYTES
        self._chunk = 0
        self._refusal = MALFORMED
        self._over = False
        self._has_host = False
        self.deadline = self.loop.time() + REQUEST_SECONDS
        """The client must send the next request by then; infinite while a response is pending."""
        self.write_deadline = math.inf
        if len(self.connections) > connections_allowed():
            self._refuse(FULL)

    def data_received(self, data: bytes) -> None:
        """As in uvicorn, but counts the bytes of an incomplete request, and does not log invalid requests."""
        self._unset_keepalive_if_required()
        if self._over:
            return
        self._chunk = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                self.parser = None  # type: ignore[assignment]  # it and this hold each other
        except httptools.HttpParserError:
            self._refuse(self._refusal)
        else:
            if self._part is not None:
                self._taken += len(data)
                if self._part == "head" and self._taken > HEAD_LIMIT_BYTES:
                    self._refuse(HEAD_TOO_LARGE)
                elif self._taken > self._limit:
                    self._refuse(TOO_LONG if self._limit == MESSAGE_LIMIT_BYTES else UPLOAD_TOO_LONG)

    def on_message_begin(self) -> None:
        """A request begins. What else came with its first bytes is not counted, nor are they."""
        super().on_message_begin()
        self._part = "head"
        self._limit = MESSAGE_LIMIT_BYTES
        self._has_host = False
        self._taken = -self._chunk
        self.deadline = self.loop.time() + REQUEST_SECONDS

    def on_header(self, name: bytes, value: bytes) -> None:
        """As in uvicorn, but trailers after the body are not headers, and there must be at most one valid `Host` (RFC
        9112, 3.2).
        """
        if self._part != "head":
            return
        name = name.lower()
        if name == b"host":
            if self._has_host or not is_host(value):
                raise _Refused
            self._has_host = True
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"x-forwarded-proto":
            # Of a chain of proxies, the first is the one that the client has reached.
            value = value.partition(b",")[0].strip().lower()
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The headers are complete: check their size, then start or queue the request."""
        self._part = "body"
        if len(self.headers) > HEADERS_LIMIT or (self._may_be_too_large() and self._head_bytes() > HEAD_LIMIT_BYTES):
            self._refusal = HEAD_TOO_LARGE
            raise _Refused
        if self.url.partition(b"?")[0].endswith(UPLOADS):
            self._limit = UPLOAD_LIMIT_BYTES
            self.deadline += UPLOAD_SECONDS - REQUEST_SECONDS
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINE_LIMIT:
            self._refusal = TOO_MANY_WAITING
            raise _Refused

    def _may_be_too_large(self) -> bool:
        came_in_pieces = self._taken > -self._chunk
        return came_in_pieces or self._chunk > HEAD_LIMIT_BYTES

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_message_complete(self) -> None:
        """The request is here in full: it is our turn."""
        super().on_message_complete()
        self._part = None
        cycle = cast("RequestResponseCycle | None", self.cycle)
        answered = cycle is not None and cycle.response_complete
        self.deadline = self._next_deadline() if answered else math.inf

    def on_response_complete(self) -> None:
        """As in uvicorn, but it continues to read only when nothing waits; uvicorn would queue a whole chunk for each
        response.
        """
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()
        elif self._part is None and self.cycle.response_complete:
            self.deadline = self._next_deadline()

    def _next_deadline(self) -> float:
        """After the idle time, which ends with the first byte of any kind."""
        return self.loop.time() + self.timeout_keep_alive + REQUEST_SECONDS

    def pause_writing(self) -> None:
        """The client does not read for now."""
        self.write_deadline = self.loop.time() + UNREAD_SECONDS
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client reads again."""
        self.write_deadline = math.inf
        super().resume_writing()

    def handle_websocket_upgrade(self) -> None:
        """uvicorn's, but that a handshake which cannot be read is answered."""
        super().handle_websocket_upgrade()
        protocol = cast(WebSocketsSansIOProtocol, self.transport.get_protocol())
        if not protocol.handshake_initiated:
            MALFORMED.counted.inc()
            self.transport.write(b"".join(protocol.conn.data_to_send()) or MALFORMED.words)
            self.transport.close()

    def look(self, now: float) -> None:
        """Close the connection after a deadline. While the server does not read, the client cannot be late."""
        if now > self.write_deadline or (now > self.deadline and self.transport.is_closing()):
            self.transport.abort()
        elif now > self.deadline and not self.flow.read_paused:
            self._refuse(TOO_SLOW)

    def _refuse(self, refusal: FinalAnswer) -> None:
        """Stop reading and close: with an error response if no other response is being sent, and after the response to
        a request that had already arrived.
        """
        if self._over:
            return
        self._over = True
        refusal.counted.inc()
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete:
            self.transport.write(refusal.words)
        elif not self.pipeline:
            if not cycle.more_body:
                cycle.keep_alive = False
                self.deadline = math.inf
                return
            if not cycle.response_started:
                self.transport.write(refusal.words)
            cycle.disconnected = True
            cycle.message_event.set()
        self.deadline = self.loop.time() + FLUSH_SECONDS
        self.transport.close()


def is_host(value: bytes) -> bool:
    """Whether this can name a host, with a port or without one, or no host at all."""
    found = _HOST.fullmatch(value)
    return found is not None and int(found[1] or 0) < 65_536


def look_at(connections: Iterable[asyncio.Protocol], now: float) -> None:
    """Close all connections that are past their deadlines."""
    for connection in [one for one in connections if isinstance(one, BoundedHttp)]:
        connection.look(now)


@cache
def connections_allowed() -> int:
    """The limit of open connections: the limit of open files less a reserve."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, soft - FILES_RESERVED)


def allow_files() -> None:
    """Raise the soft limit of open files, which is often 1024, to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(hard, FILES_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:
            log.warning("the limit of open files stays at %d: %s", soft, error)
        connections_allowed.cache_clear()
