"""The plan: who gets what, what is held, why the rest waits, and what is true of every plan."""

import copy
import math
import random
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from msgspec.structs import replace

from server.dispatch import commands as c
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.model import Delivery, Driver
from server.dispatch.offers import unfit
from server.dispatch.planning.fleet import EXPECTED_SECONDS, MOST, STORES, Fleet, RecentOrders
from server.dispatch.planning.next_orders import ORDERS_AN_HOUR, NextOrders
from server.dispatch.planning.plan import NO_PLAN, PLANNED, Plan, plan
from server.dispatch.policy import Policy
from server.dispatch.runs import Where
from server.dispatch.search_reasons import HELD
from server.dispatch.world import World
from server.dispatch.zones import Zone, Zones
from tests.builders import NOW, a_closed_offer, an_open_offer, id_of, minutes
from tests.dispatch.planning import AT, TRAVEL, a_fleet, driver_at, given, order_at, spot, street_policy

DAN, DORA, MAX = id_of("Dan"), id_of("Dora"), id_of("Max")
SOUP, CAKE, TEA = id_of("soup"), id_of("cake"), id_of("tea")


def planned(fleet: Fleet, before: Plan = NO_PLAN, zone: str | None = None, **planning: Any) -> Plan:
    return plan(fleet, NOW, TRAVEL, street_policy(**planning), before, zone)


def pairs(found: Plan) -> dict[str, str]:
    return {proposal.delivery_id: proposal.driver_id for proposal in found.proposals}


def test_nobody_waits_and_nobody_drives() -> None:
    assert planned(Fleet()) == NO_PLAN


def test_an_order_gets_the_driver_who_is_there_first() -> None:
    found = planned(a_fleet([driver_at("Dan", 5), driver_at("Dora", 3)], [order_at("soup", 0, 9)]))
    assert pairs(found) == {SOUP: DORA}
    (proposal,) = found.proposals
    assert (proposal.lat, proposal.lon) == spot(3)
    assert found.reasons == {}
    assert found.runs == {DORA: ((SOUP, False), (SOUP, True))}


def test_all_together_wait_as_little_as_possible() -> None:
    drivers = [driver_at("Dan", 1), driver_at("Dora", -3)]
    assert pairs(planned(a_fleet(drivers, [order_at("soup", 0, 9), order_at("cake", 2.5, 9)]))) == {
        SOUP: DORA,
        CAKE: DAN,
    }


@pytest.mark.parametrize(("leaves", "stays"), [("Dan", "Dora"), ("Dora", "Dan")])
def test_of_two_drivers_the_one_whose_shift_ends_first_is_used(leaves: str, stays: str) -> None:
    drivers = [driver_at(leaves, 5, shift_ends_at=NOW + minutes(60)), driver_at(stays, -5)]
    assert pairs(planned(a_fleet(drivers, [order_at("soup", 0, 9)]))) == {SOUP: id_of(leaves)}


def orders_before(fleet: Fleet, store: float, count: int) -> None:
    """The store at this kilometre had so many orders a moment ago, which are done."""
    for number in range(count):
        name = f"order {number} at {store}"
        fleet.put_delivery(order_at(name, store, 9))
        fleet.put_delivery(order_at(name, store, 9, status="DELIVERED"))


@pytest.mark.parametrize(("busy_at", "leaves"), [(3, DORA), (-3, DAN)])
def test_of_two_drivers_the_one_who_is_near_the_next_orders_stays(busy_at: float, leaves: str) -> None:
    fleet = a_fleet([driver_at("Dan", 1), driver_at("Dora", -1.01)], [])
    orders_before(fleet, busy_at, 6)
    fleet.put_delivery(order_at("soup", 0, 9))
    assert pairs(planned(fleet)) == {SOUP: leaves}


@pytest.mark.parametrize(("shift", "leaves"), [(None, DORA), (20, DORA), (9, DAN)])
def test_who_goes_home_soon_is_not_kept_for_the_next_orders(shift: int | None, leaves: str) -> None:
    off = None if shift is None else NOW + minutes(shift)
    fleet = a_fleet([driver_at("Dan", 1, shift_ends_at=off), driver_at("Dora", -1.01, shift_ends_at=off)], [])
    orders_before(fleet, 3, 6)
    fleet.put_delivery(order_at("soup", 0, 9))
    assert pairs(planned(fleet)) == {SOUP: leaves}


def test_the_next_order_is_as_far_as_the_nearest_stores_by_their_pace() -> None:
    stores, rates = np.array([spot(2), spot(5), spot(30)]), np.array([2.0, 3.0, 45.0]) * ORDERS_AN_HOUR / 6 / 3600
    ways = NextOrders(stores, rates, TRAVEL).ways(np.array([spot(1), spot(5), spot(1)]))
    from_1, from_5 = 2 * 1 + 3 * 4 + 1 * 29, 3 * 0 + 2 * 3 + 1 * 25
    assert ways.tolist() == pytest.approx([from_1 * 10, from_5 * 10, from_1 * 10])
    few = NextOrders(stores, rates / 50, TRAVEL).ways(np.array([spot(3)]))
    assert few.tolist() == pytest.approx([(2 * 1 + 3 * 2 + 45 * 27) / 50 * 60])
    assert NextOrders(stores, rates * 0, TRAVEL).ways(np.array([spot(1)])).tolist() == [0.0]


def test_the_pace_of_a_store_fades_and_is_forgotten() -> None:
    fleet = Fleet()
    early, late = order_at("soup", 1, 9, ready=20), order_at("cake", 2, 9, ready=20)
    late.created_at = NOW + timedelta(hours=5)
    for _ in range(2):
        fleet.put_delivery(early)
    stores, rates = fleet.recent.pace(AT + 3600)
    assert stores.tolist() == [list(spot(1))]
    assert rates.tolist() == [pytest.approx(1 / 3600 / math.e)]
    fleet.put_delivery(late)
    assert fleet.recent.pace(AT)[0].tolist() == [list(spot(2))]


def test_the_orders_of_the_last_minutes_are_expected_again() -> None:
    fleet = Fleet()
    for name, store, ready, zone in (("tea", 1, 5, "default"), ("cake", 2, 12, "default"), ("soup", 3, 15, "north")):
        fleet.put_delivery(order_at(name, store, 9, ready=ready, zone=zone))
    stores, ready_at = fleet.recent.expected(AT)
    assert stores.tolist() == [list(spot(2)), list(spot(3))]
    assert ready_at.tolist() == [AT + 22 * 60, AT + 25 * 60]
    assert fleet.recent.expected(AT, "north")[0].tolist() == [list(spot(3))]
    assert fleet.recent.expected(AT + 299)[0].tolist() == [list(spot(3))]
    assert fleet.recent.expected(AT + 300)[1].tolist() == []


def test_nothing_is_expected_where_very_many_orders_come() -> None:
    fleet = Fleet()
    assert not fleet.recent.says(AT)
    for number in range(MOST + 1):
        assert fleet.recent.says(AT) == (number > 0)
        fleet.put_delivery(order_at(f"order {number}", number, 9, ready=15))
    assert not fleet.recent.says(AT)
    assert fleet.recent.expected(AT)[1].tolist() == fleet.recent.pace(AT)[1].tolist() == []
    later = AT + EXPECTED_SECONDS
    copied = RecentOrders(fleet.recent)
    assert copied.pace(later)[0].tolist() == fleet.recent.pace(later)[0].tolist()
    assert len(fleet.recent.pace(later)[1]) == MOST + 1
    for number in range(MOST + 1, STORES + 5):
        fleet.put_delivery(order_at(f"order {number}", number, 9, ready=15))
    assert len(fleet.recent.pace(later)[1]) == STORES, "memory is bounded"


@pytest.mark.parametrize(
    ("zone", "off", "leaves"),
    [("default", None, DORA), ("north", None, DAN), ("default", NOW + minutes(3.5), DAN)],
)
def test_a_driver_is_kept_for_an_order_that_is_expected_if_that_costs_little(zone: str, off: Any, leaves: str) -> None:
    fleet = a_fleet([driver_at("Dan", 1, shift_ends_at=off), driver_at("Dora", -1.6)], [order_at("soup", 0, 2)])
    assert pairs(planned(copy.deepcopy(fleet))) == {SOUP: DAN}
    fleet.put_delivery(order_at("tea", 3, 9, ready=12, prep_seconds=0, zone=zone, status="CREATED"))
    assert pairs(planned(fleet, zone="default")) == {SOUP: leaves}


def test_who_has_nothing_gets_no_offer_out_of_reach_though_another_order_leads_there() -> None:
    tea = order_at("tea", 2.9, -3, ready=20)
    fleet = a_fleet([driver_at("Dan", 0)], [tea, order_at("soup", -3.1, 0)])
    found = planned(fleet, hold=False, changes={"search_radius_km": 3.0})
    assert pairs(found) == {TEA: DAN}
    assert found.reasons.keys() == {SOUP}


def test_an_order_is_held_until_its_driver_must_leave() -> None:
    fleet = a_fleet([driver_at("Dan", 5)], [order_at("soup", 0, 9, ready=10)])
    found = planned(fleet, hold_slack_minutes=1)
    assert (found.proposals, found.reasons) == ([], {SOUP: HELD})
    leaves = AT + (10 - 5 - 2) * 60
    assert found.held == {SOUP: pytest.approx(leaves - 60)}
    later = plan(fleet, NOW + minutes(2), TRAVEL, street_policy(hold_slack_minutes=1))
    assert pairs(later) == {SOUP: DAN}


@pytest.mark.parametrize(("dora_at", "planned_for"), [(1.001, DORA), (1.01, DAN)])
def test_a_planned_driver_stays_unless_another_one_is_clearly_better(dora_at: float, planned_for: str) -> None:
    """A kilometre takes a minute: Dan is 0.06 s or 0.6 s nearer, and Dora was planned before."""
    fleet = a_fleet([driver_at("Dan", 1), driver_at("Dora", dora_at)], [order_at("soup", 0, 9)])
    assert pairs(planned(fleet)) == {SOUP: DAN}
    before = replace(NO_PLAN, runs={DORA: ((SOUP, False), (SOUP, True))})
    assert pairs(planned(fleet, before)) == {SOUP: planned_for}


def test_nothing_is_held_without_preparation_or_if_the_policy_says_so() -> None:
    dan = driver_at("Dan", 5)
    assert pairs(planned(a_fleet([dan], [order_at("soup", 0, 9, ready=10, prep_seconds=0)]))) == {SOUP: DAN}
    assert pairs(planned(a_fleet([dan], [order_at("soup", 0, 9, ready=10)]), hold=False)) == {SOUP: DAN}


def test_what_is_held_by_a_commit_is_not_proposed() -> None:
    found = planned(a_fleet([driver_at("Dan", 5)], [order_at("soup", 0, 9, held_until=NOW)]))
    assert (found.proposals, found.reasons, list(found.held)) == ([], {SOUP: HELD}, [SOUP])


def test_an_order_may_wait_for_a_driver_who_is_nearly_free() -> None:
    dan, dora = driver_at("Dan", 0), driver_at("Dora", 30)
    busy = given(order_at("cake", -1, 1), dan, picked_up=5)
    found = planned(a_fleet([dan, dora], [busy, order_at("soup", 2, 9)]))
    assert (found.proposals, found.reasons, list(found.held)) == ([], {SOUP: PLANNED}, [SOUP])
    assert found.runs[DAN] == ((CAKE, True), (SOUP, False), (SOUP, True))


def test_without_preparation_an_order_goes_to_a_driver_who_can_take_it_now() -> None:
    dan, dora = driver_at("Dan", 0), driver_at("Dora", 14)
    busy = given(order_at("cake", -1, 1), dan, picked_up=5)
    assert pairs(planned(a_fleet([dan, dora], [busy, order_at("soup", 2, 9, prep_seconds=0)]))) == {SOUP: DORA}


def test_a_driver_with_room_gets_an_add_on() -> None:
    dan, dora = driver_at("Dan", 0, capacity=2), driver_at("Dora", 30)
    busy = given(order_at("cake", -1, 10), dan, picked_up=5)
    found = planned(a_fleet([dan, dora], [busy, order_at("soup", 2, 4)]))
    assert pairs(found) == {SOUP: DAN}
    assert found.runs[DAN] == ((SOUP, False), (SOUP, True), (CAKE, True))


def test_a_driver_has_one_offer_at_a_time() -> None:
    orders = [order_at("soup", 0, 9), order_at("cake", 0, 9)]
    dan = driver_at("Dan", 1, capacity=3)
    found = planned(a_fleet([dan], orders))
    assert len(found.proposals) == 1
    assert list(found.reasons.values()) == [PLANNED]
    an_open_offer(orders[0], dan)
    found = planned(a_fleet([dan], orders))
    assert (found.proposals, found.reasons) == ([], {CAKE: PLANNED})


@pytest.mark.parametrize(("shift", "first"), [(60, TEA), (40, SOUP), (None, TEA)])
def test_what_nobody_could_pick_up_a_little_later_comes_first(shift: int | None, first: str) -> None:
    """Dan has time for one of both. The tea is nearer, and would be handed over where nothing else is in reach."""
    off = None if shift is None else NOW + minutes(shift)
    dan = driver_at("Dan", 0, shift_ends_at=off)
    found = planned(a_fleet([dan], [order_at("soup", 10, 30), order_at("tea", 1, -20)]))
    assert pairs(found) == {first: DAN}


def test_stops_keep_the_order_of_the_plan_before() -> None:
    dan = driver_at("Dan", 0, capacity=2)
    orders = [given(order_at("soup", -1, 5), dan, picked_up=5), given(order_at("cake", -1, 6), dan, picked_up=5)]
    fleet = a_fleet([dan], orders)
    assert planned(fleet).runs[DAN] == ((SOUP, True), (CAKE, True))
    before = Plan([], {}, {}, {DAN: ((SOUP, False), (CAKE, True), (TEA, True), (SOUP, True))})
    assert planned(fleet, before).runs[DAN] == ((CAKE, True), (SOUP, True))


def test_whoever_is_on_the_way_goes_there_first() -> None:
    dan = driver_at("Dan", 0, capacity=2)
    orders = [given(order_at("soup", -1, 5), dan, picked_up=5), given(order_at("cake", 8, 9), dan)]
    fleet = a_fleet([dan], orders, {DAN: Where(spot(8), AT + 60, bound=True)})
    assert planned(fleet).runs[DAN][0] == (CAKE, False)
    before = Plan([], {}, {}, {DAN: ((SOUP, True), (CAKE, False), (CAKE, True))})
    assert planned(fleet, before).runs[DAN] == ((CAKE, False), (SOUP, True), (CAKE, True))


def without_memo(found: Plan) -> Plan:
    return replace(found, memo={})


def test_the_plan_before_changes_nothing_if_nothing_happened() -> None:
    drivers = [driver_at("Dan", 0, capacity=2), driver_at("Dora", 7, capacity=2)]
    orders = [given(order_at("tea", -1, 10), drivers[0], picked_up=5), order_at("soup", 0, 9), order_at("cake", 1, 9)]
    fleet = a_fleet(drivers, orders)
    first = planned(fleet)
    again = planned(fleet, first)
    assert first.memo
    assert (again.proposals, again.reasons, again.runs) == (first.proposals, first.reasons, first.runs)


def test_a_run_is_remembered_until_something_in_it_changes() -> None:
    dan = driver_at("Dan", 0, capacity=2)
    tea = given(order_at("tea", -1, 10), dan, picked_up=5)
    fleet = a_fleet([dan], [tea, order_at("soup", 2, 9, ready=40)], {DAN: Where(spot(9), AT + 60, bound=True)})
    first = planned(fleet)

    def remembers(found: Plan) -> bool:
        return found.memo[DAN].run is first.memo[DAN].run

    def at(seconds: float, policy: Policy = street_policy()) -> Plan:  # noqa: B008
        return plan(fleet, NOW + timedelta(seconds=seconds), TRAVEL, policy, first)

    assert first.runs[DAN] == ((TEA, True), (SOUP, False), (SOUP, True))
    assert remembers(at(0))
    assert remembers(at(60))
    assert at(60).runs == first.runs
    assert not remembers(at(61)), "they could have done something since"
    assert not remembers(at(60, street_policy(max_extra_minutes=1)))
    for where in (Where(spot(9), AT + 50, bound=True), Where(spot(9), AT + 60, at_store=True)):
        fleet.put_place(DAN, where)
        assert not remembers(at(0))
    fleet.put_place(DAN, Where(spot(9), AT + 60, bound=True))
    fleet.put_driver(replace(dan, capacity=3))
    assert not remembers(at(0))
    fleet.put_driver(dan)
    assert remembers(at(0))
    fleet.put_delivery(tea)
    assert not remembers(at(0)), "the delivery may have changed"


REASONS: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("no_driver_in_zone", {}, {"zone": "airport"}, {}),
    ("no_driver_in_zone", {"availability": "paused"}, {}, {}),
    ("no_driver_in_radius", {"km": 60}, {}, {}),
    ("requirements_not_met", {}, {"requirements": ("bike",)}, {}),
    ("shifts_end_too_soon", {"shift_ends_at": NOW + minutes(1)}, {}, {}),
    ("trip_too_long", {}, {"too_long": True}, {}),
]


@pytest.mark.parametrize(("reason", "of_driver", "of_order", "planning"), REASONS)
def test_why_an_order_is_in_no_run(reason: str, of_driver: Any, of_order: Any, planning: Any) -> None:
    of_driver, of_order = dict(of_driver), dict(of_order)
    dan = driver_at("Dan", of_driver.pop("km", 1), **of_driver)
    too_long = of_order.pop("too_long", False)
    soup = order_at("soup", 0, 9, **of_order)
    if too_long:
        soup.details = soup.details.__class__(warnings=("trip_too_long",))
    assert planned(a_fleet([dan], [soup]), **planning).reasons == {SOUP: reason}


def test_who_said_no_is_not_asked_again() -> None:
    dan, soup = driver_at("Dan", 1), order_at("soup", 0, 9)
    a_closed_offer(soup, dan, "REJECTED", age=minutes(1))
    a_closed_offer(soup, driver_at("Max", 1), "REJECTED", age=minutes(1))
    assert planned(a_fleet([dan], [soup])).reasons == {SOUP: "all_excluded"}


def test_who_was_lost_for_an_order_gets_another_one() -> None:
    fleet = a_fleet([driver_at("Dan", 1), driver_at("Dora", 9)], [order_at("soup", 0, 9), order_at("cake", 0, 9)])
    found = plan(fleet, NOW, TRAVEL, street_policy(), lost={SOUP: [DAN]})
    assert pairs(found) == {SOUP: DORA, CAKE: DAN}


def test_who_did_not_answer_long_ago_is_asked_again() -> None:
    dan, soup = driver_at("Dan", 1), order_at("soup", 0, 9)
    a_closed_offer(soup, dan, "EXPIRED", age=minutes(10))
    assert pairs(planned(a_fleet([dan], [soup]))) == {SOUP: DAN}


def test_what_the_rules_would_refuse_is_planned_for_somebody_else() -> None:
    """Dan could turn round for the soup, and be there in time. The rules expect that he delivers first."""
    dan = driver_at("Dan", 0, capacity=2, shift_ends_at=NOW + minutes(10))
    tea = given(order_at("tea", -5, 9), dan, picked_up=1)
    dora, soup = driver_at("Dora", 30), order_at("soup", -1, 9)
    assert unfit(soup, dan, NOW, street_policy()) is None
    assert pairs(planned(a_fleet([dan, dora], [tea, soup]), hold=False)) == {SOUP: DORA}
    assert planned(a_fleet([dan], [tea, soup]), hold=False).reasons == {SOUP: "shifts_end_too_soon"}


def test_a_driver_without_a_known_place_is_left_out() -> None:
    fleet = a_fleet([driver_at("Dan", 1)], [order_at("soup", 0, 9)])
    fleet.places.clear()
    assert planned(fleet).reasons == {SOUP: "no_driver_in_radius"}


def test_a_long_run_gets_no_more_and_the_rest_is_busy() -> None:
    dan = driver_at("Dan", 1)
    orders = [order_at(f"order {number}", 0, 9) for number in range(8)]
    found = planned(a_fleet([dan], orders))
    assert len(found.runs[DAN]) == 10
    assert sorted(found.reasons.values()) == ["all_busy"] * 3 + [PLANNED] * 4


def test_a_zone_is_planned_alone_and_with_those_who_help() -> None:
    zones = Zones([Zone("default", "Town", None, ("airport",)), Zone("airport", "Airport", None, ())])
    max_, soup = driver_at("Max", 1, zone="airport"), order_at("soup", 0, 9)
    elsewhere = order_at("cake", 0, 9, zone="airport")
    fleet = a_fleet([max_], [soup, elsewhere], zones=zones)
    assert planned(fleet, zone="default").reasons == {SOUP: "no_driver_in_zone"}
    soup.widened_at = NOW - minutes(1)
    assert pairs(planned(fleet, zone="default")) == {SOUP: MAX}
    assert pairs(planned(fleet, zone="airport")) == {CAKE: MAX}
    assert planned(fleet, zone="harbour") == NO_PLAN


def test_the_oldest_overdue_orders_come_before_all_others() -> None:
    """Dan's way to the far ones is long, and a new order is next to him."""
    orders = [
        order_at("soup", 40, 41, ready=-31), order_at("cake", 40, 41, ready=-32), order_at("tea", 0, 1),
    ]  # fmt: skip
    assert pairs(planned(a_fleet([driver_at("Dan", 0)], orders))) == {CAKE: DAN}
    both = a_fleet([driver_at("Dan", 0), driver_at("Dora", 1)], orders)
    assert set(pairs(planned(both))) == {CAKE, SOUP}
    assert planned(a_fleet([], orders)).reasons == dict.fromkeys([SOUP, CAKE, TEA], "no_driver_in_zone")


def test_an_order_for_a_time_of_years_ago_gets_a_driver_as_any_other() -> None:
    """Programs send 1970, or the year 1, for now."""
    for ago in (AT / 60, 1_000_000_000):
        order = order_at("soup", 2, 3, ready=-ago)
        assert pairs(planned(a_fleet([driver_at("Dan", 0)], [order]))) == {SOUP: DAN}


# Whatever the picture is

PLACES = st.integers(-8, 8)
DRIVERS = st.lists(
    st.fixed_dictionaries(
        {
            "km": PLACES,
            "capacity": st.integers(1, 3),
            "availability": st.sampled_from(["available"] * 6 + ["paused", "offline"]),
            "zone": st.sampled_from(["default"] * 5 + ["airport"]),
            "tags": st.sampled_from([(), ("bike",)]),
            "shift_ends_at": st.sampled_from([None, None, NOW + minutes(5), NOW + minutes(30), NOW]),
            "session_id": st.sampled_from(["session"] * 6 + [None]),
            "stale": st.sampled_from([False] * 6 + [True]),
        }
    ),
    max_size=5,
)
ORDERS = st.lists(
    st.fixed_dictionaries(
        {
            "pickup": PLACES,
            "dropoff": PLACES,
            "ready": st.integers(-40, 20),
            "zone": st.sampled_from(["default"] * 5 + ["airport"]),
            "requirements": st.sampled_from([()] * 4 + [("bike",)]),
            "prep_seconds": st.sampled_from([0, 1200]),
            "held_until": st.sampled_from([None] * 6 + [NOW + minutes(1)]),
            "widened_at": st.sampled_from([None, None, NOW - minutes(1)]),
            "state": st.sampled_from(["waits"] * 6 + ["offered", "rejected", "taken", "picked up"]),
            "whose": st.integers(0, 4),
        }
    ),
    max_size=7,
)
ZONES = Zones([Zone("default", "Town", None, ("airport",))])


def picture(of_drivers: list[dict[str, Any]], of_orders: list[dict[str, Any]]) -> tuple[list[Driver], list[Delivery]]:
    """Rows that could be in the database."""
    drivers = []
    for number, fields in enumerate(of_drivers):
        row = dict(fields)
        km, stale = row.pop("km"), row.pop("stale")
        driver = driver_at(f"driver {number}", km, **row)
        if stale and driver.position is not None:
            driver.position = driver.position.__class__(driver.position.lat, driver.position.lon, NOW - timedelta(1))
        drivers.append(driver)
    orders = []
    for number, fields in enumerate(of_orders):
        row = dict(fields)
        state, whose = row.pop("state"), row.pop("whose")
        if state != "waits":
            row["held_until"] = None
        order = order_at(f"order {number}", row.pop("pickup"), row.pop("dropoff"), row.pop("ready"), **row)
        orders.append(order)
        if whose >= len(drivers):
            continue
        driver = drivers[whose]
        if state == "rejected":
            a_closed_offer(order, driver, "REJECTED", age=minutes(1))
        elif state == "offered" and driver.open_offer_id is None and not driver.busy:
            an_open_offer(order, driver)
        elif state in ("taken", "picked up") and not driver.busy:
            given(order, driver, picked_up=5 if state == "picked up" else None)
    return drivers, orders


def world_of(drivers: list[Driver], orders: list[Delivery], policy: Policy) -> World:
    rows: dict[str, Delivery | None] = {order.id: order for order in orders}
    people: dict[str, Driver | None] = {driver.id: driver for driver in drivers}
    return World(NOW, policy, *copy.deepcopy((rows, people)), zones=ZONES)


@settings(max_examples=200, deadline=None)
@for_all(DRIVERS, ORDERS, st.booleans(), st.sampled_from([3.0, 50.0]), st.randoms(use_true_random=False))
def test_what_is_true_of_every_plan(
    of_drivers: list[dict[str, Any]],
    of_orders: list[dict[str, Any]],
    hold: bool,
    radius_km: float,
    chance: random.Random,
) -> None:
    """The rules refuse no proposal, also one after another; nobody is named twice; every waiting order has a reason or
    a proposal; runs are possible; equal pictures have equal plans, whatever came first; deciding changes nothing; what
    is remembered of the plan before changes nothing.
    """
    drivers, orders = picture(of_drivers, of_orders)
    policy = street_policy(hold=hold, changes={"search_radius_km": radius_km})
    fleet = a_fleet(drivers, orders, zones=ZONES)
    rows = copy.deepcopy((drivers, orders))
    found = plan(fleet, NOW, TRAVEL, policy)
    assert (drivers, orders) == rows, "planning changed the picture"

    world = world_of(drivers, orders, policy)
    for number, proposal in enumerate(found.proposals):
        command = c.OfferDelivery(proposal.delivery_id, proposal.driver_id, f"{number}", proposal.lat, proposal.lon)
        decided = decide(command, world)
        assert isinstance(decided, Decided), decided
        for event in decided.events:
            apply(world, event)
    assert len({proposal.delivery_id for proposal in found.proposals}) == len(found.proposals)
    assert len({proposal.driver_id for proposal in found.proposals}) == len(found.proposals)

    waiting = {order.id for order in orders if order.status == "READY" and order.current_offer_id is None}
    assert {proposal.delivery_id for proposal in found.proposals} | found.reasons.keys() == waiting
    assert not {proposal.delivery_id for proposal in found.proposals} & found.reasons.keys()
    assert all(found.reasons[delivery_id] in (HELD, PLANNED) for delivery_id in found.held)

    carriers: dict[str, str] = {}
    for driver_id, stops in found.runs.items():
        load = sum(order.status == "PICKED_UP" for order in fleet.jobs_of(driver_id))
        capacity = fleet.drivers[driver_id].capacity
        seen: set[tuple[str, bool]] = set()
        for stop in stops:
            load += -1 if stop[1] else 1
            assert load <= capacity
            assert carriers.setdefault(stop[0], driver_id) == driver_id
            assert stop not in seen
            assert not stop[1] or (stop[0], False) in seen or fleet.deliveries[stop[0]].status == "PICKED_UP"
            seen.add(stop)

    chance.shuffle(drivers)
    chance.shuffle(orders)
    other = a_fleet(drivers, orders, zones=ZONES)
    assert without_memo(plan(other, NOW, TRAVEL, policy)) == without_memo(found)
    again = plan(fleet, NOW, TRAVEL, policy, found)
    if not found.strain:
        # Under strain the next plan weighs driving more, and may be another one.
        assert without_memo(again) == without_memo(found)
    later, policy = NOW + minutes(chance.choice([0, 0.5, 3])), street_policy(hold=chance.choice([hold, not hold]))
    for changed in chance.sample(orders, min(1, len(orders))):
        changed.status = "DELIVERED"
        fleet.put_delivery(changed)
    remembered = plan(fleet, later, TRAVEL, policy, found)
    assert without_memo(remembered) == without_memo(plan(fleet, later, TRAVEL, policy, without_memo(found)))


def test_a_fleet_forgets_what_is_over_and_which_zone_a_driver_left() -> None:
    dan, soup = driver_at("Dan", 1), order_at("soup", 0, 9)
    fleet = a_fleet([dan], [soup, order_at("cake", 0, 9, status="SCHEDULED")])
    assert [delivery.id for delivery in fleet.waiting()] == [SOUP]
    fleet.put_delivery(given(soup, dan))
    assert ([d.id for d in fleet.jobs_of(DAN)], fleet.waiting()) == ([SOUP], [])
    soup.status = "DELIVERED"
    fleet.put_delivery(soup)
    assert (fleet.jobs_of(DAN), SOUP in fleet.deliveries) == ((), False)
    fleet.put_driver(driver_at("Dan", 1, zone="airport"))
    assert (fleet.drivers_of("default"), [d.id for d in fleet.drivers_of("airport")]) == ([], [DAN])
