"""Imports of drivers wait for each other, on all nodes: two of the same file must not register a driver twice."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from server.store.connections import Pool
from server.store.query import DatabaseAway, database_errors

LOCK: Final = "SELECT pg_try_advisory_lock(hashtext('callboard import of drivers'))"
UNLOCK: Final = "SELECT pg_advisory_unlock(hashtext('callboard import of drivers'))"
WAIT_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 0.2


class DriverImports:
    """The imports of drivers on this node. One of them at most waits with a connection."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """While no other import of drivers runs. Raises DatabaseAway if others take too long."""
        async with self._turn:
            with database_errors():
                async with self._pool.acquire(timeout=WAIT_SECONDS) as connection:
                    deadline = time.monotonic() + WAIT_SECONDS
                    while not await connection.fetchval(LOCK):  # a statement that waits would end by `lock_timeout`
                        if time.monotonic() > deadline:
                            raise DatabaseAway("another import runs")
                        await asyncio.sleep(AGAIN_SECONDS)
                    try:
                        yield
                    finally:
                        await connection.execute(UNLOCK)
