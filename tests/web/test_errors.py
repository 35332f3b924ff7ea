"""Whatever a client sends, the answer is a problem in the promised form, and never a 500."""

import asyncio
import json
from typing import Any

import pytest

from server.dispatch import refusals
from server.dispatch.refusals import Refusal
from server.ids import new_id
from server.web.http import errors
from tests.waiting import PATIENCE
from tests.web.conftest import Check, Site

JSON = {"content-type": "application/json"}


async def test_what_is_not_json_is_malformed(site: Site, problem: Check) -> None:
    bodies = (
        b"", b" ", b"{", b"}", b"nul", b"{}{}", b"{'a':1}", b"\xff\xfe", b'{"storeName":"\xff"}',
        b'{"storeName":"\x00"}', b'{"prepSeconds":NaN}', b'{"prepSeconds":-Infinity}',
        b'{"prepSeconds":01}', b'"' + b"\\" * 999,
    )  # fmt: skip
    for body in bodies:
        problem(await site.shop.post("/deliveries", content=body, headers=JSON), 400, "malformed")


async def test_json_of_another_shape_is_invalid(site: Site, problem: Check) -> None:
    bodies = (
        b"null", b"[]", b"7", b'"x"', b"true", b"[" * 30_000 + b"]" * 30_000, b'{"x":' * 9_000 + b"1" + b"}" * 9_000,
        b'{"prepSeconds":' + b"9" * 5000 + b"}", b'{"prepSeconds":1e999}', b'{"pickup":{"lat":1e400,"lon":1}}', b"{}",
        b'{"\\u0000":1}', b'{"":1}', b"\xef\xbb\xbf{}",
    )  # fmt: skip
    for body in bodies:
        error = problem(await site.shop.post("/deliveries", content=body, headers=JSON), 422, "invalid")
        assert error["errors"]


async def test_a_body_has_a_size_and_a_kind(site: Site, problem: Check) -> None:
    order = b'{"notes":"' + b"x" * 65_536 + b'"}'
    problem(await site.shop.post("/deliveries", content=order, headers=JSON), 413, "too_large")

    async def chunks() -> Any:
        for _ in range(70):
            yield b" " * 1000

    problem(await site.shop.post("/deliveries", content=chunks(), headers=JSON), 413, "too_large")
    just_fits = b"{" + b" " * 65_534 + b"}"
    problem(await site.shop.post("/deliveries", content=just_fits, headers=JSON), 422, "invalid")
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "json",
        "application/json; charset=latin-1",
        "ü",
    ):
        answer = await site.shop.post("/deliveries", content=b"{}", headers={b"content-type": kind.encode()})
        problem(answer, 415, "unsupported_media_type")
    for kind in ("application/json; charset=UTF-8", "Application/JSON", "application/vnd.shop+json"):
        answer = await site.shop.post("/deliveries", content=b"{}", headers={"content-type": kind})
        problem(answer, 422, "invalid")
    answer = await site.shop.post("/deliveries", content=b"{}", headers=JSON | {"content-encoding": "gzip"})
    problem(answer, 415, "unsupported_media_type")


async def test_an_unknown_address_or_method_is_a_problem(site: Site, problem: Check) -> None:
    for path in (
        "/nowhere",
        "/deliveries/a/b/c/d",
        "/drivers//x/y/z/",
        "/%00",
        "/%ff%fe",
        "/admin",
        "/static/../x",
    ):
        problem(await site.ada.get(path), 404, "not_found")
    answer = await site.ada.delete("/deliveries")
    problem(answer, 405, "method_not_allowed")
    assert {"GET", "HEAD", "POST"} <= set(answer.headers["allow"].split(", "))
    for method in ("PATCH", "TRACE", "MKCOL"):
        assert (await site.ada.request(method, "/deliveries")).status_code == 405
    options = await site.ada.options("/deliveries")
    assert options.status_code == 204
    assert options.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    only_post = await site.ada.options(f"/deliveries/{new_id()}/cancel")
    assert only_post.headers["allow"] == "OPTIONS, POST"
    assert (await site.ada.head(f"/deliveries/{new_id()}/cancel")).status_code == 405


async def test_what_the_rules_refuse_is_a_conflict_but_for_six(problem: Check) -> None:
    refusals_there_are = [one for one in vars(refusals).values() if isinstance(one, Refusal)]
    for refusal in refusals_there_are:
        shown = errors.refused(refusal)
        special = {
            "not_found": 404, "try_again": 503, "internal_error": 500, "not_yet_supported": 503, "pay_required": 422,
            "too_many_messages": 429,
        }  # fmt: skip
        assert shown.kind.status == special.get(refusal.code, 409)
        assert shown.kind.code == {"too_many_messages": "too_many_requests"}.get(refusal.code, refusal.code)
    assert errors.refused(refusals.TRY_AGAIN).headers["Retry-After"] == "1"
    assert errors.too_many(30).headers["Retry-After"] == "30"
    assert errors.unless_refused(7) == 7


async def raw(site: Site, request: bytes) -> bytes:
    """The answer to bytes that no client library would send."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.node.port)
    writer.write(request)
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()  # to its end: it comes in parts
            return answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


async def test_bytes_that_are_hardly_http_are_never_a_500(site: Site) -> None:
    auth = site.shop.headers["authorization"].encode()
    head = b"POST /deliveries HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: " + auth + b"\r\n"
    requests = (
        b"GET /deliveries\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /deliveries/%zz?%=%&\xc3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /deliveries HTTP/1.1\r\nHost: \xff\x01<>\r\nConnection: close\r\n\r\n",
        b"GET /deliveries HTTP/1.0\r\n\r\n",
        b"GET http://elsewhere/deliveries HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        head + b"Content-Length: -1\r\n\r\n{}",
        head + b"Content-Length: many\r\n\r\n{}",
        head + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
        head + b"Content-Length: 000000000000002\r\n\r\n{}",
        head + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}}",
        head + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        head + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        head + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
        head + b"Upgrade: websocket\r\nContent-Length: 2\r\n\r\n{}",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    )
    for request in requests:
        answer = await raw(site, request)
        assert answer[9:10] == b"4", (request, answer)


async def test_a_body_that_ends_early_leaves_no_trace(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    auth = site.shop.headers["authorization"].encode()
    _, writer = await asyncio.open_connection("127.0.0.1", site.node.port)
    writer.write(b"POST /deliveries HTTP/1.1\r\nHost: x\r\nAuthorization: " + auth + b"\r\nContent-Length: 9\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await site.vic.get("/deliveries")).json()["items"] == []
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_without_its_database_everything_can_be_tried_again(site: Site, problem: Check) -> None:
    await site.node.app.state.node.database.close()
    for path in (
        "/deliveries",
        "/drivers",
        "/admin/stats",
        "/admin/tickets",
        "/admin/api-keys",
        "/admin/unassigned-orders",
    ):
        answer = await site.ada.get(path)
        problem(answer, 503, "try_again")
        assert answer.headers["retry-after"] == "1"
    ready = await site.nobody.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "down")
    assert ready.json()["components"]["database"] == "down"
    assert (await site.nobody.get("/health/live")).status_code == 200


async def test_what_no_handler_answers_is_a_problem_of_the_same_form(site: Site, problem: Check) -> None:
    upgrade = await site.nobody.get("/ws/driver")
    said = problem(upgrade, 426, "upgrade_required")
    assert (said["type"], upgrade.headers["upgrade"]) == ("urn:callboard:problem:upgrade_required", "websocket")
    _, _, body = (await raw(site, b"rubbish\r\n\r\n")).partition(b"\r\n\r\n")
    refused = json.loads(body)
    assert refused["type"] == "urn:callboard:problem:bad_request"
    assert (refused["status"], refused["title"]) == (400, errors.BAD_REQUEST.title)
