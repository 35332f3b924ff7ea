"""The rules of assignments: pickup and completion by the driver, assigning and reassigning by a person."""

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.model import Actor, Assignment, Delivery, Driver
from server.dispatch.offers import assigned, created, dispatched, withdrawn
from server.dispatch.world import World


def pick_up(command: c.PickUp, world: World) -> Decided | r.Refusal:
    """The driver has the goods. Said before: harmless."""
    found = world.assignment(command.assignment_id)
    if found is None or found[1].driver_id != command.driver_id:
        return r.NOT_FOUND
    delivery, assignment = found
    shown = Decided((), delivery.id, None, assignment.id, assignment.driver_id, repeated=True)
    if assignment.status == "COMPLETED":
        return shown
    if assignment.status != "ACTIVE":
        return _not_active(assignment)
    if assignment.picked_up_at is not None:
        return shown
    world.known_driver(assignment.driver_id)
    event = _picked_up(world, assignment, command.actor)
    return Decided((event,), delivery.id, None, assignment.id, assignment.driver_id)


def complete(command: c.Complete, world: World) -> Decided | r.Refusal:
    """The goods are handed over; of an assignment not picked up yet: both at once. Said before: harmless."""
    found = world.assignment(command.assignment_id)
    if found is None or found[1].driver_id != command.driver_id:
        return r.NOT_FOUND
    delivery, assignment = found
    if assignment.status == "COMPLETED":
        return Decided((), delivery.id, None, assignment.id, assignment.driver_id, repeated=True)
    if assignment.status != "ACTIVE":
        return _not_active(assignment)
    world.known_driver(assignment.driver_id)
    happened: list[e.Event] = []
    if assignment.picked_up_at is None:
        happened.append(_picked_up(world, assignment, command.actor))
    happened.append(
        e.DeliveryDelivered(
            at=world.now,
            actor=command.actor,
            delivery_id=delivery.id,
            driver_id=assignment.driver_id,
            assignment_id=assignment.id,
        )
    )
    return Decided(tuple(happened), delivery.id, None, assignment.id, assignment.driver_id)


def _picked_up(world: World, assignment: Assignment, actor: Actor) -> e.DeliveryPickedUp:
    return e.DeliveryPickedUp(
        at=world.now,
        actor=actor,
        delivery_id=assignment.delivery_id,
        driver_id=assignment.driver_id,
        assignment_id=assignment.id,
    )


def _not_active(assignment: Assignment) -> r.Refusal:
    what = assignment.status.lower()
    return r.assignment_not_active(f"{what} by {assignment.ended_by}" if assignment.ended_by else what)


def assign_delivery(command: c.AssignDelivery, world: World) -> Decided | r.Refusal:
    """A person's pick for a delivery without a driver; what others rejected or let expire does not bind it.

    1. Only a delivery that waits, or, `early`, is scheduled: then it waits from now on.
    2. The driver must be available, of the zone, and have room; for an offer also without another offer.
    3. Offered to them already: the same offer.
    4. The version the sender saw, if they say which.
    5. An open offer to somebody else is withdrawn. A direct assignment that fills the driver withdraws theirs.
    """
    delivery = world.delivery(command.delivery_id)
    driver = world.driver(command.driver_id)
    if delivery is None or driver is None:
        return r.NOT_FOUND
    if delivery.status not in ("SCHEDULED", "READY"):
        return r.DELIVERY_NOT_WAITING
    if delivery.status == "SCHEDULED" and not command.early:
        return r.DELIVERY_NOT_DUE
    why = _cannot_take(driver, delivery, command.direct)
    if why is not None:
        return r.driver_not_available(why)
    offer = delivery.open_offer()
    if offer is not None and offer.driver_id == driver.id and not command.direct:
        return Decided((), delivery.id, offer.id, None, driver.id, repeated=True)
    if command.version is not None and command.version != delivery.version:
        return r.VERSION_CHANGED
    happened: list[e.Event] = []
    if delivery.status == "SCHEDULED":
        happened.append(dispatched(world, delivery, command.actor))
    if offer is not None:
        world.known_driver(offer.driver_id)
        happened.append(withdrawn(world, offer, "assigned_by_hand", command.actor))
    return _give(world, delivery, driver, command, happened)


def reassign(command: c.Reassign, world: World) -> Decided | r.Refusal:
    """An admin takes a delivery from its driver.

    1. The assignment must be active, and still the version the admin saw.
    2. After pickup only with `force`.
    3. A target must be somebody else, available, of the zone, with room; for an offer also without another offer.
    4. The old driver is freed, told, and not asked again; a new clock starts; the target, if any, gets it.
    """
    found = world.assignment(command.assignment_id)
    if found is None:
        return r.NOT_FOUND
    delivery, assignment = found
    if assignment.status != "ACTIVE":
        return _not_active(assignment)
    if command.version is not None and command.version != assignment.version:
        return r.VERSION_CHANGED
    if assignment.picked_up_at is not None and not command.force:
        return r.ALREADY_PICKED_UP
    world.known_driver(assignment.driver_id)
    happened: list[e.Event] = [
        e.DeliveryReassigned(
            at=world.now,
            actor=command.actor,
            delivery_id=delivery.id,
            driver_id=assignment.driver_id,
            assignment_id=assignment.id,
            reason=command.reason,
            forced=assignment.picked_up_at is not None,
        )
    ]
    if command.driver_id is None:
        return Decided(tuple(happened), delivery.id)
    driver = world.driver(command.driver_id)
    if driver is None:
        return r.NOT_FOUND
    if driver.id == assignment.driver_id:
        return r.driver_not_available("they have it now")
    why = _cannot_take(driver, delivery, command.direct)
    if why is not None:
        return r.driver_not_available(why)
    return _give(world, delivery, driver, command, happened)


def _cannot_take(driver: Driver, delivery: Delivery, direct: bool) -> str | None:
    if driver.zone != delivery.zone:
        return "zone_differs"
    if driver.availability != "available":
        return driver.availability
    if driver.busy:
        return "busy"
    offered_another = driver.open_offer_id is not None and driver.open_offer_id != delivery.current_offer_id
    return "has_open_offer" if offered_another and not direct else None


def _give(
    world: World,
    delivery: Delivery,
    driver: Driver,
    command: c.AssignDelivery | c.Reassign,
    happened: list[e.Event],
) -> Decided:
    if not command.direct:
        at = (driver.position or delivery.pickup).lat, (driver.position or delivery.pickup).lon
        happened.append(created(world, delivery, driver, command.new_offer_id, at, command.actor, command.reason))
        return Decided(tuple(happened), delivery.id, command.new_offer_id, None, driver.id)
    assignment = Assignment(
        id=command.new_assignment_id,
        delivery_id=delivery.id,
        driver_id=driver.id,
        offer_id=None,
        status="ACTIVE",
        source="manual",
        created_at=world.now,
    )
    happened.append(assigned(world, delivery, assignment, command.actor, command.reason))
    fills = driver.active_count + 1 >= driver.capacity
    if fills and driver.open_offer_id is not None and driver.open_offer_delivery_id != delivery.id:
        assert driver.open_offer_delivery_id is not None
        other = world.delivery(driver.open_offer_delivery_id)
        assert other is not None
        happened.append(withdrawn(world, other.offers[driver.open_offer_id], "driver_full", command.actor))
    return Decided(tuple(happened), delivery.id, None, assignment.id, driver.id)
