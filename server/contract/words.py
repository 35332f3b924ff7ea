"""Codes in people's words: one map for every screen, notice and driver's record. No rule is decided here."""

import re
from collections.abc import Mapping
from typing import Final

FAILURES: Final = {
    "searching": "Searching",
    "no_driver_in_zone": "No driver of the zone is at work",
    "no_driver_in_radius": "No driver within the radius",
    "no_driver_dispatchable": "No driver within the radius is reachable",
    "all_busy": "All drivers nearby are busy",
    "all_on_break": "All drivers nearby are on a break",
    "all_excluded": "All drivers nearby were asked",
    "requirements_not_met": "No driver nearby meets the requirements",
    "shifts_end_too_soon": "All drivers nearby end their shift too soon",
    "held": "Held: the goods are not ready yet",
    "trip_too_long": "Check the address: the trip is very long",
    "offer_rejected": "Last offer rejected",
    "offer_expired": "Last offer expired",
}
"""Why a search found no driver."""
NOT_TAKEN: Final = {
    "rejected_before": "rejected it before",
    "reassigned_away": "it was reassigned from them",
    "gave_it_back": "gave it back",
    "requirements": "does not meet the requirements",
    "shift_ends": "shift ends too soon",
    "deactivated": "deactivated",
    "asked_recently": "did not answer it just now",
    "out_of_radius": "outside the radius",
    "given_another": "gets another order",
    "farther_away": "farther away",
    "taken_meanwhile": "has just got another order",
    "next_in_line": "next in line",
    "other_deliveries_first": "has other orders first",
    "busy": "busy",
    "has_open_offer": "has an open offer",
    "has_this_offer": "has this offer now",
    "no_position": "position unknown",
    "position_stale": "position too old",
    "not_present": "not connected",
    "zone_differs": "works in another zone",
    "available": "available",
    "on_break": "on a break",
    "paused": "paused",
    "shift_ended": "shift ended",
    "offline": "offline",
    "they have it now": "has this order now",
}
"""Why a driver was not chosen, or cannot be."""
STATES: Final = {
    "available": "Available",
    "busy": "Busy",
    "on_break": "On a break",
    "paused": "Paused",
    "shift_ended": "Shift ended",
    "offline": "Offline",
}
SOURCES: Final = {"accepted": "Accepted", "auto_accepted": "Auto-accepted", "manual": "Assigned manually"}
STATUSES: Final = {
    "SCHEDULED": "Scheduled",
    "READY": "Waiting for a driver",
    "ASSIGNED": "Driver on the way to the pickup",
    "PICKED_UP": "On the way to the customer",
    "DELIVERED": "Delivered",
    "CANCELLED": "Cancelled",
    "FAILED": "Could not be delivered",
    "RETURNING": "On the way back to the store",
    "RETURNED": "Returned to the store",
}
ASSIGNMENTS: Final = {
    "ACTIVE": "active",
    "COMPLETED": "completed",
    "REASSIGNED": "reassigned",
    "CANCELLED": "cancelled",
    "RELEASED": "given back",
    "FAILED": "could not be delivered",
    "RETURNED": "returned to the store",
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
RISKS: Final = {
    "driver_gone": "Driver gone",
    "check_address": "Check the address",
    "delivery_late": "Delivery late",
    "pickup_late": "Pickup late",
    "stalled": "Driver not moving",
}
REASONS: Final = {
    # of drivers: why they rejected an offer, released a delivery or could not hand it over
    "too_far": "Too far",
    "low_pay": "Pays too little",
    "vehicle": "Vehicle trouble",
    "unwell": "Unwell",
    "wrong_direction": "Wrong direction",
    "shop_slow": "Store too slow",
    "shop_closed": "Store closed",
    "unsafe": "Not safe",
    "recipient_absent": "Customer not there",
    "refused": "Customer refused it",
    "wrong_address": "Wrong address",
    "damaged": "Damaged",
    "driver_gone": "Driver gone",
    "other": "Other",
    "none_given": "No reason given",
    "no_answer": "No answer",
    # of a change of availability
    "never_seen": "Never connected",
    "connection_lost": "Connection lost",
    "break_expired": "Break ended",
    "unresponsive": "Did not answer several offers",
    "driver_requested": "Driver’s request",
    "driver_paused": "Driver’s request",
    "driver_shift_end": "Driver ended the shift",
    "driver_resumed": "Driver resumed",
    "reconnected": "Reconnected",
    "first_seen": "Connected for the first time",
    "deactivated": "Deactivated",
    "reassigned": "Order reassigned",
    # of an offer that was withdrawn
    "cancelled": "Order cancelled",
    "changed": "Order or driver changed",
    "assigned_by_hand": "Assigned manually",
    "driver_full": "Driver at capacity",
    "on_break": "On a break",
    "paused": "Paused",
    "shift_ended": "Shift ended",
    "offline": "Offline",
}
"""Why something happened. People's own reasons are no codes, and are shown as they are."""
EVENTS: Final = {
    "delivery.created": "Order created",
    "delivery.ready": "Search for a driver started",
    "delivery.postponed": "Postponed",
    "delivery.held": "Held",
    "delivery.hold_ended": "Hold ended",
    "delivery.search_failed": "No driver found",
    "offer.created": "Offered",
    "offer.received": "Offer shown on the driver’s phone",
    "offer.accepted": "Offer accepted",
    "offer.rejected": "Offer rejected",
    "offer.expired": "Offer expired",
    "offer.withdrawn": "Offer withdrawn",
    "delivery.assigned": "Assigned",
    "delivery.picked_up": "Picked up",
    "delivery.delivered": "Delivered",
    "delivery.arrived": "Arrived",
    "delivery.released": "Given back",
    "delivery.failed": "Could not be delivered",
    "delivery.returning": "On the way back to the store",
    "delivery.returned": "Returned to the store",
    "delivery.proof_added": "Proof added",
    "delivery.pin_wrong": "Wrong PIN",
    "delivery.late_report": "Late report",
    "delivery.changed": "Order changed",
    "delivery.restored": "Restored",
    "delivery.retried": "Tried again",
    "delivery.at_risk": "At risk",
    "delivery.recovered": "No longer at risk",
    "delivery.risk_escalated": "Risk escalated",
    "delivery.risk_acknowledged": "Risk acknowledged",
    "delivery.cancelled": "Cancelled",
    "delivery.reassigned": "Reassigned",
    "delivery.escalated": "Escalated",
    "delivery.acknowledged": "Acknowledged",
    "ticket.created": "Support ticket opened",
    "alert.raised": "Alert raised",
    "alert.resolved": "Alert resolved",
    "report.day": "Day report",
    "driver.registered": "Registered",
    "driver.changed": "Data changed",
    "driver.deactivated": "Deactivated",
    "driver.reactivated": "Reactivated",
    "driver.connected": "Connected",
    "driver.disconnected": "Connection lost",
    "driver.availability_changed": "Availability changed",
    "driver.message_sent": "Message sent",
    "driver.message_seen": "Message seen",
    "driver.expiries_forgiven": "Unanswered offers reset",
}
EVENTS_OF_DRIVER: Final = {
    "offer.created": "Offered to {driver}",
    "offer.received": "Offer shown on the phone of {driver}",
    "offer.accepted": "Offer accepted by {driver}",
    "offer.rejected": "Offer rejected by {driver}",
    "offer.expired": "Offer to {driver} expired",
    "offer.withdrawn": "Offer to {driver} withdrawn",
    "delivery.assigned": "Assigned to {driver}",
    "delivery.picked_up": "Picked up by {driver}",
    "delivery.delivered": "Delivered by {driver}",
    "delivery.arrived": "{driver} arrived",
    "delivery.released": "Given back by {driver}",
    "delivery.failed": "{driver} could not deliver it",
    "delivery.returning": "{driver} is bringing it back to the store",
    "delivery.returned": "{driver} brought it back to the store",
    "delivery.proof_added": "{driver} added a proof",
    "delivery.pin_wrong": "{driver} entered a wrong PIN",
    "delivery.late_report": "Late report by {driver}",
    "delivery.reassigned": "Reassigned from {driver}",
    "delivery.cancelled": "Cancelled: {driver} no longer has it",
}
"""The events that have a driver, as a sentence about them."""
LEVEL_ACTIONS: Final = {
    "ticket": "Support ticket",
    "notify_ops": "Ops notice",
    "widen_search": "Wider search",
    "notify_critical": "Critical notice",
    "cancel": "Cancellation",
}

CODE: Final = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")


def words(table: Mapping[str, str], code: str | None) -> str:
    """What the code means. A code without words is shown as words, and what is no code as it is."""
    if code is None:
        return ""
    if code in table:
        return table[code]
    return code.replace("_", " ") if CODE.fullmatch(code) else code


def lower_first(text: str) -> str:
    """The text as a part of a sentence: its first letter small, unless it begins with an abbreviation."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
