"""The run of a driver who has more than one delivery: their stops in order, kept from one event to the next.

`update_runs` follows the events of a command. What a driver has decides: a stop of a delivery that is no longer theirs
goes, one of a new delivery comes where it fits best, and the others keep their order. If goods are ready at another
time or a place has moved, the stops of that delivery come where they fit best now. Stops that are done stay until at
most one delivery is left; then there is no run.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil, inf
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from server.dispatch import events as e
from server.dispatch.model import AddOn, Assignment, Delivery, Driver, Place, RunStop, RunStopKind
from server.dispatch.policy import Policy
from server.dispatch.runs import (
    DRIVING_WEIGHT,
    DriverRun,
    Job,
    Limits,
    Spot,
    Stop,
    Travel,
    Where,
    limits_of,
    road_travel,
)
from server.dispatch.travel import Added, haversine_km, to_milliseconds
from server.dispatch.world import World

CHANGES_RUNS: Final = frozenset(
    {
        e.DeliveryAssigned,
        e.DeliveryPickedUp,
        e.DeliveryDelivered,
        e.DeliveryReleased,
        e.DeliveryFailed,
        e.DeliveryReturning,
        e.DeliveryReturned,
        e.DeliveryChanged,
        e.DeliveryReassigned,
        e.DeliveryCancelled,
    }
)
READY_AT_FIELDS: Final = frozenset({"ready_at", "prep_seconds", "dispatch_at"})
CARRIED: Final = frozenset({"ACTIVE", "COMPLETED", "FAILED", "RETURNED"})
"""The states of an assignment whose stops belong to the run: the driver has the goods, or brought them somewhere."""

STILL_HERE_KM: Final = 0.15
"""A driver who is nearer to a store is still there."""

LONG_WAIT_SECONDS: Final = 300.0
"""A driver who would wait for longer at a store can do something else first."""

StopKey = tuple[str, RunStopKind]
"""An assignment and the kind of a stop."""


def is_full(driver: Driver, policy: Policy) -> bool:
    """Whether the driver may not have one more delivery, besides an open offer."""
    return driver.active_count >= driver.capacity + policy.planning.next_jobs


def update_runs(events: Sequence[e.Event], world: World) -> None:
    """The runs of the drivers of these events, which are all applied. Of a driver with at most one delivery nothing is
    read.
    """
    concerned = [event.driver_id for event in events if type(event) in CHANGES_RUNS and event.driver_id is not None]
    if not concerned:
        return
    moved = {event.delivery_id for event in events if type(event) is e.DeliveryChanged and _moves(event)}
    for driver in map(world.known_driver, dict.fromkeys(concerned)):
        before = world.run(driver.id)
        if driver.active_count > 1 or before:
            after = _run(world, driver, before, moved)
            if after != before:
                world.put_run(driver.id, after)


def added(world: World, driver: Driver, delivery: Delivery, at: Spot) -> Added | None:
    """The delivery in the run of a driver who is `at` (lat, lon); None if they have no other."""
    jobs = world.jobs(driver.id)
    if not jobs:
        return None
    return added_to(jobs, world.run(driver.id), driver, delivery, at, world.now, world.policy)


def added_to(
    jobs: Sequence[tuple[Delivery, Assignment]],
    stops: Sequence[RunStop],
    driver: Driver,
    delivery: Delivery,
    at: Spot,
    now: datetime,
    policy: Policy,
) -> Added:
    """The delivery in the run of a driver who is `at` (lat, lon), has `jobs` and the stored `stops`."""
    run = run_ahead(policy, now, driver, jobs, stops, at)
    before = run.end[1]
    job = job_of(delivery, None, now.timestamp(), run.travel, fixed=False)
    _add(run, job, policy)
    whens = {stop.key: when for stop, when in zip(run.stops, run.whens, strict=True)}
    extra = ceil(max(0, round(run.end[1] - before)) / 60)
    return Added(
        _instant(whens[job.pick.key]),
        _instant(whens[job.drop.key] + run.travel.half_dropoff),
        AddOn(extra, len(run.stops)),
    )


def active_jobs(deliveries: Iterable[Delivery]) -> list[tuple[Delivery, Assignment]]:
    """Those with an active assignment, with it, in the order in which the driver got them."""
    active = ((delivery, delivery.active_assignment()) for delivery in deliveries)
    jobs = [(delivery, assignment) for delivery, assignment in active if assignment is not None]
    return sorted(jobs, key=lambda job: (job[1].created_at, job[1].id))


def job_of(delivery: Delivery, assignment: Assignment | None, now: float, travel: Travel, *, fixed: bool) -> Job:
    """A delivery as the planner sees it, at Unix seconds `now`; with its active assignment, if a driver has it. Goods
    that come back go to the store. `fixed`: the driver has it, or has the offer.
    """
    pickup, to = delivery.pickup, delivery.dropoff
    if delivery.status == "RETURNING":
        to = _store(delivery)
    picked_at = assignment.picked_up_at if assignment is not None else None
    return Job(
        delivery.id,
        (pickup.lat, pickup.lon),
        (to.lat, to.lon),
        delivery.is_ready_at().timestamp(),
        now,
        travel,
        picked_at=picked_at.timestamp() if picked_at is not None else None,
        fixed=fixed,
    )


def where_now(first: Stop, jobs: Iterable[Job], at: Spot, now: float, travel: Travel) -> Where:
    """Where a driver who is `at` a place can leave for something else: on their way to their first stop, from there;
    but while they are still at a store with goods from it, from here.
    """
    stores = (job.pickup for job in jobs if job.picked_at is not None)
    if first.is_drop and any(haversine_km(*store, *at) < STILL_HERE_KM for store in stores):
        return Where(at, now)
    return Where(first.spot, now + travel.seconds(at, first.spot), bound=True)


def place_of(stop: RunStop, delivery: Delivery) -> Place:
    if stop.kind == "pickup":
        return delivery.pickup
    return delivery.dropoff if stop.kind == "dropoff" else _store(delivery)


def _store(delivery: Delivery) -> Place:
    return delivery.details.store or delivery.pickup


def _moves(event: e.DeliveryChanged) -> bool:
    """Whether a change makes another place in the run best."""
    places = (event.changes[name] for name in ("pickup", "dropoff") if name in event.changes)
    return bool(READY_AT_FIELDS & event.changes.keys()) or any(
        (old.lat, old.lon) != (new.lat, new.lon) for old, new in places
    )


def _run(
    world: World, driver: Driver, before: tuple[RunStop, ...], moved: Collection[str | None]
) -> tuple[RunStop, ...]:
    jobs = world.jobs(driver.id)
    if len(jobs) < 2:
        return ()
    active = {assignment.id: (delivery, assignment) for delivery, assignment in jobs}
    if not any(stop.assignment_id in active for stop in before):
        before = ()  # of an earlier run, which a node of the previous release ended
    place = driver.position or jobs[0][0].pickup
    run = run_ahead(world.policy, world.now, driver, jobs, before, (place.lat, place.lon), moved)
    assignment_of = {delivery.id: assignment.id for delivery, assignment in jobs}
    half = run.travel.half_dropoff
    planned: list[RunStop] = []
    for stop, when in zip(run.stops, run.whens, strict=True):
        returning = stop.is_drop and active[assignment_of[stop.job.id]][0].status == "RETURNING"
        kind: RunStopKind = "return" if returning else "dropoff" if stop.is_drop else "pickup"
        planned.append(
            RunStop(kind, stop.job.id, assignment_of[stop.job.id], _instant(when + half if stop.is_drop else when))
        )
    return _with_done(world, driver, jobs, before, planned)


def run_ahead(
    policy: Policy,
    now: datetime,
    driver: Driver,
    jobs: Sequence[tuple[Delivery, Assignment]],
    before: Sequence[RunStop],
    at: Spot,
    moved: Collection[str | None] = (),
) -> DriverRun:
    """The stops that are not done, of a driver who is `at` a place and has these deliveries."""
    travel, seconds = road_travel(policy), now.timestamp()
    theirs = {assignment.id: job_of(delivery, assignment, seconds, travel, fixed=True) for delivery, assignment in jobs}
    returning = {assignment.id for delivery, assignment in jobs if delivery.status == "RETURNING"}
    off = driver.shift_ends_at.timestamp() if driver.shift_ends_at is not None else inf
    with_run = DriverWithRun(driver.id, driver.capacity, off, before)
    return run_of(policy, seconds, with_run, theirs, returning, at, travel, moved)


class DriverWithRun(Struct, frozen=True):
    """A driver who has deliveries. They pick nothing up after `off` (Unix seconds); `stops` is their run as stored."""

    id: str
    capacity: int = 1
    off: float = inf
    stops: Sequence[RunStop] = ()


def run_of(
    policy: Policy,
    seconds: float,
    driver: DriverWithRun,
    theirs: Mapping[str, Job],
    returning: Collection[str],
    at: Spot,
    travel: Travel,
    moved: Collection[str | None] = (),
) -> DriverRun:
    """The stops that are not done at Unix time `seconds`, of a driver who is `at` a place and has these deliveries, by
    assignment: in the order that is stored, and others where they fit best, as those of deliveries that `moved`. A
    driver who would have to wait for long at the first stop can do others before. `returning` are the assignments
    whose goods go back.
    """
    if not theirs:
        return DriverRun(driver.id, at, seconds, travel, Limits(DRIVING_WEIGHT), capacity=driver.capacity)
    known = []
    for stop in driver.stops:
        job = theirs.get(stop.assignment_id)
        if job is None or (stop.kind == "pickup" and job.picked_at is not None):
            continue
        if stop.kind == "pickup":
            known.append(job.pick)
        elif (stop.kind == "return") == (stop.assignment_id in returning):
            known.append(job.drop)
    stops = [stop for stop in known if stop.job.id not in moved]
    ordered = sorted(theirs.values(), key=lambda job: job.picked_at is None)
    first = known[0] if known else ordered[0].pick if ordered[0].picked_at is None else ordered[0].drop
    where = where_now(first, ordered, at, seconds, travel)
    if first.job.id in moved or (not first.is_drop and first.job.ready > where.free_at + LONG_WAIT_SECONDS):
        where = Where(at, seconds)
    run = DriverRun(
        driver.id,
        where.place,
        where.free_at,
        travel,
        Limits(DRIVING_WEIGHT),
        bound=where.bound,
        off=driver.off,
        capacity=driver.capacity,
        load=sum(job.picked_at is not None for job in theirs.values()),
        stops=stops,
    )
    placed = {stop.job.id for stop in stops}
    to_store = {theirs[assignment_id].id for assignment_id in returning}
    for job in ordered:
        if job.id in placed:
            continue
        if job.picked_at is not None and job.id not in to_store:
            _add_dropoff(run, job)
        else:
            _add(run, job, policy)
    return run


def _add_dropoff(run: DriverRun, job: Job) -> None:
    """Add the drop-off of goods on board where it costs least, but not before the stop that they are on the way to."""
    stops, best = run.stops, (inf, 0)
    for index in range(1 if run.bound and run.stops else 0, len(stops) + 1):
        run.set([*stops[:index], job.drop, *stops[index:]])
        best = min(best, (run.cost, index))
    run.set([*stops[: best[1]], job.drop, *stops[best[1] :]])


def _add(run: DriverRun, job: Job, policy: Policy) -> None:
    """Add a job where it costs least within the limits of the policy, or else where it costs least, or at the end. In
    one visit to a store, what was there before comes first.
    """
    found = None
    if job.picked_at is None:
        run.limit(limits_of(policy))
        found = run.insertion(job)
        run.limit(Limits(DRIVING_WEIGHT))
    if found is not None:
        pickup = found.pickup
        while pickup + 1 < found.dropoff and not run.stops[pickup].is_drop and run.stops[pickup].spot == job.pickup:
            pickup += 1
        run.place_job(job, found._replace(pickup=pickup))
    else:
        run.append(job)


def _with_done(
    world: World,
    driver: Driver,
    jobs: Sequence[tuple[Delivery, Assignment]],
    before: Sequence[RunStop],
    planned: Sequence[RunStop],
) -> tuple[RunStop, ...]:
    """The planned stops with those that are done: each after the stop that it came after before, or else first."""
    ahead = {_key(stop) for stop in planned}
    after: dict[StopKey | None, list[RunStop]] = {None: []}
    known: set[StopKey] = set()
    last: StopKey | None = None
    for stop in before:
        key = _key(stop)
        if key in ahead:
            last = key
            continue
        found = world.stop_of(driver.id, stop)
        done_at = _done_at(stop.kind, *found) if found is not None and found[1].status in CARRIED else None
        if done_at is not None:
            known.add(key)
            after.setdefault(last, []).append(replace(stop, done_at=done_at))
    missing = []
    for delivery, assignment in jobs:
        for kind in ("pickup", "dropoff"):
            done_at = _done_at(kind, delivery, assignment)
            if done_at is not None and (assignment.id, kind) not in known:
                missing.append(RunStop(kind, delivery.id, assignment.id, done_at, done_at))
    after[None] += sorted(missing, key=lambda stop: (stop.done_at or world.now, stop.assignment_id))
    stops = list(after[None])
    for stop in planned:
        stops += [stop, *after.get(_key(stop), ())]
    return tuple(stops)


def _key(stop: RunStop) -> StopKey:
    return stop.assignment_id, stop.kind


def _done_at(kind: RunStopKind, delivery: Delivery, assignment: Assignment) -> datetime | None:
    if kind == "pickup":
        return assignment.picked_up_at
    if kind == "dropoff":
        return assignment.completed_at or assignment.failed_at
    return assignment.ended_at if assignment.status == "RETURNED" else None


def _instant(when: float) -> datetime:
    return to_milliseconds(datetime.fromtimestamp(when, UTC))
