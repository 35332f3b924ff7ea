"""A socket's handler ends with its socket, in whatever order both sides close."""

import asyncio
from typing import Any

from server.sockets.pings import Pings
from server.sockets.session import RESTARTING, SUPERSEDED
from tests.conftest import StartNode
from tests.driver_app import token
from tests.sockets.test_live_sockets import a_driver
from tests.waiting import until


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

    scope: dict[str, Any] = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/ws/driver",
        "raw_path": b"/ws/driver",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {token('driver', dan)}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", here.port),
        "subprotocols": [],
        "state": {},
        "extensions": {},
    }
    to_read.put_nowait({"type": "websocket.connect"})
    handler = asyncio.create_task(here.app(scope, to_read.get, send))  # type: ignore[arg-type]
    async with asyncio.timeout(60):
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
