"""Piccolo's typed queries on our own pool.

Piccolo ties a table to one engine of the process and cannot choose another one for a query. A process may have several
nodes, and every query needs a time limit. So Piccolo only builds the statement, and the pool runs it.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct
from piccolo.columns import Column
from piccolo.query import Select
from piccolo.query.base import Query
from piccolo.querystring import QueryString
from piccolo.table import Table

from server.store.connections import Queries
from server.store.engine import Database
from server.store.query import fetch
from server.store.tables import TABLES

NOW: Final = QueryString("clock_timestamp()")
"""The database's time, as a value to write."""


class _Grammar(Database):
    """Makes Piccolo write SQL for PostgreSQL; connects to nothing."""

    async def run_querystring(self, querystring: QueryString, in_pool: bool = True) -> object:
        raise AssertionError(f"ask this on a pool, with `ask`: {querystring}")


_grammar: Final = _Grammar("")
for _table in TABLES:
    _table._meta.db = _grammar


async def ask(pool: Queries, query: Query[Any, Any]) -> list[Any]:
    """The rows of this query, each with the columns in the order named in it. Raises DatabaseAway."""
    (statement,) = query.querystrings
    text, args = statement.compile_string()
    return await fetch(pool, text, *args)


async def ask_one(pool: Queries, query: Query[Any, Any]) -> Any:
    """The first row, or None. Raises DatabaseAway."""
    rows = await ask(pool, query)
    return rows[0] if rows else None


def columns_for(kind: type[Struct], table: type[Table]) -> list[Column]:
    """The columns of a table with the names of the fields, in their order."""
    return [getattr(table, name) for name in kind.__struct_fields__]


def newest(columns: Sequence[Column], before: str | None, limit: int) -> Select[Any]:
    """The rows with an id before `before`, newest first. The first of the columns is the id."""
    key = columns[0]
    page = key._meta.table.select(*columns).order_by(key, ascending=False).limit(limit)
    return page if before is None else page.where(key < before)


async def is_there(pool: Queries, key: Column, value: str) -> bool:
    """Whether a row has this value in its key column. Raises DatabaseAway."""
    return await ask_one(pool, key._meta.table.select(key).where(key == value)) is not None
