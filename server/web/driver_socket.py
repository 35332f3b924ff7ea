"""`/ws/driver`: one driver's websocket as a raw ASGI handler, between the network, the session and the hub.

It never waits for the database without a bound, and reads on while commands are under way.
"""

import asyncio
import time
from functools import partial
from typing import Any, Final, cast
from urllib.parse import parse_qs

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.handlers import asgi
from litestar.types import Receive, Scope, Send
from msgspec import Struct

from server.contract.commit import Answer
from server.contract.views import assignment_view, driver_view, to_json
from server.dispatch.commands import Command, ConnectDriver
from server.dispatch.model import Actor
from server.dispatch.refusals import DRIVER_DEACTIVATED, NOT_FOUND, Refusal
from server.node import Node
from server.sockets.hello import hello
from server.sockets.open_socket import AsgiSend, Socket
from server.sockets.pings import PINGS, Pings
from server.sockets.session import (
    OTHER_DEVICE,
    RESTARTING,
    SUPERSEDED,
    TOKEN_EXPIRED,
    TWO_DEVICES,
    UNAUTHORIZED,
    Answered,
    CloseCode,
    Effects,
    Execute,
    PositionReported,
)
from server.web.access.tokens import authenticate, bearer, holder_of
from server.web.http.caller import Principal
from server.web.http.errors import UPGRADE_REQUIRED, Problem, send_problem

PROTOCOL: Final = "callboard.v1"
BEARER: Final = "bearer."
IN_FLIGHT_LIMIT: Final = 64
"""The limit of commands of one socket in progress; at the limit reading waits, as long as a command may take."""

Message = dict[str, Any]


class Handshake(Struct, frozen=True):
    """What the client brought along: its token, the subprotocol to answer with, where its stream ended, and whether it
    takes over from another device.
    """

    token: str
    subprotocol: str | None
    last_seq: int | None
    takes_over: bool


def read_handshake(scope: Scope) -> Handshake:
    """The token is in `Authorization`, or among the subprotocols. A `lastSeq` that is not a number is ignored.

    With `takeOver=0` the connection is closed if another device of the driver is in use.
    """
    offered = cast("list[str]", scope.get("subprotocols", []))
    token = bearer(scope["headers"])
    if token is None:
        token = next((p.removeprefix(BEARER) for p in offered if p.startswith(BEARER)), "")
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    given = query.get("lastSeq")
    last_seq = None
    if given is not None:
        text = given[-1]
        last_seq = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
    takes_over = query.get("takeOver", [""])[-1] != "0"
    return Handshake(token, PROTOCOL if PROTOCOL in offered else None, last_seq, takes_over)


NO_SOCKET: Final = Problem(UPGRADE_REQUIRED, "This address speaks the websocket protocol.", {"Upgrade": "websocket"})


@asgi("/ws/driver", copy_scope=False)
async def driver_socket(scope: Scope, receive: Receive, send: AsgiSend) -> None:
    """Accept, authenticate, send hello, then read until the end."""
    if scope["type"] != ScopeType.WEBSOCKET:
        await send_problem(cast(Send, send), NO_SOCKET)
        return
    app: Litestar = scope["litestar_app"]
    node: Node = app.state.node
    arrival = node.hub.arrival()
    await receive()
    handshake = read_handshake(scope)
    await send({"type": "websocket.accept", "subprotocol": handshake.subprotocol, "headers": []})
    principal = _checked(node, handshake.token)
    if isinstance(principal, CloseCode):
        await _close(send, principal)
        return
    holder = holder_of(principal.device, handshake.token)
    if not handshake.takes_over and await node.hub.is_in_use_elsewhere(principal.subject, holder):
        await _close(send, OTHER_DEVICE)
        return
    if not await node.hub.may_connect(principal.subject, holder):
        await _close(send, TWO_DEVICES)
        return
    # No await between these checks and `open`: a later revocation finds the socket, and so does a later handshake.
    principal = _checked(node, handshake.token)
    if isinstance(principal, CloseCode):
        await _close(send, principal)
        return
    # A device that the driver has chosen takes over, also from another one that came meanwhile.
    if node.hub.has_newer(principal.subject, holder, arrival, of_any=not handshake.takes_over):
        await _close(send, SUPERSEDED)
        return
    socket = node.hub.open(principal.subject, send, _pings(scope), principal.device, holder, arrival)
    try:
        socket.close_at(asyncio.get_running_loop().time() + principal.expires_at - time.time())
        gone = await _greet(node, socket, handshake.last_seq) and await _read(node, socket, receive)
        while not gone:
            gone = (await receive())["type"] == "websocket.disconnect"
    except asyncio.CancelledError:
        if socket.closed is None:
            raise  # else the hub gave up on a client that does not read its own close
    finally:
        node.hub.ended(socket)
        if socket.driver_id not in node.hub.sockets:
            node.positions.forget(socket.driver_id)


def _checked(node: Node, token: str) -> Principal | CloseCode:
    """The driver with this token, or why not."""
    principal = authenticate(token, node.settings.secrets, node.revocations)
    if principal == "expired":
        return TOKEN_EXPIRED
    if principal == "invalid" or principal.role != "driver":
        return UNAUTHORIZED
    return RESTARTING if node.hub.draining else principal


def _pings(scope: Scope) -> Pings:
    extensions: Any = scope["extensions"] or {}
    return extensions.get(PINGS) or Pings()


async def _close(send: AsgiSend, why: CloseCode) -> None:
    await send({"type": "websocket.close", "code": why.code, "reason": why.reason})


async def _greet(node: Node, socket: Socket, last_seq: int | None) -> bool:
    """Become the driver's current session and send `hello`. Whether there is anything to read from then on."""
    actor = Actor("driver", socket.driver_id)
    command = ConnectDriver(socket.driver_id, socket.session_id, node.node_id, actor, socket.holder)
    answer = await node.executor.submit(command)
    if isinstance(answer, Refusal):
        socket.close(UNAUTHORIZED if answer in (NOT_FOUND, DRIVER_DEACTIVATED) else RESTARTING)
        return False
    snapshot = await node.snapshots.read(socket.driver_id, last_seq)
    if isinstance(snapshot, Refusal):
        socket.close(RESTARTING)
        return False
    if socket.closed is not None:
        return False
    node.positions.learn(snapshot.driver)
    socket.connected = True
    if last_seq is not None and last_seq <= snapshot.seq:
        socket.known_seq = last_seq
    socket.send(to_json(hello(socket.session_id, snapshot)))
    socket.carry_out(socket.session.greeted(snapshot.seq))
    return True


async def _read(node: Node, socket: Socket, receive: Receive) -> bool:
    """Read frames until either side closes the socket. Returns whether the close was seen: if both sides close at once,
    the network reports it only once.
    """
    now = asyncio.get_running_loop().time
    session = socket.session
    while socket.closed is None:
        message = cast(Message, await receive())
        if message["type"] == "websocket.disconnect":
            return True
        text = message.get("text")
        if text is None:
            _carry_out(node, socket, session.binary_frame(now()))
        else:
            _carry_out(node, socket, session.frame(text, now(), node.clock.now))
        if socket.in_flight >= IN_FLIGHT_LIMIT:
            socket.room = asyncio.get_running_loop().create_future()
            await socket.room
    return False


def _carry_out(node: Node, socket: Socket, effects: Effects) -> None:
    if socket.closed is not None:
        return  # while the frame arrived
    for effect in effects:
        if type(effect) is Execute:
            socket.in_flight += 1
            answered = node.executor.submit(effect.command)
            answered.add_done_callback(partial(_answer, socket, effect.command, effect.reply_id))
        elif type(effect) is PositionReported:
            node.positions.moved(
                socket.driver_id,
                effect.lat,
                effect.lon,
                at=effect.at,
                heading=effect.heading,
                speed_kmh=effect.speed_kmh,
                accuracy_m=effect.accuracy_m,
            )
        else:
            socket.carry_out((effect,))


def _answer(socket: Socket, command: Command, reply_id: str | None, future: "asyncio.Future[Answer | Refusal]") -> None:
    socket.in_flight -= 1
    if socket.room is not None and not socket.room.done():
        socket.room.set_result(None)
    answer = future.result()
    if isinstance(answer, Answer):
        if reply_id is None:
            return
        shown = Answered(
            assignment=assignment_view(answer.assignment) if answer.assignment is not None else None,
            driver=driver_view(answer.driver) if answer.driver is not None and answer.assignment is None else None,
        )
        socket.carry_out(socket.session.answered(command, reply_id, shown))
    else:
        socket.carry_out(socket.session.answered(command, reply_id, answer))
