"""Degrees, metres and rides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.simulate.places import METRES_PER_DEGREE, Leg, Place, Plane, metres_between, standing

TALLINN = Place(59.4370, 24.7536)
metres = st.floats(-15_000, 15_000)


@given(metres, metres)
def test_a_plane_keeps_distances(x: float, y: float) -> None:
    plane = Plane(TALLINN)
    assert metres_between(plane.place(0, 0), plane.place(x, y)) == pytest.approx((x**2 + y**2) ** 0.5, rel=5e-3, abs=1)


def test_north_is_up_and_east_is_right() -> None:
    plane = Plane(TALLINN)
    assert plane.place(0, 1000).lat > TALLINN.lat
    assert plane.place(1000, 0).lon > TALLINN.lon


def test_a_ride_takes_as_long_as_its_way_is() -> None:
    leg = Leg(Place(0, 0), Place(0, 1), began=100.0, metres_per_second=METRES_PER_DEGREE / 50)
    assert leg.arrives == pytest.approx(150.0)
    assert leg.at(0) == leg.at(100) == Place(0, 0)
    assert leg.at(125) == Place(0, 0.5)
    assert leg.at(150) == leg.at(9999) == Place(0, 1)


@pytest.mark.parametrize(("end", "course"), [((1, 0), 0), ((0, 1), 90), ((-1, 0), 180), ((0, -1), 270)])
def test_the_course_is_clockwise_from_north(end: tuple[float, float], course: float) -> None:
    assert Leg(Place(0, 0), Place(*end), 0, 1).heading == pytest.approx(course)


def test_a_driver_without_speed_has_arrived() -> None:
    leg = standing(TALLINN)
    assert leg.at(5.0) == TALLINN
    assert leg.arrives == 0.0
