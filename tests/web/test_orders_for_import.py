"""The file of orders for an import: read back as it is, in the forms of English, German and French programs."""

import csv
import io
from typing import Any

import pytest

from server.dispatch.phones import dialled
from server.web.screens.orders_for_import import COLUMNS
from tests.waiting import until
from tests.web.conftest import DROPOFF, PICKUP, Site
from tests.web.people import Browser, logged_in
from tests.web.test_imports import imported, mistakes, outcome

FILE = "/orders/for-import.csv"
LANGUAGES = {"en-GB,en": ",", "de-DE,de;q=0.9": ";", "fr-FR,fr": ";"}
LATE = "2098-12-24T18:30:00.000Z"
EVERYTHING: dict[str, Any] = {
    "sellerOrderId": "0017", "storeName": "Salt; Pepper, Co", "sellerId": "roma", "zone": "Süd", "prepSeconds": 600,
    "pickup": {
        "lat": 51.50735091, "lon": -0.12775831, "name": "=1+1", "phone": "0049 (0)30 901820",
        "address": '"Old" Mill; 2',
    },
    "dropoff": {
        "lat": 51.5, "lon": 1e-06, "name": "José Ñ", "phone": "+49 30 5550142", "notes": "ring, -1. floor\n2nd door",
        "address": "Rue de l’Été 3",
    },
    "dispatchAt": LATE, "promisedAt": "2098-12-24T19:30:00.125Z", "priceCents": 2490, "driverPayCents": 540,
    "tipCents": 0, "currency": "JPY", "notes": "@home; =x", "requirements": ["cool bag", "alcohol"],
    "proofRequired": ["pin", "photo"], "pin": "0417",
}  # fmt: skip


def rows_of(text: bytes, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline=""), delimiter=delimiter))


async def file_of(browser: Browser, path: str = FILE) -> bytes:
    answer = await browser.see(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == 'attachment; filename="callboard-orders-for-import.csv"'
    return answer.content


async def ops(site: Site, language: str = "") -> Browser:
    alice = await logged_in(site, "Alice", "ops")
    alice.client.headers["Accept-Language"] = language
    return alice


@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_import_reads_the_file_as_it_is(site: Site, language: str) -> None:
    first = await site.delivery(**EVERYTHING)
    plain = await site.delivery(
        sellerOrderId="plain", pickup={"lat": 52.5, "lon": 13.4, "phone": "030/90-18 20"}, prepSeconds=0
    )
    alice = await ops(site, language)
    file = await file_of(alice)
    lat = "51.50735091" if language.startswith("en") else "51,50735091"
    rows = {row["sellerOrderId"]: (row["storeName"], row["pickup.lat"]) for row in rows_of(file, LANGUAGES[language])}
    assert rows == {"0017": ("Salt; Pepper, Co", lat), "plain": (plain["storeName"], rows["plain"][1])}
    for dry in (1, 0):
        again = await imported(site, "deliveries", file, dryRun=dry)
        assert (outcome(again), mistakes(again)) == ((0, 2, 0), {})
        assert {row["id"] for row in again["rows"]} == {first["id"], plain["id"]}

    await site.node.change("UPDATE deliveries SET seller_order_id = 'old ' || seller_order_id")  # as on another server
    made = await imported(site, "deliveries", file)
    assert (outcome(made), mistakes(made)) == ((2, 0, 0), {})
    of_itself = {"id", "sellerOrderId", "createdAt", "updatedAt", "readyAt", "trackingUrl", "dispatchAt", "version"}
    seen = set[str]()
    for row, old in zip(sorted(made["rows"], key=lambda one: -one["line"]), (first, plain), strict=True):
        new = (await site.alice.get(f"/deliveries/{row['id']}")).json()
        before = (await site.alice.get(f"/deliveries/{old['id']}")).json()
        same = {name: value for name, value in before.items() if name not in of_itself and name in EVERYTHING}
        same["pickup"]["phone"] = dialled(same["pickup"]["phone"])
        assert {name: new[name] for name in same} == same
        seen |= same.keys()
        assert f"old {new['sellerOrderId']}" == before["sellerOrderId"]
    assert seen >= EVERYTHING.keys() - of_itself
    assert (await site.alice.get(f"/deliveries/{made['rows'][1]['id']}")).json()["dispatchAt"] == LATE


async def test_an_order_that_was_changed_is_as_it_is_now_and_differs(site: Site) -> None:
    order = await site.delivery(dropoff=DROPOFF | {"name": "Zoe"}, notes="old", priceCents=100)
    moved = DROPOFF | {"name": "Zoe Quill", "lat": 52.531}
    changes = {"version": order["version"], "notes": None, "dropoff": moved, "promisedAt": LATE}
    assert (await site.shop.patch(f"/deliveries/{order['id']}", json=changes)).status_code == 200
    alice = await ops(site)
    file = await file_of(alice)
    [row] = rows_of(file)
    assert (row["notes"], row["dropoff.name"], row["dropoff.lat"]) == ("", "Zoe Quill", "52.531")
    assert row["promisedAt"] == LATE
    again = await imported(site, "deliveries", file)
    assert mistakes(again) == {2: dict.fromkeys(("dropoff", "notes", "promisedAt"), "differs from what exists already")}
    assert again["rows"][0]["errors"][0]["code"] == "differs"


async def test_a_promise_a_pin_and_a_time_that_people_changed_are_in_the_file(site: Site) -> None:
    order = await site.delivery(promisedAt=LATE, proofRequired=["pin"])
    later = "2098-12-24T12:00:00.000Z"
    changes = {"version": order["version"], "promisedAt": None, "pin": "2580", "dispatchAt": later}
    answer = await site.shop.patch(f"/deliveries/{order['id']}", json=changes)
    assert (answer.status_code, answer.json()["status"]) == (200, "SCHEDULED")
    [row] = rows_of(await file_of(await ops(site)))
    assert (row["promisedAt"], row["pin"], row["dispatchAt"]) == ("", "2580", later)


async def test_what_callboard_made_up_is_not_in_the_file(site: Site) -> None:
    """Its own PIN and promise, and where a driver has the goods: the file has what the seller posted."""
    dan = await site.driver("Dan", at_work=True)
    delivery, job = await site.assignment(dan, proofRequired=["pin"])
    assert (await dan.post(f"/assignments/{job['id']}/pickup")).status_code == 200
    taken = {"reason": "breakdown", "driverId": None, "force": True, "pauseDriver": True}
    assert (await site.alice.post(f"/admin/assignments/{job['id']}/reassign", json=taken)).status_code == 200

    async def waits() -> Any:
        now = (await site.alice.get(f"/deliveries/{delivery['id']}")).json()
        return now if now["status"] == "READY" else None

    now = await until(waits)
    assert (now["pin"] is not None, now["pickup"] != delivery["pickup"]) == (True, True)
    file = await file_of(await ops(site))
    [row] = rows_of(file)
    assert (row["pin"], row["promisedAt"], row["dispatchAt"], row["proofRequired"]) == ("", "", "", "pin")
    assert (row["pickup.lat"], row["pickup.name"]) == (str(PICKUP["lat"]), PICKUP.get("name", ""))
    assert outcome(await imported(site, "deliveries", file)) == (0, 1, 0)


async def test_the_file_has_the_results_of_the_search_without_test_orders_and_erased_ones(site: Site) -> None:
    for number, phone in (("a", "+49 30 5550142"), ("b", "+49 30 5550143"), ("c", "+49 30 5550144")):
        order = await site.delivery(
            sellerOrderId=number, storeName=f"Store {number}", dropoff=DROPOFF | {"phone": phone}
        )
        await site.shop.post(f"/deliveries/{order['id']}/cancel", json={"reason": "sold out"})
    erased = await site.ada.post("/admin/privacy/erase", json={"phone": "+49 30 5550142"})
    assert erased.json()["deliveries"] == 1
    await site.node.change(
        "UPDATE deliveries SET details = coalesce(details, '{}') || '{\"test\": true}' WHERE seller_order_id = 'b'"
    )
    alice = await ops(site)
    assert [row["sellerOrderId"] for row in rows_of(await file_of(alice))] == ["c"]
    assert rows_of(await file_of(alice, f"{FILE}?store=Store+a")) == []
    [row] = rows_of(await file_of(alice, f"{FILE}?q=Store+c&status=CANCELLED"))
    assert row["storeName"] == "Store c"
    page = (await alice.see("/orders?q=Store+c")).text
    assert f'href="{FILE}?q=Store+c"' in page
    vic = await logged_in(site, "Vic", "viewer")
    assert FILE not in (await vic.see("/orders")).text
    assert (await vic.see(FILE)).status_code == 403


@pytest.mark.parametrize("query", ["from=yesterday", "driver=Dan", "q=ab"])
async def test_a_search_that_makes_no_sense_gives_no_file(site: Site, query: str) -> None:
    await site.delivery()
    answer = await (await ops(site)).see(f"{FILE}?{query}")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (422, "text/html")


async def test_the_file_has_every_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.web.screens.orders_file.FILE_PAGE", 2)
    for number in range(5):
        await site.delivery(sellerOrderId=str(number))
    file = await file_of(await ops(site))
    assert [row["sellerOrderId"] for row in rows_of(file)] == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize("limit", ["FILE_ROWS", "LIMIT_BYTES"])
async def test_more_than_one_import_takes_is_no_file(site: Site, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr("server.web.screens.orders_file.FILE_PAGE", 2)
    monkeypatch.setattr(f"server.web.screens.orders_for_import.{limit}", 4)
    alice = await ops(site)
    for number in range(5):
        await site.delivery(sellerOrderId=str(number), storeName=f"Store {number}")
        answer = await alice.see(FILE)
        assert answer.status_code == (200 if limit == "FILE_ROWS" and number < 4 else 422)
    assert "more orders than one import takes" in answer.text


async def test_test_orders_and_erased_ones_keep_no_order_from_the_file(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are: the file has all others, or says that they are too many."""
    monkeypatch.setattr("server.web.screens.orders_file.FILE_PAGE", 2)
    monkeypatch.setattr("server.web.screens.orders_for_import.FILE_ROWS", 4)
    for number in range(8):
        await site.delivery(sellerOrderId=str(number))
    await site.node.change("UPDATE deliveries SET details = '{\"test\": true}' WHERE seller_order_id IN ('4', '6')")
    await site.node.change("UPDATE deliveries SET fingerprint = 'erased' WHERE seller_order_id IN ('5', '7')")
    file = await file_of(await ops(site))
    assert [row["sellerOrderId"] for row in rows_of(file)] == ["3", "2", "1", "0"]


def test_these_tests_know_every_field_that_is_posted() -> None:
    assert {column.partition(".")[0] for column in COLUMNS} == EVERYTHING.keys()
