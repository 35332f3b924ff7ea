"""The responses of the HTTP API that are not views of `server.contract.views`."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from server.contract.views import (
    AssignmentView,
    DeliveryView,
    DrivenAssignmentView,
    DriverView,
    OfferView,
    RiskView,
    instant,
)
from server.dispatch.model import ActorType, Availability, DeliveryStatus, EscalationStatus, Nearest, RiskCode

Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
InstantText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class ResponseBody(Struct, frozen=True, rename="camel"):
    """The body of a response."""


View = TypeVar("View", bound=ResponseBody)


def view(kind: type[View], row: Struct, **more: object) -> View:
    """The view of a row: its fields with the same names, times as text. `more` has the other fields of the view."""
    given = {name: getattr(row, name) for name in kind.__struct_fields__ if name not in more}
    return kind(**more, **{name: instant(it) if isinstance(it, datetime) else it for name, it in given.items()})


class OfferStarted(ResponseBody, frozen=True):
    """The open offer."""

    offer_id: Id
    driver_id: Id
    expires_at: InstantText


class NotChosen(ResponseBody, frozen=True):
    """A driver that the search does not choose, the reason, and the straight distance to the pickup."""

    driver_id: Id
    reason: str
    distance_km: float | None = None


class CandidatesView(ResponseBody, frozen=True):
    """The driver that a search would choose now, and the others with reasons, nearest first. If no driver can get an
    offer: `reason`, and `nearest`, the nearest driver outside the radius or the zone, if that is why.
    """

    taken: Id | None
    not_taken: list[NotChosen]
    reason: Annotated[str | None, Meta(description="Why no driver can get an offer now")]
    nearest: Nearest | None


class ShapeView(ResponseBody, frozen=True):
    """A shape as GeoJSON: longitude first."""

    type: Literal["Polygon", "MultiPolygon"]
    coordinates: list[Any]


class ZoneView(ResponseBody, frozen=True):
    """The description of a zone. Deliveries and drivers use the spelling `key`."""

    key: str
    name: str
    shape: ShapeView | None
    helped_by: tuple[str, ...]
    area_km2: Annotated[float | None, Meta(description="The area of the shape")] = msgspec.field(name="areaKm2")
    changed_by: str | None
    changed_at: InstantText | None


class ActorView(ResponseBody, frozen=True):
    """Who caused the event."""

    type: ActorType
    id: str | None


class TimelineItem(ResponseBody, frozen=True):
    """An event of a delivery: `type` as in webhooks, details in `data`."""

    at: InstantText
    type: str
    actor: ActorView
    data: Raw
    driver_id: Id | UnsetType = UNSET
    offer_id: Id | UnsetType = UNSET
    assignment_id: Id | UnsetType = UNSET


class InvitationView(ResponseBody, frozen=True):
    """An invitation of a driver: a link with the code in its fragment, and the code itself. No other response contains
    the code.
    """

    url: str
    code: str
    expires_at: InstantText


class SignedInView(ResponseBody, frozen=True):
    """A driver who is signed in on a device: a token for calls and the socket, and the device token that renews it."""

    driver_id: Id
    token: str
    expires_at: InstantText
    device_token: str


class DeviceView(ResponseBody, frozen=True):
    """A phone or browser on which a driver is signed in, or was until `endedAt`. `lastSeenAt` is accurate to 5 min."""

    id: Id
    name: str
    created_at: InstantText
    last_seen_at: InstantText
    ended_at: InstantText | None
    ended_by: str | None
    end_reason: Literal["revoked", "signed_out", "token_reused", "unused", "deactivated"] | None


class OtherDeviceView(ResponseBody, frozen=True):
    """Another phone or browser that is in use as this driver, and since when. `name` is null if it has its token from a
    back end.
    """

    name: str | None
    since: InstantText


class DriverSessionView(ResponseBody, frozen=True):
    """What a phone shows before it connects: the driver, their deliveries in hand, and the other device in use, if any:
    one that connected last, and is connected or was within 12 hours.
    """

    driver: DriverView
    assignments: list[DrivenAssignmentView]
    other_device: OtherDeviceView | None


class TokenView(ResponseBody, frozen=True):
    """A token for a driver's app."""

    token: str
    expires_at: InstantText


class PushKeyView(ResponseBody, frozen=True):
    """The `applicationServerKey` for push subscriptions, in base64url."""

    key: str


class PushSubscriptionView(ResponseBody, frozen=True):
    """A browser that gets a push for each offer while the driver page is closed, until `expiresAt`, with the result of
    the last push (no `lastError`: the push service accepted it). `service` is the host of the endpoint.
    """

    id: Id
    service: str
    created_at: InstantText
    expires_at: InstantText
    last_at: InstantText | None
    last_status: int | None
    last_error: str | None


class PushSubscriptionsView(ResponseBody, frozen=True):
    """A driver's push subscriptions, newest first."""

    items: list[PushSubscriptionView]


class Done(ResponseBody, frozen=True):
    """The request succeeded."""

    success: Literal[True] = True


class AssignmentDone(ResponseBody, frozen=True):
    """The request succeeded; `assignment` is its result."""

    assignment: AssignmentView
    success: Literal[True] = True


class BreakView(ResponseBody, frozen=True):
    """The end of the break."""

    break_until: InstantText
    status: Literal["on_break"] = "on_break"


class PayTotal(ResponseBody, frozen=True):
    """Pay with tips, in minor units of a currency."""

    currency: str
    cents: int


class DriverPeriod(ResponseBody, frozen=True):
    """What a driver did since an instant. `withoutPay` deliveries have no known pay. On shift is the time in which they
    were available or paused; breaks are extra.
    """

    since: InstantText
    deliveries: int
    pay: list[PayTotal]
    without_pay: int
    on_shift_seconds: int
    break_seconds: int


class DriverNumbersView(ResponseBody, frozen=True):
    """A driver's own numbers of today and of the week since Monday, by the days of `timeZone`."""

    time_zone: str
    today: DriverPeriod
    week: DriverPeriod


class StatusView(ResponseBody, frozen=True):
    """The driver's current availability."""

    status: Availability


class HistoryItem(ResponseBody, frozen=True):
    """A change of availability."""

    from_state: Availability
    to_state: Availability
    reason: str | None
    actor_type: ActorType
    actor_id: str | None
    timestamp: InstantText


class AssignmentResult(ResponseBody, frozen=True):
    """The delivery with its new offer or new assignment; both null if a new search has started."""

    delivery: DeliveryView
    offer: OfferView | None
    assignment: AssignmentView | None
    success: Literal[True] = True


class UnassignedView(ResponseBody, frozen=True):
    """A delivery that waits for a driver, or waited for one."""

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
    nearest: Nearest | None


class AtRiskView(ResponseBody, frozen=True):
    """A delivery under way that may not arrive in time; `risk` is the worst of its `risks`."""

    delivery_id: Id
    seller_order_id: str
    store_name: str
    zone: str
    driver_id: Id
    risk: RiskCode
    risks: list[RiskView]
    risk_level: int
    acknowledged_by: str | None


class TicketView(ResponseBody, frozen=True):
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


class AlertView(ResponseBody, frozen=True):
    """An alert of a zone. `value` is the number that raised it, or for a resolved alert the last number. `currentValue`
    is the number now; null for a resolved alert, and when the server cannot read it.
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


class AlertDeliveryView(ResponseBody, frozen=True):
    """A delivery that contributes to an alert, and how many of its offers were rejected in the time window."""

    delivery_id: Id
    seller_order_id: str
    store_name: str
    status: DeliveryStatus
    rejections: int


class AlertDriverView(ResponseBody, frozen=True):
    """A driver who contributes to an alert: how many offers they rejected, and their most frequent reason."""

    driver_id: Id
    name: str
    rejections: int
    reason: str


class AlertWithReasons(AlertView, frozen=True, kw_only=True):
    """An alert with its causes, worst first: deliveries that wait, or drivers who rejected offers."""

    deliveries: list[AlertDeliveryView]
    drivers: list[AlertDriverView]


class StatsView(ResponseBody, frozen=True):
    """The metrics of a time window. Shares and times are null when there is no data."""

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
    unassigned_over5_min_share: Annotated[
        float | None, Meta(description="Share of the deliveries that were created in the time window")
    ]
    rejection_reasons: dict[str, int]


class ZoneForecastView(ResponseBody, frozen=True):
    """The forecast of a zone. `freeIn` are drivers who are busy or on a break and will be free within 5, 10 and 15
    minutes, `arrivingIn` scheduled and held deliveries that begin to wait within that time.
    """

    zone: str
    waiting: Annotated[int, Meta(description="Deliveries that wait for a driver now, without held ones")]
    held: Annotated[int, Meta(description="Deliveries that are held until their driver must leave")]
    free_now: Annotated[int, Meta(description="Drivers who can get an offer now")]
    free_in: dict[str, int]
    arriving_in: dict[str, int]
    minutes_to_clear: Annotated[
        int | None,
        Meta(description="Minutes until all that wait now have a driver, as far as any driver can get them"),
    ]
    reason: Annotated[str | None, Meta(description="Why no driver can get any of them")]


class ForecastView(ResponseBody, frozen=True):
    """The forecast of each zone that has drivers at work or deliveries, or of the zone that was asked for."""

    zones: list[ZoneForecastView]


class ApiKeyView(ResponseBody, frozen=True):
    """An API key, without its secret."""

    id: Id
    name: str
    prefix: str
    created_by: str | None
    created_at: InstantText
    last_used_at: InstantText | None
    revoked_at: InstantText | None
    seller_id: str | None


class NewApiKeyView(ResponseBody, frozen=True):
    """A new API key. Only this response contains the key."""

    id: Id
    name: str
    key: str
    prefix: str
    seller_id: str | None


class NoticeView(ResponseBody, frozen=True):
    """A notice and its status. `received` means: ops acknowledged it (or its subject), the webhook's receiver answered
    with 2xx, or the driver's app has it.
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


class ChatItem(ResponseBody, frozen=True):
    """A message to or from a driver. `seenAt`: when the driver saw a message of dispatch. `text` is null once it is
    erased.
    """

    id: Id
    text: str | None
    from_: str = msgspec.field(name="from")
    by_driver: bool
    at: InstantText
    seen_at: InstantText | None


class ProofId(ResponseBody, frozen=True):
    """The proof that was stored."""

    id: Id


class SaidView(ResponseBody, frozen=True):
    """The message that dispatch has got."""

    id: Id


class SentToAll(ResponseBody, frozen=True):
    """How many drivers got the message, and how many did not."""

    sent: int
    refused: int


class ErasedView(ResponseBody, frozen=True):
    """The number of rows changed. `later` counts deliveries under way: they are erased at their end. `filesLeft` counts
    photos that the S3-compatible store has not removed yet: Callboard tries again until it has. It is missing if the
    database failed right after the rows were erased.
    """

    deliveries: int
    events: int
    messages: int
    webhooks: int
    later: int
    files_left: int | UnsetType = UNSET


class ImportMistake(ResponseBody, frozen=True):
    """What is wrong with a row: the column, and the reason. `code` is `differs` if the same order or driver exists, and
    has another value, and `in_the_past`, `new_zone` or `repeats` of a warning.
    """

    column: str
    message: str
    code: Literal["differs", "in_the_past", "new_zone", "repeats"] | UnsetType = UNSET


class ImportRow(ResponseBody, frozen=True):
    """The result of a row. `line` is its number in the file, in which the header is 1. `id` is that of the delivery or
    driver, if there is one. `warnings` are no mistakes, such as a time in the past or a row that repeats another.
    """

    line: int
    ok: bool
    result: Literal["created", "unchanged", "failed"]
    errors: list[ImportMistake]
    id: Id | UnsetType = UNSET
    warnings: list[ImportMistake] = []


class ImportView(ResponseBody, frozen=True):
    """The results of all rows of a file, and how many there are of each."""

    rows: list[ImportRow]
    created: int
    unchanged: int
    failed: int
