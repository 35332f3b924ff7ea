"""Writes the rows for the search of deliveries, five minutes after each was created, so that creation stays fast.

Until then a search reads the delivery itself (store/reads/deliveries.py).
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from server.store.connections import Pool
from server.store.query import fetch_one
from server.store.reads.delivery_search import SEARCHABLE

EVERY_SECONDS: Final = 5.0
LATER_SECONDS: Final = 300
"""Ids begin with the time of the node that made them. This is the limit for the difference between the nodes' clocks
and for the duration of a commit.
"""
AT_ONCE: Final = 500
"""Rows per statement, which locks their deliveries against changes, so no row is older than its delivery."""

WRITE: Final = f"""
WITH until AS (
    SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp() - make_interval(secs => $1)) * 1000)::bigint), 12, '0')
            || '00000000000000000000')::uuid AS id),
written AS (
    INSERT INTO delivery_search (delivery_id, seller_id, store, words)
    SELECT d.id, d.seller_id, delivery_store(d), delivery_words(d) FROM deliveries d
    WHERE d.id > {SEARCHABLE} AND d.id < (SELECT id FROM until) ORDER BY d.id LIMIT $2
    FOR SHARE OF d ON CONFLICT (delivery_id) DO NOTHING RETURNING 1)
SELECT count(*) FROM written"""  # noqa: S608 - constants

log = structlog.get_logger(__name__)


async def write_search_rows(pool: Pool, *, later_seconds: float = LATER_SECONDS, at_once: int = AT_ONCE) -> int:
    """Write rows of deliveries that are at least this old, oldest first. Returns how many. Raises DatabaseAway."""
    return int((await fetch_one(pool, WRITE, float(later_seconds), at_once))[0])


class SearchRows:
    """Writes the rows while this node holds the lease. `run` is to be supervised."""

    def __init__(self, pool: Pool, holds_lease: Callable[[], bool]) -> None:
        self._pool = pool
        self._holds_lease = holds_lease

    async def run(self) -> None:
        """Every 5 s; every 0.1 s while a full batch was written, such as after an upgrade."""
        while True:
            written = 0
            if self._holds_lease():
                try:
                    written = await write_search_rows(self._pool)
                except Exception as error:
                    log.warning("search_rows_not_written", reason=repr(error))
            await asyncio.sleep(EVERY_SECONDS if written < AT_ONCE else 0.1)
