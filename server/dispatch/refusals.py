"""Refusals: what stands in the way of a command, with the stable code the contract promises.

A refusal leaves the state of dispatch unchanged. It is a value, not an exception: deciding returns it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct

NowWith = Literal["another_driver", "nobody", "over"]


class Refusal(Struct, frozen=True):
    """The obstacle: a stable snake_case `code`, a sentence for a person, and what else the answer says (camelCase).

    `why` is what the sentence adds to the code, where it adds anything: the condition not met, or what came first.
    """

    code: str
    message: str
    more: Mapping[str, Any] = {}
    why: str | None = None


NOT_FOUND = Refusal("not_found", "There is nothing here under that id.")
OFFER_NO_LONGER_OPEN = Refusal("offer_no_longer_open", "This offer is over.")
OFFER_NOT_DUE = Refusal("offer_not_due", "This offer has not reached its deadline.")
DELIVERY_NOT_WAITING = Refusal("delivery_not_waiting", "This delivery is not waiting for a driver.")
DELIVERY_NOT_DUE = Refusal("delivery_not_due", "The dispatch time of this delivery has not come.")
DELIVERY_DIFFERS = Refusal(
    "delivery_differs", "A delivery with this sellerId and sellerOrderId exists and differs from this one."
)
ALREADY_DELIVERED = Refusal("already_delivered", "This delivery has been delivered.")
ALREADY_PICKED_UP = Refusal("already_picked_up", "This delivery has been picked up.")
DRIVER_NOT_AVAILABLE = Refusal("driver_not_available", "This driver cannot be given this delivery now.")
DRIVER_EXISTS = Refusal("driver_exists", "A driver with this externalRef exists.")
ASSIGNMENT_NOT_ACTIVE = Refusal("assignment_not_active", "This assignment is no longer active.")
VERSION_CHANGED = Refusal("version_changed", "Somebody changed this meanwhile; look again.")
DELIVERY_OVER = Refusal("delivery_over", "This delivery is over.")
NOT_PICKED_UP = Refusal("not_picked_up", "This delivery has not been picked up.")
NOT_CANCELLED = Refusal("not_cancelled", "Only a cancelled delivery can be restored.")
TOO_LATE_TO_RESTORE = Refusal("too_late_to_restore", "A cancelled delivery can be restored for ten minutes.")
NOT_FAILED = Refusal("not_failed", "Only a delivery that failed or was returned can be tried again.")
OFFER_OPEN = Refusal("offer_open", "This delivery is offered to somebody; say replaceOffer to take that back.")
PAY_REQUIRED = Refusal("pay_required", "The policy pays in another currency: say driverPayCents.")
PIN_WRONG = Refusal("pin_wrong", "This is not the PIN of this delivery.")
PIN_LOCKED = Refusal("pin_locked", "Too many wrong PINs were typed; ask your dispatcher.")
HAS_ACTIVE_WORK = Refusal("has_active_work", "This driver has work under way.")
DRIVER_DEACTIVATED = Refusal("driver_deactivated", "This driver is deactivated.")
RISK_NOT_DUE = Refusal("risk_not_due", "This is not at risk.")
STILL_AT_RISK = Refusal("still_at_risk", "What put this at risk is not over.")
NOT_AT_RISK = Refusal("not_at_risk", "This delivery is not at risk.")
NOT_YET_SUPPORTED = Refusal("not_yet_supported", "Callboard is being updated; try again in a moment.")
ALERT_OVER = Refusal("alert_over", "This alert does not stand (any more).")
NOT_ESCALATED = Refusal("escalation_not_due", "No level of escalation is due.")
BREAK_NOT_OVER = Refusal("break_not_over", "This break is not over.")
STILL_PRESENT = Refusal("still_present", "This driver is present.")
SESSION_NOT_CURRENT = Refusal("session_not_current", "This session is no longer the driver's current one.")
NO_DRIVER_AVAILABLE = Refusal("no_driver_available", "No driver can be offered this delivery now.")
INTERNAL_ERROR = Refusal("internal_error", "Callboard failed at this; it has been logged.")
TRY_AGAIN = Refusal("try_again", "Callboard is too busy or cut off from its database; try again.")


def driver_not_available(why: str) -> Refusal:
    """`driver_not_available` that says which condition was not met."""
    return Refusal(
        DRIVER_NOT_AVAILABLE.code, f"This driver cannot be given this delivery now: {why}.", {"reason": why}, why
    )


def driver_exists(driver_id: str) -> Refusal:
    """`driver_exists`, and which one it is."""
    return Refusal(DRIVER_EXISTS.code, DRIVER_EXISTS.message, {"id": driver_id})


def delivery_differs(delivery_id: str, fields: Iterable[str]) -> Refusal:
    """`delivery_differs`: which delivery is there, and in which fields, by their names on the wire."""
    return Refusal(DELIVERY_DIFFERS.code, DELIVERY_DIFFERS.message, {"id": delivery_id, "fields": [*fields]})


def assignment_not_active(why: str, now_with: NowWith) -> Refusal:
    """`assignment_not_active` that says what became of the assignment and by whom, and who has the delivery now."""
    message = f"This assignment is no longer active: {why}."
    return Refusal(ASSIGNMENT_NOT_ACTIVE.code, message, {"nowWith": now_with}, why)


def proof_required(missing: Iterable[str]) -> Refusal:
    """`proof_required` that names what is missing: photo, signature, pin."""
    named = [*missing]
    return Refusal("proof_required", f"The handover needs proof: {', '.join(named)}.", {"missing": named})
