"""Orders by their addresses: a geocoder finds the positions."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.geocoder import search
from tests.conftest import StartNode
from tests.geocoder import PLACES, OtherServer, serving_places
from tests.waiting import until
from tests.web.conftest import DROPOFF, Check, Site
from tests.web.html_tree import parse
from tests.web.people import logged_in
from tests.web.test_imports import imported, mistakes, outcome
from tests.web.test_order_form import NEW, fields_of, sent

FORMS = ("/search", "/api", "/v1/search")
"""The paths of Nominatim, Photon and Pelias."""


@pytest.fixture
async def geocoder() -> AsyncIterator[OtherServer]:
    async with serving_places() as other:
        yield other


def order(address: str, number: str = "1") -> dict[str, Any]:
    return {"sellerOrderId": number, "storeName": "Roma", "pickup": {"address": address}, "dropoff": DROPOFF}


@pytest.mark.parametrize("path", FORMS)
async def test_an_address_is_enough(node: StartNode, geocoder: OtherServer, path: str, problem: Check) -> None:
    site = Site(await node(geocoder_url=geocoder.url + path))
    try:
        made = await site.shop.post("/deliveries", json=order("Torstr. 1"))
        assert made.status_code == 201, made.text
        assert made.json()["pickup"] | {"lat": 52.52, "lon": 13.4} == made.json()["pickup"]
        assert made.json()["pickup"]["address"] == "Torstr. 1"
        unknown = problem(await site.shop.post("/deliveries", json=order("Nowhere", "2")), 422, "address_not_found")
        assert unknown["errors"][0]["field"] == "pickup.address"
        several = problem(await site.shop.post("/deliveries", json=order("Main St", "2")), 422, "address_ambiguous")
        assert [(one["lat"], one["lon"]) for one in several["candidates"]] == PLACES["Main St"]
        assert several["candidates"][0]["address"] == "Main St, Town"
    finally:
        await site.close()


async def test_an_order_sent_again_keeps_its_position(node: StartNode, geocoder: OtherServer, problem: Check) -> None:
    site = Site(await node(geocoder_url=f"{geocoder.url}/search"))
    try:
        first = await site.shop.post("/deliveries", json=order("Torstr. 1"))
        geocoder.answer = b'[{"display_name": "elsewhere", "lat": "1", "lon": "2"}]'
        again = await site.shop.post("/deliveries", json=order(" Torstr. 1 "))
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
        version = first.json()["version"]
        path = f"/deliveries/{first.json()['id']}"
        patched = await site.shop.patch(path, json={"version": version, "dropoff": {"address": "Elsewhere"}})
        assert patched.status_code == 200, patched.text
        assert patched.json()["dropoff"]["lat"] == 1
        for answer in (b"no JSON", b'{"features": [{}]}', b'[{"display_name": "x", "lat": "95", "lon": "2"}]', b"7"):
            geocoder.answer = answer
            problem(await site.shop.post("/deliveries", json=order("Not asked before", "2")), 503, "try_again")
        wrong: list[Any] = [{}, {"address": " "}, {"address": "x", "lat": 1}, 1]
        for pickup in wrong:
            problem(await site.shop.post("/deliveries", json=order("x", "3") | {"pickup": pickup}), 422, "invalid")
        json_type = {"Content-Type": "application/json"}
        problem(await site.shop.post("/deliveries", content=b"{", headers=json_type), 400, "malformed")
        deep = b'{"pickup": {"address": ' + b"[" * 3000 + b"]" * 3000 + b"}}"
        problem(await site.shop.post("/deliveries", content=deep, headers=json_type), 422, "invalid")
    finally:
        await site.close()


async def test_a_geocoder_that_has_learned_an_address_is_asked_again(
    node: StartNode, geocoder: OtherServer, problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "KNOWN_SECONDS", 0.05)
    site = Site(await node(geocoder_url=f"{geocoder.url}/search"))
    try:
        problem(await site.shop.post("/deliveries", json=order("Nowhere")), 422, "address_not_found")
        geocoder.answer = b'[{"display_name": "here now", "lat": "52.52", "lon": "13.4"}]'

        async def is_found() -> bool:
            return (await site.shop.post("/deliveries", json=order("Nowhere"))).status_code == 201

        await until(is_found)
    finally:
        await site.close()


async def test_without_a_geocoder_positions_are_required(site: Site, problem: Check) -> None:
    body = problem(await site.shop.post("/deliveries", json=order("Torstr. 1")), 422, "invalid")
    assert {error["field"] for error in body["errors"]} == {"pickup.lat", "pickup.lon"}


async def test_the_form_of_an_order_finds_addresses(node: StartNode, geocoder: OtherServer) -> None:
    site = Site(await node(geocoder_url=f"{geocoder.url}/search"))
    try:
        olga = await logged_in(site, "Olga", "ops")
        suggested = (await olga.client.get("/orders/places", params={"q": "Main St"})).json()
        assert [one["lat"] for one in suggested] == [52.5, 40.7]
        assert (await olga.client.get("/orders/places", params={"q": "Mai"})).json() == []
        form = await fields_of(olga, "/orders/new")
        entered = form | NEW | {"pickup.at": "", "pickup.address": "Torstr. 1"}
        made = await sent(olga, "/orders/new", **entered)
        assert (await site.alice.get(f"/deliveries/{made}")).json()["pickup"]["lat"] == 52.52
        refused = await olga.send("/orders/new", **entered | {"sellerOrderId": "2", "pickup.address": "Main St"})
        page = parse(refused.text)
        assert page.one(id="pickup.address-wrong").text == "is in several places: Main St, Town · Main St, Town"
        assert "Address of the store" in page.one(role="alert").text
    finally:
        await site.close()


async def test_imported_orders_need_only_addresses(node: StartNode, geocoder: OtherServer) -> None:
    site = Site(await node(geocoder_url=f"{geocoder.url}/search"))
    rows = (
        "sellerOrderId,storeName,pickup.address,dropoff.address,dropoff.lat,dropoff.lon\n"
        "1,Roma,Torstr. 1,Home,52.53,13.41\n2,Roma,Torstr. 1,Main St,,\n3,Roma,Torstr. 1,Nowhere,,\n"
        "4,Roma,,,52.5,13.4\n"
    )
    try:
        for query in ({"dryRun": 1}, {}):
            result = await imported(site, "deliveries", rows, **query)
            assert outcome(result) == (1, 0, 3)
            assert mistakes(result) == {
                3: {"dropoff.address": "is in several places: Main St, Town · Main St, Town"},
                4: {"dropoff.address": "was not found"},
                5: {"pickup.lat": "is required", "pickup.lon": "is required"},
            }
        assert sorted(geocoder.asked) == ["Main St", "Nowhere", "Torstr. 1"], "each address once"
        [order] = (await site.alice.get("/deliveries")).json()["items"]
        assert (order["pickup"]["lat"], order["dropoff"]["lat"]) == (52.52, 52.53)
    finally:
        await site.close()
