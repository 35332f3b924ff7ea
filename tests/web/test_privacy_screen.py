"""The screen on which an admin erases a person: it shows what a phone finds, and erases it once somebody confirms."""

from typing import Any
from urllib.parse import quote

import pytest

from server.store.jobs import person_turn
from server.store.jobs.erasing import run_erasing
from tests.web.conftest import DROPOFF, Site
from tests.web.html_tree import parse
from tests.web.people import HTML, logged_in
from tests.web.test_privacy import PLACE, everything, good

PHONE = "+49 (30) 555-0142"
SAME = "0049 30 5550142"


async def finished(site: Site, **fields: Any) -> str:
    order = await site.delivery(**fields)
    await good(site.shop.post(f"/deliveries/{order['id']}/cancel", json={"reason": "sold out"}))
    return str(order["id"])


async def orders_of_zoe(site: Site) -> list[str]:
    """Five orders with her phone, as customer, as contact of a store and in a text; the last is under way."""
    made = [await finished(site, dropoff=DROPOFF | {"phone": PHONE, "name": "Zoe Quill"}) for _ in range(2)]
    made.append(await finished(site, pickup=PLACE | {"phone": PHONE, "name": "Zed Back"}))
    made.append(await finished(site, notes=f"ring {PHONE}"))
    await finished(site, dropoff=DROPOFF | {"phone": PHONE + "3", "name": "Max Other"})
    dan = await site.driver("Dan", at_work=True)
    await good(site.alice.post(f"/admin/drivers/{dan.id}/messages", json={"text": f"call {PHONE}"}))
    order, _ = await site.assignment(dan, dropoff=DROPOFF | {"phone": PHONE, "name": "Zoe Quill"})
    return [*made, order["id"]]


async def test_an_admin_sees_what_a_phone_finds_and_erases_it(site: Site, capsys: Any) -> None:
    ids = await orders_of_zoe(site)
    node = site.node.app.state.node
    await node.lease.release()
    ada = await logged_in(site, "Ada", "admin")
    assert parse((await ada.see("/board")).text).every("a", href="/privacy")
    before = await everything(site)
    page = await ada.send("/privacy", do="find", phone=SAME)
    assert page.status_code == 200
    shown = parse(page.text)
    texts = [one.text for one in shown.one("main").every("li")]
    assert texts == [
        "3 orders: phone of the customer",
        "1 order: phone of the store",
        "1 order: in a note or message, or before a change",
        "1 message between dispatch and a driver names it",
    ]
    assert "1 of these orders is under way." in page.text
    assert "In 2 orders this is not the phone of the customer. The customers of all these" in page.text
    rows = shown.one("tbody").every("tr")
    assert [row.one("a")["href"].rpartition("/")[2] for row in rows] == ids[::-1]
    assert [row.every("td")[1].text for row in rows] == ["Z… Q…", "", "Z… B…", "Z… Q…", "Z… Q…"]
    assert ["later" in row.text for row in rows] == [True, False, False, False, False]
    assert "Quill" not in page.text
    after = await everything(site)
    assert {table for table in before if before[table] != after[table]} <= {"nodes", "leases", "users", "sessions"}

    unsure = await ada.send("/privacy", do="erase", phone=SAME)
    assert (unsure.status_code, "Nothing is erased. Tick this to go on." in unsure.text) == (422, True)
    assert "3 orders: phone of the customer" in unsure.text

    done = await ada.send("/privacy", do="erase", phone=SAME, sure="1")
    assert (done.status_code, done.headers["location"]) == (303, "/privacy")
    said = parse((await ada.see("/privacy")).text).one(class_="flash").text
    assert said == (
        "Erased: the data of 4 orders. 1 message is erased."
        " 1 order is under way: its data is erased within a minute of its end."
    )
    left = await everything(site)
    assert {row["id"] for row in left["deliveries"].values() if row["fingerprint"] == "erased"} == set(ids[:4])
    assert {row["requested_by"] for row in left["erasures"].values()} == {"Ada"}
    again = await ada.send("/privacy", do="find", phone=PHONE)
    assert [one.text for one in parse(again.text).one("main").every("li")] == ["1 order: phone of the customer"]
    await good(site.ada.post(f"/deliveries/{ids[4]}/cancel", json={"reason": "sold out"}))
    await run_erasing(node.database, node.settings, lambda: True)
    nothing = await ada.send("/privacy", do="find", phone=PHONE)
    assert "Nothing found" in nothing.text
    assert not parse(nothing.text).every("button", class_="danger")
    logged = capsys.readouterr()
    assert "5550142" not in logged.out + logged.err


async def test_the_phone_of_a_driver_who_had_the_goods_is_not_that_of_the_store(site: Site) -> None:
    """After a reassignment by force the pickup is the driver; the store is where it was."""
    store, driver = "+49 30 5550177", "+49 171 5550133"
    dan = await site.driver("Dan Dare", at_work=True, phone=driver)
    places = {"pickup": PLACE | {"phone": store, "name": "Zed Back"}, "dropoff": DROPOFF | {"phone": PHONE}}
    _, job = await site.assignment(dan, **places)
    await good(dan.post(f"/assignments/{job['id']}/pickup"))
    taken = {"reason": "breakdown", "driverId": None, "force": True, "pauseDriver": True}
    await good(site.alice.post(f"/admin/assignments/{job['id']}/reassign", json=taken))
    ada = await logged_in(site, "Ada", "admin")
    shown = {}
    for phone in (driver, store, PHONE):
        page = parse((await ada.send("/privacy", do="find", phone=phone)).text)
        [kind] = [one.text for one in page.one("main").every("li")]
        [row] = page.one("tbody").every("tr")
        warned = [one.text for one in page.every("p", class_="slow")]
        shown[phone] = (kind, row.every("td")[1].text, warned)
    warning = "In 1 order this is not the phone of the customer. Its customer is erased too."
    assert shown == {
        driver: ("1 order: phone of a driver who had the goods", "D… D…", [warning]),
        store: ("1 order: phone of the store", "Z… B…", [warning]),
        PHONE: ("1 order: phone of the customer", "", []),
    }


async def test_the_screen_says_that_another_search_runs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person_turn, "WAIT_SECONDS", 0.2)
    node = site.node.app.state.node
    ada = await logged_in(site, "Ada", "admin")
    async with node.person_turn.alone(node.database.connect_apart):
        for fields in ({"do": "find"}, {"do": "erase"}, {"do": "erase", "sure": "1"}):
            answer = await ada.send("/privacy", phone=PHONE, **fields)
            assert answer.status_code == 409
            page = parse(answer.text)
            said = "Another search for a person is running. Try again when it has ended."
            assert page.one(role="alert").text == said
            assert page.one("input", name="phone")["value"] == PHONE
    assert "Nothing found" in (await ada.send("/privacy", do="find", phone=PHONE)).text


async def test_a_phone_with_too_few_digits_is_not_searched_for(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    for phone in ("", "1234", "Zoe", "1" * 21, "+49 30 5550142 " + "x" * 40):
        refused = await ada.send("/privacy", do="erase", phone=phone, sure="1")
        assert refused.status_code == 422, phone
        assert "Write a phone with 5 to 20 digits." in refused.text


@pytest.mark.parametrize("role", ["viewer", "ops"])
async def test_others_have_no_link_to_it_and_are_refused(site: Site, role: Any) -> None:
    [order, *_] = await orders_of_zoe(site)
    somebody = await logged_in(site, "Somebody", role)
    assert not parse((await somebody.see("/board")).text).every("a", href="/privacy")
    assert (await somebody.see("/privacy")).status_code == 403
    token = await somebody.csrf_token("/board")
    for do in ("find", "erase"):
        fields = {"csrf_token": token, "do": do, "phone": PHONE, "sure": "1"}
        assert (await somebody.client.post("/privacy", data=fields, headers=HTML)).status_code == 403
    assert (await good(site.shop.get(f"/deliveries/{order}")))["dropoff"]["name"] == "Zoe Quill"


@pytest.mark.parametrize("role", ["admin", "ops", "viewer"])
async def test_an_order_a_driver_and_a_search_lead_an_admin_there_with_the_phone(site: Site, role: Any) -> None:
    await orders_of_zoe(site)
    order = await site.delivery(dropoff=DROPOFF | {"phone": PHONE, "name": "Zoe Quill"})
    dan = await site.driver("Dora", phone=SAME)
    browser = await logged_in(site, "Somebody", role)
    pages = {
        f"/board/deliveries/{order['id']}": PHONE,
        f"/board/drivers/{dan.id}": SAME,
        f"/orders?q={quote(SAME)}": SAME,
        f"/board/drivers?q={quote(SAME)}": SAME,
    }
    for path, phone in pages.items():
        page = parse((await browser.see(path)).text)
        if role != "admin":
            assert (page.every("form", id="erase-person"), page.every(class_="erase")) == ([], []), path
            continue
        form, button = page.one("form", id="erase-person"), page.one("button", form="erase-person")
        assert (form["method"], form["action"], button["name"]) == ("post", "/privacy#found", "phone"), path
        fields = {one["name"]: one["value"] for one in form.every("input")} | {"phone": button["value"]}
        assert fields["phone"] == phone
        found = await browser.client.post("/privacy", data=fields, headers=HTML)
        assert found.status_code == 200, path
        shown = parse(found.text)
        assert shown.one("input", id="phone")["value"] == phone
        assert "4 orders: phone of the customer" in shown.one("section", id="found").text
        if path.startswith("/board/d") and "?" not in path:
            now = parse((await browser.see(f"{path}/now")).text)
            assert now.one("button", form="erase-person")["value"] == phone, "the page's form sends it"
    for words in ("Roma", "2026-02-01", "12345678", "030", "030 Quill 5550142"):
        for path in ("/orders", "/board/drivers"):
            page = parse((await browser.see(f"{path}?q={quote(words)}")).text)
            assert page.every(class_="erase") == [], words


async def test_an_erased_order_leads_nowhere(site: Site) -> None:
    order = await finished(site, dropoff=DROPOFF | {"phone": PHONE, "name": "Zoe Quill"})
    ada = await logged_in(site, "Ada", "admin")
    assert parse((await ada.see(f"/board/deliveries/{order}")).text).every(class_="erase")
    assert (await ada.send("/privacy", do="erase", phone=PHONE, sure="1")).status_code == 303
    assert not parse((await ada.see(f"/board/deliveries/{order}")).text).every(class_="erase")
