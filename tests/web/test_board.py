"""The board on a real node: its page, its stream, and what they cost."""

import asyncio
import gzip
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from server.board.broadcast import Broadcast
from server.board.render import RENDERED
from server.store.reads import board as reads
from tests.conftest import StartNode
from tests.driver_app import driver_app
from tests.waiting import PATIENCE, until
from tests.web.board_stream import board_stream, position_of
from tests.web.conftest import Site
from tests.web.html_tree import Element, parse
from tests.web.people import HTML


async def open_board(site: Site) -> Element:
    answer = await site.vic.get("/board")
    assert answer.status_code == 200, answer.text
    return parse(answer.text)


def rendered() -> float:
    return next(iter(RENDERED.collect())).samples[0].value


async def test_the_page_shows_who_waits_and_why_nobody_comes(site: Site) -> None:
    delivery = await site.delivery(storeName="<b>Pizza & Roma</b>", zone="north")
    page = await open_board(site)
    row = page.one("tr", id=f"d-{delivery['id']}")
    assert (row.cell("number").text, row.cell("store").text) == (delivery["sellerOrderId"], "<b>Pizza & Roma</b>")
    assert row.cell("level").text == "Waiting"
    assert row.cell("level")["data-shape"] == "calm"
    assert row["data-zone"] == "north"
    tries = page.one("button", data_sort="tries")["title"]
    assert tries.startswith("How often Callboard has tried to find a driver")
    assert tries in (await site.vic.get("/unassigned", headers=HTML)).text
    assert row.one("a")["href"] == f"/board/deliveries/{delivery['id']}"
    ages = row.cell("age").one("time")
    levels = row.cell("next").one("time")
    assert int(levels["data-deadline"]) - int(ages["data-since"]) == 300_000


async def test_an_order_appears_on_open_boards_and_changes_as_its_offer_does(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    page = await open_board(site)
    async with (
        board_stream(site.vic, after=position_of(page)) as stream,
        driver_app(site.node.ws_url, dan.id) as app,
    ):
        delivery = await site.delivery()
        row_id = f"d-{delivery['id']}"
        row = await stream.hear_row(row_id, lambda row: "data-offered" in row)
        assert row["data-offered"] == dan.id
        assert row.cell("why").every("a")[0].text == "Dan"
        assert [part.text for part in row.cell("chain").every("b")] == ["sent", "not received", "no answer"]
        offer = (await app.hear("offer"))["offer"]
        in_flight = await stream.hear_row(f"o-{delivery['id']}")
        assert in_flight.cell("who").text == "Dan"
        app.send("received", offerId=offer["id"])
        row = await stream.hear_row(row_id, lambda row: "received" in [b.text for b in row.every("b")])
        accepted = await app.ask("accept", offerId=offer["id"])
        assert accepted["type"] == "ack"
        gone = await stream.hear_row(row_id, lambda row: "data-gone" in row)
        assert "accepted by Dan" in gone.text
        active = await stream.hear_row(f"a-{delivery['id']}")
        assert active["data-assignment"] == accepted["result"]["assignment"]["id"]
        busy = await stream.hear_row(f"v-{dan.id}", lambda row: row["data-state"] == "busy")
        assert busy.cell("state").text == "Busy"
        began = datetime.fromisoformat(accepted["result"]["assignment"]["createdAt"])
        times = [busy["data-since"], busy.cell("age").one("time")["data-since"]]
        at_driver = parse((await site.vic.get(f"/board/drivers/{dan.id}/now")).text).one("dl")
        assert [datetime.fromtimestamp(int(ms) / 1000, UTC) for ms in times] == [began, began], "not since the sign-in"
        assert at_driver.every("time")[0]["data-since"] == busy["data-since"]
        for step in ("pickup", "complete"):
            done = await dan.post(f"/assignments/{active['data-assignment']}/{step}")
            assert done.status_code == 200, done.text
        free = await stream.hear_row(f"v-{dan.id}", lambda row: row["data-state"] == "available")
        assert int(free["data-since"]) < int(busy["data-since"]), "on shift for longer"
        closed = [piece for sent in stream.messages for piece in sent.pieces if piece["hx-swap"] == "delete"]
        assert [piece["hx-target"] for piece in closed] == [f"#o-{delivery['id']}"]


async def test_rows_are_rendered_once_whatever_the_number_of_viewers(site: Site) -> None:
    page = await open_board(site)
    after = position_of(page)
    async with (
        board_stream(site.vic, after=after) as first,
        board_stream(site.alice, after=after) as second,
        board_stream(site.ada, after=after) as third,
    ):
        before = rendered()
        delivery = await site.delivery()
        for stream in (first, second, third):
            await stream.hear_row(f"d-{delivery['id']}", lambda row: row.cell("why").text != "Searching")
        # At rest: what the events tell again a second later is no news.
        seen = rendered()
        await first.hear_named("pulse")
        messages = len(first.messages)
        assert seen - before == messages <= 2, "one row, once when it came and once when nobody was found"
        assert rendered() == seen
        raws = [[sent.raw for sent in stream.messages] for stream in (first, second, third)]
        assert raws[0] == raws[1] == raws[2]


async def test_many_changes_at_once_come_in_few_messages(site: Site) -> None:
    page = await open_board(site)
    async with board_stream(site.vic, after=position_of(page)) as stream:
        began = asyncio.get_running_loop().time()
        made = await asyncio.gather(*(site.delivery() for _ in range(30)))
        ids = {f"d-{delivery['id']}" for delivery in made}

        def shown() -> bool:
            return ids <= {row["id"] for sent in stream.messages for p in sent.pieces for row in p.every("tr")}

        await until(shown)
        took = asyncio.get_running_loop().time() - began
        assert len(stream.messages) < max(15, 5 + took / 0.15), "more only if it took longer to make them"
        numbers = [int((sent.id or "").rpartition("-")[2]) for sent in stream.messages]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_who_reconnects_gets_what_they_missed(site: Site) -> None:
    page = await open_board(site)
    async with board_stream(site.vic, after=position_of(page)) as stream:
        await site.delivery()
        await stream.hear(lambda s: s.name is None)
        last = stream.messages[-1].id
    missed = await site.delivery()
    await until(lambda: _kept(site, last))
    async with board_stream(site.vic, last=last) as stream:
        await stream.hear_row(f"d-{missed['id']}")
        assert not [sent for sent in stream.sent if sent.name == "resync"]


def _kept(site: Site, position: str | None) -> bool:
    broadcast: Broadcast = site.node.app.state.node.feed.broadcast
    return bool(broadcast.since(position))


@pytest.mark.parametrize("last", ["0badbeef-3", "nonsense"])
async def test_another_epoch_leads_to_a_resync_with_where_one_is_then(site: Site, last: str) -> None:
    await open_board(site)
    delivery = await site.delivery()
    async with board_stream(site.vic, last=last) as stream:
        resync = await stream.hear_named("resync")
        again = await site.vic.get("/board/rows", params={"at": resync.id})
        pieces = {piece["hx-target"]: piece for piece in parse(again.text).every("hx-partial")}
        assert set(pieces) == {
            "#rows-waiting", "#rows-active", "#rows-offers", "#rows-drivers", "#alerts", "#headline",
            "#cut-waiting", "#cut-active", "#cut-drivers",
        }  # fmt: skip
        assert pieces["#rows-waiting"]["hx-swap"] == "innerMorph"
        rows = parse((await site.vic.get("/board/rows", params={"at": "0badbeef-3"})).text)
        assert rows.every("tr", id=f"d-{delivery['id']}")


async def test_the_stream_says_the_time_at_once_and_how_fresh_the_board_is(site: Site) -> None:
    await open_board(site)
    async with board_stream(site.vic) as stream:
        pulse = await stream.hear_named("pulse")
        assert '"now":' in pulse.data
        assert '"age":' in pulse.data


async def test_the_page_of_one_delivery_hears_of_its_changes_only(site: Site) -> None:
    mine, other = await site.delivery(), await site.delivery()

    async def searched() -> bool:
        found = [(await site.vic.get(f"/deliveries/{one['id']}")).json() for one in (mine, other)]
        return all(one["failureReason"] == "no_driver_in_zone" for one in found)

    await until(searched)  # what comes of it later would be news of mine
    async with board_stream(site.vic, about=mine["id"]) as stream:
        await stream.hear_named("resync")
        cancelled = await site.alice.post(f"/deliveries/{other['id']}/cancel", json={"reason": "x"})
        assert cancelled.status_code == 200
        heard = len([sent for sent in stream.sent if sent.name == "changed"])
        acknowledged = await site.alice.post(f"/admin/unassigned-orders/{mine['id']}/acknowledge")
        assert acknowledged.status_code == 200
        await stream.hear_named("changed")
        assert not stream.messages
        assert heard <= 1, "only what was still sent about its start"


async def test_changes_of_another_node_come_within_a_second_or_so(node: StartNode, site: Site) -> None:
    other = await node()
    page = await open_board(site)
    async with board_stream(site.vic, after=position_of(page)) as stream:
        made = await site.shop.post(f"{other.url}/deliveries", json=site.order())
        assert made.status_code == 201
        await stream.hear_row(f"d-{made.json()['id']}")


async def test_streams_end_at_once_when_the_node_stops(site: Site) -> None:
    await open_board(site)
    async with board_stream(site.vic) as stream:
        await stream.hear_named("pulse")
        async with asyncio.timeout(PATIENCE):
            await site.node.stop()
        await until(lambda: stream.ended)


async def test_nobody_watching_costs_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = site.node.app.state.node.feed
    assert not feed._wanted.is_set()
    await open_board(site)
    assert feed._wanted.is_set()
    monkeypatch.setattr("server.board.feed.IDLE_SECONDS", 0.2)
    await until(lambda: not feed._wanted.is_set())
    before = rendered()
    await site.delivery()
    assert rendered() == before
    assert not feed._picture.deliveries
    assert len((await open_board(site)).one(id="rows-waiting").every("tr")) == 1


async def test_a_first_read_that_takes_longer_than_the_idle_time_is_still_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = site.node.app.state.node.feed
    await site.delivery()
    monkeypatch.setattr("server.board.feed.IDLE_SECONDS", 0.05)
    read = reads.open_deliveries

    async def slowly(pool: Any) -> Any:
        since = feed._last_wanted
        await until(lambda: time.monotonic() > since + 0.1)
        return await read(pool)

    monkeypatch.setattr("server.store.reads.board.open_deliveries", slowly)
    assert len((await open_board(site)).one(id="rows-waiting").every("tr")) == 1


async def test_the_headline_counts_and_every_number_leads_somewhere(site: Site) -> None:
    await site.driver("Dan", at_work=True)
    await site.driver("Dora")
    await site.delivery(zone="north")
    held = await site.delivery(prepSeconds=1200)

    async def is_held() -> bool:
        return (await site.shop.get(f"/deliveries/{held['id']}")).json()["heldUntil"] is not None

    await until(is_held)
    page = await open_board(site)
    assert "data-held" in page.one("tr", id=f"d-{held['id']}")
    numbers = {n["data-n"]: n.text for n in page.one(id="headline").every("b") if "data-n" in n}
    assert (numbers["waiting"], numbers["held"]) == ("1", "1")
    stats = (await site.vic.get("/admin/stats")).json()
    assert stats["unassignedNow"] == 1
    assert numbers["available"] == "1"
    assert numbers["off"] == "1"
    assert all(link["href"].startswith(("/board?show=", "/insights")) for link in page.one(id="headline").every("a"))
    assert [option.text for option in page.one("select", id="zone").every("option")] == [
        "All zones", "default", "north",
    ]  # fmt: skip


async def test_a_large_page_is_packed_for_who_can_unpack_it(site: Site) -> None:
    await asyncio.gather(*(site.delivery() for _ in range(20)))
    answer = await site.vic.get("/board", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in answer.headers
    async with site.vic.stream("GET", "/board", headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join([chunk async for chunk in packed.aiter_raw()])
    assert packed.headers["content-encoding"] == "gzip"
    assert parse(gzip.decompress(raw).decode()).one(id="rows-waiting").every("tr")


async def test_no_page_holds_a_script_or_a_style_of_its_own(site: Site) -> None:
    delivery = await site.delivery()
    dan = await site.driver("Dan", at_work=True)
    for path in ("/board", f"/board/deliveries/{delivery['id']}", f"/board/drivers/{dan.id}"):
        answer = await site.ada.get(path)
        page = parse(answer.text.replace("<!doctype html>", ""))
        assert all("src" in script and not script.text for script in page.every("script"))
        assert not page.every("style")
        assert not [e for e in page._within() if any(a == "style" or a.startswith("on") for a in e.attributes)]
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
