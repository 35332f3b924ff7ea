"""The screens of drivers: the list with its search, adding and changing one, the ways to send an invitation."""

from urllib.parse import quote, unquote

import pytest

from server.web.screens.reach import only_here, warnings_of
from tests.conftest import StartNode
from tests.web.conftest import Site
from tests.web.html_tree import parse
from tests.web.people import Browser, logged_in

NEW = {"name": "Mari Tamm", "zone": "default", "capacity": "1"}


async def names(browser: Browser, path: str) -> list[str]:
    """The drivers of the list."""
    answer = await browser.see(path)
    assert answer.status_code == 200, answer.text
    page = parse(answer.text)
    return [row.every("a")[0].text for row in page.every("tr") if row.every("th", scope="row")]


async def fields_of(browser: Browser, path: str) -> dict[str, str]:
    page = parse((await browser.see(path)).text)
    return {one["name"]: one.get("value") or "" for one in page.every("input") if one.get("name")}


async def test_a_driver_is_added_found_and_changed(site: Site) -> None:
    alice = await logged_in(site, "Alice", "ops")
    entered = NEW | {
        "phone": "+372 5123 4567", "vehicle": "bike", "tags": "cool bag, alcohol", "capacity": "2", "zone": "north",
        "externalRef": "M-1", "shiftEndsAt": "2098-12-24T22:00",
    }  # fmt: skip
    done = await alice.send("/board/drivers/new", **entered)
    assert done.status_code == 303, done.text
    driver_id = done.headers["location"].split("/")[3]
    assert done.headers["location"] == f"/board/drivers/{driver_id}/access"
    mari = (await site.alice.get(f"/drivers/{driver_id}")).json()
    wanted = {
        "name": "Mari Tamm", "phone": "+372 5123 4567", "vehicle": "bike", "tags": ["cool bag", "alcohol"],
        "capacity": 2, "zone": "north", "externalRef": "M-1", "shiftEndsAt": "2098-12-24T22:00:00.000Z",
    }  # fmt: skip
    assert {name: mari[name] for name in wanted} == wanted
    await site.driver("Zoe")
    for words in ("tamm", "51234567", "m-1", "BIKE", "cool", ""):
        found = await names(alice, f"/board/drivers?q={words}")
        assert found == (["Mari Tamm"] if words else ["Mari Tamm", "Zoe"]), words
    assert await names(alice, "/board/drivers?q=%25") == []
    assert await names(alice, "/board/drivers?q=van+5") == [], "no phone, though one has a 5"
    await site.driver("Jörg Peña")
    for words in ("jorg", "JOERG", "jörg", "pena", "PEÑA"):
        assert await names(alice, f"/board/drivers?q={words}") == ["Jörg Peña"], words
    assert await names(alice, "/board/drivers?zone=North") == ["Mari Tamm"]

    path = f"/board/drivers/{driver_id}/edit"
    form = await fields_of(alice, path)
    assert (await site.shop.patch(f"/drivers/{driver_id}", json={"vehicle": "car"})).status_code == 200
    changed = await alice.send(path, **form | {"phone": "", "tags": "cool bag", "shiftEndsAt": ""})
    assert (changed.status_code, changed.headers["location"]) == (303, f"/board/drivers/{driver_id}")
    mari = (await site.alice.get(f"/drivers/{driver_id}")).json()
    assert (mari["phone"], mari["tags"], mari["shiftEndsAt"]) == (None, ["cool bag"], None)
    assert (mari["vehicle"], mari["capacity"]) == ("car", 2), "what the form did not change stays"
    vic = await logged_in(site, "Vic", "viewer")
    page = (await vic.see("/board/drivers")).text
    assert "Mari Tamm" in page
    assert "/new" not in page
    assert "/edit" not in page


async def test_a_driver_is_found_by_a_phone_in_any_spelling(site: Site) -> None:
    alice = await logged_in(site, "Alice", "ops")
    for name, phone in (("Ina", "0151 234500"), ("Jan", "+49 (0)170 1112223"), ("Kim", "0160 234500")):
        assert (await alice.send("/board/drivers/new", **NEW | {"name": name, "phone": phone})).status_code == 303
    ina = ("0151 234500", "0151/23 45 00", "+49 151 2345 00", "49151234500", "0049 151 234500", "+49 (0)151 234500")
    jan = ("0170 1112223", "+491701112223", "491701112223", "0049 (0)170 1112223", "4901701112223", "111222")
    for owner, phones in (("Ina", ina), ("Jan", jan)):
        for words in phones:
            assert await names(alice, f"/board/drivers?q={quote(words)}") == [owner], words
    for words in ("99991151234500", "49151234501", "49"):
        assert "Ina" not in await names(alice, f"/board/drivers?q={quote(words)}"), words
    assert await names(alice, "/board/drivers?q=234500") == ["Ina", "Kim"]


async def test_a_second_driver_of_one_name_is_added_only_on_purpose(site: Site) -> None:
    alice = await logged_in(site, "Alice", "ops")
    assert (await alice.send("/board/drivers/new", **NEW)).status_code == 303
    asked = await alice.send("/board/drivers/new", **NEW | {"name": "mari TAMM", "phone": "1"})
    assert asked.status_code == 409
    page = parse(asked.text)
    assert "There is already a driver with this name: Mari Tamm" in page.one("p", role="alert").text
    assert page.one("input", name="phone")["value"] == "1"
    assert len((await site.alice.get("/drivers")).json()["items"]) == 1
    assert (await alice.send("/board/drivers/new", **NEW, again="1")).status_code == 303
    assert await names(alice, "/board/drivers") == ["Mari Tamm", "Mari Tamm"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": " "}, "Name: must not be empty"),
        ({"capacity": "two"}, "Orders at once: Write a whole number."),
        ({"capacity": "500"}, "Orders at once: must be at most 100"),
        ({"capacity": "0"}, "Orders at once: must be at least 1"),
        ({"vehicle": "x" * 41}, "Vehicle: must have at most 40 characters"),
        ({"tags": "x" * 41}, "Tags: must have at most 40 characters"),
        ({"tags": ",".join(map(str, range(21)))}, "Tags: must have at most 20 entries"),
        ({"shiftEndsAt": "tonight"}, "Shift ends: Write the time like"),
        ({"externalRef": "taken"}, "Another driver has this reference."),
    ],
)
async def test_a_mistake_is_said_in_the_words_of_the_form(site: Site, wrong: dict[str, str], words: str) -> None:
    await site.driver("Dan", externalRef="taken")
    alice = await logged_in(site, "Alice", "ops")
    answer = await alice.send("/board/drivers/new", **NEW | {"phone": "+49 1"} | wrong)
    assert answer.status_code in (409, 422), answer.text
    page = parse(answer.text)
    assert words.replace(":", " :") in page.one(role="alert").text or words in page.one(role="alert").text
    assert page.one("input", name="phone")["value"] == "+49 1"
    marked = [one["name"] for one in page.every("input", aria_invalid="true")]
    assert marked == ([] if "externalRef" in wrong else list(wrong))
    assert len((await site.alice.get("/drivers")).json()["items"]) == 1


async def test_a_driver_is_not_overwritten_unseen_and_no_shift_ends_in_the_past_unasked(site: Site) -> None:
    dan = await site.driver("Dan", vehicle="bike")
    alice = await logged_in(site, "Alice", "ops")
    path = f"/board/drivers/{dan.id}/edit"
    form = await fields_of(alice, path)
    assert (await site.shop.patch(f"/drivers/{dan.id}", json={"vehicle": "car", "phone": "1"})).status_code == 200
    refused = await alice.send(path, **form | {"vehicle": "van"})
    page = parse(refused.text)
    assert (refused.status_code, "Vehicle : car" in page.one(role="alert").text) == (409, True)
    shown = {one["name"]: one.get("value") or "" for one in page.every("input") if one.get("name")}
    assert (shown["vehicle"], shown["phone"]) == ("van", "1")
    assert (await alice.send(path, **shown)).status_code == 303
    assert (await site.alice.get(f"/drivers/{dan.id}")).json()["vehicle"] == "van"

    ended = await fields_of(alice, path) | {"shiftEndsAt": "2020-02-01T22:00"}
    asked = await alice.send(path, **ended)
    page = parse(asked.text)
    assert (asked.status_code, "in the past" in page.one(role="alert").text) == (409, True)
    assert (await alice.send(path, **ended, past=page.one("button", name="past")["value"])).status_code == 303


async def test_who_was_not_seen_for_long_is_named(site: Site) -> None:
    dan, dora = await site.driver("Dan", at_work=True), await site.driver("Dora", at_work=True)
    await site.driver("Never")
    pool = site.node.app.state.node.database.pool
    await pool.execute(
        "UPDATE driver_positions SET at = at - interval '8 days', last_call_at = last_call_at - interval '8 days'"
        " WHERE driver_id = $1",
        dan.id,
    )
    ada = await logged_in(site, "Ada", "admin")
    assert await names(ada, "/board/drivers?show=away") == ["Dan", "Never"]
    page = parse((await ada.see("/board/drivers")).text)
    seen = {row.every("a")[0].text: row.every("td")[4].text for row in page.every("tr") if row.every("th", scope="row")}
    assert "long ago" in seen["Dan"]
    assert "long ago" not in seen["Dora"]
    assert seen["Never"] == "never"
    assert (await site.ada.delete(f"/drivers/{dora.id}")).status_code == 204
    assert await names(ada, "/board/drivers?show=deactivated") == ["Dora"]
    assert await names(ada, "/board/drivers") == ["Dan", "Never"]


async def test_the_list_has_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.web.screens.driver_list.PAGE", 2)
    for name in ("c", "A", "b", "B", "d"):
        await site.driver(name)
    alice = await logged_in(site, "Alice", "ops")
    seen: list[str] = []
    path: str | None = "/board/drivers"
    while path:
        seen += await names(alice, path)
        following = [a["href"] for a in parse((await alice.see(path)).text).every("a") if a.text == "Next"]
        path = following[0] if following else None
    assert [name.lower() for name in seen] == ["a", "b", "b", "c", "d"]


async def test_an_invitation_is_sent_by_text_message_or_mail(site: Site, node: StartNode) -> None:
    mari = await site.driver("Mari", phone="+372 (5) 123")
    alice = await logged_in(site, "Alice", "ops")
    page = parse((await alice.send(f"/board/drivers/{mari.id}/access", do="invite")).text)
    url = page.one("input", id="driver-link")["value"]
    [sms] = [a["href"] for a in page.every("a") if (a.get("href") or "").startswith("sms:")]
    assert sms.startswith("sms:+3725123?&body=")
    assert url in unquote(sms)
    [mail] = [a["href"] for a in page.every("a") if (a.get("href") or "").startswith("mailto:")]
    assert url in unquote(mail)
    assert "A phone cannot reach this address" in page.one("div", class_="driver-link").text
    public = Site(await node(public_url="https://board.example"))
    try:
        bob = await logged_in(public, "Bob", "ops")
        page = parse((await bob.send(f"/board/drivers/{mari.id}/access", do="invite")).text)
        assert page.one("input", id="driver-link")["value"].startswith("https://board.example/driver#code=")
        assert "cannot reach" not in page.one("div", class_="driver-link").text
    finally:
        await public.close()


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8000", True), ("http://localhost", True), ("http://[::1]:1", True), ("http://0.0.0.0", True),
        ("http://board.localhost", True), ("http://192.168.1.5:8000", False), ("https://board.example", False),
    ],
)  # fmt: skip
def test_an_address_that_only_this_machine_reaches_is_known(url: str, here: bool) -> None:
    assert only_here(url) is here
    assert bool(warnings_of(url)) is (not url.startswith("https"))
