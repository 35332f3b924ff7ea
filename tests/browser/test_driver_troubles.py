"""What else can happen at a stop: a driver arrives, gives a delivery back, cannot deliver, or brings it back."""

from typing import Any

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.browser.conftest import check_accessible, shoot
from tests.browser.phone import Phone, phone, tap
from tests.browser.test_driver_thumbs import accepted, kept, nothing_kept, status
from tests.test_images import an_image
from tests.waiting import until
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def trouble(on: Phone) -> Locator:
    return on.page.locator("#trouble")


async def choose(on: Phone, end: str, *choices: str) -> None:
    """Choices in the question, and what sends them, which takes no press before."""
    send = trouble(on).get_by_role("button", name=end, exact=True)
    for choice in choices:
        await expect(send).to_be_disabled()
        await tap(trouble(on).get_by_role("button", name=choice, exact=True))
    await tap(send)


async def last(site: Site, delivery: dict[str, Any], kind: str) -> dict[str, Any]:
    async def events() -> list[dict[str, Any]]:
        timeline = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
        return [event for event in timeline if event["type"] == kind]

    found: dict[str, Any] = (await until(events))[-1]
    return found


async def test_a_driver_arrives_and_gives_the_delivery_back(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        delivery = await accepted(dans, site)
        await dans.press("I am at the store")
        card = dans.page.get_by_role("article")
        await expect(card).to_contain_text("Arrived at")
        arrived = await last(site, delivery, "delivery.arrived")
        assert arrived["data"]["where"] == "pickup"
        assert arrived["data"]["actionId"]
        await check_accessible(dans.page, "driver-stop")
        await shoot(dans.page, "driver-stop")
        await dans.press("Give back")
        await check_accessible(dans.page, "driver-give-back")
        await shoot(dans.page, "driver-give-back")
        await trouble(dans).get_by_label("Note").fill("closed since noon")
        await choose(dans, "Give back", "Store is closed")
        await expect(card).to_have_count(0)
        await expect(dans.page.locator("#notices")).to_contain_text("Given back: Trattoria da Enzo.")
        released = (await last(site, delivery, "delivery.released"))["data"]
        assert (released["reason"], released["note"]) == ("shop_closed", "closed since noon")
        await until(lambda: nothing_kept(dans.page))


async def test_what_could_not_be_delivered_comes_back_to_the_store(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        delivery = await accepted(dans, site, picked_up=True)
        card = dans.page.get_by_role("article")
        await dans.press("Could not deliver")
        await tap(trouble(dans).get_by_role("button", name="Back", exact=True))
        await dans.press("Could not deliver")
        await expect(dans.page.locator("[data-settling]")).to_have_count(0)
        await shoot(dans.page, "driver-could-not-deliver")
        await choose(dans, "Report it", "Nobody there", "I bring them back to the store")
        await expect(card).to_contain_text("On the way back to the store")
        await expect(card.locator(".more")).to_be_hidden()
        assert (await last(site, delivery, "delivery.returning"))["data"]["reason"] == "recipient_absent"
        await expect(dans.page.locator("[data-settling]")).to_have_count(0)
        await check_accessible(dans.page, "driver-returning")
        await shoot(dans.page, "driver-returning")
        await dans.press("Returned to the store")
        await expect(card).to_contain_text("Returned. Sent in")
        await expect(card).to_have_count(0, timeout=20_000)
        assert await status(site, delivery) == "RETURNED"


async def test_a_whole_delivery_without_a_network_is_kept_over_a_reload_and_sent_in_order(
    chromium: Browser, site: Site
) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        dans.owner.network_may_fail = True
        await dans.page.evaluate("navigator.serviceWorker.ready")
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        delivery = await accepted(dans, site)
        card = dans.page.get_by_role("article")
        await dans.context.set_offline(True)
        await expect(dans.line).to_have_text("Offline")
        await dans.press("I am at the store")
        await dans.press("Picked up")
        await expect(card).to_contain_text("Picked up. Saved, not sent yet")
        await dans.page.reload()
        await expect(dans.line).to_have_text("Offline")
        await expect(card).to_contain_text("Trattoria da Enzo")
        await expect(card).to_contain_text("Picked up. Saved, not sent yet")
        await check_accessible(dans.page, "driver-offline")
        await shoot(dans.page, "driver-offline")
        await dans.press("I am at the customer")
        await dans.press("Could not deliver")
        await choose(dans, "Report it", "Refused", "I bring them back to the store")
        await expect(card).to_contain_text("Could not deliver. Saved, not sent yet")
        await dans.press("Returned to the store")
        await expect(card).to_contain_text("Saved, not sent yet", timeout=20_000)
        done = [one["type"] for one in await kept(dans.page)]
        assert done == ["arrived", "picked_up", "arrived", "failed", "completed"]
        assert await status(site, delivery) == "ASSIGNED"
        await dans.context.set_offline(False)
        await expect(card).to_have_count(0, timeout=30_000)
        assert await status(site, delivery) == "RETURNED"
        for kind, field in (("delivery.picked_up", "pickup"), ("delivery.returning", "dropoff")):
            event = await last(site, delivery, kind)
            assert event["data"]["actionId"], field
        await until(lambda: nothing_kept(dans.page))
        assert await dans.page.evaluate("localStorage.getItem('callboard.inHand')") is None


async def test_a_handover_asks_for_the_photo_and_the_pin_that_it_needs(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        delivery = await accepted(dans, site, picked_up=True, proofRequired=["photo", "pin"], pin="4711")
        card = dans.page.get_by_role("article")
        asks = dans.page.locator("#pin")
        async with dans.page.expect_file_chooser() as camera:
            await dans.press("Delivered")
        assert not (await camera.value).is_multiple()
        await expect(dans.page.locator("#notices")).to_contain_text("Take a photo of the handover first.")
        for digits, refusal in (
            ("1111", "Take a photo of the handover first."),
            ("1111", "PIN is wrong"),
            ("4711", ""),
        ):
            await dans.press("Delivered")
            await expect(asks).to_be_visible()
            await asks.get_by_label("Four digits").fill(digits)
            await expect(dans.page.locator("[data-settling]")).to_have_count(0)
            await shoot(dans.page, "driver-pin")
            await tap(asks.get_by_role("button", name="Delivered"))
            if refusal:
                urgent = dans.page.locator(".notice[data-kind=urgent]")
                await expect(urgent.last).to_contain_text(refusal, timeout=20_000)
            if "photo" in refusal:
                picture = {"name": "door.jpg", "mimeType": "image/jpeg", "buffer": an_image()}
                await dans.page.get_by_label("Photo").set_input_files(picture)  # type: ignore[arg-type]
                await expect(dans.page.locator("#notices")).to_contain_text("The picture is sent.")
        await expect(card).to_have_count(0, timeout=20_000)
        assert await status(site, delivery) == "DELIVERED"


async def test_what_a_dispatcher_took_away_meanwhile_is_refused_in_words(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        dans.owner.network_may_fail = True
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        delivery = await accepted(dans, site)
        await dans.context.set_offline(True)
        await expect(dans.line).to_have_text("Offline")
        await dans.press("Give back")
        await choose(dans, "Give back", "Too far")
        cancelled = await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "closed"})
        assert cancelled.status_code == 200
        await dans.context.set_offline(False)
        words = "Not accepted for Trattoria da Enzo. This order is closed. If you still have the goods"
        await expect(dans.page.locator("#notices")).to_contain_text(words, timeout=30_000)
        await until(lambda: nothing_kept(dans.page))
