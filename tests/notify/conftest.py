"""A node whose webhooks lead to receivers on this machine, and short words for these tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.notify import call_rounds, sender, webhook_outbox
from tests.conftest import StartNode
from tests.receiver import Receiver, listening
from tests.waiting import PATIENCE, until
from tests.web.conftest import Site, problem

__all__ = ["problem"]


@asynccontextmanager
async def calling_this_machine(node: StartNode) -> AsyncIterator[Site]:
    """A node that may call this machine, and dispatches."""
    site = Site(await node(webhooks_allow_private=True))
    await until(lambda: site.node.app.state.node.lease.held)
    yield site
    await site.close()


@pytest.fixture
async def other() -> AsyncIterator[Receiver]:
    """Another receiver, that is well."""
    async with listening() as receiver:
        yield receiver


@pytest.fixture
async def site(node: StartNode) -> AsyncIterator[Site]:
    async with calling_this_machine(node) as site:
        yield site


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes hundredths of them. Only a call that a test holds back is not given up: it would come
    again.
    """
    monkeypatch.setattr(sender, "TIMEOUT_SECONDS", PATIENCE)
    monkeypatch.setattr(call_rounds, "FIRST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(webhook_outbox, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(call_rounds, "POLL_SECONDS", 0.05)


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
