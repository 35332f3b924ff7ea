"""Background tasks: started again when they die, not when they are asked to end."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from server import tasks
from server.tasks import stop, supervised
from tests.waiting import until


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "FIRST_PAUSE_SECONDS", 0.01)


def measured(name: str, task: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"task": task})


async def test_a_task_that_dies_is_started_again_and_counted() -> None:
    lives = 0

    async def run() -> None:
        nonlocal lives
        lives += 1
        if lives < 3:
            raise ValueError("no more")
        await asyncio.Event().wait()

    task = supervised("mortal", run)
    assert task.get_name() == "mortal"
    await until(lambda: lives == 3)
    assert measured("callboard_task_deaths_total", "mortal") == 2
    assert measured("callboard_task_alive", "mortal") == 1
    await stop(task)
    assert task.cancelled()
    assert measured("callboard_task_alive", "mortal") == 0


async def test_a_task_that_returns_is_not_restarted() -> None:
    async def run() -> None:
        pass

    task = supervised("brief", run)
    await task
    assert measured("callboard_task_deaths_total", "brief") == 0


async def test_a_stray_cancellation_is_a_death_and_not_the_end() -> None:
    lives = 0

    async def run() -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            raise asyncio.CancelledError
        await asyncio.Event().wait()

    task = supervised("stray", run)
    await until(lambda: lives == 2)
    assert measured("callboard_task_deaths_total", "stray") == 1
    await stop(task)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of supervised tasks, in seconds; they take no time."""
    found: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        found.append(seconds)
        await sleep(0)

    monkeypatch.setattr("server.tasks.asyncio.sleep", note)
    return found


async def test_pauses_grow_while_it_keeps_dying(pauses: list[float]) -> None:
    async def run() -> None:
        if len(pauses) == 12:
            return
        raise OSError("gone")

    await supervised("unlucky", run)
    assert pauses[:4] == [0.01, 0.02, 0.04, 0.08]
    assert max(pauses) <= tasks.LONGEST_PAUSE_SECONDS


async def test_one_that_had_lived_long_starts_with_a_short_pause(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "STEADY_SECONDS", -1.0)

    async def run() -> None:
        if len(pauses) == 3:
            return
        raise OSError("gone")

    await supervised("steady", run)
    assert pauses == [0.01, 0.01, 0.01]
