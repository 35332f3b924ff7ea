"""Drivers on sockets and a shop that orders: what every benchmark puts in front of the server."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from time import perf_counter
from typing import Any, Final

import msgspec

from server.driver_client import messages as m
from tests.bench.stand import Failed, Stand
from tests.bench.wire import Http, WebSocket, connect, connect_http, head, request, to_json

CENTRE: Final = (19.43, -99.13)
RADIUS_KM: Final = 4.0
"""Drivers and pickups lie in the same disc, so that no order is out of everybody's reach."""
HELLO_SECONDS: Final = 30.0
REGISTER_WIDTH: Final = 16
CONNECT_WIDTH: Final = 64


Hear = Callable[["Driver", m.ToDriver, float], None]


class Driver:
    """A driver on a socket. `on` hears every message, with the time it came."""

    __slots__ = ("id", "lat", "lon", "on", "socket", "token", "waiting")

    def __init__(self, driver_id: str, token: str, lat: float, lon: float) -> None:
        self.id = driver_id
        self.token = token
        self.lat, self.lon = lat, lon
        self.socket: WebSocket | None = None
        self.on: Hear = _nothing
        self.waiting: asyncio.Future[None] | None = None

    def hear(self, text: bytes) -> None:
        """A frame from the server."""
        now = perf_counter()
        try:
            message = m.decode(text)
        except msgspec.ValidationError:
            return  # a kind of message that nobody here knows
        if type(message) is m.Hello and self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)
        self.on(self, message, now)

    def send(self, text: bytes) -> None:
        """A frame to the server."""
        assert self.socket is not None
        self.socket.send(text)

    def place(self) -> bytes:
        """Where the driver is, as a message."""
        return b'{"type":"location","lat":%.6f,"lon":%.6f}' % (self.lat, self.lon)


def _nothing(_driver: Driver, _message: m.ToDriver, _now: float) -> None:
    return


def somewhere(chance: random.Random, radius_km: float = RADIUS_KM) -> tuple[float, float]:
    """A point of the disc, all equally likely."""
    km, angle = radius_km * math.sqrt(chance.random()), 2 * math.pi * chance.random()
    lat, lon = CENTRE
    return lat + km * math.sin(angle) / 111.2, lon + km * math.cos(angle) / (111.2 * math.cos(math.radians(lat)))


async def drivers(stand: Stand, number: int, *, seed: int = 1) -> list[Driver]:
    """So many registered drivers, without sockets yet."""
    chance = random.Random(seed)
    made: list[Driver | None] = [None] * number
    spare: list[Http] = []

    async def register(index: int) -> None:
        http = spare.pop() if spare else await connect_http(stand.port)
        body = to_json({"name": f"driver {index}"})
        status, answer = await http.ask(request("POST", "/drivers", stand.service, body))
        spare.append(http)
        if status != 201:
            raise Failed(f"POST /drivers: {status} {answer[:200].decode(errors='replace')}")
        driver_id: str = msgspec.json.decode(answer)["id"]
        made[index] = Driver(driver_id, stand.token("driver", driver_id), *somewhere(chance))

    await each(range(number), REGISTER_WIDTH, register)
    for http in spare:
        http.close()
    return [driver for driver in made if driver is not None]


async def on_the_road(stand: Stand, fleet: Iterable[Driver]) -> None:
    """Connect them all, wait for each one's `hello`, and have them say where they are."""

    async def open_socket(driver: Driver) -> None:
        driver.waiting = asyncio.get_running_loop().create_future()
        headers = {"Authorization": f"Bearer {driver.token}"}
        driver.socket = await connect(stand.port, "/ws/driver", headers, driver.hear)
        async with asyncio.timeout(HELLO_SECONDS):
            await driver.waiting
        driver.send(driver.place())

    await each(fleet, CONNECT_WIDTH, open_socket)


def off_the_road(fleet: Iterable[Driver]) -> None:
    """Disconnect all of them."""
    for driver in fleet:
        if driver.socket is not None:
            driver.socket.abort()


async def each(items: Iterable[Any], width: int, work: Callable[[Any], Awaitable[None]]) -> None:
    """Do this with each item, so many at a time; the first failure ends it."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(worker())


_shops = count(1)


class Shop:
    """Makes orders, each with a name that its offer will carry; no two shops of a run use the same."""

    def __init__(self, stand: Stand) -> None:
        number = next(_shops)
        self._head = head("POST", "/deliveries", stand.service)
        self._chance = random.Random(number)
        self._name = f"shop {number} order"
        self._numbers = count(1)

    def order(self, place: tuple[float, float] | None = None) -> tuple[str, bytes]:
        """A new order's name and the bytes of its request."""
        name = f"{self._name} {next(self._numbers)}"
        lat, lon = place or somewhere(self._chance)
        drop_lat, drop_lon = somewhere(self._chance)
        body = (
            f'{{"sellerOrderId":"{name}","storeName":"{name}","pickup":{{"lat":{lat:.6f},"lon":{lon:.6f}}},'
            f'"dropoff":{{"lat":{drop_lat:.6f},"lon":{drop_lon:.6f}}},"priceCents":2500}}'
        ).encode()
        return name, self._head % len(body) + body


async def open_offers(
    stand: Stand, fleet: list[Driver], shop: Shop, *, spread_seconds: float = 0.0, within: float = 60.0
) -> dict[str, m.Offer]:
    """Order once for every driver, and wait until each holds an open offer: by driver id."""
    held: dict[str, m.Offer] = {}
    everybody = asyncio.get_running_loop().create_future()

    def hear(driver: Driver, message: m.ToDriver, _now: float) -> None:
        if type(message) is m.OfferMade:
            held[driver.id] = message.offer
            if len(held) == len(fleet) and not everybody.done():
                everybody.set_result(None)

    for driver in fleet:
        driver.on = hear
    spare: list[Http] = []

    async def order(index: int) -> None:
        await asyncio.sleep(max(0.0, begun + spread_seconds * index / len(fleet) - perf_counter()))
        http = spare.pop() if spare else await connect_http(stand.port)
        driver = fleet[index]
        status, answer = await http.ask(shop.order((driver.lat, driver.lon))[1])
        spare.append(http)
        if status != 201:
            raise Failed(f"POST /deliveries: {status} {answer[:200].decode(errors='replace')}")

    begun = perf_counter()
    await each(range(len(fleet)), REGISTER_WIDTH * 2, order)
    try:
        async with asyncio.timeout(within):
            await everybody
    except TimeoutError:
        raise Failed(f"only {len(held)} of {len(fleet)} drivers have an offer") from None
    finally:
        for http in spare:
            http.close()
    return held
