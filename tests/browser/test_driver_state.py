"""The driver page's memory alone: messages folded into a state are what a fresh snapshot says."""

import json
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from server.paths import STATIC
from tests.driver_app import driver_app
from tests.web.conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SOURCE = (STATIC / "driver" / "state.js").read_text()
NOW = {"mono": 1000, "wall": 1_800_000_000_000}
OFFER = {
    "id": "o1",
    "createdAt": "2026-02-01T10:00:00.000Z",
    "expiresAt": "2026-02-01T10:00:30.000Z",
    "remainingMs": 30_000,
}


@pytest.fixture
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


HELLO = {
    "type": "hello", "seq": 7, "serverTime": "2026-02-01T10:00:00.000Z", "missed": [], "resync": False,
    "driver": {"availability": "available", "capacity": 1, "activeCount": 0, "busy": False},
    "offers": [], "assignments": [],
}  # fmt: skip


async def test_of_monotonic_and_calendar_time_the_longer_counts(memory: Any) -> None:
    """A phone that slept stopped the one, a corrected clock moves the other."""
    entry = {"offer": OFFER, "at": NOW}
    for mono, wall, left in ((0, 0, 30_000), (10_000, 10_000, 20_000), (10, 29_000, 1000), (12_000, -99_999, 18_000)):
        now = {"mono": NOW["mono"] + mono, "wall": NOW["wall"] + wall}
        assert await memory("s.remaining(a.entry, a.now)", entry=entry, now=now) == left
    late = {"mono": NOW["mono"] + 10, "wall": NOW["wall"] + 40_000}
    offered = {"offers": {"o1": entry}}
    assert await memory("s.openOffer(a.state, n)", state=offered) == entry
    assert await memory("s.openOffer(a.state, a.now)", state=offered, now=late) is None


async def test_messages_are_taken_in_order_once_and_a_gap_is_noticed(memory: Any) -> None:
    message = {"type": "availability", "seq": 8, "availability": "paused", "reason": "driver_paused"}
    state = await memory("s.fold(s.fold(s.start(), a.hello, n), a.message, n)", hello=HELLO, message=message)
    assert (state["seq"], state["driver"]["availability"]) == (8, "paused")
    again = await memory("s.fold(a.state, a.message, n)", state=state, message=message)
    assert again == state
    attempt = "(() => { try { s.fold(a.state, a.message, n); } catch (error) { return error instanceof s.Gap; } })()"
    assert await memory(attempt, state=state, message=message | {"seq": 10})
    assert await memory(attempt, state=await memory("s.start()"), message=message)
    assert await memory("s.fold(a.state, {type: 'news', seq: 99}, n)", state=state) == state


async def test_what_was_missed_is_said_and_the_snapshot_counts(memory: Any) -> None:
    before = HELLO | {"offers": [OFFER]}
    missed = [{"type": "offer_closed", "seq": 8, "offerId": "o1", "deliveryId": "d", "outcome": "WITHDRAWN"}]
    state = await memory(
        "s.fold(s.fold(s.start(), a.before, n), a.hello, n)", before=before, hello=HELLO | {"seq": 8, "missed": missed}
    )
    assert state["offers"] == {}
    assert [notice["text"] for notice in state["notices"]] == ["The offer was withdrawn."]
    resync = await memory(
        "s.fold(s.fold(s.start(), a.before, n), a.hello, n)", before=before, hello=HELLO | {"resync": True}
    )
    assert "away for a long time" in resync["notices"][0]["text"]


async def test_only_what_others_did_is_news(memory: Any) -> None:
    own = {
        "type": "offer_closed",
        "seq": 8,
        "offerId": "o1",
        "deliveryId": "d",
        "outcome": "WITHDRAWN",
        "reason": "paused",
    }
    told: dict[str, Any] = {"type": "availability", "seq": 8, "availability": "paused"}
    for message, said in (
        (own, []),
        (own | {"outcome": "REJECTED"}, []),
        (own | {"outcome": "EXPIRED"}, ["The offer has expired."]),
        (own | {"outcome": "EXPIRED", "assignmentId": "a1"}, []),
        (told | {"reason": "driver_paused"}, []),
        (told | {"reason": "vehicle check"}, ["Your dispatcher changed your availability: vehicle check."]),
        (told | {"availability": "available", "reason": "break_expired"}, ["Your break has ended."]),
    ):
        state = await memory("s.fold(s.fold(s.start(), a.hello, n), a.message, n)", hello=HELLO, message=message)
        assert [notice["text"].format(**notice["values"]) for notice in state["notices"]] == said, message


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
