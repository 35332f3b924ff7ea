"""The form of an order: a new one, a copy, and the changes of one. It remembers stores, and customers by their phone.

Its fields have the contract's names. It works without a script; with one, a click on the map sets a position.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.board.formats import clock
from server.dispatch.model import Delivery, Place
from server.ids import canonical, new_id
from server.settings import time_zone_of
from server.store.query import database_errors
from server.store.reads.deliveries import read_delivery, read_stores, read_timeline
from server.store.zones import zone_choices
from server.texts.speech import later, said
from server.web.access.guards import OPS
from server.web.access.sessions import FORM
from server.web.api import schemas as s
from server.web.api.deliveries import patch_delivery, post_delivery
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import Problem, existing
from server.web.http.forms import Form, read_form
from server.web.screens.form_words import NOTHING_WRONG, changed_meanwhile, problem_text, wrong_in
from server.web.screens.map_start import map_start
from server.web.screens.order_fields import (
    CURRENCY,
    FIXED,
    PROOFS,
    TEXTS,
    TIMES,
    TOGETHER,
    UNITS,
    Filled,
    changes_of,
    copied_of,
    filled_of,
    local_now,
    order_in,
    position_text,
    sent_in,
    was_in,
)
from server.web.screens.order_places import add_positions, located_as, places_in_doubt
from server.web.screens.past_times import PAST, confirmation, past_times
from server.web.screens.shell import flash, page, see_other
from server.web.screens.unmoved_places import RIGHT, Located, is_confirmed, located_in

EVENTS_READ: Final = 500
STORES_REMEMBERED: Final = 200
ATTEMPTS: Final = 3
CODES: Final = {
    "delivery_differs": later("There is another order with this number."),
    "already_picked_up": later("The goods are picked up, so the store cannot change."),
    "delivery_over": later("The order is finished, so it cannot change."),
    "version_changed": later("The order has just changed. Save again."),
}


@get("/orders/new", guards=[OPS])
async def new_order(request: Call) -> ASGIResponse:
    """An empty form; with `?copy=`, that of an order, under another number and without the times that are past."""
    copied = canonical(request.query_params.get("copy", ""))
    filled = dict.fromkeys((*TEXTS, CURRENCY), "")
    filled[CURRENCY] = node_of(request).policies.current.currency
    if copied is not None:
        filled = copied_of(request, await _found(request, copied))
    filled["sellerOrderId"] = f"{local_now(request):%m%d}-{new_id()[-5:].upper()}"
    return await _form(request, filled, before=located_as(filled))


@post("/orders/new", guards=[OPS], status_code=200, opt={FORM: True})
async def create(request: Call) -> ASGIResponse:
    """Create the order. Sent twice, it is one order: the number is in the form. Times in the past are asked about, and
    a position that the form filled in for another address.
    """
    form = await read_form(request, Form)
    filled = sent_in(form)
    before = located_in(form)
    ticked = form.all(RIGHT)
    try:
        reading = order_in(request, filled)
        await add_positions(request, reading)
        new = reading.checked(s.NewDelivery, TEXTS, UNITS)
        past = past_times(request, filled, TIMES)
        unmoved = places_in_doubt(request, filled, before)
        if (past and form.text(PAST) != confirmation(past)) or not is_confirmed(unmoved, ticked):
            return await _form(request, filled, 409, past=past, unmoved=unmoved, ticked=ticked, before=before)
        done = await post_delivery(request, new)
    except Problem as problem:
        return await _refused(request, problem, filled, before=before, ticked=ticked)
    assert done.delivery is not None
    text = said("Order {order} is created.", order=done.delivery.seller_order_id)
    return see_other(f"/board/deliveries/{done.delivery.id}", flash(request, "good", text))


@get("/orders/{delivery_id:str}/edit", guards=[OPS])
async def edit(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    delivery = await _found(request, id_in_path(delivery_id))
    filled = filled_of(request, delivery)
    return await _form(request, filled, delivery=delivery, was=filled)


@post("/orders/{delivery_id:str}/edit", guards=[OPS], status_code=200, opt={FORM: True})
async def change(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Save the fields that the person changed. If somebody else has changed one of them since the form was opened, the
    form shows both, and the next *Save* decides. An address that changed without its position is asked about.
    """
    form = await read_form(request, Form)
    ticked = form.all(RIGHT)
    known = id_in_path(delivery_id)
    was = was_in(form)
    sent = sent_in(form) | {name: was[name] for name in FIXED}
    delivery = await _found(request, known)
    try:
        for attempt in range(ATTEMPTS):
            # A search gives a waiting order a new version at any time, so what the person saw is compared, not it.
            now = filled_of(request, delivery)
            merged = {name: text if text != was[name] else now[name] for name, text in sent.items()}
            theirs = changed_meanwhile(sent, was, now, TOGETHER)
            if theirs:
                who = await _who_changed(request, known)
                return await _form(request, merged, 409, delivery=delivery, was=now, theirs=theirs, who=who)
            changed = [name for name in TEXTS if merged[name] != now[name]]
            reading = order_in(request, merged)
            reading.given = {"version": delivery.version} | changes_of(request, reading, changed)
            try:
                await add_positions(request, reading)
                new = reading.checked(s.ChangedDelivery, TEXTS, UNITS)
                past = past_times(request, merged, [name for name in TIMES if name in changed])
                unmoved = places_in_doubt(request, merged, located_as(now))
                if (past and form.text(PAST) != confirmation(past)) or not is_confirmed(unmoved, ticked):
                    return await _form(
                        request, merged, 409, delivery=delivery, was=now, past=past, unmoved=unmoved, ticked=ticked
                    )
                await patch_delivery(request, known, new)
                break
            except Problem as problem:
                if problem.kind.code != "version_changed" or attempt == ATTEMPTS - 1:
                    raise
            delivery = await _found(request, known)
    except Problem as problem:
        return await _refused(request, problem, sent, delivery, was, before=located_as(was), ticked=ticked)
    text = said("Order {order} is changed.", order=delivery.seller_order_id)
    others = [said(label) for name, label in TEXTS.items() if now[name] != was[name] != merged[name]]
    if others:
        text += " " + said("Somebody else has changed it too: {fields}.", fields=", ".join(others))
    return see_other(f"/board/deliveries/{known}", flash(request, "good", text))


async def _who_changed(request: Call, delivery_id: str) -> str:
    """Who changed the order last, and when, in a sentence."""
    node = node_of(request)
    events = await read_timeline(node.database.pool, delivery_id, 0, EVENTS_READ) or []
    for event in reversed(events):
        if event.type == "delivery.changed":
            at = clock(event.at, time_zone_of(node.settings.time_zone))
            if event.actor == request.user.actor:
                return said("Not saved: you changed this order at {time}, in another tab.", time=at)
            return said(
                "Not saved: {person} changed this order at {time}.",
                person=event.actor.id or event.actor.type,
                time=at,
            )
    return said("Not saved: somebody changed this order.")


async def _found(request: Call, delivery_id: str) -> Delivery:
    return existing(await read_delivery(pool_of(request), delivery_id))


async def _refused(
    request: Call,
    problem: Problem,
    filled: Filled,
    delivery: Delivery | None = None,
    was: Filled | None = None,
    *,
    before: Located,
    ticked: Sequence[str],
) -> ASGIResponse:
    """The form again, with what is wrong. Raises what is not about the form."""
    if problem.kind.status not in (409, 422):
        raise problem
    wrong = wrong_in(problem, UNITS)
    text = None if wrong.keys() <= TEXTS.keys() and wrong else problem_text(problem, TEXTS, CODES, UNITS)
    return await _form(
        request,
        filled,
        problem.kind.status,
        problem=text,
        wrong=wrong,
        delivery=delivery,
        was=was,
        before=before,
        unmoved=places_in_doubt(request, filled, before) if ticked else NOTHING_WRONG,
        ticked=ticked,
    )


async def _form(
    request: Call,
    filled: Filled,
    status: int = 200,
    *,
    problem: str | None = None,
    wrong: Mapping[str, str] = NOTHING_WRONG,
    past: Mapping[str, str] = NOTHING_WRONG,
    theirs: Mapping[str, str] = NOTHING_WRONG,
    who: str = "",
    delivery: Delivery | None = None,
    was: Filled | None = None,
    before: Located | None = None,
    unmoved: Mapping[str, str] = NOTHING_WRONG,
    ticked: Sequence[str] = (),
) -> ASGIResponse:
    """`wrong` and `past` are by field. `theirs` is what somebody else wrote meanwhile into fields of this form.
    `unmoved` are the places that are asked about, `before` is what the form filled in for them.
    """
    node = node_of(request)
    with database_errors():
        stores = await read_stores(node.database.pool, STORES_REMEMBERED)
    return await page(
        request,
        "order_form.html",
        status,
        nav="orders",
        filled=filled,
        labels=TEXTS,
        proofs=PROOFS,
        problem=problem,
        wrong=wrong,
        past=past,
        confirmation=confirmation(past),
        theirs=theirs,
        who=who,
        d=delivery,
        was=msgspec.json.encode(was).decode() if was is not None else None,
        before={place: msgspec.json.encode(pair).decode() for place, pair in (before or {}).items()},
        unmoved=unmoved,
        ticked=ticked,
        stores=[
            (store.name, store.address or "", store.phone or "", position_text(Place(store.lat, store.lon)))
            for store in stores
        ],
        zones=await zone_choices(node.database.pool),
        near=await map_start(request),
        tiles=node.settings.map_tiles,
        attribution=node.settings.map_attribution,
        geocodes=node.geocoder is not None,
    )
