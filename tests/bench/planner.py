"""The plan of the node with the lease: one order on a quiet evening, a busy round, and everything at once.

The matcher, its picture and the database are real, in the process of the benchmark. Only the offers that it makes are
counted instead of committed, so that the plan is measured and not the write path. Meanwhile cycles go through the
executor, and a clock notes how long the loop was stopped.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Final

import asyncpg
import numpy as np
import psutil

from server.contract.commit import Answer
from server.dispatch import commands as c
from server.dispatch.matching import best_pairs
from server.dispatch.model import Actor, Delivery, Driver, Place, Position
from server.dispatch.planning.nearby import Nearby, unit
from server.dispatch.planning.part import plan_part
from server.dispatch.policy import DEFAULT_POLICY
from server.dispatch.zones import NO_ZONES
from server.dispatcher.backlog import Backlog, allowed_pairs, least_cosines
from server.dispatcher.matcher import ROUND_LIMIT, SEARCH_TIME
from server.ids import new_id
from server.node import Node
from server.process.log_format import write_logs
from server.process.uvicorn_server import collect_rarely
from server.settings import Settings
from server.store.clock import DatabaseTime
from server.store.migrate import migrate
from tests.bench.figures import Result, short, spread
from tests.bench.fleet import CENTRE, RADIUS_KM, somewhere
from tests.bench.matching import NOW
from tests.bench.stand import SECRET, Failed, Servers

DRIVERS: Final = 20_000
WAITING: Final = 5_000
QUIET_DRIVERS: Final = 50
CYCLES_A_SECOND: Final = 300
CYCLING: Final = 150
"""Drivers of the cycles, in a separate zone."""
CORNER: Final = "corner"
TICK_SECONDS: Final = 0.001
WITHIN_SECONDS: Final = 60.0
MIB: Final = 2**20

CROWD: Final = """
WITH node AS (
    INSERT INTO nodes (id, name, started_at, expires_at)
    VALUES (gen_random_uuid(), 'bench', now(), now() + interval '1 day') RETURNING id
), made AS (
    INSERT INTO drivers (id, name, zone, capacity, created_at, availability, last_availability_change,
        session_id, session_node, expiries_in_a_row, stream_seq, active_count)
    SELECT gen_random_uuid(), 'crowd', 'zone ' || n % $2, 1, now(), 'available', now(), gen_random_uuid(), node.id, 0,
           0, 0
    FROM node, generate_series(1, $1) n RETURNING id
)
INSERT INTO driver_positions (driver_id, lat, lon, at)
SELECT id, $3 + km * sin(angle) / 111.2, $4 + km * cos(angle) / (111.2 * cos(radians($3))), now()
FROM (SELECT id, $5 * sqrt(random()) AS km, 2 * pi() * random() AS angle FROM made) placed"""
ORDERS: Final = """
WITH made AS (
    INSERT INTO deliveries (id, seller_order_id, store_name, zone, status, pickup_lat, pickup_lon, dropoff_lat,
                            dropoff_lon, prep_seconds, currency, fingerprint, dispatch_at, created_at,
                            unassigned_since, offer_acceptance_count, version)
    SELECT id, id, 'Store', 'zone ' || n % $2, 'READY', $3 + km * sin(angle) / 111.2,
           $4 + km * cos(angle) / (111.2 * cos(radians($3))), $3, $4, 0, 'USD', 'f', now(), now(),
           now() - make_interval(secs => n * 0.001), 0, 1
    FROM (SELECT gen_random_uuid() AS id, n, $5 * sqrt(random()) AS km, 2 * pi() * random() AS angle
          FROM generate_series(1, $1::int) n) placed
    RETURNING id)
INSERT INTO unassigned_orders (delivery_id, failure_reason, first_attempt_at, last_attempt_at, attempt_count,
                               escalation_level, escalation_status)
SELECT id, 'searching', now(), now(), 0, 0, 'PENDING' FROM made"""


async def run(servers: Servers, quick: bool) -> Result:
    """The benchmark."""
    drivers, waiting = (2_000, 500) if quick else (DRIVERS, WAITING)
    result = Result("planner", "Planner", {"drivers": drivers, "waiting": waiting})
    quiet = await _quiet(500 if quick else 5_000)
    result.figures["quietUs"] = quiet
    result.line(
        f"one order, {QUIET_DRIVERS} drivers: the delivery learned of, a driver found",
        f"p50 {short(quiet['p50'])}, p99 {short(quiet['p99'])} us",
        "100 us",
        quiet["p50"] < 100,
    )
    busy = await _busy(200, 2_000)
    result.figures["busyMs"] = busy
    result.line("200 waiting, 2,000 drivers: a round", f"p50 {short(busy['p50'])} ms", "30 ms", busy["p50"] < 30)
    held = _held(200, 2_000)
    result.figures["heldMs"] = held
    result.line(
        "200 waiting whose goods are not ready, 2,000 drivers: a plan with holds",
        f"p50 {short(held['p50'])} ms",
        "30 ms",
        held["p50"] < 30,
    )
    for zones in (1, 50):
        with (servers.data / "planner.log").open("a") as log:
            write_logs("info", "json", log)
            found = await _everything(servers, drivers, waiting, zones)
        result.figures[f"everything{zones}"] = found
        what = f"{waiting:,} waiting, {drivers:,} drivers, {zones} zone{'s' if zones > 1 else ''}"
        result.line(
            f"{what}: all rounds",
            f"{short(found['planSeconds'])} s in {found['rounds']} rounds; {found['offers']:,} offers",
            "2 s",
            found["planSeconds"] < 2,
            limit=f"with reading them {short(found['wholeSeconds'])} s",
        )
        result.line(
            f"{what}: the loop was stopped meanwhile, with {short(found['cyclesASecond'])} cycles/s",
            f"p99 {short(found['stoppedMs']['p99'])}, at most {short(found['stoppedMs']['max'])} ms",
            "10 ms",
            found["stoppedMs"]["max"] < 10,
            limit=f"cycles alone: p99 {short(found['aloneMs']['p99'])}, at most {short(found['aloneMs']['max'])} ms",
        )
        result.line(
            f"{drivers:,} drivers, {zones} zone{'s' if zones > 1 else ''}: read after the lease was taken",
            f"{short(found['rebuildSeconds'])} s, {short(found['memoryMib'])} MiB",
            "1 s",
            found["rebuildSeconds"] < 1,
        )
    return result


def _picture(drivers: int) -> tuple[Nearby, random.Random]:
    chance, nearby = random.Random(drivers), Nearby()
    for _ in range(drivers):
        place = Position(*somewhere(chance), NOW)
        nearby.put(Driver(new_id(), "crowd", "default", 1, "available", NOW, session_id=new_id(), position=place))
    return nearby, chance


def _delivery(chance: random.Random, prep_seconds: int = 0) -> Delivery:
    pickup, dropoff = Place(*somewhere(chance)), Place(*somewhere(chance))
    return Delivery(
        new_id(),
        "",
        "order",
        "Store",
        "default",
        "READY",
        pickup,
        dropoff,
        prep_seconds,
        NOW,
        NOW,
        "f",
        unassigned_since=NOW,
    )


async def _round(backlog: Backlog, nearby: Nearby, clock: DatabaseTime, orders: list[Delivery], at_: float) -> int:
    """What the matcher does between a commit and its offers."""
    backlog.learn(orders, at_)
    rows = backlog.take_due(at_, ROUND_LIMIT)
    free = nearby.free(["default"], NOW, DEFAULT_POLICY, backlog.reserved)
    pickups = np.array([unit(wait.delivery.pickup.lat, wait.delivery.pickup.lon) for wait in rows])
    least = least_cosines(rows, DEFAULT_POLICY)
    allowed = await allowed_pairs(rows, free, nearby, clock, DEFAULT_POLICY)
    pairs = best_pairs(pickups, least, np.zeros(len(rows)), free.places, DEFAULT_POLICY, allowed)
    for wait in rows:
        backlog.drop(wait)
    return len(pairs)


async def _quiet(rounds: int) -> dict[str, Any]:
    nearby, chance = _picture(QUIET_DRIVERS)
    return await _timed(nearby, [[_delivery(chance)] for _ in range(rounds)], scale=1e6)


async def _busy(waiting: int, drivers: int) -> dict[str, Any]:
    nearby, chance = _picture(drivers)
    return await _timed(nearby, [[_delivery(chance) for _ in range(waiting)] for _ in range(15)], scale=1e3)


def _held(waiting: int, drivers: int) -> dict[str, Any]:
    """Plans with holds, in a thread on a live server."""
    nearby, chance = _picture(drivers)
    crowd = [nearby.driver(driver_id) for driver_id in nearby.drivers]
    took = []
    for _ in range(15):
        orders = [_delivery(chance, prep_seconds=chance.randint(300, 1500)) for _ in range(waiting)]
        began = perf_counter()
        found = plan_part(orders, crowd, {}, NO_ZONES, NOW, DEFAULT_POLICY)
        took.append(perf_counter() - began)
        if len(found.held) + len(found.proposals) != waiting:
            raise Failed(f"{waiting} orders: {len(found.held)} are held, and {len(found.proposals)} offered")
    return spread(took)


async def _timed(nearby: Nearby, rounds: list[list[Delivery]], scale: float) -> dict[str, Any]:
    clock = DatabaseTime()
    clock.heard(NOW)
    backlog, took = Backlog(clock), []
    for orders in rounds:
        now = asyncio.get_running_loop().time()
        began = perf_counter()
        await _round(backlog, nearby, clock, orders, now)
        took.append(perf_counter() - began)
    return spread(took, scale)


class Counted:
    """Takes the matcher's offers, and never answers. Those to the drivers of the cycles do not count."""

    def __init__(self) -> None:
        self.offers = 0
        self.first_at = self.last_at = 0.0
        self.cycling: set[str] = set()

    def submit(self, command: c.Command) -> "asyncio.Future[Any]":
        if isinstance(command, c.OfferDelivery) and command.driver_id not in self.cycling:
            self.offers += 1
            self.last_at = perf_counter()
            self.first_at = self.first_at or self.last_at
        return asyncio.get_running_loop().create_future()


@asynccontextmanager
async def _planning(servers: Servers, drivers: int, zones: int) -> AsyncIterator[tuple[Node, str, dict[str, Any]]]:
    """A node in this process with so many drivers; how long it took to read them, and the memory they take."""
    async with servers.database() as url:
        await migrate(url)
        await _execute(url, CROWD, drivers, zones, *CENTRE, RADIUS_KM)
        node = Node(Settings(database_url=url, redis_url=servers.redis_url, secret=SECRET))
        await node.start()
        process = psutil.Process()
        try:
            before = process.memory_info().rss
            await node.lease.taken.wait()
            began = perf_counter()
            await _until(lambda: node.matcher.fleet.ready)
            found: dict[str, Any] = {"rebuildSeconds": perf_counter() - began}
            found["memoryMib"] = (process.memory_info().rss - before) / MIB
            collect_rarely()
            if len(node.matcher.fleet.nearby.drivers) != drivers:
                raise Failed(f"{len(node.matcher.fleet.nearby.drivers)} of {drivers} drivers were read")
            yield node, url, found
        finally:
            await node.drain()
            await node.stop()


async def _everything(servers: Servers, drivers: int, waiting: int, zones: int) -> dict[str, Any]:
    async with _planning(servers, drivers, zones) as (node, url, found):
        counted = Counted()
        node.matcher._submissions._executor = counted  # type: ignore[assignment]
        free = [await _cycling_driver(node) for _ in range(CYCLING)]
        counted.cycling.update(free)
        done: list[float] = []
        enough = asyncio.Event()
        cycles = asyncio.create_task(_cycles(node, free, done, enough))
        alone: list[float] = []
        await _while(asyncio.create_task(asyncio.sleep(3.0)), alone)
        stopped: list[float] = []
        before = _search_seconds()
        await _while(asyncio.create_task(_execute(url, ORDERS, waiting, zones, *CENTRE, RADIUS_KM)), stopped)
        inserted = perf_counter()
        node.matcher.wake()
        await _while(asyncio.create_task(_until(lambda: counted.offers >= waiting * 0.999)), stopped)
        seconds, rounds = (now - then for now, then in zip(_search_seconds(), before, strict=True))
        meanwhile = sum(counted.first_at <= at <= counted.last_at for at in done)
        found |= {
            "planSeconds": seconds,
            "rounds": int(rounds),
            "wholeSeconds": counted.last_at - min(inserted, counted.first_at),
            "offers": counted.offers,
            "stoppedMs": spread(stopped),
            "aloneMs": spread(alone),
            "cyclesASecond": meanwhile / (counted.last_at - counted.first_at),
        }
        enough.set()
        await cycles
        return found


async def _until(condition: Callable[[], bool]) -> None:
    """Look every millisecond. Raises TimeoutError."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while not condition():  # noqa: ASYNC110 - the matcher says it to nobody
            await asyncio.sleep(TICK_SECONDS)


def _search_seconds() -> tuple[float, float]:
    """The time of all rounds of this process, and how many there were."""
    samples = {sample.name.rpartition("_")[2]: sample.value for sample in next(iter(SEARCH_TIME.collect())).samples}
    return samples["sum"], samples["count"]


async def _while(work: "asyncio.Task[None]", late: list[float]) -> None:
    """Note how late the loop is, every millisecond, until the work is done."""
    loop = asyncio.get_running_loop()
    while not work.done():
        due = loop.time() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        late.append(max(0.0, loop.time() - due))
    await work


async def _cycling_driver(node: Node) -> str:
    driver_id = new_id()
    for command in (
        c.RegisterDriver(driver_id, "driver", CORNER, 1, Actor("service", "bench")),
        c.ConnectDriver(driver_id, new_id(), node.node_id, Actor("driver", driver_id)),
    ):
        await _answer(node, command)
    node.positions.moved(driver_id, *CENTRE)
    await node.positions.store()
    return driver_id


async def _cycles(node: Node, free: list[str], done: list[float], enough: asyncio.Event) -> None:
    """CYCLES_A_SECOND cycles of create, offer, accept and complete, as long as drivers are free. Those that have begun
    are brought to their end.
    """

    async def cycle(driver_id: str) -> None:
        order, driver = new_id(), Actor("driver", driver_id)
        place = Place(*CENTRE)
        await _answer(
            node, c.CreateDelivery(order, "", order, "Bench", CORNER, place, place, 0, "f", Actor("service", "bench"))
        )
        offer, assignment = new_id(), new_id()
        await _answer(node, c.OfferDelivery(order, driver_id, offer, *CENTRE))
        await _answer(node, c.AcceptOffer(offer, driver_id, assignment, driver))
        await _answer(node, c.Complete(assignment, driver_id, driver))
        free.append(driver_id)
        done.append(perf_counter())

    loop = asyncio.get_running_loop()
    due = loop.time()
    async with asyncio.TaskGroup() as running:
        while not enough.is_set():
            due = max(due + 1 / CYCLES_A_SECOND, loop.time() - 0.1)
            await asyncio.sleep(due - loop.time())
            if free:
                running.create_task(cycle(free.pop(0)))


async def _answer(node: Node, command: c.Command) -> None:
    answer = await node.executor.submit(command)
    if not isinstance(answer, Answer):
        raise Failed(f"a cycle beside the planner: {answer.code}")


async def _execute(url: str, statement: str, *args: object) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement, *args, timeout=120)
        await connection.execute("ANALYZE", timeout=60)
    finally:
        await connection.close()
