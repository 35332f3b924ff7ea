"""Health, metrics, documents."""

import asyncio
import re
from typing import Any

import pytest
from litestar.routes import HTTPRoute

from server.paths import STATIC
from server.web.api import system
from tests.conftest import StartNode
from tests.waiting import PATIENCE, until
from tests.web.conftest import Check, Site


async def test_a_node_is_ready_once_somebody_dispatches(site: Site) -> None:
    assert (await site.nobody.get("/health/live")).json() == {"status": "ok"}

    async def ok() -> Any:
        ready = await site.nobody.get("/health/ready")
        assert ready.status_code == 200
        return ready.json() == {"status": "ok", "components": {"database": "up", "redis": "up", "dispatcher": "up"}}

    await until(ok)


async def test_without_redis_a_node_is_degraded_but_ready(node: StartNode) -> None:
    site = Site(await node(redis_url="redis://127.0.0.1:1/0"))
    ready = await site.nobody.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["components"]["redis"] == "down"
    await site.close()


async def test_a_node_whose_database_does_not_answer_says_so_in_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as late as a read may be: who balances the load does not wait for that."""

    async def hangs(*_: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(system, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(system, "lease_state", hangs)
    ready = await asyncio.wait_for(site.nobody.get("/health/ready"), PATIENCE / 2)
    assert (ready.status_code, ready.json()["components"]["database"]) == (503, "down")


async def test_requests_are_counted_by_route_not_by_address(site: Site) -> None:
    delivery = await site.delivery()
    for _ in range(3):
        await site.vic.get(f"/deliveries/{delivery['id']}")
    await site.vic.get("/deliveries/nothing")
    text = (await site.nobody.get("/metrics")).text
    assert delivery["id"] not in text
    counted = re.findall(r"callboard_http_requests_total\{(.+)\} (\S+)", text)
    path = 'app_name="callboard",method="GET",path="/deliveries/{delivery_id}",status_code='
    counts = {labels: float(value) for labels, value in counted}
    assert counts[path + '"200"'] >= 3
    assert counts[path + '"404"'] >= 1
    assert "callboard_batch_size_bucket" in text


async def test_metrics_want_their_token_if_there_is_one(node: StartNode, problem: Check) -> None:
    site = Site(await node(metrics_token="m3"))
    problem(await site.nobody.get("/metrics"), 401, "unauthorized")
    problem(await site.ada.get("/metrics"), 401, "unauthorized")
    scraper = site.anonymous({"Authorization": "Bearer m3"})
    assert (await scraper.get("/metrics")).status_code == 200
    await site.close()


async def test_the_openapi_document_tells_of_every_endpoint(site: Site) -> None:
    answer = await site.nobody.get("/openapi.json")
    assert answer.status_code == 200
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    paths = document["paths"].items()
    shown = {(method.upper(), re.sub(r"\{\w+\}", "{}", path)) for path, item in paths for method in item}
    roots = ("/deliveries", "/drivers", "/driver/renew", "/driver/sign-", "/imports", "/admin", "/health")
    pages = {"/admin/orders/{}", "/admin/unassigned-orders/{}"}
    there = {
        (method, path)
        for route in site.node.app.routes
        if isinstance(route, HTTPRoute) and route.path.startswith(roots)
        for handler in route.route_handlers
        for method in handler.http_methods
        if (path := re.sub(r"\{[^}]+\}", "{}", route.path)) not in pages and method != "OPTIONS"
    }
    assert shown == there
    refs = set(re.findall(r'"\$ref":"#/components/(\w+)/(\w+)"', answer.text))
    for kind, name in refs:
        assert name in document["components"][kind]


async def test_the_documents_bounds_are_the_decoders(site: Site) -> None:
    schemas = (await site.nobody.get("/openapi.json")).json()["components"]["schemas"]
    new = schemas["NewDelivery"]
    assert new["additionalProperties"] is False
    assert set(new["required"]) == {"sellerOrderId", "storeName", "pickup", "dropoff"}
    seconds = {"type": "integer", "minimum": 0, "maximum": 86_400}
    assert new["properties"]["prepSeconds"] == {"anyOf": [seconds, {"type": "null"}], "default": None}
    fields = schemas["Policy"]["properties"]
    assert set(fields) - set(schemas["Policy"]["required"]) == {"watch", "planning", "maxTripKm", "language"}
    assert schemas["WatchPolicy"]["required"] == list(schemas["WatchPolicy"]["properties"])
    assert schemas["AlertPolicy"]["required"] == list(schemas["AlertPolicy"]["properties"])


async def test_the_asyncapi_document_tells_of_every_message(site: Site) -> None:
    document = (await site.nobody.get("/asyncapi.json")).json()
    assert document["asyncapi"].startswith("3.")
    assert document["channels"]["driver"]["address"] == "/ws/driver"
    heard = {ref["$ref"].rsplit("/", 1)[1] for ref in document["operations"]["fromDriver"]["messages"]}
    said = {ref["$ref"].rsplit("/", 1)[1] for ref in document["operations"]["toDriver"]["messages"]}
    assert heard == {
        "accept", "reject", "received", "location", "picked_up", "completed", "take_break", "end_shift", "pause",
        "resume", "ping", "arrived", "release", "failed", "seen", "say",
    }  # fmt: skip
    assert said == {
        "hello", "offer", "offer_closed", "assignment", "run", "availability", "message", "ack", "error", "pong",
        "goodbye",
    }  # fmt: skip
    for message in document["components"]["messages"].values():
        assert message["payload"]["$ref"].rsplit("/", 1)[1] in document["components"]["schemas"]
    closes = re.findall(r"^- (\d+): (.+)$", document["info"]["description"], re.MULTILINE)
    assert [code for code, _ in closes] == ["4101", "4102", "4103", "4104", "4105", "4106", "4201", "4202", "4203"]


async def test_the_docs_need_nothing_from_elsewhere(site: Site) -> None:
    page = await site.nobody.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert not re.search(r"https?://", page.text)
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|style=", page.text)
    linked = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert len(linked) >= 4
    for address in linked:
        asset = await site.nobody.get(address)
        assert asset.status_code == 200
        assert asset.content == (STATIC / address.removeprefix("/static/")).read_bytes()
