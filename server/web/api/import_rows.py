"""From a file of a spreadsheet program to commands of the rules, or to the mistakes of each row."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct

from server.dispatch import commands as c
from server.dispatch.money import EXPONENTS
from server.dispatch.names import name_key
from server.geocoder.search import FoundPlace
from server.settings import time_zone_of
from server.spreadsheets.cells import Sheet, SheetRow, Unreadable
from server.spreadsheets.reader import TYPES, TooManyFiles, form_of
from server.store.zones import read_spellings
from server.texts.speech import later
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.bodies import Upload
from server.web.api.geocoding import located
from server.web.api.import_headings import NO_COLUMN, Column, column_under
from server.web.api.import_values import BadCell, DateOrder, value_of
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.errors import (
    TOO_LARGE,
    UNSUPPORTED,
    FieldError,
    Problem,
    invalid,
    invalid_field,
    try_again,
)
from server.web.http.mistakes import mistakes_in

LIMIT_BYTES: Final = 5 * 1024 * 1024
FILE: Final = Upload(TYPES, LIMIT_BYTES)
ACCEPTED: Final = frozenset({*TYPES, "application/vnd.ms-excel", "application/octet-stream", "text/plain"})
"""Content types of uploads. Windows calls a CSV file that of old Excel files; the content decides."""
UNKNOWN_COLUMN: Final = later("is an unknown column")
ZONES_LIMIT: Final = 10_000
PLACES: Final = frozenset({"pickup", "dropoff"})
ADDRESSES_AT_ONCE: Final = 8
"""Addresses that the geocoder is asked for at once."""
JUST_NOW: Final = timedelta(seconds=90)
"""A time of a file is often a whole minute, so the minute that has just begun is not past."""
Command = TypeVar("Command", c.CreateDelivery, c.RegisterDriver)
Request = TypeVar("Request", s.NewDelivery, s.NewDriver)


class Asked(Struct, Generic[Command], frozen=True):
    """A row as a command, or its mistakes. `warnings` are what a person may not have meant."""

    line: int
    command: Command | None
    mistakes: list[a.ImportMistake]
    warnings: list[a.ImportMistake] = []


class Reader(Struct, frozen=True):
    """How the cells of a company's file are read."""

    columns: list[Column]
    dates: DateOrder | None
    zone: tzinfo
    today: date
    currency: str


async def uploaded_sheet(request: Call) -> Sheet:
    """The cells of the body. Raises 413, 415, 422 or 503."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type and content_type not in ACCEPTED:
        raise Problem(UNSUPPORTED, f"Send a file as {TYPES[0]} or {TYPES[1]}.")
    data = await FILE.of(request)
    if not data:
        raise invalid_field("file", "is empty")
    form = form_of(data)
    if form is None:
        raise Problem(UNSUPPORTED, "Save the file as CSV or as .xlsx, without a password.")
    try:
        found = await node_of(request).spreadsheets.read(data, form)
    except TooManyFiles:
        raise try_again() from None
    if isinstance(found, Unreadable):
        raise Problem(TOO_LARGE, found.why) if found.too_large else invalid_field("file", found.why)
    return found


def columns_under(header: Sequence[str], kind: type[Struct]) -> list[Column]:
    """The columns of a header, by the contract's names or by headings that people give them. Raises 422."""
    columns = [column_under(text, kind) for text in header]
    names = [column.name for column in columns]
    wrong = [FieldError(text[:200], UNKNOWN_COLUMN) for text in dict.fromkeys(header) if _unknown(text, kind)]
    for name in dict.fromkeys(names):
        headings = [text for text, other in zip(header, names, strict=True) if other == name and text]
        if len(headings) > 1 and not _unknown(headings[0], kind):
            # In the words of the file, if they are not the contract's.
            among = "" if name.casefold() in {text.casefold() for text in headings} else f": {', '.join(headings)}"
            wrong.append(FieldError(name, f"is there twice{among[:150]}"))
    if not any(column.kind for column in columns):
        wrong.insert(0, FieldError("file", "The first line must name the columns."))
    if wrong:
        raise invalid(wrong[:20])
    return columns


def _unknown(text: str, kind: type[Struct]) -> bool:
    return bool(text) and not column_under(text, kind).kind


async def commands_of(
    request: Call,
    sheet: Sheet,
    query: s.ImportQuery,
    kind: type[Request],
    command_of: Callable[[Request], Command],
    places: Sequence[str] = (),
) -> list[Asked[Command]]:
    """Each row as a command or with its mistakes. Raises 422 for a wrong header."""
    node = node_of(request)
    zone = time_zone_of(node.settings.time_zone)
    reader = Reader(
        columns_under(sheet.header, kind),
        None if query.dates is UNSET else query.dates,
        zone,
        node.clock.now().astimezone(zone).date(),
        node.policies.current.currency,
    )
    read: list[tuple[int, dict[str, object], list[a.ImportMistake]]] = []
    for turn, row in enumerate(sheet.rows):
        if turn % 50 == 49:
            await asyncio.sleep(0)
        given, mistakes = _given(row, reader)
        read.append((row.line, given, mistakes))
    if places and node.geocoder is not None:
        limit = asyncio.Semaphore(ADDRESSES_AT_ONCE)
        await asyncio.gather(*(_locate(request, limit, given, mistakes) for _, given, mistakes in read))
    zones = frozenset(await read_spellings(node.database.pool, ZONES_LIMIT))
    asked = []
    for turn, (line, given, mistakes) in enumerate(read):
        if turn % 50 == 49:
            await asyncio.sleep(0)
        for place in places:
            given.setdefault(place, {})
        wrong = {mistake.column for mistake in mistakes}
        wrong |= {f"{place}.{one}" for place in places for one in ("lat", "lon") if f"{place}.at" in wrong}
        command = None
        try:
            new = msgspec.convert(given, kind)
            if not mistakes:
                command = command_of(new)
        except msgspec.ValidationError as error:
            mistakes += [one for one in _mistakes(mistakes_in(kind, given, error)) if one.column not in wrong]
        except Problem as problem:
            mistakes += _mistakes(problem.more.get("errors", []))
        warnings = _new_zone(given, zones) + _past(new, node.clock.now()) if command is not None else []
        asked.append(Asked(line, command, mistakes, warnings))
    return asked


def _new_zone(given: Mapping[str, object], known: frozenset[str]) -> list[a.ImportMistake]:
    zone = given.get("zone")
    if not isinstance(zone, str) or not zone.strip() or name_key(zone) in known:
        return []
    return [a.ImportMistake("zone", "is a new zone", "new_zone")]


def _past(new: s.NewDelivery | s.NewDriver, now: datetime) -> list[a.ImportMistake]:
    """The times of a row that are in the past."""
    if isinstance(new, s.NewDriver):
        times = {"shiftEndsAt": new.shift_ends_at}
    else:
        times = {"dispatchAt": new.dispatch_at, "promisedAt": new.promised_at}
    before = now - JUST_NOW
    past = [name for name, at in times.items() if at is not None and at < before]
    return [a.ImportMistake(name, "is in the past", "in_the_past") for name in past]


async def _locate(
    request: Call, limit: asyncio.Semaphore, given: dict[str, object], mistakes: list[a.ImportMistake]
) -> None:
    """Adds the positions of the addresses of a row, or what is wrong with them. Raises 503."""
    async with limit:
        for place in PLACES:
            others = PLACES - {place}
            try:
                given.update(
                    await located(request, {name: value for name, value in given.items() if name not in others})
                )
            except Problem as problem:
                if problem.kind.status != 422:
                    raise
                found: list[FoundPlace] = problem.more.get("candidates", [])
                among = ": " + " · ".join(one.address for one in found) if found else ""
                errors: list[FieldError] = problem.more["errors"]
                mistakes += [a.ImportMistake(error.field, error.message + among) for error in errors]
                given[place] = {**_inside(given, place), "lat": 0.0, "lon": 0.0}


def _given(row: SheetRow, reader: Reader) -> tuple[dict[str, object], list[a.ImportMistake]]:
    given: dict[str, object] = {}
    mistakes = []
    amounts: dict[str, Decimal] = {}
    for at, cell in enumerate(row.cells):
        column = reader.columns[at] if at < len(reader.columns) else NO_COLUMN
        if not column.kind:
            if cell is not None and str(cell).strip():
                mistakes.append(a.ImportMistake("", f"cell {at + 1} is in a column without a name"))
            continue
        try:
            value = value_of(cell, column.kind, reader.dates, reader.zone, reader.today)
        except BadCell as bad:
            mistakes.append(a.ImportMistake(column.name, bad.message))
            continue
        if value is None:
            continue
        place, _, inner = column.name.rpartition(".")
        if isinstance(value, Decimal):
            amounts[column.name] = value
        elif isinstance(value, tuple):
            given[place] = {**_inside(given, place), "lat": value[0], "lon": value[1]}
        elif place:
            given[place] = {**_inside(given, place), inner: value}
        else:
            given[column.name] = value
    currency = given.get("currency", reader.currency)
    for name, amount in amounts.items():
        cents = amount.scaleb(EXPONENTS.get(str(currency), 2))
        if cents == cents.to_integral_value():
            given[name] = int(cents)
        else:
            mistakes.append(a.ImportMistake(name, f"has too many digits for {currency}"))
    return given, mistakes


def _inside(given: Mapping[str, object], place: str) -> dict[str, object]:
    inside = given.get(place, {})
    assert isinstance(inside, dict)
    return inside


def _mistakes(errors: Iterable[FieldError]) -> list[a.ImportMistake]:
    return [a.ImportMistake(error.field.partition("[")[0], error.message) for error in errors]
