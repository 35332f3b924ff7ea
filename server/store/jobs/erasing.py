"""Erasing: which deliveries lose their personal data, and when. It runs in small batches.

A delivery is due a set time after its end, or once it is finished if an admin requested it (`erasures`). It is locked
as a command does; one that a command has locked is skipped. The next run finds by an index what a run left.

Messages between dispatch and a driver are erased with the deliveries that the driver had then, by a phone that is in
them, and in any case a set time after they were written.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import prometheus_client as p
import structlog
from msgspec import Struct

from server.contract.personal import phone_digits, phone_pattern
from server.dispatch.model import ERASED
from server.settings import Settings
from server.store.clock import time_at
from server.store.connections import Connection, Pool
from server.store.engine import DATABASE_ERRORS, Database
from server.store.jobs.person_search import CHAT_WITH_PHONE, deliveries_with
from server.store.jobs.person_turn import PersonTurn
from server.store.jobs.personal_data import SEARCH_SECONDS, STATEMENT_SECONDS, erase, erase_chat
from server.tasks import repeat_with_lease

BATCH: Final = 50
"""Deliveries in one transaction, each with about 20 events."""
CHAT_BATCH: Final = 500
"""Messages in one transaction."""
REST_SECONDS: Final = 0.05
REST_FACTOR: Final = 4.0
"""The pause after a batch, as a multiple of its time."""
EVERY_SECONDS: Final = 60.0
_OVER: Final = "d.status IN ('DELIVERED', 'CANCELLED', 'FAILED', 'RETURNED')"
_LEFT: Final = f"{_OVER} AND d.fingerprint <> '{ERASED}'"
"""The condition of the index."""
_END: Final = "coalesce(d.over_at, d.created_at)"
# The previous release does not write `over_at`: then the last event counts.
_DUE: Final = f"""
{_LEFT} AND {_END} <= $1
AND (d.over_at IS NOT NULL
     OR d.dispatch_at <= $1 AND coalesce((SELECT max(e.at) FROM events e WHERE e.delivery_id = d.id) <= $1, true))"""  # noqa: S608
_LOCK: Final = "FOR UPDATE OF d SKIP LOCKED"

DUE: Final = f"SELECT d.id::text FROM deliveries d WHERE {_DUE} ORDER BY {_END} LIMIT {BATCH} {_LOCK}"  # noqa: S608
COUNT: Final = f"SELECT count(*) FROM deliveries d WHERE {_DUE}"  # noqa: S608
REQUESTED: Final = f"""
SELECT d.id::text FROM erasures e JOIN deliveries d ON d.id = e.delivery_id
WHERE {_OVER} AND ($1::uuid[] IS NULL OR d.id = ANY ($1)) ORDER BY d.id LIMIT {BATCH} {_LOCK}"""  # noqa: S608
REQUEST: Final = """
INSERT INTO erasures (delivery_id, requested_at, requested_by)
SELECT id, clock_timestamp(), $2 FROM unnest($1::uuid[]) AS id ON CONFLICT DO NOTHING"""
LATER: Final = "SELECT count(*) FROM erasures WHERE delivery_id = ANY ($1::uuid[])"
CHAT_DUE: Final = (
    f"SELECT id::text FROM chat_messages WHERE text IS NOT NULL AND at <= $1 ORDER BY at LIMIT {CHAT_BATCH}"  # noqa: S608
)
ERASED_DELIVERIES: Final = p.Counter("callboard_erased_deliveries", "Deliveries whose personal data was erased")
FAILED: Final = p.Counter("callboard_erase_failures", "Runs of erasing that ended with an error")

log = structlog.get_logger(__name__)


class Erased(Struct, frozen=True):
    """The number of rows changed, by name; `later` is the number of deliveries that are under way, or locked now."""

    rows: Counter[str]
    later: int = 0


async def _batch(connection: Connection, which: str, of: object, *, streams: bool) -> Counter[str]:
    """One batch in one transaction. Raises what the database raises."""
    async with connection.transaction():
        ids = [row[0] for row in await connection.fetch(which, of, timeout=STATEMENT_SECONDS)]
        rows = await erase(connection, ids, streams=streams) if ids else Counter()
    ERASED_DELIVERIES.inc(len(ids))
    return rows


async def _all(
    connection: Connection, which: str, of: object, rows: Counter[str], *, streams: bool, go_on: Callable[[], bool]
) -> None:
    """Batch after batch, each followed by a rest, until there is none. Raises what the database raises."""
    full = True
    while full and go_on():
        began = time.monotonic()
        batch = await _batch(connection, which, of, streams=streams)
        rows.update(batch)
        full = batch["deliveries"] == BATCH
        if full:
            await asyncio.sleep(max(REST_SECONDS, REST_FACTOR * (time.monotonic() - began)))


async def erase_due(
    database: Database, settings: Settings, *, now: datetime | None = None, go_on: Callable[[], bool] = lambda: True
) -> Counter[str]:
    """Erase what is due at `now` (by default the database's time): requested, or past the retention.

    Returns the number of rows changed. Raises what the database raises; the next run then erases the rest.
    """
    rows: Counter[str] = Counter()
    connection = await database.connect_for_privacy()
    try:
        now = now or await time_at(connection)
        await _all(connection, REQUESTED, None, rows, streams=True, go_on=go_on)
        kept = timedelta(days=settings.keep_personal_days)
        streams = settings.keep_personal_days <= settings.keep_messages_days  # older messages are deleted by then
        await _all(connection, DUE, now - kept, rows, streams=streams, go_on=go_on)
        full = True
        while full and go_on():
            async with connection.transaction():
                full = await erase_chat(connection, rows, CHAT_DUE, now - kept) == CHAT_BATCH
    finally:
        await connection.close()
    return rows


async def would_be_erased(pool: Pool, settings: Settings, *, now: datetime | None = None) -> int:
    """The number of deliveries past the retention. Raises what the database raises."""
    now = now or await time_at(pool)
    found: int = await pool.fetchval(COUNT, now - timedelta(days=settings.keep_personal_days), timeout=SEARCH_SECONDS)
    return found


async def erase_person(database: Database, turn: PersonTurn, phone: str, requested_by: str | None) -> Erased:
    """Erase the deliveries that have or name this phone, in any of its forms, or record them to be erased at their end.

    Raises PersonSearchRuns, and what the database raises. After a failure the node with the lease erases what was
    recorded.
    """
    rows: Counter[str] = Counter()
    async with turn.alone(database.connect_for_privacy) as connection:
        ids: list[str] = []
        async for found in deliveries_with(connection, phone):
            await connection.execute(REQUEST, found, requested_by)
            await _all(connection, REQUESTED, found, rows, streams=True, go_on=lambda: True)
            ids += found
        async with connection.transaction():
            await erase_chat(connection, rows, CHAT_WITH_PHONE, phone_pattern(phone_digits(phone)))
        later = await connection.fetchval(LATER, ids, timeout=STATEMENT_SECONDS)
    return Erased(rows, later)


async def keep_erasing(database: Database, settings: Settings, holds_lease: Callable[[], bool]) -> None:
    """Once a minute, on the node with the lease, a run; for ever. To be supervised."""
    await repeat_with_lease(holds_lease, partial(run_erasing, database, settings, holds_lease), EVERY_SECONDS)


async def run_erasing(database: Database, settings: Settings, go_on: Callable[[], bool]) -> None:
    """Erase what is due. A failure is logged and counted."""
    try:
        rows = await erase_due(database, settings, go_on=go_on)
    except DATABASE_ERRORS as error:
        FAILED.inc()
        log.warning("erase_failed", reason=type(error).__name__)
        return
    if rows["deliveries"]:
        log.info("personal_data_erased", rows=dict(rows))
