"""Drivers are invited, sign in on devices and stay signed in. Every node refuses revoked tokens."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg
import httpx2
import jwt
import pytest
import websockets

from server.dispatch import takeovers
from server.ids import new_id
from server.sockets import revocations
from server.store import sign_in as store
from server.store.query import DatabaseAway
from server.web.access.login_limits import SIGN_IN_TRIES, Tries
from server.web.screens import account
from tests.conftest import SECRET, Node, StartNode
from tests.driver_app import DriverApp, driver_app
from tests.waiting import PATIENCE, until
from tests.web.board_stream import Sent, board_stream, position_of
from tests.web.conftest import Check, Driver, Site, token
from tests.web.html_tree import parse

ANDROID = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Mobile Safari/537.36"
)


async def invite(site: Site, driver: Driver) -> str:
    """The code of a new invitation."""
    invited = await site.alice.post(f"/drivers/{driver.id}/invitation")
    assert invited.status_code == 200, invited.text
    code: str = invited.json()["code"]
    return code


async def sign_in(site: Site, driver: Driver, client: httpx2.AsyncClient | None = None) -> dict[str, Any]:
    """The driver signs in on one more device."""
    code = await invite(site, driver)
    answer = await (client or site.nobody).post("/driver/sign-in", json={"code": code})
    assert answer.status_code == 200, answer.text
    signed_in: dict[str, Any] = answer.json()
    return signed_in


async def renew(site: Site, device_token: str, **more: Any) -> httpx2.Response:
    return await site.nobody.post("/driver/renew", json={"deviceToken": device_token, **more})


async def devices(site: Site, driver: Driver) -> list[dict[str, Any]]:
    listed = await site.alice.get(f"/drivers/{driver.id}/devices")
    assert listed.status_code == 200, listed.text
    items: list[dict[str, Any]] = listed.json()["items"]
    return items


def bearer(site: Site, signed_in: dict[str, Any]) -> httpx2.AsyncClient:
    return site.anonymous({"Authorization": f"Bearer {signed_in['token']}"})


async def pool_of(site: Site, sql: str, *args: Any) -> Any:
    return await site.node.app.state.node.database.pool.fetch(sql, *args)


async def test_an_invited_driver_signs_in_and_is_known_by_their_device(site: Site) -> None:
    dan = await site.driver()
    for client in (site.shop, site.ada, site.alice):
        invited = await client.post(f"/drivers/{dan.id}/invitation")
        assert invited.status_code == 200
    invitation = invited.json()
    link = urlsplit(invitation["url"])
    assert (link.path, link.query, link.fragment) == ("/driver", "", f"code={invitation['code']}")
    assert set(invitation) == {"url", "code", "expiresAt"}
    answer = await site.nobody.post(
        "/driver/sign-in", json={"code": f" {invitation['code']}\n"}, headers={"User-Agent": ANDROID}
    )
    assert answer.status_code == 200
    signed_in = answer.json()
    assert set(signed_in) == {"driverId", "token", "expiresAt", "deviceToken"}
    assert signed_in["driverId"] == dan.id
    client = bearer(site, signed_in)
    assert (await client.get(f"/drivers/{dan.id}")).json()["deviceCount"] == 1
    async with driver_app(site.node.ws_url, dan.id, bearer=signed_in["token"]) as app:
        assert (await app.hear("hello"))["driver"]["id"] == dan.id
    (device,) = await devices(site, dan)
    assert (device["name"], device["endedAt"]) == ("Chrome on Android", None)
    phone = await site.nobody.post("/driver/sign-in", json={"code": await invite(site, dan), "name": " Dan's phone "})
    assert phone.status_code == 200
    assert [device["name"] for device in await devices(site, dan)] == ["Dan's phone", "Chrome on Android"]
    first = (await site.alice.get(f"/drivers/{dan.id}/devices?limit=1")).json()
    rest = (await site.alice.get(f"/drivers/{dan.id}/devices?limit=1&cursor={first['nextCursor']}")).json()
    assert [device["name"] for device in first["items"] + rest["items"]] == ["Dan's phone", "Chrome on Android"]
    (listed,) = (await site.alice.get("/drivers")).json()["items"]
    assert listed["deviceCount"] == 2
    assert (await site.alice.patch(f"/drivers/{dan.id}", json={"name": "Dan D."})).json()["deviceCount"] == 2


async def test_the_driver_of_a_device_is_that_driver_only(site: Site, problem: Check) -> None:
    dan, dora = await site.driver(), await site.driver("Dora")
    client = bearer(site, await sign_in(site, dan))
    problem(await client.get(f"/drivers/{dora.id}"), 403, "forbidden")
    for path in (f"/drivers/{dan.id}/devices", "/drivers", "/deliveries"):
        problem(await client.get(path), 403, "forbidden")


async def test_an_invitation_is_used_once_and_a_newer_one_ends_it(site: Site, problem: Check) -> None:
    dan = await site.driver()
    old, new = await invite(site, dan), await invite(site, dan)
    problem(await site.nobody.post("/driver/sign-in", json={"code": old}), 401, "unauthorized")
    assert (await site.nobody.post("/driver/sign-in", json={"code": new})).status_code == 200
    problem(await site.nobody.post("/driver/sign-in", json={"code": new}), 401, "unauthorized")
    late = await invite(site, dan)
    await site.node.change("UPDATE driver_invitations SET expires_at = clock_timestamp() - interval '1 second'")
    problem(await site.nobody.post("/driver/sign-in", json={"code": late}), 401, "unauthorized")
    assert len(await devices(site, dan)) == 1


@pytest.mark.parametrize(
    ("path", "bodies"),
    [
        (
            "sign-in",
            [{}, {"code": 7}, {"code": ""}, {"code": "x" * 201}, {"code": "a\0"}, {"code": "x", "name": "n" * 61}],
        ),
        ("sign-in", [{"code": "x", "actionId": "y"}, {"code": "x", "driverId": "y"}]),
        ("renew", [{}, {"deviceToken": None}, {"deviceToken": ""}, {"deviceToken": "x", "actionId": "y"}]),
        ("sign-out", [{}, {"deviceToken": ["x"]}, {"deviceToken": "x" * 201}]),
    ],
)
async def test_malformed_bodies_are_refused(site: Site, problem: Check, path: str, bodies: list[Any]) -> None:
    for body in bodies:
        problem(await site.nobody.post(f"/driver/{path}", json=body), 422, "invalid")
    problem(await site.nobody.post(f"/driver/{path}", content=b"{"), 400, "malformed")


async def test_invalid_codes_tokens_and_ids_are_refused(site: Site, problem: Check) -> None:
    dan, dora = await site.driver(), await site.driver("Dora")
    signed_in = await sign_in(site, dan)
    good = signed_in["deviceToken"]
    for wrong in ("x", "cbd_" + "x" * 44, good[:-1], good + "x", signed_in["token"], good.removeprefix("cbd_")):
        problem(await renew(site, wrong[:200]), 401, "unauthorized")
        problem(await site.nobody.post("/driver/sign-out", json={"deviceToken": wrong[:200]}), 401, "unauthorized")
    problem(await site.nobody.post("/driver/sign-in", json={"code": good}), 401, "unauthorized")
    # A device token is no token.
    client = site.anonymous({"Authorization": f"Bearer {good}"})
    problem(await client.get(f"/drivers/{dan.id}"), 401, "unauthorized")
    nobody = new_id()
    problem(await site.alice.post(f"/drivers/{nobody}/invitation"), 404, "not_found")
    problem(await site.alice.post(f"/drivers/{dan.id}/invitation", json={"days": 1}), 422, "invalid")
    problem(await site.alice.get(f"/drivers/{nobody}/devices"), 404, "not_found")
    problem(await site.alice.get(f"/drivers/{dan.id}/devices?limit=0"), 422, "invalid")
    (device,) = await devices(site, dan)
    for driver_id, device_id in ((dora.id, device["id"]), (dan.id, nobody), (dan.id, "x"), ("x", device["id"])):
        problem(await site.alice.delete(f"/drivers/{driver_id}/devices/{device_id}"), 404, "not_found")
    assert (await renew(site, good)).status_code == 200


async def test_of_many_who_use_one_invitation_at_once_one_signs_in(node: StartNode, site: Site) -> None:
    other = await node()
    dan = await site.driver()
    for _ in range(5):
        code = await invite(site, dan)
        before = len(await devices(site, dan))
        async with httpx2.AsyncClient(base_url=other.url, timeout=PATIENCE) as there:
            answers = await asyncio.gather(
                *(client.post("/driver/sign-in", json={"code": code}) for client in (site.nobody, there) * 2)
            )
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
        assert len(await devices(site, dan)) == before + 1


async def test_a_device_token_is_renewed_and_used_once(site: Site, problem: Check) -> None:
    """A second use of a token shows that somebody else has it too: the device ends with all its tokens."""
    dan = await site.driver()
    first = await sign_in(site, dan)
    second = (await renew(site, first["deviceToken"])).json()
    assert second["driverId"] == dan.id
    assert second["deviceToken"] != first["deviceToken"]
    third = (await renew(site, f"{second['deviceToken']}\n")).json()
    clients = [bearer(site, one) for one in (first, second, third)]
    for client in clients:
        assert (await client.get(f"/drivers/{dan.id}")).status_code == 200
    problem(await renew(site, first["deviceToken"]), 401, "unauthorized")
    problem(await renew(site, third["deviceToken"]), 401, "unauthorized")
    for client in clients:
        problem(await client.get(f"/drivers/{dan.id}"), 401, "unauthorized")
    (device,) = await devices(site, dan)
    assert (device["endReason"], device["endedBy"]) == ("token_reused", None)


async def test_a_renewal_or_sign_in_whose_answer_was_lost_may_be_sent_again(site: Site, problem: Check) -> None:
    """The same `actionId` repeats the same request. The old token or the code without it is refused."""
    dan = await site.driver()
    code, action = await invite(site, dan), new_id()
    body = {"code": code, "actionId": action}
    once = (await site.nobody.post("/driver/sign-in", json=body)).json()
    again = (await site.nobody.post("/driver/sign-in", json=body | {"actionId": action.upper()})).json()
    assert (again["deviceToken"], len(await devices(site, dan))) == (once["deviceToken"], 1)
    problem(await site.nobody.post("/driver/sign-in", json={"code": code, "actionId": new_id()}), 401, "unauthorized")
    renewal = new_id()
    lost = (await renew(site, once["deviceToken"], actionId=renewal)).json()
    found = (await renew(site, once["deviceToken"], actionId=renewal)).json()
    assert found["deviceToken"] == lost["deviceToken"] != once["deviceToken"]
    problem(await site.nobody.post("/driver/sign-in", json=body), 401, "unauthorized")
    after = (await renew(site, found["deviceToken"])).json()
    problem(await renew(site, once["deviceToken"], actionId=renewal), 401, "unauthorized")
    problem(await renew(site, after["deviceToken"]), 401, "unauthorized")


async def test_two_renewals_with_one_token_at_once_end_the_device(site: Site) -> None:
    """One of them gets a token, but the device has ended: two phones had the same device token."""
    dan = await site.driver()
    signed_in = await sign_in(site, dan)
    answers = await asyncio.gather(*(renew(site, signed_in["deviceToken"]) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 401]
    (won,) = (answer.json() for answer in answers if answer.status_code == 200)
    assert (await renew(site, won["deviceToken"])).status_code == 401


Revoke = Callable[[Site, Driver, str], Awaitable[Any]]


async def by_ops(site: Site, driver: Driver, device_token: str) -> None:
    (device,) = [one for one in await devices(site, driver) if one["endedAt"] is None]
    path = f"/drivers/{driver.id}/devices/{device['id']}"
    for _ in range(2):  # the second call changes nothing
        assert (await site.alice.delete(path)).status_code == 204


async def by_deactivation(site: Site, driver: Driver, device_token: str) -> None:
    assert (await site.ada.delete(f"/drivers/{driver.id}")).status_code == 204


async def by_signing_out(site: Site, driver: Driver, device_token: str) -> None:
    for _ in range(2):
        out = await site.nobody.post("/driver/sign-out", json={"deviceToken": device_token})
        assert out.status_code == 204


async def by_signing_out_before_the_new_token_came(site: Site, driver: Driver, device_token: str) -> None:
    assert (await renew(site, device_token)).status_code == 200
    await by_signing_out(site, driver, device_token)


async def by_using_a_token_again(site: Site, driver: Driver, device_token: str) -> None:
    renewed = await renew(site, device_token)
    assert renewed.status_code == 200
    assert (await renew(site, device_token)).status_code == 401


WAYS: list[tuple[Revoke, str, str | None]] = [
    (by_ops, "revoked", "alice"),
    (by_deactivation, "deactivated", None),
    (by_signing_out, "signed_out", "driver"),
    (by_signing_out_before_the_new_token_came, "signed_out", "driver"),
    (by_using_a_token_again, "token_reused", None),
]


@pytest.mark.parametrize(("revoke", "reason", "who"), WAYS)
async def test_what_is_revoked_is_refused_at_once_where_it_was_revoked(
    site: Site, problem: Check, revoke: Revoke, reason: str, who: str | None
) -> None:
    """The next call gets 401, the open socket and a new one close with 4101, and a renewal is refused."""
    dan = await site.driver()
    signed_in = await sign_in(site, dan)
    client = bearer(site, signed_in)
    async with driver_app(site.node.ws_url, dan.id, bearer=signed_in["token"]) as app:
        await app.hear("hello")
        await revoke(site, dan, signed_in["deviceToken"])
        for method, path in (("GET", ""), ("GET", "/state"), ("POST", "/availability/pause"), ("POST", "/location")):
            problem(await client.request(method, f"/drivers/{dan.id}{path}"), 401, "unauthorized")
        assert await app.until_closed() == 4101
    async with driver_app(site.node.ws_url, dan.id, bearer=signed_in["token"]) as app:
        assert await app.until_closed() == 4101
        assert app.heard == []
    problem(await renew(site, signed_in["deviceToken"]), 401, "unauthorized")
    (device,) = await devices(site, dan)
    assert device["endReason"] == reason
    assert device["endedBy"] == (dan.id if who == "driver" else who)
    assert (await site.alice.get(f"/drivers/{dan.id}")).json()["deviceCount"] == 0


@pytest.mark.parametrize("redis", ["with hints", "without Redis"])
@pytest.mark.parametrize(("revoke", "reason", "who"), WAYS)
async def test_another_node_refuses_it_within_a_second(
    node: StartNode, site: Site, monkeypatch: pytest.MonkeyPatch, revoke: Revoke, reason: str, who: str, redis: str
) -> None:
    """With Redis by a hint, while the poll is switched off; without Redis by the poll."""
    if redis == "with hints":
        other = await node()
        await until(lambda: other.app.state.node.bus.connected)
        await until(lambda: site.node.app.state.node.bus.connected)
        monkeypatch.setattr(revocations, "POLL_SECONDS", 3600.0)
        followed(other).look_now()  # from now on it waits for a hint
    else:
        other = await node(redis_url="redis://127.0.0.1:9/0")
    dan = await site.driver()
    signed_in = await sign_in(site, dan)
    async with (
        httpx2.AsyncClient(
            base_url=other.url, headers={"Authorization": f"Bearer {signed_in['token']}"}, timeout=PATIENCE
        ) as there,
        driver_app(other.ws_url, dan.id, bearer=signed_in["token"]) as app,
    ):
        await app.hear("hello")
        assert (await there.get(f"/drivers/{dan.id}")).status_code == 200
        await revoke(site, dan, signed_in["deviceToken"])
        assert await app.until_closed() == 4101
        assert (await there.get(f"/drivers/{dan.id}")).status_code == 401


def followed(node: Node) -> revocations.Revocations:
    found: revocations.Revocations = node.app.state.node.revocations
    return found


async def test_other_devices_and_tokens_of_back_ends_go_on(site: Site) -> None:
    dan = await site.driver()
    lost, kept = await sign_in(site, dan), await sign_in(site, dan)
    _, first = await devices(site, dan)
    assert (await site.alice.delete(f"/drivers/{dan.id}/devices/{first['id']}")).status_code == 204
    assert (await bearer(site, lost).get(f"/drivers/{dan.id}")).status_code == 401
    assert (await bearer(site, kept).get(f"/drivers/{dan.id}")).status_code == 200
    assert (await dan.get()).json()["deviceCount"] == 1
    async with driver_app(site.node.ws_url, dan.id, bearer=kept["token"]) as app:
        await app.hear("hello")
        assert (await renew(site, kept["deviceToken"])).status_code == 200
        assert (await app.ask("ping"))["type"] == "pong"


async def test_a_deactivated_driver_has_nothing_until_reactivated_and_then_no_device(
    site: Site, problem: Check
) -> None:
    dan = await site.driver()
    signed_in, code = await sign_in(site, dan), await invite(site, dan)
    async with driver_app(site.node.ws_url, dan.id) as app:
        await app.hear("hello")
        assert (await site.ada.delete(f"/drivers/{dan.id}")).status_code == 204
        problem(await dan.get(), 401, "unauthorized")
        assert await app.until_closed() == 4101
    problem(await site.nobody.post("/driver/sign-in", json={"code": code}), 401, "unauthorized")
    problem(await site.alice.post(f"/drivers/{dan.id}/invitation"), 409, "driver_deactivated")
    assert (await site.ada.post(f"/drivers/{dan.id}/reactivate")).status_code == 200
    assert (await dan.get()).status_code == 200
    async with driver_app(site.node.ws_url, dan.id) as app:
        await app.hear("hello")
    problem(await bearer(site, signed_in).get(f"/drivers/{dan.id}"), 401, "unauthorized")
    problem(await renew(site, signed_in["deviceToken"]), 401, "unauthorized")
    problem(await site.nobody.post("/driver/sign-in", json={"code": code}), 401, "unauthorized")
    assert (await bearer(site, await sign_in(site, dan)).get(f"/drivers/{dan.id}")).status_code == 200


async def test_a_node_that_starts_later_knows_what_is_revoked(node: StartNode, site: Site) -> None:
    dan, dora = await site.driver(), await site.driver("Dora")
    signed_in = await sign_in(site, dan)
    await by_ops(site, dan, signed_in["deviceToken"])
    await by_deactivation(site, dora, "")
    later = await node()
    for driver, one in ((dan, signed_in["token"]), (dora, token("driver", dora.id))):
        async with httpx2.AsyncClient(
            base_url=later.url, headers={"Authorization": f"Bearer {one}"}, timeout=PATIENCE
        ) as there:
            assert (await there.get(f"/drivers/{driver.id}")).status_code == 401
        async with driver_app(later.ws_url, driver.id, bearer=one) as app:
            assert await app.until_closed() == 4101


async def test_all_revocations_are_read_regularly_and_old_ones_are_forgotten(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full read finds what hints and recent changes cannot show, such as a restored database."""
    here = followed(site.node)
    dan = await site.driver()
    signed_in = await sign_in(site, dan)
    await by_ops(site, dan, signed_in["deviceToken"])
    (device,) = await devices(site, dan)
    await site.node.change("UPDATE driver_devices SET ended_at = ended_at - interval '1 hour'")
    await here.refresh()
    assert here.refuses(dan.id, device["id"])
    await site.node.change("UPDATE driver_devices SET ended_at = ended_at - interval '1 day'")
    monkeypatch.setattr(revocations, "ALL_SECONDS", 0.0)
    await here.refresh()
    assert not here.refuses(dan.id, device["id"])


@pytest.mark.parametrize("two", [False, True])
async def test_no_socket_outlives_a_revocation_that_it_races(node: StartNode, site: Site, two: bool) -> None:
    """Ten drivers connect while their devices end. In every order, each socket closes with 4101."""
    there = await node() if two else site.node
    drivers = [await site.driver(f"Dan {number}") for number in range(10)]
    signed_in = [await sign_in(site, driver) for driver in drivers]
    ids = [(await devices(site, driver))[0]["id"] for driver in drivers]

    async def revoke(turn: int) -> None:
        for _ in range(turn * 3):
            await asyncio.sleep(0)
        ended = await site.alice.delete(f"/drivers/{drivers[turn].id}/devices/{ids[turn]}")
        assert ended.status_code == 204

    async def connect(turn: int) -> int | None:
        async with driver_app(there.ws_url, drivers[turn].id, bearer=signed_in[turn]["token"]) as app:
            return await app.until_closed()

    results = await asyncio.gather(*(work(turn) for turn in range(10) for work in (connect, revoke)))
    assert results[::2] == [4101] * 10


async def test_no_device_outlives_a_deactivation_that_it_races(site: Site) -> None:
    """Ten drivers sign in or renew while they are deactivated. In every order, none has a device afterwards."""
    site.node.app.state.sign_in_tries = Tries(1000)
    drivers = [await site.driver(f"Dan {number}") for number in range(10)]
    held = [(await sign_in(site, driver))["deviceToken"] for driver in drivers]
    codes = [await invite(site, driver) for driver in drivers]

    async def deactivate(turn: int) -> None:
        for _ in range(turn * 2):
            await asyncio.sleep(0)
        assert (await site.ada.delete(f"/drivers/{drivers[turn].id}")).status_code == 204

    async def enter(turn: int) -> list[httpx2.Response]:
        signing_in = site.nobody.post("/driver/sign-in", json={"code": codes[turn]})
        return list(await asyncio.gather(signing_in, renew(site, held[turn])))

    results = await asyncio.gather(*(work(turn) for turn in range(10) for work in (enter, deactivate)))
    for turn, driver in enumerate(drivers):
        assert (await site.ada.post(f"/drivers/{driver.id}/reactivate")).json()["deviceCount"] == 0
        for answer in results[2 * turn] or ():
            assert answer.status_code in (200, 401)
            if answer.status_code == 200:
                assert (await bearer(site, answer.json()).get(f"/drivers/{driver.id}")).status_code == 401
                assert (await renew(site, answer.json()["deviceToken"])).status_code == 401
        again = await site.nobody.post("/driver/sign-in", json={"code": codes[turn]})
        assert again.status_code == 401


async def test_checking_a_token_asks_the_database_nothing(site: Site, database_url: str) -> None:
    """Calls and frames of a device go on while nobody may even read its row, or its driver's."""
    dan = await site.driver(at_work=True)
    signed_in = await sign_in(site, dan)
    client = bearer(site, signed_in)
    here = {"lat": 52.52, "lon": 13.404}
    assert (await client.post(f"/drivers/{dan.id}/location", json=here)).status_code == 204
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(driver_app(site.node.ws_url, dan.id, bearer=signed_in["token"]))
        await app.hear("hello")
        blocking = await asyncpg.connect(database_url)
        stack.push_async_callback(blocking.close)
        await blocking.execute("BEGIN; LOCK TABLE driver_devices, drivers IN ACCESS EXCLUSIVE MODE")
        for _ in range(20):
            assert (await client.post(f"/drivers/{dan.id}/location", json=here)).status_code == 204
            assert (await app.ask("location", **here))["type"] == "ack"
        assert await blocking.fetchval("SELECT count(*) FROM driver_devices") == 1
        await blocking.execute("ROLLBACK")


async def test_a_node_goes_by_what_it_knew_while_it_cannot_ask(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it catches up afterwards."""
    dan, dora = await site.driver(), await site.driver("Dora")
    await sign_in(site, dan)
    await by_ops(site, dan, "")
    (device,) = await devices(site, dan)
    here = followed(site.node)
    away = asyncio.Event()

    async def fails(_: object) -> Any:
        away.set()
        raise OSError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(revocations, "recently_changed", fails)
        patch.setattr(revocations, "revoked", fails)
        here.look_now()
        await away.wait()
        assert here.refuses(dan.id, device["id"])
        assert (await dora.get()).status_code == 200
        await site.node.change("UPDATE drivers SET active = false WHERE id = $1", dora.id)
    await until(lambda: here.refuses(dora.id, None))
    assert (await dora.get()).status_code == 401
    assert here.refuses(dan.id, device["id"])


async def test_a_phone_that_is_not_used_for_thirty_days_is_signed_out(site: Site, problem: Check) -> None:
    dan = await site.driver()
    signed_in = await sign_in(site, dan)
    aged = "UPDATE driver_devices SET last_used_at = clock_timestamp() - interval '31 days'"
    await site.node.change(aged)
    assert (await dan.get()).json()["deviceCount"] == 0
    problem(await renew(site, signed_in["deviceToken"]), 401, "unauthorized")
    (device,) = await devices(site, dan)
    assert device["endReason"] == "unused"


async def test_a_phone_stays_signed_in_while_its_driver_has_work(site: Site) -> None:
    dan = await site.driver(at_work=True)
    signed_in = await sign_in(site, dan)
    await site.assignment(dan)
    await site.node.change("UPDATE driver_devices SET last_used_at = clock_timestamp() - interval '31 days'")
    assert (await dan.get()).json()["deviceCount"] == 1
    assert (await renew(site, signed_in["deviceToken"])).status_code == 200


async def test_the_last_use_of_a_device_is_saved(site: Site) -> None:
    """By a call or an open socket, not more often than every few minutes, and never backwards."""
    dan, dora, max_ = await site.driver(), await site.driver("Dora"), await site.driver("Max")
    drivers = (dan, dora, max_)
    signed_in = [await sign_in(site, driver) for driver in drivers]
    here = followed(site.node)
    age = "UPDATE driver_devices SET last_used_at = clock_timestamp() - make_interval(mins => $1)"

    async def seen() -> list[str]:
        return [(await devices(site, driver))[0]["lastSeenAt"] for driver in drivers]

    async with driver_app(site.node.ws_url, dora.id, bearer=signed_in[1]["token"]) as app:
        await app.hear("hello")
        for minutes, changes in ((60, (True, True, False)), (1, (False, False, False))):
            await here.store_uses()
            await site.node.change(age, minutes)
            before = await seen()
            assert (await bearer(site, signed_in[0]).get(f"/drivers/{dan.id}")).status_code == 200
            await here.store_uses()
            assert tuple(now > then for now, then in zip(await seen(), before, strict=True)) == changes


async def test_tries_that_are_wrong_are_limited_and_right_ones_are_not(site: Site, problem: Check) -> None:
    dan = await site.driver()
    signed_in = await sign_in(site, dan)
    device_token = signed_in["deviceToken"]
    for _ in range(SIGN_IN_TRIES + 2):
        device_token = (await renew(site, device_token)).json()["deviceToken"]
    code = await invite(site, dan)
    tries = [await site.nobody.post("/driver/sign-in", json={"code": f"guess {n}"}) for n in range(SIGN_IN_TRIES - 1)]
    tries.append(await renew(site, "guess"))
    assert {answer.status_code for answer in tries} == {401}
    for answer in (
        await site.nobody.post("/driver/sign-in", json={"code": code}),
        await renew(site, device_token),
        await site.nobody.post("/driver/sign-out", json={"deviceToken": device_token}),
    ):
        problem(answer, 429, "too_many_requests")
        assert 0 < int(answer.headers["retry-after"]) <= 300
    # Who is signed in already notices nothing of it.
    assert (await bearer(site, signed_in).get(f"/drivers/{dan.id}")).status_code == 200


async def test_no_try_is_used_up_while_the_database_is_away(
    site: Site, problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All phones behind one address ask again and again while it is away, and must get in when it is back."""
    dan = await site.driver()
    signed_in, code = await sign_in(site, dan), await invite(site, dan)

    async def away(*_: object) -> None:
        raise DatabaseAway("stopped")

    with monkeypatch.context() as stopped:
        for name in ("sign_in", "renew"):
            stopped.setattr(store, name, away)
        stopped.setattr(account, "set_password_with", away)
        form = {"code": "guess", "password": "long enough"}
        for _ in range(SIGN_IN_TRIES):
            problem(await site.nobody.post("/driver/sign-in", json={"code": code}), 503, "try_again")
            problem(await renew(site, signed_in["deviceToken"]), 503, "try_again")
            assert (await site.nobody.post("/new-password", data=form)).status_code == 503
    assert (await renew(site, signed_in["deviceToken"])).status_code == 200
    assert (await site.nobody.post("/driver/sign-in", json={"code": code})).status_code == 200


async def test_pushes_end_with_the_device_that_subscribed(site: Site, problem: Check) -> None:
    """A stolen phone gets no more pushes of offers."""
    dan = await site.driver()
    lost, kept = await sign_in(site, dan), await sign_in(site, dan)
    keys = {
        "p256dh": "BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM",
        "auth": "tBHItJI5svbpez7KI4CCXg",
    }
    for number, client in enumerate((bearer(site, lost), bearer(site, kept), dan.client)):
        body = {"endpoint": f"https://push.example/{number}", "keys": keys}
        made = await client.post(f"/drivers/{dan.id}/push-subscriptions", json=body)
        assert made.status_code == 201, made.text

    async def subscribed() -> int:
        return len((await site.alice.get(f"/drivers/{dan.id}/push-subscriptions")).json()["items"])

    assert await subscribed() == 3
    _, first = await devices(site, dan)
    assert (await site.alice.delete(f"/drivers/{dan.id}/devices/{first['id']}")).status_code == 204
    assert await subscribed() == 2
    assert (await site.ada.delete(f"/drivers/{dan.id}")).status_code == 204
    assert await subscribed() == 0


async def test_events_show_who_did_what_and_contain_no_secrets(site: Site) -> None:
    dan = await site.driver()
    code = await invite(site, dan)
    signed_in = (await site.nobody.post("/driver/sign-in", json={"code": code})).json()
    await by_ops(site, dan, signed_in["deviceToken"])
    (device,) = await devices(site, dan)
    rows = await pool_of(
        site,
        "SELECT type, actor_type, actor_id, data FROM events WHERE driver_id = $1 AND type LIKE 'driver.%' ORDER BY id",
        dan.id,
    )
    found = [
        (row["type"], row["actor_type"], row["actor_id"])
        for row in rows
        if "device" in row["type"] or "ed" in row["type"]
    ]
    assert ("driver.invited", "ops", "alice") in found
    assert ("driver.signed_in", "driver", dan.id) in found
    assert found.count(("driver.device_ended", "ops", "alice")) == 1
    text = str([tuple(row) for row in rows])
    assert device["id"] in text
    for secret in (code, signed_in["deviceToken"], signed_in["token"]):
        assert secret[:20] not in text


async def test_a_token_with_a_forged_device_is_refused(site: Site, problem: Check) -> None:
    """A claim that is no id is refused. An id of no device counts as none."""
    dan = await site.driver()
    claims = jwt.decode(token("driver", dan.id), SECRET, algorithms=["HS256"])
    for device, status in (("x", 401), (7, 401), (new_id().upper(), 401), (new_id(), 200), (None, 200)):
        made = jwt.encode(claims | {"cb_device": device}, SECRET, algorithm="HS256")
        client = site.anonymous({"Authorization": f"Bearer {made}"})
        assert (await client.get(f"/drivers/{dan.id}")).status_code == status, device


async def test_a_phone_that_looks_before_it_connects_makes_nobody_present(site: Site, problem: Check) -> None:
    """It learns who is signed in, what they have in hand, and which other phone is in use since when."""
    dan = await site.driver()
    name = "Dan's old phone"
    first, second = [await named(site, dan, one) for one in (name, "Dan's new phone")]
    path = f"/drivers/{dan.id}/session"

    async def seen(bearer: str) -> dict[str, Any]:
        answer = await site.anonymous({"Authorization": f"Bearer {bearer}"}).get(path)
        assert answer.status_code == 200, answer.text
        return cast(dict[str, Any], answer.json())

    before = await seen(second)
    assert (before["driver"]["id"], before["driver"]["availability"]) == (dan.id, "offline")
    assert (before["assignments"], before["otherDevice"]) == ([], None)
    assert (await seen(second))["driver"]["availability"] == "offline", "a look is no sign of life"
    async with driver_app(site.node.ws_url, dan.id, bearer=first) as app:
        assert app.hello is not None
        assert (await seen(first))["otherDevice"] is None
        other = (await seen(second))["otherDevice"]
        assert other == {"name": name, "since": other["since"]}
        assert other["since"] >= app.hello["serverTime"][:10]
        assert (await site.vic.get(path)).json()["otherDevice"] == other
        asks = await connected_without_taking_over(site, second)
        assert asks == 4106
        assert (await app.ask("ping"))["type"] == "pong"
    assert (await seen(second))["otherDevice"] == other, "it is in use, although it sleeps"
    assert await connected_without_taking_over(site, second) == 4106
    device = next(one for one in await devices(site, dan) if one["name"] == name)
    await site.alice.delete(f"/drivers/{dan.id}/devices/{device['id']}")
    assert (await seen(second))["otherDevice"] is None, "it is signed out"
    assert await connected_without_taking_over(site, second) is None
    problem(await site.vic.get(f"/drivers/{new_id()}/session"), 404, "not_found")


async def test_a_phone_that_is_not_in_use_hands_in_its_reports_and_changes_nothing_else(
    site: Site, problem: Check
) -> None:
    """The other phone stays connected, and a driver who is away does not become available."""
    dora = await site.driver("Dora")
    report = f"/drivers/{dora.id}/assignments/{new_id()}/pickup"
    for query, availability in (("?present=0", "offline"), ("", "available")):
        client = site.anonymous({"Authorization": f"Bearer {await named(site, dora, 'phone')}"})
        problem(await client.post(report + query), 404, "not_found")
        assert (await site.vic.get(f"/drivers/{dora.id}")).json()["availability"] == availability
    assert (await client.post(f"{report}?present=perhaps")).status_code == 422
    dan = await site.driver(at_work=True)
    first, second = [await named(site, dan, one) for one in ("old", "new")]
    old = site.anonymous({"Authorization": f"Bearer {first}"})
    delivery, assignment = await site.assignment(dan)
    path = f"/drivers/{dan.id}/assignments/{assignment['id']}"
    async with driver_app(site.node.ws_url, dan.id, bearer=second) as app:
        done = await old.post(f"{path}/pickup?present=0", json={"actionId": new_id()})
        assert done.status_code == 200, done.text
        heard = await app.hear(lambda m: m["type"] == "assignment" and m["assignment"]["pickedUpAt"] is not None)
        assert heard["assignment"]["id"] == assignment["id"]
        moved = {"reason": "puncture", "force": True}
        moved_to = await site.alice.post(f"/admin/assignments/{assignment['id']}/reassign", json=moved)
        assert moved_to.status_code == 200, moved_to.text
        late = problem(await old.post(f"{path}/complete?present=0"), 409, "assignment_not_active")
        assert late["nowWith"] in ("nobody", "another_driver")
        assert (await app.ask("ping"))["type"] == "pong"
    events = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    assert [one["data"]["what"] for one in events if one["type"] == "delivery.late_report"] == ["delivery.delivered"]


async def named(site: Site, driver: Driver, name: str) -> str:
    """The token of one more device, which has this name."""
    answer = await site.nobody.post("/driver/sign-in", json={"code": await invite(site, driver), "name": name})
    bearer: str = answer.json()["token"]
    return bearer


async def connected_without_taking_over(site: Site, bearer: str) -> int | None:
    """The close code of a handshake with `takeOver=0`, None if it was let in."""
    headers = {"Authorization": f"Bearer {bearer}"}
    async with websockets.connect(
        f"{site.node.ws_url}/ws/driver?takeOver=0", additional_headers=headers, open_timeout=PATIENCE
    ) as socket:
        try:
            await socket.recv()
        except websockets.ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 0
    return None


WAITS_FOR_DEVICES = """
SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE d.datname = current_database() AND relation = 'driver_devices'::regclass AND NOT granted"""


async def test_a_handshake_that_waited_takes_nothing_from_a_later_one(site: Site, database_url: str) -> None:
    """As when a page is loaded again whose first socket the server still examines."""
    dan = await site.driver()
    app_token = token("driver", dan.id)
    async with AsyncExitStack() as stack:
        blocking = await asyncpg.connect(database_url)
        stack.push_async_callback(blocking.close)
        await blocking.execute("BEGIN; LOCK TABLE driver_devices IN ACCESS EXCLUSIVE MODE")
        earlier = asyncio.create_task(connected_without_taking_over(site, app_token))
        await until(lambda: blocking.fetchval(WAITS_FOR_DEVICES))
        later = await stack.enter_async_context(driver_app(site.node.ws_url, dan.id, bearer=app_token))
        await later.hear("hello")
        await blocking.execute("ROLLBACK")
        assert await earlier == 4103
        assert (await later.ask("ping"))["type"] == "pong"


async def is_away(site: Site, driver: Driver) -> bool:
    connected: bool = (await site.vic.get(f"/drivers/{driver.id}")).json()["connected"]
    return not connected


@pytest.mark.parametrize("same", [True, False], ids=["on the same node", "on another node"])
async def test_two_devices_that_take_turns_are_slowed_and_named(
    node: StartNode, site: Site, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    """Neither app does what 4103 asks for: each connects again at once. The board shows it until one is signed out."""
    monkeypatch.setattr(takeovers, "FIRST_WAIT", takeovers.LONGEST_WAIT)  # a busy machine may need more to connect
    second = site.node if same else await node()
    dan = await site.driver()
    phones = [(site.node, (await sign_in(site, dan))["token"]), (second, (await sign_in(site, dan))["token"])]
    board = f"/board/drivers/{dan.id}/now"
    async with AsyncExitStack() as stack:
        page = parse((await site.vic.get("/board")).text)
        live = await stack.enter_async_context(board_stream(site.vic, after=position_of(page)))

        async def connect(phone: int) -> DriverApp:
            where, bearer = phones[phone]
            return await stack.enter_async_context(driver_app(where.ws_url, dan.id, bearer=bearer))

        current = await connect(0)
        for phone in (1, 0, 1):
            older, current = current, await connect(phone)
            assert current.hello is not None
            assert await older.until_closed() == 4103
        refused = await connect(0)
        assert (await refused.until_closed(), refused.close_reason) == (4105, "another device is connected")
        assert (await current.ask("ping"))["type"] == "pong", "the other one keeps its connection"
        assert "Two devices take turns" in (await site.vic.get(board)).text
        assert "two take turns" in (await site.vic.get("/board/drivers")).text
        await live.hear_row(f"v-{dan.id}", lambda row: "two devices" in row.text)
        shown = len(live.sent)
        again = await connect(1)
        assert again.hello is not None, "the device that is connected may come back"
        await again.close()
        await until(lambda: is_away(site, dan))
        assert (await connect(0)).hello is not None, "nobody is connected"
        device = (await devices(site, dan))[0]
        await site.alice.delete(f"/drivers/{dan.id}/devices/{device['id']}")
        await until(lambda: any(calm_row(sent, dan) for sent in live.sent[shown:]))
        assert "Two devices take turns" not in (await site.vic.get(board)).text


def calm_row(sent: Sent, driver: Driver) -> bool:
    row = sent.row(f"v-{driver.id}")
    return row is not None and "two devices" not in row.text
