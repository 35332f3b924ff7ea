"""Rows of dispatch for tests, whole and consistent, and the cast that acts on them.

Alice is in ops, Ada an admin, the shop an order source; Dan and Dora drive here, Max drives for another fleet.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from server.dispatch.model import (
    Actor,
    Assignment,
    Availability,
    ChatMessage,
    Delivery,
    Driver,
    Offer,
    OfferPayload,
    Place,
    Position,
    Still,
    Unassigned,
)
from server.dispatch.policy import DEFAULT_POLICY, Policy
from server.dispatch.world import World

NOW = datetime(2026, 2, 1, 18, 0, tzinfo=UTC)
"""A Sunday evening."""

PICKUP = Place(52.5200, 13.4050, "1 Market Square")
DROPOFF = Place(52.5300, 13.4200, "7 Garden Street")


def id_of(name: str) -> str:
    """The same id for the same name, every time."""
    return str(uuid5(NAMESPACE_DNS, name))


DAN, DORA, MAX = id_of("Dan"), id_of("Dora"), id_of("Max")
SOUP, CAKE = id_of("soup"), id_of("cake")
NODE, SESSION = id_of("node"), id_of("session")

ALICE = Actor("ops", "alice")
ADA = Actor("admin", "ada")
SHOP = Actor("service", "shop")


def by(driver_id: str) -> Actor:
    """That driver, acting."""
    return Actor("driver", driver_id)


def minutes(count: float) -> timedelta:
    """So many minutes."""
    return timedelta(minutes=count)


def seconds(count: float) -> timedelta:
    """So many seconds."""
    return timedelta(seconds=count)


def a_policy(**changes: Any) -> Policy:
    """The default policy with changes."""
    return Policy(**changes)


def a_driver(name: str = "Dan", *, availability: Availability = "available", **changes: Any) -> Driver:
    """Dispatchable unless changed: available, connected, at the pickup a moment ago."""
    row: dict[str, Any] = {
        "id": id_of(name),
        "name": name,
        "zone": "default",
        "capacity": 1,
        "availability": availability,
        "last_availability_change": NOW - minutes(60),
        "session_id": SESSION,
        "session_node": NODE,
        "position": Position(PICKUP.lat, PICKUP.lon, NOW - seconds(5)),
    }
    return Driver(**row | changes)


def a_driver_gone(name: str = "Dan", *, since: timedelta = timedelta(minutes=10), **changes: Any) -> Driver:
    """Like a_driver, their socket lost so long ago."""
    gone: dict[str, Any] = {"session_id": None, "session_node": None, "socket_lost_at": NOW - since}
    return a_driver(name, **gone | changes)


def a_delivery(name: str = "soup", *, waiting: timedelta = timedelta(minutes=1), **changes: Any) -> Delivery:
    """READY, and unassigned so long; the pickup where a_driver is. With another status, as it would be then."""
    status = changes.pop("status", "READY")
    since = NOW - waiting
    row: dict[str, Any] = {
        "id": id_of(name),
        "seller_id": "shop",
        "seller_order_id": f"A-{name}",
        "store_name": "Green Bowl",
        "zone": "default",
        "status": status,
        "pickup": PICKUP,
        "dropoff": DROPOFF,
        "prep_seconds": 600,
        "dispatch_at": NOW + minutes(60) if status == "SCHEDULED" else since,
        "created_at": since,
        "fingerprint": name,
    }
    if status != "SCHEDULED":
        row["unassigned"] = Unassigned(row["id"], "searching", since, since)
    if status == "READY":
        row["unassigned_since"] = since
    return Delivery(**row | changes)


def a_payload(delivery: Delivery) -> OfferPayload:
    """Plausible; no rule reads it."""
    return OfferPayload(
        pickup_location=delivery.pickup,
        pickup_store_name=delivery.store_name,
        dropoff_location=delivery.dropoff,
        estimated_pickup_time_min=10,
        estimated_delivery_time="2026-02-01T18:30:00.000Z",
        estimated_distance_km=0.0,
        estimated_earning_cents=450,
        currency="USD",
    )


def an_open_offer(
    delivery: Delivery, driver: Driver, *, age: timedelta = timedelta(seconds=10), **changes: Any
) -> Offer:
    """The delivery held out to the driver for 30 s, so long ago; both know of it."""
    offer = _an_offer(delivery, driver, NOW - age, changes)
    delivery.current_offer_id = offer.id
    driver.open_offer_id, driver.open_offer_delivery_id = offer.id, delivery.id
    return offer


def a_closed_offer(delivery: Delivery, driver: Driver, status: str, *, age: timedelta, **changes: Any) -> Offer:
    """An offer that ended so long ago."""
    row: dict[str, Any] = {"status": status, "closed_at": NOW - age}
    return _an_offer(delivery, driver, NOW - age - seconds(10), row | changes)


def _an_offer(delivery: Delivery, driver: Driver, at: datetime, changes: dict[str, Any]) -> Offer:
    attempt = len(delivery.offers) + 1
    row: dict[str, Any] = {
        "id": id_of(f"{delivery.id}: offer {attempt}"),
        "delivery_id": delivery.id,
        "driver_id": driver.id,
        "status": "PENDING",
        "attempt": attempt,
        "payload": a_payload(delivery),
        "created_at": at,
        "expires_at": at + seconds(30),
    }
    offer = Offer(**row | changes)
    delivery.offers[offer.id] = offer
    return offer


def an_assignment(delivery: Delivery, driver: Driver, *, offer: Offer | None = None, **changes: Any) -> Assignment:
    """The delivery in the driver's hands, or no longer; both know of it."""
    row: dict[str, Any] = {
        "id": id_of(f"{delivery.id}: assignment {len(delivery.assignments) + 1}"),
        "delivery_id": delivery.id,
        "driver_id": driver.id,
        "offer_id": offer.id if offer is not None else None,
        "status": "ACTIVE",
        "source": "accepted" if offer is not None else "manual",
        "created_at": NOW - minutes(5),
    }
    assignment = Assignment(**row | changes)
    delivery.assignments[assignment.id] = assignment
    if assignment.status == "ACTIVE":
        driver.active_count += 1
        delivery.status = "ASSIGNED" if assignment.picked_up_at is None else "PICKED_UP"
        delivery.unassigned_since = None
        assert delivery.unassigned is not None
        delivery.unassigned.escalation_status = "ASSIGNED"
    return assignment


def a_world(
    *rows: Delivery | Driver,
    now: datetime = NOW,
    policy: Policy = DEFAULT_POLICY,
    absent: Iterable[str] = (),
    by_external_ref: dict[str, str] | None = None,
    chats: dict[str, dict[str, ChatMessage]] | None = None,
    still: dict[str, Still] | None = None,
) -> World:
    """A world that has locked exactly these rows; `absent` are locked ids without a row, of either kind."""
    deliveries: dict[str, Delivery | None] = dict.fromkeys(absent)
    drivers: dict[str, Driver | None] = dict.fromkeys(absent)
    deliveries |= {row.id: row for row in rows if isinstance(row, Delivery)}
    drivers |= {row.id: row for row in rows if isinstance(row, Driver)}
    return World(now, policy, deliveries, drivers, by_external_ref, chats=chats, still=still)
