"""Saving for the write path: everything a batch changed, and its events, in one statement.

Each table's rows travel as one JSON array, which costs both sides far less than an array a column. PostgreSQL looks
for every column that is named to it in every object, so only those that are sent are named. Updates come
before inserts where a partial unique index could see both: the insert asks how many rows the update changed, which
makes PostgreSQL finish the update first.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from server.contract.commit import StreamMessage
from server.contract.webhook_events import EVERYTHING, RETRY_HOURS, WebhookMessage
from server.dispatch.events import AvailabilityChanged, Event, PolicyChanged, camel
from server.dispatch.model import (
    NO_DETAILS,
    Alert,
    Assignment,
    ChatMessage,
    Delivery,
    Driver,
    Nearest,
    Offer,
    RunStop,
    Ticket,
    Unassigned,
)
from server.dispatch.policy import ADDED, DEFAULT_POLICY
from server.dispatch.sameness import Posted
from server.dispatch.world import World
from server.dispatch.zones import Zone
from server.ids import new_id
from server.store.connections import Connection
from server.store.queues.ops_notices import NoticeRow, notice_rows
from server.store.queues.stream_notices import StreamNoticeRow
from server.store.rows import column_of, fields_of
from server.store.tables import TABLES


def row_of(name: str, fields: Iterable[str], *more: str) -> tuple[type[Struct], Callable[[object], Any]]:
    """The type of rows with the columns of these fields of a model, and the values of these fields of an object, in
    this order. `more` are further columns. A column that is None does not travel.
    """
    paths = list(fields)
    columns = [*map(column_of, paths), *more]
    return msgspec.defstruct(name, [(column, Any, None) for column in columns], omit_defaults=True), attrgetter(*paths)


CHANGING_DELIVERY: Final = (
    "id", "status", "unassigned_since", "current_offer_id", "accepted_offer_id", "offer_acceptance_count", "widened_at",
    "version", "promised_at", "held_until", "estimated_pickup_at", "estimated_delivery_at", "over_at", "watch_at",
)  # fmt: skip
"""What of a delivery changes on its way. What was ordered changes seldom, and then all of the row is written."""
CHANGING_DRIVER: Final = (
    "id", "availability", "last_availability_change", "expiries_in_a_row", "stream_seq", "active_count",
    "availability_until", "availability_reason", "availability_before", "session_id", "session_node", "socket_lost_at",
    "connected_since", "open_offer_id", "open_offer_delivery_id",
)  # fmt: skip
"""What of a driver changes with their work. Who they are changes seldom, and then all of the row is written."""
NewDeliveryRow, _of_new_delivery = row_of("NewDeliveryRow", fields_of(Delivery), "posted")
DeliveryRow, _of_delivery = row_of("DeliveryRow", CHANGING_DELIVERY)
DriverRow, _of_driver = row_of("DriverRow", CHANGING_DRIVER)


class OfferRow(Struct, frozen=True):
    """What of an offer changes; by the time it is accepted or rejected, also under the names of that."""

    id: str
    status: str
    received_at: datetime | None
    closed_at: datetime | None
    closing_reason: str | None
    accepted_at: datetime | None
    rejected_at: datetime | None
    rejection_reason: str | None
    driver_response_time_ms: int | None
    auto_accepted: bool


class NewOfferRow(OfferRow, frozen=True):
    """A row of `driver_offers`."""

    delivery_id: str
    driver_id: str
    attempt: int
    offer_payload: Any
    created_at: datetime
    expires_at: datetime
    notification_sent_at: datetime | None
    notification_method: str | None


class RunRow(Struct, frozen=True):
    """A row of `driver_runs`."""

    driver_id: str
    stops: tuple[RunStop, ...]


class EventRow(Struct, frozen=True, omit_defaults=True):
    """A row of `events`."""

    at: datetime
    type: str
    actor_type: str
    data: dict[str, Any]
    actor_id: str | None = None
    delivery_id: str | None = None
    driver_id: str | None = None
    offer_id: str | None = None
    assignment_id: str | None = None


class HistoryRow(Struct, frozen=True):
    """A row of `driver_availability_history`."""

    id: str
    driver_id: str | None
    from_state: str
    to_state: str
    reason: str
    actor_id: str | None
    actor_type: str
    timestamp: datetime


class PolicyRow(Struct, frozen=True):
    """A row of `policy`."""

    version: int
    document: dict[str, Any]
    additions: dict[str, Any] | None
    changed_by: str | None
    reason: str | None
    created_at: datetime


class ZoneRow(Struct, frozen=True):
    """A row of `zones`. After its description was deleted it has no name, shape or helpers."""

    key: str
    spelling: str
    name: str | None
    shape: dict[str, Any] | None
    helped_by: tuple[str, ...] | None
    changed_by: str | None
    changed_at: datetime | None


def _new_delivery(new: tuple[Delivery, Posted | None]) -> Struct:
    """What most orders do not have is NULL in their row."""
    delivery, posted = new
    row: Any = NewDeliveryRow(*_of_new_delivery(delivery), posted)
    row.requirements = row.requirements or None
    row.risks = row.risks or None
    row.details = row.details if row.details != NO_DETAILS else None
    return cast(Struct, row)


def _delivery(delivery: Delivery) -> Struct:
    return DeliveryRow(*_of_delivery(delivery))


def _driver(driver: Driver) -> Struct:
    return DriverRow(*_of_driver(driver))


def _run(run: tuple[str, tuple[RunStop, ...]]) -> RunRow:
    return RunRow(*run)


def _offer_changes(o: Offer) -> tuple[Any, ...]:
    accepted, rejected = o.status == "ACCEPTED", o.status == "REJECTED"
    return (
        o.id, o.status, o.received_at, o.closed_at, o.closing_reason, o.closed_at if accepted else None,
        o.closed_at if rejected else None, o.closing_reason if rejected else None, o.response_ms, o.auto_accepted,
    )  # fmt: skip


def _offer(o: Offer) -> OfferRow:
    return OfferRow(*_offer_changes(o))


def _new_offer(o: Offer) -> NewOfferRow:
    return NewOfferRow(  # type: ignore[call-arg]
        *_offer_changes(o), o.delivery_id, o.driver_id, o.attempt, o.payload, o.created_at, o.expires_at,
        o.notification_sent_at, o.notification_method,
    )  # fmt: skip


def _event(e: Event) -> EventRow:
    return EventRow(
        e.at, e.type, e.actor.type, e.data(), e.actor.id, e.delivery_id, e.driver_id, e.offer_id, e.assignment_id
    )


def _history(e: AvailabilityChanged) -> HistoryRow:
    return HistoryRow(new_id(), e.driver_id, e.from_, e.to, e.reason, e.actor.id, e.actor.type, e.at)


def _policy(e: PolicyChanged) -> PolicyRow:
    document = msgspec.to_builtins(e.policy)
    additions = {camel(name): document.pop(camel(name)) for name in ADDED}
    usual = msgspec.to_builtins(DEFAULT_POLICY)
    changed = {name: value for name, value in additions.items() if value != usual[name]}
    return PolicyRow(e.policy.version, document, changed or None, e.actor.id, e.reason, e.at)


def _zone(described: tuple[str, Zone | None]) -> ZoneRow:
    key, zone = described
    if zone is None:
        return ZoneRow(key, key, None, None, None, None, None)
    return ZoneRow(key, zone.key, zone.name, zone.shape, zone.helped_by, zone.changed_by, zone.changed_at)


def _new_zone(new: tuple[str, str, Zone | None]) -> ZoneRow:
    key, spelling, zone = new
    return replace(_zone((key, zone)), spelling=spelling)


def _recorded_wait(recorded: tuple[Unassigned, Nearest | None]) -> Unassigned:
    wait, nearest = recorded
    return replace(wait, nearest=nearest)


class Section(Struct, frozen=True):
    """One table's part of the statement. `{rows}` in `sql` becomes its parameter's rows, as `u`.

    `row` makes what is sent out of what the world holds; None where that has the columns as its fields. `after` is
    the section that has to be finished first, if it is there.
    """

    name: str
    sql: str
    row: Callable[[Any], Struct] | None
    after: str | None = None


_TABLES: Final = {table._meta.tablename: table for table in TABLES}


def _rows(table: str, columns: Iterable[str]) -> str:
    types = {column._meta.name: column.column_type.replace("SERIAL", "INT") for column in _TABLES[table]._meta.columns}
    return f"json_to_recordset({{rows}}::json) AS u ({', '.join(f'{name} {types[name]}' for name in columns)})"


def _insert(
    name: str,
    table: str,
    columns: Iterable[str],
    row: Callable[[Any], Struct] | None = None,
    *,
    after: str | None = None,
    computed: Mapping[str, str] | None = None,
) -> Section:
    columns = tuple(columns)
    sources = {column: f"u.{column}" for column in columns} | dict(computed or {})
    sql = (
        f"INSERT INTO {table} ({', '.join(sources)}) SELECT {', '.join(sources.values())} FROM {_rows(table, columns)}"  # noqa: S608
    )
    return Section(name, sql, row, after)


def _update(
    name: str,
    table: str,
    key: str,
    columns: Iterable[str],
    row: Callable[[Any], Struct] | None = None,
    *,
    computed: Mapping[str, str] | None = None,
) -> Section:
    columns = tuple(columns)
    sources = {column: f"u.{column}" for column in columns if column != key} | dict(computed or {})
    sets = ", ".join(f"{column} = {source}" for column, source in sources.items())
    sql = f"UPDATE {table} t SET {sets} FROM {_rows(table, columns)} WHERE t.{key} = u.{key} RETURNING 1"  # noqa: S608
    return Section(name, sql, row)


_WAIT: Final = tuple(fields_of(Unassigned))
_ASSIGNMENT: Final = Assignment.__struct_fields__
_ASSIGNMENT_CHANGES: Final = (
    "id", "status", "picked_up_at", "completed_at", "ended_at", "end_reason", "ended_by", "version", "end_note",
    "arrived_pickup_at", "arrived_dropoff_at", "failed_at", "details",
)  # fmt: skip
_VERSION: Final = {"version": "coalesce(u.version, 1)"}
"""It is sent only if it is not the default."""
_ALERT: Final = Alert.__struct_fields__
_DRIVER: Final = tuple(fields_of(Driver))
_NEVER_CHANGES: Final = ("seller_id", "seller_order_id", "zone", "fingerprint", "created_at")
_DELIVERY_AMENDED: Final = [name for name in NewDeliveryRow.__struct_fields__ if name not in _NEVER_CHANGES]

# Ids that begin with the time, as all others here do: at random, each would touch another page of the index.
_MESSAGE_ID: Final = """
(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
 || '7' || substr(gen_random_uuid()::text, 16))::uuid"""
# They are due from this moment: from the start of a long transaction, they would come behind what was read meanwhile.
_OUTBOX: Final = f"""
INSERT INTO webhook_deliveries (id, webhook_id, key, type, body, next_attempt_at, retry_until)
SELECT {_MESSAGE_ID}, w.id, u.key, u.type, u.body, clock_timestamp(), now() + make_interval(hours => {RETRY_HOURS})
FROM {_rows("webhook_deliveries", ("key", "type", "body", "seq"))}
JOIN webhooks w ON w.active AND w.events && ARRAY['{EVERYTHING}', u.type]
ORDER BY u.seq"""  # noqa: S608

_DESCRIBED: Final = ("name", "shape", "helped_by", "changed_by", "changed_at")
_NEXT_VERSION: Final = "(SELECT coalesce(max(version), 0) + 1 FROM zones)"
_ZONES: Final = f"""
INSERT INTO zones (key, spelling, {", ".join(_DESCRIBED)}, version)
SELECT u.key, u.spelling, {", ".join(f"u.{name}" for name in _DESCRIBED)},
       {_NEXT_VERSION}
FROM {_rows("zones", ("key", "spelling", *_DESCRIBED))}
ON CONFLICT (key) DO UPDATE SET version = EXCLUDED.version, {", ".join(f"{n} = EXCLUDED.{n}" for n in _DESCRIBED)}"""  # noqa: S608

_RUNS: Final = f"""
INSERT INTO driver_runs (driver_id, stops)
SELECT u.driver_id, u.stops FROM {_rows("driver_runs", RunRow.__struct_fields__)}
ON CONFLICT (driver_id) DO UPDATE SET stops = EXCLUDED.stops"""  # noqa: S608

SECTIONS: Final = (
    _update("changed_deliveries", "deliveries", "id", DeliveryRow.__struct_fields__, _delivery),
    _update(
        "amended_deliveries",
        "deliveries",
        "id",
        _DELIVERY_AMENDED,
        _new_delivery,
        computed={"posted": "coalesce(t.posted, u.posted)"},  # what was posted first
    ),
    _insert("new_deliveries", "deliveries", NewDeliveryRow.__struct_fields__, _new_delivery),
    _update("changed_waits", "unassigned_orders", "delivery_id", _WAIT),
    _update("recorded_waits", "unassigned_orders", "delivery_id", Unassigned.__struct_fields__, _recorded_wait),
    _insert("new_waits", "unassigned_orders", _WAIT),
    _update("changed_offers", "driver_offers", "id", OfferRow.__struct_fields__, _offer),
    _insert("new_offers", "driver_offers", NewOfferRow.__struct_fields__, _new_offer, after="changed_offers"),
    _update("changed_assignments", "assignments", "id", _ASSIGNMENT_CHANGES, computed=_VERSION),
    _insert(
        "new_assignments",
        "assignments",
        _ASSIGNMENT,
        after="changed_assignments",
        computed=_VERSION,
    ),
    _update("changed_drivers", "drivers", "id", DriverRow.__struct_fields__, _driver),
    _update("amended_drivers", "drivers", "id", _DRIVER),
    _insert("new_drivers", "drivers", _DRIVER, computed={"created_at": "u.last_availability_change"}),
    Section("runs", _RUNS, _run),
    _insert("messages", "driver_messages", ("driver_id", "seq", "body"), computed={"created_at": "now()"}),
    _insert("events", "events", EventRow.__struct_fields__, _event),
    Section("outbox", _OUTBOX, None),
    _insert("notices", "notices", NoticeRow.__struct_fields__, computed={"next_attempt_at": "now()"}),
    _insert("stream_notices", "stream_notices", StreamNoticeRow.__struct_fields__),
    _insert("history", "driver_availability_history", HistoryRow.__struct_fields__, _history),
    _insert("new_tickets", "support_tickets", Ticket.__struct_fields__),
    _insert("new_chat_messages", "chat_messages", ChatMessage.__struct_fields__),
    _update("changed_chat_messages", "chat_messages", "id", ("id", "seen_at")),
    _update("changed_alerts", "alerts", "id", ("id", "value", "resolved_at", "acknowledged_by", "acknowledged_at")),
    _insert("new_alerts", "alerts", _ALERT, after="changed_alerts"),
    # Nothing on a conflict: if another transaction spells the zone first, this one runs again with that spelling.
    _insert(
        "new_zones",
        "zones",
        ("key", "spelling", *_DESCRIBED),
        _new_zone,
        computed={"version": f"CASE WHEN u.name IS NULL THEN 0 ELSE {_NEXT_VERSION} END"},
    ),
    Section("zones", _ZONES, _zone),
    _insert("policy", "policy", PolicyRow.__struct_fields__, _policy),
)

_encode = msgspec.json.Encoder().encode


def statement(present: Iterable[str]) -> str:
    """The SQL that saves exactly these sections; `$1…` are their rows in order."""
    names = set(present)
    parts: list[str] = []
    for section in SECTIONS:
        if section.name in names:
            sql = section.sql.format(rows=f"${len(parts) + 1}")
            if section.after in names:
                sql += f" WHERE (SELECT count(*) FROM {section.after}) >= 0"  # noqa: S608
            parts.append(f"{section.name} AS ({sql})")
    return "WITH " + ",\n".join(parts) + "\nSELECT 1"


def _but(changed: Mapping[str, object], amended: Mapping[str, object]) -> Collection[object]:
    """One statement updates a row once."""
    if not amended:
        return changed.values()
    return [row for row_id, row in changed.items() if row_id not in amended]


_statements: dict[tuple[str, ...], str] = {}


async def save(
    connection: Connection,
    world: World,
    events: Sequence[Event],
    messages: Sequence[StreamMessage],
    outbox: Sequence[WebhookMessage] = (),
    stream_notices: Sequence[StreamNoticeRow] = (),
) -> None:
    """Save everything that the world marks as new or changed, its events and messages, the webhook messages, and the
    notices, in the caller's transaction.

    Rows that other transactions may insert with the same unique key at the same time are inserted in the order of that
    key.
    """
    recorded_waits = {of: wait for of, wait in world.recorded_waits.items() if of in world.changed_waits}
    rows: dict[str, Collection[Any]] = {
        "changed_deliveries": _but(world.changed_deliveries, world.amended_deliveries),
        "amended_deliveries": [
            (delivery, world.new_posted.get(delivery.id)) for delivery in world.amended_deliveries.values()
        ],
        "new_deliveries": [
            (delivery, world.new_posted.get(delivery.id))
            for delivery in sorted(world.new_deliveries.values(), key=lambda d: (d.seller_order_id, d.seller_id))
        ],
        "changed_waits": _but(world.changed_waits, recorded_waits),
        "recorded_waits": recorded_waits.values(),
        "new_waits": world.new_waits.values(),
        "changed_offers": world.changed_offers.values(),
        "new_offers": world.new_offers.values(),
        "changed_assignments": world.changed_assignments.values(),
        "new_assignments": world.new_assignments.values(),
        "changed_drivers": _but(world.changed_drivers, world.amended_drivers),
        "amended_drivers": world.amended_drivers.values(),
        "new_drivers": sorted(world.new_drivers.values(), key=lambda d: d.external_ref or ""),
        "runs": world.changed_runs.items(),
        "messages": messages,
        "events": events,
        "outbox": outbox,
        "notices": notice_rows(events, world),
        "stream_notices": stream_notices,
        "history": [event for event in events if type(event) is AvailabilityChanged],
        "new_tickets": world.new_tickets,
        "new_chat_messages": world.new_chat_messages.values(),
        "changed_chat_messages": world.changed_chat_messages.values(),
        "changed_alerts": world.changed_alerts.values(),
        "new_alerts": world.new_alerts.values(),
        "new_zones": [
            (key, spelling, world.changed_zones.get(key)) for key, spelling in sorted(world.new_spellings.items())
        ],
        "zones": [(key, zone) for key, zone in world.changed_zones.items() if key not in world.new_spellings],
        "policy": [world.new_policy] if world.new_policy is not None else [],
    }
    present: list[str] = []
    parameters: list[str] = []
    for section in SECTIONS:
        values = rows[section.name]
        if values:
            row = section.row
            present.append(section.name)
            parameters.append(_encode([*values] if row is None else [row(value) for value in values]).decode())
    if not present:
        return
    key = tuple(present)
    sql = _statements.get(key)
    if sql is None:
        sql = _statements[key] = statement(key)
    await connection.execute(sql, *parameters)
