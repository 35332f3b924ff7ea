"""The promise of webhooks: every event at least once, under one id, in order for each delivery."""

from collections import Counter, defaultdict
from typing import Any, Final

from server.contract.views import instant
from server.contract.webhook_events import EVERYTHING, TYPES
from tests.torture.evidence import EventRow, Evidence
from tests.torture.history import HookCall
from tests.torture.promises.verdict import Verdict

_SHOWN: Final = ("deliveryId", "driverId", "offerId", "assignmentId")


def webhooks(evidence: Evidence) -> Verdict:
    """The outbox beside the events, and what the receivers heard beside the outbox."""
    verdict = Verdict("webhooks get every event, in order for each delivery")
    database = evidence.database
    for webhook_id, types in database.webhooks.items():
        wanted = set(TYPES) if EVERYTHING in types else set(types)
        happened = Counter(_of_event(event) for event in database.events if event.type in wanted)
        to_tell = Counter(_of_body(row.body) for row in database.webhook_messages if row.webhook_id == webhook_id)
        verdict.checked += happened.total()
        for missing in (happened - to_tell).elements():
            verdict.must(False, f"webhook {webhook_id} gets no message of {missing}")
        for extra in (to_tell - happened).elements():
            verdict.must(False, f"webhook {webhook_id} gets a message too many of {extra}")
    rows = {row.id: row for row in database.webhook_messages}
    earlier: dict[str, list[str]] = {}
    of_key: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in database.webhook_messages:
        line = of_key[row.webhook_id, row.key]
        earlier[row.id] = line[:]
        line.append(row.id)
    taken: set[str] = set()
    bodies: dict[str, dict[str, Any]] = {}
    calls = 0
    heard = (entry for entries in evidence.entries.values() for entry in entries if isinstance(entry, HookCall))
    for entry in sorted(heard, key=lambda e: e.at):
        calls += 1
        message_id = entry.message_id
        found = rows.get(message_id)
        verdict.must(entry.signed, f"message {message_id}: its signature is invalid")
        verdict.must(
            found is not None or entry.at > database.now.timestamp(),
            f"message {message_id} is of nothing that is there",
        )
        verdict.must(
            bodies.setdefault(message_id, entry.body) == entry.body, f"message {message_id} said different things"
        )
        if found is None:
            continue
        verdict.must(entry.body == {"id": message_id, **found.body}, f"message {message_id} is not what its row says")
        before = [other for other in earlier[message_id] if other not in taken and not rows[other].parked_at]
        verdict.must(not before, f"message {message_id} of {found.key} came before {before[:3]}")
        if entry.status // 100 == 2:
            taken.add(message_id)
    for row in database.webhook_messages:
        verdict.must(row.parked_at is None, f"message {row.id} ({row.type}) was given up")
        verdict.must(row.id in taken, f"message {row.id} ({row.type} of {row.key}) was never taken")
    verdict.counts.append(f"{len(rows)} messages, {calls} calls")
    return verdict


def _of_event(event: EventRow) -> tuple[str | None, ...]:
    return (event.type, instant(event.at), event.delivery_id, event.driver_id, event.offer_id, event.assignment_id)


def _of_body(body: dict[str, Any]) -> tuple[str | None, ...]:
    data = body["data"]
    return (body["type"], data["at"], *(data.get(name) for name in _SHOWN))
