"""`serve --workers`: nodes on one port, started again when they die, gone when their parent is."""

import asyncio
import signal
import socket
import time
from typing import Any

import httpx2
import psutil
import pytest

from server.settings import Settings
from server.workers import REUSE_PORT, Port, Workers
from tests.cli.conftest import Process, Run, done
from tests.waiting import until


async def nodes(database: Any) -> int:
    alive: int = await database.fetchval("SELECT count(*) FROM nodes WHERE expires_at > clock_timestamp()")
    return alive


async def is_up(url: str) -> bool:
    async with httpx2.AsyncClient() as client:
        return (await client.get(f"{url}/health/ready")).status_code == 200


async def pids(process: Process, count: int) -> set[int]:
    await until(lambda: len(process.workers) == count, within=20)
    return {worker.pid for worker in process.workers}


async def test_each_worker_is_a_node_and_all_end_together(run: Run, database: Any) -> None:
    process = run("serve", "--port", "0", "--workers", "2")
    url = await process.ready()
    assert await is_up(url)
    assert await nodes(database) == 2
    workers = await pids(process, 2)
    began = time.monotonic()
    assert await process.end() == 0
    assert time.monotonic() - began < 10
    assert not any(psutil.pid_exists(pid) for pid in workers)
    assert await nodes(database) == 0


async def test_a_worker_that_dies_is_started_again(run: Run, database: Any) -> None:
    process = run("serve", "--port", "0", "--workers", "2", log_format="json")
    url = await process.ready()
    before = await pids(process, 2)
    psutil.Process(min(before)).kill()
    await until(lambda: '"worker_died"' in process.out, within=10)
    assert await is_up(url)
    await until(lambda: len({worker.pid for worker in process.workers} - before) == 1, within=10)
    await until(lambda: process.out.count('"node_started"') == 3, within=20)
    assert await process.end(signal.SIGINT) == 0


async def test_workers_end_when_their_parent_is_gone(run: Run) -> None:
    process = run("serve", "--port", "0", "--workers", "2")
    await process.ready()
    workers = await pids(process, 2)
    process.kill(signal.SIGKILL)
    await until(lambda: not any(psutil.pid_exists(pid) for pid in workers), within=15)


async def test_a_worker_that_cannot_start_ends_it_all(run: Run, database: Any) -> None:
    await database.execute("ALTER TABLE policy RENAME TO hidden")
    await database.execute("CREATE TABLE policy (version int)")
    code, _, err = await done(run("serve", "--port", "0", "--workers", "2"))
    assert code == 1
    assert err.splitlines()[-1] == "callboard: a worker could not start: the log says why"


@pytest.mark.parametrize("reuse", [REUSE_PORT, False])
def test_a_port_is_handed_to_workers(reuse: bool) -> None:
    port = Port("127.0.0.1", 0, reuse=reuse)
    try:
        given = [port.for_worker() for _ in range(2)]
        if reuse:
            assert given == [("127.0.0.1", port.number)] * 2
        else:
            assert isinstance(given[0], socket.socket)
            assert given[0] is given[1]
    finally:
        port.close()


def test_a_shared_port_is_not_shared_with_strangers() -> None:
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        with pytest.raises(OSError, match="in use"):
            Port("127.0.0.1", stranger.getsockname()[1])


async def test_where_ports_do_not_balance_workers_share_a_socket(settings: Settings) -> None:
    ready = asyncio.Event()
    port = Port("127.0.0.1", 0, reuse=False)
    workers = Workers(settings, port, 2, ready.set)
    running = asyncio.create_task(workers.run())
    try:
        await asyncio.wait_for(ready.wait(), 30)
        assert all(await asyncio.gather(*(is_up(f"http://127.0.0.1:{port.number}") for _ in range(8))))
    finally:
        workers.stop()
        await running
