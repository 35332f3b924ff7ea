"""A Callboard whose public URL has a path: people and drivers leave it nowhere."""

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from server.web.access.users import add_person
from tests.browser.conftest import PASSWORD, WIDE, Person
from tests.browser.phone import COUNT_TAKEN, tap
from tests.conftest import StartNode
from tests.web.conftest import Site, token

WINDOW: dict[str, Any] = {"viewport": WIDE}
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ROOT = "/dispatch"
SCREENS = ("Orders", "Drivers", "Alerts", "Insights", "Policy", "Zones", "Webhooks", "People", "Board")


def paths_of(context: BrowserContext) -> list[str]:
    """The paths of all requests from now on, also of workers and sockets."""
    paths: list[str] = []

    def heard(url: str) -> None:
        paths.append(urlsplit(url).path)

    def opened(page: Page) -> None:
        page.on("websocket", lambda socket: heard(socket.url))

    context.on("request", lambda request: heard(request.url))
    context.on("page", opened)
    return paths


async def test_people_and_drivers_stay_under_the_path(node: StartNode, chromium: Browser) -> None:
    site = Site(await node(public_url=f"https://fleet.example{ROOT}/"))
    await add_person(site.node.app.state.node.database.pool, "Ada", "admin", PASSWORD)
    context = await chromium.new_context(**WINDOW)
    paths = paths_of(context)
    ada = Person("Ada", "admin", context, site.node.url + ROOT, network_may_fail=True)

    page = await ada.open("/orders?q=soup")
    await expect(page).to_have_url(re.compile(rf"{ROOT}/login\?next="))
    await page.get_by_label("Name").fill("Ada")
    for password in ("wrong", PASSWORD):
        await page.get_by_label("Password").fill(password)
        async with page.expect_navigation():
            await page.get_by_role("button", name="Log in").click()
    await expect(page).to_have_url(f"{ada.url}/orders?q=soup")
    assert {cookie["path"] for cookie in await context.cookies()} == {ROOT}
    for name in SCREENS:
        link = page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True)
        await link.click()
        await expect(link).to_have_attribute("aria-current", "page")
        await expect(page.locator("main h1, main h2").first).to_be_visible()

    await expect(page.locator("#badge")).to_have_text(re.compile("^Live"))
    delivery = await site.delivery()
    row = page.locator(f"#d-{delivery['id']}")
    await row.hover()
    await row.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("In your own words").fill("The shop is closed")
    await dialog.get_by_role("button", name="Cancel the order").click()
    await expect(dialog).to_be_hidden()
    assert (await site.shop.get(f"/deliveries/{delivery['id']}")).json()["status"] == "CANCELLED"

    driver = await site.driver("Dan")
    await context.add_init_script(COUNT_TAKEN)
    phone = await ada.open(f"/driver#token={token('driver', driver.id)}")
    await tap(phone.get_by_role("button", name="Start shift"))
    await expect(phone.locator("#line")).to_have_text("Online")
    scope = await phone.evaluate("navigator.serviceWorker.ready.then((one) => one.scope)")
    assert scope == f"{ada.url}/driver"
    docs = await ada.open("/docs")
    await expect(docs.locator(".opblock").first).to_be_visible()
    assert [path for path in paths if not path.startswith(f"{ROOT}/")] == []
    assert f"{ROOT}/ws/driver" in paths
    ada.check()
    await context.close()
    await site.close()
