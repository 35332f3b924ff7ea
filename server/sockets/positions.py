"""The positions and last calls of drivers: the newest of each, written in batches by the node that received it.

Nothing here takes a lock of the write path, and a position never waits for it.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import inf
from typing import Any, Final

import structlog
from prometheus_client import Counter

from server.contract.commit import Committed
from server.dispatch.model import Driver, Position
from server.dispatch.positions import Seen, judge, known
from server.redis.bus import DISPATCH, Bus
from server.redis.hints import FleetHint, write_fleet_hint
from server.redis.index import GEO_LATITUDE
from server.redis.pipe import RedisCommand
from server.store.clock import DatabaseClock, to_millisecond
from server.store.connections import Pool
from server.store.positions import PositionRow, write_calls, write_positions
from server.tasks import wait_until_set

TO_REDIS_SECONDS: Final = 0.25
TO_DATABASE_SECONDS: Final = 5.0
SLICE: Final = 500
"""So many are written to the database at a time, so that the loop is never stopped for long."""
CALL_STORED_SECONDS: Final = 10.0
"""A driver is present by a stored call for longer than this: a later one can wait for the next flush."""
REMEMBERED_SECONDS: Final = 3600.0
"""A driver without a position for this long is forgotten: by then no jump is too fast for them."""

RECEIVED = Counter("callboard_positions", "Positions received from drivers")


log = structlog.get_logger(__name__)


class Positions:
    """The latest used position of each driver that this node received, and a doubtful one after it. Supervise `flush`.

    `appeared` is called after a flush with the drivers who have a recent position in the database and had none before:
    they may have become dispatchable. `heard` is called at once with every used position (driver id, lat, lon, time in
    Unix seconds), `heard_call` with every call. If `shares` says so, the node with the lease is sent them with the next
    pipeline. The zone of a driver with a position here comes from `learn`, from commits and
    hints, and from every write to the database: it repairs what a lost hint would have said.
    """

    def __init__(
        self,
        pool: Pool,
        bus: Bus,
        clock: DatabaseClock,
        *,
        fresh_seconds: Callable[[], float],
    ) -> None:
        self.appeared: list[Callable[[list[str]], None]] = []
        self.heard: Callable[[str, float, float, float], None] = lambda *_: None
        self.heard_call: Callable[[str, float], None] = lambda *_: None
        self.shares: Callable[[], bool] = lambda: False
        self._pool = pool
        self._bus = bus
        self._clock = clock
        self._fresh_seconds = fresh_seconds
        self._latest: dict[str, Seen] = {}
        self._zones: dict[str, str] = {}
        self._doubtful: dict[str, Seen] = {}
        self._stored_at: dict[str, float] = {}
        self._received = 0
        self._moved: set[str] = set()
        self._unstored: set[str] = set()
        self._urgent: set[str] = set()
        self._calls: dict[str, datetime] = {}
        self._first_calls = False
        self._calls_stored_at: dict[str, float] = {}
        self._soon = asyncio.Event()
        self._after_urgent: list[Callable[[], None]] = []
        self._called: dict[str, float] = {}
        self._writing: frozenset[str] = frozenset()
        self._one_at_a_time = asyncio.Lock()
        bus.sources.append(self._commands)

    def moved(
        self,
        driver_id: str,
        lat: float,
        lon: float,
        *,
        at: datetime | None = None,
        heading: float | None = None,
        speed_kmh: float | None = None,
        accuracy_m: float | None = None,
    ) -> None:
        """A driver reports a position: `at` by the phone's clock, which only puts positions in order. A doubtful one
        is not used until a second one agrees with it.
        """
        self._received += 1
        latest = self._latest.get(driver_id)
        # The estimate of the database's time can go back by a few milliseconds: a later position is never older.
        now = max(self._clock.seconds(), latest.at if latest is not None else 0.0)
        said = at.timestamp() if at is not None else None
        seen = Seen(lat, lon, now, known(heading), known(speed_kmh), accuracy_m, said)
        verdict = judge(seen, latest, self._doubtful.get(driver_id))
        if verdict != "used":
            if verdict == "doubtful":
                self._doubtful[driver_id] = seen
            return
        self._doubtful.pop(driver_id, None)
        self._latest[driver_id] = seen
        self._moved.add(driver_id)
        self._unstored.add(driver_id)
        stored = self._stored_at.get(driver_id)
        if stored is None or now - stored > self._fresh_seconds() / 2:
            self._urgent.add(driver_id)
        self.heard(driver_id, lat, lon, now)

    def learn(self, driver: Driver) -> None:
        """Remember the zone and the stored position of a driver. The next position is judged by the stored one, unless
        this node already has a position of them.
        """
        stored = driver.position
        if stored is not None:
            self._latest.setdefault(driver.id, Seen(stored.lat, stored.lon, stored.at.timestamp()))
            self._zones[driver.id] = driver.zone

    def committed(self, commit: Committed) -> None:
        """What was just committed here: drivers may have another zone."""
        for driver in commit.drivers:
            self.rezoned(driver.id, driver.zone)

    def rezoned(self, driver_id: str, zone: str) -> None:
        """The zone of a driver. If it is another one than before, their position is written to its index."""
        if driver_id in self._latest and self._zones.get(driver_id) != zone:
            self._zones[driver_id] = zone
            self._moved.add(driver_id)
            self._bus.wake()

    def called(self, driver_id: str) -> None:
        now = self._clock.now()
        self._calls[driver_id] = now
        if now.timestamp() - self._calls_stored_at.get(driver_id, -inf) > CALL_STORED_SECONDS:
            self._first_calls = True
        self.heard_call(driver_id, now.timestamp())
        if self.shares():
            self._called[driver_id] = now.timestamp()
            self._bus.wake()

    def must_be_stored(self, driver_id: str) -> bool:
        """Whether the rules know of this driver only by a position or call that is not in the database yet."""
        return driver_id in self._urgent or driver_id in self._calls or driver_id in self._writing

    def after_urgent(self, then: Callable[[], None]) -> bool:
        """Call `then` when the database has the newest positions and calls of all drivers who were not stored before.
        Returns False, without a call, if there are none.
        """
        if not self._urgent and not self._first_calls and not self._writing:
            return False
        self._after_urgent.append(then)
        self._soon.set()
        return True

    def where(self, driver_id: str) -> tuple[float, float, float] | None:
        """Latitude, longitude and time (Unix seconds) of the newest used position that this node received, if any."""
        seen = self._latest.get(driver_id)
        return (seen.lat, seen.lon, seen.at) if seen is not None else None

    def latest(self, driver_id: str) -> Position | None:
        """The newest used position that this node received, if any."""
        seen = self._latest.get(driver_id)
        return Position(seen.lat, seen.lon, _instant(seen.at)) if seen is not None else None

    def forget(self, driver_id: str) -> None:
        """The driver's socket on this node has closed: positions that are stored need not be kept."""
        if driver_id not in self._unstored:
            self._latest.pop(driver_id, None)
            self._doubtful.pop(driver_id, None)
            self._stored_at.pop(driver_id, None)
            self._zones.pop(driver_id, None)

    def forget_silent(self) -> None:
        """Forget drivers without a position since REMEMBERED_SECONDS: who only calls has no socket that closes."""
        for seen_by_driver in (self._latest, self._doubtful):
            since = self._clock.seconds() - REMEMBERED_SECONDS
            for driver_id in [driver_id for driver_id, seen in seen_by_driver.items() if seen.at < since]:
                self.forget(driver_id)

    def _commands(self) -> Iterable[RedisCommand]:
        """GEOADD XX: moves drivers who are in the index, and adds nobody. And the same for the node with the lease."""
        by_zone: dict[str, list[Any]] = {}
        places: list[tuple[str, float, float, float]] = []
        for driver_id in self._moved:
            zone = self._zones.get(driver_id)
            seen = self._latest.get(driver_id)
            if zone is not None and seen is not None and abs(seen.lat) <= GEO_LATITUDE:
                by_zone.setdefault(zone, []).extend((seen.lon, seen.lat, driver_id))
            if seen is not None:
                places.append((driver_id, seen.lat, seen.lon, seen.at))
        commands: list[RedisCommand] = [
            ("GEOADD", self._bus.geo_key(zone), "XX", *all_) for zone, all_ in by_zone.items()
        ]
        calls = list(self._called.items())
        self._moved.clear()
        self._called.clear()
        if (places or calls) and self.shares():
            hint = FleetHint(places=places, calls=calls)
            commands.append(("PUBLISH", self._bus.prefix + DISPATCH, write_fleet_hint(hint)))
        return commands

    async def flush(self) -> None:
        """To Redis every 250 ms; to the database every 5 s, or at once if the stored one is missing or old."""
        loop = asyncio.get_running_loop()
        store_all_at = loop.time() + TO_DATABASE_SECONDS
        while True:
            await wait_until_set(self._soon, TO_REDIS_SECONDS)
            if self._moved:
                RECEIVED.inc(self._received)
                self._received = 0
                self._bus.wake()
            everything = loop.time() >= store_all_at or not self._bus.connected
            if everything:
                store_all_at = loop.time() + TO_DATABASE_SECONDS
            stored, self._after_urgent = self._after_urgent, []
            try:
                await self.store(everything=everything)
            except Exception as error:
                log.warning("positions_not_stored", reason=repr(error))
            for then in stored:
                then()
            if everything:
                self.forget_silent()

    def _note_stored(self, calls: dict[str, datetime]) -> None:
        for driver_id, at in calls.items():
            self._calls_stored_at.pop(driver_id, None)  # the oldest are first
            self._calls_stored_at[driver_id] = at.timestamp()
        since = self._clock.seconds() - CALL_STORED_SECONDS
        while self._calls_stored_at and self._calls_stored_at[oldest := next(iter(self._calls_stored_at))] < since:
            del self._calls_stored_at[oldest]

    async def store(self, *, everything: bool = True) -> None:
        """Write positions that are not in the database yet, after a write in progress; if that one fails, its rows are
        included.

        Raises what the database raises; then the rows are written next time.
        """
        async with self._one_at_a_time:
            await self._store(everything)

    async def _store(self, everything: bool) -> None:
        calls, self._calls = self._calls, {}
        first_calls, self._first_calls = self._first_calls, False
        urgent, self._urgent = self._urgent, set()
        self._writing = frozenset(calls) | urgent
        due = [*urgent, *(self._unstored - urgent if everything else ())]
        try:
            if calls:
                await write_calls(self._pool, calls)
                self._note_stored(calls)
                calls, first_calls = {}, False
            for start in range(0, len(due), SLICE):
                some = due[start : start + SLICE]
                await self._store_some(some)
                first = [driver_id for driver_id in some if driver_id in urgent]
                urgent.difference_update(first)
                if first:
                    for appeared in self.appeared:
                        appeared(first)
        except BaseException:
            self._calls = calls | self._calls
            self._first_calls |= first_calls
            self._urgent |= urgent
            raise
        finally:
            self._writing = frozenset()

    async def _store_some(self, driver_ids: list[str]) -> None:
        rows = [(driver_id, self._latest[driver_id]) for driver_id in driver_ids if driver_id in self._latest]
        if rows:
            written = [_row(driver_id, seen, self._zones.get(driver_id)) for driver_id, seen in rows]
            for driver_id, zone in await write_positions(self._pool, written):
                self.rezoned(driver_id, zone)
        for driver_id, seen in rows:
            self._stored_at[driver_id] = seen.at
            if self._latest.get(driver_id) is seen:  # else they moved meanwhile
                self._unstored.discard(driver_id)


def _row(driver_id: str, seen: Seen, zone: str | None) -> PositionRow:
    return driver_id, seen.lat, seen.lon, _instant(seen.at), seen.heading, seen.speed_kmh, seen.accuracy_m, zone


def _instant(seconds: float) -> datetime:
    return to_millisecond(datetime.fromtimestamp(seconds, UTC))
