"""Reads unassigned deliveries: those that wait for a driver, and all that ever waited."""

from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct, structs

from server.dispatch.model import Delivery, EscalationStatus, Nearest
from server.store.connections import Pool, Record
from server.store.query import fetch

# `nearest` belongs to these reasons; after another reason the stored one is outdated.
NEAREST: Final = "CASE WHEN u.failure_reason IN ('no_driver_in_zone', 'no_driver_in_radius') THEN u.nearest END"
_UNASSIGNED: Final = f"""
SELECT d.id, d.seller_order_id, d.store_name, d.zone, d.unassigned_since, u.failure_reason, u.first_attempt_at,
       u.last_attempt_at, u.attempt_count, u.escalation_level, u.escalation_status, u.support_ticket_id,
       u.acknowledged_by, u.acknowledged_at, u.acknowledgement_note, r.name, {NEAREST}, n.name
FROM unassigned_orders u JOIN deliveries d ON d.id = u.delivery_id
LEFT JOIN driver_offers o ON o.id = d.current_offer_id LEFT JOIN drivers r ON r.id = o.driver_id
LEFT JOIN drivers n ON n.id = (u.nearest ->> 'driverId')::uuid"""  # noqa: S608 - constants
WAITING_PAGE: Final = f"""{_UNASSIGNED}
WHERE d.status = 'READY' AND d.held_until IS NULL
  AND ($1::text IS NULL OR d.zone = $1) AND ($2::uuid IS NULL OR d.id > $2)
ORDER BY d.id LIMIT $3"""
ALL_PAGE: Final = f"""{_UNASSIGNED}
WHERE ($1::text IS NULL OR d.zone = $1) AND ($2::uuid IS NULL OR u.delivery_id < $2)
ORDER BY u.delivery_id DESC LIMIT $3"""


class UnassignedRow(Struct, frozen=True):
    """A delivery that waits for a driver, or waited; `unassigned_since` is None afterwards; `offered_to` has the open
    offer. `nearest` is the nearest driver outside the radius or the zone, if that is why it has no driver.
    """

    delivery_id: str
    seller_order_id: str
    store_name: str
    zone: str
    unassigned_since: datetime | None
    failure_reason: str
    first_attempt_at: datetime
    last_attempt_at: datetime
    attempt_count: int
    escalation_level: int
    escalation_status: EscalationStatus
    support_ticket_id: str | None
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    acknowledgement_note: str | None
    offered_to: str | None = None
    nearest: Nearest | None = None
    nearest_name: str | None = None


def wait_of(delivery: Delivery) -> UnassignedRow:
    """The wait of a delivery that was read already, and has one."""
    wait = delivery.unassigned
    assert wait is not None
    return UnassignedRow(
        delivery.id,
        delivery.seller_order_id,
        delivery.store_name,
        delivery.zone,
        delivery.unassigned_since,
        wait.failure_reason,
        wait.first_attempt_at,
        wait.last_attempt_at,
        wait.attempt_count,
        wait.escalation_level,
        wait.escalation_status,
        wait.support_ticket_id,
        wait.acknowledged_by,
        wait.acknowledged_at,
        wait.acknowledgement_note,
    )


async def read_waiting(pool: Pool, zone: str | None, after: str | None, limit: int) -> list[UnassignedRow]:
    """Deliveries that wait, the oldest first, those after the delivery `after`."""
    return [_unassigned(row) for row in await fetch(pool, WAITING_PAGE, zone, after, limit)]


async def read_all_unassigned(pool: Pool, zone: str | None, before: str | None, limit: int) -> list[UnassignedRow]:
    """Waits over or not, the newest first, those before the delivery `before`."""
    return [_unassigned(row) for row in await fetch(pool, ALL_PAGE, zone, before, limit)]


def _unassigned(row: Record) -> UnassignedRow:
    return structs.replace(UnassignedRow(*row[:16]), nearest=nearest_of(row[16]), nearest_name=row[17])


def nearest_of(document: str | None) -> Nearest | None:
    """The nearest driver from its JSON."""
    return None if document is None else _decode_nearest(document)


_decode_nearest: Final = msgspec.json.Decoder(Nearest).decode
