"""Zones over the API and on the screen: describing them, what orders without a zone get, and one spelling for all."""

import asyncio
import math
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from server.web.screens import zones
from tests.conftest import StartNode
from tests.waiting import until
from tests.web.conftest import Check, Site
from tests.web.html_tree import parse
from tests.web.people import Browser, logged_in

LON, LAT = 13.405, 52.52


def around(size: float = 0.1) -> dict[str, Any]:
    w, e, s, n = LON - size / 2, LON + size / 2, LAT - size / 2, LAT + size / 2
    return {"type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]]}


async def test_a_zone_is_described_read_changed_and_removed(site: Site, problem: Check) -> None:
    said = {"name": "Mitte", "shape": around(), "helpedBy": ["Nord", " nord "]}
    made = await site.ada.put("/admin/zones/Mitte", json=said)
    assert made.status_code == 200, made.text
    zone = made.json()
    assert zone.items() >= {"key": "Mitte", "name": "Mitte", "helpedBy": ["Nord"], "changedBy": "ada"}.items()
    assert zone["shape"] == around()
    assert zone["areaKm2"] == pytest.approx(75.3, rel=0.01)
    assert (await site.ada.put("/admin/zones/%20MITTE", json=said)).json() == zone
    assert (await site.vic.get("/admin/zones/mitte")).json() == zone
    assert (await site.alice.get("/admin/zones")).json() == {"items": [zone], "nextCursor": None}
    changed = (await site.ada.put("/admin/zones/mitte", json={"name": "Centre"})).json()
    assert changed.items() >= {"key": "Mitte", "name": "Centre", "shape": None, "helpedBy": [], "areaKm2": None}.items()
    assert (await site.ada.delete("/admin/zones/mitte")).status_code == 204
    problem(await site.ada.delete("/admin/zones/mitte"), 404, "not_found")
    problem(await site.vic.get("/admin/zones/Mitte"), 404, "not_found")
    assert (await site.vic.get("/admin/zones")).json()["items"] == []


async def test_zones_come_in_pages_by_key(site: Site, problem: Check) -> None:
    for key in ("b", "C", "a"):
        assert (await site.ada.put(f"/admin/zones/{key}", json={"name": key})).status_code == 200
    first = (await site.vic.get("/admin/zones?limit=2")).json()
    assert [zone["key"] for zone in first["items"]] == ["a", "b"]
    last = (await site.vic.get(f"/admin/zones?limit=2&cursor={first['nextCursor']}")).json()
    assert ([zone["key"] for zone in last["items"]], last["nextCursor"]) == (["C"], None)
    problem(await site.vic.get("/admin/zones?cursor=x"), 422, "invalid")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "M", "colour": "red"}, "colour"),
        ({"name": "M", "shape": {"type": "Point", "coordinates": [13, 52]}}, "shape.type"),
        (
            {"name": "M", "shape": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}},
            "shape",
        ),
        ({"name": "M", "shape": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1]]]}}, "shape"),
        ({"name": "M", "helpedBy": [" MITTE"]}, "helpedBy"),
        ({"name": "M", "helpedBy": ["x"] * 21}, "helpedBy"),
        ({"name": "M", "helpedBy": [""]}, "helpedBy[0]"),
    ],
)
async def test_a_description_that_makes_no_sense_is_refused(
    site: Site, problem: Check, body: dict[str, Any], field: str
) -> None:
    error = problem(await site.ada.put("/admin/zones/Mitte", json=body), 422, "invalid")
    assert [found["field"] for found in error["errors"]] == [field]
    assert (await site.vic.get("/admin/zones")).json()["items"] == []


@pytest.mark.parametrize("key", ["Mitte/Wedding", "Nord & Süd", "100%", "a?b#c", "A/"])
async def test_any_zone_of_an_order_can_be_described(site: Site, key: str) -> None:
    await site.delivery(zone=key)
    path = f"/admin/zones/{quote(key, safe='')}"
    assert (await site.ada.put(path, json={"name": f"Zone {key}"})).json()["key"] == key
    assert (await site.vic.get(path)).json()["name"] == f"Zone {key}"
    assert (await site.ada.delete(path)).status_code == 204

    async def gone() -> bool:
        return (await site.vic.get(path)).status_code == 404

    await until(gone)


async def test_a_key_has_1_to_64_characters(site: Site, problem: Check) -> None:
    for key in ("x" * 65, "%20", "a%00b", "%E2%80%8B"):
        problem(await site.ada.put(f"/admin/zones/{key}", json={"name": "M"}), 422, "invalid")
        problem(await site.vic.get(f"/admin/zones/{key}"), 404, "not_found")
        problem(await site.ada.delete(f"/admin/zones/{key}"), 404, "not_found")
    problem(await site.ada.put("/admin/zones/M", content=b"{"), 400, "malformed")
    vast = '{"name": "M", "shape": {"type": "Polygon", "coordinates": [[[1%s, 0], [1, 0], [1, 1], [0, 0]]]}}' % (
        "0" * 400
    )
    problem(await site.ada.put("/admin/zones/M", content=vast), 422, "invalid")
    problem(await site.alice.put("/admin/zones/M", json={"name": "M"}), 403, "forbidden")
    problem(await site.shop.get("/admin/zones"), 403, "forbidden")


async def test_an_order_without_a_zone_gets_the_smallest_around_its_pickup(site: Site) -> None:
    assert (await site.delivery())["zone"] == "default"
    await site.ada.put("/admin/zones/city", json={"name": "City", "shape": around(0.5)})
    await site.ada.put("/admin/zones/centre", json={"name": "Centre", "shape": around(0.1)})
    order = site.order()
    made = await site.shop.post("/deliveries", json=order)
    assert made.json()["zone"] == "centre"
    assert (await site.delivery(zone=None))["zone"] == "centre"
    assert (await site.delivery(zone="default"))["zone"] == "default"
    assert (await site.delivery(pickup={"lat": LAT + 0.2, "lon": LON}))["zone"] == "city"
    assert (await site.delivery(pickup={"lat": 0, "lon": 0}, dropoff={"lat": 0, "lon": 0.01}))["zone"] == "default"
    again = await site.shop.post("/deliveries", json=order | {"zone": "Centre"})
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])


async def test_all_spellings_of_a_zone_are_one(site: Site) -> None:
    dan = await site.driver(zone="Mitte", at_work=True)
    delivery = await site.delivery(zone="  mitte ")
    assert delivery["zone"] == "Mitte"
    assert (await dan.offer())["deliveryId"] == delivery["id"]
    for spelled in ("MITTE", "%20mitte", "Mitte"):
        assert [one["id"] for one in (await site.vic.get(f"/deliveries?zone={spelled}")).json()["items"]] == [
            delivery["id"]
        ]
        assert [one["id"] for one in (await site.vic.get(f"/drivers?zone={spelled}")).json()["items"]] == [dan.id]
    moved = await site.shop.patch(f"/drivers/{dan.id}", json={"zone": "MITTE"})
    assert moved.json()["zone"] == "Mitte"


async def test_tags_are_one_however_they_are_spelled(site: Site) -> None:
    dan = await site.driver(tags=["Cool  Box", "cool box"], at_work=True)
    assert (await dan.get()).json()["tags"] == ["Cool Box"]
    delivery = await site.delivery(requirements=[" cool box"])
    assert delivery["requirements"] == ["cool box"]
    assert (await dan.offer())["deliveryId"] == delivery["id"]


async def test_two_nodes_choose_one_spelling_and_know_each_others_zones(site: Site, node: StartNode) -> None:
    other = Site(await node())
    bodies = [site.order(zone=spelled) for spelled in ("Mitte", "MITTE", "mitte", "mittE")]
    made = await asyncio.gather(
        *((site if index % 2 else other).shop.post("/deliveries", json=body) for index, body in enumerate(bodies))
    )
    assert len({answer.json()["zone"] for answer in made}) == 1
    harbour = await site.delivery(zone="Harbour")
    found = (await other.vic.get("/deliveries?zone=HARBOUR")).json()["items"]
    assert [delivery["id"] for delivery in found] == [harbour["id"]], "a spelling that only the first node has used"
    await site.ada.put("/admin/zones/mitte", json={"name": "Mitte", "shape": around()})

    async def known_there() -> bool:
        return (await other.vic.get("/admin/zones/mitte")).status_code == 200

    await until(known_there)
    assert (await other.delivery())["zone"] == made[0].json()["zone"]
    await site.ada.delete("/admin/zones/mitte")

    async def gone_there() -> bool:
        return (await other.vic.get("/admin/zones/mitte")).status_code == 404

    await until(gone_there)
    assert (await other.delivery())["zone"] == "default"
    await other.close()


async def test_the_screen_describes_zones(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.driver(zone="Nord")
    await site.delivery(zone="Typo")
    ada = await logged_in(site, "grace", "admin")
    assert "Typo" in (await ada.see("/zones")).text
    form = {"key": "Mitte", "name": "Mitte", "helped_by": "Nord, West", "shape": msgspec.json.encode(around()).decode()}
    assert (await ada.send("/zones", **form, do="save")).status_code == 303
    assert "75.2 km²" in (await ada.see("/zones")).text
    deep = f'{{"type": "Polygon", "coordinates": {"[" * 3000}{"]" * 3000}}}'
    for text in ("circle", deep, '{"type": "Feature", "geometry": null}', "null"):
        wrong = await ada.send("/zones", **form | {"shape": text}, do="save")
        assert (wrong.status_code, "must be GeoJSON" in wrong.text) == (422, True), text
    assert "75.2 km²" in (await ada.see("/zones")).text, "what is refused takes no shape away"
    nameless = await ada.send("/zones", **form | {"name": ""}, do="save")
    assert (nameless.status_code, "Give the zone a name" in nameless.text) == (422, True)
    crowded = await ada.send("/zones", **form | {"helped_by": "x" * 65}, do="save")
    assert (crowded.status_code, "Name at most 20 zones" in crowded.text) == (422, True)
    page = (await ada.see("/zones?zone=mitte")).text
    assert "Nord, West" in page
    shown = parse(page).one("input", name="shown")["value"]
    empty = parse((await ada.see("/zones")).text).one("input", name="shown")["value"]
    for before, name, status in (
        (empty, "Other", 409),
        (empty, "Mitte", 303),
        (shown, "Middle", 303),
        (shown, "Mitte", 409),
    ):
        answer = await ada.send("/zones", **form | {"name": name}, shown=before, do="save")
        assert answer.status_code == status
    assert "another admin changed this zone after you opened the form" in answer.text
    theirs = parse(answer.text).one("div", class_="saved-now").text
    assert all(part in theirs for part in ("Middle", "by grace", "Nord, West")), theirs
    assert parse(answer.text).one("input", name="name")["value"] == "Mitte"
    removal = await ada.send("/zones", **form, shown=shown, do="remove")
    assert (removal.status_code, "Middle" in removal.text) == (409, True)
    again = parse(answer.text).one("input", name="shown")["value"]
    assert (await ada.send("/zones", **form, shown=again, do="save")).status_code == 303
    boxes = parse(page).every("input", name="helped_by")
    chosen = {box["value"]: "checked" in box for box in boxes}
    assert chosen == {"Nord": True, "West": True, "Typo": False, "default": False}
    await site.ada.put("/admin/zones/Nord", json={"name": "The North", "shape": around(0.3)})
    page = (await ada.see("/zones?zone=mitte")).text
    shapes = parse(page).one("template", id="zone-shapes").text
    assert list(msgspec.json.decode(shapes)) == ["The North"], "the shape in the form is drawn by the form"
    wide = {"type": "MultiPolygon", "coordinates": [around(0.5)["coordinates"], around(0.1)["coordinates"]]}
    monkeypatch.setattr(zones, "POSITIONS_SHOWN", 9)
    wide["coordinates"][1][0] = [[lon + 1, lat] for lon, lat in wide["coordinates"][1][0]]
    await site.ada.put("/admin/zones/Alt", json={"name": "Alt", "shape": wide})
    page = (await ada.see("/zones?zone=mitte")).text
    shapes = parse(page).one("template", id="zone-shapes").text
    assert list(msgspec.json.decode(shapes)) == ["The North"], "one that is too large leaves the others their place"
    assert (await site.ada.delete("/admin/zones/Alt")).status_code == 204
    file = await site.vic.get("/zones/shapes.geojson")
    assert file.headers["content-type"] == "application/geo+json"
    assert [(one["properties"], one["geometry"]) for one in file.json()["features"]] == [
        ({"key": "Mitte", "name": "Mitte", "helpedBy": ["Nord", "West"]}, around()),
        ({"key": "Nord", "name": "The North", "helpedBy": []}, around(0.3)),
    ]
    assert (await site.ada.delete("/admin/zones/Nord")).status_code == 204
    assert (await ada.send("/zones", key="Mitte", do="remove")).status_code == 303
    assert (await ada.send("/zones", key="Mitte", do="remove")).status_code == 404
    assert (await site.vic.get("/admin/zones")).json()["items"] == []
    vic = await logged_in(site, "otto", "viewer")
    assert 'action="/zones"' not in (await vic.see("/zones")).text


async def test_who_is_off_shift_can_be_called_if_nobody_works_in_the_zone(site: Site) -> None:
    olga = await logged_in(site, "olga", "ops")
    await site.ada.put("/admin/zones/Nord", json={"name": "Nord", "helpedBy": ["West"]})
    toomas = await site.driver("Toomas", zone="Nord", phone="+372 5123", at_work=True)
    await site.driver("Wanda", zone="West", phone="+372 5199")
    await site.driver("Otto", zone="Ost", phone="+372 5100")
    assert (await toomas.post("/availability/end-shift")).status_code == 200
    delivery = await site.delivery(zone="Nord")
    for path in (f"/board/deliveries/{delivery['id']}", f"/board/deliveries/{delivery['id']}/assign"):
        line = parse((await olga.see(path)).text).one("p", class_="to-call")
        assert line.text == "Off shift, could be called: Toomas +372 5123 · Wanda (West) +372 5199"
        assert "tel:+372 5123" in [link["href"] for link in line.every("a")]
    await toomas.post("/availability/resume")
    await until(lambda: _nobody_to_call(olga, delivery["id"]))


async def _nobody_to_call(browser: Browser, delivery_id: str) -> bool:
    return "to-call" not in (await browser.see(f"/board/deliveries/{delivery_id}/assign")).text


def with_points(count: int) -> dict[str, Any]:
    """A closed ring of so many positions, with all digits."""
    angles = [2 * math.pi * at / (count - 1) for at in range(count - 1)]
    ring = [[LON + math.cos(angle) / 10, LAT + math.sin(angle) / 10] for angle in angles]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


async def test_a_zone_may_have_5000_points_on_the_screen_and_over_the_api(site: Site, problem: Check) -> None:
    ada = await logged_in(site, "Ada", "admin")
    most, more = with_points(5_000), with_points(5_001)
    shape = msgspec.json.encode(most).decode()
    assert len(shape) > 65_536
    saved = await ada.send("/zones", key="Round", name="Round", shape=shape, do="save")
    assert saved.status_code == 303, saved.text
    assert (await site.vic.get("/admin/zones/Round")).json()["shape"] == most
    assert (await site.ada.put("/admin/zones/Round", json={"name": "Round", "shape": most})).status_code == 200
    refused = await ada.send("/zones", key="Round", name="Round", shape=msgspec.json.encode(more).decode(), do="save")
    assert (refused.status_code, "at most 5000 positions" in refused.text) == (422, True)
    problem(await site.ada.put("/admin/zones/Round", json={"name": "Round", "shape": more}), 422, "invalid")
    large = await ada.send("/zones", key="Round", name="Round", shape=" " * 524_288, do="save")
    assert (large.status_code, "a zone has at most 5,000 points" in large.text) == (413, True)
    assert large.headers["content-type"].startswith("text/html")


async def test_of_two_changes_of_one_zone_at_once_one_is_refused(node: StartNode) -> None:
    """On two nodes, so no node's memory can say which was first."""
    here, there = Site(await node()), Site(await node())
    ada, eve = await logged_in(here, "Ada", "admin"), await logged_in(there, "Eve", "admin")
    shown = parse((await ada.see("/zones")).text).one("input", name="shown")["value"]
    answers = await asyncio.gather(
        ada.send("/zones", key="Mitte", name="Of Ada", shown=shown, do="save"),
        eve.send("/zones", key="Mitte", name="Of Eve", shown=shown, do="save"),
    )
    assert sorted(answer.status_code for answer in answers) == [303, 409]
    (refused,) = (answer for answer in answers if answer.status_code == 409)
    name = (await here.vic.get("/admin/zones/Mitte")).json()["name"]
    assert name in parse(refused.text).one("div", class_="saved-now").text
    await here.close()
    await there.close()
