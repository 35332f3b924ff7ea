"""The one write path: commands in; state and events saved in one transaction; answers and news out after the commit.

Commands that arrive while a transaction runs are taken together by the next one (docs/decisions.md, "Natural
batching"). Nothing else in Callboard opens a transaction on the state of dispatch.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import asyncpg
import structlog

from server.batch import Answer, Committed, Pending
from server.dispatch import refusals as r
from server.dispatch.commands import Command
from server.dispatch.policy import Policy
from server.dispatch.refusals import Refusal
from server.metrics import BATCH_SIZE, QUEUE_WAIT, REFUSALS, RERUNS
from server.transact import AGAIN, LOST, RECONNECT_SECONDS, Database, Writer, is_lost

__all__ = ["Answer", "Committed", "Executor"]

QUEUE_LIMIT: Final = 10_000
WAIT_LIMIT_SECONDS: Final = 5.0
"""The longest a command waits for its transaction to begin; then `try_again`."""
RERUN_WIDTH: Final = 4
ATTEMPTS_ALONE: Final = 3

log = structlog.get_logger(__name__)


class Executor:
    """One lane of batches over one connection, and a few more for commands that must be run alone.

    `listeners` hear of every commit, on the loop, right after it; they must not block. `run` is to be supervised.
    """

    def __init__(self, database: Database, policy: Callable[[], Policy], *, batch_limit: int = 128) -> None:
        self.listeners: list[Callable[[Committed], None]] = []
        self._database = database
        self._policy = policy
        self._batch_limit = batch_limit
        self._queue: deque[Pending] = deque()
        self._something = asyncio.Event()
        self._open = True
        self._sweep: asyncio.TimerHandle | None = None
        self._chains: dict[str, deque[Pending]] = {}
        self._reruns: set[asyncio.Task[None]] = set()
        self._width = asyncio.Semaphore(RERUN_WIDTH)
        self._idle = asyncio.Event()
        self._idle.set()

    def submit(self, command: Command) -> "asyncio.Future[Answer | Refusal]":
        """Queue a command; the future holds its answer or refusal, and never an exception."""
        loop = asyncio.get_running_loop()
        pending = Pending(command, loop.create_future(), loop.time())
        if not self._open or len(self._queue) >= QUEUE_LIMIT:
            REFUSALS.labels(r.TRY_AGAIN.code).inc()
            pending.answer(r.TRY_AGAIN)
            return pending.future
        self._queue.append(pending)
        self._idle.clear()
        self._something.set()
        if self._sweep is None:
            self._sweep = loop.call_later(WAIT_LIMIT_SECONDS, self._refuse_overdue)
        return pending.future

    def _refuse_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and self._queue[0].since + WAIT_LIMIT_SECONDS <= loop.time():
            REFUSALS.labels(r.TRY_AGAIN.code).inc()
            self._queue.popleft().answer(r.TRY_AGAIN)
        self._sweep = None
        if self._queue:
            self._sweep = loop.call_at(self._queue[0].since + WAIT_LIMIT_SECONDS, self._refuse_overdue)

    async def run(self) -> None:
        """The lane: one batch after another, for ever."""
        writer = Writer(self._database, self._policy)
        try:
            while True:
                if not self._queue:
                    await writer.rest()
                    if not self._reruns:
                        self._idle.set()
                    self._something.clear()
                    await self._something.wait()
                try:
                    await writer.connect()
                except (*LOST, asyncpg.PostgresError) as error:
                    log.warning("write_connection_failed", reason=repr(error))
                    await asyncio.sleep(RECONNECT_SECONDS)
                    continue
                if batch := self._take():
                    await self._run_batch(writer, batch)
        finally:
            await writer.hang_up()

    async def close(self) -> None:
        """Take no more commands and wait until those that were taken are answered."""
        self._open = False
        await self._idle.wait()

    def _take(self) -> list[Pending]:
        now = asyncio.get_running_loop().time()
        batch: list[Pending] = []
        while self._queue and len(batch) < self._batch_limit:
            pending = self._queue.popleft()
            if self._chains and self._behind(pending):
                continue
            QUEUE_WAIT.observe(now - pending.since)
            batch.append(pending)
        return batch

    async def _run_batch(self, writer: Writer, pendings: list[Pending]) -> None:
        BATCH_SIZE.observe(len(pendings))
        try:
            batch, committed = await writer.transact(pendings, more=lambda: bool(self._queue))
        except asyncio.CancelledError:
            for pending in pendings:
                pending.answer(r.TRY_AGAIN)
            raise
        except Exception as error:
            if is_lost(error):
                log.warning("write_connection_lost", reason=repr(error), commands=len(pendings))
                await writer.hang_up()
                self._queue.extendleft(reversed(pendings))
                self._refuse_overdue_soon()
            else:
                log.warning("batch_failed", reason=repr(error), commands=len(pendings))
                await writer.roll_back()
                self._rerun(pendings)
        else:
            self._publish(committed)
            self._queue.extendleft(reversed(batch.deferred))

    def _refuse_overdue_soon(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._refuse_overdue()

    def _publish(self, committed: Committed | None) -> None:
        if committed is None:
            return
        for listener in self.listeners:
            try:
                listener(committed)
            except Exception:
                log.exception("listener_failed", listener=getattr(listener, "__qualname__", repr(listener)))

    # Commands of a batch that failed as a whole: each alone, a few at a time, in order for each id they name.

    def _behind(self, pending: Pending) -> bool:
        """Put a command behind those that are run alone and name the same id, if there are any."""
        names = pending.names()
        chain = next((self._chains[key] for key in names if key in self._chains), None)
        if chain is None:
            return False
        chain.append(pending)
        self._lead_to(chain, names)
        return True

    def _lead_to(self, chain: deque[Pending], names: Iterable[str]) -> None:
        for key in names:
            self._chains.setdefault(key, chain)

    def _rerun(self, pendings: Iterable[Pending]) -> None:
        RERUNS.inc()
        for pending in pendings:
            if self._behind(pending):
                continue
            chain = deque((pending,))
            self._lead_to(chain, pending.names())
            task = asyncio.create_task(self._run_chain(chain), name="rerun")
            self._reruns.add(task)
            task.add_done_callback(self._reran)

    def _reran(self, task: "asyncio.Task[None]") -> None:
        self._reruns.discard(task)
        self._something.set()

    async def _run_chain(self, chain: deque[Pending]) -> None:
        async with self._width:
            writer = Writer(self._database, self._policy)
            try:
                while chain:
                    await self._run_alone(writer, chain.popleft())
            finally:
                for pending in chain:
                    pending.answer(r.TRY_AGAIN)
                for key in [key for key, of in self._chains.items() if of is chain]:
                    del self._chains[key]
                await writer.hang_up()

    async def _run_alone(self, writer: Writer, pending: Pending) -> None:
        """Run one command until it is answered."""
        attempts = 0
        while not pending.future.done():
            if attempts >= ATTEMPTS_ALONE:
                pending.answer(r.TRY_AGAIN)
                break
            try:
                await writer.connect()
                _, committed = await writer.transact([pending])
                self._publish(committed)
            except asyncio.CancelledError:
                pending.answer(r.TRY_AGAIN)
                raise
            except Exception as error:
                attempts += 1
                name = type(pending.command).__name__
                if is_lost(error):
                    log.warning("rerun_connection_lost", command=name, reason=repr(error))
                    await writer.hang_up()
                    continue
                await writer.roll_back()
                if isinstance(error, AGAIN):
                    log.warning("rerun_blocked", command=name, reason=repr(error))
                else:
                    log.exception("command_failed", command=name)
                    pending.answer(r.INTERNAL_ERROR)
