"""Notices to drivers on their sockets of what others did: all are recorded, with their status."""

import asyncio
import math
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from server.ids import new_id
from server.process import uvicorn_server
from server.process.frame_limits import BoundedWebSocket
from server.sockets.pings import Pings
from server.sockets.receipts import Receipts
from tests.conftest import StartNode
from tests.driver_app import driver_app
from tests.notify.test_record import outcome, record
from tests.waiting import PATIENCE
from tests.web.conftest import Driver, Site

QUICK = 0.2


@pytest.fixture
async def pinging(node: StartNode, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A node that pings its sockets all the time, and waits for the answers however busy the machine is."""
    monkeypatch.setattr(uvicorn_server, "PING_SECONDS", QUICK)
    site = Site(await node())
    site.node.server.config.ws_ping_timeout = PATIENCE
    yield site
    await site.close()


async def assign(site: Site, dan: Driver, **changes: Any) -> dict[str, Any]:
    """An order that ops give him before the matcher may offer it."""
    delivery = await site.delivery(dispatchAt="2099-02-01T11:00:00Z", **changes)
    body = {"driverId": dan.id, "reason": "he is next door", "mode": "assign"}
    assigned = await site.alice.post(f"/admin/deliveries/{delivery['id']}/assign", json=body)
    assert assigned.status_code == 201, assigned.text
    return delivery


async def availability(site: Site, dan: Driver, to: str) -> None:
    changed = await site.ada.post(
        f"/admin/drivers/{dan.id}/availability", json={"availability": to, "reason": "van broke"}
    )
    assert changed.status_code == 200, changed.text


async def test_an_assignment_by_ops_is_sent_then_proved_by_an_answered_ping(pinging: Site) -> None:
    dan = await pinging.driver("Dan", at_work=True, zone="elsewhere")
    async with driver_app(pinging.node.ws_url, dan.id) as app:
        await app.hear("hello")
        delivery = await assign(pinging, dan, zone="elsewhere")
        await app.hear("assignment")
        notice = await outcome(pinging, "received", to="driver", kind="delivery.assigned")
    assert (notice["channel"], notice["driverId"], notice["deliveryId"]) == ("socket", dan.id, delivery["id"])
    assert notice["text"] == f"Order {delivery['sellerOrderId']} of Pizza Roma assigned: he is next door."
    assert notice["createdAt"] <= notice["sentAt"] <= notice["receivedAt"]
    assert notice["failedAt"] is None


async def test_what_is_missed_waits_and_the_number_brought_back_proves_it(site: Site) -> None:
    """No ping is answered within the twenty seconds from one to the next."""
    dan = await site.driver("Dan", at_work=True, zone="elsewhere")
    await assign(site, dan, zone="elsewhere")
    waiting = await outcome(site, "pending", to="driver", kind="delivery.assigned")
    assert (waiting["channel"], waiting["sentAt"]) == (None, None)
    async with driver_app(site.node.ws_url, dan.id) as app:
        seq = (await app.hear("hello"))["seq"]
        sent = await outcome(site, "sent", to="driver", kind="delivery.assigned")
        assert (sent["channel"], sent["receivedAt"]) == ("socket", None)
    async with driver_app(site.node.ws_url, dan.id, last_seq=seq - 1) as app:
        await app.hear("hello")
        await availability(site, dan, "paused")
        await outcome(site, "sent", to="driver", kind="driver.availability_changed")
        await outcome(site, "sent", to="driver", kind="delivery.assigned")
    async with driver_app(site.node.ws_url, dan.id, last_seq=seq) as app:
        await app.hear("hello")
        received = await outcome(site, "received", to="driver", kind="delivery.assigned")
        assert received["sentAt"] == sent["sentAt"]
        assert [shown["status"] for shown in await record(site, kind="driver.availability_changed")] == ["sent"]


async def test_a_number_that_was_never_given_out_proves_nothing(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True, zone="elsewhere")
    await assign(site, dan, zone="elsewhere")
    async with driver_app(site.node.ws_url, dan.id, last_seq=1_000_000) as app:
        assert (await app.hear("hello"))["resync"]
        await availability(site, dan, "paused")
        await outcome(site, "sent", to="driver", kind="driver.availability_changed")
        await outcome(site, "sent", to="driver", kind="delivery.assigned")


async def test_the_node_of_the_socket_notes_what_another_one_did(pinging: Site, node: StartNode) -> None:
    other = Site(await node())
    dan = await pinging.driver("Dan", at_work=True)
    async with driver_app(pinging.node.ws_url, dan.id) as app:
        await app.hear("hello")
        await availability(other, dan, "paused")
        notice = await outcome(other, "received", to="driver")
        assert notice["text"] == "Availability set to “paused”: van broke."
    await other.close()


async def test_a_day_without_a_socket_and_it_has_failed(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    await availability(site, dan, "paused")
    pool = site.node.app.state.node.database.pool
    await outcome(site, "pending", to="driver")
    await pool.execute("UPDATE stream_notices SET created_at = created_at - interval '25 hours'")
    failed = await outcome(site, "failed", to="driver")
    assert failed["lastError"] == "no socket of theirs was open for 24 hours"
    assert failed["failedAt"]


async def test_what_is_taken_from_a_driver_is_a_notice_too(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    _, assignment = await site.assignment(dan)
    dora = await site.driver("Dora", at_work=True)
    body = {"reason": "too far", "driverId": dora.id, "mode": "assign"}
    moved = await site.ada.post(f"/admin/assignments/{assignment['id']}/reassign", json=body)
    assert moved.status_code == 200, moved.text
    delivery = moved.json()["delivery"]
    cancelled = await site.alice.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "closed"})
    assert cancelled.status_code == 200, cancelled.text
    notices = [(item["driverId"], item["text"]) for item in reversed(await record(site, to="driver", status="pending"))]
    order = f"Order {delivery['sellerOrderId']} of Pizza Roma"
    assert notices == [
        (dan.id, f"{order} reassigned from this driver: too far."),
        (dora.id, f"{order} assigned: too far."),
        (dora.id, f"{order} cancelled: closed."),
    ]
    page = (await site.vic.get(f"/board/deliveries/{delivery['id']}", headers={"Accept": "text/html"})).text
    assert page.count("not connected: pending") == 3
    assert page.count("customer not notified") == 2, "of the two assignments"


async def test_what_drivers_do_themselves_is_no_notice(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    _, assignment = await site.assignment(dan)
    for call in (f"assignments/{assignment['id']}/pickup", f"assignments/{assignment['id']}/complete"):
        assert (await dan.post(f"/{call}")).status_code == 200
    assert (await dan.post("/availability/pause")).status_code == 200
    kinds = {item["kind"] for item in await record(site, to="driver")}
    assert kinds == {"offer.created"}


async def test_frames_that_wait_for_a_slow_network_have_not_gone_out(site: Site) -> None:
    may = asyncio.Event()
    gone: list[Any] = []

    async def send(message: Any) -> None:
        await may.wait()
        gone.append(message)

    dan = await site.driver("Dan")
    socket = site.node.app.state.node.hub.open(dan.id, send, Pings())
    assert not socket.has_written(0)
    socket.carry_out(socket.session.greeted(0))
    assert socket.has_written(0)
    socket.deliver(1, "{}")
    assert not socket.has_written(1)
    may.set()
    await asyncio.wait_for(asyncio.shield(socket._flusher), PATIENCE)
    assert socket.has_written(1)
    assert not socket.has_written(2)
    socket.gone()
    assert not socket.has_written(1)
    site.node.app.state.node.hub.ended(socket)


async def test_a_ping_of_another_socket_proves_nothing(site: Site) -> None:
    """Nor does one that went out before `hello`, on this one."""

    async def send(_: Any) -> None: ...

    node = site.node.app.state.node
    loop = asyncio.get_running_loop()
    receipts = Receipts(node.database.pool, node.hub)
    dan = await site.driver("Dan", at_work=True)
    await availability(site, dan, "paused")
    seq = await site.node.change(
        "UPDATE drivers SET session_node = $2, session_id = $3 WHERE id = $1 RETURNING stream_seq",
        dan.id, node.node_id, new_id(),
    )  # fmt: skip
    first = node.hub.open(dan.id, send, Pings())
    first.session.greeted(seq)
    await receipts._look()
    assert [shown["status"] for shown in await record(site, to="driver")] == ["sent"]
    second = node.hub.open(dan.id, send, Pings())
    second.pings.answered_sent_at = loop.time()
    second.session.greeted(seq)
    await receipts._look()
    assert [shown["status"] for shown in await record(site, to="driver")] == ["sent"]
    second.pings.answered_sent_at = loop.time()
    await receipts._look()
    assert [shown["status"] for shown in await record(site, to="driver")] == ["received"]
    for socket in (first, second):
        node.hub.ended(socket)


def test_only_the_pong_of_the_ping_answers_it() -> None:
    socket = BoundedWebSocket.__new__(BoundedWebSocket)
    socket.disconnected, socket.pong_timer = False, None
    socket.loop = SimpleNamespace(time=lambda: 7.0)  # type: ignore[assignment]
    socket._tokens, socket._refilled_at, socket._pings = 10.0, 7.0, Pings()
    socket.pending_ping_payload, socket.ping_sent_at = b"this", 5.0
    for payload, answered in ((b"that", -math.inf), (b"this", 5.0)):
        socket.handle_pong(SimpleNamespace(data=payload))
        assert socket._pings.answered_sent_at == answered
    socket.ping_sent_at = 6.0
    socket.handle_pong(SimpleNamespace(data=b"this"))
    assert socket._pings.answered_sent_at == 5.0
