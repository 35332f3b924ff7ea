"""Zones with a description: name, shape, and the zones whose drivers help. A zone also works without a description.

`Zones` is immutable: a change makes a new one, which shares the shapes.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import msgspec
import numpy as np
import shapely
from msgspec import Struct
from shapely.geometry.base import BaseGeometry

from server.dispatch.names import name_key
from server.dispatch.shapes import area_km2, kept_geometry

DEFAULT_ZONE: Final = "default"
ZONES_LIMIT: Final = 1_000


class Zone(Struct, frozen=True):
    """The description of a zone: `key` is its spelling in deliveries and drivers, `shape` is GeoJSON, `helped_by` has
    the keys of zones whose drivers help here.
    """

    key: str
    name: str
    shape: dict[str, Any] | None = None
    helped_by: tuple[str, ...] = ()
    changed_by: str | None = None
    changed_at: datetime | None = None


def mark_of(zone: Zone | None) -> str:
    """A text that changes with every part of a description; that of None says that there is none."""
    if zone is None:
        return "none"
    parts = (zone.name, zone.shape, zone.helped_by)
    return sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:32]


class _Known(Struct, frozen=True):
    zone: Zone
    geometry: BaseGeometry | None
    area_km2: float | None


class Zones:
    """All zones with a description. `at` takes microseconds for up to 1,000 zones."""

    __slots__ = ("_geometries", "_keys", "_known", "_tree")

    def __init__(self, zones: Iterable[Zone] = ()) -> None:
        self._set({name_key(zone.key): _known(zone) for zone in zones})

    def _set(self, known: dict[str, _Known]) -> None:
        self._known = known
        shaped = sorted(
            (one.area_km2, one.zone.key, one.geometry) for one in known.values() if one.geometry is not None
        )
        self._keys = [key for _, key, _ in shaped]
        self._geometries = np.array([geometry for *_, geometry in shaped], dtype=object)
        self._tree = shapely.STRtree(self._geometries) if shaped else None

    def changed(self, zone: Zone) -> "Zones":
        return self._other({**self._known, name_key(zone.key): _known(zone)})

    def without(self, key: str) -> "Zones":
        return self._other({of: one for of, one in self._known.items() if of != name_key(key)})

    @staticmethod
    def _other(known: dict[str, _Known]) -> "Zones":
        other = Zones()
        other._set(known)
        return other

    def __len__(self) -> int:
        return len(self._known)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Zones) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Zone]:
        """In the order of `name_key`."""
        return (self._known[key].zone for key in sorted(self._known))

    def find(self, name: str) -> Zone | None:
        """The zone of this name, in any spelling."""
        known = self._known.get(name_key(name))
        return known.zone if known is not None else None

    def area_km2(self, name: str) -> float | None:
        """The area of the zone's shape, or None if it has no shape."""
        known = self._known.get(name_key(name))
        return known.area_km2 if known is not None else None

    def at(self, lat: float, lon: float) -> str | None:
        """The key of the smallest zone whose shape contains this point or has it on its edge."""
        if self._tree is None:
            return None
        near = self._tree.query(shapely.Point(lon, lat))
        holding = near[shapely.intersects_xy(self._geometries[near], lon, lat)]
        return self._keys[holding.min()] if len(holding) else None

    def helpers(self, key: str) -> tuple[str, ...]:
        zone = self.find(key)
        return zone.helped_by if zone is not None else ()


NO_ZONES: Final = Zones()


def _known(zone: Zone) -> _Known:
    if zone.shape is None:
        return _Known(zone, None, None)
    geometry = kept_geometry(zone.shape)
    return _Known(zone, geometry, area_km2(geometry))
