"""Rounds of calls, and how they end."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from server.notify import call_rounds as calls_module
from server.notify.call_rounds import Calls
from tests.waiting import until


@pytest.fixture
def ended() -> list[str]:
    return []


async def under_way(ended: list[str], answered: asyncio.Event) -> "asyncio.Task[None]":
    """Calls that run, with one under way that waits for its answer."""
    lease: Any = SimpleNamespace(held=True)

    async def call() -> None:
        try:
            await answered.wait()
        except asyncio.CancelledError:
            ended.append("cut off")
            raise
        ended.append("answered")

    async def take() -> None:
        if len(calls) == 0:
            calls.start(call())

    calls = Calls("test", lease, take, spacing_seconds=0.0)
    running = asyncio.create_task(calls.run())
    await until(lambda: len(calls) == 1)
    return running


async def test_a_call_under_way_may_end_when_the_node_does(ended: list[str]) -> None:
    answered = asyncio.Event()
    running = await under_way(ended, answered)
    running.cancel()
    asyncio.get_running_loop().call_soon(answered.set)
    await asyncio.wait([running])
    assert ended == ["answered"]


async def test_one_that_does_not_is_cut_off(ended: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "CLOSE_SECONDS", 0.01)
    running = await under_way(ended, asyncio.Event())
    running.cancel()
    await asyncio.wait([running])
    assert ended == ["cut off"]
