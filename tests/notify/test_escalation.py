"""Each level once, at its own time, on whichever node: also when the one that dispatches is killed between two."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx2
import pytest

from tests.cli.conftest import ROOT
from tests.conftest import SECRET
from tests.process import Process
from tests.waiting import PATIENCE, until
from tests.web.conftest import DROPOFF, PICKUP, token


@pytest.fixture
def nodes(database_url: str, redis_url: str, redis_prefix: str, tmp_path: Any) -> Iterator[Any]:
    """Starts nodes that are processes."""
    started: list[Process] = []

    def start() -> Process:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
        settings = {
            "CALLBOARD_DATABASE_URL": database_url,
            "CALLBOARD_REDIS_URL": redis_url,
            "CALLBOARD_REDIS_PREFIX": redis_prefix,
            "CALLBOARD_SECRET": SECRET,
            "CALLBOARD_LOG_FORMAT": "json",
        }
        folder = tmp_path / f"process{len(started)}"
        folder.mkdir()
        started.append(Process(("serve", "--port", "0"), kept | settings | {"PYTHONPATH": str(ROOT)}, folder))
        return started[-1]

    yield start
    for process in started:
        process.close()


async def test_the_holder_of_the_lease_is_killed_between_two_levels(nodes: Any, database_url: str) -> None:
    first: Process = nodes()
    urls = {first: await first.ready()}
    database = await asyncpg.connect(database_url)
    try:
        await until(lambda: database.fetchval("SELECT holder FROM leases WHERE name = 'dispatcher'"))
        second: Process = nodes()
        urls[second] = await second.ready()
        async with httpx2.AsyncClient(
            base_url=urls[second], headers={"Authorization": f"Bearer {token('service', 'shop')}"}, timeout=PATIENCE
        ) as shop:
            waiting, cancelled = [await order(shop, number) for number in range(2)]
            await has_waited(database, 301, waiting, cancelled)
            await levels(database, waiting, [1])
            await levels(database, cancelled, [1])
            # A node writes its log beside its work: SIGKILL would take lines that are not written yet.
            await until(lambda: logged(first, second, "unassigned_order_5min") == 2)
            holder = await database.fetchval("SELECT holder FROM leases WHERE name = 'dispatcher'")
            killed, other = (first, second) if str(holder) in first.out else (second, first)
            shop.base_url = urls[other]
            killed.kill(signal.SIGKILL)
            await killed.ended()
            gone = await shop.post(f"/deliveries/{cancelled}/cancel", json={"reason": "sold out"})
            assert gone.status_code == 200
            await has_waited(database, 901, waiting)
            await levels(database, waiting, [1, 2])
            assert await database.fetchval("SELECT holder FROM leases WHERE name = 'dispatcher'") != holder
            await has_waited(database, 1801, waiting)
            await levels(database, waiting, [1, 2, 3])
            delivery = (await shop.get(f"/deliveries/{waiting}")).json()
            assert (delivery["escalationLevel"], delivery["searchRadiusKm"]) == (3, 10.0)
        assert await levels_of(database, cancelled) == [1]
        assert await database.fetchval("SELECT count(*) FROM support_tickets WHERE delivery_id = $1", waiting) == 1
        notices = await database.fetch(
            "SELECT severity FROM notices WHERE delivery_id = $1 ORDER BY created_at", waiting
        )
        assert [notice["severity"] for notice in notices] == ["warning", "critical"]
        await until(lambda: logged(first, second, "unassigned_order_30min"))
        for event, times in (
            ("unassigned_order_5min", 2),
            ("unassigned_order_wide_search", 1),
            ("unassigned_order_30min", 1),
        ):
            assert logged(first, second, event) == times
    finally:
        await database.close()


def logged(first: Process, second: Process, event: str) -> int:
    """How often both nodes together have logged this event."""
    return (first.out + second.out).count(f'"event":"{event}"')


async def order(shop: httpx2.AsyncClient, number: int) -> str:
    made = await shop.post(
        "/deliveries",
        json={"sellerOrderId": f"order-{number}", "storeName": "Roma", "pickup": PICKUP, "dropoff": DROPOFF},
    )
    assert made.status_code == 201, made.text
    delivery_id: str = made.json()["id"]
    return delivery_id


async def has_waited(database: Any, seconds: int, *deliveries: str) -> None:
    """As far as the database knows."""
    await database.execute(
        "UPDATE deliveries SET unassigned_since = clock_timestamp() - make_interval(secs => $1)"
        " WHERE id = ANY($2::uuid[])", float(seconds), list(deliveries),
    )  # fmt: skip


async def levels_of(database: Any, delivery_id: str) -> list[int]:
    rows = await database.fetch(
        "SELECT (data->>'level')::int FROM events WHERE type = 'delivery.escalated' AND delivery_id = $1 ORDER BY id",
        delivery_id,
    )
    return [row[0] for row in rows]


async def levels(database: Any, delivery_id: str, expected: list[int]) -> None:
    async def reached() -> bool:
        return await levels_of(database, delivery_id) == expected

    await until(reached)
