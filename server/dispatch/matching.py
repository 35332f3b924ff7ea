"""Matching: which waiting delivery is offered to which driver, a pure function of both.

It only proposes; the rules of offers decide under lock. All deliveries and drivers are of one zone.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from math import sin
from operator import attrgetter

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from scipy.optimize import linear_sum_assignment

from server.dispatch.policy import Policy
from server.dispatch.travel import EARTH_RADIUS_KM, haversine_km, travel_seconds

AGE_WEIGHT = 2.0
"""How many seconds of travel one second of waiting is worth, when two deliveries compete for a driver."""

NOT_TAKEN_LIMIT = 20
"""How many drivers that a delivery did not get are listed, nearest first."""

FEW = 200
"""So many are sorted faster than the smallest of them are picked first."""

_lat, _lon = attrgetter("lat"), attrgetter("lon")

Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.intp]


class Waiting(Struct, frozen=True):
    """A delivery that waits for a driver near its pickup. `excluded`: drivers it must not get, id -> reason."""

    delivery_id: str
    lat: float
    lon: float
    unassigned_since: datetime
    radius_km: float
    excluded: Mapping[str, str]


class Candidate(Struct, frozen=True):
    """A dispatchable driver, where they are."""

    driver_id: str
    lat: float
    lon: float


class Pair(Struct, frozen=True):
    """A delivery and the driver found for it, where the driver is, and the straight line to the pickup."""

    delivery_id: str
    driver_id: str
    lat: float
    lon: float
    distance_km: float


class Matching(Struct, frozen=True):
    """The pairs, and for each requested delivery the drivers that it did not get: (driver id, reason), the 20 nearest.

    A reason is that of `excluded`, or `out_of_radius`, `given_another` (found for another delivery) or `farther_away`.
    """

    pairs: list[Pair]
    not_taken: dict[str, list[tuple[str, str]]]


class _Near(Struct, frozen=True):
    """One delivery's drivers as indexes, nearest first; those it can get, and their squared chords to the pickup."""

    drivers: Indexes
    in_radius: npt.NDArray[np.bool_]
    eligible: Indexes
    chords: Floats


def match(
    waiting: Sequence[Waiting],
    drivers: Sequence[Candidate],
    now: datetime,
    policy: Policy,
    explained: Collection[str] | None = None,
) -> Matching:
    """The best pairs of who waits and who is free. `explained` are the ids of the deliveries asked about, None for all.

    1. A delivery can get a driver within its radius (straight line) whom it does not exclude.
    2. If every delivery can have its nearest one, it gets that one.
    3. Else the pairs maximise, summed over the deliveries that get a driver and in seconds,

           R + AGE_WEIGHT * age - travel,    R = 1 + number of deliveries * longest travel of a possible pair

       `age` being the time since `unassigned_since`. R is more than all travel together, so as many deliveries
       as possible get a driver (which costs no older one its place: the sets of deliveries that can be matched
       together form a matroid). `age` decides who is left out when drivers are too few: of two deliveries that
       want the same driver the older gets them once AGE_WEIGHT times its lead in age is more than its extra
       travel. Nobody starves, because travel within a radius is bounded and age is not.

    The nearest n drivers that each delivery can get, n being the number of deliveries, are enough for the exact
    optimum: a delivery with one farther away could swap that one for one of its n nearest, since the other n - 1
    deliveries cannot hold them all.
    """
    near = _nearest(waiting, drivers)
    taken = _nearest_each(near)
    if taken is None:
        ages = [max(0.0, (now - delivery.unassigned_since).total_seconds()) for delivery in waiting]
        taken = _best_total(near, np.array(ages), policy)
    pairs = []
    for row, index in taken.items():
        delivery, driver = waiting[row], drivers[index]
        distance_km = haversine_km(delivery.lat, delivery.lon, driver.lat, driver.lon)
        pairs.append(Pair(delivery.delivery_id, driver.driver_id, driver.lat, driver.lon, distance_km))
    held = set(taken.values())
    not_taken = {
        delivery.delivery_id: _told(delivery, drivers, around, taken.get(row), held)
        for row, (delivery, around) in enumerate(zip(waiting, near, strict=True))
        if explained is None or delivery.delivery_id in explained
    }
    return Matching(pairs, not_taken)


def _nearest(waiting: Sequence[Waiting], drivers: Sequence[Candidate]) -> list[_Near]:
    """Squared chords between points on the unit sphere sort like distances, without trigonometry a pair."""
    x, y, z = _on_sphere(drivers)
    px, py, pz = _on_sphere(waiting)
    found = []
    for row, delivery in enumerate(waiting):
        chords = (x - px[row]) ** 2
        chords += (y - py[row]) ** 2
        chords += (z - pz[row]) ** 2
        enough = max(NOT_TAKEN_LIMIT + 1, len(waiting) + len(delivery.excluded))
        order = _smallest(chords, enough)
        in_radius = chords[order] <= (2 * sin(delivery.radius_km / (2 * EARTH_RADIUS_KM))) ** 2
        eligible = order[in_radius]
        if delivery.excluded:
            allowed = [drivers[index].driver_id not in delivery.excluded for index in eligible]
            eligible = eligible[np.array(allowed, dtype=bool)]
        eligible = eligible[: len(waiting)]
        found.append(_Near(order, in_radius, eligible, chords[eligible]))
    return found


def _on_the_road(chords: Floats, policy: Policy) -> Floats:
    """The travel seconds of squared chords."""
    km = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(chords) / 2)
    return km * policy.detour_factor * travel_seconds(1, policy)


def _on_sphere(places: Sequence[Waiting] | Sequence[Candidate]) -> tuple[Floats, Floats, Floats]:
    count = len(places)
    lat = np.radians(np.fromiter(map(_lat, places), np.float64, count))
    lon = np.radians(np.fromiter(map(_lon, places), np.float64, count))
    across = np.cos(lat)
    return across * np.cos(lon), across * np.sin(lon), np.sin(lat)


def _smallest(values: Floats, count: int) -> Indexes:
    """The indexes of the `count` smallest values, in order; equal values keep their order."""
    if len(values) <= max(count, FEW):
        return np.argsort(values, kind="stable")[:count]
    smallest = np.sort(np.argpartition(values, count)[:count])
    return smallest[np.argsort(values[smallest], kind="stable")]


def _nearest_each(near: list[_Near]) -> dict[int, int] | None:
    """Row -> driver if every delivery can have its nearest driver, which is always best; otherwise None."""
    first = {row: int(around.eligible[0]) for row, around in enumerate(near) if len(around.eligible)}
    return first if len(set(first.values())) == len(first) else None


def _best_total(near: list[_Near], ages: Floats, policy: Policy) -> dict[int, int]:
    """Row -> driver with the greatest total of rule 3.

    Solved as a minimum: a column for each driver that any delivery can get, and one for each delivery, at cost 0, for
    getting no driver. An impossible pair costs more than 0, so it is never chosen.
    """
    columns = np.unique(np.concatenate([around.eligible for around in near]))
    seconds = [_on_the_road(around.chords, policy) for around in near]
    longest = max(float(travel[-1]) for travel in seconds if len(travel))
    rewards = 1 + len(near) * longest + AGE_WEIGHT * ages
    costs = np.ones((len(near), len(columns) + len(near)))
    costs[:, len(columns) :] = 0
    for row, (around, travel) in enumerate(zip(near, seconds, strict=True)):
        costs[row, np.searchsorted(columns, around.eligible)] = travel - rewards[row]
    rows, chosen = linear_sum_assignment(costs)
    return {int(row): int(columns[column]) for row, column in zip(rows, chosen, strict=True) if column < len(columns)}


def _told(
    delivery: Waiting,
    drivers: Sequence[Candidate],
    around: _Near,
    own: int | None,
    held: set[int],
) -> list[tuple[str, str]]:
    listed = []
    for index, in_radius in zip(
        around.drivers[: NOT_TAKEN_LIMIT + 1].tolist(), around.in_radius.tolist(), strict=False
    ):
        if index == own:
            continue
        driver_id = drivers[index].driver_id
        reason = delivery.excluded.get(driver_id)
        if reason is None and not in_radius:
            reason = "out_of_radius"
        if reason is None:
            reason = "given_another" if index in held else "farther_away"
        listed.append((driver_id, reason))
    return listed[:NOT_TAKEN_LIMIT]
