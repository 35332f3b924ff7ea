"""Statements for backups: what a database holds, and a database that is made beside another one and takes its place."""

from typing import Final
from urllib.parse import quote, unquote, urlsplit

import asyncpg

from server.store.connections import Connection
from server.store.engine import Database
from server.store.piccolo_app import APP_NAME

MAINTENANCE: Final = ("postgres", "template1")
"""Databases that every server has, to connect to while ours is renamed."""
TABLES: Final = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\\_t%'"""
MIGRATIONS: Final = "SELECT name FROM migration WHERE app_name = $1 ORDER BY name"
LIVE_NODES: Final = "SELECT count(*) FROM nodes WHERE expires_at > clock_timestamp()"
EXISTS: Final = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)"
ALONE: Final = "SELECT pg_try_advisory_lock(hashtext($1))"
LIKE: Final = "SELECT datname FROM pg_database WHERE datname ~ $1 ORDER BY datname"
OBJECTS: Final = "SELECT key FROM proof_objects WHERE remove_at IS NULL ORDER BY key"
MEDIA_TYPE: Final = "SELECT media_type FROM proofs WHERE object_key = $1"
AFTERWARDS: Final = ("DELETE FROM nodes", "UPDATE leases SET expires_at = '-infinity'", "ANALYZE")
"""No node of the backup runs any more, and queries get the plans that fit."""


async def count_tables(connection: Connection) -> int:
    """How many tables the database has. Raises what the database raises."""
    return int(await connection.fetchval(TABLES))


async def ran_migrations(connection: Connection) -> list[str]:
    """The ids of the migrations that ran on the database; none without a schema. Raises what the database raises."""
    if await connection.fetchval("SELECT to_regclass('migration')") is None:
        return []
    return [row[0] for row in await connection.fetch(MIGRATIONS, APP_NAME)]


async def live_nodes(connection: Connection) -> int:
    """How many nodes use the database now. Raises what the database raises."""
    if await connection.fetchval("SELECT to_regclass('nodes')") is None:
        return 0
    return int(await connection.fetchval(LIVE_NODES))


async def stored_objects(connection: Connection) -> list[str]:
    """The keys of the photos in an S3-compatible store. Raises what the database raises."""
    if await connection.fetchval("SELECT to_regclass('proof_objects')") is None:
        return []
    return [row[0] for row in await connection.fetch(OBJECTS)]


async def media_type_of(connection: Connection, key: str) -> str | None:
    """The type of a photo in the store; None if the database does not name it. Raises what the database raises."""
    found = await connection.fetchval(MEDIA_TYPE, key)
    return str(found) if found is not None else None


async def settle(connection: Connection) -> None:
    """After a restore: forget the nodes of that time. Raises what the database raises."""
    for statement in AFTERWARDS:
        await connection.execute(statement)


async def maintenance(url: str) -> Connection:
    """A connection to another database of the same server. Raises what the database raises; the caller closes it."""
    failed: BaseException | None = None
    for name in MAINTENANCE:
        try:
            return await Database(with_name(url, name)).get_new_connection()
        except asyncpg.InvalidCatalogNameError as error:
            failed = error
    assert failed is not None
    raise failed


async def database_exists(connection: Connection, name: str) -> bool:
    """Whether the server has this database. Raises what the database raises."""
    return bool(await connection.fetchval(EXISTS, name))


async def alone(connection: Connection, name: str) -> bool:
    """Whether nobody else restores the database `name` now; nobody can as long as this connection is open. Raises what
    the database raises.
    """
    return bool(await connection.fetchval(ALONE, f"callboard restore {name}"))


async def databases_like(connection: Connection, pattern: str) -> list[str]:
    """The names of databases that match a regular expression. Raises what the database raises."""
    return [row[0] for row in await connection.fetch(LIKE, pattern)]


async def create_database(connection: Connection, name: str) -> None:
    """Create an empty database. Raises what the database raises."""
    await connection.execute(f"CREATE DATABASE {_quoted(name)} TEMPLATE template0 ENCODING 'UTF8'")


async def drop_database(connection: Connection, name: str) -> None:
    """Drop a database, if it is there. Raises what the database raises."""
    await connection.execute(f"DROP DATABASE IF EXISTS {_quoted(name)}")


async def switch_databases(connection: Connection, name: str, kept: str | None, new: str) -> None:
    """In one transaction, rename the database `name`, if there is one, to `kept`, and `new` to `name`. Raises what the
    database raises.
    """
    async with connection.transaction():
        if kept is not None:
            await connection.execute(f"ALTER DATABASE {_quoted(name)} RENAME TO {_quoted(kept)}")
        await connection.execute(f"ALTER DATABASE {_quoted(new)} RENAME TO {_quoted(name)}")


def name_in(url: str) -> str:
    """The name of the database in a URL; without one, that of the user."""
    parts = urlsplit(url)
    return unquote(parts.path.strip("/") or parts.username or "")


def with_name(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}/{quote(name, safe='')}{query}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
