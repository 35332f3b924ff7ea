"""Drivers who say where they are, four times a second each: what a position costs, and whether offers wait for it."""

import asyncio
import random
from time import perf_counter

from server.driver_client import messages as m
from tests.bench import transport
from tests.bench.figures import Result, percentiles, short, spread
from tests.bench.fleet import Driver, Hear, Shop, drivers, off_the_road, on_the_road
from tests.bench.orders import Load
from tests.bench.stand import Servers, stand
from tests.bench.transport import Pace

INTERVAL_SECONDS = 0.25
ASKING = 20
"""Every so many positions one asks for an acknowledgement: how far behind is the server?"""


async def run(servers: Servers, quick: bool) -> Result:
    """The benchmark."""
    number, seconds = (200, 3.0) if quick else (1000, 12.0)
    rate = number / INTERVAL_SECONDS
    result = Result("positions", "Positions", {"drivers": number, "perSecond": rate, "seconds": seconds})
    async with stand(servers) as server:
        fleet = await drivers(server, number)
        await on_the_road(server, fleet)
        moving = Moving(fleet)
        pace = Pace(rate, moving.send)
        await asyncio.sleep(seconds / 4)
        moving.took.clear()
        begin, before = server.meter.sample(), pace.sent
        await asyncio.sleep(seconds)
        window, sent = server.meter.window(begin), pace.sent - before
        result.windows["positions"] = window
        result.figures["positions"] = {
            "perSecond": round(sent / window.seconds),
            "cpuUs": window.us_per(sent),
            "ms": {"positionToAck": spread(moving.took)},
        }
        load = Load(server, fleet, Shop(server), pause=0.02)
        for driver in fleet:
            driver.on = moving.beside(load.hear)
        await load.start(1)
        await asyncio.sleep(1.0)
        load.forget()
        begin, before = server.meter.sample(), pace.sent
        load.measuring = True
        await asyncio.sleep(seconds)
        load.measuring = False
        window, sent = server.meter.window(begin), pace.sent - before
        await load.stop()
        pace.stop()
        off_the_road(fleet)
        result.windows["withOrders"] = window
        result.errors.update(load.errors)
        result.figures["withOrders"] = {
            "perSecond": round(sent / window.seconds),
            "orders": len(load.wholes),
            "ms": load.latencies(),
        }
    for path in ("sink", "echo"):
        result.limits[path] = await transport.steady(servers, number, rate, seconds / 3, f"/{path}")
    _tell(result)
    return result


class Moving:
    """The drivers on their ways, a few metres at a time."""

    def __init__(self, fleet: list[Driver]) -> None:
        self.took: list[float] = []
        self._fleet = fleet
        self._chance = random.Random(3)
        self._asked: dict[str, float] = {}
        for driver in fleet:
            driver.on = self._hear

    def send(self, number: int) -> None:
        """The position of the driver whose turn it is."""
        driver = self._fleet[number % len(self._fleet)]
        driver.lat += (self._chance.random() - 0.5) * 1e-4
        driver.lon += (self._chance.random() - 0.5) * 1e-4
        if number % ASKING:
            driver.send(driver.place())
        else:
            asked = f"l{number}"
            self._asked[asked] = perf_counter()
            where = b'"lat":%.6f,"lon":%.6f}' % (driver.lat, driver.lon)
            driver.send(b'{"type":"location","id":"%b",%b' % (asked.encode(), where))

    def _hear(self, _driver: Driver, message: m.ToDriver, _now: float) -> None:
        if type(message) is m.Ack:
            asked = self._asked.pop(message.id, None)
            if asked is not None:
                self.took.append(perf_counter() - asked)

    def beside(self, other: Hear) -> Hear:
        """Hear acknowledgements of positions here, and everything there."""

        def hear(driver: Driver, message: m.ToDriver, now: float) -> None:
            self._hear(driver, message, now)
            other(driver, message, now)

        return hear


def _tell(result: Result) -> None:
    alone, beside = result.figures["positions"], result.figures["withOrders"]["ms"]["postToOffer"]
    used = alone["cpuUs"]["server"]
    result.line(
        f"server CPU us a position, {short(alone['perSecond'])} a second",
        short(used),
        "40",
        used is not None and used <= 40,
        limit=f"bare socket, only read {short(result.limits['sink']['serverCpuUs'])}, "
        f"echoed {short(result.limits['echo']['serverCpuUs'])}",
        window="positions",
    )
    result.line("position to ack", percentiles(alone["ms"]["positionToAck"]), window="positions")
    result.line(
        "order posted to offer meanwhile",
        percentiles(beside),
        "p50 < 15, p99 < 50",
        bool(beside["n"]) and beside["p50"] < 15 and beside["p99"] < 50,
        window="withOrders",
    )
