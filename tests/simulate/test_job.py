"""A simulated driver's whole job, against a real node: each habit by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server.driver_client.client import DriverClient
from server.simulate.driver import SimulatedDriver
from server.simulate.habits import Habits, Pace, ShopHabits
from server.simulate.orders import OrderDesk
from server.simulate.places import Place
from server.simulate.tally import Tally
from tests.simulate.conftest import Shop
from tests.waiting import beside, until

HERE, THERE = Place(52.5200, 13.4050), Place(52.5210, 13.4060)
SURE: dict[str, Any] = {"reply_seconds": (0.0, 0.05), "rejects": 0.0, "ignores": 0.0}


@asynccontextmanager
async def at_work(shop: Shop, tally: Tally, **habits: Any) -> AsyncIterator[SimulatedDriver]:
    """A driver with these habits, quick on the road."""
    driver_id = await shop.api.register_driver(name="Dan")

    def client(heard: Any) -> DriverClient:
        return DriverClient(shop.url, shop.token_of(driver_id), heard, http=shop.api.http)

    driver = SimulatedDriver(client, tally, HERE, Pace(5000.0, 0.05, 0.05), Habits(**(SURE | habits)))
    async with beside(driver.live()):
        await until(lambda: _can_be_found(shop, driver_id))
        yield driver


async def _can_be_found(shop: Shop, driver_id: str) -> bool:
    """In the published index: a search for a driver finds them at once."""
    bus = shop.node.app.state.node.bus
    return await bus.redis.zscore(bus.geo_key("default"), driver_id) is not None


async def ordered(shop: Shop, tally: Tally, *, shops: ShopHabits | None = None, prep: float = 0.0, **more: Any) -> str:
    """An order that is placed, and its delivery."""
    desk = OrderDesk(shop.api, tally, "shop", "default", shops or ShopHabits())
    desk.place("Golden Noodle", HERE, THERE, prep, **more)
    await until(lambda: tally.orders)
    [delivery_id] = tally.orders
    return delivery_id


async def becomes(shop: Shop, delivery_id: str, status: str) -> list[dict[str, Any]]:
    """Wait until the delivery is so; its timeline."""

    async def there() -> bool:
        return bool((await shop.delivery(delivery_id))["status"] == status)

    await until(there)
    timeline: dict[str, Any] = await shop.api.call("GET", f"/deliveries/{delivery_id}/timeline")
    items: list[dict[str, Any]] = timeline["items"]
    return items


def kinds(timeline: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("delivery.") for event in timeline if event["type"].startswith("delivery.")]


async def test_a_job_is_carried_out_from_door_to_door(shop: Shop) -> None:
    tally = Tally()
    async with at_work(shop, tally):
        delivery_id = await ordered(shop, tally)
        timeline = await becomes(shop, delivery_id, "DELIVERED")
        await until(lambda: tally.own(accepted=True, delivered=True))
    assert kinds(timeline)[2:] == ["assigned", "arrived", "picked_up", "arrived", "delivered"]
    places = [event["data"]["distanceKm"] for event in timeline if "distanceKm" in event["data"]]
    assert places == [0.0] * 4


async def test_a_handover_needs_the_pin_that_the_recipient_says(shop: Shop) -> None:
    tally = Tally()
    async with at_work(shop, tally, mistypes=1.0):
        delivery_id = await ordered(shop, tally, proofRequired=["pin"], pin="0042")
        timeline = await becomes(shop, delivery_id, "DELIVERED")
    assert kinds(timeline)[-2:] == ["pin_wrong", "delivered"]
    assert timeline[-1]["data"]["pin"] == "verified"
    assert tally.counts["pins_mistyped"] == 1


async def test_without_the_pin_the_goods_go_back(shop: Shop) -> None:
    """An order of somebody else's, whose PIN no recipient here can say."""
    tally = Tally()
    async with at_work(shop, tally, brings_back=1.0):
        places = {"pickup": {"lat": HERE.lat, "lon": HERE.lon}, "dropoff": {"lat": THERE.lat, "lon": THERE.lon}}
        delivery_id = await shop.api.create_delivery(
            sellerOrderId="1", storeName="Golden Noodle", proofRequired=["pin"], **places
        )
        timeline = await becomes(shop, delivery_id, "RETURNED")
    assert kinds(timeline)[-3:] == ["arrived", "returning", "returned"]


@pytest.mark.parametrize(("brings_back", "status", "last"), [(0.0, "FAILED", "failed"), (1.0, "RETURNED", "returned")])
async def test_what_cannot_be_handed_over(
    shop: Shop, brings_back: float, status: str, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.simulate.job.FAILURES", ("refused",))
    tally = Tally()
    async with at_work(shop, tally, fails=1.0, brings_back=brings_back):
        timeline = await becomes(shop, await ordered(shop, tally), status)
        await until(lambda: tally.counts[last])
    assert kinds(timeline)[-1] == last
    assert tally.own(accepted=True, delivered=False) == 0


async def test_a_job_is_given_back(shop: Shop) -> None:
    tally = Tally()
    async with at_work(shop, tally, releases=1.0):
        delivery_id = await ordered(shop, tally)
        await until(lambda: tally.counts["released"])
        timeline = await becomes(shop, delivery_id, "READY")
    assert "released" in kinds(timeline)
    assert tally.waiting == 1


async def test_reports_that_come_late_say_when_it_was(shop: Shop) -> None:
    tally = Tally()
    async with at_work(shop, tally, reports_late=1.0, late_seconds=(0.2, 0.3)):
        delivery_id = await ordered(shop, tally)
        timeline = await becomes(shop, delivery_id, "DELIVERED")
    reports = [event for event in timeline if event["type"] in ("delivery.arrived", "delivery.picked_up")]
    assert len(reports) == tally.counts["reported_late"] == 3
    assert all(event["data"]["happenedAt"] < event["at"] for event in reports)
    assert kinds(timeline)[-4:] == ["arrived", "picked_up", "arrived", "delivered"]


async def test_reports_over_http_are_as_good(shop: Shop) -> None:
    tally = Tally()
    async with at_work(shop, tally, reports_by_http=1.0):
        timeline = await becomes(shop, await ordered(shop, tally), "DELIVERED")
    assert kinds(timeline)[-4:] == ["arrived", "picked_up", "arrived", "delivered"]


async def test_a_kitchen_that_takes_longer_is_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute is a second of the driver's."""
    tally = Tally()
    monkeypatch.setattr(tally, "ready_from", lambda delivery_id, at: Tally.ready_from(tally, delivery_id, at - 59))
    async with at_work(shop, tally):
        late = ShopHabits(delays=1.0, delay_minutes=(1, 1))
        delivery_id = await ordered(shop, tally, shops=late, prep=6.0)
        timeline = await becomes(shop, delivery_id, "DELIVERED")
    assert kinds(timeline).index("changed") < kinds(timeline).index("picked_up")
    assert tally.counts["delayed"] == 1


async def test_a_kitchen_that_is_ready_early_says_so(shop: Shop) -> None:
    tally = Tally()
    async with at_work(shop, tally):
        delivery_id = await ordered(shop, tally, shops=ShopHabits(ready_early=1.0), prep=6.0)
        timeline = await becomes(shop, delivery_id, "DELIVERED")
    assert "changed" in kinds(timeline)
    assert tally.counts["ready_early"] == 1
