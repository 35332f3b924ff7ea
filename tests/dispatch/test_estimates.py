"""Estimates of a driver's stops, and the forecast of a zone: who gets a driver when."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from server.dispatch.driver_runs import DriverWithRun
from server.dispatch.model import RunStop, RunStopKind
from server.dispatch.planning.estimates import Arrival, InHand, arrivals, estimated, free_at
from server.dispatch.planning.forecast import Queue, Supply, Wanted, ZoneDemand, ZoneForecast, forecast
from server.dispatch.runs import DriverRun, Spot, road_travel
from tests.builders import a_policy
from tests.dispatch.planning import AT, spot

POLICY = a_policy(average_speed_kmh=60, detour_factor=1.0, handover_seconds=240)
ROADS = road_travel(POLICY)
"""A minute a kilometre, and four for a handover."""
MINUTE = 60.0


def carried(name: str, pickup: float, dropoff: float, ready: float = 0, picked: float | None = None) -> InHand:
    """A delivery of stops so many kilometres up the street, ready in so many minutes, picked up so many ago."""
    picked_at = None if picked is None else AT - picked * MINUTE
    return InHand(f"of {name}", name, spot(pickup), spot(dropoff), AT + ready * MINUTE, picked_at)


def run_of(place: float, *have: InHand, capacity: int = 1, stops: tuple[str, ...] = ()) -> DriverRun:
    """The run of Dan, with the stored stops `pickup a`, `dropoff a`, ..."""
    at = datetime.fromtimestamp(AT, UTC)
    stored = [
        RunStop(cast(RunStopKind, kind), name, f"of {name}", at) for kind, _, name in (s.partition(" ") for s in stops)
    ]
    return estimated(POLICY, AT, DriverWithRun("dan", capacity, stops=stored), have, spot(place))


def arriving(place: float, *have: InHand, **more: Any) -> dict[str, tuple[float | None, float]]:
    """In how many minutes each is picked up and handed over."""
    found = arrivals(run_of(place, *have, **more))
    return {name: (_minutes(one.picked_up), _minutes(one.handed_over) or 0) for name, one in found.items()}


def _minutes(at: float | None) -> float | None:
    return None if at is None else round((at - AT) / MINUTE, 2)


@pytest.mark.parametrize(
    ("place", "have", "expected"),
    [
        (2, [carried("a", 0, 3)], {"a": (2, 9)}),
        (1, [carried("a", 0, 3)], {"a": (1, 8)}),
        (2, [carried("a", 0, 3, ready=10)], {"a": (10, 17)}),
        (1, [carried("a", 0, 3, picked=5)], {"a": (None, 6)}),
        (1, [carried("a", 0, 3, picked=5), carried("b", 3, 4)], {"a": (None, 6), "b": (6, 11)}),
    ],
)
def test_a_driver_is_at_the_stops_in_their_order(
    place: float, have: list[InHand], expected: dict[str, tuple[float | None, float]]
) -> None:
    assert arriving(place, *have) == expected


def test_with_more_capacity_both_are_picked_up_first() -> None:
    both = (carried("a", 0, 5), carried("b", 0, 5))
    assert sorted(arriving(0, *both, capacity=2).values()) == [(0, 9), (0, 13)]
    assert sorted(arriving(0, *both, capacity=1).values()) == [(0, 9), (14, 23)]


def test_the_estimate_follows_the_stored_order_of_the_stops() -> None:
    """It is what the driver sees on the phone, even if another order is shorter."""
    both = (carried("near", 1, 2, picked=1), carried("far", 8, 9, picked=1))
    assert arriving(0, *both, capacity=2) == {"near": (None, 6), "far": (None, 17)}
    assert arriving(0, *both, capacity=2, stops=("dropoff far", "dropoff near")) == {
        "far": (None, 13),
        "near": (None, 24),
    }


def test_who_has_nothing_has_no_stops_and_is_free_now() -> None:
    assert free_at(run_of(2), 1) == (AT, spot(2))


@pytest.mark.parametrize(("capacity", "minutes", "place"), [(1, 9, 3), (2, 2, 0)])
def test_a_driver_is_free_with_fewer_than_they_may_have(capacity: int, minutes: float, place: float) -> None:
    run = run_of(2, carried("a", 0, 3), capacity=capacity)
    at, where = free_at(run, capacity)
    assert (_minutes(at), where) == (minutes, spot(place))


def test_an_arrival_after_the_pickup_has_only_the_handover() -> None:
    run = run_of(0, carried("a", 0, 1, picked=1))
    assert arrivals(run) == {"a": Arrival(None, run.whens[0] + 120)}


def supply(name: str, free: float = 0, place: float = 0, **more: Any) -> Supply:
    """A driver who is free in so many minutes, so many kilometres up the street."""
    return Supply(name, more.pop("zone", "north"), AT + free * MINUTE, spot(place), **more)


def wanted(name: str, age: float = 1, pickup: float = 0, **more: Any) -> Wanted:
    """A delivery that waits for so many minutes, to a place a kilometre up the street."""
    place: Spot = spot(pickup)
    row: dict[str, Any] = {"zones": ("north",), "ready": AT, "since": AT - age * MINUTE, "radius_km": 5.0}
    return Wanted(name, pickup=place, dropoff=spot(pickup + 1), **row | more)


def waits(of: list[Wanted], drivers: list[Supply]) -> dict[str, float | str | None]:
    """In how many minutes each gets a driver, or why not."""
    queue = Queue(of, drivers, AT, ROADS)
    return {one.id: _minutes(queue.at[one.id]) if one.id in queue.at else queue.why[one.id] for one in of}


def test_the_oldest_gets_the_first_driver_and_the_next_waits_for_the_next() -> None:
    queue = [wanted("new", 1), wanted("old", 9), wanted("newest", 0)]
    assert waits(queue, [supply("dan"), supply("dora", free=3)]) == {"old": 0, "new": 3, "newest": 5}


def test_of_those_who_are_free_the_nearest_goes() -> None:
    far, near = supply("far", place=4), supply("near", place=1)
    assert waits([wanted("a", 2), wanted("b", 1), wanted("c", 0)], [far, near]) == {"a": 0, "b": 0, "c": 6}


def test_a_driver_with_the_offer_is_taken_by_it() -> None:
    queue = [wanted("old", 9), wanted("offered", 1, offered_to="dan")]
    assert waits(queue, [supply("dan", free=float("inf"))]) == {"offered": 0, "old": 5}
    assert waits([wanted("offered", offered_to="gone")], [supply("dan")]) == {"offered": 0}


def test_a_held_delivery_waits_from_the_end_of_its_hold() -> None:
    assert waits([wanted("held", -8, held=True), wanted("now", 1)], [supply("dan")]) == {"now": 0, "held": 8}


def test_helpers_come_after_drivers_of_the_zone() -> None:
    south = supply("south", zone="south")
    assert waits([wanted("a", zones=("north", "south"))], [south, supply("dan", free=9)]) == {"a": 9}
    assert waits([wanted("a", zones=("north", "south"))], [south]) == {"a": 0}


@pytest.mark.parametrize(
    ("one", "drivers", "why"),
    [
        (wanted("a"), [], "no_driver_in_zone"),
        (wanted("a"), [supply("dan", zone="south")], "no_driver_in_zone"),
        (wanted("a"), [supply("dan", place=9)], "no_driver_in_radius"),
        (wanted("a", requirements=frozenset({"bike"})), [supply("dan")], "requirements_not_met"),
        (wanted("a", excluded=frozenset({"dan", "dora"})), [supply("dan")], "all_excluded"),
        (wanted("a"), [supply("dan", free=float("inf"))], "no_driver_dispatchable"),
        (wanted("a"), [supply("dan", place=4, off=AT + MINUTE)], "shifts_end_too_soon"),
        (wanted("a", needs_check=True), [supply("dan")], "trip_too_long"),
        (wanted("a", zones=("north", "south")), [supply("dan", place=9), supply("dora", zone="south", place=9)],
         "no_driver_in_radius"),
    ],
)  # fmt: skip
def test_nobody_can_get_it_and_the_reason_is_said(one: Wanted, drivers: list[Supply], why: str) -> None:
    assert waits([one], drivers) == {"a": why}


def test_requirements_and_exclusions_leave_the_others() -> None:
    bike = supply("dora", free=2, tags=frozenset({"bike"}))
    assert waits([wanted("a", requirements=frozenset({"bike"}))], [supply("dan"), bike]) == {"a": 2}
    assert waits([wanted("a", excluded=frozenset({"dan"}))], [supply("dan"), bike]) == {"a": 2}


@dataclass
class Zone:
    """What is in it."""

    of: list[Wanted]
    drivers: list[Supply]

    def forecast(self, **numbers: ZoneDemand) -> list[ZoneForecast]:
        return forecast(Queue(self.of, self.drivers, AT, ROADS), self.of, self.drivers, numbers, AT)


def test_a_zone_is_clear_when_the_last_that_waits_has_a_driver() -> None:
    drivers = [supply("dan"), supply("dora", free=4), supply("max", free=12), supply("home", free=3, off=AT)]
    zone = Zone([wanted("a", 3), wanted("b", 2), wanted("held", -30, held=True)], drivers)
    numbers = ZoneDemand(2, 1, (0, 1, 2))
    assert zone.forecast(north=numbers) == [ZoneForecast("north", numbers, 1, (1, 1, 2), 4)]


def test_what_nobody_can_get_does_not_count_while_others_can() -> None:
    zone = Zone([wanted("a", 3), wanted("far", 2, pickup=90)], [supply("dan", free=1.5)])
    assert [one.minutes_to_clear for one in zone.forecast()] == [2]


def test_without_drivers_it_is_not_known_and_the_reason_is_said() -> None:
    waiting = ZoneDemand(1)
    (only,) = Zone([wanted("a")], []).forecast(north=waiting)
    assert only == ZoneForecast("north", waiting, 0, (0, 0, 0), None, "no_driver_in_zone")


def test_a_zone_where_nothing_waits_is_clear() -> None:
    assert Zone([], [supply("dan")]).forecast() == [ZoneForecast("north", ZoneDemand(), 1, (0, 0, 0), 0)]
