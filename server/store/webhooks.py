"""The rows of webhooks: their addresses, event types and secrets. All functions raise DatabaseAway."""

from datetime import datetime
from typing import Final

from msgspec import Struct

from server.store.connections import Pool
from server.store.query import fetch_one, fetch_one_as
from server.store.tables import Webhook
from server.store.typed import ask, columns_for, newest

WEBHOOKS_LIMIT: Final = 50
"""The limit of webhooks; each has its own connections."""
TWO_SECRETS_HOURS: Final = 24
"""How long after a rotation messages are signed with the old secret too."""
OPEN: Final = "delivered_at IS NULL AND parked_at IS NULL"
"""The condition of a message that waits."""
ABOUT: Final = "CASE WHEN {key} ~ '^[0-9a-f]{{8}}-[0-9a-f-]{{27}}$' THEN {key}::uuid END"
"""The id of what a message is about, by its key; NULL if it is about no row, such as the report of a day."""


class WebhookRow(Struct, frozen=True):
    """A webhook without its secret."""

    id: str
    url: str
    events: list[str]
    active: bool
    created_by: str | None
    created_at: datetime
    previous_secret_until: datetime | None


_WEBHOOK: Final = ", ".join(WebhookRow.__struct_fields__)
ADD: Final = f"""
INSERT INTO webhooks (id, url, events, secret, active, created_by)
SELECT $1, $2, $3, $4, true, $5
WHERE (SELECT count(*) FROM webhooks WHERE deleted_at IS NULL) < {WEBHOOKS_LIMIT}
RETURNING {_WEBHOOK}"""  # noqa: S608
CHANGE: Final = f"""
UPDATE webhooks SET url = coalesce($2, url), events = coalesce($3, events), active = coalesce($4, active)
WHERE id = $1 AND deleted_at IS NULL RETURNING {_WEBHOOK}"""  # noqa: S608
# Waiting messages are parked and never sent.
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


async def read_webhooks(pool: Pool, before: str | None, limit: int) -> list[WebhookRow]:
    """Newest first, those before the webhook `before`."""
    page = newest(columns_for(WebhookRow, Webhook), before, limit).where(Webhook.deleted_at.is_null())
    return [WebhookRow(*row) for row in await ask(pool, page)]


async def add_webhook(
    pool: Pool, webhook_id: str, url: str, events: list[str], secret: str, by: str
) -> WebhookRow | None:
    """Create a webhook; None if the limit is reached."""
    return await fetch_one_as(pool, WebhookRow, ADD, webhook_id, url, events, secret, by)


async def change_webhook(
    pool: Pool, webhook_id: str, url: str | None, events: list[str] | None, active: bool | None
) -> WebhookRow | None:
    """The webhook with the given fields changed, or None if there is none."""
    return await fetch_one_as(pool, WebhookRow, CHANGE, webhook_id, url, events, active)


async def remove_webhook(pool: Pool, webhook_id: str) -> bool:
    """Delete a webhook; returns whether it existed. Its log stays; waiting messages are parked."""
    return await fetch_one(pool, REMOVE, webhook_id) is not None


async def rotate_secret(pool: Pool, webhook_id: str, secret: str) -> WebhookRow | None:
    """The webhook with this new secret; the old one also signs for a day. None if there is no such webhook."""
    return await fetch_one_as(pool, WebhookRow, ROTATE, webhook_id, secret)
