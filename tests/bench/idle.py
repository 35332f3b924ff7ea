"""Open sockets on which nothing happens: what each weighs, and what keeping them costs."""

import asyncio

from server.sockets.pings import PING_SECONDS
from tests.bench import transport
from tests.bench.figures import Result, short
from tests.bench.fleet import drivers, off_the_road, on_the_road
from tests.bench.machine import resident_bytes
from tests.bench.stand import Servers, stand

FEW = 50
"""Opened before the first weighing, so that what is there once is not counted."""


async def run(servers: Servers, quick: bool) -> Result:
    """The benchmark. Every socket is pinged within the window, which is longer than the pings' interval."""
    number = 500 if quick else 5000
    seconds = PING_SECONDS + 3.0
    result = Result("idle", "Idle sockets", {"sockets": number, "seconds": seconds})
    async with stand(servers) as server:
        fleet = await drivers(server, FEW + number)
        await on_the_road(server, fleet[:FEW])
        await asyncio.sleep(1.0)
        before, begin = resident_bytes(server.pid), server.meter.sample()
        await on_the_road(server, fleet[FEW:])
        opening = server.meter.window(begin)
        await asyncio.sleep(6.0)  # until the last positions are written to the database
        pings = [driver.socket.pings for driver in fleet if driver.socket is not None]
        begin = server.meter.sample()
        await asyncio.sleep(seconds)
        window = server.meter.window(begin)
        weighs = (resident_bytes(server.pid) - before) / number
        open_now = [driver.socket for driver in fleet if driver.socket is not None and not driver.socket.closed]
        pinged = sum(s.pings > p for s, p in zip(open_now, pings, strict=False))
        off_the_road(fleet)
    result.windows = {"opening": opening, "idle": window}
    result.figures = {
        "open": len(open_now),
        "pinged": pinged,
        "bytesPerSocket": round(weighs),
        "serverCpuShare": round(window.server / window.seconds, 4),
        "opening": {"perSecond": round(number / opening.seconds), "cpuUs": opening.us_per(number)},
    }
    if len(open_now) < FEW + number:
        result.errors["a socket was closed"] = FEW + number - len(open_now)
    result.limits["bareSockets"] = await transport.idle(servers, number)
    share = result.figures["serverCpuShare"]
    result.line(
        f"bytes a socket, {number:,} open",
        f"{short(weighs / 1000)} KB",
        "40 KB",
        weighs < 40_000,
        limit=f"bare socket {short(result.limits['bareSockets']['bytesPerSocket'] / 1000)} KB",
        window="opening",
    )
    result.line("server's share of a core", f"{100 * share:.1f} %", "10 %", share < 0.1, window="idle")
    result.line("pinged meanwhile", f"{pinged:,} of {FEW + number:,}", "all", pinged == FEW + number, window="idle")
    opened = result.figures["opening"]
    result.line(
        "opened",
        f"{short(opened['perSecond'])} a second, {short(opened['cpuUs']['server'])} us of server CPU each",
        window="opening",
    )
    return result
