"""Escalation: which level of the policy is next, and when; and the ticket that a level creates."""

from datetime import datetime, timedelta

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.model import Delivery, Ticket
from server.dispatch.policy import EscalationLevel, Policy
from server.dispatch.world import World


def next_level_at(level: int, unassigned_since: datetime | None, policy: Policy) -> datetime | None:
    """When the first level above `level` is due; None at the highest level, and for a delivery that does not wait."""
    if unassigned_since is None:
        return None
    above = next((rung for rung in policy.escalation if rung.level > level), None)
    return unassigned_since + timedelta(seconds=above.after_seconds) if above is not None else None


def levels_due(policy: Policy, reached: int, waited: timedelta) -> list[EscalationLevel]:
    """The levels above `reached` that are due after this wait, in order."""
    above = [rung for rung in policy.escalation if rung.level > reached]
    return [rung for rung in above if waited >= timedelta(seconds=rung.after_seconds)]


def ticket_created(
    world: World, delivery: Delivery, command: c.Escalate | c.EscalateRisk, level: int, kind: str, title: str, why: str
) -> e.TicketCreated:
    """The event for the ticket that a level creates for an order; its text contains `why`."""
    waits = delivery.unassigned_since is not None
    ticket = Ticket(
        id=command.new_ticket_id,
        type=kind,
        priority="high" if level == 1 else "critical",
        title=f"Order {delivery.seller_order_id} {title}",
        description=f"{delivery.store_name}, zone {delivery.zone}: {why}.",
        delivery_id=delivery.id,
        zone=delivery.zone,
        action_url=f"/admin/unassigned-orders/{delivery.id}" if waits else f"/board/deliveries/{delivery.id}",
        created_at=world.now,
    )
    return e.TicketCreated(at=world.now, actor=command.actor, delivery_id=delivery.id, ticket=ticket)
