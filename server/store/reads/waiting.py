"""Reads for the matcher, without locks: waiting deliveries, free drivers, and other drivers nearby.

The results are hints: the commands made from them check everything again under lock.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from server.dispatch.model import Delivery, Driver
from server.dispatch.policy import Policy
from server.dispatch.search_reasons import AtWork
from server.store.connections import Pool
from server.store.rows import read_rows

QUERY_TIMEOUT_SECONDS: Final = 5.0
KM_PER_DEGREE: Final = 111.19
"""Of latitude; of longitude at the equator."""

DISPATCHABLE: Final = """
    d.availability = 'available' AND d.active_count < d.capacity AND d.open_offer_id IS NULL AND d.active
    AND (d.shift_ends_at IS NULL OR d.shift_ends_at > statement_timestamp())
    AND p.at >= statement_timestamp() - make_interval(secs => $1)
    AND (d.session_id IS NOT NULL OR p.last_call_at > statement_timestamp() - make_interval(secs => $2))
"""
"""The rule `offers.dispatchable` as SQL, of `drivers d` and `driver_positions p`, with the policy's freshness of a
position and of a call in seconds as $1 and $2."""

_AMONG: Final = f"""
FROM unnest($3::text[]::uuid[]) AS asked (id)
JOIN drivers d ON d.id = asked.id JOIN driver_positions p ON p.driver_id = d.id
WHERE {DISPATCHABLE}
"""
DISPATCHABLE_AMONG: Final = f"SELECT d.id, d.zone, p.lat, p.lon, p.at {_AMONG}"
AT_WORK: Final = f"""
SELECT d.zone, array_agg(d.id::text), array_agg(coalesce(p.lat, 'NaN')), array_agg(coalesce(p.lon, 'NaN')),
       array_agg(CASE WHEN {DISPATCHABLE} THEN 'free' WHEN d.availability = 'on_break' THEN 'on_break'
                      WHEN d.availability = 'available'
                           AND (d.active_count >= d.capacity OR d.open_offer_id IS NOT NULL) THEN 'occupied'
                      ELSE 'away' END)
FROM drivers d LEFT JOIN driver_positions p ON p.driver_id = d.id
WHERE d.active AND d.availability IN ('available', 'on_break', 'paused') GROUP BY d.zone
"""  # noqa: S608 - constants
WAITING: Final = """
SELECT id::text, version FROM deliveries WHERE status = 'READY' AND current_offer_id IS NULL
  AND (details IS NULL OR NOT details ? 'warnings' OR details ? 'checked')
ORDER BY unassigned_since LIMIT $1
"""
LATELY: Final = """
SELECT id::text, zone, pickup_lat, pickup_lon, created_at, prep_seconds FROM deliveries
WHERE created_at > statement_timestamp() - make_interval(secs => $1) ORDER BY created_at DESC LIMIT $2
"""
LATELY_SECONDS: Final = 7200.0
LATELY_LIMIT: Final = 2_000
NEAREST: Final = """
SELECT d.id::text
FROM drivers d JOIN driver_positions p ON p.driver_id = d.id
WHERE d.zone = $1 AND p.lat BETWEEN $2 AND $3 AND p.lon BETWEEN $4 AND $5
ORDER BY d.availability IN ('offline', 'shift_ended'),
         d.availability <> 'available' OR d.active_count >= d.capacity OR d.open_offer_id IS NOT NULL,
         (p.lat - $6) ^ 2 + ((p.lon - $7) * cos(radians($6))) ^ 2
LIMIT $8
"""


class Box(Struct, frozen=True):
    """A part of a zone between two latitudes and two longitudes, in degrees."""

    zone: str
    south: float
    north: float
    west: float
    east: float


async def waiting_ids(pool: Pool, limit: int) -> dict[str, int]:
    """Waiting deliveries without an open offer, longest waiting first, then those that are held: id -> version."""
    return dict(await pool.fetch(WAITING, limit, timeout=QUERY_TIMEOUT_SECONDS))


async def read_deliveries(pool: Pool, ids: Sequence[str]) -> dict[str, Delivery]:
    """These deliveries with their offers and assignments."""
    return (await read_rows(pool, ids, [], timeout=QUERY_TIMEOUT_SECONDS)).deliveries


async def orders_lately(pool: Pool) -> list[tuple[str, str, float, float, datetime, int]]:
    """The orders of the last two hours, the 2,000 newest: id, zone, pickup in degrees, when they were placed, and their
    preparation time in seconds; the oldest first.
    """
    return (await pool.fetch(LATELY, LATELY_SECONDS, LATELY_LIMIT, timeout=QUERY_TIMEOUT_SECONDS))[::-1]


async def dispatchable_among(
    pool: Pool, policy: Policy, driver_ids: Sequence[str]
) -> list[tuple[str, str, float, float, datetime]]:
    """The dispatchable ones among these drivers, as (id, zone, lat, lon, time) with their stored position."""
    return await pool.fetch(DISPATCHABLE_AMONG, *_freshness(policy), driver_ids, timeout=QUERY_TIMEOUT_SECONDS)


async def all_at_work(pool: Pool, policy: Policy) -> dict[str, AtWork]:
    """All drivers at work now, by zone."""
    rows = await pool.fetch(AT_WORK, *_freshness(policy), timeout=QUERY_TIMEOUT_SECONDS)
    return {row[0]: AtWork(*row[1:]) for row in rows}


async def nearest_drivers(
    pool: Pool, box: Box, lat: float, lon: float, limit: int, *, among: Iterable[str] = ()
) -> tuple[datetime, list[Driver]]:
    """The drivers in a box and those in `among` who are useful to list, in no order, and the database's time. If there
    are more than `limit` in the box: free drivers first, those whose shift has ended last, and the nearest of each.
    """
    rows = await pool.fetch(
        NEAREST, box.zone, box.south, box.north, box.west, box.east, lat, lon, limit, timeout=QUERY_TIMEOUT_SECONDS
    )
    ids = {row[0] for row in rows} | set(among)
    found = await read_rows(pool, [], list(ids), timeout=QUERY_TIMEOUT_SECONDS)
    return found.now, list(found.drivers.values())


def _freshness(policy: Policy) -> tuple[float, float]:
    return float(policy.position_fresh_seconds), float(policy.call_presence_seconds)


def box_around(lat: float, lon: float, km: float) -> tuple[float, float, float, float]:
    """South, north, west and east of a circle, a little generous. All the way round near the poles and where it
    crosses the 180th meridian.
    """
    high = 1.01 * km / KM_PER_DEGREE
    south, north = max(-90.0, lat - high), min(90.0, lat + high)
    narrowest = math.cos(math.radians(max(abs(south), abs(north))))
    wide = high / narrowest if narrowest > 0.01 else 360.0
    if lon - wide < -180 or lon + wide > 180:
        return south, north, -180.0, 180.0
    return south, north, lon - wide, lon + wide
