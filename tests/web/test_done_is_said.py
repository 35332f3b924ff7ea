"""What was committed is answered as done, even if nothing more can be read from the database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from server.dispatch.refusals import TRY_AGAIN
from server.store import engine
from server.store.query import DatabaseAway
from tests.conftest import StartNode
from tests.waiting import PATIENCE, until
from tests.web.conftest import DROPOFF, Site
from tests.web.html_tree import parse
from tests.web.people import HTML, PASSWORD, Browser, logged_in

CONNECTIONS = 2


@asynccontextmanager
async def a_site(node: StartNode) -> AsyncIterator[Site]:
    """A node with few connections for reading; those for writing are not among them."""
    site = Site(await node(database_pool_size=CONNECTIONS))
    try:
        yield site
    finally:
        await site.close()


@asynccontextmanager
async def nothing_can_be_read(site: Site) -> AsyncIterator[None]:
    """All connections for reading are taken, and a node soon gives up waiting for one."""
    pool = site.node.app.state.node.database.pool
    async with AsyncExitStack() as taken:
        taken.enter_context(pytest.MonkeyPatch.context()).setattr(engine, "ACQUIRE_SECONDS", 0.1)
        for _ in range(CONNECTIONS):
            await taken.enter_async_context(pool.acquire(timeout=PATIENCE))
        yield


async def an_alert(site: Site) -> str:
    policy = (await site.ada.get("/admin/policy")).json()
    policy["alerts"] |= {"unassignedCount": 0}
    assert (await site.ada.put("/admin/policy", json=policy)).status_code == 200
    await site.delivery()

    async def raised() -> Any:
        items = (await site.vic.get("/admin/alerts")).json()["items"]
        return items[0]["id"] if items else None

    return str(await until(raised))


async def test_a_wait_that_was_acknowledged(node: StartNode) -> None:
    async with a_site(node) as site:
        delivery = await site.delivery()
        async with nothing_can_be_read(site):
            path = f"/admin/unassigned-orders/{delivery['id']}/acknowledge"
            done = await site.alice.post(path, json={"note": "I call them"})
        assert done.status_code == 200, done.text
        (row,) = (await site.vic.get("/admin/unassigned-orders")).json()["items"]
        assert done.json() == row
        assert (row["acknowledgedBy"], row["acknowledgementNote"]) == ("alice", "I call them")


async def test_an_alert_that_was_acknowledged(node: StartNode) -> None:
    async with a_site(node) as site:
        alert_id = await an_alert(site)
        async with nothing_can_be_read(site):
            done = await site.alice.post(f"/admin/alerts/{alert_id}/acknowledge")
        assert done.status_code == 200, done.text
        (row,) = (await site.vic.get("/admin/alerts")).json()["items"]
        assert done.json() == row | {"currentValue": None}  # that one takes a read
        assert row["acknowledgedBy"] == "alice"


# Beside what is done, a screen shows what it reads then. Here that read fails.

UNREAD = "The rest of this page cannot be shown now"
Fails = Callable[[str], None]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """`fails(name)`: this read finds no database from now on."""

    async def away(*_: Any, **__: Any) -> Any:
        raise DatabaseAway("for the test")

    return lambda name: monkeypatch.setattr(name, away)


async def sender(browser: Browser) -> Callable[..., Any]:
    """Sends forms with a token of before."""
    token = await browser.csrf_token("/account")

    async def send(path: str, **fields: str) -> Any:
        return await browser.client.post(path, data=fields, headers={**HTML, "X-CSRF-Token": token})

    return send


async def test_a_new_key_is_shown(site: Site, fails: Fails) -> None:
    ada = await logged_in(site, "Ada", "admin")
    send = await sender(ada)
    fails("server.web.access.api_keys.list_keys")
    made = await send("/keys", name="Roma")
    assert (made.status_code, UNREAD in made.text, "No keys yet" in made.text) == (201, True, False)
    key = parse(made.text).one(id="new-key")["value"]
    with_key = site.anonymous({"Authorization": f"Bearer {key}"})
    assert (await with_key.get("/deliveries")).status_code == 200
    assert (await ada.see("/keys")).status_code == 503


async def test_a_generated_password_is_shown(site: Site, fails: Fails) -> None:
    ada = await logged_in(site, "Ada", "admin")
    send = await sender(ada)
    fails("server.web.screens.users.list_people")
    made = await send("/users", name="Olga", role="ops")
    assert (made.status_code, UNREAD in made.text) == (201, True)
    password = parse(made.text).one("output").text
    assert (await Browser(site.anonymous()).log_in("Olga", password)).status_code == 303
    assert (await ada.see("/users")).status_code == 503


async def test_the_secrets_of_a_webhook_are_shown(site: Site, fails: Fails) -> None:
    ada = await logged_in(site, "Ada", "admin")
    send = await sender(ada)
    fails("server.web.screens.webhook.read_messages")
    pool = site.node.app.state.node.database.pool
    added = await send("/webhooks", url="https://shop.example/hooks", events="*")
    assert (added.status_code, UNREAD in added.text) == (201, True)
    first = parse(added.text).one(id="secret").text
    ((webhook_id, kept),) = await pool.fetch("SELECT id::text, secret FROM webhooks")
    assert first == kept
    rotated = await send(f"/webhooks/{webhook_id}", do="rotate")
    assert (rotated.status_code, UNREAD in rotated.text) == (200, True)
    second = parse(rotated.text).one(id="secret").text
    assert [first, second] == list(*await pool.fetch("SELECT previous_secret, secret FROM webhooks"))
    assert "messages are signed with the old secret too" in rotated.text
    assert (await ada.see(f"/webhooks/{webhook_id}")).status_code == 503


async def test_an_invitation_is_shown(site: Site, fails: Fails) -> None:
    dan = await site.driver("Dan")
    alice = await logged_in(site, "alice", "ops")
    send, path = await sender(alice), f"/board/drivers/{dan.id}/access"
    fails("server.web.screens.driver_access.list_devices")
    invited = await send(path, do="invite")
    assert (invited.status_code, UNREAD in invited.text, "has not signed in" in invited.text) == (201, True, False)
    code = parse(invited.text).one(id="driver-link")["value"].rpartition("#code=")[2]
    assert (await site.nobody.post("/driver/sign-in", json={"code": code})).status_code == 200
    assert (await alice.see(path)).status_code == 503


async def test_a_device_that_was_signed_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen also names the orders that the driver still has."""
    dan = await site.driver("Dan", at_work=True)
    await site.assignment(dan)
    invited = (await site.alice.post(f"/drivers/{dan.id}/invitation")).json()
    assert (await site.nobody.post("/driver/sign-in", json={"code": invited["code"]})).status_code == 200
    alice = await logged_in(site, "alice", "ops")
    send, path = await sender(alice), f"/board/drivers/{dan.id}/access"

    def away(*_: Any) -> Any:
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(TRY_AGAIN)
        return answer

    (device,) = (await site.alice.get(f"/drivers/{dan.id}/devices")).json()["items"]
    with monkeypatch.context() as patch:
        patch.setattr(site.node.app.state.node.snapshots, "read", away)
        assert (await alice.see(path)).status_code == 503
        out = await send(path, do="sign-out", device=device["id"])
    assert (out.status_code, out.headers.get("location")) == (303, path)
    assert "Dan is signed out on that device." in (await alice.see(path)).text


@pytest.mark.parametrize("read", ["remove_now", "count_objects"])
async def test_a_person_who_was_erased(site: Site, fails: Fails, read: str) -> None:
    ada = await logged_in(site, "Ada", "admin")
    send = await sender(ada)
    for phone in ("030 555-0142", "030 555-0143"):
        order = await site.delivery(dropoff=DROPOFF | {"phone": phone})
        cancelled = await site.shop.post(f"/deliveries/{order['id']}/cancel", json={"reason": "sold out"})
        assert cancelled.status_code == 200
    fails(f"server.web.api.privacy.{read}")
    erased = await site.ada.post("/admin/privacy/erase", json={"phone": "030 555-0142"})
    assert (erased.status_code, erased.json()["deliveries"], "filesLeft" in erased.json()) == (200, 1, False)
    by_form = await send("/privacy", do="erase", phone="030 555-0143", sure="1")
    assert by_form.status_code == 303
    said = parse((await ada.see("/privacy")).text).one(class_="flash").text
    assert said == (
        "Erased: the data of 1 order. Photos, if there are any, are removed when the database answers again."
    )


async def test_settings_that_were_changed(site: Site, fails: Fails) -> None:
    ada, bea = await logged_in(site, "Ada", "admin"), await logged_in(site, "Bea", "admin")
    fails("server.current_policy.read_company_settings")
    for who in (ada, bea):
        sent = await who.send("/start/settings", form="company", company_name="Roma")
        assert (sent.status_code, sent.headers.get("location")) == (303, "/start")
    page = (await ada.see("/start")).text
    assert ("Roma" in page, "Ada set this here." in page) == (True, True), "who sets the same again changes nothing"


async def test_the_own_password_that_was_changed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    vic = await logged_in(site, "Vic", "viewer")
    send = await sender(vic)

    async def away(*_: Any) -> Any:
        raise DatabaseAway("for the test")

    with monkeypatch.context() as patch:
        patch.setattr("server.web.access.sessions.insert_session", away)
        changed = await send("/account/password", now=PASSWORD, password="a new and better one")
    assert (changed.status_code, changed.headers.get("location")) == (303, "/login")
    assert "Your password is changed. Log in with it." in (await vic.see("/login")).text
    assert (await vic.log_in("Vic", "a new and better one")).status_code == 303


@pytest.mark.parametrize("screen", ["alerts", "board_actions"])
async def test_an_alert_that_was_acknowledged_on_a_screen(site: Site, fails: Fails, screen: str) -> None:
    alert_id = await an_alert(site)
    olga = await logged_in(site, "Olga", "ops")
    send = await sender(olga)
    fails(f"server.web.screens.{screen}.read_alert")
    path = "/alerts" if screen == "alerts" else "/board/alerts"
    done = await send(f"{path}/{alert_id}/acknowledge")
    assert done.status_code in (200, 303), done.text
    (row,) = (await site.vic.get("/admin/alerts")).json()["items"]
    assert row["acknowledgedBy"] == "Olga"


async def test_a_webhook_message_that_is_sent_again(site: Site, fails: Fails) -> None:
    made = await site.ada.post("/admin/webhooks", json={"url": "https://shop.example/hooks"})
    path = f"/admin/webhooks/{made.json()['id']}/deliveries"
    await site.delivery()
    pool = site.node.app.state.node.database.pool

    async def waits() -> Any:
        return (await site.ada.get(path)).json()["items"]

    message = (await until(waits))[-1]
    await pool.execute("UPDATE webhook_deliveries SET parked_at = now()")
    fails("server.store.queues.webhook_log.read_message")
    sent = await site.ada.post(f"/admin/webhook-deliveries/{message['id']}/redeliver")
    assert (sent.status_code, sent.json()["id"], sent.json()["status"]) == (200, message["id"], "pending")
