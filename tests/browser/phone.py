"""A driver's phone: the driver page in a small window with touch, watched for complaints."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.conftest import Person
from tests.driver_app import token
from tests.web.conftest import Driver, Site

SIZE = {"width": 360, "height": 740}
HERE = "lat=52.519&lon=13.404"


@dataclass
class Phone:
    """The page, and what is on it."""

    owner: Person
    page: Page
    driver: Driver

    @property
    def context(self) -> BrowserContext:
        return self.owner.context

    @property
    def line(self) -> Locator:
        return self.page.locator("#line")

    @property
    def offer(self) -> Locator:
        return self.page.get_by_role("alertdialog")

    @property
    def sign(self) -> Locator:
        return self.page.locator("#sign")

    async def online(self) -> None:
        await expect(self.line).to_have_text("Online")

    async def shows(self, state: str) -> None:
        """The big sign shows this state."""
        await expect(self.sign).to_have_attribute("data-state", state)

    async def press(self, name: str) -> None:
        await tap(self.page.get_by_role("button", name=name, exact=True))

    async def sign_out(self) -> None:
        await tap(self.page.get_by_label("Menu"))
        await self.press("Remove me from this device")
        await self.press("Sign out")
        await expect(self.page.get_by_role("heading", name="Open your link")).to_be_visible()


async def tap(button: Locator) -> None:
    """Press a button as people do who have looked: not in the moment in which it came, when it takes no press. And
    again if it took none, because something that came late had moved it between look and press.
    """
    taken = before = await button.page.evaluate(TAKEN)
    while taken == before:
        await settled(button)
        await button.click()
        taken = await button.page.evaluate(TAKEN)
        if taken is None:
            return  # a page that takes every press


async def settled(button: Locator) -> None:
    """The button is there and takes a press."""
    await expect(button).to_be_visible()
    await expect(button).not_to_have_attribute("data-settling", "")


def link(site: Site, driver: Driver, query: str = HERE, seconds: float = 3600) -> str:
    """The link of a driver who is at a place; without a query the device is asked."""
    return f"/driver{'?' if query else ''}{query}#token={token('driver', driver.id, seconds=seconds)}"


ON_SHIFT = """if (location.pathname.endsWith("/driver")) {
  const key = "callboard.driver.shift";
  if (localStorage.getItem(key) === null) localStorage.setItem(key, `DRIVER ${Date.now()}`);
}"""
"""A phone on which this driver has started their shift: the page connects as soon as it opens."""


COUNT_TAKEN = """
globalThis.taken = [Math.random(), 0];
document.addEventListener("click", () => { taken[1] += 1; }, true);
"""
"""The page's guard listens at the window: the document hears of no press that it drops."""
TAKEN = "globalThis.taken"


@asynccontextmanager
async def phone(
    chromium: Browser,
    site: Site,
    driver: Driver,
    *,
    query: str = HERE,
    seconds: float = 3600,
    path: str = "",
    started: bool = True,
    **context: Any,
) -> AsyncIterator[Phone]:
    """A phone that has opened the driver's link, or `path`. The test fails if its console complained. On one that is
    not `started` the page waits for the driver to start the shift.
    """
    options: dict[str, Any] = {
        "viewport": SIZE,
        "is_mobile": True,
        "has_touch": True,
        "locale": "en-GB",
        "color_scheme": "light",
    }
    opened = await chromium.new_context(**options | context)
    await opened.add_init_script(COUNT_TAKEN)
    if started:
        await opened.add_init_script(ON_SHIFT.replace("DRIVER", driver.id))
    owner = Person(driver.id, "viewer", opened, site.node.url)
    try:
        page = await owner.open(path or link(site, driver, query, seconds))
        yield Phone(owner, page, driver)
        owner.check()
    finally:
        await opened.close()
