"""The answers of the API of webhooks."""

from typing import Literal

from server.web.api.answers import Told
from server.web.api.schemas import Id, InstantText


class WebhookView(Told, frozen=True):
    """A webhook, without its secret. Until `previousSecretUntil` messages are signed with the old secret too."""

    id: Id
    url: str
    events: list[str]
    active: bool
    created_by: str | None
    created_at: InstantText
    previous_secret_until: InstantText | None


class WebhookWithSecret(WebhookView, frozen=True, kw_only=True):
    """A webhook with a new secret: the only time that it is shown."""

    secret: str


class WebhookFaresView(WebhookView, frozen=True, kw_only=True):
    """A webhook and how it fares: messages that wait and since when the oldest does, those parked, and of the last
    attempts (60 at most) how many the receiver took, with their median latency.
    """

    waiting: int
    waiting_since: InstantText | None
    parked: int
    attempts: int
    taken: int
    ms: int | None


class Redelivered(Told, frozen=True):
    """How many messages are sent again."""

    redelivered: int


class WebhookAttemptView(Told, frozen=True):
    """One try to deliver a message: the status of the answer, or why there was none."""

    attempt: int
    at: InstantText
    status: int | None
    ms: int
    error: str | None


class WebhookMessageView(Told, frozen=True):
    """A message for a webhook; its id is the `webhook-id` of every attempt. The newest attempts come first."""

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
