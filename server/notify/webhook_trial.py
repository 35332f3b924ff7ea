"""The test of a webhook: one signed message, sent at once by the node that got the request, before all waiting
messages.

It is in the log like any other message, and is never retried automatically. A receiver that answers that it is gone
stops its webhook, as with any other message.
"""

from datetime import datetime

import structlog

from server.contract.views import instant, to_json
from server.contract.webhook_events import Happened, WebhookBody
from server.dispatch.model import Actor
from server.ids import new_id
from server.notify.webhook_outbox import GONE, Outbox
from server.notify.webhook_signature import webhook_body, webhook_headers
from server.store.connections import Pool
from server.store.query import database_errors
from server.store.queues.webhook_log import TEST, keep_test, to_test
from server.store.queues.webhook_queue import Attempt, switch_off

log = structlog.get_logger(__name__)


async def try_out(pool: Pool, outbox: Outbox, webhook_id: str, actor: Actor) -> str | None:
    """Send a test message and wait for the result: returns its id, or None if there is no such webhook.

    If the receiver accepts it, the messages that wait for it are sent at once. Raises DatabaseAway.
    """

    def body_at(at: datetime) -> str:
        return to_json(WebhookBody(TEST, instant(at), Happened(instant(at), TEST, actor, {"webhookId": webhook_id})))

    message = await to_test(pool, webhook_id, new_id(), body_at)
    if message is None:
        return None
    body = webhook_body(message)
    result = await outbox.sender.post(message.url, body.encode(), webhook_headers(message, message.at, body))
    with database_errors():
        await keep_test(pool, message, Attempt(message.at, result.status, result.ms, result.error))
        if result.status == GONE and await switch_off(pool, webhook_id, new_id()):
            log.warning("webhook_switched_off", webhookId=webhook_id)
    if result.error is None:
        outbox.look(webhook_id)
    return message.id
