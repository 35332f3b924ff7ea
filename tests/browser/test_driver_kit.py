"""An app made with clients/typescript in several tabs of a browser: one of them is in use, and only that one sends."""

import time
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page

from server.web.http.assets import asset
from tests.browser.test_driver_page import ORDER
from tests.browser.test_driver_push import is_gone
from tests.driver_app import token
from tests.waiting import until
from tests.web.conftest import Driver, Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

APP = """async ([module, options, moment]) => {
  Date.now = () => moment;
  performance.now = () => 0;
  const { DriverClient } = await import(module);
  globalThis.states = [];
  globalThis.frees = 0;
  const listeners = { changed: (state) => states.push(state), free: () => { frees += 1; } };
  globalThis.driver = new DriverClient({ base: location.origin, ...listeners, ...options });
}"""
"""Its clocks do not go on: however long a tab takes, what was done can be taken back."""
SETTLED = """() => {
  const { now } = Date;
  Date.now = () => now() + 60_000;
  delete performance.now;
  return driver.settle();
}"""
"""What was done a minute ago by now is sent, if this tab sends at all."""
MOMENT = time.time() * 1000
TAKES_BACK = "([driverId, assignmentId]) => driver.actions.undo(driverId, assignmentId)"


async def tab(context: BrowserContext, site: Site, **options: Any) -> Page:
    """An app that has nothing of the driver page."""
    page = await context.new_page()
    await page.goto(f"{site.node.url}/health")
    await page.evaluate(APP, [asset("driver/client.js"), options, MOMENT])
    return page


async def connect(page: Page, driver: Driver, how: str = "{}") -> None:
    await page.evaluate(f"(token) => driver.connect(token, {{}}, {how})", token("driver", driver.id))
    await until(lambda: page.evaluate("driver.connection?.state === 'online'"))


async def in_hand(driver: Driver, site: Site) -> str:
    """The id of the assignment of a delivery that is picked up."""
    await site.delivery(**ORDER)
    offer = await driver.offer()
    assignment: dict[str, Any] = (await driver.post(f"/offers/{offer['id']}/accept")).json()["assignment"]
    assert (await driver.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
    return str(assignment["id"])


async def delivered(page: Page, driver: Driver, assignment_id: str) -> None:
    deed = {"type": "completed", "driverId": driver.id, "assignmentId": assignment_id, "storeName": "Roma"}
    await page.evaluate("(deed) => driver.report(deed)", deed)


async def test_only_the_tab_in_use_sends(chromium: Browser, site: Site) -> None:
    """The older one keeps what it knows, and goes on once the newer one has closed."""
    dan = await site.driver("Dan", at_work=True)
    assignment_id = await in_hand(dan, site)
    context = await chromium.new_context(bypass_csp=True)
    older = await tab(context, site)
    await connect(older, dan)
    await delivered(older, dan, assignment_id)
    newer = await tab(context, site)
    await connect(newer, dan)
    await until(lambda: older.evaluate("states.at(-1) === 'other_tab'"))
    assert await older.evaluate("[driver.connection, Object.keys(driver.state.assignments)]") == [None, [assignment_id]]
    await older.evaluate(SETTLED)
    await until(lambda: newer.evaluate("driver.actions.all.length === 1"))
    assert await newer.evaluate(TAKES_BACK, [dan.id, assignment_id])
    assert await older.evaluate("[driver.actions.all.length, frees]") == [0, 0]
    await newer.close()
    await until(lambda: older.evaluate("frees === 1"))
    await until(lambda: is_gone(dan))  # the server knows it too
    await connect(older, dan, "{ takeOver: false }")
    assert await older.evaluate("Object.keys(driver.state.assignments)") == [assignment_id]


async def test_a_tab_that_only_hands_in_waits_while_another_one_is_in_use(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    assignment_id = await in_hand(dan, site)
    context = await chromium.new_context(bypass_csp=True)
    used = await tab(context, site)
    await connect(used, dan)
    await delivered(used, dan, assignment_id)
    beside = await tab(context, site)
    await beside.evaluate("(token) => driver.handIn(token)", token("driver", dan.id))
    await until(lambda: beside.evaluate("driver.actions.all.length === 1"))
    await beside.evaluate(SETTLED)
    assert await used.evaluate(TAKES_BACK, [dan.id, assignment_id])
    await delivered(used, dan, assignment_id)
    await beside.evaluate("(token) => driver.handIn(token)", token("driver", dan.id))
    await used.close()

    async def completed() -> bool:
        return not (await dan.get("/state")).json()["assignments"]

    await until(completed)


async def test_an_app_that_wants_it_has_several_clients(chromium: Browser, site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    context = await chromium.new_context(bypass_csp=True)
    older = await tab(context, site, oneTab=False)
    await connect(older, dan)
    newer = await tab(context, site, oneTab=False)
    await connect(newer, dan)
    await until(lambda: older.evaluate("states.at(-1) === 'superseded'"))


ENDS = {
    "closed": "driver.close()",
    "forgotten": "driver.forget()",
    "refused": "driver.connect('no.token.atall')",
    "hands-in": "driver.handIn(driver.token)",
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_tab_waits_no_longer_than_the_other_one_is_in_use(chromium: Browser, site: Site, end: str) -> None:
    """The other one stays open."""
    dan = await site.driver("Dan", at_work=True)
    context = await chromium.new_context(bypass_csp=True)
    older = await tab(context, site)
    await connect(older, dan)
    newer = await tab(context, site)
    await connect(newer, dan)
    await until(lambda: older.evaluate("states.at(-1) === 'other_tab'"))
    await newer.evaluate(f"() => {{ {ENDS[end]}; }}")
    await until(lambda: older.evaluate("frees === 1"))
    await until(lambda: is_gone(dan))  # the server knows it too
    await connect(older, dan, "{ takeOver: false }")


async def test_a_tab_that_another_phone_has_replaced_keeps_nobody_from_sending(chromium: Browser, site: Site) -> None:
    dora = await site.driver("Dora", at_work=True)
    assignment_id = await in_hand(dora, site)
    dan = await site.driver("Dan", at_work=True)
    shared = await chromium.new_context(bypass_csp=True)
    dans = await tab(shared, site)
    await connect(dans, dan)
    await connect(await tab(await chromium.new_context(bypass_csp=True), site), dan)
    await until(lambda: dans.evaluate("states.at(-1) === 'superseded'"))
    doras = await tab(shared, site)
    await delivered(doras, dora, assignment_id)
    await doras.evaluate(SETTLED)
    await doras.evaluate("(token) => driver.handIn(token)", token("driver", dora.id))

    async def completed() -> bool:
        return not (await dora.get("/state")).json()["assignments"]

    await until(completed)


async def test_a_client_that_has_ended_says_nothing_of_the_next_one(chromium: Browser, site: Site) -> None:
    """The app makes another one in the same tab, as for the next driver."""
    dan, dora = await site.driver("Dan", at_work=True), await site.driver("Dora", at_work=True)
    context = await chromium.new_context(bypass_csp=True)
    page = await tab(context, site)
    await connect(page, dan)
    await page.evaluate("() => { driver.forget(); globalThis.before = [states, states.length]; }")
    await page.evaluate(APP, [asset("driver/client.js"), {}, MOMENT])
    await connect(page, dora)
    assert await page.evaluate("before[0].slice(before[1])") == []
    assert await page.evaluate("states.filter((state) => state === 'other_tab')") == []
    newer = await tab(context, site)
    await connect(newer, dora)
    await until(lambda: page.evaluate("states.at(-1) === 'other_tab'"))
    await newer.close()
    await until(lambda: page.evaluate("frees === 1"))
    assert await page.evaluate("before[0].slice(before[1])") == []
