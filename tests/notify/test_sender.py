"""Calls on the wire: connections that are kept, that the other side closes, and answers that are no HTTP."""

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator

import pytest

from server.notify.sender import Sender, _line, _retry_after
from tests.receiver import Receiver
from tests.waiting import until


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    sender = Sender(allow_private=True)
    yield sender
    await sender.close()


async def answering(sender: Sender, answer: bytes) -> tuple[int | None, str | None]:
    """What becomes of a call that is answered by these bytes and the end of the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    result = await sender.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"", {})
    server.close()
    return result.status, result.error


async def test_one_call_after_another_goes_over_the_same_connection(sender: Sender, receiver: Receiver) -> None:
    for _ in range(5):
        assert (await sender.post(receiver.url, b"{}", {"a": "b"})).status == 200
    assert receiver.connections == 1
    assert receiver.heard[4].headers == {
        "host": f"127.0.0.1:{receiver.port}", "accept": "*/*", "a": "b", "user-agent": "Callboard/1",
        "content-length": "2",
    }  # fmt: skip


async def test_a_connection_that_was_closed_meanwhile_costs_no_call(sender: Sender, receiver: Receiver) -> None:
    assert (await sender.post(receiver.url, b"1", {})).status == 200
    await receiver.stop()
    await receiver.start()
    assert (await sender.post(receiver.url, b"2", {})).status == 200
    assert [heard.body for heard in receiver.heard] == [b"1", b"2"]
    await until(lambda: receiver.connections == 2)


async def test_an_answer_may_end_with_the_connection_and_others_may_come_before_it(sender: Sender) -> None:
    assert await answering(sender, b"HTTP/1.1 200 OK\r\n\r\nall of it") == (200, None)
    assert await answering(sender, b"HTTP/1.1 404 No\r\n\r\nnot\nhere") == (404, "answered 404: not here")
    assert await answering(sender, b"HTTP/1.1 103 Hints\r\na: b\r\n\r\nHTTP/1.1 204 Done\r\n\r\n") == (204, None)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000]
)
async def test_what_is_no_answer_is_none(sender: Sender, answer: bytes) -> None:
    status, error = await answering(sender, answer)
    assert status is None
    assert error


async def test_a_header_cannot_begin_another(sender: Sender, receiver: Receiver) -> None:
    result = await sender.post(receiver.url, b"", {"a": "b\r\nc: d"})
    assert (result.status, receiver.heard) == (None, [])


def test_an_error_of_the_system_is_a_plain_name() -> None:
    assert (
        _line(ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 37851)"))
        == "connection refused"
    )
    assert _line(ssl.SSLError(1, "[SSL] wrong version number")).endswith("wrong version number")
    assert _line(TimeoutError()) == "TimeoutError"
    assert _line(ValueError("a\x00 b\n c")) == "a\ufffd b c"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"120", 120.0),
        (b"86400", 3600.0),
        (b"Sat, 21 Oct 2090 07:28:00 GMT", 3600.0),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", None),
        (b"-1", None),
        (b"nan", None),
        (b"soon", None),
        (b"", None),
    ],
)
def test_a_receiver_asks_for_seconds_or_until_a_date_at_most_for_an_hour(header: bytes, seconds: float | None) -> None:
    assert _retry_after(header) == seconds
