"""The state machines of dispatch as literal tables.

A table maps an event's type to {state before: state after}; `BEGINS` the events that make a thing to the state it
begins in. `apply` is their only reader that changes anything; docs/lifecycle.md is generated from them.
"""

from collections.abc import Mapping

from server.dispatch import events as e
from server.dispatch.model import AssignmentStatus, Availability, DeliveryStatus, OfferStatus

BEGINS: Mapping[type[e.Event], DeliveryStatus | OfferStatus | AssignmentStatus | Availability] = {
    e.DeliveryCreated: "SCHEDULED",
    e.OfferCreated: "PENDING",
    e.DeliveryAssigned: "ACTIVE",
    e.DriverRegistered: "offline",
}

DELIVERY: Mapping[type[e.Event], Mapping[DeliveryStatus, DeliveryStatus]] = {
    e.DeliveryReady: {"SCHEDULED": "READY"},
    e.DeliveryPostponed: {"READY": "SCHEDULED"},
    e.DeliveryAssigned: {"READY": "ASSIGNED"},
    e.DeliveryPickedUp: {"ASSIGNED": "PICKED_UP"},
    e.DeliveryDelivered: {"PICKED_UP": "DELIVERED"},
    e.DeliveryFailed: {"PICKED_UP": "FAILED"},
    e.DeliveryReturning: {"PICKED_UP": "RETURNING"},
    e.DeliveryReturned: {"RETURNING": "RETURNED"},
    e.DeliveryReleased: {"ASSIGNED": "READY"},
    e.DeliveryReassigned: {"ASSIGNED": "READY", "PICKED_UP": "READY", "RETURNING": "READY"},
    e.DeliveryCancelled: {
        "SCHEDULED": "CANCELLED",
        "READY": "CANCELLED",
        "ASSIGNED": "CANCELLED",
        "PICKED_UP": "CANCELLED",
        "RETURNING": "CANCELLED",
    },
    e.DeliveryRestored: {"CANCELLED": "READY"},
    e.DeliveryRetried: {"FAILED": "READY", "RETURNED": "READY"},
}

OFFER: Mapping[type[e.Event], Mapping[OfferStatus, OfferStatus]] = {
    e.OfferAccepted: {"PENDING": "ACCEPTED"},
    e.OfferRejected: {"PENDING": "REJECTED"},
    e.OfferExpired: {"PENDING": "EXPIRED"},
    e.OfferWithdrawn: {"PENDING": "WITHDRAWN"},
}

ASSIGNMENT: Mapping[type[e.Event], Mapping[AssignmentStatus, AssignmentStatus]] = {
    e.DeliveryPickedUp: {"ACTIVE": "ACTIVE"},
    e.DeliveryDelivered: {"ACTIVE": "COMPLETED"},
    e.DeliveryFailed: {"ACTIVE": "FAILED"},
    e.DeliveryReturning: {"ACTIVE": "ACTIVE"},
    e.DeliveryReturned: {"ACTIVE": "RETURNED"},
    e.DeliveryReleased: {"ACTIVE": "RELEASED"},
    e.DeliveryReassigned: {"ACTIVE": "REASSIGNED"},
    e.DeliveryCancelled: {"ACTIVE": "CANCELLED"},
}

# One event moves a driver between any of these: AvailabilityChanged, which names both states.
AVAILABILITY: Mapping[Availability, frozenset[Availability]] = {
    "available": frozenset({"on_break", "paused", "shift_ended", "offline"}),
    "on_break": frozenset({"available", "on_break", "paused", "shift_ended", "offline"}),
    "paused": frozenset({"available", "on_break", "shift_ended", "offline"}),
    "shift_ended": frozenset({"available", "on_break", "paused", "offline"}),
    "offline": frozenset({"available", "on_break", "paused", "shift_ended", "offline"}),
}

# A node writes what the release before it cannot read only when every node that lives can (`World.every_node_reads`).
STATES_VERSION = 1
"""The version of the states that this code can read, `nodes.words` in the database.

1 added RELEASED, FAILED, RETURNING and RETURNED.
"""
