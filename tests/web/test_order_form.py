"""The form of an order: a new one, a copy, and changes; what it remembers, and what it refuses."""

import re
from typing import Any

import pytest

from tests.conftest import StartNode
from tests.web.conftest import DROPOFF, PICKUP, Check, Site
from tests.web.html_tree import Element, parse
from tests.web.people import Browser, logged_in

NEW = {
    "storeName": "Pizza Roma",
    "pickup.address": "Torstr. 1",
    "pickup.at": "52.52, 13.405",
    "dropoff.phone": "+49 151 234-567",
    "dropoff.name": "Anna Blume",
    "dropoff.address": "Müllerstraße 12",
    "dropoff.at": "52.53; 13.41",
    "dropoff.notes": "Ring twice",
    "currency": "USD",
}


async def fields_of(browser: Browser, path: str) -> dict[str, str]:
    """What the form shows, by field."""
    answer = await browser.see(path)
    assert answer.status_code == 200, answer.text
    [form] = [one for one in parse(answer.text).every("form") if "order-form" in (one.get("class") or "")]
    inputs = {one["name"]: one.get("value") or "" for one in form.every("input") if one.get("type") not in TICKS}
    ticked = [one["value"] for one in form.every("input", type="checkbox") if "checked" in one]
    return {
        **inputs,
        **{one["name"]: one.text for one in form.every("textarea")},
        "proofRequired": ",".join(ticked),
    }


TICKS = ("checkbox", "radio")


async def sent(browser: Browser, path: str, **fields: str) -> str:
    """Where a form leads to that is accepted: the id of its order."""
    answer = await browser.send(path, **fields)
    assert answer.status_code == 303, parse(answer.text).one("p", role="alert").text
    return answer.headers["location"].rpartition("/")[2]


async def mistake(browser: Browser, path: str, status: int, fields: dict[str, str]) -> str:
    answer = await browser.send(path, **fields)
    assert answer.status_code == status, answer.text
    found: Element = parse(answer.text).one("p", role="alert")
    return found.text


async def read(site: Site, delivery_id: str) -> dict[str, Any]:
    delivery: dict[str, Any] = (await site.alice.get(f"/deliveries/{delivery_id}")).json()
    return delivery


async def test_an_order_is_entered_and_sent_twice_is_one(site: Site) -> None:
    alice = await logged_in(site, "Alice", "ops")
    form = await fields_of(alice, "/orders/new")
    assert re.fullmatch(r"\d{4}-[0-9A-F]{5}", form["sellerOrderId"])
    entered = form | NEW | {
        "priceCents": "24,90", "driverPayCents": "5.2", "tipCents": "1", "prepSeconds": "15", "notes": "Fragile",
        "requirements": "cool bag, car", "proofRequired": "pin", "promisedAt": "2026-12-24T18:30",
        "dispatchAt": "2026-12-24T17:30",
    }  # fmt: skip
    made = await sent(alice, "/orders/new", **entered)
    assert await sent(alice, "/orders/new", **entered) == made
    order = await read(site, made)
    assert order["sellerOrderId"] == form["sellerOrderId"]
    assert order["dropoff"] == {
        "lat": 52.53, "lon": 13.41, "address": "Müllerstraße 12", "name": "Anna Blume", "phone": "+49 151 234-567",
        "notes": "Ring twice",
    }  # fmt: skip
    assert (order["priceCents"], order["driverPayCents"], order["tipCents"], order["currency"]) == (
        2490,
        520,
        100,
        "USD",
    )
    assert (order["prepSeconds"], order["notes"], order["requirements"]) == (900, "Fragile", ["cool bag", "car"])
    assert (order["status"], order["dispatchAt"]) == ("SCHEDULED", "2026-12-24T17:30:00.000Z")
    assert order["promisedAt"] == "2026-12-24T18:30:00.000Z"
    assert order["proofRequired"] == ["pin"]
    assert re.fullmatch(r"\d{4}", order["pin"])
    other = entered | {"storeName": "Green Bowl"}
    assert "another order with this number" in await mistake(alice, "/orders/new", 409, other)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"storeName": ""}, "Store"),
        ({"pickup.at": "Torstr."}, "Position of the store: Click on the map"),
        ({"dropoff.at": "91, 13"}, "Position of the customer"),
        ({"dropoff.at": "1, 2, 3"}, "Position of the customer"),
        ({"dropoff.at": "nan, 2"}, "Position of the customer"),
        ({"priceCents": "much"}, "Price: Write an amount in USD"),
        ({"priceCents": "1.234"}, "Price"),
        ({"tipCents": "-1"}, "Tip"),
        ({"tipCents": "1e99"}, "Tip"),
        ({"tipCents": "1e99999999"}, "Tip"),
        ({"prepSeconds": "-5"}, "Preparation"),
        ({"dispatchAt": "tomorrow"}, "Search starts"),
        ({"dropoff.notes": "x" * 1001}, "Note about the address"),
        ({"currency": "XXX", "tipCents": "1"}, ""),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
async def test_a_mistake_keeps_what_was_entered(site: Site, wrong: dict[str, str], words: str) -> None:
    alice = await logged_in(site, "Alice", "ops")
    form = {"sellerOrderId": "7", **NEW, **wrong}
    answer = await alice.send("/orders/new", **form)
    assert answer.status_code == 422, answer.text
    page = parse(answer.text)
    assert words in page.one("p", role="alert").text
    assert page.one("input", name="dropoff.address")["value"] == "Müllerstraße 12"
    assert (await site.alice.get("/deliveries")).json()["items"] == []


async def test_an_order_is_changed_and_nothing_else_of_it(site: Site) -> None:
    order = await site.delivery(
        pickup=PICKUP | {"name": "Back door", "notes": "Ask for Kim", "lat": PICKUP["lat"] + 1.2e-8},
        dropoff=DROPOFF | {"phone": "+49 151 1", "name": "Anna"},
        priceCents=2490, currency="EUR", proofRequired=["photo"], notes="Fragile", driverPayCents=500,
    )  # fmt: skip
    alice = await logged_in(site, "Alice", "ops")
    path = f"/orders/{order['id']}/edit"
    form = await fields_of(alice, path)
    assert await sent(alice, path, **form) == order["id"], "nothing changed"
    await sent(alice, path, **form | {"pickup.address": "Torstr. 2", "priceCents": "30.00", "notes": ""})
    now = await read(site, order["id"])
    assert now["pickup"] == order["pickup"] | {"address": "Torstr. 2"}
    assert (now["dropoff"], now["priceCents"], now["currency"]) == (order["dropoff"], 3000, "EUR")
    assert (now["notes"], now["proofRequired"]) == (None, ["photo"])
    page = (await alice.see(f"/board/deliveries/{order['id']}")).text
    assert path in page
    assert f"/orders/new?copy={order['id']}" in page


async def test_a_change_of_somebody_else_is_not_overwritten(site: Site) -> None:
    order = await site.delivery(dropoff=DROPOFF | {"name": "Anna"}, notes="Fragile")
    alice = await logged_in(site, "Alice", "ops")
    path = f"/orders/{order['id']}/edit"
    form = await fields_of(alice, path)
    version = (await read(site, order["id"]))["version"]
    patched = await site.shop.patch(
        f"/deliveries/{order['id']}", json={"version": version, "dropoff": DROPOFF | {"name": "Berta"}}
    )
    assert patched.status_code == 200, patched.text
    assert "Somebody changed" in await mistake(alice, path, 422, form | {"dropoff.name": "Clara"})
    assert (await read(site, order["id"]))["dropoff"]["name"] == "Berta"
    await sent(alice, path, **form | {"notes": "Very fragile"})
    now = await read(site, order["id"])
    assert (now["dropoff"]["name"], now["notes"]) == ("Berta", "Very fragile")
    assert (await alice.send(path, **form | {"was": "{}"})).status_code == 422


async def test_what_the_rules_refuse_is_said(site: Site) -> None:
    dan = await site.driver(at_work=True)
    order, job = await site.assignment(dan)
    assert (await dan.post(f"/assignments/{job['id']}/pickup")).status_code == 200
    alice = await logged_in(site, "Alice", "ops")
    path = f"/orders/{order['id']}/edit"
    form = await fields_of(alice, path)
    assert "picked up" in await mistake(alice, path, 409, form | {"pickup.address": "Elsewhere"})
    assert (await dan.post(f"/assignments/{job['id']}/complete")).status_code == 200
    assert "finished" in await mistake(alice, path, 409, form | {"notes": "x"})
    assert path not in (await alice.see(f"/board/deliveries/{order['id']}")).text


async def test_a_copy_has_all_but_number_and_times(site: Site) -> None:
    order = await site.delivery(
        dropoff=DROPOFF | {"name": "Anna", "notes": "Ring"}, tipCents=100, dispatchAt="2026-12-24T17:30:00Z"
    )
    alice = await logged_in(site, "Alice", "ops")
    form = await fields_of(alice, f"/orders/new?copy={order['id']}")
    assert form["sellerOrderId"] != order["sellerOrderId"]
    assert (form["dispatchAt"], form["dropoff.name"], form["tipCents"]) == ("", "Anna", "1.00")
    copy = await read(site, await sent(alice, "/orders/new", **form))
    assert copy["id"] != order["id"]
    assert {name: copy[name] for name in ("pickup", "dropoff", "storeName", "tipCents", "zone")} == {
        name: order[name] for name in ("pickup", "dropoff", "storeName", "tipCents", "zone")
    }
    assert (await alice.see("/orders/new?copy=00000000-0000-7000-8000-000000000000")).status_code == 404


async def test_stores_and_customers_are_remembered_until_they_are_erased(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    place = DROPOFF | {"name": "Anna", "address": "Müllerstr. 1", "phone": "+49 (0)151 234-567", "notes": "Ring"}
    _, job = await site.assignment(dan, dropoff=place, storeName="Pizza Anna")
    assert (await dan.post(f"/assignments/{job['id']}/complete")).status_code == 200
    alice = await logged_in(site, "Alice", "ops")
    stores = parse((await alice.see("/orders/new")).text).one("datalist", id="stores")
    [store] = stores.every("option")
    assert (store["value"], store["data-address"], store["data-at"]) == (
        "Pizza Anna", "Torstr. 1", "52.52, 13.405",
    )  # fmt: skip
    for phone in ("+49 151 234567", "0049151234567"):
        known = (await alice.client.get("/orders/customer", params={"phone": phone})).json()
        assert known == {"name": "Anna", "address": "Müllerstr. 1", "notes": "Ring", "at": "52.53, 13.41"}
    for phone in ("", "567", "+49 151 234", "x" * 300):
        problem(await alice.client.get("/orders/customer", params={"phone": phone}), 404, "not_found")
    assert (await site.ada.post("/admin/privacy/erase", json={"phone": place["phone"]})).status_code == 200
    problem(await alice.client.get("/orders/customer", params={"phone": "+49 151 234567"}), 404, "not_found")
    assert parse((await alice.see("/orders/new")).text).one("datalist", id="stores").every("option") == []
    vic = await logged_in(site, "Vic", "viewer")
    for path in ("/orders/new", "/orders/customer?phone=49151234567"):
        assert (await vic.see(path)).status_code == 403


async def test_times_at_the_end_of_the_calendar_are_shown(node: StartNode) -> None:
    site = Site(await node(time_zone="Europe/Berlin"))
    order = await site.delivery()
    await site.node.change("UPDATE deliveries SET promised_at = '9999-12-31T23:30Z' WHERE id = $1", order["id"])
    alice = await logged_in(site, "Alice", "ops")
    form = await fields_of(alice, f"/orders/{order['id']}/edit")
    assert form["promisedAt"] == "9999-12-31T23:30"
    assert "9999-12-31T23:30" in (await alice.see("/orders/file.csv")).text
    await site.close()
