"""Whether a repeated order is the same one: compares its meaning, not its text.

Requests are compared in a normal form: wire name -> JSON, without defaults. Most deliveries contain everything of their
original request. If one does not, and before its first change, the request is stored beside it.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from server.dispatch.commands import CreateDelivery
from server.dispatch.instants import instant
from server.dispatch.model import SYSTEM, Delivery, Place
from server.dispatch.names import name_key
from server.dispatch.phones import phone_key
from server.dispatch.zones import DEFAULT_ZONE

Posted = Mapping[str, Any]


def posted(command: CreateDelivery, currency: str) -> Posted:
    """The request of the command in normal form.

    Texts have no surrounding blanks, tags and proofs are sets, instants are in UTC to the millisecond.
    """
    normal: dict[str, Any] = {
        "sellerOrderId": command.seller_order_id.strip(),
        "storeName": command.store_name.strip(),
        "pickup": _place(command.pickup),
        "dropoff": _place(command.dropoff),
        "currency": command.currency or currency,
    }
    if seller_id := command.seller_id.strip():
        normal["sellerId"] = seller_id
    if command.zone is not None and (zone := command.zone.strip()) != DEFAULT_ZONE:
        normal["zone"] = zone
    if command.prep_seconds:
        normal["prepSeconds"] = command.prep_seconds
    if command.dispatch_at is not None:
        normal["dispatchAt"] = instant(command.dispatch_at)
    if command.promised_at is not None:
        normal["promisedAt"] = instant(command.promised_at)
    if command.price_cents is not None:
        normal["priceCents"] = command.price_cents
    if command.driver_pay_cents is not None:
        normal["driverPayCents"] = command.driver_pay_cents
    if command.tip_cents is not None:
        normal["tipCents"] = command.tip_cents
    if command.notes and (notes := command.notes.strip()):
        normal["notes"] = notes
    if command.requirements:
        normal["requirements"] = _set(command.requirements)
    if command.proof_required:
        normal["proofRequired"] = _set(command.proof_required)
    if command.pin is not None:
        normal["pin"] = command.pin
    return normal


def kept(command: CreateDelivery, currency: str, now: datetime, zone: str = DEFAULT_ZONE) -> Posted | None:
    """The request to store beside the delivery created `now` in this zone, or None if `posted_for` can derive it.

    The delivery alone cannot show whether a promise, a PIN, a zone or a dispatch time came from the request.
    """
    hidden = command.promised_at or command.proof_required or command.pin is not None or command.dispatch_at == now
    hidden = hidden or (command.zone is None and zone != DEFAULT_ZONE)
    return posted(command, currency) if hidden else None


def posted_for(delivery: Delivery) -> Posted:
    """The request of a delivery that was never changed, derived from the delivery."""
    at_once = delivery.dispatch_at == delivery.created_at
    return posted(
        CreateDelivery(
            delivery_id=delivery.id,
            seller_id=delivery.seller_id,
            seller_order_id=delivery.seller_order_id,
            store_name=delivery.store_name,
            zone=delivery.zone,
            pickup=delivery.pickup,
            dropoff=delivery.dropoff,
            prep_seconds=delivery.prep_seconds,
            fingerprint=delivery.fingerprint,
            actor=SYSTEM,
            dispatch_at=None if at_once else delivery.dispatch_at,
            price_cents=delivery.price_cents,
            driver_pay_cents=delivery.driver_pay_cents,
            notes=delivery.notes,
            requirements=delivery.requirements,
            tip_cents=delivery.tip_cents,
        ),
        delivery.currency,
    )


def differing(first: Posted, again: Posted, zone: str, *, erased: bool = False) -> list[str]:
    """The fields that differ, as wire names, in order. A field that this release does not know counts as equal; a newer
    release will report the difference. So do fields of the first that were `erased`.

    Texts are compared by NFC, with one kind of line end; tags and zones without case and extra blanks; phones as they
    are dialled. `zone` is the zone that the first request got; a request that names it is equal to one without a zone.
    """
    known = again.keys() | (first.keys() & KNOWN)
    if erased:
        known -= PERSONAL
    differ = [name for name in known if first.get(name) != again.get(name)]
    return sorted(name for name in differ if not _alike(name, first, again, zone))


def _alike(name: str, first: Posted, again: Posted, zone: str) -> bool:
    if name == "requirements":
        return _keys(first.get(name)) == _keys(again.get(name))
    if name == "zone" and name in again:
        return name_key(again[name]) == name_key(zone)
    return _in_one_form(first.get(name)) == _in_one_form(again.get(name))


def _in_one_form(value: object) -> object:
    """A text, or the texts of a place, in one of the forms that systems on the way change them between."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value.replace("\r\n", "\n"))
    if isinstance(value, Mapping):
        return {name: phone_key(part) if name == "phone" else _in_one_form(part) for name, part in value.items()}
    return value


def _keys(names: Iterable[str] | None) -> set[str]:
    return {name_key(name) for name in names or ()}


KNOWN: Final = frozenset(
    {
        *("sellerId", "sellerOrderId", "storeName", "zone", "pickup", "dropoff", "prepSeconds", "dispatchAt"),
        *("priceCents", "driverPayCents", "currency", "notes", "requirements", "promisedAt", "proofRequired"),
        *("pin", "tipCents"),
    }
)


PERSONAL: Final = frozenset({"pickup", "dropoff", "notes", "pin"})
"""The fields that are erased, or rounded."""


def _place(place: Place) -> Posted:
    normal: dict[str, Any] = {"lat": float(place.lat), "lon": float(place.lon)}
    for name in _OF_A_PLACE:
        text = getattr(place, name)
        if text and (text := text.strip()):
            normal[name] = text
    return normal


_OF_A_PLACE: Final = ("address", "name", "phone", "notes")


def _set(names: Iterable[str]) -> list[str]:
    return sorted({name.strip() for name in names})
