"""The memory of the nodes: now, at most during something, and whether it grows for good."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from statistics import mean
from typing import Final

import psutil

from tests.bench.machine import resident_bytes
from tests.torture.stage import Stage

LOOK_SECONDS: Final = 0.25

Memory = dict[int, int]
"""Resident bytes by the node's index."""


def memory(stage: Stage) -> Memory:
    """Now, of those that live."""
    found: Memory = {}
    for node in stage.nodes:
        if node.alive:
            with suppress(psutil.NoSuchProcess):
                found[node.index] = resident_bytes(node.pid)
    return found


@asynccontextmanager
async def peaks(stage: Stage) -> AsyncIterator[Memory]:
    """The most of each node meanwhile."""
    most = memory(stage)

    async def watch() -> None:
        while True:
            for index, size in memory(stage).items():
                most[index] = max(size, most.get(index, 0))
            await asyncio.sleep(LOOK_SECONDS)

    watching = asyncio.create_task(watch(), name="memory")
    try:
        yield most
    finally:
        watching.cancel()


def growth(samples: Sequence[Memory]) -> float:
    """By which share the nodes together grew from the third quarter of these samples to the fourth.

    The first half is left to warm up: caches fill, pools open, the allocator finds its size.
    """
    quarter = len(samples) // 4
    if not quarter:
        return 0.0
    before = mean(sum(sample.values()) for sample in samples[2 * quarter : 3 * quarter])
    after = mean(sum(sample.values()) for sample in samples[3 * quarter :])
    return after / before - 1.0


def in_megabytes(found: Memory) -> str:
    """For people: each node's."""
    return ", ".join(f"{size / 1e6:.0f}" for _, size in sorted(found.items())) + " MB"
