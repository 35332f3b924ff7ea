"""Every message of the driver's socket as a type, with one union for each direction.

`type` is the tag; field names on the wire are camelCase. The types also hold the limits that the contract promises.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from server.contract.views import ChatMessageView, DrivenAssignmentView, DriverView, OfferView, RunStopView
from server.dispatch.model import Availability, StopKind
from server.dispatch.names import INVISIBLE
from server.dispatch.refusals import NowWith

MessageId = Annotated[str, Meta(max_length=64)]
Id = Annotated[str, Meta(max_length=36)]
Reason = Annotated[str, Meta(max_length=500)]
Why = Annotated[str, Meta(min_length=1, max_length=500, pattern=f"[^{INVISIBLE}]")]
Note = Annotated[str, Meta(max_length=1000)]
Text = Annotated[str, Meta(min_length=1, max_length=1000, pattern=f"[^{INVISIBLE}]")]
At = Annotated[str, Meta(max_length=40)]
Lat = Annotated[float, Meta(ge=-90, le=90)]
Lon = Annotated[float, Meta(ge=-180, le=180)]
Heading = Annotated[float, Meta(ge=-360, le=360, description="degrees from north; negative is not known, as iOS says")]
SpeedKmh = Annotated[float, Meta(ge=-500, le=500, description="negative is not known, as iOS says")]
AccuracyM = Annotated[
    float, Meta(ge=-100_000, le=100_000_000, description="metres; negative: the phone does not know where it is")
]


class _FromDriver(Struct, frozen=True, rename="camel", tag_field="type", forbid_unknown_fields=True, kw_only=True):
    id: MessageId | None = None


class Accept(_FromDriver, frozen=True, tag="accept", kw_only=True):
    """Accepts an offer."""

    offer_id: Id


class Reject(_FromDriver, frozen=True, tag="reject", kw_only=True):
    """Rejects an offer. The server offers the delivery to the next driver at once."""

    offer_id: Id
    reason: Reason | None = None
    note: Note | None = None


class Received(_FromDriver, frozen=True, tag="received", kw_only=True):
    """The app has displayed the offer."""

    offer_id: Id


class Location(_FromDriver, frozen=True, tag="location", kw_only=True):
    """The driver's position; `at` is the phone's time."""

    lat: Lat
    lon: Lon
    heading: Heading | None = None
    speed_kmh: SpeedKmh | None = None
    accuracy_m: AccuracyM | None = None
    at: At | None = None


class Action(_FromDriver, frozen=True, kw_only=True):
    """The fields of every driver action: the app's id for it (`actionId`), when the driver did it (`at`) and when the
    app sent it (`sentAt`), both by the phone's clock, and where (`lat` and `lon`, or neither).
    """

    assignment_id: Id
    action_id: Id | None = None
    at: At | None = None
    sent_at: At | None = None
    lat: Lat | None = None
    lon: Lon | None = None


class Arrived(Action, frozen=True, tag="arrived", kw_only=True):
    """The driver has arrived at the store or at the customer."""

    where: StopKind


class PickedUp(Action, frozen=True, tag="picked_up", kw_only=True):
    """The driver has picked up the goods."""


class HandoverProof(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Proof of the handover: the customer's PIN, the name of the recipient, and a note."""

    pin: Annotated[str, Meta(max_length=16)] | None = None
    name: Annotated[str, Meta(max_length=200)] | None = None
    note: Note | None = None


class Completed(Action, frozen=True, tag="completed", kw_only=True):
    """The driver has handed over the goods; for a delivery in RETURNING, has brought them back to the store."""

    proof: HandoverProof | None = None


class Release(Action, frozen=True, tag="release", kw_only=True):
    """The driver gives the delivery back before pickup."""

    reason: Why
    note: Note | None = None


class Failed(Action, frozen=True, tag="failed", kw_only=True):
    """The driver cannot hand over the goods. They bring them back (`return`), or the assignment ends here (`end`)."""

    reason: Why
    note: Note | None = None
    then: Literal["return", "end"] = "end"


class TakeBreak(_FromDriver, frozen=True, tag="take_break", kw_only=True):
    """Starts a break, or changes the end of the current one; the minutes count from now, with `extend` from that end,
    at most to 120 minutes from now.
    """

    # As over HTTP, 5.0 is 5.
    duration_minutes: Annotated[float, Meta(ge=5, le=120, multiple_of=1)]
    reason: Reason | None = None
    extend: bool = False


class EndShift(_FromDriver, frozen=True, tag="end_shift", kw_only=True):
    """Ends the shift: no offers until `resume`."""


class Pause(_FromDriver, frozen=True, tag="pause", kw_only=True):
    """Pauses: no offers until `resume`."""


class Resume(_FromDriver, frozen=True, tag="resume", kw_only=True):
    """Makes the driver available for offers."""


class Seen(_FromDriver, frozen=True, tag="seen", kw_only=True):
    """The driver has seen a message of dispatch."""

    message_id: Id


class Say(_FromDriver, frozen=True, tag="say", kw_only=True):
    """The driver writes to dispatch, at most 10 messages a minute. The same `actionId` again is the same message."""

    text: Text
    action_id: Id | None = None


class Ping(_FromDriver, frozen=True, tag="ping", kw_only=True):
    """Checks the connection; the server answers `pong`."""


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
    | Seen
    | Say
    | Ping
)


class _ToDriver(Struct, frozen=True, rename="camel", tag_field="type", kw_only=True):
    pass


class Hello(_ToDriver, frozen=True, tag="hello", kw_only=True):
    """The first message of a session: everything that the app needs to be up to date."""

    session: str
    server_time: str
    heartbeat_seconds: int
    seq: int
    driver: DriverView
    offers: list[OfferView]
    assignments: list[DrivenAssignmentView]
    run: list[RunStopView] | None
    messages: list[ChatMessageView]
    missed: list[msgspec.Raw]
    resync: bool


class OfferMade(_ToDriver, frozen=True, tag="offer", kw_only=True):
    """A new offer. Answer it before its deadline."""

    seq: int
    offer: OfferView


class OfferClosed(_ToDriver, frozen=True, tag="offer_closed", kw_only=True):
    """An offer is closed. `assignmentId` is set if it led to an assignment."""

    seq: int
    offer_id: str
    delivery_id: str
    outcome: Literal["ACCEPTED", "REJECTED", "EXPIRED", "WITHDRAWN"]
    reason: str | UnsetType = UNSET
    assignment_id: str | UnsetType = UNSET


class AssignmentChanged(_ToDriver, frozen=True, tag="assignment", kw_only=True):
    """An assignment is new or has changed."""

    seq: int
    assignment: DrivenAssignmentView


class AvailabilityChanged(_ToDriver, frozen=True, tag="availability", kw_only=True):
    """The driver's availability has changed."""

    seq: int
    availability: Availability
    until: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class MessageWritten(_ToDriver, frozen=True, tag="message", kw_only=True):
    """Dispatch wrote to the driver. Answer with `seen` when the driver has seen it."""

    seq: int
    message: ChatMessageView


class RunChanged(_ToDriver, frozen=True, tag="run", kw_only=True):
    """The stops of a driver with more than one delivery, in the order in which they are best done. Stops that are done
    stay in it. It comes after every change; without stops when at most one delivery is left. Another order is allowed.
    """

    seq: int
    stops: list[RunStopView]


class Ack(_ToDriver, frozen=True, tag="ack", kw_only=True):
    """The request succeeded and is committed."""

    id: str
    result: dict[str, Any] | UnsetType = UNSET


class Error(_ToDriver, frozen=True, tag="error", kw_only=True):
    """The request was refused or is invalid; `code` as in the HTTP API."""

    id: str | UnsetType = UNSET
    code: str
    message: str
    now_with: NowWith | UnsetType = UNSET
    missing: list[str] | UnsetType = UNSET


class Pong(_ToDriver, frozen=True, tag="pong", kw_only=True):
    """Answers `ping`."""

    id: str | UnsetType = UNSET
    server_time: str


class Goodbye(_ToDriver, frozen=True, tag="goodbye", kw_only=True):
    """The server will close the socket. Reconnect after `reconnectAfterMs`."""

    reason: str
    reconnect_after_ms: int


Numbered = OfferMade | OfferClosed | AssignmentChanged | RunChanged | AvailabilityChanged | MessageWritten
"""The messages of a driver's stream."""
ToDriver = Hello | Numbered | Ack | Error | Pong | Goodbye

decode = msgspec.json.Decoder(FromDriver).decode
