"""docs/lifecycle.md, made from the transition tables: `python -m tests.lifecycle_page > docs/lifecycle.md`.

A test compares the file with this module's output.
"""

import sys
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar, get_args

from server.dispatch import events as e
from server.dispatch.model import OVER, AssignmentStatus, Availability, DeliveryStatus, OfferStatus
from server.dispatch.transitions import ASSIGNMENT, AVAILABILITY, BEGINS, DELIVERY, OFFER

Edge = tuple[str, str, str]
"""From, to, and the label; `[*]` is the start or the end."""

DELIVERY_STATES: Mapping[DeliveryStatus, str] = {
    "SCHEDULED": "Its dispatch time is in the future. The search for a driver has not started.",
    "READY": "It waits for a driver (*unassigned*), with or without an open offer, and will escalate. Or it is *held*,"
    " because its goods are not ready: from `delivery.held` to `delivery.hold_ended` it does not escalate.",
    "ASSIGNED": "A driver has the assignment and is on the way to the pickup.",
    "PICKED_UP": "The driver has the goods. Ops can still reassign or cancel it, with `force`.",
    "DELIVERED": "The customer has the goods.",
    "CANCELLED": "It was cancelled. An open offer is withdrawn, and an active assignment ends. It can be restored for"
    " 10 minutes, unless the driver had picked it up. Until its dispatch time it is SCHEDULED again.",
    "FAILED": "The handover failed, and the goods stay with the driver. It can be retried.",
    "RETURNING": "The handover failed, and the driver brings the goods back to the store.",
    "RETURNED": "The goods are back at the store. It can be retried from there.",
}
OFFER_STATES: Mapping[OfferStatus, str] = {
    "PENDING": "It is open: the driver can answer. A delivery and a driver each have at most one open offer.",
    "ACCEPTED": "The driver accepted it before the deadline.",
    "REJECTED": "The driver rejected it. They get no other offer for this delivery, unless ops choose them.",
    "EXPIRED": "The deadline passed without an answer. `autoAccepted`: the policy accepted it for the driver.",
    "WITHDRAWN": "Closed by the server: the delivery changed, ended or was assigned, or the driver changed, "
    "is away or is busy.",
}
ASSIGNMENT_STATES: Mapping[AssignmentStatus, str] = {
    "ACTIVE": "The driver carries out the delivery. It counts towards their capacity.",
    "COMPLETED": "The driver handed over the goods.",
    "REASSIGNED": "Ops took the delivery from the driver. The search does not offer it to this driver again.",
    "CANCELLED": "The delivery was cancelled.",
    "RELEASED": "The driver released it, or was gone for too long, before pickup. They get no other offer for it.",
    "FAILED": "The driver could not hand over the goods, and the assignment ended at the customer.",
    "RETURNED": "The driver could not hand over the goods, and brought them back to the store.",
}
AVAILABILITY_STATES: Mapping[Availability, str] = {
    "available": "The driver gets offers, up to their capacity.",
    "on_break": "The driver gets no offers until the break ends. A break with an end time ends by itself.",
    "paused": "The driver gets no offers until they resume. They paused, or did not answer too many offers.",
    "shift_ended": "The driver has finished work, until they resume.",
    "offline": "The driver has not connected yet, has been away too long, or was set offline by ops.",
}

_DECIDED = "set by ops"
_LAPSED = "away too long, or set by ops"
_CHANGES: Mapping[tuple[Availability, Availability], str] = {
    ("available", "on_break"): "takes a break",
    ("available", "paused"): "pauses, or too many unanswered offers",
    ("available", "shift_ended"): "ends the shift",
    ("available", "offline"): _LAPSED,
    ("on_break", "available"): "the break ends, or resumes",
    ("on_break", "on_break"): "changes the end",
    ("on_break", "paused"): "pauses",
    ("on_break", "shift_ended"): "ends the shift",
    ("on_break", "offline"): _LAPSED,
    ("paused", "available"): "resumes",
    ("paused", "on_break"): "takes a break",
    ("paused", "shift_ended"): "ends the shift",
    ("paused", "offline"): _LAPSED,
    ("shift_ended", "available"): "resumes",
    ("shift_ended", "on_break"): _DECIDED,
    ("shift_ended", "paused"): _DECIDED,
    ("shift_ended", "offline"): _DECIDED,
    ("offline", "available"): "connects, or resumes",
    ("offline", "on_break"): "connects again",
    ("offline", "paused"): "connects again",
    ("offline", "shift_ended"): "ends the shift",
    ("offline", "offline"): _DECIDED,
}

INTRO = """\
# Lifecycles

The states of a delivery, an offer, an assignment and a driver's availability, and the events that change them.
Timelines and webhooks use the same event types as the arrows. This page is generated from the transition tables in
`server/dispatch/transitions.py`; nothing else can change a state:
`python -m tests.lifecycle_page > docs/lifecycle.md`.
"""


State = TypeVar("State", bound=str)


def edges_of(table: Mapping[type[e.Event], Mapping[State, State]]) -> list[Edge]:
    """A table's transitions, in its order."""
    return [(before, after, event.type) for event, turns in table.items() for before, after in turns.items()]


def edges_of_availability() -> list[Edge]:
    """All changes of availability with their usual cause, in the order of the states."""
    states: tuple[Availability, ...] = get_args(Availability)
    return [(before, after, _CHANGES[before, after]) for before in states for after in states if _can(before, after)]


def _can(before: Availability, after: Availability) -> bool:
    return after in AVAILABILITY[before]


def _diagram(born_by: type[e.Event], edges: list[Edge], last: Collection[str]) -> Iterable[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {BEGINS[born_by]}: {born_by.type}"
    left = {before for before, _, _ in edges}.difference(last)
    for before, after, name in edges:
        yield f"    {before} --> {after}: {name}"
    for end in dict.fromkeys(after for _, after, _ in edges if after not in left):
        yield f"    {end} --> [*]"
    yield "```"


def _section(
    title: str,
    text: str,
    states: Mapping[State, str],
    born_by: type[e.Event],
    edges: list[Edge],
    last: Collection[str] = (),
) -> Iterable[str]:
    yield f"\n## {title}\n"
    yield f"{text}\n"
    yield from (f"- **{state}**: {sentence}" for state, sentence in states.items())
    yield ""
    yield from _diagram(born_by, edges, last)


def lifecycle() -> str:
    """The page as Markdown."""
    lines = [
        INTRO.rstrip("\n"),
        *_section(
            "Delivery",
            "An order that a driver carries from a store to a customer.",
            DELIVERY_STATES,
            e.DeliveryCreated,
            edges_of(DELIVERY),
            OVER,
        ),
        *_section(
            "Offer",
            "One delivery, offered to one driver until a deadline.",
            OFFER_STATES,
            e.OfferCreated,
            edges_of(OFFER),
        ),
        *_section(
            "Assignment",
            "The driver who carries out a delivery. A retried delivery gets a new assignment.",
            ASSIGNMENT_STATES,
            e.DeliveryAssigned,
            edges_of(ASSIGNMENT),
        ),
        *_section(
            "Availability",
            "Whether a driver takes offers. Every change is a `driver.availability_changed` event with its reason.\n"
            "The arrows show the usual cause. Ops can set any availability.",
            AVAILABILITY_STATES,
            e.DriverRegistered,
            edges_of_availability(),
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(lifecycle())
