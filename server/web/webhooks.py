"""The HTTP API of webhooks: who is told of what, with which secret, and what became of every message."""

import secrets
from base64 import b64encode
from typing import TYPE_CHECKING, Final

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from server.ids import new_id
from server.notify.addresses import mistake_in
from server.store import webhooks as store
from server.web import answers as a
from server.web import schemas as s
from server.web.auth import Guard
from server.web.endpoint import Body, Call, Query, answer, endpoint, id_in_path, no_content
from server.web.errors import TOO_MANY_WEBHOOKS, WEBHOOK_NOT_ACTIVE, Problem, invalid_field, not_found
from server.web.pages import BY_ID, BY_NUMBER
from server.web.watching import WATCHERS
from server.wire import instant, instant_or_none

if TYPE_CHECKING:
    from server.node import Node

TAG: Final = "Webhooks"
ADMIN: Final = Guard("admin")
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what every secret begins with
SECRET_BYTES: Final = 32

NEW_WEBHOOK: Final = Body(s.NewWebhook)
CHANGE: Final = Body(s.WebhookChange)
PAGE: Final = Query(s.PageAsked)
MESSAGES: Final = Query(s.WebhookMessagesAsked)
_attempts: Final = msgspec.json.Decoder(store.Attempted)


def _new_secret() -> str:
    return SECRET_PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


@endpoint(
    "POST",
    "/admin/webhooks",
    tag=TAG,
    summary="Tell this address of what happens. The secret that signs its messages is shown this once.",
    guard=ADMIN,
    body=NEW_WEBHOOK,
    answers={201: a.WebhookWithSecret},
    refusals=(TOO_MANY_WEBHOOKS,),
)
async def add_webhook(request: Call) -> ASGIResponse:
    wanted = await NEW_WEBHOOK.of(request)
    node: Node = request.app.state.node
    _check(request, wanted.url)
    secret = _new_secret()
    added = await store.add_webhook(
        node.database.pool, new_id(), wanted.url, _events(wanted.events), secret, request.user.subject
    )
    if added is None:
        raise Problem(TOO_MANY_WEBHOOKS, f"There are {store.WEBHOOKS_LIMIT} webhooks already.")
    return answer(_with_secret(added, secret), 201)


def _check(request: Call, url: str) -> None:
    node: Node = request.app.state.node
    wrong = mistake_in(url, allow_private=node.settings.webhooks_allow_private)
    if wrong is not None:
        raise invalid_field("url", wrong)


def _events(events: tuple[s.EventType, ...]) -> list[str]:
    return list(dict.fromkeys(events))


@endpoint(
    "GET",
    "/admin/webhooks",
    tag=TAG,
    summary="Webhooks, the newest first.",
    guard=WATCHERS,
    query=PAGE,
    answers={200: list[a.WebhookView]},
)
async def list_webhooks(request: Call) -> ASGIResponse:
    asked = PAGE.of(request)
    node: Node = request.app.state.node
    before = BY_ID.key(asked.cursor)
    found = await store.read_webhooks(node.database.pool, before[0] if before is not None else None, asked.limit + 1)
    return answer(BY_ID.page(found, asked.limit, lambda row: (row.id,), webhook_view))


def webhook_view(row: store.WebhookRow) -> a.WebhookView:
    """The view of a webhook."""
    return a.WebhookView(
        row.id,
        row.url,
        row.events,
        row.active,
        row.created_by,
        instant(row.created_at),
        instant_or_none(row.previous_secret_until),
    )


def _with_secret(row: store.WebhookRow, secret: str) -> a.WebhookWithSecret:
    return a.WebhookWithSecret(**msgspec.structs.asdict(webhook_view(row)), secret=secret)


@endpoint(
    "PATCH",
    "/admin/webhooks/{webhook_id:str}",
    tag=TAG,
    summary="Change a webhook: its address, what it is told of, whether it is told anything.",
    guard=ADMIN,
    body=CHANGE,
    answers={200: a.WebhookView},
)
async def change_webhook(request: Call, webhook_id: FromPath[str]) -> ASGIResponse:
    wanted = await CHANGE.of(request)
    node: Node = request.app.state.node
    if wanted.url is not None:
        _check(request, wanted.url)
    events = _events(wanted.events) if wanted.events is not None else None
    changed = await store.change_webhook(node.database.pool, id_in_path(webhook_id), wanted.url, events, wanted.active)
    if changed is None:
        raise not_found()
    node.notify.outbox.look()
    return answer(webhook_view(changed))


@endpoint(
    "DELETE",
    "/admin/webhooks/{webhook_id:str}",
    tag=TAG,
    summary="Remove a webhook. What it was not told yet, it never will be.",
    guard=ADMIN,
    answers={204: None},
)
async def remove_webhook(request: Call, webhook_id: FromPath[str]) -> ASGIResponse:
    node: Node = request.app.state.node
    if not await store.remove_webhook(node.database.pool, id_in_path(webhook_id)):
        raise not_found()
    return no_content()


@endpoint(
    "POST",
    "/admin/webhooks/{webhook_id:str}/rotate-secret",
    tag=TAG,
    summary="A new secret, shown this once. For 24 hours messages are signed with the old one too.",
    guard=ADMIN,
    answers={200: a.WebhookWithSecret},
)
async def rotate_secret(request: Call, webhook_id: FromPath[str]) -> ASGIResponse:
    node: Node = request.app.state.node
    secret = _new_secret()
    row = await store.rotate_secret(node.database.pool, id_in_path(webhook_id), secret)
    if row is None:
        raise not_found()
    return answer(_with_secret(row, secret))


@endpoint(
    "GET",
    "/admin/webhooks/{webhook_id:str}/deliveries",
    tag=TAG,
    summary="The messages of a webhook, the newest first, each with its attempts.",
    guard=WATCHERS,
    query=MESSAGES,
    answers={200: list[a.WebhookMessageView]},
)
async def list_messages(request: Call, webhook_id: FromPath[str]) -> ASGIResponse:
    asked = MESSAGES.of(request)
    node: Node = request.app.state.node
    before = BY_NUMBER.key(asked.cursor)
    found = await store.read_posts(
        node.database.pool,
        id_in_path(webhook_id),
        before[0] if before is not None else None,
        asked.status if asked.status is not UNSET else None,
        asked.limit + 1,
    )
    if found is None:
        raise not_found()
    return answer(BY_NUMBER.page(found, asked.limit, lambda row: (row.seq,), message_view))


def message_view(row: store.PostRow) -> a.WebhookMessageView:
    """The view of a message."""
    over = row.delivered_at is not None or row.parked_at is not None
    tried = [_attempts.decode(attempt) for attempt in row.attempts_made]
    return a.WebhookMessageView(
        row.id,
        row.webhook_id,
        row.type,
        "delivered" if row.delivered_at is not None else "parked" if row.parked_at is not None else "pending",
        instant(row.created_at),
        row.attempts,
        None if over else instant(row.next_attempt_at),
        instant_or_none(row.delivered_at),
        instant_or_none(row.parked_at),
        row.last_status,
        row.last_error,
        [a.WebhookAttemptView(t.attempt, instant(t.at), t.status, t.ms, t.error) for t in tried],
    )


@endpoint(
    "POST",
    "/admin/webhook-deliveries/{message_id:str}/redeliver",
    tag=TAG,
    summary="Send a message (again) now, whatever became of it; it keeps its id and is tried for a day.",
    guard=ADMIN,
    answers={200: a.WebhookMessageView},
    refusals=(WEBHOOK_NOT_ACTIVE,),
)
async def redeliver(request: Call, message_id: FromPath[str]) -> ASGIResponse:
    node: Node = request.app.state.node
    known = id_in_path(message_id)
    sent = await store.redeliver(node.database.pool, known)
    row = await store.read_post(node.database.pool, known)
    if row is None:
        raise not_found()
    if not sent:
        raise Problem(WEBHOOK_NOT_ACTIVE, "The webhook of this message is not active.")
    node.notify.outbox.look()
    return answer(message_view(row))


HANDLERS: Final[list[HTTPRouteHandler]] = [
    add_webhook,
    list_webhooks,
    change_webhook,
    remove_webhook,
    rotate_secret,
    list_messages,
    redeliver,
]
