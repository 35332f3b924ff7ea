"""Reading deliveries: one, a page of them, and what happened to one."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, get_args

from msgspec import Raw, Struct

from server.dispatch.model import Actor, Delivery, DeliveryStatus, Unassigned
from server.store.connections import Pool
from server.store.query import fetch, fetch_one
from server.store.rows import ASSIGNMENT_COLUMNS, DELIVERY_COLUMNS, assignment_of, delivery_of

_COLUMNS: Final = f"""
SELECT {DELIVERY_COLUMNS},
       u.delivery_id, u.failure_reason, u.first_attempt_at, u.last_attempt_at, u.attempt_count, u.escalation_level,
       u.escalation_status, u.support_ticket_id, u.notification_sent_at, u.acknowledged_by, u.acknowledged_at,
       u.acknowledgement_note, {ASSIGNMENT_COLUMNS}"""
_JOINS: Final = """
LEFT JOIN unassigned_orders u ON u.delivery_id = d.id
LEFT JOIN assignments a ON a.id = (
    SELECT s.id FROM assignments s
    WHERE s.delivery_id = d.id AND (s.status IN ('ACTIVE', 'COMPLETED')
        OR d.status IN ('FAILED', 'RETURNED') AND s.status IN ('FAILED', 'RETURNED'))
    ORDER BY s.created_at DESC, s.id DESC LIMIT 1)"""

ONE: Final = f"{_COLUMNS}\nFROM deliveries d{_JOINS}\nWHERE d.id = $1"
EXISTS: Final = "SELECT 1 FROM deliveries WHERE id = $1"
TIMELINE: Final = """
SELECT id, at, type, actor_type, actor_id, driver_id, offer_id, assignment_id, data
FROM events WHERE delivery_id = $1 AND id > $2 ORDER BY id LIMIT $3"""

LAST_EVENTS: Final = """
SELECT d.id, (SELECT e.id FROM events e WHERE e.delivery_id = d.id ORDER BY e.id DESC LIMIT 1)
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


def _delivery(row: Any) -> Delivery:
    """With the assignment only that counts now, and no offers."""
    wait = Unassigned(*row[46:58]) if row[46] is not None else None
    assignments = {row[58]: assignment_of(row[58:77])} if row[58] is not None else {}
    return delivery_of(row, wait, assignments)


async def read_delivery(pool: Pool, delivery_id: str) -> Delivery | None:
    """The delivery with its active or completed assignment."""
    row = await fetch_one(pool, ONE, delivery_id)
    return _delivery(row) if row is not None else None


async def read_deliveries(
    pool: Pool,
    status: DeliveryStatus | None,
    zone: str | None,
    before: str | None,
    limit: int,
    seller: str | None = None,
) -> list[Delivery]:
    """Newest first, of a status, a zone and a seller if given, those older than the delivery `before`."""
    conditions: list[str] = []
    args: list[Any] = [limit]
    if status is not None:
        # Spelled out, not a parameter, so that the partial index on open deliveries serves; one of a closed set.
        assert status in get_args(DeliveryStatus)
        conditions.append(f"status = '{status}'")
    for column, value in (("zone =", zone), ("seller_id =", seller), ("id <", before)):
        if value is not None:
            args.append(value)
            conditions.append(f"{column} ${len(args)}")
    return [_delivery(row) for row in await fetch(pool, _page(tuple(conditions)), *args)]


@cache
def _page(conditions: tuple[str, ...]) -> str:
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    chosen = f"SELECT * FROM deliveries {where} ORDER BY id DESC LIMIT $1"  # noqa: S608 - `where` is made here
    return f"{_COLUMNS}\nFROM ({chosen}) d{_JOINS}\nORDER BY d.id DESC"


async def read_timeline(pool: Pool, delivery_id: str, after: int, limit: int) -> list[TimelineEvent] | None:
    """The events after the event `after`, oldest first. None if there is no such delivery.

    A delivery's events are written under its lock, so their numbers have the order of what happened.
    """
    rows = await fetch(pool, TIMELINE, delivery_id, after, limit)
    if not rows and not await delivery_exists(pool, delivery_id):
        return None
    return [_timeline_event(row) for row in rows]


async def last_events(pool: Pool, delivery_ids: Sequence[str]) -> dict[str, int]:
    """The number of each delivery's last event; 0 if there is none."""
    rows = await fetch(pool, LAST_EVENTS, list(delivery_ids))
    return {row[0]: row[1] or 0 for row in rows}


def _timeline_event(row: Any) -> TimelineEvent:
    return TimelineEvent(*(*row[:3], Actor(row[3], row[4]), *row[5:8], Raw(row[8].encode())))


OF_ORDER: Final = "SELECT id FROM deliveries WHERE seller_order_id = $1 ORDER BY id DESC LIMIT 1"


async def newest_of_order(pool: Pool, order_id: str) -> str | None:
    """The id of the newest delivery under a seller's order id. Raises DatabaseAway."""
    row = await fetch_one(pool, OF_ORDER, order_id)
    return None if row is None else str(row[0])


SELLER: Final = "SELECT seller_id FROM deliveries WHERE id = $1"


async def seller_of(pool: Pool, delivery_id: str) -> str | None:
    """Whose delivery this is, which never changes; None if there is none. Raises DatabaseAway."""
    row = await fetch_one(pool, SELLER, delivery_id)
    return None if row is None else str(row[0])


async def delivery_exists(pool: Pool, delivery_id: str) -> bool:
    """Whether there is such a delivery. Raises DatabaseAway."""
    return await fetch_one(pool, EXISTS, delivery_id) is not None
