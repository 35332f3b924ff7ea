"""Background tasks with names, supervision and restarts."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Generic, TypeVar

import structlog
from prometheus_client import Counter, Gauge

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
STEADY_SECONDS = 10.0
"""After a task ran this long, its backoff restarts."""

SLICE_SECONDS = 0.002
"""How long work on many things may keep the event loop."""

ALIVE = Gauge("callboard_task_alive", "1 while the background task runs, 0 before a restart", ["task"])
DEATHS = Counter("callboard_task_deaths", "Restarts of a background task after an exception", ["task"])

log = structlog.get_logger(__name__)

Found = TypeVar("Found")


def supervised(name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """Start `run` as a task called `name`, and restart it with backoff whenever it fails.

    It ends when `run` returns or when the task is cancelled. A cancellation that nobody requested (one of a connection
    that leaks out) counts as a failure.
    """
    return asyncio.create_task(_supervise(name, run), name=name)


async def stop(*tasks: asyncio.Task[None]) -> None:
    """Cancel supervised tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Turns:
    """Long work on the event loop gives others their turn: at each step after `SLICE_SECONDS` without one."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def step(self) -> None:
        """A piece of the work is done. While this waits, anything may change."""
        if time.perf_counter() - self._since >= SLICE_SECONDS:
            await self.give()

    async def give(self) -> None:
        """Let others run now."""
        await asyncio.sleep(0)
        self._since = time.perf_counter()


async def _supervise(name: str, run: Callable[[], Awaitable[None]]) -> None:
    alive, deaths = ALIVE.labels(name), DEATHS.labels(name)
    pause = FIRST_PAUSE_SECONDS
    while True:
        started = time.monotonic()
        alive.set(1)
        try:
            await run()
            return
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            log.exception("task_died", task=name)
        except Exception:
            log.exception("task_died", task=name)
        finally:
            alive.set(0)
        deaths.inc()
        if time.monotonic() - started > STEADY_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def repeat(
    work: Callable[[], Awaitable[object]], seconds: float, failure: str, *, sooner: asyncio.Event | None = None
) -> None:
    """Wait `seconds`, or until `sooner` is set, then do the work; for ever. If it fails, `failure` is logged, and the
    next time is another attempt.
    """
    while True:
        if sooner is None:
            await asyncio.sleep(seconds)
        else:
            await wait_until_set(sooner, seconds)
        try:
            await work()
        except Exception as error:
            log.warning(failure, reason=repr(error))


async def repeat_with_lease(
    holds_lease: Callable[[], bool], work: Callable[[], Awaitable[float | None]], seconds: float
) -> None:
    """Every `seconds`, do the work if this node holds the lease; for ever. The work may return another pause."""
    pause: float | None = None
    while True:
        await asyncio.sleep(seconds if pause is None else pause)
        pause = await work() if holds_lease() else None


class SharedReads(Generic[Found]):
    """Reads that callers share: while one for a key runs, everybody who needs this key waits for the same one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._running: dict[Hashable, asyncio.Task[Found]] = {}

    async def of(self, key: Hashable, read: Callable[[], Coroutine[None, None, Found]]) -> Found:
        """What the read that runs for this key returns or raises; if none runs, `read` does from now on. It goes on
        when a caller is cancelled.
        """
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(read(), name=self._name)
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def forget(self, key: Hashable) -> None:
        """Later callers get a read that begins after this."""
        self._running.pop(key, None)

    def forget_all(self) -> None:
        """The same for every key."""
        self._running.clear()

    def is_current(self, key: Hashable) -> bool:
        """Whether the current task is the read of this key, and was not forgotten meanwhile."""
        return asyncio.current_task() is self._running.get(key)

    def _ended(self, key: Hashable, done: "asyncio.Task[Found]") -> None:
        if self._running.get(key) is done:
            del self._running[key]
        if not done.cancelled():
            done.exception()  # a caller that still waits has it; without one, it is not reported twice


async def wait_until_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, at most `seconds`, and clear it. Returns whether it was set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
