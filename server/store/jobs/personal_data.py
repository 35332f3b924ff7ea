"""What of a delivery is personal data, in every table, and how it is erased.

Rows, ids, times, states and money are kept. The caller's transaction has locked the deliveries.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct

from server.contract.personal import CODE, DECIMALS, without_people
from server.dispatch.model import ERASED
from server.ids import first_id_at
from server.store.connections import Connection, Record

STATEMENT_SECONDS: Final = 5.0
SEARCH_SECONDS: Final = 60
BEFORE: Final = timedelta(seconds=1)
AFTER: Final = timedelta(minutes=2)
"""How much later than its event a webhook message can be created: both are written in one transaction."""


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


def _documents(called: str, table: str, column: str, where: str) -> Documents:
    return Documents(
        called,
        f"SELECT t.id::text, t.{column}::text FROM {table} t WHERE {where} AND t.{column} IS NOT NULL",  # noqa: S608
        f"UPDATE {table} t SET {column} = u.document::jsonb"  # noqa: S608
        f" FROM unnest($1::text[]::uuid[], $2::text[]) AS u (id, document) WHERE t.id = u.id",
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
# What receivers answered can quote what they got; its status stays.
_ANSWERED: Final = "SET {0} = split_part({0}, ':', 1) WHERE {1} = ANY ($1::uuid[]) AND {0} LIKE 'answered %:%'"
ANSWERS: Final = (
    "UPDATE webhook_deliveries " + _ANSWERED.format("last_error", "id"),
    "UPDATE webhook_attempts " + _ANSWERED.format("error", "webhook_delivery_id"),
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
DONE: Final = """
DELETE FROM erasures e WHERE e.delivery_id = ANY ($1::uuid[])
    OR NOT EXISTS (SELECT FROM deliveries d WHERE d.id = e.delivery_id)"""


# Messages between dispatch and a driver, while the driver had one of the deliveries, and shortly after.
CHAT_ABOUT: Final = """
SELECT c.id::text FROM assignments a JOIN chat_messages c ON c.driver_id = a.driver_id
    AND c.at BETWEEN a.created_at AND coalesce(a.ended_at, a.completed_at, clock_timestamp()) + interval '1 hour'
WHERE a.delivery_id = ANY ($1::uuid[]) AND c.text IS NOT NULL"""
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

decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


async def erase(connection: Connection, ids: Sequence[str], *, streams: bool) -> Counter[str]:
    """Erase the personal data of these deliveries, which the caller's transaction has locked.

    Returns the number of rows changed. `streams`: whether there may still be messages to drivers about them.
    """
    rows: Counter[str] = Counter(deliveries=len(ids))
    for documents in OF_DELIVERIES:
        await _rewrite(connection, documents, rows, ids)
    rows["deliveries"] = len(ids)
    events = await _rewrite(connection, EVENTS, rows, ids)
    since, until = id_ranges(event[2] for event in events)
    sent = [row[0] for row in await _rewrite(connection, WEBHOOKS, rows, ids, since, until)]
    for statement in ANSWERS:
        await connection.execute(statement, sent, timeout=STATEMENT_SECONDS)
    if streams:
        await _rewrite(connection, MESSAGES, rows, ids, [f"%{delivery}%" for delivery in ids])
    await erase_chat(connection, rows, CHAT_ABOUT, ids)
    for statement in (*PLAIN, DELIVERIES, DONE):
        await connection.execute(statement, ids, timeout=STATEMENT_SECONDS)
    return rows


async def erase_chat(connection: Connection, rows: Counter[str], which: str, of: object) -> int:
    """Erase the texts of messages between dispatch and drivers, in the caller's transaction. Returns how many."""
    ids = [row[0] for row in await connection.fetch(which, of, timeout=SEARCH_SECONDS)]
    if ids:
        await _rewrite(connection, CHAT_STREAMS, rows, ids)
        await connection.execute(CHAT, ids, timeout=STATEMENT_SECONDS)
        rows["texts"] += len(ids)
    return len(ids)


async def _rewrite(connection: Connection, documents: Documents, rows: Counter[str], *args: object) -> list[Record]:
    """Rewrite documents with personal data. Returns all that were read."""
    read = await connection.fetch(documents.read, *args, timeout=STATEMENT_SECONDS)
    keys, bodies = [], []
    for row in read:
        before = decode(row[1])
        after = without_people(before)
        if after != before:
            keys.append(row[0])
            bodies.append(_encode(after).decode())
    if keys:
        await connection.execute(documents.write, keys, bodies, timeout=STATEMENT_SECONDS)
    rows[documents.called] += len(keys)
    return read


def id_ranges(moments: Iterable[datetime]) -> tuple[list[str], list[str]]:
    """The ranges of ids around these times (from, to), without overlaps."""
    spans: list[list[datetime]] = []
    for at in sorted(moments):
        if spans and at - BEFORE <= spans[-1][1]:
            spans[-1][1] = at + AFTER
        else:
            spans.append([at - BEFORE, at + AFTER])
    return [first_id_at(since) for since, _ in spans], [first_id_at(until) for _, until in spans]
