"""The HTTP API of webhooks: addresses, event types, secrets, delivery status."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from server.ids import new_id
from server.notify.addresses import mistake_in
from server.store import webhooks as store
from server.store.queues import webhook_log
from server.web.access.guards import ADMIN, VIEWERS
from server.web.api import schemas as s
from server.web.api import webhook_answers as a
from server.web.api.answers import view
from server.web.api.endpoint import PathId, endpoint
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import TOO_MANY_WEBHOOKS, Problem, existing, invalid_field, not_found
from server.web.http.paging import BY_ID, Page

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what every secret begins with
SECRET_BYTES: Final = 32


def _new_secret() -> str:
    return SECRET_PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


@endpoint(
    "POST /admin/webhooks",
    "Create a webhook. Only this response contains the secret that signs its messages.",
    ADMIN,
    TOO_MANY_WEBHOOKS,
    status=201,
)
async def add_webhook(request: Call, wanted: s.NewWebhook) -> a.WebhookWithSecret:
    return _with_secret(*await made(request, wanted.url, wanted.events))


async def made(request: Call, url: str, events: Sequence[str]) -> tuple[store.WebhookRow, str]:
    """Create a webhook; returns it with its secret. Raises 409, 422 or DatabaseAway."""
    _check(request, url)
    secret = _new_secret()
    added = await store.add_webhook(
        pool_of(request), new_id(), url, list(dict.fromkeys(events)), secret, request.user.subject
    )
    if added is None:
        raise Problem(TOO_MANY_WEBHOOKS, f"The limit of {store.WEBHOOKS_LIMIT} webhooks is reached.")
    return added, secret


def _check(request: Call, url: str) -> None:
    wrong = mistake_in(url, allow_private=node_of(request).settings.webhooks_allow_private)
    if wrong is not None:
        raise invalid_field("url", wrong)


@endpoint("GET /admin/webhooks", "List webhooks, newest first.", VIEWERS)
async def list_webhooks(request: Call, query: s.PageQuery) -> Page[a.WebhookView]:
    found = await store.read_webhooks(pool_of(request), BY_ID.only(query.cursor), query.limit + 1)
    return BY_ID.page(found, query.limit, lambda row: (row.id,), webhook_view)


def webhook_view(row: store.WebhookRow) -> a.WebhookView:
    return view(a.WebhookView, row)


@endpoint("GET /admin/webhooks/{webhook_id}", "Get a webhook with its delivery status.", VIEWERS)
async def get_webhook(request: Call, webhook_id: PathId) -> a.WebhookWithStatusView:
    found = await webhook_log.read_webhook_status(pool_of(request), webhook_id)
    if not found:
        raise not_found()
    (status,) = found
    return view(a.WebhookWithStatusView, status, attempts=len(status.attempts))


def _with_secret(row: store.WebhookRow, secret: str) -> a.WebhookWithSecret:
    return view(a.WebhookWithSecret, row, secret=secret)


@endpoint(
    "PATCH /admin/webhooks/{webhook_id}",
    "Change a webhook: its address, its event types, or whether it is active.",
    ADMIN,
)
async def change_webhook(request: Call, webhook_id: PathId, wanted: s.WebhookChange) -> a.WebhookView:
    row = await changed(request, webhook_id, url=wanted.url, events=wanted.events, active=wanted.active)
    return webhook_view(row)


async def changed(
    request: Call,
    webhook_id: str,
    *,
    url: str | None = None,
    events: Sequence[str] | None = None,
    active: bool | None = None,
) -> store.WebhookRow:
    """Change the given fields of a webhook. Raises 404, 422 or DatabaseAway."""
    node = node_of(request)
    if url is not None:
        _check(request, url)
    types = list(dict.fromkeys(events)) if events is not None else None
    row = existing(await store.change_webhook(node.database.pool, webhook_id, url, types, active))
    node.webhooks.look()
    return row


@endpoint("DELETE /admin/webhooks/{webhook_id}", "Delete a webhook. Messages that wait for it are never sent.", ADMIN)
async def remove_webhook(request: Call, webhook_id: PathId) -> None:
    await removed(request, webhook_id)


async def removed(request: Call, webhook_id: str) -> None:
    """Delete a webhook. Raises 404 or DatabaseAway."""
    if not await store.remove_webhook(pool_of(request), webhook_id):
        raise not_found()


@endpoint(
    "POST /admin/webhooks/{webhook_id}/rotate-secret",
    "Create a new secret. Only this response contains it. The old one also signs for 24 hours.",
    ADMIN,
)
async def rotate_secret(request: Call, webhook_id: PathId) -> a.WebhookWithSecret:
    return _with_secret(*await rotated(request, webhook_id))


async def rotated(request: Call, webhook_id: str) -> tuple[store.WebhookRow, str]:
    """Give a webhook a new secret; returns both. Raises 404 or DatabaseAway."""
    secret = _new_secret()
    row = existing(await store.rotate_secret(pool_of(request), webhook_id, secret))
    return row, secret
