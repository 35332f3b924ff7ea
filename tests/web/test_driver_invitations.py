"""Many drivers invited at once: which ones the page ticks, the sheet, its links as a file, and who gets none."""

import asyncio
import csv
import io
import re
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import asyncpg
import httpx2
import pytest
from structlog.testing import capture_logs

from server.contract.views import instant, parse_instant
from server.ids import new_id
from server.store.query import DatabaseAway
from server.store.sign_in import SIGN_IN
from server.web.access.tokens import hashed
from tests.waiting import until
from tests.web.conftest import Driver, Site
from tests.web.html_tree import Element, parse
from tests.web.people import HTML, Browser, logged_in

INVITE = "/board/drivers/invite"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
Fields = dict[str, Any]


async def opened(browser: Browser, path: str = INVITE) -> Fields:
    """The form of the page, as its ticks are."""
    answer = await browser.see(path)
    assert answer.status_code == 200, answer.text
    form = parse(answer.text).one("form", class_="people")
    hidden: Fields = {one["name"]: one["value"] for one in form.every("input", type="hidden")}
    return hidden | {"driver": [one["value"] for one in form.every("input", name="driver") if "checked" in one]}


async def sent(browser: Browser, fields: Fields, path: str = INVITE) -> httpx2.Response:
    return await browser.client.post(path, data=fields, headers=HTML)


def links(answer: httpx2.Response) -> dict[str, str]:
    """By name the links on the sheet."""
    strips = parse(answer.text).every("li", class_="strip")
    return {strip.one("h2").text: strip.one("input")["value"] for strip in strips}


def left(answer: httpx2.Response) -> list[str]:
    """The lines of those who were not invited."""
    alert: list[Element] = parse(answer.text).every("div", role="alert")
    return [line.text.replace(" :", ":") for one in alert for line in one.every("li")]


async def signs_in(site: Site, link: str) -> int:
    code = link.partition("#code=")[2]
    assert len(code) >= 22
    return (await site.nobody.post("/driver/sign-in", json={"code": code})).status_code


async def invitations(site: Site) -> dict[str, str]:
    """By driver who made the invitation that there is."""
    pool = site.node.app.state.node.database.pool
    return dict(await pool.fetch("SELECT driver_id::text, created_by FROM driver_invitations"))


async def three(site: Site) -> dict[str, Driver]:
    return {name: await site.driver(name, phone=f"+49 30 55501{at}") for at, name in enumerate(("Ana", "Ben", "Cem"))}


async def test_all_who_were_never_invited_get_a_strip_that_signs_them_in(site: Site) -> None:
    drivers = await three(site)
    nina = await site.driver("Nina", externalRef="N-1")
    gone = await site.driver("Gone")
    assert (await site.ada.delete(f"/drivers/{gone.id}")).status_code == 204
    alice = await logged_in(site, "Alice", "ops")
    first = (await site.alice.post(f"/drivers/{drivers['Ana'].id}/invitation")).json()
    assert await signs_in(site, first["url"]) == 200
    assert (await site.alice.post(f"/drivers/{drivers['Ben'].id}/invitation")).status_code == 200
    list_of = parse((await alice.see("/board/drivers")).text)
    assert [one["href"] for one in list_of.every("a") if one.text == "Invite drivers"] == [INVITE]
    ticked = {tick: len((await opened(alice, f"{INVITE}?tick={tick}"))["driver"]) for tick in ("never", "all", "none")}
    assert ticked == {"never": 3, "all": 4, "none": 0}
    form = await opened(alice)
    assert form["driver"] == [drivers["Cem"].id, nina.id]
    assert (await opened(alice, f"{INVITE}?q=n-1"))["driver"] == [nina.id]

    made = await sent(alice, form)
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    found = links(made)
    assert list(found) == ["Cem", "Nina"]
    page = parse(made.text)
    assert len(page.every("svg", class_="qr")) == 2
    assert [one.every("title")[0].text for one in page.every("svg", class_="qr")] == [
        "QR code for Cem", "QR code for Nina",
    ]  # fmt: skip
    cem, nina_strip = page.every("li", class_="strip")
    ways = [[unquote(a["href"]).partition(":")[0] for a in one.every("a")] for one in (cem, nina_strip)]
    assert ways == [["sms", "mailto"], ["mailto"]]
    assert unquote(cem.every("a")[0]["href"]).startswith("sms:+493055501")
    assert all(found[one.one("h2").text] in unquote(one.every("a")[-1]["href"]) for one in (cem, nina_strip))
    assert re.search(r"works once, until \w{3} \d\d \w{3} \d{4}, \d\d:\d\d UTC\.", cem.text)
    assert page.one("p", class_="slow").text == (
        "A phone cannot reach this address: it leads the phone to itself."
        " An admin can set the public address under Set up."
    )
    assert [await signs_in(site, link) for link in found.values()] == [200, 200]
    assert [await signs_in(site, link) for link in found.values()] == [401, 401]
    assert (await opened(alice))["driver"] == []


async def test_the_same_form_twice_makes_the_same_invitations(site: Site) -> None:
    drivers = await three(site)
    alice = await logged_in(site, "Alice", "ops")
    form = await opened(alice)
    first = links(await sent(alice, form))
    again = await sent(alice, form)
    assert (again.status_code, links(again), left(again)) == (201, first, [])
    pool = site.node.app.state.node.database.pool
    events = "SELECT count(*)::int FROM events WHERE type = 'driver.invited'"
    assert await pool.fetchval(events) == 3

    assert await signs_in(site, first["Ana"]) == 200
    third = await sent(alice, form)
    assert links(third) == {name: link for name, link in first.items() if name != "Ana"}
    assert left(third) == ["Ana: signed in after you opened the page"]
    assert await signs_in(site, first["Ana"]) == 401, "a code that was used does not work again"
    assert drivers["Ana"].id not in await invitations(site)


async def test_nobody_whose_access_changed_meanwhile_is_invited(site: Site) -> None:
    drivers = await three(site)
    alice = await logged_in(site, "Alice", "ops")
    form = await opened(alice)
    by_bob = (await site.shop.post(f"/drivers/{drivers['Ana'].id}/invitation")).json()["url"]
    assert (await site.ada.delete(f"/drivers/{drivers['Ben'].id}")).status_code == 204
    made = await sent(alice, form)
    assert made.status_code == 201
    assert list(links(made)) == ["Cem"]
    assert left(made) == ["Ana: was invited by corner-shop after you opened the page", "Ben: is deactivated"]
    assert await signs_in(site, by_bob) == 200

    nobody = await sent(alice, form | {"driver": [drivers["Ben"].id, new_id()]})
    assert (nobody.status_code, links(nobody)) == (409, {})
    assert left(nobody) == ["Ben: is deactivated", "A driver: is no longer here"]
    assert parse(nobody.text).one("h1").text == "Nobody was invited"


async def test_a_revoked_code_stays_so_when_the_driver_is_active_again(site: Site) -> None:
    drivers = await three(site)
    alice = await logged_in(site, "Alice", "ops")
    form = await opened(alice)
    first = links(await sent(alice, form))
    assert (await site.ada.delete(f"/drivers/{drivers['Ana'].id}")).status_code == 204
    assert await signs_in(site, first["Ana"]) == 401
    ada = await logged_in(site, "Ada", "admin")
    path = f"/board/drivers/{drivers['Ana'].id}/active"
    active = {"csrf_token": await ada.csrf_token("/account"), "do": "reactivate"}
    assert (await sent(ada, active, path)).status_code == 303
    again = await sent(alice, form)
    assert list(links(again)) == ["Ben", "Cem"]
    assert left(again) == ["Ana: was deactivated after you opened the page, and is active again"]
    assert await signs_in(site, first["Ana"]) == 401
    assert drivers["Ana"].id not in await invitations(site)
    new = links(await sent(alice, await opened(alice)))
    assert (list(new), await signs_in(site, new["Ana"])) == (["Ana"], 200)


async def test_a_form_with_another_time_gives_no_code_that_was_used(site: Site) -> None:
    drivers = await three(site)
    alice = await logged_in(site, "Alice", "ops")
    form = await opened(alice) | {"driver": [drivers["Ana"].id]}
    first = links(await sent(alice, form))["Ana"]
    assert await signs_in(site, first) == 200
    later = instant(parse_instant(form["read_at"]) + timedelta(milliseconds=1))
    assert left(await sent(alice, form | {"read_at": later})) == ["Ana: signed in after you opened the page"]
    pool = site.node.app.state.node.database.pool
    after_it = instant(await pool.fetchval("SELECT statement_timestamp()"))
    second = links(await sent(alice, form | {"read_at": after_it}))["Ana"]
    assert second != first
    assert [await signs_in(site, link) for link in (first, second)] == [401, 200]
    assert [await signs_in(site, link) for link in (first, second)] == [401, 401]


@pytest.mark.parametrize("away", [timedelta(days=-2), timedelta(hours=1), timedelta(days=365 * 72)])
async def test_a_form_of_long_ago_or_of_the_future_invites_nobody(site: Site, away: timedelta) -> None:
    drivers = await three(site)
    alice = await logged_in(site, "Alice", "ops")
    form = await opened(alice) | {"driver": [drivers["Ben"].id]}
    answer = await sent(alice, form | {"read_at": instant(parse_instant(form["read_at"]) + away)})
    assert answer.status_code == 422, answer.text
    page = parse(answer.text)
    assert "This page is out of date." in page.one("p", role="alert").text
    assert [one["value"] for one in page.every("input", name="driver") if "checked" in one] == [drivers["Ben"].id]
    assert await invitations(site) == {}


async def test_a_form_that_is_sent_again_during_the_sign_in_does_not_bring_the_code_back(site: Site) -> None:
    drivers = await three(site)
    alice = await logged_in(site, "Alice", "ops")
    form = await opened(alice) | {"driver": [drivers["Ana"].id]}
    link = links(await sent(alice, form))["Ana"]
    code = link.partition("#code=")[2]
    there = await asyncpg.connect(site.node.app.state.node.settings.database_url)
    try:
        async with there.transaction():
            assert await there.fetch(SIGN_IN, hashed(code), new_id(), "Phone", new_id(), new_id())
            again = asyncio.create_task(sent(alice, form))

            async def it_is_answered_or_waits() -> bool:
                return again.done() or bool(await there.fetchval(WAITING))

            await until(it_is_answered_or_waits)
    finally:
        await there.close()
    await again
    assert await signs_in(site, link) == 401
    assert await invitations(site) == {}


async def test_a_driver_who_is_ticked_twice_is_invited_once(site: Site) -> None:
    drivers = await three(site)
    alice = await logged_in(site, "Alice", "ops")
    ana = drivers["Ana"].id
    made = await sent(alice, await opened(alice) | {"driver": [ana, ana.upper()]})
    assert (made.status_code, list(links(made)), left(made)) == (201, ["Ana"], [])


async def test_an_open_invitation_is_replaced_as_on_the_page_of_one_driver(site: Site) -> None:
    await three(site)
    alice = await logged_in(site, "Alice", "ops")
    old = links(await sent(alice, await opened(alice)))
    new = links(await sent(alice, await opened(alice, f"{INVITE}?tick=all")))
    assert [await signs_in(site, link) for link in old.values()] == [401] * 3
    assert [await signs_in(site, link) for link in new.values()] == [200] * 3


async def test_only_who_was_shown_the_links_gets_them_as_a_file(site: Site) -> None:
    await three(site)
    await site.driver("=1+1", phone="+49 30 5550199")
    alice = await logged_in(site, "Alice", "ops")
    form = await opened(alice)
    shown = links(await sent(alice, form))
    file = await sent(alice, form, f"{INVITE}/links.csv")
    assert file.status_code == 200, file.text
    assert file.headers["cache-control"] == "no-store"
    assert file.headers["content-disposition"] == 'attachment; filename="callboard-invitations.csv"'
    heading, *rows = csv.reader(io.StringIO(file.content.decode("utf-8-sig")))
    assert heading == ["Name", "Phone", "Link"]
    assert rows[0] == ["'=1+1", "'+49 30 5550199", shown["=1+1"]]
    assert {name: link for name, _, link in rows[1:]} == {name: shown[name] for name in ("Ana", "Ben", "Cem")}
    german = await alice.client.post(f"{INVITE}/links.csv", data=form, headers={**HTML, "Accept-Language": "de-DE"})
    assert german.content.decode("utf-8-sig").startswith("Name;Phone;Link")

    assert await signs_in(site, shown["Ana"]) == 200
    file = await sent(alice, form, f"{INVITE}/links.csv")
    assert [row[0] for row in csv.reader(io.StringIO(file.content.decode("utf-8-sig")))][1:] == ["'=1+1", "Ben", "Cem"]
    other_login = Browser(site.anonymous())
    await other_login.log_in("Alice")
    for browser in (other_login, await logged_in(site, "Bob", "ops")):
        theirs = form | {"csrf_token": await browser.csrf_token("/account")}
        refused = await sent(browser, theirs, f"{INVITE}/links.csv")
        assert (refused.status_code, "None of these links" in refused.text) == (422, True)
        page = await sent(browser, theirs)
        assert (page.status_code, links(page)) == (409, {})
        assert "Ben: was invited by Alice after you opened the page" in left(page)
    assert await signs_in(site, shown["Ben"]) == 200


@pytest.mark.parametrize("reads", [True, False])
async def test_a_database_that_goes_away_in_the_middle(
    site: Site, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    """Who got an invitation has it on the sheet. The same form again adds the others, and changes nothing else."""
    from server.store import sign_in as store
    from server.web.screens import driver_invitations

    await three(site)
    alice = await logged_in(site, "Alice", "ops")
    form = await opened(alice)
    invite, read, calls = store.invite, store.read_access, {"invite": 0, "read": 0}

    async def invite_once(*given: Any) -> Any:
        calls["invite"] += 1
        if calls["invite"] > 1:
            raise DatabaseAway("for the test")
        return await invite(*given)

    async def read_once(*given: Any) -> Any:
        calls["read"] += 1
        if calls["read"] > 1 and not reads:
            raise DatabaseAway("for the test")
        return await read(*given)

    with monkeypatch.context() as patch:
        patch.setattr(store, "invite", invite_once)
        patch.setattr(driver_invitations, "read_access", read_once)
        first = await sent(alice, form)
    assert first.status_code == 201
    assert list(links(first)) == ["Ana"]
    assert left(first) == ["Ben: the database did not answer", "Cem: the database did not answer"]
    assert calls["invite"] == 2, "nobody else is tried: each would wait for the same database"
    again = [one for one in parse(first.text).every("form") if one.every("button")[-1].text == "Try again"]
    fields: Fields = {one["name"]: one["value"] for one in again[0].every("input") if one["name"] != "driver"}
    fields["driver"] = [one["value"] for one in again[0].every("input", name="driver")]
    second = await sent(alice, fields, again[0]["action"])
    assert left(second) == []
    assert links(second) == links(first) | {name: links(second)[name] for name in ("Ben", "Cem")}
    assert [await signs_in(site, link) for link in links(second).values()] == [200] * 3


async def test_a_database_that_is_away_from_the_start_invites_nobody(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three(site)
    alice = await logged_in(site, "Alice", "ops")
    form = await opened(alice)

    async def away(*_: Any) -> Any:
        raise DatabaseAway("for the test")

    monkeypatch.setattr("server.web.screens.driver_invitations.read_access", away)
    for path in (INVITE, f"{INVITE}/links.csv"):
        assert (await sent(alice, form, path)).status_code == 503
    assert (await alice.see(INVITE)).status_code == 503
    assert await invitations(site) == {}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"driver": []}, "Tick at least one driver."),
        ({"driver": "all of them"}, "This form cannot be read."),
        ({"driver": [new_id() for _ in range(101)]}, "Tick at most 100 drivers."),
        ({"once": "1"}, "This form cannot be read."),
        ({"once": None}, "This form cannot be read."),
    ],
)
@pytest.mark.parametrize("path", [INVITE, f"{INVITE}/links.csv"])
async def test_a_form_that_makes_no_sense_invites_nobody(site: Site, path: str, wrong: Fields, words: str) -> None:
    await three(site)
    alice = await logged_in(site, "Alice", "ops")
    fields = {name: value for name, value in (await opened(alice) | wrong).items() if value is not None}
    answer = await sent(alice, fields, path)
    assert (answer.status_code, words in answer.text) == (422, True), answer.text
    assert await invitations(site) == {}


@pytest.mark.parametrize(
    "read_at", ["", "yesterday", "2026-02-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
async def test_a_form_without_a_time_invites_nobody_and_keeps_its_ticks(site: Site, read_at: str) -> None:
    drivers = await three(site)
    alice = await logged_in(site, "Alice", "ops")
    answer = await sent(alice, await opened(alice) | {"read_at": read_at, "driver": [drivers["Ben"].id]})
    assert answer.status_code == 422
    page = parse(answer.text)
    assert "This form cannot be read." in page.one("p", role="alert").text
    assert [one["value"] for one in page.every("input", name="driver") if "checked" in one] == [drivers["Ben"].id]
    assert await invitations(site) == {}


async def test_a_viewer_and_a_program_of_a_shop_invite_nobody(site: Site) -> None:
    await three(site)
    alice, vic = await logged_in(site, "Alice", "ops"), await logged_in(site, "Vic", "viewer")
    form = await opened(alice) | {"csrf_token": await vic.csrf_token("/account")}
    assert "Invite drivers" not in (await vic.see("/board/drivers")).text
    assert (await vic.see(INVITE)).status_code == 403
    for path in (INVITE, f"{INVITE}/links.csv"):
        assert (await sent(vic, form, path)).status_code == 403
        assert (await sent(alice, form | {"csrf_token": "another"}, path)).status_code == 403
    assert await invitations(site) == {}


async def test_a_page_has_a_bound_and_the_next_one_has_the_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.web.screens.driver_invitations.INVITE_LIMIT", 2)
    await three(site)
    alice = await logged_in(site, "Alice", "ops")
    page = parse((await alice.see(f"{INVITE}?tick=all")).text)
    (following,) = [one["href"] for one in page.every("a") if one.text == "Next"]
    first, second = await opened(alice, f"{INVITE}?tick=all"), await opened(alice, following)
    assert (len(first["driver"]), len(second["driver"])) == (2, 1)
    refused = await sent(alice, first | {"driver": first["driver"] + second["driver"]})
    assert refused.status_code == 422
    names = [list(links(await sent(alice, form))) for form in (first, second)]
    assert names == [["Ana", "Ben"], ["Cem"]]


async def test_the_sheet_leads_to_the_next_drivers_and_the_page_shows_who_is_left(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.web.screens.driver_invitations.INVITE_LIMIT", 2)
    await three(site)
    await site.driver("Zoe")
    alice = await logged_in(site, "Alice", "ops")
    path = f"{INVITE}?q=55501"
    page = parse((await alice.see(path)).text)
    assert "leads to the next drivers" in page.text
    action = page.one("form", class_="people")["action"]
    first = await sent(alice, await opened(alice, path), action)
    assert list(links(first)) == ["Ana", "Ben"]
    (following,) = [one["href"] for one in parse(first.text).every("a") if one.text == "Next drivers"]
    for left_of in (following, path):
        shown = parse((await alice.see(left_of)).text).every("label", class_="choice")
        assert [one.text for one in shown] == ["Cem"]
    action = parse((await alice.see(following)).text).one("form", class_="people")["action"]
    wrong = parse((await sent(alice, await opened(alice, following) | {"driver": []}, action)).text)
    assert [one.text for one in wrong.every("label", class_="choice")] == ["Cem"]
    second = await sent(alice, await opened(alice, following), action)
    assert list(links(second)) == ["Cem"]
    assert "Next drivers" not in second.text

    over = parse((await alice.see(path)).text)
    assert "No drivers found who were not invited yet." in over.text
    (of_all,) = [one["href"] for one in over.every("a") if one.text == "Show all drivers"]
    assert of_all == f"{path}&tick=none"
    assert await signs_in(site, links(first)["Ana"]) == 200
    never = parse((await alice.see(f"{path}&tick=never")).text).every("label", class_="choice")
    assert [one.text for one in never] == ["Ben", "Cem"]


async def test_no_link_is_in_a_log_or_on_another_page(site: Site) -> None:
    drivers = await three(site)
    alice = await logged_in(site, "Alice", "ops")
    form = await opened(alice)
    with capture_logs() as lines:
        made = links(await sent(alice, form))
        await sent(alice, form, f"{INVITE}/links.csv")
    assert {line["driverId"] for line in lines if line["event"] == "driver_invited"} == {
        one.id for one in drivers.values()
    }
    codes = [link.partition("#code=")[2] for link in made.values()]
    assert not [line for line in lines for code in codes if code in str(line)]
    page = (await alice.see(INVITE)).text
    assert not [code for code in codes if code in page]
