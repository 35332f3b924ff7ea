"""The plan: the offers to make now, the deliveries that are held and until when, and why each other delivery waits.

It only proposes; the rule of `OfferDelivery` decides again under lock. Nothing here keeps state: the result follows
from the arguments alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import cos, inf
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace
from scipy.optimize import linear_sum_assignment

from server.dispatch.driver_runs import active_jobs, added_to, job_of
from server.dispatch.model import Delivery, Driver
from server.dispatch.offers import dispatchable, exclusion, has_all, helping, in_reach, serves, unfit, wants_offer
from server.dispatch.planning.fleet import Fleet
from server.dispatch.policy import Policy
from server.dispatch.runs import (
    DRIVING_WEIGHT,
    LONG_DELAY_SECONDS,
    DriverRun,
    Floats,
    Insertion,
    Job,
    Spot,
    Stop,
    Travel,
    Where,
    delay_cost,
    limits_of,
)
from server.dispatch.search_reasons import (
    ALL_BUSY,
    ALL_EXCLUDED,
    HELD,
    NONE_IN_RADIUS,
    NONE_IN_ZONE,
    REQUIREMENTS_NOT_MET,
    SHIFTS_END,
    TRIP_TOO_LONG,
)
from server.dispatch.travel import EARTH_RADIUS_KM, Added

PLANNED: Final = "driver_not_free_yet"

STRAIN_WEIGHT: Final = 1.0
"""How much more it costs under strain: so much with one late delivery for each driver (`Plan.strain`)."""
LATE_SECONDS: Final = 60.0
"""A delivery is late if it is planned to be picked up so long after its goods are ready."""
CLOSER_LOOKS: Final = 20
"""In how many runs that have stops already a place for a delivery is looked for."""
LONGEST_RUN: Final = 10
"""How many stops a run may have before more is planned."""
POSTPONED_SECONDS: Final = 900.0
"""A delay for which a delivery goes to the next layer instead, where it can share a run with one of the first."""
SOON_SECONDS: Final = 900.0
"""Goods that are ready sooner make that more expensive, by so many seconds at most if they are ready now."""
SHIFT_PRICE: Final = 60.0
"""How many seconds of delay it costs to use a driver whose shift ends late instead of one whose shift ends now."""
LATE_SHIFT_SECONDS: Final = 7200.0
"""A shift that ends so much later, or has no end, ends late."""
PRICED_SECONDS: Final = 180.0
"""The orders that stores are expected to place in this time count in the price of the driver who is nearest to them."""
EXPECTED_WEIGHT: Final = 0.5
"""How much an order that is expected counts beside one that waits: it may not come."""
EXPECTED_DELAY_SECONDS: Final = 900.0
"""A delay of an expected order counts up to this. A longer one does not change the plan."""
FARTHEST_SECONDS: Final = 3600.0
"""A driver who would be at a store later than this is not near it, and neither is one whose shift is at its end."""
SHIFT_END_SECONDS: Final = 600.0
NOT_NOW: Final = 1e9
"""What it costs if a delivery that is not held is planned for a driver who can get no offer now: only if nobody can."""
NEVER: Final = 1e12

Flags = npt.NDArray[np.bool_]
Planned = tuple[str, bool]
"""A stop of a run: the delivery, and whether it is the drop-off."""


class Proposal(Struct, frozen=True):
    """Offer this delivery to this driver, who is at `lat`, `lon` (degrees)."""

    delivery_id: str
    driver_id: str
    lat: float
    lon: float


class KnownRun(Struct, frozen=True):
    """The run of what a driver had in a plan: the deliveries `theirs`, from `where`, at Unix seconds `at`."""

    run: DriverRun
    theirs: tuple[Delivery, ...]
    where: Where
    at: float

    def is_good(self, at: float) -> bool:
        """Whether it is the same at another time: so it is as long as the driver cannot do anything before that, since
        nothing in it happens earlier then.
        """
        return at == self.at or (self.where.free_at >= max(at, self.at) and not self.where.at_store)


class Plan(Struct, frozen=True):
    """`proposals` are to be offered now, at most one for a delivery and for a driver. `held` has the deliveries that
    wait for the time at which they are offered to a driver who is planned, in seconds since the epoch. `reasons` says
    of every waiting delivery without a proposal why it has none. `runs` are the stops of each driver in order, with
    those that are only planned. `strain` is the number of planned deliveries that will be picked up late, for each
    driver at work. `memo` has what the next plan need not find out again.
    """

    proposals: list[Proposal]
    held: Mapping[str, float]
    reasons: Mapping[str, str]
    runs: Mapping[str, tuple[Planned, ...]]
    strain: float = 0.0
    memo: Mapping[str, KnownRun] = {}


NO_PLAN: Final = Plan([], {}, {}, {})


def plan(
    fleet: Fleet,
    now: datetime,
    travel: Travel,
    policy: Policy,
    before: Plan = NO_PLAN,
    zone: str | None = None,
) -> Plan:
    """The plan for all zones, or for one zone and the drivers of the zones that help there.

    `before` is the plan before this one: drivers keep the order of their stops, and it saves time. Without it, the
    stops of a driver are in the cheapest order.

    1. The drivers at work with what they have, in order.
    2. What waits is given to runs at the least total cost: one delivery each at first, then more (`_layer`). Deliveries
       that are overdue come first, the oldest before all others if there are more of them than drivers.
    3. A delivery is proposed when its planned driver has to leave, or is held until then. Without preparation time, or
       with `planning.hold` off, it is proposed at once.
    4. If the rules would refuse a proposal, because they expect the driver there after the end of the shift, all is
       planned again without it.
    """
    refused: dict[str, set[str]] = {}
    while True:
        planning = _Planning(fleet, now, travel, policy, before, zone, refused)
        found = planning.plan()
        if not planning.unfit:
            return found
        for delivery_id, driver_id in planning.unfit:
            refused.setdefault(delivery_id, set()).add(driver_id)


class _Planning:
    """One plan while it is made."""

    def __init__(
        self,
        fleet: Fleet,
        now: datetime,
        travel: Travel,
        policy: Policy,
        before: Plan,
        zone: str | None,
        refused: Mapping[str, set[str]],
    ) -> None:
        self.fleet, self.now, self.travel, self.policy, self.before = fleet, now, travel, policy, before
        self.zone = zone
        self.refused = refused
        """By delivery: the drivers who must not get it, since the rules would refuse the offer."""
        self.unfit: list[tuple[str, str]] = []
        """More of the same: what this plan would have proposed."""
        self.at = now.timestamp()
        self.waiting = fleet.waiting(zone)
        self.drivers = self._drivers(zone)
        self.jobs = {delivery.id: self._job(delivery) for delivery in self.waiting if not delivery.needs_check()}
        self.at_work = {driver.id for driver in self.drivers if _at_work(driver, now, policy) is None}
        self.can_now = {driver.id for driver in self.drivers if dispatchable(driver, now, policy) is None}
        self.limits = limits_of(policy, DRIVING_WEIGHT + STRAIN_WEIGHT * min(1.0, round(before.strain, 1)))
        self.runs: dict[str, DriverRun] = {}
        self.memo: dict[str, KnownRun] = {}

    def _drivers(self, zone: str | None) -> Sequence[Driver]:
        if zone is None:
            return self.fleet.drivers_of(None)
        zones = {zone}
        for delivery in self.waiting:
            zones.update(helping(delivery, self.fleet.zones))
        return [driver for each in sorted(zones) for driver in self.fleet.drivers_of(each)]

    def _job(self, delivery: Delivery, *, fixed: bool = False) -> Job:
        return job_of(delivery, delivery.active_assignment(), self.at, self.travel, fixed=fixed)

    def plan(self) -> Plan:
        open_runs = []
        for driver in self.drivers:
            where = self.fleet.places.get(driver.id)
            if where is None:
                continue
            known = self.memo[driver.id] = self._known(driver, where)
            self.runs[driver.id] = known.run
            if driver.id in self.at_work:
                open_runs.append(known.run)
        if self.policy.planning.next_jobs:
            self.can_now -= {run.driver_id for run in open_runs if not self._is_free_soon(run)}
        overdue = [job for job in self.jobs.values() if job.overdue]
        overdue.sort(key=lambda job: (job.ideal - job.trip, job.id))
        for start in range(0, len(overdue) if open_runs else 0, max(1, len(open_runs))):
            self._layer(overdue[start : start + len(open_runs)], open_runs, first=False)
        left = [job for job in self.jobs.values() if not job.overdue]
        if open_runs and left:
            left, before = self._layer(left, open_runs, first=True), len(left) + 1
            while left and len(left) < before:
                left, before = self._layer(left, open_runs, first=False), len(left)
        self.runs.update((run.driver_id, run) for run in open_runs)
        return self._result()

    def _is_free_soon(self, run: DriverRun) -> bool:
        """Whether a driver has fewer deliveries than their capacity, or will within `holdSlackMinutes`: then the policy
        may allow a next job.
        """
        if not self.fleet.drivers[run.driver_id].busy:
            return True
        drops = [when for stop, when in zip(run.stops, run.whens, strict=True) if stop.is_drop]
        return bool(drops) and drops[0] + self.travel.half_dropoff <= self.at + self._lead_seconds

    def _known(self, driver: Driver, where: Where) -> KnownRun:
        """The run of what the driver has. As the plan before had it, if nothing has changed."""
        known, theirs = self.before.memo.get(driver.id), self.fleet.jobs_of(driver.id)
        off = driver.shift_ends_at.timestamp() if driver.shift_ends_at is not None else inf
        if known is not None and known.theirs is theirs and known.where == where and known.is_good(self.at):
            run = known.run
            if (run.off, run.capacity, run.limits, run.travel) == (off, driver.capacity, self.limits, self.travel):
                return known
        return KnownRun(self._run(driver, theirs, where, off), theirs, where, self.at)

    def _run(self, driver: Driver, has: Iterable[Delivery], where: Where, off: float) -> DriverRun:
        """What the driver has, in the order of the plan before; the rest where it fits best."""
        theirs = {delivery.id: self._job(delivery, fixed=True) for delivery in has}
        stops: list[Stop] = []
        for delivery_id, is_drop in self.before.runs.get(driver.id, ()):
            job = theirs.get(delivery_id)
            if job is not None and (is_drop or job.picked_at is None):
                stops.append(job.drop if is_drop else job.pick)
        known = {stop.job.id for stop in stops}
        if where.bound:
            # An offer for a stop before may have been open when they left.
            stops.sort(key=lambda stop: stop.spot != where.place or (stop.is_drop and stop.job.picked_at is None))
        run = DriverRun(
            driver.id,
            where.place,
            where.free_at if where.bound else max(where.free_at, self.at),
            self.travel,
            replace(self.limits, extra=inf, bag=inf),
            at_store=where.at_store,
            bound=where.bound,
            off=off,
            capacity=driver.capacity,
            load=sum(job.picked_at is not None for job in theirs.values()),
            stops=stops,
        )
        # A driver who is on the way to a stop goes there first. What is on board comes before what is not.
        first = where.place if where.bound else None
        for job in sorted(theirs.values(), key=lambda job: (_next_spot(job) != first, job.picked_at is None)):
            if job.id not in known:
                run.append(job)
        run.limit(self.limits)
        return run

    def _layer(self, jobs: list[Job], runs: list[DriverRun], *, first: bool) -> list[Job]:
        """Give at most one of the jobs to each run, at the least total cost. Returns the jobs that got none.

        Rows are jobs, columns are runs, and one more column for each job that gets none: it costs as much as a delay of
        `POSTPONED_SECONDS`, and after the first layer more than anything possible. In the first layer, expected orders
        compete for the runs: what they would need is kept free if something else costs little more.
        """
        costs, places = self._costs(jobs, runs)
        alone = np.full((len(jobs), len(jobs)), NEVER * 2)
        for row, job in enumerate(jobs):
            postponed = max(0.0, self.at + SOON_SECONDS - job.ready) + POSTPONED_SECONDS
            alone[row, row] = delay_cost(postponed) if first else NEVER / 2
        table = np.hstack([costs, alone])
        if first:
            table = self._with_expected(table, runs)
        left = []
        for row, column in zip(*map(np.ndarray.tolist, linear_sum_assignment(table)), strict=True):
            if row >= len(jobs):
                break
            job = jobs[row]
            if column >= len(runs):
                left.append(job)
                continue
            place = places.get((row, column))
            runs[column] = runs[column].with_job(job, place or Insertion(0.0, 0, 1))
        return left

    def _with_expected(self, table: Floats, runs: list[DriverRun]) -> Floats:
        """The table with one more row and column for each expected order, at the end of the runs."""
        stores, ready = self.fleet.expected(self.at, self.zone)
        if not len(ready):
            return table
        ends, frees = np.array([run.end[0] for run in runs]), np.array([run.end[1] for run in runs])
        offs = np.array([run.off for run in runs])
        ways = self.travel.many(stores, ends)
        picked = np.maximum(frees + ways + self.travel.half_pickup, ready[:, None])
        delay = picked - ready[:, None]
        none = delay_cost(EXPECTED_DELAY_SECONDS)
        costs = np.minimum(delay + delay * delay / LONG_DELAY_SECONDS + self.limits.weight * ways, none)
        costs[picked > offs] = none
        (jobs, columns), expected = table.shape, len(ready)
        whole = np.full((jobs + expected, columns + expected), NEVER * 2)
        whole[:jobs, :columns] = table
        whole[jobs:, : len(runs)] = EXPECTED_WEIGHT * costs
        whole[range(jobs, jobs + expected), range(columns, columns + expected)] = EXPECTED_WEIGHT * none
        return whole

    def _costs(self, jobs: list[Job], runs: list[DriverRun]) -> tuple[Floats, dict[tuple[int, int], Insertion]]:
        """What each job adds to each run, and where, for runs that have stops; `NEVER` where it is not possible."""
        pickups = np.array([job.pickup for job in jobs])
        ready, trip, ideal = np.array([(job.ready, job.trip, job.ideal) for job in jobs]).T[:, :, None]
        starts, ends = np.array([run.place for run in runs]), np.array([run.end[0] for run in runs])
        begins, frees = np.array([run.free_at for run in runs]), np.array([run.end[1] for run in runs])
        offs = np.array([run.off for run in runs])
        possible = self._possible(jobs, runs, pickups, starts, ends)
        ways = self.travel.many(pickups, ends)
        picked = np.maximum(frees + ways + self.travel.half_pickup, ready)
        delay = np.maximum(picked + trip - ideal, 0.0)
        costs = (
            delay
            + delay * delay / LONG_DELAY_SECONDS
            + self.limits.weight * (ways + trip + self.travel.half_pickup + self.travel.half_dropoff)
        )
        costs[(picked > offs) | ~possible] = NEVER
        places: dict[tuple[int, int], Insertion] = {}
        busy = np.array([index for index, run in enumerate(runs) if run.stops], dtype=np.intp)
        if len(busy):
            near = self.travel.many(pickups, starts[busy])
            late = np.maximum(begins[busy] + near - ready, 0.0) + self.limits.weight * near
            likely = np.where(possible[:, busy], np.minimum(late, costs[:, busy]), NEVER)
            costs[:, busy] = NEVER
            looks = min(CLOSER_LOOKS, len(busy))
            for row, columns in enumerate(np.sort(np.argpartition(likely, looks - 1, axis=1)[:, :looks]).tolist()):
                for column in columns:
                    index = int(busy[column])
                    if likely[row, column] >= NEVER or len(runs[index].stops) >= LONGEST_RUN:
                        continue
                    place = runs[index].insertion(jobs[row])
                    if place is not None:
                        places[row, index], costs[row, index] = place, place.cost
        costs = np.where(costs < NEVER, costs + self._prices(runs), costs)
        now = np.array([run.driver_id in self.can_now for run in runs])
        for row, job in enumerate(jobs):
            if not self._may_be_held(self.fleet.deliveries[job.id]):
                costs[row, ~now & (costs[row] < NEVER)] += NOT_NOW
        return costs, places

    def _possible(self, jobs: list[Job], runs: list[DriverRun], pickups: Floats, starts: Floats, ends: Floats) -> Flags:
        """Whether a job may be given to a run's driver: by zone, radius, requirements and what happened before."""
        drivers = [self.fleet.drivers[run.driver_id] for run in runs]
        nearness = np.maximum(_on_sphere(pickups) @ _on_sphere(starts).T, _on_sphere(pickups) @ _on_sphere(ends).T)
        index_of = {driver.id: index for index, driver in enumerate(drivers)}
        zones = np.array([driver.zone for driver in drivers])
        rows: dict[tuple[str, ...], Flags] = {}
        possible = np.ones((len(jobs), len(runs)), dtype=bool)
        for row, job in enumerate(jobs):
            delivery = self.fleet.deliveries[job.id]
            served = (delivery.zone, *helping(delivery, self.fleet.zones))
            if served not in rows:
                rows[served] = np.isin(zones, served)
            possible[row] = rows[served] & (nearness[row] >= cos(self._radius_km(delivery) / EARTH_RADIUS_KM))
            refused = self.refused.get(job.id, set())
            for driver_id in index_of.keys() & (_earlier(delivery) | refused):
                if driver_id in refused or exclusion(delivery, driver_id, self.now, self.policy) is not None:
                    possible[row, index_of[driver_id]] = False
            if delivery.requirements:
                possible[row] &= [has_all(driver.tags, delivery.requirements) for driver in drivers]
        return possible

    def _prices(self, runs: list[DriverRun]) -> Floats:
        """What it costs later to use each driver now, in seconds of delay.

        A driver who works for long can still be used after the others have gone. Orders that are expected of the stores
        nearby (`Fleet.pace`) would be picked up by the next nearest driver instead. Under strain that counts less, and
        nothing with one late delivery for each driver: nobody is kept then.
        """
        ends, frees = np.array([run.end[0] for run in runs]), np.array([run.end[1] for run in runs])
        offs = np.array([run.off for run in runs])
        prices: Floats = SHIFT_PRICE * np.clip((offs - frees) / LATE_SHIFT_SECONDS, 0.0, 1.0)
        stores, rates = self.fleet.pace(self.at)
        if len(runs) < 2 or not len(stores):
            return prices
        arrives = self.travel.many(stores, ends) + np.maximum(0.0, frees - self.at)
        arrives[:, offs < self.at + SHIFT_END_SECONDS] = FARTHEST_SECONDS
        two = np.partition(np.minimum(arrives, FARTHEST_SECONDS), 1, axis=1)
        longer = (two[:, 1] - two[:, 0]) * rates * PRICED_SECONDS * max(0.0, 1.0 - self.before.strain)
        return prices + np.bincount(np.argmin(arrives, axis=1), longer, minlength=len(runs))

    def _radius_km(self, delivery: Delivery) -> float:
        wide = delivery.widened_at is not None
        return self.policy.wide_search_radius_km if wide else self.policy.search_radius_km

    def _result(self) -> Plan:
        proposals: list[Proposal] = []
        held: dict[str, float] = {}
        reasons = {delivery.id: TRIP_TOO_LONG for delivery in self.waiting if delivery.id not in self.jobs}
        planned = set()
        late = 0
        for run in self.runs.values():
            driver = self.fleet.drivers[run.driver_id]
            free = run.driver_id in self.can_now
            for index, stop in enumerate(run.stops):
                if stop.is_drop or stop.job.fixed:
                    continue
                planned.add(stop.job.id)
                ready = self.jobs[stop.job.id].ready
                late += run.whens[index] > ready + LATE_SECONDS
                delivery = self.fleet.deliveries[stop.job.id]
                offer_at = run.leaves(index) - self._lead_seconds if self._may_be_held(delivery) else -inf
                now = free and offer_at <= self.at and wants_offer(delivery)
                if now and not self._fits(driver, delivery):
                    self.unfit.append((delivery.id, driver.id))
                elif now:
                    place = driver.position
                    assert place is not None
                    proposals.append(Proposal(delivery.id, driver.id, place.lat, place.lon))
                    free = False
                elif delivery.held_until is not None or (offer_at > self.at and run.whens[index] <= ready):
                    held[delivery.id], reasons[delivery.id] = offer_at, HELD
                else:
                    reasons[delivery.id] = PLANNED
        for job in self.jobs.values():
            if job.id not in planned:
                reasons[job.id] = self._why_none(job)
        runs = {
            run.driver_id: tuple((stop.job.id, stop.is_drop) for stop in run.stops)
            for run in self.runs.values()
            if run.stops
        }
        return Plan(proposals, held, reasons, runs, late / max(1, len(self.at_work)), self.memo)

    def _fits(self, driver: Driver, delivery: Delivery) -> bool:
        """Whether the rules would make this offer."""
        run = self._in_run(driver, delivery)
        place = driver.position
        assert place is not None
        if not driver.active_count and not in_reach(delivery, place.lat, place.lon, self.policy):
            return False
        return unfit(delivery, driver, self.now, self.policy, run) is None

    def _in_run(self, driver: Driver, delivery: Delivery) -> Added | None:
        """The delivery in the run that the rules expect; None if the driver has no other."""
        jobs = active_jobs(self.fleet.jobs_of(driver.id))
        if not jobs:
            return None
        assert driver.position is not None
        at = (driver.position.lat, driver.position.lon)
        stops = self.fleet.stored_runs.get(driver.id, ())
        return added_to(jobs, stops, driver, delivery, at, self.now, self.policy)

    @property
    def _lead_seconds(self) -> float:
        return self.policy.planning.hold_slack_minutes * 60.0

    def _may_be_held(self, delivery: Delivery) -> bool:
        return self.policy.planning.hold and delivery.prep_seconds > 0

    def _why_none(self, job: Job) -> str:
        """Why a delivery is in no run, with the codes of `dispatch/search_reasons.py`."""
        delivery = self.fleet.deliveries[job.id]
        near = cos(self._radius_km(delivery) / EARTH_RADIUS_KM)
        drivers = [driver for driver in self.drivers if serves(driver, delivery, self.fleet.zones)]
        drivers = [driver for driver in drivers if driver.id in self.at_work]
        if not drivers:
            return NONE_IN_ZONE
        runs = [self.runs[driver.id] for driver in drivers if driver.id in self.runs]
        spots = np.array([(run.place, run.end[0]) for run in runs]).reshape(-1, 2)
        within = (_on_sphere(spots) @ _on_sphere(np.array([job.pickup]))[0] >= near).reshape(-1, 2).any(axis=1)
        around = {run.driver_id for run, is_near in zip(runs, within.tolist(), strict=True) if is_near}
        drivers = [driver for driver in drivers if driver.id in around]
        if not drivers:
            return NONE_IN_RADIUS
        drivers = [driver for driver in drivers if has_all(driver.tags, delivery.requirements)]
        if not drivers:
            return REQUIREMENTS_NOT_MET
        drivers = [d for d in drivers if exclusion(delivery, d.id, self.now, self.policy) is None]
        if not drivers:
            return ALL_EXCLUDED
        return ALL_BUSY if any(driver.shift_ends_at is None for driver in drivers) else SHIFTS_END


def _at_work(driver: Driver, now: datetime, policy: Policy) -> str | None:
    """Why nothing is planned for a driver, or None. Unlike `dispatchable`, it does not matter what they have now."""
    if driver.active_count or driver.open_offer_id is not None:
        driver = replace(driver, active_count=0, open_offer_id=None)
    return dispatchable(driver, now, policy)


def _earlier(delivery: Delivery) -> set[str]:
    """The drivers who had an offer or an assignment for it."""
    offers, assignments = delivery.offers.values(), delivery.assignments.values()
    return {offer.driver_id for offer in offers} | {assignment.driver_id for assignment in assignments}


def _next_spot(job: Job) -> Spot:
    return job.pickup if job.picked_at is None else job.dropoff


def _on_sphere(spots: Floats) -> Floats:
    """Places in degrees as points on the unit sphere, one a row."""
    lat, lon = np.radians(spots[:, 0]), np.radians(spots[:, 1])
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
