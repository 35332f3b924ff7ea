"""The checklist of a new installation: what it says is done, and the test order."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from server.store.reads.insight_estimates import read_errors
from server.store.reads.insights import read_groups
from server.store.reads.zone_numbers import read_zone_numbers
from tests.conftest import StartNode
from tests.waiting import until
from tests.web.conftest import Site
from tests.web.html_tree import parse
from tests.web.people import Browser, logged_in


async def done(browser: Browser, path: str = "/start") -> dict[str, bool]:
    """Whether each step is done."""
    page = parse((await browser.see(path)).text)
    return {
        one.one("p", class_="step-title").one("b").text: "data-done" in one
        for one in page.one("ol", class_="steps").every("li")
    }


async def test_the_checklist_checks_itself(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    before = await done(ada)
    assert not any(before.values())
    assert await done(ada, "/board") == before
    page = parse((await ada.see("/start")).text)
    steps = page.one("ol", class_="steps").text
    assert "A phone cannot reach this address: it leads the phone to itself. Save another one here." in steps
    assert "under Set up" not in steps
    await logged_in(site, "Olga", "ops")
    dan = await site.driver("Dan")
    await site.ada.put("/admin/zones/north", json={"name": "North"})
    await site.ada.post("/admin/api-keys", json={"name": "roma"})
    code = (await site.alice.post(f"/drivers/{dan.id}/invitation")).json()["code"]
    assert (await site.nobody.post("/driver/sign-in", json={"code": code})).status_code == 200
    now = await done(ada)
    assert [title for title, is_done in now.items() if is_done] == [
        "People", "Zones", "Drivers", "A driver signs in", "Connect your shop",
    ]  # fmt: skip
    await site.delivery()
    assert (await done(ada))["Test order"]
    board = (await ada.see("/board")).text
    assert "h-setup" not in board
    left = parse(board).one("p", class_="setup-left").text
    assert "Set up 6 steps to do: Company · Phone of dispatch · Time zone · Public address · Map" in left
    saved = await ada.send("/start/settings", form="map", source="none")
    assert saved.headers["location"] == "/start", saved.text
    assert (await done(ada))["Map"], "somebody has decided so"
    assert "· Map" not in parse((await ada.see("/board")).text).one("p", class_="setup-left").text
    olga = await logged_in(site, "Olga 2", "ops")
    assert "setup-left" not in (await olga.see("/board")).text


async def test_settings_of_an_installation_are_known(node: StartNode) -> None:
    site = Site(
        await node(
            public_url="https://board.example", time_zone="Europe/Berlin", map_tiles="https://t.example/{z}/{x}/{y}.png"
        )
    )
    try:
        olga = await logged_in(site, "Olga", "ops")
        now = await done(olga)
        assert [title for title, is_done in now.items() if is_done] == ["Time zone", "Public address", "Map"]
        seen = (await olga.see("/start")).text
        assert 'href="/users"' not in seen
        assert "CALLBOARD_TIME_ZONE of the server’s settings is in force." in seen
        ada = await logged_in(site, "Ada", "admin")
        forms = [one["value"] for one in parse((await ada.see("/start")).text).every("input", name="form")]
        assert forms == ["company", "dispatch-phone", "rules"]
        refused = await ada.send("/start/settings", form="time-zone", time_zone="Asia/Tokyo")
        assert (refused.status_code, "Asia/Tokyo" in (await ada.see("/start")).text) == (422, False)
    finally:
        await site.close()


async def test_the_checklist_sets_settings_on_every_node_at_once(node: StartNode) -> None:
    """The time zone on screens and rows of open boards, the address in links, the map and its policy, the name."""
    here, there = Site(await node()), Site(await node())
    try:
        ada, olga = await logged_in(here, "Ada", "admin"), await logged_in(there, "Olga", "ops")
        dan = await here.driver("Dan")
        board, other = there.node.app.state.node.feed, there.node.app.state.node
        before = await board.page()
        for form, fields in {
            "company": {"company_name": "Roma & Söhne"},
            "dispatch-phone": {"dispatch_phone": " +49 (0)30 90-18 20 "},
            "time-zone": {"time_zone": "Asia/Tokyo"},
            "address": {"public_url": "https://board.roma.example"},
            "map": {"source": "osm"},
        }.items():
            sent = await ada.send("/start/settings", form=form, **fields)
            assert sent.headers["location"] == "/start", sent.text
        assert await done(ada) == await done(ada) | {
            "Company": True, "Phone of dispatch": True, "Time zone": True, "Public address": True, "Map": True,
        }  # fmt: skip
        page = (await ada.see("/start")).text
        assert (page.count("Ada set this here."), "Roma &amp; Söhne" in page) == (5, True)
        await until(lambda: other.settings.map_tiles)
        seen = await olga.see("/board")
        assert "Roma &amp; Söhne" in seen.text
        assert "https://tile.openstreetmap.org" in seen.headers["content-security-policy"]
        assert parse((await there.nobody.get("/driver")).text).one(id="call-dispatch")["href"] == "tel:+4930901820"
        assert "Times are in Asia/Tokyo." in (await olga.see("/account")).text
        link = (await there.alice.post(f"/drivers/{dan.id}/invitation")).json()["url"]
        assert link.startswith("https://board.roma.example/driver#")
        assert (await there.delivery())["trackingUrl"].startswith("https://board.roma.example/track/")
        await until(lambda: board.broadcast.position.split("-")[0] != before.position.split("-")[0])
        assert (await dan.get("/numbers")).json()["timeZone"] == "Asia/Tokyo"
    finally:
        await here.close()
        await there.close()


ADDRESSES = [
    ("https://x.example/start", "leads to /start on that site", "https://x.example"),
    ("https://x.example/board/?a=1#b", "ends before ? and #", "https://x.example"),
    ("https://x.example?a=1", "ends before ? and #", "https://x.example"),
    ("https://ada:secret@x.example", "A name and a password are no part", "https://x.example"),
    ("x.example", "begins with https://", "https://x.example"),
    ("x.example:8000/board", "begins with https://", "https://x.example:8000"),
    ("http:/x.example", "begins with https://", None),
    ("ftp://x.example", "begin with https://", "https://x.example"),
    ("https://x y.example", "not the address of a site", None),
    ("https://x..example", "not the address of a site", None),
    ("https://x.example:99999", "not the address of a site", None),
    ("https://x.example:0", "not the address of a site", None),
    ("https://x_y!.example", "not the address of a site", None),
    ("https://[::zz]", "not the address of a site", None),
]
"""What people write or copy as the public address, what is said, and the address that is proposed."""


async def test_a_public_address_that_breaks_all_links_is_refused_with_the_one_that_is_meant(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    for typed, why, meant in ADDRESSES:
        refused = await ada.send("/start/settings", form="address", public_url=typed)
        assert refused.status_code == 422, typed
        page = parse(refused.text)
        field = page.one(id="public_url")
        assert (field["value"], field["aria-invalid"], "autofocus" in field) == (typed, "true", True)
        said = page.one(id="address-problem").text
        assert why in said, (typed, said)
        assert f"Write {meant}." in said if meant else "Write an address such as https://board" in said, (typed, said)
    for typed, kept in {
        " HTTPS://Board.Example:8443/ ": "https://board.example:8443",
        "https://b\u00fccher.example": "https://xn--bcher-kva.example",
        "http://[2001:DB8::1]:8000": "http://[2001:db8::1]:8000",
        "": "",
    }.items():
        assert (await ada.send("/start/settings", form="address", public_url=typed)).status_code == 303, typed
        assert site.node.app.state.node.settings.public_url == kept


async def test_the_path_that_is_in_force_stays(node: StartNode) -> None:
    site = Site(await node())
    try:
        ada = await logged_in(site, "Ada", "admin")
        await site.node.app.state.node.change_settings({"public_url": "https://x.example/dispatch"}, "ada")
        saved = await ada.send("/start/settings", form="address", public_url="https://y.example/dispatch/")
        assert (saved.status_code, saved.headers["location"]) == (303, "/dispatch/start")
        refused = await ada.send("/start/settings", form="address", public_url="https://y.example/other")
        assert "Write https://y.example/dispatch." in refused.text
    finally:
        await site.close()


async def test_what_happens_to_an_unanswered_offer_and_the_currency_are_decided_here(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    title = "Unanswered offers and currency"
    assert (await done(ada))[title] is False
    steps = parse((await ada.see("/start")).text).one("ol", class_="steps")
    assert "does not answer an offer within 30 s, the order is assigned to them by itself" in steps.text
    assert "in USD" in steps.text
    assert [link.text for link in steps.every("a", href="/policy")] == ["All rules: Policy"]
    for wrong in ({"expiryPolicy": "shrug", "currency": "EUR"}, {"expiryPolicy": "next_driver", "currency": "XXX"}):
        assert (await ada.send("/start/rules", **wrong)).status_code == 422
    chosen = {"expiryPolicy": "next_driver", "currency": "EUR"}
    assert (await ada.send("/start/rules", **chosen)).headers["location"] == "/start"
    assert (await done(ada))[title] is True
    policy = (await site.ada.get("/admin/policy")).json()
    assert (policy["version"], policy["expiryPolicy"], policy["currency"]) == (2, "next_driver", "EUR")
    steps = parse((await ada.see("/start")).text).one("ol", class_="steps")
    assert "within 30 s, the next driver gets an offer. Pay and prices are in EUR." in steps.text
    assert "Chosen under Set up" in (await ada.see("/policy")).text
    assert (await ada.send("/start/rules", **chosen)).status_code == 303, "also if nothing changes"
    olga = await logged_in(site, "Olga", "ops")
    assert "/start/rules" not in (await olga.see("/start")).text
    fields = {"csrf_token": await olga.csrf_token("/start"), **chosen}
    assert (await olga.client.post("/start/rules", data=fields)).status_code == 403


async def test_mail_and_address_search_are_steps(node: StartNode) -> None:
    site = Site(await node())
    ada = await logged_in(site, "Ada", "admin")
    steps = parse((await ada.see("/start")).text).one("ol", class_="steps").text
    assert "CALLBOARD_SMTP_URL" in steps
    assert "CALLBOARD_GEOCODER_URL" in steps
    await site.close()
    site = Site(
        await node(
            smtp_url="smtp://127.0.0.1:1?tls=off", mail_from="board@fleet.example",
            report_recipients="ada@fleet.example", geocoder_url="https://nominatim.example/search",
        )
    )  # fmt: skip
    try:
        bea = await logged_in(site, "Bea", "admin")
        now = await done(bea)
        assert (now["Mail"], now["Address search"]) == (True, True)
        assert (await bea.send("/report/mail/test")).status_code == 303
        await bea.see("/report/mail")  # where the answer is said once
        kept = parse((await bea.see("/report/mail")).text).one("table")
        assert "Test by Bea" in kept.text
        assert kept.one("tbody").one("span", class_="tag").text == "failed"
        assert "Send failed ones again" not in (await bea.see("/report/mail")).text
        assert "The last test mail to ada@fleet.example failed on" in (await bea.see("/start")).text
    finally:
        await site.close()


NONSENSE: list[tuple[str, dict[str, str], str]] = [
    ("company", {"company_name": "x" * 101}, "Write a name"),
    ("company", {"company_name": " "}, "Write a name"),
    ("dispatch-phone", {"dispatch_phone": "call Olga"}, "Write a phone number such as"),
    ("dispatch-phone", {"dispatch_phone": "1" * 41}, "Write a phone number such as"),
    ("time-zone", {"time_zone": "Europe/Atlantis"}, "Choose a time zone"),
    ("time-zone", {"time_zone": "../../etc/passwd"}, "Choose a time zone"),
    ("time-zone", {}, "Choose a time zone"),
    ("address", {"public_url": "javascript:alert(1)"}, "such as https://board"),
    ("address", {"public_url": "https://"}, "Write an address such as https://board"),
    ("address", {"public_url": f"https://{'x' * 500}.example"}, "Write an address such as https://board"),
    ("map", {"source": "own", "map_tiles": f"https://a.example/{{z}}/{{x}}/{{y}}/{'x' * 500}"}, "Write an address"),
    ("map", {"source": "own"}, "Write an address such as https://tiles"),
    ("map", {"source": "own", "map_tiles": "https://a.example/x.png"}, "Write an address such as https://tiles"),
    (
        "map",
        {"source": "own", "map_tiles": "https://a.example; script-src */{z}/{x}/{y}"},
        "Write an address such as https://tiles",
    ),
    ("secret", {"secret": "x" * 40}, "This cannot be set here"),
]


async def test_a_setting_that_makes_no_sense_is_refused(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    before = site.node.app.state.node.settings
    for form, fields, said in NONSENSE:
        refused = await ada.send("/start/settings", form=form, **fields)
        assert (refused.status_code, said in refused.text) == (422, True), (form, fields)
    assert site.node.app.state.node.settings is before


async def test_a_setting_of_another_release_is_left_out(site: Site) -> None:
    node = site.node.app.state.node
    await site.node.change(
        "INSERT INTO company_settings (name, value, changed_by, changed_at)"
        " VALUES ('time_zone', 'Mars/Olympus', 'ada', now()), ('moon', 'full', 'ada', now())"
    )
    await until(lambda: "moon" in node.known_settings.on_screen)
    assert node.settings.time_zone == "UTC"


async def test_an_attribution_is_text_on_the_map(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    tiles = {"source": "own", "map_tiles": "https://t.example/{z}/{x}/{y}.png", "map_attribution": "<b>Us</b>"}
    assert (await ada.send("/start/settings", form="map", **tiles)).status_code == 303
    assert parse((await ada.see("/board")).text).one(id="map")["data-attribution"] == "&lt;b&gt;Us&lt;/b&gt;"
    assert parse((await ada.see("/start")).text).one(id="map_attribution")["value"] == "<b>Us</b>"


async def test_only_admins_change_settings(site: Site) -> None:
    olga = await logged_in(site, "Olga", "ops")
    assert "Times on all screens are in UTC." in (page := (await olga.see("/start")).text)
    assert "/start/settings" not in page
    csrf = await olga.csrf_token("/start")
    fields = {"csrf_token": csrf, "form": "time-zone", "time_zone": "Asia/Tokyo"}
    assert (await olga.client.post("/start/settings", data=fields)).status_code == 403


async def test_a_test_order_is_placed_near_a_driver_who_can_take_it(site: Site) -> None:
    olga = await logged_in(site, "Olga", "ops")
    assert (await olga.send("/start/test-order")).headers["location"] == "/start"
    assert "No driver has sent a position yet" in (await olga.see("/start")).text
    dan = await site.driver("Dan", zone="north", at_work=True)
    placed = await olga.send("/start/test-order")
    assert placed.status_code == 303
    delivery_id = placed.headers["location"].removeprefix("/board/deliveries/")
    assert (await dan.offer())["deliveryId"] == delivery_id


async def test_a_test_order_counts_nowhere_and_says_what_it_is(node: StartNode) -> None:
    now = datetime.now(UTC)
    zone = f"Etc/GMT{now.hour - 12:+d}"  # it is noon
    site = Site(await node(time_zone=zone, webhooks_allow_private=True))
    try:
        olga = await logged_in(site, "Olga", "ops")
        hook = await site.ada.post("/admin/webhooks", json={"url": "http://127.0.0.1:9/"})
        dan = await site.driver("Dan", at_work=True)
        placed = await olga.send("/start/test-order")
        delivery_id = placed.headers["location"].removeprefix("/board/deliveries/")
        offer = await dan.offer()
        assert (offer["payload"]["test"], offer["payload"]["estimatedEarningCents"]) == (True, 0)
        job = (await dan.post(f"/offers/{offer['id']}/accept")).json()["assignment"]
        for step in ("pickup", "complete"):
            assert (await dan.post(f"/assignments/{job['id']}/{step}")).status_code == 200
        bodies = await site.node.app.state.node.database.pool.fetch("SELECT body::text FROM webhook_deliveries")
        assert hook.status_code == 201
        about_it = [body for row in bodies if "delivery" in (body := json.loads(row[0])["data"])]
        assert {body["type"] for body in about_it} >= {"delivery.created", "offer.accepted", "delivery.delivered"}
        assert all(body["delivery"]["test"] is True for body in about_it)

        numbers = (await dan.get("/numbers")).json()["today"]
        assert (numbers["deliveries"], numbers["pay"]) == (0, [])
        day = str(datetime.now(ZoneInfo(zone)).date())
        stores = (await olga.see(f"/report/stores.csv?day={day}")).text.splitlines()
        assert len(stores) == 2, "the headings and the total"
        assert stores[1].startswith(",0,0,")
        stats = (await site.ada.get("/admin/stats")).json()
        assert (stats["offersSent"], stats["accepted"], stats["deliveriesCreated"]) == (0, 0, 0)
        window = now - timedelta(hours=1), now + timedelta(hours=1), None, "UTC"
        pool = site.node.app.state.node.database.pool
        assert (await read_groups(pool, *window), await read_errors(pool, *window)) == ([], [])
        assert (await read_zone_numbers(pool, 60)) == []
        answers = parse((await olga.see(f"/board/drivers/{dan.id}")).text)
        assert "no offers yet" in answers.text

        assert (await site.vic.get(f"/deliveries/{delivery_id}")).json()["test"] is True
        assert "no report counts it" in (await olga.see(f"/board/deliveries/{delivery_id}")).text
        listed = parse((await olga.see("/orders")).text)
        assert listed.one("section", **{"aria-labelledby": "orders-title"}).one("span", class_="tag").text == "Test"
        other = await site.delivery()
        assert "test" not in other
        assert "test" not in (await dan.offer())["payload"]
    finally:
        await site.close()


async def test_a_test_order_is_in_the_language_of_the_drivers(site: Site) -> None:
    olga = await logged_in(site, "Olga", "ops")
    await site.driver("Dan", at_work=True)
    olga.client.headers["Accept-Language"] = "de-AT,de;q=0.9,en;q=0.5"

    async def placed() -> dict[str, Any]:
        sent = await olga.send("/start/test-order")
        found = await site.vic.get(sent.headers["location"].removeprefix("/board"))
        order: dict[str, Any] = found.json()
        return order

    order = await placed()
    assert (order["storeName"], order["pickup"]["address"]) == ("Testgesch\u00e4ft", "500 m vom Fahrer entfernt")
    assert order["notes"] == "Das ist ein Test. Es gibt keine Ware."
    policy = (await site.ada.get("/admin/policy")).json()
    assert (await site.ada.put("/admin/policy", json=policy | {"language": "es"})).status_code == 200
    assert (await placed())["storeName"] == "Tienda de prueba"


async def test_who_only_looks_sees_no_checklist(site: Site) -> None:
    vic = await logged_in(site, "Vic", "viewer")
    page = (await vic.see("/board")).text
    assert "h-setup" not in page
    assert 'href="/start"' not in page
    assert (await vic.see("/start")).status_code == 403
    olga = await logged_in(site, "Olga", "ops")
    assert "h-setup" not in (await olga.see("/board?kiosk=1")).text
