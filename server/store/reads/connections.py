"""Reads which devices of drivers connected lately. Devices that were signed out since do not count."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from server.dispatch.takeovers import FREE, WINDOW, Connected, LastConnection, last_connection, two_devices
from server.store.connections import Pool
from server.store.query import fetch

# Found by their time: few events of the last minutes are about no delivery.
_LATELY: Final = (
    "delivery_id IS NULL AND at > statement_timestamp() - $2::interval AND type = 'driver.connected'"  # of `events`
)
_COLUMNS: Final = f"""
SELECT driver_id::text, at, data->>'device', data->>'superseded' IS NOT NULL FROM events
WHERE {_LATELY} AND NOT EXISTS (
    SELECT FROM driver_devices v
    WHERE v.driver_id = events.driver_id AND v.id::text = data->>'device' AND v.ended_at IS NOT NULL)"""  # noqa: S608 - constants
CONNECTIONS: Final = f"{_COLUMNS} AND driver_id = $1 ORDER BY id"
OFTEN: Final = f"""{_COLUMNS}
AND driver_id IN (SELECT driver_id FROM events WHERE {_LATELY} AND data->>'superseded' IS NOT NULL
                  AND ($1::text[] IS NULL OR driver_id = ANY($1::text[]::uuid[]))
                  GROUP BY driver_id HAVING count(*) >= $3)
ORDER BY id"""  # noqa: S608 - constants
IS_CONNECTED: Final = "SELECT FROM drivers WHERE id = $1 AND session_id IS NOT NULL"
SEEN: Final = 50
"""So many of the last connections are read to know since when a device is in use."""
LAST: Final = """
SELECT e.at, e.data->>'device', e.data->>'superseded' IS NOT NULL, d.session_id IS NOT NULL,
       (SELECT v.name FROM driver_devices v WHERE v.driver_id = d.id AND v.id::text = e.data->>'device')
FROM drivers d CROSS JOIN LATERAL (
    SELECT id, at, data FROM events
    WHERE driver_id = d.id AND type = 'driver.connected' AND NOT EXISTS (
        SELECT FROM driver_devices v
        WHERE v.driver_id = d.id AND v.id::text = data->>'device' AND v.ended_at IS NOT NULL)
    ORDER BY id DESC LIMIT $2) AS e
WHERE d.id = $1 ORDER BY e.id DESC"""


async def connections_of(pool: Pool, driver_id: str) -> list[Connected]:
    """The driver's connections within WINDOW, oldest first. Raises DatabaseAway."""
    return [Connected(*row[1:]) for row in await fetch(pool, CONNECTIONS, driver_id, WINDOW)]


async def with_two_devices(pool: Pool, driver_ids: Iterable[str] | None = None) -> set[str]:
    """Those of these drivers, or of all, whose devices take turns. Raises DatabaseAway."""
    asked = list(driver_ids) if driver_ids is not None else None
    found: dict[str, list[Connected]] = defaultdict(list)
    for row in await fetch(pool, OFTEN, asked, WINDOW, FREE):
        found[row[0]].append(Connected(*row[1:]))
    return {driver_id for driver_id, connections in found.items() if two_devices(connections)}


async def is_connected(pool: Pool, driver_id: str) -> bool:
    """Whether the driver has an open socket. Raises DatabaseAway."""
    return bool(await fetch(pool, IS_CONNECTED, driver_id))


async def last_connection_of(pool: Pool, driver_id: str, seen: int = SEEN) -> LastConnection | None:
    """The device in use by a driver, by the last `seen` connections; None if that is not known. Raises DatabaseAway."""
    rows = await fetch(pool, LAST, driver_id, seen)
    if not rows:
        return None
    connected, name = rows[0][3:]
    return last_connection([Connected(*row[:3]) for row in reversed(rows)], name, connected)
