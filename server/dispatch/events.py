"""Events: what happened, in the past tense. Only events change the world (apply.py), and they are stored.

`type` is the stable name in timelines and webhooks; `data` has what a reader needs besides the ids.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Final

from msgspec import Struct, to_builtins

from server.dispatch.instants import instant, instant_or_none
from server.dispatch.model import (
    Actor,
    Alert,
    Assignment,
    Availability,
    ChatMessage,
    Delivery,
    Driver,
    Handover,
    Nearest,
    Offer,
    Place,
    Proof,
    RiskCode,
    StopKind,
    Ticket,
)
from server.dispatch.policy import Policy
from server.dispatch.refusals import NowWith
from server.dispatch.zones import Zone


class Event(Struct, frozen=True, kw_only=True):
    """The fields of every event: when, who did it, and which rows it is about.

    A row in an event (`delivery`, `offer`, `assignment`, `driver`, `ticket`) has the state of that moment.
    """

    type: ClassVar[str]
    at: datetime
    actor: Actor
    delivery_id: str | None = None
    driver_id: str | None = None
    offer_id: str | None = None
    assignment_id: str | None = None

    def data(self) -> dict[str, object]:
        """Further data, ready for JSON, in camelCase; reasons are here."""
        return {}


class DeliveryCreated(Event, frozen=True, kw_only=True):
    """`delivery` is the new row, SCHEDULED; DeliveryReady follows at once when its time has come.

    `posted` is what was asked for, in its one form, if the row does not say it: so that a repeat is known.
    """

    type: ClassVar[str] = "delivery.created"
    delivery: Delivery
    posted: Mapping[str, Any] | None = None

    def data(self) -> dict[str, object]:
        d = self.delivery
        data: dict[str, Any] = {
            "sellerId": d.seller_id,
            "sellerOrderId": d.seller_order_id,
            "storeName": d.store_name,
            "zone": d.zone,
            "dispatchAt": instant(d.dispatch_at),
        }
        if d.details.warnings:
            data["warnings"] = list(d.details.warnings)
        return data


class DeliveryReady(Event, frozen=True, kw_only=True):
    """The delivery waits for a driver, and the time to its first escalation starts."""

    type: ClassVar[str] = "delivery.ready"
    early: bool = False

    def data(self) -> dict[str, object]:
        return {"early": True} if self.early else {}


class DeliveryPostponed(Event, frozen=True, kw_only=True):
    """Its dispatch time is in the future, because it was changed or restored: until then it waits for no driver."""

    type: ClassVar[str] = "delivery.postponed"
    until: datetime

    def data(self) -> dict[str, object]:
        return {"until": instant(self.until)}


class DeliveryHeld(Event, frozen=True, kw_only=True):
    """It is offered at `until`, when its driver must leave to be at the store when the goods are ready (`ready_at`)."""

    type: ClassVar[str] = "delivery.held"
    until: datetime
    ready_at: datetime

    def data(self) -> dict[str, object]:
        return {"until": instant(self.until), "readyAt": instant(self.ready_at)}


class HoldEnded(Event, frozen=True, kw_only=True):
    """The delivery waits for a driver, and the time to its first escalation starts. `early`: before its deadline."""

    type: ClassVar[str] = "delivery.hold_ended"
    early: bool = False

    def data(self) -> dict[str, object]:
        return {"early": True} if self.early else {}


class SearchFailed(Event, frozen=True, kw_only=True):
    """A search found no driver. `nearest` is the nearest driver outside the radius or the zone, if that is why."""

    type: ClassVar[str] = "delivery.search_failed"
    reason: str
    nearest: Nearest | None = None

    def data(self) -> dict[str, object]:
        known: dict[str, object] = {"reason": self.reason}
        return known if self.nearest is None else {**known, "nearest": to_builtins(self.nearest)}


class OfferCreated(Event, frozen=True, kw_only=True):
    """`offer` is the new PENDING row."""

    type: ClassVar[str] = "offer.created"
    offer: Offer
    reason: str | None = None

    def data(self) -> dict[str, object]:
        data: dict[str, Any] = {
            "attempt": self.offer.attempt,
            "expiresAt": instant(self.offer.expires_at),
            "payload": self.offer.payload,
        }
        if self.reason is not None:
            data["reason"] = self.reason
        return data


class OfferReceived(Event, frozen=True, kw_only=True):
    """The driver's app confirmed that it has the offer."""

    type: ClassVar[str] = "offer.received"


class OfferAccepted(Event, frozen=True, kw_only=True):
    """The driver accepted in time; DeliveryAssigned follows."""

    type: ClassVar[str] = "offer.accepted"
    response_ms: int

    def data(self) -> dict[str, object]:
        return {"responseTimeMs": self.response_ms}


class OfferRejected(Event, frozen=True, kw_only=True):
    """The driver rejected the offer."""

    type: ClassVar[str] = "offer.rejected"
    response_ms: int
    reason: str | None = None
    note: str | None = None

    def data(self) -> dict[str, object]:
        return {"responseTimeMs": self.response_ms, "reason": self.reason, "note": self.note}


class OfferExpired(Event, frozen=True, kw_only=True):
    """No answer by the deadline. With `auto_accepted` DeliveryAssigned follows, source `auto_accepted`."""

    type: ClassVar[str] = "offer.expired"
    auto_accepted: bool

    def data(self) -> dict[str, object]:
        return {"autoAccepted": self.auto_accepted}


class OfferWithdrawn(Event, frozen=True, kw_only=True):
    """The server withdrew the offer before its deadline."""

    type: ClassVar[str] = "offer.withdrawn"
    reason: str

    def data(self) -> dict[str, object]:
        return {"reason": self.reason}


class DeliveryAssigned(Event, frozen=True, kw_only=True):
    """`assignment` is the new ACTIVE row. This is the customer's notification. `delivery_at` is the expected time of
    delivery, if no offer gave one.
    """

    type: ClassVar[str] = "delivery.assigned"
    assignment: Assignment
    reason: str | None = None
    delivery_at: datetime | None = None

    def data(self) -> dict[str, object]:
        data: dict[str, Any] = {"source": self.assignment.source}
        if self.reason is not None:
            data["reason"] = self.reason
        if self.delivery_at is not None:
            data["estimatedDeliveryAt"] = instant(self.delivery_at)
        return data


class JobEvent(Event, frozen=True, kw_only=True):
    """An action of a driver, or of somebody for them (`reason`).

    `happened_at` is when the driver did it, if that is earlier than the report; `action_id` the app's id for it;
    `distance_km` the distance from the expected place, if known.
    """

    happened_at: datetime | None = None
    action_id: str | None = None
    reason: str | None = None
    note: str | None = None
    distance_km: float | None = None

    @property
    def when(self) -> datetime:
        return self.happened_at or self.at

    def details(self) -> dict[str, object]:
        """What of this is there."""
        data: dict[str, Any] = {}
        if self.happened_at is not None:
            data["happenedAt"] = instant(self.happened_at)
        if self.action_id is not None:
            data["actionId"] = self.action_id
        if self.reason is not None:
            data["reason"] = self.reason
            data["note"] = self.note
        return data

    def data(self) -> dict[str, object]:
        return self.details()


class DeliveryArrived(JobEvent, frozen=True, kw_only=True):
    """The driver arrived at the store or at the customer."""

    type: ClassVar[str] = "delivery.arrived"
    where: StopKind

    def data(self) -> dict[str, object]:
        return {"where": self.where, "distanceKm": self.distance_km, **self.details()}


class DeliveryPickedUp(JobEvent, frozen=True, kw_only=True):
    """The driver has the goods."""

    type: ClassVar[str] = "delivery.picked_up"

    def data(self) -> dict[str, object]:
        return {"distanceKm": self.distance_km, **self.details()}


class DeliveryDelivered(JobEvent, frozen=True, kw_only=True):
    """The goods are handed over; the driver has capacity again.

    `handover` is the proof; only the result of the PIN check is published. `unproven` lists the proof that was missing
    because somebody acted for the driver.
    """

    type: ClassVar[str] = "delivery.delivered"
    handover: Handover | None = None
    unproven: tuple[str, ...] = ()

    def data(self) -> dict[str, object]:
        data = {"distanceKm": self.distance_km, **self.details()}
        if self.handover is not None and self.handover.pin is not None:
            data["pin"] = self.handover.pin
        if self.unproven:
            data["unproven"] = list(self.unproven)
        return data


class DeliveryReleased(JobEvent, frozen=True, kw_only=True):
    """The driver gave the delivery back; it is READY again with a new escalation, and the search excludes them."""

    type: ClassVar[str] = "delivery.released"


class DeliveryFailed(JobEvent, frozen=True, kw_only=True):
    """The goods could not be handed over, and the assignment ends there."""

    type: ClassVar[str] = "delivery.failed"


class DeliveryReturning(JobEvent, frozen=True, kw_only=True):
    """The handover failed, and the driver brings the goods back."""

    type: ClassVar[str] = "delivery.returning"


class DeliveryReturned(JobEvent, frozen=True, kw_only=True):
    """The goods are back at the store; the driver has capacity again."""

    type: ClassVar[str] = "delivery.returned"


class ProofAdded(JobEvent, frozen=True, kw_only=True):
    """A photo or signature was uploaded for the assignment."""

    type: ClassVar[str] = "delivery.proof_added"
    proof: Proof

    def data(self) -> dict[str, object]:
        return {"proofId": self.proof.id, "kind": self.proof.kind, **self.details()}


class PinWrong(JobEvent, frozen=True, kw_only=True):
    """A PIN was typed that is not the delivery's: the `tries`-th time in this assignment."""

    type: ClassVar[str] = "delivery.pin_wrong"
    tries: int

    def data(self) -> dict[str, object]:
        return {"tries": self.tries, **self.details()}


class LateReport(JobEvent, frozen=True, kw_only=True):
    """A driver reported something about a delivery that they no longer have: it changes nothing, and ops should know.
    `what` is the type of the event that it would have been; `now_with` says who has the delivery.
    """

    type: ClassVar[str] = "delivery.late_report"
    what: str
    now_with: NowWith

    def data(self) -> dict[str, object]:
        return {"what": self.what, "nowWith": self.now_with, **self.details()}


class DeliveryChanged(Event, frozen=True, kw_only=True):
    """The order changed: name of the model's field -> (old, new). Of the PIN only that it changed is published."""

    type: ClassVar[str] = "delivery.changed"
    changes: Mapping[str, tuple[Any, Any]]
    reason: str | None = None

    def data(self) -> dict[str, object]:
        changes: dict[str, Any] = {}
        fields: list[str] = []
        for name, (old, new) in self.changes.items():
            if name == "details":
                fields += [wire for wire, of in DETAILS_CHANGED.items() if getattr(old, of) != getattr(new, of)]
                if old.proof_required != new.proof_required:
                    changes["proofRequired"] = {"old": list(old.proof_required), "new": list(new.proof_required)}
                continue
            wire = camel(name)
            fields.append(wire)
            changes[wire] = {"old": _whole(old), "new": _whole(new)}
        data: dict[str, Any] = {"fields": fields, "changes": changes}
        if self.reason is not None:
            data["reason"] = self.reason
        return data


DETAILS_CHANGED: Final = {"proofRequired": "proof_required", "pin": "pin", "warnings": "warnings"}


def camel(name: str) -> str:
    """A field's name on the wire."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _whole(value: object) -> object:
    """JSON of a value; a place with its contact."""
    return {"address": None, **to_builtins(value)} if isinstance(value, Place) else _public(value)


def _public(value: object) -> object:
    """JSON of a value without the people in it."""
    if isinstance(value, Place):
        return {"lat": value.lat, "lon": value.lon, "address": value.address}
    if isinstance(value, datetime):
        return instant(value)
    return list(value) if isinstance(value, tuple) else value


class DeliveryRestored(Event, frozen=True, kw_only=True):
    """It was cancelled by mistake: READY again, its clock new. `delivery.postponed` follows if its time is to come."""

    type: ClassVar[str] = "delivery.restored"


class DeliveryRetried(Event, frozen=True, kw_only=True):
    """It is to be delivered after all: READY again, its clock new, to be picked up where the goods are.

    `store` is where they first were to be picked up, if that is not there.
    """

    type: ClassVar[str] = "delivery.retried"
    reason: str
    pickup: Place
    store: Place | None = None

    def data(self) -> dict[str, object]:
        return {"reason": self.reason, "pickup": _public(self.pickup)}


class DeliveryAtRisk(Event, frozen=True, kw_only=True):
    """The delivery is at risk since `since`."""

    type: ClassVar[str] = "delivery.at_risk"
    risk: RiskCode
    since: datetime

    def data(self) -> dict[str, object]:
        return {"risk": self.risk, "since": instant(self.since)}


class DeliveryRecovered(Event, frozen=True, kw_only=True):
    """The risk has ended, or no longer matters. `checked`: ops accept the address as it is."""

    type: ClassVar[str] = "delivery.recovered"
    risk: RiskCode
    checked: bool = False

    def data(self) -> dict[str, object]:
        return {"risk": self.risk, "checked": True} if self.checked else {"risk": self.risk}


class RiskEscalated(Event, frozen=True, kw_only=True):
    """A delivery at risk reached a level of escalation; `actions` are its actions that apply to a risk."""

    type: ClassVar[str] = "delivery.risk_escalated"
    risk: RiskCode
    level: int
    actions: tuple[str, ...]

    def data(self) -> dict[str, object]:
        return {"risk": self.risk, "level": self.level, "actions": list(self.actions)}


class RiskAcknowledged(Event, frozen=True, kw_only=True):
    """Ops acknowledged the delivery at risk."""

    type: ClassVar[str] = "delivery.risk_acknowledged"
    note: str | None = None

    def data(self) -> dict[str, object]:
        return {"note": self.note}


class DeliveryCancelled(Event, frozen=True, kw_only=True):
    """The delivery ended; if it had an active assignment, that is named and ends too."""

    type: ClassVar[str] = "delivery.cancelled"
    reason: str

    def data(self) -> dict[str, object]:
        return {"reason": self.reason}


class DeliveryReassigned(Event, frozen=True, kw_only=True):
    """Ops took the delivery from its driver; it is READY again with a new escalation. If the goods are on the way,
    `pickup` is their current place, and `store` the original pickup.
    """

    type: ClassVar[str] = "delivery.reassigned"
    reason: str
    forced: bool = False
    pickup: Place | None = None
    store: Place | None = None

    def data(self) -> dict[str, object]:
        data: dict[str, Any] = {"reason": self.reason, "forced": self.forced}
        if self.pickup is not None:
            data["pickup"] = _public(self.pickup)
        return data


class DeliveryEscalated(Event, frozen=True, kw_only=True):
    """A level of the ladder was reached."""

    type: ClassVar[str] = "delivery.escalated"
    level: int
    actions: tuple[str, ...]
    minutes_since_creation: int

    def data(self) -> dict[str, object]:
        return {
            "level": self.level,
            "actions": list(self.actions),
            "minutesSinceCreation": self.minutes_since_creation,
        }


class EscalationAcknowledged(Event, frozen=True, kw_only=True):
    """Ops acknowledged the waiting delivery."""

    type: ClassVar[str] = "delivery.acknowledged"
    note: str | None = None

    def data(self) -> dict[str, object]:
        return {"note": self.note}


class TicketCreated(Event, frozen=True, kw_only=True):
    """A support ticket was opened for the delivery."""

    type: ClassVar[str] = "ticket.created"
    ticket: Ticket

    def data(self) -> dict[str, object]:
        t = self.ticket
        return {"ticketId": t.id, "priority": t.priority, "title": t.title, "actionUrl": t.action_url}


class DriverRegistered(Event, frozen=True, kw_only=True):
    """`driver` is the new row."""

    type: ClassVar[str] = "driver.registered"
    driver: Driver

    def data(self) -> dict[str, object]:
        return {"name": self.driver.name, "zone": self.driver.zone}


class DriverChanged(Event, frozen=True, kw_only=True):
    """A driver's data changed: name of the model's field -> (old, new). Name and phone are published by name only."""

    type: ClassVar[str] = "driver.changed"
    changes: Mapping[str, tuple[Any, Any]]

    def data(self) -> dict[str, object]:
        details = {
            camel(name): {"old": _public(old), "new": _public(new)}
            for name, (old, new) in self.changes.items()
            if name not in ("name", "phone")
        }
        return {"fields": [camel(name) for name in self.changes], "changes": details}


class DriverDeactivated(Event, frozen=True, kw_only=True):
    """The driver was deactivated: nobody can sign in for them."""

    type: ClassVar[str] = "driver.deactivated"


class DriverReactivated(Event, frozen=True, kw_only=True):
    """The driver was reactivated."""

    type: ClassVar[str] = "driver.reactivated"


class DriverConnected(Event, frozen=True, kw_only=True):
    """A socket became the driver's current one. `superseded` was it before; `unbroken` if that one still worked."""

    type: ClassVar[str] = "driver.connected"
    session_id: str
    node_id: str
    superseded: str | None = None
    superseded_node: str | None = None
    unbroken: bool = False
    device: str | None = None

    def data(self) -> dict[str, object]:
        more = {} if self.device is None else {"device": self.device}
        return {"sessionId": self.session_id, "superseded": self.superseded, **more}


class DriverDisconnected(Event, frozen=True, kw_only=True):
    """The driver's current socket was lost at `lost_at`."""

    type: ClassVar[str] = "driver.disconnected"
    session_id: str
    lost_at: datetime

    def data(self) -> dict[str, object]:
        return {"sessionId": self.session_id}


class AvailabilityChanged(Event, frozen=True, kw_only=True):
    """Availability is `to` from now on, until `until` for a break. `before` is what a return restores, if nobody chose
    `to`.

    `forgiven` restarts the count of unanswered offers.
    """

    type: ClassVar[str] = "driver.availability_changed"
    from_: Availability
    to: Availability
    reason: str
    until: datetime | None = None
    before: Availability | None = None
    forgiven: bool = False

    def data(self) -> dict[str, object]:
        return {"from": self.from_, "to": self.to, "reason": self.reason, "until": instant_or_none(self.until)}


class ExpiriesForgiven(Event, frozen=True, kw_only=True):
    """An available driver resumed: the count of unanswered offers restarts."""

    type: ClassVar[str] = "driver.expiries_forgiven"


class MessageSent(Event, frozen=True, kw_only=True):
    """Dispatch wrote to a driver, or the driver to dispatch. `message` is the new row; its text is not published."""

    type: ClassVar[str] = "driver.message_sent"
    message: ChatMessage

    def data(self) -> dict[str, object]:
        return {"messageId": self.message.id, "byDriver": self.message.by_driver}


class MessageSeen(Event, frozen=True, kw_only=True):
    """The driver has seen a message of dispatch."""

    type: ClassVar[str] = "driver.message_seen"
    message_id: str

    def data(self) -> dict[str, object]:
        return {"messageId": self.message_id}


class AlertRaised(Event, frozen=True, kw_only=True):
    """A number of a zone exceeded its threshold; `alert` is the new row."""

    type: ClassVar[str] = "alert.raised"
    alert: Alert

    def data(self) -> dict[str, object]:
        a = self.alert
        return {"alertId": a.id, "kind": a.kind, "zone": a.zone, "value": a.value, "threshold": a.threshold}


class AlertResolved(Event, frozen=True, kw_only=True):
    """The number is back; `alert` is a copy of the row before, `value` what the number is now."""

    type: ClassVar[str] = "alert.resolved"
    alert: Alert
    value: float

    def data(self) -> dict[str, object]:
        a = self.alert
        return {
            "alertId": a.id,
            "kind": a.kind,
            "zone": a.zone,
            "value": self.value,
            "threshold": a.threshold,
            "raisedAt": instant(a.raised_at),
        }


class AlertAcknowledged(Event, frozen=True, kw_only=True):
    """Ops acknowledged the alert; `alert` is a copy of the new row."""

    type: ClassVar[str] = "alert.acknowledged"
    alert: Alert

    def data(self) -> dict[str, object]:
        return {"alertId": self.alert.id, "kind": self.alert.kind, "zone": self.alert.zone}


class ZoneChanged(Event, frozen=True, kw_only=True):
    """`zone` is the new description; `area_km2` is the area of its shape, if any."""

    type: ClassVar[str] = "zone.changed"
    zone: Zone
    area_km2: float | None = None

    def data(self) -> dict[str, object]:
        z = self.zone
        area = round(self.area_km2, 3) if self.area_km2 is not None else None
        return {"key": z.key, "name": z.name, "helpedBy": [*z.helped_by], "areaKm2": area}


class ZoneRemoved(Event, frozen=True, kw_only=True):
    """The description of the zone with this key was deleted."""

    type: ClassVar[str] = "zone.removed"
    key: str

    def data(self) -> dict[str, object]:
        return {"key": self.key}


class PolicyChanged(Event, frozen=True, kw_only=True):
    """`policy` is in force under its new version."""

    type: ClassVar[str] = "policy.changed"
    policy: Policy
    reason: str | None = None

    def data(self) -> dict[str, object]:
        return {"version": self.policy.version, "reason": self.reason}


KINDS: Final = tuple(kind for kind in (*Event.__subclasses__(), *JobEvent.__subclasses__()) if kind is not JobEvent)
