"""Loading for the write path: lock what a batch names, in one order, then read it.

Locks are taken by `lock_rows` (a function of the schema): deliveries by id, then drivers by id, ids only. State is
read by later statements, once all locks are held; the last one returns the database's clock, the batch's `now`.
"""

from datetime import datetime
from operator import itemgetter
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import Raw, Struct

from server.dispatch import commands as c
from server.dispatch.model import Assignment, Delivery, Driver, Offer, Point, Position, Unassigned
from server.dispatch.policy import Policy
from server.dispatch.world import World


class Named(Struct):
    """The rows that commands name, by how they name them. `whole_deliveries` also takes the drivers of their open
    offer and active assignment; `whole_drivers` also the delivery of their open offer.
    """

    deliveries: set[str] = msgspec.field(default_factory=set)
    whole_deliveries: set[str] = msgspec.field(default_factory=set)
    drivers: set[str] = msgspec.field(default_factory=set)
    whole_drivers: set[str] = msgspec.field(default_factory=set)
    offers: set[str] = msgspec.field(default_factory=set)
    assignments: set[str] = msgspec.field(default_factory=set)
    seller_keys: set[tuple[str, str]] = msgspec.field(default_factory=set)
    external_refs: set[str] = msgspec.field(default_factory=set)
    policy: bool = False

    def add(self, command: c.Command) -> None:
        """Name what this command is about."""
        match command:
            case c.CreateDelivery():
                self.seller_keys.add((command.seller_id, command.seller_order_id))
            case c.AcceptOffer() | c.RejectOffer() | c.ConfirmReceipt() | c.ExpireOffer():
                self.offers.add(command.offer_id)
            case c.OfferDelivery():
                self.deliveries.add(command.delivery_id)
                self.drivers.add(command.driver_id)
            case c.PickUp() | c.Complete():
                self.assignments.add(command.assignment_id)
            case c.Reassign():
                self.assignments.add(command.assignment_id)
                if command.driver_id is not None:
                    self.whole_drivers.add(command.driver_id)
            case c.AssignDelivery():
                self.whole_deliveries.add(command.delivery_id)
                self.whole_drivers.add(command.driver_id)
            case c.CancelDelivery() | c.Escalate():
                self.whole_deliveries.add(command.delivery_id)
            case c.DispatchDelivery() | c.NoteFailedSearch() | c.Acknowledge():
                self.deliveries.add(command.delivery_id)
            case c.TakeBreak() | c.Pause() | c.EndShift() | c.SetAvailability():
                self.whole_drivers.add(command.driver_id)
            case c.RegisterDriver():
                if command.external_ref is not None:
                    self.external_refs.add(command.external_ref)
            case c.ChangePolicy():
                self.policy = True
            case _:
                self.drivers.add(command.driver_id)


LOCK: Final = (
    "SELECT deliveries::text[], drivers::text[] FROM lock_rows($1::text[]::uuid[], $2::text[]::uuid[],"
    " $3::text[]::uuid[], $4::text[]::uuid[], $5::text[]::uuid[], $6::text[]::uuid[], $7::text[], $8::text[])"
)
# No joins: a plan made while a table was tiny must still find each row by its key when the table is large.
READ: Final = """
SELECT date_trunc('milliseconds', clock_timestamp()), pg_current_xact_id()::text,
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
    d.socket_lost_at, d.expiries_in_a_row, d.stream_seq, d.open_offer_id, d.open_offer_delivery_id, d.active_count,
    (SELECT json_build_array(p.lat, p.lon, p.at, p.last_call_at) FROM driver_positions p WHERE p.driver_id = d.id)))
 FROM drivers d WHERE d.id = ANY($2::text[]::uuid[]))"""
EXTERNAL_REFS: Final = "SELECT external_ref, id FROM drivers WHERE external_ref = ANY($1::text[])"
POLICY: Final = "SELECT document FROM policy ORDER BY version DESC LIMIT 1"


def _rows_of(model: type, **instead: Any) -> "msgspec.json.Decoder[list[Any]]":
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
_WHEREABOUTS: Any = tuple[float | None, float | None, datetime | None, datetime | None]
_delivery_rows: Final = _rows_of(_DeliveryColumns, wait=_WAIT | None)
_offer_rows: Final = _rows_of(Offer, payload=Raw)
_assignment_rows: Final = _rows_of(Assignment)
_driver_rows: Final = _rows_of(Driver, position=_WHEREABOUTS | None, last_call_at=None)


class Loaded(Struct):
    """A world to decide in, and the transaction that holds its locks."""

    world: World
    xid: str


def _delivery(row: Any) -> Delivery:
    pickup, dropoff = Point(row[6], row[7], row[8]), Point(row[9], row[10], row[11])
    wait = Unassigned(*row[26]) if row[26] is not None else None
    return Delivery(*row[:6], pickup, dropoff, *row[12:26], wait, {}, {})  # type: ignore[call-arg]


def _driver(row: Any) -> Driver:
    driver = Driver(*row[:19])
    if row[19] is not None:
        lat, lon, at, driver.last_call_at = row[19]
        if at is not None:
            driver.position = Position(lat, lon, at)
    return driver


async def load(connection: Any, named: Named, policy: Policy) -> Loaded:
    """Lock and read everything that is named, inside the caller's transaction.

    1. Lock, in one order.
    2. Read what is locked as it is now, and the clock.
    """
    deliveries: dict[str, Delivery | None] = {}
    drivers: dict[str, Driver | None] = {}
    for asked in (named.deliveries, named.whole_deliveries):
        deliveries.update(dict.fromkeys(asked))
    for asked in (named.drivers, named.whole_drivers):
        drivers.update(dict.fromkeys(asked))
    locked: tuple[list[str], list[str]] = ([], [])
    if deliveries or drivers or named.offers or named.assignments or named.seller_keys:
        locked = await _lock(connection, named)
    by_external_ref: dict[str, str] = {}
    if named.external_refs:
        by_external_ref = dict(await connection.fetch(EXTERNAL_REFS, list(named.external_refs)))
    if named.policy:
        policy = msgspec.json.decode(await connection.fetchval(POLICY), type=Policy)
    now, xid, *found = await connection.fetchrow(READ, *locked)
    for row in _rows(_delivery_rows, found[0]):
        deliveries[row[0]] = _delivery(row)
    for row in _rows(_offer_rows, found[1]):
        delivery = deliveries[row[1]]
        assert delivery is not None
        delivery.offers[row[0]] = Offer(*row)
    for row in _rows(_assignment_rows, found[2]):
        delivery = deliveries[row[1]]
        assert delivery is not None
        delivery.assignments[row[0]] = Assignment(*row)
    for row in _rows(_driver_rows, found[3]):
        drivers[row[0]] = _driver(row)
    return Loaded(World(now, policy, deliveries, drivers, by_external_ref), xid)


async def _lock(connection: Any, named: Named) -> tuple[list[str], list[str]]:
    keys = list(named.seller_keys)
    deliveries, drivers = await connection.fetchrow(
        LOCK,
        list(named.deliveries),
        list(named.whole_deliveries),
        list(named.drivers),
        list(named.whole_drivers),
        list(named.offers),
        list(named.assignments),
        [seller for seller, _ in keys],
        [order for _, order in keys],
    )
    return deliveries, drivers


def _rows(decoder: "msgspec.json.Decoder[list[Any]]", text: str | None) -> list[Any]:
    """The rows in order of their ids, which is the order in which they came to be."""
    return sorted(decoder.decode(text), key=_first) if text is not None else []


_first = itemgetter(0)
