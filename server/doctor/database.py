"""Checks of PostgreSQL: the server, the role, the schema, and what is in it."""

import asyncio
import time
from datetime import timedelta
from typing import Final

import asyncpg

from server.doctor.findings import Finding, bad, bad_as_said, note, ok
from server.settings import Settings
from server.store.clock import time_at
from server.store.connections import Connection
from server.store.engine import DATABASE_ERRORS, Database, DatabaseUnreachable, place
from server.store.jobs.retention import would_go
from server.store.leases import DISPATCHER, lease_state
from server.store.migrate import OLDEST_SERVER, MigrationFailed, pending_migrations
from server.store.nodes import count_nodes
from server.store.primary import POOLED, TakesNoWrites, clock_and_durability, one_line, shares_sessions, unusable
from server.store.query import DatabaseAway
from server.store.users import count_admins

CLOCK_SECONDS: Final = 1.0
"""A larger difference between this machine's clock and the database's is reported."""
LATENCY_MS: Final = 20.0
OVERDUE: Final = timedelta(days=1)
"""Rows may exist this long beyond their retention."""


def how_to_reach(error: DatabaseUnreachable) -> str:
    match error.__cause__:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return "correct user and password in CALLBOARD_DATABASE_URL"
        case asyncpg.InvalidCatalogNameError():
            return "create the database, or correct its name in CALLBOARD_DATABASE_URL"
        case asyncpg.InsufficientPrivilegeError():
            return "GRANT CONNECT ON DATABASE to the role of CALLBOARD_DATABASE_URL"
        case asyncpg.TooManyConnectionsError():
            return "raise max_connections to 16 for each node and 20 more"
        case TakesNoWrites():
            return "set CALLBOARD_DATABASE_URL to the primary, or to all servers: postgresql://user@db1,db2/name"
        case asyncpg.DuplicatePreparedStatementError():
            return POOLED.partition(": ")[2]
    return "start it, or correct CALLBOARD_DATABASE_URL"


async def check_database(settings: Settings, db: Database) -> list[Finding]:
    where = place(settings.database_url)
    try:
        async with db.pool.acquire() as connection:
            version = connection.get_server_version()
            before = time.time()
            began = time.perf_counter()
            clock, durable = await clock_and_durability(connection)
            took_ms = (time.perf_counter() - began) * 1000
            ahead = clock.timestamp() - (before + took_ms / 2000)
            name = f"PostgreSQL {version.major}.{version.micro}"
            if version.major < OLDEST_SERVER:
                return [
                    bad("database", f"{name} at {where} is too old", f"install PostgreSQL {OLDEST_SERVER} or newer")
                ]
            findings = [ok("database", f"{name} at {where}, answers in {took_ms:.1f} ms")]
            if took_ms > LATENCY_MS:
                findings.append(
                    note("database", f"{took_ms:.0f} ms for a query is slow: move the database near the nodes")
                )
            if not durable:
                text = "fsync or full_page_writes is off: a power failure may lose all data"
                findings.append(bad("database", text, "turn both on in postgresql.conf"))
            findings += await _connections(db)
            findings.append(_clock(ahead))
            pending = await pending_migrations(connection)
            if (mistake := await unusable(connection, to_migrate=bool(pending))) is not None:
                findings.append(bad_as_said("database", mistake))
            elif pending:
                findings.append(bad("schema", f"{len(pending)} migrations are pending", "run `callboard migrate`"))
            else:
                findings.append(ok("schema", "up to date"))
                findings.append(_people(await count_admins(connection)))
            return findings
    except (*DATABASE_ERRORS, DatabaseAway, MigrationFailed) as error:
        return [
            bad(
                "database",
                f"{where}: {one_line(error)}",
                "make the role of CALLBOARD_DATABASE_URL the owner of the database",
            )
        ]


async def _connections(db: Database) -> list[Finding]:
    """Opens every kind of connection that a node opens beside the pool, all at once."""
    kinds = (db.connect_for_writing, db.connect_for_outbox, db.connect_for_retention, db.connect_for_privacy)
    opened: list[Connection] = []
    try:
        for connect in kinds:
            opened += [await connect()]
        if await shares_sessions(opened[0], opened[1]):
            return [bad_as_said("database", POOLED)]
    except DATABASE_ERRORS as error:
        text = f"only {len(opened) + 1} connections can be opened, a node needs more: {one_line(error)}"
        return [bad("database", text, "allow the role 16 connections a node, and set max_connections accordingly")]
    finally:
        await asyncio.gather(*(connection.close(timeout=1) for connection in opened), return_exceptions=True)
    return []


def _clock(ahead: float) -> Finding:
    if abs(ahead) > CLOCK_SECONDS:
        which = "behind" if ahead > 0 else "ahead of"
        return note(
            "clock",
            f"this machine is {abs(ahead):.1f} s {which} the database: tokens may be refused, log times differ",
            "set both clocks right, with a time service on each machine",
        )
    return ok("clock", f"within {max(abs(ahead) * 1000, 1):.0f} ms of the database's")


def _people(admins: int) -> Finding:
    if not admins:
        return note("people", "no user can log in as admin: run `callboard user add NAME --role admin`")
    return ok("people", f"{admins} users can log in as admin")


async def check_nodes(db: Database) -> list[Finding]:
    """How many nodes run, and whether one of them dispatches."""
    nodes = await count_nodes(db.pool)
    if not nodes.alive:
        return [note("nodes", "no node is running")]
    findings = [ok("nodes", f"{nodes.alive} running, {nodes.sockets} drivers connected")]
    if nodes.dead:
        findings.append(note("nodes", f"{nodes.dead} stopped without a shutdown; removed from this list after an hour"))
    if (await lease_state(db.pool, DISPATCHER)).held:
        findings.append(ok("lease", "one node holds it and dispatches"))
    else:
        text = "nodes are running, but no node holds it: nothing is dispatched"
        findings.append(bad("lease", text, "look into the nodes' logs for lease_not_renewed, and restart them"))
    return findings


async def check_retention(settings: Settings, db: Database) -> Finding:
    """Rows that the retention job should have deleted a day ago."""
    try:
        now = await time_at(db.pool)
        left = await would_go(db, settings, now=now - OVERDUE)
    except DATABASE_ERRORS as error:
        return note("kept", f"cannot be counted: {one_line(error)}")
    text = ", ".join(f"{rows} {table}" for table, rows in left.items() if rows)
    if text:
        return note("kept", f"older than their retention: {text}; a node deletes them, or run `callboard prune`")
    return ok("kept", "no rows are older than their retention")
