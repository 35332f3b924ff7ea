"""The responses of the webhook API."""

from typing import Literal

from server.web.api.answers import Id, InstantText, ResponseBody


class WebhookView(ResponseBody, frozen=True):
    """A webhook, without its secret. Until `previousSecretUntil` messages also carry a signature by the old secret."""

    id: Id
    url: str
    events: list[str]
    active: bool
    created_by: str | None
    created_at: InstantText
    previous_secret_until: InstantText | None


class WebhookWithSecret(WebhookView, frozen=True, kw_only=True):
    """A webhook with its new secret. Only this response contains the secret."""

    secret: str


class WebhookWithStatusView(WebhookView, frozen=True, kw_only=True):
    """A webhook with its delivery status: messages that wait, since when the oldest waits, and parked messages; of the
    last attempts (at most 60) how many the receiver answered with 2xx (`taken`), and their median latency (`ms`).
    """

    waiting: int
    waiting_since: InstantText | None
    parked: int
    attempts: int
    taken: int
    ms: int | None


class Redelivered(ResponseBody, frozen=True):
    """How many messages will be sent again."""

    redelivered: int


class WebhookAttemptView(ResponseBody, frozen=True):
    """An attempt to send a message: the HTTP status of the response, or the error."""

    attempt: int
    at: InstantText
    status: int | None
    ms: int
    error: str | None


class WebhookMessageView(ResponseBody, frozen=True):
    """A message for a webhook; `id` is the `webhook-id` of every attempt. `log` has the newest attempts first."""

    id: Id
    webhook_id: Id
    type: str
    status: Literal["pending", "delivered", "parked"]
    created_at: InstantText
    attempts: int
    next_attempt_at: InstantText | None
    delivered_at: InstantText | None
    parked_at: InstantText | None
    last_status: int | None
    last_error: str | None
    log: list[WebhookAttemptView]
