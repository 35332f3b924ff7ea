"""Writes drivers' positions and last calls, in batches. An older value never replaces a newer one."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from server.dispatch.positions import MOVED_KM
from server.dispatch.travel import EARTH_RADIUS_KM
from server.store.connections import Pool
from server.store.query import QUERY_TIMEOUT_SECONDS

PositionRow = tuple[str, float, float, datetime, float | None, float | None, float | None, str | None]
"""A driver's id, degrees of latitude and longitude, when, degrees from north, km/h, metres of accuracy, and the zone
that the node knows.
"""


def nearer_than(km: float, lat_a: str, lon_a: str, lat_b: str, lon_b: str) -> str:
    """SQL of whether two places (columns in degrees) are nearer to each other than a few km: on the plane that touches
    the earth there. False where one is not known.
    """
    # PostgreSQL refuses to square what is too small for it, and takes NULL for the smallest of all.
    north = f"greatest(abs({lat_a} - {lat_b}), 1e-12)"
    east = f"greatest(abs({lon_a} - {lon_b}), 1e-12) * cosd({lat_a})"
    near = f"({north}) ^ 2 + ({east}) ^ 2 < {math.degrees(km / EARTH_RADIUS_KM) ** 2!r}"
    return f"(({lat_a} - {lat_b} + {lon_a} - {lon_b}) IS NOT NULL AND {near})"


STILL: Final = nearer_than(MOVED_KM, "p.still_lat", "p.still_lon", "excluded.lat", "excluded.lon")

# `still_since` is since when the driver is where they were then (`still_lat`, `still_lon`): anew once they have moved.
WRITE: Final = f"""
WITH u AS MATERIALIZED (
SELECT u.*, d.zone
FROM unnest($1::text[]::uuid[], $2::float8[], $3::float8[], $4::timestamptz[], $5::float8[], $6::float8[],
            $7::float8[], $8::text[]) AS u (driver_id, lat, lon, at, heading, speed_kmh, accuracy_m, known_zone)
JOIN drivers d ON d.id = u.driver_id
), written AS (
INSERT INTO driver_positions AS p
    (driver_id, lat, lon, at, heading, speed_kmh, accuracy_m, still_lat, still_lon, still_since)
SELECT driver_id, lat, lon, at, heading, speed_kmh, accuracy_m, lat, lon, at
FROM u ORDER BY driver_id
ON CONFLICT (driver_id) DO UPDATE SET lat = excluded.lat, lon = excluded.lon, at = excluded.at,
    heading = excluded.heading, speed_kmh = excluded.speed_kmh, accuracy_m = excluded.accuracy_m,
    still_lat = CASE WHEN {STILL} THEN p.still_lat ELSE excluded.lat END,
    still_lon = CASE WHEN {STILL} THEN p.still_lon ELSE excluded.lon END,
    still_since = CASE WHEN {STILL} THEN p.still_since ELSE excluded.at END
WHERE p.at IS NULL OR p.at <= excluded.at
)
SELECT driver_id::text, zone FROM u WHERE zone IS DISTINCT FROM known_zone
"""  # noqa: S608 - all of it is here
WRITE_CALLS: Final = """
INSERT INTO driver_positions AS p (driver_id, last_call_at)
SELECT u.driver_id, u.at FROM unnest($1::text[]::uuid[], $2::timestamptz[]) AS u (driver_id, at)
WHERE EXISTS (SELECT 1 FROM drivers d WHERE d.id = u.driver_id)
ORDER BY u.driver_id
ON CONFLICT (driver_id) DO UPDATE SET last_call_at = excluded.last_call_at
WHERE p.last_call_at IS NULL OR p.last_call_at < excluded.last_call_at
"""


async def write_positions(pool: Pool, rows: Sequence[PositionRow]) -> list[tuple[str, str]]:
    """Of drivers there are, one row each, at least one. Returns the zones that are not as known, as (driver id, zone).
    Raises what the database raises.
    """
    return await pool.fetch(WRITE, *zip(*rows, strict=True), timeout=QUERY_TIMEOUT_SECONDS)


async def write_calls(pool: Pool, calls: Mapping[str, datetime]) -> None:
    """Write the times of drivers' last calls, by id. Raises what the database raises."""
    await pool.execute(WRITE_CALLS, list(calls), list(calls.values()), timeout=QUERY_TIMEOUT_SECONDS)
