"""Reading what ops watch: unassigned orders, tickets, alerts, and the numbers of a window of time."""

from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Struct, structs

from server.dispatch.model import Alert, Delivery, EscalationStatus, Nearest, Ticket
from server.store.connections import Pool, Record
from server.store.query import fetch, fetch_one
from server.store.rows import ALERT_COLUMNS

LONGEST_OFFER: Final = timedelta(minutes=11)
"""No offer is open longer: an offer that ended in a time window was created at most this long before it."""

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
TICKETS_AND_WAITS: Final = """support_tickets t JOIN deliveries d ON d.id = t.delivery_id
LEFT JOIN unassigned_orders u ON u.delivery_id = t.delivery_id"""
TICKET_IS_OPEN: Final = "d.status = 'READY' AND u.support_ticket_id = t.id"
"""A ticket closes with the wait that it was made for."""
TICKETS: Final = f"""
SELECT t.id, t.type, t.priority, t.title, t.description, t.delivery_id, t.zone, t.action_url, t.created_at,
       CASE WHEN {TICKET_IS_OPEN} THEN t.status ELSE 'closed' END
FROM {TICKETS_AND_WAITS}
WHERE ($1::text IS NULL OR t.zone = $1) AND ($2::uuid IS NULL OR t.id < $2)
ORDER BY t.id DESC LIMIT $3"""  # noqa: S608 - constants
_ALERT: Final = f"SELECT {ALERT_COLUMNS} FROM alerts"  # noqa: S608
ALERT: Final = f"{_ALERT} WHERE id = $1"
ALERTS: Final = f"""{_ALERT} WHERE ($1::text IS NULL OR zone = $1) AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3"""

# $1 the start of the window, $2 the zone or NULL, $3 the earliest an offer was made that can have ended in it.
OFFER_NUMBERS: Final = """
WITH o AS MATERIALIZED (
    SELECT status, auto_accepted, driver_response_time_ms AS ms, rejection_reason,
           created_at >= $1 AS sent, closed_at >= $1 AS ended
    FROM driver_offers o
    WHERE created_at >= $3
      AND ($2::text IS NULL OR (SELECT zone FROM deliveries d WHERE d.id = o.delivery_id) = $2)
)
SELECT count(*) FILTER (WHERE sent),
       count(*) FILTER (WHERE ended AND status = 'ACCEPTED'),
       count(*) FILTER (WHERE ended AND auto_accepted),
       count(*) FILTER (WHERE ended AND status = 'REJECTED'),
       count(*) FILTER (WHERE ended AND status = 'EXPIRED' AND NOT auto_accepted),
       count(*) FILTER (WHERE ended AND status = 'WITHDRAWN'),
       avg(ms) FILTER (WHERE ended)::float8,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE ended),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY ms) FILTER (WHERE ended),
       ARRAY(SELECT coalesce(nullif(rejection_reason, ''), 'none_given') FROM o WHERE ended AND status = 'REJECTED'
             GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 50),
       ARRAY(SELECT count(*) FROM o WHERE ended AND status = 'REJECTED'
             GROUP BY coalesce(nullif(rejection_reason, ''), 'none_given')
             ORDER BY count(*) DESC, coalesce(nullif(rejection_reason, ''), 'none_given') LIMIT 50)
FROM o"""
DELIVERY_NUMBERS: Final = """
WITH d AS MATERIALIZED (
    SELECT status, greatest(created_at, least(dispatch_at, clock_timestamp()), CASE WHEN prep_seconds > 0 THEN (
               SELECT max(e.at) FROM events e WHERE e.delivery_id = d.id AND e.type = 'delivery.hold_ended') END,
               CASE WHEN held_until IS NOT NULL THEN clock_timestamp() END) AS wanted_at,
           coalesce((SELECT min(a.created_at) FROM assignments a WHERE a.delivery_id = d.id),
                    CASE WHEN status = 'CANCELLED' THEN (
                        SELECT min(e.at) FROM events e
                        WHERE e.delivery_id = d.id AND e.type = 'delivery.cancelled') END) AS settled_at
    FROM deliveries d WHERE created_at >= $1 AND ($2::text IS NULL OR zone = $2)
)
SELECT count(*),
       count(*) FILTER (WHERE status = 'DELIVERED'),
       count(*) FILTER (WHERE status = 'CANCELLED'),
       count(*) FILTER (WHERE status <> 'SCHEDULED'),
       count(*) FILTER (WHERE status <> 'SCHEDULED'
                          AND coalesce(settled_at, clock_timestamp()) - wanted_at > interval '5 minutes'),
       (SELECT count(*) FROM deliveries
        WHERE status = 'READY' AND held_until IS NULL AND ($2::text IS NULL OR zone = $2))
FROM d"""


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


class OfferNumbers(Struct, frozen=True):
    """Offers sent in a time window, the outcomes of those that ended in it, and the milliseconds of drivers'
    answers.
    """

    sent: int
    accepted: int
    auto_accepted: int
    rejected: int
    expired: int
    withdrawn: int
    response_ms_avg: float | None
    response_ms_p50: float | None
    response_ms_p95: float | None
    rejection_reasons: dict[str, int]


class DeliveryNumbers(Struct, frozen=True):
    """Deliveries created in a time window: their outcomes, how many waited for a driver, and how many for more than
    five minutes.
    """

    created: int
    delivered: int
    cancelled: int
    wanted: int
    waited_over5_min: int
    unassigned_now: int


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


async def read_tickets(pool: Pool, zone: str | None, before: str | None, limit: int) -> list[Ticket]:
    """Newest first, those before the ticket `before`."""
    return [Ticket(*row) for row in await fetch(pool, TICKETS, zone, before, limit)]


async def read_alert(pool: Pool, alert_id: str) -> Alert | None:
    """An alert, open or resolved."""
    row = await fetch_one(pool, ALERT, alert_id)
    return Alert(*row) if row is not None else None


async def read_alerts(pool: Pool, zone: str | None, before: str | None, limit: int) -> list[Alert]:
    """Newest first, those before the alert `before`."""
    return [Alert(*row) for row in await fetch(pool, ALERTS, zone, before, limit)]


async def read_offer_numbers(pool: Pool, since: datetime, zone: str | None) -> OfferNumbers:
    """The numbers from `since` until now. Raises DatabaseAway."""
    row = await fetch_one(pool, OFFER_NUMBERS, since, zone, since - LONGEST_OFFER)
    return OfferNumbers(*(*row[:9], dict(zip(row[9], row[10], strict=True))))


async def read_delivery_numbers(pool: Pool, since: datetime, zone: str | None) -> DeliveryNumbers:
    """The numbers from `since` until now. Raises DatabaseAway."""
    return DeliveryNumbers(*await fetch_one(pool, DELIVERY_NUMBERS, since, zone))
