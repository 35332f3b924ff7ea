"""The messages of day reports for webhooks: one for each webhook and day, however many nodes write them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from server.contract.webhook_events import EVERYTHING, REPORT, RETRY_HOURS
from server.ids import derived_id
from server.store.connections import Pool
from server.store.query import fetch_as

WANTED: Final = f"""
SELECT id::text FROM webhooks
WHERE active AND events && ARRAY['{EVERYTHING}', '{REPORT}'] AND created_at < $1 ORDER BY id"""  # noqa: S608
# The id of a message follows from its webhook and day, so it is written once.
WRITE: Final = f"""
INSERT INTO webhook_deliveries (id, webhook_id, key, type, body, retry_until)
SELECT u.id, u.webhook_id, $3, '{REPORT}', $4, clock_timestamp() + make_interval(hours => {RETRY_HOURS})
FROM unnest($1::text[]::uuid[], $2::text[]::uuid[]) AS u (id, webhook_id)
JOIN webhooks w ON w.id = u.webhook_id AND w.active
ON CONFLICT (id) DO NOTHING RETURNING webhook_id::text"""  # noqa: S608


async def wanted_reports(pool: Pool, due: datetime) -> list[str]:
    """The webhooks that get the report which is due at this time: those that were there before. Raises DatabaseAway."""
    return await fetch_as(pool, str, WANTED, due)


async def write_reports(pool: Pool, webhooks: Sequence[str], day: str, body: str) -> list[str]:
    """Write the report of a day for each of these webhooks that has none yet: the webhooks that got one now. Raises
    DatabaseAway.
    """
    key = f"{REPORT} {day}"
    ids = [derived_id(webhook_id, key) for webhook_id in webhooks]
    return await fetch_as(pool, str, WRITE, ids, list(webhooks), key, body)
