"""The promise of answers: what was acked is there, exactly once; what was refused left no trace."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from server.dispatch.model import Assignment, Delivery, Offer
from tests.torture.commands import Command, commands
from tests.torture.evidence import Database, EventRow, Evidence
from tests.torture.history import Answered
from tests.torture.promises.verdict import Verdict

CLOCK_SECONDS: Final = 0.005
"""The database's instants are whole milliseconds."""

# What a command writes with its own words in it, as reason or note: the events, of which the first kinds are always
# there, in the first tuple any one of them.
MARKED: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "reject": (("offer.rejected",),),
    "release": (("delivery.released",),),
    "failed": (("delivery.failed", "delivery.returning"),),
    "take_break": (("driver.availability_changed",),),
    "cancel": (("delivery.cancelled",),),
    "delay": (("delivery.changed",),),
    "retry": (("delivery.retried",),),
    "reassign": (
        ("delivery.reassigned",),
        ("offer.created", "delivery.assigned", "driver.availability_changed"),
    ),
    "assign": (("offer.created", "delivery.assigned"),),
    "picked_up_for": (("delivery.picked_up",),),
    "completed_for": (("delivery.delivered", "delivery.returned"), ("delivery.picked_up",)),
    "release_for": (("delivery.released",),),
    "failed_for": (("delivery.failed", "delivery.returning"),),
    "set_availability": (("driver.availability_changed",),),
    "acknowledge": (("delivery.acknowledged",),),
    "change_policy": (("policy.changed",),),
}
# What happens at most once to a target, however often it is asked for: the event, the target it names, and the commands
# that do it. What the clock did by itself has no command.
ONCE: Final[dict[str, tuple[Callable[[EventRow], str | None], tuple[str, ...]]]] = {
    "offer.accepted": (lambda event: event.offer_id, ("accept",)),
    "offer.received": (lambda event: event.offer_id, ("received",)),
    "delivery.arrived": (lambda event: f"{event.assignment_id} {event.data['where']}", ("arrived",)),
    "delivery.picked_up": (
        lambda event: event.assignment_id, ("picked_up", "completed", "picked_up_for", "completed_for"),
    ),
    "delivery.delivered": (lambda event: event.assignment_id, ("completed", "completed_for")),
    "delivery.returned": (lambda event: event.assignment_id, ("completed", "completed_for")),
    "delivery.released": (lambda event: event.assignment_id, ("release", "release_for")),
    "delivery.failed": (lambda event: event.assignment_id, ("failed", "failed_for")),
    "delivery.returning": (lambda event: event.assignment_id, ("failed", "failed_for")),
}  # fmt: skip
# What changes a delivery every time it is asked for and not refused, and the events that say so.
EVERY_TIME: Final[dict[str, tuple[str, ...]]] = {
    "delivery.changed": ("change", "ready", "delay"),
    "delivery.restored": ("restore",),
}
# What a command writes about its driver without any words of theirs: the event's `reason` (None: no reason).
BY_TIME: Final[dict[str, tuple[tuple[str, str | None], ...]]] = {
    "end_shift": (("driver.availability_changed", "driver_shift_end"),),
    "pause": (("driver.availability_changed", "driver_paused"),),
    "resume": (("driver.availability_changed", "driver_resumed"), ("driver.expiries_forgiven", None)),
}
STATES: Final = {"end_shift": "shift_ended", "pause": "paused", "resume": "available"}


def answers(evidence: Evidence) -> Verdict:
    """Every command beside the database; and no effect without a command."""
    verdict = Verdict("what was acknowledged happened once, what was refused did not happen")
    asked = commands(evidence.entries)
    by_kind: dict[str, list[Command]] = defaultdict(list)
    for command in asked:
        by_kind[command.kind].append(command)
        verdict.must(command.answers <= 1, f"{command.names()}: {command.answers} answers")
        verdict.must(
            command.status < 500 or command.code == "try_again", f"{command.names()}: answered {command.status}"
        )
        verdict.must(
            command.answers > 0 or not command.socket_lasted, f"{command.names()}: no answer, though the socket lasted"
        )
    for actor, entries in evidence.entries.items():
        for entry in entries:
            if isinstance(entry, Answered):
                code = entry.body.get("code") if isinstance(entry.body, dict) else None
                verdict.must(
                    entry.status < 500 or code == "try_again", f"{actor} call {entry.call}: answered {entry.status}"
                )
    index = _Index(evidence.database)
    for kind in MARKED:
        _marked(verdict, index, kind, by_kind[kind])
    _once(verdict, index, by_kind)
    _every_time(verdict, index, by_kind)
    _by_time(verdict, index, by_kind)
    _creations(verdict, evidence.database, by_kind["create"])
    for kind, check in RESULTS.items():
        for command in by_kind[kind]:
            if command.outcome == "done":
                wrong = check(index, command)
                verdict.must(wrong is None, f"{command.names()}: {wrong}")
    verdict.counts.append(", ".join(f"{n} {outcome}" for outcome, n in Counter(c.outcome for c in asked).items()))
    verdict.lag("answers", (c.answered_at - c.sent_at for c in asked if c.answered_at is not None))
    return verdict


class _Index:
    """The database by what commands name."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.offers: dict[str, Offer] = {}
        self.assignments: dict[str, Assignment] = {}
        for delivery in database.deliveries.values():
            self.offers |= delivery.offers
            self.assignments |= delivery.assignments
        self.marked: dict[str, list[EventRow]] = defaultdict(list)
        self.by_target: dict[tuple[str, str | None], list[EventRow]] = defaultdict(list)
        self.of_delivery: dict[tuple[str, str], list[EventRow]] = defaultdict(list)
        self.of_driver: dict[str, list[EventRow]] = defaultdict(list)
        for event in database.events:
            for mark in (event.data.get("reason"), event.data.get("note")):
                if mark:
                    self.marked[mark].append(event)
            if event.type in ONCE:
                self.by_target[event.type, ONCE[event.type][0](event)].append(event)
            if event.delivery_id is not None and event.type in EVERY_TIME:
                self.of_delivery[event.type, event.delivery_id].append(event)
            if event.driver_id is not None and event.type.startswith("driver."):
                self.of_driver[event.driver_id].append(event)

    def delivery(self, delivery_id: str | None) -> Delivery | None:
        return self.database.deliveries.get(delivery_id or "")

    def was_cancelled(self, delivery_id: str) -> bool:
        """Whether it is cancelled, or was and is restored."""
        delivery = self.delivery(delivery_id)
        restored = bool(self.of_delivery["delivery.restored", delivery_id])
        return restored or (delivery is not None and delivery.status == "CANCELLED")

    def ended(self, assignment_id: str, *statuses: str) -> bool:
        """Whether the assignment is in one of these."""
        assignment = self.assignments.get(assignment_id)
        return assignment is not None and assignment.status in statuses

    def was(self, driver_id: str, availability: str, since: float, until: float) -> bool:
        """Whether the driver was in this state at some instant of the span."""
        state, began = "offline", float("-inf")
        for event in self.of_driver[driver_id]:
            if event.type != "driver.availability_changed":
                continue
            if state == availability and began <= until and event.at.timestamp() >= since:
                return True
            state, began = event.data["to"], event.at.timestamp()
        return state == availability and began <= until


NOTED: Final = frozenset({"acknowledge", "release", "failed", "release_for", "failed_for"})
"""What has its own words in its note: its reason is a code."""


def mark_of(command: Command) -> str | None:
    """The words by which its events are known."""
    if command.kind == "change_policy":
        return command.target
    return command.fields.get("note" if command.kind in NOTED else "reason")


def _marked(verdict: Verdict, index: _Index, kind: str, asked: Iterable[Command]) -> None:
    """Commands with the same words are one, said again."""
    first, *others = MARKED[kind]
    kinds = {*first, *(event_type for more in others for event_type in more)}
    same: dict[str, list[Command]] = defaultdict(list)
    for command in asked:
        if (mark := mark_of(command)) is not None:
            same[mark].append(command)
    for mark, commands_ in same.items():
        command = next((c for c in commands_ if c.outcome == "done"), commands_[0])
        left = [event for event in index.marked[mark] if event.type in kinds]
        counts = Counter(event.type for event in left)
        verdict.must(all(n == 1 for n in counts.values()), f"{command.names()}: carried out more than once: {counts}")
        for event in left:
            by = (event.actor_type, event.actor_id)
            verdict.must(by == (command.role, command.subject), f"{command.names()}: its {event.type} is by {by}")
        if all(c.outcome == "refused" for c in commands_):
            verdict.must(not left, f"{command.names()}: left {sorted(counts)}")
        elif command.outcome == "done" and not any(counts[event_type] for event_type in first):
            verdict.must(_repeats(index, command), f"{command.names()}: nothing of it is there")


def _repeats(index: _Index, command: Command) -> bool:
    """Whether nothing was left to do."""
    span = (command.sent_at - CLOCK_SECONDS, (command.answered_at or 0.0) + CLOCK_SECONDS)
    match command.kind:
        case "reject":
            offer = index.offers.get(command.target)
            return offer is not None and offer.status == "REJECTED"
        case "cancel":
            return index.was_cancelled(command.target)
        case "set_availability":
            return index.was(command.target, command.fields["availability"], *span)
        case "assign":
            return command.status == 200
        case "release" | "release_for":
            return index.ended(command.target, "RELEASED")
        case "failed" | "failed_for":
            assignment = index.assignments.get(command.target)
            return assignment is not None and assignment.failed_at is not None
        case "picked_up_for":
            assignment = index.assignments.get(command.target)
            return assignment is not None and assignment.picked_up_at is not None
        case "completed_for":
            return index.ended(command.target, "COMPLETED", "RETURNED")
        case _:
            return False


def _once(verdict: Verdict, index: _Index, by_kind: dict[str, list[Command]]) -> None:
    """At most one effect a target; one if any command was acked (`RESULTS` sees to it), none if all were refused."""
    asked: dict[tuple[str, str], list[Command]] = defaultdict(list)
    for kind, found in by_kind.items():
        for command in found:
            about = f"{command.target} {command.fields.get('where')}" if kind == "arrived" else command.target
            asked[kind, about].append(command)
    for (event_type, target), events in index.by_target.items():
        verdict.must(len(events) == 1, f"{target}: {len(events)} {event_type}")
        if events[0].actor_type == "system":
            continue
        causes = [c for kind in ONCE[event_type][1] for c in asked[kind, target or ""]]
        at = events[0].at.timestamp() + CLOCK_SECONDS
        verdict.must(
            any(c.outcome != "refused" and c.sent_at <= at and c.subject == events[0].actor_id for c in causes),
            f"{target}: {event_type}, but of {len(causes)} such commands all were refused",
        )


def _every_time(verdict: Verdict, index: _Index, by_kind: dict[str, list[Command]]) -> None:
    """Each event has a separate command, and each acked one its event; nobody's change is lost under another's."""
    for event_type, kinds in EVERY_TIME.items():
        of_delivery: dict[str, list[Command]] = defaultdict(list)
        for kind in kinds:
            for command in by_kind[kind]:
                of_delivery[command.target].append(command)
        for (found_type, delivery_id), events in index.of_delivery.items():
            if found_type == event_type:
                for event in unexplained(events, of_delivery[delivery_id]):
                    verdict.must(False, f"delivery {delivery_id}: {event_type} at {event.at} by nobody's command")
        for delivery_id, asked in of_delivery.items():
            for command in asked:
                if command.outcome == "done" and command.kind != "ready":  # which may have been so before
                    verdict.must(
                        any(_within(command, event) for event in index.of_delivery[event_type, delivery_id]),
                        f"{command.names()}: nothing of it is there",
                    )
    seen = Counter((c.target, c.fields["version"]) for c in by_kind["change"] if c.outcome == "done")
    for (delivery_id, version), times in seen.items():
        verdict.must(times == 1, f"delivery {delivery_id}: version {version} was changed {times} times")


def _within(command: Command, event: EventRow) -> bool:
    """Whether the event is of the time of the command, and by who sent it."""
    at, answered_at = event.at.timestamp(), command.answered_at or 0.0
    ours = (event.actor_type, event.actor_id) == (command.role, command.subject)
    return ours and command.sent_at - CLOCK_SECONDS <= at <= answered_at + CLOCK_SECONDS


def _by_time(verdict: Verdict, index: _Index, by_kind: dict[str, list[Command]]) -> None:
    for kind, traces in BY_TIME.items():
        of_driver: dict[str, list[Command]] = defaultdict(list)
        for command in by_kind[kind]:
            of_driver[command.target].append(command)
        for driver_id, asked in of_driver.items():
            events = [e for e in index.of_driver[driver_id] if (e.type, e.data.get("reason")) in traces]
            for command in asked:
                if command.outcome == "done" and command.answered_at is not None:
                    span = (command.sent_at - CLOCK_SECONDS, command.answered_at + CLOCK_SECONDS)
                    verdict.must(
                        any(span[0] <= e.at.timestamp() <= span[1] for e in events)
                        or index.was(driver_id, STATES[kind], *span),
                        f"{command.names()}: nothing of it is there",
                    )
        for driver_id, found in index.of_driver.items():
            events = [e for e in found if (e.type, e.data.get("reason")) in traces and e.actor_type == "driver"]
            for event in unexplained(events, of_driver.get(driver_id, [])):
                verdict.must(
                    False, f"driver {driver_id}: {event.type} at {event.at} without a {kind} that was not refused"
                )
            verdict.checked += len(events)


def unexplained(events: Iterable[EventRow], asked: Iterable[Command]) -> list[EventRow]:
    """Events for which there is no separate command: sent before it, and not answered before it."""
    left = [c for c in asked if c.outcome != "refused"]
    found = []
    for event in events:
        at = event.at.timestamp()
        fits = [
            c
            for c in left
            if c.sent_at - CLOCK_SECONDS <= at and (c.answered_at is None or at <= c.answered_at + CLOCK_SECONDS)
        ]
        if fits:
            left.remove(min(fits, key=lambda c: c.answered_at or float("inf")))
        else:
            found.append(event)
    return found


def _creations(verdict: Verdict, database: Database, asked: Iterable[Command]) -> None:
    """One delivery a key, with the id of the answer; 201 once; none where every request was refused."""
    rows: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
    for delivery in database.deliveries.values():
        rows[delivery.seller_id, delivery.seller_order_id].append(delivery)
    by_key: dict[tuple[str, str], list[Command]] = defaultdict(list)
    for command in asked:
        by_key[command.fields.get("sellerId", ""), command.fields["sellerOrderId"]].append(command)
    for key, found in rows.items():
        verdict.must(len(found) == 1, f"order {key}: {len(found)} deliveries")
        verdict.must(any(c.outcome != "refused" for c in by_key[key]), f"order {key}: a delivery that nobody asked for")
    for key, same in by_key.items():
        made = rows.get(key, [])
        done = [c for c in same if c.outcome == "done"]
        for command in done:
            ids = [delivery.id for delivery in made]
            verdict.must(command.result["id"] in ids, f"{command.names()}: got {command.result['id']}, not {ids}")
            verdict.must(
                not made or made[0].store_name == command.fields["storeName"],
                f"{command.names()}: another order is there",
            )
        first = [c for c in done if c.status == 201]
        verdict.must(len(first) <= 1, f"order {key}: created {len(first)} times")


def _accepted(index: _Index, command: Command) -> str | None:
    """The assignment of the answer, of this offer, to this driver; the offer accepted, or taken at its deadline."""
    shown = (command.result or {}).get("assignment")
    if shown is None:
        return "no assignment in the ack"
    assignment, offer = index.assignments.get(shown["id"]), index.offers.get(command.target)
    if assignment is None:
        return f"assignment {shown['id']} is not there"
    if offer is None:
        return "no such offer"
    if (assignment.driver_id, assignment.offer_id) != (command.subject, offer.id):
        return f"assignment {assignment.id} is of driver {assignment.driver_id} and offer {assignment.offer_id}"
    if offer.status != "ACCEPTED" and not offer.auto_accepted:
        return f"the offer ended {offer.status}"
    if offer.status == "ACCEPTED" and len(index.by_target["offer.accepted", offer.id]) != 1:
        return "no offer.accepted of it"
    return None


def _carried_on(index: _Index, command: Command) -> str | None:
    assignment = index.assignments.get(command.target)
    if assignment is None:
        return "no such assignment"
    if command.kind.startswith("completed") and assignment.status not in ("COMPLETED", "RETURNED"):
        return f"it ended {assignment.status}"
    if assignment.picked_up_at is None:
        return "it was never picked up"
    return None


def _arrived(index: _Index, command: Command) -> str | None:
    """After the end of the job it does no harm, and is not recorded."""
    assignment = index.assignments.get(command.target)
    if assignment is None:
        return "no such assignment"
    at_pickup = command.fields["where"] == "pickup"
    at = assignment.arrived_pickup_at if at_pickup else assignment.arrived_dropoff_at
    recorded = at is not None or assignment.status in ("COMPLETED", "FAILED", "RETURNED")
    return None if recorded else "it is not recorded"


def _gave_back(index: _Index, command: Command) -> str | None:
    return None if index.ended(command.target, "RELEASED") else "it is not released"


def _failed(index: _Index, command: Command) -> str | None:
    assignment = index.assignments.get(command.target)
    return None if assignment is not None and assignment.failed_at is not None else "it never failed"


def _received(index: _Index, command: Command) -> str | None:
    """Only the first word before the deadline counts."""
    offer = index.offers.get(command.target)
    if offer is None:
        return "no such offer"
    until = _instant(command.answered_at)
    over = offer.expires_at.timestamp() <= until or (
        offer.closed_at is not None and offer.closed_at.timestamp() <= until
    )
    return None if offer.received_at is not None or over else "it is not recorded"


def _cancelled(index: _Index, command: Command) -> str | None:
    return None if index.was_cancelled(command.target) else "it is not cancelled"


def _moved(index: _Index, command: Command) -> str | None:
    """What a person's assigning led to is there, for the driver they named."""
    for kind, rows in (("offer", index.offers), ("assignment", index.assignments)):
        shown = command.result.get(kind)
        if shown is None:
            continue
        row = rows.get(shown["id"])
        if row is None:
            return f"{kind} {shown['id']} is not there"
        if row.driver_id != command.fields.get("driverId", row.driver_id):
            return f"{kind} {shown['id']} is of another driver"
    return None


def _searched(index: _Index, command: Command) -> str | None:
    offer = index.offers.get(command.result["offerId"])
    if offer is None:
        return f"offer {command.result['offerId']} is not there"
    if (offer.delivery_id, offer.driver_id) != (command.target, command.result["driverId"]):
        return "the offer is another one"
    return None


def _policy(index: _Index, command: Command) -> str | None:
    for row in index.database.policies:
        if row.version == command.result["version"]:
            ours = row.reason == command.target and row.changed_by == command.subject
            return None if ours else f"version {row.version} is by {row.changed_by}: {row.reason}"
    return f"version {command.result['version']} is not there"


def _instant(at: float | None) -> float:
    assert at is not None
    return at + CLOCK_SECONDS


RESULTS: Final[dict[str, Callable[[_Index, Command], str | None]]] = {
    "accept": _accepted,
    "arrived": _arrived,
    "picked_up": _carried_on,
    "completed": _carried_on,
    "picked_up_for": _carried_on,
    "completed_for": _carried_on,
    "release": _gave_back,
    "release_for": _gave_back,
    "failed": _failed,
    "failed_for": _failed,
    "received": _received,
    "cancel": _cancelled,
    "reassign": _moved,
    "assign": _moved,
    "search": _searched,
    "change_policy": _policy,
}
