"""The index of many drivers on a real PostgreSQL and Valkey: it is written and compared some at a time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from server.dispatch.policy import DEFAULT_POLICY
from server.ids import new_id
from server.redis import index
from server.redis.bus import Bus
from server.redis.index import DriverIndex
from server.redis.pipe import RedisCommand
from server.store.engine import Database
from server.tasks import stop
from tests.waiting import until

FEW = 3
ZONES = {"north": 10, "south": 2}
CROWD = """
WITH made AS (
    INSERT INTO drivers (id, name, zone, capacity, created_at, availability, last_availability_change,
                         session_id, session_node, expiries_in_a_row, stream_seq, active_count)
    SELECT id, 'Dan', $2, 1, now(), 'available', now(), id, id, 0, 0, 0 FROM unnest($1::uuid[]) AS id RETURNING id
)
INSERT INTO driver_positions (driver_id, lat, lon, at) SELECT id, 52.52, 13.405, now() FROM made"""


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
async def bus(redis_url: str, redis_prefix: str) -> AsyncIterator[Bus]:
    """A bus that writes."""
    bus = Bus(redis_url, redis_prefix)
    bus.subscribe("nothing", lambda _: None)
    tasks = [asyncio.create_task(run()) for run in (bus.read, bus.write)]
    await until(lambda: bus.connected)
    yield bus
    await stop(*tasks)
    await bus.close()


async def test_an_index_is_filled_and_repaired_some_drivers_at_a_time(
    database: Database, bus: Bus, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "SLICE", FEW)
    drivers = {zone: {new_id() for _ in range(many)} for zone, many in ZONES.items()}
    for zone, ids in drivers.items():
        await database.pool.execute(CROWD, list(ids), zone)
    everybody = set[str].union(*drivers.values())
    shown = DriverIndex(
        bus,
        database.pool,
        node_id=new_id(),
        policy=lambda: DEFAULT_POLICY,
        latest=lambda _: None,
        alone=lambda: True,
    )
    pipelines: list[list[RedisCommand]] = []

    def collected() -> list[RedisCommand]:
        commands = list(shown._commands())
        pipelines.append(commands)
        return commands

    bus.sources[:] = [collected]
    gone = {f"{new_id()}" for _ in range(2 * FEW)}
    await redis.geoadd(bus.geo_key("north"), [part for id_ in gone for part in (13.4, 52.5, id_)])
    await redis.mset({bus.offer_key(offer_id): "{}" for offer_id in gone})

    await shown.refill()
    await until(lambda: not shown.writes)
    await until(lambda: is_shown(redis, bus, drivers))
    assert {key.decode() for key in await redis.hkeys(bus.status_key)} == everybody
    assert not await redis.exists(*map(bus.offer_key, gone))
    assert max(drivers_in(pipeline) for pipeline in pipelines) == FEW
    assert await shown.reconcile() == 0

    missing = list(drivers["north"])[: FEW + 1]
    await redis.zrem(bus.geo_key("north"), *missing)
    await redis.geoadd(bus.geo_key("nowhere"), [13.4, 52.5, new_id()])
    assert await shown.reconcile() == len(missing) + 1
    await until(lambda: is_shown(redis, bus, drivers))
    assert await shown.reconcile() == 0


async def is_shown(redis: Any, bus: Bus, drivers: dict[str, set[str]]) -> bool:
    """Whether Redis has exactly these drivers, by zone."""
    zones = {key.decode().removeprefix(bus.geo_prefix) for key in await redis.keys(f"{bus.geo_prefix}*")}
    found = {zone: await redis.zrange(bus.geo_key(zone), 0, -1) for zone in zones}
    return {zone: {member.decode() for member in members} for zone, members in found.items()} == drivers


def drivers_in(pipeline: list[RedisCommand]) -> int:
    """How many drivers these commands put at a place or take away."""
    counts = {"GEOADD": lambda command: (len(command) - 2) // 3, "ZREM": lambda command: len(command) - 2}
    return sum(counts[command[0]](command) for command in pipeline if command[0] in counts)
