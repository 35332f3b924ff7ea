"""The world: only events change it, through the tables; what is changed is marked for saving; versions rise."""

from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.effects import EFFECTS
from server.dispatch.model import OVER, SYSTEM, Offer
from server.dispatch.policy import EscalationLevel, Policy, contradictions
from server.dispatch.refusals import VERSION_CHANGED
from server.dispatch.transitions import ASSIGNMENT, AVAILABILITY, BEGINS, DELIVERY, OFFER
from server.dispatch.world import NeedsRows, NotThere, World
from tests.builders import (
    ADA,
    CAKE,
    DAN,
    NOW,
    SHOP,
    SOUP,
    a_closed_offer,
    a_delivery,
    a_driver,
    a_payload,
    a_policy,
    a_world,
    an_assignment,
    an_open_offer,
    by,
    id_of,
    minutes,
)


def cancelled(delivery_id: str, **fields: Any) -> e.DeliveryCancelled:
    return e.DeliveryCancelled(at=NOW, actor=SHOP, delivery_id=delivery_id, reason="sold out", **fields)


def happen(world: World, command: c.Command) -> Decided:
    decided = decide(command, world)
    assert isinstance(decided, Decided)
    for event in decided.events:
        apply(world, event)
    return decided


def test_every_event_has_an_effect() -> None:
    assert set(EFFECTS) == set(e.KINDS)


def test_every_event_has_a_name_of_its_own() -> None:
    assert len({kind.type for kind in e.KINDS}) == len(e.KINDS)


def test_every_table_speaks_of_known_events() -> None:
    assert {*DELIVERY, *OFFER, *ASSIGNMENT, *BEGINS} <= set(EFFECTS)


def test_a_finished_delivery_stays_finished_unless_a_person_restores_it() -> None:
    for event, table in DELIVERY.items():
        back = {e.DeliveryRestored: {"CANCELLED"}, e.DeliveryRetried: {"FAILED", "RETURNED"}}.get(event, set())
        assert OVER & set(table) == back


@pytest.mark.parametrize(
    ("table", "status"),
    [(OFFER, status) for status in ("ACCEPTED", "REJECTED", "EXPIRED", "WITHDRAWN")]
    + [(ASSIGNMENT, status) for status in ("COMPLETED", "REASSIGNED", "CANCELLED", "RELEASED", "FAILED", "RETURNED")],
)
def test_a_closed_offer_or_assignment_stays_closed(table: Any, status: str) -> None:
    assert not any(status in turns for turns in table.values())


def test_a_transition_that_no_table_allows_raises() -> None:
    world = a_world(a_delivery(status="DELIVERED"))
    with pytest.raises(AssertionError, match="no transition from DELIVERED by DeliveryCancelled"):
        apply(world, cancelled(SOUP))


def test_an_availability_that_does_not_follow_raises() -> None:
    world = a_world(a_driver())
    wrong = e.AvailabilityChanged(at=NOW, actor=SYSTEM, driver_id=DAN, from_="paused", to="offline", reason="x")
    with pytest.raises(AssertionError, match="no transition from available"):
        apply(world, wrong)
    nowhere = e.AvailabilityChanged(at=NOW, actor=SYSTEM, driver_id=DAN, from_="available", to="available", reason="x")
    with pytest.raises(AssertionError, match="no transition from available"):
        apply(world, nowhere)


def test_from_anywhere_to_anywhere_by_an_admin() -> None:
    for from_, ways in AVAILABILITY.items():
        assert ways | {from_} == set(AVAILABILITY)


def test_an_event_tells_how_its_row_began_whatever_becomes_of_it() -> None:
    world = a_world(a_delivery(), a_driver())
    offered = happen(world, c.OfferDelivery(SOUP, DAN, id_of("offer"), 52.52, 13.4)).events[0]
    happen(world, c.RejectOffer(id_of("offer"), DAN, by(DAN)))
    assert isinstance(offered, e.OfferCreated)
    assert offered.offer.status == "PENDING"
    assert world.locked_delivery(SOUP).offers[id_of("offer")].status == "REJECTED"


def test_a_version_rises_with_what_is_saved_but_not_before_anybody_saw_it() -> None:
    world = a_world(a_delivery(), a_driver())
    happen(world, c.OfferDelivery(SOUP, DAN, id_of("offer"), 52.52, 13.4))
    assert world.locked_delivery(SOUP).version == 2
    happen(world, c.AcceptOffer(id_of("offer"), DAN, id_of("assignment"), by(DAN)))
    happen(world, c.PickUp(id_of("assignment"), DAN, by(DAN)))
    assert world.locked_delivery(SOUP).version > 2
    assert world.new_assignments[id_of("assignment")].version == 1
    assert list(world.new_offers) == [id_of("offer")]
    assert not world.changed_offers
    assert not world.changed_assignments


def test_what_was_loaded_is_marked_as_changed() -> None:
    soup, dan = a_delivery(), a_driver()
    offer = an_open_offer(soup, dan)
    world = a_world(soup, dan)
    happen(world, c.AcceptOffer(offer.id, DAN, id_of("assignment"), by(DAN)))
    assert list(world.changed_deliveries) == list(world.changed_waits) == [SOUP]
    assert list(world.changed_offers) == [offer.id]
    assert list(world.changed_drivers) == [DAN]
    assert list(world.new_assignments) == [id_of("assignment")]
    assert not world.new_deliveries
    assert not world.new_drivers


def test_the_messages_of_a_driver_are_numbered_and_the_last_number_is_saved() -> None:
    world = a_world(a_driver(stream_seq=7))
    assert [world.next_message_number(DAN), world.next_message_number(DAN)] == [8, 9]
    assert world.changed_drivers[DAN].stream_seq == 9


def test_a_wait_begun_and_begun_again_in_one_batch_is_new_still() -> None:
    """Scheduled, assigned by hand and taken away again, all at once: there is no row to update yet."""
    soup, dan = a_delivery(status="SCHEDULED"), a_driver()
    world = a_world(soup, dan)
    happen(world, c.AssignDelivery(SOUP, DAN, "near", True, id_of("offer"), id_of("assignment"), ADA))
    happen(world, c.Reassign(id_of("assignment"), "mistake", id_of("o"), id_of("a"), ADA))
    assert list(world.new_waits) == [SOUP]
    assert world.new_waits[SOUP] is world.locked_delivery(SOUP).unassigned
    assert not world.changed_waits


def test_a_driver_made_and_seen_in_one_batch_is_new_still() -> None:
    world = a_world()
    happen(world, c.RegisterDriver(DAN, "Dan", "default", 1, SHOP))
    happen(world, c.SeeDriver(DAN, by(DAN)))
    assert world.new_drivers[DAN].availability == "available"
    assert not world.changed_drivers


def test_rows_that_are_not_locked_are_never_guessed_at() -> None:
    world = a_world(absent=[SOUP])
    with pytest.raises(NotThere):
        world.delivery(SOUP)
    with pytest.raises(NeedsRows) as needs:
        world.delivery(CAKE)
    assert (needs.value.delivery_id, needs.value.driver_id) == (CAKE, None)
    with pytest.raises(NeedsRows) as needs:
        world.driver(DAN)
    assert (needs.value.delivery_id, needs.value.driver_id) == (None, DAN)


def test_a_row_may_not_name_a_driver_who_does_not_exist() -> None:
    with pytest.raises(AssertionError, match="does not exist"):
        a_world(absent=[DAN]).known_driver(DAN)


def test_a_new_row_begins_at_the_beginning() -> None:
    soup = a_delivery()
    closed = Offer(id_of("offer"), SOUP, DAN, "EXPIRED", 1, a_payload(soup), NOW, NOW)
    world = a_world(soup, a_driver())
    with pytest.raises(AssertionError):
        world.add_offer(closed)


def test_an_assignment_id_is_no_offer_id_and_the_other_way_round() -> None:
    soup, dan = a_delivery(), a_driver()
    offer = a_closed_offer(soup, dan, "ACCEPTED", age=minutes(1))
    assignment = an_assignment(soup, dan, offer=offer)
    world = a_world(soup, dan)
    assert world.offer(offer.id) == (soup, offer)
    assert world.assignment(assignment.id) == (soup, assignment)
    for other in (assignment.id, id_of("nothing")):
        with pytest.raises(NotThere):
            world.offer(other)
    for other in (offer.id, id_of("nothing")):
        with pytest.raises(NotThere):
            world.assignment(other)


def test_a_delivery_shows_the_assignment_that_counts() -> None:
    soup, dan, dora = a_delivery(), a_driver(), a_driver("Dora")
    assert soup.assignment() is None
    an_assignment(soup, dan, status="REASSIGNED", ended_at=NOW)
    assert soup.assignment() is None
    assert soup.active_assignment() is None
    current = an_assignment(soup, dora)
    assert soup.assignment() is current
    assert soup.active_assignment() is current
    current.status = "COMPLETED"
    assert soup.assignment() is current
    assert soup.active_assignment() is None


def test_a_policy_is_changed_from_the_version_in_force() -> None:
    world = a_world(policy=a_policy(version=4))
    decided = happen(world, c.ChangePolicy(a_policy(version=4, offer_timeout_seconds=20), ADA, "rain"))
    assert decided.events[0].data() == {"version": 5, "reason": "rain"}
    assert (world.policy.version, world.policy.offer_timeout_seconds) == (5, 20)
    assert world.new_policy is decided.events[0]
    assert decide(c.ChangePolicy(a_policy(version=4), ADA), world) == VERSION_CHANGED


def test_a_running_offer_keeps_its_deadline_when_the_policy_changes() -> None:
    world = a_world(a_delivery(), a_driver())
    happen(world, c.OfferDelivery(SOUP, DAN, id_of("offer"), 52.52, 13.4))
    happen(world, c.ChangePolicy(a_policy(offer_timeout_seconds=5), ADA))
    assert (world.locked_delivery(SOUP).offers[id_of("offer")].expires_at - NOW).total_seconds() == 30


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, []),
        ({"search_radius_km": 11}, ["wideSearchRadiusKm"]),
        ({"currency": "XYZ"}, ["currency"]),
        ({"search_radius_km": 10}, []),
        (
            {"escalation": (EscalationLevel(1, 300, ()), EscalationLevel(1, 300, ()))},
            ["escalation[1].level", "escalation[1].afterSeconds"],
        ),
        ({"escalation": (EscalationLevel(1, 300, ()), EscalationLevel(2, 200, ()))}, ["escalation[1].afterSeconds"]),
        ({"escalation": ()}, []),
    ],
)
def test_a_policy_may_not_contradict_itself(changes: dict[str, Any], fields: list[str]) -> None:
    assert [field for field, _ in contradictions(Policy(**changes))] == fields
