"""Shapes of zones: checks and measures GeoJSON polygons, and prepares them for lookups of points."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from server.dispatch.travel import EARTH_RADIUS_KM

POSITIONS_LIMIT: Final = 5_000
POLYGONS_LIMIT: Final = 100
SMALLEST_KM2: Final = 0.0001
"""100 m²: a smaller shape is a mistake."""
LARGEST_KM2: Final = 5_000_000.0
"""More than the European Union: larger is a mistake in the coordinates."""
NO_FLOAT: Final = 1e308
"""JSON has integers that no float can hold."""

Shape = Mapping[str, Any]
"""A Polygon or MultiPolygon of GeoJSON: `type` and `coordinates`, longitude first, degrees WGS 84."""


class ShapeMistake(ValueError):
    """What is wrong with a shape, as text that begins with "must"."""


def geometry_of(shape: Shape) -> BaseGeometry:
    """The prepared geometry of a shape. Raises ShapeMistake.

    1. A Polygon is a list of rings, the first around it and the others around its holes; a MultiPolygon a list of
       such lists.
    2. A ring has four positions or more and ends where it begins; a position is longitude and latitude, in range. An
       edge spans at most half the globe: a shape across the antimeridian has a part on each side (RFC 7946, 3.1.9).
    3. Rings do not cross themselves or each other, holes lie inside, polygons do not overlap.
    4. Area, polygons and positions are within the limits above.
    """
    coordinates = shape["coordinates"]
    polygons = [coordinates] if shape["type"] == "Polygon" else coordinates
    if not isinstance(polygons, list) or not polygons:
        raise ShapeMistake("must have coordinates")
    if len(polygons) > POLYGONS_LIMIT:
        raise ShapeMistake(f"must have at most {POLYGONS_LIMIT} polygons")
    count = 0
    made = []
    for rings in polygons:
        if not isinstance(rings, list) or not rings:
            raise ShapeMistake("must have rings of positions in every polygon")
        checked = [_ring(ring) for ring in rings]
        count += sum(len(ring) for ring in checked)
        if count > POSITIONS_LIMIT:
            raise ShapeMistake(f"must have at most {POSITIONS_LIMIT} positions")
        made.append(checked)
    geometry = _built(shape["type"], made)
    if not geometry.is_valid:
        raise ShapeMistake(f"must not cross or touch itself: {shapely.is_valid_reason(geometry)}")
    area = area_km2(geometry)
    if not SMALLEST_KM2 <= area <= LARGEST_KM2:
        raise ShapeMistake(f"must cover {SMALLEST_KM2:f} to {LARGEST_KM2:,.0f} km²; this one covers {area:.4g} km²")
    shapely.prepare(geometry)
    return geometry


def kept_geometry(shape: Shape) -> BaseGeometry:
    """The prepared geometry of a shape that was accepted before, maybe under other rules: it stays in use."""
    coordinates = shape["coordinates"]
    geometry = _built(shape["type"], [coordinates] if shape["type"] == "Polygon" else coordinates)
    shapely.prepare(geometry)
    return geometry


def _built(kind: str, polygons: Sequence[Sequence[object]]) -> BaseGeometry:
    made = [shapely.Polygon(rings[0], rings[1:]) for rings in polygons]
    return made[0] if kind == "Polygon" else shapely.MultiPolygon(made)


def _ring(ring: object) -> list[tuple[float, float]]:
    if not isinstance(ring, list) or len(ring) < 4:
        raise ShapeMistake("must have four positions or more in every ring")
    positions = [_position(position) for position in ring]
    if positions[0] != positions[-1]:
        raise ShapeMistake("must end every ring at the position it begins with")
    if any(abs(one - other) > 180 for (one, _), (other, _) in pairwise(positions)):
        raise ShapeMistake("must be cut at the antimeridian: one edge spans more than 180 degrees of longitude")
    return positions


def _position(position: object) -> tuple[float, float]:
    if not isinstance(position, list) or not 2 <= len(position) <= 3 or not all(map(_is_number, position)):
        raise ShapeMistake("must have positions of longitude and latitude, as numbers")
    lon, lat = position[:2]
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise ShapeMistake(f"must have longitude, then latitude, in degrees: [{lon:g}, {lat:g}] is out of range")
    return float(lon), float(lat)


def _is_number(part: object) -> bool:
    return isinstance(part, int | float) and not isinstance(part, bool) and abs(part) < NO_FLOAT


def positions_in(shape: Shape) -> int:
    """How many positions a valid shape has."""
    polygons = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
    return sum(len(ring) for rings in polygons for ring in rings)


def plain(shape: Shape) -> dict[str, object]:
    """A valid shape without heights, and with all numbers as floats."""
    coordinates = shape["coordinates"]
    polygons = [coordinates] if shape["type"] == "Polygon" else coordinates
    kept = [[[list(_position(position)) for position in ring] for ring in rings] for rings in polygons]
    return {"type": shape["type"], "coordinates": kept[0] if shape["type"] == "Polygon" else kept}


def area_km2(geometry: BaseGeometry) -> float:
    """The area on the globe: computed in Lambert's cylindrical projection, which preserves areas."""
    return float(shapely.transform(geometry, _equal_area).area) * EARTH_RADIUS_KM**2


def _equal_area(positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lon, lat = np.radians(positions).T
    return np.column_stack((lon, np.sin(lat)))
