"""`callboard doctor`: checks everything that a node depends on. It changes nothing without `--fix`."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from msgspec import Struct
from redis.exceptions import AuthenticationError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from server.current_policy import Policies, with_values
from server.object_store.s3 import CHECK_KEY, ObjectStore, ObjectStoreAway
from server.redis.bus import Bus
from server.redis.index import GEO_LATITUDE, DriverIndex
from server.settings import SECRET_BYTES, Settings
from server.store.clock import time_at
from server.store.company import read_company_settings
from server.store.connections import Connection
from server.store.engine import DATABASE_ERRORS, Database, DatabaseUnreachable, place
from server.store.jobs.retention import would_go
from server.store.leases import DISPATCHER, lease_state
from server.store.migrate import OLDEST_SERVER, MigrationFailed, pending_migrations
from server.store.nodes import count_nodes
from server.store.primary import POOLED, clock_and_durability, shares_sessions, wrong_encoding
from server.store.proofs import count_objects
from server.store.query import DatabaseAway
from server.store.reads.index import all_dispatchable
from server.store.users import count_admins

OLDEST_REDIS: Final = (6, 2)
REDIS_SECONDS: Final = 3.0
CLOCK_SECONDS: Final = 1.0
"""A larger difference between this machine's clock and the database's is reported."""
LATENCY_MS: Final = 20.0
FILES_WANTED: Final = 4096
FIX_SECONDS: Final = 15.0
REBUILD_ROUNDS: Final = 20
OBJECTS_OVERDUE_SECONDS: Final = 3600.0
"""Photos may be in the S3-compatible store this long after they were erased."""
OVERDUE: Final = timedelta(days=1)
"""Rows may exist this long beyond their retention."""


class Finding(Struct, frozen=True):
    """The result of a check: `ok`, `note` (works, but somebody may want to know), or `bad`."""

    what: str
    how: str
    text: str

    @property
    def bad(self) -> bool:
        """Whether this keeps Callboard from working, or from working well."""
        return self.how == "bad"

    @property
    def line(self) -> str:
        """The finding as a line of text."""
        return f"{self.how:5} {self.what:10} {self.text}"


def ok(what: str, text: str) -> Finding:
    """A check without a problem."""
    return Finding(what, "ok", text)


def note(what: str, text: str) -> Finding:
    """Something that works, but that somebody may want to know."""
    return Finding(what, "note", text)


def bad(what: str, text: str) -> Finding:
    """A problem."""
    return Finding(what, "bad", text)


async def examine(settings: Settings, *, fix: bool = False) -> list[Finding]:
    """Run all checks, dependencies first."""
    findings = [*_secrets(settings), _files()]
    bus = Bus(settings.redis_url, settings.redis_prefix)
    db = Database(settings.database_url, pool_size=4)
    try:
        redis_findings = await _redis(bus)
        findings += redis_findings
        try:
            await db.open()
        except DatabaseUnreachable as error:
            return [*findings, bad("database", str(error))]
        database_findings = await _database(settings, db)
        findings += database_findings
        if any(finding.what == "schema" and not finding.bad for finding in database_findings):
            settings = with_values(settings, await read_company_settings(db.pool))
            findings += _address(settings)
            findings += await _nodes(db)
            findings.append(await _kept(settings, db))
            findings += await _proofs(settings, db)
            if any(finding.bad for finding in redis_findings):
                findings.append(note("index", "not checked, because Redis has a problem"))
            else:
                findings += await _index(db, bus, fix=fix)
        elif fix:
            findings.append(bad("index", "not rebuilt: fix the problems above first"))
        return findings
    finally:
        await db.close()
        await bus.close()


def _secrets(settings: Settings) -> list[Finding]:
    findings = [_secret("CALLBOARD_SECRET", settings.secret)]
    if settings.secret_accepted:
        other = _secret("CALLBOARD_SECRET_ACCEPTED", settings.secret_accepted)
        findings.append(
            other if other.bad else note("secret", "tokens signed with CALLBOARD_SECRET_ACCEPTED are accepted too")
        )
    return findings


def _secret(name: str, secret: str) -> Finding:
    length = len(secret.encode())
    if length < SECRET_BYTES:
        return bad("secret", f"{name} has {length} bytes; it needs at least {SECRET_BYTES}")
    if len(set(secret)) < 8:
        return bad("secret", f"{name} is easy to guess; make one with `openssl rand -hex 32`")
    return ok("secret", f"{length} bytes")


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES_WANTED:
        return note(
            "files", f"limit of {soft} open files; each driver needs about one: raise it (ulimit -n, at most {hard})"
        )
    return ok("files", f"limit of {soft} open files; each driver needs about one")


def _address(settings: Settings) -> list[Finding]:
    if not settings.root:
        return []
    text = f"everything is under {settings.root}: the proxy passes on paths as they are, from {settings.root} on"
    return [ok("address", text)]


async def _redis(bus: Bus) -> list[Finding]:
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            began = time.perf_counter()
            await bus.redis.ping()
            took_ms = (time.perf_counter() - began) * 1000
            about: dict[str, Any] = await bus.redis.info("server")
            await bus.redis.geoadd(f"{bus.prefix}doctor", (0, 0, "doctor"))
            await bus.redis.geosearch(f"{bus.prefix}doctor", longitude=0, latitude=0, radius=1)
            await bus.redis.delete(f"{bus.prefix}doctor")
            await bus.redis.publish(f"{bus.prefix}doctor", "")
    except AuthenticationError as error:
        return [bad("redis", f"refuses the user or the password of CALLBOARD_REDIS_URL: {_one_line(error)}")]
    except OutOfMemoryError:
        text = "takes no writes, its memory is full: raise its maxmemory; noeviction is right, Callboard needs little"
        return [bad("redis", text)]
    except ReadOnlyError:
        return [bad("redis", "takes no writes: it is a replica; set CALLBOARD_REDIS_URL to its primary")]
    except ResponseError as error:
        return [bad("redis", f"refuses a command that Callboard needs: {_one_line(error)}")]
    except (RedisError, OSError, TimeoutError) as error:
        return [bad("redis", f"cannot be reached: {_one_line(error)}")]
    version = str(about.get("redis_version", "0"))
    name = f"{about.get('server_name', 'redis')} {about.get('valkey_version', version)}"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST_REDIS:
        return [bad("redis", f"{name} is too old: 6.2 or newer is needed")]
    return [ok("redis", f"{name}, answers in {took_ms:.1f} ms")]


async def _database(settings: Settings, db: Database) -> list[Finding]:
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
                return [bad("database", f"{name} at {where} is too old: {OLDEST_SERVER} or newer is needed")]
            findings = [ok("database", f"{name} at {where}, answers in {took_ms:.1f} ms")]
            if took_ms > LATENCY_MS:
                findings.append(
                    note("database", f"{took_ms:.0f} ms for a query is slow: move the database near the nodes")
                )
            if not durable:
                findings.append(bad("database", "fsync or full_page_writes is off: a power failure may lose all data"))
            if (mistake := await wrong_encoding(connection)) is not None:
                findings.append(bad("database", mistake))
            findings += await _connections(db)
            findings.append(_clock(ahead))
            pending = await pending_migrations(connection)
            if pending:
                findings.append(bad("schema", f"{len(pending)} migrations are pending: run `callboard migrate`"))
            else:
                findings.append(ok("schema", "up to date"))
                findings.append(_people(await count_admins(connection)))
            return findings
    except (*DATABASE_ERRORS, DatabaseAway, MigrationFailed) as error:
        return [bad("database", f"{where}: {_one_line(error)}")]


async def _connections(db: Database) -> list[Finding]:
    """Opens every kind of connection that a node opens beside the pool, all at once."""
    kinds = (db.connect_for_writing, db.connect_for_outbox, db.connect_for_retention, db.connect_for_privacy)
    opened: list[Connection] = []
    try:
        for connect in kinds:
            opened += [await connect()]
        if await shares_sessions(opened[0], opened[1]):
            return [bad("database", POOLED)]
    except DATABASE_ERRORS as error:
        text = f"only {len(opened) + 1} connections can be opened, a node needs more: {_one_line(error)}"
        return [bad("database", text)]
    finally:
        await asyncio.gather(*(connection.close(timeout=1) for connection in opened), return_exceptions=True)
    return []


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _clock(ahead: float) -> Finding:
    if abs(ahead) > CLOCK_SECONDS:
        which = "behind" if ahead > 0 else "ahead of"
        return note(
            "clock",
            f"this machine is {abs(ahead):.1f} s {which} the database: tokens may be refused, log times differ",
        )
    return ok("clock", f"within {max(abs(ahead) * 1000, 1):.0f} ms of the database's")


def _people(admins: int) -> Finding:
    if not admins:
        return note("people", "no user can log in as admin: run `callboard user add NAME --role admin`")
    return ok("people", f"{admins} users can log in as admin")


async def _nodes(db: Database) -> list[Finding]:
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
        findings.append(bad("lease", "nodes are running, but no node holds it: nothing is dispatched"))
    return findings


async def _kept(settings: Settings, db: Database) -> Finding:
    """Rows that the retention job should have deleted a day ago."""
    try:
        now = await time_at(db.pool)
        left = await would_go(db, settings, now=now - OVERDUE)
    except DATABASE_ERRORS as error:
        return note("kept", f"cannot be counted: {_one_line(error)}")
    text = ", ".join(f"{rows} {table}" for table, rows in left.items() if rows)
    if text:
        return note("kept", f"older than their retention: {text}; a node deletes them, or run `callboard prune`")
    return ok("kept", "no rows are older than their retention")


async def _proofs(settings: Settings, db: Database) -> list[Finding]:
    """Whether the S3-compatible store stores, returns and deletes an object, and whether erased photos are gone."""
    counts = await count_objects(db.pool, OBJECTS_OVERDUE_SECONDS)
    if not settings.proofs_s3_bucket:
        if counts.kept:
            text = f"{counts.kept} are in an S3-compatible store that is not set: set CALLBOARD_PROOFS_S3_BUCKET"
            return [bad("proofs", text)]
        return []
    store = ObjectStore(settings)
    try:
        began = time.perf_counter()
        await store.check()
        if await store.get(CHECK_KEY) != b"":
            return [bad("proofs", f"{store.place} does not return what was stored")]
        await store.delete(CHECK_KEY)
        took_ms = (time.perf_counter() - began) * 1000
    except ObjectStoreAway as error:
        text = f"{store.place} cannot be used: {error}; check the bucket, the address, the keys and their permissions"
        return [bad("proofs", text)]
    findings = [ok("proofs", f"{counts.kept} in {store.place}, which stores, returns and deletes in {took_ms:.0f} ms")]
    if counts.overdue:
        text = (
            f"{counts.overdue} erased photos are not removed from the store yet: a node does it, or `callboard prune`"
        )
        findings.append(bad("proofs", text))
    return findings


async def _index(db: Database, bus: Bus, *, fix: bool) -> list[Finding]:
    """Compares the GEO index with PostgreSQL, twice: commits during the first look cause differences that do not
    last.
    """
    policies = Policies(db.pool)
    await policies.refresh()
    try:
        async with asyncio.timeout(FIX_SECONDS):
            if fix:
                await _rebuild(db, bus, policies)
            differing, size = await _differing(db, bus, policies)
            if differing:
                await asyncio.sleep(1.0)
                again, size = await _differing(db, bus, policies)
                differing &= again
    except (RedisError, *DATABASE_ERRORS) as error:
        return [bad("index", f"cannot be compared: {_one_line(error)}")]
    if differing:
        return [
            bad("index", f"{len(differing)} drivers differ between Redis and PostgreSQL: run `callboard doctor --fix`")
        ]
    return [ok("index", f"{'rebuilt: ' if fix else ''}{size} drivers, the same as in PostgreSQL")]


async def _differing(db: Database, bus: Bus, policies: Policies) -> tuple[set[tuple[str, str]], int]:
    """(zone, driver id) of drivers that only one of the two has, and the number of drivers in Redis."""
    by_zone = await all_dispatchable(db.pool, policies.current, GEO_LATITUDE)
    true = {(zone, driver_id) for zone, ids in by_zone.items() for driver_id in ids}
    shown = set()
    async for key in bus.redis.scan_iter(match=f"{bus.geo_prefix}*", count=1000):
        zone = key.decode().removeprefix(bus.geo_prefix)
        members: Any = await bus.redis.zrange(key, 0, -1)
        shown |= {(zone, member.decode()) for member in members}
    return true ^ shown, len(shown)


async def _rebuild(db: Database, bus: Bus, policies: Policies) -> None:
    """Write all of the index again, with the code that a node uses when Redis is back."""
    index = DriverIndex(
        bus,
        db.pool,
        node_id="",
        policy=lambda: policies.current,
        latest=lambda _: None,
        alone=lambda: True,
    )
    async with _running(bus):
        await bus.redis.delete(bus.status_key)
        await index.refill()
        for _ in range(REBUILD_ROUNDS):
            await asyncio.sleep(0.1)  # the bus writes the collected commands in this time
            if not await index.reconcile():
                break


@asynccontextmanager
async def _running(bus: Bus) -> AsyncIterator[None]:
    """Run the bus, so that it writes its commands."""
    connected = asyncio.Event()
    bus.on_reconnect.append(connected.set)
    bus.subscribe("doctor", lambda _: None)
    tasks = [asyncio.create_task(run()) for run in (bus.read, bus.write)]
    try:
        await connected.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
