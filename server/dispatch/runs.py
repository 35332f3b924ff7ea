"""Runs: the stops of a driver in order, when they happen, what they cost, and the cheapest way to add a delivery.

Times are seconds since the epoch, as floats; a place is (latitude, longitude) in degrees. The cost of a delivery is its
delay: how many seconds later it is handed over than if a driver had waited at the store when the goods were ready. A
long delay costs more than in proportion, so that nobody waits without end.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from math import asin, cos, inf, radians, sin, sqrt
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from server.dispatch.policy import Policy
from server.dispatch.travel import EARTH_RADIUS_KM, travel_seconds

Floats = npt.NDArray[np.float64]
Spot = tuple[float, float]

DRIVING_WEIGHT: Final = 0.03
"""How many seconds of delay a second costs that a driver drives or serves."""
LONG_DELAY_SECONDS: Final = 2400.0
"""A delay of this length costs twice its seconds."""
OVERDUE_SECONDS: Final = 1800.0
"""A delivery that no driver has so long after its goods were ready comes before all that wait for less time."""


class Travel(Protocol):
    """How long ways and stops take. Half of the time at a stop is before the pickup or the handover, half after it."""

    @property
    def half_pickup(self) -> float:
        """Half of the time at a store, in seconds."""

    @property
    def half_dropoff(self) -> float:
        """Half of the time at a customer, in seconds."""

    def seconds(self, a: Spot, b: Spot) -> float:
        """The travel time from `a` to `b`."""

    def many(self, a: Floats, b: Floats) -> Floats:
        """The travel times from every row of `a` to every row of `b`, both of shape (n, 2)."""


class RoadTravel(Struct, frozen=True):
    """Travel along roads that are `detourFactor` longer than the straight line. Implements `Travel`.

    A pickup takes no time besides the wait for the goods. The two halves of a handover are `handoverSeconds`.
    """

    seconds_per_km: float
    half_dropoff: float
    half_pickup: float = 0.0

    def seconds(self, a: Spot, b: Spot) -> float:
        """The travel time from `a` to `b`."""
        north, east = radians(b[0] - a[0]) / 2, radians(b[1] - a[1]) / 2
        h = sin(north) ** 2 + cos(radians(a[0])) * cos(radians(b[0])) * sin(east) ** 2
        return 2 * EARTH_RADIUS_KM * asin(sqrt(min(h, 1.0))) * self.seconds_per_km

    def many(self, a: Floats, b: Floats) -> Floats:
        """The travel times from every row of `a` to every row of `b`."""
        lats, lons = np.radians(a[:, None, :] - b[None, :, :]).transpose(2, 0, 1) / 2
        across = np.cos(np.radians(a[:, None, 0])) * np.cos(np.radians(b[None, :, 0]))
        h = np.sin(lats) ** 2 + across * np.sin(lons) ** 2
        seconds: Floats = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(h, 1.0))) * self.seconds_per_km
        return seconds


def road_travel(policy: Policy) -> RoadTravel:
    """Travel by the policy's speed and detour."""
    return RoadTravel(travel_seconds(policy.detour_factor, policy), policy.handover_seconds / 2)


class Where(Struct, frozen=True):
    """Where a driver is, and when they can leave, in seconds since the epoch.

    `at_store`: they have just picked up goods there. `bound`: `place` is the next stop, to which they are on their way,
    and `free_at` is when they arrive.
    """

    place: Spot
    free_at: float
    at_store: bool = False
    bound: bool = False


class Limits(Struct, frozen=True):
    """What an add-on may do to others, in seconds: at most `extra` more for a customer of goods that the driver already
    has or accepted, and at most `bag` on board, unless the way itself takes longer. `weight` is how many seconds of
    delay a second of driving costs.
    """

    weight: float
    extra: float = inf
    bag: float = inf
    same_store_only: bool = False


def limits_of(policy: Policy, weight: float = DRIVING_WEIGHT) -> Limits:
    planning = policy.planning
    extra, bag = planning.max_extra_minutes * 60.0, planning.max_minutes_in_bag * 60.0
    return Limits(weight, extra, bag, planning.same_store_only)


class Insertion(NamedTuple):
    """What a job adds to the cost of a run, and the places of its stops in the new list."""

    cost: float
    pickup: int
    dropoff: int


JobKey = tuple[str, Spot, Spot, float, float, float | None, bool, bool]


class Job:
    """A delivery in a plan. `ready` is when the goods can be picked up, and not before now; `ideal` is when they could
    be handed over at best. `picked_at` is None before the pickup. `fixed`: a driver has it, or has the offer.
    `overdue`: it waits for so long that it comes before others. Jobs with the same `key` are the same, but for the time
    at which they were looked at.
    """

    def __init__(
        self,
        delivery_id: str,
        pickup: Spot,
        dropoff: Spot,
        ready: float,
        now: float,
        travel: Travel,
        *,
        picked_at: float | None = None,
        fixed: bool = False,
    ) -> None:
        self.id = delivery_id
        self.pickup = pickup
        self.dropoff = dropoff
        self.trip = travel.half_pickup + travel.seconds(pickup, dropoff) + travel.half_dropoff
        self.ideal = ready + self.trip
        self.ready = max(ready, now)
        self.overdue = not fixed and now - ready >= OVERDUE_SECONDS
        self.picked_at = picked_at
        self.fixed = fixed
        self.key: JobKey = (delivery_id, pickup, dropoff, ready, self.trip, picked_at, fixed, self.overdue)
        self.pick = Stop(self, pickup, False)
        self.drop = Stop(self, dropoff, True)


class Stop:
    """A stop of a run: the pickup or the drop-off of a job."""

    def __init__(self, job: Job, spot: Spot, is_drop: bool) -> None:
        self.job = job
        self.spot = spot
        self.is_drop = is_drop
        self.key = (job.id, is_drop)


def delay_cost(delay: float) -> float:
    """The cost of a delay, both in seconds."""
    return delay + delay * delay / LONG_DELAY_SECONDS if delay > 0 else 0.0


_State = tuple[Spot, float, bool, int, float, float]
"""Of a run after some of its stops: where and when the driver can leave, whether they can still pick up in the same
visit, how much is on board, the cost of delays and the seconds driven so far.
"""


class DriverRun:
    """The stops of a driver in order, from where they are.

    `place` and `free_at` are where and when the driver can leave. `at_store`: there they have just picked up goods, and
    can pick up more in the same visit. `bound`: they are on their way to the first stop that is theirs; then `place` is
    that stop, and `free_at` when they arrive. Nothing is picked up after `off`.

    A run remembers what it was asked: what a job would add to it, and the run with that job.
    """

    def __init__(
        self,
        driver_id: str,
        place: Spot,
        free_at: float,
        travel: Travel,
        limits: Limits,
        *,
        at_store: bool = False,
        bound: bool = False,
        off: float = inf,
        capacity: int = 1,
        load: int = 0,
        stops: Iterable[Stop] = (),
    ) -> None:
        self.driver_id = driver_id
        self.place = place
        self.free_at = free_at
        self.travel = travel
        self.limits = limits
        self.at_store = at_store
        self.bound = bound
        self.off = off
        self.capacity = capacity
        self.load = load
        self.set(stops)

    def limit(self, limits: Limits) -> None:
        """Other limits for what is added from now on."""
        self.limits = limits
        self._sum_up()

    def set(self, stops: Iterable[Stop]) -> None:
        """Replace the stops, and compute times and cost. They need not be feasible."""
        self.stops = list(stops)
        states: list[_State] = [(self.place, self.free_at, self.at_store, self.load, 0.0, 0.0)]
        whens = []
        for stop in self.stops:
            when, state = self._do(states[-1], stop)
            whens.append(when)
            states.append(state)
        self._states = states
        self.whens: Sequence[float] = whens
        """When each stop happens: the moment of the pickup or of the handover."""
        self.end: tuple[Spot, float] = states[-1][:2]
        self._due = {stop.key: when for stop, when in zip(self.stops, whens, strict=True)}
        self._first = next((index for index, stop in enumerate(self.stops) if stop.job.fixed), -1) if self.bound else -1
        self._sum_up()

    def _sum_up(self) -> None:
        """The cost by the limits as they are now. What was remembered is forgotten."""
        self.cost = self._states[-1][4] + self.limits.weight * self._states[-1][5]
        self._found: dict[JobKey, Insertion | None] = {}
        self._after: dict[tuple[JobKey, Insertion], DriverRun] = {}

    def _do(self, state: _State, stop: Stop) -> tuple[float, _State]:
        """When the next stop happens, and the state after it."""
        place, free, at_store, load, cost, driven = state
        way = 0.0 if place == stop.spot else self.travel.seconds(place, stop.spot)
        if stop.is_drop:
            half = self.travel.half_dropoff
            way_and_stop = way + 2 * half
            when = free + way + half
            cost += delay_cost(when - stop.job.ideal)
            load -= 1
        else:
            half = self.travel.half_pickup
            # Goods that are picked up in one visit share the time at the store.
            if at_store and place == stop.spot:
                when, way_and_stop = free - half, 0.0
            else:
                when, way_and_stop = free + way + half, way + 2 * half
            when = max(when, stop.job.ready)
            load += 1
        return when, (stop.spot, when + half, not stop.is_drop, load, cost, driven + way_and_stop)

    def leaves(self, index: int) -> float:
        """The latest time to set out for this stop, as planned. If the driver goes on to stops that are theirs, that is
        as soon as the stop before is done.
        """
        stop, before = self.stops[index], self._states[index]
        if any(later.job.fixed for later in self.stops[index + 1 :]):
            return before[1]
        way = self.travel.seconds(before[0], stop.spot)
        return max(before[1], self.whens[index] - self.travel.half_pickup - way)

    def insertion(self, job: Job) -> Insertion | None:
        """The cheapest feasible place for a job, or None.

        Feasible: at most `capacity` on board, pickups before `off`, a driver who is on their way goes there first, a
        job that is overdue is not delayed, and `limits` hold, unless they were broken before as much.
        """
        if job.key not in self._found:
            self._found[job.key] = self._cheapest(job)
        return self._found[job.key]

    def _cheapest(self, job: Job) -> Insertion | None:
        found, least = None, inf
        for first in range(len(self.stops) + 1):
            state = self._states[first]
            if first <= self._first and job.pickup != self.place:
                continue
            if self.limits.same_store_only and state[3] and not self._carries_from(job.pickup, first):
                continue
            # More goods of the store that they are on the way to: all are picked up in one visit.
            for last in range(max(first, self._first + 1), len(self.stops) + 1):
                stops = [job.pick, *self.stops[first:last], job.drop, *self.stops[last:]]
                cost = self._cost(first, stops, least)
                if cost is not None:
                    found, least = Insertion(cost, first, last + 1), cost
        return found

    def _carries_from(self, pickup: Spot, first: int) -> bool:
        """Whether all goods on board before this stop are from this store."""
        dropped = {stop.job.id for stop in self.stops[:first] if stop.is_drop}
        return all(stop.job.pickup == pickup for stop in self.stops if stop.is_drop and stop.job.id not in dropped)

    def _cost(self, first: int, stops: Sequence[Stop], least: float) -> float | None:
        """What it adds if these stops follow the first ones; None if not feasible, or not less than `least`.

        This is the inner loop of the planner, so it has the steps of `_do` written out.
        """
        place, free, at_store, load, cost, driven = self._states[first]
        limits, off, capacity, due, seconds = self.limits, self.off, self.capacity, self._due, self.travel.seconds
        half_pickup, half_dropoff, weight = self.travel.half_pickup, self.travel.half_dropoff, limits.weight
        most, picked = least + self.cost, dict[str, float]()
        for stop in stops:
            job, spot, before = stop.job, stop.spot, due.get(stop.key)
            if stop.is_drop:
                way = seconds(place, spot) if place != spot else 0.0
                when = free + way + half_dropoff
                if before is None or when > before:
                    if before is not None and (job.overdue or (job.fixed and when - before > limits.extra)):
                        return None
                    since = picked.get(job.id, job.picked_at)
                    since = due[job.pick.key] if since is None else since
                    if when - since > limits.bag and when - since > job.trip + 1.0:
                        return None
                delay = when - job.ideal
                if delay > 0:
                    cost += delay + delay * delay / LONG_DELAY_SECONDS
                driven += way + 2 * half_dropoff
                free, at_store, load = when + half_dropoff, False, load - 1
            else:
                if place != spot:
                    way = seconds(place, spot)
                    driven += way + 2 * half_pickup
                    when = free + way + half_pickup
                elif at_store:
                    when = free - half_pickup
                else:
                    driven += 2 * half_pickup
                    when = free + half_pickup
                if when < job.ready:
                    when = job.ready
                picked[job.id] = when
                load += 1
                if load > capacity or (when > off and (before is None or when > before)):
                    return None
                free, at_store = when + half_pickup, True
            place = spot
            if cost + weight * driven >= most:
                return None
        return cost + weight * driven - self.cost

    def place_job(self, job: Job, found: Insertion) -> None:
        """Add a job where `insertion` found a place."""
        stops = list(self.stops)
        stops.insert(found.pickup, job.pick)
        stops.insert(found.dropoff, job.drop)
        self.set(stops)

    def with_job(self, job: Job, found: Insertion) -> "DriverRun":
        """Another run, in which the job has been added where `insertion` found a place."""
        known = self._after.get((job.key, found))
        if known is None:
            known = self._after[job.key, found] = copy(self)
            known.place_job(job, found)
        return known

    def append(self, job: Job) -> None:
        """Add a job that the driver has, where it fits best, or at the end."""
        found = None if job.picked_at is not None else self.insertion(job)
        if found is not None:
            self.place_job(job, found)
        else:
            self.set([*self.stops, *([job.pick] if job.picked_at is None else []), job.drop])
