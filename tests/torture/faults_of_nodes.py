"""Faults of nodes: killed, stopped for a while, restarted in turn, and with clocks that are off."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from server.lease import LASTS_SECONDS
from tests.torture.stage import Node, Stage, Taken

Work = Callable[[Stage, random.Random], Awaitable[None]]
Choice = Callable[[Stage, random.Random], Awaitable[Node]]

DOWN_SECONDS: Final = (0.0, 6.0)
SHORT_SECONDS: Final = (0.2, LASTS_SECONDS - 0.5)
LONG_SECONDS: Final = (LASTS_SECONDS + 0.5, 12.0)
CLOCK_SECONDS: Final = (3.0, 10.0)
CLOCK_OFF_SECONDS: Final = (90.0, 900.0)

FAKETIME: Final[tuple[Path, ...]] = (
    *Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"),
    *Path("/usr/lib").glob("faketime/libfaketimeMT.so.1"),
)


async def any_node(stage: Stage, chance: random.Random) -> Node:
    """One that runs and that nobody else plays with. Raises Taken."""
    free = [node for node in stage.nodes if not node.claimed and node.alive]
    if not free:
        raise Taken
    return chance.choice(free)


async def the_holder(stage: Stage, _: random.Random) -> Node:
    """The one that holds the lease. Raises Taken when there is none, or somebody plays with it."""
    index = await stage.holder()
    if index is None or stage.nodes[index].claimed:
        raise Taken
    return stage.nodes[index]


def _killed(choose: Choice) -> Work:
    async def work(stage: Stage, chance: random.Random) -> None:
        node = await choose(stage, chance)
        with node.claim():
            stage.kill_node(node)
            try:
                await asyncio.sleep(chance.uniform(*DOWN_SECONDS))
            finally:
                await stage.start_node(node.index)

    return work


def _stopped(choose: Choice, seconds: tuple[float, float]) -> Work:
    async def work(stage: Stage, chance: random.Random) -> None:
        node = await choose(stage, chance)
        with node.claim(), stopped(stage, node):
            await asyncio.sleep(chance.uniform(*seconds))

    return work


@contextmanager
def stopped(stage: Stage, node: Node) -> Iterator[None]:
    """SIGSTOP until later."""
    stage.signal_node(node, signal.SIGSTOP)
    try:
        yield
    finally:
        stage.signal_node(node, signal.SIGCONT)


async def _rolling(stage: Stage, chance: random.Random) -> None:
    for node in chance.sample(stage.nodes, len(stage.nodes)):
        if node.claimed or not node.alive:
            continue
        with node.claim():
            try:
                await stage.end_node(node)
            finally:
                await _again(stage, node)
        await asyncio.sleep(chance.uniform(0.0, 2.0))


async def _again(stage: Stage, node: Node) -> None:
    stage.kill_node(node)
    await stage.start_node(node.index)


def _clock_off(sign: str) -> Work:
    async def work(stage: Stage, chance: random.Random) -> None:
        node = await any_node(stage, chance)
        off = chance.uniform(*CLOCK_OFF_SECONDS)
        with node.claim():
            try:
                await stage.end_node(node)
                await stage.start_node(node.index, **clock(f"{sign}{off:.1f}"))
                await asyncio.sleep(chance.uniform(*CLOCK_SECONDS))
                await stage.end_node(node)
            finally:
                await _again(stage, node)

    return work


def clock(off: str) -> dict[str, str]:
    """The environment of a process whose clock is off by `+12.3` seconds; timers run as ever."""
    return {
        "LD_PRELOAD": str(FAKETIME[0]),
        "FAKETIME": off,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


NO_CLOCKS: Final = "" if FAKETIME else "libfaketime is not here (on Debian: apt-get install libfaketime)"
"""Why clocks cannot be set apart on this machine, if they cannot."""

NODE_FAULTS: Final[dict[str, tuple[str, Work]]] = {
    "node-killed": ("A node is killed (kill -9) and started again a little later.", _killed(any_node)),
    "holder-killed": ("The node that holds the dispatcher's lease is killed.", _killed(the_holder)),
    "node-stopped-briefly": (
        "A node is paused (SIGSTOP) for less than its lease lasts.",
        _stopped(any_node, SHORT_SECONDS),
    ),
    "node-stopped-long": (
        "A node is paused until the others count it as gone, then it continues.",
        _stopped(any_node, LONG_SECONDS),
    ),
    "holder-stopped-briefly": (
        "The node with the lease is paused for a shorter time than the lease lasts.",
        _stopped(the_holder, SHORT_SECONDS),
    ),
    "holder-stopped-long": (
        "The node with the lease is paused until another node has the lease, then it continues.",
        _stopped(the_holder, LONG_SECONDS),
    ),
    "rolling-restart": ("All nodes are ended (SIGTERM) and started again, one after the other.", _rolling),
    "clock-ahead": ("A node runs with a clock that is minutes fast.", _clock_off("+")),
    "clock-behind": ("A node runs with a clock that is minutes slow.", _clock_off("-")),
}
