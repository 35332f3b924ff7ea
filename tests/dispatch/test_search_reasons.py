"""Why nobody was found: the reason that is true, and the nearest driver outside where that is why."""

import math

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.model import Nearest
from server.dispatch.search_reasons import AtWork, NoDriver, nearest, why_no_driver, why_not_these
from tests.builders import PICKUP, SOUP, a_delivery, a_world
from tests.dispatch.cases import Case, check, happens

KM = 1 / 111.19


def at_work(*drivers: tuple[str, float, str]) -> AtWork:
    """Drivers so many km north of the pickup."""
    ids, km, states = zip(*drivers, strict=True)
    lats = [PICKUP.lat + KM * north for north in km]
    return AtWork(ids, lats, [PICKUP.lon if not math.isnan(north) else north for north in km], states)


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (at_work(("dan", 1, "occupied"), ("dora", 2, "on_break")), "all_busy"),
        (at_work(("dan", 1, "free"), ("dora", 2, "away")), "all_busy"),
        (at_work(("dan", 1, "on_break"), ("far", 9, "free")), "all_on_break"),
        (at_work(("dan", 1, "on_break"), ("dora", 1, "away")), "no_driver_dispatchable"),
        (at_work(("dan", 1, "away"), ("dora", math.nan, "free")), "no_driver_dispatchable"),
    ],
)
def test_who_is_in_the_radius_says_why(own: AtWork, reason: str) -> None:
    assert why_no_driver(PICKUP, "default", 5, {"default": own, "north": at_work(("max", 0, "free"))}) == NoDriver(
        reason
    )


def test_the_nearest_outside_the_radius_is_named() -> None:
    own = at_work(("busy", 6, "occupied"), ("far", 9.5, "free"), ("near", 7.25, "free"), ("unknown", math.nan, "free"))
    assert why_no_driver(PICKUP, "default", 5, {"default": own, "north": at_work(("max", 0, "free"))}) == NoDriver(
        "no_driver_in_radius", Nearest("near", 7.25, "out_of_radius")
    )


def test_the_nearest_outside_the_zone_is_named_if_it_has_nobody() -> None:
    others = {"north": at_work(("max", 3, "free"), ("moe", 1, "away")), "south": at_work(("sue", 2, "free"))}
    expected = NoDriver("no_driver_in_zone", Nearest("sue", 2, "zone_differs"))
    assert why_no_driver(PICKUP, "default", 5, others) == expected
    assert why_no_driver(PICKUP, "default", 5, {}) == NoDriver("no_driver_in_zone")


def test_without_anybody_free_the_nearest_at_work_is_named() -> None:
    assert nearest(PICKUP, [at_work(("dan", 8, "occupied"), ("dora", 6, "on_break"))], "x") == Nearest("dora", 6, "x")
    assert nearest(PICKUP, [at_work(("dan", math.nan, "free"))], "x") is None
    assert nearest(PICKUP, [], "x") is None


@pytest.mark.parametrize(
    ("reasons", "why"),
    [
        ([], None),
        (["out_of_radius", "on_break"], None),
        (["requirements", "given_another"], "all_busy"),
        (["requirements", "out_of_radius"], "requirements_not_met"),
        (["shift_ends"], "shifts_end_too_soon"),
        (["rejected_before"], "all_excluded"),
        (["requirements", "rejected_before"], "all_excluded"),
    ],
)
def test_who_could_have_been_asked_says_why_not(reasons: list[str], why: str | None) -> None:
    assert why_not_these(reasons, {"requirements", "shift_ends", "rejected_before"}) == why


def test_a_failed_search_keeps_who_is_nearest() -> None:
    near = Nearest("dan", 7.25, "out_of_radius")
    failed = c.NoteFailedSearch(SOUP, "no_driver_in_radius", nearest=near)
    check(
        Case(
            "recorded",
            lambda: a_world(a_delivery()),
            failed,
            [happens(e.SearchFailed, reason="no_driver_in_radius", nearest=near)],
            lambda world: world.recorded_waits[SOUP][1] == near,
        )
    )
    event = e.SearchFailed(at=a_world().now, actor=failed.actor, reason="no_driver_in_radius", nearest=near)
    data = {"driverId": "dan", "distanceKm": 7.25, "reason": "out_of_radius"}
    assert event.data() == {"reason": "no_driver_in_radius", "nearest": data}
