"""A call that is refused changes nothing: no row of any table, whatever the endpoint and the refusal."""

from typing import Any

import httpx2
import pytest

from server.dispatch.chat import UNSEEN_LIMIT
from server.dispatch.driver_actions import PROOF_LIMIT
from server.ids import new_id
from server.store.webhooks import WEBHOOKS_LIMIT
from server.web.api.routes import API
from server.web.http.every_route import handlers_in
from tests.test_images import an_image
from tests.web.conftest import Driver, Site
from tests.web.people import add, logged_in

REASON = {"reason": "why not"}
VOLATILE = frozenset({"nodes", "leases", "driver_positions"})
"""Who lives, and where drivers were: written all the time, whatever is asked."""
TABLES = """
SELECT relname::text FROM pg_class
WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace ORDER BY relname"""


def declared() -> set[tuple[str, str, str]]:
    """Every 409 that an endpoint promises: method, path, code."""
    found = set()
    for handler in handlers_in(API):
        described = handler.opt.get("described")
        for code in described.refusals if described is not None else ():
            (method,), (path,) = handler.http_methods, handler.paths
            found.add((str(method), path.replace(":str", "").replace(":path", ""), code))
    return found


class Refusing:
    """Sends calls that must be refused, and compares all rows before and after."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.pool = site.node.app.state.node.database.pool
        self.change = site.node.change
        self.seen: set[tuple[str, str, str]] = set()

    async def rows(self) -> dict[str, list[str]]:
        tables = [row[0] for row in await self.pool.fetch(TABLES)]
        assert {"deliveries", "drivers", "events", "unassigned_orders", "users"} < set(tables)
        shown = {table: "t.id::text" if table == "notices" else "t::text" for table in tables if table not in VOLATILE}
        return {
            table: [row[0] for row in await self.pool.fetch(f'SELECT {row} FROM "{table}" t ORDER BY 1')]
            for table, row in shown.items()
        }

    async def refuse(
        self,
        client: httpx2.AsyncClient,
        method: str,
        path: str,
        code: str,
        body: Any = None,
        *,
        status: int = 409,
        leaves: frozenset[str] = frozenset(),
        **ids: str,
    ) -> None:
        """`leaves` are the tables in which a refusal may leave a report; they hold no dispatch state. Of a notice only
        its id is compared: it is marked as sent at any time.
        """
        before = await self.rows()
        sent: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
        answer = await client.request(method, path.format(**ids), **sent)
        assert (answer.status_code, answer.json()["code"]) == (status, code), f"{method} {path}: {answer.text}"
        after = await self.rows()
        changed = {table for table in before if after[table] != before[table]}
        assert changed == leaves, f"{method} {path}: {code}"
        self.seen.add((method, path.partition("?")[0], code))


async def offered(site: Site, driver: Driver, **changes: Any) -> tuple[dict[str, Any], str]:
    """A delivery that is offered to the only driver who is free, and the offer's id."""
    delivery = await site.delivery(**changes)
    started = await site.shop.post(f"/deliveries/{delivery['id']}/assign")
    assert started.status_code == 201, started.text
    assert started.json()["driverId"] == driver.id
    return delivery, started.json()["offerId"]


async def assigned(site: Site, driver: Driver) -> tuple[dict[str, Any], dict[str, Any]]:
    delivery, offer_id = await offered(site, driver)
    accepted = await driver.post(f"/offers/{offer_id}/accept")
    assert accepted.status_code == 200, accepted.text
    return delivery, accepted.json()["assignment"]


REPORT = frozenset({"events", "assignments"})
TO_OPS = REPORT | {"notices"}


async def refuse_again(refusing: Refusing, dan: Driver, path: str, body: Any, ids: dict[str, Any]) -> None:
    """What is reported once too late is not reported again."""
    await refusing.refuse(dan.client, "POST", path, "assignment_not_active", body, **ids)


async def the_whole_job(refusing: Refusing, dan: Driver) -> None:
    """Orders that change, and drivers who give back, fail and prove."""
    site, refuse, shop, alice = refusing.site, refusing.refuse, refusing.site.shop, refusing.site.alice
    order = "/deliveries/{delivery_id}"
    job, admin = "/drivers/{driver_id}/assignments/{assignment_id}/", "/admin/assignments/{assignment_id}/"

    delivery, offer_id = await offered(site, dan, proofRequired=["pin"], pin="0417")
    ids: dict[str, Any] = {"delivery_id": delivery["id"], "driver_id": dan.id}
    body = REASON | {"driverId": dan.id, "mode": "assign"}
    await refuse(alice, "POST", "/admin/deliveries/{delivery_id}/assign", "offer_open", body, **ids)
    await refuse(shop, "PATCH", order, "version_changed", {"version": 99, "notes": "x"}, **ids)
    await refuse(shop, "POST", order + "/delay", "version_changed", {"version": 99, "minutes": 5}, **ids)
    await refuse(alice, "POST", order + "/restore", "not_cancelled", **ids)
    await refuse(alice, "POST", order + "/retry", "not_failed", REASON, **ids)
    accepted = await dan.post(f"/offers/{offer_id}/accept")
    ids["assignment_id"] = accepted.json()["assignment"]["id"]
    await refuse(dan.client, "POST", job + "failed", "not_picked_up", REASON, **ids)
    await refuse(dan.client, "POST", job + "arrived", "not_picked_up", {"where": "dropoff"}, **ids)
    await refuse(alice, "POST", admin + "failed", "not_picked_up", REASON, **ids)
    await refuse(site.ada, "DELETE", "/drivers/{driver_id}", "has_active_work", **ids)
    await refusing.change("UPDATE drivers SET capacity = 2, active_count = 2 WHERE id = $1", dan.id)
    await refuse(alice, "PATCH", "/drivers/{driver_id}", "has_active_work", {"capacity": 1, "zone": "Far"}, **ids)
    await refusing.change("UPDATE drivers SET active_count = 1 WHERE id = $1", dan.id)
    await site.driver("Max", externalRef="max")
    taken = {"externalRef": "max", "zone": "Far"}
    await refuse(alice, "PATCH", "/drivers/{driver_id}", "driver_exists", taken, **ids)
    named = {"actionId": new_id()}
    at_the_store, at_the_door = ({"where": where} | named for where in ("pickup", "dropoff"))
    assert (await dan.post(f"/assignments/{ids['assignment_id']}/arrived", at_the_store)).status_code == 200
    await refuse(dan.client, "POST", job + "arrived", "action_id_used", at_the_door, **ids)
    deeds: dict[str, Any] = {"pickup": {}, "complete": {}, "pin": {"pin": "9"}, "release": REASON, "failed": REASON}
    for what, more in deeds.items():
        await refuse(dan.client, "POST", job + what, "action_id_used", named | more, **ids)
    used = f"proofs?kind=photo&actionId={named['actionId']}"
    await refuse(dan.client, "POST", job + used, "action_id_used", an_image(), **ids)
    assert (await dan.post(f"/assignments/{ids['assignment_id']}/pickup")).status_code == 200
    await refuse(dan.client, "POST", job + "release", "already_picked_up", REASON, **ids)
    await refuse(alice, "POST", admin + "release", "already_picked_up", REASON, **ids)
    version = (await shop.get(f"/deliveries/{delivery['id']}")).json()["version"]
    elsewhere = {"version": version, "pickup": {"lat": 52.6, "lon": 13.5}}
    await refuse(shop, "PATCH", order, "already_picked_up", elsewhere, **ids)
    await refuse(shop, "POST", order + "/ready", "already_picked_up", **ids)
    await refuse(shop, "POST", order + "/delay", "already_picked_up", {"minutes": 5}, **ids)
    await refuse(dan.client, "POST", job + "complete", "proof_required", **ids)
    wrong = {"proof": {"pin": "9999"}}
    for _ in range(4):
        await refuse(dan.client, "POST", job + "complete", "pin_wrong", wrong, leaves=REPORT, **ids)
    await refuse(dan.client, "POST", job + "pin", "pin_wrong", wrong["proof"], leaves=TO_OPS, **ids)
    await refuse(dan.client, "POST", job + "pin", "pin_locked", {"pin": "0417"}, **ids)
    await refuse(dan.client, "POST", job + "complete", "pin_locked", {"proof": {"pin": "0417"}}, **ids)
    back = REASON | {"then": "return"}
    assert (await dan.post(f"/assignments/{ids['assignment_id']}/failed", back)).status_code == 200
    await refuse(dan.client, "POST", job + "failed", "already_returning", REASON, **ids)
    await refuse(alice, "POST", admin + "failed", "already_returning", REASON, **ids)
    await refuse(dan.client, "POST", job + "arrived", "already_returning", {"where": "dropoff"}, **ids)
    cancelled = await alice.post(f"/deliveries/{delivery['id']}/cancel", json=REASON | {"force": True})
    assert cancelled.status_code == 200
    await refuse(alice, "POST", order + "/restore", "already_picked_up", **ids)
    await refuse(shop, "PATCH", order, "delivery_over", {"version": 99, "notes": "x"}, **ids)
    await refuse(shop, "POST", order + "/ready", "delivery_over", **ids)
    await refuse(shop, "POST", order + "/delay", "delivery_over", {"minutes": 5}, **ids)
    gone = await site.driver("Gone")
    assert (await site.ada.delete(f"/drivers/{gone.id}")).status_code == 204
    wants: dict[str, Any] = {"pause": None, "resume": None, "end-shift": None, "take-break": {"durationMinutes": 30}}
    for what, body in wants.items():
        path = "/drivers/{driver_id}/availability/" + what
        await refuse(site.ada, "POST", path, "driver_deactivated", body, driver_id=gone.id)
    await refuse(alice, "POST", "/drivers/{driver_id}/invitation", "driver_deactivated", driver_id=gone.id)
    back = REASON | {"availability": "available"}
    await refuse(
        alice, "POST", "/admin/drivers/{driver_id}/availability", "driver_deactivated", back, driver_id=gone.id
    )
    write = "/admin/drivers/{driver_id}/messages"
    await refuse(alice, "POST", write, "driver_deactivated", {"text": "Hi"}, driver_id=gone.id)
    await refusing.change(
        "INSERT INTO chat_messages (id, driver_id, by_driver, author, text, at)"
        f" SELECT gen_random_uuid(), $1, false, 'alice', 'Hi', now() FROM generate_series(1, {UNSEEN_LIMIT})",
        dan.id,
    )
    await refuse(alice, "POST", write, "too_many_unseen", {"text": "Hi"}, **ids)
    photo = job + "proofs?kind=photo"
    await refuse(dan.client, "POST", photo, "assignment_not_active", an_image(), leaves=REPORT, **ids)
    await refuse(dan.client, "POST", photo, "assignment_not_active", an_image(), **ids)
    await refusing.change(
        "INSERT INTO proofs (id, delivery_id, assignment_id, kind, media_type, content, created_at)"
        f" SELECT gen_random_uuid(), $1, $2, 'photo', 'image/jpeg', '', now() FROM generate_series(1, {PROOF_LIMIT})",
        ids["delivery_id"],
        ids["assignment_id"],
    )
    await refuse(dan.client, "POST", photo, "too_many_proofs", an_image(), **ids)
    old = await site.delivery()
    assert (await shop.post(f"/deliveries/{old['id']}/cancel", json=REASON)).status_code == 200
    await refusing.change("UPDATE deliveries SET over_at = now() - interval '1 hour' WHERE id = $1", old["id"])
    await refuse(alice, "POST", order + "/restore", "too_late_to_restore", delivery_id=old["id"])
    erased = await site.delivery()
    assert (await shop.post(f"/deliveries/{erased['id']}/cancel", json=REASON)).status_code == 200
    await refusing.change("UPDATE deliveries SET fingerprint = 'erased' WHERE id = $1", erased["id"])
    await refuse(alice, "POST", order + "/restore", "delivery_erased", delivery_id=erased["id"])
    delivery, assignment = await assigned(site, dan)
    assert (await dan.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
    assert (await dan.post(f"/assignments/{assignment['id']}/failed", {"reason": "refused"})).status_code == 200
    await refusing.change("UPDATE deliveries SET fingerprint = 'erased' WHERE id = $1", delivery["id"])
    await refuse(alice, "POST", order + "/retry", "delivery_erased", REASON, delivery_id=delivery["id"])
    ids = {"driver_id": dan.id, "assignment_id": assignment["id"]}
    await refuse(dan.client, "POST", photo, "delivery_erased", an_image(), **ids)


async def test_no_refusal_changes_a_row(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody dispatches meanwhile, so that only the calls could change anything."""
    await site.node.app.state.node.lease.release()
    refusing = Refusing(site)
    refuse, shop, alice, ada = refusing.refuse, site.shop, site.alice, site.ada
    assign, cancel = "/deliveries/{delivery_id}/assign", "/deliveries/{delivery_id}/cancel"

    # Nobody is near: for an order that waits, and for tomorrow's.
    waiting = await site.delivery(sellerOrderId="order")
    tomorrow = await site.delivery(dispatchAt="2099-01-01T00:00:00Z")
    for delivery in (waiting, tomorrow):
        await refuse(shop, "POST", assign, "no_driver_available", delivery_id=delivery["id"])
    assert (await shop.get(f"/deliveries/{tomorrow['id']}")).json()["status"] == "SCHEDULED"
    dan = await site.driver("Dan", at_work=True, externalRef="dan")
    assert (await dan.post("/availability/pause")).status_code == 200
    given = {"driverId": dan.id, "reason": "near"}
    manual = "/admin/deliveries/{delivery_id}/assign"
    for delivery in (waiting, tomorrow):
        await refuse(shop, "POST", assign, "no_driver_available", delivery_id=delivery["id"])
        for mode in ("offer", "assign"):
            body = given | {"mode": mode}
            await refuse(alice, "POST", manual, "driver_not_available", body, delivery_id=delivery["id"])
    assert (await dan.post("/availability/resume")).status_code == 200
    for delivery in (waiting, tomorrow):
        stale = given | {"version": delivery["version"] + 1}
        await refuse(alice, "POST", manual, "version_changed", stale, delivery_id=delivery["id"])

    differs = site.order(sellerOrderId="order", storeName="Another", zone="Far")
    await refuse(shop, "POST", "/deliveries", "delivery_differs", differs)
    await refuse(shop, "POST", "/drivers", "driver_exists", {"name": "Max", "externalRef": "dan", "zone": "Far"})
    acknowledge = "/admin/unassigned-orders/{delivery_id}/acknowledge"
    stale = {"version": waiting["version"] + 1}
    await refuse(alice, "POST", acknowledge, "version_changed", stale, delivery_id=waiting["id"])
    await refuse(alice, "POST", cancel, "version_changed", REASON | stale, delivery_id=waiting["id"])
    await refuse(alice, "POST", acknowledge, "delivery_not_waiting", {}, delivery_id=tomorrow["id"])

    # A closed offer, and one to a driver who is full.
    delivery, offer_id = await offered(site, dan)
    await refusing.change("UPDATE drivers SET active_count = capacity WHERE id = $1", dan.id)
    answer = "/drivers/{driver_id}/offers/{offer_id}"
    ids: dict[str, Any] = {"driver_id": dan.id, "offer_id": offer_id}
    await refuse(dan.client, "POST", f"{answer}/accept", "driver_not_available", **ids)
    await refusing.change("UPDATE drivers SET active_count = 0 WHERE id = $1", dan.id)
    assert (await shop.post(f"/deliveries/{delivery['id']}/cancel", json=REASON)).status_code == 200
    for what in ("accept", "reject"):
        await refuse(dan.client, "POST", f"{answer}/{what}", "offer_no_longer_open", **ids)

    # With a driver, on the way, over.
    dora = await site.driver("Dora")
    delivery, assignment = await assigned(site, dan)
    ids = {"delivery_id": delivery["id"], "assignment_id": assignment["id"]}
    reassign = "/admin/assignments/{assignment_id}/reassign"
    for wanted in ({}, {"driverId": dora.id}):
        stale = REASON | wanted | {"version": assignment["version"] + 1}
        await refuse(ada, "POST", reassign, "version_changed", stale, **ids)
    for target in (dan, dora):
        for mode in ("offer", "assign"):
            body = REASON | {"driverId": target.id, "mode": mode}
            await refuse(ada, "POST", reassign, "driver_not_available", body, **ids)
    await refuse(alice, "POST", assign, "delivery_not_waiting", **ids)
    await refuse(alice, "POST", manual, "delivery_not_waiting", given, **ids)
    await refuse(alice, "POST", acknowledge, "delivery_not_waiting", {}, **ids)
    assert (await dan.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
    await refuse(shop, "POST", cancel, "already_picked_up", REASON, **ids)
    await refuse(ada, "POST", reassign, "already_picked_up", REASON, **ids)
    forced = REASON | {"driverId": dora.id, "force": True}
    await refuse(ada, "POST", reassign, "driver_not_available", forced, **ids)
    assert (await dan.post(f"/assignments/{assignment['id']}/complete")).status_code == 200
    await refuse(shop, "POST", cancel, "already_delivered", REASON, **ids)
    await refuse(ada, "POST", reassign, "assignment_not_active", REASON, **ids)
    delivery, lost = await assigned(site, dan)
    assert (await shop.post(f"/deliveries/{delivery['id']}/cancel", json=REASON)).status_code == 200
    ids = {"driver_id": dan.id, "assignment_id": lost["id"]}
    actions: dict[str, Any] = {
        "pickup": {}, "complete": {}, "arrived": {"where": "pickup"}, "release": REASON, "failed": REASON,
    }  # fmt: skip
    for what, body in actions.items():
        path = "/drivers/{driver_id}/assignments/{assignment_id}/" + what
        leaves = TO_OPS if what in ("pickup", "complete", "failed") else REPORT
        await refuse(dan.client, "POST", path, "assignment_not_active", body, leaves=leaves, **ids)
        await refuse_again(refusing, dan, path, body, ids)
        if what != "arrived":
            path = "/admin/assignments/{assignment_id}/" + what
            await refuse(alice, "POST", path, "assignment_not_active", REASON, **ids)
    path = "/drivers/{driver_id}/assignments/{assignment_id}/pin"
    await refuse(dan.client, "POST", path, "assignment_not_active", {"pin": "0417"}, **ids)
    await the_whole_job(refusing, dan)

    # A driver who went home.
    assert (await dan.post("/availability/end-shift")).status_code == 200
    path = "/drivers/{driver_id}/availability/"
    await refuse(dan.client, "POST", path + "pause", "driver_not_available", driver_id=dan.id)
    break_body = {"durationMinutes": 30}
    await refuse(dan.client, "POST", path + "take-break", "driver_not_available", break_body, driver_id=dan.id)

    # Policy, alerts, webhooks, people.
    policy = (await ada.get("/admin/policy")).json()
    await refuse(ada, "PUT", "/admin/policy", "version_changed", policy | {"version": policy["version"] + 1})
    alert_id = new_id()
    await refusing.change(
        "INSERT INTO alerts (id, kind, zone, value, threshold, raised_at, resolved_at)"
        " VALUES ($1, 'unassigned_count', 'default', 12, 10, now() - interval '1 minute', now())",
        alert_id,
    )
    await refuse(alice, "POST", "/admin/alerts/{alert_id}/acknowledge", "alert_over", alert_id=alert_id)
    url = {"url": "https://shop.example/hooks"}
    made = [(await ada.post("/admin/webhooks", json=url)).json()["id"] for _ in range(WEBHOOKS_LIMIT)]
    await refuse(ada, "POST", "/admin/webhooks", "too_many_webhooks", url)
    await site.delivery()
    message_id = str(await refusing.pool.fetchval("SELECT id FROM webhook_deliveries WHERE webhook_id = $1", made[0]))
    assert (await ada.patch(f"/admin/webhooks/{made[0]}", json={"active": False})).status_code == 200
    path = "/admin/webhook-deliveries/{message_id}/redeliver"
    await refuse(ada, "POST", path, "webhook_not_active", message_id=message_id)
    path = "/admin/webhooks/{webhook_id}/redeliver-parked"
    await refuse(ada, "POST", path, "webhook_not_active", webhook_id=made[0])
    zone = {"name": "Mitte", "helpedBy": ["Far"]}
    assert (await ada.put("/admin/zones/Mitte", json={"name": "Mitte"})).status_code == 200
    monkeypatch.setattr("server.dispatch.zone_changes.ZONES_LIMIT", 1)
    await refuse(ada, "PUT", "/admin/zones/{key}", "too_many_zones", zone, key="Nord")
    only = await add(site.node, "Ada", "admin")
    eve = {"name": "ada", "role": "ops", "password": "correct horse"}
    await refuse(ada, "POST", "/admin/users", "user_exists", eve)
    for change in ({"active": False}, {"role": "ops"}):
        await refuse(ada, "PATCH", "/admin/users/{user_id}", "last_admin", change, user_id=only)
    monkeypatch.setattr("server.store.jobs.person_turn.WAIT_SECONDS", 0.2)
    node = site.node.app.state.node
    async with node.person_turn.alone(node.database.connect_apart):
        await refuse(ada, "POST", "/admin/privacy/erase", "person_search_runs", {"phone": "+49 30 5550142"})

    assert refusing.seen == declared(), "every refusal that an endpoint promises is tried here"


async def test_no_refused_call_leaves_the_new_zone_that_it_names(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of refusal, on every endpoint that takes the name of a zone."""
    await site.node.app.state.node.lease.release()
    refusing = Refusing(site)
    refuse, shop, alice, ada = refusing.refuse, site.shop, site.alice, site.ada
    new, change, describe = "/drivers", "/drivers/{driver_id}", "/admin/zones/{key}"
    orders = "/deliveries"
    order, dora = site.order(zone="Far"), {"name": "Dora", "zone": "Far"}
    dan, far = await site.driver("Dan", externalRef="dan"), {"zone": "Far"}
    await site.delivery(sellerOrderId="first")
    key = {"name": "roma", "sellerId": "roma"}
    secret = (await ada.post("/admin/api-keys", json=key)).json()["key"]
    await refusing.change(
        "UPDATE api_keys SET last_used_at = now() + interval '1 day'"
    )  # so that no call notes its use
    roma = site.anonymous({"Authorization": f"Bearer {secret}"})

    cut = b'{"zone": "Far",'
    for method, path, client in (
        ("POST", orders, shop), ("POST", new, shop), ("PATCH", change, alice), ("PUT", describe, ada)
    ):  # fmt: skip
        ids: dict[str, Any] = {"driver_id": dan.id, "key": "Far"}
        await refuse(client, method, path, "malformed", cut, status=400, **ids)
        await refuse(site.nobody, method, path, "unauthorized", far, status=401, **ids)
        await refuse(site.vic, method, path, "forbidden", far, status=403, **ids)
        await refuse(client, method, path, "invalid", far | {"colour": "red"}, status=422, **ids)

    await refuse(roma, "POST", orders, "not_found", order | {"sellerId": "other"}, status=404)
    await refuse(shop, "POST", orders, "invalid", order | {"currency": "XXX"}, status=422)
    await refuse(shop, "POST", orders, "invalid", order | {"dispatchAt": "0001-01-01T00:00:00+14:00"}, status=422)
    await refuse(shop, "POST", orders, "pay_required", order | {"currency": "JPY"}, status=422)
    await refuse(shop, "POST", orders, "delivery_differs", order | {"sellerOrderId": "first", "notes": "x"})
    out_of_range = {"shiftEndsAt": "0001-01-01T00:00:00+14:00"}
    await refuse(shop, "POST", new, "invalid", dora | out_of_range, status=422)
    await refuse(shop, "POST", new, "driver_exists", dora | {"externalRef": "dan"})
    await refuse(alice, "PATCH", change, "not_found", far, status=404, driver_id=new_id())
    await refuse(alice, "PATCH", change, "not_found", far, status=404, driver_id="x")
    await refuse(alice, "PATCH", change, "invalid", far | out_of_range, status=422, driver_id=dan.id)
    help_itself = {"name": "Far", "helpedBy": ["Further", "far"]}
    await refuse(ada, "PUT", describe, "invalid", help_itself, status=422, key="Far")
    await refuse(ada, "PUT", describe, "invalid", {"name": "x", "helpedBy": ["Far"]}, status=422, key="x" * 65)
    helped = {"name": "Far", "helpedBy": ["Further"]}
    await refuse(ada, "DELETE", describe, "not_found", status=404, key="Far")
    grace = await logged_in(site, "grace", "admin")
    form = {"key": "Far", "name": "Far", "helped_by": "Further", "shape": "", "do": "save"}
    before = await refusing.rows()
    with monkeypatch.context() as full:
        full.setattr("server.dispatch.zone_changes.ZONES_LIMIT", 0)
        await refuse(ada, "PUT", describe, "too_many_zones", helped, key="Far")
        assert (await grace.send("/zones", **form)).status_code == 409
    assert (await grace.send("/zones", **form | {"name": ""})).status_code == 422
    assert (await refusing.rows())["zones"] == before["zones"]

    assert (await ada.put("/admin/zones/FAR", json=helped)).json()["key"] == "FAR", "nobody has spelled it before"
    assert (await shop.post(orders, json=order)).json()["zone"] == "FAR"
