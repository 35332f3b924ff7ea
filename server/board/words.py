"""The words of the screens: what codes mean, for people who look at them all day. No rule is decided here."""

from datetime import datetime, tzinfo
from typing import Final

from server.dispatch.policy import Policy

FAILURES: Final = {
    "searching": "Searching",
    "no_driver_in_radius": "Nobody in the radius",
    "no_driver_dispatchable": "Nobody free in the radius",
    "all_busy": "Everybody near is busy",
    "all_excluded": "Everybody near was asked",
    "offer_rejected": "Last offer rejected",
    "offer_expired": "Last offer expired",
}
NOT_TAKEN: Final = {
    "rejected_before": "rejected it before",
    "reassigned_away": "it was taken from them",
    "gave_it_back": "gave it back",
    "requirements": "lacks what the order requires",
    "shift_ends": "goes home too soon",
    "deactivated": "works for us no more",
    "asked_recently": "let it expire a moment ago",
    "out_of_radius": "outside the radius",
    "given_another": "is given another order",
    "farther_away": "farther away",
    "taken_meanwhile": "was taken meanwhile",
    "next_in_line": "next in line",
    "busy": "busy",
    "has_open_offer": "has an open offer",
    "has_this_offer": "has the offer now",
    "no_position": "position unknown",
    "position_stale": "position too old",
    "not_present": "not connected",
    "zone_differs": "works in another zone",
    "available": "available",
    "on_break": "on a break",
    "paused": "paused",
    "shift_ended": "shift ended",
    "offline": "offline",
    "they have it now": "has it now",
}
STATES: Final = {
    "available": "Available",
    "busy": "Busy",
    "on_break": "On break",
    "paused": "Paused",
    "shift_ended": "Shift ended",
    "offline": "Offline",
}
SOURCES: Final = {"accepted": "Accepted", "auto_accepted": "By silence", "manual": "By hand"}
STATUSES: Final = {
    "SCHEDULED": "Scheduled",
    "READY": "Waiting for a driver",
    "ASSIGNED": "Driver on the way to the pickup",
    "PICKED_UP": "On the way to the customer",
    "DELIVERED": "Delivered",
    "CANCELLED": "Cancelled",
    "FAILED": "Could not be delivered",
    "RETURNING": "On the way back to the store",
    "RETURNED": "Back at the store",
}
OFFERS: Final = {
    "PENDING": "Open",
    "ACCEPTED": "Accepted",
    "REJECTED": "Rejected",
    "EXPIRED": "Expired",
    "WITHDRAWN": "Withdrawn",
}
ALERTS: Final = {
    "rejected_share": "Offers rejected",
    "unassigned_count": "Orders unassigned",
}
RISKS: Final = {"driver_gone": "Driver gone"}
AVAILABILITY_REASONS: Final = {
    "never_seen": "never seen",
    "connection_lost": "connection lost",
    "break_expired": "break over",
    "unresponsive": "did not answer three offers",
    "driver_requested": "own wish",
    "driver_shift_end": "went home",
    "driver_resumed": "resumed",
    "reconnected": "came back",
    "first_seen": "first seen",
}
EVENTS: Final = {
    "delivery.created": "Order created",
    "delivery.ready": "Search for a driver began",
    "delivery.search_failed": "Search found nobody",
    "offer.created": "Offered",
    "offer.received": "Offer shown on the driver's phone",
    "offer.accepted": "Offer accepted",
    "offer.rejected": "Offer rejected",
    "offer.expired": "Offer expired",
    "offer.withdrawn": "Offer withdrawn",
    "delivery.assigned": "Assigned",
    "delivery.picked_up": "Picked up",
    "delivery.delivered": "Delivered",
    "delivery.arrived": "Arrived",
    "delivery.released": "Given back by the driver",
    "delivery.failed": "Could not be delivered",
    "delivery.returning": "On the way back to the store",
    "delivery.returned": "Back at the store",
    "delivery.proof_added": "Proof added",
    "delivery.pin_wrong": "Wrong PIN",
    "delivery.late_report": "Reported too late",
    "delivery.changed": "Order changed",
    "delivery.restored": "Restored",
    "delivery.retried": "Tried again",
    "delivery.at_risk": "At risk",
    "delivery.recovered": "No longer at risk",
    "delivery.risk_escalated": "Risk escalated",
    "delivery.risk_acknowledged": "Risk acknowledged",
    "delivery.cancelled": "Cancelled",
    "delivery.reassigned": "Taken from the driver",
    "delivery.escalated": "Escalated",
    "delivery.acknowledged": "Acknowledged",
    "ticket.created": "Support ticket opened",
    "driver.registered": "Registered",
    "driver.changed": "Data changed",
    "driver.deactivated": "Deactivated",
    "driver.reactivated": "Reactivated",
    "driver.connected": "Connected",
    "driver.disconnected": "Connection lost",
    "driver.availability_changed": "Availability changed",
    "driver.expiries_forgiven": "Unanswered offers forgiven",
}
LEVEL_ACTIONS: Final = {
    "ticket": "support ticket",
    "notify_ops": "ops notified",
    "widen_search": "search widened",
    "notify_critical": "critical notice",
    "cancel": "cancelled",
}
REASONS_TO_REASSIGN: Final = (
    "Driver asked for it",
    "Driver does not answer",
    "Driver is late",
    "Vehicle trouble",
    "Driver is unwell",
)
REASONS_TO_CANCEL: Final = ("Customer cancelled", "Store closed", "Out of stock", "Placed twice", "No driver found")
REASONS_TO_ASSIGN: Final = ("Waiting too long", "Nearest driver", "Agreed by phone")
REASONS_FOR_AVAILABILITY: Final = ("Asked by phone", "Does not answer", "Vehicle trouble", "Unwell", "End of the day")


def words(table: dict[str, str], code: str | None) -> str:
    """What the code means; one that is not known speaks for itself."""
    if code is None:
        return ""
    return table.get(code) or code.replace("_", " ")


def shape(level: int, policy: Policy) -> str:
    """The shape of a level, so that nobody needs colour: how near it is to the top of the ladder."""
    if level <= 0:
        return "calm"
    above = sum(rung.level > level for rung in policy.escalation)
    return ("top", "high")[above] if above < 2 else "low"


def span(seconds: float) -> str:
    """A duration in two units at most: `45 s`, `12 min`, `3 h 5 min`."""
    total = max(0, round(seconds))
    if total < 60:
        return f"{total} s"
    minutes = total // 60
    if minutes < 60:
        return f"{minutes} min" if total % 60 == 0 or minutes >= 10 else f"{minutes} min {total % 60} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def clock(at: datetime, zone: tzinfo, *, seconds: bool = False) -> str:
    """The time of day in the organisation's time zone."""
    local = at.astimezone(zone)
    return f"{local.hour:02}:{local.minute:02}:{local.second:02}" if seconds else f"{local.hour:02}:{local.minute:02}"


def day_and_clock(at: datetime | None, zone: tzinfo, *, seconds: bool = False) -> str:
    """The day with its year and the time in the organisation's time zone; empty if there was no such time."""
    if at is None:
        return ""
    return f"{at.astimezone(zone).strftime('%a %d %b %Y')}, {clock(at, zone, seconds=seconds)}"


def lately(at: datetime, zone: tzinfo, *, now: datetime | None = None) -> str:
    """The time of day, to the second, if it was today; else the day and the minute, with the year if not this one."""
    here, today = at.astimezone(zone), (now or datetime.now(zone)).astimezone(zone)
    if here.date() == today.date():
        return here.strftime("%H:%M:%S")
    return here.strftime("%d %b %H:%M" if here.year == today.year else "%d %b %Y %H:%M")


def money(cents: int | None, currency: str) -> str:
    """An amount with its currency."""
    return "" if cents is None else f"{cents / 100:,.2f} {currency}"
