"""A rule's case as a row of a table: given a world, a command, then these events or this refusal."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.commands import Command
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.model import Assignment, Delivery, Offer, OfferPayload, Unassigned
from server.dispatch.refusals import Refusal
from server.dispatch.world import World
from tests.dispatch.invariants import broken_invariants


class Happens(Struct, frozen=True):
    """An expected event: its type and those of its fields that matter here."""

    kind: type[e.Event]
    fields: dict[str, Any]

    def differs(self, event: e.Event) -> str | None:
        """What is not as expected, or None."""
        if type(event) is not self.kind:
            return f"{type(event).__name__} instead of {self.kind.__name__}"
        for name, expected in self.fields.items():
            found = getattr(event, name)
            if found != expected:
                return f"{self.kind.__name__}.{name} is {found!r}, not {expected!r}"
        return None


def happens(kind: type[e.Event], **fields: Any) -> Happens:
    """An event of this kind, with at least these fields."""
    return Happens(kind, fields)


class Case(Struct, frozen=True):
    """`then` is what happens, in order; nothing for a repeat; or the refusal's code, and perhaps more of its message.

    `leaves` is what a refusal leaves behind. `afterwards` asserts on the world once the events are applied.
    """

    name: str
    given: Callable[[], World]
    command: Command
    then: Sequence[Happens] | str
    afterwards: Callable[[World], object] = lambda world: True
    leaves: Sequence[Happens] = ()


def check(case: Case) -> None:
    """Decide, compare, apply; and what is true of every command: deciding changes nothing, applying changes no event,
    invariants hold.
    """
    world = case.given()
    before = copy.deepcopy((world.deliveries, world.drivers, world.policy, world.spellings, world.new_spellings))
    decided = decide(case.command, world)
    after = (world.deliveries, world.drivers, world.policy, world.spellings, world.new_spellings)
    assert after == before, "deciding changed the world"
    expectations: Sequence[Happens] = case.leaves if isinstance(case.then, str) else case.then
    if isinstance(case.then, str):
        refusal = decided if isinstance(decided, Refusal) else decided.refusal
        assert refusal is not None, f"not refused: {decided}"
        code, _, words = case.then.partition(": ")
        assert refusal.code == code
        assert words in refusal.message
        if isinstance(decided, Refusal):
            assert not case.leaves
            return
    assert isinstance(decided, Decided), f"refused: {decided}"
    names = [type(event).__name__ for event in decided.events]
    assert names == [expected.kind.__name__ for expected in expectations]
    for event, expected in zip(decided.events, expectations, strict=True):
        assert expected.differs(event) is None, expected.differs(event)
        assert event.at == world.now
    assert decided.repeated == (not decided.events)
    happened = copy.deepcopy(decided.events)
    for event in decided.events:
        apply(world, event)
    assert decided.events == happened, "applying changed what an event says"
    assert broken_invariants(world) == []
    assert case.afterwards(world) in (True, None)


def offer_of(delivery: Delivery) -> Offer:
    """The open offer, which there must be."""
    offer = delivery.open_offer()
    assert offer is not None
    return offer


def payload_of(delivery: Delivery) -> OfferPayload:
    """What the open offer, made in this case, says."""
    payload = offer_of(delivery).payload
    assert isinstance(payload, OfferPayload)
    return payload


def job_of(delivery: Delivery) -> Assignment:
    """The active or completed assignment, which there must be."""
    assignment = delivery.assignment()
    assert assignment is not None
    return assignment


def waiting_of(delivery: Delivery) -> Unassigned:
    """The delivery's row while it has no driver, or had none, which there must be."""
    assert delivery.unassigned is not None
    return delivery.unassigned


def name_of(case: object) -> str:
    """For `ids=` of a parametrized test."""
    return case.name if isinstance(case, Case) else repr(case)
