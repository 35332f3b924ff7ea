"""Loading for the write path: lock what a batch names, in one order, then read it.

Locks are taken by `lock_rows` (a function of the schema): deliveries by id, then drivers by id, ids only. State is
read by later statements, once all locks are held; the last one returns the database's clock, the batch's `now`.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

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


LOCK = (
    "SELECT deliveries::text[], drivers::text[] FROM lock_rows($1::text[]::uuid[], $2::text[]::uuid[],"
    " $3::text[]::uuid[], $4::text[]::uuid[], $5::text[]::uuid[], $6::text[]::uuid[], $7::text[], $8::text[])"
)
DELIVERIES = """
SELECT d.id, d.seller_id, d.seller_order_id, d.store_name, d.zone, d.status, d.pickup_lat, d.pickup_lon,
       d.pickup_address, d.dropoff_lat, d.dropoff_lon, d.dropoff_address, d.prep_seconds, d.dispatch_at,
       d.created_at, d.fingerprint, d.price_cents, d.driver_pay_cents, d.currency, d.notes, d.unassigned_since,
       d.current_offer_id, d.accepted_offer_id, d.offer_acceptance_count, d.widened_at, d.version,
       u.delivery_id, u.failure_reason, u.first_attempt_at, u.last_attempt_at, u.attempt_count, u.escalation_level,
       u.escalation_status, u.support_ticket_id, u.notification_sent_at, u.acknowledged_by, u.acknowledged_at,
       u.acknowledgement_note
FROM deliveries d LEFT JOIN unassigned_orders u ON u.delivery_id = d.id WHERE d.id = ANY($1::text[]::uuid[])"""
OFFERS = """
SELECT id, delivery_id, driver_id, status, attempt, offer_payload, created_at, expires_at, received_at, closed_at,
       closing_reason, auto_accepted, driver_response_time_ms, notification_sent_at, notification_method
FROM driver_offers WHERE delivery_id = ANY($1::text[]::uuid[])"""
ASSIGNMENTS = """
SELECT id, delivery_id, driver_id, offer_id, status, source, created_at, picked_up_at, completed_at, ended_at,
       end_reason, ended_by, version
FROM assignments WHERE delivery_id = ANY($1::text[]::uuid[])"""
DRIVERS = """
SELECT t.now, t.xid, d.id, d.name, d.zone, d.capacity, d.availability, d.last_availability_change, d.external_ref,
       d.phone, d.availability_until, d.availability_reason, d.availability_before, d.session_id, d.session_node,
       d.socket_lost_at, d.expiries_in_a_row, d.stream_seq, d.open_offer_id, d.open_offer_delivery_id,
       d.active_count, p.lat, p.lon, p.at, p.last_call_at
FROM (SELECT date_trunc('milliseconds', clock_timestamp()) AS now, pg_current_xact_id()::text AS xid) t
LEFT JOIN drivers d ON d.id = ANY($1::text[]::uuid[]) LEFT JOIN driver_positions p ON p.driver_id = d.id"""
EXTERNAL_REFS = "SELECT external_ref, id FROM drivers WHERE external_ref = ANY($1::text[])"
POLICY = "SELECT document FROM policy ORDER BY version DESC LIMIT 1"


class Loaded(Struct):
    """A world to decide in, and the transaction that holds its locks."""

    world: World
    xid: str


def delivery_of(row: Any) -> Delivery:
    """A row of DELIVERIES as a delivery, without its offers and assignments yet."""
    return Delivery(
        *row[:6],
        Point(row[6], row[7], row[8]),
        Point(row[9], row[10], row[11]),
        *row[12:26],
        Unassigned(*row[26:38]) if row[26] is not None else None,
        {},
        {},
    )


def offer_of(row: Any) -> Offer:
    """A row of OFFERS as an offer; its payload stays JSON."""
    return Offer(*row[:5], Raw(row[5].encode()), *row[6:15])


def driver_of(row: Any) -> Driver:
    """A row of DRIVERS (from its third column on) as a driver."""
    position = Position(row[21], row[22], row[23]) if row[23] is not None else None
    return Driver(*row[2:21], position, row[24])


async def load(connection: Any, named: Named, policy: Policy) -> Loaded:
    """Lock and read everything that is named, inside the caller's transaction."""
    deliveries: dict[str, Delivery | None] = {}
    drivers: dict[str, Driver | None] = {}
    for asked in (named.deliveries, named.whole_deliveries):
        deliveries.update(dict.fromkeys(asked))
    for asked in (named.drivers, named.whole_drivers):
        drivers.update(dict.fromkeys(asked))
    locked_deliveries: list[str] = []
    locked_drivers: list[str] = []
    if deliveries or drivers or named.offers or named.assignments or named.seller_keys:
        keys = list(named.seller_keys)
        (found,) = await connection.fetch(
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
        locked_deliveries, locked_drivers = found
    if locked_deliveries:
        await _read_deliveries(connection, locked_deliveries, deliveries)
    by_external_ref: dict[str, str] = {}
    if named.external_refs:
        by_external_ref = dict(await connection.fetch(EXTERNAL_REFS, list(named.external_refs)))
    if named.policy:
        document = await connection.fetchval(POLICY)
        policy = msgspec.json.decode(document, type=Policy)
    rows = await connection.fetch(DRIVERS, locked_drivers)
    for row in rows:
        if row[2] is not None:
            drivers[row[2]] = driver_of(row)
    now: datetime = rows[0][0]
    return Loaded(World(now, policy, deliveries, drivers, by_external_ref), rows[0][1])


async def _read_deliveries(connection: Any, ids: Iterable[str], deliveries: dict[str, Delivery | None]) -> None:
    for row in await connection.fetch(DELIVERIES, ids):
        deliveries[row[0]] = delivery_of(row)
    for row in await connection.fetch(OFFERS, ids):
        delivery = deliveries[row[1]]
        assert delivery is not None
        delivery.offers[row[0]] = offer_of(row)
    for row in await connection.fetch(ASSIGNMENTS, ids):
        delivery = deliveries[row[1]]
        assert delivery is not None
        delivery.assignments[row[0]] = Assignment(*row)
