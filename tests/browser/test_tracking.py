"""The customer's tracking page in a real browser: live, without a script, in both themes; and its link to copy."""

import pytest
from playwright.async_api import Browser, expect

from server.board import tracking
from tests.browser.conftest import SCREENS, THEMES, People, Person, check_accessible, offer_lasts
from tests.conftest import StartNode
from tests.waiting import until
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PUBLIC = "https://dispatch.example"
TEXTS = """(button) => {
  globalThis.texts = [];
  new MutationObserver(() => texts.push(button.textContent)).observe(button, { childList: true });
}"""
"""All that a button says from now on: some of it only for a moment."""


async def test_a_customer_watches_their_order(
    node: StartNode, chromium: Browser, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "LOOK_SECONDS", 0.1)
    site = Site(await node(public_url=PUBLIC))
    await offer_lasts(site, 600)
    dan = await site.driver("Dan Quill", at_work=True)
    delivery = await site.delivery(proofRequired=["pin"], pin="4711")
    path = delivery["trackingUrl"].removeprefix(PUBLIC)
    zoe = Person("Zoe", "viewer", await chromium.new_context(viewport={"width": 390, "height": 844}), site.node.url)
    page = await zoe.open(path)
    heading = page.get_by_role("heading", level=1)
    await expect(heading).to_have_text("Your order was received")
    tracker = site.node.app.state.node.tracker
    await until(lambda: tracker.open_pages == 1)
    offer = await dan.offer()
    assignment = (await dan.post(f"/offers/{offer['id']}/accept")).json()["assignment"]
    await expect(heading).to_have_text("A driver collects your order")
    await expect(page.get_by_role("status")).to_have_text("A driver collects your order")
    await dan.post(f"/assignments/{assignment['id']}/pickup")
    await expect(page.locator(".driver")).to_contain_text("Dan")
    await expect(page.locator(".pin")).to_contain_text("4711")
    for theme in THEMES:
        await page.emulate_media(color_scheme=theme)
        await check_accessible(page, f"tracking-{theme}")
        await page.screenshot(path=SCREENS / f"tracking-phone-{theme}.png", full_page=True)
    olga = await people(site.node, "Olga", "ops")
    await olga.context.grant_permissions(["clipboard-read", "clipboard-write"])
    board = await olga.open(f"/board/deliveries/{delivery['id']}")
    copy = board.locator("[data-tracking] button")
    await copy.evaluate(TEXTS)
    await copy.click()
    await until(lambda: board.evaluate("texts.includes('Copied')"))
    assert await board.evaluate("navigator.clipboard.readText()") == delivery["trackingUrl"]
    await check_accessible(board, "delivery-tracking")
    await board.screenshot(path=SCREENS / "delivery-tracking.png", full_page=True)
    bare = Person("Max", "viewer", await chromium.new_context(java_script_enabled=False, locale="de-DE"), olga.url)
    plain = await bare.open(path)
    await expect(plain.get_by_role("heading", level=1)).to_have_text("Ihre Bestellung ist auf dem Weg zu Ihnen")
    assert await plain.locator("noscript").count() == 1
    await dan.post(f"/assignments/{assignment['id']}/complete", {"proof": {"pin": "4711"}})
    await expect(heading).to_have_text("Your order was delivered")
    await until(lambda: tracker.open_pages == 0)
    await check_accessible(page, "tracking-over")
    await page.screenshot(path=SCREENS / "tracking-over.png", full_page=True)
    await plain.goto(f"{olga.url}/track/nothing")
    await expect(plain.get_by_role("heading", level=1)).to_have_text("Hier gibt es nichts zu sehen")
    zoe.check()
    await site.close()
