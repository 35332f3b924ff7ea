"""The rules of assignments: pickup and handover, and what people assign and reassign by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.decide import decide
from server.dispatch.model import Delivery, OrderDetails, Place, Position, Risk
from server.dispatch.world import NeedsRows, World
from tests.builders import (
    ADA,
    ALICE,
    CAKE,
    DAN,
    DORA,
    MAX,
    NOW,
    PICKUP,
    SOUP,
    a_closed_offer,
    a_delivery,
    a_driver,
    a_world,
    an_assignment,
    an_open_offer,
    by,
    id_of,
    minutes,
)
from tests.dispatch.cases import Case, check, happens, job_of, name_of, payload_of, waiting_of

ASSIGNMENT = id_of(f"{SOUP}: assignment 1")
OFFER = id_of(f"{SOUP}: offer 1")
NEW_OFFER, NEW_ASSIGNMENT = id_of("new offer"), id_of("new assignment")


def soup(world: World) -> Delivery:
    return world.locked_delivery(SOUP)


OF_DAN = ("phone", "position", "availability")


def on_its_way(*others: Any, **of_assignment: Any) -> Callable[[], World]:
    """Dan has soup; Dora is free; `others` come on top."""

    def given() -> World:
        of_dan = {name: of_assignment[name] for name in OF_DAN if name in of_assignment}
        of_the_job = {name: value for name, value in of_assignment.items() if name not in OF_DAN}
        soup, dan = a_delivery(), a_driver(**of_dan)
        an_assignment(soup, dan, **of_the_job)
        if of_assignment.get("status") == "COMPLETED":
            soup.status, soup.unassigned_since = "DELIVERED", None
            soup.unassigned.escalation_status = "ASSIGNED"  # type: ignore[union-attr]
        return a_world(soup, dan, a_driver("Dora"), a_driver("Max", zone="airport"), *others)

    return given


def picked_up_ready_in(after: int) -> Callable[[], World]:
    """Dan has picked up soup, which was expected to be ready in so many minutes from now."""

    def given() -> World:
        world = PICKED_UP()
        soup(world).ready_at = NOW + minutes(after)
        return world

    return given


def returning() -> Callable[[], World]:
    """Nobody was there, and Dan brings soup back."""

    def given() -> World:
        world = on_its_way(picked_up_at=NOW - minutes(9), failed_at=NOW - minutes(1), end_reason="recipient_absent")()
        soup(world).status = "RETURNING"
        return world

    return given


PICKED_UP = on_its_way(picked_up_at=NOW - minutes(1))
COMPLETED = on_its_way(status="COMPLETED", picked_up_at=NOW, completed_at=NOW)
TAKEN_AWAY = on_its_way(status="REASSIGNED", ended_at=NOW, ended_by="ada")
CANCELLED_BY_NOBODY = on_its_way(status="CANCELLED", ended_at=NOW)

PICK_UP = c.PickUp(ASSIGNMENT, DAN, by(DAN))
COMPLETE = c.Complete(ASSIGNMENT, DAN, by(DAN))

DRIVING = [
    Case(
        "the driver has the goods",
        given=on_its_way(),
        command=PICK_UP,
        then=[happens(e.DeliveryPickedUp, assignment_id=ASSIGNMENT, driver_id=DAN, actor=by(DAN))],
        afterwards=lambda w: (
            soup(w).status == "PICKED_UP" and job_of(soup(w)).picked_up_at == NOW and job_of(soup(w)).version == 2
        ),
    ),
    Case("picked up again is harmless", PICKED_UP, PICK_UP, []),
    Case("also after the handover", COMPLETED, PICK_UP, []),
    Case(
        "what was taken away is not picked up, and ops see that somebody said so",
        given=TAKEN_AWAY,
        command=PICK_UP,
        then="assignment_not_active: reassigned by ada",
        leaves=[happens(e.LateReport, driver_id=DAN, what="delivery.picked_up", now_with="nobody")],
    ),
    Case(
        "what is cancelled is not picked up",
        CANCELLED_BY_NOBODY,
        PICK_UP,
        "assignment_not_active: no longer active: cancelled.",
        leaves=[happens(e.LateReport, what="delivery.picked_up")],
    ),
    Case("another's assignment does not exist", on_its_way(), c.PickUp(ASSIGNMENT, DORA, by(DORA)), "not_found"),
    Case("nor one that never was", on_its_way(), c.PickUp(id_of("nothing"), DAN, by(DAN)), "not_found"),
    Case(
        "the goods are handed over, and the driver has room again",
        given=PICKED_UP,
        command=COMPLETE,
        then=[happens(e.DeliveryDelivered, assignment_id=ASSIGNMENT, driver_id=DAN, actor=by(DAN))],
        afterwards=lambda w: (
            soup(w).status == "DELIVERED"
            and job_of(soup(w)).status == "COMPLETED"
            and job_of(soup(w)).completed_at == NOW
            and w.known_driver(DAN).active_count == 0
        ),
    ),
    Case(
        "who forgot to say that they picked it up says both at once",
        given=on_its_way(),
        command=COMPLETE,
        then=[happens(e.DeliveryPickedUp), happens(e.DeliveryDelivered)],
        afterwards=lambda w: job_of(soup(w)).picked_up_at == NOW,
    ),
    Case("handed over again is harmless", COMPLETED, COMPLETE, []),
    Case(
        "what was taken away is not handed over",
        given=TAKEN_AWAY,
        command=COMPLETE,
        then="assignment_not_active: reassigned by ada",
        leaves=[happens(e.LateReport, what="delivery.delivered")],
    ),
    Case("another's assignment is not completed", on_its_way(), c.Complete(ASSIGNMENT, DORA, by(DORA)), "not_found"),
    Case("nor one that never was", on_its_way(), c.Complete(id_of("nothing"), DAN, by(DAN)), "not_found"),
]


def assign(driver_id: str = DAN, *, direct: bool = False, **changes: Any) -> c.AssignDelivery:
    """Alice picks a driver for soup."""
    return c.AssignDelivery(SOUP, driver_id, "knows the way", direct, NEW_OFFER, NEW_ASSIGNMENT, ALICE, **changes)


def waiting(*others: Any, status: str = "READY", requires: tuple[str, ...] = (), **of_dan: Any) -> Callable[[], World]:
    """Soup waits; Dan is as said."""
    return lambda: a_world(a_delivery(status=status, requirements=requires), a_driver(**of_dan), *others)


def far_away() -> World:
    """Nobody has looked at soup's address yet."""
    details = OrderDetails(warnings=("trip_too_long",))
    risks = (Risk("check_address", NOW),)
    return a_world(a_delivery(details=details, risks=risks, risk_since=NOW), a_driver())


def held_out(to: str, **of_dan: Any) -> Callable[[], World]:
    """Soup is held out to one of them."""

    def given() -> World:
        soup, dan, dora = a_delivery(), a_driver(**of_dan), a_driver("Dora")
        an_open_offer(soup, dan if to == DAN else dora)
        return a_world(soup, dan, dora)

    return given


def with_another_offer(**of_dan: Any) -> Callable[[], World]:
    """Soup waits; Dan looks at cake."""

    def given() -> World:
        soup, cake, dan = a_delivery(), a_delivery("cake"), a_driver(**of_dan)
        an_open_offer(cake, dan)
        return a_world(soup, cake, dan)

    return given


def declined() -> World:
    """Dan has said no to soup."""
    soup, dan = a_delivery(), a_driver()
    a_closed_offer(soup, dan, "REJECTED", age=minutes(1))
    return a_world(soup, dan)


OFFERED = happens(
    e.OfferCreated, offer_id=NEW_OFFER, delivery_id=SOUP, driver_id=DAN, reason="knows the way", actor=ALICE
)
ASSIGNED = happens(
    e.DeliveryAssigned,
    assignment_id=NEW_ASSIGNMENT,
    delivery_id=SOUP,
    driver_id=DAN,
    reason="knows the way",
    actor=ALICE,
)

ASSIGNING = [
    Case("a person's pick is asked", given=waiting(), command=assign(), then=[OFFERED]),
    Case(
        "or assigned without being asked",
        given=waiting(),
        command=assign(direct=True),
        then=[ASSIGNED],
        afterwards=lambda w: (
            job_of(soup(w)).source == "manual"
            and job_of(soup(w)).offer_id is None
            and soup(w).accepted_offer_id is None
            and soup(w).offer_acceptance_count == 0
            and job_of(soup(w)).pickup_due_at == NOW + minutes(9)
            and soup(w).estimated_pickup_at == NOW + minutes(9)
            and soup(w).promised_at == soup(w).estimated_delivery_at
            and w.known_driver(DAN).active_count == 1
        ),
    ),
    Case(
        "a scheduled delivery waits from then on",
        given=waiting(status="SCHEDULED"),
        command=assign(direct=True),
        then=[happens(e.DeliveryReady, early=True, actor=ALICE), ASSIGNED],
    ),
    Case(
        "a scheduled delivery stays scheduled unless that is wanted",
        given=waiting(status="SCHEDULED"),
        command=c.AssignDelivery(SOUP, DAN, "near", True, NEW_OFFER, NEW_ASSIGNMENT, ALICE, early=False),
        then="delivery_not_due",
    ),
    Case("a pick may have said no before", given=declined, command=assign(), then=[OFFERED]),
    Case(
        "a chosen driver may have sent no position: then they count as at the pickup",
        given=waiting(position=None),
        command=assign(),
        then=[OFFERED],
        afterwards=lambda w: payload_of(soup(w)).estimated_distance_km == 0,
    ),
    Case(
        "an offer to somebody else is withdrawn if the person says so",
        given=held_out(DORA),
        command=assign(replace_offer=True),
        then=[happens(e.OfferWithdrawn, driver_id=DORA, reason="assigned_by_hand", actor=ALICE), OFFERED],
        afterwards=lambda w: w.known_driver(DORA).open_offer_id is None and soup(w).current_offer_id == NEW_OFFER,
    ),
    Case("and not otherwise", held_out(DORA), assign(), "offer_open"),
    Case("not even for the driver who looks at it", held_out(DAN), assign(direct=True), "offer_open"),
    Case("an open offer to the same driver is kept", given=held_out(DAN), command=assign(), then=[]),
    Case("also with the version of before", held_out(DAN), assign(version=9), []),
    Case("the version that the person saw is the right one", waiting(), assign(version=1), [OFFERED]),
    Case("any other is refused", waiting(), assign(version=2), "version_changed"),
    Case(
        "a colleague's offer to another driver is not taken back",
        given=held_out(DORA),
        command=assign(version=9),
        then="version_changed",
    ),
    Case(
        "unless they are not to be asked any more",
        given=held_out(DAN),
        command=assign(direct=True, replace_offer=True),
        then=[happens(e.OfferWithdrawn, driver_id=DAN, reason="assigned_by_hand"), ASSIGNED],
        afterwards=lambda w: w.known_driver(DAN).open_offer_id is None,
    ),
    Case(
        "who looks at another offer is not asked",
        given=with_another_offer(),
        command=assign(),
        then="driver_not_available: has_open_offer",
    ),
    Case(
        "who is filled by it loses the offer they look at",
        given=with_another_offer(),
        command=assign(direct=True),
        then=[ASSIGNED, happens(e.OfferWithdrawn, driver_id=DAN, delivery_id=CAKE, reason="driver_full")],
        afterwards=lambda w: w.locked_delivery(CAKE).status == "READY",
    ),
    Case(
        "who still has room keeps it",
        given=with_another_offer(capacity=2),
        command=assign(direct=True),
        then=[ASSIGNED],
        afterwards=lambda w: w.known_driver(DAN).open_offer_delivery_id == CAKE,
    ),
    *(
        Case(
            f"who is {availability} gets nothing",
            given=waiting(availability=availability),
            command=assign(direct=True),
            then=f"driver_not_available: {availability}",
        )
        for availability in ("on_break", "paused", "shift_ended", "offline")
    ),
    Case("who is full gets nothing", waiting(active_count=1), assign(direct=True), "driver_not_available: busy"),
    Case("who lacks a tag gets nothing", waiting(requires=("cold",)), assign(), "driver_not_available: requirements"),
    Case("who has it does", waiting(requires=("cold",), tags=("van", "cold")), assign(), [OFFERED]),
    Case(
        "nor who goes home before they could pick it up",
        given=waiting(shift_ends_at=NOW + minutes(8)),
        command=assign(direct=True),
        then="driver_not_available: shift_ends",
    ),
    Case("nor who works for us no more", waiting(active=False), assign(), "driver_not_available: deactivated"),
    Case(
        "an address that needed a look has had it",
        given=far_away,
        command=assign(),
        then=[happens(e.DeliveryRecovered, risk="check_address"), OFFERED],
        afterwards=lambda w: soup(w).details.checked and not soup(w).risks and not soup(w).needs_check(),
    ),
    Case("nor does another fleet", waiting(zone="airport"), assign(), "driver_not_available: zone_differs"),
    Case("what has a driver is not assigned", on_its_way(), assign(DORA), "delivery_not_waiting"),
    Case("no delivery: not found", lambda: a_world(a_driver(), absent=[SOUP]), assign(), "not_found"),
    Case("no driver: not found", lambda: a_world(a_delivery(), absent=[DAN]), assign(), "not_found"),
]


def reassign(driver_id: str | None = None, **changes: Any) -> c.Reassign:
    """Ada takes soup from Dan."""
    return c.Reassign(ASSIGNMENT, "flat tyre", NEW_OFFER, NEW_ASSIGNMENT, ADA, driver_id, **changes)


def after_an_accept() -> World:
    """Dan has soup by his offer, and the ladder was climbed before."""
    soup, dan = a_delivery(waiting=minutes(20)), a_driver()
    offer = a_closed_offer(soup, dan, "ACCEPTED", age=minutes(5))
    soup.accepted_offer_id, soup.offer_acceptance_count = offer.id, 1
    soup.widened_at = NOW - minutes(6)
    assert soup.unassigned is not None
    soup.unassigned.escalation_level = 2
    soup.unassigned.support_ticket_id = id_of("ticket")
    an_assignment(soup, dan, offer=offer)
    return a_world(soup, dan, a_driver("Dora"))


TAKEN = happens(
    e.DeliveryReassigned, driver_id=DAN, assignment_id=ASSIGNMENT, reason="flat tyre", forced=False, actor=ADA
)
TO_DORA = happens(e.OfferCreated, offer_id=NEW_OFFER, driver_id=DORA, reason="flat tyre", actor=ADA)

REASSIGNING = [
    Case(
        "the delivery waits again with a new clock, and its driver is free",
        given=after_an_accept,
        command=reassign(),
        then=[TAKEN],
        afterwards=lambda w: (
            soup(w).status == "READY"
            and soup(w).unassigned_since == NOW
            and soup(w).widened_at is None
            and soup(w).accepted_offer_id is None
            and soup(w).offer_acceptance_count == 1
            and waiting_of(soup(w)).escalation_level == 0
            and waiting_of(soup(w)).support_ticket_id is None
            and soup(w).assignments[ASSIGNMENT].ended_by == "ada"
            and soup(w).assignments[ASSIGNMENT].end_reason == "flat tyre"
            and w.known_driver(DAN).active_count == 0
            and w.known_driver(DAN).availability == "available"
            and list(w.changed_waits) == [SOUP]
            and not w.new_waits
        ),
    ),
    Case("a target is asked", on_its_way(), reassign(DORA), [TAKEN, TO_DORA]),
    Case(
        "or gets it without being asked",
        given=on_its_way(),
        command=reassign(DORA, direct=True),
        then=[TAKEN, happens(e.DeliveryAssigned, driver_id=DORA, assignment_id=NEW_ASSIGNMENT)],
        afterwards=lambda w: job_of(soup(w)).driver_id == DORA and soup(w).status == "ASSIGNED",
    ),
    Case("the version the admin saw is the right one", on_its_way(version=3), reassign(version=3), [TAKEN]),
    Case("any other is refused", on_its_way(version=3), reassign(version=2), "version_changed"),
    Case("after the pickup it is refused", PICKED_UP, reassign(), "already_picked_up"),
    Case(
        "unless they insist: the goods are met where they are",
        given=on_its_way(picked_up_at=NOW - minutes(1), phone="+49 30 1", position=Position(52.6, 13.5, NOW)),
        command=reassign(force=True),
        then=[happens(e.DeliveryReassigned, forced=True, pickup=Place(52.6, 13.5, None, "Dan", "+49 30 1"))],
        afterwards=lambda w: (
            soup(w).pickup.name == "Dan" and soup(w).details.store == PICKUP and list(w.amended_deliveries) == [SOUP]
        ),
    ),
    Case(
        "and if the driver never had a position, where they picked them up",
        given=on_its_way(picked_up_at=NOW - minutes(1), position=None),
        command=reassign(DORA, force=True),
        then=[happens(e.DeliveryReassigned, pickup=Place(PICKUP.lat, PICKUP.lon, None, "Dan")), TO_DORA],
        afterwards=lambda w: payload_of(soup(w)).pickup_location.lat == PICKUP.lat,
    ),
    Case(
        "goods that were picked up early need no preparation any more",
        given=picked_up_ready_in(60),
        command=reassign(DORA, force=True),
        then=[happens(e.DeliveryReassigned, forced=True), TO_DORA],
        afterwards=lambda w: soup(w).is_ready_at() == NOW and payload_of(soup(w)).estimated_pickup_time_min < 30,
    ),
    Case(
        "goods that were ready long ago stay so",
        given=picked_up_ready_in(-60),
        command=reassign(force=True),
        then=[happens(e.DeliveryReassigned, forced=True)],
        afterwards=lambda w: soup(w).ready_at == NOW - minutes(60),
    ),
    Case(
        "what comes back can be sent out again from where it is",
        given=returning(),
        command=reassign(force=True),
        then=[happens(e.DeliveryReassigned, forced=True)],
        afterwards=lambda w: soup(w).status == "READY",
    ),
    Case(
        "the driver who had it may be paused with it",
        given=on_its_way(),
        command=reassign(pause_driver=True),
        then=[TAKEN, happens(e.AvailabilityChanged, driver_id=DAN, to="paused", reason="reassigned")],
    ),
    Case(
        "unless they are away anyway",
        given=on_its_way(availability="shift_ended"),
        command=reassign(pause_driver=True),
        then=[TAKEN],
    ),
    Case(
        "of two who click at once the second one sees who was first",
        given=TAKEN_AWAY,
        command=reassign(),
        then="assignment_not_active: reassigned by ada",
    ),
    Case("what is delivered is not reassigned", COMPLETED, reassign(), "assignment_not_active: completed"),
    Case("not to the driver who has it", on_its_way(), reassign(DAN), "driver_not_available: they have it"),
    Case("not to another fleet", on_its_way(), reassign(MAX), "driver_not_available: zone_differs"),
    Case(
        "not to nobody",
        lambda: a_world(*on_its_way()().deliveries.values(), a_driver(), absent=[DORA]),  # type: ignore[arg-type]
        reassign(DORA),
        "not_found",
    ),
    Case("what never was is not found", on_its_way(), c.Reassign(id_of("no"), "x", "o", "a", ADA), "not_found"),
]


@pytest.mark.parametrize("case", [*DRIVING, *ASSIGNING, *REASSIGNING], ids=name_of)
def test_assignments(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("given", "command", "missing"),
    [
        (on_its_way(), PICK_UP, DAN),
        (on_its_way(), COMPLETE, DAN),
        (on_its_way(), reassign(), DAN),
        (on_its_way(), reassign(DORA), DORA),
        (waiting(), assign(), DAN),
        (held_out(DORA), assign(replace_offer=True), DORA),
        (with_another_offer(), assign(direct=True), CAKE),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, c.Command) else "",
)
def test_rows_that_are_not_locked_are_asked_for(given: Callable[[], World], command: Any, missing: str) -> None:
    world = given()
    world.drivers.pop(missing, None)
    world.deliveries.pop(missing, None)
    with pytest.raises(NeedsRows) as needs:
        decide(command, world)
    assert missing in (needs.value.delivery_id, needs.value.driver_id)
