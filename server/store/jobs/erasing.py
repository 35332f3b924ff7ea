"""Privacy: erases the personal data of finished deliveries, in small batches.

Rows, ids, times, states and money are kept. `erase` lists everything that is written. It locks deliveries like a
command does, and skips those that a command has locked. The next run finds by an index what a run left.

Messages between dispatch and a driver are erased with the deliveries that the driver had then, by a phone that is in
them, and in any case a set time after they were written.

A delivery is due a set time after its end, or once it is finished if an admin requested it (`erasures`).
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import prometheus_client as p
import structlog
from msgspec import Struct

from server.contract.personal import CODE, DECIMALS, phones_in, without_people
from server.dispatch.model import ERASED
from server.settings import Settings
from server.store.clock import time_at
from server.store.connections import Connection, Pool
from server.store.engine import DATABASE_ERRORS, Database
from server.tasks import repeat_with_lease

BATCH: Final = 50
"""Deliveries in one transaction, each with about 20 events."""
CHAT_BATCH: Final = 500
"""Messages in one transaction."""
STATEMENT_SECONDS: Final = 5.0
SEARCH_SECONDS: Final = 60
REST_SECONDS: Final = 0.05
REST_FACTOR: Final = 4.0
"""The pause after a batch, as a multiple of its time."""
EVERY_SECONDS: Final = 60.0
BEFORE: Final = timedelta(seconds=1)
AFTER: Final = timedelta(minutes=2)
"""How much later than its event a webhook message can be created: both are written in one transaction."""

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
DONE: Final = """
DELETE FROM erasures e WHERE e.delivery_id = ANY ($1::uuid[])
    OR NOT EXISTS (SELECT FROM deliveries d WHERE d.id = e.delivery_id)"""


def phone_digits(text: str) -> str:
    """The digits to compare a phone by: +49 30 …, +49 (0)30 … and 0049 30 … are one phone."""
    return re.sub("^00", "", re.sub("[^0-9]", "", text.replace("(0)", "")))


def _digits(text: str) -> str:
    """`phone_digits` in SQL."""
    return f"regexp_replace(regexp_replace(replace({text}, '(0)', ''), '[^0-9]', '', 'g'), '^00', '')"


_PHONES: Final = (
    "d.pickup_phone", "d.dropoff_phone", "d.posted->'pickup'->>'phone'", "d.posted->'dropoff'->>'phone'",
    "d.details->'store'->>'phone'",
)  # fmt: skip
"""Also the phones in the first request, before a change."""
# In two parts, because each uses another index.
FIND: Final = "\nUNION ALL\n".join(
    f"SELECT d.id::text FROM deliveries d WHERE {which} AND $1 IN ({', '.join(map(_digits, _PHONES))})"  # noqa: S608
    for which in (_LEFT, "d.status IN ('SCHEDULED', 'READY', 'ASSIGNED', 'PICKED_UP', 'RETURNING')")
)
CHANGED: Final = f"""
SELECT DISTINCT e.delivery_id::text FROM events e JOIN deliveries d ON d.id = e.delivery_id
WHERE e.type = 'delivery.changed' AND e.data->'fields' ?| ARRAY['pickup', 'dropoff'] AND d.fingerprint <> '{ERASED}'
ORDER BY 1"""  # noqa: S608
"""Deliveries whose places were changed: a phone may be only in what was sent about them in between."""
REQUEST: Final = """
INSERT INTO erasures (delivery_id, requested_at, requested_by)
SELECT id, clock_timestamp(), $2 FROM unnest($1::uuid[]) AS id ON CONFLICT DO NOTHING"""
LATER: Final = "SELECT count(*) FROM erasures WHERE delivery_id = ANY ($1::uuid[])"


def _typed(column: str) -> str:
    return f"CASE WHEN {column} ~ '{CODE}' THEN {column} WHEN {column} IS NOT NULL THEN '{ERASED}' END"


def _blurred(column: str) -> str:
    return f"{column} = round({column}::numeric, {DECIMALS})::float8"


# What is written; $1 are the deliveries.
_PLACES: Final = ", ".join(
    [f"{end}_{part} = NULL" for end in ("pickup", "dropoff") for part in ("address", "name", "phone", "notes")]
    + [_blurred(f"{end}_{part}") for end in ("pickup", "dropoff") for part in ("lat", "lon")]
)
DELIVERIES: Final = f"""
UPDATE deliveries SET {_PLACES}, notes = NULL, fingerprint = '{ERASED}',
    posted = posted - ARRAY['pickup', 'dropoff', 'notes', 'pin'] WHERE id = ANY ($1::uuid[])"""  # noqa: S608
_WAITS: Final = """
UPDATE unassigned_orders SET acknowledgement_note = NULL
WHERE delivery_id = ANY ($1::uuid[]) AND acknowledgement_note IS NOT NULL"""
_ASSIGNMENTS: Final = f"""
UPDATE assignments SET end_note = NULL, end_reason = {_typed("end_reason")}
WHERE delivery_id = ANY ($1::uuid[]) AND (end_note IS NOT NULL OR end_reason IS NOT NULL)"""  # noqa: S608
_OFFERS: Final = f"""
UPDATE driver_offers SET closing_reason = {_typed("closing_reason")}, rejection_reason = {_typed("rejection_reason")}
WHERE delivery_id = ANY ($1::uuid[]) AND closing_reason IS NOT NULL"""  # noqa: S608
# The reason comes last, after a colon. If the store was renamed meanwhile, the whole text goes.
_NOTICES: Final = """
UPDATE stream_notices n SET text = CASE WHEN strpos(n.text, o.named) > 0
    THEN left(n.text, strpos(n.text, o.named) + length(o.named) - 1)
         || rtrim(split_part(substr(n.text, strpos(n.text, o.named) + length(o.named)), ':', 1), '.') || '.'
    ELSE 'Erased.' END
FROM (SELECT id, seller_order_id || ' of ' || store_name AS named FROM deliveries WHERE id = ANY ($1::uuid[])) AS o
WHERE n.delivery_id = o.id"""
_PROOFS: Final = "DELETE FROM proofs WHERE delivery_id = ANY ($1::uuid[])"
PLAIN: Final = (_PROOFS, _WAITS, _ASSIGNMENTS, _OFFERS, _NOTICES)


class Documents(Struct, frozen=True):
    """JSON of the deliveries that is rewritten if it has personal data.

    `read` returns a key and the document, maybe more columns; `write` takes the keys ($1) and the documents ($2) as
    texts. `called` is their name in the counts.
    """

    called: str
    read: str
    write: str


def _documents(called: str, table: str, column: str, where: str, key: str = "uuid") -> Documents:
    return Documents(
        called,
        f"SELECT t.id::text, t.{column}::text FROM {table} t WHERE {where} AND t.{column} IS NOT NULL",  # noqa: S608
        f"UPDATE {table} t SET {column} = u.document::jsonb"  # noqa: S608
        f" FROM unnest($1::text[]::{key}[], $2::text[]) AS u (id, document) WHERE t.id = u.id",
    )


OF_DELIVERIES: Final = (
    _documents("deliveries", "deliveries", "details", "t.id = ANY ($1::uuid[])"),
    _documents("offers", "driver_offers", "offer_payload", "t.delivery_id = ANY ($1::uuid[])"),
    _documents("assignments", "assignments", "details", "t.delivery_id = ANY ($1::uuid[])"),
)
# Their key is (xid, id).
EVENTS: Final = Documents(
    "events",
    "SELECT t.xid::text || ' ' || t.id, t.data::text, t.at FROM events t WHERE t.delivery_id = ANY ($1::uuid[])",
    """UPDATE events t SET data = u.document::jsonb
       FROM (SELECT split_part(key, ' ', 1)::xid8 AS xid, split_part(key, ' ', 2)::bigint AS id, document
             FROM unnest($1::text[], $2::text[]) AS n (key, document)) AS u
       WHERE t.xid = u.xid AND t.id = u.id""",
)
# By ids from the time of each event ($2 from, $3 to): there is no index on the delivery.
WEBHOOKS: Final = Documents(
    "webhooks",
    """SELECT w.id::text, w.body FROM unnest($2::text[]::uuid[], $3::text[]::uuid[]) AS s (since, until)
       CROSS JOIN LATERAL (SELECT id, body FROM webhook_deliveries
                           WHERE id >= s.since AND id < s.until AND key = ANY ($1::text[])) AS w""",
    """UPDATE webhook_deliveries t SET body = u.document
       FROM unnest($1::text[]::uuid[], $2::text[]) AS u (id, document) WHERE t.id = u.id""",
)
# In the streams of drivers with an offer or an assignment; $2 are patterns with the ids.
MESSAGES: Final = Documents(
    "messages",
    """SELECT m.driver_id::text || ' ' || m.seq, m.body
       FROM (SELECT driver_id FROM driver_offers WHERE delivery_id = ANY ($1::uuid[])
             UNION SELECT driver_id FROM assignments WHERE delivery_id = ANY ($1::uuid[])) AS who
       JOIN driver_messages m ON m.driver_id = who.driver_id
       WHERE m.created_at >= (SELECT min(created_at) FROM deliveries WHERE id = ANY ($1::uuid[]))
         AND m.body LIKE ANY ($2::text[])""",
    """UPDATE driver_messages t SET body = u.document
       FROM (SELECT split_part(key, ' ', 1)::uuid AS driver_id, split_part(key, ' ', 2)::bigint AS seq, document
             FROM unnest($1::text[], $2::text[]) AS n (key, document)) AS u
       WHERE t.driver_id = u.driver_id AND t.seq = u.seq""",
)

# Messages between dispatch and a driver, while the driver had one of the deliveries, and shortly after.
CHAT_ABOUT: Final = """
SELECT c.id::text FROM assignments a JOIN chat_messages c ON c.driver_id = a.driver_id
    AND c.at BETWEEN a.created_at AND coalesce(a.ended_at, a.completed_at, clock_timestamp()) + interval '1 hour'
WHERE a.delivery_id = ANY ($1::uuid[]) AND c.text IS NOT NULL"""
CHAT_WITH_PHONE: Final = f"""
SELECT id::text FROM chat_messages WHERE text IS NOT NULL AND strpos({_digits("text")}, $1) > 0"""  # noqa: S608
CHAT_DUE: Final = (
    f"SELECT id::text FROM chat_messages WHERE text IS NOT NULL AND at <= $1 ORDER BY at LIMIT {CHAT_BATCH}"  # noqa: S608
)
CHAT: Final = "UPDATE chat_messages SET text = NULL WHERE id = ANY ($1::uuid[])"
# Also in the streams of their drivers.
CHAT_STREAMS: Final = Documents(
    "messages",
    """SELECT m.driver_id::text || ' ' || m.seq, m.body
       FROM chat_messages c JOIN driver_messages m ON m.driver_id = c.driver_id
       WHERE c.id = ANY ($1::uuid[]) AND NOT c.by_driver
         AND m.created_at >= c.at - interval '1 minute' AND m.body LIKE '%' || c.id || '%'""",
    MESSAGES.write,
)

ERASED_DELIVERIES: Final = p.Counter("callboard_erased_deliveries", "Deliveries whose personal data was erased")
FAILED: Final = p.Counter("callboard_erase_failures", "Runs of erasing that ended with an error")

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode
log = structlog.get_logger(__name__)


class Erased(Struct, frozen=True):
    """The number of rows changed, by name; `later` is the number of deliveries that are under way, or locked now."""

    rows: Counter[str]
    later: int = 0


async def erase(connection: Connection, ids: Sequence[str], *, streams: bool) -> Counter[str]:
    """Erase the personal data of these deliveries, which the caller's transaction has locked.

    Returns the number of rows changed. `streams`: whether there may still be messages to drivers about them.
    """
    rows: Counter[str] = Counter(deliveries=len(ids))
    for documents in OF_DELIVERIES:
        await _rewrite(connection, documents, rows, ids)
    rows["deliveries"] = len(ids)
    events = await _rewrite(connection, EVENTS, rows, ids)
    since, until = _spans(event[2] for event in events)
    await _rewrite(connection, WEBHOOKS, rows, ids, since, until)
    if streams:
        await _rewrite(connection, MESSAGES, rows, ids, [f"%{delivery}%" for delivery in ids])
    await _erase_chat(connection, rows, CHAT_ABOUT, ids)
    for statement in (*PLAIN, DELIVERIES, DONE):
        await connection.execute(statement, ids, timeout=STATEMENT_SECONDS)
    return rows


async def _erase_chat(connection: Connection, rows: Counter[str], which: str, of: Any) -> int:
    """Erase the texts of messages between dispatch and drivers, in the caller's transaction. Returns how many."""
    ids = [row[0] for row in await connection.fetch(which, of, timeout=SEARCH_SECONDS)]
    if ids:
        await _rewrite(connection, CHAT_STREAMS, rows, ids)
        await connection.execute(CHAT, ids, timeout=STATEMENT_SECONDS)
        rows["texts"] += len(ids)
    return len(ids)


async def _rewrite(connection: Connection, documents: Documents, rows: Counter[str], *args: Any) -> list[Any]:
    """Rewrite documents with personal data. Returns all that were read."""
    read = await connection.fetch(documents.read, *args, timeout=STATEMENT_SECONDS)
    keys, bodies = [], []
    for row in read:
        before = _decode(row[1])
        after = without_people(before)
        if after != before:
            keys.append(row[0])
            bodies.append(_encode(after).decode())
    if keys:
        await connection.execute(documents.write, keys, bodies, timeout=STATEMENT_SECONDS)
    rows[documents.called] += len(keys)
    return read


def _spans(moments: Iterable[datetime]) -> tuple[list[str], list[str]]:
    """The ranges of ids around these times (from, to), without overlaps."""
    spans: list[list[datetime]] = []
    for at in sorted(moments):
        if spans and at - BEFORE <= spans[-1][1]:
            spans[-1][1] = at + AFTER
        else:
            spans.append([at - BEFORE, at + AFTER])
    return [_id_at(since) for since, _ in spans], [_id_at(until) for _, until in spans]


def _id_at(at: datetime) -> str:
    """The lowest id of this time."""
    head = f"{max(0, int(at.timestamp() * 1000)):012x}"
    return f"{head[:8]}-{head[8:]}-0000-0000-000000000000"


async def _batch(connection: Connection, which: str, of: Any, *, streams: bool) -> Counter[str]:
    """One batch in one transaction. Raises what the database raises."""
    async with connection.transaction():
        ids = [row[0] for row in await connection.fetch(which, of, timeout=STATEMENT_SECONDS)]
        rows = await erase(connection, ids, streams=streams) if ids else Counter()
    ERASED_DELIVERIES.inc(len(ids))
    return rows


async def _all(
    connection: Connection, which: str, of: Any, rows: Counter[str], *, streams: bool, go_on: Callable[[], bool]
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
                full = await _erase_chat(connection, rows, CHAT_DUE, now - kept) == CHAT_BATCH
    finally:
        await connection.close()
    return rows


async def would_be_erased(pool: Pool, settings: Settings, *, now: datetime | None = None) -> int:
    """The number of deliveries past the retention. Raises what the database raises."""
    now = now or await time_at(pool)
    found: int = await pool.fetchval(COUNT, now - timedelta(days=settings.keep_personal_days), timeout=SEARCH_SECONDS)
    return found


async def erase_person(database: Database, phone: str, requested_by: str | None) -> Erased:
    """Erase the deliveries with this phone, in any of its forms, or record them to be erased at their end.

    Raises what the database raises. After a failure the node with the lease erases what was recorded.
    """
    rows: Counter[str] = Counter()
    digits = phone_digits(phone)
    connection = await database.connect_for_privacy()
    try:
        await connection.execute(f"SET statement_timeout = '{SEARCH_SECONDS}s'")
        ids = [row[0] for row in await connection.fetch(FIND, digits, timeout=SEARCH_SECONDS)]
        await _erase_requested(connection, ids, requested_by, rows)
        async with asyncio.timeout(SEARCH_SECONDS):
            others = await _changed_with(connection, digits, frozenset(ids))
        await _erase_requested(connection, others, requested_by, rows)
        ids += others
        async with connection.transaction():
            await _erase_chat(connection, rows, CHAT_WITH_PHONE, digits)
        later = await connection.fetchval(LATER, ids, timeout=STATEMENT_SECONDS)
    finally:
        await connection.close()
    return Erased(rows, later)


async def _erase_requested(
    connection: Connection, ids: Sequence[str], requested_by: str | None, rows: Counter[str]
) -> None:
    await connection.execute(REQUEST, ids, requested_by)
    await _all(connection, REQUESTED, ids, rows, streams=True, go_on=lambda: True)


async def _changed_with(connection: Connection, digits: str, known: Collection[str]) -> list[str]:
    """The other deliveries that had this phone between two changes: it is in messages to drivers and webhooks."""
    read = await connection.fetch(CHANGED, timeout=SEARCH_SECONDS)
    changed = [row[0] for row in read if row[0] not in known]
    found: list[str] = []
    for start in range(0, len(changed), BATCH):
        ids = changed[start : start + BATCH]
        events = await connection.fetch(EVENTS.read, ids, timeout=STATEMENT_SECONDS)
        since, until = _spans(event[2] for event in events)
        sent = await connection.fetch(WEBHOOKS.read, ids, since, until, timeout=STATEMENT_SECONDS)
        sent += await connection.fetch(
            MESSAGES.read, ids, [f"%{delivery}%" for delivery in ids], timeout=STATEMENT_SECONDS
        )
        bodies = [row[1] for row in sent if any(phone_digits(phone) == digits for phone in phones_in(_decode(row[1])))]
        found += [delivery for delivery in ids if any(delivery in body for body in bodies)]
    return found


class Eraser:
    """Once a minute, on the node with the lease, a run. `run` is to be supervised."""

    def __init__(self, database: Database, settings: Settings, holds_lease: Callable[[], bool]) -> None:
        self._database = database
        self._settings = settings
        self._holds_lease = holds_lease

    async def run(self) -> None:
        """Run until cancelled."""
        await repeat_with_lease(self._holds_lease, self.once, EVERY_SECONDS)

    async def once(self) -> None:
        """Erase what is due."""
        try:
            rows = await erase_due(self._database, self._settings, go_on=self._holds_lease)
        except DATABASE_ERRORS as error:
            FAILED.inc()
            log.warning("erase_failed", reason=type(error).__name__)
            return
        if rows["deliveries"]:
            log.info("personal_data_erased", rows=dict(rows))
