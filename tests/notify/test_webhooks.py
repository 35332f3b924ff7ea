"""Webhooks over real sockets: signed, in order, again until they are taken, each receiver for itself."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from server.notify import call_rounds, sender, webhook_outbox
from server.notify.call_rounds import retry_seconds
from tests.conftest import StartNode
from tests.notify.conftest import a_webhook, cancel, log_of
from tests.receiver import Receiver
from tests.waiting import until
from tests.web.conftest import Site
from tests.web.test_day_report import noon_zone

PAGE = Path("docs/driver-app.md").read_text()
OF_ORDERS = ("delivery.created", "delivery.cancelled")
"""Where many orders wait, an alert may come too, or a risk, and both have messages."""


async def test_a_receiver_hears_what_happens_in_order_signed_and_with_the_delivery(
    site: Site, receiver: Receiver
) -> None:
    webhook = await a_webhook(site, receiver)
    delivery = await site.delivery()
    await cancel(site, delivery)
    created, cancelled = await receiver.messages(2)
    assert receiver.types() == ["delivery.created", "delivery.cancelled"]
    assert created.headers["content-type"] == "application/json"
    assert created.verified_by(webhook["secret"])
    assert cancelled.verified_by(webhook["secret"])
    assert not created.verified_by("whsec_" + "A" * 44)
    message = cancelled.message
    assert message["id"] == cancelled.id != created.id
    assert message["timestamp"] == message["data"]["at"]
    shown = message["data"]
    assert shown["type"] == "delivery.cancelled"
    assert shown["actor"] == {"type": "service", "id": "corner-shop"}
    assert shown["data"] == {"reason": "sold out"}
    assert shown["deliveryId"] == delivery["id"]
    assert shown["delivery"] == (await site.shop.get(f"/deliveries/{delivery['id']}")).json()


async def test_a_receiver_hears_only_what_it_asked_for(site: Site, receiver: Receiver) -> None:
    await a_webhook(site, receiver, "delivery.cancelled", "driver.availability_changed")
    driver = await site.driver(at_work=True)
    delivery = await site.delivery()
    await cancel(site, delivery)
    await receiver.messages(2)
    assert sorted(receiver.types()) == ["delivery.cancelled", "driver.availability_changed"]
    (changed,) = (heard for heard in receiver.heard if heard.message["type"] == "driver.availability_changed")
    assert changed.message["data"]["driverId"] == driver.id
    assert "delivery" not in changed.message["data"]


async def test_the_documented_gateway_turns_offers_into_messages_for_phones(site: Site, receiver: Receiver) -> None:
    block = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    gateway: dict[str, Any] = {}
    exec(block[1], gateway)
    await a_webhook(site, receiver, "offer.created", "offer.rejected")
    driver = await site.driver(at_work=True)
    delivery = await site.delivery()
    offer = await driver.offer()
    assert (await driver.post(f"/offers/{offer['id']}/reject", {"reason": "too_far"})).status_code == 200
    made, ended = (
        gateway["fcm_message"](heard.message, "token-of-a-phone")["message"] for heard in await receiver.messages(2)
    )
    assert made["data"] == {
        "type": "offer.created", "offerId": offer["id"], "deliveryId": delivery["id"], "expiresAt": offer["expiresAt"]
    }  # fmt: skip
    assert (made["token"], made["android"]) == ("token-of-a-phone", {"priority": "high", "ttl": "30s"})
    assert made["notification"]["body"] == "Pizza Roma"
    assert ended["data"]["type"] == "offer.rejected"
    assert "notification" not in ended


async def test_the_customers_notice_is_the_assignment(site: Site, receiver: Receiver) -> None:
    await a_webhook(site, receiver, "delivery.assigned")
    driver = await site.driver(at_work=True)
    delivery, assignment = await site.assignment(driver)
    (heard,) = await receiver.messages(1)
    assert heard.message["data"]["assignmentId"] == assignment["id"]
    assert heard.message["data"]["delivery"]["assignment"]["driverId"] == driver.id
    assert heard.message["data"]["delivery"]["id"] == delivery["id"]


async def test_what_is_refused_is_sent_again_with_the_same_id_until_it_is_taken(site: Site, receiver: Receiver) -> None:
    webhook = await a_webhook(site, receiver)
    receiver.answers = [500, 404, 301]
    receiver.headers = {"Location": "http://127.0.0.1:1/elsewhere"}
    delivery = await site.delivery()
    await cancel(site, delivery)
    await receiver.messages(5)
    first, *others, last = receiver.heard
    assert [heard.id for heard in others] == [first.id] * 3, "the same message again, and nothing before it is taken"
    assert others[-1].body == first.body
    assert last.message["type"] == "delivery.cancelled"
    assert {heard.path for heard in receiver.heard} == {"/hooks"}, "a redirect was followed"

    async def both_delivered() -> Any:
        found = await log_of(site, webhook)
        return found if all(message["status"] == "delivered" for message in found) else None

    second, refused = await until(both_delivered)
    assert (refused["id"], refused["attempts"], refused["lastStatus"]) == (first.id, 4, 200)
    assert [attempt["status"] for attempt in refused["log"]] == [200, 301, 404, 500]
    assert refused["log"][-1]["error"] == "answered 500: not like this"
    assert refused["log"][-1]["attempt"] == 1
    assert refused["log"][0]["error"] is None
    assert all(attempt["ms"] >= 0 for attempt in refused["log"])
    assert second["attempts"] == 1


async def test_a_receiver_that_was_gone_hears_all_of_it_in_order_once_it_is_back(
    site: Site, receiver: Receiver
) -> None:
    webhook = await a_webhook(site, receiver, *OF_ORDERS)
    await receiver.stop()
    deliveries = [await site.delivery() for _ in range(5)]
    for delivery in deliveries:
        await cancel(site, delivery)

    async def tried() -> Any:
        found = await log_of(site, webhook, status="pending")
        return len(found) == 10 and [message for message in found if message["attempts"] >= 2]

    (unreachable, *_) = await until(tried)
    assert unreachable["lastStatus"] is None
    assert unreachable["lastError"]
    await receiver.start()
    await receiver.messages(10)
    for delivery in deliveries:
        mine = [
            heard.message["type"] for heard in receiver.heard if heard.message["data"]["deliveryId"] == delivery["id"]
        ]
        assert mine == ["delivery.created", "delivery.cancelled"]


async def test_a_slow_receiver_delays_nobody_but_itself(site: Site, receiver: Receiver, other: Receiver) -> None:
    receiver.hold = asyncio.Event()
    await a_webhook(site, receiver)
    await a_webhook(site, other)
    deliveries = [await site.delivery() for _ in range(webhook_outbox.PER_WEBHOOK + 4)]
    await other.messages(len(deliveries))
    await until(lambda: receiver.waiting == webhook_outbox.PER_WEBHOOK)
    for delivery in deliveries:
        await cancel(site, delivery)
    await other.messages(2 * len(deliveries))
    assert receiver.most_waiting == webhook_outbox.PER_WEBHOOK
    assert len({heard.message["data"]["deliveryId"] for heard in receiver.heard}) == len(receiver.heard), (
        "two messages of one delivery at once"
    )
    receiver.hold.set()
    await receiver.messages(2 * len(deliveries))


async def test_a_receiver_that_is_down_is_left_alone_for_a_while(
    site: Site, receiver: Receiver, other: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_rounds, "FIRST_RETRY_SECONDS", 3600.0)
    for pause in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(webhook_outbox, pause, 3600.0)
    receiver.status = 503
    webhook = await a_webhook(site, receiver)
    await a_webhook(site, other)
    await site.delivery()

    async def failed() -> bool:
        return [message["lastStatus"] for message in await log_of(site, webhook)] == [503]

    await until(failed)
    for _ in range(5):
        await site.delivery()
    await other.messages(6)
    assert len(receiver.heard) == 1


async def test_a_receiver_that_is_gone_for_good_is_called_no_more(
    site: Site, receiver: Receiver, other: Receiver
) -> None:
    """Its webhook is stopped, which ops read on the board; what waits goes out if somebody starts it again."""
    webhook = await a_webhook(site, receiver)
    await a_webhook(site, other)
    receiver.status = 410
    first = await site.delivery()

    async def stopped() -> bool:
        shown = (await site.vic.get("/admin/webhooks")).json()["items"]
        return [item["active"] for item in shown if item["id"] == webhook["id"]] == [False]

    await until(stopped)
    heard = len(receiver.heard)
    for _ in range(5):
        await site.delivery()
    await other.messages(6)
    assert len(receiver.heard) == heard
    (notice,) = (await site.vic.get("/admin/notices?to=ops")).json()["items"]
    assert notice["kind"] == "webhook.switched_off"
    assert receiver.url in notice["text"]
    page = await site.vic.get(f"/notices?kind={notice['kind']}", headers={"Accept": "text/html"})
    assert receiver.url in page.text
    receiver.status = 200
    await site.ada.patch(f"/admin/webhooks/{webhook['id']}", json={"active": True})
    sent = await receiver.messages(heard + 1)
    assert sent[heard].message["data"]["deliveryId"] == first["id"]

    async def is_idle() -> bool:
        return all(message["deliveredAt"] for message in await log_of(site, webhook))

    await until(is_idle)
    receiver.status = 410
    for _ in range(2):  # the second time it is stopped already
        tested = await site.ada.post(f"/admin/webhooks/{webhook['id']}/test")
        assert tested.json()["lastStatus"] == 410
        assert await stopped()
        notices = (await site.vic.get("/admin/notices?to=ops")).json()["items"]
        assert [one["kind"] for one in notices] == ["webhook.switched_off"] * 2


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_that_asks_for_time_gets_it_for_all_its_messages(
    site: Site, receiver: Receiver, other: Receiver, status: int
) -> None:
    receiver.status, receiver.headers = status, {"Retry-After": "3600"}
    webhook = await a_webhook(site, receiver)
    await a_webhook(site, other)
    await site.delivery()

    async def failed() -> bool:
        return [message["lastStatus"] for message in await log_of(site, webhook)] == [status]

    await until(failed)
    outbox = site.node.app.state.node.webhooks
    loop = asyncio.get_running_loop()
    assert outbox._pauses[webhook["id"]].until > loop.time() + 3500
    for _ in range(5):
        await site.delivery()
    await other.messages(6)
    assert len(receiver.heard) == 1


async def test_a_node_whose_clock_is_wrong_signs_with_the_right_time(site: Site, receiver: Receiver) -> None:
    """Receivers refuse what is minutes old or yet to come."""
    webhook = await a_webhook(site, receiver)
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=15), tick=True):
        await site.delivery()
        await receiver.messages(1)
        answer = await site.ada.post(f"/admin/webhooks/{webhook['id']}/test")
        assert answer.status_code == 200, answer.text
        await receiver.messages(2)
    assert all(heard.verified_by(webhook["secret"]) for heard in receiver.heard)
    sent_at = datetime.fromisoformat((await log_of(site, webhook))[0]["log"][0]["at"])
    assert abs(datetime.now(UTC) - sent_at) < timedelta(minutes=5)


async def test_one_that_never_answers_is_given_up_at_the_deadline(
    site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "TIMEOUT_SECONDS", 0.2)
    receiver.hold = asyncio.Event()
    webhook = await a_webhook(site, receiver)
    await site.delivery()

    async def timed_out() -> Any:
        return [message for message in await log_of(site, webhook) if message["attempts"] and message["log"]]

    ((message),) = await until(timed_out)
    assert message["lastError"] == "no answer within 0.2 s"


async def test_what_nobody_took_for_a_day_is_parked_shown_and_sent_again_by_hand(
    site: Site, receiver: Receiver
) -> None:
    webhook = await a_webhook(site, receiver)
    receiver.status = 500
    delivery = await site.delivery()
    (refused,) = await receiver.messages(1)
    pool = site.node.app.state.node.database.pool
    await pool.execute("UPDATE webhook_deliveries SET retry_until = now() - interval '1 s'")

    async def parked() -> Any:
        return await log_of(site, webhook, status="parked")

    (message,) = await until(parked)
    assert message["id"] == refused.id
    assert message["parkedAt"]
    assert message["nextAttemptAt"] is None
    receiver.status = 200
    await cancel(site, delivery)
    await until(lambda: "delivery.cancelled" in receiver.types())
    again = await site.ada.post(f"/admin/webhook-deliveries/{message['id']}/redeliver")
    assert again.status_code == 200, again.text
    assert again.json()["id"] == refused.id
    await until(lambda: receiver.types()[-1] == "delivery.created")
    assert receiver.heard[-1].id == refused.id

    async def delivered() -> Any:
        return len(await log_of(site, webhook, status="delivered")) == 2

    await until(delivered)


async def test_a_rotated_secret_leaves_no_gap(site: Site, receiver: Receiver) -> None:
    webhook = await a_webhook(site, receiver, "delivery.created")
    rotated = (await site.ada.post(f"/admin/webhooks/{webhook['id']}/rotate-secret")).json()
    assert rotated["secret"] != webhook["secret"]
    assert rotated["previousSecretUntil"] is not None
    await site.delivery()
    (during,) = await receiver.messages(1)
    assert during.verified_by(webhook["secret"])
    assert during.verified_by(rotated["secret"])
    pool = site.node.app.state.node.database.pool
    await pool.execute("UPDATE webhooks SET previous_secret_until = now() - interval '1 s'")
    await site.delivery()
    after = (await receiver.messages(2))[-1]
    assert not after.verified_by(webhook["secret"])
    assert after.verified_by(rotated["secret"])


async def test_a_removed_webhook_hears_no_more(site: Site, receiver: Receiver, other: Receiver) -> None:
    webhook = await a_webhook(site, receiver)
    await a_webhook(site, other)
    receiver.status = 500
    await site.delivery()
    await receiver.messages(1)
    assert (await site.ada.delete(f"/admin/webhooks/{webhook['id']}")).status_code == 204
    assert [item["url"] for item in (await site.vic.get("/admin/webhooks")).json()["items"]] == [other.url]
    heard = len(receiver.heard)
    await site.delivery()
    await other.messages(2)
    pool = site.node.app.state.node.database.pool
    assert await pool.fetchval("SELECT count(*) FROM webhook_deliveries WHERE parked_at IS NOT NULL") == 1
    assert len(receiver.heard) <= heard + 1, "a call that was under way may still have ended"


async def test_a_stopped_webhook_later_gets_only_messages_from_before_the_stop(
    site: Site, receiver: Receiver, other: Receiver
) -> None:
    webhook = await a_webhook(site, receiver)
    await a_webhook(site, other)
    stopped = await site.ada.patch(f"/admin/webhooks/{webhook['id']}", json={"active": False})
    assert stopped.json()["active"] is False
    await site.delivery()
    await other.messages(1)
    await site.ada.patch(f"/admin/webhooks/{webhook['id']}", json={"active": True})
    second = await site.delivery()
    (heard,) = await receiver.messages(1)
    assert heard.message["data"]["deliveryId"] == second["id"]


async def test_the_next_holder_of_the_lease_goes_on(node: StartNode, receiver: Receiver) -> None:
    first = Site(await node(webhooks_allow_private=True))
    await until(lambda: first.node.app.state.node.lease.held)
    second = Site(await node(webhooks_allow_private=True))
    await a_webhook(second, receiver)
    delivery = await second.delivery()
    await receiver.messages(1)
    receiver.status = 503
    await cancel(second, delivery)
    await receiver.messages(2)
    await first.close()
    await first.node.stop()
    receiver.status = 200
    await until(lambda: second.node.app.state.node.lease.held)
    call_rounds = await receiver.messages(3)
    assert call_rounds[2].id == call_rounds[1].id
    await second.close()


async def test_events_of_any_node_are_sent_at_once(
    node: StartNode, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hint: the poll would take ten minutes."""
    monkeypatch.setattr(call_rounds, "POLL_SECONDS", 600.0)
    holder = Site(await node(webhooks_allow_private=True))
    await until(lambda: holder.node.app.state.node.lease.held)
    other = Site(await node(webhooks_allow_private=True))
    await until(lambda: other.node.app.state.node.bus.connected)
    await a_webhook(other, receiver, "delivery.created")
    for count, site in enumerate((other, holder, other), start=1):
        await site.delivery()
        await receiver.messages(count)
    for site in (holder, other):
        await site.close()


async def test_two_nodes_that_both_think_they_hold_the_lease_call_once(node: StartNode, receiver: Receiver) -> None:
    first = Site(await node(webhooks_allow_private=True))
    await until(lambda: first.node.app.state.node.lease.held)
    second = Site(await node(webhooks_allow_private=True))
    lease = second.node.app.state.node.lease
    await lease.release()
    lease._until = float("inf")
    lease.taken.set()
    webhook = await a_webhook(first, receiver, *OF_ORDERS)
    deliveries = await asyncio.gather(*(site.delivery() for site in (first, second) for _ in range(20)))
    await asyncio.gather(
        *(cancel(site, delivery) for site, delivery in zip((first, second) * 20, deliveries, strict=True))
    )

    async def delivered() -> Any:
        found = await log_of(first, webhook, limit=200)
        return len(found) == 80 and all(message["status"] == "delivered" for message in found)

    await until(delivered)
    assert len(receiver.heard) == len({heard.id for heard in receiver.heard}) == 80
    for delivery in deliveries:
        mine = [heard.message for heard in receiver.heard if heard.message["data"]["deliveryId"] == delivery["id"]]
        assert [message["type"] for message in mine] == ["delivery.created", "delivery.cancelled"]
    for site in (first, second):
        await site.close()


async def test_a_long_line_for_one_that_was_gone_is_soon_done_once_it_is_back(site: Site, receiver: Receiver) -> None:
    """Hours of backoff do not outlast the outage; and what is put off behind another comes right after it."""
    webhook = await a_webhook(site, receiver, *OF_ORDERS)
    receiver.status = 503
    deliveries = [await site.delivery() for _ in range(30)]
    for delivery in deliveries:
        await cancel(site, delivery)
    pool = site.node.app.state.node.database.pool
    await until(lambda: len(receiver.heard) >= 3)
    await pool.execute("UPDATE webhook_deliveries SET next_attempt_at = now() + interval '1 h' WHERE attempts = 0")
    receiver.status = 200

    async def delivered() -> Any:
        return len(await log_of(site, webhook, status="delivered", limit=200)) == 60

    await until(delivered)


async def test_without_a_webhook_nothing_is_written(site: Site) -> None:
    await site.delivery()
    pool = site.node.app.state.node.database.pool
    assert await pool.fetchval("SELECT count(*) FROM webhook_deliveries") == 0


def test_retries_come_ever_later_up_to_an_hour_and_never_all_at_once() -> None:
    outbox_first = call_rounds.FIRST_RETRY_SECONDS
    for attempt in range(1, 100):
        seconds = {retry_seconds(attempt) for _ in range(20)}
        middle = min(outbox_first * 2 ** (attempt - 1), 3600)
        assert len(seconds) > 1
        assert all(0.8 * middle <= one <= 1.2 * middle for one in seconds)


async def test_the_report_of_yesterday_comes_once_however_many_nodes_send_it(
    node: StartNode, receiver: Receiver
) -> None:
    """It is due at midnight, and there it is noon: always, whenever the test runs."""
    zone = noon_zone()
    nodes = [await node(webhooks_allow_private=True, report_at="00:00", time_zone=zone) for _ in range(2)]
    site = Site(nodes[0])
    webhook = await a_webhook(site, receiver, "report.day")
    reports = [running.app.state.node.day_reports for running in nodes]
    assert [await report.send_due() for report in reports] == [0, 0], "it was due before the webhook was there"
    await nodes[0].change("UPDATE webhooks SET created_at = created_at - interval '2 days'")
    for report in reports:
        report._done = None
    assert sum(await asyncio.gather(*(report.send_due() for report in reports * 2))) == 1
    await until(lambda: receiver.heard)
    for report in reports:
        report._done = None
        assert await report.send_due() == 0
    await site.ada.post(f"/admin/webhooks/{webhook['id']}/test")
    await until(lambda: "webhook.test" in receiver.types())
    assert sorted(receiver.types()) == ["report.day", "webhook.test"]
    (heard,) = (heard for heard in receiver.heard if heard.message["type"] == "report.day")
    assert heard.verified_by(webhook["secret"])
    data = heard.message["data"]["data"]
    assert set(data) == {"day", "timeZone", "total", "stores", "drivers", "hours"}
    assert (data["timeZone"], data["total"]["orders"]) == (zone, 0)
    log = (await site.ada.get(f"/admin/webhooks/{webhook['id']}/deliveries")).json()["items"]
    assert sorted(message["type"] for message in log) == ["report.day", "webhook.test"], "a report is about no order"
    await site.close()
