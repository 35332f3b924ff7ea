"""Webhooks and their line of messages: who wants to hear, what is due, what became of it. One statement each."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from server.store.outbox import RETRY_HOURS
from server.store.reads import fetch, fetch_one

WEBHOOKS_LIMIT: Final = 50
"""Webhooks there are at most; each has connections of its own."""
TWO_SECRETS_HOURS: Final = 24
"""How long after a rotation messages are signed with the old secret too."""
OUTBOX_TIMEOUT_SECONDS: Final = 5.0
LOOKED_AT: Final = 64
"""Due messages of a webhook that one claim looks at."""
HASTENED: Final = 500

OPEN: Final = "delivered_at IS NULL AND parked_at IS NULL"

_WEBHOOK: Final = "id, url, events, active, created_by, created_at, previous_secret_until"
WEBHOOKS: Final = f"""
SELECT {_WEBHOOK} FROM webhooks
WHERE deleted_at IS NULL AND ($1::uuid IS NULL OR id < $1) ORDER BY id DESC LIMIT $2"""  # noqa: S608
ADD: Final = f"""
INSERT INTO webhooks (id, url, events, secret, active, created_by)
SELECT $1, $2, $3, $4, true, $5
WHERE (SELECT count(*) FROM webhooks WHERE deleted_at IS NULL) < {WEBHOOKS_LIMIT}
RETURNING {_WEBHOOK}"""  # noqa: S608
CHANGE: Final = f"""
UPDATE webhooks SET url = coalesce($2, url), events = coalesce($3, events), active = coalesce($4, active)
WHERE id = $1 AND deleted_at IS NULL RETURNING {_WEBHOOK}"""  # noqa: S608
# What was not told yet never will be.
REMOVE: Final = f"""
WITH gone AS (
    UPDATE webhooks SET active = false, deleted_at = clock_timestamp() WHERE id = $1 AND deleted_at IS NULL
    RETURNING id),
parked AS (
    UPDATE webhook_deliveries d SET parked_at = clock_timestamp(), last_error = 'the webhook was removed'
    FROM gone WHERE d.webhook_id = gone.id AND {OPEN} RETURNING d.id)
SELECT id, (SELECT count(*) FROM parked) FROM gone"""  # noqa: S608
ROTATE: Final = f"""
UPDATE webhooks SET secret = $2, previous_secret = secret,
    previous_secret_until = clock_timestamp() + make_interval(hours => {TWO_SECRETS_HOURS})
WHERE id = $1 AND deleted_at IS NULL RETURNING {_WEBHOOK}"""  # noqa: S608

# Of each webhook as many as it has room for, out of the few that have been due for longest: however long the line is,
# little of it is read. A message waits until those of its key before it are delivered or parked; one that was looked at
# in vain is put off until the first of those is due, and brought forward when that one is done (in RECORD).
CLAIM: Final = f"""
WITH looked AS MATERIALIZED (
    SELECT c.id, c.webhook_id, c.key, c.seq, $3 - coalesce(used.count, 0) AS room
    FROM webhooks w
    LEFT JOIN unnest($1::text[]::uuid[], $2::int[]) AS used (webhook_id, count) ON used.webhook_id = w.id
    CROSS JOIN LATERAL (
        SELECT h.id, h.webhook_id, h.key, h.seq FROM webhook_deliveries h
        WHERE h.webhook_id = w.id AND {OPEN} AND h.next_attempt_at <= statement_timestamp()
          AND (h.locked_until IS NULL OR h.locked_until <= statement_timestamp())
        ORDER BY h.next_attempt_at LIMIT CASE WHEN coalesce(used.count, 0) < $3 THEN $5::int ELSE 0 END) c
    WHERE w.active),
judged AS MATERIALIZED (
    SELECT l.id, l.webhook_id, l.seq, l.room,
           (SELECT b.next_attempt_at FROM webhook_deliveries b
            WHERE b.webhook_id = l.webhook_id AND b.key = l.key AND b.seq < l.seq AND {OPEN}
            ORDER BY b.seq LIMIT 1) AS after
    FROM looked l),
first AS MATERIALIZED (
    SELECT id FROM (
        SELECT id, room, row_number() OVER (PARTITION BY webhook_id ORDER BY seq) AS place
        FROM judged WHERE after IS NULL) AS ready
    WHERE place <= room),
ours AS MATERIALIZED (
    SELECT id FROM webhook_deliveries d
    WHERE id = ANY (ARRAY(SELECT id FROM first)) AND {OPEN}
      AND (locked_until IS NULL OR locked_until <= statement_timestamp())
    FOR UPDATE SKIP LOCKED),
put_off AS (
    UPDATE webhook_deliveries d SET next_attempt_at = greatest(
        (SELECT j.after FROM judged j WHERE j.id = d.id), statement_timestamp() + interval '1 second')
    WHERE d.id = ANY (ARRAY(SELECT id FROM judged WHERE after IS NOT NULL)) AND {OPEN}
    RETURNING 1),
claimed AS (
    UPDATE webhook_deliveries d
    SET attempts = attempts + 1, locked_until = statement_timestamp() + make_interval(secs => $4)
    WHERE d.id = ANY (ARRAY(SELECT id FROM ours))
    RETURNING d.id, d.webhook_id, d.type, d.body, d.attempts)
SELECT p.count, m.*
FROM (SELECT count(*) AS count FROM put_off) p LEFT JOIN (
    SELECT c.id, c.webhook_id, c.type, c.body, c.attempts, w.url, w.secret,
           CASE WHEN w.previous_secret_until > statement_timestamp() THEN w.previous_secret END, clock_timestamp()
    FROM claimed c JOIN webhooks w ON w.id = c.webhook_id) m ON true"""  # noqa: S608
# Only whoever made the attempt may say what became of it: after a claim ran out, another has begun the next one.
RECORD: Final = f"""
WITH told AS (
    UPDATE webhook_deliveries SET
        locked_until = NULL, last_status = $4, last_error = $6,
        delivered_at = CASE WHEN $7::boolean THEN clock_timestamp() END,
        next_attempt_at = clock_timestamp() + make_interval(secs => $8::float8),
        parked_at = CASE WHEN NOT $7 AND clock_timestamp() + make_interval(secs => $8)
                              > coalesce(retry_until, created_at + make_interval(hours => {RETRY_HOURS}))
                    THEN clock_timestamp() END
    WHERE id = $1 AND attempts = $2 AND {OPEN}
    RETURNING id, webhook_id, key, seq, parked_at IS NOT NULL AS parked),
tried AS (
    INSERT INTO webhook_attempts (webhook_delivery_id, webhook_id, attempt, at, status, ms, error)
    SELECT id, webhook_id, $2, $3, $4, $5, $6 FROM told),
next AS (
    UPDATE webhook_deliveries SET next_attempt_at = clock_timestamp()
    WHERE id = (
        SELECT n.id FROM webhook_deliveries n JOIN told t ON n.webhook_id = t.webhook_id AND n.key = t.key
        WHERE n.seq > t.seq AND {OPEN} AND ($7 OR t.parked) ORDER BY n.seq LIMIT 1))
SELECT parked FROM told"""  # noqa: S608
# A receiver is back: what was put off because it was not there need not wait any longer.
HASTEN: Final = f"""
UPDATE webhook_deliveries SET next_attempt_at = clock_timestamp()
WHERE id = ANY (ARRAY(
    SELECT id FROM webhook_deliveries
    WHERE webhook_id = $1 AND {OPEN} AND next_attempt_at > statement_timestamp() + interval '1 second'
      AND (locked_until IS NULL OR locked_until <= statement_timestamp())
    ORDER BY next_attempt_at LIMIT $2))"""  # noqa: S608
BACKLOG: Final = f"""
SELECT (SELECT count(*) FROM webhook_deliveries WHERE {OPEN}),
       (SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8
        FROM webhook_deliveries WHERE {OPEN}),
       (SELECT count(*) FROM webhook_deliveries WHERE parked_at IS NOT NULL AND type <> 'webhook.test')"""  # noqa: S608


class WebhookRow(Struct, frozen=True):
    """A webhook without its secret."""

    id: str
    url: str
    events: list[str]
    active: bool
    created_by: str | None
    created_at: datetime
    previous_secret_until: datetime | None


class Claimed(Struct, frozen=True):
    """A message that is ours to send now, for the `attempt`th time; `at` by the database's clock."""

    id: str
    webhook_id: str
    type: str
    body: str
    attempt: int
    url: str
    secret: str
    previous_secret: str | None
    at: datetime


class Attempt(Struct, frozen=True):
    """What became of one try. `error` is None for one that was taken."""

    at: datetime
    status: int | None
    ms: int
    error: str | None


class Backlog(Struct, frozen=True):
    """Messages not delivered yet, the age of the oldest in seconds, and those given up."""

    open: int
    oldest_seconds: float | None
    parked: int


async def read_webhooks(pool: Any, before: str | None, limit: int) -> list[WebhookRow]:
    """Newest first, those before the webhook `before`."""
    return [WebhookRow(*row) for row in await fetch(pool, WEBHOOKS, before, limit)]


async def add_webhook(
    pool: Any, webhook_id: str, url: str, events: list[str], secret: str, by: str
) -> WebhookRow | None:
    """The new webhook, or None if there are too many."""
    row = await fetch_one(pool, ADD, webhook_id, url, events, secret, by)
    return WebhookRow(*row) if row is not None else None


async def change_webhook(
    pool: Any, webhook_id: str, url: str | None, events: list[str] | None, active: bool | None
) -> WebhookRow | None:
    """The webhook with what is given replaced, or None if there is none."""
    row = await fetch_one(pool, CHANGE, webhook_id, url, events, active)
    return WebhookRow(*row) if row is not None else None


async def remove_webhook(pool: Any, webhook_id: str) -> bool:
    """Whether there was such a webhook; its log stays, what it was not told yet is parked."""
    return await fetch_one(pool, REMOVE, webhook_id) is not None


async def rotate_secret(pool: Any, webhook_id: str, secret: str) -> WebhookRow | None:
    """The webhook, from now on signed with this secret, and for a day with the old one too; None if there is none."""
    row = await fetch_one(pool, ROTATE, webhook_id, secret)
    return WebhookRow(*row) if row is not None else None


async def claim(
    pool: Any, used: Mapping[str, int], per_webhook: int, lock_seconds: float
) -> tuple[list[Claimed], bool]:
    """What is due and has room, and whether it is worth looking again at once: `used` counts what is under way of each
    webhook. Raises what the database raises.
    """
    rows = await pool.fetch(
        CLAIM, list(used), list(used.values()), per_webhook, lock_seconds, LOOKED_AT, timeout=OUTBOX_TIMEOUT_SECONDS
    )
    return [Claimed(*row[1:]) for row in rows if row[1] is not None], rows[0][0] > 0


async def hasten(pool: Any, webhook_id: str) -> bool:
    """Make what waits for this webhook due, in steps: whether there may be more. Raises what the database raises."""
    done = await pool.execute(HASTEN, webhook_id, HASTENED, timeout=OUTBOX_TIMEOUT_SECONDS)
    return int(done.rpartition(" ")[2]) == HASTENED


async def record(pool: Any, claimed: Claimed, attempt: Attempt, retry_seconds: float) -> bool | None:
    """Note what became of an attempt; tried again in so many seconds. Whether it was parked; None if it is not ours
    any more. Raises what the database raises.
    """
    parked: bool | None = await pool.fetchval(
        RECORD,
        claimed.id,
        claimed.attempt,
        attempt.at,
        attempt.status,
        attempt.ms,
        attempt.error,
        attempt.error is None,
        retry_seconds,
        timeout=OUTBOX_TIMEOUT_SECONDS,
    )
    return parked


async def read_backlog(pool: Any) -> Backlog:
    """How much is still to be told. Raises DatabaseAway."""
    return Backlog(*await fetch_one(pool, BACKLOG))
