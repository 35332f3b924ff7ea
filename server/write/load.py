"""Loading for the write path: lock what a batch names, in one order, then read it.

Locks are taken by `lock_rows` (a function of the schema, in migration 0003): deliveries by id, then drivers by id, ids
only. State is read by a later statement, once all locks are held; it also returns the database's clock, the batch's
`now`. Both happen in one round trip, unless a command needs something else that is read between them.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec
from msgspec import UNSET, Struct

from server.dispatch import commands as c
from server.dispatch.model import Alert, ChatMessage, Delivery, Driver, Point, Position, Still
from server.dispatch.names import name_key
from server.dispatch.policy import Policy
from server.dispatch.transitions import STATES_VERSION
from server.dispatch.world import World
from server.dispatch.zones import NO_ZONES, Zones
from server.store.connections import Connection, Record
from server.store.policies import stored_policy
from server.store.rows import ALERT_COLUMNS, LOCK_AND_READ, READ_IN_TRANSACTION, read_work, rows_of
from server.store.zones import DESCRIBED, SPELLED, zone_from_row


class Named(Struct):
    """The rows that commands name, by how they name them. `whole_deliveries` also takes the drivers of their open
    offer and active assignment; `whole_drivers` also the delivery of their open offer. `posted` are deliveries whose
    first request is needed. `zone_names` are names of zones, in any spelling. `chats` are drivers whose
    messages commands are about, `chat_messages` ids of such messages. `stalled` are deliveries
    whose driver's stops and time without a move are needed. `roomier` are drivers who may have room for more after a
    command. `newest_positions`: a command asks where a driver is now, also if that is not stored yet.
    """

    deliveries: set[str] = msgspec.field(default_factory=set)
    whole_deliveries: set[str] = msgspec.field(default_factory=set)
    drivers: set[str] = msgspec.field(default_factory=set)
    whole_drivers: set[str] = msgspec.field(default_factory=set)
    offers: set[str] = msgspec.field(default_factory=set)
    assignments: set[str] = msgspec.field(default_factory=set)
    seller_keys: set[tuple[str, str]] = msgspec.field(default_factory=set)
    external_refs: set[str] = msgspec.field(default_factory=set)
    posted: set[str] = msgspec.field(default_factory=set)
    zone_names: set[str] = msgspec.field(default_factory=set)
    chats: set[str] = msgspec.field(default_factory=set)
    chat_messages: set[str] = msgspec.field(default_factory=set)
    stalled: set[str] = msgspec.field(default_factory=set)
    roomier: set[str] = msgspec.field(default_factory=set)
    policy: bool = False
    zones: bool = False
    alerts: bool = False
    newest_positions: bool = False

    @property
    def only_rows(self) -> bool:
        """Whether nothing is to be read but deliveries and drivers."""
        others = (self.external_refs, self.chats, self.posted, self.stalled, self.policy, self.zones, self.alerts)
        return not any(others)

    def add(self, command: c.Command) -> None:
        match command:
            case c.CreateDelivery():
                self.seller_keys.add((command.seller_id, command.seller_order_id))
                if command.zone is not None:
                    self.zone_names.add(command.zone)
            case c.AcceptOffer() | c.RejectOffer() | c.ConfirmReceipt() | c.ExpireOffer():
                self.offers.add(command.offer_id)
            case c.OfferDelivery():
                self.deliveries.add(command.delivery_id)
                self.drivers.add(command.driver_id)
            case (
                c.Arrive()
                | c.PickUp()
                | c.Complete()
                | c.CheckPin()
                | c.Release()
                | c.Fail()
                | c.AddProof()
                | c.ReleaseGone()
            ):
                self.assignments.add(command.assignment_id)
            case c.Reassign():
                self.newest_positions = True
                self.assignments.add(command.assignment_id)
                if command.driver_id is not None:
                    self.whole_drivers.add(command.driver_id)
            case c.AssignDelivery():
                self.whole_deliveries.add(command.delivery_id)
                self.whole_drivers.add(command.driver_id)
            case c.CancelDelivery() | c.Escalate() | c.ChangeDelivery() | c.MarkReady() | c.DelayDelivery():
                self.whole_deliveries.add(command.delivery_id)
            case c.RaiseRisk() | c.ClearRisk():
                self.whole_deliveries.add(command.delivery_id)
                if command.code == "stalled":
                    self.stalled.add(command.delivery_id)
            case (
                c.DispatchDelivery()
                | c.HoldDelivery()
                | c.EndHold()
                | c.NoteFailedSearch()
                | c.Acknowledge()
                | c.EscalateRisk()
            ):
                self.deliveries.add(command.delivery_id)
            case c.RestoreDelivery():
                self.deliveries.add(command.delivery_id)
            case c.RetryDelivery():
                self.newest_positions = True
                self.deliveries.add(command.delivery_id)
            case c.TakeBreak() | c.Pause() | c.EndShift() | c.SetAvailability() | c.DeactivateDriver():
                self.whole_drivers.add(command.driver_id)
            case c.ChangeDriver():
                self.drivers.add(command.driver_id)
                if command.capacity is not UNSET:
                    self.roomier.add(command.driver_id)
                if isinstance(command.external_ref, str):
                    self.external_refs.add(command.external_ref)
                if isinstance(command.zone, str):
                    self.zone_names.add(command.zone)
            case c.RegisterDriver():
                self.zone_names.add(command.zone)
                if command.external_ref is not None:
                    self.external_refs.add(command.external_ref)
            case c.SendMessage() | c.Say() | c.SeeMessage():
                self.drivers.add(command.driver_id)
                self.chats.add(command.driver_id)
                self.chat_messages.add(command.message_id)
            case c.RaiseAlert() | c.ResolveAlert() | c.AcknowledgeAlert():
                self.alerts = True
            case c.ChangeZone():
                self.zones = True
                self.zone_names.update((command.key, *command.helped_by))
            case c.RemoveZone():
                self.zones = True
            case c.ChangePolicy():
                self.policy = True
            case _:
                self.drivers.add(command.driver_id)


LOCK: Final = (
    "SELECT deliveries::text[], drivers::text[] FROM lock_rows($1::text[]::uuid[], $2::text[]::uuid[],"
    " $3::text[]::uuid[], $4::text[]::uuid[], $5::text[]::uuid[], $6::text[]::uuid[], $7::text[], $8::text[])"
)
REPLAN_SECONDS: Final = 10.0
"""How often to look whether the plans are still good."""
EXTERNAL_REFS: Final = "SELECT external_ref, id FROM drivers WHERE external_ref = ANY($1::text[])"
# They are few, and locked last: after deliveries and drivers. Two that raise the same one at once meet in the index.
ALERTS: Final = f"SELECT {ALERT_COLUMNS} FROM alerts WHERE resolved_at IS NULL ORDER BY id FOR NO KEY UPDATE"  # noqa: S608
# Three parts, each with an index. A text that was read would be written back.
_CHAT: Final = "SELECT id, driver_id, by_driver, author, NULL::text, at, seen_at FROM chat_messages WHERE "
CHATS: Final = f"""
{_CHAT} driver_id = ANY($1::text[]::uuid[]) AND seen_at IS NULL AND NOT by_driver
UNION {_CHAT} driver_id = ANY($1::text[]::uuid[]) AND by_driver AND at > clock_timestamp() - interval '1 minute'
UNION {_CHAT} id = ANY($2::text[]::uuid[])"""
STILL: Final = """
SELECT p.driver_id::text, p.still_lat, p.still_lon, p.still_since, x.pickup_lat, x.pickup_lon, x.dropoff_lat,
    x.dropoff_lon, (x.details #>> '{store,lat}')::float8, (x.details #>> '{store,lon}')::float8
FROM driver_positions p
JOIN assignments o ON o.driver_id = p.driver_id AND o.status = 'ACTIVE' JOIN deliveries x ON x.id = o.delivery_id
WHERE p.still_since IS NOT NULL AND p.driver_id IN (
    SELECT driver_id FROM assignments WHERE delivery_id = ANY($1::text[]::uuid[]) AND status = 'ACTIVE')"""
POSTED: Final = "SELECT id, posted FROM deliveries WHERE id = ANY($1::text[]::uuid[])"
SIZES: Final = """
SELECT array_agg(pg_relation_size(t) ORDER BY t)
FROM unnest('{deliveries,unassigned_orders,driver_offers,assignments,drivers,alerts}'::regclass[]) AS t"""
# One change of zones at a time, so that versions rise in commit order.
LOCK_ZONES: Final = "SELECT pg_advisory_xact_lock(hashtext('callboard zones'))"
POLICY: Final = "SELECT document, additions FROM policy ORDER BY version DESC LIMIT 1"


class NodeCopies(Struct, frozen=True):
    """What this node knows without reading it, each from a function that returns it as it is now: the policy, the
    version of states that every live node can read (dispatch/transitions.py), the zones, and the spelling of a zone, or
    None if this node does not know it. But for positions, they may only know what is committed.
    """

    policy: Callable[[], Policy]
    states_version: Callable[[], int] = lambda: STATES_VERSION
    zones: Callable[[], Zones] = lambda: NO_ZONES
    spelled_before: Callable[[str], str | None] = lambda _: None
    tracking_url: Callable[[str], str | None] = lambda _: None
    """The customer's link to a delivery."""
    where: Callable[[str], Position | None] = lambda _: None
    """The newest position of a driver, also if it is not stored yet."""


class Loaded(Struct):
    """The world, the transaction that holds its locks, and whether there is an active webhook."""

    world: World
    xid: str
    has_webhooks: bool


async def load(connection: Connection, named: Named, copies: NodeCopies) -> Loaded:
    """Lock and read everything that is named, inside the caller's transaction.

    1. Lock, in one order.
    2. Read what is locked as it is now, and the clock.
    3. Read what else drivers have who have more than one delivery, or one and may get another.

    Of `copies` the policy and the zones are read anew if a command changes them, and spellings if they are not known.
    """
    policy, states_version, zones = copies.policy(), copies.states_version(), copies.zones()
    await _replan(connection)
    deliveries: dict[str, Delivery | None] = {}
    drivers: dict[str, Driver | None] = {}
    for ids in (named.deliveries, named.whole_deliveries):
        deliveries.update(dict.fromkeys(ids))
    for ids in (named.drivers, named.whole_drivers):
        drivers.update(dict.fromkeys(ids))
    spellings = {name_key(name): copies.spelled_before(name) for name in named.zone_names}
    unknown = [key for key, known in spellings.items() if known is None]
    at_once = named.only_rows and not unknown
    locked: tuple[list[str], list[str]] = ([], [])
    if not at_once and (deliveries or drivers or named.offers or named.assignments or named.seller_keys):
        locked = await _lock(connection, named)
    by_external_ref: dict[str, str] = {}
    if named.external_refs:
        by_external_ref = dict(await connection.fetch(EXTERNAL_REFS, list(named.external_refs)))
    if named.policy:
        policy = stored_policy(*await connection.fetchrow(POLICY))
    if named.zones:
        await connection.execute(LOCK_ZONES)
        zones = Zones(map(zone_from_row, await connection.fetch(DESCRIBED)))
    if unknown:
        spellings.update(await connection.fetch(SPELLED, unknown))
    alerts = {row[0]: Alert(*row) for row in await connection.fetch(ALERTS)} if named.alerts else {}
    chats: dict[str, dict[str, ChatMessage]] = {}
    if named.chats:
        for row in await connection.fetch(CHATS, list(named.chats), list(named.chat_messages)):
            message = ChatMessage(*row)
            chats.setdefault(message.driver_id, {})[message.id] = message
    posted = {}
    if named.posted:
        for delivery_id, document in await connection.fetch(POSTED, list(named.posted)):
            posted[delivery_id] = msgspec.json.decode(document) if document is not None else None
    still: dict[str, Still] = {}
    if named.stalled:
        for driver_id, lat, lon, since, *stops in await connection.fetch(STILL, list(named.stalled)):
            before = still[driver_id].stops if driver_id in still else ()
            points = tuple(Point(*place) for place in zip(stops[::2], stops[1::2], strict=True) if None not in place)
            still[driver_id] = Still(lat, lon, since, before + points)
    read = _lock_and_read(connection, named) if at_once else connection.fetchrow(READ_IN_TRANSACTION, *locked)
    rows = rows_of(await read)
    deliveries.update(rows.deliveries)
    drivers.update(rows.drivers)
    if named.newest_positions:
        _move(rows.drivers.values(), copies)
    assert rows.xid is not None
    most = 1 if named.policy else policy.planning.next_jobs
    several = [
        d.id
        for d in rows.drivers.values()
        if d.active_count and (max(d.active_count, d.capacity + most) > 1 or d.id in named.roomier)
    ]
    work = await read_work(connection, several) if several else None
    world = World(
        rows.now,
        policy,
        deliveries,
        drivers,
        by_external_ref,
        alerts,
        rows.dead_nodes,
        posted,
        states_version,
        zones,
        spellings,
        chats,
        still,
        work,
    )
    return Loaded(world, rows.xid, rows.has_webhooks)


def _move(drivers: Iterable[Driver], copies: NodeCopies) -> None:
    """Drivers are where this node saw them last."""
    for driver in drivers:
        newest = copies.where(driver.id)
        if newest is not None and (driver.position is None or newest.at > driver.position.at):
            driver.position = newest


class _Planned(Struct):
    """When the plans of a connection were checked last, and how large the tables were when they were dropped."""

    checked_at: float
    sizes: list[int]


_planned: WeakKeyDictionary[Any, _Planned] = WeakKeyDictionary()


async def _replan(connection: Connection) -> None:
    """Discard the plans of this connection whenever a table has doubled.

    `save` joins the rows that it updates with the rows that it sends. A plan that was made while the table had a few
    dozen rows reads the whole table, and would still do so with a million rows.
    """
    now = time.monotonic()
    planned = _planned.get(connection)
    if planned is None:
        planned = _planned[connection] = _Planned(now, [])
    if now - planned.checked_at > REPLAN_SECONDS:
        planned.checked_at = now
        sizes = await connection.fetchval(SIZES)
        if not planned.sizes or any(size > 2 * before for size, before in zip(sizes, planned.sizes, strict=True)):
            planned.sizes = sizes
            await connection.execute("DISCARD PLANS")


async def _lock_and_read(connection: Connection, named: Named) -> Record:
    keys = list(named.seller_keys)
    answer: Record = await connection.fetchrow(
        LOCK_AND_READ,
        ",".join(named.deliveries) or None,
        ",".join(named.whole_deliveries) or None,
        ",".join(named.drivers) or None,
        ",".join(named.whole_drivers) or None,
        ",".join(named.offers) or None,
        ",".join(named.assignments) or None,
        [seller for seller, _ in keys] or None,
        [order for _, order in keys] or None,
    )
    return answer


async def _lock(connection: Connection, named: Named) -> tuple[list[str], list[str]]:
    # `lock_rows` treats NULL as an empty array; encoding an empty one costs more than a microsecond, on both sides.
    keys = list(named.seller_keys)
    deliveries, drivers = await connection.fetchrow(
        LOCK,
        list(named.deliveries) or None,
        list(named.whole_deliveries) or None,
        list(named.drivers) or None,
        list(named.whole_drivers) or None,
        list(named.offers) or None,
        list(named.assignments) or None,
        [seller for seller, _ in keys] or None,
        [order for _, order in keys] or None,
    )
    return deliveries, drivers
