"""Where a torture plays: PostgreSQL, Valkey and several nodes as processes, with a proxy on every way between them.

Everything lies in one folder. Processes are ended by their own ids, and nothing is left behind.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import redis.asyncio

from server.embedded.servers import Embedded
from server.paths import ROOT
from server.store.leases import DISPATCHER
from tests.bench.wire import connect_http, request
from tests.own_servers import OwnServers
from tests.process import Process
from tests.standby import Standby
from tests.torture.proxies import Proxies, RemoteProxy
from tests.waiting import until

SECRET: Final = "a-secret-for-torture-of-32-bytes-at-least"
START_SECONDS: Final = 90.0
"""How long a node may take to start, over all attempts."""
END_SECONDS: Final = 10.0
"""What is promised for the time between SIGTERM and the end."""
READY_SECONDS: Final = 90.0
ASK_SECONDS: Final = 3.0

HOLDER: Final = "SELECT holder::text FROM leases WHERE name = $1 AND expires_at > clock_timestamp()"

_node_id = re.compile(r'"nodeId": ?"([^"]+)"')
_unforeseen = re.compile(
    r'"event":"(call_died|command_failed|drain_failed|hint_invalid|listener_failed|request_failed|task_died)"'
)


class Taken(Exception):
    """Everything of the kind is in somebody else's hands just now."""


class Thing:
    """Something that one fault at a time plays with."""

    claimed = False

    @contextmanager
    def claim(self) -> Iterator[None]:
        """It is ours meanwhile. Raises Taken."""
        if self.claimed:
            raise Taken
        self.claimed = True
        try:
            yield
        finally:
            self.claimed = False


class Link(Thing):
    """A proxy on one way."""

    def __init__(self, proxy: RemoteProxy) -> None:
        self.proxy = proxy


class Node(Thing):
    """One `callboard serve` and its three proxies. It keeps its place on the stage when its process is another."""

    def __init__(self, index: int, folder: Path, to_database: Link, to_redis: Link, front: Link) -> None:
        self.index = index
        self.to_database, self.to_redis, self.front = to_database, to_redis, front
        self.port = 0
        """Where the process itself listens."""
        self.process: Process | None = None
        self.wanted = False
        """Whether it is meant to run: one that ended without an order to is an error."""
        self.starts = 0
        self._folder = folder
        self._node_id: str | None = None

    @property
    def url(self) -> str:
        """Through its front proxy."""
        return f"http://127.0.0.1:{self.front.proxy.port}"

    @property
    def pid(self) -> int:
        """Of the process, or of the last one."""
        return self.process.pid if self.process is not None else 0

    @property
    def alive(self) -> bool:
        """Whether the process is there, stopped or not."""
        return self.process is not None and self.process.code is None

    @property
    def folder(self) -> Path:
        """Of the process that was started last, with what it said in `out` and `err`."""
        return self._folder / f"node{self.index}-{self.starts}"

    @property
    def node_id(self) -> str | None:
        """The id it goes by in the database, out of its log."""
        if self._node_id is None and self.process is not None:
            for line in self.process.out.splitlines():
                if '"node_started"' in line and (found := _node_id.search(line)):
                    self._node_id = found[1]
                    break
        return self._node_id

    def begin(self, environment: dict[str, str]) -> Process:
        """Start a new process, and do not wait for it."""
        self.starts += 1
        self._node_id = None
        self.folder.mkdir()
        self.process = Process(("serve", "--port", "0"), environment, self.folder)
        return self.process


class Stage:
    """An async context manager. `settings` are those of the nodes beyond the usual, named as in the environment.

    With no folder it plays in a temporary one. `complaints` are the promises about processes that were broken.
    """

    def __init__(self, nodes: int = 3, folder: Path | None = None, *, durable: bool = True, **settings: object) -> None:
        self.nodes: list[Node] = []
        self.urls: list[str] = []
        """Each node's, as clients reach it."""
        self.database_url = self.redis_url = ""
        """Without a proxy between."""
        self.secret = SECRET
        self.complaints: list[str] = []
        self.fail_overs = 0
        self.postgres, self.redis = Thing(), Thing()
        self._number = nodes
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="cb-torture-"))
        self._durable = durable
        self._settings = settings
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.embedded = Embedded(self.folder / "servers", durable=self._durable)
        self.servers = OwnServers(self.embedded)
        await asyncio.to_thread(self.embedded.start)
        self.database_url, self.redis_url = self.embedded.database_url, self.embedded.redis_url
        self._open.push_async_callback(self._stop_servers)
        proxies = await self._open.enter_async_context(Proxies(self.folder / "proxies.log"))
        self._open.push_async_callback(self._stop_nodes)
        postgres = Path(parse_qs(urlsplit(self.database_url).query)["host"][0]) / ".s.PGSQL.5432"
        redis_socket = Path(unquote(urlsplit(self.redis_url).path))
        for index in range(self._number):
            links = [
                Link(await proxies.open(f"node{index}-database", postgres, postgres=True)),
                Link(await proxies.open(f"node{index}-redis", redis_socket)),
                Link(await proxies.open(f"node{index}-front", 0)),
            ]
            self.nodes.append(Node(index, self.folder, *links))
        self.urls += [node.url for node in self.nodes]
        # The first one migrates alone: that many may start at once is not what is tried here.
        await self.start_node(0)
        await asyncio.gather(*(self.start_node(index) for index in range(1, self._number)))
        await self.until_ready()

    async def close(self) -> None:
        """End everything, and put away all but the logs."""
        await asyncio.shield(asyncio.ensure_future(self._open.aclose()))
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for data in ("postgres", "valkey", *(f"standby{number + 1}" for number in range(self.fail_overs))):
            shutil.rmtree(self.folder / "servers" / data, ignore_errors=True)

    async def _stop_servers(self) -> None:
        self.servers.signal_postgres(signal.SIGCONT)
        if self.servers.redis_runs:
            os.kill(self.servers.redis_pid, signal.SIGCONT)
        await asyncio.to_thread(self.embedded.stop)

    async def _stop_nodes(self) -> None:
        async def stop(node: Node) -> None:
            self.signal_node(node, signal.SIGCONT)
            await node.front.proxy.heal()
            await node.to_database.proxy.heal()
            await node.to_redis.proxy.heal()
            await self.end_node(node)

        await asyncio.gather(*(stop(node) for node in self.nodes), return_exceptions=True)
        for node in self.nodes:
            self.kill_node(node)

    # Nodes

    def _environment(self, node: Node, **more: str) -> dict[str, str]:
        settings = {
            "database_url": f"postgresql://callboard@127.0.0.1:{node.to_database.proxy.port}/callboard",
            "redis_url": f"redis://127.0.0.1:{node.to_redis.proxy.port}/0",
            "secret": self.secret,
            "data": str(self.folder / "servers"),
            "log_level": "info",
            "log_format": "json",
            "webhooks_allow_private": "true",
        }
        named = {f"CALLBOARD_{name.upper()}": str(value) for name, value in (settings | self._settings).items()}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
        return kept | {"PYTHONPATH": str(ROOT)} | named | more

    async def start_node(self, index: int, **environment: str) -> None:
        """Start it until it is ready, as what watches over processes would. Raises AssertionError."""
        node = self.nodes[index]
        assert not node.alive
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    process = node.begin(self._environment(node, **environment))
                    try:
                        node.port = int(urlsplit(await process.ready()).port or 0)
                        break
                    except AssertionError:
                        # It could not reach what it needs, and says so; or it never came up at all.
                        self.kill_node(node)
                        await asyncio.sleep(0.5)
            await node.front.proxy.aim(node.port)
        except TimeoutError:
            self.kill_node(node)
            raise AssertionError(f"node {index} did not start within {START_SECONDS:g} s") from None
        except BaseException:
            # One that runs where nobody's way leads would never be well.
            self.kill_node(node)
            raise
        node.wanted = True

    def signal_node(self, node: Node, number: signal.Signals) -> None:
        """Harmless when it is gone."""
        if node.process is not None and node.alive:
            node.process.kill(number)

    def kill_node(self, node: Node) -> None:
        """At once."""
        node.wanted = False
        if node.process is not None:
            node.process.put_down()

    async def end_node(self, node: Node) -> None:
        """SIGTERM; what does not end as promised is complained of and killed."""
        node.wanted = False
        if not node.alive:
            return
        assert node.process is not None
        node.process.kill(signal.SIGTERM)
        try:
            code = await node.process.ended(END_SECONDS)
        except AssertionError:
            self.complaints.append(f"node {node.index} ({node.folder.name}) had not ended 10 s after SIGTERM")
            self.kill_node(node)
        else:
            if code:
                self.complaints.append(f"node {node.index} ({node.folder.name}) ended with {code} after SIGTERM")

    def unforeseen(self) -> list[str]:
        """What the nodes logged that is a mistake of theirs whatever fails around them; each kind once."""
        found: dict[tuple[str, str], str] = {}
        for out in sorted(self.folder.glob("node*-*/out")):
            for line in out.read_text(errors="replace").splitlines():
                if not _unforeseen.search(line):
                    continue
                logged = json.loads(line)
                what = str(logged.get("exception", "")).strip().rpartition("\n")[2]
                found.setdefault((logged["event"], what.partition(":")[0]), f"{out.parent.name} logged {what}")
        return [f"{event}: {first}" for (event, _), first in found.items()]

    async def holder(self) -> int | None:
        """Which node holds the dispatcher's lease, if any does and the database answers."""
        try:
            async with self.database() as connection:
                holder = await connection.fetchval(HOLDER, DISPATCHER)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return None
        return next((node.index for node in self.nodes if holder is not None and node.node_id == holder), None)

    async def ask(self, node: Node, path: str) -> tuple[int, Any]:
        """GET through its front proxy: status and JSON; 0 when there was no answer."""
        try:
            async with asyncio.timeout(ASK_SECONDS):
                http = await connect_http(node.front.proxy.port)
                try:
                    status, body = await http.ask(request("GET", path, ""))
                finally:
                    http.close()
        except (OSError, TimeoutError):
            return 0, None
        return status, json.loads(body) if status else None

    async def health(self, node: Node) -> str:
        """`ok`, `degraded`, `down`, or `gone` for one that does not answer."""
        _, body = await self.ask(node, "/health/ready")
        return body["status"] if body is not None else "gone"

    async def until_ready(self, within: float = READY_SECONDS) -> None:
        """Until all is well everywhere; what has ended meanwhile is started again. Raises AssertionError."""

        states: list[str] = []

        async def all_well() -> bool:
            for node in self.nodes:
                if not node.alive:
                    if node.wanted:
                        assert node.process is not None
                        said = f"node {node.index} ({node.folder.name}) ended by itself with {node.process.code}"
                        self.complaints.append(said)
                    await self.start_node(node.index)
            states[:] = [await self.health(node) for node in self.nodes]
            return set(states) == {"ok"}

        try:
            await until(all_well, within=within, every=0.1)
        except AssertionError:
            raise AssertionError(f"not well within {within:g} s: {states}") from None

    # Servers

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Any]:
        """A connection past all proxies."""
        async with asyncio.timeout(ASK_SECONDS):
            connection = await asyncpg.connect(self.database_url)
        try:
            yield connection
        finally:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await connection.close(timeout=1.0)

    async def fail_over(self, standby: Standby, seconds: float) -> None:
        """`standby` is the server from now on, for new connections of the nodes too; the old one takes no writes, and
        ends after `seconds`.
        """
        self.fail_overs += 1

        async def moved() -> None:
            self.database_url = self.embedded.database_url
            await asyncio.gather(*(node.to_database.proxy.aim(standby.socket) for node in self.nodes))

        await self.servers.fail_over(standby, moved, seconds)

    def valkey(self) -> redis.asyncio.Redis:
        """A client past all proxies, to be used as a context manager."""
        return redis.asyncio.from_url(self.redis_url, socket_timeout=ASK_SECONDS)
