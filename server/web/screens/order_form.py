"""The form of an order: a new one, a copy, and the changes of one. It remembers stores, and customers by their phone.

Its fields have the contract's names. It works without a script; with one, a click on the map sets a position.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec
from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import Struct

from server.board.formats import in_zone
from server.contract.personal import phone_digits
from server.dispatch.model import Delivery, Place, ProofKind
from server.dispatch.money import EXPONENTS
from server.geocoder.search import FoundPlace
from server.ids import canonical, new_id
from server.settings import time_zone_of
from server.store.query import database_errors
from server.store.reads.deliveries import read_delivery, read_stores
from server.store.reads.delivery_search import DeliveryFilter, find_deliveries
from server.store.zones import zone_choices
from server.texts.speech import later, said
from server.web.access.guards import OPS
from server.web.access.sessions import FORM
from server.web.api import schemas as s
from server.web.api.deliveries import patch_delivery, post_delivery
from server.web.api.endpoint import answer, id_in_path
from server.web.api.geocoding import LONGEST_ADDRESS, located, places_of
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import Problem, existing, not_found
from server.web.http.forms import Form, FormInvalid, read_form
from server.web.screens.form_words import mistake, problem_text, to_struct
from server.web.screens.shell import flash, page, see_other

TEXTS: Final = {
    "sellerOrderId": later("Number"),
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
    "zone": later("Zone"),
    "dispatchAt": later("Search starts"),
    "prepSeconds": later("Preparation, minutes"),
    "promisedAt": later("Promised at"),
    "priceCents": later("Price"),
    "driverPayCents": later("Driver’s pay"),
    "tipCents": later("Tip"),
    "notes": later("Note for the driver"),
    "requirements": later("Required tags"),
    "proofRequired": later("Proof"),
}
"""The fields and their labels."""
FIXED: Final = ("sellerOrderId", "zone", "currency")
"""What cannot change."""
CURRENCY: Final = "currency"
MONEY: Final = ("priceCents", "driverPayCents", "tipCents")
PROOFS: Final[dict[ProofKind, str]] = {
    "photo": later("Photo"),
    "signature": later("Signature"),
    "pin": later("PIN of the customer"),
}
UNITS: Final = {"prepSeconds": 60}
"""The form has minutes."""
STORES_REMEMBERED: Final = 200
FEWEST_DIGITS: Final = 5
FEWEST_LETTERS: Final = 4
"""Of an address that is searched while a person types it."""
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
    """An empty form; with `?copy=`, that of an order, under another number."""
    copied = canonical(request.query_params.get("copy", ""))
    filled = dict.fromkeys((*TEXTS, CURRENCY), "")
    filled[CURRENCY] = node_of(request).policies.current.currency
    if copied is not None:
        filled = _filled(request, await _found(request, copied))
        filled |= dict.fromkeys(("dispatchAt", "promisedAt"), "")
    filled["sellerOrderId"] = f"{_now(request):%m%d}-{new_id()[-5:].upper()}"
    return await _form(request, filled)


@post("/orders/new", guards=[OPS], status_code=200, opt={FORM: True})
async def create(request: Call) -> ASGIResponse:
    """Create the order. Sent twice, it is one order: the number is in the form."""
    form = await read_form(request, Form)
    filled = _sent(form)
    try:
        new = to_struct(s.NewDelivery, await located(request, _given(request, filled)))
        done = await post_delivery(request, new)
    except Problem as problem:
        return await _refused(request, problem, filled)
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
    """Save what the person changed, unless somebody changed the same order since the form was opened."""
    form = await read_form(request, Form)
    known = id_in_path(delivery_id)
    was = _was(form)
    sent = _sent(form) | {name: was[name] for name in FIXED}
    delivery = await _found(request, known)
    try:
        for attempt in range(ATTEMPTS):
            changes = _changes(request, sent, was)
            # A search gives a waiting order a new version at any time, so what the person saw is compared, not it.
            seen, now = (_parts(filled, changes) for filled in (was, _filled(request, delivery)))
            if seen != now:
                raise FormInvalid(said("Somebody changed this order meanwhile. Open the form again."))
            try:
                given = await located(request, {"version": delivery.version, **changes})
                await patch_delivery(request, known, to_struct(s.ChangedDelivery, given))
                break
            except Problem as problem:
                if problem.kind.code != "version_changed" or attempt == ATTEMPTS - 1:
                    raise
            delivery = await _found(request, known)
    except Problem as problem:
        return await _refused(request, problem, sent, delivery, was)
    text = said("Order {order} is changed.", order=delivery.seller_order_id)
    return see_other(f"/board/deliveries/{known}", flash(request, "good", text))


@get("/orders/customer", guards=[OPS])
async def customer(request: Call) -> ASGIResponse:
    """The customer of the newest order with this phone: `?phone=`. 404 if there is none, or if it is erased."""
    digits = phone_digits(request.query_params.get("phone", "")[:40])
    if len(digits) >= FEWEST_DIGITS:
        wanted = DeliveryFilter(words=digits[-END_DIGITS:], by_drivers_name=False)
        for delivery in await find_deliveries(pool_of(request), wanted, None, 20):
            place = delivery.dropoff
            if place.phone is not None and phone_digits(place.phone) == digits:
                return answer(KnownCustomer(place.name, place.address, place.notes, _at(place)))
    raise not_found()


@get("/orders/places", guards=[OPS])
async def places(request: Call) -> ASGIResponse:
    """What an address may mean, while a person types it: `?q=`. Empty without a geocoder."""
    text = request.query_params.get("q", "").replace("\x00", "").strip()[:LONGEST_ADDRESS]
    return answer(await places_of(request, text) if len(text) >= FEWEST_LETTERS else [])


def _now(request: Call) -> datetime:
    node = node_of(request)
    return node.clock.now().astimezone(time_zone_of(node.settings.time_zone))


async def _found(request: Call, delivery_id: str) -> Delivery:
    return existing(await read_delivery(pool_of(request), delivery_id))


# From an order to the form


def _filled(request: Call, delivery: Delivery) -> Filled:
    zone = time_zone_of(node_of(request).settings.time_zone)
    pickup, dropoff = delivery.pickup, delivery.dropoff

    def local(at: datetime | None) -> str:
        return in_zone(at, zone).strftime("%Y-%m-%dT%H:%M") if at is not None else ""

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
        "dispatchAt": local(delivery.dispatch_at) if delivery.status == "SCHEDULED" else "",
        "prepSeconds": str(delivery.prep_seconds // 60) if delivery.prep_seconds else "",
        "promisedAt": local(delivery.promised_at),
        **{
            name: _money(getattr(delivery, field), delivery.currency) for name, field in zip(MONEY, FIELDS, strict=True)
        },
        CURRENCY: delivery.currency,
        "notes": delivery.notes or "",
        "requirements": ", ".join(delivery.requirements),
        "proofRequired": ",".join(delivery.details.proof_required),
    }


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


def _given(request: Call, filled: Filled) -> dict[str, object]:
    """What is filled in, as the API takes it. Raises FormInvalid."""
    texts = ("sellerOrderId", "storeName", "zone", "notes")
    given: dict[str, object] = {name: filled[name] for name in texts if filled[name]}
    for place in ("pickup", "dropoff"):
        given[place] = _place(request, place, filled)
    for name in ("dispatchAt", "promisedAt"):
        if filled[name]:
            given[name] = _instant(request, name, filled[name])
    if filled["prepSeconds"]:
        given["prepSeconds"] = _minutes(filled["prepSeconds"]) * 60
    for name in MONEY:
        if filled[name]:
            given[name] = _cents(name, filled[name], filled[CURRENCY])
    if any(name in given for name in MONEY):
        given[CURRENCY] = filled[CURRENCY]
    for name in ("requirements", "proofRequired"):
        if filled[name]:
            given[name] = [one.strip() for one in filled[name].split(",") if one.strip()]
    return given


def _changes(request: Call, sent: Filled, was: Filled) -> dict[str, object]:
    """What differs from what the form showed; null for what is now empty. Raises FormInvalid."""
    given = _given(request, sent)
    names = {name.partition(".")[0] for name in TEXTS if sent[name] != was[name]}
    changes = {name: given.get(name) for name in names}
    if "dispatchAt" in changes and changes["dispatchAt"] is None:
        changes["dispatchAt"] = _now(request).isoformat()
    return changes


def _parts(filled: Filled, changes: Mapping[str, object]) -> Filled:
    """What of a form is changed; a place changes as a whole."""
    return {name: text for name, text in filled.items() if name.partition(".")[0] in changes}


def _place(request: Call, which: str, filled: Filled) -> dict[str, object]:
    """A place; without a position if a geocoder can find it. Raises FormInvalid."""
    name = f"{which}.at"
    position: dict[str, object] = {}
    if filled[name] or not filled[f"{which}.address"] or node_of(request).geocoder is None:
        position = _position(name, filled)
    texts = {part: filled[f"{which}.{part}"] for part in PARTS if filled.get(f"{which}.{part}")}
    return {**position, **texts}


PARTS: Final = ("address", "name", "phone", "notes")


def _position(name: str, filled: Filled) -> dict[str, object]:
    parts = filled[name].replace(";", ",").split(",")
    try:
        lat, lon = (float(part) for part in parts)
    except ValueError:
        raise _wrong(name, said("Click on the map, or write latitude and longitude like 59.437, 24.754.")) from None
    return {"lat": lat, "lon": lon}


def _instant(request: Call, name: str, text: str) -> str:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _wrong(name, said("Write the time like 2026-02-01T18:30.")) from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=time_zone_of(node_of(request).settings.time_zone))
    return at.isoformat()


def _minutes(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise _wrong("prepSeconds", said("Write a whole number of minutes."))
    return int(text)


def _cents(name: str, text: str, currency: str) -> int:
    try:
        amount = Decimal(text.replace(",", ".")).scaleb(EXPONENTS.get(currency, 2))
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount != amount.to_integral_value() or not 0 <= amount <= s.INT4:
        raise _wrong(name, said("Write an amount in {currency}, like 12.50.", currency=currency))
    return int(amount)


def _wrong(name: str, text: str) -> FormInvalid:
    return mistake(TEXTS, name, text)


# The screen


async def _refused(
    request: Call, problem: Problem, filled: Filled, delivery: Delivery | None = None, was: Filled | None = None
) -> ASGIResponse:
    """The form again, with what is wrong. Raises what is not about the form."""
    if problem.kind.status not in (409, 422):
        raise problem
    text = problem_text(problem, TEXTS, CODES, UNITS)
    found: list[FoundPlace] = problem.more.get("candidates", [])
    if found:
        text += ": " + " · ".join(one.address for one in found)
    return await _form(request, filled, problem.kind.status, problem=text, delivery=delivery, was=was)


async def _form(
    request: Call,
    filled: Filled,
    status: int = 200,
    *,
    problem: str | None = None,
    delivery: Delivery | None = None,
    was: Filled | None = None,
) -> ASGIResponse:
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
        d=delivery,
        was=msgspec.json.encode(was).decode() if was is not None else None,
        stores=[
            (store.name, store.address or "", store.phone or "", _at(Place(store.lat, store.lon))) for store in stores
        ],
        zones=await zone_choices(node.database.pool),
        tiles=node.settings.map_tiles,
        attribution=node.settings.map_attribution,
        geocodes=node.geocoder is not None,
    )
