"""Finds the primary: of the PostgreSQL servers in a database URL, the one that accepts writes, and connects to it.

A URL may list several, as `postgresql://user@db1:5432,db2:5432/name`: a primary, and standbys that may take its place.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import asyncpg

from server.store.connections import Connection

SERVER_SECONDS: Final = 1.5
"""How long one of several servers may take to answer before the next one is tried."""

AT_START: Final = ("application_name", "timezone")
"""Settings that poolers accept at the start of a connection."""

POOLED: Final = (
    "a pooler gives each transaction another session, but Callboard needs its own: set pool_mode to session for this"
    " database"
)
"""What to do about a pooler in transaction mode: settings of a session and prepared statements need a session."""

DATABASE_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""What a statement raises while the server is unavailable, restarting or overloaded: a loop catches these and
continues.

asyncpg raises InternalClientError when the server has ended the session but has not closed the connection yet.
"""

_FIT: Final = """
SELECT current_setting('server_encoding'), quote_ident(current_schema()), current_setting('search_path'),
       quote_ident(current_user), coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"""
_CLOCK: Final = """
SELECT clock_timestamp(), current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'"""

_SESSION: Final = "SELECT pg_backend_pid()"


class TakesNoWrites(OSError):
    """The server answers, but it is a standby, or read-only."""


class Servers:
    """Connects to the server that accepts writes; tries the last one first. `on_move` is called when it is another one
    than before.
    """

    def __init__(self, url: str, on_move: Callable[[], None] = lambda: None) -> None:
        self._urls: list[str | None] = [*each_server(url)] if url else [None]
        self._first = 0
        self._last: int | None = None
        self._on_move = on_move

    async def connect(self, **options: object) -> Connection:
        """A connection by asyncpg with these options. Raises one of DATABASE_ERRORS: that of the last server."""
        failed: BaseException | None = None
        for at in [*range(self._first, len(self._urls)), *range(self._first)]:
            try:
                connection = await self._connect(self._urls[at], options)
            except (*DATABASE_ERRORS, asyncio.CancelledError) as error:
                self._first = (at + 1) % len(self._urls)
                if isinstance(error, asyncio.CancelledError):
                    raise
                failed = error
            else:
                self._first = at
                moved, self._last = self._last not in (None, at), at
                if moved:
                    self._on_move()
                return connection
        assert failed is not None
        raise failed

    async def _connect(self, url: str | None, options: dict[str, object]) -> Connection:
        """Settings are set after connecting: poolers such as PgBouncer refuse most of them at the start."""
        alone = len(self._urls) == 1
        settings = cast("dict[str, str]", options.get("server_settings", {}))
        at_start = {name: value for name, value in settings.items() if name in AT_START}
        statements = [f"SET {name} = '{value}'" for name, value in settings.items() if name not in AT_START]
        async with asyncio.timeout(None if alone else SERVER_SECONDS):
            try:
                connection: Connection = await asyncpg.connect(
                    url, **options | {"target_session_attrs": "read-write", "server_settings": at_start}
                )
            except asyncpg.TargetServerAttributeNotMatched:
                raise TakesNoWrites("the server accepts no writes: it is a standby, or read-only") from None
            try:
                if statements:
                    await connection.execute("; ".join(statements))
            except BaseException:
                connection.terminate()
                raise
        return connection


async def unusable(connection: Connection, *, to_migrate: bool) -> str | None:
    """What is wrong with the database or the role's rights, and what to do; None if nothing is. Raises what the
    database raises.
    """
    encoding, schema, path, role, may_create = await connection.fetchrow(_FIT)
    if encoding != "UTF8":
        return f"the database has the encoding {encoding}: create it with ENCODING 'UTF8'"
    if schema is None:
        return f"no schema of the search_path ({path}) exists: ALTER ROLE {role} RESET search_path"
    if to_migrate and not may_create:
        return f"the role may not create tables: GRANT CREATE ON SCHEMA {schema} TO {role}"
    return None


async def shares_sessions(one: Connection, other: Connection) -> bool:
    """Whether a pooler gives two connections one session of the server, each for a transaction. Raises what the
    database raises.
    """
    return bool(await one.fetchval(_SESSION) == await other.fetchval(_SESSION))


async def clock_and_durability(connection: Connection) -> tuple[datetime, bool]:
    """The server's time, and whether what it has committed survives a power cut. Raises what the database raises."""
    now, durable = await connection.fetchrow(_CLOCK)
    return now, durable


def one_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def each_server(url: str) -> list[str]:
    """The URL once for each server it names, otherwise the same."""
    parts = urlsplit(url)
    person, at, named = parts.netloc.rpartition("@")
    if named:
        return [urlunsplit(parts._replace(netloc=f"{person}{at}{server}")) for server in named.split(",")]
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    hosts, ports = query.get("host", "").split(","), query.get("port", "").split(",")
    if len(hosts) == 1:
        return [url]
    if len(ports) == 1:
        ports *= len(hosts)
    return [
        f"{url.partition('?')[0]}?{urlencode({**query, 'host': host, 'port': port or '5432'})}"
        for host, port in zip(hosts, ports, strict=False)
    ]


def place(url: str) -> str:
    """Where a database URL points, fit for people's eyes: `host:port/name`, with several hosts, or `name in /path`."""
    parts = urlsplit(url)
    name = parts.path.strip("/") or parts.username or ""
    servers = [_server(one) for one in each_server(url)]
    if servers[0].startswith("/"):
        return f"{name} in {servers[0]}"
    return f"{','.join(servers)}/{name}"


def _server(url: str) -> str:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    named = parts.netloc.rpartition("@")[2]
    host = unquote(named) or query.get("host", "localhost")
    if host.startswith("/"):
        return host
    has_port = host.rpartition("]")[2].count(":") == 1
    return host if has_port else f"{host}:{query.get('port') or 5432}"
