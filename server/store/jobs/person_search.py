"""Who is erased: the deliveries that have or name a phone, and the messages that name it. Nothing is changed here.

It reads all deliveries that are not erased, part by part.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from server.contract.personal import names_phone, phone_digits, phone_pattern
from server.dispatch.model import ERASED, OVER, DeliveryStatus
from server.ids import FIRST_ID
from server.store.connections import Connection, Record
from server.store.engine import Database
from server.store.jobs.person_turn import PersonTurn
from server.store.jobs.personal_data import (
    EVENTS,
    MESSAGES,
    SEARCH_SECONDS,
    STATEMENT_SECONDS,
    WEBHOOKS,
    decode,
    id_ranges,
)

SEARCHED: Final = 500
"""Deliveries that one statement searches for a phone."""
CHANGED_AT_ONCE: Final = 50
EXAMPLES: Final = 5
PARTS: Final = ("address", "name", "phone", "notes")

_CONTACTS: Final = ", ".join(
    f"'{end}', jsonb_build_object(" + ", ".join(f"'{part}', d.{end}_{part}" for part in PARTS) + ")"
    for end in ("pickup", "dropoff")
)
NEXT: Final = f"""
SELECT d.id::text FROM deliveries d WHERE d.fingerprint <> '{ERASED}' AND d.id > $1 ORDER BY d.id LIMIT {SEARCHED}"""  # noqa: S608
NAMED: Final = f"""
SELECT t.id::text, t.document FROM (
    SELECT d.id,
        jsonb_build_object({_CONTACTS}, 'notes', d.notes, 'posted', d.posted, 'details', d.details)::text AS document
    FROM deliveries d WHERE d.id = ANY ($1::uuid[])
    UNION ALL SELECT e.delivery_id, e.data::text FROM events e WHERE e.delivery_id = ANY ($1::uuid[])
) AS t WHERE t.document ~ $2"""  # noqa: S608
"""What may name a phone, by its pattern: also the first request, and every text of an event."""
CHANGED: Final = f"""
SELECT DISTINCT e.delivery_id::text FROM events e JOIN deliveries d ON d.id = e.delivery_id
WHERE e.type = 'delivery.changed' AND e.data->'fields' ?| ARRAY['pickup', 'dropoff', 'notes']
    AND d.fingerprint <> '{ERASED}'
ORDER BY 1"""  # noqa: S608
"""Deliveries whose places or notes were changed: a phone may be only in what was sent about them in between, since an
earlier release wrote no contacts into its events.
"""
SEEN: Final = """
SELECT d.id::text, d.seller_order_id, d.store_name, d.created_at, d.status, d.dropoff_phone, d.dropoff_name,
    d.pickup_phone, d.pickup_name, d.details->'store' IS NOT NULL, d.details #>> '{store,phone}',
    d.details #>> '{store,name}'
FROM deliveries d WHERE d.id = ANY ($1::uuid[])"""
CHAT_WITH_PHONE: Final = "SELECT id::text FROM chat_messages WHERE text IS NOT NULL AND text ~ $1"

PhoneWhere = Literal["customer", "store", "driver", "text"]


class NamedDelivery(Struct, frozen=True):
    """A delivery that has or names the phone: that of its customer, that of its store, that of a driver who had
    the goods, or only in a text, or earlier.

    `name` is the name beside the phone.
    """

    id: str
    number: str
    store: str
    created_at: datetime
    status: DeliveryStatus
    where: PhoneWhere
    name: str | None


class FoundByPhone(Struct, frozen=True):
    """What erasing a phone would reach: deliveries by where they have it, those under way among them, and messages
    between dispatch and drivers that name it. With the newest deliveries, the newest first.
    """

    deliveries: Counter[PhoneWhere]
    under_way: int
    texts: int
    newest: list[NamedDelivery]


async def deliveries_with(connection: Connection, phone: str) -> AsyncIterator[list[str]]:
    """The ids of deliveries that are not erased and have, had or name this phone, in any of its forms, part by part.
    What one part erases, the next does not find.
    """
    digits = phone_digits(phone)
    known: set[str] = set()
    async for some in _naming(connection, digits, phone_pattern(digits)):
        known.update(some)
        yield some
    async with asyncio.timeout(SEARCH_SECONDS):
        others = await _changed_with(connection, digits, known)
    if others:
        yield others


async def find_by_phone(database: Database, turn: PersonTurn, phone: str) -> FoundByPhone:
    """What erasing this phone would reach now. Raises PersonSearchRuns, and what the database raises."""
    digits = phone_digits(phone)
    deliveries: Counter[PhoneWhere] = Counter()
    under_way = 0
    newest: list[NamedDelivery] = []
    async with turn.alone(database.connect_apart) as connection:
        async for ids in deliveries_with(connection, phone):
            some = [_named(row, digits) for row in await connection.fetch(SEEN, ids, timeout=STATEMENT_SECONDS)]
            deliveries.update(one.where for one in some)
            under_way += sum(one.status not in OVER for one in some)
            newest = sorted([*newest, *some], key=lambda one: one.id, reverse=True)[:EXAMPLES]
        texts = await connection.fetch(CHAT_WITH_PHONE, phone_pattern(digits), timeout=SEARCH_SECONDS)
    return FoundByPhone(deliveries, under_way, len(texts), newest)


def _named(row: Record, digits: str) -> NamedDelivery:
    at_driver = row[9]
    held: tuple[tuple[PhoneWhere, str | None, str | None], ...] = (
        ("customer", row[5], row[6]),
        ("driver" if at_driver else "store", row[7], row[8]),
        ("store", row[10], row[11]),
    )
    for where, phone, name in held:
        if phone is not None and phone_digits(phone) == digits:
            return NamedDelivery(*(*row[:5], where, name))
    return NamedDelivery(*(*row[:5], "text", None))


async def _naming(connection: Connection, digits: str, pattern: str) -> AsyncIterator[list[str]]:
    """The deliveries that are not erased and have or name this phone, part by part. The pattern finds it, or a little
    more: ids, times and points of a document have digits too.
    """
    after = FIRST_ID
    while ids := [row[0] for row in await connection.fetch(NEXT, after, timeout=SEARCH_SECONDS)]:
        after = ids[-1]
        read = await connection.fetch(NAMED, ids, pattern, timeout=SEARCH_SECONDS)
        named = {row[0] for row in read if names_phone(decode(row[1]), digits)}
        if named:
            yield sorted(named)


async def _changed_with(connection: Connection, digits: str, known: Collection[str]) -> list[str]:
    """The other deliveries that had this phone between two changes: it is in messages to drivers and webhooks."""
    read = await connection.fetch(CHANGED, timeout=SEARCH_SECONDS)
    changed = [row[0] for row in read if row[0] not in known]
    found: list[str] = []
    for start in range(0, len(changed), CHANGED_AT_ONCE):
        ids = changed[start : start + CHANGED_AT_ONCE]
        events = await connection.fetch(EVENTS.read, ids, timeout=STATEMENT_SECONDS)
        since, until = id_ranges(event[2] for event in events)
        sent = await connection.fetch(WEBHOOKS.read, ids, since, until, timeout=STATEMENT_SECONDS)
        sent += await connection.fetch(
            MESSAGES.read, ids, [f"%{delivery}%" for delivery in ids], timeout=STATEMENT_SECONDS
        )
        bodies = [row[1] for row in sent if names_phone(decode(row[1]), digits)]
        found += [delivery for delivery in ids if any(delivery in body for body in bodies)]
    return found
