"""Who may call what: tokens, roles, owners; and that nothing else leaks."""

import time
from typing import Any

import httpx2
import jwt
import pytest
from litestar.routes import HTTPRoute

from server.ids import new_id
from server.web.auth import VERIFIED_LIMIT, _verified, mint_token, verify_token
from server.web.endpoint import Described
from tests.conftest import SECRET, StartNode
from tests.waiting import until
from tests.web.conftest import Check, Site

ALL = {"driver", "service", "viewer", "ops", "admin"}
READERS = {"viewer", "ops", "admin"}

# Section 2 and 3 of the contract, line by line. "owner" is the driver of the path, "driver" any other.
ALLOWED = {
    "POST /deliveries": {"service", "ops", "admin"},
    "GET /deliveries": {"service"} | READERS,
    "GET /deliveries/{}": {"service"} | READERS,
    "GET /deliveries/{}/timeline": {"service"} | READERS,
    "GET /deliveries/{}/candidates": {"service"} | READERS,
    "POST /deliveries/{}/assign": {"service", "ops", "admin"},
    "POST /deliveries/{}/cancel": {"service", "ops", "admin"},
    "POST /drivers": {"service", "admin"},
    "GET /drivers": READERS,
    "GET /drivers/{}": {"owner", "service"} | READERS,
    "POST /drivers/{}/token": {"service", "admin"},
    "POST /drivers/{}/location": {"owner", "admin"},
    "GET /drivers/{}/state": {"owner"} | READERS,
    "POST /drivers/{}/offers/{}/received": {"owner", "admin"},
    "POST /drivers/{}/offers/{}/accept": {"owner", "admin"},
    "POST /drivers/{}/offers/{}/reject": {"owner", "admin"},
    "POST /drivers/{}/assignments/{}/pickup": {"owner", "admin"},
    "POST /drivers/{}/assignments/{}/complete": {"owner", "admin"},
    "POST /drivers/{}/availability/take-break": {"owner", "admin"},
    "POST /drivers/{}/availability/end-shift": {"owner", "admin"},
    "POST /drivers/{}/availability/pause": {"owner", "admin"},
    "POST /drivers/{}/availability/resume": {"owner", "admin"},
    "GET /drivers/{}/availability/history": {"owner"} | READERS,
    "POST /admin/assignments/{}/reassign": {"admin"},
    "POST /admin/deliveries/{}/assign": {"ops", "admin"},
    "POST /admin/drivers/{}/availability": {"admin"},
    "GET /admin/unassigned-orders": READERS,
    "POST /admin/unassigned-orders/{}/acknowledge": {"ops", "admin"},
    "GET /admin/tickets": READERS,
    "GET /admin/alerts": READERS,
    "GET /admin/alerts/{}": READERS,
    "POST /admin/alerts/{}/acknowledge": {"ops", "admin"},
    "GET /admin/notices": READERS,
    "POST /admin/notices/{}/acknowledge": {"ops", "admin"},
    "GET /admin/webhooks": READERS,
    "POST /admin/webhooks": {"admin"},
    "PATCH /admin/webhooks/{}": {"admin"},
    "DELETE /admin/webhooks/{}": {"admin"},
    "POST /admin/webhooks/{}/rotate-secret": {"admin"},
    "GET /admin/webhooks/{}/deliveries": READERS,
    "POST /admin/webhook-deliveries/{}/redeliver": {"admin"},
    "GET /admin/stats": READERS,
    "GET /admin/policy": READERS,
    "PUT /admin/policy": {"admin"},
    "GET /admin/api-keys": READERS,
    "POST /admin/api-keys": {"admin"},
    "DELETE /admin/api-keys/{}": {"admin"},
    "GET /admin/users": READERS,
    "POST /admin/users": {"admin"},
    "PATCH /admin/users/{}": {"admin"},
}


def declared(site: Site) -> set[str]:
    """Every handler with a guard that the application has, as the keys above."""
    found = set()
    for route in site.node.app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            described = handler.opt.get("described")
            if isinstance(described, Described) and described.roles is not None:
                path = "".join("{}" if part.startswith("{") else part for part in _split(route.path))
                found |= {f"{method} {path}" for method in handler.http_methods}
    return found


def _split(path: str) -> list[str]:
    return [piece for part in path.split("/")[1:] for piece in ("/", part)]


async def test_every_endpoint_lets_exactly_its_roles_pass(site: Site, problem: Check) -> None:
    assert declared(site) == set(ALLOWED)
    dan = await site.driver()
    callers = site.roles | {"owner": dan.client, "driver": (await site.driver("Dora")).client}
    for endpoint, allowed in ALLOWED.items():
        method, template = endpoint.split()
        path = template.replace("{}", dan.id, 1).replace("{}", new_id())
        problem(await site.nobody.request(method, path), 401, "unauthorized")
        for role, client in callers.items():
            answer = await client.request(method, path)
            if role in allowed:
                assert answer.status_code not in (401, 403), (endpoint, role, answer.text)
                assert answer.status_code < 500, (endpoint, role, answer.text)
            else:
                problem(answer, 403, "forbidden")


def minted(claims: dict[str, Any], key: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm=algorithm)


NOW = int(time.time())
GOOD: dict[str, Any] = {"sub": "alice", "role": "ops", "iat": NOW, "exp": NOW + 3600}
BAD_TOKENS: dict[str, str] = {
    "not a token": "x.y.z",
    "expired": minted(GOOD | {"exp": NOW - 1}),
    "without an end": minted({key: value for key, value in GOOD.items() if key != "exp"}),
    "without a subject": minted({key: value for key, value in GOOD.items() if key != "sub"}),
    "without a role": minted({key: value for key, value in GOOD.items() if key != "role"}),
    "of no role we know": minted(GOOD | {"role": "root"}),
    "of the system": minted(GOOD | {"role": "system"}),
    "of a role that is no text": minted(GOOD | {"role": ["admin"]}),
    "of an empty subject": minted(GOOD | {"sub": ""}),
    "of a subject that cannot be stored": minted(GOOD | {"sub": "a\x00b"}),
    "of half a character": minted(GOOD | {"sub": "\ud800"}),
    "of an endless subject": minted(GOOD | {"sub": "a" * 201}),
    "of a subject that is no text": minted(GOOD | {"sub": "x"}).replace("x", "y"),
    "that ends with the world": minted(GOOD | {"exp": float("inf")}),
    "that ends sometime": minted(GOOD | {"exp": "soon"}),
    "that begins later": minted(GOOD | {"nbf": NOW + 3600}),
    "signed with another key": minted(GOOD, key="another-secret-of-at-least-32-bytes!"),
    "signed otherwise": minted(GOOD, key=SECRET * 2, algorithm="HS512"),
    "not signed": jwt.encode(GOOD, None, algorithm="none"),
    "endless": "a" * 5000,
    "a key nobody has": "cb_" + "x" * 43,
    "an endless key": "cb_" + "x" * 5000,
}


async def test_a_token_that_is_not_good_is_nobodys(site: Site, problem: Check) -> None:
    assert verify_token(minted(GOOD), SECRET) is not None
    details = set()
    for why, token in BAD_TOKENS.items():
        answer = await site.anonymous({"Authorization": f"Bearer {token}"}).get("/deliveries")
        details.add(problem(answer, 401, "unauthorized")["detail"])
        assert answer.headers["www-authenticate"].startswith("Bearer"), why
    assert len(details) == 1
    for header in ("", "Bearer", "Bearer\tx", "Basic YWRhOmFkYQ==", minted(GOOD), b"\xff\xfe"):
        problem(await site.anonymous({"Authorization": header}).get("/deliveries"), 401, "unauthorized")  # type: ignore[dict-item]


async def test_who_may_not_call_learns_nothing(site: Site, problem: Check) -> None:
    dan = await site.driver()
    delivery = await site.delivery()
    there = await dan.client.get(f"/deliveries/{delivery['id']}")
    nowhere = await dan.client.get(f"/deliveries/{new_id()}")
    assert problem(there, 403, "forbidden") == problem(nowhere, 403, "forbidden")
    malformed = await dan.client.post("/deliveries", content=b"{", headers={"content-type": "text/plain"})
    problem(malformed, 403, "forbidden")
    problem(await dan.client.get("/drivers/not-an-id/state"), 403, "forbidden")


def test_a_good_token_is_remembered_only_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    token, expires_at = mint_token(SECRET, "ops", "alice", 60)
    assert verify_token(token, SECRET) is verify_token(token, SECRET)
    assert verify_token(token, "another-secret-of-at-least-32-bytes!") is None
    monkeypatch.setattr(time, "time", lambda: expires_at)
    assert verify_token(token, SECRET) is None
    assert (token, SECRET) not in _verified


def test_only_so_many_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.web.auth.VERIFIED_LIMIT", 3)
    _verified.clear()
    tokens = [mint_token(SECRET, "ops", f"alice-{n}", 60)[0] for n in range(4)]
    for token in (*tokens[:3], tokens[0], tokens[3]):
        assert verify_token(token, SECRET) is not None
    assert [token for token, _ in _verified] == [tokens[2], tokens[0], tokens[3]]
    assert VERIFIED_LIMIT > 3


async def test_an_api_key_is_an_order_sources_until_it_is_revoked(site: Site, problem: Check) -> None:
    made = await site.ada.post("/admin/api-keys", json={"name": "roma"})
    assert made.status_code == 201
    key = made.json()
    shop: httpx2.AsyncClient = site.anonymous({"Authorization": f"Bearer {key['key']}"})
    delivery = await shop.post("/deliveries", json=site.order())
    assert delivery.status_code == 201
    timeline = (await shop.get(f"/deliveries/{delivery.json()['id']}/timeline")).json()["items"]
    assert timeline[0]["actor"] == {"type": "service", "id": "roma"}
    problem(await shop.get("/admin/stats"), 403, "forbidden")
    assert (await site.ada.delete(f"/admin/api-keys/{key['id']}")).status_code == 204
    problem(await shop.get("/deliveries"), 401, "unauthorized")


async def test_a_key_revoked_on_one_node_ends_on_the_others_within_two_seconds(site: Site, node: StartNode) -> None:
    other = Site(await node())
    key = (await site.ada.post("/admin/api-keys", json={"name": "roma"})).json()
    shop = other.anonymous({"Authorization": f"Bearer {key['key']}"})

    async def refused() -> bool:
        return (await shop.get("/deliveries")).status_code == 401

    assert not await refused()
    await site.ada.delete(f"/admin/api-keys/{key['id']}")
    await until(refused, within=2)
    await other.close()
