"""Searches for a person, to show what is found or to erase it: one at a time, on all nodes.

A search reads for long. One that cannot begin soon is refused, before its client gives up.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from server.store.connections import Connection
from server.store.jobs.personal_data import SEARCH_SECONDS

WAIT_SECONDS: Final = 5.0
"""How long a search waits for one on this node, and then for one on another node."""
ALONE: Final = "SELECT pg_advisory_lock(hashtext('callboard erasing of a person'))"
"""Until the connection is closed."""


class PersonSearchRuns(Exception):
    """Another search for a person runs, on this node or another one."""


class PersonTurn:
    """Whose turn it is on this node. So one search at most has or waits for a connection."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def alone(self, connect: Callable[[], Awaitable[Connection]]) -> AsyncIterator[Connection]:
        """A connection while no other search runs on any node, closed at the end. Raises PersonSearchRuns, and what
        the database raises.
        """
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise PersonSearchRuns from None
        try:
            connection = await connect()
            try:
                await _lock(connection)
                yield connection
            finally:
                await connection.close()
        finally:
            self._turn.release()


async def _lock(connection: Connection) -> None:
    await connection.execute(
        f"SET statement_timeout = '{SEARCH_SECONDS}s'; SET lock_timeout = '{WAIT_SECONDS * 1000:.0f}ms'"
    )
    try:
        await connection.execute(ALONE, timeout=SEARCH_SECONDS)
    except asyncpg.LockNotAvailableError:
        raise PersonSearchRuns from None
    await connection.execute("RESET lock_timeout")
