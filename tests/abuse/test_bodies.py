"""Requests that are too large, too slow, too many or hardly HTTP: each ends with its code or the connection does."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx2
import msgspec
import pytest
from msgspec import Struct

from server.ids import new_id
from server.process import connection_limits
from server.process.connection_limits import HEAD_LIMIT_BYTES, HEADERS_LIMIT, MESSAGE_LIMIT_BYTES, PIPELINE_LIMIT
from server.store import engine
from server.web.api.bodies import BODY_LIMIT_BYTES
from server.web.api.endpoint import Described
from server.web.api.routes import API
from server.web.api.zones import SHAPE_BODY_BYTES
from server.web.http.every_route import handlers_in
from tests.abuse.conftest import Answer, Wire, ask, handlers, request, wire
from tests.waiting import PATIENCE, until
from tests.web.conftest import Check, Site
from tests.web.people import HTML, logged_in

JSON = {"content-type": "application/json"}
LIVE = request("GET /health/live")
DEEP = 30_000


def bearer(client: httpx2.AsyncClient) -> str:
    return f"Authorization: {client.headers['authorization']}"


@asynccontextmanager
async def locked(site: Site, table: str) -> AsyncIterator[asyncio.Event]:
    """Nobody reads this table until the event is set."""
    there, unlock = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(site.node.settings.database_url)
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table}")
            there.set()
            await unlock.wait()
        await connection.close()

    holding = asyncio.create_task(hold())
    await there.wait()
    yield unlock
    unlock.set()
    await holding


# Bodies


BODIES: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "no JSON": (b"{", JSON, 400, "malformed"),
    "two documents": (b"{}{}", JSON, 400, "malformed"),
    "no UTF-8": (b'{"x":"\xff"}', JSON, 400, "malformed"),
    "UTF-16": ("{}".encode("utf-16"), JSON, 400, "malformed"),
    "half a character": (b'{"x":"\\ud800"}', JSON, 422, "invalid"),
    "half a character in bytes": (b'{"x":"\xed\xa0\x80"}', JSON, 400, "malformed"),
    "no number": (b'{"x":NaN}', JSON, 400, "malformed"),
    "nested lists": (b"[" * DEEP + b"]" * DEEP, JSON, 422, "invalid"),
    "nested objects": (b'{"x":' * 9_000 + b"1" + b"}" * 9_000, JSON, 422, "invalid"),
    "lists that never end": (b"[" * BODY_LIMIT_BYTES, JSON, 422, "invalid"),
    "a long number": (b'{"x":' + b"9" * 60_000 + b"}", JSON, 422, "invalid"),
    "a large number": (b'{"x":1e999999}', JSON, 422, "invalid"),
    "the same key ten thousand times": (b"{" + b'"x":1,' * 10_000 + b'"x":1}', JSON, 422, "invalid"),
    "ten thousand keys": (b"{" + b",".join(b'"%d":1' % n for n in range(6_000)) + b"}", JSON, 422, "invalid"),
    "a key that is a pollution": (b'{"__proto__":{"role":"admin"}}', JSON, 422, "invalid"),
    "too large": (b" " * (BODY_LIMIT_BYTES + 1), JSON, 413, "too_large"),
    "a form": (b"name=x", {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    "parts": (b"--x--", {"content-type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
    "XML": (b"<a/>", {"content-type": "application/xml"}, 415, "unsupported_media_type"),
    "text": (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
    "another charset": (b"{}", {"content-type": "application/json; charset=utf-16"}, 415, "unsupported_media_type"),
    "gzip": (gzip.compress(b"{}"), JSON | {"content-encoding": "gzip"}, 415, "unsupported_media_type"),
    "gzip of gzip": (b"{}", JSON | {"content-encoding": "identity, gzip"}, 415, "unsupported_media_type"),
}


async def test_every_endpoint_with_a_body_refuses_what_is_none_of_its(site: Site, problem: Check) -> None:
    """`PATCH` bodies may be any object without fields, so only what is no object is invalid everywhere."""
    dan = await site.driver()
    limits: dict[tuple[str, str], int] = {}
    for method, path, handler in handlers(site):
        if isinstance(shown := handler.opt.get("described"), Described) and shown.body is not None:
            limits[method, path] = shown.body.limit_bytes
    taking = [
        (method, path, site.ada if "admin" in (shown.roles or ()) else dan.client)
        for method, path, handler in handlers(site)
        if isinstance(shown := handler.opt.get("described"), Described) and shown.body is not None
    ]
    assert len(taking) > 15
    for method, path, caller in taking:
        address = path.replace("{}", dan.id, 1).replace("{}", new_id())
        for name, (body, headers, status, code) in BODIES.items():
            if name == "too large":
                body = b" " * (limits[method, path] + 1)
            answer = await caller.request(method, address, content=body, headers=headers)
            assert answer.status_code == status, (method, path, name, answer.text)
            problem(answer, status, code)


async def test_half_a_character_is_refused_with_the_name_of_its_field(site: Site, problem: Check) -> None:
    """JavaScript writes such text when it cuts a string inside an emoji."""
    cases = {
        rb'{"name":"a\ud83db"}': "name",
        rb'{"name":"Dan","phone":"\udc00"}': "phone",
        rb'{"name":"Dan","tags":["a","\ude00\ud83d"]}': "tags[1]",
        rb'{"name":"Dan","\ud83d":1}': "?",
    }
    for body, field in cases.items():
        refused = problem(await site.shop.post("/drivers", content=body, headers=JSON), 422, "invalid")
        assert [error["field"] for error in refused["errors"]] == [field], body
    order = rb'{"sellerOrderId":"1","storeName":"x","pickup":{"lat":1,"lon":1,"address":"\ud83d"},"dropoff":{}}'
    refused = problem(await site.shop.post("/deliveries", content=order, headers=JSON), 422, "invalid")
    assert [error["field"] for error in refused["errors"]] == ["pickup.address"]
    made = await site.shop.post("/drivers", content=rb'{"name":"a\ud83d\ude00b"}', headers=JSON)
    assert made.json()["name"] == "a😀b"


BLANKS = ("", "   ", "\t\n", "\u00a0", "\u200b", "\ufeff", " \u200d\u2060 ", "\u3164", "\x00")


def test_no_body_takes_a_text_that_nobody_can_see_where_one_is_required() -> None:
    """Reasons, texts and names. Where none is required, such a text is none: tests/dispatch."""
    checked = set()
    for handler in handlers_in(API):
        described = handler.opt.get("described")
        body = described.body.kind if described is not None and described.body is not None else None
        if body is None or not isinstance(body, type) or not issubclass(body, Struct):
            continue
        for field in msgspec.structs.fields(body):
            if not field.required or field.encode_name not in ("reason", "text", "name", "storeName", "sellerOrderId"):
                continue
            checked.add(f"{body.__name__}.{field.encode_name}")
            for blank in BLANKS:
                with pytest.raises(msgspec.ValidationError):
                    msgspec.convert(blank, field.type)
    assert {"Cancellation.reason", "Release.reason", "FailureForDriver.reason", "NewMessage.text"} <= checked
    assert {"NewDelivery.storeName", "NewDriver.name", "NewApiKey.name", "ZoneDescription.name"} <= checked


async def test_of_a_key_that_is_there_twice_the_last_one_counts(site: Site) -> None:
    """As every JSON library that Callboard's neighbours may use has it; what was checked is what was taken."""
    made = await site.shop.post("/drivers", content=b'{"name":"Dan","name":"Dora","zone":"a","zone":"b"}', headers=JSON)
    assert (made.json()["name"], made.json()["zone"]) == ("Dora", "b")


async def test_every_form_has_a_size(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    token = await ada.csrf_token()
    posts = {path for method, path, handler in handlers(site) if method == "POST" and "described" not in handler.opt}
    assert {"/login", "/logout", "/users", "/policy"} < posts
    posts -= {"/orders/import", "/board/drivers/import"}  # they take files, whose limits test_imports.py tries
    many = "&".join(f"a{n}=1" for n in range(5_000)).encode()
    kind = {"content-type": "application/x-www-form-urlencoded", "X-CSRF-Token": token, "Accept": "application/json"}
    unread = set()
    for path in sorted(posts - {"/logout"}):
        address = path.replace("{}", new_id())
        large = {"csrf_token": token, "name": "x" * (SHAPE_BODY_BYTES if path == "/zones" else BODY_LIMIT_BYTES)}
        answer = await ada.client.post(address, data=large, headers=kind)
        if answer.status_code not in (404, 409):  # what is said without a look at the body
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large"), path
            shown = await ada.client.post(address, data=large, headers=HTML | {"X-CSRF-Token": token})
            assert shown.status_code == 413, path
        answer = await ada.client.post(address, content=many, headers=kind)
        if answer.status_code == 303:  # refused on the page that the form was on
            page = await ada.client.get(answer.headers["location"], headers=HTML)
            assert "The form data is invalid." in page.text, path
            unread.add(path)
        else:
            assert answer.status_code in (400, 404, 409, 422), (path, answer.status_code)
    assert "/unassigned/{}/acknowledge" in unread
    assert (await ada.client.post("/logout", data=large, headers=HTML)).status_code == 413


# Bytes that are hardly HTTP


async def test_a_length_of_any_number_of_digits_is_no_bug(unharmed: Site) -> None:
    for path in ("/deliveries", "/login"):
        for digits in ("0" * 5_000 + "2", "9" * 19, "0" * 30):
            start = request(f"POST {path}", bearer(unharmed.shop), f"Content-Length: {digits}", body=b"{}")
            answer = await ask(unharmed.node, start)
            assert answer.status in (400, 413, 415), (path, digits[:9], answer)


CHUNKED = b"2\r\n{}\r\n0\r\n\r\n"
SMUGGLED = {
    "both lengths": request("POST /deliveries", "Content-Length: 4", "Transfer-Encoding: chunked", body=CHUNKED),
    "both, the other way round": request(
        "POST /deliveries", "Transfer-Encoding: chunked", "Content-Length: 4", body=CHUNKED
    ),
    "two lengths": request("POST /deliveries", "Content-Length: 2", "Content-Length: 3", body=b"{}}"),
    "a list of lengths": request("POST /deliveries", "Content-Length: 2, 2", body=b"{}"),
    "a signed length": request("POST /deliveries", "Content-Length: +2", body=b"{}"),
    "a length in hexadecimal": request("POST /deliveries", "Content-Length: 0x2", body=b"{}"),
    "an unknown coding": request("POST /deliveries", "Transfer-Encoding: xchunked", body=CHUNKED),
    "chunked, and then not": request("POST /deliveries", "Transfer-Encoding: chunked, identity", body=CHUNKED),
    "chunked twice": request("POST /deliveries", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip", body=CHUNKED),
    "a tab for a space": request("POST /deliveries", "Transfer-Encoding:\x0bchunked", body=CHUNKED),
    "a space before the colon": request("POST /deliveries", "Transfer-Encoding : chunked", body=CHUNKED),
    "a folded line": request("POST /deliveries", "X: a", " Transfer-Encoding: chunked", body=CHUNKED),
    "line feeds alone": b"POST /deliveries HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n" + CHUNKED,
    "a return alone": b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: a\rContent-Length: 4\r\n\r\n",
    "NUL in a field": b"GET /health/live HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
    "a chunk of no length": request("POST /deliveries", "Transfer-Encoding: chunked", body=b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk of a negative length": request("POST /deliveries", "Transfer-Encoding: chunked", body=b"-2\r\n{}\r\n"),
    "a chunk longer than the world": request(
        "POST /deliveries", "Transfer-Encoding: chunked", body=b"f" * 17 + b"\r\n{}\r\n0\r\n\r\n"
    ),
    "a chunk that lies": request("POST /deliveries", "Transfer-Encoding: chunked", body=b"1\r\n{}\r\n0\r\n\r\n"),
    "a method that is none": request("GE\x01T /deliveries"),
    "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200 + b"\r\n\r\n",
}


async def test_what_two_servers_could_read_in_two_ways_is_read_by_nobody(unharmed: Site) -> None:
    """A request with a second one in its body: one answer, no 2xx, and the connection is closed."""
    refused = connection_limits.MALFORMED.counted._value.get
    for name, sent in SMUGGLED.items():
        before = refused()
        async with wire(unharmed.node) as connection:
            await connection.send(sent + LIVE)
            answer = await connection.answer()
            assert answer.status in (400, 401), (name, answer)
            assert b"HTTP/1.1 2" not in await connection.ended(), name
        assert refused() == before + 1, name


async def test_what_comes_after_the_body_is_no_header(unharmed: Site) -> None:
    """Else a trailer could be the token, or the address, that a proxy in front never saw."""
    trailers = f"2\r\n{{}}\r\n0\r\n{bearer(unharmed.shop)}\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n".encode()
    answer = await ask(unharmed.node, request("POST /deliveries", "Transfer-Encoding: chunked", body=trailers))
    assert (answer.status, answer.code) == (401, "unauthorized")


async def test_a_bad_request_does_not_take_the_answer_of_the_one_before_it(unharmed: Site) -> None:
    async with wire(unharmed.node) as connection:
        await connection.send(LIVE + b"\x00\x01\r\n\r\n")
        assert (await connection.answer()).status == 200
        assert await connection.ended() == b""


# Too large


async def test_a_head_has_a_size(unharmed: Site) -> None:
    fits = request("GET /health/live", *(f"X-{n}: {'a' * 200}" for n in range(HEADERS_LIMIT - 1)))
    assert len(fits) < HEAD_LIMIT_BYTES
    assert (await ask(unharmed.node, fits)).status == 200
    for large in (
        request("GET /health/live", *(f"X-{n}: a" for n in range(HEADERS_LIMIT))),
        request("GET /health/live", f"X: {'a' * HEAD_LIMIT_BYTES}"),
        request(f"GET /health/live?{'a' * HEAD_LIMIT_BYTES}"),
        request("GET /health/live", f"Cookie: {'a=b; ' * 7_000}"),
    ):
        answer = await ask(unharmed.node, large)
        assert (answer.status, answer.code) == (431, "head_too_large")


@pytest.mark.parametrize("piece", [b"a" * 16_384, b"b: c\r\n" * 2_000], ids=["one field", "many fields"])
async def test_a_head_without_an_end_is_not_read_for_ever(unharmed: Site, piece: bytes) -> None:
    """The sender does not always see why: unread bytes reset the connection."""
    async with wire(unharmed.node) as connection:
        await connection.send(b"GET /health/live HTTP/1.1\r\nX: a\r\nY: ")
        before = connection_limits.HEAD_TOO_LARGE.counted._value.get()
        while not connection.writer.is_closing():
            await connection.send(piece)
            await asyncio.sleep(0)
        assert b"HTTP/1.1 2" not in await connection.ended()
    assert connection_limits.HEAD_TOO_LARGE.counted._value.get() == before + 1


@pytest.mark.parametrize(
    "piece",
    [b"1;" + b"x" * 9_000 + b"\r\n \r\n", b"400\r\n" + b" " * 1024 + b"\r\n"],
    ids=["chunks with long names", "chunks"],
)
async def test_a_body_without_an_end_is_not_read_for_ever(unharmed: Site, piece: bytes) -> None:
    """Neither by a handler that wants it, nor after the answer of one that does not."""
    for caller in (bearer(unharmed.shop), "X: nobody"):
        async with wire(unharmed.node) as connection:
            await connection.send(request("POST /deliveries", caller, "Transfer-Encoding: chunked"))
            for _ in range(3 * MESSAGE_LIMIT_BYTES // len(piece)):
                await connection.send(piece)
                if connection.reader.at_eof():
                    break
            assert (await connection.answer()).status in (401, 413)
            await connection.ended()


async def test_trailers_without_an_end_are_not_read_for_ever(unharmed: Site) -> None:
    async with wire(unharmed.node) as connection:
        start = request("POST /deliveries", bearer(unharmed.shop), "Transfer-Encoding: chunked")
        await connection.send(start + b"2\r\n{}\r\n0\r\nX: ")
        for _ in range(2 * MESSAGE_LIMIT_BYTES // 16_384):
            await connection.send(b"a" * 16_384)
        assert (await connection.answer()).status == 413
        await connection.ended()


# Too many


async def test_only_so_many_requests_wait_behind_one(unharmed: Site) -> None:
    """A megabyte of them costs the node no more than the first few."""
    async with wire(unharmed.node) as connection:
        await connection.send(LIVE * PIPELINE_LIMIT)
        for _ in range(PIPELINE_LIMIT):
            assert (await connection.answer()).status == 200
    async with wire(unharmed.node) as connection:
        await connection.send(request("GET /health/ready") * 30_000)
        answered = (await connection.ended()).count(b"HTTP/1.1 200")
        assert answered <= PIPELINE_LIMIT + 1
    assert connection_limits.TOO_MANY_WAITING.counted._value.get() >= 1


async def test_requests_that_wait_are_read_only_as_fast_as_they_are_answered(unharmed: Site) -> None:
    """What comes while requests wait is read when they are done, and so never too much; all of it is answered."""
    half = PIPELINE_LIMIT * 2 // 3
    get = request("GET /deliveries?limit=1", bearer(unharmed.vic))
    state = unharmed.node.server.server_state
    async with locked(unharmed, "deliveries") as unlock, wire(unharmed.node) as connection:
        await connection.send(get * half)
        await until(lambda: max(len(getattr(one, "pipeline", ())) for one in state.connections) == half - 1)
        await connection.send(get * half)
        unlock.set()
        for _ in range(2 * half):
            assert (await connection.answer()).status == 200


async def test_a_full_node_sends_new_clients_away_and_serves_those_it_has(
    unharmed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await unharmed.vic.get("/deliveries")).status_code == 200
    there = len(unharmed.node.server.server_state.connections)
    monkeypatch.setattr(connection_limits, "connections_allowed", lambda: there + 1)
    async with wire(unharmed.node) as last:
        await last.send(LIVE)
        assert (await last.answer()).status == 200
        for _ in range(3):
            async with wire(unharmed.node) as one_too_many:
                answer = await one_too_many.answer()
                assert (answer.status, answer.code) == (503, "try_again")
                assert await one_too_many.ended() == b""
        assert (await unharmed.vic.get("/deliveries")).status_code == 200
    await until(lambda: len(unharmed.node.server.server_state.connections) <= there)
    assert (await ask(unharmed.node, LIVE)).status == 200


def test_connections_leave_files_for_the_rest_of_the_process() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    connection_limits.connections_allowed.cache_clear()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (600, before[1]))
        assert connection_limits.connections_allowed() == 600 - connection_limits.FILES_RESERVED
        connection_limits.allow_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(before[1], connection_limits.FILES_WANTED)
        assert connection_limits.connections_allowed() > 600
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        connection_limits.connections_allowed.cache_clear()


# Too slow


async def test_a_slow_client_is_disconnected(unharmed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is they never finish: all at once, since each takes as long as a request may."""
    monkeypatch.setattr(connection_limits, "REQUEST_SECONDS", 1.0)
    here = bearer(unharmed.shop)

    async def is_shown(*pieces: bytes, drip: bytes = b"") -> Answer:
        async with wire(unharmed.node) as connection:
            for piece in pieces:
                await connection.send(piece)
            dripping = asyncio.create_task(_drip(connection, drip))
            try:
                return await connection.answer()
            finally:
                dripping.cancel()
                await connection.ended()

    answers = await asyncio.gather(
        is_shown(),
        is_shown(b"GET /hea"),
        is_shown(b"GET /health/live HTTP/1.1\r\n", drip=b"X: y\r\n"),
        is_shown(b"GET /health/live HTTP/1.1\r\nX: ", drip=b"a"),
        is_shown(b"\r\n", drip=b"\r\n"),
        is_shown(request("POST /deliveries", here, "Content-Length: 9")),
        is_shown(request("POST /deliveries", here, "Content-Length: 60000"), drip=b" "),
        is_shown(request("POST /deliveries", here, "Transfer-Encoding: chunked"), drip=b"1\r\n \r\n"),
        is_shown(
            request("POST /login", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 9"), b"name=x"
        ),
    )
    assert [(answer.status, answer.code) for answer in answers] == [(408, "request_timeout")] * len(answers)


async def test_who_got_an_answer_has_no_longer_to_finish(unharmed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that nobody wants, and what is no beginning of another request, keep no connection open."""
    monkeypatch.setattr(connection_limits, "REQUEST_SECONDS", 3.0)
    unharmed.node.server.config.timeout_keep_alive = 1

    async def over(start: bytes, drip: bytes) -> int:
        async with wire(unharmed.node) as connection:
            await connection.send(start)
            status = (await connection.answer()).status
            dripping = asyncio.create_task(_drip(connection, drip))
            await connection.ended()
            dripping.cancel()
            return status

    ended = await asyncio.gather(
        over(request("POST /deliveries", "Content-Length: 60000"), b" "),
        over(request("POST /deliveries", "Transfer-Encoding: chunked"), b"1\r\n \r\n"),
        over(LIVE, b"\r\n"),
        over(LIVE, b""),
    )
    assert list(ended) == [401, 401, 200, 200]


async def _drip(connection: Wire, piece: bytes) -> None:
    while piece:
        await connection.send(piece)
        await asyncio.sleep(0.05)


async def test_a_request_that_is_answered_slowly_is_not_the_clients_fault(
    unharmed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only reading has a deadline: a stream may last, and so may an answer that takes its time."""
    monkeypatch.setattr(connection_limits, "REQUEST_SECONDS", 2.0)
    monkeypatch.setitem(engine.READING, "lock_timeout", f"{PATIENCE:g}s")
    unharmed.node.app.state.node.database.retire()
    async with locked(unharmed, "deliveries") as unlock, wire(unharmed.node) as connection:
        await connection.send(request("GET /deliveries", bearer(unharmed.vic)))
        slow = asyncio.create_task(connection.answer())
        async with wire(unharmed.node) as late:  # the server closes it long after it could have closed the other
            assert (await late.answer()).status == 408
        unlock.set()
        assert (await slow).status == 200


async def test_who_takes_no_answer_is_given_up(unharmed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "UNREAD_SECONDS", 0.5)
    file = request("GET /static/vendor/swagger-ui/swagger-ui-bundle.js")
    async with wire(unharmed.node) as connection:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await connection.send(file * 20)
        state = unharmed.node.server.server_state
        await until(lambda: any(getattr(one, "write_deadline", 1e99) < 1e99 for one in state.connections))
        await until(lambda: not state.tasks)
