"""Decides the commands of a batch against one world. It never waits and uses no connection."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from msgspec import UNSET

from server.contract.commit import Answer, Committed, StreamMessage
from server.contract.driver_stream import StreamEntry, stream_entries
from server.contract.views import to_json
from server.contract.webhook_events import WebhookMessage
from server.dispatch import refusals as r
from server.dispatch.apply import apply
from server.dispatch.commands import Command
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.driver_runs import update_runs
from server.dispatch.events import Event
from server.dispatch.model import Delivery
from server.dispatch.refusals import Refusal
from server.dispatch.world import NeedsRows, NotThere, World
from server.metrics import COMMANDS, REFUSALS
from server.store.queues.stream_notices import StreamNoticeRow, stream_notice

ROUNDS_FOR_ROWS: Final = 8
"""How often a command may need more rows before it is given up."""


class Pending:
    """A command on its way: who waits for it, since when, and the rows it turned out to need."""

    __slots__ = ("command", "future", "needed", "since")

    def __init__(self, command: Command, future: "asyncio.Future[Answer | Refusal]", since: float) -> None:
        self.command = command
        self.future = future
        self.since = since
        self.needed: list[NeedsRows] | None = None

    def answer(self, answer: Answer | Refusal) -> None:
        """Answer the callers that still wait."""
        if not self.future.done():
            self.future.set_result(answer)

    def names(self) -> set[str]:
        """The ids of rows that this command names."""
        kind = type(self.command)
        fields = _keys_of.get(kind)
        if fields is None:
            fields = _keys_of[kind] = tuple(name for name in _KEY_FIELDS if name in kind.__struct_fields__)
        named = {getattr(self.command, name) for name in fields}
        named.discard(None)
        named.discard(UNSET)
        return named


_KEY_FIELDS: Final = (
    "delivery_id", "driver_id", "offer_id", "assignment_id", "alert_id", "seller_order_id", "external_ref",
)  # fmt: skip
_keys_of: dict[type, tuple[str, ...]] = {}


class Batch:
    """The commands of a batch and their results."""

    def __init__(self, pendings: list[Pending]) -> None:
        self.pendings = pendings
        self.decided: list[tuple[Pending, Decided | Refusal]] = []
        self.deferred: list[Pending] = []
        self.events: list[Event] = []
        self.messages: list[StreamMessage] = []
        self.stream_notices: list[StreamNoticeRow] = []
        self.outbox: list[WebhookMessage] = []

    def decide(self, world: World) -> None:
        """Decide one command after another in order of arrival; later ones see the effects of earlier ones.

        A command that needs rows which are not locked waits for the next batch, with every later one that names the
        same rows.
        """
        held: set[str] = set()
        entries: list[StreamEntry] = []
        for pending in self.pendings:
            if held and held & _keys_in(world, pending):
                self.deferred.append(pending)
                continue
            try:
                decision = decide(pending.command, world)
            except NeedsRows as needs:
                pending.needed = [*(pending.needed or ()), needs]
                if len(pending.needed) > ROUNDS_FOR_ROWS:
                    self.decided.append((pending, r.TRY_AGAIN))
                    continue
                held |= _keys_in(world, pending) | {needs.delivery_id or "", needs.driver_id or ""} - {""}
                self.deferred.append(pending)
                continue
            self.decided.append((pending, decision))
            if isinstance(decision, Decided) and decision.events:
                for event in decision.events:
                    apply(world, event)
                update_runs(decision.events, world)
                self.events.extend(decision.events)
                entries.extend(stream_entries(decision.events, world))
        for driver_id, message, about in entries:
            driver = world.drivers[driver_id]
            assert driver is not None
            self.messages.append(StreamMessage(driver_id, driver.session_node, message.seq, to_json(message)))
            notice = stream_notice(about, message.seq, world) if about is not None else None
            if notice is not None:
                self.stream_notices.append(notice)

    def finish(self, world: World) -> Committed | None:
        """After the commit: answer everybody. What was changed, if anything was."""
        for pending, decision in self.decided:
            refusal = decision if isinstance(decision, Refusal) else decision.refusal
            if refusal is not None:
                REFUSALS.labels(refusal.code).inc()
                pending.answer(refusal)
            elif isinstance(decision, Decided):
                pending.answer(_answer(decision, world))
        COMMANDS.inc(len(self.decided))
        if not self.events:
            return None
        return Committed(
            world.now,
            self.events,
            [*world.new_deliveries.values(), *_changed_deliveries(world)],
            [*world.new_drivers.values(), *world.changed_drivers.values()],
            self.messages,
            world.new_policy.policy if world.new_policy is not None else None,
            bool(self.outbox),
            world.zones if world.changed_zones else None,
            {key: known for key, known in world.spellings.items() if known is not None},
        )


def _keys_in(world: World, pending: Pending) -> set[str]:
    keys = pending.names()
    for name, find in (("offer_id", world.offer), ("assignment_id", world.assignment)):
        named = getattr(pending.command, name, None)
        if named is not None:
            with suppress(NotThere):
                delivery, part = find(named)
                keys |= {delivery.id, part.driver_id}
    return keys


def _changed_deliveries(world: World) -> Iterable[Delivery]:
    """Deliveries that changed, and those of which only the record of their wait changed."""
    changed = dict(world.changed_deliveries)
    for delivery_id in world.changed_waits:
        delivery = world.deliveries[delivery_id]
        if delivery is not None:
            changed.setdefault(delivery_id, delivery)
    return changed.values()


def _answer(decided: Decided, world: World) -> Answer:
    delivery = world.deliveries.get(decided.delivery_id) if decided.delivery_id is not None else None
    offer = assignment = None
    if delivery is not None:
        offer = delivery.offers.get(decided.offer_id) if decided.offer_id is not None else None
        if decided.assignment_id is not None:
            assignment = delivery.assignments.get(decided.assignment_id)
    driver = world.drivers.get(decided.driver_id) if decided.driver_id is not None else None
    return Answer(decided, world.now, delivery, offer, assignment, driver)
