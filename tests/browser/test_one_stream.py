"""One stream a browser: on plain HTTP it opens six connections to a host, and people open more tabs than that."""

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from server.board.feed import Feed
from tests.browser.conftest import PASSWORD, People, Person
from tests.waiting import until
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LIVE = re.compile("^Live")
WITHOUT_WORKERS = "delete globalThis.SharedWorker"
WITHOUT_EITHER = "delete globalThis.SharedWorker; Object.defineProperty(navigator, 'locks', {value: undefined})"
HIDE = """(hidden) => { Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    document.dispatchEvent(new Event("visibilitychange")); }"""


def streams(site: Site) -> int:
    feed: Feed = site.node.app.state.node.feed
    return len(feed.broadcast)


async def open_live(person: Person, path: str) -> Page:
    page = await person.open(path)
    await expect(page.locator("#badge")).to_have_text(LIVE)
    return page


async def tabs(site: Site, person: Person) -> tuple[list[dict[str, Any]], list[Page]]:
    """The board, the alerts, the webhooks, and the pages of six deliveries."""
    made = [await site.delivery(storeName=f"Store {n}") for n in range(6)]
    paths = ["/board", "/alerts", "/webhooks", *(f"/board/deliveries/{one['id']}" for one in made)]
    return made, [await open_live(person, path) for path in paths]


async def acknowledge(page: Page) -> None:
    """A button that answers."""
    await page.get_by_role("button", name=re.compile("^Ack")).first.click()
    await page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(page.locator("#now")).to_contain_text("alice")


@pytest.mark.parametrize("without", [None, WITHOUT_WORKERS], ids=["shared worker", "one tab for the others"])
async def test_nine_live_tabs_share_one_stream_and_every_button_answers(
    site: Site, people: People, without: str | None
) -> None:
    alice = await people(site.node, "alice", "ops")
    if without is not None:
        await alice.context.add_init_script(without)
    made, pages = await tabs(site, alice)
    await until(lambda: streams(site) == 1)
    board, rest = pages[0], pages[3:]
    for page, delivery in zip(rest, made, strict=True):
        await page.bring_to_front()
        await acknowledge(page)
        await expect(board.locator(f"#d-{delivery['id']} .ack")).to_have_text("alice")
    assert streams(site) == 1
    # The tab that came first goes; the others stay live.
    await board.close()
    for page in pages[1:]:
        await expect(page.locator("#badge")).to_have_text(LIVE)
    await site.alice.post(f"/deliveries/{made[0]['id']}/cancel", json={"reason": "x"})
    await expect(rest[0].locator("#now")).to_contain_text("Cancelled")
    again = await open_live(alice, "/board")
    later = await site.delivery(storeName="Later")
    await expect(again.locator(f"#d-{later['id']}")).to_be_visible()
    await until(lambda: streams(site) == 1)
    for page in (*pages[1:], again):
        await page.close()
    await until(lambda: streams(site) == 0)


@pytest.mark.parametrize("without", [None, WITHOUT_WORKERS], ids=["shared worker", "one tab for the others"])
async def test_a_server_that_hangs_for_a_while_is_no_reason_for_a_stream_a_tab(
    site: Site, people: People, monkeypatch: pytest.MonkeyPatch, without: str | None
) -> None:
    vic = await people(site.node, "vic", "viewer")
    vic.network_may_fail = True
    if without is not None:
        await vic.context.add_init_script(without)
    pages = [await open_live(vic, path) for path in ("/board", "/alerts", "/webhooks")]
    await until(lambda: streams(site) == 1)
    feed: Feed = site.node.app.state.node.feed
    join, go_on, asked = feed.join, asyncio.Event(), []

    async def hangs(*args: Any, **options: Any) -> Any:
        asked.append(args)
        await go_on.wait()
        return await join(*args, **options)

    monkeypatch.setattr(feed, "join", hangs)
    for viewer in list(feed.broadcast._viewers):
        viewer.close()
    # Each answer is waited for eight seconds; a tab that gave the others up would have done so by then.
    await until(lambda: len(asked) >= 12, within=180)
    monkeypatch.setattr(feed, "join", join)
    go_on.set()
    for page in pages:
        await expect(page.locator("#badge")).to_have_text(LIVE)
    await until(lambda: streams(site) == 1)
    delivery = await site.delivery()
    await expect(pages[0].locator(f"#d-{delivery['id']}")).to_be_visible()
    assert streams(site) == 1


async def test_two_boards_of_different_age_both_show_everything_without_a_full_read(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    first = await open_live(vic, "/board")
    one = await site.delivery()
    await expect(first.locator(f"#d-{one['id']}")).to_be_visible()
    second = await open_live(vic, "/board")
    full_reads: list[str] = []
    for board in (first, second):
        board.on("request", lambda request: full_reads.append(request.url) if "/board/rows" in request.url else None)
    two = await site.delivery()
    for board in (first, second):
        await expect(board.locator(f"#d-{two['id']}")).to_be_visible()
    assert streams(site) == 1
    assert not full_reads


async def test_where_nothing_can_be_shared_a_hidden_tab_lets_go_and_catches_up_when_seen(
    site: Site, people: People
) -> None:
    vic = await people(site.node, "vic", "viewer")
    await vic.context.add_init_script(WITHOUT_EITHER)
    board, alerts = await open_live(vic, "/board"), await open_live(vic, "/alerts")
    assert streams(site) == 2
    await board.evaluate(HIDE, True)
    await until(lambda: streams(site) == 1)
    delivery = await site.delivery()
    await board.evaluate(HIDE, False)
    await expect(board.locator(f"#d-{delivery['id']}")).to_be_visible()
    await expect(board.locator("#badge")).to_have_text(LIVE)
    await expect(alerts.locator("#badge")).to_have_text(LIVE)


async def test_another_user_of_the_browser_gets_a_stream_of_their_own(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    await people(site.node, "ada", "admin")
    vic.network_may_fail = True
    board = await open_live(vic, "/board")
    delivery = await site.delivery()
    other = await open_live(vic, f"/board/deliveries/{delivery['id']}")
    await other.locator("details.menu summary").click()
    await other.get_by_role("button", name="Log out", exact=True).click()
    await other.wait_for_url("**/login*")
    await expect(board).to_have_url(re.compile(r"/login\?next=%2Fboard"))
    await until(lambda: streams(site) == 0)
    logged_in = await vic.context.request.post(f"{vic.url}/login", data={"name": "ada", "password": PASSWORD})
    assert logged_in.ok
    hers = await open_live(vic, "/board")
    await expect(hers.locator("body")).to_have_class(re.compile("role-admin"))
    assert streams(site) == 1


async def test_a_page_of_the_user_before_is_read_again_as_the_user_now(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    await people(site.node, "ada", "admin")
    vic.network_may_fail = True
    board = await open_live(vic, "/board")
    logged_in = await vic.context.request.post(f"{vic.url}/login", data={"name": "ada", "password": PASSWORD})
    assert logged_in.ok
    await expect(board.locator("body")).to_have_class(re.compile("role-admin"))
    await expect(board.locator("#badge")).to_have_text(LIVE)
    assert streams(site) == 1
