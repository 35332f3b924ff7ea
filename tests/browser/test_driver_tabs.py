"""Tabs of one phone: one of them is in use, the others say so, and only that one sends what the driver did."""

from dataclasses import replace

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.phone import HERE, link, phone
from tests.browser.stopped_clock import pass_time, stop_clock
from tests.browser.test_driver_page import ORDER, invitation, times
from tests.browser.test_driver_thumbs import (
    SENT,
    accepted,
    button,
    sent,
    status,
    tap_after,
    undo,
)
from tests.waiting import until
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def in_another_tab(page: Page) -> Locator:
    return page.get_by_role("heading", name="Callboard is open in another tab", exact=True)


async def test_the_newer_tab_wins_and_the_older_says_so(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        newer = await dans.owner.open(f"/driver?{HERE}")
        await expect(newer.locator("#line")).to_have_text("Online")
        await expect(dans.page.get_by_role("heading", name="Callboard is open in another tab")).to_be_visible()
        await site.delivery(**ORDER)
        await expect(newer.get_by_role("alertdialog")).to_be_visible()
        await expect(dans.offer).to_be_hidden()
        await dans.page.bring_to_front()
        await dans.press("Use it here")
        await expect(dans.offer).to_be_visible()
        await expect(newer.get_by_role("heading", name="Callboard is open in another tab")).to_be_visible()
        await dans.page.close()
        await expect(newer.get_by_role("alertdialog")).to_be_visible()


async def test_a_tab_that_is_only_loaded_again_stays_the_one_in_use(chromium: Browser, site: Site) -> None:
    """The other tab takes over once the newer one is closed."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await stop_clock(dans)
        newer = await dans.owner.open(link(site, dan))
        await expect(newer.locator("#line")).to_have_text("Online")
        await expect(in_another_tab(dans.page)).to_be_visible()
        before = await times(site, "driver.connected")
        for again in range(1, 4):
            await newer.reload()
            await expect(newer.locator("#line")).to_have_text("Online")
            assert await times(site, "driver.connected") == before + again
        await expect(in_another_tab(dans.page)).to_be_visible()
        await newer.close()

        async def takes_over() -> bool:
            await pass_time(dans, 1000)
            return await dans.line.text_content() == "Online"

        await until(takes_over)


STALE = """
const then = { ...localStorage };
Storage.prototype.getItem = (key) => then[key] ?? null;
"""
"""What a tab reads may be older than what another one has just written."""

LATE = """
const request = LockManager.prototype.request;
LockManager.prototype.request = function (...given) {
  return request.apply(this, given).catch(() => new Promise(() => {}));
};
"""
"""A tab hears late from the browser that another one is in use: the server is faster."""


@pytest.mark.parametrize("heard_from", ["browser", "server"])
async def test_two_tabs_of_one_phone_with_two_links_are_no_two_phones(
    chromium: Browser, site: Site, heard_from: str
) -> None:
    """A back end makes a new token for every link."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        if heard_from == "server":
            await dans.page.add_init_script(LATE)
            await dans.page.reload()
        await dans.online()
        await dans.page.evaluate(STALE)
        newer = await dans.owner.open(link(site, dan, seconds=3000))
        await expect(newer.locator("#line")).to_have_text("Online")
        await expect(in_another_tab(dans.page)).to_be_visible()


@pytest.mark.parametrize("answers", [True, False], ids=["database", "no-database"])
async def test_a_newer_tab_takes_over_what_is_not_sent(chromium: Browser, site: Site, answers: bool) -> None:
    """The older one sends nothing of it, also if its database does not tell it what the newer one took back."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.page.add_init_script(SENT)
        await stop_clock(dans)
        delivery = await accepted(dans, site, picked_up=True)
        await tap_after(dans, button(dans, "Delivered"))
        await expect(undo(dans)).to_be_visible()
        newer = await dans.context.new_page()
        await newer.goto(f"{site.node.url}/driver?{HERE}")
        await expect(newer.locator("#line")).to_have_text("Online")  # what that changes is there before time passes
        await expect(newer.get_by_role("button", name="Undo: not delivered")).to_be_visible()
        await expect(in_another_tab(dans.page)).to_be_visible()
        if not answers:
            await dans.page.evaluate(
                "() => { IDBDatabase.prototype.transaction = () => { throw new Error('closed'); }; }"
            )
        await tap_after(replace(dans, page=newer), newer.get_by_role("button", name="Undo: not delivered"))
        await expect(newer.get_by_role("button", name="Delivered", exact=True)).to_be_visible()
        await pass_time(dans, 60_000)
        await expect(dans.page.locator("#saved")).to_be_hidden()
        await dans.page.bring_to_front()
        await tap_after(dans, button(dans, "Use it here"))
        await expect(button(dans, "Delivered")).to_be_visible()
        assert await sent(dans.page, "completed") == 0
        assert await status(site, delivery) == "PICKED_UP"


async def test_a_new_tab_sends_what_a_tab_has_left_whose_driver_signed_out(chromium: Browser, site: Site) -> None:
    """That tab stays open, and the driver has not started the shift again."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, path=await invitation(site, dan), started=False) as dans:
        dans.owner.network_may_fail = True
        await dans.press("Start shift")
        await dans.online()
        delivery = await accepted(dans, site)
        await dans.context.set_offline(True)
        await expect(dans.line).to_have_text("Offline")
        await dans.press("Picked up")
        await expect(dans.page.get_by_role("article")).to_contain_text("Picked up. Saved, not sent yet")
        await dans.sign_out()
        await expect(dans.page.locator("#saved")).to_contain_text("not sent yet: 1 report.")
        await dans.context.set_offline(False)
        newer = await dans.owner.open(await invitation(site, dan))
        await expect(newer.get_by_role("button", name="Use this phone", exact=True)).to_be_visible()

        async def picked_up() -> bool:
            return await status(site, delivery) == "PICKED_UP"

        await until(picked_up)
        await expect(newer.locator("#saved")).to_be_hidden()


async def test_a_tab_that_waits_starts_no_shift_for_the_next_driver(chromium: Browser, site: Site) -> None:
    """The driver signed out in the tab in use, and another one signed in there at once."""
    dan, dora = await site.driver("Dan"), await site.driver("Dora")
    async with phone(chromium, site, dan, started=False) as dans:
        await dans.press("Start shift")
        await stop_clock(dans)
        first = await times(site, "driver.connected")
        used = replace(dans, page=await dans.owner.open(f"/driver?{HERE}"))
        await used.online()
        await expect(in_another_tab(dans.page)).to_be_visible()
        before = await times(site, "driver.connected")
        assert before == first + 1
        await tap_after(used, used.page.get_by_label("Menu"))
        await tap_after(used, button(used, "Remove me from this device"))
        await tap_after(used, button(used, "Sign out"))
        await expect(used.page.get_by_role("heading", name="Open your link")).to_be_visible()
        await used.page.evaluate("(hash) => { location.hash = hash; }", link(site, dora).partition("#")[2])
        await expect(used.page.locator("#name")).to_have_text("Dora")

        async def is_doras() -> bool:
            await pass_time(dans, 1000)
            return await dans.page.locator("#name").text_content() == "Dora"

        await until(is_doras)
        await expect(button(dans, "Start shift")).to_be_visible()
        assert await times(site, "driver.connected") == before
