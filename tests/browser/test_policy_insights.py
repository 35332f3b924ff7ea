"""The policy and the insights in a real browser: by keyboard, for a screen reader, in both themes, on a phone."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import PHONE, WIDE, People, check_accessible, check_in_both_themes, shoot
from tests.web.conftest import Site
from tests.web.offers_made import make_offers

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


async def test_an_admin_changes_the_policy_by_keyboard(site: Site, people: People) -> None:
    ada = await people(site.node, "Ada", "admin")
    ada.network_may_fail = True  # a refused form is an error to the console
    page = await ada.open("/policy")
    timeout = page.get_by_label("Offer timeout")
    await timeout.focus()
    await page.keyboard.press("Control+a")
    await page.keyboard.type("0")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("Not saved: 2 fields need a correction.")
    await expect(timeout).to_be_focused()
    await expect(timeout).to_have_accessible_description("s (1 to 600) A whole number from 1 to 600.")
    await page.keyboard.press("Control+a")
    await page.keyboard.type("45")
    await page.get_by_role("button", name="Add a level").press("Enter")
    await expect(page.get_by_role("group", name="Step 4")).to_be_visible()
    await expect(page.get_by_role("group", name="Step 4").get_by_label("after")).to_be_focused()
    await page.get_by_role("group", name="Step 4").get_by_label("Cancellation").press("Space")
    await page.get_by_label("Reason for the change").fill("a slow evening")
    await page.get_by_label("Reason for the change").press("Enter")
    await expect(page.get_by_text("Saved as version 3.")).to_be_visible()
    await expect(timeout).to_have_value("45")
    policy = (await site.ada.get("/admin/policy")).json()
    assert (policy["offerTimeoutSeconds"], policy["escalation"][3]["actions"]) == (45, ["cancel"])
    await page.get_by_role("link", name="Go back to version 2").click()
    await expect(page.get_by_label("Reason for the change")).to_have_value("Back to version 2")
    await check_accessible(page, "policy-back")
    await shoot(page, "policy-back")
    page = await ada.open("/policy")
    await page.get_by_label("Search radius", exact=True).fill("50")
    await page.get_by_label("Search radius", exact=True).press("Enter")
    await expect(page.get_by_label("Wide search radius")).to_be_focused()
    await check_accessible(page, "policy-wrong")
    await shoot(page, "policy-wrong")


async def test_the_form_says_that_the_server_is_away_and_keeps_what_was_typed(site: Site, people: People) -> None:
    ada = await people(site.node, "Ada", "admin")
    ada.network_may_fail = True
    page = await ada.open("/policy")
    await page.route("**/policy", lambda route: route.fulfill(status=503, content_type="text/plain", body="away"))
    await page.get_by_label("Average speed").fill("30")
    await page.get_by_label("Reason for the change").fill("bicycles")
    await page.get_by_label("Reason for the change").press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("Nothing was saved")
    await page.unroute("**/policy")
    await expect(page.get_by_label("Average speed")).to_have_value("30")
    other = await people(site.node, "Eve", "admin")
    page_of_eve = await other.open("/policy")
    await page_of_eve.get_by_label("Average speed").fill("20")
    await page_of_eve.get_by_label("Reason for the change").fill("snow")
    await page_of_eve.get_by_role("button", name="Save as version 3").last.press("Enter")
    await expect(page_of_eve.get_by_text("Saved as version 3.")).to_be_visible()
    await page.get_by_label("Reason for the change").press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("Not saved: Eve changed the policy")
    await expect(page.get_by_label("Average speed")).to_have_value("30")
    await page.get_by_role("link", name="Start again from version 3").press("Enter")
    await expect(page.get_by_label("Average speed")).to_have_value("20")


async def test_the_policy_reads_in_both_themes_and_on_a_phone(site: Site, people: People) -> None:
    for place, viewport in (("wide", WIDE), ("phone", PHONE)):
        ada = await people(site.node, "Ada", "admin", viewport=viewport)
        page = await ada.open("/policy")
        await check_in_both_themes(page, f"policy {place}", f"policy-{place}", full_page=True)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    vic = await people(site.node, "Vic", "viewer")
    page = await vic.open("/policy")
    await check_accessible(page, "policy-viewer")
    await shoot(page, "policy-viewer")


async def test_the_insights_are_drawn_and_read_in_both_themes_and_on_a_phone(site: Site, people: People) -> None:
    await make_offers(site.node, 600, 20 * 3600)
    for place, viewport in (("wide", WIDE), ("phone", PHONE)):
        vic = await people(site.node, "Vic", "viewer", viewport=viewport)
        page = await vic.open("/insights")
        await expect(page.locator(".plot canvas")).to_have_count(7)
        await check_in_both_themes(page, f"insights {place}", f"insights-{place}", full_page=True)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.get_by_role("button", name="Dark or light").click()
    await expect(page.locator(".plot canvas")).to_have_count(7)
    page = await vic.open("/insights?window=7d&zone=north")
    await page.locator(".table summary").first.press("Enter")
    await expect(page.get_by_role("columnheader", name="Acceptance").first).to_be_visible()
    await check_accessible(page, "insights-table")
    await page.get_by_role("combobox", name="Zone").select_option("All zones")
    await page.get_by_role("button", name="Show").press("Enter")
    await expect(page).to_have_url(f"{vic.url}/insights?window=7d&zone=")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Over time as CSV").click()
    assert (await download.value).suggested_filename == "callboard-7d-time.csv"


async def test_insights_of_nothing_say_so(site: Site, people: People) -> None:
    vic = await people(site.node, "Vic", "viewer")
    page = await vic.open("/insights")
    await expect(page.locator(".plot-empty")).to_have_count(7)
    await check_accessible(page, "insights-empty")
