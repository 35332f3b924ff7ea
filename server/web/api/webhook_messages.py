"""The HTTP API of webhook messages: the log with all attempts, sending again, test messages."""

from server.contract.views import instant
from server.notify.webhook_trial import try_out
from server.store.queues import webhook_log
from server.web.access.guards import ADMIN, VIEWERS
from server.web.api import schemas as s
from server.web.api import webhook_answers as a
from server.web.api.answers import view
from server.web.api.endpoint import PathId, endpoint, given
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import WEBHOOK_NOT_ACTIVE, Problem, existing, not_found
from server.web.http.paging import BY_NUMBER, Page


@endpoint(
    "GET /admin/webhooks/{webhook_id}/deliveries",
    "List the messages of a webhook with their attempts, newest first.",
    VIEWERS,
)
async def list_messages(request: Call, webhook_id: PathId, query: s.WebhookMessagesQuery) -> Page[a.WebhookMessageView]:
    found = existing(
        await webhook_log.read_messages(
            pool_of(request), webhook_id, BY_NUMBER.only(query.cursor), given(query.status), query.limit + 1
        )
    )
    return BY_NUMBER.page(found, query.limit, lambda row: (row.seq,), message_view)


def message_view(row: webhook_log.LoggedMessage) -> a.WebhookMessageView:
    over = row.delivered_at is not None or row.parked_at is not None
    return view(
        a.WebhookMessageView,
        row,
        next_attempt_at=None if over else instant(row.next_attempt_at),
        log=[view(a.WebhookAttemptView, attempt) for attempt in row.made],
    )


@endpoint(
    "POST /admin/webhook-deliveries/{message_id}/redeliver",
    "Send a message again now, whatever its status. It keeps its id and is retried for 24 hours.",
    ADMIN,
    WEBHOOK_NOT_ACTIVE,
)
async def redeliver(request: Call, message_id: PathId) -> a.WebhookMessageView:
    return message_view(await sent_again(request, message_id))


async def sent_again(request: Call, message_id: str) -> webhook_log.LoggedMessage:
    """Send a message again now, and return it. Raises 404, 409 or DatabaseAway."""
    node = node_of(request)
    sent = await webhook_log.redeliver(node.database.pool, message_id)
    if sent is None:
        existing(await webhook_log.read_message(node.database.pool, message_id))
        raise Problem(WEBHOOK_NOT_ACTIVE, "The webhook of this message is not active.")
    node.webhooks.look(sent.webhook_id)
    return sent


@endpoint(
    "POST /admin/webhooks/{webhook_id}/redeliver-parked",
    "Send all parked messages of a webhook again, in their order. Each is retried for 24 hours.",
    ADMIN,
    WEBHOOK_NOT_ACTIVE,
)
async def redeliver_parked(request: Call, webhook_id: PathId) -> a.Redelivered:
    return a.Redelivered(await all_parked_again(request, webhook_id))


async def all_parked_again(request: Call, webhook_id: str) -> int:
    """Send parked messages again; returns how many. Raises 404, 409 for an inactive webhook, or DatabaseAway."""
    node = node_of(request)
    found = await webhook_log.read_webhook_status(node.database.pool, webhook_id)
    if not found:
        raise not_found()
    if not found[0].active:
        raise Problem(WEBHOOK_NOT_ACTIVE, "The webhook is not active.")
    count = await webhook_log.redeliver_parked(node.database.pool, webhook_id)
    node.webhooks.look(webhook_id)
    return count


@endpoint(
    "POST /admin/webhooks/{webhook_id}/test",
    "Send a message of the type `webhook.test` now, even if the webhook is inactive, and wait for the result.",
    ADMIN,
)
async def test_webhook(request: Call, webhook_id: PathId) -> a.WebhookMessageView:
    return message_view(await tested(request, webhook_id))


async def tested(request: Call, webhook_id: str) -> webhook_log.LoggedMessage:
    """Send a test message now, and return it. Raises 404 or DatabaseAway."""
    node = node_of(request)
    message_id = await try_out(node.database.pool, node.webhooks, webhook_id, request.user.actor)
    return existing(await webhook_log.read_message(node.database.pool, message_id) if message_id is not None else None)
