"""The promise of orders at risk: each risk is raised and resolved once, and nothing is at risk unmarked for long."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from server.contract.views import parse_instant
from server.dispatch.model import Assignment
from server.dispatch.policy import WatchPolicy
from tests.torture.evidence import EventRow, Evidence
from tests.torture.history import Asked
from tests.torture.promises.verdict import Verdict

ENDS: Final = frozenset(
    f"delivery.{how}" for how in ("delivered", "failed", "returned", "released", "reassigned", "cancelled")
)
"""The ends of an assignment, with which its risks end too."""
STAYS: Final = frozenset({"check_address"})
"""A risk of the order itself; it ends with the order."""


def risks(evidence: Evidence) -> Verdict:
    """The events of each delivery beside one another, beside its row, and beside what its driver was and did."""
    verdict = Verdict("a risk is raised and resolved once, and no risk is missed")
    raised: dict[tuple[str | None, str], list[datetime]] = defaultdict(list)
    current: dict[str | None, set[str]] = defaultdict(set)
    armed: dict[str | None, datetime] = {}
    changed: set[str | None] = set()
    lags = []
    for event in evidence.database.events:
        at_risk = current[event.delivery_id]
        match event.type:
            case "delivery.at_risk":
                risk, since = event.data["risk"], parse_instant(event.data["since"])
                where = f"delivery {event.delivery_id}: {risk} at {event.at}"
                verdict.must(risk not in at_risk, f"{where}, raised before")
                verdict.must(since <= event.at, f"{where}, since {since}: early")
                due = max(since, armed.get(event.delivery_id, since))
                verdict.must(not evidence.forgotten(due, event.at), f"{where} was forgotten: due {due}")
                lags.append((event.at - due).total_seconds())
                at_risk.add(risk)
                raised[event.delivery_id, risk].append(event.at)
            case "delivery.recovered":
                risk = event.data["risk"]
                verdict.must(risk in at_risk, f"delivery {event.delivery_id}: recovered from {risk}, which it was not")
                at_risk.discard(risk)
            case "delivery.assigned" | "delivery.changed":
                armed[event.delivery_id] = event.at
                if event.type == "delivery.changed":
                    changed.add(event.delivery_id)
            case kind if kind in ENDS:
                left = at_risk - STAYS if kind in ("delivery.released", "delivery.reassigned") else at_risk
                verdict.must(not left, f"delivery {event.delivery_id}: {kind}, and not recovered from {sorted(left)}")
            case _:
                pass
    for delivery in evidence.database.deliveries.values():
        shown = {risk.code for risk in delivery.risks}
        there = current[delivery.id]
        verdict.must(shown == there, f"delivery {delivery.id} is marked {sorted(shown)}, by its events {sorted(there)}")
    _unmarked(verdict, evidence, raised, changed)
    verdict.counts.append(f"{sum(map(len, raised.values()))} risks raised")
    verdict.lag("risks", lags)
    return verdict


def _unmarked(
    verdict: Verdict,
    evidence: Evidence,
    raised: dict[tuple[str | None, str], list[datetime]],
    changed: set[str | None],
) -> None:
    """Late at the pickup or at the door, or the driver gone, for as long as it was so and nothing was broken."""
    watch = evidence.database.policies[-1].document.watch
    late = timedelta(minutes=watch.late_minutes)
    gone = _gone(evidence, watch)
    for delivery in evidence.database.deliveries.values():
        for assignment in delivery.assignments.values():
            ends = assignment.failed_at or assignment.completed_at or assignment.ended_at
            dues: list[tuple[str, datetime, datetime | None]] = []
            if assignment.pickup_due_at is not None:
                dues.append(("pickup_late", assignment.pickup_due_at + late, assignment.picked_up_at or ends))
            if delivery.promised_at is not None and delivery.id not in changed:
                dues.append(("delivery_late", max(delivery.promised_at + late, assignment.created_at), ends))
            dues += [("driver_gone", *span) for span in gone(assignment, ends)]
            for code, due, until in dues:
                # A delay of the store makes a pickup late before its time.
                soonest = assignment.created_at if delivery.id in changed else due - late
                marked = any(soonest <= at for at in raised[delivery.id, code])
                verdict.must(
                    marked or (until is not None and until <= due) or not evidence.forgotten(due, until),
                    f"delivery {delivery.id} was {code} from {due} to {until}, and no risk was raised",
                )


def _gone(evidence: Evidence, watch: WatchPolicy):  # type: ignore[no-untyped-def]
    """A function from an assignment and its end to the spans in which its driver was gone for long enough."""
    events: dict[str, list[EventRow]] = defaultdict(list)
    calls: dict[str, list[float]] = defaultdict(list)
    for event in evidence.database.events:
        if event.driver_id is not None and event.type in ("driver.connected", "driver.disconnected"):
            events[event.driver_id].append(event)
    for entries in evidence.entries.values():
        for entry in entries:
            if isinstance(entry, Asked) and entry.role == "driver":
                calls[entry.subject].append(entry.at)
    for times in calls.values():
        times.sort()
    grace = timedelta(seconds=watch.gone_seconds)

    def spans(assignment: Assignment, ends: datetime | None) -> Iterable[tuple[datetime, datetime | None]]:
        lost: datetime | None = assignment.created_at
        own = events[assignment.driver_id]
        for event in own:
            if event.at > assignment.created_at:
                break
            lost = event.at if event.type == "driver.disconnected" else None
        rest: list[EventRow | None] = [event for event in own if event.at > assignment.created_at]
        for later in (*rest, None):
            until = ends if later is None or (ends is not None and ends < later.at) else later.at
            if lost is not None:
                yield from _silent(max(lost, assignment.created_at), until, calls[assignment.driver_id])
            if later is None or until == ends:
                return
            lost = later.at if later.type == "driver.disconnected" else None

    def _silent(
        lost: datetime, until: datetime | None, called: list[float]
    ) -> Iterable[tuple[datetime, datetime | None]]:
        """Each call begins the silence anew."""
        times = called[bisect_left(called, lost.timestamp()) :]
        last = lost
        for at in times:
            called_at = datetime.fromtimestamp(at, lost.tzinfo)
            if until is not None and called_at >= until:
                break
            if last + grace < called_at:
                yield last + grace, called_at
            last = called_at
        if until is None or last + grace < until:
            yield last + grace, until

    return spans
