"""Why a search found no driver, as stable codes; `contract/words.py` has the texts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from server.dispatch.model import Nearest, Point
from server.dispatch.travel import EARTH_RADIUS_KM

Floats = npt.NDArray[np.float64]
State = Literal["free", "occupied", "on_break", "away"]
"""Of a driver at work: dispatchable; busy or with an open offer; on a break; paused or not reachable."""

SEARCHING: Final = "searching"
NONE_IN_ZONE: Final = "no_driver_in_zone"
NONE_IN_RADIUS: Final = "no_driver_in_radius"
NONE_DISPATCHABLE: Final = "no_driver_dispatchable"
ALL_BUSY: Final = "all_busy"
ALL_ON_BREAK: Final = "all_on_break"
ALL_EXCLUDED: Final = "all_excluded"
REQUIREMENTS_NOT_MET: Final = "requirements_not_met"
SHIFTS_END: Final = "shifts_end_too_soon"
TRIP_TOO_LONG: Final = "trip_too_long"
HELD: Final = "held"
LOST_RACE: Final = "taken_meanwhile"
OCCUPIED: Final = frozenset({"busy", "has_open_offer", "given_another", LOST_RACE})
"""Reasons for a driver who has, or got, another order or offer."""
_UNFIT: Final = {"requirements": REQUIREMENTS_NOT_MET, "shift_ends": SHIFTS_END}


class NoDriver(Struct, frozen=True):
    """Why there is no driver, and the nearest one outside the radius or the zone, if that is why."""

    reason: str
    nearest: Nearest | None = None


class AtWork(Struct, frozen=True):
    """The drivers of a zone who are at work, as four columns. Positions are in degrees, NaN if unknown."""

    ids: Sequence[str]
    lats: Sequence[float]
    lons: Sequence[float]
    states: Sequence[State]


def why_not_these(reasons: Iterable[str], excluded: Iterable[str]) -> str | None:
    """The reason if there were dispatchable drivers in the radius: others got them, or they are excluded.

    `reasons` are those of the drivers, `excluded` those of the delivery's exclusions. None if there was no driver.
    """
    given = set(reasons)
    if given & OCCUPIED:
        return ALL_BUSY
    own = given & set(excluded)
    return _UNFIT.get(min(own), ALL_EXCLUDED) if len(own) == 1 else ALL_EXCLUDED if own else None


def why_no_driver(pickup: Point, zone: str, radius_km: float, at_work: Mapping[str, AtWork]) -> NoDriver:
    """The reason if no driver in the radius was dispatchable. `at_work` has all drivers at work, by zone.

    1. No driver of the zone is at work: `nearest` is of another zone.
    2. No driver of the zone is in the radius: `nearest` is outside the radius.
    3. The drivers in the radius are busy, or all on a break, or not reachable.
    """
    own = at_work.get(zone)
    if own is None:
        others = [one for of, one in at_work.items() if of != zone]
        return NoDriver(NONE_IN_ZONE, nearest(pickup, others, "zone_differs"))
    within = distances_km(pickup, own.lats, own.lons) <= radius_km
    states = {state for state, near in zip(own.states, within.tolist(), strict=True) if near}
    if not states:
        return NoDriver(NONE_IN_RADIUS, nearest(pickup, [own], "out_of_radius"))
    if states & {"occupied", "free"}:
        return NoDriver(ALL_BUSY)
    return NoDriver(ALL_ON_BREAK if states == {"on_break"} else NONE_DISPATCHABLE)


def nearest(pickup: Point, among: Iterable[AtWork], why: str) -> Nearest | None:
    """The nearest dispatchable driver, or else the nearest at work, with a known position. `why` is the reason."""
    best: tuple[bool, float, str] | None = None
    for drivers in among:
        km = distances_km(pickup, drivers.lats, drivers.lons)
        busy = np.asarray(drivers.states) != "free"
        index = int(np.lexsort((np.nan_to_num(km, nan=np.inf), busy | np.isnan(km)))[0])
        found = (bool(busy[index]), float(km[index]), drivers.ids[index])
        if not np.isnan(found[1]) and (best is None or found < best):
            best = found
    return Nearest(best[2], round(best[1], 2), why) if best is not None else None


def distances_km(from_: Point, lats: Sequence[float], lons: Sequence[float]) -> Floats:
    """Great-circle distances from one place to many, all in degrees, by the haversine formula."""
    phi, phis = np.radians(from_.lat), np.radians(np.asarray(lats, dtype=np.float64))
    half = np.radians(np.asarray(lons, dtype=np.float64) - from_.lon) / 2
    h = np.sin((phis - phi) / 2) ** 2 + np.cos(phi) * np.cos(phis) * np.sin(half) ** 2
    km: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(1.0, h)))
    return km
