"""Reading deliveries and drivers whole: one statement, one moment, as the model's objects."""

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Raw, Struct

from server.dispatch.model import Assignment, Delivery, Driver, Offer, Point, Position, Unassigned

# No joins: a plan made while a table was tiny must still find each row by its key when the table is large.
_ROWS: Final = """
(SELECT json_agg(json_build_array(
    d.id, d.seller_id, d.seller_order_id, d.store_name, d.zone, d.status, d.pickup_lat, d.pickup_lon,
    d.pickup_address, d.dropoff_lat, d.dropoff_lon, d.dropoff_address, d.prep_seconds, d.dispatch_at,
    d.created_at, d.fingerprint, d.price_cents, d.driver_pay_cents, d.currency, d.notes, d.unassigned_since,
    d.current_offer_id, d.accepted_offer_id, d.offer_acceptance_count, d.widened_at, d.version,
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
(SELECT json_agg(json_build_array(
    a.id, a.delivery_id, a.driver_id, a.offer_id, a.status, a.source, a.created_at, a.picked_up_at,
    a.completed_at, a.ended_at, a.end_reason, a.ended_by, a.version))
 FROM assignments a WHERE a.delivery_id = ANY($1::text[]::uuid[])),
(SELECT json_agg(json_build_array(
    d.id, d.name, d.zone, d.capacity, d.availability, d.last_availability_change, d.external_ref, d.phone,
    d.availability_until, d.availability_reason, d.availability_before, d.session_id, d.session_node,
    d.socket_lost_at, d.connected_since, d.expiries_in_a_row, d.stream_seq, d.open_offer_id,
    d.open_offer_delivery_id, d.active_count,
    (SELECT json_build_array(p.lat, p.lon, p.at, p.last_call_at) FROM driver_positions p WHERE p.driver_id = d.id)))
 FROM drivers d WHERE d.id = ANY($2::text[]::uuid[]))"""
_NOW: Final = "date_trunc('milliseconds', clock_timestamp())"
_HEARD: Final = "EXISTS (SELECT FROM webhooks WHERE active)"
_DEAD_NODES: Final = """
(SELECT array_agg(DISTINCT d.session_node) FROM drivers d
 WHERE d.id = ANY($2::text[]::uuid[]) AND d.session_node IS NOT NULL
   AND (SELECT n.expires_at > clock_timestamp() FROM nodes n WHERE n.id = d.session_node) IS NOT TRUE)"""
READ: Final = f"SELECT {_NOW}, NULL::text, false, NULL::uuid[], {_ROWS}"
READ_IN_TRANSACTION: Final = f"SELECT {_NOW}, pg_current_xact_id()::text, {_HEARD}, {_DEAD_NODES}, {_ROWS}"


class Rows(Struct):
    """Deliveries with all of theirs, and drivers, as of one moment, and the database's time right before it.

    If asked for, `xid` is the number of the transaction they were read in, `heard` whether any webhook is active, and
    `dead_nodes` are those of the drivers' sessions that live no more.
    """

    now: datetime
    xid: str | None
    heard: bool
    dead_nodes: list[str]
    deliveries: dict[str, Delivery]
    drivers: dict[str, Driver]


async def read_rows(
    source: Any, deliveries: Sequence[str], drivers: Sequence[str], *, timeout: float | None = None
) -> Rows:
    """Those of these ids that exist, from a pool or a connection, without locks."""
    return rows_of(await source.fetchrow(READ, deliveries, drivers, timeout=timeout))


def rows_of(answer: Any) -> Rows:
    """What READ or READ_IN_TRANSACTION answered."""
    now, xid, heard, dead_nodes, *found = answer
    deliveries = {row[0]: _delivery(row) for row in _decode(_delivery_rows, found[0])}
    for row in _decode(_offer_rows, found[1]):
        if row[1] in deliveries:
            deliveries[row[1]].offers[row[0]] = Offer(*row)
    for row in _decode(_assignment_rows, found[2]):
        if row[1] in deliveries:
            deliveries[row[1]].assignments[row[0]] = Assignment(*row)
    drivers = {row[0]: driver_of([*row[:20], *(row[20] or _NOWHERE)]) for row in _decode(_driver_rows, found[3])}
    return Rows(now, xid, heard, dead_nodes or [], deliveries, drivers)


def driver_of(columns: Sequence[Any]) -> Driver:
    """A driver of their columns in the model's order as far as `active_count`, then lat, lon, at, last_call_at."""
    lat, lon, at, last_call_at = columns[20:24]
    position = Position(lat, lon, at) if at is not None else None
    return Driver(*columns[:20], position, last_call_at)  # type: ignore[call-arg]


def _rows_like(model: type, **instead: Any) -> "msgspec.json.Decoder[list[Any]]":
    """A decoder of rows that READ sends as arrays: the model's fields in order, some of them of another type
    or (None) left out."""
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
    dropoff_lat: float
    dropoff_lon: float
    dropoff_address: str | None
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
    wait: Any


_WAIT: Any = tuple[tuple(get_type_hints(Unassigned).values())]  # type: ignore[misc]
_NOWHERE: Final = (None, None, None, None)
_WHEREABOUTS: Any = tuple[float | None, float | None, datetime | None, datetime | None]
_delivery_rows: Final = _rows_like(_DeliveryColumns, wait=_WAIT | None)
_offer_rows: Final = _rows_like(Offer, payload=Raw)
_assignment_rows: Final = _rows_like(Assignment)
_driver_rows: Final = _rows_like(Driver, position=_WHEREABOUTS | None, last_call_at=None)


def _delivery(row: Any) -> Delivery:
    pickup, dropoff = Point(row[6], row[7], row[8]), Point(row[9], row[10], row[11])
    wait = Unassigned(*row[26]) if row[26] is not None else None
    return Delivery(*row[:6], pickup, dropoff, *row[12:26], wait, {}, {})  # type: ignore[call-arg]


def _decode(decoder: "msgspec.json.Decoder[list[Any]]", text: str | None) -> list[Any]:
    """The rows in order of their ids, which is the order in which they came to be."""
    return sorted(decoder.decode(text), key=_first) if text is not None else []


_first = itemgetter(0)
