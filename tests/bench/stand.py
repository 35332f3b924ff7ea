"""The server under test: `callboard serve` as a separate process, on embedded servers in a scratch folder."""

import asyncio
import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
import psutil
import redis.asyncio

from server.embedded.servers import Embedded
from server.paths import ROOT
from server.web.access.tokens import mint_token
from server.web.http.caller import Role
from tests.bench.machine import Meter, tree
from tests.bench.wire import connect_http, request
from tests.open_database import administer

SECRET: Final = "a-secret-for-benchmarks-of-32-bytes-at-least"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
TOKEN_SECONDS: Final = 4 * 3600

_numbers = count(1)
_ready = re.compile(rb"http://[^ ]*?:(\d+)")


class Failed(Exception):
    """The server under test did something it must not; the text is one line."""


class Servers:
    """The run's PostgreSQL and Valkey."""

    def __init__(self, embedded: Embedded) -> None:
        self.data = embedded.data
        self.redis_url = embedded.redis_url
        self._postgres_url = embedded.database_url
        named = {process.name(): process.pid for process in psutil.Process().children()}
        self.database_pid = named["postgres"]
        self.redis_pid = next(pid for name, pid in named.items() if name.startswith("valkey"))

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of a new database, dropped afterwards. Redis is emptied."""
        name = f"bench_{next(_numbers)}"
        async with redis.asyncio.from_url(self.redis_url) as client:
            await client.flushall()
        await administer(self._url_of("postgres"), f"CREATE DATABASE {name}")
        try:
            yield self._url_of(name)
        finally:
            await administer(self._url_of("postgres"), f"DROP DATABASE {name} WITH (FORCE)")

    def _url_of(self, database: str) -> str:
        return urlunsplit(urlsplit(self._postgres_url)._replace(path=f"/{database}"))


@contextmanager
def servers() -> Iterator[Servers]:
    """PostgreSQL and Valkey as `callboard serve` would start them, in a folder that is removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="cb-bench-"))
    try:
        with Embedded(folder) as embedded:
            yield Servers(embedded)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Stand:
    """A running server: where it is and how to ask it things."""

    def __init__(self, servers: Servers, port: int, pid: int, database_url: str = "") -> None:
        self.port = port
        self.pid = pid
        self.database_url = database_url
        self.service = self.token("service", "bench")
        self.admin = self.token("admin", "bench")
        self.meter = Meter(server=pid, database=servers.database_pid, redis=servers.redis_pid)

    def token(self, role: Role, subject: str) -> str:
        """A token for longer than any benchmark."""
        return mint_token(SECRET, role, subject, TOKEN_SECONDS)[0]

    async def ask(self, method: str, path: str, token: str, body: bytes = b"") -> bytes:
        """One request. Raises Failed unless it is answered with 2xx."""
        http = await connect_http(self.port)
        try:
            status, answer = await http.ask(request(method, path, token, body))
        finally:
            http.close()
        if status // 100 != 2:
            raise Failed(f"{method} {path}: {status} {answer[:200].decode(errors='replace')}")
        return answer

    async def change_policy(self, **changes: Any) -> None:
        """Change these fields of the policy, named as on the wire."""
        policy = msgspec.json.decode(await self.ask("GET", "/admin/policy", self.admin))
        await self.ask("PUT", "/admin/policy", self.admin, msgspec.json.encode(policy | changes))

    async def metrics(self) -> dict[str, float]:
        """All samples of `/metrics` by their full names."""
        samples = {}
        for line in (await self.ask("GET", "/metrics", self.admin)).decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples


@asynccontextmanager
async def stand(servers: Servers, **settings: object) -> AsyncIterator[Stand]:
    """A server on a new database; `settings` as in the environment, without the prefix. Ended by its process id."""
    async with servers.database() as url:
        names = {"DATABASE_URL": url, "REDIS_URL": servers.redis_url, "SECRET": SECRET, "DATA": servers.data}
        names |= {"LOG_LEVEL": "warning", "LOG_FORMAT": "json"} | settings
        command = [sys.executable, "-m", "server.cli", "serve", "--port", "0"]
        environment = {f"CALLBOARD_{name}": str(value) for name, value in names.items()}
        async with started(command, servers.data, environment) as (port, pid):
            yield Stand(servers, port, pid, url)


@asynccontextmanager
async def echo(servers: Servers) -> AsyncIterator[Stand]:
    """The bare echo under the same configuration (echo.py)."""
    async with started([sys.executable, "-m", "tests.bench.echo"], servers.data, {}) as (port, pid):
        yield Stand(servers, port, pid)


@asynccontextmanager
async def started(command: list[str], folder: Path, environment: dict[str, str]) -> AsyncIterator[tuple[int, int]]:
    """Run a server that says its address on standard error; its port and process id. Raises Failed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    with (folder / "server.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=clean | {"PYTHONPATH": str(ROOT)} | environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.PIPE,
        )
    assert process.stderr is not None
    said: list[bytes] = []
    try:
        async with asyncio.timeout(START_SECONDS):
            async for line in process.stderr:
                said.append(line)
                found = _ready.search(line)
                if found is not None:
                    break
            else:
                raise Failed(f"the server ended at start: {_last_words(said, folder / 'server.log')}")
        listening = asyncio.create_task(_listen(process.stderr))
        yield int(found[1]), process.pid
    finally:
        await _end(process)
    await listening


def _last_words(said: list[bytes], log: Path) -> str:
    lines = [*log.read_bytes().splitlines()[-3:], *said[-2:]]
    return " ".join(line.decode(errors="replace").strip() for line in lines)[-2000:]


async def _listen(stream: asyncio.StreamReader) -> None:
    """Keep the pipe empty; what is said after the start is shown."""
    async for line in stream:
        sys.stderr.buffer.write(line)


async def _end(process: asyncio.subprocess.Process) -> None:
    left = tree(process.pid)
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    for straggler in left:
        if straggler.is_running():
            straggler.kill()
    await process.wait()
