"""The page with the API's documents, in a real browser."""

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import THEMES, VIOLATIONS, run_axe, shoot
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def test_the_docs_show_the_api_and_need_nothing_from_elsewhere(chromium: Browser, site: Site) -> None:
    context = await chromium.new_context()
    page = await context.new_page()
    complaints: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    await page.goto(f"{site.node.url}/docs")
    await page.get_by_text("Create a delivery").first.wait_for(timeout=60_000)
    assert complaints == []
    assert all(url.startswith((site.node.url, "data:")) for url in requested)


@pytest.mark.slow
async def test_the_docs_are_accessible_in_both_themes_and_by_keyboard(chromium: Browser, site: Site) -> None:
    for theme in THEMES:
        context = await chromium.new_context(color_scheme=theme)
        page = await context.new_page()
        await page.goto(f"{site.node.url}/docs")
        create = page.locator("#operations-Deliveries-createDelivery .opblock-summary-control")
        await expect(create).to_contain_text("Create a delivery")
        await run_axe(page, f"docs, {theme}", VIOLATIONS)
        await create.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator(".opblock-body").first).to_be_visible()
        await run_axe(page, f"docs with an operation open, {theme}", VIOLATIONS)
        await shoot(page, f"docs-{theme}")
        await context.close()
