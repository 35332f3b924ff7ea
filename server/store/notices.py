"""What people in ops are to be told by name of an event: the rows of `notices`, saved with the events."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from server.dispatch import events as e
from server.dispatch.effects import NOTIFYING
from server.dispatch.model import Alert
from server.dispatch.world import World
from server.ids import new_id

Severity = Literal["info", "warning", "critical"]

CRITICAL: Final = "notify_critical"


class NoticeRow(Struct, frozen=True):
    """What of a notice is known when it is made. `link` is a path on the board."""

    id: str
    kind: str
    severity: Severity
    zone: str
    delivery_id: str | None
    alert_id: str | None
    text: str
    link: str
    created_at: datetime


def noteworthy(event: e.Event) -> bool:
    """Whether a notice is made of this event."""
    if isinstance(event, e.DeliveryEscalated):
        return not NOTIFYING.isdisjoint(event.actions)
    return isinstance(event, e.AlertRaised | e.AlertResolved)


def notice_rows(events: Iterable[e.Event], world: World) -> list[NoticeRow]:
    """The notices of a batch: levels of escalation that say so, alerts raised and resolved."""
    rows = []
    for event in events:
        match event:
            case e.DeliveryEscalated() if NOTIFYING.intersection(event.actions):
                rows.append(_escalated(event, world))
            case e.AlertRaised(alert=alert):
                rows.append(_alert(alert, event.type, "warning", told(alert, alert.value), event.at))
            case e.AlertResolved(alert=alert, value=value):
                rows.append(_alert(alert, event.type, "info", f"Over: {told(alert, value)}", event.at))
            case _:
                pass
    return rows


def _escalated(event: e.DeliveryEscalated, world: World) -> NoticeRow:
    assert event.delivery_id is not None
    delivery = world.locked_delivery(event.delivery_id)
    minutes = event.minutes_since_creation
    ending = ", and is cancelled" if "cancel" in event.actions else ""
    return NoticeRow(
        new_id(),
        event.type,
        "critical" if CRITICAL in event.actions else "warning",
        delivery.zone,
        delivery.id,
        None,
        f"Order {delivery.seller_order_id} of {delivery.store_name} (zone {delivery.zone}) has no driver,"
        f" {minutes} min after it was made (level {event.level}){ending}.",
        f"/admin/unassigned-orders/{delivery.id}",
        event.at,
    )


def told(alert: Alert, value: float) -> str:
    """The number of an alert as a sentence."""
    if alert.kind == "rejected_share":
        return f"Zone {alert.zone}: {value:.0%} of offers are rejected (threshold {alert.threshold:.0%})."
    orders = "order is" if value == 1 else "orders are"
    return f"Zone {alert.zone}: {value:g} {orders} without a driver (threshold {alert.threshold:g})."


def _alert(alert: Alert, kind: str, severity: Severity, text: str, at: datetime) -> NoticeRow:
    return NoticeRow(new_id(), kind, severity, alert.zone, None, alert.id, text, "/board", at)
