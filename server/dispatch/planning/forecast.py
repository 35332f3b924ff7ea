"""The forecast of a zone: when each waiting delivery gets a driver, who comes free when, and how many orders arrive.

Times are seconds since the epoch, places are (latitude, longitude) in degrees. It assumes that drivers accept, and that
no order comes that is not known yet.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil, inf
from typing import Final

import numpy as np
from msgspec import Struct

from server.dispatch.model import Point
from server.dispatch.planning.nearby import Indexes, distances, unit
from server.dispatch.runs import RoadTravel, Spot
from server.dispatch.search_reasons import (
    ALL_EXCLUDED,
    NONE_DISPATCHABLE,
    NONE_IN_RADIUS,
    NONE_IN_ZONE,
    REQUIREMENTS_NOT_MET,
    SHIFTS_END,
    TRIP_TOO_LONG,
)

MINUTES: Final = (5, 10, 15)
"""How far a forecast looks ahead."""


class Wanted(Struct, frozen=True):
    """A delivery that waits since `since`, or is held until then. `zones` are those whose drivers can get it, its own
    first.

    `offered_to` has its open offer; `excluded` are the drivers that it must not get, `requirements` keys of tags.
    `needs_check`: it is not offered.
    """

    id: str
    zones: tuple[str, ...]
    pickup: Spot
    dropoff: Spot
    ready: float
    since: float
    radius_km: float
    held: bool = False
    offered_to: str | None = None
    excluded: frozenset[str] = frozenset()
    requirements: frozenset[str] = frozenset()
    needs_check: bool = False


class Supply(Struct, frozen=True):
    """A driver at work who can get an offer at `free_at`, at `place`, and picks nothing up after `off`; `tags` are keys
    of names. Nobody knows when a driver comes back who is paused or out of contact: then `free_at` is infinite.
    """

    id: str
    zone: str
    free_at: float
    place: Spot
    tags: frozenset[str] = frozenset()
    off: float = inf


class ZoneDemand(Struct, frozen=True):
    """How many deliveries of a zone wait and are held, and how many begin to wait within each of MINUTES: scheduled
    ones, and held ones whose hold ends.
    """

    waiting: int = 0
    held: int = 0
    arriving: tuple[int, ...] = (0,) * len(MINUTES)


class ZoneForecast(Struct, frozen=True):
    """The forecast of a zone. `free_in` are the drivers who are not free yet and will be within so many minutes.

    `minutes_to_clear` is when the last delivery that waits now gets a driver, 0 if none waits; None, with the `reason`,
    if no driver can get any of them.
    """

    zone: str
    numbers: ZoneDemand
    free_now: int
    free_in: tuple[int, ...]
    minutes_to_clear: int | None
    reason: str | None = None


class Queue:
    """Which delivery gets a driver when. One after another they get the first driver in reach who comes free, and the
    nearest of those who are free then, who comes free again where they have handed over.

    Deliveries with an open offer come first, then those that wait, then those that are held: the longest first.
    """

    def __init__(self, wanted: Iterable[Wanted], drivers: Sequence[Supply], now: float, travel: RoadTravel) -> None:
        self.at: dict[str, float] = {}
        """When each delivery gets a driver, if anybody can get it."""
        self.why: dict[str, str] = {}
        """Why nobody can get it."""
        self._now = now
        self._travel = travel
        self._tags = [driver.tags for driver in drivers]
        self._row_of = {driver.id: row for row, driver in enumerate(drivers)}
        self._free = np.array([max(driver.free_at, now) for driver in drivers])
        self._off = np.array([driver.off for driver in drivers])
        self._places = np.array([unit(*driver.place) for driver in drivers]).reshape(-1, 3)
        rows: dict[str, list[int]] = {}
        for row, driver in enumerate(drivers):
            rows.setdefault(driver.zone, []).append(row)
        self._rows = {zone: np.array(of_zone, dtype=np.intp) for zone, of_zone in rows.items()}
        for one in sorted(wanted, key=lambda one: (one.offered_to is None, one.held, one.since, one.id)):
            self.add(one)

    def add(self, one: Wanted) -> None:
        """One more at the end."""
        offered = self._row_of.get(one.offered_to) if one.offered_to is not None else None
        if offered is not None:
            self._give(one, offered, self._now)
            return
        if one.needs_check:
            self.why[one.id] = TRIP_TOO_LONG
            return
        why = NONE_IN_ZONE
        for zone in one.zones:
            rows = self._rows.get(zone)
            if rows is not None:
                found = self._first(one, rows)
                if not isinstance(found, str):
                    self._give(one, *found)
                    return
                why = found if why == NONE_IN_ZONE else why
        self.why[one.id] = why

    def _first(self, one: Wanted, rows: Indexes) -> tuple[int, float] | str:
        """Which of these drivers gets it, and when; or why nobody does."""
        km = distances(self._places[rows], Point(*one.pickup))
        able = km <= one.radius_km
        if not able.any():
            return NONE_IN_RADIUS
        if one.requirements:
            able &= np.array([one.requirements <= self._tags[row] for row in rows.tolist()])
            if not able.any():
                return REQUIREMENTS_NOT_MET
        if one.excluded:
            able &= ~np.isin(rows, [self._row_of[i] for i in one.excluded if i in self._row_of])
            if not able.any():
                return ALL_EXCLUDED
        at = np.maximum(self._free[rows], max(one.since if one.held else self._now, self._now))
        able &= at < inf
        if not able.any():
            return NONE_DISPATCHABLE
        able &= np.maximum(at + km * self._travel.seconds_per_km, one.ready) <= self._off[rows]
        if not able.any():
            return SHIFTS_END
        at[~able] = inf
        first = float(at.min())
        return int(rows[np.where(at <= first, km, inf).argmin()]), first

    def _give(self, one: Wanted, row: int, at: float) -> None:
        travel = self._travel
        km = float(distances(self._places[row : row + 1], Point(*one.pickup))[0])
        picked = max(at + km * travel.seconds_per_km, one.ready)
        self._free[row] = picked + travel.seconds(one.pickup, one.dropoff) + 2 * travel.half_dropoff
        self._places[row] = unit(*one.dropoff)
        self.at[one.id] = at


def forecast(
    queue: Queue, wanted: Iterable[Wanted], drivers: Iterable[Supply], numbers: Mapping[str, ZoneDemand], now: float
) -> list[ZoneForecast]:
    """The forecast of every zone that has drivers or deliveries, by its name."""
    free: dict[str, list[float]] = {zone: [] for zone in numbers}
    for driver in drivers:
        free.setdefault(driver.zone, []).append(driver.free_at if driver.free_at < driver.off else inf)
    waiting: dict[str, list[str]] = {}
    for one in wanted:
        if not one.held:
            waiting.setdefault(one.zones[0], []).append(one.id)
    found = []
    for zone, times in sorted(free.items()):
        ids = waiting.get(zone, [])
        last = max((queue.at[i] for i in ids if i in queue.at), default=now)
        reasons = Counter(queue.why[i] for i in ids if i in queue.why)
        nobody = len(ids) > 0 and reasons.total() == len(ids)
        found.append(
            ZoneForecast(
                zone,
                numbers.get(zone, ZoneDemand()),
                sum(at <= now for at in times),
                tuple(sum(now < at <= now + minutes * 60 for at in times) for minutes in MINUTES),
                None if nobody else ceil((last - now) / 60),
                reasons.most_common(1)[0][0] if nobody else None,
            )
        )
    return found
