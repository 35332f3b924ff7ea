"""The record of notices: ops, customers and drivers, by whichever channel, and what became of each."""

from typing import Any

from tests.driver_app import driver_app
from tests.notify.conftest import a_webhook
from tests.notify.test_notices import LADDER, wait_for
from tests.notify.test_webhook_upkeep import park
from tests.receiver import Receiver
from tests.waiting import until
from tests.web.conftest import Check, Site


async def record(site: Site, **asked: Any) -> list[dict[str, Any]]:
    """What is in the notice log, newest first."""
    found = await site.vic.get("/admin/notices", params=asked)
    assert found.status_code == 200, found.text
    items: list[dict[str, Any]] = found.json()["items"]
    return items


async def outcome(site: Site, wanted: str, **asked: Any) -> dict[str, Any]:
    """The one notice asked for, once this has become of it."""

    async def there() -> Any:
        items = await record(site, **asked)
        return items[0] if [item["status"] for item in items] == [wanted] else None

    notice: dict[str, Any] = await until(there)
    return notice


async def test_a_drivers_notice_is_sent_then_received(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    async with driver_app(site.node.ws_url, dan.id) as app:
        delivery = await site.delivery()
        offer = await dan.offer()
        sent = await outcome(site, "sent", to="driver")
        assert (sent["id"], sent["kind"], sent["channel"], sent["driverId"], sent["deliveryId"]) == (
            offer["id"], "offer.created", "socket", dan.id, delivery["id"],
        )  # fmt: skip
        assert sent["sentAt"]
        app.send("received", offerId=offer["id"])
        received = await outcome(site, "received", to="driver")
        assert received["receivedAt"]
        assert received["failedAt"] is None


async def test_a_drivers_notice_that_nobody_confirmed_has_failed_and_says_why(site: Site) -> None:
    policy = (await site.ada.get("/admin/policy")).json()
    await site.ada.put("/admin/policy", json=policy | {"expiryPolicy": "next_driver"})
    dan = await site.driver("Dan", at_work=True)
    await site.delivery()
    assert (await outcome(site, "pending", to="driver"))["channel"] is None
    await site.node.reach_deadline((await dan.offer())["id"])
    failed = await outcome(site, "failed", to="driver")
    assert failed["lastError"] == "no socket was open"
    assert failed["failedAt"]
    answered = await site.driver("Drew", zone="north", at_work=True)
    await site.delivery(zone="north")
    offer = await answered.offer()
    await answered.post(f"/offers/{offer['id']}/reject")
    assert (await record(site, zone="north", to="driver"))[0]["status"] == "received", "an answer proves it"


async def test_a_customers_notice_is_received_when_a_webhook_takes_it_and_failed_when_it_is_parked(
    site: Site, receiver: Receiver
) -> None:
    webhook = await a_webhook(site, receiver)
    receiver.status = 500
    dan = await site.driver("Dan", at_work=True)
    delivery, _ = await site.assignment(dan)
    about = {"to": "customer", "deliveryId": delivery["id"]}
    pending = await outcome(site, "pending", **about)
    assert (pending["kind"], pending["channel"], pending["webhookId"]) == (
        "delivery.assigned",
        "webhook",
        webhook["id"],
    )
    assert pending["text"] == f"Order {delivery['sellerOrderId']} of Pizza Roma has a driver."
    await park(site, webhook)
    failed = await outcome(site, "failed", **about)
    assert failed["lastError"] == "answered 500: not like this"
    receiver.status = 200
    await site.ada.post(f"/admin/webhooks/{webhook['id']}/redeliver-parked")
    received = await outcome(site, "received", **about)
    assert (received["lastError"], received["failedAt"]) == (None, None)
    assert received["receivedAt"]


async def test_looking_after_an_order_is_having_got_its_notices(site: Site) -> None:
    policy = (await site.ada.get("/admin/policy")).json()
    assert (await site.ada.put("/admin/policy", json=policy | {"escalation": LADDER[:1]})).status_code == 200
    delivery = await site.delivery()
    await wait_for(site, delivery, 5)
    await outcome(site, "sent", to="ops")
    path = f"/admin/unassigned-orders/{delivery['id']}/acknowledge"
    assert (await site.alice.post(path, json={"note": "calling Dan"})).status_code == 200
    received = await outcome(site, "received", to="ops")
    assert received["acknowledgedBy"] == "alice"
    assert received["receivedAt"]
    await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "closed"})
    assert (await outcome(site, "received", to="ops"))["acknowledgedBy"] == "alice", "a record does not forget"


async def test_the_record_comes_in_pages_over_all_its_sources(site: Site, receiver: Receiver) -> None:
    webhook = await a_webhook(site, receiver, "delivery.assigned", "delivery.escalated", "ticket.created")
    dan = await site.driver("Dan", at_work=True, capacity=9)
    for _ in range(4):
        await site.assignment(dan)
    policy = (await site.ada.get("/admin/policy")).json()
    await site.ada.put("/admin/policy", json=policy | {"escalation": LADDER[:1]})
    waiting = await site.delivery(zone="north")
    await wait_for(site, waiting, 5)

    async def all_there() -> Any:
        items = await record(site)
        return items if len(items) == 4 + 4 + 1 + 2 else None

    whole = await until(all_there)
    assert [item["createdAt"] for item in whole] == sorted((item["createdAt"] for item in whole), reverse=True)
    paged: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await site.vic.get("/admin/notices", params={"limit": 2, "cursor": cursor})).json()
        paged += page["items"]
        cursor = page["nextCursor"]
    assert [item["id"] for item in paged] == [item["id"] for item in whole]
    assert {item["webhookId"] for item in whole} == {webhook["id"], None}
    assert {item["kind"] for item in await record(site, zone="north")} == {"delivery.escalated", "ticket.created"}
    assert len(await record(site, to="ops", kind="delivery.escalated")) == 2
    assert len(await record(site, to="driver", kind="delivery.assigned")) == 0
    assert len(await record(site, hours=1)) == len(whole)
    await site.node.app.state.node.database.pool.execute("UPDATE notices SET created_at = created_at - interval '2 h'")
    assert len(await record(site, hours=1)) == len(whole) - 1


async def test_what_cannot_be_asked_of_the_record(site: Site, problem: Check) -> None:
    for asked in (
        {"to": "everybody"},
        {"kind": "offer.expired"},
        {"status": "lost"},
        {"deliveryId": "what"},
        {"hours": 0},
        {"cursor": "what"},
        {"cursor": "W251bGwsbnVsbCxbIjIwMjYtMDItMDFUMTA6MDA6MDBaIiwieCJdXQ"},
    ):
        problem(await site.vic.get("/admin/notices", params=asked), 422, "invalid")
    problem(await site.shop.get("/admin/notices"), 403, "forbidden")
