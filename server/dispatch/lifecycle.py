"""docs/lifecycle.md, made from the transition tables: `python -m server.dispatch.lifecycle > docs/lifecycle.md`.

A test compares the file with this module's output.
"""

import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_args

from server.dispatch import events as e
from server.dispatch.model import OVER, AssignmentStatus, Availability, DeliveryStatus, OfferStatus
from server.dispatch.transitions import ASSIGNMENT, AVAILABILITY, BEGINS, DELIVERY, OFFER

Edge = tuple[str, str, str]
"""From, to, and what it is called; `[*]` is nothing yet, or nothing more."""

DELIVERY_STATES: Mapping[DeliveryStatus, str] = {
    "SCHEDULED": "Its dispatch time has not come; nobody looks for a driver.",
    "READY": "It wants a driver: it is *unassigned*, held out to somebody or not, and its clock of escalation runs.",
    "ASSIGNED": "A driver has it in hand and is on the way to the pickup.",
    "PICKED_UP": "The driver has the goods; only a dispatcher who insists can still take it away or cancel it.",
    "DELIVERED": "The goods are handed over.",
    "CANCELLED": "Nobody wants it any more; an open offer is withdrawn and an active assignment ends with it. For"
    " ten minutes it can be restored, if it was not picked up.",
    "FAILED": "The goods could not be handed over, and are with the driver until somebody has it tried again.",
    "RETURNING": "The goods could not be handed over, and the driver brings them back.",
    "RETURNED": "The goods are back at the store, from where it can be tried again.",
}
OFFER_STATES: Mapping[OfferStatus, str] = {
    "PENDING": "The driver looks at it; a delivery and a driver each have at most one such offer.",
    "ACCEPTED": "The driver said yes before the deadline.",
    "REJECTED": "The driver said no before the deadline, and is not asked again unless a person picks them.",
    "EXPIRED": "The deadline passed without an answer; marked `autoAccepted` if the policy took that for a yes.",
    "WITHDRAWN": "It was taken back: cancelled, assigned by hand, or the driver stepped back or is full.",
}
ASSIGNMENT_STATES: Mapping[AssignmentStatus, str] = {
    "ACTIVE": "The delivery is this driver's to carry; it counts against their capacity.",
    "COMPLETED": "The driver handed the goods over.",
    "REASSIGNED": "A dispatcher took the delivery away, and the search does not give it to this driver again.",
    "CANCELLED": "The delivery was cancelled under way.",
    "RELEASED": "The driver gave it back before pickup, or was gone too long, and is not asked for it again.",
    "FAILED": "The driver could not hand the goods over, and the job ended there.",
    "RETURNED": "The driver could not hand the goods over, and brought them back.",
}
AVAILABILITY_STATES: Mapping[Availability, str] = {
    "available": "Ready for offers, as far as there is room.",
    "on_break": "Wants no offers until the break is over, which it is by itself if it has an end.",
    "paused": "Gets no offers until they resume: by their own wish, or because they left too many unanswered.",
    "shift_ended": "Went home, and stays so until they resume.",
    "offline": "Not seen yet, gone too long to count on, or sent offline by an admin.",
}

_DECIDED = "an admin decides"
_LAPSED = "presence lapses, or an admin decides"
_CHANGES: Mapping[tuple[Availability, Availability], str] = {
    ("available", "on_break"): "takes a break",
    ("available", "paused"): "pauses, or too many unanswered offers",
    ("available", "shift_ended"): "ends the shift",
    ("available", "offline"): _LAPSED,
    ("on_break", "available"): "the break is over, or resumes",
    ("on_break", "on_break"): "a new end",
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
    ("offline", "available"): "first seen, is back, or resumes",
    ("offline", "on_break"): "is back",
    ("offline", "paused"): "is back",
    ("offline", "shift_ended"): "ends the shift",
    ("offline", "offline"): _DECIDED,
}

INTRO = """\
# Lifecycles

What a delivery, an offer, an assignment and a driver's availability can be, and what turns one state into another.
The arrows carry the types of events as they stand on timelines and in webhooks. This page is made from the transition
tables in `server/dispatch/transitions.py`, which are all that can change a state:
`python -m server.dispatch.lifecycle > docs/lifecycle.md`.
"""


def edges_of(table: Mapping[type[e.Event], Mapping[Any, Any]]) -> list[Edge]:
    """A table's transitions, in its order."""
    return [(before, after, event.type) for event, turns in table.items() for before, after in turns.items()]


def edges_of_availability() -> list[Edge]:
    """Every way from one availability to another, called by what brings it about; in the order of the states."""
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
    states: Mapping[Any, str],
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
    """The whole page."""
    lines = [
        INTRO.rstrip("\n"),
        *_section(
            "Delivery",
            "An order on its way from a store to a door.",
            DELIVERY_STATES,
            e.DeliveryCreated,
            edges_of(DELIVERY),
            OVER,
        ),
        *_section(
            "Offer",
            "One delivery held out to one driver until a deadline.",
            OFFER_STATES,
            e.OfferCreated,
            edges_of(OFFER),
        ),
        *_section(
            "Assignment",
            "A delivery in one driver's hands; one that failed is followed by another.",
            ASSIGNMENT_STATES,
            e.DeliveryAssigned,
            edges_of(ASSIGNMENT),
        ),
        *_section(
            "Availability",
            "What a driver says of themselves, or is said of them. Every change is a `driver.availability_changed`\n"
            "event with its reason; the arrows tell what usually brings it about. An admin can decide any of them.",
            AVAILABILITY_STATES,
            e.DriverRegistered,
            edges_of_availability(),
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(lifecycle())
