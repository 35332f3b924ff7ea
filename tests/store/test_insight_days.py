"""Days counted once say the same as counting again, and what is not counted yet is counted when asked for."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from server.settings import Settings
from server.store.engine import Database
from server.store.jobs import insight_days
from server.store.jobs.insight_days import InsightDays
from server.store.jobs.retention import prune
from server.store.reads.insight_estimates import read_errors
from server.store.reads.insights import between, read_groups
from server.web.screens.estimate_errors import estimate_errors
from server.web.screens.insights_numbers import WINDOWS, Insights, insights_of
from tests.open_database import database_with_history, open_database

ZONE = "Asia/Kolkata"
"""Half an hour beside all others: its hours and days are nobody else's."""
WEEK = WINDOWS["7d"]
DAY = timedelta(days=1)


@pytest.fixture
async def database(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """With ten days of offers."""
    monkeypatch.setattr(insight_days, "REST_FACTOR", 0.0)
    async with database_with_history(settings.database_url, offers=2_000, days=10, drivers=20) as database:
        yield database


@pytest.fixture
async def pool(database: Database) -> Any:
    return database.pool


def days_of(pool: Any, zone: str = ZONE) -> InsightDays:
    return InsightDays(pool, lambda: zone, lambda: True)


async def insights(pool: Any, now: datetime, zone: str | None = None, time_zone: str = ZONE) -> Insights:
    local = ZoneInfo(time_zone)
    since = WEEK.start(now, local)
    errors = estimate_errors(since, now, local, await read_errors(pool, since, now, zone, time_zone))
    return insights_of(WEEK, now, local, await read_groups(pool, since, now, zone, time_zone), errors)


@pytest.mark.parametrize("zone", [None, "north"])
async def test_days_that_were_counted_say_the_same(pool: Any, zone: str | None) -> None:
    now = await pool.fetchval("SELECT now()")
    counted_now = await insights(pool, now, zone)
    assert counted_now.total.offers > 100
    errors = counted_now.estimates.total
    assert errors.assignment.count == errors.pickup.count > 100
    assert sum(both.pickup.count for _, both in counted_now.estimates.zones) == errors.pickup.count
    assert await days_of(pool).count() in (10, 11)
    assert await insights(pool, now, zone) == counted_now
    await pool.execute("UPDATE insight_counts SET accepted = accepted + 1 WHERE part = 'hour'")
    assert (await insights(pool, now, zone)).total.accepted > counted_now.total.accepted, "they were not used"
    await pool.execute("UPDATE insight_estimates SET deliveries = deliveries + 1")
    more = (await insights(pool, now, zone)).estimates.total
    assert more.assignment.count > errors.assignment.count, "they were not used"


async def test_estimates_of_days_that_the_previous_release_counted_are_counted_too(
    pool: Any, settings: Settings
) -> None:
    now = await pool.fetchval("SELECT now()")
    counted_now = await insights(pool, now)
    days = days_of(pool)
    await days.count()
    await pool.execute("DELETE FROM insight_estimates")
    await pool.execute("UPDATE insight_days SET estimates = NULL")
    assert await insights(pool, now) == counted_now, "those days are counted on request"
    assert await days.count() in (10, 11)
    assert await pool.fetchval("SELECT sum(deliveries) FROM insight_estimates") > 0
    assert await insights(pool, now) == counted_now


async def test_nothing_is_counted_twice(pool: Any) -> None:
    days = days_of(pool)
    missing = await days.missing()
    both = await asyncio.gather(days.count(), days_of(pool).count())
    assert max(both) == len(missing)
    assert await pool.fetchval("SELECT count(*) FROM insight_days") == len(missing)
    doubles = (
        "SELECT count(*) - count(DISTINCT (since, part, zone, hour, second, reason, wanted > 0)) FROM insight_counts"
    )
    assert await pool.fetchval(doubles) == 0
    doubles = "SELECT count(*) - count(DISTINCT (since, zone, stage, seconds)) FROM insight_estimates"
    assert await pool.fetchval(doubles) == 0
    assert await days.missing() == []
    assert await days.count() == 0


async def test_a_day_is_counted_only_when_it_can_no_longer_change(pool: Any) -> None:
    now, local = await pool.fetchval("SELECT now()"), ZoneInfo(ZONE)
    for since, until in await days_of(pool).missing():
        assert until <= now - timedelta(minutes=15)
        assert (since.astimezone(local).hour, until.astimezone(local).minute) == (0, 0)
        assert until - since == timedelta(days=1)


async def test_another_time_zone_has_days_of_its_own(pool: Any) -> None:
    await days_of(pool).count()
    now = await pool.fetchval("SELECT now()")
    before = await insights(pool, now, time_zone="Europe/Berlin")
    await pool.execute("UPDATE insight_counts SET accepted = 1000000")
    assert await insights(pool, now, time_zone="Europe/Berlin") == before
    assert len(await days_of(pool, "Europe/Berlin").missing()) >= 10


async def test_what_was_counted_outlives_the_deliveries(
    database: Database, pool: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REST_SECONDS", "REST_FACTOR"):
        monkeypatch.setattr(f"server.store.jobs.retention.{name}", 0.0)
    now = await pool.fetchval("SELECT now()")
    before = await insights(pool, now)
    await days_of(pool).count()
    await prune(database, settings.with_changes(keep_deliveries_days=2))
    assert await pool.fetchval("SELECT min(created_at) FROM deliveries") > now - timedelta(days=2.1)
    assert await insights(pool, now) == before
    gone = await prune(database, settings.with_changes(keep_history_days=4))
    assert gone.rows["insight_days"] > 0
    assert await pool.fetchval("SELECT min(since) FROM insight_counts") > now - timedelta(days=5)


async def test_whoever_loses_the_lease_stops(pool: Any, settings: Settings) -> None:
    held = iter([True, True, False])
    days = InsightDays(pool, lambda: settings.time_zone, lambda: next(held))
    assert await days.count() == 2


async def test_an_empty_house_has_no_days(settings: Settings) -> None:
    async with open_database(settings.database_url) as database:
        assert await days_of(database.pool).missing() == []


def test_what_is_left_between_days() -> None:
    at = [datetime(2026, 2, 1, hour, tzinfo=UTC) for hour in range(6)]
    assert list(between(at[0], at[5], [])) == [(at[0], at[5])]
    assert list(between(at[0], at[5], [(at[0], at[1]), (at[1], at[2])])) == [(at[2], at[5])]
    assert list(between(at[0], at[5], [(at[1], at[2]), (at[3], at[5])])) == [(at[0], at[1]), (at[2], at[3])]
    week = timedelta(days=7)
    assert list(between(at[0], at[0] + 2 * week + DAY, [(at[0] + week, at[0] + week + DAY)])) == [
        (at[0], at[0] + week),
        (at[0] + week + DAY, at[0] + 2 * week + DAY),
    ]
    pieces = list(between(at[0], at[0] + 2.5 * week, []))
    assert [end - start for start, end in pieces] == [week, week, week / 2]
