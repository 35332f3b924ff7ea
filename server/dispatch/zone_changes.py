"""The rules for descriptions of zones. They never change the zone of an order or a driver."""

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.names import name_key
from server.dispatch.world import World
from server.dispatch.zones import ZONES_LIMIT, Zone, mark_of


def change_zone(command: c.ChangeZone, world: World) -> Decided | r.Refusal:
    """Sets the description of a zone, unless another admin changed it since. The same description again changes
    nothing.
    """
    helpers: dict[str, str] = {}
    for name in command.helped_by:
        helpers.setdefault(name_key(name), world.spelled(name))
    helped_by = tuple(helpers.values())
    known = world.zones.find(command.key)
    if known is None and len(world.zones) >= ZONES_LIMIT:
        return r.TOO_MANY_ZONES
    if known is not None and (known.name, known.shape, known.helped_by) == (
        command.name,
        command.shape,
        helped_by,
    ):
        return Decided((), repeated=True)
    if _is_outdated(command.seen, known):
        return r.ZONE_CHANGED
    zone = Zone(
        world.spelled(command.key),
        command.name,
        command.shape,
        helped_by,
        command.actor.id or command.actor.type,
        world.now,
    )
    area = world.zones.changed(zone).area_km2(zone.key)
    return Decided((e.ZoneChanged(at=world.now, actor=command.actor, zone=zone, area_km2=area),))


def remove_zone(command: c.RemoveZone, world: World) -> Decided | r.Refusal:
    known = world.zones.find(command.key)
    if known is None:
        return r.NOT_FOUND
    if _is_outdated(command.seen, known):
        return r.ZONE_CHANGED
    return Decided((e.ZoneRemoved(at=world.now, actor=command.actor, key=known.key),))


def _is_outdated(seen: str | None, known: Zone | None) -> bool:
    return seen is not None and seen != mark_of(known)
