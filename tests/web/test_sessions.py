"""Sessions: what they open, what ends them, and how soon; and the token that unsafe requests need."""

import asyncio
from typing import Any

import httpx2
import pytest

from server.web.access.sessions import IDLE_SECONDS
from tests.conftest import StartNode
from tests.waiting import PATIENCE, until
from tests.web.conftest import Check, Site
from tests.web.people import HTML, Browser, add, json_login, logged_in


async def test_a_session_is_a_person_in_the_api(site: Site, problem: Check) -> None:
    """Their role counts, and their name is in the history."""
    await add(site.node, "Alice", "ops")
    client = site.anonymous()
    await json_login(client, "alice")
    delivery = await site.delivery()
    cancelled = await client.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "twice"})
    assert cancelled.status_code == 200
    timeline = (await client.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    assert timeline[-1]["actor"] == {"type": "ops", "id": "Alice"}
    problem(
        await client.post("/admin/users", json={"name": "x", "role": "ops", "password": "12345678"}), 403, "forbidden"
    )
    problem(await client.get(f"/drivers/{delivery['id']}/nothing"), 404, "not_found")


async def test_unsafe_requests_need_the_token_of_the_session(site: Site, problem: Check) -> None:
    await add(site.node, "Ada", "admin")
    await add(site.node, "Eve", "admin")
    client, other = site.anonymous(), site.anonymous()
    token = (await json_login(client, "Ada"))["csrfToken"]
    others = (await json_login(other, "Eve"))["csrfToken"]
    del client.headers["X-CSRF-Token"]
    assert (await client.get("/drivers")).status_code == 200
    for bad in (None, "", "x", others, token + "x", token[::-1], "." * 300, "é"):
        headers = {} if bad is None else {"X-CSRF-Token": bad.encode()}
        problem(await client.post("/drivers", json={"name": "Dan"}, headers=headers), 403, "csrf_failed")  # type: ignore[arg-type]
    for header in ("X-CSRF-Token", "x-csrftoken"):
        made = await client.post("/drivers", json={"name": "Dan"}, headers={header: token})
        assert made.status_code == 201


async def test_a_bearer_token_needs_none_and_goes_before_the_cookie(site: Site, problem: Check) -> None:
    await add(site.node, "Vic", "viewer")
    client = site.anonymous()
    await json_login(client, "Vic")
    del client.headers["X-CSRF-Token"]
    bearer = site.ada.headers["authorization"]
    assert (await client.post("/drivers", json={"name": "D"}, headers={"Authorization": bearer})).status_code == 201
    problem(await client.get("/drivers", headers={"Authorization": "Bearer bad"}), 401, "unauthorized")


async def test_every_page_has_another_token_and_all_are_good(site: Site) -> None:
    browser = await logged_in(site, "Ada", "admin")
    tokens = [await browser.csrf_token() for _ in range(3)]
    assert len(set(tokens)) == 3
    for token in tokens:
        answer = await browser.client.post("/drivers", json={"name": "Dan"}, headers={"X-CSRF-Token": token})
        assert answer.status_code == 201


async def test_logging_out_ends_this_session_only(site: Site) -> None:
    browser = await logged_in(site, "Ada", "admin")
    elsewhere = Browser(site.anonymous())
    await elsewhere.log_in("Ada")
    cookie = browser.cookie
    refused = await browser.client.post("/logout", headers=HTML)
    assert refused.status_code == 403
    token = await browser.csrf_token()
    out = await browser.client.post("/logout", data={"csrf_token": token}, headers=HTML)
    assert (out.status_code, out.headers["location"]) == (303, "/login")
    assert "max-age=0" in out.headers["set-cookie"].lower()
    assert (await site.anonymous({"Cookie": f"callboard={cookie}"}).get("/drivers")).status_code == 401
    assert (await elsewhere.see("/users")).status_code == 200
    assert (await browser.client.post("/logout", headers=HTML)).status_code == 303


async def test_logging_out_everywhere_ends_all_of_theirs_and_nobody_elses(site: Site) -> None:
    browser = await logged_in(site, "Ada", "admin")
    eve = await logged_in(site, "Eve", "admin")
    elsewhere = Browser(site.anonymous())
    await elsewhere.log_in("Ada")
    token = await browser.csrf_token()
    out = await browser.client.post("/logout?everywhere=1", data={"csrf_token": token}, headers=HTML)
    assert out.status_code == 303
    assert (await elsewhere.see("/users")).status_code == 303
    assert (await eve.see("/users")).status_code == 200
    assert (await browser.log_in("Ada")).status_code == 303
    assert (await browser.see("/users")).status_code == 200


async def test_programs_log_out_too(site: Site) -> None:
    await add(site.node, "Ada", "admin")
    client = site.anonymous()
    await json_login(client, "Ada")
    assert (await client.post("/logout")).status_code == 204
    assert (await client.get("/drivers")).status_code == 401


CHANGES: dict[str, dict[str, Any]] = {
    "locked out": {"active": False},
    "another role": {"role": "viewer"},
    "a new password": {"password": "another password"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_changed_user_loses_their_access_at_once_on_every_node(
    site: Site, node: StartNode, change: dict[str, Any]
) -> None:
    alice_id = await add(site.node, "alice", "ops")
    there = Site(await node())
    here, far = site.anonymous(), there.anonymous()
    await json_login(here, "alice")
    await json_login(far, "alice")
    far.cookies = here.cookies
    assert (await far.get("/drivers")).status_code == 200
    assert (await site.ada.patch(f"/admin/users/{alice_id}", json=change)).status_code == 200
    assert (await here.get("/drivers")).status_code == 401

    async def refused() -> bool:
        return (await far.get("/drivers")).status_code == 401

    await until(refused)
    await there.close()


async def test_a_session_is_valid_on_every_node(site: Site, node: StartNode) -> None:
    other = await node()
    browser = await logged_in(site, "Ada", "admin")
    client = httpx2.AsyncClient(base_url=other.url, cookies={"callboard": browser.cookie}, timeout=PATIENCE)
    assert (await client.get("/users", headers=HTML)).status_code == 200
    await client.aclose()


@pytest.mark.parametrize(
    ("column", "seconds"), [("seen_at", -IDLE_SECONDS - 1), ("expires_at", -1)], ids=["unused", "too old"]
)
async def test_a_session_does_not_last_for_ever(site: Site, column: str, seconds: float) -> None:
    browser = await logged_in(site, "Ada", "admin")
    assert (await browser.see("/users")).status_code == 200
    pool = site.node.app.state.node.database.pool
    await pool.execute(f"UPDATE sessions SET {column} = clock_timestamp() + make_interval(secs => $1)", seconds)

    async def over() -> bool:
        return (await browser.see("/users")).headers.get("location") == "/login?next=/users"

    await until(over)


async def test_use_keeps_a_session_alive_and_is_recorded_now_and_then(site: Site) -> None:
    browser = await logged_in(site, "Ada", "admin")
    pool = site.node.app.state.node.database.pool
    await pool.execute("UPDATE sessions SET seen_at = clock_timestamp() - interval '2 minutes'")

    async def recorded() -> bool:
        assert (await browser.see("/users")).status_code == 200
        seen: bool = await pool.fetchval("SELECT seen_at > clock_timestamp() - interval '10 s' FROM sessions")
        return seen

    await until(recorded)
    seen_at = await pool.fetchval("SELECT seen_at FROM sessions")
    assert (await browser.see("/users")).status_code == 200
    assert await pool.fetchval("SELECT seen_at FROM sessions") == seen_at


async def test_the_database_holds_no_cookie(site: Site) -> None:
    browser = await logged_in(site, "Ada", "admin")
    rows = await site.node.app.state.node.database.pool.fetch("SELECT * FROM sessions")
    assert len(rows) == 1
    assert browser.cookie not in str(rows)


async def test_ended_sessions_are_deleted(site: Site) -> None:
    await logged_in(site, "Ada", "admin")
    pool = site.node.app.state.node.database.pool
    await pool.execute("UPDATE sessions SET expires_at = clock_timestamp()")
    sessions = site.node.app.state.sessions
    sweeping = asyncio.create_task(sessions.keep())
    await until(lambda: _count(pool, 0))
    sweeping.cancel()


async def _count(pool: Any, wanted: int) -> bool:
    count: int = await pool.fetchval("SELECT count(*) FROM sessions")
    return count == wanted


async def test_many_requests_at_once_ask_the_database_once(site: Site) -> None:
    browser = await logged_in(site, "Ada", "admin")
    sessions = site.node.app.state.sessions
    sessions._reads.forget_all(lambda *_: True)
    asked = 0
    ask = sessions._read

    async def counted(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        return await ask(*args)

    sessions._read = counted
    answers = await asyncio.gather(*(browser.see("/users") for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert asked == 1


async def test_an_open_stream_ends_with_its_session(site: Site) -> None:
    """A person who is logged out elsewhere stops watching."""
    browser = await logged_in(site, "alice", "ops")
    elsewhere = Browser(site.anonymous())
    await elsewhere.log_in("alice")
    async with browser.client.stream("GET", "/board/stream", timeout=PATIENCE) as stream:
        assert stream.status_code == 200
        chunks = stream.aiter_raw()
        await anext(chunks)
        token = await elsewhere.csrf_token("/board")
        await elsewhere.client.post("/logout?everywhere=1", data={"csrf_token": token}, headers=HTML)
        async with asyncio.timeout(PATIENCE):
            async for _ in chunks:
                pass


async def test_garbage_in_the_cookie_is_nobody(site: Site) -> None:
    for value in ("x", "x" * 5000, "%00", '"', "callboard"):
        answer = await site.anonymous({"Cookie": f"callboard={value}"}).get("/drivers")
        assert answer.status_code == 401, value


async def test_without_a_session_streams_and_scripts_get_a_problem_not_a_page(site: Site, problem: Check) -> None:
    problem(await site.nobody.get("/board/stream"), 401, "unauthorized")
    problem(await site.nobody.get("/users", headers={"Accept": "application/json"}), 401, "unauthorized")
