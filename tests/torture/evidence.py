"""What the checker judges: the actors' histories, what the database held at the end, the faults, and the measurements
at rest.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import asyncpg
import msgspec
from msgspec import Struct, field

from server.dispatch.model import Delivery, Driver, Ticket
from server.dispatch.policy import Policy
from server.store.rows import read_rows
from tests.torture.history import Entry
from tests.torture.pictures import StoredImage

T = TypeVar("T", bound=Struct)
Seen = TypeVar("Seen")

QUIET_WITHIN_SECONDS: Final = 120.0
"""How long the database is read again because something happened meanwhile."""

PAUSE: Final = "machine paused"
"""A fault that nobody made (tests/torture/pulse.py): there is nothing to recover from."""
RECOVERY_SECONDS: Final = 10.0
"""How long after a fault was healed the system counts as not healthy yet."""
FORGOTTEN_SECONDS: Final = 10.0
"""How much healthy time in a row may pass over something that is due before it counts as forgotten."""


class EventRow(Struct, frozen=True):
    """A row of `events`."""

    id: int
    xid: str
    at: datetime
    type: str
    actor_type: str
    actor_id: str | None
    delivery_id: str | None
    driver_id: str | None
    offer_id: str | None
    assignment_id: str | None
    data: dict[str, Any]


class HistoryRow(Struct, frozen=True):
    """A row of `driver_availability_history`."""

    driver_id: str
    from_state: str
    to_state: str
    reason: str | None
    actor_id: str | None
    actor_type: str
    timestamp: datetime


class PolicyRow(Struct, frozen=True):
    """A version of the policy."""

    version: int
    document: Policy
    changed_by: str | None
    reason: str | None
    created_at: datetime


class WebhookRow(Struct, frozen=True):
    """A row of `webhook_deliveries`."""

    id: str
    webhook_id: str
    seq: int
    key: str
    type: str
    body: dict[str, Any]
    delivered_at: datetime | None
    parked_at: datetime | None


class StreamNoticeRow(Struct, frozen=True):
    """A row of `stream_notices`."""

    id: str
    kind: str
    driver_id: str
    seq: int
    delivery_id: str | None
    created_at: datetime
    sent_at: datetime | None
    received_at: datetime | None


class ProofRow(Struct, frozen=True):
    """A row of `proofs`, without its content."""

    id: str
    delivery_id: str
    assignment_id: str
    kind: str


class Database(Struct):
    """Everything of one moment. Events are in the order of their numbers, which is the order of the locks."""

    now: datetime
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    drivers: dict[str, Driver] = field(default_factory=dict)
    events: list[EventRow] = field(default_factory=list)
    messages: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    policies: list[PolicyRow] = field(default_factory=list)
    availability_history: list[HistoryRow] = field(default_factory=list)
    tickets: list[Ticket] = field(default_factory=list)
    webhooks: dict[str, list[str]] = field(default_factory=dict)
    webhook_messages: list[WebhookRow] = field(default_factory=list)
    stream_notices: list[StreamNoticeRow] = field(default_factory=list)
    proofs: dict[str, ProofRow] = field(default_factory=dict)


class Fault(Struct, frozen=True):
    """Something was broken, between these instants."""

    name: str
    began: float
    healed: float


class Use(Struct, frozen=True):
    """What the nodes hold: driver sockets, open files and threads by node, and in the database."""

    sockets: list[int]
    files: list[int]
    threads: list[int]
    dead_tasks: list[str]
    connections: int
    idle_in_transaction: int
    waiting_for_locks: int
    locks: int


class Rest(Struct):
    """Measured once everything was quiet, with the drivers' sockets still open; `after` when they were closed.

    `named` are rows that still name somebody who was erased, and `erased` how many rows erasing changed.
    `pictures` are the downloads of all proofs before erasing, `pictures_after` the same afterwards, and `files_after`
    the proofs that are stored then.
    `open_sessions` is what the drivers' apps hold, `sessions` what the database says; `findable` are deliveries that
    wait although the search has somebody for them.
    """

    open_sessions: dict[str, str | None]
    sessions: dict[str, str | None]
    connected: dict[str, bool]
    last_seqs: dict[str, int | None]
    geo: set[str]
    dispatchable: set[str]
    waiting_shown: set[str]
    findable: set[str]
    before: Use
    after: Use
    connections_allowed: int
    named: list[str] = []
    erased: int = 0
    pictures: dict[str, StoredImage] = field(default_factory=dict)
    pictures_after: dict[str, StoredImage] = field(default_factory=dict)
    files_after: dict[str, ProofRow] = field(default_factory=dict)
    erased_deliveries: set[str] = field(default_factory=set)


class Evidence(Struct):
    """All of it. `complaints` are what processes did that they must not.

    `healthy` tells how long the system was left in peace within a span.
    """

    database: Database
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    rest: Rest | None = None
    complaints: list[str] = field(default_factory=list)

    def healthy(self, since: datetime, until: datetime | None) -> float:
        """The longest healthy stretch between two instants, in seconds; until the end for None."""
        begin, end = since.timestamp(), (until or self.database.now).timestamp()
        longest = 0.0
        for fault in sorted(self.faults, key=lambda f: f.began):
            if begin >= end:
                break
            longest = max(longest, min(fault.began, end) - begin)
            begin = max(begin, fault.healed + (0.0 if fault.name == PAUSE else RECOVERY_SECONDS))
        return max(longest, end - begin)

    def forgotten(self, due: datetime, until: datetime | None) -> bool:
        """Whether what was due then and happened at `until` (or not at all) was forgotten meanwhile."""
        return self.healthy(due, until) > FORGOTTEN_SECONDS


_EVENTS: Final = """
SELECT id, xid::text, at, type, actor_type, actor_id, delivery_id::text, driver_id::text, offer_id::text,
       assignment_id::text, data FROM events ORDER BY id"""
_MESSAGES: Final = "SELECT driver_id::text, seq, body FROM driver_messages ORDER BY driver_id, seq"
_POLICIES: Final = """
SELECT version, document || coalesce(additions, '{}') AS document, changed_by, reason, created_at FROM policy
ORDER BY version"""
_HISTORY: Final = """
SELECT driver_id::text, from_state, to_state, reason, actor_id, actor_type, timestamp
FROM driver_availability_history ORDER BY timestamp, id"""
_TICKETS: Final = """
SELECT id::text, type, priority, title, description, delivery_id::text, zone, action_url, created_at, status
FROM support_tickets ORDER BY id"""
_WEBHOOKS: Final = """
SELECT id::text, webhook_id::text, seq, key, type, body, delivered_at, parked_at FROM webhook_deliveries
WHERE type <> 'webhook.test' ORDER BY seq"""

_STREAM_NOTICES: Final = """
SELECT id::text, kind, driver_id::text, seq, delivery_id::text, created_at, sent_at, received_at
FROM stream_notices ORDER BY id"""

PROOFS: Final = "SELECT id::text, delivery_id::text, assignment_id::text, kind FROM proofs ORDER BY id"


async def read_together(
    read: Callable[[], Awaitable[Database]], seen: Callable[[Database], Awaitable[Seen]]
) -> tuple[Database, Seen]:
    """The database, and what everybody has seen of it, of one moment: read again while something happens in between. A
    phone with an offer that was made after the database was read breaks no promise.
    """
    deadline = asyncio.get_running_loop().time() + QUIET_WITHIN_SECONDS
    database = await read()
    while True:
        entries = await seen(database)
        before, database = database, await read()
        nothing_happened = [event.id for event in database.events[-1:]] == [event.id for event in before.events[-1:]]
        if nothing_happened or asyncio.get_running_loop().time() > deadline:
            return database, entries


async def read_database(url: str) -> Database:
    """Everything, in one snapshot."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            deliveries = [row[0] for row in await connection.fetch("SELECT id::text FROM deliveries")]
            drivers = [row[0] for row in await connection.fetch("SELECT id::text FROM drivers")]
            rows = await read_rows(connection, deliveries, drivers)
            messages: dict[str, list[tuple[int, str]]] = defaultdict(list)
            for driver_id, seq, body in await connection.fetch(_MESSAGES):
                messages[driver_id].append((seq, body))
            return Database(
                now=rows.now,
                deliveries=rows.deliveries,
                drivers=rows.drivers,
                events=[_with_json(EventRow, 10, row) for row in await connection.fetch(_EVENTS)],
                messages=messages,
                policies=[
                    PolicyRow(row[0], msgspec.json.decode(row[1], type=Policy), *row[2:])
                    for row in await connection.fetch(_POLICIES)
                ],
                availability_history=[HistoryRow(*row) for row in await connection.fetch(_HISTORY)],
                tickets=[Ticket(*row) for row in await connection.fetch(_TICKETS)],
                webhooks=dict(await connection.fetch("SELECT id::text, events FROM webhooks")),
                webhook_messages=[_with_json(WebhookRow, 5, row) for row in await connection.fetch(_WEBHOOKS)],
                stream_notices=[StreamNoticeRow(*row) for row in await connection.fetch(_STREAM_NOTICES)],
                proofs={row[0]: ProofRow(*row) for row in await connection.fetch(PROOFS)},
            )
    finally:
        await connection.close()


def _with_json(model: type[T], column: int, row: Any) -> T:
    """A row of which one column is JSON."""
    columns = list(row)
    columns[column] = msgspec.json.decode(columns[column])
    return model(*columns)
