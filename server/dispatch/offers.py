"""The rules of offers: which drivers can get an offer, and what accept, reject, receipt and the deadline do."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.availability import called_lately, connected
from server.dispatch.decided import Decided
from server.dispatch.driver_runs import added, is_full
from server.dispatch.holds import hold_ended
from server.dispatch.model import SYSTEM, Actor, Assignment, Delivery, Driver, Offer
from server.dispatch.names import name_key
from server.dispatch.policy import Policy, search_radius_km
from server.dispatch.reason_codes import REJECTION, coded
from server.dispatch.travel import Added, haversine_km, named_by, offer_payload, pickup_at
from server.dispatch.world import World
from server.dispatch.zones import Zones

REQUIREMENTS: Final = "requirements"
SHIFT_ENDS: Final = "shift_ends"
OUT_OF_RADIUS: Final = "out_of_radius"
A_METRE_KM: Final = 0.001
"""How exact a distance is: a search computes it in another way than the rules."""
UNFIT: Final = frozenset({REQUIREMENTS, SHIFT_ENDS})
"""Why a driver does not fit a delivery, in every kind of offer."""


def exclusion(delivery: Delivery, driver_id: str, now: datetime, policy: Policy) -> str | None:
    """Why the search must not offer the delivery to this driver again, or None.

    1. They rejected it: never again.
    2. A reassignment took it from them, or they released it: never again.
    3. They let an offer expire less than `reofferCooldownSeconds` ago, and no escalation has cleared that since.
    """
    for offer in delivery.offers.values():
        if offer.driver_id == driver_id and offer.status == "REJECTED":
            return "rejected_before"
    for assignment in delivery.assignments.values():
        if assignment.driver_id == driver_id and assignment.status == "REASSIGNED":
            return "reassigned_away"
        if assignment.driver_id == driver_id and assignment.status == "RELEASED":
            return "gave_it_back"
    for offer in delivery.offers.values():
        if offer.driver_id == driver_id and offer.status == "EXPIRED" and offer.closed_at is not None:
            if delivery.widened_at is not None and offer.closed_at <= delivery.widened_at:
                continue
            if now < offer.closed_at + timedelta(seconds=policy.reoffer_cooldown_seconds):
                return "asked_recently"
    return None


def wants_offer(delivery: Delivery) -> bool:
    """Whether the search should offer it: it waits, has no open offer, is not held, and no address needs a check
    first.
    """
    return (
        delivery.status == "READY"
        and delivery.current_offer_id is None
        and delivery.held_until is None
        and not delivery.needs_check()
    )


def has_all(tags: Iterable[str], required: Iterable[str]) -> bool:
    """Whether these tags contain all required ones, in any spelling."""
    return {name_key(tag) for tag in required}.issubset(map(name_key, tags))


def unfit(delivery: Delivery, driver: Driver, now: datetime, policy: Policy, run: Added | None = None) -> str | None:
    """Why this driver does not fit this delivery, in every kind of offer, or None.

    1. They must have every tag that it requires.
    2. They must be able to pick it up before their shift ends: in their `run`, if they have other deliveries.
    """
    if not has_all(driver.tags, delivery.requirements):
        return REQUIREMENTS
    if driver.shift_ends_at is not None:
        place = driver.position or delivery.pickup
        when = pickup_at(delivery, (place.lat, place.lon), policy, now) if run is None else run.pickup_at
        if when > driver.shift_ends_at:
            return SHIFT_ENDS
    return None


def in_reach(delivery: Delivery, lat: float, lon: float, policy: Policy) -> bool:
    """Whether a driver at this position is within the radius of the delivery's search."""
    km = haversine_km(delivery.pickup.lat, delivery.pickup.lon, lat, lon)
    return km <= search_radius_km(delivery.widened_at is not None, policy) + A_METRE_KM


def serves(driver: Driver, delivery: Delivery, zones: Zones) -> bool:
    """Whether the driver's zone is that of the delivery, or one that helps in it now."""
    return driver.zone == delivery.zone or driver.zone in helping(delivery, zones)


def helping(delivery: Delivery, zones: Zones) -> tuple[str, ...]:
    """The zones whose drivers help with this delivery: none before escalation has widened the search."""
    return zones.helpers(delivery.zone) if delivery.widened_at is not None else ()


def dispatchable(driver: Driver, now: datetime, policy: Policy, *, but_for: str | None = None) -> str | None:
    """Why the search cannot offer anything to this driver now, or None if they are dispatchable. Ignores the offer
    `but_for`.
    """
    if not driver.active:
        return "deactivated"
    if driver.availability != "available":
        return driver.availability
    if driver.shift_ends_at is not None and driver.shift_ends_at <= now:
        return SHIFT_ENDS
    if is_full(driver, policy):
        return "busy"
    if driver.open_offer_id is not None and driver.open_offer_id != but_for:
        return "has_open_offer"
    if driver.position is None:
        return "no_position"
    if now - driver.position.at > timedelta(seconds=policy.position_fresh_seconds):
        return "position_stale"
    reachable = driver.session_id is not None or called_lately(driver, now, policy)
    return None if reachable else "not_present"


def created(
    world: World,
    delivery: Delivery,
    driver: Driver,
    offer_id: str,
    at: tuple[float, float],
    actor: Actor,
    reason: str | None = None,
    run: Added | None = None,
) -> e.OfferCreated:
    """The event of a new offer to a driver who is `at` (lat, lon). `run` is the delivery in the run of a driver who has
    others.
    """
    now = world.now
    on_socket = driver.session_id is not None
    offer = Offer(
        id=offer_id,
        delivery_id=delivery.id,
        driver_id=driver.id,
        status="PENDING",
        attempt=len(delivery.offers) + 1,
        payload=offer_payload(delivery, at[0], at[1], world.policy, now, run),
        created_at=now,
        expires_at=now + timedelta(seconds=world.policy.offer_timeout_seconds),
        notification_sent_at=now if on_socket else None,
        notification_method="websocket" if on_socket else None,
    )
    return e.OfferCreated(
        at=now,
        actor=actor,
        delivery_id=delivery.id,
        driver_id=driver.id,
        offer_id=offer.id,
        offer=offer,
        reason=reason,
    )


def withdrawn(world: World, offer: Offer, reason: str, actor: Actor) -> e.OfferWithdrawn:
    return e.OfferWithdrawn(
        at=world.now,
        actor=actor,
        delivery_id=offer.delivery_id,
        driver_id=offer.driver_id,
        offer_id=offer.id,
        reason=reason,
    )


def assigned(
    world: World,
    delivery: Delivery,
    assignment: Assignment,
    actor: Actor,
    reason: str | None = None,
    delivery_at: datetime | None = None,
) -> e.DeliveryAssigned:
    """The event of an assignment; `delivery_at` is the expected time if no offer gave one."""
    return e.DeliveryAssigned(
        at=world.now,
        actor=actor,
        delivery_id=delivery.id,
        driver_id=assignment.driver_id,
        offer_id=assignment.offer_id,
        assignment_id=assignment.id,
        assignment=assignment,
        reason=reason,
        delivery_at=delivery_at,
    )


def offer_delivery(command: c.OfferDelivery, world: World) -> Decided | r.Refusal:
    """Offers the driver chosen by the search, after a check under lock: the delivery still waits, and the driver is
    dispatchable and in reach. Who has other deliveries may come near later, in their run.

    With `early`, the first offer also dispatches a SCHEDULED delivery, so that nothing changes without an offer. It
    also ends a hold.
    """
    delivery = world.delivery(command.delivery_id)
    scheduled = delivery.status == "SCHEDULED" and command.early and not delivery.needs_check()
    held = delivery.held_until is not None and command.early and not delivery.needs_check()
    if not (wants_offer(delivery) or scheduled or held):
        return r.DELIVERY_NOT_WAITING
    driver = world.driver(command.driver_id)
    why = None if serves(driver, delivery, world.zones) else "zone_differs"
    why = why or dispatchable(driver, world.now, world.policy)
    run = in_run(world, driver, delivery, (command.lat, command.lon))
    why = why or unfit(delivery, driver, world.now, world.policy, run)
    why = why or exclusion(delivery, driver.id, world.now, world.policy)
    if why is None and not driver.active_count and not in_reach(delivery, command.lat, command.lon, world.policy):
        why = OUT_OF_RADIUS  # its pickup moved while the search ran, or the hold
    if why is not None:
        return r.driver_not_available(why)
    at = (command.lat, command.lon)
    event = created(world, delivery, driver, command.new_offer_id, at, command.actor, run=run)
    happened: tuple[e.Event, ...] = (event,)
    if scheduled:
        happened = (dispatched(world, delivery, command.actor), event)
    elif held:
        happened = (hold_ended(world, delivery, command.actor), event)
    return Decided(happened, delivery_id=delivery.id, offer_id=event.offer_id, driver_id=driver.id)


def in_run(world: World, driver: Driver, delivery: Delivery, at: tuple[float, float]) -> Added | None:
    """The delivery in the run of a driver who is `at` (lat, lon); None if they have no other."""
    return added(world, driver, delivery, at) if driver.active_count else None


def dispatched(world: World, delivery: Delivery, actor: Actor) -> e.DeliveryReady:
    """The event of a SCHEDULED delivery that waits from now on, on request."""
    early = delivery.dispatch_at > world.now
    return e.DeliveryReady(at=world.now, actor=actor, delivery_id=delivery.id, early=early)


def accept_offer(command: c.AcceptOffer, world: World) -> Decided | r.Refusal:
    """The driver accepts.

    1. An offer of another driver is not found.
    2. Accepted before, or auto-accepted at the deadline: the same assignment, as long as the driver has it.
    3. Closed otherwise: refused.
    4. At or after the deadline the offer expires instead; if that auto-accepts, this is the assignment.
    5. The driver is at capacity, and the policy allows no further job: refused.
    6. Accepted and assigned.
    """
    delivery, offer = world.offer(command.offer_id, command.driver_id)
    if offer.status == "ACCEPTED" or offer.auto_accepted:
        for assignment in delivery.assignments.values():
            if assignment.offer_id == offer.id and assignment.status in ("ACTIVE", "COMPLETED"):
                return Decided((), delivery.id, offer.id, assignment.id, offer.driver_id, repeated=True)
        return r.OFFER_NO_LONGER_OPEN
    if offer.status != "PENDING":
        return r.OFFER_NO_LONGER_OPEN
    driver = world.known_driver(offer.driver_id)
    if world.now >= offer.expires_at:
        if not _assigns_at_deadline(offer, driver, world):
            return r.OFFER_NO_LONGER_OPEN
        return _expire(world, delivery, offer, driver, command.new_assignment_id)
    if is_full(driver, world.policy):
        return r.driver_not_available("busy")
    assignment = Assignment(
        id=command.new_assignment_id,
        delivery_id=delivery.id,
        driver_id=driver.id,
        offer_id=offer.id,
        status="ACTIVE",
        source="accepted",
        created_at=world.now,
        pickup_due_at=named_by(offer)[0],
    )
    accepted = e.OfferAccepted(
        at=world.now,
        actor=command.actor,
        delivery_id=delivery.id,
        driver_id=driver.id,
        offer_id=offer.id,
        assignment_id=assignment.id,
        response_ms=_milliseconds(world.now - offer.created_at),
    )
    return Decided(
        (accepted, assigned(world, delivery, assignment, command.actor)),
        delivery.id,
        offer.id,
        assignment.id,
        driver.id,
    )


def reject_offer(command: c.RejectOffer, world: World) -> Decided | r.Refusal:
    """The driver rejects. Repeats are safe; refused for a closed offer and after the deadline."""
    delivery, offer = world.offer(command.offer_id, command.driver_id)
    if offer.status == "REJECTED":
        return Decided((), delivery.id, offer.id, driver_id=offer.driver_id, repeated=True)
    if offer.status != "PENDING" or world.now >= offer.expires_at:
        return r.OFFER_NO_LONGER_OPEN
    reason, note = coded(command.reason, command.note, REJECTION)
    rejected = e.OfferRejected(
        at=world.now,
        actor=command.actor,
        delivery_id=delivery.id,
        driver_id=offer.driver_id,
        offer_id=offer.id,
        response_ms=_milliseconds(world.now - offer.created_at),
        reason=reason,
        note=note,
    )
    world.require_driver(offer.driver_id)
    return Decided((rejected,), delivery.id, offer.id, driver_id=offer.driver_id)


def confirm_receipt(command: c.ConfirmReceipt, world: World) -> Decided | r.Refusal:
    """The app has received the offer. Only the first confirmation before the deadline counts."""
    delivery, offer = world.offer(command.offer_id, command.driver_id)
    if offer.status != "PENDING" or offer.received_at is not None or world.now >= offer.expires_at:
        return Decided((), delivery.id, offer.id, driver_id=offer.driver_id, repeated=True)
    received = e.OfferReceived(
        at=world.now,
        actor=command.actor,
        delivery_id=delivery.id,
        driver_id=offer.driver_id,
        offer_id=offer.id,
    )
    return Decided((received,), delivery.id, offer.id, driver_id=offer.driver_id)


def expire_offer(command: c.ExpireOffer, world: World) -> Decided | r.Refusal:
    """The deadline: only for an offer that is open and due."""
    delivery, offer = world.offer(command.offer_id)
    if offer.status != "PENDING":
        return r.OFFER_NO_LONGER_OPEN
    if world.now < offer.expires_at:
        return r.OFFER_NOT_DUE
    return _expire(world, delivery, offer, world.known_driver(offer.driver_id), command.new_assignment_id)


def _assigns_at_deadline(offer: Offer, driver: Driver, world: World) -> bool:
    return (
        world.policy.expiry_policy == "auto_accept"
        and offer.received_at is not None
        and driver.availability == "available"
        and not is_full(driver, world.policy)
        and _phone_is_there(offer, driver, world)
    )


def _phone_is_there(offer: Offer, driver: Driver, world: World) -> bool:
    """Whether the driver could have answered until the deadline, so that auto-accept is allowed.

    1. With a session: its node is alive, and the driver's sockets have no gap since before the deadline.
    2. Without a session, but with one since the offer was made: no, even after calls.
    3. Without any session in that time: calls count.
    """
    if driver.session_id is not None:
        since = driver.connected_since
        return connected(driver, world) and (since is None or since <= offer.expires_at)
    if driver.socket_lost_at is not None and driver.socket_lost_at >= offer.created_at:
        return False
    return called_lately(driver, world.now, world.policy)


def _expire(world: World, delivery: Delivery, offer: Offer, driver: Driver, new_assignment_id: str) -> Decided:
    auto = _assigns_at_deadline(offer, driver, world)
    assignment = None
    if auto:
        assignment = Assignment(
            id=new_assignment_id,
            delivery_id=delivery.id,
            driver_id=driver.id,
            offer_id=offer.id,
            status="ACTIVE",
            source="auto_accepted",
            created_at=world.now,
            pickup_due_at=named_by(offer)[0],
        )
    happened: list[e.Event] = [
        e.OfferExpired(
            at=world.now,
            actor=SYSTEM,
            delivery_id=delivery.id,
            driver_id=driver.id,
            offer_id=offer.id,
            assignment_id=assignment.id if assignment is not None else None,
            auto_accepted=auto,
        )
    ]
    if assignment is not None:
        happened.append(assigned(world, delivery, assignment, SYSTEM))
    if driver.expiries_in_a_row + 1 >= world.policy.pause_after_expiries and driver.availability == "available":
        happened.append(
            e.AvailabilityChanged(
                at=world.now,
                actor=SYSTEM,
                driver_id=driver.id,
                from_=driver.availability,
                to="paused",
                reason="unresponsive",
            )
        )
    return Decided(
        tuple(happened),
        delivery.id,
        offer.id,
        assignment.id if assignment is not None else None,
        driver.id,
    )


def _milliseconds(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)
