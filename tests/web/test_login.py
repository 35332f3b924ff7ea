"""Logging in: who gets in, where to, with what cookie; and that nothing tells whether a name exists."""

import asyncio
import socket
import time
from functools import partial
from typing import Any

import pytest
from argon2 import PasswordHasher, extract_parameters
from litestar.connection import ASGIConnection

from server.store.query import DatabaseAway
from server.web.access import users
from server.web.screens.shell import local_path
from tests.conftest import StartNode
from tests.waiting import until
from tests.web.conftest import Check, Site
from tests.web.people import HTML, PASSWORD, Browser, add, logged_in


async def test_the_login_leads_to_the_page_that_was_asked_for(site: Site) -> None:
    await add(site.node, "Ada", "admin")
    browser = Browser(site.anonymous())
    asked = await browser.see("/users?x=1&y=%2F")
    assert asked.status_code == 303
    assert asked.headers["location"] == "/login?next=/users%3Fx%3D1%26y%3D%252F"
    form = await browser.see(asked.headers["location"])
    assert form.status_code == 200
    assert 'name="next" value="/users?x=1&amp;y=%2F"' in form.text
    done = await browser.log_in("ada", next="/users?x=1&y=%2F")
    assert done.status_code == 303
    assert done.headers["location"] == "/users?x=1&y=%2F"
    assert (await browser.see("/users")).status_code == 200
    for path, leads in {"/login": "/board", "/login?next=/users": "/users", "/": "/board"}.items():
        assert (await browser.see(path)).headers["location"] == leads


async def test_without_a_login_the_start_is_the_login(site: Site) -> None:
    assert (await Browser(site.anonymous()).see("/")).headers["location"] == "/login"


async def test_the_cookie_is_for_the_server_alone(site: Site, node: StartNode) -> None:
    await add(site.node, "alice", "ops")
    cookie = (await Browser(site.anonymous()).log_in("alice")).headers["set-cookie"]
    name, _, attributes = cookie.partition("; ")
    assert name.startswith("callboard=")
    assert {part.lower() for part in attributes.split("; ")} >= {"httponly", "samesite=lax", "path=/"}
    assert "secure" not in attributes.lower()
    assert "domain" not in attributes.lower()

    behind_tls = Site(await node(secure_cookies=True))
    cookie = (await Browser(behind_tls.anonymous()).log_in("alice")).headers["set-cookie"]
    assert cookie.startswith("__Host-callboard=")
    assert "secure" in cookie.lower()
    proxied = {**HTML, "X-Forwarded-Proto": "https"}
    answer = await site.anonymous().post("/login", data={"name": "alice", "password": PASSWORD}, headers=proxied)
    assert "secure" in answer.headers["set-cookie"].lower()
    for chain in ("HTTPS", "https, http", "https,https"):
        proxied = {**HTML, "X-Forwarded-Proto": chain}
        answer = await site.anonymous().post("/login", data={"name": "alice", "password": PASSWORD}, headers=proxied)
        assert answer.headers["set-cookie"].startswith("__Host-callboard="), chain
    await behind_tls.close()


async def test_what_a_proxy_says_counts_only_of_those_that_are_trusted(site: Site, node: StartNode) -> None:
    """Otherwise anybody could have tries without end, or a cookie that their browser never sends again."""
    strange = Site(await node(trusted_proxies="10.0.0.0/8", redis_prefix="apart:"))
    said = {**HTML, "X-Forwarded-For": "203.0.113.7, 198.51.100.9", "X-Forwarded-Proto": "https"}
    await add(site.node, "alice", "ops")
    for here, cookie, address in ((site, "__Host-callboard=", "198.51.100.9"), (strange, "callboard=", "127.0.0.1")):
        client = here.anonymous()
        answer = await client.post("/login", data={"name": "alice", "password": PASSWORD}, headers=said)
        assert answer.headers["set-cookie"].startswith(cookie)
        await client.post("/login", data={"name": "nobody", "password": PASSWORD}, headers=said)
        assert [*here.node.app.state.login_limits._addresses._buckets] == [address]
    await strange.close()


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
async def test_a_proxy_at_an_ipv4_address_is_trusted_on_a_socket_of_ipv6(site: Site, node: StartNode) -> None:
    """On `::` it comes as ::ffff:127.0.0.1."""
    both = Site(await node(host="::", redis_prefix="both:"))
    await add(site.node, "alice", "ops")
    said = {**HTML, "X-Forwarded-For": "198.51.100.9", "X-Forwarded-Proto": "https"}
    answer = await both.anonymous().post("/login", data={"name": "alice", "password": PASSWORD}, headers=said)
    assert answer.headers["set-cookie"].startswith("__Host-callboard=")
    await both.anonymous().post("/login", data={"name": "nobody", "password": PASSWORD}, headers=said)
    assert [*both.node.app.state.login_limits._addresses._buckets] == ["198.51.100.9"]
    await both.close()


async def test_a_wrong_name_a_wrong_password_and_a_locked_out_person_look_the_same(site: Site) -> None:
    await add(site.node, "alice", "ops")
    gone = await add(site.node, "gone", "ops")
    assert (await site.ada.patch(f"/admin/users/{gone}", json={"active": False})).status_code == 200
    pages = set()
    tries = {"alice": "wrong password", "nobody": PASSWORD, "gone": PASSWORD, "": ""}
    for name, password in tries.items():
        answer = await Browser(site.anonymous()).log_in(name, password)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        pages.add(answer.text.replace(f'value="{name}"', 'value=""').replace("al�ice", ""))
    assert len({page.replace(" autofocus", "") for page in pages}) == 1
    assert "Wrong name or password." in pages.pop()


async def test_a_name_that_nobody_has_takes_as_long(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is one comparison with a hash, and it costs the same for both."""
    await add(site.node, "alice", "ops")
    compared: list[str] = []
    right = users._verify

    def verify(hashed: str, password: str) -> bool:
        compared.append(hashed)
        return right(hashed, password)

    monkeypatch.setattr(users, "_verify", verify)
    for name in ("alice", "nobody"):
        refused = await site.anonymous().post("/login", json={"name": name, "password": "wrong password"})
        assert refused.status_code == 401
    alices, nobodys = map(extract_parameters, compared)
    assert alices == nobodys


@pytest.mark.parametrize("name", ["alice", "nobody"])
async def test_too_many_tries_have_to_wait(site: Site, name: str, problem: Check) -> None:
    await add(site.node, "alice", "ops")
    browser = Browser(site.anonymous())
    answers = [await browser.log_in(name, "wrong password") for _ in range(8)]
    assert {answer.status_code for answer in answers} == {401}
    limited = await browser.log_in(name)
    assert limited.status_code == 429
    assert int(limited.headers["retry-after"]) > 0
    assert "Too many" in limited.text
    shown = await site.anonymous().post("/login", json={"name": name, "password": PASSWORD})
    problem(shown, 429, "too_many_requests")
    assert int(shown.headers["retry-after"]) > 0


async def test_no_try_is_used_up_while_the_database_is_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await add(site.node, "alice", "ops")

    async def away(*_: object) -> None:
        raise DatabaseAway("stopped")

    with monkeypatch.context() as stopped:
        stopped.setattr(users.Passwords, "person_of", away)
        for _ in range(8):
            assert (await Browser(site.anonymous()).log_in("alice")).status_code == 503
    assert (await Browser(site.anonymous()).log_in("alice")).status_code == 303


def at(address: str) -> dict[str, str]:
    """What the trusted proxy in front says about where somebody is."""
    return {**HTML, "X-Forwarded-For": address}


async def test_a_strangers_wrong_passwords_keep_nobody_out(site: Site, node: StartNode) -> None:
    await add(site.node, "admin", "admin")
    client, right, wrong = (
        site.anonymous(),
        {"name": "admin", "password": PASSWORD},
        {"name": "admin", "password": "wrong password"},
    )
    tried = [(await client.post("/login", data=wrong, headers=at("203.0.113.7"))).status_code for _ in range(20)]
    assert tried == [401] * 8 + [429] * 12
    assert (await client.post("/login", data=right, headers=at("203.0.113.7"))).status_code == 429
    hers = site.anonymous()
    assert (await hers.post("/login", data=right, headers=at("198.51.100.9"))).status_code == 303

    limits = site.node.app.state.login_limits
    for number in range(600):
        limits.begin("admin", f"10.1.{number // 250}.{number % 250}", time.monotonic())
    guess = await site.anonymous().post("/login", data=right, headers=at("10.2.0.1"))
    assert guess.status_code == 429, "guessing from many networks ends"
    assert (await site.anonymous().post("/login", data=right, headers=at("198.51.100.9"))).status_code == 303
    assert (await hers.post("/login", data=right, headers=at("10.2.0.2"))).status_code == 303, "her browser is known"
    other = Site(await node())
    for number in range(600):
        other.node.app.state.login_limits.begin("admin", f"10.1.{number // 250}.{number % 250}", time.monotonic())
    mark = {"Cookie": f"callboard_device={hers.cookies['callboard_device']}"}
    for more, status in (({}, 429), (mark, 303)):
        answer = await other.anonymous().post("/login", data=right, headers=at("10.2.0.3") | more)
        assert answer.status_code == status, "on every node"
    await other.close()


def tries_heard(site: Site) -> int:
    """How many tries this node knows of, of those that come back far slower than they are made here."""
    bucket = site.node.app.state.login_limits._pairs._buckets.get("203.0.113.7 admin")
    return 0 if bucket is None else 8 - int(bucket.left)


def as_many_heard(site: Site, tries: int) -> bool:
    return tries_heard(site) >= tries


async def test_more_nodes_give_nobody_more_tries(node: StartNode) -> None:
    """Wherever they try; and who was logged in to on one node is known on the others."""
    here, there = Site(await node()), Site(await node())
    nodes = [one.node.app.state for one in (here, there)]
    await until(lambda: all(one.node.bus.connected and not one.node.heartbeat.alone for one in nodes))
    await add(here.node, "admin", "admin")
    tried = []
    for number in range(12):
        one, other = (here, there) if number % 2 else (there, here)
        wrong = {"name": "admin", "password": "wrong password"}
        answer = await one.anonymous().post("/login", data=wrong, headers=at("203.0.113.7"))
        tried.append(answer.status_code)
        await until(partial(as_many_heard, other, min(number + 1, 8)))
    assert tried == [401] * 8 + [429] * 4
    right = {"name": "admin", "password": PASSWORD}
    assert (await here.anonymous().post("/login", data=right, headers=at("198.51.100.9"))).status_code == 303
    await until(lambda: "198.51.100.9 admin" in nodes[1].login_limits._known)
    await here.close()
    await there.close()


async def test_without_redis_each_node_counts_for_itself(node: StartNode) -> None:
    here = Site(await node(redis_url="redis://127.0.0.1:1/0"))
    wrong = {"name": "admin", "password": "wrong password"}
    tried = [(await here.anonymous().post("/login", data=wrong, headers=HTML)).status_code for _ in range(9)]
    assert tried == [401] * 8 + [429]
    await here.close()


async def test_a_browsers_mark_is_valid_for_the_names_it_logged_in_to(site: Site) -> None:
    marks, client = site.node.app.state.login_marks, site.anonymous()
    for name in ("alice", "bob", "carol", "dora"):
        await add(site.node, name, "ops")
        assert (await client.post("/login", data={"name": name, "password": PASSWORD}, headers=HTML)).status_code == 303
    kept = client.cookies["callboard_device"]
    assert "alice" not in kept

    def known(name: str, cookie: str) -> str | None:
        scope: Any = {"type": "http", "scheme": "http", "headers": [(b"cookie", f"callboard_device={cookie}".encode())]}
        request: ASGIConnection[Any, Any, Any, Any] = ASGIConnection(scope)
        found: str | None = marks.known(request, name)
        return found

    assert all(known(name, kept) for name in ("alice", "bob", "carol", "DORA"))
    assert known("eve", kept) is None
    called = known("alice", kept)
    again = await client.post("/login", data={"name": "Alice", "password": PASSWORD}, headers=HTML)
    assert again.status_code == 303
    assert known("alice", client.cookies["callboard_device"]) == called, "its tries go on"
    mark = kept.split("~")[0]
    called_, since, signature = mark.split(".")
    for bad in (
        "",
        "~~~",
        "a.b.c",
        "é.1.x",
        f"{called_}x.{since}.{signature}",
        f"{called_}.{int(since) + 1}.{signature}",
        f"{called_}.{since}.{signature[:-1]}",
        f"{mark}~" * 20,
    ):
        assert known("dora", bad) is None, bad


async def test_a_login_from_another_site_is_refused(site: Site) -> None:
    await add(site.node, "alice", "ops")
    fields = {"name": "alice", "password": PASSWORD}
    client = site.anonymous()
    for header in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": site.node.url},
    ):
        answer = await client.post("/login", data=fields, headers={**HTML, **header})
        assert answer.status_code == 403, header
        assert "set-cookie" not in answer.headers
    for header in ({"Origin": site.node.url}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert (await client.post("/login", data=fields, headers={**HTML, **header})).status_code == 303


async def test_a_session_brought_along_is_never_the_new_one(site: Site) -> None:
    """Fixation: a cookie that somebody else set or read before the login is worth nothing after it."""
    browser = await logged_in(site, "alice", "ops")
    before = browser.cookie
    await add(site.node, "Ada", "admin")
    assert (await browser.log_in("Ada")).status_code == 303
    assert browser.cookie != before
    thief = site.anonymous({"Cookie": f"callboard={before}"})
    assert (await thief.get("/deliveries")).status_code == 401
    planted = Browser(site.anonymous({"Cookie": "callboard=planted"}))
    answer = await planted.log_in("Ada")
    assert "planted" not in answer.headers["set-cookie"]


async def test_programs_log_in_with_json(site: Site, problem: Check) -> None:
    await add(site.node, "Ada", "admin")
    client = site.anonymous()
    answer = await client.post("/login", json={"name": "ada", "password": PASSWORD})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["name"], body["role"]) == ("Ada", "admin")
    made = await client.post("/drivers", json={"name": "Dan"}, headers={"X-CSRF-Token": body["csrfToken"]})
    assert made.status_code == 201
    problem(await client.post("/login", json={"name": "ada", "password": "wrong password"}), 401, "unauthorized")
    problem(await client.post("/login", json={"name": "ada"}), 422, "invalid")
    problem(await client.post("/login", content=b"{"), 400, "malformed")


async def test_characters_of_two_parts_are_those_of_one(site: Site, problem: Check) -> None:
    """In a name and a password: some keyboards and files have `u` and two dots for `ü`."""
    said, sent = ("Ünal", "pässwörd-of-hers"), ("U\u0308nal", "pa\u0308sswo\u0308rd-of-hers")
    user = {"name": sent[0], "password": sent[1], "role": "ops"}
    assert (await site.ada.post("/admin/users", json=user)).json()["name"] == said[0]
    problem(await site.ada.post("/admin/users", json=user | {"name": said[0]}), 409, "user_exists")
    for name, password in (said, sent):
        assert (await site.anonymous().post("/login", json={"name": name, "password": password})).status_code == 200
    # As an earlier release stored it.
    hashed_before = await asyncio.to_thread(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash, sent[1])
    await site.node.change(
        "UPDATE users SET name = $1, password_hash = $2 WHERE name = $3", sent[0], hashed_before, said[0]
    )
    assert (await site.anonymous().post("/login", json={"name": sent[0], "password": sent[1]})).status_code == 200


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"name=a%00b&password=secret-enough", 422, "A text must not contain the character NUL."),
        (b"name=ada&password=%ff", 422, "The form data is invalid."),
        (b"name=ada&password=\xff", 422, "The form data is invalid."),
        (b"a=1&" * 1500, 422, "The form data is invalid."),
        (b"&&&", 401, "Wrong name"),
        (b"name", 401, "Wrong name"),
        (b"=" * 5000, 401, "Wrong name"),
    ],
)
async def test_forms_of_any_kind_are_answered(site: Site, content: bytes, status: int, said: str) -> None:
    headers = {**HTML, "Content-Type": "application/x-www-form-urlencoded"}
    answer = await site.nobody.post("/login", content=content, headers=headers)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


async def test_no_form_loses_a_character_without_a_word(site: Site) -> None:
    """NUL, which no text in PostgreSQL can hold, is refused on every form."""
    ada = Browser(site.anonymous())
    await add(site.node, "ada", "admin")
    await ada.log_in("ada")
    token = await ada.csrf_token()
    for path in ("/users", "/policy", "/webhooks"):
        fields = {"csrf_token": token, "name": "a\0b", "url": "a\0b", "role": "ops", "reason": "a\0b"}
        answer = await ada.client.post(path, data=fields, headers=HTML)
        assert (answer.status_code, "must not contain the character NUL" in answer.text) == (422, True), path
    assert "ada" in (listed := (await ada.client.get("/users", headers=HTML)).text)
    assert "\ufffd" not in listed


@pytest.mark.parametrize(
    "text",
    [
        None, "", "board", "//evil.example", "/\\evil.example", "/\t/evil.example", "/\n/evil.example",
        "https://evil.example",
        "javascript:alert(1)", "/login", "/login?next=/login", "/logout", "/\x00", "/é",
        "/" + "x" * 3000, "\\/evil", " /board",
    ],
)  # fmt: skip
def test_nothing_leads_to_another_site(text: str | None) -> None:
    assert local_path(text, "/board") == "/board"


@pytest.mark.parametrize("text", ["/", "/users", "/board?show=waiting&sort=age#x", "/board/deliveries/1?next=//evil"])
def test_paths_of_ours_are_kept(text: str) -> None:
    assert local_path(text, "/board") == text


async def test_the_log_holds_no_password(site: Site, capsys: Any) -> None:
    await add(site.node, "alice", "ops")
    await Browser(site.anonymous()).log_in("alice", "a-very-wrong-password")
    await Browser(site.anonymous()).log_in("alice")
    said = capsys.readouterr()
    assert PASSWORD not in said.out + said.err
    assert "a-very-wrong-password" not in said.out + said.err
