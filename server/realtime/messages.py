"""The whole vocabulary of the driver's socket as closed types, one union a direction.

`type` is the tag; field names on the wire are camelCase. Bounds that the contract promises stand in the types.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from server.dispatch.model import Availability
from server.wire import DrivenAssignmentView, DriverView, OfferView

MessageId = Annotated[str, Meta(max_length=64)]
Id = Annotated[str, Meta(max_length=36)]
Reason = Annotated[str, Meta(max_length=500)]
Lat = Annotated[float, Meta(ge=-90, le=90)]
Lon = Annotated[float, Meta(ge=-180, le=180)]


class _FromDriver(Struct, frozen=True, rename="camel", tag_field="type", forbid_unknown_fields=True, kw_only=True):
    id: MessageId | None = None


class Accept(_FromDriver, frozen=True, tag="accept", kw_only=True):
    """Yes to an offer."""

    offer_id: Id


class Reject(_FromDriver, frozen=True, tag="reject", kw_only=True):
    """No to an offer."""

    offer_id: Id
    reason: Reason | None = None


class Received(_FromDriver, frozen=True, tag="received", kw_only=True):
    """The app has shown the offer."""

    offer_id: Id


class Location(_FromDriver, frozen=True, tag="location", kw_only=True):
    """Where the driver is; `at` is the phone's own time."""

    lat: Lat
    lon: Lon
    heading: Annotated[float, Meta(ge=0, le=360)] | None = None
    speed_kmh: Annotated[float, Meta(ge=0, le=500)] | None = None
    accuracy_m: Annotated[float, Meta(ge=0, le=100_000)] | None = None
    at: Annotated[str, Meta(max_length=40)] | None = None


class PickedUp(_FromDriver, frozen=True, tag="picked_up", kw_only=True):
    """The goods are with the driver."""

    assignment_id: Id


class Completed(_FromDriver, frozen=True, tag="completed", kw_only=True):
    """The goods are handed over."""

    assignment_id: Id


class TakeBreak(_FromDriver, frozen=True, tag="take_break", kw_only=True):
    """A break from now."""

    duration_minutes: Annotated[int, Meta(ge=5, le=120)]
    reason: Reason | None = None


class EndShift(_FromDriver, frozen=True, tag="end_shift", kw_only=True):
    """The driver goes home."""


class Pause(_FromDriver, frozen=True, tag="pause", kw_only=True):
    """No offers until `resume`."""


class Resume(_FromDriver, frozen=True, tag="resume", kw_only=True):
    """Ready for offers."""


class Ping(_FromDriver, frozen=True, tag="ping", kw_only=True):
    """Are you there?"""


FromDriver = Accept | Reject | Received | Location | PickedUp | Completed | TakeBreak | EndShift | Pause | Resume | Ping


class _ToDriver(Struct, frozen=True, rename="camel", tag_field="type", kw_only=True):
    pass


class Hello(_ToDriver, frozen=True, tag="hello", kw_only=True):
    """The snapshot that opens a session; with it alone the client is up to date."""

    session: str
    server_time: str
    heartbeat_seconds: int
    seq: int
    driver: DriverView
    offers: list[OfferView]
    assignments: list[DrivenAssignmentView]
    missed: list[msgspec.Raw]
    resync: bool


class OfferMade(_ToDriver, frozen=True, tag="offer", kw_only=True):
    """An offer to answer before its deadline."""

    seq: int
    offer: OfferView


class OfferClosed(_ToDriver, frozen=True, tag="offer_closed", kw_only=True):
    """An offer is over. `assignment_id` is there when it led to an assignment."""

    seq: int
    offer_id: str
    delivery_id: str
    outcome: Literal["ACCEPTED", "REJECTED", "EXPIRED", "WITHDRAWN"]
    reason: str | UnsetType = UNSET
    assignment_id: str | UnsetType = UNSET


class AssignmentChanged(_ToDriver, frozen=True, tag="assignment", kw_only=True):
    """An assignment was made or changed."""

    seq: int
    assignment: DrivenAssignmentView


class AvailabilityChanged(_ToDriver, frozen=True, tag="availability", kw_only=True):
    """The driver's availability changed."""

    seq: int
    availability: Availability
    until: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Ack(_ToDriver, frozen=True, tag="ack", kw_only=True):
    """Done, and committed."""

    id: str
    result: dict[str, Any] | UnsetType = UNSET


class Error(_ToDriver, frozen=True, tag="error", kw_only=True):
    """Not done, and why; codes as in HTTP."""

    id: str | UnsetType = UNSET
    code: str
    message: str


class Pong(_ToDriver, frozen=True, tag="pong", kw_only=True):
    """The answer to `ping`."""

    id: str | UnsetType = UNSET
    server_time: str


class Goodbye(_ToDriver, frozen=True, tag="goodbye", kw_only=True):
    """The server is about to close; come back after so many milliseconds."""

    reason: str
    reconnect_after_ms: int


Numbered = OfferMade | OfferClosed | AssignmentChanged | AvailabilityChanged
"""The messages of a driver's stream."""
ToDriver = Hello | OfferMade | OfferClosed | AssignmentChanged | AvailabilityChanged | Ack | Error | Pong | Goodbye

decode = msgspec.json.Decoder(FromDriver).decode
