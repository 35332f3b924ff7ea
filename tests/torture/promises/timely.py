"""The promises of the clock: every deadline fires once and is not forgotten; escalation climbs in order and stops."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from server.contract.views import parse_instant
from server.dispatch.policy import Policy
from tests.torture.evidence import EventRow, Evidence
from tests.torture.history import Asked
from tests.torture.promises.verdict import Verdict

STALE: Final = timedelta(seconds=60)
"""For how long a node that is cut off may decide by a policy that was replaced."""
CAN_LAPSE: Final = frozenset({"available", "on_break", "paused"})


def deadlines(evidence: Evidence) -> Verdict:
    """Offers, breaks, presence and scheduled deliveries: once each, never early, never forgotten."""
    verdict = Verdict("every deadline fires once and in time")
    _offers(verdict, evidence)
    _scheduled(verdict, evidence)
    of_driver: dict[str, list[EventRow]] = defaultdict(list)
    for event in evidence.database.events:
        if event.driver_id is not None and event.type.startswith("driver."):
            of_driver[event.driver_id].append(event)
    calls: dict[str, list[float]] = defaultdict(list)
    for entries in evidence.entries.values():
        for entry in entries:
            if isinstance(entry, Asked) and entry.role == "driver":
                calls[entry.subject].append(entry.at)
    break_lags: list[float] = []
    lapse_lags: list[float] = []
    for driver_id, events in of_driver.items():
        break_lags += _breaks(verdict, evidence, driver_id, events)
        lapse_lags += _lapses(verdict, evidence, driver_id, events, calls[driver_id])
    verdict.lag("ends of breaks", break_lags)
    verdict.lag("lapses of presence", lapse_lags)
    return verdict


def _offers(verdict: Verdict, evidence: Evidence) -> None:
    closings: dict[str, list[EventRow]] = defaultdict(list)
    for event in evidence.database.events:
        if event.offer_id is not None and event.type in (
            "offer.accepted", "offer.rejected", "offer.expired", "offer.withdrawn",
        ):  # fmt: skip
            closings[event.offer_id].append(event)
    lags = []
    for delivery in evidence.database.deliveries.values():
        for offer in delivery.offers.values():
            due, closed = offer.expires_at, offer.closed_at
            ended = [event.type for event in closings[offer.id]]
            wanted = [] if offer.status == "PENDING" else [f"offer.{offer.status.lower()}"]
            verdict.must(ended == wanted, f"offer {offer.id} is {offer.status} and ended by {ended}")
            if offer.status == "EXPIRED" and closed is not None:
                verdict.must(closed >= due, f"offer {offer.id} expired {due - closed} early")
                lags.append((closed - due).total_seconds())
            elif offer.status in ("ACCEPTED", "REJECTED") and closed is not None:
                verdict.must(closed < due, f"offer {offer.id} was {offer.status} {closed - due} late")
            verdict.must(
                not evidence.forgotten(due, closed), f"offer {offer.id} was forgotten: due {due}, closed {closed}"
            )
    verdict.lag("expiries", lags)


def _scheduled(verdict: Verdict, evidence: Evidence) -> None:
    ready: dict[str | None, list[EventRow]] = defaultdict(list)
    over: dict[str | None, datetime] = {}
    postponed: Counter[str | None] = Counter()
    for event in evidence.database.events:
        if event.type == "delivery.ready":
            ready[event.delivery_id].append(event)
        elif event.type == "delivery.postponed":
            postponed[event.delivery_id] += 1
        elif event.type == "delivery.cancelled":
            over[event.delivery_id] = event.at
    lags = []
    for delivery in evidence.database.deliveries.values():
        events = ready[delivery.id]
        times = 1 + postponed[delivery.id]
        verdict.must(len(events) <= times, f"delivery {delivery.id} was dispatched {len(events)} times")
        if len(events) < times and postponed[delivery.id]:
            events = []
        if delivery.dispatch_at <= delivery.created_at:
            continue
        at = events[-1].at if events else over.get(delivery.id)
        if events and not events[-1].data.get("early"):
            lag = (events[-1].at - delivery.dispatch_at).total_seconds()
            verdict.must(lag >= 0, f"delivery {delivery.id} was dispatched {-lag} s early")
            lags.append(lag)
        verdict.must(
            not evidence.forgotten(delivery.dispatch_at, at),
            f"delivery {delivery.id} was forgotten: due {delivery.dispatch_at}, dispatched or cancelled {at}",
        )
    verdict.lag("scheduled dispatches", lags)


def _breaks(verdict: Verdict, evidence: Evidence, driver_id: str, events: Iterable[EventRow]) -> list[float]:
    lags = []
    until: datetime | None = None
    for event in events:
        if event.type != "driver.availability_changed":
            continue
        if event.data["reason"] == "break_expired" and event.actor_type == "system":
            verdict.must(
                until is not None and event.at >= until,
                f"driver {driver_id}: a break of until {until} ended {event.at}",
            )
            if until is not None:
                lags.append((event.at - until).total_seconds())
        if until is not None:
            verdict.must(
                not evidence.forgotten(until, event.at),
                f"driver {driver_id}: the end of a break at {until} was forgotten",
            )
        ends = event.data.get("until")
        until = parse_instant(ends) if event.data["to"] == "on_break" and ends else None
    if until is not None:
        verdict.must(
            not evidence.forgotten(until, None), f"driver {driver_id}: the end of a break at {until} was forgotten"
        )
    return lags


def _lapses(
    verdict: Verdict, evidence: Evidence, driver_id: str, events: list[EventRow], calls: list[float]
) -> list[float]:
    """A driver without a socket lapses once socket, calls and last change are all long enough ago; one with a socket
    never does.
    """
    lags = []
    state, session = "offline", False
    lost: datetime | None = None
    changed: datetime | None = None

    def due_before(at: datetime) -> datetime | None:
        if session or state not in CAN_LAPSE or changed is None:
            return None
        policy = in_force(evidence, at, at)[0]
        grace = timedelta(seconds=policy.presence_lapse_seconds)
        dues = [changed + grace] if lost is None else [changed + grace, lost + grace]
        called = max((call for call in calls if call <= at.timestamp()), default=None)
        if called is not None:
            since_call = at.timestamp() - called
            dues.append(at - timedelta(seconds=since_call - policy.call_presence_seconds))
        return max(dues)

    for event in events:
        due = due_before(event.at)
        lapses = event.type == "driver.availability_changed" and event.data["reason"] == "connection_lost"
        if lapses:
            verdict.must(not session, f"driver {driver_id} lapsed at {event.at} with a socket open")
            if due is not None:
                lags.append(max(0.0, (event.at - due).total_seconds()))
        if due is not None and due < event.at:
            verdict.must(
                not evidence.forgotten(due, event.at), f"driver {driver_id}, gone, was forgotten: due to lapse {due}"
            )
        if event.type == "driver.connected":
            session, lost = True, None
        elif event.type == "driver.disconnected":
            session, lost = False, event.at
        elif event.type == "driver.availability_changed":
            state, changed = event.data["to"], event.at
    due = due_before(evidence.database.now)
    if due is not None and due < evidence.database.now:
        verdict.must(not evidence.forgotten(due, None), f"driver {driver_id}, gone, was forgotten: due to lapse {due}")
    return lags


def in_force(evidence: Evidence, since: datetime, until: datetime) -> list[Policy]:
    """The policies that were in force at any time of this span, the oldest first."""
    found: list[Policy] = []
    for row in evidence.database.policies:
        if row.created_at <= since:
            found = [row.document]
        elif row.created_at <= until or not found:
            found.append(row.document)
    return found


class _Wait:
    """One wait of a delivery for a driver."""

    def __init__(self, since: datetime) -> None:
        self.since = since
        self.reached: list[int] = []
        self.tickets = 0


class _AtRisk:
    """A delivery's time at risk, for whatever reasons."""

    def __init__(self) -> None:
        self.codes: set[str] = set()
        self.tickets = 0


def escalation(evidence: Evidence) -> Verdict:
    """In every wait each level once, rising, none left out, none early, none forgotten; none outside a wait."""
    verdict = Verdict("escalation: each level once a wait, in order, never after")
    waits: dict[str, _Wait] = {}
    at_risk: dict[str, _AtRisk] = {}
    lags: list[float] = []
    for event in evidence.database.events:
        delivery_id = event.delivery_id
        if delivery_id is None:
            continue
        wait = waits.get(delivery_id)
        match event.type:
            case (
                "delivery.ready"
                | "delivery.hold_ended"
                | "delivery.reassigned"
                | "delivery.released"
                | "delivery.restored"
                | "delivery.retried"
            ):
                waits[delivery_id] = _Wait(event.at)
                at_risk.pop(delivery_id, None)
            case "delivery.held" | "delivery.postponed":
                waits.pop(delivery_id, None)
            case "delivery.assigned" | "delivery.cancelled":
                if wait is not None:
                    _reached_all(verdict, evidence, delivery_id, wait, event.at)
                waits.pop(delivery_id, None)
                at_risk.pop(delivery_id, None)
            case "delivery.recovered" if delivery_id in at_risk:
                at_risk[delivery_id].codes.discard(event.data["risk"])
                if not at_risk[delivery_id].codes:
                    del at_risk[delivery_id]
            case "delivery.escalated":
                level = event.data["level"]
                verdict.must(
                    wait is not None, f"delivery {delivery_id}: level {level} at {event.at}, while it did not wait"
                )
                if wait is not None:
                    lags += _climb(verdict, evidence, delivery_id, wait, event)
            case "delivery.at_risk":
                at_risk.setdefault(delivery_id, _AtRisk()).codes.add(event.data["risk"])
            case "ticket.created" if wait is None:
                verdict.must(delivery_id in at_risk, f"delivery {delivery_id}: a ticket, neither waiting nor at risk")
                found = at_risk.setdefault(delivery_id, _AtRisk())
                found.tickets += 1
                verdict.must(found.tickets == 1, f"delivery {delivery_id}: two tickets while at risk")
            case "ticket.created":
                if wait is not None:
                    wait.tickets += 1
                    verdict.must(wait.tickets == 1, f"delivery {delivery_id}: {wait.tickets} tickets in one wait")
    for delivery_id, wait in waits.items():
        _reached_all(verdict, evidence, delivery_id, wait, None)
    verdict.lag("levels", lags)
    return verdict


def _climb(verdict: Verdict, evidence: Evidence, delivery_id: str, wait: _Wait, event: EventRow) -> list[float]:
    level = event.data["level"]
    policies = in_force(evidence, wait.since - STALE, event.at)
    afters = [rung.after_seconds for policy in policies for rung in policy.escalation if rung.level == level]
    where = f"delivery {delivery_id}, waiting since {wait.since}: level {level}"
    verdict.must(bool(afters), f"{where} is in no policy")
    before = set.intersection(*({r.level for r in policy.escalation if r.level < level} for policy in policies))
    verdict.must(before <= set(wait.reached), f"{where} before {sorted(before - set(wait.reached))}")
    verdict.must(not wait.reached or wait.reached[-1] < level, f"{where} after {wait.reached}")
    wait.reached.append(level)
    waited = (event.at - wait.since).total_seconds()
    verdict.must(not afters or waited >= min(afters), f"{where} after {waited} s")
    return [max(0.0, waited - max(afters))] if afters else []


def _reached_all(verdict: Verdict, evidence: Evidence, delivery_id: str, wait: _Wait, until: datetime | None) -> None:
    """Whatever was due in this wait came."""
    policies = in_force(evidence, wait.since - STALE, until or evidence.database.now)
    for level in set.intersection(*({rung.level for rung in policy.escalation} for policy in policies)):
        after = max(r.after_seconds for policy in policies for r in policy.escalation if r.level == level)
        due = wait.since + timedelta(seconds=after)
        verdict.must(
            level in wait.reached or not evidence.forgotten(due, until),
            f"delivery {delivery_id}, waiting since {wait.since}: level {level} was forgotten",
        )
