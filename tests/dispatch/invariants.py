"""What must be true of any world between two commands."""

from collections import Counter

from server.dispatch.model import GOODS_ON_THE_WAY, OVER, UNDER_WAY, Delivery, Driver, RunStop
from server.dispatch.world import World


def broken_invariants(world: World, *, whole: bool = False) -> list[str]:
    """What is wrong, a sentence each. With `whole` the world holds every delivery: drivers' counts must match."""
    found: list[str] = []
    deliveries = [delivery for delivery in world.deliveries.values() if delivery is not None]
    drivers = [driver for driver in world.drivers.values() if driver is not None]
    for delivery in deliveries:
        found += _of_delivery(delivery)
    open_offers = {
        offer.driver_id: offer
        for delivery in deliveries
        for offer in delivery.offers.values()
        if offer.status == "PENDING"
    }
    pending = Counter(
        offer.driver_id for delivery in deliveries for offer in delivery.offers.values() if offer.status == "PENDING"
    )
    active = Counter(
        assignment.driver_id
        for delivery in deliveries
        for assignment in delivery.assignments.values()
        if assignment.status == "ACTIVE"
    )
    found += [f"{driver_id} has {count} open offers" for driver_id, count in pending.items() if count > 1]
    for driver in drivers:
        found += _of_driver(driver)
        offer = open_offers.get(driver.id)
        if offer is not None and (driver.open_offer_id, driver.open_offer_delivery_id) != (offer.id, offer.delivery_id):
            found.append(f"{driver.name} does not know of their open offer")
        if whole and offer is None and driver.open_offer_id is not None:
            found.append(f"{driver.name} knows of an open offer that is none")
        if whole and driver.active_count != active[driver.id]:
            found.append(f"{driver.name} counts {driver.active_count} assignments of {active[driver.id]}")
        if whole:
            found += [f"{driver.name}: {wrong}" for wrong in broken_run(world, driver)]
    return found


def broken_run(world: World, driver: Driver) -> list[str]:
    """What is wrong with a driver's run in a world that holds every delivery."""
    stops, jobs = world.run(driver.id), world.jobs(driver.id)
    if len(jobs) < 2:
        return ["a run although they have at most one delivery"] if stops else []
    found = []
    keys = [(stop.assignment_id, stop.kind) for stop in stops]
    if len(set(keys)) < len(keys):
        found.append("a stop twice")
    expected: dict[tuple[str, str], object] = {}
    for delivery, assignment in jobs:
        expected[assignment.id, "pickup"] = assignment.picked_up_at
        expected[assignment.id, "dropoff"] = assignment.failed_at
        if delivery.status == "RETURNING":
            expected[assignment.id, "return"] = None
    theirs = {assignment.id for _, assignment in jobs}
    done: dict[tuple[str, str], object] = {
        (stop.assignment_id, stop.kind): stop.done_at for stop in stops if stop.assignment_id in theirs
    }
    if done != expected:
        found.append(f"stops {done} instead of {expected}")
    found += [
        f"{stop} is not theirs"
        for stop in stops
        if stop.assignment_id not in theirs and not _was_theirs(world, driver, stop)
    ]
    found += [
        f"{of} before its pickup"
        for of, kind in keys
        if kind != "pickup" and keys.index((of, "pickup")) > keys.index((of, kind))
    ]
    return found


def _was_theirs(world: World, driver: Driver, stop: RunStop) -> bool:
    assignment = world.locked_delivery(stop.delivery_id).assignments[stop.assignment_id]
    ended = assignment.status in ("COMPLETED", "FAILED", "RETURNED")
    return assignment.driver_id == driver.id and ended and stop.done_at is not None


def _of_delivery(delivery: Delivery) -> list[str]:
    found = []
    pending = [offer for offer in delivery.offers.values() if offer.status == "PENDING"]
    accepted = [offer for offer in delivery.offers.values() if offer.status == "ACCEPTED"]
    active = [assignment for assignment in delivery.assignments.values() if assignment.status == "ACTIVE"]
    completed = [assignment for assignment in delivery.assignments.values() if assignment.status == "COMPLETED"]
    wait = delivery.unassigned

    def must(holds: bool, sentence: str) -> None:
        if not holds:
            found.append(f"{delivery.seller_order_id} ({delivery.status}): {sentence}")

    must(len(pending) <= 1, f"{len(pending)} open offers")
    must(delivery.current_offer_id == (pending[0].id if pending else None), "current_offer_id is not the open offer")
    must(not pending or delivery.status == "READY", "an open offer although it wants no driver")
    must(len(active) <= 1, f"{len(active)} active assignments")
    must(bool(active) == (delivery.status in UNDER_WAY), "status and active assignment disagree")
    must(
        not active or (active[0].picked_up_at is not None) == (delivery.status in GOODS_ON_THE_WAY),
        "status and pickup disagree",
    )
    must(len(completed) == (delivery.status == "DELIVERED"), "status and completed assignment disagree")
    waits = delivery.status == "READY" and delivery.held_until is None
    must((delivery.unassigned_since is not None) == waits, "status, hold and unassigned_since disagree")
    must(delivery.held_until is None or delivery.status == "READY", "held although it does not wait")
    must(delivery.held_until is None or not pending, "held with an open offer")
    must(delivery.offer_acceptance_count == len(accepted), "offer_acceptance_count is not the number of accepts")
    if delivery.accepted_offer_id is not None:
        offer = delivery.offers[delivery.accepted_offer_id]
        must(offer.status == "ACCEPTED" or offer.auto_accepted, "accepted_offer_id names an offer that was not")
    for offer in delivery.offers.values():
        must((offer.closed_at is None) == (offer.status == "PENDING"), "closed_at of an open offer or none of a closed")
        must(not offer.auto_accepted or offer.status == "EXPIRED", "auto_accepted but not EXPIRED")
    for assignment in delivery.assignments.values():
        ended = assignment.status not in ("ACTIVE", "COMPLETED")
        must((assignment.ended_at is not None) == ended, "ended_at and status of an assignment disagree")
        must(
            (assignment.completed_at is not None) == (assignment.status == "COMPLETED"),
            "completed_at and status of an assignment disagree",
        )
    must((delivery.over_at is not None) <= (delivery.status in OVER), "over_at although it is not over")
    must(bool(delivery.risks) == (delivery.risk_since is not None), "risks and risk_since disagree")
    must(len({risk.code for risk in delivery.risks}) == len(delivery.risks), "at risk twice of the same")
    must(
        delivery.status in UNDER_WAY or {risk.code for risk in delivery.risks} <= {"check_address"},
        "at risk without a driver",
    )
    waits_for_check = delivery.status in ("SCHEDULED", "READY") and delivery.needs_check()
    must(not waits_for_check or delivery.at_risk("check_address"), "an address that needs a look, and no risk")
    must(not pending or not delivery.needs_check(), "offered although its address needs a look")
    if delivery.status == "SCHEDULED":
        must(wait is None or wait.escalation_status == "CANCELLED", "a wait before it was READY")
    elif delivery.status == "READY":
        must(wait is not None and wait.escalation_status == "PENDING", "no wait under way")
    elif delivery.status == "CANCELLED":
        must(wait is None or wait.escalation_status == "CANCELLED", "its wait goes on")
    else:
        must(wait is not None and wait.escalation_status == "ASSIGNED", "its wait goes on")
    return found


def _of_driver(driver: Driver) -> list[str]:
    found = []

    def must(holds: bool, sentence: str) -> None:
        if not holds:
            found.append(f"{driver.name} ({driver.availability}): {sentence}")

    before, until = driver.availability_before, driver.availability_until
    must(0 <= driver.active_count <= driver.capacity + 1, f"{driver.active_count} assignments of {driver.capacity}")
    must((driver.open_offer_id is None) == (driver.open_offer_delivery_id is None), "half an open offer")
    must(before is None or driver.availability == "offline", "a state to return to although not offline")
    must(until is None or "on_break" in (driver.availability, before), "an end although not on a break")
    must(
        driver.open_offer_id is None or driver.availability == "available" or before == "available",
        "an open offer although not available",
    )
    must((driver.session_id is None) == (driver.session_node is None), "half a session")
    must(driver.session_id is None or driver.socket_lost_at is None, "connected and lost")
    must(driver.expiries_in_a_row >= 0, "fewer than no expiries")
    return found
