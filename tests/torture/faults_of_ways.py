"""Faults of the ways between: a node and PostgreSQL, a node and Redis, clients and a node."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

from tests.torture.proxy import Trouble
from tests.torture.stage import Link, Stage, Taken

Work = Callable[[Stage, random.Random], Awaitable[None]]
Way = Literal["database", "redis", "client"]

BROKEN_SECONDS: Final = (0.5, 9.0)
COMMITS_CUT_SHARE: Final = 0.5
RESET_TOO_SHARE: Final = 0.7

BETWEEN: Final[dict[Way, str]] = {
    "database": "a node and PostgreSQL",
    "redis": "a node and Redis",
    "client": "clients and a node",
}


def link_of(stage: Stage, way: Way, index: int) -> Link:
    """A node's proxy on this way."""
    node = stage.nodes[index]
    return {"database": node.to_database, "redis": node.to_redis, "client": node.front}[way]


@asynccontextmanager
async def troubled(link: Link, trouble: Trouble) -> AsyncIterator[None]:
    """The way is like this until later. Raises Taken."""
    with link.claim():
        try:
            await link.proxy.make(trouble)
            yield
        finally:
            await link.proxy.heal()


def _any_link(stage: Stage, chance: random.Random, way: Way) -> Link:
    links = [link_of(stage, way, index) for index in range(len(stage.nodes))]
    free = [link for link in links if not link.claimed]
    if not free:
        raise Taken
    return chance.choice(free)


def _trouble(way: Way, draw: Callable[[random.Random], Trouble]) -> Work:
    async def work(stage: Stage, chance: random.Random) -> None:
        async with troubled(_any_link(stage, chance, way), draw(chance)):
            await asyncio.sleep(chance.uniform(*BROKEN_SECONDS))

    return work


def _refused(way: Way) -> Work:
    async def work(stage: Stage, chance: random.Random) -> None:
        link = _any_link(stage, chance, way)
        async with troubled(link, Trouble(refuse=True)):
            if chance.random() < RESET_TOO_SHARE:
                await link.proxy.reset()
            await asyncio.sleep(chance.uniform(*BROKEN_SECONDS))

    return work


def _reset(way: Way) -> Work:
    async def work(stage: Stage, chance: random.Random) -> None:
        link = _any_link(stage, chance, way)
        with link.claim():
            for _ in range(chance.randint(1, 6)):
                await link.proxy.reset()
                await asyncio.sleep(chance.uniform(0.0, 1.0))

    return work


async def _cut_from_everybody(stage: Stage, chance: random.Random) -> None:
    """One node is alone in the world: neither PostgreSQL nor Redis nor clients."""
    free = [n for n in stage.nodes if not (n.to_database.claimed or n.to_redis.claimed or n.front.claimed)]
    if not free:
        raise Taken
    node, held = chance.choice(free), Trouble(hold="both")
    async with troubled(node.to_database, held), troubled(node.to_redis, held), troubled(node.front, held):
        await asyncio.sleep(chance.uniform(*BROKEN_SECONDS))


_ACTIONS: Final[dict[str, tuple[str, Callable[[random.Random], Trouble]]]] = {
    "slow": (
        "Between {} everything is delayed, by a different time each time.",
        lambda chance: Trouble(delay_ms=chance.uniform(5, 150), jitter_ms=chance.uniform(0, 300)),
    ),
    "throttled": (
        "Between {} only a few kilobytes a second pass.",
        lambda chance: Trouble(bytes_per_second=chance.uniform(2_000, 60_000)),
    ),
    "held": (
        "Nothing passes between {}, and all of it arrives when the fault ends.",
        lambda _: Trouble(hold="both"),
    ),
    "held-one-way": (
        "Between {} one direction is paused, and arrives when the fault ends.",
        lambda chance: Trouble(hold=chance.choice(("up", "down"))),
    ),
    "lost": (
        "What is sent between {} vanishes, connections stay open until the fault ends.",
        lambda _: Trouble(drop="both"),
    ),
    "lost-one-way": (
        "What is sent in one direction between {} vanishes.",
        lambda chance: Trouble(drop=chance.choice(("up", "down"))),
    ),
    "cut": (
        "Connections between {} are reset after some bytes, again and again.",
        lambda chance: Trouble(cut_after_bytes=int(10 ** chance.uniform(1.5, 5))),
    ),
}


def _all() -> dict[str, tuple[str, Work]]:
    found: dict[str, tuple[str, Work]] = {}
    for way, between in BETWEEN.items():
        for action, (summary, draw) in _ACTIONS.items():
            found[f"{way}-{action}"] = summary.format(between), _trouble(way, draw)
        found[f"{way}-refused"] = f"New connections between {between} are refused; open ones may be cut.", _refused(way)
        found[f"{way}-reset"] = f"All connections between {between} are reset, a few times.", _reset(way)
    found["commit-answers-cut"] = (
        "PostgreSQL commits, and half of the answers to it are cut off on the way back to a node.",
        _trouble("database", lambda _: Trouble(cut_commit="after", commit_share=COMMITS_CUT_SHARE)),
    )
    found["commits-cut"] = (
        "Half of a node's COMMITs are cut off before they arrive.",
        _trouble("database", lambda _: Trouble(cut_commit="before", commit_share=COMMITS_CUT_SHARE)),
    )
    found["node-cut-off"] = ("For a while a node reaches nobody, and nobody reaches the node.", _cut_from_everybody)
    return found


WAY_FAULTS: Final[dict[str, tuple[str, Work]]] = _all()
