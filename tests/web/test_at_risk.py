"""Orders under way that may not arrive in time: the list over HTTP, its screen, and who acknowledged them."""

from typing import Any

from tests.waiting import until
from tests.web.conftest import PICKUP, Check, Driver, Site
from tests.web.html_tree import parse
from tests.web.people import HTML, logged_in

ROW = {
    "deliveryId", "sellerOrderId", "storeName", "zone", "driverId", "risk", "risks", "riskLevel", "acknowledgedBy",
}  # fmt: skip
LONG_AGO = "2026-01-01T00:00:00.000Z"


async def late_at_once(site: Site) -> None:
    """A driver who has not picked up at the agreed time is late at once."""
    policy = (await site.vic.get("/admin/policy")).json()
    watch = policy["watch"] | {"lateMinutes": 0, "goneSeconds": 3600}
    assert (await site.ada.put("/admin/policy", json=policy | {"watch": watch})).status_code == 200


async def listed(site: Site, asked: str = "") -> list[Any]:
    found: list[Any] = (await site.vic.get(f"/admin/at-risk{asked}")).json()["items"]
    return found


async def two_late(site: Site) -> tuple[Driver, dict[str, Any], dict[str, Any]]:
    """Dan in zone a is late at the pickup, then Dora in zone b is late at the pickup and at the door."""
    await late_at_once(site)
    dan = await site.driver(zone="a")
    await dan.move(PICKUP["lat"], PICKUP["lon"])
    a_little, _ = await site.assignment(dan, zone="a")
    dora = await site.driver("Dora", zone="b")
    await dora.move(PICKUP["lat"], PICKUP["lon"])
    badly, _ = await site.assignment(dora, zone="b", promisedAt=LONG_AGO)

    async def all_three() -> Any:
        return sum(len(row["risks"]) for row in await listed(site)) == 3

    await until(all_three)
    return dan, a_little, badly


async def test_what_is_at_risk_is_listed_the_worst_first(site: Site, problem: Check) -> None:
    assert (await site.vic.get("/admin/at-risk")).json() == {"items": [], "nextCursor": None}
    dan, a_little, badly = await two_late(site)
    await site.delivery(dropoff={"lat": 48.14, "lon": 11.58})  # its address is to be checked, but nobody has it
    rows = await listed(site)
    assert [row["deliveryId"] for row in rows] == [badly["id"], a_little["id"]]
    assert set(rows[0]) == ROW
    assert (rows[0]["risk"], [risk["code"] for risk in rows[0]["risks"]]) == (
        "delivery_late",
        ["delivery_late", "pickup_late"],
    )
    assert rows[1].items() >= {"driverId": dan.id, "zone": "a", "risk": "pickup_late", "acknowledgedBy": None}.items()
    assert [row["deliveryId"] for row in await listed(site, "?zone=a")] == [a_little["id"]]
    first = (await site.vic.get("/admin/at-risk?limit=1")).json()
    rest = (await site.vic.get(f"/admin/at-risk?limit=1&cursor={first['nextCursor']}")).json()
    assert [row["deliveryId"] for row in first["items"] + rest["items"]] == [badly["id"], a_little["id"]]
    assert rest["nextCursor"] is None
    for wrong in ("limit=0", "limit=x", "cursor=x", "cursor=WzFd"):
        problem(await site.vic.get(f"/admin/at-risk?{wrong}"), 422, "invalid")
    problem(await site.shop.get("/admin/at-risk"), 403, "forbidden")
    problem(await site.nobody.get("/admin/at-risk"), 401, "unauthorized")


async def test_what_recovered_or_ended_is_not_listed(site: Site) -> None:
    dan, a_little, badly = await two_late(site)
    (job,) = (await dan.get("/state")).json()["assignments"]
    assert (await dan.post(f"/assignments/{job['id']}/pickup")).status_code == 200
    assert [row["deliveryId"] for row in await listed(site)] == [badly["id"]]
    assert (await site.shop.post(f"/deliveries/{badly['id']}/cancel", json={"reason": "x"})).status_code == 200
    assert await listed(site) == []
    # What a node of the previous release leaves behind when it ends an order.
    risks = '[{"code": "driver_gone", "since": "2026-01-01T00:00:00Z"}]'
    left = "UPDATE deliveries SET risk_since = now(), risks = $2::text::jsonb WHERE id = $1"
    await site.node.change(left, badly["id"], risks)
    assert await listed(site) == []
    await site.node.change(left, a_little["id"], risks)
    assert [row["deliveryId"] for row in await listed(site)] == [a_little["id"]]


async def test_somebody_looks_after_it_by_the_list_or_the_screen(site: Site) -> None:
    _, a_little, badly = await two_late(site)
    taken = await site.alice.post(f"/admin/unassigned-orders/{badly['id']}/acknowledge", json={})
    assert taken.status_code == 200
    assert [row["acknowledgedBy"] for row in await listed(site)] == ["alice", None]
    olga, vic = await logged_in(site, "Olga", "ops"), await logged_in(site, "Vic", "viewer")
    page = parse((await olga.see("/at-risk")).text)
    rows = page.one("tbody").every("tr")
    assert [row.one("th").one("a")["href"] for row in rows] == [
        f"/board/deliveries/{badly['id']}",
        f"/board/deliveries/{a_little['id']}",
    ]
    assert "Delivery late" in rows[0].text
    assert "alice" in rows[0].text
    form = rows[1].one("form")
    path, token = form["action"], {"csrf_token": await vic.csrf_token("/at-risk")}
    assert (await vic.client.post(path, data=token, headers=HTML)).status_code == 403
    hidden = {field["name"]: field["value"] for field in form.every("input")}
    done = await olga.client.post(path, data=hidden, headers=HTML)
    assert (done.status_code, done.headers["location"]) == (303, "/at-risk")
    assert [row["acknowledgedBy"] for row in await listed(site)] == ["alice", "Olga"]
    order = parse((await olga.see(f"/board/deliveries/{badly['id']}")).text).text
    assert "Delivery late (since" in order
    assert "acknowledged by alice" in order
    assert (await site.shop.post(f"/deliveries/{a_little['id']}/cancel", json={"reason": "x"})).status_code == 200
    late = await olga.client.post(path, data=hidden, headers={**HTML, "HX-Request": "true"})
    assert late.status_code == 409
