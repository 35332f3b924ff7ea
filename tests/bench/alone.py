"""The write path alone, in this process: no HTTP, no sockets, no matcher. What the rest of the server adds is seen
by comparison. `statements` is the time its SQL statements take, one after the other on one connection.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any, Final

from msgspec import Struct

from server.contract.commit import Answer
from server.dispatch import commands as c
from server.dispatch.model import Actor, Place
from server.dispatch.policy import DEFAULT_POLICY
from server.ids import new_id
from server.store.engine import Database
from server.store.migrate import migrate
from server.tasks import stop, supervised
from server.write.executor import Executor, NodeCopies
from tests.bench.figures import at
from tests.bench.machine import Meter, Window
from tests.bench.stand import Failed, Servers

SHOP: Final = Actor("service", "bench")
NODE: Final = new_id()
PICKUP, DROPOFF = Place(19.43, -99.13), Place(19.44, -99.12)
STEPS: Final = ("create", "offer", "accept", "complete")
WARM_UP_BATCHES: Final = 8

POSITION: Final = "INSERT INTO driver_positions (driver_id, lat, lon, at) VALUES ($1, $2, $3, now())"


class Step(Struct):
    """One kind of command in batches of one size: seconds of each whole batch, and of its statements."""

    wholes: list[float]
    statements: list[float]

    def per_second(self, size: int) -> dict[str, float]:
        """Commands a second if nothing else were done: by the median batch."""
        return {
            "writePath": round(size / at(sorted(self.wholes), 0.5)),
            "statements": round(size / at(sorted(self.statements), 0.5)),
        }


class Timed:
    """A connection that adds up how long its statements take."""

    def __init__(self, connection: Any) -> None:
        self.seconds = 0.0
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def timed(*arguments: Any, **named: Any) -> Any:
            started = perf_counter()
            try:
                return await found(*arguments, **named)
            finally:
                self.seconds += perf_counter() - started

        setattr(self, name, timed)
        return timed


class Lane:
    """An executor on a separate database, with drivers who are free."""

    def __init__(self, executor: Executor, drivers: list[str], connections: list[Timed]) -> None:
        self.executor = executor
        self.drivers = drivers
        self._connections = connections

    def spent(self) -> float:
        """Seconds in statements so far."""
        return sum(connection.seconds for connection in self._connections)

    async def one(self, command: c.Command) -> Answer:
        """Submit it; its answer. Raises Failed at a refusal."""
        answer = await self.executor.submit(command)
        if not isinstance(answer, Answer):
            raise Failed(f"the write path alone: {answer.code}")
        return answer

    async def all(self, commands: Sequence[c.Command]) -> list[Answer]:
        """Submit them at once; their answers. Raises Failed at a refusal."""
        answers = await asyncio.gather(*map(self.executor.submit, commands))
        for answer in answers:
            if not isinstance(answer, Answer):
                raise Failed(f"the write path alone: {answer.code}")
        return answers  # type: ignore[return-value]


@asynccontextmanager
async def lane(servers: Servers, drivers: int, batch_limit: int) -> AsyncIterator[Lane]:
    """A lane with so many drivers."""
    async with servers.database() as url:
        await migrate(url)
        database = Database(url, pool_size=2)
        await database.open()
        connections: list[Timed] = []

        class Source:
            generation, retire = 0, database.retire

            async def connect_for_writing(self) -> Any:
                connections.append(Timed(await database.connect_for_writing()))
                return connections[-1]

        executor = Executor(
            Source(),
            NodeCopies(lambda: DEFAULT_POLICY, spelled_before={"default": "default"}.get),
            batch_limit=batch_limit,
        )
        running = supervised("executor", executor.run)
        try:
            ids = [new_id() for _ in range(drivers)]
            found = Lane(executor, ids, connections)
            await found.all([c.RegisterDriver(i, "driver", "default", 1, SHOP) for i in ids])
            await found.all([c.ConnectDriver(i, new_id(), NODE, Actor("driver", i)) for i in ids])
            await database.pool.executemany(POSITION, [(i, PICKUP.lat, PICKUP.lon) for i in ids])
            yield found
        finally:
            await stop(running)
            await database.close()


async def in_step(servers: Servers, size: int, seconds: float, batch_limit: int | None = None) -> dict[str, Any]:
    """Batches of `size` equal commands, one after the other, each kind in turn: the rates of each and of a cycle."""
    steps = {name: Step([], []) for name in STEPS}
    limit = batch_limit or size
    async with lane(servers, size, limit) as found:

        async def batch(name: str, commands: Sequence[c.Command]) -> list[Answer]:
            spent, started = found.spent(), perf_counter()
            answers = await found.all(commands)
            if count >= WARM_UP_BATCHES:
                steps[name].wholes.append(perf_counter() - started)
                steps[name].statements.append(found.spent() - spent)
            return answers

        meter = Meter(database=servers.database_pid)
        count, until = 0, perf_counter() + 60.0
        begin = meter.sample()
        while perf_counter() < until:
            if count == WARM_UP_BATCHES:
                until = perf_counter() + seconds
                begin = meter.sample()
            made = await batch("create", [_create() for _ in range(size)])
            pairs = zip(made, found.drivers, strict=True)
            offered = await batch("offer", [_offer(answer, driver) for answer, driver in pairs])
            accepted = await batch("accept", [_accept(answer) for answer in offered])
            await batch("complete", [_complete(answer) for answer in accepted])
            count += 1
        window = meter.window(begin)
    cycles = max(1, count - WARM_UP_BATCHES) * size
    return {
        "batch": size,
        "batchLimit": limit,
        "perSecond": {name: step.per_second(size) for name, step in steps.items()},
        "cyclesPerSecond": {
            "writePath": round(size / sum(at(sorted(s.wholes), 0.5) for s in steps.values())),
            "statements": round(size / sum(at(sorted(s.statements), 0.5) for s in steps.values())),
        },
        "cpuUsPerCycle": _cpu(window, cycles),
    }


async def in_flight(
    servers: Servers, drivers: int, orders: int, seconds: float, batch_limit: int = 128
) -> dict[str, Any]:
    """Whole cycles, so many orders at a time, as they fall: natural batches."""
    done = 0
    async with lane(servers, drivers, batch_limit) as found:
        free = list(found.drivers)
        running = True

        async def one_after_another() -> None:
            nonlocal done
            while running:
                driver = free.pop(0)
                made = await found.one(_create())
                offered = await found.one(_offer(made, driver))
                accepted = await found.one(_accept(offered))
                await found.one(_complete(accepted))
                free.append(driver)
                done += 1

        async def measure() -> tuple[int, float, Window]:
            nonlocal running
            meter = Meter(database=servers.database_pid)
            await asyncio.sleep(min(2.0, seconds / 2))
            begin, before, spent = meter.sample(), done, found.spent()
            await asyncio.sleep(seconds)
            window = meter.window(begin)
            running = False
            return done - before, found.spent() - spent, window

        measuring = asyncio.create_task(measure())
        await _together([one_after_another] * orders)
        cycles, spent, window = await measuring
    return {
        "cyclesPerSecond": round(cycles / window.seconds),
        "statementsShare": round(spent / window.seconds, 3),
        "cpuUsPerCycle": _cpu(window, cycles),
    }


async def _together(works: Sequence[Callable[[], Awaitable[None]]]) -> None:
    await asyncio.gather(*(work() for work in works))


def _cpu(window: Window, cycles: int) -> dict[str, float | None]:
    used = window.us_per(cycles)
    return {"writePath": used["load"], "database": used["database"]}


def _create() -> c.Command:
    order = new_id()
    return c.CreateDelivery(order, "", order, "Bench", "default", PICKUP, DROPOFF, 0, "0" * 64, SHOP)


def _offer(made: Answer, driver_id: str) -> c.Command:
    assert made.decided.delivery_id is not None
    return c.OfferDelivery(made.decided.delivery_id, driver_id, new_id(), PICKUP.lat, PICKUP.lon)


def _accept(offered: Answer) -> c.Command:
    assert offered.decided.offer_id is not None
    assert offered.decided.driver_id is not None
    driver_id = offered.decided.driver_id
    return c.AcceptOffer(offered.decided.offer_id, driver_id, new_id(), Actor("driver", driver_id))


def _complete(accepted: Answer) -> c.Command:
    assert accepted.decided.assignment_id is not None
    assert accepted.decided.driver_id is not None
    driver_id = accepted.decided.driver_id
    return c.Complete(accepted.decided.assignment_id, driver_id, Actor("driver", driver_id))
