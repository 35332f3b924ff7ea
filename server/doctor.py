"""`callboard doctor`: checks everything that a node depends on. It changes nothing without `--fix`."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import httpx2
from msgspec import Struct
from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from server.current_policy import Policies, with_values
from server.notify.mailer import reach_server
from server.object_store.s3 import CHECK_KEY, ObjectStore, ObjectStoreAway
from server.redis.bus import Bus
from server.redis.index import GEO_LATITUDE, DriverIndex
from server.settings import SECRET_BYTES, Settings, misspelled
from server.store.clock import time_at
from server.store.company import read_company_settings
from server.store.connections import Connection
from server.store.engine import DATABASE_ERRORS, Database, DatabaseUnreachable, place
from server.store.jobs.retention import would_go
from server.store.leases import DISPATCHER, lease_state
from server.store.migrate import OLDEST_SERVER, MigrationFailed, pending_migrations
from server.store.nodes import count_nodes
from server.store.primary import POOLED, TakesNoWrites, clock_and_durability, shares_sessions, unusable
from server.store.proofs import count_objects
from server.store.query import DatabaseAway
from server.store.reads.index import all_dispatchable
from server.store.users import count_admins
from server.web.screens.reach import only_here

OLDEST_REDIS: Final = (6, 2)
REDIS_SECONDS: Final = 3.0
ADDRESS_SECONDS: Final = 3.0
TO_MAKE_ONE: Final = "make one with `openssl rand -hex 32`, for all nodes and back ends"
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
    todo: str = ""
    """What to do about a problem."""

    @property
    def bad(self) -> bool:
        """Whether this keeps Callboard from working, or from working well."""
        return self.how == "bad"

    @property
    def line(self) -> str:
        """The finding as a line of text, and what to do about it as another."""
        return f"{self.how:5} {self.what:10} {self.text}" + (f"\n{'':16} -> {self.todo}" if self.todo else "")


def ok(what: str, text: str) -> Finding:
    """A check without a problem."""
    return Finding(what, "ok", text)


def note(what: str, text: str, todo: str = "") -> Finding:
    """Something that works, but that somebody may want to know."""
    return Finding(what, "note", text, todo)


def bad(what: str, text: str, todo: str) -> Finding:
    """A problem, and what to do about it."""
    return Finding(what, "bad", text, todo)


def _bad(what: str, text: str) -> Finding:
    """The same of a text that says both: "the problem: what to do"."""
    problem, _, todo = text.partition(": ")
    return bad(what, problem, todo)


async def examine(settings: Settings, *, fix: bool = False) -> list[Finding]:
    """Run all checks, dependencies first."""
    findings = [*_secrets(settings), *_misspelled(), _files()]
    bus = Bus(settings.redis_url, settings.redis_prefix)
    db = Database(settings.database_url, pool_size=4)
    try:
        redis_findings = await _redis(bus)
        findings += redis_findings
        try:
            await db.open()
        except DatabaseUnreachable as error:
            return [*findings, bad("database", str(error), _how_to_reach(error))]
        database_findings = await _database(settings, db)
        findings += database_findings
        if any(finding.what == "schema" and not finding.bad for finding in database_findings):
            settings = with_values(settings, await read_company_settings(db.pool))
            findings += await _address(settings)
            findings += _phones(settings)
            findings.append(_time_zone(settings))
            findings += await _mail(settings)
            findings += await _nodes(db)
            findings.append(await _kept(settings, db))
            findings += await _proofs(settings, db)
            if any(finding.bad for finding in redis_findings):
                findings.append(note("index", "not checked, because Redis has a problem"))
            else:
                findings += await _index(db, bus, fix=fix)
        elif fix:
            findings.append(bad("index", "not rebuilt", "fix the problems above first"))
        return findings
    finally:
        await db.close()
        await bus.close()


def _misspelled() -> list[Finding]:
    return [
        note("settings", f"{name} is no setting and has no effect: {setting} is one")
        for name, setting in misspelled().items()
    ]


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
        return bad("secret", f"{name} has {length} bytes, and needs {SECRET_BYTES} at least", TO_MAKE_ONE)
    if len(set(secret)) < 8:
        return bad("secret", f"{name} is easy to guess", TO_MAKE_ONE)
    if secret[0] == secret[-1] and secret[0] in "\"'":
        text = f"{name} begins and ends with a quote, which counts: `docker run --env-file` keeps quotes"
        return note("secret", text, "remove the quotes, here and wherever tokens are minted")
    return ok("secret", f"{length} bytes")


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES_WANTED:
        return note(
            "files", f"limit of {soft} open files; each driver needs about one: raise it (ulimit -n, at most {hard})"
        )
    return ok("files", f"limit of {soft} open files; each driver needs about one")


async def _address(settings: Settings) -> list[Finding]:
    """Whether the public URL leads here, as a load balancer asks (HEAD), and through the proxy as it is."""
    if not settings.public_url:
        return []
    url = f"{settings.public_url}/health/live"
    try:
        async with httpx2.AsyncClient(timeout=ADDRESS_SECONDS) as client:
            answer = await client.head(url)
    except (httpx2.HTTPError, OSError, ValueError) as error:
        text = f"{settings.public_url} cannot be reached from this machine: {_one_line(error)}"
        return [note("address", text, "if people cannot reach it either, check DNS, certificate and proxy")]
    if answer.status_code != 200:
        todo = f"let the proxy pass on all paths{f' from {settings.root} on' if settings.root else ''} as they are"
        return [bad("address", f"{settings.public_url} leads elsewhere: {url} answers {answer.status_code}", todo)]
    return [ok("address", f"{settings.public_url} leads to Callboard")]


def _phones(settings: Settings) -> list[Finding]:
    """What drivers' phones cannot do with the public URL."""
    url = settings.public_url
    if url and only_here(url):
        todo = "set the address that phones use, in CALLBOARD_PUBLIC_URL or on the screen Set up"
        return [bad("phones", f"{url} leads each phone to itself: no driver can sign in", todo)]
    if url and not url.startswith("https:"):
        text = f"{url} is without https: browsers give no position and show no notifications"
        return [note("phones", text, "put a proxy with TLS in front, and set the https address")]
    return []


def _time_zone(settings: Settings) -> Finding:
    if "time_zone" in settings.model_fields_set:
        return ok("time zone", f"times and days are those of {settings.time_zone}")
    todo = "set yours in CALLBOARD_TIME_ZONE or on the screen Set up"
    return note("time zone", "nobody set one: times and days on screens and in reports are those of UTC", todo)


async def _mail(settings: Settings) -> list[Finding]:
    """Whether the server of mails lets this machine in."""
    if not settings.smtp_url:
        if settings.recipients:
            return [note("mail", "recipients are set, but no server takes mails", "set CALLBOARD_SMTP_URL")]
        return []
    where = urlsplit(settings.smtp_url).hostname
    refused = await reach_server(settings)
    if refused is not None:
        todo = "correct CALLBOARD_SMTP_URL" if refused.permanent else "start it, or correct CALLBOARD_SMTP_URL"
        return [bad("mail", f"{where}: {refused.reason}", todo)]
    if settings.recipients and not settings.report_at:
        return [note("mail", f"{where} takes mails, but no report is sent", "set CALLBOARD_REPORT_AT")]
    return [ok("mail", f"{where} takes mails")]


def _how_to_reach(error: DatabaseUnreachable) -> str:
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


async def _redis(bus: Bus) -> list[Finding]:
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            began = time.perf_counter()
            await bus.redis.ping()
            took_ms = (time.perf_counter() - began) * 1000
            about: dict[str, Any] = await bus.redis.info()
            key = f"{bus.prefix}doctor"
            await bus.redis.geoadd(key, (0, 0, "doctor"))
            await bus.redis.zrem(key, "doctor")
            await bus.redis.hset(key, "doctor", "1")
            await bus.redis.set(key, "1", ex=1)
            await bus.redis.delete(key)
            async with bus.redis.pubsub() as listening:
                await listening.subscribe(key)
                await listening.get_message(timeout=REDIS_SECONDS)
                await bus.redis.publish(key, "")
    except AuthenticationError as error:
        return [
            bad("redis", f"refuses to log in: {_one_line(error)}", "correct user and password in CALLBOARD_REDIS_URL")
        ]
    except OutOfMemoryError:
        todo = "raise its maxmemory, or remove what others keep there; keep maxmemory-policy noeviction"
        return [bad("redis", "takes no writes: its memory is full", todo)]
    except ReadOnlyError:
        return [bad("redis", "takes no writes: it is a replica", "set CALLBOARD_REDIS_URL to its primary")]
    except ResponseError as error:
        return [bad("redis", f"refuses a command that Callboard needs: {_one_line(error)}", _how_to_let(error))]
    except (RedisError, OSError, TimeoutError) as error:
        return [bad("redis", f"cannot be reached: {_one_line(error)}", "start it, or correct CALLBOARD_REDIS_URL")]
    version = str(about.get("redis_version", "0"))
    name = f"{about.get('server_name', 'redis')} {about.get('valkey_version', version)}"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST_REDIS:
        return [bad("redis", f"{name} is too old", "install Redis 6.2 or newer, or Valkey")]
    findings = [ok("redis", f"{name}, answers in {took_ms:.1f} ms")]
    policy = about.get("maxmemory_policy", "noeviction")
    if about.get("maxmemory") and policy != "noeviction":
        text = f"maxmemory-policy {policy} lets it delete keys of Callboard when its memory is full: set noeviction"
        findings.append(note("redis", text))
    return findings


def _how_to_let(error: ResponseError) -> str:
    text = str(error)
    if isinstance(error, (ClusterDownError, MovedError)) or "Hash slot" in text:
        return "set CALLBOARD_REDIS_URL to a single server: it is part of a cluster"
    if "NOREPLICAS" in text:
        return "start the replicas that min-replicas-to-write asks for, or set it to 0"
    if "MISCONF" in text:
        return 'make room on its disk, or turn persistence off: save "", appendonly no'
    if "DB index" in text:
        return "correct the number of the database in CALLBOARD_REDIS_URL"
    return "allow all commands but the dangerous ones, for keys and channels with CALLBOARD_REDIS_PREFIX"


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
                findings.append(_bad("database", mistake))
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
                f"{where}: {_one_line(error)}",
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
            return [_bad("database", POOLED)]
    except DATABASE_ERRORS as error:
        text = f"only {len(opened) + 1} connections can be opened, a node needs more: {_one_line(error)}"
        return [bad("database", text, "allow the role 16 connections a node, and set max_connections accordingly")]
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
        text = "nodes are running, but no node holds it: nothing is dispatched"
        findings.append(bad("lease", text, "look into the nodes' logs for lease_not_renewed, and restart them"))
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
            text = f"{counts.kept} are in an S3-compatible store that is not set"
            return [bad("proofs", text, "set CALLBOARD_PROOFS_S3_BUCKET")]
        return []
    store = ObjectStore(settings)
    try:
        began = time.perf_counter()
        await store.check()
        if await store.get(CHECK_KEY) != b"":
            return [bad("proofs", f"{store.place} does not return what was stored", "use another store")]
        await store.delete(CHECK_KEY)
        took_ms = (time.perf_counter() - began) * 1000
    except ObjectStoreAway as error:
        text = f"{store.place} cannot be used: {error}"
        return [bad("proofs", text, "check the bucket, the address, the keys and their permissions")]
    findings = [ok("proofs", f"{counts.kept} in {store.place}, which stores, returns and deletes in {took_ms:.0f} ms")]
    if counts.overdue:
        text = f"{counts.overdue} erased photos are not removed from the store yet"
        findings.append(bad("proofs", text, "let a node run, or `callboard prune`"))
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
        return [bad("index", f"cannot be compared: {_one_line(error)}", "fix the problems above, and try again")]
    if differing:
        text = f"{len(differing)} drivers differ between Redis and PostgreSQL"
        return [bad("index", text, "run `callboard doctor --fix`")]
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
