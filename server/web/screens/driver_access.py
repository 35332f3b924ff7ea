"""The screen of a driver's access: invitations, devices, deactivation. Plain forms that need no script."""

from datetime import datetime
from typing import Final
from urllib.parse import quote

import segno
from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from markupsafe import Markup
from msgspec import Struct

from server.contract.views import parse_instant
from server.dispatch import commands as c
from server.dispatch.model import Driver
from server.dispatch.refusals import TRY_AGAIN
from server.ids import canonical
from server.store.devices import EndReason, list_devices
from server.store.query import DatabaseAway, unless_away
from server.store.reads.drivers import read_driver
from server.store.sign_in import open_invitation
from server.texts.languages import language_for
from server.texts.speech import counted, later, said, spoken
from server.web.access.guards import ADMIN, OPS, VIEWERS
from server.web.access.sessions import FORM
from server.web.api.devices import revoke_device
from server.web.api.endpoint import id_in_path
from server.web.api.sign_in import invitation
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of, submit
from server.web.http.errors import Problem, existing, unless_refused
from server.web.http.forms import Form, read_form
from server.web.screens.board_answers import PLAIN
from server.web.screens.driver_page import invitation_words
from server.web.screens.reach import warnings_of
from server.web.screens.shell import flash, page, see_other

SHOWN_LIMIT: Final = 100
ENDS: Final[dict[EndReason, str]] = {
    "revoked": later("signed out"),
    "signed_out": later("driver signed out"),
    "token_reused": later("device token used twice"),
    "unused": later("not used for 30 days"),
    "deactivated": later("driver deactivated"),
}
"""The reason why a device ended, in words."""


class ShownInvitation(Struct, frozen=True):
    """An invitation, which the screen shows only once."""

    url: str
    expires_at: datetime


@get("/board/drivers/{driver_id:str}/access", guards=[VIEWERS])
async def access(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    """The driver's devices, and the actions for the user's role."""
    return await _access(request, await _found(request, driver_id))


@post("/board/drivers/{driver_id:str}/access", guards=[OPS], status_code=200, opt={FORM: True})
async def change_access(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    """`do` is `invite`, or `sign-out` with a `device`."""
    form = await read_form(request, Form)
    driver = await _found(request, driver_id)
    match form.last("do"):
        case "invite":
            try:
                made = await invitation(request, driver.id)
            except Problem as problem:
                return await _refused(request, driver, problem)
            shown = ShownInvitation(made.url, parse_instant(made.expires_at))
            sms, mail = ways_to_send(language_of_invitations(request), driver.name, driver.phone, made.url)
            ways = {"sms": sms, "mail": mail, "warnings": warnings_of(made.url)}
            return await _access(request, driver, 201, invitation=shown, code=qr_code(made.url), **ways)
        case "sign-out":
            device_id = canonical(form.text("device"))
            if device_id is None:
                return await _access(request, driver, 422, problem=said("Choose a device."))
            await revoke_device(request, driver.id, device_id)
            message = said("{driver} is signed out on that device.", driver=driver.name)
            if orders := await unless_away(_in_hand(request, driver)):
                message += " " + _still_theirs(orders)
            return see_other(_path(driver), flash(request, "good", message))
        case _:
            return await _access(request, driver, 422, problem=said("Choose what to do."))


@post("/board/drivers/{driver_id:str}/active", guards=[ADMIN], status_code=200, opt={FORM: True})
async def change_active(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    """`do` is `deactivate` or `reactivate`."""
    form = await read_form(request, Form)
    driver = await _found(request, driver_id)
    command: c.Command
    match form.last("do"):
        case "deactivate":
            command = c.DeactivateDriver(driver.id, request.user.actor)
            message = said("{driver} is deactivated and signed out everywhere.", driver=driver.name)
        case "reactivate":
            command = c.ReactivateDriver(driver.id, request.user.actor)
            message = said("{driver} is active again and can be invited.", driver=driver.name)
        case _:
            return await _access(request, driver, 422, problem=said("Choose what to do."))
    try:
        await submit(request, command)
    except Problem as problem:
        return await _refused(request, driver, problem)
    return see_other(_path(driver), flash(request, "good", message))


def language_of_invitations(request: Call) -> str:
    """That of the policy or of the screens: nobody knows the phone yet."""
    return language_for("", node_of(request).policies.current.language or spoken().language)


def ways_to_send(language: str, name: str, phone: str | None, url: str) -> tuple[str, str]:
    """The links that open a text message and a mail with the invitation."""
    subject, text = invitation_words(language, name, url)
    number = "".join(sign for sign in phone or "" if sign.isascii() and (sign.isdigit() or sign == "+"))
    return f"sms:{number}?&body={quote(text)}", f"mailto:?subject={quote(subject)}&body={quote(text)}"


def _path(driver: Driver) -> str:
    return f"/board/drivers/{driver.id}/access"


async def _in_hand(request: Call, driver: Driver) -> list[str]:
    """The driver's deliveries, each with its store and its number. Raises DatabaseAway."""
    if driver.active_count == 0:
        return []
    answer = await node_of(request).snapshots.read(driver.id)
    if answer is TRY_AGAIN:
        raise DatabaseAway(TRY_AGAIN.code)
    snapshot = unless_refused(answer)
    return [f"{one.store_name} {one.seller_order_id}" for one in snapshot.assignments]


def _still_theirs(orders: list[str]) -> str:
    return counted(
        "Still theirs: {orders}. Reassign it, or invite the driver again.",
        "Still theirs: {orders}. Reassign them, or invite the driver again.",
        len(orders),
        orders=", ".join(orders),
    )


async def _found(request: Call, text: str) -> Driver:
    return existing(await read_driver(pool_of(request), id_in_path(text)))


async def _refused(request: Call, driver: Driver, problem: Problem) -> ASGIResponse:
    """Show a refusal above the forms; raise any other problem."""
    if problem.kind.status != 409:
        raise problem
    return await _access(request, driver, 409, problem=said(PLAIN.get(problem.kind.code, problem.detail)))


async def _access(request: Call, driver: Driver, status: int = 200, **context: object) -> ASGIResponse:
    read = _read(request, driver)
    found = await (unless_away(read) if "invitation" in context else read)
    shown: dict[str, object] = {
        "problem": None,
        "invitation": None,
        "warnings": [],
        "ends": ENDS,
        **(found or {"still_theirs": "", "devices": None, "waiting": None}),
        **context,
    }
    return await page(request, "driver_access.html", status, nav="board/drivers", driver=driver, values=shown)


async def _read(request: Call, driver: Driver) -> dict[str, object]:
    """What the database has for the screen. Raises DatabaseAway."""
    pool = pool_of(request)
    orders = await _in_hand(request, driver)
    return {
        "still_theirs": _still_theirs(orders) if orders else "",
        "devices": await list_devices(pool, driver.id, None, SHOWN_LIMIT),
        "waiting": await open_invitation(pool, driver.id),
    }


def qr_code(text: str, title: str = "") -> Markup:
    """A QR code as SVG that takes its colours and its size from the style sheet."""
    code = segno.make_qr(text, error="l")
    title = title or said("QR code of the link")
    return Markup(code.svg_inline(border=2, svgclass="qr", lineclass=None, omitsize=True, title=title))  # noqa: S704
