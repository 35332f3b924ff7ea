"""What is sent to boards, without a node: positions, catching up, and viewers who do not keep up."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from server.board import broadcast as broadcasting
from server.board.broadcast import Broadcast, Viewer, event
from tests.waiting import PATIENCE, until


def data_of(messages: list[bytes]) -> list[str]:
    """The data of messages."""
    return [line[6:] for chunk in messages for line in chunk.decode().split("\n") if line.startswith("data: ")]


async def next_of(stream: AsyncIterator[bytes]) -> str:
    async with asyncio.timeout(PATIENCE):
        return (await anext(stream)).decode()


async def test_everybody_gets_the_same_bytes() -> None:
    broadcast = Broadcast()
    viewers = [broadcast.join(broadcast.position) for _ in range(3)]
    broadcast.publish("<p>one</p>")
    broadcast.publish("<p>two</p>")
    taken = [await viewer.take() for viewer in viewers]
    assert taken[0] is not None
    assert data_of(taken[0]) == ["<p>one</p>", "<p>two</p>"]
    for other in taken[1:]:
        assert other is not None
        assert all(a is b for a, b in zip(taken[0], other, strict=True))


async def test_a_message_is_one_event_whatever_is_in_it() -> None:
    assert event("a\r\nb\nc", name="x", position="e-1") == b"id: e-1\nevent: x\ndata: a  b c\n\n"


async def test_who_was_away_gets_exactly_what_they_missed() -> None:
    broadcast = Broadcast()
    broadcast.publish("one")
    position = broadcast.position
    broadcast.publish("two")
    broadcast.publish("three")
    taken = await broadcast.join(position).take()
    assert taken is not None
    assert data_of(taken) == ["two", "three"]


async def test_who_missed_nothing_gets_nothing() -> None:
    broadcast = Broadcast()
    broadcast.publish("one")
    viewer = broadcast.join(broadcast.position)
    broadcast.publish("two")
    taken = await viewer.take()
    assert taken is not None
    assert data_of(taken) == ["two"]


@pytest.mark.parametrize("position", [None, "", "nonsense", "00000000-1", "ffffffff-0", "deadbeef-99999999999999999"])
async def test_an_unknown_position_leads_to_a_resync(position: str | None) -> None:
    broadcast = Broadcast()
    broadcast.publish("one")
    stream = broadcast.stream(broadcast.join(position))
    assert await next_of(stream) == f"id: {broadcast.position}\nevent: resync\ndata: \n\n"


async def test_a_position_of_the_future_leads_to_a_resync() -> None:
    broadcast = Broadcast()
    stream = broadcast.stream(broadcast.join(f"{broadcast.epoch}-1"))
    assert "event: resync" in await next_of(stream)


async def test_what_is_too_long_ago_leads_to_a_resync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcasting, "KEPT_MESSAGES", 2)
    broadcast = Broadcast()
    start = broadcast.position
    for word in ("one", "two"):
        broadcast.publish(word)
    assert broadcast.since(start) is not None
    broadcast.publish("three")
    assert broadcast.since(start) is None


async def test_memory_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcasting, "BEHIND_BYTES", 1000)
    broadcast = Broadcast()
    start = broadcast.position
    for _ in range(20):
        broadcast.publish("x" * 100)
    assert broadcast.since(start) is None
    assert broadcast.since(f"{broadcast.epoch}-{broadcast.number - 2}") is not None


async def test_a_slow_viewer_gets_a_resync_and_then_continues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcasting, "BEHIND_BYTES", 500)
    broadcast = Broadcast()
    slow, quick = broadcast.join(broadcast.position), broadcast.join(broadcast.position)
    stream = broadcast.stream(slow)
    for _ in range(10):
        broadcast.publish("x" * 100)
        await quick.take()
    assert await next_of(stream) == f"id: {broadcast.position}\nevent: resync\ndata: \n\n"
    broadcast.publish("after")
    assert "data: after" in await next_of(stream)


async def test_one_message_larger_than_the_bound_still_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broadcasting, "BEHIND_BYTES", 10)
    broadcast = Broadcast()
    viewer = broadcast.join(broadcast.position)
    broadcast.publish("x" * 100)
    taken = await viewer.take()
    assert taken is not None
    assert data_of(taken) == ["x" * 100]


async def test_a_new_epoch_resyncs_everybody() -> None:
    broadcast = Broadcast()
    viewer = broadcast.join(broadcast.position)
    before = broadcast.position
    broadcast.publish("one")
    broadcast.begin()
    assert await viewer.take() == []
    assert broadcast.since(before) is None


async def test_a_page_of_one_hears_only_that_it_changed() -> None:
    broadcast = Broadcast()
    page = broadcast.join(None, {"this-one"}, board=False)
    assert await page.take() == []
    broadcast.publish("a row")
    broadcast.touched({"another"})
    broadcast.touched({"this-one"})
    assert await page.take() == [b"event: changed\ndata: this-one\n\n"]


async def test_closing_ends_every_stream_and_every_later_one() -> None:
    broadcast = Broadcast()
    early = broadcast.join(broadcast.position)
    broadcast.publish("last")
    broadcast.close()
    assert [chunk async for chunk in broadcast.stream(early)] == [event("last", position=broadcast.position)]
    late = broadcast.join(broadcast.position)
    assert [chunk async for chunk in broadcast.stream(late)] == []


async def test_a_viewer_waits_until_there_is_something() -> None:
    viewer = Viewer((), board=True)
    taking = asyncio.create_task(viewer.take())
    await asyncio.sleep(0)
    assert not taking.done()
    viewer.push(b"x")
    await until(taking.done)
    assert taking.result() == [b"x"]


async def test_who_left_is_not_counted() -> None:
    broadcast = Broadcast()
    viewer = broadcast.join(None)
    assert len(broadcast) == 1
    broadcast.leave(viewer)
    broadcast.leave(viewer)
    assert len(broadcast) == 0
