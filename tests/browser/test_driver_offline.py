"""The page opened again without a network and without an order in hand: what it knows, and what the driver does now."""

import re
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.browser.conftest import check_accessible, shoot
from tests.browser.phone import Phone, link, phone, tap
from tests.browser.test_driver_shift import KEPT
from tests.browser.test_driver_thumbs import SIZES
from tests.conftest import StartNode
from tests.waiting import until
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

TIME = r"\d\d:\d\d"


def known(on: Phone) -> Locator:
    """What it knows of the driver, a line each."""
    return on.page.locator("#numbers dl > div").filter(visible=True)


async def open_without_a_network(on: Phone) -> None:
    """The page is kept for it, and opened again without one."""
    on.owner.network_may_fail = True
    await on.page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    await until(lambda: on.page.evaluate("navigator.serviceWorker.controller !== null"))
    await on.context.set_offline(True)
    await on.page.reload()


async def test_a_page_without_a_network_says_what_it_knows_and_what_to_do(chromium: Browser, node: StartNode) -> None:
    site = Site(await node(dispatch_phone="+49 30 90-18 20"))
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, viewport=SIZES["320"]) as dans:
        await dans.shows("available")
        today = dans.page.locator("#numbers [data-period=today] dd")
        await expect(today).to_have_text(re.compile(r"^0 deliveries · 0:0\d h$"))
        await expect(known(dans)).to_have_count(2)
        await open_without_a_network(dans)
        await dans.shows("unreachable")
        await expect(dans.line).to_have_text("Offline")
        await expect(dans.page.locator("#name")).to_have_text("Dan")
        await expect(dans.page.get_by_role("heading", name="No connection")).to_be_visible()
        await expect(dans.page.locator("#duty-text")).to_have_text("Go where there is a network.")
        call = dans.page.get_by_role("main").get_by_role("link", name="Call dispatch")
        await expect(call).to_have_attribute("href", "tel:+4930901820")
        await expect(known(dans)).to_have_text(
            [
                re.compile(rf"^As of {TIME}You are available$"),
                re.compile(rf"^On shift here since{TIME}$"),
                re.compile(r"^Today(As of \d\d:\d\d: )?0 deliveries · 0:0\d h$"),
                re.compile(r"^This week(As of \d\d:\d\d: )?0 deliveries · 0:0\d h$"),
            ]
        )
        await expect(dans.page.locator("main button, #controls button").filter(visible=True)).to_have_count(0)
        await dans.page.evaluate(KEPT, {"driverId": dan.id, "at": await dans.page.evaluate("Date.now()")})
        await dans.page.reload()
        await expect(dans.page.locator("#saved")).to_contain_text("not sent yet: 1 report. It is sent automatically.")
        await expect(known(dans)).to_have_count(4)
        for size, theme in (("320", "dark"), ("low-side", "light"), ("side", "dark"), ("390", "light")):
            await dans.page.set_viewport_size(SIZES[size])
            await dans.page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
            await expect(dans.page.locator("[data-settling]")).to_have_count(0)
            await check_accessible(dans.page, f"no network {size}")
            await shoot(dans.page, f"driver-no-network-{size}-{theme}")
        await dans.context.set_offline(False)
        await dans.shows("available")
        await expect(known(dans)).to_have_count(2)
        await expect(call).to_be_hidden()
        await expect(dans.page.locator("#saved")).to_be_hidden()
    await site.close()


BREAK_RAN_OUT = """() => {
  const seen = JSON.parse(localStorage.getItem("callboard.driver.lastSeen"));
  seen.driver.availabilityUntil = new Date(Date.now() - 60_000).toISOString();
  localStorage.setItem("callboard.driver.lastSeen", JSON.stringify(seen));
}"""


async def test_a_break_is_said_without_a_network_until_when_it_is(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    options: dict[str, Any] = {"viewport": SIZES["320"], "locale": "de-DE"}
    async with phone(chromium, site, dan, **options) as dans:
        await dans.shows("available")
        assert (await dan.post("/availability/take-break", {"durationMinutes": 30})).status_code == 200
        await dans.shows("on_break")
        await open_without_a_network(dans)
        await dans.shows("unreachable")
        rest = re.compile(rf"^Stand {TIME}Du machst Pause. Sie endet von selbst in (30:00|29:\d\d)$")
        await expect(known(dans).first).to_have_text(rest)
        await expect(dans.page.get_by_role("main").get_by_role("link")).to_have_count(0)
        await check_accessible(dans.page, "no network de")
        await shoot(dans.page, "driver-no-network-de-320-light")
        await dans.page.evaluate(BREAK_RAN_OUT)
        await dans.page.reload()
        await expect(known(dans).first).to_have_text(re.compile(rf"^Stand {TIME}Deine Pause ist zu Ende\.$"))


async def test_a_page_that_knows_nothing_of_its_driver_says_what_to_do(chromium: Browser, site: Site) -> None:
    """As where storage was cleared, or for another driver than the one before."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.shows("available")
        seen = "localStorage.getItem('callboard.driver.lastSeen')"
        await until(lambda: dans.page.evaluate(f"JSON.parse({seen})?.numbers != null"))
        await dans.page.add_init_script("localStorage.removeItem('callboard.driver.lastSeen');")
        await open_without_a_network(dans)
        await dans.shows("unreachable")
        await expect(dans.page.locator("#duty-text")).to_have_text("Go where there is a network.")
        await expect(known(dans)).to_have_count(0)
        await shoot(dans.page, "driver-no-network-unknown-light")
        await dans.context.set_offline(False)
        await dans.shows("available")


async def test_a_shift_that_has_not_started_says_that_there_is_no_network(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, started=False) as dans:
        await dans.press("Start shift")
        await dans.shows("available")
        await tap(dans.page.get_by_role("button", name="End shift"))
        await tap(dans.page.locator("#leave").get_by_role("button", name="End shift"))
        await dans.shows("shift_ended")
        await dans.page.clock.install()
        await open_without_a_network(dans)
        await expect(dans.page.get_by_role("heading", name="Start your shift")).to_be_visible()
        await expect(dans.page.locator("#name")).to_have_text("Dan")
        alert = dans.page.get_by_role("alert")
        await expect(alert).to_have_text("You are offline. You get no offers.", use_inner_text=True)
        await dans.page.clock.fast_forward(120_000)
        since = re.compile(r"^You are offline\. For \d minutes\. You get no offers\.$")
        await expect(alert).to_have_text(since, use_inner_text=True)
        await shoot(dans.page, "driver-no-network-start-light")
        await dans.context.set_offline(False)
        await expect(dans.page.get_by_role("alert")).to_be_hidden()


SEEN = "JSON.parse(localStorage.getItem('callboard.driver.lastSeen'))"


@pytest.mark.parametrize("signs_out", [True, False], ids=["signed-out", "new-link"])
async def test_a_shared_phone_keeps_no_numbers_of_the_driver_before(
    chromium: Browser, site: Site, signs_out: bool
) -> None:
    """Also where the server does not answer with those of the next one."""
    dan, dora = await site.driver("Dan"), await site.driver("Dora")
    async with phone(chromium, site, dan, started=False) as shared:
        shared.owner.network_may_fail = True
        await shared.page.route(f"**/drivers/{dora.id}/numbers", lambda route: route.abort())
        await shared.press("Start shift")
        await shared.shows("available")
        await until(lambda: shared.page.evaluate(f"{SEEN}?.numbers != null"))
        if signs_out:
            await shared.sign_out()
            assert await shared.page.evaluate(SEEN) is None
        await shared.page.evaluate("(hash) => { location.hash = hash; }", link(site, dora).partition("#")[2])
        await expect(shared.page.get_by_role("button", name="Start shift", exact=True)).to_be_visible()
        await shared.press("Start shift")
        await until(lambda: shared.page.evaluate(f"{SEEN}?.driver.id === '{dora.id}'"))
        await shared.shows("available")
        await expect(shared.page.locator("#numbers")).to_be_hidden()
        assert await shared.page.evaluate(f"{SEEN}.numbers") is None
