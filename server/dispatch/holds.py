"""Holds: an order whose goods need time is offered when its driver must leave for the store, not before.

While it is held it does not wait for a driver: its clock of escalation starts when the hold ends.
"""

from datetime import datetime, timedelta

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.model import Actor, Delivery
from server.dispatch.policy import Policy
from server.dispatch.travel import travel_seconds
from server.dispatch.world import World


def may_be_held(delivery: Delivery, now: datetime, policy: Policy) -> bool:
    """Whether a delivery may be held now: it has preparation time, its goods are not ready, and the policy holds
    orders; and it is held, or it waits, was never offered or assigned, and has not escalated.
    """
    if not policy.planning.hold or delivery.prep_seconds <= 0 or delivery.status != "READY":
        return False
    if delivery.current_offer_id is not None or delivery.needs_check() or delivery.is_ready_at() <= now:
        return False
    if delivery.held_until is not None:
        return True
    if delivery.unassigned_since is None or delivery.offers or delivery.assignments:
        return False
    return delivery.unassigned is None or delivery.unassigned.escalation_level == 0


def must_be_offered_at(delivery: Delivery, km: float, policy: Policy) -> datetime:
    """When to offer it to a driver so many km (straight line) from the pickup: they arrive when the goods are ready,
    and have `holdSlackMinutes` to answer and to leave.
    """
    way = travel_seconds(km * policy.detour_factor, policy)
    return delivery.is_ready_at() - timedelta(seconds=way, minutes=policy.planning.hold_slack_minutes)


def hold_delivery(command: c.HoldDelivery, world: World) -> Decided | r.Refusal:
    """Holds a delivery until a time, or moves the end of its hold; never beyond the time at which its goods are
    ready.
    """
    delivery = world.delivery(command.delivery_id)
    if not world.every_node_reads():
        return r.NOT_YET_SUPPORTED
    if not may_be_held(delivery, world.now, world.policy) or not world.now < command.until <= delivery.is_ready_at():
        return r.CANNOT_BE_HELD
    if delivery.held_until == command.until:
        return Decided((), delivery.id, repeated=True)
    return Decided((_held(world, delivery, command.until, command.actor),), delivery.id)


def end_hold(command: c.EndHold, world: World) -> Decided | r.Refusal:
    """The delivery waits for a driver from now on: when its hold has ended, or `early`. Repeats are safe."""
    delivery = world.delivery(command.delivery_id)
    if delivery.status != "READY" or delivery.held_until is None:
        return Decided((), delivery.id, repeated=True)
    if not command.early and world.now < delivery.held_until:
        return r.HOLD_NOT_OVER
    return Decided((hold_ended(world, delivery, command.actor),), delivery.id)


def hold_ended(world: World, delivery: Delivery, actor: Actor) -> e.HoldEnded:
    assert delivery.held_until is not None
    return e.HoldEnded(at=world.now, actor=actor, delivery_id=delivery.id, early=world.now < delivery.held_until)


def hold_moved(world: World, before: Delivery, after: Delivery, actor: Actor) -> e.Event | None:
    """What a change of a held delivery does to its hold.

    1. Goods that are ready sooner or later move it by as much; it ends if that is now or past.
    2. Without preparation time, or with an address to be checked, the hold ends.
    """
    if before.held_until is None:
        return None
    # Ready already: maybe in the year 1, before which is no time.
    if after.is_ready_at() <= world.now or after.needs_check() or after.prep_seconds <= 0:
        return hold_ended(world, before, actor)
    moved = after.is_ready_at() - before.is_ready_at()
    until = before.held_until + moved
    if until <= world.now:
        return hold_ended(world, before, actor)
    return _held(world, after, until, actor) if moved else None


def _held(world: World, delivery: Delivery, until: datetime, actor: Actor) -> e.DeliveryHeld:
    ready_at = delivery.is_ready_at()
    return e.DeliveryHeld(at=world.now, actor=actor, delivery_id=delivery.id, until=until, ready_at=ready_at)
