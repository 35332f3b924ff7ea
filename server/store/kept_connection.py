"""A connection apart, for what must not wait for the pool, or keeps the plans of its statements."""

from collections.abc import Awaitable, Callable

from asyncpg import ReadOnlySQLTransactionError

from server.store.connections import Connection
from server.store.engine import Database


class KeptConnection:
    """Made at its first use, and anew after it was lost or when another server may be the primary. For one task at a
    time. `connect` opens another kind than `connect_apart`.
    """

    def __init__(self, database: Database, connect: Callable[[], Awaitable[Connection]] | None = None) -> None:
        self._database = database
        self._connect = connect or database.connect_apart
        self._connection: Connection | None = None
        self._generation = 0

    async def get(self) -> Connection:
        """Raises what asyncpg raises, OSError or TimeoutError."""
        if self._generation != self._database.generation:
            self.close()
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
            self._generation = self._database.generation
        return self._connection

    def failed(self, error: BaseException) -> None:
        """A statement failed: close it. If its server accepts no writes, all other connections leave it too."""
        if isinstance(error, ReadOnlySQLTransactionError) and self._generation == self._database.generation:
            self._database.retire()
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
