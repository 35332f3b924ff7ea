"""What a key of one seller gets of its deliveries, for every type of event."""

import json
from collections.abc import Mapping
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from server.contract.seller_views import without_drivers, without_the_driver
from server.dispatch import events as e
from server.dispatch.model import Actor, Assignment, Delivery, Handover, Nearest, Offer, Place, Proof, Ticket
from tests.builders import ADA, DAN, DROPOFF, NOW, PICKUP, a_delivery, a_driver, an_assignment, an_open_offer, id_of

DRIVER = ("Dan Marker", "+49 30 190190", "not asked")
WITH_DAN = Place(52.52, 13.405, None, "Dan Marker", "+49 30 190190")
CUSTOMER = msgspec.structs.replace(DROPOFF, name="Zoe", phone="555-0142")
SOUP = a_delivery(pickup=WITH_DAN, dropoff=CUSTOMER)
OFFER, ASSIGNMENT = an_open_offer(SOUP, a_driver()), an_assignment(SOUP, a_driver())
SAMPLES: dict[object, Any] = {
    datetime: NOW,
    Actor: ADA,
    str: "said",
    bool: True,
    int: 1,
    float: 1.0,
    Delivery: SOUP,
    Offer: OFFER,
    Assignment: ASSIGNMENT,
    Place: WITH_DAN,
    Nearest: Nearest("not asked", 1.5, "in_another_zone"),
    Proof: Proof(id_of("photo"), "photo"),
    Handover: Handover("Zoe"),
    Ticket: Ticket(id_of("ticket"), "unassigned_order", "high", "late", "late", SOUP.id, "default", "/orders/1", NOW),
}
"""A value of each type of field; places and offers are of goods that Dan has."""
CHANGES: dict[str, Any] = {"pickup": (WITH_DAN, WITH_DAN), "dropoff": (CUSTOMER, CUSTOMER), "notes": ("a", "b")}
OF_DELIVERIES = [kind for kind in e.KINDS if kind.type.split(".")[0] in ("delivery", "offer", "ticket")]
OF_OTHERS = {"driver", "alert", "zone", "policy"}


def sample(of: Any) -> Any:
    """A value of this type; of several, of the first that is not None."""
    origin = get_origin(of)
    if origin in (UnionType, Union):
        return sample(next(one for one in get_args(of) if one is not NoneType))
    if origin is Literal:
        return get_args(of)[0]
    if origin is tuple:
        return (sample(get_args(of)[0]),)
    if origin is Mapping:
        return CHANGES
    return SAMPLES[of]


def happened(kind: type[e.Event]) -> e.Event:
    """An event of this type with a value in every field."""
    hints = get_type_hints(kind)
    return kind(**{name: sample(hints[name]) for name in kind.__struct_fields__})


def seen(kind: type[e.Event], *, goods_moved: bool) -> tuple[Any, Any]:
    """The data of an event, and what a seller gets of it."""
    data = json.loads(msgspec.json.encode(happened(kind).data()))
    return data, without_drivers(data, goods_moved=goods_moved)


@pytest.mark.parametrize("kind", OF_DELIVERIES, ids=lambda kind: kind.type)
def test_no_event_names_a_driver_to_a_seller(kind: type[e.Event]) -> None:
    _, shown = seen(kind, goods_moved=True)
    assert not [word for word in DRIVER if word in json.dumps(shown)]


@pytest.mark.parametrize("kind", OF_DELIVERIES, ids=lambda kind: kind.type)
def test_while_the_store_has_the_goods_a_seller_gets_all_but_other_drivers(kind: type[e.Event]) -> None:
    data, shown = seen(kind, goods_moved=False)
    assert shown == {name: held for name, held in data.items() if name != "nearest"}


def test_every_type_of_event_is_of_deliveries_or_not() -> None:
    """And some would name a driver, or this tests nothing."""
    assert {kind.type.split(".")[0] for kind in e.KINDS if kind not in OF_DELIVERIES} == OF_OTHERS
    named = {
        kind.type for kind in OF_DELIVERIES if any(word in str(seen(kind, goods_moved=True)[0]) for word in DRIVER)
    }
    assert named == {"delivery.search_failed", "offer.created", "delivery.changed"}


def test_the_customer_stays_in_what_changed_beside_the_driver() -> None:
    data, shown = seen(e.DeliveryChanged, goods_moved=True)
    assert shown["changes"]["dropoff"] == data["changes"]["dropoff"]
    assert shown["changes"]["pickup"]["old"] == {"lat": 52.52, "lon": 13.405, "address": None}


def test_a_delivery_is_shown_without_the_driver_who_has_the_goods() -> None:
    own = a_delivery(pickup=msgspec.structs.replace(PICKUP, name="Till"))
    assert without_the_driver(own) is own
    details = msgspec.structs.replace(own.details, store=PICKUP)
    moved = a_delivery(pickup=WITH_DAN, details=details)
    assert without_the_driver(moved).pickup == Place(52.52, 13.405)
    assert DAN not in str(without_the_driver(moved).pickup)
