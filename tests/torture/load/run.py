"""One run: all connect, a day's orders come at once, a node dies, and then for as long as asked drivers come and go."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from server.web.access.tokens import mint_token
from tests.bench.figures import Result, percentiles, short, spread
from tests.bench.fleet import each
from tests.bench.wire import Http, connect_http, request, to_json
from tests.torture.load.boards import Board
from tests.torture.load.everybody import Everybody
from tests.torture.load.memory import Memory, growth, in_megabytes, memory, peaks
from tests.torture.load.shop import Shop
from tests.torture.stage import Stage

REGISTER_WIDTH: Final = 16
BURST_WIDTH: Final = 64
CONNECT_SECONDS: Final = 900.0
BURST_SECONDS: Final = 1800.0
BACK_SECONDS: Final = 300.0
ORDERS_A_SECOND: Final = 5.0
"""While a node dies, and while drivers come and go."""
CHURN_SHARE: Final = 0.05
"""How many of the drivers leave in each round, and all of those who left before come back."""
CHURN_SECONDS: Final = 4.0
SAMPLE_SECONDS: Final = 2.0
GROWTH_ALLOWED: Final = 0.03
"""Of the nodes' memory from the third quarter of the churn to the fourth: more is a leak."""
TOKEN_SECONDS: Final = 24 * 3600
WRONG: Final = frozenset({"try_again", "internal_error", "invalid", "unauthorized", "too_many_messages"})
"""Refusals that no driver may get here. An offer that closed after a node's death is nobody's mistake."""

Done = TypeVar("Done")


class Size(Struct, frozen=True):
    """What to do."""

    drivers: int
    nodes: int = 3
    burst: int = 5000
    boards: int = 30
    minutes: float = 0.0
    """Of coming and going."""
    around_seconds: float = 5.0
    """How long orders are looked at before a node dies, and once its drivers are back."""


class Run:
    """One run on a stage; its parts one after the other."""

    def __init__(self, stage: Stage, everybody: Everybody, size: Size) -> None:
        self.result = Result("load", "Load", msgspec.to_builtins(size))
        self._stage = stage
        self._everybody = everybody
        self._size = size
        self._shop = Shop(stage.secret)
        self._boards: list[Board] = []

    async def whole(self) -> Result:
        """All parts; what must not be is among the result's errors."""
        size, everybody = self._size, self._everybody
        tokens = await _said(f"{size.drivers:,} drivers are registered", self._register())
        await everybody.gather(tokens, size.nodes)
        await self._nodes_are_there()
        await _said("they connect", self._connect())
        ports = [node.port for node in self._stage.nodes]
        self._boards = [Board(ports[number % len(ports)], self._stage.secret) for number in range(size.boards)]
        await asyncio.gather(*(board.open() for board in self._boards))
        await _said(f"{size.burst:,} orders at once", self._burst())
        await _said("a node dies", self._death())
        if size.minutes:
            await _said(f"drivers come and go for {size.minutes:g} minutes", self._churn())
        await asyncio.gather(*(board.close() for board in self._boards))
        self._shop.close()
        result = self.result
        result.figures["drivers' refusals"] = dict(everybody.errors)
        result.errors.update(self._shop.failed)
        result.errors.update({code: count for code, count in everybody.errors.items() if code in WRONG})
        result.errors.update(self._stage.complaints)
        return result

    async def _nodes_are_there(self) -> None:
        ports = [node.port for node in self._stage.nodes]
        self._shop.ports = ports
        await self._everybody.nodes_are_at(ports)

    async def _register(self) -> list[str]:
        service = mint_token(self._stage.secret, "service", "office", TOKEN_SECONDS)[0]
        spare: dict[int, list[Http]] = {node.port: [] for node in self._stage.nodes}
        tokens: list[str] = []

        async def register(index: int) -> None:
            port = self._stage.nodes[index % self._size.nodes].port
            http = spare[port].pop() if spare[port] else await connect_http(port)
            status, answer = await http.ask(request("POST", "/drivers", service, to_json({"name": f"driver {index}"})))
            spare[port].append(http)
            assert status == 201, answer
            driver_id = msgspec.json.decode(answer)["id"]
            tokens.append(mint_token(self._stage.secret, "driver", driver_id, TOKEN_SECONDS)[0])

        await each(range(self._size.drivers), REGISTER_WIDTH, register)
        for idle in spare.values():
            for http in idle:
                http.close()
        return tokens

    async def _connect(self) -> None:
        number, before, began = self._size.drivers, memory(self._stage), perf_counter()
        await self._everybody.connect()
        done, seen = await self._everybody.until(lambda seen: seen.connected >= number, CONNECT_SECONDS)
        seconds, after = perf_counter() - began, memory(self._stage)
        weighs = sum(after[index] - before[index] for index in before) / max(1, seen.connected)
        self.result.figures["connect"] = {
            "seconds": round(seconds, 1),
            "byNode": seen.by_node,
            "bytesPerDriver": round(weighs),
            "memory": _listed(after),
        }
        self.result.line(f"{number:,} drivers connect", f"{seen.connected:,} in {short(seconds)} s", "all", done)
        self.result.line(
            "memory of the nodes with all of them", in_megabytes(after), limit=f"{short(weighs / 1000)} kB a driver"
        )

    async def _burst(self) -> None:
        number, shop, everybody, result = self._size.burst, self._shop, self._everybody, self.result
        before = await everybody.look()
        heard = sum(board.events for board in self._boards)
        async with peaks(self._stage) as most:
            began = perf_counter()
            posting = asyncio.create_task(shop.at_once(number, BURST_WIDTH), name="burst")
            all_offered, _ = await everybody.until(
                lambda _: posting.done() and everybody.offered.keys() >= shop.posted.keys(), BURST_SECONDS
            )
            offered_seconds = perf_counter() - began
            await posting
            taken = len(shop.posted)
            all_done, seen = await everybody.until(
                lambda seen: seen.completed - before.completed >= taken, BURST_SECONDS
            )
            seconds = perf_counter() - began
        waits = [everybody.offered[name] - at for name, at in shop.posted.items() if name in everybody.offered]
        result.figures["burst"] = {
            "ms": {"postToAnswer": spread(shop.took), "postToOffer": spread(waits)},
            "allOfferedSeconds": round(offered_seconds, 1),
            "allCompletedSeconds": round(seconds, 1),
            "triedAgain": shop.again,
            "peakMemory": _listed(most),
        }
        name = f"{number:,} orders at once"
        result.line(f"{name}: every one offered", f"{short(offered_seconds)} s", "all", all_offered)
        result.line(
            f"{name}: every one delivered",
            f"{seen.completed - before.completed:,} in {short(seconds)} s",
            "all",
            all_done,
            limit=f"{short(taken / seconds)} a second",
        )
        result.line(f"{name}: POST to answer", percentiles(spread(shop.took)), limit=f"{shop.again} asked to try again")
        result.line(f"{name}: POST to offer", percentiles(spread(waits)))
        result.line(f"{name}: memory of the nodes at most", in_megabytes(most))
        stayed = sum(not board.ended for board in self._boards)
        heard = sum(board.events for board in self._boards) - heard
        result.line(
            f"{self._size.boards} boards open meanwhile",
            f"{stayed} stay, {heard:,} messages",
            "all stay",
            stayed == self._size.boards,
        )

    async def _death(self) -> None:
        """The node with the most drivers, whose orders go elsewhere: none of those may fail."""
        everybody, stage, size, result = self._everybody, self._stage, self._size, self.result
        before = await everybody.look()
        everybody.away.clear()
        dying = stage.nodes[before.by_node.index(max(before.by_node))]
        self._shop.ports = [node.port for node in stage.nodes if node is not dying]
        self._shop.took.clear()
        before_memory = memory(stage)
        async with peaks(stage) as most, self._orders():
            await asyncio.sleep(size.around_seconds)
            began = perf_counter()
            stage.kill_node(dying)
            _, seen = await everybody.until(lambda seen: seen.lost - before.lost > 0, BACK_SECONDS)
            done, seen = await everybody.until(lambda seen: seen.connected >= seen.wanted, BACK_SECONDS)
            seconds = perf_counter() - began
            most.pop(dying.index, None)
            after_memory = memory(stage)
            await asyncio.sleep(size.around_seconds)
        lost = seen.lost - before.lost
        result.figures["death"] = {
            "drivers": lost,
            "seconds": round(seconds, 2),
            "ms": {"away": spread(everybody.away), "postToAnswerMeanwhile": spread(self._shop.took)},
            "memoryBefore": _listed(before_memory),
            "memoryPeak": _listed(most),
            "memoryAfter": _listed(after_memory),
        }
        result.line(f"a node dies: its {lost:,} drivers have a hello elsewhere", f"{short(seconds)} s", "all", done)
        result.line("from the loss to the hello", percentiles(spread(everybody.away, 1.0), unit="s"))
        result.line("orders meanwhile: POST to answer", percentiles(spread(self._shop.took)))
        before_memory.pop(dying.index, None)
        result.line("memory of the others at most", in_megabytes(most), limit=f"before {in_megabytes(before_memory)}")
        await stage.start_node(dying.index)
        await stage.until_ready()
        await self._nodes_are_there()

    @asynccontextmanager
    async def _orders(self) -> AsyncIterator[None]:
        """Orders meanwhile, and all of them answered at the end."""
        over = asyncio.Event()
        ordering = asyncio.create_task(self._shop.at_a_rate(ORDERS_A_SECOND, over), name="orders")
        try:
            yield
        finally:
            over.set()
            await ordering

    async def _churn(self) -> None:
        everybody, size, result = self._everybody, self._size, self.result
        samples: list[Memory] = []

        async def sample() -> None:
            while True:
                await asyncio.sleep(SAMPLE_SECONDS)
                samples.append(memory(self._stage))

        before = await everybody.look()
        sampling = asyncio.create_task(sample(), name="samples")
        ends = perf_counter() + 60 * size.minutes
        left = 0.0
        async with self._orders():
            while perf_counter() < ends:
                await everybody.hang_up(CHURN_SHARE)
                await asyncio.sleep(CHURN_SECONDS / 2)
                left += size.drivers * CHURN_SHARE
                await everybody.connect()
                await asyncio.sleep(CHURN_SECONDS / 2)
            done, seen = await everybody.until(lambda seen: seen.connected >= seen.wanted, BACK_SECONDS)
        sampling.cancel()
        grown = growth(samples)
        result.figures["churn"] = {
            "connections": round(left),
            "delivered": seen.completed - before.completed,
            "growth": round(grown, 4),
            "memory": [_listed(sample) for sample in samples[:: max(1, len(samples) // 60)]],
        }
        result.line(f"about {left:,.0f} drivers leave and come back", f"{seen.connected:,} are there", "all", done)
        result.line(
            f"{size.minutes:g} minutes of it: the nodes' memory, third quarter to fourth",
            f"{100 * grown:+.1f} %",
            f"{100 * GROWTH_ALLOWED:g} %",
            grown <= GROWTH_ALLOWED,
            limit=f"{in_megabytes(samples[0])} to {in_megabytes(samples[-1])}" if samples else "",
        )


def _listed(found: Memory) -> list[int]:
    return [size for _, size in sorted(found.items())]


async def _said(what: str, work: Awaitable[Done]) -> Done:
    print(what, end="", file=sys.stderr, flush=True)
    began = perf_counter()
    try:
        return await work
    finally:
        print(f": {perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
