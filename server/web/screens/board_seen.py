"""The versions that a dialog showed, carried by its form, so that an action never undoes a later decision.

The rules compare versions. The search changes the version of a waiting order too, with each offer. If only the search
acted since the dialog opened, the command is sent again with the current version. If a person or a driver did, the
answer is a refusal that names who.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from server.contract import words as w
from server.contract.commit import Answer
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.model import Actor, Delivery, Driver
from server.dispatch.refusals import Refusal
from server.ids import canonical
from server.store.connections import Pool
from server.store.query import database_errors
from server.store.reads.deliveries import TimelineEvent, last_events, read_timeline
from server.store.reads.drivers import AvailabilityChange, read_driver, read_history, read_names
from server.store.reads.waiting import read_deliveries
from server.texts.speech import said
from server.write.executor import Executor

ATTEMPTS: Final = 5
EVENTS_LIMIT: Final = 500
NUMBER_DIGITS: Final = 18
PEOPLE: Final = ("admin", "ops", "service")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
IN_HAND: Final = (
    "delivery.assigned",
    "delivery.picked_up",
    "delivery.delivered",
    "delivery.cancelled",
    "delivery.reassigned",
    "delivery.released",
    "delivery.failed",
    "delivery.returning",
    "delivery.returned",
)
"""No matter who did it, the order is a different one for the person who decides."""


class SeenOrder(Struct, frozen=True):
    """An order as a dialog showed it: its version, the number of its last event, and that of its assignment."""

    delivery_id: str
    version: int
    event_id: int
    assignment_id: str | None = None
    assignment_version: int | None = None

    def __str__(self) -> str:
        """As a form carries it."""
        parts = [self.delivery_id, self.version, self.event_id]
        if self.assignment_id is not None:
            parts += [self.assignment_id, self.assignment_version or 0]
        return ".".join(map(str, parts))


class SeenDriver(Struct, frozen=True):
    """A driver as a dialog showed them: when their availability had changed last."""

    driver_id: str
    changed_at: datetime

    def __str__(self) -> str:
        """As a form carries it: the instant in milliseconds, as the database keeps it."""
        return f"{self.driver_id}.{(self.changed_at - EPOCH) // timedelta(milliseconds=1)}"


def parse_seen(text: str) -> SeenOrder | None:
    """What a form carries; None if it cannot be read."""
    parts = text.split(".")
    if len(parts) not in (3, 5):
        return None
    numbers = [_number(parts[place]) for place in (1, 2, 4) if place < len(parts)]
    ids = [canonical(parts[place]) for place in (0, 3) if place < len(parts)]
    if None in numbers or None in ids:
        return None
    found: tuple[Any, ...] = (ids[0], *numbers[:2], *ids[1:], *numbers[2:])
    return SeenOrder(*found)


def parse_seen_driver(text: str) -> SeenDriver | None:
    """What a form carries; None if it cannot be read."""
    driver_id, _, changed = text.partition(".")
    known, number = canonical(driver_id), _number(changed)
    if known is None or number is None:
        return None
    try:
        return SeenDriver(known, EPOCH + timedelta(milliseconds=number))
    except OverflowError:
        return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS else None


def seen_driver(driver: Driver) -> SeenDriver:
    """The driver as a dialog shows them now."""
    return SeenDriver(driver.id, driver.last_availability_change)


async def read_seen(pool: Pool, ids: Sequence[str]) -> dict[str, tuple[Delivery, SeenOrder]]:
    """These orders as a dialog shows them now. Raises DatabaseAway.

    The events are read before the orders: one in between counts as news, though the dialog may show it already.
    """
    last = await last_events(pool, ids)
    with database_errors():
        found = await read_deliveries(pool, ids)
    return {known: (found[known], _seen(found[known], last[known])) for known in ids if known in found}


def _seen(delivery: Delivery, event_id: int) -> SeenOrder:
    assignment = delivery.active_assignment()
    if assignment is None:
        return SeenOrder(delivery.id, delivery.version, event_id)
    return SeenOrder(delivery.id, delivery.version, event_id, assignment.id, assignment.version)


class Overtaken(Struct, frozen=True):
    """Refused, because of what somebody did after the dialog was opened: a part of a sentence that names them."""

    what: str


async def carry_out(
    pool: Pool, executor: Executor, seen: SeenOrder, command: Callable[[SeenOrder], c.Command], me: Actor
) -> Answer | Refusal | Overtaken:
    """Do it to the order that the dialog showed. Raises DatabaseAway."""
    for _ in range(ATTEMPTS):
        answer = await executor.submit(command(seen))
        if not isinstance(answer, Refusal):
            if not answer.decided.repeated:
                return answer
            overtaken = await moved(pool, seen, me)
            return Overtaken(overtaken) if overtaken is not None else answer
        now = (await read_seen(pool, [seen.delivery_id])).get(seen.delivery_id)
        overtaken = await moved(pool, seen, me)
        if overtaken is not None:
            return Overtaken(overtaken)
        if answer.code != r.VERSION_CHANGED.code or now is None:
            return answer
        seen = replace(now[1], event_id=seen.event_id)
    return r.VERSION_CHANGED


async def carry_out_for(
    pool: Pool, executor: Executor, seen: SeenDriver, command: Callable[[SeenDriver], c.Command], me: Actor
) -> Answer | Refusal | Overtaken:
    """Decide the availability of the driver that the dialog showed. Raises DatabaseAway."""
    for _ in range(ATTEMPTS):
        answer = await executor.submit(command(seen))
        if not isinstance(answer, Refusal) or answer.code != r.VERSION_CHANGED.code:
            return answer
        driver = await read_driver(pool, seen.driver_id)
        changes = await read_history(pool, seen.driver_id, None, EVENTS_LIMIT) or []
        for change in changes:
            if change.timestamp > seen.changed_at and change.actor_type != "system":
                return Overtaken(_availability_moved(change, me))
        if driver is None:
            return r.NOT_FOUND
        seen = seen_driver(driver)
    return r.VERSION_CHANGED


def _availability_moved(change: AvailabilityChange, me: Actor) -> str:
    state = w.lower_first(said(w.words(w.STATES, change.to_state)))
    if change.actor_type == "driver":
        return said("the driver has just chosen “{state}”", state=state)
    who = _who(Actor(change.actor_type, change.actor_id), me)
    return said("{person} has just set “{state}”", person=who, state=state)


async def moved(pool: Pool, seen: SeenOrder, me: Actor) -> str | None:
    """The last thing that people or the order's driver did since the dialog was opened, if they did any."""
    events = await read_timeline(pool, seen.delivery_id, seen.event_id, EVENTS_LIMIT) or []
    found = [event for event in events if event.type in IN_HAND or event.actor.type in PEOPLE]
    if not found:
        return None
    names = await read_names(pool, [event.driver_id for event in found if event.driver_id is not None])
    return _sentence(found[-1], names, me)


def _who(actor: Actor, me: Actor) -> str:
    return said("you") if actor == me else actor.id or actor.type


def _sentence(event: TimelineEvent, names: dict[str, str], me: Actor) -> str:
    driver = names.get(event.driver_id or "") or said("the driver")
    who = _who(event.actor, me)
    by_person = event.actor.type in PEOPLE
    match event.type:
        case "delivery.assigned" if by_person:
            return said("{person} assigned it to {driver}", person=who, driver=driver)
        case "delivery.assigned":
            silent = msgspec.json.decode(event.data).get("source") == "auto_accepted"
            if silent:
                return said("it was auto-accepted for {driver}", driver=driver)
            return said("{driver} accepted it", driver=driver)
        case "offer.created":
            return said("{person} offered it to {driver}", person=who, driver=driver)
        case "delivery.picked_up":
            return said("{driver} picked it up", driver=driver)
        case "delivery.delivered":
            return said("{driver} delivered it", driver=driver)
        case "delivery.released" if not by_person:
            return said("{driver} gave it back", driver=driver)
        case "delivery.failed" if not by_person:
            return said("{driver} could not deliver it", driver=driver)
        case "delivery.returning" if not by_person:
            return said("{driver} is bringing it back to the store", driver=driver)
        case "delivery.returned" if not by_person:
            return said("{driver} brought it back to the store", driver=driver)
        case "delivery.reassigned":
            return said("{person} reassigned it from {driver}", person=who, driver=driver)
        case "delivery.cancelled":
            if by_person:
                return said("{person} cancelled it", person=who)
            return said("it was cancelled because no driver was found")
        case "delivery.acknowledged":
            return said("{person} acknowledged it", person=who)
        case "delivery.changed":
            return said("{person} changed it", person=who)
        case _:
            event_in_words = w.lower_first(said(w.words(w.EVENTS, event.type)))
            return said("{person} changed it ({event})", person=who, event=event_in_words)
