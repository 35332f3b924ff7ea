"""Day one: from `serve` on an empty folder to the first delivered order, with a stopwatch that counts clicks too.

`pytest tests/browser/test_day_one.py -s` prints them.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Geolocation, Locator, Page, expect

from tests.browser.phone import COUNT_TAKEN, tap
from tests.conftest import short_folder
from tests.process import Process
from tests.spreadsheets import excel_windows
from tests.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent.parent
DRIVERS = [
    ["name", "phone", "vehicle"],
    ["Jörg Müller", "+49 30 901820", "Fahrrad"],
    ["Ana Sá", "+49 30 901821", "Roller"],
]
TORSTRASSE: Geolocation = {"latitude": 52.5297, "longitude": 13.4013, "accuracy": 150}
"""Too inexact for the phone to ask whether the driver is at the store: nobody drives in this test."""


LONG_OFFERS = """async () => {
  const { body } = await callboard.send("GET", "/admin/policy");
  return (await callboard.send("PUT", "/admin/policy", { ...body, offerTimeoutSeconds: 600 })).status;
}"""
"""Offers stay open for as long as a busy machine needs: how fast it is, is no part of the test."""


class Stopwatch:
    """Counts clicks and fields, and the seconds since the server was started."""

    def __init__(self) -> None:
        self.clicks = 0
        self.fields = 0
        self.began = time.monotonic()
        self.lines: list[str] = []

    async def click(self, target: Locator) -> None:
        await target.click()
        self.clicks += 1

    async def tap(self, target: Locator) -> None:
        await tap(target)
        self.clicks += 1

    async def fill(self, target: Locator, text: str) -> None:
        await target.fill(text)
        self.fields += 1

    def lap(self, what: str) -> None:
        seconds = time.monotonic() - self.began
        self.lines.append(f"{seconds:6.1f} s  {self.clicks:3} clicks  {self.fields:3} fields  {what}")


@pytest.fixture
def server() -> Iterator[Process]:
    """`serve` with its own PostgreSQL and Valkey in an empty folder."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    with short_folder() as folder:
        data = {"PYTHONPATH": str(ROOT), "CALLBOARD_DATA": str(folder / "data")}
        process = Process(("serve", "--port", "0"), bare | data, folder)
        yield process
        process.close()


async def test_from_an_empty_folder_to_the_first_delivered_order(
    server: Process, chromium: Browser, tmp_path: Path
) -> None:
    watch = Stopwatch()
    url = await server.ready()
    found = re.search(r"password ([0-9a-f-]+)", server.err)
    assert found is not None, server.err
    watch.lap("the server is ready")

    desk = await chromium.new_context(viewport={"width": 1280, "height": 900}, timezone_id="Europe/Berlin")
    page = await desk.new_page()
    await page.goto(url)
    await watch.fill(page.get_by_label("Name"), "admin")
    await watch.fill(page.get_by_label("Password"), found.group(1))
    await watch.click(page.get_by_role("button", name="Log in"))
    await expect(page.get_by_role("heading", name="Set up")).to_be_visible()
    watch.lap("logged in, with the checklist on the empty board")
    assert await page.evaluate(LONG_OFFERS) == 200

    await expect(page.get_by_label("Time zone")).to_have_value("Europe/Berlin")
    await watch.click(page.locator("form", has=page.locator("#time_zone")).get_by_role("button", name="Save"))
    await expect(page.get_by_text("Times on all screens are in Europe/Berlin.")).to_be_visible()
    await watch.fill(page.get_by_label("Name of the company"), "Trattoria Roma")
    await watch.click(page.locator("form", has=page.locator("#company_name")).get_by_role("button", name="Save"))
    await expect(page.locator(".brand")).to_have_text("Trattoria Roma")
    watch.lap("time zone and company")

    file = tmp_path / "fahrer.csv"
    file.write_bytes(excel_windows(DRIVERS))
    await watch.click(page.get_by_role("main").get_by_role("link", name="Import"))
    await page.get_by_label("File", exact=True).set_input_files(file)
    watch.fields += 1
    await watch.click(page.get_by_role("button", name="Preview"))
    await expect(page.get_by_text("Jörg Müller")).to_be_visible()
    await watch.click(page.locator("[data-import]"))
    watch.lap("the drivers of a CSV file are imported")

    await watch.click(page.get_by_role("link", name="Invite drivers"))
    await watch.click(page.get_by_role("button", name="Invite the ticked drivers"))
    await expect(page.locator(".strip figure svg")).to_have_count(2)
    link = await page.get_by_label("Link Jörg Müller").input_value()
    watch.lap("the invitations are on the screen, as codes and links")

    phone = await chromium.new_context(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True,
        geolocation=TORSTRASSE, permissions=["geolocation"], locale="en-GB",
    )  # fmt: skip
    await phone.add_init_script(COUNT_TAKEN)
    drivers = await phone.new_page()
    await drivers.goto(link)
    await watch.tap(drivers.get_by_role("button", name="Start shift"))
    await expect(drivers.locator("#line")).to_have_text("Online")
    watch.lap("the driver is signed in")

    await _order(page, url, watch)
    offer = drivers.get_by_role("alertdialog")
    await expect(offer).to_be_visible()
    await watch.tap(offer.get_by_role("button", name="Accept"))
    await watch.tap(drivers.get_by_role("button", name="Picked up", exact=True))
    await watch.tap(drivers.get_by_role("button", name="Delivered", exact=True))
    await expect(page.locator("[data-status=DELIVERED]")).to_be_visible()
    watch.lap("the order is delivered")
    print("", *watch.lines, sep="\n")
    assert watch.clicks <= 25
    assert await server.end() == 0


async def _order(page: Page, url: str, watch: Stopwatch) -> None:
    """The test order of the checklist; its page stays open."""
    await page.goto(f"{url}/start")
    button = page.get_by_role("button", name="Place a test order")

    async def placed() -> bool:
        async with page.expect_navigation():
            await button.click()
        return "/board/deliveries/" in page.url

    await until(placed)  # the phone may not have sent its first position yet
    watch.clicks += 1
    watch.lap("the test order is placed")
