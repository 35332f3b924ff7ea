"""Whatever comes in over a driver's socket: the node lives, the driver's stream has no gap, and nothing is left behind.

Messages are made from the types of the contract, right and nearly right; frames are made by hand, below any library.
"""

import asyncio
import json
import logging
import math
import secrets
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from server.contract import messages as m
from server.dispatch.model import Actor
from server.ids import new_id
from server.process import connection_limits
from server.sockets.session import (
    BURST,
    MALFORMED_LIMIT,
    Close,
    Execute,
    PositionReported,
    Send,
    Session,
)
from tests.abuse.conftest import THOROUGHNESS, Wire, request, wire
from tests.builders import DAN
from tests.conftest import Node
from tests.driver_app import DriverApp, driver_app, token
from tests.waiting import PATIENCE, until
from tests.web.conftest import Site

SEED = 20_260_201
TAGS = [kind.__struct_config__.tag for kind in get_args(m.FromDriver)]

# Messages


def fields_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The fields of a message by their names on the wire: the type, and whether it must be there."""
    return {f.encode_name: (f.type, f.required) for f in msgspec.structs.fields(kind)}


WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(),
    st.sampled_from([0, -1, 90.0000001, -180.5, 1e308, -0.0, 5.0, 4, 121, 10**400]),
    st.text(max_size=80),
    st.sampled_from(
        ["", "\x00", "a\x00b", "\ud800", "💥" * 40, "x" * 40_000, "2026-02-30T00:00:00Z", "now", "-0001-01-01"]
    ),
    st.sampled_from([[], {}, [[]], {"id": {}}, [None] * 50]),
    st.recursive(st.none(), lambda inner: st.lists(inner, max_size=2), max_leaves=20),
)


def right(kind: Any) -> st.SearchStrategy[Any]:
    """A value that this type takes."""
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        required: dict[str, st.SearchStrategy[Any]] = {}
        optional: dict[str, st.SearchStrategy[Any]] = {}
        for name, (type_, needed) in fields_of(kind).items():
            (required if needed else optional)[name] = right(type_)
        return st.fixed_dictionaries(required, optional=optional)
    if get_args(kind) and not hasattr(kind, "__metadata__"):
        return st.one_of([right(part) for part in get_args(kind)])
    if kind is type(None):
        return st.none()
    if kind is bool:
        return st.booleans()
    bounds_: Any = kind.__metadata__[0] if hasattr(kind, "__metadata__") else msgspec.Meta()
    base = kind.__origin__ if hasattr(kind, "__metadata__") else kind
    if base is float:
        return st.floats(bounds_.ge, bounds_.le)
    if base is int:
        return st.integers(bounds_.ge, bounds_.le)
    assert base is str, kind
    return st.one_of(
        st.text(max_size=bounds_.max_length),
        st.sampled_from([one for one in (new_id(), "2026-02-01T10:00:00Z", "1") if len(one) <= bounds_.max_length]),
    )


@st.composite
def messages(draw: st.DrawFn) -> str:
    """The text of a frame: a message of the contract, often with something wrong about it."""
    kind = draw(st.sampled_from(get_args(m.FromDriver)))
    message: dict[str, Any] = {"type": kind.__struct_config__.tag}
    for name, (type_, required) in fields_of(kind).items():
        if required or draw(st.booleans()):
            message[name] = draw(right(type_))
    match draw(st.integers(0, 9)):
        case 0:
            message[draw(st.sampled_from([*message, "id", "driverId", "seq", "__proto__", ""]))] = draw(WRONG)
        case 1:
            message.pop(draw(st.sampled_from(list(message))))
        case 2:
            message["type"] = draw(st.one_of(st.sampled_from([*TAGS, "hello", "offer", "ACCEPT", "accept "]), WRONG))
        case 3:
            return json.dumps([message])
        case 4:
            nested = "[" * draw(st.sampled_from([5, 500, 5_000, 60_000]))
            return json.dumps(message)[:-1] + f', "deep": {nested}'
    text = json.dumps(message, ensure_ascii=draw(st.booleans()))
    match draw(st.integers(0, 9)):
        case 0:
            return text[: draw(st.integers(0, len(text)))]
        case 1:
            return text[:-1] + f', "type": {json.dumps(message.get("type"))}}}'
        case 2:
            return draw(st.sampled_from(["\ufeff", " ", "\n\t", "\x00", ")]}',\n", "/**/"])) + text
        case 3:
            return text + draw(st.sampled_from([" ", "\x00", "{}", ",", text]))
        case 4:
            return draw(st.text(max_size=200))
    return text


WALL = datetime(2026, 2, 1, tzinfo=UTC)
THOROUGH = settings(
    max_examples=150 * THOROUGHNESS,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


@seed(SEED)
@THOROUGH
@given(st.lists(messages(), min_size=1, max_size=12))
def test_the_session_has_a_verdict_on_every_text(texts: list[str]) -> None:
    """One answer, one command or one close for each frame; with an `id` that can be read, the answer carries it."""
    session = Session(DAN, Actor("driver", DAN), new_id, 0.0)
    wrong_in_a_row = 0
    for at, text in enumerate(texts):
        effects = session.frame(text, float(at), lambda: WALL)
        assert effects
        errors = [json.loads(e.text) for e in effects if isinstance(e, Send) and '"error"' in e.text[:20]]
        wrong_in_a_row = wrong_in_a_row + 1 if errors and errors[0]["code"] == "invalid" else 0
        for effect in effects:
            assert isinstance(effect, Send | Execute | PositionReported | Close)
            if isinstance(effect, PositionReported):
                assert all(math.isfinite(number) for number in (effect.lat, effect.lon))
            if isinstance(effect, Send):
                effect.text.encode()
                assert json.loads(effect.text)["type"] in ("ack", "error", "pong")
            if isinstance(effect, Close):
                assert wrong_in_a_row == MALFORMED_LIMIT
        if any(isinstance(effect, Close) for effect in effects):
            return


# On a real socket


@asynccontextmanager
async def watched(site: Site, caplog: pytest.LogCaptureFixture) -> AsyncIterator[str]:
    """A driver of a node that is well afterwards: alive, the stream gap-free, no task, no socket, no error logged."""
    caplog.set_level(logging.WARNING)
    dan = await site.driver(at_work=True)
    state, hub = site.node.server.server_state, site.node.app.state.node.hub
    await until(lambda: not state.tasks)
    before = {task.get_name() for task in asyncio.all_tasks()}
    yield dan.id
    async with driver_app(site.node.ws_url, dan.id, last_seq=0) as app:
        await whole(app)
    await until(lambda: not hub.sockets and not hub._partings, within=PATIENCE)
    await until(lambda: not state.tasks, within=PATIENCE)
    for client in site.clients:
        await client.aclose()
    await until(lambda: not state.connections, within=PATIENCE)
    named = {task.get_name() for task in asyncio.all_tasks()} - before
    assert {name for name in named if not name.startswith("Task-")} == set()
    bugs = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert not bugs, bugs


async def whole(app: DriverApp) -> None:
    """The stream from its beginning has every number, and the socket answers."""
    hello = await app.hear("hello")
    if not hello["resync"]:
        assert [message["seq"] for message in hello["missed"]] == list(range(1, hello["seq"] + 1))
    assert (await app.ask("ping"))["type"] == "pong"
    seqs = [message["seq"] for message in app.streamed()]
    assert seqs == list(range(hello["seq"] + 1, hello["seq"] + 1 + len(seqs)))


@pytest.mark.timeout(300)
async def test_a_node_outlives_whatever_drivers_say(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Hundreds of frames, an offer open meanwhile; the same socket as long as it is left open, then another."""
    texts: list[str] = []

    @seed(SEED + 1)
    @settings(THOROUGH, max_examples=300 * THOROUGHNESS)
    @given(messages())
    def collect(text: str) -> None:
        texts.append(text)

    collect()
    async with watched(site, caplog) as dan:
        await site.delivery()
        remaining = list(texts)
        closed: list[int | None] = []
        while remaining:
            async with driver_app(site.node.ws_url, dan, last_seq=0, max_bytes=None) as app:
                await app.hear("hello")
                for _ in range(int(BURST) - 5):
                    if remaining and app.closed is None:
                        text = remaining.pop()
                        payload = text.encode("utf-8", "surrogatepass")
                        await _say(app, payload)
                await _say(app, b'{"type":"ping"}')
                await app.close()
                closed.append(app.closed)
                _gap_free(app)
        assert set(closed) <= {1000, 1007, 1009, 4104}
    assert site.node.server.started


async def _say(app: DriverApp, payload: bytes) -> None:
    try:
        app.send_raw(payload)
    except ConnectionError:
        await app.until_closed()


def _gap_free(app: DriverApp) -> None:
    hello = app.heard[0]
    seqs = [message["seq"] for message in app.streamed()]
    assert seqs == list(range(hello["seq"] + 1, hello["seq"] + 1 + len(seqs)))


async def test_an_id_gets_exactly_one_answer_however_odd_it_is(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    ids = [
        "",
        " ",
        "x" * 64,
        "💥" * 16,
        '"',
        "\\",
        "\u2028",
        "</script>",
        "{{7*7}}",
        "\x7f",
        "null",
        "0",
        "\u202e",
        "a\nb",
    ]
    async with watched(site, caplog) as dan, driver_app(site.node.ws_url, dan) as app:
        await app.hear("hello")
        for one in ids:
            app.send("location", id=one, lat=1, lon=1)
            app.send("accept", id=one + "", offerId="nothing")
        await app.ask("ping")
        for one in ids:
            answers = [message["type"] for message in app.heard if message.get("id") == one]
            assert answers == ["ack", "error"], (one, answers)
        app.send("ping", id="x" * 65)
        refused = await app.hear(lambda message: message.get("code") == "invalid")
        assert "id" not in refused


# Frames by hand

OPENING = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version: 13",
)


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bool = True) -> bytes:
    """A client's frame, as right or wrong as asked."""
    head = bytes([fin << 7 | reserved << 4 | opcode])
    size = len(payload)
    flag = mask << 7
    if size < 126:
        head += bytes([flag | size])
    elif size < 65_536:
        head += struct.pack("!BH", flag | 126, size)
    else:
        head += struct.pack("!BQ", flag | 127, size)
    if not mask:
        return head + payload
    key = secrets.token_bytes(4)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


class RawSocket(Wire):
    """A driver's websocket, below any library, once `hello` was heard."""

    async def next_frame(self) -> tuple[int, bytes]:
        """The server's next frame: opcode and payload."""
        first, second = await self.reader.readexactly(2)
        size = second & 127
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 15, await self.reader.readexactly(size)

    async def close_code(self) -> int | None:
        """The code in the server's close frame; None if the connection ended without one."""
        async with asyncio.timeout(PATIENCE):
            try:
                while True:
                    opcode, payload = await self.next_frame()
                    if opcode == 8:
                        await self.send(frame(8, payload))
                        return int(struct.unpack("!H", payload[:2])[0]) if payload else 1005
            except (asyncio.IncompleteReadError, ConnectionError):
                return None


@asynccontextmanager
async def raw_socket(node: Node, driver_id: str) -> AsyncIterator[RawSocket]:
    async with wire(node) as connection:
        await connection.send(
            request("GET /ws/driver", *OPENING, f"Authorization: Bearer {token('driver', driver_id)}")
        )
        assert b" 101 " in await connection.reader.readuntil(b"\r\n\r\n")
        raw = RawSocket(connection.reader, connection.writer)
        opcode, hello = await raw.next_frame()
        assert (opcode, json.loads(hello)["type"]) == (1, "hello")
        yield raw


PING = b'{"type":"ping"}'
LAWLESS: dict[str, tuple[bytes, set[int | None]]] = {
    "an opcode that is kept for later": (frame(3, PING), {1002}),
    "another": (frame(11), {1002}),
    "a reserved bit": (frame(1, PING, reserved=4), {1002}),
    "all reserved bits": (frame(1, PING, reserved=7), {1002}),
    "no mask": (frame(1, PING, mask=False), {1002}),
    "a ping in pieces": (frame(9, b"x", fin=False), {1002}),
    "a long ping": (frame(9, b"x" * 126), {1002}),
    "a continuation of nothing": (frame(0, PING), {1002}),
    "a message within a message": (frame(1, b"{", fin=False) + frame(1, PING), {1002}),
    "a length that is negative": (b"\x81\xff" + b"\xff" * 8 + b"aaaa", {1002, 1009}),
    "a length of terabytes": (b"\x81\xff" + struct.pack("!Q", 2**42) + b"aaaa", {1009}),
    "one byte too many": (frame(1, b"x" * 65_537), {1009}),
    "one byte too many, in pieces": (frame(1, b"x" * 65_000, fin=False) + frame(0, b"x" * 600), {1009}),
    "no UTF-8": (frame(1, b"\xff\xfe"), {1007}),
    "no UTF-8, in pieces": (frame(1, b"\xc3", fin=False) + frame(0, b"("), {1007}),
    "half a character": (frame(1, "\ud800".encode("utf-8", "surrogatepass")), {1007}),
    "a close without a code": (frame(8), {1005, None}),
    "a close of one byte": (frame(8, b"\x03"), {1002}),
    "a close of a code that is no code": (frame(8, struct.pack("!H", 999)), {1002}),
    "a close of a code that nobody sends": (frame(8, struct.pack("!H", 1006)), {1002}),
    "a close whose reason is no UTF-8": (frame(8, struct.pack("!H", 1000) + b"\xff"), {1002, 1007}),
    "nothing but rubbish": (secrets.token_bytes(4096), {1002, 1007, 1009, 1000, None}),
    "HTTP": (request("GET /health/live") * 20, {1002, 1009}),
    "ten binary messages": (frame(2, b"\x00") * 10, {4104}),
    "ten empty messages": (frame(1) * 10, {4104}),
    "a flood of pings": (frame(9, b"x" * 100) * 2_000, {4202, None}),
    "a flood of pongs": (frame(10, b"x") * 2_000, {4202, None}),
    "a message of nothing without an end": (frame(1, fin=False) + frame(0, fin=False) * 2_000, {4202, None}),
    "a message of single bytes": (frame(1, b"x", fin=False) + frame(0, b"x", fin=False) * 5_000, {4202, None}),
}


@pytest.mark.timeout(300)
async def test_a_frame_against_the_law_ends_the_socket_and_nothing_else(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(site, caplog) as dan:
        for name, (sent, codes) in LAWLESS.items():
            async with raw_socket(site.node, dan) as socket:
                await socket.send(sent)
                code = await socket.close_code()
                assert code in codes, (name, code)
                await socket.ended()
    counted = connection_limits.REFUSED.labels("frames")._value.get()
    assert counted >= 4


async def test_a_message_may_come_in_pieces_with_pings_between_them(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Slowly, byte by byte, each byte in a separate frame: within the bounds all of that is lawful."""
    async with watched(site, caplog) as dan, raw_socket(site.node, dan) as socket:
        for at, byte in enumerate(b'{"type":"ping","id":"drip"}'):
            sent = frame(0 if at else 1, bytes([byte]), fin=False) + frame(9, b"hm")
            for piece in sent:
                await socket.send(bytes([piece]))
                await asyncio.sleep(0)
            assert await socket.next_frame() == (10, b"hm")
        await socket.send(frame(0))
        opcode, pong = await socket.next_frame()
        assert (opcode, json.loads(pong)["id"]) == (1, "drip")


async def test_who_is_sent_to_while_their_socket_fails_is_no_bug(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The frame that breaks the law and the news of a commit, in the same turn of the loop."""
    async with watched(site, caplog) as dan, raw_socket(site.node, dan) as socket:
        there = site.node.app.state.node.hub.sockets[dan]
        protocol: Any = next(one for one in site.node.server.server_state.connections if hasattr(one, "close_sent"))
        protocol.data_received(frame(3))
        assert protocol.close_sent
        there.send('{"type":"pong"}')
        assert await socket.close_code() == 1002


RUBBISH = {
    "a field too long": (*OPENING, f"X: {'a' * 9_000}"),
    "too many subprotocols": (*OPENING, f"Sec-WebSocket-Protocol: {', '.join(f'p{n}' for n in range(1_500))}"),
    "a subprotocol that is none": (*OPENING, "Sec-WebSocket-Protocol: callboard.v1,\xff"),
    "no key": OPENING[:2] + OPENING[3:],
    "two keys": (*OPENING, OPENING[2]),
    "a short key": (*OPENING[:2], "Sec-WebSocket-Key: AAAA", OPENING[3]),
    "another version": (*OPENING[:3], "Sec-WebSocket-Version: 99"),
    "no version": OPENING[:3],
    "another protocol": ("Upgrade: h2c", "Connection: Upgrade", "HTTP2-Settings: AAAA"),
    "many fields": (*OPENING, *(f"X-{n}: a" for n in range(200))),
}


async def test_a_handshake_that_is_none_is_answered_and_over(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with watched(site, caplog) as dan:
        here = f"Authorization: Bearer {token('driver', dan)}"
        sent = {name: request("GET /ws/driver", here, *headers) for name, headers in RUBBISH.items()}
        sent["POST"] = request("POST /ws/driver", here, *OPENING, "Content-Length: 2", body=b"{}")
        sent["a body"] = request("GET /ws/driver", here, *OPENING, "Content-Length: 2", body=b"{}")
        sent["another address"] = request("GET /board", here, *OPENING)
        sent["no address"] = request("GET /nowhere/%00%ff", here, *OPENING)
        for name, start in sent.items():
            async with wire(site.node) as connection:
                await connection.send(start)
                answer = await connection.answer()
                assert 400 <= answer.status < 500, (name, answer)
                await connection.send(b"\r\n")
                if name != "another protocol":
                    assert b"HTTP/1.1 2" not in await connection.ended(), name


ODD_LAST_SEQ = ("", "-1", "0", "9" * 18, "9" * 30, "1e3", "NaN", "٣", "%00", "%ff", "0x10", "1&lastSeq=2", "[]")


async def test_an_unknown_last_seq_causes_a_resync(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with watched(site, caplog) as dan:
        for odd in ODD_LAST_SEQ:
            path = f"GET /ws/driver?lastSeq={odd}".encode().decode("latin-1")
            async with wire(site.node) as connection:
                await connection.send(request(path, *OPENING, f"Authorization: Bearer {token('driver', dan)}"))
                head = await connection.reader.readuntil(b"\r\n\r\n")
                if not odd.isascii():
                    assert b" 400 " in head, odd
                    continue
                opcode, hello = await RawSocket(connection.reader, connection.writer).next_frame()
                body = json.loads(hello)
                assert (opcode, body["type"]) == (1, "hello"), odd
                assert body["resync"] or len(body["missed"]) == body["seq"] - int(odd.split("=")[-1] or 0), odd
