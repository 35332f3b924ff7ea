"""Every kind of secret, used on real processes that log everything: none of it appears where others read."""

import json
import re
import secrets
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx2
import psutil
import pytest
import websockets

from server.settings import Settings
from tests.abuse.conftest import ask, request
from tests.cli.conftest import Call, Run, call, done, environment, external, logs_as_before, run, run_bare
from tests.conftest import Servers
from tests.process import Process
from tests.waiting import PATIENCE, until
from tests.web.conftest import DROPOFF, PICKUP

__all__ = ["call", "environment", "external", "logs_as_before", "run", "run_bare"]

HTML = {"Accept": "text/html"}


def with_password(url: str, password: str) -> str:
    """The same URL, with this password in it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = parts.username or "callboard"
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))


class Kept:
    """Secrets by what they are, and all that was heard where they must not be."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.heard: dict[str, str] = {}

    def new(self, name: str) -> str:
        """A secret that nothing else looks like."""
        return self.keep(name, f"s3cr3t{secrets.token_hex(16)}")

    def keep(self, name: str, secret: str) -> str:
        """Watch for this one too."""
        assert len(secret) >= 16, name
        self.secrets[name] = secret
        return secret

    def hear(self, where: str, text: str) -> None:
        """This can be read by others."""
        self.heard[where] = self.heard.get(where, "") + text

    def check(self) -> None:
        """Nothing of any secret is anywhere: nor is half of it."""
        for name, secret in self.secrets.items():
            for part in (secret, secret[len(secret) // 2 :]):
                found = [where for where, text in self.heard.items() if part in text]
                assert not found, f"{name} is in {found}"


async def used(kept: Kept, url: str, node_secret: str, metrics_token: str, first_password: str) -> None:
    """Everything that a secret can be used for, rightly and wrongly."""
    from server.web.access.tokens import mint_token

    def mint(role: Any, subject: str) -> str:
        token, _ = mint_token(node_secret, role, subject, 3600)
        return kept.keep(f"the token of {role}", token)

    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:

        async def call(method: str, path: str, *, shows: bool = False, **more: Any) -> httpx2.Response:
            answer = await client.request(method, path, **more)
            assert answer.status_code < 500 or answer.status_code == 503, answer.text
            if not shows:
                kept.hear(f"the answer to {method} {path}", answer.text)
            return answer

        admin = {"Authorization": f"Bearer {mint('admin', 'ada')}"}
        password = kept.new("a person's password")
        new = {"name": "alice", "role": "admin", "password": password}
        assert (await call("POST", "/admin/users", json=new, headers=admin)).status_code == 201
        for wrong in (kept.new("a wrong password"), kept.new("another wrong password")):
            await call("POST", "/login", data={"name": "alice", "password": wrong}, headers=HTML)
            await call("POST", "/login", json={"name": "alice", "password": wrong})
        typed = kept.new("a password typed as a name")
        await call("POST", "/login", json={"name": typed, "password": "x"})
        answer = await call("POST", "/login", json={"name": "alice", "password": password}, shows=True)
        kept.keep("a CSRF token", answer.json()["csrfToken"])
        cookie = kept.keep("the cookie of a session", client.cookies["callboard"])
        client.cookies.clear()
        session = {"Cookie": f"callboard={cookie}"}
        await call("GET", "/board", headers=HTML | session, shows=True)
        await call("POST", "/drivers", json={"name": "x"}, headers=session)
        await call(
            "POST", "/drivers", json={"name": "x"}, headers=session | {"X-CSRF-Token": kept.new("a bad CSRF token")}
        )

        made = await call("POST", "/admin/api-keys", json={"name": "roma"}, headers=admin, shows=True)
        key = made.json()["key"]
        kept.keep("an API key, beyond what is shown of it", key[len("cb_") + 8 :])
        shop = {"Authorization": f"Bearer {key}"}
        hook = await call("POST", "/admin/webhooks", json={"url": "https://shop.example/"}, headers=admin, shows=True)
        kept.keep("a webhook's secret", hook.json()["secret"].removeprefix("whsec_"))
        rotate = f"/admin/webhooks/{hook.json()['id']}/rotate-secret"
        rotated = await call("POST", rotate, headers=admin, shows=True)
        kept.keep("a webhook's new secret", rotated.json()["secret"].removeprefix("whsec_"))
        driver = await call("POST", "/drivers", json={"name": "Dan"}, headers=shop)
        dan = driver.json()["id"]
        token = await call("POST", f"/drivers/{dan}/token", headers=shop, shows=True)
        bearer = kept.keep("a driver's token", token.json()["token"])
        bound = await call(
            "POST", "/admin/api-keys", json={"name": "till", "sellerId": "roma"}, headers=admin, shows=True
        )
        kept.keep("a seller's key, beyond what is shown of it", bound.json()["key"][len("cb_") + 8 :])
        await call("GET", "/deliveries", headers={"Authorization": f"Bearer {bound.json()['key']}"})
        await on_devices(kept, call, dan, admin, shop)
        order = {"sellerOrderId": "1", "storeName": "Roma", "pickup": PICKUP, "dropoff": DROPOFF}
        delivery = (await call("POST", "/deliveries", json=order, headers=shop)).json()["id"]

        forged = kept.new("a forged token")
        for path in ("/deliveries", "/admin/users", "/board", "/nowhere", "/metrics"):
            await call("GET", path, headers={"Authorization": f"Bearer {forged}"})
            await call("GET", path, headers={"Authorization": f"Basic {forged}", "Cookie": f"callboard={forged}"})
        for path in (
            "/admin/users", "/admin/api-keys", "/admin/webhooks", f"/admin/webhooks/{hook.json()['id']}",
            f"/admin/webhooks/{hook.json()['id']}/deliveries", "/admin/policy", "/admin/notices", "/health/ready",
            "/health/live", "/openapi.json", "/asyncapi.json", "/docs", f"/deliveries/{delivery}/timeline",
            f"/drivers/{dan}/state", "/users", "/board", "/insights",
        ):  # fmt: skip
            await call("GET", path, headers=admin | {"Accept": "text/html" if path in ("/users", "/board") else "*/*"})
        assert (await call("GET", "/metrics", headers={"Authorization": f"Bearer {metrics_token}"})).status_code == 200
        kept.keep("the first password", first_password)
        await call("POST", "/login", json={"name": "admin", "password": first_password}, shows=True)

    ws = url.replace("http", "ws") + "/ws/driver"
    offered: Any = ["callboard.v1", f"bearer.{bearer}"]
    async with websockets.connect(ws, subprotocols=offered, open_timeout=PATIENCE) as connection:
        kept.hear("the first message of a socket", str(await connection.recv()))
        await connection.send(json.dumps({"type": "ping", "token": kept.new("a token in a message")}))
        kept.hear("the error of a socket", str(await connection.recv()))
    in_subprotocols: Any = ["callboard.v1", f"bearer.{forged}"]
    for more in ({"additional_headers": {"Authorization": f"Bearer {forged}"}}, {"subprotocols": in_subprotocols}):
        async with websockets.connect(ws, **more, open_timeout=PATIENCE) as connection:
            with pytest.raises(websockets.ConnectionClosed):
                await connection.recv()
    await hardly_http(kept, url, bearer)


async def on_devices(kept: Kept, call: Any, dan: str, admin: dict[str, str], shop: dict[str, str]) -> None:
    """Codes and device tokens: used, used up, used again, wrong."""
    unused = await call("POST", f"/drivers/{dan}/invitation", headers=shop, shows=True)
    kept.keep("an invitation that a newer one ended", unused.json()["code"])
    invited = await call("POST", f"/drivers/{dan}/invitation", headers=admin, shows=True)
    code = kept.keep("an invitation", invited.json()["code"])
    await call("GET", f"/board/drivers/{dan}/access", headers=admin | HTML)
    signed_in = await call("POST", "/driver/sign-in", json={"code": code}, shows=True)
    await with_many(
        kept, call, (await call("POST", "/drivers", json={"name": "Eve"}, headers=shop)).json()["id"], admin
    )
    await call("POST", "/driver/sign-in", json={"code": code})
    await call("POST", "/driver/sign-in", json={"code": kept.new("a wrong code")})
    token = kept.keep("a device's token", signed_in.json()["token"])
    first = kept.keep("a device token", signed_in.json()["deviceToken"])
    await call("GET", f"/drivers/{dan}", headers={"Authorization": f"Bearer {token}"})
    renewed = await call("POST", "/driver/renew", json={"deviceToken": first}, shows=True)
    second = kept.keep("a renewed device token", renewed.json()["deviceToken"])
    kept.keep("a renewed token", renewed.json()["token"])
    for wrong in (first, second, kept.new("a wrong device token")):
        await call("POST", "/driver/renew", json={"deviceToken": wrong})
        await call("POST", "/driver/sign-out", json={"deviceToken": wrong})
    await call("GET", f"/drivers/{dan}/devices", headers=admin)
    await call("GET", f"/board/drivers/{dan}/access", headers=admin | HTML)


async def with_many(kept: Kept, call: Any, eve: str, admin: dict[str, str]) -> None:
    """The sheet of invitations, its file, and the page before and after."""
    path = "/board/drivers/invite"
    page = await call("GET", path, headers=admin | HTML)
    hidden = dict(re.findall(r'name="(once|read_at)" value="([^"]+)"', page.text))
    sheet = await call("POST", path, data=hidden | {"driver": eve}, headers=admin | HTML, shows=True)
    found = re.search(r"#code=([\w-]+)", sheet.text)
    assert (sheet.status_code, found is not None) == (201, True), sheet.text
    code = kept.keep("an invitation on the sheet", found[1] if found else "")
    file = await call("POST", f"{path}/links.csv", data=hidden | {"driver": eve}, headers=admin | HTML, shows=True)
    assert code in file.text
    await call("GET", path, headers=admin | HTML)
    await call("GET", f"/board/drivers/{eve}/access", headers=admin | HTML)


async def hardly_http(kept: Kept, url: str, bearer: str) -> None:
    """What libraries complain of, with a token in it."""
    port = urlsplit(url).port
    assert port is not None
    node: Any = SimpleNamespace(port=port)
    for start in (
        request("GET /deliveries\x01", f"Authorization: Bearer {bearer}"),
        request("POST /deliveries", f"Authorization: Bearer {bearer}", "Content-Length: x"),
        request("GET /ws/driver", "Upgrade: websocket", "Connection: Upgrade", f"Authorization: Bearer {bearer}"),
        request("GET /deliveries", "Upgrade: h2c", "Connection: Upgrade", f"Authorization: Bearer {bearer}"),
        request(f"GET /nowhere/{bearer[:20]}", f"X: {bearer}"),
    ):
        kept.hear("an answer to what is hardly HTTP", (await ask(node, start)).body.decode())


def processes(process: Process) -> str:
    """What `ps` tells of a process and its children."""
    running = psutil.Process(process.pid)
    return "\n".join(" ".join(one.cmdline()) for one in [running, *running.children(recursive=True)])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("format_", ["json", "console"])
async def test_no_secret_is_in_any_output(
    run_bare: Run, empty_database_url: str, external: dict[str, str], format_: str
) -> None:
    """With the log at its most talkative, connections cut off under it, two workers, and doctor asked afterwards."""
    kept = Kept()
    secret, metrics_token = kept.new("the node's secret"), kept.new("the metrics token")
    settings = external | {
        "database_url": with_password(empty_database_url, kept.new("the database's password")),
        "secret": secret,
        "secret_accepted": kept.new("the other secret"),
        "metrics_token": metrics_token,
        "slack_webhook_url": f"http://127.0.0.1:9/{kept.new('the address of a chat')}",
        "log_level": "debug",
        "log_format": format_,
    }
    process = run_bare("serve", "--port", "0", "--workers", "2", **settings)
    url = await process.ready()
    first = re.search(r"with the password (\S+) \(shown only this once\)", process.err)
    assert first is not None
    await used(kept, url, secret, metrics_token, first[1])
    kept.hear("the arguments of processes", processes(process))
    connection = await asyncpg.connect(empty_database_url)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1"
    await connection.execute(cut, connection.get_server_pid())
    async with httpx2.AsyncClient(base_url=url, timeout=PATIENCE) as client:

        async def back() -> bool:
            return (await client.get("/health/ready")).status_code == 200

        await until(back)
    doctor = run_bare("doctor", **settings)
    _, out, err = await done(doctor)
    kept.hear("doctor", out + err)
    assert "database" in out
    assert await process.end() == 0
    kept.hear("the log", process.out)
    kept.hear("standard error", process.err.replace(first[1], ""))
    assert "logged_in" in process.out
    assert '"level":"warning"' in process.out or "[warning" in process.out
    kept.check()
    await nothing_is_kept_in_clear(kept, connection)
    await connection.close()


async def nothing_is_kept_in_clear(kept: Kept, connection: Any) -> None:
    """Of the database: passwords, keys, sessions and tokens are there as hashes or not at all."""
    for_signing = {"a webhook's secret", "a webhook's new secret"}
    tables = await connection.fetch("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    stored = ""
    for (table,) in tables:
        stored += str(await connection.fetch(f'SELECT to_jsonb(t)::text FROM "{table}" t'))
    assert "argon2" in stored
    assert "a webhook's secret" in kept.secrets
    for name, secret in kept.secrets.items():
        assert (secret in stored) is (name in for_signing), name


def test_what_cannot_be_reached_is_named_without_its_password(
    call: Call, external: dict[str, str], database_url: str, servers: Servers
) -> None:
    """Of whatever fails at start: the reason, the place, no password; and no traceback that would show locals."""
    kept = Kept()
    password = kept.new("a password")
    kept.keep("a short secret", password[:20])
    wrong: dict[str, dict[str, str]] = {
        "no database": {"database_url": f"postgresql://callboard:{password}@127.0.0.1:9/callboard"},
        "no such database": {"database_url": with_password(servers.database("nowhere"), password)},
        "no URL": {"database_url": f"mysql://callboard:{password}@127.0.0.1/x"},
        "a broken URL": {"database_url": f"postgresql://callboard:{password}@[::1/x"},
        "a port that is no number": {"database_url": f"postgresql://callboard:{password}@127.0.0.1:x/x"},
        "no Redis": {"redis_url": f"redis://:{password}@127.0.0.1:9/0"},
        "no URL of Redis": {"redis_url": f"http://:{password}@127.0.0.1:9/0"},
        "a Redis whose port is no number": {"redis_url": f"redis://:{password}@127.0.0.1:x/0"},
        "a short secret": {"secret": password[:20]},
        "a chat of no kind": {"slack_webhook_url": f"ftp://chat.example/{password}"},
    }
    for why, settings in wrong.items():
        for command in ("doctor", "migrate"):
            code, out, err = call(command, **(external | {"database_url": database_url} | settings))
            assert code != 0 or command == "migrate", (why, out, err)
            kept.hear(f"{command} with {why}", out + err)
            assert "Traceback" not in out + err, (why, out, err)
    kept.check()


def test_secrets_are_no_part_of_what_settings_look_like(tmp_path: Path) -> None:
    """They may end up in an assertion or a traceback."""
    secret = "s3cr3t" * 8
    settings = Settings(
        database_url=f"postgresql://a:{secret}@b/c",
        redis_url=f"redis://:{secret}@b",
        secret=secret,
        secret_accepted=secret,
        metrics_token=secret,
        slack_webhook_url=f"https://chat.example/{secret}",
        data=tmp_path,
    )
    assert "s3cr3t" not in repr(settings) + str(settings)
    with pytest.raises(ValueError, match="port") as wrong:
        Settings(database_url=f"x{secret}", secret=secret, port=-1)
    assert "s3cr3t" not in str(wrong.value)
