"""Import of drivers and deliveries from files of spreadsheet programs: each row is a separate request.

The same row again is `unchanged`; one that differs from what is there fails. A dry run asks the rules the same
questions on a world in memory, so its answers are those of the import.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct

from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.model import Driver
from server.dispatch.money import EXPONENTS
from server.dispatch.names import name_key
from server.dispatch.preview import preview
from server.dispatch.refusals import Refusal
from server.dispatch.world import World
from server.geocoder.search import FoundPlace
from server.node import Node
from server.settings import time_zone_of
from server.spreadsheets.cells import Sheet, SheetRow, Unreadable
from server.spreadsheets.reader import TYPES, TooManyFiles, form_of
from server.store.reads.by_number import read_by_numbers
from server.store.reads.drivers import digits_of, find_known
from server.web.access.guards import SERVICE_AND_OPS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.bodies import Query, Upload
from server.web.api.deliveries import creation
from server.web.api.drivers import registration
from server.web.api.endpoint import endpoint
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
QUERY: Final = Query(s.ImportQuery)
ACCEPTED: Final = frozenset({*TYPES, "application/vnd.ms-excel", "application/octet-stream", "text/plain"})
"""Content types of uploads. Windows calls a CSV file that of old Excel files; the content decides."""
PLACES: Final = frozenset({"pickup", "dropoff"})
ADDRESSES_AT_ONCE: Final = 8
"""Addresses that the geocoder is asked for at once."""
AT_ONCE: Final = 50
"""Rows that are written at once, so that accepts do not wait for thousands of rows."""

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


class Imported(Struct, frozen=True):
    """A file and its results. `columns` are the contract's names of its columns; empty for one without a heading."""

    sheet: Sheet
    view: a.ImportView
    columns: list[str]


class Reader(Struct, frozen=True):
    """How the cells of a company's file are read."""

    columns: list[Column]
    dates: DateOrder | None
    zone: tzinfo
    today: date
    currency: str


@endpoint(
    "POST /imports/drivers",
    "Import drivers from a CSV or Excel file, at most 5 MiB and 10,000 rows.",
    SERVICE_AND_OPS,
    upload=FILE,
)
async def import_drivers(request: Call, query: s.ImportQuery) -> a.ImportView:
    return (await imported_drivers(request, query)).view


@endpoint(
    "POST /imports/deliveries",
    "Import deliveries from a CSV or Excel file, at most 5 MiB and 10,000 rows.",
    SERVICE_AND_OPS,
    upload=FILE,
)
async def import_deliveries(request: Call, query: s.ImportQuery) -> a.ImportView:
    return (await imported_deliveries(request, query)).view


async def imported_deliveries(request: Call, query: s.ImportQuery) -> Imported:
    """The rows of the body as deliveries. Raises 413, 415, 422 or 503."""
    sheet = await _sheet(request)
    asked = await _asked(
        request, sheet, query, s.NewDelivery, lambda new: creation(new, request.user.actor), sorted(PLACES)
    )
    work = _tried_deliveries if query.dry_run else _submitted
    return _imported(sheet, s.NewDelivery, [one.warnings for one in asked], await work(node_of(request), asked))


async def imported_drivers(request: Call, query: s.ImportQuery) -> Imported:
    """The rows of the body as drivers. Raises 413, 415, 422 or 503."""
    sheet = await _sheet(request)
    asked = await _asked(request, sheet, query, s.NewDriver, lambda new: registration(new, request.user.actor))
    node = node_of(request)
    given = {column.name for column in _columns(sheet.header, s.NewDriver)}
    async with AsyncExitStack() as stack:
        if not query.dry_run:
            # No index makes drivers without a reference unique, so imports of drivers wait for each other.
            await stack.enter_async_context(node.driver_imports.alone())
        known = await _KnownDrivers.read(node, [one.command for one in asked if one.command is not None], given)
        return _imported(
            sheet, s.NewDriver, [one.warnings for one in asked], await known.imported(asked, query.dry_run)
        )


# From the file to commands


async def _sheet(request: Call) -> Sheet:
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


def _columns(header: Sequence[str], kind: type[Struct]) -> list[Column]:
    """The columns of a header, by the contract's names or by headings that people give them. Raises 422."""
    columns = [column_under(text, kind) for text in header]
    names = [column.name for column in columns]
    wrong = [FieldError(text[:200], "is an unknown column") for text in dict.fromkeys(header) if _unknown(text, kind)]
    for name in dict.fromkeys(names):
        headings = [text for text, other in zip(header, names, strict=True) if other == name and text]
        if len(headings) > 1 and not _unknown(headings[0], kind):
            # In the words of the file, if they are not the contract's.
            among = "" if name.casefold() in {text.casefold() for text in headings} else f": {', '.join(headings)}"
            wrong.append(FieldError(name, f"is there twice{among[:150]}"))
    if not any(header):
        wrong.append(FieldError("file", "must begin with a line that names the columns"))
    if wrong:
        raise invalid(wrong[:20])
    return columns


def _unknown(text: str, kind: type[Struct]) -> bool:
    return bool(text) and not column_under(text, kind).kind


async def _asked(
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
        _columns(sheet.header, kind),
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
        asked.append(Asked(line, command, mistakes, _past(new, node.clock.now()) if command is not None else []))
    return asked


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


# Results


def _imported(
    sheet: Sheet, kind: type[Struct], warnings: Sequence[list[a.ImportMistake]], rows: Sequence[a.ImportRow]
) -> Imported:
    found = [
        msgspec.structs.replace(row, warnings=some) if row.result == "created" else row
        for some, row in zip(warnings, rows, strict=True)
    ]
    return Imported(sheet, _view(found), [column.name for column in _columns(sheet.header, kind)])


def _view(rows: list[a.ImportRow]) -> a.ImportView:
    count = {result: sum(row.result == result for row in rows) for result in ("created", "unchanged", "failed")}
    return a.ImportView(rows, count["created"], count["unchanged"], count["failed"])


def _failed(line: int, mistakes: list[a.ImportMistake], known: str | None = None) -> a.ImportRow:
    return a.ImportRow(line, False, "failed", mistakes, known if known is not None else UNSET)


def _done(line: int, row_id: str | None, *, repeated: bool) -> a.ImportRow:
    return a.ImportRow(line, True, "unchanged" if repeated else "created", [], row_id if row_id is not None else UNSET)


def _differs(line: int, known: str, columns: Iterable[str]) -> a.ImportRow:
    message = "differs from what exists already"
    return _failed(line, [a.ImportMistake(name, message, "differs") for name in columns], known)


def _refused(line: int, refusal: Refusal) -> a.ImportRow:
    if refusal.code == r.DELIVERY_DIFFERS.code:
        return _differs(line, refusal.more["id"], refusal.more["fields"])
    if refusal.code == r.DRIVER_EXISTS.code:
        return _differs(line, refusal.more["id"], ["externalRef"])
    column = "driverPayCents" if refusal.code == r.PAY_REQUIRED.code else ""
    return _failed(line, [a.ImportMistake(column, refusal.message)])


async def _submitted(node: Node, asked: Sequence[Asked[c.CreateDelivery]]) -> list[a.ImportRow]:
    """The rows written, in order: of two with one number the first wins."""
    rows = []
    for start in range(0, len(asked), AT_ONCE):
        rows += await asyncio.gather(*(_written(node, one) for one in asked[start : start + AT_ONCE]))
    return rows


async def _written(node: Node, asked: Asked[c.CreateDelivery] | Asked[c.RegisterDriver]) -> a.ImportRow:
    if asked.command is None:
        return _failed(asked.line, asked.mistakes)
    done = await node.executor.submit(asked.command)
    if isinstance(done, Refusal):
        return _refused(asked.line, done)
    known = done.delivery.id if done.delivery is not None else done.decided.driver_id
    return _done(asked.line, known, repeated=done.decided.repeated)


async def _tried_deliveries(node: Node, asked: Sequence[Asked[c.CreateDelivery]]) -> list[a.ImportRow]:
    """What the rules say about the rows, one after another, in a world that nobody saves."""
    commands = [one.command for one in asked if one.command is not None]
    numbers = [(command.seller_id, command.seller_order_id) for command in commands]
    deliveries, posted = await read_by_numbers(node.database.pool, numbers)
    there = set(deliveries)
    world = World(
        node.clock.now(), node.policies.current, dict(deliveries), {}, posted=posted, zones=node.zones.current
    )
    rows = []
    for turn, one in enumerate(asked):
        if turn % 50 == 49:
            await asyncio.sleep(0)
        if one.command is None:
            rows.append(_failed(one.line, one.mistakes))
            continue
        decided = preview(one.command, world)
        if isinstance(decided, Refusal):
            row = _refused(one.line, decided)
        else:
            row = _done(one.line, decided.delivery_id, repeated=decided.repeated)
        rows.append(row if row.id in there else msgspec.structs.replace(row, id=UNSET))
    return rows


class _KnownDrivers:
    """The drivers that rows may mean: the one with the reference, else those with the phone or the name."""

    def __init__(self, node: Node, drivers: Iterable[Driver], columns: set[str]) -> None:
        self._node = node
        self._columns = columns
        self._by_key: dict[tuple[str, str], list[Driver]] = {}
        self._there = set[str]()
        for driver in drivers:
            self._there.add(driver.id)
            self._add(driver)

    @classmethod
    async def read(cls, node: Node, commands: Sequence[c.RegisterDriver], columns: set[str]) -> "_KnownDrivers":
        """Those that these commands may mean. `columns` are the columns of the file, which are compared."""
        drivers = await find_known(
            node.database.pool,
            [command.external_ref for command in commands if command.external_ref is not None],
            [digits for command in commands if (digits := digits_of(command.phone))],
            [command.name for command in commands],
        )
        return cls(node, drivers, columns)

    def _add(self, driver: Driver) -> None:
        for key in self._keys(driver.external_ref, driver.phone, driver.name):
            self._by_key.setdefault(key, []).append(driver)

    @staticmethod
    def _keys(external_ref: str | None, phone: str | None, name: str) -> list[tuple[str, str]]:
        keys = [("name", name_key(name))]
        if external_ref is not None:
            keys.append(("reference", external_ref))
        if digits := digits_of(phone):
            keys.append(("phone", digits))
        return keys

    def _meant(self, command: c.RegisterDriver) -> list[Driver]:
        if command.external_ref is not None:
            return self._by_key.get(("reference", command.external_ref), [])
        return [one for key in self._keys(None, command.phone, command.name) for one in self._by_key.get(key, [])]

    def _differing(self, driver: Driver, command: c.RegisterDriver) -> list[str]:
        same = {
            "name": driver.name == command.name,
            "externalRef": driver.external_ref == command.external_ref,
            "phone": driver.phone == command.phone,
            "zone": name_key(driver.zone) == name_key(command.zone),
            "capacity": driver.capacity == command.capacity,
            "vehicle": driver.vehicle == command.vehicle,
            "tags": {name_key(tag) for tag in driver.tags} == {name_key(tag) for tag in command.tags},
            "shiftEndsAt": driver.shift_ends_at == command.shift_ends_at,
        }
        return [name for name, is_same in same.items() if name in self._columns and not is_same]

    async def imported(self, asked: Sequence[Asked[c.RegisterDriver]], dry_run: bool) -> list[a.ImportRow]:
        """The results of the rows, in order. New drivers are registered unless it is a dry run."""
        rows: list[a.ImportRow] = []
        for start in range(0, len(asked), AT_ONCE):
            some = asked[start : start + AT_ONCE]
            judged = [self._judged(one) for one in some]
            if not dry_run:
                written = await asyncio.gather(
                    *(_written(self._node, one) for one, row in zip(some, judged, strict=True) if row is None)
                )
            else:
                written = [
                    _done(one.line, None, repeated=False) for one, row in zip(some, judged, strict=True) if row is None
                ]
                await asyncio.sleep(0)
            following = iter(written)
            rows += [row if row is not None else next(following) for row in judged]
        if dry_run:
            return [row if row.id in self._there else msgspec.structs.replace(row, id=UNSET) for row in rows]
        return rows

    def _judged(self, asked: Asked[c.RegisterDriver]) -> a.ImportRow | None:
        """The result of a row, or None if it is a new driver, who counts from then on."""
        command = asked.command
        if command is None:
            return _failed(asked.line, asked.mistakes)
        found = self._meant(command)
        differing = [(driver, self._differing(driver, command)) for driver in found]
        for driver, columns in differing:
            if not columns:
                return _done(asked.line, driver.id, repeated=True)
        if differing:
            driver, columns = min(differing, key=lambda one: len(one[1]))
            return _differs(asked.line, driver.id, columns)
        world = World(self._node.clock.now(), self._node.policies.current, {}, {})
        preview(command, world)
        self._add(world.driver(command.driver_id))
        return None
