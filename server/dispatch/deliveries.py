"""The rules of deliveries: creating, changing, dispatching, failed searches, cancelling, restoring, escalating."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from msgspec import UNSET
from msgspec.structs import replace

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.driver_actions import recovered, risks_end
from server.dispatch.escalation import levels_due, ticket_created
from server.dispatch.holds import hold_moved
from server.dispatch.manual_assignment import where_the_goods_are
from server.dispatch.model import (
    GOODS_ON_THE_WAY,
    NO_DETAILS,
    OVER,
    SYSTEM,
    UNDER_WAY,
    Actor,
    Delivery,
    Driver,
    Offer,
    OrderDetails,
    ProofKind,
)
from server.dispatch.names import visible
from server.dispatch.offers import created, dispatchable, in_reach, in_run, unfit, wants_offer, withdrawn
from server.dispatch.risks import at_risk
from server.dispatch.sameness import differing, kept, posted, posted_for
from server.dispatch.travel import named_by, trip_km
from server.dispatch.world import World
from server.dispatch.zones import DEFAULT_ZONE

SAME_FAILURE_RECORDED_EVERY = timedelta(seconds=60)


def create_delivery(command: c.CreateDelivery, world: World) -> Decided | r.Refusal:
    """Creates a delivery, which waits at once if its dispatch time has passed.

    1. The same order again is the same delivery: by its fingerprint, or else by its meaning.
    2. The policy computes pay in its own currency; with another currency the order must have the pay.
    3. A trip longer than `maxTripKm` counts as a wrong address, and waits until somebody checks it.
    4. An order without a zone gets the zone whose shape contains its pickup, or else the default zone.
    """
    if command.zone is not None:
        command = replace(command, zone=world.spelled(command.zone))
    known = world.by_seller_key.get((command.seller_id, command.seller_order_id))
    if known is not None:
        return _again(command, world, known)
    currency = command.currency or world.policy.currency
    if currency != world.policy.currency and command.driver_pay_cents is None:
        return r.PAY_REQUIRED
    delivery = Delivery(
        id=command.delivery_id,
        seller_id=command.seller_id,
        seller_order_id=command.seller_order_id,
        store_name=command.store_name,
        zone=command.zone or world.zones.at(command.pickup.lat, command.pickup.lon) or DEFAULT_ZONE,
        status="SCHEDULED",
        pickup=command.pickup,
        dropoff=command.dropoff,
        prep_seconds=command.prep_seconds,
        dispatch_at=command.dispatch_at or world.now,
        created_at=world.now,
        fingerprint=command.fingerprint,
        price_cents=command.price_cents,
        driver_pay_cents=command.driver_pay_cents,
        currency=currency,
        notes=command.notes,
        requirements=command.requirements,
        tip_cents=command.tip_cents,
        promised_at=command.promised_at,
        details=_details(command),
    )
    if trip_km(delivery, world.policy) > world.policy.max_trip_km:
        delivery = replace(delivery, details=replace(delivery.details, warnings=("trip_too_long",)))
    happened: list[e.Event] = [
        e.DeliveryCreated(
            at=world.now,
            actor=command.actor,
            delivery_id=delivery.id,
            delivery=delivery,
            posted=kept(command, currency, world.now, delivery.zone),
        )
    ]
    if delivery.dispatch_at <= world.now:
        happened.append(e.DeliveryReady(at=world.now, actor=command.actor, delivery_id=delivery.id))
    if delivery.needs_check():
        happened.append(at_risk(world, delivery, None, "check_address", world.now))
    return Decided(tuple(happened), delivery.id)


def _details(command: c.CreateDelivery) -> OrderDetails:
    if not command.proof_required and command.pin is None and not command.test:
        return NO_DETAILS
    pin = _pin(command.pin, command.proof_required, command.spare_pin)
    return OrderDetails(command.proof_required, pin, test=command.test)


def _pin(pin: str | None, required: tuple[ProofKind, ...], spare: str | None) -> str | None:
    return spare if pin is None and "pin" in required else pin


def _again(command: c.CreateDelivery, world: World, known: str) -> Decided | r.Refusal:
    delivery = world.locked_delivery(known)
    if delivery.fingerprint != command.fingerprint:
        first = world.posted(known) or posted_for(delivery)
        again = posted(command, first["currency"])
        fields = differing(first, again, delivery.zone, erased=delivery.erased)
        if fields:
            return r.delivery_differs(known, fields)
    return Decided((), known, repeated=True)


SIMPLE: Final = (
    "store_name", "pickup", "dropoff", "prep_seconds", "dispatch_at", "price_cents", "driver_pay_cents", "currency",
    "notes", "requirements", "promised_at", "tip_cents",
)  # fmt: skip
LATER_BY: Final = timedelta(minutes=5)
"""An open offer stays if the goods are ready at most this much later or sooner than it says."""


def change_delivery(command: c.ChangeDelivery, world: World) -> Decided | r.Refusal:
    """Changes an order, for a caller who knows its current version.

    1. Refused for a finished delivery; for the pickup once the goods are on the way; for the pay's currency without the
       pay.
    2. A trip that is too long after the change waits until somebody checks it, unless that was done and no place has
       moved; a trip that is no longer too long does not wait.
    3. An open offer whose data is no longer right is withdrawn, and the same driver gets the next one.
    4. With a dispatch time in the future and no offer that stays open, it waits for a driver from then on, not before.
    5. A driver with the assignment gets a message.
    """
    delivery = world.delivery(command.delivery_id)
    if delivery.status in OVER:
        return r.DELIVERY_OVER
    if command.version != delivery.version:
        return r.VERSION_CHANGED
    changes = _changes(command, delivery, world)
    if "pickup" in changes and delivery.status in GOODS_ON_THE_WAY:
        return r.ALREADY_PICKED_UP
    if not changes:
        return Decided((), delivery.id, repeated=True)
    if changes.keys() & {"currency", "driver_pay_cents"}:
        after = replace(delivery, **{name: new for name, (_, new) in changes.items()})
        if after.currency != world.policy.currency and after.driver_pay_cents is None:
            return r.PAY_REQUIRED
    return _changed(world, delivery, changes, command.new_offer_id, command.actor)


def _changes(command: c.ChangeDelivery, delivery: Delivery, world: World) -> dict[str, tuple[object, object]]:
    changes: dict[str, tuple[Any, Any]] = {}
    for name in SIMPLE:
        old, new = getattr(delivery, name), getattr(command, name)
        if new is not UNSET and new != old:
            changes[name] = (old, new)
    if delivery.ready_at is not None and ("prep_seconds" in changes or "dispatch_at" in changes):
        changes["ready_at"] = (delivery.ready_at, None)
    details = delivery.details
    required = details.proof_required if command.proof_required is UNSET else command.proof_required
    pin = details.pin if command.pin is UNSET else command.pin
    details = replace(details, proof_required=required, pin=_pin(pin, required, command.spare_pin))
    if "pickup" in changes or "dropoff" in changes:
        after = replace(delivery, **{name: new for name, (_, new) in changes.items()})
        long = trip_km(after, world.policy) > world.policy.max_trip_km
        details = replace(details, warnings=("trip_too_long",) if long else ())
        if _moved(delivery, after):
            details = replace(details, checked=False)
        if _moved(delivery, after, "pickup"):
            details = replace(details, store=None)
    if details != delivery.details:
        changes["details"] = (delivery.details, details)
    return changes


def mark_ready(command: c.MarkReady, world: World) -> Decided | r.Refusal:
    """The goods are ready now, if that is earlier than planned. Refused after pickup."""
    delivery = world.delivery(command.delivery_id)
    refusal = not_at_the_store(delivery)
    if refusal is not None:
        return refusal
    if delivery.is_ready_at() <= world.now:
        return Decided((), delivery.id, repeated=True)
    changes = {"ready_at": (delivery.is_ready_at(), world.now)}
    return _changed(world, delivery, changes, command.new_offer_id, command.actor)


def delay_delivery(command: c.DelayDelivery, world: World) -> Decided | r.Refusal:
    """The goods are ready `minutes` later than planned, or than now if that is later. Refused after pickup. Compares
    the version, if given: otherwise two reports of one delay add up.
    """
    delivery = world.delivery(command.delivery_id)
    refusal = not_at_the_store(delivery)
    if refusal is not None:
        return refusal
    if command.version is not None and command.version != delivery.version:
        return r.VERSION_CHANGED
    ready_at = max(delivery.is_ready_at(), world.now) + timedelta(minutes=command.minutes)
    changes = {"ready_at": (delivery.is_ready_at(), ready_at)}
    return _changed(world, delivery, changes, command.new_offer_id, command.actor, visible(command.reason))


def not_at_the_store(delivery: Delivery) -> r.Refusal | None:
    """Why the goods no longer wait at the store; None if they do."""
    if delivery.status in OVER:
        return r.DELIVERY_OVER
    return r.ALREADY_PICKED_UP if delivery.status in GOODS_ON_THE_WAY else None


def _changed(
    world: World,
    delivery: Delivery,
    changes: Mapping[str, tuple[object, object]],
    new_offer_id: str,
    actor: Actor,
    reason: str | None = None,
) -> Decided:
    after = replace(delivery, **{name: new for name, (_, new) in changes.items()})
    assignment, offer = delivery.active_assignment(), delivery.open_offer()
    if assignment is not None:
        world.require_driver(assignment.driver_id)
    happened: list[e.Event] = []
    offered_to: Driver | None = None
    if offer is not None and (after.needs_check() or _changes_the_offer(offer, delivery, after)):
        offered_to = world.known_driver(offer.driver_id)
        happened.append(withdrawn(world, offer, "changed", actor))
    postponed = (
        "dispatch_at" in changes
        and after.dispatch_at > world.now
        and delivery.status == "READY"
        and (offer is None or offered_to is not None)
    )
    promised = delivery.promised_at
    if postponed and "promised_at" not in changes and promised is not None and promised == _first_estimate(delivery):
        changes = {**changes, "promised_at": (promised, None)}
    happened.append(
        e.DeliveryChanged(
            at=world.now,
            actor=actor,
            delivery_id=delivery.id,
            driver_id=assignment.driver_id if assignment is not None else None,
            assignment_id=assignment.id if assignment is not None else None,
            changes=changes,
            reason=reason,
        )
    )
    moved = hold_moved(world, delivery, after, actor)
    if postponed:
        at = after.dispatch_at
        happened.append(e.DeliveryPostponed(at=world.now, actor=actor, delivery_id=delivery.id, until=at))
    elif moved is not None:
        happened.append(moved)
    if after.needs_check() and not delivery.at_risk("check_address"):
        happened.append(at_risk(world, delivery, assignment, "check_address", world.now))
    if not after.needs_check() and delivery.at_risk("check_address"):
        happened.append(recovered(world, delivery, assignment, "check_address"))
    new_offer = None
    if offered_to is not None and offer is not None and not after.needs_check() and not postponed:
        new_offer = _offer_again(world, delivery, after, offer, offered_to, new_offer_id)
        if new_offer is not None:
            happened.append(new_offer)
    return Decided(tuple(happened), delivery.id, new_offer.offer_id if new_offer is not None else None)


def _first_estimate(delivery: Delivery) -> datetime | None:
    """What the first offer estimated for the handover; it is the promise of an order that has none."""
    first = min(delivery.offers.values(), key=lambda offer: offer.attempt, default=None)
    return named_by(first)[1] if first is not None else None


def _offer_again(
    world: World, before: Delivery, after: Delivery, offer: Offer, driver: Driver, new_offer_id: str
) -> e.OfferCreated | None:
    """The next offer to the driver of an offer that was withdrawn because the order changed. None if they can no longer
    take it, or if the change moves the pickup out of their reach. Ops can have chosen a driver who is farther away.
    """
    place = driver.position
    if place is None or dispatchable(driver, world.now, world.policy, but_for=offer.id) is not None:
        return None
    at = (place.lat, place.lon)
    if driver.zone != after.zone and driver.zone not in world.zones.helpers(after.zone):
        return None
    if in_reach(before, *at, world.policy) and not in_reach(after, *at, world.policy):
        return None
    run = in_run(world, driver, after, at)
    if unfit(after, driver, world.now, world.policy, run) is not None:
        return None
    return created(world, after, driver, new_offer_id, at, SYSTEM, "changed", run)


def _changes_the_offer(offer: Offer, before: Delivery, after: Delivery) -> bool:
    """Whether a change of the delivery makes the data of its open offer wrong. Small delays add up."""
    same = all(getattr(before, name) == getattr(after, name) for name in _IN_AN_OFFER)
    was_ready_at, ready_at, (named, _) = before.is_ready_at(), after.is_ready_at(), named_by(offer)
    shifted = abs(ready_at - was_ready_at) > LATER_BY or ready_at > max(was_ready_at, named + LATER_BY)
    return not same or _moved(before, after) or shifted


def _moved(before: Delivery, after: Delivery, *places: Literal["pickup", "dropoff"]) -> bool:
    """Whether a place is somewhere else now: one of these, or any if none is named."""
    points = ((getattr(before, name), getattr(after, name)) for name in places or ("pickup", "dropoff"))
    return any((old.lat, old.lon) != (new.lat, new.lon) for old, new in points)


_IN_AN_OFFER: Final = ("driver_pay_cents", "currency", "tip_cents", "requirements")

RESTORABLE: Final = timedelta(minutes=10)


def restore_delivery(command: c.RestoreDelivery, world: World) -> Decided | r.Refusal:
    """Restores a delivery within 10 minutes of its cancellation, if it was not picked up. It waits for a driver again:
    from its dispatch time on, if that is in the future, even if it was dispatched early before.
    """
    delivery = world.delivery(command.delivery_id)
    refusal = not_restorable(delivery, world.now)
    if refusal is not None:
        return refusal
    of_it: dict[str, Any] = {"at": world.now, "actor": command.actor, "delivery_id": delivery.id}
    happened: list[e.Event] = [e.DeliveryRestored(**of_it)]
    if delivery.dispatch_at > world.now:
        if delivery.promised_at is not None and delivery.promised_at == _first_estimate(delivery):
            happened.append(e.DeliveryChanged(changes={"promised_at": (delivery.promised_at, None)}, **of_it))
        happened.append(e.DeliveryPostponed(until=delivery.dispatch_at, **of_it))
    return Decided((*happened, *_check_again(world, delivery)), delivery.id)


def _check_again(world: World, delivery: Delivery) -> tuple[e.Event, ...]:
    """The address of a delivery that waits again still needs a check."""
    return (at_risk(world, delivery, None, "check_address", world.now),) if delivery.needs_check() else ()


def not_restorable(delivery: Delivery, now: datetime) -> r.Refusal | None:
    """Why this delivery cannot be restored now; None if it can."""
    if delivery.status != "CANCELLED":
        return r.NOT_CANCELLED
    if any(assignment.picked_up_at is not None for assignment in delivery.assignments.values()):
        return r.ALREADY_PICKED_UP
    if delivery.over_at is None or now - delivery.over_at > RESTORABLE:
        return r.TOO_LATE_TO_RESTORE
    return r.DELIVERY_ERASED if delivery.erased else None


def restorable_until(delivery: Delivery) -> datetime | None:
    """Until when this delivery can be restored, in the past if it is too late; None if it cannot be restored at all."""
    if delivery.over_at is None or not_restorable(delivery, delivery.over_at) is not None:
        return None
    return delivery.over_at + RESTORABLE


def retry_delivery(command: c.RetryDelivery, world: World) -> Decided | r.Refusal:
    """It waits again, to be picked up where the goods are: at the store, or with the driver who could not deliver."""
    delivery = world.delivery(command.delivery_id)
    refusal = not_retriable(delivery)
    if refusal is not None:
        return refusal
    last = delivery.last_assignment()
    assert last is not None
    store = delivery.details.store or delivery.pickup
    retried = e.DeliveryRetried(
        at=world.now,
        actor=command.actor,
        delivery_id=delivery.id,
        reason=command.reason,
        pickup=store,
    )
    if delivery.status == "FAILED":
        pickup = where_the_goods_are(delivery, world.known_driver(last.driver_id))
        retried = replace(retried, pickup=pickup, store=store)
    return Decided((retried, *_check_again(world, delivery)), delivery.id)


def not_retriable(delivery: Delivery) -> r.Refusal | None:
    """Why this delivery cannot be retried; None if it can."""
    if delivery.status not in ("FAILED", "RETURNED"):
        return r.NOT_FAILED
    return r.DELIVERY_ERASED if delivery.erased else None


def dispatch_delivery(command: c.DispatchDelivery, world: World) -> Decided | r.Refusal:
    """A SCHEDULED delivery becomes READY at its dispatch time."""
    delivery = world.delivery(command.delivery_id)
    if delivery.status == "READY":
        return Decided((), delivery.id, repeated=True)
    if delivery.status != "SCHEDULED":
        return r.DELIVERY_NOT_WAITING
    if delivery.dispatch_at > world.now:
        return r.DELIVERY_NOT_DUE
    ready = e.DeliveryReady(at=world.now, actor=command.actor, delivery_id=delivery.id)
    return Decided((ready,), delivery.id)


def note_failed_search(command: c.NoteFailedSearch, world: World) -> Decided | r.Refusal:
    """Recorded only while the delivery waits without an offer, and only if the reason is new or a minute has passed."""
    delivery = world.delivery(command.delivery_id)
    if not wants_offer(delivery):
        return r.DELIVERY_NOT_WAITING
    wait = delivery.unassigned
    assert wait is not None
    if wait.failure_reason == command.failure_reason and world.now - wait.last_attempt_at < SAME_FAILURE_RECORDED_EVERY:
        return Decided((), delivery.id, repeated=True)
    failed = e.SearchFailed(
        at=world.now,
        actor=command.actor,
        delivery_id=delivery.id,
        reason=command.failure_reason,
        nearest=command.nearest,
    )
    return Decided((failed,), delivery.id)


def cancel_delivery(command: c.CancelDelivery, world: World) -> Decided | r.Refusal:
    """Cancels until pickup; after it only ops with `force`. Compares the version, if given. Repeats are safe."""
    delivery = world.delivery(command.delivery_id)
    if delivery.status == "CANCELLED":
        return Decided((), delivery.id, repeated=True)
    if delivery.status == "DELIVERED":
        return r.ALREADY_DELIVERED
    if delivery.status in OVER:
        return r.DELIVERY_OVER
    if command.version is not None and command.version != delivery.version:
        return r.VERSION_CHANGED
    if delivery.status in GOODS_ON_THE_WAY and not (command.force and command.actor.type in ("admin", "ops")):
        return r.ALREADY_PICKED_UP
    return Decided(_cancelled(world, delivery, command.reason, command.actor), delivery.id)


def _cancelled(world: World, delivery: Delivery, reason: str, actor: Actor) -> tuple[e.Event, ...]:
    happened: list[e.Event] = []
    offer = delivery.open_offer()
    if offer is not None:
        world.require_driver(offer.driver_id)
        happened.append(withdrawn(world, offer, "cancelled", actor))
    assignment = delivery.active_assignment()
    if assignment is not None:
        world.require_driver(assignment.driver_id)
    happened += risks_end(world, delivery, assignment)
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
    """Reaches every due level, in order; a level that cancels is the last."""
    delivery = world.delivery(command.delivery_id)
    if delivery.unassigned_since is None:
        return r.DELIVERY_NOT_WAITING
    assert delivery.unassigned is not None
    waited = world.now - delivery.unassigned_since
    happened: list[e.Event] = []
    has_ticket = delivery.unassigned.support_ticket_id is not None
    for rung in levels_due(world.policy, delivery.unassigned.escalation_level, waited):
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
            title = f"unassigned for {int(waited.total_seconds() // 60)}+ minutes"
            offers = f"{len(delivery.offers)} {'offer' if len(delivery.offers) == 1 else 'offers'}"
            why = f"no driver yet, after {offers}"
            kind = "unassigned_delivery"
            happened.append(ticket_created(world, delivery, command, rung.level, kind, title, why))
        if "cancel" in rung.actions:
            happened.extend(_cancelled(world, delivery, "nobody_found", command.actor))
            break
    if not happened:
        return r.NOT_ESCALATED
    return Decided(tuple(happened), delivery.id)


def acknowledge(command: c.Acknowledge, world: World) -> Decided | r.Refusal:
    """Records who acknowledged the delivery, at any level, while it waits or is at risk. Compares the version, if
    given. Repeats without a new note are safe.
    """
    delivery, note = world.delivery(command.delivery_id), visible(command.note)
    if delivery.status in UNDER_WAY and delivery.risks:
        if delivery.risk_acknowledged_by == (command.actor.id or command.actor.type):
            return Decided((), delivery.id, repeated=True)
        if command.version is not None and command.version != delivery.version:
            return r.VERSION_CHANGED
        seen = e.RiskAcknowledged(at=world.now, actor=command.actor, delivery_id=delivery.id, note=note)
        return Decided((seen,), delivery.id)
    wait = delivery.unassigned
    if delivery.status != "READY" or delivery.held_until is not None or wait is None:
        return r.DELIVERY_NOT_WAITING
    by_them = wait.acknowledged_by == (command.actor.id or command.actor.type)
    if by_them and note in (None, wait.acknowledgement_note):
        return Decided((), delivery.id, repeated=True)
    if command.version is not None and command.version != delivery.version:
        return r.VERSION_CHANGED
    acknowledged = e.EscalationAcknowledged(at=world.now, actor=command.actor, delivery_id=delivery.id, note=note)
    return Decided((acknowledged,), delivery.id)
