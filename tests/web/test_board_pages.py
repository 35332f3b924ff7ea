"""The pages of one delivery and of one driver, and the links that lead there."""

import pytest

from tests.waiting import until
from tests.web.conftest import Site
from tests.web.html_tree import Element, parse

BROWSER = {"Accept": "text/html"}


async def page(site: Site, path: str) -> Element:
    answer = await site.vic.get(path, headers=BROWSER)
    assert answer.status_code == 200, answer.text
    return parse(answer.text.replace("<!doctype html>", ""))


async def test_what_was_done_without_a_network_has_its_own_time_and_that_of_the_report(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    delivery, job = await site.assignment(dan)
    # The phone says that it was an hour ago; it can be no earlier than the assignment, which is ten minutes old.
    await site.node.change("UPDATE assignments SET created_at = now() - interval '10 min' WHERE id = $1", job["id"])
    offline = {"at": "2026-01-01T10:00:00Z", "sentAt": "2026-01-01T11:00:00Z"}
    assert (await dan.post(f"/assignments/{job['id']}/arrived", {"where": "pickup"})).status_code == 200
    assert (await dan.post(f"/assignments/{job['id']}/pickup", offline)).status_code == 200
    events = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    picked_up, arrived = (
        next(event for event in events if event["type"] == kind) for kind in ("delivery.picked_up", "delivery.arrived")
    )
    shown = await page(site, f"/board/deliveries/{delivery['id']}")
    times = {
        line.one("b").text: [time["datetime"] for time in line.every("time")]
        for line in shown.one("ol", class_="timeline").every("li")
    }
    assert times["Picked up by Dan"] == [picked_up["data"]["happenedAt"], picked_up["at"]]
    assert times["Dan arrived"] == [arrived["at"]]


async def test_the_facts_and_the_timeline_have_the_same_time_of_a_handover(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    delivery, job = await site.assignment(dan)
    await site.node.change("UPDATE assignments SET created_at = now() - interval '10 min' WHERE id = $1", job["id"])
    for step, seconds in (("pickup", 20), ("complete", 8)):
        sent = {"at": "2026-01-01T10:00:00Z", "sentAt": f"2026-01-01T10:00:{seconds:02}Z"}
        assert (await dan.post(f"/assignments/{job['id']}/{step}", sent)).status_code == 200
    events = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    shown = await page(site, f"/board/deliveries/{delivery['id']}")
    facts = {pair.one("dt").text: pair.one("dd") for pair in shown.one(class_="facts").every("div")}
    lines = {line.one("b").text: line for line in shown.one("ol", class_="timeline").every("li")}
    for fact, line, kind in (
        ("Picked up", "Picked up by Dan", "delivery.picked_up"),
        ("Delivered", "Delivered by Dan", "delivery.delivered"),
    ):
        [event] = [event for event in events if event["type"] == kind]
        happened, received = (time["datetime"] for time in lines[line].every("time"))
        assert (happened, received) == (event["data"]["happenedAt"], event["at"])
        assert facts[fact].one("time")["datetime"] == happened
        assert "received" in lines[line].text


async def test_a_deliverys_page_tells_its_whole_story(site: Site) -> None:
    dan = await site.driver("Dan <b>", at_work=True)
    delivery = await site.delivery(notes="ring <twice>", priceCents=1250)
    offer = await dan.offer()
    await dan.post(f"/offers/{offer['id']}/received")
    await dan.post(f"/offers/{offer['id']}/reject", {"reason": "too_far"})
    await site.alice.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "closed"})
    shown = await page(site, f"/board/deliveries/{delivery['id']}")
    assert shown.one("h1").text == f"Pizza Roma {delivery['sellerOrderId']}"
    facts = {pair.one("dt").text: pair.one("dd").text for pair in shown.one(class_="facts").every("div")}
    assert facts["Notes"] == "ring <twice>"
    assert facts["Price"] == "$12.50"
    assert facts["Pickup"] == "Torstr. 1"
    lines = [line.text for line in shown.one("ol", class_="timeline").every("li")]
    story = " | ".join(reversed(lines))
    for part in (
        "Order created",
        "Offered to Dan <b>",
        "Offer shown on the phone of Dan <b>",
        "Offer rejected by Dan <b>",
        "Too far",
        "Cancelled closed",
    ):
        assert part in story
    assert "alice (ops)" in lines[0]
    assert shown.one(id="stream")["hx-sse:connect"] == f"/board/stream?about={delivery['id']}"


async def test_a_deliverys_page_tells_who_to_call_and_what_is_asked_for_at_the_door(site: Site) -> None:
    """The PIN only those who may tell it to the driver."""
    delivery = await site.delivery(
        pickup={"lat": 52.5, "lon": 13.4, "address": "Torstr. 1", "phone": "+49 30 1", "notes": "back door"},
        dropoff={"lat": 52.51, "lon": 13.4, "address": "Allee 5", "name": "Eve <b>", "phone": "+49 173 55"},
        proofRequired=["pin", "photo"],
        pin="4711",
    )
    path = f"/board/deliveries/{delivery['id']}"
    seen = {}
    for name, client in (("viewer", site.vic), ("ops", site.alice)):
        answer = await client.get(path, headers=BROWSER)
        shown = parse(answer.text.replace("<!doctype html>", "")).one(class_="facts")
        seen[name] = {pair.one("dt").text: pair.one("dd").text for pair in shown.every("div")}
        assert [link["href"] for link in shown.every("a", class_="call")] == ["tel:+49 30 1", "tel:+49 173 55"]
    assert seen["ops"]["Pickup"] == "Torstr. 1 · +49 30 1 · back door"
    assert seen["ops"]["Drop-off"] == "Eve <b> · Allee 5 · +49 173 55"
    assert seen["ops"]["Proof asked for"] == "PIN of the customer, Photo · the PIN is 4711"
    assert seen["viewer"]["Proof asked for"] == "PIN of the customer, Photo"


async def test_tries_are_all_searches_and_offers_have_a_number_of_their_own(site: Site) -> None:
    delivery = await site.delivery()
    pool = site.node.app.state.node.database.pool

    async def searches() -> int:
        text = "SELECT attempt_count FROM unassigned_orders WHERE delivery_id = $1"
        return int(await pool.fetchval(text, delivery["id"]))

    await until(searches)
    dan = await site.driver("Dan", at_work=True)
    offer = await dan.offer()
    shown = await page(site, f"/board/deliveries/{delivery['id']}")
    facts = {pair.one("dt").text: pair.one("dd").text for pair in shown.one(class_="facts").every("div")}
    count = await searches()
    assert count > 1, "also the search that found nobody"
    assert facts["Tries"].startswith(f"{count} searches, 1 offer · search radius")
    said = {line.one("b").text: line.one(class_="more").text for line in shown.one(class_="timeline").every("li")}
    assert offer["attempt"] == 1
    assert said["Offered to Dan"].startswith("offer 1")


async def test_the_timeline_has_words_for_every_code(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    delivery, assignment = await site.assignment(dan)
    version = (await site.alice.get(f"/deliveries/{delivery['id']}")).json()["version"]
    changes = {"version": version, "notes": "Door code 12", "promisedAt": "2030-01-01T12:00:00Z"}
    changed = await site.alice.patch(f"/deliveries/{delivery['id']}", json=changes)
    assert changed.status_code == 200, changed.text
    path = f"/assignments/{assignment['id']}"
    await dan.post(f"{path}/arrived", {"where": "pickup"})
    await dan.post(f"{path}/release", {"reason": "shop_closed", "note": "until six"})
    shown = await page(site, f"/board/deliveries/{delivery['id']}")
    said = {line.one("b").text: line.one(class_="more").text for line in shown.one(class_="timeline").every("li")}
    assert set(said["Order changed"].split(", ")) == {"notes", "promised at"}
    assert said["Assigned to Dan"] == "accepted"
    assert said["Dan arrived"] == "at the pickup"
    assert said["Given back by Dan"] == "Store closed: until six"
    assert "_" not in shown.one(class_="timeline").text


async def test_a_drivers_page_tells_state_answers_and_history(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    await site.assignment(dan)
    await dan.post("/availability/take-break", {"durationMinutes": 15})
    shown = await page(site, f"/board/drivers/{dan.id}")
    assert shown.one("h1").text == "Dan"
    assert "On a break" in shown.one("p", class_="status").text
    assert "100% of 1 offer" in shown.one(class_="facts").text
    assert len(shown.one("ul", class_="work").every("li")) == 1
    offers, _, history = shown.every("ol", class_="timeline")
    assert "Accepted Pizza Roma" in offers.text
    assert [line.one("b").text for line in history.every("li")] == ["On a break", "Available"]


async def test_the_changing_part_of_a_page_comes_alone_too(site: Site) -> None:
    delivery = await site.delivery()
    dan = await site.driver("Dan")
    for path in (f"/board/deliveries/{delivery['id']}/now", f"/board/drivers/{dan.id}/now"):
        part = parse((await site.vic.get(path, headers={"HX-Request": "true"})).text)
        assert part.every("h1")
        assert not part.every("html")


async def test_links_of_tickets_and_notifications_lead_to_the_delivery(site: Site) -> None:
    delivery = await site.delivery(sellerOrderId="/a//b c/")
    for path in ("/admin/orders/%2Fa%2F%2Fb%20c%2F", f"/admin/unassigned-orders/{delivery['id']}"):
        answer = await site.vic.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/board/deliveries/{delivery['id']}"
    plain = await site.delivery(sellerOrderId="A-17")
    answer = await site.vic.get("/admin/orders/A-17")
    assert answer.headers["location"] == f"/board/deliveries/{plain['id']}"


@pytest.mark.parametrize(
    "path",
    [
        "/board/deliveries/01900000-0000-7000-8000-000000000000",
        "/board/drivers/01900000-0000-7000-8000-000000000000",
        "/board/deliveries/nonsense",
        "/admin/orders/none-such",
        "/admin/unassigned-orders/01900000-0000-7000-8000-000000000000",
    ],
)
async def test_what_is_not_there_is_not_found(site: Site, path: str) -> None:
    assert (await site.vic.get(path)).status_code == 404
    shown = await site.vic.get(path, headers=BROWSER)
    assert shown.status_code == 404
    assert shown.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/board", "/board/deliveries/01900000-0000-7000-8000-000000000000"])
async def test_who_is_not_logged_in_is_led_to_the_login_and_back(site: Site, path: str) -> None:
    answer = await site.nobody.get(path, headers=BROWSER)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/login?next={path.replace('/', '/')}"
    assert (await site.nobody.get("/board/stream")).status_code == 401
    assert (await site.shop.get(path)).status_code == 403


async def test_candidates_are_ranked_by_distance_with_reasons(site: Site) -> None:
    delivery = await site.delivery()
    await site.driver("Gone")
    near = await site.driver("Near")
    await near.move(52.5205, 13.405)

    async def around() -> list[str]:
        shown = await page(site, f"/board/deliveries/{delivery['id']}")
        return [line.text for line in shown.one("ul", class_="around").every("li") if line.every("a")]

    lines = await until(around)
    assert lines[0].startswith("Near 0.1 km · 1 min")
