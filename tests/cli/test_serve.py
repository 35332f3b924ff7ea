"""`callboard serve` on servers that run already: start, signals, logs, the first admin."""

import asyncio
import json
import signal
import socket
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from argon2 import PasswordHasher

from tests.cli.conftest import Run, done
from tests.process import Process
from tests.waiting import PATIENCE


def first_password(process: Process) -> str | None:
    """The password of the first admin, if this process printed one."""
    _, found, rest = process.err.partition("with the password ")
    return rest.split()[0] if found else None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_it_gets_a_signal(run: Run, number: int) -> None:
    process = run("serve", "--port", "0")
    url = await process.ready()
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        assert (await client.get(f"{url}/health/live")).status_code == 200
        ready = await client.get(f"{url}/health/ready")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ok"
    assert await process.end(number) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("abstract", [False, True])
async def test_systemd_learns_when_it_is_ready(
    run: Run, environment: dict[str, str], tmp_path: Path, workers: str, abstract: bool
) -> None:
    """With `Type=notify`, `systemctl start` returns when the node answers."""
    name = f"@callboard-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name.replace("@", "\0"))
        systemd.setblocking(False)
        environment["NOTIFY_SOCKET"] = name
        process = run("serve", "--port", "0", "--workers", workers)
        await asyncio.wait_for(asyncio.get_running_loop().sock_recv(systemd, 100), PATIENCE)
        url = await process.ready()
        async with httpx2.AsyncClient(timeout=PATIENCE) as client:
            assert (await client.get(f"{url}/health/ready")).status_code == 200
    assert await process.end() == 0


async def test_a_systemd_that_does_not_listen_is_named(run: Run, environment: dict[str, str], tmp_path: Path) -> None:
    environment["NOTIFY_SOCKET"] = str(tmp_path / "nobody")
    process = run("serve", "--port", "0")
    await process.ready()
    assert "systemd could not be notified: No such file or directory" in process.err
    assert await process.end() == 0


async def test_an_impatient_second_signal_changes_nothing(run: Run) -> None:
    process = run("serve", "--port", "0")
    await process.ready()
    process.kill(signal.SIGINT)
    assert await process.end(signal.SIGTERM) == 0


async def test_a_signal_during_the_start_ends_it_too(run: Run) -> None:
    process = run("serve", "--port", "0")
    assert await process.end() in (0, -signal.SIGTERM)


async def test_as_json_every_line_of_the_log_is_an_object_and_nothing_else_is_there(
    run_bare: Run, external: dict[str, str], empty_database_url: str
) -> None:
    process = run_bare("serve", "--port", "0", **external, database_url=empty_database_url, log_format="json")
    url = await process.ready()
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        await client.get(f"{url}/nowhere")
    assert await process.end() == 0
    lines = [json.loads(line) for line in process.out.splitlines()]
    assert "node_started" in [line["event"] for line in lines]
    for line in lines:
        assert {"timestamp", "level", "event"} <= line.keys()
        assert line["level"] in ("info", "warning"), line


async def test_the_first_of_many_makes_the_admin_and_only_it_says_so(
    run_bare: Run, external: dict[str, str], empty_database_url: str
) -> None:
    processes = [run_bare("serve", "--port", "0", **external, database_url=empty_database_url) for _ in range(3)]
    await asyncio.gather(*(process.ready() for process in processes))
    passwords = [password for password in map(first_password, processes) if password is not None]
    assert len(passwords) == 1
    connection = await asyncpg.connect(empty_database_url)
    rows = await connection.fetch("SELECT name, role, password_hash FROM users")
    await connection.close()
    assert [(row["name"], row["role"]) for row in rows] == [("admin", "admin")]
    assert PasswordHasher().verify(rows[0]["password_hash"], passwords[0])
    assert await asyncio.gather(*(process.end() for process in processes)) == [0, 0, 0]
    assert all(passwords[0] not in process.out for process in processes)

    later = run_bare("serve", "--port", "0", **external, database_url=empty_database_url)
    await later.ready()
    assert first_password(later) is None


async def test_nobody_is_made_where_there_are_people(run: Run, database: Any) -> None:
    assert (await done(run("user", "add", "alice", "--role", "viewer")))[0] == 0
    process = run("serve", "--port", "0")
    await process.ready()
    assert first_password(process) is None
    assert await database.fetchval("SELECT count(*) FROM users") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_port_in_use_is_said_before_anything_starts(run: Run, workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, out, err = await done(run("serve", "--port", port, "--workers", workers))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"port {port}" in err
    assert "in use" in err


async def test_a_database_out_of_reach_ends_it(run: Run) -> None:
    code, out, err = await done(run("serve", "--port", "0", database_url="postgresql://u:hunter2@127.0.0.1:1/x"))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "cannot reach PostgreSQL" in err
    assert "hunter2" not in err


async def test_without_redis_it_serves_all_the_same(run: Run) -> None:
    process = run("serve", "--port", "0", redis_url="redis://127.0.0.1:1/0")
    url = await process.ready()
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        ready = await client.get(f"{url}/health/ready")
    assert ready.status_code == 200
    assert ready.json()["status"] == "degraded"
    assert await process.end() == 0
