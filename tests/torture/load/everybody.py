"""All crowds of a run together, and what they have seen so far."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, field

from tests.torture.aside import Aside
from tests.waiting import last_seen

LOOK_SECONDS = 0.25


class Seen(Struct):
    """What there is to see now. `away` are the seconds from losing a socket to the next hello, of all so far."""

    wanted: int = 0
    connected: int = 0
    lost: int = 0
    completed: int = 0
    by_node: list[int] = field(default_factory=list)


class Everybody:
    """The drivers of all processes. `offered` says when each order's offer came first, `errors` counts refusals."""

    def __init__(self, crowds: Sequence[Aside]) -> None:
        self.offered: dict[str, float] = {}
        self.away: list[float] = []
        self.errors: Counter[str] = Counter()
        self._crowds = crowds

    async def gather(self, tokens: Sequence[str], nodes: int) -> None:
        """These are the drivers, to be spread over so many nodes."""
        number = len(self._crowds)
        for index, crowd in enumerate(self._crowds):
            await crowd.tell(do="gather", seed=index, tokens=tokens[index::number], nodes=nodes)

    async def nodes_are_at(self, ports: Sequence[int]) -> None:
        """Where the nodes listen now."""
        await self._tell(do="nodes", ports=ports)

    async def connect(self, share: float = 1.0) -> None:
        """This share of those off the road are to come."""
        await self._tell(do="connect", share=share)

    async def hang_up(self, share: float) -> None:
        """This share of those on the road leave."""
        await self._tell(do="hang_up", share=share)

    async def _tell(self, **order: Any) -> list[Any]:
        return await asyncio.gather(*(crowd.tell(**order) for crowd in self._crowds))

    async def look(self) -> Seen:
        """Now."""
        seen = Seen()
        for one in await self._tell(do="seen"):
            for name, at in one["offered"].items():
                self.offered.setdefault(name, at)
            self.away += one["away"]
            self.errors.update(one["errors"])
            seen.wanted += one["wanted"]
            seen.connected += one["connected"]
            seen.lost += one["lost"]
            seen.completed += one["completed"]
            seen.by_node = [a + b for a, b in zip(seen.by_node or [0] * len(one["byNode"]), one["byNode"], strict=True)]
        return seen

    async def until(self, condition: Callable[[Seen], bool], within: float) -> tuple[bool, Seen]:
        """Look until that is so, or for so long: whether it came to be, and what was seen last."""
        seen = await last_seen(self.look, condition, within, every=LOOK_SECONDS)
        return condition(seen), seen
