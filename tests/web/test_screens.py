"""What every screen has: headers that protect it, files that are kept; and the driver's page and link."""

import json
import re

import pytest

from server.paths import STATIC
from server.web.http.assets import asset, build
from server.web.screens.shell import content_security_policy
from tests.conftest import StartNode
from tests.web.conftest import Check, Site
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
    assert {path for path in used if path.endswith((".js", ".css"))} <= set(files)


async def test_a_link_for_a_driver_is_made_for_admins(site: Site, node: StartNode) -> None:
    dan = await site.driver("Dan <3")
    ada, alice = await logged_in(site, "Ada", "admin"), await logged_in(site, "alice", "ops")
    path = f"/board/drivers/{dan.id}/link"
    page = await ada.see(path)
    assert page.status_code == 200
    assert "Dan &lt;3" in page.text
    assert "<svg" in page.text
    assert page.headers["cache-control"] == "no-store"
    token = re.search(rf'value="{site.node.url}/driver#token=([^"]+)"', page.text)
    assert token is not None
    driver = site.anonymous({"Authorization": f"Bearer {token.group(1)}"})
    assert (await driver.get(f"/drivers/{dan.id}/state")).status_code == 200
    fragment = await ada.client.get(path, headers={"HX-Request": "true"})
    assert "<html" not in fragment.text
    assert "<svg" in fragment.text
    assert (await alice.see(path)).status_code == 403
    assert (await ada.see("/board/drivers/nobody/link")).status_code == 404
    assert (await ada.see(path + "?hours=0")).status_code == 422
    assert (await Browser(site.anonymous()).see(path)).status_code == 303
