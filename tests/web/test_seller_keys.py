"""API keys that are bound to a seller: of other sellers' deliveries, and of drivers, they learn nothing."""

from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from server.ids import new_id
from server.web.access.api_keys import ApiKeys
from tests.waiting import until
from tests.web.conftest import DROPOFF, PICKUP, Check, Site


async def key_of(site: Site, seller: str | None) -> httpx2.AsyncClient:
    """A client with a new key that is bound to this seller."""
    made = await site.ada.post("/admin/api-keys", json={"name": f"till of {seller}", "sellerId": seller})
    assert made.status_code == 201, made.text
    assert made.json()["sellerId"] == seller
    return site.anonymous({"Authorization": f"Bearer {made.json()['key']}"})


async def order(client: httpx2.AsyncClient, site: Site, **changes: Any) -> dict[str, Any]:
    made = await client.post("/deliveries", json=site.order(**changes))
    assert made.status_code == 201, made.text
    delivery: dict[str, Any] = made.json()
    return delivery


async def ids(client: httpx2.AsyncClient, query: str = "") -> list[str]:
    found = await client.get(f"/deliveries{query}")
    assert found.status_code == 200, found.text
    return [delivery["id"] for delivery in found.json()["items"]]


async def test_a_bound_key_places_follows_and_changes_its_own_orders(site: Site) -> None:
    roma = await key_of(site, "roma")
    first = await order(roma, site, sellerOrderId="1")
    assert first["sellerId"] == "roma"
    again = await roma.post("/deliveries", json=site.order(sellerOrderId="1", sellerId="roma"))
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    path = f"/deliveries/{first['id']}"
    assert (await roma.get(path)).json()["sellerOrderId"] == "1"
    assert (await roma.get(f"{path}/timeline")).json()["items"][0]["actor"] == {"type": "service", "id": "till of roma"}
    assert (await roma.post(f"{path}/delay", json={"minutes": 5})).status_code == 200
    assert (await roma.post(f"{path}/ready")).status_code == 200
    version = (await roma.get(path)).json()["version"]
    changed = await roma.patch(path, json={"version": version, "notes": "two bags"})
    assert changed.json()["notes"] == "two bags"
    assert (await roma.post(f"{path}/cancel", json={"reason": "closed"})).json()["status"] == "CANCELLED"


async def test_a_bound_key_lists_its_own_orders_only(site: Site) -> None:
    roma, bari = await key_of(site, "roma"), await key_of(site, "bari")
    hers = [(await order(roma, site))["id"] for _ in range(3)]
    his = [(await order(bari, site))["id"] for _ in range(2)]
    (await order(site.shop, site))["id"]
    assert await ids(roma) == hers[::-1]
    assert await ids(bari) == his[::-1]
    page = (await roma.get("/deliveries?limit=2&status=READY&zone=default")).json()
    assert [delivery["id"] for delivery in page["items"]] == hers[:0:-1]
    assert await ids(roma, f"?limit=2&cursor={page['nextCursor']}") == hers[:1]
    # A cursor says where to go on, and lets nobody in.
    theirs = (await site.shop.get("/deliveries?limit=1")).json()["nextCursor"]
    assert await ids(bari, f"?cursor={theirs}") == his[::-1]
    assert len(await ids(site.shop)) == 6


CALLS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "", None),
    ("GET", "/timeline", None),
    ("POST", "/assign", None),
    ("POST", "/ready", None),
    ("POST", "/delay", {"minutes": 5}),
    ("POST", "/cancel", {"reason": "mine"}),
    ("PATCH", "", {"version": 1, "notes": "mine"}),
)


@pytest.mark.parametrize(("method", "what", "body"), CALLS)
async def test_another_sellers_order_is_as_if_there_were_none(
    site: Site, problem: Check, method: str, what: str, body: Any
) -> None:
    """Also one that has no seller; and nothing happens to it."""
    roma = await key_of(site, "roma")
    for seller in ("bari", ""):
        other = await order(site.shop, site, sellerId=seller)
        theirs = await roma.request(method, f"/deliveries/{other['id']}{what}", json=body)
        none = await roma.request(method, f"/deliveries/{new_id()}{what}", json=body)
        assert problem(theirs, 404, "not_found") == problem(none, 404, "not_found")
        now = (await site.shop.get(f"/deliveries/{other['id']}")).json()
        assert (now["status"], now["version"], now["notes"]) == ("READY", other["version"], None)


async def test_a_bound_key_places_no_order_of_another_seller(site: Site, problem: Check) -> None:
    """Whether that seller has one of this number or not, the answer is the same."""
    roma = await key_of(site, "roma")
    known = await order(site.shop, site, sellerId="bari", sellerOrderId="7")
    for number in ("7", "8"):
        refused = await roma.post("/deliveries", json=site.order(sellerId="bari", sellerOrderId=number))
        problem(refused, 404, "not_found")
    assert await ids(site.shop) == [known["id"]]
    # The same number of another seller is another order.
    own = await order(roma, site, sellerOrderId="7")
    assert own["id"] != known["id"]


async def test_a_bound_key_learns_nothing_of_drivers(site: Site, problem: Check) -> None:
    """No endpoint of theirs, and not why a search took none of them."""
    roma = await key_of(site, "roma")
    dan = await site.driver(at_work=True)
    mine = await order(roma, site, pickup=PICKUP | {"lat": 40.0}, dropoff=DROPOFF | {"lat": 40.0})
    for method, path in (
        ("POST", "/drivers"),
        ("GET", "/drivers"),
        ("GET", f"/drivers/{dan.id}"),
        ("PATCH", f"/drivers/{dan.id}"),
        ("POST", f"/drivers/{dan.id}/token"),
        ("GET", f"/deliveries/{mine['id']}/candidates"),
        ("GET", "/admin/webhooks"),
        ("GET", "/admin/api-keys"),
    ):
        problem(await roma.request(method, path, json={}), 403, "forbidden")
    refused = problem(await roma.post(f"/deliveries/{mine['id']}/assign"), 409, "no_driver_available")
    assert (refused["failureReason"], refused["reasons"]) == ("no_driver_in_radius", [])
    refusal = problem(await site.shop.post(f"/deliveries/{mine['id']}/assign"), 409, "no_driver_available")
    assert refusal["reasons"] or refusal["failureReason"] == refused["failureReason"]

    async def failed(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
        items = (await client.get(f"/deliveries/{mine['id']}/timeline")).json()["items"]
        return [item["data"] for item in items if item["type"] == "delivery.search_failed"]

    await until(lambda: failed(site.shop))
    assert (await failed(site.shop))[0]["nearest"]["driverId"] == dan.id
    assert await failed(roma) == [{"reason": "no_driver_in_radius"}]


async def test_a_bound_key_does_not_learn_which_driver_has_its_goods(site: Site) -> None:
    roma = await key_of(site, "roma")
    dan = await site.driver(at_work=True, phone="+49 30 1")
    placed, job = await site.assignment(dan, sellerId="roma")
    await dan.post(f"/assignments/{job['id']}/pickup")
    body = {"reason": "flat tyre", "force": True}
    assert (await site.alice.post(f"/admin/assignments/{job['id']}/reassign", json=body)).status_code == 200
    path = f"/deliveries/{placed['id']}"
    known = (await site.shop.get(path)).json()["pickup"]
    assert (known["name"], known["phone"]) == ("Dan", "+49 30 1")
    where = {"lat": known["lat"], "lon": known["lon"]}
    assert (await roma.get(path)).json()["pickup"] == where
    assert (await roma.get("/deliveries")).json()["items"][0]["pickup"] == where
    assert (await roma.post(f"{path}/ready")).json()["pickup"] == where


@pytest.mark.parametrize("moved", [{}, {"lat": 52.521}], ids=["another contact", "another place"])
async def test_a_bound_key_does_not_learn_it_from_the_timeline_or_by_searching(
    site: Site, moved: dict[str, float]
) -> None:
    """The goods are offered anew where Dan has them, and then the shop names another place or contact."""
    roma = await key_of(site, "roma")
    dan = await site.driver("Dan Marker", at_work=True, phone="+49 30 190190")
    placed, job = await site.assignment(dan, sellerId="roma", pickup=PICKUP | {"name": "Till", "phone": "555-0177"})
    await dan.post(f"/assignments/{job['id']}/pickup")
    path = f"/deliveries/{placed['id']}"
    await site.driver("Dora", at_work=True)
    body = {"reason": "flat tyre", "force": True}
    assert (await site.alice.post(f"/admin/assignments/{job['id']}/reassign", json=body)).status_code == 200
    for words in ("dan mark", "190190", "+49 30 190"):
        assert await ids(site.shop, f"?q={quote(words)}") == [placed["id"]]
        assert await ids(roma, f"?q={quote(words)}") == []
    assert await ids(roma, f"?q={quote(placed['sellerOrderId'])}") == [placed["id"]]
    await until(lambda: types_of(roma, placed, "offer.created", 2))
    known = (await roma.get(path)).json()
    pickup = {name: known["pickup"][name] for name in ("lat", "lon")} | moved | {"name": "Tom", "phone": "555-0199"}
    assert (await roma.patch(path, json={"version": known["version"], "pickup": pickup})).status_code == 200
    await until(lambda: types_of(roma, placed, "delivery.changed", 1))
    timeline = (await roma.get(f"{path}/timeline")).text
    assert "Marker" in (await site.shop.get(f"{path}/timeline")).text
    assert "Marker" not in timeline
    assert "190190" not in timeline
    assert "Till" in timeline, "its own contact, in the offer before"


async def types_of(client: httpx2.AsyncClient, delivery: dict[str, Any], kind: str, count: int) -> bool:
    """Whether the timeline has so many events of this type."""
    items = (await client.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    return [item["type"] for item in items].count(kind) >= count


async def test_a_bound_key_is_made_listed_and_revoked_like_others(site: Site, problem: Check) -> None:
    made = (await site.ada.post("/admin/api-keys", json={"name": "till", "sellerId": " roma "})).json()
    free = (await site.ada.post("/admin/api-keys", json={"name": "chain"})).json()
    assert (made["sellerId"], free["sellerId"]) == ("roma", None)
    listed = (await site.vic.get("/admin/api-keys")).json()["items"]
    assert [(key["name"], key["sellerId"]) for key in listed] == [("chain", None), ("till", "roma")]
    client = site.anonymous({"Authorization": f"Bearer {made['key']}"})
    assert await ids(client) == []
    assert (await site.ada.delete(f"/admin/api-keys/{made['id']}")).status_code == 204
    problem(await client.get("/deliveries"), 401, "unauthorized")
    for wrong in ("", "   ", "x" * 201, 7, "a\u0000b"):
        answer = await site.ada.post("/admin/api-keys", json={"name": "till", "sellerId": wrong})
        problem(answer, 422, "invalid")


async def test_a_node_that_does_not_know_bound_keys_refuses_them(site: Site) -> None:
    """The release before looks for the plain hash of a key; it must not find one that is bound."""
    made = (await site.ada.post("/admin/api-keys", json={"name": "till", "sellerId": "roma"})).json()
    free = (await site.ada.post("/admin/api-keys", json={"name": "chain"})).json()
    pool = site.node.app.state.node.database.pool
    as_before = "SELECT name FROM api_keys WHERE key_hash = encode(sha256($1::text::bytea), 'hex')"
    assert await pool.fetchval(as_before, made["key"]) is None
    assert await pool.fetchval(as_before, free["key"]) == "chain"
    keys: ApiKeys = site.node.app.state.api_keys
    bound = await keys.principal(made["key"])
    assert bound is not None
    assert bound.seller == "roma"
