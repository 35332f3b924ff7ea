"""Drivers and deliveries on one street of a flat town, where a kilometre takes a minute, and a picture of them."""

from collections.abc import Iterable
from math import hypot
from typing import Any

import numpy as np

from server.dispatch.model import Assignment, Delivery, Driver, Place, Position
from server.dispatch.planning.fleet import Fleet
from server.dispatch.policy import Policy
from server.dispatch.runs import Floats, Job, Limits, Spot, Where
from server.dispatch.zones import NO_ZONES, Zones
from tests.builders import NOW, a_delivery, a_driver, a_policy, id_of, minutes

KM = 1 / 111.19508
"""Degrees of latitude, and of longitude at the equator."""
AT = NOW.timestamp()
FREE = Limits(0.0)


def spot(km: float, across_km: float = 0.0) -> Spot:
    """A place so many kilometres up the street."""
    return km * KM, across_km * KM


def place(km: float, across_km: float = 0.0) -> Place:
    """As `spot`, as rows have it."""
    return Place(*spot(km, across_km))


class StreetTravel:
    """A minute for each kilometre of the straight line, and two minutes before and after each pickup and handover."""

    half_pickup = 120.0
    half_dropoff = 120.0

    def seconds(self, a: Spot, b: Spot) -> float:
        """The travel time from `a` to `b`."""
        return hypot(a[0] - b[0], a[1] - b[1]) / KM * 60

    def many(self, a: Floats, b: Floats) -> Floats:
        """The travel times from every row of `a` to every row of `b`."""
        return np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1]) / KM * 60


TRAVEL = StreetTravel()


def street_policy(**planning: Any) -> Policy:
    """The speed of the street, and a radius that no test leaves by accident."""
    changes = planning.pop("changes", {})
    return a_policy(
        **{"average_speed_kmh": 60.0, "detour_factor": 1.0, "handover_seconds": 240, "search_radius_km": 50.0}
        | {"wide_search_radius_km": 100.0, "planning": a_policy().planning.__class__(**planning)}
        | changes
    )


def job(name: str, pickup: float, dropoff: float, ready: float = 0, **more: Any) -> Job:
    """A job whose goods are ready in so many minutes."""
    return Job(name, spot(pickup), spot(dropoff), AT + ready * 60, AT, TRAVEL, **more)


def driver_at(name: str, km: float, **changes: Any) -> Driver:
    """A driver up the street, dispatchable unless changed."""
    return a_driver(name, **{"position": Position(km * KM, 0, NOW)} | changes)


def order_at(name: str, pickup: float, dropoff: float, ready: float = 0, **changes: Any) -> Delivery:
    """A waiting delivery whose goods are ready in so many minutes, placed 20 minutes before that."""
    row: dict[str, Any] = {"pickup": place(pickup), "dropoff": place(dropoff), "prep_seconds": 1200}
    return a_delivery(name, waiting=minutes(20 - ready), **row | changes)


def given(delivery: Delivery, driver: Driver, *, picked_up: float | None = None) -> Delivery:
    """The delivery is the driver's, and picked up so many minutes ago if that is given."""
    delivery.status = "ASSIGNED" if picked_up is None else "PICKED_UP"
    delivery.unassigned_since = None
    name = f"{delivery.id} of {driver.id}"
    picked_up_at = None if picked_up is None else NOW - minutes(picked_up)
    since = NOW - minutes(30)
    assignment = Assignment(id_of(name), delivery.id, driver.id, None, "ACTIVE", "manual", since, picked_up_at)
    delivery.assignments = {assignment.id: assignment}
    driver.active_count += 1
    return delivery


def a_fleet(
    drivers: Iterable[Driver],
    deliveries: Iterable[Delivery] = (),
    places: dict[str, Where] | None = None,
    zones: Zones = NO_ZONES,
) -> Fleet:
    """A picture of them. Drivers are where their position says, unless `places` says something else."""
    fleet = Fleet(zones)
    for driver in drivers:
        fleet.put_driver(driver)
        if driver.position is not None:
            fleet.put_place(driver.id, Where((driver.position.lat, driver.position.lon), AT))
    for driver_id, where in (places or {}).items():
        fleet.put_place(driver_id, where)
    for delivery in deliveries:
        fleet.put_delivery(delivery)
    return fleet
