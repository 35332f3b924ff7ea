"""Compares the index in Redis with PostgreSQL, and with `--fix` writes it again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from redis.exceptions import RedisError

from server.current_policy import Policies
from server.doctor.findings import Finding, bad, ok
from server.redis.bus import Bus
from server.redis.index import GEO_LATITUDE, DriverIndex
from server.store.engine import DATABASE_ERRORS, Database
from server.store.primary import one_line
from server.store.reads.index import all_dispatchable

FIX_SECONDS: Final = 15.0
REBUILD_ROUNDS: Final = 100


async def check_index(db: Database, bus: Bus, *, fix: bool) -> list[Finding]:
    """Compares the GEO index with PostgreSQL, twice: commits during the first look cause differences that do not
    last.
    """
    policies = Policies(db.pool)
    await policies.refresh()
    try:
        async with asyncio.timeout(FIX_SECONDS):
            if fix:
                await _rebuild(db, bus, policies)
            differing, size = await _differing(db, bus, policies)
            if differing:
                await asyncio.sleep(1.0)
                again, size = await _differing(db, bus, policies)
                differing &= again
    except (RedisError, *DATABASE_ERRORS) as error:
        return [bad("index", f"cannot be compared: {one_line(error)}", "fix the problems above, and try again")]
    if differing:
        text = f"{len(differing)} drivers differ between Redis and PostgreSQL"
        return [bad("index", text, "run `callboard doctor --fix`")]
    return [
        ok("index", f"{'rebuilt: ' if fix else ''}drivers free for an offer now: {size}, the same as in PostgreSQL")
    ]


async def _differing(db: Database, bus: Bus, policies: Policies) -> tuple[set[tuple[str, str]], int]:
    """(zone, driver id) of drivers that only one of the two has, and the number of drivers in Redis."""
    by_zone = await all_dispatchable(db.pool, policies.current, GEO_LATITUDE)
    true = {(zone, driver_id) for zone, ids in by_zone.items() for driver_id in ids}
    shown = set()
    async for key in bus.redis.scan_iter(match=f"{bus.geo_prefix}*", count=1000):
        zone = key.decode().removeprefix(bus.geo_prefix)
        members: Any = await bus.redis.zrange(key, 0, -1)
        shown |= {(zone, member.decode()) for member in members}
    return true ^ shown, len(shown)


async def _rebuild(db: Database, bus: Bus, policies: Policies) -> None:
    """Write all of the index again, with the code that a node uses when Redis is back."""
    index = DriverIndex(
        bus,
        db.pool,
        node_id="",
        policy=lambda: policies.current,
        latest=lambda _: None,
        alone=lambda: True,
    )
    async with _running(bus):
        await bus.redis.delete(bus.status_key)
        await index.refill()
        for _ in range(REBUILD_ROUNDS):
            await asyncio.sleep(0.1)  # the bus writes the collected commands in this time
            if not await index.reconcile() and not index.writes:
                break


@asynccontextmanager
async def _running(bus: Bus) -> AsyncIterator[None]:
    """Run the bus, so that it writes its commands."""
    connected = asyncio.Event()
    bus.on_reconnect.append(connected.set)
    bus.subscribe("doctor", lambda _: None)
    tasks = [asyncio.create_task(run()) for run in (bus.read, bus.write)]
    try:
        await connected.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
