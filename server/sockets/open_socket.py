"""One driver's open socket: what is written to it, what waits to be written, and how it ends."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from prometheus_client import Counter

from server.contract import messages as m
from server.contract.views import to_json
from server.dispatch.model import Actor
from server.ids import new_id
from server.sockets.pings import Pings
from server.sockets.session import (
    TOKEN_EXPIRED,
    TOO_SLOW,
    Close,
    CloseCode,
    Effects,
    FetchMissing,
    Send,
    Session,
)

QUEUE_LIMIT = 256
SEND_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 5.0
SPREAD_MS = (500, 5_000)
"""How long drivers wait before they reconnect; the times are spread, so that after a restart they do not all come at
once.
"""
RECONNECT = range(4200, 4300)
"""The close codes after which a driver is to reconnect."""

CLOSED = Counter("callboard_sockets_closed", "Driver sockets that the server closed, by close code", ["code"])

Message = dict[str, Any]
AsgiSend = Callable[[Message], Awaitable[None]]


class HubOfSocket(Protocol):
    """What a socket asks its hub for: to read missing messages, and to remove it when it closes."""

    def fetch_for(self, socket: "Socket") -> None: ...

    def forget(self, socket: "Socket") -> None: ...


class Socket:
    """An open socket: its session, its waiting frames, and how it ends.

    Frames go directly to the transport while it accepts them; there is a task only while something waits.
    """

    __slots__ = (
        "_closer",
        "_expiry",
        "_flusher",
        "_hub",
        "_send",
        "_task",
        "_waiting",
        "arrival",
        "closed",
        "connected",
        "device_id",
        "driver_id",
        "holder",
        "in_flight",
        "known_seq",
        "pings",
        "room",
        "session",
        "session_id",
    )

    def __init__(
        self,
        hub: HubOfSocket,
        driver_id: str,
        send: AsgiSend,
        pings: Pings,
        now: float,
        device_id: str | None = None,
        holder: str | None = None,
        arrival: int = 0,
    ) -> None:
        self.driver_id = driver_id
        self.device_id = device_id
        self.holder = holder
        """The device, or a hash of the token if it names no device."""
        self.arrival = arrival
        self.session_id = new_id()
        self.session = Session(driver_id, Actor("driver", driver_id), new_id, now)
        self.connected = False
        self.closed: CloseCode | None = None
        self.in_flight = 0
        self.known_seq = -1
        """The last number that the driver has confirmed."""
        self.pings = pings
        self.room: asyncio.Future[None] | None = None
        self._hub = hub
        self._send = send
        self._waiting: deque[str] | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._task = asyncio.current_task()

    def send(self, text: str) -> None:
        """Write a text frame, now or when the driver's network accepts it; close with 4201 if too many wait."""
        if self.closed is not None:
            return
        if self._waiting is None:
            try:
                if send_now(self._send, {"type": "websocket.send", "text": text}):
                    return
            except OSError:
                return
            self._waiting = deque()
            self._flusher = asyncio.create_task(self._flush(self._waiting))
        if len(self._waiting) >= QUEUE_LIMIT:
            self._waiting.clear()
            self.close(TOO_SLOW)
        else:
            self._waiting.append(text)

    async def _flush(self, waiting: deque[str]) -> None:
        try:
            while waiting:
                text = waiting.popleft()
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    await self._send({"type": "websocket.send", "text": text})
        except TimeoutError:
            waiting.clear()
            self.close(TOO_SLOW)
        except OSError:
            waiting.clear()
        finally:
            self._waiting = self._flusher = None

    def carry_out(self, effects: Effects) -> None:
        """Execute the effects that concern the socket: Send, Close and FetchMissing."""
        for effect in effects:
            if type(effect) is Send:
                self.send(effect.text)
            elif type(effect) is FetchMissing:
                self._hub.fetch_for(self)
            elif type(effect) is Close:
                self.close(effect.why)

    def deliver(self, seq: int, body: str) -> None:
        """A message of the driver's stream, live or read from the database."""
        self.carry_out(self.session.message(seq, body))

    def has_written(self, seq: int) -> bool:
        """Whether the message with this number was sent, in `hello` or separately."""
        last = self.session.last_seq
        return last is not None and last >= seq and self._waiting is None and self.closed is None

    def close_at(self, when: float) -> None:
        """Close with 4102 at this time of the loop's clock."""
        self._expiry = asyncio.get_running_loop().call_at(when, self.close, TOKEN_EXPIRED)

    def close(self, why: CloseCode) -> None:
        """Close the socket and remove it, after a `goodbye` if the driver is to reconnect. Waiting frames are still
        written, within the time limit of a close.
        """
        if self.closed is not None:
            return
        self.closed = why
        CLOSED.labels(str(why.code)).inc()
        self._hub.forget(self)
        frames = deque[Message]()
        if why.code in RECONNECT and self.session.last_seq is not None:  # `hello` comes before everything else
            wait_ms = random.randint(*SPREAD_MS)
            goodbye = to_json(m.Goodbye(reason=why.reason.replace(" ", "_"), reconnect_after_ms=wait_ms))
            frames.append({"type": "websocket.send", "text": goodbye})
        frames.append({"type": "websocket.close", "code": why.code, "reason": why.reason})
        try:
            while self._flusher is None and send_now(self._send, frames[0]):
                frames.popleft()
                if not frames:
                    return
        except OSError:
            return
        self._closer = asyncio.create_task(self._close_later(frames))

    async def _close_later(self, frames: deque[Message]) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                while self._flusher is not None and self._flusher is not asyncio.current_task():
                    await asyncio.wait((self._flusher,))
                for frame in frames:
                    await self._send(frame)
        except TimeoutError:
            if self._task is not None:
                self._task.cancel()
        except OSError:
            return

    def gone(self) -> None:
        """The handler has ended: release everything of this socket."""
        if self.closed is None:
            self.closed = CloseCode(1006, "gone")
        self._hub.forget(self)
        if self._expiry is not None:
            self._expiry.cancel()
        if self._flusher is not None:
            self._flusher.cancel()
        if self._closer is not None:
            self._closer.cancel()


def send_now(send: AsgiSend, message: Message) -> bool:
    """Whether the frame was sent without waiting. A send that would wait is given up.

    uvicorn's `send` waits only once, before it writes anything, until the transport accepts more. So a send that does
    not finish in its first step has sent nothing. Raises OSError when the client is gone.
    """
    sending = send(message).__await__()
    try:
        next(sending)
    except StopIteration:
        return True
    sending.close()
    return False
