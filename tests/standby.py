"""A standby of an embedded PostgreSQL, and a fail-over to it: the old server stays alive, and takes no writes."""

import asyncio
from pathlib import Path
from typing import Any, Final

import asyncpg

from server.embedded.programs import postgres_programs
from server.embedded.servers import DATABASE, Embedded
from tests.waiting import until

NAME: Final = "standby"
FOLLOWS: Final = "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn"
WRITTEN: Final = "SELECT pg_current_wal_lsn()::text"
TAKES_WRITES_AGAIN: Final = {"default_transaction_read_only": "off"}


class Standby:
    """Of `primary`, which has started. `url` is of its database."""

    def __init__(self, primary: Embedded, number: int = 1) -> None:
        self.primary = primary
        self.number = number
        self.server = Embedded(primary.data / f"standby{number}", durable=primary._durable)

    @property
    def url(self) -> str:
        return self.server.database_url

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.server._postgres_socket

    async def start(self) -> None:
        """A copy of the primary that follows it. From then on each commit waits until the standby has it too."""
        await asyncio.to_thread(self._copy)
        await asyncio.to_thread(self.server._run_postgres, postgres_programs())
        await _execute(
            self.primary, f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'", "SELECT pg_reload_conf()"
        )
        await until(self._is_synchronous)

    def _copy(self) -> None:
        self.server.data.mkdir(mode=0o755)
        pgdata = self.server._private(self.server._pgdata)
        host = f"host={self.primary._postgres_socket.parent} user={DATABASE} application_name={NAME}"
        command: list[str | Path] = [postgres_programs() / "pg_basebackup", "-d", host, "-D", pgdata]
        done = self.server._account.run([*command, "-R", "-X", "stream", "-c", "fast", "--no-sync"])
        assert done.returncode == 0, done.stdout
        for copied in pgdata.glob(".s.PGSQL*"):
            copied.unlink()

    async def _is_synchronous(self) -> bool:
        return bool(
            await ask(self.primary.database_url, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
        )

    async def take_over(self) -> None:
        """The primary takes no writes any more, and all that it has is here: this one is the primary."""
        await _execute(
            self.primary,
            "ALTER SYSTEM SET default_transaction_read_only = on",
            "SELECT pg_reload_conf()",
        )
        await until(self._nobody_writes)
        written = await ask(self.primary.database_url, WRITTEN)
        await until(lambda: ask(self.url, FOLLOWS, written))
        await ask(self.url, "SELECT pg_promote()")
        # What its copy of the settings says is for the primary that it was.
        await _execute(
            self.server,
            "ALTER SYSTEM RESET default_transaction_read_only",
            "ALTER SYSTEM RESET synchronous_standby_names",
            "SELECT pg_reload_conf()",
        )

    async def _nobody_writes(self) -> bool:
        """The setting counts from the next transaction on: those that had begun have ended."""
        question = "SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
        return not await ask(self.primary.database_url, question)

    def stop(self) -> None:
        """Harmless when it does not run."""
        self.server._stop_postgres(5.0)


async def ask(url: str, question: str, *values: Any) -> Any:
    """One value."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question, *values)
    finally:
        await connection.close()


async def _execute(server: Embedded, *statements: str) -> None:
    connection = await asyncpg.connect(server.database_url, server_settings=TAKES_WRITES_AGAIN)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
