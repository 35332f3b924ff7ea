"""The form of an order: a new one, a copy, and changes; what it remembers, and what it refuses."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.conftest import StartNode
from tests.waiting import until
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
    return shown_in(answer.text)


def shown_in(html: str) -> dict[str, str]:
    [form] = [one for one in parse(html).every("form") if "order-form" in (one.get("class") or "")]
    inputs = {one["name"]: one.get("value") or "" for one in form.every("input") if one.get("type") not in TICKS}
    proofs = form.every("input", type="checkbox", name="proofRequired")
    ticked = [one["value"] for one in proofs if "checked" in one]
    return {
        **inputs,
        **{one["name"]: one.text for one in form.every("textarea")},
        "proofRequired": ",".join(ticked),
    }


TICKS = ("checkbox", "radio")


async def sent(browser: Browser, path: str, **fields: str) -> str:
    """Where a form leads to that is accepted: the id of its order."""
    answer = await browser.send(path, **fields)
    assert answer.status_code == 303, parse(answer.text).one(role="alert").text
    return answer.headers["location"].rpartition("/")[2]


async def mistake(browser: Browser, path: str, status: int, fields: dict[str, str]) -> str:
    answer = await browser.send(path, **fields)
    assert answer.status_code == status, answer.text
    found: Element = parse(answer.text).one(role="alert")
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
        "requirements": "cool bag, car", "proofRequired": "pin", "promisedAt": "2098-12-24T18:30",
        "dispatchAt": "2098-12-24T17:30",
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
    assert (order["status"], order["dispatchAt"]) == ("SCHEDULED", "2098-12-24T17:30:00.000Z")
    assert order["promisedAt"] == "2098-12-24T18:30:00.000Z"
    assert order["proofRequired"] == ["pin"]
    assert re.fullmatch(r"\d{4}", order["pin"])
    other = entered | {"storeName": "Green Bowl"}
    assert "another order with this number" in await mistake(alice, "/orders/new", 409, other)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"storeName": ""}, "Store"),
        ({"pickup.at": "Torstr."}, "Position of the store : Click on the map"),
        ({"dropoff.at": "91, 13"}, "Position of the customer"),
        ({"dropoff.at": "1, 2, 3"}, "Position of the customer"),
        ({"dropoff.at": "nan, 2"}, "Position of the customer"),
        ({"priceCents": "much"}, "Price : Write an amount in USD"),
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
    assert words in page.one(role="alert").text
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
    changed = form | {"pickup.address": "Torstr. 2", "priceCents": "30.00", "notes": ""}
    await sent(alice, path, **changed, right="pickup Torstr. 2")
    now = await read(site, order["id"])
    assert now["pickup"] == order["pickup"] | {"address": "Torstr. 2"}
    assert (now["dropoff"], now["priceCents"], now["currency"]) == (order["dropoff"], 3000, "EUR")
    assert (now["notes"], now["proofRequired"]) == (None, ["photo"])
    page = (await alice.see(f"/board/deliveries/{order['id']}")).text
    assert path in page
    assert f"/orders/new?copy={order['id']}" in page


async def test_all_mistakes_are_named_at_once_each_at_its_field(site: Site) -> None:
    alice = await logged_in(site, "Alice", "ops")
    wrong = {
        "storeName": "", "pickup.at": "Torstr.", "dropoff.phone": "x" * 41, "dropoff.at": "", "prepSeconds": "soon",
        "tipCents": "-1", "promisedAt": "tonight",
    }  # fmt: skip
    answer = await alice.send("/orders/new", **{"sellerOrderId": "7", **NEW, **wrong})
    assert answer.status_code == 422
    page = parse(answer.text)
    alert = page.one(role="alert")
    assert "Not saved: 7 fields need a correction." in alert.text
    assert [link["href"] for link in alert.every("a")] == [f"#{name}" for name in wrong_in_order(wrong)]
    for name in wrong:
        field = page.one(id=name)
        assert (field["aria-invalid"], f"{name}-wrong" in field["aria-describedby"].split()) == ("true", True), name
        assert page.one(id=f"{name}-wrong").text
    assert [one["name"] for one in page.every("input") if "autofocus" in one] == ["storeName"]
    assert "aria-invalid" not in page.one("input", name="dropoff.address")


def wrong_in_order(wrong: dict[str, str]) -> list[str]:
    """The fields in the order of the form."""
    order = ["storeName", "pickup.at", "dropoff.phone", "dropoff.at", "promisedAt", "prepSeconds", "tipCents"]
    assert set(order) == set(wrong)
    return order


async def test_a_position_may_be_written_as_people_write_it(site: Site) -> None:
    """tests/web/test_positions.py has all forms."""
    alice = await logged_in(site, "Alice", "ops")
    form = {"sellerOrderId": "7", **NEW, "pickup.at": "52.5 13.4", "dropoff.at": "https://maps.apple.com/?ll=52.6,13.5"}
    order = await read(site, await sent(alice, "/orders/new", **form))
    assert (order["pickup"]["lat"], order["pickup"]["lon"]) == (52.5, 13.4)
    assert (order["dropoff"]["lat"], order["dropoff"]["lon"]) == (52.6, 13.5)
    found = await alice.client.get("/orders/places", params={"q": "52,53 13,41"})
    assert found.json() == [{"address": "52.53, 13.41", "lat": 52.53, "lon": 13.41}]
    assert (await alice.client.get("/orders/places", params={"q": "Torstr. 1"})).json() == [], "there is no geocoder"
    assert "CALLBOARD_GEOCODER_URL" in parse((await alice.see("/orders/new")).text).one(id="pickup.address-hint").text


async def test_a_time_in_the_past_is_asked_about_once(site: Site) -> None:
    alice = await logged_in(site, "Alice", "ops")
    form = {"sellerOrderId": "7", **NEW, "promisedAt": "2020-02-01T18:30", "dispatchAt": "2020-02-01T17:30"}
    asked = await alice.send("/orders/new", **form)
    assert asked.status_code == 409
    page = parse(asked.text)
    alert = page.one(role="alert").text
    for words in ("in the past", "Promised at : 2020-02-01 18:30", "Search starts : 2020-02-01 17:30"):
        assert words in alert, alert
    button = page.one("button", name="past")
    assert button.text == "Create anyway"
    other = form | {"promisedAt": "2020-02-01T18:31", "past": button["value"]}
    assert (await alice.send("/orders/new", **other)).status_code == 409, "another time is asked about again"
    assert (await site.alice.get("/deliveries")).json()["items"] == []
    made = await sent(alice, "/orders/new", **form, past=button["value"])
    path = f"/orders/{made}/edit"
    shown = await fields_of(alice, path)
    await sent(alice, path, **shown | {"notes": "Ring"})
    moved = shown | {"promisedAt": "2020-02-01T19:00"}
    asked = await alice.send(path, **moved)
    button = parse(asked.text).one("button", name="past")
    assert (asked.status_code, button.text) == (409, "Save anyway")
    await sent(alice, path, **moved, past=button["value"])
    assert (await read(site, made))["promisedAt"] == "2020-02-01T19:00:00.000Z"


async def test_another_address_at_the_old_position_is_asked_about(site: Site) -> None:
    """A driver under way is led to the position, not to the address."""
    dan = await site.driver(at_work=True)
    places = {"pickup": PICKUP | {"address": "Torstr. 1"}, "dropoff": DROPOFF | {"address": "Müllerstraße 12"}}
    order, _ = await site.assignment(dan, **places)
    alice = await logged_in(site, "Alice", "ops")
    path = f"/orders/{order['id']}/edit"
    form = await fields_of(alice, path)
    for place, label in (("pickup", "store"), ("dropoff", "customer")):
        moved = form | {f"{place}.address": "Schloßstr. 3"}
        asked = await alice.send(path, **moved)
        assert asked.status_code == 409
        page = parse(asked.text)
        alert = page.one(role="alert").text
        assert "The address changed, its position did not. Move the pin, or tick" in alert
        assert f"Position of the {label} : {form[f'{place}.at']}" in alert
        [tick] = page.every("input", name="right")
        assert "checked" not in tick
        assert shown_in(asked.text)[f"{place}.address"] == "Schloßstr. 3", "what was typed stays"
        assert (await read(site, order["id"]))[place] == order[place]
        other = moved | {f"{place}.address": "Schloßstr. 4"}
        assert (await alice.send(path, **other, right=tick["value"])).status_code == 409, "another one is asked about"
        wrong = await alice.send(path, **moved | {"tipCents": "much"}, right=tick["value"])
        assert "checked" in parse(wrong.text).one("input", name="right"), "a tick outlives a mistake elsewhere"
        await sent(alice, path, **moved, right=tick["value"])
        now = await read(site, order["id"])
        assert now[place] == order[place] | {"address": "Schloßstr. 3"}
        form = await fields_of(alice, path)
    await sent(alice, path, **form | {"dropoff.address": "Gartenstr. 5", "dropoff.at": "52.54, 13.42"})
    form = await fields_of(alice, path)
    await sent(alice, path, **form | {"dropoff.address": "gartenstr.  5"})
    await sent(alice, path, **(await fields_of(alice, path)) | {"dropoff.address": ""})
    await sent(alice, path, **(await fields_of(alice, path)) | {"dropoff.address": "Gartenstr. 6"})


async def test_another_address_in_a_copy_is_asked_about(site: Site) -> None:
    order = await site.delivery(dropoff=DROPOFF | {"address": "Müllerstraße 12"})
    alice = await logged_in(site, "Alice", "ops")
    path = f"/orders/new?copy={order['id']}"
    form = await fields_of(alice, path) | {"dropoff.address": "Schloßstr. 3"}
    asked = await alice.send("/orders/new", **form)
    assert asked.status_code == 409
    tick = parse(asked.text).one("input", name="right")
    again = shown_in(asked.text)
    assert (await alice.send("/orders/new", **again)).status_code == 409, "it is asked until it is ticked"
    made = await sent(alice, "/orders/new", **again, right=tick["value"])
    assert (await read(site, made))["dropoff"] == order["dropoff"] | {"address": "Schloßstr. 3"}
    form = await fields_of(alice, path) | {"dropoff.address": "Schloßstr. 3", "dropoff.at": "52.54, 13.42"}
    await sent(alice, "/orders/new", **form)


async def test_a_change_of_somebody_else_is_shown_and_not_overwritten_unseen(site: Site) -> None:
    order = await site.delivery(dropoff=DROPOFF | {"name": "Anna", "notes": "Ring"}, notes="Fragile")
    alice = await logged_in(site, "Alice", "ops")
    path = f"/orders/{order['id']}/edit"
    form = await fields_of(alice, path)
    version = (await read(site, order["id"]))["version"]
    patched = await site.shop.patch(
        f"/deliveries/{order['id']}",
        json={"version": version, "dropoff": DROPOFF | {"name": "Berta", "notes": "Knock"}, "notes": "Heavy"},
    )
    assert patched.status_code == 200, patched.text
    mine = form | {"dropoff.name": "Clara", "requirements": "car"}
    refused = await alice.send(path, **mine)
    assert refused.status_code == 409
    page = parse(refused.text)
    alert = page.one(role="alert").text
    assert "Not saved: corner-shop changed this order at" in alert
    assert "Name of the customer : Berta" in alert
    assert "Note for the driver" not in alert, "alice did not change it"
    assert page.one(id="dropoff.name-theirs").text == "Now: Berta"
    shown = shown_in(refused.text)
    assert (shown["dropoff.name"], shown["requirements"]) == ("Clara", "car"), "what was typed stays"
    assert (shown["dropoff.notes"], shown["notes"]) == ("Knock", "Heavy"), "what was not typed is what it is now"
    now = await read(site, order["id"])
    assert (now["dropoff"]["name"], now["requirements"]) == ("Berta", [])
    await sent(alice, path, **shown)
    now = await read(site, order["id"])
    assert (now["dropoff"]["name"], now["dropoff"]["notes"], now["notes"], now["requirements"]) == (
        "Clara", "Knock", "Heavy", ["car"],
    )  # fmt: skip
    assert (await alice.send(path, **form | {"was": "{}"})).status_code == 422


async def test_two_tabs_of_one_person_change_one_order(site: Site) -> None:
    order = await site.delivery(dropoff=DROPOFF | {"name": "Anna", "notes": "Ring"})
    alice = await logged_in(site, "Alice", "ops")
    path = f"/orders/{order['id']}/edit"
    form = await fields_of(alice, path)
    await sent(alice, path, **form | {"dropoff.notes": "Knock", "notes": "Heavy"})
    await sent(alice, path, **form | {"dropoff.name": "Berta"})
    now = await read(site, order["id"])
    assert (now["dropoff"]["name"], now["dropoff"]["notes"], now["notes"]) == ("Berta", "Knock", "Heavy")
    page = (await alice.see(f"/board/deliveries/{order['id']}")).text
    assert "Somebody else has changed it too: Note about the address, Note for the driver." in page
    await sent(alice, path, **form | {"notes": "Heavy"})  # the same is no conflict
    refused = parse((await alice.send(path, **form | {"notes": "Light"})).text).one(role="alert").text
    assert "you changed this order at" in refused
    elsewhere = form | {"dropoff.address": "Elsewhere 1"}
    await sent(alice, path, **elsewhere, right="dropoff Elsewhere 1")
    refused = parse((await alice.send(path, **form | {"dropoff.at": "52.6, 13.6"})).text).one(role="alert").text
    assert "Address of the customer : Elsewhere 1" in refused, "an address and its position belong together"


async def test_maps_begin_where_drivers_and_stores_are(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")

    async def begin() -> set[str | None]:
        maps = {"/orders/new": "pick", "/zones": "zone-map"}
        return {parse((await ada.see(path)).text).one(id=name)["data-near"] for path, name in maps.items()}

    assert await begin() == {""}, "nothing is known"
    await site.delivery(pickup=PICKUP | {"lat": 52.5, "lon": 13.5})
    assert await begin() == {"52.5, 13.5"}
    for number, lat in enumerate((52.51, 52.52, 48.1)):
        await (await site.driver(f"Driver {number}")).move(lat, 13.4)
    for number in range(21):
        await site.driver(f"Newer {number}")
    await until(lambda: is_so(begin, {"52.51, 13.4"}))


async def is_so(ask: Callable[[], Awaitable[object]], expected: object) -> bool:
    return await ask() == expected


async def test_what_the_rules_refuse_is_said(site: Site) -> None:
    dan = await site.driver(at_work=True)
    order, job = await site.assignment(dan)
    assert (await dan.post(f"/assignments/{job['id']}/pickup")).status_code == 200
    alice = await logged_in(site, "Alice", "ops")
    path = f"/orders/{order['id']}/edit"
    form = await fields_of(alice, path)
    assert "picked up" in await mistake(alice, path, 409, form | {"pickup.notes": "Elsewhere"})
    assert (await dan.post(f"/assignments/{job['id']}/complete")).status_code == 200
    assert "finished" in await mistake(alice, path, 409, form | {"notes": "x"})
    assert path not in (await alice.see(f"/board/deliveries/{order['id']}")).text


async def test_a_copy_has_all_but_number_and_past_times(site: Site) -> None:
    order = await site.delivery(
        dropoff=DROPOFF | {"name": "Anna", "notes": "Ring"},
        tipCents=100,
        dispatchAt="2098-12-24T17:30:00Z",
        promisedAt="2098-12-24T18:30:00Z",
    )
    alice = await logged_in(site, "Alice", "ops")
    past = await fields_of(alice, f"/orders/new?copy={(await site.delivery(promisedAt='2098-12-24T18:30:00Z'))['id']}")
    assert (past["dispatchAt"], past["promisedAt"]) == ("", "")
    (await site.alice.post(f"/deliveries/{order['id']}/cancel", json={"reason": "Placed twice"})).raise_for_status()
    form = await fields_of(alice, f"/orders/new?copy={order['id']}")
    assert form["sellerOrderId"] != order["sellerOrderId"]
    assert (form["dropoff.name"], form["tipCents"]) == ("Anna", "1.00")
    copy = await read(site, await sent(alice, "/orders/new", **form))
    assert copy["id"] != order["id"]
    same = ("pickup", "dropoff", "storeName", "tipCents", "zone", "dispatchAt", "promisedAt")
    assert {name: copy[name] for name in same} == {name: order[name] for name in same}
    assert copy["status"] == "SCHEDULED"
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
    for phone in ("+49 151 234567", "0049151234567", "0151 234567"):
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
    assert "9999-12-31 23:30" in (await alice.see("/orders/file.csv")).text
    await site.close()
