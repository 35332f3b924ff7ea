"""Orders placed as they come: each in a separate task, so that a slow answer never holds up the next one."""

import asyncio
import random
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from server.simulate.api import Api, CallFailed
from server.simulate.habits import ShopHabits
from server.simulate.places import Place
from server.simulate.tally import Tally

UNDER_WAY: Final = 200
CANCEL_SECONDS: Final = 5.0


class OrderDesk:
    """A shop's back end. `sellerOrderId`s are new in every run."""

    def __init__(self, api: Api, tally: Tally, seller_id: str, zone: str, habits: ShopHabits) -> None:
        self._api = api
        self._tally = tally
        self._seller_id = seller_id
        self._zone = zone
        self._habits = habits
        self._run = uuid4().hex[:8]
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def place(
        self,
        store_name: str,
        pickup: Place,
        dropoff: Place,
        prep_seconds: float,
        *,
        dispatch_in: float = 0.0,
        promised_in: float | None = None,
        contacts: tuple[dict[str, str], dict[str, str]] = ({}, {}),
        **more: object,
    ) -> None:
        """Place an order now that wants a driver in `dispatch_in` seconds; `contacts` say more about the two places.

        Beyond a few hundred unanswered ones it is not even tried.
        """
        if len(self._tasks) >= UNDER_WAY:
            self._tally.counts["not_placed"] += 1
            return
        self._number += 1
        order = {
            "sellerId": self._seller_id,
            "sellerOrderId": f"{self._run}-{self._number}",
            "storeName": store_name,
            "pickup": {"lat": pickup.lat, "lon": pickup.lon, **contacts[0]},
            "dropoff": {"lat": dropoff.lat, "lon": dropoff.lon, **contacts[1]},
            "zone": self._zone,
            "prepSeconds": round(prep_seconds - max(0.0, dispatch_in)),  # it counts from dispatchAt
            **more,
        }
        if dispatch_in > 0:
            order["dispatchAt"] = _in(dispatch_in)
        if promised_in is not None:
            order["promisedAt"] = _in(promised_in)
        self._begin(self._place(order, prep_seconds, max(0.0, dispatch_in)))

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _place(self, order: dict[str, object], prep_seconds: float, dispatch_in: float) -> None:
        at = asyncio.get_running_loop().time()
        try:
            delivery_id = await self._api.create_delivery(**order)
        except CallFailed as failed:
            self._tally.counts["not_placed"] += 1
            self._tally.failures.append(str(failed))
            return
        pin = order.get("pin")
        self._tally.placed(delivery_id, at, at + prep_seconds, at + dispatch_in, pin if isinstance(pin, str) else None)
        await self._cook(delivery_id, prep_seconds)

    async def _cook(self, delivery_id: str, prep_seconds: float) -> None:
        """The kitchen is quicker than it said, or slower; the driver may have come and gone by then."""
        chance = random.random()
        if not prep_seconds or chance >= self._habits.ready_early + self._habits.delays:
            return
        await asyncio.sleep(random.uniform(0.3, 0.8) * prep_seconds)
        now = asyncio.get_running_loop().time()
        try:
            if chance < self._habits.ready_early:
                await self._api.mark_ready(delivery_id)
                self._tally.ready_from(delivery_id, now)
            else:
                minutes = random.randint(*self._habits.delay_minutes)
                await self._api.delay(delivery_id, minutes, "the kitchen is busy")
                self._tally.ready_from(delivery_id, max(now, self._tally.ready_at(delivery_id)) + minutes * 60)
        except CallFailed as failed:
            if failed.status != 409:
                self._tally.failures.append(str(failed))
            return
        self._tally.counts["ready_early" if chance < self._habits.ready_early else "delayed"] += 1

    async def close(self, *, patience_seconds: float) -> None:
        """Stop: what is not answered by then is dropped, and an order that nobody knows of may exist."""
        if self._tasks and patience_seconds:
            await asyncio.wait(self._tasks, timeout=patience_seconds)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel_open(self) -> None:
        """Take back the orders that nobody delivered, as far as the server lets us, within a few seconds."""

        async def cancel(delivery_id: str) -> None:
            try:
                await self._api.cancel_delivery(delivery_id, "the simulation has ended")
                self._tally.counts["cancelled"] += 1
            except CallFailed:
                self._tally.counts["left_open"] += 1

        unfinished = [
            delivery_id
            for delivery_id, order in self._tally.orders.items()
            if order.delivered_at is None and not order.came_to_nothing
        ]
        tasks = [asyncio.create_task(cancel(delivery_id)) for delivery_id in unfinished]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
            for task in late:
                task.cancel()


def _in(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
