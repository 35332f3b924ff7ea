"""Distances and times, and what an offer says of them."""

from datetime import datetime
from typing import Any

import msgspec
import pytest

from server.dispatch.model import Place, Point
from server.dispatch.policy import DEFAULT_POLICY
from server.dispatch.travel import haversine_km, km_away, named_by, offer_payload, road_km, travel_seconds
from tests.builders import NOW, PICKUP, a_delivery, a_driver, a_policy, an_open_offer, minutes

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
    row: dict[str, Any] = {"dispatch_at": NOW, "prep_seconds": 0} | of_delivery
    return offer_payload(a_delivery(**row), lat, PICKUP.lon, policy, now)


def test_an_offer_tells_where_from_where_to_and_what_for() -> None:
    shown = payload()
    assert shown.pickup_location == PICKUP
    assert shown.pickup_store_name == "Green Bowl"
    assert shown.dropoff_location.address == "7 Garden Street"
    assert shown.currency == "USD"


def test_pay_by_the_policy_is_in_its_currency_also_after_that_has_changed() -> None:
    """The tip is in the currency of the order, and cannot be added."""
    euros = a_policy(currency="EUR")
    computed, agreed = payload(policy=euros, tip_cents=50), payload(policy=euros, tip_cents=50, driver_pay_cents=700)
    assert (computed.estimated_earning_cents, computed.currency) == (payload().estimated_earning_cents, "EUR")
    assert (agreed.estimated_earning_cents, agreed.currency) == (750, "USD")


def test_the_distance_is_the_road_to_the_pickup() -> None:
    assert payload(lat=PICKUP.lat + 0.01).estimated_distance_km == 1.45
    assert payload().estimated_distance_km == 0


@pytest.mark.parametrize(
    ("lat_off", "prep_seconds", "elapsed", "expected_minutes"),
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
    lat_off: float, prep_seconds: int, elapsed: int, expected_minutes: int
) -> None:
    found = payload(lat=PICKUP.lat + lat_off, prep_seconds=prep_seconds, now=NOW + minutes(elapsed))
    assert found.estimated_pickup_time_min == expected_minutes


def test_the_delivery_time_adds_the_trip_and_the_handover() -> None:
    here = Place(0, 0)
    at_once = a_delivery(pickup=here, dropoff=here, dispatch_at=NOW, prep_seconds=600)
    assert offer_payload(at_once, 0, 0, DEFAULT_POLICY, NOW).estimated_delivery_time == "2026-02-01T18:20:00.000Z"
    trip = a_delivery(pickup=here, dropoff=Place(0.1, 0), dispatch_at=NOW, prep_seconds=0)
    policy = a_policy(average_speed_kmh=60, handover_seconds=0)
    assert offer_payload(trip, 0, 0, policy, NOW).estimated_delivery_time == "2026-02-01T18:14:27.321Z"


def test_the_earning_is_the_shops_or_a_base_and_so_much_a_km() -> None:
    apart: dict[str, Any] = {"pickup": Place(0, 0), "dropoff": Place(0.1, 0)}
    assert payload(**apart).estimated_earning_cents == round(300 + 80 * 1.3 * ONE_DEGREE_KM / 10)
    assert payload(**apart, driver_pay_cents=0).estimated_earning_cents == 0
    assert payload(**apart, driver_pay_cents=777).estimated_earning_cents == 777
    assert payload(**apart, driver_pay_cents=777, tip_cents=100).estimated_earning_cents == 877


def test_of_the_people_an_offer_names_only_the_one_at_the_pickup() -> None:
    shown = payload(
        pickup=Place(PICKUP.lat, PICKUP.lon, "1 Market Square", "Ms Bowl", "+49 30 1", "ring twice"),
        dropoff=Place(PICKUP.lat, PICKUP.lon, "7 Garden Street", "Mr Gray", "+49 30 2", "third floor"),
        notes="no onions",
        requirements=("cold",),
    )
    assert shown.pickup_location == Place(PICKUP.lat, PICKUP.lon, "1 Market Square", "Ms Bowl")
    assert shown.dropoff_location == Place(PICKUP.lat, PICKUP.lon, "7 Garden Street")
    assert (shown.seller_order_id, shown.requirements, shown.estimated_trip_km) == ("A-soup", ("cold",), 0)


@pytest.mark.parametrize("stored", [False, True])
def test_an_offer_names_the_times_of_pickup_and_delivery(stored: bool) -> None:
    soup = a_delivery(dispatch_at=NOW, prep_seconds=601)
    said: Any = offer_payload(soup, PICKUP.lat, PICKUP.lon, DEFAULT_POLICY, NOW)
    expected = datetime.fromisoformat(said.estimated_delivery_time)
    if stored:
        said = msgspec.Raw(msgspec.json.encode(said))
    offer = an_open_offer(soup, a_driver(), payload=said, created_at=NOW)
    assert named_by(offer) == (NOW + minutes(11), expected)


def test_how_far_away_a_deed_was_done() -> None:
    assert km_away(PICKUP, PICKUP.lat + 1, PICKUP.lon) == 111.195
    assert km_away(PICKUP, None, None) is None
