"""The screen of webhooks in a real browser, with a real receiver that is slow, wrong, gone and back."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, expect

from server.notify import call_rounds, webhook_outbox
from tests.browser.conftest import PHONE, WIDE, People, browser_fixture, check_accessible, check_in_both_themes, shoot
from tests.conftest import StartNode
from tests.notify.conftest import calling_this_machine
from tests.notify.test_webhook_upkeep import park
from tests.receiver import Receiver, listening
from tests.waiting import until
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@browser_fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening() as receiver:
        yield receiver


@browser_fixture
async def site(node: StartNode) -> AsyncIterator[Site]:
    async with calling_this_machine(node) as site:
        yield site


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_rounds, "FIRST_RETRY_SECONDS", 0.3)
    monkeypatch.setattr(webhook_outbox, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(call_rounds, "POLL_SECONDS", 0.1)


def number(page: Page, title: str) -> Any:
    return page.locator(".numbers-of > div").filter(has_text=title).locator("dd")


async def test_a_webhooks_life_from_its_first_test_to_the_last_message(
    site: Site, people: People, receiver: Receiver
) -> None:
    ada = await people(site.node, "Ada", "admin")
    ada.network_may_fail = True  # a refused form is an error to the console
    page = await ada.open("/webhooks")
    await expect(page.get_by_text("sends its events to nobody")).to_be_visible()
    await check_accessible(page, "webhooks-empty")
    await page.get_by_label("Address").fill(receiver.url)
    await page.get_by_label("delivery.assigned").check()
    await expect(page.get_by_label("All events")).not_to_be_checked()
    await page.get_by_label("All events").check()
    await expect(page.get_by_label("delivery.assigned")).not_to_be_checked()
    await page.get_by_role("button", name="Add", exact=True).press("Enter")
    secret = await page.locator("#secret").text_content()
    assert secret is not None
    await check_accessible(page, "webhook-secret")
    await shoot(page, "webhook-secret")
    await page.get_by_role("button", name="Send a test").click()
    await expect(page.get_by_text("The test was accepted: 200 in")).to_be_visible()
    await expect(page.locator("#secret")).to_have_count(0)
    assert receiver.heard[0].verified_by(secret)
    webhook = (await site.ada.get("/admin/webhooks")).json()["items"][0]
    # Wrong: it refuses, and what happens meanwhile waits.
    receiver.status = 500
    await site.delivery()
    await expect(page.locator("tr", has_text="delivery.created")).to_contain_text("retry in")
    await expect(number(page, "State")).to_contain_text("Failing")
    # Gone, and nobody answers at all.
    await receiver.stop()
    await site.delivery()
    await expect(number(page, "Waiting").locator("b")).to_have_text("2")
    row = page.locator("tr", has_text="delivery.created").last
    await row.locator("summary").press("Enter")
    await expect(row.locator(".tries-of li").first).to_be_visible()
    await page.evaluate("document.dispatchEvent(new CustomEvent('board:done', {detail: {}}))")
    await expect(row.locator(".tries-of li").first).to_be_visible()
    await check_accessible(page, "webhook-failing")
    await shoot(page, "webhook-failing")
    # Given up, for the moment.
    await park(site, webhook)
    await expect(number(page, "Parked").locator("b")).to_have_text("2")
    await page.get_by_role("link", name="Parked").click()
    await expect(page).to_have_url(re.compile("parked"))
    await expect(page.locator("#badge")).to_contain_text("Live")
    await expect(page.locator("tr[data-row]")).to_have_count(2)
    await check_accessible(page, "webhook-parked")
    await shoot(page, "webhook-parked")
    # Back, and slow.
    await receiver.start()
    receiver.status = 200
    receiver.hold = asyncio.Event()
    receiver.heard.clear()
    await page.keyboard.press("k")
    await expect(page.locator("tr[data-row]").last).to_be_focused()
    await page.keyboard.press("c")
    await expect(page.get_by_text("The message is being sent again.")).to_be_visible()
    await expect(page.locator("tr[data-row]")).to_have_count(1)
    await receiver.messages(1)
    await page.get_by_role("button", name="Send all parked messages again").click()
    await expect(page.get_by_text("1 message is being sent again.")).to_be_visible()
    receiver.hold.set()
    await receiver.messages(2)
    await expect(number(page, "Parked").locator("b")).to_have_text("0")
    await page.get_by_role("link", name="All", exact=True).click()
    await expect(number(page, "State")).to_contain_text("OK")
    # A new secret: both are valid.
    page.on("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="New secret").click()
    fresh = await page.locator("#secret").text_content()
    assert fresh not in (None, secret)
    receiver.heard.clear()
    await page.get_by_role("button", name="Send a test").click()
    await expect(page.get_by_text("The test was accepted")).to_be_visible()
    assert receiver.heard[0].verified_by(secret)
    assert receiver.heard[0].verified_by(str(fresh))
    await page.get_by_role("button", name="Stop").click()
    await expect(number(page, "State")).to_contain_text("Stopped")
    await page.get_by_text("Change the address").click()
    await page.get_by_label("Address").fill("ftp://nowhere")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("alert").filter(has_text="must be")).to_be_visible()
    await expect(page.get_by_label("Address")).to_be_focused()
    await page.get_by_role("button", name="Remove").click()
    await expect(page.get_by_text("The webhook is removed")).to_be_visible()
    await expect(page).to_have_url(f"{ada.url}/webhooks")


async def test_webhooks_read_in_both_themes_and_on_a_phone(site: Site, people: People, receiver: Receiver) -> None:
    made = await site.ada.post("/admin/webhooks", json={"url": receiver.url})
    await site.ada.post("/admin/webhooks", json={"url": "https://shop.example/hooks", "events": ["delivery.assigned"]})
    receiver.answers = [500, 200, 404, 200, 200, 503]
    dan = await site.driver("Dan", at_work=True, capacity=9)
    for _ in range(4):
        await site.assignment(dan)
    await receiver.messages(16)
    await receiver.stop()
    for _ in range(3):
        await site.delivery(zone="north")
    await until(lambda: not receiver.waiting)
    for place, viewport in (("wide", WIDE), ("phone", PHONE)):
        ada = await people(site.node, "Ada", "admin", viewport=viewport)
        for name, path in (("webhooks", "/webhooks"), ("webhook", f"/webhooks/{made.json()['id']}")):
            page = await ada.open(path)
            await expect(page.locator("#badge")).to_contain_text("Live")
            await check_in_both_themes(page, f"{name} {place}", f"{name}-{place}", full_page=True)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    vic = await people(site.node, "Vic", "viewer")
    page = await vic.open(f"/webhooks/{made.json()['id']}")
    await expect(page.get_by_role("button", name="Send a test")).to_have_count(0)
    await expect(page.locator("[data-hand]:visible")).to_have_count(0)
    await check_accessible(page, "webhook-viewer")
    await receiver.start()
