"""The hands of ops and admins: dialogs of the board, and what their buttons do. Every change is an ordinary command.

A dialog is a fragment; its form is posted back by htmx. Done: the dialog closes and the feed shows what changed.
Refused: the dialog shows the reason in plain words, and what was typed stays.
"""

from collections.abc import Callable
from typing import Final

from litestar import get
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec.structs import replace

from server.board.candidates import CALLABLE, choices
from server.contract.commit import Answer
from server.contract.words import FAILURES, STATES, lower_first, words
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.driver_actions import not_active
from server.dispatch.manual_assignment import where_the_goods_are
from server.dispatch.model import Delivery
from server.dispatch.refusals import Refusal
from server.dispatcher.search_on_request import NoDriverFound
from server.ids import new_id
from server.store.query import database_errors
from server.store.reads.alerts import read_alert
from server.store.reads.drivers import OffShift, off_shift_drivers, read_driver
from server.texts.speech import later, said
from server.web.access.guards import OPS
from server.web.api.alerts import just_acknowledged
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import existing, not_found
from server.web.http.forms import FormInvalid, read_form
from server.web.screens.board_answers import NotDone, dialog_action, done, refused_fragment
from server.web.screens.board_bulk import BREAK_MINUTES
from server.web.screens.board_form import TEXT_LIMIT, BoardForm, wanted_availability
from server.web.screens.board_seen import (
    Overtaken,
    SeenDriver,
    SeenOrder,
    carry_out,
    carry_out_for,
    parse_seen,
    parse_seen_driver,
    read_seen,
    seen_driver,
)
from server.web.screens.shell import fragment

UNREADABLE: Final = later("This form cannot be read. Close it and open it again.")


async def _shown(request: Call, text: str) -> tuple[Delivery, SeenOrder]:
    """The delivery in the path with its offers and assignments, and what its dialog's form carries. Raises 404 or
    DatabaseAway.
    """
    delivery_id = id_in_path(text)
    found = await read_seen(pool_of(request), [delivery_id])
    if delivery_id not in found:
        raise not_found()
    return found[delivery_id]


async def _submit(request: Call, command: c.Command) -> Answer:
    return _done(await node_of(request).executor.submit(command))


async def _carry_out(
    request: Call, form: BoardForm, delivery_id: str, command: Callable[[int | None], c.Command]
) -> Answer:
    """Execute a command for the version that the dialog showed, or the current one. Raises FormInvalid or NotDone."""
    text = form.text("seen")
    if not text:
        return await _submit(request, command(None))
    seen = parse_seen(text)
    if seen is None or seen.delivery_id != delivery_id:
        raise FormInvalid(said(UNREADABLE))
    node, me = node_of(request), request.user.actor
    return _done(await carry_out(node.database.pool, node.executor, seen, lambda now: command(now.version), me))


def _done(answer: Answer | Refusal | Overtaken) -> Answer:
    """The answer, if the command succeeded. Raises NotDone."""
    if isinstance(answer, Refusal):
        raise NotDone.refused(answer)
    if isinstance(answer, Overtaken):
        raise NotDone.overtaken(answer.what)
    return answer


def _order(answer: Answer) -> str:
    assert answer.delivery is not None
    return answer.delivery.seller_order_id


def _given(answer: Answer, direct: bool) -> str:
    names = {"order": _order(answer), "driver": _driver(answer)}
    if direct:
        return said("Order {order} assigned to {driver}.", **names)
    return said("Order {order} offered to {driver}.", **names)


def _driver(answer: Answer) -> str:
    return answer.driver.name if answer.driver is not None else said("the driver")


# Assign a waiting delivery to somebody.


@get("/board/deliveries/{delivery_id:str}/assign", guards=[OPS])
async def assign_dialog(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """The candidates, ranked, with distance and minutes, and why not the others."""
    delivery, seen = await _shown(request, delivery_id)
    node = node_of(request)
    ranked = await choices(
        node.database.pool, delivery, node.policies.current, None, node.zones.current.helpers(delivery.zone)
    )
    return fragment(
        request,
        "board/dialogs/assign.html",
        delivery=delivery,
        seen=seen,
        choices=ranked,
        off_shift=await _off_shift(request, delivery),
    )


@dialog_action("/board/deliveries/{delivery_id:str}/assign", OPS)
async def assign(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Offer it to the chosen driver, or assign it to them without asking."""
    known = id_in_path(delivery_id)
    form = await read_form(request, BoardForm)
    driver_id, direct = form.id("driver", said("Choose a driver.")), form.mode() == "assign"
    reason, early = form.reason(), form.ticked("early")
    actor, offer_id, assignment_id = request.user.actor, new_id(), new_id()
    answer = await _carry_out(
        request,
        form,
        known,
        lambda version: c.AssignDelivery(
            known, driver_id, reason, direct, offer_id, assignment_id, actor, version, early, replace_offer=True
        ),
    )
    return done(_given(answer, direct))


# Take an assignment from its driver.


@get("/board/deliveries/{delivery_id:str}/reassign", guards=[OPS])
async def reassign_dialog(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Who loses what, why, and optionally who gets it."""
    delivery, seen = await _shown(request, delivery_id)
    assignment = delivery.active_assignment()
    node = node_of(request)
    if assignment is None:
        last = delivery.last_assignment()
        return refused_fragment(r.ASSIGNMENT_NOT_ACTIVE if last is None else not_active(last, delivery))
    driver = await read_driver(node.database.pool, assignment.driver_id)
    if driver is not None and assignment.picked_up_at is not None:
        delivery = replace(delivery, pickup=where_the_goods_are(delivery, driver))
    ranked = await choices(
        node.database.pool,
        delivery,
        node.policies.current,
        assignment.driver_id,
        node.zones.current.helpers(delivery.zone),
    )
    return fragment(
        request,
        "board/dialogs/reassign.html",
        delivery=delivery,
        seen=seen,
        assignment=assignment,
        driver=driver,
        choices=ranked,
        off_shift=await _off_shift(request, delivery),
    )


async def _off_shift(request: Call, delivery: Delivery) -> list[OffShift]:
    node = node_of(request)
    zones = [delivery.zone, *node.zones.current.helpers(delivery.zone)]
    return await off_shift_drivers(node.database.pool, zones, CALLABLE)


@dialog_action("/board/assignments/{assignment_id:str}/reassign", OPS)
async def reassign(request: Call, assignment_id: FromPath[str]) -> ASGIResponse:
    """Free the driver; search again, or give it to the one chosen."""
    known = id_in_path(assignment_id)
    form = await read_form(request, BoardForm)
    reason = form.reason()
    driver_id = form.optional_id("driver")
    direct = driver_id is not None and form.mode() == "assign"
    version = form.whole_number("version")
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
        pause_driver=form.ticked("pause_driver"),
    )
    answer = await _submit(request, command)
    if driver_id is None:
        return done(said("Order {order} taken from its driver. A new search started.", order=_order(answer)))
    return done(_given(answer, direct))


# Search again.


@get("/board/deliveries/{delivery_id:str}/search", guards=[OPS])
async def search_dialog(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Whether a scheduled order is to be dispatched now."""
    delivery, _ = await _shown(request, delivery_id)
    return fragment(request, "board/dialogs/search.html", delivery=delivery)


@dialog_action("/board/deliveries/{delivery_id:str}/search", OPS)
async def search(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """One search now; a scheduled order is dispatched by it only if the dialog said so."""
    known = id_in_path(delivery_id)
    early = (await read_form(request, BoardForm)).ticked("early")
    with database_errors():
        found = await node_of(request).on_request.search(known, request.user.actor, early=early)
    if isinstance(found, Refusal):
        return refused_fragment(found)
    if isinstance(found, NoDriverFound):
        return done(said("Search finished: {result}.", result=said(words(FAILURES, found.failure_reason))))
    if found.decided.repeated:
        return done(said("This order is already offered to a driver."))
    return done(said("Offered to a driver."))


# Cancel.


@get("/board/deliveries/{delivery_id:str}/cancel", guards=[OPS])
async def cancel_dialog(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """The reason, and what it means for the driver."""
    delivery, seen = await _shown(request, delivery_id)
    assignment = delivery.active_assignment()
    driver = await read_driver(pool_of(request), assignment.driver_id) if assignment else None
    return fragment(request, "board/dialogs/cancel.html", delivery=delivery, seen=seen, driver=driver)


@dialog_action("/board/deliveries/{delivery_id:str}/cancel", OPS)
async def cancel(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    known = id_in_path(delivery_id)
    form = await read_form(request, BoardForm)
    reason, force, actor = form.reason(), form.ticked("force"), request.user.actor
    answer = await _carry_out(
        request, form, known, lambda version: c.CancelDelivery(known, reason, actor, force, version)
    )
    return done(said("Order {order} cancelled.", order=_order(answer)))


# Acknowledge.


@get("/board/deliveries/{delivery_id:str}/acknowledge", guards=[OPS])
async def acknowledge_dialog(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    delivery, seen = await _shown(request, delivery_id)
    return fragment(request, "board/dialogs/acknowledge.html", delivery=delivery, seen=seen)


@dialog_action("/board/deliveries/{delivery_id:str}/acknowledge", OPS)
async def acknowledge(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    known = id_in_path(delivery_id)
    form = await read_form(request, BoardForm)
    note, actor = form.note(), request.user.actor
    answer = await _carry_out(request, form, known, lambda version: c.Acknowledge(known, actor, note, version))
    return done(said("Order {order} acknowledged.", order=_order(answer)))


@dialog_action("/board/alerts/{alert_id:str}/acknowledge", OPS)
async def acknowledge_alert(request: Call, alert_id: FromPath[str]) -> ASGIResponse:
    """Acknowledge an alert; the first person who did so keeps it."""
    known = id_in_path(alert_id)
    answer = await _submit(request, c.AcknowledgeAlert(known, request.user.actor))
    alert = just_acknowledged(answer) or await read_alert(pool_of(request), known)
    person = alert.acknowledged_by if alert else request.user.subject
    return done(said("Alert acknowledged by {person}.", person=person))


# A message to a driver.


@get("/board/drivers/{driver_id:str}/message", guards=[OPS])
async def message_dialog(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    driver = existing(await read_driver(pool_of(request), id_in_path(driver_id)))
    return fragment(request, "board/dialogs/message.html", driver=driver, limit=TEXT_LIMIT)


@dialog_action("/board/drivers/{driver_id:str}/message", OPS)
async def send_message(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    known = id_in_path(driver_id)
    text = (await read_form(request, BoardForm)).message()
    answer = await _submit(request, c.SendMessage(known, new_id(), text, request.user.actor))
    assert answer.driver is not None
    return done(said("Message sent to {driver}.", driver=answer.driver.name))


# A driver's availability.


@get("/board/drivers/{driver_id:str}/availability", guards=[OPS])
async def availability_dialog(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    """Which, why, and for how long."""
    driver = existing(await read_driver(pool_of(request), id_in_path(driver_id)))
    return fragment(
        request, "board/dialogs/availability.html", driver=driver, seen=seen_driver(driver), minutes=BREAK_MINUTES
    )


@dialog_action("/board/drivers/{driver_id:str}/availability", OPS)
async def set_availability(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    known = id_in_path(driver_id)
    form = await read_form(request, BoardForm)
    availability, reason, minutes = wanted_availability(form)
    seen = _driver_seen(form, known)
    node, actor = node_of(request), request.user.actor

    def command(now: SeenDriver | None) -> c.Command:
        return c.SetAvailability(known, availability, reason, actor, minutes, now.changed_at if now else None)

    if seen is None:
        answer = await _submit(request, command(None))
    else:
        answer = _done(await carry_out_for(node.database.pool, node.executor, seen, command, actor))
    assert answer.driver is not None
    state = lower_first(said(words(STATES, answer.driver.availability)))
    return done(said("{driver} is now: {state}.", driver=answer.driver.name, state=state))


def _driver_seen(form: BoardForm, driver_id: str) -> SeenDriver | None:
    text = form.text("seen")
    seen = parse_seen_driver(text) if text else None
    if text and (seen is None or seen.driver_id != driver_id):
        raise FormInvalid(said(UNREADABLE))
    return seen
