"""Which driver gets which delivery: the pure functions in many sizes, and one order among many drivers, end to end."""

import asyncio
import gc
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Any, Final

import asyncpg
import numpy as np
from scipy.optimize import linear_sum_assignment

from server.dispatch.matching import Candidate, Waiting, best_pairs, match
from server.dispatch.model import Driver, Position
from server.dispatch.planning.nearby import Nearby, unit
from server.dispatch.policy import DEFAULT_POLICY
from server.dispatch.travel import EARTH_RADIUS_KM
from server.ids import new_id
from tests.bench.figures import Result, at, percentiles, short
from tests.bench.fleet import CENTRE, Shop, drivers, off_the_road, on_the_road, somewhere
from tests.bench.orders import Load
from tests.bench.stand import Failed, Servers, Stand, stand
from tests.waiting import last_seen

DRIVERS: Final = (100, 1_000, 2_000, 10_000, 100_000)
WAITING: Final = (1, 10, 50, 200, 500)
MANY: Final = 100_000
CORNER: Final = 20
"""Drivers on sockets, at the centre of the many: they alone get the orders, which are posted from where they stand."""
CORNER_KM: Final = 0.5
NOW: Final = datetime(2026, 2, 1, 18, 0, tzinfo=UTC)

CROWD: Final = """
WITH node AS (
    INSERT INTO nodes (id, name, started_at, expires_at)
    VALUES (gen_random_uuid(), 'bench', now(), now() + interval '1 day') RETURNING id
), made AS (
    INSERT INTO drivers (id, name, zone, capacity, created_at, availability, last_availability_change,
        session_id, session_node, expiries_in_a_row, stream_seq, active_count)
    SELECT gen_random_uuid(), 'crowd', 'default', 1, now(), 'available', now(), gen_random_uuid(), node.id, 0, 0, 0
    FROM node, generate_series(1, $1) RETURNING id
)
INSERT INTO driver_positions (driver_id, lat, lon, at)
SELECT id, $2 + km * sin(angle) / 111.2, $3 + km * cos(angle) / (111.2 * cos(radians($2))), now()
FROM (SELECT id, sqrt($4 ^ 2 + ($5 ^ 2 - $4 ^ 2) * random()) AS km, 2 * pi() * random() AS angle FROM made) placed
"""
"""So many drivers with a session on another node, in a ring around a point."""


async def run(servers: Servers, quick: bool) -> Result:
    """The benchmark."""
    many = 5_000 if quick else MANY
    result = Result("matching", "Matching", {"drivers": many, "waiting": max(WAITING)})
    result.figures["pure"] = _pure(quick)
    result.limits["pure"] = {f"{w}x{d}": _parts(w, d) for w, d in ((200, 2_000), (1, MANY))}
    result.figures["picture"] = _picture(quick)
    await _end_to_end(result, servers, many, 3.0 if quick else 10.0)
    _tell(result, many)
    return result


def _pure(quick: bool) -> list[dict[str, Any]]:
    """Milliseconds of `match`, for every size: with drivers everywhere, and with all orders of one street."""
    found = []
    for number in DRIVERS:
        if quick and number > 10_000:
            continue
        chance = random.Random(number)
        free = [Candidate(new_id(), *somewhere(chance)) for _ in range(number)]
        for waits in WAITING:
            spread_out = [_waiting(*somewhere(chance)) for _ in range(waits)]
            street = [_waiting(*somewhere(chance, 0.1)) for _ in range(waits)]
            found.append(
                {
                    "drivers": number,
                    "waiting": waits,
                    "ms": _median_ms(partial(match, spread_out, free, NOW, DEFAULT_POLICY)),
                    "oneStreetMs": _median_ms(partial(match, street, free, NOW, DEFAULT_POLICY)),
                }
            )
        del free
        gc.collect()
    return found


def _picture(quick: bool) -> list[dict[str, Any]]:
    """Milliseconds to find out who is free, and then pairs, as the matcher does it with its picture of the fleet."""
    found = []
    for number in DRIVERS:
        if quick and number > 10_000:
            continue
        chance = random.Random(number)
        nearby = Nearby()
        for _ in range(number):
            place = Position(*somewhere(chance), NOW)
            nearby.put(Driver(new_id(), "crowd", "default", 1, "available", NOW, session_id=new_id(), position=place))
        free = nearby.free(["default"], NOW, DEFAULT_POLICY)
        for waits in (1, 200):
            pickups = np.array([unit(*somewhere(chance)) for _ in range(waits)])
            least = np.full(waits, math.cos(5 / EARTH_RADIUS_KM))
            ages = np.array([float(chance.randrange(600)) for _ in range(waits)])
            found.append(
                {
                    "drivers": number,
                    "waiting": waits,
                    "freeMs": _median_ms(partial(nearby.free, ["default"], NOW, DEFAULT_POLICY)),
                    "pairsMs": _median_ms(partial(best_pairs, pickups, least, ages, free.places, DEFAULT_POLICY)),
                }
            )
    return found


def _waiting(lat: float, lon: float) -> Waiting:
    return Waiting(new_id(), lat, lon, NOW - timedelta(seconds=random.randrange(600)), 5.0, {})


def _parts(waits: int, number: int) -> dict[str, float]:
    """What numpy and scipy take for the same: all distances, and one assignment of full size."""
    generator = np.random.default_rng(1)
    x, y, px, py = (generator.random(n) for n in (number, number, waits, waits))

    def distances() -> None:
        for i in range(waits):
            np.argmin((x - px[i]) ** 2 + (y - py[i]) ** 2)

    costs = generator.random((waits, min(number, 2_000)))
    return {
        "distancesMs": _median_ms(distances),
        "assignmentMs": _median_ms(lambda: linear_sum_assignment(costs)) if waits > 1 else 0.0,
    }


def _median_ms(work: Callable[[], object], within: float = 0.4, most: int = 15) -> float:
    took: list[float] = []
    began = perf_counter()
    while len(took) < most and (not took or perf_counter() - began < within):
        started = perf_counter()
        work()
        took.append(perf_counter() - started)
    return round(1000 * at(sorted(took), 0.5), 3)


class Corner(Shop):
    """Orders from where the drivers at the corner stand."""

    def __init__(self, server: Stand, places: list[tuple[float, float]]) -> None:
        super().__init__(server)
        self._places = places

    def order(self, place: tuple[float, float] | None = None) -> tuple[str, bytes]:
        return super().order(place or random.choice(self._places))


async def _end_to_end(result: Result, servers: Servers, many: int, seconds: float) -> None:
    """One order at a time with so many drivers at work: posted, found, offered, on the socket."""
    async with stand(servers) as server:
        fleet = await drivers(server, CORNER)
        for number, driver in enumerate(fleet):
            angle = 2 * math.pi * number / CORNER
            driver.lat, driver.lon = CENTRE[0] + 0.0005 * math.sin(angle), CENTRE[1] + 0.0005 * math.cos(angle)
        await on_the_road(server, fleet)
        for name, crowd in (("few", 0), ("many", many)):
            if crowd:
                await _crowd(servers, server, crowd)
            load = Load(server, fleet, Corner(server, [(d.lat, d.lon) for d in fleet]), pause=0.02)
            await load.start(1)
            await asyncio.sleep(1.5)
            load.forget()
            before = await server.metrics()
            begin = server.meter.sample()
            load.measuring = True
            await asyncio.sleep(seconds)
            load.measuring = False
            result.windows[name] = server.meter.window(begin)
            after = await server.metrics()
            await load.stop()
            result.errors.update(load.errors)
            search = "callboard_matcher_search_seconds"
            rounds = after[f"{search}_count"] - before[f"{search}_count"]
            result.figures[name] = {
                "drivers": crowd + CORNER,
                "orders": len(load.wholes),
                "ms": load.latencies(),
                "searchMs": round(1000 * (after[f"{search}_sum"] - before[f"{search}_sum"]) / max(1.0, rounds), 3),
            }
        off_the_road(fleet)


async def _crowd(servers: Servers, server: Stand, number: int) -> None:
    """Put them into the database, and wait until the server knows them."""
    connection = await asyncpg.connect(server.database_url)
    try:
        await connection.execute(CROWD, number, *map(float, CENTRE), CORNER_KM, 4.0, timeout=120)
        await connection.execute("ANALYZE drivers, driver_positions", timeout=60)
    finally:
        await connection.close()
    metrics = await last_seen(
        server.metrics, lambda seen: seen["callboard_fleet_drivers"] >= number, within=60.0, every=0.5
    )
    if metrics["callboard_fleet_drivers"] < number:
        raise Failed("the server did not read all drivers within a minute")


def _tell(result: Result, many: int) -> None:
    sizes = {(row["waiting"], row["drivers"]): row for row in result.figures["pure"]}
    row, parts = sizes[200, 2_000], result.limits["pure"]["200x2000"]
    slower = max(row["ms"], row["oneStreetMs"])
    result.line(
        "200 waiting, 2,000 drivers",
        f"{short(row['ms'])} ms; all from one street {short(row['oneStreetMs'])} ms",
        "150 ms",
        slower < 150,
        limit=f"numpy's distances {short(parts['distancesMs'])}, "
        f"scipy's assignment of 200 x 2,000 {short(parts['assignmentMs'])} ms",
    )
    largest = sizes.get((1, MANY))
    if largest is not None:
        alone = result.limits["pure"][f"1x{MANY}"]["distancesMs"]
        result.line(
            f"1 waiting, {MANY:,} drivers, as objects",
            f"{short(largest['ms'])} ms",
            limit=f"numpy's distances {short(alone)} ms",
        )
    pictures = {(row["waiting"], row["drivers"]): row for row in result.figures["picture"]}
    for waits, number, most in ((1, 2_000, 0.5), (200, 2_000, 30.0)):
        row = pictures[waits, number]
        took = row["freeMs"] + row["pairsMs"]
        result.line(
            f"{waits} waiting, {number:,} drivers in the picture of the fleet",
            f"{short(row['freeMs'])} ms to find who is free, {short(row['pairsMs'])} ms to pair",
            f"{most} ms",
            took < most,
        )
    ms = result.figures["many"]["ms"]["postToOffer"]
    result.line(
        f"the same end to end, order posted to offer; search {short(result.figures['many']['searchMs'])} ms",
        percentiles(ms),
        "20 ms",
        bool(ms["n"]) and ms["p50"] < 20,
        limit=f"{CORNER} drivers: {percentiles(result.figures['few']['ms']['postToOffer'])}",
        window="many",
    )
