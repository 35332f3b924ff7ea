"""The locks of the write path: which rows, in which order, and as they are after the wait."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from server.store.engine import Database
from server.store.rows import LOCK_AND_READ_BODY, LOCK_AND_READ_FUNCTION
from server.write.save import save
from tests.builders import (
    CAKE,
    DAN,
    DORA,
    MAX,
    SOUP,
    a_closed_offer,
    a_delivery,
    a_driver,
    a_world,
    an_assignment,
    an_open_offer,
    id_of,
    minutes,
)
from tests.waiting import until

LOCK_ROWS = (
    "SELECT deliveries, drivers FROM lock_rows($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[],"
    " $7::text[], $8::text[])"
)
OFFER_OF_CAKE, ASSIGNMENT_OF_SOUP = id_of(f"{CAKE}: offer 2"), id_of(f"{SOUP}: assignment 1")
NOBODY = id_of("nobody")

Connect = Callable[[], Awaitable[Any]]


async def lock(connection: Any, **named: list[Any]) -> tuple[list[str], list[str]]:
    """Begin, and lock what is named. The sellers' keys are pairs."""
    await connection.execute("BEGIN")
    names = ("deliveries", "whole_deliveries", "drivers", "whole_drivers", "offers", "assignments")
    keys = named.get("seller_keys", [])
    row = await connection.fetchrow(
        LOCK_ROWS, *(named.get(name, []) for name in names), [key[0] for key in keys], [key[1] for key in keys]
    )
    return row[0], row[1]


async def free(connection: Any, table: str) -> set[str]:
    """The rows that nobody has locked."""
    rows = await connection.fetch(f"SELECT id FROM {table} FOR NO KEY UPDATE SKIP LOCKED")
    return {row[0] for row in rows}


async def waits(observer: Any) -> bool:
    """Whether somebody waits for a lock in this database."""
    query = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
    )
    return bool(await observer.fetchval(query))


@pytest.fixture
async def connect(database_url: str) -> AsyncIterator[Connect]:
    """Connections to a database in which soup is Dan's, and cake, which Max let expire, is offered to Dora."""
    async with AsyncExitStack() as connections:

        async def connect() -> Any:
            connection = await Database(database_url).connect_for_writing()
            connections.push_async_callback(connection.close)
            await connection.execute("SET lock_timeout = '5s'")
            return connection

        soup, cake = a_delivery("soup"), a_delivery("cake")
        dan, dora, max_ = a_driver("Dan"), a_driver("Dora"), a_driver("Max")
        an_assignment(soup, dan)
        a_closed_offer(cake, max_, "EXPIRED", age=minutes(1))
        an_open_offer(cake, dora)
        world = a_world()
        world.new_deliveries = {SOUP: soup, CAKE: cake}
        world.new_drivers = {DAN: dan, DORA: dora, MAX: max_}
        world.new_offers = dict(cake.offers)
        world.new_assignments = dict(soup.assignments)
        await save(await connect(), world, [], [])
        yield connect


NAMED: list[tuple[dict[str, list[Any]], list[str], list[str]]] = [
    ({}, [], []),
    ({"deliveries": [SOUP, NOBODY]}, [SOUP], []),
    ({"drivers": [DORA, DAN, NOBODY, DAN]}, [], [DAN, DORA]),
    ({"whole_deliveries": [SOUP]}, [SOUP], [DAN]),
    ({"whole_deliveries": [CAKE]}, [CAKE], [DORA]),
    ({"whole_drivers": [DAN]}, [], [DAN]),
    ({"whole_drivers": [DORA]}, [CAKE], [DORA]),
    ({"offers": [OFFER_OF_CAKE]}, [CAKE], [DORA]),
    ({"offers": [id_of(f"{CAKE}: offer 1")]}, [CAKE], [MAX]),
    ({"offers": [NOBODY]}, [], []),
    ({"assignments": [ASSIGNMENT_OF_SOUP, NOBODY]}, [SOUP], [DAN]),
    ({"seller_keys": [("shop", "A-cake"), ("shop", "A-none"), ("other", "A-soup")]}, [CAKE], []),
    (
        {"seller_keys": [("shop", "A-soup")], "assignments": [ASSIGNMENT_OF_SOUP], "whole_drivers": [DORA]},
        [SOUP, CAKE],
        [DAN, DORA],
    ),
]
"""What is named, and the deliveries and drivers that are locked for it."""


async def test_what_is_named_is_locked_and_nothing_else(connect: Connect) -> None:
    mine, other = await connect(), await connect()
    for named, deliveries, drivers in NAMED:
        assert await lock(mine, **named) == (sorted(deliveries), sorted(drivers)), named
        assert await free(other, "deliveries") == {SOUP, CAKE} - set(deliveries), named
        assert await free(other, "drivers") == {DAN, DORA, MAX} - set(drivers), named
        await mine.execute("ROLLBACK")


async def test_deliveries_are_locked_before_drivers(connect: Connect) -> None:
    first, second, observer = await connect(), await connect(), await connect()
    await lock(first, deliveries=[SOUP])
    waiting = asyncio.create_task(lock(second, deliveries=[SOUP], drivers=[DAN, DORA]))
    await until(lambda: waits(observer))
    assert await free(observer, "drivers") == {DAN, DORA, MAX}
    await first.execute("ROLLBACK")
    assert await waiting == ([SOUP], sorted([DAN, DORA]))


async def test_rows_are_locked_in_the_order_of_their_ids(connect: Connect) -> None:
    first, second, observer = await connect(), await connect(), await connect()
    low, middle, high = sorted([DAN, DORA, MAX])
    await lock(first, drivers=[middle])
    waiting = asyncio.create_task(lock(second, drivers=[high, middle, low]))
    await until(lambda: waits(observer))
    assert await free(observer, "drivers") == {high}
    await first.execute("ROLLBACK")
    assert await waiting == ([], [low, middle, high])


async def test_whose_a_delivery_is_counts_as_of_the_end_of_the_waiting(connect: Connect) -> None:
    """Cake goes from Dora to Max, then soup from Dan to Dora, while somebody waits for both."""
    first, second, observer = await connect(), await connect(), await connect()
    await lock(first, deliveries=[SOUP, CAKE], drivers=[DAN, DORA, MAX])
    waiting = asyncio.create_task(lock(second, whole_deliveries=[SOUP, CAKE]))
    await until(lambda: waits(observer))
    await first.execute("UPDATE driver_offers SET status = 'WITHDRAWN', closed_at = now() WHERE status = 'PENDING'")
    await first.execute("UPDATE driver_offers SET status = 'PENDING', closed_at = NULL WHERE driver_id = $1", MAX)
    await first.execute("UPDATE assignments SET driver_id = $1", DORA)
    await first.execute("COMMIT")
    assert await waiting == (sorted([SOUP, CAKE]), sorted([DORA, MAX]))


async def test_first_positions_and_references_do_not_wait_for_these_locks(connect: Connect) -> None:
    mine, other = await connect(), await connect()
    await lock(mine, deliveries=[SOUP], drivers=[DAN])
    await other.execute("SET lock_timeout = '100ms'")
    await other.execute("INSERT INTO driver_positions (driver_id) VALUES ($1)", DAN)


async def test_any_number_of_lockers_in_any_order_never_deadlock(connect: Connect) -> None:
    choice = random.Random(1)

    async def work(connection: Any) -> None:
        for _ in range(40):
            await lock(
                connection,
                deliveries=choice.sample([SOUP, CAKE], choice.randint(0, 2)),
                whole_deliveries=choice.sample([SOUP, CAKE], choice.randint(0, 2)),
                drivers=choice.sample([DAN, DORA, MAX], choice.randint(0, 3)),
                whole_drivers=choice.sample([DAN, DORA, MAX], choice.randint(0, 3)),
                offers=[OFFER_OF_CAKE][: choice.randint(0, 1)],
                assignments=[ASSIGNMENT_OF_SOUP][: choice.randint(0, 1)],
            )
            await connection.execute("COMMIT")

    await asyncio.gather(*[work(await connect()) for _ in range(5)])


async def test_the_function_of_the_schema_reads_the_columns_of_the_models(connect: Connect) -> None:
    """Where it does not, a migration has to make a new one with its own number, for LOCK_AND_READ_FUNCTION."""
    connection = await connect()
    body = await connection.fetchval("SELECT prosrc FROM pg_proc WHERE proname = $1", LOCK_AND_READ_FUNCTION)
    assert body.split() == LOCK_AND_READ_BODY.split()
