"""Drivers' sockets on real nodes: hello, acks after commits, resume, supersede, close codes, slow readers, restarts."""

import asyncio
import gc
import json
import socket as sockets
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
import websockets
from websockets.server import ServerProtocol

from server.ids import new_id
from server.process.coalescing_transport import HttpProtocol, WebSocketProtocol
from server.sockets import deadline_pings
from server.sockets.open_socket import SPREAD_MS
from tests.conftest import Node, StartNode
from tests.driver_app import DriverApp, driver_app, token
from tests.waiting import PATIENCE, until

HERE = {"lat": 52.5, "lon": 13.4}
THERE = {"lat": 52.51, "lon": 13.41}


async def call(node: Node, method: str, path: str, role: str = "service", subject: str = "shop", **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {token(role, subject)}"}
    async with httpx2.AsyncClient(base_url=node.url, headers=headers, timeout=PATIENCE) as client:
        answer = await client.request(method, path, json=body or None)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


async def a_driver(node: Node, name: str = "Dan", **fields: Any) -> str:
    return str((await call(node, "POST", "/drivers", name=name, **fields))["id"])


async def an_order(node: Node, **fields: Any) -> str:
    order = {"sellerOrderId": new_id(), "storeName": "Pizza", "pickup": HERE, "dropoff": THERE} | fields
    return str((await call(node, "POST", "/deliveries", **order))["id"])


async def ready(app: DriverApp) -> None:
    """Said hello and said where they are."""
    await app.hear("hello")
    assert (await app.ask("location", **HERE))["type"] == "ack"


async def test_one_order_from_post_to_completed(node: StartNode) -> None:
    here = await node()
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan) as app:
        await ready(app)
        delivery_id = await an_order(here)
        offer = (await app.hear("offer"))["offer"]
        assert offer["deliveryId"] == delivery_id
        assert 0 < offer["remainingMs"] <= 30_000
        accepted = await app.ask("accept", offerId=offer["id"])
        assignment = accepted["result"]["assignment"]
        assert (assignment["status"], assignment["source"]) == ("ACTIVE", "accepted")
        assert (await app.ask("picked_up", assignmentId=assignment["id"]))["type"] == "ack"
        done = await app.ask("completed", assignmentId=assignment["id"])
        assert done["result"]["assignment"]["status"] == "COMPLETED"
        assert [m["seq"] for m in app.streamed()] == list(range(2, 2 + len(app.streamed())))
    delivery = await call(here, "GET", f"/deliveries/{delivery_id}")
    assert (delivery["status"], delivery["offerAcceptanceCount"]) == ("DELIVERED", 1)


async def test_an_order_posted_to_one_node_reaches_a_driver_on_another(node: StartNode) -> None:
    first, second = await node(), await node()
    dan, dora = await a_driver(first), await a_driver(second)
    async with driver_app(first.ws_url, dan) as dans, driver_app(second.ws_url, dora) as doras:
        await ready(dans)
        await ready(doras)
        for posted_to in (first, second):
            await an_order(posted_to)
        for app in (dans, doras):
            offer = (await app.hear("offer"))["offer"]
            assert (await app.ask("accept", offerId=offer["id"]))["type"] == "ack"


async def test_hello_alone_brings_a_driver_up_to_date(node: StartNode) -> None:
    here = await node()
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan) as app:
        await ready(app)
        await an_order(here)
        offer = (await app.hear("offer"))["offer"]
        async with driver_app(here.ws_url, dan) as again:
            hello = await again.hear("hello")
            assert [o["id"] for o in hello["offers"]] == [offer["id"]]
            assert hello["driver"]["connected"] is True
            assert (hello["missed"], hello["resync"]) == ([], False)
            await again.ask("accept", offerId=offer["id"])
            async with driver_app(here.ws_url, dan) as third:
                hello = await third.hear("hello")
                assert hello["offers"] == []
                assert [a["deliveryId"] for a in hello["assignments"]] == [offer["deliveryId"]]
                assert hello["assignments"][0]["pickup"] == HERE


async def test_who_returns_with_last_seq_gets_exactly_what_they_missed(node: StartNode) -> None:
    here = await node()
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan) as app:
        first = await app.hear("hello")
    for availability in ("pause", "resume", "pause"):
        await call(here, "POST", f"/drivers/{dan}/availability/{availability}", "driver", dan)
    async with driver_app(here.ws_url, dan, last_seq=first["seq"]) as app:
        hello = await app.hear("hello")
        assert [m["seq"] for m in hello["missed"]] == list(range(first["seq"] + 1, hello["seq"] + 1))
        assert [m["availability"] for m in hello["missed"]] == ["paused", "available", "paused"]
        assert hello["resync"] is False
    async with driver_app(here.ws_url, dan, last_seq=hello["seq"] + 7) as app:
        hello = await app.hear("hello")
        assert (hello["missed"], hello["resync"]) == ([], True)


@pytest.mark.parametrize("same", [True, False], ids=["on the same node", "on another node"])
async def test_a_newer_socket_supersedes_the_older(node: StartNode, same: bool) -> None:
    first = await node()
    second = first if same else await node()
    dan = await a_driver(first)
    async with driver_app(first.ws_url, dan) as older:
        await older.hear("hello")
        async with driver_app(second.ws_url, dan) as newer:
            await newer.hear("hello")
            assert await older.until_closed() == 4103
            assert (await newer.ask("ping"))["type"] == "pong"
    driver = await until_driver(second, dan, lambda d: not d["connected"])
    assert driver["availability"] == "available"


async def until_driver(node: Node, driver_id: str, likes: Any) -> Any:
    async def look() -> Any:
        driver = await call(node, "GET", f"/drivers/{driver_id}")
        return driver if likes(driver) else None

    return await until(look)


@pytest.mark.parametrize(
    "bearer",
    [
        "",
        "nonsense",
        token("driver", new_id(), secret="x" * 32),
        token("service", "shop"),
        token("driver", "not-an-id"),
    ],
    ids=["empty", "nonsense", "forged", "of another role", "no driver"],
)
async def test_a_refused_token_is_accepted_and_closed_with_4101(node: StartNode, bearer: str) -> None:
    here = await node()
    headers = {"Authorization": f"Bearer {bearer}"}
    async with websockets.connect(
        f"{here.ws_url}/ws/driver", additional_headers=headers, open_timeout=PATIENCE
    ) as connection:
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
    assert connection.close_code == 4101


async def test_an_unknown_driver_is_unauthorized(node: StartNode) -> None:
    here = await node()
    async with driver_app(here.ws_url, new_id()) as app:
        assert await app.until_closed() == 4101


async def test_an_expired_token_is_refused_and_one_that_expires_ends_the_session(node: StartNode) -> None:
    here = await node()
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan, bearer=token("driver", dan, seconds=-31)) as app:
        assert await app.until_closed() == 4102
    async with driver_app(here.ws_url, dan, bearer=token("ops", "alice", seconds=-31)) as app:
        assert await app.until_closed() == 4101
    for left in (2, 10, 25):  # seconds of the 30 of grace: a busy machine may need more to connect
        async with driver_app(here.ws_url, dan, bearer=token("driver", dan, seconds=left - 30)) as app:
            greeted = bool(app.heard)
            assert await app.until_closed() == 4102
        if greeted:
            return
    raise AssertionError("never greeted")


async def test_a_browser_sends_its_token_as_a_subprotocol(node: StartNode) -> None:
    here = await node()
    dan = await a_driver(here)
    offered: Any = ["callboard.v1", f"bearer.{token('driver', dan)}"]
    async with websockets.connect(
        f"{here.ws_url}/ws/driver", subprotocols=offered, open_timeout=PATIENCE
    ) as connection:
        assert connection.subprotocol == "callboard.v1"
        assert json.loads(await connection.recv())["type"] == "hello"


async def test_malformed_frames_get_errors_and_ten_in_a_row_close(node: StartNode) -> None:
    here = await node()
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan) as app:
        await app.hear("hello")
        for _ in range(5):
            app.send_raw(b"{")
            app.send_raw(b"\x00\x01", text=False)
        assert await app.until_closed() == 4104
        assert not [m for m in app.heard if m["type"] == "goodbye"], "it is not to come back"
        assert [m["code"] for m in app.heard if m["type"] == "error"] == ["invalid"] * 10


def assert_goodbye(app: DriverApp, reason: str) -> None:
    goodbye = app.heard[-1]
    assert (goodbye["type"], goodbye["reason"]) == ("goodbye", reason)
    assert SPREAD_MS[0] <= goodbye["reconnectAfterMs"] <= SPREAD_MS[1]


async def test_too_many_messages_close_with_4202_and_too_big_ones_with_1009(node: StartNode) -> None:
    here = await node()
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan) as app:
        await app.hear("hello")
        for _ in range(900):  # 20 a second are allowed, however long the node takes to read them
            app.send("ping")
        assert await app.until_closed() == 4202
        assert_goodbye(app, "too_many_messages")
    async with driver_app(here.ws_url, dan) as app:
        await app.hear("hello")
        app.send_raw(b"x" * 65_537)
        assert await app.until_closed() == 1009


async def test_messages_sent_before_hello_are_answered_after_it(node: StartNode) -> None:
    here = await node()
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan) as app:
        app.send("ping", id="early")
        await app.hear(lambda m: m.get("id") == "early")
        assert app.heard[0]["type"] == "hello"


async def test_actions_out_of_order_get_their_codes(node: StartNode) -> None:
    here = await node()
    dan, dora = await a_driver(here), await a_driver(here, "Dora", zone="elsewhere")
    async with driver_app(here.ws_url, dan) as app, driver_app(here.ws_url, dora) as other:
        await ready(app)
        await other.hear("hello")
        await an_order(here)
        offer = (await app.hear("offer"))["offer"]
        assert (await other.ask("accept", offerId=offer["id"]))["code"] == "not_found"
        assert (await app.ask("completed", assignmentId=new_id()))["code"] == "not_found"
        assert (await app.ask("reject", offerId=offer["id"], reason="too far"))["type"] == "ack"
        assert (await app.ask("reject", offerId=offer["id"]))["type"] == "ack"
        assert (await app.ask("accept", offerId=offer["id"]))["code"] == "offer_no_longer_open"


async def test_a_driver_who_stops_reading_is_closed_and_delays_nobody(node: StartNode) -> None:
    here = await node()
    dan, dora = await a_driver(here), await a_driver(here, "Dora")
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", here.port))
    handshake = (
        f"GET /ws/driver HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {token('driver', dan)}\r\n\r\n"
    )
    await loop.sock_sendall(raw, handshake.encode())
    hub = here.app.state.node.hub
    stuck = await until(lambda: hub.sockets.get(dan) if dan in hub.sockets and hub.sockets[dan].connected else None)
    padding = "x" * 30_000
    for seq in range(400):
        stuck.send(json.dumps({"type": "pong", "padding": padding, "n": seq}))
    assert stuck.closed is not None
    assert stuck.closed.code == 4201
    async with driver_app(here.ws_url, dora) as app:
        await app.hear("hello")
        assert (await app.ask("ping"))["type"] == "pong"
    raw.close()


async def test_a_stopping_node_says_goodbye_and_its_drivers_go_on_elsewhere(node: StartNode) -> None:
    first, second = await node(), await node()
    dan = await a_driver(first)
    async with driver_app(first.ws_url, dan) as app:
        await ready(app)
        await an_order(first)
        offer = (await app.hear("offer"))["offer"]
        last_seq = app.streamed()[-1]["seq"]
        stopping = asyncio.create_task(first.stop())
        await app.hear("goodbye")
        assert await app.until_closed() == 4203
        assert_goodbye(app, "restarting")
        async with driver_app(second.ws_url, dan, last_seq=last_seq) as again:
            hello = await again.hear("hello")
            assert [o["id"] for o in hello["offers"]] == [offer["id"]]
            assert (await again.ask("accept", offerId=offer["id"]))["type"] == "ack"
        await stopping


async def test_when_a_socket_ends_nothing_of_it_stays(node: StartNode) -> None:
    here = await node()
    dan = await a_driver(here)
    tasks = len(asyncio.all_tasks())
    for _ in range(3):
        async with driver_app(here.ws_url, dan) as app:
            await app.hear("hello")
    hub = here.app.state.node.hub
    await until(lambda: not hub.sockets and not hub._partings)
    await until(lambda: len(asyncio.all_tasks()) <= tasks + 1)


async def test_when_a_socket_ends_nothing_is_left_for_the_collector_of_garbage(node: StartNode) -> None:
    """It seldom looks, so a driver who comes and goes would cost as much memory as many who stay."""
    here = await node()
    dan = await a_driver(here)

    def left() -> int:
        return sum(type(it) in (HttpProtocol, WebSocketProtocol, ServerProtocol) for it in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = left()
        for _ in range(3):
            async with driver_app(here.ws_url, dan) as app:
                await app.hear("hello")
                assert left() > before
        await until(lambda: left() <= before)
    finally:
        gc.enable()


async def test_drivers_get_a_new_hello_if_the_database_lost_messages_that_were_sent(node: StartNode) -> None:
    """As after a fail-over to a standby that had not heard the last commits: their numbers are given out again."""
    here = await node()
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan) as app:
        await ready(app)
        seq = (await app.ask("pause") and await app.hear("availability"))["seq"]
        await here.change(
            "WITH forgotten AS (DELETE FROM driver_messages WHERE driver_id = $1 AND seq = $2)"
            " UPDATE drivers SET stream_seq = $2 - 1 WHERE id = $1",
            dan,
            seq,
        )
        await until(lambda: app.closed is not None)
        assert app.closed == 4203
    async with driver_app(here.ws_url, dan, last_seq=seq) as app:
        hello = await app.hear("hello")
        assert (hello["seq"], hello["missed"], hello["resync"]) == (seq - 1, [], True)


async def test_a_database_that_forgot_a_driver_ends_their_socket(node: StartNode) -> None:
    here = await node()
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan) as app:
        await app.hear("hello")
        await here.change(
            "WITH messages AS (DELETE FROM driver_messages WHERE driver_id = $1),"
            " history AS (DELETE FROM driver_availability_history WHERE driver_id = $1),"
            " positions AS (DELETE FROM driver_positions WHERE driver_id = $1) DELETE FROM drivers WHERE id = $1",
            dan,
        )
        await until(lambda: app.closed is not None)
        assert app.closed == 4203
    async with driver_app(here.ws_url, dan) as app:
        await until(lambda: app.closed is not None)
        assert app.closed == 4101


async def test_an_order_is_not_given_to_a_phone_that_went_away_but_offered_to_the_next_driver(node: StartNode) -> None:
    here = await node()
    dan, dora = await a_driver(here), await a_driver(here, "Dora")
    async with driver_app(here.ws_url, dan) as dans, driver_app(here.ws_url, dora) as doras:
        await ready(dans)
        await doras.hear("hello")
        await an_order(here)
        offer = (await dans.hear("offer"))["offer"]
        assert (await dans.ask("received", offerId=offer["id"]))["type"] == "ack"
        assert (await doras.ask("location", **THERE))["type"] == "ack"
        await dans.close()
        await until_driver(here, dan, lambda d: not d["connected"])
        await here.reach_deadline(offer["id"])
        assert (await doras.hear("offer"))["offer"]["deliveryId"] == offer["deliveryId"]
    driver = await call(here, "GET", f"/drivers/{dan}")
    assert (driver["availability"], driver["activeCount"]) == ("available", 0)


async def the_deadline_is_near(node: Node, offer_id: str, seconds: float) -> None:
    """Near enough for the last call, and far enough for its answer, also if the machine pauses for a while."""
    await node.change(
        "UPDATE driver_offers SET expires_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1",
        offer_id,
        seconds,
    )


async def test_a_phone_that_lost_its_network_without_a_word_says_nothing_by_its_silence(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline_pings, "ASK_SECONDS", 14.0)
    monkeypatch.setattr(deadline_pings, "JUDGE_SECONDS", 4.0)
    first, second = await node(), await node()
    dan, dora = await a_driver(first), await a_driver(first, "Dora")
    async with driver_app(second.ws_url, dan) as dans, driver_app(first.ws_url, dora) as doras:
        await ready(dans)
        await doras.hear("hello")
        await an_order(first)
        offer = (await dans.hear("offer"))["offer"]
        assert (await dans.ask("received", offerId=offer["id"]))["type"] == "ack"
        assert (await doras.ask("location", **THERE))["type"] == "ack"
        dans.stop_reading()  # no close, no answer: what a tunnel looks like
        await the_deadline_is_near(first, offer["id"], 14.0)
        assert (await doras.hear("offer"))["offer"]["deliveryId"] == offer["deliveryId"]
        driver = await call(first, "GET", f"/drivers/{dan}")
        assert (driver["connected"], driver["activeCount"]) == (False, 0)
        dans.read_on()
        assert await dans.until_closed() == 4201, "it is to come back"
        assert_goodbye(dans, "too_slow")


async def test_a_silent_phone_that_answers_the_last_call_keeps_its_socket(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline_pings, "ASK_SECONDS", 8.0)
    here = await node()
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan) as app:
        await ready(app)
        await an_order(here)
        offer = (await app.hear("offer"))["offer"]
        assert (await app.ask("received", offerId=offer["id"]))["type"] == "ack"
        socket = here.app.state.node.hub.sockets[dan]
        before = socket.pings.heard_at
        await the_deadline_is_near(here, offer["id"], 8.0)
        assert (await app.hear("assignment"))["assignment"]["source"] == "auto_accepted"
        assert socket.pings.heard_at > before, "it was asked"
        assert (await app.ask("ping"))["type"] == "pong"


@pytest.mark.parametrize("how", ["stays", "comes back", "opens a newer socket"])
async def test_an_order_is_given_to_a_silent_phone_that_is_there(node: StartNode, how: str) -> None:
    first, second = await node(), await node()
    dan = await a_driver(first)
    async with AsyncExitStack() as phones:
        app = await phones.enter_async_context(driver_app(first.ws_url, dan))
        await ready(app)
        await an_order(first)
        offer = (await app.hear("offer"))["offer"]
        assert (await app.ask("received", offerId=offer["id"]))["type"] == "ack"
        if how == "comes back":
            await app.close()
            await until_driver(first, dan, lambda d: not d["connected"])
        if how != "stays":
            app = await phones.enter_async_context(driver_app(second.ws_url, dan))
            await app.hear("hello")
        await first.reach_deadline(offer["id"])
        assert (await app.hear("assignment"))["assignment"]["source"] == "auto_accepted"


async def test_silence_is_no_yes_when_the_whole_server_was_away_at_the_deadline(node: StartNode) -> None:
    """Dan's phone is back before anybody looks at the deadline."""
    first = await node()
    dan = await a_driver(first)
    async with driver_app(first.ws_url, dan) as app:
        await ready(app)
        await an_order(first)
        offer = (await app.hear("offer"))["offer"]
        assert (await app.ask("received", offerId=offer["id"]))["type"] == "ack"
        await first.stop()
    await first.reach_deadline(offer["id"])
    second = await node()
    async with driver_app(second.ws_url, dan) as app:
        await app.hear("hello")
        pool = second.app.state.node.database.pool
        closed = "SELECT status, auto_accepted FROM driver_offers WHERE id = $1 AND closed_at IS NOT NULL"
        ended = await until(lambda: pool.fetchrow(closed, offer["id"]))
        assert tuple(ended) == ("EXPIRED", False)
        delivery = await call(second, "GET", f"/deliveries/{offer['deliveryId']}")
        assert (delivery["status"], delivery["assignment"]) == ("READY", None)
