"""What other nodes commit shows on a board whatever transactions are open, and the badge knows its age."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from server.board import feed
from server.store.query import DatabaseAway
from server.store.reads import board as reads
from tests.conftest import Servers, StartNode
from tests.waiting import PATIENCE, until
from tests.web.board_stream import board_stream, position_of
from tests.web.conftest import Site
from tests.web.html_tree import parse

NOWHERE = "redis://127.0.0.1:1/0"
INSERT = "INSERT INTO events (at, type, actor_type, delivery_id, data) VALUES (now(), $1, 'system', $2, '{}')"
IDS = [f"0193d1b0-0000-7000-8000-{n:012}" for n in range(10)]


@asynccontextmanager
async def open_write(url: str) -> AsyncIterator[Any]:
    """A connection with a write transaction that stays open: it holds back the oldest snapshot of the cluster."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN")
        await connection.execute("SELECT pg_current_xact_id()")
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("redis", [None, NOWHERE], ids=["by hints", "by polling"])
async def test_an_open_transaction_in_another_database_holds_no_board_back(
    node: StartNode, servers: Servers, redis: str | None
) -> None:
    changes = {} if redis is None else {"redis_url": redis}
    elsewhere = Site(await node(**changes))
    # Who makes the offers commits too, and hears of that at home: not the node of this board.
    await until(lambda: elsewhere.node.app.state.node.lease.held)
    here = Site(await node(**changes))
    page = parse((await here.vic.get("/board")).text)
    async with open_write(servers.postgres_url), board_stream(here.vic, after=position_of(page)) as stream:
        made = await elsewhere.delivery()
        row = await stream.hear_row(f"d-{made['id']}")
        assert row.cell("level").text == "Waiting"
    await here.close()
    await elsewhere.close()


async def test_an_event_shows_as_soon_as_it_is_committed_and_once(database_url: str, servers: Servers) -> None:
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=1)
    async with open_write(servers.postgres_url), open_write(database_url) as early:
        await early.execute(INSERT, "delivery.created", IDS[0])
        snapshot = await reads.start(pool)
        late = await asyncpg.connect(database_url)
        await late.execute(INSERT, "alert.raised", IDS[1])
        first = await reads.news(pool, snapshot)
        assert (first.deliveries, first.alerts, first.everything) == ({IDS[1]}, True, False)
        assert not (await reads.news(pool, first.snapshot)).deliveries
        # The lower number is committed last.
        await early.execute("COMMIT")
        second = await reads.news(pool, first.snapshot)
        assert (second.deliveries, second.alerts) == ({IDS[0]}, False)
        assert not (await reads.news(pool, second.snapshot)).deliveries
        await late.close()
    await pool.close()


async def test_more_news_than_can_be_named_and_a_database_gone_back_in_time_mean_everything(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await asyncpg.create_pool(database_url, min_size=1, max_size=1)
    monkeypatch.setattr(reads, "NEWS_LIMIT", 2)
    snapshot = await reads.start(pool)
    for happened in IDS[:3]:
        await pool.execute(INSERT, "delivery.created", happened)
    assert (await reads.news(pool, snapshot)).everything
    lowest, end, running = (await reads.start(pool)).split(":")
    assert (await reads.news(pool, f"{lowest}:{int(end) + 1000}:{running}")).everything
    await pool.close()


async def test_a_board_catches_up_after_more_news_than_can_be_named(
    node: StartNode, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Site(await node())
    page = parse((await site.vic.get("/board")).text)
    watched = await site.delivery()
    monkeypatch.setattr(reads, "NEWS_LIMIT", 0)
    async with (
        board_stream(site.vic, after=position_of(page)) as stream,
        board_stream(site.vic, about=watched["id"]) as about,
    ):
        made = await elsewhere.delivery()
        await stream.hear_row(f"d-{made['id']}")
        await about.hear_named("changed")
    await elsewhere.close()


async def test_who_comes_from_another_node_gets_no_older_picture_when_the_read_fails(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await site.vic.get("/board")).status_code == 200
    failed = asyncio.Event()

    async def away(_pool: Any) -> Any:
        failed.set()
        raise DatabaseAway("for the test")

    with monkeypatch.context() as patched:
        patched.setattr(reads, "open_deliveries", away)
        answer = await site.vic.get("/board/rows", params={"at": "0badbeef-3"})
    assert failed.is_set()
    assert answer.status_code == 503, answer.text
    assert (await site.vic.get("/board/rows", params={"at": "0badbeef-3"})).status_code == 200


async def test_a_board_whose_first_read_takes_too_long_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for it as long as a read may take."""
    let_go = asyncio.Event()
    read = reads.open_deliveries

    async def slow(pool: Any) -> Any:
        await let_go.wait()
        return await read(pool)

    monkeypatch.setattr(feed, "READY_SECONDS", 0.2)
    monkeypatch.setattr(reads, "open_deliveries", slow)
    assert (await asyncio.wait_for(site.vic.get("/board"), PATIENCE / 2)).status_code == 503
    let_go.set()

    async def is_shown() -> bool:
        return (await site.vic.get("/board")).status_code == 200

    await until(is_shown)


async def test_the_age_of_the_board_is_that_of_the_last_look_at_what_others_did(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own commits show, but that is no sign that others' would."""
    page = parse((await site.vic.get("/board")).text)
    feed = site.node.app.state.node.feed
    looked = asyncio.Event()

    async def away(_pool: Any, _snapshot: str) -> Any:
        looked.set()
        raise DatabaseAway("for the test")

    async with board_stream(site.vic, after=position_of(page)) as stream:
        with monkeypatch.context() as patched:
            patched.setattr(reads, "news", away)
            await asyncio.wait_for(looked.wait(), PATIENCE)
            age = feed._read_at
            made = await site.delivery()
            await stream.hear_row(f"d-{made['id']}")
            assert feed._read_at == age
        await until(lambda: feed._read_at > age)


async def test_what_was_read_is_sent_also_when_a_later_read_fails(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    page = parse((await site.vic.get("/board")).text)
    feed = site.node.app.state.node.feed
    read = reads.deliveries

    async def and_then_fail(pool: Any, ids: Any) -> Any:
        feed._due["alerts"] = 0.0
        return await read(pool, ids)

    async def away(_pool: Any) -> Any:
        raise DatabaseAway("for the test")

    watched = await site.delivery()
    async with (
        board_stream(site.vic, after=position_of(page)) as stream,
        board_stream(site.vic, about=watched["id"]) as about,
    ):
        await stream.hear_row(f"d-{watched['id']}")
        before = len(about.sent)
        with monkeypatch.context() as patched:
            patched.setattr(reads, "deliveries", and_then_fail)
            patched.setattr(reads, "alerts", away)
            acknowledged = await site.alice.post(f"/admin/unassigned-orders/{watched['id']}/acknowledge")
            assert acknowledged.status_code == 200
            await until(lambda: feed._picture.deliveries[watched["id"]].acknowledged_by)
        await stream.hear_row(f"d-{watched['id']}", lambda row: row.cell("ack").text == "alice")
        await until(lambda: any(sent.name == "changed" for sent in about.sent[before:]))
