"""Estimates: when a driver will be at the stops of the deliveries that they have, from where they are now.

Times are seconds since the epoch, places are (latitude, longitude) in degrees.
"""

from collections.abc import Iterable

from msgspec import Struct

from server.dispatch.runs import DriverRun, Job, Limits, Spot, Travel


class InHand(Struct, frozen=True):
    """A delivery that a driver has. `dropoff` is where they bring the goods, `ready` when the goods are ready."""

    id: str
    pickup: Spot
    dropoff: Spot
    ready: float
    picked_at: float | None = None


class Arrival(Struct, frozen=True):
    """When the goods are picked up (None if they are) and handed over."""

    picked_up: float | None
    handed_over: float


def run_of(
    driver_id: str, place: Spot, now: float, carried: Iterable[InHand], travel: Travel, capacity: int = 1
) -> DriverRun:
    """The stops of a driver who is at `place`, in the order that costs least if each is added where it fits best; what
    is on board first.
    """
    jobs = [
        Job(one.id, one.pickup, one.dropoff, one.ready, now, travel, picked_at=one.picked_at, fixed=True)
        for one in carried
    ]
    jobs.sort(key=lambda job: (job.picked_at is None, job.ideal, job.id))
    stops = [job.drop for job in jobs if job.picked_at is not None]
    run = DriverRun(driver_id, place, now, travel, Limits(0.0), capacity=capacity, load=len(stops), stops=stops)
    for job in jobs:
        if job.picked_at is None:
            run.append(job)
    return run


def arrivals(run: DriverRun) -> dict[str, Arrival]:
    """When each delivery of a run is picked up and handed over, by its id."""
    picked: dict[str, float] = {}
    found = {}
    for stop, when in zip(run.stops, run.whens, strict=True):
        if stop.is_drop:
            found[stop.job.id] = Arrival(picked.get(stop.job.id), when + run.travel.half_dropoff)
        else:
            picked[stop.job.id] = when
    return found


def free_at(run: DriverRun, capacity: int) -> tuple[float, Spot]:
    """When and where the driver of a run can get one more: as soon as they have fewer than `capacity`."""
    left = sum(stop.is_drop for stop in run.stops)
    at, spot = run.free_at, run.place
    for stop, when in zip(run.stops, run.whens, strict=True):
        if left < capacity:
            break
        at, spot = when + (run.travel.half_dropoff if stop.is_drop else run.travel.half_pickup), stop.spot
        left -= stop.is_drop
    return at, spot
