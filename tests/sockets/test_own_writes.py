"""An order that is posted after the answer to a driver finds that driver: on real sockets and over HTTP.

Somebody farther away is always free. `TEST_ROUNDS` says how often each way is tried.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from server.ids import new_id
from server.sockets import session
from tests.conftest import Node, StartNode
from tests.driver_app import DriverApp, driver_app, token
from tests.sockets.test_live_sockets import HERE, THERE, a_driver, ready, until_driver
from tests.waiting import PATIENCE, outlast_pauses, until

ROUNDS = int(os.environ.get("TEST_ROUNDS", "40"))
NEAR_DORA = {"lat": HERE["lat"] + 0.009, "lon": HERE["lon"]}
AWAY = {"lat": HERE["lat"] + 0.015, "lon": HERE["lon"]}


class Shop:
    """Dan at the store and Dora a kilometre away, both on one node, and who posts orders there."""

    def __init__(self, node: Node, http: httpx2.AsyncClient, dora: DriverApp) -> None:
        self.node = node
        self.dora = dora
        self._http = http

    async def order(self) -> str:
        order = {"sellerOrderId": new_id(), "storeName": "Pizza", "pickup": HERE, "dropoff": THERE}
        answer = await self._http.post("/deliveries", json=order)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def asked(self, delivery_id: str, dan: DriverApp) -> Any:
        """The first offer of the delivery, to whomever. Fails unless it is Dan's."""

        def is_it(message: Any) -> bool:
            return bool(message["type"] == "offer" and message["offer"]["deliveryId"] == delivery_id)

        heard = [asyncio.create_task(app.hear(is_it)) for app in (dan, self.dora)]
        try:
            await asyncio.wait(heard, return_when=asyncio.FIRST_COMPLETED)
            assert heard[0].done(), "somebody farther away was asked"
        finally:
            for task in heard:
                task.cancel()
        offer = heard[0].result()["offer"]
        dan.heard.clear()
        return offer


class Return:
    """How Dan becomes the nearest one by an answer."""

    def __init__(self, shop: Shop, dan: str, app: DriverApp, stack: AsyncExitStack) -> None:
        self.app = app
        self._shop = shop
        self._dan = dan
        self._stack = stack
        self._has: str | None = None

    async def deliver(self, offer: Any) -> None:
        """Take the job; in the end it is done."""
        self._has = (await self.done("accept", offerId=offer["id"]))["result"]["assignment"]["id"]

    async def done(self, kind: str, **fields: Any) -> Any:
        """The answer. A busy machine may ask to try again."""
        while True:
            answer = await self.app.ask(kind, **fields)
            if answer["type"] == "ack":
                return answer
            assert answer["code"] == "try_again", answer

    async def completed(self) -> None:
        if self._has is not None:
            await self.done("completed", assignmentId=self._has)
            self._has = None

    async def resume(self) -> None:
        await self.completed()
        await self.done("pause")
        await self.done("resume")

    async def location(self) -> None:
        await self.completed()
        await self.done("location", **AWAY)
        await self.done("location", **HERE)

    async def connect(self) -> None:
        await self.completed()
        await self.app.close()
        await until_driver(self._shop.node, self._dan, lambda driver: not driver["connected"])
        self.app = await self._stack.enter_async_context(driver_app(self._shop.node.ws_url, self._dan))
        await self.app.hear("hello")


@pytest.fixture(params=["with the lease", "without the lease"])
async def here(node: StartNode, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Node:
    """One of two nodes."""
    outlast_pauses(monkeypatch)
    nodes = [await node(), await node()]
    lives = [started.app.state.node for started in nodes]
    await until(lambda: any(live.matcher.fleet.ready for live in lives))
    await until(lambda: all(live.bus.connected for live in lives))
    wanted = request.param == "with the lease"
    return next(started for started, live in zip(nodes, lives, strict=True) if live.lease.held is wanted)


@pytest.mark.parametrize("way", ["completed", "resume", "location", "connect"])
async def test_an_order_after_an_answer_to_a_driver_finds_that_driver(
    here: Node, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BURST", 10.0 * ROUNDS)  # Dan works faster than any driver
    dan, dora = await a_driver(here), await a_driver(here, "Dora")
    headers = {"Authorization": f"Bearer {token('service', 'shop')}"}
    async with (
        AsyncExitStack() as stack,
        httpx2.AsyncClient(base_url=here.url, headers=headers, timeout=PATIENCE) as http,
        driver_app(here.ws_url, dora) as doras,
    ):
        await doras.hear("hello")
        await doras.ask("location", **NEAR_DORA)
        app = await stack.enter_async_context(driver_app(here.ws_url, dan))
        await ready(app)
        shop = Shop(here, http, doras)
        returns = Return(shop, dan, app, stack)
        for _ in range(ROUNDS):
            await doras.ask("location", **NEAR_DORA)
            await returns.app.ask("location", **HERE)
            await getattr(returns, way)()
            await returns.deliver(await shop.asked(await shop.order(), returns.app))
        await returns.completed()
