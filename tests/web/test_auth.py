"""Tokens and keys, good ones and bad; and that nothing else leaks. For who may call what see tests/abuse."""

import asyncio
import time
from typing import Any

import httpx2
import jwt
import pytest

from server.ids import new_id
from server.store.api_keys import find_good_key
from server.web.access.tokens import VERIFIED_LIMIT, _verified, mint_token, read_token, verify_token
from server.web.api.endpoint import ApiHandler
from server.web.api.routes import API
from server.web.http.every_route import handlers_in
from tests.conftest import SECRET, StartNode
from tests.waiting import until
from tests.web.conftest import Check, Site


def minted(claims: dict[str, Any], key: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims, key, algorithm=algorithm)


NOW = int(time.time())
GOOD: dict[str, Any] = {"sub": "alice", "role": "ops", "iat": NOW, "exp": NOW + 3600}
BAD_TOKENS: dict[str, str] = {
    "not a token": "x.y.z",
    "expired": minted(GOOD | {"exp": NOW - 31}),
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
    "that was made later": minted(GOOD | {"iat": NOW + 3600}),
    "that was made somehow": minted(GOOD | {"iat": "now"}),
    "signed with another key": minted(GOOD, key="another-secret-of-at-least-32-bytes!"),
    "signed otherwise": minted(GOOD, key=SECRET * 2, algorithm="HS512"),
    "of a driver who is named otherwise": minted(GOOD | {"role": "driver", "sub": "dan"}),
    "not signed": jwt.encode(GOOD, "", algorithm="none"),
    "endless": "a" * 5000,
    "a key nobody has": "cb_" + "x" * 43,
    "an endless key": "cb_" + "x" * 5000,
}


async def test_an_invalid_token_is_refused(site: Site, problem: Check) -> None:
    assert verify_token(minted(GOOD), (SECRET,)) is not None
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
    assert verify_token(token, (SECRET,)) is verify_token(token, (SECRET,))
    assert verify_token(token, ("another-secret-of-at-least-32-bytes!",)) is None
    monkeypatch.setattr(time, "time", lambda: expires_at + 29.9)
    assert verify_token(token, (SECRET,)) is not None
    monkeypatch.setattr(time, "time", lambda: expires_at + 30)
    assert verify_token(token, (SECRET,)) is None
    assert (token, (SECRET,)) not in _verified


@pytest.mark.parametrize(
    ("claims", "valid"),
    [
        ({"iat": 60}, True),
        ({"iat": 61}, False),
        ({"nbf": 60}, True),
        ({"nbf": 61}, False),
        ({"iat": 0, "nbf": 61}, False),
        ({"exp": -29}, True),
        ({"exp": -30}, False),
    ],
)
def test_clocks_may_differ_a_little(monkeypatch: pytest.MonkeyPatch, claims: dict[str, int], valid: bool) -> None:
    """Claims in seconds from now."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    token = minted({"sub": "alice", "role": "ops", "exp": NOW + 60} | {name: NOW + s for name, s in claims.items()})
    assert (verify_token(token, (SECRET,)) is not None) is valid
    assert (read_token(token, (SECRET,)) is not None) is (valid or "exp" in claims)


def test_only_so_many_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.web.access.tokens.VERIFIED_LIMIT", 3)
    _verified.clear()
    tokens = [mint_token(SECRET, "ops", f"alice-{n}", 60)[0] for n in range(4)]
    for token in (*tokens[:3], tokens[0], tokens[3]):
        assert verify_token(token, (SECRET,)) is not None
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
    await until(refused)
    await other.close()


async def test_a_key_that_is_revoked_while_it_is_read_is_refused_at_once(
    site: Site, problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await site.ada.post("/admin/api-keys", json={"name": "roma"})).json()
    shop = site.anonymous({"Authorization": f"Bearer {key['key']}"})
    found, revoked = asyncio.Event(), asyncio.Event()

    async def slowly(*args: Any) -> Any:
        good = await find_good_key(*args)
        found.set()
        await revoked.wait()
        return good

    monkeypatch.setattr("server.web.access.api_keys.find_good_key", slowly)
    first = asyncio.create_task(shop.get("/deliveries"))
    await found.wait()
    assert (await site.ada.delete(f"/admin/api-keys/{key['id']}")).status_code == 204
    revoked.set()
    assert (await first).status_code == 200
    problem(await shop.get("/deliveries"), 401, "unauthorized")


def test_guards_of_endpoints_get_the_handler_itself() -> None:
    """Litestar's own handlers are copied for every guard of every request."""
    described = [handler for handler in handlers_in(API) if "described" in handler.opt]
    assert len(described) > 50
    assert [handler.paths for handler in described if not isinstance(handler, ApiHandler)] == []
