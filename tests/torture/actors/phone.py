"""A driver's sockets, and what the app on them knows; everything that passes is written down."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, Final

import msgspec

from tests.bench.wire import WebSocket, to_json
from tests.torture.actors.scene import Scene
from tests.torture.history import Closed, Heard, History, Opened, Sent, now

OPEN_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 1.0
PING_SECONDS: Final = 3.0
SILENT_SECONDS: Final = 9.0
"""When an app that hears nothing, not even an answer to its pings, takes its connection for lost."""
Message = dict[str, Any]


class Line(WebSocket):
    """One websocket, with an end that can be waited for, and a reader that can be stopped."""

    def __init__(
        self, number: int, path: str, token: str, heard: Callable[["Line", bytes], None], over: Callable[["Line"], None]
    ) -> None:
        super().__init__(path, {"Authorization": f"Bearer {token}"}, lambda text: heard(self, text))
        self.number = number
        self.ended = asyncio.Event()
        self.heard_at = now()
        self.reads = True
        self.greeted = False
        self._news = asyncio.Event()
        self._over = over

    @property
    def usable(self) -> bool:
        """Whether frames may be sent."""
        return self._open and not self.closed

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end()

    def _end(self) -> None:
        self.ended.set()
        self._news.set()
        self._over(self)

    def greet(self) -> None:
        """`hello` has come."""
        self.greeted = True
        self._news.set()

    async def greeted_or_ended(self) -> None:
        """Wait for one of the two."""
        await self._news.wait()

    def give_up(self) -> None:
        """Hang up, wherever the handshake stands."""
        if self.closed:
            return
        if hasattr(self, "_transport"):
            self.abort()
        else:
            self.closed = True
            self._end()

    def stop_reading(self) -> None:
        """Leave what comes in the network."""
        if not self.closed:
            self.reads = False
            self._transport.pause_reading()

    def read_on(self) -> None:
        """Take it."""
        self.reads = True
        self.heard_at = now()
        if not self.closed:
            self._transport.resume_reading()

    @property
    def silent_seconds(self) -> float:
        """How long nothing has come, if anything would be read."""
        return now() - self.heard_at if self.reads else 0.0


class Phone:
    """What a driver's app holds: the last number it heard, open offers, active assignments, its availability.

    `line` is the socket that was opened last; what others still bring is written down and otherwise passed over.
    """

    def __init__(self, scene: Scene, history: History, driver_id: str, heard: Callable[[Message], None]) -> None:
        self.line: Line | None = None
        self.session: str | None = None
        self.last_seq: int | None = None
        self.availability = "offline"
        self.offers: dict[str, Message] = {}
        self.assignments: dict[str, Message] = {}
        self._scene = scene
        self._history = history
        self._token = scene.token("driver", driver_id)
        self._heard = heard
        self._lines = count(1)
        self._messages = count(1)
        self._newest: Line | None = None
        self._all: set[Line] = set()

    @property
    def connected(self) -> bool:
        """Whether there is a socket, greeted and not closed."""
        return self.line is not None and not self.line.closed and self.session is not None

    async def open(self, node: int, *, resume: bool = True, patient: bool = True) -> bool:
        """Open a socket; once it is greeted it is the one that counts. Whether that came to pass: the patient wait for
        it, others only until the handshake is over.
        """
        last_seq = self.last_seq if resume else None
        path = "/ws/driver" if last_seq is None else f"/ws/driver?lastSeq={last_seq}"
        line = Line(next(self._lines), path, self._token, self._take, self._lost)
        loop = asyncio.get_running_loop()
        self._history.write(Opened(at=now(), socket=line.number, node=node, last_seq=last_seq))
        self._newest = line
        self._all.add(line)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await loop.create_connection(lambda: line, "127.0.0.1", self._scene.port(node))
                await line.ready()
                if patient:
                    await line.greeted_or_ended()
        except (OSError, TimeoutError):
            line.give_up()
        return line.greeted

    def _lost(self, line: Line) -> None:
        self._history.write(Closed(at=now(), socket=line.number, code=line.close_code))
        self._all.discard(line)
        if line is self.line:
            self.session = None

    def _take(self, line: Line, text: bytes) -> None:
        message: Message = msgspec.json.decode(text)
        line.heard_at = now()
        self._history.write(Heard(at=now(), socket=line.number, message=message))
        if message["type"] == "hello":
            line.greet()
            if line is self._newest:
                self.line = line
        if line is not self.line:
            return
        match message["type"]:
            case "hello":
                self.session = message["session"]
                self.availability = message["driver"]["availability"]
                self.offers = {offer["id"]: offer for offer in message["offers"]}
                self.assignments = {a["id"]: a for a in message["assignments"]}
            case "offer":
                self.offers[message["offer"]["id"]] = message["offer"]
            case "offer_closed":
                self.offers.pop(message["offerId"], None)
            case "assignment":
                told = message["assignment"]
                if told["status"] == "ACTIVE":
                    self.assignments[told["id"]] = told
                else:
                    self.assignments.pop(told["id"], None)
            case "availability":
                self.availability = message["availability"]
        if "seq" in message:
            self.last_seq = message["seq"]
        self._heard(message)

    def send(self, kind: str, *, line: Line | None = None, answered: bool = True, **fields: Any) -> None:
        """Send a message, with an id to be answered under, on the socket that counts or another; lost without one."""
        line = line or self.line
        if line is None or not line.usable:
            return
        message = {"type": kind, **({"id": f"m{next(self._messages)}"} if answered else {}), **fields}
        self._history.write(Sent(at=now(), socket=line.number, message=message))
        line.send(to_json(message))

    def hang_up(self) -> None:
        """Cut the newest socket off without a word."""
        if self._newest is not None:
            self._newest.give_up()

    def switch_off(self) -> None:
        """Hang up on all sockets there are."""
        for line in list(self._all):
            line.give_up()

    async def until_ended(self) -> None:
        """Wait until the socket that counts is gone."""
        if self.line is not None:
            await self.line.ended.wait()

    async def stay_on(self) -> None:
        """Wait until the socket that counts is gone, also one that was opened meanwhile. One on which nothing comes
        any more, though there was a ping, is as good as gone.
        """
        while self.line is not None and not self.line.closed:
            line = self.line
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await line.ended.wait()
            if line.silent_seconds > SILENT_SECONDS:
                line.give_up()
            elif line.silent_seconds > PING_SECONDS:
                self.send("ping", line=line)


def weighted(chance: random.Random, choices: dict[str, float]) -> str:
    """One of these, as often as its weight says."""
    (chosen,) = chance.choices(list(choices), list(choices.values()))
    return chosen
