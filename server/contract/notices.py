"""The texts of notices: to ops of escalations and alerts, to drivers of what others changed for them."""

from typing import Final, Literal

from msgspec import Struct

from server.contract.words import EVENTS, REASONS, RISKS, STATES, STATUSES, lower_first, words
from server.dispatch import events as e
from server.dispatch.driver_actions import PIN_TRIES
from server.dispatch.effects import NOTIFYING
from server.dispatch.model import Alert
from server.dispatch.world import World

Severity = Literal["info", "warning", "critical"]

CRITICAL: Final = "notify_critical"


class OpsNotice(Struct, frozen=True):
    """A notice to ops, of a delivery or of an alert."""

    severity: Severity
    zone: str
    text: str
    delivery_id: str | None = None
    alert_id: str | None = None
    driver_id: str | None = None


_FOR_OPS: Final = frozenset(
    {
        e.DeliveryEscalated, e.RiskEscalated, e.AlertRaised, e.AlertResolved, e.MessageSent, e.PinWrong, e.LateReport,
    }
)  # fmt: skip
"""Hardly any event is one of these, and every one that is committed is asked twice."""


_OF_THE_GOODS: Final = frozenset(
    kind.type for kind in (e.DeliveryPickedUp, e.DeliveryDelivered, e.DeliveryFailed, e.DeliveryReturning)
)
"""Late reports of these say where the goods are, which is not where the order says."""


def is_for_ops(event: e.Event) -> bool:
    if type(event) not in _FOR_OPS:
        return False
    match event:
        case e.MessageSent(message=message):
            return message.by_driver
        case e.PinWrong(tries=tries):
            return tries == PIN_TRIES
        case e.LateReport(what=what):
            return what in _OF_THE_GOODS
        case e.DeliveryEscalated() | e.RiskEscalated():
            return not NOTIFYING.isdisjoint(event.actions)
        case _:
            return True


def ops_notice(event: e.Event, world: World) -> OpsNotice | None:
    """The notice of a level of escalation that asks for one, of an alert raised or resolved, of a driver's message, of
    a PIN that is locked now, or of a late report about the goods; else None.
    """
    if type(event) not in _FOR_OPS:
        return None
    match event:
        case e.DeliveryEscalated() if is_for_ops(event):
            return _escalated(event, world)
        case e.RiskEscalated() if is_for_ops(event):
            return _at_risk(event, world)
        case e.MessageSent(message=message) if message.by_driver:
            driver = world.driver(message.driver_id)
            return OpsNotice("info", driver.zone, f"{driver.name} wrote to dispatch.", driver_id=driver.id)
        case e.PinWrong() | e.LateReport() if is_for_ops(event):
            return _of_the_job(event, world)
        case e.AlertRaised(alert=alert):
            return OpsNotice("warning", alert.zone, _number(alert, alert.value), alert_id=alert.id)
        case e.AlertResolved(alert=alert, value=value):
            return OpsNotice("info", alert.zone, f"Resolved. {_number(alert, value)}", alert_id=alert.id)
        case _:
            return None


def driver_notice(event: e.Event, world: World) -> str | None:
    """The notice to the event's driver, offers aside; None if they did it themselves, or if it is only about their
    connection.
    """
    if event.actor.type == "driver" and event.actor.id == event.driver_id:
        return None
    match event:
        case e.DeliveryAssigned():
            why = event.reason or ("auto-accepted" if event.assignment.source == "auto_accepted" else None)
            return _sentence(f"{_order(event, world)} assigned", why)
        case e.DeliveryReassigned():
            return _sentence(f"{_order(event, world)} reassigned from this driver", event.reason)
        case e.DeliveryCancelled():
            return _sentence(f"{_order(event, world)} cancelled", event.reason)
        case e.DeliveryReleased():
            return _sentence(f"{_order(event, world)} taken back from this driver", event.reason)
        case e.DeliveryChanged():
            return _sentence(f"{_order(event, world)} changed", None)
        case e.AvailabilityChanged() if event.reason != "connection_lost":
            return _sentence(f"Availability set to “{lower_first(words(STATES, event.to))}”", event.reason)
        case _:
            return None


def _escalated(event: e.DeliveryEscalated, world: World) -> OpsNotice:
    assert event.delivery_id is not None
    delivery = world.locked_delivery(event.delivery_id)
    ending = " The order is cancelled." if "cancel" in event.actions else ""
    return OpsNotice(
        "critical" if CRITICAL in event.actions else "warning",
        delivery.zone,
        f"{_order(event, world)} (zone {delivery.zone}) has no driver"
        f" {event.minutes_since_creation} min after it was created (level {event.level}).{ending}",
        delivery_id=delivery.id,
    )


def _at_risk(event: e.RiskEscalated, world: World) -> OpsNotice:
    assert event.delivery_id is not None
    delivery = world.locked_delivery(event.delivery_id)
    return OpsNotice(
        "critical" if CRITICAL in event.actions else "warning",
        delivery.zone,
        f"{_order(event, world)} (zone {delivery.zone}) is at risk:"
        f" {lower_first(words(RISKS, event.risk))} (level {event.level}).",
        delivery_id=delivery.id,
    )


def _of_the_job(event: e.PinWrong | e.LateReport, world: World) -> OpsNotice:
    assert event.delivery_id is not None
    assert event.driver_id is not None
    delivery, driver = world.locked_delivery(event.delivery_id), world.known_driver(event.driver_id)
    if isinstance(event, e.PinWrong):
        text = f"{driver.name} typed {event.tries} wrong PINs, so the PIN is locked."
    else:
        now = _NOW.get(event.now_with) or f"Status of the order: {lower_first(words(STATUSES, delivery.status))}."
        text = f"late report by {driver.name}: {lower_first(words(EVENTS, event.what))}. {now}"
    return OpsNotice("warning", delivery.zone, f"{_order(event, world)}: {text}", delivery_id=delivery.id)


_NOW: Final = {"another_driver": "Another driver has the order.", "nobody": "The order waits for a driver."}


def _number(alert: Alert, value: float) -> str:
    if alert.kind == "rejected_share":
        return f"Zone {alert.zone}: {value:.0%} of offers are rejected (threshold {alert.threshold:.0%})."
    orders = "order is" if value == 1 else "orders are"
    return f"Zone {alert.zone}: {value:g} {orders} without a driver (threshold {alert.threshold:g})."


def _order(event: e.Event, world: World) -> str:
    assert event.delivery_id is not None
    delivery = world.locked_delivery(event.delivery_id)
    return f"Order {delivery.seller_order_id} of {delivery.store_name}"


def _sentence(what: str, reason: str | None) -> str:
    why = words(REASONS, reason).rstrip(".")
    return f"{what}: {lower_first(why)}." if why else f"{what}."
