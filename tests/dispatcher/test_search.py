"""Finding drivers: SQL that agrees with the rule, boxes that hold their circles, a Redis that stops answering."""

import asyncio
import select
import time
from datetime import timedelta
from itertools import product
from math import isnan
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from server.dispatch.offers import dispatchable
from server.dispatch.policy import DEFAULT_POLICY
from server.dispatch.travel import haversine_km
from server.dispatcher import search
from server.dispatcher.search import INDEX_SECONDS, box_around
from server.ids import new_id
from server.store.clock import SAMPLES, DatabaseTime
from server.store.engine import Database
from server.store.reads.waiting import Box, all_at_work, dispatchable_ids, dispatchable_in
from server.store.rows import read_rows
from tests.builders import a_delivery
from tests.dispatcher.conftest import KM, PICKUP, Dispatch
from tests.waiting import until

NORTH, EAST = PICKUP
EVERYWHERE = Box("default", -90, 90, -180, 180)

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
    assert set((await dispatchable_ids(database.pool, DEFAULT_POLICY, ids))["default"]) == free
    found, lats, lons = (await dispatchable_in(database.pool, DEFAULT_POLICY, [EVERYWHERE]))["default"]
    assert set(found) == free
    assert set(lats) == set(lons) == {50.0}
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


async def test_redis_that_stops_answering_holds_up_nobody(dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does an answer that comes too late for its question get to be the answer to the next."""
    await until(lambda: dispatch.node.lease.held and dispatch.node.bus.connected)
    dan = await dispatch.a_driver()
    dora = await dispatch.a_driver(NORTH + 100 * KM)
    finder = dispatch.node.matcher._finder
    monkeypatch.setattr(search, "INDEX_REST_SECONDS", 600.0)
    await dispatch.node.bus.redis.client_pause(600)
    first = await dispatch.an_order()
    await until(lambda: dispatch.offered_to(first))
    assert await dispatch.offered_to(first) == dan
    assert finder._ask_again_at > time.monotonic()
    finder._ask_again_at = time.monotonic()
    assert finder.index_usable
    second = await dispatch.an_order(NORTH + 100 * KM)
    await until(lambda: dispatch.offered_to(second))
    assert await dispatch.offered_to(second) == dora


async def test_a_node_that_was_busy_itself_does_not_blame_redis(
    dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its timer is due when it comes back, and the answer is there, unread: the answer counts."""
    monkeypatch.setattr(search, "UNREAD_SECONDS", 30.0)
    await until(lambda: dispatch.node.lease.held and dispatch.node.bus.connected)
    finder = dispatch.node.matcher._finder
    loop = asyncio.get_running_loop()
    await finder.in_index([a_delivery()], dispatch.node.policies.current)
    await dispatch.node.bus.redis.client_pause(50)
    connection: Any = finder._pipe._connection
    send = connection.send_packed_command

    def be_busy() -> None:
        answer_is_there, _, _ = select.select([connection._writer.get_extra_info("socket")], [], [], 30)
        assert answer_is_there
        time.sleep(2 * INDEX_SECONDS)

    async def send_and_be_busy(*args: Any, **options: Any) -> None:
        await send(*args, **options)
        loop.call_soon(be_busy)

    connection.send_packed_command = send_and_be_busy
    assert await finder.in_index([a_delivery()], dispatch.node.policies.current) is not None
    assert finder.index_usable


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
