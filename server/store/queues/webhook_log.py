"""The log of webhooks: messages with every attempt, the delivery status of each webhook, and sending again by hand."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct

from server.contract.webhook_events import RETRY_HOURS
from server.store.connections import Pool
from server.store.query import fetch, fetch_as, fetch_one, fetch_one_as
from server.store.queues.webhook_queue import Attempt, DueMessage
from server.store.tables import Webhook
from server.store.typed import is_there
from server.store.webhooks import ABOUT, OPEN, WebhookRow

TEST: Final = "webhook.test"
"""The type of a test message: one attempt, without waiting."""
ATTEMPTS_SHOWN: Final = 60
REDELIVERED_AT_ONCE: Final = 1_000

_NEXT_SEQ: Final = "nextval(pg_get_serial_sequence('webhook_deliveries', 'seq'))"
_ATTEMPT: Final = (
    "json_build_object('attempt', a.attempt, 'at', a.at, 'status', a.status, 'ms', a.ms, 'error', a.error)"
)

_MESSAGE: Final = f"""
SELECT d.id, d.webhook_id, d.type, d.key, d.created_at, d.attempts, d.next_attempt_at, d.delivered_at, d.parked_at,
       d.last_status, d.last_error, d.seq,
       ARRAY(SELECT {_ATTEMPT} FROM webhook_attempts a WHERE a.webhook_delivery_id = d.id ORDER BY a.id DESC LIMIT 50),
       (SELECT o.seller_order_id FROM deliveries o WHERE o.id = {ABOUT.format(key="d.key")})"""  # noqa: S608
MESSAGES: Final = f"""{_MESSAGE} FROM webhook_deliveries d
WHERE d.webhook_id = $1 AND ($2::bigint IS NULL OR d.seq < $2)
  AND ($3::text IS NULL OR $3 = CASE WHEN d.delivered_at IS NOT NULL THEN 'delivered'
                                     WHEN d.parked_at IS NOT NULL THEN 'parked' ELSE 'pending' END)
ORDER BY d.seq DESC LIMIT $4"""
MESSAGE: Final = f"{_MESSAGE} FROM webhook_deliveries d WHERE d.id = $1"
_AGAIN: Final = f"""
delivered_at = NULL, parked_at = NULL, next_attempt_at = clock_timestamp(),
    retry_until = clock_timestamp() + make_interval(hours => {RETRY_HOURS})"""
# By hand it goes to the end of the line, and is tried for a day again.
REDELIVER: Final = f"""
WITH again AS (
    UPDATE webhook_deliveries d
    SET {_AGAIN}, seq = CASE WHEN {OPEN} THEN seq ELSE {_NEXT_SEQ} END
    FROM webhooks w WHERE d.id = $1 AND w.id = d.webhook_id AND w.active
    RETURNING d.*)
{_MESSAGE} FROM again d"""  # noqa: S608
# In their original order.
REDELIVER_PARKED: Final = f"""
WITH parked AS MATERIALIZED (
    SELECT d.id FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
    WHERE d.webhook_id = $1 AND w.active AND d.parked_at IS NOT NULL AND d.type <> '{TEST}'
    ORDER BY d.seq LIMIT $2),
numbered AS MATERIALIZED (SELECT id, {_NEXT_SEQ} AS seq FROM (SELECT id FROM parked) AS in_order)
UPDATE webhook_deliveries d SET {_AGAIN}, seq = n.seq FROM numbered n WHERE d.id = n.id"""  # noqa: S608

WEBHOOK_STATUS: Final = f"""
SELECT w.id, w.url, w.events, w.active, w.created_by, w.created_at, w.previous_secret_until,
       o.waiting, o.since, p.parked,
       ARRAY(SELECT {_ATTEMPT} FROM webhook_attempts a WHERE a.webhook_id = w.id
             ORDER BY a.id DESC LIMIT {ATTEMPTS_SHOWN})
FROM webhooks w
CROSS JOIN LATERAL (
    SELECT count(*) AS waiting, min(created_at) AS since FROM webhook_deliveries
    WHERE webhook_id = w.id AND {OPEN}) o
CROSS JOIN LATERAL (
    SELECT count(*) AS parked FROM webhook_deliveries
    WHERE webhook_id = w.id AND parked_at IS NOT NULL AND type <> '{TEST}') p
WHERE w.deleted_at IS NULL AND ($1::uuid IS NULL OR w.id = $1) ORDER BY w.id DESC"""  # noqa: S608

TO_TEST: Final = """
SELECT url, secret, CASE WHEN previous_secret_until > statement_timestamp() THEN previous_secret END, clock_timestamp()
FROM webhooks WHERE id = $1 AND deleted_at IS NULL"""
# A failed test is finished as well.
KEEP_TEST: Final = f"""
WITH sent AS (
    INSERT INTO webhook_deliveries (id, webhook_id, key, type, body, attempts, delivered_at, parked_at, last_status,
                                    last_error)
    VALUES ($1::uuid, $2::uuid, $1::text, '{TEST}', $3, 1, CASE WHEN $7::text IS NULL THEN clock_timestamp() END,
            CASE WHEN $7 IS NOT NULL THEN clock_timestamp() END, $5, $7))
INSERT INTO webhook_attempts (webhook_delivery_id, webhook_id, attempt, at, status, ms, error)
VALUES ($1, $2, 1, $4, $5, $6, $7)"""  # noqa: S608


class LoggedMessage(Struct, frozen=True):
    """A message for a webhook; `attempts_made` are JSON, the newest first. `order_id` if it is about a delivery."""

    id: str
    webhook_id: str
    type: str
    key: str
    created_at: datetime
    attempts: int
    next_attempt_at: datetime
    delivered_at: datetime | None
    parked_at: datetime | None
    last_status: int | None
    last_error: str | None
    seq: int
    attempts_made: list[str]
    order_id: str | None

    @property
    def status(self) -> Literal["pending", "delivered", "parked"]:
        return "delivered" if self.delivered_at is not None else "parked" if self.parked_at is not None else "pending"

    @property
    def made(self) -> "list[Attempted]":
        return [_attempted(attempt) for attempt in self.attempts_made]


class Attempted(Struct, frozen=True):
    attempt: int
    at: datetime
    status: int | None
    ms: int
    error: str | None


class WebhookStatus(WebhookRow, frozen=True):
    """A webhook with its delivery status: messages that wait, since when the oldest waits, parked ones, and the last
    attempts, newest first.
    """

    waiting: int
    waiting_since: datetime | None
    parked: int
    attempts: list[Attempted]

    @property
    def taken(self) -> int:
        """How many of the last attempts the receiver answered with 2xx."""
        return sum(attempt.error is None for attempt in self.attempts)

    @property
    def ms(self) -> int | None:
        """The median latency of the answered attempts, in milliseconds."""
        answered = sorted(attempt.ms for attempt in self.attempts if attempt.status is not None)
        return answered[len(answered) // 2] if answered else None


_attempted: Final = msgspec.json.Decoder(Attempted).decode


async def read_messages(
    pool: Pool, webhook_id: str, before: int | None, status: str | None, limit: int
) -> list[LoggedMessage] | None:
    """The messages of a webhook before `before`, newest first; None if there never was such a webhook."""
    found = await fetch_as(pool, LoggedMessage, MESSAGES, webhook_id, before, status, limit)
    return found if found or await is_there(pool, Webhook.id, webhook_id) else None


async def read_message(pool: Pool, message_id: str) -> LoggedMessage | None:
    return await fetch_one_as(pool, LoggedMessage, MESSAGE, message_id)


async def redeliver(pool: Pool, message_id: str) -> LoggedMessage | None:
    """Send a message again now, whatever its status, and return it. None if there is no such message, or its webhook is
    inactive.
    """
    return await fetch_one_as(pool, LoggedMessage, REDELIVER, message_id)


async def redeliver_parked(pool: Pool, webhook_id: str) -> int:
    """Send all parked messages of a webhook again, in order; returns how many."""
    total = 0
    while True:
        rows = await fetch(pool, f"{REDELIVER_PARKED} RETURNING 1", webhook_id, REDELIVERED_AT_ONCE)
        total += len(rows)
        if len(rows) < REDELIVERED_AT_ONCE:
            return total


async def read_webhook_status(pool: Pool, webhook_id: str | None = None) -> Sequence[WebhookStatus]:
    """The webhooks with their delivery status, newest first; or only this one."""
    return [
        WebhookStatus(*(*row[:10], [_attempted(attempt) for attempt in row[10]]))
        for row in await fetch(pool, WEBHOOK_STATUS, webhook_id)
    ]


async def to_test(
    pool: Pool, webhook_id: str, message_id: str, body_at: Callable[[datetime], str]
) -> DueMessage | None:
    """A message to send now, with a body made for this moment; None if there is no such webhook."""
    row = await fetch_one(pool, TO_TEST, webhook_id)
    return DueMessage(message_id, webhook_id, message_id, TEST, body_at(row[3]), 1, *row) if row is not None else None


async def keep_test(pool: Pool, message: DueMessage, attempt: Attempt) -> None:
    values = (message.id, message.webhook_id, message.body, attempt.at, attempt.status, attempt.ms, attempt.error)
    await fetch(pool, KEEP_TEST, *values)
