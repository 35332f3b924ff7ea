"""A stage of real processes: a fault breaks what it says while it lasts, and nothing when it ends.

`make torture` does the rest; here stand those of each kind whose effect can be seen from outside at once.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import pytest_asyncio

from server.ids import new_id
from tests.conftest import short_folder
from tests.driver_app import driver_app, token
from tests.torture.faults import FAULTS, storm
from tests.torture.stage import Stage, Taken
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERE = {"lat": 19.43, "lon": -99.13}


class Patient(random.Random):
    """Everything lasts until the test has seen enough."""

    def uniform(self, a: float, b: float) -> float:
        return 600.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    with short_folder() as folder:
        async with Stage(2, folder / "stage", durable=False) as stage:
            yield stage
        left = [path for path in (folder / "stage").rglob("*") if "PG_VERSION" in path.name]
        assert not left
        assert not any(psutil.pid_exists(node.pid) for node in stage.nodes)
        assert not stage.complaints


@asynccontextmanager
async def broken(stage: Stage, name: str) -> AsyncIterator["asyncio.Task[None]"]:
    """The fault lasts meanwhile, is healed by being cancelled, and an order then goes all the way."""
    task = asyncio.create_task(FAULTS[name].run(stage, Patient(1)))
    try:
        yield task
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait([task])
    with pytest.raises(asyncio.CancelledError):
        task.result()
    await stage.until_ready()
    await an_order_goes_all_the_way(stage)


async def post(stage: Stage, index: int, path: str, role: str, **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {token(role, 'test', secret=stage.secret)}"}
    async with httpx2.AsyncClient(base_url=stage.urls[index], timeout=PATIENCE) as client:
        answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def an_order_goes_all_the_way(stage: Stage) -> None:
    """Posted to one node, offered and accepted over a socket of the other."""
    zone = new_id()
    dan = (await post(stage, 0, "/drivers", "service", name="Dan", zone=zone))["id"]
    bearer = token("driver", dan, secret=stage.secret)
    async with driver_app(stage.urls[1].replace("http", "ws"), dan, bearer=bearer) as app:
        await app.hear("hello")
        app.send("location", **HERE)
        order = {"sellerOrderId": zone, "storeName": "Corner", "pickup": HERE, "dropoff": HERE, "zone": zone}
        await post(stage, 0, "/deliveries", "service", **order)
        offer = await app.hear("offer")
        assert (await app.ask("accept", offerId=offer["offer"]["id"]))["type"] == "ack"


def one_is(stage: Stage, state: str) -> Callable[[], Awaitable[bool]]:
    """Whether a node says so of itself."""

    async def look() -> bool:
        return state in await states(stage)

    return look


async def all_are(stage: Stage, wanted: set[str]) -> bool:
    """Whether nodes say these things of themselves, and no other."""
    return await states(stage) == wanted


async def states(stage: Stage) -> set[str]:
    return set(await asyncio.gather(*map(stage.health, stage.nodes)))


async def the_holder(stage: Stage) -> int:
    """Who dispatches. After a pause of the machine that may be nobody for a moment."""

    async def one() -> tuple[int, ...]:
        index = await stage.holder()
        return () if index is None else (index,)

    return (await until(one))[0]


async def test_a_stage_starts_with_all_well_and_one_dispatcher(stage: Stage) -> None:
    assert await the_holder(stage) in (0, 1)
    assert len({node.node_id for node in stage.nodes} - {None}) == 2
    await an_order_goes_all_the_way(stage)


async def test_a_killed_holder_is_gone_and_replaced(stage: Stage) -> None:
    holder = await the_holder(stage)
    before = stage.nodes[holder].pid
    async with broken(stage, "holder-killed"):
        await until(lambda: not psutil.pid_exists(before))
        await until(holds(stage, 1 - holder))
    assert stage.nodes[holder].pid != before


def holds(stage: Stage, index: int) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return await stage.holder() == index

    return look


async def test_a_stopped_node_answers_nothing_and_its_lease_moves(stage: Stage) -> None:
    holder = await the_holder(stage)
    async with broken(stage, "holder-stopped-long"):
        node = psutil.Process(stage.nodes[holder].pid)
        await until(lambda: node.status() == psutil.STATUS_STOPPED)
        await until(holds(stage, 1 - holder))


async def test_without_postgres_nodes_say_that_they_are_down(stage: Stage) -> None:
    async with broken(stage, "postgres-crashed"):
        await until(one_is(stage, "down"))
        await until(lambda: not stage.servers.postgres_runs)


async def test_postgres_is_there_again_when_the_storm_ends_while_it_stops(stage: Stage) -> None:
    stopped = stage.servers.postgres_pid
    fault = asyncio.create_task(FAULTS["postgres-restarted"].run(stage, Patient(1)))
    await until(lambda: stage.postgres.claimed)
    fault.cancel()
    await asyncio.wait([fault])
    assert stage.servers.postgres_pid != stopped
    await stage.until_ready()
    await an_order_goes_all_the_way(stage)


async def test_a_node_is_well_again_when_the_storm_ends_while_it_starts(stage: Stage) -> None:
    node = stage.nodes[0]
    stage.kill_node(node)
    start = asyncio.create_task(stage.start_node(0))
    await until(lambda: node.alive)
    start.cancel()
    await asyncio.wait([start])
    await stage.until_ready()
    await an_order_goes_all_the_way(stage)


async def test_what_a_node_logged_that_nobody_foresaw_is_shown_once(tmp_path: Path) -> None:
    lost = {"event": "redis_lost", "reason": "ConnectionError()"}
    died = {
        "event": "task_died",
        "task": "driver_index",
        "exception": "Traceback …\n  File …\nRuntimeError: it is closed",
    }
    for folder, lines in {"node0-1": [lost, died], "node1-1": [died], "node1-2": [lost]}.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "out").write_text("\n".join(json.dumps(line, separators=(",", ":")) for line in lines))
    assert Stage(2, tmp_path).unforeseen() == ["task_died: node0-1 logged RuntimeError: it is closed"]


async def test_a_crowd_leaves_no_connection(stage: Stage) -> None:
    async with broken(stage, "postgres-crowded"):
        await until(one_is(stage, "down"))


async def test_without_redis_nodes_are_degraded(stage: Stage) -> None:
    async with broken(stage, "redis-killed"):
        await until(one_is(stage, "degraded"))
        assert not stage.servers.redis_runs


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("database-held", "down"),
        ("database-refused", "down"),
        ("redis-lost", "degraded"),
        ("client-refused", "gone"),
        ("node-cut-off", "gone"),
    ],
)
async def test_a_broken_way_is_felt_by_one_node(stage: Stage, name: str, state: str) -> None:
    async with broken(stage, name):
        await until(lambda: all_are(stage, {state, "ok"}))


async def test_answers_to_commits_are_cut_and_what_was_committed_is_known(stage: Stage) -> None:
    async with broken(stage, "commit-answers-cut"):

        async def cut() -> int:
            await asyncio.gather(*(post(stage, i, "/drivers", "service", name="Eve", zone=new_id()) for i in (0, 1)))
            return sum([(await node.to_database.proxy.seen()).commits_cut for node in stage.nodes])

        await until(cut)


@pytest.mark.skipif(bool(FAULTS["clock-ahead"].impossible), reason=FAULTS["clock-ahead"].impossible)
async def test_a_node_whose_clock_is_off_works_as_ever(stage: Stage) -> None:
    async with broken(stage, "clock-ahead"):
        await until(lambda: one_says_another_time(stage))
        await stage.until_ready()
        await an_order_goes_all_the_way(stage)


async def one_says_another_time(stage: Stage) -> bool:
    """Whether the date on some node's answers is off by about as much as `Patient` draws."""
    async with httpx2.AsyncClient() as client:
        for url in stage.urls:
            with suppress(httpx2.HTTPError):
                date = parsedate_to_datetime((await client.get(f"{url}/health/live")).headers["date"])
                if abs(date.timestamp() - time.time()) > 50:
                    return True
    return False


async def test_a_fault_takes_nothing_that_another_plays_with(stage: Stage) -> None:
    with stage.postgres.claim(), stage.nodes[0].claim(), stage.nodes[1].claim():
        for name in ("postgres-crashed", "node-killed", "holder-stopped-long"):
            with pytest.raises(Taken):
                await FAULTS[name].run(stage, random.Random(1))
    assert all(node.alive for node in stage.nodes)


async def test_a_storm_is_over_when_it_is_over(stage: Stage) -> None:
    names = ["client-reset", "redis-flushed", "postgres-some-terminated", "database-slow"]
    began = asyncio.get_running_loop().time()
    found = await storm(stage, random.Random(7), names, began + 10.0)
    assert {one.name for one in found} <= set(names)
    assert len(found) >= 2
    assert all(one.began <= one.healed for one in found)
    assert all([await stage.health(node) == "ok" for node in stage.nodes])
    assert not any(thing.claimed for node in stage.nodes for thing in (node, node.to_database, node.front))
