"""The page with the API's documents, in a real browser."""

import pytest
from playwright.async_api import Browser

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
