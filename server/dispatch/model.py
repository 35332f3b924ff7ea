"""What dispatch knows while it decides: deliveries, offers, assignments, drivers, and the world that holds them.

Only `World.apply` (in world.py) changes these objects; deciding reads them.
"""

from datetime import datetime
from typing import Literal

from msgspec import Raw, Struct

DeliveryStatus = Literal["SCHEDULED", "READY", "ASSIGNED", "PICKED_UP", "DELIVERED", "CANCELLED"]
OfferStatus = Literal["PENDING", "ACCEPTED", "REJECTED", "EXPIRED", "WITHDRAWN"]
AssignmentStatus = Literal["ACTIVE", "COMPLETED", "REASSIGNED", "CANCELLED"]
AssignmentSource = Literal["accepted", "auto_accepted", "manual"]
Availability = Literal["available", "on_break", "paused", "shift_ended", "offline"]
EscalationStatus = Literal["PENDING", "ASSIGNED", "CANCELLED"]
AlertKind = Literal["rejected_share", "unassigned_count"]
ActorType = Literal["driver", "admin", "ops", "service", "system"]


class Actor(Struct, frozen=True):
    """Who did it: a role and, for anyone but the system itself, their id."""

    type: ActorType
    id: str | None = None


SYSTEM = Actor("system")


class Point(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A place: degrees, WGS 84, latitude first."""

    lat: float
    lon: float
    address: str | None = None


class OfferPayload(Struct, frozen=True, rename="camel"):
    """What a driver is shown to decide on: road km and whole minutes to the pickup, earning in cents."""

    pickup_location: Point
    pickup_store_name: str
    dropoff_location: Point
    estimated_pickup_time_min: int
    estimated_delivery_time: str
    estimated_distance_km: float
    estimated_earning_cents: int
    currency: str


class Offer(Struct):
    """One delivery held out to one driver until `expires_at`. `attempt` counts the delivery's offers from 1.

    `payload` is Raw (JSON) in an offer that was loaded: no rule reads it.
    """

    id: str
    delivery_id: str
    driver_id: str
    status: OfferStatus
    attempt: int
    payload: OfferPayload | Raw
    created_at: datetime
    expires_at: datetime
    received_at: datetime | None = None
    closed_at: datetime | None = None
    closing_reason: str | None = None
    auto_accepted: bool = False
    response_ms: int | None = None
    notification_sent_at: datetime | None = None
    notification_method: str | None = None


class Assignment(Struct):
    """A delivery in one driver's hands. `ended_by` is who ended it by reassigning or cancelling."""

    id: str
    delivery_id: str
    driver_id: str
    offer_id: str | None
    status: AssignmentStatus
    source: AssignmentSource
    created_at: datetime
    picked_up_at: datetime | None = None
    completed_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None
    ended_by: str | None = None
    version: int = 1


class Unassigned(Struct):
    """The record of a delivery's wait for a driver, made when it becomes READY, at level 0."""

    delivery_id: str
    failure_reason: str
    first_attempt_at: datetime
    last_attempt_at: datetime
    attempt_count: int = 0
    escalation_level: int = 0
    escalation_status: EscalationStatus = "PENDING"
    support_ticket_id: str | None = None
    notification_sent_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
    acknowledgement_note: str | None = None


class Delivery(Struct):
    """An order to be carried from `pickup` to `dropoff`.

    `current_offer_id` names its PENDING offer, `widened_at` the moment escalation widened the search and forgave
    the expiries before it. `fingerprint` identifies the request that created it.
    """

    id: str
    seller_id: str
    seller_order_id: str
    store_name: str
    zone: str
    status: DeliveryStatus
    pickup: Point
    dropoff: Point
    prep_seconds: int
    dispatch_at: datetime
    created_at: datetime
    fingerprint: str
    price_cents: int | None = None
    driver_pay_cents: int | None = None
    currency: str = "USD"
    notes: str | None = None
    unassigned_since: datetime | None = None
    current_offer_id: str | None = None
    accepted_offer_id: str | None = None
    offer_acceptance_count: int = 0
    widened_at: datetime | None = None
    version: int = 1
    unassigned: Unassigned | None = None
    offers: dict[str, Offer] = {}
    assignments: dict[str, Assignment] = {}

    def assignment(self) -> Assignment | None:
        """The active assignment, or the one that was completed."""
        for assignment in self.assignments.values():
            if assignment.status == "ACTIVE" or assignment.status == "COMPLETED":
                return assignment
        return None

    def active_assignment(self) -> Assignment | None:
        """The assignment that is under way, if any."""
        for assignment in self.assignments.values():
            if assignment.status == "ACTIVE":
                return assignment
        return None

    def open_offer(self) -> Offer | None:
        """The PENDING offer, if any."""
        return self.offers[self.current_offer_id] if self.current_offer_id is not None else None


class Position(Struct, frozen=True):
    """Where a driver was, at the database's time `at`."""

    lat: float
    lon: float
    at: datetime


class Driver(Struct):
    """A driver as dispatch sees them.

    `availability_before` is the state a return brings back: set while `offline` was nobody's choice.
    `open_offer_id` and `open_offer_delivery_id` name their PENDING offer; `active_count` their ACTIVE assignments.
    `connected_since` is when their unbroken time on sockets began, one following another without a gap; None without a
    socket, or if it is not known. `stream_seq` is the number of the last message in their stream. Position and last
    call are read-only here.
    """

    id: str
    name: str
    zone: str
    capacity: int
    availability: Availability
    last_availability_change: datetime
    external_ref: str | None = None
    phone: str | None = None
    availability_until: datetime | None = None
    availability_reason: str | None = None
    availability_before: Availability | None = None
    session_id: str | None = None
    session_node: str | None = None
    socket_lost_at: datetime | None = None
    connected_since: datetime | None = None
    expiries_in_a_row: int = 0
    stream_seq: int = 0
    open_offer_id: str | None = None
    open_offer_delivery_id: str | None = None
    active_count: int = 0
    position: Position | None = None
    last_call_at: datetime | None = None

    @property
    def busy(self) -> bool:
        """At capacity."""
        return self.active_count >= self.capacity


class Ticket(Struct, frozen=True):
    """A support ticket about a delivery that found no driver."""

    id: str
    type: str
    priority: str
    title: str
    description: str
    delivery_id: str
    zone: str
    action_url: str
    created_at: datetime
    status: str = "open"


class Alert(Struct):
    """A zone's number that went over its threshold, from when it was raised until it is back well below."""

    id: str
    kind: AlertKind
    zone: str
    value: float
    threshold: float
    raised_at: datetime
    resolved_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
