"""Orders over kept connections, at a rate or all at once, and what became of each."""

import asyncio
import random
import time
from collections import Counter
from itertools import count
from typing import Final

import msgspec

from server.web.access.tokens import mint_token
from tests.bench.fleet import somewhere
from tests.bench.wire import Http, connect_http, request, to_json

TRY_AGAIN_SECONDS: Final = 0.5
TRIES: Final = 20


class Shop:
    """Orders at the nodes of these ports, in turn. `posted` says when, by name; `failed` counts what was not taken."""

    def __init__(self, secret: str, seed: int = 1) -> None:
        self.ports: list[int] = []
        self.posted: dict[str, float] = {}
        self.took: list[float] = []
        self.failed: Counter[str] = Counter()
        self.again = 0
        """How many got try_again, and tried again."""
        self._token = mint_token(secret, "service", "shop", 24 * 3600)[0]
        self._chance = random.Random(seed)
        self._numbers = count(1)
        self._idle: dict[int, list[Http]] = {}

    async def order(self) -> None:
        """One order, tried again while the server says so."""
        number = next(self._numbers)
        name, port = f"order {number}", self.ports[number % len(self.ports)]
        (lat, lon), (to_lat, to_lon) = somewhere(self._chance), somewhere(self._chance)
        body = {
            "sellerOrderId": name,
            "storeName": name,
            "pickup": {"lat": lat, "lon": lon},
            "dropoff": {"lat": to_lat, "lon": to_lon},
        }
        self.posted[name] = time.time()
        for _ in range(TRIES):
            began = time.perf_counter()
            status, code = await self._post(port, to_json(body))
            self.took.append(time.perf_counter() - began)
            if status == 503:
                self.again += 1
                await asyncio.sleep(TRY_AGAIN_SECONDS * (0.5 + self._chance.random()))
                continue
            if status not in (200, 201):
                self.failed[code] += 1
                del self.posted[name]
            return
        self.failed["try_again, again and again"] += 1
        del self.posted[name]

    async def _post(self, port: int, body: bytes) -> tuple[int, str]:
        try:
            idle = self._idle.setdefault(port, [])
            idle[:] = [http for http in idle if not http.closed]
            http = idle.pop() if idle else await connect_http(port)
            status, answer = await http.ask(request("POST", "/deliveries", self._token, body))
        except (OSError, TimeoutError) as error:
            return 0, type(error).__name__
        if not http.closed:
            idle.append(http)
        if status in (200, 201, 503):
            return status, ""
        try:
            return status, str(msgspec.json.decode(answer).get("code", status))
        except msgspec.DecodeError:
            return status, f"status {status}"

    async def at_a_rate(self, a_second: float, over: asyncio.Event) -> None:
        """One after another until it ends; those begun are completed."""
        async with asyncio.TaskGroup() as tasks:
            while not over.is_set():
                tasks.create_task(self.order())
                await asyncio.sleep(self._chance.expovariate(a_second))

    async def at_once(self, number: int, width: int) -> None:
        """So many, so many at a time."""
        left = iter(range(number))

        async def one_after_another() -> None:
            for _ in left:
                await self.order()

        await asyncio.gather(*(one_after_another() for _ in range(width)))

    def close(self) -> None:
        """Disconnect."""
        for idle in self._idle.values():
            for http in idle:
                http.close()
