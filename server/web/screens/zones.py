"""The screen of zones: a list with shapes and helping zones, and the form with which an admin changes one."""

from typing import Final
from urllib.parse import quote

import msgspec
from litestar import get, post
from litestar.response.base import ASGIResponse

from server.dispatch import commands as c
from server.dispatch.names import name_key
from server.dispatch.zones import Zone
from server.store.query import database_errors
from server.store.zones import zones_in_use
from server.texts.speech import said
from server.web.access.guards import ADMIN, VIEWERS
from server.web.access.sessions import FORM
from server.web.api import schemas as s
from server.web.api.zones import described
from server.web.http.caller import Call
from server.web.http.calls import node_of, submit
from server.web.http.errors import Problem, invalid_field
from server.web.http.forms import Form, address_text, read_form
from server.web.screens.shell import flash, page, see_other
from server.web.screens.users import form_problem

SHOWN_LIMIT: Final = 500
FIELDS: Final = ("key", "name", "helped_by", "shape")


@get("/zones", guards=[VIEWERS])
async def zones(request: Call) -> ASGIResponse:
    """All zones, and the form for one: `?zone=` fills it in."""
    key = address_text(request, "zone")
    zone = node_of(request).zones.current.find(key)
    filled = _filled(zone) if zone is not None else dict.fromkeys(FIELDS, "") | {"key": key[:64]}
    return await _zones(request, filled=filled)


@post("/zones", guards=[ADMIN], status_code=200, opt={FORM: True})
async def change(request: Call) -> ASGIResponse:
    """`do=` save or remove."""
    form = await read_form(request, Form)
    key = form.text("key")
    filled = {name: form.text(name) for name in FIELDS}
    try:
        if form.last("do") == "remove":
            await submit(request, c.RemoveZone(key, request.user.actor))
            text = said("The description of {zone} is deleted. Its orders and drivers stay in the zone.", zone=key)
        else:
            zone = await described(request, key, _described(filled))
            text = said("{zone} is saved. The changes apply to new orders.", zone=zone.name)
    except Problem as problem:
        if problem.kind.status not in (404, 409, 422):
            raise
        return await _zones(request, problem.kind.status, problem=form_problem(problem), filled=filled)
    return see_other("/zones", flash(request, "good", text))


def _described(filled: dict[str, str]) -> s.ZoneDescription:
    """The form as a request of the API. Raises 422."""
    shape = None
    if filled["shape"]:
        try:
            shape = msgspec.json.decode(filled["shape"].encode())
        except ValueError:
            raise invalid_field("shape", said("The shape must be GeoJSON, a Polygon or MultiPolygon.")) from None
        if isinstance(shape, dict) and shape.get("type") == "Feature":
            shape = shape.get("geometry")
    helpers = [helper.strip() for helper in filled["helped_by"].split(",") if helper.strip()]
    fields = {"name": filled["name"], "shape": shape, "helpedBy": helpers}
    try:
        return msgspec.convert(fields, s.ZoneDescription)
    except msgspec.ValidationError as error:
        if "$.shape" in str(error):
            raise invalid_field("shape", said("The shape must be GeoJSON, a Polygon or MultiPolygon.")) from None
        if "$.helpedBy" in str(error):
            raise invalid_field("helpedBy", said("Name at most 20 zones that help, 64 characters each.")) from None
        raise invalid_field("name", said("Give the zone a name, up to 200 characters.")) from None


def _filled(zone: Zone) -> dict[str, str]:
    return {
        "key": zone.key,
        "name": zone.name,
        "helped_by": ", ".join(zone.helped_by),
        "shape": msgspec.json.encode(zone.shape).decode() if zone.shape is not None else "",
    }


async def _zones(request: Call, status: int = 200, **context: object) -> ASGIResponse:
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
    shown: dict[str, object] = {"problem": None, **context}
    return await page(request, "zones.html", status, nav="zones", zones=described_first, values=shown)
