"""The notice log: recipients, channels and status of all notices.

Nothing is stored twice. Ops' notices are rows. A customer's notice is the webhook message of an assignment; webhook
messages of escalations, tickets and alerts are for ops. A driver's notice is the offer with its receipt, the push for
it to a phone without a socket, or a message of their stream about what others did. Each source returns the same
columns, newest first, and a page has the newest rows of all sources.
"""

import heapq
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from server.contract.notices import Severity
from server.ids import first_id_at
from server.store.connections import Pool, Record
from server.store.query import fetch
from server.store.queues.stream_notices import LONGEST_HOURS
from server.store.webhooks import ABOUT
from server.texts.speech import said

To = Literal["ops", "customer", "driver"]
NoticeStatus = Literal["pending", "sent", "received", "failed"]
NoticeKind = Literal[
    "delivery.escalated",
    "ticket.created",
    "alert.raised",
    "alert.resolved",
    "delivery.assigned",
    "delivery.reassigned",
    "delivery.cancelled",
    "driver.availability_changed",
    "delivery.pin_wrong",
    "delivery.late_report",
    "driver.message_sent",
    "offer.created",
    "offer.closed",
    "webhook.switched_off",
]
Source = Literal["notice", "message", "offer", "push", "stream"]
SOURCES: Final[tuple[Source, ...]] = get_args(Source)

TO: Final[dict[Source, tuple[To, ...]]] = {
    "notice": ("ops",),
    "message": ("customer", "ops"),
    "offer": ("driver",),
    "push": ("driver",),
    "stream": ("driver",),
}
"""The possible recipients of each source."""
KINDS: Final[dict[Source, tuple[NoticeKind, ...]]] = {
    "notice": (
        "delivery.escalated",
        "alert.raised",
        "alert.resolved",
        "delivery.pin_wrong",
        "delivery.late_report",
        "driver.message_sent",
        "webhook.switched_off",
    ),
    "message": ("delivery.assigned", "delivery.escalated", "ticket.created", "alert.raised", "alert.resolved"),
    "offer": ("offer.created",),
    "push": ("offer.created", "offer.closed"),
    "stream": ("delivery.assigned", "delivery.reassigned", "delivery.cancelled", "driver.availability_changed"),
}
_BY_ID: Final = ("notice", "offer", "stream")
"""Sources whose ids are in order of time."""
UUID7_SKEW: Final = timedelta(seconds=10)
"""Nodes create ids a moment before the database dates the row."""

# A notice counts as seen if somebody acknowledged it or its order. A driver's words are kept with the messages only,
# and erased there.
NOTICES: Final = """
SELECT n.id, 'ops' AS "to", n.kind, coalesce(n.channel, 'board') AS channel,
       CASE WHEN n.acknowledged_at IS NOT NULL OR seen.at IS NOT NULL OR a.acknowledged_at IS NOT NULL THEN 'received'
            WHEN n.sent_at IS NOT NULL THEN 'sent' WHEN n.failed_at IS NOT NULL THEN 'failed'
            ELSE 'pending' END AS outcome,
       n.created_at AS at, n.sent_at, coalesce(n.acknowledged_at, seen.at, a.acknowledged_at) AS received_at,
       n.failed_at, n.attempts, n.last_error AS error, n.zone, n.severity,
       CASE WHEN chat.text IS NULL THEN n.text ELSE rtrim(n.text, '.') || ': ' || chat.text END AS text, n.link,
       n.delivery_id, d.seller_order_id, d.store_name, NULL::uuid AS driver_id, NULL AS driver, n.alert_id,
       NULL::uuid AS webhook_id, NULL AS url, coalesce(n.acknowledged_by, seen.by, a.acknowledged_by) AS by
FROM notices n
LEFT JOIN deliveries d ON d.id = n.delivery_id
LEFT JOIN alerts a ON a.id = n.alert_id AND n.kind = 'alert.raised'
LEFT JOIN LATERAL (
    SELECT e.at, coalesce(e.actor_id, e.actor_type) AS by FROM events e
    WHERE e.delivery_id = n.delivery_id AND e.type = 'delivery.acknowledged' AND e.at >= n.created_at
    ORDER BY e.id LIMIT 1) seen ON true
LEFT JOIN LATERAL (
    SELECT m.text FROM chat_messages m
    WHERE n.kind = 'driver.message_sent' AND m.by_driver AND m.at = n.created_at
      AND '/board/drivers/' || m.driver_id = n.link
    ORDER BY m.id LIMIT 1) chat ON true"""
# Each delivery is looked up separately: a join might get a plan that reads all deliveries.
MESSAGES: Final = f"""
SELECT m.id, CASE WHEN m.type = 'delivery.assigned' THEN 'customer' ELSE 'ops' END AS "to", m.type AS kind,
       'webhook' AS channel,
       CASE WHEN m.delivered_at IS NOT NULL THEN 'received' WHEN m.parked_at IS NOT NULL THEN 'failed'
            ELSE 'pending' END AS outcome,
       m.created_at AS at, NULL::timestamptz AS sent_at, m.delivered_at AS received_at, m.parked_at AS failed_at,
       m.attempts, m.last_error AS error, coalesce(d.zone, a.zone) AS zone, 'info' AS severity, NULL AS text,
       NULL AS link, d.id AS delivery_id, d.seller_order_id, d.store_name, NULL::uuid AS driver_id, NULL AS driver,
       a.id AS alert_id, m.webhook_id, w.url, NULL AS by, m.key
FROM webhook_deliveries m
JOIN webhooks w ON w.id = m.webhook_id
LEFT JOIN LATERAL (
    SELECT id, zone, seller_order_id, store_name FROM deliveries
    WHERE id = {ABOUT.format(key="m.key")} OFFSET 0) d ON true
LEFT JOIN alerts a ON a.id = {ABOUT.format(key="m.key")}
WHERE m.type IN {KINDS["message"]!r}"""  # noqa: S608
# An answer proves that the offer was there; without a socket they asked for it by a call. One
# that was taken back before it could be confirmed has not failed.
OFFERS: Final = """
SELECT o.id, 'driver' AS "to", 'offer.created' AS kind,
       CASE WHEN o.notification_method = 'websocket' THEN 'socket'
            WHEN o.notification_method IS NULL AND (o.received_at IS NOT NULL OR o.status IN ('ACCEPTED', 'REJECTED'))
            THEN 'call' ELSE o.notification_method END AS channel,
       CASE WHEN o.received_at IS NOT NULL OR o.status IN ('ACCEPTED', 'REJECTED') THEN 'received'
            WHEN o.notification_sent_at IS NOT NULL AND o.status IN ('PENDING', 'WITHDRAWN') THEN 'sent'
            WHEN o.status IN ('PENDING', 'WITHDRAWN') THEN 'pending' ELSE 'failed' END AS outcome,
       o.created_at AS at, o.notification_sent_at AS sent_at,
       coalesce(o.received_at, CASE WHEN o.status IN ('ACCEPTED', 'REJECTED') THEN o.closed_at END) AS received_at,
       CASE WHEN o.received_at IS NULL AND o.status = 'EXPIRED' THEN o.closed_at END AS failed_at,
       1 AS attempts,
       CASE WHEN o.received_at IS NOT NULL OR o.status <> 'EXPIRED' THEN NULL
            WHEN o.notification_sent_at IS NULL THEN 'no socket was open'
            ELSE 'their app never confirmed it' END AS error,
       d.zone, 'info' AS severity, NULL AS text, NULL AS link, o.delivery_id, d.seller_order_id, d.store_name,
       o.driver_id, r.name AS driver, NULL::uuid AS alert_id, NULL::uuid AS webhook_id, NULL AS url, NULL AS by
FROM driver_offers o JOIN deliveries d ON d.id = o.delivery_id JOIN drivers r ON r.id = o.driver_id"""
PUSHES: Final = """
SELECT p.id, 'driver' AS "to", p.kind, 'push' AS channel,
       CASE WHEN p.received_at IS NOT NULL THEN 'received' WHEN p.sent_at IS NOT NULL THEN 'sent'
            WHEN p.failed_at IS NOT NULL THEN 'failed' ELSE 'pending' END AS outcome,
       p.created_at AS at, p.sent_at, p.received_at, p.failed_at, p.attempts, p.last_error AS error,
       d.zone, 'info' AS severity, NULL AS text, NULL AS link, p.delivery_id, d.seller_order_id, d.store_name,
       p.driver_id, r.name AS driver, NULL::uuid AS alert_id, NULL::uuid AS webhook_id, NULL AS url, NULL AS by
FROM driver_notices p JOIN deliveries d ON d.id = p.delivery_id JOIN drivers r ON r.id = p.driver_id"""
STREAM: Final = f"""
SELECT n.id, 'driver' AS "to", n.kind, CASE WHEN n.sent_at IS NOT NULL THEN 'socket' END AS channel,
       CASE WHEN n.received_at IS NOT NULL THEN 'received' WHEN n.sent_at IS NOT NULL THEN 'sent'
            WHEN late.at IS NOT NULL THEN 'failed' ELSE 'pending' END AS outcome,
       n.created_at AS at, n.sent_at, n.received_at, late.at AS failed_at, 1 AS attempts,
       CASE WHEN late.at IS NOT NULL THEN 'no socket of theirs was open for {LONGEST_HOURS} hours' END AS error,
       r.zone, 'info' AS severity, n.text, NULL AS link, n.delivery_id, d.seller_order_id, d.store_name,
       n.driver_id, r.name AS driver, NULL::uuid AS alert_id, NULL::uuid AS webhook_id, NULL AS url, NULL AS by
FROM stream_notices n JOIN drivers r ON r.id = n.driver_id LEFT JOIN deliveries d ON d.id = n.delivery_id
LEFT JOIN LATERAL (
    SELECT n.created_at + make_interval(hours => {LONGEST_HOURS}) AS at
    WHERE n.sent_at IS NULL AND n.created_at < now() - make_interval(hours => {LONGEST_HOURS})) late ON true"""  # noqa: S608
_QUERIES: Final[dict[Source, str]] = {
    "notice": NOTICES, "message": MESSAGES, "offer": OFFERS, "push": PUSHES, "stream": STREAM,
}  # fmt: skip


class Notice(Struct, frozen=True):
    """A notice and its outcome. `link` is of ops' notices, `text` also of the stream's."""

    id: str
    to: To
    kind: NoticeKind
    channel: str | None
    outcome: NoticeStatus
    at: datetime
    sent_at: datetime | None
    received_at: datetime | None
    failed_at: datetime | None
    attempts: int
    error: str | None
    zone: str | None
    severity: Severity
    text: str | None
    link: str | None
    delivery_id: str | None
    order_id: str | None
    store_name: str | None
    driver_id: str | None
    driver: str | None
    alert_id: str | None
    webhook_id: str | None
    url: str | None
    by: str | None

    @property
    def source(self) -> Source:
        if self.to == "driver":
            if self.kind in KINDS["stream"]:
                return "stream"
            return "push" if self.channel == "push" else "offer"
        return "message" if self.webhook_id is not None else "notice"

    @property
    def words(self) -> str:
        """The message, as a sentence."""
        if self.text is not None:
            return self.text
        values = {"order": self.order_id, "store": self.store_name, "zone": self.zone}
        match self.kind:
            case "offer.created":
                return said("Order {order} of {store} offered.", **values)
            case "offer.closed":
                return said("Order {order} of {store}: the offer is closed.", **values)
            case "delivery.assigned":
                return said("Order {order} of {store} has a driver.", **values)
            case "delivery.escalated":
                return said("Order {order} of {store} has no driver.", **values)
            case "ticket.created":
                return said("Order {order} of {store}: support ticket opened.", **values)
            case "alert.raised":
                return said("Alert raised in zone {zone}.", **values)
            case "alert.resolved":
                return said("Alert resolved in zone {zone}.", **values)
            case (
                "delivery.reassigned"
                | "delivery.cancelled"
                | "driver.availability_changed"
                | "delivery.pin_wrong"
                | "delivery.late_report"
                | "driver.message_sent"
                | "webhook.switched_off"
            ):
                raise AssertionError(f"{self.kind} has its own text")


class NoticeFilter(Struct, frozen=True):
    """A filter: recipient, kind, status, zone, delivery or alert, and earliest time."""

    to: To | None = None
    kind: NoticeKind | None = None
    outcome: NoticeStatus | None = None
    zone: str | None = None
    delivery_id: str | None = None
    since: datetime | None = None
    alert_id: str | None = None


NoticeKey = tuple[datetime, str]
NoticePosition = tuple[NoticeKey | None, ...]
"""The last notice from each source, None if there was none yet."""
START: Final[NoticePosition] = (None,) * len(SOURCES)


class NoticePage(Struct, frozen=True):
    """Notices, the newest first, and where to read on if there are more."""

    notices: list[Notice]
    next: NoticePosition | None


def _may_have(source: Source, wanted: NoticeFilter) -> bool:
    if TO[source] == ("driver",) and wanted.alert_id is not None:
        return False
    return (wanted.to is None or wanted.to in TO[source]) and (wanted.kind is None or wanted.kind in KINDS[source])


def _chosen(source: Source, wanted: NoticeFilter, after: NoticeKey | None) -> tuple[str, list[object]]:
    """The filtered rows of a source, and the values of `$1…`."""
    conditions: list[str] = []
    values: list[Any] = []

    def put(condition: str, *given: object) -> None:
        numbers = [f"${len(values) + place}" for place in range(1, len(given) + 1)]
        values.extend(given)
        conditions.append(condition.format(*numbers))

    by_id = source in _BY_ID
    about = "key" if source == "message" else "delivery_id"
    for column, value in (
        ("to", wanted.to),
        ("kind", wanted.kind),
        ("outcome", wanted.outcome),
        ("zone", wanted.zone),
        (about, wanted.delivery_id),
        ("key" if source == "message" else "alert_id", wanted.alert_id),
    ):
        if value is not None:
            put(f's."{column}" = {{}}', value)
    if wanted.since is not None:
        put("s.at >= {}", wanted.since)
        if by_id:
            put("s.id >= {}", first_id_at(wanted.since - UUID7_SKEW))
    if after is not None:
        put("s.id < {}", after[1]) if by_id else put("(s.at, s.id) < ({}, {})", *after)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"FROM ({_QUERIES[source]}) s{where}", values  # the query is made of constants


def page_of(source: Source, wanted: NoticeFilter, after: NoticeKey | None, limit: int) -> tuple[str, list[object]]:
    """The statement for the newest rows of a source after `after`, and its values."""
    chosen, values = _chosen(source, wanted, after)
    order = "s.id DESC" if source in _BY_ID else "s.at DESC, s.id DESC"
    return f"SELECT s.* {chosen} ORDER BY {order} LIMIT {limit:d}", values


def counts_of(source: Source, wanted: NoticeFilter) -> tuple[str, list[object]]:
    """The statement that counts the notices of a source by recipient and status, and its values."""
    chosen, values = _chosen(source, wanted, None)
    return f'SELECT s."to", s.outcome, count(*) {chosen} GROUP BY 1, 2', values


async def read_notices(pool: Pool, wanted: NoticeFilter, after: NoticePosition, limit: int) -> NoticePage:
    """The newest of all sources after this position. Raises DatabaseAway."""
    found: list[list[tuple[Notice, int]]] = []
    for place, source in enumerate(SOURCES):
        rows: list[Any] = []
        if _may_have(source, wanted):
            sql, values = page_of(source, wanted, after[place], limit + 1)
            rows = await fetch(pool, sql, *values)
        found.append([(_notice(row), place) for row in rows])
    merged = list(heapq.merge(*found, key=lambda one: one[0].at, reverse=True))
    taken, position = merged[:limit], list(after)
    for notice, place in taken:
        position[place] = (notice.at, notice.id)
    return NoticePage([notice for notice, _ in taken], tuple(position) if len(merged) > limit else None)


async def read_notice(pool: Pool, notice_id: str) -> Notice | None:
    """One of ops' notices. Raises DatabaseAway."""
    rows = await fetch(pool, f"{NOTICES} WHERE n.id = $1", notice_id)
    return _notice(rows[0]) if rows else None


def _notice(row: Record) -> Notice:
    return Notice(*row[: len(Notice.__struct_fields__)])


async def count_notices(pool: Pool, wanted: NoticeFilter) -> dict[To, dict[NoticeStatus, int]]:
    """The number of notices by recipient and status. Raises DatabaseAway."""
    counts: dict[To, dict[NoticeStatus, int]] = {to: dict.fromkeys(get_args(NoticeStatus), 0) for to in get_args(To)}
    for source in SOURCES:
        if _may_have(source, wanted):
            sql, values = counts_of(source, wanted)
            for to, outcome, count in await fetch(pool, sql, *values):
                counts[to][outcome] += count
    return counts


async def read_about(pool: Pool, delivery_id: str, limit: int) -> Sequence[Notice]:
    """All notices about a delivery, newest first. Raises DatabaseAway."""
    return (await read_notices(pool, NoticeFilter(delivery_id=delivery_id), START, limit)).notices
