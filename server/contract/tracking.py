"""The customer's link to a delivery, and what it shows of it."""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b, sha256
from typing import Final, Literal

from msgspec import Struct

from server.contract.views import LocationView, instant, instant_or_none
from server.dispatch.model import OVER, Delivery, Position, RunStop

SHOWN_AFTER_END: Final = timedelta(hours=2)
"""For how long after its end a delivery is shown."""
ID_BYTES: Final = 16
MARK_BYTES: Final = 16
"""128 bits, which only a holder of the secret can make."""
PURPOSE: Final = b"callboard tracking link"

TrackingStage = Literal[
    "received", "assigned", "picked_up", "arriving", "arrived", "delivered", "not_delivered", "cancelled"
]


class TrackingLinks:
    """Makes and reads the links. A token is a delivery's id and a mark made with a secret, so nothing is stored.

    `address` is the public address; without it there are no links. The first of `secrets` makes marks, all are
    accepted.
    """

    def __init__(self, address: str, secrets: Sequence[str]) -> None:
        self.move_to(address)
        self._keys = [sha256(secret.encode()).digest() for secret in secrets]

    def move_to(self, address: str) -> None:
        """The public address is another one from now on, or empty."""
        self._prefix = address.rstrip("/") + "/track/" if address else None

    def url(self, delivery_id: str) -> str | None:
        return self._prefix + self._token(delivery_id, self._keys[0]) if self._prefix is not None else None

    def id_of(self, token: str) -> str | None:
        """The id of the delivery that a token names; None if nobody with a secret made the token."""
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"=")
        except (NotBase64, ValueError):
            return None
        if len(raw) != ID_BYTES + MARK_BYTES:
            return None
        text = raw[:ID_BYTES].hex()
        delivery_id = "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
        good = [hmac.compare_digest(self._token(delivery_id, key), token) for key in self._keys]
        return delivery_id if any(good) else None

    @staticmethod
    def _token(delivery_id: str, key: bytes) -> str:
        raw = bytes.fromhex(delivery_id.replace("-", ""))
        mark = blake2b(PURPOSE + raw, key=key, digest_size=MARK_BYTES).digest()
        return urlsafe_b64encode(raw + mark).decode().rstrip("=")


class TrackedDriver(Struct, frozen=True, rename="camel"):
    """The driver whose next stop is the customer."""

    first_name: str
    location: LocationView | None


class TrackingView(Struct, frozen=True, rename="camel"):
    """All that the customer may see. `estimatedArrivalAt` is null if it is not known, `pin` without one and after the
    end, `driver` unless the customer is their next stop.
    """

    stage: TrackingStage
    store_name: str
    estimated_arrival_at: str | None
    pin: str | None
    driver: TrackedDriver | None


class Carrier(Struct, frozen=True):
    """The driver of a delivery, with how many deliveries they have, and the stops of their run."""

    name: str
    active_count: int
    position: Position | None
    stops: tuple[RunStop, ...]


def tracking_view(
    d: Delivery, carrier: Carrier | None, now: datetime, expected_at: datetime | None
) -> TrackingView | None:
    """The view of a delivery at a time; None if its personal data was erased, or it ended more than two hours ago.

    `expected_at` is when its driver is expected at the customer, as far as that is known.
    """
    if d.erased or (d.status in OVER and (d.over_at is None or now >= d.over_at + SHOWN_AFTER_END)):
        return None
    is_next = carrier is not None and _is_next(d, carrier)
    arrival = None
    if d.status not in OVER and d.status != "RETURNING":
        arrival = expected_at or d.estimated_delivery_at or d.promised_at
        if arrival is not None and arrival <= now and expected_at is None:
            arrival = None
    driver = None
    if carrier is not None and is_next:
        p = carrier.position
        place = LocationView(p.lat, p.lon, instant(p.at)) if p is not None else None
        driver = TrackedDriver(first_name(carrier.name), place)
    pin = d.details.pin if d.status not in OVER and d.status != "RETURNING" else None
    return TrackingView(_stage(d, is_next=is_next), d.store_name, instant_or_none(arrival), pin, driver)


def first_name(name: str) -> str:
    """The first name of a whole one: "Ana" of "Ana Ruiz", and of "Ruiz, Ana"."""
    words = name.rpartition(",")[2].split() or name.split()
    return words[0].strip(",") if words else ""


def _is_next(d: Delivery, carrier: Carrier) -> bool:
    if d.status != "PICKED_UP":
        return False
    ahead = next((stop for stop in carrier.stops if stop.done_at is None), None)
    if ahead is None:
        return carrier.active_count == 1
    return ahead.delivery_id == d.id and ahead.kind == "dropoff"


def _stage(d: Delivery, *, is_next: bool) -> TrackingStage:
    match d.status:
        case "ASSIGNED":
            return "assigned"
        case "PICKED_UP":
            assignment = d.active_assignment()
            if assignment is not None and assignment.arrived_dropoff_at is not None:
                return "arrived"
            return "arriving" if is_next else "picked_up"
        case "DELIVERED":
            return "delivered"
        case "CANCELLED":
            return "cancelled"
        case "RETURNING" | "FAILED" | "RETURNED":
            return "not_delivered"
        case _:
            return "received"
