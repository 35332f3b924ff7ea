"""Finding deliveries: by parts of what they say, by seller, store, driver and time; at once, and later."""

import unicodedata
from typing import Any

import pytest

from server.contract.spellings import spellings
from server.ids import new_id
from server.store.jobs.search_rows import spell_search_rows, write_search_rows
from tests.web.conftest import DROPOFF, PICKUP, Check, Site

ANNA = {
    **DROPOFF,
    "address": "Müllerstraße 12",
    "name": "Anna Blume",
    "phone": "+49 151 234-567",
    "notes": "ring twice",
}


async def found(site: Site, **asked: str) -> list[str]:
    """The ids of the first page, as a viewer asks."""
    answer = await site.vic.get("/deliveries", params=asked)
    assert answer.status_code == 200, answer.text
    return [delivery["id"] for delivery in answer.json()["items"]]


async def row_by_row(site: Site) -> int:
    """Write the rows for searching of all there is."""
    pool = site.node.app.state.node.database.pool
    written = 0
    while count := await write_search_rows(pool, later_seconds=-60, at_once=2):
        written += count
    return written


@pytest.mark.parametrize("later", [False, True], ids=["at once", "with a row for searching"])
async def test_parts_of_what_an_order_says_are_found(site: Site, later: bool) -> None:
    anna = (await site.delivery(sellerOrderId="A-10%_7", dropoff=ANNA, notes="50% off\\"))["id"]
    other = (await site.delivery(storeName="Green Bowl", pickup=PICKUP | {"notes": "back door"}))["id"]
    if later:
        assert await row_by_row(site) == 2
    for q in (
        "a-10%_7",
        "%_7",
        "müllerstr",
        "ANNA B",
        "151 234",
        "49151234567",
        "0151 234567",
        "0151/234-567",
        "0049 (0)151 234 567",
        "+49 151234567",
        "ring TWICE",
        "50% off\\",
        " blume ",
    ):
        assert await found(site, q=q) == [anna], q
    for q in ("green", "back door"):
        assert await found(site, q=q) == [other], q
    assert await found(site, q="torstr. 1") == [other, anna]
    cafe = (await site.delivery(storeName="CAFE\u0301 I", notes="Stra\u00dfe der \u00c9toiles"))["id"]
    if later:
        await row_by_row(site)
    for q in ("caf\u00e9 i", "cafe\u0301", "\u00e9toiles", "E\u0301TOILES", "stra\u00dfe der \u00e9"):
        assert await found(site, q=q) == [cafe], ascii(q)
    for store in ("caf\u00e9 I", "Cafe\u0301  i"):
        assert await found(site, store=store) == [cafe], ascii(store)
    for q in ("A_10", "%%%", "nobody", "blume\nring"):
        assert await found(site, q=q) == [], q


@pytest.mark.parametrize("later", [False, True], ids=["at once", "with a row for searching"])
async def test_words_are_found_with_and_without_the_marks_on_their_letters(site: Site, later: bool) -> None:
    zoe = await site.driver("Zoë Krüger", at_work=True)
    carried, _ = await site.assignment(zoe)
    jose = ANNA | {"name": "José Müller", "notes": "Łódź, Sørensens Straße"}
    marked = (await site.delivery(zone="north", dropoff=jose))["id"]
    plain = (await site.delivery(zone="north", dropoff=DROPOFF | {"name": "Jose Mueller", "notes": "Lodz, Muller"}))[
        "id"
    ]
    if later:
        assert await row_by_row(site) == 3
    for q in ("Jose", "JOSÉ", "jose\u0301 m", "mueller", "MÜLLER", "muller", "łódź", "lodz"):
        assert await found(site, q=q) == [plain, marked], q
    for q in ("soerensen", "sorensen", "Sørensen", "strasse", "straße", "STRASSE", "STRA\u1e9eE"):
        assert await found(site, q=q) == [marked], q
    for q in ("zoe", "Zoë", "krueger", "kruger", "KRÜGER"):
        assert await found(site, q=q) == [carried["id"]], q
    for q in ("josé müllers", "mullér x", "kroger"):
        assert await found(site, q=q) == [], q


async def test_rows_of_the_release_before_are_written_again_with_all_spellings(site: Site) -> None:
    marked = (await site.delivery(dropoff=ANNA | {"name": "José"}))["id"]
    plain = (await site.delivery(dropoff=DROPOFF | {"name": "Bert"}))["id"]
    await row_by_row(site)
    pool = site.node.app.state.node.database.pool
    await site.node.change("UPDATE delivery_search SET spelled = false")
    await site.node.change("UPDATE delivery_search SET words = 'josé' WHERE delivery_id = $1", marked)
    assert await found(site, q="jose") == []
    assert await found(site, q="josé") == [marked], "what is written as it was is found all the time"
    assert [await spell_search_rows(pool, at_once=1) for _ in range(2)] == [1, 0]
    assert await found(site, q="jose") == [marked]
    assert await found(site, q="muellerstr") == [marked]
    assert await pool.fetchval("SELECT spelled FROM delivery_search WHERE delivery_id = $1", plain) is False


async def test_both_sides_know_the_same_spellings(site: Site) -> None:
    pool = site.node.app.state.node.database.pool
    for text in ("Ä ö Ü å Ø ß ẞ æ Œ þ ł Đ ð ı", "E\u0301clair", "Ελλάδα", "Ёлка й", "が 한국", "Đặng Thị", "roma", ""):
        stored = (await pool.fetchval("SELECT search_words($1)", text)).split("\n")
        for spelling in spellings(text):
            small = await pool.fetchval("SELECT lower($1)", spelling)
            if spelling not in (unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)):
                assert small in stored, (text, spelling, stored)


async def test_what_is_changed_is_found_by_what_it_says_now(site: Site) -> None:
    delivery = await site.delivery(dropoff=ANNA)
    await row_by_row(site)
    changed = await site.shop.patch(
        f"/deliveries/{delivery['id']}", json={"version": delivery["version"], "dropoff": DROPOFF | {"name": "Carl"}}
    )
    assert changed.status_code == 200, changed.text
    assert await found(site, q="Carl") == [delivery["id"]]
    assert await found(site, q="Anna Blume") == []
    pool = site.node.app.state.node.database.pool
    assert await pool.fetchval("SELECT count(*) FROM delivery_search WHERE words LIKE '%49151234567%'") == 0


@pytest.mark.parametrize("later", [False, True], ids=["at once", "with a row for searching"])
async def test_orders_are_found_by_seller_store_driver_state_and_time(site: Site, later: bool) -> None:
    dan = await site.driver(at_work=True)
    carried, _ = await site.assignment(dan)
    first = await site.delivery(sellerId="roma", sellerOrderId="7", storeName="Roma  Nord")
    second = await site.delivery(sellerId="roma", sellerOrderId="8", zone="Mitte")
    if later:
        assert await row_by_row(site) == 3
    assert await found(site, sellerId="roma") == [second["id"], first["id"]]
    assert await found(site, sellerId="roma", sellerOrderId=" 7") == [first["id"]]
    assert await found(site, sellerOrderId="8", zone="mitte") == [second["id"]]
    assert await found(site, store="ROMA nord ") == [first["id"]]
    assert await found(site, store="Roma") == []
    assert await found(site, driverId=dan.id.upper()) == [carried["id"]]
    assert await found(site, driverId=new_id()) == []
    assert await found(site, driverId=dan.id, status="READY") == []
    assert await found(site, sellerId="roma", status="READY", zone="default") == [first["id"]]
    assert await found(site, **{"from": first["createdAt"], "to": second["createdAt"]}) == [second["id"], first["id"]]
    assert await found(site, to="2020-01-01T00:00:00Z") == []
    assert await found(site, q="Roma", **{"from": second["createdAt"]}) == [second["id"]]


async def test_a_search_comes_in_pages(site: Site) -> None:
    made = [(await site.delivery(storeName="Roma"))["id"] for _ in range(5)]
    await row_by_row(site)
    made += [(await site.delivery(storeName="Roma"))["id"] for _ in range(2)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await site.vic.get("/deliveries", params={"q": "roma", "limit": 3, "cursor": cursor})).json()
        assert len(page["items"]) <= 3
        seen += [delivery["id"] for delivery in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = page["nextCursor"]
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"q": "ab"}, "q"),
        ({"q": " a  "}, "q"),
        ({"q": "x" * 201}, "q"),
        ({"q": "a\x00bc"}, "q"),
        ({"driverId": "dan"}, "driverId"),
        ({"from": "yesterday"}, "from"),
        ({"to": "0.5"}, "to"),
        ({"to": "2026-02-01T10:00:00"}, "to"),
        ({"to": "0001-01-01T00:00:00+10:00"}, "to"),
        ({"cursor": "x"}, "cursor"),
    ],
)
async def test_what_cannot_be_looked_for_is_refused(
    site: Site, problem: Check, asked: dict[str, Any], field: str
) -> None:
    error = problem(await site.vic.get("/deliveries", params=asked), 422, "invalid")
    assert [found["field"] for found in error["errors"]] == [field]


async def test_drivers_do_not_search(site: Site, problem: Check) -> None:
    dan = await site.driver()
    problem(await dan.client.get("/deliveries?q=roma"), 403, "forbidden")
    problem(await site.nobody.get("/deliveries?q=roma"), 401, "unauthorized")


async def test_times_at_the_ends_of_the_calendar_are_no_mistake(site: Site) -> None:
    delivery = await site.delivery()
    assert await found(site, **{"from": "0001-01-02T00:00:00Z", "to": "9999-12-30T00:00:00Z"}) == [delivery["id"]]
    assert await found(site, **{"from": "9999-12-31T23:00:00Z"}) == []


async def test_rows_go_with_their_deliveries(site: Site) -> None:
    delivery = await site.delivery(dropoff=ANNA)
    await row_by_row(site)
    pool = site.node.app.state.node.database.pool
    await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "x"})
    await site.node.change("DELETE FROM unassigned_orders")
    await site.node.change("DELETE FROM events")
    await site.node.change("DELETE FROM deliveries")
    assert await pool.fetchval("SELECT count(*) FROM delivery_search") == 0


@pytest.mark.parametrize("later", [False, True], ids=["at once", "with a row for searching"])
async def test_orders_are_found_by_the_name_of_their_driver(site: Site, later: bool) -> None:
    dora = await site.driver("Dora Müller", at_work=True)
    first, job = await site.assignment(dora)
    assert (await dora.post(f"/assignments/{job['id']}/complete")).status_code == 200
    second, _ = await site.assignment(dora)
    named = await site.delivery(dropoff=ANNA | {"name": "Frau Müller"}, zone="north")
    if later:
        await row_by_row(site)
    assert await found(site, q="müller") == [named["id"], second["id"], first["id"]]
    assert await found(site, q="DORA MÜ") == [second["id"], first["id"]]
    assert await found(site, q="dora", status="DELIVERED") == [first["id"]]
    assert await found(site, q="dora", zone="north") == []
    page = (await site.vic.get("/deliveries", params={"q": "dora", "limit": 1})).json()
    assert [one["id"] for one in page["items"]] == [second["id"]]
    assert await found(site, q="dora", cursor=page["nextCursor"]) == [first["id"]]


async def test_a_key_of_one_seller_does_not_search_by_drivers(site: Site) -> None:
    made = await site.ada.post("/admin/api-keys", json={"name": "roma", "sellerId": "roma"})
    roma = site.anonymous()
    roma.headers["Authorization"] = f"Bearer {made.json()['key']}"
    dora = await site.driver("Dora Müller", at_work=True)
    delivery, _ = await site.assignment(dora, sellerId="roma")
    assert await found(site, q="dora") == [delivery["id"]]
    assert (await roma.get("/deliveries", params={"q": "dora"})).json()["items"] == []
    assert len((await roma.get("/deliveries", params={"q": "pizza"})).json()["items"]) == 1
