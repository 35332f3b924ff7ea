"""The screen of the checklist, and what the forms of its steps set."""

from functools import cache
from itertools import groupby
from typing import Any, Final
from zoneinfo import available_timezones

import structlog
from babel.numbers import get_currency_name
from litestar import get, post
from litestar.response.base import ASGIResponse
from msgspec.structs import replace
from pydantic import ValidationError

from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.money import EXPONENTS
from server.dispatch.refusals import Refusal
from server.node import Node
from server.store.query import database_errors
from server.store.reads.first_run import read_started
from server.texts.speech import later, said, spoken
from server.web.access.guards import ADMIN, OPS
from server.web.access.sessions import FORM
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.forms import Form, FormInvalid, read_form
from server.web.screens.board_answers import in_plain_words
from server.web.screens.first_run.rules import RULES
from server.web.screens.first_run.step import FORMS, MAP, OPEN_STREET_MAP, RefusedForm
from server.web.screens.first_run.steps import setup_steps
from server.web.screens.policy_fields import EXPIRY
from server.web.screens.reach import address_mistake
from server.web.screens.shell import flash, page, see_other

START: Final = "/start"
OPEN_STREET_MAP_ATTRIBUTION: Final = "© OpenStreetMap contributors"
ATTRIBUTION_LIMIT: Final = 200

log = structlog.get_logger(__name__)


@get(START, guards=[OPS])
async def start(request: Call) -> ASGIResponse:
    """All steps."""
    return await _start(request)


async def _start(request: Call, status: int = 200, refused: RefusedForm | None = None) -> ASGIResponse:
    steps = await setup_steps(request, await read_started(pool_of(request)), refused)
    return await page(request, "start.html", status, nav="start", steps=steps, choices=lists_of_forms())


def lists_of_forms() -> dict[str, object]:
    """What the lists of the forms offer: time zones, currencies, and what happens to an unanswered offer."""
    return {"time_zones": time_zones(), "currencies": _currencies(spoken().language), "expiry": EXPIRY}


@cache
def _currencies(language: str) -> list[tuple[str, str]]:
    """The names of all currencies with their codes."""
    return sorted((get_currency_name(code, locale=language), code) for code in EXPONENTS)


@post(f"{START}/settings", guards=[ADMIN], status_code=200, opt={FORM: True})
async def set_up(request: Call) -> ASGIResponse:
    """Set what a form of the checklist sets, on all nodes."""
    form = await read_form(request, Form)
    name = form.text("form")
    node = node_of(request)
    if name not in FORMS or any(node.known_settings.origin(one) == "environment" for one in FORMS[name]):
        raise FormInvalid(later("This cannot be set here."))
    values = {one: form.text(one) for one in FORMS[name]}
    if name == MAP:
        match form.text("source"):
            case "none":
                values = dict.fromkeys(FORMS[MAP], "")
            case "osm":
                values = {"map_tiles": OPEN_STREET_MAP, "map_attribution": OPEN_STREET_MAP_ATTRIBUTION}
    problem = _mistake(node, values, source=form.text("source"))
    if problem is not None:
        refused = RefusedForm({"form": name, "source": form.text("source"), **values}, problem)
        return await _start(request, 422, refused)
    with database_errors():
        await node.change_settings(values, request.user.subject)
    log.info("settings_changed", settings=sorted(values), by=request.user.subject)
    return see_other(START, flash(request, "good", said("Saved. It applies now.")))


@post(f"{START}/rules", guards=[ADMIN], status_code=200, opt={FORM: True})
async def set_rules(request: Call) -> ASGIResponse:
    """Save these fields of the policy as a new version, also if they stay as they are: then somebody has decided so."""
    form = await read_form(request, Form)
    values: dict[str, Any] = {name: form.text(name) for name in ("expiryPolicy", "currency")}
    if values["expiryPolicy"] not in EXPIRY or values["currency"] not in EXPONENTS:
        problem = said("Choose what happens and a currency of the list.")
        return await _start(request, 422, RefusedForm({"form": RULES, **values}, problem))
    node = node_of(request)
    while True:
        policy = replace(node.policies.current, expiry_policy=values["expiryPolicy"], currency=values["currency"])
        answer = await node.executor.submit(c.ChangePolicy(policy, request.user.actor, said("Chosen under Set up")))
        if not isinstance(answer, Refusal):
            break
        if answer.code != r.VERSION_CHANGED.code or policy.version == node.policies.current.version:
            return await _start(request, 409, RefusedForm({"form": RULES, **values}, in_plain_words(answer)))
    return see_other(START, flash(request, "good", said("Saved. It applies now.")))


def _mistake(node: Node, values: dict[str, str], *, source: str) -> str | None:
    """What is wrong with the values, in a sentence."""
    texts = {
        "company_name": said("Write a name with at most 100 characters."),
        "dispatch_phone": said("Write a phone number such as +49 30 901820."),
        "time_zone": said("Choose a time zone of the list."),
        "map_tiles": said("Write an address such as https://tiles.example.com/{z}/{x}/{y}.png."),
    }
    if not values.get("company_name", "-").strip():
        return texts["company_name"]
    if "public_url" in values:
        return address_mistake(values["public_url"], node.settings.root)
    if len(values.get("map_attribution", "")) > ATTRIBUTION_LIMIT or (source == "own" and not values["map_tiles"]):
        return texts["map_tiles"]
    if "time_zone" in values and values["time_zone"] not in available_timezones() | {"UTC"}:
        return texts["time_zone"]
    try:
        node.settings.with_changes(**values)
    except ValidationError as error:
        return texts[str(error.errors()[0]["loc"][0])]
    return None


@cache
def time_zones() -> list[tuple[str, list[str]]]:
    """The names of all time zones by their region, UTC first."""
    regions = {
        "Africa",
        "America",
        "Antarctica",
        "Arctic",
        "Asia",
        "Atlantic",
        "Australia",
        "Europe",
        "Indian",
        "Pacific",
    }
    names = sorted(name for name in available_timezones() if name.partition("/")[0] in regions)
    return [
        ("UTC", ["UTC"]),
        *((region, list(found)) for region, found in groupby(names, lambda n: n.partition("/")[0])),
    ]
