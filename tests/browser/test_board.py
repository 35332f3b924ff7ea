"""The board in a real browser: what is seen, what is done by mouse and by keyboard, and what heals itself."""

import asyncio
import re
from functools import partial
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import (
    PHONE,
    People,
    Person,
    check_accessible,
    check_in_both_themes,
    comes,
    offer_lasts,
    shoot,
)
from tests.conftest import StartNode, running_node
from tests.driver_app import DriverApp, driver_app
from tests.waiting import until
from tests.web.conftest import Driver, Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

LIVE = re.compile("^Live")


async def open_board(person: Person, query: str = "") -> Page:
    page = await person.open(f"/board{query}")
    await expect(page.locator("#badge")).to_have_text(LIVE)
    return page


async def offered(app: DriverApp, delivery: dict[str, Any]) -> str:
    """The id of the offer of this delivery to this driver."""
    message = await app.hear(lambda m: m["type"] == "offer" and m["offer"]["deliveryId"] == delivery["id"])
    offer_id: str = message["offer"]["id"]
    return offer_id


async def test_an_order_appears_is_offered_and_leaves_as_the_driver_accepts(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    dan = await site.driver("Dan", at_work=True)
    board = await open_board(vic)
    async with driver_app(site.node.ws_url, dan.id) as app:
        delivery = await site.delivery(storeName="Green Bowl")
        row = board.locator(f"#d-{delivery['id']}")
        await expect(row).to_contain_text("Green Bowl")
        await expect(row.locator(".why")).to_contain_text("Dan")
        await expect(row.locator(".why time")).to_have_text(re.compile(r"^(10:00|9:[0-5]\d)$"))
        await expect(board.locator(f"#o-{delivery['id']}")).to_contain_text("not received")
        offer_id = await offered(app, delivery)
        app.send("received", offerId=offer_id)
        await expect(row.locator(".chain b.on").nth(1)).to_have_text("received")
        says = "(id) => document.getElementById(id)?.textContent.includes('accepted by Dan')"
        async with comes(board, says, f"d-{delivery['id']}"):
            await app.ask("accept", offerId=offer_id)
        await expect(board.locator(f"#a-{delivery['id']}")).to_contain_text("Dan")
        await expect(board.locator(f"#v-{dan.id} .state")).to_have_text("Busy")
        await expect(board.locator('[data-n="active"]')).to_have_text("1")
        await expect(row).to_have_count(0)
        await expect(board.locator(f"#o-{delivery['id']}")).to_have_count(0)


async def two_drivers(site: Site) -> tuple[Driver, Driver, dict[str, Any]]:
    """Dan has a delivery, Dora is free."""
    dan = await site.driver("Dan", at_work=True)
    delivery, _ = await site.assignment(dan, storeName="Green Bowl")
    dora = await site.driver("Dora", at_work=True)
    return dan, dora, delivery


async def test_an_admin_reassigns_by_mouse(site: Site, people: People) -> None:
    ada = await people(site.node, "ada", "admin")
    _, dora, delivery = await two_drivers(site)
    board = await open_board(ada)
    row = board.locator(f"#a-{delivery['id']}")
    await row.hover()
    await row.get_by_role("button", name="Reassign").click()
    dialog = board.get_by_role("dialog")
    await expect(dialog).to_contain_text("Dan loses this order")
    pause = dialog.get_by_role("checkbox", name="Pause Dan")
    for reason, pauses in (("Vehicle trouble", True), ("Driver is late", False), ("Driver is unwell", True)):
        await dialog.get_by_role("radio", name=reason).check()
        await expect(pause).to_be_checked(checked=pauses)
    await pause.uncheck()
    await dialog.get_by_role("radio", name="Vehicle trouble").check()
    await expect(pause).not_to_be_checked()
    await dialog.get_by_role("radio", name="Dora").check()
    await dialog.get_by_role("radio", name="Assign it without asking").check()
    await dialog.get_by_role("button", name="Reassign").click()
    await expect(board.locator("#said")).to_contain_text("assigned to Dora")
    await expect(dialog).to_be_hidden()
    await expect(row).to_contain_text("Dora")
    assert (await dora.get()).json()["activeCount"] == 1


async def test_tomorrows_order_is_searched_for_only_after_a_question(site: Site, people: People) -> None:
    alice = await people(site.node, "alice", "ops")
    delivery = await site.delivery(dispatchAt="2099-01-01T09:00:00Z")
    page = await alice.open(f"/board/deliveries/{delivery['id']}")
    await page.get_by_role("button", name="Assign").click()
    await expect(page.get_by_label("Dispatch it now")).to_be_visible()
    await shoot(page, "assign-scheduled")
    await page.get_by_role("button", name="Back").click()
    await page.get_by_role("button", name="Search now").click()
    dialog = page.locator("#dialog")
    await expect(dialog).to_contain_text("This order is scheduled for")
    await shoot(page, "search-scheduled")
    await dialog.get_by_role("button", name="Search now").click()
    await expect(dialog).to_be_hidden()
    await expect(page.locator(".status")).to_have_text("Scheduled")
    await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "Tomorrow is a holiday"})
    restore = page.get_by_role("button", name="Restore")
    await expect(restore).to_be_visible()
    # As after ten minutes. The page may read the button again meanwhile.
    await page.wait_for_function(
        """() => {
            const button = document.querySelector('[data-do="restore"]');
            button.dataset.ends = Date.now() - 60_000;
            return button.hidden;
        }"""
    )


async def test_an_admin_reassigns_by_keyboard_only(site: Site, people: People) -> None:
    ada = await people(site.node, "ada", "admin")
    _, _, delivery = await two_drivers(site)
    board = await open_board(ada)
    keys = board.keyboard
    await keys.press("/")
    await keys.type("green")
    await expect(board.locator("#q")).to_have_value("green")
    await expect(board.locator('[data-count="drivers"]')).to_have_text(re.compile("^0 of"))
    await keys.press("Escape")
    await keys.press("j")
    row = board.locator(f"#a-{delivery['id']}")
    await expect(row).to_be_focused()
    await keys.press("r")
    dialog = board.get_by_role("dialog")
    await expect(dialog).to_contain_text("Dan loses this order")
    await keys.press("Space")
    pause = dialog.get_by_role("checkbox", name="Pause Dan")
    for key, pauses in (("ArrowDown", True), ("ArrowUp", False)):
        await keys.press(key)
        await expect(pause).to_be_checked(checked=pauses)
    await keys.press("Tab")
    await keys.type("as agreed")
    for _ in range(12):
        await keys.press("Tab")
        if await board.evaluate("document.activeElement.textContent") == "Reassign":
            break
    await keys.press("Enter")
    await expect(dialog).to_be_hidden()
    timeline = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    (taken,) = [event for event in timeline if event["type"] == "delivery.reassigned"]
    assert taken["actor"] == {"type": "admin", "id": "ada"}
    assert taken["data"]["reason"] == "Driver asked for it: as agreed"
    await expect(board.locator(f"#d-{delivery['id']}")).to_be_visible()


async def test_a_dialog_shows_a_refusal_and_keeps_what_was_typed(site: Site, people: People) -> None:
    ada = await people(site.node, "ada", "admin")
    ada.network_may_fail = True  # the browser logs a 409 as an error
    _, _, delivery = await two_drivers(site)
    board = await open_board(ada)
    await board.locator(f"#a-{delivery['id']}").focus()
    await board.keyboard.press("r")
    dialog = board.get_by_role("dialog")
    await dialog.get_by_label("In your own words").fill("too slow for this one")
    first = await site.client("admin", "boss").post(
        f"/admin/assignments/{await assignment_of(site, delivery)}/reassign", json={"reason": "mine"}
    )
    assert first.status_code == 200
    await dialog.get_by_role("button", name="Reassign").click()
    await expect(dialog.get_by_role("alert")).to_have_text("The order changed before: reassigned by boss.")
    await expect(dialog.get_by_label("In your own words")).to_have_value("too slow for this one")
    await board.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()


async def assignment_of(site: Site, delivery: dict[str, Any]) -> str:
    found: str = (await site.vic.get(f"/deliveries/{delivery['id']}")).json()["assignment"]["id"]
    return found


async def test_ops_report_for_a_driver_whose_phone_is_dead(site: Site, people: People) -> None:
    alice = await people(site.node, "alice", "ops")
    alice.network_may_fail = True
    _, _, delivery = await two_drivers(site)
    page = await alice.open(f"/board/deliveries/{delivery['id']}")
    await expect(page.locator(".for-driver button")).to_have_text(["Picked up", "Delivered", "Give back"])
    await shoot(page, "steps")
    dialog = page.locator("#dialog")
    await page.get_by_role("button", name="Delay").click()
    await dialog.get_by_label("Minutes").fill("15")
    await dialog.get_by_role("radio", name="Kitchen is busy").check()
    await shoot(page, "step-delay")
    await dialog.get_by_role("button", name="Delay").click()
    await expect(page.locator("#said")).to_contain_text("is delayed")
    await expect(page.get_by_role("button", name="Ready now")).to_be_visible()
    await page.get_by_role("button", name="Picked up").click()
    await dialog.get_by_role("radio", name="Phone is dead").check()
    await dialog.get_by_role("button", name="Picked up").click()
    await expect(page.locator(".status")).to_have_attribute("data-status", "PICKED_UP")
    await expect(page.locator(".for-driver button")).to_have_text(["Delivered", "Could not deliver"])
    await page.get_by_role("button", name="Could not deliver").click()
    await dialog.get_by_role("button", name="Could not deliver").click()
    await expect(dialog.locator("#dialog-error")).to_have_text("Choose a reason, or write your own.")
    await dialog.get_by_role("radio", name="Customer not there").check()
    await shoot(page, "step-failed")
    await dialog.get_by_role("button", name="Could not deliver").click()
    await page.get_by_role("button", name="Returned to the store").click()
    await dialog.get_by_role("radio", name="No network").check()
    await dialog.get_by_role("button", name="Returned to the store").click()
    await expect(page.locator(".status")).to_have_attribute("data-status", "RETURNED")
    await expect(page.locator(".acts button.ops")).to_have_text(["Retry"])


async def test_a_viewer_sees_no_controls_and_is_refused_by_the_server_too(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    vic.network_may_fail = True
    _, _, delivery = await two_drivers(site)
    waiting = await site.delivery()
    board = await open_board(vic)
    for row in (f"#d-{waiting['id']}", f"#a-{delivery['id']}"):
        await board.locator(row).hover()
        assert not await board.locator(f"{row} button").locator("visible=true").count()
    await board.locator(f"#d-{waiting['id']}").focus()
    await board.keyboard.press("a")
    await board.keyboard.press("c")
    await expect(board.get_by_role("dialog")).to_be_hidden()
    await board.set_viewport_size({"width": 2200, "height": 950})  # a narrower panel leaves the column out
    tries = board.get_by_role("button", name="Tries")
    await expect(tries).to_have_accessible_description(re.compile("^How often Callboard has tried to find a driver"))
    status = await board.evaluate(
        """async (id) => (await fetch(`/board/deliveries/${id}/cancel`, {method: "POST",
            headers: {"X-CSRF-Token": callboard.csrfToken(), "Content-Type": "application/x-www-form-urlencoded"},
            body: "reason=x"})).status""",
        waiting["id"],
    )
    assert status == 403


async def test_an_unsafe_request_without_the_csrf_token_is_refused(site: Site, people: People) -> None:
    ada = await people(site.node, "ada", "admin")
    ada.network_may_fail = True
    waiting = await site.delivery()
    board = await open_board(ada)
    status = await board.evaluate(
        """async (id) => (await fetch(`/board/deliveries/${id}/cancel`, {method: "POST",
            headers: {"Content-Type": "application/x-www-form-urlencoded"}, body: "reason=x"})).status""",
        waiting["id"],
    )
    assert status == 403
    await expect(board.locator(f"#d-{waiting['id']}")).to_be_visible()


async def test_a_restart_of_the_server_heals_by_itself(node: StartNode, people: People, settings: Any) -> None:
    first = await node()
    site = Site(first)
    vic = await people(first, "vic", "viewer")
    vic.network_may_fail = True
    before = await site.delivery(storeName="Before")
    board = await open_board(vic)
    await board.locator("#q").fill("o")
    epoch = await board.evaluate("document.getElementById('stream').getAttribute('hx-sse:connect')")
    await first.stop()
    await expect(board.locator("#badge")).to_have_text(re.compile("^Reconnecting"))
    async with running_node(settings, first.port) as second:
        after = Site(second)
        made = await after.delivery(storeName="After noon")
        await expect(board.locator(f"#d-{made['id']}")).to_be_visible()
        await expect(board.locator("#badge")).to_have_text(LIVE)
        await expect(board.locator(f"#d-{before['id']}")).to_be_visible()
        await expect(board.locator("#q")).to_have_value("o")
        assert epoch
        for client in (*site.clients, *after.clients):
            await client.aclose()
        await board.close()


async def test_a_stream_that_was_cut_is_replayed_without_a_full_read(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    vic.network_may_fail = True
    board = await open_board(vic)
    full_reads: list[str] = []
    board.on("request", lambda request: full_reads.append(request.url) if "/board/rows" in request.url else None)
    await board.evaluate("document.getElementById('stream')._htmx.sse.reader.cancel()")
    delivery = await site.delivery()
    await expect(board.locator(f"#d-{delivery['id']}")).to_be_visible()
    assert not full_reads


async def test_another_epoch_leads_to_one_full_read_and_typed_text_stays(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    board = await open_board(vic)
    reads: list[str] = []
    board.on("request", lambda request: reads.append(request.url) if "/board/rows" in request.url else None)
    delivery = await site.delivery(storeName="Green Bowl")
    row = board.locator(f"#d-{delivery['id']}")
    await expect(row).to_be_visible()
    await row.locator(".pick input").check()
    await board.locator("#q").hover()
    await board.locator("#q").fill("green")
    site.node.app.state.node.feed.broadcast.begin()
    await until(lambda: reads)
    await expect(row.locator(".pick input")).to_be_checked()
    await expect(board.locator("#q")).to_have_value("green")
    await expect(board.locator("#badge")).to_have_text(LIVE)
    another = await site.delivery(storeName="Green Grill")
    await expect(board.locator(f"#d-{another['id']}")).to_be_visible()
    assert len(reads) == 1


async def test_a_hidden_tab_that_returns_is_up_to_date(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    board = await open_board(vic)
    other = await vic.context.new_page()
    await other.bring_to_front()
    await board.evaluate(
        """() => { Object.defineProperty(document, "hidden", {value: true, configurable: true});
            document.dispatchEvent(new Event("visibilitychange")); }"""
    )
    delivery = await site.delivery()
    await expect(board.locator(f"#d-{delivery['id']}")).to_be_attached()
    await board.evaluate("""() => { delete document.hidden; document.dispatchEvent(new Event("visibilitychange")); }""")
    await board.bring_to_front()
    await expect(board.locator(f"#d-{delivery['id']}")).to_be_visible()
    await expect(board.locator("#badge")).to_have_text(LIVE)


async def test_filters_sort_and_the_current_row_stand_in_the_address(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    north = await site.delivery(zone="north", storeName="North Star")
    south = await site.delivery(zone="south", storeName="Sushi Ko")
    board = await open_board(vic)
    await board.locator("#zone").select_option("north")
    await expect(board.locator(f"#d-{south['id']}")).to_be_hidden()
    await expect(board.locator('[data-n="waiting"]')).to_have_text("1")
    await board.get_by_role("button", name="Store", exact=True).first.click()
    await board.locator(f"#d-{north['id']}").click()
    await expect(board).to_have_url(re.compile(r"zone=north.*row=d-" + north["id"] + r".*sort-waiting=store"))
    again = await open_board(vic, board.url.partition("/board")[2])
    await expect(again.locator(f"#d-{south['id']}")).to_be_hidden()
    await expect(again.locator(f"#d-{north['id']}")).to_have_attribute("aria-current", "true")
    await again.locator("#headline [data-show=unassigned], #headline [data-show=waiting]").first.click()
    await expect(again).to_have_url(re.compile("show=waiting"))


async def test_worst_comes_first_and_a_new_level_moves_up(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    older, newer = await site.delivery(), await site.delivery()
    board = await open_board(vic)
    rows = board.locator("#rows-waiting tr")
    await expect(rows.nth(0)).to_have_id(f"d-{older['id']}")
    await site.node.change(
        "UPDATE deliveries SET unassigned_since = unassigned_since - interval '6 minutes' WHERE id = $1", newer["id"]
    )
    await expect(rows.nth(0)).to_have_id(f"d-{newer['id']}")
    await expect(rows.nth(0).locator(".level")).to_have_text("Level 1")


async def test_focus_and_typed_text_survive_a_flood_of_changes(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    await asyncio.gather(*(site.delivery() for _ in range(60)))
    board = await open_board(vic)
    await expect(board.locator('[data-count="waiting"]')).to_have_text("60")
    feed = site.node.app.state.node.feed
    flooded = feed._picture.waiting()[:25]  # of more, a slow page would be sent everything anew
    box = board.locator(f"#d-{flooded[12].id} .pick input")
    await box.check()
    await board.locator("#q").focus()
    for letter in "pizza roma":
        await board.keyboard.type(letter)
        for _ in range(2):
            rev = feed.broadcast.number + 1
            feed.broadcast.publish("".join(feed_piece(feed, row, rev) for row in flooded))
    has_come = "([id, rev]) => Number(document.getElementById(id).dataset.rev) >= rev"
    await board.wait_for_function(has_come, arg=[f"d-{flooded[0].id}", feed.broadcast.number])
    await expect(board.locator("#q")).to_be_focused()
    await expect(board.locator("#q")).to_have_value("pizza roma")
    await expect(box).to_be_checked()


def feed_piece(feed: Any, row: Any, rev: int) -> str:
    html = feed.renderer.delivery(row, None, rev)["waiting"]
    return f'<hx-partial hx-target="#d-{row.id}" hx-swap="outerMorph">{html}</hx-partial>'


async def test_a_table_that_is_cut_says_so_and_a_zone_or_words_find_the_others(
    site: Site, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.store.reads.board.SHOWN_LIMIT", 3)
    alice = await people(site.node, "alice", "ops")
    for number in range(3):
        await site.delivery(zone="near", storeName=f"Near {number}")
    far = [await site.delivery(zone="far", storeName=f"Far {name}") for name in ("Alpha", "Beta")]
    board = await open_board(alice)
    rows = board.locator("#rows-waiting tr:visible")
    await expect(rows).to_have_count(3)
    await expect(board.locator("#cut-waiting")).to_contain_text("Showing the 3 longest waiting of 5.")
    await expect(board.locator('[data-count="waiting"]')).to_have_text("3 of 5")
    await expect(board.locator('[data-n="waiting"]')).to_have_text("5")
    await board.select_option("#zone", "far")
    await expect(rows).to_have_count(2)
    await expect(board.locator("#beyond")).to_have_text("2 more found.")
    await expect(board.locator('[data-n="waiting"]')).to_have_text("2")
    await shoot(board, "board-cut")
    # What is found is worked on like any other row, also after everything was read again.
    site.node.app.state.node.feed.broadcast.begin()
    await expect(rows).to_have_count(2)
    await board.locator(f"#d-{far[1]['id']}").get_by_role("button", name="Ack").click()
    await board.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    await expect(board.locator(f"#d-{far[1]['id']} .ack")).to_have_text("alice")
    await board.select_option("#zone", "")
    await expect(board.locator("#beyond")).to_have_text("")
    await expect(rows).to_have_count(3)
    await board.fill("#q", "far alpha")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("Far Alpha")


HOLD_WHAT_IS_FOUND = """() => {
    const plain = globalThis.fetch;
    const held = new Promise((letGo) => { globalThis.letGo = letGo; });
    globalThis.fetch = async (input, options) => {
        const response = await plain(input, options);
        if (!String(input).startsWith("/board/beyond")) return response;
        const text = await response.text();
        globalThis.found = true;
        await held;
        return new Response(text, { headers: response.headers });
    };
}"""
EVERY_ZONE = """(far) => {
    globalThis.cameBack = false;
    const look = () => { globalThis.cameBack ||= document.getElementById(far) !== null; };
    new MutationObserver(look).observe(document.getElementById("rows-waiting"), { childList: true });
    const zone = document.getElementById("zone");
    zone.value = "";
    zone.dispatchEvent(new Event("change"));
    globalThis.letGo();
}"""


async def test_what_was_found_for_the_filter_before_comes_to_no_list(
    site: Site, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.store.reads.board.SHOWN_LIMIT", 1)
    near = await site.delivery(zone="near")
    far = await site.delivery(zone="far")
    vic = await people(site.node, "vic", "viewer")
    board = await open_board(vic)
    await board.evaluate(HOLD_WHAT_IS_FOUND)
    await board.select_option("#zone", "far")
    await board.wait_for_function("() => globalThis.found")
    async with board.expect_response("**/board/rows*"):
        await board.evaluate(EVERY_ZONE, f"d-{far['id']}")
    await expect(board.locator(f"#d-{near['id']}")).to_be_visible()
    assert not await board.evaluate("globalThis.cameBack")


async def test_many_are_acknowledged_at_once(site: Site, people: People) -> None:
    alice = await people(site.node, "alice", "ops")
    made = [await site.delivery() for _ in range(3)]
    board = await open_board(alice)
    await board.get_by_label("Select all unassigned orders shown").check()
    await expect(board.locator("#bulk-count")).to_have_text("3 selected")
    await board.locator("#bulk").get_by_role("button", name="Acknowledge").click()
    await board.get_by_role("dialog").get_by_label("A note for your colleagues").fill("storm")
    await board.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    await expect(board.get_by_role("dialog").get_by_role("status")).to_contain_text("3 changed.")
    await expect(board.get_by_role("dialog").get_by_role("button", name="Close", exact=True).last).to_be_focused()
    await board.keyboard.press("Enter")
    await expect(board.get_by_role("dialog")).to_be_hidden()
    await expect(board.locator("#bulk")).to_be_hidden()
    for delivery in made:
        await expect(board.locator(f"#d-{delivery['id']} .ack")).to_have_text("alice")


async def test_what_moved_while_the_dialog_was_open_has_a_line_and_stays_selected(site: Site, people: People) -> None:
    ada = await people(site.node, "ada", "admin")
    dan = await site.driver("Dan", at_work=True, capacity=3)
    (first, _), (second, taken), (third, kept) = [
        await site.assignment(dan, sellerOrderId=f"A-100{number}") for number in (1, 2, 3)
    ]
    dora = await site.driver("Dora")
    await dora.move(52.521, 13.405)
    board = await open_board(ada)
    await expect(board.locator('[data-count="active"]')).to_have_text("3")
    await board.get_by_label("Select all orders under way shown").check()
    await board.locator("#bulk").get_by_role("button", name="Reassign").click()
    dialog = board.get_by_role("dialog")
    await expect(dialog.locator(".selected > li")).to_have_count(3)
    await expect(dialog.locator(".selected")).to_contain_text("with Dan")
    wanted = {"reason": "closer", "driverId": dora.id, "mode": "assign"}
    given = await site.client("admin", "Bea").post(f"/admin/assignments/{taken['id']}/reassign", json=wanted)
    assert given.status_code == 200
    assert (await dan.post(f"/assignments/{kept['id']}/complete")).status_code == 200
    await dialog.get_by_role("radio", name="Driver is late").check()
    await dialog.get_by_role("button", name="Reassign").click()
    result = dialog.get_by_role("status")
    await expect(result).to_contain_text("1 changed, 2 not changed.")
    await expect(result.locator("li")).to_have_count(3)
    await expect(result).to_contain_text("A-1001 reassigned")
    await expect(result).to_contain_text("A-1002 not changed: Bea assigned it to Dora")
    await expect(result).to_contain_text("A-1003 not changed: Dan delivered it")
    await check_accessible(board, "the result of many")
    await shoot(board, "board-result")
    await board.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(board.locator(f"#a-{second['id']} .who")).to_have_text("Dora")
    await expect(board.locator(f"#a-{second['id']} .pick input")).to_be_checked()
    await expect(board.locator("#bulk-count")).to_have_text("1 selected")
    await expect(board.locator(f"#d-{first['id']} .pick input")).not_to_be_checked()
    await expect(board.locator(f"#a-{third['id']}")).to_have_count(0)


async def test_what_was_cancelled_is_selected_no_more(site: Site, people: People) -> None:
    alice = await people(site.node, "alice", "ops")
    delivery = await site.delivery()
    board = await open_board(alice)
    await board.locator(f"#d-{delivery['id']} .pick input").check()
    await expect(board.locator("#bulk-count")).to_have_text("1 selected")
    async with comes(board, "() => document.querySelector('tr[data-gone]') && document.getElementById('bulk').hidden"):
        await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "x"})


async def test_the_pages_of_one_delivery_and_driver_are_live(site: Site, people: People) -> None:
    ada = await people(site.node, "ada", "admin")
    dan = await site.driver("Dan", at_work=True)
    delivery = await site.delivery(storeName="Green Bowl")
    page = await ada.open(f"/board/deliveries/{delivery['id']}")
    await expect(page.locator("#badge")).to_have_text(LIVE)
    await expect(page.locator(".facts")).to_contain_text("Dan")
    other = await ada.open(f"/board/drivers/{dan.id}")
    offer = await dan.offer()
    await dan.post(f"/offers/{offer['id']}/accept")
    await expect(page.locator(".status")).to_have_text("Driver on the way to the pickup")
    await expect(page.locator(".timeline")).to_contain_text("Offer accepted")
    await expect(other.locator(".status")).to_have_text("Busy")
    await other.get_by_role("button", name="Set availability").click()
    dialog = other.get_by_role("dialog")
    await dialog.get_by_role("radio", name="Paused").check()
    await dialog.get_by_role("radio", name="Asked by phone").check()
    await dialog.get_by_role("button", name="Set").click()
    await expect(other.locator(".status")).to_have_text("Paused")
    await page.keyboard.press("r")
    await expect(page.get_by_role("dialog")).to_contain_text("Dan loses this order")
    await other.get_by_role("link", name="Devices and access").click()
    await expect(other.get_by_role("heading", name="Devices and access")).to_be_visible()


async def test_ops_offers_a_waiting_delivery_by_keyboard(site: Site, people: People) -> None:
    alice = await people(site.node, "alice", "ops")
    dora = await site.driver("Dora")
    await dora.move(52.9, 13.9)
    delivery = await site.delivery(pickup={"lat": 52.75, "lon": 13.6})
    board = await open_board(alice)
    await board.locator(f"#d-{delivery['id']}").focus()

    async def asked() -> bool:
        await board.keyboard.press("a")
        await expect(board.get_by_role("dialog")).to_contain_text("Assign order")
        if await board.get_by_role("radio", name="Dora").count():
            return True
        await board.keyboard.press("Escape")
        return False

    await until(asked)
    await expect(board.get_by_role("radio", name="Dora")).to_be_focused()
    await board.keyboard.press("Space")
    await board.get_by_role("radio", name="Agreed by phone").focus()
    await board.keyboard.press("Space")
    await board.keyboard.press("Enter")
    await expect(board.locator("#said")).to_contain_text("offered to Dora")
    await expect(board.locator(f"#d-{delivery['id']} .why")).to_contain_text("Dora")


async def test_a_session_that_ended_leads_to_the_login(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    vic.network_may_fail = True
    board = await open_board(vic)
    await site.node.app.state.node.database.pool.execute("DELETE FROM sessions")
    await expect(board).to_have_url(re.compile(r"/login\?next=%2Fboard"))


NUMBERS = """() => [...document.querySelectorAll(".panels .number .ref, .panels .gone .ref")].map((ref) => {
    const cell = ref.closest("th, td"), within = ref.closest(".scroll").getBoundingClientRect();
    const outer = cell.getBoundingClientRect(), lines = [...ref.getClientRects()];
    const cut = cell.scrollWidth > cell.clientWidth + 1 ||
        lines.some((line) => line.left < outer.left || line.right > outer.right || line.right > within.right ||
            line.top < outer.top - 1 || line.bottom > outer.bottom + 1);
    const bottom = Math.min(within.bottom, innerHeight);
    const seen = lines.filter((line) => line.top > within.top + 40 && line.bottom < bottom);
    const covered = seen.some((line) => document.elementFromPoint(line.right - 2, line.bottom - 4) !== ref);
    return [ref.textContent, cut, covered];
})"""


async def evening(site: Site) -> None:
    """Orders with numbers of every length: waiting, offered, under way; stores with long names; two zones."""
    for number, name in enumerate(("Xenia Adamopoulou", "Bo Lindqvist")):
        driver = await site.driver(name, zone="north", at_work=True)
        await site.assignment(driver, zone="north", sellerOrderId=f"127047c3-{number}", storeName="Noodle Bar Harbour")
    await site.driver("Farid Rahimi", zone="north", at_work=True)
    for name in ("A" * 40, "127047c3-17", "7", "B" * 100, "Order of the harbour 12"):
        await site.delivery(zone="north", sellerOrderId=name, storeName="Noodle Bar Northern Harbour")
        await site.delivery(sellerOrderId=name + "x"[len(name) // 100 :], storeName="Falafel Stop", sellerId="other")


@pytest.mark.parametrize(
    ("width", "height", "query"),
    [(1280, 720, ""), (1600, 900, ""), (1920, 1080, ""), (1920, 1080, "?kiosk=1"), (900, 900, ""), (390, 844, "")],
)
async def test_an_orders_number_is_never_cut(site: Site, people: People, width: int, height: int, query: str) -> None:
    await evening(site)
    phone = {"has_touch": True, "is_mobile": True} if width < 700 else {}
    ada = await people(site.node, "ada", "admin", viewport={"width": width, "height": height}, **phone)
    board = await open_board(ada, query)
    await expect(board.locator("#rows-offers tr")).to_have_count(1)
    await expect(board.locator("#rows-waiting tr")).to_have_count(10)
    if not query and not phone:
        await board.locator("#rows-waiting tr").nth(1).hover()
    numbers = await board.evaluate(NUMBERS)
    assert len(numbers) == 13
    assert [number for number, cut, covered in numbers if cut or covered] == []
    long = board.locator("#rows-waiting .ref", has_text="A" * 40).first
    assert await long.evaluate("ref => ref.scrollWidth <= ref.parentNode.clientWidth")


async def test_everything_is_inside_its_panel_on_a_small_laptop(site: Site, people: People) -> None:
    await evening(site)
    ada = await people(site.node, "ada", "admin", viewport={"width": 1280, "height": 720})
    board = await open_board(ada)
    await expect(board.locator("#rows-active tr")).to_have_count(2)
    for name in ("waiting", "active", "drivers"):
        await board.locator(f"#rows-{name} tr").first.hover()
        outside = await board.evaluate(
            """(name) => {
                const panel = document.getElementById(`panel-${name}`).getBoundingClientRect();
                return [...document.querySelectorAll(`#rows-${name} tr:first-child button`)]
                    .map((button) => [button.textContent, button.getBoundingClientRect()])
                    .filter(([_, box]) => box.width === 0 || box.right > panel.right || box.left < panel.left)
                    .map(([text]) => text);
            }""",
            name,
        )
        assert outside == [], name
    rows = await board.evaluate(
        "() => new Set([...document.querySelectorAll('#headline .group')].map((group) => group.offsetTop)).size"
    )
    assert rows == 1
    sideways = (
        "() => [...document.querySelectorAll('.panel .scroll')].map((list) => list.scrollWidth - list.clientWidth)"
    )
    assert await board.evaluate(sideways) == [0, 0, 0, 0]


SHIFTS = """() => {
    window.shifts = [];
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) for (const { node } of entry.sources) {
            const element = node?.nodeType === 1 ? node : node?.parentElement;
            // Words within a row may change with what becomes of the order; rows and all around them stay.
            if (element?.closest(".panels") && !element.closest("td, th")) window.shifts.push(element.id);
        }
    }).observe({ type: "layout-shift", buffered: false });
}"""
PLACES = """(list) => [...document.querySelectorAll(`#rows-${list} tr`)].map((row) => {
    const box = row.getBoundingClientRect();
    return [row.id, box.top, box.height];
})"""


async def older(site: Site, delivery: dict[str, Any], minutes: int) -> None:
    await site.node.change(
        "UPDATE deliveries SET unassigned_since = unassigned_since - make_interval(mins => $2) WHERE id = $1",
        delivery["id"],
        minutes,
    )


async def test_no_row_moves_under_a_still_pointer_while_75_orders_change(site: Site, people: People) -> None:
    made = await asyncio.gather(*(site.delivery() for _ in range(40)))
    alice = await people(site.node, "alice", "ops")
    board = await open_board(alice)
    await expect(board.locator('[data-count="waiting"]')).to_have_text("40")
    at = board.locator("#rows-waiting tr").nth(4)
    aimed = await at.get_attribute("data-id")
    await at.hover()
    first = await board.locator("#rows-waiting tr").evaluate_all(
        "rows => rows.slice(0, 3).map((row) => row.dataset.id)"
    )
    before = await board.evaluate(PLACES, "waiting")
    await board.evaluate(SHIFTS)
    # 20 have ended, three of them above the pointer; 15 climb past the 5 others; 40 are new, and the oldest of all.
    gone = [*first, *[d["id"] for d in made if d["id"] not in first and d["id"] != aimed][:17]]
    climb = [d for d in made if d["id"] not in gone and d["id"] != aimed][-15:]
    # On a busy machine all this takes longer than a pointer may rest.
    await asyncio.gather(*(site.shop.post(f"/deliveries/{over}/cancel", json={"reason": "x"}) for over in gone))
    await at.hover(position={"x": 280, "y": 9})
    new = await asyncio.gather(*(site.delivery() for _ in range(40)))
    await at.hover(position={"x": 290, "y": 9})
    await asyncio.gather(*(older(site, delivery, 6) for delivery in (*climb, *new)))
    await at.hover(position={"x": 300, "y": 9})
    await site.alice.post(f"/admin/unassigned-orders/{aimed}/acknowledge")
    button = board.locator('[data-take="waiting"]')
    await expect(button).to_contain_text("65 new changes")
    await expect(board.locator(f"#d-{climb[0]['id']} .level")).to_have_text("Level 1")
    await expect(board.locator(f"#d-{aimed} .ack")).to_have_text("alice")
    assert await board.evaluate(PLACES, "waiting") == before
    assert await board.evaluate("window.shifts") == []
    await expect(board.locator('[data-count="waiting"]')).to_have_text("60")
    over = board.locator(f"#d-{first[0]}")
    await expect(over).to_contain_text("cancelled")
    await expect(over.locator("button")).to_have_count(0)
    # What is pressed belongs to the order that was aimed at.
    await at.get_by_role("button", name="Cancel").click()
    number = next(delivery["sellerOrderId"] for delivery in made if delivery["id"] == aimed)
    await expect(board.get_by_role("dialog")).to_contain_text(f"Cancel order {number}")
    await check_accessible(board, "a board that holds still")
    await board.keyboard.press("Escape")
    assert await board.evaluate(PLACES, "waiting") == before
    # A key takes them, though the pointer is still there.
    await board.keyboard.press(".")
    await expect(button).to_be_hidden()
    await expect(board.locator("#rows-waiting tr")).to_have_count(60)
    shown = await board.locator("#rows-waiting tr").evaluate_all("rows => rows.map((row) => Number(row.dataset.level))")
    assert shown == [1] * 55 + [0] * 5


async def test_a_row_with_the_focus_holds_its_list_and_leaving_it_applies_what_waits(
    site: Site, people: People
) -> None:
    mine, other = await site.delivery(), await site.delivery()
    vic = await people(site.node, "vic", "viewer")
    board = await open_board(vic)
    await expect(board.locator("#rows-waiting tr")).to_have_count(2)
    await board.keyboard.press("j")
    await expect(board.locator(f"#d-{mine['id']}")).to_be_focused()
    await site.shop.post(f"/deliveries/{mine['id']}/cancel", json={"reason": "x"})
    new = await site.delivery()
    button = board.locator('[data-take="waiting"]')
    await expect(button).to_contain_text("2 new changes")
    await expect(board.locator(f"#d-{mine['id']}")).to_be_focused()
    await expect(board.locator(f"#d-{mine['id']}")).to_contain_text("cancelled")
    # What came and ended before anybody saw it leaves nothing.
    await site.shop.post(f"/deliveries/{new['id']}/cancel", json={"reason": "x"})
    await expect(button).to_contain_text("1 new change")
    # A full read, as after a restart, changes nothing either.
    newer = await site.delivery()
    await expect(button).to_contain_text("2 new changes")
    site.node.app.state.node.feed.broadcast.begin()
    last = await site.delivery()
    await expect(button).to_contain_text("3 new changes")
    ids = [row[0] for row in await board.evaluate(PLACES, "waiting")]
    assert ids == [f"d-{mine['id']}", f"d-{other['id']}"]
    await board.keyboard.press("Escape")
    for delivery in (other, newer, last):
        await expect(board.locator(f"#d-{delivery['id']}")).to_be_visible()
    await expect(board.locator(f"#d-{mine['id']}")).to_have_count(0)
    await expect(button).to_be_hidden()


async def test_a_driver_who_goes_moves_nothing_in_a_list_that_holds_still(site: Site, people: People) -> None:
    """On a small laptop, where a number more in the headline, or a line more in a row, would push all that is below."""
    vic = await people(site.node, "vic", "viewer", viewport={"width": 1280, "height": 720})
    dan, dora, his, _ = await two_under_way(site)
    board = await open_board(vic)
    async with driver_app(site.node.ws_url, dora.id) as app:
        await app.hear("hello")
        for name, row in (("active", f"a-{his['id']}"), ("drivers", f"v-{dan.id}")):
            await board.locator(f"#rows-{name} tr").last.hover(position={"x": 60, "y": 9})
            before = await board.evaluate(PLACES, name)
            await offer_lasts(site, 600, callPresenceSeconds=1)
            await expect(board.locator('[data-n="gone"]')).to_be_visible()
            mark = board.locator(f"#{row} .driver-gone")
            await expect(mark).to_be_in_viewport()
            await expect(board.locator(f'[data-take="{name}"]')).to_contain_text(re.compile("[12] new changes?"))
            assert await board.evaluate(PLACES, name) == before
            # A full read, as after a restart, changes nothing either.
            site.node.app.state.node.feed.broadcast.begin()
            await site.alice.post(f"/deliveries/{(await site.delivery())['id']}/cancel", json={"reason": "x"})
            await expect(board.locator("#rows-waiting tr")).to_have_count(0)
            assert await board.evaluate(PLACES, name) == before
            await board.keyboard.press(".")
            await expect(board.locator(f"#rows-{name} tr").first).to_have_id(row)
            await expect(board.locator(f"#{row}[data-still]")).to_have_count(0)
            # Then there is room for a line more.
            low = min(box[2] for box in before)
            higher = partial(board.locator(f"#{row}").evaluate, "(r, low) => r.offsetHeight > low", low)
            await until(higher)
            # Who is back moves nothing either.
            await board.locator(f"#rows-{name} tr").last.hover(position={"x": 70, "y": 9})
            before = await board.evaluate(PLACES, name)
            await offer_lasts(site, 600, callPresenceSeconds=600)
            await expect(mark).to_have_count(0)
            await expect(board.locator('[data-n="gone"]')).to_be_hidden()
            assert await board.evaluate(PLACES, name) == before
            await board.keyboard.press(".")
            await board.locator("#h-map").hover()
            await expect(board.locator(f'#rows-{name} tr[style*="height"]')).to_have_count(0)


FULL_NUMBERS = """() => {
    for (const number of document.querySelectorAll("#headline b")) {
        const { n } = number.dataset;
        number.textContent = n === "oldest" ? "1 h 12 min" : n ? "5123" : "82 %";
    }
    for (const tile of document.querySelectorAll("#headline [data-none]")) tile.removeAttribute("data-none");
}"""
HEADLINE = """() => {
    const headline = document.getElementById("headline");
    const rows = [...headline.querySelectorAll("b")].map((number) => Math.round(number.getBoundingClientRect().top));
    const right = Math.max(...[...headline.querySelectorAll("a")].map((tile) => tile.getBoundingClientRect().right));
    return [new Set(rows).size, headline.offsetHeight, right <= innerWidth];
}"""


@pytest.mark.parametrize("query", ["", "?kiosk=1"], ids=["desk", "wall"])
async def test_the_headline_is_one_row_whatever_it_counts(site: Site, people: People, query: str) -> None:
    vic = await people(site.node, "vic", "viewer")
    board = await open_board(vic, query)
    for width in (1100, 1280, 1366, 1440, 1536, 1600, 1690, 1920) if not query else (1280, 1920):
        await board.set_viewport_size({"width": width, "height": 720})
        before = await board.evaluate(HEADLINE)
        await board.evaluate(FULL_NUMBERS)
        after = await board.evaluate(HEADLINE)
        assert after == before == [1, before[1], True], f"{width}"
        await board.reload()
        await expect(board.locator("#badge")).to_have_text(LIVE)


async def test_a_filter_applies_at_once_and_a_click_takes_what_waits(site: Site, people: People) -> None:
    made = await site.delivery(storeName="Green Bowl")
    vic = await people(site.node, "vic", "viewer")
    board = await open_board(vic)
    await board.locator(f"#d-{made['id']}").hover()
    red = await site.delivery(storeName="Red Bowl")
    button = board.locator('[data-take="waiting"]')
    await expect(button).to_contain_text("1 new change")
    await board.locator("#q").evaluate("q => { q.value = 'red'; q.dispatchEvent(new Event('input')); }")
    await expect(board.locator(f"#d-{red['id']}")).to_be_visible()
    await expect(board.locator(f"#d-{made['id']}")).to_be_hidden()
    await site.delivery(storeName="Red Grill")
    await expect(button).to_contain_text("1 new change")
    await button.click()
    await expect(board.locator("#rows-waiting tr:visible")).to_have_count(2)


async def test_a_pointer_left_on_a_wall_does_not_hold_it_for_ever(site: Site, people: People) -> None:
    made = await site.delivery()
    vic = await people(site.node, "vic", "viewer")
    board = await open_board(vic, "?kiosk=1")
    await board.locator(f"#d-{made['id']}").hover()
    new = await site.delivery()
    await expect(board.locator('[data-take="waiting"]')).to_contain_text("1 new change")
    await expect(board.locator(f"#d-{new['id']}")).to_be_visible(timeout=90_000)


async def test_the_panels_keep_their_places_as_offers_come_and_go(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    dan = await site.driver("Dan", at_work=True)
    board = await open_board(vic)
    boxes = "() => [...document.querySelectorAll('.panel')].map((p) => JSON.stringify(p.getBoundingClientRect()))"
    before = await board.evaluate(boxes)
    delivery = await site.delivery()
    offer = await dan.offer()
    await expect(board.locator(f"#o-{delivery['id']}")).to_be_visible()
    await board.locator(f"#d-{delivery['id']} .pick input").check()
    await expect(board.locator("#bulk")).to_be_visible()
    assert await board.evaluate(boxes) == before
    await board.locator(f"#o-{delivery['id']}").hover()
    await dan.post(f"/offers/{offer['id']}/accept")
    await expect(board.locator(f"#o-{delivery['id']}")).to_contain_text("offer closed")
    assert await board.evaluate(boxes) == before
    await board.locator("#h-map").hover()
    await expect(board.locator(f"#o-{delivery['id']}")).to_have_count(0)


async def test_an_alert_shows_its_number_now_and_none_is_not_red(site: Site, people: People) -> None:
    policy = (await site.ada.get("/admin/policy")).json()
    policy["alerts"] |= {"unassignedCount": 1}
    assert (await site.ada.put("/admin/policy", json=policy)).status_code == 200
    vic = await people(site.node, "vic", "viewer")
    board = await open_board(vic)
    number = board.locator('[data-n="alerts"]')
    plain = await number.evaluate("b => getComputedStyle(b).color")
    await expect(board.locator("#alerts")).to_contain_text("No open alerts.")
    for _ in range(2):
        await site.delivery(zone="north")
    await expect(board.locator("#alerts")).to_contain_text("2 now · 2 when raised (threshold 1)")
    for _ in range(3):
        await site.delivery(zone="north")
    await site.delivery(zone="south")
    await expect(board.locator("#alerts")).to_contain_text("5 now · 2 when raised (threshold 1)")
    (alert,) = (await site.vic.get("/admin/alerts")).json()["items"]
    assert (alert["value"], alert["currentValue"]) == (2, 5)
    one = (await site.vic.get(f"/admin/alerts/{alert['id']}")).json()
    assert (one["value"], one["currentValue"]) == (2, 5)
    assert await number.evaluate("b => getComputedStyle(b).color") != plain
    await board.locator("#zone").select_option("south")
    await expect(number).to_have_text("0")
    await expect(board.locator("#alerts .empty")).to_have_text("No open alerts.")
    await expect(board.locator("#alerts .empty")).to_be_visible()
    assert await number.evaluate("b => getComputedStyle(b).color") == plain


async def lively(site: Site) -> dict[str, dict[str, Any]]:
    """A board with something of everything: levels, an offer, work under way, every availability, an alert."""
    made: dict[str, dict[str, Any]] = {}
    busy = await site.driver("Bo Lindqvist", at_work=True)
    made["active"], _ = await site.assignment(busy, storeName="Lemon Tree", sellerOrderId="K-1041")
    made["driver"] = {"id": busy.id}
    policy = (await site.ada.get("/admin/policy")).json()
    policy["alerts"] |= {"unassignedCount": 2}
    assert (await site.ada.put("/admin/policy", json=policy)).status_code == 200
    places = (("Green Bowl", 3), ("Saffron House", 8), ("Dumpling Yard", 17), ("Golden Noodle", 33))
    for number, (store, minutes) in enumerate(places):
        made[store] = await site.delivery(
            storeName=store, sellerOrderId=f"K-10{50 + number}", pickup={"lat": 52.53 + number / 200, "lon": 13.4}
        )
        await site.node.change(
            "UPDATE deliveries SET unassigned_since = unassigned_since - make_interval(mins => $2) WHERE id = $1",
            made[store]["id"],
            minutes,
        )
    for name, path, body in (
        ("Pia Novak", "take-break", {"durationMinutes": 25}),
        ("Quinn Ito", "pause", None),
        ("Rosa Diaz", "end-shift", None),
    ):
        driver = await site.driver(name)
        await driver.move(52.54, 13.41)
        await driver.post(f"/availability/{path}", body)
    await site.alice.post(f"/admin/unassigned-orders/{made['Golden Noodle']['id']}/acknowledge")

    async def escalated() -> bool:
        rows = (await site.vic.get("/admin/unassigned-orders")).json()["items"]
        return sorted(row["escalationLevel"] for row in rows) == [0, 1, 2, 3]

    await until(escalated)

    async def alerted() -> bool:
        return bool((await site.vic.get("/admin/alerts")).json()["items"])

    await until(alerted)
    dora = await site.driver("Dora Kim")
    await dora.move(52.53, 13.401)
    made["offered"] = {"id": (await dora.offer())["deliveryId"]}
    return made


@pytest.mark.slow
async def test_every_screen_is_accessible_in_both_themes(site: Site, people: People) -> None:
    ada = await people(site.node, "ada", "admin")
    made = await lively(site)
    board = await open_board(ada)
    await expect(board.locator("#rows-waiting .level[data-shape=top]")).to_have_text("Level 3")
    await check_in_both_themes(board, "board", "board")
    await board.locator(f"#d-{made['Green Bowl']['id']}").focus()
    await board.keyboard.press("a")
    await expect(board.get_by_role("dialog")).to_contain_text("Assign order")
    await check_in_both_themes(board, "assign", "board-assign")
    await board.keyboard.press("Escape")
    await board.locator(f"#a-{made['active']['id']}").focus()
    await board.keyboard.press("r")
    await expect(board.get_by_role("dialog")).to_contain_text("loses this order")
    await check_in_both_themes(board, "reassign", "board-reassign")
    await board.keyboard.press("Escape")
    await board.keyboard.press("?")
    await check_in_both_themes(board, "keys")
    await board.keyboard.press("Escape")
    await board.close()
    for name, path in (
        ("delivery", f"/board/deliveries/{made['Golden Noodle']['id']}"),
        ("driver", f"/board/drivers/{made['driver']['id']}"),
        ("kiosk", "/board?kiosk=1"),
    ):
        page = await ada.open(path)
        await expect(page.locator("#badge")).to_have_attribute("data-state", "live")
        await check_in_both_themes(page, name, name)
        await page.close()
    phone = await people(site.node, "ada", "admin", viewport=PHONE, has_touch=True, is_mobile=True)
    page = await open_board(phone)
    await check_in_both_themes(page, "board on a phone", "board-phone")
    await page.goto(f"{phone.url}/board/deliveries/{made['Golden Noodle']['id']}")
    await expect(page.locator("#badge")).to_have_text(LIVE)
    await check_in_both_themes(page, "delivery on a phone", "delivery-phone")


WHOLE = """(part) => part.getBoundingClientRect().right <= part.closest("td").getBoundingClientRect().right"""


async def two_under_way(site: Site) -> tuple[Driver, Driver, dict[str, Any], dict[str, Any]]:
    """Dora has had an order for longer; Dan, who has one too, has ended his shift and is heard of no more."""
    dora = await site.driver("Dora Lindqvist", at_work=True)
    hers, _ = await site.assignment(dora, storeName="Falafel Stop")
    dan = await site.driver("Dan Okafor", at_work=True, phone="+372 555 0101")
    his, _ = await site.assignment(dan, storeName="Noodle Bar North")
    assert (await dan.post("/availability/end-shift")).status_code == 200
    pool = site.node.app.state.node.database.pool
    await until(lambda: pool.fetchval("SELECT last_call_at FROM driver_positions WHERE driver_id = $1", dan.id))
    return dan, dora, his, hers


async def test_a_gone_driver_with_an_order_is_on_top_and_no_filter_hides_them(site: Site, people: People) -> None:
    vic = await people(site.node, "vic", "viewer")
    dan, dora, his, hers = await two_under_way(site)
    board = await open_board(vic)
    rows = board.locator("#rows-active > tr")
    await expect(rows.first).to_have_id(f"a-{hers['id']}")
    await expect(board.locator(f"#v-{dan.id}")).to_be_visible()  # off shift, and carries something
    await expect(board.locator('[data-n="gone"]')).to_be_hidden()
    async with driver_app(site.node.ws_url, dora.id) as app:
        await app.hear("hello")
        await offer_lasts(site, 600, callPresenceSeconds=1)
        row = board.locator(f"#a-{his['id']}")
        await expect(row.locator(".driver-gone")).to_have_text(re.compile(r"^Driver gone \d+ s$"))
        await expect(rows.first).to_have_id(f"a-{his['id']}")
        await expect(row.get_by_role("link", name="+372 555 0101")).to_have_attribute("href", "tel:+372 555 0101")
        await expect(board.locator("#rows-drivers > tr").first).to_have_id(f"v-{dan.id}")
        await board.locator('#headline [data-show="gone"]').click()
        await expect(board.locator('[data-count="active"]')).to_have_text("1 of 2")
        await expect(rows.filter(visible=True)).to_have_count(1)
        await board.locator("#show").select_option("available")
        await expect(board.locator(f"#v-{dan.id}")).to_be_visible()
        await expect(board.locator(f"#v-{dora.id}")).to_be_hidden()
        await board.locator("#q").fill("dora")
        await expect(board.locator(f"#v-{dan.id}")).to_be_hidden()
        await board.locator("#clear").click()
        await board.locator('[data-sort="since"][data-of="active"]').click()
        await expect(rows.first).to_have_id(f"a-{his['id']}")
        await offer_lasts(site, 600, callPresenceSeconds=600)
        await expect(row.locator(".driver-gone")).to_have_count(0)
        await expect(board.locator('[data-n="gone"]')).to_be_hidden()


async def test_a_driver_who_has_gone_is_seen_on_every_screen(site: Site, people: People) -> None:
    dan, dora, his, _ = await two_under_way(site)
    async with driver_app(site.node.ws_url, dora.id) as app:
        await app.hear("hello")
        await offer_lasts(site, 600, callPresenceSeconds=1)
        for name, width, height, query in (
            ("1600", 1600, 950, ""),
            ("1280", 1280, 720, ""),
            ("phone", PHONE["width"], PHONE["height"], ""),
            ("wall", 1920, 1080, "?kiosk=1"),
        ):
            size = {"width": width, "height": height}
            vic = await people(site.node, "vic", "viewer", viewport=size)
            board = await open_board(vic, query)
            for row in (board.locator(f"#v-{dan.id}"), board.locator(f"#a-{his['id']}")):
                await row.scroll_into_view_if_needed()
                for part in (row.locator(".driver-gone"), row.get_by_role("link", name="+372 555 0101")):
                    await expect(part).to_be_in_viewport()
                    assert await part.evaluate(WHOLE), f"{name}: cut off"
            await check_in_both_themes(board, f"gone {name}", f"gone-{name}")
            await board.close()
        for name, path in (("delivery", f"deliveries/{his['id']}"), ("driver", f"drivers/{dan.id}")):
            page = await vic.open(f"/board/{path}")
            await expect(page.locator(".at-risk")).to_contain_text("Driver gone")
            await check_in_both_themes(page, f"gone {name}", f"gone-{name}")


async def test_the_map_shows_where_most_are_and_says_who_is_outside(site: Site, people: People) -> None:
    for n in range(8):
        dan = await site.driver(f"Dan {n}")
        await dan.move(52.52 + n / 100, 13.4 + n / 80)
    for n in range(4):  # at one door
        await (await site.driver(f"Dora {n}")).move(52.5, 13.45)
    far = await site.driver("Farid")
    await far.move(48.1, 11.6)
    for n in range(3):
        await site.delivery(sellerOrderId=f"N-{n}", requirements=["van"])
    vic = await people(site.node, "vic", "viewer")
    board = await open_board(vic)
    await expect(board.locator("#rows-drivers tr")).to_have_count(13)
    outside = board.locator(".outside")
    await expect(outside).to_have_text("1 outside")
    scale = board.locator(".leaflet-control-scale-line")
    assert re.fullmatch(r"[125]00 m|[1235] km", near := await scale.inner_text()), near
    numbers = board.locator(".group-number")
    await expect(numbers.filter(has_text=re.compile("^4$"))).to_have_count(1)
    await expect(numbers.filter(has_text=re.compile("^3$"))).to_have_count(1)
    await check_in_both_themes(board, "map", "board-map")
    await board.set_viewport_size({"width": 390, "height": 844})
    await board.locator("#map").scroll_into_view_if_needed()
    await check_in_both_themes(board, "map on a phone", "board-map-phone")
    await board.set_viewport_size({"width": 1440, "height": 900})
    await outside.click()
    await expect(outside).to_be_hidden()
    await expect(scale).to_have_text(re.compile(r"^\d\d+ km$"))
    # It stays where a person has moved it.
    await far.move(48.2, 11.7)
    await until(lambda: board.locator(f"#v-{far.id}").get_attribute("data-at"))
    await expect(scale).to_have_text(re.compile(r"^\d\d+ km$"))
    # A mark of several is a way to see them apart.
    await board.get_by_role("button", name="Show everything on the map").click()
    await expect(numbers.filter(has_text=re.compile("^12$"))).to_have_count(1)
