"""Migrations: from nothing, many processes at once, from a wheel, and never half done."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from piccolo.apps.migrations.commands.new import AutoMigrationManager

from server.dispatch.policy import DEFAULT_POLICY, Policy
from server.paths import MIGRATIONS
from server.store.engine import Database, DatabaseUnreachable
from server.store.migrate import LOCK_KEY, MigrationFailed, known_migrations, migrate, pending_migrations
from server.store.piccolo_app import APP_CONFIG
from server.store.tables import TABLES
from tests.conftest import Servers
from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent
MIGRATE = "import asyncio, sys; from server.store.migrate import migrate; asyncio.run(migrate(sys.argv[1]))"


async def fetch(url: str, query: str, *args: Any) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        found: list[Any] = await connection.fetch(query, *args)
        return found
    finally:
        await connection.close()


def start_migrating(url: str, path: Path = ROOT, folder: Path | None = None) -> subprocess.Popen[bytes]:
    """A separate process that migrates, with `server` importable from `path`."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", MIGRATE, url],
        env={**os.environ, "PYTHONPATH": str(path)},
        cwd=folder or path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


async def test_an_empty_database_gets_every_table_and_the_first_rows(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    tables = await fetch(empty_database_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {row[0] for row in tables} == {table._meta.tablename for table in TABLES} | {"migration"}
    ((document,),) = await fetch(empty_database_url, "SELECT document FROM policy")
    assert msgspec.json.decode(document, type=Policy) == DEFAULT_POLICY
    assert await fetch(empty_database_url, "SELECT name, holder FROM leases") == [("dispatcher", None)]


async def test_a_second_time_there_is_nothing_to_do(database_url: str) -> None:
    before = await fetch(database_url, "SELECT id, name, ran_on FROM migration ORDER BY id")
    await migrate(database_url)
    assert await fetch(database_url, "SELECT id, name, ran_on FROM migration ORDER BY id") == before
    assert {row["name"] for row in before} == known_migrations()


def test_each_migration_has_an_id_of_its_own() -> None:
    """Of two with one id, only one would run: two branches took the same number."""
    assert len(known_migrations()) == len([*(ROOT / "piccolo_migrations").glob("callboard_*.py")])


async def test_nothing_is_printed(empty_database_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    await migrate(empty_database_url)
    await migrate(empty_database_url)
    assert capfd.readouterr() == ("", "")


async def test_piccolo_is_left_as_it_was_found(empty_database_url: str) -> None:
    path, environment = list(sys.path), dict(os.environ)
    await migrate(empty_database_url)
    assert sys.path == path
    assert dict(os.environ) == environment


def test_five_processes_that_start_together_all_succeed(empty_database_url: str) -> None:
    processes = [start_migrating(empty_database_url) for _ in range(5)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 5, said
    assert said == [(b"", b"")] * 5


def test_it_works_from_a_wheel_and_from_any_folder(empty_database_url: str, tmp_path: Path) -> None:
    installed = tmp_path / "site-packages"
    shutil.copytree(ROOT / "server", installed / "server", ignore=shutil.ignore_patterns("__pycache__"))
    bundle = installed / "server" / "_bundle"
    shutil.copytree(ROOT / "piccolo_migrations", bundle / "piccolo_migrations")
    process = start_migrating(empty_database_url, installed, tmp_path)
    said = process.communicate(timeout=120)
    assert (process.returncode, *said) == (0, b"", b"")


SCHEMA = """
SELECT 'column' AS kind, table_name, column_name, concat_ws(' ', data_type, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', '', proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""
LATE = ("0022_devices", "0023_device_rules")
"""Migrations that came after those with the numbers 0024 to 0027."""


async def test_late_migrations_result_in_the_same_schema(
    empty_database_url: str, database_url: str, tmp_path: Path
) -> None:
    installed = tmp_path / "site-packages"
    shutil.copytree(ROOT / "server", installed / "server", ignore=shutil.ignore_patterns("__pycache__"))
    earlier = shutil.ignore_patterns("__pycache__", *(f"*_{name}.py" for name in LATE))
    shutil.copytree(MIGRATIONS, installed / "server" / "_bundle" / "piccolo_migrations", ignore=earlier)
    process = start_migrating(empty_database_url, installed, tmp_path)
    said = process.communicate(timeout=120)
    assert (process.returncode, *said) == (0, b"", b"")
    ((devices,),) = await fetch(empty_database_url, "SELECT to_regclass('driver_devices')")
    assert devices is None
    await migrate(empty_database_url)
    assert set(await fetch(empty_database_url, SCHEMA)) == set(await fetch(database_url, SCHEMA))


async def test_a_failure_leaves_nothing_behind_and_says_why_in_one_line(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("CREATE TABLE leases (mine int)")
    await connection.close()
    with pytest.raises(MigrationFailed, match='relation "leases" already exists') as failed:
        await migrate(empty_database_url)
    assert "\n" not in str(failed.value)
    tables = await fetch(empty_database_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert tables == [("leases",)]


async def test_a_connection_that_is_lost_is_the_reason_and_not_the_rollback_after_it(empty_database_url: str) -> None:
    outside = await asyncpg.connect(empty_database_url)
    await outside.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    migrating = asyncio.create_task(migrate(empty_database_url))
    waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    ours = "WHERE datname = current_database() AND wait_event = 'advisory'"
    await until(lambda: outside.fetchval(f"{waiting} {ours}"))
    with pytest.raises(MigrationFailed, match="terminating connection due to administrator command"):
        await migrating
    await outside.close()
    await migrate(empty_database_url)


async def test_a_database_ahead_of_this_code_is_left_alone(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "INSERT INTO migration (name, app_name) VALUES ('2999-01-01T00:00:00:000001', 'callboard')"
    )
    assert await pending_migrations(connection) == []
    await connection.close()
    await migrate(database_url)


async def test_events_restored_into_another_server_come_before_all_that_follow(database_url: str) -> None:
    """A dump brings along transaction numbers that the new server has yet to give out."""
    connection = await asyncpg.connect(database_url)
    event = "INSERT INTO events (xid, at, type, actor_type, data) VALUES (%s, now(), '%s', 'system', '{}')"
    await connection.execute(event % ("'900000000000'", "first"))
    await connection.execute(event % ("'900000000001'", "second"))
    await connection.execute(event % ("pg_current_xact_id()", "third"))
    await migrate(database_url)
    read = "SELECT type FROM events WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY xid, id"

    async def all_are_read() -> bool:
        """As soon as no transaction of the server, in whichever database, is older than they are."""
        return [row[0] for row in await connection.fetch(read)] == ["first", "second", "third"]

    await until(all_are_read)
    await connection.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://callboard:hunter2@127.0.0.1:1/callboard", "127.0.0.1:1/callboard"),
        ("postgresql://callboard:hunter2@/callboard?host=/nonexistent", "callboard in /nonexistent"),
    ],
)
async def test_an_unreachable_server_is_named_in_one_line_without_the_password(url: str, words: str) -> None:
    with pytest.raises(DatabaseUnreachable, match=words) as failed:
        await migrate(url)
    assert "\n" not in str(failed.value)
    assert "hunter2" not in str(failed.value)


async def test_a_missing_database_is_named(servers: Servers) -> None:
    with pytest.raises(DatabaseUnreachable, match='"nowhere" does not exist'):
        await migrate(servers.database("nowhere"))


async def test_migrations_and_tables_are_the_same() -> None:
    """Piccolo would find nothing to migrate."""
    statements = await AutoMigrationManager().get_alter_statements(app_config=APP_CONFIG)
    assert [statement for found in statements for statement in found.statements] == []


async def test_tables_and_the_database_are_the_same(database_url: str) -> None:
    """Names, types, and what may be absent, as the server has them."""
    rows = await fetch(
        database_url,
        "SELECT c.relname, a.attname, a.atttypid::regtype::text, NOT a.attnotnull FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
        " AND c.relname <> 'migration'",
    )
    names = {
        "UUID": "uuid",
        "TEXT": "text",
        "INTEGER": "integer",
        "BIGINT": "bigint",
        "BYTEA": "bytea",
        "BIGSERIAL": "bigint",
        "DOUBLE PRECISION": "double precision",
        "BOOLEAN": "boolean",
        "DATE": "date",
        "TIMESTAMPTZ": "timestamp with time zone",
        "JSONB": "jsonb",
        "XID8": "xid8",
        "TEXT[]": "text[]",
    }
    expected = {
        (table._meta.tablename, column._meta.db_column_name, names[column.column_type], column._meta.null)
        for table in TABLES
        for column in table._meta.columns
    }
    assert {tuple(row) for row in rows} == expected


async def test_the_piccolo_command_line_finds_its_engine_without_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALLBOARD_DATABASE_URL", raising=False)
    monkeypatch.syspath_prepend(str(ROOT))
    import piccolo_conf

    assert isinstance(piccolo_conf.DB, Database)
    assert piccolo_conf.APP_REGISTRY.app_configs["callboard"] is APP_CONFIG


def test_every_migration_has_an_id_of_its_own() -> None:
    """Of two with one id Piccolo runs one."""
    ids = re.findall(r'^ID = "(.*)"$', "\n".join(path.read_text() for path in MIGRATIONS.glob("*.py")), re.MULTILINE)
    assert len(ids) == len(set(ids)) == len(list(MIGRATIONS.glob("*.py")))
