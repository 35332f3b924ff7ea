"""The made-up city: as busy as asked for, and as large as its drivers can serve."""

from collections import Counter
from itertools import combinations

import pytest

from server.dispatch.shapes import geometry_of
from server.simulate.city import (
    EVENING_SECONDS,
    ORIGIN,
    RIDE_METRES,
    City,
    driver,
    pace,
    rate_factor,
    ride_metres,
    zone_at,
)
from server.simulate.places import metres_between


def test_the_evening_is_as_busy_as_asked_for_on_average() -> None:
    factors = [rate_factor(second) for second in range(int(EVENING_SECONDS))]
    assert sum(factors) / len(factors) == pytest.approx(1, abs=0.01)
    assert min(factors) > 0.4
    assert max(factors) < 1.5


def test_the_evening_begins_anew_without_a_jump() -> None:
    assert rate_factor(EVENING_SECONDS - 0.01) == pytest.approx(rate_factor(0), abs=0.01)


def test_the_fewer_orders_a_driver_has_the_longer_are_the_rides() -> None:
    assert ride_metres(60, 20) > ride_metres(60, 30)
    assert ride_metres(1, 1000) == RIDE_METRES[0]
    assert ride_metres(1000, 1) == ride_metres(60, 0) == RIDE_METRES[-1]


def test_everything_is_within_reach() -> None:
    city = City(drivers=60, orders_per_minute=20)
    for _ in range(200):
        wish = city.wish()
        assert wish.store_name
        assert metres_between(wish.pickup, wish.dropoff) <= RIDE_METRES[-1] * 1.7
        for place in (wish.pickup, wish.dropoff, city.anywhere(), city.hot_spot()):
            assert metres_between(ORIGIN, place) < 12_000


def test_the_same_seed_makes_the_same_city() -> None:
    assert [City(60, 20).wish() for _ in range(3)] == [City(60, 20).wish() for _ in range(3)]


def test_orders_say_all_that_an_order_can() -> None:
    city = City(drivers=60, orders_per_minute=20)
    wishes = [city.wish() for _ in range(300)]
    said = {name for wish in wishes for name in wish.more}
    assert said == {"priceCents", "driverPayCents", "tipCents", "notes", "requirements", "proofRequired", "pin"}
    assert {name for wish in wishes for contact in wish.contacts for name in contact} == {
        "address", "name", "phone", "notes",
    }  # fmt: skip
    assert None in (promised := {wish.promised_in_minutes for wish in wishes})
    assert promised > {None}


def test_somebody_can_take_every_order() -> None:
    city = City(drivers=60, orders_per_minute=20)
    wanted = {tag for _ in range(300) for tag in city.wish().more.get("requirements", ())}
    assert wanted
    assert wanted <= {tag for number in range(60) for tag in driver(number)["tags"]}


def test_names_are_different() -> None:
    assert len({driver(number)["name"] for number in range(600)}) == 600


def test_speed_shortens_rides_and_handovers() -> None:
    assert pace(2).metres_per_second == 2 * pace(1).metres_per_second
    assert pace(2).pickup_seconds == pace(1).pickup_seconds / 2


def test_the_zones_share_the_kitchens_and_cover_them_all() -> None:
    city = City(drivers=60, orders_per_minute=20)
    zones = city.zones(("a", "b", "c"))
    assert [zone.helped_by for zone in zones] == [["b", "c"], ["a", "c"], ["a", "b"]]
    shapes = [geometry_of(zone.shape()) for zone in zones]
    assert all(one.intersection(other).area < 1e-9 for one, other in combinations(shapes, 2))
    for zone in zones:
        assert {zone_at(zones, city.hot_spot(zone)) for _ in range(20)} & {zone.name}
    placed = Counter(zone_at(zones, city.wish().pickup) for _ in range(600))
    assert set(placed) == {"a", "b", "c"}
    assert placed["a"] == pytest.approx(300, rel=0.2)
    assert min(placed.values()) > 100
    assert city.zones(()) == []
