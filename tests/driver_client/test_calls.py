"""Phones of one driver, with the client, against a real node: sign-in, which one is in use, the PIN, late reports."""

import asyncio
from uuid import uuid4

import httpx2
import pytest

from server.driver_client import messages as m
from server.driver_client.calls import Refused, check_pin, hand_in, renew, session_of, sign_in, sign_out, upload
from server.driver_client.client import Dismissed, DriverClient
from tests.driver_client.test_client import accepted, network_of, running
from tests.simulate.conftest import Shop
from tests.test_images import an_image
from tests.waiting import until


async def signed_in(shop: Shop, driver_id: str, name: str) -> str:
    """The token of one more phone of the driver."""
    code = (await shop.api.call("POST", f"/drivers/{driver_id}/invitation"))["code"]
    return (await sign_in(shop.api.http, code, action_id=str(uuid4()), name=name)).token


def app(shop: Shop, token: str) -> DriverClient:
    async def current() -> str:
        return token

    return DriverClient(shop.url, current, http=shop.api.http)


async def test_a_device_signs_in_once_stays_signed_in_and_signs_out(shop: Shop) -> None:
    http = shop.api.http
    driver_id = await shop.api.register_driver(name="Dan")
    code = (await shop.api.call("POST", f"/drivers/{driver_id}/invitation"))["code"]
    first = str(uuid4())
    device = await sign_in(http, code, action_id=first)
    again = await sign_in(http, code, action_id=first)  # its answer was lost
    assert (again.driver_id, again.device_token) == (driver_id, device.device_token)
    with pytest.raises(Refused):
        await sign_in(http, code, action_id=str(uuid4()))
    renewed = await renew(http, device.device_token, action_id=str(uuid4()))
    assert (renewed.driver_id, renewed.device_token != device.device_token) == (driver_id, True)
    found = await session_of(http, driver_id, renewed.token)
    assert (found.driver.id, found.driver.availability, found.other_device) == (driver_id, "offline", None)
    await sign_out(http, renewed.device_token)
    with pytest.raises(Refused):
        await session_of(http, driver_id, renewed.token)
    async with httpx2.AsyncClient(base_url="http://127.0.0.1:1") as nobody:
        with pytest.raises(ConnectionError):
            await renew(nobody, renewed.device_token, action_id=str(uuid4()))


async def ended_with(run: "asyncio.Task[None]") -> int:
    await until(run.done)
    error = run.exception()
    assert isinstance(error, Dismissed)
    return error.code


async def test_a_phone_asks_before_it_takes_over_and_hands_in_what_it_has_left(shop: Shop) -> None:
    driver_id = await shop.api.register_driver(name="Dora")
    http = shop.api.http
    old, new = [await signed_in(shop, driver_id, name) for name in ("Dora's old phone", "Dora's new phone")]
    first, second = app(shop, old), app(shop, new)
    first_run = asyncio.create_task(first.run(take_over="ask"))
    await until(first.connected.is_set)
    job = await accepted(shop, first)
    other = (await session_of(http, driver_id, new)).other_device
    assert other is not None
    assert other.name == "Dora's old phone"
    assert await ended_with(asyncio.create_task(second.run(take_over="ask"))) == 4106
    assert first.connected.is_set()
    second_run = asyncio.create_task(second.run(take_over="once"))
    await until(second.connected.is_set)
    assert await ended_with(first_run) == 4103
    assert await ended_with(asyncio.create_task(first.run(take_over="ask"))) == 4106
    done = await hand_in(http, driver_id, old, m.PickedUp(assignment_id=job.id, action_id=str(uuid4())))
    assert done.assignment is not None
    assert done.assignment.id == job.id
    await until(lambda: second.mirror.assignments[job.id].picked_up_at)
    assert second.connects == 1, "it is not disturbed"
    second_run.cancel()


async def test_a_phone_that_was_away_does_not_take_the_connection_back(shop: Shop) -> None:
    driver_id = await shop.api.register_driver(name="Max")
    first, second = [app(shop, await signed_in(shop, driver_id, name)) for name in ("old", "new")]
    network = network_of(first)
    run = asyncio.create_task(first.run(take_over="once"))
    await until(first.connected.is_set)
    network.clear()
    first.lose_network(0)
    await until(lambda: not first.connected.is_set())
    async with running(second):
        network.set()
        assert await ended_with(run) == 4106
        assert second.connects == 1


async def test_the_pin_is_checked_before_the_handover_and_a_photo_is_sent_once(shop: Shop) -> None:
    driver_id, client = await shop.a_client()
    http, token = shop.api.http, await shop.token_of(driver_id)()
    async with running(client):
        job = await accepted(shop, client, proofRequired=["pin", "photo"], pin="0417")
        await client.ask(m.PickedUp(assignment_id=job.id))
        assert await client.check_pin(job.id, "9999") == "wrong"
        assert await client.check_pin(job.id, "0417") == "right"
        assert await client.check_pin(str(uuid4()), "0417") == "unknown"
        assert await DriverClient(shop.url, shop.token_of(driver_id)).check_pin(job.id, "0417") == "unknown"
        async with httpx2.AsyncClient(base_url="http://127.0.0.1:1") as nobody:
            assert await check_pin(nobody, driver_id, token, job.id, "0417") == "unknown"
        once = str(uuid4())
        sent = [
            await upload(http, driver_id, token, job.id, an_image(), kind="photo", action_id=once) for _ in range(2)
        ]
        assert sent[0] == sent[1]
        await client.ask(m.Completed(assignment_id=job.id, proof=m.Proof(pin="0417")))
        await until(lambda: not client.mirror.assignments)
        other = await accepted(shop, client, proofRequired=["pin"], pin="1111", sellerId="roma")
        for _ in range(5):
            assert await client.check_pin(other.id, "2222") == "wrong"
        assert await client.check_pin(other.id, "1111") == "locked"
