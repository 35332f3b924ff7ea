"""The API of webhooks: who may, what is refused, what is shown once."""

from typing import Any, get_args

import pytest

from server.contract.webhook_events import EVERYTHING, TYPES
from server.ids import new_id
from server.store.webhooks import WEBHOOKS_LIMIT
from server.web.api.schemas import EventType
from tests.notify.conftest import a_webhook, log_of
from tests.receiver import Receiver
from tests.waiting import until
from tests.web.conftest import Check, Site

URL = "https://shop.example/hooks"


def test_every_type_of_the_contract_can_be_asked_for() -> None:
    assert get_args(EventType) == (EVERYTHING, *TYPES)
    deliveries = (
        *(
            "created",
            "assigned",
            "picked_up",
            "delivered",
            "cancelled",
            "reassigned",
            "escalated",
            "arrived",
            "released",
        ),
        *("failed", "returning", "returned", "late_report", "changed", "restored", "retried", "at_risk", "recovered"),
    )
    offers = ("created", "accepted", "rejected", "expired", "withdrawn")
    assert set(TYPES) == {
        *(f"delivery.{what}" for what in deliveries),
        *(f"offer.{what}" for what in offers),
        "driver.availability_changed",
        "ticket.created",
        "alert.raised",
        "alert.resolved",
        "report.day",
    }


async def test_only_admins_change_webhooks_and_viewers_see_them(site: Site, problem: Check) -> None:
    made = await site.ada.post("/admin/webhooks", json={"url": URL, "events": ["delivery.assigned"]})
    assert made.status_code == 201
    webhook = made.json()
    path = f"/admin/webhooks/{webhook['id']}"
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/admin/webhooks", {"url": URL}),
        ("PATCH", path, {"active": False}),
        ("POST", f"{path}/rotate-secret", None),
        ("POST", f"/admin/webhook-deliveries/{new_id()}/redeliver", None),
        ("DELETE", path, None),
    ]
    for method, address, body in calls:
        for role in ("service", "viewer", "ops"):
            problem(await site.roles[role].request(method, address, json=body), 403, "forbidden")
        problem(await site.nobody.request(method, address, json=body), 401, "unauthorized")
    for address in ("/admin/webhooks", f"{path}/deliveries"):
        for role in ("viewer", "ops", "admin"):
            assert (await site.roles[role].get(address)).status_code == 200
        problem(await site.shop.get(address), 403, "forbidden")
    (shown,) = (await site.vic.get("/admin/webhooks")).json()["items"]
    assert "secret" not in shown
    assert shown == {name: value for name, value in webhook.items() if name != "secret"}
    assert (shown["url"], shown["events"], shown["active"], shown["createdBy"]) == (
        URL,
        ["delivery.assigned"],
        True,
        "ada",
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "shop.example"}, "url"),
        ({"url": "ftp://shop.example/"}, "url"),
        ({"url": 5}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["delivery.lost"]}, "events[0]"),
        ({"url": URL, "events": "delivery.created"}, "events"),
        ({"url": URL, "secret": "mine"}, "secret"),
    ],
)
async def test_what_is_not_a_webhook(site: Site, problem: Check, body: Any, field: str) -> None:
    refused = problem(await site.ada.post("/admin/webhooks", json=body), 422, "invalid")
    assert field in [error["field"] for error in refused["errors"]]


async def test_there_are_not_too_many(site: Site, problem: Check) -> None:
    for _ in range(WEBHOOKS_LIMIT):
        assert (await site.ada.post("/admin/webhooks", json={"url": URL})).status_code == 201
    problem(await site.ada.post("/admin/webhooks", json={"url": URL}), 409, "too_many_webhooks")
    page = (await site.vic.get("/admin/webhooks", params={"limit": 30})).json()
    rest = (await site.vic.get("/admin/webhooks", params={"limit": 30, "cursor": page["nextCursor"]})).json()
    assert len({item["id"] for item in page["items"] + rest["items"]}) == WEBHOOKS_LIMIT


async def test_what_is_not_there(site: Site, problem: Check) -> None:
    for webhook_id in (new_id(), "what"):
        path = f"/admin/webhooks/{webhook_id}"
        problem(await site.ada.patch(path, json={"active": False}), 404, "not_found")
        problem(await site.ada.delete(path), 404, "not_found")
        problem(await site.ada.post(f"{path}/rotate-secret"), 404, "not_found")
        problem(await site.ada.get(f"{path}/deliveries"), 404, "not_found")
        problem(await site.ada.post(f"/admin/webhook-deliveries/{webhook_id}/redeliver"), 404, "not_found")


async def test_a_webhook_changes(site: Site, receiver: Receiver, problem: Check) -> None:
    made = (await site.ada.post("/admin/webhooks", json={"url": URL, "events": ["*", "*"]})).json()
    assert made["events"] == ["*"]
    path = f"/admin/webhooks/{made['id']}"
    problem(await site.ada.patch(path, json={"url": "nowhere"}), 422, "invalid")
    changed = await site.ada.patch(path, json={"url": receiver.url, "events": ["delivery.created"]})
    assert (changed.json()["url"], changed.json()["events"]) == (receiver.url, ["delivery.created"])
    await site.delivery()
    await receiver.messages(1)


async def test_what_is_of_a_webhook_that_is_gone_is_not_sent_again(
    site: Site, receiver: Receiver, problem: Check
) -> None:
    webhook = await a_webhook(site, receiver)
    await site.delivery()
    await receiver.messages(1)

    async def delivered() -> Any:
        return await log_of(site, webhook, status="delivered")

    ((message),) = await until(delivered)
    assert (await site.ada.delete(f"/admin/webhooks/{webhook['id']}")).status_code == 204
    problem(await site.ada.post(f"/admin/webhook-deliveries/{message['id']}/redeliver"), 409, "webhook_not_active")
    problem(await site.ada.delete(f"/admin/webhooks/{webhook['id']}"), 404, "not_found")
    assert [kept["id"] for kept in await log_of(site, webhook)] == [message["id"]]


async def test_the_log_comes_in_pages(site: Site, receiver: Receiver) -> None:
    webhook = await a_webhook(site, receiver, "delivery.created")
    for _ in range(5):
        await site.delivery()
    await receiver.messages(5)
    path = f"/admin/webhooks/{webhook['id']}/deliveries"
    first = (await site.vic.get(path, params={"limit": 3})).json()
    second = (await site.vic.get(path, params={"limit": 3, "cursor": first["nextCursor"]})).json()
    assert second["nextCursor"] is None
    ids = [item["id"] for item in first["items"] + second["items"]]
    assert len(ids) == 5
    assert set(ids) == {heard.id for heard in receiver.heard}
