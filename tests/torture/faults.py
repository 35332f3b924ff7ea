"""What is done to a stage: each fault breaks something, keeps it broken for a while, and heals it, whatever happens.

A storm of them is drawn from a seed: alone and together, each as often as the others.
"""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from tests.torture.faults_of_nodes import NO_CLOCKS, NODE_FAULTS
from tests.torture.faults_of_servers import SERVER_FAULTS
from tests.torture.faults_of_ways import WAY_FAULTS
from tests.torture.stage import Stage, Taken

TOGETHER: Final = 3
"""How many faults at most at a time."""
PAUSE_SECONDS: Final = (0.5, 4.0)
"""Between the beginnings of two."""
ALONE_SHARE: Final = 0.4
"""How often a fault waits until all before it are healed."""


class Fault(Struct, frozen=True):
    """A way to break something; `summary` is one sentence about it."""

    name: str
    summary: str
    work: Callable[[Stage, random.Random], Awaitable[None]]
    impossible: str = ""
    """Why it cannot be done on this machine, if it cannot."""

    async def run(self, stage: Stage, chance: random.Random) -> None:
        """Break it, and heal it after a while or when cancelled. Raises Taken, with nothing done."""
        await self.work(stage, chance)


class Broken(NamedTuple):
    """That a fault was there, between these instants (Unix seconds)."""

    name: str
    began: float
    healed: float


FAULTS: Final[dict[str, Fault]] = {
    name: Fault(name, summary, work, NO_CLOCKS if name.startswith("clock-") else "")
    for name, (summary, work) in sorted({**NODE_FAULTS, **SERVER_FAULTS, **WAY_FAULTS}.items())
}


async def storm(stage: Stage, chance: random.Random, names: Sequence[str], until: float) -> list[Broken]:
    """Faults of these names until this time of the loop; healed at the end, all of them. Oldest first.

    Raises AssertionError when all is not well again within `READY_SECONDS`.
    """
    for name in names:
        if FAULTS[name].impossible:
            print(f"left out: {name}: {FAULTS[name].impossible}", file=sys.stderr, flush=True)
    names = [name for name in names if not FAULTS[name].impossible]
    loop = asyncio.get_running_loop()
    broken: list[Broken] = []
    running: set[asyncio.Task[None]] = set()
    deck: list[str] = []

    async def one(name: str, own: random.Random) -> None:
        began = time.time()
        try:
            await FAULTS[name].run(stage, own)
        except Taken:
            return
        except Exception as error:
            # What it left behind is seen below, when all is to be well again.
            print(f"the fault {name} came to grief: {error!r}", file=sys.stderr, flush=True)
        except asyncio.CancelledError:
            broken.append(Broken(name, began, time.time()))
            raise
        broken.append(Broken(name, began, time.time()))

    try:
        while names and (now := loop.time()) < until:
            if not deck:
                deck = chance.sample(list(names), len(names))
            # As much is drawn for each one whatever came before, so that a seed means the same again.
            name, alone, own = deck.pop(), chance.random() < ALONE_SHARE, random.Random(chance.random())
            pause = chance.uniform(*PAUSE_SECONDS)
            if running and (alone or len(running) >= TOGETHER):
                how = asyncio.ALL_COMPLETED if alone else asyncio.FIRST_COMPLETED
                await asyncio.wait(running, timeout=until - now, return_when=how)
                if loop.time() >= until:
                    break
            task = asyncio.create_task(one(name, own), name=f"fault {name}")
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(min(pause, max(0.0, until - loop.time())))
    finally:
        left = tuple(running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
    await stage.until_ready()
    return sorted(broken, key=lambda one: one.began)
