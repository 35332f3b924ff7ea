"""Asks a geocoder for the positions of an address.

Nominatim answers with a list, Photon and Pelias with GeoJSON. The path of the URL says which one it is.
"""

import asyncio
from math import cos, hypot, radians
from typing import Final
from urllib.parse import urlsplit

import httpx2
import msgspec
from msgspec import Struct

TIMEOUT_SECONDS: Final = 4.0
ANSWER_BYTES: Final = 1 << 20
FOUND_LIMIT: Final = 5
KNOWN_LIMIT: Final = 5000
"""Addresses that are not asked for again. An import asks for each of them twice."""
KNOWN_SECONDS: Final = 3600.0
"""For so long: a geocoder learns new streets, and an address is somebody's."""
SAME_PLACE_KM: Final = 0.15
"""Results so near to each other are one place, such as a house and a shop in it."""
KM_PER_DEGREE: Final = 111.2
AGENT: Final = "Callboard/1"
_PHOTON_PARTS: Final = ("name", "street", "housenumber", "postcode", "city", "country")


class FoundPlace(Struct, frozen=True):
    """A result: the address as the geocoder writes it, and its position in degrees."""

    address: str
    lat: float
    lon: float


class _NominatimRow(Struct):
    display_name: str
    lat: str | float
    lon: str | float


class _Geometry(Struct):
    coordinates: list[float]


class _Feature(Struct):
    geometry: _Geometry
    properties: dict[str, object]


class _Features(Struct):
    features: list[_Feature]


class GeocoderAway(Exception):
    """The geocoder does not answer, or not as one."""


class Geocoder:
    """A geocoder at a URL: that of its search, such as https://nominatim.example/search."""

    def __init__(self, url: str) -> None:
        self._url = url
        path = urlsplit(url).path.rstrip("/")
        self._is_pelias = path.endswith(("/v1/search", "/v1/autocomplete"))
        self._is_photon = path.endswith("/api")
        self._known: dict[str, asyncio.Task[list[FoundPlace]]] = {}
        self._client = httpx2.AsyncClient(
            timeout=TIMEOUT_SECONDS, follow_redirects=False, headers={"User-Agent": AGENT}, trust_env=False
        )

    async def search(self, address: str) -> list[FoundPlace]:
        """At most FOUND_LIMIT places, the best first. Raises GeocoderAway."""
        asking = self._known.get(address)
        if asking is None:
            asking = self._known[address] = asyncio.create_task(self._asked(address))
            asyncio.get_running_loop().call_later(KNOWN_SECONDS, self._forget, address, asking)
            if len(self._known) > KNOWN_LIMIT:
                del self._known[next(iter(self._known))]
        try:
            return await asyncio.shield(asking)
        except GeocoderAway:
            self._forget(address, asking)
            raise

    def _forget(self, address: str, asked: asyncio.Task[list[FoundPlace]]) -> None:
        if self._known.get(address) is asked:
            del self._known[address]

    async def _asked(self, address: str) -> list[FoundPlace]:
        if self._is_pelias:
            query = {"text": address, "size": str(FOUND_LIMIT)}
        elif self._is_photon:
            query = {"q": address, "limit": str(FOUND_LIMIT)}
        else:
            query = {"q": address, "limit": str(FOUND_LIMIT), "format": "jsonv2"}
        try:
            answer = await self._client.get(self._url, params=query)
            if answer.status_code != 200 or len(answer.content) > ANSWER_BYTES:
                raise GeocoderAway(f"status {answer.status_code}")
            if self._is_pelias or self._is_photon:
                features = msgspec.json.decode(answer.content, type=_Features).features
                return [_of_feature(one) for one in features[:FOUND_LIMIT]]
            rows = msgspec.json.decode(answer.content, type=list[_NominatimRow])
            return [_place(row.display_name, float(row.lat), float(row.lon)) for row in rows[:FOUND_LIMIT]]
        except (httpx2.HTTPError, msgspec.MsgspecError, ValueError) as error:
            raise GeocoderAway(type(error).__name__) from error

    async def close(self) -> None:
        await self._client.aclose()


def distinct_places(found: list[FoundPlace]) -> list[FoundPlace]:
    """The places without those that are right beside a better one."""
    kept: list[FoundPlace] = []
    for one in found:
        if all(_km(one, other) > SAME_PLACE_KM for other in kept):
            kept.append(one)
    return kept


def _km(a: FoundPlace, b: FoundPlace) -> float:
    return hypot(a.lat - b.lat, (a.lon - b.lon) * cos(radians(a.lat))) * KM_PER_DEGREE


def _of_feature(feature: _Feature) -> FoundPlace:
    lon, lat = feature.geometry.coordinates[:2]
    found = feature.properties
    label = found.get("label") or ", ".join(str(found[part]) for part in _PHOTON_PARTS if found.get(part))
    return _place(str(label), lat, lon)


def _place(address: str, lat: float, lon: float) -> FoundPlace:
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise ValueError("no position")
    return FoundPlace(address[:500], lat, lon)
