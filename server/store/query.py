"""Reads for responses and screens: without locks, and never to decide anything.

Every read is one statement, so that what it shows belongs together, and is bounded in rows and in time.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import asyncpg
import structlog

from server.store.connections import Queries

QUERY_TIMEOUT_SECONDS: Final = 5.0

Found = TypeVar("Found")

_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.LockNotAvailableError,
    OSError,
    TimeoutError,
)


log = structlog.get_logger(__name__)


class DatabaseAway(Exception):
    """The database is unavailable or too slow now; the caller can try again."""


@contextmanager
def database_errors() -> Iterator[None]:
    """Around a read: converts errors of an unavailable database into DatabaseAway."""
    try:
        yield
    except _AWAY as error:
        # asyncpg's word for an argument it cannot encode is an InterfaceError too, and a ValueError: a bug of ours.
        if isinstance(error, ValueError):
            raise
        raise DatabaseAway(type(error).__name__) from error


async def unless_away(read: Awaitable[Found]) -> Found | None:
    """What is shown beside a change that is stored; None if it cannot be read now. An error would say that nothing was
    done, and a secret that is shown only once would be lost.
    """
    try:
        with database_errors():
            return await read
    except DatabaseAway as error:
        log.warning("read_after_change_failed", reason=str(error))
        return None


async def fetch(pool: Queries, query: str, *args: object, timeout_seconds: float = QUERY_TIMEOUT_SECONDS) -> list[Any]:
    """The rows. Raises DatabaseAway; also when the pool is closed."""
    if pool is None:
        raise DatabaseAway("closed")
    with database_errors():
        rows: list[Any] = await pool.fetch(query, *args, timeout=timeout_seconds)
    return rows


async def fetch_one(pool: Queries, query: str, *args: object) -> Any:
    """The first row, or None. Raises DatabaseAway."""
    rows = await fetch(pool, query, *args)
    return rows[0] if rows else None


async def fetch_as(pool: Queries, kind: Callable[..., Found], query: str, *args: object) -> list[Found]:
    """The rows, each as what `kind` makes of its columns. Raises DatabaseAway."""
    return [kind(*row) for row in await fetch(pool, query, *args)]


async def fetch_one_as(pool: Queries, kind: Callable[..., Found], query: str, *args: object) -> Found | None:
    """The first row, as what `kind` makes of its columns, or None. Raises DatabaseAway."""
    row = await fetch_one(pool, query, *args)
    return None if row is None else kind(*row)
