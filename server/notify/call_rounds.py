"""Calls to other servers: claimed in rounds by the node that has the lease, made in parallel, tried again later.

Two nodes at once are harmless, since only one of them can claim a message.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

import structlog

from server.lease import Lease
from server.store.engine import DATABASE_ERRORS
from server.tasks import wait_until_set

POLL_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 1.0
FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 3600.0
JITTER: Final = 0.2

log = structlog.get_logger(__name__)


class Calls:
    """Rounds and their calls. Supervise `run`.

    `take` claims due messages and starts their calls. Rounds are at least `spacing_seconds` apart, so that under load
    they become larger instead of more frequent. `leave` is called when the rounds end: when another node has the lease,
    and at shutdown.
    """

    def __init__(
        self,
        name: str,
        lease: Lease,
        take: Callable[[], Awaitable[None]],
        *,
        spacing_seconds: float,
        leave: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._name = name
        self._lease = lease
        self._take = take
        self._spacing_seconds = spacing_seconds
        self._leave = leave
        self._under_way: set[asyncio.Task[None]] = set()
        self._something = asyncio.Event()

    def __len__(self) -> int:
        return len(self._under_way)

    def wake(self, _payload: bytes = b"") -> None:
        """Wake the rounds: there may be something to claim."""
        self._something.set()

    def start(self, call: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(call, name=self._name)
        self._under_way.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._something.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("call_died", task=self._name, exc_info=task.exception())

    async def run(self) -> None:
        """Claim due messages, round after round."""
        try:
            while True:
                if not self._lease.held:
                    if self._leave is not None:
                        await self._leave()
                    await self._lease.taken.wait()
                self._something.clear()
                try:
                    await self._take()
                except DATABASE_ERRORS as error:
                    log.warning("calls_not_read", task=self._name, reason=repr(error))
                await asyncio.sleep(self._spacing_seconds)
                await wait_until_set(self._something, POLL_SECONDS)
        finally:
            await (self._leave or self.finish)()

    async def finish(self) -> None:
        """Wait a moment for calls in progress; the next node repeats a call that is cut off."""
        calls = list(self._under_way)
        if calls:
            await asyncio.wait(calls, timeout=CLOSE_SECONDS)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


def retry_seconds(attempt: int) -> float:
    """How long after its `attempt`th failure a message is tried again: doubling up to an hour, with jitter."""
    seconds = min(FIRST_RETRY_SECONDS * 2.0 ** min(attempt - 1, 30), LONGEST_RETRY_SECONDS)
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)
