"""Alerts, notices, unassigned orders and tickets as screens: what each role sees and can do on them."""

from typing import Any

import pytest

from server.ids import new_id
from tests.notify.test_alerts_live import look, set_alerts
from tests.notify.test_notices import LADDER, wait_for
from tests.waiting import until
from tests.web.conftest import Site
from tests.web.html_tree import Element, parse
from tests.web.people import HTML, Browser, logged_in

SCREENS = ("/alerts", "/notices", "/unassigned", "/at-risk", "/tickets", "/webhooks")
HTMX = {"HX-Request": "true", "Accept": "text/html"}


async def see(browser: Browser, path: str) -> Element:
    answer = await browser.see(path)
    assert answer.status_code == 200, answer.text
    return parse(answer.text)


async def press(browser: Browser, form: Element, **fields: str) -> Any:
    """Send a form of a page, as a browser without a script would."""
    hidden = {field["name"]: field["value"] for field in form.every("input") if field.get("type") == "hidden"}
    return await browser.client.post(form["action"], data=hidden | fields, headers=HTML)


async def escalate(site: Site, delivery: dict[str, Any]) -> None:
    """The delivery is at level 1, with a ticket and a notice."""
    policy = (await site.ada.get("/admin/policy")).json()
    assert (await site.ada.put("/admin/policy", json=policy | {"escalation": LADDER[:1]})).status_code == 200
    await wait_for(site, delivery, 5)

    async def is_shown() -> Any:
        return (await site.vic.get("/admin/tickets")).json()["items"]

    await until(is_shown)


async def test_only_those_who_may_watch_see_them(site: Site) -> None:
    paths = [*SCREENS, *(f"{path}/now" for path in SCREENS)]
    for path in paths:
        for role in ("viewer", "ops", "admin"):
            assert (await site.roles[role].get(path, headers=HTML)).status_code == 200, (path, role)
        assert (await site.shop.get(path, headers=HTML)).status_code == 403
        sent = await site.nobody.get(path, headers=HTML)
        assert (sent.status_code, sent.headers["location"].partition("?")[0]) == (303, "/login")
        policy = (await site.vic.get(path, headers=HTML)).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    for path in ("/alerts/what", f"/alerts/{new_id()}", f"/webhooks/{new_id()}", "/webhooks/what/now"):
        assert (await site.vic.get(path, headers=HTML)).status_code == 404


async def test_a_screen_is_live_by_its_topic_and_an_older_page_does_not_change(site: Site) -> None:
    vic = await logged_in(site, "Vic", "viewer")
    for path in SCREENS:
        page = await see(vic, path)
        topic = "webhooks" if path == "/webhooks" else "watch"
        assert page.one(id="stream")["hx-sse:connect"] == f"/board/stream?about={topic}"
        assert page.one(id="page")["data-now"].partition("?")[0] == f"{path}/now"
        part = parse((await vic.client.get(page.one(id="page")["data-now"], headers=HTMX)).text)
        assert not part.every("html")
    for path in (f"/alerts?before={new_id()}", f"/unassigned?at={new_id()}", "/notices?hours=168"):
        page = await see(vic, path)
        assert not page.every(id="stream")


async def test_an_alert_shows_what_is_behind_it_and_is_looked_after_by_name(site: Site) -> None:
    await set_alerts(site, unassignedCount=0)
    dan = await site.driver("Dan", at_work=True)
    delivery = await site.delivery(storeName="<Sushi> & Co")
    offer = await dan.offer()
    await dan.post(f"/offers/{offer['id']}/reject", {"reason": "too_far"})
    await look(site)
    olga, vic = await logged_in(site, "Olga", "ops"), await logged_in(site, "Vic", "viewer")
    page = await see(olga, "/alerts")
    card = page.one("article")
    assert card.one("h2").text == "Orders unassigned zone default"
    assert card.one(class_="number-now").text == "1 now · threshold 0 · resolves at 0"
    links = {link["href"]: link.text for link in card.one(class_="behind").every("a")}
    assert links == {f"/board/deliveries/{delivery['id']}": "<Sushi> & Co", f"/board/drivers/{dan.id}": "Dan"}
    assert "1 time, mostly: too far" in card.text
    form = card.one("form")
    refused = await vic.client.post(form["action"], data={"csrf_token": await vic.csrf_token("/alerts")}, headers=HTML)
    assert refused.status_code == 403
    assert (await olga.client.post(form["action"], headers=HTML)).status_code == 403, "no CSRF token"
    done = await press(olga, form)
    assert (done.status_code, done.headers["location"]) == (303, "/alerts")
    page = await see(olga, "/alerts")
    assert page.one(class_="flash").text == "Alert acknowledged by Olga."
    assert page.one("article").one(class_="who").text.startswith("Acknowledged by Olga at ")
    assert not page.one("article").every("form")
    await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "closed"})
    await look(site)
    late = await olga.client.post(form["action"], data={"csrf_token": await olga.csrf_token("/alerts")}, headers=HTMX)
    assert late.status_code == 409
    assert "already resolved" in parse(late.text).one("p", class_="error").text
    page = await see(olga, "/alerts")
    assert not page.every("article")
    row = page.one("tbody").one("tr")
    assert row.one("th").text == "Orders unassigned"
    assert "1 order is without a driver (threshold 0)." in row.text
    one = await see(olga, row.one("th").one("a")["href"])
    assert [link["href"] for link in one.one(class_="behind").every("a")] == list(links)
    assert len(one.one("table", class_="t-notices").one("tbody").every("tr")) == 2
    missing = await olga.client.post(
        f"/alerts/{new_id()}/acknowledge", data={"csrf_token": await olga.csrf_token("/alerts")}, headers=HTML
    )
    assert missing.status_code == 404


async def test_notices_are_chosen_and_seen(site: Site) -> None:
    await site.ada.post("/admin/webhooks", json={"url": "https://shop.example/hooks", "events": ["delivery.assigned"]})
    dan = await site.driver("Dan", at_work=True)
    await site.assignment(dan)
    delivery = await site.delivery(zone="north", storeName="<Sushi>")
    await escalate(site, delivery)
    olga = await logged_in(site, "Olga", "ops")

    async def rows(query: str = "") -> list[str]:
        return [row.text for row in (await see(olga, f"/notices{query}")).one(class_="sheet").every("tr")[1:]]

    assert len(await rows()) == 3
    (ops,) = await rows("?to=ops&kind=delivery.escalated&outcome=sent&zone=north&hours=1")
    assert "Ops warning: Order" in ops
    assert "<Sushi> (zone north) has no driver" in ops
    (customer,) = await rows("?to=customer")
    assert "has a driver. webhook" in customer
    (driver,) = await rows("?to=driver")
    assert "Dan Order " in driver
    assert "call received" in driver
    assert await rows("?to=customer&kind=offer.created") == []
    assert len(await rows(f"?delivery={delivery['id']}")) == 1
    assert len(await rows("?to=everybody&kind=what&outcome=1&hours=5&delivery=x&after=x")) == 3, "as good as none"
    page = await see(olga, "/notices?to=ops")
    counts = {cell.one("dt").text: cell.one("dd").text for cell in page.one(class_="numbers-of").every("div")}
    assert counts["Ops"] == "0 received 1 sent 0 pending 0 failed"
    assert counts["Drivers"] == "1 received 0 sent 0 pending 0 failed"
    done = await press(olga, page.one("tbody").one("form"))
    assert done.headers["location"] == "/notices"
    page = await see(olga, "/notices?to=ops")
    assert page.one(class_="flash").text == "Seen by Olga."
    assert "received seen by Olga" in page.one("tbody").text
    token = await olga.csrf_token("/notices")
    for path, status in ((f"/notices/{new_id()}/acknowledge", 404), ("/notices/what/acknowledge", 404)):
        assert (await olga.client.post(path, data={"csrf_token": token}, headers=HTML)).status_code == status


async def test_the_record_goes_on_on_older_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.web.screens.notices.PAGE", 2)
    dan = await site.driver("Dan", at_work=True, capacity=9)
    for _ in range(5):
        await site.assignment(dan)
    vic = await logged_in(site, "Vic", "viewer")
    path, seen = "/notices", []
    while path:
        page = await see(vic, path)
        seen += [row["id"] for row in page.one("tbody").every("tr")]
        path = next((link["href"] for link in page.every("a", class_="button") if link.text == "Older"), "")
    assert len(seen) == len(set(seen)) == 5


async def test_an_order_without_a_driver_says_who_is_asked_or_why_nobody(site: Site) -> None:
    vic = await logged_in(site, "Vic", "viewer")
    await site.delivery(zone="north")
    dan = await site.driver("Dan <b>", at_work=True)
    await site.delivery()
    await dan.offer()

    async def is_shown() -> bool:
        rows = (await see(vic, "/unassigned")).one("tbody").every("tr")
        shown = [row.one(class_="wide").text for row in rows]
        return shown == ["No driver of the zone is at work", "Offered to Dan <b>"]

    await until(is_shown)


async def test_an_order_is_taken_on_with_a_note_that_everybody_reads(site: Site) -> None:
    delivery = await site.delivery(storeName="<Sushi>")
    olga, vic = await logged_in(site, "Olga", "ops"), await logged_in(site, "Vic", "viewer")
    form = (await see(olga, "/unassigned")).one("tbody").one("form")
    done = await press(olga, form, note="calling <Dan>")
    assert done.headers["location"] == "/unassigned"
    row = (await see(vic, "/unassigned")).one("tbody").one("tr")
    assert row.one(class_="ack-of").one("b").text == "Olga"
    assert row.one(class_="note-of").text == "calling <Dan>"
    too_long = await press(olga, form, note="x" * 1001)
    assert too_long.status_code == 303
    assert "1000 characters" in (await see(olga, "/unassigned")).one(class_="flash").text
    fragment = await olga.client.post(
        form["action"], data={"note": "x" * 1001, "csrf_token": await olga.csrf_token("/unassigned")}, headers=HTMX
    )
    assert fragment.status_code == 422
    refused = await vic.client.post(
        form["action"], data={"csrf_token": await vic.csrf_token("/unassigned")}, headers=HTML
    )
    assert refused.status_code == 403
    page = await see(olga, f"/board/deliveries/{delivery['id']}")
    facts = {pair.one("dt").text: pair.one("dd").text for pair in page.one(class_="facts").every("div")}
    assert facts["Acknowledged by"] == "Olga: calling <Dan>"
    await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "closed"})
    assert not (await see(vic, "/unassigned")).every("tbody")
    late = await press(olga, form, note="now")
    assert late.status_code == 303
    assert "no longer waiting" in (await see(olga, "/unassigned")).one(class_="flash").text
    over = (await see(vic, "/unassigned?all=1")).one("tbody").one("tr")
    assert "Cancelled" in over.text
    assert not over.every("form")


async def test_a_ticket_closes_with_the_wait_it_was_made_for(site: Site) -> None:
    delivery = await site.delivery(storeName="<Sushi>")
    await escalate(site, delivery)
    await site.alice.post(f"/admin/unassigned-orders/{delivery['id']}/acknowledge", json={"note": "calling Dan"})
    vic = await logged_in(site, "Vic", "viewer")
    row = (await see(vic, "/tickets?only=open")).one("tbody").one("tr")
    assert row.one("th").one("a")["href"] == f"/board/deliveries/{delivery['id']}"
    assert "high: " in row.text
    assert row.text.endswith("open Waiting for a driver default alice calling Dan")
    assert not (await see(vic, "/tickets?only=closed")).every("tbody")
    assert (await site.vic.get("/admin/tickets")).json()["items"][0]["status"] == "open"
    await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "closed"})
    assert (await site.vic.get("/admin/tickets")).json()["items"][0]["status"] == "closed"
    assert not (await see(vic, "/tickets?only=open")).every("tbody")
    assert "closed Cancelled" in (await see(vic, "/tickets")).one("tbody").text
    unassigned = (await see(vic, "/unassigned?all=1")).one("tbody").one("tr")
    assert "ticket" in unassigned.text


async def test_the_timeline_of_an_order_lists_its_notices_and_links_to_them(site: Site) -> None:
    webhook = (await site.ada.post("/admin/webhooks", json={"url": "https://shop.example/hooks"})).json()
    dan = await site.driver("Dan", at_work=True)
    delivery, _ = await site.assignment(dan)
    vic = await logged_in(site, "Vic", "viewer")

    async def is_shown() -> dict[str, str]:
        page = await see(vic, f"/board/deliveries/{delivery['id']}")
        lines = page.one("ol", class_="timeline").every("li")
        return {line.one("b").text: line.one(class_="notified").text for line in lines if line.every(class_="notified")}

    assert await is_shown() == {"Assigned to Dan": "customer: pending", "Offered to Dan": "call: received"}
    page = await see(vic, f"/board/deliveries/{delivery['id']}")
    link = page.one("a", class_="to-record")["href"]
    record = await see(vic, link)
    assert len(record.one("tbody").every("tr")) == 2
    offered = next(a["href"] for a in page.every("a", class_="notified") if "received" in a.text)
    record.one("tr", id=offered.partition("#")[2])
    await site.ada.delete(f"/admin/webhooks/{webhook['id']}")
    another, _ = await site.assignment(await site.driver("Dora", zone="north", at_work=True), zone="north")
    delivery = another
    assert (await is_shown())["Assigned to Dora"] == "customer not notified: no webhook"
