"""Writes the rows for the search of deliveries, five minutes after each was created, so that creation stays fast.

Until then a search reads the delivery itself (store/reads/delivery_search.py). Rows of a release that knew no words
without the marks on their letters are written again.
"""

from collections.abc import Callable
from typing import Final

import structlog

from server.store.connections import Pool
from server.store.query import fetch_one
from server.store.reads.delivery_search import SEARCHABLE
from server.tasks import repeat_with_lease

EVERY_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 0.1
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
    INSERT INTO delivery_search (delivery_id, seller_id, store, words, spelled)
    SELECT d.id, d.seller_id, delivery_store(d), delivery_words(d), true FROM deliveries d
    WHERE d.id > {SEARCHABLE} AND d.id < (SELECT id FROM until) ORDER BY d.id LIMIT $2
    FOR SHARE OF d ON CONFLICT (delivery_id) DO NOTHING RETURNING 1)
SELECT count(*) FROM written"""  # noqa: S608 - constants
# The condition is that of an index. With the lock on its delivery, what is written is what it says now.
SPELL: Final = """
WITH unspelled AS (
    SELECT delivery_id FROM delivery_search
    WHERE NOT spelled AND octet_length(words) <> length(words) ORDER BY delivery_id DESC LIMIT $1),
locked AS (
    SELECT d.id, delivery_words(d) AS words FROM deliveries d
    WHERE d.id IN (SELECT delivery_id FROM unspelled) ORDER BY d.id FOR SHARE OF d),
spelled AS (
    UPDATE delivery_search s SET words = l.words, spelled = true FROM locked l WHERE s.delivery_id = l.id RETURNING 1)
SELECT count(*) FROM spelled"""

log = structlog.get_logger(__name__)


async def write_search_rows(pool: Pool, *, later_seconds: float = LATER_SECONDS, at_once: int = AT_ONCE) -> int:
    """Write rows of deliveries that are at least this old, oldest first. Returns how many. Raises DatabaseAway."""
    return int((await fetch_one(pool, WRITE, float(later_seconds), at_once))[0])


async def spell_search_rows(pool: Pool, *, at_once: int = AT_ONCE) -> int:
    """Write so many rows again that are not spelled yet, the newest first. Returns how many. Raises DatabaseAway."""
    return int((await fetch_one(pool, SPELL, at_once))[0])


async def keep_search_rows(pool: Pool, holds_lease: Callable[[], bool]) -> None:
    """Write the rows every 5 s while this node holds the lease; every 0.1 s while a full batch was written, such as
    after an upgrade. To be supervised.
    """

    async def write() -> float:
        try:
            written = await write_search_rows(pool)
            if written < AT_ONCE:
                written = await spell_search_rows(pool)
        except Exception as error:
            log.warning("search_rows_not_written", reason=repr(error))
            return EVERY_SECONDS
        return EVERY_SECONDS if written < AT_ONCE else AGAIN_SECONDS

    await repeat_with_lease(holds_lease, write, EVERY_SECONDS)
