"""What else can happen at a stop: a driver arrives, gives a delivery back, cannot deliver, or brings it back."""

import io
from typing import Any

import pytest
from PIL import Image
from playwright.async_api import Browser, Locator, Route, expect

from server.images.encoding import type_of
from tests.browser.conftest import LONG_SECONDS, People, check_accessible, offer_lasts, shoot
from tests.browser.phone import HERE, Phone, phone, tap
from tests.browser.stopped_clock import pass_time, stop_clock
from tests.browser.test_driver_page import device_token_on, invitation
from tests.browser.test_driver_thumbs import FREEZE, SIZES, accepted, button, kept, nothing_kept, status, tap_after
from tests.conftest import StartNode
from tests.driver_app import token
from tests.test_images import SECRET, an_image, with_exif
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
        await expect(dans.page.locator("#notices")).to_contain_text("Given back: Trattoria da Enzo")
        released = (await last(site, delivery, "delivery.released"))["data"]
        assert (released["reason"], released["note"]) == ("shop_closed", "closed since noon")
        await until(lambda: nothing_kept(dans.page))


async def test_a_press_that_came_too_early_is_said_in_the_question(chromium: Browser, site: Site) -> None:
    """A button that a choice has just opened takes no press: nobody wonders why the question is still there."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, viewport=SIZES["320"]) as dans:
        await stop_clock(dans)
        delivery = await accepted(dans, site)
        await tap_after(dans, button(dans, "Give back"))
        await pass_time(dans, 700)
        send = trouble(dans).get_by_role("button", name="Give back", exact=True)
        await trouble(dans).get_by_role("button", name="Store is closed", exact=True).click()
        before = await send.bounding_box()
        await send.click()
        said = trouble(dans).get_by_role("alert")
        await expect(said).to_have_text("This button is new. Press it again.")
        await expect(said).to_be_in_viewport(ratio=1)
        assert await send.bounding_box() == before
        await pass_time(dans, 700)
        await send.click()
        await expect(trouble(dans)).to_be_hidden()
        await expect(said).to_have_count(0)
        await pass_time(dans, 700)
        await last(site, delivery, "delivery.released")


async def test_what_could_not_be_delivered_comes_back_to_the_store(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.page.add_init_script(FREEZE)
        await dans.page.reload()
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
        await dans.page.evaluate("freeze(0)")
        await dans.press("Returned to the store")
        await expect(card).to_contain_text("Returned. Sent in")
        await dans.page.evaluate("freeze(null)")
        await expect(card).to_have_count(0)
        assert await status(site, delivery) == "RETURNED"


SIGNS = """
globalThis.signs = [];
new MutationObserver(() => {
  const sign = document.querySelector("#sign");
  if (sign && sign.checkVisibility()) signs.push(sign.dataset.state);
}).observe(document, { subtree: true, childList: true, attributes: true });
"""
"""Everything that the sign has said since the page was loaded."""


async def test_a_whole_delivery_without_a_network_is_kept_when_the_page_is_killed_and_the_token_expires(
    chromium: Browser, site: Site
) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, path=await invitation(site, dan)) as dans:
        dans.owner.network_may_fail = True
        await dans.online()
        await dans.page.evaluate("navigator.serviceWorker.ready")
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        delivery = await accepted(dans, site)
        card = dans.page.get_by_role("article")
        await dans.context.set_offline(True)
        await expect(dans.line).to_have_text("Offline")
        await dans.press("I am at the store")
        await dans.press("Picked up")
        await expect(card).to_contain_text("Picked up. Saved, not sent yet")
        expired = token("driver", dan.id, seconds=-60)
        await dans.page.evaluate("(expired) => localStorage.setItem('callboard.driver.token', expired)", expired)
        before = await device_token_on(dans)
        await dans.page.close()
        await dans.context.add_init_script(SIGNS)
        dans.page = await dans.owner.open(f"/driver?{HERE}")
        await dans.page.locator("#name").click()
        card = dans.page.get_by_role("article")
        await expect(dans.line).to_have_text("Offline")
        assert {"unreachable"} <= set(await dans.page.evaluate("signs")) <= {"offline", "connecting", "unreachable"}
        await expect(card).to_contain_text("Trattoria da Enzo")
        await expect(card).to_contain_text("Picked up. Saved, not sent yet")
        await check_accessible(dans.page, "driver-offline")
        await shoot(dans.page, "driver-offline")
        await dans.press("I am at the customer")
        await dans.press("Could not deliver")
        await choose(dans, "Report it", "Refused", "I bring them back to the store")
        await expect(card).to_contain_text("Could not deliver. Saved, not sent yet")
        await dans.press("Returned to the store")
        await expect(card).to_contain_text("Saved, not sent yet")
        done = [one["type"] for one in await kept(dans.page)]
        assert done == ["arrived", "picked_up", "arrived", "failed", "completed"]
        assert await status(site, delivery) == "ASSIGNED"
        await dans.context.set_offline(False)
        await expect(card).to_have_count(0, timeout=30_000)
        assert await status(site, delivery) == "RETURNED"
        assert await device_token_on(dans) != before, "it was renewed"
        for kind, field in (("delivery.picked_up", "pickup"), ("delivery.returning", "dropoff")):
            event = await last(site, delivery, kind)
            assert event["data"]["actionId"], field
        await until(lambda: nothing_kept(dans.page))
        assert await dans.page.evaluate("localStorage.getItem('callboard.inHand')") is None


UNDER_THE_BUTTONS = """() => {
  const ends = document.querySelector("#handover .ends").getBoundingClientRect().top;
  return Math.max(0, document.activeElement.getBoundingClientRect().bottom - ends);
}"""
"""How much of the field that is typed in lies under the buttons, in px."""


async def sign(on: Phone) -> None:
    """With a finger on the pad."""
    box = await on.page.locator("#handover-signature canvas").bounding_box()
    assert box is not None
    await on.page.mouse.move(box["x"] + 20, box["y"] + 40)
    await on.page.mouse.down()
    for step in range(1, 6):
        await on.page.mouse.move(box["x"] + 20 + 30 * step, box["y"] + (80 if step % 2 else 40))
    await on.page.mouse.up()


async def test_a_handover_is_proven_without_a_network_and_sent_in_order(
    chromium: Browser, site: Site, people: People
) -> None:
    dan = await site.driver("Dan")
    bea = await people(site.node, "bea", "ops")
    async with phone(chromium, site, dan, viewport=SIZES["320"]) as dans:
        dans.owner.network_may_fail = True
        await dans.page.evaluate("navigator.serviceWorker.ready")
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        wanted = {"proofRequired": ["photo", "signature", "pin"], "pin": "4711"}
        delivery = await accepted(dans, site, picked_up=True, **wanted)
        card = dans.page.get_by_role("article")
        handover = dans.page.get_by_role("dialog", name="Handover")
        send = handover.get_by_role("button", name="Delivered", exact=True)
        await expect(card.locator(".proofs")).to_have_text("At the handover: photo, signature, PIN")
        await dans.context.set_offline(True)
        await expect(dans.line).to_have_text("Offline")

        async with dans.page.expect_file_chooser() as camera:
            await dans.press("Delivered")
        await (await camera.value).set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
        await expect(handover.get_by_role("alert")).to_contain_text("The picture cannot be read.")
        await expect(send).to_be_disabled()
        taken = {"name": "door.jpg", "mimeType": "image/jpeg", "buffer": with_exif(orientation=6)}
        await handover.get_by_label("Take a photo").set_input_files(taken)  # type: ignore[arg-type]
        await expect(handover).to_contain_text("The photo is taken.")
        await sign(dans)
        await handover.get_by_role("button", name="Clear the signature").click()
        await handover.get_by_label("four digits").fill("471")
        await sign(dans)
        await handover.get_by_label("Name of the recipient").fill("Anna Weber")
        await expect(send).to_be_disabled()
        await handover.get_by_label("four digits").fill("4711")
        await handover.get_by_label("four digits").focus()
        assert await dans.page.evaluate(UNDER_THE_BUTTONS) == 0
        await expect(dans.page.locator("[data-settling]")).to_have_count(0)
        for size in ("320", "390", "side"):
            await dans.page.set_viewport_size(SIZES[size])
            await shoot(dans.page, f"driver-handover-{size}")
        await check_accessible(dans.page, "driver-handover")
        await dans.page.set_viewport_size(SIZES["320"])
        # Phones end a page in the background, as when the camera is open. Nobody signs twice.
        await dans.page.reload()
        await dans.press("Delivered")
        await expect(handover).to_contain_text("The photo is taken.")
        await expect(handover.get_by_label("Name of the recipient")).to_have_value("Anna Weber")
        await expect(handover.get_by_label("four digits")).to_have_value("")
        assert "4711" not in await dans.page.evaluate("localStorage.getItem('callboard.driver.handover')")
        await handover.get_by_label("four digits").fill("4711")
        await tap(send)
        await expect(card).to_contain_text("Saved, not sent yet")
        assert await dans.page.evaluate("localStorage.getItem('callboard.driver.handover')") is None
        waiting = await kept(dans.page)
        assert [(one["type"], one.get("kind")) for one in waiting] == [
            ("proof", "photo"), ("proof", "signature"), ("completed", None)
        ]  # fmt: skip
        await dans.page.reload()
        await expect(card.locator(".proofs")).to_contain_text("photo (saved, not sent yet)")

        uploads: list[bytes] = []

        async def keep_bytes(route: Route) -> None:
            uploads.append(route.request.post_data_buffer or b"")
            await route.continue_()

        await dans.page.route("**/proofs?*", keep_bytes)
        await dans.context.set_offline(False)
        await expect(card).to_have_count(0, timeout=30_000)
        assert await status(site, delivery) == "DELIVERED"
        assert [type_of(sent) for sent in uploads] == ["image/jpeg", "image/png"]
        assert not any(SECRET in sent or b"Exif" in sent for sent in uploads), "the phone removes the metadata"
        timeline = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
        order = [event["type"] for event in timeline if event["type"] in ("delivery.proof_added", "delivery.delivered")]
        assert order == ["delivery.proof_added", "delivery.proof_added", "delivery.delivered"]
        proven = (await site.shop.get(f"/deliveries/{delivery['id']}")).json()["proofs"]
        assert [proof["kind"] for proof in proven] == ["photo", "signature"]
        board = await bea.open(f"/board/deliveries/{delivery['id']}")
        for name, kind in (("Photo", "JPEG"), ("Signature", "PNG")):
            async with board.expect_download() as download:
                await board.get_by_role("link", name=name).click()
            saved = Image.open(io.BytesIO((await (await download.value).path()).read_bytes()))
            assert saved.format == kind
            assert not saved.getexif()
            if kind == "JPEG":
                assert saved.width < saved.height, "upright"
            else:
                assert saved.convert("L").getextrema() == (0, 255), "black on white"
        await expect(board.locator("div", has_text="Received by").last).to_contain_text("Anna Weber")
        await shoot(board, "board-proof")
        await until(lambda: nothing_kept(dans.page))


async def test_a_wrong_pin_is_asked_for_again_and_not_the_photo(chromium: Browser, site: Site) -> None:
    """Nor the signature, which an offer that came in between does not undo."""
    dan = await site.driver("Dan", capacity=2)
    async with phone(chromium, site, dan) as dans:
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        delivery = await accepted(dans, site, picked_up=True, proofRequired=["photo", "signature", "pin"], pin="4711")
        card = dans.page.get_by_role("article")
        handover = dans.page.get_by_role("dialog", name="Handover")
        async with dans.page.expect_file_chooser() as camera:
            await dans.press("Delivered")
        await (await camera.value).set_files({"name": "d.jpg", "mimeType": "image/jpeg", "buffer": an_image()})
        await expect(card.locator(".proofs")).to_have_text("At the handover: photo (sent), signature, PIN")
        await sign(dans)
        await handover.get_by_label("Name of the recipient").fill("Anna Weber")
        other = await site.delivery(storeName="Sushi Mori")
        await expect(dans.offer).to_be_visible()
        await expect(handover).to_be_hidden()
        assert (await site.alice.post(f"/deliveries/{other['id']}/cancel", json={"reason": "sold out"})).is_success
        await expect(dans.offer).to_be_hidden()
        await dans.press("Delivered")
        await expect(handover.get_by_label("Name of the recipient")).to_have_value("Anna Weber")
        await expect(handover.get_by_role("button", name="Clear the signature")).to_be_visible()
        dans.owner.network_may_fail = True  # a refusal is one for the console, too
        wrong = dans.page.locator("#pin-wrong")
        for digits in ("1111", "4711"):
            await expect(handover).to_contain_text("The photo is taken.")
            await handover.get_by_label("four digits").fill(digits)
            await expect(wrong).to_be_hidden()
            await tap(handover.get_by_role("button", name="Delivered", exact=True))
            if digits == "1111":
                await expect(wrong).to_have_text("The PIN is wrong. Ask the customer again.")
                assert await kept(dans.page) == [], "said before the time to undo begins"
                await check_accessible(dans.page, "driver-wrong-pin")
                await shoot(dans.page, "driver-wrong-pin")
        await expect(handover).to_be_hidden()
        await expect(card).to_have_count(0)
        assert await status(site, delivery) == "DELIVERED"
        await until(lambda: dans.page.evaluate("localStorage.getItem('callboard.proofs') === '{}'"))


async def test_what_was_refused_is_said_at_its_delivery_also_after_a_reload(chromium: Browser, site: Site) -> None:
    """Dan gives the order back without a network, while ops report its pickup for him."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, viewport=SIZES["320"]) as dans:
        dans.owner.network_may_fail = True
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        delivery = await accepted(dans, site)
        await dans.context.set_offline(True)
        await expect(dans.line).to_have_text("Offline")
        await dans.press("Give back")
        await choose(dans, "Give back", "Store is closed")
        done = f"/admin/assignments/{delivery['assignment']['id']}/pickup"
        assert (await site.alice.post(done, json={"reason": "Dan called"})).is_success
        # Once the order is saved the page scrolls to it.
        await expect(dans.page.get_by_role("article")).to_contain_text("Saved, not sent yet")
        down = "scrollTo(0, document.documentElement.scrollHeight), scrollY"
        assert await dans.page.evaluate(down) > 100
        await dans.context.set_offline(False)
        refusal = dans.page.locator(".job .refusal")
        number = delivery["sellerOrderId"]
        words = f"Not accepted for Trattoria da Enzo ({number}). The order is already picked up."
        await expect(refusal).to_have_text(words)
        await expect(refusal).to_be_in_viewport(ratio=1)
        await dans.page.reload()
        await dans.online()
        await expect(refusal).to_have_text(words)
        await shoot(dans.page, "driver-refused-light")
        await dans.press("I am at the customer")
        await expect(refusal).to_be_hidden()
        await expect(dans.page.get_by_role("article")).to_contain_text("Arrived at")  # it is kept
        await dans.page.reload()
        await dans.online()
        await expect(dans.page.get_by_role("article")).to_contain_text("Arrived at")
        await expect(refusal).to_be_hidden()


async def test_a_question_about_a_delivery_closes_with_it(chromium: Browser, site: Site) -> None:
    """Nobody gives back, or hands over, what is no longer theirs."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        for picked_up, press, question in ((False, "Give back", "#trouble"), (True, "Delivered", "#handover")):
            delivery = await accepted(dans, site, picked_up=picked_up, proofRequired=["pin"], pin="4711")
            await dans.press(press)
            await expect(dans.page.locator(question)).to_be_visible()
            cancelled = {"reason": "sold out", "force": True}
            assert (await site.ada.post(f"/deliveries/{delivery['id']}/cancel", json=cancelled)).is_success
            await expect(dans.page.locator(question)).to_be_hidden()
            await expect(dans.page.locator("#notices")).to_contain_text("was cancelled: sold out")


async def test_of_a_job_that_was_taken_away_the_driver_and_ops_learn_what_happened(
    chromium: Browser, node: StartNode, people: People
) -> None:
    """Dan has no network when his delivery is given to Dora: both say that they have the goods."""
    site = Site(await node(dispatch_phone="+49 30 901820"))
    await offer_lasts(site, LONG_SECONDS)
    dan = await site.driver("Dan")
    bea = await people(site.node, "bea", "ops")
    async with phone(chromium, site, dan) as dans:
        dans.owner.network_may_fail = True
        await dans.page.locator("#name").click()  # only a page that was tapped may vibrate
        delivery = await accepted(dans, site, proofRequired=["photo"])
        await dans.context.set_offline(True)
        await expect(dans.line).to_have_text("Offline")
        await dans.press("Picked up")
        async with dans.page.expect_file_chooser() as camera:
            await dans.press("Delivered")
        await (await camera.value).set_files({"name": "d.jpg", "mimeType": "image/jpeg", "buffer": an_image()})
        handover = dans.page.get_by_role("dialog", name="Handover")
        await expect(handover).to_contain_text("The photo is taken.")
        await tap(handover.get_by_role("button", name="Delivered", exact=True))
        await expect(handover).to_be_hidden()
        signing = {"assignmentId": delivery["assignment"]["id"], "strokes": [], "name": "Anna Weber"}
        await dans.page.evaluate("(d) => localStorage.setItem('callboard.driver.handover', JSON.stringify(d))", signing)
        dora = await site.driver("Dora", at_work=True)
        given = {"reason": "Dan is gone", "driverId": dora.id, "mode": "assign"}
        path = f"/admin/assignments/{delivery['assignment']['id']}/reassign"
        moved = await site.alice.post(path, json=given)
        assert moved.status_code == 200, moved.text
        hers = moved.json()["assignment"]["id"]
        assert (await dora.post(f"/assignments/{hers}/pickup")).status_code == 200
        await dans.context.set_offline(False)
        notice = dans.page.locator(".notice[data-kind=urgent]")
        words = "Another driver has this order now. If you have the goods, keep them and call your dispatcher."
        await expect(notice).to_contain_text(words, timeout=30_000)
        await expect(notice.get_by_role("link", name="Call dispatch")).to_have_attribute("href", "tel:+4930901820")
        await until(lambda: nothing_kept(dans.page))
        await until(lambda: dans.page.evaluate("localStorage.getItem('callboard.driver.handover') === null"))
        await expect(notice).to_have_count(1)
        await dans.page.reload()
        await expect(notice).to_contain_text(words)
        await dans.shows("available")
        await expect(dans.page.get_by_role("article")).to_have_count(0)
        await check_accessible(dans.page, "driver-taken-away")
        await shoot(dans.page, "driver-taken-away")
        assert await status(site, delivery) == "PICKED_UP"
        board = await bea.open(f"/board/deliveries/{delivery['id']}")
        lines = board.get_by_role("listitem").filter(has_text="Late report by Dan")
        await expect(lines).to_have_count(3)  # picked up, a photo, delivered
        await expect(board.get_by_role("listitem").filter(has_text="Picked up by Dora")).to_have_count(1)
        await lines.first.scroll_into_view_if_needed()
        await shoot(board, "board-late-reports")
    await site.close()
