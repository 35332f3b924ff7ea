"""Web push: an offer reaches the phone of a driver without a socket, once, in time, and what became of it is kept."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from structlog.testing import capture_logs

from server.ids import new_id
from server.notify import addresses, call_rounds, push
from server.notify.push_message import new_private_key
from server.store.queues.push_notices import CLAIM, NoticeToSend, claim_driver_notices, record_driver_notice
from server.web.access.tokens import GRACE_SECONDS
from tests.conftest import StartNode
from tests.driver_app import driver_app
from tests.notify.test_record import record
from tests.phone import Phone, claims_of
from tests.receiver import Receiver
from tests.waiting import PATIENCE, until
from tests.web.conftest import Check, Driver, Site, token

ABOUT = {"to": "driver"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rounds come fast; a call that a test holds back is not given up meanwhile, nor made a second time."""
    monkeypatch.setattr(push, "TIMEOUT_SECONDS", PATIENCE)
    monkeypatch.setattr(push, "LOCK_SECONDS", PATIENCE)
    monkeypatch.setattr(push, "SPACING_SECONDS", 0.01)
    monkeypatch.setattr(call_rounds, "POLL_SECONDS", 0.05)


async def subscribed(site: Site, driver: Driver, service: Receiver, name: str = "phone") -> tuple[Phone, str]:
    """A phone of this driver that wants pushes; and the subscription's id."""
    phone = Phone(service, name)
    made = await driver.post("/push-subscriptions", phone.subscription)
    assert made.status_code == 201, made.text
    return phone, made.json()["id"]


async def a_phone(site: Site, service: Receiver, name: str = "Dan", **changes: Any) -> tuple[Driver, Phone]:
    """A driver at work, without a socket, whose phone wants pushes."""
    driver = await site.driver(name, at_work=True, **changes)
    phone, _ = await subscribed(site, driver, service)
    return driver, phone


async def key_of(driver: Driver) -> str:
    shown = await driver.client.get("/drivers/push-key")
    assert shown.status_code == 200, shown.text
    key: str = shown.json()["key"]
    return key


async def offers_last(site: Site, seconds: int, expiry_policy: str = "next_driver") -> None:
    policy = (await site.ada.get("/admin/policy")).json() | {
        "offerTimeoutSeconds": seconds,
        "expiryPolicy": expiry_policy,
        "reofferCooldownSeconds": 3600,
    }
    assert (await site.ada.put("/admin/policy", json=policy)).status_code == 200


async def pushed(status: str, site: Site, kind: str = "offer.created") -> dict[str, Any]:
    """The one notice that was pushed, once this has become of it."""

    async def there() -> Any:
        found = [item for item in await record(site, kind=kind, **ABOUT) if item["channel"] == "push"]
        return found[0] if [item["status"] for item in found] == [status] else None

    notice: dict[str, Any] = await until(there)
    return notice


async def test_an_offer_reaches_the_phone_of_a_driver_without_a_socket(site: Site, receiver: Receiver) -> None:
    receiver.status = 201
    dan, phone = await a_phone(site, receiver)
    delivery = await site.delivery(driverPayCents=720, currency="EUR")
    offer = await dan.offer()
    await until(lambda: phone.heard)
    assert phone.messages == [
        {
            "type": "offer",
            "pushId": (await pushed("sent", site))["id"],
            "offerId": offer["id"],
            "driverId": dan.id,
            "deliveryId": delivery["id"],
            "expiresAt": offer["expiresAt"],
            "storeName": "Pizza Roma",
            "distanceKm": offer["payload"]["estimatedDistanceKm"],
            "pickupMinutes": offer["payload"]["estimatedPickupTimeMin"],
            "earningCents": 720,
            "currency": "EUR",
        }
    ]
    headers = phone.heard[0].headers
    assert headers["urgency"] == "high"
    assert headers["topic"] == offer["id"].replace("-", "")
    assert 20 <= int(headers["ttl"]) <= 30, "it is of no use after the offer"
    claims = claims_of(phone.heard[0], receiver, await key_of(dan))
    assert claims["sub"].startswith("mailto:")
    assert claims["exp"] - datetime.now(UTC).timestamp() < 24 * 3600

    sent = await pushed("sent", site)
    assert (sent["driverId"], sent["deliveryId"], sent["attempts"]) == (dan.id, delivery["id"], 1)
    assert sent["sentAt"]
    assert (await dan.post(f"/offers/{offer['id']}/received")).status_code == 204
    received = await pushed("received", site)
    assert received["receivedAt"]
    [body] = (await dan.get("/push-subscriptions")).json()["items"]
    assert (body["lastStatus"], body["lastError"]) == (201, None)
    assert len(phone.heard) == 1


async def test_what_a_browser_showed_was_not_seen_by_anybody(site: Site, receiver: Receiver, problem: Check) -> None:
    """So silence is no yes, where the policy takes it for one of an offer that was received."""
    await offers_last(site, 600, "auto_accept")
    dan, phone = await a_phone(site, receiver)
    dora = await site.driver("Dora", zone="south")
    delivery = await site.delivery()
    await until(lambda: phone.heard)
    shown = f"/pushes/{phone.messages[0]['pushId']}/shown"
    problem(await dora.post(shown), 404, "not_found")
    problem(await dan.post(f"/pushes/{new_id()}/shown"), 404, "not_found")
    problem(await dan.post("/pushes/x/shown"), 404, "not_found")
    assert (await pushed("sent", site))["receivedAt"] is None
    assert (await dan.post(shown)).status_code == 204
    received = await pushed("received", site)
    assert (await dan.post(shown)).status_code == 204
    assert (await pushed("received", site))["receivedAt"] == received["receivedAt"], "the first time counts"
    await site.node.reach_deadline((await dan.offer())["id"])
    expired = await until(lambda: event(site, delivery["id"], "offer.expired"))
    assert "assignmentId" not in expired["data"]
    [offered] = [item for item in await record(site, **ABOUT) if item["channel"] != "push"]
    assert (offered["status"], offered["receivedAt"]) == ("failed", None)


async def event(site: Site, delivery_id: str, kind: str) -> Any:
    """The delivery's event of this type, once there is one."""
    items = (await site.vic.get(f"/deliveries/{delivery_id}/timeline")).json()["items"]
    return next((item for item in items if item["type"] == kind), None)


async def write(site: Site, driver: Driver, text: str) -> str:
    sent = await site.alice.post(f"/admin/drivers/{driver.id}/messages", json={"text": text})
    assert sent.status_code == 201, sent.text
    message_id: str = sent.json()["id"]
    return message_id


async def test_a_message_reaches_the_phone_of_a_driver_without_a_socket(site: Site, receiver: Receiver) -> None:
    receiver.answers = [503]
    dan, phone = await a_phone(site, receiver)
    message_id = await write(site, dan, "The back door is open")
    await until(lambda: len(phone.heard) == 2)
    first, again = phone.messages
    assert first == again, "the service was down"
    [kept] = (await site.vic.get(f"/admin/drivers/{dan.id}/messages")).json()["items"]
    assert first == {
        "type": "message",
        "pushId": first["pushId"],
        "messageId": message_id,
        "driverId": dan.id,
        "expiresAt": first["expiresAt"],
        "from": "alice",
        "text": "The back door is open",
        "at": kept["at"],
    }
    assert phone.heard[0].headers["topic"] == message_id.replace("-", "")
    assert 3500 <= int(phone.heard[0].headers["ttl"]) <= 3600
    assert (await dan.post(f"/pushes/{first['pushId']}/shown")).status_code == 204
    long = await write(site, dan, "€" * 1000)
    await until(lambda: len(phone.heard) == 3)
    assert phone.messages[2]["text"] == "€" * 299 + "…"
    assert phone.messages[2]["messageId"] == long
    pool = site.node.app.state.node.database.pool
    assert await claim_driver_notices(pool, 10, 8.0) == [], "each once"


async def test_a_message_is_pushed_until_the_driver_has_seen_it(site: Site, receiver: Receiver) -> None:
    pool = site.node.app.state.node.database.pool
    dan, phone = await a_phone(site, receiver)
    async with driver_app(site.node.ws_url, dan.id) as app:
        await app.hear("hello")
        seen, unseen = [await write(site, dan, text) for text in ("Call the store", "Use the back door")]
        await app.hear(lambda m: m["type"] == "message" and m["message"]["id"] == unseen)
        assert (await app.ask("seen", messageId=seen))["type"] == "ack"
        assert phone.heard == [], "who has a socket is not called"
    await until(lambda: phone.heard)
    assert [message["messageId"] for message in phone.messages] == [unseen]
    receiver.answers, receiver.hold = [500], asyncio.Event()
    late = await write(site, dan, "Never mind")
    await until(lambda: len(phone.heard) == 2)
    assert (await dan.post(f"/messages/{late}/seen")).status_code == 204
    receiver.hold.set()

    async def given_up() -> Any:
        return await pool.fetchval("SELECT last_error FROM driver_notices WHERE failed_at IS NOT NULL")

    assert await until(given_up) == "answered 500: not like this"
    assert len(phone.heard) == 2
    await site.node.change("UPDATE chat_messages SET seen_at = NULL, at = at - interval '61 minutes'")
    await site.node.change("DELETE FROM driver_notices")
    assert await claim_driver_notices(pool, 10, 8.0) == [], "what is old is in the next hello"


async def test_who_has_a_socket_is_not_called(site: Site, receiver: Receiver) -> None:
    dora, doras = await a_phone(site, receiver, "Dora", zone="north")
    _, dans = await a_phone(site, receiver, "Dan", zone="south")
    async with driver_app(site.node.ws_url, dora.id) as app:
        await site.delivery(zone="north")
        offer = (await app.hear("offer"))["offer"]
        await site.delivery(zone="south")
        await until(lambda: dans.heard)
        assert doras.heard == []
        app.send("received", offerId=offer["id"])
    await until(lambda: is_disconnected(site, dora))
    assert await claim_driver_notices(site.node.app.state.node.database.pool, 10, 8.0) == []
    assert [item["channel"] for item in await record(site, zone="north", **ABOUT)] == ["socket"]
    assert doras.heard == [], "the app had it already"


async def is_disconnected(site: Site, driver: Driver) -> Any:
    return not (await site.ada.get(f"/drivers/{driver.id}")).json()["connected"]


async def test_an_offer_whose_socket_is_lost_before_it_was_received_is_pushed(site: Site, receiver: Receiver) -> None:
    dan, phone = await a_phone(site, receiver)
    async with driver_app(site.node.ws_url, dan.id) as app:
        await site.delivery()
        offer = (await app.hear("offer"))["offer"]
        assert phone.heard == []
    await until(lambda: phone.heard)
    assert phone.messages[0]["offerId"] == offer["id"]


async def test_each_of_a_drivers_phones_gets_a_push(site: Site, receiver: Receiver) -> None:
    dan, phone = await a_phone(site, receiver)
    tablet, _ = await subscribed(site, dan, receiver, "tablet")
    await site.delivery()
    await until(lambda: phone.heard and tablet.heard)
    [on_phone], [on_tablet] = phone.messages, tablet.messages
    assert on_phone["pushId"] != on_tablet["pushId"]
    assert on_phone == on_tablet | {"pushId": on_phone["pushId"]}
    assert phone.heard[0].body != tablet.heard[0].body


async def test_two_that_look_at_once_send_one_message(
    node: StartNode, site: Site, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes that both believe they hold the lease."""
    other = (await node(webhooks_allow_private=True)).app.state.node
    monkeypatch.setattr(other.lease, "_until", float("inf"))
    other.lease.taken.set()
    phones = [await a_phone(site, receiver, f"Dan {n}", zone=f"zone {n}") for n in range(12)]
    await asyncio.gather(*(site.delivery(zone=f"zone {n}") for n in range(12)))
    await until(lambda: all(phone.heard for _, phone in phones))
    pools = [site.node.app.state.node.database.pool, other.database.pool] * 4
    claimed = await asyncio.gather(*(claim_driver_notices(pool, 10, 8.0) for pool in pools))
    assert claimed == [[]] * 8
    assert [len(phone.heard) for _, phone in phones] == [1] * 12


PLANS = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1"


async def test_the_look_for_pushes_is_planned_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes each second: planning takes ten times as long as running."""
    plans: list[tuple[int, int]] = []

    async def claim(source: Any, limit: int, lock_seconds: float) -> list[NoticeToSend]:
        found = await claim_driver_notices(source, limit, lock_seconds)
        plans.append(tuple(await source.fetchrow(PLANS, CLAIM)))
        return found

    monkeypatch.setattr(push, "claim_driver_notices", claim)
    await until(lambda: len(plans) > 6)
    assert [custom for _, custom in plans] == [0] * len(plans)
    assert plans[-1][0] == plans[0][0] + len(plans) - 1, "all over the same connection"


@pytest.mark.parametrize("status", [404, 410])
async def test_a_phone_that_is_gone_is_forgotten(site: Site, receiver: Receiver, status: int) -> None:
    receiver.status = status
    dan, phone = await a_phone(site, receiver)
    await site.delivery()
    failed = await pushed("failed", site)
    assert failed["lastError"] == f"answered {status}: not like this"
    assert failed["attempts"] == 1
    assert (await dan.get("/push-subscriptions")).json()["items"] == []
    assert len(phone.heard) == 1


async def test_a_service_that_stumbles_is_asked_again(site: Site, receiver: Receiver) -> None:
    receiver.answers = [500, 503]
    _, phone = await a_phone(site, receiver)
    await site.delivery()
    sent = await pushed("sent", site)
    assert (sent["attempts"], sent["lastError"]) == (3, None)
    assert len({heard.headers["topic"] for heard in phone.heard}) == 1, "what comes twice is shown once"


async def test_a_service_that_wants_a_pause_gets_it(site: Site, receiver: Receiver) -> None:
    receiver.answers = [429]
    receiver.headers = {"Retry-After": "1"}
    _, phone = await a_phone(site, receiver)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await site.delivery()
    assert (await pushed("sent", site))["attempts"] == 2
    assert loop.time() - began >= 1
    assert len(phone.heard) == 2


async def test_a_pause_longer_than_the_offer_is_the_end_of_it(site: Site, receiver: Receiver) -> None:
    receiver.answers = [429]
    receiver.headers = {"Retry-After": "60"}
    dan, phone = await a_phone(site, receiver)
    await site.delivery()
    failed = await pushed("failed", site)
    assert failed["lastError"] == "answered 429: not like this"
    assert len(phone.heard) == 1
    assert len((await dan.get("/push-subscriptions")).json()["items"]) == 1


async def test_a_message_that_is_refused_is_not_sent_again(site: Site, receiver: Receiver) -> None:
    receiver.status = 403
    _, phone = await a_phone(site, receiver)
    await site.delivery()
    failed = await pushed("failed", site)
    assert (failed["attempts"], failed["lastError"]) == (1, "answered 403: not like this")
    assert len(phone.heard) == 1


async def test_no_push_is_sent_after_the_deadline(site: Site, receiver: Receiver) -> None:
    await offers_last(site, 600)
    await receiver.stop()
    dan = await site.driver("Dan", at_work=True)
    phone, _ = await subscribed(site, dan, receiver)
    await site.delivery()

    async def tried_again() -> bool:
        return bool((await pushed("pending", site))["attempts"] >= 2)

    await until(tried_again)
    await site.node.change("UPDATE driver_notices SET expires_at = clock_timestamp()")
    failed = await pushed("failed", site)
    assert "connect" in failed["lastError"].lower()
    await receiver.start()
    assert await claim_driver_notices(site.node.app.state.node.database.pool, 10, 8.0) == []
    assert phone.heard == []


async def test_an_expired_push_shows_why_its_attempts_failed(site: Site) -> None:
    pool = site.node.app.state.node.database.pool
    at, ids = datetime.now(UTC), [new_id() for _ in range(5)]
    await pool.execute(
        "INSERT INTO driver_notices (id, kind, driver_id, delivery_id, offer_id, subscription_id, created_at,"
        " expires_at, attempts)"
        " VALUES ($1, 'offer.created', $2, $3, $4, $5, $6, $6::timestamptz + interval '1 minute', 1)",
        *ids,
        at,
    )
    notice_id, driver, delivery, offer, subscription = ids
    notice = NoticeToSend(
        notice_id,
        "offer.created",
        driver,
        delivery,
        offer,
        None,
        subscription,
        1,
        at,
        60.0,
        None,
        None,
        None,
        None,
        None,
        None,
    )
    await record_driver_notice(pool, notice, None, "could not connect", 30.0, tried=True, gone=False)
    await record_driver_notice(pool, notice, None, "it had expired", None, tried=False, gone=False)
    row = await pool.fetchrow("SELECT last_error, failed_at FROM driver_notices WHERE id = $1", ids[0])
    assert row["last_error"] == "could not connect"
    assert row["failed_at"] is not None


async def test_a_slow_service_holds_up_nobody_else(
    site: Site, receiver: Receiver, other: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "TIMEOUT_SECONDS", 4.0)
    receiver.hold = asyncio.Event()
    _, slow = await a_phone(site, receiver, "Dan", zone="north")
    _, quick = await a_phone(site, other, "Dora", zone="south")
    await site.delivery(zone="north")
    await until(lambda: slow.heard)
    await site.delivery(zone="south")
    await until(lambda: quick.heard)
    assert receiver.waiting == 1

    async def tried_again() -> Any:
        found = [item for item in await record(site, zone="north", **ABOUT) if item["channel"] == "push"]
        return found[0]["lastError"] == "no answer within 4 s"

    await until(tried_again)
    receiver.hold.set()
    await until(lambda: len(slow.heard) == 2)


async def test_an_offer_that_is_taken_back_is_taken_from_the_screen(site: Site, receiver: Receiver) -> None:
    dan, phone = await a_phone(site, receiver)
    delivery = await site.delivery()
    offer = await dan.offer()
    await pushed("sent", site)
    await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "sold out"})
    taken_back = await pushed("sent", site, "offer.closed")
    first, second = phone.heard
    assert phone.read(second) == {
        "type": "offer_closed",
        "pushId": taken_back["id"],
        "offerId": offer["id"],
        "driverId": dan.id,
        "expiresAt": offer["expiresAt"],
    }
    assert first.headers["topic"] == second.headers["topic"], "it takes the place of one still on its way"
    assert int(second.headers["ttl"]) <= int(first.headers["ttl"])


async def test_an_answered_offer_disappears_from_the_drivers_other_phones(site: Site, receiver: Receiver) -> None:
    dan, phone = await a_phone(site, receiver)
    await site.delivery()
    offer = await dan.offer()
    await pushed("sent", site)
    assert (await dan.post(f"/offers/{offer['id']}/accept")).status_code == 200
    await pushed("sent", site, "offer.closed")
    assert [message["type"] for message in phone.messages] == ["offer", "offer_closed"]


async def test_a_phone_gets_pushes_until_the_token_that_subscribed_it_expires(site: Site, receiver: Receiver) -> None:
    dan = await site.driver("Dan", zone="north", at_work=True)
    short = Phone(receiver, "short")
    soon = token("driver", dan.id, 60)
    bearer = {"Authorization": f"Bearer {soon}"}
    made = await site.nobody.post(f"/drivers/{dan.id}/push-subscriptions", json=short.subscription, headers=bearer)
    assert made.status_code == 201
    expires = datetime.fromisoformat(made.json()["expiresAt"]).timestamp()
    assert expires - GRACE_SECONDS == jwt.decode(soon, options={"verify_signature": False})["exp"]
    assert [item["id"] for item in (await dan.get("/push-subscriptions")).json()["items"]] == [made.json()["id"]]

    await site.node.change("UPDATE push_subscriptions SET expires_at = clock_timestamp()")
    assert (await dan.get("/push-subscriptions")).json()["items"] == []
    long, _ = await subscribed(site, dan, receiver, "long")
    await site.delivery(zone="north")
    await until(lambda: long.heard)
    assert short.heard == []


async def test_a_token_without_expiry_subscribes_for_a_year(site: Site, receiver: Receiver) -> None:
    dan = await site.driver("Dan")
    bearer = {"Authorization": f"Bearer {token('driver', dan.id, 1e15)}"}
    body = Phone(receiver).subscription
    made = await site.nobody.post(f"/drivers/{dan.id}/push-subscriptions", json=body, headers=bearer)
    assert made.status_code == 201, made.text
    expires_at = datetime.fromisoformat(made.json()["expiresAt"])
    assert 300 < (expires_at - datetime.now(UTC)).days <= 400


async def test_a_browser_belongs_to_who_used_it_last(site: Site, receiver: Receiver) -> None:
    dan = await site.driver("Dan", at_work=True)
    phone, first = await subscribed(site, dan, receiver)
    again = (await dan.post("/push-subscriptions", phone.subscription)).json()
    assert again["id"] == first, "saying so again is harmless"
    dora = await site.driver("Dora", at_work=True)
    theirs = (await dora.post("/push-subscriptions", phone.subscription)).json()
    assert theirs["id"] != first
    assert (await dan.get("/push-subscriptions")).json()["items"] == []
    assert [item["id"] for item in (await dora.get("/push-subscriptions")).json()["items"]] == [theirs["id"]]


async def test_the_oldest_browsers_make_room(site: Site, receiver: Receiver) -> None:
    dan = await site.driver("Dan")
    ids = [(await subscribed(site, dan, receiver, f"phone {n}".replace(" ", "-")))[1] for n in range(10)]
    kept = [item["id"] for item in (await dan.get("/push-subscriptions")).json()["items"]]
    assert kept == ids[:1:-1]


async def test_it_is_the_drivers_own_business(site: Site, receiver: Receiver, problem: Check) -> None:
    dan = await site.driver("Dan")
    dora = await site.driver("Dora")
    phone, subscription_id = await subscribed(site, dan, receiver)
    path = f"/drivers/{dan.id}/push-subscriptions"
    problem(await site.nobody.post(path, json=phone.subscription), 401, "unauthorized")
    problem(await site.nobody.get("/drivers/push-key"), 401, "unauthorized")
    problem(await site.shop.get("/drivers/push-key"), 403, "forbidden")
    for who in (dora.client, *site.roles.values()):
        problem(await who.post(path, json=phone.subscription), 403, "forbidden")
    for who in (dora.client, site.shop):
        problem(await who.get(path), 403, "forbidden")
    for who in (dora.client, site.shop, site.vic, site.alice):
        problem(await who.delete(f"{path}/{subscription_id}"), 403, "forbidden")
    problem(await dora.client.delete(f"/drivers/{dora.id}/push-subscriptions/{subscription_id}"), 404, "not_found")
    problem(await dan.client.delete(f"{path}/no-id"), 404, "not_found")
    seen = await site.vic.get(path)
    assert [item["service"] for item in seen.json()["items"]] == [f"http://127.0.0.1:{receiver.port}"]
    assert not any(secret in seen.text for secret in phone.secrets)
    assert (await dan.client.delete(f"{path}/{subscription_id}")).status_code == 204
    problem(await dan.client.delete(f"{path}/{subscription_id}"), 404, "not_found")
    _, subscription_id = await subscribed(site, dan, receiver)
    assert (await site.ada.delete(f"{path}/{subscription_id}")).status_code == 204
    problem(await site.vic.get(f"/drivers/{subscription_id}/push-subscriptions"), 404, "not_found")


P256DH = "BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM"
AUTH = "tBHItJI5svbpez7KI4CCXg"


NO_SUBSCRIPTIONS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"endpoint": ""}, "endpoint"),
    ({"endpoint": "push"}, "endpoint"),
    ({"endpoint": "ftp://push.example/1"}, "endpoint"),
    ({"endpoint": "http://push.example/1"}, "endpoint"),
    ({"endpoint": "https://127.0.0.1/1"}, "endpoint"),
    ({"endpoint": "https://169.254.169.254/latest/meta-data"}, "endpoint"),
    ({"endpoint": "https://localhost:8000/1"}, "endpoint"),
    ({"endpoint": "https://[::1]/1"}, "endpoint"),
    ({"endpoint": "https://[2606:4700:4700::1111]/1"}, "endpoint"),
    ({"endpoint": "https://dan:secret@push.example/1"}, "endpoint"),
    ({"endpoint": "https://push.éxample/1"}, "endpoint"),
    ({"endpoint": "https://push.example/" + "x" * 2000}, "endpoint"),
    ({"keys": {"p256dh": P256DH}}, "keys.auth"),
    ({"keys": {"p256dh": P256DH[:-1], "auth": AUTH}}, "keys.p256dh"),
    ({"keys": {"p256dh": P256DH[:-4] + "AAAA", "auth": AUTH}}, "keys.p256dh"),
    ({"keys": {"p256dh": AUTH, "auth": AUTH}}, "keys.p256dh"),
    ({"keys": {"p256dh": "not base64!", "auth": AUTH}}, "keys.p256dh"),
    ({"keys": {"p256dh": P256DH, "auth": AUTH[:-3]}}, "keys.auth"),
    ({"keys": {"p256dh": P256DH, "auth": ""}}, "keys.auth"),
    ({"keys": None}, "keys"),
    ({"topic": "x"}, "topic"),
)


async def test_what_is_no_subscription(node: StartNode, problem: Check) -> None:
    site = Site(await node())
    dan = await site.driver("Dan")
    good = {"endpoint": "https://push.example/1", "keys": {"p256dh": P256DH, "auth": AUTH}}
    for change, field in NO_SUBSCRIPTIONS:
        refused = problem(await dan.post("/push-subscriptions", good | change), 422, "invalid")
        assert [error["field"] for error in refused["errors"]] == [field], change
    assert (await dan.post("/push-subscriptions", good)).status_code == 201
    await site.close()


async def test_a_name_that_leads_into_a_private_network_is_not_called(
    node: StartNode, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        assert host == "push.example"
        return ["127.0.0.1"]

    monkeypatch.setattr(addresses, "_resolve", resolve)
    site = Site(await node())
    dan = await site.driver("Dan", at_work=True)
    body = Phone(receiver).subscription | {"endpoint": f"https://push.example:{receiver.port}/1"}
    assert (await dan.post("/push-subscriptions", body)).status_code == 201
    await site.delivery()
    failed = await pushed("failed", site)
    assert (failed["attempts"], failed["lastError"]) == (1, addresses.NOT_ALLOWED)
    assert receiver.heard == []
    await site.close()


async def test_the_key_is_one_for_all_nodes_or_from_the_settings(node: StartNode, site: Site) -> None:
    dan = await site.driver("Dan")
    key = await key_of(dan)
    second = Site(await node())
    mine = second.client("driver", dan.id)
    assert (await mine.get("/drivers/push-key")).json() == {"key": key}
    private = new_private_key()
    third = Site(await node(vapid_private_key=private, vapid_subject="mailto:ops@fleet.example"))
    theirs = third.client("driver", dan.id)
    assert (await theirs.get("/drivers/push-key")).json()["key"] not in (key, private)
    for other in (second, third):
        await other.close()


async def test_no_log_line_contains_an_endpoint_or_the_content_of_a_push(site: Site, receiver: Receiver) -> None:
    with capture_logs() as lines:
        receiver.answers = [201, 500, 403]
        dan, phone = await a_phone(site, receiver, zone="north")
        await site.delivery(zone="north")
        await pushed("sent", site)
        dora, doras = await a_phone(site, receiver, "Dora", zone="south")
        await site.delivery(zone="south")
        await until(lambda: any(line["event"] == "push_failed" for line in lines))
    shown = repr(lines)
    assert {"push_sent", "push_attempt_failed", "push_failed"} <= {line["event"] for line in lines}
    private = await site.node.app.state.node.database.pool.fetchval("SELECT private_key FROM push_keys")
    secrets = [*phone.secrets, *doras.secrets, private, receiver.heard[0].headers["authorization"]]
    secrets += [client.headers["authorization"].removeprefix("Bearer ") for client in (dan.client, dora.client)]
    for secret in secrets:
        assert secret not in shown


async def test_a_burst_claims_no_more_than_there_is_room_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the four sources of notices claims its share, and no claim asks for less than one."""
    asked: list[int] = []
    held = asyncio.Event()

    async def claim(_: Any, each: int, __: float) -> list[NoticeToSend]:
        asked.append(each)
        return [notice] * (4 * each)

    async def deliver(*_: Any) -> None:
        await held.wait()

    notice: Any = SimpleNamespace(seconds_left=10.0)
    pushes = site.node.app.state.node.push
    monkeypatch.setattr(push, "claim_driver_notices", claim)
    monkeypatch.setattr(pushes, "_deliver", deliver)
    await until(lambda: len(pushes._calls) == push.AT_ONCE)
    for _ in range(3):
        await pushes._round()
    assert len(pushes._calls) == push.AT_ONCE
    assert min(asked) > 0
    held.set()
