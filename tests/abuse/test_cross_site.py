"""What other sites' pages can make a person's browser do: nothing; and what a page of ours gives away: nothing."""

from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx2
import pytest
import websockets
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from server.web.access import login_limits
from server.web.screens.shell import local_path
from tests.abuse.conftest import THOROUGHNESS, ask, handlers, request
from tests.conftest import StartNode
from tests.waiting import PATIENCE
from tests.web.conftest import Check, Site, token
from tests.web.people import HTML, PASSWORD, Browser, add, json_login, logged_in

EVIL = "https://evil.example"
FORM = {"content-type": "application/x-www-form-urlencoded"}


# Requests that another site's page sends


async def test_another_site_cannot_log_anybody_in(site: Site, problem: Check) -> None:
    """Else a victim would work in the attacker's session. There is no CSRF token yet, so the origin has to do."""
    await add(site.node, "Ada", "admin")
    for sent_from in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site", "Origin": site.node.url},
    ):
        form = await site.nobody.post("/login", data={"name": "Ada", "password": PASSWORD}, headers=sent_from)
        problem(form, 403, "forbidden")
        by_json = await site.nobody.post("/login", json={"name": "Ada", "password": PASSWORD}, headers=sent_from)
        problem(by_json, 403, "forbidden")
        assert not {"set-cookie"} & {*form.headers, *by_json.headers}


async def test_a_page_of_ours_and_a_program_may_log_in(site: Site) -> None:
    await add(site.node, "Ada", "admin")
    for good in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": site.node.url}, {}):
        answer = await site.nobody.post("/login", data={"name": "Ada", "password": PASSWORD}, headers=HTML | good)
        assert answer.status_code == 303, good


async def test_the_cookie_alone_changes_nothing(site: Site, problem: Check) -> None:
    """What a form or a script of another site can send: simple requests of every kind, with the cookie."""
    ada = await logged_in(site, "Ada", "admin")
    bodies: list[dict[str, Any]] = [
        {"data": {"name": "Eve", "role": "admin", "password": PASSWORD, "csrf_token": ""}},
        {"content": b'{"name":"Eve","role":"admin","password":"12345678"}', "headers": {"content-type": "text/plain"}},
        {"content": b'{"name":"Eve","role":"admin","password":"12345678"}'},
        {"files": {"name": b"Eve"}},
    ]
    for path in ("/users", "/admin/users", "/drivers", "/admin/webhooks", "/logout"):
        for body in bodies:
            problem(await ada.client.post(path, **body), 403, "csrf_failed")
    assert (await ada.see("/users")).status_code == 200
    assert (await site.ada.get("/drivers")).json()["items"] == []


async def test_a_csrf_token_is_of_one_session(site: Site, problem: Check) -> None:
    """Not of the person: not of their other session, nor of the one before; nor is a cookie's value one."""
    ada = await logged_in(site, "Ada", "admin")
    mine = await ada.csrf_token()
    elsewhere = Browser(site.anonymous())
    await elsewhere.log_in("Ada")
    for bad in (await elsewhere.csrf_token(), ada.cookie, mine.upper(), mine + " ", f"{mine}.{mine}", "." + mine):
        headers = {"X-CSRF-Token": bad.strip() if bad.endswith(" ") and bad.strip() != mine else bad}
        if headers["X-CSRF-Token"].strip() == mine:
            continue
        problem(await ada.client.post("/drivers", json={"name": "Dan"}, headers=headers), 403, "csrf_failed")
    await ada.log_in("Ada")
    stale = await ada.client.post("/drivers", json={"name": "Dan"}, headers={"X-CSRF-Token": mine})
    problem(stale, 403, "csrf_failed")
    query = await ada.client.post(f"/drivers?csrf_token={await ada.csrf_token()}", json={"name": "Dan"})
    problem(query, 403, "csrf_failed")


async def test_reading_changes_nothing(site: Site) -> None:
    """No GET may: it needs no CSRF token."""
    ada = await logged_in(site, "Ada", "admin")
    dan = await site.driver(at_work=True)
    delivery, _ = await site.assignment(dan)
    pool: Any = site.node.app.state.node.database.pool
    counts = "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM users), (SELECT count(*) FROM sessions)"
    before = tuple(await pool.fetchrow(counts))
    for method, path, _ in handlers(site):
        if method != "GET" or path == "/board/stream":
            continue
        for known in (dan.id, delivery["id"]):
            query = "?force=1&reason=x&availability=offline&action=cancel&everywhere=1&driverId=x"
            answer = await ada.client.get(path.replace("{}", known) + query, headers=HTML)
            assert answer.status_code < 500, path
    assert tuple(await pool.fetchrow(counts)) == before


async def test_no_other_site_may_read_an_answer(site: Site) -> None:
    """No CORS header anywhere for any origin; and a preflight gets no permission."""
    ada = await logged_in(site, "Ada", "admin")
    asks = {"Origin": EVIL, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-csrf-token"}
    for method, path, _ in handlers(site):
        if path == "/board/stream":
            async with ada.client.stream("GET", path, headers=asks) as stream:
                answers = [stream]
        else:
            address = path.replace("{}", "x")
            answers = [await ada.client.request(one, address, headers=asks) for one in (method, "OPTIONS")]
        for answer in answers:
            assert not [name for name in answer.headers if name.startswith("access-control-")], (method, path)


async def test_a_stream_of_the_board_needs_the_cookie_which_other_sites_do_not_send(site: Site, problem: Check) -> None:
    """Of SameSite=Lax, and never from another site for anything but going to a page."""
    cookie = (await logged_in(site, "Ada", "admin")).client.cookies
    assert cookie
    problem(await site.nobody.get("/board/stream", headers={"Origin": EVIL}), 401, "unauthorized")


async def test_a_socket_from_another_sites_page_has_no_token(site: Site) -> None:
    """Browsers send cookies with sockets from anywhere; a cookie has no effect there, whatever its origin."""
    ada = await logged_in(site, "Ada", "admin")
    dan = await site.driver()
    for origin in (EVIL, "null", site.node.url):
        headers = {"Origin": origin, "Cookie": f"callboard={ada.cookie}"}
        connection = await websockets.connect(
            f"{site.node.ws_url}/ws/driver", additional_headers=headers, open_timeout=PATIENCE
        )
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 4101
    offered: Any = ["callboard.v1", f"bearer.{token('driver', dan.id)}"]
    async with websockets.connect(
        f"{site.node.ws_url}/ws/driver", subprotocols=offered, open_timeout=PATIENCE
    ) as connection:
        assert connection.subprotocol == "callboard.v1", "the token is not said back"


# Cookies


async def test_cookies_are_the_servers_alone(site: Site, node: StartNode) -> None:
    """HttpOnly, SameSite, no domain; behind TLS Secure and with a name that no other host can set."""
    await add(site.node, "Ada", "admin")
    trusting = Site(await node(secure_cookies=True))
    tls = {"X-Forwarded-Proto": "https"}
    names: list[str] = []
    for asked, headers, secure in (
        (site, {}, False),
        (site, tls, True),
        (trusting, {}, True),
        (trusting, {"X-Forwarded-Proto": "http"}, True),
    ):
        client = asked.anonymous(HTML | headers)
        answers = [await client.post("/login", data={"name": "Ada", "password": PASSWORD})]
        cookie = answers[0].headers["set-cookie"].partition(";")[0]
        client.headers["Cookie"] = cookie
        page = await client.get("/users")
        assert page.status_code == 200
        csrf = page.text.partition('name="csrf-token" content="')[2].partition('"')[0]
        names.append(cookie)
        new = {"csrf_token": csrf, "name": f"eve{len(names)}", "role": "viewer", "password": PASSWORD}
        answers.append(await client.post("/users", data=new))
        answers.append(await client.post("/logout", data={"csrf_token": csrf}))
        for answer in answers:
            set_cookies = answer.headers.get_list("set-cookie")
            assert set_cookies, answer.text
            for one in set_cookies:
                attributes = {part.strip().lower() for part in one.split(";")[1:]}
                assert "httponly" in attributes, one
                assert attributes & {"samesite=lax", "samesite=strict"}, one
                assert "path=/" in attributes, one
                assert not [part for part in attributes if part.startswith("domain")], one
                assert ("secure" in attributes) is secure, one
        assert cookie.startswith("__Host-callboard=" if secure else "callboard=")
    await trusting.close()


async def test_only_a_proxy_that_is_trusted_may_say_that_there_is_tls_or_who_calls(
    site: Site, node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_limits, "ADDRESS_TRIES", 4)
    strange = Site(await node(trusted_proxies="10.0.0.1"))
    await add(site.node, "Ada", "admin")
    lies = HTML | {"X-Forwarded-Proto": "https", "X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6;proto=https"}
    answer = await strange.anonymous().post("/login", data={"name": "Ada", "password": PASSWORD}, headers=lies)
    assert answer.status_code == 303
    assert "secure" not in answer.headers["set-cookie"].lower()
    statuses = []
    for at in range(6):
        lies["X-Forwarded-For"] = f"6.6.6.{at}"
        wrong = {"name": f"nobody{at}", "password": "wrong"}
        statuses.append((await strange.nobody.post("/login", data=wrong, headers=lies)).status_code)
    assert statuses[-1] == 429, "one address, whatever it says"
    await strange.close()


async def test_a_session_is_a_new_one_after_the_login(site: Site) -> None:
    """A cookie that somebody put there before is neither taken over nor left alive."""
    await add(site.node, "Ada", "admin")
    fixed = site.anonymous({"Cookie": "callboard=attacker-knows-this"})
    answer = await fixed.post("/login", data={"name": "Ada", "password": PASSWORD}, headers=HTML)
    assert "attacker-knows-this" not in answer.headers["set-cookie"]
    assert (await fixed.get("/drivers")).status_code == 401
    eve = await logged_in(site, "Eve", "viewer")
    mine = eve.cookie
    await eve.log_in("Ada")
    assert (await site.anonymous({"Cookie": f"callboard={mine}"}).get("/drivers")).status_code == 401


# Where redirects lead


ELSEWHERE = (
    "https://evil.example", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example",
    "/\\/evil.example", "https:evil.example", "http:/evil.example", "javascript:alert(1)", "data:text/html,x",
    "/\t/evil.example", "\t//evil.example", " //evil.example", "/%09/evil.example", "//evil.example@x",
    "/\n/evil.example", "/\r\nX: y", "/board\r\nSet-Cookie: a=b", "evil.example", "@evil.example", ".evil.example",
    "/.//evil.example", "/..//evil.example", "/login?next=//evil.example", "/logout", "//[::1",
    "/\u2215/evil.example", "/\x00/evil.example", "", "?", "#", "/" + "a" * 3000,
)  # fmt: skip


def leads_to(location: str) -> str:
    """The host a browser goes to: it drops tabs and line ends, and takes backslashes for slashes."""
    cleaned = "".join(one for one in location if one not in "\t\r\n").strip("\x00 ").replace("\\", "/")
    return urlsplit(urljoin("http://board.example/login", cleaned)).netloc


async def test_a_login_leads_to_no_other_site(site: Site) -> None:
    """Nor does the login's address, for somebody who is logged in already."""
    ada = await logged_in(site, "Ada", "admin")
    stranger = Browser(site.anonymous())
    for number, wanted in enumerate(ELSEWHERE):
        path = f"/login?next={quote(wanted)}"
        assert (await stranger.see(path)).status_code == 200
        answers = [await ada.see(path)]
        if number % 4 == 0:  # a password is made to take its time
            answers.append(await Browser(site.anonymous()).log_in("Ada", next=wanted))
        for answer in answers:
            assert answer.status_code == 303, answer.text
            location = answer.headers["location"]
            assert leads_to(location) == "board.example", location
            assert location.startswith("/")
            assert "a" not in answer.cookies


PIECES = [*"/\\\t\n\r .:@?#%&;[]", "http", "evil.example", "%2f", "%5c", "\u2028"]


@seed(20_260_201)
@settings(max_examples=500 * THOROUGHNESS, database=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.lists(
            st.sampled_from([*"/\\\t\n\r .:@?#%&;", "http", "evil.example", "%2f", "%5c", "\u2028", "[", "]"]),
            max_size=10,
        ).map("".join),
    )
)
def test_a_local_path_is_local(text: str) -> None:
    path = local_path(text, "/board")
    assert path.startswith("/")
    assert leads_to(path) == "board.example"
    assert path.isprintable()
    assert path.isascii()


async def test_no_redirect_is_made_from_the_host_that_was_asked_for(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    for path in ("/", "/users", "/board", "/users/", "//evil.example", "/login/"):
        for cookie in (f"Cookie: callboard={ada.cookie}", "X: y"):
            start = request(f"GET {path}", cookie, "Accept: text/html", "X-Forwarded-Host: evil.example")
            answer = await ask(site.node, start.replace(b"Host: x", b"Host: evil.example"))
            assert answer.headers.get("location", "/").startswith("/"), path
            assert not answer.headers.get("location", "/").startswith("//"), path
            assert b"evil.example" not in answer.body or path == "//evil.example", path


# Pages


async def pages(site: Site, browser: Browser, *ids: str) -> dict[str, httpx2.Response]:
    """Every page somebody can be shown, errors among them."""
    shown = {}
    for method, path, _ in handlers(site):
        if method != "GET" or path in ("/board/stream", "/metrics") or path.startswith("/static"):
            continue
        for known in ids if "{}" in path else ids[:1]:
            shown[f"{path} {known}"] = await browser.client.get(path.replace("{}", known), headers=HTML)
    return shown


async def test_every_page_is_framed_by_nobody_runs_only_our_scripts_and_is_kept_by_nobody(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    alice = await logged_in(site, "Alice", "viewer")
    dan = await site.driver(at_work=True)
    delivery, _ = await site.assignment(dan)
    seen = 0
    for browser in (ada, alice, Browser(site.anonymous())):
        for name, answer in (await pages(site, browser, dan.id, delivery["id"])).items():
            assert answer.status_code < 500, name
            kept = answer.headers.get("cache-control", "")
            if name.split()[0] not in ("/driver", "/driver/sw.js", "/driver/manifest.webmanifest", "/docs") and (
                not name.startswith(("/openapi", "/asyncapi"))
            ):
                assert kept.startswith("no-store"), (name, kept)
            if not answer.headers.get("content-type", "").startswith("text/html"):
                continue
            seen += 1
            policy = dict(
                part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";")
            )
            assert policy["default-src"] == "'none'", name
            assert policy["script-src"] == "'self'", name
            assert policy["style-src"] == "'self'", name
            assert policy["frame-ancestors"] == policy["base-uri"] == "'none'", name
            assert policy["form-action"] in ("'self'", "'none'"), name
            assert answer.headers["x-frame-options"] == "DENY", name
            assert answer.headers["x-content-type-options"] == "nosniff", name
            assert answer.headers["referrer-policy"] in ("same-origin", "no-referrer"), name
            assert answer.headers["cross-origin-opener-policy"] == "same-origin", name
    assert seen > 40


async def test_what_the_api_tells_is_kept_by_nobody(site: Site) -> None:
    await add(site.node, "Ada", "admin")
    client = site.anonymous()
    answer = await client.post("/login", json={"name": "Ada", "password": PASSWORD})
    assert answer.headers["cache-control"] == "no-store"
    await json_login(client, "Ada")
    for path in ("/drivers", "/deliveries", "/admin/users", "/admin/policy", "/admin/stats", "/health/ready"):
        for asked in (client, site.nobody):
            assert (await asked.get(path)).headers["cache-control"] == "no-store", path
