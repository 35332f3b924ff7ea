"""Dispatch and a driver write to each other: on the board and on the phone."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import People, check_accessible, shoot
from tests.browser.phone import phone, tap
from tests.browser.test_driver_thumbs import SIZES, accepted
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def test_dispatch_writes_and_the_driver_answers(chromium: Browser, site: Site, people: People) -> None:
    dan = await site.driver("Dan")
    bea = await people(site.node, "bea", "ops")
    board = await bea.open(f"/board/drivers/{dan.id}")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        await board.get_by_role("button", name="Write a message").click()
        dialog = board.get_by_role("dialog")
        await dialog.get_by_label("Message").fill("The side door is <open>")
        await check_accessible(board, "message")
        await dialog.get_by_role("button", name="Send").click()
        await expect(dialog).to_be_hidden()
        messages = dans.page.locator("#messages")
        await expect(messages.get_by_role("article")).to_contain_text("The side door is <open>")
        await expect(messages.get_by_role("article")).to_contain_text("bea")
        await shoot(dans.page, "driver-message")
        await check_accessible(dans.page, "driver-message")
        await dans.page.reload()
        await dans.online()
        await dans.press("Seen")
        await expect(messages).to_be_hidden()
        lines = board.locator("section", has=board.locator("#h-messages")).get_by_role("listitem")
        await expect(lines).to_contain_text(["seen"])
        await tap(dans.page.get_by_label("Menu"))
        await dans.press("Write to your dispatcher")
        await dans.page.get_by_label("Your message").fill("Thank you")
        await shoot(dans.page, "driver-writes")
        await dans.press("Send")
        await expect(dans.page.locator("#notices")).to_contain_text("Your dispatcher has your message.")
        await expect(lines).to_contain_text(["Thank you", "The side door is <open>"])
        await shoot(board, "board-driver-messages")


async def test_what_dispatch_says_is_in_view_wherever_the_driver_reads(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, viewport=SIZES["320"]) as dans:
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        await accepted(dans, site, notes="Third door in the second yard, then up the stairs at the left")
        end = "scrollTo(0, document.documentElement.scrollHeight)"
        assert await dans.page.evaluate(f"{end}, scrollY") > 0
        said = {"text": "The customer waits at the back door"}
        assert (await site.alice.post(f"/admin/drivers/{dan.id}/messages", json=said)).is_success
        message = dans.page.locator("#messages").get_by_role("article")
        await expect(message).to_be_in_viewport(ratio=1)
        await shoot(dans.page, "driver-message-320")
        await dans.page.evaluate(end)
        paused = {"availability": "paused", "reason": "vehicle check"}
        assert (await site.ada.post(f"/admin/drivers/{dan.id}/availability", json=paused)).is_success
        await expect(dans.page.locator(".notice", has_text="vehicle check")).to_be_in_viewport(ratio=1)


LOST = """
const send = WebSocket.prototype.send;
let lost = false;
WebSocket.prototype.send = function (text) {
  send.call(this, text);
  if (lost || JSON.parse(text).type !== "say") return;
  lost = true;
  this.onmessage = null;
  this.close();
};
"""
"""The first answer to what the driver writes is lost, with the connection."""


async def test_words_that_are_sent_again_after_a_lost_answer_are_one_message(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.page.add_init_script(LOST)
        await dans.page.reload()
        notices = dans.page.locator("#notices")
        for words in ("The shop is closed", None):
            await dans.online()
            await tap(dans.page.get_by_label("Menu"))
            await dans.press("Write to your dispatcher")
            field = dans.page.get_by_label("Your message")
            if words is not None:
                await field.fill(words)
            else:
                await expect(field).to_have_value("The shop is closed")
            await dans.press("Send")
            await expect(notices).to_contain_text("Not sent" if words else "Your dispatcher has your message.")
        items = (await site.alice.get(f"/admin/drivers/{dan.id}/messages")).json()["items"]
        assert [item["text"] for item in items] == ["The shop is closed"]
