"""The screen on which an admin erases the personal data of a person: what a phone finds first, then the erasing."""

from typing import Final

from litestar import get, post
from litestar.response.base import ASGIResponse

from server.contract.personal import masked
from server.contract.phones import digits_in_any_spelling
from server.dispatch.model import OVER
from server.store.jobs.erasing import Erased
from server.store.jobs.person_search import PhoneWhere, find_by_phone
from server.texts.speech import counted, later, said
from server.web.access.guards import ADMIN
from server.web.access.sessions import FORM
from server.web.api import schemas as s
from server.web.api.privacy import erase_by_phone, search_errors
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.errors import PERSON_SEARCH_RUNS, Problem
from server.web.http.forms import Form, read_form
from server.web.screens.form_words import to_struct
from server.web.screens.shell import flash, page, see_other

PRIVACY: Final = "/privacy"
WHERE: Final[dict[PhoneWhere, str]] = {
    "customer": later("phone of the customer"),
    "store": later("phone of the store"),
    "driver": later("phone of a driver who had the goods"),
    "text": later("in a note or message, or before a change"),
}


def phone_to_erase(request: Call, text: str) -> str | None:
    """What somebody searches for, if it is a phone and they may erase its person."""
    is_phone = text.startswith(("+", "0", "(")) and digits_in_any_spelling(text) is not None
    return text if is_phone and request.user.role == "admin" else None


@get(PRIVACY, guards=[ADMIN])
async def privacy(request: Call) -> ASGIResponse:
    return await _screen(request)


@post(PRIVACY, guards=[ADMIN], status_code=200, opt={FORM: True})
async def search_or_erase(request: Call) -> ASGIResponse:
    """`do=find` shows what erasing would reach, `do=erase` erases it if `sure` is ticked. The phone is in the body, so
    that no log of addresses has it.
    """
    form = await read_form(request, Form)
    phone = form.text("phone")
    try:
        given = to_struct(s.Erasure, {"phone": phone})
    except Problem:
        wrong = said("Write a phone with 5 to 20 digits.")
        return await _screen(request, 422, phone=phone[:40], wrong=wrong)
    try:
        return await _searched(request, form, given)
    except Problem as problem:
        if problem.kind is not PERSON_SEARCH_RUNS:
            raise
        runs = said("Another search for a person is running. Try again when it has ended.")
        return await _screen(request, problem.kind.status, phone=phone, runs=runs)


async def _searched(request: Call, form: Form, given: s.Erasure) -> ASGIResponse:
    """What is found, or was erased. Raises 409 and 503."""
    if form.last("do") == "erase" and form.ticked("sure"):
        erased, left = await erase_by_phone(request, given)
        return see_other(PRIVACY, flash(request, "good", _result(erased, left)))
    node = node_of(request)
    with search_errors():
        found = await find_by_phone(node.database, node.person_turn, given.phone)
    return await _screen(
        request,
        422 if form.last("do") == "erase" else 200,
        phone=form.text("phone"),
        found=found,
        examples=[(one, masked(one.name or ""), one.status not in OVER) for one in found.newest],
        unsure=form.last("do") == "erase",
    )


def _result(erased: Erased, left: int | None) -> str:
    orders, texts, later_on = erased.rows["deliveries"], erased.rows["texts"], erased.later
    parts = [counted("Erased: the data of {count} order.", "Erased: the data of {count} orders.", orders)]
    if texts:
        parts.append(counted("{count} message is erased.", "{count} messages are erased.", texts))
    if later_on:
        parts.append(
            counted(
                "{count} order is under way: its data is erased within a minute of its end.",
                "{count} orders are under way: their data is erased within a minute of their end.",
                later_on,
            )
        )
    if left is None:
        parts.append(said("Photos, if there are any, are removed when the database answers again."))
    elif left:
        parts.append(
            counted(
                "{count} photo is not removed from the store of photos yet: Callboard tries again until it is.",
                "{count} photos are not removed from the store of photos yet: Callboard tries again until they are.",
                left,
            )
        )
    return " ".join(parts)


async def _screen(request: Call, status: int = 200, **context: object) -> ASGIResponse:
    shown: dict[str, object] = {"phone": "", "wrong": None, "runs": None, "found": None, "unsure": False, **context}
    return await page(request, "privacy.html", status, nav="privacy", where=WHERE, values=shown)
