"""Reading deliveries and drivers whole: one statement, one moment, as the model's objects."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate
from operator import itemgetter
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Raw, Struct

from server.dispatch.model import (
    NO_DETAILS,
    Alert,
    Assignment,
    AssignmentDetails,
    Delivery,
    Driver,
    Offer,
    OrderDetails,
    Place,
    Position,
    Risk,
    RunStop,
    Unassigned,
    Work,
)
from server.store.connections import Queries, Record

_OF_OTHER_TABLES: Final = frozenset({"unassigned", "offers", "assignments", "position", "last_call_at", "nearest"})
_RENAMED: Final = {"payload": "offer_payload", "response_ms": "driver_response_time_ms"}


def fields_of(model: type[Struct]) -> dict[str, Any]:
    """The fields of a model that its table has, in order, and their types. A place is in several columns, one for each
    of its fields, such as `pickup.lat`.
    """
    found: dict[str, Any] = {}
    for name, kind in get_type_hints(model).items():
        if kind is Place:
            found |= {f"{name}.{part}": of_part for part, of_part in get_type_hints(Place).items()}
        elif name not in _OF_OTHER_TABLES:
            found[name] = kind
    return found


def column_of(field: str) -> str:
    """The column of a field."""
    return _RENAMED.get(field, field.replace(".", "_"))


def columns_of(model: type[Struct], alias: str) -> str:
    """The columns of a model's fields, in their order, of a table with this alias."""
    return ", ".join(f"{alias}.{column_of(field)}" for field in fields_of(model))


def spans(*widths: int) -> list[slice]:
    """Where the parts of a row are that have so many columns each."""
    return [slice(end - width, end) for width, end in zip(widths, accumulate(widths), strict=True)]


DELIVERY_COLUMNS: Final = columns_of(Delivery, "d")
"""The columns for `delivery_from`, from `deliveries d`."""
ASSIGNMENT_COLUMNS: Final = columns_of(Assignment, "a")
"""The columns for `assignment_from`, from `assignments a`."""
DRIVER_COLUMNS: Final = columns_of(Driver, "d")
"""The columns for `driver_from` before the position, from `drivers d`."""
DELIVERY_WIDTH, ASSIGNMENT_WIDTH, DRIVER_WIDTH = (len(fields_of(model)) for model in (Delivery, Assignment, Driver))
ALERT_COLUMNS: Final = ", ".join(Alert.__struct_fields__)
"""The columns of `alerts` that the model has."""


def _rows_sql(deliveries: str, drivers: str) -> str:
    """SQL: the four columns with the rows of these ids (expressions of the type uuid[]).

    No joins: a plan made while a table was tiny must still find each row by its key when the table is large.
    """
    return f"""
(SELECT json_agg(json_build_array({DELIVERY_COLUMNS},
    (SELECT json_build_array({columns_of(Unassigned, "u")}) FROM unassigned_orders u WHERE u.delivery_id = d.id)))
 FROM deliveries d WHERE d.id = ANY({deliveries})),
(SELECT json_agg(json_build_array({columns_of(Offer, "o")}))
 FROM driver_offers o WHERE o.delivery_id = ANY({deliveries})),
(SELECT json_agg(json_build_array({ASSIGNMENT_COLUMNS})) FROM assignments a WHERE a.delivery_id = ANY({deliveries})),
(SELECT json_agg(json_build_array({DRIVER_COLUMNS},
    (SELECT json_build_array(p.lat, p.lon, p.at, p.last_call_at) FROM driver_positions p WHERE p.driver_id = d.id)))
 FROM drivers d WHERE d.id = ANY({drivers}))"""  # noqa: S608


def work_sql(driver_id: str) -> str:
    """SQL: what the driver with this id (an expression) has, for `work_from`."""
    return f"""
(SELECT json_build_array(r.stops,
    (SELECT json_agg(json_build_array({DELIVERY_COLUMNS}, NULL)) FROM deliveries d WHERE d.id = ANY(r.ids)),
    (SELECT json_agg(json_build_array({ASSIGNMENT_COLUMNS})) FROM assignments a
     WHERE a.delivery_id = ANY(r.ids) AND a.driver_id = r.driver_id))
 FROM (SELECT x.driver_id, x.stops, ARRAY(
           SELECT a.delivery_id FROM assignments a WHERE a.driver_id = x.driver_id AND a.status = 'ACTIVE'
           UNION SELECT (s ->> 'deliveryId')::uuid FROM jsonb_array_elements(x.stops) s) AS ids
       FROM (SELECT {driver_id} AS driver_id,
                    (SELECT v.stops FROM driver_runs v WHERE v.driver_id = {driver_id}) AS stops) x) r)::text"""  # noqa: S608


WORK: Final = f"SELECT w.id::text, {work_sql('w.id')} FROM unnest($1::text[]::uuid[]) AS w (id)"  # noqa: S608
_NOW: Final = "date_trunc('milliseconds', clock_timestamp())"


def _in_transaction_sql(deliveries: str, drivers: str) -> str:
    """SQL: all columns of `Rows` for the write path."""
    return f"""
{_NOW}, pg_current_xact_id()::text, EXISTS (SELECT FROM webhooks WHERE active),
(SELECT array_agg(DISTINCT d.session_node) FROM drivers d
 WHERE d.id = ANY({drivers}) AND d.session_node IS NOT NULL
   AND (SELECT n.expires_at > clock_timestamp() FROM nodes n WHERE n.id = d.session_node) IS NOT TRUE),
{_rows_sql(deliveries, drivers)}"""  # noqa: S608


_IDS: Final = ("$1::text[]::uuid[]", "$2::text[]::uuid[]")
READ: Final = f"SELECT {_NOW}, NULL::text, false, NULL::uuid[], {_rows_sql(*_IDS)}"
READ_IN_TRANSACTION: Final = f"SELECT {_in_transaction_sql(*_IDS)}"

LOCK_AND_READ_FUNCTION: Final = "lock_and_read_49"
"""The function of the schema that locks rows and then reads them, named after the migration that made it."""
# Its second statement sees what was committed until the locks were held. Ids come as texts with commas, which cost less
# than arrays.
LOCK_AND_READ_BODY: Final = f"""
DECLARE
    delivery_ids uuid[];
    driver_ids uuid[];
BEGIN
    SELECT l.deliveries, l.drivers INTO delivery_ids, driver_ids FROM lock_rows(
        string_to_array(named_deliveries, ',')::uuid[], string_to_array(whole_deliveries, ',')::uuid[],
        string_to_array(named_drivers, ',')::uuid[], string_to_array(whole_drivers, ',')::uuid[],
        string_to_array(named_offers, ',')::uuid[], string_to_array(named_assignments, ',')::uuid[],
        seller_ids, seller_order_ids) AS l;
    SELECT {_in_transaction_sql("delivery_ids", "driver_ids")}
    INTO read_at, this_xid, has_webhooks, dead_nodes, delivery_rows, offer_rows, assignment_rows, driver_rows;
END
"""  # noqa: S608
"""What the function must run: it reads the columns of the models. Where they change, a migration makes a new one."""
LOCK_AND_READ: Final = f"SELECT * FROM {LOCK_AND_READ_FUNCTION}($1, $2, $3, $4, $5, $6, $7, $8)"  # noqa: S608


class Rows(Struct):
    """Deliveries with their offers and assignments, and drivers, as of one moment, and the database's time right before
    it.

    On request, `xid` is the number of the reading transaction, `has_webhooks` whether any webhook is active, and
    `dead_nodes` are those of the drivers' sessions that are no longer alive.
    """

    now: datetime
    xid: str | None
    has_webhooks: bool
    dead_nodes: list[str]
    deliveries: dict[str, Delivery]
    drivers: dict[str, Driver]


async def read_rows(
    source: Queries, deliveries: Sequence[str], drivers: Sequence[str], *, timeout: float | None = None
) -> Rows:
    """The existing ones of these ids, read from a pool or a connection, without locks."""
    return rows_of(await source.fetchrow(READ, deliveries, drivers, timeout=timeout))


async def read_work(source: Queries, drivers: Sequence[str], *, timeout: float | None = None) -> dict[str, Work]:
    """What these drivers have, read from a pool or a connection."""
    rows = await source.fetch(WORK, drivers, timeout=timeout)
    return {driver_id: work_from(text) for driver_id, text in rows}


def work_from(text: str) -> Work:
    """What `work_sql` answered. The deliveries have no offers, and only the assignments of this driver."""
    columns = _decode_work(text)
    deliveries, assignments = (None if raw == _NULL else raw for raw in (columns.deliveries, columns.assignments))
    found = {row[0]: _delivery(row) for row in _decode(_delivery_rows, deliveries)}
    for row in _decode(_assignment_rows, assignments):
        if row[1] in found:
            found[row[1]].assignments[row[0]] = Assignment(*row)
    return Work(columns.stops or (), found)


def rows_of(answer: Record) -> Rows:
    """What READ, READ_IN_TRANSACTION or LOCK_AND_READ answered."""
    now, xid, has_webhooks, dead_nodes, *found = answer
    deliveries = {row[0]: _delivery(row) for row in _decode(_delivery_rows, found[0])}
    for row in _decode(_offer_rows, found[1]):
        if row[1] in deliveries:
            deliveries[row[1]].offers[row[0]] = Offer(*row)
    for row in _decode(_assignment_rows, found[2]):
        if row[1] in deliveries:
            deliveries[row[1]].assignments[row[0]] = Assignment(*row)
    drivers = {driver.id: driver for driver in drivers_of(found[3])}
    return Rows(now, xid, has_webhooks, dead_nodes or [], deliveries, drivers)


def drivers_of(text: str | None) -> list[Driver]:
    """The drivers of a JSON list of DRIVER_COLUMNS, each with a list of where they are, in order of their ids."""
    return [driver_from([*row[:-1], *(row[-1] or _NOWHERE)]) for row in _decode(_driver_rows, text)]


def driver_from(columns: Iterable[Any]) -> Driver:
    """A driver of DRIVER_COLUMNS, then lat, lon, at, last_call_at of where they are."""
    *values, lat, lon, at, last_call_at = columns
    values[_TAGS] = tuple(values[_TAGS] or ())
    position = Position(lat, lon, at) if at is not None else None
    return Driver(*(*values, position, last_call_at))


def delivery_from(
    columns: Iterable[Any],
    wait: Unassigned | None,
    assignments: dict[str, Assignment],
) -> Delivery:
    """A delivery of DELIVERY_COLUMNS, with risks and details as objects or as their JSON; without offers."""
    values = [*columns]
    risks, details = values[_RISKS], values[_DETAILS]
    values[_REQUIREMENTS] = tuple(values[_REQUIREMENTS] or ())
    values[_RISKS] = (_risks(risks) if isinstance(risks, str) else risks) or ()
    values[_DETAILS] = (_order_details(details) if isinstance(details, str) else details) or NO_DETAILS
    values[_PLACES] = Place(*values[_PICKUP]), Place(*values[_DROPOFF])
    return Delivery(*(*values, wait, {}, assignments))


def assignment_from(columns: Iterable[Any]) -> Assignment:
    """An assignment of ASSIGNMENT_COLUMNS, its details as JSON."""
    *values, details = columns
    return Assignment(*(*values, _assignment_details(details) if details is not None else None))


def _span_of_place(name: str) -> slice:
    begin = _FIELDS.index(f"{name}.lat")
    return slice(begin, begin + len(Place.__struct_fields__))


_FIELDS: Final = list(fields_of(Delivery))
_PICKUP, _DROPOFF = map(_span_of_place, ("pickup", "dropoff"))
_PLACES: Final = slice(_PICKUP.start, _DROPOFF.stop)
_REQUIREMENTS, _RISKS, _DETAILS = map(_FIELDS.index, ("requirements", "risks", "details"))
_TAGS: Final = list(fields_of(Driver)).index("tags")
_risks = msgspec.json.Decoder(tuple[Risk, ...]).decode
_order_details = msgspec.json.Decoder(OrderDetails).decode
_assignment_details = msgspec.json.Decoder(AssignmentDetails).decode


def _rows_like(model: type[Struct], *after: object, **instead: object) -> "msgspec.json.Decoder[list[Any]]":
    """A decoder of rows that READ returns as arrays: the model's fields in order, some with another type, and what
    comes after them.
    """
    types = {**fields_of(model), **instead}.values()
    return msgspec.json.Decoder(list[tuple[(*types, *after)]])  # type: ignore[misc, valid-type]


_WAIT: Any = tuple[tuple(fields_of(Unassigned).values())]  # type: ignore[misc]
_NULL: Final = Raw(b"null")
_NOWHERE: Final = (None, None, None, None)
_WHEREABOUTS: Any = tuple[float | None, float | None, datetime | None, datetime | None]
_delivery_rows: Final = _rows_like(
    Delivery,
    _WAIT | None,
    requirements=tuple[str, ...] | None,
    risks=tuple[Risk, ...] | None,
    details=OrderDetails | None,
)
_offer_rows: Final = _rows_like(Offer, payload=Raw)
_assignment_rows: Final = _rows_like(Assignment)
_driver_rows: Final = _rows_like(Driver, _WHEREABOUTS | None, tags=tuple[str, ...] | None)


class _WorkColumns(Struct, array_like=True):
    """What `work_sql` lays out."""

    stops: tuple[RunStop, ...] | None
    deliveries: Raw
    assignments: Raw


_decode_work: Final = msgspec.json.Decoder(_WorkColumns).decode


def _delivery(row: Any) -> Delivery:
    *values, wait = row
    return delivery_from(values, Unassigned(*wait) if wait is not None else None, {})


def _decode(decoder: "msgspec.json.Decoder[list[Any]]", text: str | Raw | None) -> list[Any]:
    """The rows in order of their ids, which is the order in which they came to be."""
    return sorted(decoder.decode(text), key=_first) if text is not None else []


_first = itemgetter(0)
