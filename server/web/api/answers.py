"""The answers of the HTTP API that are no views of `server.contract.views`."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from server.contract.views import AssignmentView, DeliveryView, OfferView
from server.dispatch.model import ActorType, Availability, DeliveryStatus, EscalationStatus

Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
InstantText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class Told(Struct, frozen=True, rename="camel"):
    """An answer's body."""


class OfferStarted(Told, frozen=True):
    """The offer that stands."""

    offer_id: Id
    driver_id: Id
    expires_at: InstantText


class NotTaken(Told, frozen=True):
    """A driver who was not picked, and why."""

    driver_id: Id
    reason: str


class CandidatesView(Told, frozen=True):
    """Who would be picked now, and who not, nearest first."""

    taken: Id | None
    not_taken: list[NotTaken]


class ActorView(Told, frozen=True):
    """Who did it."""

    type: ActorType
    id: str | None


class TimelineItem(Told, frozen=True):
    """One event of a delivery; `type` as in webhooks, reasons in `data`."""

    at: InstantText
    type: str
    actor: ActorView
    data: Raw
    driver_id: Id | UnsetType = UNSET
    offer_id: Id | UnsetType = UNSET
    assignment_id: Id | UnsetType = UNSET


class TokenView(Told, frozen=True):
    """A driver's token."""

    token: str
    expires_at: InstantText


class PushKeyView(Told, frozen=True):
    """The key that browsers subscribe to, as `applicationServerKey` in base64url."""

    key: str


class PushSubscriptionView(Told, frozen=True):
    """A browser that is told of offers while its app is closed, until `expiresAt`, and how the last message fared:
    without `lastError` the push service took it. Of the endpoint only the service is shown.
    """

    id: Id
    service: str
    created_at: InstantText
    expires_at: InstantText
    last_at: InstantText | None
    last_status: int | None
    last_error: str | None


class PushSubscriptionsView(Told, frozen=True):
    """A driver's subscriptions, the newest first."""

    items: list[PushSubscriptionView]


class Done(Told, frozen=True):
    """It is done."""

    success: Literal[True] = True


class DoneWithAssignment(Told, frozen=True):
    """It is done, and this is the assignment now."""

    assignment: AssignmentView
    success: Literal[True] = True


class BreakView(Told, frozen=True):
    """On a break until then."""

    break_until: InstantText
    status: Literal["on_break"] = "on_break"


class StatusView(Told, frozen=True):
    """The driver's availability now."""

    status: Availability


class HistoryItem(Told, frozen=True):
    """One change of availability."""

    from_state: Availability
    to_state: Availability
    reason: str | None
    actor_type: ActorType
    actor_id: str | None
    timestamp: InstantText


class Moved(Told, frozen=True):
    """What a person's assigning led to: an offer, or an assignment at once."""

    delivery: DeliveryView
    offer: OfferView | None
    assignment: AssignmentView | None
    success: Literal[True] = True


class UnassignedView(Told, frozen=True):
    """A delivery's wait for a driver."""

    delivery_id: Id
    seller_order_id: str
    store_name: str
    zone: str
    failure_reason: str
    first_attempt_at: InstantText
    last_attempt_at: InstantText
    attempt_count: int
    escalation_level: int
    escalation_status: EscalationStatus
    next_escalation_at: InstantText | None
    support_ticket_id: Id | None
    acknowledged_by: str | None
    acknowledged_at: InstantText | None
    acknowledgement_note: str | None


class TicketView(Told, frozen=True):
    """A support ticket."""

    id: Id
    type: str
    priority: str
    title: str
    description: str
    delivery_id: Id
    zone: str
    action_url: str
    status: str
    created_at: InstantText


class AlertView(Told, frozen=True):
    """A zone's number that was worth waking somebody. `value` is the one that raised it, or the last one of one that is
    resolved; `currentValue` is the number now, null for one that is resolved and where it cannot be read.
    """

    id: Id
    kind: str
    zone: str
    value: float
    threshold: float
    raised_at: InstantText
    resolved_at: InstantText | None
    acknowledged_by: str | None
    acknowledged_at: InstantText | None
    current_value: float | None


class DeliveryBehindView(Told, frozen=True):
    """A delivery behind an alert; how often it was rejected in the window."""

    delivery_id: Id
    seller_order_id: str
    store_name: str
    status: DeliveryStatus
    rejections: int


class DriverBehindView(Told, frozen=True):
    """A driver behind an alert: offers that they did not take, and the reason given most often."""

    driver_id: Id
    name: str
    rejections: int
    reason: str


class AlertWithReasons(AlertView, frozen=True, kw_only=True):
    """An alert and what is behind it, the worst first: deliveries that wait, or offers that were rejected."""

    deliveries: list[DeliveryBehindView]
    drivers: list[DriverBehindView]


class StatsView(Told, frozen=True):
    """The numbers of a window; shares and times are null while there is nothing to divide by."""

    window_minutes: int
    zone: str | None
    offers_sent: int
    accepted: int
    auto_accepted: int
    rejected: int
    expired: int
    withdrawn: int
    acceptance_rate: float | None
    rejected_share: float | None
    response_ms_avg: float | None
    response_ms_p50: float | None
    response_ms_p95: float | None
    deliveries_created: int
    deliveries_delivered: int
    deliveries_cancelled: int
    unassigned_now: int
    unassigned_over5_min_share: Annotated[float | None, Meta(description="of deliveries created in the window")]
    rejection_reasons: dict[str, int]


class ApiKeyView(Told, frozen=True):
    """An API key, without the key itself."""

    id: Id
    name: str
    prefix: str
    created_by: str | None
    created_at: InstantText
    last_used_at: InstantText | None
    revoked_at: InstantText | None
    seller_id: str | None


class NewApiKeyView(Told, frozen=True):
    """A new API key: the only time that it is shown."""

    id: Id
    name: str
    key: str
    prefix: str
    seller_id: str | None


class NoticeView(Told, frozen=True):
    """Who was told what, and what became of it. `received`: somebody in ops acknowledged it (or what it is about), a
    webhook's receiver took it, a driver's app confirmed it or is known to have it.
    """

    id: Id
    to: Literal["ops", "customer", "driver"]
    kind: str
    severity: Literal["info", "warning", "critical"]
    zone: str | None
    delivery_id: Id | None
    driver_id: Id | None
    alert_id: Id | None
    webhook_id: Id | None
    text: str
    link: str | None
    status: Literal["pending", "sent", "received", "failed"]
    channel: str | None
    created_at: InstantText
    sent_at: InstantText | None
    received_at: InstantText | None
    failed_at: InstantText | None
    attempts: int
    last_error: str | None
    acknowledged_by: str | None
