"""Commands: everything that may change the state of dispatch, in the imperative.

Ids of what a command makes (`new_*`) are chosen by the sender, so that a rerun decides the same thing.
`actor` is who asks. Durations carry their unit in the name.
"""

from datetime import datetime

from msgspec import Struct

from server.dispatch.model import SYSTEM, Actor, AlertKind, Availability, Point
from server.dispatch.policy import Policy


class CreateDelivery(Struct, frozen=True):
    """An order source asks for a delivery. `fingerprint` tells a repeat from another order under the same key."""

    delivery_id: str
    seller_id: str
    seller_order_id: str
    store_name: str
    zone: str
    pickup: Point
    dropoff: Point
    prep_seconds: int
    fingerprint: str
    actor: Actor
    dispatch_at: datetime | None = None
    price_cents: int | None = None
    driver_pay_cents: int | None = None
    currency: str | None = None
    notes: str | None = None


class DispatchDelivery(Struct, frozen=True):
    """Make a SCHEDULED delivery READY, because its time has come."""

    delivery_id: str
    actor: Actor = SYSTEM


class OfferDelivery(Struct, frozen=True):
    """A search's pick: offer this delivery to this driver from where they were seen. `early`: a SCHEDULED one too."""

    delivery_id: str
    driver_id: str
    new_offer_id: str
    lat: float
    lon: float
    actor: Actor = SYSTEM
    early: bool = False


class NoteFailedSearch(Struct, frozen=True):
    """A search found nobody: keep when and why."""

    delivery_id: str
    failure_reason: str
    actor: Actor = SYSTEM


class AcceptOffer(Struct, frozen=True):
    """The driver takes the offer. `new_assignment_id` names the assignment if there is none yet."""

    offer_id: str
    driver_id: str
    new_assignment_id: str
    actor: Actor


class RejectOffer(Struct, frozen=True):
    """The driver declines the offer."""

    offer_id: str
    driver_id: str
    actor: Actor
    reason: str | None = None


class ConfirmReceipt(Struct, frozen=True):
    """The driver's app has shown the offer."""

    offer_id: str
    driver_id: str
    actor: Actor


class ExpireOffer(Struct, frozen=True):
    """The clock: this offer's deadline has passed."""

    offer_id: str
    new_assignment_id: str
    actor: Actor = SYSTEM


class PickUp(Struct, frozen=True):
    """The driver has the goods."""

    assignment_id: str
    driver_id: str
    actor: Actor


class Complete(Struct, frozen=True):
    """The driver has handed the goods over (and picked them up, if that was not said before)."""

    assignment_id: str
    driver_id: str
    actor: Actor


class CancelDelivery(Struct, frozen=True):
    """Nobody wants this delivery any more. After pickup only an admin with `force`.

    `version` here and below is that of the row which the sender decided on; None does not compare.
    """

    delivery_id: str
    reason: str
    actor: Actor
    force: bool = False
    version: int | None = None


class AssignDelivery(Struct, frozen=True):
    """A person picks the driver of a waiting delivery: as an offer, or directly (`direct`).

    `early`: a SCHEDULED one too, which waits from then on.
    """

    delivery_id: str
    driver_id: str
    reason: str
    direct: bool
    new_offer_id: str
    new_assignment_id: str
    actor: Actor
    version: int | None = None
    early: bool = True


class Reassign(Struct, frozen=True):
    """An admin takes a delivery from its driver and starts a new search, or picks the next driver."""

    assignment_id: str
    reason: str
    new_offer_id: str
    new_assignment_id: str
    actor: Actor
    driver_id: str | None = None
    direct: bool = False
    force: bool = False
    version: int | None = None


class Escalate(Struct, frozen=True):
    """The clock: levels of the ladder are due. `new_ticket_id` names the ticket if one is made."""

    delivery_id: str
    new_ticket_id: str
    actor: Actor = SYSTEM


class Acknowledge(Struct, frozen=True):
    """Somebody in ops looks after this waiting delivery."""

    delivery_id: str
    actor: Actor
    note: str | None = None
    version: int | None = None


class RegisterDriver(Struct, frozen=True):
    """A new driver, offline until first seen."""

    driver_id: str
    name: str
    zone: str
    capacity: int
    actor: Actor
    external_ref: str | None = None
    phone: str | None = None


class ConnectDriver(Struct, frozen=True):
    """A socket of the driver has opened on a node; it supersedes the one before."""

    driver_id: str
    session_id: str
    node_id: str
    actor: Actor


class DisconnectDriver(Struct, frozen=True):
    """That socket is gone, since `lost_at` if given (a dead node's expiry), else since now."""

    driver_id: str
    session_id: str
    actor: Actor = SYSTEM
    lost_at: datetime | None = None


class SeeDriver(Struct, frozen=True):
    """The driver made an authenticated call."""

    driver_id: str
    actor: Actor


class LapsePresence(Struct, frozen=True):
    """The clock: the driver has been gone too long to count on."""

    driver_id: str
    actor: Actor = SYSTEM


class TakeBreak(Struct, frozen=True):
    """A break of so many minutes from now; again while on break: a new end."""

    driver_id: str
    duration_minutes: int
    actor: Actor
    reason: str | None = None


class EndBreak(Struct, frozen=True):
    """The clock: the break is over."""

    driver_id: str
    actor: Actor = SYSTEM


class EndShift(Struct, frozen=True):
    """The driver goes home."""

    driver_id: str
    actor: Actor


class Pause(Struct, frozen=True):
    """The driver wants no offers until they resume."""

    driver_id: str
    actor: Actor


class Resume(Struct, frozen=True):
    """The driver is ready for offers."""

    driver_id: str
    actor: Actor


class SetAvailability(Struct, frozen=True):
    """An admin decides a driver's availability; `duration_minutes` ends a break by itself.

    `changed_at` is the driver's last change of availability that the admin saw; None does not compare.
    """

    driver_id: str
    availability: Availability
    reason: str
    actor: Actor
    duration_minutes: int | None = None
    changed_at: datetime | None = None


class RaiseAlert(Struct, frozen=True):
    """The watch: a zone's number went over its threshold. `new_alert_id` names the alert if none stands yet."""

    new_alert_id: str
    kind: AlertKind
    zone: str
    value: float
    threshold: float
    actor: Actor = SYSTEM


class ResolveAlert(Struct, frozen=True):
    """The watch: the number is back well below its threshold; `value` is what it is now."""

    alert_id: str
    value: float
    actor: Actor = SYSTEM


class AcknowledgeAlert(Struct, frozen=True):
    """Somebody in ops looks after this alert."""

    alert_id: str
    actor: Actor


class ChangePolicy(Struct, frozen=True):
    """An admin replaces the policy; `policy.version` must be the current one."""

    policy: Policy
    actor: Actor
    reason: str | None = None


Command = (
    CreateDelivery
    | DispatchDelivery
    | OfferDelivery
    | NoteFailedSearch
    | AcceptOffer
    | RejectOffer
    | ConfirmReceipt
    | ExpireOffer
    | PickUp
    | Complete
    | CancelDelivery
    | AssignDelivery
    | Reassign
    | Escalate
    | Acknowledge
    | RegisterDriver
    | ConnectDriver
    | DisconnectDriver
    | SeeDriver
    | LapsePresence
    | TakeBreak
    | EndBreak
    | EndShift
    | Pause
    | Resume
    | SetAvailability
    | RaiseAlert
    | ResolveAlert
    | AcknowledgeAlert
    | ChangePolicy
)
