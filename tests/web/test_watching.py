"""What ops watch over HTTP: unassigned orders, tickets, alerts, numbers, keys."""

from typing import Any

from server.ids import new_id
from tests.waiting import until
from tests.web.conftest import Check, Site

ROW = {
    "deliveryId", "sellerOrderId", "storeName", "zone", "failureReason", "firstAttemptAt", "lastAttemptAt",
    "attemptCount", "escalationLevel", "escalationStatus", "nextEscalationAt", "supportTicketId", "acknowledgedBy",
    "acknowledgedAt", "acknowledgementNote",
    "nearest",
}  # fmt: skip


async def ladder(site: Site, *seconds: int) -> None:
    """A ladder with a level after each of so many seconds."""
    policy = (await site.vic.get("/admin/policy")).json()
    rungs = [rung | {"afterSeconds": after} for rung, after in zip(policy["escalation"], seconds, strict=False)]
    assert (await site.ada.put("/admin/policy", json=policy | {"escalation": rungs})).status_code == 200


async def test_waiting_deliveries_are_listed_the_oldest_first(site: Site) -> None:
    made = [await site.delivery(zone="a" if n % 2 else "b") for n in range(3)]
    ids = [delivery["id"] for delivery in made]
    page = (await site.vic.get("/admin/unassigned-orders")).json()
    assert [row["deliveryId"] for row in page["items"]] == ids
    row = page["items"][0]
    assert set(row) == ROW
    assert (row["sellerOrderId"], row["storeName"]) == (made[0]["sellerOrderId"], "Pizza Roma")
    assert (row["escalationLevel"], row["escalationStatus"]) == (0, "PENDING")
    assert row["nextEscalationAt"] > row["firstAttemptAt"] == made[0]["unassignedSince"]
    in_a = (await site.vic.get("/admin/unassigned-orders?zone=a")).json()["items"]
    assert [row["deliveryId"] for row in in_a] == [ids[1]]
    first = (await site.vic.get("/admin/unassigned-orders?limit=2")).json()
    rest = (await site.vic.get(f"/admin/unassigned-orders?limit=2&cursor={first['nextCursor']}")).json()
    assert [row["deliveryId"] for row in first["items"] + rest["items"]] == ids
    assert rest["nextCursor"] is None


async def test_waits_that_are_over_are_shown_when_asked_for(site: Site) -> None:
    over, waiting = await site.delivery(), await site.delivery()
    await site.shop.post(f"/deliveries/{over['id']}/cancel", json={"reason": "x"})
    rows = (await site.vic.get("/admin/unassigned-orders")).json()["items"]
    assert [row["deliveryId"] for row in rows] == [waiting["id"]]
    rows = (await site.vic.get("/admin/unassigned-orders?all=1")).json()["items"]
    assert [row["deliveryId"] for row in rows] == [waiting["id"], over["id"]]
    assert (rows[1]["escalationStatus"], rows[1]["nextEscalationAt"]) == ("CANCELLED", None)


async def test_an_escalated_delivery_has_a_ticket(site: Site) -> None:
    await ladder(site, 1, 3600, 7200)
    delivery = await site.delivery(zone="mitte")

    async def tickets() -> Any:
        return (await site.vic.get("/admin/tickets")).json()["items"]

    (ticket,) = await until(tickets)
    assert ticket.keys() == {
        "id", "type", "priority", "title", "description", "deliveryId", "zone", "actionUrl", "status", "createdAt",
    }  # fmt: skip
    assert (ticket["deliveryId"], ticket["zone"]) == (delivery["id"], "mitte")
    (row,) = (await site.vic.get("/admin/unassigned-orders")).json()["items"]
    assert (row["escalationLevel"], row["supportTicketId"]) == (1, ticket["id"])
    assert (await site.vic.get("/admin/tickets?zone=other")).json() == {"items": [], "nextCursor": None}
    assert (await site.vic.get(f"/deliveries/{delivery['id']}")).json()["escalationLevel"] == 1


async def test_alerts_are_listed_with_the_open_ones(site: Site, problem: Check) -> None:
    assert (await site.vic.get("/admin/alerts")).json() == {"items": [], "nextCursor": None}
    columns = "id, kind, zone, value, threshold, raised_at"
    values = "$1, 'unassigned_count', 'mitte', 12, 10, '2026-02-01'"
    await site.node.change(f"INSERT INTO alerts ({columns}) VALUES ({values})", new_id())
    (alert,) = (await site.vic.get("/admin/alerts?zone=mitte")).json()["items"]
    assert alert == {
        "id": alert["id"],
        "kind": "unassigned_count",
        "zone": "mitte",
        "value": 12,
        "threshold": 10,
        "raisedAt": "2026-02-01T00:00:00.000Z",
        "resolvedAt": None,
        "acknowledgedBy": None,
        "acknowledgedAt": None,
        "currentValue": 0,
    }
    problem(await site.vic.get("/admin/alerts?limit=x"), 422, "invalid")


async def test_numbers_of_nothing_divide_by_nothing(site: Site) -> None:
    stats = (await site.vic.get("/admin/stats")).json()
    assert stats["windowMinutes"] == 60
    assert stats["offersSent"] == stats["unassignedNow"] == stats["deliveriesCreated"] == 0
    assert stats["acceptanceRate"] is stats["rejectedShare"] is stats["responseMsP95"] is None
    assert stats["unassignedOver5MinShare"] is None
    assert stats["rejectionReasons"] == {}


async def test_the_numbers_count_answers_apart_from_silence(site: Site) -> None:
    dan = await site.driver(at_work=True)
    await site.delivery()
    silent = await dan.offer()
    await site.node.reach_deadline(silent["id"])

    async def over() -> Any:
        return (await site.vic.get("/admin/stats")).json()["expired"] == 1

    await until(over)
    assert (await dan.post(f"/offers/{silent['id']}/accept")).status_code == 409
    dora = await site.driver("Dora", at_work=True)
    offer = await dora.offer()
    await dora.post(f"/offers/{offer['id']}/reject", {"reason": "too_far"})
    ben = await site.driver("Ben", at_work=True)
    await ben.post(f"/offers/{(await ben.offer())['id']}/accept")
    await site.delivery(zone="elsewhere")
    stats = (await site.vic.get("/admin/stats?windowMinutes=5&zone=default")).json()
    counted = {
        key: stats[key] for key in ("offersSent", "accepted", "autoAccepted", "rejected", "expired", "withdrawn")
    }
    assert counted == {
        "offersSent": 3, "accepted": 1, "autoAccepted": 0, "rejected": 1, "expired": 1, "withdrawn": 0,
    }  # fmt: skip
    assert stats["acceptanceRate"] == stats["rejectedShare"] == 1 / 3
    assert stats["rejectionReasons"] == {"too_far": 1}
    assert 0 <= stats["responseMsP50"] <= stats["responseMsP95"]
    assert (stats["deliveriesCreated"], stats["unassignedNow"], stats["unassignedOver5MinShare"]) == (1, 0, 0)
    everywhere = (await site.vic.get("/admin/stats")).json()
    assert (everywhere["deliveriesCreated"], everywhere["unassignedNow"]) == (2, 1)


async def test_a_window_has_bounds(site: Site, problem: Check) -> None:
    for minutes in ("0", "10081", "x", "1.5"):
        error = problem(await site.vic.get(f"/admin/stats?windowMinutes={minutes}"), 422, "invalid")
        assert error["errors"][0]["field"] == "windowMinutes"


async def test_a_key_is_shown_once_and_listed_without_it(site: Site, problem: Check) -> None:
    made = (await site.ada.post("/admin/api-keys", json={"name": "roma"})).json()
    assert made.keys() == {"id", "name", "key", "prefix", "sellerId"}
    assert made["key"].startswith("cb_")
    listed = await site.vic.get("/admin/api-keys")
    assert made["key"] not in listed.text
    (row,) = listed.json()["items"]
    assert (row["id"], row["name"], row["prefix"], row["createdBy"]) == (made["id"], "roma", made["prefix"], "ada")
    assert (row["lastUsedAt"], row["revokedAt"]) == (None, None)
    shop = site.anonymous({"Authorization": f"Bearer {made['key']}"})
    assert (await shop.get("/deliveries")).status_code == 200
    (row,) = (await site.vic.get("/admin/api-keys")).json()["items"]
    assert row["lastUsedAt"] is not None
    for _ in range(2):
        assert (await site.ada.delete(f"/admin/api-keys/{made['id']}")).status_code == 204
    (row,) = (await site.vic.get("/admin/api-keys")).json()["items"]
    assert row["revokedAt"] is not None
    problem(await site.ada.delete(f"/admin/api-keys/{new_id()}"), 404, "not_found")
    for body in ({}, {"name": ""}, {"name": "x", "role": "admin"}):
        problem(await site.ada.post("/admin/api-keys", json=body), 422, "invalid")
