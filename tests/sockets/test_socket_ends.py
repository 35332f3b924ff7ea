"""A socket's handler ends with its socket, in whatever order both sides close."""

import asyncio
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from server.dispatch.commands import DisconnectDriver
from server.dispatch.policy import DEFAULT_POLICY
from server.dispatch.refusals import INTERNAL_ERROR, TRY_AGAIN
from server.ids import new_id
from server.sockets import revocations
from server.sockets.deadline_pings import DeadlinePings
from server.sockets.pings import Pings
from server.sockets.session import RESTARTING, SUPERSEDED
from server.store.query import DatabaseAway
from server.store.reads.ending_offers import EndingOffer
from server.web.access.tokens import holder_of
from server.web.driver_socket import _read
from tests.conftest import Node, StartNode
from tests.driver_app import DriverApp, driver_app, token
from tests.sockets.test_live_sockets import a_driver, until_driver
from tests.waiting import PATIENCE, until


def scope_of(here: Node, driver_id: str) -> Any:
    return {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/ws/driver",
        "raw_path": b"/ws/driver",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {token('driver', driver_id)}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", here.port),
        "subprotocols": [],
        "state": {},
        "extensions": {},
    }


async def test_the_handler_ends_when_both_sides_close_at_once(node: StartNode) -> None:
    """The network says once that the client is gone; the hub closes the socket before the handler has heard it."""
    here = await node()
    dan = await a_driver(here)
    hub = here.app.state.node.hub
    heard: list[dict[str, Any]] = []
    to_read: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    greeted = asyncio.Event()
    gone = False

    async def send(message: dict[str, Any]) -> None:
        if gone:
            raise OSError("the client is gone")
        heard.append(message)
        if message["type"] == "websocket.send":
            greeted.set()

    to_read.put_nowait({"type": "websocket.connect"})
    handler = asyncio.create_task(here.app(scope_of(here, dan), to_read.get, send))  # type: ignore[arg-type]
    async with asyncio.timeout(PATIENCE):
        await greeted.wait()
    gone = True
    to_read.put_nowait({"type": "websocket.disconnect", "code": 1006})
    hub.sockets[dan].close(SUPERSEDED)
    await until(handler.done)
    assert dan not in hub.sockets


async def test_who_was_not_greeted_yet_is_closed_without_a_goodbye(node: StartNode) -> None:
    """`hello` is always the first message: a restart in the middle of a handshake says nothing before it."""
    here = await node()
    hub = here.app.state.node.hub
    heard: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        heard.append(message)

    socket = hub.open(await a_driver(here), send, Pings())
    draining = asyncio.create_task(hub.drain())
    await until(lambda: socket.closed is not None)
    hub.ended(socket)
    await until(draining.done)
    assert [(message["type"], message.get("code")) for message in heard] == [("websocket.close", RESTARTING.code)]


async def test_the_end_of_a_session_is_reported_until_it_is_recorded(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after an error that nobody expected: on a live node nobody else reports it."""
    here = await node()
    hub = here.app.state.node.hub
    failures = [INTERNAL_ERROR, TRY_AGAIN, INTERNAL_ERROR]

    async def submit(command: Any) -> Any:
        return failures.pop() if failures and isinstance(command, DisconnectDriver) else await as_it_is(command)

    as_it_is = hub._submit
    monkeypatch.setattr(hub, "_submit", submit)
    dan = await a_driver(here)
    async with driver_app(here.ws_url, dan):
        pass
    await until_driver(here, dan, lambda driver: not driver["connected"])
    assert not failures


async def test_a_frame_that_arrives_after_the_close_is_not_carried_out(node: StartNode) -> None:
    here = (await node()).app.state.node

    async def send(_: dict[str, Any]) -> None:
        pass

    async def receive() -> Any:
        socket.close(SUPERSEDED)
        return {"type": "websocket.receive", "text": '{"type":"end_shift"}'}

    socket = here.hub.open(new_id(), send, Pings())
    assert not await _read(here, socket, receive)
    assert socket.in_flight == 0
    here.hub.ended(socket)


@pytest.mark.parametrize("chosen", [True, False], ids=["chosen", "asks"])
async def test_only_a_device_that_the_driver_chose_takes_from_another_that_came_later(
    node: StartNode, monkeypatch: pytest.MonkeyPatch, chosen: bool
) -> None:
    """The first handshake waits for the database, the other device's does not."""
    here = await node()
    hub = here.app.state.node.hub
    dan = await a_driver(here)
    other, let_in = token("driver", dan, seconds=1800), asyncio.Event()
    may_connect = hub.may_connect

    async def waits(driver_id: str, holder: str) -> bool:
        if holder != holder_of(None, other):
            await let_in.wait()
        return bool(await may_connect(driver_id, holder))

    monkeypatch.setattr(hub, "may_connect", waits)
    first = DriverApp(here.ws_url, token("driver", dan), take_over=chosen)
    await first.open()
    async with driver_app(here.ws_url, dan, bearer=other) as later:
        let_in.set()
        if chosen:
            await first.hear("hello")
            assert await later.until_closed() == SUPERSEDED.code
        else:
            assert await first.until_closed() == SUPERSEDED.code
            assert (await later.ask("ping"))["type"] == "pong"
    await first.close()


async def test_a_late_end_of_an_old_socket_leaves_the_place_of_the_driver(node: StartNode) -> None:
    """A phone whose network was lost connects again long before the network says that the old connection is gone."""
    here = await node()
    dan = await a_driver(here)
    positions, hub = here.app.state.node.positions, here.app.state.node.hub
    to_read: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    to_read.put_nowait({"type": "websocket.connect"})

    async def send(_: dict[str, Any]) -> None:
        pass

    old = asyncio.create_task(here.app(scope_of(here, dan), to_read.get, send))  # type: ignore[arg-type]
    await until(lambda: dan in hub.sockets and hub.sockets[dan].connected)
    async with driver_app(here.ws_url, dan) as second:
        second.send("location", lat=52.52, lon=13.4)
        await until(lambda: positions.where(dan))
        await positions.store()
        to_read.put_nowait({"type": "websocket.disconnect", "code": 1006})
        await until(old.done)
        assert positions.where(dan)


async def test_a_phone_is_asked_before_a_deadline_in_each_of_its_sessions(node: StartNode) -> None:
    asked: list[str] = []

    def socket(session: str) -> Any:
        return SimpleNamespace(
            session_id=session, pings=SimpleNamespace(ask=lambda: asked.append(session), heard_at=inf), closed=None
        )

    hub: Any = SimpleNamespace(sockets={})
    pings = DeadlinePings(None, hub, lambda: DEFAULT_POLICY)  # type: ignore[arg-type]
    for session in ("before", "after"):
        ending = [EndingOffer("offer", "dan", session, 4.0)]
        pings._ask(ending)
        hub.sockets["dan"] = socket(session)
        pings._ask(ending)
        pings._ask(ending)
    assert asked == ["before", "after"]


async def test_uses_of_devices_that_could_not_be_saved_are_saved_later(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    revocations_ = (await node()).app.state.node.revocations
    saved: list[set[str]] = []

    async def save(_: Any, uses: dict[str, Any]) -> None:
        saved.append(set(uses))
        if len(saved) == 1:
            raise DatabaseAway("nobody answers")

    monkeypatch.setattr(revocations, "save_uses", save)
    device_id = new_id()
    revocations_._used.add(device_id)
    with pytest.raises(DatabaseAway):
        await revocations_.store_uses()
    await revocations_.store_uses()
    assert [device_id in uses for uses in saved] == [True, True]


async def test_a_call_that_is_recorded_with_the_drivers_lapse_is_followed_by_another(
    node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = (await node()).app.state.node
    dan = new_id()
    submitted: list[Any] = []

    async def submit(command: Any) -> Any:
        submitted.append(command)
        lapsed: Any = SimpleNamespace(drivers=[SimpleNamespace(id=dan, availability="offline")])
        here._forget_calls(lapsed)
        return None

    monkeypatch.setattr(here.executor, "submit", submit)
    for _ in range(2):
        assert await here.seen(dan) is None
    assert len(submitted) == 2
