"""Every page of people, found by its route: none can be forgotten, and a new one is checked without a line here."""

import re

import pytest
from playwright.async_api import ViewportSize

from server.web.http.every_route import handlers_in
from server.web.screens.routes import SCREENS
from tests.browser.conftest import People, check_in_both_themes
from tests.browser.test_watch import an_evening
from tests.web.conftest import Site
from tests.web.people import HTML, add

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

SIZES: dict[str, ViewportSize] = {"wide": {"width": 1600, "height": 950}, "phone": {"width": 390, "height": 844}}
TOO_WIDE = "document.documentElement.scrollWidth > innerWidth"
PART = re.compile(r"{(\w+):\w+}")


def routes() -> list[str]:
    """The paths of all handlers of screens that are read."""
    return sorted({path for one in handlers_in(SCREENS) if "GET" in one.http_methods for path in one.paths})


async def pages(site: Site, ids: dict[str, str], cookie: str) -> list[str]:
    """The addresses of those that answer with a whole page: the others are parts of pages, and files."""
    found = []
    for path in routes():
        if path == "/board/stream":
            continue
        first = path.split("/")[1]
        address = path
        for name in PART.findall(path):
            address = PART.sub(ids[f"{first} {name}"], address, count=1)
        answer = await site.nobody.get(address, headers={**HTML, "Cookie": cookie})
        assert answer.status_code in (200, 302, 303, 307, 400, 404, 409, 422), (address, answer.status_code)
        is_page = answer.text.lstrip().lower().startswith("<!doctype html")
        assert not (is_page and answer.status_code == 404 and PART.search(path)), f"{path}: what is it called with?"
        if is_page and answer.status_code == 200:
            found.append(address)
    return found


async def test_every_page_is_accessible_and_fits_in_both_themes_and_on_a_phone(site: Site, people: People) -> None:
    node = site.node.app.state.node
    await node.change_settings({"public_url": site.node.url}, "ada")
    waiting = await an_evening(site)
    order = waiting[0]["id"]
    tracking = node.tracking_links.url(order)
    assert tracking is not None
    ids = {
        "admin order_id": waiting[0]["sellerOrderId"],
        "admin delivery_id": order,
        "board delivery_id": order,
        "orders delivery_id": order,
        "board driver_id": (await site.vic.get("/drivers")).json()["items"][0]["id"],
        "board action": "cancel",
        "board name": "ready",
        "report name": "stores.csv",
        "insights name": "time.csv",
        "users user_id": await add(site.node, "Otto", "viewer"),
        "alerts alert_id": (await site.vic.get("/admin/alerts")).json()["items"][0]["id"],
        "webhooks webhook_id": (await site.ada.get("/admin/webhooks")).json()["items"][0]["id"],
        "track token": tracking.rpartition("/")[2],
    }
    ada = await people(site.node, "ada", "admin")
    cookie = "; ".join(f"{one.get('name')}={one.get('value')}" for one in await ada.context.cookies())
    addresses = await pages(site, ids, cookie)
    assert len(addresses) > 30, addresses
    page = await ada.open("/account")
    wrong = []
    for address in addresses:
        await page.goto(ada.url + address)
        for size, viewport in SIZES.items():
            await page.set_viewport_size(viewport)
            try:
                assert not await page.evaluate(TOO_WIDE), f"{address} is too wide, {size}"
                await check_in_both_themes(page, f"{address}, {size}")
            except AssertionError as error:
                wrong.append(str(error))
    assert wrong == []
