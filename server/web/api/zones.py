"""The HTTP API of zones: their descriptions, and the spelling of a zone that a caller asks for."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, UnsetType

from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.names import name_key, spelling, visible
from server.dispatch.shapes import ShapeMistake, geometry_of, plain
from server.dispatch.zones import Zone
from server.node import Node
from server.web.access.guards import ADMIN, VIEWERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.bodies import Body
from server.web.api.endpoint import endpoint
from server.web.http.caller import Call
from server.web.http.current_node import node_of, rest_of_path, submit
from server.web.http.errors import existing, invalid_field, not_found
from server.web.http.paging import Page, Pager

KEY_LENGTH: Final = 64
SHAPE_BODY_BYTES: Final = 524_288
"""Room for a shape with as many positions as one may have, each with all digits of a float."""
DESCRIPTION: Final = Body(s.ZoneDescription, limit_bytes=SHAPE_BODY_BYTES)
ZONES: Final = "/admin/zones/"
BY_KEY: Final = Pager[tuple[str, int]](tuple[Annotated[str, Meta(max_length=1000)], int])


async def _key_in_path(request: Call, _: str) -> str:
    """Whatever characters it has: many a zone is named like "Mitte/Wedding"."""
    return rest_of_path(request, ZONES)


PathKey = Annotated[str, _key_in_path]


async def zone_of_query(node: Node, zone: str | UnsetType) -> str | None:
    """The zone of a list query, in its spelling; None for all."""
    return await node.zones.spelling_of(zone) if isinstance(zone, str) else None


def zone_view(node: Node, zone: Zone) -> a.ZoneView:
    area = node.zones.current.area_km2(zone.key)
    shape = a.ShapeView(**zone.shape) if zone.shape is not None else None
    return a.view(a.ZoneView, zone, shape=shape, area_km2=round(area, 3) if area is not None else None)


async def described(request: Call, key: str, said: s.ZoneDescription, seen: str | None = None) -> Zone:
    """Set the description of a zone, if it is still as `seen` (a mark). Raises 422, or 409 if it is not or if there are
    too many.
    """
    if visible(key) is None or len(key.strip()) > KEY_LENGTH or "\x00" in key:
        raise invalid_field("key", f"must have 1 to {KEY_LENGTH} characters that can be seen")
    shape = None
    if said.shape is not None:
        shape = msgspec.to_builtins(said.shape)
        try:
            geometry_of(shape)
        except ShapeMistake as mistake:
            raise invalid_field("shape", str(mistake)) from None
        shape = plain(shape)
    if name_key(key) in map(name_key, said.helped_by):
        raise invalid_field("helpedBy", "must not name the zone itself")
    command = c.ChangeZone(key, spelling(said.name), shape, said.helped_by, request.user.actor, seen)
    await submit(request, command)
    zone = node_of(request).zones.current.find(key)
    if zone is None:  # removed meanwhile
        raise not_found()
    return zone


def _found(request: Call, key: str) -> Zone:
    return existing(node_of(request).zones.current.find(key))


@endpoint("GET /admin/zones", "List zones with a description, by key.", VIEWERS)
async def list_zones(request: Call, query: s.ZonesQuery) -> Page[a.ZoneView]:
    node = node_of(request)
    after = BY_KEY.key(query.cursor)
    found = [zone for zone in node.zones.current if after is None or name_key(zone.key) > after[0]]
    shown = found[: query.limit + 1]
    return BY_KEY.page(shown, query.limit, lambda z: (name_key(z.key), 0), lambda z: zone_view(node, z))


@endpoint("GET /admin/zones/{key:path}", "Get the description of a zone.", VIEWERS)
async def get_zone(request: Call, key: PathKey) -> a.ZoneView:
    return zone_view(node_of(request), _found(request, key))


@endpoint(
    "PUT /admin/zones/{key:path}",
    "Set the description of a zone: its name, its shape, and the zones whose drivers help."
    " Repeating the request is safe.",
    ADMIN,
    r.TOO_MANY_ZONES,
)
async def put_zone(request: Call, key: PathKey, said: Annotated[s.ZoneDescription, DESCRIPTION]) -> a.ZoneView:
    return zone_view(node_of(request), await described(request, key, said))


@endpoint(
    "DELETE /admin/zones/{key:path}", "Delete the description of a zone. Its deliveries and drivers stay in it.", ADMIN
)
async def delete_zone(request: Call, key: PathKey) -> None:
    await submit(request, c.RemoveZone(key, request.user.actor))
