"""The promise of endings: every delivery is somewhere, and a waiting one is shown as waiting."""

from collections import Counter
from collections.abc import Iterable

from server.dispatch.model import Delivery
from tests.torture.evidence import Evidence
from tests.torture.promises.verdict import Verdict


def endings(evidence: Evidence) -> Verdict:
    """In somebody's hands, delivered, failed, returned, cancelled, scheduled, or waiting with a reason, and then on the
    list of those waiting.
    """
    verdict = Verdict("every delivery ends somewhere, or waits where ops see it")
    deliveries = evidence.database.deliveries
    for delivery in deliveries.values():
        wrong = _wrong(delivery)
        verdict.must(wrong is None, f"delivery {delivery.id} is {delivery.status}: {wrong}")
    if evidence.rest is not None:
        waiting = {d.id for d in deliveries.values() if d.status == "READY" and d.held_until is None}
        shown = evidence.rest.waiting_shown
        verdict.must(
            shown == waiting, f"waiting but not shown {waiting - shown}, shown but not waiting {shown - waiting}"
        )
        found = evidence.rest.findable
        verdict.must(not found, f"waiting although there is a driver for them: {found}")
    counts = Counter(delivery.status for delivery in deliveries.values())
    verdict.counts.append(", ".join(f"{count} {status}" for status, count in counts.most_common()) or "no delivery")
    return verdict


def _wrong(delivery: Delivery) -> str | None:
    wait = delivery.unassigned
    match delivery.status:
        case "READY":
            if wait is None or wait.escalation_status != "PENDING" or not wait.failure_reason:
                return "no record of its wait with a reason"
        case "ASSIGNED" | "PICKED_UP" | "RETURNING":
            if _with(delivery, "ACTIVE") != 1:
                return "no active assignment"
        case "DELIVERED":
            if _with(delivery, "COMPLETED") != 1:
                return "no completed assignment"
        case "FAILED" | "RETURNED":
            last = delivery.last_assignment()
            if last is None or last.status != delivery.status:
                return f"no assignment that ended {delivery.status}"
        case "SCHEDULED":
            return "its record of a wait" if wait is not None else None
        case "CANCELLED":
            if _with(delivery, "ACTIVE") or _open(delivery):
                return "somebody has it, or an offer of it, still"
    return "two assignments" if _with(delivery, "ACTIVE", "COMPLETED") > 1 else None


def _with(delivery: Delivery, *statuses: str) -> int:
    return sum(assignment.status in statuses for assignment in delivery.assignments.values())


def _open(delivery: Delivery) -> bool:
    offers: Iterable[str] = (offer.status for offer in delivery.offers.values())
    return "PENDING" in offers
