"""The order source: it orders, repeats itself, orders ahead, changes its mind, is ready sooner or later than it said,
and asks to have a driver searched.
"""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from server.contract.views import instant
from tests.bench.fleet import somewhere
from tests.torture.actors.drivers import RADIUS_KM
from tests.torture.actors.scene import NOWHERE, PIN, ZONE, Caller, Scene

CONTACTS = ("555-0101", "555-0102")
"""The phones of all customers and stores."""
LATE_SECONDS = (1.0, 12.0)
"""How far ahead a scheduled delivery is ordered."""


class Shop:
    """Orders at `a_second` on average, until it is calm."""

    def __init__(self, scene: Scene, name: str, a_second: float) -> None:
        self.name = name
        self._scene = scene
        self._chance = scene.chance(name)
        self._a_second = a_second
        history = scene.histories.of(name)
        self._caller = Caller(scene, history, scene.chance(f"{name}/http"), "service", name)
        self._numbers = count(1)
        self._marks = count(1)

    async def live(self) -> None:
        """Orders, each followed by what comes of it; all of it is done when this ends."""
        async with asyncio.TaskGroup() as tasks:
            while not self._scene.calm.is_set():
                tasks.create_task(self._order())
                await self._scene.rest(self._chance.expovariate(self._a_second), self._scene.calm)

    def _body(self) -> dict[str, Any]:
        chance, number = self._chance, next(self._numbers)
        (lat, lon), (to_lat, to_lon) = somewhere(chance, RADIUS_KM), somewhere(chance, RADIUS_KM)
        body: dict[str, Any] = {
            "sellerId": self.name,
            "sellerOrderId": f"{self.name}-{number}",
            "storeName": f"store {chance.randrange(20)}",
            "pickup": {"lat": lat, "lon": lon},
            "dropoff": {"lat": to_lat, "lon": to_lon},
            "zone": NOWHERE if number % 12 == 1 else ZONE,
            "priceCents": chance.randint(500, 5000),
        }
        if chance.random() < 0.2:
            body["dispatchAt"] = instant(datetime.now(UTC) + timedelta(seconds=chance.uniform(*LATE_SECONDS)))
        if chance.random() < 0.3:
            body["prepSeconds"] = chance.choice([chance.randint(1, 20), chance.randint(130, 180)])
        if chance.random() < 0.3:
            body["promisedAt"] = _soon(chance)
        if chance.random() < 0.15:
            body |= {"proofRequired": ["pin"], "pin": PIN}
        if chance.random() < 0.2:
            body["proofRequired"] = [
                *body.get("proofRequired", ()),
                *chance.choice((["photo"], ["photo", "signature"])),
            ]
        if chance.random() < 0.1:
            body["requirements"] = ["cargo"]
        if chance.random() < 0.3:
            body |= {"driverPayCents": chance.randint(300, 900), "tipCents": chance.randint(0, 300)}
        if number % 3 == 2:  # not by chance: a short run has few orders, and somebody to erase
            body["dropoff"] |= {"name": "Ines", "phone": CONTACTS[0], "notes": "the bell is broken"}
        return body

    async def _order(self) -> None:
        chance, body = self._chance, self._body()
        times = chance.choice((1, 1, 1, 1, 2, 3))
        answers = await asyncio.gather(*(self._caller.call("POST", "/deliveries", body) for _ in range(times)))
        tries = 0
        while all(status in (0, 503) for status, _ in answers) and chance.random() < 0.9 and tries < 10:
            tries += 1
            await self._scene.rest(chance.uniform(0.3, 2.0))
            answers.append(await self._caller.call("POST", "/deliveries", body))
        if chance.random() < 0.05:
            await self._caller.call("POST", "/deliveries", {**body, "priceCents": 1})
        made = next((answer for status, answer in answers if status in (200, 201)), None)
        if made is None:
            return
        delivery = f"/deliveries/{made['id']}"
        if chance.random() < 0.1:
            await self._scene.rest(chance.uniform(0.0, 2.0), self._scene.calm)
            await self._caller.call("POST", f"{delivery}/assign")
        if chance.random() < 0.15 or (body["zone"] == NOWHERE and chance.random() < 0.3):
            await self._scene.rest(chance.uniform(0.0, 12.0), self._scene.calm)
            for _ in range(chance.choice((1, 1, 2))):
                reason = self._mark("c")
                await self._caller.call("POST", f"{delivery}/cancel", {"reason": reason})
        for _ in range(chance.choice((0, 0, 0, 1, 2))):
            await self._scene.rest(chance.uniform(0.0, 6.0), self._scene.calm)
            await self._change(delivery)

    def _mark(self, what: str) -> str:
        return f"{self.name}-{what}{next(self._marks)}"

    async def _change(self, delivery: str) -> None:
        """Something of the order is another; now and then two say so at once, who saw the same."""
        chance = self._chance
        kind = chance.choice(("ready", "delay", "change", "change"))
        if kind == "ready":
            await self._caller.call("POST", f"{delivery}/ready")
            return
        if kind == "delay":
            await self._caller.call("POST", f"{delivery}/delay", {"minutes": 1, "reason": self._mark("d")})
            return
        status, now = await self._caller.call("GET", delivery)
        if status != 200:
            return
        async with asyncio.TaskGroup() as tasks:
            for _ in range(chance.choice((1, 1, 2))):
                body = {"version": now["version"], "notes": self._mark("n"), **self._changes()}
                tasks.create_task(self._caller.call("PATCH", delivery, body))

    def _changes(self) -> dict[str, Any]:
        chance = self._chance
        (lat, lon), (to_lat, to_lon) = somewhere(chance, RADIUS_KM), somewhere(chance, RADIUS_KM)
        change: dict[str, Any] = chance.choice(
            (
                {},
                {"tipCents": chance.randint(0, 500)},
                {"driverPayCents": chance.choice((None, chance.randint(300, 900)))},
                {"promisedAt": chance.choice((None, _soon(chance), _soon(chance, 600.0)))},
                {"prepSeconds": chance.randint(0, 400)},
                {"dropoff": {"lat": to_lat, "lon": to_lon, "name": "Ines", "notes": "at the neighbours'"}},
                {"pickup": {"lat": lat, "lon": lon, "phone": CONTACTS[1]}},
            )
        )
        return change


def _soon(chance: random.Random, later: float = 0.0) -> str:
    return instant(datetime.now(UTC) + timedelta(seconds=later + chance.uniform(2.0, 90.0)))
