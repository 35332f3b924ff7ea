"""Reads the data of the insights: offers that ended in a time window and deliveries that waited for a driver in it,
counted by hour, time to answer, reason and zone.

Finished days were counted once (insight_days.py) and are added up; the rest is counted now.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Literal, TypeVar

from msgspec import Struct

from server.store.connections import Pool
from server.store.query import fetch, fetch_as
from server.store.reads.pay import IS_REAL

SCAN_TIMEOUT_SECONDS: Final = 10.0
PIECE: Final = timedelta(days=7)
"""Of what no day has counted yet, read in one statement: a fraction of a second in a large city."""

Part = Literal["hour", "second", "reason"]

# $1 the start, $2 the end, $3 the zone or NULL, $4 the time zone whose hours are meant. No offer is open for longer
# than eleven minutes. Withdrawn offers say nothing about drivers. Reasons are the drivers' own words: the 50 most
# frequent of each zone. OFFSET 0 keeps the planner from taking every instant for a separate hour, and so from
# sorting them all. A delivery wants a driver from its dispatch time on; whether in time is known five minutes later.
COUNTED: Final = f"""
SELECT part, zone, hour, second, reason, accepted, auto_accepted, rejected, expired, answered, ms, 0 AS wanted,
       0 AS late
FROM (
    SELECT (ARRAY['hour', 'second', 'reason'])[array_position(ARRAY[3, 5, 6], grouping(hour, second, reason))] AS part,
           zone, hour, second, reason,
           count(*) FILTER (WHERE status = 'ACCEPTED') AS accepted,
           count(*) FILTER (WHERE auto_accepted) AS auto_accepted,
           count(*) FILTER (WHERE status = 'REJECTED') AS rejected,
           count(*) FILTER (WHERE status = 'EXPIRED' AND NOT auto_accepted) AS expired,
           count(ms) AS answered, coalesce(sum(ms), 0)::float8 AS ms,
           row_number() OVER (PARTITION BY grouping(reason), zone ORDER BY count(*) DESC, reason) AS place
    FROM (
        SELECT o.status, auto_accepted, driver_response_time_ms AS ms, d.zone,
               date_trunc('hour', closed_at, $4) AS hour,
               CASE WHEN o.status <> 'EXPIRED' THEN least(driver_response_time_ms / 1000, 600) END AS second,
               CASE WHEN o.status = 'REJECTED'
                    THEN left(coalesce(nullif(rejection_reason, ''), 'none_given'), 100) END AS reason
        FROM driver_offers o JOIN deliveries d ON d.id = o.delivery_id
        WHERE o.created_at >= $1::timestamptz - interval '11 minutes' AND o.created_at < $2::timestamptz
          AND closed_at >= $1 AND closed_at < $2 AND o.status IN ('ACCEPTED', 'REJECTED', 'EXPIRED')
          AND ($3::text IS NULL OR d.zone = $3) AND {IS_REAL} OFFSET 0) AS o
    GROUP BY GROUPING SETS ((zone, hour), (zone, second), (zone, reason))
    HAVING hour IS NOT NULL OR second IS NOT NULL OR reason IS NOT NULL) AS counted
WHERE part <> 'reason' OR place <= 50
UNION ALL
SELECT 'hour', zone, hour, NULL, NULL, 0, 0, 0, 0, 0, 0, count(*), count(*) FILTER (WHERE late)
FROM (
    SELECT zone, date_trunc('hour', wanted_at, $4) AS hour,
           settled_at - greatest(wanted_at, held_to) > interval '5 minutes' AS late
    FROM (
        SELECT zone, greatest(created_at, dispatch_at) AS wanted_at,
               CASE WHEN held_until IS NOT NULL THEN clock_timestamp() WHEN prep_seconds > 0 THEN (
                   SELECT max(e.at) FROM events e
                   WHERE e.delivery_id = d.id AND e.type = 'delivery.hold_ended') END AS held_to,
               coalesce((SELECT min(a.created_at) FROM assignments a WHERE a.delivery_id = d.id),
                        CASE WHEN status = 'CANCELLED' THEN (
                            SELECT min(e.at) FROM events e
                            WHERE e.delivery_id = d.id AND e.type = 'delivery.cancelled') END,
                        clock_timestamp()) AS settled_at
        FROM deliveries d
        WHERE (created_at >= $1 OR dispatch_at >= $1) AND created_at < $2 AND dispatch_at < $2
          AND status <> 'SCHEDULED' AND ($3 IS NULL OR zone = $3) AND {IS_REAL}) AS d OFFSET 0) AS d
GROUP BY zone, hour"""  # noqa: S608

# $1 the time zone whose days they are, $2 from when on.
DAYS: Final = "SELECT since, until FROM insight_days WHERE time_zone = $1 AND since >= $2 ORDER BY since"
# $1 the time zone, $2 the beginnings of the days, $3 the zone or NULL.
ADDED_UP: Final = """
SELECT part, zone, hour, second, reason, sum(accepted), sum(auto_accepted), sum(rejected), sum(expired), sum(answered),
       sum(ms), sum(wanted), sum(late)
FROM insight_counts WHERE time_zone = $1 AND since = ANY ($2::timestamptz[]) AND ($3::text IS NULL OR zone = $3)
GROUP BY GROUPING SETS ((part, hour, second, reason), (part, zone)) HAVING zone IS NULL OR part = 'hour'"""

# A step from zone to zone in the index; DISTINCT would read every delivery.
ZONES: Final = """
WITH RECURSIVE z AS (
    (SELECT zone FROM deliveries ORDER BY zone LIMIT 1)
    UNION ALL
    SELECT (SELECT d.zone FROM deliveries d WHERE d.zone > z.zone ORDER BY d.zone LIMIT 1) FROM z
    WHERE z.zone IS NOT NULL
)
SELECT zone FROM z WHERE zone IS NOT NULL LIMIT 200"""


G = TypeVar("G")


class OfferGroup(Struct, frozen=True):
    """A group of offers, by `part`: how they ended, and the time of drivers' answers. By hour also deliveries that
    waited for a driver; `late` ones waited for more than five minutes. A group is of one zone, of all zones in an hour
    (`zone` None), or of a zone at all hours (`hour` None).
    """

    part: Part
    zone: str | None
    hour: datetime | None
    second: int | None
    reason: str | None
    accepted: int
    auto_accepted: int
    rejected: int
    expired: int
    answered: int
    ms: float
    wanted: int
    late: int


async def read_groups(
    pool: Pool, since: datetime, until: datetime, zone: str | None, time_zone: str
) -> list[OfferGroup]:
    """All groups between the two times. A group may appear more than once: add them up. Raises DatabaseAway."""
    return await read_counts(pool, OfferGroup, (DAYS, ADDED_UP, COUNTED), since, until, zone, time_zone)


async def read_counts(
    pool: Pool,
    group: Callable[..., G],
    statements: tuple[str, str, str],
    since: datetime,
    until: datetime,
    zone: str | None,
    time_zone: str,
) -> list[G]:
    """Groups of the days that were counted already, and of the rest. `statements` find those days, add them up, and
    count what happened between two times. Raises DatabaseAway.
    """
    find_days, added_up, counted = statements
    days = [(row[0], row[1]) for row in await fetch(pool, find_days, time_zone, since) if row[1] <= until]
    rows = []
    if days:
        beginnings = [beginning for beginning, _ in days]
        rows = await fetch(pool, added_up, time_zone, beginnings, zone, timeout_seconds=SCAN_TIMEOUT_SECONDS)
    for start, end in between(since, until, days):
        rows += await fetch(pool, counted, start, end, zone, time_zone, timeout_seconds=SCAN_TIMEOUT_SECONDS)
    return [group(*row) for row in rows]


def between(
    since: datetime, until: datetime, days: Iterable[tuple[datetime, datetime]]
) -> Iterator[tuple[datetime, datetime]]:
    """The parts of a time window without these days, which lie in it, earliest first, in pieces that are quick to
    count.
    """
    for day in [*days, (until, until)]:
        while since < day[0]:
            end = min(since + PIECE, day[0])
            yield since, end
            since = end
        since = max(since, day[1])


def start_of(at: datetime, zone: tzinfo, *, by_day: bool) -> datetime:
    """The beginning, in UTC, of the hour or day of this time zone that it lies in. A day in which midnight comes twice
    begins with the first.
    """
    local = at.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    return (local.replace(hour=0, fold=0) if by_day else local).astimezone(UTC)


async def zone_names(pool: Pool) -> list[str]:
    """The zones that have deliveries, by name."""
    return await fetch_as(pool, str, ZONES)
