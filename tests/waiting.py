"""Waiting for a condition with a deadline; tests never just sleep."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar, overload

import pytest

T = TypeVar("T")
PATIENCE = 120.0
"""Seconds. Only what never comes takes so long: a machine with much else to do may need a minute to start a node."""


@overload
async def until(condition: Callable[[], Awaitable[T | None]], within: float = PATIENCE, every: float = 0.01) -> T: ...
@overload
async def until(condition: Callable[[], T | None], within: float = PATIENCE, every: float = 0.01) -> T: ...
async def until(condition: Callable[[], Any], within: float = PATIENCE, every: float = 0.01) -> Any:
    """Ask until the answer is true and return it. Fails after `within` seconds, naming the condition.

    How long it took is no part of a test: a busy machine may be slow.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if loop.time() > deadline:
            raise AssertionError(f"not within {within:g} s: {_source_of(condition)}; last answer {value!r}")
        await asyncio.sleep(every)


def outlast_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No node counts as dead, and none loses the lease, because the machine stopped for some seconds."""
    for limit in ("lease.LASTS_SECONDS", "heartbeat.DEAD_AFTER_SECONDS"):
        monkeypatch.setattr(f"server.{limit}", 3600.0)


async def last_seen(look: Callable[[], Awaitable[T]], fine: Callable[[T], object], within: float, every: float) -> T:
    """Look until what is seen is fine, or for so many seconds; returns what was seen last."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        seen = await look()
        if fine(seen) or loop.time() > deadline:
            return seen
        await asyncio.sleep(every)


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, object]) -> AsyncIterator[asyncio.Task[object]]:
    """Something that runs meanwhile, and is cancelled at the end."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _source_of(condition: Callable[..., object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):
        return repr(condition)
