"""A database that is open for a test, as a node has it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from server.store.engine import Database
from tests.bench.history import make_history


@asynccontextmanager
async def open_database(url: str, pool_size: int = 4) -> AsyncIterator[Database]:
    database = Database(url, pool_size=pool_size)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def administer(url: str, statement: str) -> None:
    """Run a statement that creates or drops databases."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def database_with_history(url: str, *, offers: int, days: int, drivers: int) -> AsyncIterator[Database]:
    """With so many days of a city's work, for which the previous release recorded no end."""
    connection = await asyncpg.connect(url)
    await make_history(connection, offers=offers, days=days, drivers=drivers)
    await connection.close()
    async with open_database(url) as database:
        yield database
