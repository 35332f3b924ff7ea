"""Whether an order that comes again is the same one: by what it means, not by how it is written.

What was posted first is kept in its one form: a name on the wire -> JSON, without what is at its default. Later changes
of the delivery do not touch it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from server.dispatch.commands import CreateDelivery
from server.dispatch.instants import instant
from server.dispatch.model import Delivery, Place

Posted = Mapping[str, Any]

DEFAULTS: Final[Posted] = {"sellerId": "", "zone": "default", "prepSeconds": 0}
"""What an order says by saying nothing; all else is absent then."""


def posted(command: CreateDelivery, currency: str) -> Posted:
    """What the command asks for, in its one form. `currency` is what an absent one means.

    Texts without the blanks around them, tags and proofs as sets, instants in UTC to the millisecond.
    """
    return _normal(
        sellerId=command.seller_id,
        sellerOrderId=command.seller_order_id,
        storeName=command.store_name,
        zone=command.zone,
        pickup=_place(command.pickup),
        dropoff=_place(command.dropoff),
        prepSeconds=command.prep_seconds,
        dispatchAt=command.dispatch_at,
        priceCents=command.price_cents,
        driverPayCents=command.driver_pay_cents,
        currency=command.currency or currency,
        notes=command.notes,
        requirements=_set(command.requirements),
        promisedAt=command.promised_at,
        proofRequired=_set(command.proof_required),
        pin=command.pin,
        tipCents=command.tip_cents,
    )


def posted_before(delivery: Delivery) -> Posted:
    """The same for a delivery of a release that kept only a fingerprint, from what it is now."""
    at_once = delivery.dispatch_at == delivery.created_at
    return _normal(
        sellerId=delivery.seller_id,
        sellerOrderId=delivery.seller_order_id,
        storeName=delivery.store_name,
        zone=delivery.zone,
        pickup=_place(delivery.pickup),
        dropoff=_place(delivery.dropoff),
        prepSeconds=delivery.prep_seconds,
        dispatchAt=None if at_once else delivery.dispatch_at,
        priceCents=delivery.price_cents,
        driverPayCents=delivery.driver_pay_cents,
        currency=delivery.currency,
        notes=delivery.notes,
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


def _normal(**fields: Any) -> Posted:
    normal: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, str):
            value = value.strip()
        elif isinstance(value, datetime):
            value = instant(value)
        if value not in (None, "", []) and value != DEFAULTS.get(name):
            normal[name] = value
    return normal


def _place(place: Place) -> Posted:
    return _normal(
        lat=float(place.lat),
        lon=float(place.lon),
        address=place.address,
        name=place.name,
        phone=place.phone,
        notes=place.notes,
    )


def _set(names: Iterable[str]) -> list[str]:
    return sorted({name.strip() for name in names})
