"""The driver page on a phone: offers answered with a thumb, and never a closed one; it recovers by itself."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, Request, expect

from server.sockets.session import TOKEN_EXPIRED
from server.web.http.assets import asset
from tests.browser.conftest import LONG_SECONDS, check_in_both_themes, offer_lasts, shoot
from tests.browser.phone import HERE, SIZE, Phone, link, phone, settled, tap
from tests.browser.stopped_clock import pass_time, stop_clock
from tests.conftest import StartNode, running_node
from tests.waiting import until
from tests.web.conftest import Driver, Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ORDER: dict[str, Any] = {"storeName": "Trattoria da Enzo", "driverPayCents": 720, "currency": "EUR", "prepSeconds": 100}


async def value(site: Site, query: str, *args: Any) -> Any:
    return await site.node.app.state.node.database.pool.fetchval(query, *args)


async def times(site: Site, event: str) -> int:
    """How often this happened."""
    happened: int = await value(site, "SELECT count(*) FROM events WHERE type = $1", event)
    return happened


async def changed(site: Site, delivery: dict[str, Any], **changes: Any) -> None:
    """Ops change the order, whatever the watch over risks changes at the same time."""

    async def accepted() -> bool:
        now = (await site.shop.get(f"/deliveries/{delivery['id']}")).json()
        answer = await site.alice.patch(f"/deliveries/{delivery['id']}", json={"version": now["version"], **changes})
        assert answer.status_code in (200, 409), answer.text
        return answer.status_code == 200

    await until(accepted)


async def nobody_answers(site: Site) -> None:
    """The open offer ends without an answer, once the phone has shown it."""
    open_one = "SELECT id::text FROM driver_offers WHERE status = 'PENDING' AND received_at IS NOT NULL"
    await site.node.reach_deadline(await until(lambda: value(site, open_one)))


async def test_a_driver_gets_in_by_link_and_stays_in(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        await expect(dans.page.locator("#name")).to_have_text("Dan")
        assert dans.page.url == f"{site.node.url}/driver?{HERE}"
        await dans.shows("available")
        await dans.page.goto(f"{site.node.url}/driver")
        await dans.online()
        await dans.sign_out()
        await dans.page.reload()
        await dans.page.get_by_label("Or paste the link here").fill("https://example.org/")
        await dans.press("Start")
        await expect(dans.page.get_by_role("alert")).to_have_text("This is not a driver’s link.")
        await dans.page.get_by_label("Or paste the link here").fill(site.node.url + link(site, dan))
        await dans.press("Start")
        await dans.online()


async def test_the_token_goes_to_no_address(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        asked: list[str] = []
        page = await dans.context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        await page.goto(site.node.url + link(site, dan))
        await expect(page.locator("#line")).to_have_text("Online")
        await page.reload()
        await expect(page.locator("#line")).to_have_text("Online")
        assert any("/ws/driver" in url for url in asked)
        assert not any("eyJ" in url.partition("#")[0] for url in asked)
        assert "eyJ" not in page.url


async def test_an_offer_is_accepted_carried_out_and_delivered(chromium: Browser, node: StartNode) -> None:
    """At every step the card shows the place, the phone numbers, the order number and the note."""
    site = Site(await node(dispatch_phone="+49 30 90-18 20"))
    await offer_lasts(site, LONG_SECONDS)
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        today = dans.page.locator("#numbers [data-period=today] dd")
        await expect(today).to_have_text(re.compile(r"^0 deliveries · 0:0\d h$"))
        shop = {"lat": 52.52, "lon": 13.405, "address": "Torstr. 1", "phone": "+49 30 1234", "notes": "Side door"}
        home = {"lat": 52.53, "lon": 13.41, "address": "Kastanienallee 77", "name": "Anna Weber", "phone": "0170 55"}
        order = ORDER | {"sellerOrderId": "A-2001", "notes": "No <b>cutlery</b>", "tipCents": 80}
        delivery = await site.delivery(**order, pickup=shop, dropoff=home | {"notes": "Door code 1234"})
        await expect(dans.offer).to_be_visible()
        await expect(dans.offer.get_by_role("heading", name="Trattoria da Enzo")).to_be_focused()
        await expect(dans.offer).to_contain_text("€8.00")
        await expect(dans.offer).to_contain_text(re.compile(r"0\.\d km"))
        await expect(dans.offer).to_contain_text("Torstr. 1")
        map_link = dans.offer.get_by_role("link", name="Map to the pickup")
        assert "52.52,13.405" in (await map_link.get_attribute("href") or "")
        await until(lambda: value(site, "SELECT received_at FROM driver_offers"))
        await dans.press("Accept")
        await expect(dans.offer).to_be_hidden()
        job = dans.page.get_by_role("article")
        await expect(job).to_contain_text("On the way to the pickup")
        await expect(job.get_by_role("heading")).to_have_text("Trattoria da Enzo")
        await expect(job.locator(".where")).to_have_text("Torstr. 1")
        await expect(job.locator(".number")).to_have_text("Order number A-2001")
        await expect(job.locator("dl > div").filter(visible=True)).to_have_text(
            [
                re.compile(r"^Ready (at|since)\d\d:\d\d$"),
                re.compile(r"^Deliver by\d\d:\d\d$"),
                "Pay€8.00",
            ]
        )
        await expect(job.locator(".note")).to_contain_text("No <b>cutlery</b>\nSide door")
        await expect(dans.page.locator("#numbers")).to_be_hidden()

        async def leads(name: str, within: str, href: str) -> None:
            link = job.locator(within).get_by_role("link", name=name, exact=True)
            await expect(link).to_have_attribute("href", re.compile(f"{re.escape(href)}$"))

        await leads("Map to the pickup at Trattoria da Enzo", ".ways", "52.52,13.405")
        await leads("Call the store", ".ways", "tel:+49301234")
        await leads("Call dispatch", ".ways", "tel:+4930901820")
        await leads("Call the customer", ".stops", "tel:017055")
        await dans.shows("busy")
        await dans.press("Picked up")
        await expect(job).to_contain_text("On the way to the customer")
        await expect(job.get_by_role("heading")).to_have_text("Anna Weber")
        await expect(job.locator(".note")).to_contain_text("Door code 1234")
        await expect(job.locator(".note")).not_to_contain_text("Side door")
        await leads("Map to the drop-off from Trattoria da Enzo", ".ways", "52.53,13.41")
        await leads("Call the customer", ".ways", "tel:017055")
        await leads("Call the store", ".stops", "tel:+49301234")
        earlier = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        await changed(site, delivery, promisedAt=earlier)
        await expect(job.locator("[data-late]")).to_contain_text("Late since")
        await changed(
            site, delivery, dropoff=home | {"notes": "Door code 1234", "address": "Schloßstr. 3", "lat": 52.54}
        )
        said = "The customer of the delivery from Trattoria da Enzo (A-2001) is at another place now: Schloßstr. 3."
        await expect(dans.page.locator("#notices")).to_contain_text(said)
        await expect(job.locator(".where")).to_have_text("Schloßstr. 3")
        await leads("Map to the drop-off from Trattoria da Enzo", ".ways", "52.54,13.41")
        await dans.press("Delivered")
        await expect(job).to_have_count(0)
        await expect(dans.page.locator("#notices")).to_contain_text("Delivered: Trattoria da Enzo")
        await dans.shows("available")
        await expect(today).to_have_text(re.compile(r"^1 delivery · 0:0\d h · €8.00$"))
        assert (await site.shop.get(f"/deliveries/{delivery['id']}")).json()["status"] == "DELIVERED"
    await site.close()


async def test_an_offer_is_rejected_with_a_reason_and_does_not_come_again(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        delivery = await site.delivery(**ORDER)
        await tap(dans.offer.get_by_role("button", name="Reject"))
        await dans.press("Back to the offer")
        await tap(dans.offer.get_by_role("button", name="Reject"))
        await dans.page.keyboard.press("Escape")
        await expect(dans.offer.get_by_role("button", name="Accept")).to_be_visible()
        await tap(dans.offer.get_by_role("button", name="Reject"))
        await dans.press("Pays too little")
        await expect(dans.offer).to_be_hidden()
        timeline = (await site.ada.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
        [rejected] = [item for item in timeline if item["type"] == "offer.rejected"]
        assert rejected["data"]["reason"] == "low_pay"
        await dans.shows("available")


async def test_the_ring_shrinks_with_the_time(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    await offer_lasts(site, 60)
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        await site.delivery(**ORDER)
        await expect(dans.offer).to_be_visible()
        seen = """() => [Number(document.getElementById("offer-left").textContent),
            Number(document.getElementById("ring").style.strokeDashoffset)]"""
        first, gone = await dans.page.evaluate(seen)
        assert 1 - first / 60 <= gone <= 1 - (first - 1) / 60
        later = await dans.page.wait_for_function(
            f"(first) => {{ const [left, gone] = ({seen})(); return left <= first - 2 && [left, gone]; }}", arg=first
        )
        left, gone = await later.json_value()
        assert 1 - left / 60 <= gone <= 1 - (left - 1) / 60


async def test_an_offer_whose_time_is_up_is_gone_without_the_servers_word(chromium: Browser, site: Site) -> None:
    """The page watches the time itself: the phone's clocks go on here, the server's do not."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await stop_clock(dans)
        await site.delivery(**ORDER)
        await expect(dans.offer).to_be_visible()
        await pass_time(dans, 1000)
        await dans.page.clock.fast_forward(LONG_SECONDS * 1000 - 1000)
        await expect(dans.offer).to_be_hidden()
        await dans.online()
        assert await value(site, "SELECT status FROM driver_offers") == "PENDING"


async def test_an_offer_that_ran_out_is_said_to_have(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    await offer_lasts(site, 2, expiryPolicy="next_driver")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        await site.delivery(**ORDER)
        await expect(dans.page.locator("#notices")).to_contain_text("The offer has expired.")
        await expect(dans.offer).to_be_hidden()
        assert await value(site, "SELECT status FROM driver_offers") == "EXPIRED"


async def test_an_offer_that_was_taken_away_is_gone_at_once(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        delivery = await site.delivery(**ORDER)
        await expect(dans.offer).to_be_visible()
        await site.alice.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "the shop is closed"})
        await expect(dans.offer).to_be_hidden()
        await expect(dans.page.locator("#notices")).to_contain_text("The order was cancelled.")


async def test_silence_makes_the_delivery_the_drivers(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        await site.delivery(**ORDER)
        await nobody_answers(site)
        await expect(dans.page.get_by_role("article")).to_contain_text("Trattoria da Enzo")
        await expect(dans.page.locator("#notices")).to_contain_text("because you did not answer the offer")
        await expect(dans.offer).to_be_hidden()


async def test_the_job_says_when_the_driver_did_not_ask_for_it(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan", capacity=3)
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        jobs = dans.page.get_by_role("article")
        await site.delivery(**ORDER, sellerOrderId="asked for")
        await dans.press("Accept")
        await expect(jobs).to_have_count(1)
        await expect(jobs.locator(".given")).to_be_hidden()
        await expect(dans.page.locator("#run")).to_be_hidden()
        delivery = await site.delivery(**ORDER | {"storeName": "By Hand", "sellerOrderId": "A-7"})
        await expect(dans.offer.locator("#offer-addon")).to_have_text(
            re.compile(r"^On your way: \d+ min more, 4 stops in all$")
        )
        await expect(dans.page.locator("[data-settling]")).to_have_count(0)
        await shoot(dans.page, "driver-add-on")
        given = {"driverId": dan.id, "reason": "agreed by phone", "mode": "assign", "replaceOffer": True}
        answer = await site.alice.post(f"/admin/deliveries/{delivery['id']}/assign", json=given)
        assert answer.status_code == 201, answer.text
        by_hand = jobs.filter(has_text="By Hand")
        await expect(by_hand.locator(".given")).to_have_text("Assigned to you by your dispatcher")
        stops = dans.page.locator("#run li")
        await expect(stops).to_have_count(4)
        await expect(stops.filter(has_text="Pickup: By Hand · A-7")).to_have_count(1)
        await tap(jobs.first.get_by_role("button", name="Picked up"))
        await expect(dans.page.locator("#run li.done")).to_have_text(re.compile(r"^Pickup: .* · done \d\d:\d\d$"))
        await expect(stops.nth(1)).to_contain_text("Pickup: By Hand")
        await expect(jobs.first).to_contain_text("By Hand")
        await site.delivery(**ORDER | {"storeName": "By Silence", "prepSeconds": 0})
        await nobody_answers(site)
        by_silence = jobs.filter(has_text="By Silence")
        words = "Assigned to you because you did not answer"
        await expect(by_silence.locator(".given")).to_have_text(words)
        await dans.page.reload()
        await dans.online()
        await expect(by_silence.locator(".given")).to_have_text(words)
        await expect(by_hand.locator(".given")).to_have_text("Assigned to you by your dispatcher")
        await expect(jobs.locator(".given").filter(visible=True)).to_have_count(2)
        await by_silence.scroll_into_view_if_needed()
        await check_in_both_themes(dans.page, "given", "driver-given")


async def test_what_dispatch_does_with_a_delivery_is_said(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        delivery = await site.delivery(**ORDER)
        await dans.press("Accept")
        await expect(dans.page.get_by_role("article")).to_be_visible()
        assignment = (await site.ada.get(f"/deliveries/{delivery['id']}")).json()["assignment"]
        moved = await site.ada.post(f"/admin/assignments/{assignment['id']}/reassign", json={"reason": "flat tyre"})
        assert moved.status_code == 200
        await expect(dans.page.get_by_role("article")).to_have_count(0)
        await expect(dans.page.locator("#notices")).to_contain_text("is no longer yours: flat tyre.")
        set_by = {"availability": "paused", "reason": "vehicle check"}
        assert (await site.ada.post(f"/admin/drivers/{dan.id}/availability", json=set_by)).status_code == 200
        await dans.shows("paused")
        await expect(dans.sign).to_contain_text("vehicle check")


async def break_end(on: Phone) -> datetime:
    state = (await on.driver.get("/state")).json()
    return datetime.fromisoformat(state["driver"]["availabilityUntil"])


async def test_breaks_pauses_and_the_end_of_the_shift(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        await dans.press("Take a break")
        await dans.press("45 min")
        await dans.press("Start break")
        await dans.shows("on_break")
        await expect(dans.page.locator("#duty-time")).to_have_text(re.compile(r"^4[45]:\d\d$"))
        before = await break_end(dans)
        await dans.press("+10 min")
        await expect(dans.page.locator("#duty-time")).to_have_text(re.compile(r"^5[45]:\d\d$"))
        assert await break_end(dans) - before == timedelta(minutes=10)
        await dans.press("Change length")
        await dans.page.get_by_label("Minutes, 5 to 120").fill("3")
        await dans.press("Start break")
        await expect(dans.page.locator("#break")).to_be_visible()
        await dans.page.get_by_label("Minutes, 5 to 120").fill("90")
        await dans.press("Start break")
        await expect(dans.page.locator("#duty-time")).to_have_text(re.compile(r"^1:(29|30):\d\d$"))
        await dans.press("Back to work")
        await dans.shows("available")
        await dans.press("Pause")
        await dans.shows("paused")
        await dans.press("Resume")
        await dans.shows("available")
        await dans.press("End shift")
        await dans.press("Back")
        await dans.shows("available")
        await dans.press("End shift")
        await tap(dans.page.locator("#leave").get_by_role("button", name="End shift"))
        await dans.shows("shift_ended")
        await dans.press("Start shift")
        await dans.shows("available")
        history = (await site.ada.get(f"/drivers/{dan.id}/availability/history")).json()["items"]
        assert [item["toState"] for item in history[:3]] == ["available", "shift_ended", "available"]


async def test_a_question_that_is_open_makes_way_for_an_offer(chromium: Browser, site: Site) -> None:
    """And what it asked about a delivery in hand it asks again, as long as the driver has that."""
    dan = await site.driver("Dan", capacity=2)
    away = {"latitude": 52.5295, "longitude": 13.404, "accuracy": 10}
    async with phone(chromium, site, dan, query="", permissions=["geolocation"], geolocation=away) as dans:
        await dans.online()
        await dans.press("Take a break")
        await expect(dans.page.locator("#break")).to_be_visible()
        delivery = await site.delivery(**ORDER)
        await expect(dans.offer).to_be_visible()
        await expect(dans.page.locator("#break")).to_be_hidden()
        await dans.press("Accept")
        await expect(dans.page.get_by_role("article")).to_be_visible()
        question = dans.page.get_by_role("dialog", name="away from the store. Picked up anyway?")
        await dans.press("Picked up")
        await expect(question).to_be_visible()
        await site.delivery(storeName="Sushi Mori")
        await expect(dans.offer).to_be_visible()
        await expect(question).to_be_hidden()
        await dans.press("Reject")
        await dans.press("Too far")
        await expect(dans.offer).to_be_hidden()
        await expect(question).to_be_visible()
        cancelled = await site.ada.post(
            f"/deliveries/{delivery['id']}/cancel", json={"reason": "sold out", "force": True}
        )
        assert cancelled.is_success
        await expect(dans.page.get_by_role("article")).to_have_count(0)
        await expect(question).to_be_hidden()


async def test_without_a_network_it_says_so_and_shows_no_offer_that_may_be_over(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        dans.owner.network_may_fail = True
        await dans.online()
        first = await site.delivery(**ORDER)
        await expect(dans.offer).to_be_visible()
        await dans.context.set_offline(True)
        await expect(dans.offer).to_be_hidden()
        await expect(dans.line).to_have_text("Offline")
        await expect(dans.page.get_by_role("alert")).to_contain_text("You are offline.")
        await expect(dans.page.get_by_role("button", name="Take a break")).to_be_disabled()
        await dans.context.set_offline(False)
        await dans.online()
        await expect(dans.offer).to_be_visible()

        await dans.context.set_offline(True)
        await expect(dans.line).to_have_text("Offline")
        await site.alice.post(f"/deliveries/{first['id']}/cancel", json={"reason": "too late"})
        await dans.context.set_offline(False)
        await dans.online()
        await expect(dans.page.locator("#notices")).to_contain_text("The order was cancelled.")
        await expect(dans.offer).to_be_hidden()


async def test_a_restarted_server_is_found_again(chromium: Browser, site: Site, node: StartNode) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        dans.owner.network_may_fail = True
        await dans.online()
        port, settings = site.node.port, site.node.settings
        await site.node.stop()
        await expect(dans.line).to_have_text("Offline")
        await expect(dans.page.locator("#offline")).to_contain_text("Connecting again.")
        await expect(dans.page.locator("#duty-text")).to_have_text("")
        async with running_node(settings, port) as again:
            site.node = again
            await dans.online()
            await site.delivery(**ORDER)
            await dans.press("Accept")
            await expect(dans.page.get_by_role("article")).to_contain_text("Trattoria da Enzo")


async def test_a_connection_that_only_looks_open_is_found_out(chromium: Browser, site: Site) -> None:
    """After sleep or in a dead spot the browser still calls the socket open."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.page.add_init_script(
            "const send = WebSocket.prototype.send;"
            "globalThis.silent = false;"
            "WebSocket.prototype.send = function (text) { if (!globalThis.silent) send.call(this, text); };"
        )
        await dans.page.reload()
        await dans.online()
        session = await value(site, "SELECT session_id FROM drivers")
        await dans.page.evaluate("globalThis.silent = true; document.dispatchEvent(new Event('visibilitychange'))")
        await until(lambda: _another(site, session))
        await dans.page.evaluate("globalThis.silent = false")
        await dans.online()


async def test_a_server_that_never_answers_is_given_up_and_asked_again(chromium: Browser, site: Site) -> None:
    """As behind a gateway that takes every connection. Chromium warns of a socket that is given up so early."""
    met: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: met.append(writer), "127.0.0.1")
    port = silent.sockets[0].getsockname()[1]
    dan = await site.driver("Dan")
    async with silent, phone(chromium, site, dan, bypass_csp=True) as dans:
        dans.owner.network_may_fail = True
        await dans.context.add_init_script(
            "const Real = WebSocket; globalThis.WebSocket = class extends Real { constructor(url, ...more) {"
            f" super(globalThis.silent ? url.replace(/:[0-9]+/, ':{port}') : url, ...more); }} }};"
        )
        await stop_clock(dans)
        await dans.page.evaluate("globalThis.silent = true")
        await dans.context.set_offline(True)
        await expect(dans.line).to_have_text("Offline")
        await dans.context.set_offline(False)
        await until(lambda: len(met) == 1)
        await dans.page.clock.run_for(9_900)
        assert len(met) == 1
        await dans.page.clock.run_for(600)
        await until(lambda: len(met) == 2)
        await dans.page.evaluate("globalThis.silent = false")
        await dans.page.clock.run_for(12_000)
        await pass_time(dans, 1000)
        await dans.online()
        for writer in met:
            writer.close()


async def _another(site: Site, session: str) -> bool:
    return bool(await value(site, "SELECT session_id FROM drivers") not in (None, session))


@pytest.mark.parametrize("title", ["This link has expired", "This link no longer works"])
async def test_the_page_says_why_a_link_does_not_work(chromium: Browser, site: Site, title: str) -> None:
    dan = await site.driver("Dan")
    stranger = Driver("01a20d95-bd15-7304-adfd-8e3a9c15409e", dan.client)
    # A token is valid for 30 s longer than it says.
    whose, seconds = (dan, -40) if title == "This link has expired" else (stranger, 3600)
    async with phone(chromium, site, whose, seconds=seconds) as dans:
        await expect(dans.page.get_by_role("heading", name=title)).to_be_visible()
        await dans.press("Enter another link")
        await expect(dans.page.get_by_label("Or paste the link here")).to_be_visible()


async def test_the_device_tells_where_the_driver_is(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    at = {"latitude": 52.51, "longitude": 13.4, "accuracy": 12}
    async with phone(chromium, site, dan, query="", permissions=["geolocation"], geolocation=at) as dans:
        await dans.online()
        await expect(dans.page.locator("#whereabouts")).to_be_hidden()
        where = "SELECT lat FROM driver_positions WHERE driver_id = $1"
        await until(lambda: _near(site, where, dan, 52.51))
        await dans.context.set_geolocation({"latitude": 52.52, "longitude": 13.4, "accuracy": 12})
        await until(lambda: _near(site, where, dan, 52.52))
        await site.assignment(dan)
        await dans.context.set_geolocation({"latitude": 52.508, "longitude": 13.405, "accuracy": 12})
        await until(lambda: _near(site, where, dan, 52.508))
        dans.owner.network_may_fail = True
        await dans.context.set_offline(True)
        question = dans.page.get_by_role("dialog", name="You are 1.3 km away from the store. Picked up anyway?")
        await dans.press("Picked up")
        await expect(question).to_be_visible()
        await dans.press("No")
        await expect(question).to_be_hidden()
        await dans.press("Picked up")
        await dans.press("Yes")
        await settled(dans.page.get_by_role("button", name="Delivered", exact=True))


async def _near(site: Site, query: str, driver: Driver, wanted: float) -> bool:
    return bool(await value(site, query, driver.id) == pytest.approx(wanted))


async def test_the_position_goes_out_with_every_new_connection(chromium: Browser, site: Site) -> None:
    """And not with the clock that repeats it later."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        await dans.page.add_init_script("globalThis.setInterval = () => 0")
        await until(lambda: value(site, "SELECT at FROM driver_positions"))
        before = await site.node.change("DELETE FROM driver_positions RETURNING at")
        await dans.page.reload()
        await until(lambda: value(site, "SELECT at > $1 FROM driver_positions", before))


async def test_where_the_device_does_not_tell_the_driver_can(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, query="") as dans:
        await dans.online()
        await expect(dans.page.locator("#whereabouts")).to_contain_text("You get no offers without your position.")
        await dans.press("Share position")
        await expect(dans.page.locator("#whereabouts")).to_contain_text("not shared")
        await dans.press("Set position")
        await dans.page.get_by_label("Latitude").fill("52.519")
        await dans.page.get_by_label("Longitude").fill("13.404")
        await dans.press("I am here")
        await expect(dans.page.locator("#whereabouts")).to_be_hidden()
        await site.delivery(**ORDER)
        await expect(dans.offer).to_be_visible()
        await dans.page.add_init_script("Object.defineProperty(globalThis, 'isSecureContext', { value: false })")
        await dans.page.reload()
        await expect(dans.page.locator("#whereabouts")).to_contain_text("This address has no https.")


async def test_the_page_opens_without_a_network(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        dans.owner.network_may_fail = True
        await dans.online()
        await dans.page.evaluate("navigator.serviceWorker.ready.then(() => null)")
        await until(lambda: dans.page.evaluate("navigator.serviceWorker.controller !== null"))
        await dans.context.set_offline(True)
        await dans.page.reload()
        await expect(dans.line).to_have_text("Offline")
        await expect(dans.page.get_by_role("alert")).to_contain_text("You are offline.")
        await dans.context.set_offline(False)
        await dans.online()


async def test_an_offer_in_the_background_does_not_count_as_seen(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.page.add_init_script(
            "globalThis.away = false;"
            "Object.defineProperty(document, 'visibilityState', { get: () => (away ? 'hidden' : 'visible') });"
        )
        await dans.page.reload()
        await dans.online()
        await dans.page.evaluate("globalThis.away = true")
        await site.delivery(**ORDER)
        await expect(dans.offer).to_be_visible()
        await asyncio.gather(*(dans.driver.get("/state") for _ in range(3)))
        assert await value(site, "SELECT received_at FROM driver_offers") is None
        await dans.page.evaluate("globalThis.away = false; document.dispatchEvent(new Event('visibilitychange'))")
        await until(lambda: value(site, "SELECT received_at FROM driver_offers"))


@pytest.mark.slow
async def test_every_state_is_accessible_and_fits_the_phone(chromium: Browser, site: Site) -> None:
    dora = await site.driver("Dora Lindqvist")

    async def look(name: str) -> None:
        await check_in_both_themes(doras.page, name, f"driver-{name}")
        wide = await doras.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= SIZE["width"], name

    async with phone(chromium, site, dora, reduced_motion="reduce", device_scale_factor=2) as doras:
        doras.owner.network_may_fail = True
        await doras.online()
        await look("available")
        await tap(doras.page.get_by_label("Menu"))
        await look("menu")
        await tap(doras.page.get_by_label("Menu"))
        await doras.press("Take a break")
        await look("break-question")
        await doras.press("Start break")
        await doras.shows("on_break")
        await look("break")
        await doras.press("Back to work")
        await doras.shows("available")
        await site.delivery(**ORDER, dropoff={"lat": 52.53, "lon": 13.41, "address": "Kastanienallee 77, 3rd floor"})
        await expect(doras.offer).to_be_visible()
        await expect(doras.offer).to_contain_text(re.compile(r"Drop-off, \d+\.\d km from the pickup"))
        await look("offer")
        await fits(doras, "Accept")
        await tap(doras.offer.get_by_role("button", name="Reject"))
        await look("reasons")
        await fits(doras, "Back to the offer")
        await doras.press("Back to the offer")
        await doras.press("Accept")
        await expect(doras.page.get_by_role("article")).to_be_visible()
        await look("delivery")
        await fits(doras, "Picked up")
        await doras.press("Picked up")
        await expect(doras.page.get_by_role("article")).to_contain_text("On the way to the customer")
        await look("delivery-picked-up")
        await doras.context.set_offline(True)
        await expect(doras.line).to_have_text("Offline")
        await look("offline")
        await doras.context.set_offline(False)
        await doras.online()
        await doras.press("Delivered")
        await doras.press("Pause")
        await doras.shows("paused")
        await look("paused")
        await doras.press("End shift")
        await look("leave-question")
        await tap(doras.page.locator("#leave").get_by_role("button", name="End shift"))
        await doras.shows("shift_ended")
        await look("shift-ended")
        newer = await doras.owner.open("/driver")
        await tap(newer.get_by_role("button", name="Start shift"))
        await expect(doras.page.get_by_role("heading", name="Callboard is open in another tab")).to_be_visible()
        await doras.page.bring_to_front()
        await look("superseded")
        await newer.close()


async def fits(on: Phone, button: str) -> None:
    """The button is whole on the screen, large enough for a thumb, without scrolling."""
    box = await on.page.get_by_role("button", name=button, exact=True).bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= SIZE["height"]
    assert box["height"] >= 48


async def invitation(site: Site, driver: Driver) -> str:
    """The address of a new invitation, at a place."""
    code = (await site.alice.post(f"/drivers/{driver.id}/invitation")).json()["code"]
    return f"/driver?{HERE}#code={code}"


async def device_token_on(phone: Phone) -> str:
    """The device token that is kept on this phone."""
    kept: str = await phone.page.evaluate("JSON.parse(localStorage.getItem('callboard.driver.device')).token")
    return kept


async def device_of(site: Site, driver: Driver) -> dict[str, Any]:
    """The one device on which the driver is signed in."""
    listed = (await site.alice.get(f"/drivers/{driver.id}/devices")).json()["items"]
    (device,) = [one for one in listed if one["endedAt"] is None]
    found: dict[str, Any] = device
    return found


async def expire_token(site: Site, phone: Phone) -> None:
    """The server closes the socket as it does when the token expires; the phone is back with another one."""
    before = await device_token_on(phone)
    sockets = site.node.app.state.node.hub.sockets
    closed = None

    async def another() -> bool:
        """A phone that has just given a connection up has another one, with the same token."""
        nonlocal closed
        socket = sockets.get(phone.driver.id)
        if await device_token_on(phone) != before:
            return True
        if socket not in (None, closed):
            socket.close(TOKEN_EXPIRED)
            closed = socket
        return False

    await until(another)
    await until(lambda: sockets.get(phone.driver.id) not in (None, closed))
    await phone.online()


async def test_a_phone_signs_in_by_invitation_and_stays_signed_in(chromium: Browser, site: Site) -> None:
    """Its token runs out, also twice, and the phone gets another by itself; the device is still the same."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, path=await invitation(site, dan)) as dans:
        await dans.online()
        await expect(dans.page.locator("#name")).to_have_text("Dan")
        assert dans.page.url == f"{site.node.url}/driver?{HERE}"
        device = await device_of(site, dan)
        for _ in range(2):
            await expire_token(site, dans)
        await dans.page.reload()
        await dans.online()
        assert (await device_of(site, dan))["id"] == device["id"]


async def test_a_phone_that_is_signed_out_says_so_and_takes_another_invitation(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    first = await invitation(site, dan)
    async with phone(chromium, site, dan, path=first) as dans:
        dans.owner.network_may_fail = True
        await dans.online()
        device = await device_of(site, dan)
        assert (await site.alice.delete(f"/drivers/{dan.id}/devices/{device['id']}")).status_code == 204
        await expect(dans.page.get_by_role("heading", name="You are signed out")).to_be_visible()
        await dans.press("Enter another link")
        await dans.page.get_by_label("Or paste the link here").fill(site.node.url + first)
        await dans.press("Start")
        await expect(dans.page.get_by_role("alert")).to_contain_text("This invitation is not valid")
        code = (await invitation(site, dan)).rpartition("=")[2]
        await dans.page.get_by_label("Or paste the link here").fill(code)
        await dans.press("Start")
        await dans.press("Start shift")
        await dans.online()
        await dans.sign_out()

        async def signed_out() -> bool:
            return bool((await site.alice.get(f"/drivers/{dan.id}")).json()["deviceCount"] == 0)

        await until(signed_out)


async def test_a_renewal_whose_answer_is_lost_signs_nobody_out(chromium: Browser, site: Site) -> None:
    """The server renewed the token, but its answer was lost. The phone repeats the renewal and is signed in."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, path=await invitation(site, dan)) as dans:
        dans.owner.network_may_fail = True
        await dans.online()
        lost = 0

        async def lose(route: Any) -> None:
            nonlocal lost
            if lost:
                await route.continue_()
                return
            lost += 1
            await route.fetch()
            await route.abort()

        await dans.page.route("**/driver/renew", lose)
        await expire_token(site, dans)
        assert lost == 1
        assert (await device_of(site, dan))["endedAt"] is None


async def test_two_tabs_of_one_phone_renew_its_token_once(chromium: Browser, site: Site) -> None:
    """The other tab is superseded. When both learn that the token has expired, one renews it and both use it."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, path=await invitation(site, dan)) as dans:
        await dans.online()
        asked: list[str] = []
        other = await dans.owner.open("/driver")
        for page in (dans.page, other):
            page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/renew") else None)
        await expect(other.locator("#line")).to_have_text("Online")
        renewing = "import('MODULE').then((m) => m.renew(m.kept()))".replace("MODULE", asset("driver/token.js"))
        outcomes = await asyncio.gather(dans.page.evaluate(renewing), other.evaluate(renewing))
        assert outcomes[0] == "renewed"
        assert outcomes[1] == "renewed"
        assert (await device_of(site, dan))["endedAt"] is None


async def test_a_link_that_is_not_valid_signs_nobody_out(chromium: Browser, site: Site) -> None:
    """Any page can open such a link. The phone stays signed in until the server accepts one."""
    dan = await site.driver("Dan")
    used = await invitation(site, dan)
    async with phone(chromium, site, dan, path=used) as dans:
        dans.owner.network_may_fail = True
        await dans.online()
        device = await device_of(site, dan)
        for path in (used, f"/driver?{HERE}#token=a.b.c", link(site, dan, seconds=-60)):
            await dans.page.goto(site.node.url + path)
            await expect(dans.page.get_by_text("You are still signed in.").last).to_be_visible()
            await dans.online()
            await dans.page.reload()
            await dans.online()
        assert (await device_of(site, dan))["id"] == device["id"]
        dora = await site.driver("Dora")
        await dans.page.goto(site.node.url + link(site, dora))
        await dans.press("Start shift")
        await expect(dans.page.locator("#name")).to_have_text("Dora")
        await dans.online()

        async def signed_out() -> bool:
            return bool((await site.alice.get(f"/drivers/{dan.id}")).json()["deviceCount"] == 0)

        await until(signed_out)


async def test_a_renewal_that_is_on_its_way_does_not_undo_a_sign_in(chromium: Browser, site: Site) -> None:
    dan, dora = await site.driver("Dan"), await site.driver("Dora")
    async with phone(chromium, site, dan, path=await invitation(site, dan)) as dans:
        await dans.online()
        signed_in = asyncio.Event()

        async def hold(route: Any) -> None:
            answer = await route.fetch()
            await signed_in.wait()
            await route.fulfill(response=answer)

        await dans.page.route("**/driver/renew", hold)

        def note(request: Request) -> None:
            if request.url.endswith("/sign-in"):
                signed_in.set()

        dans.page.on("requestfinished", note)
        module = asset("driver/token.js")
        code = (await invitation(site, dora)).rpartition("=")[2]
        await dans.page.evaluate(
            f"import('{module}').then((m) => Promise.all([m.renew(m.kept()), m.signIn('{code}', crypto.randomUUID())]))"
        )
        await dans.page.reload()
        await dans.press("Start shift")
        await expect(dans.page.locator("#name")).to_have_text("Dora")
        await dans.online()
