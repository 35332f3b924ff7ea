"""The screens of orders and drivers in a real browser: by keyboard, in both themes, on a phone."""

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from server.contract.views import instant
from tests.browser.conftest import THEMES, People, check_accessible, shoot
from tests.web.conftest import DROPOFF, Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def test_an_order_is_found_from_any_screen_by_keyboard(site: Site, people: People) -> None:
    dan = await site.driver("Dan", at_work=True)
    await site.assignment(dan, sellerOrderId="A-1", dropoff=DROPOFF | {"name": "Anna Blume", "address": "Kloostri 7"})
    await site.delivery(
        sellerOrderId="LATER-1", zone="north", dispatchAt=instant(datetime.now(UTC) + timedelta(hours=3))
    )
    olga = await people(site.node, "Olga", "ops", color_scheme="light", reduced_motion="reduce")
    page = await olga.open("/alerts")
    keys = page.keyboard
    await expect(page.locator("#badge")).to_contain_text("Live")
    await keys.press("/")
    await expect(page.get_by_label("Text")).to_be_focused()
    await expect(page.get_by_role("region", name="Scheduled")).to_contain_text("LATER-1")
    for theme in THEMES:
        await page.emulate_media(color_scheme=theme)
        await check_accessible(page, f"orders-{theme}")
        await shoot(page, f"orders-{theme}")
    for words in ("kloostri", "dan"):
        await page.get_by_label("Text").fill(words)
        await keys.press("Enter")
        await expect(page.get_by_role("link", name="A-1")).to_be_visible()
        await expect(page.get_by_role("link", name="LATER-1")).to_be_hidden()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Save as CSV").click()
    assert (await download.value).suggested_filename == "callboard-orders.csv"
    await page.goto(f"{olga.url}/orders")
    page.once("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="Dispatch order LATER-1 now").click()
    await expect(page.get_by_role("status")).to_contain_text("Searched.")
    await page.set_viewport_size({"width": 390, "height": 844})
    await check_accessible(page, "orders-phone")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await shoot(page, "orders-phone")
    await page.goto(f"{olga.url}/board")
    await keys.press("/")
    await keys.type("Anna")
    await keys.press("Enter")
    await expect(page.get_by_role("link", name="A-1")).to_be_visible()
