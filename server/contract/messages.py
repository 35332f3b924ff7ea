"""The whole vocabulary of the driver's socket as closed types, one union a direction.

`type` is the tag; field names on the wire are camelCase. Bounds that the contract promises stand in the types.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from server.contract.views import DrivenAssignmentView, DriverView, OfferView
from server.dispatch.model import Availability, Stop
from server.dispatch.refusals import NowWith

MessageId = Annotated[str, Meta(max_length=64)]
Id = Annotated[str, Meta(max_length=36)]
Reason = Annotated[str, Meta(max_length=500)]
Note = Annotated[str, Meta(max_length=1000)]
At = Annotated[str, Meta(max_length=40)]
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
    note: Note | None = None


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
    at: At | None = None


class Deed(_FromDriver, frozen=True, kw_only=True):
    """What is said of every deed: the app's id for it, the phone's times of doing and of sending, and where."""

    assignment_id: Id
    action_id: Id | None = None
    at: At | None = None
    sent_at: At | None = None
    lat: Lat | None = None
    lon: Lon | None = None


class Arrived(Deed, frozen=True, tag="arrived", kw_only=True):
    """The driver is at the store, or at the door."""

    where: Stop


class PickedUp(Deed, frozen=True, tag="picked_up", kw_only=True):
    """The goods are with the driver."""


class HandoverProof(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What was said at the door: the PIN, who took the goods, and a note."""

    pin: Annotated[str, Meta(max_length=16)] | None = None
    name: Annotated[str, Meta(max_length=200)] | None = None
    note: Note | None = None


class Completed(Deed, frozen=True, tag="completed", kw_only=True):
    """The goods are handed over; or back at the store, of an order that is returned."""

    proof: HandoverProof | None = None


class Release(Deed, frozen=True, tag="release", kw_only=True):
    """The driver gives the job back before pickup."""

    reason: Reason
    note: Note | None = None


class Failed(Deed, frozen=True, tag="failed", kw_only=True):
    """The goods cannot be handed over: they come back (`return`), or the job ends here (`end`)."""

    reason: Reason
    note: Note | None = None
    then: Literal["return", "end"] = "end"


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


FromDriver = (
    Accept
    | Reject
    | Received
    | Location
    | Arrived
    | PickedUp
    | Completed
    | Release
    | Failed
    | TakeBreak
    | EndShift
    | Pause
    | Resume
    | Ping
)


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
    now_with: NowWith | UnsetType = UNSET
    missing: list[str] | UnsetType = UNSET


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
