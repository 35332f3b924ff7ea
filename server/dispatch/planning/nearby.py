"""The drivers at work as columns of numbers, by zone: who can get an offer now and who is near, without a loop.

Rows and positions put them in; `dispatchable` (dispatch/offers.py) is the rule that the columns repeat.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from math import cos, inf, nan, radians, sin
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from server.dispatch.model import Delivery, Driver, Point, Position
from server.dispatch.names import name_key
from server.dispatch.policy import Policy
from server.dispatch.search_reasons import AtWork, State
from server.dispatch.travel import EARTH_RADIUS_KM, preparation_left_seconds

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indexes = npt.NDArray[np.intp]

AT_WORK: Final = frozenset({"available", "on_break", "paused"})
"""The availabilities of drivers who are at work."""
FIRST_ROWS: Final = 16

X, Y, Z, LAT, LON, AT, CALL, OFF, LOAD, STATE = range(10)
FREE, FULL, OCCUPIED, ON_BREAK, AWAY = range(5)
"""FULL: at capacity and without an open offer, so that the policy may allow a next job."""
_STATES: Final[tuple[State, ...]] = ("free", "occupied", "occupied", "on_break", "away")


class Columns:
    """Rows of numbers, each with an id: `numbers[column, row]`. Removing a row moves the last one into its place."""

    def __init__(self, width: int) -> None:
        self.row_of: dict[str, int] = {}
        self._ids = np.empty(FIRST_ROWS, dtype=object)
        self._numbers = np.empty((width, FIRST_ROWS))

    def __len__(self) -> int:
        return len(self.row_of)

    @property
    def ids(self) -> npt.NDArray[np.object_]:
        """The id of each row; a view."""
        return self._ids[: len(self.row_of)]

    @property
    def numbers(self) -> Floats:
        """The columns; a view."""
        return self._numbers[:, : len(self.row_of)]

    def put(self, key: str, numbers: Sequence[float]) -> None:
        """Add a row, or replace the row of this id."""
        row = self.row_of.get(key)
        if row is None:
            row = len(self.row_of)
            if row == len(self._ids):
                self._ids = np.concatenate([self._ids, np.empty_like(self._ids)])
                self._numbers = np.concatenate([self._numbers, np.empty_like(self._numbers)], axis=1)
            self.row_of[key] = row
            self._ids[row] = key
        self._numbers[:, row] = numbers

    def remove(self, key: str) -> None:
        row = self.row_of.pop(key, None)
        if row is None:
            return
        last = len(self.row_of)
        if row != last:
            self._numbers[:, row] = self._numbers[:, last]
            moved = self._ids[row] = self._ids[last]
            self.row_of[moved] = row
        self._ids[last] = None


class Free(Struct, frozen=True):
    """Drivers who can get an offer: their ids, their places in degrees and on the unit sphere, the end of their shifts,
    and how many deliveries they have, one a row.
    """

    ids: npt.NDArray[np.object_]
    lats: Floats
    lons: Floats
    places: Floats
    offs: Floats
    loads: Floats

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, rows: Sequence[int] | Indexes) -> "Free":
        """The drivers of these rows."""
        places, offs, loads = self.places[rows], self.offs[rows], self.loads[rows]
        return Free(self.ids[rows], self.lats[rows], self.lons[rows], places, offs, loads)


class Nearby:
    """The drivers at work. Times are seconds since the epoch."""

    def __init__(self) -> None:
        self.drivers: dict[str, Driver] = {}
        """Each driver at work by id: the row that was put in; the position and last call may be older than here."""
        self._zones: dict[str, Columns] = {}
        self._tags: dict[str, frozenset[str]] = {}

    def put(self, driver: Driver, call: float = -inf) -> None:
        """A driver as they are now. A newer position or call that is known already stays; `call` is one more."""
        known = self.drivers.get(driver.id)
        if not driver.active or driver.availability not in AT_WORK:
            self.remove(driver.id)
            return
        if known is not None and self._put_in_place(known, driver, call):
            return
        at, lat, lon = -inf, nan, nan
        if driver.position is not None:
            at, lat, lon = driver.position.at.timestamp(), driver.position.lat, driver.position.lon
        if driver.last_call_at is not None:
            call = max(call, driver.last_call_at.timestamp())
        if known is not None:
            before = self._zones[known.zone]
            row = before.numbers[:, before.row_of[driver.id]]
            if row[AT] > at:
                at, lat, lon = row[AT], row[LAT], row[LON]
            if known.session_id is None and row[CALL] > call:
                call = row[CALL]
            if known.zone != driver.zone:
                self._leave(known)
        self.drivers[driver.id] = driver
        if driver.tags:
            self._tags[driver.id] = frozenset(map(name_key, driver.tags))
        else:
            self._tags.pop(driver.id, None)
        columns = self._zones.get(driver.zone)
        if columns is None:
            columns = self._zones[driver.zone] = Columns(10)
        off = driver.shift_ends_at.timestamp() if driver.shift_ends_at is not None else inf
        reached = inf if driver.session_id is not None else call
        columns.put(driver.id, (*unit(lat, lon), lat, lon, at, reached, off, driver.active_count, _state(driver)))

    def _put_in_place(self, known: Driver, driver: Driver, call: float) -> bool:
        """`put` for a driver whose load is all that changed, as in most commits. False if more did."""
        if known.zone != driver.zone or known.tags != driver.tags or known.position != driver.position:
            return False
        if known.session_id is None or driver.session_id is None or known.shift_ends_at != driver.shift_ends_at:
            return False
        columns = self._zones[driver.zone]
        row, numbers = columns.row_of[driver.id], columns.numbers
        numbers[LOAD, row], numbers[STATE, row] = driver.active_count, _state(driver)
        self.drivers[driver.id] = driver
        return True

    def remove(self, driver_id: str) -> None:
        driver = self.drivers.pop(driver_id, None)
        if driver is not None:
            self._leave(driver)
            self._tags.pop(driver_id, None)

    def _leave(self, driver: Driver) -> None:
        """Remove the row of a driver, and the zone with its last one."""
        columns = self._zones[driver.zone]
        columns.remove(driver.id)
        if not len(columns):
            del self._zones[driver.zone]

    def move(self, driver_id: str, lat: float, lon: float, at: float) -> None:
        """Where a driver is since `at`, unless a newer position is known."""
        columns, row = self._row(driver_id)
        if columns is None:
            return
        numbers = columns.numbers
        if at > numbers[AT, row] or (at == numbers[AT, row] and (lat, lon) != (numbers[LAT, row], numbers[LON, row])):
            numbers[:CALL, row] = (*unit(lat, lon), lat, lon, at)

    def call(self, driver_id: str, at: float) -> None:
        columns, row = self._row(driver_id)
        if columns is not None and at > columns.numbers[CALL, row]:
            columns.numbers[CALL, row] = at

    def _row(self, driver_id: str) -> tuple[Columns | None, int]:
        driver = self.drivers.get(driver_id)
        if driver is None:
            return None, 0
        columns = self._zones[driver.zone]
        return columns, columns.row_of[driver_id]

    def place(self, driver_id: str) -> tuple[float, float, float] | None:
        """Latitude, longitude and time of a driver's position, if they are at work and have one."""
        columns, row = self._row(driver_id)
        if columns is None or columns.numbers[AT, row] == -inf:
            return None
        lat, lon, at = columns.numbers[LAT:CALL, row].tolist()
        return lat, lon, at

    def driver(self, driver_id: str) -> Driver:
        """A driver at work, with the newest position and call."""
        driver = self.drivers[driver_id]
        columns = self._zones[driver.zone]
        lat, lon, at, call = columns.numbers[LAT : CALL + 1, columns.row_of[driver_id]].tolist()
        position = Position(lat, lon, datetime.fromtimestamp(at, UTC)) if at > -inf else None
        called = datetime.fromtimestamp(call, UTC) if -inf < call < inf else driver.last_call_at
        return replace(driver, position=position, last_call_at=called)

    def free(
        self,
        zones: Iterable[str],
        now: datetime,
        policy: Policy,
        without: Collection[str] = (),
        among: Collection[str] | None = None,
    ) -> Free:
        """The drivers of these zones who are dispatchable now, except `without`; if given, only those in `among`."""
        ids, numbers = [], []
        for zone in zones:
            columns = self._zones.get(zone)
            if columns is None or not len(columns):
                continue
            if among is None:
                able = _dispatchable(columns.numbers, now, policy)
                able[[columns.row_of[driver_id] for driver_id in without if driver_id in columns.row_of]] = False
                rows = np.flatnonzero(able)
            else:
                wanted = [columns.row_of[i] for i in among if i in columns.row_of and i not in without]
                rows = np.array(wanted, dtype=np.intp)
                rows = rows[_dispatchable(columns.numbers[:, rows], now, policy)]
            ids.append(columns.ids[rows])
            numbers.append(columns.numbers.take(rows, axis=1))
        if not ids:
            return NOBODY
        found = numbers[0] if len(numbers) == 1 else np.concatenate(numbers, axis=1)
        everybody = ids[0] if len(ids) == 1 else np.concatenate(ids)
        places = np.ascontiguousarray(found[:LAT].T)
        return Free(everybody, found[LAT], found[LON], places, found[OFF], found[LOAD])

    def at_work(self, zone: str, now: datetime, policy: Policy, without: Collection[str] = ()) -> Free:
        """The drivers of a zone who can get an offer now or later, except `without`. An open offer counts as a
        delivery.
        """
        columns = self._zones.get(zone)
        if columns is None or not len(columns):
            return NOBODY
        numbers = columns.numbers
        able = (numbers[STATE] <= OCCUPIED) & _present(numbers, now, policy)
        for driver_id in without:
            if driver_id in columns.row_of:
                able[columns.row_of[driver_id]] = False
        rows = np.flatnonzero(able)
        found = numbers.take(rows, axis=1)
        loads = np.where(found[STATE] == OCCUPIED, np.maximum(found[LOAD], 1.0), found[LOAD])
        places = np.ascontiguousarray(found[:LAT].T)
        return Free(columns.ids[rows], found[LAT], found[LON], places, found[OFF], loads)

    def who_has(self, ids: npt.NDArray[np.object_], requirements: Iterable[str]) -> Flags:
        """Which of these drivers have all tags that are required."""
        required = {name_key(tag) for tag in requirements}
        if not required:
            return np.ones(len(ids), dtype=bool)
        return np.array([required <= self._tags.get(driver_id, _NO_TAGS) for driver_id in ids], dtype=bool)

    def who_is_in_time(self, free: Free, delivery: Delivery, now: datetime, policy: Policy) -> Flags:
        """Which of these drivers can pick it up before their shift ends."""
        km = distances(free.places, delivery.pickup) * policy.detour_factor
        seconds = km / policy.average_speed_kmh * 3600 + preparation_left_seconds(delivery, now)
        in_time: Flags = now.timestamp() + seconds <= free.offs
        return in_time

    def nearest_km(self, delivery: Delivery, radius_km: float) -> float | None:
        """How far away the nearest driver is who can take it sooner or later: of its zone, with what it requires, free
        or not, in the radius. None if there is nobody.
        """
        columns = self._zones.get(delivery.zone)
        if columns is None or not len(columns):
            return None
        km = distances(columns.numbers[:LAT].T, delivery.pickup)
        able = (km <= radius_km) & (columns.numbers[STATE] <= OCCUPIED)
        if delivery.requirements:
            able &= self.who_has(columns.ids, delivery.requirements)
        return float(km[able].min()) if able.any() else None

    def around(self, pickup: Point, zone: str, radius_km: float, now: datetime, policy: Policy) -> dict[str, AtWork]:
        """What `why_no_driver` needs: of the drivers at work in the radius the nearest in each state; if there are none
        in it, the nearest outside; if there are none in the zone, the nearest of each other zone.
        """
        own = self._zones.get(zone)
        if own is None or not len(own):
            return {of: _nearest(c, pickup, now, policy) for of, c in self._zones.items() if len(c)}
        km = np.nan_to_num(distances(own.numbers[:LAT].T, pickup), nan=inf)
        states = own.numbers[STATE] + len(_STATES) * _dispatchable(own.numbers, now, policy)
        nearest = [int(np.where(states == state, km, inf).argmin()) for state in np.unique(states)]
        within = np.array([row for row in nearest if km[row] <= radius_km], dtype=np.intp)
        return {zone: _at_work(own, within, now, policy) if len(within) else _nearest(own, pickup, now, policy)}


def distances(places: Floats, pickup: Point) -> Floats:
    """The straight line from each place on the unit sphere to a pickup in km; NaN for NaN."""
    chords = places - np.array(unit(pickup.lat, pickup.lon))
    km: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(np.sqrt((chords * chords).sum(axis=1)) / 2, 1.0))
    return km


def _dispatchable(numbers: Floats, now: datetime, policy: Policy) -> Flags:
    able: Flags = numbers[STATE] == FREE
    if policy.planning.next_jobs:
        able |= numbers[STATE] == FULL
    return able & _present(numbers, now, policy)


def _present(numbers: Floats, now: datetime, policy: Policy) -> Flags:
    """Who was seen lately and whose shift goes on."""
    at = now.timestamp()
    able: Flags = numbers[AT] >= at - policy.position_fresh_seconds
    able &= numbers[CALL] > at - policy.call_presence_seconds
    able &= numbers[OFF] > at
    return able


def _at_work(columns: Columns, rows: Indexes, now: datetime, policy: Policy) -> AtWork:
    numbers = columns.numbers[:, rows]
    able = _dispatchable(numbers, now, policy)
    states: Any = [
        _STATES[int(state)] if state != FREE or dispatchable else "away"
        for state, dispatchable in zip(numbers[STATE].tolist(), able.tolist(), strict=True)
    ]
    return AtWork(columns.ids[rows].tolist(), numbers[LAT].tolist(), numbers[LON].tolist(), states)


def _nearest(columns: Columns, pickup: Point, now: datetime, policy: Policy) -> AtWork:
    """The nearest who is dispatchable, and the nearest at work."""
    km = np.nan_to_num(distances(columns.numbers[:LAT].T, pickup), nan=inf)
    rows = [int(km.argmin())]
    able = _dispatchable(columns.numbers, now, policy)
    if able.any():
        rows.append(int(np.where(able, km, inf).argmin()))
    return _at_work(columns, np.array(rows), now, policy)


def unit(lat: float, lon: float) -> tuple[float, float, float]:
    """A place in degrees as a point on the unit sphere."""
    north, east = radians(lat), radians(lon)
    across = cos(north)
    return across * cos(east), across * sin(east), sin(north)


def _state(driver: Driver) -> int:
    if driver.availability == "available":
        if driver.open_offer_id is not None or driver.active_count > driver.capacity:
            return OCCUPIED
        return FULL if driver.busy else FREE
    return ON_BREAK if driver.availability == "on_break" else AWAY


NOBODY: Final = Free(np.empty(0, dtype=object), np.empty(0), np.empty(0), np.empty((0, 3)), np.empty(0), np.empty(0))
_NO_TAGS: Final[frozenset[str]] = frozenset()
