"""The drivers at work, whole, in slices by id: for the picture of the fleet on the node with the lease."""

from typing import Final

from server.dispatch.model import Driver
from server.store.connections import Pool
from server.store.rows import DRIVER_COLUMNS, drivers_of, read_rows

QUERY_TIMEOUT_SECONDS: Final = 5.0

SLICE: Final = f"""
SELECT json_agg(json_build_array({DRIVER_COLUMNS},
    (SELECT json_build_array(p.lat, p.lon, p.at, p.last_call_at) FROM driver_positions p WHERE p.driver_id = d.id)))
FROM (SELECT * FROM drivers WHERE id > $1::text::uuid AND active AND availability IN ('available', 'on_break', 'paused')
      ORDER BY id LIMIT $2) d
"""  # noqa: S608 - constants


async def drivers_at_work(pool: Pool, after: str, limit: int) -> list[Driver]:
    """The next drivers at work after this id, in order of their ids."""
    return drivers_of(await pool.fetchval(SLICE, after, limit, timeout=QUERY_TIMEOUT_SECONDS))


async def read_drivers(pool: Pool, ids: list[str]) -> dict[str, Driver]:
    """The existing ones of these drivers."""
    return (await read_rows(pool, [], ids, timeout=QUERY_TIMEOUT_SECONDS)).drivers
