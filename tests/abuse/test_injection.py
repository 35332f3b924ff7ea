"""Text that would be code somewhere, in every field that anybody can fill: it stays text, on every screen and in CSV,
SQL, headers, file names. (Log lines: tests/cli/test_log_lines.py.)
"""

import csv
import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.contract.csv_files import COMMAS, FORMULA, SEMICOLONS, CsvForm, csv_of, is_formula, unmarked
from server.notify.ops_notices import _escaped
from server.paths import STATIC
from server.web.http import assets
from server.web.http.paging import cursor_of
from tests.abuse.conftest import ask, handlers, request, some
from tests.driver_app import driver_app
from tests.waiting import PATIENCE, until
from tests.web.conftest import Check, Site
from tests.web.html_tree import Element, parse
from tests.web.people import HTML, Browser, logged_in

MARK = "p0wned"
SCRIPT = f"<script>{MARK}()</script>"
BREAKOUT = f"'\"></td></tr></table>--><img src=x onerror={MARK}()>"
TEMPLATE = "{{7919*7919}}{%include 'x'%}${7919*7919}#{7919*7919}"
ANSWER = str(7919 * 7919)
HOSTILE = SCRIPT + BREAKOUT + TEMPLATE
SHORT = "<b onclick=p0wned>'\"{{7919*7919}}"
FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "＝1+1",
    "＋1",
    "－1",
    "＠A1",
    " =1",
    "\u200b=1",
    '=HYPERLINK("http://evil","x")',
)
SQL = (
    "' OR 1=1 --",
    "'; DROP TABLE deliveries; --",
    '" OR ""="',
    "\\",
    "%' OR '%'='",
    "_",
    "%",
    "$1",
    "{}",
    "NULL",
    "1) UNION SELECT 1 --",
    "\u2019 OR 1=1",
)


def harmless(name: str, html: str, wrapped: bool = False) -> Element:
    """The page's tree: no script that is not a file of ours, no handler, no style, no address that is code."""
    assert ANSWER not in html, name
    tree = parse(f"<table>{html}</table>" if wrapped else html)
    for element in tree.every():
        assert element.tag not in ("iframe", "object", "embed", "base", "style"), name
        assert MARK not in " ".join(element.attributes), name
        assert not [attribute for attribute in element.attributes if attribute.startswith(("on", "style"))], name
        if element.tag == "script":
            assert element["src"].startswith("/static/"), name
            assert not element.text, name
        for attribute in ("href", "src", "action", "formaction"):
            if attribute in element:
                leads = element[attribute]
                assert leads.startswith(("/", "#", "tel:", "http://127.0.0.1")), (name, leads)
    return tree


async def a_hostile_evening(site: Site) -> dict[str, str]:
    """Hostile text in every field there is, and everything that can be shown of it. The ids by kind."""
    dan = await site.driver(HOSTILE, at_work=True, externalRef=HOSTILE, phone=SHORT[:40], zone=SHORT[:64], capacity=1)
    place = {"lat": 52.52, "lon": 13.405, "address": HOSTILE}
    order: dict[str, Any] = {"storeName": HOSTILE, "sellerId": HOSTILE, "notes": HOSTILE, "zone": SHORT[:64]}
    order |= {"pickup": place, "dropoff": place}
    delivery, _ = await site.assignment(dan, **order)
    waiting = await site.delivery(**order, sellerOrderId=HOSTILE)
    note = await site.alice.post(f"/admin/unassigned-orders/{waiting['id']}/acknowledge", json={"note": HOSTILE})
    assert note.status_code == 200, note.text
    for _ in range(2):
        dora = await site.driver(f"Dora {HOSTILE}", at_work=True, zone="z")
        await site.delivery(zone="z", storeName=HOSTILE)
        offer = await dora.offer()
        await dora.post(f"/offers/{offer['id']}/reject", {"reason": HOSTILE})
        assert (
            await dora.post("/availability/take-break", {"durationMinutes": 30, "reason": HOSTILE})
        ).status_code == 200
    cancelled = await site.delivery(**order, sellerOrderId="other")
    assert (await site.shop.post(f"/deliveries/{cancelled['id']}/cancel", json={"reason": HOSTILE})).status_code == 200
    await site.ada.post("/admin/api-keys", json={"name": HOSTILE})
    await site.ada.post("/admin/webhooks", json={"url": f"https://shop.example/{quote(HOSTILE)}?a='\"&b=<b>"})
    return {"driver": dan.id, "delivery": delivery["id"], "waiting": waiting["id"], "cancelled": cancelled["id"]}


async def test_text_stays_text_on_every_screen(site: Site) -> None:
    ids = await a_hostile_evening(site)
    ada = await logged_in(site, "<b>Ada</b>{{7919*7919}}", "admin")
    await site.ada.patch(f"/admin/users/{ids['driver']}", json={"role": "ops"})
    seen: dict[str, str] = {}
    asked = f"?zone={quote(HOSTILE)}&window={quote(HOSTILE)}&next={quote('/' + HOSTILE)}&name={quote(SHORT)}"
    for method, path, _ in handlers(site):
        if method != "GET" or path in ("/board/stream", "/board/rows") or path.startswith("/static"):
            continue
        for known in ids.values() if "{}" in path else [""]:
            for query in ("",) if known else ("", asked):
                answer = await ada.client.get(path.replace("{}", known) + query, headers=HTML)
                assert answer.status_code < 500, path
                if answer.headers.get("content-type", "").startswith("text/html"):
                    seen[path + known + query] = answer.text
                    harmless(path, answer.text)
    message = " ".join(parse(html).text for html in seen.values())
    for text in (SCRIPT, f"onerror={MARK}()", "{{7919*7919}}"):
        assert text in message, f"{text} was on no screen: the test has nothing to say"
    assert len(seen) > 30


async def test_text_stays_text_in_what_the_board_is_sent(site: Site) -> None:
    """Rows as they come over the stream, and dialogs with what was typed wrongly."""
    ids = await a_hostile_evening(site)
    ada = await logged_in(site, "Ada", "admin")
    lists = await ada.client.get("/board/rows", headers=HTML)
    assert lists.status_code < 500
    harmless("/board/rows", lists.text, wrapped=True)
    token = await ada.csrf_token("/board")
    async with ada.client.stream("GET", "/board/stream", timeout=PATIENCE) as stream:
        lines = stream.aiter_lines()
        heard: list[str] = []

        async def hear(word: str) -> None:
            async for line in lines:
                heard.append(line)
                if word in line:
                    return

        await site.delivery(storeName=f"again {HOSTILE}")
        await hear("again")
    for line in heard:
        assert not line or line.split(":")[0] in ("data", "event", "id", "retry", ""), line
    data = "\n".join(line.removeprefix("data:").strip() for line in heard if line.startswith("data:"))
    assert "<script" not in data.replace("&lt;script", "")
    assert ANSWER not in data
    for path in (f"/board/deliveries/{ids['waiting']}/assign", f"/board/drivers/{ids['driver']}/availability"):
        fields = {
            "csrf_token": token,
            "reason": HOSTILE,
            "driver_id": HOSTILE,
            "availability": HOSTILE,
            "minutes": HOSTILE,
        }
        for headers in (HTML, HTML | {"HX-Request": "true"}):
            answer = await ada.client.post(path, data=fields, headers=headers)
            assert 400 <= answer.status_code < 500, answer.text
            harmless(path, answer.text)
    form = await ada.client.post("/login", data={"name": HOSTILE, "password": "x", "next": "/" + HOSTILE}, headers=HTML)
    harmless("/login", form.text)


async def test_text_stays_text_in_documents_and_messages(site: Site) -> None:
    """JSON for programs: as it was sent, and as application/json, which no browser takes for a page."""
    ids = await a_hostile_evening(site)
    shown = await site.vic.get(f"/deliveries/{ids['delivery']}")
    assert shown.json()["storeName"] == HOSTILE
    assert shown.headers["content-type"] == "application/json"
    wrong = await site.shop.post("/deliveries", json={SCRIPT: SCRIPT, "storeName": [SCRIPT]})
    assert wrong.headers["content-type"] == "application/problem+json"
    async with driver_app(site.node.ws_url, ids["driver"]) as app:
        hello = await app.hear("hello")
        assert hello["assignments"][0]["storeName"] == HOSTILE
        app.send(SCRIPT, id=SCRIPT)
        assert (await app.hear(lambda message: message.get("id") == SCRIPT))["code"] == "invalid"


def test_a_notice_for_a_chat_mentions_nobody_and_links_nowhere() -> None:
    assert _escaped("<!channel> <https://evil.example|Click> &amp;") == (
        "&lt;!channel&gt; &lt;https://evil.example|Click&gt; &amp;amp;"
    )


# CSV


async def test_no_cell_of_a_file_is_a_formula(site: Site) -> None:
    for at, text in enumerate(FORMULAS):
        zone = f"{text[:60]}{at}"
        dan = await site.driver(f"Dan {at}", at_work=True, zone=zone)
        await site.delivery(zone=zone)
        offer = await dan.offer()
        assert (await dan.post(f"/offers/{offer['id']}/reject", {"reason": text})).status_code == 200
    names = [path for method, path, _ in handlers(site) if path == "/insights/{}"]
    assert names
    cells: list[str] = []

    async def filled() -> bool:
        cells.clear()
        for name in ("zones.csv", "reasons.csv", "time.csv", "hours.csv"):
            answer = await site.vic.get(f"/insights/{name}", params={"window": "24h"})
            assert answer.headers["content-type"].startswith("text/csv")
            assert answer.headers["content-disposition"].startswith("attachment; ")
            assert answer.content.startswith(b"\xef\xbb\xbf")
            cells.extend(cell for row in csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))) for cell in row)
        return any("HYPERLINK" in cell for cell in cells)

    await until(filled, every=0.5)
    assert not [cell for cell in cells if cell.startswith(FORMULA)]
    cells = [
        row[0]
        for row in csv.reader(io.StringIO(csv_of([(text,) for text in FORMULAS]).decode("utf-8-sig"), newline=""))
    ]
    assert cells == ["'" + text.replace("\t=", "\t'=").replace("\r=", "\r'=") for text in FORMULAS]


INSIDE = ("{};=1+1", "{}, =1+1", "{}\t+1", "{}\n@SUM(1)", '{},"=1+1"', "{},\u200b=1", "{}; ＝1", "{};x,=1", "{},;=1+1")


@pytest.mark.parametrize("form", [COMMAS, SEMICOLONS], ids=["commas", "semicolons"])
@pytest.mark.parametrize("text", INSIDE)
def test_no_program_that_expects_another_separator_finds_a_formula_within_a_text(form: CsvForm, text: str) -> None:
    """It splits at its own separator, also within quotation marks that do not begin its cell."""
    for before in ("x", '"x"'):
        file = csv_of([("Dan", text.format(before), "y")], form).decode("utf-8-sig")
        for other in {",", ";", "\t"} - {form.delimiter}:
            split = re.split(f"[{other}\r\n]", file)
            assert not [cell for cell in split if is_formula(cell.strip().lstrip('"'))], (other, file)
        [row] = csv.reader(io.StringIO(file, newline=""), delimiter=form.delimiter)
        assert unmarked(row[1]) == text.format(before)


@given(st.text("'=-x,; \"\n\t", max_size=8), st.sampled_from((COMMAS, SEMICOLONS)))
def test_an_import_takes_only_marks_that_a_file_has_put(text: str, form: CsvForm) -> None:
    file = csv_of([(f"{text}|",)], form).decode("utf-8-sig")
    [[cell]] = csv.reader(io.StringIO(file, newline=""), delimiter=form.delimiter)
    assert unmarked(cell) == f"{text}|"


def test_a_text_with_separators_has_a_mark_only_where_a_formula_could_begin() -> None:
    texts = (
        "Hauptstr. 5, -1. Stock",
        "Hauptstr. 5, 1. Stock; Hinterhaus",
        "ring twice; x-y, a@b.example",
        "5 - 1, 'ok'",
    )
    german, english = (
        csv_of([texts], form).decode("utf-8-sig").strip().replace('"', "") for form in (SEMICOLONS, COMMAS)
    )
    assert german == ";".join(texts).replace("-1. S", "'-1. S")
    assert english == ",".join(texts)


# SQL


async def test_a_filter_or_a_cursor_is_never_a_part_of_a_statement(site: Site, problem: Check) -> None:
    """What does not name a zone finds nothing; a cursor that is none is refused; nothing is lost by asking."""
    await site.delivery(zone="north")
    await site.driver(zone="north")
    lists = [path for method, path, handler in handlers(site) if method == "GET" and "described" in handler.opt]
    for turn, path in enumerate(path for path in lists if "{}" not in path):
        for text in some(SQL, turn, 5):
            answer = await site.ada.get(
                path, params={"zone": text, "status": text, "availability": text, "limit": text}
            )
            assert answer.status_code in (200, 422), (path, text, answer.text)
            answer = await site.ada.get(path, params={"zone": text})
            assert answer.status_code == 200, (path, text, answer.text)
            assert "north" not in answer.text, (path, text)
            for cursor in (text, cursor_of((text,)), cursor_of((text, text)), cursor_of([[]]), cursor_of({"a": 1})):
                answer = await site.ada.get(path, params={"cursor": cursor})
                assert answer.status_code in (200, 422), (path, cursor, answer.text)
                if answer.status_code == 422:
                    problem(answer, 422, "invalid")
    assert len((await site.ada.get("/deliveries")).json()["items"]) == 1
    for text in SQL:
        delivery = await site.delivery(sellerOrderId=text, sellerId=text, zone=text[:60], storeName=text, notes=text)
        assert (delivery["sellerOrderId"], delivery["sellerId"], delivery["storeName"]) == (text, text, text)
        found = (await site.ada.get("/deliveries", params={"zone": text[:60]})).json()["items"]
        assert [one["id"] for one in found] == [delivery["id"]]
        browser = site.ada
        led = await browser.get(f"/admin/orders/{quote(text, safe='')}", headers=HTML)
        assert led.status_code in (303, 404)


# Headers


async def test_no_answer_has_a_header_that_a_client_wrote(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    breaks = ("%0d%0aSet-Cookie:%20a=b", "%0aX-Evil:%201", "%E5%98%8A%E5%98%8DX-Evil:1", "%00", "%0d%0a%0d%0a<b>")
    for text in breaks:
        for path in (
            f"/login?next=/board{text}",
            f"/admin/orders/{text}",
            f"/insights/{text}",
            f"/users/{text}",
            f"/{text}",
        ):
            for cookie in (f"callboard={ada.cookie}", "callboard=x"):
                answer = await ask(site.node, request(f"GET {path}", f"Cookie: {cookie}", "Accept: text/html"))
                assert answer.status < 500, path
                assert not [name for name in answer.headers if name in ("x-evil", "a")], path
                assert "a=b" not in answer.headers.get("set-cookie", ""), path


async def test_a_host_that_is_none_is_refused_before_anybody_makes_a_link_of_it(site: Site) -> None:
    dan = await site.driver()
    ada = await logged_in(site, "Ada", "admin")
    form = f"do=invite&csrf_token={await ada.csrf_token()}".encode()
    start = request(
        f"POST /board/drivers/{dan.id}/access",
        f"Cookie: callboard={ada.cookie}",
        "Accept: text/html",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(form)}",
        body=form,
    )
    good = ("board.example", "board.example:8443", "127.0.0.1:80", "[::1]:8000", "a_b-c.example", "")
    bad = (
        f'x">{SCRIPT}', "javascript:p0wned()", "x'{{7919*7919}}", "[::1", "::1", "board.example:99999", "a b", "a/b",
        "a:1:2", "a@b", "a#b", "a?b", "a\\b", "\xe9.example",
    )  # fmt: skip
    for host in good + bad:
        answer = await ask(site.node, start.replace(b"Host: x", b"Host: " + host.encode("latin-1")))
        assert answer.status == (201 if host in good else 400), host
        if answer.status == 201 and host:
            assert f'value="http://{host}/driver#code='.encode() in answer.body, host
    two = start.replace(b"Host: x", b"Host: x\r\nHost: evil.example")
    assert (await ask(site.node, two)).status == 400


# Files

WAYS_OUT = (
    "../pyproject.toml", "..%2fpyproject.toml", "%2e%2e/pyproject.toml", "%2e%2e%2fpyproject.toml",
    "..%5cpyproject.toml", "....//pyproject.toml", "..%252fpyproject.toml", "driver/../../pyproject.toml",
    "b-x/../../pyproject.toml", "b-x/%2e%2e/%2e%2e/pyproject.toml", "b-x/%2fetc%2fpasswd", "//etc/passwd",
    "%2fetc%2fpasswd", "/etc/passwd", "app.css%00.png", ".%2fapp.css%2f..%2f..%2fpyproject.toml", "..", ".", "",
    "%2e%2e", "driver/%c0%ae%c0%ae/%c0%ae%c0%ae/pyproject.toml", "..;/pyproject.toml", "~root", "b-x/..%00/", "CON",
    "a" * 5000,
)  # fmt: skip


async def test_no_path_leads_out_of_the_static_files(site: Site) -> None:
    secrets_of_ours = ((STATIC.parent / "pyproject.toml").read_bytes()[:40], b"root:")
    for way in WAYS_OUT:
        answer = await ask(site.node, request(f"GET /static/{way}"))
        assert answer.status in (404, 400), (way, answer.status)
        assert not [one for one in secrets_of_ours if one in answer.body], way


async def test_a_link_out_of_the_static_files_is_not_followed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "static"
    inside.mkdir()
    (inside / "inside.txt").write_text("for everybody")
    (tmp_path / "outside.txt").write_text("for nobody")
    (inside / "link.txt").symlink_to(tmp_path / "outside.txt")
    monkeypatch.setattr(assets, "STATIC", inside)
    assert (await site.nobody.get("/static/inside.txt")).status_code == 200
    assert (await site.nobody.get("/static/link.txt")).status_code == 404


async def test_a_message_for_the_next_screen_is_text_whoever_wrote_its_cookie(site: Site) -> None:
    """It is not signed: it says nothing that its reader could not have said to themselves, and it is never code."""
    ada = Browser(site.anonymous())
    for kind, text in (("good", HOSTILE), (HOSTILE, "x"), ("'><script>p0wned()</script>", "")):
        flash = cursor_of([[kind, text]])
        page = await ada.client.get("/login", headers=HTML | {"Cookie": f"callboard_flash={flash}"})
        harmless("/login", page.text)
    for broken in ("x", "", "W10", cursor_of([[1, 2]]), cursor_of("x"), "é", cursor_of([["a", "b", "c"]])):
        cookie: Any = f"callboard_flash={broken}".encode()
        page = await ada.client.get("/login", headers=HTML | {"Cookie": cookie})
        assert page.status_code == 200
