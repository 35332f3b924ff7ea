"""A receiver of webhooks on a real socket, that can be slow, wrong, gone and back; and short words for these tests."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from standardwebhooks import Webhook

from server.notify import outbox
from tests.conftest import StartNode
from tests.waiting import until
from tests.web.conftest import Site, problem

__all__ = ["problem"]


class Heard:
    """One request as it came over the wire."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.body = body
        self.message: dict[str, Any] = json.loads(body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified_by(self, secret: str) -> bool:
        """Whether the signature is good, as a receiver's library sees it."""
        try:
            Webhook(secret).verify(self.body, self.headers)
        except Exception:
            return False
        return True


class Receiver:
    """Answers 200 unless told otherwise. `answers` are used up first, one a request; `hold` keeps requests waiting."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[int] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.hold: asyncio.Event | None = None
        self.waiting = 0
        self.most_waiting = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Gone: nobody listens, what was open is cut off."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                path = line.split()[1].decode()
                headers = {}
                while (line := await reader.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = await reader.readexactly(int(headers["content-length"]))
                self.heard.append(Heard(path, headers, body))
                if self.hold is not None:
                    self.waiting += 1
                    self.most_waiting = max(self.most_waiting, self.waiting)
                    await self.hold.wait()
                    self.waiting -= 1
                status = self.answers.pop(0) if self.answers else self.status
                more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
                told = b"as you wish" if status < 300 else b"not\nlike this"
                head = f"HTTP/1.1 {status} Whatever\r\n{more}Content-Length: {len(told)}\r\n\r\n"
                writer.write(head.encode() + told)
                await writer.drain()
        self._open.discard(writer)
        writer.close()

    async def messages(self, count: int, within: float = 10.0) -> list[Heard]:
        """The first so many requests, once they have come."""
        await until(lambda: len(self.heard) >= count, within=within)
        return self.heard[:count]

    def types(self) -> list[str]:
        return [heard.message["type"] for heard in self.heard]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    yield receiver
    if receiver.hold is not None:
        receiver.hold.set()
    await receiver.stop()


@pytest.fixture
async def other() -> AsyncIterator[Receiver]:
    """Another receiver, that is well."""
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
async def site(node: StartNode) -> AsyncIterator[Site]:
    """A node that may call this machine."""
    site = Site(await node(webhooks_allow_private=True))
    await until(lambda: site.node.app.state.node.dispatcher.holds_lease)
    yield site
    await site.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes hundredths of them."""
    monkeypatch.setattr(outbox, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(outbox, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(outbox, "POLL_SECONDS", 0.05)


async def a_webhook(site: Site, receiver: Receiver, *events: str) -> dict[str, Any]:
    """A webhook to this receiver, for these types or for all; with its secret."""
    body: dict[str, Any] = {"url": receiver.url}
    if events:
        body["events"] = list(events)
    made = await site.ada.post("/admin/webhooks", json=body)
    assert made.status_code == 201, made.text
    webhook: dict[str, Any] = made.json()
    return webhook


async def log_of(site: Site, webhook: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    """The messages of a webhook as admins see them, newest first."""
    found = await site.vic.get(f"/admin/webhooks/{webhook['id']}/deliveries", params=query)
    assert found.status_code == 200, found.text
    items: list[dict[str, Any]] = found.json()["items"]
    return items


async def cancel(site: Site, delivery: dict[str, Any]) -> None:
    cancelled = await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "sold out"})
    assert cancelled.status_code == 200, cancelled.text
