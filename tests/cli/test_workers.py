"""`serve --workers`: nodes on one port, started again when they die, gone when their parent is."""

import asyncio
import errno
import multiprocessing
import signal
import socket
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.metrics import LOOP_LAG
from server.process.supervisor import REUSE_PORT, Port, Workers
from server.settings import Settings
from server.worker_metrics import Siblings, exposition, merged
from tests.cli.conftest import Run, done
from tests.process import Process
from tests.waiting import PATIENCE, until


async def nodes(database: Any) -> int:
    alive: int = await database.fetchval("SELECT count(*) FROM nodes WHERE expires_at > clock_timestamp()")
    return alive


async def is_up(url: str) -> bool:
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        return (await client.get(f"{url}/health/ready")).status_code == 200


async def pids(process: Process, count: int) -> set[int]:
    await until(lambda: len(process.workers) == count)
    return {worker.pid for worker in process.workers}


async def test_each_worker_is_a_node_and_all_end_together(run: Run, database: Any) -> None:
    process = run("serve", "--port", "0", "--workers", "2")
    url = await process.ready()
    assert await is_up(url)
    assert await nodes(database) == 2
    workers = await pids(process, 2)
    assert await process.end() == 0
    assert not any(psutil.pid_exists(pid) for pid in workers)
    assert await nodes(database) == 0


async def test_a_worker_that_dies_is_started_again(run: Run, database: Any) -> None:
    process = run("serve", "--port", "0", "--workers", "2", log_format="json")
    url = await process.ready()
    before = await pids(process, 2)
    psutil.Process(min(before)).kill()
    await until(lambda: '"worker_died"' in process.out)
    assert await is_up(url)
    await until(lambda: len({worker.pid for worker in process.workers} - before) == 1)
    await until(lambda: process.out.count('"node_started"') == 3)
    assert await process.end(signal.SIGINT) == 0


async def test_workers_end_when_their_parent_is_gone(run: Run) -> None:
    process = run("serve", "--port", "0", "--workers", "2")
    await process.ready()
    workers = await pids(process, 2)
    process.kill(signal.SIGKILL)
    await until(lambda: not any(psutil.pid_exists(pid) for pid in workers))


async def test_a_worker_that_cannot_start_ends_it_all(run: Run, database: Any) -> None:
    await database.execute("ALTER TABLE policy RENAME TO hidden")
    await database.execute("CREATE TABLE policy (version int)")
    code, _, err = await done(run("serve", "--port", "0", "--workers", "2"))
    assert code == 1
    assert err.splitlines()[-1] == "callboard: a worker could not start; see the log"


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
        await asyncio.wait_for(ready.wait(), PATIENCE)
        assert all(await asyncio.gather(*(is_up(f"http://127.0.0.1:{port.number}") for _ in range(8))))
    finally:
        workers.stop()
        await running


Samples = dict[tuple[str, str | None], float]
"""By name and worker, without those that have other labels too."""


async def scraped(url: str) -> Samples:
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        text = (await client.get(f"{url}/metrics")).text
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    return {
        (sample.name, sample.labels.get("worker")): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.keys() <= {"worker"}
    }


async def test_any_worker_tells_what_all_of_them_count(run: Run) -> None:
    process = run("serve", "--port", "0", "--workers", "2")
    url = await process.ready()
    before = await pids(process, 2)

    def dispatching(samples: Samples) -> float:
        return sum(samples["callboard_dispatcher_lease_held", worker] for worker in "01")

    async def all_answered() -> bool:
        samples = await scraped(url)
        return samples["callboard_workers_counted", None] == 2 and dispatching(samples) == 1

    await until(all_answered)
    for samples in await asyncio.gather(*(scraped(url) for _ in range(8))):  # the kernel spreads them over both
        assert samples["callboard_workers", None] == 2
        assert dispatching(samples) == 1
        assert {samples["callboard_redis_connected", worker] for worker in "01"} == {1}
        assert ("callboard_redis_connected", None) not in samples
    psutil.Process(min(before)).kill()
    await until(lambda: len({worker.pid for worker in process.workers} - before) == 1)
    await until(all_answered)
    assert await process.end() == 0


async def test_a_worker_that_does_not_answer_holds_nobody_up(tmp_path: Path) -> None:
    first, second = (Siblings(str(tmp_path), number, 3) for number in range(2))
    LOOP_LAG.set(0.0)
    async with first.telling(), second.telling():
        text = (await exposition(first)).decode()
    assert "\ncallboard_workers 3\n" in text
    assert "\ncallboard_workers_counted 2\n" in text
    assert 'callboard_loop_lag_seconds{worker="1"}' in text


def test_one_heading_for_the_samples_of_all() -> None:
    def of(value: int) -> bytes:
        return f"""# HELP a About a.
# TYPE a counter
a{{kind="x{{y}} z"}} {value}
# HELP b About b.
# TYPE b gauge
b {value}
""".encode()

    assert (
        merged({0: of(1), 2: of(3) + b"# HELP c About c.\n# TYPE c gauge\nc 5\n"}).decode()
        == """# HELP a About a.
# TYPE a counter
a{worker="0",kind="x{y} z"} 1
a{worker="2",kind="x{y} z"} 3
# HELP b About b.
# TYPE b gauge
b{worker="0"} 1
b{worker="2"} 3
# HELP c About c.
# TYPE c gauge
c{worker="2"} 5
"""
    )


def open_files() -> set[Path]:
    return set(Path("/dev/fd").iterdir())


async def test_a_worker_that_cannot_be_started_again_is_tried_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that died: the others go on."""

    def refuses(_: object) -> None:
        raise OSError(errno.EAGAIN, "no more processes")

    port = Port("127.0.0.1", 0)
    workers = Workers(settings, port, 1)
    monkeypatch.setattr(multiprocessing.get_context("spawn").Process, "start", refuses)
    before = open_files()
    assert await workers._run_once(0) is None
    assert open_files() <= before
    port.close()
