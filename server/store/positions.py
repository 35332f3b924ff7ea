"""Writes drivers' positions and last calls, in batches. An older value never replaces a newer one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from server.store.connections import Pool

QUERY_TIMEOUT_SECONDS: Final = 5.0

PositionRow = tuple[str, float, float, datetime, float | None, float | None, float | None]
"""A driver's id, degrees of latitude and longitude, when, degrees from north, km/h, metres of accuracy."""

WRITE: Final = """
INSERT INTO driver_positions AS p (driver_id, lat, lon, at, heading, speed_kmh, accuracy_m)
SELECT u.driver_id, u.lat, u.lon, u.at, u.heading, u.speed_kmh, u.accuracy_m
FROM unnest($1::text[]::uuid[], $2::float8[], $3::float8[], $4::timestamptz[], $5::float8[], $6::float8[],
            $7::float8[]) AS u (driver_id, lat, lon, at, heading, speed_kmh, accuracy_m)
WHERE EXISTS (SELECT 1 FROM drivers d WHERE d.id = u.driver_id)
ORDER BY u.driver_id
ON CONFLICT (driver_id) DO UPDATE SET lat = excluded.lat, lon = excluded.lon, at = excluded.at,
    heading = excluded.heading, speed_kmh = excluded.speed_kmh, accuracy_m = excluded.accuracy_m
WHERE p.at IS NULL OR p.at < excluded.at
"""
WRITE_CALLS: Final = """
INSERT INTO driver_positions AS p (driver_id, last_call_at)
SELECT u.driver_id, u.at FROM unnest($1::text[]::uuid[], $2::timestamptz[]) AS u (driver_id, at)
WHERE EXISTS (SELECT 1 FROM drivers d WHERE d.id = u.driver_id)
ORDER BY u.driver_id
ON CONFLICT (driver_id) DO UPDATE SET last_call_at = excluded.last_call_at
WHERE p.last_call_at IS NULL OR p.last_call_at < excluded.last_call_at
"""


async def write_positions(pool: Pool, rows: Sequence[PositionRow]) -> None:
    """Of drivers there are, one row each, at least one. Raises what the database raises."""
    await pool.execute(WRITE, *zip(*rows, strict=True), timeout=QUERY_TIMEOUT_SECONDS)


async def write_calls(pool: Pool, calls: Mapping[str, datetime]) -> None:
    """Write the times of drivers' last calls, by id. Raises what the database raises."""
    await pool.execute(WRITE_CALLS, list(calls), list(calls.values()), timeout=QUERY_TIMEOUT_SECONDS)
