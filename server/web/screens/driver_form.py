"""The form of a driver: a new one, and the changes of one. Its fields have the contract's names; it needs no script."""

from collections.abc import Mapping
from functools import partial
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
from server.web.screens.form_words import NOTHING_WRONG, Reading, changed_meanwhile, problem_text, wrong_in
from server.web.screens.past_times import PAST, confirmation, instant_in, past_times
from server.web.screens.shell import flash, page, see_other

TEXTS: Final = {
    "name": later("Name"),
    "phone": later("Phone"),
    "vehicle": later("Vehicle"),
    "capacity": later("Orders at once"),
    "tags": later("Tags"),
    "zone": later("Zone"),
    "externalRef": later("Reference"),
    "shiftEndsAt": later("Shift ends"),
}
"""The fields and their labels, in the order of the form."""
TIMES: Final = ("shiftEndsAt",)
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
        reading = _read(request, filled)
        reading.given = {name: value for name, value in reading.given.items() if value is not None}
        new = reading.checked(s.NewDriver, TEXTS)
        past = past_times(request, filled, TIMES)
        if past and form.text(PAST) != confirmation(past):
            return await _form(request, filled, 409, past=past)
        known = await namesake(pool_of(request), new.name.strip()) if not form.ticked("again") else None
        if known is not None:
            return await _form(request, filled, 409, known=known, confirmed=confirmation(past))
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
    """Save the fields that differ from what the form showed. If somebody else has changed one of them meanwhile, the
    form shows both, and the next *Save* decides.
    """
    form = await read_form(request, Form)
    driver = await _found(request, driver_id)
    sent, was, now = _sent(form), {name: form.text(f"was.{name}") for name in TEXTS}, _filled(request, driver)
    theirs = changed_meanwhile(sent, was, now)
    if theirs:
        merged = {name: text if text != was[name] else now[name] for name, text in sent.items()}
        return await _form(request, merged, 409, driver=driver, was=now, theirs=theirs)
    changed = [name for name in TEXTS if sent[name] != was[name]]
    try:
        reading = _read(request, sent)
        reading.given = {name: reading.given.get(name) for name in changed}
        new = reading.checked(s.ChangedDriver, TEXTS)
        past = past_times(request, sent, [name for name in TIMES if name in changed])
        if past and form.text(PAST) != confirmation(past):
            return await _form(request, sent, 409, driver=driver, was=was, past=past)
        await patch_driver(request, driver.id, new)
    except Problem as problem:
        return await _refused(request, problem, sent, driver, was)
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


def _read(request: Call, filled: Filled) -> Reading:
    """The form as the API takes it, with null for what is empty, and what is wrong."""
    reading = Reading()
    reading.given = {name: value or None for name, value in filled.items()}
    reading.given |= {"name": filled["name"], "zone": filled["zone"] or "default"}
    reading.given["tags"] = [tag.strip() for tag in filled["tags"].split(",") if tag.strip()]
    reading.read("capacity", partial(_whole, filled["capacity"]))
    for name in TIMES:
        if filled[name]:
            reading.read(name, partial(instant_in, request, filled[name]))
    return reading


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise ValueError(said("Write a whole number."))
    return int(text)


async def _refused(
    request: Call, problem: Problem, filled: Filled, driver: Driver | None = None, was: Filled | None = None
) -> ASGIResponse:
    """The form again, with what is wrong. Raises what is not about the form."""
    if problem.kind.status not in (409, 422):
        raise problem
    wrong = wrong_in(problem)
    text = None if wrong and wrong.keys() <= TEXTS.keys() else problem_text(problem, TEXTS, CODES)
    return await _form(request, filled, problem.kind.status, problem=text, wrong=wrong, driver=driver, was=was)


async def _form(
    request: Call,
    filled: Filled,
    status: int = 200,
    *,
    problem: str | None = None,
    wrong: Mapping[str, str] = NOTHING_WRONG,
    past: Mapping[str, str] = NOTHING_WRONG,
    theirs: Mapping[str, str] = NOTHING_WRONG,
    confirmed: str = "",
    driver: Driver | None = None,
    was: Filled | None = None,
    known: Driver | None = None,
) -> ASGIResponse:
    """`was` is what the form of a driver showed when it was opened; `known` is a driver with the same name. `wrong` and
    `past` are by field, `theirs` is what somebody else wrote meanwhile. `confirmed` are times that were asked about.
    """
    return await page(
        request,
        "driver_form.html",
        status,
        nav="board/drivers",
        filled=filled,
        was=was,
        labels=TEXTS,
        problem=problem,
        wrong=wrong,
        past=past,
        theirs=theirs,
        who=said("Not saved: somebody changed this driver meanwhile."),
        confirmation=confirmation(past) or confirmed,
        driver=driver,
        known=known,
        zones=await zone_choices(pool_of(request)),
    )
