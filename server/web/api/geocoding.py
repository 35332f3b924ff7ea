"""Places without a position: with a geocoder, an address is enough in the body of a delivery."""

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from server.dispatch.sameness import Posted, posted_for
from server.geocoder.search import FoundPlace, GeocoderAway, distinct_places
from server.store.reads.by_number import read_by_numbers
from server.web.api.bodies import Body, read_body
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import ADDRESS_AMBIGUOUS, ADDRESS_NOT_FOUND, FieldError, Problem, try_again

PLACES: Final = ("pickup", "dropoff")
LONGEST_ADDRESS: Final = 500

T = TypeVar("T")


class LocatedBody(Body[T]):
    """The type of a body with `pickup` and `dropoff`. What has its positions is decoded as any other body."""

    async def of(self, request: Call) -> T:
        """The request's body. Raises 400, 413, 415, 422 or 503."""
        if node_of(request).geocoder is None:
            return await super().of(request)
        raw = await read_body(request)
        try:
            return self.decoded(raw)
        except Problem as problem:
            try:
                given = msgspec.json.decode(raw)
            except (msgspec.MsgspecError, RecursionError):
                raise problem from None
            if not _lacking(given):
                raise
        return self.decoded(msgspec.json.encode(await located(request, given)))


def _lacking(given: object) -> list[str]:
    """The places that have an address and no position."""
    if not isinstance(given, dict):
        return []
    return [name for name in PLACES if _is_lacking(given.get(name))]


def _is_lacking(place: object) -> bool:
    if not isinstance(place, dict) or place.get("lat") is not None or place.get("lon") is not None:
        return False
    address = place.get("address")
    return isinstance(address, str) and 0 < len(address.strip()) <= LONGEST_ADDRESS


async def located(request: Call, given: dict[str, object]) -> dict[str, object]:
    """The body with the positions of its addresses. An order that is there keeps those that it got first, so it can be
    sent again. Raises 422 or 503.
    """
    lacking = _lacking(given)
    if not lacking or node_of(request).geocoder is None:
        return given
    first = await _first(request, given)
    places = dict(given)
    for name in lacking:
        place = given[name]
        assert isinstance(place, dict)
        address = place["address"].strip()
        before = first.get(name, {})
        if before.get("address") == address:
            position = {"lat": before["lat"], "lon": before["lon"]}
        else:
            found = await _only(request, name, address)
            position = {"lat": found.lat, "lon": found.lon}
        places[name] = place | position
    return places


async def _first(request: Call, given: Mapping[str, object]) -> Posted:
    """What was posted with this number, if anything."""
    number, seller = given.get("sellerOrderId"), request.user.seller or given.get("sellerId") or ""
    if not isinstance(number, str) or not isinstance(seller, str) or "\x00" in number + seller:
        return {}
    deliveries, posted = await read_by_numbers(pool_of(request), [(seller.strip(), number.strip())])
    for delivery in deliveries.values():
        return posted.get(delivery.id) or posted_for(delivery)
    return {}


async def places_of(request: Call, address: str) -> list[FoundPlace]:
    """The places that an address may mean; none without a geocoder. Raises 503."""
    geocoder = node_of(request).geocoder
    if geocoder is None:
        return []
    try:
        return distinct_places(await geocoder.search(address))
    except GeocoderAway:
        raise try_again() from None


async def _only(request: Call, name: str, address: str) -> FoundPlace:
    """The one place of an address. Raises 422 or 503."""
    found = await places_of(request, address)
    field = f"{name}.address"
    if not found:
        message = "The geocoder does not know this address."
        raise Problem(ADDRESS_NOT_FOUND, message, errors=[FieldError(field, "was not found")])
    if len(found) > 1:
        message = "The geocoder knows several places with this address."
        raise Problem(ADDRESS_AMBIGUOUS, message, errors=[FieldError(field, "is in several places")], candidates=found)
    return found[0]
