"""The screens of orders and drivers in a real browser: by keyboard, in both themes, on a phone."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from server.contract.views import instant
from tests.browser.conftest import SCREENS, THEMES, People, Person, check_accessible, check_in_both_themes, shoot
from tests.conftest import StartNode
from tests.geocoder import serving_places
from tests.spreadsheets import excel
from tests.web.conftest import DROPOFF, Site

EVENING = datetime(2026, 12, 24, 18, 30)  # noqa: DTZ001 - as a person writes it

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def opened_before(person: Person, script: str, path: str) -> tuple[Page, asyncio.Event]:
    """A page whose script has not come yet, and what lets it come."""
    came = asyncio.Event()

    async def late(route: Route) -> None:
        await came.wait()
        await route.continue_()

    await person.context.route(f"**/{script}*.js", late)
    page = await person.context.new_page()
    await page.goto(person.url + path, wait_until="commit")
    return page, came


async def test_a_file_is_written_as_the_browsers_language_writes_lists(site: Site, people: People) -> None:
    await site.delivery(sellerOrderId="A-1", tipCents=720)
    vic = await people(site.node, "Vic", "viewer", locale="de-DE")
    page = await vic.open("/orders")

    async def tip() -> str:
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Save as CSV").click()
        text = (await (await download.value).path()).read_text(encoding="utf-8-sig")
        [found] = [part for part in (";7,2;", ",7.2,") if part in text]
        return found

    assert await tip() == ";7,2;"
    await page.get_by_role("link", name="Change how CSV files are written").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("radio", name="As the language of the browser")).to_be_checked()
    await page.get_by_role("radio", name="As the language of the browser").focus()
    await page.keyboard.press("ArrowUp")
    await expect(page.get_by_role("radio", name="Commas and decimal points")).to_be_checked()
    await check_in_both_themes(page, "account", "account-csv", full_page=True)
    await page.get_by_role("radio", name="Commas and decimal points").press("Enter")
    await expect(page.get_by_role("status")).to_have_text("Saved. It applies in this browser.")
    await page.goto(f"{vic.url}/orders")
    await expect(page.get_by_text("CSV files have commas and decimal points.")).to_be_visible()
    await check_in_both_themes(page, "orders", "orders-csv", full_page=True)
    await page.set_viewport_size({"width": 390, "height": 844})
    await check_in_both_themes(page, "orders", "orders-csv-phone", full_page=True)
    assert await tip() == ",7.2,"


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
        await expect(page).to_have_url(re.compile(f"q={words}"))
        await expect(page.get_by_role("link", name="A-1")).to_be_visible()
        await expect(page.get_by_role("link", name="LATER-1")).to_be_hidden()
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Save as CSV").click()
    assert (await download.value).suggested_filename == "callboard-orders.csv"
    await page.goto(f"{olga.url}/orders")
    page.once("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="Dispatch order LATER-1 now").click()
    await expect(page.get_by_role("status")).to_contain_text("Search finished:")
    await page.set_viewport_size({"width": 390, "height": 844})
    await check_accessible(page, "orders-phone")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await shoot(page, "orders-phone")
    await page.goto(f"{olga.url}/board")
    await expect(page.locator("#badge")).to_contain_text("Live")
    await keys.press("/")
    await keys.type("Anna")
    await keys.press("Enter")
    await expect(page.get_by_role("link", name="A-1")).to_be_visible()


async def test_an_order_is_entered_from_any_screen(site: Site, people: People) -> None:
    dan = await site.driver("Dan", at_work=True)
    anna = DROPOFF | {"name": "Anna Blume", "address": "Kloostri 7", "phone": "+49 151 234567", "notes": "Ring"}
    await site.assignment(dan, sellerOrderId="A-1", storeName="Pizza Roma", dropoff=anna)
    olga = await people(site.node, "Olga", "ops", color_scheme="light", reduced_motion="reduce")
    olga.network_may_fail = True  # an unknown phone is a 404 to the console
    page = await olga.open("/board")
    keys = page.keyboard
    await expect(page.locator("#badge")).to_contain_text("Live")
    await keys.press("n")
    await expect(page.locator("#storeName")).to_be_focused()
    await keys.type("Pizza Roma")
    await keys.press("Tab")
    await expect(page.locator('[id="pickup.at"]')).to_have_value("52.52, 13.405")
    await expect(page.locator('[id="pickup.address"]')).to_have_value("Torstr. 1")
    await page.get_by_label("Phone of the customer").fill("0049151234567")
    await keys.press("Tab")
    await expect(page.get_by_label("Name of the customer")).to_have_value("Anna Blume")
    await expect(page.get_by_label("Position of the customer")).to_have_value("52.53, 13.41")
    await page.get_by_label("Address of the customer").fill("Kloostri 9")
    await page.get_by_role("button", name="Create order").click()
    await expect(page.get_by_role("alert").filter(has_text="its position did not")).to_be_visible()
    await expect(page.get_by_role("checkbox", name="The position is right")).not_to_be_checked()
    await check_accessible(page, "order-form-asked")
    await page.screenshot(path=SCREENS / "order-form-asked.png", full_page=True)
    await page.locator("#pick").click(position={"x": 60, "y": 120})
    await expect(page.get_by_label("Position of the customer")).not_to_have_value("52.53, 13.41")
    for theme in THEMES:
        await page.emulate_media(color_scheme=theme)
        await check_accessible(page, f"order-form-{theme}")
        await page.screenshot(path=SCREENS / f"order-form-{theme}.png", full_page=True)
    await page.set_viewport_size({"width": 390, "height": 844})
    await check_accessible(page, "order-form-phone")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.screenshot(path=SCREENS / "order-form-phone.png", full_page=True)
    await page.get_by_role("button", name="Create order").click()
    await expect(page.get_by_role("status").first).to_contain_text("is created.")
    await page.get_by_role("link", name="Edit").click()
    await page.get_by_label("Note for the driver").fill("Fragile")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#now")).to_contain_text("Fragile")


async def test_who_types_faster_than_the_network_gets_the_known_place_too(site: Site, people: People) -> None:
    """The fields take what is typed before the script of the form is there."""
    await site.delivery(storeName="Pizza Roma")
    olga = await people(site.node, "Olga", "ops")
    page, came = await opened_before(olga, "order-form", "/orders/new")
    await expect(page.locator("#storeName")).to_be_focused()
    await page.keyboard.type("Pizza Roma")
    await page.keyboard.press("Tab")
    await expect(page.locator("#storeName")).not_to_be_focused()
    await expect(page.locator('[id="pickup.at"]')).to_have_value("")
    came.set()
    await expect(page.locator('[id="pickup.at"]')).to_have_value("52.52, 13.405")


@asynccontextmanager
async def finding_places(node: StartNode) -> AsyncIterator[Site]:
    """A node with a geocoder."""
    async with serving_places() as geocoder:
        site = Site(await node(geocoder_url=f"{geocoder.url}/search"))
        try:
            yield site
        finally:
            await site.close()


async def test_a_position_typed_before_the_script_is_there_stays_with_another_address(
    node: StartNode, people: People
) -> None:
    async with finding_places(node) as site:
        made = await site.delivery(pickup={"address": "Torstr. 1"}, dropoff=DROPOFF)
        olga = await people(site.node, "Olga", "ops")
        page, came = await opened_before(olga, "order-form", f"/orders/{made['id']}/edit")
        at = page.locator('[id="pickup.at"]')
        await at.fill("52.6, 13.5")
        came.set()
        await page.wait_for_load_state()
        await page.locator('[id="pickup.address"]').fill("Main St")
        await expect(at).to_have_value("52.6, 13.5")


async def test_a_position_goes_with_its_address(node: StartNode, people: People) -> None:
    async with finding_places(node) as site:
        made = await site.delivery(pickup={"address": "Torstr. 1"}, dropoff=DROPOFF)
        olga = await people(site.node, "Olga", "ops", color_scheme="light", reduced_motion="reduce")
        olga.network_may_fail = True  # a form that is refused is a 422 to the console
        page = await olga.open(f"/orders/{made['id']}/edit")
        address, at = page.locator('[id="pickup.address"]'), page.locator('[id="pickup.at"]')
        await expect(at).to_have_value("52.52, 13.4")
        await address.fill("Nowhere")
        await expect(at).to_have_value("")
        await address.fill("Torstr. 1")
        await expect(at).to_have_value("52.52, 13.4")
        await address.fill("Nowhere")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert")).to_contain_text("Address of the store")
        await at.fill("52.6, 13.5")
        await address.fill("Main St")
        await expect(at).to_have_value("52.6, 13.5")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#now")).to_contain_text("Main St")


async def test_a_file_is_previewed_only_once_its_script_is_there(site: Site, people: People) -> None:
    """Before, the browser would load the page again, without the file that was chosen."""
    olga = await people(site.node, "Olga", "ops")
    page, came = await opened_before(olga, "import", "/board/drivers/import")
    preview = page.get_by_role("button", name="Preview")
    await expect(preview).to_be_disabled()
    came.set()
    await expect(preview).to_be_enabled()


async def test_drivers_are_imported_from_a_file(site: Site, people: People, tmp_path: Path) -> None:
    await site.driver("Dora", vehicle="bike")
    file = tmp_path / "drivers.xlsx"
    head = ["name", "phone", "vehicle", "shiftEndsAt"]
    file.write_bytes(excel([head, ["Zoë", "0151 2", "car", EVENING], ["Dora", None, "car", None]]))
    olga = await people(site.node, "Olga", "ops", color_scheme="light", reduced_motion="reduce")
    page = await olga.open("/board/drivers")
    await page.get_by_role("link", name="Import").click()
    await page.get_by_label("File", exact=True).set_input_files(file)
    await page.get_by_role("button", name="Preview").click()
    await expect(page.locator("#results-title")).to_be_focused()
    await expect(page.get_by_role("row", name="Dora")).to_contain_text("differs from what exists already")
    for theme in THEMES:
        await page.emulate_media(color_scheme=theme)
        await check_accessible(page, f"import-{theme}")
        await shoot(page, f"import-{theme}")
    await page.set_viewport_size({"width": 390, "height": 844})
    await check_accessible(page, "import-phone")
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await shoot(page, "import-phone")
    await page.get_by_role("button", name="Import 1 new row").click()
    await expect(page.get_by_role("heading", name="Imported")).to_be_focused()
    await page.get_by_role("link", name="Show the list").click()
    await expect(page.get_by_role("link", name="Zoë", exact=True)).to_be_visible()
