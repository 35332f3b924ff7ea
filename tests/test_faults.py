"""What fails, and what still works: Redis gone and back, PostgreSQL restarted, a node killed."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from server import current_policy
from server.contract.commit import Answer
from server.dispatch.commands import Pause
from server.dispatch.model import Actor
from server.embedded.servers import Embedded
from server.process import uvicorn_server
from server.settings import Settings
from server.store.company import SetValue
from server.store.migrate import migrate
from tests.conftest import SECRET, Node, StartNode, run_apart, running_node, short_folder
from tests.driver_app import driver_app, token
from tests.own_servers import OwnServers
from tests.sockets.test_live_sockets import a_driver, an_order, call, ready, until_driver
from tests.waiting import PATIENCE, until


@pytest.fixture
def own_servers() -> Iterator[OwnServers]:
    with short_folder() as folder, Embedded(folder, durable=False) as embedded:
        run_apart(lambda: migrate(embedded.database_url))
        yield OwnServers(embedded)


@pytest.fixture
async def own_node(own_servers: OwnServers, tmp_path: Path) -> AsyncIterator[StartNode]:
    settings = Settings(
        database_url=own_servers.embedded.database_url,
        redis_url=own_servers.embedded.redis_url,
        secret=SECRET,
        data=tmp_path,
        log_level="error",
    )
    async with AsyncExitStack() as running:

        async def start(**changes: Any) -> Node:
            return await running.enter_async_context(running_node(settings.with_changes(**changes)))

        yield start


async def one_cycle(poster: Node, app: Any, **order: Any) -> None:
    heard = len(app.heard)
    delivery_id = await an_order(poster, **order)
    offer = await app.hear(lambda m: m["type"] == "offer" and m["offer"]["deliveryId"] == delivery_id)
    answer = await app.ask("accept", offerId=offer["offer"]["id"])
    assert answer["type"] == "ack", app.heard[heard:]
    assert (await app.ask("completed", assignmentId=answer["result"]["assignment"]["id"]))["type"] == "ack"


async def health(node: Node) -> Any:
    async with httpx2.AsyncClient(base_url=node.url, timeout=PATIENCE) as client:
        answer = await client.get("/health/ready")
        return answer.status_code, answer.json()


async def test_without_redis_everything_still_works_and_back_again_it_is_refilled(
    own_servers: OwnServers, own_node: StartNode
) -> None:
    first, second = await own_node(), await own_node()
    dan = await a_driver(first)
    async with driver_app(second.ws_url, dan) as app:
        await ready(app)
        await one_cycle(first, app)
        own_servers.kill_redis()
        await until(lambda: not first.app.state.node.bus.connected and not second.app.state.node.bus.connected)
        for poster in (first, second):
            await one_cycle(poster, app)
        status, body = await health(first)
        assert (status, body["status"]) == (200, "degraded")
        await call(first, "POST", f"/drivers/{dan}/availability/pause", "driver", dan)
        await app.hear(lambda m: m["type"] == "availability" and m["availability"] == "paused")
        await app.ask("resume")

        await own_servers.start_redis()
        await until(lambda: first.app.state.node.bus.connected and second.app.state.node.bus.connected)
        bus = first.app.state.node.bus

        async def is_refilled() -> bool:
            async with Redis.from_url(own_servers.embedded.redis_url) as redis:
                shown = await redis.zscore(bus.geo_key("default"), dan)
                status = await redis.hget(bus.status_key, dan)
            return shown is not None and status == b"available"

        await until(is_refilled)
        await one_cycle(first, app)
        assert (await health(first))[1]["status"] == "ok"

        # For a moment it takes no writes: longer than a write waits, and not long enough to count as gone. What the
        # node without the lease wanted to write is lost.
        async with Redis.from_url(own_servers.embedded.redis_url) as redis:
            other = (second if first.app.state.node.lease.held else first).app.state.node
            await redis.execute_command("CLIENT", "PAUSE", "1800", "WRITE")  # type: ignore[no-untyped-call]
            assert isinstance(await other.executor.submit(Pause(dan, Actor("driver", dan))), Answer)

            async def is_repaired() -> bool:
                return bool(await redis.hget(bus.status_key, dan) == b"paused")

            await until(is_repaired)
        await app.ask("resume")

        # Reachable, but it refuses what is written: the same as gone.
        async with Redis.from_url(own_servers.embedded.redis_url) as redis:
            await redis.execute_command("REPLICAOF", "127.0.0.1", "1")  # type: ignore[no-untyped-call]
            await until(lambda: not bus.connected and not second.app.state.node.bus.connected)
            assert (await health(first))[1]["status"] == "degraded"
            await one_cycle(second, app)
            await redis.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]
        await until(lambda: bus.connected and second.app.state.node.bus.connected)
        await until(is_refilled)


async def test_while_postgres_restarts_sockets_stay_and_loops_resume(
    own_servers: OwnServers, own_node: StartNode
) -> None:
    here = await own_node()
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan) as app:
        await ready(app)
        await one_cycle(here, app)
        await own_servers.stop_postgres()
        asked = asyncio.create_task(app.ask("resume"))
        await own_servers.start_postgres()
        answer = await asked
        assert answer["type"] == "ack" or answer["code"] == "try_again"
        await one_cycle(here, app)
        assert app.closed is None
        await until_health(here, "ok")


async def until_health(node: Node, status: str) -> None:
    async def look() -> bool:
        return bool((await health(node))[1]["status"] == status)

    await until(look)


async def test_the_sockets_of_a_dead_node_count_as_lost_at_its_expiry(node: StartNode) -> None:
    first, second = await node(), await node()
    dan = await a_driver(first)
    async with driver_app(first.ws_url, dan) as app:
        await ready(app)
        dead = first.app.state.node
        for task in dead._tasks:
            if task.get_name() == "heartbeat":
                task.cancel()
        holder = dead if dead.lease.held else second.app.state.node
        await holder.database.pool.execute(
            "UPDATE nodes SET expires_at = clock_timestamp() - interval '1 second' WHERE id = $1", dead.node_id
        )
        await until_driver(second, dan, lambda d: not d["connected"])


async def test_a_lapsed_driver_comes_back_as_they_were(node: StartNode) -> None:
    here = await node()
    policy = await call(here, "GET", "/admin/policy", "admin", "alice")
    await call(here, "PUT", "/admin/policy", "admin", "alice", **(policy | {"presenceLapseSeconds": 1}))
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan) as app:
        await ready(app)
        await app.ask("pause")
    lapsed = await until_driver(here, dan, lambda d: d["availability"] == "offline")
    assert lapsed["availabilityReason"] == "connection_lost"
    async with driver_app(here.ws_url, dan) as app:
        hello = await app.hear("hello")
        assert hello["driver"]["availability"] == "paused"


async def test_a_service_token_is_no_driver(node: StartNode) -> None:
    here = await node()
    async with httpx2.AsyncClient(base_url=here.url, timeout=PATIENCE) as client:
        dan = await a_driver(here)
        headers = {"Authorization": f"Bearer {token('service', 'shop')}"}
        answer = await client.post(f"/drivers/{dan}/availability/pause", headers=headers)
    assert answer.status_code == 403


async def test_keeping_the_index_outlives_a_database_that_takes_no_more_clients(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = (await node()).app.state.node

    async def refused(*_: Any) -> Any:
        raise asyncpg.TooManyConnectionsError("sorry, too many clients already")

    await until(lambda: here.lease.held and here.bus.connected)
    with capture_logs() as lines, monkeypatch.context() as while_it_lasts:
        while_it_lasts.setattr(here.driver_index, "reconcile", refused)
        for come_back in here.bus.on_reconnect:
            come_back()
        await until(lambda: [line for line in lines if line["event"] in ("reconcile_failed", "task_died")])
    assert "task_died" not in [line["event"] for line in lines]


async def test_requests_that_wait_when_a_node_stops_get_try_again(node: StartNode) -> None:
    here = await node()
    executor = here.app.state.node.executor
    async with httpx2.AsyncClient(base_url=here.url, timeout=PATIENCE) as client:
        holder = await asyncpg.connect(here.settings.database_url)
        try:
            await holder.execute("BEGIN; LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
            place = {"lat": 52.5, "lon": 13.4}
            body = {"sellerOrderId": "1", "storeName": "x", "pickup": place, "dropoff": place}
            headers = {"Authorization": f"Bearer {token('service', 'shop')}"}
            asked = asyncio.create_task(client.post("/deliveries", json=body, headers=headers))
            await until(lambda: executor.waiting == 1)
            here.server.handle_exit(signal.SIGTERM, None)
            answer = await asked
        finally:
            await holder.close()
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["code"] == "try_again"


async def test_a_node_stops_at_a_signal_and_not_at_its_next_tick(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uvicorn_server, "TICK_SECONDS", 3600.0)
    here = await node()
    async with httpx2.AsyncClient(base_url=here.url, timeout=PATIENCE) as client:
        assert (await client.get("/health/live")).status_code == 200
        here.server.handle_exit(signal.SIGTERM, None)
        await here.stopped()
        with pytest.raises(httpx2.TransportError):
            await client.get("/health/live")


async def test_a_node_whose_reads_are_slow_is_alive(node: StartNode, settings: Settings) -> None:
    """Its sign of life does not wait for the pool: others would disconnect all its drivers."""
    here = await node(database_pool_size=2)
    pool = here.app.state.node.database.pool
    apart = await asyncpg.connect(settings.database_url)

    async def lives_until() -> Any:
        return await apart.fetchval("SELECT expires_at FROM nodes")

    async with pool.acquire(), pool.acquire():
        before = await lives_until()

        async def later() -> bool:
            return bool(await lives_until() > before + timedelta(seconds=2))

        await until(later)
        with pytest.raises(TimeoutError):
            async with pool.acquire(timeout=0.001):
                pass
    await apart.close()


async def test_of_two_reads_of_the_settings_the_later_one_counts(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = (await node()).app.state.node
    asked: list[Any] = []
    held = asyncio.Event()

    async def read(pool: Any) -> Any:
        asked.append(pool)
        if len(asked) > 1:
            return {"company_name": SetValue("Roma", "ada")}
        await held.wait()
        return {}

    monkeypatch.setattr(current_policy, "read_company_settings", read)
    first = asyncio.create_task(here.known_settings.refresh())
    await until(lambda: asked)
    second = asyncio.create_task(here.known_settings.refresh())
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(first, second)
    assert here.settings.company_name == "Roma"
