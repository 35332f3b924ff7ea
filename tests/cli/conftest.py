"""Callboard as a real process: started with settings of the test's own, watched, and ended by its process id."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import psutil
import pytest

from server import cli
from tests.conftest import SECRET
from tests.waiting import until

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 30.0


class Process:
    """A running command. `out` and `err` are what it has said so far."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str], folder: Path) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "server.cli", *arguments],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=environment,
            )
        self.pid = self._popen.pid

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def code(self) -> int | None:
        return self._popen.poll()

    def type(self, text: str) -> None:
        """Give it this on standard input, and nothing more."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(text.encode())
        self._popen.stdin.close()

    def kill(self, number: int) -> None:
        self._popen.send_signal(number)

    def children(self, program: str) -> list[psutil.Process]:
        """Its living children whose command line holds this word."""
        found = []
        for child in psutil.Process(self.pid).children():
            try:
                if child.status() != psutil.STATUS_ZOMBIE and program in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return found

    @property
    def workers(self) -> list[psutil.Process]:
        return self.children("spawn_main")

    async def ended(self, within: float = START_SECONDS) -> int:
        """Its exit code, once it has ended by itself or because it was told to."""
        if self._popen.stdin is not None and not self._popen.stdin.closed:
            self._popen.stdin.close()
        await until(lambda: self.code is not None, within=within)
        assert self.code is not None
        return self.code

    async def end(self, number: int = signal.SIGTERM, within: float = 10.0) -> int:
        """Tell it to end; its exit code."""
        self.kill(number)
        return await self.ended(within)

    async def ready(self) -> str:
        """The address it says it is ready at."""
        await until(lambda: "ready: http" in self.err or self.code is not None, within=START_SECONDS)
        assert self.code is None, f"ended with {self.code}: {self.err}{self.out}"
        return next(word for word in self.err.split("ready: ")[1].split() if word.startswith("http"))

    def close(self) -> None:
        """Make sure that it is gone, and its workers with it."""
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(10)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        if self._popen.stdin is not None:
            self._popen.stdin.close()


class Run(Protocol):
    """`run("serve", "--port", "0", log_format="json")` starts a command; settings are named as in `Settings`."""

    def __call__(self, *arguments: str, **settings: str) -> Process: ...


@pytest.fixture
def environment() -> dict[str, str]:
    """This process's environment without any setting of Callboard's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    return kept | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def run_bare(environment: dict[str, str], tmp_path: Path) -> Iterator[Run]:
    """Starts commands with no setting but those given."""
    started: list[Process] = []

    def run(*arguments: str, **settings: str) -> Process:
        folder = tmp_path / f"process{len(started)}"
        folder.mkdir()
        named = {f"CALLBOARD_{name.upper()}": value for name, value in settings.items()}
        started.append(Process(arguments, environment | named, folder))
        return started[-1]

    yield run
    for process in started:
        process.close()


@pytest.fixture
def external(redis_url: str, redis_prefix: str) -> dict[str, str]:
    """Settings of the tests' servers, all but the database."""
    return {"redis_url": redis_url, "redis_prefix": redis_prefix, "secret": SECRET}


@pytest.fixture
def run(run_bare: Run, external: dict[str, str], database_url: str) -> Run:
    """Starts commands on the tests' servers and a migrated database."""

    def start(*arguments: str, **settings: str) -> Process:
        return run_bare(*arguments, **(external | {"database_url": database_url} | settings))

    return start


class Call(Protocol):
    """`call("token", secret=...)` runs a command in this process: its exit code, standard output and standard error."""

    def __call__(self, *arguments: str, **settings: str) -> tuple[int, str, str]: ...


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Runs short commands without the cost of a process, with no setting but those given."""

    def run_here(*arguments: str, **settings: str) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("CALLBOARD_")]:
                patch.delenv(name)
            for name, value in settings.items():
                patch.setenv(f"CALLBOARD_{name.upper()}", value)
            patch.chdir(tmp_path)
            code = cli.run(arguments)
        return code, *capsys.readouterr()

    return run_here


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Any]:
    """A connection to the test's migrated database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def done(process: Process) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command that ends by itself."""
    code = await process.ended()
    return code, process.out, process.err
