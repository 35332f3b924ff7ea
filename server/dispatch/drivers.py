"""The rules of who works for us: registering a driver, changing their data, deactivating and reactivating them."""

from collections.abc import Collection
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import replace

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.availability import change_to
from server.dispatch.decided import Decided
from server.dispatch.driver_runs import is_full
from server.dispatch.model import Delivery, Driver
from server.dispatch.offers import has_all, withdrawn
from server.dispatch.world import World

CHANGEABLE: Final = ("name", "phone", "zone", "capacity", "vehicle", "tags", "external_ref", "shift_ends_at")


def register_driver(command: c.RegisterDriver, world: World) -> Decided | r.Refusal:
    """A new driver, offline until first seen. One `external_ref` names one driver."""
    known = world.by_external_ref.get(command.external_ref) if command.external_ref is not None else None
    if known is not None:
        return r.driver_exists(known)
    driver = Driver(
        id=command.driver_id,
        name=command.name,
        zone=world.spelled(command.zone),
        capacity=command.capacity,
        availability="offline",
        last_availability_change=world.now,
        external_ref=command.external_ref,
        phone=command.phone,
        vehicle=command.vehicle,
        tags=command.tags,
        shift_ends_at=command.shift_ends_at,
        availability_reason="never_seen",
        availability_before="available",
    )
    registered = e.DriverRegistered(at=world.now, actor=command.actor, driver_id=driver.id, driver=driver)
    return Decided((registered,), driver_id=driver.id)


def change_driver(command: c.ChangeDriver, world: World) -> Decided | r.Refusal:
    """Only what differs. One `external_ref` names one driver; the work in hand must fit into a new capacity. An open
    offer that they could not get any more is withdrawn.
    """
    driver = world.driver(command.driver_id)
    if isinstance(command.zone, str):
        command = replace(command, zone=world.spelled(command.zone))
    changes: dict[str, tuple[Any, Any]] = {}
    for name in CHANGEABLE:
        old, new = getattr(driver, name), getattr(command, name)
        if new is not UNSET and new != old:
            changes[name] = (old, new)
    if not changes:
        return Decided(driver_id=driver.id, repeated=True)
    known = world.by_external_ref.get(changes["external_ref"][1]) if "external_ref" in changes else None
    if known is not None and known != driver.id:
        return r.driver_exists(known)
    if "capacity" in changes and changes["capacity"][1] < driver.active_count:
        return r.HAS_ACTIVE_WORK
    changed = e.DriverChanged(at=world.now, actor=command.actor, driver_id=driver.id, changes=changes)
    if driver.open_offer_id is None or driver.open_offer_delivery_id is None or not changes.keys() & _IN_THE_WAY:
        return Decided((changed,), driver_id=driver.id)
    after = replace(driver, **{name: new for name, (_, new) in changes.items()})
    delivery = world.delivery(driver.open_offer_delivery_id)
    why = _no_longer_fits(world, delivery, after, changes)
    if why is None:
        return Decided((changed,), driver_id=driver.id)
    offer = delivery.offers[driver.open_offer_id]
    return Decided((withdrawn(world, offer, why, command.actor), changed), driver_id=driver.id)


_IN_THE_WAY: Final = frozenset({"capacity", "zone", "tags", "shift_ends_at"})
"""What of a driver decides whether an offer can be theirs."""


def _no_longer_fits(world: World, delivery: Delivery, driver: Driver, changes: Collection[str]) -> str | None:
    """Why the open offer of a delivery cannot be this driver's after these changes, or None. Only what changed counts:
    ops can have chosen them in spite of the rest.
    """
    if is_full(driver, world.policy):
        return "driver_full"
    helps = driver.zone == delivery.zone or driver.zone in world.zones.helpers(delivery.zone)
    pickup_at, ends_at = delivery.estimated_pickup_at, driver.shift_ends_at
    too_late = ends_at is not None and (ends_at <= world.now or (pickup_at is not None and pickup_at > ends_at))
    lacks = (
        ("zone" in changes and not helps)
        or ("tags" in changes and not has_all(driver.tags, delivery.requirements))
        or ("shift_ends_at" in changes and too_late)
    )
    return "changed" if lacks else None


def deactivate_driver(command: c.DeactivateDriver, world: World) -> Decided | r.Refusal:
    """Refused while they have active assignments; an open offer is withdrawn. Repeats are safe."""
    driver = world.driver(command.driver_id)
    if not driver.active:
        return Decided(driver_id=driver.id, repeated=True)
    if driver.active_count:
        return r.HAS_ACTIVE_WORK
    gone = change_to(world, driver, "offline", "deactivated", command.actor)
    over = e.DriverDeactivated(at=world.now, actor=command.actor, driver_id=driver.id)
    return Decided((*gone.events, over), driver_id=driver.id)


def reactivate_driver(command: c.ReactivateDriver, world: World) -> Decided | r.Refusal:
    """The driver counts as new: available at their first connection. Repeats are safe."""
    driver = world.driver(command.driver_id)
    if driver.active:
        return Decided(driver_id=driver.id, repeated=True)
    back = e.DriverReactivated(at=world.now, actor=command.actor, driver_id=driver.id)
    unseen = e.AvailabilityChanged(
        at=world.now,
        actor=command.actor,
        driver_id=driver.id,
        from_=driver.availability,
        to="offline",
        reason="never_seen",
        before="available",
    )
    return Decided((back, unseen), driver_id=driver.id)
