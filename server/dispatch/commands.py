"""Commands: everything that may change the state of dispatch, in the imperative.

Ids of what a command makes (`new_*`) are chosen by the sender, so that a rerun decides the same thing.
`actor` is who asks. Durations carry their unit in the name.
"""

from datetime import datetime
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from server.dispatch.model import SYSTEM, Actor, AlertKind, Availability, Place, Proof, ProofKind, RiskCode, Stop
from server.dispatch.policy import Policy


class CreateDelivery(Struct, frozen=True):
    """An order source asks for a delivery.

    `fingerprint` tells a repeat quickly; where it differs, dispatch/sameness.py tells by meaning. `spare_pin` is the
    PIN if one is asked for and none is given.
    """

    delivery_id: str
    seller_id: str
    seller_order_id: str
    store_name: str
    zone: str
    pickup: Place
    dropoff: Place
    prep_seconds: int
    fingerprint: str
    actor: Actor
    dispatch_at: datetime | None = None
    price_cents: int | None = None
    driver_pay_cents: int | None = None
    currency: str | None = None
    notes: str | None = None
    requirements: tuple[str, ...] = ()
    promised_at: datetime | None = None
    proof_required: tuple[ProofKind, ...] = ()
    pin: str | None = None
    tip_cents: int | None = None
    spare_pin: str | None = None


class ChangeDelivery(Struct, frozen=True):
    """An order is changed: what is UNSET stays, None clears. `version` is the delivery's, as the sender saw it.

    `new_offer_id` names the offer that follows an open one which no longer says what is true.
    """

    delivery_id: str
    version: int
    new_offer_id: str
    actor: Actor
    store_name: str | UnsetType = UNSET
    pickup: Place | UnsetType = UNSET
    dropoff: Place | UnsetType = UNSET
    prep_seconds: int | UnsetType = UNSET
    dispatch_at: datetime | UnsetType = UNSET
    price_cents: int | UnsetType | None = UNSET
    driver_pay_cents: int | UnsetType | None = UNSET
    currency: str | UnsetType = UNSET
    notes: str | UnsetType | None = UNSET
    requirements: tuple[str, ...] | UnsetType = UNSET
    promised_at: datetime | UnsetType | None = UNSET
    proof_required: tuple[ProofKind, ...] | UnsetType = UNSET
    pin: str | UnsetType | None = UNSET
    tip_cents: int | UnsetType | None = UNSET
    spare_pin: str | None = None


class MarkReady(Struct, frozen=True):
    """The store says that the goods are ready now."""

    delivery_id: str
    new_offer_id: str
    actor: Actor


class DelayDelivery(Struct, frozen=True):
    """The store needs so many minutes more, from when the goods were to be ready, or from now if that is past."""

    delivery_id: str
    minutes: int
    new_offer_id: str
    actor: Actor
    reason: str | None = None


class RestoreDelivery(Struct, frozen=True):
    """Somebody cancelled by mistake."""

    delivery_id: str
    actor: Actor


class RetryDelivery(Struct, frozen=True):
    """What failed or came back is to be delivered after all, from where the goods are."""

    delivery_id: str
    reason: str
    actor: Actor


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
    note: str | None = None


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


class Deed(Struct, frozen=True):
    """How a driver's app told of what they did: its id for it, the phone's times of doing and of sending, and where.

    `reason` is a person's who acts for them, because their phone is dead: then `driver_id` of the command is None.
    """

    action_id: str | None = None
    at: datetime | None = None
    sent_at: datetime | None = None
    lat: float | None = None
    lon: float | None = None
    reason: str | None = None


DEED = Deed()


class Arrive(Struct, frozen=True):
    """The driver is at the store, or at the door."""

    assignment_id: str
    driver_id: str | None
    where: Stop
    actor: Actor
    deed: Deed = DEED


class PickUp(Struct, frozen=True):
    """The driver has the goods."""

    assignment_id: str
    driver_id: str | None
    actor: Actor
    deed: Deed = DEED


class Complete(Struct, frozen=True):
    """The driver has handed the goods over (and picked them up, if that was not said before), or brought them back.

    `pin` is what they typed, `name` who took the goods, `note` what else they say.
    """

    assignment_id: str
    driver_id: str | None
    actor: Actor
    deed: Deed = DEED
    pin: str | None = None
    name: str | None = None
    note: str | None = None


class Release(Struct, frozen=True):
    """The driver gives the job back before pickup."""

    assignment_id: str
    driver_id: str | None
    reason: str
    actor: Actor
    note: str | None = None
    deed: Deed = DEED


class Fail(Struct, frozen=True):
    """The goods cannot be handed over: the driver brings them back (`return`), or the job ends here (`end`)."""

    assignment_id: str
    driver_id: str | None
    reason: str
    actor: Actor
    note: str | None = None
    then: Literal["return", "end"] = "end"
    deed: Deed = DEED


class AddProof(Struct, frozen=True):
    """A photo or signature was uploaded for a job. The same action again is the same proof."""

    assignment_id: str
    driver_id: str | None
    proof: Proof
    actor: Actor
    deed: Deed = DEED


class CancelDelivery(Struct, frozen=True):
    """Nobody wants this delivery any more. After pickup only ops and admins, with `force`.

    `version` here and below is that of the row which the sender decided on; None does not compare.
    """

    delivery_id: str
    reason: str
    actor: Actor
    force: bool = False
    version: int | None = None


class AssignDelivery(Struct, frozen=True):
    """A person picks the driver of a waiting delivery: as an offer, or directly (`direct`).

    `version` is the delivery's, as they saw it; an open offer to another is taken back only with `replace_offer`.
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
    replace_offer: bool = False


class Reassign(Struct, frozen=True):
    """A dispatcher takes a delivery from its driver and starts a new search, or picks the next driver."""

    assignment_id: str
    reason: str
    new_offer_id: str
    new_assignment_id: str
    actor: Actor
    driver_id: str | None = None
    direct: bool = False
    force: bool = False
    version: int | None = None
    pause_driver: bool = False


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
    vehicle: str | None = None
    tags: tuple[str, ...] = ()
    shift_ends_at: datetime | None = None


class ChangeDriver(Struct, frozen=True):
    """A driver's data are changed: what is UNSET stays, None clears."""

    driver_id: str
    actor: Actor
    name: str | UnsetType = UNSET
    phone: str | UnsetType | None = UNSET
    zone: str | UnsetType = UNSET
    capacity: int | UnsetType = UNSET
    vehicle: str | UnsetType | None = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    external_ref: str | UnsetType | None = UNSET
    shift_ends_at: datetime | UnsetType | None = UNSET


class DeactivateDriver(Struct, frozen=True):
    """The driver does no work for us any more."""

    driver_id: str
    actor: Actor


class ReactivateDriver(Struct, frozen=True):
    """They do again."""

    driver_id: str
    actor: Actor


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


class RaiseRisk(Struct, frozen=True):
    """The watch: this delivery may not arrive in time. `at` is when that began, if the rules cannot tell."""

    delivery_id: str
    code: RiskCode
    actor: Actor = SYSTEM
    at: datetime | None = None


class ClearRisk(Struct, frozen=True):
    """The watch: what put this delivery at risk is over."""

    delivery_id: str
    code: RiskCode
    actor: Actor = SYSTEM


class EscalateRisk(Struct, frozen=True):
    """The clock: levels of the ladder are due for a delivery at risk. `new_ticket_id` names a ticket that is made."""

    delivery_id: str
    new_ticket_id: str
    actor: Actor = SYSTEM


class ReleaseGone(Struct, frozen=True):
    """The clock: a driver has been gone so long that what they did not pick up is taken back."""

    assignment_id: str
    actor: Actor = SYSTEM


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
    | ChangeDelivery
    | MarkReady
    | DelayDelivery
    | RestoreDelivery
    | RetryDelivery
    | DispatchDelivery
    | OfferDelivery
    | NoteFailedSearch
    | AcceptOffer
    | RejectOffer
    | ConfirmReceipt
    | ExpireOffer
    | Arrive
    | PickUp
    | Complete
    | Release
    | Fail
    | AddProof
    | CancelDelivery
    | AssignDelivery
    | Reassign
    | Escalate
    | Acknowledge
    | RegisterDriver
    | ChangeDriver
    | DeactivateDriver
    | ReactivateDriver
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
    | RaiseRisk
    | ClearRisk
    | EscalateRisk
    | ReleaseGone
    | RaiseAlert
    | ResolveAlert
    | AcknowledgeAlert
    | ChangePolicy
)
