"""Every endpoint with every caller: those the contract lets pass, the others 401 or 403, and never anything else.

The endpoints are those the application has. One without a line here fails the test, and so does a line without one.
"""

import time
from typing import Any

import httpx2
import jwt
import pytest
import websockets

from server.ids import new_id
from tests.abuse.conftest import handlers, some
from tests.conftest import SECRET
from tests.waiting import PATIENCE
from tests.web.conftest import Check, Driver, Site, token
from tests.web.people import Browser, logged_in

READERS = {"viewer", "ops", "admin"}
ACTORS = {"ops", "admin"}
ADMIN = {"admin"}
SOURCES = {"service", "key", "ops", "admin"}
SELLERS = SOURCES | {"seller"}
OWN = {"owner", "admin"}
EVERYBODY = None
"""No token is asked for, and a bad one does not matter."""

# Sections 2 and 3 of the contract. "owner" is the driver of the path, "driver" another one, "key" an API key,
# "seller" one that is bound to a seller.
ALLOWED: dict[str, set[str] | None] = {
    "POST /deliveries": SELLERS,
    "GET /deliveries": SELLERS | READERS,
    "GET /deliveries/{}": SELLERS | READERS,
    "GET /deliveries/{}/timeline": SELLERS | READERS,
    "GET /deliveries/{}/candidates": SOURCES | READERS,
    "POST /deliveries/{}/assign": SELLERS,
    "POST /deliveries/{}/cancel": SELLERS,
    "PATCH /deliveries/{}": SELLERS,
    "POST /deliveries/{}/ready": SELLERS,
    "POST /deliveries/{}/delay": SELLERS,
    "POST /deliveries/{}/restore": ACTORS,
    "POST /deliveries/{}/retry": ACTORS,
    "POST /drivers": SOURCES,
    "PATCH /drivers/{}": SOURCES,
    "DELETE /drivers/{}": ADMIN,
    "POST /drivers/{}/reactivate": ADMIN,
    "GET /drivers": READERS,
    "GET /drivers/{}": {"owner", "service", "key"} | READERS,
    "POST /imports/drivers": SOURCES,
    "POST /imports/deliveries": SOURCES,
    "POST /drivers/{}/token": {"service", "key", "admin"},
    "POST /drivers/{}/invitation": SOURCES,
    "GET /drivers/{}/devices": READERS,
    "DELETE /drivers/{}/devices/{}": ACTORS,
    "POST /drivers/{}/location": OWN,
    "GET /drivers/{}/state": {"owner"} | READERS,
    "GET /drivers/{}/session": {"owner"} | READERS,
    "GET /drivers/{}/numbers": {"owner"} | READERS,
    "POST /drivers/{}/offers/{}/received": OWN,
    "POST /drivers/{}/offers/{}/accept": OWN,
    "POST /drivers/{}/offers/{}/reject": OWN,
    "POST /drivers/{}/assignments/{}/pickup": OWN,
    "POST /drivers/{}/assignments/{}/complete": OWN,
    "POST /drivers/{}/assignments/{}/pin": OWN,
    "POST /drivers/{}/assignments/{}/arrived": OWN,
    "POST /drivers/{}/assignments/{}/release": OWN,
    "POST /drivers/{}/assignments/{}/failed": OWN,
    "POST /drivers/{}/assignments/{}/proofs": OWN,
    "GET /deliveries/{}/proofs/{}": SELLERS,
    "POST /drivers/{}/availability/take-break": {"owner"} | ACTORS,
    "POST /drivers/{}/availability/end-shift": {"owner"} | ACTORS,
    "POST /drivers/{}/availability/pause": {"owner"} | ACTORS,
    "POST /drivers/{}/availability/resume": {"owner"} | ACTORS,
    "GET /drivers/{}/availability/history": {"owner"} | READERS,
    "GET /drivers/push-key": {"owner", "driver"} | READERS,
    "POST /drivers/{}/push-subscriptions": {"owner"},
    "GET /drivers/{}/push-subscriptions": {"owner"} | READERS,
    "DELETE /drivers/{}/push-subscriptions/{}": OWN,
    "POST /drivers/{}/pushes/{}/shown": {"owner"},
    "POST /admin/assignments/{}/reassign": ACTORS,
    "POST /admin/assignments/{}/pickup": ACTORS,
    "POST /admin/assignments/{}/complete": ACTORS,
    "POST /admin/assignments/{}/release": ACTORS,
    "POST /admin/assignments/{}/failed": ACTORS,
    "POST /admin/deliveries/{}/assign": ACTORS,
    "POST /admin/drivers/{}/availability": ACTORS,
    "POST /admin/drivers/{}/messages": ACTORS,
    "GET /admin/drivers/{}/messages": READERS,
    "POST /admin/messages": ACTORS,
    "POST /drivers/{}/messages": {"owner"},
    "POST /drivers/{}/messages/{}/seen": {"owner"},
    "GET /admin/unassigned-orders": READERS,
    "POST /admin/unassigned-orders/{}/acknowledge": ACTORS,
    "GET /admin/at-risk": READERS,
    "GET /admin/tickets": READERS,
    "GET /admin/alerts": READERS,
    "GET /admin/alerts/{}": READERS,
    "POST /admin/alerts/{}/acknowledge": ACTORS,
    "GET /admin/notices": READERS,
    "POST /admin/notices/{}/acknowledge": ACTORS,
    "GET /admin/webhooks": READERS,
    "POST /admin/webhooks": ADMIN,
    "GET /admin/webhooks/{}": READERS,
    "PATCH /admin/webhooks/{}": ADMIN,
    "DELETE /admin/webhooks/{}": ADMIN,
    "POST /admin/webhooks/{}/rotate-secret": ADMIN,
    "POST /admin/webhooks/{}/test": ADMIN,
    "POST /admin/webhooks/{}/redeliver-parked": ADMIN,
    "GET /admin/webhooks/{}/deliveries": READERS,
    "POST /admin/webhook-deliveries/{}/redeliver": ADMIN,
    "GET /admin/zones": READERS,
    "GET /admin/zones/{}": READERS,
    "PUT /admin/zones/{}": ADMIN,
    "DELETE /admin/zones/{}": ADMIN,
    "GET /admin/stats": READERS,
    "GET /admin/forecast": READERS,
    "GET /admin/policy": READERS,
    "PUT /admin/policy": ADMIN,
    "GET /admin/api-keys": READERS,
    "POST /admin/api-keys": ADMIN,
    "DELETE /admin/api-keys/{}": ADMIN,
    "GET /admin/users": READERS,
    "POST /admin/privacy/erase": ADMIN,
    "POST /admin/users": ADMIN,
    "PATCH /admin/users/{}": ADMIN,
    # Screens and what they are made of
    "GET /start": ACTORS,
    "POST /start/test-order": ACTORS,
    "POST /start/settings": ADMIN,
    "POST /start/rules": ADMIN,
    "GET /orders": READERS,
    "GET /orders/file.csv": READERS,
    "GET /orders/for-import.csv": ACTORS,
    "GET /orders/import": ACTORS,
    "POST /orders/import": ACTORS,
    "GET /orders/import/columns.csv": ACTORS,
    "GET /orders/new": ACTORS,
    "POST /orders/new": ACTORS,
    "GET /orders/customer": ACTORS,
    "GET /orders/places": ACTORS,
    "GET /orders/{}/edit": ACTORS,
    "POST /orders/{}/edit": ACTORS,
    "POST /orders/{}/dispatch": ACTORS,
    "GET /zones": READERS,
    "POST /zones": ADMIN,
    "GET /zones/shapes.geojson": READERS,
    "GET /board": READERS,
    "GET /board/rows": READERS,
    "GET /board/beyond": READERS,
    "GET /board/stream": READERS,
    "GET /board/deliveries/{}": READERS,
    "GET /board/deliveries/{}/now": READERS,
    "GET /board/drivers": READERS,
    "GET /board/drivers/invite": ACTORS,
    "POST /board/drivers/invite": ACTORS,
    "POST /board/drivers/invite/links.csv": ACTORS,
    "GET /board/drivers/import": ACTORS,
    "POST /board/drivers/import": ACTORS,
    "GET /board/drivers/import/columns.csv": ACTORS,
    "GET /board/drivers/new": ACTORS,
    "POST /board/drivers/new": ACTORS,
    "GET /board/drivers/{}/edit": ACTORS,
    "POST /board/drivers/{}/edit": ACTORS,
    "GET /board/drivers/{}": READERS,
    "GET /board/drivers/{}/now": READERS,
    "GET /board/drivers/{}/access": READERS,
    "POST /board/drivers/{}/access": ACTORS,
    "POST /board/drivers/{}/active": ADMIN,
    "GET /board/drivers/{}/availability": ACTORS,
    "POST /board/drivers/{}/availability": ACTORS,
    "GET /board/drivers/{}/message": ACTORS,
    "POST /board/drivers/{}/message": ACTORS,
    "GET /board/bulk/{}": ACTORS,
    "POST /board/bulk/{}": ACTORS,
    "GET /board/deliveries/{}/assign": ACTORS,
    "POST /board/deliveries/{}/assign": ACTORS,
    "GET /board/deliveries/{}/cancel": ACTORS,
    "POST /board/deliveries/{}/cancel": ACTORS,
    "GET /board/deliveries/{}/acknowledge": ACTORS,
    "POST /board/deliveries/{}/acknowledge": ACTORS,
    "GET /board/deliveries/{}/reassign": ACTORS,
    "GET /board/deliveries/{}/search": ACTORS,
    "POST /board/deliveries/{}/search": ACTORS,
    "GET /board/deliveries/{}/steps/{}": ACTORS,
    "POST /board/deliveries/{}/steps/{}": ACTORS,
    "POST /board/assignments/{}/reassign": ACTORS,
    "POST /board/alerts/{}/acknowledge": ACTORS,
    "GET /admin/orders/{}": READERS,
    "GET /admin/unassigned-orders/{}": READERS,
    "GET /insights": READERS,
    "GET /report": READERS,
    "GET /report/{}": READERS,
    "GET /report/mail": ADMIN,
    "POST /report/mail": ADMIN,
    "POST /report/mail/test": ADMIN,
    "POST /report/mail/again": ADMIN,
    "GET /insights/{}": READERS,
    "GET /policy": READERS,
    "POST /policy": ADMIN,
    "GET /alerts": READERS,
    "GET /alerts/now": READERS,
    "GET /alerts/{}": READERS,
    "GET /alerts/{}/now": READERS,
    "POST /alerts/{}/acknowledge": ACTORS,
    "GET /notices": READERS,
    "GET /notices/now": READERS,
    "POST /notices/{}/acknowledge": ACTORS,
    "GET /unassigned": READERS,
    "GET /unassigned/now": READERS,
    "POST /unassigned/{}/acknowledge": ACTORS,
    "GET /at-risk": READERS,
    "GET /at-risk/now": READERS,
    "POST /at-risk/{}/acknowledge": ACTORS,
    "GET /tickets": READERS,
    "GET /tickets/now": READERS,
    "GET /webhooks": READERS,
    "GET /webhooks/now": READERS,
    "POST /webhooks": ADMIN,
    "GET /webhooks/{}": READERS,
    "GET /webhooks/{}/now": READERS,
    "POST /webhooks/{}": ADMIN,
    "POST /webhooks/{}/messages/{}": ADMIN,
    "GET /keys": READERS,
    "POST /keys": ADMIN,
    "POST /keys/{}/revoke": ADMIN,
    "GET /privacy": ADMIN,
    "POST /privacy": ADMIN,
    "GET /account": READERS,
    "POST /account/password": READERS,
    "POST /account/sessions": READERS,
    "POST /account/csv": READERS,
    "GET /users": ADMIN,
    "POST /users": ADMIN,
    "GET /users/{}": ADMIN,
    "POST /users/{}": ADMIN,
    # For everybody
    "GET /": EVERYBODY,
    "GET /login": EVERYBODY,
    "POST /login": EVERYBODY,
    "POST /logout": EVERYBODY,
    "GET /new-password": EVERYBODY,
    "POST /new-password": EVERYBODY,
    "POST /new-password/check": EVERYBODY,
    "POST /driver/sign-in": EVERYBODY,
    "POST /driver/renew": EVERYBODY,
    "POST /driver/sign-out": EVERYBODY,
    "GET /driver": EVERYBODY,
    "GET /driver/manifest.webmanifest": EVERYBODY,
    "GET /driver/sw.js": EVERYBODY,
    "GET /docs": EVERYBODY,
    "GET /track/{}": EVERYBODY,
    "GET /openapi.json": EVERYBODY,
    "GET /asyncapi.json": EVERYBODY,
    "GET /health/live": EVERYBODY,
    "GET /health/ready": EVERYBODY,
    "GET /metrics": EVERYBODY,
    "GET /static/{}": EVERYBODY,
}

ROLES = ("owner", "driver", "service", "key", "seller", "viewer", "ops", "admin")
STREAMS = {"GET /board/stream"}
LEAVING = {"DELETE /drivers/{}", "POST /drivers/{}/reactivate"}
"""These deactivate a driver, so they are tried on a driver that no other call uses."""


def forged(dan: Driver) -> dict[str, str]:
    """Tokens that are nobody's, each of them nearly an admin's or Dan's."""
    now = int(time.time())
    admin = {"sub": "ada", "role": "admin", "iat": now, "exp": now + 3600}
    good = jwt.encode(admin, SECRET, algorithm="HS256")
    head, payload, signature = good.split(".")
    no_key: Any = None
    unsigned = jwt.encode(admin, no_key, algorithm="none")
    other = jwt.encode(admin | {"sub": dan.id, "role": "driver"}, SECRET, algorithm="HS256").split(".")
    return {
        "none": "",
        "no token": "admin",
        "expired": jwt.encode(admin | {"exp": now - 31}, SECRET, algorithm="HS256"),
        "of another key": jwt.encode(admin, "another-secret-of-at-least-32-bytes!", algorithm="HS256"),
        "of no key": unsigned,
        "whose signature was cut off": f"{head}.{payload}.",
        "that says it needs no signature": f"{unsigned.partition('.')[0]}.{payload}.{signature}",
        "of another algorithm": jwt.encode(admin, SECRET * 2, algorithm="HS512"),
        "with another's claims": f"{head}.{payload}.{other[2]}",
        "of Dan's with an admin's claims": f"{other[0]}.{payload}.{other[2]}",
        "of a role that there is not": jwt.encode(admin | {"role": "root"}, SECRET, algorithm="HS256"),
        "of the system": jwt.encode(admin | {"role": "system"}, SECRET, algorithm="HS256"),
        "of a key that nobody has": "cb_" + "x" * 43,
    }


async def callers(site: Site, dan: Driver) -> dict[str, httpx2.AsyncClient]:
    """A client for each of ROLES."""
    made = await site.ada.post("/admin/api-keys", json={"name": "roma"})
    key = site.anonymous({"Authorization": f"Bearer {made.json()['key']}"})
    bound = await site.ada.post("/admin/api-keys", json={"name": "roma", "sellerId": "roma"})
    seller = site.anonymous({"Authorization": f"Bearer {bound.json()['key']}"})
    dora = await site.driver("Dora")
    return site.roles | {"owner": dan.client, "driver": dora.client, "key": key, "seller": seller}


def address(path: str, driver_id: str) -> str:
    """The path with ids: a driver's own where one belongs, else such as nothing has."""
    first = driver_id if path.startswith(("/drivers/", "/board/drivers/")) else new_id()
    return path.replace("{}", first, 1).replace("{}", new_id())


async def status_of(client: httpx2.AsyncClient, endpoint: str, path: str, **more: Any) -> httpx2.Response:
    """The answer; of a stream only its beginning."""
    method = endpoint.split()[0]
    if endpoint not in STREAMS:
        return await client.request(method, path, **more)
    async with client.stream(method, path, **more) as answer:
        if answer.status_code != 200:
            await answer.aread()
        return answer


def endpoints(site: Site) -> dict[str, set[str] | None]:
    """The table, in an order in which nobody's shift ends before they are asked; it is whole, and holds no more."""
    there = {f"{method} {path}" for method, path, _ in handlers(site)}
    assert there - set(ALLOWED) == set(), "endpoints without a line in the table"
    assert set(ALLOWED) - there == set(), "lines without an endpoint"
    return ALLOWED


@pytest.mark.timeout(300)
async def test_every_endpoint_lets_exactly_its_callers_pass(site: Site, problem: Check) -> None:
    dan = await site.driver()
    clients = await callers(site, dan)
    assert set(clients) == set(ROLES)
    leaver = await site.driver("Max")
    for endpoint, allowed in endpoints(site).items():
        path = address(endpoint.split()[1], leaver.id if endpoint in LEAVING else dan.id)
        for role, client in clients.items():
            answer = await status_of(client, endpoint, path)
            assert answer.status_code < 500, (endpoint, role, answer.text)
            if allowed is EVERYBODY or role in allowed:
                assert answer.status_code not in (401, 403), (endpoint, role, answer.text)
            else:
                assert answer.status_code == 403, (endpoint, role, answer.status_code)
                problem(answer, 403, "forbidden")


@pytest.mark.timeout(300)
async def test_every_endpoint_refuses_a_forged_token(site: Site, problem: Check) -> None:
    dan = await site.driver()
    headers = {why: {"Authorization": f"Bearer {token}"} if token else {} for why, token in forged(dan).items()}
    for turn, (endpoint, allowed) in enumerate(endpoints(site).items()):
        path = address(endpoint.split()[1], dan.id)
        for why, given in [("none", headers["none"]), *some(list(headers.items()), turn, 3)]:
            answer = await status_of(site.nobody, endpoint, path, headers=given)
            if allowed is EVERYBODY:
                assert answer.status_code not in (401, 403), (endpoint, why)
                assert answer.status_code < 500, (endpoint, why)
            else:
                assert answer.status_code == 401, (endpoint, why, answer.status_code)
                problem(answer, 401, "unauthorized")


@pytest.mark.timeout(300)
async def test_a_session_is_its_persons_and_needs_its_csrf_token(site: Site, problem: Check) -> None:
    """With the cookie of a session: reading as the role may, writing only with the token of that same session."""
    dan = await site.driver()
    people: dict[str, Browser] = {role: await logged_in(site, role, role) for role in ("viewer", "ops", "admin")}
    others = await (await logged_in(site, "eve", "admin")).csrf_token()
    tokens = {role: await browser.csrf_token("/board") for role, browser in people.items()}
    for turn, (endpoint, allowed) in enumerate(endpoints(site).items()):
        path = address(endpoint.split()[1], dan.id)
        writes = endpoint.split()[0] not in ("GET", "HEAD")
        if path in ("/login", "/logout", "/new-password", "/new-password/check") or endpoint.startswith(
            "POST /driver/"
        ):
            continue  # tested in test_cross_site.py: they have no role
        for role, browser in people.items():
            token = tokens[role]
            may = allowed is EVERYBODY or role in allowed
            if writes:
                bad: list[dict[str, str]] = [{"X-CSRF-Token": one} for one in ("x", others, token[:-1])]
                for headers in [{}, *some(bad, turn, 1)]:
                    answer = await status_of(browser.client, endpoint, path, headers=headers)
                    problem(answer, 403, "csrf_failed")
            answer = await status_of(browser.client, endpoint, path, headers={"X-CSRF-Token": token})
            assert answer.status_code < 500, (endpoint, role, answer.text)
            assert (answer.status_code == 403) is not may, (endpoint, role, answer.status_code)
            assert answer.status_code != 401, (endpoint, role)


async def test_a_drivers_path_holds_nothing_of_another_drivers(site: Site, problem: Check) -> None:
    """Dora, with Dan's offer and Dan's assignment under her own path: 404, as if they were not there; and they stay."""
    dan = await site.driver(at_work=True)
    delivery, assignment = await site.assignment(dan)
    max_ = await site.driver("Max", at_work=True)
    await site.delivery()
    offer = await max_.offer()
    dora = await site.driver("Dora")
    for call in ("received", "accept", "reject"):
        theirs = await dora.post(f"/offers/{offer['id']}/{call}")
        none = await dora.post(f"/offers/{new_id()}/{call}")
        assert problem(theirs, 404, "not_found") == problem(none, 404, "not_found")
    for call in ("pickup", "complete"):
        theirs = await dora.post(f"/assignments/{assignment['id']}/{call}")
        none = await dora.post(f"/assignments/{new_id()}/{call}")
        assert problem(theirs, 404, "not_found") == problem(none, 404, "not_found")
    assert (await max_.offer())["id"] == offer["id"]
    assert (await site.vic.get(f"/deliveries/{delivery['id']}")).json()["status"] == "ASSIGNED"


async def test_ids_of_one_kind_are_nothing_of_another(site: Site, problem: Check) -> None:
    """Every id there is, in every place where another kind belongs: 404, or 422 where a body is asked for first."""
    dan = await site.driver(at_work=True)
    delivery, assignment = await site.assignment(dan)
    key = (await site.ada.post("/admin/api-keys", json={"name": "roma"})).json()
    hook = (await site.ada.post("/admin/webhooks", json={"url": "https://shop.example/"})).json()
    ids = {
        "/deliveries/": delivery["id"],
        "/admin/deliveries/": delivery["id"],
        "/admin/unassigned-orders/": delivery["id"],
        "/drivers/": dan.id,
        "/admin/drivers/": dan.id,
        "/admin/assignments/": assignment["id"],
        "/admin/api-keys/": key["id"],
        "/admin/webhooks/": hook["id"],
        "/keys/": key["id"],
        "/board/deliveries/": delivery["id"],
        "/board/drivers/": dan.id,
        "/unassigned/": delivery["id"],
        "/orders/": delivery["id"],
        "/at-risk/": delivery["id"],
        "/webhooks/": hook["id"],
    }
    foreign = {*ids.values(), "0", "-1", "%00", "%2e%2e%2f", "null", new_id() + "x", "é", "' OR 1=1 --"}
    for turn, endpoint in enumerate(endpoints(site)):
        method, path = endpoint.split()
        if "{}" not in path or ALLOWED[endpoint] is EVERYBODY or path.startswith(("/insights", "/board/bulk")):
            continue
        own = next((known for prefix, known in ids.items() if path.startswith(prefix)), None)
        caller = dan.client if "admin" not in (ALLOWED[endpoint] or ()) else site.ada
        for one in some(sorted(foreign - {own or ""}), turn, 5):
            answer = await caller.request(method, path.replace("{}", one, 1).replace("{}", new_id()))
            text = (endpoint, one, answer.status_code, answer.text)
            if answer.status_code == 409:
                assert path == "/board/alerts/{}/acknowledge", text  # a form says that it is resolved, or never existed
            else:
                assert answer.status_code in (400, 403, 404, 405, 415, 422), text
            if answer.status_code == 422:
                assert method != "GET", (endpoint, one)


async def test_the_socket_takes_a_drivers_token_and_nothing_else(site: Site) -> None:
    """Not a forged one, not another role's, not a key, not the cookie of a session, and none in the address."""
    dan = await site.driver()
    browser = await logged_in(site, "Ada", "admin")
    key = (await site.ada.post("/admin/api-keys", json={"name": "roma"})).json()["key"]
    good = token("driver", dan.id)
    bad = {why: {"Authorization": f"Bearer {one}"} for why, one in forged(dan).items()}
    bad |= {role: {"Authorization": f"Bearer {token(role, 'x')}"} for role in ("service", "viewer", "ops", "admin")}
    bad |= {
        "nobody": {},
        "a key": {"Authorization": f"Bearer {key}"},
        "a cookie": {"Cookie": f"callboard={browser.cookie}"},
        "an unknown driver": {"Authorization": f"Bearer {token('driver', new_id())}"},
        "another scheme": {"Authorization": f"Basic {good}"},
    }
    for query in ("", f"?token={good}", f"?access_token={good}&bearer={good}"):
        for why, headers in bad.items() if not query else [("in the address", {})]:
            connection = await websockets.connect(
                f"{site.node.ws_url}/ws/driver{query}", additional_headers=headers, open_timeout=PATIENCE
            )
            with pytest.raises(websockets.ConnectionClosed):
                await connection.recv()
            assert connection.close_code == 4101, why
    async with websockets.connect(
        f"{site.node.ws_url}/ws/driver", additional_headers={"Authorization": f"Bearer {good}"}
    ) as connection:
        assert '"hello"' in str(await connection.recv())


async def test_a_driver_cannot_name_another_driver(site: Site, problem: Check) -> None:
    """Whatever else the token says, its subject is the driver; and a body cannot change which driver a path names."""
    dan, dora = await site.driver(), await site.driver("Dora")
    claims = {"sub": dan.id, "role": "driver", "exp": int(time.time()) + 60, "driverId": dora.id, "id": dora.id}
    client = site.anonymous({"Authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"})
    problem(await client.get(f"/drivers/{dora.id}"), 403, "forbidden")
    assert (await client.get(f"/drivers/{dan.id}")).status_code == 200
    problem(
        await client.post(f"/drivers/{dan.id}/location", json={"lat": 1, "lon": 1, "driverId": dora.id}), 422, "invalid"
    )
    upper = site.client("driver", dan.id.upper())
    assert (await upper.get(f"/drivers/{dan.id}")).status_code == 200
    problem(await upper.get(f"/drivers/{dora.id}"), 403, "forbidden")
    for name in ("X-Driver-Id", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-User", "X-Role"):
        headers = {name: f"/drivers/{dora.id}"}
        assert (await dan.client.get(f"/drivers/{dan.id}", headers=headers)).json()["id"] == dan.id
