"""From an order's POST to its completion, over real sockets: at rest and with many in flight."""

import asyncio

from tests.bench import alone, transport
from tests.bench.figures import Result, percentiles, short
from tests.bench.fleet import Driver, Shop, drivers, off_the_road, on_the_road
from tests.bench.machine import Window
from tests.bench.orders import Load
from tests.bench.stand import Servers, Stand, stand

DRIVERS, IN_FLIGHT = 200, 32
PAUSE_SECONDS = 0.01
"""Between two orders at rest, a little varied, so that they fall into step with nothing."""


async def run(servers: Servers, quick: bool) -> Result:
    """The benchmark."""
    seconds, warm_up = (3.0, 2.0) if quick else (15.0, 5.0)
    result = Result(
        "cycle",
        "Order, offer, accept, complete",
        {"drivers": DRIVERS, "inFlight": IN_FLIGHT, "seconds": seconds},
    )
    async with stand(servers) as server:
        fleet = await drivers(server, DRIVERS)
        await on_the_road(server, fleet)
        await _measure(result, "atRest", server, fleet, 1, seconds, 1.0)
        await _measure(result, "loaded", server, fleet, IN_FLIGHT, seconds, warm_up)
        off_the_road(fleet)
    async with stand(servers, BATCH_LIMIT=1) as server:
        fleet = await drivers(server, DRIVERS)
        await on_the_road(server, fleet)
        await _measure(result, "batchSize1", server, fleet, IN_FLIGHT, seconds / 2, warm_up / 2)
        off_the_road(fleet)
    result.limits["writePathAlone"] = await alone.in_flight(servers, DRIVERS, IN_FLIGHT, seconds / 2)
    result.limits["statementsAlone"] = await alone.in_step(servers, IN_FLIGHT, seconds / 3)
    result.limits["oneCommandAlone"] = await alone.in_step(servers, 1, seconds / 3)
    result.limits["transport"] = await transport.echoes(servers, DRIVERS, IN_FLIGHT, seconds / 4)
    _tell(result)
    return result


async def _measure(
    result: Result, name: str, server: Stand, fleet: list[Driver], in_flight: int, seconds: float, warm_up: float
) -> None:
    load = Load(server, fleet, Shop(server), pause=PAUSE_SECONDS if in_flight == 1 else 0)
    await load.start(in_flight)
    await asyncio.sleep(warm_up)
    load.forget()
    before = await server.metrics()
    begin = server.meter.sample()
    load.measuring = True
    await asyncio.sleep(seconds)
    load.measuring = False
    window = server.meter.window(begin)
    after = await server.metrics()
    await load.stop()
    cycles = len(load.wholes)
    result.windows[name] = window
    result.errors.update(load.errors)
    result.figures[name] = {
        "cycles": cycles,
        "cyclesPerSecond": round(cycles / window.seconds, 1),
        "ms": load.latencies(),
        "cpuUsPerCycle": window.us_per(cycles),
        "batch": _batches(before, after),
    }


def _batches(before: dict[str, float], after: dict[str, float]) -> dict[str, float | None]:
    """What the server says of its batches: commands in each, milliseconds waited and taken."""

    def mean(name: str, scale: float) -> float | None:
        total = after.get(f"{name}_sum", 0.0) - before.get(f"{name}_sum", 0.0)
        count = after.get(f"{name}_count", 0.0) - before.get(f"{name}_count", 0.0)
        return round(scale * total / count, 2) if count else None

    return {
        "commands": mean("callboard_batch_size", 1),
        "queueWaitMs": mean("callboard_queue_wait_seconds", 1000),
        "transactionMs": mean("callboard_transaction_seconds", 1000),
        "searchMs": mean("callboard_matcher_search_seconds", 1000),
        "ordersInASearch": mean("callboard_matcher_deliveries", 1),
    }


def _tell(result: Result) -> None:
    loaded, rest, single = (result.figures[name] for name in ("loaded", "atRest", "batchSize1"))
    alone_, steps = result.limits["writePathAlone"], result.limits["statementsAlone"]
    rate, offer = loaded["cyclesPerSecond"], loaded["ms"]["postToOffer"]
    result.line(
        f"cycles/s, {DRIVERS} drivers, {IN_FLIGHT} orders in flight",
        short(rate),
        "1,200",
        rate >= 1200,
        limit=f"write path alone {short(alone_['cyclesPerSecond'])}, its statements alone "
        f"{short(steps['cyclesPerSecond']['statements'])}, batch size 1 {short(single['cyclesPerSecond'])}",
        window="loaded",
    )
    result.line(
        "order posted to offer on the socket",
        percentiles(offer),
        "p50 < 25, p99 < 120",
        bool(offer["n"]) and offer["p50"] < 25 and offer["p99"] < 120,
        limit=f"batch size 1: {percentiles(single['ms']['postToOffer'])}",
        window="loaded",
    )
    used = loaded["cpuUsPerCycle"]
    echo, post = result.limits["transport"]["echo"], result.limits["transport"]["post"]
    result.line(
        "CPU us a cycle: server / database / Redis",
        " / ".join(short(used[name]) for name in ("server", "database", "redis")),
        limit=f"write path alone {short(alone_['cpuUsPerCycle']['writePath'])} / "
        f"{short(alone_['cpuUsPerCycle']['database'])}; bare echo {short(echo['serverCpuUs'])}, "
        f"bare POST {short(post['serverCpuUs'])}",
        window="loaded",
    )
    result.line(
        "accept to ack",
        percentiles(loaded["ms"]["acceptToAck"]),
        limit=f"echo: {percentiles(echo['ms'])}",
        window="loaded",
    )
    offer, accept = rest["ms"]["postToOffer"], rest["ms"]["acceptToAck"]
    one = {step: 1000 / rate["writePath"] for step, rate in result.limits["oneCommandAlone"]["perSecond"].items()}
    result.line(
        "at rest, order posted to offer",
        percentiles(offer),
        "p50 < 15, p99 < 50",
        bool(offer["n"]) and offer["p50"] < 15 and offer["p99"] < 50,
        limit=f"its two transactions alone {short(one['create'] + one['offer'])} ms",
        window="atRest",
    )
    result.line(
        "at rest, accept to ack",
        percentiles(accept),
        "p50 < 8",
        bool(accept["n"]) and accept["p50"] < 8,
        limit=f"its transaction alone {short(one['accept'])} ms",
        window="atRest",
    )


def cpu_of(window: Window) -> str:
    """CPU seconds of a window, for the table."""
    return f"{short(window.server)} / {short(window.database)} / {short(window.redis)}"
