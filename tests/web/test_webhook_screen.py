"""The screen of webhooks without a script: added, changed, tried out, stopped, sent again, removed; by admins alone."""

from typing import Any

import pytest

from server.contract.webhook_events import EVERYTHING, TYPES
from server.contract.words import EVENTS
from server.ids import new_id
from server.store.queues.webhook_log import Attempted
from server.store.webhooks import WEBHOOKS_LIMIT
from server.web.screens.webhook_form import BAR_TALLEST, GROUPS, bars
from tests.builders import NOW
from tests.web.conftest import Site
from tests.web.html_tree import Element, parse
from tests.web.people import HTML, Browser, logged_in

URL = "https://shop.example/hooks"
HTMX = {"HX-Request": "true", "Accept": "text/html"}


async def see(browser: Browser, path: str = "/webhooks") -> Element:
    answer = await browser.see(path)
    assert answer.status_code == 200, answer.text
    return parse(answer.text)


async def send(browser: Browser, path: str = "/webhooks", headers: Any = HTML, **fields: Any) -> Any:
    token = await browser.csrf_token("/webhooks")
    return await browser.client.post(path, data={"csrf_token": token, **fields}, headers=headers)


async def a_webhook(site: Site) -> str:
    made = await site.ada.post("/admin/webhooks", json={"url": URL, "events": ["delivery.assigned"]})
    return f"/webhooks/{made.json()['id']}"


async def shown(site: Site) -> Any:
    return (await site.ada.get("/admin/webhooks")).json()["items"]


def test_every_type_can_be_chosen() -> None:
    assert sorted(kind for group in GROUPS.values() for kind in group) == sorted(TYPES)


def test_bars_grow_with_the_latency_the_oldest_first() -> None:
    attempts = [Attempted(2, NOW, None, 10_000, "no answer"), Attempted(1, NOW, 200, 0, None)]
    quick, slow = bars(attempts)
    assert (quick.x, quick.height, quick.taken) == (0, 4, True)
    assert (slow.x, slow.height, slow.taken) == (6, BAR_TALLEST, False)


async def test_an_admin_adds_one_and_sees_its_secret_once(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    page = await see(ada)
    assert "sends its events to nobody" in page.text
    added = await send(ada, url=f"  {URL} ", events=["delivery.assigned", "ticket.created", "what"])
    assert added.status_code == 201
    secret = parse(added.text).one(id="secret").text
    assert secret.startswith("whsec_")
    assert added.headers["cache-control"] == "no-store"
    (webhook,) = await shown(site)
    assert (webhook["url"], webhook["events"], webhook["createdBy"]) == (
        URL, ["delivery.assigned", "ticket.created"], "Ada",
    )  # fmt: skip
    row = (await see(ada)).one("tbody").one("tr")
    assert row.one("a")["href"] == f"/webhooks/{webhook['id']}"
    assert "Not called yet" in row.text
    assert secret not in (await ada.see(f"/webhooks/{webhook['id']}")).text
    await send(ada, url="https://other.example/", events=[EVERYTHING, "delivery.assigned"])
    assert (await shown(site))[0]["events"] == [EVERYTHING]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "", "events": ["*"]}, "Enter an address"),
        ({"url": "https://" + "x" * 2000, "events": ["*"]}, "Enter an address"),
        ({"url": "ftp://shop.example", "events": ["*"]}, "Address: must be an https or http URL"),
        ({"url": "http://127.0.0.1/", "events": ["*"]}, "Address: must not point to a private address"),
        ({"url": URL}, "Choose at least one event"),
        ({"url": "a\x00b" + URL, "events": ["*"]}, "NUL"),
    ],
)
async def test_a_form_says_what_is_wrong_and_keeps_what_was_typed(site: Site, fields: Any, message: str) -> None:
    ada = await logged_in(site, "Ada", "admin")
    path = await a_webhook(site)
    for where, more in (("/webhooks", {}), (path, {"do": "save"})):
        answer = await send(ada, where, **fields, **more)
        if "\x00" in fields["url"] and more:
            assert answer.status_code == 303
            continue
        assert answer.status_code == 422
        page = parse(answer.text)
        problem = page.one("p", class_="form-problem")
        assert message in problem.text
        if "\x00" not in fields["url"]:
            assert page.one("input", type="url")["value"] == fields["url"]
    (webhook,) = await shown(site)
    assert (webhook["url"], webhook["events"]) == (URL, ["delivery.assigned"])


async def test_there_are_not_too_many(site: Site) -> None:
    for _ in range(WEBHOOKS_LIMIT):
        await a_webhook(site)
    ada = await logged_in(site, "Ada", "admin")
    answer = await send(ada, url=URL, events="*")
    assert answer.status_code == 409
    assert "The limit of 50 webhooks is reached" in parse(answer.text).one("p", class_="form-problem").text


async def test_one_is_changed_stopped_given_a_new_secret_and_removed(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    path = await a_webhook(site)
    page = await see(ada, path)
    ticked = {box["value"] for box in page.every("input", type="checkbox") if "checked" in box}
    assert ticked == {"delivery.assigned"}
    saved = await send(ada, path, do="save", url="https://new.example/", events=["offer.created"])
    assert (saved.status_code, saved.headers["location"]) == (303, path)
    assert (await shown(site))[0]["events"] == ["offer.created"]
    await send(ada, path, do="deactivate")
    assert "Stopped" in (await see(ada, path)).one(class_="numbers-of").text
    assert not (await shown(site))[0]["active"]
    await send(ada, path, do="activate")
    assert (await shown(site))[0]["active"]
    rotated = await send(ada, path, do="rotate")
    assert parse(rotated.text).one(id="secret").text.startswith("whsec_")
    assert "signed with the old secret too" in rotated.text
    assert "the old secret is valid too" in (await see(ada, path)).text
    assert "Choose what to do" in (await see(ada, (await send(ada, path, do="what")).headers["location"])).text
    gone = await send(ada, path, do="delete")
    assert gone.headers["location"] == "/webhooks"
    assert "The webhook is removed" in (await see(ada)).one(class_="flash").text
    for do in ("save", "activate", "rotate", "test", "redeliver", "delete"):
        assert (await send(ada, path, do=do, url=URL, events="*")).status_code == 404, do
    assert (await ada.see(path)).status_code == 404


async def test_a_test_says_what_became_of_it(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    path = await a_webhook(site)
    await site.node.app.state.node.database.pool.execute("UPDATE webhooks SET url = 'http://127.0.0.1:1/hooks'")
    tested = await send(ada, path, do="test")
    assert tested.headers["location"] == path
    page = await see(ada, path)
    said = page.one(class_="flash").text
    assert said.startswith("The test was not accepted: the address is private")
    row = page.one("tbody").one("tr")
    assert row.one("th").text == "Test webhook.test"
    assert "not accepted" in row.text
    assert not row.every("form"), "a test is not sent again"


async def test_a_message_is_sent_again_by_those_who_may(site: Site) -> None:
    path = await a_webhook(site)
    pool = site.node.app.state.node.database.pool
    dan = await site.driver("Dan", at_work=True)
    delivery, _ = await site.assignment(dan)
    await pool.execute("UPDATE webhook_deliveries SET parked_at = now()")
    ada = await logged_in(site, "Ada", "admin")
    row = (await see(ada, f"{path}?status=parked")).one("tbody").one("tr")
    assert row.one(class_="about-cell").one("a")["href"] == f"/board/deliveries/{delivery['id']}"
    assert row.one(class_="about-cell").text == delivery["sellerOrderId"]
    again = row.one("form")["action"]
    other = await a_webhook(site)
    message = again.rpartition("/")[2]
    for where in (f"{other}/messages/{message}", f"{path}/messages/{new_id()}", f"{path}/messages/what"):
        assert (await send(ada, where)).status_code == 404, where
    for name in ("Olga", "Vic"):
        who = await logged_in(site, name, "ops" if name == "Olga" else "viewer")
        forms = [form for form in (await see(who, path)).every("form") if "/webhooks" in (form.get("action") or "")]
        assert {form["class"] for form in forms} == {"hand admin"}, "hidden from everybody who is no admin"
        for where, fields in ((again, {}), (path, {"do": "redeliver"}), ("/webhooks", {"url": URL, "events": "*"})):
            assert (await send(who, where, **fields)).status_code == 403, (name, where)
    assert (await ada.client.post(again, headers=HTML)).status_code == 403, "no CSRF token"
    said = await send(ada, again, headers=HTMX)
    assert said.status_code == 200
    assert "The message is being sent again" in said.headers["hx-trigger"]
    await pool.execute("UPDATE webhook_deliveries SET parked_at = now(), delivered_at = NULL")
    done = await send(ada, path, do="redeliver")
    assert done.headers["location"] == path
    assert "1 message is being sent again." in (await see(ada, path)).one(class_="flash").text
    await send(ada, path, do="deactivate")
    assert (await send(ada, path, headers=HTMX, do="redeliver")).status_code == 409
    assert (await send(ada, again, headers=HTMX)).status_code == 409
    await send(ada, again)
    assert "not active" in (await see(ada, path)).one(class_="flash").text


async def test_the_log_comes_in_pages(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.web.screens.webhook.LOG_PAGE", 2)
    await site.ada.post("/admin/webhooks", json={"url": URL, "events": ["delivery.created"]})
    for _ in range(5):
        await site.delivery()
    (webhook,) = await shown(site)
    vic = await logged_in(site, "Vic", "viewer")
    path, seen = f"/webhooks/{webhook['id']}", []
    while path:
        page = await see(vic, path)
        seen += [row["id"] for row in page.one("tbody").every("tr")]
        path = next((link["href"] for link in page.every("a", class_="button") if link.text == "Older"), "")
    assert len(seen) == len(set(seen)) == 5
    assert not (await see(vic, f"/webhooks/{webhook['id']}?before=1&status=parked")).every("tbody")


def test_every_type_has_words() -> None:
    assert set(TYPES) <= EVENTS.keys()
