"""The HTTP API of the whole job: orders that change, drivers who arrive, give back and fail, and ops for them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.contract.views import instant
from server.ids import new_id
from tests.waiting import until
from tests.web.conftest import DROPOFF, PICKUP, Check, Site
from tests.web.html_tree import parse

PIN = {"proofRequired": ["pin"], "pin": "0417"}


async def job(site: Site, **order: Any) -> tuple[Any, dict[str, Any], str]:
    """Dan has an order: Dan, the order, the path of its assignment below his."""
    dan = await site.driver(at_work=True)
    delivery, assignment = await site.assignment(dan, **order)
    return dan, delivery, f"/assignments/{assignment['id']}"


async def shown(site: Site, delivery: dict[str, Any]) -> dict[str, Any]:
    answer = await site.alice.get(f"/deliveries/{delivery['id']}")
    found: dict[str, Any] = answer.json()
    return found


async def test_an_order_says_who_is_met_and_what_is_asked_for(site: Site) -> None:
    people = {"pickup": {**PICKUP, "name": "Ms Bowl", "phone": "+49 30 1", "notes": "ring twice"}}
    more = {"requirements": ["cold"], "tipCents": 100, "promisedAt": "2099-02-01T10:00:00.000Z", "notes": "no onions"}
    delivery = await site.delivery(**people, **more, **PIN)
    assert delivery.items() >= (people | more | PIN).items()
    assert (delivery["arrivedAt"], delivery["risks"], delivery["failure"]) == (
        {"pickup": None, "dropoff": None},
        [],
        None,
    )
    assert "pin" not in (await site.vic.get(f"/deliveries/{delivery['id']}")).json()
    made_up = await site.delivery(proofRequired=["pin"])
    assert len(made_up["pin"]) == 4
    assert made_up["pin"].isdigit()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"currency": "XYZ"}, "currency"),
        ({"pin": "12345"}, "pin"),
        ({"pin": "٠٤١٧"}, "pin"),
        ({"proofRequired": ["blood"]}, "proofRequired[...]"),
        ({"requirements": [""]}, "requirements[...]"),
        ({"tipCents": -1}, "tipCents"),
        ({"pickup": {**PICKUP, "notes": "x" * 1001}}, "pickup.notes"),
    ],
)
async def test_what_is_no_order_is_refused_by_its_field(
    site: Site, problem: Check, change: dict[str, Any], field: str
) -> None:
    answer = problem(await site.shop.post("/deliveries", json=site.order(**change)), 422, "invalid")
    assert answer["errors"][0]["field"].partition("[")[0] == field.partition("[")[0]


async def test_the_same_order_in_other_words_is_the_same(site: Site, problem: Check) -> None:
    order = site.order(notes="no onions", requirements=["cold", "van"])
    made = await site.shop.post("/deliveries", json=order)
    words = order | {"notes": " no onions ", "requirements": ["van", "cold"], "tipCents": None, "currency": "USD"}
    again = await site.shop.post("/deliveries", json=words)
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    differs = await site.shop.post("/deliveries", json=order | {"tipCents": 5, "notes": "extra"})
    error = problem(differs, 409, "delivery_differs")
    assert (error["id"], error["fields"]) == (made.json()["id"], ["notes", "tipCents"])


async def test_pay_in_another_currency_than_the_policys_must_be_said(site: Site, problem: Check) -> None:
    problem(await site.shop.post("/deliveries", json=site.order(currency="EUR")), 422, "pay_required")
    paid = await site.delivery(currency="JPY", driverPayCents=700)
    assert (paid["currency"], paid["driverPayCents"]) == ("JPY", 700)


async def test_a_trip_that_is_too_long_waits_for_somebody_to_look(site: Site) -> None:
    dan = await site.driver(at_work=True)
    far = await site.delivery(dropoff={"lat": 48.14, "lon": 11.58})
    assert (far["warnings"], far["risk"]) == (["trip_too_long"], "check_address")
    by_hand = {"driverId": dan.id, "reason": "it is right", "mode": "assign"}
    assigned = await site.alice.post(f"/admin/deliveries/{far['id']}/assign", json=by_hand)
    assert assigned.status_code == 201
    assert (await shown(site, far))["risk"] is None


async def test_an_order_is_changed_by_who_knows_it_as_it_is(site: Site, problem: Check) -> None:
    delivery = await site.delivery(notes="no onions", priceCents=900)
    path = f"/deliveries/{delivery['id']}"
    there = {**DROPOFF, "lat": 52.531}
    version = (await shown(site, delivery))["version"]
    changed = await site.shop.patch(path, json={"version": version, "notes": None, "dropoff": there, "tipCents": 50})
    assert changed.status_code == 200
    assert changed.json().items() >= {"notes": None, "dropoff": there, "tipCents": 50, "priceCents": 900}.items()
    problem(await site.shop.patch(path, json={"version": version, "notes": "x"}), 409, "version_changed")
    named = {"requirements": ["bike"], "proofRequired": ["photo"], "prepSeconds": 60}
    for fields in (named, dict.fromkeys(named)):
        version = (await shown(site, delivery))["version"]
        changed = await site.shop.patch(path, json={"version": version, **fields})
        assert changed.status_code == 200, changed.text
        got = {field: changed.json()[field] for field in named}
        assert got == (fields if fields is named else {"requirements": [], "proofRequired": [], "prepSeconds": 0})
    problem(await site.shop.patch(path, json={"notes": "x"}), 422, "invalid")
    problem(await site.shop.patch(path, json={"version": 1, "zone": "mitte"}), 422, "invalid")
    problem(await site.shop.patch(f"/deliveries/{new_id()}", json={"version": 1, "notes": "x"}), 404, "not_found")
    (await site.shop.post(path + "/cancel", json={"reason": "sold out"})).raise_for_status()
    problem(await site.shop.patch(path, json={"version": 9, "notes": "x"}), 409, "delivery_over")


async def test_an_order_that_is_offered_can_wait_until_later(site: Site) -> None:
    """Nobody is asked until its new time; then it waits for a driver as at first."""
    await site.driver("Dan", at_work=True)
    delivery = await site.delivery()
    path = f"/deliveries/{delivery['id']}"
    (await site.shop.post(path + "/assign")).raise_for_status()
    later = instant(datetime.now(UTC) + timedelta(hours=1))
    body = {"version": (await shown(site, delivery))["version"], "dispatchAt": later}
    changed = (await site.shop.patch(path, json=body)).json()
    waits = {"status": "SCHEDULED", "dispatchAt": later, "readyAt": later, "unassignedSince": None}
    assert changed.items() >= (waits | {"currentOfferId": None, "promisedAt": None}).items()
    types = [item["type"] for item in (await site.vic.get(path + "/timeline")).json()["items"]]
    assert types[-3:] == ["offer.withdrawn", "delivery.changed", "delivery.postponed"]
    waiting = (await site.vic.get("/admin/unassigned-orders")).json()["items"]
    assert delivery["id"] not in [item["deliveryId"] for item in waiting]
    await site.node.app.state.node.lease.release()  # else the node may be the first to offer it again
    now = {"version": changed["version"], "dispatchAt": instant(datetime.now(UTC))}
    assert (await site.shop.patch(path, json=now)).status_code == 200
    assert (await site.shop.post(path + "/assign")).status_code == 201
    assert (await shown(site, delivery))["status"] == "READY"


async def test_the_kitchen_is_later_or_sooner(site: Site, problem: Check) -> None:
    delivery = await site.delivery(prepSeconds=600)
    path = f"/deliveries/{delivery['id']}"
    later = (await site.shop.post(path + "/delay", json={"minutes": 20, "reason": "no rice"})).json()
    assert later["readyAt"] > delivery["readyAt"]
    sooner = (await site.shop.post(path + "/ready")).json()
    assert sooner["readyAt"] < delivery["readyAt"]
    problem(await site.shop.post(path + "/delay", json={"minutes": 0}), 422, "invalid")
    twice = [site.shop.post(path + "/delay", json={"minutes": 5, "version": sooner["version"]}) for _ in range(2)]
    assert sorted(answer.status_code for answer in await asyncio.gather(*twice)) == [200, 409]


async def test_a_mistake_is_taken_back_within_ten_minutes(site: Site, problem: Check) -> None:
    delivery = await site.delivery()
    path = f"/deliveries/{delivery['id']}"
    problem(await site.alice.post(path + "/restore"), 409, "not_cancelled")
    (await site.alice.post(path + "/cancel", json={"reason": "wrong one"})).raise_for_status()
    cancelled = (await site.shop.get(path)).json()
    assert (await site.alice.post(path + "/restore")).json()["status"] == "READY"
    timeline = (await site.vic.get(path + "/timeline")).json()["items"]
    (ended,) = (item for item in timeline if item["type"] == "delivery.cancelled")
    until = datetime.fromisoformat(cancelled["restorableUntil"])
    assert until - datetime.fromisoformat(ended["at"]) == timedelta(minutes=10)
    assert (await site.shop.get(path)).json()["restorableUntil"] is None
    (await site.alice.post(path + "/cancel", json={"reason": "wrong after all"})).raise_for_status()
    later = f"/deliveries/{(await site.delivery(dispatchAt='2098-12-24T17:30:00Z'))['id']}"
    (await site.alice.post(later + "/cancel", json={"reason": "wrong one"})).raise_for_status()
    assert (await site.alice.post(later + "/restore")).json()["status"] == "SCHEDULED"
    dan, taken, job_path = await job(site)
    (await dan.post(job_path + "/pickup")).raise_for_status()
    forced = await site.alice.post(f"/deliveries/{taken['id']}/cancel", json={"reason": "recall", "force": True})
    assert (forced.json()["restorableUntil"], (await shown(site, taken))["restorableUntil"]) == (None, None)
    problem(await site.alice.post(f"/deliveries/{taken['id']}/restore"), 409, "already_picked_up")


async def test_a_job_from_the_store_to_the_door_with_a_pin(site: Site, problem: Check) -> None:
    dan, delivery, path = await job(site, **PIN)
    named = {"actionId": new_id(), "where": "pickup"}
    first = (await dan.post(path + "/arrived", named)).json()
    again = (await dan.post(path + "/arrived", named)).json()
    assert first == again
    assert first["assignment"]["arrivedAt"]["pickup"] is not None
    for half, missing in (({"lat": 52.52}, "lon"), ({"lon": 13.404, "lat": None}, "lat")):
        refused = problem(await dan.post(path + "/pickup", half), 422, "invalid")
        assert [error["field"] for error in refused["errors"]] == [missing]
    found = {"at": "2001-01-01T10:00:00Z", "sentAt": "2001-01-01T10:00:00Z", "lat": 52.52, "lon": 13.404}
    assert (await dan.post(path + "/pickup", found)).status_code == 200
    assert problem(await dan.post(path + "/complete"), 409, "proof_required")["missing"] == ["pin"]
    problem(await dan.post(path + "/complete", {"proof": {"pin": "9999"}}), 409, "pin_wrong")
    assert (await dan.post(path + "/pin", {"pin": "0417"})).json() == {"success": True}
    for body in ({}, {"pin": None}, {"pin": "0" * 17}, {"pin": "0417", "actionId": "x"}):
        problem(await dan.post(path + "/pin", body), 422, "invalid")
    done = await dan.post(path + "/complete", {"proof": {"pin": "0417", "name": "Mr Gray"}})
    assert done.json()["assignment"]["status"] == "COMPLETED"
    timeline = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    kinds = [item["type"] for item in timeline]
    assert kinds[-4:] == ["delivery.arrived", "delivery.picked_up", "delivery.pin_wrong", "delivery.delivered"]
    assert timeline[-3]["data"]["distanceKm"] is not None
    assert timeline[-1]["data"]["pin"] == "verified"


async def test_a_job_that_is_given_back_is_somebody_elses(site: Site, problem: Check) -> None:
    dan, delivery, path = await job(site)
    released = await dan.post(path + "/release", {"reason": "my bike broke"})
    assert released.json()["assignment"].items() >= {"status": "RELEASED", "endReason": "other"}.items()
    assert (await shown(site, delivery))["status"] == "READY"
    late = problem(await dan.post(path + "/pickup"), 409, "assignment_not_active")
    assert late["nowWith"] == "nobody"
    timeline = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    assert [item["type"] for item in timeline].count("delivery.late_report") == 1
    [notice] = (await site.vic.get("/admin/notices?kind=delivery.late_report")).json()["items"]
    assert notice["deliveryId"] == delivery["id"]
    assert "late report by Dan: picked up. The order waits for a driver." in notice["text"]
    problem(await dan.post(path + "/release", {}), 422, "invalid")


async def test_what_cannot_be_delivered_comes_back_and_is_tried_again(site: Site, problem: Check) -> None:
    dan, delivery, path = await job(site)
    problem(await dan.post(path + "/failed", {"reason": "refused"}), 409, "not_picked_up")

    async def until_stage(words: str) -> None:
        """Read the board until it says so of the order."""

        async def is_said() -> bool:
            rows = parse((await site.vic.get("/board")).text).every("tr", id=f"a-{delivery['id']}")
            return bool(rows) and words in rows[0].one(class_="stage").text

        await until(is_said)

    async def facts() -> dict[str, str]:
        page = await site.vic.get(f"/board/deliveries/{delivery['id']}", headers={"Accept": "text/html"})
        shown_facts = parse(page.text.replace("<!doctype html>", "")).one(class_="facts")
        return {pair.one("dt").text: pair.one("dd").text for pair in shown_facts.every("div")}

    await until_stage("To the pickup")
    (await dan.post(path + "/arrived", {"where": "pickup"})).raise_for_status()
    await until_stage("At the store")
    (await dan.post(path + "/pickup")).raise_for_status()
    await until_stage("Picked up")
    (await dan.post(path + "/arrived", {"where": "dropoff"})).raise_for_status()
    await until_stage("At the customer")
    problem(await dan.post(path + "/release", {"reason": "unwell"}), 409, "already_picked_up")
    (
        await dan.post(path + "/failed", {"reason": "recipient_absent", "note": "rang", "then": "return"})
    ).raise_for_status()
    on_the_way_back = await shown(site, delivery)
    assert on_the_way_back["status"] == "RETURNING"
    await until_stage("On the way back")
    await until_stage("Customer not there")
    assert (
        on_the_way_back["failure"].items() >= {"reason": "recipient_absent", "note": "rang", "driverId": dan.id}.items()
    )
    (await dan.post(path + "/complete")).raise_for_status()
    assert (await shown(site, delivery))["status"] == "RETURNED"
    said = await facts()
    assert said["Driver"].startswith("Dan")
    assert "Customer not there · rang" in said["Could not be delivered"]
    assert "Returned" in said
    problem(await site.alice.post(f"/deliveries/{delivery['id']}/retry", json={}), 422, "invalid")
    again = await site.alice.post(f"/deliveries/{delivery['id']}/retry", json={"reason": "home now"})
    assert (again.json()["status"], again.json()["failure"]) == ("READY", None)
    problem(await site.alice.post(f"/deliveries/{delivery['id']}/retry", json={"reason": "x"}), 409, "not_failed")
    (await site.alice.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "closed"})).raise_for_status()
    said = await facts()
    assert said["Cancelled"].endswith("closed")
    assert "Driver" not in said, "nobody had it any more"


async def test_goods_of_a_colleague_come_back_to_the_store(site: Site) -> None:
    """The next driver collects them where they are, and brings them to where they came from."""
    dan, delivery, path = await job(site)
    (await dan.post(path + "/pickup")).raise_for_status()
    (await dan.post(path + "/failed", {"reason": "refused", "note": "n" * 1000})).raise_for_status()
    (await site.alice.post(f"/deliveries/{delivery['id']}/retry", json={"reason": "home now"})).raise_for_status()
    offer = await dan.offer()
    taken = (await dan.post(f"/offers/{offer['id']}/accept")).json()["assignment"]
    path = f"/assignments/{taken['id']}"
    (collects,) = (await dan.get("/state")).json()["assignments"]
    assert collects["pickup"]["name"] == "Dan"
    (await dan.post(path + "/pickup", {"at": "0001-01-01T00:00:00+02:00"})).raise_for_status()
    (await dan.post(path + "/failed", {"reason": "refused", "then": "return"})).raise_for_status()
    (brings_back,) = (await dan.get("/state")).json()["assignments"]
    assert brings_back["pickup"] == PICKUP
    assert (await shown(site, delivery))["pickup"]["name"] == "Dan"


async def test_ops_act_for_a_phone_that_is_dead(site: Site, problem: Check) -> None:
    _, delivery, path = await job(site, **PIN)
    admin = f"/admin{path}"
    problem(await site.alice.post(admin + "/pickup", json={}), 422, "invalid")
    why = {"reason": "phone is dead"}
    assert (await site.alice.post(admin + "/pickup", json=why)).json()["assignment"]["pickedUpAt"] is not None
    problem(await site.alice.post(admin + "/release", json=why), 409, "already_picked_up")
    failed = await site.alice.post(admin + "/failed", json={"reason": "refused"})
    assert failed.json()["assignment"]["status"] == "FAILED"
    problem(await site.alice.post(admin + "/complete", json=why), 409, "assignment_not_active")
    assert (await shown(site, delivery))["failure"]["reason"] == "refused"


async def test_a_colleagues_offer_is_taken_back_only_if_one_says_so(site: Site, problem: Check) -> None:
    dan, dora = await site.driver(at_work=True), await site.driver("Dora")
    delivery = await site.delivery()
    await dan.offer()
    await dora.move(52.6)
    by_hand = {"driverId": dora.id, "reason": "knows the way"}
    path = f"/admin/deliveries/{delivery['id']}/assign"
    problem(await site.alice.post(path, json=by_hand), 409, "offer_open")
    assert (await site.alice.post(path, json=by_hand | {"replaceOffer": True})).status_code == 201


async def test_a_driver_changes_goes_and_comes_back(site: Site, problem: Check) -> None:
    made = await site.shop.post("/drivers", json={"name": "Dan", "tags": ["cold"], "vehicle": "bike"})
    path = f"/drivers/{made.json()['id']}"
    changed = await site.alice.patch(
        path, json={"vehicle": None, "tags": [], "shiftEndsAt": "2099-02-01T20:00:00.000Z"}
    )
    assert changed.json().items() >= {"vehicle": None, "tags": [], "shiftEndsAt": "2099-02-01T20:00:00.000Z"}.items()
    problem(await site.alice.patch(path, json={"capacity": 0}), 422, "invalid")
    assert (await site.ada.delete(path)).status_code == 204
    assert (await site.ada.get(path)).json()["active"] is False
    assert (await site.ada.post(path + "/reactivate")).json()["active"] is True
    dan, _, _ = await job(site)
    problem(await site.ada.delete(f"/drivers/{dan.id}"), 409, "has_active_work")
