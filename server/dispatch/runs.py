"""Runs: the stops of a driver in order, when they happen, what they cost, and the cheapest way to add a delivery.

Times are seconds since the epoch, as floats; a place is (latitude, longitude) in degrees. The cost of a delivery is its
delay: how many seconds later it is handed over than if a driver had waited at the store when the goods were ready. A
long delay costs more than in proportion, so that nobody waits without end.
"""

from collections.abc import Iterable, Sequence
from math import asin, cos, inf, radians, sin, sqrt
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from scipy.spatial.distance import cdist

from server.dispatch.policy import Policy
from server.dispatch.travel import EARTH_RADIUS_KM, travel_seconds

Floats = npt.NDArray[np.float64]
Spot = tuple[float, float]

DRIVING_WEIGHT: Final = 0.03
"""How many seconds of delay a second costs that a driver drives or serves."""
LONG_DELAY_SECONDS: Final = 2400.0
"""A delay of this length costs twice its seconds."""
SHORT_CHORD: Final = 0.002
"""Up to this chord of the unit sphere, 13 km, the arc is not two millimetres longer."""
LONG_CHORD: Final = 0.02
"""Up to this one, 127 km, the first two terms of its series are exact to a millimetre."""
OVERDUE_SECONDS: Final = 1800.0
"""A delivery that no driver has so long after its goods were ready comes before all that wait for less time."""

LONGEST_DELAY_SECONDS: Final = 7 * 86_400.0
"""Goods that were ready longer ago count as ready so long ago: some programs say 1970 for now, and the cost of such a
delay would be that of what is impossible."""


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
        seconds: Floats = cdist(on_sphere(a), on_sphere(b))
        longest = seconds.max(initial=0.0)
        if longest > LONG_CHORD:
            seconds = 2 * np.arcsin(np.minimum(seconds / 2, 1.0))
        elif longest > SHORT_CHORD:
            seconds *= 1 + seconds * seconds / 24
        seconds *= EARTH_RADIUS_KM * self.seconds_per_km
        return seconds


def on_sphere(spots: Floats) -> Floats:
    """Places in degrees as points on the unit sphere, one a row."""
    lat, lon = np.radians(spots[:, 0]), np.radians(spots[:, 1])
    across = np.cos(lat)
    return np.stack([across * np.cos(lon), across * np.sin(lon), np.sin(lat)], axis=1)


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
        ready = max(ready, now - LONGEST_DELAY_SECONDS)
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
        costs = [state[4] + self.limits.weight * state[5] for state in self._states]
        self.cost = costs[-1]
        self._rest = [self.cost - cost for cost in costs]
        """What the stops cost from each one on."""
        self._gaps: Floats | None = None
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
        """Every place of the pickup, and for each every place of the drop-off, as long as it can be the cheapest.

        Ways are never shorter over another place, so what is done later costs no less: the job itself as late as it is
        picked up now, and the stops that are left as much as without the job.
        """
        found, least = None, inf
        count, weight, bag = len(self.stops), self.limits.weight, max(self.limits.bag, job.trip + 1.0)
        half, seconds = self.travel.half_dropoff, self.travel.seconds
        for first in range(count + 1):
            if first <= self._first and job.pickup != self.place:
                continue
            before = self._states[first]
            if self.limits.same_store_only and before[3] and not self._carries_from(job.pickup, first):
                continue
            when, state = self._do(before, job.pick)
            own = delay_cost(when + job.trip - job.ideal)
            if when > self.off or own >= least:
                break
            if state[3] > self.capacity:
                continue
            picked: dict[str, float] = {}
            for last in range(first, count + 1):
                # More goods of the store that they are on the way to: all are picked up in one visit.
                if last > self._first:
                    place, free, _, load, cost, driven = state
                    way = seconds(place, job.dropoff) if place != job.dropoff else 0.0
                    dropped = free + way + half
                    if dropped - when > bag:
                        break
                    cost += delay_cost(dropped - job.ideal)
                    most = least + self.cost
                    if cost + weight * driven + self._rest[last] < most:
                        after = (job.dropoff, dropped + half, False, load - 1, cost, driven + way + 2 * half)
                        end = self._done(after, last, count, picked, most)
                        if end is not None and end[4] + weight * end[5] < most:
                            least = end[4] + weight * end[5] - self.cost
                            found = Insertion(least, first, last + 1)
                if last < count:
                    going_on = self._done(state, last, last + 1, picked, least + self.cost - own)
                    if going_on is None:
                        break
                    state = going_on
        return found

    @property
    def gaps(self) -> Floats:
        """For `least_costs`, a row for each place of a pickup among the stops: where the driver is before it and goes
        after it, when they leave, the way between both, the end of the shift, how long they wait later on, how many
        stops after it are late, and whether they are full, may only pick up where they are, and have no stop after it.
        """
        if self._gaps is None:
            rows, waits, late = [], 0.0, 0
            for index in range(len(self.stops), -1, -1):
                place, free, at_store, load, _, _ = self._states[index]
                following, way = place, 0.0
                if index < len(self.stops):
                    stop, when = self.stops[index], self.whens[index]
                    following, way = stop.spot, self.travel.seconds(place, stop.spot)
                    if stop.is_drop:
                        late += when >= stop.job.ideal
                    else:
                        half = self.travel.half_pickup
                        waits += when - free - way - (-half if at_store and place == stop.spot else half)
                full = load >= self.capacity
                same = index <= self._first
                rows.append(
                    (*place, *following, free, way, self.off, waits, late, full, same, index == len(self.stops))
                )
            self._gaps = np.array(rows[::-1], dtype=np.float64)
        return self._gaps

    def _carries_from(self, pickup: Spot, first: int) -> bool:
        """Whether all goods on board before this stop are from this store."""
        dropped = {stop.job.id for stop in self.stops[:first] if stop.is_drop}
        return all(stop.job.pickup == pickup for stop in self.stops if stop.is_drop and stop.job.id not in dropped)

    def _done(self, state: _State, begin: int, end: int, picked: dict[str, float], most: float) -> _State | None:
        """The state after the stops from `begin` to before `end`, if they are done from `state` on, with a new job.
        None if that is not feasible, or if all stops cost `most` or more. `picked` are the times of pickups since the
        new one.

        This is the inner loop of the planner, so it has the steps of `_do` written out.
        """
        place, free, at_store, load, cost, driven = state
        limits, off, capacity, seconds = self.limits, self.off, self.capacity, self.travel.seconds
        half_pickup, half_dropoff, weight = self.travel.half_pickup, self.travel.half_dropoff, limits.weight
        for index in range(begin, end):
            stop, before = self.stops[index], self.whens[index]
            job, spot = stop.job, stop.spot
            if stop.is_drop:
                way = seconds(place, spot) if place != spot else 0.0
                when = free + way + half_dropoff
                if when > before:
                    if job.overdue or (job.fixed and when - before > limits.extra):
                        return None
                    since = picked.get(job.id, job.picked_at)
                    since = self._due[job.pick.key] if since is None else since
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
                if load > capacity or (when > off and when > before):
                    return None
                free, at_store = when + half_pickup, True
            place = spot
            if cost + weight * driven + self._rest[index + 1] >= most:
                return None
        return place, free, at_store, load, cost, driven

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
            known = self._after[job.key, found] = DriverRun.__new__(DriverRun)
            known.__dict__.update(self.__dict__)
            known.place_job(job, found)
        return known

    def append(self, job: Job) -> None:
        """Add a job that the driver has, where it fits best, or at the end."""
        found = None if job.picked_at is not None else self.insertion(job)
        if found is not None:
            self.place_job(job, found)
        else:
            self.set([*self.stops, *([job.pick] if job.picked_at is None else []), job.drop])


def least_costs(jobs: Sequence[Job], runs: Sequence[DriverRun], travel: Travel, weight: float) -> Floats:
    """What each job (rows) adds to each run (columns) at least, `inf` if it cannot be added: a bound below the cost of
    `DriverRun.insertion`, for all pairs at once.

    It counts the delay of the job itself, the way round by the store, and the delay of the stops after that which are
    late already.
    """
    gaps = [run.gaps for run in runs]
    firsts = np.cumsum([0, *(len(each) for each in gaps[:-1])])
    table = np.concatenate(gaps)
    frees, ways_on, offs, waits, late, full, same, last = table[:, 4:].T
    pickups = np.array([job.pickup for job in jobs])
    ready, trip, ideal = np.array([(job.ready, job.trip, job.ideal) for job in jobs]).T[:, :, None]
    ways, onward = travel.many(pickups, table[:, 0:2]), travel.many(pickups, table[:, 2:4])
    half = travel.half_pickup
    # Goods that are picked up in one visit share the time at the store.
    service = np.where((ways > 0) & (onward > 0), 2 * half, 0.0)
    picked = np.maximum(frees + ways + np.where(ways > 0, half, -half), ready)
    delay = np.maximum(picked + trip - ideal, 0.0)
    round_by_store = np.maximum(ways + onward - ways_on, 0.0) + service
    driven = np.where(last > 0, ways + trip - travel.half_dropoff - half + service, round_by_store)
    later = np.maximum(picked + onward + np.where(onward > 0, half, -half) - frees - ways_on - waits, 0.0)
    costs = delay * (1.0 + delay / LONG_DELAY_SECONDS) + weight * (driven + 2 * travel.half_dropoff) + late * later
    costs[(picked > offs) | (full > 0) | ((same > 0) & (ways > 0))] = inf
    found: Floats = np.minimum.reduceat(costs, firsts, axis=1)
    return found
