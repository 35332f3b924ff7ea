"""The rules of manual assignment: ops choose a driver, or take a delivery from one."""

from msgspec.structs import replace

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.availability import change_to
from server.dispatch.decided import Decided
from server.dispatch.driver_actions import not_active, recovered, risks_end
from server.dispatch.driver_runs import is_full
from server.dispatch.holds import hold_ended
from server.dispatch.model import Assignment, Delivery, Driver, Place
from server.dispatch.offers import assigned, created, dispatched, in_run, unfit, withdrawn
from server.dispatch.travel import delivery_at, pickup_at, to_milliseconds
from server.dispatch.world import World


def assign_delivery(command: c.AssignDelivery, world: World) -> Decided | r.Refusal:
    """Ops choose a driver for an unassigned delivery; earlier rejections and expiries do not matter.

    1. The delivery waits, or with `early` is scheduled; then it waits from now on.
    2. The driver is available, in the zone or in one that helps, fits the delivery and has capacity; for an offer they
       also have no other offer.
    3. If they already have an offer for it, that offer is the answer.
    4. Compares the version, if given.
    5. Withdraws an open offer only on request. A direct assignment that fills the driver's capacity withdraws their
       offer.
    6. This counts as the check of an address with a warning.
    """
    delivery = world.delivery(command.delivery_id)
    driver = world.driver(command.driver_id)
    if delivery.status not in ("SCHEDULED", "READY"):
        return r.DELIVERY_NOT_WAITING
    if delivery.status == "SCHEDULED" and not command.early:
        return r.DELIVERY_NOT_DUE
    why = _cannot_take(driver, delivery, command.direct, world)
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
        if not command.replace_offer:
            return r.OFFER_OPEN
        world.require_driver(offer.driver_id)
        happened.append(withdrawn(world, offer, "assigned_by_hand", command.actor))
    if delivery.held_until is not None:
        happened.append(hold_ended(world, delivery, command.actor))
    if delivery.at_risk("check_address"):
        happened.append(replace(recovered(world, delivery, None, "check_address"), checked=True))
    return _give(world, delivery, driver, command, happened)


def reassign(command: c.Reassign, world: World) -> Decided | r.Refusal:
    """Ops take a delivery from its driver.

    1. The assignment is active, and has the version that they read, if given.
    2. After pickup only with `force`; then the pickup moves to the goods, which are with the driver.
    3. A target is another driver, available, in the zone or in one that helps, fits the delivery and has capacity; for
       an offer they also have no other offer.
    4. The old driver has capacity again, is excluded from the search, and is paused on request; a new escalation
       starts; the target, if any, gets the delivery. The pause does not have the reason: it may name the customer, and
       a driver's rows are not erased.
    """
    delivery, assignment = world.assignment(command.assignment_id)
    if assignment.status != "ACTIVE":
        return not_active(assignment, delivery)
    if command.version is not None and command.version != assignment.version:
        return r.VERSION_CHANGED
    if assignment.picked_up_at is not None and not command.force:
        return r.ALREADY_PICKED_UP
    had = world.known_driver(assignment.driver_id)
    pickup, store = None, None
    if assignment.picked_up_at is not None:
        pickup, store = where_the_goods_are(delivery, had), delivery.details.store or delivery.pickup
    happened: list[e.Event] = [
        *risks_end(world, delivery, assignment, but="check_address"),
        e.DeliveryReassigned(
            at=world.now,
            actor=command.actor,
            delivery_id=delivery.id,
            driver_id=assignment.driver_id,
            assignment_id=assignment.id,
            reason=command.reason,
            forced=assignment.picked_up_at is not None,
            pickup=pickup,
            store=store,
        ),
    ]
    if command.pause_driver and had.availability == "available":
        happened.extend(change_to(world, had, "paused", "reassigned", command.actor).events)
    if command.driver_id is None:
        return Decided(tuple(happened), delivery.id)
    driver = world.driver(command.driver_id)
    if driver.id == assignment.driver_id:
        return r.driver_not_available("they have it now")
    if pickup is not None:
        delivery = replace(delivery, pickup=pickup, ready_at=min(delivery.is_ready_at(), world.now))
    why = _cannot_take(driver, delivery, command.direct, world)
    if why is not None:
        return r.driver_not_available(why)
    return _give(world, delivery, driver, command, happened)


def where_the_goods_are(delivery: Delivery, driver: Driver) -> Place:
    """The place of goods that a driver has: the driver's last position, or else where they picked them up; with their
    name and phone.
    """
    last = driver.position or delivery.pickup
    return Place(last.lat, last.lon, None, driver.name, driver.phone)


def _cannot_take(driver: Driver, delivery: Delivery, direct: bool, world: World) -> str | None:
    if not driver.active:
        return "deactivated"
    if driver.zone != delivery.zone and driver.zone not in world.zones.helpers(delivery.zone):
        return "zone_differs"
    if driver.availability != "available":
        return driver.availability
    if is_full(driver, world.policy):
        return "busy"
    offered_another = driver.open_offer_id is not None and driver.open_offer_id != delivery.current_offer_id
    if offered_another and not direct:
        return "has_open_offer"
    run = in_run(world, driver, delivery, _place(driver, delivery))
    return unfit(delivery, driver, world.now, world.policy, run)


def _place(driver: Driver, delivery: Delivery) -> tuple[float, float]:
    return (driver.position or delivery.pickup).lat, (driver.position or delivery.pickup).lon


def _give(
    world: World,
    delivery: Delivery,
    driver: Driver,
    command: c.AssignDelivery | c.Reassign,
    happened: list[e.Event],
) -> Decided:
    at = _place(driver, delivery)
    run = in_run(world, driver, delivery, at)
    if not command.direct:
        happened.append(created(world, delivery, driver, command.new_offer_id, at, command.actor, command.reason, run))
        return Decided(tuple(happened), delivery.id, command.new_offer_id, None, driver.id)
    due = run.pickup_at if run is not None else to_milliseconds(pickup_at(delivery, at, world.policy, world.now))
    assignment = Assignment(
        id=command.new_assignment_id,
        delivery_id=delivery.id,
        driver_id=driver.id,
        offer_id=None,
        status="ACTIVE",
        source="manual",
        created_at=world.now,
        pickup_due_at=due,
    )
    expected = run.delivery_at if run is not None else delivery_at(delivery, due, world.policy)
    happened.append(assigned(world, delivery, assignment, command.actor, command.reason, expected))
    fills = driver.active_count + 1 >= driver.capacity + world.policy.planning.next_jobs
    if fills and driver.open_offer_id is not None and driver.open_offer_delivery_id != delivery.id:
        assert driver.open_offer_delivery_id is not None
        other = world.delivery(driver.open_offer_delivery_id)
        happened.append(withdrawn(world, other.offers[driver.open_offer_id], "driver_full", command.actor))
    return Decided(tuple(happened), delivery.id, None, assignment.id, driver.id)
