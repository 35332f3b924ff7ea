"""Import of drivers and deliveries from files of spreadsheet programs: each row is a separate request.

The same row again is `unchanged`; one that differs from what is there fails. A dry run asks the rules the same
questions on a world in memory, so its answers are those of the import.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Final

import msgspec
from msgspec import UNSET, Struct

from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.model import Driver
from server.dispatch.names import name_key
from server.dispatch.preview import preview
from server.dispatch.refusals import Refusal
from server.dispatch.world import World
from server.node import Node
from server.spreadsheets.cells import Sheet
from server.store.reads.by_number import read_by_numbers
from server.store.reads.drivers import digits_of, find_known
from server.web.access.guards import SERVICE_AND_OPS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.bodies import Query
from server.web.api.delivery_commands import creation
from server.web.api.drivers import registration
from server.web.api.endpoint import endpoint
from server.web.api.import_rows import (
    FILE,
    PLACES,
    Asked,
    columns_under,
    commands_of,
    uploaded_sheet,
)
from server.web.http.caller import Call
from server.web.http.current_node import node_of

QUERY: Final = Query(s.ImportQuery)
AT_ONCE: Final = 50
"""Rows that are written at once, so that accepts do not wait for thousands of rows."""


class Imported(Struct, frozen=True):
    """A file and its results. `columns` are the contract's names of its columns; empty for one without a heading."""

    sheet: Sheet
    view: a.ImportView
    columns: list[str]


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
    sheet = await uploaded_sheet(request)
    asked = await commands_of(
        request, sheet, query, s.NewDelivery, lambda new: creation(new, request.user.actor), sorted(PLACES)
    )
    work = _tried_deliveries if query.dry_run else _submitted
    return _imported(sheet, s.NewDelivery, [one.warnings for one in asked], await work(node_of(request), asked))


async def imported_drivers(request: Call, query: s.ImportQuery) -> Imported:
    """The rows of the body as drivers. Raises 413, 415, 422 or 503."""
    sheet = await uploaded_sheet(request)
    asked = await commands_of(request, sheet, query, s.NewDriver, lambda new: registration(new, request.user.actor))
    node = node_of(request)
    given = {column.name for column in columns_under(sheet.header, s.NewDriver)}
    async with AsyncExitStack() as stack:
        if not query.dry_run:
            # No index makes drivers without a reference unique, so imports of drivers wait for each other.
            await stack.enter_async_context(node.driver_imports.alone())
        known = await _KnownDrivers.read(node, [one.command for one in asked if one.command is not None], given)
        return _imported(
            sheet, s.NewDriver, [one.warnings for one in asked], await known.imported(asked, query.dry_run)
        )


# Results


def _imported(
    sheet: Sheet, kind: type[Struct], warnings: Sequence[list[a.ImportMistake]], rows: Sequence[a.ImportRow]
) -> Imported:
    found = [
        msgspec.structs.replace(row, warnings=some) if row.result == "created" else row
        for some, row in zip(warnings, rows, strict=True)
    ]
    return Imported(sheet, _view(found), [column.name for column in columns_under(sheet.header, kind)])


def _by_line(rows: Sequence[a.ImportRow]) -> list[a.ImportRow]:
    """The rows: those that repeat another row of the file say which."""
    lines = {row.id: row.line for row in rows if row.result == "created"}
    return [_of_line(row, lines[row.id]) if row.result != "created" and row.id in lines else row for row in rows]


def _saved(rows: Sequence[a.ImportRow], there: Collection[str]) -> list[a.ImportRow]:
    """The rows with the ids of what is there; the others are made up for a preview."""
    return [row if row.id in there else msgspec.structs.replace(row, id=UNSET) for row in rows]


def _of_line(row: a.ImportRow, line: int) -> a.ImportRow:
    if row.ok:
        return msgspec.structs.replace(row, warnings=[a.ImportMistake("", f"repeats line {line}", "repeats")])
    differs = [a.ImportMistake(one.column, f"differs from line {line}", one.code) for one in row.errors]
    return msgspec.structs.replace(row, errors=differs)


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
    return _by_line(rows)


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
        rows.append(row)
    return _saved(_by_line(rows), there)


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
                    _done(one.line, one.command.driver_id, repeated=False)
                    for one, row in zip(some, judged, strict=True)
                    if row is None and one.command is not None
                ]
                await asyncio.sleep(0)
            following = iter(written)
            rows += [row if row is not None else next(following) for row in judged]
        rows = _by_line(rows)
        return _saved(rows, self._there) if dry_run else rows

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
