"""The connections of a node: what they speak, what they bear, and that nobody waits for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from server.embedded.servers import Embedded
from server.ids import new_id
from server.store import engine as engine_module
from server.store.engine import DATABASE_ERRORS, Database, DatabaseUnreachable
from server.store.tables import User
from tests.conftest import short_folder
from tests.open_database import open_database
from tests.relay import slow_to_hang_up
from tests.waiting import PATIENCE, until

OTHERS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """With two connections in its pool."""
    async with open_database(database_url, pool_size=2) as database:
        yield database


async def kill_backends(database_url: str) -> None:
    """End every connection to the database from outside, as a restart or an administrator would."""
    outside = await asyncpg.connect(database_url)
    try:
        await outside.execute(f"SELECT pg_terminate_backend(pid) FROM ({OTHERS}) AS others")
        await until(lambda: _no_others(outside))
    finally:
        await outside.close()


async def _no_others(connection: Any) -> bool:
    return not await connection.fetch(OTHERS)


async def works(database: Database) -> bool:
    """Whether a query gets its answer."""
    with suppress(*DATABASE_ERRORS):
        return bool(await database.pool.fetchval("SELECT true"))
    return False


async def test_array_types_are_looked_up_once_a_process(database: Database) -> None:
    """And types that somebody has defined, by each connection."""
    asked: list[str] = []
    ours = "SELECT $1::uuid[], $2::float8[]"
    for _ in range(2):
        connection: Any = await database.connect_apart()
        asked.clear()
        connection.add_query_logger(lambda query: asked.append(query.query))
        made = [new_id(), new_id()]
        assert tuple(await connection.fetchrow(ours, made, [0.5])) == (made, [0.5])
        await connection.close()
    assert asked == [ours]
    await database.pool.execute("CREATE TYPE mood AS (good bool, at timestamptz[])")
    for _ in range(2):
        connection = await database.connect_apart()
        mood = await connection.fetchval("SELECT ROW(true, ARRAY[to_timestamp(0)])::mood")
        assert tuple(mood) == (True, [datetime.fromtimestamp(0, UTC)])
        await connection.close()


@pytest.mark.parametrize("where", ["pool", "writing", "apart", "piccolo"])
async def test_ids_and_json_are_text_and_instants_are_in_utc_everywhere(database: Database, where: str) -> None:
    open_one = {
        "pool": database.pool.acquire,
        "writing": database.connect_for_writing,
        "apart": database.connect_apart,
        "piccolo": database.get_new_connection,
    }
    connection = await open_one[where]()
    an_id, at = new_id(), datetime(2026, 2, 1, 18, 0, 0, 123456, tzinfo=UTC)
    row = await connection.fetchrow(
        "SELECT $1::uuid, $2::uuid[], $3::timestamptz, '{\"a\": 1}'::jsonb, 5::text::xid8", an_id, [an_id, None], at
    )
    assert tuple(row) == (an_id, [an_id, None], at, '{"a": 1}', 5)
    assert row[2].tzinfo is UTC
    await (database.pool.release(connection) if where == "pool" else connection.close())


async def test_the_write_path_gives_up_soon(database: Database) -> None:
    connection = await database.connect_for_writing()
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    assert [await connection.fetchval(f"SHOW {name}") for name in names] == ["500ms", "5s", "2s"]
    await connection.close()


async def test_what_somebody_set_for_the_database_does_not_count(database_url: str) -> None:
    """Isolation that the rules do not bear, limits that end idle connections, or a migration half way. Minutes, since
    they hold until the connection has set its own.
    """
    names = ("default_transaction_isolation", "idle_session_timeout", "statement_timeout", "lock_timeout")
    connection = await asyncpg.connect(database_url)
    name = await connection.fetchval("SELECT current_database()")
    for setting, value in zip(names, ("serializable", "1min", "1min", "1min"), strict=True):
        await connection.execute(f"ALTER DATABASE {name} SET {setting} = '{value}'")
    await connection.close()
    database = Database(database_url)
    for open_one, limits in (
        (database.connect_for_writing, ["5s", "500ms"]),
        (database.get_new_connection, ["0", "0"]),
    ):
        one = await open_one()
        assert [await one.fetchval(f"SHOW {name}") for name in names] == ["read committed", "0", *limits]
        await one.close()


async def test_a_missing_connection_is_an_error_in_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with database.pool.acquire(), database.pool.acquire():
        with monkeypatch.context() as soon:
            soon.setattr(engine_module, "ACQUIRE_SECONDS", 0.1)
            with pytest.raises(TimeoutError):
                await database.pool.fetchval("SELECT 1")
    assert await works(database)


async def test_a_slow_answer_is_an_error_in_time_and_the_connection_is_of_use_again(database: Database) -> None:
    for _ in range(2 * database.pool_size):
        with pytest.raises(TimeoutError):
            await database.pool.fetchval("SELECT pg_sleep(10)", timeout=0.05)
    assert await works(database)


async def test_a_transaction_left_open_ends_when_its_connection_goes_back(database: Database) -> None:
    async with database.pool.acquire() as connection:
        await connection.execute("BEGIN")
        await connection.execute("UPDATE leases SET expires_at = now()")
    assert await database.pool.fetchval("SELECT expires_at FROM leases") is None


async def test_an_unreachable_server_is_an_error_at_once() -> None:
    with pytest.raises(DatabaseUnreachable, match=r"^cannot reach PostgreSQL at 127\.0\.0\.1:1/callboard: "):
        await Database("postgresql://callboard:secret@127.0.0.1:1/callboard").open()


async def test_connections_that_were_cut_are_replaced(database: Database, database_url: str) -> None:
    async with database.pool.acquire(), database.pool.acquire():
        pass
    await kill_backends(database_url)
    await until(lambda: works(database))
    assert await works(database)


async def test_a_server_that_ended_the_session_without_closing_counts_as_unavailable(database_url: str) -> None:
    """asyncpg has its own error for it, which is no error of PostgreSQL."""
    async with slow_to_hang_up(database_url) as relay:
        database = Database(relay.url, pool_size=1)
        await database.open()
        pid = await database.pool.fetchval("SELECT pg_backend_pid()")
        outside = await asyncpg.connect(database_url)
        await outside.execute("SELECT pg_terminate_backend($1)", pid)
        await outside.close()
        await until(lambda: relay.ended == 1)
        await asyncio.to_thread(lambda: None)  # its last word has been read
        with pytest.raises(asyncpg.InternalClientError):
            await database.pool.fetchval("SELECT 1")
        assert asyncpg.InternalClientError in DATABASE_ERRORS
        assert await works(database)
        await database.close()


async def test_a_restart_of_the_server_is_survived() -> None:
    """Errors while it is away; once it is back everything works, on the same pool."""
    with short_folder() as folder:
        server = Embedded(folder, durable=False)
        await asyncio.to_thread(server.start)
        database = Database(server.database_url, pool_size=2)
        try:
            await database.open()
            in_use = await database.pool.acquire()
            await asyncio.to_thread(server.stop)
            for _ in range(5):
                assert not await works(database)
            with pytest.raises(DATABASE_ERRORS):
                await in_use.fetchval("SELECT 1")
            await database.pool.release(in_use)
            await asyncio.to_thread(server.start)
            await until(lambda: works(database))
            assert all(await asyncio.gather(*[works(database) for _ in range(10)]))
        finally:
            await database.close()
            await asyncio.to_thread(server.stop)


async def test_closing_does_not_wait_for_a_client_that_stays(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CLOSE_SECONDS", 0.1)
    database = Database(database_url)
    await database.open()
    await database.pool.acquire()
    async with asyncio.timeout(PATIENCE):
        await database.close()
        await database.close()


# Piccolo on it


async def test_piccolos_tables_work_in_a_transaction(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User._meta, "_db", database)
    async with database.transaction(allow_nested=False) as transaction:
        await User.insert(User(id=new_id(), name="alice", password_hash="x", role="ops"))
        assert await transaction.connection.fetchval("SELECT count(*) FROM users") == 1
    (alice,) = await User.select(User.name, User.active, User.last_login_at)
    assert alice == {"name": "alice", "active": True, "last_login_at": None}


async def in_transaction(database: Database, *statements: str, then: type[Exception] | None = None) -> None:
    """Run these in one transaction, and raise inside of it."""
    async with database.transaction(allow_nested=False) as transaction:
        for statement in statements:
            await transaction.connection.execute(statement)
        if then is not None:
            raise then


async def test_a_transaction_is_undone_by_an_error(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        await in_transaction(database, "UPDATE leases SET expires_at = now()", then=ZeroDivisionError)
    assert await database.pool.fetchval("SELECT expires_at FROM leases") is None
