"""Estimates: when a driver will be at the stops of the deliveries that they have, from where they are now.

Times are seconds since the epoch, places are (latitude, longitude) in degrees.
"""

from collections.abc import Iterable

from msgspec import Struct

from server.dispatch.driver_runs import DriverWithRun, run_of
from server.dispatch.policy import Policy
from server.dispatch.runs import DriverRun, Job, Spot, road_travel


class InHand(Struct, frozen=True):
    """A delivery that a driver has. `dropoff` is where they bring the goods, `ready` when the goods are ready;
    `returning`: they bring them back to the store.
    """

    assignment_id: str
    id: str
    pickup: Spot
    dropoff: Spot
    ready: float
    picked_at: float | None = None
    returning: bool = False


class Arrival(Struct, frozen=True):
    """When the goods are picked up (None if they are) and handed over."""

    picked_up: float | None
    handed_over: float


def estimated(policy: Policy, now: float, driver: DriverWithRun, carried: Iterable[InHand], at: Spot) -> DriverRun:
    """The stops of a driver who is `at` a place, as the rules order them."""
    have, travel = list(carried), road_travel(policy)
    theirs = {
        one.assignment_id: Job(
            one.id, one.pickup, one.dropoff, one.ready, now, travel, picked_at=one.picked_at, fixed=True
        )
        for one in have
    }
    returning = {one.assignment_id for one in have if one.returning}
    return run_of(policy, now, driver, theirs, returning, at, travel)


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
