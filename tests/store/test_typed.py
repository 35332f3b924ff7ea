"""Piccolo writes a query, and the pool that is given asks it: tables have no connection."""

import pytest

from server.store.engine import Database
from server.store.query import DatabaseAway
from server.store.tables import Node
from server.store.typed import NOW, ask, ask_one

ID = "019b0000-0000-7000-8000-000000000001"


async def test_a_row_is_written_and_read_on_the_pool_that_is_given(database: Database) -> None:
    await ask(database.pool, Node.insert(Node(id=ID, name="one", started_at=NOW, expires_at=NOW)))
    renamed = Node.update({Node.name: "two"}).where(Node.id == ID).returning(Node.id, Node.name)
    assert await ask_one(database.pool, renamed) == (ID, "two")
    assert await ask(database.pool, Node.select(Node.name, Node.id).where(Node.id == ID)) == [("two", ID)]
    await ask(database.pool, Node.delete().where(Node.id == ID))
    assert await ask_one(database.pool, Node.select(Node.id).where(Node.id == ID)) is None


async def test_a_closed_pool_is_a_database_away(database: Database) -> None:
    await database.close()
    with pytest.raises(DatabaseAway):
        await ask(database.pool, Node.select(Node.id))


async def test_a_query_does_not_run_without_a_pool() -> None:
    with pytest.raises(AssertionError, match="with `ask`"):
        await Node.select(Node.id)
