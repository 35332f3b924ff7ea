"""A day on the globe: metres become degrees at the equator, where both axes are alike, and minutes become instants."""

from datetime import UTC, datetime, timedelta
from math import floor, hypot, radians
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from server.dispatch.policy import Policy
from server.dispatch.runs import Floats, Spot
from server.dispatch.travel import EARTH_RADIUS_KM
from server.simulate.day import Day

MIDNIGHT: Final = datetime(2026, 1, 1, tzinfo=UTC)
STARTED: Final = MIDNIGHT.timestamp()
METRES_PER_DEGREE: Final = radians(1) * EARTH_RADIUS_KM * 1000
FARTHEST_KM: Final = 100.0


def spot_of(point: tuple[float, float]) -> Spot:
    """A place in metres as (latitude, longitude) in degrees."""
    return point[1] / METRES_PER_DEGREE, point[0] / METRES_PER_DEGREE


def instant_of(seconds: float) -> datetime:
    """Seconds from the start of the day as an instant."""
    return MIDNIGHT + timedelta(seconds=seconds)


def policy_of(day: Day, policy: Policy, slowest_answer: float) -> Policy:
    """The policy with the day's own speed and times, without a search radius. Offers last until all have answered."""
    return replace(
        policy,
        average_speed_kmh=day.metres_per_second * 3.6,
        detour_factor=1.0,
        handover_seconds=round((day.pickup_seconds + day.dropoff_seconds) / 2),
        offer_timeout_seconds=max(policy.offer_timeout_seconds, floor(slowest_answer) + 1),
        search_radius_km=FARTHEST_KM,
        wide_search_radius_km=FARTHEST_KM,
        max_trip_km=20_000.0,
    )


class PlaneTravel(Struct, frozen=True):
    """Travel in a straight line on the plane of the day. Implements `dispatch.runs.Travel`."""

    seconds_per_degree: float
    half_pickup: float
    half_dropoff: float

    def seconds(self, a: Spot, b: Spot) -> float:
        """The travel time from `a` to `b`."""
        return hypot(a[0] - b[0], a[1] - b[1]) * self.seconds_per_degree

    def many(self, a: Floats, b: Floats) -> Floats:
        """The travel times from every row of `a` to every row of `b`."""
        return np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1]) * self.seconds_per_degree


def travel_of(day: Day) -> PlaneTravel:
    return PlaneTravel(METRES_PER_DEGREE / day.metres_per_second, day.pickup_seconds / 2, day.dropoff_seconds / 2)
