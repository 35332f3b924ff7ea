"""One connection to a receiver of outgoing calls, for one call after another, right on the loop's transport."""

import asyncio
from typing import Final, cast

import httptools
from msgspec import Struct

EXCERPT_BYTES: Final = 500
LONGEST_HEAD_BYTES: Final = 65_536
"""Of an answer, until its headers are complete."""


class ReceiverReply(Struct):
    """As much of an answer as is looked at."""

    status: int = 0
    excerpt: bytes = b""
    retry_after: bytes = b""
    keep: bool = False
    """Whether this connection can be used again."""


class ConnectionEnded(OSError):
    """The receiver closed the connection or sent something other than HTTP; `unheard` if that was before the first byte
    of an answer.
    """

    def __init__(self, what: str, *, unheard: bool = False) -> None:
        super().__init__(what)
        self.unheard = unheard


class ReceiverConnection(asyncio.Protocol):
    """One connection, for one call after another."""

    def __init__(self) -> None:
        self.closed = False
        self.kept_since = 0.0
        self._transport: asyncio.Transport
        self._waiting: asyncio.Future[ReceiverReply] | None = None
        self._answer = ReceiverReply()
        self._parser: httptools.HttpResponseParser
        self._head_bytes = 0
        self._in_head = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    async def ask(self, request: bytes) -> ReceiverReply:
        """Send a request and wait for the answer. Raises ConnectionEnded."""
        if self.closed:
            raise ConnectionEnded("the connection was closed", unheard=True)
        self._answer = ReceiverReply()
        self._head_bytes = 0
        self._in_head = True
        self._parser = httptools.HttpResponseParser(self)
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiting
        finally:
            self._waiting = None

    def close(self) -> None:
        self.closed = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._waiting is None or self._waiting.done():
            self.close()  # there is no request
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._finish(keep=False)
        except httptools.HttpParserError as error:
            self._fail(ConnectionEnded(f"the answer is not HTTP: {error}"))
        if self._in_head and self._head_bytes > LONGEST_HEAD_BYTES:
            self._fail(ConnectionEnded("the headers are too long"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self._in_head:
            self._finish(keep=False)  # closing the connection may mark the end of the answer
        else:
            what = str(exc) if exc else "the receiver closed the connection without an answer"
            self._fail(ConnectionEnded(what, unheard=self._head_bytes == 0))

    def on_message_begin(self) -> None:
        self._answer = ReceiverReply()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 11 and name.lower() == b"retry-after":
            self._answer.retry_after = value

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        self._answer.keep = self._parser.should_keep_alive()
        if self._answer.status >= 200:
            self._in_head = False

    def on_body(self, body: bytes) -> None:
        if len(self._answer.excerpt) < EXCERPT_BYTES:
            self._answer.excerpt += body
        if len(self._answer.excerpt) >= EXCERPT_BYTES:
            self._finish(keep=False)  # the rest is not read

    def on_message_complete(self) -> None:
        if self._answer.status >= 200:  # interim answers such as 103 may come before it
            self._finish(keep=self._answer.keep)

    def _finish(self, *, keep: bool) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._answer.keep = keep and not self.closed
            self._waiting.set_result(self._answer)

    def _fail(self, error: ConnectionEnded) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
