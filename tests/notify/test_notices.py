"""Notices for ops: made with the event, sent on where there is somewhere to send them; what became of it is kept."""

from typing import Any

import pytest

from server.notify import call_rounds
from server.notify import ops_notices as sending
from tests.conftest import StartNode
from tests.receiver import Receiver
from tests.waiting import until
from tests.web.conftest import Check, Site

LADDER = [
    {"level": 1, "afterSeconds": 1, "actions": ["ticket", "notify_ops"]},
    {"level": 2, "afterSeconds": 100, "actions": ["widen_search"]},
    {"level": 3, "afterSeconds": 200, "actions": ["notify_critical"]},
]


async def wait_for(site: Site, delivery: dict[str, Any], seconds: int) -> None:
    """The delivery has waited so long, as far as the database knows."""
    await site.node.change(
        "UPDATE deliveries SET unassigned_since = now() - make_interval(secs => $2), created_at = least(created_at,"
        " now() - make_interval(secs => $2)) WHERE id = $1", delivery["id"], seconds,
    )  # fmt: skip


async def notices(site: Site, count: int) -> list[dict[str, Any]]:
    """So many notices, newest first."""

    async def all_there() -> Any:
        items = (await site.vic.get("/admin/notices")).json()["items"]
        return items if len(items) == count else None

    found: list[dict[str, Any]] = await until(all_there)
    return found


async def climb(site: Site) -> dict[str, Any]:
    """An order that nobody takes, up to the last level."""
    policy = (await site.ada.get("/admin/policy")).json()
    assert (await site.ada.put("/admin/policy", json=policy | {"escalation": LADDER})).status_code == 200
    delivery = await site.delivery()
    await wait_for(site, delivery, 250)
    await notices(site, 2)
    return delivery


async def test_without_anywhere_to_send_them_notices_are_on_the_boards(site: Site, problem: Check) -> None:
    delivery = await climb(site)

    async def sent() -> Any:
        found = await notices(site, 2)
        return found if all(notice["status"] == "sent" for notice in found) else None

    critical, first = await until(sent)
    assert (first["kind"], first["severity"], first["channel"]) == ("delivery.escalated", "warning", "board")
    assert critical["severity"] == "critical"
    assert critical["deliveryId"] == delivery["id"]
    assert critical["link"] == f"/admin/unassigned-orders/{delivery['id']}"
    assert critical["text"] == (
        f"Order {delivery['sellerOrderId']} of Pizza Roma (zone default) has no driver 4 min after it was created"
        " (level 3)."
    )
    path = f"/admin/notices/{critical['id']}/acknowledge"
    problem(await site.vic.post(path), 403, "forbidden")
    seen = (await site.alice.post(path)).json()
    assert (seen["status"], seen["acknowledgedBy"]) == ("received", "alice")
    assert (await site.ada.post(path)).json()["acknowledgedBy"] == "alice"
    problem(await site.alice.post("/admin/notices/0/acknowledge"), 404, "not_found")
    assert (await site.vic.get("/admin/notices", params={"zone": "north"})).json()["items"] == []


async def test_notices_go_to_slack_and_again_until_it_takes_them(node: StartNode, receiver: Receiver) -> None:
    site = Site(await node(slack_webhook_url=receiver.url, public_url="https://board.example/"))
    receiver.answers = [500]
    delivery = await climb(site)
    await receiver.messages(3)

    async def sent() -> Any:
        found = await notices(site, 2)
        return found if all(notice["status"] == "sent" for notice in found) else None

    for notice in await until(sent):
        assert notice["channel"] == "slack"
        assert notice["lastError"] is None
    texts = {heard.message["text"] for heard in receiver.heard}
    (critical,) = (text for text in texts if text.startswith(":rotating_light:"))
    assert f"<https://board.example/admin/unassigned-orders/{delivery['id']}|Look>" in critical
    await site.close()


async def test_a_notice_that_slack_never_took_has_failed(
    node: StartNode, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TRIES", 2)
    monkeypatch.setattr(call_rounds, "FIRST_RETRY_SECONDS", 0.01)
    receiver.status = 404
    site = Site(await node(slack_webhook_url=receiver.url))
    await climb(site)

    async def failed() -> Any:
        found = await notices(site, 2)
        return found if all(notice["status"] == "failed" for notice in found) else None

    for notice in await until(failed):
        assert notice["lastError"] == "answered 404: not like this"
    assert len(receiver.heard) == 4
    await site.close()


def test_nothing_in_a_text_is_a_link_or_a_mention() -> None:
    assert sending._escaped("<!channel> & co") == "&lt;!channel&gt; &amp; co"


async def test_slack_is_left_alone_as_long_as_it_asks(
    node: StartNode, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_rounds, "FIRST_RETRY_SECONDS", 0.01)
    receiver.status = 429
    receiver.headers = {"Retry-After": "3600"}
    site = Site(await node(slack_webhook_url=receiver.url))
    await climb(site)

    async def tried() -> Any:
        found = await notices(site, 2)
        return found if all(notice["lastError"] for notice in found) else None

    await until(tried)
    later = "SELECT min(next_attempt_at) > now() + interval '50 minutes' FROM notices WHERE channel = 'slack'"
    assert await site.node.app.state.node.database.pool.fetchval(later)
    assert len(receiver.heard) == 2
    await site.close()
