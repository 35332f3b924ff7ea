"""`callboard doctor`: looks at everything a node depends on and says what it found. It changes nothing unless asked."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from msgspec import Struct
from redis.exceptions import RedisError, ResponseError

from server.current_policy import Policies
from server.redis.bus import Bus
from server.redis.index import GEO_LATITUDE, Geo
from server.settings import SECRET_BYTES, Settings
from server.store.clock import time_at
from server.store.engine import DATABASE_ERRORS, Database, DatabaseUnreachable, place
from server.store.jobs.retention import would_go
from server.store.leases import DISPATCHER, lease_state
from server.store.migrate import OLDEST_SERVER, MigrationFailed, pending_migrations
from server.store.nodes import count_nodes
from server.store.query import DatabaseAway
from server.store.reads.index import all_dispatchable
from server.store.servers import clock_and_durability
from server.store.users import count_admins

OLDEST_REDIS: Final = (6, 2)
REDIS_SECONDS: Final = 3.0
CLOCK_SECONDS: Final = 1.0
"""How far this machine's clock may be from the database's before that is worth a word."""
LATENCY_MS: Final = 20.0
FILES_WANTED: Final = 4096
FIX_SECONDS: Final = 15.0
REBUILD_ROUNDS: Final = 20
STILL_THERE: Final = timedelta(days=1)
"""For so long what is to be removed may still be there."""


class Finding(Struct, frozen=True):
    """What was looked at and what was found: `ok`, worth a word (`note`), or `bad`."""

    what: str
    how: str
    told: str

    @property
    def bad(self) -> bool:
        """Whether Callboard cannot work like this, or not well."""
        return self.how == "bad"

    @property
    def line(self) -> str:
        """For people."""
        return f"{self.how:5} {self.what:10} {self.told}"


def ok(what: str, told: str) -> Finding:
    """All is well."""
    return Finding(what, "ok", told)


def note(what: str, told: str) -> Finding:
    """It works; somebody may want to know."""
    return Finding(what, "note", told)


def bad(what: str, told: str) -> Finding:
    """Something is missing or wrong."""
    return Finding(what, "bad", told)


async def examine(settings: Settings, *, fix: bool = False) -> list[Finding]:
    """Look at everything, in the order in which one thing needs the other."""
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
            findings += await _nodes(db)
            findings.append(await _kept(settings, db))
            if any(finding.bad for finding in redis_findings):
                findings.append(note("index", "not looked at without Redis"))
            else:
                findings += await _index(db, bus, fix=fix)
        elif fix:
            findings.append(bad("index", "was not rebuilt: first mend what is said above"))
        return findings
    finally:
        await db.close()
        await bus.close()


def _secrets(settings: Settings) -> list[Finding]:
    findings = [_secret("CALLBOARD_SECRET", settings.secret)]
    if settings.secret_accepted:
        other = _secret("CALLBOARD_SECRET_ACCEPTED", settings.secret_accepted)
        findings.append(other if other.bad else note("secret", "tokens of CALLBOARD_SECRET_ACCEPTED are good as well"))
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
        return note("files", f"{soft} open files allowed, about one a driver: raise it (ulimit -n; at most {hard})")
    return ok("files", f"{soft} open files allowed, about one a driver")


async def _redis(bus: Bus) -> list[Finding]:
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            began = time.perf_counter()
            await bus.redis.ping()
            took_ms = (time.perf_counter() - began) * 1000
            about: dict[str, Any] = await bus.redis.info("server")
            await bus.redis.geosearch(f"{bus.prefix}doctor", longitude=0, latitude=0, radius=1)
    except ResponseError as error:
        return [bad("redis", f"does not do what is needed of it: {_one_line(error)}")]
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
                findings.append(note("database", f"{took_ms:.0f} ms for a question is slow: put it near the nodes"))
            if not durable:
                findings.append(bad("database", "fsync or full_page_writes is off: a power cut may lose everything"))
            findings.append(_clock(ahead))
            pending = await pending_migrations(connection)
            if pending:
                findings.append(bad("schema", f"{len(pending)} migrations have not run: `callboard migrate`"))
            else:
                findings.append(ok("schema", "up to date"))
                findings.append(_people(await count_admins(connection)))
            return findings
    except (*DATABASE_ERRORS, DatabaseAway, MigrationFailed) as error:
        return [bad("database", f"{where}: {_one_line(error)}")]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _clock(ahead: float) -> Finding:
    if abs(ahead) > CLOCK_SECONDS:
        which = "behind" if ahead > 0 else "ahead of"
        return note("clock", f"this machine is {abs(ahead):.1f} s {which} the database: tokens and logs will differ")
    return ok("clock", f"within {max(abs(ahead) * 1000, 1):.0f} ms of the database's")


def _people(admins: int) -> Finding:
    if not admins:
        return note("people", "nobody can log in as an admin: `callboard user add NAME --role admin`")
    return ok("people", f"{admins} can log in as admin")


async def _nodes(db: Database) -> list[Finding]:
    """Who runs, and who dispatches."""
    nodes = await count_nodes(db.pool)
    if not nodes.alive:
        return [note("nodes", "none is running")]
    findings = [ok("nodes", f"{nodes.alive} running, {nodes.sockets} drivers connected")]
    if nodes.dead:
        findings.append(note("nodes", f"{nodes.dead} ended without a word and will be forgotten"))
    if (await lease_state(db.pool, DISPATCHER)).held:
        findings.append(ok("lease", "one node dispatches"))
    else:
        findings.append(bad("lease", "nodes are running, but none of them dispatches"))
    return findings


async def _kept(settings: Settings, db: Database) -> Finding:
    """What should have been removed a day ago."""
    try:
        now = await time_at(db.pool)
        left = await would_go(db, settings, now=now - STILL_THERE)
    except DATABASE_ERRORS as error:
        return note("kept", f"cannot be counted: {_one_line(error)}")
    told = ", ".join(f"{rows} {table}" for table, rows in left.items() if rows)
    if told:
        return note("kept", f"older than they should get: {told}; a node removes them, or `callboard prune`")
    return ok("kept", "nothing is older than it should get")


async def _index(db: Database, bus: Bus, *, fix: bool) -> list[Finding]:
    """The GEO index against PostgreSQL. Commits go on meanwhile, so a difference counts if it is there twice."""
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
        return [bad("index", f"{len(differing)} drivers are wrongly in or out of Redis: `callboard doctor --fix`")]
    return [ok("index", f"{'rebuilt: ' if fix else ''}{size} drivers in Redis, as in PostgreSQL")]


async def _differing(db: Database, bus: Bus, policies: Policies) -> tuple[set[tuple[str, str]], int]:
    """(zone, driver id) of those in one of the two only, and how many Redis has."""
    by_zone = await all_dispatchable(db.pool, policies.current, GEO_LATITUDE)
    true = {(zone, driver_id) for zone, ids in by_zone.items() for driver_id in ids}
    shown = set()
    async for key in bus.redis.scan_iter(match=f"{bus.geo_prefix}*", count=1000):
        zone = key.decode().removeprefix(bus.geo_prefix)
        members: Any = await bus.redis.zrange(key, 0, -1)
        shown |= {(zone, member.decode()) for member in members}
    return true ^ shown, len(shown)


async def _rebuild(db: Database, bus: Bus, policies: Policies) -> None:
    """Write all that Redis shows anew, through the same code as a node whose Redis came back."""
    geo = Geo(
        bus,
        db.pool,
        node_id="",
        policy=lambda: policies.current,
        latest=lambda _: None,
        alone=lambda: True,
    )
    async with _carried(bus):
        await bus.redis.delete(bus.status_key)
        await geo.refill()
        for _ in range(REBUILD_ROUNDS):
            await asyncio.sleep(0.1)  # what was gathered is written meanwhile
            if not await geo.reconcile():
                break


@asynccontextmanager
async def _carried(bus: Bus) -> AsyncIterator[None]:
    """While the bus carries what is written to it."""
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
