"""The form of an order: a new one, a copy, and the changes of one. It remembers stores, and customers by their phone.

Its fields have the contract's names. It works without a script; with one, a click on the map sets a position.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec
from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import Struct

from server.board.formats import clock, in_zone
from server.contract.personal import phone_digits
from server.contract.phones import is_same_number
from server.dispatch.model import Delivery, Place, ProofKind
from server.dispatch.money import EXPONENTS
from server.geocoder.search import FoundPlace
from server.ids import canonical, new_id
from server.settings import time_zone_of
from server.store.query import database_errors
from server.store.reads.deliveries import read_delivery, read_stores, read_timeline
from server.store.reads.delivery_search import DeliveryFilter, find_deliveries
from server.store.zones import zone_choices
from server.texts.speech import later, said
from server.web.access.guards import OPS
from server.web.access.sessions import FORM
from server.web.api import schemas as s
from server.web.api.deliveries import patch_delivery, post_delivery
from server.web.api.endpoint import answer, id_in_path
from server.web.api.geocoding import LONGEST_ADDRESS, PLACES, located, places_of
from server.web.api.positions import position_in
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import Problem, existing, not_found
from server.web.http.forms import Form, FormInvalid, read_form
from server.web.screens.form_words import NOTHING_WRONG, Reading, changed_meanwhile, problem_text, wrong_in
from server.web.screens.map_start import map_start
from server.web.screens.past_times import PAST, confirmation, instant_in, past_times
from server.web.screens.shell import flash, page, see_other
from server.web.screens.unmoved_places import RIGHT, Located, is_confirmed, located_in, unmoved_places

TEXTS: Final = {
    "storeName": later("Store"),
    "pickup.address": later("Address of the store"),
    "pickup.at": later("Position of the store"),
    "pickup.name": later("Contact at the store"),
    "pickup.phone": later("Phone of the store"),
    "pickup.notes": later("Note about the pickup"),
    "dropoff.phone": later("Phone of the customer"),
    "dropoff.name": later("Name of the customer"),
    "dropoff.address": later("Address of the customer"),
    "dropoff.at": later("Position of the customer"),
    "dropoff.notes": later("Note about the address"),
    "sellerOrderId": later("Number"),
    "zone": later("Zone"),
    "dispatchAt": later("Search starts"),
    "promisedAt": later("Promised at"),
    "prepSeconds": later("Preparation, minutes"),
    "requirements": later("Required tags"),
    "priceCents": later("Price"),
    "driverPayCents": later("Driver’s pay"),
    "tipCents": later("Tip"),
    "proofRequired": later("Proof"),
    "notes": later("Note for the driver"),
}
"""The fields and their labels, in the order of the form."""
FIXED: Final = ("sellerOrderId", "zone", "currency")
"""What cannot change."""
CURRENCY: Final = "currency"
TIMES: Final = ("dispatchAt", "promisedAt")
MONEY: Final = ("priceCents", "driverPayCents", "tipCents")
PROOFS: Final[dict[ProofKind, str]] = {
    "photo": later("Photo"),
    "signature": later("Signature"),
    "pin": later("PIN of the customer"),
}
UNITS: Final = {"prepSeconds": 60}
"""The form has minutes."""
TOGETHER: Final = (("pickup.address", "pickup.at"), ("dropoff.address", "dropoff.at"))
"""Fields that two people must not change separately."""
EVENTS_READ: Final = 500
STORES_REMEMBERED: Final = 200
FEWEST_DIGITS: Final = 5
FEWEST_LETTERS: Final = 4
"""Of an address that is searched while a person types it."""
LONGEST_LINK: Final = 2000
END_DIGITS: Final = 7
"""The end of a phone is the same in all its forms, such as +49 151 and +49 (0)151."""
ATTEMPTS: Final = 3
CODES: Final = {
    "delivery_differs": later("There is another order with this number."),
    "already_picked_up": later("The goods are picked up, so the store cannot change."),
    "delivery_over": later("The order is finished, so it cannot change."),
    "version_changed": later("The order has just changed. Save again."),
}

Filled = dict[str, str]


class KnownCustomer(Struct, frozen=True):
    """What the form knows about a customer. `at` is their position."""

    name: str | None
    address: str | None
    notes: str | None
    at: str


@get("/orders/new", guards=[OPS])
async def new_order(request: Call) -> ASGIResponse:
    """An empty form; with `?copy=`, that of an order, under another number and without the times that are past."""
    copied = canonical(request.query_params.get("copy", ""))
    filled = dict.fromkeys((*TEXTS, CURRENCY), "")
    filled[CURRENCY] = node_of(request).policies.current.currency
    if copied is not None:
        filled = _copied(request, await _found(request, copied))
    filled["sellerOrderId"] = f"{_now(request):%m%d}-{new_id()[-5:].upper()}"
    return await _form(request, filled, before=_located_as(filled))


@post("/orders/new", guards=[OPS], status_code=200, opt={FORM: True})
async def create(request: Call) -> ASGIResponse:
    """Create the order. Sent twice, it is one order: the number is in the form. Times in the past are asked about, and
    a position that the form filled in for another address.
    """
    form = await read_form(request, Form)
    filled = _sent(form)
    before = located_in(form)
    ticked = form.all(RIGHT)
    try:
        reading = _read(request, filled)
        await _locate(request, reading)
        new = reading.checked(s.NewDelivery, TEXTS, UNITS)
        past = past_times(request, filled, TIMES)
        unmoved = _unmoved(request, filled, before)
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
    filled = _filled(request, delivery)
    return await _form(request, filled, delivery=delivery, was=filled)


@post("/orders/{delivery_id:str}/edit", guards=[OPS], status_code=200, opt={FORM: True})
async def change(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Save the fields that the person changed. If somebody else has changed one of them since the form was opened, the
    form shows both, and the next *Save* decides. An address that changed without its position is asked about.
    """
    form = await read_form(request, Form)
    ticked = form.all(RIGHT)
    known = id_in_path(delivery_id)
    was = _was(form)
    sent = _sent(form) | {name: was[name] for name in FIXED}
    delivery = await _found(request, known)
    try:
        for attempt in range(ATTEMPTS):
            # A search gives a waiting order a new version at any time, so what the person saw is compared, not it.
            now = _filled(request, delivery)
            merged = {name: text if text != was[name] else now[name] for name, text in sent.items()}
            theirs = changed_meanwhile(sent, was, now, TOGETHER)
            if theirs:
                who = await _who_changed(request, known)
                return await _form(request, merged, 409, delivery=delivery, was=now, theirs=theirs, who=who)
            changed = [name for name in TEXTS if merged[name] != now[name]]
            reading = _read(request, merged)
            reading.given = {"version": delivery.version} | _changes(request, reading, changed)
            try:
                await _locate(request, reading)
                new = reading.checked(s.ChangedDelivery, TEXTS, UNITS)
                past = past_times(request, merged, [name for name in TIMES if name in changed])
                unmoved = _unmoved(request, merged, _located_as(now))
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
        return await _refused(request, problem, sent, delivery, was, before=_located_as(was), ticked=ticked)
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


@get("/orders/customer", guards=[OPS])
async def customer(request: Call) -> ASGIResponse:
    """The customer of the newest order with this phone: `?phone=`. 404 if there is none, or if it is erased."""
    phone = request.query_params.get("phone", "")[:40]
    digits = phone_digits(phone)
    if len(digits) >= FEWEST_DIGITS:
        wanted = DeliveryFilter(words=digits[-END_DIGITS:], with_drivers=False)
        for delivery in await find_deliveries(pool_of(request), wanted, None, 20):
            place = delivery.dropoff
            if place.phone is not None and is_same_number(place.phone, phone):
                return answer(KnownCustomer(place.name, place.address, place.notes, _at(place)))
    raise not_found()


@get("/orders/places", guards=[OPS])
async def places(request: Call) -> ASGIResponse:
    """What an address may mean, while a person types it: `?q=`. Empty without a geocoder, except for a position."""
    text = request.query_params.get("q", "").replace("\x00", "").strip()
    position = position_in(text[:LONGEST_LINK])
    if position is not None:
        lat, lon = position
        return answer([FoundPlace(_at(Place(lat, lon)), lat, lon)])
    text = text[:LONGEST_ADDRESS]
    return answer(await places_of(request, text) if len(text) >= FEWEST_LETTERS else [])


def _now(request: Call) -> datetime:
    node = node_of(request)
    return node.clock.now().astimezone(time_zone_of(node.settings.time_zone))


async def _found(request: Call, delivery_id: str) -> Delivery:
    return existing(await read_delivery(pool_of(request), delivery_id))


# From an order to the form


def _filled(request: Call, delivery: Delivery) -> Filled:
    pickup, dropoff = delivery.pickup, delivery.dropoff
    return {
        "sellerOrderId": delivery.seller_order_id,
        "storeName": delivery.store_name,
        "pickup.address": pickup.address or "",
        "pickup.at": _at(pickup),
        "pickup.name": pickup.name or "",
        "pickup.phone": pickup.phone or "",
        "pickup.notes": pickup.notes or "",
        "dropoff.phone": dropoff.phone or "",
        "dropoff.name": dropoff.name or "",
        "dropoff.address": dropoff.address or "",
        "dropoff.at": _at(dropoff),
        "dropoff.notes": dropoff.notes or "",
        "zone": delivery.zone,
        "dispatchAt": _local(request, delivery.dispatch_at) if delivery.status == "SCHEDULED" else "",
        "prepSeconds": str(delivery.prep_seconds // 60) if delivery.prep_seconds else "",
        "promisedAt": _local(request, delivery.promised_at) if delivery.promised_at is not None else "",
        **{
            name: _money(getattr(delivery, field), delivery.currency) for name, field in zip(MONEY, FIELDS, strict=True)
        },
        CURRENCY: delivery.currency,
        "notes": delivery.notes or "",
        "requirements": ", ".join(delivery.requirements),
        "proofRequired": ",".join(delivery.details.proof_required),
    }


def _local(request: Call, at: datetime) -> str:
    return in_zone(at, time_zone_of(node_of(request).settings.time_zone)).strftime("%Y-%m-%dT%H:%M")


def _copied(request: Call, delivery: Delivery) -> Filled:
    """The form of a copy: with the times of an order that is for later. Another's promise may be only an estimate."""
    now = node_of(request).clock.now()
    filled = _filled(request, delivery) | dict.fromkeys(TIMES, "")
    for name, at in zip(TIMES, (delivery.dispatch_at, delivery.promised_at), strict=True):
        if at is not None and at > now and delivery.dispatch_at > now:
            filled[name] = _local(request, at)
    return filled


FIELDS: Final = ("price_cents", "driver_pay_cents", "tip_cents")


def _at(place: Place) -> str:
    """As it is stored: a rounded position would be another place."""
    return ", ".join(f"{Decimal(str(degrees)):f}" for degrees in (place.lat, place.lon))


def _money(cents: int | None, currency: str) -> str:
    return "" if cents is None else str(Decimal(cents).scaleb(-EXPONENTS.get(currency, 2)))


# From the form to a request of the API


def _sent(form: Form) -> Filled:
    filled = {name: form.text(name).replace("\r\n", "\n") for name in (*TEXTS, CURRENCY)}
    return filled | {"proofRequired": ",".join(one for one in PROOFS if one in form.all("proofRequired"))}


def _was(form: Form) -> Filled:
    """What the form showed when it was opened. Raises FormInvalid."""
    try:
        was = msgspec.json.decode(form.last("was"), type=dict[str, str])
    except (ValueError, msgspec.MsgspecError):
        was = {}
    if was.keys() != {*TEXTS, CURRENCY}:
        raise FormInvalid(said("The form data is invalid."))
    return was


def _read(request: Call, filled: Filled) -> Reading:
    """What is filled in, as the API takes it, with what is wrong."""
    reading = Reading()
    for name in ("sellerOrderId", "storeName", "zone", "notes"):
        if filled[name]:
            reading.given[name] = filled[name]
    for place in ("pickup", "dropoff"):
        texts = {part: filled[f"{place}.{part}"] for part in PARTS if filled.get(f"{place}.{part}")}
        reading.given[place] = texts
        name = f"{place}.at"
        # With a geocoder, an address is enough.
        if filled[name] or "address" not in texts or node_of(request).geocoder is None:
            reading.read(name, partial(_placed, texts, filled[name]), place)
    for name in TIMES:
        if filled[name]:
            reading.read(name, partial(instant_in, request, filled[name]))
    if filled["prepSeconds"]:
        reading.read("prepSeconds", partial(_seconds, filled["prepSeconds"]))
    for name in MONEY:
        if filled[name]:
            reading.read(name, partial(_cents, filled[name], filled[CURRENCY]))
    if any(filled[name] for name in MONEY):
        reading.given[CURRENCY] = filled[CURRENCY]
    for name in ("requirements", "proofRequired"):
        if filled[name]:
            reading.given[name] = [one.strip() for one in filled[name].split(",") if one.strip()]
    return reading


async def _locate(request: Call, reading: Reading) -> None:
    """Add the positions of addresses, or what is wrong with them. Raises 503."""
    for place in PLACES:
        others = {name: value for name, value in reading.given.items() if name == place or name not in PLACES}
        try:
            reading.given |= await located(request, others)
        except Problem as problem:
            reading.add(problem)
            found: list[FoundPlace] = problem.more.get("candidates", [])
            if found:
                reading.wrong[f"{place}.address"] += ": " + " · ".join(one.address for one in found)


def _changes(request: Call, reading: Reading, changed: Sequence[str]) -> dict[str, object]:
    """What a form changes, null for what is now empty; a place changes as a whole."""
    changes = {name: reading.given.get(name) for name in {name.partition(".")[0] for name in changed}}
    if "dispatchAt" in changes and changes["dispatchAt"] is None and "dispatchAt" not in reading.wrong:
        changes["dispatchAt"] = _now(request).isoformat()
    return changes


def _located_as(filled: Filled) -> Located:
    return {place: (filled[f"{place}.address"], filled[f"{place}.at"]) for place in PLACES}


def _unmoved(request: Call, filled: Filled, before: Located) -> dict[str, str]:
    """The places whose address changed without their position. A geocoder finds the new one, so it asks nothing."""
    return unmoved_places(before, _located_as(filled)) if node_of(request).geocoder is None else {}


PARTS: Final = ("address", "name", "phone", "notes")


def _placed(texts: Mapping[str, str], text: str) -> dict[str, object]:
    position = position_in(text)
    if position is None:
        raise ValueError(said("Click on the map, or write latitude and longitude like 59.437, 24.754."))
    return {"lat": position[0], "lon": position[1], **texts}


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise ValueError(said("Write a whole number of minutes."))
    return int(text) * 60


def _cents(text: str, currency: str) -> int:
    try:
        amount = Decimal(text.replace(",", ".")).scaleb(EXPONENTS.get(currency, 2))
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount != amount.to_integral_value() or not 0 <= amount <= s.INT4:
        raise ValueError(said("Write an amount in {currency}, like 12.50.", currency=currency))
    return int(amount)


# The screen


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
        unmoved=_unmoved(request, filled, before) if ticked else NOTHING_WRONG,
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
            (store.name, store.address or "", store.phone or "", _at(Place(store.lat, store.lon))) for store in stores
        ],
        zones=await zone_choices(node.database.pool),
        near=await map_start(request),
        tiles=node.settings.map_tiles,
        attribution=node.settings.map_attribution,
        geocodes=node.geocoder is not None,
    )
