"""A person's own account: password, sessions, and the link of an admin to set a new password."""

import re

import httpx2

from tests.conftest import StartNode
from tests.waiting import until
from tests.web.conftest import Check, Site
from tests.web.html_tree import Element, parse
from tests.web.people import HTML, PASSWORD, Browser, add, logged_in

NEW = "a new and better one"


async def account_of(browser: Browser) -> Element:
    return parse((await browser.see("/account")).text)


async def send(browser: Browser, path: str, **fields: str) -> httpx2.Response:
    token = await browser.csrf_token("/account")
    return await browser.client.post(path, data={"csrf_token": token, **fields}, headers=HTML)


async def is_in(browser: Browser) -> bool:
    return (await browser.see("/account")).status_code == 200


async def test_a_person_changes_their_password_and_stays_logged_in_only_here(node: StartNode) -> None:
    here, there = Site(await node()), Site(await node())
    try:
        vic = await logged_in(here, "Vic", "viewer")
        other = Browser(there.anonymous())
        assert (await other.log_in("Vic")).status_code == 303
        for fields, problem in (
            ({"now": "wrong one", "password": NEW}, "The current password is wrong."),
            ({"password": NEW}, "The current password is wrong."),
            ({"now": PASSWORD, "password": "short"}, "A password must have 8 to 200 characters."),
        ):
            refused = await send(vic, "/account/password", **fields)
            assert (refused.status_code, problem in refused.text) == (422, True)
        assert await is_in(other)
        changed = await send(vic, "/account/password", now=PASSWORD, password=NEW)
        assert changed.headers["location"] == "/account"
        assert "Your password is changed." in (await vic.see("/account")).text
        await until(lambda: _is_out(other))
        assert (await Browser(there.anonymous()).log_in("Vic", PASSWORD)).status_code == 401
        assert (await Browser(there.anonymous()).log_in("Vic", NEW)).status_code == 303
    finally:
        await here.close()
        await there.close()


async def _is_out(browser: Browser) -> bool:
    return not await is_in(browser)


async def test_tries_of_the_current_password_are_limited_as_those_of_a_login(site: Site) -> None:
    vic = await logged_in(site, "Vic", "viewer")
    statuses = [(await send(vic, "/account/password", now=f"wrong {n}", password=NEW)).status_code for n in range(12)]
    assert statuses[0] == 422
    assert statuses[-1] == 429


async def test_a_person_sees_and_ends_their_sessions(site: Site, problem: Check) -> None:
    vic, ada = await logged_in(site, "Vic", "viewer"), await logged_in(site, "Ada", "admin")
    phone = Browser(site.anonymous({"User-Agent": "Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile Safari/537.36"}))
    await phone.log_in("Vic")
    rows = (await account_of(vic)).every("tbody")[0].every("tr")
    assert {("Chrome on Android" in row.text, "this one" in row.text) for row in rows} == {(True, False), (False, True)}
    keys = {"Android" in row.text: row.one("input", name="key")["value"] for row in rows}
    assert (await send(ada, "/account/sessions", key=keys[True])).status_code == 404  # another's
    assert (await send(vic, "/account/sessions", key="x")).status_code == 404
    assert (await send(vic, "/account/sessions", key=keys[True])).status_code == 303
    assert (await is_in(phone), await is_in(vic)) == (False, True)
    assert phone.cookie not in (await vic.see("/account")).text
    assert (await send(vic, "/account/sessions", key=keys[False])).status_code == 303
    assert not await is_in(vic)
    problem(await site.vic.get("/account"), 404, "not_found")  # a token is nobody's account
    assert (await ada.client.post("/account/password", data={"now": PASSWORD, "password": NEW})).status_code == 403


async def test_an_admins_link_sets_a_new_password_once(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    vic = await logged_in(site, "Vic", "viewer")
    person = await site.node.change("SELECT id FROM users WHERE name = 'Vic'")

    async def link() -> str:
        made = parse((await ada.send(f"/users/{person}", do="link")).text)
        url = made.one(id="password-link")["value"]
        assert re.fullmatch(rf"{site.node.url}/new-password#[\w-]{{22}}", url)
        return url.partition("#")[2]

    old, code = await link(), await link()
    assert await site.node.change("SELECT count(*) FROM password_links WHERE code_hash = $1", code) == 0
    someone = Browser(site.anonymous())
    assert (await someone.see("/new-password")).status_code == 200

    async def use(code: str, password: str = NEW) -> httpx2.Response:
        return await someone.client.post("/new-password", data={"code": code, "password": password}, headers=HTML)

    async def works(code: str) -> bool:
        """What the page asks when it is opened, from here only."""
        asked = await someone.client.post("/new-password/check", data={"code": code})
        assert (asked.status_code, asked.headers["cache-control"]) == (200, "no-store")
        found: bool = asked.json()["works"]
        return found

    for wrong in (old, "", "x" * 500, "nonsense"):
        refused = await use(wrong)
        assert refused.status_code == 422
        assert "hidden" not in parse(refused.text).one(id="link-over")
        assert "hidden" in parse(refused.text).one(id="link-form")
        assert not await works(wrong)
    assert await works(code)
    assert (await use(code, "short")).status_code == 422
    assert (await use(code)).headers["location"] == "/login"
    assert "Your password is set." in (await someone.see("/login")).text
    assert not await is_in(vic)
    assert (await someone.log_in("Vic", NEW)).status_code == 303
    assert (await use(code)).status_code == 422
    # Any new password, a deactivation and time end a link.
    ended = await link()
    await send(someone, "/account/password", now=NEW, password=PASSWORD)
    assert (await use(ended)).status_code == 422
    late = await link()
    assert await works(late)
    await site.node.change("UPDATE password_links SET expires_at = now() - interval '1 second'")
    assert not await works(late)
    assert (await use(late)).status_code == 422
    gone = await link()
    await ada.send(f"/users/{person}", do="deactivate")
    assert (await use(gone)).status_code == 422
    assert "Activate this person first." in (await ada.send(f"/users/{person}", do="link")).text
    await ada.send(f"/users/{person}", do="activate")
    assert (await use(gone)).status_code == 422
    cross = {"Sec-Fetch-Site": "cross-site"}
    for path in ("/new-password", "/new-password/check"):
        assert (await someone.client.post(path, data={"code": gone}, headers=cross)).status_code == 403


async def test_codes_of_links_cannot_be_tried_out(site: Site) -> None:
    await add(site.node, "Vic", "viewer")
    statuses = {
        (await site.nobody.post("/new-password", data={"code": f"x{n}", "password": NEW})).status_code
        for n in range(60)
    }
    assert statuses == {422, 429}
    assert (await site.nobody.post("/new-password/check", data={"code": "x"})).status_code == 429


async def test_asking_whether_codes_work_is_a_try_unless_they_do(site: Site) -> None:
    vic = await add(site.node, "Vic", "viewer")
    ada = await logged_in(site, "Ada", "admin")
    made = parse((await ada.send(f"/users/{vic}", do="link")).text).one(id="password-link")["value"]

    async def asked(code: str) -> int:
        return (await site.nobody.post("/new-password/check", data={"code": code})).status_code

    assert {await asked(made.partition("#")[2]) for _ in range(60)} == {200}
    assert {await asked(f"x{n}") for n in range(60)} == {200, 429}


async def test_keys_are_made_shown_once_and_revoked_on_their_screen(site: Site) -> None:
    ada, vic = await logged_in(site, "Ada", "admin"), await logged_in(site, "Vic", "viewer")
    for fields, problem in (
        ({"name": " "}, "Write a name"),
        ({"name": "x" * 101}, "Write a name"),
        ({"name": "Roma", "bound": "1", "seller_id": ""}, "Write the seller"),
        ({"name": "Roma", "bound": "1", "seller_id": "x" * 201}, "Write the seller"),
    ):
        refused = await ada.send("/keys", **fields)
        assert (refused.status_code, problem in refused.text) == (422, True)
    assert "No keys yet." in (await vic.see("/keys")).text
    made = parse((await ada.send("/keys", name="Roma", bound="1", seller_id="roma")).text)
    key = made.one(id="new-key")["value"]
    free = parse((await ada.send("/keys", name="Shop", seller_id="ignored")).text).one(id="new-key")["value"]
    shop, roma = (site.anonymous({"Authorization": f"Bearer {one}"}) for one in (free, key))
    assert (await shop.get("/drivers")).status_code == (await roma.get("/drivers")).status_code == 403
    assert (await roma.post("/deliveries", json=site.order(sellerId="roma"))).status_code == 201
    listed = (await vic.see("/keys")).text
    assert key not in listed
    rows = {row.one("th").text: row for row in parse(listed).one("tbody").every("tr")}
    assert "roma" in rows["Roma"].text
    assert "all sellers" in rows["Shop"].text
    assert all("by Ada" in row.text and not row.every("button") for row in rows.values())
    await until(lambda: _used(vic, "Roma"))
    rows = {row.one("th").text: row for row in parse((await ada.see("/keys")).text).one("tbody").every("tr")}
    assert (await ada.send(rows["Roma"].one("form")["action"])).headers["location"] == "/keys"
    assert (await roma.get("/deliveries")).status_code == 401
    assert (await shop.get("/deliveries")).status_code == 200
    rows = {row.one("th").text: row for row in parse((await ada.see("/keys")).text).one("tbody").every("tr")}
    assert not rows["Roma revoked"].every("button")
    nowhere = rows["Shop"].one("form")["action"].replace("/keys/", "/keys/0")
    assert (await ada.send(nowhere)).status_code == 404
    token = await vic.csrf_token("/keys")
    assert (await vic.client.post("/keys", data={"csrf_token": token, "name": "Mine"})).status_code == 403


async def _used(browser: Browser, name: str) -> bool:
    rows = parse((await browser.see("/keys")).text).one("tbody").every("tr")
    return any(row.one("th").text == name and "never" not in row.text for row in rows)
