"""Real servers for the tests: one embedded PostgreSQL and Valkey a session, a cloned database a test."""

import asyncio
import gc
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest
import redis.asyncio
from litestar import Litestar

from server.board import feed
from server.embedded.servers import Embedded
from server.geocoder import search
from server.process.uvicorn_server import GARBAGE_THRESHOLD, NodeServer, listen, uvicorn_config
from server.settings import Settings
from server.store import engine, query
from server.store.engine import Database
from server.store.jobs import person_turn
from server.web.access import login_limits
from server.web.api import system
from server.write.executor import Executor
from tests.database_roles import connect_as_roles, divide
from tests.open_database import administer, open_database
from tests.receiver import Receiver, listening
from tests.waiting import PATIENCE

SECRET = "a-secret-for-tests-of-32-bytes-at-least"
TEMPLATE = "callboard_template"
MEMORY_NEEDED_BYTES = 2 * 2**30
_numbers = count(1)
_ended: list[Any] = []
"""Applications of nodes that ended. Their routes serve the next ones: to put them together costs more than to start."""

# How long an example takes is no part of a test.
hypothesis.settings.register_profile(
    "callboard", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("callboard")


@dataclass(frozen=True)
class Servers:
    """The session's PostgreSQL (its maintenance database) and Valkey."""

    postgres_url: str
    redis_url: str
    postgres_log: Path

    def database(self, name: str) -> str:
        """The URL of another database on the same server."""
        return urlunsplit(urlsplit(self.postgres_url)._replace(path=f"/{name}"))


class Databases:
    """Creates the tests' databases on a separate connection and thread, and drops them there.

    The next clone of the template is created while a test runs, and nobody waits for a drop: at most a few of these
    databases exist at a time, because what they have in memory or on the disk adds up.
    """

    def __init__(self, servers: Servers, template: str) -> None:
        self._servers = servers
        self._template = template
        self._thread = ThreadPoolExecutor(1, "databases")
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection | None = None
        self._drops: list[Future[None]] = []
        self._next = self._begin()

    def clone(self) -> str:
        """The name of a new clone of the template."""
        ready, self._next = self._next, self._begin()
        return ready.result()

    def drop(self, name: str) -> None:
        """Begin to drop it."""
        self._drops.append(self._thread.submit(self._execute, f"DROP DATABASE {name} WITH (FORCE)"))

    def close(self) -> None:
        """Wait for what was begun. Raises the first error of a drop."""
        self._next.result()
        self._thread.submit(self._hang_up).result()
        self._thread.shutdown()
        for drop in self._drops:
            drop.result()

    def _begin(self) -> Future[str]:
        return self._thread.submit(self._create, f"test_{next(_numbers)}")

    def _create(self, name: str) -> str:
        # PostgreSQL 14 copies files too, and has no word for it.
        how = " STRATEGY file_copy" if self._runner.run(self._connect()).get_server_version() >= (15,) else ""
        self._execute(f"CREATE DATABASE {name} TEMPLATE {self._template}{how}")
        return name

    def _execute(self, statement: str) -> None:
        self._runner.run(self._on_connection(statement))

    async def _on_connection(self, statement: str) -> None:
        await (await self._connect()).execute(statement)

    async def _connect(self) -> asyncpg.Connection:
        if self._connection is None:
            self._connection = await asyncpg.connect(self._servers.database("postgres"))
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._runner.run(self._connection.close())
        self._runner.close()


@dataclass
class Node:
    """A running node: real sockets on a free port, on the test's own loop."""

    app: Litestar
    settings: Settings
    server: NodeServer
    port: int
    callers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What closes the connections of those who call it, also when a test fails."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """End as after SIGTERM: drain, close, shut the application down. Harmless when ended already."""
        raise NotImplementedError

    async def stopped(self) -> None:
        """Wait until it has ended by itself."""
        raise NotImplementedError

    async def change(self, statement: str, *args: Any) -> Any:
        """Change rows behind the node's back, with all rights; the first value that comes back, if any does."""
        connection = await asyncpg.connect(self.settings.database_url)
        try:
            return await connection.fetchval(statement, *args)
        finally:
            await connection.close()

    async def reach_deadline(self, offer_id: str) -> None:
        """The offer's deadline is now, however long the test took to get here."""
        await self.change("UPDATE driver_offers SET expires_at = clock_timestamp() WHERE id = $1", offer_id)


class StartNode(Protocol):
    """`await node()` starts one; several share the test's database. Ended after the test at the latest."""

    def __call__(self, **settings: Any) -> Awaitable[Node]: ...


def run_apart(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine to its end in a separate thread, out of the way of the tests' loops."""

    async def main() -> Any:
        return await work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, main()).result()


@contextmanager
def short_folder(home: Path = Path("/tmp")) -> Iterator[Path]:
    """A temporary folder whose path leaves room for a Unix socket's 107 bytes, and which servers of root may enter."""
    folder = Path(tempfile.mkdtemp(prefix="cb-", dir=home))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def home_of_servers() -> Path:
    """In memory where there is room: a database a test is hundreds of files, which disks make and remove slowly."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > MEMORY_NEEDED_BYTES:
        return memory
    return Path("/tmp")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: most tests wait most of the time."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests begin first: no core is idle at the end while the last of them runs."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """What was imported stays: the collector need not look at it again and again. Its thresholds are a node's."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 20)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Fast, not durable: a test of durability starts its own `Embedded`. Or those of `make compat`."""
    if "TEST_POSTGRES_URL" in os.environ:
        given = [os.environ[f"TEST_{name}"] for name in ("POSTGRES_URL", "REDIS_URL", "POSTGRES_LOG")]
        yield Servers(given[0], given[1], Path(given[2]))
        return
    with short_folder(home_of_servers()) as folder, Embedded(folder, durable=False) as embedded:
        yield Servers(embedded.database_url, embedded.redis_url, folder / "postgres.log")


@pytest.fixture(scope="session")
def databases(servers: Servers) -> Iterator[Databases]:
    """Clones of a migrated database, with what each role may write in it."""

    async def make() -> None:
        from server.store.migrate import migrate

        await administer(servers.database("postgres"), f"CREATE DATABASE {TEMPLATE}")
        await migrate(servers.database(TEMPLATE))
        await divide(servers.database(TEMPLATE))
        # A pooler would keep them, and who is connected keeps the template from being copied.
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{TEMPLATE}'"
        await administer(servers.database("postgres"), end)

    run_apart(make)
    databases = Databases(servers, TEMPLATE)
    yield databases
    databases.close()


@pytest.fixture
def empty_database_url(servers: Servers) -> Iterator[str]:
    """A database without any table, for tests of the migrations themselves."""
    name = f"test_{next(_numbers)}"
    run_apart(lambda: administer(servers.database("postgres"), f"CREATE DATABASE {name}"))
    yield servers.database(name)
    run_apart(lambda: administer(servers.database("postgres"), f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def database_url(servers: Servers, databases: Databases) -> Iterator[str]:
    """A migrated database of the test's own."""
    name = databases.clone()
    yield servers.database(name)
    databases.drop(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The test's database, open as a node has it."""
    async with open_database(database_url) as database:
        yield database


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks."""
    async with listening() as receiver:
        yield receiver


@pytest.fixture
def database_roles(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every connection of the test's nodes has a role that may write what is its own (tests/database_roles.py).

    A statement that PostgreSQL denies fails the test, even if the code caught the error.
    """
    connect_as_roles(monkeypatch)
    begun = servers.postgres_log.stat().st_size
    yield
    with servers.postgres_log.open() as log:
        log.seek(begun)
        denied = [line for line in log if "permission denied" in line]
    assert not denied, f"to change rows behind a node's back, use `node.change`: {denied}"


@pytest.fixture
def redis_url(servers: Servers) -> str:
    return servers.redis_url


@pytest.fixture
def redis_prefix(redis_url: str) -> Iterator[str]:
    """The test's own prefix of keys and channels; its keys are removed afterwards."""
    prefix = f"test{next(_numbers)}:"
    yield prefix

    async def remove() -> None:
        async with redis.asyncio.from_url(redis_url) as client:
            keys = [key async for key in client.scan_iter(f"{prefix}*", count=1000)]
            if keys:
                await client.unlink(*keys)

    run_apart(remove)


@pytest.fixture
def settings(database_url: str, redis_url: str, redis_prefix: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=database_url,
        redis_url=redis_url,
        redis_prefix=redis_prefix,
        secret=SECRET,
        data=tmp_path,
        log_level="warning",
    )


@pytest.fixture
async def node(settings: Settings, database_roles: None) -> AsyncIterator[StartNode]:
    """Starts nodes: `first = await node()`, `second = await node(batch_limit=1)`."""
    async with starting_nodes(settings) as start:
        yield start


def _as_it_was(tries: login_limits.Tries, key: str, now: float) -> login_limits._Bucket:
    """How many tries are left, if no time went by since the last one."""
    bucket = tries._buckets.get(key)
    return login_limits._Bucket(float(tries._tries) if bucket is None else bucket.left, now)


@asynccontextmanager
async def starting_nodes(settings: Settings) -> AsyncIterator[StartNode]:
    """Starts nodes on the running loop, and ends them at its end. On a busy machine a login may take longer than a node
    allows, and many tries longer than until the first of them is forgotten.
    """
    async with AsyncExitStack() as running:
        limits = running.enter_context(pytest.MonkeyPatch.context())
        limits.setattr("server.web.screens.login.WAIT_SECONDS", PATIENCE)
        limits.setattr(login_limits.Tries, "_refilled", _as_it_was)

        async def start(**changes: Any) -> Node:
            return await running.enter_async_context(running_node(settings.with_changes(**changes)))

        yield start


@asynccontextmanager
async def running_node(settings: Settings, port: int = 0) -> AsyncIterator[Node]:
    """One node on the running loop, on this port of its host, by default 127.0.0.1, or on a free one.

    Without asyncio's debug mode, which a third of the time would go to: the tests of the parts have it.
    """
    asyncio.get_running_loop().set_debug(False)
    from server.web.app import become_node, routed

    app = _ended.pop() if _ended else routed()
    become_node(app, settings)
    started = asyncio.Event()
    proxies = settings.trusted_proxies
    config = uvicorn_config(app, loop="none", timeout_graceful_shutdown=1, forwarded_allow_ips=proxies)
    server = NodeServer(app, config, started.set)
    listener = listen(settings.host, port)
    serving = asyncio.create_task(server._serve([listener]), name="node")

    class RunningNode(Node):
        async def stop(self) -> None:
            server.handle_exit(signal.SIGTERM, None)
            await self.stopped()

        async def stopped(self) -> None:
            await asyncio.wait([serving])

    starting = asyncio.create_task(started.wait())
    running = RunningNode(app, settings, server, listener.getsockname()[1])
    try:
        await asyncio.wait([starting, serving], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            listener.close()
            await serving
            raise AssertionError("the node ended at start")
        yield running
    finally:
        starting.cancel()
        for hang_up in running.callers:
            await hang_up()
        await running.stop()
        await asyncio.gather(serving)
        _ended.append(app)


@pytest.fixture(autouse=True)
def _quiet_asyncio() -> None:
    """Debug mode reports slow callbacks; on a busy machine they are no news."""
    logging.getLogger("asyncio").setLevel(logging.ERROR)


@pytest.fixture(autouse=True)
def _patient_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a read, the start of a transaction, or a connection to the database may take longer than a node
    allows. The tests of these limits set their own.
    """
    for limit in ("CONNECT_SECONDS", "ACQUIRE_SECONDS", "COMMAND_SECONDS"):
        monkeypatch.setattr(engine, limit, PATIENCE)
    monkeypatch.setitem(engine.READING, "statement_timeout", f"{PATIENCE:g}s")
    assert query.fetch.__kwdefaults__ is not None
    monkeypatch.setitem(query.fetch.__kwdefaults__, "timeout_seconds", PATIENCE)
    assert Executor.__init__.__kwdefaults__ is not None
    monkeypatch.setitem(Executor.__init__.__kwdefaults__, "wait_limit_seconds", PATIENCE)
    monkeypatch.setattr(feed, "READY_SECONDS", PATIENCE)
    monkeypatch.setattr(person_turn, "WAIT_SECONDS", PATIENCE)
    monkeypatch.setattr(system, "CHECK_SECONDS", PATIENCE)
    monkeypatch.setattr(search, "TIMEOUT_SECONDS", PATIENCE)
