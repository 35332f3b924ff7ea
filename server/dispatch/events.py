"""Events: what happened, in the past tense. They alone change the world (`World.apply`) and are what is stored.

`type` is the stable name on timelines and webhooks; `data` what a reader needs beyond the ids.
"""

from datetime import datetime
from typing import Any, ClassVar

from msgspec import Struct

from server.dispatch.instants import instant, instant_or_none
from server.dispatch.model import (
    Actor,
    Alert,
    Assignment,
    Availability,
    Delivery,
    Driver,
    Offer,
    Ticket,
)
from server.dispatch.policy import Policy


class Event(Struct, frozen=True, kw_only=True):
    """What every event carries: when, who, and which rows it is about.

    A row that an event brings along (`delivery`, `offer`, `assignment`, `driver`, `ticket`) is as it was then.
    """

    type: ClassVar[str]
    at: datetime
    actor: Actor
    delivery_id: str | None = None
    driver_id: str | None = None
    offer_id: str | None = None
    assignment_id: str | None = None

    def data(self) -> dict[str, Any]:
        """The rest of the story, JSON-ready, camelCase; reasons live here."""
        return {}


class DeliveryCreated(Event, frozen=True, kw_only=True):
    """`delivery` is the new row, SCHEDULED; DeliveryReady follows at once when its time has come."""

    type: ClassVar[str] = "delivery.created"
    delivery: Delivery

    def data(self) -> dict[str, Any]:
        d = self.delivery
        return {
            "sellerId": d.seller_id,
            "sellerOrderId": d.seller_order_id,
            "storeName": d.store_name,
            "zone": d.zone,
            "dispatchAt": instant(d.dispatch_at),
        }


class DeliveryReady(Event, frozen=True, kw_only=True):
    """The delivery wants a driver: its wait, and its clock of escalation, begin."""

    type: ClassVar[str] = "delivery.ready"
    early: bool = False

    def data(self) -> dict[str, Any]:
        return {"early": True} if self.early else {}


class SearchFailed(Event, frozen=True, kw_only=True):
    """A search found nobody."""

    type: ClassVar[str] = "delivery.search_failed"
    reason: str

    def data(self) -> dict[str, Any]:
        return {"reason": self.reason}


class OfferCreated(Event, frozen=True, kw_only=True):
    """`offer` is the new PENDING row."""

    type: ClassVar[str] = "offer.created"
    offer: Offer
    reason: str | None = None

    def data(self) -> dict[str, Any]:
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
    """The driver said yes in time; DeliveryAssigned follows."""

    type: ClassVar[str] = "offer.accepted"
    response_ms: int

    def data(self) -> dict[str, Any]:
        return {"responseTimeMs": self.response_ms}


class OfferRejected(Event, frozen=True, kw_only=True):
    """The driver said no."""

    type: ClassVar[str] = "offer.rejected"
    response_ms: int
    reason: str | None = None

    def data(self) -> dict[str, Any]:
        return {"responseTimeMs": self.response_ms, "reason": self.reason}


class OfferExpired(Event, frozen=True, kw_only=True):
    """No answer by the deadline. With `auto_accepted` DeliveryAssigned follows, source `auto_accepted`."""

    type: ClassVar[str] = "offer.expired"
    auto_accepted: bool

    def data(self) -> dict[str, Any]:
        return {"autoAccepted": self.auto_accepted}


class OfferWithdrawn(Event, frozen=True, kw_only=True):
    """The offer was taken back before its deadline."""

    type: ClassVar[str] = "offer.withdrawn"
    reason: str

    def data(self) -> dict[str, Any]:
        return {"reason": self.reason}


class DeliveryAssigned(Event, frozen=True, kw_only=True):
    """`assignment` is the new ACTIVE row. This is the customer's notification."""

    type: ClassVar[str] = "delivery.assigned"
    assignment: Assignment
    reason: str | None = None

    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"source": self.assignment.source}
        if self.reason is not None:
            data["reason"] = self.reason
        return data


class DeliveryPickedUp(Event, frozen=True, kw_only=True):
    """The driver has the goods."""

    type: ClassVar[str] = "delivery.picked_up"


class DeliveryDelivered(Event, frozen=True, kw_only=True):
    """The goods are handed over; the driver has room again."""

    type: ClassVar[str] = "delivery.delivered"


class DeliveryCancelled(Event, frozen=True, kw_only=True):
    """The delivery is over; an active assignment (then named) ends with it."""

    type: ClassVar[str] = "delivery.cancelled"
    reason: str

    def data(self) -> dict[str, Any]:
        return {"reason": self.reason}


class DeliveryReassigned(Event, frozen=True, kw_only=True):
    """The assignment was taken from its driver; the delivery is READY again, its clock new."""

    type: ClassVar[str] = "delivery.reassigned"
    reason: str
    forced: bool = False

    def data(self) -> dict[str, Any]:
        return {"reason": self.reason, "forced": self.forced}


class DeliveryEscalated(Event, frozen=True, kw_only=True):
    """A level of the ladder was reached."""

    type: ClassVar[str] = "delivery.escalated"
    level: int
    actions: tuple[str, ...]
    minutes_since_creation: int

    def data(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "actions": list(self.actions),
            "minutesSinceCreation": self.minutes_since_creation,
        }


class EscalationAcknowledged(Event, frozen=True, kw_only=True):
    """Somebody in ops looks after the waiting delivery."""

    type: ClassVar[str] = "delivery.acknowledged"
    note: str | None = None

    def data(self) -> dict[str, Any]:
        return {"note": self.note}


class TicketCreated(Event, frozen=True, kw_only=True):
    """A support ticket was opened for the delivery."""

    type: ClassVar[str] = "ticket.created"
    ticket: Ticket

    def data(self) -> dict[str, Any]:
        t = self.ticket
        return {"ticketId": t.id, "priority": t.priority, "title": t.title, "actionUrl": t.action_url}


class DriverRegistered(Event, frozen=True, kw_only=True):
    """`driver` is the new row."""

    type: ClassVar[str] = "driver.registered"
    driver: Driver

    def data(self) -> dict[str, Any]:
        return {"name": self.driver.name, "zone": self.driver.zone}


class DriverConnected(Event, frozen=True, kw_only=True):
    """A socket became the driver's current one; `superseded` was it before, `unbroken` if it was still good."""

    type: ClassVar[str] = "driver.connected"
    session_id: str
    node_id: str
    superseded: str | None = None
    superseded_node: str | None = None
    unbroken: bool = False

    def data(self) -> dict[str, Any]:
        return {"sessionId": self.session_id, "superseded": self.superseded}


class DriverDisconnected(Event, frozen=True, kw_only=True):
    """The driver's current socket is gone since `lost_at`."""

    type: ClassVar[str] = "driver.disconnected"
    session_id: str
    lost_at: datetime

    def data(self) -> dict[str, Any]:
        return {"sessionId": self.session_id}


class AvailabilityChanged(Event, frozen=True, kw_only=True):
    """`to` since now, until `until` for a break. `before` is what a return brings back, if it is nobody's choice.

    `forgiven` starts the count of unanswered offers anew.
    """

    type: ClassVar[str] = "driver.availability_changed"
    from_: Availability
    to: Availability
    reason: str
    until: datetime | None = None
    before: Availability | None = None
    forgiven: bool = False

    def data(self) -> dict[str, Any]:
        return {"from": self.from_, "to": self.to, "reason": self.reason, "until": instant_or_none(self.until)}


class ExpiriesForgiven(Event, frozen=True, kw_only=True):
    """A driver who was available all along says so: unanswered offers are counted anew."""

    type: ClassVar[str] = "driver.expiries_forgiven"


class AlertRaised(Event, frozen=True, kw_only=True):
    """A zone's number went over its threshold; `alert` is the new row."""

    type: ClassVar[str] = "alert.raised"
    alert: Alert

    def data(self) -> dict[str, Any]:
        a = self.alert
        return {"alertId": a.id, "kind": a.kind, "zone": a.zone, "value": a.value, "threshold": a.threshold}


class AlertResolved(Event, frozen=True, kw_only=True):
    """The number is back; `alert` is the row as it stood, `value` what the number is now."""

    type: ClassVar[str] = "alert.resolved"
    alert: Alert
    value: float

    def data(self) -> dict[str, Any]:
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
    """Somebody in ops looks after the alert."""

    type: ClassVar[str] = "alert.acknowledged"
    alert: Alert

    def data(self) -> dict[str, Any]:
        return {"alertId": self.alert.id, "kind": self.alert.kind, "zone": self.alert.zone}


class PolicyChanged(Event, frozen=True, kw_only=True):
    """`policy` is in force under its new version."""

    type: ClassVar[str] = "policy.changed"
    policy: Policy
    reason: str | None = None

    def data(self) -> dict[str, Any]:
        return {"version": self.policy.version, "reason": self.reason}


EVENT_TYPES: dict[str, type[Event]] = {event.type: event for event in Event.__subclasses__()}
