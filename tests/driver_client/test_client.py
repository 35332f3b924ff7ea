"""The driver's client against a real node: verdicts, lost connections, the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from server.driver_client import messages as m
from server.driver_client.client import Dismissed, DriverClient, Refused, phone_time
from server.driver_client.connection import Connection
from server.simulate.access import Access
from server.simulate.api import Api, CallFailed
from tests.conftest import StartNode
from tests.simulate.conftest import Shop, mint
from tests.waiting import PATIENCE, beside, until

HERE, THERE = {"lat": 52.52, "lon": 13.405}, {"lat": 52.53, "lon": 13.42}


def network_of(client: DriverClient) -> asyncio.Event:
    """The client's network: while it is not set, a connection that is lost stays lost, however long that takes."""
    token, network = client._token, asyncio.Event()

    async def token_with_network() -> str:
        await network.wait()
        return await token()

    client._token = token_with_network
    network.set()
    return network


@asynccontextmanager
async def running(client: DriverClient) -> AsyncIterator[DriverClient]:
    """The client connected, and gone afterwards."""
    async with beside(client.run()) as task:
        await until(lambda: client.connected.is_set() or task.done())
        yield client


async def an_order(shop: Shop, **more: Any) -> str:
    places = {"pickup": HERE, "dropoff": THERE}
    return await shop.api.create_delivery(sellerOrderId="1", storeName="Golden Noodle", **places, **more)


def here() -> m.Location:
    return m.Location(lat=HERE["lat"], lon=HERE["lon"])


async def accepted(shop: Shop, client: DriverClient, **more: Any) -> m.Assignment:
    """An order that this driver has accepted."""
    client.tell(here())
    await an_order(shop, **more)
    await until(lambda: client.mirror.offers)
    [offer] = client.mirror.offers.values()
    await client.ask(m.Accept(offer_id=offer.id))
    await until(lambda: client.mirror.assignments)
    [assignment] = client.mirror.assignments.values()
    return assignment


async def events_of(shop: Shop, delivery_id: str) -> list[dict[str, Any]]:
    timeline: dict[str, Any] = await shop.api.call("GET", f"/deliveries/{delivery_id}/timeline")
    events: list[dict[str, Any]] = timeline["items"]
    return events


async def test_an_offer_is_taken_and_carried_out(shop: Shop) -> None:
    driver_id, client = await shop.a_client()
    async with running(client):
        client.tell(here())
        delivery_id = await an_order(shop)
        await until(lambda: client.mirror.offers)
        [offer] = client.mirror.offers.values()
        assert offer.delivery_id == delivery_id
        client.tell(m.Received(offer_id=offer.id))
        answer = await client.ask(m.Accept(offer_id=offer.id))
        assert answer.assignment is not None
        assert answer.assignment.driver_id == driver_id
        await until(lambda: client.mirror.assignments)
        assert client.mirror.offers == {}
        [assignment] = client.mirror.assignments.values()
        await client.ask(m.Arrived(assignment_id=assignment.id, where="pickup"))
        await client.ask(m.PickedUp(assignment_id=assignment.id))
        await client.ask(m.Arrived(assignment_id=assignment.id, where="dropoff"))
        await client.ask(m.Completed(assignment_id=assignment.id))
        await until(lambda: not client.mirror.assignments)
        assert client.mirror.gaps == 0
    delivered = await shop.delivery(delivery_id)
    assert delivered["status"] == "DELIVERED"
    assert None not in delivered["arrivedAt"].values()


async def test_a_client_that_misses_a_message_connects_again_and_gets_it(shop: Shop) -> None:
    heard: list[m.ToDriver] = []
    _, client = await shop.a_client(heard.append)
    async with running(client):
        client.tell(here())
        assert client.mirror.seq is not None
        missing = client.mirror.seq
        client.mirror.seq -= 1  # as if the last message had never come
        await an_order(shop)
        await until(lambda: client.mirror.offers)
        assert (client.connects, client.mirror.gaps, client.mirror.behind) == (2, 1, False)
        numbers = [message.seq for message in heard if isinstance(message, m.Streamed)]
        assert numbers[0] == missing
        assert numbers == list(range(missing, client.mirror.seq + 1))
        client.tell(here())
        await client.ask(m.Accept(offer_id=next(iter(client.mirror.offers))))
        await until(lambda: client.mirror.assignments)
        assert (client.connects, client.mirror.gaps) == (2, 1)


async def test_a_client_that_cannot_read_the_snapshot_comes_back_less_and_less_often(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every `hello` leaves it behind, so it connects again. After one that it can read, the pauses are short again."""
    first_pause = 0.05
    monkeypatch.setattr("server.driver_client.client.FIRST_PAUSE_SECONDS", first_pause)
    understand, sleep = m.understand, asyncio.sleep
    unreadable: set[str] = set()
    pauses: list[float] = []

    def read(frame: m.Frame) -> m.ToDriver | None:
        return understand(frame | {"seq": "?"} if frame["type"] in unreadable else frame)

    _, client = await shop.a_client()
    async with beside(client.run()) as task:

        async def note(seconds: float) -> None:
            if seconds > 0 and asyncio.current_task() is task:
                pauses.append(seconds)
            await sleep(seconds)

        monkeypatch.setattr(m, "understand", read)
        monkeypatch.setattr(asyncio, "sleep", note)
        await until(client.connected.is_set)
        client.tell(here())
        unreadable |= {"offer", "hello"}
        await an_order(shop)
        await until(lambda: pauses and pauses[-1] > 4 * first_pause)
        unreadable.clear()
        await until(client.connected.is_set)
        pauses.clear()
        client.lose_network(0)
        await until(lambda: pauses)
        assert pauses[0] <= 1.5 * first_pause


async def test_what_fails_is_brought_back(shop: Shop) -> None:
    _, client = await shop.a_client()
    async with running(client):
        job = await accepted(shop, client)
        await client.ask(m.PickedUp(assignment_id=job.id))
        await client.ask(m.Failed(assignment_id=job.id, reason="refused", then="return"))
        await until(lambda: client.mirror.assignments[job.id].delivery_status == "RETURNING")
        await client.ask(m.Completed(assignment_id=job.id))
        await until(lambda: not client.mirror.assignments)
    assert (await shop.delivery(job.delivery_id))["status"] == "RETURNED"


async def test_a_job_given_back_is_nobodys(shop: Shop) -> None:
    _, client = await shop.a_client()
    async with running(client):
        job = await accepted(shop, client)
        await client.ask(m.Release(assignment_id=job.id, reason="vehicle", note="a flat tyre"))
        await until(lambda: not client.mirror.assignments)
        with pytest.raises(Refused) as refused:
            await client.ask(m.PickedUp(assignment_id=job.id))
        assert (refused.value.code, refused.value.more["nowWith"]) == ("assignment_not_active", "nobody")
    assert (await shop.delivery(job.delivery_id))["status"] == "READY"


async def test_a_handover_with_a_pin(shop: Shop) -> None:
    _, client = await shop.a_client()
    async with running(client):
        job = await accepted(shop, client, proofRequired=["pin"], pin="4711")
        assert job.proof_required == ("pin",)
        await client.ask(m.PickedUp(assignment_id=job.id))
        with pytest.raises(Refused) as refused:
            await client.ask(m.Completed(assignment_id=job.id))
        assert (refused.value.code, refused.value.more["missing"]) == ("proof_required", ["pin"])
        with pytest.raises(Refused, match="pin_wrong"):
            await client.ask(m.Completed(assignment_id=job.id, proof=m.Proof(pin="0000")))
        await client.ask(m.Completed(assignment_id=job.id, proof=m.Proof(pin="4711", name="Ines")))
    assert (await shop.delivery(job.delivery_id))["status"] == "DELIVERED"


async def test_what_was_done_without_a_network_is_reported_with_its_time(shop: Shop) -> None:
    _, client = await shop.a_client()
    async with running(client):
        job = await accepted(shop, client)
        client.lose_network(0.5)
        await until(lambda: not client.connected.is_set())
        began = asyncio.get_running_loop().time()
        await client.ask(m.PickedUp(assignment_id=job.id, at=phone_time()))
        away = asyncio.get_running_loop().time() - began
        assert client.connects == 2
    [picked_up] = [e for e in await events_of(shop, job.delivery_id) if e["type"] == "delivery.picked_up"]
    shown, happened = (datetime.fromisoformat(at) for at in (picked_up["at"], picked_up["data"]["happenedAt"]))
    assert 0.0 < (shown - happened).total_seconds() <= away + 0.01


async def test_an_action_said_over_both_ways_is_done_once(shop: Shop) -> None:
    _, client = await shop.a_client()
    async with running(client):
        job = await accepted(shop, client)
        deed = m.PickedUp(assignment_id=job.id, action_id=str(uuid4()))
        by_http = await client.ask(deed, by_http=True)
        on_the_socket = await client.ask(deed)
        assert by_http.assignment is not None
        assert by_http == on_the_socket
    events = [e for e in await events_of(shop, job.delivery_id) if e["type"] == "delivery.picked_up"]
    assert [event["data"]["actionId"] for event in events] == [deed.action_id]


async def test_what_is_written_to_dispatch_is_one_message_over_lost_answers(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver_id, client = await shop.a_client()
    ask = Connection.ask
    answers = []

    async def lose_the_first(connection: Connection, kind: str, **fields: object) -> Any:
        answers.append(await ask(connection, kind, **fields))
        if len(answers) == 1:
            raise ConnectionError("lost")
        return answers[-1]

    monkeypatch.setattr(Connection, "ask", lose_the_first)
    async with running(client):
        await client.ask(m.Say(text="The shop is closed"))
    assert len(answers) == 2
    ops = {"Authorization": f"Bearer {mint('ops', 'alice', 1)}"}
    listed = await shop.api.http.get(f"/admin/drivers/{driver_id}/messages", headers=ops)
    assert [item["text"] for item in listed.json()["items"]] == ["The shop is closed"]


async def test_every_message_has_its_call(shop: Shop) -> None:
    """What the server does not know is 404 by its path and 405 by its method; these ids are of nothing."""
    driver_id, client = await shop.a_client()
    nothing = str(uuid4())
    messages = [
        m.Accept(offer_id=nothing), m.Reject(offer_id=nothing, reason="too_far"), m.Received(offer_id=nothing),
        m.Arrived(assignment_id=nothing, where="pickup"), m.PickedUp(assignment_id=nothing, at=phone_time()),
        m.Completed(assignment_id=nothing, proof=m.Proof(pin="1")), m.Release(assignment_id=nothing, reason="unwell"),
        m.Failed(assignment_id=nothing, reason="damaged", note="wet", then="end"), m.Seen(message_id=nothing),
    ]  # fmt: skip
    async with running(client):
        for message in messages:
            with pytest.raises(Refused) as refused:
                await client.ask(message, by_http=True)
            assert refused.value.more["detail"] == "Nothing has this id.", message
        for harmless in (
            here(),
            m.TakeBreak(duration_minutes=5),
            m.Pause(),
            m.EndShift(),
            m.Resume(),
            m.Say(text="Hi"),
        ):
            await client.ask(harmless, by_http=True)
        await until(lambda: client.mirror.availability == "available")
    assert client.mirror.driver_id == driver_id


async def test_without_a_way_over_http_the_socket_will_do(shop: Shop) -> None:
    driver_id, _ = await shop.a_client()
    client = DriverClient(shop.url, shop.token_of(driver_id))
    async with running(client):
        await client.ask(m.Pause(), by_http=True)
        await until(lambda: client.mirror.availability == "paused")


async def test_a_refusal_is_raised_with_its_code(shop: Shop) -> None:
    _, client = await shop.a_client()
    async with running(client):
        with pytest.raises(Refused) as refused:
            await client.ask(m.Accept(offer_id="0190a5d0-ac96-774b-bcce-b302099a8057"))
        assert refused.value.code == "not_found"


async def test_a_connection_on_which_nothing_comes_is_given_up(shop: Shop) -> None:
    driver_id, _ = await shop.a_client()
    client = DriverClient(shop.url, shop.token_of(driver_id), heartbeat_seconds=0.5)
    async with running(client):
        assert client._connection is not None
        assert client._connection._transport is not None
        client._connection._transport.pause_reading()
        await until(lambda: client.connects >= 2)
        assert client.mirror.gaps == 0


class Turns:
    """A clock that goes on by the turns of the loop: while this process is stopped, and the server in it, no time
    passes.
    """

    def __init__(self) -> None:
        self._seconds = 0.0

    def monotonic(self) -> float:
        return self._seconds

    async def run(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self._seconds += 0.01


async def test_a_quiet_connection_that_answers_is_kept(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns()
    monkeypatch.setattr("server.driver_client.connection.time", turns)
    driver_id, _ = await shop.a_client()
    pongs: list[m.ToDriver] = []

    def hear(message: m.ToDriver) -> None:
        if isinstance(message, m.Pong):
            pongs.append(message)

    client = DriverClient(shop.url, shop.token_of(driver_id), hear, heartbeat_seconds=1.0)
    async with beside(turns.run()), running(client):
        await until(lambda: len(pongs) > 2)
        assert client.connects == 1


async def test_who_makes_the_tokens_may_be_away(shop: Shop) -> None:
    driver_id, _ = await shop.a_client()
    make, away = shop.token_of(driver_id), [httpx2.ConnectError("away"), TimeoutError(), ConnectionRefusedError()]

    async def token() -> str:
        if away:
            raise away.pop()
        return await make()

    client = DriverClient(shop.url, token, http=shop.api.http)
    async with running(client):
        assert (away, client.connects) == ([], 1)
        away.append(TimeoutError())
        await client.ask(m.Pause(), by_http=True)
        await until(lambda: client.mirror.availability == "paused")


async def test_the_token_goes_as_browsers_send_it(shop: Shop) -> None:
    driver_id, _ = await shop.a_client()
    connection = Connection(shop.url, await shop.token_of(driver_id)(), in_subprotocol=True)
    await connection.open()
    assert (await connection.greeting())["driver"]["id"] == driver_id
    assert connection._protocol.subprotocol == "callboard.v1"
    await connection.close()
    assert not connection.usable
    with pytest.raises(ConnectionError, match="the socket ended: 1000"):
        await connection.next(lambda _: True)
    with pytest.raises(ConnectionError):
        connection.send("ping")


async def test_what_is_no_callboard_is_a_lost_connection(shop: Shop) -> None:
    with pytest.raises(ConnectionError, match="HTTP 40"):
        await Connection(f"{shop.url}/elsewhere", "token").open()
    with pytest.raises(OSError):
        await Connection("http://127.0.0.1:1", "token").open()


async def test_what_happened_without_a_network_arrives_on_return(shop: Shop) -> None:
    _, client = await shop.a_client()
    heard: list[str] = []
    client._heard = lambda message: heard.append(type(message).__name__)
    network = network_of(client)
    async with running(client):
        client.tell(here())
        delivery_id = await an_order(shop)
        await until(lambda: client.mirror.offers)
        network.clear()
        client.lose_network(0)
        await until(lambda: not client.connected.is_set())
        await shop.api.cancel_delivery(delivery_id, "changed their mind")
        network.set()
        await until(lambda: client.connects == 2 and client.connected.is_set())
        assert client.mirror.offers == {}
        assert client.mirror.gaps == 0
        assert heard[-2:] == ["OfferClosed", "Hello"]


async def test_a_question_survives_the_connection_it_was_asked_on(shop: Shop) -> None:
    _, client = await shop.a_client()
    async with running(client):
        client.lose_network(0.2)
        await client.ask(m.TakeBreak(duration_minutes=5))
        assert client.connects == 2
        await until(lambda: client.mirror.availability == "on_break")
        assert client.mirror.gaps == 0


async def test_a_newer_connection_ends_the_older_for_good(shop: Shop) -> None:
    driver_id, client = await shop.a_client()
    newer = DriverClient(shop.url, shop.token_of(driver_id))
    older = asyncio.create_task(client.run())
    await asyncio.wait_for(client.connected.wait(), PATIENCE)
    async with running(newer):
        await until(older.done)
        assert isinstance(older.exception(), Dismissed)
        assert newer.connects == 1


async def test_a_token_that_is_not_good_ends_it_for_good(shop: Shop) -> None:
    async def bad() -> str:
        return "bad"

    with pytest.raises(Dismissed) as dismissed:
        await asyncio.wait_for(DriverClient(shop.url, bad).run(), PATIENCE)
    assert dismissed.value.code == 4101


async def test_it_comes_back_when_the_node_does_not(node: StartNode, access: Access) -> None:
    first, second = await node(), await node()
    async with Api(second.url, access.service) as api:
        driver_id = await api.register_driver(name="Dan")
        client = DriverClient(first.url, lambda: access.driver(api, driver_id))
        async with running(client):
            await first.stop()
            await until(lambda: not client.connected.is_set())
            client.url = second.url
            await until(lambda: client.connects == 2)
            assert client.mirror.gaps == 0


async def test_a_given_token_fetches_the_drivers_tokens(shop: Shop) -> None:
    access = Access(token=mint("service", "shop", 1))
    driver_id = await shop.api.register_driver(name="Dora")
    client = DriverClient(shop.url, lambda: access.driver(shop.api, driver_id))
    async with running(client):
        assert client.connected.is_set()


async def test_what_the_server_refuses_over_http_is_one_line(shop: Shop) -> None:
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
