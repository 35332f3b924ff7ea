"""Alerts from end to end: raised once, sent to everybody who should know, acknowledged, resolved automatically."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from server.dispatch import commands as c
from server.ids import new_id
from server.notify import alert_monitor
from server.notify.alert_monitor import AlertMonitor
from server.store.connections import Pool
from server.store.query import DatabaseAway
from server.store.reads.zone_numbers import OpenAlert, read_open_alert_keys
from tests.notify.conftest import a_webhook, cancel
from tests.receiver import Receiver
from tests.waiting import beside, until
from tests.web.conftest import Check, Site


async def set_alerts(site: Site, **changes: Any) -> None:
    policy = (await site.ada.get("/admin/policy")).json()
    policy["alerts"] |= changes
    assert (await site.ada.put("/admin/policy", json=policy)).status_code == 200


async def alerts(site: Site) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await site.vic.get("/admin/alerts")).json()["items"]
    return items


async def look(site: Site) -> None:
    """The monitor looks now."""
    await site.node.app.state.node.alert_monitor.look()


async def test_too_many_orders_without_a_driver(site: Site, receiver: Receiver) -> None:
    await a_webhook(site, receiver, "alert.raised", "alert.resolved")
    await set_alerts(site, unassignedCount=2)
    with capture_logs() as lines:
        deliveries = [await site.delivery() for _ in range(3)]
        await cancel(site, deliveries[2])
        (await site.alice.post(f"/deliveries/{deliveries[2]['id']}/restore")).raise_for_status()
        later = await site.delivery()
        changed = {"version": later["version"], "dispatchAt": "2099-01-01T00:00:00Z"}
        (await site.shop.patch(f"/deliveries/{later['id']}", json=changed)).raise_for_status()
        await look(site)
        await look(site)
        (alert,) = await alerts(site)
        assert (alert["kind"], alert["zone"], alert["value"], alert["threshold"]) == (
            "unassigned_count",
            "default",
            3.0,
            2.0,
        )
        assert alert["resolvedAt"] is None
        (raised,) = await receiver.messages(1)
        assert raised.message["type"] == "alert.raised"
        assert raised.message["data"]["data"]["alertId"] == alert["id"]
        behind = (await site.vic.get(f"/admin/alerts/{alert['id']}")).json()
        assert behind["kind"] == "unassigned_count"
        assert [item["deliveryId"] for item in behind["deliveries"]] == [item["id"] for item in deliveries]
        assert behind["drivers"] == []
        await cancel(site, deliveries[0])
        await look(site)
        assert (await alerts(site))[0]["resolvedAt"] is None, "two are no more than two, but not well below it"
        await cancel(site, deliveries[1])
        await look(site)
        (over,) = await alerts(site)
        assert over["resolvedAt"] is not None
    await receiver.messages(2)
    assert receiver.types() == ["alert.raised", "alert.resolved"]
    found = [
        (line["event"], line["log_level"], line["alertId"]) for line in lines if line["event"].startswith("alert_")
    ]
    assert found == [("alert_raised", "warning", alert["id"]), ("alert_resolved", "info", alert["id"])]
    behind = (await site.vic.get(f"/admin/alerts/{alert['id']}")).json()
    assert [item["deliveryId"] for item in behind["deliveries"]] == [item["id"] for item in deliveries], (
        "who waited when it was raised, also what was restored, though two are cancelled by now"
    )
    notices = [
        notice for notice in (await site.vic.get("/admin/notices")).json()["items"] if notice["channel"] != "webhook"
    ]
    assert [notice["kind"] for notice in notices] == ["alert.resolved", "alert.raised"]
    assert notices[1]["text"] == "Zone default: 3 orders are without a driver (threshold 2)."
    assert notices[1]["alertId"] == alert["id"]


async def test_too_many_rejections_and_then_too_little_to_tell_from(site: Site) -> None:
    await set_alerts(site, minimumSample=4, rejectedShare=0.5)
    delivery = await site.delivery()
    driver = await site.driver()
    for number in range(1, 7):
        status = "REJECTED" if number <= 4 else "ACCEPTED"
        await site.node.change(
            "INSERT INTO driver_offers (id, delivery_id, driver_id, status, attempt, offer_payload, created_at,"
            " expires_at, closed_at, accepted_at, rejected_at) VALUES ($1, $2, $3, $4, $5, '{}',"
            " now() - interval '10 min', now(), now() - interval '5 min',"
            " CASE WHEN $4 = 'ACCEPTED' THEN now() END, CASE WHEN $4 = 'REJECTED' THEN now() END)",
            new_id(), delivery["id"], driver.id, status, number,
        )  # fmt: skip
    await look(site)
    (alert,) = await alerts(site)
    assert (alert["kind"], alert["threshold"]) == ("rejected_share", 0.5)
    assert alert["value"] == pytest.approx(4 / 6)
    behind = (await site.vic.get(f"/admin/alerts/{alert['id']}")).json()
    assert behind["drivers"] == [{"driverId": driver.id, "name": "Dan", "rejections": 4, "reason": "none_given"}]
    assert [(item["deliveryId"], item["rejections"]) for item in behind["deliveries"]] == [(delivery["id"], 4)]
    metrics = (await site.nobody.get("/metrics")).text
    assert 'callboard_rejected_share{zone="default"} 0.66' in metrics
    assert 'callboard_alerts_open{kind="rejected_share",zone="default"} 1.0' in metrics
    await site.node.change(
        "UPDATE driver_offers SET created_at = now() - interval '3 h', closed_at = now() - interval '2 h'"
    )
    await look(site)
    (over,) = await alerts(site)
    assert over["resolvedAt"] is not None
    assert "callboard_alerts_open{" not in (await site.nobody.get("/metrics")).text


async def test_behind_orders_that_wait_are_the_drivers_who_did_not_take_them(site: Site) -> None:
    await set_alerts(site, unassignedCount=0)
    dan = await site.driver("Dan", at_work=True)
    delivery = await site.delivery()
    offer = await dan.offer()
    await dan.post(f"/offers/{offer['id']}/reject", {"reason": "too_far"})
    await look(site)
    (alert,) = await alerts(site)
    behind = (await site.vic.get(f"/admin/alerts/{alert['id']}")).json()
    assert behind["drivers"] == [{"driverId": dan.id, "name": "Dan", "rejections": 1, "reason": "too_far"}]
    await cancel(site, delivery)
    await look(site)
    over = (await site.vic.get(f"/admin/alerts/{alert['id']}")).json()
    assert over["resolvedAt"]
    assert [item["deliveryId"] for item in over["deliveries"]] == [delivery["id"]]
    assert over["drivers"] == behind["drivers"]


async def test_the_watch_looks_by_itself_when_thresholds_change(site: Site) -> None:
    await site.delivery()
    await set_alerts(site, unassignedCount=0)
    (alert,) = await until(lambda: alerts(site))
    assert alert["threshold"] == 0.0


async def test_an_alert_is_acknowledged_by_name_once(site: Site, problem: Check) -> None:
    await set_alerts(site, unassignedCount=0)
    delivery = await site.delivery()
    await look(site)
    (alert,) = await alerts(site)
    path = f"/admin/alerts/{alert['id']}/acknowledge"
    for client, status, code in ((site.vic, 403, "forbidden"), (site.shop, 403, "forbidden")):
        problem(await client.post(path), status, code)
    problem(await site.nobody.post(path), 401, "unauthorized")
    acknowledged = await site.alice.post(path)
    assert acknowledged.status_code == 200, acknowledged.text
    assert acknowledged.json()["acknowledgedBy"] == "alice"
    assert (await site.ada.post(path)).json()["acknowledgedBy"] == "alice"
    problem(await site.alice.post(f"/admin/alerts/{new_id()}/acknowledge"), 404, "not_found")
    problem(await site.alice.post("/admin/alerts/what/acknowledge"), 404, "not_found")
    problem(await site.alice.get(f"/admin/alerts/{new_id()}"), 404, "not_found")
    problem(await site.shop.get(f"/admin/alerts/{alert['id']}"), 403, "forbidden")
    await cancel(site, delivery)
    await look(site)
    problem(await site.alice.post(path), 409, "alert_over")


async def test_two_that_raise_the_same_alert_at_once_raise_one(site: Site) -> None:
    executor = site.node.app.state.node.executor
    answers = [
        await answer
        for answer in [
            executor.submit(c.RaiseAlert(new_id(), "unassigned_count", "north", 11.0, 10.0)) for _ in range(3)
        ]
    ]
    assert [answer.decided.repeated for answer in answers] == [False, True, True]
    assert len([alert for alert in await alerts(site) if alert["zone"] == "north"]) == 1


async def test_numbers_from_before_another_look_raise_nothing_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_alerts(site, unassignedCount=0)
    delivery = await site.delivery()
    await look(site)
    counted, go_on = asyncio.Event(), asyncio.Event()

    async def read_late(pool: Pool) -> list[OpenAlert]:
        if not counted.is_set():
            counted.set()
            await go_on.wait()
        return await read_open_alert_keys(pool)

    monkeypatch.setattr(alert_monitor, "read_open_alert_keys", read_late)
    async with beside(look(site)) as early:
        await counted.wait()
        await cancel(site, delivery)
        async with beside(look(site)) as late:
            await until(lambda: late.done() or site.node.app.state.node.alert_monitor._looking.locked())
            go_on.set()
            await asyncio.gather(early, late)
    (alert,) = await alerts(site)
    assert alert["resolvedAt"] is not None


async def test_after_a_failure_the_next_look_is_as_soon_as_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that took long is followed by a long rest, but not one that failed after a long wait."""
    now = 0.0
    pauses: list[float] = []
    ended = asyncio.Event()

    async def fails(_: AlertMonitor) -> None:
        nonlocal now
        now += 5.0
        raise DatabaseAway("nobody answers")

    async def wait(_: asyncio.Event, seconds: float) -> bool:
        pauses.append(seconds)
        ended.set()
        await asyncio.Event().wait()
        return False

    node = site.node.app.state.node
    monitor = AlertMonitor(pool=node.database.pool, lease=node.lease, executor=node.executor, policies=node.policies)
    monkeypatch.setattr(AlertMonitor, "look", fails)
    monkeypatch.setattr(alert_monitor, "wait_until_set", wait)
    monkeypatch.setattr(alert_monitor, "time", SimpleNamespace(monotonic=lambda: now))
    running = asyncio.create_task(monitor.run())
    await until(ended.is_set)
    running.cancel()
    assert pauses[0] == alert_monitor.EVERY_SECONDS
