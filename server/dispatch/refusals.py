"""Refusals: what stands in the way of a command, with the stable code the contract promises.

A refusal leaves the state unchanged. It is a value, not an exception: deciding returns it.
"""

from msgspec import Struct


class Refusal(Struct, frozen=True):
    """The obstacle: a stable snake_case `code` and a sentence for a person."""

    code: str
    message: str


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
    return Refusal(DRIVER_NOT_AVAILABLE.code, f"This driver cannot be given this delivery now: {why}.")


def assignment_not_active(why: str) -> Refusal:
    """`assignment_not_active` that says what became of the assignment and by whom."""
    return Refusal(ASSIGNMENT_NOT_ACTIVE.code, f"This assignment is no longer active: {why}.")
