"""The dispatcher's lease on a real database: one holder, and another soon after that one is gone or cut off."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from server.ids import new_id
from server.lease import LASTS_SECONDS, STOP_EARLY_SECONDS, Lease
from server.redis.bus import Bus
from server.settings import Settings
from server.store.engine import Database
from server.store.leases import DISPATCHER
from server.tasks import stop, supervised
from tests.waiting import until


class Candidate:
    """A node as far as the lease is concerned. `kill` ends it without releasing anything."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self.node_id = new_id()
        self.lease = Lease(self.node_id, database, bus)
        self._tasks = [supervised("bus_reader", bus.read), supervised("bus_writer", bus.write)]
        self._keeping = supervised("lease", self.lease.keep)

    def ended(self) -> bool:
        return self._keeping.done()

    async def kill(self) -> None:
        await stop(self._keeping)

    async def close(self) -> None:
        await stop(self._keeping, *self._tasks)


EXPIRES = "SELECT expires_at FROM leases WHERE name = $1"
Run = Callable[[], Awaitable[Candidate]]


@pytest.fixture
async def run(database: Database, settings: Settings) -> AsyncIterator[Run]:
    async with AsyncExitStack() as running:

        async def one() -> Candidate:
            bus = Bus(settings.redis_url, settings.redis_prefix)
            running.push_async_callback(bus.close)
            candidate = Candidate(database, bus)
            running.push_async_callback(candidate.close)
            return candidate

        yield one


async def row(database: Database) -> Any:
    return await database.pool.fetchrow(
        "SELECT holder, expires_at > clock_timestamp() FROM leases WHERE name = $1", DISPATCHER
    )


async def test_one_of_two_holds_it(database: Database, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.lease.LASTS_SECONDS", 600.0)
    first, second = await run(), await run()
    await until(lambda: first.lease.held or second.lease.held)
    holder, other = (first, second) if first.lease.held else (second, first)
    renewed = await database.pool.fetchval(EXPIRES, DISPATCHER)
    await until(lambda: _later(database, renewed))
    assert holder.lease.held
    assert holder.lease.taken.is_set()
    assert not other.lease.held
    assert not other.lease.taken.is_set()
    assert (await row(database))[0] == holder.node_id


async def test_a_killed_holder_is_replaced_when_its_lease_runs_out(
    database: Database, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lasts longer than the machine may pause between the end and the look at what is left."""
    monkeypatch.setattr("server.lease.LASTS_SECONDS", LASTS_SECONDS + 5.0)
    first = await run()
    await until(lambda: first.lease.held)
    second = await run()
    await until(lambda: _connections(database, 1))
    await first.kill()
    ran_out = await database.pool.fetchval(EXPIRES, DISPATCHER)
    await until(lambda: second.lease.held)
    assert await database.pool.fetchval(EXPIRES, DISPATCHER) - ran_out >= timedelta(seconds=LASTS_SECONDS + 5.0)


async def test_a_lease_that_is_given_back_moves_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.lease.LASTS_SECONDS", 600.0)
    first = await run()
    await until(lambda: first.lease.held)
    second = await run()
    await first.lease.release()
    assert not first.lease.held
    await until(lambda: second.lease.held)


async def test_who_gave_it_back_never_takes_it_again(database: Database, run: Run) -> None:
    first = await run()
    await until(lambda: first.lease.held)
    await first.lease.release()
    assert list(await row(database)) == [None, None]
    await until(first.ended)


async def test_a_holder_who_cannot_renew_stops_before_it_runs_out(database: Database, run: Run) -> None:
    """Timers run in the order of their times, however late: the one for the row's end runs after the holder's."""
    first = await run()
    await until(lambda: first.lease.held)
    loop = asyncio.get_running_loop()
    holds: asyncio.Future[tuple[bool, bool]] = loop.create_future()
    async with database.pool.acquire() as blocker:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("SELECT FROM leases FOR UPDATE")
        async with first.lease._one_at_a_time:
            pass  # no renewal from before the block is under way any more
        left = await blocker.fetchval("SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM leases")
        ends = loop.time() + left
        loop.call_at(ends, lambda: holds.set_result((first.lease.held, first.lease.taken.is_set())))
        assert await holds == (False, False), "the holder must have stopped when the row runs out"
        await transaction.rollback()
    await until(lambda: first.lease.held)


async def test_a_holder_whose_timer_comes_late_holds_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop may be busy for seconds: who asks then looks at the clock."""
    monkeypatch.setattr("server.lease.LASTS_SECONDS", 600.0)
    first = await run()
    await until(lambda: first.lease.held)
    await first.kill()
    loop = asyncio.get_running_loop()
    ends = loop.time() + 600.0 - STOP_EARLY_SECONDS
    with monkeypatch.context() as later:
        later.setattr(loop, "time", lambda: ends)
        assert first.lease.taken.is_set()
        assert not first.lease.held
    assert first.lease.held


async def test_a_holder_who_was_replaced_stops(database: Database, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.lease.LASTS_SECONDS", 600.0)
    first = await run()
    await until(lambda: first.lease.held)
    await database.pool.execute(
        "UPDATE leases SET holder = $1, expires_at = clock_timestamp() + interval '1 minute'", new_id()
    )
    await until(lambda: not first.lease.held)
    assert not first.lease.taken.is_set()


async def test_a_lost_connection_costs_nothing(database: Database, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.lease.LASTS_SECONDS", 600.0)
    first = await run()
    await until(lambda: first.lease.held)
    renewed = await database.pool.fetchval(EXPIRES, DISPATCHER)
    await database.pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%INSERT INTO leases%'"
        " AND pid <> pg_backend_pid()"
    )
    await until(lambda: _later(database, renewed))
    assert first.lease.held


async def _later(database: Database, renewed: Any) -> bool:
    return bool(await database.pool.fetchval(EXPIRES, DISPATCHER) > renewed)


async def _connections(database: Database, count: int) -> bool:
    """Whether so many backends have asked how much of the lease is left."""
    found = await database.pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%extract(epoch FROM expires_at%FROM leases%'"
        " AND pid <> pg_backend_pid() AND datname = current_database()"
    )
    return bool(found >= count)
