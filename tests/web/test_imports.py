"""Import of drivers and deliveries: files of spreadsheet programs, their limits, each row's result, and repeats."""

import asyncio
import io
import zipfile
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest

from server.store.engine import READING
from server.store.imports import LOCK, UNLOCK
from server.web.api.import_values import BadCell, DateOrder, ValueKind, value_of
from tests import spreadsheets as sheets
from tests.conftest import StartNode
from tests.waiting import until
from tests.web.conftest import Check, Site
from tests.web.html_tree import parse
from tests.web.people import logged_in

CSV = {"Content-Type": "text/csv"}
XLSX = {"Content-Type": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
EVENING = datetime(2098, 12, 24, 18, 30)  # noqa: DTZ001 - as a person writes it
DRIVERS: sheets.Table = [
    ["name", "phone", "zone", "capacity", "vehicle", "tags", "externalRef", "shiftEndsAt"],
    ["Zoë Müller; Köln", "+49 151 234", "Süd", 2, "Fahrrad", "cool bag|alcohol", "D-1", EVENING],
    ['Éric "Le Rapide"', None, None, None, None, None, "D-2", None],
    ["Two\r\nlines", "0049 1", "north", 1, None, "car", "D-3", None],
]
ORDERS: sheets.Table = [
    ["sellerOrderId", "storeName", "pickup.lat", "pickup.lon", "pickup.address", "dropoff.lat", "dropoff.lon",
     "dropoff.name", "dropoff.phone", "priceCents", "dispatchAt", "requirements"],
    [1001, "Pizza Roma", 52.52, 13.405, "Torstraße 1; Hof", 52.53, 13.41, "Anna", "'+49 151", 2490, EVENING, "car|bag"],
    ["1002", "Pizza Roma", "52,52", "13,405", None, "52,53", "13,41", None, None, None, None, None],
]  # fmt: skip


async def send(
    client: httpx2.AsyncClient, kind: str, data: bytes | str, headers: dict[str, str] | None = None, **query: Any
) -> httpx2.Response:
    content = data.encode() if isinstance(data, str) else data
    is_excel = content.startswith(b"PK")
    return await client.post(
        f"/imports/{kind}", content=content, params=query, headers=headers or (XLSX if is_excel else CSV)
    )


async def imported(site: Site, kind: str, data: bytes | str, **query: Any) -> dict[str, Any]:
    answer = await send(site.alice, kind, data, **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def outcome(result: dict[str, Any]) -> tuple[int, int, int]:
    return result["created"], result["unchanged"], result["failed"]


def mistakes(result: dict[str, Any]) -> dict[int, dict[str, str]]:
    return {
        row["line"]: {one["column"]: one["message"] for one in row["errors"]} for row in result["rows"] if not row["ok"]
    }


@pytest.mark.parametrize("program", sheets.PROGRAMS, ids=lambda program: program.__name__)
async def test_drivers_are_imported_from_the_files_of_every_program(
    site: Site, program: Callable[[sheets.Table], bytes]
) -> None:
    data = program(DRIVERS)
    tried = await imported(site, "drivers", data, dryRun=1, dates="dmy")
    assert (outcome(tried), mistakes(tried)) == ((3, 0, 0), {})
    assert [row.get("id") for row in tried["rows"]] == [None] * 3
    assert (await site.alice.get("/drivers")).json()["items"] == []
    done = await imported(site, "drivers", data, dates="dmy")
    assert outcome(done) == (3, 0, 0)
    lines = [row["line"] for row in done["rows"]]
    assert lines[0] == 2
    zoe, eric, two = [(await site.alice.get(f"/drivers/{row['id']}")).json() for row in done["rows"]]
    wanted = {
        "name": "Zoë Müller; Köln", "phone": "+49 151 234", "zone": "Süd", "capacity": 2, "vehicle": "Fahrrad",
        "tags": ["cool bag", "alcohol"], "externalRef": "D-1", "shiftEndsAt": "2098-12-24T18:30:00.000Z",
    }  # fmt: skip
    assert {name: zoe[name] for name in wanted} == wanted
    assert (eric["name"], eric["zone"], eric["capacity"]) == ('Éric "Le Rapide"', "default", 1)
    assert two["name"].split() == ["Two", "lines"]
    again = await imported(site, "drivers", data, dates="dmy")
    assert outcome(again) == (0, 3, 0)
    assert [row["id"] for row in again["rows"]] == [row["id"] for row in done["rows"]]


@pytest.mark.parametrize("program", [sheets.excel_windows, sheets.excel], ids=lambda program: program.__name__)
async def test_deliveries_are_imported_in_the_time_zone_of_the_company(
    node: StartNode, program: Callable[[sheets.Table], bytes]
) -> None:
    site = Site(await node(time_zone="Europe/Berlin"))
    try:
        data = program(ORDERS)
        tried = await imported(site, "deliveries", data, dryRun=1, dates="dmy")
        assert (outcome(tried), mistakes(tried)) == ((2, 0, 0), {})
        assert (await site.alice.get("/deliveries")).json()["items"] == []
        done = await imported(site, "deliveries", data, dates="dmy")
        assert outcome(done) == (2, 0, 0)
        first, second = [(await site.alice.get(f"/deliveries/{row['id']}")).json() for row in done["rows"]]
        assert (first["sellerOrderId"], first["pickup"]["lat"], first["priceCents"]) == ("1001", 52.52, 2490)
        assert (first["dropoff"]["phone"], first["requirements"]) == ("+49 151", ["car", "bag"])
        assert (first["dispatchAt"], first["status"]) == ("2098-12-24T17:30:00.000Z", "SCHEDULED")
        assert (second["sellerOrderId"], second["dropoff"]["lat"], second["status"]) == ("1002", 52.53, "READY")
        for query in ({}, {"dryRun": 1}):
            again = await imported(site, "deliveries", data, dates="dmy", **query)
            assert outcome(again) == (0, 2, 0), again
            assert [row["id"] for row in again["rows"]] == [first["id"], second["id"]]
    finally:
        await site.close()


HEAD = "sellerOrderId,storeName,pickup.lat,pickup.lon,dropoff.lat,dropoff.lon,notes,currency,dispatchAt\n"


ORDER = HEAD + "1,Roma,52.52,13.4,52.53,13.41,Ring,,\n"


async def test_each_row_has_its_own_result(site: Site) -> None:
    rows = HEAD + (
        "1,Roma,52.52,13.4,52.53,13.41,,,\n"
        "\n"
        "1,Roma,52.52,13.4,52.53,13.41,,,\n"  # line 4: a duplicate
        "1,Bowl,52.52,13.4,52.53,13.41,,,\n"  # another with the same number
        ",Roma,52.52,13.4,95,x,,,\n"
        "2,Roma,52.52,13.4,52.53,13.41,=1+1,,\n"
        "3,Roma,52.52,13.4,52.53,13.41,,XXX,\n"
        "4,Roma,52.52,13.4,52.53,13.41,,EUR,\n"  # no pay in the policy's currency
        "5,Roma,52.52,13.4,52.53,13.41,,,03/04/2027 10:00\n"
        "6,Roma,52.52,13.4,,,,,,beyond\n"
        "4.91512E+12,Roma,52.52,13.4,52.53,13.41,,,\n"
    )
    wanted = {
        5: {"storeName": "differs from line 2"},
        6: {
            "sellerOrderId": "is required", "dropoff.lat": "expected float <= 90.0", "dropoff.lon": "must be a number",
        },
        7: {"notes": "must not be a formula"},
        8: {"currency": "is not a currency of ISO 4217"},
        9: {"driverPayCents": "The policy pays in another currency. Send driverPayCents."},
        10: {"dispatchAt": "can be read in two ways: say how dates are written"},
        11: {"": "cell 10 is in a column without a name", "dropoff.lat": "is required", "dropoff.lon": "is required"},
        12: {"sellerOrderId": "was shortened by the spreadsheet program: write it as text"},
    }  # fmt: skip
    tried = await imported(site, "deliveries", rows, dryRun="true")
    assert mistakes(tried) == wanted
    repeats = {"column": "", "message": "repeats line 2", "code": "repeats"}
    assert tried["rows"][1]["warnings"] == [repeats]
    assert "id" not in tried["rows"][1], "nothing is saved"
    assert outcome(tried) == (1, 1, 8)
    done = await imported(site, "deliveries", rows)
    assert mistakes(done) == wanted
    assert outcome(done) == (1, 1, 8)
    assert done["rows"][1]["id"] == done["rows"][2]["id"] == done["rows"][0]["id"]
    assert done["rows"][1]["warnings"] == [repeats]
    assert done["rows"][2]["errors"][0]["code"] == "differs"
    assert [row["result"] for row in done["rows"][:3]] == ["created", "unchanged", "failed"]
    again = await imported(site, "deliveries", rows, dates="mdy")
    assert outcome(again) == (1, 2, 7)
    assert mistakes(again)[5] == {"storeName": "differs from what exists already"}
    assert again["rows"][1]["warnings"] == []
    [scheduled] = (await site.alice.get("/deliveries?sellerOrderId=5")).json()["items"]
    assert scheduled["dispatchAt"] == "2027-03-04T10:00:00.000Z"


async def test_a_row_is_compared_with_what_was_posted_first(site: Site) -> None:
    made = (await imported(site, "deliveries", ORDER))["rows"][0]["id"]
    version = (await site.alice.get(f"/deliveries/{made}")).json()["version"]
    patched = await site.alice.patch(f"/deliveries/{made}", json={"version": version, "notes": "Knock"})
    assert patched.status_code == 200, patched.text
    for query in ({}, {"dryRun": 1}):
        assert outcome(await imported(site, "deliveries", ORDER, **query)) == (0, 1, 0)
        changed = await imported(site, "deliveries", ORDER.replace("Ring", "Knock"), **query)
        assert mistakes(changed) == {2: {"notes": "differs from what exists already"}}


async def test_a_driver_without_a_reference_is_known_by_phone_or_name(site: Site) -> None:
    head = "name,phone,vehicle\n"
    assert outcome(await imported(site, "drivers", head + "Dan,+49 1,bike\nDora,,\nDan,+49 1,bike\n")) == (2, 1, 0)
    assert outcome(await imported(site, "drivers", head + "DORA ,,\n")) == (0, 0, 1)
    changed = await imported(site, "drivers", head + "Dan,+49 1,car\nDan,+49 2,bike\nMax,+49 1,bike\n")
    assert mistakes(changed) == {
        2: {"vehicle": "differs from what exists already"},
        3: {"phone": "differs from what exists already"},
        4: {"name": "differs from what exists already"},
    }
    other = await imported(site, "drivers", "name,externalRef\nDan,D-9\nDan,D-9\nDaniel,D-9\n")
    assert outcome(other) == (1, 1, 1)
    assert len((await site.alice.get("/drivers")).json()["items"]) == 3


async def test_a_driver_who_is_in_the_file_twice_is_named_by_the_line(site: Site) -> None:
    rows = "name,externalRef,phone\nDan,7,+49 171 1\nDora,8,\nDan,7,+49 171 1\nDan,7,+49 171 2\n"
    for query in ({"dryRun": 1}, {}):
        found = await imported(site, "drivers", rows, **query)
        assert mistakes(found) == {5: {"phone": "differs from line 2"}}
        assert [row["warnings"] for row in found["rows"][2:]] == [
            [{"column": "", "message": "repeats line 2", "code": "repeats"}],
            [],
        ]
        assert ["id" in row for row in found["rows"]] == [not query] * 4
    again = await imported(site, "drivers", rows)
    assert mistakes(again) == {5: {"phone": "differs from what exists already"}}


def an_archive(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return data.getvalue()


@pytest.mark.parametrize(
    "names",
    [("mimetype", "content.xml"), ("Index/Document.iwa",), ("[Content_Types].xml", "xl/workbook.bin"), ("a.csv",)],
    ids=["ods", "numbers", "xlsb", "zip"],
)
async def test_a_file_of_another_program_is_no_damaged_one(site: Site, problem: Check, names: tuple[str, ...]) -> None:
    answer = await send(site.alice, "drivers", an_archive(*names), headers=XLSX)
    [error] = problem(answer, 422, "invalid")["errors"]
    assert error["message"] == "The file is of another kind, such as .ods or .numbers: save it as CSV or as .xlsx."


async def test_a_title_above_the_headings_is_named(site: Site, problem: Check) -> None:
    answer = await send(site.alice, "drivers", "Our drivers in May;;\n;;\nName;Phone\nDan;+49 171 1\n")
    [first, second] = problem(answer, 422, "invalid")["errors"]
    assert first == {"field": "file", "message": "The first line must name the columns."}
    assert second == {"field": "Our drivers in May", "message": "is an unknown column"}


SOON = timedelta(milliseconds=50)
ASKED = "SELECT query_start FROM pg_stat_activity WHERE datname = current_database() AND query = $1 AND pid <> $2"
"""When somebody else asked for the lock last."""


async def test_imports_of_drivers_wait_for_each_other(node: StartNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a statement may wait for a lock: the second one asks for it again and again."""
    monkeypatch.setitem(READING, "lock_timeout", f"{SOON // timedelta(milliseconds=1)}ms")
    site = Site(await node())
    pool = site.node.app.state.node.database.pool
    asked: set[datetime] = set()
    async with pool.acquire() as connection:
        assert await connection.fetchval(LOCK)
        running = asyncio.create_task(imported(site, "drivers", "name\nDan\n"))

        async def asked_again() -> bool:
            if at := await site.node.change(ASKED, LOCK, connection.get_server_pid()):
                asked.add(at)
            return running.done() or (len(asked) > 1 and max(asked) - min(asked) > SOON)

        await until(asked_again)
        assert not running.done()
        assert (await site.alice.get("/drivers")).json()["items"] == []
        await connection.execute(UNLOCK)
    assert outcome(await running) == (1, 0, 0)
    await site.close()


async def test_the_same_file_at_once_registers_nobody_twice(site: Site) -> None:
    rows = "name\n" + "".join(f"Driver {number}\n" for number in range(120))
    results = await asyncio.gather(*(imported(site, "drivers", rows) for _ in range(3)))
    assert sorted(map(outcome, results)) == [(0, 120, 0), (0, 120, 0), (120, 0, 0)]


async def test_a_file_that_cannot_be_imported_is_refused_as_a_whole(site: Site, problem: Check) -> None:
    def errors(answer: httpx2.Response) -> list[dict[str, str]]:
        found: list[dict[str, str]] = problem(answer, 422, "invalid")["errors"]
        return found

    wrong = errors(await send(site.alice, "drivers", "name,colour,phone,Phone\nDan,red,1,2\n"))
    assert wrong == [
        {"field": "colour", "message": "is an unknown column"},
        {"field": "phone", "message": "is there twice"},
    ]
    assert errors(await send(site.alice, "drivers", b""))[0]["field"] == "file"
    assert errors(await send(site.alice, "drivers", b" \n\n"))[0]["field"] == "file"
    assert errors(await send(site.alice, "drivers", "name\nD\u0131n\n".encode("utf-8") + b"\x81\xff"))
    assert errors(await send(site.alice, "drivers", b"PK\x03\x04 is no archive", headers=XLSX))
    for data in (b"\x89PNG\r\n\x1a\n\x00\x00", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00"):
        problem(await send(site.alice, "drivers", data), 415, "unsupported_media_type")
    problem(
        await send(site.alice, "drivers", "name\n", headers={"Content-Type": "image/png"}),
        415,
        "unsupported_media_type",
    )
    problem(await send(site.alice, "drivers", b"x" * (5 * 1024 * 1024 + 1)), 413, "too_large")
    blank = b"name\nDan\n" + b"\n" * (5 * 1024 * 1024 - 9)
    assert (await send(site.alice, "drivers", blank, dryRun=1)).status_code == 200
    many = "name\n" + "".join(f"D{number}\n" for number in range(10_001))
    problem(await send(site.alice, "drivers", many), 413, "too_large")
    problem(await send(site.alice, "drivers", "name," + "," * 300 + "x\nDan\n"), 413, "too_large")
    problem(await send(site.alice, "drivers", "name\n" + "x" * 10_001), 413, "too_large")
    unclosed = errors(await send(site.alice, "drivers", 'name\nDan\n"' + "x\n" * 50_000))
    assert unclosed[0]["message"] == "Line 3 cannot be read: is a quotation mark missing?"
    assert errors(await send(site.alice, "drivers", "name\nDan\n", dates="dym"))
    assert (await site.alice.get("/drivers")).json()["items"] == []


def one_text(text: str) -> str:
    """A sheet with the header `name` and one row."""
    cell = '<row><c t="inlineStr"><is><t>{}</t></is></c></row>'
    return f"<sheetData>{cell.format('name')}{cell.format(text)}</sheetData>"


async def test_an_excel_file_can_do_no_harm(site: Site, problem: Check) -> None:
    head = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e "lol"><!ENTITY f "&e;&e;&e;&e;">]>'
    answer = await send(site.alice, "drivers", sheets.workbook(one_text("&f;"), head=head))
    assert "entities" in problem(answer, 422, "invalid")["errors"][0]["message"]
    bomb = sheets.workbook(one_text("x" * 60_000_000))
    assert len(bomb) < 200_000
    assert "unpacked" in problem(await send(site.alice, "drivers", bomb), 413, "too_large")["detail"]
    lying, at = bytearray(bomb), -1
    while (at := lying.find(b"PK\x01\x02", at + 1)) >= 0:
        lying[at + 24 : at + 28] = (10_000).to_bytes(4, "little")  # the size that the archive declares
    problem(await send(site.alice, "drivers", bytes(lying)), 422, "invalid")
    formula = one_text("x").replace("</sheetData>", "<row><c><f>1+1</f><v>2</v></c></row></sheetData>")
    assert mistakes(await imported(site, "drivers", sheets.workbook(formula))) == {3: {"name": "must not be a formula"}}


PLAIN: dict[str, tuple[list[str], list[str]]] = {
    "english": (
        ["Name", "Phone", "Vehicle", "Zone", "Number"],
        ["Order No.", "Store", "Position of the store", "Customer", "Phone", "Address", "Latitude", "Longitude", "Time",
         "Total", "Comment"],
    ),
    "german": (
        ["Fahrer", "Handynummer", "Fahrzeug", "Gebiet", "Personalnummer"],
        ["Bestell-Nr.", "Filiale", "Position of the store", "Kunde", "TELEFON", "Lieferadresse", "Breitengrad",
         "L\u00e4ngengrad", "Uhrzeit", "Gesamtbetrag", "Bemerkung"],
    ),
    "french": (
        ["Nom", "T\u00e9l\u00e9phone", "V\u00e9hicule", "Secteur", "N\u00b0"],
        ["N\u00b0 de commande", "Magasin", "Position of the store", "Client", "Portable", "Adresse de livraison",
         "Latitude", "Longitude", "Heure de livraison", "Montant", "Remarque"],
    ),
}  # fmt: skip
"""Headings of drivers and of orders, as people write them."""


@pytest.mark.parametrize("language", PLAIN)
async def test_plain_headings_are_understood(node: StartNode, language: str) -> None:
    site = Site(await node(time_zone="Europe/Berlin"))
    drivers, orders = PLAIN[language]
    table: sheets.Table = [drivers, ["Zo\u00eb", "0151 2", "bike", "north", "D-1"]]
    done = await imported(site, "drivers", sheets.excel_windows(table))
    assert (outcome(done), mistakes(done)) == ((1, 0, 0), {})
    zoe = (await site.alice.get(f"/drivers/{done['rows'][0]['id']}")).json()
    wanted = {"name": "Zo\u00eb", "phone": "0151 2", "vehicle": "bike", "zone": "north", "externalRef": "D-1"}
    assert {name: zoe[name] for name in wanted} == wanted
    table = [
        orders,
        ["7", "Roma", "52,52 13,40", "Anna", "0151 3", "Torstr. 1", "52,53", "13,41", "18:30", "24,90 \u20ac", "Ring"],
    ]
    done = await imported(site, "deliveries", sheets.excel_windows(table))
    assert (outcome(done), mistakes(done)) == ((1, 0, 0), {})
    order = (await site.alice.get(f"/deliveries/{done['rows'][0]['id']}")).json()
    assert (order["sellerOrderId"], order["storeName"], order["notes"]) == ("7", "Roma", "Ring")
    assert (order["pickup"]["lat"], order["pickup"]["lon"]) == (52.52, 13.4)
    place = {"lat": 52.53, "lon": 13.41, "name": "Anna", "phone": "0151 3", "address": "Torstr. 1"}
    assert {name: order["dropoff"][name] for name in place} == place
    assert (order["priceCents"], order["currency"]) == (2490, "USD")
    promised = datetime.fromisoformat(order["promisedAt"]).astimezone(ZoneInfo("Europe/Berlin"))
    assert (promised.hour, promised.minute) == (18, 30)
    await site.close()


async def test_a_heading_is_one_column_and_amounts_have_the_digits_of_their_currency(
    site: Site, problem: Check
) -> None:
    refused = problem(await send(site.alice, "drivers", "Phone,Handy,name\n1,2,Dan\n"), 422, "invalid")
    assert refused["errors"] == [{"field": "phone", "message": "is there twice"}]
    refused = problem(await send(site.alice, "drivers", "Handy,Telefon,name\n1,2,Dan\n"), 422, "invalid")
    assert refused["errors"] == [{"field": "phone", "message": "is there twice: Handy, Telefon"}]
    head = "number,store,position of the store,position,driver pay,price,currency\n"
    rows = (
        '1,A,"1,2","3,4",5,1500,JPY\n2,A,"1,2","3,4",5,15.5,JPY\n'
        '3,A,"1,2","3,4",5,1.5,KWD\n4,A,"1,2",there,5,much,EUR\n'
    )
    done = await imported(site, "deliveries", head + rows)
    assert mistakes(done) == {
        3: {"priceCents": "has too many digits for JPY"},
        5: {
            "dropoff.at": "must be latitude and longitude, such as 59.437, 24.754",
            "priceCents": "must be an amount such as 24.90",
        },
    }
    created = {
        one["sellerOrderId"]: (one["priceCents"], one["currency"])
        for one in (await site.alice.get("/deliveries")).json()["items"]
    }
    assert created == {"1": (1500, "JPY"), "3": (1500, "KWD")}
    exact = await imported(site, "deliveries", HEAD.replace("notes", "priceCents") + "9,A,1,2,3,4,24.90,,\n")
    assert mistakes(exact) == {2: {"priceCents": "must be a whole number"}}, "the contract's column is in cents"


async def test_new_rows_with_a_time_in_the_past_are_named(site: Site) -> None:
    rows = HEAD + "1,Roma,52.52,13.4,52.53,13.41,,,2020-02-01 10:00\n2,Roma,52.52,13.4,52.53,13.41,,,2098-02-01 10:00\n"
    warning = [{"column": "dispatchAt", "message": "is in the past", "code": "in_the_past"}]
    tried = await imported(site, "deliveries", rows, dryRun=1)
    assert [row["warnings"] for row in tried["rows"]] == [warning, []]
    alice = await logged_in(site, "Alice", "ops")
    headers = {**CSV, "X-CSRF-Token": await alice.csrf_token("/board"), "HX-Request": "true"}
    shown = parse((await alice.client.post("/orders/import?dryRun=1", content=rows, headers=headers)).text)
    assert "1 new row has a time in the past." in shown.text
    assert shown.one("button").text == "Import 2 new rows anyway"
    assert "dispatchAt is in the past" in shown.every("tr")[1].text
    done = await imported(site, "deliveries", rows)
    assert (outcome(done), done["rows"][0]["warnings"]) == ((2, 0, 0), warning)
    again = await imported(site, "deliveries", rows)
    assert (outcome(again), again["rows"][0]["warnings"]) == ((0, 2, 0), [])
    ended = await imported(site, "drivers", "name,shift ends\nDan,2020-02-01 22:00\n", dryRun=1)
    assert ended["rows"][0]["warnings"][0]["column"] == "shiftEndsAt"
    german = b"Fahrer;Handy\nDan;0151 1\n;0151 2\n"
    shown = parse((await alice.client.post("/board/drivers/import?dryRun=1", content=german, headers=headers)).text)
    assert "Columns: Fahrer = name , Handy = phone" in shown.text
    assert "Fahrer must not be empty" in shown.every("tr")[1].text


async def test_a_phone_is_one_and_a_new_zone_is_named_before_it_is_there(site: Site) -> None:
    await site.driver("Dora", zone="North")
    rows = "name,vehicle,tags,capacity,externalRef,phone,zone\n"
    rows += "Abe,,,1,1,abc,north\nBen,,,1,2,0049 (0)171 5556677,NORTH\nCay,,,1,3,(0151) 222-33 34,Nord\n"
    tried = await imported(site, "drivers", rows, dryRun=1)
    assert mistakes(tried) == {2: {"phone": "must be a phone number"}}
    warning = {"column": "zone", "message": "is a new zone", "code": "new_zone"}
    assert [row["warnings"] for row in tried["rows"]] == [[], [], [warning]]
    alice = await logged_in(site, "Alice", "ops")
    headers = {**CSV, "X-CSRF-Token": await alice.csrf_token("/board"), "HX-Request": "true"}
    path = "/board/drivers/import?dryRun=1"
    preview = parse((await alice.client.post(path, content=rows, headers=headers)).text)
    assert "New zones: Nord" in preview.text
    assert preview.one("button").text == "Import 2 new rows anyway"
    assert [cell.text for cell in preview.every("th")][2:] == [
        *("name", "vehicle", "tags", "capacity", "externalRef", "zone"), "2", "4", "3",
    ]  # fmt: skip
    done = await imported(site, "drivers", rows)
    assert outcome(done) == (2, 0, 1)
    drivers = (await site.alice.get("/drivers")).json()["items"]
    assert {one["name"]: one["phone"] for one in drivers if one["phone"]} == {
        "Ben": "+49 171 5556677",
        "Cay": "(0151) 222-33 34",
    }
    assert outcome(await imported(site, "drivers", rows)) == (0, 2, 1), "the same file again changes nothing"


async def test_german_and_french_headings_of_orders_and_the_list_of_those_that_are_known(site: Site) -> None:
    german = "Bestellnummer;Geschäft;Breite des Geschäfts;Länge des Geschäfts;Kunde;Kundentelefon;Breite;Länge;"
    french = "Numéro;Magasin;Latitude du magasin;Longitude du magasin;Client;Téléphone client;Latitude;Longitude;"
    row = ";Roma;52,52;13,4;Eve;0151 222;52,53;13,41;2098-02-01 10:00;Ring\n"
    for number, head in (("1", german + "Liefern bis;Notizen\n"), ("2", french + "Livrer avant;Remarques\n")):
        done = await imported(site, "deliveries", head + number + row)
        assert (outcome(done), mistakes(done)) == ((1, 0, 0), {})
        order = (await site.alice.get(f"/deliveries/{done['rows'][0]['id']}")).json()
        assert (order["dropoff"]["phone"], order["dropoff"]["lat"], order["notes"]) == ("0151 222", 52.53, "Ring")
        assert order["promisedAt"] is not None
    alice = await logged_in(site, "Alice", "ops")
    headers = {**CSV, "X-CSRF-Token": await alice.csrf_token("/board"), "HX-Request": "true"}
    refused = await alice.client.post("/orders/import?dryRun=1", content="Farbe\nrot\n", headers=headers)
    assert refused.status_code == 422
    assert "liefern bis" in parse(f"<div>{refused.text}</div>").one("dl", class_="known-columns").text


async def test_who_may_import(site: Site, problem: Check) -> None:
    made = await site.ada.post("/admin/api-keys", json={"name": "roma", "sellerId": "roma"})
    seller = site.anonymous({"Authorization": f"Bearer {made.json()['key']}"})
    for kind in ("drivers", "deliveries"):
        problem(await send(seller, kind, "name\nDan\n"), 403, "forbidden")
        problem(await send(site.vic, kind, "name\nDan\n"), 403, "forbidden")
        problem(await send(site.nobody, kind, "name\nDan\n"), 401, "unauthorized")
    assert (await send(site.shop, "drivers", "name\nDan\n")).status_code == 200


async def test_the_screen_previews_a_file_and_imports_it(site: Site) -> None:
    alice = await logged_in(site, "Alice", "ops")
    page = parse((await alice.see("/board/drivers/import")).text)
    assert page.one("input", id="file")["type"] == "file"
    columns = (await alice.see("/board/drivers/import/columns.csv")).content
    assert columns.decode("utf-8-sig").split("\r\n")[0].startswith("name,externalRef,phone")
    assert outcome(await imported(site, "drivers", columns)) == (0, 0, 0)
    headers = {**CSV, "X-CSRF-Token": await alice.csrf_token("/board"), "HX-Request": "true"}
    rows = "name,capacity\nDan,1\n,500\n<b>,1\n"

    async def shown(data: str, path: str = "/board/drivers/import") -> tuple[int, str]:
        answer = await alice.client.post(path, content=data, headers=headers)
        return answer.status_code, answer.text

    status, text = await shown(rows, "/board/drivers/import?dryRun=1")
    preview = parse(text)
    assert (status, preview.one("button").text) == (200, "Import 2 new rows")
    first = preview.every("tr")[1]
    assert "name must not be empty" in first.text
    assert "capacity must be at most 100" in first.text
    assert "<b>" not in text
    assert (await site.alice.get("/drivers")).json()["items"] == []
    status, text = await shown(rows)
    assert parse(text).every("button") == []
    assert len((await site.alice.get("/drivers")).json()["items"]) == 2
    status, text = await shown("nickname\nDan\n")
    assert (status, "is an unknown column" in text) == (422, True)
    status, text = await shown(ORDER, "/orders/import")
    assert status == 200
    assert [one["sellerOrderId"] for one in (await site.alice.get("/deliveries")).json()["items"]] == ["1"]


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "kind", "dates", "wanted"),
    [
        ("1.234,5", "number", None, 1234.5), ("1,234.5", "number", None, 1234.5), ("52,52", "number", None, 52.52),
        ("\u22121,5", "number", None, -1.5), ("1 234", "whole", None, 1234), ("1\u202f234", "whole", None, 1234),
        ("1.234.567", "whole", None, 1234567), ("12,00", "whole", None, 12), ("12,50", "whole", None, "whole number"),
        ("1.2,3", "whole", None, "whole number"), ("twelve", "number", None, "a number"),
        ("24,90 \u20ac", "amount", None, Decimal("24.9")), ("EUR 1.234,50", "amount", None, Decimal("1234.5")),
        ("$1,234,567", "amount", None, Decimal(1234567)), ("1.500", "amount", None, "two ways"),
        ("1 500 kr.", "amount", None, Decimal(1500)), ("10 %", "amount", None, "an amount"),
        ("52,53 13,41", "position", None, (52.53, 13.41)), ("Torstr.", "position", None, "latitude and longitude"),
        ("1e400", "number", None, "a number"),
        ("03.04.2026 18:30", "instant", "dmy", "2026-04-03T18:30:00+02:00"),
        ("03/04/2026 18h30", "instant", "dmy", "2026-04-03T18:30:00+02:00"),
        ("3/4/26 6:30 PM", "instant", "mdy", "2026-03-04T18:30:00+01:00"),
        ("26/03/04", "instant", "ymd", "2026-03-04T00:00:00+01:00"),
        ("13.04.2026", "instant", None, "2026-04-13T00:00:00+02:00"),
        ("05.05.2026 9:05", "instant", None, "2026-05-05T09:05:00+02:00"),
        ("2026-02-01 10:00", "instant", "dmy", "2026-02-01T10:00:00+01:00"),
        ("2026-02-01T10:00:00.500Z", "instant", None, "2026-02-01T10:00:00.500Z"),
        ("2026-02-01 10:00 +0300", "instant", None, "2026-02-01T10:00:00+03:00"),
        ("03/04/2026", "instant", None, "two ways"), ("03.04.2026", "instant", None, "two ways"),
        ("30.02.2026", "instant", "dmy", "the calendar"), ("13/04/2026", "instant", "mdy", "month, day, year"),
        ("2026-03-29 02:30", "instant", None, "clocks change"), ("2026-10-25 02:30", "instant", None, "clocks change"),
        ("2026-02-01 25:00", "instant", None, "time such as"), ("tomorrow", "instant", None, "date with a time"),
        (" a | b||c ", "list", None, ["a", "b", "c"]), ('="0151"', "text", None, "0151"), ("'=x", "text", None, "=x"),
        ("=x", "text", None, "a formula"), ("4,9E+12", "text", None, "was shortened"),
        ("a\x00b", "text", None, "be stored"),
        ("\u00a0 x \ufeff", "text", None, "x"), ("\u00a0", "text", None, None),
    ],
)  # fmt: skip
def test_cells_are_read_as_people_write_them(text: str, kind: ValueKind, dates: DateOrder | None, wanted: Any) -> None:
    if isinstance(wanted, str) and " " in wanted:
        with pytest.raises(BadCell, match=wanted):
            value_of(text, kind, dates, BERLIN)
    else:
        assert value_of(text, kind, dates, BERLIN) == wanted


def test_a_time_without_a_day_is_of_today_only_where_today_is_known() -> None:
    today = date(2026, 2, 1)
    for text, wanted in {
        "18:30": "18:30",
        "6:30 pm": "18:30",
        "18h30": "18:30",
        "9h": "09:00",
    }.items():
        assert value_of(text, "instant", None, BERLIN, today) == f"2026-02-01T{wanted}:00+01:00"
    for text in ("18", "25:00", "1830"):
        with pytest.raises(BadCell):
            value_of(text, "instant", None, BERLIN, today)
    with pytest.raises(BadCell):
        value_of("18:30", "instant", None, BERLIN)


def test_a_number_that_the_spreadsheet_has_rounded_is_no_text() -> None:
    """Excel keeps 15 digits: two long order numbers would be one."""
    assert value_of(999_999_999_999_999, "text", None, BERLIN) == "999999999999999"
    for number in (1_234_567_890_123_450_000, -1e15, 1e15):
        with pytest.raises(BadCell, match="was shortened"):
            value_of(number, "text", None, BERLIN)


@pytest.mark.parametrize("heading", ["phone", "Tel.", "Telefon-Nr.", "Handy-Nr.", "phone no."])
async def test_a_phone_is_read_as_one_under_every_heading(site: Site, heading: str) -> None:
    found = await imported(site, "drivers", f"name,{heading}\nAbe,none\nBen,0049 (0)171 5556677\n")
    assert mistakes(found) == {2: {"phone": "must be a phone number"}}
    [ben] = (await site.alice.get("/drivers")).json()["items"]
    assert ben["phone"] == "+49 171 5556677"
