"""The start of a shift, and two phones of one driver."""

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from server.dispatch.takeovers import LONGEST_WAIT
from tests.browser.conftest import People, check_accessible, shoot
from tests.browser.phone import phone, tap
from tests.browser.test_driver_page import ORDER, invitation
from tests.browser.test_driver_thumbs import SIZES, accepted, nothing_kept, status
from tests.waiting import until
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

BERLIN = {"latitude": 52.519, "longitude": 13.404, "accuracy": 12}


async def test_a_shift_starts_with_one_tap_that_asks_for_everything(chromium: Browser, site: Site) -> None:
    """Nothing is offered to a driver who has only opened the link; their sound could not even be heard."""
    dan = await site.driver("Dan")
    allowed: dict[str, Any] = {"permissions": ["geolocation"], "geolocation": BERLIN}
    async with phone(chromium, site, dan, path=await invitation(site, dan), started=False) as dans:
        asks = dans.page.get_by_role("list", name="What offers need")
        await expect(dans.page.get_by_role("heading", name="Start your shift")).to_be_visible()
        await expect(asks).to_contain_text("Each offer rings.")
        assert (await site.vic.get(f"/drivers/{dan.id}")).json()["availability"] == "offline"
        for size, theme in (("320", "dark"), ("side", "light"), ("390", "light")):
            await dans.page.set_viewport_size(SIZES[size])
            await dans.page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
            await expect(dans.page.locator("[data-settling]")).to_have_count(0)
            await check_accessible(dans.page, f"start {size}")
            await shoot(dans.page, f"driver-start-{size}-{theme}")
        await dans.page.reload()
        await expect(dans.page.get_by_role("heading", name="Start your shift")).to_be_visible()
        await dans.press("Start shift")
        await dans.shows("available")
        await expect(asks).to_be_hidden()
        await tap(dans.page.get_by_role("button", name="End shift"))
        await tap(dans.page.locator("#leave").get_by_role("button", name="End shift"))
        await dans.shows("shift_ended")
        await expect(asks).to_be_visible()
        await dans.page.reload()
        await dans.press("Start shift")
        await dans.shows("available")
        await dans.page.reload()
        await dans.online()
        # Not by the page that is open: it keeps with every message that the shift goes on.
        await dans.page.add_init_script(f"localStorage.setItem('callboard.driver.shift', '{dan.id} 1')")
        await dans.page.reload()
        await expect(dans.page.get_by_role("heading", name="Start your shift")).to_be_visible()
    assert (await dan.post("/availability/end-shift")).status_code == 200
    dora = await site.driver("Dora")
    async with phone(chromium, site, dora, query="", started=False, **allowed) as dans:
        await expect(dans.page.get_by_role("list", name="What offers need")).to_contain_text("It is shared.")
        await dans.press("Start shift")
        await dans.online()
        await site.delivery(**ORDER)
        await expect(dans.offer).to_be_visible()
        assert await dans.page.evaluate("navigator.userActivation.hasBeenActive")


async def test_what_an_old_phone_has_kept_reaches_dispatch_while_another_phone_is_in_use(
    chromium: Browser, site: Site
) -> None:
    """It says so, and takes nothing over; a reload and a page that was closed make no difference."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, path=await invitation(site, dan)) as old:
        old.owner.network_may_fail = True
        await old.online()
        await old.page.evaluate("navigator.serviceWorker.ready")
        delivery = await accepted(old, site)
        await old.context.set_offline(True)
        await expect(old.line).to_have_text("Offline")
        await old.press("Picked up")
        await expect(old.page.get_by_role("article")).to_contain_text("Picked up. Saved, not sent yet")
        async with phone(chromium, site, dan, path=await invitation(site, dan), started=False) as new:
            await new.press("Use this phone")
            await new.online()
            await expect(new.page.get_by_role("button", name="Picked up", exact=True)).to_be_visible()
            await old.page.reload()
            await old.context.set_offline(False)
            other = old.page.get_by_role("heading", name="Another phone is signed in as you since")
            await expect(other).to_be_visible()
            notice = old.page.locator("#notices").get_by_text(
                "Your dispatcher has everything that you did on this phone."
            )
            await expect(notice).to_be_visible()
            await expect(old.page.locator("#saved")).to_be_hidden()
            await check_accessible(old.page, "handed in")
            await shoot(old.page, "driver-handed-in-light")
            await expect(new.page.get_by_role("article")).to_contain_text("Picked up at")
            assert await status(site, delivery) == "PICKED_UP"
            assert await nothing_kept(old.page)
            await old.context.set_offline(True)
            await old.page.evaluate(KEPT, {"driverId": dan.id, "at": await old.page.evaluate("Date.now()")})
            await old.page.reload()
            await expect(old.page.locator("#saved")).to_contain_text(
                "not sent yet: 1 report. It is sent automatically."
            )
            await shoot(old.page, "driver-not-handed-in-light")
            await old.context.set_offline(False)
            await expect(old.page.locator("#notices")).to_contain_text("Not accepted for Roma.")
            await expect(old.page.locator("#saved")).to_be_hidden()
            await expect(new.line).to_have_text("Online")


KEPT = """({ driverId, at }) => new Promise((resolve) => {
  const opening = indexedDB.open("callboard.driver", 1);
  opening.onsuccess = () => {
    const own = { driverId, assignmentId: crypto.randomUUID(), actionId: crypto.randomUUID(), storeName: "Roma" };
    const writing = opening.result.transaction("actions", "readwrite");
    writing.objectStore("actions").put({ ...own, type: "picked_up", at, due: at, tried: false });
    writing.oncomplete = () => { opening.result.close(); resolve(); };
  };
})"""
"""What the driver did on this phone before, about an order that is nobody's."""


async def test_two_phones_of_one_driver_do_not_take_turns_by_themselves(
    chromium: Browser, site: Site, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second phone takes over; the first one asks, keeps what it has not sent, and waits if they go on."""
    # The first phone may need more than FIRST_WAIT to come back.
    monkeypatch.setattr("server.dispatch.takeovers.FIRST_WAIT", LONGEST_WAIT)
    dan = await site.driver("Dan")
    bea = await people(site.node, "bea", "ops")
    async with phone(chromium, site, dan, path=await invitation(site, dan)) as one:
        one.owner.network_may_fail = True
        await one.online()
        delivery = await accepted(one, site)
        async with phone(
            chromium, site, dan, path=await invitation(site, dan), started=False, color_scheme="dark"
        ) as two:
            two.owner.network_may_fail = True
            seen = two.page.get_by_role("heading", name="Another phone is signed in as you since")
            await expect(seen).to_be_visible()
            await expect(two.page.locator("#over-text")).to_contain_text("Chrome on Linux. It gets your offers.")
            await expect(two.page.locator("#name")).to_have_text("Dan")
            await expect(one.line).to_have_text("Online")
            await shoot(two.page, "driver-new-phone-dark")
            await two.press("Use this phone")
            await two.online()
            await expect(two.page.get_by_role("article")).to_contain_text("Trattoria da Enzo")
            other = one.page.get_by_role("heading", name="Another phone is signed in as you since")
            await expect(other).to_be_visible()
            await check_accessible(one.page, "another phone")
            await shoot(one.page, "driver-another-phone-light")
            await one.page.reload()
            await expect(other).to_be_visible()
            await expect(two.line).to_have_text("Online")
            await one.press("Use this phone")
            await one.online()
            await expect(seen).to_be_visible()
            await two.press("Use this phone")
            await two.online()
            await expect(other).to_be_visible()
            await one.press("Use this phone")
            await expect(one.page.locator("#over-text")).to_contain_text("has to wait")
            await expect(two.line).to_have_text("Online")
            await shoot(one.page, "driver-two-devices-light")
            page = await bea.open(f"/board/drivers/{dan.id}")
            await expect(page.get_by_text("Two devices take turns")).to_be_visible()
            await shoot(page, "board-two-devices")
            await page.get_by_role("link", name="Sign one of them out").click()
            page.on("dialog", lambda dialog: dialog.accept())
            await page.get_by_role("button", name="Sign out").last.click()  # the device that was there first
            await expect(page.get_by_text("Dan is signed out on that device.")).to_be_visible()
            await one.page.reload()
            await expect(one.page.get_by_role("heading", name="You are signed out")).to_be_visible()
            await shoot(one.page, "driver-signed-out-light")
            await expect(two.line).to_have_text("Online")
            await two.press("Picked up")
            await until(lambda: nothing_kept(two.page))
            assert await status(site, delivery) == "PICKED_UP"
