"""The plan: the offers to make now, the deliveries that are held and until when, and why each other delivery waits.

It only proposes; the rule of `OfferDelivery` decides again under lock. Nothing here keeps state: the result follows
from the arguments alone.
"""

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from scipy.optimize import linear_sum_assignment

from server.dispatch.driver_runs import active_jobs, added_to, job_of
from server.dispatch.model import Delivery, Driver
from server.dispatch.offers import dispatchable, exclusion, helping, in_reach, unfit, wants_offer
from server.dispatch.planning.fleet import Fleet
from server.dispatch.planning.next_orders import NextOrders
from server.dispatch.planning.open_runs import Flags, OpenRuns
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
    least_costs,
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
from server.dispatch.travel import Added

PLANNED: Final = "driver_not_free_yet"

STRAIN_WEIGHT: Final = 1.0
"""How much more it costs under strain: so much with one late delivery for each driver (`Plan.strain`)."""
LATE_SECONDS: Final = 60.0
"""A delivery is late if it is planned to be picked up so long after its goods are ready."""
CHEAPEST: Final = 8
"""So many of the runs that have stops already and cost least are found for each delivery."""
LONGEST_RUN: Final = 10
"""How many stops a run may have before more is planned."""
POSTPONED_SECONDS: Final = 900.0
"""A delay for which a delivery goes to the next layer instead, where it can share a run with one of the first."""
LAST_CHANCE_SECONDS: Final = 1800.0
"""A delivery that every driver would pick up so shortly before the end of the shift is planned before others."""
SOON_SECONDS: Final = 900.0
"""Goods that are ready sooner make that more expensive, by so many seconds at most if they are ready now."""
SHIFT_PRICE: Final = 60.0
"""How many seconds of delay it costs to use a driver whose shift ends late instead of one whose shift ends now."""
LATE_SHIFT_SECONDS: Final = 7200.0
"""A shift that ends so much later, or has no end, ends late."""
NEXT_WEIGHT: Final = 0.3
"""How many seconds of delay it costs that a driver will be a second farther from where the next orders may come."""
SHIFT_END_SECONDS: Final = 600.0
"""A driver whose shift ends sooner is not expected to get a next order."""
EXPECTED_WEIGHT: Final = 0.5
"""How much an order that is expected counts beside one that waits: it may not come."""
EXPECTED_DELAY_SECONDS: Final = 900.0
"""A delay of an expected order counts up to this. A longer one does not change the plan."""
STAYS_SECONDS: Final = 0.1
"""Another driver than in the plan before is planned only if that costs so much less."""
NOT_NOW: Final = 1e9
"""What it costs if a delivery that is not held is planned for a driver who can get no offer now: only if nobody can."""
NEVER: Final = 1e12

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
NOBODY: Final[Mapping[str, Iterable[str]]] = {}


def plan(
    fleet: Fleet,
    now: datetime,
    travel: Travel,
    policy: Policy,
    before: Plan = NO_PLAN,
    zone: str | None = None,
    lost: Mapping[str, Iterable[str]] = NOBODY,
) -> Plan:
    """The plan for all zones, or for one zone and the drivers of the zones that help there.

    `before` is the plan before this one: drivers keep the order of their stops, deliveries keep their planned driver if
    another one is hardly better, and it saves time. Without it, the stops of a driver are in the cheapest order. `lost`
    are more drivers who must not get a delivery.

    1. The drivers at work with what they have, in order.
    2. What waits is given to runs at the least total cost: one delivery each at first, then more (`_layer`). Deliveries
       that are overdue come first, the oldest before all others if there are more of them than drivers.
    3. A delivery is proposed when its planned driver has to leave, or is held until then. Without preparation time, or
       with `planning.hold` off, it is proposed at once.
    4. If the rules would refuse a proposal, because they expect the driver there after the end of the shift, all is
       planned again without it.
    """
    refused = {delivery_id: set(drivers) for delivery_id, drivers in lost.items()}
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
        self.can_now: set[str] = set()
        self.at_work: list[Driver] = []
        for driver in self.drivers:
            reason = dispatchable(driver, now, policy)
            if reason is None:
                self.can_now.add(driver.id)
            if reason is None or _has_enough(driver, now, policy):
                self.at_work.append(driver)
        self.limits = limits_of(policy, DRIVING_WEIGHT + STRAIN_WEIGHT * min(1.0, round(before.strain, 1)))
        self.planned_before = {
            delivery_id: driver_id
            for driver_id, stops in before.runs.items()
            for delivery_id, is_drop in stops
            if not is_drop
        }
        self.memo: dict[str, KnownRun] = {}
        self.next_orders = NextOrders(*fleet.recent.pace(self.at), travel)
        known = [(driver, fleet.places.get(driver.id)) for driver in self.at_work]
        self.placed = [(driver, where) for driver, where in known if where is not None]
        self.open = OpenRuns(
            [driver for driver, _ in self.placed], [where for _, where in self.placed], self.at, self._make
        )

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
        for column, (driver, _) in enumerate(self.placed):
            if self.fleet.jobs_of(driver.id):
                self.open.put_together(column)
            if self.policy.planning.next_jobs and driver.busy and not self._is_free_soon(self.open[column]):
                self.can_now.discard(driver.id)
        most = len(self.open)
        overdue = [job for job in self.jobs.values() if job.overdue]
        overdue.sort(key=lambda job: (job.ideal - job.trip, job.id))
        for start in range(0, len(overdue) if most else 0, max(1, most)):
            self._layer(overdue[start : start + most], first=False)
        left = [job for job in self.jobs.values() if not job.overdue]
        if most and left:
            left, before = self._layer(left, first=True), len(left) + 1
            while left and len(left) < before:
                left, before = self._layer(left, first=False), len(left)
        return self._result()

    def _make(self, column: int) -> DriverRun:
        """The run of what a driver at work has."""
        driver, where = self.placed[column]
        known = self.memo[driver.id] = self._known(driver, where)
        return known.run

    def _is_free_soon(self, run: DriverRun) -> bool:
        """Whether a busy driver has fewer deliveries than their capacity within `holdSlackMinutes`: then the policy may
        allow a next job.
        """
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

    def _run(self, driver: Driver, has: Sequence[Delivery], where: Where, off: float) -> DriverRun:
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
            replace(self.limits, extra=inf, bag=inf) if has else self.limits,
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
        if has:
            run.limit(self.limits)
        return run

    def _layer(self, jobs: list[Job], *, first: bool) -> list[Job]:
        """Give at most one of the jobs to each run, at the least total cost. Returns the jobs that got none.

        Rows are jobs, columns are runs, and one more column for each job that gets none: it costs as much as a delay of
        `POSTPONED_SECONDS`. It costs more than anything possible after the first layer, and for a job that nobody could
        pick up a little later, since their shifts end. In the first layer, expected orders compete for the runs: what
        they would need is kept free if something else costs little more.
        """
        costs, places, spare = self._costs(jobs)
        alone = np.full((len(jobs), len(jobs)), NEVER * 2)
        for row, job in enumerate(jobs):
            postponed = max(0.0, self.at + SOON_SECONDS - job.ready) + POSTPONED_SECONDS
            may_wait = first and spare[row] >= LAST_CHANCE_SECONDS
            alone[row, row] = delay_cost(postponed) if may_wait else NEVER / 2
        table = np.hstack([costs, alone])
        if first:
            table = self._with_expected(table)
        left = []
        for row, column in zip(*map(np.ndarray.tolist, linear_sum_assignment(table)), strict=True):
            if row >= len(jobs):
                break
            job = jobs[row]
            if column >= len(self.open):
                left.append(job)
                continue
            place = places.get((row, column))
            self.open[column] = self.open[column].with_job(job, place or Insertion(0.0, 0, 1))
        return left

    def _with_expected(self, table: Floats) -> Floats:
        """The table with one more row and column for each expected order, at the end of the runs."""
        stores, ready = self.fleet.recent.expected(self.at, self.zone)
        if not len(ready):
            return table
        ways = self.travel.many(stores, self.open.ends)
        picked = np.maximum(self.open.frees + ways + self.travel.half_pickup, ready[:, None])
        delay = picked - ready[:, None]
        none = delay_cost(EXPECTED_DELAY_SECONDS)
        costs = np.minimum(delay + delay * delay / LONG_DELAY_SECONDS + self.limits.weight * ways, none)
        costs[picked > self.open.offs] = none
        (jobs, columns), expected = table.shape, len(ready)
        whole = np.full((jobs + expected, columns + expected), NEVER * 2)
        whole[:jobs, :columns] = table
        whole[jobs:, : len(self.open)] = EXPECTED_WEIGHT * costs
        whole[range(jobs, jobs + expected), range(columns, columns + expected)] = EXPECTED_WEIGHT * none
        return whole

    def _costs(self, jobs: list[Job]) -> tuple[Floats, dict[tuple[int, int], Insertion], Floats]:
        """What each job adds to each run, and where, for runs that have stops; `NEVER` where it is not possible. Then,
        for each job, how long before the end of a shift it can be picked up after all that is planned, at best.
        """
        runs = self.open
        pickups = np.array([job.pickup for job in jobs])
        ready, trip, ideal = np.array([(job.ready, job.trip, job.ideal) for job in jobs]).T[:, :, None]
        reachable = self._possible(jobs, pickups)
        ways = self.travel.many(pickups, runs.ends)
        picked = ways + (runs.frees + self.travel.half_pickup)
        np.maximum(picked, ready, out=picked)
        delay = picked + (trip - ideal)
        np.maximum(delay, 0.0, out=delay)
        costs = delay / LONG_DELAY_SECONDS
        costs += 1.0
        costs *= delay
        ways += trip + (self.travel.half_pickup + self.travel.half_dropoff)
        ways *= self.limits.weight
        costs += ways
        dropoffs = np.array([job.dropoff for job in jobs])
        farther = self.next_orders.ways(dropoffs)[:, None] - self.next_orders.ways(runs.ends)
        farther *= np.where(runs.offs < self.at + SHIFT_END_SECONDS, 0.0, NEXT_WEIGHT)
        costs += farther
        costs[~reachable | (picked > runs.offs)] = NEVER
        spare = np.full(len(jobs), inf)
        if np.isfinite(runs.offs).any():
            spare = (runs.offs - picked).max(axis=1, where=reachable, initial=0.0)
        places: dict[tuple[int, int], Insertion] = {}
        busy = np.flatnonzero(runs.with_stops)
        if len(busy):
            costs[:, busy] = NEVER
            bounds = least_costs(jobs, [runs[column] for column in busy.tolist()], self.travel, self.limits.weight)
            bounds[~reachable[:, busy]] = NEVER
            for row, order in enumerate(np.argsort(bounds, axis=1, kind="stable").tolist()):
                best: list[float] = []
                for number in order:
                    if bounds[row, number] >= (best[CHEAPEST - 1] if len(best) >= CHEAPEST else NEVER):
                        break
                    column = int(busy[number])
                    stops = len(runs[column].stops)
                    place = runs[column].insertion(jobs[row]) if stops < LONGEST_RUN else None
                    if place is not None:
                        places[row, column], costs[row, column] = place, place.cost
                        if place.dropoff > stops:
                            costs[row, column] += farther[row, column]
                        insort(best, place.cost)
        costs += self._prices()
        for row, job in enumerate(jobs):
            stays = runs.column_of.get(self.planned_before.get(job.id, ""))
            if stays is not None:
                costs[row, stays] -= STAYS_SECONDS
        at_once = np.array([not self._may_be_held(self.fleet.deliveries[job.id]) for job in jobs])
        later = np.array([driver.id not in self.can_now for driver in runs.drivers])
        if at_once.any() and later.any():
            costs[np.ix_(at_once, later)] += np.where(costs[np.ix_(at_once, later)] < NEVER, NOT_NOW, 0.0)
        return costs, places, spare

    def _possible(self, jobs: list[Job], pickups: Floats) -> Flags:
        """Whether a job may be given to a run's driver: by zone, radius, requirements and what happened before."""
        deliveries = [self.fleet.deliveries[job.id] for job in jobs]
        radii = np.array([self._radius_km(delivery) for delivery in deliveries])
        possible = self.open.within(pickups, radii)
        for row, delivery in enumerate(deliveries):
            possible[row] &= self.open.in_zones((delivery.zone, *helping(delivery, self.fleet.zones)))
            if delivery.requirements:
                possible[row] &= self.open.with_tags(delivery.requirements)
            possible[row, self._excluded(delivery)] = False
            possible[row, self.open.of(self.refused.get(delivery.id, ()))] = False
        return possible

    def _excluded(self, delivery: Delivery) -> list[int]:
        """The columns of the drivers who must not be asked again."""
        return [
            column
            for column in self.open.of(_earlier(delivery))
            if exclusion(delivery, self.open.drivers[column].id, self.now, self.policy) is not None
        ]

    def _prices(self) -> Floats:
        """What it costs later to use each driver now, in seconds of delay: who works for long can still be used after
        the others have gone.
        """
        prices: Floats = SHIFT_PRICE * np.clip((self.open.offs - self.open.frees) / LATE_SHIFT_SECONDS, 0.0, 1.0)
        return prices

    def _radius_km(self, delivery: Delivery) -> float:
        wide = delivery.widened_at is not None
        return self.policy.wide_search_radius_km if wide else self.policy.search_radius_km

    def _result(self) -> Plan:
        proposals: list[Proposal] = []
        held: dict[str, float] = {}
        reasons = {delivery.id: TRIP_TOO_LONG for delivery in self.waiting if delivery.id not in self.jobs}
        planned = set()
        late = 0
        all_runs = self._all_runs()
        for run in all_runs:
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
                elif delivery.held_until is not None or offer_at > self.at:
                    in_time = delivery.held_until is not None or run.whens[index] <= ready
                    held[delivery.id], reasons[delivery.id] = offer_at, HELD if in_time else PLANNED
                else:
                    reasons[delivery.id] = PLANNED
        for job in self.jobs.values():
            if job.id not in planned:
                reasons[job.id] = self._why_none(job)
        runs = {run.driver_id: tuple((stop.job.id, stop.is_drop) for stop in run.stops) for run in all_runs}
        return Plan(proposals, held, reasons, runs, late / max(1, len(self.at_work)), self.memo)

    def _all_runs(self) -> list[DriverRun]:
        """The runs with stops, also those of drivers who are not at work."""
        runs = []
        for driver in self.drivers:
            column, where = self.open.column_of.get(driver.id), self.fleet.places.get(driver.id)
            if column is not None:
                if self.open.with_stops[column]:
                    runs.append(self.open[column])
            elif where is not None and self.fleet.jobs_of(driver.id):
                known = self.memo[driver.id] = self._known(driver, where)
                runs.append(known.run)
        return runs

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
        zones = (delivery.zone, *helping(delivery, self.fleet.zones))
        if not any(driver.zone in zones for driver in self.at_work):
            return NONE_IN_ZONE
        within = self.open.within(np.array([job.pickup]), np.array([self._radius_km(delivery)]))
        near = self.open.in_zones(zones) & within[0]
        if not near.any():
            return NONE_IN_RADIUS
        able = near & self.open.with_tags(delivery.requirements)
        if not able.any():
            return REQUIREMENTS_NOT_MET
        able[self._excluded(delivery)] = False
        if not able.any():
            return ALL_EXCLUDED
        return ALL_BUSY if np.isinf(self.open.offs[able]).any() else SHIFTS_END


def _has_enough(driver: Driver, now: datetime, policy: Policy) -> bool:
    """Whether all that keeps a driver from an offer is what they have now."""
    if not driver.active_count and driver.open_offer_id is None:
        return False
    return dispatchable(replace(driver, active_count=0, open_offer_id=None), now, policy) is None


def _earlier(delivery: Delivery) -> set[str]:
    """The drivers who had an offer or an assignment for it."""
    if not delivery.offers and not delivery.assignments:
        return set()
    offers, assignments = delivery.offers.values(), delivery.assignments.values()
    return {offer.driver_id for offer in offers} | {assignment.driver_id for assignment in assignments}


def _next_spot(job: Job) -> Spot:
    return job.pickup if job.picked_at is None else job.dropoff
