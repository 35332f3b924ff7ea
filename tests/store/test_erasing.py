"""Erasing in batches beside other work: what is due, by which index, and what waits for the next run."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from server.settings import Settings
from server.store.engine import Database
from server.store.jobs.erasing import BATCH, DUE, erase_due, would_be_erased
from tests.open_database import database_with_history

DAY = timedelta(days=1)
LEFT = "dropoff_address IS NOT NULL OR fingerprint <> 'erased'"
ADDRESSES = "SELECT count(*) FROM events WHERE data::text LIKE '%Station Road%' AND delivery_id = ANY ($1::uuid[])"


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """With ten days of a city's work, for which the previous release recorded no end."""
    async with database_with_history(settings.database_url, offers=900, days=10, drivers=30) as database:
        yield database


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Without rests between batches."""
    monkeypatch.setattr("server.store.jobs.erasing.REST_SECONDS", 0.0)
    monkeypatch.setattr("server.store.jobs.erasing.REST_FACTOR", 0.0)
    return settings.with_changes(keep_personal_days=5)


async def count(pool: Any, where: str) -> int:
    return int(await pool.fetchval(f"SELECT count(*) FROM deliveries d WHERE {where}"))


async def test_orders_whose_end_was_not_recorded_are_due_by_what_last_happened(
    database: Database, settings: Settings
) -> None:
    pool = database.pool
    now = await pool.fetchval("SELECT now()")
    before = now - 5 * DAY
    late = await pool.fetchval("SELECT id FROM deliveries WHERE created_at < $1 ORDER BY id LIMIT 1", before)
    await pool.execute("UPDATE events SET at = $2 WHERE delivery_id = $1", late, now - DAY)
    tomorrow = await pool.fetchval("SELECT id FROM deliveries WHERE created_at < $1 AND id <> $2 LIMIT 1", before, late)
    await pool.execute("UPDATE deliveries SET dispatch_at = $2 WHERE id = $1", tomorrow, now - DAY)
    recorded = await pool.fetchval("SELECT id FROM deliveries ORDER BY id DESC LIMIT 1")
    await pool.execute("UPDATE deliveries SET over_at = $2 WHERE id = $1", recorded, before)
    expected = await would_be_erased(pool, settings, now=now)
    assert 2 * BATCH < expected < await count(pool, "true") - BATCH
    assert (await erase_due(database, settings, now=now))["deliveries"] == expected
    assert await count(pool, f"NOT ({LEFT})") == expected
    for order, erased in ((late, 0), (tomorrow, 0), (recorded, 1)):
        assert await count(pool, f"id = '{order}' AND NOT ({LEFT})") == erased
    assert await count(pool, f"created_at > now() - interval '5 days' AND NOT ({LEFT})") == 1
    assert await pool.fetchval(ADDRESSES, [late]) > 0
    assert await would_be_erased(pool, settings, now=now) == 0
    assert await erase_due(database, settings, now=now) == {}


async def test_it_stops_between_two_batches_and_goes_on_later(database: Database, settings: Settings) -> None:
    now = await database.pool.fetchval("SELECT now()")
    all_of_them = await would_be_erased(database.pool, settings, now=now)
    left = iter([True, True, False])
    rows = await erase_due(database, settings, now=now, go_on=lambda: next(left, False))
    assert rows["deliveries"] == BATCH, "those that were asked for came first"
    assert (await erase_due(database, settings, now=now))["deliveries"] == all_of_them - BATCH


async def test_what_a_command_holds_is_left_for_another_time(database: Database, settings: Settings) -> None:
    pool = database.pool
    now = await pool.fetchval("SELECT now()")
    all_of_them = await would_be_erased(pool, settings, now=now)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM deliveries ORDER BY id LIMIT 1 FOR UPDATE")
        assert (await erase_due(database, settings, now=now))["deliveries"] == all_of_them - 1
    assert (await erase_due(database, settings, now=now))["deliveries"] == 1


async def test_zero_days_are_at_the_end_and_an_index_finds_them(database: Database, settings: Settings) -> None:
    pool = database.pool
    await erase_due(database, settings.with_changes(keep_personal_days=0))
    assert await count(pool, LEFT) == 0
    await pool.execute("ANALYZE deliveries")
    async with pool.acquire() as connection, connection.transaction():
        plan = "\n".join(
            row[0] for row in await connection.fetch(f"EXPLAIN {DUE}", await pool.fetchval("SELECT now()"))
        )
    assert "deliveries_personal" in plan, plan


@pytest.mark.parametrize("days", [-1, 3_651])
def test_there_are_limits(settings: Settings, days: int) -> None:
    with pytest.raises(ValueError, match="keep_personal_days"):
        settings.with_changes(keep_personal_days=days)
