"""Holds: which orders are held, until when, and what moves or ends a hold."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.holds import may_be_held, must_be_offered_at
from server.dispatch.model import Place, Unassigned
from server.dispatch.policy import PlanningPolicy
from server.dispatch.world import World
from tests.builders import (
    ALICE,
    DAN,
    DORA,
    NOW,
    PICKUP,
    SHOP,
    SOUP,
    a_delivery,
    a_driver,
    a_policy,
    a_world,
    an_open_offer,
    id_of,
    minutes,
    seconds,
)
from tests.dispatch.cases import Case, check, happens, name_of

NEW = id_of("new offer")
READY_AT = NOW + minutes(20)
UNTIL = NOW + minutes(12)


def new(**changes: Any) -> Callable[[], World]:
    """An order of this moment whose goods are ready in 20 minutes."""
    row: dict[str, Any] = {"waiting": minutes(0), "prep_seconds": 1200}
    return lambda: a_world(a_delivery(**row | changes), a_driver())


def held(**changes: Any) -> Callable[[], World]:
    """The same 3 minutes later, held for 12 more."""
    row: dict[str, Any] = {
        "waiting": minutes(3),
        "prep_seconds": 1380,
        "unassigned_since": None,
        "held_until": UNTIL,
        "unassigned": Unassigned(SOUP, "held", NOW - minutes(3), NOW - minutes(3)),
    }
    return lambda: a_world(a_delivery(**row | changes), a_driver())


def is_held(world: World) -> bool:
    soup = world.locked_delivery(SOUP)
    return soup.held_until is not None and soup.unassigned_since is None


def waits_from_now(world: World) -> bool:
    soup = world.locked_delivery(SOUP)
    assert soup.unassigned is not None
    return (soup.held_until, soup.unassigned_since, soup.unassigned.escalation_level) == (None, world.now, 0)


def change(**changes: Any) -> c.ChangeDelivery:
    return c.ChangeDelivery(SOUP, 1, NEW, SHOP, **changes)


HOLD = c.HoldDelivery(SOUP, UNTIL)
CASES = [
    Case("a new order is held", new(), HOLD, [happens(e.DeliveryHeld, until=UNTIL, ready_at=READY_AT)], is_held),
    Case("a hold is moved", held(held_until=NOW + minutes(5)), HOLD, [happens(e.DeliveryHeld, until=UNTIL)], is_held),
    Case("the same hold again", held(), HOLD, []),
    Case("not beyond the goods", new(), c.HoldDelivery(SOUP, READY_AT + seconds(1)), "cannot_be_held"),
    Case("not until now", new(), c.HoldDelivery(SOUP, NOW), "cannot_be_held"),
    Case("not without preparation", new(prep_seconds=0), HOLD, "cannot_be_held"),
    Case("a hold ends at its deadline", held(held_until=NOW), c.EndHold(SOUP), [happens(e.HoldEnded, early=False)],
         waits_from_now),
    Case("a hold that is not over", held(), c.EndHold(SOUP), "hold_not_over"),
    Case("a hold ends early", held(), c.EndHold(SOUP, early=True), [happens(e.HoldEnded, early=True)], waits_from_now),
    Case("no hold to end", new(), c.EndHold(SOUP), []),
    Case("an offer ends it", held(), c.OfferDelivery(SOUP, DAN, NEW, PICKUP.lat, PICKUP.lon, early=True),
         [happens(e.HoldEnded, early=True), happens(e.OfferCreated)]),
    Case("ops end it by an assignment", held(), c.AssignDelivery(SOUP, DAN, "quick", True, NEW, NEW, ALICE),
         [happens(e.HoldEnded), happens(e.DeliveryAssigned)]),
    Case("cancelled while held", held(), c.CancelDelivery(SOUP, "changed their mind", SHOP),
         [happens(e.DeliveryCancelled)]),
    Case("it does not escalate", held(), c.Escalate(SOUP, NEW), "delivery_not_waiting"),
    Case("its search does not fail", held(), c.NoteFailedSearch(SOUP, "all_busy"), "delivery_not_waiting"),
    Case("ready now ends it", held(), c.MarkReady(SOUP, NEW, SHOP),
         [happens(e.DeliveryChanged), happens(e.HoldEnded)], waits_from_now),
    Case("a delay moves it", held(), c.DelayDelivery(SOUP, 10, NEW, SHOP),
         [happens(e.DeliveryChanged),
          happens(e.DeliveryHeld, until=UNTIL + minutes(10), ready_at=READY_AT + minutes(10))],
         is_held),
    Case("less preparation moves it", held(), change(prep_seconds=1320),
         [happens(e.DeliveryChanged), happens(e.DeliveryHeld, until=UNTIL - minutes(1))], is_held),
    Case("much less preparation ends it", held(), change(prep_seconds=1380 - 780),
         [happens(e.DeliveryChanged), happens(e.HoldEnded)]),
    Case("no preparation ends it", held(), change(prep_seconds=0), [happens(e.DeliveryChanged), happens(e.HoldEnded)]),
    Case("goods that were ready in the year 1 end it", held(),
         change(dispatch_at=datetime(1, 1, 1, tzinfo=UTC), prep_seconds=60),
         [happens(e.DeliveryChanged), happens(e.HoldEnded)]),
    Case("another store leaves it", held(), change(pickup=Place(52.54, 13.43)), [happens(e.DeliveryChanged)], is_held),
    Case("an address to check ends it", held(), change(dropoff=Place(48.14, 11.58)),
         [happens(e.DeliveryChanged), happens(e.HoldEnded), happens(e.DeliveryAtRisk)]),
    Case("a note leaves it", held(), change(notes="ring twice"), [happens(e.DeliveryChanged)], is_held),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_hold(case: Case) -> None:
    check(case)


def test_no_hold_before_every_node_knows_it() -> None:
    def given() -> World:
        world = new()()
        return World(world.now, world.policy, world.deliveries, world.drivers, states_version=0)

    check(Case("an older node lives", given, HOLD, "not_yet_supported"))


def test_an_order_is_held_whenever_its_wait_began_until_it_is_offered_or_escalates() -> None:
    policy = a_policy()
    order: dict[str, Any] = {"waiting": minutes(0), "prep_seconds": 1200}
    assert may_be_held(a_delivery(**order), NOW, policy)
    assert may_be_held(a_delivery(**order), NOW + minutes(19), policy)
    assert not may_be_held(a_delivery(**order), NOW + minutes(20), policy)
    again = order | {"created_at": NOW - minutes(9), "ready_at": NOW + minutes(11)}
    assert may_be_held(a_delivery(**again), NOW, policy)
    escalated = a_delivery(**order, unassigned=Unassigned(SOUP, "all_busy", NOW, NOW, escalation_level=1))
    assert not may_be_held(escalated, NOW, policy)
    assert may_be_held(a_delivery(**order, unassigned=None), NOW, policy)
    assert not may_be_held(a_delivery(**order | {"unassigned_since": None}), NOW, policy)
    assert not may_be_held(a_delivery(**order), NOW, a_policy(planning=PlanningPolicy(hold=False)))
    assert not may_be_held(a_delivery(**order | {"status": "CANCELLED"}), NOW, policy)
    assert not may_be_held(a_delivery(**order | {"ready_at": NOW}), NOW, policy)
    asked = a_delivery(**order)
    an_open_offer(asked, a_driver("Dora", id=DORA))
    assert not may_be_held(asked, NOW, policy)
    asked.current_offer_id = None
    assert not may_be_held(asked, NOW, policy)


def test_it_is_offered_when_the_driver_must_leave_with_some_slack() -> None:
    policy = a_policy(average_speed_kmh=30.0, detour_factor=1.5, planning=PlanningPolicy(hold_slack_minutes=3))
    order = a_delivery(waiting=minutes(0), prep_seconds=1200)
    assert must_be_offered_at(order, 2.0, policy) == READY_AT - minutes(6) - minutes(3)
