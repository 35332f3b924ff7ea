"""The dispatcher's lease: a row that names the one node that dispatches, renewed every second, lost after three.

It saves work, it does not guard anything: two holders at once are harmless, since every command is decided under
lock. So a holder who cannot renew only has to stop soon, by its own monotonic clock.
"""

import asyncio
from typing import Final

import structlog
from prometheus_client import Gauge

from server.redis.bus import Bus
from server.store.engine import DATABASE_ERRORS, Database
from server.store.kept_connection import KeptConnection
from server.store.leases import DISPATCHER, release_lease, seconds_left_to_another, take_lease
from server.tasks import wait_until_set

CHANNEL: Final = "lease"
LASTS_SECONDS: Final = 3.0
RENEW_SECONDS: Final = 1.0
STOP_EARLY_SECONDS: Final = 0.2
"""How long before it runs out a lease that was not renewed is given up here."""
STATEMENT_SECONDS: Final = 1.0
CONNECT_SECONDS: Final = 2.0
AFTER_FAILURE_SECONDS: Final = 0.2


HELD: Final = Gauge("callboard_dispatcher_lease_held", "1 while this process holds the dispatcher's lease")

log = structlog.get_logger(__name__)


class Lease:
    """This node's view of the lease. Supervise `keep`; `taken` is set while this node has the lease."""

    def __init__(self, node_id: str, database: Database, bus: Bus) -> None:
        self.taken = asyncio.Event()
        self.times_taken = 0
        """How often this node took the lease: while it is the same number, no other node had it."""
        self._node_id = node_id
        self._database = database
        self._bus = bus
        self._kept = KeptConnection(database)
        self._one_at_a_time = asyncio.Lock()
        self._until = 0.0
        self._expiry: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()
        self._look = asyncio.Event()
        bus.subscribe(CHANNEL, lambda _: self._look.set())

    @property
    def held(self) -> bool:
        """Whether this node is the dispatcher now."""
        return asyncio.get_running_loop().time() < self._until

    async def keep(self) -> None:
        """Take the lease whenever it is free, and renew it, until it is released for good."""
        try:
            while not self._over.is_set():
                try:
                    pause = await self._once()
                except DATABASE_ERRORS as error:
                    log.warning("lease_not_renewed", reason=repr(error), held=self.held)
                    self._kept.failed(error)
                    pause = AFTER_FAILURE_SECONDS
                await wait_until_set(self._look, pause)
        finally:
            self._kept.close()

    async def _once(self) -> float:
        """Renew or try to take the lease; returns the seconds until the next attempt."""
        loop = asyncio.get_running_loop()
        async with self._one_at_a_time:
            if self._over.is_set():
                return 0.0
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._kept.get()
            asked_at = loop.time()
            async with asyncio.timeout(STATEMENT_SECONDS):
                if not self.held:
                    left = await seconds_left_to_another(connection, DISPATCHER, self._node_id)
                    if left is not None and left > 0:
                        return min(left, RENEW_SECONDS)
                    asked_at = loop.time()
                ours = await take_lease(connection, DISPATCHER, self._node_id, LASTS_SECONDS)
            if self._over.is_set():
                return 0.0
            if ours:
                self._hold(asked_at + LASTS_SECONDS - STOP_EARLY_SECONDS)
            elif self.held:
                self._lose("lease_taken_by_another")
            return RENEW_SECONDS

    def _hold(self, until: float) -> None:
        if not self.held:
            log.info("lease_taken", nodeId=self._node_id)
            self.times_taken += 1
        self._until = until
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_at(until, self._lose, "lease_lost")
        HELD.set(1)
        self.taken.set()

    def _lose(self, how: str) -> None:
        self._until = 0.0
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        HELD.set(0)
        if self.taken.is_set():
            self.taken.clear()
            log.warning(how, nodeId=self._node_id)

    async def release(self) -> None:
        """Release the lease, so that another node can take it at once, and never take it again. Never raises."""
        self._over.set()
        self._look.set()
        self.taken.clear()
        self._lose("lease_released")
        try:
            async with asyncio.timeout(2 * STATEMENT_SECONDS), self._one_at_a_time:
                released = await release_lease(self._database.pool, DISPATCHER, self._node_id, STATEMENT_SECONDS)
        except DATABASE_ERRORS as error:
            log.warning("lease_not_released", reason=repr(error))
            return
        if released:
            log.info("lease_released", nodeId=self._node_id)
            self._bus.publish(CHANNEL, "")
