"""A database that takes no writes: the node says that it is not ready, and moves to the server that does, whole."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from server.embedded.servers import Embedded
from server.settings import Settings
from server.store.migrate import migrate
from tests.conftest import SECRET, Node, run_apart, running_node, short_folder
from tests.driver_app import driver_app
from tests.standby import Standby, ask
from tests.waiting import until
from tests.web.conftest import Site

IS_THERE = "SELECT EXISTS (SELECT FROM deliveries WHERE id = $1::text::uuid)"


@pytest.fixture
def primary() -> Iterator[Embedded]:
    """A migrated PostgreSQL of the test's own."""
    with short_folder() as folder, Embedded(folder, durable=False) as embedded:
        run_apart(partial(migrate, embedded.database_url))
        yield embedded


@asynccontextmanager
async def node_of(primary: Embedded, data: Path, *more: Embedded) -> AsyncIterator[Node]:
    """A node that knows these servers."""
    sockets = ",".join(parse_qs(urlsplit(one.database_url).query)["host"][0] for one in (primary, *more))
    settings = Settings(
        database_url=f"postgresql://callboard@/callboard?host={sockets}",
        redis_url=primary.redis_url,
        secret=SECRET,
        data=data,
        log_level="error",
    )
    async with running_node(settings) as node:
        yield node


@pytest.fixture
async def here(primary: Embedded, tmp_path: Path) -> AsyncIterator[Node]:
    async with node_of(primary, tmp_path) as node:
        yield node


async def administer(embedded: Embedded, *statements: str) -> None:
    connection = await asyncpg.connect(embedded.database_url, server_settings={"default_transaction_read_only": "off"})
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def read_only(embedded: Embedded, on: bool = True) -> None:
    setting = "SET default_transaction_read_only = on" if on else "RESET default_transaction_read_only"
    await administer(embedded, f"ALTER SYSTEM {setting}", "SELECT pg_reload_conf()")


async def until_ready(site: Site, status: int) -> Any:
    async def ready() -> Any:
        answer = await site.nobody.get("/health/ready")
        return answer.json() if answer.status_code == status else None

    return await until(ready)


async def test_a_node_moves_whole_to_the_server_that_takes_writes(primary: Embedded, tmp_path: Path) -> None:
    """A fail-over to a standby: the old server stays alive, and keeps all its connections."""
    standby = Standby(primary)
    try:
        await standby.start()
        async with node_of(primary, tmp_path, standby.server) as here:
            site = Site(here)
            driver = await site.driver(at_work=True)
            async with driver_app(here.ws_url, driver.id) as dan:
                before = await site.delivery()
                first = await dan.hear("offer")
                pool = here.app.state.node.database.pool
                await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.2)") for _ in range(pool.get_max_size())))
                await standby.take_over()

                async def ordered() -> Any:
                    made = await site.shop.post("/deliveries", json=site.order())
                    return made.json() if made.status_code == 201 else None

                after = await until(ordered)
                for delivery_id in (before["id"], after["id"]):
                    found = await asyncio.gather(*(site.shop.get(f"/deliveries/{delivery_id}") for _ in range(24)))
                    assert {answer.status_code for answer in found} == {200}
                    assert await ask(standby.url, IS_THERE, delivery_id)
                shown = await until_ready(site, 200)
                assert shown["components"]["database"] == "up"
                await dan.ask("reject", offerId=first["offer"]["id"])
                await dan.hear(lambda m: m["type"] == "offer" and m["offer"]["deliveryId"] == after["id"])
            await site.close()
    finally:
        standby.stop()


async def test_a_node_whose_database_takes_no_writes_is_not_ready(primary: Embedded, here: Node) -> None:
    site = Site(here)
    await until_ready(site, 200)
    await read_only(primary)
    shown = await until_ready(site, 503)
    assert shown["components"]["database"] == "down"
    await read_only(primary, on=False)
    await until_ready(site, 200)
    assert (await site.delivery())["status"] == "READY"
    await site.close()


async def test_a_full_disk_is_no_place_for_orders(primary: Embedded, here: Node) -> None:
    """Whatever the reason: what counts is that the node's own writes fail."""
    site = Site(here)
    await until_ready(site, 200)
    await administer(
        primary,
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON nodes FOR EACH STATEMENT EXECUTE FUNCTION full_disk()",
    )
    await until_ready(site, 503)
    await administer(primary, "DROP TRIGGER full_disk ON nodes")
    await until_ready(site, 200)
    await site.close()
