"""Distances, travel times and the data of an offer, estimated without a routing engine.

The length of a road is the straight line times the policy's `detourFactor`; the speed is `averageSpeedKmh`.
"""

from datetime import datetime, timedelta
from math import asin, ceil, cos, pi, sin, sqrt
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct

from server.dispatch.instants import instant
from server.dispatch.model import AddOn, Delivery, Offer, OfferPayload, Place, Point
from server.dispatch.policy import Policy

EARTH_RADIUS_KM = 6371.0088
"""The mean radius R1 of the WGS 84 ellipsoid (IUGG): a distance is off by half a percent at the very most."""
DEGREE = pi / 180
"""A degree in radians."""
HALF_DEGREE = DEGREE / 2

NOWHERE_DEGREES: Final = 1e-4
"""About ten metres: (0, 0) may come with an error of rounding."""


def haversine_km(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """The great-circle distance of two places, all in degrees, by the haversine formula."""
    north, east = sin((lat_b - lat_a) * HALF_DEGREE), sin((lon_b - lon_a) * HALF_DEGREE)
    h = north * north + cos(lat_a * DEGREE) * cos(lat_b * DEGREE) * east * east
    # Rounding can carry h of two opposite places past 1, where asin has no value.
    return 2 * EARTH_RADIUS_KM * asin(sqrt(h if h < 1 else 1.0))


def road_km(a: Point, b: Point, policy: Policy) -> float:
    """How far it is from `a` to `b` on the road."""
    return haversine_km(a.lat, a.lon, b.lat, b.lon) * policy.detour_factor


def travel_seconds(km: float, policy: Policy) -> float:
    """The travel time for a distance by road."""
    return km / policy.average_speed_kmh * 3600


def trip_km(delivery: Delivery, policy: Policy) -> float:
    """How far it is on the road from pickup to drop-off."""
    return road_km(delivery.pickup, delivery.dropoff, policy)


def preparation_left_seconds(delivery: Delivery, now: datetime) -> float:
    """The seconds until the goods are ready; 0 afterwards."""
    return max(0.0, (delivery.is_ready_at() - now).total_seconds())


def pickup_at(delivery: Delivery, at: tuple[float, float], policy: Policy, now: datetime) -> datetime:
    """When a driver at `at` (lat, lon) can pick up the goods: the trip, then the rest of the preparation."""
    km = road_km(Point(*at), delivery.pickup, policy)
    return now + timedelta(seconds=travel_seconds(km, policy) + preparation_left_seconds(delivery, now))


def delivery_at(delivery: Delivery, picked_up: datetime, policy: Policy) -> datetime:
    """When goods that are picked up then are handed over: the trip, and `handoverSeconds`."""
    seconds = travel_seconds(trip_km(delivery, policy), policy) + policy.handover_seconds
    return to_milliseconds(picked_up + timedelta(seconds=seconds))


def to_milliseconds(at: datetime) -> datetime:
    """The instant in milliseconds, the precision of the wire and the database."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def is_nowhere(lat: float, lon: float) -> bool:
    """Whether a phone says (0, 0) or nearly that: it does not know where it is."""
    return abs(lat) < NOWHERE_DEGREES and abs(lon) < NOWHERE_DEGREES


def km_away(place: Point, lat: float | None, lon: float | None) -> float | None:
    """The straight line between a place and the place of an action, to the metre; None if that is unknown."""
    return None if lat is None or lon is None else round(haversine_km(place.lat, place.lon, lat, lon), 3)


class Estimate(Struct, frozen=True, rename="camel"):
    """What an offer named: whole minutes to the pickup, and the time of delivery."""

    estimated_pickup_time_min: int
    estimated_delivery_time: str


def named_by(offer: Offer) -> tuple[datetime, datetime]:
    """The times of pickup and of delivery that an offer named to its driver."""
    said = _decode_estimate(offer.payload) if isinstance(offer.payload, Raw) else offer.payload
    at = datetime.fromisoformat(said.estimated_delivery_time)
    return offer.created_at + timedelta(minutes=said.estimated_pickup_time_min), at


_decode_estimate = msgspec.json.Decoder(Estimate).decode


class Added(Struct, frozen=True):
    """A delivery in the run of a driver who has others: when it is picked up and handed over, and what it adds."""

    pickup_at: datetime
    delivery_at: datetime
    add_on: AddOn


def offer_payload(
    delivery: Delivery, lat: float, lon: float, policy: Policy, now: datetime, added: Added | None = None
) -> OfferPayload:
    """The data of an offer at `now` (UTC) for a driver at `lat`, `lon`.

    1. Distance: the road to the pickup, in km to two digits.
    2. Minutes to the pickup: the trip plus the rest of the preparation, rounded up.
    3. Time of delivery: now, plus the time to the pickup, plus the trip to the drop-off, plus `handoverSeconds`.
    4. Earning: the order source's amount, otherwise `basePayCents` plus `perKmPayCents` for each km of the trip, in
       minor units of the policy's currency; and the tip, unless the policy's currency changed since the order and is
       not the tip's.
    5. Of the contacts only the name at the pickup.
    6. For a driver who has other deliveries, the times of their run with it, `added`, and what it adds to the run.
    """
    to_pickup_km = road_km(Point(lat, lon), delivery.pickup, policy)
    trip = trip_km(delivery, policy)
    if added is not None:
        to_pickup_seconds = (added.pickup_at - now).total_seconds()
        trip_seconds = (added.delivery_at - added.pickup_at).total_seconds()
    else:
        to_pickup_seconds = travel_seconds(to_pickup_km, policy) + preparation_left_seconds(delivery, now)
        trip_seconds = travel_seconds(trip, policy) + policy.handover_seconds
    earning, currency, tip = delivery.driver_pay_cents, delivery.currency, delivery.tip_cents or 0
    if earning is None:
        earning = round(policy.base_pay_cents + policy.per_km_pay_cents * trip)
        if currency != policy.currency:
            currency, tip = policy.currency, 0
    pickup, dropoff = delivery.pickup, delivery.dropoff
    return OfferPayload(
        pickup_location=Place(pickup.lat, pickup.lon, pickup.address, pickup.name),
        pickup_store_name=delivery.store_name,
        dropoff_location=Place(dropoff.lat, dropoff.lon, dropoff.address),
        estimated_pickup_time_min=ceil(to_pickup_seconds / 60),
        estimated_delivery_time=instant(now + timedelta(seconds=to_pickup_seconds + trip_seconds)),
        estimated_distance_km=round(to_pickup_km, 2),
        estimated_earning_cents=earning + tip,
        currency=currency,
        seller_order_id=delivery.seller_order_id,
        requirements=delivery.requirements,
        estimated_trip_km=round(trip, 2),
        add_on=added.add_on if added is not None else UNSET,
        test=delivery.details.test or UNSET,
    )
