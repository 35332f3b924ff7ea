"""A page that is older than a restart with another secret: what a person typed stays, and they can go on."""

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from server.settings import Settings
from server.web.access.users import add_person
from tests.browser.conftest import PASSWORD, WIDE
from tests.conftest import running_node
from tests.web.conftest import Site

WINDOW: dict[str, Any] = {"viewport": WIDE}
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def test_after_a_change_of_the_secret_open_pages_go_on(
    settings: Settings, database_roles: None, chromium: Browser
) -> None:
    context = await chromium.new_context(**WINDOW)
    async with running_node(settings) as node:
        site, url, port = Site(node), node.url, int(node.url.rpartition(":")[2])
        await add_person(node.app.state.node.database.pool, "Ada", "admin", PASSWORD)
        await context.request.post(f"{url}/login", data={"name": "Ada", "password": PASSWORD})
        delivery = await site.delivery()
        board, people, policy = [await context.new_page() for _ in range(3)]
        await board.goto(f"{url}/board/deliveries/{delivery['id']}")
        await board.get_by_role("button", name="Cancel").first.click()
        dialog = board.get_by_role("dialog")
        await dialog.get_by_label("In your own words").fill("The oven is broken")
        await people.goto(f"{url}/users")
        await people.locator("#name").fill("Bob of the night shift")
        await policy.goto(f"{url}/policy")
        await site.close()

    async with running_node(settings.with_changes(secret="another secret of thirty-two bytes"), port):
        await dialog.get_by_role("button", name="Cancel the order").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("older than a restart")
        await expect(dialog.get_by_label("In your own words")).to_have_value("The oven is broken")
        await dialog.get_by_role("button", name="Cancel the order").click()
        await expect(dialog).to_be_hidden()
        await expect(board.locator("#page")).to_contain_text("The oven is broken")

        await people.get_by_role("button", name="Add", exact=True).click()
        await expect(people.get_by_role("heading", level=1)).to_have_text(
            "This page is older than a restart of the server"
        )
        await people.get_by_role("button", name="Send it again").click()
        await expect(people.get_by_text("Bob of the night shift").first).to_be_visible()

        await policy.get_by_role("button", name="Save as version").click()
        await expect(policy.locator("#policy-message")).to_contain_text("older than a restart")
        await policy.get_by_role("button", name="Save as version").click()
        await expect(policy.locator("#policy-message")).not_to_contain_text("older than a restart")
    await context.close()
