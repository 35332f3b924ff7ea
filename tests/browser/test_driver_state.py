"""The driver page's memory with a real server: messages folded into a state are what a fresh snapshot says.

`tests/js/state.test.js` has the cases that need no server.
"""

import json
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from server.paths import STATIC
from tests.browser.conftest import browser_fixture
from tests.driver_app import driver_app
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SOURCE = (STATIC / "driver" / "state.js").read_text()
NOW = {"mono": 1000, "wall": 1_800_000_000_000}


@browser_fixture
async def memory(chromium: Browser) -> Any:
    """`await memory("expression of s", ...)`: the module as `s` in an empty page, arguments as `a`."""
    page: Page = await chromium.new_page()
    await page.goto("about:blank")
    await page.evaluate(
        "async (source) => { globalThis.s = await import(`data:text/javascript,${encodeURIComponent(source)}`); }",
        SOURCE,
    )

    async def ask(expression: str, **arguments: Any) -> Any:
        return await page.evaluate(f"(a) => {{ const n = {json.dumps(NOW)}; return {expression}; }}", arguments)

    yield ask
    await page.close()


async def test_the_folded_messages_of_a_shift_are_its_snapshot(memory: Any, site: Site) -> None:
    """Snapshot, act, fold what was heard into the old snapshot, compare with a fresh one."""
    dan = await site.driver("Dan", at_work=True)
    async with driver_app(site.node.ws_url, dan.id) as app:
        hello = await app.hear("hello")
        await site.delivery()
        offered = await app.hear("offer")
        app.send("accept", id="1", offerId=offered["offer"]["id"])
        assignment = (await app.hear("ack"))["result"]["assignment"]
        app.send("picked_up", id="2", assignmentId=assignment["id"])
        await app.hear(lambda m: m.get("id") == "2")
        await site.ada.post(f"/admin/assignments/{assignment['id']}/reassign", json={"reason": "x", "force": True})
        app.send("take_break", id="3", durationMinutes=30)
        await app.hear(lambda m: m.get("id") == "3")
        fresh = (await dan.get("/state")).json() | {"type": "hello"}
        await app.hear(lambda m: m.get("seq") == fresh["seq"])
        heard = [message for message in app.heard if message["type"] != "hello"]
        folded = await memory("a.heard.reduce((state, m) => s.fold(state, m, n), s.fold(s.start(), a.hello, n))",
                              heard=heard, hello=hello)  # fmt: skip
        expected = await memory("s.fold(s.start(), a.fresh, n)", fresh=fresh)
    shown = {"availability", "availabilityUntil", "availabilityReason", "busy", "activeCount", "capacity", "name"}
    assert {key: folded["driver"][key] for key in shown} == {key: expected["driver"][key] for key in shown}
    for part in ("seq", "offers", "assignments"):
        assert folded[part] == expected[part], part
