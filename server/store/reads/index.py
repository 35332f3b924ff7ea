"""All that Redis shows, as the database has it: to compare the index with, and to fill it from. Each raises what the
database raises.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from msgspec import Struct

from server.dispatch.policy import Policy
from server.ids import FIRST_ID
from server.store.connections import Pool
from server.store.reads.waiting import DISPATCHABLE

QUERY_TIMEOUT_SECONDS: Final = 10.0

IDS: Final = f"""
SELECT d.zone, string_agg(d.id::text, ',')
FROM drivers d JOIN driver_positions p ON p.driver_id = d.id
WHERE {DISPATCHABLE} AND p.lat BETWEEN -$3::float8 AND $3 GROUP BY d.zone
"""  # noqa: S608
STATUSES: Final = """
SELECT id::text, CASE WHEN active_count >= capacity THEN 'busy' ELSE availability END
FROM drivers WHERE id > $1::text::uuid ORDER BY id LIMIT $2
"""
OPEN_OFFERS: Final = """
SELECT id::text, delivery_id::text, driver_id::text, expires_at,
       extract(epoch FROM expires_at - clock_timestamp())::float8
FROM driver_offers WHERE status = 'PENDING' AND expires_at > clock_timestamp() AND id > $1::text::uuid
ORDER BY id LIMIT $2
"""


class OpenOffer(Struct, frozen=True):
    """An offer that can still be accepted, for `left_seconds` by the database's clock."""

    id: str
    delivery_id: str
    driver_id: str
    expires_at: datetime
    left_seconds: float


async def all_dispatchable(pool: Pool, policy: Policy, latitude: float) -> dict[str, set[str]]:
    """The ids of all dispatchable drivers by zone, without those beyond that latitude."""
    fresh = float(policy.position_fresh_seconds), float(policy.call_presence_seconds)
    rows = await pool.fetch(IDS, *fresh, latitude, timeout=QUERY_TIMEOUT_SECONDS)
    return {zone: set(ids.split(",")) for zone, ids in rows}


async def driver_statuses(pool: Pool, slice_: int) -> AsyncIterator[list[tuple[str, str]]]:
    """Every driver's id and availability, so many at a time; `busy` for drivers at capacity."""
    after = FIRST_ID
    while rows := await pool.fetch(STATUSES, after, slice_, timeout=QUERY_TIMEOUT_SECONDS):
        yield rows
        after = rows[-1][0]


async def open_offers(pool: Pool, slice_: int) -> AsyncIterator[list[OpenOffer]]:
    """All offers that can still be accepted, so many at a time."""
    after = FIRST_ID
    while rows := await pool.fetch(OPEN_OFFERS, after, slice_, timeout=QUERY_TIMEOUT_SECONDS):
        yield [OpenOffer(*row) for row in rows]
        after = rows[-1][0]
