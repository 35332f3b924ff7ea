"""A websocket with a limit for frames that are not complete messages, and with pings beside the regular ones."""

from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import State

from server.process.connection_limits import REFUSED, plain_address
from server.sockets.pings import PINGS, Pings, nothing

FRAMES_A_SECOND: Final = 100.0
FRAMES_BURST: Final = 500.0
"""Pings, pongs and continuation frames of one websocket. The session limits complete messages."""
PING_PAYLOAD: Final = b"there?"
"""What a ping beside the regular ones carries; any answer will do."""
TOO_MANY_FRAMES: Final = (4202, "too many messages")
NOT_UTF_8: Final = (1007, "not UTF-8")


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol with a limit for frames that are not complete messages. After a failure, the handler also sees
    the socket as lost.
    """

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.client = plain_address(self.client)
        self._pings = Pings(self._ask)
        self._tokens = FRAMES_BURST
        self._refilled_at = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended; release everything, because the garbage collector rarely runs."""
        super().connection_lost(exc)
        self.conn.parser.close()  # it and the connection hold each other
        self._pings.ask = nothing

    def handle_connect(self, event: Any) -> None:
        """As in uvicorn; the handler of the socket can read its pings."""
        super().handle_connect(event)
        if not self.close_sent:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[PINGS] = self._pings

    def handle_cont(self, event: Any) -> None:
        if self._allowed():
            super().handle_cont(event)

    def handle_ping(self) -> None:
        if self._allowed():
            super().handle_ping()

    def data_received(self, data: bytes) -> None:
        """Something is heard from the client."""
        self._pings.heard_at = self.loop.time()
        super().data_received(data)

    def _ask(self) -> None:
        """An extra ping, beside the regular ones."""
        if not self.close_sent and not self.transport.is_closing() and self.conn.state is State.OPEN:
            self.conn.send_ping(PING_PAYLOAD)
            self.transport.write(b"".join(self.conn.data_to_send()))

    def handle_pong(self, event: Any) -> None:
        if self._allowed():
            pinged = self.pending_ping_payload is not None
            super().handle_pong(event)
            if pinged and self.pending_ping_payload is None:
                self._pings.answered_sent_at = self.ping_sent_at

    def _allowed(self) -> bool:
        if self.disconnected:
            return False
        now = self.loop.time()
        self._tokens = min(FRAMES_BURST, self._tokens + (now - self._refilled_at) * FRAMES_A_SECOND)
        self._refilled_at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return True
        REFUSED.labels("frames").inc()
        self._fail(*TOO_MANY_FRAMES)
        return False

    def send_receive_event_to_app(self) -> None:
        """As in uvicorn, but text that is not UTF-8 causes no log line."""
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        if self.curr_msg_data_type == "text":
            try:
                self.queue.put_nowait({"type": "websocket.receive", "text": data.decode()})
            except UnicodeDecodeError:
                self._fail(*NOT_UTF_8)
                return
        else:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def _fail(self, code: int, reason: str) -> None:
        if self.close_sent:
            self.transport.close()
            self.disconnected = True
        elif self.conn.state is State.OPEN:  # else the client's own close came with the same bytes
            self.conn.send_close(code, reason)
            self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """The server has decided to close the connection: further writes are ignored."""
        super().handle_parser_exception()
        self.disconnected = True

    def keepalive_timeout(self) -> None:
        """As above: the client does not answer."""
        super().keepalive_timeout()
        self.disconnected = self.disconnected or self.close_sent
