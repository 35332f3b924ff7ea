"""A database that takes no writes: the node says that it is not ready, and moves to the server that does, whole."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
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
from tests.waiting import until
from tests.web.conftest import Site

IS_THERE = "SELECT EXISTS (SELECT FROM deliveries WHERE id = $1::text::uuid)"


@pytest.fixture
def servers_apart() -> Iterator[list[Embedded]]:
    """Two migrated PostgreSQL servers of the test's own: any of them can take over, though they share no rows."""
    with ExitStack() as running:
        apart = [
            running.enter_context(Embedded(running.enter_context(short_folder()), durable=False)) for _ in range(2)
        ]
        for embedded in apart:
            run_apart(partial(migrate, embedded.database_url))
        yield apart


@pytest.fixture
async def here(servers_apart: list[Embedded], tmp_path: Path) -> AsyncIterator[Node]:
    """A node that knows both servers."""
    sockets = ",".join(parse_qs(urlsplit(embedded.database_url).query)["host"][0] for embedded in servers_apart)
    settings = Settings(
        database_url=f"postgresql://callboard@/callboard?host={sockets}",
        redis_url=servers_apart[0].redis_url,
        secret=SECRET,
        data=tmp_path,
        log_level="error",
    )
    async with running_node(settings) as node:
        yield node


async def administer(embedded: Embedded, *statements: str) -> None:
    connection = await asyncpg.connect(embedded.database_url, server_settings={"default_transaction_read_only": "off"})
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def asked(embedded: Embedded, question: str, *args: Any) -> Any:
    connection = await asyncpg.connect(embedded.database_url)
    try:
        return await connection.fetchval(question, *args)
    finally:
        await connection.close()


async def read_only(embedded: Embedded, on: bool = True) -> None:
    setting = "SET default_transaction_read_only = on" if on else "RESET default_transaction_read_only"
    await administer(embedded, f"ALTER SYSTEM {setting}", "SELECT pg_reload_conf()")


async def until_ready(site: Site, status: int) -> Any:
    async def ready() -> Any:
        answer = await site.nobody.get("/health/ready")
        return answer.json() if answer.status_code == status else None

    return await until(ready)


async def test_a_node_moves_whole_to_the_server_that_takes_writes(servers_apart: list[Embedded], here: Node) -> None:
    site = Site(here)
    pool = here.app.state.node.database.pool
    await until_ready(site, 200)
    before = await site.delivery()
    await asyncio.gather(*(pool.fetchval("SELECT pg_sleep(0.2)") for _ in range(pool.get_max_size())))
    await read_only(servers_apart[0])

    async def ordered_there() -> Any:
        """An order on the other server: the first one heeds its new setting only once it has heard of it."""
        made = await site.shop.post("/deliveries", json=site.order())
        known = made.status_code == 201 and await asked(servers_apart[1], IS_THERE, made.json()["id"])
        return made.json() if known else None

    delivery = await until(ordered_there)
    for path, status in ((delivery["id"], 200), (before["id"], 404)):
        found = await asyncio.gather(*(site.shop.get(f"/deliveries/{path}") for _ in range(24)))
        assert {answer.status_code for answer in found} == {status}
    await until(lambda: here.app.state.node.lease.held)
    shown = await until_ready(site, 200)
    assert shown["components"]["database"] == "up"
    driver = await site.driver(at_work=True)
    assert (await driver.offer())["deliveryId"] == delivery["id"]
    await site.close()


async def test_a_node_whose_database_takes_no_writes_is_not_ready(servers_apart: list[Embedded], here: Node) -> None:
    site = Site(here)
    await until_ready(site, 200)
    for embedded in servers_apart:
        await read_only(embedded)
    shown = await until_ready(site, 503)
    assert shown["components"]["database"] == "down"
    await read_only(servers_apart[0], on=False)
    await until_ready(site, 200)
    assert (await site.delivery())["status"] == "READY"
    await site.close()


async def test_a_full_disk_is_no_place_for_orders(servers_apart: list[Embedded], here: Node) -> None:
    """Whatever the reason: what counts is that the node's own writes fail."""
    site = Site(here)
    await until_ready(site, 200)
    await administer(
        servers_apart[0],
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON nodes FOR EACH STATEMENT EXECUTE FUNCTION full_disk()",
    )
    await until_ready(site, 503)
    await administer(servers_apart[0], "DROP TRIGGER full_disk ON nodes")
    await until_ready(site, 200)
    await site.close()
