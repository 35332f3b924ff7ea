"""The rows of ops' notices: created and saved with the events, sent, acknowledged."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from msgspec import Struct

from server.contract.notices import Severity, ops_notice
from server.dispatch import events as e
from server.dispatch.world import World
from server.ids import new_id
from server.store.connections import Pool
from server.store.query import QUERY_TIMEOUT_SECONDS, fetch_one

# The first who said so keeps it.
ACKNOWLEDGE: Final = """
UPDATE notices SET acknowledged_by = coalesce(acknowledged_by, $2),
    acknowledged_at = coalesce(acknowledged_at, clock_timestamp())
WHERE id = $1 RETURNING id"""
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


class NoticeRow(Struct, frozen=True):
    """What of a notice is known when it is made. `link` is a path on the board."""

    id: str
    kind: str
    severity: Severity
    zone: str
    delivery_id: str | None
    alert_id: str | None
    text: str
    link: str
    created_at: datetime


class ToSend(Struct, frozen=True):
    """A notice that this node sends now, for the `attempt`th time."""

    id: str
    severity: Severity
    text: str
    link: str
    attempt: int


def notice_rows(events: Iterable[e.Event], world: World) -> list[NoticeRow]:
    rows = []
    for event in events:
        notice = ops_notice(event, world)
        if notice is None:
            continue
        delivery_id, alert_id = notice.delivery_id, notice.alert_id
        link = "/board" if delivery_id is None else f"/admin/unassigned-orders/{delivery_id}"
        if notice.driver_id is not None:
            link = f"/board/drivers/{notice.driver_id}"
        about = (notice.severity, notice.zone, delivery_id, alert_id, notice.text, link)
        rows.append(NoticeRow(new_id(), event.type, *about, event.at))
    return rows


async def acknowledge_notice(pool: Pool, notice_id: str, by: str) -> bool:
    """Acknowledge a notice for `by`, unless somebody did before; False if there is no such notice. Raises
    DatabaseAway.
    """
    return await fetch_one(pool, ACKNOWLEDGE, notice_id, by) is not None


async def claim_notices(pool: Pool, channel: str, limit: int, lock_seconds: float) -> list[ToSend]:
    """The due notices for this channel. Raises what the database raises."""
    rows = await pool.fetch(CLAIM, limit, channel, lock_seconds, timeout=QUERY_TIMEOUT_SECONDS)
    return [ToSend(*row) for row in rows]


async def show_notices(pool: Pool) -> None:
    """Mark due notices as shown on the boards; they are not sent. Raises what the database raises."""
    await pool.execute(SHOWN, timeout=QUERY_TIMEOUT_SECONDS)


async def record_notice(pool: Pool, notice: ToSend, error: str | None, again_seconds: float | None) -> None:
    """Record the result: sent, or retried after some seconds, or failed for good. Raises what the database raises."""
    await pool.execute(RECORD, notice.id, notice.attempt, error, again_seconds, timeout=QUERY_TIMEOUT_SECONDS)
