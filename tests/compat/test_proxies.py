"""The proxies of docs/deployment.md with the configurations of that page, in front of a node under a path."""

import asyncio
import json
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
import websockets

from server.ids import new_id
from server.paths import ROOT
from server.web.access.users import add_person
from tests.compat.certificate import certificate
from tests.compat.programs import find, free_port, needs, running, until_open
from tests.conftest import StartNode, short_folder
from tests.waiting import PATIENCE, until
from tests.web.conftest import Site, token

PATH: Final = "/dispatch"
PASSWORD: Final = "correct horse battery"
DOCUMENT: Final = ROOT / "docs" / "deployment.md"
UPLOAD_BYTES: Final = 4 * 2**20


def documented(kind: str) -> str:
    """The configuration in the document, as it is there."""
    [found] = re.findall(rf"```{kind}\n(.+?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(found)


def with_nodes(text: str, node: int) -> str:
    return re.sub(r"127\.0\.0\.1:800[12]", f"127.0.0.1:{node}", text)


def haproxy(folder: Path, port: int, node: int) -> list[str]:
    text = with_nodes(documented("haproxy"), node)
    text = text.replace("bind :443 ssl crt /etc/haproxy/board.pem", f"bind 127.0.0.1:{port} ssl crt {folder}/board.pem")
    (folder / "haproxy.cfg").write_text(text.replace("maxconn 20000", "maxconn 200"))
    return ["-f", "haproxy.cfg"]


def nginx(folder: Path, port: int, node: int) -> list[str]:
    text = with_nodes(documented("nginx"), node)
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;").replace("/etc/nginx/", f"{folder}/")
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    head = f"daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{ worker_connections 200; }}\n"
    (folder / "nginx.conf").write_text(f"{head}http {{\naccess_log off;\n{temporary}{text}\n}}\n")
    return ["-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", "stderr"]


def caddy(folder: Path, port: int, node: int) -> list[str]:
    text = with_nodes(documented("caddyfile"), node)
    tls = f"https://127.0.0.1:{port} {{\n    tls {folder}/board.pem {folder}/board.key\n"
    text = text.replace("board.example {\n", tls, 1)
    options = f"{{\n    admin off\n    auto_https disable_redirects\n    storage file_system {folder}\n}}\n"
    (folder / "Caddyfile").write_text(options + text)
    return ["run", "--config", "Caddyfile", "--adapter", "caddyfile"]


PROXIES: Final[dict[str, Callable[[Path, int, int], list[str]]]] = {"haproxy": haproxy, "nginx": nginx, "caddy": caddy}


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in PROXIES])
async def test_a_documented_proxy(node: StartNode, name: str) -> None:
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    site = Site(await node(public_url=f"{url}{PATH}"))
    await add_person(site.node.app.state.node.database.pool, "Ada", "admin", PASSWORD)
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    program = find(name)
    assert program is not None
    with short_folder() as folder:
        certificate(folder)
        arguments = PROXIES[name](folder, port, site.node.port)
        async with httpx2.AsyncClient(base_url=url + PATH, verify=trust, timeout=30) as ada:
            with running(folder, program, *arguments) as process:
                await until_open(port, process, folder)
                await until(lambda: answers(ada))
                await check_login(ada)
                await check_metrics_are_hidden(ada, url)
                await check_upload(site, ada)
                await check_stream_and_socket(site, ada, url, trust)
                orders = asyncio.create_task(order_until_done(site, ada, 20))
                process.terminate()
                await asyncio.to_thread(process.wait)
            with running(folder, program, *arguments) as process:
                await until_open(port, process, folder)
                assert await orders == 20
                await check_stream_and_socket(site, ada, url, trust)
    await site.close()


async def answers(ada: httpx2.AsyncClient) -> bool:
    try:
        return (await ada.get("/health/ready")).status_code == 200
    except httpx2.TransportError:
        return False


async def check_login(ada: httpx2.AsyncClient) -> None:
    asked = await ada.get("/board", headers={"Accept": "text/html"})
    assert (asked.status_code, asked.headers["location"].startswith(f"{PATH}/login?next=")) == (303, True)
    done = await ada.post("/login", data={"name": "Ada", "password": PASSWORD}, headers={"Accept": "text/html"})
    assert (done.status_code, done.headers["location"]) == (303, f"{PATH}/board")
    [cookie] = [one for one in done.headers.get_list("set-cookie") if one.startswith("__Secure-callboard=")]
    assert f"Path={PATH};" in cookie
    assert "Secure" in cookie


async def check_metrics_are_hidden(ada: httpx2.AsyncClient, url: str) -> None:
    for address in (f"{url}/metrics", f"{url}{PATH}/metrics"):
        assert (await ada.get(address)).status_code in (403, 404), address


async def check_upload(site: Site, ada: httpx2.AsyncClient) -> None:
    """A file of some megabytes."""
    body = b"name\nDan\n" + b"\n" * UPLOAD_BYTES
    headers = {"Authorization": f"Bearer {token('service', 'shop')}", "Content-Type": "text/csv"}
    done = await ada.post("/imports/drivers?dryRun=1", content=body, headers=headers)
    assert done.status_code == 200, done.text[:200]
    assert [row["ok"] for row in done.json()["rows"]] == [True]


async def check_stream_and_socket(site: Site, ada: httpx2.AsyncClient, url: str, trust: ssl.SSLContext) -> None:
    """An order is on the board and on the phone while both connections are open."""
    zone = new_id()  # for this driver only
    driver = await site.driver(zone=zone)
    bearer = {"Authorization": f"Bearer {token('driver', driver.id)}"}
    socket = f"{url.replace('https', 'wss')}{PATH}/ws/driver"
    async with (
        ada.stream("GET", "/board/stream") as stream,
        websockets.connect(socket, additional_headers=bearer, ssl=trust, open_timeout=PATIENCE) as phone,
    ):
        assert stream.status_code == 200, (await stream.aread())[:200]
        assert json.loads(await phone.recv())["type"] == "hello"
        await phone.send(json.dumps({"type": "location", "id": "1", "lat": 52.52, "lon": 13.404}))
        delivery = await site.delivery(zone=zone)
        async with asyncio.timeout(PATIENCE):
            await heard(phone, delivery["id"])
            async for line in stream.aiter_lines():
                if delivery["id"] in line:
                    break


async def heard(phone: Any, delivery_id: str) -> None:
    async for frame in phone:
        message = json.loads(frame)
        if message["type"] == "offer" and message["offer"]["deliveryId"] == delivery_id:
            return


async def order_until_done(site: Site, ada: httpx2.AsyncClient, number: int) -> int:
    """How many different orders exist, each sent again until it was answered."""
    headers = {"Authorization": f"Bearer {token('service', 'shop')}"}
    ids = set()
    for _ in range(number):
        order = site.order(zone="elsewhere")

        async def sent(order: dict[str, Any] = order) -> Any:
            try:
                made = await ada.post("/deliveries", json=order, headers=headers)
            except httpx2.TransportError:
                return None
            return made.json()["id"] if made.status_code in (200, 201) else None

        ids.add(await until(sent))
    return len(ids)
