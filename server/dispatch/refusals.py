"""Refusals: why a command changes nothing, with the stable code that the contract promises.

A refusal does not change the state of dispatch. It is a return value, not an exception.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct

NowWith = Literal["another_driver", "nobody", "over"]


class Refusal(Struct, frozen=True):
    """A stable snake_case `code`, a sentence for a person, and further fields of the answer (`more`, camelCase).

    `why` is what the sentence adds to the code, if anything: the condition that is not met, or what came first.
    """

    code: str
    message: str
    more: Mapping[str, Any] = {}
    why: str | None = None


NOT_FOUND = Refusal("not_found", "Nothing has this id.")
OFFER_NO_LONGER_OPEN = Refusal("offer_no_longer_open", "This offer is no longer open.")
OFFER_NOT_DUE = Refusal("offer_not_due", "This offer has not reached its deadline.")
DELIVERY_NOT_WAITING = Refusal("delivery_not_waiting", "This delivery is not waiting for a driver.")
CANNOT_BE_HELD = Refusal("cannot_be_held", "This delivery cannot be held until then.")
HOLD_NOT_OVER = Refusal("hold_not_over", "This delivery is held for longer.")
DELIVERY_NOT_DUE = Refusal("delivery_not_due", "The dispatch time of this delivery is in the future.")
DELIVERY_DIFFERS = Refusal(
    "delivery_differs", "A delivery with this sellerId and sellerOrderId exists and differs from this one."
)
ALREADY_DELIVERED = Refusal("already_delivered", "This delivery is already delivered.")
ALREADY_PICKED_UP = Refusal("already_picked_up", "This delivery is already picked up.")
DRIVER_NOT_AVAILABLE = Refusal("driver_not_available", "This driver cannot take this delivery now.")
DRIVER_EXISTS = Refusal("driver_exists", "A driver with this externalRef already exists.")
ASSIGNMENT_NOT_ACTIVE = Refusal("assignment_not_active", "This assignment is no longer active.")
VERSION_CHANGED = Refusal("version_changed", "Somebody changed this in the meantime. Read it again.")
DELIVERY_OVER = Refusal("delivery_over", "This delivery has already ended.")
NOT_PICKED_UP = Refusal("not_picked_up", "This delivery is not picked up yet.")
ALREADY_RETURNING = Refusal("already_returning", "This delivery is already on its way back to the store.")
NOT_CANCELLED = Refusal("not_cancelled", "Only a cancelled delivery can be restored.")
TOO_LATE_TO_RESTORE = Refusal(
    "too_late_to_restore", "A delivery can be restored only within 10 minutes of its cancellation."
)
DELIVERY_ERASED = Refusal("delivery_erased", "The personal data of this delivery was erased. Create a new delivery.")
NOT_FAILED = Refusal("not_failed", "Only a failed or returned delivery can be retried.")
OFFER_OPEN = Refusal("offer_open", "This delivery has an open offer. Send replaceOffer to withdraw it.")
PAY_REQUIRED = Refusal("pay_required", "The policy pays in another currency. Send driverPayCents.")
ACTION_ID_USED = Refusal("action_id_used", "This actionId was used for another action. Each action needs its own.")
PIN_WRONG = Refusal("pin_wrong", "This is not the PIN of this delivery.")
PIN_LOCKED = Refusal("pin_locked", "Too many wrong PINs. Ask your dispatcher.")
TOO_MANY_PROOFS = Refusal("too_many_proofs", "This assignment already has 20 photos and signatures.")
HAS_ACTIVE_WORK = Refusal("has_active_work", "This driver still has active deliveries.")
DRIVER_DEACTIVATED = Refusal("driver_deactivated", "This driver is deactivated.")
TOO_MANY_UNSEEN = Refusal("too_many_unseen", "This driver has 50 messages that they have not seen. Call them.")
TOO_MANY_MESSAGES = Refusal("too_many_messages", "Too many messages in a minute. Call your dispatcher.")
RISK_NOT_DUE = Refusal("risk_not_due", "This delivery is not at risk.")
STILL_AT_RISK = Refusal("still_at_risk", "This delivery is still at risk.")
NOT_AT_RISK = Refusal("not_at_risk", "This delivery is not at risk.")
NOT_YET_SUPPORTED = Refusal("not_yet_supported", "Callboard is being updated. Try again in a few minutes.")
ALERT_OVER = Refusal("alert_over", "This alert is already resolved.")
TOO_MANY_ZONES = Refusal("too_many_zones", "There are already 1,000 zones. Remove one first.")
ZONE_CHANGED = Refusal("zone_changed", "Another admin changed the description of this zone.")
NOT_ESCALATED = Refusal("escalation_not_due", "No level of escalation is due.")
BREAK_NOT_OVER = Refusal("break_not_over", "This break has not ended yet.")
STILL_PRESENT = Refusal("still_present", "This driver is still present.")
SESSION_NOT_CURRENT = Refusal("session_not_current", "The driver has a newer session.")
NO_DRIVER_AVAILABLE = Refusal("no_driver_available", "No driver can take this delivery now.")
INTERNAL_ERROR = Refusal("internal_error", "An error in Callboard; the log has the details.")
TRY_AGAIN = Refusal("try_again", "Callboard is overloaded or cannot reach its database. Try again.")


def driver_not_available(why: str) -> Refusal:
    """`driver_not_available` with the condition that is not met."""
    return Refusal(
        DRIVER_NOT_AVAILABLE.code, f"This driver cannot take this delivery now: {why}.", {"reason": why}, why
    )


def driver_exists(driver_id: str) -> Refusal:
    """`driver_exists` with the id of that driver."""
    return Refusal(DRIVER_EXISTS.code, DRIVER_EXISTS.message, {"id": driver_id})


def delivery_differs(delivery_id: str, fields: Iterable[str]) -> Refusal:
    """`delivery_differs` with the id of the existing delivery and the wire names of the fields that differ."""
    return Refusal(DELIVERY_DIFFERS.code, DELIVERY_DIFFERS.message, {"id": delivery_id, "fields": [*fields]})


def assignment_not_active(why: str, now_with: NowWith) -> Refusal:
    """`assignment_not_active` with how the assignment ended, who ended it, and who has the delivery now."""
    message = f"This assignment is no longer active: {why}."
    return Refusal(ASSIGNMENT_NOT_ACTIVE.code, message, {"nowWith": now_with}, why)


def proof_required(missing: Iterable[str]) -> Refusal:
    """`proof_required` with what is missing: photo, signature, pin."""
    named = [*missing]
    return Refusal("proof_required", f"Proof of the handover is missing: {', '.join(named)}.", {"missing": named})
