"""Nodes without HTTP: the write path, the bus and the dispatcher of one or more processes, on one test's database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import pytest

from server.contract.commit import Answer, Committed
from server.dispatch import commands as c
from server.dispatch.model import Actor, Place
from server.dispatch.policy import Policy
from server.dispatch.refusals import Refusal
from server.ids import new_id
from server.node import Node
from server.settings import Settings
from tests.waiting import PATIENCE, outlast_pauses, until

SHOP = Actor("service", "shop")
ADA = Actor("admin", "ada")
PICKUP = (52.5200, 13.4050)
KM = 1 / 111.19
"""One kilometre north, in degrees of latitude."""


class Dispatch:
    """One node at work, what it made public, and short words for what these tests do."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.commits: list[Committed] = []

    @property
    def executor(self) -> Any:
        return self.node.executor

    async def done(self, command: c.Command) -> Answer:
        """Submit a command that must succeed."""
        answer = await self.node.executor.submit(command)
        assert isinstance(answer, Answer), answer
        return answer

    async def set_policy(self, **changes: Any) -> None:
        current = self.node.policies.current
        document = {name: getattr(current, name) for name in current.__struct_fields__}
        await self.done(c.ChangePolicy(Policy(**document | changes), ADA))

    async def a_driver(
        self, lat: float = PICKUP[0], lon: float = PICKUP[1], *, zone: str = "default", capacity: int = 1
    ) -> str:
        """A driver on a socket of this node, at this place, dispatchable."""
        driver_id = new_id()
        await self.done(c.RegisterDriver(driver_id, "Dan", zone, capacity, SHOP))
        await self.put(driver_id, lat, lon)
        await self.connect(driver_id)
        return driver_id

    async def put(self, driver_id: str, lat: float, lon: float, *, age_seconds: float = 0) -> None:
        """The driver is stored as seen here."""
        await self.execute(
            "INSERT INTO driver_positions (driver_id, lat, lon, at)"
            " VALUES ($1, $2, $3, clock_timestamp() - make_interval(secs => $4))"
            " ON CONFLICT (driver_id) DO UPDATE SET lat = excluded.lat, lon = excluded.lon, at = excluded.at",
            driver_id,
            lat,
            lon,
            age_seconds,
        )

    async def connect(self, driver_id: str) -> str:
        session_id = new_id()
        await self.done(c.ConnectDriver(driver_id, session_id, self.node.node_id, by(driver_id)))
        return session_id

    async def an_order(self, lat: float = PICKUP[0], lon: float = PICKUP[1], **changes: Any) -> str:
        """An order whose search starts by itself; its delivery's id."""
        there = Place(lat + KM, lon)
        row: dict[str, Any] = {
            "delivery_id": new_id(),
            "seller_id": "shop",
            "seller_order_id": new_id(),
            "store_name": "Green Bowl",
            "zone": "default",
            "pickup": Place(lat, lon),
            "dropoff": there,
            "prep_seconds": 0,
            "fingerprint": "f",
            "actor": SHOP,
        }
        return (await self.done(c.CreateDelivery(**row | changes))).decided.delivery_id or ""

    async def one(self, query: str, *args: Any) -> Any:
        return await self.node.database.pool.fetchval(query, *args)

    async def execute(self, query: str, *args: Any) -> None:
        await self.node.database.pool.execute(query, *args)

    async def offered_to(self, delivery_id: str) -> str | None:
        """The driver who has the open offer."""
        driver_id: str | None = await self.one(
            "SELECT driver_id FROM driver_offers WHERE delivery_id = $1 AND status = 'PENDING'", delivery_id
        )
        return driver_id

    async def open_offer(self, delivery_id: str) -> str | None:
        offer_id: str | None = await self.one("SELECT current_offer_id FROM deliveries WHERE id = $1", delivery_id)
        return offer_id

    async def reach_deadline(self, offer_id: str | None) -> None:
        """The offer's deadline is now, however long the test took to get here."""
        await self.execute("UPDATE driver_offers SET expires_at = clock_timestamp() WHERE id = $1", offer_id)

    async def reject(self, delivery_id: str) -> None:
        """The driver with the offer rejects it."""
        driver_id, offer_id = await self.offered_to(delivery_id), await self.open_offer(delivery_id)
        assert driver_id is not None
        assert offer_id is not None
        await self.done(c.RejectOffer(offer_id, driver_id, by(driver_id)))

    async def events(self, delivery_id: str) -> list[str]:
        rows = await self.node.database.pool.fetch(
            "SELECT type FROM events WHERE delivery_id = $1 ORDER BY id", delivery_id
        )
        return [row[0] for row in rows]

    def decided(self, command: c.Command) -> Awaitable[Answer | Refusal]:
        return self.node.executor.submit(command)


def by(driver_id: str) -> Actor:
    """That driver, acting."""
    return Actor("driver", driver_id)


class StartDispatch(Protocol):
    """`await dispatch()` starts a node; several share the test's database."""

    def __call__(self, **settings: Any) -> Awaitable[Dispatch]: ...


@asynccontextmanager
async def dispatching(settings: Settings) -> AsyncIterator[Dispatch]:
    """A node without HTTP."""
    node = Node(settings)
    await node.start()
    dispatch = Dispatch(node)
    node.executor.listeners.append(dispatch.commits.append)
    try:
        yield dispatch
    finally:
        async with asyncio.timeout(PATIENCE):
            await node.drain()
            await node.stop()


@pytest.fixture
async def start(settings: Settings) -> AsyncIterator[StartDispatch]:
    """Starts nodes: `first = await start()`."""
    async with AsyncExitStack() as running:

        async def one(**changes: Any) -> Dispatch:
            return await running.enter_async_context(dispatching(settings.with_changes(**changes)))

        yield one


@pytest.fixture
async def dispatch(start: StartDispatch) -> Dispatch:
    """One node."""
    return await start()


def believe(dispatch: Dispatch) -> None:
    """This node thinks that it holds the lease, as one that was paused does until it looks."""
    lease = dispatch.node.lease
    lease._until = float("inf")
    lease.taken.set()


@pytest.fixture
async def two(start: StartDispatch, monkeypatch: pytest.MonkeyPatch) -> tuple[Dispatch, Dispatch]:
    """Two nodes that both dispatch."""
    outlast_pauses(monkeypatch)
    first = await start()
    await until(lambda: first.node.lease.held)
    second = await start()
    await second.node.lease.release()
    believe(second)
    assert first.node.lease.held
    assert second.node.lease.held
    return first, second
