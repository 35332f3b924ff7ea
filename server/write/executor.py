"""The write path: commands in; state and events saved in one transaction; answers and commits published afterwards.

Commands that arrive while a transaction runs are taken together by the next one (docs/decisions.md, "Natural
batching"). No other code in Callboard changes the state of dispatch.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import asyncpg
import structlog

from server.contract.commit import Answer, Committed
from server.dispatch import refusals as r
from server.dispatch.commands import Command
from server.dispatch.refusals import Refusal
from server.metrics import BATCH_SIZE, QUEUE_WAIT, REFUSALS, RERUNS
from server.write.batch import Pending
from server.write.load import NodeCopies
from server.write.transaction import AGAIN, LOST, RECONNECT_SECONDS, WriteConnections, Writer, is_lost

__all__ = ["Answer", "Committed", "Executor", "NodeCopies"]

QUEUE_LIMIT: Final = 10_000
"""The limit of waiting commands on a node, including those that run alone."""
WAIT_LIMIT_SECONDS: Final = 5.0
"""The longest a command waits for its transaction to begin; then `try_again`."""
RERUN_WIDTH: Final = 4
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 0.8
"""The longest pause between two attempts of a command that runs alone; the pause doubles up to this."""

log = structlog.get_logger(__name__)


class Executor:
    """Runs one batch after another on one connection, and single commands on a few more.

    `listeners` are called after every commit, on the event loop; they must not block. Supervise `run`. A command that
    waits for `wait_limit_seconds` is refused with TRY_AGAIN, and so is a new one while `queue_limit` commands wait.
    Once its transaction has begun, a command waits for the outcome.
    """

    def __init__(
        self,
        database: WriteConnections,
        copies: NodeCopies,
        *,
        batch_limit: int = 128,
        queue_limit: int = QUEUE_LIMIT,
        wait_limit_seconds: float = WAIT_LIMIT_SECONDS,
    ) -> None:
        self.listeners: list[Callable[[Committed], None]] = []
        self._database = database
        self._copies = copies
        self._batch_limit = batch_limit
        self._queue_limit = queue_limit
        self._wait_limit = wait_limit_seconds
        self._queue: deque[Pending] = deque()
        self._something = asyncio.Event()
        self._open = True
        self._sweep: asyncio.TimerHandle | None = None
        self._alone: set[asyncio.Task[None]] = set()
        self._last_alone: dict[str, asyncio.Task[None]] = {}
        self._writers: asyncio.Queue[Writer] = asyncio.Queue()
        for _ in range(RERUN_WIDTH):
            self._writers.put_nowait(Writer(database, copies))
        self._spare_connections = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """The number of undecided commands, without those in the current transaction."""
        return len(self._queue) + len(self._alone)

    def submit(self, command: Command) -> "asyncio.Future[Answer | Refusal]":
        """Queue a command; the future holds its answer or refusal, and never an exception."""
        loop = asyncio.get_running_loop()
        pending = Pending(command, loop.create_future(), loop.time())
        if not self._open or self.waiting >= self._queue_limit:
            self._refuse(pending)
            return pending.future
        self._queue.append(pending)
        self._idle.clear()
        self._something.set()
        if self._sweep is None:
            self._sweep = loop.call_later(self._wait_limit, self._refuse_overdue)
        return pending.future

    def _refuse(self, pending: Pending) -> None:
        if not pending.future.done():
            REFUSALS.labels(r.TRY_AGAIN.code).inc()
            pending.answer(r.TRY_AGAIN)

    def _refuse_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue and self._queue[0].since + self._wait_limit <= loop.time():
            self._refuse(self._queue.popleft())
        self._sweep = None
        if self._queue:
            self._sweep = loop.call_at(self._queue[0].since + self._wait_limit, self._refuse_overdue)

    async def run(self) -> None:
        """Run one batch after another."""
        writer = Writer(self._database, self._copies)
        try:
            while True:
                if self._spare_connections and not self._alone:
                    await self._close_spare_connections()
                if not self._queue:
                    self._something.clear()
                    await writer.rest()
                    if not self._queue:
                        if not self._alone:
                            self._idle.set()
                        await self._something.wait()
                try:
                    await writer.connect()
                except (*LOST, asyncpg.PostgresError) as error:
                    log.warning("write_connection_failed", reason=repr(error))
                    await asyncio.sleep(RECONNECT_SECONDS)
                    continue
                if batch := self._take():
                    await self._run_batch(writer, batch)
        except asyncio.CancelledError:
            await self._abandon()
            raise
        finally:
            await writer.close_connection()

    async def _abandon(self) -> None:
        """The executor has stopped: refuse all waiting commands."""
        while self._queue:
            self._refuse(self._queue.popleft())
        alone = list(self._alone)
        for task in alone:
            task.cancel()
        await asyncio.gather(*alone, return_exceptions=True)
        await self._close_spare_connections()

    async def _close_spare_connections(self) -> None:
        for _ in range(self._writers.qsize()):
            writer = self._writers.get_nowait()
            await writer.close_connection()
            self._writers.put_nowait(writer)
        self._spare_connections = False

    async def close(self) -> None:
        """Accept no more commands, and wait until all accepted ones have their answers."""
        self._open = False
        await self._idle.wait()

    def _take(self) -> list[Pending]:
        now = asyncio.get_running_loop().time()
        batch: list[Pending] = []
        while self._queue and len(batch) < self._batch_limit:
            pending = self._queue.popleft()
            if self._last_alone and any(key in self._last_alone for key in pending.names()):
                self._run_alone(pending)
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
                self._refuse(pending)
            raise
        except Exception as error:
            if is_lost(error):
                log.warning("write_connection_lost", reason=repr(error), commands=len(pendings))
                await writer.close_connection()
                self._queue.extendleft(reversed(pendings))
                self._refuse_overdue_soon()
            else:
                log.warning("batch_failed", reason=repr(error), commands=len(pendings))
                await writer.roll_back()
                RERUNS.inc()
                for pending in pendings:
                    self._run_alone(pending)
        else:
            self._publish(committed)
            if batch.deferred:
                self._queue.extendleft(reversed(batch.deferred))
                self._refuse_overdue_soon()

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

    # Commands of a batch that failed as a whole, and later ones that name the same ids: each alone, a few at a time.

    def _run_alone(self, pending: Pending) -> None:
        """Run a command alone, after every earlier such command that names one of its ids."""
        names = pending.names()
        earlier = {self._last_alone[key] for key in names if key in self._last_alone}
        task = asyncio.create_task(self._until_answered(pending, earlier), name="run_alone")
        self._alone.add(task)
        for key in names:
            self._last_alone[key] = task

        def ended(_: "asyncio.Task[None]") -> None:
            self._alone.discard(task)
            for key in names:
                if self._last_alone.get(key) is task:
                    del self._last_alone[key]
            self._something.set()

        task.add_done_callback(ended)

    async def _until_answered(self, pending: Pending, earlier: set["asyncio.Task[None]"]) -> None:
        """1. Wait for the earlier ones, even when the answer was given meanwhile: others may be behind this one.
        2. Attempts, with a pause between them, until there is an answer or the command has waited for too long.
        """
        loop = asyncio.get_running_loop()
        deadline = pending.since + self._wait_limit
        pause = FIRST_PAUSE_SECONDS
        begun = False

        def time_is_up() -> None:
            if not begun:
                self._refuse(pending)

        timer = loop.call_at(deadline, time_is_up)
        try:
            if earlier:
                await asyncio.wait(earlier)
            while not pending.future.done():
                writer = await self._writers.get()
                try:
                    if not pending.future.done() and await self._connected(writer) and not pending.future.done():
                        begun = True
                        again = await self._attempt(writer, pending)
                        begun = False
                        if again:
                            continue
                finally:
                    self._spare_connections = True
                    self._writers.put_nowait(writer)
                if pending.future.done():
                    break
                if loop.time() >= deadline:
                    self._refuse(pending)
                    break
                await asyncio.wait({pending.future}, timeout=min(pause, deadline - loop.time()))
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        finally:
            timer.cancel()
            self._refuse(pending)

    async def _connected(self, writer: Writer) -> bool:
        try:
            await writer.connect()
        except (*LOST, asyncpg.PostgresError) as error:
            log.warning("rerun_connection_failed", reason=repr(error))
            return False
        return True

    async def _attempt(self, writer: Writer, pending: Pending) -> bool:
        """One transaction for one command. True: it turned out to need more rows; the next attempt has them."""
        name = type(pending.command).__name__
        try:
            batch, committed = await writer.transact([pending])
        except asyncio.CancelledError:
            await writer.close_connection()
            raise
        except Exception as error:
            if is_lost(error):
                log.warning("rerun_connection_lost", command=name, reason=repr(error))
                await writer.close_connection()
                return False
            await writer.roll_back()
            if isinstance(error, AGAIN):
                log.warning("rerun_blocked", command=name, reason=repr(error))
            else:
                log.exception("command_failed", command=name)
                pending.answer(r.INTERNAL_ERROR)
            return False
        self._publish(committed)
        return bool(batch.deferred)
