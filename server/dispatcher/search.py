"""Finds free drivers near waiting deliveries: in the index, checked in the database if necessary, or only in the
database.

It finds candidates; `match` chooses among them, and the rules decide under lock.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from prometheus_client import Counter, Histogram
from redis.exceptions import RedisError, ResponseError

from server.contract.views import search_radius_km
from server.dispatch.matching import Candidate
from server.dispatch.model import Delivery
from server.dispatch.policy import Policy
from server.redis.bus import Bus
from server.redis.pipe import Command
from server.sockets.positions import Positions
from server.store.clock import DatabaseTime
from server.store.engine import Database
from server.store.reads.waiting import Box, dispatchable_ids, dispatchable_in

INDEX_SECONDS: Final = 0.1
"""The longest a search waits for Redis."""
UNREAD_SECONDS: Final = 0.02
"""Added to it at the end: after a busy loop returns, its timers run before it reads an answer that is already there."""
INDEX_REST_SECONDS: Final = 1.0
"""How long Redis is not used after it failed or was slow."""
FEWEST: Final = 8
MOST: Final = 16
"""How many candidates are asked for around a delivery: more when many are searched at once and may want the same,
and one more for each offer it has behind it.
"""
NEAREST: Final = """
local found, count, near = {}, tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 3, #ARGV, 3 do
    local most, km, members = tonumber(ARGV[i + 2]), near / 2, nil
    repeat
        km = math.min(km * 2, most)
        members = redis.pcall('GEOSEARCH', KEYS[1], 'FROMLONLAT', ARGV[i], ARGV[i + 1], 'BYRADIUS', tostring(km),
            'km', 'ASC', 'COUNT', count, 'WITHCOORD')
    until members.err or #members >= count or km >= most
    found[#found + 1] = members
    near = km
end
found[#found + 1] = tostring(near)
return found
"""
"""Many searches in one zone's index as one command: how many each, how many km to look around first, then longitude,
latitude and km at most of each. Redis reads all within the radius before it counts, so the circle grows only until it
holds enough. The last answer is how far the last search went.
"""
FIRST_KM: Final = 1.0
SHRINK: Final = 0.7
"""What a search begins with, of what the last one in its zone needed."""
LEAST_KM: Final = 0.05
UNSTORED_SECONDS: Final = 6.0
"""A position this recent may not be in the database yet."""

INDEX_SEARCHES: Final = Counter("callboard_searches_in_index", "Searches for drivers in Redis", ["outcome"])
SCANS: Final = Histogram(
    "callboard_search_scan_seconds",
    "How long it took to read dispatchable drivers from the database",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)

KM_PER_DEGREE: Final = 111.19
"""Of latitude; of longitude at the equator."""

log = structlog.get_logger(__name__)

Drivers = dict[str, dict[str, Candidate]]
"""Dispatchable drivers: zone -> driver id -> where they are."""
Place = tuple[float, float]
"""Latitude and longitude."""


class Around:
    """The drivers that the index has near deliveries, and where there may be more."""

    __slots__ = ("drivers", "truncated")

    def __init__(self) -> None:
        self.drivers: Drivers = {}
        self.truncated: set[str] = set()

    def add(self, zone: str, deliveries: Sequence[Delivery], answer: Sequence[Any], count: int) -> None:
        """The drivers near each of these deliveries of one zone, at most `count` for each."""
        drivers = self.drivers.setdefault(zone, {})
        for delivery, members in zip(deliveries, answer, strict=True):
            if not isinstance(members, list):  # an error: Redis knows no place so near a pole
                self.truncated.add(delivery.id)
                continue
            if len(members) >= count:
                self.truncated.add(delivery.id)
            for member, (lon, lat) in members:
                driver_id = member.decode()
                if driver_id not in drivers:
                    drivers[driver_id] = Candidate(driver_id, float(lat), float(lon))


def _own_zone(delivery: Delivery) -> tuple[str]:
    return (delivery.zone,)


class Finder:
    """Finds dispatchable drivers on any node."""

    def __init__(self, database: Database, bus: Bus, positions: Positions, clock: DatabaseTime) -> None:
        self._database = database
        self._bus = bus
        self._positions = positions
        self._clock = clock
        self._pipe = bus.pipe()
        self._ask_again_at = 0.0
        self._near_km: dict[str, float] = {}

    @property
    def index_usable(self) -> bool:
        """Whether Redis was reachable and fast at the last search."""
        return self._bus.connected and time.monotonic() >= self._ask_again_at

    async def in_index(self, deliveries: Sequence[Delivery], policy: Policy) -> Around | None:
        """The nearest drivers in the index around each pickup, in one round trip; None if Redis cannot be used now."""
        if not self.index_usable:
            return None
        count = min(MOST, FEWEST + len(deliveries)) + max(len(delivery.offers) for delivery in deliveries)
        by_zone: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            by_zone.setdefault(delivery.zone, []).append(delivery)
        commands: list[Command] = []
        for zone, of_zone in by_zone.items():
            arguments: list[float] = []
            for delivery in of_zone:
                arguments += (delivery.pickup.lon, delivery.pickup.lat, radius_km(delivery, policy))
            near = self._near_km.get(zone, FIRST_KM)
            commands.append(("EVAL", NEAREST, 1, self._bus.geo_key(zone), count, near, *arguments))
        try:
            async with _patience(INDEX_SECONDS):
                answers = await self._pipe.send(commands)
            for answer in answers:
                if isinstance(answer, ResponseError):
                    raise answer
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("index_search_failed", reason=repr(error))
            self._ask_again_at = time.monotonic() + INDEX_REST_SECONDS
            INDEX_SEARCHES.labels("failed").inc(len(deliveries))
            return None
        INDEX_SEARCHES.labels("done").inc(len(deliveries))
        around = Around()
        for (zone, of_zone), (*answer, near) in zip(by_zone.items(), answers, strict=True):
            around.add(zone, of_zone, answer, count)
            self._near_km[zone] = max(SHRINK * float(near), LEAST_KM)
        return around

    async def check(self, policy: Policy, drivers: Drivers) -> Drivers:
        """Those of these drivers who are dispatchable by the database, with the zone from there."""
        known = {driver_id: driver for of_zone in drivers.values() for driver_id, driver in of_zone.items()}
        if not known:
            return {}
        found = await dispatchable_ids(self._database.pool, policy, list(known))
        return {zone: {driver_id: known[driver_id] for driver_id in ids} for zone, ids in found.items()}

    async def in_database(
        self, deliveries: Iterable[Delivery], policy: Policy, zones_of: Callable[[Delivery], Iterable[str]] = _own_zone
    ) -> Drivers:
        """All dispatchable drivers near these pickups, in the zones to search for each delivery, without Redis."""
        started = time.monotonic()
        found = await dispatchable_in(self._database.pool, policy, boxes(deliveries, policy, zones_of))
        unstored_since = self._clock.now() - timedelta(seconds=UNSTORED_SECONDS)
        drivers = {
            zone: {
                driver_id: self.latest_position(driver_id, lat, lon, unstored_since)
                for driver_id, lat, lon in zip(*columns, strict=True)
            }
            for zone, columns in found.items()
        }
        SCANS.observe(time.monotonic() - started)
        return drivers

    def latest_position(self, driver_id: str, lat: float, lon: float, since: datetime) -> Candidate:
        """A driver at the stored position, or at a newer one that this node received."""
        latest = self._positions.latest(driver_id)
        if latest is not None and latest.at > since:
            return Candidate(driver_id, latest.lat, latest.lon)
        return Candidate(driver_id, lat, lon)


@contextlib.asynccontextmanager
async def _patience(seconds: float) -> AsyncIterator[None]:
    """A timeout that looks once more at what has arrived before it runs out."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(seconds, lambda: limit.reschedule(loop.time() + UNREAD_SECONDS))
        try:
            yield
        finally:
            timer.cancel()


def radius_km(delivery: Delivery, policy: Policy) -> float:
    """How far from the pickup drivers are looked for now."""
    return search_radius_km(delivery.widened_at is not None, policy)


def boxes(
    deliveries: Iterable[Delivery], policy: Policy, zones_of: Callable[[Delivery], Iterable[str]] = _own_zone
) -> list[Box]:
    """One box per zone. It contains the search radius of each pickup whose delivery searches that zone."""
    edges: dict[str, tuple[float, float, float, float]] = {}
    for delivery in deliveries:
        around = box_around(delivery.pickup.lat, delivery.pickup.lon, radius_km(delivery, policy))
        for zone in zones_of(delivery):
            south, north, west, east = around
            known = edges.get(zone)
            if known is not None:
                south, north = min(south, known[0]), max(north, known[1])
                west, east = min(west, known[2]), max(east, known[3])
            edges[zone] = (south, north, west, east)
    return [Box(zone, *edge) for zone, edge in edges.items()]


def box_around(lat: float, lon: float, km: float) -> tuple[float, float, float, float]:
    """South, north, west and east of a circle, a little generous. All the way round near the poles and where it
    crosses the 180th meridian.
    """
    high = 1.01 * km / KM_PER_DEGREE
    south, north = max(-90.0, lat - high), min(90.0, lat + high)
    narrowest = math.cos(math.radians(max(abs(south), abs(north))))
    wide = high / narrowest if narrowest > 0.01 else 360.0
    if lon - wide < -180 or lon + wide > 180:
        return south, north, -180.0, 180.0
    return south, north, lon - wide, lon + wide
