"""Positions on their way to the database."""

import asyncio

import asyncpg

from tests.conftest import StartNode
from tests.sockets.test_live_sockets import HERE, a_driver
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
