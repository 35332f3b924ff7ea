"""A node to simulate against, and the ways to it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from server.driver_client.client import DriverClient, Heard
from server.simulate.access import Access
from server.simulate.api import Api
from server.web.access.tokens import mint_token
from server.web.http.caller import Role
from tests.conftest import SECRET, Node, StartNode

HOURS = 3600


def mint(role: str, subject: str, hours: int) -> str:
    """A token of the tests' servers."""
    return mint_token(SECRET, cast(Role, role), subject, hours * HOURS)[0]


@pytest.fixture
def access() -> Access:
    return Access(mint=mint)


@pytest.fixture
async def shop(node: StartNode, access: Access) -> AsyncIterator["Shop"]:
    """A running node with an order source and a registrar."""
    running = await node()
    async with Api(running.url, access.service) as api:
        yield Shop(running, api, access)


class Shop:
    """What these tests do over HTTP."""

    def __init__(self, node: Node, api: Api, access: Access) -> None:
        self.node = node
        self.url = node.url
        self.api = api
        self.access = access

    async def a_client(self, heard: Heard = lambda _: None) -> tuple[str, DriverClient]:
        """A new driver, and their app, not yet running."""
        driver_id = await self.api.register_driver(name="Dan", externalRef="dan")
        return driver_id, DriverClient(self.url, self.token_of(driver_id), heard, http=self.api.http)

    def token_of(self, driver_id: str) -> Callable[[], Awaitable[str]]:
        return lambda: self.access.driver(self.api, driver_id)

    async def delivery(self, delivery_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.api.call("GET", f"/deliveries/{delivery_id}")
        return found
