"""Offers for a driver whose page is closed: the opt-in on the page, and what the service worker makes of a push.

A push service's part is played by the test: a receiver takes what the server sends, the message is read with the
phone's keys and handed to the real service worker. Browsers in tests have no push service to subscribe at, so that
one call of the page's is answered by the test too.
"""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, CDPSession, Page, expect

from server.ids import new_id
from tests.browser.conftest import LONG_SECONDS, Chromiums, browser_fixture, check_in_both_themes, offer_lasts
from tests.browser.phone import SIZE, phone, tap
from tests.browser.phone import Phone as Screen
from tests.browser.test_driver_page import ORDER, value
from tests.conftest import StartNode
from tests.phone import Phone
from tests.receiver import Receiver
from tests.waiting import until
from tests.web.conftest import Driver, Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ASK = "Get offers when the page is closed"
SUBSCRIBE = """
(() => {
  const mine = SUBSCRIPTION;
  const decoded = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const kept = () => {
    const key = localStorage.getItem("subscribed");
    return key && {
      options: { applicationServerKey: decoded(key) },
      toJSON: () => mine,
      unsubscribe: async () => localStorage.removeItem("subscribed"),
    };
  };
  PushManager.prototype.getSubscription = async () => kept();
  PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
    if (!userVisibleOnly) throw new Error("browsers insist on it");
    localStorage.setItem("subscribed", btoa(String.fromCharCode(...new Uint8Array(applicationServerKey))));
    return kept();
  };
})();
"""


@browser_fixture
async def chromium(chromiums: Chromiums) -> AsyncIterator[Browser]:
    """One with notifications."""
    async with chromiums.lent(whole=True) as browser:
        yield browser


@browser_fixture
async def service() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    receiver.status = 201
    await receiver.start()
    yield receiver
    await receiver.stop()


@browser_fixture
async def site(node: StartNode) -> AsyncIterator[Site]:
    """A node that may call this machine."""
    site = Site(await node(webhooks_allow_private=True))
    await offer_lasts(site, LONG_SECONDS)
    yield site
    await site.close()


async def opted_in(screen: Screen, service: Receiver) -> Phone:
    """The driver wants pushes; their browser subscribes at this service."""
    mine = Phone(service)
    await screen.context.add_init_script(SUBSCRIBE.replace("SUBSCRIPTION", json.dumps(mine.subscription)))
    await screen.context.grant_permissions(["notifications", "geolocation"])
    await screen.page.reload()
    await screen.online()
    await screen.press(ASK)
    await expect(screen.page.locator("#call-me")).to_be_hidden()
    await expect(screen.page.locator("#notify")).to_have_text("Notifications are on")  # in the menu, not seen
    assert len(await subscriptions(screen.driver)) == 1
    return mine


async def subscriptions(driver: Driver) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await driver.get("/push-subscriptions")).json()["items"]
    return items


class Away:
    """The phone with the page closed: what its service worker shows."""

    def __init__(self, page: Page, cdp: CDPSession, registration_id: str) -> None:
        self._page = page
        self._cdp = cdp
        self._registration_id = registration_id

    async def pushed(self, message: dict[str, Any]) -> None:
        """What the browser's push service does with a message."""
        origin = await self._page.evaluate("location.origin")
        await self._cdp.send(
            "ServiceWorker.deliverPushMessage",
            {"origin": origin, "registrationId": self._registration_id, "data": json.dumps(message)},
        )

    async def shown(self) -> list[dict[str, Any]]:
        """The notifications on the phone; asked in turn with who shows them, or Chromium may forget one."""
        found: list[dict[str, Any]] = await self._page.evaluate(
            """() => navigator.locks.request("offer", async () =>
               (await (await navigator.serviceWorker.getRegistration("/driver")).getNotifications())
               .map(({ title, body, tag, requireInteraction }) => ({ title, body, tag, requireInteraction })))"""
        )
        return found

    async def kept(self) -> Any:
        """The token that the service worker finds."""
        return await self._page.evaluate("async () => (await caches.match('/driver/pass'))?.text() ?? null")


async def away(screen: Screen, site: Site, *, close: bool = True) -> Away:
    """Close the page, its driver present by a call; or only look at the worker beside it."""
    await screen.page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    page = await screen.context.new_page()
    await page.goto(screen.owner.url + "/static/icons/callboard.svg")
    cdp = await screen.context.new_cdp_session(page)
    registrations: list[dict[str, Any]] = []
    cdp.on("ServiceWorker.workerRegistrationUpdated", lambda event: registrations.extend(event["registrations"]))
    await cdp.send("ServiceWorker.enable")
    await until(lambda: registrations)
    if close:
        await until(lambda: called(site, screen.driver))
        await screen.page.close()
        await until(lambda: is_gone(screen.driver))
    return Away(page, cdp, registrations[-1]["registrationId"])


async def called(site: Site, driver: Driver) -> Any:
    query = "SELECT last_call_at > now() - interval '1 minute' FROM driver_positions WHERE driver_id = $1"
    return await value(site, query, driver.id)


async def is_gone(driver: Driver) -> bool:
    return not (await driver.get()).json()["connected"]


async def test_an_offer_calls_the_driver_whose_page_is_closed(chromium: Browser, site: Site, service: Receiver) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        mine = await opted_in(dans, service)
        pocket = await away(dans, site)
        delivery = await site.delivery(**ORDER)
        await until(lambda: mine.heard)
        assert await value(site, "SELECT received_at FROM driver_offers") is None
        await pocket.pushed(mine.messages[0])
        [shown] = await until(pocket.shown)
        assert shown["title"] == "New offer: Trattoria da Enzo"
        assert "km · €7.20 · answer by " in shown["body"]
        assert (shown["tag"], shown["requireInteraction"]) == ("offer", True)
        await until(lambda: value(site, "SELECT received_at FROM driver_notices WHERE kind = 'offer.created'"))
        assert await value(site, "SELECT received_at FROM driver_offers") is None, "nobody has seen it yet"

        await pocket.pushed(mine.messages[0])
        assert len(await pocket.shown()) == 1, "what comes twice is shown once"
        await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "sold out"})
        await until(lambda: len(mine.heard) == 2)
        await pocket.pushed(mine.messages[1])
        await until(lambda: is_empty(pocket))
        await until(lambda: value(site, "SELECT received_at FROM driver_notices WHERE kind = 'offer.closed'"))

        await site.alice.post(f"/admin/drivers/{dan.id}/messages", json={"text": "The back door is open"})
        await until(lambda: len(mine.heard) == 3)
        await pocket.pushed(mine.messages[2])
        [shown] = await until(pocket.shown)
        assert (shown["title"], shown["body"]) == ("New message from your dispatcher.", "The back door is open")
        await until(lambda: value(site, "SELECT received_at FROM driver_notices WHERE kind = 'message'"))


async def is_empty(pocket: Away) -> bool:
    return await pocket.shown() == []


async def test_what_is_shown_of_an_offer_goes_at_its_deadline(chromium: Browser, site: Site, service: Receiver) -> None:
    dan = await site.driver("Dan")
    await offer_lasts(site, 200)
    async with phone(chromium, site, dan) as dans:
        mine = await opted_in(dans, service)
        pocket = await away(dans, site)
        [worker] = dans.context.service_workers
        await worker.evaluate("globalThis.setTimeout = (ring, ms) => (globalThis.deadline = { ring, ms })")
        await site.delivery(**ORDER)
        await until(lambda: mine.heard)
        await pocket.pushed(mine.messages[0])
        await until(pocket.shown)
        left = await until(lambda: worker.evaluate("globalThis.deadline?.ms"))
        assert 0 < left <= 200_000
        assert await pocket.shown()
        await worker.evaluate("deadline.ring()")
        await until(lambda: is_empty(pocket))


async def test_a_phone_whose_clock_is_wrong_asks_the_server(chromium: Browser, site: Site, service: Receiver) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        mine = await opted_in(dans, service)
        pocket = await away(dans, site)
        await site.delivery(**ORDER)
        await until(lambda: mine.heard)
        past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        await pocket.pushed(mine.messages[0] | {"expiresAt": past, "offerId": new_id(), "storeName": "Long over"})
        await pocket.pushed(mine.messages[0] | {"expiresAt": past})
        assert [shown["title"] for shown in await until(pocket.shown)] == ["New offer: Trattoria da Enzo"]


async def test_a_page_that_is_left_keeps_the_driver_within_reach(
    chromium: Browser, site: Site, service: Receiver
) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await opted_in(dans, service)
        numbers = dans.page.locator("#numbers [data-period=today] dd")
        await expect(numbers).to_contain_text("deliveries")  # its last call before it is left
        left_at = site.node.app.state.node.clock.now()
        await dans.page.close()
        later = "SELECT last_call_at > $2 FROM driver_positions WHERE driver_id = $1"
        await until(lambda: value(site, later, dan.id, left_at))


async def test_the_page_takes_over_from_the_notification(chromium: Browser, site: Site, service: Receiver) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        mine = await opted_in(dans, service)
        pocket = await away(dans, site)
        await site.delivery(**ORDER)
        await until(lambda: mine.heard)
        await pocket.pushed(mine.messages[0])
        await until(pocket.shown)
        page = await dans.owner.open("/driver?lat=52.519&lon=13.404")
        await expect(page.get_by_role("alertdialog")).to_contain_text("Trattoria da Enzo")
        await until(lambda: is_empty(pocket))


async def test_a_tap_on_the_notification_opens_the_page(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, permissions=["notifications", "geolocation"]) as dans:
        await dans.online()
        await away(dans, site, close=False)
        await dans.page.close()
        [worker] = dans.context.service_workers
        opened = await worker.evaluate(
            """async () => {
              let opened = null;
              clients.openWindow = async (url) => { opened = url; }; // only a real tap may open one
              await registration.showNotification("New offer", { tag: "offer" });
              const [notification] = await registration.getNotifications();
              await new Promise((done) => {
                const tap = new NotificationEvent("notificationclick", { notification });
                tap.waitUntil = (work) => work.then(done);
                dispatchEvent(tap);
              });
              return [opened, (await registration.getNotifications()).length];
            }"""
        )
        assert opened == ["/driver", 0]


async def test_the_first_tap_moves_nothing_that_may_be_tapped(chromium: Browser, site: Site) -> None:
    """It lets the page make sounds, and the hint that asks for it goes."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await dans.online()
        ask, hint = dans.page.get_by_role("button", name=ASK), dans.page.locator("#hush")
        await expect(hint).to_be_visible()
        await expect(dans.page.locator("#numbers [data-period=today] dd")).to_contain_text("deliveries")
        before = await ask.bounding_box()
        await dans.page.locator("#name").click()
        await expect(hint).to_be_hidden()
        assert await ask.bounding_box() == before


async def test_a_driver_who_has_enough_of_it_turns_it_off(chromium: Browser, site: Site, service: Receiver) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await opted_in(dans, service)
        pocket = await away(dans, site, close=False)
        assert await pocket.kept() == await dans.page.evaluate("localStorage.getItem('callboard.driver.token')")
        await dans.page.bring_to_front()
        await dans.page.reload()
        await dans.online()
        await tap(dans.page.get_by_label("Menu"))
        on = dans.page.get_by_role("button", name="Notifications are on")
        await expect(on).to_have_attribute("aria-pressed", "true")
        assert len(await subscriptions(dan)) == 1, "said again at each start, and the same"
        await tap(on)
        await expect(dans.page.locator("#notify")).to_have_text(ASK)
        await until(lambda: is_unsubscribed(dan))
        await until(lambda: is_locked(pocket))
        await dans.page.reload()
        await dans.online()
        await expect(dans.page.locator("#call-me")).to_be_hidden()
        assert await subscriptions(dan) == []


async def test_nothing_of_a_driver_stays_on_a_device_they_left(
    chromium: Browser, site: Site, service: Receiver
) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan) as dans:
        await opted_in(dans, service)
        pocket = await away(dans, site, close=False)
        await dans.page.bring_to_front()
        await tap(dans.page.get_by_label("Menu"))
        await dans.press("Remove me from this device")
        await dans.press("Sign out")
        await until(lambda: is_unsubscribed(dan))
        await until(lambda: is_locked(pocket))
        assert await dans.page.evaluate("Object.keys(localStorage)") == []


async def is_unsubscribed(driver: Driver) -> bool:
    return await subscriptions(driver) == []


async def is_locked(pocket: Away) -> bool:
    return await pocket.kept() is None


async def test_a_browser_without_a_push_service_says_so(chromium: Browser, site: Site) -> None:
    """As the one of the tests is."""
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, permissions=["notifications", "geolocation"]) as dans:
        await dans.online()
        await dans.press(ASK)
        await expect(dans.page.locator("#notices")).to_contain_text("You get offers only while this page is open")
        await tap(dans.page.get_by_label("Menu"))
        await expect(dans.page.locator("#notify")).to_have_text(ASK)
        await site.delivery(**ORDER)
        await expect(dans.offer).to_be_visible()
        [why] = dans.owner.complaints
        assert "does not support the Push API" in why
        dans.owner.complaints.clear()


async def test_a_push_service_out_of_reach_is_not_waited_for_for_ever(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan")
    async with phone(chromium, site, dan, permissions=["notifications", "geolocation"]) as dans:
        await dans.page.add_init_script(
            "PushManager.prototype.subscribe = () => new Promise(() => {});"
            "const wait = setTimeout; globalThis.setTimeout = (f, ms, ...a) => wait(f, ms === 20_000 ? 50 : ms, ...a);"
        )
        await dans.page.reload()
        await dans.online()
        await dans.press(ASK)
        await expect(dans.page.locator("#notices")).to_contain_text("You get offers only while this page is open")


async def test_the_question_and_its_answers_fit_the_phone(chromium: Browser, site: Site, service: Receiver) -> None:
    dan = await site.driver("Dan Okafor")

    async def look(screen: Screen, name: str) -> None:
        await check_in_both_themes(screen.page, name, f"driver-push-{name}")
        wide = await screen.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= SIZE["width"], name

    options: dict[str, Any] = {"reduced_motion": "reduce", "device_scale_factor": 2}
    async with phone(chromium, site, dan, **options) as dans:
        await dans.online()
        await expect(dans.page.get_by_role("button", name=ASK)).to_be_visible()
        await look(dans, "asked")
        await dans.press(ASK)
        await tap(dans.page.get_by_label("Menu"))
        await expect(dans.page.locator("#notify")).to_have_text("The browser blocks notifications")
        await look(dans, "blocked")
    dora = await site.driver("Dora Lindqvist")
    async with phone(chromium, site, dora, **options) as doras:
        await opted_in(doras, service)
        await tap(doras.page.get_by_label("Menu"))
        await expect(doras.page.locator("#notify")).to_have_text("Notifications are on")
        await look(doras, "on")
