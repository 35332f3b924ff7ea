"""Matching: the nearest for one, the best total for many, and nobody starves."""

import random
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.dispatch import matching
from server.dispatch.matching import AGE_WEIGHT, FEW, NOT_TAKEN_LIMIT, Candidate, Matching, Waiting, match
from server.dispatch.policy import DEFAULT_POLICY
from server.dispatch.travel import haversine_km, travel_seconds
from tests.builders import NOW, minutes, seconds

KM = 1 / 111.19508
"""Degrees of latitude."""


def order(name: str, at_km: float, *, age: float = 0, radius_km: float = 5, **excluded: Any) -> Waiting:
    """A delivery whose pickup is so many km up the one street of this town, waiting for so many seconds."""
    return Waiting(name, 52 + at_km * KM, 13, NOW - seconds(age), radius_km, excluded)


def excluding(reason: str, *drivers: int) -> dict[str, Any]:
    return {f"driver {number}": reason for number in drivers}


def driver(name: str, at_km: float) -> Candidate:
    """A driver so many km up the street."""
    return Candidate(name, 52 + at_km * KM, 13)


def pairs(matching: Matching) -> dict[str, str]:
    return {pair.delivery_id: pair.driver_id for pair in matching.pairs}


def matched(waiting: list[Waiting], drivers: list[Candidate]) -> Matching:
    return match(waiting, drivers, NOW, DEFAULT_POLICY)


def test_one_delivery_gets_the_nearest_driver() -> None:
    found = matched([order("soup", 0)], [driver("Dora", 2), driver("Dan", -1), driver("Max", 9)])
    (pair,) = found.pairs
    assert (pair.delivery_id, pair.driver_id, pair.lat, pair.lon) == ("soup", "Dan", 52 - KM, 13)
    assert pair.distance_km == pytest.approx(1, rel=1e-6)
    assert found.not_taken == {"soup": [("Dora", "farther_away"), ("Max", "out_of_radius")]}


def test_an_excluded_driver_is_skipped_with_a_reason() -> None:
    found = matched(
        [order("soup", 0, Dan="rejected_before", Max="asked_recently")],
        [driver("Max", 9), driver("Dora", 2), driver("Dan", 1)],
    )
    assert pairs(found) == {"soup": "Dora"}
    assert found.not_taken == {"soup": [("Dan", "rejected_before"), ("Max", "asked_recently")]}


def test_the_radius_is_each_deliverys_own() -> None:
    drivers = [driver("Dan", 7)]
    assert pairs(matched([order("soup", 0), order("cake", 0, radius_km=10)], drivers)) == {"cake": "Dan"}
    assert pairs(matched([order("soup", 0, radius_km=7.001)], drivers)) == {"soup": "Dan"}
    assert pairs(matched([order("soup", 0, radius_km=6.999)], drivers)) == {}


def test_each_gets_its_own_nearest_where_that_is_possible() -> None:
    found = matched([order("soup", 0), order("cake", 4)], [driver("Dora", 3), driver("Dan", 1)])
    assert pairs(found) == {"soup": "Dan", "cake": "Dora"}
    assert found.not_taken == {"soup": [("Dora", "given_another")], "cake": [("Dan", "given_another")]}


def test_many_get_the_best_total_not_each_the_nearest() -> None:
    """Dan is nearest to both; were soup served first, cake would wait for Dora from the other end."""
    found = matched([order("soup", 0), order("cake", 2)], [driver("Dan", 1), driver("Dora", -2.5)])
    assert pairs(found) == {"soup": "Dora", "cake": "Dan"}


def test_the_best_total_is_that_of_the_few_who_are_near_among_many() -> None:
    far = [driver(f"far {number}", 4.8 + number / 1000) for number in range(2 * matching.MANY_TIMES)]
    found = matched([order("soup", 0), order("cake", 2)], [*far, driver("Dan", 1), driver("Dora", -2.5)])
    assert pairs(found) == {"soup": "Dora", "cake": "Dan"}


def test_as_many_as_possible_get_a_driver() -> None:
    """Only Dan reaches cake: he is not spent on soup, however near."""
    found = matched([order("soup", 0, age=3000), order("cake", 5)], [driver("Dan", 0.1), driver("Dora", -4.9)])
    assert pairs(found) == {"soup": "Dora", "cake": "Dan"}


def test_of_two_that_want_the_same_driver_the_older_gets_them() -> None:
    drivers = [driver("Dan", 0)]
    assert pairs(matched([order("soup", 0.1), order("cake", 4, age=600)], drivers)) == {"cake": "Dan"}
    assert matched([order("soup", 0.1), order("cake", 4, age=600)], drivers).not_taken == {
        "soup": [("Dan", "given_another")],
        "cake": [],
    }


def test_a_lead_in_age_counts_as_twice_that_on_the_road() -> None:
    """3.9 km more are 730 s on the road."""
    extra = travel_seconds(3.9 * DEFAULT_POLICY.detour_factor, DEFAULT_POLICY)
    drivers = [driver("Dan", 0)]
    just_less, just_more = extra / AGE_WEIGHT - 1, extra / AGE_WEIGHT + 1
    assert pairs(matched([order("soup", 0.1), order("cake", 4, age=just_less)], drivers)) == {"soup": "Dan"}
    assert pairs(matched([order("soup", 0.1), order("cake", 4, age=just_more)], drivers)) == {"cake": "Dan"}


def test_nobody_starves_while_newer_orders_keep_coming_next_to_the_only_driver() -> None:
    """A new order every minute at the driver's feet: the far one is served once its age outweighs the way there."""
    far = order("far", 4.9)
    for minute in range(20):
        now = NOW + minutes(minute)
        near = Waiting(f"near {minute}", 52, 13, now, 5, {})
        if pairs(match([near, far], [driver("Dan", 0)], now, DEFAULT_POLICY)) == {"far": "Dan"}:
            break
    else:
        pytest.fail("the far order starves")
    assert minute <= 8


def test_an_age_before_its_beginning_counts_as_none() -> None:
    assert pairs(matched([order("soup", 1, age=-60), order("cake", 2)], [driver("Dan", 0)])) == {"soup": "Dan"}


def test_at_most_the_twenty_nearest_are_listed() -> None:
    drivers = [driver(f"driver {number}", number / 10) for number in range(30)]
    found = matched([order("soup", 0)], drivers)
    assert pairs(found) == {"soup": "driver 0"}
    assert [driver_id for driver_id, _ in found.not_taken["soup"]] == [
        f"driver {number}" for number in range(1, 1 + NOT_TAKEN_LIMIT)
    ]


def test_reasons_are_given_only_for_those_asked_about() -> None:
    waiting, drivers = [order("soup", 0), order("cake", 4)], [driver("Dora", 3), driver("Dan", 1)]
    found = match(waiting, drivers, NOW, DEFAULT_POLICY, {"cake"})
    assert found == Matching(matched(waiting, drivers).pairs, {"cake": [("Dan", "given_another")]})
    assert match(waiting, drivers, NOW, DEFAULT_POLICY, ()).not_taken == {}


@pytest.mark.parametrize("count", [FEW, FEW + 1, 3 * FEW])
def test_the_nearest_are_found_among_few_and_among_many(count: int) -> None:
    """The farthest comes first, and the nearest two are equal: the first of them is taken."""
    drivers = [driver(f"driver {number}", (count - number) / 1000) for number in range(count)]
    found = matched([order("soup", 0)], [*drivers, driver("Dan", 1 / 1000)])
    assert pairs(found) == {"soup": f"driver {count - 1}"}
    assert [driver_id for driver_id, _ in found.not_taken["soup"]] == [
        "Dan", *(f"driver {count - number}" for number in range(2, 1 + NOT_TAKEN_LIMIT))
    ]  # fmt: skip


def test_many_excluded_drivers_do_not_hide_the_one_behind_them() -> None:
    drivers = [driver(f"driver {number}", number / 100) for number in range(100)]
    soup = order("soup", 0, **excluding("rejected_before", *range(99)))
    assert pairs(matched([soup], drivers)) == {"soup": "driver 99"}


def test_equal_drivers_are_taken_in_the_order_they_were_given() -> None:
    assert pairs(matched([order("soup", 0)], [driver("Dan", 1), driver("Dora", 1)])) == {"soup": "Dan"}


def test_nobody_waits_or_nobody_is_free() -> None:
    assert matched([], [driver("Dan", 0)]) == Matching([], {})
    assert matched([order("soup", 0), order("cake", 0)], []) == Matching([], {"soup": [], "cake": []})


def test_the_date_line_divides_nobody() -> None:
    found = match([Waiting("soup", 0, 179.99, NOW, 5, {})], [Candidate("Dan", 0, -179.99)], NOW, DEFAULT_POLICY)
    assert found.pairs[0].distance_km == pytest.approx(2.22, abs=0.01)


places = st.integers(min_value=0, max_value=12).map(lambda number: number * 0.73)


@settings(max_examples=200)
@given(
    orders=st.lists(
        st.tuples(places, st.sampled_from([0, 10, 300, 1200]), st.sets(st.integers(0, 3), max_size=2)), max_size=3
    ),
    drivers=st.lists(places, max_size=5),
    many_times=st.sampled_from([1, matching.MANY_TIMES]),
    many_pairs=st.sampled_from([0, matching.MANY_PAIRS]),
)
def test_no_other_matching_has_a_greater_total(
    orders: list[Any], drivers: list[float], many_times: int, many_pairs: int
) -> None:
    waiting = [
        order(f"order {number}", at, age=age, **excluding("rejected_before", *excluded))
        for number, (at, age, excluded) in enumerate(orders)
    ]
    candidates = [driver(f"driver {number}", at) for number, at in enumerate(drivers)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "MANY_TIMES", many_times)
        patch.setattr(matching, "MANY_PAIRS", many_pairs)
        found = matched(waiting, candidates)
    assert total(waiting, candidates, pairs(found)) == pytest.approx(best(waiting, candidates), abs=1e-3)
    assert len(set(pairs(found).values())) == len(found.pairs)
    free = {candidate.driver_id for candidate in candidates} - set(pairs(found).values())
    for delivery in waiting:
        shown = dict(found.not_taken[delivery.delivery_id])
        assert shown.keys() == {d.driver_id for d in candidates} - {pairs(found).get(delivery.delivery_id)}
        if delivery.delivery_id not in pairs(found):
            assert not [driver_id for driver_id in free if shown[driver_id] == "farther_away"]


def total(waiting: list[Waiting], candidates: list[Candidate], chosen: dict[str, str]) -> float:
    """The sum of rule 3, by its words; not a number for pairs that must not be."""
    reached = [
        seconds_between(delivery, candidate)
        for delivery in waiting
        for candidate in candidates
        if seconds_between(delivery, candidate) < float("inf")
    ]
    reward = 1 + len(waiting) * max(reached, default=0)
    by_id = {candidate.driver_id: candidate for candidate in candidates}
    return sum(
        reward
        + AGE_WEIGHT * (NOW - delivery.unassigned_since).total_seconds()
        - seconds_between(delivery, by_id[chosen[delivery.delivery_id]])
        for delivery in waiting
        if delivery.delivery_id in chosen
    )


def seconds_between(delivery: Waiting, candidate: Candidate) -> float:
    km = haversine_km(delivery.lat, delivery.lon, candidate.lat, candidate.lon)
    if km > delivery.radius_km or candidate.driver_id in delivery.excluded:
        return float("inf")
    return travel_seconds(km * DEFAULT_POLICY.detour_factor, DEFAULT_POLICY)


def best(waiting: list[Waiting], candidates: list[Candidate]) -> float:
    """By trying all."""
    nobody = [None] * len(waiting)
    totals = []
    for choice in permutations([*(candidate.driver_id for candidate in candidates), *nobody], len(waiting)):
        chosen = {d.delivery_id: who for d, who in zip(waiting, choice, strict=True) if who is not None}
        totals.append(total(waiting, candidates, chosen))
    return max(totals)


def test_among_many_drivers_the_nearest_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    waiting = [order(f"order {n}", chance.choice([0.0, 0.3, 0.31, 4.0]), age=chance.uniform(0, 600)) for n in range(40)]
    candidates = [driver(f"driver {n}", chance.uniform(-1, 5)) for n in range(60)]
    every = pairs(matched(waiting, candidates))
    monkeypatch.setattr(matching, "MANY_TIMES", 0)
    monkeypatch.setattr(matching, "MANY_PAIRS", 0)
    near = pairs(matched(waiting, candidates))
    assert len(near) == len(every) == 40
    assert total(waiting, candidates, near) == pytest.approx(total(waiting, candidates, every), abs=1e-3)
    alone = [order(f"order {n}", n) for n in range(3)]
    assert pairs(matched(alone, [driver(f"driver {n}", n + 0.1) for n in range(3)])) == {
        "order 0": "driver 0", "order 1": "driver 1", "order 2": "driver 2",
    }  # fmt: skip
    assert pairs(matched([order("order", 0), order("other", 900)], [driver("driver", 0.5)])) == {"order": "driver"}


@pytest.mark.parametrize(("alone_at", "asked_before"), [(0.0, 0), (3.0, 30)])
def test_orders_close_together_lose_nobody_who_is_near(
    alone_at: float, asked_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """39 at km 3 among many drivers, and one alone, whose nearest drivers are 2 km behind it."""
    asked = excluding("rejected_before", *range(asked_before))
    waiting = [order("alone", alone_at, **asked), *(order(f"order {n}", 3.0, **asked) for n in range(39))]
    candidates = [
        *(driver(f"driver {n}", 3.0 + n / 100) for n in range(200)),
        *(driver(f"driver {n}", alone_at - n / 100) for n in range(200, 250)),
    ]
    every = pairs(matched(waiting, candidates))
    monkeypatch.setattr(matching, "MANY_PAIRS", 0)
    near = pairs(matched(waiting, candidates))
    assert len(near) == len(every) == 40
    assert total(waiting, candidates, near) == pytest.approx(total(waiting, candidates, every), abs=1e-3)


@pytest.mark.parametrize(("orders", "drivers"), [(200, 2_000), (1, 100_000)])
def test_everybody_finds_somebody_in_a_large_city(orders: int, drivers: int) -> None:
    """`make bench` measures how long it takes."""
    waiting = [
        order(f"order {n}", (n * 7 % 100) / 25, age=n % 1800, **excluding("asked_recently", n)) for n in range(orders)
    ]
    candidates = [Candidate(f"driver {n}", 52 + (n * 31 % 1000) / 25 * KM, 13 + n % 7 * KM) for n in range(drivers)]
    assert len(matched(waiting, candidates).pairs) == orders
