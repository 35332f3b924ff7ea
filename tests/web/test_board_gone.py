"""Drivers who have gone with work in hand: marked on every board while they are away, and never hidden."""

from typing import Any

import pytest

from server.store.reads import board as reads
from tests.conftest import StartNode
from tests.driver_app import driver_app
from tests.waiting import until
from tests.web.board_stream import BoardStream, board_stream, position_of
from tests.web.conftest import Driver, Site
from tests.web.html_tree import Element, parse

PHONE = "+372 555 0101"


async def policy(site: Site, **changes: Any) -> None:
    now = (await site.ada.get("/admin/policy")).json()
    changed = await site.ada.put("/admin/policy", json=now | changes)
    assert changed.status_code == 200, changed.text


async def open_board(site: Site) -> Element:
    return parse((await site.vic.get("/board")).text)


def latest(page: Element, stream: BoardStream, row_id: str) -> Element | None:
    """The row as somebody sees it who has opened the page and listened since."""
    found = page.every("tr", id=row_id)
    for sent in stream.messages:
        found += [row] if (row := sent.row(row_id)) is not None else []
    return found[-1] if found else None


def tile(page: Element, stream: BoardStream) -> str:
    """What the headline counts, empty while it does not show it."""
    headlines = page.every("ul", id="headline")
    headlines += [one for sent in stream.messages for piece in sent.pieces for one in piece.every("ul", id="headline")]
    [shown] = [
        li for li in headlines[-1].every("li") if li.get("class") is None and li.every("b", **{"data-n": "gone"})
    ]
    return "" if "data-none" in shown else shown.one("b", **{"data-n": "gone"}).text


def marked(row: Element | None, *words: str) -> bool:
    if row is None or "data-driver-gone" not in row:
        return False
    [mark] = row.every(class_="driver-gone")
    return mark.text.startswith("Driver gone") and all(word in row.text for word in words)


def unmarked(row: Element | None) -> bool:
    return row is not None and "data-driver-gone" not in row and not row.every(class_="driver-gone")


async def test_who_goes_with_an_order_is_marked_on_every_node_until_they_are_back(node: StartNode) -> None:
    here, there = Site(await node()), Site(await node())
    await policy(here, presenceLapseSeconds=1, callPresenceSeconds=1)
    dan = await here.driver("Dan", phone=PHONE)
    page = await open_board(there)
    async with board_stream(there.vic, after=position_of(page)) as stream:

        def now(row_id: str) -> Element | None:
            return latest(page, stream, row_id)

        async with driver_app(here.node.ws_url, dan.id) as app:
            await app.hear("hello")
            await app.ask("location", lat=52.52, lon=13.404)
            delivery = await here.delivery()
            offer = (await app.hear("offer"))["offer"]
            assignment = (await app.ask("accept", offerId=offer["id"]))["result"]["assignment"]
            await until(lambda: unmarked(now(f"a-{delivery['id']}")))
            await app.close()
        await until(lambda: marked(now(f"a-{delivery['id']}"), "To the pickup", PHONE))
        await until(lambda: marked(now(f"v-{dan.id}"), PHONE))
        await until(lambda: tile(page, stream) == "1")
        [call] = [a for a in (now(f"a-{delivery['id']}") or page).every("a") if a["href"].startswith("tel:")]
        assert call["href"] == f"tel:{PHONE}"
        async with driver_app(there.node.ws_url, dan.id) as app:
            await until(lambda: unmarked(now(f"a-{delivery['id']}")))
            await until(lambda: unmarked(now(f"v-{dan.id}")))
            await until(lambda: tile(page, stream) == "")
            assert (await app.ask("picked_up", assignmentId=assignment["id"]))["type"] == "ack"
            await app.close()
        await until(lambda: marked(now(f"a-{delivery['id']}"), "Picked up"))
        again = await open_board(here)
        assert marked(again.one("tr", id=f"a-{delivery['id']}"), "Picked up", PHONE), "also where nobody looked before"
        done = await dan.post(f"/assignments/{assignment['id']}/complete")
        assert done.status_code == 200, done.text
        await until(lambda: tile(page, stream) == "")
        await until(lambda: unmarked(now(f"v-{dan.id}")))
    await here.close()
    await there.close()


async def gone_by_the_clock(site: Site) -> tuple[Driver, dict[str, Any]]:
    """Dan, who only calls, has ended his shift with an order in hand: no event says that he is heard of no more."""
    dan = await site.driver("Dan", at_work=True)
    delivery, _ = await site.assignment(dan)
    assert (await dan.post("/availability/end-shift")).status_code == 200
    await policy(site, callPresenceSeconds=1)
    return dan, delivery


async def test_time_alone_marks_who_is_heard_of_no_more_and_a_call_ends_it(site: Site) -> None:
    page = await open_board(site)
    async with board_stream(site.vic, after=position_of(page)) as stream:
        dan, delivery = await gone_by_the_clock(site)
        await until(lambda: marked(latest(page, stream, f"a-{delivery['id']}"), "Dan"))
        assert (latest(page, stream, f"v-{dan.id}") or page)["data-state"] == "shift_ended"
        await policy(site, callPresenceSeconds=600)
        await dan.move()
        await until(lambda: unmarked(latest(page, stream, f"a-{delivery['id']}")))


async def test_the_pages_of_the_order_and_of_the_driver_say_so(site: Site) -> None:
    dan, delivery = await gone_by_the_clock(site)

    async def says_so(about: str) -> bool:
        page = parse((await site.vic.get(f"/board/{about}/now")).text)
        return any(mark.text.startswith("Driver gone") for mark in page.every(class_="driver-gone"))

    async with board_stream(site.vic, about=delivery["id"]) as stream:
        await until(lambda: says_so(f"deliveries/{delivery['id']}"))
        await until(lambda: says_so(f"drivers/{dan.id}"))
        await until(lambda: site.node.app.state.node.feed._picture.gone)
        before = len(stream.sent)
        await policy(site, callPresenceSeconds=600)
        await until(lambda: any(sent.name == "changed" for sent in stream.sent[before:]))
        assert not await says_so(f"deliveries/{delivery['id']}")
        assert not await says_so(f"drivers/{dan.id}")


@pytest.mark.parametrize("watched", [True, False], ids=["while watched", "when opened"])
async def test_who_has_work_is_never_dropped_from_the_board_however_long_off_shift(site: Site, watched: bool) -> None:
    dan, _ = await gone_by_the_clock(site)
    idle = await site.driver("Dora", at_work=True)
    assert (await idle.post("/availability/end-shift")).status_code == 200
    feed = site.node.app.state.node.feed
    long_ago = "UPDATE drivers SET last_availability_change = now() - interval '13 hours' WHERE id = ANY($1::uuid[])"
    if watched:
        await open_board(site)
    await site.node.change(long_ago, [dan.id, idle.id])
    if watched:
        await feed._read_these(set(), {dan.id, idle.id})
        assert feed._picture.forget_gone(feed._clock.now(), 12) == [idle.id]
    else:
        page = await open_board(site)
        assert page.every("tr", id=f"v-{dan.id}")
        assert page.every("tr", id=f"v-{idle.id}") == []


async def test_who_is_gone_is_shown_and_counted_also_where_the_table_is_cut(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "SHOWN_LIMIT", 1)
    first, second, third = [await site.driver(name, at_work=True) for name in ("Ann", "Ben", "Dan")]
    for driver in (first, second):
        await site.assignment(driver)
    page = await open_board(site)
    async with board_stream(site.vic, after=position_of(page)) as stream:
        delivery, _ = await site.assignment(third)
        await until(lambda: "the 1 longest under way of 3" in "".join(sent.data for sent in stream.messages))
        assert latest(page, stream, f"a-{delivery['id']}") is None
        await policy(site, callPresenceSeconds=1)
        await until(lambda: marked(latest(page, stream, f"a-{delivery['id']}"), "Dan"))
        await until(lambda: tile(page, stream) == "3")
    again = await open_board(site)
    assert marked(again.one("tr", id=f"a-{delivery['id']}"), "Dan")
    assert again.one("b", **{"data-n": "gone"}).text == "3"


async def test_what_is_on_its_way_back_counts_as_under_way_and_is_marked_too(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    delivery, assignment = await site.assignment(dan)
    page = await open_board(site)
    async with board_stream(site.vic, after=position_of(page)) as stream:
        assert (await dan.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
        failed = {"reason": "recipient_absent", "then": "return"}
        assert (await dan.post(f"/assignments/{assignment['id']}/failed", failed)).status_code == 200
        # Nothing else is counted in this zone: its driver went home elsewhere.
        await site.node.change("UPDATE drivers SET zone = 'elsewhere' WHERE id = $1", dan.id)
        site.node.app.state.node.feed._drivers.add(dan.id)
        await policy(site, callPresenceSeconds=1)
        await until(lambda: marked(latest(page, stream, f"a-{delivery['id']}"), "Dan"))
        await until(lambda: tile(page, stream) == "1")
    again = await open_board(site)
    assert again.one("b", **{"data-n": "active"}).text == "1"
    assert again.one("b", **{"data-n": "gone"}).text == "1"
