"""What a key of one seller gets of its deliveries: of drivers only their ids, no contacts, and nothing of others."""

from typing import Final

from msgspec.structs import replace

from server.dispatch.model import Delivery

OTHER_DRIVERS: Final = "nearest"
"""The field with the nearest driver who was not asked."""
PICKUPS: Final = frozenset({"pickup", "pickupLocation"})
CONTACTS: Final = frozenset({"name", "phone"})


def without_the_driver(delivery: Delivery) -> Delivery:
    """The delivery without the name and phone of a driver who has the goods."""
    if delivery.details.store is None:
        return delivery
    return replace(delivery, pickup=replace(delivery.pickup, name=None, phone=None))


def without_drivers(data: object, *, goods_moved: bool) -> object:
    """The data of an event, of any type. `goods_moved`: the goods are or were with a driver, who then is the contact at
    the pickup.
    """
    if isinstance(data, list):
        return [without_drivers(held, goods_moved=goods_moved) for held in data]
    if not isinstance(data, dict):
        return data
    return {
        name: _without_contacts(held)
        if goods_moved and name in PICKUPS
        else without_drivers(held, goods_moved=goods_moved)
        for name, held in data.items()
        if name != OTHER_DRIVERS
    }


def _without_contacts(value: object) -> object:
    """A place, or the old and the new one."""
    if not isinstance(value, dict):
        return value
    return {name: _without_contacts(held) for name, held in value.items() if name not in CONTACTS}
