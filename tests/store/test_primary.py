"""Several PostgreSQL servers in one URL: the one that takes writes is found, again after a fail-over, and soon."""

import asyncio
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from server.embedded.servers import Embedded
from server.store.engine import DATABASE_ERRORS, Database, DatabaseUnreachable
from server.store.primary import TakesNoWrites, each_server, place
from tests.conftest import short_folder
from tests.waiting import until

READ_ONLY = "ALTER DATABASE callboard SET default_transaction_read_only = on"
WRITABLE = "ALTER DATABASE callboard SET default_transaction_read_only = off"


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("postgresql://u:p@db:6432/x?sslmode=require", ["postgresql://u:p@db:6432/x?sslmode=require"]),
        ("postgresql://u:p%2C@a,b:6432/x?y=z", ["postgresql://u:p%2C@a/x?y=z", "postgresql://u:p%2C@b:6432/x?y=z"]),
        ("postgresql://[::1]:1,[::2]/x", ["postgresql://[::1]:1/x", "postgresql://[::2]/x"]),
        ("postgresql:///x?host=a,b&port=1,2", ["postgresql:///x?host=a&port=1", "postgresql:///x?host=b&port=2"]),
        ("postgresql:///x?host=a,b&port=7", ["postgresql:///x?host=a&port=7", "postgresql:///x?host=b&port=7"]),
        ("postgresql:///x?host=/run", ["postgresql:///x?host=/run"]),
        ("postgresql:///x", ["postgresql:///x"]),
    ],
)
def test_each_server_has_an_url(url: str, servers: list[str]) -> None:
    assert each_server(url) == servers


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://someone:secret@db.example:6432/orders?sslmode=require", "db.example:6432/orders"),
        ("postgresql://someone:secret@db1,db2:6432/orders", "db1:5432,db2:6432/orders"),
        ("postgresql://u@[::1],[::2]:6432/orders", "[::1]:5432,[::2]:6432/orders"),
        ("postgresql:///orders?host=db1,db2&port=1,2", "db1:1,db2:2/orders"),
        ("postgresql://callboard@/callboard?host=/var/run/x", "callboard in /var/run/x"),
        ("postgresql://callboard@%2Fvar%2Frun%2Fx/callboard", "callboard in /var/run/x"),
        ("postgresql:///callboard", "localhost:5432/callboard"),
        ("postgresql://db:none/x", "db:none/x"),
    ],
)
def test_a_place_is_named_without_secrets(url: str, expected: str) -> None:
    assert place(url) == expected


def socket_folder(url: str) -> str:
    return parse_qs(urlsplit(url).query)["host"][0]


async def where(connection: Any) -> str:
    folder: str = await connection.fetchval("SHOW unix_socket_directories")
    await connection.close()
    return folder


async def run(url: str, statement: str) -> None:
    """As an administrator does, whatever the server is set to."""
    connection = await asyncpg.connect(url, server_settings={"default_transaction_read_only": "off"})
    await connection.execute(statement)
    await connection.close()


async def test_whichever_takes_writes_is_found() -> None:
    with ExitStack() as running:
        folders = [running.enter_context(short_folder()) for _ in range(2)]
        urls = [running.enter_context(Embedded(folder, durable=False)).database_url for folder in folders]
        db1, db2 = map(socket_folder, urls)
        await run(urls[0], READ_ONLY)
        database = Database(f"postgresql://callboard@/callboard?host={db1},{db2}", pool_size=2)
        await database.open()
        assert await where(await database.connect_for_writing()) == db2
        assert await database.pool.fetchval("SHOW unix_socket_directories") == db2

        await run(urls[1], READ_ONLY)
        with pytest.raises(TakesNoWrites):
            await database.connect_for_writing()
        with pytest.raises(DatabaseUnreachable, match=f"in {db1}: the server accepts no writes"):
            await Database(urls[0]).open()

        await run(urls[0], WRITABLE)
        await run(urls[1], "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        assert await where(await database.connect_for_writing()) == db1

        async def pool_has_followed() -> bool:
            try:
                return bool(await database.pool.fetchval("SHOW unix_socket_directories") == db1)
            except DATABASE_ERRORS:
                return False

        await until(pool_has_followed)
        await database.close()


async def test_a_server_that_says_nothing_is_passed_over_and_not_asked_again(servers: Any) -> None:
    asked = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.read()
        writer.close()

    with short_folder() as folder:
        silent = await asyncio.start_unix_server(say_nothing, folder / ".s.PGSQL.5432")
        database = Database(f"postgresql://callboard@/callboard?host={folder},{socket_folder(servers.postgres_url)}")
        for _ in range(3):
            await (await database.connect_for_writing()).close()
        assert asked == 1
        silent.close()
        await silent.wait_closed()


async def test_waiting_for_a_silent_server_given_up_is_remembered(servers: Any) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    with short_folder() as folder:
        silent = await asyncio.start_unix_server(say_nothing, folder / ".s.PGSQL.5432")
        database = Database(f"postgresql://callboard@/callboard?host={folder},{socket_folder(servers.postgres_url)}")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await database.connect_apart()
        connection = await database.connect_apart()
        assert await where(connection) == socket_folder(servers.postgres_url)
        silent.close()
        await silent.wait_closed()
