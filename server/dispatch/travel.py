"""Distances, travel times and what an offer tells its driver about them, estimated without a routing engine.

A road is taken to be the straight line times the policy's `detourFactor`, driven at its `averageSpeedKmh`.
"""

from datetime import datetime, timedelta
from math import asin, ceil, cos, radians, sin, sqrt

from server.dispatch.instants import instant
from server.dispatch.model import Delivery, OfferPayload, Point
from server.dispatch.policy import Policy

EARTH_RADIUS_KM = 6371.0088
"""The mean radius R1 of the WGS 84 ellipsoid (IUGG): a distance is off by half a percent at the very most."""


def haversine_km(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """The great-circle distance of two places, all in degrees, by the haversine formula."""
    phi_a, phi_b = radians(lat_a), radians(lat_b)
    h = sin((phi_b - phi_a) / 2) ** 2 + cos(phi_a) * cos(phi_b) * sin(radians(lon_b - lon_a) / 2) ** 2
    # Rounding can carry h of two opposite places past 1, where asin has no value.
    return 2 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, h)))


def road_km(a: Point, b: Point, policy: Policy) -> float:
    """How far it is from `a` to `b` on the road."""
    return haversine_km(a.lat, a.lon, b.lat, b.lon) * policy.detour_factor


def travel_seconds(km: float, policy: Policy) -> float:
    """How long so many km on the road take."""
    return km / policy.average_speed_kmh * 3600


def preparation_left_seconds(delivery: Delivery, now: datetime) -> float:
    """What is left of the preparation, which begins at `dispatch_at`; 0 once it is over."""
    ready_at = delivery.dispatch_at + timedelta(seconds=delivery.prep_seconds)
    return max(0.0, (ready_at - now).total_seconds())


def offer_payload(delivery: Delivery, lat: float, lon: float, policy: Policy, now: datetime) -> OfferPayload:
    """What a driver at `lat`, `lon` is told when they are offered the delivery at `now` (in UTC).

    1. Distance: the road to the pickup, km to two digits.
    2. Minutes to the pickup: the way there and the rest of the preparation, rounded up.
    3. Time of delivery: now, plus the same, plus the way to the dropoff, plus `handoverSeconds`.
    4. Earning: what the order source said, else `basePayCents` and `perKmPayCents` for each km of the trip.
    """
    to_pickup_km = road_km(Point(lat, lon), delivery.pickup, policy)
    trip_km = road_km(delivery.pickup, delivery.dropoff, policy)
    to_pickup_seconds = travel_seconds(to_pickup_km, policy) + preparation_left_seconds(delivery, now)
    trip_seconds = travel_seconds(trip_km, policy) + policy.handover_seconds
    earning = delivery.driver_pay_cents
    if earning is None:
        earning = round(policy.base_pay_cents + policy.per_km_pay_cents * trip_km)
    return OfferPayload(
        pickup_location=delivery.pickup,
        pickup_store_name=delivery.store_name,
        dropoff_location=delivery.dropoff,
        estimated_pickup_time_min=ceil(to_pickup_seconds / 60),
        estimated_delivery_time=instant(now + timedelta(seconds=to_pickup_seconds + trip_seconds)),
        estimated_distance_km=round(to_pickup_km, 2),
        estimated_earning_cents=earning,
        currency=delivery.currency,
    )
