"""HEAD works wherever GET does: the same status and headers, and no body."""

import asyncio
import re

from litestar.routes import HTTPRoute

from server.web.http.assets import asset
from tests.waiting import PATIENCE, until
from tests.web.conftest import DROPOFF, PICKUP, Site
from tests.web.people import HTML


async def paths(site: Site) -> list[str]:
    """An address of every route that takes GET, some of things there are, some of things there are not."""
    delivery, driver = await site.delivery(), await site.driver()
    named = {"delivery_id": delivery["id"], "driver_id": driver.id, "action": "cancel", "order_id": "order-1"}

    def filled(path: str) -> str:
        return re.sub(r"\{(\w+)(:\w+)?\}", lambda found: named.get(found[1], delivery["id"]), path)

    routes = [route for route in site.node.app.routes if isinstance(route, HTTPRoute) and "GET" in route.methods]
    found = sorted({filled(route.path) for route in routes if not route.path.startswith("/static")})
    assert {"/", "/login", "/health/live", "/openapi.json", "/board", "/driver", "/metrics"} <= set(found)
    assert len(found) > 60
    return [*found, asset("board.css"), asset("board/dialogs.js"), "/nowhere", f"/deliveries/{driver.id}"]


async def test_head_answers_as_get_without_the_body(site: Site) -> None:
    for path in await paths(site):
        if path == "/board/stream":
            continue
        for headers in ({}, HTML):
            head = await site.ada.head(path, headers=headers)
            got = await site.ada.get(path, headers=headers)
            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert got.status_code != 405, path
            assert set(head.headers) == set(got.headers), path
            alike = {"content-type", "cache-control", "etag", "location", "content-encoding"}
            if path in ("/login", "/openapi.json", "/health/live") or path.startswith(("/static", "/deliveries")):
                alike |= {"content-length"}
            assert {n: head.headers.get(n) for n in alike} == {n: got.headers.get(n) for n in alike}, path


async def test_head_of_a_stream_ends_and_leaves_no_viewer(site: Site) -> None:
    feed = site.node.app.state.node.feed
    for _ in range(3):
        async with asyncio.timeout(PATIENCE):
            head = await site.ada.head("/board/stream")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"].startswith("text/event-stream")
    await until(lambda: len(feed.broadcast) == 0)


async def test_what_follows_on_the_connection_is_an_answer_of_its_own(site: Site) -> None:
    """A body after a HEAD would be read as the next answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.node.port)
    request = "{} {} HTTP/1.1\r\nHost: x\r\n{}\r\n"
    writer.write(
        (
            request.format("HEAD", "/openapi.json", "")
            + request.format("HEAD", "/login", "")
            + request.format("GET", "/health/live", "Connection: close\r\n")
        ).encode()
    )
    async with asyncio.timeout(PATIENCE):
        text = (await reader.read()).decode()
    assert text.count("HTTP/1.1 200 OK") == 3
    assert text.count("openapi") == 0
    assert text.endswith('{"status":"ok"}')
    writer.close()


async def test_head_changes_nothing_that_get_would_not(site: Site) -> None:
    order = {"sellerOrderId": "x", "storeName": "y", "pickup": PICKUP, "dropoff": DROPOFF}
    assert (await site.shop.request("HEAD", "/deliveries", json=order)).status_code == 200
    assert (await site.shop.get("/deliveries")).json()["items"] == []
