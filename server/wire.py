"""What deliveries, offers, assignments and drivers look like on the wire: camelCase, instants as text.

Answers, messages and pages are all built from these views. This module knows no transport.
"""

from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from msgspec import Struct

from server.dispatch.instants import instant as instant
from server.dispatch.instants import instant_or_none as instant_or_none
from server.dispatch.model import (
    Assignment,
    AssignmentSource,
    AssignmentStatus,
    Availability,
    Delivery,
    DeliveryStatus,
    Driver,
    Offer,
    OfferPayload,
    Point,
)
from server.dispatch.policy import Policy


def parse_instant(text: str) -> datetime:
    """The inverse of `instant`; any RFC 3339 offset is accepted. ValueError otherwise."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("an instant needs an offset from UTC")
    return at.astimezone(UTC)


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return instant(value)
    raise NotImplementedError(f"cannot write a {type(value).__name__} as JSON")


_encoder = msgspec.json.Encoder(enc_hook=_jsonable)


def to_json(value: Any) -> str:
    """JSON text of views and messages; they hold instants as text already."""
    return _encoder.encode(value).decode()


class AssignmentView(Struct, frozen=True, rename="camel"):
    """An assignment as the contract shows it."""

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


class DrivenAssignmentView(AssignmentView, frozen=True, rename="camel", kw_only=True):
    """An assignment with what its driver needs to carry it out."""

    pickup: Point
    dropoff: Point
    store_name: str


class OfferView(Struct, frozen=True, rename="camel"):
    """An offer as its driver sees it. `remaining_ms` counts from the moment of writing, never below 0."""

    id: str
    delivery_id: str
    attempt: int
    created_at: str
    expires_at: str
    remaining_ms: int
    payload: OfferPayload


class DeliveryView(Struct, frozen=True, rename="camel"):
    """A delivery with its active or completed assignment."""

    id: str
    seller_id: str
    seller_order_id: str
    store_name: str
    zone: str
    status: DeliveryStatus
    pickup: Point
    dropoff: Point
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


class LocationView(Struct, frozen=True, rename="camel"):
    """Where a driver was seen last."""

    lat: float
    lon: float
    at: str


class DriverView(Struct, frozen=True, rename="camel"):
    """A driver; `connected` says whether a socket is open, `last_seen_at` when they were last heard of."""

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


def assignment_view(a: Assignment) -> AssignmentView:
    """The view of an assignment."""
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
    )


def driven_assignment_view(a: Assignment, d: Delivery) -> DrivenAssignmentView:
    """The view of an assignment for the driver who carries it out."""
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
        pickup=d.pickup,
        dropoff=d.dropoff,
        store_name=d.store_name,
    )


def offer_view(o: Offer, now: datetime) -> OfferView:
    """The view of an offer, as of `now`."""
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


def search_radius_km(widened: bool, policy: Policy) -> float:
    """How far from the pickup drivers are looked for, in a straight line."""
    return policy.wide_search_radius_km if widened else policy.search_radius_km


def delivery_view(d: Delivery, policy: Policy) -> DeliveryView:
    """The view of a delivery under the policy in force."""
    assignment = d.assignment()
    return DeliveryView(
        d.id,
        d.seller_id,
        d.seller_order_id,
        d.store_name,
        d.zone,
        d.status,
        d.pickup,
        d.dropoff,
        d.prep_seconds,
        instant(d.dispatch_at),
        d.price_cents,
        d.driver_pay_cents,
        d.currency,
        d.notes,
        instant(d.created_at),
        instant_or_none(d.unassigned_since),
        d.current_offer_id,
        d.accepted_offer_id,
        d.offer_acceptance_count,
        d.unassigned.escalation_level if d.unassigned is not None else 0,
        search_radius_km(d.widened_at is not None, policy),
        assignment_view(assignment) if assignment is not None else None,
        d.version,
    )


def driver_view(d: Driver) -> DriverView:
    """The view of a driver. With no socket open they were last seen when it was lost, or when they last called."""
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
    )
