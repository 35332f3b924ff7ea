"""The HTTP API of the people in charge."""

import json
from typing import Any

from server.dispatch.events import camel
from server.dispatch.policy import ADDED
from server.ids import new_id
from server.store.policies import stored_policy
from tests.waiting import until
from tests.web.conftest import Check, Site


async def test_reassigning_frees_the_driver_and_starts_a_new_search(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    delivery, assignment = await site.assignment(dan)
    path = f"/admin/assignments/{assignment['id']}/reassign"
    problem(await site.ada.post(path, json={"reason": "late", "version": 99}), 409, "version_changed")
    moved = await site.ada.post(path, json={"reason": "late", "version": assignment["version"]})
    assert moved.status_code == 200
    assert moved.json().keys() == {"success", "delivery", "offer", "assignment"}
    assert (moved.json()["success"], moved.json()["offer"], moved.json()["assignment"]) == (True, None, None)
    assert (moved.json()["delivery"]["id"], moved.json()["delivery"]["status"]) == (delivery["id"], "READY")
    problem(await site.ada.post(path, json={"reason": "late"}), 409, "assignment_not_active")
    assert (await site.vic.get(f"/drivers/{dan.id}")).json()["busy"] is False


async def test_reassigning_to_a_driver_offers_or_assigns(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    _, first = await site.assignment(dan)
    dora = await site.driver("Dora", at_work=True)
    path = f"/admin/assignments/{first['id']}/reassign"
    problem(await site.ada.post(path, json={"reason": "x", "driverId": dan.id}), 409, "driver_not_available")
    problem(await site.ada.post(path, json={"reason": "x", "driverId": new_id()}), 404, "not_found")
    max_ = await site.driver("Max")
    problem(await site.ada.post(path, json={"reason": "x", "driverId": max_.id}), 409, "driver_not_available")
    moved = (await site.ada.post(path, json={"reason": "x", "driverId": dora.id.upper()})).json()
    assert (moved["offer"]["id"], moved["assignment"]) == ((await dora.offer())["id"], None)
    accepted = (await dora.post(f"/offers/{moved['offer']['id']}/accept")).json()["assignment"]
    path = f"/admin/assignments/{accepted['id']}/reassign"
    ben = await site.driver("Ben", at_work=True)
    assigned = (await site.ada.post(path, json={"reason": "x", "driverId": ben.id, "mode": "assign"})).json()
    assert assigned["offer"] is None
    assert (assigned["assignment"]["driverId"], assigned["assignment"]["source"]) == (ben.id, "manual")
    assert assigned["delivery"]["assignment"] == assigned["assignment"]


async def test_after_pickup_reassigning_takes_force(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    _, assignment = await site.assignment(dan)
    await dan.post(f"/assignments/{assignment['id']}/pickup")
    path = f"/admin/assignments/{assignment['id']}/reassign"
    problem(await site.ada.post(path, json={"reason": "crash"}), 409, "already_picked_up")
    assert (await site.ada.post(path, json={"reason": "crash", "force": True})).status_code == 200


async def test_goods_on_the_way_are_picked_up_from_the_driver_who_has_them(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True, phone="+49 30 1")
    delivery, assignment = await site.assignment(dan)
    dora = await site.driver("Dora", at_work=True)
    await dan.post(f"/assignments/{assignment['id']}/pickup")
    at = {"lat": 52.5212, "lon": 13.4062}
    await dan.move(**at)  # not stored at once
    path = f"/admin/assignments/{assignment['id']}/reassign"
    wanted = {"reason": "crash", "force": True, "driverId": dora.id, "pauseDriver": True}
    moved = await site.ada.post(path, json=wanted)
    assert moved.status_code == 200, moved.text
    assert (await dan.get()).json()["availability"] == "paused"
    offered = (await dora.offer())["payload"]["pickupLocation"]
    assert offered["name"] == "Dan"
    assert "phone" not in offered
    accepted = (await dora.post(f"/offers/{moved.json()['offer']['id']}/accept")).json()["assignment"]
    state = (await dora.get("/state")).json()
    (mine,) = state["assignments"]
    assert (mine["id"], mine["pickup"]["name"], mine["pickup"]["phone"]) == (accepted["id"], "Dan", "+49 30 1")
    shown = (await site.vic.get(f"/deliveries/{delivery['id']}")).json()
    assert shown["pickup"]["name"] == "Dan"
    assert {name: shown["pickup"][name] for name in at} == {name: offered[name] for name in at} == at


async def test_a_reassignment_that_is_not_valid_is_refused(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    _, assignment = await site.assignment(dan)
    path = f"/admin/assignments/{assignment['id']}/reassign"
    bodies: list[tuple[Any, str]] = [
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": "\n"}, "reason"),
        ({"reason": "x", "driverId": "dora"}, "driverId"),
        ({"reason": "x", "driverId": dan.id + "\n"}, "driverId"),
        ({"reason": "x", "mode": "ask"}, "mode"),
        ({"reason": "x", "version": 0}, "version"),
        ({"reason": "x", "version": 2**40}, "version"),
        ({"reason": "x", "force": "yes"}, "force"),
    ]
    for body, field in bodies:
        refused = problem(await site.ada.post(path, json=body), 422, "invalid")
        assert [error["field"] for error in refused["errors"]] == [field]
    for unknown in (new_id(), "7"):
        answer = await site.ada.post(f"/admin/assignments/{unknown}/reassign", json={"reason": "x"})
        problem(answer, 404, "not_found")


async def test_ops_give_a_waiting_delivery_to_a_driver(site: Site, problem: Check) -> None:
    delivery = await site.delivery(dispatchAt="2099-01-01T00:00:00Z")
    dan = await site.driver(at_work=True)
    path = f"/admin/deliveries/{delivery['id']}/assign"
    offered = await site.alice.post(path, json={"driverId": dan.id, "reason": "knows the way"})
    assert offered.status_code == 201
    assert offered.json()["delivery"]["currentOfferId"] == offered.json()["offer"]["id"]
    again = await site.alice.post(path, json={"driverId": dan.id, "reason": "knows the way"})
    assert (again.status_code, again.json()["offer"]["id"]) == (200, offered.json()["offer"]["id"])
    assigned = await site.alice.post(path, json={"driverId": dan.id, "reason": "urgent order", "mode": "assign"})
    problem(assigned, 409, "offer_open")
    insists = {"driverId": dan.id, "reason": "urgent order", "mode": "assign", "replaceOffer": True}
    assigned = await site.alice.post(path, json=insists)
    assert assigned.status_code == 201
    assert assigned.json()["assignment"]["source"] == "manual"
    problem(await site.alice.post(path, json={"driverId": dan.id, "reason": "x"}), 409, "delivery_not_waiting")
    other = await site.delivery()
    path = f"/admin/deliveries/{other['id']}/assign"
    problem(await site.alice.post(path, json={"driverId": dan.id, "reason": "x"}), 409, "driver_not_available")
    problem(await site.alice.post(path, json={"driverId": new_id(), "reason": "x"}), 404, "not_found")
    problem(await site.alice.post(path, json={"reason": "x"}), 422, "invalid")


async def test_an_admin_sets_a_drivers_availability(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    path = f"/admin/drivers/{dan.id}/availability"
    on_break = await site.ada.post(
        path, json={"availability": "on_break", "reason": "needs rest", "durationMinutes": 1440}
    )
    assert on_break.status_code == 200
    assert on_break.json()["availability"] == "on_break"
    assert on_break.json()["availabilityUntil"] is not None
    history = (await site.vic.get(f"/drivers/{dan.id}/availability/history")).json()["items"]
    assert history[0]["actorType"] == "admin"
    assert (history[0]["actorId"], history[0]["reason"]) == ("ada", "needs rest")
    bodies: list[Any] = [
        {"availability": "available"},
        {"availability": "asleep", "reason": "x"},
        {"availability": "on_break", "reason": "x", "durationMinutes": 0},
        {"availability": "on_break", "reason": "x", "durationMinutes": 1441},
    ]
    for body in bodies:
        problem(await site.ada.post(path, json=body), 422, "invalid")
    body = {"availability": "offline", "reason": "x"}
    problem(await site.ada.post(f"/admin/drivers/{new_id()}/availability", json=body), 404, "not_found")


async def test_a_waiting_delivery_is_acknowledged_by_name(site: Site, problem: Check) -> None:
    delivery = await site.delivery()

    async def searched() -> bool:
        items = (await site.vic.get("/admin/unassigned-orders")).json()["items"]
        return [item["attemptCount"] for item in items] == [1]

    await until(searched)  # or the first search would change the row later
    path = f"/admin/unassigned-orders/{delivery['id']}/acknowledge"
    done = await site.alice.post(path, json={"note": "calling the store"})
    assert done.status_code == 200
    row = done.json()
    assert row["acknowledgedBy"] == "alice"
    assert row["acknowledgementNote"] == "calling the store"
    assert row["acknowledgedAt"] is not None
    assert (await site.vic.get("/admin/unassigned-orders")).json()["items"] == [row]
    assert (await site.alice.post(path)).status_code == 200
    problem(await site.alice.post(path, json={"note": "\x00"}), 422, "invalid")
    await site.alice.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "x"})
    problem(await site.alice.post(path), 409, "delivery_not_waiting")
    problem(await site.alice.post(f"/admin/unassigned-orders/{new_id()}/acknowledge"), 404, "not_found")


async def test_the_policy_is_replaced_whole_and_by_its_version(site: Site, problem: Check) -> None:
    policy = (await site.vic.get("/admin/policy")).json()
    assert policy["version"] == 1
    wanted = policy | {"offerTimeoutSeconds": 45}
    changed = await site.ada.put("/admin/policy?reason=slow%20phones", json=wanted)
    assert changed.status_code == 200
    assert changed.json() == wanted | {"version": 2}
    assert (await site.vic.get("/admin/policy")).json() == changed.json()
    problem(await site.ada.put("/admin/policy", json=wanted), 409, "version_changed")
    pool = site.node.app.state.node.database.pool
    assert await pool.fetchval("SELECT reason FROM policy WHERE version = 2") == "slow phones"


async def test_what_the_previous_release_does_not_know_is_apart_from_what_it_reads(site: Site) -> None:
    policy = (await site.vic.get("/admin/policy")).json()
    added = {"language": "es", "maxTripKm": 60.0}
    changed = await site.ada.put("/admin/policy", json=policy | added)
    assert changed.json() == policy | added | {"version": 2}
    pool = site.node.app.state.node.database.pool
    rows = await pool.fetch("SELECT document, additions FROM policy ORDER BY version")
    first, second = [(json.loads(document), additions) for document, additions in rows]
    assert first[0].keys() == second[0].keys() == policy.keys() - {camel(name) for name in ADDED}
    assert (first[1], json.loads(second[1])) == (None, added)
    again = await site.ada.put("/admin/policy", json=changed.json() | {"offerTimeoutSeconds": 40})
    assert again.json() == policy | added | {"version": 3, "offerTimeoutSeconds": 40}
    assert stored_policy(json.dumps(second[0] | added), None).language == "es", "as an unfinished release stored it"


async def test_a_client_of_the_last_release_replaces_the_policy_it_knows(site: Site) -> None:
    """What it does not know gets its default."""
    policy = (await site.vic.get("/admin/policy")).json()
    known = {key: value for key, value in policy.items() if key not in ("watch", "planning", "maxTripKm", "language")}
    changed = await site.ada.put("/admin/policy", json=known | {"offerTimeoutSeconds": 45})
    assert changed.json() == policy | {"offerTimeoutSeconds": 45, "version": 2}, changed.text


async def test_a_policy_that_is_not_sound_is_refused_by_field(site: Site, problem: Check) -> None:
    policy = (await site.vic.get("/admin/policy")).json()
    ladder = policy["escalation"]

    async def refused(change: dict[str, Any], *fields: str, without: str | None = None) -> None:
        document = {key: value for key, value in (policy | change).items() if key != without}
        body = problem(await site.ada.put("/admin/policy", json=document), 422, "invalid")
        assert [error["field"] for error in body["errors"]] == list(fields)

    await refused({"offerTimeoutSeconds": 601}, "offerTimeoutSeconds")
    await refused({"offerTimeoutSeconds": 0, "searchRadiusKm": 0}, "offerTimeoutSeconds", "searchRadiusKm")
    await refused({"currency": "USD\n"}, "currency")
    await refused({"language": "tlh"}, "language")
    await refused({"language": "German"}, "language")
    await refused({"language": "de\n"}, "language")
    await refused({"expiryPolicy": "shrug"}, "expiryPolicy")
    await refused({"colour": "red"}, "colour")
    await refused({}, "searchRadiusKm", without="searchRadiusKm")
    await refused(
        {"watch": {"goneSeconds": 60}}, "watch.lateMinutes", "watch.stalledMinutes", "watch.releaseGoneSeconds"
    )
    await refused(
        {"alerts": {"windowMinutes": 5}}, "alerts.minimumSample", "alerts.rejectedShare", "alerts.unassignedCount"
    )
    for field, *wrong in (
        ("nextJobs", -1, 2),
        ("holdSlackMinutes", -1, 31),
        ("maxExtraMinutes", -1, 61),
        ("maxMinutesInBag", 0, 241),
        ("hold", "yes"),
        ("sameStoreOnly", None),
    ):
        for value in wrong:
            await refused({"planning": policy["planning"] | {field: value}}, f"planning.{field}")
    await refused({"wideSearchRadiusKm": 1}, "wideSearchRadiusKm")
    await refused({"escalation": [ladder[0], ladder[0] | {"level": 2}]}, "escalation[1].afterSeconds")
    await refused({"escalation": [ladder[0] | {"afterSeconds": 0}]}, "escalation[0].afterSeconds")
    await refused({"escalation": [ladder[0] | {"actions": ["sing"]}]}, "escalation[0].actions[0]")
    assert (await site.vic.get("/admin/policy")).json() == policy


async def test_a_new_policy_counts_for_the_next_offer(site: Site) -> None:
    policy = (await site.vic.get("/admin/policy")).json()
    assert (await site.ada.put("/admin/policy", json=policy | {"offerTimeoutSeconds": 300})).status_code == 200
    dan = await site.driver(at_work=True)
    await site.delivery()
    offer = await until(dan.offer)
    assert offer["remainingMs"] > 30_000


async def test_a_version_that_is_no_longer_that_of_the_delivery_is_refused(site: Site, problem: Check) -> None:
    dora = await site.driver("Dora")
    await dora.move(52.9, 13.9)
    posted = await site.delivery()

    async def searched() -> dict[str, Any] | None:
        """The order after the first search has ended: from then on only calls change it."""
        read: dict[str, Any] = (await site.vic.get(f"/deliveries/{posted['id']}")).json()
        return read if read["failureReason"] == "no_driver_in_radius" else None

    order = await until(searched)
    assert order is not None
    old = {"version": order["version"] + 7}
    calls: list[tuple[str, dict[str, Any]]] = [
        (f"/deliveries/{order['id']}/cancel", {"reason": "x"}),
        (f"/admin/unassigned-orders/{order['id']}/acknowledge", {}),
        (f"/admin/deliveries/{order['id']}/assign", {"reason": "x", "driverId": dora.id}),
    ]
    for path, body in calls:
        problem(await site.alice.post(path, json=body | old), 409, "version_changed")
        problem(await site.alice.post(path, json=body | {"version": 0}), 422, "invalid")
    assert (await site.vic.get(f"/deliveries/{order['id']}")).json() == order
    acknowledged = await site.alice.post(calls[1][0], json={"version": order["version"]})
    assert acknowledged.status_code == 200, acknowledged.text
    now = (await site.vic.get(f"/deliveries/{order['id']}")).json()["version"]
    cancelled = await site.alice.post(calls[0][0], json={"reason": "x", "version": now})
    assert cancelled.json()["status"] == "CANCELLED"
