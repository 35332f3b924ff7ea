"""Requests for deliveries as commands of the rules: checked further, and with ids, fingerprint and spare PIN."""

import hashlib
import secrets
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Final, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType

from server.dispatch import commands as c
from server.dispatch.model import Actor, Place
from server.dispatch.money import is_currency
from server.dispatch.names import name_key, spelling, with_ascii_digits
from server.dispatch.zones import DEFAULT_ZONE
from server.ids import new_id
from server.web.api import schemas as s
from server.web.http.errors import invalid_field

END_OF_PLANS: Final = 9000


def utc(at: datetime, field: str) -> datetime:
    """The instant in UTC to the millisecond. Raises 422 if it is out of range."""
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        raise invalid_field(field, "is out of range") from None
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def planned(at: datetime, field: str) -> datetime:
    """As `utc`, for a time to which preparation, delays and graces are added: also raises 422 from the year 9000 on."""
    at = utc(at, field)
    if at.year >= END_OF_PLANS:
        raise invalid_field(field, "is out of range")
    return at


def fingerprint(new: s.NewDelivery) -> str:
    """A hash of the request: equal for an identical repeat, also in the previous release, which knew only some of the
    fields.
    """
    order = msgspec.to_builtins(new)
    for name in _ADDED:
        if not order[name]:
            del order[name]
    order["zone"] = order["zone"] or DEFAULT_ZONE
    order["sellerId"] = order["sellerId"] or ""
    order["prepSeconds"] = order["prepSeconds"] or 0
    for place in (order["pickup"], order["dropoff"]):
        for name in ("name", "phone", "notes"):
            if place[name] is None:
                del place[name]
    return hashlib.sha256(msgspec.json.encode(order)).hexdigest()


_ADDED: Final = ("requirements", "promisedAt", "proofRequired", "pin", "tipCents")


def _place(place: s.Place) -> Place:
    phone = with_ascii_digits(place.phone) if place.phone is not None else None
    return Place(place.lat, place.lon, place.address, place.name, phone, place.notes)


T = TypeVar("T", bound=str)


def distinct(names: Collection[T]) -> tuple[T, ...]:
    """The names without extra blanks, each once, in its first spelling."""
    if not names:
        return ()
    found: dict[str, T] = {}
    for name in names:
        found.setdefault(name_key(name), cast(T, spelling(name)))
    return tuple(found.values())


def _names(changed: Collection[T] | UnsetType | None) -> tuple[T, ...] | UnsetType:
    return changed if isinstance(changed, UnsetType) else distinct(changed or ())


def _real(currency: str | UnsetType | None) -> None:
    """Raises 422 for an unknown currency."""
    if isinstance(currency, str) and not is_currency(currency):
        raise invalid_field("currency", "is not a currency of ISO 4217")


def _spare_pin() -> str:
    return f"{secrets.randbelow(10_000):04}"


def creation(new: s.NewDelivery, actor: Actor, *, test: bool = False) -> c.CreateDelivery:
    """The command for a new delivery. Raises 422."""
    _real(new.currency)
    if new.dispatch_at is not None:
        new = msgspec.structs.replace(new, dispatch_at=planned(new.dispatch_at, "dispatchAt"))
    if new.promised_at is not None:
        new = msgspec.structs.replace(new, promised_at=planned(new.promised_at, "promisedAt"))
    proof_required = distinct(new.proof_required or ())
    return c.CreateDelivery(
        delivery_id=new_id(),
        seller_id=(new.seller_id or "").strip(),
        seller_order_id=new.seller_order_id.strip(),
        store_name=new.store_name.strip(),
        zone=new.zone,
        pickup=_place(new.pickup),
        dropoff=_place(new.dropoff),
        prep_seconds=new.prep_seconds or 0,
        fingerprint=fingerprint(new),
        actor=actor,
        dispatch_at=new.dispatch_at,
        price_cents=new.price_cents,
        driver_pay_cents=new.driver_pay_cents,
        currency=new.currency,
        notes=new.notes,
        requirements=distinct(new.requirements or ()),
        promised_at=new.promised_at,
        proof_required=proof_required,
        pin=new.pin,
        tip_cents=new.tip_cents,
        spare_pin=_spare_pin() if "pin" in proof_required else None,
        test=test,
    )


def change(delivery_id: str, new: s.ChangedDelivery, actor: Actor) -> c.ChangeDelivery:
    """The command for a changed delivery. Raises 422."""
    _real(new.currency)
    return c.ChangeDelivery(
        delivery_id=delivery_id,
        version=new.version,
        new_offer_id=new_id(),
        actor=actor,
        store_name=new.store_name.strip() if isinstance(new.store_name, str) else UNSET,
        pickup=_place(new.pickup) if isinstance(new.pickup, s.Place) else UNSET,
        dropoff=_place(new.dropoff) if isinstance(new.dropoff, s.Place) else UNSET,
        prep_seconds=0 if new.prep_seconds is None else new.prep_seconds,
        dispatch_at=planned(new.dispatch_at, "dispatchAt") if isinstance(new.dispatch_at, datetime) else UNSET,
        price_cents=new.price_cents,
        driver_pay_cents=new.driver_pay_cents,
        currency=new.currency,
        notes=new.notes,
        requirements=_names(new.requirements),
        promised_at=planned(new.promised_at, "promisedAt")
        if isinstance(new.promised_at, datetime)
        else new.promised_at,
        proof_required=_names(new.proof_required),
        pin=new.pin,
        tip_cents=new.tip_cents,
        spare_pin=_spare_pin(),
    )
