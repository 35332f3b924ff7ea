"""The promise of drivers' reports: what a driver did is there once, in order and with its time, however late it comes;
what came too late is in the timeline.
"""

from collections import Counter, defaultdict
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from server.contract.views import parse_instant
from server.dispatch.phone_clocks import OFFLINE_AFTER
from tests.torture.commands import Command, commands
from tests.torture.evidence import EventRow, Evidence
from tests.torture.history import Sent
from tests.torture.promises.verdict import Verdict

CLOCK_SECONDS: Final = 0.05
"""Between a phone's looking at its clock and writing down that it sent, and the database's whole milliseconds."""
LEAVES: Final = {
    "arrived": ("delivery.arrived",),
    "picked_up": ("delivery.picked_up",),
    "completed": ("delivery.delivered", "delivery.returned", "delivery.picked_up"),
    "release": ("delivery.released",),
    "failed": ("delivery.failed", "delivery.returning"),
    "proof": ("delivery.proof_added",),
}
"""What a deed that was done leaves in the timeline."""
TOO_LATE: Final = LEAVES | {"completed": ("delivery.delivered",)}
"""What a late report of it is a report of."""


class Said(Struct, frozen=True):
    """Once that a deed was reported: when, how long before that it was done, and on which socket, if it was one."""

    actor: str
    kind: str
    target: str
    sent_at: float
    age: float
    socket: int | None

    @property
    def done_at(self) -> float:
        """The truth, by the clock of the machine."""
        return self.sent_at - self.age


def reports(evidence: Evidence) -> Verdict:
    """Every report with an action's id, every report that was too late, and every PIN."""
    verdict = Verdict("what a driver reported is recorded once, in order, with its time")
    asked = [command for command in commands(evidence.entries) if command.kind in LEAVES]
    said = _said(asked, evidence)
    _once_and_when(verdict, evidence, said)
    _in_order(verdict, evidence, said)
    _too_late(verdict, evidence, asked)
    _pins(verdict, evidence, asked)
    ages = [age for sayings in said.values() if (age := max(s.age for s in sayings)) > 1]
    verdict.counts.append(f"{len(said)} actions, {len(ages)} of them reported more than a second late")
    return verdict


def _said(asked: list[Command], evidence: Evidence) -> dict[str, list[Said]]:
    """By the action's id, in the order of time."""
    socket_of: dict[tuple[str, str, float], int] = {
        (actor, str(entry.message.get("id")), entry.at): entry.socket
        for actor, entries in evidence.entries.items()
        for entry in entries
        if isinstance(entry, Sent)
    }
    found: dict[str, list[Said]] = defaultdict(list)
    for command in sorted(asked, key=lambda c: c.sent_at):
        fields = command.fields
        if "actionId" in fields:
            timed = "at" in fields  # an upload has no time
            age = (parse_instant(fields["sentAt"]) - parse_instant(fields["at"])).total_seconds() if timed else 0.0
            socket = socket_of.get((command.actor, str(fields.get("id")), command.sent_at))
            report = Said(command.actor, command.kind, command.target, command.sent_at, age, socket)
            found[fields["actionId"]].append(report)
    return found


def _when(event: EventRow) -> float:
    at = event.data.get("happenedAt")
    return (parse_instant(at) if at is not None else event.at).timestamp()


def _once_and_when(verdict: Verdict, evidence: Evidence, said: dict[str, list[Said]]) -> None:
    """An action has an event of a kind once at most, of the job it named; it happened when the driver did it, later
    only by what its way took, or when the goods were picked up.
    """
    seen: Counter[tuple[str, str]] = Counter()
    picked_up: dict[str | None, float] = {}
    for event in evidence.database.events:
        action_id = event.data.get("actionId")
        if action_id is not None:
            seen[event.type, action_id] += 1
            times = seen[event.type, action_id]
            sayings = [s for s in said.get(action_id, []) if s.sent_at <= event.at.timestamp() + CLOCK_SECONDS]
            wrong = _wrong(event, sayings, picked_up.get(event.assignment_id, 0.0)) if times == 1 else f"{times} times"
            verdict.must(wrong is None, f"{event.type} of {event.assignment_id}, action {action_id}: {wrong}")
        if event.type == "delivery.picked_up":
            picked_up[event.assignment_id] = _when(event)


def _wrong(event: EventRow, sayings: list[Said], picked_up: float) -> str | None:
    """What is not as the driver said; nothing can have happened to goods before they were `picked_up`."""
    if not sayings:
        return "nobody said so"
    first = sayings[0]
    kinds = (*LEAVES[first.kind], "delivery.late_report", "delivery.pin_wrong")
    if event.type not in kinds or first.target != event.assignment_id:
        return f"the driver said {first.kind} of {first.target}"
    when, way = _when(event), event.at.timestamp() - first.sent_at
    if when < first.done_at - CLOCK_SECONDS:
        return f"{first.done_at - when:.3f} s before it was done"
    latest = max(first.done_at + way, picked_up) + CLOCK_SECONDS
    return f"{when - latest:.3f} s later than it can have been" if when > latest else None


def _in_order(verdict: Verdict, evidence: Evidence, said: dict[str, list[Said]]) -> None:
    """What was said once, one after the other on one socket, is there in that order, for each job."""
    lines: dict[tuple[str, int, str], list[str]] = defaultdict(list)
    for action_id, sayings in sorted(said.items(), key=lambda item: item[1][0].sent_at):
        if len(sayings) == 1 and (only := sayings[0]).socket is not None:
            lines[only.actor, only.socket, only.target].append(action_id)
    numbers = {event.data["actionId"]: event.id for event in evidence.database.events if "actionId" in event.data}
    for (actor, socket, _), action_ids in lines.items():
        there = [numbers[action_id] for action_id in action_ids if action_id in numbers]
        verdict.must(there == sorted(there), f"{actor} socket {socket}: reports in another order: {there}")


def _too_late(verdict: Verdict, evidence: Evidence, asked: list[Command]) -> None:
    """What was refused because the job is no longer theirs is in the timeline, once for each kind of deed."""
    late: dict[tuple[str | None, str], list[EventRow]] = defaultdict(list)
    for event in evidence.database.events:
        if event.type == "delivery.late_report":
            late[event.assignment_id, event.data["what"]].append(event)
    reported: set[tuple[str, str]] = set()
    for command in asked:
        kinds = [(command.target, what) for what in TOO_LATE[command.kind]]
        if command.outcome != "done":
            reported.update(kinds)
        if command.code == "assignment_not_active":
            verdict.must(any(late[kind] for kind in kinds), f"{command.names()}: its late report is not there")
    for (assignment_id, what), events in late.items():
        verdict.must(len(events) <= 1, f"{assignment_id}: {len(events)} late reports of {what}")
        verdict.must(
            not events or (assignment_id or "", what) in reported, f"{assignment_id}: a late report of {what} by nobody"
        )


def _pins(verdict: Verdict, evidence: Evidence, asked: list[Command]) -> None:
    """Wrong PINs are counted one by one; a handover that needs a PIN had the right one, or was reported long after."""
    tries: dict[str | None, list[int]] = defaultdict(list)
    refused: dict[str, set[Any]] = defaultdict(set)
    for command in asked:
        if command.code == "pin_wrong":
            refused[command.target].add(command.fields.get("actionId") or command.sent_at)
    for event in evidence.database.events:
        if event.type == "delivery.pin_wrong":
            tries[event.assignment_id].append(event.data["tries"])
        elif event.type == "delivery.delivered" and event.actor_type == "driver":
            delivery = evidence.database.deliveries.get(event.delivery_id or "")
            needed = delivery is not None and "pin" in delivery.details.proof_required
            pin = event.data.get("pin")
            verdict.must(pin is not None or not needed, f"delivery {event.delivery_id}: handed over without its PIN")
            late = event.at - datetime.fromtimestamp(_when(event), event.at.tzinfo) > OFFLINE_AFTER
            verdict.must(pin != "unverified" or late, f"delivery {event.delivery_id}: a wrong PIN will not do")
    for assignment_id, counted in tries.items():
        verdict.must(counted == list(range(1, len(counted) + 1)), f"{assignment_id}: wrong PINs counted {counted}")
    for target, wrong in refused.items():
        verdict.must(len(wrong) <= len(tries[target]), f"{target}: {len(wrong)} wrong PINs, counted {tries[target]}")
