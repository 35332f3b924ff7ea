"""Callboard as a real process: started with settings of the test's own, and ended at its end."""

import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest
import structlog

from server.cli import commands as cli
from tests.conftest import SECRET
from tests.process import Process

ROOT = Path(__file__).parent.parent.parent


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
def logs_as_before() -> Iterator[None]:
    """What a command sets for its own process is taken back: later tests would log into the output of this one."""
    root, raising = logging.getLogger(), logging.raiseExceptions
    before, level = root.handlers[:], root.level
    levels = {
        name: logger.level
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    root.handlers[:] = []
    yield
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    root.handlers[:] = before
    root.setLevel(level)
    logging.raiseExceptions = raising
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger):
            logger.setLevel(levels.get(name, logging.NOTSET))
    structlog.reset_defaults()


@pytest.fixture
def call(
    logs_as_before: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Call:
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
