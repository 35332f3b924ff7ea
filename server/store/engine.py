"""A node's connections to PostgreSQL: a limited pool for reads and maintenance, and single ones for the write path.

Every wait has a limit: connecting, waiting for a connection, for a lock and for an answer. A connection that the server
closed is replaced at its next use.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any, Final, TypeVar, cast

import asyncpg
from piccolo.engine.postgres import PostgresEngine

from server.store.connections import Connection
from server.store.primary import DATABASE_ERRORS, POOLED, Servers, one_line, place

__all__ = ["DATABASE_ERRORS", "Database", "DatabaseUnreachable", "place"]

T = TypeVar("T")

CONNECT_SECONDS: Final = 5.0
ACQUIRE_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 2.0
IDLE_SECONDS: Final = 120.0
EVERY_STATEMENT: Final = 10_000
"""The limit of prepared statements of a write connection: saves have many variants, and each is planned once."""

_SETTINGS: Final = {
    "application_name": "callboard",
    "timezone": "UTC",
    "jit": "off",
    # What somebody may have set for the role or the database, and what the rules and idle connections do not bear.
    "default_transaction_isolation": "read committed",
    "idle_session_timeout": "0",
    # The server detects a lost client even while it waits for a lock or sends nothing.
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
}
FIRST_OTHER_TYPE: Final = 16_384
"""PostgreSQL's own types have ids below this one, the same on every server."""
_own_types: Final[dict[int, list[Any]]] = {}
"""What asyncpg has to know about those that it does not know by itself."""
_NOT_ASKED: Final = SimpleNamespace(name="none")
"""In the place of the statement that asked: no other statement has to be prepared again because of it."""
PATIENT: Final = {"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0"}
# What each kind of connection sets at its start: one kind for each purpose that writes its own rows.
READING: Final = _SETTINGS | {
    "lock_timeout": "2s",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "10s",
    # Indexes are in memory. Every run is planned anew: filters are often absent, and tables are young and grow fast.
    "random_page_cost": "1.1",
    "plan_cache_mode": "force_custom_plan",
}
WRITING: Final = _SETTINGS | {
    "lock_timeout": "500ms",
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "2s",
    # Every statement of the write path finds its rows by key. Plans are made once, and on young tables the planner
    # would choose to read them whole and keep to it while they grow.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
OUTBOX: Final = WRITING | {
    # What it reads is in the order of an index; sorting would mean to read all that is in line.
    "enable_sort": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
}
RETENTION: Final = {**READING}
PRIVACY: Final = {**READING}


class DatabaseUnreachable(Exception):
    """No connection could be made; the text is one line and holds no password."""

    @classmethod
    def of(cls, url: str, error: BaseException) -> "DatabaseUnreachable":
        reason = one_line(error)
        if isinstance(error, asyncpg.DuplicatePreparedStatementError):
            reason = POOLED
        return cls(f"cannot reach PostgreSQL at {place(url)}: {reason}")


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that returns to its pool without a round trip, since no code here leaves session state.

    An open transaction is still rolled back.
    """

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""

    async def _introspect_types(self, ids: Collection[int], timeout: float | None) -> tuple[list[Any], object]:
        """Asked once a process, not once a connection: to look up PostgreSQL's own array types takes it longer than to
        connect.
        """
        if max(ids) >= FIRST_OTHER_TYPE:
            return cast(tuple[list[Any], object], await super()._introspect_types(ids, timeout))
        statement: object = _NOT_ASKED
        for one in ids:
            if one not in _own_types:
                _own_types[one], statement = await super()._introspect_types([one], timeout)
        return [row for one in ids for row in _own_types[one]], statement


class _Pool(asyncpg.pool.Pool):  # type: ignore[misc]
    """A pool with limits for waiting for a connection and for its return.

    If a server no longer accepts writes, reads leave it too: all connections are replaced.
    """

    async def execute(self, *args: object, **options: object) -> str:
        done: str = await self._checked(super().execute, *args, **options)
        return done

    async def fetch(self, *args: object, **options: object) -> Any:
        return await self._checked(super().fetch, *args, **options)

    async def fetchrow(self, *args: object, **options: object) -> Any:
        return await self._checked(super().fetchrow, *args, **options)

    async def fetchval(self, *args: object, **options: object) -> Any:
        return await self._checked(super().fetchval, *args, **options)

    async def _checked(self, how: Callable[..., Awaitable[T]], *args: object, **options: object) -> T:
        generation = self.generation
        try:
            return await how(*args, **options)
        except asyncpg.ReadOnlySQLTransactionError:
            if generation == self.generation:
                self.retire()
            raise

    @property
    def generation(self) -> int:
        """Which connections are in use: a higher number each time that all are replaced."""
        return cast(int, self._generation)

    def retire(self) -> None:
        """Replace every connection at its next use."""
        self._generation += 1

    def acquire(self, *, timeout: float | None = None) -> Any:
        return super().acquire(timeout=ACQUIRE_SECONDS if timeout is None else timeout)


class Database(PostgresEngine):
    """A node's connections; also an engine that Piccolo's tables run on.

    On all of them UUIDs are text, JSONB is text, and instants are aware datetimes in UTC.
    """

    pool: _Pool

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        self.url = url
        self._servers = Servers(url, self.retire)
        self._retired = 0
        self.pool_size = pool_size
        super().__init__({"dsn": url or None}, extensions=())

    @property
    def generation(self) -> int:
        """Increases when idle connections must be replaced, because the server may have changed."""
        pool = self._open_pool()
        return self._retired + (pool.generation if pool is not None else 0)

    def retire(self) -> None:
        """Replace all connections: their server no longer accepts writes, or another server does."""
        self._retired += 1
        pool = self._open_pool()
        if pool is not None:
            pool.retire()

    def _open_pool(self) -> _Pool | None:
        return self.pool

    async def check_version(self) -> None:
        """Nothing: constructing an engine must not connect. `migrate` checks the version."""

    async def prep_database(self) -> None:
        """Nothing: no extension is needed."""

    async def open(self) -> None:
        """Make the pool and try it once. Raises DatabaseUnreachable."""
        pool = _Pool(
            connect=self._servers.connect,
            min_size=0,
            max_size=self.pool_size,
            max_queries=50_000,
            max_inactive_connection_lifetime=IDLE_SECONDS,
            init=_set_codecs,
            loop=None,
            connection_class=_Connection,
            record_class=asyncpg.Record,
            timeout=CONNECT_SECONDS,
            command_timeout=COMMAND_SECONDS,
            server_settings=READING,
        )
        try:
            await pool
            await pool.fetchval("SELECT 1")
        except DATABASE_ERRORS as error:
            pool.terminate()
            raise DatabaseUnreachable.of(self.url, error) from error
        self.pool = pool

    async def close(self) -> None:
        """Close the pool; connections still in use after two seconds are cut. Harmless when it is closed."""
        pool = self._open_pool()
        self.pool = None  # type: ignore[assignment]  # reads after this say that the database is away
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await pool.close()
        except DATABASE_ERRORS:
            pool.terminate()

    async def connect_for_writing(self) -> Connection:
        """A new connection for the write path, configured to give up soon. Raises what asyncpg raises, OSError
        or TimeoutError; the caller closes it.
        """
        return await self._connect(WRITING, statement_cache_size=EVERY_STATEMENT, max_cached_statement_lifetime=0)

    async def connect_for_outbox(self) -> Connection:
        """A new connection for webhooks and pushes: large statements, planned once. The caller closes it."""
        return await self._connect(OUTBOX)

    async def connect_for_retention(self) -> Connection:
        """A new connection for deleting old rows, the only one that deletes any of the state. The caller closes it."""
        return await self._connect(RETENTION)

    async def connect_for_privacy(self) -> Connection:
        """A new connection for erasing personal data, the only one that updates old rows. The caller closes it."""
        return await self._connect(PRIVACY)

    async def connect_apart(self) -> Connection:
        """A new connection like the pool's, for one that must not wait for the pool. The caller closes it."""
        return await self._connect(READING)

    async def get_new_connection(self) -> Connection:
        """The connection that Piccolo uses without a pool: for migrations, whose statements may take long."""
        return await self._connect(_SETTINGS | PATIENT, command_timeout=None)

    async def _connect(self, settings: Mapping[str, str], **options: object) -> Connection:
        options = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS, **options}
        options["connection_class"] = _Connection
        connection: Connection = await self._servers.connect(server_settings=settings, **options)
        try:
            await _set_codecs(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection


async def _set_codecs(connection: Connection) -> None:
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str, format="text")
