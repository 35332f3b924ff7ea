"""Commands: everything that can change the state of dispatch, in the imperative.

The sender chooses the ids of new rows (`new_*`), so that a repeated decision gives the same result. `actor` is the
caller. Durations have their unit in the name.
"""

from datetime import datetime
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from server.dispatch.model import (
    SYSTEM,
    Actor,
    AlertKind,
    Availability,
    Nearest,
    Place,
    Proof,
    ProofKind,
    RiskCode,
    StopKind,
)
from server.dispatch.policy import Policy


class CreateDelivery(Struct, frozen=True):
    """An order source orders a delivery.

    If `zone` is None, the shapes of the zones decide. `fingerprint` finds a repeat quickly; if it differs,
    dispatch/sameness.py compares the meaning. `spare_pin` is the PIN if the delivery requires one and the order has
    none. `test` marks a test order, which no report counts.
    """

    delivery_id: str
    seller_id: str
    seller_order_id: str
    store_name: str
    zone: str | None
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
    test: bool = False


class ChangeDelivery(Struct, frozen=True):
    """Changes an order: UNSET keeps a field, None clears it. `version` is the version of the delivery that the sender
    read. `new_offer_id` is for the offer that replaces an open one with outdated data.
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
    """The store reports that the goods are ready now."""

    delivery_id: str
    new_offer_id: str
    actor: Actor


class DelayDelivery(Struct, frozen=True):
    """The goods are ready `minutes` later than planned, or than now if that is later. `version` is the version of the
    delivery that the sender read; None skips the comparison.
    """

    delivery_id: str
    minutes: int
    new_offer_id: str
    actor: Actor
    reason: str | None = None
    version: int | None = None


class RestoreDelivery(Struct, frozen=True):
    """Undoes a cancellation by mistake."""

    delivery_id: str
    actor: Actor


class RetryDelivery(Struct, frozen=True):
    """What failed or came back is to be delivered after all, from where the goods are."""

    delivery_id: str
    reason: str
    actor: Actor


class DispatchDelivery(Struct, frozen=True):
    """At a deadline: a SCHEDULED delivery becomes READY."""

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


class HoldDelivery(Struct, frozen=True):
    """Do not offer the delivery before `until`, when its planned driver must leave for the store."""

    delivery_id: str
    until: datetime
    actor: Actor = SYSTEM


class EndHold(Struct, frozen=True):
    """The hold of the delivery has ended; `early`: it ends before its time."""

    delivery_id: str
    early: bool = False
    actor: Actor = SYSTEM


class NoteFailedSearch(Struct, frozen=True):
    """A search found no driver: record when and why, and the nearest driver outside, if distance is the reason."""

    delivery_id: str
    failure_reason: str
    actor: Actor = SYSTEM
    nearest: Nearest | None = None


class AcceptOffer(Struct, frozen=True):
    """The driver accepts the offer. `new_assignment_id` is for the assignment, if there is none yet."""

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


class Action(Struct, frozen=True):
    """What a driver's app reports about an action: its id, when the driver did it and when the app sent it, both by the
    phone's clock, and where.

    `reason` is given if somebody acts for the driver, whose phone is dead; then `driver_id` of the command is None.
    """

    action_id: str | None = None
    at: datetime | None = None
    sent_at: datetime | None = None
    lat: float | None = None
    lon: float | None = None
    reason: str | None = None


PLAIN_ACTION = Action()


class Arrive(Struct, frozen=True):
    """The driver has arrived at the store or at the customer."""

    assignment_id: str
    driver_id: str | None
    where: StopKind
    actor: Actor
    action: Action = PLAIN_ACTION


class PickUp(Struct, frozen=True):
    """The driver has the goods."""

    assignment_id: str
    driver_id: str | None
    actor: Actor
    action: Action = PLAIN_ACTION


class Complete(Struct, frozen=True):
    """The driver has handed over the goods (which also records a missing pickup), or brought them back. `pin` is what
    they typed, `name` the recipient, `note` free text.
    """

    assignment_id: str
    driver_id: str | None
    actor: Actor
    action: Action = PLAIN_ACTION
    pin: str | None = None
    name: str | None = None
    note: str | None = None


class CheckPin(Struct, frozen=True):
    """The driver has typed the customer's PIN, before they report the handover."""

    assignment_id: str
    driver_id: str | None
    actor: Actor
    pin: str
    action: Action = PLAIN_ACTION


class Release(Struct, frozen=True):
    """The driver gives the delivery back before pickup."""

    assignment_id: str
    driver_id: str | None
    reason: str
    actor: Actor
    note: str | None = None
    action: Action = PLAIN_ACTION


class Fail(Struct, frozen=True):
    """The handover failed: the driver brings the goods back (`return`), or the assignment ends here (`end`)."""

    assignment_id: str
    driver_id: str | None
    reason: str
    actor: Actor
    note: str | None = None
    then: Literal["return", "end"] = "end"
    action: Action = PLAIN_ACTION


class AddProof(Struct, frozen=True):
    """A photo or signature was uploaded for an assignment. The same action again is the same proof."""

    assignment_id: str
    driver_id: str | None
    proof: Proof
    actor: Actor
    action: Action = PLAIN_ACTION


DriverAction = Arrive | PickUp | Complete | CheckPin | Release | Fail | AddProof
"""What a driver does with an assignment."""


class CancelDelivery(Struct, frozen=True):
    """Cancels a delivery. After pickup only ops and admins can, with `force`.

    `version`, here and below, is the version of the row that the sender read; None skips the comparison.
    """

    delivery_id: str
    reason: str
    actor: Actor
    force: bool = False
    version: int | None = None


class AssignDelivery(Struct, frozen=True):
    """Ops choose the driver of a waiting delivery: with an offer, or directly (`direct`). `version` is the version of
    the delivery that they read. `replace_offer` withdraws an open offer to another driver. `early` also allows a
    SCHEDULED delivery, which waits from then on.
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
    """Ops take a delivery from its driver, for a new search or for another driver."""

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
    """Ops acknowledge a waiting delivery."""

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
    """Changes a driver's data: UNSET keeps a field, None clears it."""

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
    """Deactivates a driver."""

    driver_id: str
    actor: Actor


class ReactivateDriver(Struct, frozen=True):
    """They do again."""

    driver_id: str
    actor: Actor


class ConnectDriver(Struct, frozen=True):
    """A socket of the driver has opened on a node; it supersedes the one before. `device` says on which device."""

    driver_id: str
    session_id: str
    node_id: str
    actor: Actor
    device: str | None = None


class DisconnectDriver(Struct, frozen=True):
    """A socket was lost, at `lost_at` if given (when a dead node expired), otherwise now."""

    driver_id: str
    session_id: str
    actor: Actor = SYSTEM
    lost_at: datetime | None = None


class SeeDriver(Struct, frozen=True):
    """The driver made an authenticated call."""

    driver_id: str
    actor: Actor


class LapsePresence(Struct, frozen=True):
    """At a deadline: the driver has been away too long."""

    driver_id: str
    actor: Actor = SYSTEM


class TakeBreak(Struct, frozen=True):
    """Starts a break of `duration_minutes` now, or changes the end of the current one; with `extend` it ends so much
    later than it would.
    """

    driver_id: str
    duration_minutes: int
    actor: Actor
    reason: str | None = None
    extend: bool = False


class EndBreak(Struct, frozen=True):
    """At a deadline: the break ends."""

    driver_id: str
    actor: Actor = SYSTEM


class EndShift(Struct, frozen=True):
    """The driver ends the shift."""

    driver_id: str
    actor: Actor


class Pause(Struct, frozen=True):
    """The driver pauses: no offers until they resume."""

    driver_id: str
    actor: Actor


class Resume(Struct, frozen=True):
    """The driver is ready for offers."""

    driver_id: str
    actor: Actor


class SetAvailability(Struct, frozen=True):
    """Ops set a driver's availability; `duration_minutes` ends a break by itself.

    `changed_at` is the last change of availability that they saw; None skips the comparison.
    """

    driver_id: str
    availability: Availability
    reason: str
    actor: Actor
    duration_minutes: int | None = None
    changed_at: datetime | None = None


class SendMessage(Struct, frozen=True):
    """Dispatch writes to a driver."""

    driver_id: str
    message_id: str
    text: str
    actor: Actor


class Say(Struct, frozen=True):
    """A driver writes to dispatch. A message with the same id is the same message."""

    driver_id: str
    message_id: str
    text: str
    actor: Actor


class SeeMessage(Struct, frozen=True):
    """The driver has seen a message of dispatch."""

    driver_id: str
    message_id: str
    actor: Actor


class RaiseRisk(Struct, frozen=True):
    """The clock: this delivery may arrive late."""

    delivery_id: str
    code: RiskCode
    actor: Actor = SYSTEM


class ClearRisk(Struct, frozen=True):
    """The clock: this delivery is no longer at risk."""

    delivery_id: str
    code: RiskCode
    actor: Actor = SYSTEM


class EscalateRisk(Struct, frozen=True):
    """The clock: levels of the ladder are due for a delivery at risk. `new_ticket_id` names a ticket that is made."""

    delivery_id: str
    new_ticket_id: str
    actor: Actor = SYSTEM


class ReleaseGone(Struct, frozen=True):
    """At a deadline: the driver has been gone so long that they lose what they have not picked up."""

    assignment_id: str
    actor: Actor = SYSTEM


class RaiseAlert(Struct, frozen=True):
    """The alert monitor: a number of a zone exceeded its threshold. `new_alert_id` is the id of the alert, if there
    is no open one.
    """

    new_alert_id: str
    kind: AlertKind
    zone: str
    value: float
    threshold: float
    actor: Actor = SYSTEM


class ResolveAlert(Struct, frozen=True):
    """The alert monitor: the number is back well below its threshold; `value` is what it is now."""

    alert_id: str
    value: float
    actor: Actor = SYSTEM


class AcknowledgeAlert(Struct, frozen=True):
    """Ops acknowledge an alert."""

    alert_id: str
    actor: Actor


class ChangeZone(Struct, frozen=True):
    """An admin sets the description of a zone. `key` and `helped_by` name zones in any spelling; the shape is valid.
    `seen` is the mark of the description that the admin saw (`zones.mark_of`); None if they want this one anyway.
    """

    key: str
    name: str
    shape: dict[str, Any] | None
    helped_by: tuple[str, ...]
    actor: Actor
    seen: str | None = None


class RemoveZone(Struct, frozen=True):
    """An admin deletes the description of a zone. Its deliveries and drivers stay in it. `seen` is as for a change."""

    key: str
    actor: Actor
    seen: str | None = None


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
    | HoldDelivery
    | EndHold
    | NoteFailedSearch
    | AcceptOffer
    | RejectOffer
    | ConfirmReceipt
    | ExpireOffer
    | Arrive
    | PickUp
    | Complete
    | CheckPin
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
    | SendMessage
    | Say
    | SeeMessage
    | RaiseRisk
    | ClearRisk
    | EscalateRisk
    | ReleaseGone
    | RaiseAlert
    | ResolveAlert
    | AcknowledgeAlert
    | ChangeZone
    | RemoveZone
    | ChangePolicy
)
