"""`callboard migrate`."""

import asyncio

import asyncpg
import pytest

from server.store.migrate import LOCK_KEY
from tests.cli.conftest import Run, done
from tests.waiting import until


async def test_it_makes_the_schema_once_however_many_start(
    run_bare: Run, external: dict[str, str], empty_database_url: str
) -> None:
    processes = [run_bare("migrate", **external, database_url=empty_database_url) for _ in range(3)]
    assert await asyncio.gather(*map(done, processes)) == [(0, "", "The schema is up to date.\n")] * 3
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT count(*) FROM policy") == 1
    await connection.close()


async def test_a_database_out_of_reach_is_one_line_without_the_password(run_bare: Run) -> None:
    code, out, err = await done(run_bare("migrate", database_url="postgresql://u:hunter2@127.0.0.1:1/name"))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "cannot reach PostgreSQL at 127.0.0.1:1/name" in err
    assert "hunter2" not in err


@pytest.mark.parametrize(("command", "code"), [(("serve", "--port", "0"), 0), (("migrate",), 1)])
async def test_while_another_process_migrates_it_can_be_ended(
    run_bare: Run, external: dict[str, str], empty_database_url: str, command: tuple[str, ...], code: int
) -> None:
    other = await asyncpg.connect(empty_database_url)
    await other.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    waiting = """
        SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
        WHERE d.datname = current_database() AND locktype = 'advisory' AND NOT granted"""
    process = run_bare(*command, **external, database_url=empty_database_url)
    await until(lambda: other.fetchval(waiting))
    assert await process.end() == code
    await until(lambda: _nothing_waits(other, waiting))
    await other.close()


async def _nothing_waits(other: asyncpg.Connection, waiting: str) -> bool:
    return not await other.fetchval(waiting)
