"""Migrates the database schema with Piccolo, safely with any number of processes at once."""

import asyncio
import contextlib
import io
import os
import re
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

import asyncpg
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.apps.migrations.tables import Migration
from piccolo.conf.apps import ENVIRONMENT_VARIABLE, AppRegistry

from server.paths import MIGRATIONS
from server.store.connections import Connection
from server.store.engine import DATABASE_ERRORS, Database, DatabaseUnreachable, place
from server.store.piccolo_app import APP_NAME
from server.store.primary import POOLED, one_line, shares_sessions, unusable

LOCK_KEY: Final = 0x63616C6C626F6172
"""The key of the advisory lock of the migrating process: "callboar" in ASCII."""
LOCK_SECONDS: Final = 120
OLDEST_SERVER: Final = 14

# Numbers of transactions that this server has yet to give out: the events came with a dump of another one's.
_FROM_ELSEWHERE: Final = "SELECT EXISTS (SELECT FROM events WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()))"

_CONF: Final = "server.store._conf_of_this_migration"
_one_at_a_time = threading.Lock()


class MigrationFailed(Exception):
    """The schema could not be brought up to date and is as it was; the text is one line."""


async def migrate(url: str) -> None:
    """Run the pending migrations, and adjust a database that was restored from another server.

    Fast if there is nothing to do; prints nothing. Processes that start together wait for each other. Raises
    DatabaseUnreachable or MigrationFailed.
    """
    # Piccolo finds its engine through process-wide state, and reads and imports files: all that in a thread.
    runs = _Run(url)
    try:
        await asyncio.to_thread(runs.to_the_end)
    except asyncio.CancelledError:
        runs.cancel()
        raise


def known_migrations() -> set[str]:
    """The ids of the migrations that came with this code. Raises MigrationFailed if they are not where they belong."""
    try:
        texts = [path.read_text() for path in MIGRATIONS.glob("*.py")]
    except OSError as error:
        raise MigrationFailed(f"cannot read the migrations in {MIGRATIONS}: {error.strerror}") from error
    ids = {found.group(1) for text in texts if (found := re.search(r'^ID = "(.+)"$', text, re.MULTILINE))}
    if not ids:
        raise MigrationFailed(f"there are no migrations in {MIGRATIONS}")
    return ids


async def pending_migrations(connection: Connection) -> list[str]:
    """The ids of known migrations that have not run on this database, in their order."""
    known = known_migrations()
    if await connection.fetchval("SELECT to_regclass('migration')") is None:
        return sorted(known)
    ran = await connection.fetch("SELECT name FROM migration WHERE app_name = $1", APP_NAME)
    return sorted(known - {row["name"] for row in ran})


class _Run:
    """A migration in a separate thread, so that its caller can give up."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._gate = threading.Lock()
        self._given_up = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    def to_the_end(self) -> None:
        """Do it. Raises what `migrate` raises, or CancelledError."""
        with _one_at_a_time:
            asyncio.run(self._main())

    async def _main(self) -> None:
        with self._gate:
            if self._given_up:
                return
            self._loop = asyncio.get_running_loop()
            self._task = asyncio.current_task()
        try:
            await _migrate(self._url)
        finally:
            with self._gate:
                self._task = None

    def cancel(self) -> None:
        """The caller has given up: stop the migration; what was not committed is rolled back."""
        with self._gate:
            self._given_up = True
            if self._task is not None and self._loop is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)


async def _migrate(url: str) -> None:
    database = Database(url)
    try:
        connection = await database.get_new_connection()
    except DATABASE_ERRORS as error:
        raise DatabaseUnreachable.of(url, error) from error
    try:
        version = connection.get_server_version().major
        if version < OLDEST_SERVER:
            raise MigrationFailed(f"PostgreSQL {OLDEST_SERVER} or newer is needed; this is PostgreSQL {version}")
        pending = await pending_migrations(connection)
        if (mistake := await unusable(connection, to_migrate=bool(pending))) is not None:
            raise MigrationFailed(f"{place(url)}: {mistake}")
        if await _is_pooled(database, connection):
            raise MigrationFailed(f"{place(url)}: {POOLED}")
        if pending:
            await _run(database)
        if await connection.fetchval(_FROM_ELSEWHERE):
            await _renumber(connection)
    except DATABASE_ERRORS as error:
        raise MigrationFailed(f"migrating {place(url)}: {_why(error)}") from error
    finally:
        await connection.close(timeout=2)


async def _is_pooled(database: Database, connection: Connection) -> bool:
    """Whether a pooler lends sessions for a transaction each, which two connections that rest show."""
    other = await database.get_new_connection()
    try:
        return await shares_sessions(connection, other)
    finally:
        await other.close(timeout=2)


async def _run(database: Database) -> None:
    with _piccolo_uses(database), contextlib.redirect_stdout(io.StringIO()) as said:
        async with database.transaction(allow_nested=False) as transaction:
            await _lock(transaction.connection)
            result = await run_forwards("all")
            if not result.success:
                raise MigrationFailed(result.message or said.getvalue().strip().rpartition("\n")[2])


async def _renumber(connection: Connection) -> None:
    async with connection.transaction():
        await _lock(connection)
        await connection.execute("SELECT number_restored_events_anew()")


async def _lock(connection: Connection) -> None:
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
    await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)


@contextlib.contextmanager
def _piccolo_uses(database: Database) -> Iterator[None]:
    """Let Piccolo find this engine and our app, in any working folder, and clean up afterwards."""
    conf: Any = ModuleType(_CONF)
    conf.DB = database
    conf.APP_REGISTRY = AppRegistry(apps=["server.store.piccolo_app"])
    path, variable = list(sys.path), os.environ.get(ENVIRONMENT_VARIABLE)
    sys.modules[_CONF] = conf
    os.environ[ENVIRONMENT_VARIABLE] = _CONF
    Migration._meta.db = database
    try:
        yield
    finally:
        sys.path[:] = path
        del sys.modules[_CONF]
        if variable is None:
            del os.environ[ENVIRONMENT_VARIABLE]
        else:
            os.environ[ENVIRONMENT_VARIABLE] = variable


def _why(error: BaseException) -> str:
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error.__context__, DATABASE_ERRORS):
        error = error.__context__  # the rollback after it failed too, on a lost connection
    if isinstance(error, asyncpg.LockNotAvailableError):
        return f"another process has been migrating for {LOCK_SECONDS} s"
    if isinstance(error, asyncpg.DuplicatePreparedStatementError | asyncpg.InvalidSQLStatementNameError):
        return POOLED
    return one_line(error)
