"""A running node with a client for each role: Alice in ops, Ada the admin, Vic who only looks, a shop, and drivers."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx2
import pytest

from server.store.connections import Pool
from server.web.access.tokens import mint_token
from server.web.http.caller import Role
from tests.conftest import SECRET, Node, StartNode
from tests.waiting import PATIENCE, until

PICKUP: dict[str, Any] = {"lat": 52.52, "lon": 13.405, "address": "Torstr. 1"}
DROPOFF = {"lat": 52.53, "lon": 13.41}
_numbers = count(1)


def token(role: Role, subject: str, seconds: float = 3600) -> str:
    return mint_token(SECRET, role, subject, seconds)[0]


@dataclass
class Driver:
    """A registered driver and a client with their token."""

    id: str
    client: httpx2.AsyncClient

    async def post(self, path: str, body: Any = None) -> httpx2.Response:
        return await self.client.post(f"/drivers/{self.id}{path}", json=body)

    async def get(self, path: str = "") -> httpx2.Response:
        return await self.client.get(f"/drivers/{self.id}{path}")

    async def move(self, lat: float = 52.52, lon: float = 13.404) -> None:
        """Be there, as by two positions: one alone is not believed of who was far away just before."""
        for _ in range(2):
            assert (await self.post("/location", {"lat": lat, "lon": lon})).status_code == 204

    async def offer(self) -> dict[str, Any]:
        """Their open offer, once there is one."""

        async def open_offer() -> Any:
            offers = (await self.get("/state")).json()["offers"]
            return offers[0] if offers else None

        offer: dict[str, Any] = await until(open_offer)
        return offer


class Site:
    """A node and its callers."""

    def __init__(self, node: Node) -> None:
        self.node = node
        node.callers.append(self.close)
        self.clients: list[httpx2.AsyncClient] = []
        self.shop = self.client("service", "corner-shop")
        self.alice = self.client("ops", "alice")
        self.ada = self.client("admin", "ada")
        self.vic = self.client("viewer", "vic")
        self.nobody = self.anonymous()

    def client(self, role: Role, subject: str) -> httpx2.AsyncClient:
        return self.anonymous({"Authorization": f"Bearer {token(role, subject)}"})

    def anonymous(self, headers: dict[str, str] | None = None) -> httpx2.AsyncClient:
        client = httpx2.AsyncClient(base_url=self.node.url, headers=headers, timeout=PATIENCE, verify=False)
        self.clients.append(client)
        return client

    async def close(self) -> None:
        for client in self.clients:
            await client.aclose()

    @property
    def roles(self) -> dict[str, httpx2.AsyncClient]:
        return {"service": self.shop, "viewer": self.vic, "ops": self.alice, "admin": self.ada}

    def order(self, **changes: Any) -> dict[str, Any]:
        """The body of a new order."""
        order = {
            "sellerOrderId": f"order-{next(_numbers)}",
            "storeName": "Pizza Roma",
            "pickup": PICKUP,
            "dropoff": DROPOFF,
        }
        return order | changes

    async def delivery(self, **changes: Any) -> dict[str, Any]:
        """A new delivery."""
        made = await self.shop.post("/deliveries", json=self.order(**changes))
        assert made.status_code == 201, made.text
        delivery: dict[str, Any] = made.json()
        return delivery

    async def driver(self, name: str = "Dan", *, at_work: bool = False, **changes: Any) -> Driver:
        """A registered driver; `at_work` is one who was seen near the pickup."""
        made = await self.shop.post("/drivers", json={"name": name, **changes})
        assert made.status_code == 201, made.text
        driver_id = made.json()["id"]
        driver = Driver(driver_id, self.client("driver", driver_id))
        if at_work:
            await driver.move()
            await until(lambda: self._located(driver))
        return driver

    async def _located(self, driver: Driver) -> Any:
        pool = self.node.app.state.node.database.pool
        return await pool.fetchval("SELECT at FROM driver_positions WHERE driver_id = $1", driver.id)

    async def assignment(self, driver: Driver, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A delivery that this driver, at work and the only one, has accepted; and its assignment."""
        delivery = await self.delivery(**changes)
        offer = await driver.offer()
        accepted = await driver.post(f"/offers/{offer['id']}/accept")
        assert accepted.status_code == 200, accepted.text
        return delivery, accepted.json()["assignment"]


@pytest.fixture
async def site(node: StartNode) -> AsyncIterator[Site]:
    site = Site(await node())
    yield site
    await site.close()


Check = Callable[[httpx2.Response, int, str], dict[str, Any]]


@pytest.fixture
def problem() -> Check:
    """`problem(response, 409, "offer_no_longer_open")`: that it is this problem, in the promised form."""

    def check(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/problem+json"
        body: dict[str, Any] = response.json()
        assert body["status"] == status
        assert body["code"] == code
        assert body["type"]
        assert body["title"]
        assert body["detail"]
        return body

    return check


async def have_waited(pool: Pool, statements: int, for_longer_than: str) -> bool:
    """Whether so many statements of this database wait for an advisory lock, each for longer than that interval."""
    waiting = """
        SELECT count(*) FROM pg_locks
        WHERE locktype = 'advisory' AND NOT granted AND clock_timestamp() - waitstart > $1::text::interval
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    return int(await pool.fetchval(waiting, for_longer_than)) == statements
