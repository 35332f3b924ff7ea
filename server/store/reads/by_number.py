"""Reading deliveries by the numbers that their sellers gave them, with what was posted for each."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from server.dispatch.model import Delivery
from server.dispatch.sameness import Posted
from server.store.connections import Pool
from server.store.query import QUERY_TIMEOUT_SECONDS, database_errors, fetch
from server.store.rows import read_rows

BY_NUMBERS: Final = """
SELECT d.id::text, d.posted::text
FROM unnest($1::text[], $2::text[]) AS k (seller_id, seller_order_id)
JOIN deliveries d ON d.seller_id = k.seller_id AND d.seller_order_id = k.seller_order_id"""
POSTED: Final = (
    "SELECT id::text, posted::text FROM deliveries WHERE id = ANY($1::text[]::uuid[]) AND posted IS NOT NULL"
)
CHANGED: Final = """
SELECT delivery_id::text, data->'fields' ? 'pin', data->'fields' ? 'promisedAt',
    data #>> '{changes,promisedAt,new}' IS NOT NULL
FROM events WHERE delivery_id = ANY($1::text[]::uuid[]) AND type = 'delivery.changed'
    AND data->'fields' ?| ARRAY['pin', 'promisedAt'] ORDER BY id"""
NUMBERS_AT_ONCE: Final = 500


async def read_by_numbers(
    pool: Pool, numbers: Iterable[tuple[str, str]]
) -> tuple[dict[str, Delivery], dict[str, Posted | None]]:
    """The deliveries with one of these sellers and numbers, and what was posted for each. Raises DatabaseAway."""
    wanted = list(dict.fromkeys(numbers))
    found: dict[str, Delivery] = {}
    posted: dict[str, Posted | None] = {}
    for start in range(0, len(wanted), NUMBERS_AT_ONCE):
        some = wanted[start : start + NUMBERS_AT_ONCE]
        rows = await fetch(pool, BY_NUMBERS, [seller for seller, _ in some], [number for _, number in some])
        for delivery_id, document in rows:
            posted[delivery_id] = msgspec.json.decode(document) if document is not None else None
        with database_errors():
            found |= (await read_rows(pool, [row[0] for row in rows], [], timeout=QUERY_TIMEOUT_SECONDS)).deliveries
    return found, posted


async def read_posted(pool: Pool, ids: Sequence[str]) -> dict[str, Posted]:
    """What was posted for these deliveries, where that is stored (see `sameness.kept`). Raises DatabaseAway."""
    return {row[0]: msgspec.json.decode(row[1]) for row in await fetch(pool, POSTED, list(ids))}


async def read_given(pool: Pool, ids: Sequence[str]) -> dict[str, dict[str, bool]]:
    """By delivery whether its `pin` and its `promisedAt` were given by a change, if they were changed. Raises
    DatabaseAway.
    """
    given: dict[str, dict[str, bool]] = {}
    for delivery, has_pin, has_promise, is_promised in await fetch(pool, CHANGED, list(ids)):
        of_it = given.setdefault(delivery, {})
        if has_pin:
            of_it["pin"] = True
        if has_promise:
            of_it["promisedAt"] = is_promised
    return given
