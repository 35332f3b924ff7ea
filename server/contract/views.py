"""Deliveries, offers, assignments and drivers as they are sent: camelCase fields, instants as text.

HTTP responses, socket messages, webhooks and pages all use these views.
"""

from datetime import UTC, datetime
from typing import Final, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from server.dispatch.deliveries import restorable_until
from server.dispatch.driver_runs import place_of
from server.dispatch.instants import instant as instant
from server.dispatch.instants import instant_or_none as instant_or_none
from server.dispatch.model import (
    Assignment,
    AssignmentSource,
    AssignmentStatus,
    Availability,
    ChatMessage,
    Delivery,
    DeliveryStatus,
    Driver,
    Offer,
    OfferPayload,
    Place,
    ProofKind,
    RiskCode,
    RunStop,
    RunStopKind,
    WarningCode,
)
from server.dispatch.phone_clocks import phone_time
from server.dispatch.policy import Policy, search_radius_km
from server.dispatch.risks import worst


def parse_instant(text: str) -> datetime:
    """The inverse of `instant`; accepts any RFC 3339 offset. Raises ValueError otherwise."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant needs an offset from UTC")
    return at.astimezone(UTC)


def parse_phone_time(text: str) -> datetime:
    """As `parse_instant`, for the time of a phone, whose clock may be anywhere."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant needs an offset from UTC")
    return phone_time(at)


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return instant(value)
    raise NotImplementedError(f"cannot write a {type(value).__name__} as JSON")


_encoder = msgspec.json.Encoder(enc_hook=_jsonable)


def to_json(value: object) -> str:
    """JSON text of views and messages, which contain instants as text already."""
    return _encoder.encode(value).decode()


class ArrivedView(Struct, frozen=True):
    """When the driver reported their arrival at the store and at the customer."""

    pickup: str | None = None
    dropoff: str | None = None


class AssignmentView(Struct, frozen=True, rename="camel"):
    """An assignment."""

    id: str
    delivery_id: str
    driver_id: str
    status: AssignmentStatus
    source: AssignmentSource
    created_at: str
    picked_up_at: str | None
    completed_at: str | None
    ended_at: str | None
    end_reason: str | None
    version: int
    end_note: str | None
    failed_at: str | None
    arrived_at: ArrivedView


class DrivenAssignmentView(AssignmentView, frozen=True, rename="camel"):
    """An assignment with everything that its driver needs. `pickup` is the store while the driver brings the goods
    back, also if they were collected from another driver.

    After the assignment has ended, names, phones, notes, pay and proof are left out; places keep point and address.
    """

    pickup: Place
    dropoff: Place
    store_name: str
    seller_order_id: str
    delivery_status: DeliveryStatus
    ready_at: str
    promised_at: str | None
    requirements: tuple[str, ...]
    notes: str | UnsetType | None = UNSET
    driver_pay_cents: int | UnsetType | None = UNSET
    tip_cents: int | UnsetType | None = UNSET
    currency: str | UnsetType = UNSET
    proof_required: tuple[ProofKind, ...] | UnsetType = UNSET


class OfferView(Struct, frozen=True, rename="camel"):
    """An offer as its driver sees it. `remainingMs` is the time left when the server wrote it, at least 0."""

    id: str
    delivery_id: str
    attempt: int
    created_at: str
    expires_at: str
    remaining_ms: int
    payload: OfferPayload


class RunStopView(Struct, frozen=True, rename="camel"):
    """A stop of a driver's run: the store, the customer, or the store to which the goods come back.

    `plannedAt` is when the goods are picked up or the stop is finished, as planned at the last change. A stop that is
    done has `doneAt`. `place` has no contacts; the assignment has them.
    """

    kind: RunStopKind
    delivery_id: str
    assignment_id: str
    place: Place
    store_name: str
    seller_order_id: str
    planned_at: str
    promised_at: str | UnsetType = UNSET
    done_at: str | UnsetType = UNSET


class ChatMessageView(Struct, frozen=True, rename="camel"):
    """A message of dispatch to a driver, as the driver sees it: `from` is who wrote it."""

    id: str
    text: str
    from_: str = msgspec.field(name="from")
    at: str


class RiskView(Struct, frozen=True):
    """A reason why a delivery may arrive late."""

    code: RiskCode
    since: str


class FailureView(Struct, frozen=True, rename="camel"):
    """A failed handover: why, when, and by which driver."""

    reason: str | None
    note: str | None
    at: str
    driver_id: str


class ProofView(Struct, frozen=True, rename="camel"):
    """A photo or signature of the handover."""

    id: str
    kind: str


class Expected(Struct, frozen=True):
    """What is expected of a delivery: when it gets a driver, or the `reason` if nobody can get it; when its goods are
    picked up, and when they are handed over.
    """

    assignment_at: datetime | None = None
    pickup_at: datetime | None = None
    delivery_at: datetime | None = None
    reason: str | None = None


NOTHING_EXPECTED: Final = Expected()


class DeliveryView(Struct, frozen=True, rename="camel"):
    """A delivery with its active or completed assignment. Only the roles service, ops and admin get `pin`, and
    `trackingUrl`, the customer's link, which shows it.

    `failureReason` says why a waiting delivery has no driver, `restorableUntil` until when a cancelled one can be
    restored. `estimatedAssignmentAt` is when a waiting delivery gets a driver: null if nobody can get it, and in
    webhooks and in the answer that creates the delivery, which do not estimate it. A test order has `test`: true.
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
    dispatch_at: str
    price_cents: int | None
    driver_pay_cents: int | None
    currency: str
    notes: str | None
    created_at: str
    unassigned_since: str | None
    current_offer_id: str | None
    accepted_offer_id: str | None
    offer_acceptance_count: int
    escalation_level: int
    search_radius_km: float
    assignment: AssignmentView | None
    version: int
    requirements: tuple[str, ...]
    promised_at: str | None
    proof_required: tuple[ProofKind, ...]
    tip_cents: int | None
    ready_at: str
    held_until: str | None
    estimated_assignment_at: str | None
    estimated_pickup_at: str | None
    estimated_delivery_at: str | None
    arrived_at: ArrivedView
    risk: RiskCode | None
    risks: list[RiskView]
    risk_level: int
    warnings: tuple[WarningCode, ...]
    tracking_url: str | None
    failure: FailureView | None
    proofs: list[ProofView]
    failure_reason: str | None
    restorable_until: str | None
    pin: str | UnsetType | None = UNSET
    test: bool | UnsetType = UNSET


class LocationView(Struct, frozen=True, rename="camel"):
    """A driver's last known position."""

    lat: float
    lon: float
    at: str


class DriverView(Struct, frozen=True, rename="camel"):
    """A driver. `connected`: a socket is open. `lastSeenAt`: the last message, call or position. `deviceCount`: the
    number of devices on which they are signed in, only in responses about drivers.
    """

    id: str
    name: str
    external_ref: str | None
    phone: str | None
    zone: str
    availability: Availability
    availability_until: str | None
    availability_reason: str | None
    busy: bool
    active_count: int
    capacity: int
    connected: bool
    location: LocationView | None
    last_seen_at: str | None
    vehicle: str | None
    tags: tuple[str, ...]
    active: bool
    shift_ends_at: str | None
    device_count: int | UnsetType = UNSET


def assignment_view(a: Assignment) -> AssignmentView:
    return AssignmentView(
        a.id,
        a.delivery_id,
        a.driver_id,
        a.status,
        a.source,
        instant(a.created_at),
        instant_or_none(a.picked_up_at),
        instant_or_none(a.completed_at),
        instant_or_none(a.ended_at),
        a.end_reason,
        a.version,
        a.end_note,
        instant_or_none(a.failed_at),
        arrived_view(a),
    )


def arrived_view(a: Assignment | None) -> ArrivedView:
    """The view of the driver's arrivals."""
    if a is None or (a.arrived_pickup_at is None and a.arrived_dropoff_at is None):
        return _NOWHERE
    return ArrivedView(instant_or_none(a.arrived_pickup_at), instant_or_none(a.arrived_dropoff_at))


_NOWHERE: Final = ArrivedView()


def driven_assignment_view(a: Assignment, d: Delivery) -> DrivenAssignmentView:
    active = a.status == "ACTIVE"
    return DrivenAssignmentView(
        a.id,
        a.delivery_id,
        a.driver_id,
        a.status,
        a.source,
        instant(a.created_at),
        instant_or_none(a.picked_up_at),
        instant_or_none(a.completed_at),
        instant_or_none(a.ended_at),
        a.end_reason,
        a.version,
        a.end_note,
        instant_or_none(a.failed_at),
        arrived_view(a),
        _collected_at(d) if active else _point(d.pickup),
        d.dropoff if active else _point(d.dropoff),
        d.store_name,
        d.seller_order_id,
        d.status,
        instant(d.is_ready_at()),
        instant_or_none(d.promised_at),
        d.requirements,
        d.notes if active else UNSET,
        d.driver_pay_cents if active else UNSET,
        d.tip_cents if active else UNSET,
        d.currency if active else UNSET,
        d.details.proof_required if active else UNSET,
    )


def _collected_at(d: Delivery) -> Place:
    """Where the goods are or were collected; for goods that come back, the store that gets them."""
    return d.details.store or d.pickup if d.status == "RETURNING" else d.pickup


def _point(place: Place) -> Place:
    return Place(place.lat, place.lon, place.address)


def run_stop_view(stop: RunStop, d: Delivery) -> RunStopView:
    return RunStopView(
        stop.kind,
        stop.delivery_id,
        stop.assignment_id,
        _point(place_of(stop, d)),
        d.store_name,
        d.seller_order_id,
        instant(stop.planned_at),
        UNSET if d.promised_at is None else instant(d.promised_at),
        UNSET if stop.done_at is None else instant(stop.done_at),
    )


def chat_message_view(message: ChatMessage) -> ChatMessageView:
    return ChatMessageView(message.id, message.text or "", message.author, instant(message.at))


def offer_view(o: Offer, now: datetime) -> OfferView:
    remaining = (o.expires_at - now).total_seconds() * 1000
    return OfferView(
        o.id,
        o.delivery_id,
        o.attempt,
        instant(o.created_at),
        instant(o.expires_at),
        max(0, round(remaining)),
        cast(OfferPayload, o.payload),
    )


def delivery_view(
    d: Delivery,
    policy: Policy,
    *,
    with_pin: bool = False,
    expected: Expected = NOTHING_EXPECTED,
    tracking_url: str | None = None,
) -> DeliveryView:
    """The view of a delivery under the policy in force. What is not `expected` at another time, is at the
    time that its driver agreed to.
    """
    assignment = d.assignment()
    last = d.last_assignment()
    details = d.details
    handover_failed = d.status in ("FAILED", "RETURNING", "RETURNED") and last is not None
    return DeliveryView(
        id=d.id,
        seller_id=d.seller_id,
        seller_order_id=d.seller_order_id,
        store_name=d.store_name,
        zone=d.zone,
        status=d.status,
        pickup=d.pickup,
        dropoff=d.dropoff,
        prep_seconds=d.prep_seconds,
        dispatch_at=instant(d.dispatch_at),
        price_cents=d.price_cents,
        driver_pay_cents=d.driver_pay_cents,
        currency=d.currency,
        notes=d.notes,
        created_at=instant(d.created_at),
        unassigned_since=instant_or_none(d.unassigned_since),
        current_offer_id=d.current_offer_id,
        accepted_offer_id=d.accepted_offer_id,
        offer_acceptance_count=d.offer_acceptance_count,
        escalation_level=d.unassigned.escalation_level if d.unassigned is not None else 0,
        search_radius_km=search_radius_km(d.widened_at is not None, policy),
        assignment=assignment_view(assignment) if assignment is not None else None,
        version=d.version,
        requirements=d.requirements,
        promised_at=instant_or_none(d.promised_at),
        proof_required=details.proof_required,
        tip_cents=d.tip_cents,
        ready_at=instant(d.is_ready_at()),
        held_until=instant_or_none(d.held_until),
        estimated_assignment_at=instant_or_none(expected.assignment_at),
        estimated_pickup_at=instant_or_none(expected.pickup_at or d.estimated_pickup_at),
        estimated_delivery_at=instant_or_none(expected.delivery_at or d.estimated_delivery_at),
        arrived_at=arrived_view(assignment),
        risk=worst(d),
        risks=[RiskView(risk.code, instant(risk.since)) for risk in d.risks],
        risk_level=d.risk_level,
        warnings=details.warnings,
        tracking_url=tracking_url,
        failure=_failure(last) if last is not None and handover_failed else None,
        proofs=_proofs(last),
        failure_reason=d.unassigned.failure_reason if d.status == "READY" and d.unassigned is not None else None,
        restorable_until=instant_or_none(restorable_until(d)) if d.status == "CANCELLED" else None,
        pin=details.pin if with_pin or details.pin is None else UNSET,
        test=details.test or UNSET,
    )


def _failure(a: Assignment) -> FailureView | None:
    return FailureView(a.end_reason, a.end_note, instant(a.failed_at), a.driver_id) if a.failed_at is not None else None


def _proofs(a: Assignment | None) -> list[ProofView]:
    if a is None or a.details is None:
        return []
    return [ProofView(proof.id, proof.kind) for proof in a.details.proofs]


def driver_view(d: Driver, device_count: int | UnsetType = UNSET) -> DriverView:
    """The view of a driver. Without an open socket, the last sign of life is its loss, the last call or the last
    position.
    """
    p = d.position
    seen = [at for at in (d.socket_lost_at, d.last_call_at, p.at if p is not None else None) if at is not None]
    return DriverView(
        d.id,
        d.name,
        d.external_ref,
        d.phone,
        d.zone,
        d.availability,
        instant_or_none(d.availability_until),
        d.availability_reason,
        d.busy,
        d.active_count,
        d.capacity,
        d.session_id is not None,
        LocationView(p.lat, p.lon, instant(p.at)) if p is not None else None,
        instant(max(seen)) if seen else None,
        d.vehicle,
        d.tags,
        d.active,
        instant_or_none(d.shift_ends_at),
        device_count,
    )
