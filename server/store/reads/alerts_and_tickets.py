"""Reads alerts with the text of their notice, and tickets with the state of their order, for the screens."""

from datetime import datetime
from typing import Final

from msgspec import Struct

from server.dispatch.model import Alert, DeliveryStatus
from server.store.connections import Pool
from server.store.query import fetch
from server.store.reads.operations import TICKET_IS_OPEN, TICKETS_AND_WAITS
from server.store.rows import ALERT_COLUMNS

_ALERT: Final = f"""
SELECT {ALERT_COLUMNS},
       (SELECT n.text FROM notices n WHERE n.alert_id = a.id AND n.kind = 'alert.raised' ORDER BY n.id LIMIT 1)
FROM alerts a"""  # noqa: S608
ALERT: Final = f"{_ALERT} WHERE a.id = $1"
OPEN_ALERTS: Final = f"{_ALERT} WHERE a.resolved_at IS NULL ORDER BY a.acknowledged_at IS NOT NULL, a.id DESC LIMIT 100"
PAST_ALERTS: Final = f"""{_ALERT}
WHERE a.resolved_at IS NOT NULL AND ($1::uuid IS NULL OR a.id < $1) ORDER BY a.id DESC LIMIT $2"""
TICKETS: Final = f"""
SELECT t.id, t.priority, t.title, t.description, t.delivery_id, t.zone, t.created_at,
       d.seller_order_id, d.store_name, d.status, {TICKET_IS_OPEN},
       CASE WHEN u.support_ticket_id = t.id THEN u.acknowledged_by END,
       CASE WHEN u.support_ticket_id = t.id THEN u.acknowledgement_note END
FROM {TICKETS_AND_WAITS}
WHERE ($1::uuid IS NULL OR t.id < $1)
  AND ($2::boolean IS NULL OR $2 = ({TICKET_IS_OPEN}))
ORDER BY t.id DESC LIMIT $3"""  # noqa: S608 - constants


class AlertWithText(Alert):
    """An alert with the text of its notice."""

    text: str | None = None


class TicketWithOrder(Struct, frozen=True):
    """A ticket with the current state of its order, whether the order still waits, and who acknowledged it."""

    id: str
    priority: str
    title: str
    description: str
    delivery_id: str
    zone: str
    created_at: datetime
    order_id: str
    store_name: str
    delivery_status: DeliveryStatus
    open: bool
    acknowledged_by: str | None
    note: str | None


async def read_open_alerts(pool: Pool) -> list[AlertWithText]:
    """Open alerts; unacknowledged first, then newest first. Raises DatabaseAway."""
    return [AlertWithText(*row) for row in await fetch(pool, OPEN_ALERTS)]


async def read_past_alerts(pool: Pool, before: str | None, limit: int) -> list[AlertWithText]:
    """Resolved alerts before the alert `before`, newest first. Raises DatabaseAway."""
    return [AlertWithText(*row) for row in await fetch(pool, PAST_ALERTS, before, limit)]


async def read_alert_with_text(pool: Pool, alert_id: str) -> AlertWithText | None:
    """One of them. Raises DatabaseAway."""
    rows = await fetch(pool, ALERT, alert_id)
    return AlertWithText(*rows[0]) if rows else None


async def read_tickets_with_orders(
    pool: Pool, before: str | None, only_open: bool | None, limit: int
) -> list[TicketWithOrder]:
    """Tickets before the ticket `before`, newest first; on request only open or closed ones. Raises DatabaseAway."""
    return [TicketWithOrder(*row) for row in await fetch(pool, TICKETS, before, only_open, limit)]
