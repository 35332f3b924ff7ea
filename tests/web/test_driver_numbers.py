"""A driver's own numbers of today and of the week."""

import time
from datetime import UTC, datetime, timedelta

from server.ids import new_id
from server.store.reads.driver_numbers import Stay, seconds_in
from tests.conftest import StartNode
from tests.web.conftest import Check, Driver, Site

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


async def delivered(site: Site, driver: Driver, **order: object) -> str:
    """The assignment of a delivery that this driver has completed."""
    _, assignment = await site.assignment(driver, **order)
    assert (await driver.post(f"/assignments/{assignment['id']}/complete")).status_code == 200
    made: str = assignment["id"]
    return made


async def test_deliveries_pay_and_time_on_shift_of_today_and_of_the_week(node: StartNode, problem: Check) -> None:
    # It is noon, so that no midnight comes while the test runs.
    zone = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"
    site = Site(await node(time_zone=zone))
    began = time.monotonic()
    try:
        dan = await site.driver(at_work=True)
        fresh = (await dan.get("/numbers")).json()
        assert fresh["timeZone"] == zone
        assert fresh["today"]["deliveries"] == fresh["week"]["deliveries"] == 0
        assert fresh["today"]["pay"] == []

        await delivered(site, dan, driverPayCents=720, tipCents=100, currency="EUR")
        offered = await site.delivery(tipCents=30)
        earning = (offer := await dan.offer())["payload"]["estimatedEarningCents"]
        assert earning > 30
        accepted = await dan.post(f"/offers/{offer['id']}/accept")
        assert accepted.json()["assignment"]["deliveryId"] == offered["id"]
        # The customer tips more after the driver has accepted.
        for tip in (100, 250):
            version = (await site.shop.get(f"/deliveries/{offered['id']}")).json()["version"]
            changed = {"version": version, "tipCents": tip}
            assert (await site.shop.patch(f"/deliveries/{offered['id']}", json=changed)).status_code == 200
        await dan.post(f"/assignments/{accepted.json()['assignment']['id']}/complete")
        # As if the policy's currency had changed between the order and the offer.
        _, abroad = await site.assignment(dan)
        assert (await dan.post(f"/assignments/{abroad['id']}/complete")).status_code == 200
        await site.node.change("UPDATE deliveries SET currency = 'JPY' WHERE id = $1", abroad["deliveryId"])
        both = 2 * earning - 30 + 220
        long_ago = await delivered(site, dan, driverPayCents=5_000, currency="EUR")
        await site.node.change(
            "UPDATE assignments SET completed_at = now() - interval '8 days' WHERE id = $1", long_ago
        )
        unpaid = await site.delivery()
        await dan.offer()
        given = {"driverId": dan.id, "reason": "agreed by phone", "mode": "assign", "replaceOffer": True}
        by_hand = await site.alice.post(f"/admin/deliveries/{unpaid['id']}/assign", json=given)
        assert by_hand.status_code == 201, by_hand.text
        await dan.post(f"/assignments/{by_hand.json()['assignment']['id']}/complete")

        # A break of ten minutes in an hour on shift.
        await site.node.change(
            """UPDATE driver_availability_history SET "timestamp" = "timestamp" - interval '70 minutes'
               WHERE driver_id = $1""",
            dan.id,
        )
        await site.node.change(
            """INSERT INTO driver_availability_history
                 (id, driver_id, from_state, to_state, reason, actor_id, actor_type, "timestamp")
               VALUES ($1, $3, 'available', 'on_break', NULL, NULL, 'driver', now() - interval '20 minutes'),
                      ($2, $3, 'on_break', 'available', NULL, NULL, 'driver', now() - interval '10 minutes')""",
            new_id(), new_id(), dan.id,
        )  # fmt: skip
        numbers = (await dan.get("/numbers")).json()
        for period in (numbers["today"], numbers["week"]):
            assert (period["deliveries"], period["withoutPay"]) == (4, 1)
            assert period["pay"] == [{"currency": "EUR", "cents": 820}, {"currency": "USD", "cents": both}]
            assert period["breakSeconds"] == 600
            assert 3600 <= period["onShiftSeconds"] <= 3600 + time.monotonic() - began
        today, week = (datetime.fromisoformat(numbers[name]["since"]) for name in ("today", "week"))
        assert datetime.now(UTC) - today < timedelta(hours=14)
        assert week.astimezone(UTC) <= today
        assert (today - week) % timedelta(days=1) == timedelta()

        assert (await site.vic.get(f"/drivers/{dan.id}/numbers")).json()["week"]["deliveries"] == 4
        problem(await site.vic.get(f"/drivers/{new_id()}/numbers"), 404, "not_found")
        dora = await site.driver("Dora")
        problem(await dora.client.get(f"/drivers/{dan.id}/numbers"), 403, "forbidden")
        problem(await site.vic.get("/drivers/dan/numbers"), 404, "not_found")
    finally:
        await site.close()


def test_only_the_part_of_a_stay_after_the_start_counts() -> None:
    at = [START + timedelta(minutes=minutes) for minutes in (0, 30, 40, 90)]
    stays = [Stay("available", at[0], at[1]), Stay("on_break", at[1], at[2]), Stay("paused", at[2], at[3])]
    assert seconds_in(stays, START, "available", "paused") == 80 * 60
    assert seconds_in(stays, at[1] - timedelta(minutes=10), "available", "paused") == 60 * 60
    assert seconds_in(stays, at[3], "available", "on_break") == 0
