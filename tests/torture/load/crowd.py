"""A crowd of drivers in a separate process: each keeps a socket to some node, takes every offer and is done at once.

A driver whose socket is lost goes to the next node, as an app would: at once but for a little chance, then with
growing pauses.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from server.driver_client import messages as m
from tests.bench.fleet import somewhere
from tests.bench.wire import WebSocket
from tests.torture.aside import obey_orders

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 8.0
HELLO_SECONDS: Final = 30.0
POSITION_EVERY_SECONDS: Final = 60
WIDTH: Final = 64
"""How many of a process connect at the same time on command; those who were cut off do not wait."""


class _Line(WebSocket):
    """A driver's socket, which says when it has closed."""

    def __init__(self, driver: "Driver") -> None:
        super().__init__("/ws/driver", {"Authorization": f"Bearer {driver.token}"}, driver.hear)
        self._driver = driver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._driver.line = self
        if not self._driver.wanted:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._driver.lost(self)


class Driver:
    """One of the crowd. `node` is where the socket is, or is tried next."""

    __slots__ = ("connecting", "crowd", "greeted", "line", "lost_at", "node", "place", "token", "wanted")

    def __init__(self, crowd: "Crowd", token: str, node: int, place: bytes) -> None:
        self.crowd = crowd
        self.token = token
        self.node = node
        self.place = place
        self.line: _Line | None = None
        self.greeted: asyncio.Future[None] | None = None
        self.wanted = False
        self.connecting = False
        self.lost_at: float | None = None

    @property
    def on_line(self) -> bool:
        """There was a hello, and the socket is still there."""
        return self.greeted is not None and self.greeted.done() and self.line is not None and not self.line.closed

    async def connect(self) -> None:
        """Until there is a hello, from whichever node; or at once if that is under way."""
        if self.connecting:
            return
        self.connecting = True
        try:
            await self._connect()
        finally:
            self.connecting = False

    async def _connect(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        loop = asyncio.get_running_loop()
        while self.wanted:
            try:
                async with asyncio.timeout(HELLO_SECONDS):
                    self.greeted = loop.create_future()
                    line = _Line(self)
                    await loop.create_connection(lambda line=line: line, "127.0.0.1", self.crowd.ports[self.node])  # type: ignore[misc]
                    await line.ready()
                    await self.greeted
                return
            except (OSError, TimeoutError) as error:
                self.crowd.errors[f"not connected: {type(error).__name__}"] += 1
            self.node = (self.node + 1) % len(self.crowd.ports)
            await asyncio.sleep(pause * self.crowd.chance.random())
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def hear(self, text: bytes) -> None:
        """A frame."""
        try:
            message = m.decode(text)
        except msgspec.ValidationError:
            return  # a kind of message that nobody here knows
        if type(message) is m.OfferMade:
            self.crowd.offered[message.offer.payload.pickup_store_name] = time.time()
            self._send("accept", "offerId", message.offer.id)
        elif type(message) is m.Ack:
            if message.id == "completed":
                self.crowd.completed += 1
            elif message.result.assignment is not None:
                self._send("completed", "assignmentId", message.result.assignment.id)
        elif type(message) is m.Error:
            self.crowd.errors[message.code] += 1
        elif type(message) is m.Hello:
            self._greet(message)

    def _greet(self, message: m.Hello) -> None:
        self.crowd.connected += 1
        if self.lost_at is not None:
            self.crowd.away.append(time.perf_counter() - self.lost_at)
            self.lost_at = None
        if self.greeted is not None and not self.greeted.done():
            self.greeted.set_result(None)
        assert self.line is not None
        self.line.send(self.place)
        for offer in message.offers:
            self._send("accept", "offerId", offer.id)
        for assignment in message.assignments:
            self._send("completed", "assignmentId", assignment.id)

    def _send(self, kind: str, name: str, value: str) -> None:
        if self.line is not None and not self.line.closed:
            self.line.send(f'{{"type":"{kind}","id":"{kind}","{name}":"{value}"}}'.encode())

    def lost(self, line: _Line) -> None:
        """A socket has closed; if it was the one that counts, there must be another."""
        if line is not self.line:
            return
        greeted = self.greeted is not None and self.greeted.done() and not self.greeted.cancelled()
        if not greeted:
            if self.greeted is not None and not self.greeted.done():
                self.greeted.set_exception(ConnectionError("lost before its hello"))
                self.greeted.exception()
            return
        self.crowd.connected -= 1
        self.greeted = None
        if self.wanted:
            self.crowd.lost += 1
            self.lost_at = time.perf_counter()
            self.crowd.begin(self._come_back())

    async def _come_back(self) -> None:
        self.node = (self.node + 1 + self.crowd.chance.randrange(max(1, len(self.crowd.ports) - 1))) % len(
            self.crowd.ports
        )
        await asyncio.sleep(FIRST_PAUSE_SECONDS * self.crowd.chance.random())
        await self.connect()

    def hang_up(self) -> None:
        """Off the road. Who comes back does so on any node."""
        self.wanted = False
        self.node = self.crowd.chance.randrange(len(self.crowd.ports))
        if self.line is not None and not self.line.closed:
            self.line.abort()


class Crowd:
    """All drivers of a process, and what they have seen."""

    def __init__(self) -> None:
        self.ports: list[int] = []
        self.chance = random.Random()
        self.drivers: list[Driver] = []
        self.connected = 0
        self.lost = 0
        self.completed = 0
        self.away: list[float] = []
        self.offered: dict[str, float] = {}
        self.errors: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def move(self) -> None:
        """All drivers say where they are, one after another, each once in so many seconds."""
        turn = 0
        while True:
            for driver in self.drivers[turn::POSITION_EVERY_SECONDS]:
                if driver.on_line:
                    assert driver.line is not None
                    driver.line.send(driver.place)
            turn = (turn + 1) % POSITION_EVERY_SECONDS
            await asyncio.sleep(1.0)

    def begin(self, work: Any) -> None:
        """Something that goes on by itself."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def obey(self, order: dict[str, Any]) -> Any:
        """One order of the run's."""
        match order["do"]:
            case "gather":
                self.chance.seed(order["seed"])
                for number, token in enumerate(order["tokens"]):
                    lat, lon = somewhere(self.chance)
                    place = b'{"type":"location","lat":%.6f,"lon":%.6f}' % (lat, lon)
                    self.drivers.append(Driver(self, token, number % order["nodes"], place))
            case "nodes":
                self.ports = order["ports"]
            case "connect":
                self.begin(self._connect(self._some(order["share"], wanted=False)))
            case "hang_up":
                for driver in self._some(order["share"], wanted=True):
                    driver.hang_up()
            case "seen":
                return self._seen()
        return None

    def _some(self, share: float, *, wanted: bool) -> list[Driver]:
        return [driver for driver in self.drivers if driver.wanted is wanted and self.chance.random() < share]

    async def _connect(self, drivers: Sequence[Driver]) -> None:
        left = iter(drivers)

        async def one_after_another() -> None:
            for driver in left:
                driver.wanted = True
                await driver.connect()

        await asyncio.gather(*(one_after_another() for _ in range(WIDTH)))

    def _seen(self) -> dict[str, Any]:
        """What was looked at is looked at once; the counts go on."""
        by_node = Counter(driver.node for driver in self.drivers if driver.wanted)
        seen = {
            "wanted": sum(driver.wanted for driver in self.drivers),
            "connected": self.connected,
            "byNode": [by_node[node] for node in range(len(self.ports))],
            "lost": self.lost,
            "completed": self.completed,
            "away": self.away,
            "offered": self.offered,
            "errors": dict(self.errors),
        }
        self.away, self.offered = [], {}
        self.errors = Counter()
        return seen


async def _live() -> None:
    crowd = Crowd()
    crowd.begin(crowd.move())
    await obey_orders(crowd.obey)


if __name__ == "__main__":
    asyncio.run(_live())
