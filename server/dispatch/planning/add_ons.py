"""Offers now, where some of the drivers have deliveries: what the planner proposes for them, within the limits of the
policy.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec.structs import replace

from server.dispatch.driver_runs import active_jobs, run_ahead
from server.dispatch.model import Delivery, Driver, Work
from server.dispatch.planning.fleet import Fleet
from server.dispatch.planning.plan import NO_PLAN, Planned, Proposal, plan
from server.dispatch.policy import Policy
from server.dispatch.runs import Where, road_travel
from server.dispatch.zones import Zones

NOTHING = Work()


def offers_now(
    waiting: Iterable[Delivery],
    drivers: Iterable[Driver],
    work: Mapping[str, Work],
    zones: Zones,
    now: datetime,
    policy: Policy,
) -> list[Proposal]:
    """The offers to make now. The drivers have a position; `work` is what those have who have deliveries. Nothing is
    held any longer.
    """
    fleet = Fleet(zones)
    order: dict[str, tuple[Planned, ...]] = {}
    for delivery in waiting:
        fleet.put_delivery(delivery)
    for driver in drivers:
        assert driver.position is not None
        fleet.put_driver(driver)
        at = (driver.position.lat, driver.position.lon)
        theirs = work.get(driver.id, NOTHING)
        jobs = active_jobs(theirs.deliveries.values())
        if not jobs:
            fleet.put_place(driver.id, Where(at, now.timestamp()))
            continue
        run = run_ahead(policy, now, driver, jobs, theirs.stops, at)
        fleet.put_place(driver.id, Where(run.place, run.free_at, bound=run.bound))
        fleet.put_run(driver.id, theirs.stops)
        order[driver.id] = tuple((stop.job.id, stop.is_drop) for stop in run.stops)
        for delivery, _ in jobs:
            fleet.put_delivery(delivery)
    at_once = replace(policy, planning=replace(policy.planning, hold=False))
    return plan(fleet, now, road_travel(policy), at_once, replace(NO_PLAN, runs=order)).proposals
