"""CSV files are written as the spreadsheet program of who downloads them reads them, and imports read them all."""

import csv
import io
from typing import Any

import httpx2
import pytest

from server.board.csv_forms import SWISS, csv_form_for, csv_form_in
from server.contract.csv_files import COMMAS, SEMICOLONS, CsvForm
from tests.web.conftest import Site
from tests.web.html_tree import parse
from tests.web.people import Browser, logged_in
from tests.web.test_imports import imported

MARK = "\ufeff".encode()


def read_as(form: CsvForm, answer: httpx2.Response) -> list[dict[str, str]]:
    """The rows, as a program reads them that knows this separator only."""
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(MARK), "Excel knows UTF-8 by this mark only"
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""), delimiter=form.delimiter))


@pytest.mark.parametrize(
    ("accepted", "form"),
    [
        ("", COMMAS), ("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", SEMICOLONS), ("de", SEMICOLONS), ("fr-FR", SEMICOLONS),
        ("es", SEMICOLONS), ("es-MX", COMMAS), ("en-US,en;q=0.9,de;q=0.8", COMMAS),
        ("en;q=0.5,de-AT;q=0.9", SEMICOLONS),
        ("de-CH", SWISS), ("it-CH", SWISS), ("fr-CH", SEMICOLONS), ("de-XX", SEMICOLONS), ("xx", COMMAS), ("*", COMMAS),
        (";;q=,-", COMMAS), ("ja", COMMAS),
    ],
)  # fmt: skip
def test_a_browsers_language_says_how_its_spreadsheets_write(accepted: str, form: CsvForm) -> None:
    assert csv_form_for(accepted) == form


@pytest.mark.parametrize(
    ("time_zone", "form"),
    [
        ("Europe/Berlin", SEMICOLONS), ("Europe/Paris", SEMICOLONS), ("Europe/Zurich", SWISS),
        ("Europe/London", COMMAS),
        ("America/New_York", COMMAS), ("UTC", COMMAS), ("Etc/GMT+5", COMMAS),
    ],
)  # fmt: skip
def test_the_country_of_a_time_zone_says_it_for_mails(time_zone: str, form: CsvForm) -> None:
    assert csv_form_in(time_zone) == form


async def german(site: Site, name: str) -> Browser:
    browser = await logged_in(site, name, "admin")
    browser.client.headers["Accept-Language"] = "de-DE,de;q=0.9,en;q=0.8"
    return browser


async def test_each_file_is_in_the_form_of_the_browser_or_in_the_one_that_is_chosen(site: Site) -> None:
    made = await site.delivery(storeName="Salt; Pepper, Co", tipCents=720)
    ada = await german(site, "Ada")
    [order] = read_as(SEMICOLONS, await ada.see("/orders/file.csv"))
    assert (order["Store"], order["Tip"]) == ("Salt; Pepper, Co", "7,2")
    notes = {}
    for path in ("/orders", f"/report?day={made['createdAt'][:10]}", "/insights"):
        notes[path] = parse((await ada.see(path)).text).one(class_="csv-note")
    assert {note.one("a")["href"] for note in notes.values()} == {"/account#csv"}
    assert {note.text for note in notes.values()} == {"CSV files have semicolons and decimal commas. Change"}
    for path in ("/report/hours.csv", "/insights/zones.csv", "/orders/import/columns.csv"):
        assert ";" in (await ada.see(path)).text.splitlines()[0], path

    [program] = read_as(COMMAS, await site.vic.get("/orders/file.csv"))
    assert (program["Store"], program["Tip"]) == ("Salt; Pepper, Co", "7.2"), "a program says no language"

    account = parse((await ada.see("/account")).text).one(id="csv")
    assert [one["value"] for one in account.every("input", name="csv") if "checked" in one] == [""]
    for choice, form, tip in (("comma", COMMAS, "7.2"), ("semicolon", SEMICOLONS, "7,2"), ("", SEMICOLONS, "7,2")):
        saved = await ada.send("/account/csv", csv=choice)
        assert (saved.status_code, saved.headers["location"]) == (303, "/account")
        [order] = read_as(form, await ada.see("/orders/file.csv"))
        assert (order["Store"], order["Tip"]) == ("Salt; Pepper, Co", tip)
        account = parse((await ada.see("/account")).text).one(id="csv")
        assert [one["value"] for one in account.every("input", name="csv") if "checked" in one] == [choice]
    await ada.send("/account/csv", csv="comma")
    await ada.send("/account/csv", csv="tabs")
    read_as(SEMICOLONS, await ada.see("/orders/file.csv"))
    bo = await german(site, "Bo")
    read_as(SEMICOLONS, await bo.see("/orders/file.csv"))


async def test_an_import_reads_the_empty_file_in_each_form_with_its_decimals(site: Site) -> None:
    ada = await german(site, "Ada")
    results: list[Any] = []
    for choice, decimal in (("semicolon", ","), ("comma", ".")):
        await ada.send("/account/csv", csv=choice)
        empty = await ada.see("/orders/import/columns.csv")
        delimiter = ";" if choice == "semicolon" else ","
        row = {
            "sellerOrderId": choice, "storeName": "Salt; Pepper, Co", "pickup.lat": f"52{decimal}516",
            "pickup.lon": f"13{decimal}4055", "dropoff.lat": f"52{decimal}53", "dropoff.lon": f"13{decimal}41",
            "priceCents": "720",
        }  # fmt: skip
        text = io.StringIO(empty.content.decode("utf-8-sig"), newline="")
        [header] = csv.reader(text, delimiter=delimiter)
        written = io.StringIO()
        writer = csv.DictWriter(written, header, delimiter=delimiter)
        writer.writeheader()
        writer.writerow(row)
        found = await imported(site, "deliveries", MARK + written.getvalue().encode())
        assert (found["created"], found["failed"]) == (1, 0), found
        order = (await site.shop.get("/deliveries", params={"q": choice})).json()["items"][0]
        results.append((order["storeName"], order["pickup"], order["dropoff"], order["priceCents"]))
    assert results[0] == results[1]
    assert results[0][1]["lat"] == 52.516


async def test_an_import_reads_amounts_in_each_form(site: Site) -> None:
    heads = "Number{0}Store{0}Position of the store{0}Position of the customer{0}Price\r\n"
    for delimiter, amount in ((";", "7,20"), (",", "7.20"), (";", "7,2"), (";", "7.2")):
        number = f"{delimiter}{amount}".replace(",", "c").replace(";", "s")
        row = f'{number}{delimiter}Roma{delimiter}"52.52, 13.4"{delimiter}"52.53, 13.41"{delimiter}{amount}\r\n'
        found = await imported(site, "deliveries", heads.format(delimiter) + row)
        assert (found["created"], found["failed"]) == (1, 0), found
        order = (await site.shop.get("/deliveries", params={"q": number})).json()["items"][0]
        assert order["priceCents"] == 720


async def test_an_import_takes_out_the_marks_before_what_could_be_a_formula(site: Site) -> None:
    note = "=ring, -1. Stock, =x; +49"
    made = await site.delivery(notes=note, sellerOrderId="note-1")
    ada = await german(site, "Ada")
    [order] = read_as(SEMICOLONS, await ada.see("/orders/file.csv"))
    assert order["Note for the driver"] == "'=ring, '-1. Stock, '=x; +49", order
    heads = "Number;Store;Position of the store;Position of the customer;Notes\r\n"
    row = f'note-2;Roma;"52.52, 13.4";"52.53, 13.41";"{order["Note for the driver"]}"\r\n'
    found = await imported(site, "deliveries", heads + row)
    assert (found["created"], found["failed"]) == (1, 0), found
    again = (await site.shop.get("/deliveries", params={"q": "note-2"})).json()["items"][0]
    assert again["notes"] == made["notes"] == note
