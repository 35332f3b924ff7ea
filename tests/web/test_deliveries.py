"""The HTTP API of deliveries."""

import json
from typing import Any

import msgspec
import pytest

from server.dispatcher import forecasts
from server.ids import new_id
from server.store.query import DatabaseAway
from server.web.api.delivery_commands import fingerprint
from server.web.api.schemas import NewDelivery
from tests.web.conftest import DROPOFF, PICKUP, Check, Site

SHAPE = {
    "id", "sellerId", "sellerOrderId", "storeName", "zone", "status", "pickup", "dropoff", "prepSeconds", "dispatchAt",
    "priceCents", "driverPayCents", "currency", "notes", "createdAt", "unassignedSince", "currentOfferId",
    "acceptedOfferId", "offerAcceptanceCount", "escalationLevel", "searchRadiusKm", "assignment", "version",
    "requirements", "promisedAt", "proofRequired", "pin", "tipCents", "readyAt", "heldUntil", "estimatedAssignmentAt",
    "estimatedPickupAt", "estimatedDeliveryAt", "arrivedAt", "risk", "risks", "riskLevel", "warnings", "trackingUrl",
    "failure", "proofs", "failureReason", "restorableUntil",
}  # fmt: skip


async def test_a_new_delivery_is_answered_with_all_of_it(site: Site) -> None:
    order = site.order(
        sellerId="roma",
        prepSeconds=300,
        priceCents=1250,
        driverPayCents=400,
        zone="mitte",
        notes="ring",
        currency="EUR",
    )
    made = await site.shop.post("/deliveries", json=order)
    assert made.status_code == 201
    delivery = made.json()
    assert set(delivery) == SHAPE
    assert delivery.items() >= order.items()
    assert made.headers["location"] == f"/deliveries/{delivery['id']}"
    assert (delivery["status"], delivery["version"] >= 1) == ("READY", True)
    assert delivery["unassignedSince"] == delivery["createdAt"] == delivery["dispatchAt"]
    shown = (await site.shop.get(f"/deliveries/{delivery['id']}")).json()
    assert shown | {"failureReason": "searching"} == delivery  # meanwhile a search may have failed


async def test_what_is_left_out_of_an_order_has_defaults(site: Site) -> None:
    delivery = await site.delivery()
    assert delivery["sellerId"] == ""
    assert delivery["zone"] == "default"
    assert (delivery["prepSeconds"], delivery["priceCents"], delivery["notes"]) == (0, None, None)
    assert delivery["currency"] == "USD"
    assert delivery["dropoff"] == DROPOFF
    assert delivery["searchRadiusKm"] == 5


async def test_the_same_order_again_is_the_same_delivery(site: Site, problem: Check) -> None:
    order = site.order(sellerId="roma", dispatchAt="2099-02-01T10:00:00Z")
    made = await site.shop.post("/deliveries", json=order)
    same = order | {"dispatchAt": "2099-02-01T11:00:00.0004+01:00", "zone": "default", "notes": None, "prepSeconds": 0}
    again = await site.shop.post("/deliveries", json=same)
    assert (made.status_code, again.status_code) == (201, 200)
    assert again.json() == made.json()
    nulls = dict.fromkeys(("requirements", "proofRequired", "promisedAt", "tipCents", "currency", "zone"))
    absent = await site.shop.post("/deliveries", json=order | nulls | {"prepSeconds": None})
    assert (absent.status_code, absent.json()) == (200, made.json()), absent.text
    for change in ({"priceCents": 1}, {"pickup": {**PICKUP, "lat": 52.5201}}, {"storeName": "Pizza  Roma"}):
        problem(await site.shop.post("/deliveries", json=order | change), 409, "delivery_differs")
    other_seller = await site.shop.post("/deliveries", json=order | {"sellerId": "napoli"})
    assert other_seller.status_code == 201


async def test_an_order_for_later_waits_for_its_time(site: Site) -> None:
    delivery = await site.delivery(dispatchAt="2099-02-01T12:00:00.5+02:00")
    assert delivery["status"] == "SCHEDULED"
    assert delivery["dispatchAt"] == "2099-02-01T10:00:00.500Z"
    assert delivery["unassignedSince"] is None


NOT_VALID: list[tuple[dict[str, Any], str]] = [
    ({"sellerOrderId": ""}, "sellerOrderId"),
    ({"sellerOrderId": "  "}, "sellerOrderId"),
    ({"sellerOrderId": 7}, "sellerOrderId"),
    ({"sellerOrderId": "x" * 201}, "sellerOrderId"),
    ({"storeName": None}, "storeName"),
    ({"storeName": "a\x00b"}, "storeName"),
    ({"notes": "a\x00b"}, "notes"),
    ({"sellerId": "\x00"}, "sellerId"),
    ({"pickup": {"lat": 90.1, "lon": 0}}, "pickup.lat"),
    ({"pickup": {"lat": 0, "lon": -180.1}}, "pickup.lon"),
    ({"pickup": {"lat": "1", "lon": 0}}, "pickup.lat"),
    ({"pickup": {"lat": 1}}, "pickup.lon"),
    ({"pickup": [1, 2]}, "pickup"),
    ({"dropoff": {"lat": 1, "lon": 2, "height": 3}}, "dropoff.height"),
    ({"dropoff": {"lat": 1, "lon": 2, "address": "\x00"}}, "dropoff.address"),
    ({"prepSeconds": -1}, "prepSeconds"),
    ({"prepSeconds": 10**30}, "prepSeconds"),
    ({"prepSeconds": 1.5}, "prepSeconds"),
    ({"priceCents": 2**31}, "priceCents"),
    ({"currency": "usd"}, "currency"),
    ({"currency": "USD\n"}, "currency"),
    ({"dispatchAt": "tomorrow"}, "dispatchAt"),
    ({"dispatchAt": "2026-02-01T10:00:00"}, "dispatchAt"),
    ({"dispatchAt": "0001-01-01T00:00:00+14:00"}, "dispatchAt"),
    ({"dispatchAt": 0}, "dispatchAt"),
    ({"dispatchAt": "9999-12-31T23:59:59Z", "prepSeconds": 86_400}, "dispatchAt"),
    ({"promisedAt": "9999-12-31T23:59:59Z"}, "promisedAt"),
    ({"zone": ""}, "zone"),
    ({"colour": "red"}, "colour"),
]


async def test_an_order_that_is_not_valid_is_refused_by_field(site: Site, problem: Check) -> None:
    for change, field in NOT_VALID:
        refused = problem(await site.shop.post("/deliveries", json=site.order(**change)), 422, "invalid")
        assert [error["field"] for error in refused["errors"]] == [field]
        assert refused["errors"][0]["message"]


async def test_a_body_may_begin_with_a_byte_order_mark(site: Site) -> None:
    body = b"\xef\xbb\xbf" + json.dumps(site.order()).encode()
    made = await site.shop.post("/deliveries", content=body, headers={"Content-Type": "application/json"})
    assert made.status_code == 201


async def test_a_whole_number_may_be_written_as_a_float(site: Site, problem: Check) -> None:
    delivery = await site.delivery(prepSeconds=300.0, priceCents=1e3, pickup={"lat": 1, "lon": 2.0})
    assert (delivery["prepSeconds"], delivery["priceCents"]) == (300, 1000)
    problem(await site.shop.post("/deliveries", json=site.order(prepSeconds=300.5)), 422, "invalid")


async def test_every_mistake_is_named_at_once(site: Site, problem: Check) -> None:
    order = {"storeName": 1, "pickup": {"lat": 91, "lat2": 1}, "dropoff": DROPOFF, "prepSeconds": -1, "x": 1}
    refused = problem(await site.shop.post("/deliveries", json=order), 422, "invalid")
    assert [error["field"] for error in refused["errors"]] == [
        "sellerOrderId", "storeName", "pickup.lat", "pickup.lon", "pickup.lat2", "prepSeconds", "x",
    ]  # fmt: skip


async def test_the_ends_of_the_world_are_places(site: Site) -> None:
    for lat, lon in ((90, 0), (-90, 0), (0, 180), (0, -180), (0.0, -0.0)):
        delivery = await site.delivery(pickup={"lat": lat, "lon": lon})
        assert delivery["pickup"] == {"lat": lat, "lon": lon}


async def test_deliveries_are_listed_newest_first_in_pages(site: Site) -> None:
    made = [(await site.delivery(zone="a" if n % 2 else "b"))["id"] for n in range(7)]
    pages = []
    url = "/deliveries?limit=3"
    cursor: str | None = ""
    while cursor is not None:
        page = (await site.vic.get(url + f"&cursor={cursor}")).json()
        pages.append([delivery["id"] for delivery in page["items"]])
        cursor = page["nextCursor"]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [delivery_id for page in pages for delivery_id in page] == made[::-1]
    in_a = (await site.vic.get("/deliveries?zone=a&status=READY")).json()
    assert [delivery["id"] for delivery in in_a["items"]] == made[5::-2]
    assert in_a["nextCursor"] is None
    assert (await site.vic.get("/deliveries?status=DELIVERED")).json() == {"items": [], "nextCursor": None}


async def test_a_page_is_stable_while_deliveries_come(site: Site) -> None:
    made = [(await site.delivery())["id"] for _ in range(4)]
    first = (await site.vic.get("/deliveries?limit=2")).json()
    await site.delivery()
    second = (await site.vic.get(f"/deliveries?limit=2&cursor={first['nextCursor']}")).json()
    assert [delivery["id"] for delivery in second["items"]] == made[1::-1]


BAD_QUERIES = [
    ("limit=0", "limit"),
    ("limit=501", "limit"),
    ("limit=many", "limit"),
    ("limit=" + "9" * 400, "limit"),
    ("status=WAITING", "status"),
    ("zone=%00", "zone"),
    ("zone=" + "z" * 65, "zone"),
    ("cursor=x", "cursor"),
    ("cursor=" + "A" * 101, "cursor"),
    ("cursor=%00", "cursor"),
    ("cursor=%C3%A9", "cursor"),
    ("cursor=WzFd", "cursor"),  # [1]
    ("cursor=WyJ4Il0", "cursor"),  # ["x"]
]


async def test_a_query_that_is_not_valid_is_refused_by_field(site: Site, problem: Check) -> None:
    for query, field in BAD_QUERIES:
        refused = problem(await site.vic.get(f"/deliveries?{query}"), 422, "invalid")
        assert [error["field"] for error in refused["errors"]] == [field], query


async def test_unknown_and_empty_query_parameters_are_ignored(site: Site) -> None:
    await site.delivery()
    page = await site.vic.get("/deliveries?colour=red&status=&zone=&limit=&cursor=&limit=5&%ff=%ff&=&a")
    assert page.status_code == 200
    assert len(page.json()["items"]) == 1


async def test_what_is_no_delivery_is_not_found(site: Site, problem: Check) -> None:
    for unknown in (new_id(), "7", "x" * 300, "%00", "%ff", "..%2fdeliveries", new_id()[:-1] + "g"):
        for path in ("", "/timeline", "/candidates"):
            problem(await site.shop.get(f"/deliveries/{unknown}{path}"), 404, "not_found")
        problem(await site.shop.post(f"/deliveries/{unknown}/assign"), 404, "not_found")
        problem(await site.shop.post(f"/deliveries/{unknown}/cancel", json={"reason": "x"}), 404, "not_found")


async def test_an_id_in_capitals_is_the_same_id(site: Site) -> None:
    delivery = await site.delivery()
    assert (await site.shop.get(f"/deliveries/{delivery['id'].upper()}")).json()["id"] == delivery["id"]


async def test_assigning_offers_the_delivery_to_the_nearest_driver(site: Site, problem: Check) -> None:
    delivery = await site.delivery()
    error = problem(await site.shop.post(f"/deliveries/{delivery['id']}/assign"), 409, "no_driver_available")
    assert error["reasons"] == []
    dan = await site.driver(at_work=True)
    offer = await dan.offer()
    again = await site.shop.post(f"/deliveries/{delivery['id']}/assign", json={})
    assert again.status_code == 200
    assert again.json() == {"offerId": offer["id"], "driverId": dan.id, "expiresAt": offer["expiresAt"]}


async def test_assigning_dispatches_a_scheduled_delivery_now(site: Site) -> None:
    dan = await site.driver(at_work=True)
    delivery = await site.delivery(dispatchAt="2099-01-01T00:00:00Z")
    started = await site.alice.post(f"/deliveries/{delivery['id']}/assign")
    assert started.status_code == 201
    assert started.json()["driverId"] == dan.id
    now = (await site.shop.get(f"/deliveries/{delivery['id']}")).json()
    assert (now["status"], now["currentOfferId"]) == ("READY", started.json()["offerId"])
    ready = [item for item in await timeline(site, delivery["id"]) if item["type"] == "delivery.ready"]
    assert ready[0]["actor"] == {"type": "ops", "id": "alice"}


async def test_nobody_found_says_why_of_each_driver(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    assert (await dan.post("/availability/pause")).status_code == 200
    delivery = await site.delivery()
    error = problem(await site.shop.post(f"/deliveries/{delivery['id']}/assign"), 409, "no_driver_available")
    assert error["reasons"] == [{"driverId": dan.id, "reason": "paused", "distanceKm": 0.07}]
    assert (error["failureReason"], error["nearest"]) == ("no_driver_dispatchable", None)
    candidates = (await site.vic.get(f"/deliveries/{delivery['id']}/candidates")).json()
    assert candidates == {
        "taken": None,
        "notTaken": error["reasons"],
        "reason": "no_driver_dispatchable",
        "nearest": None,
    }


async def test_a_delivery_that_is_not_waiting_is_not_assigned(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    delivery, _ = await site.assignment(dan)
    problem(await site.shop.post(f"/deliveries/{delivery['id']}/assign"), 409, "delivery_not_waiting")
    candidates = (await site.vic.get(f"/deliveries/{delivery['id']}/candidates")).json()
    assert candidates["taken"] == dan.id


async def test_a_delivery_is_cancelled_with_a_reason(site: Site, problem: Check) -> None:
    delivery = await site.delivery()
    path = f"/deliveries/{delivery['id']}/cancel"
    for body, field in (({}, "reason"), ({"reason": " "}, "reason"), ({"reason": "x", "force": 1}, "force")):
        assert problem(await site.shop.post(path, json=body), 422, "invalid")["errors"][0]["field"] == field
    cancelled = await site.shop.post(path, json={"reason": "sold out"})
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "CANCELLED")
    again = await site.shop.post(path, json={"reason": "really"})
    assert (again.status_code, again.json()) == (200, cancelled.json())
    problem(await site.shop.post(f"/deliveries/{delivery['id']}/assign"), 409, "delivery_not_waiting")


async def test_after_pickup_only_dispatchers_cancel_and_only_with_force(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    delivery, assignment = await site.assignment(dan)
    assert (await dan.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
    path = f"/deliveries/{delivery['id']}/cancel"
    forced = {"reason": "lost", "force": True}
    problem(await site.shop.post(path, json=forced), 409, "already_picked_up")
    for client in (site.alice, site.ada):
        problem(await client.post(path, json={"reason": "lost"}), 409, "already_picked_up")
    cancelled = await site.alice.post(path, json=forced)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "CANCELLED")


async def test_a_delivered_order_is_not_cancelled(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    delivery, assignment = await site.assignment(dan)
    assert (await dan.post(f"/assignments/{assignment['id']}/complete")).status_code == 200
    body = {"reason": "late", "force": True}
    problem(await site.ada.post(f"/deliveries/{delivery['id']}/cancel", json=body), 409, "already_delivered")


async def timeline(site: Site, delivery_id: str, query: str = "") -> list[dict[str, Any]]:
    answer = (await site.vic.get(f"/deliveries/{delivery_id}/timeline{query}")).json()
    assert set(answer) == {"items", "nextCursor"}
    items: list[dict[str, Any]] = answer["items"]
    return items


async def test_the_timeline_tells_the_whole_story_with_who_and_when(site: Site) -> None:
    dan = await site.driver(at_work=True)
    delivery, assignment = await site.assignment(dan)
    await dan.post(f"/assignments/{assignment['id']}/complete")
    story = await timeline(site, delivery["id"])
    found = [(item["type"], item["actor"]["type"], item["actor"]["id"]) for item in story]
    assert found == [
        ("delivery.created", "service", "corner-shop"),
        ("delivery.ready", "service", "corner-shop"),
        ("offer.created", "system", None),
        ("offer.accepted", "driver", dan.id),
        ("delivery.assigned", "driver", dan.id),
        ("delivery.picked_up", "driver", dan.id),
        ("delivery.delivered", "driver", dan.id),
    ]
    assert [item["at"] for item in story] == sorted(item["at"] for item in story)
    assert story[0].keys() == {"at", "type", "actor", "data"}
    assert story[3].items() >= {"driverId": dan.id, "assignmentId": assignment["id"]}.items()
    assert story[3]["data"]["responseTimeMs"] >= 0


async def test_a_long_timeline_comes_in_pages(site: Site) -> None:
    dan = await site.driver(at_work=True)
    delivery, _ = await site.assignment(dan)
    whole = await timeline(site, delivery["id"])
    first = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline?limit=2")).json()
    rest = await timeline(site, delivery["id"], f"?cursor={first['nextCursor']}")
    assert first["items"] + rest == whole


async def test_the_assignment_of_a_delivery_is_shown_until_it_is_taken_away(site: Site) -> None:
    dan = await site.driver(at_work=True)
    delivery, assignment = await site.assignment(dan)
    shown = (await site.vic.get(f"/deliveries/{delivery['id']}")).json()
    assert shown["assignment"] == assignment
    assert (shown["status"], shown["offerAcceptanceCount"]) == ("ASSIGNED", 1)
    listed = (await site.vic.get("/deliveries")).json()["items"]
    times = {name: shown[name] for name in ("estimatedPickupAt", "estimatedDeliveryAt")}  # they go on with the clock
    assert [one | times for one in listed] == [shown]
    reassigned = await site.ada.post(f"/admin/assignments/{assignment['id']}/reassign", json={"reason": "flat tyre"})
    assert reassigned.status_code == 200
    assert (await site.vic.get(f"/deliveries/{delivery['id']}")).json()["assignment"] is None


def test_the_fingerprint_is_of_what_is_asked_not_of_how_it_is_written() -> None:
    def of(text: str) -> str:
        return fingerprint(msgspec.json.decode(text, type=NewDelivery))

    one_order = '{"sellerOrderId":"o","storeName":"s","pickup":{"lat":1,"lon":2},"dropoff":{"lat":3,"lon":4}}'
    one = of(one_order)
    same = (
        '{"zone":"default","notes":null,"dropoff":{"lon":4.0,"lat":3.0},"pickup":{"lat":1.0,"lon":2e0,"address":null},'
        ' "storeName":"\\u0073", "sellerOrderId":"o"}'
    )
    assert of(same) == one
    absent = (
        f'{one_order[:-1]},"sellerId":null,"prepSeconds":null,"requirements":null,"proofRequired":null,"pin":null}}'
    )
    assert of(absent) == one
    other = '{"sellerOrderId":"o","storeName":"s","pickup":{"lat":1,"lon":2,"address":""},"dropoff":{"lat":3,"lon":4}}'
    assert of(other) != one


async def test_what_is_done_is_not_answered_try_again_when_its_expected_times_cannot_be_read(
    site: Site, problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second delay would add to the first."""
    delivery, _ = await site.assignment(await site.driver(at_work=True))

    async def away(*_: Any) -> Any:
        raise DatabaseAway("for the test")

    with monkeypatch.context() as patched:
        patched.setattr(forecasts, "read_carried", away)
        path = f"/deliveries/{delivery['id']}"
        problem(await site.shop.get(path), 503, "try_again")
        calls = [
            await site.shop.post(f"{path}/delay", json={"minutes": 5}),
            await site.shop.post(f"{path}/ready"),
        ]
        changed = {"notes": "ring twice", "version": calls[-1].json()["version"]}
        calls.append(await site.shop.patch(path, json=changed))
        assert [call.status_code for call in calls] == [200] * 3
    assert (await site.shop.get(path)).json()["notes"] == "ring twice"
