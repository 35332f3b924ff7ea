"""What an order's form knows of places: addresses, customers by their phone, and what to ask about."""

from typing import Final

from litestar import get
from litestar.response.base import ASGIResponse
from msgspec import Struct

from server.contract.personal import phone_digits
from server.contract.phones import is_same_number
from server.dispatch.model import Place
from server.geocoder.search import FoundPlace
from server.store.reads.delivery_search import DeliveryFilter, find_deliveries
from server.web.access.guards import OPS
from server.web.api.endpoint import answer
from server.web.api.geocoding import LONGEST_ADDRESS, PLACES, located, places_of
from server.web.api.positions import position_in
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import Problem, not_found
from server.web.screens.form_words import Reading
from server.web.screens.order_fields import Filled, position_text
from server.web.screens.unmoved_places import Located, unmoved_places

FEWEST_DIGITS: Final = 5
FEWEST_LETTERS: Final = 4
"""Of an address that is searched while a person types it."""
LONGEST_LINK: Final = 2000
END_DIGITS: Final = 7
"""The end of a phone is the same in all its forms, such as +49 151 and +49 (0)151."""


class KnownCustomer(Struct, frozen=True):
    """What the form knows about a customer. `at` is their position."""

    name: str | None
    address: str | None
    notes: str | None
    at: str


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
                return answer(KnownCustomer(place.name, place.address, place.notes, position_text(place)))
    raise not_found()


@get("/orders/places", guards=[OPS])
async def places(request: Call) -> ASGIResponse:
    """What an address may mean, while a person types it: `?q=`. Empty without a geocoder, except for a position."""
    text = request.query_params.get("q", "").replace("\x00", "").strip()
    position = position_in(text[:LONGEST_LINK])
    if position is not None:
        lat, lon = position
        return answer([FoundPlace(position_text(Place(lat, lon)), lat, lon)])
    text = text[:LONGEST_ADDRESS]
    return answer(await places_of(request, text) if len(text) >= FEWEST_LETTERS else [])


async def add_positions(request: Call, reading: Reading) -> None:
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


def located_as(filled: Filled) -> Located:
    return {place: (filled[f"{place}.address"], filled[f"{place}.at"]) for place in PLACES}


def places_in_doubt(request: Call, filled: Filled, before: Located) -> dict[str, str]:
    """The places whose address changed without their position. A geocoder finds the new one, so it asks nothing."""
    return unmoved_places(before, located_as(filled)) if node_of(request).geocoder is None else {}
