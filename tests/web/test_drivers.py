"""The HTTP API of drivers."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from server.contract.views import instant
from server.ids import new_id
from server.store.query import DatabaseAway
from server.web.http.paging import cursor_of
from tests.conftest import SECRET
from tests.driver_app import driver_app
from tests.waiting import until
from tests.web.conftest import Check, Site, token

SHAPE = {
    "id", "name", "externalRef", "phone", "zone", "availability", "availabilityUntil", "availabilityReason", "busy",
    "activeCount", "capacity", "connected", "location", "lastSeenAt",
    "vehicle", "tags", "active", "shiftEndsAt", "deviceCount",
}  # fmt: skip


async def test_a_new_driver_is_offline_until_first_seen(site: Site) -> None:
    new = {"name": "Dora", "externalRef": "d-7", "phone": "+49 30 1", "zone": "mitte", "capacity": 3}
    made = await site.shop.post("/drivers", json=new)
    assert made.status_code == 201
    driver = made.json()
    assert set(driver) == SHAPE
    assert driver.items() >= new.items()
    assert made.headers["location"] == f"/drivers/{driver['id']}"
    assert (driver["availability"], driver["availabilityReason"]) == ("offline", "never_seen")
    assert (driver["location"], driver["lastSeenAt"], driver["connected"]) == (None, None, False)
    dora = site.client("driver", driver["id"])
    seen = (await dora.get(f"/drivers/{driver['id']}")).json()
    assert seen["availability"] == "available"
    history = (await site.vic.get(f"/drivers/{driver['id']}/availability/history")).json()["items"]
    assert [(h["fromState"], h["toState"], h["reason"]) for h in history] == [("offline", "available", "first_seen")]


async def test_one_external_ref_names_one_driver(site: Site, problem: Check) -> None:
    await site.driver(externalRef="d-7")
    again = await site.shop.post("/drivers", json={"name": "Max", "externalRef": "d-7"})
    problem(again, 409, "driver_exists")


NOT_VALID: list[tuple[dict[str, Any], str]] = [
    ({}, "name"),
    ({"name": "x\x00"}, "name"),
    ({"name": "x", "capacity": 0}, "capacity"),
    ({"name": "x", "capacity": 101}, "capacity"),
    ({"name": "x", "phone": ""}, "phone"),
    ({"name": "x", "availability": "available"}, "availability"),
]


async def test_a_driver_who_is_not_valid_is_refused(site: Site, problem: Check) -> None:
    for body, field in NOT_VALID:
        refused = problem(await site.shop.post("/drivers", json=body), 422, "invalid")
        assert [error["field"] for error in refused["errors"]] == [field]


async def test_a_token_for_the_app_is_valid_for_the_driver_alone(site: Site, problem: Check) -> None:
    dan, dora = await site.driver(), await site.driver("Dora")
    made = await site.shop.post(f"/drivers/{dan.id}/token", json={"hours": 0.5})
    assert made.status_code == 200
    body = made.json()
    claims = jwt.decode(body["token"], SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["role"]) == (dan.id, "driver")
    expires_at = datetime.fromisoformat(body["expiresAt"])
    assert abs(expires_at - datetime.now(UTC) - timedelta(minutes=30)) < timedelta(seconds=10)
    client = site.anonymous({"Authorization": f"Bearer {body['token']}"})
    assert (await client.get(f"/drivers/{dan.id}")).status_code == 200
    problem(await client.get(f"/drivers/{dora.id}"), 403, "forbidden")
    problem(await client.post(f"/drivers/{dan.id}/token"), 403, "forbidden")
    default = (await site.shop.post(f"/drivers/{dan.id}/token")).json()
    assert datetime.fromisoformat(default["expiresAt"]) > datetime.now(UTC) + timedelta(hours=11)
    for hours in (0, -1, 8761, "1", None):
        problem(await site.shop.post(f"/drivers/{dan.id}/token", json={"hours": hours}), 422, "invalid")
    problem(await site.shop.post(f"/drivers/{new_id()}/token"), 404, "not_found")


async def test_drivers_are_listed_by_availability_and_zone(site: Site) -> None:
    dan = await site.driver(zone="a", at_work=True)
    dora = await site.driver("Dora", zone="a")
    max_ = await site.driver("Max", zone="b")

    async def ids(query: str) -> list[str]:
        return [driver["id"] for driver in (await site.alice.get(f"/drivers?{query}")).json()["items"]]

    assert await ids("") == [max_.id, dora.id, dan.id]
    assert await ids("zone=a") == [dora.id, dan.id]
    assert await ids("availability=available") == [dan.id]
    assert await ids("availability=offline&zone=a") == [dora.id]
    first = (await site.alice.get("/drivers?limit=2")).json()
    assert await ids(f"limit=2&cursor={first['nextCursor']}") == [dan.id]


async def test_a_position_is_shown_at_once(site: Site, problem: Check) -> None:
    dan = await site.driver()
    body = {
        "lat": 52.5,
        "lon": 13.4,
        "heading": 90,
        "speedKmh": 20.5,
        "accuracyM": 5,
        "at": "2026-02-01T10:00:00+01:00",
    }
    before = instant(site.node.app.state.node.clock.now() - timedelta(seconds=1))
    moved = await dan.post("/location", body)
    assert (moved.status_code, moved.content) == (204, b"")
    shown = (await site.vic.get(f"/drivers/{dan.id}")).json()
    assert (shown["location"]["lat"], shown["location"]["lon"]) == (52.5, 13.4)
    assert shown["location"]["at"] >= before, "by arrival, whatever the phone's clock says"
    for wrong in (
        {"lat": 91, "lon": 0},
        {"lat": 1},
        {"lat": 1, "lon": 2, "heading": 361},
        {"lat": 1, "lon": 2, "at": "now"},
    ):
        problem(await dan.post("/location", wrong), 422, "invalid")


async def test_what_a_phone_does_not_know_of_its_position_is_no_reason_to_refuse_it(site: Site) -> None:
    """iOS says -1 for a heading and a speed that it does not know, and for the accuracy of no position at all."""
    dan = await site.driver()
    unknown = {"heading": -1, "speedKmh": -3.6}
    async with driver_app(site.node.ws_url, dan.id) as app:
        await app.ask("location", lat=52.5, lon=13.4, accuracyM=5, **unknown)
        assert (await dan.post("/location", {"lat": 48.1, "lon": 11.6, "accuracyM": -1, **unknown})).status_code == 204
        await app.ask("location", lat=52.6, lon=13.4, accuracyM=2_000_000)
    location = (await dan.get()).json()["location"]
    assert (location["lat"], location["lon"]) == (52.5, 13.4)


async def test_a_position_where_nobody_can_be_is_shown_when_a_second_one_agrees(site: Site) -> None:
    dan = await site.driver()

    async def shown() -> tuple[float, float]:
        location = (await dan.get()).json()["location"]
        return location["lat"], location["lon"]

    async def say(lat: float, lon: float, **more: float) -> None:
        assert (await dan.post("/location", {"lat": lat, "lon": lon, **more})).status_code == 204

    await say(52.5, 13.4)
    await say(0, 0)
    await say(0, 0)
    assert await shown() == (52.5, 13.4)
    await say(48.1, 11.6)
    assert await shown() == (52.5, 13.4)
    await say(52.51, 13.4, accuracyM=1500)
    assert await shown() == (52.5, 13.4)
    await say(48.1, 11.6)
    assert await shown() == (52.5, 13.4), "the two in between did not agree"
    await say(48.105, 11.6)
    assert await shown() == (48.105, 11.6)


async def test_a_backlog_is_known_by_its_own_order(site: Site) -> None:
    dan = await site.driver()
    for lat, at in ((52.503, "10:00:03"), (52.501, "10:00:01"), (52.502, "10:00:02")):
        await dan.post("/location", {"lat": lat, "lon": 13.4, "at": f"2026-02-01T{at}Z"})
    assert (await dan.get()).json()["location"]["lat"] == 52.503


async def test_a_position_from_the_future_is_one_of_now(site: Site) -> None:
    dan = await site.driver()
    await dan.post("/location", {"lat": 1, "lon": 1, "at": "9999-01-01T00:00:00Z"})
    await dan.post("/location", {"lat": 1.001, "lon": 1})
    location = (await dan.get()).json()["location"]
    assert (location["lat"], location["lon"]) == (1.001, 1)
    assert datetime.fromisoformat(location["at"]) < datetime.now(UTC) + timedelta(minutes=1)


async def test_an_admin_moves_a_driver_without_making_them_present(site: Site, problem: Check) -> None:
    dan = await site.driver()
    body = {"lat": 52.52, "lon": 13.404}
    assert (await site.ada.post(f"/drivers/{dan.id}/location", json=body)).status_code == 204
    assert (await site.vic.get(f"/drivers/{dan.id}")).json()["availability"] == "offline"
    problem(await site.ada.post(f"/drivers/{new_id()}/location", json=body), 404, "not_found")
    problem(await site.ada.post("/drivers/seven/location", json=body), 404, "not_found")


async def test_a_token_of_a_driver_nobody_knows_moves_nobody(site: Site, problem: Check) -> None:
    ghost = new_id()
    client = site.client("driver", ghost)
    problem(await client.post(f"/drivers/{ghost}/location", json={"lat": 1, "lon": 1}), 404, "not_found")
    problem(await client.get(f"/drivers/{ghost}/state"), 404, "not_found")
    problem(await client.get(f"/drivers/{ghost}"), 404, "not_found")
    problem(await client.get(f"/drivers/{ghost}/availability/history"), 404, "not_found")


async def test_the_state_is_what_the_socket_says_first(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    await site.delivery()
    offer = await dan.offer()
    state = (await dan.get("/state")).json()
    assert state.keys() == {
        "type", "session", "serverTime", "heartbeatSeconds", "seq", "driver", "offers", "assignments", "run",
        "messages", "missed", "resync",
    }  # fmt: skip
    assert (state["type"], state["missed"], state["resync"]) == ("hello", [], False)
    assert state["driver"]["id"] == dan.id
    assert [o["id"] for o in state["offers"]] == [offer["id"]]
    assert 0 < offer["remainingMs"] <= 30_000
    assert offer["payload"]["pickupStoreName"] == "Pizza Roma"
    assert (await site.vic.get(f"/drivers/{dan.id}/state")).status_code == 200
    problem(await site.vic.get(f"/drivers/{new_id()}/state"), 404, "not_found")


async def test_accepting_twice_is_one_assignment(site: Site) -> None:
    dan = await site.driver(at_work=True)
    await site.delivery()
    offer = await dan.offer()
    assert (await dan.post(f"/offers/{offer['id']}/received")).status_code == 204
    first = await dan.post(f"/offers/{offer['id']}/accept", {"acceptedAt": "2026-02-01T10:00:00Z"})
    second = await dan.post(f"/offers/{offer['id'].upper()}/accept")
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert first.json()["success"] is True
    assignment = first.json()["assignment"]
    assert (assignment["driverId"], assignment["status"], assignment["source"]) == (dan.id, "ACTIVE", "accepted")
    shown = (await site.vic.get(f"/drivers/{dan.id}")).json()
    assert (shown["busy"], shown["activeCount"]) == (True, 1)


async def test_a_rejected_offer_goes_to_the_next_driver(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    delivery = await site.delivery()
    offer = await dan.offer()
    dora = await site.driver("Dora")
    await dora.move(52.53)
    rejected = await dan.post(f"/offers/{offer['id']}/reject", {"reason": "too far"})
    assert (rejected.status_code, rejected.json()) == (200, {"success": True})
    assert (await dan.post(f"/offers/{offer['id']}/reject")).status_code == 200
    assert (await dora.offer())["deliveryId"] == delivery["id"]
    problem(await dan.post(f"/offers/{offer['id']}/accept"), 409, "offer_no_longer_open")


async def test_an_offer_that_a_changed_driver_could_not_get_goes_to_the_next(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True, tags=["cold"])
    delivery = await site.delivery(requirements=["COLD"])
    offer = await dan.offer()
    dora = await site.driver("Dora", tags=["cold"])
    await dora.move(52.53)
    changed = await site.alice.patch(f"/drivers/{dan.id}", json={"tags": []})
    assert (changed.status_code, changed.json()["tags"]) == (200, [])
    assert (await dan.get("/state")).json()["offers"] == []
    problem(await dan.post(f"/offers/{offer['id']}/accept"), 409, "offer_no_longer_open")
    assert (await dora.offer())["deliveryId"] == delivery["id"]
    timeline = (await site.alice.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    (withdrawn,) = [item for item in timeline if item["type"] == "offer.withdrawn"]
    assert (withdrawn["driverId"], withdrawn["data"]["reason"]) == (dan.id, "changed")


async def test_anothers_offer_or_assignment_does_not_exist_under_ones_own_path(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    _, assignment = await site.assignment(dan)
    dora = await site.driver("Dora", at_work=True)
    await site.delivery()
    offer = await dora.offer()
    for word in ("received", "accept", "reject"):
        for unknown in (offer["id"], new_id(), "7", "%00"):
            problem(await dan.post(f"/offers/{unknown}/{word}"), 404, "not_found")
    for word in ("pickup", "complete"):
        for unknown in (assignment["id"], new_id(), "7", "%00"):
            problem(await dora.post(f"/assignments/{unknown}/{word}"), 404, "not_found")


async def test_pickup_and_complete_can_be_said_twice(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    delivery, assignment = await site.assignment(dan)
    path = f"/assignments/{assignment['id']}"
    picked_up = [(await dan.post(f"{path}/pickup")).json() for _ in range(2)]
    assert picked_up[0] == picked_up[1]
    assert picked_up[0]["assignment"]["pickedUpAt"] is not None
    assert (await site.vic.get(f"/deliveries/{delivery['id']}")).json()["status"] == "PICKED_UP"
    completed = [(await dan.post(f"{path}/complete")).json() for _ in range(2)]
    assert completed[0] == completed[1]
    assert completed[0]["success"] is True
    assert completed[0]["assignment"]["status"] == "COMPLETED"
    assert (await site.vic.get(f"/deliveries/{delivery['id']}")).json()["status"] == "DELIVERED"
    problem(await dan.post(f"{path}/complete", {"at": 1}), 422, "invalid")


async def test_an_assignment_taken_away_cannot_be_completed(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    _, assignment = await site.assignment(dan)
    await site.ada.post(f"/admin/assignments/{assignment['id']}/reassign", json={"reason": "late"})
    error = problem(await dan.post(f"/assignments/{assignment['id']}/complete"), 409, "assignment_not_active")
    assert "ada" in error["detail"]


async def test_a_break_has_an_end_and_can_be_given_a_new_one(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    first = await dan.post("/availability/take-break", {"durationMinutes": 5, "reason": "lunch"})
    assert first.status_code == 200
    assert first.json().keys() == {"status", "breakUntil"}
    second = await dan.post("/availability/take-break", {"durationMinutes": 120})
    assert second.json()["status"] == "on_break"
    assert second.json()["breakUntil"] > first.json()["breakUntil"]
    shown = (await dan.get()).json()
    assert (shown["availability"], shown["availabilityUntil"]) == ("on_break", second.json()["breakUntil"])
    for minutes in (4, 121, 5.5, "5", None, 10**20):
        error = problem(await dan.post("/availability/take-break", {"durationMinutes": minutes}), 422, "invalid")
        assert error["errors"][0]["field"] == "durationMinutes"
    problem(await dan.post("/availability/take-break"), 400, "malformed")


async def test_pause_resume_and_the_end_of_a_shift(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    for word, status in (("pause", "paused"), ("resume", "available"), ("end-shift", "shift_ended")):
        for _ in range(2):
            answer = await dan.post(f"/availability/{word}")
            assert (answer.status_code, answer.json()) == (200, {"status": status})
    problem(await dan.post("/availability/pause"), 409, "driver_not_available")
    problem(await dan.post("/availability/take-break", {"durationMinutes": 5}), 409, "driver_not_available")
    assert (await dan.post("/availability/resume", {})).json() == {"status": "available"}


async def test_the_history_is_listed_newest_first_in_pages(site: Site, problem: Check) -> None:
    dan = await site.driver(at_work=True)
    for word in ("pause", "resume", "end-shift"):
        await dan.post(f"/availability/{word}")
    path = f"/drivers/{dan.id}/availability/history"
    whole = (await dan.client.get(path)).json()
    assert [h["toState"] for h in whole["items"]] == ["shift_ended", "available", "paused", "available"]
    last = whole["items"][0]
    assert last.keys() == {"fromState", "toState", "reason", "actorType", "actorId", "timestamp"}
    assert (last["fromState"], last["actorType"], last["actorId"]) == ("available", "driver", dan.id)
    assert last["reason"]
    paged: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await site.vic.get(f"{path}?limit=1&cursor={cursor}")).json()
        paged += page["items"]
        cursor = page["nextCursor"]
    assert paged == whole["items"]
    problem(await site.vic.get(f"{path}?cursor=WzFd"), 422, "invalid")
    for edge in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"):  # in UTC in no year
        problem(await site.vic.get(f"{path}?cursor={cursor_of((edge, new_id()))}"), 422, "invalid")
        notices = cursor_of(((edge, new_id()), None, None, None, None))
        problem(await site.vic.get(f"/admin/notices?cursor={notices}"), 422, "invalid")
    problem(await site.vic.get(f"/drivers/{new_id()}/availability/history"), 404, "not_found")


async def test_a_call_makes_a_driver_present_for_the_search(site: Site) -> None:
    dan = await site.driver()
    delivery = await site.delivery()
    await dan.move()

    async def offered() -> Any:
        return (await site.vic.get(f"/deliveries/{delivery['id']}")).json()["currentOfferId"]

    await until(offered)


async def test_a_drivers_id_in_capitals_is_theirs(site: Site) -> None:
    dan = await site.driver()
    shouting = site.anonymous({"Authorization": f"bearer  {token('driver', dan.id.upper())}"})
    assert (await shouting.get(f"/drivers/{dan.id}")).status_code == 200
    assert (await dan.client.get(f"/drivers/{dan.id.upper()}")).status_code == 200


async def test_blanks_around_a_text_do_not_count_for_drivers_either(site: Site) -> None:
    """Or an order for a zone would not find its drivers."""
    new = {"name": " Dan ", "zone": "\tnorth ", "externalRef": " d-1 "}
    driver = (await site.ada.post("/drivers", json=new)).json()
    assert (driver["name"], driver["zone"], driver["externalRef"]) == ("Dan", "north", "d-1")
    changed = await site.ada.patch(f"/drivers/{driver['id']}", json={"name": " Dora\n", "vehicle": " bike "})
    assert (changed.json()["name"], changed.json()["vehicle"]) == ("Dora", "bike")


async def test_what_is_done_is_not_answered_try_again_when_the_devices_cannot_be_counted(
    site: Site, problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    dan = await site.driver()

    async def away(*_: Any) -> Any:
        raise DatabaseAway("for the test")

    monkeypatch.setattr("server.web.api.drivers.count_devices", away)
    problem(await site.shop.get(f"/drivers/{dan.id}"), 503, "try_again")
    renamed = await site.shop.patch(f"/drivers/{dan.id}", json={"name": "Daniel"})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "Daniel")
    assert "deviceCount" not in renamed.json()
    assert (await site.ada.delete(f"/drivers/{dan.id}")).status_code == 204
    back = await site.ada.post(f"/drivers/{dan.id}/reactivate")
    assert (back.status_code, back.json()["active"]) == (200, True)
