"""Apply events to the world: only `apply` moves the state machines, with their tables, and calls the effects."""

from collections.abc import Mapping
from typing import TypeVar

from server.dispatch import events as e
from server.dispatch.effects import EFFECTS
from server.dispatch.transitions import ASSIGNMENT, AVAILABILITY, DELIVERY, OFFER
from server.dispatch.world import World

State = TypeVar("State")


def apply(world: World, event: e.Event) -> None:
    """Apply the event to the world. A transition that no table allows is a bug and raises AssertionError."""
    kind = type(event)
    if event.delivery_id is not None and kind is not e.DeliveryCreated:
        delivery = world.locked_delivery(event.delivery_id)
        if kind in DELIVERY:
            delivery.status = _turn(DELIVERY[kind], delivery.status, event)
        if event.offer_id is not None and kind in OFFER:
            offer = delivery.offers[event.offer_id]
            offer.status = _turn(OFFER[kind], offer.status, event)
        if event.assignment_id is not None and kind in ASSIGNMENT:
            assignment = delivery.assignments[event.assignment_id]
            assignment.status = _turn(ASSIGNMENT[kind], assignment.status, event)
    elif isinstance(event, e.AvailabilityChanged):
        driver = world.touch_driver(event.driver_id or "")
        if event.from_ != driver.availability or event.to not in AVAILABILITY[event.from_]:
            raise _no_way(driver.availability, event)
        driver.availability = event.to
    EFFECTS[kind](world, event)


def _turn(table: Mapping[State, State], before: State, event: e.Event) -> State:
    if before not in table:
        raise _no_way(before, event)
    return table[before]


def _no_way(before: object, event: e.Event) -> AssertionError:
    return AssertionError(f"no transition from {before} by {type(event).__name__}")
