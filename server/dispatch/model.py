"""The state of dispatch: deliveries, offers, assignments, drivers. `world.py` has those that a batch loaded.

Only `apply` (in apply.py) changes these objects; rules only read them.
"""

from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import UNSET, Raw, Struct, UnsetType

DeliveryStatus = Literal[
    "SCHEDULED", "READY", "ASSIGNED", "PICKED_UP", "DELIVERED", "CANCELLED", "FAILED", "RETURNING", "RETURNED"
]
OfferStatus = Literal["PENDING", "ACCEPTED", "REJECTED", "EXPIRED", "WITHDRAWN"]
AssignmentStatus = Literal["ACTIVE", "COMPLETED", "REASSIGNED", "CANCELLED", "RELEASED", "FAILED", "RETURNED"]
AssignmentSource = Literal["accepted", "auto_accepted", "manual"]
Availability = Literal["available", "on_break", "paused", "shift_ended", "offline"]
EscalationStatus = Literal["PENDING", "ASSIGNED", "CANCELLED"]
AlertKind = Literal["rejected_share", "unassigned_count"]
ActorType = Literal["driver", "admin", "ops", "service", "system"]
StopKind = Literal["pickup", "dropoff"]
RunStopKind = Literal["pickup", "dropoff", "return"]
ProofKind = Literal["photo", "signature", "pin"]
WarningCode = Literal["trip_too_long"]
RiskCode = Literal["driver_gone", "check_address", "delivery_late", "pickup_late", "stalled"]

OVER: Final[frozenset[DeliveryStatus]] = frozenset({"DELIVERED", "CANCELLED", "FAILED", "RETURNED"})
"""The final states of a delivery."""
UNDER_WAY: Final[frozenset[DeliveryStatus]] = frozenset({"ASSIGNED", "PICKED_UP", "RETURNING"})
"""The states in which a driver has it: their assignment is ACTIVE."""
GOODS_ON_THE_WAY: Final[frozenset[DeliveryStatus]] = frozenset({"PICKED_UP", "RETURNING"})
"""The states in which the goods are with a driver."""


class Actor(Struct, frozen=True):
    """The actor: a role and, except for the system, their id."""

    type: ActorType
    id: str | None = None


SYSTEM = Actor("system")


class Point(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A place: degrees, WGS 84, latitude first."""

    lat: float
    lon: float
    address: str | None = None


class Place(Point, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A point, its address, the contact person with their phone, and notes for the driver. All of it is personal
    data.
    """

    name: str | None = None
    phone: str | None = None
    notes: str | None = None


class AddOn(Struct, frozen=True, rename="camel"):
    """What one more delivery adds to the run of a driver who already has one: by how many whole minutes the run gets
    longer, and how many stops it then has ahead.
    """

    extra_minutes: int
    stops: int


class OfferPayload(Struct, frozen=True, rename="camel"):
    """The data of an offer for its driver: the road to the pickup in km, whole minutes to the pickup, and the earning
    in minor units. `addOn` is there if the driver already has a delivery, `test` if it is a test order.

    Of the contacts it has only the name at the pickup. Notes, phones and the name at the drop-off come with the
    assignment.
    """

    pickup_location: Place
    pickup_store_name: str
    dropoff_location: Place
    estimated_pickup_time_min: int
    estimated_delivery_time: str
    estimated_distance_km: float
    estimated_earning_cents: int
    currency: str
    seller_order_id: str = ""
    requirements: tuple[str, ...] = ()
    estimated_trip_km: float = 0.0
    add_on: AddOn | UnsetType = UNSET
    test: bool | UnsetType = UNSET


class Offer(Struct):
    """One delivery, offered to one driver until `expires_at`. `attempt` counts the delivery's offers from 1.

    `payload` of a loaded offer is Raw (JSON), since no rule reads it.
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


class Proof(Struct, frozen=True, rename="camel"):
    """A photo or signature that was uploaded for an assignment."""

    id: str
    kind: Literal["photo", "signature"]


class Handover(Struct, frozen=True, rename="camel", omit_defaults=True):
    """The driver's report of the handover: the recipient, a note, and whether the typed PIN was right."""

    name: str | None = None
    note: str | None = None
    pin: Literal["verified", "unverified"] | None = None


class ActionDone(Struct, frozen=True, array_like=True):
    """An action that was done under the id of the driver's app: its kind, and the code of its refusal, if any."""

    kind: str
    refused: str | None = None


class AssignmentDetails(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Rare fields of an assignment, stored as one JSON document.

    `actions` are the driver's actions with a result, by the app's id; `late_reports` are reports after the driver lost
    the assignment; `pin_tries` counts wrong PINs.
    """

    actions: dict[str, ActionDone] = {}
    late_reports: tuple[str, ...] = ()
    proofs: tuple[Proof, ...] = ()
    handover: Handover | None = None
    pin_tries: int = 0


class Assignment(Struct, omit_defaults=True):
    """The assignment of a delivery to a driver.

    `ended_by` is who ended it, unless the driver delivered. `pickup_due_at` is the pickup time that the driver agreed
    to. `failed_at` is when the handover failed, with the reason in `end_reason` and `end_note`; while the driver brings
    the goods back, the assignment is still ACTIVE.
    """

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
    end_note: str | None = None
    arrived_pickup_at: datetime | None = None
    arrived_dropoff_at: datetime | None = None
    failed_at: datetime | None = None
    pickup_due_at: datetime | None = None
    details: AssignmentDetails | None = None


class Nearest(Struct, frozen=True, rename="camel"):
    """The nearest driver outside, the straight distance to the pickup, and why they got no offer."""

    driver_id: str
    distance_km: float
    reason: str


class Unassigned(Struct):
    """The record of a delivery's wait for a driver, made when it becomes READY, at level 0.

    `nearest` belongs to the failure reason. Only views read it, no rule does.
    """

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
    nearest: Nearest | None = None


class OrderDetails(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Rare fields of a delivery, stored as one JSON document.

    `proof_required` is the required proof of the handover; `pin` has four digits; `store` is the original pickup, if
    `pickup` is now where a driver left the goods; `checked`: ops assigned it in spite of its `warnings`; `test`: a test
    order, which no report counts.
    """

    proof_required: tuple[ProofKind, ...] = ()
    pin: str | None = None
    warnings: tuple[WarningCode, ...] = ()
    checked: bool = False
    store: Place | None = None
    test: bool = False


class Risk(Struct, frozen=True):
    """A reason why a delivery may arrive late, since when."""

    code: RiskCode
    since: datetime


ERASED: Final = "erased"
"""The fingerprint of a delivery whose personal data was erased: a hash of a phone number could be guessed."""
NO_DETAILS: Final = OrderDetails()
NO_ASSIGNMENT_DETAILS: Final = AssignmentDetails()


class Delivery(Struct, gc=False):
    """An order that is carried from `pickup` to `dropoff`. Nothing in it refers back to it, so the collector of cycles
    need not look at the many that a node keeps.

    `current_offer_id` is its PENDING offer; `widened_at` is when escalation widened the search and cleared earlier
    expiries. `fingerprint` identifies the request that created it. `promised_at` is the promised time, or else the
    estimate of the first offer. `ready_at` is None if it follows from `dispatch_at` and `prep_seconds`. `watch_at` is
    when the next lateness begins that was not raised yet; `risk_since` is the start of the first of its `risks`.
    """

    id: str
    seller_id: str
    seller_order_id: str
    store_name: str
    zone: str
    status: DeliveryStatus
    pickup: Place
    dropoff: Place
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
    requirements: tuple[str, ...] = ()
    tip_cents: int | None = None
    promised_at: datetime | None = None
    ready_at: datetime | None = None
    held_until: datetime | None = None
    estimated_pickup_at: datetime | None = None
    estimated_delivery_at: datetime | None = None
    over_at: datetime | None = None
    watch_at: datetime | None = None
    risk_since: datetime | None = None
    risk_level: int = 0
    risk_acknowledged_by: str | None = None
    risks: tuple[Risk, ...] = ()
    details: OrderDetails = NO_DETAILS
    unassigned: Unassigned | None = None
    offers: dict[str, Offer] = {}
    assignments: dict[str, Assignment] = {}

    @property
    def erased(self) -> bool:
        """Whether its personal data was erased."""
        return self.fingerprint == ERASED

    def assignment(self) -> Assignment | None:
        for assignment in self.assignments.values():
            if assignment.status == "ACTIVE" or assignment.status == "COMPLETED":
                return assignment
        return None

    def active_assignment(self) -> Assignment | None:
        for assignment in self.assignments.values():
            if assignment.status == "ACTIVE":
                return assignment
        return None

    def last_assignment(self) -> Assignment | None:
        """The newest assignment, whatever its status."""
        return max(self.assignments.values(), key=lambda a: (a.created_at, a.id)) if self.assignments else None

    def is_ready_at(self) -> datetime:
        """When the goods are ready to be picked up, as far as is known."""
        if self.ready_at is not None:
            return self.ready_at
        try:
            return self.dispatch_at + timedelta(seconds=self.prep_seconds) if self.prep_seconds else self.dispatch_at
        except OverflowError:  # at the end of the calendar, from a release that took such times
            return self.dispatch_at

    def needs_check(self) -> bool:
        """Whether it must not be offered until ops change it or assign it manually."""
        return bool(self.details.warnings) and not self.details.checked

    def at_risk(self, code: RiskCode) -> bool:
        return bool(self.risks) and any(risk.code == code for risk in self.risks)

    def open_offer(self) -> Offer | None:
        """The PENDING offer, if any."""
        return self.offers[self.current_offer_id] if self.current_offer_id is not None else None


class Position(Struct, frozen=True):
    """Where a driver was, at the database's time `at`."""

    lat: float
    lon: float
    at: datetime


class Still(Struct, frozen=True):
    """Where a driver was first seen at their current place, and when, by the stored positions; and the stops of all
    their active assignments.
    """

    lat: float
    lon: float
    since: datetime
    stops: tuple[Point, ...] = ()


class RunStop(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A stop of a driver's run: when it is planned, and when it was done. `return` is the store, for goods that the
    driver brings back.
    """

    kind: RunStopKind
    delivery_id: str
    assignment_id: str
    planned_at: datetime
    done_at: datetime | None = None


class Work(Struct, frozen=True):
    """What a driver has: the stored stops of their run, and their active deliveries with those of the stops, by id."""

    stops: tuple[RunStop, ...] = ()
    deliveries: dict[str, Delivery] = {}


class Driver(Struct, gc=False):
    """A driver, as the rules need them. As for deliveries, the collector of cycles need not look at it.

    `availability_before` is the state that a return restores; it is set while `offline` was not chosen by anybody.
    `open_offer_id` and `open_offer_delivery_id` name their PENDING offer; `active_count` counts their ACTIVE
    assignments. `connected_since` is when their unbroken chain of sockets began; None without a socket, or if it is
    unknown. `stream_seq` is the number of the last message in their stream. A driver who is not `active` no longer
    works. Nothing is offered that they would pick up after `shift_ends_at`. Rules do not change position and last call.
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
    vehicle: str | None = None
    tags: tuple[str, ...] = ()
    active: bool = True
    shift_ends_at: datetime | None = None
    position: Position | None = None
    last_call_at: datetime | None = None

    @property
    def busy(self) -> bool:
        """At capacity."""
        return self.active_count >= self.capacity


class ChatMessage(Struct):
    """A message between dispatch and a driver. `author` is who wrote it; `seen_at` is when the driver saw a message of
    dispatch. `text` is None once it is erased.
    """

    id: str
    driver_id: str
    by_driver: bool
    author: str
    text: str | None
    at: datetime
    seen_at: datetime | None = None


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
    """A number of a zone that exceeded its threshold, until it is well below again."""

    id: str
    kind: AlertKind
    zone: str
    value: float
    threshold: float
    raised_at: datetime
    resolved_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None
