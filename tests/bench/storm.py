"""Many open offers accepted at once: what sharing a transaction is worth."""

import asyncio
from collections import Counter
from collections.abc import Callable
from statistics import median
from time import perf_counter

from server.driver_client import messages as m
from tests.bench import alone
from tests.bench.figures import Result, percentiles, short, spread
from tests.bench.fleet import Driver, Shop, drivers, off_the_road, on_the_road, open_offers
from tests.bench.machine import Window
from tests.bench.stand import Failed, Servers, Stand, stand

IN_FLIGHT = 128
LONG_OFFER = {"offerTimeoutSeconds": 600}
STORM_SECONDS = 60.0


async def run(servers: Servers, quick: bool) -> Result:
    """The benchmark: the two batch limits in turns, since a machine's speed drifts; of the rounds' rates the median."""
    number, rounds, turns = (200, 1, 1) if quick else (1000, 2, 2)
    seconds = 1.0 if quick else 4.0
    setting = {"openOffers": number, "inFlight": IN_FLIGHT, "rounds": rounds * turns}
    result = Result("storm", "Accept storm", setting)
    for _ in range(turns):
        for limit in (IN_FLIGHT, 1):
            await _storms(result, servers, limit, number, rounds)
    for limit in (IN_FLIGHT, 1):
        found = result.figures[f"batchLimit{limit}"]
        found["acceptsPerSecond"] = median(found["rounds"])
        found["cpuUsPerAccept"] = result.windows[f"batchLimit{limit}"].us_per(found["accepts"])
        found["ms"] = spread(found.pop("took"))
        result.limits[f"alone{limit}"] = await alone.in_step(servers, IN_FLIGHT, seconds, batch_limit=limit)
    _tell(result)
    return result


async def _storms(result: Result, servers: Servers, limit: int, number: int, rounds: int) -> None:
    name = f"batchLimit{limit}"
    async with stand(servers, BATCH_LIMIT=limit) as server:
        await server.change_policy(**LONG_OFFER)
        fleet = await drivers(server, number)
        await on_the_road(server, fleet)
        shop = Shop(server)
        for _ in range(rounds):
            held = await open_offers(server, fleet, shop)
            storm = Storm(server, fleet, held)
            window = await storm.accept()
            await storm.complete()
            found = result.figures.setdefault(name, {"accepts": 0, "rounds": [], "took": []})
            found["accepts"] += len(storm.took)
            found["rounds"].append(round(len(storm.took) / storm.seconds, 1))
            found["took"] += storm.took
            result.windows[name] = _sum(result.windows.get(name), window)
            result.errors.update(storm.errors)
        off_the_road(fleet)


class Storm:
    """Every driver accepts their offer, so many at a time; and later completes."""

    def __init__(self, server: Stand, fleet: list[Driver], held: dict[str, m.Offer]) -> None:
        self.took: list[float] = []
        self.errors: Counter[str] = Counter()
        self.seconds = 0.0
        self._server = server
        self._fleet = fleet
        self._held = held
        self._assignments: dict[str, str] = {}

    async def accept(self) -> Window:
        """All of them; what it used."""
        begin, started = self._server.meter.sample(), perf_counter()
        await self._all(lambda driver: (b'"accept"', b'"offerId":"%b"' % self._held[driver.id].id.encode()))
        self.seconds = perf_counter() - started
        return self._server.meter.window(begin)

    async def complete(self) -> None:
        """All of them."""
        measured, self.took = self.took, []
        self._fleet = [driver for driver in self._fleet if driver.id in self._assignments]
        await self._all(lambda d: (b'"completed"', b'"assignmentId":"%b"' % self._assignments[d.id].encode()))
        self.took = measured

    async def _all(self, message_of: Callable[[Driver], tuple[bytes, bytes]]) -> None:
        left = iter(self._fleet)
        waiting = len(self._fleet)
        sent_at: dict[str, float] = {}
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def send_next() -> None:
            driver = next(left, None)
            if driver is not None:
                kind, named = message_of(driver)
                sent_at[driver.id] = perf_counter()
                driver.send(b'{"type":%b,"id":"s",%b}' % (kind, named))

        def hear(driver: Driver, message: m.ToDriver, now: float) -> None:
            nonlocal waiting
            if type(message) is m.Ack:
                self.took.append(now - sent_at[driver.id])
                if message.result.assignment is not None:
                    self._assignments[driver.id] = message.result.assignment.id
            elif type(message) is m.Error:
                self.errors[message.code] += 1
            else:
                return
            waiting -= 1
            send_next()
            if not waiting and not over.done():
                over.set_result(None)

        for driver in self._fleet:
            driver.on = hear
        for _ in range(IN_FLIGHT):
            send_next()
        try:
            async with asyncio.timeout(STORM_SECONDS):
                await over
        except TimeoutError:
            raise Failed(f"{waiting} of {len(self._fleet)} are still unanswered") from None


def _sum(one: Window | None, other: Window) -> Window:
    if one is None:
        return other
    return Window(*(round(getattr(one, name) + getattr(other, name), 3) for name in Window.__struct_fields__))


def _tell(result: Result) -> None:
    many, single = result.figures[f"batchLimit{IN_FLIGHT}"], result.figures["batchLimit1"]
    ratio = many["acceptsPerSecond"] / single["acceptsPerSecond"]
    result.figures["ratio"] = round(ratio, 2)
    limits = {limit: result.limits[f"alone{limit}"]["perSecond"]["accept"] for limit in (IN_FLIGHT, 1)}
    alone_ratio = limits[IN_FLIGHT]["writePath"] / limits[1]["writePath"]
    result.limits["ratioAlone"] = round(alone_ratio, 2)
    result.line(
        f"accepts/s, {IN_FLIGHT} in flight, shared transactions",
        short(many["acceptsPerSecond"]),
        limit=f"write path alone {short(limits[IN_FLIGHT]['writePath'])}, its statements alone "
        f"{short(limits[IN_FLIGHT]['statements'])}",
        window=f"batchLimit{IN_FLIGHT}",
    )
    result.line(
        "the same with batch size 1",
        short(single["acceptsPerSecond"]),
        limit=f"write path alone {short(limits[1]['writePath'])}",
        window="batchLimit1",
    )
    result.line(
        "sharing gains",
        f"{short(ratio)} times",
        "3 times",
        ratio >= 3,
        limit=f"write path alone {short(alone_ratio)} times",
    )
    result.line(
        "accept to ack in the storm",
        percentiles(many["ms"]),
        limit=f"batch size 1: {percentiles(single['ms'])}",
        window=f"batchLimit{IN_FLIGHT}",
    )
