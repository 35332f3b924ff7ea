"""Alerts, notices, unassigned orders and tickets in a real browser: live, by keyboard, in both themes, on a phone."""

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import PHONE, WIDE, People, check_accessible, check_in_both_themes, shoot
from tests.notify.test_alerts_live import look, set_alerts
from tests.notify.test_notices import LADDER, wait_for
from tests.waiting import until
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def an_evening(site: Site) -> list[dict[str, Any]]:
    """An offer accepted, one rejected, orders that nobody takes, an open alert and a resolved one; the orders."""
    policy = (await site.ada.get("/admin/policy")).json()
    await site.ada.put("/admin/policy", json=policy | {"escalation": LADDER})
    await site.ada.post("/admin/webhooks", json={"url": "https://shop.example/hooks", "events": ["delivery.assigned"]})
    dan = await site.driver("Dan", at_work=True)
    await site.assignment(dan)
    await set_alerts(site, unassignedCount=0)
    over = await site.delivery(zone="harbour", storeName="Fish & Chips")
    await look(site)
    await site.shop.post(f"/deliveries/{over['id']}/cancel", json={"reason": "closed"})
    await look(site)
    dora = await site.driver("Dora", zone="north", at_work=True)
    waiting = [await site.delivery(zone="north", storeName=f"Sushi No. {number}") for number in range(1, 4)]
    offer = await dora.offer()
    await dora.post(f"/offers/{offer['id']}/reject", {"reason": "too far for a bicycle in the rain"})
    for delivery, seconds in zip(waiting, (40, 130, 1250), strict=True):
        await wait_for(site, delivery, seconds)
    await site.alice.post(
        f"/admin/unassigned-orders/{waiting[1]['id']}/acknowledge", json={"note": "calling Dora, then the store"}
    )
    await look(site)

    async def escalated() -> Any:
        rows = (await site.vic.get("/admin/notices", params={"kind": "delivery.escalated"})).json()["items"]
        return len(rows) >= 4

    await until(escalated)
    return waiting


async def test_an_alert_appears_is_looked_after_and_passes_while_somebody_watches(site: Site, people: People) -> None:
    await set_alerts(site, unassignedCount=0)
    olga = await people(site.node, "Olga", "ops")
    page = await olga.open("/alerts")
    await expect(page.locator("#badge")).to_contain_text("Live")
    await expect(page.get_by_text("No open alerts")).to_be_visible()
    await check_accessible(page, "alerts-empty")
    delivery = await site.delivery(storeName="Sushi Bar")
    await look(site)
    card = page.locator("article.alert")
    await expect(card).to_contain_text("Orders unassigned zone default")
    await expect(card.locator(".number-now")).to_contain_text("1 now · threshold 0")
    await page.keyboard.press("j")
    await expect(card).to_be_focused()
    await page.keyboard.press("c")
    await expect(page.get_by_role("status").filter(has_text="Alert acknowledged by Olga")).to_be_visible()
    await expect(card).to_contain_text("Acknowledged by Olga")
    await page.locator("article.alert").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Orders unassigned")
    await page.get_by_role("link", name="Sushi Bar").click()
    await expect(page).to_have_url(f"{olga.url}/board/deliveries/{delivery['id']}")
    page = await olga.open("/alerts")
    await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "closed"})
    await look(site)
    await expect(page.get_by_text("No open alerts")).to_be_visible()
    await expect(page.locator(".t-past tbody tr")).to_contain_text("Olga")


async def test_an_order_is_taken_on_with_a_note_by_keyboard(site: Site, people: People) -> None:
    delivery = await site.delivery()
    olga = await people(site.node, "Olga", "ops")
    page = await olga.open("/unassigned")
    await page.keyboard.press("j")
    await page.keyboard.press("c")
    note = page.get_by_label("A note for your colleagues")
    await expect(note).to_be_focused()
    await page.keyboard.type("calling Dan")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").filter(has_text="acknowledged")).to_be_visible()
    row = page.locator("tr[data-row]")
    await expect(row.locator(".when time").first).to_have_text(re.compile(r"^0:\d\d$"))
    await expect(row.locator(".ack-of")).to_contain_text("Olga")
    await expect(row.locator(".note-of")).to_have_text("calling Dan")
    page = await olga.open(f"/board/deliveries/{delivery['id']}")
    await expect(page.locator(".facts")).to_contain_text("Olga: calling Dan")


async def test_a_notice_is_seen_and_the_order_lists_its_notices(site: Site, people: People) -> None:
    waiting = await an_evening(site)
    olga = await people(site.node, "Olga", "ops")
    page = await olga.open("/notices")
    await page.locator("select[name=to]").select_option("Ops")
    await expect(page).to_have_url(f"{olga.url}/notices?to=ops&kind=&outcome=&zone=&hours=24")
    rows = page.locator("tr[data-row]", has_text="Sushi No. 1")
    await rows.first.get_by_role("button").click()
    await expect(rows.first).to_contain_text("seen by Olga")
    await expect(rows.first.locator("[data-outcome=received]")).to_be_visible()
    await check_accessible(page, "notices-ops")
    page = await olga.open(f"/board/deliveries/{waiting[0]['id']}")
    await expect(page.locator(".timeline .notified").first).to_be_visible()
    await check_accessible(page, "delivery-notices")
    await shoot(page, "delivery-notices")
    await page.get_by_role("link", name="Notices", exact=True).click()
    await expect(page.locator("tr[data-row]").first).to_be_visible()
    assert "Sushi No. 2" not in await page.locator("#now").inner_text()


@pytest.mark.slow
async def test_they_read_in_both_themes_and_on_a_phone(site: Site, people: People) -> None:
    await an_evening(site)
    alert = (await site.vic.get("/admin/alerts")).json()["items"][0]
    screens = {
        "alerts": "/alerts",
        "alert": f"/alerts/{alert['id']}",
        "notices": "/notices",
        "unassigned": "/unassigned",
        "unassigned-all": "/unassigned?all=1",
        "tickets": "/tickets",
    }
    for place, viewport in (("wide", WIDE), ("phone", PHONE)):
        olga = await people(site.node, "Olga", "ops", viewport=viewport)
        for name, path in screens.items():
            page = await olga.open(path)
            await expect(page.locator("#badge")).to_contain_text("Live")
            await check_in_both_themes(page, f"{name} {place}", f"{name}-{place}", full_page=True)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            await page.close()
    vic = await people(site.node, "Vic", "viewer")
    for name, path in screens.items():
        page = await vic.open(path)
        await expect(page.locator("[data-hand]:visible")).to_have_count(0)
        await check_accessible(page, f"{name}-viewer")
