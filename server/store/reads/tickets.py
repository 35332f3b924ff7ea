"""Reads support tickets: their state, and with the state of their order."""

from datetime import datetime
from typing import Final

from msgspec import Struct

from server.dispatch.model import DeliveryStatus, Ticket
from server.store.connections import Pool
from server.store.query import fetch_as

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
WITH_ORDERS: Final = f"""
SELECT t.id, t.priority, t.title, t.description, t.delivery_id, t.zone, t.created_at,
       d.seller_order_id, d.store_name, d.status, {TICKET_IS_OPEN},
       CASE WHEN u.support_ticket_id = t.id THEN u.acknowledged_by END,
       CASE WHEN u.support_ticket_id = t.id THEN u.acknowledgement_note END
FROM {TICKETS_AND_WAITS}
WHERE ($1::uuid IS NULL OR t.id < $1)
  AND ($2::boolean IS NULL OR $2 = ({TICKET_IS_OPEN}))
ORDER BY t.id DESC LIMIT $3"""  # noqa: S608 - constants


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


async def read_tickets(pool: Pool, zone: str | None, before: str | None, limit: int) -> list[Ticket]:
    """Newest first, those before the ticket `before`."""
    return await fetch_as(pool, Ticket, TICKETS, zone, before, limit)


async def read_tickets_with_orders(
    pool: Pool, before: str | None, only_open: bool | None, limit: int
) -> list[TicketWithOrder]:
    """Tickets before the ticket `before`, newest first; on request only open or closed ones. Raises DatabaseAway."""
    return await fetch_as(pool, TicketWithOrder, WITH_ORDERS, before, only_open, limit)
