"""The driver's client against a real node: verdicts, lost connections, the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from server.simulate.access import Access
from server.simulate.api import Api, CallFailed
from server.simulate.client import Dismissed, DriverClient, Refused
from server.simulate.places import Place
from tests.conftest import StartNode
from tests.simulate.conftest import Shop, mint
from tests.waiting import until

HERE, THERE = Place(52.5200, 13.4050), Place(52.5300, 13.4200)


@asynccontextmanager
async def running(client: DriverClient) -> AsyncIterator[DriverClient]:
    """The client connected, and gone afterwards."""
    task = asyncio.create_task(client.run())
    try:
        await until(lambda: client.connected.is_set() or task.done())
        yield client
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def an_order(shop: Shop, number: str = "1") -> str:
    return await shop.api.create_delivery("shop", number, "Golden Noodle", HERE, THERE)


async def test_an_offer_is_taken_and_carried_out(shop: Shop) -> None:
    driver_id, client = await shop.a_client()
    async with running(client):
        await client.tell("location", lat=HERE.lat, lon=HERE.lon)
        delivery_id = await an_order(shop)
        await until(lambda: client.mirror.offers)
        [offer] = client.mirror.offers.values()
        assert offer.delivery_id == delivery_id
        await client.tell("received", offerId=offer.id)
        answer = await client.ask("accept", offerId=offer.id)
        assert answer["assignment"]["driverId"] == driver_id
        await until(lambda: client.mirror.assignments)
        assert client.mirror.offers == {}
        [assignment] = client.mirror.assignments.values()
        await client.ask("picked_up", assignmentId=assignment.id)
        await client.ask("completed", assignmentId=assignment.id)
        await until(lambda: not client.mirror.assignments)
        assert client.mirror.gaps == 0
    assert (await shop.delivery(delivery_id))["status"] == "DELIVERED"


async def test_a_refusal_is_raised_with_its_code(shop: Shop) -> None:
    _, client = await shop.a_client()
    async with running(client):
        with pytest.raises(Refused) as refused:
            await client.ask("accept", offerId="0190a5d0-ac96-774b-bcce-b302099a8057")
        assert refused.value.code == "not_found"


async def test_what_happened_while_the_network_was_gone_is_told_on_return(shop: Shop) -> None:
    _, client = await shop.a_client()
    heard: list[str] = []
    client._heard = lambda message: heard.append(type(message).__name__)
    async with running(client):
        await client.tell("location", lat=HERE.lat, lon=HERE.lon)
        delivery_id = await an_order(shop)
        await until(lambda: client.mirror.offers)
        client.lose_network(0.3)
        await until(lambda: not client.connected.is_set())
        await shop.api.cancel_delivery(delivery_id, "changed their mind")
        await until(lambda: client.connects == 2 and client.connected.is_set())
        assert client.mirror.offers == {}
        assert client.mirror.gaps == 0
        assert heard[-2:] == ["OfferClosed", "Hello"]


async def test_a_question_survives_the_connection_it_was_asked_on(shop: Shop) -> None:
    _, client = await shop.a_client()
    async with running(client):
        client.lose_network(0.2)
        await client.ask("take_break", durationMinutes=5)
        assert client.connects == 2
        await until(lambda: client.mirror.availability == "on_break")
        assert client.mirror.gaps == 0


async def test_a_newer_connection_ends_the_older_for_good(shop: Shop) -> None:
    driver_id, client = await shop.a_client()
    newer = DriverClient(shop.url, shop.token_of(driver_id))
    older = asyncio.create_task(client.run())
    await asyncio.wait_for(client.connected.wait(), 60)
    async with running(newer):
        await until(older.done)
        assert isinstance(older.exception(), Dismissed)
        assert newer.connects == 1


async def test_a_token_that_is_not_good_ends_it_for_good(shop: Shop) -> None:
    async def bad() -> str:
        return "bad"

    with pytest.raises(Dismissed) as dismissed:
        await asyncio.wait_for(DriverClient(shop.url, bad).run(), 60)
    assert dismissed.value.code == 4101


async def test_it_comes_back_when_the_node_does_not(node: StartNode, access: Access) -> None:
    first, second = await node(), await node()
    async with Api(second.url, access.service) as api:
        driver_id = await api.register_driver("Dan", "dan", "default")
        client = DriverClient(first.url, lambda: access.driver(api, driver_id))
        async with running(client):
            await first.stop()
            await until(lambda: not client.connected.is_set())
            client._url = "ws" + second.url.removeprefix("http") + "/ws/driver"
            await until(lambda: client.connects == 2)
            assert client.mirror.gaps == 0


async def test_a_given_token_fetches_the_drivers_tokens(shop: Shop) -> None:
    access = Access(token=mint("service", "shop", 1))
    driver_id = await shop.api.register_driver("Dora", "dora", "default")
    client = DriverClient(shop.url, lambda: access.driver(shop.api, driver_id))
    async with running(client):
        assert client.connected.is_set()


async def test_what_the_server_refuses_over_http_is_told_in_a_line(shop: Shop) -> None:
    with pytest.raises(CallFailed, match=r"GET /deliveries/nothing: 404 not_found") as failed:
        await shop.api.call("GET", "/deliveries/nothing")
    assert (failed.value.status, failed.value.code) == (404, "not_found")
    async with Api(shop.url, lambda: "bad") as stranger:
        with pytest.raises(CallFailed) as failed:
            await an_order(Shop(shop.node, stranger, shop.access))
        assert failed.value.status == 401


async def test_a_server_out_of_reach_is_given_up_after_a_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.simulate.api.TRIES", 2)
    async with Api("http://127.0.0.1:1", lambda: "x") as api:
        with pytest.raises(CallFailed, match="GET /health/live") as failed:
            await api.call("GET", "/health/live")
    assert failed.value.status is None
