"""The checklist of a new installation: its steps check themselves, and do the thing or lead to where it is done.

It is a separate screen, and above a board that never had an order. After that, the board names the steps that are open.
"""

from functools import cache
from itertools import groupby
from typing import Any, Final, TypedDict
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import structlog
from babel.numbers import get_currency_name
from litestar import get, post
from litestar.response.base import ASGIResponse
from msgspec import Struct
from msgspec.structs import replace
from pydantic import ValidationError

from server.board.formats import day_and_clock
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.model import Driver
from server.dispatch.money import EXPONENTS
from server.dispatch.refusals import Refusal
from server.ids import new_id
from server.node import Node
from server.settings import time_zone_of
from server.store.query import database_errors
from server.store.queues.report_mails import read_failed_test
from server.store.reads.drivers import find_drivers
from server.store.reads.first_run import Started, read_started
from server.texts.languages import language_for
from server.texts.speech import later, said, spoken
from server.web.access.guards import ADMIN, OPS
from server.web.access.sessions import FORM
from server.web.api import schemas as s
from server.web.api.deliveries import post_delivery
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import Problem
from server.web.http.forms import Form, FormInvalid, read_form
from server.web.screens.board_answers import in_plain_words
from server.web.screens.driver_list import INVITE
from server.web.screens.driver_page import words_of_test_order
from server.web.screens.live_lists import acted, not_done
from server.web.screens.policy_fields import EXPIRY
from server.web.screens.reach import address_mistake, home_of, warnings_of
from server.web.screens.shell import flash, page, see_other

START: Final = "/start"
OPEN_STREET_MAP: Final = "https://tile.openstreetmap.org/{z}/{x}/{y}.png"
OPEN_STREET_MAP_ATTRIBUTION: Final = "© OpenStreetMap contributors"
ATTRIBUTION_LIMIT: Final = 200
COMPANY, PHONE, TIME_ZONE, ADDRESS, MAP = "company", "dispatch-phone", "time-zone", "address", "map"
FORMS: Final = {
    COMPANY: ("company_name",),
    PHONE: ("dispatch_phone",),
    TIME_ZONE: ("time_zone",),
    ADDRESS: ("public_url",),
    MAP: ("map_tiles", "map_attribution"),
}
"""The forms of the checklist, with the settings that each sets. The first decides who set them."""
RULES: Final = "rules"
"""The form that makes a new version of the policy."""
DRIVERS_LOOKED_AT: Final = 100
NEAR_DEGREES: Final = 0.005
"""About 500 m: how far the stops of a test order are from a driver."""

log = structlog.get_logger(__name__)


class SetupStep(Struct, frozen=True):
    """A step: whether it is done, what it is about, what is missing or wrong, and where it is done. `form` is the form
    that sets it here, with the values in its fields; `origin` says who set it. With `test_order`, a button places one.
    """

    done: bool
    title: str
    text: str
    links: list[tuple[str, str]] = []
    warnings: list[str] = []
    form: str | None = None
    fields: dict[str, str] = {}
    problem: str | None = None
    origin: str | None = None
    test_order: bool = False
    optional: bool = False


@get(START, guards=[OPS])
async def start(request: Call) -> ASGIResponse:
    """All steps."""
    return await _start(request)


async def _start(
    request: Call, status: int = 200, *, typed: dict[str, str] | None = None, problem: str = ""
) -> ASGIResponse:
    steps = await steps_of(request, await read_started(pool_of(request)), typed or {}, problem)
    return await page(request, "start.html", status, nav="start", steps=steps, choices=lists_of_forms())


def lists_of_forms() -> dict[str, object]:
    """What the lists of the forms offer: time zones, currencies, and what happens to an unanswered offer."""
    return {"time_zones": time_zones(), "currencies": _currencies(spoken().language), "expiry": EXPIRY}


@cache
def _currencies(language: str) -> list[tuple[str, str]]:
    """The names of all currencies with their codes."""
    return sorted((get_currency_name(code, locale=language), code) for code in EXPONENTS)


async def steps_for_board(request: Call) -> list[SetupStep] | None:
    """The steps if there was no order yet, the person can do something about it, and it is no demo."""
    if request.user.role == "viewer" or node_of(request).settings.demo:
        return None
    started = await read_started(pool_of(request))
    return None if started.delivery else await steps_of(request, started)


async def titles_of_open_steps(request: Call) -> list[str]:
    """What an admin has still to do once there was an order: the titles of the steps that are not optional."""
    if request.user.role != "admin" or node_of(request).settings.demo:
        return []
    started = await read_started(pool_of(request))
    if not started.delivery:
        return []
    return [step.title for step in await steps_of(request, started) if not step.done and not step.optional]


async def steps_of(
    request: Call, started: Started, typed: dict[str, str] | None = None, problem: str = ""
) -> list[SetupStep]:
    """The steps, in the order in which they are best done. `typed` are the fields of a form that was refused."""
    node = node_of(request)
    settings = node.settings
    home = home_of(request)
    warnings = warnings_of(home, is_set_up=True)
    is_admin = request.user.role == "admin"
    failed_test = await read_failed_test(node.database.pool) if is_admin and settings.smtp_url else None
    return [
        SetupStep(
            started.people > 1,
            said("People"),
            said("Give each person their own login, so that the board says who did what."),
            [(said("Add people"), "/users")] if is_admin else [],
        ),
        SetupStep(
            bool(settings.company_name),
            said("Company"),
            said("The name of your company is at the top of the screens."),
            **_form(request, COMPANY, typed, problem),
        ),
        SetupStep(
            node.known_settings.origin("dispatch_phone") != "default",
            said("Phone of dispatch"),
            said("Drivers call {phone} with one tap on their phones.", phone=settings.dispatch_phone)
            if settings.dispatch_phone
            else said("With it, drivers call you with one tap on their phones. Without it they have no such button."),
            **_form(request, PHONE, typed, problem),
        ),
        SetupStep(
            node.known_settings.origin("time_zone") != "default",
            said("Time zone"),
            said("Times on all screens are in {time_zone}.", time_zone=settings.time_zone),
            **_form(request, TIME_ZONE, typed, problem),
        ),
        SetupStep(
            bool(settings.public_url) and not warnings,
            said("Public address"),
            said("Invitations and links lead to {address}.", address=settings.public_url)
            if settings.public_url
            else said("Invitations and links lead to the address that your browser uses now."),
            warnings=warnings,
            **_form(request, ADDRESS, typed, problem),
        ),
        SetupStep(
            node.known_settings.origin("map_tiles") != "default",
            said("Map"),
            said("Browsers get the streets of the map from a tile server. Without one the map has no streets."),
            optional=bool(settings.geocoder_url),
            **_form(request, MAP, typed, problem),
        ),
        SetupStep(
            bool(settings.geocoder_url),
            said("Address search"),
            said("People who enter an order write an address, and Callboard finds its position.")
            if settings.geocoder_url
            else said(
                "Without it, people who enter an order click on the map or write a position. {setting} in the server’s "
                "settings names a geocoder (Nominatim, Photon or Pelias): see docs/deployment.md.",
                setting="CALLBOARD_GEOCODER_URL",
            ),
            optional=True,
        ),
        _rules(request, typed, problem),
        SetupStep(
            len(node.zones.current) > 0,
            said("Zones"),
            said("Zones divide a large city: orders get drivers of the same zone. One zone needs no setting."),
            [(said("Zones"), "/zones")],
            optional=True,
        ),
        SetupStep(
            started.driver,
            said("Drivers"),
            said("Add your first driver, or import all of them from a spreadsheet."),
            [(said("New driver"), "/board/drivers/new"), (said("Import"), "/board/drivers/import")],
        ),
        SetupStep(
            started.device,
            said("A driver signs in"),
            said("Invite your drivers: each scans a code with their phone."),
            [(said("Invite drivers"), INVITE)],
        ),
        SetupStep(
            started.delivery,
            said("Test order"),
            said(
                "Place an order near a driver who is signed in, and see it offered, accepted and delivered. No report "
                "counts it."
            ),
            [(said("New order"), "/orders/new")],
            test_order=True,
        ),
        SetupStep(
            bool(settings.smtp_url),
            said("Mail"),
            said(
                "Mails with the report of the day before go out from {sender} by {server}.",
                sender=settings.mail_from,
                server=urlsplit(settings.smtp_url).hostname or "",
            )
            if settings.smtp_url
            else said(
                "Each morning, Callboard can mail the report of the day before. {url} and {sender} in the server’s "
                "settings name the server that takes mails and the sender: see docs/deployment.md.",
                url="CALLBOARD_SMTP_URL",
                sender="CALLBOARD_MAIL_FROM",
            ),
            [(said("Report by mail"), "/report/mail")] if is_admin else [],
            warnings=[
                said(
                    "The last test mail to {recipient} failed on {time}: {reason}",
                    recipient=failed_test.recipient,
                    time=day_and_clock(failed_test.at, time_zone_of(settings.time_zone), speech=spoken()),
                    reason=failed_test.error,
                )
            ]
            if failed_test is not None
            else [],
            optional=True,
        ),
        SetupStep(
            started.webhook or started.key,
            said("Connect your shop"),
            said("A shop sends orders with an API key (see /docs), and a webhook tells it what becomes of them."),
            [(said("API keys"), "/keys"), (said("Webhooks"), "/webhooks"), (said("API"), "/docs")],
            optional=True,
        ),
    ]


def _rules(request: Call, typed: dict[str, str] | None, problem: str) -> SetupStep:
    """What most companies ask first about the policy. It is done when somebody has saved the policy."""
    policy = node_of(request).policies.current
    seconds = policy.offer_timeout_seconds
    unanswered = (
        said(
            "If a driver does not answer an offer within {seconds} s, the order is assigned to them by itself, if "
            "their phone showed the offer.",
            seconds=seconds,
        )
        if policy.expiry_policy == "auto_accept"
        else said(
            "If a driver does not answer an offer within {seconds} s, the next driver gets an offer.", seconds=seconds
        )
    )
    refused = typed if typed is not None and typed.get("form") == RULES else None
    return SetupStep(
        policy.version > 1,
        said("Unanswered offers and currency"),
        " ".join([unanswered, said("Pay and prices are in {currency}.", currency=policy.currency)]),
        [(said("All rules: Policy"), "/policy")],
        form=RULES if request.user.role == "admin" else None,
        fields=refused or {"expiryPolicy": policy.expiry_policy, "currency": policy.currency},
        problem=problem if refused is not None else None,
    )


class FormOfStep(TypedDict):
    """The form of a step, as far as this person has one."""

    form: str | None
    fields: dict[str, str]
    problem: str | None
    origin: str | None


def _form(request: Call, form: str, typed: dict[str, str] | None, problem: str) -> FormOfStep:
    known = node_of(request).known_settings
    names = FORMS[form]
    origin = known.origin(names[0])
    if origin == "environment":
        text = said("{setting} of the server’s settings is in force.", setting=f"CALLBOARD_{names[0].upper()}")
    elif origin == "screen":
        text = said("{person} set this here.", person=known.on_screen[names[0]].by)
    else:
        text = None
    if origin == "environment" or request.user.role != "admin":
        return FormOfStep(form=None, fields={}, problem=None, origin=text)
    now = known.current
    values = {name: str(getattr(now, name)) for name in names}
    if "map_attribution" in known.on_screen:
        values["map_attribution"] = known.on_screen["map_attribution"].value
    refused = typed is not None and typed.get("form") == form
    fields = {name: typed.get(name, "") for name in names} if typed is not None and refused else values
    if form == MAP:
        tiles = fields["map_tiles"]
        chosen = "none" if not tiles else "osm" if tiles == OPEN_STREET_MAP else "own"
        fields["source"] = typed.get("source", "") if typed is not None and refused else chosen
    return FormOfStep(form=form, fields=fields, problem=problem if refused else None, origin=text)


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
        return await _start(
            request, 422, typed={"form": name, "source": form.text("source"), **values}, problem=problem
        )
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
        return await _start(request, 422, typed={"form": RULES, **values}, problem=problem)
    node = node_of(request)
    while True:
        policy = replace(node.policies.current, expiry_policy=values["expiryPolicy"], currency=values["currency"])
        answer = await node.executor.submit(c.ChangePolicy(policy, request.user.actor, said("Chosen under Set up")))
        if not isinstance(answer, Refusal):
            break
        if answer.code != r.VERSION_CHANGED.code or policy.version == node.policies.current.version:
            return await _start(request, 409, typed={"form": RULES, **values}, problem=in_plain_words(answer))
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


@post(f"{START}/test-order", guards=[OPS], status_code=200, opt={FORM: True})
async def place_test_order(request: Call) -> ASGIResponse:
    """An order 500 m from a driver, best from one who is available. No report counts it, and it pays nothing."""
    await read_form(request, Form)
    drivers = await find_drivers(pool_of(request), None, None, None, DRIVERS_LOOKED_AT)
    near = _best(drivers)
    if near is None or near.position is None:
        text = said("No driver has sent a position yet. Sign in on a phone first.")
        return see_other(START, flash(request, "bad", text))
    words = words_of_test_order(_drivers_language(request))
    lat, lon = near.position.lat, near.position.lon
    sign = -1 if lat > 80 else 1
    try:
        done = await post_delivery(
            request,
            s.NewDelivery(
                seller_order_id=f"TEST-{new_id()[-5:].upper()}",
                store_name=words.store,
                pickup=s.Place(lat + sign * NEAR_DEGREES, lon, words.pickup),
                dropoff=s.Place(lat + sign * 2 * NEAR_DEGREES, lon, words.dropoff),
                zone=near.zone,
                driver_pay_cents=0,
                notes=words.notes,
            ),
            test=True,
        )
    except Problem as problem:
        return not_done(request, problem, START)
    assert done.delivery is not None
    text = said("Order {order} is created.", order=done.delivery.seller_order_id)
    return acted(request, text, f"/board/deliveries/{done.delivery.id}")


def _drivers_language(request: Call) -> str:
    """The drivers' language, as far as it is known: that of the policy or of the screens, else of this browser."""
    node = node_of(request)
    chosen = node.policies.current.language or node.settings.language
    return language_for(request.headers.get("accept-language", ""), chosen)


def _best(drivers: list[Driver]) -> Driver | None:
    located = [driver for driver in drivers if driver.active and driver.position is not None]
    return min(located, key=lambda driver: (driver.availability != "available", driver.busy), default=None)
