"""Promises of exclusiveness: no delivery in two hands, no two open offers of one delivery or one driver."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from tests.torture.evidence import Evidence
from tests.torture.promises.verdict import Verdict

Span = tuple[datetime, datetime | None, str]
"""From, until (None: still), and the id of what lasted so long."""

_TAKES: Final = frozenset({"delivery.assigned"})
_GIVES_UP: Final = frozenset(
    f"delivery.{how}" for how in ("delivered", "reassigned", "cancelled", "released", "failed", "returned")
)
_OPENS: Final = frozenset({"offer.created"})
_CLOSES: Final = frozenset({"offer.accepted", "offer.rejected", "offer.expired", "offer.withdrawn"})


def one_driver(evidence: Evidence) -> Verdict:
    """At most one active assignment a delivery at every instant, and no driver over their capacity."""
    verdict = Verdict("a delivery never has two drivers")
    database = evidence.database
    by_driver: dict[str, list[Span]] = defaultdict(list)
    for delivery in database.deliveries.values():
        spans: list[Span] = []
        for assignment in delivery.assignments.values():
            span = (assignment.created_at, assignment.completed_at or assignment.ended_at, assignment.id)
            spans.append(span)
            by_driver[assignment.driver_id].append(span)
        for first, second in overlaps(spans, 1):
            verdict.must(False, f"delivery {delivery.id}: assignments {first} and {second} at once")
        verdict.checked += 1
    for driver_id, spans in by_driver.items():
        capacity = database.drivers[driver_id].capacity
        for first, second in overlaps(spans, capacity):
            verdict.must(False, f"driver {driver_id} of capacity {capacity}: {first} beside {second}")
        verdict.checked += 1
    held: dict[str, str] = {}
    for event in database.events:
        delivery_id, assignment_id = event.delivery_id, event.assignment_id
        if delivery_id is None or assignment_id is None:
            continue
        if event.type in _TAKES:
            holder = held.get(delivery_id)
            verdict.must(
                holder is None, f"delivery {delivery_id}: {assignment_id} was made while {holder} was active (events)"
            )
            held[delivery_id] = assignment_id
        elif event.type in _GIVES_UP:
            verdict.must(
                held.pop(delivery_id, None) == assignment_id,
                f"delivery {delivery_id}: {event.type} of {assignment_id}, which did not hold it (events)",
            )
    return verdict


def one_offer(evidence: Evidence) -> Verdict:
    """At most one open offer a delivery and a driver at every instant."""
    verdict = Verdict("a delivery and a driver have one open offer at most")
    database = evidence.database
    by_driver: dict[str, list[Span]] = defaultdict(list)
    for delivery in database.deliveries.values():
        spans: list[Span] = [(offer.created_at, offer.closed_at, offer.id) for offer in delivery.offers.values()]
        for first, second in overlaps(spans, 1):
            verdict.must(False, f"delivery {delivery.id}: offers {first} and {second} open at once")
        for offer in delivery.offers.values():
            by_driver[offer.driver_id].append((offer.created_at, offer.closed_at, offer.id))
        verdict.checked += 1
    for driver_id, spans in by_driver.items():
        for first, second in overlaps(spans, 1):
            verdict.must(False, f"driver {driver_id}: offers {first} and {second} open at once")
        verdict.checked += 1
    of_delivery: dict[str | None, str | None] = {}
    of_driver: dict[str | None, str | None] = {}
    for event in database.events:
        if event.type in _OPENS:
            for whose, open_offers in ((event.delivery_id, of_delivery), (event.driver_id, of_driver)):
                was = open_offers.get(whose)
                verdict.must(was is None, f"{whose}: offer {event.offer_id} beside {was} (events)")
                open_offers[whose] = event.offer_id
        elif event.type in _CLOSES:
            for whose, open_offers in ((event.delivery_id, of_delivery), (event.driver_id, of_driver)):
                verdict.must(
                    open_offers.pop(whose, None) == event.offer_id,
                    f"{whose}: {event.type} of {event.offer_id}, which was not open (events)",
                )
    return verdict


def overlaps(spans: Iterable[Span], room: int) -> list[tuple[str, str]]:
    """Pairs of spans of which the second begins although `room` others last. One may begin as another ends."""
    found = []
    lasting: list[Span] = []
    for span in sorted(spans, key=lambda s: (s[0], s[1] is None, s[1] or s[0], s[2])):
        lasting = [other for other in lasting if other[1] is None or other[1] > span[0]]
        if len(lasting) >= room:
            found.append((lasting[-1][2], span[2]))
        lasting.append(span)
    return found
