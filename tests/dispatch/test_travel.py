"""Distances and times, and what an offer says of them."""

from typing import Any

import pytest

from server.dispatch.model import Point
from server.dispatch.policy import DEFAULT_POLICY
from server.dispatch.travel import haversine_km, offer_payload, road_km, travel_seconds
from tests.builders import NOW, PICKUP, a_delivery, a_policy, minutes

ONE_DEGREE_KM = 111.19508


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ((0, 0), (1, 0), ONE_DEGREE_KM),
        ((0, 0), (0, 1), ONE_DEGREE_KM),
        ((60, 0), (60, 1), ONE_DEGREE_KM / 2),
        ((0, 179.5), (0, -179.5), ONE_DEGREE_KM),
        ((52.52, 13.405), (52.52, 13.405), 0),
        ((52.5200, 13.4050), (48.1372, 11.5756), 504.31),
        ((30, 40), (-30, -140), 20015.11),
    ],
)
def test_haversine(a: tuple[float, float], b: tuple[float, float], km: float) -> None:
    assert haversine_km(*a, *b) == pytest.approx(km, rel=1e-4)
    assert haversine_km(*b, *a) == haversine_km(*a, *b)


def test_a_road_is_longer_than_the_straight_line_by_the_detour_factor() -> None:
    assert road_km(Point(0, 0), Point(1, 0), a_policy(detour_factor=2)) == pytest.approx(2 * ONE_DEGREE_KM, rel=1e-4)


def test_travel_takes_as_long_as_the_average_speed_says() -> None:
    assert travel_seconds(10, a_policy(average_speed_kmh=20)) == 1800


def payload(*, lat: float = PICKUP.lat, policy: Any = DEFAULT_POLICY, now: Any = NOW, **of_delivery: Any) -> Any:
    row = {"dispatch_at": NOW, "prep_seconds": 0} | of_delivery
    return offer_payload(a_delivery(**row), lat, PICKUP.lon, policy, now)


def test_an_offer_tells_where_from_where_to_and_what_for() -> None:
    told = payload()
    assert told.pickup_location == PICKUP
    assert told.pickup_store_name == "Green Bowl"
    assert told.dropoff_location.address == "7 Garden Street"
    assert told.currency == "USD"


def test_the_distance_is_the_road_to_the_pickup() -> None:
    assert payload(lat=PICKUP.lat + 0.01).estimated_distance_km == 1.45
    assert payload().estimated_distance_km == 0


@pytest.mark.parametrize(
    ("lat_off", "prep_seconds", "elapsed", "told"),
    [
        (0, 0, 0, 0),
        (0, 600, 0, 10),
        (0, 601, 0, 11),
        (0, 600, 5, 5),
        (0, 600, 60, 0),
        (0.01, 0, 0, 4),
        (0.01, 600, 0, 14),
    ],
)
def test_minutes_to_the_pickup_are_travel_and_the_rest_of_preparation_rounded_up(
    lat_off: float, prep_seconds: int, elapsed: int, told: int
) -> None:
    found = payload(lat=PICKUP.lat + lat_off, prep_seconds=prep_seconds, now=NOW + minutes(elapsed))
    assert found.estimated_pickup_time_min == told


def test_the_delivery_time_adds_the_trip_and_the_handover() -> None:
    here = Point(0, 0)
    at_once = a_delivery(pickup=here, dropoff=here, dispatch_at=NOW, prep_seconds=600)
    assert offer_payload(at_once, 0, 0, DEFAULT_POLICY, NOW).estimated_delivery_time == "2026-02-01T18:20:00.000Z"
    trip = a_delivery(pickup=here, dropoff=Point(0.1, 0), dispatch_at=NOW, prep_seconds=0)
    policy = a_policy(average_speed_kmh=60, handover_seconds=0)
    assert offer_payload(trip, 0, 0, policy, NOW).estimated_delivery_time == "2026-02-01T18:14:27.321Z"


def test_the_earning_is_the_shops_or_a_base_and_so_much_a_km() -> None:
    apart = {"pickup": Point(0, 0), "dropoff": Point(0.1, 0)}
    assert payload(**apart).estimated_earning_cents == round(300 + 80 * 1.3 * ONE_DEGREE_KM / 10)
    assert payload(**apart, driver_pay_cents=0).estimated_earning_cents == 0
    assert payload(**apart, driver_pay_cents=777).estimated_earning_cents == 777
