"""Counts finished days once for the insights: they no longer change.

This only saves time: a day that was not counted, or whose time zone is no longer the organisation's, is counted on
request. A day is counted in two statements, offers and estimates, each by the first node that does so.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from server.settings import time_zone_of
from server.store.connections import Pool
from server.store.engine import DATABASE_ERRORS
from server.store.reads.insight_estimates import ESTIMATED
from server.store.reads.insights import COUNTED, start_of
from server.tasks import repeat_with_lease

BACK: Final = timedelta(days=92)
"""The longest time window of the insights, and a little more."""
SETTLED: Final = timedelta(minutes=15)
"""How long after its end a day is certain to have settled: late deliveries are late by then, all commits are done."""
STATEMENT_SECONDS: Final = 10.0
FIRST_SECONDS: Final = 30.0
EVERY_SECONDS: Final = 300.0
REST_FACTOR: Final = 4.0

FIRST_DELIVERY: Final = "SELECT clock_timestamp(), (SELECT created_at FROM deliveries ORDER BY id LIMIT 1)"
DAYS: Final = "SELECT since FROM insight_days WHERE time_zone = $1 AND since >= $2 AND estimates"
# $1 and $2 the day, $3 NULL for all zones, $4 the time zone whose day it is.
COUNT: Final = f"""
WITH day AS (
    INSERT INTO insight_days (time_zone, since, until) VALUES ($4, $1, $2) ON CONFLICT DO NOTHING RETURNING since),
counted AS ({COUNTED})
INSERT INTO insight_counts (time_zone, since, part, zone, hour, second, reason, accepted, auto_accepted, rejected,
                            expired, answered, ms, wanted, late)
SELECT $4, day.since, counted.* FROM counted CROSS JOIN day"""  # noqa: S608 - all of it is here and there
# As above; the day is there, by a node of the previous release perhaps.
COUNT_ESTIMATES: Final = f"""
WITH day AS (
    UPDATE insight_days SET estimates = true WHERE time_zone = $4 AND since = $1 AND estimates IS NOT true
    RETURNING since),
counted AS ({ESTIMATED})
INSERT INTO insight_estimates (time_zone, since, zone, stage, seconds, deliveries)
SELECT $4, day.since, c.zone, c.stage, c.seconds, c.deliveries
FROM counted c CROSS JOIN day"""  # noqa: S608 - all of it is here and there

log = structlog.get_logger(__name__)


class InsightDays:
    """Counts days on the node that holds the lease. `run` is to be supervised."""

    def __init__(self, pool: Pool, time_zone: Callable[[], str], holds_lease: Callable[[], bool]) -> None:
        self._pool = pool
        self._time_zone = time_zone
        self._holds_lease = holds_lease

    async def run(self) -> None:
        """Count days whenever there are new ones."""
        await repeat_with_lease(self._holds_lease, self._count_new, FIRST_SECONDS)

    async def _count_new(self) -> float:
        try:
            await self.count()
        except DATABASE_ERRORS as error:
            log.warning("insights_not_counted", reason=repr(error))
        return EVERY_SECONDS

    async def count(self) -> int:
        """Count the missing days, the latest first; returns how many. Raises what the database raises."""
        counted = 0
        time_zone = self._time_zone()
        for since, until in await self.missing():
            if not self._holds_lease() or time_zone != self._time_zone():
                break
            began = time.monotonic()
            for statement in (COUNT, COUNT_ESTIMATES):
                await self._pool.execute(statement, since, until, None, time_zone, timeout=STATEMENT_SECONDS)
            counted += 1
            await asyncio.sleep(REST_FACTOR * (time.monotonic() - began))
        if counted:
            log.info("insights_counted", days=counted)
        return counted

    async def missing(self) -> list[tuple[datetime, datetime]]:
        """The finished days that are not counted yet. Raises what the database raises."""
        now, first = await self._pool.fetchrow(FIRST_DELIVERY, timeout=STATEMENT_SECONDS)
        if first is None:
            return []
        time_zone = self._time_zone()
        zone = time_zone_of(time_zone)
        earliest = max(now - BACK, first)
        known = {row[0] for row in await self._pool.fetch(DAYS, time_zone, now - BACK, timeout=STATEMENT_SECONDS)}
        found = []
        end = start_of(now - SETTLED, zone, by_day=True)
        while end > earliest:
            since = start_of(end - timedelta(hours=1), zone, by_day=True)
            if since not in known:
                found.append((since, end))
            end = since
        return found
