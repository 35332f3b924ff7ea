"""PostgreSQL and Valkey under the data folder: started, shared, taken over, stopped."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis

from server.embedded.programs import EmbeddedError
from server.embedded.servers import SOCKET_PATH_BYTES, Embedded
from tests.cli.conftest import Run, done
from tests.conftest import run_apart, short_folder
from tests.waiting import PATIENCE, until


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder with a short path, whose servers are gone afterwards."""
    with short_folder() as folder:
        data = folder / "data"
        yield data
        if data.exists():
            with Embedded(data, durable=False):
                pass


def servers_of(data: Path) -> list[int]:
    """The process ids of PostgreSQL's and Valkey's own main processes that use this folder. A child of PostgreSQL looks
    like its parent until it has a title.
    """
    parents = {
        process.pid: process.info["ppid"]
        for process in psutil.process_iter(["name", "cmdline", "ppid"])
        if process.info["name"] in ("postgres", "valkey-server")
        and str(data) in " ".join(process.info["cmdline"] or ())
    }
    return [pid for pid, parent in parents.items() if parent not in parents]


def answer(embedded: Embedded) -> int:
    """What PostgreSQL says to a simple question."""

    async def ask() -> int:
        connection = await asyncpg.connect(embedded.database_url)
        try:
            result: int = await connection.fetchval("SELECT 6 * 7")
            return result
        finally:
            await connection.close()

    found: int = run_apart(ask)
    return found


def test_both_answer_and_both_end(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where variables for other databases are set."""
    for name, value in (("PGPORT", "1"), ("PGSSLMODE", "verify-full"), ("PGHOST", "nowhere"), ("PGDATA", "/nowhere")):
        monkeypatch.setenv(name, value)
    with Embedded(data, durable=False) as embedded:
        assert answer(embedded) == 42
        with redis.Redis.from_url(embedded.redis_url) as client:
            assert client.ping()
        assert len(servers_of(data)) == 2
        mode = (data / "postgres").stat().st_mode
        assert mode & 0o077 == 0
    assert servers_of(data) == []


def test_a_user_without_a_name_learns_what_to_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with any user id: PostgreSQL asks for the name."""
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    with pytest.raises(EmbeddedError, match="nobody in /etc/passwd has the id 54321: add a user with it, or set CALLB"):
        Embedded(data)


def test_the_last_to_leave_stops_them(data: Path) -> None:
    first, second = Embedded(data, durable=False), Embedded(data, durable=False)
    first.start()
    second.start()
    first.stop()
    assert answer(second) == 42
    second.stop()
    for child in first._children.values():
        child.wait(timeout=PATIENCE)  # both are in this process here, and only the first is their parent
    assert servers_of(data) == []


def test_stopping_twice_is_harmless(data: Path) -> None:
    embedded = Embedded(data, durable=False)
    embedded.stop()
    embedded.start()
    embedded.stop()
    embedded.stop()


def test_an_incomplete_cluster_is_created_again(data: Path) -> None:
    (data / "postgres.new").mkdir(parents=True)
    (data / "postgres.new" / "junk").write_text("from a start that was cut off")
    with Embedded(data, durable=False) as embedded:
        assert answer(embedded) == 42
    assert not (data / "postgres.new").exists()


def test_a_cluster_of_another_version_is_left_alone(data: Path) -> None:
    with Embedded(data, durable=False):
        pass
    version = data / "postgres" / "PG_VERSION"
    true = version.read_text()
    version.write_text("11\n")
    with pytest.raises(EmbeddedError, match=r"was created by PostgreSQL 11"):
        Embedded(data, durable=False).start()
    version.write_text(true)


def test_a_folder_with_a_long_path_has_its_sockets_elsewhere() -> None:
    with short_folder() as folder:
        data = folder / ("long" * 30)
        with Embedded(data, durable=False) as embedded:
            assert len(embedded.redis_url) < SOCKET_PATH_BYTES + 10
            assert answer(embedded) == 42
        shutil.rmtree(embedded._postgres_socket.parent, ignore_errors=True)


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match="cannot use the data folder") as found:
        Embedded(tmp_path / "file" / "data").start()
    assert found.value.code == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder somebody else's")
def test_a_folder_of_somebody_elses_is_refused(data: Path) -> None:
    data.mkdir()
    (data / "valkey").mkdir()
    os.chown(data / "valkey", 12345, 12345)
    with pytest.raises(EmbeddedError, match="belongs to another user"):
        Embedded(data, durable=False).start()
    assert servers_of(data) == []
    (data / "valkey").rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user for the servers")
def test_root_opens_the_data_folder_and_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data.mkdir(mode=0o700)
    with Embedded(data, durable=False) as embedded:
        assert answer(embedded) == 42
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if f"may now pass through {data} (undo: chmod o-x" in line] == lines != []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user for the servers")
def test_root_opens_a_folder_around_the_data_folder_for_passing_only_and_says_so(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.parent.chmod(0o700)
    with Embedded(data, durable=False) as embedded:
        assert answer(embedded) == 42
    assert data.parent.stat().st_mode & 0o777 == 0o701
    assert f"may now pass through {data.parent} (undo:" in capsys.readouterr().err


async def test_serve_without_urls_runs_them_and_stops_them(run_bare: Run, data: Path) -> None:
    process = run_bare("serve", "--port", "0", data=str(data))
    await process.ready()
    assert len(servers_of(data)) == 2
    assert await process.end() == 0
    assert servers_of(data) == []


async def test_after_a_kill_they_end_with_their_last_user(run_bare: Run, data: Path) -> None:
    process = run_bare("serve", "--port", "0", data=str(data))
    await process.ready()
    running = servers_of(data)
    another = Embedded(data)
    await asyncio.to_thread(another.start)
    process.kill(signal.SIGKILL)
    await until(lambda: process.code is not None)
    assert await asyncio.to_thread(answer, another) == 42
    assert servers_of(data) == running
    assert another._use is not None
    another._use.close()  # as the system does for a process that is killed
    another._use = None
    await until(lambda: servers_of(data) == [])

    later = run_bare("serve", "--port", "0", data=str(data))
    await later.ready()
    assert await later.end() == 0
    assert servers_of(data) == []


KILLED_AFTER_POSTGRES = """
import os, signal, sys
from pathlib import Path
from server.embedded.servers import Embedded
Embedded._start_valkey = lambda self: os.kill(os.getpid(), signal.SIGKILL)
Embedded(Path(sys.argv[1]), durable=False).start()
"""


async def test_a_start_that_is_killed_leaves_no_server(data: Path) -> None:
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED_AFTER_POSTGRES, str(data)])
    assert killed.returncode == -signal.SIGKILL
    assert "ready to accept connections" in (data / "postgres.log").read_text()
    await until(lambda: servers_of(data) == [])


def test_a_start_after_a_power_cut_works(data: Path) -> None:
    """The files with the server's process id may be empty, or name a process that is somebody else's by now."""
    with Embedded(data, durable=False):
        pass
    stranger = subprocess.Popen(["sleep", "600"], **Embedded(data)._account.as_this_user())
    try:
        for said in (f"{stranger.pid}\n{data}/postgres\n", "", "4194999\n"):
            for left in (data / "postgres" / "postmaster.pid", data / "postgres" / ".s.PGSQL.5432.lock"):
                left.write_text(said)
                os.chown(left, *owner_of(data / "postgres"))
            with Embedded(data, durable=False) as embedded:
                assert answer(embedded) == 42
    finally:
        stranger.kill()
        stranger.wait()


def test_a_damaged_folder_is_named(data: Path) -> None:
    (data / "postgres" / "base").mkdir(parents=True)
    with pytest.raises(EmbeddedError, match=r"postgres is damaged, it has no PG_VERSION: restore a backup"):
        Embedded(data, durable=False).start()
    shutil.rmtree(data / "postgres")


def test_why_it_does_not_start_is_of_this_start(data: Path) -> None:
    """Not an error of an earlier run, which is in the same log."""
    with Embedded(data, durable=False):
        pass
    with (data / "postgres.log").open("a") as log:
        log.write('ERROR:  database "callboard" already exists\n')
    shutil.rmtree(data / "postgres" / "global")
    with pytest.raises(EmbeddedError, match=r"ended at start: postgres: could not find .*global/pg_control"):
        Embedded(data, durable=False).start()
    shutil.rmtree(data / "postgres")


def owner_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


async def test_commands_share_them_with_a_server_that_runs(run_bare: Run, data: Path) -> None:
    process = run_bare("serve", "--port", "0", data=str(data))
    await process.ready()
    before = servers_of(data)
    code, out, _ = await done(run_bare("user", "add", "alice", "--role", "ops", data=str(data)))
    assert (code, out.count("\n")) == (0, 1)
    assert servers_of(data) == before
    assert await process.end(signal.SIGINT) == 0
    assert await asyncio.to_thread(servers_of, data) == []
