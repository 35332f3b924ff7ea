"""What is sent to a webhook: the body, and the headers with its signature (Standard Webhooks)."""

from datetime import datetime
from functools import lru_cache
from typing import Final

from standardwebhooks import Webhook

from server.store.queues.webhook_queue import DueMessage

AGENT: Final = "Callboard-Webhooks/1"


def webhook_body(message: DueMessage) -> str:
    """The whole body: the id of the message before what was stored of it."""
    return f'{{"id":"{message.id}",{message.body[1:]}'


def webhook_headers(message: DueMessage, at: datetime, body: str) -> dict[str, str]:
    """The headers of Standard Webhooks, sent `at` by the database's clock. For a day after a rotation both secrets
    sign.
    """
    signatures = _signer(message.secret).sign(message.id, at, body)
    if message.previous_secret is not None:
        signatures += " " + _signer(message.previous_secret).sign(message.id, at, body)
    return {
        "content-type": "application/json",
        "user-agent": AGENT,
        "webhook-id": message.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signatures,
    }


@lru_cache(maxsize=128)
def _signer(secret: str) -> Webhook:
    return Webhook(secret)
