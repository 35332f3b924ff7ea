"""Reading deliveries and drivers whole: one statement, one moment, as the model's objects."""

from collections.abc import Sequence
from datetime import datetime
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
    Unassigned,
)

DELIVERY_COLUMNS: Final = """
    d.id, d.seller_id, d.seller_order_id, d.store_name, d.zone, d.status, d.pickup_lat, d.pickup_lon,
    d.pickup_address, d.pickup_name, d.pickup_phone, d.pickup_notes, d.dropoff_lat, d.dropoff_lon, d.dropoff_address,
    d.dropoff_name, d.dropoff_phone, d.dropoff_notes, d.prep_seconds, d.dispatch_at, d.created_at, d.fingerprint,
    d.price_cents, d.driver_pay_cents, d.currency, d.notes, d.unassigned_since, d.current_offer_id,
    d.accepted_offer_id, d.offer_acceptance_count, d.widened_at, d.version, d.requirements, d.tip_cents,
    d.promised_at, d.ready_at, d.held_until, d.estimated_pickup_at, d.estimated_delivery_at, d.over_at, d.watch_at,
    d.risk_since, d.risk_level, d.risk_acknowledged_by, d.risks, d.details"""
"""The columns for `delivery_from`, from `deliveries d`: 46 columns."""
ASSIGNMENT_COLUMNS: Final = """
    a.id, a.delivery_id, a.driver_id, a.offer_id, a.status, a.source, a.created_at, a.picked_up_at,
    a.completed_at, a.ended_at, a.end_reason, a.ended_by, a.version, a.end_note, a.arrived_pickup_at,
    a.arrived_dropoff_at, a.failed_at, a.pickup_due_at, a.details"""
"""The columns for `assignment_from`, from `assignments a`: 19 columns in the model's order."""
DRIVER_COLUMNS: Final = """
    d.id, d.name, d.zone, d.capacity, d.availability, d.last_availability_change, d.external_ref, d.phone,
    d.availability_until, d.availability_reason, d.availability_before, d.session_id, d.session_node,
    d.socket_lost_at, d.connected_since, d.expiries_in_a_row, d.stream_seq, d.open_offer_id,
    d.open_offer_delivery_id, d.active_count, d.vehicle, d.tags, d.active, d.shift_ends_at"""
"""The columns for `driver_from` before the position, from `drivers d`: 24 columns."""
ALERT_COLUMNS: Final = ", ".join(Alert.__struct_fields__)
"""The columns of `alerts` that the model has."""

# No joins: a plan made while a table was tiny must still find each row by its key when the table is large.
_ROWS: Final = f"""
(SELECT json_agg(json_build_array({DELIVERY_COLUMNS},
    (SELECT json_build_array(
        u.delivery_id, u.failure_reason, u.first_attempt_at, u.last_attempt_at, u.attempt_count,
        u.escalation_level, u.escalation_status, u.support_ticket_id, u.notification_sent_at, u.acknowledged_by,
        u.acknowledged_at, u.acknowledgement_note) FROM unassigned_orders u WHERE u.delivery_id = d.id)))
 FROM deliveries d WHERE d.id = ANY($1::text[]::uuid[])),
(SELECT json_agg(json_build_array(
    o.id, o.delivery_id, o.driver_id, o.status, o.attempt, o.offer_payload, o.created_at, o.expires_at,
    o.received_at, o.closed_at, o.closing_reason, o.auto_accepted, o.driver_response_time_ms,
    o.notification_sent_at, o.notification_method))
 FROM driver_offers o WHERE o.delivery_id = ANY($1::text[]::uuid[])),
(SELECT json_agg(json_build_array({ASSIGNMENT_COLUMNS}))
 FROM assignments a WHERE a.delivery_id = ANY($1::text[]::uuid[])),
(SELECT json_agg(json_build_array({DRIVER_COLUMNS},
    (SELECT json_build_array(p.lat, p.lon, p.at, p.last_call_at) FROM driver_positions p WHERE p.driver_id = d.id)))
 FROM drivers d WHERE d.id = ANY($2::text[]::uuid[]))"""  # noqa: S608
_NOW: Final = "date_trunc('milliseconds', clock_timestamp())"
_HEARD: Final = "EXISTS (SELECT FROM webhooks WHERE active)"
_DEAD_NODES: Final = """
(SELECT array_agg(DISTINCT d.session_node) FROM drivers d
 WHERE d.id = ANY($2::text[]::uuid[]) AND d.session_node IS NOT NULL
   AND (SELECT n.expires_at > clock_timestamp() FROM nodes n WHERE n.id = d.session_node) IS NOT TRUE)"""
READ: Final = f"SELECT {_NOW}, NULL::text, false, NULL::uuid[], {_ROWS}"
READ_IN_TRANSACTION: Final = f"SELECT {_NOW}, pg_current_xact_id()::text, {_HEARD}, {_DEAD_NODES}, {_ROWS}"


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
    source: Any, deliveries: Sequence[str], drivers: Sequence[str], *, timeout: float | None = None
) -> Rows:
    """The existing ones of these ids, read from a pool or a connection, without locks."""
    return rows_of(await source.fetchrow(READ, deliveries, drivers, timeout=timeout))


def rows_of(answer: Any) -> Rows:
    """What READ or READ_IN_TRANSACTION answered."""
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
    return [driver_from([*row[:24], *(row[24] or _NOWHERE)]) for row in _decode(_driver_rows, text)]


def driver_from(columns: Sequence[Any]) -> Driver:
    """A driver of DRIVER_COLUMNS, then lat, lon, at, last_call_at of where they are."""
    tags, active, shift_ends_at, lat, lon, at, last_call_at = columns[21:28]
    position = Position(lat, lon, at) if at is not None else None
    kept = tuple(tags) if tags else ()
    return Driver(*columns[:21], kept, active, shift_ends_at, position, last_call_at)  # type: ignore[call-arg]


def delivery_from(
    columns: Sequence[Any],
    wait: Unassigned | None,
    assignments: dict[str, Assignment],
) -> Delivery:
    """A delivery of DELIVERY_COLUMNS, with risks and details as objects or as their JSON; without offers."""
    risks, details = columns[44], columns[45]
    if isinstance(risks, str):
        risks = _risks(risks)
    if isinstance(details, str):
        details = _order_details(details)
    return Delivery(  # type: ignore[call-arg]
        *columns[:6],
        Place(*columns[6:12]),
        Place(*columns[12:18]),
        *columns[18:32],
        tuple(columns[32]) if columns[32] else (),
        *columns[33:44],
        risks or (),
        details or NO_DETAILS,
        wait,
        {},
        assignments,
    )


def assignment_from(columns: Sequence[Any]) -> Assignment:
    """An assignment of ASSIGNMENT_COLUMNS, its details as JSON."""
    details = columns[18]
    return Assignment(*(*columns[:18], _assignment_details(details) if details is not None else None))


_risks = msgspec.json.Decoder(tuple[Risk, ...]).decode
_order_details = msgspec.json.Decoder(OrderDetails).decode
_assignment_details = msgspec.json.Decoder(AssignmentDetails).decode


def _rows_like(model: type, **instead: object) -> "msgspec.json.Decoder[list[Any]]":
    """A decoder of rows that READ returns as arrays: the model's fields in order, some with another type or (None) left
    out.
    """
    types = {name: kind for name, kind in {**get_type_hints(model), **instead}.items() if kind is not None}
    return msgspec.json.Decoder(list[tuple[tuple(types.values())]])  # type: ignore[misc]


class _DeliveryColumns(Struct):
    """A delivery as READ lays it out: the points as columns, its wait at the end."""

    id: str
    seller_id: str
    seller_order_id: str
    store_name: str
    zone: str
    status: str
    pickup_lat: float
    pickup_lon: float
    pickup_address: str | None
    pickup_name: str | None
    pickup_phone: str | None
    pickup_notes: str | None
    dropoff_lat: float
    dropoff_lon: float
    dropoff_address: str | None
    dropoff_name: str | None
    dropoff_phone: str | None
    dropoff_notes: str | None
    prep_seconds: int
    dispatch_at: datetime
    created_at: datetime
    fingerprint: str
    price_cents: int | None
    driver_pay_cents: int | None
    currency: str
    notes: str | None
    unassigned_since: datetime | None
    current_offer_id: str | None
    accepted_offer_id: str | None
    offer_acceptance_count: int
    widened_at: datetime | None
    version: int
    requirements: tuple[str, ...] | None
    tip_cents: int | None
    promised_at: datetime | None
    ready_at: datetime | None
    held_until: datetime | None
    estimated_pickup_at: datetime | None
    estimated_delivery_at: datetime | None
    over_at: datetime | None
    watch_at: datetime | None
    risk_since: datetime | None
    risk_level: int
    risk_acknowledged_by: str | None
    risks: tuple[Risk, ...] | None
    details: OrderDetails | None
    wait: Any


_WAIT: Any = tuple[tuple(kind for name, kind in get_type_hints(Unassigned).items() if name != "nearest")]  # type: ignore[misc]
_NOWHERE: Final = (None, None, None, None)
_WHEREABOUTS: Any = tuple[float | None, float | None, datetime | None, datetime | None]
_delivery_rows: Final = _rows_like(_DeliveryColumns, wait=_WAIT | None)
_offer_rows: Final = _rows_like(Offer, payload=Raw)
_assignment_rows: Final = _rows_like(Assignment)
_driver_rows: Final = _rows_like(Driver, tags=tuple[str, ...] | None, position=_WHEREABOUTS | None, last_call_at=None)


def _delivery(row: Any) -> Delivery:
    return delivery_from(row, Unassigned(*row[46]) if row[46] is not None else None, {})


def _decode(decoder: "msgspec.json.Decoder[list[Any]]", text: str | None) -> list[Any]:
    """The rows in order of their ids, which is the order in which they came to be."""
    return sorted(decoder.decode(text), key=_first) if text is not None else []


_first = itemgetter(0)
