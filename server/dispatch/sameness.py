"""Whether an order that comes again is the same one: by what it means, not by how it is written.

It is compared in its one form: a name on the wire -> JSON, without what is at its default. Most deliveries say by
themselves what was posted for them. It is kept beside them where they do not, and before they are changed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from server.dispatch.commands import CreateDelivery
from server.dispatch.instants import instant
from server.dispatch.model import SYSTEM, Delivery, Place

Posted = Mapping[str, Any]


def posted(command: CreateDelivery, currency: str) -> Posted:
    """What the command asks for, in its one form. `currency` is what an absent one means.

    Texts without the blanks around them, tags and proofs as sets, instants in UTC to the millisecond.
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
    if (zone := command.zone.strip()) != "default":
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


def kept(command: CreateDelivery, currency: str, now: datetime) -> Posted | None:
    """What is to be kept of it beside the delivery that is made `now`: nothing if `posted_for` finds it all there.

    An offer promises what nobody did, a PIN may be our own, and who asked for this very moment asked for no other.
    """
    hidden = command.promised_at or command.proof_required or command.pin is not None or command.dispatch_at == now
    return posted(command, currency) if hidden else None


def posted_for(delivery: Delivery) -> Posted:
    """The same from a delivery that was never changed, of which nothing was kept."""
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


def differing(first: Posted, again: Posted) -> list[str]:
    """The fields in which they differ, as wire names, in order. A field that this release does not know is no
    difference: whoever sent it will be told by a release that does.
    """
    known = again.keys() | (first.keys() & KNOWN)
    return sorted(name for name in known if first.get(name) != again.get(name))


KNOWN: Final = frozenset(
    {
        *("sellerId", "sellerOrderId", "storeName", "zone", "pickup", "dropoff", "prepSeconds", "dispatchAt"),
        *("priceCents", "driverPayCents", "currency", "notes", "requirements", "promisedAt", "proofRequired"),
        *("pin", "tipCents"),
    }
)


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
