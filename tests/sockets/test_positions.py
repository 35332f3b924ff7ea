"""Positions on their way to the database."""

import asyncio

import asyncpg

from server.dispatch.commands import RegisterDriver
from server.dispatch.model import Actor
from server.ids import new_id
from tests.conftest import StartNode
from tests.driver_app import driver_app
from tests.sockets.test_live_sockets import HERE, a_driver, ready
from tests.waiting import until

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
STORED = "SELECT count(*) FROM driver_positions WHERE driver_id = $1 AND lat = $2 AND lon = $3"


async def test_the_last_store_of_a_node_that_stops_waits_for_the_one_under_way(node: StartNode) -> None:
    """Positions that a loop is writing just then are neither in the database nor waiting to be written. Stopping ends
    that loop right after the last store.
    """
    started = await node()
    here, dan = started.app.state.node, await a_driver(started)
    there = await asyncpg.connect(here.settings.database_url)
    try:
        async with there.transaction():
            await there.execute("LOCK TABLE driver_positions IN SHARE MODE")
            here.positions.moved(dan, **HERE)
            writing = asyncio.create_task(here.positions.store())

            async def one_waits() -> bool:
                return bool(await there.fetchval(WAITING))

            await until(one_waits)
            last = asyncio.create_task(here.positions.store())
            await asyncio.sleep(0)
            assert not last.done()
            writing.cancel()
        await last
        assert await there.fetchval(STORED, dan, HERE["lat"], HERE["lon"]) == 1
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
