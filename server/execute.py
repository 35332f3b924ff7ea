"""The one write path: commands in; state and events saved in one transaction; answers and news out after the commit.

Commands that arrive while a transaction runs are taken together by the next one (docs/decisions.md, "Natural
batching"). Nothing else in Callboard opens a transaction on the state of dispatch.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, Protocol

import asyncpg
import structlog

from server.batch import Answer, Batch, Committed, Pending
from server.dispatch import refusals as r
from server.dispatch.commands import Command
from server.dispatch.policy import Policy
from server.dispatch.refusals import Refusal
from server.metrics import BATCH_SIZE, QUEUE_WAIT, REFUSALS, RERUNS, TRANSACTION_TIME
from server.store.load import Named, load
from server.store.outbox import outbox_rows
from server.store.save import save

__all__ = ["Answer", "Committed", "Executor"]

QUEUE_LIMIT: Final = 10_000
WAIT_LIMIT_SECONDS: Final = 5.0
"""The longest a command waits for its transaction to begin; then `try_again`."""
TRANSACTION_LIMIT_SECONDS: Final = 8.0
"""When a server that neither answers nor hangs up counts as lost. Its own timeouts come first."""
RERUN_WIDTH: Final = 4
ATTEMPTS_ALONE: Final = 3
RECONNECT_SECONDS: Final = 0.1

LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)
"""The connection is of no more use, or its server: another one may be."""
AGAIN: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
    asyncpg.InsufficientResourcesError,
)
"""Another transaction was in the way; alone and a little later the command may pass."""

log = structlog.get_logger(__name__)


class Database(Protocol):
    """Where write connections come from."""

    async def connect_for_writing(self) -> Any: ...


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
        self._connection: Any = None
        self._begun = False
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
        try:
            while True:
                if not self._queue:
                    if self._begun:
                        await self._roll_back(self._connection)
                    if not self._reruns:
                        self._idle.set()
                    self._something.clear()
                    await self._something.wait()
                if self._connection is None or self._connection.is_closed():
                    await self._connect()
                    continue
                batch = self._take()
                if batch:
                    await self._run_batch(batch)
        finally:
            await _hang_up(self._connection)
            self._connection = None

    async def close(self) -> None:
        """Take no more commands and wait until those that were taken are answered."""
        self._open = False
        await self._idle.wait()

    async def _connect(self) -> None:
        self._begun = False
        try:
            async with asyncio.timeout(TRANSACTION_LIMIT_SECONDS):
                self._connection = await self._database.connect_for_writing()
        except (*LOST, asyncpg.PostgresError) as error:
            log.warning("write_connection_failed", reason=repr(error))
            await asyncio.sleep(RECONNECT_SECONDS)

    def _take(self) -> list[Pending]:
        now = asyncio.get_running_loop().time()
        batch: list[Pending] = []
        while self._queue and len(batch) < self._batch_limit:
            pending = self._queue.popleft()
            if self._chains and (chain := self._chain_of(pending)) is not None:
                chain.append(pending)
                continue
            QUEUE_WAIT.observe(now - pending.since)
            batch.append(pending)
        return batch

    async def _run_batch(self, pendings: list[Pending]) -> None:
        BATCH_SIZE.observe(len(pendings))
        begun, self._begun = self._begun, False
        try:
            batch, committed = await self._transact(self._connection, pendings, begun=begun)
        except asyncio.CancelledError:
            for pending in pendings:
                pending.answer(r.TRY_AGAIN)
            raise
        except Exception as error:
            if _is_lost(error):
                log.warning("write_connection_lost", reason=repr(error), commands=len(pendings))
                await _hang_up(self._connection)
                self._queue.extendleft(reversed(pendings))
                self._refuse_overdue_soon()
            else:
                log.warning("batch_failed", reason=repr(error), commands=len(pendings))
                await self._roll_back(self._connection)
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

    async def _transact(
        self, connection: Any, pendings: list[Pending], *, begun: bool = False
    ) -> tuple[Batch, Committed | None]:
        """Lock + load, decide, save, commit; then answer. Raises what PostgreSQL raises, with nobody answered.

        On the lane, when more commands wait already, the commit begins the next transaction in the same round trip.
        """
        started = time.monotonic()
        named = Named()
        for pending in pendings:
            named.add(pending.command)
            for needs in pending.needed or ():
                if needs.delivery_id is not None:
                    named.whole_deliveries.add(needs.delivery_id)
                if needs.driver_id is not None:
                    named.drivers.add(needs.driver_id)
        batch = Batch(pendings)
        async with asyncio.timeout(TRANSACTION_LIMIT_SECONDS):
            if not begun:
                await connection.execute("BEGIN")
            loaded = await load(connection, named, self._policy())
            batch.decide(loaded.world)
            if batch.events:
                if loaded.heard:
                    batch.outbox = outbox_rows(batch.events, loaded.world)
                await save(connection, loaded.world, batch.events, batch.messages, batch.outbox)
        chain = connection is self._connection and bool(self._queue)
        if not batch.events:
            await self._end(connection, "ROLLBACK", chain)
        elif not await self._commit(connection, chain, loaded.xid, loaded.world.now, len(batch.events)):
            raise asyncpg.ConnectionDoesNotExistError("the connection was lost and the transaction rolled back")
        committed = batch.finish(loaded.world)
        TRANSACTION_TIME.observe(time.monotonic() - started)
        return batch, committed

    async def _end(self, connection: Any, how: str, chain: bool) -> None:
        async with asyncio.timeout(TRANSACTION_LIMIT_SECONDS):
            await connection.execute(f"{how} AND CHAIN" if chain else how)
        self._begun = self._begun or chain

    async def _commit(self, connection: Any, chain: bool, xid: str, at: datetime, events: int) -> bool:
        """Whether it is committed, whatever becomes of the connection meanwhile."""
        try:
            await self._end(connection, "COMMIT", chain)
            return True
        except LOST as error:
            log.warning("commit_outcome_open", reason=repr(error), xid=xid)
            await _hang_up(connection)
        return await self._was_committed(xid, at, events)

    async def _was_committed(self, xid: str, at: datetime, events: int) -> bool:
        """Ask the database, as long as it takes, what became of a transaction.

        After a crash a number that was never written down can be given out again, so our own events must be there too.
        """
        while True:
            asking = None
            try:
                async with asyncio.timeout(TRANSACTION_LIMIT_SECONDS):
                    asking = await self._database.connect_for_writing()
                    status = await asking.fetchval(_XACT_STATUS, xid)
                    if status == "committed":
                        return bool(await asking.fetchval(_EVENTS_OF, xid, at) == events)
                    if status == "aborted":
                        return False
            except asyncpg.InvalidParameterValueError:
                return False  # a number from the future: it was lost with a crash
            except (*LOST, asyncpg.PostgresError) as error:
                log.warning("commit_outcome_still_open", reason=repr(error), xid=xid)
            finally:
                await _hang_up(asking)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _roll_back(self, connection: Any) -> None:
        if connection is self._connection:
            self._begun = False
        try:
            await self._end(connection, "ROLLBACK", False)
        except (*LOST, asyncpg.PostgresError):
            await _hang_up(connection)

    # Commands of a batch that failed as a whole: each alone, a few at a time, in order for each id they name.

    def _chain_of(self, pending: Pending) -> deque[Pending] | None:
        for key in pending.names():
            if key in self._chains:
                return self._chains[key]
        return None

    def _rerun(self, pendings: Iterable[Pending]) -> None:
        RERUNS.inc()
        for pending in pendings:
            chain = self._chain_of(pending)
            if chain is None:
                chain = deque((pending,))
                task = asyncio.create_task(self._run_chain(chain), name="rerun")
                self._reruns.add(task)
                task.add_done_callback(self._reran)
            else:
                chain.append(pending)
            for key in pending.names():
                self._chains.setdefault(key, chain)

    def _reran(self, task: "asyncio.Task[None]") -> None:
        self._reruns.discard(task)
        self._something.set()

    async def _run_chain(self, chain: deque[Pending]) -> None:
        async with self._width:
            connection = None
            try:
                while chain:
                    pending = chain.popleft()
                    connection = await self._run_alone(connection, pending)
            finally:
                for pending in chain:
                    pending.answer(r.TRY_AGAIN)
                for key in [key for key, of in self._chains.items() if of is chain]:
                    del self._chains[key]
                await _hang_up(connection)

    async def _run_alone(self, connection: Any, pending: Pending) -> Any:
        """Run one command until it is answered; gives back a connection that can be used on, or None."""
        attempts = 0
        while not pending.future.done():
            if attempts >= ATTEMPTS_ALONE:
                pending.answer(r.TRY_AGAIN)
                break
            try:
                if connection is None or connection.is_closed():
                    connection = await self._database.connect_for_writing()
                _, committed = await self._transact(connection, [pending])
                self._publish(committed)
            except asyncio.CancelledError:
                pending.answer(r.TRY_AGAIN)
                raise
            except Exception as error:
                attempts += 1
                name = type(pending.command).__name__
                if _is_lost(error):
                    log.warning("rerun_connection_lost", command=name, reason=repr(error))
                    await _hang_up(connection)
                    continue
                await self._roll_back(connection)
                if isinstance(error, AGAIN):
                    log.warning("rerun_blocked", command=name, reason=repr(error))
                else:
                    log.exception("command_failed", command=name)
                    pending.answer(r.INTERNAL_ERROR)
        return connection


_XACT_STATUS = "SELECT pg_xact_status($1::text::xid8)"
_EVENTS_OF = "SELECT count(*) FROM events WHERE xid = $1::text::xid8 AND at = $2"


def _is_lost(error: Exception) -> bool:
    """asyncpg's word for an argument it cannot encode is an InterfaceError too, and a ValueError."""
    return isinstance(error, LOST) and not isinstance(error, ValueError)


async def _hang_up(connection: Any) -> None:
    if connection is not None and not connection.is_closed():
        with contextlib.suppress(*LOST, asyncpg.PostgresError):
            connection.terminate()
