"""Finding drivers: SQL and columns that agree with the rule, and boxes that hold their circles."""

from datetime import timedelta
from itertools import product
from math import isnan
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from server.dispatch.model import Point
from server.dispatch.offers import dispatchable
from server.dispatch.planning.nearby import Nearby
from server.dispatch.policy import DEFAULT_POLICY
from server.dispatch.travel import haversine_km
from server.ids import FIRST_ID, new_id
from server.store.clock import SAMPLES, DatabaseTime
from server.store.engine import Database
from server.store.reads.fleet import drivers_at_work
from server.store.reads.waiting import all_at_work, box_around, dispatchable_among
from server.store.rows import read_rows

STATES: list[dict[str, Any]] = [
    {"availability": availability, "active_count": active, "offered": offered, "seen": seen, "called": called}
    | ({"session": True} if session else {})
    for availability, active, offered, seen, called, session in product(
        ("available", "on_break", "offline"), (0, 1), (False, True), (None, 10, 400), (None, 10, 100), (False, True)
    )
]


async def insert(database: Database, state: dict[str, Any]) -> str:
    driver_id, session = new_id(), new_id() if "session" in state else None
    await database.pool.execute(
        "INSERT INTO drivers (id, name, zone, capacity, created_at, availability, last_availability_change, session_id,"
        " session_node, expiries_in_a_row, stream_seq, active_count, open_offer_id, open_offer_delivery_id)"
        " VALUES ($1, 'Dan', 'default', 1, now(), $2, now(), $3, $3, 0, 0, $4, $5, $5)",
        driver_id,
        state["availability"],
        session,
        state["active_count"],
        new_id() if state["offered"] else None,
    )
    seen = state["seen"]
    await database.pool.execute(
        "INSERT INTO driver_positions (driver_id, lat, lon, at, last_call_at) VALUES ($1, $2, $2,"
        " now() - make_interval(secs => $3), now() - make_interval(secs => $4))",
        driver_id,
        None if seen is None else 50.0,
        None if seen is None else float(seen),
        None if state["called"] is None else float(state["called"]),
    )
    return driver_id


async def test_the_database_calls_the_same_drivers_dispatchable_as_the_rule(database: Database) -> None:
    ids = [await insert(database, state) for state in STATES]
    rows = await read_rows(database.pool, [], ids)
    free = {driver.id for driver in rows.drivers.values() if dispatchable(driver, rows.now, DEFAULT_POLICY) is None}
    assert 0 < len(free) < len(ids)
    assert {row[0] for row in await dispatchable_among(database.pool, DEFAULT_POLICY, ids)} == free
    nearby = Nearby()
    for driver in await drivers_at_work(database.pool, FIRST_ID, len(ids) + 1):
        nearby.put(driver)
    found = nearby.free(["default"], rows.now, DEFAULT_POLICY)
    assert set(found.ids) == free
    assert set(found.lats) == set(found.lons) == {50.0}
    everybody = (await all_at_work(database.pool, DEFAULT_POLICY))["default"]
    at_work = {d.id: d for d in rows.drivers.values() if d.availability != "offline"}
    assert set(everybody.ids) == set(at_work)
    for driver_id, lat, state in zip(everybody.ids, everybody.lats, everybody.states, strict=True):
        driver = at_work[driver_id]
        assert isnan(lat) == (driver.position is None)
        assert (state == "free") == (driver_id in free)
        assert (state == "on_break") == (driver.availability == "on_break")
        occupied = driver.availability == "available" and (driver.busy or driver.open_offer_id is not None)
        assert (state == "occupied") == occupied
    around = nearby.around(Point(50, 50), "default", 5, rows.now, DEFAULT_POLICY)["default"]
    placed = dict(zip(everybody.ids, everybody.states, strict=True))
    assert all(placed[driver_id] == state for driver_id, state in zip(around.ids, around.states, strict=True))
    assert set(around.states) == {placed[of] for of, driver in at_work.items() if driver.position is not None}


@given(
    lat=st.floats(-90, 90), lon=st.floats(-180, 180), other=st.floats(-90, 90), far=st.floats(-180, 180),
    km=st.floats(0.1, 100),
)  # fmt: skip
def test_a_box_holds_all_of_its_circle(lat: float, lon: float, other: float, far: float, km: float) -> None:
    near_lat, near_lon = lat + (other - lat) / 500, lon + (far - lon) / 500
    assume(haversine_km(lat, lon, near_lat, near_lon) <= km)
    south, north, west, east = box_around(lat, lon, km)
    assert south <= near_lat <= north
    assert west <= near_lon <= east


@pytest.mark.parametrize(("lat", "lon"), [(10.0, 179.99), (-10.0, -179.99), (89.97, 0.0), (-89.97, 20.0)])
def test_a_box_goes_all_the_way_round_where_it_must(lat: float, lon: float) -> None:
    assert box_around(lat, lon, 5)[2:] == (-180, 180)


async def test_the_databases_time_is_never_ahead_of_what_it_said(database: Database) -> None:
    clock = DatabaseTime()
    for _ in range(5):
        clock.heard(await database.pool.fetchval("SELECT clock_timestamp()"))
        assert clock.now() <= await database.pool.fetchval("SELECT clock_timestamp()")


async def test_a_clock_that_was_set_back_is_followed(database: Database) -> None:
    clock = DatabaseTime()
    now = await database.pool.fetchval("SELECT clock_timestamp()")
    clock.heard(now + timedelta(hours=1))
    for _ in range(SAMPLES):
        clock.heard(now)
    assert clock.now() - now < timedelta(minutes=1)
    assert clock.on_loop(clock.now()) == pytest.approx(clock.on_loop(now), abs=60)
