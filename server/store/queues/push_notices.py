"""The rows of pushes: created from open offers and unseen messages, claimed, recorded.

An open offer whose driver has no socket, and whose receipt is not confirmed, needs one notice for each subscription. So
does a message of dispatch that such a driver has not seen. The node that finds it creates the notice. Nothing is
written with the offer or the message, so nothing can be lost with it.
"""

from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from server.store.connections import Pool, Queries
from server.store.query import QUERY_TIMEOUT_SECONDS, fetch_one

PushKind = Literal["offer.created", "offer.closed", "message"]

SOONEST_SECONDS: Final = 1.0
"""What has less time left is not worth sending."""
LOOK_BACK_MINUTES: Final = 10
MESSAGE_MINUTES: Final = 60
"""A message that is older is not pushed any more: the driver reads it with the next `hello`."""

_CLAIMED: Final = """
id, kind, driver_id, delivery_id, offer_id, message_id, subscription_id, expires_at, attempts"""
_NEW: Final = """
id, kind, driver_id, delivery_id, offer_id, subscription_id, created_at, expires_at, attempts, next_attempt_at,
    locked_until"""
_NEW_OF_MESSAGE: Final = """
id, kind, driver_id, message_id, subscription_id, created_at, expires_at, attempts, next_attempt_at, locked_until"""
_NOW: Final = """
statement_timestamp(), expires_at, 1, statement_timestamp(), statement_timestamp() + make_interval(secs => $1)"""
_IN_TIME: Final = f"expires_at > statement_timestamp() + make_interval(secs => {SOONEST_SECONDS:g})"

# 1. Open offers whose driver has no socket, as far as is known, and whose app has said nothing: one notice for each of
#    their subscriptions, at once ours. Another who looks at the same moment makes none.
# 2. Offers that were over before their deadline, where a notice may still be shown: one that takes it back.
# 3. Messages of dispatch that a driver without a socket has not seen, like 1.
# 4. What has to be tried again, or was claimed by somebody who never said what became of it.
# 5. What was received, whichever way the app says so.
CLAIM: Final = f"""
WITH created AS (
    INSERT INTO driver_notices ({_NEW})
    SELECT gen_random_uuid(), 'offer.created', f.driver_id, f.delivery_id, f.id, f.subscription_id, {_NOW}
    FROM (
        SELECT o.driver_id, o.delivery_id, o.id, s.id AS subscription_id, o.expires_at
        FROM driver_offers o
        JOIN drivers d ON d.id = o.driver_id AND d.session_id IS NULL
        JOIN push_subscriptions s ON s.driver_id = o.driver_id AND s.expires_at > statement_timestamp()
        WHERE o.status = 'PENDING' AND o.{_IN_TIME} AND o.received_at IS NULL
          AND NOT EXISTS (SELECT FROM driver_notices n WHERE n.offer_id = o.id AND n.subscription_id = s.id
                          AND n.kind = 'offer.created')
        ORDER BY o.expires_at LIMIT $2) AS f
    ON CONFLICT (offer_id, subscription_id, kind) DO NOTHING
    RETURNING {_CLAIMED}),
closed AS (
    INSERT INTO driver_notices ({_NEW})
    SELECT gen_random_uuid(), 'offer.closed', f.driver_id, f.delivery_id, f.offer_id, f.subscription_id, {_NOW}
    FROM (
        SELECT n.driver_id, n.delivery_id, n.offer_id, n.subscription_id, n.expires_at
        FROM driver_notices n
        JOIN driver_offers o ON o.id = n.offer_id AND o.status <> 'PENDING'
        JOIN push_subscriptions s ON s.id = n.subscription_id
        WHERE n.kind = 'offer.created' AND n.{_IN_TIME} AND n.sent_at IS NOT NULL
          AND NOT EXISTS (SELECT FROM driver_notices c WHERE c.offer_id = n.offer_id
                          AND c.subscription_id = n.subscription_id AND c.kind = 'offer.closed')
        ORDER BY n.expires_at LIMIT $2) AS f
    ON CONFLICT (offer_id, subscription_id, kind) DO NOTHING
    RETURNING {_CLAIMED}),
messages AS (
    INSERT INTO driver_notices ({_NEW_OF_MESSAGE})
    SELECT gen_random_uuid(), 'message', f.driver_id, f.id, f.subscription_id, {_NOW}
    FROM (
        SELECT m.driver_id, m.id, s.id AS subscription_id, m.at + interval '{MESSAGE_MINUTES} minutes' AS expires_at
        FROM chat_messages m
        JOIN drivers d ON d.id = m.driver_id AND d.session_id IS NULL
        JOIN push_subscriptions s ON s.driver_id = m.driver_id AND s.expires_at > statement_timestamp()
        WHERE m.seen_at IS NULL AND NOT m.by_driver AND m.text IS NOT NULL
          AND m.at > statement_timestamp() - interval '{MESSAGE_MINUTES} minutes'
                     + make_interval(secs => {SOONEST_SECONDS:g})
          AND NOT EXISTS (SELECT FROM driver_notices n WHERE n.message_id = m.id AND n.subscription_id = s.id)
        ORDER BY m.at LIMIT $2) AS f
    ON CONFLICT (message_id, subscription_id) WHERE message_id IS NOT NULL DO NOTHING
    RETURNING {_CLAIMED}),
again AS (
    UPDATE driver_notices SET attempts = attempts + 1,
        locked_until = statement_timestamp() + make_interval(secs => $1)
    WHERE id = ANY (ARRAY(
        SELECT id FROM driver_notices
        WHERE next_attempt_at <= statement_timestamp()
          AND (locked_until IS NULL OR locked_until <= statement_timestamp())
        ORDER BY next_attempt_at LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING {_CLAIMED}),
received AS (
    UPDATE driver_notices n SET received_at = o.received_at
    FROM driver_offers o
    WHERE o.id = n.offer_id AND o.received_at IS NOT NULL AND n.kind = 'offer.created' AND n.received_at IS NULL
      AND n.sent_at IS NOT NULL
      AND n.expires_at > statement_timestamp() - make_interval(mins => {LOOK_BACK_MINUTES}))
SELECT c.id, c.kind, c.driver_id, c.delivery_id, c.offer_id, c.message_id, c.subscription_id, c.attempts, c.expires_at,
       extract(epoch FROM c.expires_at - clock_timestamp())::float8,
       s.endpoint, s.p256dh, s.auth, coalesce(o.status = 'PENDING', m.text IS NOT NULL),
       coalesce(o.received_at, m.seen_at) IS NOT NULL, o.offer_payload, m.author, m.text, m.at
FROM (SELECT * FROM created UNION ALL SELECT * FROM closed UNION ALL SELECT * FROM messages
      UNION ALL SELECT * FROM again) AS c
LEFT JOIN push_subscriptions s ON s.id = c.subscription_id
LEFT JOIN driver_offers o ON o.id = c.offer_id
LEFT JOIN chat_messages m ON m.id = c.message_id"""  # noqa: S608
# Only the node that made the attempt may record its result. An expiry says less than why the attempts failed.
RECORD: Final = f"""
WITH recorded AS (
    UPDATE driver_notices SET
        locked_until = NULL,
        last_status = CASE WHEN $6::boolean THEN $3 ELSE last_status END,
        last_error = CASE WHEN $6 THEN $4 ELSE coalesce(last_error, $4) END,
        sent_at = CASE WHEN $4::text IS NULL THEN clock_timestamp() END,
        next_attempt_at = CASE WHEN $4 IS NOT NULL AND clock_timestamp() + make_interval(secs => $5::float8)
                                    < expires_at - make_interval(secs => {SOONEST_SECONDS:g})
                          THEN clock_timestamp() + make_interval(secs => $5) END,
        failed_at = CASE WHEN $4 IS NOT NULL AND coalesce(clock_timestamp() + make_interval(secs => $5)
                                    >= expires_at - make_interval(secs => {SOONEST_SECONDS:g}), true)
                    THEN clock_timestamp() END
    WHERE id = $1 AND attempts = $2 AND sent_at IS NULL AND failed_at IS NULL
    RETURNING subscription_id, failed_at IS NOT NULL AS failed),
marked AS (
    UPDATE push_subscriptions s SET last_at = clock_timestamp(), last_status = $3, last_error = $4
    FROM recorded t WHERE s.id = t.subscription_id AND $6::boolean AND NOT $7::boolean),
removed AS (
    DELETE FROM push_subscriptions s USING recorded t WHERE s.id = t.subscription_id AND $7)
SELECT failed FROM recorded"""  # noqa: S608

SHOWN: Final = """
UPDATE driver_notices SET received_at = coalesce(received_at, clock_timestamp()) WHERE id = $1 AND driver_id = $2
RETURNING id"""


class NoticeToSend(Struct, frozen=True):
    """A notice that this node sends now, for the `attempt`th time. It is useful for `seconds_left` after the claim.

    Without an endpoint, its subscription no longer exists. `open` and `received` describe the offer (`payload` is
    JSON), or whether the message still has its text, and was seen.
    """

    id: str
    kind: PushKind
    driver_id: str
    delivery_id: str | None
    offer_id: str | None
    message_id: str | None
    subscription_id: str
    attempt: int
    expires_at: datetime
    seconds_left: float
    endpoint: str | None
    p256dh: str | None
    auth: str | None
    open: bool | None
    received: bool | None
    payload: str | None
    author: str | None = None
    text: str | None = None
    written_at: datetime | None = None

    @property
    def about(self) -> str:
        """The id of the offer or the message that it is about."""
        about = self.offer_id or self.message_id
        assert about is not None
        return about


async def claim_driver_notices(source: Queries, limit: int, lock_seconds: float) -> list[NoticeToSend]:
    """The pushes to send now. Raises what the database raises."""
    return [NoticeToSend(*row) for row in await source.fetch(CLAIM, lock_seconds, limit, timeout=QUERY_TIMEOUT_SECONDS)]


async def record_driver_notice(
    pool: Pool,
    notice: NoticeToSend,
    status: int | None,
    error: str | None,
    again_seconds: float | None,
    *,
    tried: bool,
    gone: bool,
) -> bool | None:
    """Record the result: sent (no `error`), or retried after some seconds if that is before the deadline, or failed.

    `tried`: a call was made. `gone`: the subscription no longer exists. Returns whether it failed for good; None if
    another node has it. Raises what the database raises.
    """
    failed: bool | None = await pool.fetchval(
        RECORD, notice.id, notice.attempt, status, error, again_seconds, tried, gone, timeout=QUERY_TIMEOUT_SECONDS
    )
    return failed


async def note_shown(pool: Pool, driver_id: str, notice_id: str) -> bool:
    """Whether the driver was sent this notice, which their browser has shown now. Raises DatabaseAway."""
    return await fetch_one(pool, SHOWN, notice_id, driver_id) is not None
