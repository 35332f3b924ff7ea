"""Faults of PostgreSQL and Redis themselves."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

import asyncpg

from tests.standby import Standby
from tests.torture.stage import Stage

Work = Callable[[Stage, random.Random], Awaitable[None]]

DOWN_SECONDS: Final = (0.0, 7.0)
BROKEN_SECONDS: Final = (0.5, 6.0)
LOCKED_SECONDS: Final = (0.2, 4.0)
HEAL_SECONDS: Final = 30.0
CROWD_WIDTH: Final = 8
CROWD_ROUNDS: Final = 3
AWAY: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
"""What PostgreSQL is like while something is wrong with it."""

_TERMINATE: Final = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND datname = current_database()
  AND random() < $1"""
_TERMINATE_OTHERS: Final = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'crowd'"""
_FULL: Final = (
    """
    CREATE FUNCTION torture_disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF random() < 0.5 THEN
            RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
        END IF;
        RETURN NULL;
    END $$""",
    "CREATE TRIGGER torture_disk_full AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION torture_disk_full()",
)
_ROOM: Final = "DROP FUNCTION IF EXISTS torture_disk_full CASCADE"


def _postgres_down(how: signal.Signals) -> Work:
    async def work(stage: Stage, chance: random.Random) -> None:
        with stage.postgres.claim():
            # Cancelled while it still shuts down, it would look as if it ran, and then be gone for good.
            stopping = asyncio.create_task(stage.servers.stop_postgres(how))
            try:
                await asyncio.shield(stopping)
                await asyncio.sleep(chance.uniform(*DOWN_SECONDS))
            finally:
                await stopping
                await stage.servers.start_postgres()

    return work


async def _postgres_frozen(stage: Stage, chance: random.Random) -> None:
    with stage.postgres.claim():
        stage.servers.signal_postgres(signal.SIGSTOP)
        try:
            await asyncio.sleep(chance.uniform(*DOWN_SECONDS))
        finally:
            stage.servers.signal_postgres(signal.SIGCONT)


def _terminated(share: tuple[float, float]) -> Work:
    async def work(stage: Stage, chance: random.Random) -> None:
        with stage.postgres.claim():
            for _ in range(chance.randint(1, 5)):
                async with stage.database() as connection:
                    await connection.fetchval(_TERMINATE, chance.uniform(*share))
                await asyncio.sleep(chance.uniform(0.0, 1.0))

    return work


async def _heal(stage: Stage, *statements: str) -> None:
    """Undo it, as often as it takes."""
    async with asyncio.timeout(HEAL_SECONDS):
        while True:
            try:
                async with stage.database() as connection:
                    for statement in statements:
                        await connection.execute(statement)
                return
            except AWAY:
                await asyncio.sleep(0.2)


async def _read_only(stage: Stage, chance: random.Random) -> None:
    with stage.postgres.claim():
        try:
            async with stage.database() as connection:
                await connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                await connection.execute("SELECT pg_reload_conf()")
            await asyncio.sleep(chance.uniform(*BROKEN_SECONDS))
        finally:
            await _heal(stage, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


async def _failed_over(stage: Stage, chance: random.Random) -> None:
    with stage.postgres.claim():
        standby = Standby(stage.embedded, stage.fail_overs + 1)
        try:
            await standby.start()
        except BaseException:
            standby.stop()
            await _heal(stage, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
            raise
        # Cut short, nobody would know which of the two is the server.
        over = asyncio.create_task(stage.fail_over(standby, chance.uniform(*BROKEN_SECONDS)))
        await _to_its_end(over)


async def _to_its_end(task: asyncio.Task[None]) -> None:
    """Also when the fault is cancelled meanwhile."""
    try:
        await asyncio.shield(task)
    finally:
        await task


async def _crowded(stage: Stage, chance: random.Random) -> None:
    with stage.postgres.claim():
        async with AsyncExitStack() as crowd, stage.database() as master:
            await _fill(stage, crowd)
            for _ in range(CROWD_ROUNDS):
                # A client that is sent away comes back as fast as they can: so do we.
                await master.fetchval(_TERMINATE_OTHERS)
                await _fill(stage, crowd)
            await asyncio.sleep(chance.uniform(*BROKEN_SECONDS))


async def _fill(stage: Stage, crowd: AsyncExitStack) -> None:
    """Take all connections there are."""

    async def take() -> None:
        while True:
            try:
                connection = await asyncpg.connect(
                    stage.database_url, timeout=HEAL_SECONDS, server_settings={"application_name": "crowd"}
                )
            except AWAY:
                return
            crowd.callback(connection.terminate)

    await asyncio.gather(*(take() for _ in range(CROWD_WIDTH)))


@asynccontextmanager
async def _table_locked(connection: Any, statement: str) -> AsyncIterator[None]:
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(statement)
        yield
    finally:
        with suppress(*AWAY):
            await transaction.rollback()


def _locked(*statements: str) -> Work:
    async def work(stage: Stage, chance: random.Random) -> None:
        with stage.postgres.claim(), suppress(*AWAY):
            async with stage.database() as connection, _table_locked(connection, chance.choice(statements)):
                await asyncio.sleep(chance.uniform(*LOCKED_SECONDS))

    return work


async def _disk_full(stage: Stage, chance: random.Random) -> None:
    with stage.postgres.claim():
        try:
            async with stage.database() as connection:
                for statement in _FULL:
                    await connection.execute(statement)
            await asyncio.sleep(chance.uniform(*BROKEN_SECONDS))
        finally:
            await _heal(stage, _ROOM)


async def _redis_killed(stage: Stage, chance: random.Random) -> None:
    with stage.redis.claim():
        stage.servers.kill_redis()
        try:
            await asyncio.sleep(chance.uniform(*DOWN_SECONDS))
        finally:
            await stage.servers.start_redis()


async def _redis_frozen(stage: Stage, chance: random.Random) -> None:
    with stage.redis.claim():
        os.kill(stage.servers.redis_pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(chance.uniform(*DOWN_SECONDS))
        finally:
            os.kill(stage.servers.redis_pid, signal.SIGCONT)


def _commanded(*commands: tuple[str, ...]) -> Work:
    async def work(stage: Stage, chance: random.Random) -> None:
        with stage.redis.claim():
            for _ in range(chance.randint(1, 4)):
                async with stage.valkey() as redis:
                    for command in commands:
                        await redis.execute_command(*command)  # type: ignore[no-untyped-call]
                await asyncio.sleep(chance.uniform(0.0, 1.5))

    return work


async def _redis_full(stage: Stage, chance: random.Random) -> None:
    with stage.redis.claim():
        try:
            async with stage.valkey() as redis:
                await redis.config_set("maxmemory", "1")
            await asyncio.sleep(chance.uniform(*BROKEN_SECONDS))
        finally:
            async with stage.valkey() as redis:
                await redis.config_set("maxmemory", "0")


SERVER_FAULTS: Final[dict[str, tuple[str, Work]]] = {
    "postgres-crashed": (
        "PostgreSQL crashes (pg_ctl stop -m immediate) and is started again a little later.",
        _postgres_down(signal.SIGQUIT),
    ),
    "postgres-restarted": (
        "PostgreSQL is stopped as planned and started again.",
        _postgres_down(signal.SIGINT),
    ),
    "postgres-frozen": ("PostgreSQL and all its processes are paused (SIGSTOP).", _postgres_frozen),
    "postgres-some-terminated": ("Some connections are ended by pg_terminate_backend.", _terminated((0.1, 0.6))),
    "postgres-all-terminated": ("All connections are ended by pg_terminate_backend.", _terminated((1.0, 1.0))),
    "postgres-read-only": ("PostgreSQL takes no writes, as a standby after a failover.", _read_only),
    "postgres-failed-over": (
        "A standby becomes the primary; the old server stays alive and read-only for a while, with its connections.",
        _failed_over,
    ),
    "postgres-crowded": ("All connections are ended, and taken by somebody else.", _crowded),
    "postgres-disk-full": ("Every other save fails as with a full disk.", _disk_full),
    "postgres-locked": (
        "Somebody holds locks on a table, or on all rows of one, for a while.",
        _locked(
            "LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE",
            "LOCK TABLE driver_messages IN ACCESS EXCLUSIVE MODE",
            "SELECT id FROM drivers ORDER BY id FOR UPDATE",
            "SELECT id FROM deliveries ORDER BY id FOR UPDATE",
        ),
    ),
    "redis-killed": ("Redis is killed, and comes back empty.", _redis_killed),
    "redis-frozen": ("Redis is paused (SIGSTOP).", _redis_frozen),
    "redis-flushed": ("All that Redis holds is deleted (FLUSHALL).", _commanded(("FLUSHALL",))),
    "redis-subscribers-killed": (
        "All subscriptions are ended (CLIENT KILL TYPE pubsub).",
        _commanded(("CLIENT", "KILL", "TYPE", "pubsub")),
    ),
    "redis-clients-killed": (
        "All connections to Redis are ended (CLIENT KILL).",
        _commanded(("CLIENT", "KILL", "TYPE", "normal"), ("CLIENT", "KILL", "TYPE", "pubsub")),
    ),
    "redis-full": ("Redis has no memory left and takes no writes.", _redis_full),
}
