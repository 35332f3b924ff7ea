"""Removing beside commands: they wait for nothing, lose nothing, and an order that was removed can be placed again."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from server.contract.commit import Answer
from server.dispatch import commands as c
from server.dispatch.model import Actor, Place
from server.dispatch.policy import DEFAULT_POLICY
from server.ids import new_id
from server.metrics import RERUNS
from server.settings import Settings
from server.store.engine import Database
from server.store.jobs.retention import prune
from server.tasks import stop, supervised
from server.write.executor import Executor, NodeCopies
from tests.open_database import database_with_history

SHOP = Actor("service", "shop")
DRIVERS = 12


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removing as fast as it can, in many small transactions."""
    monkeypatch.setattr("server.store.jobs.retention.REST_SECONDS", 0.0)
    monkeypatch.setattr("server.store.jobs.retention.REST_FACTOR", 0.0)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """With twenty days of a city's work."""
    async with database_with_history(settings.database_url, offers=6_000, days=20, drivers=30) as database:
        yield database


@pytest.fixture
async def executor(database: Database) -> AsyncIterator[Executor]:
    executor = Executor(database, NodeCopies(lambda: DEFAULT_POLICY))
    lane = supervised("executor", executor.run)
    yield executor
    await executor.close()
    await stop(lane)


async def done(executor: Executor, command: c.Command) -> Answer:
    answer = await executor.submit(command)
    assert isinstance(answer, Answer), (command, answer)
    return answer


def an_order(number: str) -> c.CreateDelivery:
    here, there = Place(52.5, 13.4), Place(52.51, 13.41)
    return c.CreateDelivery(new_id(), "shop", number, "Pizza", "north", here, there, 0, "f", SHOP)


async def a_driver(executor: Executor, pool: Any) -> str:
    """Dispatchable."""
    driver_id = new_id()
    await done(executor, c.RegisterDriver(driver_id, "Dan", "north", 1, SHOP))
    await done(executor, c.ConnectDriver(driver_id, new_id(), new_id(), Actor("driver", driver_id)))
    await pool.execute(
        "INSERT INTO driver_positions (driver_id, lat, lon, at) VALUES ($1, 52.5, 13.4, now())", driver_id
    )
    return driver_id


async def work(executor: Executor, driver_id: str, over: asyncio.Event) -> int:
    """One order after another, from its creation to its completion, until it ends; how many."""
    driver, count = Actor("driver", driver_id), 0
    while not over.is_set():
        order = (await done(executor, an_order(new_id()))).decided.delivery_id or ""
        offered = await done(executor, c.OfferDelivery(order, driver_id, new_id(), 52.5, 13.4))
        accepted = await done(executor, c.AcceptOffer(offered.decided.offer_id or "", driver_id, new_id(), driver))
        assert accepted.assignment is not None
        await done(executor, c.Complete(accepted.assignment.id, driver_id, driver))
        count += 1
    return count


async def test_commands_go_on_while_thousands_of_rows_go(
    database: Database, executor: Executor, settings: Settings
) -> None:
    pool = database.pool
    before = RERUNS._value.get()
    over = asyncio.Event()
    drivers = [await a_driver(executor, pool) for _ in range(DRIVERS)]
    workers = [asyncio.create_task(work(executor, driver_id, over)) for driver_id in drivers]
    settings = settings.with_changes(keep_deliveries_days=2, keep_history_days=1, keep_messages_days=1)
    runs = await asyncio.gather(prune(database, settings), prune(database, settings))
    over.set()
    made = sum(await asyncio.gather(*workers))
    assert made > DRIVERS
    assert [run.failed for run in runs] == [{}, {}]
    removed = sum(run.rows["deliveries"] for run in runs)
    assert removed > 3_000
    assert RERUNS._value.get() == before, "no batch failed"
    orders = await pool.fetchval("SELECT count(*) FROM deliveries WHERE seller_order_id NOT LIKE 'M-%'")
    assert orders == made
    for table in ("driver_offers", "assignments", "unassigned_orders", "events"):
        orphans = f"SELECT count(*) FROM {table} WHERE delivery_id NOT IN (SELECT id FROM deliveries)"
        assert await pool.fetchval(orphans) == 0, table


async def test_an_order_repeated_after_it_was_removed_is_a_new_one(
    database: Database, executor: Executor, settings: Settings
) -> None:
    pool = database.pool
    row = await pool.fetchrow("SELECT id, seller_order_id FROM deliveries ORDER BY id LIMIT 1")
    now = await pool.fetchval("SELECT now()")
    repeated = await executor.submit(an_order(row["seller_order_id"]))
    assert getattr(repeated, "code", "") == "delivery_differs", "it is kept, so it is known"
    await prune(database, settings, now=now + timedelta(days=385))
    again = await done(executor, an_order(row["seller_order_id"]))
    assert again.decided.delivery_id not in (None, row["id"])


async def test_a_command_for_a_delivery_that_is_being_removed_finds_none(
    database: Database, executor: Executor, settings: Settings
) -> None:
    pool = database.pool
    ids = [row[0] for row in await pool.fetch("SELECT id FROM deliveries ORDER BY id LIMIT 400")]
    now = await pool.fetchval("SELECT now()")
    removing = asyncio.create_task(prune(database, settings, now=now + timedelta(days=500)))
    ada, codes = Actor("admin", "ada"), set()
    while not removing.done():
        answers = await asyncio.gather(*(executor.submit(c.CancelDelivery(id_, "late", ada)) for id_ in ids))
        codes |= {getattr(answer, "code", "done") for answer in answers}
    assert (await removing).failed == {}
    await prune(database, settings, now=now + timedelta(days=500))
    assert await pool.fetchval("SELECT count(*) FROM deliveries") == 0
    assert "not_found" in codes
    assert "try_again" not in codes
    assert "internal_error" not in codes
