"""Drivers with more than one delivery: how many they may have, what an add-on says, and the order of their stops."""

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.driver_runs import place_of, update_runs
from server.dispatch.model import (
    AddOn,
    Delivery,
    Driver,
    OfferPayload,
    OrderDetails,
    Place,
    Position,
    RunStop,
    Work,
)
from server.dispatch.policy import PlanningPolicy, Policy
from server.dispatch.refusals import Refusal
from server.dispatch.world import World
from tests.builders import (
    ADA,
    ALICE,
    CAKE,
    DAN,
    DORA,
    NOW,
    PICKUP,
    SOUP,
    a_delivery,
    a_driver,
    an_assignment,
    by,
    id_of,
    minutes,
    seconds,
)
from tests.dispatch.invariants import broken_invariants

KM = 1 / 111.195
"""A kilometre to the north, in degrees of latitude."""
POLICY = Policy(average_speed_kmh=60, detour_factor=1, handover_seconds=0)
"""A kilometre a minute."""


def at(km: float) -> Place:
    """So far up the street from the store."""
    return Place(PICKUP.lat + km * KM, PICKUP.lon)


def order(name: str, to: float, store: float = 0, ready: float = 0, **more: Any) -> Delivery:
    """A delivery from one km of the street to another, whose goods are ready in so many minutes."""
    places = {"pickup": at(store), "dropoff": at(to)}
    return a_delivery(name, prep_seconds=0, ready_at=NOW + minutes(ready), **places | more)


def dan_at(km: float = 0, **more: Any) -> Driver:
    return a_driver(position=Position(at(km).lat, at(km).lon, NOW - seconds(5)), **{"capacity": 3} | more)


def a_world(
    *rows: Delivery | Driver, planning: PlanningPolicy | None = None, run: tuple[RunStop, ...] = (), **others: Delivery
) -> World:
    """`others` are deliveries that the batch has not locked."""
    policy = replace(POLICY, planning=planning or PlanningPolicy())
    deliveries: dict[str, Delivery | None] = {row.id: row for row in rows if isinstance(row, Delivery)}
    drivers: dict[str, Driver | None] = {row.id: row for row in rows if isinstance(row, Driver)}
    work = Work(run, {delivery.id: delivery for delivery in others.values()})
    return World(NOW, policy, deliveries, drivers, work={DAN: work})


def do(world: World, command: c.Command) -> Decided:
    """The command is done, and the world is as it should be."""
    decided = decide(command, world)
    assert isinstance(decided, Decided), decided
    for event in decided.events:
        apply(world, event)
    update_runs(decided.events, world)
    assert broken_invariants(world) == []
    return decided


def refused(world: World, command: c.Command) -> str:
    decided = decide(command, world)
    assert isinstance(decided, Refusal), decided
    return f"{decided.code}: {decided.more.get('reason', '')}"


def offer(name: str, **more: Any) -> c.OfferDelivery:
    return c.OfferDelivery(id_of(name), DAN, id_of(f"offer of {name}"), PICKUP.lat, PICKUP.lon, **more)


def accept(name: str) -> c.AcceptOffer:
    return c.AcceptOffer(id_of(f"offer of {name}"), DAN, id_of(f"{name} of Dan"), by(DAN))


def take(world: World, *names: str) -> None:
    """Dan is offered these and accepts them, one after another, all within a second."""
    for name in names:
        do(world, offer(name))
        do(world, accept(name))
        [assignment] = world.delivery(id_of(name)).assignments.values()
        assignment.created_at -= seconds(1) / (1 + world.known_driver(DAN).active_count)


def job(name: str) -> str:
    return id_of(f"{name} of Dan")


def stops(world: World, driver_id: str = DAN) -> list[str]:
    """The run, such as `soup`, `to soup`, `soup back`; in brackets if it is done."""
    names = {id_of(name): name for name in ("soup", "cake", "rice", "tea")}
    said = {"pickup": "{}", "dropoff": "to {}", "return": "{} back"}
    found = [(said[stop.kind].format(names[stop.delivery_id]), stop.done_at) for stop in world.run(driver_id)]
    return [name if done_at is None else f"({name})" for name, done_at in found]


def planned(world: World) -> list[float]:
    """When the stops are planned, in minutes from now."""
    return [round((stop.planned_at - NOW).total_seconds() / 60, 2) for stop in world.run(DAN)]


def payload(world: World, name: str) -> OfferPayload:
    found = world.delivery(id_of(name)).offers[id_of(f"offer of {name}")].payload
    assert isinstance(found, OfferPayload)
    return found


# How many


def test_a_driver_with_room_gets_one_offer_at_a_time_up_to_their_capacity() -> None:
    world = a_world(dan_at(capacity=2), *(order(name, 2) for name in ("soup", "cake", "rice")))
    do(world, offer("soup"))
    assert refused(world, offer("cake")) == "driver_not_available: has_open_offer"
    do(world, accept("soup"))
    take(world, "cake")
    assert refused(world, offer("rice")) == "driver_not_available: busy"
    do(world, c.PickUp(job("soup"), DAN, by(DAN)))
    do(world, c.Complete(job("soup"), DAN, by(DAN)))
    take(world, "rice")


def test_a_next_job_is_one_beyond_capacity_if_the_policy_allows_it() -> None:
    orders = [order(name, 2) for name in ("soup", "cake", "rice")]
    world = a_world(dan_at(capacity=1), *orders, planning=PlanningPolicy(next_jobs=1))
    take(world, "soup", "cake")
    assert world.known_driver(DAN).busy
    assert stops(world) == ["soup", "to soup", "cake", "to cake"]
    assert planned(world) == [0, 2, 4, 6], "one on board after the other"
    assert refused(world, offer("rice")) == "driver_not_available: busy"
    assert refused(world, c.AssignDelivery(id_of("rice"), DAN, "near", True, "", "", ALICE)).startswith("driver_not")
    assert refused(a_world(dan_at(capacity=1, active_count=1), order("soup", 2)), offer("soup")).endswith("busy")


def test_the_last_place_is_not_given_away_twice() -> None:
    """Ops assign directly while an offer is open: with it, the driver would have one too many."""
    world = a_world(dan_at(capacity=2), order("soup", 2), order("cake", 2), order("rice", 3))
    take(world, "soup")
    do(world, offer("cake"))
    do(world, c.AssignDelivery(id_of("rice"), DAN, "near", True, id_of("o"), job("rice"), ALICE))
    assert world.known_driver(DAN).open_offer_id is None
    assert world.delivery(CAKE).status == "READY"
    assert stops(world) == ["soup", "rice", "to soup", "to rice"]


@pytest.mark.parametrize(("capacity", "withdrawn"), [(1, True), (2, False)])
def test_an_open_offer_that_no_longer_fits_is_withdrawn(capacity: int, withdrawn: bool) -> None:
    world = a_world(dan_at(capacity=3), order("soup", 2), order("cake", 2))
    take(world, "soup")
    do(world, offer("cake"))
    decided = do(world, c.ChangeDriver(DAN, ADA, capacity=capacity))
    assert [type(event) for event in decided.events] == [e.OfferWithdrawn] * withdrawn + [e.DriverChanged]
    assert decided.events[0].data().get("reason") == ("driver_full" if withdrawn else None)
    do(world, c.ChangeDriver(DAN, ADA, name="Daniel"))


# The offer


def test_an_add_on_says_how_much_longer_the_run_gets() -> None:
    world = a_world(dan_at(), order("soup", 4), order("cake", 6), order("rice", 4.2))
    do(world, offer("soup"))
    assert payload(world, "soup").add_on is UNSET
    do(world, accept("soup"))
    do(world, offer("cake"))
    assert payload(world, "cake").add_on == AddOn(extra_minutes=2, stops=4)
    assert payload(world, "cake").estimated_pickup_time_min == 0
    assert payload(world, "cake").estimated_delivery_time == "2026-02-01T18:06:00.000Z"
    do(world, accept("cake"))
    assert world.delivery(CAKE).estimated_delivery_at == NOW + minutes(6)
    assert [a.pickup_due_at for a in world.delivery(CAKE).assignments.values()] == [NOW]
    do(world, c.PickUp(job("soup"), DAN, by(DAN)))
    do(world, offer("rice"))
    assert payload(world, "rice").add_on == AddOn(extra_minutes=0, stops=5)


def test_an_add_on_that_breaks_the_limits_comes_after_what_they_have() -> None:
    """Ops may want it anyway: then the customers who were first do not wait."""
    limits = PlanningPolicy(max_extra_minutes=0)
    world = a_world(dan_at(), order("soup", 4), order("cake", -4, store=-3), planning=limits)
    take(world, "soup", "cake")
    assert stops(world) == ["soup", "to soup", "cake", "to cake"]
    assert planned(world) == [0, 4, 11, 12]


def test_where_no_place_keeps_the_limits_the_cheapest_counts() -> None:
    short = PlanningPolicy(max_extra_minutes=0, max_minutes_in_bag=1)
    world = a_world(dan_at(2), order("soup", 4, ready=10), order("cake", 4, store=1, ready=12), planning=short)
    take(world, "soup", "cake")
    assert sorted(stops(world)) == ["cake", "soup", "to cake", "to soup"]


def test_nothing_is_picked_up_after_the_shift_even_if_the_way_there_is_short() -> None:
    home = NOW + minutes(5)
    world = a_world(dan_at(0, capacity=1, shift_ends_at=home), order("soup", 4), order("cake", 1))
    do(world, offer("cake"))
    world = a_world(
        dan_at(0, capacity=1, shift_ends_at=home),
        order("soup", 4),
        order("cake", 1),
        planning=PlanningPolicy(next_jobs=1),
    )
    take(world, "soup")
    assert refused(world, offer("cake")) == "driver_not_available: shift_ends"
    direct = c.AssignDelivery(CAKE, DAN, "near", True, "", "", ALICE)
    assert refused(world, direct) == "driver_not_available: shift_ends"


def test_a_direct_add_on_is_due_when_the_run_is_there() -> None:
    world = a_world(dan_at(capacity=1), order("soup", 4), order("cake", 6), planning=PlanningPolicy(next_jobs=1))
    take(world, "soup")
    do(world, c.AssignDelivery(CAKE, DAN, "near", True, id_of("o"), job("cake"), ALICE))
    [assignment] = world.delivery(CAKE).assignments.values()
    assert (assignment.pickup_due_at, world.delivery(CAKE).estimated_delivery_at) == (
        NOW + minutes(8),
        NOW + minutes(14),
    )


def test_an_add_on_that_changes_is_offered_again_as_an_add_on() -> None:
    world = a_world(dan_at(), order("soup", 4), order("cake", 6))
    take(world, "soup")
    do(world, offer("cake"))
    do(world, c.ChangeDelivery(CAKE, world.delivery(CAKE).version, id_of("again"), ALICE, dropoff=at(5)))
    again = world.delivery(CAKE).offers[id_of("again")].payload
    assert isinstance(again, OfferPayload)
    assert again.add_on == AddOn(extra_minutes=1, stops=4)


def test_what_no_longer_fits_the_shift_is_not_offered_again() -> None:
    world = a_world(dan_at(), order("soup", 4), order("cake", 6))
    take(world, "soup")
    do(world, offer("cake"))
    world.known_driver(DAN).shift_ends_at = NOW + minutes(5)
    do(world, c.ChangeDelivery(CAKE, world.delivery(CAKE).version, id_of("again"), ALICE, pickup=at(9)))
    assert world.delivery(CAKE).open_offer() is None


# The run


def test_one_delivery_is_no_run() -> None:
    world = a_world(dan_at(), order("soup", 2))
    take(world, "soup")
    do(world, c.PickUp(job("soup"), DAN, by(DAN)))
    do(world, c.Complete(job("soup"), DAN, by(DAN)))
    assert world.changed_runs == {}


def test_stops_that_are_done_stay_until_one_delivery_is_left() -> None:
    world = a_world(dan_at(), order("soup", 2), order("cake", 3), order("rice", 4))
    take(world, "soup")
    do(world, c.PickUp(job("soup"), DAN, by(DAN)))
    take(world, "cake", "rice")
    assert stops(world) == ["(soup)", "cake", "rice", "to soup", "to cake", "to rice"]
    assert world.run(DAN)[0].done_at == NOW
    do(world, c.PickUp(job("rice"), DAN, by(DAN)))
    assert stops(world) == ["(soup)", "cake", "(rice)", "to soup", "to cake", "to rice"], "out of order is allowed"
    do(world, c.Complete(job("soup"), DAN, by(DAN)))
    assert stops(world) == ["(soup)", "cake", "(rice)", "(to soup)", "to cake", "to rice"]
    do(world, c.Complete(job("rice"), DAN, by(DAN)))
    assert stops(world) == []


def test_a_new_stop_comes_where_it_fits_and_the_others_keep_their_order() -> None:
    """From where Dan is now the other order would be shorter, but nothing changes under his hands."""
    world = a_world(dan_at(), order("soup", 2), order("cake", -2.5), order("rice", -1))
    take(world, "soup", "cake")
    assert stops(world) == ["soup", "cake", "to soup", "to cake"]
    place = at(-3)
    world.known_driver(DAN).position = Position(place.lat, place.lon, NOW)
    for name in ("soup", "cake"):
        do(world, c.PickUp(job(name), DAN, by(DAN)))
    assert stops(world) == ["(soup)", "(cake)", "to soup", "to cake"]
    assert planned(world)[2:] == [5, 9.5]
    take(world, "rice")
    assert stops(world) == ["(soup)", "(cake)", "to soup", "rice", "to rice", "to cake"]


@pytest.mark.parametrize("lost", ["release", "reassign", "cancel"])
def test_what_is_no_longer_theirs_leaves_the_run(lost: str) -> None:
    world = a_world(dan_at(), a_driver("Dora"), order("soup", 2), order("cake", 3), order("rice", 4))
    take(world, "soup", "cake", "rice")
    commands: dict[str, c.Command] = {
        "release": c.Release(job("cake"), DAN, "too_far", by(DAN)),
        "reassign": c.Reassign(job("cake"), "late", id_of("o"), id_of("a"), ADA, DORA, direct=True),
        "cancel": c.CancelDelivery(CAKE, "changed their mind", ALICE),
    }
    do(world, commands[lost])
    assert stops(world) == ["soup", "rice", "to soup", "to rice"]
    assert stops(world, DORA) == []
    assert world.known_driver(DAN).active_count == 2


def test_goods_that_come_back_have_a_stop_at_the_store() -> None:
    store = OrderDetails(store=at(-1))
    world = a_world(dan_at(), order("soup", 2, details=store), order("cake", 3), order("rice", 4))
    take(world, "soup", "cake", "rice")
    for name in ("soup", "cake", "rice"):
        do(world, c.PickUp(job(name), DAN, by(DAN)))
    do(world, c.Fail(job("soup"), DAN, "refused", by(DAN), then="return"))
    assert stops(world) == ["(soup)", "(cake)", "(rice)", "(to soup)", "to cake", "to rice", "soup back"]
    back = world.run(DAN)[-1]
    assert [place_of(stop, world.delivery(SOUP)) for stop in world.run(DAN) if stop.delivery_id == SOUP] == [
        at(0), at(2), at(-1),
    ]  # fmt: skip
    assert back.planned_at == NOW + minutes(9)
    do(world, c.ChangeDelivery(CAKE, world.delivery(CAKE).version, id_of("o"), ALICE, notes="door 3"))
    assert stops(world)[-1] == "soup back"
    do(world, c.Complete(job("soup"), DAN, by(DAN)))
    assert stops(world)[-1] == "(soup back)"
    do(world, c.Fail(job("cake"), DAN, "refused", by(DAN), then="end"))
    assert stops(world) == []


def test_a_delivery_that_failed_leaves_its_stops_done() -> None:
    world = a_world(dan_at(), order("soup", 2), order("cake", 3), order("rice", 4))
    take(world, "soup", "cake", "rice")
    do(world, c.PickUp(job("soup"), DAN, by(DAN)))
    do(world, c.Fail(job("soup"), DAN, "refused", by(DAN), then="end"))
    assert stops(world) == ["(soup)", "cake", "rice", "(to soup)", "to cake", "to rice"]


def test_deliveries_that_are_not_locked_count_too() -> None:
    """A command locks one delivery; the others of its driver are read."""
    dan, soup, cake, tea = dan_at(), order("soup", 2), order("cake", 3), order("tea", 1)
    for delivery in (soup, cake):
        an_assignment(delivery, dan, id=id_of(f"{delivery.seller_order_id[2:]} of Dan"))
    an_assignment(tea, dan, id=job("tea"), status="COMPLETED", picked_up_at=NOW, completed_at=NOW)
    gone = RunStop("dropoff", id_of("deleted"), id_of("deleted"), NOW, NOW)
    run = (
        RunStop("pickup", tea.id, job("tea"), NOW, NOW),
        RunStop("dropoff", tea.id, job("tea"), NOW),
        RunStop("pickup", soup.id, job("soup"), NOW),
        gone,
        RunStop("dropoff", soup.id, job("soup"), NOW),
    )
    world = a_world(dan, cake, order("rice", 4), run=run, soup=soup, tea=tea)
    do(world, c.PickUp(job("cake"), DAN, by(DAN)))
    assert stops(world) == ["(tea)", "(to tea)", "(cake)", "soup", "to soup", "to cake"]
    take(world, "rice")
    assert stops(world) == ["(tea)", "(to tea)", "(cake)", "soup", "rice", "to soup", "to cake", "to rice"]


def test_a_run_that_the_previous_release_ended_is_forgotten() -> None:
    tea = order("tea", 1)
    world = a_world(dan_at(), order("soup", 2), order("cake", 3), run=(RunStop("pickup", tea.id, job("tea"), NOW),))
    take(world, "soup", "cake")
    assert stops(world) == ["soup", "cake", "to soup", "to cake"]


def test_a_change_that_changes_nothing_of_the_run_is_no_change() -> None:
    world = a_world(dan_at(), order("soup", 2), order("cake", 3))
    take(world, "soup", "cake")
    assert [driver_id for driver_id, _ in world.take_updated_runs()] == [DAN]
    do(world, c.ChangeDelivery(CAKE, world.delivery(CAKE).version, id_of("o"), ALICE, notes="door 3"))
    assert world.take_updated_runs() == []


def test_goods_that_take_longer_do_not_hold_up_the_others() -> None:
    world = a_world(dan_at(), order("soup", 2), order("cake", 3))
    take(world, "soup", "cake")
    assert stops(world) == ["soup", "cake", "to soup", "to cake"]
    do(world, c.DelayDelivery(CAKE, 30, id_of("o"), ALICE))
    assert stops(world) == ["soup", "to soup", "cake", "to cake"]
    assert planned(world) == [0, 2, 30, 33]
    do(world, c.ChangeDelivery(SOUP, world.delivery(SOUP).version, id_of("o"), ALICE, dropoff=at(4)))
    assert stops(world) == ["soup", "to soup", "cake", "to cake"], "also if the first stop is of the one that changed"
    do(world, c.MarkReady(CAKE, id_of("o"), ALICE))
    assert stops(world) == ["soup", "cake", "to cake", "to soup"]


def test_who_would_wait_for_long_at_the_first_store_can_bring_another_before() -> None:
    world = a_world(dan_at(), order("soup", 3, ready=30), order("cake", 2), order("rice", 2, ready=30))
    take(world, "soup", "cake")
    assert stops(world) == ["cake", "to cake", "soup", "to soup"]
    assert planned(world) == [0, 2, 30, 33]
    take(world, "rice")
    assert stops(world) == ["cake", "to cake", "soup", "rice", "to rice", "to soup"]


def test_a_place_that_moves_has_its_stop_where_it_fits_then() -> None:
    world = a_world(dan_at(), order("soup", 2), order("cake", 3), order("rice", 4))
    take(world, "soup", "cake", "rice")
    for name in ("soup", "cake", "rice"):
        do(world, c.PickUp(job(name), DAN, by(DAN)))
    do(world, c.ChangeDelivery(SOUP, world.delivery(SOUP).version, id_of("o"), ALICE, dropoff=at(3.5)))
    assert stops(world)[3:] == ["to cake", "to soup", "to rice"]
    do(world, c.Complete(job("cake"), DAN, by(DAN)))
    assert stops(world) == ["(soup)", "(cake)", "(rice)", "(to cake)", "to soup", "to rice"]


def test_who_is_on_the_way_to_a_stop_goes_there_before_a_place_that_moved() -> None:
    world = a_world(dan_at(), order("soup", 2), order("cake", 6))
    take(world, "soup", "cake")
    for name in ("soup", "cake"):
        do(world, c.PickUp(job(name), DAN, by(DAN)))
    place = at(1)
    world.known_driver(DAN).position = Position(place.lat, place.lon, NOW)
    do(world, c.ChangeDelivery(CAKE, world.delivery(CAKE).version, id_of("o"), ALICE, dropoff=at(1.5)))
    assert stops(world) == ["(soup)", "(cake)", "to soup", "to cake"]


def test_without_a_position_the_run_begins_at_the_first_store() -> None:
    world = a_world(dan_at(), order("soup", 2), order("cake", 3))
    take(world, "soup")
    world.known_driver(DAN).position = None
    do(world, c.AssignDelivery(CAKE, DAN, "near", True, id_of("o"), job("cake"), ALICE))
    assert planned(world) == [0, 0, 2, 3]


def test_who_is_still_at_the_store_can_pick_up_more_before_they_leave() -> None:
    for km, then in ((0.1, ["(soup)", "cake", "to soup", "to cake"]), (1, ["(soup)", "to soup", "cake", "to cake"])):
        world = a_world(dan_at(km), order("soup", 2), order("cake", 3))
        take(world, "soup")
        do(world, c.PickUp(job("soup"), DAN, by(DAN)))
        take(world, "cake")
        assert stops(world) == then
