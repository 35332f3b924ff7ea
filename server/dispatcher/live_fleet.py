"""What the node with the lease knows of the drivers: each as committed last, and where they are.

Commits and positions of this node change it at once, those of other nodes with their hints. It is read from the
database when the lease is taken, and compared with it all the time, a slice at a time. It is a picture: the rules
decide again under lock, so a wrong one costs time, never an order.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from math import inf
from operator import itemgetter
from typing import Final

import numpy as np
import structlog
from prometheus_client import Gauge, Histogram

from server.contract.commit import Committed
from server.current_policy import Policies
from server.dispatch.driver_runs import is_full
from server.dispatch.model import Delivery, Driver
from server.dispatch.planning.nearby import Nearby, distances
from server.ids import FIRST_ID
from server.lease import Lease
from server.redis.hints import FleetHint
from server.sockets.positions import Positions
from server.store.clock import DatabaseTime
from server.store.engine import DATABASE_ERRORS, Database
from server.store.reads.fleet import drivers_at_work, read_drivers
from server.tasks import wait_until_set

SLICE: Final = 100
"""How many drivers are read at a time, so that the loop is never stopped for long."""
ROWS_A_SECOND: Final = 4_000
CYCLE_SECONDS: Final = 2.0
"""How long a comparison of all drivers takes: so long, or longer where there are more drivers than that."""
AFTER_FAILURE_SECONDS: Final = 0.2
LEARNED_SECONDS: Final = 10.0
"""How long it is remembered that a commit named a driver: longer than a read takes."""
CALLS_SECONDS: Final = 60.0
"""How long calls are remembered: longer than it takes to store them."""

NEAREST: Final = 20
"""How many free drivers a search on request looks at, besides those whose stored position is near."""

DRIVERS: Final = Gauge("callboard_fleet_drivers", "Drivers at work that the node with the lease knows")
REPAIRED: Final = Gauge("callboard_fleet_repaired", "Drivers who were different in the database, since the start")
REBUILD_TIME: Final = Histogram(
    "callboard_fleet_rebuild_seconds",
    "How long it took to read all drivers at work after taking the lease",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10),
)

log = structlog.get_logger(__name__)


class LiveFleet:
    """The drivers at work, while this node has the lease. Supervise `run`.

    `touched` are drivers who may have become dispatchable, until somebody takes them; `touch` is set with the first.
    """

    def __init__(
        self,
        *,
        database: Database,
        positions: Positions,
        policies: Policies,
        lease: Lease,
        clock: DatabaseTime,
        touch: asyncio.Event,
    ) -> None:
        self.nearby = Nearby()
        self.touched: set[str] = set()
        self._database = database
        self._positions = positions
        self._policies = policies
        self._lease = lease
        self._clock = clock
        self._touch = touch
        self._learned: dict[str, tuple[float, datetime]] = {}
        self._calls: dict[str, float] = {}
        self._doubted: set[str] = set()
        self._look = asyncio.Event()
        self._after = FIRST_ID
        self._began = 0.0
        self._seen: set[str] = set()
        self._read_for: int | None = None

    @property
    def ready(self) -> bool:
        """Whether all drivers were read since the lease was taken."""
        return self._lease.held and self._read_for == self._lease.times_taken

    def look(self) -> None:
        """Look now whether something is to be read."""
        self._look.set()

    def committed(self, commit: Committed) -> None:
        """The drivers of a commit on this node. It must run before anybody is answered (write/batch.py)."""
        if self._lease.held:
            for driver in commit.drivers:
                self._learn(driver, commit.at)

    def heard(self, hint: FleetHint) -> None:
        """What another node says of drivers."""
        if not self._lease.held:
            return
        for committed_at, driver in hint.drivers:
            self._learn(driver, committed_at)
        for driver_id, at in hint.calls:
            self.called(driver_id, at)
        for driver_id, lat, lon, at in hint.places:
            self.nearby.move(driver_id, lat, lon, at)

    def moved(self, driver_id: str, lat: float, lon: float, at: float) -> None:
        """A position, at Unix seconds `at`."""
        if self._lease.held:
            self.nearby.move(driver_id, lat, lon, at)

    def called(self, driver_id: str, at: float) -> None:
        """A driver made a call, at Unix seconds `at`."""
        if not self._lease.held:
            return
        self._calls.pop(driver_id, None)
        self._calls[driver_id] = at
        while self._calls[oldest := next(iter(self._calls))] < at - CALLS_SECONDS:
            del self._calls[oldest]
        self.nearby.call(driver_id, at)

    def doubt(self, driver_id: str) -> None:
        """Read this driver now: they turned out to be different."""
        self._doubted.add(driver_id)
        self._look.set()

    def near(self, delivery: Delivery, zone: str) -> list[str]:
        """The free drivers of a zone who are nearest to a pickup, as far as this node knows."""
        free = self.nearby.free((zone,), self._clock.now(), self._policies.current)
        nearest = np.argsort(distances(free.places, delivery.pickup))[:NEAREST]
        return list(free.ids[nearest])

    def where(self, driver_id: str) -> tuple[float, float, float] | None:
        """Latitude, longitude and time (Unix seconds) of the newest position of a driver that this node knows."""
        here, there = self._positions.where(driver_id), self.nearby.place(driver_id)
        return max((place for place in (here, there) if place is not None), key=itemgetter(2), default=None)

    def take_touched(self) -> set[str]:
        """The drivers who may have become dispatchable since the last call."""
        touched, self.touched = self.touched, set()
        return touched

    def _learn(self, driver: Driver, at: datetime) -> None:
        """A driver as committed at this time, unless a later commit is known."""
        now = asyncio.get_running_loop().time()
        known = self._learned.pop(driver.id, None)
        if known is not None and known[1] > at:
            self._learned[driver.id] = known
            return
        self._learned[driver.id] = (now, at)
        while self._learned[oldest := next(iter(self._learned))][0] < now - LEARNED_SECONDS:
            del self._learned[oldest]
        self._put(driver)

    def _put(self, driver: Driver) -> None:
        self.nearby.put(driver, self._calls.get(driver.id, -inf))
        where = self._positions.where(driver.id)
        if where is not None:
            self.nearby.move(driver.id, *where)
        full = is_full(driver, self._policies.current)
        if driver.availability == "available" and not full and driver.open_offer_id is None:
            self.touched.add(driver.id)
            self._touch.set()

    def _read(self, drivers: Iterable[Driver], asked: float) -> None:
        """Drivers that were read from the database, by a question of this time. What a commit said since then counts
        more; but the read may have seen a later one, so they are read again.
        """
        for driver in drivers:
            learned = self._learned.get(driver.id)
            if learned is not None and learned[0] >= asked:
                self.doubt(driver.id)
                continue
            known = self.nearby.drivers.get(driver.id)
            if known is None or _state(known) != _state(driver):
                REPAIRED.inc()
                self._put(driver)
            else:
                self.nearby.put(driver, self._calls.get(driver.id, -inf))

    async def run(self) -> None:
        """Read all drivers when the lease is taken, then one slice after another, and those in doubt at once."""
        while True:
            if not self._lease.held:
                self._forget()
                await self._lease.taken.wait()
            pause = 0.0
            try:
                if not self.ready:
                    await self._rebuild()
                elif self._doubted:
                    await self._read_doubted()
                else:
                    await self._next_slice()
                    cycle = max(CYCLE_SECONDS, len(self.nearby.drivers) / ROWS_A_SECOND)
                    pause = cycle / (1 + len(self.nearby.drivers) // SLICE)
            except DATABASE_ERRORS as error:
                log.warning("fleet_not_read", reason=repr(error))
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
            DRIVERS.set(len(self.nearby.drivers))
            if pause:
                await wait_until_set(self._look, pause)
                self._look.clear()

    def _forget(self) -> None:
        """Another node dispatches now."""
        self.nearby = Nearby()
        self._read_for = None
        for known in (self.touched, self._learned, self._calls, self._doubted, self._seen):
            known.clear()
        self._after = FIRST_ID

    async def _rebuild(self) -> None:
        started = asyncio.get_running_loop().time()
        times_taken = self._lease.times_taken
        self._after = FIRST_ID
        while await self._next_slice():
            if not self._lease.held:
                return
        took = asyncio.get_running_loop().time() - started
        REBUILD_TIME.observe(took)
        log.info("fleet_read", drivers=len(self.nearby.drivers), seconds=round(took, 3))
        self._read_for = times_taken
        self._touch.set()

    async def _next_slice(self) -> bool:
        """Compare the next drivers with the database; after the last, forget those who are no longer at work. Returns
        whether there are more.
        """
        asked = asyncio.get_running_loop().time()
        if self._after == FIRST_ID:
            self._began = asked
            self._seen.clear()
        drivers = await drivers_at_work(self._database.pool, self._after, SLICE)
        self._read(drivers, asked)
        self._seen.update(driver.id for driver in drivers)
        if len(drivers) == SLICE:
            self._after = drivers[-1].id
            return True
        self._after = FIRST_ID
        for driver_id in self.nearby.drivers.keys() - self._seen:
            learned = self._learned.get(driver_id)
            if learned is None or learned[0] < self._began:
                self.doubt(driver_id)
        return False

    async def _read_doubted(self) -> None:
        asked = asyncio.get_running_loop().time()
        ids = [self._doubted.pop() for _ in range(min(SLICE, len(self._doubted)))]
        try:
            found = await read_drivers(self._database.pool, ids)
        except BaseException:
            self._doubted.update(ids)
            raise
        self._read(found.values(), asked)
        for driver_id in ids:
            if driver_id not in found:
                self.nearby.remove(driver_id)


def _state(driver: Driver) -> tuple[object, ...]:
    """What a comparison looks at: all that decides whether a driver can get an offer, except time and place."""
    return (
        driver.zone, driver.availability, driver.active, driver.busy, driver.active_count, driver.open_offer_id,
        driver.session_id is None, driver.shift_ends_at, driver.tags,
    )  # fmt: skip
