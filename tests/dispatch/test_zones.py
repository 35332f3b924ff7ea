"""Zones: how names compare, which shapes are sound, which zone a point is in, and whose drivers help."""

from math import inf, nan
from typing import Any

import pytest
from msgspec.structs import replace

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.model import Delivery, Driver, Place
from server.dispatch.names import name_key, spelling, with_ascii_digits
from server.dispatch.offers import has_all
from server.dispatch.shapes import (
    LARGEST_KM2,
    POLYGONS_LIMIT,
    POSITIONS_LIMIT,
    ShapeMistake,
    area_km2,
    geometry_of,
    plain,
    positions_in,
)
from server.dispatch.world import World
from server.dispatch.zones import NO_ZONES, ZONES_LIMIT, Zone, Zones, mark_of
from tests.builders import ADA, DAN, NOW, PICKUP, SHOP, SOUP, a_delivery, a_driver, a_policy, a_world, id_of
from tests.dispatch.cases import Case, check, happens, name_of
from tests.dispatch.test_deliveries import create

LAT, LON = PICKUP.lat, PICKUP.lon


def square(lon: float, lat: float, size: float) -> list[list[float]]:
    """A ring around this point, so many degrees wide."""
    w, e_, s, n = lon - size / 2, lon + size / 2, lat - size / 2, lat + size / 2
    return [[w, s], [e_, s], [e_, n], [w, n], [w, s]]


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [*rings]}


def around_pickup(size: float) -> dict[str, Any]:
    return polygon(square(LON, LAT, size))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mitte", "mitte"),
        ("Mitte", "  mitte\t"),
        ("Prenzlauer Berg", "prenzlauer \u00a0 BERG"),
        ("K\u00f6ln", "Ko\u0308ln"),
        ("STRASSE", "stra\u00dfe"),
        ("\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c3"),
    ],
)
def test_two_spellings_of_a_name_are_one(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


def test_names_that_differ_stay_apart_and_keep_how_they_are_written() -> None:
    assert name_key("Mitte") != name_key("Mitte 2")
    assert spelling("  Ko\u0308ln   Nord ") == "K\u00f6ln Nord"


def test_tags_are_the_same_however_they_are_spelled() -> None:
    assert has_all(("Cool Box", "bike"), (" cool  box",))
    assert has_all((), ())
    assert not has_all(("bike",), ("cool box", "bike"))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"type": "Polygon", "coordinates": []}, "rings of positions"),
        ({"type": "MultiPolygon", "coordinates": "13"}, "must have coordinates"),
        ({"type": "MultiPolygon", "coordinates": [[]]}, "rings of positions"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 0]]]}, "four positions"),
        ({"type": "Polygon", "coordinates": [7]}, "four positions"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}, "end every ring"),
        ({"type": "Polygon", "coordinates": [[[0], [1, 0], [1, 1], [0]]]}, "longitude and latitude, as numbers"),
        ({"type": "Polygon", "coordinates": [[[0, "0"], [1, 0], [1, 1], [0, 0]]]}, "as numbers"),
        ({"type": "Polygon", "coordinates": [[[True, 0], [1, 0], [1, 1], [True, 0]]]}, "as numbers"),
        (
            {"type": "Polygon", "coordinates": [[[52.5, 113.4], [52.6, 13.4], [52.6, 13.5], [52.5, 113.4]]]},
            "out of range",
        ),
        ({"type": "Polygon", "coordinates": [[[10**400, 0], [1, 0], [1, 1], [10**400, 0]]]}, "as numbers"),
        ({"type": "Polygon", "coordinates": [[[nan, 0], [1, 0], [1, 1], [nan, 0]]]}, "as numbers"),
        ({"type": "Polygon", "coordinates": [[[0, 0, -inf], [1, 0], [1, 1], [0, 0, -inf]]]}, "as numbers"),
        (polygon([[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]), "cut at the antimeridian"),
        (polygon([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]), "cross or touch itself: Self-intersection"),
        (polygon(square(0, 0, 1), square(5, 5, 1)), "cross or touch itself: Hole lies outside shell"),
        (polygon(square(0, 0, 0.00001)), "must cover"),
        (polygon([[-89, -80], [89, -80], [89, 80], [-89, 80], [-89, -80]]), "must cover"),
        ({"type": "MultiPolygon", "coordinates": [[square(0, 0, 1)]] * (POLYGONS_LIMIT + 1)}, "polygons"),
        (polygon([[i / POSITIONS_LIMIT, 0] for i in range(POSITIONS_LIMIT)] + [[1, 1], [0, 0]]), "positions"),
    ],
)
def test_a_shape_that_is_none_says_why(shape: dict[str, Any], words: str) -> None:
    with pytest.raises(ShapeMistake, match=words):
        geometry_of(shape)


def test_a_shape_that_an_earlier_release_accepted_stays_in_use() -> None:
    across = polygon([[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]])
    crossed = {"type": "MultiPolygon", "coordinates": [[[[0, 5], [1, 6], [1, 5], [0, 6], [0, 5]]]]}
    zones = Zones([Zone("Fiji", "Fiji", across), Zone("Bow", "Bow", crossed)])
    assert (zones.at(0.5, 0), zones.at(5.1, 0.05), zones.at(-1, 0)) == ("Fiji", "Bow", None)


def test_a_shape_has_its_area_on_the_globe() -> None:
    degree = area_km2(geometry_of(polygon(square(0.5, 0.5, 1))))
    assert degree == pytest.approx(12_364, rel=0.001)
    north = area_km2(geometry_of(polygon(square(0.5, 60, 1))))
    assert north == pytest.approx(degree / 2, rel=0.01)
    ring = polygon(square(0.5, 0.5, 1), square(0.5, 0.5, 0.5))
    assert area_km2(geometry_of(ring)) == pytest.approx(0.75 * degree, rel=0.001)
    assert degree < LARGEST_KM2


def test_heights_and_whole_numbers_mean_nothing() -> None:
    high = polygon([[0, 0, 35], [1, 0, 35], [1, 1, 35], [0, 0, 35]])
    assert plain(high) == polygon([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    islands = {"type": "MultiPolygon", "coordinates": [[square(0, 0, 1)], [square(5, 5, 1)]]}
    assert plain(islands) == islands
    assert (positions_in(high), positions_in(islands)) == (4, 10)


def test_a_point_is_in_the_smallest_zone_that_holds_it() -> None:
    zones = Zones(
        [
            Zone("city", "City", around_pickup(0.5)),
            Zone("centre", "Centre", around_pickup(0.1)),
            Zone("lake", "Lake", polygon(square(LON + 1, LAT, 0.5), square(LON + 1, LAT, 0.1))),
            Zone("nowhere", "Without a shape"),
        ]
    )
    assert zones.at(LAT, LON) == "centre"
    assert zones.at(LAT + 0.05, LON) == "centre", "the edge belongs to it"
    assert zones.at(LAT + 0.2, LON) == "city"
    assert zones.at(LAT, LON + 1.2) == "lake"
    assert zones.at(LAT, LON + 1) is None, "a hole"
    assert zones.at(LON, LAT) is None
    assert NO_ZONES.at(LAT, LON) is None


def test_of_two_alike_the_first_by_key_has_it() -> None:
    both = [Zone(key, key, around_pickup(0.1)) for key in ("b", "a")]
    assert Zones(both).at(LAT, LON) == "a"


def test_a_change_makes_other_zones_and_leaves_these() -> None:
    before = Zones([Zone("Mitte", "Mitte", around_pickup(0.1), ("Nord",))])
    after = before.changed(Zone("Mitte", "Centre"))
    assert before.at(LAT, LON) == "Mitte"
    assert after.at(LAT, LON) is None
    assert (len(after), [zone.name for zone in after]) == (1, ["Centre"])
    assert before.helpers("mitte") == ("Nord",)
    assert after.helpers("mitte") == before.helpers("elsewhere") == ()
    assert before.find(" MITTE ") == next(iter(before))
    assert before.without("mitte").find("Mitte") is None
    assert before.area_km2("mitte") == pytest.approx(75.3, rel=0.01)
    assert after.area_km2("mitte") is before.area_km2("elsewhere") is None


def with_zones(*zones: Zone) -> World:
    return World(NOW, a_policy(), {}, {}, zones=Zones(zones))


MITTE = Zone("Mitte", "Mitte", around_pickup(0.1), ("Nord",), "ada", NOW)
CASES = [
    Case(
        "a zone is described",
        with_zones,
        c.ChangeZone("Mitte", "Mitte", around_pickup(0.1), ("Nord",), ADA),
        [happens(e.ZoneChanged, zone=MITTE, area_km2=pytest.approx(75.3, rel=0.01))],
        lambda world: world.zones.at(LAT, LON) == "Mitte" and world.changed_zones == {"mitte": MITTE},
    ),
    Case(
        "described as it is: harmless",
        lambda: with_zones(MITTE),
        c.ChangeZone("Mitte", "Mitte", around_pickup(0.1), ("Nord",), SHOP),
        [],
    ),
    Case(
        "described anew, without a shape",
        lambda: with_zones(MITTE),
        c.ChangeZone("Mitte", "Centre", None, (), ADA),
        [happens(e.ZoneChanged, zone=replace(MITTE, name="Centre", shape=None, helped_by=()), area_km2=None)],
    ),
    Case(
        "described anew by who saw it as it is",
        lambda: with_zones(MITTE),
        c.ChangeZone("Mitte", "Centre", None, (), ADA, mark_of(MITTE)),
        [happens(e.ZoneChanged, zone=replace(MITTE, name="Centre", shape=None, helped_by=()), area_km2=None)],
    ),
    Case(
        "described anew by who saw another description",
        lambda: with_zones(MITTE),
        c.ChangeZone("Mitte", "Centre", None, (), ADA, mark_of(replace(MITTE, name="Old"))),
        "zone_changed",
    ),
    Case(
        "described by who saw none, while another admin described it",
        lambda: with_zones(MITTE),
        c.ChangeZone("Mitte", "Centre", None, (), ADA, mark_of(None)),
        "zone_changed",
    ),
    Case(
        "described by who saw none, and there is none",
        with_zones,
        c.ChangeZone("Mitte", "Mitte", around_pickup(0.1), ("Nord",), ADA, mark_of(None)),
        [happens(e.ZoneChanged, zone=MITTE, area_km2=pytest.approx(75.3, rel=0.01))],
    ),
    Case(
        "removed by who saw another description",
        lambda: with_zones(MITTE),
        c.RemoveZone("Mitte", ADA, mark_of(replace(MITTE, helped_by=()))),
        "zone_changed",
    ),
    Case(
        "one too many",
        lambda: with_zones(*(Zone(f"z{number}", "Z") for number in range(ZONES_LIMIT))),
        c.ChangeZone("Mitte", "Mitte", None, (), ADA),
        "too_many_zones",
    ),
    Case(
        "described no more",
        lambda: with_zones(MITTE),
        c.RemoveZone("MITTE", ADA),
        [happens(e.ZoneRemoved, key="Mitte")],
        lambda world: len(world.zones) == 0 and world.changed_zones == {"mitte": None},
    ),
    Case("what is not described cannot be removed", with_zones, c.RemoveZone("Mitte", ADA), "not_found"),
]


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_describing(case: Case) -> None:
    check(case)


def test_what_is_said_of_a_zone() -> None:
    changed = e.ZoneChanged(at=NOW, actor=ADA, zone=MITTE, area_km2=75.33333)
    assert changed.data() == {"key": "Mitte", "name": "Mitte", "helpedBy": ["Nord"], "areaKm2": 75.333}
    assert e.ZoneChanged(at=NOW, actor=ADA, zone=MITTE).data()["areaKm2"] is None
    assert e.ZoneRemoved(at=NOW, actor=ADA, key="Mitte").data() == {"key": "Mitte"}


@pytest.mark.parametrize(
    ("zone", "pickup", "expected"),
    [
        (None, PICKUP, "Mitte"),
        (None, Place(LAT + 1, LON), "default"),
        ("Nord", PICKUP, "Nord"),
        ("default", PICKUP, "default"),
    ],
)
def test_an_order_without_a_zone_is_of_the_one_around_its_pickup(
    zone: str | None, pickup: Place, expected: str
) -> None:
    world = with_zones(MITTE)
    order = create(zone=zone, pickup=pickup, dropoff=pickup)
    check(Case("created", lambda: world, order, [happens(e.DeliveryCreated), happens(e.DeliveryReady)]))
    assert world.locked_delivery(order.delivery_id).zone == expected


@pytest.mark.parametrize(
    ("first", "again", "same"),
    [
        (None, None, True),
        (None, "mitte", True),
        (None, "default", True),
        (None, "Nord", False),
        ("Mitte", " MITTE ", True),
        ("Mitte", None, False),
        ("Mitte", "Nord", False),
    ],
)
def test_a_repeat_may_spell_out_the_zone_that_the_order_got(first: str | None, again: str | None, same: bool) -> None:
    world = with_zones(MITTE)
    check(
        Case(
            "created",
            lambda: world,
            create(zone=first, fingerprint="first", requirements=("Cool Box",)),
            [happens(e.DeliveryCreated), happens(e.DeliveryReady)],
        )
    )
    repeat = create(zone=again, fingerprint="again", delivery_id=id_of("again"), requirements=("cool box",))
    check(Case("again", lambda: world, repeat, [] if same else "delivery_differs"))


def spelled(*rows: Delivery | Driver, **spellings: str | None) -> World:
    """A world in which these rows are locked and these zones are named: key -> spelling, None for a new zone."""
    world = a_world(*rows)
    world.spellings.update(spellings)
    return world


def register(zone: str) -> c.RegisterDriver:
    return c.RegisterDriver(DAN, "Dan", zone, 1, SHOP)


SPELLING = [
    Case(
        "a driver of a known zone",
        lambda: spelled(nord="NORD"),
        register(" nord "),
        [happens(e.DriverRegistered)],
        lambda world: world.known_driver(DAN).zone == "NORD" and world.new_spellings == {},
    ),
    Case(
        "a driver of a new zone",
        lambda: spelled(nord=None),
        register(" Nord "),
        [happens(e.DriverRegistered)],
        lambda world: world.known_driver(DAN).zone == "Nord" and world.new_spellings == {"nord": "Nord"},
    ),
    Case(
        "a driver moves to a new zone",
        lambda: spelled(a_driver(), nord=None),
        c.ChangeDriver(DAN, ADA, zone="Nord "),
        [happens(e.DriverChanged, changes={"zone": ("default", "Nord")})],
        lambda world: world.new_spellings == {"nord": "Nord"},
    ),
    Case(
        "a driver stays in their zone",
        lambda: spelled(a_driver(zone="NORD"), nord="NORD"),
        c.ChangeDriver(DAN, ADA, zone="nord"),
        [],
    ),
    Case(
        "an order of a known zone",
        lambda: spelled(nord="NORD"),
        create(zone="Nord"),
        [happens(e.DeliveryCreated), happens(e.DeliveryReady)],
        lambda world: [order.zone for order in world.new_deliveries.values()] == ["NORD"] and world.new_spellings == {},
    ),
    Case(
        "an order of a new zone",
        lambda: spelled(nord=None),
        create(zone="  Nord"),
        [happens(e.DeliveryCreated), happens(e.DeliveryReady)],
        lambda world: (
            [order.zone for order in world.new_deliveries.values()] == ["Nord"]
            and world.new_spellings == {"nord": "Nord"}
        ),
    ),
    Case(
        "a new zone is described, with a new one, a known one and the same again for help",
        lambda: spelled(mitte=None, nord=None, west="WEST"),
        c.ChangeZone(" Mitte", "Centre", None, ("Nord", "west", "nord"), ADA),
        [happens(e.ZoneChanged, zone=Zone("Mitte", "Centre", None, ("Nord", "WEST"), "ada", NOW))],
        lambda world: world.new_spellings == {"mitte": "Mitte", "nord": "Nord"},
    ),
]


@pytest.mark.parametrize("case", SPELLING, ids=name_of)
def test_the_first_spelling_is_used(case: Case) -> None:
    check(case)


def test_a_refused_command_gives_a_zone_no_spelling() -> None:
    world = a_world(a_driver(external_ref="D-7"), by_external_ref={"D-7": DAN})
    world.spellings["nord"] = None
    refused = c.RegisterDriver(id_of("Dora"), "Dora", "nord", 1, SHOP, external_ref="D-7")
    check(Case("refused", lambda: world, refused, "driver_exists"))
    assert (world.spellings, world.new_spellings) == ({"nord": None}, {})
    for name, zone in (("Dora", "Nord"), ("Max", "NORD")):
        accepted = c.RegisterDriver(id_of(name), name, zone, 1, SHOP)
        check(Case("accepted", lambda: world, accepted, [happens(e.DriverRegistered)]))
        assert world.known_driver(id_of(name)).zone == "Nord"
    assert world.new_spellings == {"nord": "Nord"}


HELPED = Zones([Zone("default", "Here", None, ("north",)), Zone("north", "North", None, ("default",))])


@pytest.mark.parametrize(
    ("widened", "zone", "refusal"),
    [
        (False, "north", "zone_differs"),
        (True, "north", None),
        (True, "south", "zone_differs"),
        (False, "default", None),
    ],
)
def test_drivers_of_zones_that_help_are_asked_once_the_search_is_wide(
    widened: bool, zone: str, refusal: str | None
) -> None:
    soup = a_delivery(widened_at=NOW if widened else None)
    world = World(NOW, a_policy(), {SOUP: soup}, {DAN: a_driver(zone=zone)}, zones=HELPED)
    offer = c.OfferDelivery(SOUP, DAN, id_of("offer"), LAT, LON)
    then: Any = [happens(e.OfferCreated)] if refusal is None else f"driver_not_available: {refusal}"
    check(Case("offered", lambda: world, offer, then))


@pytest.mark.parametrize(("zone", "refused"), [("north", False), ("south", True)])
def test_a_person_may_pick_from_the_zones_that_help_at_any_time(zone: str, refused: bool) -> None:
    world = World(NOW, a_policy(), {SOUP: a_delivery()}, {DAN: a_driver(zone=zone)}, zones=HELPED)
    pick = c.AssignDelivery(SOUP, DAN, "near", True, id_of("offer"), id_of("assignment"), ADA)
    then: Any = "driver_not_available: zone_differs" if refused else [happens(e.DeliveryAssigned)]
    check(Case("picked", lambda: world, pick, then))


def test_the_world_of_before_knows_no_zones() -> None:
    assert a_world().zones is NO_ZONES


def test_a_digit_is_the_same_in_any_script() -> None:
    assert with_ascii_digits("+\uff14\uff19 (\u0660)30 \u096b5\u00b2 a\u00df") == "+49 (0)30 55\u00b2 a\u00df"
    assert with_ascii_digits("+49 30") == "+49 30"
