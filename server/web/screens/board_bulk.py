"""One dialog for many orders or drivers: it shows each, and its answer has a line for each.

What was changed by people after the dialog was opened is left as it is, and said (see board_seen).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from litestar import get
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import Struct

from server.contract import words as w
from server.contract.commit import Answer
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.model import Actor
from server.dispatch.refusals import Refusal
from server.ids import canonical, new_id
from server.store.reads.drivers import read_driver, read_names
from server.texts.speech import later, said, spoken
from server.web.access.guards import OPS
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import not_found
from server.web.http.forms import FormInvalid, read_form
from server.web.screens.board_answers import dialog_action, in_plain_words, invalid_fragment
from server.web.screens.board_form import BoardForm, wanted_availability
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

T = TypeVar("T")

BULK_LIMIT: Final = 500
"""Orders or drivers in one dialog; its form must fit into a body, and its address into a head."""
BREAK_MINUTES: Final = (15, 30, 45, 60, 90, 120)
AT_ONCE: Final = 16
"""Refused ones that are looked at side by side: each takes a few reads."""
DONE: Final = {
    "acknowledge": later("acknowledged"),
    "cancel": later("cancelled"),
    "reassign": later("reassigned"),
    "availability": later("set"),
}
REPEATED: Final = {"acknowledge": later("already acknowledged by you"), "cancel": later("already cancelled")}
UNREADABLE: Final = later("The selection cannot be read. Close this and select again.")


class BulkItem(Struct, frozen=True):
    """One order or driver as the dialog shows it; `seen` is what its form carries."""

    id: str
    name: str
    now: str
    seen: str


class BulkResult(Struct, frozen=True):
    """What became of one of them, as a sentence without its full stop."""

    id: str
    name: str
    what: str
    done: bool


def _too_many(count: int) -> str:
    return said(
        "{count} selected. You can change at most {limit} at once. Nothing was changed.",
        count=spoken().number(count),
        limit=BULK_LIMIT,
    )


def _checked(action: str) -> None:
    if action not in DONE:
        raise not_found()


@get("/board/bulk/{action:str}", guards=[OPS])
async def bulk_dialog(request: Call, action: FromPath[str]) -> ASGIResponse:
    """One dialog for a selection: each of it as it is now."""
    _checked(action)
    given = list(dict.fromkeys(request.query_params.getall("id", [])))
    if len(given) > BULK_LIMIT:
        return invalid_fragment(_too_many(len(given)))
    ids = [known for text in given if (known := canonical(text)) is not None]
    shown = await (_drivers_shown if action == "availability" else _orders_shown)(request, ids)
    return fragment(request, "board/dialogs/bulk.html", action=action, shown=shown, minutes=BREAK_MINUTES)


async def _orders_shown(request: Call, ids: list[str]) -> list[BulkItem]:
    pool = pool_of(request)
    found = await read_seen(pool, ids)
    held = [a.driver_id for delivery, _ in found.values() if (a := delivery.active_assignment()) is not None]
    offered = [offer.driver_id for delivery, _ in found.values() if (offer := delivery.open_offer()) is not None]
    names = await read_names(pool, held + offered)
    shown = []
    for delivery, seen in found.values():
        offer, assignment = delivery.open_offer(), delivery.active_assignment()
        if assignment is not None:
            driver = names[assignment.driver_id]
            picked_up = assignment.picked_up_at is not None
            now = said("with {driver}, picked up", driver=driver) if picked_up else said("with {driver}", driver=driver)
        elif offer is not None:
            now = said("offered to {driver}", driver=names[offer.driver_id])
        else:
            now = w.lower_first(said(w.words(w.STATUSES, delivery.status)))
        shown.append(BulkItem(delivery.id, delivery.seller_order_id, f"{delivery.store_name}, {now}", str(seen)))
    return shown


async def _drivers_shown(request: Call, ids: list[str]) -> list[BulkItem]:
    pool = pool_of(request)
    found = [driver for known in ids if (driver := await read_driver(pool, known)) is not None]
    return [BulkItem(d.id, d.name, said(w.words(w.STATES, d.availability)), str(seen_driver(d))) for d in found]


@dialog_action("/board/bulk/{action:str}", OPS)
async def bulk(request: Call, action: FromPath[str]) -> ASGIResponse:
    """The same command for each of a selection, as the dialog showed it; a line for each says what became of it."""
    _checked(action)
    form = await read_form(request, BoardForm)
    lines = await (_drivers(request, form) if action == "availability" else _orders(request, action, form))
    done = [line.id for line in lines if line.done]
    left = len(lines) - len(done)
    changed = {"count": len(done), "left": left}
    summary = said("{count} changed, {left} not changed.", **changed) if left else said("{count} changed.", **changed)
    answer = fragment(
        request, "board/dialogs/result.html", summary=summary, lines=sorted(lines, key=lambda line: line.done)
    )
    answer.headers["HX-Trigger"] = json.dumps({"board:result": {"done": done, "said": summary}})
    return answer


def _selected(form: BoardForm, parse: Callable[[str], T | None]) -> list[T]:
    given = list(dict.fromkeys(form.all("seen")))
    if not given:
        raise FormInvalid(said("Nothing is selected."))
    if len(given) > BULK_LIMIT:
        raise FormInvalid(_too_many(len(given)))
    found = [seen for text in given if (seen := parse(text)) is not None]
    if len(found) < len(given):
        raise FormInvalid(said(UNREADABLE))
    return found


async def _orders(request: Call, action: str, form: BoardForm) -> list[BulkResult]:
    node, me = node_of(request), request.user.actor
    selected = _selected(form, parse_seen)
    command = _command(action, form, me)
    names = {known: delivery for known, (delivery, _) in (await read_seen(node.database.pool, _ids(selected))).items()}

    async def one(seen: SeenOrder) -> BulkResult:
        delivery = names.get(seen.delivery_id)
        name = delivery.seller_order_id if delivery is not None else said("This order")
        if action == "reassign" and seen.assignment_id is None:
            return BulkResult(seen.delivery_id, name, said("not changed: it has no driver"), False)
        answer = await carry_out(node.database.pool, node.executor, seen, command, me)
        return _line(seen.delivery_id, name, answer, said(DONE[action]), said(REPEATED.get(action, "")))

    return await _gathered(one, selected)


def _ids(selected: list[SeenOrder]) -> list[str]:
    return [seen.delivery_id for seen in selected]


def _command(action: str, form: BoardForm, me: Actor) -> Callable[[SeenOrder], c.Command]:
    if action == "acknowledge":
        note = form.note()
        return lambda seen: c.Acknowledge(seen.delivery_id, me, note, seen.version)
    reason, force = form.reason(), form.ticked("force")
    if action == "cancel":
        return lambda seen: c.CancelDelivery(seen.delivery_id, reason, me, force, seen.version)

    def reassign(seen: SeenOrder) -> c.Command:
        assert seen.assignment_id is not None
        return c.Reassign(
            seen.assignment_id, reason, new_id(), new_id(), me, force=force, version=seen.assignment_version
        )

    return reassign


async def _drivers(request: Call, form: BoardForm) -> list[BulkResult]:
    node, me = node_of(request), request.user.actor
    selected = _selected(form, parse_seen_driver)
    availability, reason, minutes = wanted_availability(form)
    names = await read_names(node.database.pool, [seen.driver_id for seen in selected])

    def command(seen: SeenDriver) -> c.Command:
        return c.SetAvailability(seen.driver_id, availability, reason, me, minutes, seen.changed_at)

    async def one(seen: SeenDriver) -> BulkResult:
        answer = await carry_out_for(node.database.pool, node.executor, seen, command, me)
        state = w.lower_first(said(w.words(w.STATES, availability)))
        return _line(
            seen.driver_id,
            names.get(seen.driver_id) or said("This driver"),
            answer,
            said("set to {state}", state=state),
            "",
        )

    return await _gathered(one, selected)


async def _gathered(one: Callable[[T], Awaitable[BulkResult]], selected: list[T]) -> list[BulkResult]:
    """All of them, some at a time: their commands share batches, and pages still get their connections."""
    width = asyncio.Semaphore(AT_ONCE)

    async def in_turn(seen: T) -> BulkResult:
        async with width:
            return await one(seen)

    return list(await asyncio.gather(*(in_turn(seen) for seen in selected)))


def _line(known: str, name: str, answer: Answer | Refusal | Overtaken, done: str, repeated: str) -> BulkResult:
    if isinstance(answer, Overtaken):
        return BulkResult(known, name, said("not changed: {why}", why=answer.what), False)
    if isinstance(answer, Refusal):
        if answer.code == r.VERSION_CHANGED.code:
            return BulkResult(known, name, said("not changed: it changed after you opened the form"), False)
        why = w.lower_first(in_plain_words(answer).rstrip("."))
        return BulkResult(known, name, said("not changed: {why}", why=why), False)
    if answer.decided.repeated and repeated:
        return BulkResult(known, name, repeated, True)
    return BulkResult(known, name, done, True)
