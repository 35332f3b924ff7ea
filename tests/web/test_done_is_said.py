"""What was committed is answered as done, even if nothing more can be read from the database."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from server.store import engine
from tests.conftest import StartNode
from tests.waiting import PATIENCE, until
from tests.web.conftest import Site

CONNECTIONS = 2


@asynccontextmanager
async def a_site(node: StartNode) -> AsyncIterator[Site]:
    """A node with few connections for reading; those for writing are not among them."""
    site = Site(await node(database_pool_size=CONNECTIONS))
    try:
        yield site
    finally:
        await site.close()


@asynccontextmanager
async def nothing_can_be_read(site: Site) -> AsyncIterator[None]:
    """All connections for reading are taken, and a node soon gives up waiting for one."""
    pool = site.node.app.state.node.database.pool
    async with AsyncExitStack() as taken:
        taken.enter_context(pytest.MonkeyPatch.context()).setattr(engine, "ACQUIRE_SECONDS", 0.1)
        for _ in range(CONNECTIONS):
            await taken.enter_async_context(pool.acquire(timeout=PATIENCE))
        yield


async def test_a_wait_that_was_acknowledged(node: StartNode) -> None:
    async with a_site(node) as site:
        delivery = await site.delivery()
        async with nothing_can_be_read(site):
            path = f"/admin/unassigned-orders/{delivery['id']}/acknowledge"
            done = await site.alice.post(path, json={"note": "I call them"})
        assert done.status_code == 200, done.text
        (row,) = (await site.vic.get("/admin/unassigned-orders")).json()["items"]
        assert done.json() == row
        assert (row["acknowledgedBy"], row["acknowledgementNote"]) == ("alice", "I call them")


async def test_an_alert_that_was_acknowledged(node: StartNode) -> None:
    async with a_site(node) as site:
        policy = (await site.ada.get("/admin/policy")).json()
        policy["alerts"] |= {"unassignedCount": 0}
        assert (await site.ada.put("/admin/policy", json=policy)).status_code == 200
        await site.delivery()

        async def raised() -> Any:
            items = (await site.vic.get("/admin/alerts")).json()["items"]
            return items[0]["id"] if items else None

        alert_id = await until(raised)
        async with nothing_can_be_read(site):
            done = await site.alice.post(f"/admin/alerts/{alert_id}/acknowledge")
        assert done.status_code == 200, done.text
        (row,) = (await site.vic.get("/admin/alerts")).json()["items"]
        assert done.json() == row | {"currentValue": None}  # that one takes a read
        assert row["acknowledgedBy"] == "alice"
