"""The queue of webhook messages: what is due, and what became of it. One statement each."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from operator import itemgetter
from typing import Final

from msgspec import Struct

from server.contract.webhook_events import RETRY_HOURS
from server.store.connections import Connection, Pool, Queries
from server.store.query import fetch_one
from server.store.webhooks import OPEN

OUTBOX_TIMEOUT_SECONDS: Final = 5.0
SENDER_SECONDS: Final = 8.0
"""How long a node is the only sender of a webhook."""
SENDER_RENEW_SECONDS: Final = 2.0
GROUP: Final = 8
"""The limit of messages of one key that are claimed at once."""
HASTENED: Final = 500
SWITCHED_OFF: Final = "webhook.switched_off"
"""The kind of the notice."""

STILL_OPEN: Final = "coalesce(delivered_at, parked_at) IS NULL"
"""The same as OPEN, where rows are found by id: a plan made while the line was short could otherwise read all of it
instead.
"""

# One sender at a time has a webhook, and so claims its messages by reading them: nothing is written, and a sender who
# stops leaves nothing behind. A claim reads what is due, in order, from where the last one got to ($5): it looks at
# neither what was sent before, whose dead entries stay in the index until they are vacuumed, nor what is behind in
# line. Messages of one key go out together and in order, beginning with the first that is open: while that one waits
# for another attempt, those behind it wait as long, and are put off when a claim first meets them.
CLAIM: Final = f"""
WITH kept AS (
    UPDATE webhooks
    SET sender = $1, sender_until = statement_timestamp() + make_interval(secs => {SENDER_SECONDS})
    WHERE id = ANY (ARRAY(
        SELECT id FROM webhooks
        WHERE active AND (sender IS NULL OR sender_until <= statement_timestamp() OR (
            sender = $1
            AND sender_until <= statement_timestamp() + make_interval(secs => {SENDER_SECONDS - SENDER_RENEW_SECONDS})))
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
    RETURNING id, url, secret, previous_secret, previous_secret_until, sender_until),
ours AS MATERIALIZED (
    SELECT k.*, coalesce(w.room, $2) AS room, coalesce(w.since, '-infinity') AS since
    FROM (SELECT * FROM kept UNION ALL
          SELECT id, url, secret, previous_secret, previous_secret_until, sender_until FROM webhooks
          WHERE active AND sender = $1 AND sender_until > statement_timestamp()
            AND id NOT IN (SELECT id FROM kept)) AS k
    LEFT JOIN unnest($3::text[]::uuid[], $4::int[], $5::timestamptz[]) AS w (id, room, since) ON w.id = k.id),
due AS MATERIALIZED (
    SELECT o.id AS webhook_id, c.key, c.next_attempt_at FROM ours o CROSS JOIN LATERAL (
        SELECT h.key, h.next_attempt_at FROM webhook_deliveries h
        WHERE h.webhook_id = o.id AND {OPEN} AND h.next_attempt_at BETWEEN o.since AND statement_timestamp()
          AND (h.webhook_id, h.key) NOT IN (
              SELECT b.id, b.key FROM unnest($6::text[]::uuid[], $7::text[]) AS b (id, key))
        ORDER BY h.next_attempt_at, h.seq LIMIT o.room) AS c),
first AS MATERIALIZED (
    SELECT g.webhook_id, g.key, f.next_attempt_at AS at
    FROM (SELECT DISTINCT webhook_id, key FROM due) AS g CROSS JOIN LATERAL (
        SELECT b.next_attempt_at FROM webhook_deliveries b
        WHERE b.webhook_id = g.webhook_id AND b.key = g.key AND {OPEN} ORDER BY b.seq LIMIT 1) AS f),
behind AS MATERIALIZED (
    SELECT f.at, n.id FROM first f CROSS JOIN LATERAL (
        SELECT n.id FROM webhook_deliveries n
        WHERE n.webhook_id = f.webhook_id AND n.key = f.key AND {OPEN} AND n.next_attempt_at < f.at
        ORDER BY n.seq OFFSET 0) AS n
    WHERE f.at > statement_timestamp()),
put_off AS (
    UPDATE webhook_deliveries d SET next_attempt_at = b.at
    FROM behind b WHERE d.id = ANY (ARRAY(SELECT id FROM behind)) AND d.id = b.id AND {STILL_OPEN}
    RETURNING 1),
found AS MATERIALIZED (
    SELECT f.webhook_id, f.at, m.* FROM first f CROSS JOIN LATERAL (
        SELECT m.id AS message_id, m.key, m.seq, m.type, m.body, m.attempts + 1 AS attempt FROM webhook_deliveries m
        WHERE m.webhook_id = f.webhook_id AND m.key = f.key AND {OPEN} ORDER BY m.seq LIMIT {GROUP}) AS m
    WHERE f.at <= statement_timestamp()),
lines AS MATERIALIZED (
    SELECT o.*, (SELECT count(*) FROM due d WHERE d.webhook_id = o.id) AS due,
           (SELECT max(d.next_attempt_at) FROM due d WHERE d.webhook_id = o.id) AS reached,
           (SELECT count(*) FROM put_off) AS put_off
    FROM ours o)
SELECT o.id, extract(epoch FROM o.sender_until - statement_timestamp())::float8, statement_timestamp(),
       o.due, o.reached, o.put_off, f.at, f.seq, f.message_id, o.id, f.key, f.type, f.body, f.attempt, o.url, o.secret,
       CASE WHEN o.previous_secret_until > statement_timestamp() THEN o.previous_secret END, statement_timestamp()
FROM lines o LEFT JOIN found f ON f.webhook_id = o.id"""  # noqa: S608
RELEASE: Final = "UPDATE webhooks SET sender = NULL, sender_until = NULL WHERE sender = $1"
# Only the next attempt may be recorded, and once: of two senders who both believe that a webhook is theirs, only one is
# heard, and a sender who does not know whether the last statement was committed says the same again. An answer can
# quote the body that its receiver got: if that was erased meanwhile, only the status is kept.
RECORD: Final = f"""
WITH said AS MATERIALIZED (
    SELECT * FROM unnest($1::text[]::uuid[], $2::int[], $3::timestamptz[], $4::int[], $5::int[], $6::text[],
                         $7::float8[], $8::boolean[], $9::bytea[])
        AS s (id, attempt, at, status, ms, error, again, last, sent)),
done AS (
    UPDATE webhook_deliveries d SET
        attempts = s.attempt, last_status = s.status,
        last_error = CASE WHEN s.error LIKE 'answered %:%' AND sha256(convert_to(d.body, 'UTF8')) <> s.sent
                          THEN split_part(s.error, ':', 1) ELSE s.error END,
        delivered_at = CASE WHEN s.error IS NULL THEN statement_timestamp() END,
        next_attempt_at = CASE WHEN s.error IS NULL THEN next_attempt_at
                               ELSE statement_timestamp() + make_interval(secs => s.again) END,
        parked_at = CASE WHEN s.error IS NOT NULL AND statement_timestamp() + make_interval(secs => s.again)
                              > coalesce(retry_until, created_at + make_interval(hours => {RETRY_HOURS}))
                    THEN statement_timestamp() END
    FROM said s
    WHERE d.id = ANY ($1::text[]::uuid[]) AND d.id = s.id AND d.attempts = s.attempt - 1 AND {STILL_OPEN}
    RETURNING d.id, d.webhook_id, d.key, d.seq, d.next_attempt_at, d.delivered_at, d.parked_at IS NOT NULL AS parked,
              s.attempt, s.at, s.status, s.ms, d.last_error AS error, s.last),
tried AS (
    INSERT INTO webhook_attempts (webhook_delivery_id, webhook_id, attempt, at, status, ms, error)
    SELECT id, webhook_id, attempt, at, status, ms, error FROM done),
behind AS MATERIALIZED (
    SELECT n.id, CASE WHEN t.parked OR t.last THEN statement_timestamp() ELSE t.next_attempt_at END AS at
    FROM done t CROSS JOIN LATERAL (
        SELECT n.id, n.next_attempt_at FROM webhook_deliveries n
        WHERE n.webhook_id = t.webhook_id AND n.key = t.key AND n.seq > t.seq AND {OPEN}
        ORDER BY n.seq OFFSET 0) AS n
    WHERE (t.delivered_at IS NULL OR t.last)
      AND CASE WHEN t.parked OR t.last THEN n.next_attempt_at > statement_timestamp()
               ELSE n.next_attempt_at < t.next_attempt_at END),
moved AS (
    UPDATE webhook_deliveries d SET next_attempt_at = b.at
    FROM behind b WHERE d.id = ANY (ARRAY(SELECT id FROM behind)) AND d.id = b.id AND {STILL_OPEN})
SELECT id, parked FROM done"""  # noqa: S608
# A receiver is back: what was put off because it was not there need not wait any longer.
HASTEN: Final = f"""
UPDATE webhook_deliveries SET next_attempt_at = clock_timestamp()
WHERE id = ANY (ARRAY(
    SELECT id FROM webhook_deliveries
    WHERE webhook_id = $1 AND {OPEN} AND next_attempt_at > statement_timestamp() + interval '1 second'
    ORDER BY next_attempt_at LIMIT $2))"""  # noqa: S608
# Standard Webhooks: a receiver that answers 410 wants no more calls. What waits is kept until somebody starts it again.
SWITCH_OFF: Final = f"""
WITH off AS (UPDATE webhooks SET active = false WHERE id = $1 AND active RETURNING id, split_part(url, '?', 1) AS url)
INSERT INTO notices (id, kind, severity, zone, text, link, created_at, next_attempt_at)
SELECT $2, '{SWITCHED_OFF}', 'warning', '',
       'The webhook ' || url || ' is stopped: its receiver answered that it is gone (410).',
       '/webhooks/' || id, clock_timestamp(), clock_timestamp()
FROM off RETURNING id"""  # noqa: S608
# One look along the index of the line, whose pages are a hundredth of those with the bodies.
BACKLOG: Final = f"""
WITH line AS MATERIALIZED (
    SELECT webhook_id, count(*) AS open, min(seq) AS first FROM webhook_deliveries WHERE {OPEN} GROUP BY webhook_id)
SELECT (SELECT coalesce(sum(open), 0)::bigint FROM line),
       (SELECT extract(epoch FROM clock_timestamp() - min(f.created_at))::float8
        FROM line l JOIN webhook_deliveries f ON f.webhook_id = l.webhook_id AND f.seq = l.first),
       (SELECT count(*) FROM webhook_deliveries WHERE parked_at IS NOT NULL AND type <> 'webhook.test')"""  # noqa: S608


class DueMessage(Struct, frozen=True):
    """A message that this node sends, for the `attempt`th time; claimed `at`, by the database's clock."""

    id: str
    webhook_id: str
    key: str
    type: str
    body: str
    attempt: int
    url: str
    secret: str
    previous_secret: str | None
    at: datetime


class Attempt(Struct, frozen=True):
    """The result of an attempt. `error` is None after a 2xx."""

    at: datetime
    status: int | None
    ms: int
    error: str | None


class LineRequest(Struct, frozen=True):
    """How many due messages of a webhook to read, and from which due time on; None: all of them."""

    webhook_id: str
    room: int
    since: datetime | None


class ClaimedLine(Struct, frozen=True):
    """What was read of a webhook that this node sends for some `seconds`: how many messages were `due` at `now`, how
    far it was read (`reached`), and groups of messages of one key in order, each with the time since when its first one
    is due.
    """

    seconds: float
    now: datetime
    due: int
    reached: datetime | None
    groups: list[tuple[datetime, list[DueMessage]]]


class Claim(Struct, frozen=True):
    """What a claim found, by webhook; and how many messages it put off."""

    lines: dict[str, ClaimedLine]
    put_off: int


class MessageOutcome(Struct, frozen=True):
    """The result of the `number`th attempt for a message with this `body`. If it failed, the next attempt is in some
    seconds. With `hasten`, the messages behind it with the same key become due.
    """

    message_id: str
    number: int
    attempt: Attempt
    retry_seconds: float
    hasten: bool
    body: str


class Undelivered(Struct, frozen=True):
    """Messages not delivered yet, the age in seconds of the oldest that is first in its webhook's line, and those given
    up.
    """

    open: int
    oldest_seconds: float | None
    parked: int


async def claim(
    connection: Connection, sender: str, wanted: Sequence[LineRequest], room: int, busy: Sequence[tuple[str, str]]
) -> Claim:
    """Take or keep the webhooks without another sender, and read their due messages: of each as many as it has room for
    (`room` for a new one), and the messages behind them with the same keys. `busy` are webhooks and keys with calls in
    progress. Raises what the database raises.
    """
    rows = await connection.fetch(
        CLAIM,
        sender,
        room,
        [one.webhook_id for one in wanted],
        [one.room for one in wanted],
        [one.since for one in wanted],
        [webhook_id for webhook_id, _ in busy],
        [key for _, key in busy],
        timeout=OUTBOX_TIMEOUT_SECONDS,
    )
    claimed: dict[str, ClaimedLine] = {}
    put_off = 0
    for row in rows:
        webhook_id, seconds, now, due, reached, put_off = row[:6]
        claimed.setdefault(webhook_id, ClaimedLine(seconds, now, due, reached, []))
    groups: dict[tuple[str, str], list[DueMessage]] = {}
    for row in sorted((row for row in rows if row[8] is not None), key=itemgetter(6, 7)):  # by due time, then by seq
        message = DueMessage(*row[8:])
        group = groups.setdefault((message.webhook_id, message.key), [])
        if not group:
            claimed[message.webhook_id].groups.append((row[6], group))
        group.append(message)
    return Claim(claimed, put_off)


async def release(connection: Connection, sender: str) -> None:
    """Release the webhooks, so that another node can take them at once. Raises what the database raises."""
    await connection.execute(RELEASE, sender, timeout=OUTBOX_TIMEOUT_SECONDS)


async def discard_plans(connection: Connection) -> None:
    """Forget the plans made so far, which were made for other sizes of the line. Raises what the database raises."""
    await connection.execute("DISCARD PLANS")


async def hasten(connection: Connection, webhook_id: str) -> bool:
    """Make the waiting messages of this webhook due, in steps; returns whether there may be more. Raises what the
    database raises.
    """
    done = await connection.execute(HASTEN, webhook_id, HASTENED, timeout=OUTBOX_TIMEOUT_SECONDS)
    return int(done.rpartition(" ")[2]) == HASTENED


async def record(connection: Connection, outcomes: Sequence[MessageOutcome]) -> dict[str, bool]:
    """Record the results of attempts, at most one for each message. Returns which were recorded and whether that parked
    them; another node has the rest. Raises what the database raises.
    """
    rows = await connection.fetch(
        RECORD,
        [one.message_id for one in outcomes],
        [one.number for one in outcomes],
        [one.attempt.at for one in outcomes],
        [one.attempt.status for one in outcomes],
        [one.attempt.ms for one in outcomes],
        [one.attempt.error for one in outcomes],
        [one.retry_seconds for one in outcomes],
        [one.hasten for one in outcomes],
        [None if one.attempt.error is None else sha256(one.body.encode()).digest() for one in outcomes],
        timeout=OUTBOX_TIMEOUT_SECONDS,
    )
    return {row[0]: row[1] for row in rows}


async def switch_off(source: Queries, webhook_id: str, notice_id: str) -> bool:
    """Stop a webhook whose receiver is gone for good, with a notice to ops; returns whether it was active. Raises what
    the database raises.
    """
    found = await source.fetchval(SWITCH_OFF, webhook_id, notice_id, timeout=OUTBOX_TIMEOUT_SECONDS)
    return found is not None


async def read_backlog(pool: Pool) -> Undelivered:
    """How many messages wait. Raises DatabaseAway."""
    return Undelivered(*await fetch_one(pool, BACKLOG))
