"""Reading what the insights are made of: offers that ended in a window and deliveries that wanted a driver in it,
counted by hour, zone, time to answer and reason. Two scans, however many charts; the rows are bounded.
"""

from datetime import datetime
from typing import Any, Final, Literal

from msgspec import Struct

from server.store.reads import fetch
from server.store.reads_admin import LONGEST_OFFER

SCAN_TIMEOUT_SECONDS: Final = 15.0
"""For a quarter of a large city. Whoever asks lets one of these run at a time."""

Kind = Literal["hour", "second", "reason", "zone"]

_KINDS: Final[dict[int, Kind]] = {7: "hour", 11: "second", 13: "reason", 14: "zone"}
"""What `grouping` says where three of the four are left out."""

# $1 the start of the window, $2 the zone or NULL, $3 the earliest an offer was made that can have ended in it,
# $4 the time zone whose hours are meant. Withdrawn offers say nothing about drivers. Reasons are the drivers' own
# words: the 50 most frequent.
OFFERS: Final = """
WITH o AS (
    SELECT o.status, auto_accepted, driver_response_time_ms AS ms, d.zone,
           date_trunc('hour', closed_at, $4) AS hour,
           CASE WHEN o.status <> 'EXPIRED'
                THEN least(driver_response_time_ms / 1000, 600) END AS second,
           CASE WHEN o.status = 'REJECTED'
                THEN left(coalesce(nullif(rejection_reason, ''), 'none_given'), 100) END AS reason
    FROM driver_offers o JOIN deliveries d ON d.id = o.delivery_id
    WHERE o.created_at >= $3 AND closed_at >= $1 AND o.status IN ('ACCEPTED', 'REJECTED', 'EXPIRED')
      AND ($2::text IS NULL OR d.zone = $2)
), counted AS (
    SELECT grouping(hour, second, reason, zone) AS kind, hour, second, reason, zone,
           count(*) FILTER (WHERE status = 'ACCEPTED') AS accepted,
           count(*) FILTER (WHERE auto_accepted) AS auto_accepted,
           count(*) FILTER (WHERE status = 'REJECTED') AS rejected,
           count(*) FILTER (WHERE status = 'EXPIRED' AND NOT auto_accepted) AS expired,
           count(ms) AS answered, coalesce(sum(ms), 0)::float8 AS ms
    FROM o GROUP BY GROUPING SETS ((hour), (second), (reason), (zone))
), placed AS (
    SELECT *, row_number() OVER (PARTITION BY kind ORDER BY accepted + rejected + expired + auto_accepted DESC,
                                 hour, second, reason, zone) AS place
    FROM counted
    WHERE hour IS NOT NULL OR second IS NOT NULL OR reason IS NOT NULL OR zone IS NOT NULL
)
SELECT kind, hour, second, reason, zone, accepted, auto_accepted, rejected, expired, answered, ms
FROM placed WHERE place <= CASE WHEN kind = 13 THEN 50 ELSE 10000 END
ORDER BY kind, place"""

# $1 the start of the window, $2 the zone or NULL, $3 the time zone whose hours are meant.
DELIVERIES: Final = """
WITH first AS (
    SELECT delivery_id, min(created_at) AS at FROM assignments WHERE created_at >= $1 GROUP BY delivery_id
), d AS (
    SELECT d.zone, greatest(created_at, least(dispatch_at, clock_timestamp())) AS wanted_at,
           coalesce(first.at, CASE WHEN status = 'CANCELLED' THEN
               (SELECT min(e.at) FROM events e WHERE e.delivery_id = d.id AND e.type = 'delivery.cancelled') END,
               clock_timestamp()) AS settled_at
    FROM deliveries d LEFT JOIN first ON first.delivery_id = d.id
    WHERE created_at >= $1 AND status <> 'SCHEDULED' AND ($2::text IS NULL OR zone = $2)
), timed AS (
    SELECT zone, date_trunc('hour', wanted_at, $3) AS hour, settled_at - wanted_at > interval '5 minutes' AS late
    FROM d
)
SELECT grouping(hour, zone) = 1 AS by_hour, hour, zone, count(*), count(*) FILTER (WHERE late)
FROM timed GROUP BY GROUPING SETS ((hour), (zone)) ORDER BY 1, 4 DESC LIMIT 10000"""

# A step from zone to zone in the index; DISTINCT would read every delivery.
ZONES: Final = """
WITH RECURSIVE z AS (
    (SELECT zone FROM deliveries ORDER BY zone LIMIT 1)
    UNION ALL
    SELECT (SELECT d.zone FROM deliveries d WHERE d.zone > z.zone ORDER BY d.zone LIMIT 1) FROM z
    WHERE z.zone IS NOT NULL
)
SELECT zone FROM z WHERE zone IS NOT NULL LIMIT 200"""


class OfferGroup(Struct, frozen=True):
    """Offers with the same hour, seconds to answer, reason or zone: how they ended, and the drivers' answers' time."""

    kind: Kind
    hour: datetime | None
    second: int | None
    reason: str | None
    zone: str | None
    accepted: int
    auto_accepted: int
    rejected: int
    expired: int
    answered: int
    ms: float


class DeliveryGroup(Struct, frozen=True):
    """Deliveries that wanted a driver in the same hour, or zone; `late` ones waited for more than five minutes."""

    hour: datetime | None
    zone: str | None
    wanted: int
    late: int


async def read_offer_groups(pool: Any, since: datetime, zone: str | None, time_zone: str) -> list[OfferGroup]:
    """Of the offers that ended since then."""
    earliest = since - LONGEST_OFFER
    rows = await fetch(pool, OFFERS, since, zone, earliest, time_zone, timeout_seconds=SCAN_TIMEOUT_SECONDS)
    return [OfferGroup(_KINDS[kind], *rest) for kind, *rest in rows]


async def read_delivery_groups(pool: Any, since: datetime, zone: str | None, time_zone: str) -> list[DeliveryGroup]:
    """Of the deliveries created since then."""
    rows = await fetch(pool, DELIVERIES, since, zone, time_zone, timeout_seconds=SCAN_TIMEOUT_SECONDS)
    return [DeliveryGroup(*rest) for _, *rest in rows]


async def read_zones(pool: Any) -> list[str]:
    """The zones that have deliveries, by name."""
    return [row[0] for row in await fetch(pool, ZONES)]
