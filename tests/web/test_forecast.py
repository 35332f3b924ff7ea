"""The forecast of zones, and what is expected of a delivery: on the API and on its page."""

import time
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.waiting import until
from tests.web.conftest import DROPOFF, PICKUP, Check, Driver, Site

KM = 1 / 111.19
"""A kilometre north, in degrees."""


@pytest.fixture(autouse=True)
def _found_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found out slowly is not kept for longer."""
    monkeypatch.setattr("server.dispatcher.forecasts.REST_FACTOR", 0.0)


async def zone_of(site: Site) -> dict[str, Any]:
    """The forecast of the only zone."""
    zones: list[dict[str, Any]] = (await site.vic.get("/admin/forecast")).json()["zones"]
    assert len(zones) == 1
    return zones[0]


async def shown(site: Site, delivery_id: str) -> dict[str, Any]:
    delivery: dict[str, Any] = (await site.shop.get(f"/deliveries/{delivery_id}")).json()
    return delivery


async def first_listed(site: Site) -> dict[str, Any]:
    delivery: dict[str, Any]
    (delivery,) = (await site.shop.get("/deliveries")).json()["items"]
    return delivery


def seconds_from(delivery: dict[str, Any], start: str, end: str) -> float:
    return (datetime.fromisoformat(delivery[end]) - datetime.fromisoformat(delivery[start])).total_seconds()


ESTIMATES = ("estimatedAssignmentAt", "estimatedPickupAt", "estimatedDeliveryAt")


async def left(asking: Awaitable[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """The seconds until what is expected of a delivery, at least and at most: the answer is of some time between the
    question and its arrival.
    """
    asked = time.time()
    delivery = await asking
    answered = time.time()
    found = {name: datetime.fromisoformat(delivery[name]).timestamp() for name in ESTIMATES if delivery[name]}
    return {name: (at - answered, at - asked) for name, at in found.items()}


def is_about(left: tuple[float, float], wanted: float, within: float = 15) -> bool:
    least, most = left
    return least - within <= wanted <= most + within


async def page_of(site: Site, delivery_id: str) -> str:
    return (await site.alice.get(f"/board/deliveries/{delivery_id}/now")).text


async def test_nothing_waits_and_nobody_works(site: Site) -> None:
    assert (await site.vic.get("/admin/forecast")).json() == {"zones": []}
    assert (await site.vic.get("/admin/forecast?zone=nord")).json()["zones"] == [
        {
            "zone": "nord",
            "waiting": 0,
            "held": 0,
            "freeNow": 0,
            "freeIn": {"5": 0, "10": 0, "15": 0},
            "arrivingIn": {"5": 0, "10": 0, "15": 0},
            "minutesToClear": 0,
            "reason": None,
        }
    ]


async def test_without_drivers_it_is_not_known_and_the_reason_is_said(site: Site) -> None:
    delivery = await site.delivery()
    assert delivery["estimatedAssignmentAt"] is None
    assert (await shown(site, delivery["id"]))["estimatedAssignmentAt"] is None
    zone = await zone_of(site)
    assert (zone["waiting"], zone["freeNow"], zone["minutesToClear"]) == (1, 0, None)
    assert zone["reason"] == "no_driver_in_zone"
    assert "not known: no driver of the zone is at work" in await page_of(site, delivery["id"])


async def test_an_order_gets_the_driver_who_comes_free(site: Site) -> None:
    """Dan has a kilometre to go, and 10 minutes for the handover."""
    dan = await site.driver("Dan", at_work=True)
    first, assignment = await site.assignment(dan, dropoff={"lat": PICKUP["lat"] + KM, "lon": PICKUP["lon"]})
    assert (await dan.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
    second = await site.delivery()
    third = await site.delivery()

    async def expected() -> Any:
        found = [await shown(site, each["id"]) for each in (first, second, third)]
        if not all(one["estimatedAssignmentAt"] for one in found[1:]):
            return None
        # The first and the second are of the same time, unless the machine stood still between them.
        free_at = {"estimatedDeliveryAt": found[0]["estimatedDeliveryAt"]}
        apart = seconds_from(found[1] | free_at, "estimatedAssignmentAt", "estimatedDeliveryAt")
        return found if apart == pytest.approx(0, abs=5) else None

    carried, next_, last = await until(expected)
    # Dan is 67 m off the pickup: he hands over after a kilometre by road at 25 km/h, and 10 minutes.
    assert seconds_from(next_, "createdAt", "estimatedAssignmentAt") == pytest.approx(1.3 / 25 * 3600 + 600, abs=40)
    assert carried["estimatedAssignmentAt"] is None
    assert last["estimatedAssignmentAt"] > next_["estimatedAssignmentAt"]

    async def both() -> Any:
        zone = await zone_of(site)
        return zone if zone["waiting"] == 2 else None

    zone = await until(both)
    assert (zone["freeNow"], zone["freeIn"]) == (0, {"5": 0, "10": 0, "15": 1})
    minutes = seconds_from(last, "createdAt", "estimatedAssignmentAt") / 60
    assert zone["minutesToClear"] == pytest.approx(minutes, abs=1.5)
    page = await page_of(site, second["id"])
    assert "minutes until this order gets a driver" in page


async def test_a_free_driver_takes_the_next_order_at_once(site: Site) -> None:
    await site.driver("Dan", at_work=True)

    async def free() -> Any:
        found = (await site.vic.get("/admin/forecast?zone= Default ")).json()["zones"]
        return found[0]["freeNow"] == 1

    await until(free)
    delivery = await site.delivery()
    assert is_about((await left(shown(site, delivery["id"])))["estimatedAssignmentAt"], 0, within=5)


async def test_scheduled_and_held_orders_arrive(site: Site) -> None:
    await site.driver("Dan", at_work=True)
    soon = (datetime.now().astimezone() + timedelta(minutes=8)).isoformat()
    await site.delivery(dispatchAt=soon)
    held = await site.delivery(prepSeconds=1140)

    async def arriving() -> Any:
        zone = await zone_of(site)
        return zone if zone["held"] == 1 else None

    zone = await until(arriving)
    # Held until 2 min and the way before the goods are ready: in less than 17 minutes.
    assert (zone["waiting"], zone["minutesToClear"]) == (0, 0)
    assert zone["arrivingIn"] == {"5": 0, "10": 1, "15": 1}
    later = await shown(site, held["id"])
    assert later["estimatedAssignmentAt"] == later["heldUntil"]


async def test_the_estimate_follows_the_driver(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    delivery, assignment = await site.assignment(dan)
    near = await left(shown(site, delivery["id"]))
    await dan.move(PICKUP["lat"] + KM, PICKUP["lon"])
    away = await left(shown(site, delivery["id"]))
    way = 1.3 / 25 * 3600
    assert is_about(near["estimatedPickupAt"], 10)
    assert is_about(away["estimatedPickupAt"], way)
    for name in ("estimatedPickupAt", "estimatedDeliveryAt"):
        moved = (away[name][0] - near[name][1], away[name][1] - near[name][0])
        assert is_about(moved, way - 10)
    assert "pickup about" in await page_of(site, delivery["id"])
    assert is_about((await left(first_listed(site)))["estimatedPickupAt"], way)

    assert (await dan.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
    await dan.move(DROPOFF["lat"], DROPOFF["lon"])
    there = await left(shown(site, delivery["id"]))
    assert is_about(there["estimatedDeliveryAt"], 600)
    assert "pickup about" not in await page_of(site, delivery["id"])


@pytest.mark.parametrize("query", ["?zone=%00", f"?zone={'x' * 65}"])
async def test_a_malformed_question_is_refused(site: Site, problem: Check, query: str) -> None:
    problem(await site.vic.get(f"/admin/forecast{query}"), 422, "invalid")


async def test_only_people_may_ask(site: Site, problem: Check) -> None:
    driver: Driver = await site.driver()
    for client in (site.shop, driver.client):
        problem(await client.get("/admin/forecast"), 403, "forbidden")
    problem(await site.nobody.get("/admin/forecast"), 401, "unauthorized")
    for client in (site.vic, site.alice, site.ada):
        assert (await client.get("/admin/forecast")).status_code == 200
