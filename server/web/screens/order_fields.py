"""The fields of an order's form: from an order to the form, and from the form to a request of the API."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec

from server.board.formats import in_zone
from server.dispatch.model import Delivery, Place, ProofKind
from server.dispatch.money import EXPONENTS
from server.settings import time_zone_of
from server.texts.speech import later, said
from server.web.api import schemas as s
from server.web.api.positions import position_in
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.forms import Form, FormInvalid
from server.web.screens.form_words import Reading
from server.web.screens.past_times import instant_in

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
PARTS: Final = ("address", "name", "phone", "notes")
"""Texts of a place."""
FIELDS: Final = ("price_cents", "driver_pay_cents", "tip_cents")
"""MONEY in a delivery."""
Filled = dict[str, str]
"""What is written in the form, by field."""


def local_now(request: Call) -> datetime:
    node = node_of(request)
    return node.clock.now().astimezone(time_zone_of(node.settings.time_zone))


# From an order to the form


def filled_of(request: Call, delivery: Delivery) -> Filled:
    pickup, dropoff = delivery.pickup, delivery.dropoff
    return {
        "sellerOrderId": delivery.seller_order_id,
        "storeName": delivery.store_name,
        "pickup.address": pickup.address or "",
        "pickup.at": position_text(pickup),
        "pickup.name": pickup.name or "",
        "pickup.phone": pickup.phone or "",
        "pickup.notes": pickup.notes or "",
        "dropoff.phone": dropoff.phone or "",
        "dropoff.name": dropoff.name or "",
        "dropoff.address": dropoff.address or "",
        "dropoff.at": position_text(dropoff),
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


def copied_of(request: Call, delivery: Delivery) -> Filled:
    """The form of a copy: with the times of an order that is for later. Another's promise may be only an estimate."""
    now = node_of(request).clock.now()
    filled = filled_of(request, delivery) | dict.fromkeys(TIMES, "")
    for name, at in zip(TIMES, (delivery.dispatch_at, delivery.promised_at), strict=True):
        if at is not None and at > now and delivery.dispatch_at > now:
            filled[name] = _local(request, at)
    return filled


def _money(cents: int | None, currency: str) -> str:
    return "" if cents is None else str(Decimal(cents).scaleb(-EXPONENTS.get(currency, 2)))


def position_text(place: Place) -> str:
    """As it is stored: a rounded position would be another place."""
    return ", ".join(f"{Decimal(str(degrees)):f}" for degrees in (place.lat, place.lon))


# From the form to a request of the API


def sent_in(form: Form) -> Filled:
    filled = {name: form.text(name).replace("\r\n", "\n") for name in (*TEXTS, CURRENCY)}
    return filled | {"proofRequired": ",".join(one for one in PROOFS if one in form.all("proofRequired"))}


def was_in(form: Form) -> Filled:
    """What the form showed when it was opened. Raises FormInvalid."""
    try:
        was = msgspec.json.decode(form.last("was"), type=dict[str, str])
    except (ValueError, msgspec.MsgspecError):
        was = {}
    if was.keys() != {*TEXTS, CURRENCY}:
        raise FormInvalid(said("The form data is invalid."))
    return was


def order_in(request: Call, filled: Filled) -> Reading:
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


def changes_of(request: Call, reading: Reading, changed: Sequence[str]) -> dict[str, object]:
    """What a form changes, null for what is now empty; a place changes as a whole."""
    changes = {name: reading.given.get(name) for name in {name.partition(".")[0] for name in changed}}
    if "dispatchAt" in changes and changes["dispatchAt"] is None and "dispatchAt" not in reading.wrong:
        changes["dispatchAt"] = local_now(request).isoformat()
    return changes


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
