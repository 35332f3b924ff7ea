"""The checklist of a new installation: what it says is done, and the test order."""

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
    assert "A phone cannot reach this address" in page.one("ol", class_="steps").text
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
    assert "h-setup" not in (await ada.see("/board")).text


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
        assert forms == ["company"]
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
            "time-zone": {"time_zone": "Asia/Tokyo"},
            "address": {"public_url": "https://board.roma.example"},
            "map": {"source": "osm"},
        }.items():
            sent = await ada.send("/start/settings", form=form, **fields)
            assert sent.headers["location"] == "/start", sent.text
        assert await done(ada) == await done(ada) | {
            "Company": True, "Time zone": True, "Public address": True, "Map": True,
        }  # fmt: skip
        page = (await ada.see("/start")).text
        assert (page.count("Ada set this here."), "Roma &amp; Söhne" in page) == (4, True)
        await until(lambda: other.settings.map_tiles)
        seen = await olga.see("/board")
        assert "Roma &amp; Söhne" in seen.text
        assert "https://tile.openstreetmap.org" in seen.headers["content-security-policy"]
        assert "Times are in Asia/Tokyo." in (await olga.see("/account")).text
        link = (await there.alice.post(f"/drivers/{dan.id}/invitation")).json()["url"]
        assert link.startswith("https://board.roma.example/driver#")
        assert (await there.delivery())["trackingUrl"].startswith("https://board.roma.example/track/")
        await until(lambda: board.broadcast.position.split("-")[0] != before.position.split("-")[0])
        assert (await dan.get("/numbers")).json()["timeZone"] == "Asia/Tokyo"
    finally:
        await here.close()
        await there.close()


NONSENSE: list[tuple[str, dict[str, str], str]] = [
    ("company", {"company_name": "x" * 101}, "Write a name"),
    ("time-zone", {"time_zone": "Europe/Atlantis"}, "Choose a time zone"),
    ("time-zone", {"time_zone": "../../etc/passwd"}, "Choose a time zone"),
    ("time-zone", {}, "Choose a time zone"),
    ("address", {"public_url": "javascript:alert(1)"}, "Write an address such as https://board"),
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


async def test_who_only_looks_sees_no_checklist(site: Site) -> None:
    vic = await logged_in(site, "Vic", "viewer")
    page = (await vic.see("/board")).text
    assert "h-setup" not in page
    assert 'href="/start"' not in page
    assert (await vic.see("/start")).status_code == 403
    olga = await logged_in(site, "Olga", "ops")
    assert "h-setup" not in (await olga.see("/board?kiosk=1")).text
