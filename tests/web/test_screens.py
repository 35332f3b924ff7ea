"""What every screen has: headers that protect it, files that are kept; and the driver's page and link."""

import json
import re

import pytest

from server.paths import STATIC
from server.web.http.assets import asset, build
from server.web.screens.shell import content_security_policy
from tests.web.conftest import Check, Site
from tests.web.html_tree import parse
from tests.web.people import HTML, Browser, logged_in

PAGES = ("/login", "/users", "/board", "/insights", "/policy", "/driver", "/users/nobody", "/nowhere", "/docs")


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_protected(site: Site, path: str) -> None:
    browser = await logged_in(site, "Ada", "admin")
    page = await browser.client.get(path, headers=HTML, follow_redirects=path != "/login")
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] in ("same-origin", "no-referrer")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page.text)


def test_only_the_tile_server_of_the_settings_may_send_pictures() -> None:
    assert "img-src 'self';" in content_security_policy()
    policy = content_security_policy("https://{s}.tiles.example:8443/{z}/{x}/{y}.png?key=1")
    assert "img-src 'self' data: https://*.tiles.example:8443;" in policy


async def test_files_are_kept_for_ever_under_the_address_of_their_build(site: Site) -> None:
    client = site.nobody
    kept = await client.get(asset("app.css"))
    assert kept.status_code == 200
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert kept.headers["content-type"] == "text/css; charset=utf-8"
    assert kept.headers["content-encoding"] == "gzip"
    for path in ("/static/app.css", "/static/b-000000000000/app.css"):
        asked = await client.get(path)
        assert (asked.status_code, asked.headers["cache-control"]) == (200, "no-cache")
        assert asked.content == kept.content
        again = await client.get(path, headers={"If-None-Match": asked.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    plain = await client.get("/static/app.css", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == kept.content
    head = await client.head("/static/app.css")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    "path",
    ["/", "/nothing.css", "/driver", "/..%2fpyproject.toml", "/%2e%2e/pyproject.toml", "/b-x/../../README.md", "/%00"],
)
async def test_nothing_else_is_a_file(site: Site, problem: Check, path: str) -> None:
    problem(await site.nobody.get(f"/static{path}"), 404, "not_found")


async def test_the_driver_page_can_be_installed_and_knows_its_files(site: Site) -> None:
    page = (await site.nobody.get("/driver", headers=HTML)).text
    used = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    worker = await site.nobody.get("/driver/sw.js")
    assert worker.headers["service-worker-allowed"] == "/driver"
    assert f'const BUILD = "{build()}"' in worker.text
    files = json.loads(worker.text.partition("const FILES = ")[2].partition(";\n")[0])
    manifest = (await site.nobody.get("/driver/manifest.webmanifest")).json()
    assert (manifest["start_url"], manifest["display"]) == ("/driver", "standalone")
    icons = [icon["src"] for icon in manifest["icons"]]
    for path in {*used, *files, *icons}:
        assert (await site.nobody.get(path)).status_code == 200, path
    modules = {asset(f"driver/{path.name}") for path in (STATIC / "driver").iterdir() if path.name != "sw.js"}
    assert modules <= set(files)
    for script in (STATIC / "driver").glob("*.js"):
        for imported in re.findall(r'^import .* from "(\.[^"]+)";$', script.read_text(), re.MULTILINE):
            found = (script.parent / imported).resolve().relative_to(STATIC.resolve())
            assert asset(found.as_posix()) in files, f"{script.name} imports {imported}"
    assert {path for path in used if path.endswith((".js", ".css"))} <= set(files)


async def test_a_driver_is_invited_on_a_screen_that_shows_the_link_once(site: Site) -> None:
    dan = await site.driver("Dan <3")
    alice, vic = await logged_in(site, "alice", "ops"), await logged_in(site, "vic", "viewer")
    path = f"/board/drivers/{dan.id}/access"
    page = await alice.see(path)
    assert page.status_code == 200
    assert "has not signed in on any device yet" in page.text
    shown = await alice.send(path, do="invite")
    assert shown.status_code == 201
    assert "Dan &lt;3" in shown.text
    assert "<svg" in shown.text
    assert shown.headers["cache-control"] == "no-store"
    code = re.search(rf'value="{site.node.url}/driver#code=([^"]+)"', shown.text)
    assert code is not None
    again = await alice.see(path)
    assert code[1] not in again.text
    assert "There is an invitation by alice, valid until" in again.text
    signed_in = await site.nobody.post("/driver/sign-in", json={"code": code[1], "name": "Pixel <8>"})
    driver = site.anonymous({"Authorization": f"Bearer {signed_in.json()['token']}"})
    assert (await driver.get(f"/drivers/{dan.id}/state")).status_code == 200
    seen = await vic.see(path)
    assert "Pixel &lt;8&gt;" in seen.text
    assert "<button" not in seen.text.partition("<main")[2]
    assert (await Browser(site.anonymous()).see(path)).status_code == 303
    assert (await alice.see("/board/drivers/nobody/access")).status_code == 404


async def test_a_driver_is_signed_out_deactivated_and_reactivated_on_the_screen(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    ada, alice = await logged_in(site, "Ada", "admin"), await logged_in(site, "alice", "ops")
    path = f"/board/drivers/{dan.id}"
    for name in ("old phone", "third phone", "new phone"):
        invited = (await site.alice.post(f"/drivers/{dan.id}/invitation")).json()
        await site.nobody.post("/driver/sign-in", json={"code": invited["code"], "name": name})
    new, third, old = (await site.alice.get(f"/drivers/{dan.id}/devices")).json()["items"]
    out = await alice.send(f"{path}/access", do="sign-out", device=old["id"])
    assert (out.status_code, out.headers["location"]) == (303, f"{path}/access")
    seen = (await alice.see(f"{path}/access")).text
    assert "Dan is signed out on that device." in seen
    assert "by alice" in seen
    assert f'value="{new["id"]}"' in seen
    assert f'value="{old["id"]}"' not in seen
    for fields, status, words in (
        ({"do": "sign-out", "device": "x"}, 422, "Choose a device."),
        ({"do": "sign-out"}, 422, "Choose a device."),
        ({"do": "anything"}, 422, "Choose what to do."),
        ({}, 422, "Choose what to do."),
    ):
        answer = await alice.send(f"{path}/access", **fields)
        assert (answer.status_code, words in answer.text) == (status, True), fields
    assert (await alice.send(f"{path}/access", do="sign-out", device=dan.id)).status_code == 404

    assert (await alice.send(f"{path}/active", do="deactivate")).status_code == 403
    delivery, assignment = await site.assignment(dan)
    busy = await ada.send(f"{path}/active", do="deactivate")
    assert busy.status_code == 409
    assert 'role="alert"' in busy.text
    order = f"{delivery['storeName']} {delivery['sellerOrderId']}"
    theirs = f"Still theirs: {order}. Reassign it, or invite the driver again."
    forms = parse((await alice.see(f"{path}/access")).text).every("form")
    asked = [form["data-confirm"] for form in forms if form.every("input", value="sign-out")]
    assert asked[1] == f"Dan will be signed out on third phone at once. {theirs}"
    assert (await alice.send(f"{path}/access", do="sign-out", device=third["id"])).status_code == 303
    assert f"Dan is signed out on that device. {theirs}" in (await alice.see(f"{path}/access")).text
    assert (await dan.post(f"/assignments/{assignment['id']}/complete")).status_code == 200
    assert (await ada.send(f"{path}/active", do="deactivate")).status_code == 303
    gone = (await ada.see(f"{path}/access")).text
    assert "Dan is deactivated and signed out everywhere." in gone
    assert "driver deactivated" in gone
    assert "cannot be invited" in gone
    assert (await dan.get()).status_code == 401
    refused = await ada.send(f"{path}/access", do="invite")
    assert refused.status_code == 409
    assert "This driver is deactivated." in refused.text
    assert (await ada.send(f"{path}/active", do="reactivate")).status_code == 303
    assert (await dan.get()).status_code == 200
    assert (await ada.send(f"{path}/active", do="x")).status_code == 422
