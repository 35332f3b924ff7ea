"""The webhook messages of a batch's events: rows of the outbox, saved with the events in one transaction.

The saving statement chooses the webhooks for each message. Without webhooks, a batch creates no rows.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

from server.contract.views import DeliveryView, delivery_view, instant, to_json
from server.dispatch import events as e
from server.dispatch.model import Actor
from server.dispatch.world import World

PUBLISHED: Final = (
    e.DeliveryCreated,
    e.DeliveryAssigned,
    e.DeliveryArrived,
    e.DeliveryPickedUp,
    e.DeliveryDelivered,
    e.DeliveryReleased,
    e.DeliveryFailed,
    e.DeliveryReturning,
    e.DeliveryReturned,
    e.LateReport,
    e.DeliveryChanged,
    e.DeliveryRestored,
    e.DeliveryRetried,
    e.DeliveryAtRisk,
    e.DeliveryRecovered,
    e.DeliveryCancelled,
    e.DeliveryReassigned,
    e.DeliveryEscalated,
    e.OfferCreated,
    e.OfferAccepted,
    e.OfferRejected,
    e.OfferExpired,
    e.OfferWithdrawn,
    e.AvailabilityChanged,
    e.TicketCreated,
    e.AlertRaised,
    e.AlertResolved,
)
REPORT: Final = "report.day"
"""The type of the report of a day, which no event causes."""
TYPES: Final = (*(kind.type for kind in PUBLISHED), REPORT)
"""The types of events for webhooks."""
EVERYTHING: Final = "*"
"""In a webhook's `events`: all types, including future ones."""

RETRY_HOURS: Final = 24
"""How long a message is tried before it is parked."""


class Happened(Struct, frozen=True, rename="camel"):
    """An event as in timelines, with the ids of its subjects, and the delivery as of the commit."""

    at: str
    type: str
    actor: Actor
    data: dict[str, Any]
    delivery_id: str | UnsetType = UNSET
    driver_id: str | UnsetType = UNSET
    offer_id: str | UnsetType = UNSET
    assignment_id: str | UnsetType = UNSET
    delivery: DeliveryView | UnsetType = UNSET


class WebhookBody(Struct, frozen=True):
    """The body of a webhook message without its id, which each webhook has separately."""

    type: str
    timestamp: str
    data: Happened


class WebhookMessage(Struct, frozen=True):
    """The webhook message of an event. Messages with the same `key` are sent in the order of `seq`."""

    seq: int
    key: str
    type: str
    body: str


def webhook_messages(
    events: Iterable[e.Event], world: World, tracking_url: Callable[[str], str | None] = lambda _: None
) -> list[WebhookMessage]:
    """The rows of a batch, in order; `world` is as the events left it. `tracking_url` makes the customer's link to a
    delivery.
    """
    views: dict[str, DeliveryView] = {}
    rows = []
    for seq, event in enumerate(events):
        if isinstance(event, PUBLISHED):
            rows.append(WebhookMessage(seq, _key(event), event.type, _body(event, world, views, tracking_url)))
    return rows


def _key(event: e.Event) -> str:
    if isinstance(event, e.AlertRaised | e.AlertResolved):
        return event.alert.id
    key = event.delivery_id or event.driver_id
    assert key is not None
    return key


def _body(
    event: e.Event, world: World, views: dict[str, DeliveryView], tracking_url: Callable[[str], str | None]
) -> str:
    at = instant(event.at)
    view: DeliveryView | UnsetType = UNSET
    if event.delivery_id is not None:
        known = views.get(event.delivery_id)
        if known is None:
            known = delivery_view(
                world.locked_delivery(event.delivery_id), world.policy, tracking_url=tracking_url(event.delivery_id)
            )
            views[event.delivery_id] = known
        view = known
    happened = Happened(
        at,
        event.type,
        event.actor,
        event.data(),
        event.delivery_id or UNSET,
        event.driver_id or UNSET,
        event.offer_id or UNSET,
        event.assignment_id or UNSET,
        view,
    )
    return to_json(WebhookBody(event.type, at, happened))
