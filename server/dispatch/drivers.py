"""The rules of who works for us: registering a driver, changing their data, deactivating and reactivating them."""

from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import replace

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.availability import change_to
from server.dispatch.decided import Decided
from server.dispatch.driver_runs import is_full
from server.dispatch.model import Driver
from server.dispatch.offers import withdrawn
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
    offer that no longer fits is withdrawn.
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
    after = replace(driver, capacity=changes["capacity"][1]) if "capacity" in changes else driver
    if driver.open_offer_id is None or driver.open_offer_delivery_id is None or not is_full(after, world.policy):
        return Decided((changed,), driver_id=driver.id)
    offer = world.delivery(driver.open_offer_delivery_id).offers[driver.open_offer_id]
    return Decided((withdrawn(world, offer, "driver_full", command.actor), changed), driver_id=driver.id)


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
