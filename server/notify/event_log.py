"""The log lines of dispatch: one line for each event, under the names that the contract promises.

Only ids: no names, no addresses, no tokens. `log_format` says how lines are written.
"""

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

import structlog

from server.contract.commit import Committed
from server.contract.views import instant
from server.dispatch import events as e

WIDE_SEARCH: Final = "widen_search"
LOUDEST: Final = frozenset({"notify_critical", "cancel"})

LOUD: Final = (
    e.DeliveryEscalated,
    e.AlertRaised,
    e.DeliveryReleased,
    e.DeliveryFailed,
    e.DeliveryReturning,
    e.PinWrong,
    e.LateReport,
    e.DeliveryAtRisk,
    e.RiskEscalated,
)
"""Events that are logged above `info`."""

log = structlog.get_logger("callboard.dispatch")

Fields = dict[str, Any]
Line = tuple[str, str, Fields]
"""The level as a method of a logger, the name of the line, its fields."""


def _offer_created(event: e.OfferCreated) -> Line:
    fields = {"attempt": event.offer.attempt, "expiresAt": instant(event.offer.expires_at)}
    return "info", "offer_created", fields if event.reason is None else {**fields, "reason": event.reason}


def _availability_changed(event: e.AvailabilityChanged) -> Line:
    fields: Fields = {"from": event.from_, "to": event.to, "reason": event.reason}
    if event.until is not None:
        fields["durationSeconds"] = round((event.until - event.at).total_seconds())
    return "info", "availability_changed", fields


def _escalated(event: e.DeliveryEscalated) -> Line:
    """The ladder is data: the loudest thing a level does names its line, not its number or its minutes."""
    fields = {"level": event.level, "minutesSinceCreation": event.minutes_since_creation}
    if LOUDEST.intersection(event.actions):
        return "error", "unassigned_order_30min", fields
    if WIDE_SEARCH in event.actions:
        return "warning", "unassigned_order_wide_search", fields
    return "warning", "unassigned_order_5min", fields


Alerted = TypeVar("Alerted", e.AlertRaised, e.AlertResolved, e.AlertAcknowledged)


def _alert(name: str, level: str, value: Callable[[Alerted], float]) -> Callable[[Alerted], Line]:
    def line(event: Alerted) -> Line:
        a = event.alert
        fields = {"alertId": a.id, "kind": a.kind, "zone": a.zone, "value": value(event), "threshold": a.threshold}
        return level, name, fields

    return line


def _risk_escalated(event: e.RiskEscalated) -> Line:
    level = "error" if LOUDEST.intersection(event.actions) else "warning"
    return level, "delivery_risk_escalated", {"risk": event.risk, "level": event.level}


def _zone_changed(event: e.ZoneChanged) -> Line:
    return "info", "zone_changed", {"zone": event.zone.key, "helpedBy": [*event.zone.helped_by]}


def _zone_removed(event: e.ZoneRemoved) -> Line:
    return "info", "zone_removed", {"zone": event.key}


def _policy_changed(event: e.PolicyChanged) -> Line:
    return "info", "policy_changed", {"version": event.policy.version, "reason": event.reason}


def _plain(name: str, level: str = "info", *fields: tuple[str, str]) -> Callable[[e.Event], Line]:
    def line(event: e.Event) -> Line:
        return level, name, {wire: getattr(event, field) for wire, field in fields}

    return line


REASON: Final = ("reason", "reason")
NOTE: Final = ("note", "note")
RISK: Final = ("risk", "risk")
ACTION: Final = (("distanceKm", "distance_km"), REASON)
RESPONSE: Final = ("responseTimeMs", "response_ms")

LINES: Final[dict[type[e.Event], Callable[[Any], Line]]] = {
    e.DeliveryCreated: _plain("delivery_created"),
    e.DeliveryReady: _plain("delivery_ready"),
    e.DeliveryPostponed: lambda event: ("info", "delivery_postponed", {"until": instant(event.until)}),
    e.DeliveryHeld: lambda event: ("info", "delivery_held", {"until": instant(event.until)}),
    e.HoldEnded: _plain("hold_ended", "info", ("early", "early")),
    e.SearchFailed: _plain("search_failed", "info", REASON),
    e.OfferCreated: _offer_created,
    e.OfferReceived: _plain("offer_received", "debug"),
    e.OfferAccepted: _plain("offer_accepted", "info", RESPONSE),
    e.OfferRejected: _plain("offer_rejected", "info", RESPONSE, REASON, NOTE),
    e.OfferExpired: _plain("offer_expired", "info", ("autoAccepted", "auto_accepted")),
    e.OfferWithdrawn: _plain("offer_withdrawn", "info", REASON),
    e.DeliveryAssigned: lambda event: ("info", "delivery_assigned", {"source": event.assignment.source}),
    e.DeliveryArrived: _plain("delivery_arrived", "info", ("where", "where"), *ACTION),
    e.DeliveryPickedUp: _plain("delivery_picked_up", "info", *ACTION),
    e.DeliveryDelivered: _plain("delivery_delivered", "info", *ACTION),
    e.DeliveryReleased: _plain("delivery_released", "warning", REASON, NOTE),
    e.DeliveryFailed: _plain("delivery_failed", "warning", REASON, NOTE),
    e.DeliveryReturning: _plain("delivery_returning", "warning", REASON, NOTE),
    e.DeliveryReturned: _plain("delivery_returned"),
    e.ProofAdded: lambda event: ("info", "proof_added", {"proofId": event.proof.id, "kind": event.proof.kind}),
    e.PinWrong: _plain("pin_wrong", "warning", ("tries", "tries")),
    e.LateReport: _plain("late_report", "warning", ("what", "what"), ("nowWith", "now_with"), REASON, NOTE),
    e.DeliveryChanged: lambda event: ("info", "delivery_changed", {"fields": event.data()["fields"]}),
    e.DeliveryRestored: _plain("delivery_restored"),
    e.DeliveryRetried: _plain("delivery_retried", "info", REASON),
    e.DeliveryAtRisk: _plain("delivery_at_risk", "warning", RISK),
    e.DeliveryRecovered: _plain("delivery_recovered", "info", RISK),
    e.RiskEscalated: _risk_escalated,
    e.RiskAcknowledged: _plain("risk_acknowledged"),
    e.DeliveryCancelled: _plain("delivery_cancelled", "info", REASON),
    e.DeliveryReassigned: _plain("assignment_reassigned", "info", REASON, ("forced", "forced")),
    e.DeliveryEscalated: _escalated,
    e.EscalationAcknowledged: _plain("unassigned_order_acknowledged"),
    e.TicketCreated: lambda event: ("info", "ticket_created", {"ticketId": event.ticket.id}),
    e.DriverRegistered: _plain("driver_registered"),
    e.DriverChanged: lambda event: ("info", "driver_changed", {"fields": event.data()["fields"]}),
    e.DriverDeactivated: _plain("driver_deactivated"),
    e.DriverReactivated: _plain("driver_reactivated"),
    e.DriverConnected: _plain("driver_connected", "debug", ("sessionId", "session_id")),
    e.DriverDisconnected: _plain("driver_disconnected", "debug", ("sessionId", "session_id")),
    e.AvailabilityChanged: _availability_changed,
    e.ExpiriesForgiven: _plain("expiries_forgiven", "debug"),
    e.MessageSent: lambda event: ("info", "message_sent", {"messageId": event.message.id}),
    e.MessageSeen: _plain("message_seen", "debug", ("messageId", "message_id")),
    e.AlertRaised: _alert("alert_raised", "warning", lambda event: event.alert.value),
    e.AlertResolved: _alert("alert_resolved", "info", lambda event: event.value),
    e.AlertAcknowledged: _alert("alert_acknowledged", "info", lambda event: event.alert.value),
    e.ZoneChanged: _zone_changed,
    e.ZoneRemoved: _zone_removed,
    e.PolicyChanged: _policy_changed,
}
IDS: Final = (
    ("deliveryId", "delivery_id"),
    ("driverId", "driver_id"),
    ("offerId", "offer_id"),
    ("assignmentId", "assignment_id"),
)


def line_of(event: e.Event) -> Line:
    """The event as a line: its level, its name, and its fields, ids first."""
    level, name, extra = LINES[type(event)](event)
    fields: Fields = {}
    for wire, field in IDS:
        value = getattr(event, field)
        if value is not None:
            fields[wire] = value
    fields.update(extra)
    actor = event.actor
    if actor.type != "system":
        fields["actor"] = actor.type
        fields["actorId"] = actor.id
    return level, name, fields


def log_commit(committed: Committed) -> None:
    """A listener of the executor: the news of one commit as lines."""
    loud_only = not log.is_enabled_for(logging.INFO)
    for event in committed.events:
        if loud_only and type(event) not in LOUD:
            continue
        level, name, fields = line_of(event)
        getattr(log, level)(name, **fields)
