"""Retention: deletes finished rows past their retention, in small steps beside other work.

A step is one short statement: it finds rows by an index, oldest first, and waits for no lock. The next run finds what
one run did not reach, or left after an error.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import prometheus_client as p
import structlog
from msgspec import Struct

from server.ids import FIRST_ID, first_id_at
from server.settings import Settings
from server.store.clock import time_at
from server.store.connections import Queries
from server.store.devices import UNUSED_DAYS
from server.store.engine import DATABASE_ERRORS, Database
from server.tasks import repeat_with_lease

BATCH: Final = 1_000
"""The limit of rows that one statement deletes."""
DELIVERIES: Final = 100
"""Deliveries deleted in one transaction, each with about twenty rows in other tables."""
DRIVERS: Final = 100
"""The number of drivers that one statement checks, and the limit of rows of each, `OF_A_DRIVER`."""
OF_A_DRIVER: Final = 20

STATEMENT_SECONDS: Final = 5.0
COUNT_SECONDS: Final = 300
REST_SECONDS: Final = 0.05
REST_FACTOR: Final = 4.0
"""The pause after a statement is this many times as long as the statement."""
FIRST_SECONDS: Final = 60.0
EVERY_SECONDS: Final = 3600.0
AGAIN_SECONDS: Final = 300.0
"""After a run that an error or the loss of the lease cut short."""

SLACK: Final = timedelta(days=1)
"""How far the clocks that created ids may have been wrong. The row's own time is checked too."""

PRUNED: Final = p.Counter("callboard_pruned_rows", "Rows deleted after their retention", ["table"])
FAILED: Final = p.Counter("callboard_prune_failures", "Steps of the retention job that failed", ["step"])
STATEMENT_TIME: Final = p.Histogram(
    "callboard_prune_statement_seconds",
    "How long a deleting statement took",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
FINISHED: Final = p.Gauge(
    "callboard_prune_last_timestamp_seconds", "When the retention job last finished, in Unix time"
)

log = structlog.get_logger(__name__)


class Step(Struct, frozen=True):
    """A kind of rows: their retention, and how to delete a batch of them.

    `remove` gets $1 the instant before which rows are old, $2 where to continue (first: `begin`), and if it uses it $3
    an id above all ids of that time. It returns where to continue, None at the end, and the number of deleted rows of
    each table. `count` gets $1 and $2 that id, and returns how many rows of each table would be deleted.
    """

    name: str
    kept: Callable[[Settings], timedelta]
    remove: str
    count: str
    begin: str = FIRST_ID


def _days(setting: str) -> Callable[[Settings], timedelta]:
    return lambda settings: timedelta(days=getattr(settings, setting))


_DELIVERIES: Final = _days("keep_deliveries_days")
_HISTORY: Final = _days("keep_history_days")
_MESSAGES: Final = _days("keep_messages_days")
_WEBHOOKS: Final = _days("keep_webhooks_days")


def _rows(
    name: str,
    kept: Callable[[Settings], timedelta],
    table: str,
    column: str,
    kind: str,
    old: str,
    parts: tuple[str, str] | None = None,
) -> Step:
    """Rows of a table that are `old`, walked along an index on `column`; with them go their `parts`, which are in
    another table and refer to them by a column.
    """
    also = ""
    if parts is not None:
        also = f",\nparts AS (DELETE FROM {parts[0]} WHERE {parts[1]} = ANY (ARRAY(SELECT id FROM gone)))"  # noqa: S608
    remove = f"""
WITH due AS MATERIALIZED (
    SELECT ctid AS place, {column} AS at FROM {table} t
    WHERE {column} >= $2::text::{kind} AND {old.format(below="$3::text::uuid")} ORDER BY {column} LIMIT {BATCH}),
gone AS (
    DELETE FROM {table} t WHERE ctid = ANY (ARRAY(SELECT place FROM due)) AND {old.format(below="$3::text::uuid")}
    RETURNING {"id" if parts else "1"}){also}
SELECT CASE WHEN (SELECT count(*) FROM due) = {BATCH}
            THEN (SELECT at::text FROM due ORDER BY at DESC LIMIT 1) END AS next,
       (SELECT count(*) FROM gone) AS {table}"""  # noqa: S608 - the tables are those below
    count = f"SELECT count(*) AS {table} FROM {table} t WHERE {old.format(below='$2::text::uuid')}"  # noqa: S608
    return Step(name, kept, remove, count, {"uuid": FIRST_ID, "timestamptz": "-infinity"}[kind])


_ATTEMPTS: Final = ("webhook_attempts", "webhook_delivery_id")


def _of_drivers(name: str, kept: Callable[[Settings], timedelta], table: str, oldest: str, at: str) -> Step:
    """Rows of a table that belong to drivers, driver by driver; `oldest` finds the first few of `who`."""
    remove = f"""
WITH who AS MATERIALIZED (SELECT id FROM drivers WHERE id > $2::text::uuid ORDER BY id LIMIT {DRIVERS}),
due AS MATERIALIZED (SELECT who.id, f.place FROM who CROSS JOIN LATERAL ({oldest}) AS f WHERE f.old),
gone AS (DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT place FROM due)) RETURNING 1)
SELECT CASE WHEN EXISTS (SELECT FROM due GROUP BY id HAVING count(*) = {OF_A_DRIVER}) THEN $2::text
            ELSE (SELECT id::text FROM who ORDER BY id DESC LIMIT 1) END AS next,
       (SELECT count(*) FROM gone) AS {table}"""  # noqa: S608
    return Step(name, kept, remove, f"SELECT count(*) AS {table} FROM {table} WHERE {at} < $1")  # noqa: S608


# A finished delivery goes with all that is its own, in one transaction, once nothing has happened to it for long.
_OVER: Final = """
WITH over AS MATERIALIZED (
    SELECT d.id FROM deliveries d
    WHERE d.id < $2::text::uuid AND d.status IN ('DELIVERED', 'CANCELLED', 'FAILED', 'RETURNED')
      AND d.created_at < $1 AND d.dispatch_at < $1
      AND coalesce((SELECT max(e.at) FROM events e WHERE e.delivery_id = d.id) < $1, true))
SELECT (SELECT count(*) FROM over) AS deliveries,
       (SELECT count(*) FROM unassigned_orders WHERE delivery_id IN (SELECT id FROM over)) AS unassigned_orders,
       (SELECT count(*) FROM driver_offers WHERE delivery_id IN (SELECT id FROM over)) AS driver_offers,
       (SELECT count(*) FROM assignments WHERE delivery_id IN (SELECT id FROM over)) AS assignments,
       (SELECT count(*) FROM support_tickets WHERE delivery_id IN (SELECT id FROM over)) AS support_tickets,
       (SELECT count(*) FROM notices WHERE delivery_id IN (SELECT id FROM over)) AS notices,
       (SELECT count(*) FROM events WHERE delivery_id IN (SELECT id FROM over)) AS events"""

_REMOVE_DELIVERIES: Final = f"""
SELECT last_id::text AS next, deliveries, unassigned_orders, driver_offers, assignments, support_tickets, notices,
       events
FROM remove_deliveries($2::text::uuid, $3::text::uuid, $1, {DELIVERIES})"""  # noqa: S608

# From the front of a stream, so that what stays has no gap.
_OLDEST_MESSAGES: Final = f"""
    SELECT place, bool_and(created_at < $1) OVER (ORDER BY seq) AS old FROM (
        SELECT ctid AS place, seq, created_at FROM driver_messages
        WHERE driver_id = who.id ORDER BY seq LIMIT {OF_A_DRIVER}) AS m"""  # noqa: S608
_OLDEST_CHANGES: Final = f"""
    SELECT ctid AS place, true AS old FROM driver_availability_history
    WHERE driver_id = who.id AND timestamp < $1 ORDER BY timestamp, id LIMIT {OF_A_DRIVER}"""  # noqa: S608

STEPS: Final = (
    Step(
        "deliveries",
        _DELIVERIES,
        _REMOVE_DELIVERIES,
        _OVER,
    ),
    # Events of a delivery are deleted with it.
    _rows("events", _HISTORY, "events", "at", "timestamptz", "delivery_id IS NULL AND at < $1"),
    _of_drivers(
        "availability", _HISTORY, "driver_availability_history", _OLDEST_CHANGES, '"timestamp"'
    ),
    _rows("alerts", _HISTORY, "alerts", "id", "uuid", "id < {below} AND resolved_at < $1"),
    _rows("notices", _HISTORY, "notices", "id", "uuid", "id < {below} AND created_at < $1 AND next_attempt_at IS NULL"),
    _of_drivers(
        "messages", _MESSAGES, "driver_messages", _OLDEST_MESSAGES, "created_at"
    ),
    # With their attempts. Parked messages stay as long as the history: somebody may still send them again.
    _rows(
        "webhook_messages", _WEBHOOKS, "webhook_deliveries", "delivered_at", "timestamptz", "delivered_at < $1",
        _ATTEMPTS,
    ),
    _rows("parked_messages", _HISTORY, "webhook_deliveries", "parked_at", "timestamptz", "parked_at < $1", _ATTEMPTS),
    _rows(
        "webhooks", _HISTORY, "webhooks", "id", "uuid",
        "id < {below} AND deleted_at < $1"
        " AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.webhook_id = t.id)",
    ),
    _rows(
        "pushes", _DELIVERIES, "driver_notices", "created_at", "timestamptz",
        "created_at < $1 AND next_attempt_at IS NULL",
    ),
    _rows("report_mails", _WEBHOOKS, "report_mails", "id", "uuid", "created_at < $1 AND next_attempt_at IS NULL"),
    _rows("stream_notices", _DELIVERIES, "stream_notices", "id", "uuid", "id < {below} AND created_at < $1"),
    _rows("texts", _DELIVERIES, "chat_messages", "at", "timestamptz", "at < $1"),
    # There are never many of these. The counts of a day are deleted with it.
    _rows("insights", _HISTORY, "insight_days", "since", "timestamptz", "until < $1"),
    _rows(
        "push_subscriptions", lambda _: timedelta(days=1), "push_subscriptions", "expires_at", "timestamptz",
        "expires_at < $1",
    ),
    _rows(
        "devices", _HISTORY, "driver_devices", "id", "uuid",
        f"id < {{below}} AND (ended_at < $1 OR last_used_at < $1 - interval '{UNUSED_DAYS} days')",
    ),
    _rows(
        "invitations", lambda _: timedelta(days=1), "driver_invitations", "driver_id", "uuid", "expires_at < $1",
    ),
    _rows("sessions", lambda _: timedelta(days=1), "sessions", "expires_at", "timestamptz", "expires_at < $1"),
    _rows("nodes", lambda _: timedelta(hours=1), "nodes", "expires_at", "timestamptz", "expires_at < $1"),
)  # fmt: skip


class Run(Struct, frozen=True):
    """What a run deleted from each table, the steps that failed with their errors, and whether it reached the end."""

    rows: Counter[str]
    failed: dict[str, str]
    finished: bool


async def prune(
    database: Database, settings: Settings, *, now: datetime | None = None, go_on: Callable[[], bool] = lambda: True
) -> Run:
    """Delete everything that is old at `now` (by default the database's time), while `go_on` returns true.

    A step that fails leaves the rest of its rows for the next run. Raises what the database raises if it cannot read
    the time.
    """
    connection = await database.connect_for_retention()
    try:
        now = now or await time_at(connection)
        rows: Counter[str] = Counter()
        failed = {}
        for step in STEPS:
            try:
                await _take(connection, step, now - step.kept(settings), go_on, rows)
            except DATABASE_ERRORS as error:
                FAILED.labels(step.name).inc()
                log.warning("prune_failed", step=step.name, reason=repr(error))
                failed[step.name] = repr(error)
        return Run(rows, failed, not failed and go_on())
    finally:
        connection.terminate()


async def _take(
    connection: Queries, step: Step, before: datetime, go_on: Callable[[], bool], rows: Counter[str]
) -> None:
    """Run one statement after another, each followed by a pause."""
    place: str | None = step.begin
    while place is not None and go_on():
        arguments = [before, place, id_above(before)][: 3 if "$3" in step.remove else 2]
        began = time.monotonic()
        answer = await connection.fetchrow(step.remove, *arguments, timeout=STATEMENT_SECONDS)
        took = time.monotonic() - began
        STATEMENT_TIME.observe(took)
        place = answer["next"]
        for table, gone in list(answer.items())[1:]:
            rows[table] += gone
            PRUNED.labels(table).inc(gone)
        await asyncio.sleep(max(REST_SECONDS, REST_FACTOR * took) if place is not None else 0)


async def would_go(database: Database, settings: Settings, *, now: datetime | None = None) -> dict[str, int]:
    """The number of old rows of each table at `now` (by default the database's time). It reads some tables completely,
    so do not call it regularly. Raises what the database raises.
    """
    connection = await database.connect_for_retention()
    try:
        await connection.execute(f"SET statement_timeout = '{COUNT_SECONDS}s'")
        now = now or await time_at(connection)
        rows: Counter[str] = Counter()
        for step in STEPS:
            before = now - step.kept(settings)
            arguments = [before, id_above(before)][: 2 if "$2" in step.count else 1]
            rows.update(dict(await connection.fetchrow(step.count, *arguments, timeout=COUNT_SECONDS)))
        return dict(rows)
    finally:
        await connection.close()


def id_above(at: datetime) -> str:
    """An id above all that were made until then, or a day later by a clock that was wrong."""
    return first_id_at(at + SLACK)


async def keep_pruning(database: Database, settings: Settings, holds_lease: Callable[[], bool]) -> None:
    """Once an hour, on the node with the lease, a run; the first one shortly after the start. To be supervised."""
    await repeat_with_lease(holds_lease, partial(run_retention, database, settings, holds_lease), FIRST_SECONDS)


async def run_retention(database: Database, settings: Settings, go_on: Callable[[], bool]) -> float:
    """Delete what is due. Returns the pause before the next run, shorter if this one did not reach the end."""
    began = time.monotonic()
    try:
        run = await prune(database, settings, go_on=go_on)
    except DATABASE_ERRORS as error:
        log.warning("prune_failed", step="clock", reason=repr(error))
        return AGAIN_SECONDS
    counts = {table: gone for table, gone in run.rows.items() if gone}
    log.info("pruned", rows=counts, seconds=round(time.monotonic() - began, 1), finished=run.finished)
    if not run.finished:
        return AGAIN_SECONDS
    FINISHED.set(time.time())
    return EVERY_SECONDS
