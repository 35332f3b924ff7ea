"""Positions on their way to the database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from server.dispatch.commands import RegisterDriver
from server.dispatch.model import Actor
from server.ids import new_id
from tests.conftest import Node, StartNode
from tests.driver_app import driver_app
from tests.sockets.test_live_sockets import HERE, THERE, a_driver, an_order, call, ready
from tests.waiting import until

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
STORED = "SELECT count(*) FROM driver_positions WHERE driver_id = $1 AND lat = $2 AND lon = $3"


@asynccontextmanager
async def a_store_that_waits(here: Any, driver_id: str) -> AsyncIterator["asyncio.Task[None]"]:
    """A store of this driver's position; it waits until the end, because somebody else holds the table."""
    there = await asyncpg.connect(here.settings.database_url)
    try:
        async with there.transaction():
            await there.execute("LOCK TABLE driver_positions IN SHARE MODE")
            here.positions.moved(driver_id, **HERE)
            storing = asyncio.create_task(here.positions.store())

            async def one_waits() -> bool:
                return bool(await there.fetchval(WAITING))

            await until(one_waits)
            yield storing
    finally:
        await there.close()


async def test_the_last_store_of_a_node_that_stops_waits_for_the_one_under_way(node: StartNode) -> None:
    """Positions that a loop is writing just then are neither in the database nor waiting to be written. Stopping ends
    that loop right after the last store.
    """
    started = await node()
    here, dan = started.app.state.node, await a_driver(started)
    async with a_store_that_waits(here, dan) as writing:
        last = asyncio.create_task(here.positions.store())
        await asyncio.sleep(0)
        assert not last.done()
        writing.cancel()
    await last
    assert await started.change(STORED, dan, HERE["lat"], HERE["lon"]) == 1


async def test_positions_are_stored_some_at_a_time_and_those_that_are_left_next_time(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of drivers without a stored one come first."""
    monkeypatch.setattr("server.sockets.positions.SLICE", 1)
    monkeypatch.setattr("server.sockets.positions.TO_REDIS_SECONDS", 3600)
    started = await node()
    here, dora, dan = started.app.state.node, await a_driver(started, "Dora"), await a_driver(started)
    here.positions.moved(dora, **HERE)
    await here.positions.store()
    there = await asyncpg.connect(here.settings.database_url)
    try:
        async with there.transaction():
            await there.execute("SELECT FROM driver_positions WHERE driver_id = $1 FOR UPDATE", dora)
            here.positions.moved(dora, **THERE)
            here.positions.moved(dan, **THERE)
            storing = asyncio.create_task(here.positions.store())

            async def one_waits() -> bool:
                return bool(await there.fetchval(WAITING))

            await until(one_waits)
            assert await there.fetchval(STORED, dan, THERE["lat"], THERE["lon"]) == 1
            storing.cancel()
            await asyncio.wait([storing])
        assert await there.fetchval(STORED, dora, HERE["lat"], HERE["lon"]) == 1
        await here.positions.store()
        assert await there.fetchval(STORED, dora, THERE["lat"], THERE["lon"]) == 1
    finally:
        await there.close()


async def test_a_place_as_close_to_zero_as_can_be_is_stored_like_any_other(node: StartNode) -> None:
    """PostgreSQL refuses to multiply what is too small for it: one such position would hold up everybody's."""
    here = (await node()).app.state.node
    started_at = "SELECT still_since FROM driver_positions WHERE driver_id = $1 AND lat = $2"
    dan = new_id()
    await here.executor.submit(RegisterDriver(dan, "Dan", "default", 1, Actor("service", "shop")))
    for lat, lon in ((5e-324, 1.0), (0.0, 1.0), (1e-200, 1.0), (0.0, 1.0)):
        here.positions.moved(dan, lat, lon)
        await here.positions.store()
        assert await here.database.pool.fetchval(started_at, dan, lat) is not None
    for lat in (90.0, -90.0):
        for _ in range(2):
            here.positions.moved(dan, lat, 1.0)
        await here.positions.store()
        assert await here.database.pool.fetchval(started_at, dan, lat) is not None


async def test_a_later_position_is_never_older(node: StartNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate of the database's time goes back when its best sample is forgotten."""
    here = (await node()).app.state.node
    dan, now = new_id(), here.clock.seconds()
    for behind in (0.0, 0.02):
        monkeypatch.setattr(here.clock, "seconds", lambda behind=behind: now - behind)
        here.positions.moved(dan, 1.0 + behind / 1000, 1.0)
    assert here.positions.where(dan) == (1.00002, 1.0, now)


async def test_who_comes_back_is_judged_by_where_they_were(node: StartNode) -> None:
    """Another node hears of them for the first time: it knows the last place from the database."""
    one, two = await node(), await node()
    dan = await a_driver(one)
    async with driver_app(one.ws_url, dan) as app:
        await ready(app)
    await one.app.state.node.positions.store()
    async with driver_app(two.ws_url, dan) as app:
        await app.hear("hello")
        await app.ask("location", lat=HERE["lat"] + 1, lon=HERE["lon"])
        latest = two.app.state.node.positions.latest(dan)
        assert (latest.lat, latest.lon) == (HERE["lat"], HERE["lon"])
        await app.ask("location", lat=HERE["lat"] + 1, lon=HERE["lon"])
        assert two.app.state.node.positions.latest(dan).lat == HERE["lat"] + 1


FAR = {"lat": 53.5, "lon": 13.4}


async def in_index(node: Node, zone: str, driver_id: str) -> tuple[float, float] | None:
    """Latitude and longitude of a driver in a zone's index, rounded to some 100 m; None if they are not in it."""
    bus = node.app.state.node.bus
    (found,) = await bus.redis.geopos(bus.geo_key(zone), driver_id)
    return (round(found[1], 3), round(found[0], 3)) if found is not None else None


async def test_a_driver_whose_zone_another_node_changes_is_found_where_they_are(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the comparison of the index with the database, and without reading the zone there."""
    monkeypatch.setattr("server.redis.index.RECONCILE_SECONDS", 3600)
    monkeypatch.setattr("server.sockets.positions.TO_DATABASE_SECONDS", 3600)
    one, two = await node(), await node()
    dan = await a_driver(one, zone="north")
    async with driver_app(one.ws_url, dan) as app:
        await ready(app)

        async def listed(zone: str, lat: float) -> None:
            async def is_there() -> bool:
                return await in_index(one, zone, dan) == (lat, HERE["lon"])

            await until(is_there)

        await listed("north", HERE["lat"])
        await call(two, "PATCH", f"/drivers/{dan}", zone="south")
        await listed("south", HERE["lat"])
        assert await in_index(one, "north", dan) is None
        for _ in range(2):  # a jump counts once a second position agrees
            await app.ask("location", **FAR)
        await listed("south", FAR["lat"])
        assert await in_index(one, "north", dan) is None
        await an_order(two, zone="north", pickup=FAR, dropoff=FAR)
        wanted = await an_order(two, zone="south", pickup=FAR, dropoff=FAR)
        assert (await app.hear("offer"))["offer"]["deliveryId"] == wanted


async def test_a_node_that_missed_a_change_of_zone_reads_it_when_it_stores_the_position(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.redis.index.RECONCILE_SECONDS", 3600)
    here = await node()
    dan = await a_driver(here, zone="north")
    async with driver_app(here.ws_url, dan) as app:
        await ready(app)

        async def listed() -> bool:
            return await in_index(here, "north", dan) is not None

        await until(listed)
        await here.change("UPDATE drivers SET zone = 'south' WHERE id = $1", dan)
        await here.app.state.node.driver_index.reconcile()
        for _ in range(2):
            await app.ask("location", **FAR)
        await here.app.state.node.positions.store()

        async def moved() -> bool:
            return await in_index(here, "south", dan) == (FAR["lat"], FAR["lon"])

        await until(moved)
        assert await in_index(here, "north", dan) is None


async def test_drivers_who_only_call_are_forgotten_an_hour_after_their_last_position(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have no socket whose end could make the node forget them."""
    started = await node()
    here, places = started.app.state.node, started.app.state.node.positions
    dan, dora = await a_driver(started), await a_driver(started, "Dora")
    at_first = here.clock.seconds()
    await call(started, "POST", f"/drivers/{dan}/location", "driver", dan, **HERE)
    await call(started, "POST", f"/drivers/{dora}/location", "driver", dora, **HERE, accuracyM=5_000)
    await places.store()
    for seconds, known in ((3_500, {dan, dora}), (3_700, set())):
        monkeypatch.setattr(here.clock, "seconds", lambda seconds=seconds: at_first + seconds)
        places.forget_silent()
        assert remembered(here) == known


@pytest.mark.parametrize("fails", [False, True], ids=["stored", "fails"])
async def test_a_driver_who_leaves_while_their_position_is_stored_is_stored_and_then_forgotten(
    node: StartNode, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setattr("server.sockets.positions.TO_REDIS_SECONDS", 3600)
    started = await node()
    here, dan = started.app.state.node, await a_driver(started)
    async with a_store_that_waits(here, dan) as storing:
        here.positions.forget(dan)
        if fails:
            storing.cancel()
            await asyncio.wait([storing])
    await asyncio.wait([storing])
    await here.positions.store()
    assert await started.change(STORED, dan, HERE["lat"], HERE["lon"]) == 1
    in_an_hour = here.clock.seconds() + 3_700
    monkeypatch.setattr(here.clock, "seconds", lambda: in_an_hour)
    here.positions.forget_silent()
    assert remembered(here) == set()


async def test_a_node_forgets_calls_that_are_too_old_to_matter(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = await node()
    here = started.app.state.node
    dan, dora = await a_driver(started), await a_driver(started, "Dora")
    await here.seen(dan)
    here._called[dan] -= 31
    await here.seen(dora)
    assert list(here._called) == [dora]


def remembered(here: Any) -> set[str]:
    """The drivers that this node has in memory."""
    p = here.positions
    return {*p._latest, *p._doubtful, *p._zones, *p._stored_at}
