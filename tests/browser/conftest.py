"""A real Chromium against a real node: people who are logged in, each with a window that is watched for complaints.

To start Playwright and Chromium costs a second of work, so all tests of a process share one. It belongs to a loop, and
so do these tests and their async fixtures: to that of the session (`browser_fixture`).
"""

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, async_playwright, expect

from server.settings import Settings
from server.store.users import PersonRole
from server.web.access.users import add_person
from tests.conftest import Node, StartNode, starting_nodes
from tests.web.conftest import Site

WHOLE = shutil.which("chromium")
SHELL = shutil.which("chromium-headless-shell") or WHOLE
"""Debian's; without it Playwright's own, if that is installed. The shell has no windows and no notifications, and draws
a page in half the time.
"""
SCREENS = Path("test-results/screens")
LONG_SECONDS = 600
PASSWORD = "correct horse battery"
WIDE = {"width": 1600, "height": 950}
PHONE = {"width": 390, "height": 844}
OF_NETWORKS = (
    r"net::ERR_",
    r"Failed to load resource(?!.* status of 500)",
    r"WebSocket is closed before the connection is established",  # the page gave up
    r"Connection closed before receiving a handshake response",
    r"WebSocket opening handshake (timed out|was canceled)",
    r"htmx:sse:error",
    r"Failed to fetch",
    r"network error",
    r"NetworkError",
)
"""What Chromium and htmx say of a network that fails, of a server that is away, and of one that refuses. Not: of one
that is broken.
"""
NETWORK = re.compile("|".join(OF_NETWORKS))

expect.set_options(timeout=30_000)

Theme = Literal["dark", "light"]
THEMES: tuple[Theme, ...] = ("dark", "light")


FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"]

browser_fixture = pytest_asyncio.fixture(loop_scope="session")
"""An async fixture of these tests."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of this folder run on the loop of the session."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromiums() -> AsyncIterator["Chromiums"]:
    async with async_playwright() as playwright:
        chromiums = Chromiums(playwright)
        yield chromiums
        await chromiums.close()


class Chromiums:
    """The Chromiums of this process: the shell, and a whole one for tests of notifications. If a test killed one, the
    next test gets another.
    """

    def __init__(self, playwright: Playwright) -> None:
        self._playwright = playwright
        self._running: dict[bool, Browser] = {}

    @asynccontextmanager
    async def lent(self, *, whole: bool = False) -> AsyncIterator[Browser]:
        """One without any window; the windows that the test leaves open are closed after it."""
        browser = self._running.get(whole)
        if browser is None or not browser.is_connected():
            path = WHOLE if whole else SHELL
            channel = "chromium" if whole and path is None else None
            browser = await self._playwright.chromium.launch(executable_path=path, channel=channel, args=FLAGS)
            self._running[whole] = browser
        yield browser
        for context in browser.contexts:
            await context.close()

    async def close(self) -> None:
        for browser in self._running.values():
            await browser.close()


@browser_fixture
async def chromium(chromiums: Chromiums) -> AsyncIterator[Browser]:
    """A Chromium without any window."""
    async with chromiums.lent() as browser:
        yield browser


@browser_fixture
async def node(settings: Settings, database_roles: None) -> AsyncIterator[StartNode]:
    async with starting_nodes(settings) as start:
        yield start


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


@browser_fixture
async def people(chromium: Browser) -> AsyncIterator[People]:
    people = People(chromium)
    yield people
    for person in people.everybody:
        await person.context.close()
    for person in people.everybody:
        person.check()


@browser_fixture
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


@asynccontextmanager
async def comes(page: Page, condition: str, arg: object = None) -> AsyncIterator[None]:
    """In this block comes what the page shows for a few seconds only: looked for at every change, since it may be over
    before anybody asks.
    """
    await page.evaluate(WATCHED % condition, arg)
    yield
    await page.wait_for_function("() => globalThis.came")


WATCHED = """(arg) => {
  const shows = %s;
  globalThis.came = false;
  const watching = new MutationObserver(() => {
    if (!shows(arg)) return;
    globalThis.came = true;
    watching.disconnect();
  });
  watching.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
}"""


async def shoot(page: Page, name: str) -> None:
    """Keep a picture of the screen for people to look at."""
    await page.screenshot(path=SCREENS / f"{name}.png")


MIRRORED = """() => {
  const root = document.documentElement, given = root.dir;
  const parts = [...document.body.querySelectorAll("*")].filter((part) =>
    part.checkVisibility({ opacityProperty: true, visibilityProperty: true }) &&
    !part.closest(".sr, .skip, svg, .leaflet-container *, .uplot *, select *") &&
    (part.matches("a, button, input, select, textarea, summary, .leaflet-container, .uplot") ||
      [...part.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim())));
  const named = (part) => `${part.tagName.toLowerCase()} ${(part.textContent || part.name || "").trim().slice(0, 40)}`;
  const layers = parts.map((part) => {  // what lies over the page may cover it
    const isOver = (one) => one.matches("dialog") || /fixed|sticky/.test(getComputedStyle(one).position);
    while (part && !isOver(part)) part = part.parentElement;
    return part;
  });
  const middle = (box) => (box.left + box.right) / 2;
  const measured = (direction) => {
    root.dir = direction;
    const clips = new Map([[document.body, { left: -Infinity, top: -Infinity, right: Infinity, bottom: Infinity }]]);
    const cut = (box, clip) => ({ left: Math.max(box.left, clip.left), top: Math.max(box.top, clip.top),
      right: Math.min(box.right, clip.right), bottom: Math.min(box.bottom, clip.bottom) });
    const clip = (part) => {
      if (!clips.has(part)) {
        const outer = clip(part.parentElement), shows = getComputedStyle(part).overflow === "visible";
        clips.set(part, shows ? outer : cut(part.getBoundingClientRect(), outer));
      }
      return clips.get(part);
    };
    const boxes = parts.map((part) => [...part.getClientRects()].map((box) => cut(box, clip(part.parentElement))));
    const meet = (a, b) => a.some((one) => b.some((other) =>
      Math.min(one.right, other.right) - Math.max(one.left, other.left) > 1 &&
      Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 1));
    const found = new Set();
    if (root.scrollWidth > innerWidth) found.add("the page is wider than the window");
    parts.forEach((part, i) => {
      if (boxes[i].some((box) => box.left < -1 || box.right > innerWidth + 1)) found.add(`outside: ${named(part)}`);
      if (part.scrollWidth > part.clientWidth + 1 && part.clientWidth) found.add(`cut: ${named(part)}`);
      for (let j = i + 1; j < parts.length; j++)
        if (layers[i] === layers[j] && meet(boxes[i], boxes[j]) && !part.contains(parts[j]))
          found.add(`overlap: ${named(part)} / ${named(parts[j])}`);
    });
    const brand = document.querySelector(".brand, .mark")?.getBoundingClientRect();
    const onMap = [...document.querySelectorAll(".leaflet-container [class*=leaflet-]:not(.leaflet-proxy)")]
      .filter((part) => part.checkVisibility());
    const left = (part) => part.getBoundingClientRect().left;
    const words = document.querySelector("#said:not(.sr)")?.getBoundingClientRect();
    const said = words ? Math.round(middle(words)) : 0;
    const places = onMap.map((part) => Math.round(left(part) - left(part.closest(".leaflet-container"))));
    return { found, start: brand?.width ? middle(brand) : null, places: String(places), said };
  };
  const before = measured("ltr"), after = measured("rtl");
  root.dir = given;
  const faults = [...after.found].filter((fault) => !before.found.has(fault));
  if (before.start !== null && after.start <= before.start) faults.push("the header is not mirrored");
  if (before.places !== after.places) faults.push("the map is mirrored");
  if (before.said !== after.said) faults.push("the message is not in the middle");
  return faults.slice(0, 8);
}"""
"""What is wrong on a page from right to left, and not from left to right. The browser lays the page out in both
directions and paints neither, so the test continues as if nothing had happened.
"""


VIOLATIONS: dict[str, Any] = {"resultTypes": ["violations"]}
OF_COLOURS = VIOLATIONS | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
"""The rules of axe whose answer depends on colours."""


async def check_accessible(page: Page, name: str) -> None:
    """axe finds nothing to complain of, and from right to left nothing overlaps, is cut or is outside the window."""
    faults = await page.evaluate(MIRRORED)
    assert faults == [], f"{name}, from right to left: {faults}"
    await run_axe(page, name, VIOLATIONS)


async def check_in_both_themes(page: Page, name: str, picture: str = "", *, full_page: bool = False) -> None:
    """Accessible in the dark, and after the system has switched to light, where nothing but colours may differ. With
    pictures called `<picture>-dark` and `<picture>-light`.
    """
    for theme in THEMES:
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        if theme == "dark":
            await check_accessible(page, f"{name}, {theme}")
        else:
            await run_axe(page, f"{name}, {theme}", OF_COLOURS)
        if picture:
            await page.screenshot(path=SCREENS / f"{picture}-{theme}.png", full_page=full_page)


async def run_axe(page: Page, name: str, options: dict[str, Any]) -> None:
    results = await Axe().run(page, options=options)
    found = [
        f"{violation['id']}: {[node['target'] for node in violation['nodes'][:4]]}"
        for violation in results.response["violations"]
    ]
    assert not found, f"{name}: {found}"
