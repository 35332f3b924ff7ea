"""A driver proves a handover with a picture from the phone; ops find it on the page of the order."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import People, check_accessible, shoot
from tests.browser.phone import phone
from tests.test_images import an_image
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def test_a_required_photo_is_sent_from_the_phone(chromium: Browser, site: Site, people: People) -> None:
    dan = await site.driver("Dan")
    bea = await people(site.node, "bea", "ops")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        delivery = await site.delivery(proofRequired=["photo"])
        await dans.press("Accept")
        photo = dans.page.get_by_label("Photo")
        await expect(photo).to_be_hidden()
        await dans.press("Picked up")
        await expect(photo).to_be_visible()
        await expect(dans.page.get_by_label("Picture of the signature")).to_be_hidden()
        await check_accessible(dans.page, "driver-proof")
        await shoot(dans.page, "driver-proof")
        wrong = {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}
        async with dans.page.expect_response("**/proofs?*") as refused:
            await photo.set_input_files(wrong)  # type: ignore[arg-type]
        assert (await refused.value).status == 415
        notices = dans.page.locator("#notices")
        await expect(notices).to_contain_text("The picture was not sent. Try again.")
        picture = {"name": "door.jpg", "mimeType": "image/jpeg", "buffer": an_image()}
        await photo.set_input_files(picture)  # type: ignore[arg-type]
        await expect(notices).to_contain_text("The picture is sent.")
        board = await bea.open(f"/board/deliveries/{delivery['id']}")
        await shoot(board, "board-proof")
        async with board.expect_download() as download:
            await board.get_by_role("link", name="Photo").click()
        assert (await download.value).suggested_filename == "photo.jpg"
        dans.owner.complaints = [said for said in dans.owner.complaints if "415" not in said]
