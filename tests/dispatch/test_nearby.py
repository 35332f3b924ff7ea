"""The drivers at work as columns: they say of every driver what the rules say, whatever came before."""

import gc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from server.dispatch.model import Driver, Position
from server.dispatch.offers import dispatchable, unfit
from server.dispatch.planning.nearby import FIRST_ROWS, Columns, Nearby, distances
from server.dispatch.policy import DEFAULT_POLICY, PlanningPolicy, Policy
from server.dispatch.search_reasons import why_no_driver
from server.dispatch.travel import haversine_km
from tests.builders import (
    DAN,
    DORA,
    NOW,
    PICKUP,
    SESSION,
    a_delivery,
    a_driver,
    a_driver_gone,
    an_open_offer,
    id_of,
    minutes,
    seconds,
)

KM = 1 / 111.19508
ZONES = ("default", "harbour")


def nearby_of(*drivers: Driver) -> Nearby:
    nearby = Nearby()
    for driver in drivers:
        nearby.put(driver)
    return nearby


def free_ids(nearby: Nearby, *zones: str, **options: Any) -> set[str]:
    return set(nearby.free(zones or ZONES, NOW, DEFAULT_POLICY, **options).ids)


def at(km: float, *, age: float = 5) -> Position:
    return Position(PICKUP.lat + km * KM, PICKUP.lon, NOW - seconds(age))


def test_a_zone_is_forgotten_with_its_last_driver() -> None:
    """Order sources name zones as they like, and drivers come and go."""
    nearby = nearby_of(a_driver("Dan", zone="harbour"), a_driver("Dora", zone="harbour"))
    nearby.put(a_driver("Dan", zone="north"))
    nearby.remove(DORA)
    assert list(nearby._zones) == ["north"]
    nearby.put(a_driver("Dan", zone="north", availability="offline"))
    assert not nearby._zones


NEXT_JOBS = Policy(planning=PlanningPolicy(next_jobs=1))
drivers = st.builds(
    a_driver,
    st.sampled_from(["Dan", "Dora", "Max", "Mia"]),
    availability=st.sampled_from(["available", "on_break", "paused", "shift_ended", "offline"]),
    zone=st.sampled_from(ZONES),
    capacity=st.integers(1, 2),
    active_count=st.integers(0, 2),
    open_offer_id=st.none() | st.just(id_of("offer")),
    session_id=st.none() | st.just(SESSION),
    active=st.booleans(),
    shift_ends_at=st.none() | st.integers(-2, 60).map(lambda n: NOW + minutes(n)),
    tags=st.sampled_from([(), ("Bike",)]),
    position=st.none() | st.integers(0, 400).map(lambda age: at(1, age=age)),
    last_call_at=st.none() | st.integers(0, 120).map(lambda age: NOW - seconds(age)),
)


@settings(max_examples=300)
@given(rows=st.lists(drivers, max_size=12), policy=st.sampled_from([DEFAULT_POLICY, NEXT_JOBS]))
def test_the_columns_agree_with_the_rules_about_every_driver(rows: list[Driver], policy: Policy) -> None:
    nearby = nearby_of(*rows)
    latest: dict[str, Driver] = {}
    for row in rows:
        latest[row.id] = _merged(latest.get(row.id), row)
    for zone in ZONES:
        able = {d.id for d in latest.values() if d.zone == zone and dispatchable(d, NOW, policy) is None}
        assert set(nearby.free([zone], NOW, policy).ids) == able
    at_work = {d.id for d in latest.values() if d.active and d.availability not in ("offline", "shift_ended")}
    assert set(nearby.drivers) == at_work
    for driver_id in at_work:
        assert nearby.driver(driver_id).position == latest[driver_id].position
        assert dispatchable(nearby.driver(driver_id), NOW, policy) == dispatchable(latest[driver_id], NOW, policy)
    order = a_delivery(requirements=("bike",), prep_seconds=0)
    free = nearby.free(ZONES, NOW, DEFAULT_POLICY)
    fits = nearby.who_has(free.ids, order.requirements) & nearby.who_is_in_time(free, order, NOW, DEFAULT_POLICY)
    assert nearby.who_has(free.ids, ()).tolist() == [True] * len(free.ids)
    assert set(free.ids[fits]) == {i for i in free.ids if unfit(order, latest[i], NOW, DEFAULT_POLICY) is None}


def _merged(known: Driver | None, row: Driver) -> Driver:
    """The row with the newest position; and the newest call, as long as there is no socket."""
    if known is None or not known.active or known.availability in ("offline", "shift_ended"):
        return row
    positions = [each.position for each in (known, row) if each.position is not None]
    calls = [each.last_call_at for each in (known, row) if each.last_call_at is not None]
    if known.session_id is not None:
        calls = [row.last_call_at] if row.last_call_at is not None else []
    return structs.replace(
        row,
        position=max(positions, key=lambda position: position.at, default=None),
        last_call_at=max(calls, default=None),
    )


def test_a_newer_position_counts_and_an_older_one_does_not() -> None:
    nearby = nearby_of(a_driver(position=at(3, age=400)))
    assert free_ids(nearby) == set()
    nearby.move(DAN, *_where(at(2, age=1)))
    nearby.move(DAN, *_where(at(1, age=2)))
    assert nearby.place(DAN) == _where(at(2, age=1))
    nearby.put(a_driver(position=at(3, age=400)))
    assert nearby.place(DAN) == _where(at(2, age=1))
    assert free_ids(nearby) == {DAN}
    nearby.put(a_driver(availability="offline"))
    nearby.move(DAN, *_where(at(0)))
    nearby.remove(DAN)
    assert nearby.place(DAN) is None
    assert nearby_of(a_driver(position=None)).place(DAN) is None


def test_a_driver_of_whom_nothing_but_the_load_changed_is_seen_as_they_are() -> None:
    """Their place stays, also a newer one than that of the row."""
    nearby = nearby_of(a_driver(capacity=2))
    nearby.move(DAN, *_where(at(2, age=1)))
    nearby.put(a_driver(capacity=2, open_offer_id=id_of("offer")))
    assert free_ids(nearby) == set()
    nearby.put(a_driver(capacity=2, active_count=1))
    free = nearby.free(ZONES, NOW, DEFAULT_POLICY)
    assert (list(free.ids), list(free.loads)) == ([DAN], [1.0])
    assert nearby.place(DAN) == _where(at(2, age=1))
    nearby.put(a_driver(capacity=1, active_count=1))
    assert free_ids(nearby) == set()
    assert nearby.driver(DAN).active_count == 1
    nearby.put(a_driver(shift_ends_at=NOW - minutes(1)))
    assert free_ids(nearby) == set()


def test_a_call_makes_a_driver_without_a_socket_dispatchable() -> None:
    nearby = nearby_of(a_driver_gone())
    assert free_ids(nearby) == set()
    nearby.call(DAN, NOW.timestamp() - 1)
    nearby.call(DAN, NOW.timestamp() - 300)
    nearby.call(DORA, NOW.timestamp())
    assert free_ids(nearby) == {DAN}
    nearby.put(a_driver_gone())
    assert free_ids(nearby) == {DAN}
    nearby.put(a_driver_gone("Dora"), NOW.timestamp())
    assert free_ids(nearby) == {DAN, DORA}


def test_some_are_left_out_and_some_are_asked_for() -> None:
    nearby = nearby_of(a_driver(), a_driver("Dora"), a_driver("Max", zone="harbour"))
    assert free_ids(nearby, without={DAN, "nobody"}) == {DORA, id_of("Max")}
    assert free_ids(nearby, among={DAN, id_of("Max"), "nobody"}) == {DAN, id_of("Max")}
    assert free_ids(nearby, among={DAN}, without={DAN}) == set()
    assert free_ids(nearby, "nowhere") == set()
    free = nearby.free(["default"], NOW, DEFAULT_POLICY)
    assert len(free) == 2
    assert list(free.only([1]).ids) == [free.ids[1]]


def test_the_reason_is_the_same_as_with_all_drivers() -> None:
    """Only those who matter are handed over: in the radius, else the nearest."""
    pickup = PICKUP
    assert nearby_of().around(pickup, "default", 5, NOW, DEFAULT_POLICY) == {}

    def reason(*rows: Driver) -> tuple[str, str | None]:
        around = nearby_of(*rows).around(pickup, "default", 5, NOW, DEFAULT_POLICY)
        why = why_no_driver(pickup, "default", 5, around)
        return why.reason, why.nearest.driver_id if why.nearest is not None else None

    far, farther = a_driver("far", position=at(8)), a_driver("farther", position=at(9))
    assert reason(far, a_driver(availability="paused", position=at(6))) == ("no_driver_in_radius", far.id)
    assert reason(structs.replace(far, availability="paused"), farther) == ("no_driver_in_radius", farther.id)
    assert reason(structs.replace(far, zone="harbour"), a_driver("gone", availability="offline")) == (
        "no_driver_in_zone", far.id,
    )  # fmt: skip
    assert reason(far, a_driver(availability="on_break")) == ("all_on_break", None)
    assert reason(far, a_driver(active_count=1)) == ("all_busy", None)
    assert reason(far, a_driver_gone()) == ("no_driver_dispatchable", None)
    assert reason(a_driver(position=None)) == ("no_driver_in_radius", None)


@pytest.mark.parametrize(("lat", "lon"), [(0, 0), (52.5, 13.4), (-89.9, 179.9)])
def test_distances_are_those_of_the_haversine_formula(lat: float, lon: float) -> None:
    nearby = nearby_of(a_driver(position=Position(lat, lon, NOW)))
    free = nearby.free(["default"], NOW, DEFAULT_POLICY)
    km = haversine_km(lat, lon, PICKUP.lat, PICKUP.lon)
    assert distances(free.places, PICKUP) == pytest.approx([km], rel=1e-6)


def test_columns_grow() -> None:
    columns = Columns(1)
    for number in range(3 * FIRST_ROWS):
        columns.put(str(number), (number,))
    assert columns.numbers[0].tolist() == list(range(3 * FIRST_ROWS))
    assert columns.ids.tolist() == [str(number) for number in range(3 * FIRST_ROWS)]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2 * FIRST_ROWS)), max_size=100))
def test_columns_hold_what_was_put_in_and_not_removed(changes: list[tuple[bool, int]]) -> None:
    columns, model = Columns(2), dict[str, float]()
    for number, (puts, key) in enumerate(changes):
        if puts:
            columns.put(str(key), (number, -number))
            model[str(key)] = number
        else:
            columns.remove(str(key))
            model.pop(str(key), None)
    assert dict(zip(columns.ids.tolist(), columns.numbers[0].tolist(), strict=True)) == model
    assert np.array_equal(columns.numbers[0], -columns.numbers[1])
    assert len(columns) == len(model)


def _where(position: Position) -> tuple[float, float, float]:
    return position.lat, position.lon, position.at.timestamp()


def test_how_far_the_nearest_driver_is_who_can_take_it_sooner_or_later() -> None:
    soup, cold = a_delivery(), a_delivery(requirements=("cold",))
    assert Nearby().nearest_km(soup, 5) is None
    nearby = nearby_of(
        a_driver("Dan", position=at(4), active_count=1),
        a_driver("Dora", position=at(6), tags=("cold",)),
        a_driver("Max", position=at(1), availability="paused"),
        a_driver("Mia", position=at(1), zone="harbour"),
    )
    assert nearby.nearest_km(soup, 5) == pytest.approx(4, abs=0.01)
    assert nearby.nearest_km(soup, 3) is None
    assert nearby.nearest_km(cold, 5) is None
    assert nearby.nearest_km(cold, 10) == pytest.approx(6, abs=0.01)


def test_the_collector_of_cycles_need_not_look_at_drivers_and_deliveries() -> None:
    """With 20,000 drivers, each look at all of them stopped the event loop for 4 ms."""
    driver, delivery = a_driver("Dan", position=at(1), tags=("bike",)), a_delivery("soup")
    an_open_offer(delivery, driver)
    assert not gc.is_tracked(driver)
    assert not gc.is_tracked(delivery)


def test_at_work_are_all_who_can_get_an_offer_now_or_later() -> None:
    nearby = nearby_of(
        a_driver("free"),
        a_driver("full", capacity=1, active_count=1),
        a_driver("asked", open_offer_id=id_of("offer")),
        a_driver("old", position=at(0, age=900)),
        a_driver("break", availability="on_break"),
        a_driver("reserved"),
    )
    found = nearby.at_work("default", NOW, DEFAULT_POLICY, [id_of("reserved"), id_of("nobody")])
    loads = dict(zip(found.ids.tolist(), found.loads.tolist(), strict=True))
    assert loads == {id_of("free"): 0, id_of("full"): 1, id_of("asked"): 1}
    assert len(nearby.at_work("harbour", NOW, DEFAULT_POLICY)) == 0
