"""From an offer's deadline to `offer_closed` on the socket, while many are open."""

import asyncio
import time
from collections import Counter
from datetime import datetime
from typing import Any

from server.driver_client import messages as m
from tests.bench import alone
from tests.bench.figures import Result, percentiles, short, spread
from tests.bench.fleet import (
    Driver,
    Shop,
    drivers,
    off_the_road,
    on_the_road,
    open_offers,
)
from tests.bench.stand import Servers, Stand, stand

LATE_SECONDS = 15.0


async def run(servers: Servers, quick: bool) -> Result:
    """The benchmark: deadlines that come evenly, then deadlines that come all at once; nobody answers. What the policy
    does by default is done: the drivers' apps confirm receipt, and the deliveries are assigned.
    """
    number, evenly = (200, 3.0) if quick else (1000, 10.0)
    result = Result("expiry", "Expiry", {"openOffers": number, "evenlyOverSeconds": evenly})
    for name, spread_seconds in (("evenly", evenly), ("atOnce", 0.0)):
        async with stand(servers) as server:
            await server.change_policy(offerTimeoutSeconds=round(spread_seconds) + (4 if quick else 8))
            fleet = await drivers(server, number)
            await on_the_road(server, fleet)
            found = await _expire(server, fleet, spread_seconds, result.errors)
            off_the_road(fleet)
        result.windows[name] = found.pop("window")
        result.figures[name] = found
    result.limits["oneCommandAlone"] = await alone.in_step(servers, 1, 0.5 if quick else 3.0)
    one = 1000 / result.limits["oneCommandAlone"]["perSecond"]["accept"]["writePath"]
    lag, at_once = result.figures["evenly"]["ms"], result.figures["atOnce"]["ms"]
    result.line(
        f"deadline to offer_closed, {number:,} open offers",
        f"{percentiles(lag)}, max {short(lag.get('max'))}",
        "p99 < 100",
        lag["n"] == number and lag["p99"] < 100,
        limit=f"one transaction alone {short(one)} ms",
        window="evenly",
    )
    result.line(
        f"the same, all {number:,} deadlines within {short(result.figures['atOnce']['deadlinesWithinSeconds'])} s",
        f"{percentiles(at_once)}, max {short(at_once.get('max'))}",
        window="atOnce",
    )
    return result


async def _expire(server: Stand, fleet: list[Driver], evenly: float, errors: Counter[str]) -> dict[str, Any]:
    held = await open_offers(server, fleet, Shop(server), spread_seconds=evenly)
    deadlines = {offer.id: datetime.fromisoformat(offer.expires_at).timestamp() for offer in held.values()}
    lags: list[float] = []
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def hear(_driver: Driver, message: m.ToDriver, _now: float) -> None:
        if type(message) is m.OfferClosed:
            deadline = deadlines.pop(message.offer_id, None)
            if deadline is None:
                errors["an end of an unknown offer"] += 1
                return
            if message.outcome != "EXPIRED":
                errors[message.outcome] += 1
            lags.append(time.time() - deadline)
            if not deadlines and not over.done():
                over.set_result(None)
        elif type(message) is m.OfferMade:
            errors["offered again"] += 1

    first, last = min(deadlines.values()), max(deadlines.values())
    for driver in fleet:
        driver.on = hear
        driver.send(received(held[driver.id]))
    if time.time() > first:
        errors["deadlines passed before all offers were open"] += 1
    begin = server.meter.sample()
    try:
        async with asyncio.timeout(last - time.time() + LATE_SECONDS):
            await over
    except TimeoutError:
        errors["never closed"] += len(deadlines)
    window = server.meter.window(begin)
    within = round(last - first, 2)
    return {"offers": len(lags), "deadlinesWithinSeconds": within, "ms": spread(lags), "window": window}


def received(offer: m.Offer) -> bytes:
    """The app has shown the offer."""
    return b'{"type":"received","offerId":"%b"}' % offer.id.encode()
