"""Who writes the state of dispatch, as PostgreSQL itself says: the write path, and retention, which only deletes.

Nodes at work are denied nothing in the tests that use `database_roles`, all endpoints and a simulated city among them.
"""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from server.store.engine import Database
from server.store.tables import TABLES
from tests.database_roles import (
    BOTH_WRITE,
    OTHERS_WRITE,
    PRIVACY_WRITES,
    RETENTION_DELETES,
    STATE,
    WAITING,
    connect_as_roles,
)
from tests.open_database import open_database


@pytest.fixture
async def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    connect_as_roles(monkeypatch)
    async with open_database(database_url) as database:
        yield database


def writes(table: str) -> list[str]:
    """A statement of each kind."""
    column = next(t for t in TABLES if t._meta.tablename == table)._meta.columns[-1]._meta.db_column_name
    return [
        f"INSERT INTO {table} DEFAULT VALUES",
        f'UPDATE {table} SET "{column}" = "{column}"',
        f"DELETE FROM {table}",
    ]


async def may(connection: Any, statement: str) -> bool:
    """Whether this statement is denied or not; what it would do is another question."""
    try:
        await connection.execute(f"EXPLAIN {statement}")
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return False
    except asyncpg.IntegrityConstraintViolationError:
        return True
    return True


def test_every_table_is_somebodys_to_write() -> None:
    named = {table._meta.tablename for table in TABLES}
    assert {*STATE, *WAITING, *OTHERS_WRITE, *PRIVACY_WRITES} == named
    assert not set(STATE) & set(OTHERS_WRITE), "these are the write path's alone"
    assert set(RETENTION_DELETES) <= named


@pytest.mark.parametrize("table", sorted(STATE))
async def test_nothing_but_the_write_path_and_retention_writes_the_state(database: Database, table: str) -> None:
    others = (database.pool, await database.connect_apart(), await database.connect_for_outbox())
    retention, saving = await database.connect_for_retention(), await database.connect_for_writing()
    insert, update, delete = writes(table)
    try:
        for connection in others:
            assert [await may(connection, each) for each in (insert, update, delete)] == [False] * 3
        assert [await may(retention, each) for each in (insert, update)] == [False] * 2
        assert await may(retention, delete) is (table in RETENTION_DELETES)
        assert await may(saving, insert)
        assert not await may(saving, delete)
    finally:
        for connection in (*others[1:], retention, saving):
            connection.terminate()


async def test_a_role_cannot_be_left(database: Database) -> None:
    """Whatever a connection resets, it comes back to the role that it began with."""
    async with database.pool.acquire() as connection:
        for statement in ("RESET ROLE", "RESET ALL", "DISCARD ALL"):
            await connection.execute(statement)
            assert not await may(connection, "DELETE FROM deliveries")


async def test_the_write_path_writes_the_state_and_nothing_of_others(database: Database) -> None:
    saving = await database.connect_for_writing()
    try:
        for table in sorted(set(OTHERS_WRITE) - set(WAITING) - set(BOTH_WRITE)):
            assert [await may(saving, each) for each in writes(table)] == [False] * 3, table
    finally:
        saving.terminate()
