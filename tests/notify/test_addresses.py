"""No call leads to this machine or into a private network, by whatever name, unless the settings allow it."""

import asyncio
import re
from typing import Any

import msgspec
import pytest

from server.notify import addresses
from server.notify.addresses import is_public, mistake_in
from server.notify.sender import Sender
from server.web.api.schemas import WebhookUrl
from tests.conftest import StartNode
from tests.notify.conftest import log_of
from tests.receiver import Receiver
from tests.waiting import until
from tests.web.conftest import Check, Site

PRIVATE = (
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12:3456::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "::ffff:169.254.169.254",
    "2001:0:7f00:1::",
    "3fff::1",
    "fec0::1",
    "100.100.100.200",
    "168.63.129.16",
    "::ffff:168.63.129.16",
    "192.0.0.1",
    "192.88.99.1",
)
PUBLIC = ("1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1")


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/hooks",
        "https://[::1]/hooks",
        "https://[::ffff:10.0.0.1]/hooks",
        "http://localhost/",
        "http://LOCALHOST.:8080/",
        "http://shop.localhost/",
        "http://10.0.0.1:8080/",
    ],
)
def test_what_is_plainly_private_is_refused_at_once(url: str) -> None:
    assert mistake_in(url, allow_private=False) == "must not point to a private address"
    assert mistake_in(url, allow_private=True) is None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://shop.example/",
        "file:///etc/passwd",
        "https://",
        "https:///hooks",
        "shop.example/hooks",
        "https://user:secret@shop.example/",
        "https://user@shop.example/",
        "https://shop.example/#part",
        "https://shop.example/#",
        "https://shop.example#code=1",
        "https://shop.example/\x7f",
        "https://shop.example:99999/",
        "https://shop.example:0/",
        "https://shop.example/a b",
        "https://[::1",
        "javascript:alert(1)",
    ],
)
@pytest.mark.parametrize("allow_private", [True, False])
def test_what_is_no_address_to_call(url: str, allow_private: bool) -> None:
    assert mistake_in(url, allow_private=allow_private) is not None


def test_an_ordinary_address() -> None:
    assert mistake_in("https://shop.example:8443/hooks?key=1", allow_private=False) is None


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://shop.example:8443/hooks?key=1", True),
        ("https://shop.example/#part", False),
        ("https://shop.example/#", False),
        ("https://shop.example#code=1", False),
        ("https://shop.example?key=1#part", False),
    ],
)
def test_the_schema_refuses_a_fragment_as_the_server_does(url: str, accepted: bool) -> None:
    pattern = msgspec.json.schema(WebhookUrl)["pattern"]
    assert (re.search(pattern, url) is not None) is accepted
    assert (mistake_in(url, allow_private=True) is None) is accepted


WAYS_OF_WRITING_THIS_MACHINE = (
    "127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1",
    "0177.0.0.1", "017700000001", "0", "0.0.0.0", "127.0.0.1.", "①②⑦.0.0.1", "127。0。0。1", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]",
    "%31%32%37.0.0.1", "127.0.0.1%00.example", "user@127.0.0.1", "127.0.0.1#@shop.example",
)  # fmt: skip


@pytest.mark.parametrize("host", WAYS_OF_WRITING_THIS_MACHINE)
async def test_no_way_of_writing_this_machine_gets_through(receiver: Receiver, host: str) -> None:
    sender = Sender(allow_private=False)
    result = await sender.post(f"http://{host}:{receiver.port}/hooks", b"{}", {})
    assert result.status is None
    assert result.outcome in ("not_allowed", "unreachable")
    assert receiver.heard == []
    await sender.close()


async def test_a_redirect_is_an_answer_and_not_a_way(receiver: Receiver) -> None:
    """Else a public address could send the call on to a private one, after all was checked."""
    receiver.headers = {"location": f"http://127.0.0.1:{receiver.port}/elsewhere"}
    sender = Sender(allow_private=True)
    for status in (301, 302, 303, 307, 308):
        receiver.answers = [status]
        result = await sender.post(receiver.url, b"{}", {})
        assert (result.status, result.outcome) == (status, "refused")
    assert {heard.path for heard in receiver.heard} == {"/hooks"}
    await sender.close()


async def test_no_proxy_of_the_environment_makes_the_calls(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would resolve the names again, and may be in the private network."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, receiver.url)
    sender = Sender(allow_private=False)
    assert (await sender.post("http://127.0.0.1:1/hooks", b"{}", {})).outcome == "not_allowed"
    assert receiver.heard == []
    await sender.close()


async def test_a_name_that_leads_elsewhere_a_moment_later_is_asked_and_checked_again(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding between two calls: every connection is checked, whatever was found good before."""
    answers = [["127.0.0.1"], ["127.0.0.1"]]

    async def resolve(host: str, port: int) -> list[str]:
        return answers.pop(0)

    monkeypatch.setattr(addresses, "_resolve", resolve)
    good = {"127.0.0.1"}
    monkeypatch.setattr(addresses, "is_public", lambda address: address in good)
    sender = Sender(allow_private=False)
    receiver.headers = {"connection": "close"}
    url = f"http://rebind.example:{receiver.port}/hooks"
    assert (await sender.post(url, b"{}", {})).status == 200
    good.clear()
    assert (await sender.post(url, b"{}", {})).outcome == "not_allowed"
    assert len(receiver.heard) == 1
    await sender.close()


async def test_it_is_the_address_that_counts_not_the_name(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of the open internet whose address is this machine's; and one with both kinds."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr(addresses, "_resolve", resolve)
    sender = Sender(allow_private=False)
    result = await sender.post(f"http://rebind.example:{receiver.port}/hooks", b"{}", {})
    assert (result.outcome, result.error) == ("not_allowed", addresses.NOT_ALLOWED)
    assert receiver.heard == []
    assert asked == ["rebind.example"], "asked once: a second answer could differ"
    await sender.close()


async def test_the_connection_goes_to_the_address_that_was_checked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["10.0.0.1", "127.0.0.1"]

    monkeypatch.setattr(addresses, "_resolve", resolve)
    monkeypatch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
    sender = Sender(allow_private=False)
    result = await sender.post(f"http://shop.example:{receiver.port}/hooks", b"{}", {"webhook-id": "1"})
    assert (result.status, result.error) == (200, None)
    assert receiver.heard[0].headers["host"] == f"shop.example:{receiver.port}"
    await sender.close()


async def test_a_name_that_takes_long_to_resolve_is_asked_for_once(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answer = asyncio.Event()

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        await answer.wait()
        return ["127.0.0.1"]

    monkeypatch.setattr(addresses, "_resolve", resolve)
    sender = Sender(allow_private=True)
    url = f"http://slow.example:{receiver.port}/hooks"
    calls = [asyncio.create_task(sender.post(url, b"{}", {})) for _ in range(5)]
    await until(lambda: bool(asked))
    calls[0].cancel()
    answer.set()
    assert [(await call).status for call in calls[1:]] == [200] * 4
    assert asked == ["slow.example"]
    await sender.close()


async def test_a_name_that_nobody_knows(receiver: Receiver) -> None:
    for allow_private in (True, False):
        sender = Sender(allow_private=allow_private)
        result = await sender.post("http://nobody.invalid/hooks", b"{}", {})
        assert (result.outcome, result.status) == ("unreachable", None)
        assert result.error
        await sender.close()


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                await writer.drain()
        except OSError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    sender = Sender(allow_private=True)
    result = await sender.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", b"{}", {})
    assert result.status == 500
    assert result.error is not None
    assert len(result.error) < 600
    await sender.close()
    server.close()
    await server.wait_closed()


async def test_a_node_that_may_not_call_this_machine_does_not(
    node: StartNode, receiver: Receiver, problem: Check
) -> None:
    site = Site(await node())
    refused = await site.ada.post("/admin/webhooks", json={"url": receiver.url})
    error = problem(refused, 422, "invalid")
    assert error["errors"] == [{"field": "url", "message": "must not point to a private address"}]
    # It was added while that was allowed.
    pool: Any = site.node.app.state.node.database.pool
    webhook = await site.ada.post("/admin/webhooks", json={"url": "https://shop.example/hooks"})
    await pool.execute("UPDATE webhooks SET url = $1", receiver.url)
    await site.delivery()

    async def tried() -> Any:
        return [message for message in await log_of(site, webhook.json()) if message["log"]]

    ((message),) = await until(tried)
    assert message["lastError"] == addresses.NOT_ALLOWED
    assert receiver.heard == []
    await site.close()


async def test_an_address_that_does_not_answer_is_passed_over(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["10.0.0.1", "127.0.0.1"]

    async def connect(protocol: Any, address: str, *arguments: Any, **options: Any) -> Any:
        if address == "10.0.0.1":
            await asyncio.Event().wait()
        return await really(protocol, address, *arguments, **options)

    loop = asyncio.get_running_loop()
    really = loop.create_connection
    monkeypatch.setattr(loop, "create_connection", connect)
    monkeypatch.setattr(addresses, "_resolve", resolve)
    monkeypatch.setattr(addresses, "ADDRESS_SECONDS", 0.01)
    sender = Sender(allow_private=True)
    result = await sender.post(f"http://shop.example:{receiver.port}/hooks", b"{}", {"webhook-id": "1"})
    assert (result.status, result.error) == (200, None)
    await sender.close()
