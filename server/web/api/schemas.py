"""The bodies and queries of the HTTP API as strict structs: camelCase, every bound in the type.

The rules never see what these types refuse, and what they accept fits into the database. Responses are in `answers.py`.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from server.contract.messages import AccuracyM, Heading, Lat, Lon, SpeedKmh
from server.contract.webhook_events import EVERYTHING, TYPES
from server.dispatch.model import Availability, DeliveryStatus, ProofKind, StopKind
from server.dispatch.money import EXPONENTS
from server.dispatch.names import INVISIBLE
from server.store.reads.notices import NoticeKind, NoticeStatus, To

# Declared here but checked by `Body`, which refuses NUL at a fraction of the cost of a pattern.
NO_NUL: Final = {"pattern": "^[^\\u0000]*$"}
THREE: Final = {"pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]+[^\s\u0000][^\u0000]*$"}
_SOMETHING: Final = rf"^[^\u0000]*[^{INVISIBLE}][^\u0000]*$"
# Python's `$` also matches before a final line feed, so texts of a fixed length also have `max_length`.
UUID_PATTERN: Final = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
INT4: Final = 2_147_483_647

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=_SOMETHING)]
Zone = Annotated[str, Meta(min_length=1, max_length=64, pattern=_SOMETHING)]
Key = Annotated[str, Meta(max_length=200, extra_json_schema=NO_NUL)]
Address = Annotated[str, Meta(max_length=500, extra_json_schema=NO_NUL)]
Notes = Annotated[str, Meta(max_length=2000, extra_json_schema=NO_NUL)]
Reason = Annotated[str, Meta(min_length=1, max_length=500, pattern=_SOMETHING)]
DriversReason = Annotated[str, Meta(max_length=500, extra_json_schema=NO_NUL)]
Note = Annotated[str, Meta(max_length=1000, extra_json_schema=NO_NUL)]
VersionSeen = Annotated[int, Meta(ge=1, le=INT4)]
Cents = Annotated[int, Meta(ge=0, le=INT4)]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", max_length=3, extra_json_schema={"enum": sorted(EXPONENTS)})]
Instant = Annotated[datetime, Meta(tz=True)]
# Text, because msgspec reads a number in a query as seconds since 1970.
InstantText = Annotated[str, Meta(description="RFC 3339", extra_json_schema={"format": "date-time"})]
IdGiven = Annotated[str, Meta(pattern=UUID_PATTERN, max_length=36, extra_json_schema={"format": "uuid"})]
Mode = Literal["offer", "assign"]


Tag = Annotated[str, Meta(min_length=1, max_length=40, pattern=_SOMETHING)]
Tags = Annotated[tuple[Tag, ...], Meta(max_length=20)]
Proofs = Annotated[tuple[ProofKind, ...], Meta(max_length=3)]
Phone = Annotated[str, Meta(min_length=1, max_length=40, pattern=_SOMETHING)]
Vehicle = Annotated[str, Meta(min_length=1, max_length=40, pattern=_SOMETHING)]
Capacity = Annotated[int, Meta(ge=1, le=100)]
Pin = Annotated[str, Meta(pattern="^[0-9]{4}$", max_length=4)]


class _Given(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A request's body."""


class RequestQuery(Struct, frozen=True, rename="camel"):
    """A request's query."""


class Place(_Given, frozen=True):
    """A point in degrees (WGS 84), its address, the contact person, and notes for the driver."""

    lat: Lat
    lon: Lon
    address: Address | None = None
    name: Annotated[str, Meta(max_length=200, extra_json_schema=NO_NUL)] | None = None
    phone: Annotated[str, Meta(max_length=40, extra_json_schema=NO_NUL)] | None = None
    notes: Annotated[str, Meta(max_length=1000, extra_json_schema=NO_NUL)] | None = None


class NewDelivery(_Given, frozen=True):
    """An order to deliver. The search for a driver starts at `dispatchAt`, or at once without it. Null means absent."""

    seller_order_id: Name
    store_name: Name
    pickup: Place
    dropoff: Place
    seller_id: Key | None = None
    zone: Zone | None = None
    prep_seconds: Annotated[int, Meta(ge=0, le=86_400)] | None = None
    dispatch_at: Instant | None = None
    price_cents: Cents | None = None
    driver_pay_cents: Cents | None = None
    currency: Currency | None = None
    notes: Notes | None = None
    requirements: Tags | None = None
    promised_at: Instant | None = None
    proof_required: Proofs | None = None
    pin: Pin | None = None
    tip_cents: Cents | None = None


class ChangedDelivery(_Given, frozen=True):
    """The fields to change; null clears a field. `version` is the version of the delivery that the caller read."""

    version: VersionSeen
    store_name: Name | UnsetType = UNSET
    pickup: Place | UnsetType = UNSET
    dropoff: Place | UnsetType = UNSET
    prep_seconds: Annotated[int, Meta(ge=0, le=86_400)] | UnsetType | None = UNSET
    dispatch_at: Instant | UnsetType = UNSET
    price_cents: Cents | UnsetType | None = UNSET
    driver_pay_cents: Cents | UnsetType | None = UNSET
    currency: Currency | UnsetType = UNSET
    notes: Notes | UnsetType | None = UNSET
    requirements: Tags | UnsetType | None = UNSET
    promised_at: Instant | UnsetType | None = UNSET
    proof_required: Proofs | UnsetType | None = UNSET
    pin: Pin | UnsetType | None = UNSET
    tip_cents: Cents | UnsetType | None = UNSET


class Delay(_Given, frozen=True):
    """How many minutes more the store needs, and why. `version` is the version of the delivery that the caller read:
    with it, two reports of one delay do not add up.
    """

    minutes: Annotated[int, Meta(ge=1, le=240)]
    reason: DriversReason | None = None
    version: VersionSeen | None = None


class Retry(_Given, frozen=True):
    """Why the delivery is retried."""

    reason: Reason


class Cancellation(_Given, frozen=True):
    """Why. `force` cancels after pickup, for the roles ops and admin. `version` is the version that the caller read."""

    reason: Reason
    force: bool = False
    version: VersionSeen | None = None


class NewDriver(_Given, frozen=True):
    """A driver to register. `capacity` is how many deliveries they can carry at once."""

    name: Name
    external_ref: Name | None = None
    phone: Phone | None = None
    zone: Zone = "default"
    capacity: Capacity = 1
    vehicle: Vehicle | None = None
    tags: Tags = ()
    shift_ends_at: Instant | None = None


class ChangedDriver(_Given, frozen=True):
    """The fields to change; null clears a field."""

    name: Name | UnsetType = UNSET
    external_ref: Name | UnsetType | None = UNSET
    phone: Phone | UnsetType | None = UNSET
    zone: Zone | UnsetType = UNSET
    capacity: Capacity | UnsetType = UNSET
    vehicle: Vehicle | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET
    shift_ends_at: Instant | UnsetType | None = UNSET


class TokenRequest(_Given, frozen=True):
    """How many hours the token is valid."""

    hours: Annotated[float, Meta(ge=0.01, le=8760)] = 12.0


DEVICE_NAME_LIMIT: Final = 60


class SignIn(_Given, frozen=True):
    """The code of an invitation. With an `actionId`, the same sign-in can be sent again if its answer was lost. `name`
    is the name of the device on screens.
    """

    code: Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema=NO_NUL)]
    name: Annotated[str, Meta(max_length=DEVICE_NAME_LIMIT, extra_json_schema=NO_NUL)] | None = None
    action_id: IdGiven | None = None


class Renewal(_Given, frozen=True):
    """The newest device token. With an `actionId`, the same renewal can be sent again if its answer was lost."""

    device_token: Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema=NO_NUL)]
    action_id: IdGiven | None = None


class SignOut(_Given, frozen=True):
    """The newest device token."""

    device_token: Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema=NO_NUL)]


class Location(_Given, frozen=True):
    """The driver's position; `at` by the phone's clock."""

    lat: Lat
    lon: Lon
    heading: Heading | None = None
    speed_kmh: SpeedKmh | None = None
    accuracy_m: AccuracyM | None = None
    at: Instant | None = None


class EmptyBody(_Given, frozen=True):
    """An empty object."""


class Acceptance(_Given, frozen=True):
    """`acceptedAt` is the phone's time. Only the server's time decides whether the offer is still open."""

    accepted_at: Instant | None = None


class Rejection(_Given, frozen=True):
    """Why the driver rejects: a code or free text, and a note."""

    reason: DriversReason | None = None
    note: Note | None = None


class Action(_Given, frozen=True, kw_only=True):
    """The app's id for the action (`actionId`), when the driver did it (`at`) and when the app sent it (`sentAt`), both
    by the phone's clock, and where (`lat` and `lon`, or neither).
    """

    action_id: IdGiven | None = None
    at: Instant | None = None
    sent_at: Instant | None = None
    lat: Lat | None = None
    lon: Lon | None = None


class ReportQuery(RequestQuery, frozen=True):
    """With `present=0` the report does not make the driver present: it comes from a device that they do not use now."""

    present: bool = True


class Arrival(Action, frozen=True, kw_only=True):
    """Where the driver has arrived: at the store or at the customer."""

    where: StopKind


class HandoverProof(_Given, frozen=True):
    """Proof of the handover: the customer's PIN, the name of the recipient, and a note."""

    pin: Annotated[str, Meta(max_length=16, extra_json_schema=NO_NUL)] | None = None
    name: Annotated[str, Meta(max_length=200, extra_json_schema=NO_NUL)] | None = None
    note: Note | None = None


class Completion(Action, frozen=True, kw_only=True):
    """The driver has handed over the goods, or brought them back to the store."""

    proof: HandoverProof | None = None


class PinTry(_Given, frozen=True):
    """The PIN that the customer said. With an `actionId`, the same try can be sent again if its answer was lost."""

    pin: Annotated[str, Meta(max_length=16, extra_json_schema=NO_NUL)]
    action_id: IdGiven | None = None


class Release(Action, frozen=True, kw_only=True):
    """Why the driver gives the delivery back."""

    reason: Reason
    note: Note | None = None


class Failure(Action, frozen=True, kw_only=True):
    """Why the handover failed. The driver brings the goods back (`return`), or the assignment ends here (`end`)."""

    reason: Reason
    note: Note | None = None
    then: Literal["return", "end"] = "end"


class ReportForDriver(_Given, frozen=True):
    """Why ops report this for the driver."""

    reason: Reason


class ReleaseForDriver(_Given, frozen=True):
    """Why ops release the delivery for the driver."""

    reason: Reason
    note: Note | None = None


class FailureForDriver(_Given, frozen=True):
    """Why the handover failed, reported by ops for the driver."""

    reason: Reason
    note: Note | None = None
    then: Literal["return", "end"] = "end"


class BreakRequest(_Given, frozen=True):
    """The length of a break that starts now; with `extend`, how much later the current one ends."""

    duration_minutes: Annotated[int, Meta(ge=5, le=120)]
    reason: DriversReason | None = None
    extend: bool = False


class PushKeys(_Given, frozen=True):
    """The browser's keys in base64url: `p256dh` is a point of P-256, `auth` has 16 bytes."""

    p256dh: Annotated[str, Meta(min_length=1, max_length=100, pattern="^[A-Za-z0-9_-]+=*$")]
    auth: Annotated[str, Meta(min_length=1, max_length=40, pattern="^[A-Za-z0-9_-]+=*$")]


class NewPushSubscription(_Given, frozen=True):
    """The JSON form of a browser's `PushSubscription`."""

    endpoint: Annotated[str, Meta(min_length=1, max_length=2000, extra_json_schema={"format": "uri", **NO_NUL})]
    keys: PushKeys
    expiration_time: float | None = None  # ignored: the push service reports when it ends


class ProofQuery(ReportQuery, frozen=True, kw_only=True):
    """What is uploaded. The same `actionId` again is the same proof."""

    kind: Literal["photo", "signature"]
    action_id: IdGiven | UnsetType = UNSET


MessageText = Annotated[str, Meta(min_length=1, max_length=1000, pattern=_SOMETHING)]


class NewMessage(_Given, frozen=True):
    """A message to a driver."""

    text: MessageText


class NewMessageToAll(_Given, frozen=True):
    """A message to all drivers on shift, in a zone if given."""

    text: MessageText
    zone: Zone | None = None


class SaidMessage(_Given, frozen=True):
    """A message of a driver to dispatch."""

    text: MessageText
    action_id: IdGiven | None = None


class Reassignment(_Given, frozen=True):
    """Takes the delivery from its driver: for a new search, or for `driverId`. `version` is the version of the
    assignment that the caller read. `pauseDriver` also pauses the previous driver.
    """

    reason: Reason
    driver_id: IdGiven | None = None
    mode: Mode = "offer"
    force: bool = False
    version: VersionSeen | None = None
    pause_driver: bool = False


class ManualAssignment(_Given, frozen=True):
    """Gives a waiting delivery to this driver: as an offer, or (`assign`) without asking them. `version` is the version
    of the delivery that the caller read. `replaceOffer` withdraws an open offer to another driver.
    """

    driver_id: IdGiven
    reason: Reason
    mode: Mode = "offer"
    version: VersionSeen | None = None
    replace_offer: bool = False


class AvailabilityRequest(_Given, frozen=True):
    """The availability to set; a break ends after `durationMinutes`."""

    availability: Availability
    reason: Reason
    duration_minutes: Annotated[int, Meta(ge=1, le=1440)] | None = None


class Acknowledgement(_Given, frozen=True):
    """A note for colleagues. `version` is the version of the delivery that the caller read."""

    version: VersionSeen | None = None
    note: Note | None = None


class GeoShape(_Given, frozen=True):
    """A GeoJSON Polygon or MultiPolygon: closed rings of [longitude, latitude] in degrees, WGS 84."""

    type: Literal["Polygon", "MultiPolygon"]
    coordinates: Annotated[list[Any], Meta(min_length=1)]


class ZoneDescription(_Given, frozen=True):
    """A zone's display name, its shape, and the keys of zones whose drivers help after the search was widened."""

    name: Name
    shape: GeoShape | None = None
    helped_by: Annotated[tuple[Zone, ...], Meta(max_length=20)] = ()


class NewApiKey(_Given, frozen=True):
    """The name of the order source that will use the key. With `sellerId` the key is bound: it sees, creates and
    changes only the deliveries of that seller.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=_SOMETHING)]
    seller_id: Name | None = None


WebhookUrl = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=2000,
        description="An http or https URL without a user, a password or a fragment (`#`).",
        extra_json_schema={"format": "uri", "pattern": "^[^#\\u0000]*$"},
    ),
]
EventType = Literal[(EVERYTHING, *TYPES)]  # type: ignore[valid-type]  # the events that webhooks get
EventTypes = Annotated[tuple[EventType, ...], Meta(min_length=1, max_length=50)]


class Erasure(_Given, frozen=True):
    """The phone of the person to erase, compared by its digits (5 to 20, of any script)."""

    phone: Annotated[str, Meta(max_length=40, pattern=r"^[^\d\u0000]*(\d[^\d\u0000]*){5,20}$")]


class NewWebhook(_Given, frozen=True):
    """The address that gets the events, and the types of events; `*` means all types."""

    url: WebhookUrl
    events: EventTypes = ("*",)


class WebhookChange(_Given, frozen=True):
    """The fields to change. `active: false` stops the webhook and keeps its settings."""

    url: WebhookUrl | None = None
    events: EventTypes | None = None
    active: bool | None = None


Limit = Annotated[int, Meta(ge=1, le=500)]
Cursor = Annotated[str, Meta(max_length=100, description="`nextCursor` of the previous page")]
ZoneText = Annotated[str, Meta(max_length=64, extra_json_schema=NO_NUL)]


class PageQuery(RequestQuery, frozen=True):
    """A page of a list."""

    limit: Limit = 50
    cursor: Cursor | UnsetType = UNSET


class DeliveriesQuery(PageQuery, frozen=True, kw_only=True):
    """A page of deliveries. `q` finds parts of number, store, addresses, names, phones and notes, and of the name of
    a driver who has or had it (not with a key of one seller). `driverId` finds the
    deliveries that a driver has or had. `from` and `to` bound `createdAt`, both included.
    """

    status: DeliveryStatus | UnsetType = UNSET
    zone: ZoneText | UnsetType = UNSET
    seller_order_id: Key | UnsetType = UNSET
    seller_id: Key | UnsetType = UNSET
    q: Annotated[str, Meta(min_length=3, max_length=200, extra_json_schema=THREE)] | UnsetType = UNSET
    driver_id: IdGiven | UnsetType = UNSET
    store: Key | UnsetType = UNSET
    since: InstantText | UnsetType = msgspec.field(name="from", default=UNSET)
    until: InstantText | UnsetType = msgspec.field(name="to", default=UNSET)


class DriversQuery(PageQuery, frozen=True, kw_only=True):
    """A page of drivers."""

    availability: Availability | UnsetType = UNSET
    zone: ZoneText | UnsetType = UNSET


class TimelineQuery(RequestQuery, frozen=True):
    """A page of a timeline, by default the whole timeline."""

    limit: Annotated[int, Meta(ge=1, le=5000)] = 5000
    cursor: Cursor | UnsetType = UNSET


class UnassignedQuery(PageQuery, frozen=True, kw_only=True):
    """A page of unassigned orders; with `all`, also those that no longer wait."""

    zone: ZoneText | UnsetType = UNSET
    all: bool = False


class ZonePageQuery(PageQuery, frozen=True, kw_only=True):
    """A page, with a filter by zone."""

    zone: ZoneText | UnsetType = UNSET


class ZonesQuery(RequestQuery, frozen=True):
    """A page of zones."""

    limit: Limit = 50
    cursor: Annotated[str, Meta(max_length=2000, description="`nextCursor` of the previous page")] | UnsetType = UNSET


class ReasonQuery(RequestQuery, frozen=True):
    """Why the caller does it."""

    reason: DriversReason | UnsetType = UNSET


class ForecastQuery(RequestQuery, frozen=True):
    """The zone; all zones without it."""

    zone: ZoneText | UnsetType = UNSET


class StatsQuery(RequestQuery, frozen=True):
    """The length of the time window, which ends now."""

    window_minutes: Annotated[int, Meta(ge=1, le=10_080)] = 60
    zone: ZoneText | UnsetType = UNSET


class WebhookMessagesQuery(PageQuery, frozen=True, kw_only=True):
    """A page of a webhook's messages."""

    status: Literal["pending", "delivered", "parked"] | UnsetType = UNSET


class NoticesQuery(RequestQuery, frozen=True):
    """A page of notices from the last `hours`."""

    limit: Limit = 50
    cursor: Annotated[str, Meta(max_length=600, description="`nextCursor` of the previous page")] | UnsetType = UNSET
    to: To | UnsetType = UNSET
    kind: NoticeKind | UnsetType = UNSET
    status: NoticeStatus | UnsetType = UNSET
    zone: ZoneText | UnsetType = UNSET
    delivery_id: IdGiven | UnsetType = UNSET
    hours: Annotated[int, Meta(ge=1, le=8760)] | UnsetType = UNSET


class ImportQuery(RequestQuery, frozen=True):
    """With `dryRun`, nothing is written. `dates` says how dates are written that can be read in two ways."""

    dry_run: bool = False
    dates: Literal["dmy", "mdy", "ymd"] | UnsetType = UNSET
