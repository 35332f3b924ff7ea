"""The hands of ops and admins: dialogs of the board, and what their buttons do. Every change is an ordinary command.

A dialog is a fragment; its form is posted back by htmx. Done: the dialog closes and the feed shows what changed.
Refused: the reason in plain words stands in the dialog, and what was typed stays.
"""

from collections.abc import Sequence
from typing import Any, Final

from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.board import reads
from server.board.candidates import choices
from server.board.words import FAILURES, words
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.model import Assignment, Delivery
from server.dispatch.refusals import Refusal
from server.dispatcher import NobodyFound
from server.execute import Answer
from server.ids import new_id
from server.realtime.session import canonical
from server.store.reads import asking
from server.store.reads_drivers import read_driver
from server.store.waiting import read_deliveries
from server.web.board_form import Form, FormInvalid, read_form
from server.web.board_screen import (
    ADMIN,
    OPS,
    done,
    fragment,
    in_plain_words,
    invalid_fragment,
    node_of,
    refused_fragment,
)
from server.web.endpoint import Call, id_in_path
from server.web.errors import not_found

BULK_LIMIT: Final = 200
BREAK_MINUTES: Final = (15, 30, 45, 60, 90, 120)


async def _delivery(request: Call, text: str) -> Delivery:
    """The delivery in the path with its offers and assignments. Raises 404 or DatabaseAway."""
    delivery_id = id_in_path(text)
    with asking():
        found = await read_deliveries(node_of(request).database.pool, [delivery_id])
    if delivery_id not in found:
        raise not_found()
    return found[delivery_id]


async def _submit(request: Call, command: c.Command) -> Answer | Refusal:
    return await node_of(request).executor.submit(command)


def _name_of(answer: Answer) -> str:
    return answer.driver.name if answer.driver is not None else "the driver"


# Assign a waiting delivery to somebody.


@get("/board/deliveries/{delivery_id:str}/assign", guards=[OPS], include_in_schema=False)
async def assign_dialog(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """The candidates, ranked, with distance and minutes, and why not the others."""
    delivery = await _delivery(request, delivery_id)
    node = node_of(request)
    ranked = await choices(node.database.pool, delivery, node.policies.current, None)
    return fragment(request, "board/dialogs/assign.html", delivery=delivery, choices=ranked)


@post("/board/deliveries/{delivery_id:str}/assign", guards=[OPS], status_code=200, include_in_schema=False)
async def assign(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Offer it to the chosen driver, or assign it to them without asking."""
    known = id_in_path(delivery_id)
    try:
        form = await read_form(request)
        driver_id, direct = form.id("driver", "Choose a driver."), form.mode() == "assign"
        reason = form.reason()
    except FormInvalid as wrong:
        return invalid_fragment(str(wrong))
    answer = await _submit(
        request, c.AssignDelivery(known, driver_id, reason, direct, new_id(), new_id(), request.user.actor)
    )
    if isinstance(answer, Refusal):
        return refused_fragment(answer)
    assert answer.delivery is not None
    what = "assigned" if direct else "offered"
    return done(f"Order {answer.delivery.seller_order_id} {what} to {_name_of(answer)}.")


# Take an assignment from its driver.


@get("/board/deliveries/{delivery_id:str}/reassign", guards=[ADMIN], include_in_schema=False)
async def reassign_dialog(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Who loses what, why, and optionally who gets it."""
    delivery = await _delivery(request, delivery_id)
    assignment = delivery.active_assignment()
    node = node_of(request)
    if assignment is None:
        last = max(delivery.assignments.values(), key=lambda a: a.created_at, default=None)
        return refused_fragment(_over(last))
    driver = await read_driver(node.database.pool, assignment.driver_id)
    ranked = await choices(node.database.pool, delivery, node.policies.current, assignment.driver_id)
    return fragment(
        request,
        "board/dialogs/reassign.html",
        delivery=delivery,
        assignment=assignment,
        driver=driver,
        choices=ranked,
    )


def _over(last: Assignment | None) -> Refusal:
    if last is None:
        return r.ASSIGNMENT_NOT_ACTIVE
    what = last.status.lower()
    return r.assignment_not_active(f"{what} by {last.ended_by}" if last.ended_by else what)


@post("/board/assignments/{assignment_id:str}/reassign", guards=[ADMIN], status_code=200, include_in_schema=False)
async def reassign(request: Call, assignment_id: FromPath[str]) -> ASGIResponse:
    """Free the driver; search again, or give it to the one chosen."""
    known = id_in_path(assignment_id)
    try:
        form = await read_form(request)
        reason = form.reason()
        driver_id = form.optional_id("driver")
        direct = driver_id is not None and form.mode() == "assign"
        version = form.whole_number("version")
    except FormInvalid as wrong:
        return invalid_fragment(str(wrong))
    command = c.Reassign(
        assignment_id=known,
        reason=reason,
        new_offer_id=new_id(),
        new_assignment_id=new_id(),
        actor=request.user.actor,
        driver_id=driver_id,
        direct=direct,
        force=form.ticked("force"),
        version=version,
    )
    answer = await _submit(request, command)
    if isinstance(answer, Refusal):
        return refused_fragment(answer)
    assert answer.delivery is not None
    order = answer.delivery.seller_order_id
    if driver_id is None:
        return done(f"Order {order} taken from its driver; the search has begun.")
    return done(f"Order {order} {'assigned' if direct else 'offered'} to {_name_of(answer)}.")


# Search again.


@post("/board/deliveries/{delivery_id:str}/search", guards=[OPS], status_code=200, include_in_schema=False)
async def search(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """One search now."""
    with asking():
        found = await node_of(request).dispatcher.search(id_in_path(delivery_id), request.user.actor)
    if isinstance(found, Refusal):
        return refused_fragment(found)
    if isinstance(found, NobodyFound):
        return done(f"Searched: {words(FAILURES, found.failure_reason).lower()}.")
    return done("Offered again." if not found.decided.repeated else "It is offered to somebody already.")


# Cancel.


@get("/board/deliveries/{delivery_id:str}/cancel", guards=[OPS], include_in_schema=False)
async def cancel_dialog(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Why, and what it means for whom."""
    delivery = await _delivery(request, delivery_id)
    assignment = delivery.active_assignment()
    driver = await read_driver(node_of(request).database.pool, assignment.driver_id) if assignment else None
    return fragment(request, "board/dialogs/cancel.html", delivery=delivery, driver=driver)


@post("/board/deliveries/{delivery_id:str}/cancel", guards=[OPS], status_code=200, include_in_schema=False)
async def cancel(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Nobody wants it any more."""
    known = id_in_path(delivery_id)
    try:
        form = await read_form(request)
        reason = form.reason()
    except FormInvalid as wrong:
        return invalid_fragment(str(wrong))
    answer = await _submit(request, c.CancelDelivery(known, reason, request.user.actor, form.ticked("force")))
    if isinstance(answer, Refusal):
        return refused_fragment(answer)
    assert answer.delivery is not None
    return done(f"Order {answer.delivery.seller_order_id} cancelled.")


# Acknowledge.


@get("/board/deliveries/{delivery_id:str}/acknowledge", guards=[OPS], include_in_schema=False)
async def acknowledge_dialog(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """A note for the colleagues."""
    return fragment(request, "board/dialogs/acknowledge.html", delivery=await _delivery(request, delivery_id))


@post("/board/deliveries/{delivery_id:str}/acknowledge", guards=[OPS], status_code=200, include_in_schema=False)
async def acknowledge(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Somebody looks after it."""
    known = id_in_path(delivery_id)
    try:
        note = (await read_form(request)).note()
    except FormInvalid as wrong:
        return invalid_fragment(str(wrong))
    answer = await _submit(request, c.Acknowledge(known, request.user.actor, note))
    if isinstance(answer, Refusal):
        return refused_fragment(answer)
    assert answer.delivery is not None
    return done(f"Order {answer.delivery.seller_order_id} acknowledged.")


@post("/board/alerts/{alert_id:str}/acknowledge", guards=[OPS], status_code=200, include_in_schema=False)
async def acknowledge_alert(request: Call, alert_id: FromPath[str]) -> ASGIResponse:
    """Somebody looks after an alert; whoever was first keeps it."""
    known = id_in_path(alert_id)
    answer = await _submit(request, c.AcknowledgeAlert(known, request.user.actor))
    if isinstance(answer, Refusal):
        return refused_fragment(answer)
    by = await reads.alert_acknowledged_by(node_of(request).database.pool, known)
    return done(f"Alert acknowledged by {by}.")


# A driver's availability.


@get("/board/drivers/{driver_id:str}/availability", guards=[ADMIN], include_in_schema=False)
async def availability_dialog(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    """Which, why, and for how long."""
    driver = await read_driver(node_of(request).database.pool, id_in_path(driver_id))
    if driver is None:
        raise not_found()
    return fragment(request, "board/dialogs/availability.html", driver=driver, minutes=BREAK_MINUTES)


@post("/board/drivers/{driver_id:str}/availability", guards=[ADMIN], status_code=200, include_in_schema=False)
async def set_availability(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    """An admin decides it."""
    known = id_in_path(driver_id)
    try:
        form = await read_form(request)
        wanted = _availability(form)
    except FormInvalid as wrong:
        return invalid_fragment(str(wrong))
    answer = await _submit(request, c.SetAvailability(known, wanted[0], wanted[1], request.user.actor, wanted[2]))
    if isinstance(answer, Refusal):
        return refused_fragment(answer)
    assert answer.driver is not None
    return done(f"{answer.driver.name}: {answer.driver.availability.replace('_', ' ')}.")


def _availability(form: Form) -> tuple[Any, str, int | None]:
    availability = form.availability()
    minutes = form.whole_number("minutes") if availability == "on_break" else None
    if minutes is not None and not 1 <= minutes <= 1440:
        raise FormInvalid("A break has 1 to 1440 minutes.")
    return availability, form.reason(), minutes


# Many at once.


@get("/board/bulk/{action:str}", guards=[OPS], include_in_schema=False)
async def bulk_dialog(request: Call, action: FromPath[str]) -> ASGIResponse:
    """One dialog for a selection."""
    ids = _ids(request.query_params.getall("id", []))
    if action not in BULK or (action in ADMINS_BULK and request.user.role != "admin"):
        raise not_found()
    return fragment(request, "board/dialogs/bulk.html", action=action, ids=ids, minutes=BREAK_MINUTES)


@post("/board/bulk/{action:str}", guards=[OPS], status_code=200, include_in_schema=False)
async def bulk(request: Call, action: FromPath[str]) -> ASGIResponse:
    """The same command for each of a selection; those that are refused are named, the others are done."""
    if action not in BULK or (action in ADMINS_BULK and request.user.role != "admin"):
        raise not_found()
    try:
        form = await read_form(request)
        ids = _ids(form.all("id"))
        if not ids:
            raise FormInvalid("Nothing is selected.")
        commands = await _commands(request, action, ids, form)
    except FormInvalid as wrong:
        return invalid_fragment(str(wrong))
    waiting = [node_of(request).executor.submit(command) for command in commands]
    answers = [await answer for answer in waiting]
    refused = [in_plain_words(answer) for answer in answers if isinstance(answer, Refusal)]
    count = len(answers) - len(refused)
    if not count and refused:
        return refused_fragment(Refusal("refused", f"None of {len(refused)}: {refused[0]}"))
    said = f"{BULK[action]}: {count} done"
    return done(f"{said}, {len(refused)} refused: {refused[0]}" if refused else f"{said}.")


BULK: Final = {
    "acknowledge": "Acknowledge",
    "cancel": "Cancel",
    "reassign": "Reassign",
    "availability": "Set availability",
}
ADMINS_BULK: Final = frozenset({"reassign", "availability"})


async def _commands(request: Call, action: str, ids: Sequence[str], form: Form) -> list[c.Command]:
    actor = request.user.actor
    if action == "acknowledge":
        note = form.note()
        return [c.Acknowledge(delivery_id, actor, note) for delivery_id in ids]
    if action == "cancel":
        reason = form.reason()
        return [c.CancelDelivery(delivery_id, reason, actor, form.ticked("force")) for delivery_id in ids]
    if action == "availability":
        availability, reason, minutes = _availability(form)
        return [c.SetAvailability(driver_id, availability, reason, actor, minutes) for driver_id in ids]
    reason = form.reason()
    with asking():
        found = await read_deliveries(node_of(request).database.pool, list(ids))
    held = [a for delivery in found.values() if (a := delivery.active_assignment()) is not None]
    if not held:
        raise FormInvalid("None of them is with a driver any more.")
    return [
        c.Reassign(a.id, reason, new_id(), new_id(), actor, force=form.ticked("force"), version=a.version) for a in held
    ]


def _ids(given: Sequence[str]) -> list[str]:
    known = [canonical(text) for text in given[:BULK_LIMIT]]
    return [text for text in known if text is not None]


HANDLERS: Final[list[HTTPRouteHandler]] = [
    assign_dialog,
    assign,
    reassign_dialog,
    reassign,
    search,
    cancel_dialog,
    cancel,
    acknowledge_dialog,
    acknowledge,
    acknowledge_alert,
    availability_dialog,
    set_availability,
    bulk_dialog,
    bulk,
]
