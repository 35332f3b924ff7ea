"""The promise of notices to drivers about actions of others: each has a record, and none counts as received before
the driver got it.
"""

from collections import Counter
from datetime import timedelta
from typing import Final

import msgspec

from tests.torture.evidence import EventRow, Evidence
from tests.torture.history import Heard
from tests.torture.promises.verdict import Verdict

MESSAGE_OF: Final = {
    "delivery.assigned": "assignment",
    "delivery.reassigned": "assignment",
    "delivery.cancelled": "assignment",
    "delivery.released": "assignment",
    "delivery.changed": "assignment",
    "driver.availability_changed": "availability",
}
NOTED_WITHIN: Final = timedelta(seconds=10)
"""The longest time until the status of a sent message is recorded."""


def notices(evidence: Evidence) -> Verdict:
    """Every event that others made beside its notice; every notice beside its message and what their app heard."""
    verdict = Verdict("each notice to a driver about an action of others is recorded, with the right status")
    database = evidence.database
    happened: Counter[tuple[str | None, str, str | None]] = Counter(
        (event.driver_id, event.type, event.delivery_id) for event in database.events if _is_others_doing(event)
    )
    recorded: Counter[tuple[str | None, str, str | None]] = Counter(
        (notice.driver_id, notice.kind, notice.delivery_id) for notice in database.stream_notices
    )
    for key in happened.keys() | recorded.keys():
        verdict.must(
            happened[key] == recorded[key],
            f"driver {key[0]}, {key[1]} of {key[2]}: {happened[key]} times, recorded {recorded[key]}",
        )
    heard = _heard_up_to(evidence)
    for notice in database.stream_notices:
        where = f"notice {notice.id} ({notice.kind}) to {notice.driver_id}"
        body = dict(database.messages.get(notice.driver_id, [])).get(notice.seq, "{}")
        kind = msgspec.json.decode(body).get("type")
        verdict.must(kind == MESSAGE_OF[notice.kind], f"{where}: its message {notice.seq} is {kind}")
        verdict.must(
            notice.received_at is None or heard.get(notice.driver_id, 0) >= notice.seq,
            f"{where}: received, and no app of theirs heard {notice.seq}",
        )
        verdict.must(notice.received_at is None or notice.sent_at is not None, f"{where}: received and never sent")
        rest = evidence.rest
        if rest is not None and rest.open_sessions.get(notice.driver_id) is not None:
            last = rest.last_seqs.get(notice.driver_id)
            verdict.must(
                notice.sent_at is not None
                or last is None
                or last < notice.seq
                or notice.created_at > database.now - NOTED_WITHIN,
                f"{where}: heard at rest, and nothing says that it went out",
            )
    return verdict


def _is_others_doing(event: EventRow) -> bool:
    return (
        event.type in MESSAGE_OF
        and event.driver_id is not None
        and (event.type == "driver.availability_changed" or event.assignment_id is not None)
        and (event.actor_type, event.actor_id) != ("driver", event.driver_id)
        and event.data.get("reason") != "connection_lost"
    )


def _heard_up_to(evidence: Evidence) -> dict[str, int]:
    """The last number that each driver's app heard of, on whichever socket."""
    heard: dict[str, int] = {}
    for entries in evidence.entries.values():
        driver_of: dict[int, str] = {}
        for entry in entries:
            if isinstance(entry, Heard):
                if entry.message.get("type") == "hello":
                    driver_of[entry.socket] = entry.message["driver"]["id"]
                driver_id = driver_of.get(entry.socket)
                if driver_id is not None and "seq" in entry.message:
                    heard[driver_id] = max(heard.get(driver_id, 0), entry.message["seq"])
    return heard
