"""Reads which devices of drivers connected lately."""

from collections.abc import Iterable
from typing import Final

from server.dispatch.takeovers import FREE, WINDOW, Connected, two_devices
from server.store.connections import Pool
from server.store.query import fetch

# Found by their time: few events of the last minutes are about no delivery.
CONNECTIONS: Final = """
SELECT at, data->>'device', data->>'superseded' IS NOT NULL FROM events
WHERE delivery_id IS NULL AND at > statement_timestamp() - $2::interval AND type = 'driver.connected' AND driver_id = $1
ORDER BY id"""
OFTEN: Final = """
SELECT driver_id::text FROM events
WHERE delivery_id IS NULL AND at > statement_timestamp() - $2::interval AND type = 'driver.connected'
  AND driver_id = ANY($1::text[]::uuid[]) AND data->>'superseded' IS NOT NULL
GROUP BY driver_id HAVING count(*) >= $3"""
IS_CONNECTED: Final = "SELECT FROM drivers WHERE id = $1 AND session_id IS NOT NULL"


async def connections_of(pool: Pool, driver_id: str) -> list[Connected]:
    """The driver's connections within WINDOW, oldest first. Raises DatabaseAway."""
    return [Connected(*row) for row in await fetch(pool, CONNECTIONS, driver_id, WINDOW)]


async def with_two_devices(pool: Pool, driver_ids: Iterable[str]) -> set[str]:
    """Those of these drivers whose devices take turns. Raises DatabaseAway."""
    often = [row[0] for row in await fetch(pool, OFTEN, list(driver_ids), WINDOW, FREE)]
    return {driver_id for driver_id in often if two_devices(await connections_of(pool, driver_id))}


async def is_connected(pool: Pool, driver_id: str) -> bool:
    """Whether the driver has an open socket. Raises DatabaseAway."""
    return bool(await fetch(pool, IS_CONNECTED, driver_id))
