"""One websocket of a driver, from its handshake to its end: frames out at once, frames in to `heard`, and answers.

It uses the sans-IO part of `websockets`, so that sending needs no await, and reading can be paused.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, Final, cast

import msgspec
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Opcode
from websockets.frames import Frame as WebSocketFrame
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from server.driver_client.messages import Frame

OPEN_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 5.0
MAX_BYTES: Final = 1 << 20
SUBPROTOCOL: Final = "callboard.v1"
ANSWERS: Final = frozenset({"ack", "error", "pong"})
_decode: Final = msgspec.json.Decoder(Frame).decode

Likes = Callable[[Frame], Any]


class Connection(asyncio.Protocol):
    """`close_code` is what the server closed with, None before and for a connection that was lost or ended here.

    `last_seq` asks for what came after that number. Without `take_over` the server closes with 4106 if another device
    of the driver is in use. A browser cannot set headers: `in_subprotocol` sends the token as browsers do. `over` is
    called at the end.
    """

    def __init__(
        self,
        url: str,
        token: str,
        heard: Callable[[Frame], None] = lambda _: None,
        *,
        over: Callable[[], None] = lambda: None,
        last_seq: int | None = None,
        take_over: bool = True,
        in_subprotocol: bool = False,
        max_bytes: int | None = MAX_BYTES,
    ) -> None:
        self.last_seq = last_seq
        self.hello: Frame | None = None
        self.ended = asyncio.Event()
        self.close_code: int | None = None
        self.close_reason = ""
        self._heard = heard
        self._tell_over = over
        self._heard_at = time.monotonic()
        self._reads = True
        self._uri = parse_uri(socket_url(url, last_seq, take_over=take_over))
        offered = [Subprotocol(SUBPROTOCOL), Subprotocol(f"bearer.{token}")] if in_subprotocol else None
        self._protocol = ClientProtocol(self._uri, subprotocols=offered, max_size=max_bytes)
        self._token = None if in_subprotocol else token
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parts: list[bytes] = []
        self._ending = False
        self._numbers = count(1)
        self._requests: dict[str, asyncio.Future[Frame]] = {}
        self._waiting: list[tuple[Likes, asyncio.Future[Frame]]] = []

    # Its life

    async def open(self, within: float = OPEN_SECONDS) -> None:
        """Connect and shake hands. Raises OSError or TimeoutError."""
        tls = ssl.create_default_context() if self._uri.secure else None
        try:
            async with asyncio.timeout(within):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: self, self._uri.host, self._uri.port, ssl=tls)
                await self._opened
        except BaseException:
            self.cut()
            raise

    async def greeting(self) -> Frame:
        """`hello`, which is to come first. Raises ConnectionError if the socket ends without it."""
        return self.hello or await self.next(lambda frame: frame.get("type") == "hello")

    @property
    def usable(self) -> bool:
        """Whether frames may be sent."""
        return self._protocol.state is State.OPEN

    @property
    def silent_seconds(self) -> float:
        """For how long nothing has come, if anything would have been read."""
        return time.monotonic() - self._heard_at if self._reads else 0.0

    def cut(self) -> None:
        """End it without a close frame, as a lost network does, at any point of the handshake."""
        if self._transport is not None:
            self._transport.abort()
        elif not self.ended.is_set():
            self._end()

    async def close(self) -> None:
        """Say goodbye and wait for the end."""
        if self.usable:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._flush()
        else:
            self.cut()
        await self.ended.wait()

    def stop_reading(self) -> None:
        """Leave what comes in the network."""
        if self._transport is not None and not self._transport.is_closing():
            self._reads = False
            self._transport.pause_reading()

    def read_on(self) -> None:
        self._reads = True
        self._heard_at = time.monotonic()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # Out

    def send(self, kind: str, **fields: object) -> None:
        """Send a message. Raises ConnectionError when the socket is not open."""
        self.send_raw(msgspec.json.encode({"type": kind, **fields}))

    def send_raw(self, payload: bytes, *, text: bool = True) -> None:
        """Send any frame, also what no app should. Raises ConnectionError."""
        try:
            (self._protocol.send_text if text else self._protocol.send_binary)(payload)
        except InvalidState:
            raise ConnectionError("the socket is not open") from None
        self._flush()

    async def ask(self, kind: str, **fields: object) -> Frame:
        """Send a message with an id, and wait for the one answer that carries it. Raises ConnectionError."""
        number = str(next(self._numbers))
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._requests[number] = answer
        try:
            self.send(kind, id=number, **fields)
            return await answer
        finally:
            self._requests.pop(number, None)

    async def next(self, likes: Likes) -> Frame:
        """The next message that this likes. Raises ConnectionError if the socket ends before."""
        if self.ended.is_set():
            raise self._over()
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting.append((likes, answer))
        return await answer

    # In

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.ended.is_set():
            self._transport.abort()
            return
        request = self._protocol.connect()
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._take()

    def eof_received(self) -> None:
        self._protocol.receive_eof()
        self._take()

    def connection_lost(self, error: Exception | None) -> None:
        self._protocol.receive_eof()
        self._end()

    def _take(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, WebSocketFrame):
                self._frame(event)
        if not self._opened.done():
            if self._protocol.handshake_exc is not None:
                self._fail(str(self._protocol.handshake_exc))
            elif self._protocol.state is not State.CONNECTING:
                self._opened.set_result(None)
        self._flush()

    def _frame(self, frame: WebSocketFrame) -> None:
        self._heard_at = time.monotonic()
        match frame.opcode:
            case Opcode.TEXT | Opcode.CONT:
                self._parts.append(bytes(frame.data))
                if frame.fin:
                    text, self._parts = b"".join(self._parts), []
                    self._hear(text)
            case Opcode.CLOSE if self._protocol.close_rcvd is not None:
                self.close_code = self._protocol.close_rcvd.code
                self.close_reason = self._protocol.close_rcvd.reason
            case _:
                pass

    def _hear(self, text: bytes) -> None:
        try:
            frame = _decode(text)
        except msgspec.MsgspecError as error:
            self._protocol.fail(CloseCode.INVALID_DATA, str(error)[:100])
            return
        kind = frame.get("type")
        if kind == "hello":
            self.hello = frame
        if kind in ANSWERS and (request := self._requests.get(frame.get("id", ""))) is not None and not request.done():
            request.set_result(frame)
        self._heard(frame)
        for likes, waiting in list(self._waiting):
            if waiting.done() or likes(frame):
                self._waiting.remove((likes, waiting))
                if not waiting.done():
                    waiting.set_result(frame)

    def _flush(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                with suppress(OSError, NotImplementedError, RuntimeError):
                    self._transport.write_eof() if self._transport.can_write_eof() else self._transport.close()
        if self._protocol.close_expected() and not self._ending:
            self._ending = True
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)

    def _fail(self, why: str) -> None:
        if not self._opened.done():
            self._opened.set_exception(ConnectionError(why or "the connection ended during the handshake"))
            self._opened.exception()  # who gave up before does not want it

    def _over(self) -> ConnectionError:
        return ConnectionError(f"the socket ended: {self.close_code or 'lost'} {self.close_reason}".rstrip())

    def _end(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        self._fail("")
        for waiting in (*self._requests.values(), *(waiting for _, waiting in self._waiting)):
            if not waiting.done():
                waiting.set_exception(self._over())
                waiting.exception()
        self._waiting.clear()
        self._tell_over()


def socket_url(url: str, last_seq: int | None = None, *, take_over: bool = True) -> str:
    """The address of the drivers' socket of the server at `url` (http or ws, with or without TLS)."""
    base = "ws" + url.removeprefix("http") if url.startswith("http") else url
    query = ([] if last_seq is None else [f"lastSeq={last_seq}"]) + ([] if take_over else ["takeOver=0"])
    return base.rstrip("/") + "/ws/driver" + ("?" if query else "") + "&".join(query)
