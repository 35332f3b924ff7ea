"""Runs: when their stops happen, what they cost, and where a delivery fits best."""

from itertools import permutations
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.dispatch.policy import Policy
from server.dispatch.runs import DriverRun, Insertion, Job, Limits, Stop, delay_cost, least_costs, road_travel
from server.dispatch.travel import haversine_km
from tests.dispatch.planning import AT, FREE, TRAVEL, job, spot


def run_at(km: float, *stops: Stop, limits: Limits = FREE, free: float = 0, **more: Any) -> DriverRun:
    """A driver up the street who can leave in so many minutes."""
    return DriverRun("Dan", spot(km), AT + free * 60, TRAVEL, limits, stops=stops, **{"capacity": 3} | more)


def times(run: DriverRun) -> list[float]:
    """When its stops happen, in minutes from now, to the nearest millisecond."""
    return [round((when - AT) / 60, 5) for when in run.whens]


def names(run: DriverRun) -> list[str]:
    return [("to " if stop.is_drop else "") + stop.job.id for stop in run.stops]


def added(run: DriverRun, new: Job) -> list[str]:
    """The stops after the cheapest insertion."""
    found = run.insertion(new)
    assert found is not None
    before = run.cost
    run.place_job(new, found)
    assert run.cost - before == pytest.approx(found.cost)
    return names(run)


def test_a_stop_takes_half_of_its_time_before_and_half_after() -> None:
    soup = job("soup", 3, 10)
    assert times(run_at(0, soup.pick, soup.drop)) == [5, 16]
    assert run_at(0, soup.pick, soup.drop).cost == pytest.approx(delay_cost(300))


def test_the_driver_waits_for_the_goods() -> None:
    soup = job("soup", 3, 10, ready=9)
    run = run_at(0, soup.pick, soup.drop)
    assert times(run) == [9, 20]
    assert run.cost == 0


def test_goods_of_one_visit_share_the_time_at_the_store() -> None:
    soup, cake = job("soup", 3, 10), job("cake", 3, 12, ready=6)
    run = run_at(0, soup.pick, cake.pick, soup.drop, cake.drop)
    assert times(run) == [5, 6, 17, 23]


def test_a_visit_goes_on_until_the_driver_leaves() -> None:
    soup = job("soup", 3, 10)
    assert times(run_at(3, soup.pick, soup.drop, free=2, at_store=True)) == [0, 11]
    assert times(run_at(3, soup.pick, soup.drop, free=2)) == [4, 15]


def test_driving_costs_what_the_limits_say() -> None:
    soup = job("soup", 3, 10, ready=60)
    free, dear = (run_at(0, soup.pick, soup.drop, limits=Limits(weight)) for weight in (0.0, 0.5))
    assert dear.cost - free.cost == pytest.approx(0.5 * (10 + 8) * 60)


def test_a_driver_leaves_as_late_as_is_in_time() -> None:
    soup, cake = job("soup", 3, 10, ready=9), job("cake", 20, 21, fixed=True)
    run = run_at(0, soup.pick, soup.drop)
    assert (run.leaves(0) - AT) / 60 == pytest.approx(4)
    run = run_at(0, soup.pick, soup.drop, cake.pick, cake.drop)
    assert run.leaves(0) == AT, "they go on to what is theirs"


def test_a_delivery_goes_on_the_way() -> None:
    soup = job("soup", 2, 10)
    assert added(run_at(0, soup.pick, soup.drop), job("cake", 5, 8)) == ["soup", "cake", "to cake", "to soup"]
    assert added(run_at(0, soup.pick, soup.drop), job("cake", 11, 12)) == ["soup", "to soup", "cake", "to cake"]


def test_a_full_driver_delivers_first() -> None:
    soup = job("soup", 2, 10)
    new = job("cake", 5, 8)
    assert added(run_at(0, soup.pick, soup.drop, capacity=1), new) == ["soup", "to soup", "cake", "to cake"]
    assert added(run_at(0, soup.drop, capacity=1, load=1), new) == ["to soup", "cake", "to cake"]


def test_nothing_is_picked_up_after_the_shift() -> None:
    off = AT + 6 * 60
    assert run_at(0, off=off).insertion(job("soup", 4, 9)) is not None
    assert run_at(0, off=off).insertion(job("soup", 5, 9)) is None
    assert run_at(0, off=off).insertion(job("soup", 4, 9, ready=7)) is None
    late = job("late", 20, 21)
    run = run_at(0, late.pick, late.drop, off=off)
    assert names(run) == ["late", "to late"], "what ops gave them stays"
    assert run.insertion(job("soup", 0, 1)) is None


def test_whoever_is_on_the_way_goes_there_first() -> None:
    soup = job("soup", 5, 10, fixed=True)
    run = run_at(5, soup.pick, soup.drop, free=3, bound=True)
    assert added(run, job("cake", 4, 4.5)) == ["soup", "cake", "to cake", "to soup"]
    run = run_at(5, soup.pick, soup.drop, free=3, bound=True)
    assert added(run, job("cake", 5, 6))[0] in ("soup", "cake"), "of the same store they may be first"
    soup = job("soup", 5, 10, ready=40, fixed=True)
    run = run_at(5, soup.pick, soup.drop, free=3, bound=True)
    assert added(run, job("cake", 5, 6))[:2] == ["cake", "soup"], "they do not come back for what they left for"


def test_a_customer_waits_little_longer_for_an_add_on() -> None:
    limits = Limits(0.0, extra=3 * 60)
    for fixed, second in ((True, "to soup"), (False, "cake")):
        soup = job("soup", 0, 20, fixed=fixed)
        assert added(run_at(0, soup.pick, soup.drop, limits=limits), job("cake", 5, 8))[1] == second


def test_goods_are_on_board_for_a_limited_time_unless_the_way_is_longer() -> None:
    limits = Limits(0.0, bag=15 * 60)
    soup = job("soup", 0, 10)
    assert added(run_at(0, soup.pick, soup.drop, limits=limits), job("cake", 5, 8))[:2] == ["soup", "to soup"]
    assert added(run_at(0, limits=limits), job("far", 0, 40)) == ["far", "to far"]
    carried = job("soup", 0, 10, picked_at=AT - 10 * 60, fixed=True)
    run = run_at(0, carried.drop, limits=limits, load=1)
    assert added(run, job("cake", 5, 8)) == ["to soup", "cake", "to cake"]


def test_what_is_overdue_is_not_delayed() -> None:
    old, new = job("old", 2, 10, ready=-30), job("cake", 5, 8)
    assert (old.overdue, new.overdue) == (True, False)
    assert added(run_at(0, old.pick, old.drop), new) == ["old", "to old", "cake", "to cake"]
    assert not job("old", 2, 10, ready=-30, fixed=True).overdue


def test_only_orders_of_one_store_together_if_the_policy_says_so() -> None:
    limits = Limits(0.0, same_store_only=True)
    soup = job("soup", 2, 10)
    assert added(run_at(0, soup.pick, soup.drop, limits=limits), job("cake", 5, 8))[:2] == ["soup", "to soup"]
    assert added(run_at(0, soup.pick, soup.drop, limits=limits), job("cake", 2, 9))[1] != "to soup"


def test_what_ops_gave_is_added_even_where_it_does_not_fit() -> None:
    run = run_at(0, off=AT)
    run.append(job("soup", 5, 9, fixed=True))
    assert names(run) == ["soup", "to soup"]
    run.append(job("cake", 7, 8, picked_at=AT, fixed=True))
    assert names(run) == ["soup", "to soup", "to cake"]
    run = run_at(0)
    run.append(job("soup", 5, 9, fixed=True))
    assert names(run) == ["soup", "to soup"]


KILOMETRES = st.integers(0, 20)
JOBS = st.lists(st.tuples(KILOMETRES, KILOMETRES, st.integers(-5, 30)), min_size=1, max_size=3)


@settings(max_examples=60, deadline=None)
@given(JOBS, KILOMETRES, KILOMETRES, st.integers(1, 3), st.sampled_from([0.0, 0.3]))
def test_the_cheapest_place_is_the_best_of_all_places(
    rows: list[tuple[int, int, int]], pickup: int, dropoff: int, capacity: int, weight: float
) -> None:
    jobs = [job(f"job {number}", *row) for number, row in enumerate(rows)]
    run = run_at(0, limits=Limits(weight), capacity=capacity)
    for each in jobs:
        place = run.insertion(each)
        assert place is not None
        run.place_job(each, place)
    new = job("new", pickup, dropoff)
    before, stops = run.cost, list(run.stops)
    best = inf
    for first in range(len(stops) + 1):
        for last in range(first, len(stops) + 1):
            tried = [*stops[:first], new.pick, *stops[first:last], new.drop, *stops[last:]]
            load, most = 0, 0
            for stop in tried:
                load += -1 if stop.is_drop else 1
                most = max(most, load)
            if most <= capacity:
                best = min(best, run_at(0, *tried, limits=Limits(weight)).cost - before)
    found = run.insertion(new)
    assert found is not None
    assert found.cost == pytest.approx(best)


STATES = st.fixed_dictionaries(
    {
        "capacity": st.integers(1, 3),
        "at_store": st.booleans(),
        "bound": st.booleans(),
        "off": st.sampled_from([inf, AT + 1500.0]),
        "free": st.integers(0, 5),
    }
)


@settings(max_examples=150, deadline=None)
@given(JOBS, KILOMETRES, KILOMETRES, st.integers(-5, 30), STATES, st.sampled_from([0.0, 0.3, 1.0]))
def test_the_least_cost_is_never_above_that_of_the_cheapest_place(
    rows: list[tuple[int, int, int]], pickup: int, dropoff: int, ready: int, state: dict[str, Any], weight: float
) -> None:
    jobs = [job(f"job {number}", *row, fixed=number == 0) for number, row in enumerate(rows)]
    state["bound"] = state["bound"] and not state["at_store"]
    run = run_at(rows[0][0] if state["bound"] or state["at_store"] else 0, limits=Limits(weight), **state)
    for each in jobs:
        run.append(each)
    news = [job("new", pickup, dropoff, ready), job("same store", rows[0][0], dropoff, ready)]
    bounds = least_costs(news, [run, run_at(0, limits=Limits(weight))], TRAVEL, weight)
    for number, new in enumerate(news):
        found = run.insertion(new)
        assert bounds[number, 0] <= (found.cost if found is not None else inf) + 1e-3
    assert run.gaps is run.gaps
    idle = run_at(0, limits=Limits(weight)).insertion(news[0])
    assert idle is not None
    assert bounds[0, 1] <= idle.cost + 1e-3
    assert pickup == 0 or bounds[0, 1] >= idle.cost - 1e-3


def test_two_orders_are_never_dearer_than_in_any_order_one_after_the_other() -> None:
    rows = [("soup", 3, 9), ("cake", 4, 2)]
    apart = []
    for order in permutations(rows):
        jobs = [job(*row) for row in order]
        apart.append(run_at(0, *[stop for one in jobs for stop in (one.pick, one.drop)]).cost)
    run = run_at(0)
    for row in rows:
        found = run.insertion(job(*row))
        assert isinstance(found, Insertion)
        run.place_job(job(*row), found)
    assert run.cost <= min(apart) + 1e-6


def test_travel_along_roads_is_the_straight_line_with_the_detour_of_the_policy() -> None:
    policy = Policy(average_speed_kmh=30, detour_factor=1.5, handover_seconds=600)
    travel = road_travel(policy)
    a, b = (52.52, 13.405), (52.53, 13.42)
    assert travel.seconds(a, b) == pytest.approx(haversine_km(*a, *b) * 1.5 / 30 * 3600)
    assert travel.many(np.array([a, b]), np.array([b, b])).tolist() == pytest.approx(
        np.array([[travel.seconds(a, b)] * 2, [0.0, 0.0]])
    )
    for there in ((52.9, 13.5), (-33.87, 151.21)):
        far = travel.many(np.array([a, b]), np.array([a, there]))
        assert far[0].tolist() == pytest.approx([0.0, travel.seconds(a, there)])
    assert travel.many(np.array([a]), np.empty((0, 2))).shape == (1, 0)
    run = DriverRun("Dan", a, AT, travel, FREE, stops=[(soup := Job("soup", a, b, AT, AT, travel)).pick, soup.drop])
    assert run.end[0] == b
    assert run.end[1] == pytest.approx(AT + travel.seconds(a, b) + 600)
