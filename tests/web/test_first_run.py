"""The checklist of a new installation: what it says is done, and the test order."""

from tests.conftest import StartNode
from tests.web.conftest import Site
from tests.web.html_tree import parse
from tests.web.people import Browser, logged_in


async def done(browser: Browser, path: str = "/start") -> dict[str, bool]:
    """Whether each step is done."""
    page = parse((await browser.see(path)).text)
    return {one.one("b").text: "data-done" in one for one in page.one("ol", class_="steps").every("li")}


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
        assert 'href="/users"' not in (await olga.see("/start")).text
    finally:
        await site.close()


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
