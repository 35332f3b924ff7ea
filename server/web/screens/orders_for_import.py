"""The results of a search of orders as a file that an import reads: its columns are those of the contract.

It has what an order is now, of the fields with which it was posted. So an order that was never changed is `unchanged`
where it is, and one that was changed `differs`, as if it was posted again.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from litestar import get
from litestar.response.base import ASGIResponse
from msgspec.structs import replace

from server.contract.csv_files import Cell
from server.dispatch.instants import instant
from server.dispatch.model import Delivery
from server.dispatch.sameness import Posted, posted_for
from server.store.reads.by_number import read_given, read_posted
from server.texts.speech import later, said
from server.web.access.guards import OPS
from server.web.api import schemas as s
from server.web.api.import_rows import LIMIT_BYTES
from server.web.api.import_values import columns_in
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.forms import FormInvalid
from server.web.screens.downloads import table_file
from server.web.screens.orders import FILE_ROWS, FOR_IMPORT, chosen_filters, wanted_of
from server.web.screens.orders_file import pages_of

COLUMNS: Final = tuple(columns_in(s.NewDelivery))


@get(FOR_IMPORT, guards=[OPS])
async def orders_for_import(request: Call) -> ASGIResponse:
    """All orders of a search, without erased and test ones. Raises 422, also for more than an import takes, and 503."""
    wanted = replace(await wanted_of(request, chosen_filters(request)), for_import=True)
    pool = node_of(request).database.pool
    rows: list[Sequence[Cell]] = [COLUMNS]
    async for some in pages_of(request, wanted, FILE_ROWS + 1):
        ids = [delivery.id for delivery in some]
        posted, given = await read_posted(pool, ids), await read_given(pool, ids)
        rows += [_row(_as_posted(one, posted.get(one.id, {}), given.get(one.id, {}))) for one in some]
    file = table_file(request, "callboard-orders-for-import.csv", rows)
    if len(rows) - 1 > FILE_ROWS or len(file.body) > LIMIT_BYTES:
        text = later("These are more orders than one import takes: {count} at most, in {megabytes} MB. Find fewer.")
        raise FormInvalid(said(text, count=FILE_ROWS, megabytes=LIMIT_BYTES // 1024 // 1024))
    return file


def _as_posted(delivery: Delivery, first: Posted, given: Mapping[str, bool]) -> Mapping[str, object]:
    """The order as a request. What Callboard made up itself (a promise, a PIN, a time to begin) is no part of it.

    `first` is the first request if it is stored, and `given` says which of these came by a change.
    """
    details = delivery.details
    now = dict(posted_for(replace(delivery, pickup=details.store or delivery.pickup)))
    now["requirements"], now["proofRequired"] = list(delivery.requirements), list(details.proof_required)
    if first and "dispatchAt" not in first and delivery.status != "SCHEDULED":
        now.pop("dispatchAt", None)
    if given.get("promisedAt", "promisedAt" in first):
        now["promisedAt"] = None if delivery.promised_at is None else instant(delivery.promised_at)
    if given.get("pin", "pin" in first):
        now["pin"] = details.pin
    return now


def _row(order: Mapping[str, object]) -> list[Cell]:
    return [_cell(order, column) for column in COLUMNS]


def _cell(order: Mapping[str, object], column: str) -> Cell:
    place, _, inner = column.rpartition(".")
    inside = order.get(place) if place else order
    assert isinstance(inside, Mapping)
    value = inside.get(inner)
    match value:
        case float():
            return Decimal(repr(value))
        case list():
            return "|".join(value)
        case str() | int() | None:
            return value
        case _:
            raise TypeError(column)
