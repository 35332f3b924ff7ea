"""Ways to break one thing in the evidence."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import structs

from server.dispatch.model import Assignment, Delivery, Offer
from tests.builders import DAN, DORA, id_of, seconds
from tests.torture.evidence import Evidence
from tests.torture.history import Answered, Heard, HookCall, Opened, Sent

CAKE_ID, SOUP_ID, PIE_ID, TEA_ID = (id_of(name) for name in ("cake", "soup", "pie", "tea"))
Forge = Callable[[Evidence], None]


def delivery(evidence: Evidence, delivery_id: str) -> Delivery:
    return evidence.database.deliveries[delivery_id]


def first_offer(evidence: Evidence, delivery_id: str) -> Offer:
    return next(iter(delivery(evidence, delivery_id).offers.values()))


def assignments(evidence: Evidence, delivery_id: str) -> list[Assignment]:
    return list(delivery(evidence, delivery_id).assignments.values())


def place(evidence: Evidence, kind: str, nth: int = 0, of: str | None = None) -> int:
    """Where the nth event of this type (about this delivery or driver) is."""
    found = [
        index
        for index, event in enumerate(evidence.database.events)
        if event.type == kind and of in (None, event.delivery_id, event.driver_id)
    ]
    return found[nth]


def drop(kind: str, nth: int = 0, of: str | None = None) -> Forge:
    """An event that was lost."""

    def forge(evidence: Evidence) -> None:
        del evidence.database.events[place(evidence, kind, nth, of)]

    return forge


def repeat(kind: str, nth: int = 0, of: str | None = None) -> Forge:
    """An event that happened twice."""

    def forge(evidence: Evidence) -> None:
        index = place(evidence, kind, nth, of)
        evidence.database.events.insert(index + 1, evidence.database.events[index])

    return forge


def change(kind: str, nth: int = 0, of: str | None = None, **fields: Any) -> Forge:
    """An event that says something else."""

    def forge(evidence: Evidence) -> None:
        index = place(evidence, kind, nth, of)
        evidence.database.events[index] = structs.replace(evidence.database.events[index], **fields)

    return forge


def say(kind: str, nth: int = 0, of: str | None = None, **data: Any) -> Forge:
    """An event with other data."""

    def forge(evidence: Evidence) -> None:
        index = place(evidence, kind, nth, of)
        event = evidence.database.events[index]
        evidence.database.events[index] = structs.replace(event, data=event.data | data)

    return forge


def shift(kind: str, by_seconds: float, nth: int = 0, of: str | None = None) -> Forge:
    """An event at another instant."""

    def forge(evidence: Evidence) -> None:
        at = evidence.database.events[place(evidence, kind, nth, of)].at
        change(kind, nth, of, at=at + seconds(by_seconds))(evidence)

    return forge


def set_on(find: Callable[[Evidence], Any], **fields: Any) -> Forge:
    """A row with other values."""

    def forge(evidence: Evidence) -> None:
        row = find(evidence)
        for name, value in fields.items():
            setattr(row, name, value)

    return forge


def answered(actor: str, nth: int, **fields: Any) -> Forge:
    """The nth answer over HTTP was another."""

    def forge(evidence: Evidence) -> None:
        entries = evidence.entries[actor]
        index = [i for i, entry in enumerate(entries) if isinstance(entry, Answered)][nth]
        entries[index] = structs.replace(entries[index], **fields)

    return forge


def heard(actor: str, kind: str, nth: int, edit: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Forge:
    """The nth message of this type came otherwise, or (None) not at all."""

    def forge(evidence: Evidence) -> None:
        entries = evidence.entries[actor]
        index = [i for i, e in enumerate(entries) if isinstance(e, Heard) and e.message["type"] == kind][nth]
        entry = entries[index]
        assert isinstance(entry, Heard)
        edited = edit(entry.message)
        if edited is None:
            del entries[index]
        else:
            entries[index] = structs.replace(entry, message=edited)

    return forge


def row_of_run(driver_id: str, nth: int, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Forge:
    """The nth run in a driver's stream has other stops."""

    def forge(evidence: Evidence) -> None:
        rows = evidence.database.messages[driver_id]
        found = [(index, msgspec.json.decode(body)) for index, (_, body) in enumerate(rows)]
        index, message = [row for row in found if row[1]["type"] == "run"][nth]
        changed = message | {"stops": edit(message["stops"])}
        rows[index] = (rows[index][0], msgspec.json.encode(changed).decode())

    return forge


def heard_twice(actor: str, kind: str, nth: int = 0) -> Forge:
    """The nth message of this type came twice."""

    def forge(evidence: Evidence) -> None:
        entries = evidence.entries[actor]
        index = [i for i, e in enumerate(entries) if isinstance(e, Heard) and e.message["type"] == kind][nth]
        entries.insert(index + 1, entries[index])

    return forge


def without_assignment(evidence: Evidence) -> None:
    """The accept was acked and is not there: its rows and events are gone."""
    soup = delivery(evidence, SOUP_ID)
    soup.assignments.clear()
    soup.accepted_offer_id = None
    events = evidence.database.events
    evidence.database.events = [e for e in events if e.delivery_id != SOUP_ID or e.type == "delivery.created"]


def two_hands(evidence: Evidence) -> None:
    """Cake's second assignment began before the first one ended."""
    first, second = assignments(evidence, CAKE_ID)
    assert first.ended_at is not None
    second.created_at = first.ended_at - seconds(1)


def over_capacity(evidence: Evidence) -> None:
    """Dan had cake while he still had soup."""
    (soup,) = assignments(evidence, SOUP_ID)
    cake = assignments(evidence, CAKE_ID)[0]
    assert soup.completed_at is not None
    cake.created_at = soup.completed_at - seconds(0.1)


def two_offers(evidence: Evidence) -> None:
    """Cake's second offer began before the first was closed."""
    first, second, *_ = delivery(evidence, CAKE_ID).offers.values()
    assert first.closed_at is not None
    second.created_at = first.closed_at - seconds(0.1)


def two_offers_of_a_driver(evidence: Evidence) -> None:
    """Dora was offered cake the second time while she had the first."""
    _, second, third = delivery(evidence, CAKE_ID).offers.values()
    second.closed_at = third.created_at + seconds(0.1)


def silence(evidence: Evidence) -> None:
    """A message on a socket that lasted was never answered."""
    socket = max(entry.socket for entry in evidence.entries[DORA] if isinstance(entry, Opened))
    message = {"type": "resume", "id": "unanswered"}
    evidence.entries[DORA].append(Sent(at=evidence.database.now.timestamp(), socket=socket, message=message))


def second_delivery(evidence: Evidence) -> None:
    """The same order made two deliveries."""
    evidence.database.deliveries[id_of("soup again")] = structs.replace(
        delivery(evidence, SOUP_ID), id=id_of("soup again")
    )


def nobodys_order(evidence: Evidence) -> None:
    """A delivery that no shop asked for."""
    made = structs.replace(delivery(evidence, SOUP_ID), id=id_of("ghost"), seller_order_id="ghost")
    evidence.database.deliveries[made.id] = made


def _asked(evidence: Evidence, kind: str, actor: str) -> set[str]:
    """The ids of the messages of this type that were sent."""
    sent = (entry.message for entry in evidence.entries[actor] if isinstance(entry, Sent))
    return {message["id"] for message in sent if message["type"] == kind}


def all_refused(kind: str, actor: str) -> Forge:
    """Every answer to messages of this type was a refusal."""

    def forge(evidence: Evidence) -> None:
        asked = _asked(evidence, kind, actor)
        entries = evidence.entries[actor]
        for index, entry in enumerate(entries):
            if isinstance(entry, Heard) and entry.message.get("id") in asked:
                refusal = {"type": "error", "id": entry.message["id"], "code": "try_again", "message": ""}
                entries[index] = structs.replace(entry, message=refusal)

    return forge


def acked(kind: str, actor: str) -> Forge:
    """The refused messages of this type were acked."""

    def forge(evidence: Evidence) -> None:
        asked = _asked(evidence, kind, actor)
        entries = evidence.entries[actor]
        (soup,) = assignments(evidence, SOUP_ID)
        for index, entry in enumerate(entries):
            if isinstance(entry, Heard) and entry.message["type"] == "error" and entry.message["id"] in asked:
                ack = {"type": "ack", "id": entry.message["id"], "result": {"assignment": {"id": soup.id}}}
                entries[index] = structs.replace(entry, message=ack)

    return forge


def hello_of_nothing(message: dict[str, Any]) -> dict[str, Any]:
    return message | {"missed": []}


def missed_everything(replay: Callable[[list[str]], list[str]]) -> Forge:
    """Dan comes back as if he had heard nothing of the evening, and gets what `replay` makes of the rows."""

    def forge(evidence: Evidence) -> None:
        entries = evidence.entries[DAN]
        index = max(i for i, entry in enumerate(entries) if isinstance(entry, Opened))
        entries[index] = structs.replace(entries[index], last_seq=0)
        hello = next(e for e in entries[index:] if isinstance(e, Heard) and e.message["type"] == "hello")
        rows = [body for seq, body in evidence.database.messages[DAN] if seq <= hello.message["seq"]]
        hello.message["missed"] = [msgspec.json.decode(body) for body in replay(rows)]

    return forge


def row_lost(evidence: Evidence) -> None:
    del evidence.database.messages[DAN][3]


def row_differs(evidence: Evidence) -> None:
    seq, body = evidence.database.messages[DAN][3]
    evidence.database.messages[DAN][3] = (seq, msgspec.json.encode(msgspec.json.decode(body) | {"more": 1}).decode())


def not_heard_yet(evidence: Evidence) -> None:
    assert evidence.rest is not None
    evidence.rest.last_seqs[DAN] = 1


def open_for_ever(evidence: Evidence) -> None:
    offer = first_offer(evidence, CAKE_ID)
    offer.status, offer.closed_at = "PENDING", None
    drop("offer.rejected")(evidence)


def later(by_seconds: float) -> Forge:
    """The evening goes on for so long, and nothing happens."""

    def forge(evidence: Evidence) -> None:
        evidence.database.now += seconds(by_seconds)

    return forge


def both(*forges: Forge) -> Forge:
    """One after the other."""

    def forge(evidence: Evidence) -> None:
        for each in forges:
            each(evidence)

    return forge


def lapsed_while_connected(evidence: Evidence) -> None:
    """Nobody noticed that Dan's socket was lost, and yet he lapsed."""
    drop("driver.disconnected", of=DAN)(evidence)


def given_to_a_lost_phone(evidence: Evidence) -> None:
    """Dora lost her socket while cake was offered to her, and cake was hers by silence."""
    say("offer.expired", of=CAKE_ID, autoAccepted=True)(evidence)
    events = evidence.database.events
    index = place(evidence, "offer.expired", of=CAKE_ID)
    events.insert(index, structs.replace(events[index], type="driver.disconnected", data={"sessionId": id_of("hers")}))


def delivered_backwards(evidence: Evidence) -> None:
    """The messages of soup came in the wrong order."""
    entries = evidence.entries["hook"]
    soups = [
        i for i, e in enumerate(entries) if isinstance(e, HookCall) and e.body["data"].get("deliveryId") == SOUP_ID
    ]
    first, second = entries[soups[0]], entries[soups[1]]
    entries[soups[0]] = structs.replace(second, at=first.at)
    entries[soups[1]] = structs.replace(first, at=second.at)


def delivered(nth: int, **fields: Any) -> Forge:
    """The nth call of a webhook was another."""

    def forge(evidence: Evidence) -> None:
        entries = evidence.entries["hook"]
        entries[nth] = structs.replace(entries[nth], **fields)

    return forge


def never_delivered(evidence: Evidence) -> None:
    del evidence.entries["hook"][-1]


def row_of_outbox_lost(evidence: Evidence) -> None:
    lost = evidence.database.webhook_messages.pop()
    evidence.entries["hook"] = [
        entry for entry in evidence.entries["hook"] if not (isinstance(entry, HookCall) and entry.message_id == lost.id)
    ]


def row_of_outbox_twice(evidence: Evidence) -> None:
    last = evidence.database.webhook_messages[-1]
    again = structs.replace(last, id=id_of("again"), seq=last.seq + 1)
    evidence.database.webhook_messages.append(again)
    body = {"id": again.id, **again.body}
    at = evidence.database.now.timestamp()
    evidence.entries["hook"].append(HookCall(at=at, message_id=again.id, body=body, signed=True, status=200))


def given_up(evidence: Evidence) -> None:
    last = evidence.database.webhook_messages[-1]
    parked = structs.replace(last, delivered_at=None, parked_at=evidence.database.now)
    evidence.database.webhook_messages[-1] = parked


def at_rest(**fields: Any) -> Forge:
    """Something else was measured at rest."""

    def forge(evidence: Evidence) -> None:
        assert evidence.rest is not None
        for name, value in fields.items():
            setattr(evidence.rest, name, value)

    return forge


def used(**fields: Any) -> Forge:
    """Something else is held afterwards."""

    def forge(evidence: Evidence) -> None:
        assert evidence.rest is not None
        evidence.rest.after = structs.replace(evidence.rest.after, **fields)

    return forge


def ghost_level(evidence: Evidence) -> None:
    """Cake escalated after it was assigned."""
    events = evidence.database.events
    level = events[place(evidence, "delivery.escalated", of=CAKE_ID)]
    index = place(evidence, "delivery.assigned", of=CAKE_ID)
    events.insert(index + 1, structs.replace(level, at=events[index].at, data=level.data | {"level": 2}))


def second_ticket(evidence: Evidence) -> None:
    """A ticket was opened twice in one wait."""
    repeat("ticket.created", of=TEA_ID)(evidence)


def never_ready(evidence: Evidence) -> None:
    """Pie's dispatch time passed, and nothing happened."""
    events = evidence.database.events
    evidence.database.events = [e for e in events if e.delivery_id != PIE_ID or e.type == "delivery.created"]
    pie = delivery(evidence, PIE_ID)
    pie.status = "SCHEDULED"


def extra_history(evidence: Evidence) -> None:
    evidence.database.availability_history.append(evidence.database.availability_history[-1])


def missing_history(evidence: Evidence) -> None:
    evidence.database.availability_history.pop()


def missing_ticket(evidence: Evidence) -> None:
    evidence.database.tickets.pop()


def unmarked_refusal(evidence: Evidence) -> None:
    """Abe's reassign was refused, and carried out."""
    at = evidence.database.events[place(evidence, "delivery.reassigned")]
    changed = structs.replace(at, actor_id="abe", data=at.data | {"reason": "abe-1"})
    evidence.database.events.append(changed)


def lose_policy(evidence: Evidence) -> None:
    evidence.database.policies.pop()


def lose_tea(evidence: Evidence) -> None:
    del evidence.database.deliveries[TEA_ID]


def lose_dan(evidence: Evidence) -> None:
    del evidence.database.drivers[DAN]


def only_until_the_break(evidence: Evidence) -> None:
    """Nothing of Dan's after his break began."""
    events = evidence.database.events
    began = place(evidence, "driver.availability_changed", 1, DAN)
    evidence.database.events = [e for i, e in enumerate(events) if i <= began or e.driver_id != DAN]


def gone(evidence: Evidence) -> None:
    """Dan's socket is gone, and nothing more happened."""
    events = evidence.database.events
    lost = place(evidence, "driver.disconnected", 0, DAN)
    evidence.database.events = events[: lost + 1]
    later(30)(evidence)


def lose_offer(evidence: Evidence) -> None:
    """Cake's last offer is not there."""
    delivery(evidence, CAKE_ID).offers.popitem()


def complained(evidence: Evidence) -> None:
    evidence.complaints.append("node 1 had not ended 10 s after SIGTERM")


def change_notice(index: int, **changes: Any) -> Forge:
    """The record of a driver's notice has another content."""

    def forge(evidence: Evidence) -> None:
        rows = evidence.database.stream_notices
        rows[index] = structs.replace(rows[index], **changes)

    return forge


def unheard_by_anybody(evidence: Evidence) -> None:
    """The app of the driver who received the last notice never heard of it."""
    notice = evidence.database.stream_notices[-1]
    entries = evidence.entries[notice.driver_id]
    entries[:] = [
        entry for entry in entries if not isinstance(entry, Heard) or entry.message.get("seq", 0) < notice.seq
    ]


def never_recorded(evidence: Evidence) -> None:
    evidence.database.stream_notices.pop()


def recorded_without_event(evidence: Evidence) -> None:
    """A notice without an event."""
    rows = evidence.database.stream_notices
    rows.append(structs.replace(rows[-1], id=id_of("one more")))


def never_in_timeline(evidence: Evidence) -> None:
    """A driver is connected and quiet, and nothing says that what they heard went out."""
    rows = evidence.database.stream_notices
    assert evidence.rest is not None
    index, notice = next((i, r) for i, r in enumerate(rows) if evidence.rest.open_sessions.get(r.driver_id))
    rows[index] = structs.replace(
        notice, sent_at=None, received_at=None, created_at=evidence.database.now - seconds(60)
    )
