"""Notices after they were made: what is to be sent on, what became of it, who has seen it."""

from datetime import datetime
from typing import Any, Final, Literal

from msgspec import Struct

from server.store.notices import Severity
from server.store.reads import fetch, fetch_one

TIMEOUT_SECONDS: Final = 5.0

_NOTICE: Final = """
id, kind, severity, zone, delivery_id, alert_id, text, link, created_at, acknowledged_by, acknowledged_at, channel,
attempts, sent_at, failed_at, last_error"""
NOTICES: Final = f"""
SELECT {_NOTICE} FROM notices
WHERE ($1::text IS NULL OR zone = $1) AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"""  # noqa: S608
# The first who said so keeps it.
ACKNOWLEDGE: Final = f"""
UPDATE notices SET acknowledged_by = coalesce(acknowledged_by, $2),
    acknowledged_at = coalesce(acknowledged_at, clock_timestamp())
WHERE id = $1 RETURNING {_NOTICE}"""  # noqa: S608
CLAIM: Final = """
WITH due AS MATERIALIZED (
    SELECT id FROM notices
    WHERE next_attempt_at <= statement_timestamp()
      AND (locked_until IS NULL OR locked_until <= statement_timestamp())
    ORDER BY next_attempt_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)
UPDATE notices n SET attempts = attempts + 1, channel = $2,
    locked_until = statement_timestamp() + make_interval(secs => $3)
FROM due WHERE n.id = due.id
RETURNING n.id, n.severity, n.text, n.link, n.attempts"""
# Without anybody to send them to, the boards are where notices go.
SHOWN: Final = """
UPDATE notices SET channel = 'board', sent_at = clock_timestamp(), next_attempt_at = NULL
WHERE next_attempt_at <= statement_timestamp()"""
RECORD: Final = """
UPDATE notices SET locked_until = NULL, last_error = $3,
    sent_at = CASE WHEN $3::text IS NULL THEN clock_timestamp() END,
    failed_at = CASE WHEN $3 IS NOT NULL AND $4::float8 IS NULL THEN clock_timestamp() END,
    next_attempt_at = CASE WHEN $3 IS NOT NULL THEN clock_timestamp() + make_interval(secs => $4) END
WHERE id = $1 AND attempts = $2 AND sent_at IS NULL AND failed_at IS NULL"""


class NoticeSent(Struct, frozen=True):
    """A notice with what became of it."""

    id: str
    kind: str
    severity: Severity
    zone: str
    delivery_id: str | None
    alert_id: str | None
    text: str
    link: str
    created_at: datetime
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    channel: str | None
    attempts: int
    sent_at: datetime | None
    failed_at: datetime | None
    last_error: str | None

    @property
    def status(self) -> Literal["pending", "sent", "received", "failed"]:
        """What became of it; seen by somebody is more than sent."""
        if self.acknowledged_at is not None:
            return "received"
        if self.sent_at is not None:
            return "sent"
        return "failed" if self.failed_at is not None else "pending"


class ToSend(Struct, frozen=True):
    """A notice that is ours to send now, for the `attempt`th time."""

    id: str
    severity: Severity
    text: str
    link: str
    attempt: int


async def read_notices(pool: Any, zone: str | None, before: str | None, limit: int) -> list[NoticeSent]:
    """Newest first, those before the notice `before`. Raises DatabaseAway."""
    return [NoticeSent(*row) for row in await fetch(pool, NOTICES, zone, before, limit)]


async def acknowledge_notice(pool: Any, notice_id: str, by: str) -> NoticeSent | None:
    """The notice, seen by `by` or by whoever was first; None if there is none. Raises DatabaseAway."""
    row = await fetch_one(pool, ACKNOWLEDGE, notice_id, by)
    return NoticeSent(*row) if row is not None else None


async def claim_notices(pool: Any, channel: str, limit: int, lock_seconds: float) -> list[ToSend]:
    """What is due, for this channel. Raises what the database raises."""
    rows = await pool.fetch(CLAIM, limit, channel, lock_seconds, timeout=TIMEOUT_SECONDS)
    return [ToSend(*row) for row in rows]


async def show_notices(pool: Any) -> None:
    """All that is due is on the boards, and goes nowhere else. Raises what the database raises."""
    await pool.execute(SHOWN, timeout=TIMEOUT_SECONDS)


async def record_notice(pool: Any, notice: ToSend, error: str | None, again_seconds: float | None) -> None:
    """Sent, or to be tried again in so many seconds, or failed for good. Raises what the database raises."""
    await pool.execute(RECORD, notice.id, notice.attempt, error, again_seconds, timeout=TIMEOUT_SECONDS)
