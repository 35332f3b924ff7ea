"""A real Chromium against a real node: people who are logged in, each with a window that is watched for complaints."""

import re
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from server.store.users import PersonRole
from server.web.access.users import add_person
from tests.conftest import Node, StartNode
from tests.web.conftest import Site

CHROMIUM = shutil.which("chromium")
"""Debian's; without it Playwright's own, if that is installed."""
SCREENS = Path("test-results/screens")
LONG_SECONDS = 600
PASSWORD = "correct horse battery"
WIDE = {"width": 1600, "height": 950}
PHONE = {"width": 390, "height": 844}
NETWORK = re.compile(r"net::ERR_|Failed to load resource|htmx:sse:error|Failed to fetch|network error|NetworkError")

expect.set_options(timeout=30_000)

Theme = Literal["dark", "light"]
THEMES: tuple[Theme, ...] = ("dark", "light")


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        await browser.close()


@dataclass
class Person:
    """Somebody who is logged in. `complaints` is what their browser complained of."""

    name: str
    role: PersonRole
    context: BrowserContext
    url: str
    complaints: list[str] = field(default_factory=list)
    network_may_fail: bool = False

    async def open(self, path: str) -> Page:
        page = await self.context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        await page.goto(self.url + path)
        return page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning"):
            return
        if self.network_may_fail and NETWORK.search(message.text):
            return
        self.complaints.append(f"{message.type}: {message.text}")

    def check(self) -> None:
        """No console error, no CSP violation, no exception."""
        assert not self.complaints, f"{self.name}: {self.complaints}"


class People:
    """Logs people in, once each."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.everybody: list[Person] = []

    async def __call__(self, node: Node, name: str, role: PersonRole, **context: Any) -> Person:
        """A new window of this person; `context` as for Playwright (color_scheme, viewport, ...)."""
        if name not in {person.name for person in self.everybody}:
            await add_person(node.app.state.node.database.pool, name, role, PASSWORD)
        window = await self._browser.new_context(**{"viewport": WIDE, "color_scheme": "dark"} | context)
        logged_in = await window.request.post(f"{node.url}/login", data={"name": name, "password": PASSWORD})
        assert logged_in.ok, await logged_in.text()
        person = Person(name, role, window, node.url)
        self.everybody.append(person)
        return person


@pytest.fixture
async def people(chromium: Browser) -> AsyncIterator[People]:
    people = People(chromium)
    yield people
    for person in people.everybody:
        await person.context.close()
    for person in people.everybody:
        person.check()


@pytest.fixture
async def site(node: StartNode) -> AsyncIterator[Site]:
    """A node whose offers stay open: how fast the browser is on a busy machine is no part of a test."""
    site = Site(await node())
    await offer_lasts(site, LONG_SECONDS)
    yield site
    await site.close()


async def offer_lasts(site: Site, seconds: int, **changes: Any) -> None:
    """Offers from now on, and what else the policy says."""
    policy = (await site.ada.get("/admin/policy")).json()
    changed = await site.ada.put("/admin/policy", json=policy | {"offerTimeoutSeconds": seconds} | changes)
    assert changed.status_code == 200, changed.text


async def shoot(page: Page, name: str) -> None:
    """Keep a picture of the screen for people to look at."""
    await page.screenshot(path=SCREENS / f"{name}.png")


async def check_accessible(page: Page, name: str) -> None:
    """axe finds nothing to complain of."""
    results = await Axe().run(page)
    found = [
        f"{violation['id']}: {[node['target'] for node in violation['nodes'][:4]]}"
        for violation in results.response["violations"]
    ]
    assert not found, f"{name}: {found}"
