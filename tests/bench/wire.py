"""The least of a websocket client and of an HTTP/1.1 client that will do, so that the load costs little.

They speak to a Callboard on this machine and to nothing else: no TLS, no fragments, no chunks, no redirects. Everything
else is a driver by `server.driver_client`, whose frames cost ten times as much: here that would be measured too.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

CONNECT_SECONDS: Final = 15.0
ANSWER_SECONDS: Final = 30.0

TEXT: Final = 0x81
PONG: Final = 0x8A

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class WebSocket(asyncio.Protocol):
    """One websocket: `heard` gets the bytes of every text frame. Pings are answered and counted."""

    def __init__(self, path: str, headers: dict[str, str], heard: Callable[[bytes], None]) -> None:
        self.heard = heard
        self.pings = 0
        self.close_code: int | None = None
        self.closed = False
        self._rest = b""
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open = False
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: 127.0.0.1",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._request = ("\r\n".join(lines) + "\r\n\r\n").encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._write = self._transport.write
        self._write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self._ready.done():
            self._ready.set_exception(exc or ConnectionError("closed during the handshake"))

    async def ready(self) -> None:
        """Until the handshake has ended. Raises what made it fail."""
        async with asyncio.timeout(CONNECT_SECONDS):
            await self._ready

    def send(self, text: bytes) -> None:
        """A text frame, under a mask of zeros: as good to the server as any other, and nothing to compute here."""
        self._write(frame(TEXT, text))

    def abort(self) -> None:
        """Disconnect."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        if not self._open:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._rest = data
                return
            if not data.startswith(b"HTTP/1.1 101"):
                self._ready.set_exception(ConnectionError(data[:80].decode("latin-1")))
                return
            self._open = True
            self._ready.set_result(None)
            data = data[end + 4 :]
        position, size = 0, len(data)
        while size - position >= 2:
            length, start = data[position + 1], position + 2
            if length == 126:
                start += 2
                length = int.from_bytes(data[position + 2 : start]) if size >= start else size
            elif length == 127:
                start += 8
                length = int.from_bytes(data[position + 2 : start]) if size >= start else size
            end = start + length
            if end > size:
                break
            kind = data[position] & 15
            if kind == 1:
                self.heard(data[start:end])
            elif kind == 9:
                self.pings += 1
                self._write(frame(PONG, data[start:end]))
            elif kind == 8:
                self.close_code = int.from_bytes(data[start : start + 2]) if length >= 2 else 1005
                self._transport.close()
            position = end
        self._rest = data[position:]


def frame(kind: int, payload: bytes) -> bytes:
    """A client's frame of up to 64 KiB."""
    size = len(payload)
    if size < 126:
        return bytes((kind, 0x80 | size, 0, 0, 0, 0)) + payload
    return bytes((kind, 0xFE, size >> 8, size & 255, 0, 0, 0, 0)) + payload


async def connect(port: int, path: str, headers: dict[str, str], heard: Callable[[bytes], None]) -> WebSocket:
    """Open a websocket. Raises OSError or TimeoutError."""
    loop = asyncio.get_running_loop()
    _, socket = await loop.create_connection(lambda: WebSocket(path, headers, heard), "127.0.0.1", port)
    await socket.ready()
    return socket


class Http(asyncio.Protocol):
    """One kept connection with one request at a time; the answer goes to a callback, or to `ask`'s caller."""

    def __init__(self) -> None:
        self.closed = False
        self._answered: Callable[[int, bytes], None] | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._finish(0, b"connection lost")

    def request(self, request: bytes, answered: Callable[[int, bytes], None]) -> None:
        """Send it; `answered` gets status and body, or status 0 when the connection was lost."""
        assert self._answered is None
        self._answered = answered
        if self.closed:
            self._finish(0, b"connection lost")
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._rest = data
            return
        found = _LENGTH.search(data, 0, end + 2)
        size = int(found[1]) if found is not None else 0
        start = end + 4
        if len(data) < start + size:
            self._rest = data
            return
        self._rest = b""
        self._finish(int(data[9:12]), data[start : start + size])

    def _finish(self, status: int, body: bytes) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(status, body)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send it and wait for status and body. Raises TimeoutError."""
        future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

        def answered(status: int, body: bytes) -> None:
            if not future.done():
                future.set_result((status, body))

        self.request(request, answered)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await future

    def close(self) -> None:
        """Disconnect."""
        self._transport.abort()


async def connect_http(port: int) -> Http:
    """Open a connection for requests. Raises OSError or TimeoutError."""
    async with asyncio.timeout(CONNECT_SECONDS):
        _, http = await asyncio.get_running_loop().create_connection(Http, "127.0.0.1", port)
    return http


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    """The bytes of a request with a JSON body."""
    return head(method, path, token) % len(body) + body


def head(method: str, path: str, token: str) -> bytes:
    """The same as a template: `% length`, then the body."""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    ).encode()


def to_json(value: Any) -> bytes:
    """A body."""
    return msgspec.json.encode(value)
