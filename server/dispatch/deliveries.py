"""The rules of deliveries: creating, dispatching, searching in vain, cancelling, escalating, acknowledging."""

from datetime import timedelta

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.model import Actor, Delivery, Ticket
from server.dispatch.offers import withdrawn
from server.dispatch.world import World

SAME_FAILURE_NOTED_EVERY = timedelta(seconds=60)


def create_delivery(command: c.CreateDelivery, world: World) -> Decided | r.Refusal:
    """A new delivery, waiting at once if its time has come. The same order again is the same delivery."""
    known = world.by_seller_key.get((command.seller_id, command.seller_order_id))
    if known is not None:
        delivery = world.delivery(known)
        assert delivery is not None
        if delivery.fingerprint != command.fingerprint:
            return r.DELIVERY_DIFFERS
        return Decided((), delivery.id, repeated=True)
    delivery = Delivery(
        id=command.delivery_id,
        seller_id=command.seller_id,
        seller_order_id=command.seller_order_id,
        store_name=command.store_name,
        zone=command.zone,
        status="SCHEDULED",
        pickup=command.pickup,
        dropoff=command.dropoff,
        prep_seconds=command.prep_seconds,
        dispatch_at=command.dispatch_at or world.now,
        created_at=world.now,
        fingerprint=command.fingerprint,
        price_cents=command.price_cents,
        driver_pay_cents=command.driver_pay_cents,
        currency=command.currency or world.policy.currency,
        notes=command.notes,
    )
    created = e.DeliveryCreated(at=world.now, actor=command.actor, delivery_id=delivery.id, delivery=delivery)
    if delivery.dispatch_at > world.now:
        return Decided((created,), delivery.id)
    ready = e.DeliveryReady(at=world.now, actor=command.actor, delivery_id=delivery.id)
    return Decided((created, ready), delivery.id)


def dispatch_delivery(command: c.DispatchDelivery, world: World) -> Decided | r.Refusal:
    """SCHEDULED becomes READY when its time has come."""
    delivery = world.delivery(command.delivery_id)
    if delivery is None:
        return r.NOT_FOUND
    if delivery.status == "READY":
        return Decided((), delivery.id, repeated=True)
    if delivery.status != "SCHEDULED":
        return r.DELIVERY_NOT_WAITING
    if delivery.dispatch_at > world.now:
        return r.DELIVERY_NOT_DUE
    ready = e.DeliveryReady(at=world.now, actor=command.actor, delivery_id=delivery.id)
    return Decided((ready,), delivery.id)


def note_failed_search(command: c.NoteFailedSearch, world: World) -> Decided | r.Refusal:
    """Kept only while the delivery waits without an offer, and only as news: another reason, or a minute later."""
    delivery = world.delivery(command.delivery_id)
    if delivery is None:
        return r.NOT_FOUND
    if delivery.status != "READY" or delivery.current_offer_id is not None:
        return r.DELIVERY_NOT_WAITING
    wait = delivery.unassigned
    assert wait is not None
    if wait.failure_reason == command.failure_reason and world.now - wait.last_attempt_at < SAME_FAILURE_NOTED_EVERY:
        return Decided((), delivery.id, repeated=True)
    failed = e.SearchFailed(at=world.now, actor=command.actor, delivery_id=delivery.id, reason=command.failure_reason)
    return Decided((failed,), delivery.id)


def cancel_delivery(command: c.CancelDelivery, world: World) -> Decided | r.Refusal:
    """Until pickup; after it only an admin with `force`; the version the sender saw, if they say which.

    Cancelled before: harmless.
    """
    delivery = world.delivery(command.delivery_id)
    if delivery is None:
        return r.NOT_FOUND
    if delivery.status == "CANCELLED":
        return Decided((), delivery.id, repeated=True)
    if delivery.status == "DELIVERED":
        return r.ALREADY_DELIVERED
    if command.version is not None and command.version != delivery.version:
        return r.VERSION_CHANGED
    if delivery.status == "PICKED_UP" and not (command.force and command.actor.type == "admin"):
        return r.ALREADY_PICKED_UP
    return Decided(_cancelled(world, delivery, command.reason, command.actor), delivery.id)


def _cancelled(world: World, delivery: Delivery, reason: str, actor: Actor) -> tuple[e.Event, ...]:
    happened: list[e.Event] = []
    offer = delivery.open_offer()
    if offer is not None:
        world.known_driver(offer.driver_id)
        happened.append(withdrawn(world, offer, "cancelled", actor))
    assignment = delivery.active_assignment()
    if assignment is not None:
        world.known_driver(assignment.driver_id)
    happened.append(
        e.DeliveryCancelled(
            at=world.now,
            actor=actor,
            delivery_id=delivery.id,
            driver_id=assignment.driver_id if assignment is not None else None,
            assignment_id=assignment.id if assignment is not None else None,
            reason=reason,
        )
    )
    return tuple(happened)


def escalate(command: c.Escalate, world: World) -> Decided | r.Refusal:
    """Every level that is due and was not reached yet, in order; a level that cancels is the last."""
    delivery = world.delivery(command.delivery_id)
    if delivery is None:
        return r.NOT_FOUND
    if delivery.status != "READY":
        return r.DELIVERY_NOT_WAITING
    assert delivery.unassigned is not None
    assert delivery.unassigned_since is not None
    waited = world.now - delivery.unassigned_since
    happened: list[e.Event] = []
    has_ticket = delivery.unassigned.support_ticket_id is not None
    for rung in world.policy.escalation:
        if rung.level <= delivery.unassigned.escalation_level:
            continue
        if waited < timedelta(seconds=rung.after_seconds):
            break
        happened.append(
            e.DeliveryEscalated(
                at=world.now,
                actor=command.actor,
                delivery_id=delivery.id,
                level=rung.level,
                actions=rung.actions,
                minutes_since_creation=int((world.now - delivery.created_at).total_seconds() // 60),
            )
        )
        if "ticket" in rung.actions and not has_ticket:
            has_ticket = True
            happened.append(_ticket_created(world, delivery, command, rung.level))
        if "cancel" in rung.actions:
            happened.extend(_cancelled(world, delivery, "nobody_found", command.actor))
            break
    if not happened:
        return r.NOT_ESCALATED
    return Decided(tuple(happened), delivery.id)


def _ticket_created(world: World, delivery: Delivery, command: c.Escalate, level: int) -> e.TicketCreated:
    assert delivery.unassigned_since is not None
    minutes = int((world.now - delivery.unassigned_since).total_seconds() // 60)
    ticket = Ticket(
        id=command.new_ticket_id,
        type="unassigned_delivery",
        priority="high" if level == 1 else "critical",
        title=f"Order {delivery.seller_order_id} unassigned for {minutes}+ minutes",
        description=f"{delivery.store_name}, zone {delivery.zone}: no driver yet, after {len(delivery.offers)} offers.",
        delivery_id=delivery.id,
        zone=delivery.zone,
        action_url=f"/admin/unassigned-orders/{delivery.id}",
        created_at=world.now,
    )
    return e.TicketCreated(at=world.now, actor=command.actor, delivery_id=delivery.id, ticket=ticket)


def acknowledge(command: c.Acknowledge, world: World) -> Decided | r.Refusal:
    """By name, at any level, while the delivery waits; the version the sender saw, if they say which.

    Said before and nothing new to note: harmless.
    """
    delivery = world.delivery(command.delivery_id)
    if delivery is None:
        return r.NOT_FOUND
    wait = delivery.unassigned
    if delivery.status != "READY" or wait is None:
        return r.DELIVERY_NOT_WAITING
    by_them = wait.acknowledged_by == (command.actor.id or command.actor.type)
    if by_them and command.note in (None, wait.acknowledgement_note):
        return Decided((), delivery.id, repeated=True)
    if command.version is not None and command.version != delivery.version:
        return r.VERSION_CHANGED
    acknowledged = e.EscalationAcknowledged(
        at=world.now, actor=command.actor, delivery_id=delivery.id, note=command.note
    )
    return Decided((acknowledged,), delivery.id)
