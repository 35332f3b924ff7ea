"""What a driver's client reads: the messages of the contract, as far as they matter here.

Unknown fields and unknown kinds of message are passed over, as the contract demands of clients.
"""

from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from server.simulate.places import Place

Outcome = Literal["ACCEPTED", "REJECTED", "EXPIRED", "WITHDRAWN"]


class _Read(Struct, frozen=True, rename="camel", kw_only=True):
    pass


class Payload(_Read, frozen=True, kw_only=True):
    """What an offer says about the work."""

    pickup_location: Place
    dropoff_location: Place
    estimated_distance_km: float


class Offer(_Read, frozen=True, kw_only=True):
    """An offer to answer within `remaining_ms`."""

    id: str
    delivery_id: str
    remaining_ms: int
    payload: Payload


class Assignment(_Read, frozen=True, kw_only=True):
    """A delivery to carry out."""

    id: str
    delivery_id: str
    status: str
    source: str
    picked_up_at: str | None
    pickup: Place
    dropoff: Place


class Driver(_Read, frozen=True, kw_only=True):
    """The driver, as the server has them."""

    id: str
    availability: str


class Hello(_Read, frozen=True, kw_only=True):
    """The snapshot that opens a session."""

    seq: int
    driver: Driver
    offers: list[Offer]
    assignments: list[Assignment]
    missed: list[dict[str, Any]]
    resync: bool


class OfferMade(_Read, frozen=True, kw_only=True):
    """An offer was made."""

    seq: int
    offer: Offer


class OfferClosed(_Read, frozen=True, kw_only=True):
    """An offer is over."""

    seq: int
    offer_id: str
    delivery_id: str
    outcome: Outcome
    assignment_id: str | UnsetType = UNSET


class AssignmentChanged(_Read, frozen=True, kw_only=True):
    """An assignment was made or changed."""

    seq: int
    assignment: Assignment


class AvailabilityChanged(_Read, frozen=True, kw_only=True):
    """The driver's availability changed."""

    seq: int
    availability: str


class Ack(_Read, frozen=True, kw_only=True):
    """Done."""

    id: str
    result: dict[str, Any] = {}


class Error(_Read, frozen=True, kw_only=True):
    """Not done."""

    code: str
    message: str
    id: str | None = None


class Pong(_Read, frozen=True, kw_only=True):
    """The answer to `ping`."""

    id: str | None = None


class Goodbye(_Read, frozen=True, kw_only=True):
    """The server is about to close."""

    reason: str
    reconnect_after_ms: int


Streamed = OfferMade | OfferClosed | AssignmentChanged | AvailabilityChanged
Message = Streamed | Hello | Ack | Error | Pong | Goodbye

_KINDS: Final[dict[str, type[Message]]] = {
    "hello": Hello,
    "offer": OfferMade,
    "offer_closed": OfferClosed,
    "assignment": AssignmentChanged,
    "availability": AvailabilityChanged,
    "ack": Ack,
    "error": Error,
    "pong": Pong,
    "goodbye": Goodbye,
}
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def read(text: str | bytes) -> Message | None:
    """One frame; None for a kind not known here. Raises msgspec.MsgspecError for what is not of the contract."""
    return understand(_decode(text))


def understand(frame: dict[str, Any]) -> Message | None:
    """A frame that is decoded already."""
    kind = _KINDS.get(frame.get("type", ""))
    return None if kind is None else msgspec.convert(frame, kind)
