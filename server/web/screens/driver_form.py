"""The form of a driver: a new one, and the changes of one. Its fields have the contract's names; it needs no script."""

from datetime import datetime
from typing import Final

from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.board.formats import in_zone
from server.dispatch.model import Driver
from server.settings import time_zone_of
from server.store.reads.drivers import namesake, read_driver
from server.store.zones import zone_choices
from server.texts.speech import later, said
from server.web.access.guards import OPS
from server.web.access.sessions import FORM
from server.web.api import schemas as s
from server.web.api.drivers import patch_driver, post_driver
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import Problem, existing
from server.web.http.forms import Form, read_form
from server.web.screens.driver_list import DRIVERS
from server.web.screens.form_words import mistake, problem_text, to_struct
from server.web.screens.shell import flash, page, see_other

TEXTS: Final = {
    "name": later("Name"),
    "phone": later("Phone"),
    "vehicle": later("Vehicle"),
    "tags": later("Tags"),
    "zone": later("Zone"),
    "capacity": later("Orders at once"),
    "shiftEndsAt": later("Shift ends"),
    "externalRef": later("Reference"),
}
"""The fields and their labels."""
CODES: Final = {
    "driver_exists": later("Another driver has this reference."),
    "has_active_work": later("The driver has more orders in hand than that."),
}

Filled = dict[str, str]


@get(f"{DRIVERS}/new", guards=[OPS])
async def new_driver(request: Call) -> ASGIResponse:
    return await _form(request, dict.fromkeys(TEXTS, "") | {"zone": "default", "capacity": "1"})


@post(f"{DRIVERS}/new", guards=[OPS], status_code=200, opt={FORM: True})
async def add(request: Call) -> ASGIResponse:
    """Register the driver. Asks again if there is one with this name, so a form sent twice is not two drivers."""
    form = await read_form(request, Form)
    filled = _sent(form)
    try:
        new = to_struct(
            s.NewDriver, {name: value for name, value in _given(request, filled).items() if value is not None}
        )
        known = await namesake(pool_of(request), new.name.strip()) if not form.ticked("again") else None
        if known is not None:
            return await _form(request, filled, 409, known=known)
        driver = (await post_driver(request, new)).driver
    except Problem as problem:
        return await _refused(request, problem, filled)
    assert driver is not None
    text = said("{driver} is added. Invite them to sign in on their phone.", driver=driver.name)
    return see_other(f"{DRIVERS}/{driver.id}/access", flash(request, "good", text))


@get(f"{DRIVERS}/{{driver_id:str}}/edit", guards=[OPS])
async def edit(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    driver = await _found(request, driver_id)
    filled = _filled(request, driver)
    return await _form(request, filled, driver=driver, was=filled)


@post(f"{DRIVERS}/{{driver_id:str}}/edit", guards=[OPS], status_code=200, opt={FORM: True})
async def change(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    """Save the fields that differ from what the form showed; others may have changed meanwhile."""
    form = await read_form(request, Form)
    driver = await _found(request, driver_id)
    sent = _sent(form)
    changed = [name for name in TEXTS if sent[name] != form.text(f"was.{name}")]
    try:
        given = _given(request, sent)
        new = to_struct(s.ChangedDriver, {name: given[name] for name in changed})
        await patch_driver(request, driver.id, new)
    except Problem as problem:
        return await _refused(request, problem, sent, driver, {name: form.text(f"was.{name}") for name in TEXTS})
    text = said("{driver} is changed.", driver=sent["name"] or driver.name)
    return see_other(f"{DRIVERS}/{driver.id}", flash(request, "good", text))


async def _found(request: Call, text: str) -> Driver:
    return existing(await read_driver(pool_of(request), id_in_path(text)))


def _filled(request: Call, driver: Driver) -> Filled:
    zone = time_zone_of(node_of(request).settings.time_zone)
    ends_at = driver.shift_ends_at
    return {
        "name": driver.name,
        "phone": driver.phone or "",
        "vehicle": driver.vehicle or "",
        "tags": ", ".join(driver.tags),
        "zone": driver.zone,
        "capacity": str(driver.capacity),
        "shiftEndsAt": in_zone(ends_at, zone).strftime("%Y-%m-%dT%H:%M") if ends_at is not None else "",
        "externalRef": driver.external_ref or "",
    }


def _sent(form: Form) -> Filled:
    return {name: form.text(name) for name in TEXTS}


def _given(request: Call, filled: Filled) -> dict[str, object]:
    """The form as the API takes it, with null for what is empty. Raises FormInvalid."""
    given: dict[str, object] = {name: value or None for name, value in filled.items()}
    given |= {"name": filled["name"], "zone": filled["zone"] or "default"}
    given["tags"] = [tag.strip() for tag in filled["tags"].split(",") if tag.strip()]
    if not filled["capacity"].isascii() or not filled["capacity"].isdigit() or len(filled["capacity"]) > 4:
        raise mistake(TEXTS, "capacity", said("Write a whole number."))
    given["capacity"] = int(filled["capacity"])
    if filled["shiftEndsAt"]:
        try:
            at = datetime.fromisoformat(filled["shiftEndsAt"])
        except ValueError:
            raise mistake(TEXTS, "shiftEndsAt", said("Write the time like 2026-02-01T18:30.")) from None
        if at.tzinfo is None:
            at = at.replace(tzinfo=time_zone_of(node_of(request).settings.time_zone))
        given["shiftEndsAt"] = at.isoformat()
    return given


async def _refused(
    request: Call, problem: Problem, filled: Filled, driver: Driver | None = None, was: Filled | None = None
) -> ASGIResponse:
    """The form again, with what is wrong. Raises what is not about the form."""
    if problem.kind.status not in (409, 422):
        raise problem
    text = problem_text(problem, TEXTS, CODES)
    return await _form(request, filled, problem.kind.status, problem=text, driver=driver, was=was)


async def _form(
    request: Call,
    filled: Filled,
    status: int = 200,
    *,
    problem: str | None = None,
    driver: Driver | None = None,
    was: Filled | None = None,
    known: Driver | None = None,
) -> ASGIResponse:
    """`was` is what the form of a driver showed when it was opened; `known` is a driver with the same name."""
    return await page(
        request,
        "driver_form.html",
        status,
        nav="board/drivers",
        filled=filled,
        was=was,
        labels=TEXTS,
        problem=problem,
        driver=driver,
        known=known,
        zones=await zone_choices(pool_of(request)),
    )
