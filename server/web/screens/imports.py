"""The screens that import drivers and orders from a file: a preview of every row first, then the rows.

The script sends the file as it is, twice: nothing of it stays here in between.
"""

from collections.abc import Mapping
from typing import Final

from litestar import get, post
from litestar.response.base import ASGIResponse
from msgspec import Struct

from server.dispatch.names import name_key
from server.spreadsheets.cells import SheetCell, SpecialCell
from server.texts.speech import counted, later, said
from server.web.access.guards import OPS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.import_headings import headings
from server.web.api.import_rows import UNKNOWN_COLUMN
from server.web.api.import_values import columns_in
from server.web.api.imports import QUERY, Imported, imported_deliveries, imported_drivers
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.errors import FieldError, Problem
from server.web.screens.downloads import table_file
from server.web.screens.driver_list import DRIVERS
from server.web.screens.form_words import field_of, plain_words
from server.web.screens.orders import ORDERS
from server.web.screens.shell import HTML, NO_STORE, fragment, page, rendered

ROWS_SHOWN: Final = 300
CELLS_SHOWN: Final = 5
ZONES_SHOWN: Final = 20
CELL_SHOWN: Final = 60
"""Characters."""
RESULTS: Final = {
    "created": (later("new"), "good"),
    "unchanged": (later("already there"), ""),
    "failed": (later("with a mistake"), "bad"),
}
"""The results in words, and the kind of their tag."""
REQUIRED: Final = {
    "drivers": ("name",),
    "orders": ("sellerOrderId", "storeName", "pickup.lat", "pickup.lon", "dropoff.lat", "dropoff.lon"),
}
COLUMNS: Final = {"drivers": tuple(columns_in(s.NewDriver)), "orders": tuple(columns_in(s.NewDelivery))}
LISTS: Final = {"drivers": DRIVERS, "orders": ORDERS}


class ShownRow(Struct, frozen=True):
    """A row of the preview: some of its cells, its result, what is wrong with it, and what may not be meant."""

    line: int
    cells: list[str]
    result: str
    tag: str
    mistakes: list[tuple[str, str]]
    warnings: list[tuple[str, str]]


@get(f"{DRIVERS}/import", guards=[OPS])
async def import_drivers_screen(request: Call) -> ASGIResponse:
    return await _screen(request, "drivers")


@get(f"{ORDERS}/import", guards=[OPS])
async def import_orders_screen(request: Call) -> ASGIResponse:
    return await _screen(request, "orders")


@get(f"{DRIVERS}/import/columns.csv", guards=[OPS])
async def columns_of_drivers(request: Call) -> ASGIResponse:
    """An empty file with all columns."""
    return _empty(request, "drivers")


@get(f"{ORDERS}/import/columns.csv", guards=[OPS])
async def columns_of_orders(request: Call) -> ASGIResponse:
    """An empty file with all columns."""
    return _empty(request, "orders")


@post(f"{DRIVERS}/import", guards=[OPS], status_code=200)
async def send_drivers(request: Call) -> ASGIResponse:
    """The results of the file in the body; with `?dryRun=1`, nothing is written."""
    try:
        return _results(request, "drivers", await imported_drivers(request, QUERY.of(request)))
    except Problem as problem:
        return _refused(request, problem, s.NewDriver)


@post(f"{ORDERS}/import", guards=[OPS], status_code=200)
async def send_orders(request: Call) -> ASGIResponse:
    """The results of the file in the body; with `?dryRun=1`, nothing is written."""
    try:
        return _results(request, "orders", await imported_deliveries(request, QUERY.of(request)))
    except Problem as problem:
        return _refused(request, problem, s.NewDelivery)


async def _screen(request: Call, what: str) -> ASGIResponse:
    return await page(
        request,
        "import.html",
        nav=LISTS[what].removeprefix("/"),
        what=what,
        columns=COLUMNS[what],
        required=_required(request, what),
        geocodes=node_of(request).geocoder is not None,
        list=LISTS[what],
    )


def _required(request: Call, what: str) -> tuple[str, ...]:
    """With a geocoder, an order's addresses are enough."""
    if what == "drivers" or node_of(request).geocoder is None:
        return REQUIRED[what]
    return ("sellerOrderId", "storeName", "pickup.address", "dropoff.address")


def _empty(request: Call, what: str) -> ASGIResponse:
    return table_file(request, f"callboard-{what}.csv", [COLUMNS[what]])


def _results(request: Call, what: str, found: Imported) -> ASGIResponse:
    view = found.view
    cells = {row.line: row.cells for row in found.sheet.rows}
    header = {name: text for name, text in zip(found.columns, found.sheet.header, strict=True) if name}
    mistakes_first = sorted(view.rows, key=lambda row: (row.ok, not row.warnings))
    shown = _shown_columns(found.columns)
    past = sum(any(one.code == "in_the_past" for one in row.warnings) for row in view.rows)
    new_zones = {
        name_key(str(zone)): str(zone)
        for row in view.rows
        if any(one.code == "new_zone" for one in row.warnings)
        and (zone := cells[row.line][found.columns.index("zone")]) is not None
    }
    warned = bool(past or new_zones)
    return fragment(
        request,
        "import_results.html",
        counts=[
            (counted("{count} new", "{count} new", view.created), "good" if view.created else ""),
            (counted("{count} already there", "{count} already there", view.unchanged), ""),
            (counted("{count} mistake", "{count} mistakes", view.failed), "bad" if view.failed else ""),
        ],
        to_write=view.created if QUERY.of(request).dry_run else 0,
        is_preview=QUERY.of(request).dry_run,
        header=[found.sheet.header[at][:CELL_SHOWN] for at in shown],
        translated=[(text[:CELL_SHOWN], name) for name, text in header.items() if text.casefold() != name.casefold()],
        rows=[_row(row, cells[row.line], header, shown) for row in mistakes_first[:ROWS_SHOWN]],
        past=counted("{count} new row has a time in the past.", "{count} new rows have a time in the past.", past)
        if past
        else "",
        new_zones=[zone[:CELL_SHOWN] for zone in sorted(new_zones.values())[:ZONES_SHOWN]],
        hidden=len(view.rows) - ROWS_SHOWN,
        list=LISTS[what],
        write=counted("Import {count} new row anyway", "Import {count} new rows anyway", view.created)
        if warned
        else counted("Import {count} new row", "Import {count} new rows", view.created),
    )


def _by_text(found: list[a.ImportMistake], headings: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each text with the columns that it is about, by their headings in the file."""
    columns: dict[str, list[str]] = {}
    for one in found:
        heading = headings.get(one.column) or headings.get(field_of(one.column)) or one.column
        names = columns.setdefault(plain_words(one.message), [])
        if heading not in names:
            names.append(heading)
    return [(", ".join(filter(None, names)), text) for text, names in columns.items()]


def _shown_columns(columns: list[str]) -> list[int]:
    """The places of the columns that the preview shows: the first ones, and the zone."""
    first = list(range(min(CELLS_SHOWN, len(columns))))
    zone = columns.index("zone") if "zone" in columns else 0
    return first if zone in first or not first else [*first, zone]


def _row(row: a.ImportRow, cells: list[SheetCell], headings: Mapping[str, str], columns: list[int]) -> ShownRow:
    text, tag = RESULTS[row.result]
    mistakes, warnings = _by_text(row.errors, headings), _by_text(row.warnings, headings)
    shown = [_cell(cells[at]) if at < len(cells) else "" for at in columns]
    return ShownRow(row.line, shown, said(text), tag, mistakes, warnings)


def _cell(cell: SheetCell) -> str:
    text = cell.text.replace("T", " ") if isinstance(cell, SpecialCell) else "" if cell is None else str(cell)
    return text if len(text) <= CELL_SHOWN else f"{text[:CELL_SHOWN]}…"


def _refused(request: Call, problem: Problem, kind: type[Struct]) -> ASGIResponse:
    """Why the file as a whole is refused, with the headings that are known if it has others. Raises what is not about
    the file.
    """
    if problem.kind.status not in (413, 415, 422):
        raise problem
    errors: list[FieldError] = problem.more.get("errors", [])
    problems = [(error.field if error.field != "file" else "", said(error.message)) for error in errors]
    known = headings(kind) if any(error.message == UNKNOWN_COLUMN for error in errors) else []
    shown = problems or [("", said(problem.detail))]
    html = rendered(request, "import_refused.html", problems=shown, known=known)
    return ASGIResponse(body=html.encode(), status_code=problem.kind.status, headers=NO_STORE, media_type=HTML)
