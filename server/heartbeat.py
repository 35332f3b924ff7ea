"""The heartbeat of a node: its row in `nodes`, renewed once a second. With it the database says its time, whether other
nodes live, and which states all of them can read.
"""

import asyncio
import platform
import time
from typing import Final

import structlog

from server.dispatch.transitions import STATES_VERSION
from server.metrics import LOOP_LAG
from server.store.clock import DatabaseClock
from server.store.engine import Database
from server.store.kept_connection import KeptConnection
from server.store.nodes import beat
from server.tasks import stop

BEAT_SECONDS: Final = 1.0
DEAD_AFTER_SECONDS: Final = 3.0
"""After this time without a renewal, a node's sockets count as lost."""

log = structlog.get_logger(__name__)


class Heartbeat:
    """`keep` is to be supervised. It asks on its own connection, so it does not wait for the pool."""

    def __init__(self, node_id: str, database: Database, clock: DatabaseClock) -> None:
        self.alone = False
        self.states_version = 0
        """The version of states that every live node can read: the lowest until the live nodes are known."""
        self._node_id = node_id
        self._database = database
        self._clock = clock
        self._written_at = float("-inf")
        self._written_by = 0
        self._writing: asyncio.Task[None] | None = None
        self._beating = asyncio.Lock()
        self._kept = KeptConnection(database)

    async def keep(self) -> None:
        """Renew the row, for ever."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + BEAT_SECONDS, loop.time())
            await asyncio.sleep(due - loop.time())
            LOOP_LAG.set(loop.time() - due)
            try:
                await self.beat()
            except Exception as error:
                log.warning("heartbeat_failed", reason=repr(error))

    async def takes_writes(self) -> bool:
        """Whether the database accepts writes: it accepted the last heartbeat and refused nothing since, or accepts one
        now. Never raises.
        """
        is_fresh = time.monotonic() - self._written_at < 2 * BEAT_SECONDS
        if is_fresh and self._written_by == self._database.generation:
            return True
        if self._writing is None or self._writing.done():  # one question however many ask
            self._writing = asyncio.create_task(self.beat(), name="beat")
        try:
            await asyncio.shield(self._writing)
        except Exception:
            return False
        return True

    async def beat(self) -> None:
        """Renew the row now. Raises what the database raises."""
        async with self._beating:
            try:
                connection = await self._kept.get()
                asked_at = time.time()
                said, others, lowest = await beat(
                    connection, self._node_id, platform.node(), DEAD_AFTER_SECONDS, STATES_VERSION
                )
            except BaseException as error:
                self._written_at = float("-inf")
                self._kept.failed(error)
                raise
        self._written_at = time.monotonic()
        self._written_by = self._database.generation
        self._clock.learn(said, asked_at, time.time())
        self.alone = others == 0
        self.states_version = STATES_VERSION if lowest is None else min(STATES_VERSION, lowest)

    async def stop(self) -> None:
        """End a heartbeat under way, and close the connection."""
        if self._writing is not None:
            await stop(self._writing)
        self._kept.close()
