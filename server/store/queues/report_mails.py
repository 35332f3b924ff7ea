"""Day reports by mail: one row for each recipient and day, however many nodes write them. All functions raise
DatabaseAway.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from msgspec import Struct

from server.contract.webhook_events import REPORT
from server.ids import FIRST_ID, derived_id
from server.store.connections import Pool
from server.store.query import fetch, fetch_as
from server.store.tables import ReportMail
from server.store.typed import ask, columns_for

RETRY_HOURS: Final = 24
SHOWN: Final = 40

# The id of a mail follows from its recipient and day, so it is written once. Who changed the recipients or the time
# after the report was due gets the next one.
WRITE: Final = f"""
INSERT INTO report_mails (id, day, recipient, created_at, attempts, next_attempt_at, retry_until)
SELECT u.id, $3, u.recipient, clock_timestamp(), 0, clock_timestamp(),
       clock_timestamp() + make_interval(hours => {RETRY_HOURS})
FROM unnest($1::text[]::uuid[], $2::text[]) AS u (id, recipient)
WHERE NOT EXISTS (
    SELECT FROM company_settings WHERE name IN ('report_at', 'report_recipients') AND changed_at >= $4)
ON CONFLICT (id) DO NOTHING RETURNING recipient"""  # noqa: S608
# A node that ends while it sends leaves the next attempt for later.
CLAIM: Final = """
WITH due AS MATERIALIZED (
    SELECT id FROM report_mails WHERE next_attempt_at <= statement_timestamp()
    ORDER BY next_attempt_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)
UPDATE report_mails m SET attempts = attempts + 1,
    next_attempt_at = statement_timestamp() + make_interval(secs => $2)
FROM due WHERE m.id = due.id
RETURNING m.id::text, m.day, m.recipient, m.attempts, m.retry_until"""
RECORD: Final = """
UPDATE report_mails SET last_error = $3,
    sent_at = CASE WHEN $3::text IS NULL THEN clock_timestamp() END,
    failed_at = CASE WHEN $3 IS NOT NULL AND $4::float8 IS NULL THEN clock_timestamp() END,
    next_attempt_at = CASE WHEN $3 IS NOT NULL THEN clock_timestamp() + make_interval(secs => $4) END
WHERE id = $1 AND attempts = $2 AND next_attempt_at IS NOT NULL"""
AGAIN: Final = f"""
UPDATE report_mails SET failed_at = NULL, next_attempt_at = clock_timestamp(),
    retry_until = clock_timestamp() + make_interval(hours => {RETRY_HOURS})
WHERE failed_at IS NOT NULL AND tested_by IS NULL AND day >= $1 AND recipient = ANY($2::text[]) RETURNING recipient"""  # noqa: S608

# Of each recipient's tests the last one is kept.
TESTED: Final = """
INSERT INTO report_mails (id, day, recipient, created_at, attempts, retry_until, sent_at, failed_at, last_error,
    tested_by)
SELECT $1, $2, $3, t.now, 1, t.now, CASE WHEN $4::text IS NULL THEN t.now END, CASE WHEN $4 IS NOT NULL THEN t.now END,
       $4, $5
FROM clock_timestamp() AS t (now)
ON CONFLICT (id) DO UPDATE SET day = excluded.day, created_at = excluded.created_at, sent_at = excluded.sent_at,
    failed_at = excluded.failed_at, last_error = excluded.last_error, tested_by = excluded.tested_by"""


class MailToSend(Struct, frozen=True):
    """A mail that this node sends now, for the `attempt`th time. After `retry_until` there is no other attempt."""

    id: str
    day: date
    recipient: str
    attempt: int
    retry_until: datetime


class MailShown(Struct, frozen=True):
    day: date
    recipient: str
    attempts: int
    next_attempt_at: datetime | None
    sent_at: datetime | None
    failed_at: datetime | None
    last_error: str | None
    tested_by: str | None


class FailedTest(Struct, frozen=True):
    """The last test of a mail to this recipient, which failed."""

    recipient: str
    at: datetime
    error: str


async def write_report_mails(pool: Pool, recipients: Sequence[str], day: date, due: datetime) -> list[str]:
    """Write the mail of a day for each of these recipients that has none yet: the recipients that got one now."""
    ids = [derived_id(FIRST_ID, f"{REPORT} {day.isoformat()} {recipient.casefold()}") for recipient in recipients]
    return await fetch_as(pool, str, WRITE, ids, list(recipients), day, due)


async def claim_report_mails(pool: Pool, limit: int, lock_seconds: float) -> list[MailToSend]:
    """The due mails. Nobody else gets them for so many seconds."""
    return await fetch_as(pool, MailToSend, CLAIM, limit, lock_seconds)


async def record_report_mail(pool: Pool, mail: MailToSend, error: str | None, again_seconds: float | None) -> None:
    """Record the result: sent, or retried after some seconds, or failed for good."""
    await fetch(pool, RECORD, mail.id, mail.attempt, error, again_seconds)


async def shown_report_mails(pool: Pool) -> list[MailShown]:
    """The latest mails, newest day first."""
    m = ReportMail
    query = m.select(*columns_for(MailShown, m)).order_by(m.day, ascending=False).order_by(m.recipient).limit(SHOWN)
    return [MailShown(*row) for row in await ask(pool, query)]


async def record_test_mail(pool: Pool, recipient: str, day: date, error: str | None, by: str) -> None:
    """Record the result of a test that a person made."""
    await fetch(pool, TESTED, derived_id(FIRST_ID, f"test {recipient.casefold()}"), day, recipient, error, by)


async def read_failed_test(pool: Pool) -> FailedTest | None:
    """The newest failed test, if no later test to any recipient was sent."""
    m = ReportMail
    query = m.select(m.recipient, m.created_at, m.last_error).where(m.tested_by.is_not_null())
    for recipient, at, error in await ask(pool, query.order_by(m.created_at, ascending=False).limit(1)):
        return FailedTest(recipient, at, error) if error is not None else None
    return None


async def send_report_mails_again(pool: Pool, recipients: Sequence[str], today: date) -> list[str]:
    """Let the failed mails of the last seven days go out again, for another day of attempts: to these recipients."""
    return await fetch_as(pool, str, AGAIN, today - timedelta(days=7), list(recipients))
