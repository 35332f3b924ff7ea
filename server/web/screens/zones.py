"""The screen of zones: a list with shapes and helping zones, and the form with which an admin changes one."""

from typing import Final
from urllib.parse import quote

import msgspec
from litestar import get, post
from litestar.response.base import ASGIResponse

from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.names import name_key
from server.dispatch.shapes import positions_in
from server.dispatch.zones import Zone, Zones, mark_of
from server.store.query import database_errors
from server.store.zones import zones_in_use
from server.texts.speech import later, said
from server.web.access.guards import ADMIN, VIEWERS
from server.web.access.sessions import FORM
from server.web.api import schemas as s
from server.web.api.zones import SHAPE_BODY_BYTES, described
from server.web.http.caller import Call
from server.web.http.current_node import node_of, submit
from server.web.http.errors import Problem, invalid_field
from server.web.http.forms import WHEN_TOO_LARGE, Form, address_text, read_form
from server.web.screens.form_words import sentence_of
from server.web.screens.map_start import map_start
from server.web.screens.shell import NO_STORE, flash, page, see_other

SHOWN_LIMIT: Final = 500
POSITIONS_SHOWN: Final = 20_000
"""The limit of positions on the map of all zones together."""
TOO_MANY_POINTS: Final = later(
    "The shape is too large: a zone has at most 5,000 points. Nothing was changed. Simplify the shape with a program"
    " for maps, and open the file again."
)
FIELDS: Final = ("key", "name", "helped_by", "shape")


@get("/zones", guards=[VIEWERS])
async def zones(request: Call) -> ASGIResponse:
    """All zones, and the form for one: `?zone=` fills it in."""
    key = address_text(request, "zone")
    zone = node_of(request).zones.current.find(key)
    filled = _filled(zone) if zone is not None else dict.fromkeys(FIELDS, "") | {"key": key[:64], "name": key[:64]}
    return await _zones(request, filled)


@post(
    "/zones",
    guards=[ADMIN],
    status_code=200,
    opt={FORM: True, WHEN_TOO_LARGE: TOO_MANY_POINTS},
    request_max_body_size=SHAPE_BODY_BYTES,
)
async def change(request: Call) -> ASGIResponse:
    """`do=` save or remove. Nothing changes if the zone is not as `shown`, the mark of what the form had."""
    form = await read_form(request, Form)
    key, shown = form.text("key"), form.text("shown") or None
    filled = {name: form.text(name) for name in FIELDS} | {"helped_by": ", ".join(form.all("helped_by"))}
    try:
        if form.last("do") == "remove":
            await submit(request, c.RemoveZone(key, request.user.actor, shown))
            text = said("The description of {zone} is deleted. Its orders and drivers stay in the zone.", zone=key)
        else:
            zone = await described(request, key, _described(filled), shown)
            text = said("{zone} is saved. The changes apply to new orders.", zone=zone.name)
    except Problem as problem:
        if problem.kind.status not in (404, 409, 422):
            raise
        if problem.kind.code == r.ZONE_CHANGED.code:
            return await _changed_meanwhile(request, filled)
        return await _zones(request, filled, problem.kind.status, problem=sentence_of(problem))
    return see_other("/zones", flash(request, "good", text))


async def _changed_meanwhile(request: Call, filled: dict[str, str]) -> ASGIResponse:
    """The form as it was sent, and beside it what is saved now."""
    node = node_of(request)
    await node.zones.refresh()  # another node may have saved it
    saved = node.zones.current.find(filled["key"])
    text = said(
        "Not saved: another admin changed this zone after you opened the form. Yours is in the form, theirs above it."
        " Save again to replace theirs."
    )
    return await _zones(request, filled, 409, problem=text, saved=_filled(saved) if saved else {}, by=saved)


def _described(filled: dict[str, str]) -> s.ZoneDescription:
    """The form as a request of the API. Raises 422."""
    shape = None
    if filled["shape"]:
        try:
            shape = msgspec.json.decode(filled["shape"].encode())
        except (ValueError, RecursionError):
            raise _no_shape() from None
        if isinstance(shape, dict) and shape.get("type") == "Feature":
            shape = shape.get("geometry")
        if shape is None:  # only an empty field means that the zone has no shape
            raise _no_shape()
    helpers = [helper.strip() for helper in filled["helped_by"].split(",") if helper.strip()]
    fields = {"name": filled["name"], "shape": shape, "helpedBy": helpers}
    try:
        return msgspec.convert(fields, s.ZoneDescription)
    except msgspec.ValidationError as error:
        if "$.shape" in str(error):
            raise _no_shape() from None
        if "$.helpedBy" in str(error):
            raise invalid_field("helpedBy", said("Name at most 20 zones that help, 64 characters each.")) from None
        raise invalid_field("name", said("Give the zone a name, up to 200 characters.")) from None


def _no_shape() -> Problem:
    return invalid_field("shape", said("The shape must be GeoJSON, a Polygon or MultiPolygon."))


def _filled(zone: Zone) -> dict[str, str]:
    return {
        "key": zone.key,
        "name": zone.name,
        "helped_by": ", ".join(zone.helped_by),
        "shape": msgspec.json.encode(zone.shape).decode() if zone.shape is not None else "",
    }


@get("/zones/shapes.geojson", guards=[VIEWERS])
async def shapes_file(request: Call) -> ASGIResponse:
    """All zones with a shape, as a collection of features."""
    features = [
        {
            "type": "Feature",
            "properties": {"key": zone.key, "name": zone.name, "helpedBy": zone.helped_by},
            "geometry": zone.shape,
        }
        for zone in node_of(request).zones.current
        if zone.shape is not None
    ]
    body = msgspec.json.encode({"type": "FeatureCollection", "features": features})
    return ASGIResponse(
        body=body,
        headers={**NO_STORE, "Content-Disposition": 'attachment; filename="zones.geojson"'},
        media_type="application/geo+json",
    )


def _shapes(zones: Zones, without: str) -> dict[str, object]:
    """The shapes on the map by the name of their zone, without the zone that the form has, and without those for which
    there is no room.
    """
    shown: dict[str, object] = {}
    left = POSITIONS_SHOWN
    for zone in zones:
        if zone.shape is None or name_key(zone.key) == name_key(without):
            continue
        if (size := positions_in(zone.shape)) <= left:
            left -= size
            shown[zone.name] = zone.shape
    return shown


async def _zones(
    request: Call, filled: dict[str, str], status: int = 200, *, problem: str | None = None, **context: object
) -> ASGIResponse:
    node = node_of(request)
    known = node.zones.current
    with database_errors():
        in_use = {name_key(zone.key): zone for zone in await zones_in_use(node.database.pool, SHOWN_LIMIT)}
    rows = [
        (
            one.key,
            known.find(one.key),
            known.area_km2(one.key),
            one.drivers,
            one.waiting,
            f"/zones?zone={quote(one.key)}",
        )
        for one in in_use.values()
    ]
    described_first = sorted(rows, key=lambda row: (row[1] is None, name_key(row[0])))
    helping = {name_key(one): one.strip() for one in filled["helped_by"].split(",") if one.strip()}
    helpers = [
        (key, zone.name if zone is not None else key, helping.pop(name_key(key), None) is not None)
        for key, zone, *_ in described_first
        if name_key(key) != name_key(filled["key"])
    ]
    helpers += [(key, key, True) for key in helping.values()]  # zones that nobody uses yet
    return await page(
        request,
        "zones.html",
        status,
        nav="zones",
        zones=described_first,
        helpers=helpers,
        shapes=_shapes(known, filled["key"] if request.user.role == "admin" else ""),
        near=await map_start(request),
        tiles=node.settings.map_tiles,
        attribution=node.settings.map_attribution,
        filled=filled,
        shown=mark_of(known.find(filled["key"])),
        problem=problem,
        values={"saved": None, "by": None, **context},
    )
