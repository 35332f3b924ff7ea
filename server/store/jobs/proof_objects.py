"""Removes objects from the S3-compatible store whose proofs are erased, deleted or were never kept."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Gauge

from server.object_store.s3 import ObjectStore, ObjectStoreAway
from server.store.connections import Pool
from server.store.proofs import forget_objects, objects_to_remove
from server.store.query import DatabaseAway

EVERY_SECONDS: Final = 5.0
CHECK_SECONDS: Final = 30.0
"""How often a node writes to a store that it can reach, to see whether it still can."""
BATCH: Final = 100
AT_ONCE: Final = 8
NOW_SECONDS: Final = 5.0

REACHABLE: Final = Gauge("callboard_object_store_reachable", "1 if the last call to the S3-compatible store succeeded")

log = structlog.get_logger(__name__)


class ProofObjects:
    """The store's objects of one node. `run` is to be supervised. The node with the lease removes objects; every node
    checks whether it can reach the store.
    """

    def __init__(self, pool: Pool, store: ObjectStore, holds_lease: Callable[[], bool]) -> None:
        self._pool = pool
        self._store = store
        self._holds_lease = holds_lease
        self._was_reachable = True

    async def run(self) -> None:
        """Run until cancelled."""
        loop = asyncio.get_running_loop()
        check_at = loop.time()
        while True:
            if self._holds_lease():
                await self._remove()
            if loop.time() >= check_at or self._store.problem is not None:
                check_at = loop.time() + CHECK_SECONDS
                await self._check()
            await asyncio.sleep(EVERY_SECONDS)

    async def _remove(self) -> None:
        try:
            await remove_due(self._pool, self._store)
        except (DatabaseAway, ObjectStoreAway) as error:
            log.warning("proof_objects_not_removed", reason=str(error))

    async def _check(self) -> None:
        try:
            await self._store.check()
        except ObjectStoreAway as error:
            if self._was_reachable:
                log.warning("object_store_away", reason=str(error))
        reachable = self._store.problem is None
        if reachable and not self._was_reachable:
            log.info("object_store_back")
        self._was_reachable = reachable
        REACHABLE.set(int(reachable))


async def remove_due(pool: Pool, store: ObjectStore) -> int:
    """Remove all objects that are due now. Returns how many. Raises DatabaseAway or ObjectStoreAway; then the next call
    removes the rest.
    """
    count = 0
    while keys := await objects_to_remove(pool, BATCH):
        for part in (keys[start : start + AT_ONCE] for start in range(0, len(keys), AT_ONCE)):
            outcomes = await asyncio.gather(*(store.delete(key) for key in part), return_exceptions=True)
            removed = [key for key, outcome in zip(part, outcomes, strict=True) if outcome is None]
            await forget_objects(pool, removed)
            count += len(removed)
            for outcome in outcomes:
                if outcome is not None:
                    raise outcome
    if count:
        log.info("proof_objects_removed", count=count)
    return count


async def remove_now(pool: Pool, store: ObjectStore | None) -> None:
    """Try to remove all objects that are due, for a caller who waits. What is left the node with the lease removes."""
    if store is None:
        return
    try:
        async with asyncio.timeout(NOW_SECONDS):
            await remove_due(pool, store)
    except (ObjectStoreAway, TimeoutError) as error:
        log.warning("proof_objects_not_removed", reason=str(error) or type(error).__name__)
