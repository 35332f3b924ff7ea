"""One transaction of the write path on one connection: lock and load, decide, save, commit, and find out the outcome.

`server/write/executor.py` decides what goes into it and who is notified.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import asyncpg
import structlog

from server.contract.commit import Committed
from server.contract.webhook_events import webhook_messages
from server.metrics import TRANSACTION_TIME
from server.store.connections import Connection
from server.write.batch import Batch, Pending
from server.write.load import Named, NodeCopies, load
from server.write.save import save

TRANSACTION_LIMIT_SECONDS: Final = 8.0
"""After this time a server that neither answers nor closes the connection counts as lost. Its own timeouts are
shorter.
"""
RECONNECT_SECONDS: Final = 0.1

LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)
"""The connection, or its server, can no longer be used; another one may work."""
AGAIN: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
    asyncpg.InsufficientResourcesError,
)
"""Another transaction was in the way; the command may succeed alone and a little later."""

log = structlog.get_logger(__name__)


class WriteConnections(Protocol):
    """The source of write connections."""

    @property
    def generation(self) -> int: ...

    def retire(self) -> None: ...

    async def connect_for_writing(self) -> Connection: ...


class Writer:
    """A connection for writing, and the transactions on it, one after another. It connects when it is first needed."""

    def __init__(
        self,
        database: WriteConnections,
        copies: NodeCopies,
    ) -> None:
        self._database = database
        self._copies = copies
        self._connection: Connection | None = None
        self._generation = 0
        self._begun = False

    async def connect(self) -> None:
        """Make sure that there is a connection to the server that accepts writes. Raises what PostgreSQL and the
        network raise.
        """
        if self._generation != self._database.generation and not self._begun:
            await self.close_connection()
        if self._connection is None or self._connection.is_closed():
            self._begun = False
            async with asyncio.timeout(TRANSACTION_LIMIT_SECONDS):
                self._connection = await self._database.connect_for_writing()
            self._generation = self._database.generation

    @property
    def _open_connection(self) -> Connection:
        assert self._connection is not None, "connect comes first"
        return self._connection

    async def transact(
        self, pendings: list[Pending], more: Callable[[], bool] = lambda: False
    ) -> tuple[Batch, Committed | None]:
        """Lock and load, decide, save, commit; then answer. Raises what PostgreSQL raises; then no command is answered.

        If `more` commands wait at the end, the commit begins the next transaction in the same round trip.
        """
        try:
            return await self._transact(pendings, more)
        except asyncpg.ReadOnlySQLTransactionError:
            if self._generation == self._database.generation:
                self._database.retire()
            raise

    async def _transact(self, pendings: list[Pending], more: Callable[[], bool]) -> tuple[Batch, Committed | None]:
        started = time.monotonic()
        begun, self._begun = self._begun, False
        named = _named_by(pendings)
        batch = Batch(pendings)
        async with asyncio.timeout(TRANSACTION_LIMIT_SECONDS):
            if not begun:
                await self._open_connection.execute("BEGIN")
            loaded = await load(self._open_connection, named, self._copies)
            batch.decide(loaded.world)
            if batch.events:
                if loaded.has_webhooks:
                    batch.outbox = webhook_messages(batch.events, loaded.world, self._copies.tracking_url)
                await save(
                    self._open_connection,
                    loaded.world,
                    batch.events,
                    batch.messages,
                    batch.outbox,
                    batch.stream_notices,
                )
        chain = more()
        if not batch.events:
            await self._end("ROLLBACK", chain)
        elif not await self._commit(chain, loaded.xid, loaded.world.now, len(batch.events)):
            raise asyncpg.ConnectionDoesNotExistError("the connection was lost and the transaction rolled back")
        committed = batch.finish(loaded.world)
        TRANSACTION_TIME.observe(time.monotonic() - started)
        return batch, committed

    async def _end(self, how: str, chain: bool) -> None:
        async with asyncio.timeout(TRANSACTION_LIMIT_SECONDS):
            await self._open_connection.execute(f"{how} AND CHAIN" if chain else how)
        self._begun = chain

    async def _commit(self, chain: bool, xid: str, at: datetime, events: int) -> bool:
        """Whether the transaction was committed, even if the connection was lost."""
        try:
            await self._end("COMMIT", chain)
            return True
        except LOST as error:
            log.warning("commit_outcome_unknown", reason=repr(error), xid=xid)
            await self.close_connection()
        return await self._was_committed(xid, at, events)

    async def _was_committed(self, xid: str, at: datetime, events: int) -> bool:
        """Ask the database for the outcome of a transaction, until it answers.

        After a crash a transaction number that was never stored can be used again, so the events must exist too.
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
                log.warning("commit_outcome_still_unknown", reason=repr(error), xid=xid)
            finally:
                await _close_connection(asking)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def rest(self) -> None:
        """Roll back a transaction that a commit began for commands that no longer wait."""
        if self._begun:
            await self.roll_back()

    async def roll_back(self) -> None:
        """Roll back after an error; if that fails, close the connection."""
        try:
            await self._end("ROLLBACK", False)
        except (*LOST, asyncpg.PostgresError):
            await self.close_connection()

    async def close_connection(self) -> None:
        await _close_connection(self._connection)
        self._connection = None
        self._begun = False


def _named_by(pendings: list[Pending]) -> Named:
    named = Named()
    for pending in pendings:
        named.add(pending.command)
        for needs in pending.needed or ():
            if needs.delivery_id is not None:
                named.whole_deliveries.add(needs.delivery_id)
            if needs.posted and needs.delivery_id is not None:
                named.posted.add(needs.delivery_id)
            if needs.driver_id is not None:
                named.drivers.add(needs.driver_id)
    return named


_XACT_STATUS = "SELECT pg_xact_status($1::text::xid8)"
_EVENTS_OF = "SELECT count(*) FROM events WHERE xid = $1::text::xid8 AND at = $2"


def is_lost(error: Exception) -> bool:
    """For an argument that it cannot encode, asyncpg raises an InterfaceError that is also a ValueError."""
    return isinstance(error, LOST) and not isinstance(error, ValueError)


async def _close_connection(connection: Connection | None) -> None:
    if connection is not None and not connection.is_closed():
        with contextlib.suppress(*LOST, asyncpg.PostgresError):
            connection.terminate()
