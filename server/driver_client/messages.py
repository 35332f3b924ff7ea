"""What a driver's app says and hears: the messages of the contract, a type for each.

Unknown fields are passed over, as the contract demands of clients; so are unknown kinds of message, by `understand`.
What a later version added has a default here, so that an older server will do.
"""

from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType

Frame = dict[str, Any]
"""A message as JSON."""
Outcome = Literal["ACCEPTED", "REJECTED", "EXPIRED", "WITHDRAWN"]
Stop = Literal["pickup", "dropoff"]


# From the driver


class FromDriver(Struct, frozen=True, rename="camel", tag_field="type", omit_defaults=True, kw_only=True):
    """What all of them are."""


class Accept(FromDriver, frozen=True, tag="accept", kw_only=True):
    """Yes to an offer."""

    offer_id: str


class Reject(FromDriver, frozen=True, tag="reject", kw_only=True):
    """No to an offer: a code of the contract, or the driver's own words."""

    offer_id: str
    reason: str | None = None
    note: str | None = None


class Received(FromDriver, frozen=True, tag="received", kw_only=True):
    """The app has shown the offer."""

    offer_id: str


class Location(FromDriver, frozen=True, tag="location", kw_only=True):
    """Where the driver is: degrees, km/h, metres."""

    lat: float
    lon: float
    heading: float | None = None
    speed_kmh: float | None = None
    accuracy_m: float | None = None
    at: str | None = None


class Deed(FromDriver, frozen=True, kw_only=True):
    """What a driver does about an assignment. `at` and `sent_at` are the phone's times of doing and of sending.

    The same `action_id` over the socket and over HTTP is the same action.
    """

    assignment_id: str
    action_id: str | None = None
    at: str | None = None
    sent_at: str | None = None
    lat: float | None = None
    lon: float | None = None


class Arrived(Deed, frozen=True, tag="arrived", kw_only=True):
    """The driver is at the store, or at the door."""

    where: Stop


class PickedUp(Deed, frozen=True, tag="picked_up", kw_only=True):
    """The goods are with the driver."""


class Proof(Struct, frozen=True, omit_defaults=True):
    """What was said at the door: the PIN, who took the goods, a note."""

    pin: str | None = None
    name: str | None = None
    note: str | None = None


class Completed(Deed, frozen=True, tag="completed", kw_only=True):
    """The goods are handed over, or back at the store."""

    proof: Proof | None = None


class Release(Deed, frozen=True, tag="release", kw_only=True):
    """The driver gives the delivery back before pickup."""

    reason: str
    note: str | None = None


class Failed(Deed, frozen=True, tag="failed", kw_only=True):
    """The goods cannot be handed over: they come back (`return`), or the assignment ends here (`end`)."""

    reason: str
    note: str | None = None
    then: Literal["return", "end"]


class TakeBreak(FromDriver, frozen=True, tag="take_break", kw_only=True):
    """A break of 5 to 120 minutes."""

    duration_minutes: int
    reason: str | None = None


class EndShift(FromDriver, frozen=True, tag="end_shift", kw_only=True):
    """The driver goes home."""


class Pause(FromDriver, frozen=True, tag="pause", kw_only=True):
    """No offers until `resume`."""


class Resume(FromDriver, frozen=True, tag="resume", kw_only=True):
    """Ready for offers."""


class Seen(FromDriver, frozen=True, tag="seen", kw_only=True):
    """The driver has seen a message of dispatch."""

    message_id: str


class Say(FromDriver, frozen=True, tag="say", kw_only=True):
    """The driver writes to dispatch."""

    text: str
    action_id: str | None = None


class Ping(FromDriver, frozen=True, tag="ping", kw_only=True):
    """Are you there?"""


class Call(NamedTuple):
    """A POST: its path, and its body if it has one."""

    path: str
    body: Frame | None


_CALLS: Final = {
    "accept": "offers/{offerId}/accept",
    "reject": "offers/{offerId}/reject",
    "received": "offers/{offerId}/received",
    "location": "location",
    "arrived": "assignments/{assignmentId}/arrived",
    "picked_up": "assignments/{assignmentId}/pickup",
    "completed": "assignments/{assignmentId}/complete",
    "release": "assignments/{assignmentId}/release",
    "failed": "assignments/{assignmentId}/failed",
    "take_break": "availability/take-break",
    "end_shift": "availability/end-shift",
    "pause": "availability/pause",
    "resume": "availability/resume",
    "seen": "messages/{messageId}/seen",
    "say": "messages",
}


def as_frame(message: FromDriver) -> Frame:
    """A message as it goes over the socket."""
    frame: Frame = msgspec.to_builtins(message)
    return frame


def as_call(driver_id: str, message: FromDriver) -> Call:
    """The same over HTTP. A `ping` has no such form."""
    frame = as_frame(message)
    path = _CALLS[frame.pop("type")].format_map(frame)
    about = {name: value for name, value in frame.items() if name not in ("offerId", "assignmentId", "messageId")}
    return Call(f"/drivers/{driver_id}/{path}", about or None)


# To the driver


class _Read(Struct, frozen=True, rename="camel", kw_only=True):
    pass


class Place(_Read, frozen=True, kw_only=True):
    """A store or a door: its place in degrees, and the contact there."""

    lat: float
    lon: float
    address: str | None = None
    name: str | None = None
    phone: str | None = None
    notes: str | None = None


class Payload(_Read, frozen=True, kw_only=True):
    """What an offer says about the work."""

    pickup_location: Place
    dropoff_location: Place
    pickup_store_name: str = ""
    estimated_distance_km: float


class Offer(_Read, frozen=True, kw_only=True):
    """An offer to answer within `remaining_ms`."""

    id: str
    delivery_id: str
    expires_at: str = ""
    remaining_ms: int
    payload: Payload


class ArrivedAt(_Read, frozen=True, kw_only=True):
    """When the driver arrived, as the server knows it."""

    pickup: str | None = None
    dropoff: str | None = None


class Assignment(_Read, frozen=True, kw_only=True):
    """A delivery to carry out. `delivery_status` is RETURNING while the goods go back to the store."""

    id: str
    delivery_id: str
    status: str
    source: str
    picked_up_at: str | None
    failed_at: str | None = None
    arrived_at: ArrivedAt = ArrivedAt()
    version: int = 1
    pickup: Place
    dropoff: Place
    store_name: str = ""
    delivery_status: str = ""
    ready_at: str | None = None
    promised_at: str | None = None
    proof_required: tuple[str, ...] = ()


class Driver(_Read, frozen=True, kw_only=True):
    """The driver, as the server has them."""

    id: str
    availability: str


class _ToDriver(Struct, frozen=True, rename="camel", tag_field="type", kw_only=True):
    pass


class Written(_Read, frozen=True, kw_only=True):
    """A message of dispatch."""

    id: str
    text: str
    at: str


class RunStop(_Read, frozen=True, kw_only=True):
    """A stop of the driver's run."""

    kind: str
    delivery_id: str
    assignment_id: str
    done_at: str | None = None


class Hello(_ToDriver, frozen=True, tag="hello", kw_only=True):
    """The snapshot that opens a session. `missed` is what came after the `lastSeq` that was asked for."""

    session: str = ""
    heartbeat_seconds: float = 20.0
    seq: int
    driver: Driver
    offers: list[Offer]
    assignments: list[Assignment]
    run: list[RunStop] | None = None
    messages: list[Written] = []
    missed: list[Frame]
    resync: bool


class OfferMade(_ToDriver, frozen=True, tag="offer", kw_only=True):
    """An offer was made."""

    seq: int
    offer: Offer


class OfferClosed(_ToDriver, frozen=True, tag="offer_closed", kw_only=True):
    """An offer is closed."""

    seq: int
    offer_id: str
    delivery_id: str
    outcome: Outcome
    assignment_id: str | UnsetType = UNSET


class AssignmentChanged(_ToDriver, frozen=True, tag="assignment", kw_only=True):
    """An assignment was made or changed."""

    seq: int
    assignment: Assignment


class RunChanged(_ToDriver, frozen=True, tag="run", kw_only=True):
    """The stops of a driver with more than one delivery."""

    seq: int
    stops: list[RunStop]


class AvailabilityChanged(_ToDriver, frozen=True, tag="availability", kw_only=True):
    """The driver's availability changed."""

    seq: int
    availability: str


class MessageWritten(_ToDriver, frozen=True, tag="message", kw_only=True):
    """Dispatch wrote to the driver."""

    seq: int
    message: Written


class Named(_Read, frozen=True, kw_only=True):
    """An assignment, as an answer shows it."""

    id: str
    delivery_id: str = ""
    driver_id: str = ""
    status: str = ""


class Result(_Read, frozen=True, kw_only=True):
    """What an answer brings along."""

    assignment: Named | None = None
    status: str | None = None


class Ack(_ToDriver, frozen=True, tag="ack", kw_only=True):
    """Done, and committed."""

    id: str
    result: Result = Result()


class Error(_ToDriver, frozen=True, tag="error", kw_only=True):
    """Not done. `now_with` says who has a delivery that is no longer this driver's, `missing` what proof is missing.

    There is no `id` where the message had none.
    """

    code: str
    message: str = ""
    id: str = ""
    now_with: str | None = None
    missing: tuple[str, ...] = ()


class Pong(_ToDriver, frozen=True, tag="pong", kw_only=True):
    """The answer to `ping`."""

    id: str = ""


class Goodbye(_ToDriver, frozen=True, tag="goodbye", kw_only=True):
    """The server is about to close."""

    reason: str
    reconnect_after_ms: int


Streamed = OfferMade | OfferClosed | AssignmentChanged | RunChanged | AvailabilityChanged | MessageWritten
"""The messages that have a number."""
ToDriver = Streamed | Hello | Ack | Error | Pong | Goodbye

_KINDS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(ToDriver))

decode: Final = msgspec.json.Decoder(ToDriver).decode
"""A message from its bytes. Raises msgspec.MsgspecError, also for a kind that is not known here."""


def understand(frame: Frame) -> ToDriver | None:
    """A message that is JSON already; None for a kind that is not known here. Raises msgspec.ValidationError."""
    return msgspec.convert(frame, ToDriver) if frame.get("type") in _KINDS else None
