"""The HTTP API of webhooks: addresses, event types, secrets, delivery status."""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.ids import new_id
from server.notify.addresses import mistake_in
from server.store import webhooks as store
from server.store.queues import webhook_log
from server.web.access.guards import ADMIN, VIEWERS
from server.web.api import schemas as s
from server.web.api import webhook_answers as a
from server.web.api.answers import view
from server.web.api.endpoint import Body, Query, answer, endpoint, id_in_path, no_content
from server.web.api.webhook_messages import TAG
from server.web.http.caller import Call
from server.web.http.calls import node_of, pool_of
from server.web.http.errors import TOO_MANY_WEBHOOKS, Problem, invalid_field, not_found
from server.web.http.paging import BY_ID

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what every secret begins with
SECRET_BYTES: Final = 32

NEW_WEBHOOK: Final = Body(s.NewWebhook)
CHANGE: Final = Body(s.WebhookChange)
PAGE: Final = Query(s.PageQuery)


def _new_secret() -> str:
    return SECRET_PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


@endpoint(
    "POST",
    "/admin/webhooks",
    tag=TAG,
    summary="Create a webhook. Only this response contains the secret that signs its messages.",
    guard=ADMIN,
    body=NEW_WEBHOOK,
    answers={201: a.WebhookWithSecret},
    refusals=(TOO_MANY_WEBHOOKS,),
)
async def add_webhook(request: Call) -> ASGIResponse:
    wanted = await NEW_WEBHOOK.of(request)
    return answer(_with_secret(*await made(request, wanted.url, wanted.events)), 201)


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


@endpoint(
    "GET",
    "/admin/webhooks",
    tag=TAG,
    summary="List webhooks, newest first.",
    guard=VIEWERS,
    query=PAGE,
    answers={200: list[a.WebhookView]},
)
async def list_webhooks(request: Call) -> ASGIResponse:
    query = PAGE.of(request)
    found = await store.read_webhooks(pool_of(request), BY_ID.only(query.cursor), query.limit + 1)
    return answer(BY_ID.page(found, query.limit, lambda row: (row.id,), webhook_view))


def webhook_view(row: store.WebhookRow) -> a.WebhookView:
    """The view of a webhook."""
    return view(a.WebhookView, row)


@endpoint(
    "GET",
    "/admin/webhooks/{webhook_id:str}",
    tag=TAG,
    summary="Get a webhook with its delivery status.",
    guard=VIEWERS,
    answers={200: a.WebhookWithStatusView},
)
async def get_webhook(request: Call, webhook_id: FromPath[str]) -> ASGIResponse:
    found = await webhook_log.read_webhook_status(pool_of(request), id_in_path(webhook_id))
    if not found:
        raise not_found()
    (status,) = found
    return answer(view(a.WebhookWithStatusView, status, attempts=len(status.attempts)))


def _with_secret(row: store.WebhookRow, secret: str) -> a.WebhookWithSecret:
    return view(a.WebhookWithSecret, row, secret=secret)


@endpoint(
    "PATCH",
    "/admin/webhooks/{webhook_id:str}",
    tag=TAG,
    summary="Change a webhook: its address, its event types, or whether it is active.",
    guard=ADMIN,
    body=CHANGE,
    answers={200: a.WebhookView},
)
async def change_webhook(request: Call, webhook_id: FromPath[str]) -> ASGIResponse:
    wanted = await CHANGE.of(request)
    row = await changed(request, id_in_path(webhook_id), url=wanted.url, events=wanted.events, active=wanted.active)
    return answer(webhook_view(row))


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
    row = await store.change_webhook(node.database.pool, webhook_id, url, types, active)
    if row is None:
        raise not_found()
    node.webhooks.look()
    return row


@endpoint(
    "DELETE",
    "/admin/webhooks/{webhook_id:str}",
    tag=TAG,
    summary="Delete a webhook. Messages that wait for it are never sent.",
    guard=ADMIN,
    answers={204: None},
)
async def remove_webhook(request: Call, webhook_id: FromPath[str]) -> ASGIResponse:
    await removed(request, id_in_path(webhook_id))
    return no_content()


async def removed(request: Call, webhook_id: str) -> None:
    """Delete a webhook. Raises 404 or DatabaseAway."""
    if not await store.remove_webhook(pool_of(request), webhook_id):
        raise not_found()


@endpoint(
    "POST",
    "/admin/webhooks/{webhook_id:str}/rotate-secret",
    tag=TAG,
    summary="Create a new secret. Only this response contains it. The old one also signs for 24 hours.",
    guard=ADMIN,
    answers={200: a.WebhookWithSecret},
)
async def rotate_secret(request: Call, webhook_id: FromPath[str]) -> ASGIResponse:
    return answer(_with_secret(*await rotated(request, id_in_path(webhook_id))))


async def rotated(request: Call, webhook_id: str) -> tuple[store.WebhookRow, str]:
    """Give a webhook a new secret; returns both. Raises 404 or DatabaseAway."""
    secret = _new_secret()
    row = await store.rotate_secret(pool_of(request), webhook_id, secret)
    if row is None:
        raise not_found()
    return row, secret
