"""Reading deliveries: one whole, the scheduled ones, what happened to one; and stores. `delivery_search` finds some."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Raw, Struct

from server.dispatch.model import ERASED, Actor, Delivery, Unassigned
from server.store.connections import Pool, Record
from server.store.query import fetch, fetch_as, fetch_one, fetch_one_as
from server.store.reads.unassigned import NEAREST, nearest_of
from server.store.rows import (
    ASSIGNMENT_COLUMNS,
    ASSIGNMENT_WIDTH,
    DELIVERY_COLUMNS,
    DELIVERY_WIDTH,
    assignment_from,
    columns_of,
    delivery_from,
    fields_of,
    spans,
)

WHOLE: Final = f"""
SELECT {DELIVERY_COLUMNS}, {columns_of(Unassigned, "u")}, {NEAREST}, {ASSIGNMENT_COLUMNS}"""
_DELIVERY, _WAIT, _NEAREST, _ASSIGNMENT = spans(DELIVERY_WIDTH, len(fields_of(Unassigned)), 1, ASSIGNMENT_WIDTH)
JOINS: Final = """
LEFT JOIN unassigned_orders u ON u.delivery_id = d.id
LEFT JOIN assignments a ON a.id = (
    SELECT s.id FROM assignments s
    WHERE s.delivery_id = d.id AND (s.status IN ('ACTIVE', 'COMPLETED')
        OR d.status IN ('FAILED', 'RETURNED') AND s.status IN ('FAILED', 'RETURNED')
        OR d.status = 'CANCELLED' AND s.picked_up_at IS NOT NULL)
    ORDER BY s.created_at DESC, s.id DESC LIMIT 1)"""

ONE: Final = f"{WHOLE}\nFROM deliveries d{JOINS}\nWHERE d.id = $1"
EXISTS: Final = "SELECT 1 FROM deliveries WHERE id = $1"
TIMELINE: Final = """
SELECT id, at, type, actor_type, actor_id, driver_id, offer_id, assignment_id, data
FROM events WHERE delivery_id = $1 AND id > $2 ORDER BY id LIMIT $3"""

LAST_EVENTS: Final = """
SELECT d.id, (SELECT e.id FROM events e WHERE e.delivery_id = d.id ORDER BY e.id DESC LIMIT 1)
FROM unnest($1::text[]::uuid[]) AS d (id)"""


CANCELLATIONS: Final = """
SELECT d.id::text, (
    SELECT e.data ->> 'reason' FROM events e
    WHERE e.delivery_id = d.id AND e.type = 'delivery.cancelled' ORDER BY e.id DESC LIMIT 1)
FROM unnest($1::text[]::uuid[]) AS d (id)"""


class TimelineEvent(Struct, frozen=True):
    """What happened to a delivery, and who did it. `data` is JSON."""

    id: int
    at: datetime
    type: str
    actor: Actor
    driver_id: str | None
    offer_id: str | None
    assignment_id: str | None
    data: Raw


def whole_delivery(row: Record) -> Delivery:
    """With the assignment only that counts now, and no offers."""
    waited, (nearest,), assigned = row[_WAIT], row[_NEAREST], row[_ASSIGNMENT]
    wait = Unassigned(*(*waited, nearest_of(nearest))) if waited[0] is not None else None
    assignments = {assigned[0]: assignment_from(assigned)} if assigned[0] is not None else {}
    return delivery_from(row[_DELIVERY], wait, assignments)


async def read_delivery(pool: Pool, delivery_id: str) -> Delivery | None:
    """The delivery with its active or completed assignment."""
    row = await fetch_one(pool, ONE, delivery_id)
    return whole_delivery(row) if row is not None else None


async def read_timeline(pool: Pool, delivery_id: str, after: int, limit: int) -> list[TimelineEvent] | None:
    """The events after the event `after`, oldest first. None if there is no such delivery.

    A delivery's events are written under its lock, so their numbers have the order of what happened.
    """
    rows = await fetch(pool, TIMELINE, delivery_id, after, limit)
    if not rows and not await delivery_exists(pool, delivery_id):
        return None
    return [_timeline_event(row) for row in rows]


GOODS_MOVED: Final = """
SELECT min(id) FROM events
WHERE delivery_id = $1 AND type IN ('delivery.reassigned', 'delivery.retried') AND data ? 'pickup'"""


async def goods_moved_by(pool: Pool, delivery_id: str) -> int | None:
    """The number of the event since which the goods are or were not at the store; None if they never left it but with
    the driver who brought them. Raises DatabaseAway.
    """
    number: int | None = (await fetch_one(pool, GOODS_MOVED, delivery_id))[0]
    return number


async def last_events(pool: Pool, delivery_ids: Sequence[str]) -> dict[str, int]:
    """The number of each delivery's last event; 0 if there is none."""
    rows = await fetch(pool, LAST_EVENTS, list(delivery_ids))
    return {row[0]: row[1] or 0 for row in rows}


def _timeline_event(row: Record) -> TimelineEvent:
    return TimelineEvent(*(*row[:3], Actor(row[3], row[4]), *row[5:8], Raw(row[8].encode())))


SCHEDULED: Final = f"""{WHOLE}
FROM (SELECT d.* FROM deliveries d WHERE d.status = 'SCHEDULED' ORDER BY d.dispatch_at, d.id LIMIT $1) d{JOINS}
ORDER BY d.dispatch_at, d.id"""  # noqa: S608 - constants


async def read_cancellations(pool: Pool, delivery_ids: Sequence[str]) -> dict[str, str]:
    """Why each of these was cancelled, by id. Raises DatabaseAway."""
    rows = await fetch(pool, CANCELLATIONS, delivery_ids) if delivery_ids else []
    return {row[0]: row[1] for row in rows if row[1] is not None}


async def read_scheduled(pool: Pool, limit: int) -> list[Delivery]:
    """The scheduled deliveries, the next first. Raises DatabaseAway."""
    return [whole_delivery(row) for row in await fetch(pool, SCHEDULED, limit)]


class Store(Struct, frozen=True):
    """A store as its newest order names it."""

    name: str
    lat: float
    lon: float
    address: str | None
    phone: str | None


STORES: Final = f"""
SELECT DISTINCT ON (lower(store_name)) store_name, pickup_lat, pickup_lon, pickup_address, pickup_phone
FROM (SELECT * FROM deliveries d ORDER BY id DESC LIMIT $1) d
WHERE fingerprint <> '{ERASED}' AND details->'store' IS NULL
ORDER BY lower(store_name), id DESC"""  # noqa: S608 - constants


async def read_stores(pool: Pool, orders: int) -> list[Store]:
    """The stores of the newest orders, so many, by name. Raises DatabaseAway."""
    return await fetch_as(pool, Store, STORES, orders)


OF_ORDER: Final = "SELECT id FROM deliveries WHERE seller_order_id = $1 ORDER BY id DESC LIMIT 1"


async def newest_of_order(pool: Pool, order_id: str) -> str | None:
    """The id of the newest delivery under a seller's order id. Raises DatabaseAway."""
    return await fetch_one_as(pool, str, OF_ORDER, order_id)


SELLER: Final = "SELECT seller_id FROM deliveries WHERE id = $1"


async def seller_of(pool: Pool, delivery_id: str) -> str | None:
    """Whose delivery this is, which never changes; None if there is none. Raises DatabaseAway."""
    return await fetch_one_as(pool, str, SELLER, delivery_id)


async def delivery_exists(pool: Pool, delivery_id: str) -> bool:
    """Whether there is such a delivery. Raises DatabaseAway."""
    return await fetch_one(pool, EXISTS, delivery_id) is not None
