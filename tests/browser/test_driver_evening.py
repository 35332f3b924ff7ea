"""A whole evening on one phone: its clock is wrong, its network goes at every step, its page is killed, opened twice,
and replaced by another phone. What the driver did is at the server once and in order.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from server.dispatch import driver_actions
from tests.browser.conftest import People, shoot
from tests.browser.phone import HERE, Phone, phone, tap
from tests.browser.test_driver_page import invitation
from tests.browser.test_driver_thumbs import accepted, button, kept, nothing_kept, status
from tests.browser.test_driver_troubles import choose, sign
from tests.test_images import an_image
from tests.waiting import until
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SLOW_CLOCK = """
const Real = Date;
globalThis.slept = location.pathname.endsWith("/driver") ? Number(localStorage.getItem("slept")) : 0;
globalThis.Date = class extends Real {
  constructor(...parts) { parts.length ? super(...parts) : super(Date.now()); }
  static now() { return Real.now() - 7 * 60_000 + slept; }
};
"""
"""The phone's clock is seven minutes slow."""

DONE = (
    "delivery.arrived",
    "delivery.picked_up",
    "delivery.proof_added",
    "delivery.returning",
    "delivery.returned",
    "delivery.delivered",
    "delivery.late_report",
)


async def events(site: Site, delivery: dict[str, Any]) -> list[str]:
    """What a driver did about it, in order."""
    timeline = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    return [event["type"] for event in timeline if event["type"] in DONE]


async def cut(on: Phone) -> None:
    await on.context.set_offline(True)
    await expect(on.line).to_have_text("Offline")


async def restored(on: Phone) -> None:
    """The network is back, and all that was saved has been sent."""
    await on.context.set_offline(False)
    await on.online()
    await until(lambda: nothing_kept(on.page))


async def sleeps(on: Phone) -> None:
    """A minute goes by on the phone."""
    await on.page.evaluate("localStorage.setItem('slept', slept += 60_000)")


async def killed_and_opened(on: Phone) -> None:
    await on.page.close()
    on.page = await on.owner.open(f"/driver?{HERE}")
    await on.page.locator("#name").click()  # only a page that was tapped may vibrate
    await expect(on.line).to_have_text("Offline")


async def saved(on: Phone, *types: str) -> None:
    async def are() -> bool:
        return [one["type"] for one in await kept(on.page)] == list(types)

    await until(are)


@pytest.mark.slow
async def test_an_evening_with_a_bad_network_is_reported_once_and_in_order(
    chromium: Browser, site: Site, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_actions, "OFFLINE_AFTER", timedelta(0))  # the evening has no time for half a minute
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, path=await invitation(site, dan), started=False) as dans:
        dans.owner.network_may_fail = True
        await dans.context.add_init_script(SLOW_CLOCK)
        await dans.page.reload()
        await dans.press("Start shift")
        await dans.online()
        await dans.page.evaluate("navigator.serviceWorker.ready")

        # A job with all proofs: no network at any step.
        first = await accepted(dans, site, proofRequired=["photo", "signature", "pin"], pin="4711")
        card = dans.page.get_by_role("article")
        await cut(dans)
        await dans.press("I am at the store")
        await saved(dans, "arrived")
        await restored(dans)
        await cut(dans)
        before = datetime.now(UTC)
        await dans.press("Picked up")
        await saved(dans, "picked_up")
        await killed_and_opened(dans)
        card = dans.page.get_by_role("article")
        await expect(card).to_contain_text("Picked up. Saved, not sent yet")
        await dans.press("I am at the customer")
        await saved(dans, "picked_up", "arrived")
        await restored(dans)
        shown = (await site.shop.get(f"/deliveries/{first['id']}")).json()
        picked_up_at, arrived_at = shown["assignment"]["pickedUpAt"], shown["arrivedAt"]["dropoff"]
        assert before <= datetime.fromisoformat(picked_up_at) <= datetime.fromisoformat(arrived_at)
        await cut(dans)
        handover = dans.page.get_by_role("dialog", name="Handover")
        async with dans.page.expect_file_chooser() as camera:
            await dans.press("Delivered")
        await (await camera.value).set_files({"name": "d.jpg", "mimeType": "image/jpeg", "buffer": an_image()})
        await expect(handover).to_contain_text("The photo is taken.")
        await sign(dans)
        await expect(handover).to_contain_text("Without a network the PIN is checked later.")
        await handover.get_by_label("four digits").fill("0000")
        await tap(handover.get_by_role("button", name="Delivered", exact=True))
        await saved(dans, "proof", "proof", "completed")
        await killed_and_opened(dans)
        await saved(dans, "proof", "proof", "completed")
        await sleeps(dans)
        await restored(dans)
        assert await status(site, first) == "DELIVERED", "the goods were handed over"
        assert await events(site, first) == [
            "delivery.arrived", "delivery.picked_up", "delivery.arrived",
            "delivery.proof_added", "delivery.proof_added", "delivery.delivered",
        ]  # fmt: skip

        page = await (await people(site.node, "bea", "ops")).open(f"/board/deliveries/{first['id']}")
        await expect(page.get_by_text("wrong, typed without a network")).to_be_visible()
        await shoot(page, "board-wrong-pin")
        await page.close()

        # A job that comes back, in two tabs.
        second = await accepted(dans, site, storeName="Sushi Mori", picked_up=True)
        older = dans.page
        dans.page = await dans.owner.open(f"/driver?{HERE}")
        await dans.page.locator("#name").click()
        await dans.online()
        await expect(older.get_by_role("heading", name="Callboard is open in another tab")).to_be_visible()
        await cut(dans)
        await dans.press("Could not deliver")
        await choose(dans, "Report it", "Refused", "I bring them back to the store")
        await saved(dans, "failed")
        await dans.page.close()
        dans.page = older  # it takes over by itself, with what the other one has left
        await expect(dans.page.get_by_role("article")).to_contain_text("Could not deliver. Saved, not sent yet")
        await restored(dans)
        await dans.page.bring_to_front()
        await cut(dans)
        await dans.press("Returned to the store")
        await saved(dans, "completed")
        await dans.context.set_offline(False)
        await dans.online()
        await sleeps(dans)
        await until(lambda: nothing_kept(dans.page))
        assert await status(site, second) == "RETURNED"
        assert await events(site, second) == ["delivery.picked_up", "delivery.returning", "delivery.returned"]

        # A job that the driver goes on with on another phone, while the first one has no network.
        third = await accepted(dans, site, storeName="Pizza Roma")
        await cut(dans)
        await dans.press("Picked up")
        await saved(dans, "picked_up")
        async with phone(chromium, site, dan, path=await invitation(site, dan)) as other:
            other.owner.network_may_fail = True
            await expect(other.page.get_by_role("heading", name="Another phone is signed in as you")).to_be_visible()
            await other.press("Use this phone")
            await other.online()
            await other.press("Picked up")
            await other.press("Delivered")
            await until(lambda: is_over(site, third))
            await dans.context.set_offline(False)
            await expect(dans.page.get_by_role("heading", name="Another phone is signed in as you")).to_be_visible()
            await until(lambda: nothing_kept(dans.page))
            await dans.press("Use this phone")
            await expect(other.page.get_by_role("heading", name="Another phone is signed in as you")).to_be_visible()
            await shoot(dans.page, "driver-evening-late-light")
        assert await events(site, third) == ["delivery.picked_up", "delivery.delivered"], "the first phone adds nothing"
        await expect(dans.page.get_by_role("article")).to_have_count(0)
        await tap(button(dans, "End shift"))
        await tap(dans.page.locator("#leave").get_by_role("button", name="End shift"))
        await dans.shows("shift_ended")


async def is_over(site: Site, delivery: dict[str, Any]) -> bool:
    return await status(site, delivery) == "DELIVERED"
