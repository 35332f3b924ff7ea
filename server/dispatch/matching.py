"""Matching: which waiting delivery is offered to which driver, a pure function of both.

It only proposes; the rules of offers decide under lock. All deliveries and drivers are of one zone.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from operator import attrgetter

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from server.dispatch.policy import Policy
from server.dispatch.travel import EARTH_RADIUS_KM, haversine_km, travel_seconds

AGE_WEIGHT = 2.0
"""How many seconds of travel one second of waiting is worth, when two deliveries compete for a driver."""

NOT_TAKEN_LIMIT = 20
"""How many drivers that a delivery did not get are listed, nearest first."""

MANY_TIMES = 4
"""From so many times more drivers than deliveries on, it is quicker to leave out those who are far from all."""

MANY_PAIRS = 100_000
"""From so many pairs on, it is quicker to find out first who is near."""

ROUNDING = 1e-9
"""In radii of the Earth, 6 mm: more than what floats lose."""

FEW = 200
"""So many are sorted faster than the smallest of them are picked first."""

_lat, _lon = attrgetter("lat"), attrgetter("lon")

Floats = npt.NDArray[np.float64]
Indexes = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]


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


def match(
    waiting: Sequence[Waiting],
    drivers: Sequence[Candidate],
    now: datetime,
    policy: Policy,
    explained: Collection[str] | None = None,
) -> Matching:
    """The best pairs of who waits and who is free. `explained` are the ids of the deliveries asked about, None for all.

    1. A delivery can get a driver within its radius (straight line) that it does not exclude.
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
    pickups, places = on_sphere(*_places(waiting)), on_sphere(*_places(drivers))
    least = np.cos(np.array([delivery.radius_km for delivery in waiting]) / EARTH_RADIUS_KM)
    ages = np.array([max(0.0, (now - delivery.unassigned_since).total_seconds()) for delivery in waiting])
    allowed = None
    if any(delivery.excluded for delivery in waiting):
        allowed = np.array(
            [[driver.driver_id not in delivery.excluded for driver in drivers] for delivery in waiting], dtype=bool
        ).reshape(len(waiting), len(drivers))
    taken = dict(best_pairs(pickups, least, ages, places, policy, allowed))
    pairs = []
    for row, index in taken.items():
        delivery, driver = waiting[row], drivers[index]
        distance_km = haversine_km(delivery.lat, delivery.lon, driver.lat, driver.lon)
        pairs.append(Pair(delivery.delivery_id, driver.driver_id, driver.lat, driver.lon, distance_km))
    held = set(taken.values())
    not_taken = {
        delivery.delivery_id: _reason(delivery, drivers, pickups[row] @ places.T, least[row], taken.get(row), held)
        for row, delivery in enumerate(waiting)
        if explained is None or delivery.delivery_id in explained
    }
    return Matching(pairs, not_taken)


def best_pairs(
    pickups: Floats, least: Floats, ages: Floats, places: Floats, policy: Policy, allowed: Flags | None = None
) -> list[tuple[int, int]]:
    """The pairs (row of `pickups`, row of `places`) of the rules of `match`. Both are points on the unit sphere.

    `least` is the cosine of each delivery's radius, `ages` are the seconds that each has waited; `allowed` says which
    delivery may get which driver (all, if None).
    """
    if not len(pickups) or not len(places):
        return []
    if len(pickups) > 1 and len(pickups) * len(places) >= MANY_PAIRS:
        near = _near_any(pickups, places, allowed)
        if len(near) < len(places):
            among = None if allowed is None else allowed[:, near]
            found = best_pairs(pickups, least, ages, places[near], policy, among)
            return [(row, int(near[index])) for row, index in found]
        if allowed is None and len(places) > MANY_TIMES * len(pickups):
            return _best_of_near(pickups, least, ages, places, policy)
    nearness = pickups @ places.T
    possible = nearness >= least[:, None]
    if allowed is not None:
        possible &= allowed
    nearness[~possible] = -2.0
    first = nearness.argmax(axis=1)
    rows = np.flatnonzero(possible[np.arange(len(first)), first])
    if len(np.unique(first[rows])) == len(rows):
        return list(zip(rows.tolist(), first[rows].tolist(), strict=True))
    return _best_total(rows, nearness[rows], ages[rows], policy)


def _near_any(pickups: Floats, places: Floats, allowed: Flags | None) -> Indexes:
    """The rows of `places` without those who cannot be among the n nearest allowed ones of any of n deliveries.

    All pickups are within `spread` of their middle, and n allowed drivers within `enough` of it. So each delivery has n
    of them within `enough` + `spread`, which is at most `enough` + 2 `spread` from the middle.
    """
    middle = pickups.mean(axis=0)
    spread = np.linalg.norm(pickups - middle, axis=1).max()
    away = np.linalg.norm(places - middle, axis=1)
    count = len(pickups) + (0 if allowed is None else int((~allowed).sum(axis=1).max()))
    if count >= len(places):
        return np.arange(len(places))
    enough = np.partition(away, count - 1)[count - 1]
    return np.flatnonzero(away <= enough + 2 * spread + ROUNDING)


def _best_of_near(
    pickups: Floats, least: Floats, ages: Floats, places: Floats, policy: Policy
) -> list[tuple[int, int]]:
    """The same among many drivers: only the n nearest of each of n deliveries are looked at.

    Solved as a minimum in which each row also has its own column, which means no driver.
    """
    count = len(pickups)
    tree = cKDTree(places, balanced_tree=False, compact_nodes=False)
    chords, near = (found.reshape(count, -1) for found in tree.query(pickups, k=min(count, len(places))))
    possible = chords <= np.sqrt(np.maximum(2 - 2 * least, 0.0))[:, None]
    rows = np.flatnonzero(possible[:, 0])
    if len(np.unique(near[rows, 0])) == len(rows):
        return list(zip(rows.tolist(), near[rows, 0].tolist(), strict=True))
    columns, numbers = np.unique(near, return_inverse=True)
    numbers = numbers.reshape(near.shape)
    costs = _seconds(chords, policy)
    costs -= (1 + count * costs.max(where=possible, initial=0.0) + AGE_WEIGHT * ages)[:, None]
    nobody = 1.0 - costs.min()
    own = np.arange(count)[:, None]
    weights = np.hstack([np.where(possible, costs, 1.0) + nobody, np.full((count, 1), nobody)])
    edges = np.hstack([numbers, len(columns) + own])
    starts = np.arange(0, edges.size + 1, edges.shape[1])
    graph = csr_array((weights.ravel(), edges.ravel(), starts), shape=(count, len(columns) + count))
    graph.sort_indices()
    found, taken = min_weight_full_bipartite_matching(graph)
    return [
        (row, int(columns[column]))
        for row, column in zip(found.tolist(), taken.tolist(), strict=True)
        if column < len(columns)
    ]


def _seconds(chords: Floats, policy: Policy) -> Floats:
    """The travel times between places on the unit sphere that are so far apart in a straight line."""
    seconds: Floats = 2 * np.arcsin(np.minimum(chords / 2, 1.0))
    seconds *= EARTH_RADIUS_KM * policy.detour_factor * travel_seconds(1, policy)
    return seconds


def _best_total(rows: Indexes, nearness: Floats, ages: Floats, policy: Policy) -> list[tuple[int, int]]:
    """The pairs with the greatest total of rule 3. Each of these rows has a possible driver.

    Solved as a minimum, in which a pair that is not possible costs 0 and every other one less: it means no driver.
    """
    count = len(rows)
    columns = np.flatnonzero((nearness > -2.0).any(axis=0))
    if len(columns) > MANY_TIMES * count:
        nearest = np.argpartition(-nearness, count - 1, axis=1)[:, :count]
        near = np.zeros(nearness.shape[1], dtype=bool)
        near[nearest[np.take_along_axis(nearness, nearest, axis=1) > -2.0]] = True
        columns = np.flatnonzero(near)
    if len(columns) < nearness.shape[1]:
        nearness = nearness[:, columns]
    possible = nearness > -2.0
    # In place, since these arrays are large: arccos to a millimetre, at a tenth of its cost.
    costs = 1.0 - nearness
    np.maximum(costs, 0.0, out=costs)
    longer = 1 + costs / 12
    costs *= 2
    np.sqrt(costs, out=costs)
    costs *= longer
    costs *= EARTH_RADIUS_KM * policy.detour_factor * travel_seconds(1, policy)
    costs -= (1 + count * costs.max(where=possible, initial=0.0) + AGE_WEIGHT * ages)[:, None]
    costs[~possible] = 0.0
    chosen = linear_sum_assignment(costs)
    return [
        (int(rows[row]), int(columns[column]))
        for row, column in zip(*map(np.ndarray.tolist, chosen), strict=True)
        if possible[row, column]
    ]


def on_sphere(lats: Floats, lons: Floats) -> Floats:
    """Places in degrees as points on the unit sphere, one a row."""
    lat, lon = np.radians(lats), np.radians(lons)
    across = np.cos(lat)
    return np.stack([across * np.cos(lon), across * np.sin(lon), np.sin(lat)], axis=1)


def _places(of: Sequence[Waiting] | Sequence[Candidate]) -> tuple[Floats, Floats]:
    count = len(of)
    return np.fromiter(map(_lat, of), np.float64, count), np.fromiter(map(_lon, of), np.float64, count)


def _smallest(values: Floats, count: int) -> Indexes:
    """The indexes of the `count` smallest values, in order; equal values keep their order."""
    if len(values) <= max(count, FEW):
        return np.argsort(values, kind="stable")[:count]
    smallest = np.sort(np.argpartition(values, count)[:count])
    return smallest[np.argsort(values[smallest], kind="stable")]


def _reason(
    delivery: Waiting, drivers: Sequence[Candidate], nearness: Floats, least: float, own: int | None, held: set[int]
) -> list[tuple[str, str]]:
    listed = []
    for index in _smallest(-nearness, NOT_TAKEN_LIMIT + 1).tolist():
        if index == own:
            continue
        driver_id = drivers[index].driver_id
        reason = delivery.excluded.get(driver_id)
        if reason is None and nearness[index] < least:
            reason = "out_of_radius"
        if reason is None:
            reason = "given_another" if index in held else "farther_away"
        listed.append((driver_id, reason))
    return listed[:NOT_TAKEN_LIMIT]
