"""The delivery status of webhooks, a test message, and sending parked messages again."""

import asyncio
import time
from typing import Any

import prometheus_client
import pytest

from server.ids import new_id
from server.notify import alert_monitor as monitor_module
from server.store.queues.webhook_queue import read_backlog
from tests.notify.conftest import a_webhook, cancel, log_of
from tests.receiver import Receiver
from tests.waiting import until
from tests.web.conftest import DROPOFF, Check, Site


async def status_of(site: Site, webhook: dict[str, Any]) -> dict[str, Any]:
    found = await site.vic.get(f"/admin/webhooks/{webhook['id']}")
    assert found.status_code == 200, found.text
    body: dict[str, Any] = found.json()
    return body


async def park(site: Site, webhook: dict[str, Any]) -> None:
    """All that waits is given up, also what comes meanwhile."""
    pool = site.node.app.state.node.database.pool

    async def parked() -> bool:
        await pool.execute(
            "UPDATE webhook_deliveries SET retry_until = now() - interval '1 s', next_attempt_at = now()"
        )
        return not await log_of(site, webhook, status="pending")

    await until(parked, every=0.1)


async def test_a_webhook_shows_its_delivery_status(site: Site, receiver: Receiver, problem: Check) -> None:
    webhook = await a_webhook(site, receiver, "delivery.created")
    shown = await status_of(site, webhook)
    assert "secret" not in shown
    assert (shown["waiting"], shown["waitingSince"], shown["parked"], shown["attempts"], shown["ms"]) == (
        0,
        None,
        0,
        0,
        None,
    )
    receiver.answers = [500]
    await site.delivery()
    await receiver.messages(2)

    async def taken() -> Any:
        now = await status_of(site, webhook)
        return now if now["taken"] else None

    shown = await until(taken)
    assert (shown["attempts"], shown["taken"], shown["waiting"]) == (2, 1, 0)
    assert shown["ms"] >= 0
    await receiver.stop()
    await site.delivery()

    async def waits() -> Any:
        now = await status_of(site, webhook)
        return now if now["waiting"] and now["attempts"] > 2 else None

    assert (await until(waits))["waitingSince"]
    await receiver.start()
    problem(await site.vic.get(f"/admin/webhooks/{new_id()}"), 404, "not_found")
    problem(await site.vic.get("/admin/webhooks/what"), 404, "not_found")


async def test_a_test_message_is_signed_sent_at_once_and_logged(site: Site, receiver: Receiver) -> None:
    webhook = await a_webhook(site, receiver, "delivery.created")
    await site.ada.patch(f"/admin/webhooks/{webhook['id']}", json={"active": False})
    tested = await site.ada.post(f"/admin/webhooks/{webhook['id']}/test")
    assert tested.status_code == 200, tested.text
    body = tested.json()
    assert (body["type"], body["status"], body["attempts"], body["lastStatus"]) == ("webhook.test", "delivered", 1, 200)
    (heard,) = receiver.heard
    assert heard.id == body["id"] == heard.message["id"]
    assert heard.verified_by(webhook["secret"])
    assert heard.message["data"]["actor"] == {"type": "admin", "id": "ada"}
    assert heard.message["data"]["data"] == {"webhookId": webhook["id"]}
    assert [message["id"] for message in await log_of(site, webhook)] == [body["id"]]


async def test_a_test_that_fails_says_why_and_is_not_tried_again_or_counted_as_given_up(
    site: Site, receiver: Receiver, problem: Check
) -> None:
    webhook = await a_webhook(site, receiver)
    receiver.status = 404
    body = (await site.ada.post(f"/admin/webhooks/{webhook['id']}/test")).json()
    assert (body["status"], body["lastError"]) == ("parked", "answered 404: not like this")
    await receiver.stop()
    body = (await site.ada.post(f"/admin/webhooks/{webhook['id']}/test")).json()
    assert body["lastStatus"] is None
    assert body["lastError"]
    now = await status_of(site, webhook)
    assert (now["parked"], now["attempts"], now["taken"]) == (0, 2, 0)
    assert (await site.ada.post(f"/admin/webhooks/{webhook['id']}/redeliver-parked")).json() == {"redelivered": 0}
    await site.node.app.state.node.alert_monitor.count_messages()
    assert prometheus_client.REGISTRY.get_sample_value("callboard_webhook_messages_parked_now") == 0
    await receiver.start()
    problem(await site.ada.post(f"/admin/webhooks/{new_id()}/test"), 404, "not_found")
    problem(await site.ada.post("/admin/webhooks/what/test"), 404, "not_found")
    await site.ada.delete(f"/admin/webhooks/{webhook['id']}")
    problem(await site.ada.post(f"/admin/webhooks/{webhook['id']}/test"), 404, "not_found")


class Clock:
    """The machine's clocks, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def time(self) -> float:
        return time.time() + self.ahead


def number(name: str) -> float:
    found = prometheus_client.REGISTRY.get_sample_value(name)
    assert found is not None
    return found


async def test_the_line_is_counted_and_a_long_count_keeps_no_alert_waiting(
    site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = await a_webhook(site, receiver)
    receiver.status = 500
    for _ in range(2):
        await site.delivery()
    pool, monitor = site.node.app.state.node.database.pool, site.node.app.state.node.alert_monitor
    await until(lambda: pool.fetchval("SELECT count(*) = 2 FROM webhook_deliveries"))
    await pool.execute(
        "UPDATE webhook_deliveries SET created_at = created_at - interval '1 h'"
        " WHERE seq = (SELECT min(seq) FROM webhook_deliveries)"
    )
    await monitor.count_messages()
    assert number("callboard_webhook_messages_open") == 2
    assert 3600 <= number("callboard_webhook_oldest_seconds") < 4500
    await park(site, webhook)
    await monitor.count_messages()
    assert (number("callboard_webhook_messages_open"), number("callboard_webhook_oldest_seconds")) == (0, 0)
    assert number("callboard_webhook_messages_parked_now") == 2

    counting, go_on = asyncio.Event(), asyncio.Event()
    counted, looked = read_backlog, number("callboard_watch_last_look_timestamp_seconds")

    async def takes_long(asked: Any) -> Any:
        clock.ahead += 100.0  # seconds
        counting.set()
        await go_on.wait()
        return await counted(asked)

    clock = Clock()
    monkeypatch.setattr(monitor_module, "time", clock)
    monkeypatch.setattr("server.notify.alert_monitor.read_backlog", takes_long)
    monitor._count_due = 0.0
    monitor.look_now()
    await counting.wait()
    go_on.set()
    # Within seconds, not in the twenty times as long that is between two counts.
    await until(lambda: number("callboard_watch_last_look_timestamp_seconds") > looked + 102)
    assert monitor._count_due > clock.monotonic() + 1000


async def test_all_that_was_given_up_goes_out_again_in_order(site: Site, receiver: Receiver, problem: Check) -> None:
    webhook = await a_webhook(site, receiver)
    path = f"/admin/webhooks/{webhook['id']}/redeliver-parked"
    receiver.status = 500
    deliveries = [await site.delivery() for _ in range(3)]
    for delivery in deliveries:
        await cancel(site, delivery)
    await park(site, webhook)
    assert (await status_of(site, webhook))["parked"] == 6
    await site.ada.patch(f"/admin/webhooks/{webhook['id']}", json={"active": False})
    problem(await site.ada.post(path), 409, "webhook_not_active")
    await site.ada.patch(f"/admin/webhooks/{webhook['id']}", json={"active": True})
    receiver.status = 200
    receiver.heard.clear()
    assert (await site.ada.post(path)).json() == {"redelivered": 6}
    await receiver.messages(6)
    for delivery in deliveries:
        about = [h.message["type"] for h in receiver.heard if h.message["data"]["deliveryId"] == delivery["id"]]
        assert about == ["delivery.created", "delivery.cancelled"]
    assert (await site.ada.post(path)).json() == {"redelivered": 0}
    problem(await site.ada.post(f"/admin/webhooks/{new_id()}/redeliver-parked"), 404, "not_found")


async def test_what_a_person_sends_again_does_not_wait_out_a_pause(site: Site, receiver: Receiver) -> None:
    webhook = await a_webhook(site, receiver)
    receiver.status = 503
    await site.delivery()
    await park(site, webhook)
    outbox = site.node.app.state.node.webhooks
    pause = outbox._pauses[webhook["id"]]
    pause.until = float("inf")
    receiver.status = 200
    receiver.heard.clear()
    (message,) = await log_of(site, webhook)
    await site.ada.post(f"/admin/webhook-deliveries/{message['id']}/redeliver")
    await receiver.messages(1)
    await until(lambda: webhook["id"] not in outbox._pauses)


async def test_an_answer_that_quotes_an_order_erased_meanwhile_is_nowhere(
    site: Site, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is it in the log, which also has what was refused before the erasing."""
    webhook = await a_webhook(site, receiver, "delivery.created", "delivery.cancelled")
    receiver.quotes, receiver.hold, receiver.status = True, asyncio.Event(), 422
    delivery = await site.delivery(dropoff={**DROPOFF, "name": "Zoe Quill", "phone": "030 5550142"})
    await cancel(site, delivery)
    [created] = await receiver.messages(1)
    assert b"Zoe Quill" in created.body
    erased = await site.ada.post("/admin/privacy/erase", json={"phone": "030 5550142"})
    assert (erased.json()["deliveries"], erased.json()["webhooks"] > 0) == (1, True)
    receiver.hold.set()
    await until(lambda: len(receiver.heard) > 2)
    assert not any(b"Zoe Quill" in heard.body for heard in receiver.heard[1:])
    errors = [item["lastError"] for item in await log_of(site, webhook) if item["lastError"]]
    assert any(error.startswith("answered 422") for error in errors)
    pool = site.node.app.state.node.database.pool
    for table in ("webhook_deliveries", "webhook_attempts"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%Zoe Quill%'") == 0
    said = capsys.readouterr()
    assert "webhook_attempt_failed" in said.out + said.err
    assert "Zoe Quill" not in said.out + said.err


async def test_the_log_has_no_text_of_an_answer(
    site: Site, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook = await a_webhook(site, receiver, "delivery.created")
    receiver.quotes, receiver.answers = True, [422]
    await site.delivery(dropoff={**DROPOFF, "name": "Zoe Quill"})
    await receiver.messages(2)
    [message] = await log_of(site, webhook)
    assert message["status"], message
    said = capsys.readouterr()
    assert "'answered 422'" in (said.out + said.err) or '"answered 422"' in (said.out + said.err), said.out
    assert "Zoe Quill" not in said.out + said.err
