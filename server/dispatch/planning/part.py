"""A plan of some deliveries and the drivers near them, from what is read of these: what the live server plans.

It is the plan of the replay (`plan`). Only its picture is smaller, and is put together anew each time.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from msgspec.structs import replace

from server.dispatch.driver_runs import active_jobs, run_ahead
from server.dispatch.model import Delivery, Driver, Work
from server.dispatch.planning.fleet import Fleet, RecentOrders
from server.dispatch.planning.plan import NO_PLAN, NOBODY, Plan, Planned, plan
from server.dispatch.policy import Policy
from server.dispatch.runs import Where, road_travel
from server.dispatch.zones import Zones

NOTHING = Work()
NO_ORDERS = RecentOrders()
NO_DRIVERS: Mapping[str, str] = {}


def plan_part(
    waiting: Iterable[Delivery],
    drivers: Iterable[Driver],
    work: Mapping[str, Work],
    zones: Zones,
    now: datetime,
    policy: Policy,
    *,
    offered: Mapping[str, Delivery] | None = None,
    not_held: Collection[str] = (),
    planned: Mapping[str, str] = NO_DRIVERS,
    lost: Mapping[str, Iterable[str]] = NOBODY,
    recent: RecentOrders = NO_ORDERS,
    strain: float = 0.0,
) -> Plan:
    """The plan for these deliveries and drivers.

    The drivers have a position. `work` is what those have who have deliveries, `offered` is the delivery of the open
    offer of a driver. Deliveries that are held now wait like the others, and may be held again, except `not_held`.
    `planned` is the driver that the last plan had for a delivery, `strain` the strain of that plan. `lost` are more
    drivers who must not get a delivery.
    """
    fleet = Fleet(zones, recent)
    order: dict[str, tuple[Planned, ...]] = {}
    for delivery in waiting:
        if delivery.held_until is not None:
            delivery = replace(delivery, held_until=None)
        if delivery.id in not_held and delivery.prep_seconds:
            delivery = replace(delivery, prep_seconds=0, ready_at=delivery.is_ready_at())
        fleet.put_delivery(delivery)
    seconds = now.timestamp()
    for driver in drivers:
        assert driver.position is not None
        fleet.put_driver(driver)
        at = (driver.position.lat, driver.position.lon)
        if offered and driver.id in offered:
            fleet.put_delivery(offered[driver.id])
        theirs = work.get(driver.id, NOTHING)
        jobs = active_jobs(theirs.deliveries.values()) if theirs.deliveries else []
        if not jobs:
            fleet.put_place(driver.id, Where(at, seconds))
            continue
        run = run_ahead(policy, now, driver, jobs, theirs.stops, at)
        fleet.put_place(driver.id, Where(run.place, run.free_at, bound=run.bound))
        fleet.put_run(driver.id, theirs.stops)
        order[driver.id] = tuple((stop.job.id, stop.is_drop) for stop in run.stops)
        for delivery, _ in jobs:
            fleet.put_delivery(delivery)
    taken = {delivery_id for stops in order.values() for delivery_id, _ in stops}
    for delivery_id, driver_id in planned.items():
        if delivery_id not in taken:
            order[driver_id] = (*order.get(driver_id, ()), (delivery_id, False), (delivery_id, True))
    before = replace(NO_PLAN, runs=order, strain=strain)
    return plan(fleet, now, road_travel(policy), policy, before, lost=lost)
