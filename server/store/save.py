"""Saving for the write path: everything a batch changed, and its events, in one statement.

Each table's rows travel as arrays that the server unnests. Updates come before inserts where a partial unique
index could see both: the insert reads the update's row count, which makes PostgreSQL finish the update first.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from server.dispatch.events import AvailabilityChanged, Event
from server.dispatch.model import Assignment, Delivery, Driver, Offer, Ticket, Unassigned
from server.dispatch.world import World
from server.ids import new_id
from server.wire import to_json


class StreamMessage(Struct, frozen=True):
    """One message of a driver's stream: `body` is its JSON, `session_node` where their socket was open."""

    driver_id: str
    session_node: str | None
    seq: int
    body: str


class Section(Struct, frozen=True):
    """One table's part of the statement: `{rows}` in `sql` becomes the unnested parameters."""

    name: str
    sql: str
    columns: tuple[tuple[str, str], ...]
    values: Callable[[Any], tuple[Any, ...]]
    after: str | None = None


def _columns(spec: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, kind) for name, _, kind in (part.strip().partition(" ") for part in spec.split(",")))


def _insert(
    name: str, table: str, spec: str, values: Callable[[Any], tuple[Any, ...]], after: str | None = None
) -> Section:
    columns = _columns(spec)
    names = ", ".join(column for column, _ in columns)
    return Section(name, f"INSERT INTO {table} ({names}) SELECT {names} FROM {{rows}}", columns, values, after)  # noqa: S608


def _update(
    name: str, table: str, key: str, spec: str, values: Callable[[Any], tuple[Any, ...]], extra: str = ""
) -> Section:
    columns = _columns(spec)
    sets = ", ".join(f"{column} = u.{column}" for column, _ in columns if column != key)
    sql = f"UPDATE {table} t SET {sets}{extra} FROM {{rows}} WHERE t.{key} = u.{key} RETURNING 1"  # noqa: S608
    return Section(name, sql, columns, values)


def _delivery_values(d: Delivery) -> tuple[Any, ...]:
    return (
        d.id, d.seller_id, d.seller_order_id, d.store_name, d.zone, d.status, d.pickup.lat, d.pickup.lon,
        d.pickup.address, d.dropoff.lat, d.dropoff.lon, d.dropoff.address, d.prep_seconds, d.price_cents,
        d.driver_pay_cents, d.currency, d.notes, d.fingerprint, d.dispatch_at, d.created_at, d.unassigned_since,
        d.current_offer_id, d.accepted_offer_id, d.offer_acceptance_count, d.widened_at, d.version,
    )  # fmt: skip


def _delivery_changes(d: Delivery) -> tuple[Any, ...]:
    return (
        d.id, d.status, d.unassigned_since, d.current_offer_id, d.accepted_offer_id, d.offer_acceptance_count,
        d.widened_at, d.version,
    )  # fmt: skip


def _wait_values(u: Unassigned) -> tuple[Any, ...]:
    return (
        u.delivery_id, u.failure_reason, u.first_attempt_at, u.last_attempt_at, u.attempt_count, u.escalation_level,
        u.escalation_status, u.support_ticket_id, u.notification_sent_at, u.acknowledged_by, u.acknowledged_at,
        u.acknowledgement_note,
    )  # fmt: skip


def _offer_values(o: Offer) -> tuple[Any, ...]:
    accepted, rejected = o.status == "ACCEPTED", o.status == "REJECTED"
    return (
        o.id, o.delivery_id, o.driver_id, o.attempt, to_json(o.payload), o.created_at, o.expires_at,
        o.notification_sent_at, o.notification_method, o.status, o.received_at, o.closed_at, o.closing_reason,
        o.closed_at if accepted else None, o.closed_at if rejected else None, o.closing_reason if rejected else None,
        o.response_ms, o.auto_accepted,
    )  # fmt: skip


def _offer_changes(o: Offer) -> tuple[Any, ...]:
    accepted, rejected = o.status == "ACCEPTED", o.status == "REJECTED"
    return (
        o.id, o.status, o.received_at, o.closed_at, o.closing_reason, o.closed_at if accepted else None,
        o.closed_at if rejected else None, o.closing_reason if rejected else None, o.response_ms, o.auto_accepted,
    )  # fmt: skip


def _assignment_values(a: Assignment) -> tuple[Any, ...]:
    return (
        a.id, a.delivery_id, a.driver_id, a.offer_id, a.status, a.source, a.created_at, a.picked_up_at,
        a.completed_at, a.ended_at, a.end_reason, a.ended_by, a.version,
    )  # fmt: skip


def _assignment_changes(a: Assignment) -> tuple[Any, ...]:
    return (
        a.id, a.status, a.picked_up_at, a.completed_at, a.ended_at, a.end_reason, a.ended_by, a.version,
    )  # fmt: skip


def _driver_changes(d: Driver) -> tuple[Any, ...]:
    return (
        d.id, d.availability, d.availability_until, d.availability_reason, d.availability_before,
        d.last_availability_change, d.session_id, d.session_node, d.socket_lost_at, d.expiries_in_a_row,
        d.stream_seq, d.open_offer_id, d.open_offer_delivery_id, d.active_count,
    )  # fmt: skip


def _driver_values(driver_and_now: tuple[Driver, datetime]) -> tuple[Any, ...]:
    d, now = driver_and_now
    return (d.name, d.external_ref, d.phone, d.zone, d.capacity, now, *_driver_changes(d))


def _event_values(e: Event) -> tuple[Any, ...]:
    return (
        e.at, e.type, e.actor.type, e.actor.id, e.delivery_id, e.driver_id, e.offer_id, e.assignment_id,
        to_json(e.data()),
    )  # fmt: skip


def _history_values(e: AvailabilityChanged) -> tuple[Any, ...]:
    return (new_id(), e.driver_id, e.from_, e.to, e.reason, e.actor.id, e.actor.type, e.at)


def _message_values(message_and_now: tuple[StreamMessage, datetime]) -> tuple[Any, ...]:
    message, now = message_and_now
    return (message.driver_id, message.seq, message.body, now)


def _ticket_values(t: Ticket) -> tuple[Any, ...]:
    return (
        t.id, t.type, t.priority, t.title, t.description, t.delivery_id, t.zone, t.action_url, t.status, t.created_at,
    )  # fmt: skip


def _policy_values(version: tuple[Any, ...]) -> tuple[Any, ...]:
    return version


_DRIVER_CHANGES = (
    "id uuid, availability text, availability_until timestamptz, availability_reason text, availability_before text,"
    "last_availability_change timestamptz, session_id uuid, session_node uuid, socket_lost_at timestamptz,"
    "expiries_in_a_row int, stream_seq bigint, open_offer_id uuid, open_offer_delivery_id uuid, active_count int"
)

SECTIONS = (
    _update(
        "changed_deliveries", "deliveries", "id",
        "id uuid, status text, unassigned_since timestamptz, current_offer_id uuid, accepted_offer_id uuid,"
        "offer_acceptance_count int, widened_at timestamptz, version int",
        _delivery_changes,
    ),
    _insert(
        "new_deliveries", "deliveries",
        "id uuid, seller_id text, seller_order_id text, store_name text, zone text, status text, pickup_lat float8,"
        "pickup_lon float8, pickup_address text, dropoff_lat float8, dropoff_lon float8, dropoff_address text,"
        "prep_seconds int, price_cents int, driver_pay_cents int, currency text, notes text, fingerprint text,"
        "dispatch_at timestamptz, created_at timestamptz, unassigned_since timestamptz, current_offer_id uuid,"
        "accepted_offer_id uuid, offer_acceptance_count int, widened_at timestamptz, version int",
        _delivery_values,
    ),
    _update(
        "changed_waits", "unassigned_orders", "delivery_id",
        "delivery_id uuid, failure_reason text, first_attempt_at timestamptz, last_attempt_at timestamptz,"
        "attempt_count int, escalation_level int, escalation_status text, support_ticket_id uuid,"
        "notification_sent_at timestamptz, acknowledged_by text, acknowledged_at timestamptz,"
        "acknowledgement_note text",
        _wait_values,
    ),
    _insert(
        "new_waits", "unassigned_orders",
        "delivery_id uuid, failure_reason text, first_attempt_at timestamptz, last_attempt_at timestamptz,"
        "attempt_count int, escalation_level int, escalation_status text, support_ticket_id uuid,"
        "notification_sent_at timestamptz, acknowledged_by text, acknowledged_at timestamptz,"
        "acknowledgement_note text",
        _wait_values,
    ),
    _update(
        "changed_offers", "driver_offers", "id",
        "id uuid, status text, received_at timestamptz, closed_at timestamptz, closing_reason text,"
        "accepted_at timestamptz, rejected_at timestamptz, rejection_reason text, driver_response_time_ms int,"
        "auto_accepted bool",
        _offer_changes,
    ),
    _insert(
        "new_offers", "driver_offers",
        "id uuid, delivery_id uuid, driver_id uuid, attempt int, offer_payload jsonb, created_at timestamptz,"
        "expires_at timestamptz, notification_sent_at timestamptz, notification_method text, status text,"
        "received_at timestamptz, closed_at timestamptz, closing_reason text, accepted_at timestamptz,"
        "rejected_at timestamptz, rejection_reason text, driver_response_time_ms int, auto_accepted bool",
        _offer_values, "changed_offers",
    ),
    _update(
        "changed_assignments", "assignments", "id",
        "id uuid, status text, picked_up_at timestamptz, completed_at timestamptz, ended_at timestamptz,"
        "end_reason text, ended_by text, version int",
        _assignment_changes,
    ),
    _insert(
        "new_assignments", "assignments",
        "id uuid, delivery_id uuid, driver_id uuid, offer_id uuid, status text, source text, created_at timestamptz,"
        "picked_up_at timestamptz, completed_at timestamptz, ended_at timestamptz, end_reason text, ended_by text,"
        "version int",
        _assignment_values, "changed_assignments",
    ),
    _update("changed_drivers", "drivers", "id", _DRIVER_CHANGES, _driver_changes),
    _insert(
        "new_drivers", "drivers",
        "name text, external_ref text, phone text, zone text, capacity int, created_at timestamptz," + _DRIVER_CHANGES,
        _driver_values,
    ),
    _insert(
        "messages", "driver_messages", "driver_id uuid, seq bigint, body text, created_at timestamptz",
        _message_values,
    ),
    _insert(
        "events", "events",
        "at timestamptz, type text, actor_type text, actor_id text, delivery_id uuid, driver_id uuid, offer_id uuid,"
        "assignment_id uuid, data jsonb",
        _event_values,
    ),
    _insert(
        "history", "driver_availability_history",
        'id uuid, driver_id uuid, from_state text, to_state text, reason text, actor_id text, actor_type text,'
        '"timestamp" timestamptz',
        _history_values,
    ),
    _insert(
        "new_tickets", "support_tickets",
        "id uuid, type text, priority text, title text, description text, delivery_id uuid, zone text,"
        "action_url text, status text, created_at timestamptz",
        _ticket_values,
    ),
    _insert(
        "policy", "policy", "version int, document jsonb, changed_by text, reason text, created_at timestamptz",
        _policy_values,
    ),
)  # fmt: skip

# PostgreSQL casts an array of text faster than asyncpg encodes these types one by one.
_SENT_AS_TEXT = {"uuid", "jsonb"}


def statement(present: Iterable[str]) -> str:
    """The SQL that saves exactly these sections; `$1…` are their columns in order."""
    names = set(present)
    parts, number = [], 0
    for section in SECTIONS:
        if section.name not in names:
            continue
        arrays = []
        for _, kind in section.columns:
            number += 1
            arrays.append(f"${number}::text[]::{kind}[]" if kind in _SENT_AS_TEXT else f"${number}::{kind}[]")
        columns = ", ".join(column for column, _ in section.columns)
        sql = section.sql.format(rows=f"unnest({', '.join(arrays)}) AS u({columns})")
        if section.after in names:
            sql += f" WHERE (SELECT count(*) FROM {section.after}) >= 0"  # noqa: S608
        parts.append(f"{section.name} AS ({sql})")
    return "WITH " + ",\n".join(parts) + "\nSELECT 1"


_statements: dict[tuple[str, ...], str] = {}


async def save(connection: Any, world: World, events: list[Event], messages: list[StreamMessage]) -> None:
    """Write all that the world marks as new or changed, its events and messages, in the caller's transaction."""
    now = world.now
    rows: dict[str, Iterable[Any]] = {
        "changed_deliveries": world.changed_deliveries.values(),
        "new_deliveries": world.new_deliveries.values(),
        "changed_waits": world.changed_waits.values(),
        "new_waits": world.new_waits.values(),
        "changed_offers": world.changed_offers.values(),
        "new_offers": world.new_offers.values(),
        "changed_assignments": world.changed_assignments.values(),
        "new_assignments": world.new_assignments.values(),
        "changed_drivers": world.changed_drivers.values(),
        "new_drivers": [(driver, now) for driver in world.new_drivers.values()],
        "messages": [(message, now) for message in messages],
        "events": events,
        "history": [event for event in events if type(event) is AvailabilityChanged],
        "new_tickets": world.new_tickets,
    }
    if world.new_policy is not None:
        policy, by = world.new_policy.policy, world.new_policy.actor
        document = msgspec.json.encode(policy).decode()
        rows["policy"] = [(policy.version, document, by.id, world.new_policy.reason, now)]
    present: list[str] = []
    parameters: list[tuple[Any, ...]] = []
    for section in SECTIONS:
        values = [section.values(row) for row in rows.get(section.name, ())]
        if values:
            present.append(section.name)
            parameters.extend(zip(*values, strict=True))
    key = tuple(present)
    sql = _statements.get(key)
    if sql is None:
        sql = _statements[key] = statement(key)
    await connection.execute(sql, *parameters)
