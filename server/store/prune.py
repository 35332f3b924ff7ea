"""Letting go of rows that nobody will ask for again. Events, and the state of dispatch, are never touched."""

from typing import Any, Final

BATCH: Final = 5_000
"""Rows deleted in one statement: a fraction of a second."""

# Streams: a driver's app that has been away for longer starts from its snapshot alone.
PRUNED: Final = {
    "driver_messages": "created_at < statement_timestamp() - interval '7 days'",
    "webhook_deliveries": "delivered_at < statement_timestamp() - interval '30 days'",
    "sessions": "expires_at < statement_timestamp() - interval '1 day'",
    "nodes": "expires_at < statement_timestamp() - interval '1 hour'",
}


async def prune(pool: Any) -> int:
    """Delete what is due, in small steps that a later call goes on with after an error; how many rows."""
    total = 0
    for table, over in PRUNED.items():
        deleted = BATCH
        while deleted == BATCH:
            done = await pool.execute(
                f"DELETE FROM {table} WHERE ctid = ANY"  # noqa: S608 - the tables are those above
                f" (ARRAY(SELECT ctid FROM {table} WHERE {over} LIMIT {BATCH}))"
            )
            deleted = int(done.rpartition(" ")[2])
            total += deleted
    return total
