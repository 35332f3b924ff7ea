"""A driver's app on its websocket: it connects, comes back with `lastSeq`, asks and listens.

What to do with an offer is decided elsewhere.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any, Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from server.simulate import wire as w
from server.simulate.mirror import Mirror

OPEN_SECONDS: Final = 10.0
HELLO_SECONDS: Final = 10.0
PING_SECONDS: Final = 20.0
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.3
ANSWER_SECONDS: Final = 60.0
TOKEN_EXPIRED: Final = 4102
FINAL_CODES: Final = range(4100, 4200)
"""Close codes after which an app does not come back, but for an expired token's."""

Heard = Callable[[w.Message], None]


class Refused(Exception):
    """The server said no: its `code` and what it said."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Dismissed(Exception):
    """The server closed the socket for good."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code


class DriverClient:
    """One driver's connection, `run` as a task. `token` is asked anew for every handshake.

    `heard` gets every message once it is folded into `mirror`, and those missed while away before the `hello`.
    """

    def __init__(self, url: str, token: Callable[[], Awaitable[str]], heard: Heard = lambda _: None) -> None:
        self.mirror = Mirror()
        self.connected = asyncio.Event()
        self.connects = 0
        self._url = "ws" + url.removeprefix("http").rstrip("/") + "/ws/driver"
        self._token = token
        self._heard = heard
        self._numbers = count(1)
        self._asked: dict[str, tuple[str, asyncio.Future[dict[str, Any]]]] = {}
        self._socket: ClientConnection | None = None
        self._away_until = 0.0
        self._come_back_in: float | None = None

    async def run(self) -> None:
        """Stay connected until cancelled. Raises Dismissed."""
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            if self._away_until > loop.time():
                await asyncio.sleep(self._away_until - loop.time())
            try:
                await self._session()
                pause = FIRST_PAUSE_SECONDS
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd is not None else 1006
                if code in FINAL_CODES and code != TOKEN_EXPIRED:
                    raise Dismissed(code, closed.rcvd.reason if closed.rcvd is not None else "") from None
            except (OSError, TimeoutError, InvalidHandshake):
                pass
            wait = self._come_back_in if self._come_back_in is not None else pause * random.uniform(0.5, 1.5)
            self._come_back_in = None
            await asyncio.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _session(self) -> None:
        """One connection, from its handshake to its end."""
        url = self._url if self.mirror.seq is None else f"{self._url}?lastSeq={self.mirror.seq}"
        socket = await connect(
            url,
            additional_headers={"Authorization": f"Bearer {await self._token()}"},
            compression=None,
            proxy=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=1,
            ping_interval=PING_SECONDS,
            ping_timeout=PING_SECONDS,
            max_size=1 << 20,
        )
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first = w.read(await socket.recv())
            if not isinstance(first, w.Hello):
                raise TimeoutError("no hello")
            self._socket = socket
            self.connects += 1
            for missed in self.mirror.greet(first):
                self._heard(missed)
            self._heard(first)
            self.connected.set()
            for text, _ in list(self._asked.values()):
                await socket.send(text)
            while True:
                self._take(await socket.recv())
        finally:
            self._socket = None
            self.connected.clear()
            with suppress(OSError, TimeoutError):
                await socket.close()

    def _take(self, text: str | bytes) -> None:
        try:
            message = w.read(text)
        except msgspec.MsgspecError:
            self.mirror.gaps += 1
            return
        match message:
            case None:
                return
            case w.OfferMade() | w.OfferClosed() | w.AssignmentChanged() | w.AvailabilityChanged():
                self.mirror.fold(message)
            case w.Ack():
                self._answered(message.id, message.result)
            case w.Error(id=str(asked)):
                self._answered(asked, Refused(message.code, message.message))
            case w.Goodbye():
                self._come_back_in = message.reconnect_after_ms / 1000
        self._heard(message)

    def _answered(self, message_id: str, answer: dict[str, Any] | Refused) -> None:
        _, future = self._asked.pop(message_id, ("", None))
        if future is None or future.done():
            return
        if isinstance(answer, Refused):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a message and wait for its verdict, across lost connections; repeats are harmless by the contract.

        Raises Refused, or TimeoutError after a minute.
        """
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                try:
                    return await self._ask(kind, fields)
                except Refused as refused:
                    if refused.code != "try_again":
                        raise
                await asyncio.sleep(AGAIN_SECONDS * random.uniform(0.5, 1.5))

    async def _ask(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        message_id = str(next(self._numbers))
        text = msgspec.json.encode({"type": kind, "id": message_id, **fields}).decode()
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[message_id] = (text, future)
        try:
            await self._send(text)
            return await future
        finally:
            self._asked.pop(message_id, None)

    async def tell(self, kind: str, **fields: Any) -> None:
        """Send a message that wants no answer; lost without a connection."""
        await self._send(msgspec.json.encode({"type": kind, **fields}).decode())

    async def _send(self, text: str) -> None:
        if self._socket is not None:
            with suppress(ConnectionClosed):
                await self._socket.send(text)

    def lose_network(self, seconds: float) -> None:
        """The phone is in a tunnel: the connection is gone without a word, and comes back after so long."""
        self._away_until = asyncio.get_running_loop().time() + seconds
        if self._socket is not None:
            self._socket.transport.abort()
