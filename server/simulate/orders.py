"""Orders placed as they come: each in a task of its own, so that a slow answer never holds up the next one."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from server.simulate.api import Api, CallFailed
from server.simulate.places import Place
from server.simulate.tally import Tally

UNDER_WAY: Final = 200
CANCEL_SECONDS: Final = 5.0


class OrderDesk:
    """A shop's back end. `sellerOrderId`s are new in every run."""

    def __init__(self, api: Api, tally: Tally, seller_id: str, zone: str) -> None:
        self._api = api
        self._tally = tally
        self._seller_id = seller_id
        self._zone = zone
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
        **more: Any,
    ) -> None:
        """Place an order now that wants a driver in `dispatch_in` seconds.

        Beyond a few hundred unanswered ones it is not even tried.
        """
        if len(self._tasks) >= UNDER_WAY:
            self._tally.counts["not_placed"] += 1
            return
        self._number += 1
        number = f"{self._run}-{self._number}"
        if dispatch_in > 0:
            more["dispatchAt"] = (datetime.now(UTC) + timedelta(seconds=dispatch_in)).isoformat()
        work = self._place(number, store_name, pickup, dropoff, prep_seconds, dispatch_in, more)
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _place(
        self,
        number: str,
        store_name: str,
        pickup: Place,
        dropoff: Place,
        prep_seconds: float,
        dispatch_in: float,
        more: dict[str, Any],
    ) -> None:
        at = asyncio.get_running_loop().time()
        try:
            delivery_id = await self._api.create_delivery(
                self._seller_id,
                number,
                store_name,
                pickup,
                dropoff,
                zone=self._zone,
                prepSeconds=round(prep_seconds - max(0.0, dispatch_in)),  # it counts from dispatchAt
                **more,
            )
        except CallFailed as failed:
            self._tally.counts["not_placed"] += 1
            self._tally.failures.append(str(failed))
        else:
            self._tally.placed(delivery_id, at, at + prep_seconds, at + max(0.0, dispatch_in))

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
                await self._api.cancel_delivery(delivery_id, "the simulation is over")
                self._tally.counts["cancelled"] += 1
            except CallFailed:
                self._tally.counts["left_open"] += 1

        unfinished = [delivery_id for delivery_id, order in self._tally.orders.items() if order.delivered_at is None]
        tasks = [asyncio.create_task(cancel(delivery_id)) for delivery_id in unfinished]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
            for task in late:
                task.cancel()
