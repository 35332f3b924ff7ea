"""Two releases of Callboard, each in a separate process, on one database and one Redis, and a city that drives."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from tests.conftest import SECRET
from tests.process import Process
from tests.upgrade.balancer import Balancer, balancer
from tests.upgrade.previous_release import ROOT, is_in_history, previous_release
from tests.waiting import PATIENCE
from tests.web.conftest import token


class Releases:
    """Starts commands of either release. All of them have the same settings and are ended with the test."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        previous = previous_release()
        self._code = {"previous": (previous.code, previous.python), "this": (ROOT, None)}
        self._folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
        self._environment = kept | {f"CALLBOARD_{name.upper()}": value for name, value in settings.items()}
        self.started: list[Process] = []

    def run(self, release: str, *arguments: str) -> Process:
        """`release` is `previous` or `this`."""
        code, python = self._code[release]
        folder = self._folder / f"process{len(self.started)}"
        folder.mkdir()
        environment = self._environment | {"PYTHONPATH": str(code), "CALLBOARD_DATA": str(folder)}
        process = Process(arguments, environment, folder, *([python] if python else []))
        self.started.append(process)
        return process


@pytest.fixture
def releases(tmp_path: Path, empty_database_url: str, redis_url: str, redis_prefix: str) -> Iterator[Releases]:
    if not is_in_history():
        pytest.skip("the previous release is not in the history: this is no clone, or a shallow one")
    found = Releases(
        tmp_path,
        {
            "database_url": empty_database_url,
            "redis_url": redis_url,
            "redis_prefix": redis_prefix,
            "secret": SECRET,
            "log_format": "json",
            "webhooks_allow_private": "true",
        },
    )
    yield found
    for process in reversed(found.started):
        process.close()


@pytest.fixture
async def front() -> AsyncIterator[Balancer]:
    async with balancer() as found:
        yield found


@pytest.fixture
async def delivered(empty_database_url: str) -> AsyncIterator[Callable[[], Awaitable[set[str]]]]:
    """The orders that are delivered now, by id."""
    connection = await asyncpg.connect(empty_database_url)

    async def read() -> set[str]:
        rows = await connection.fetch("SELECT id::text FROM deliveries WHERE status = 'DELIVERED'")
        return {row[0] for row in rows}

    yield read
    await connection.close()


@pytest.fixture
async def call() -> AsyncIterator[Callable[..., Awaitable[httpx2.Response]]]:
    """`await call(url, "POST", "/deliveries", role="service", json=...)`."""
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:

        async def send(
            url: str, method: str, path: str, *, role: Any = "service", subject: str = "shop", json: Any = None
        ) -> httpx2.Response:
            headers = {"Authorization": f"Bearer {token(role, subject)}"}
            return await client.request(method, f"{url}{path}", headers=headers, json=json)

        yield send
