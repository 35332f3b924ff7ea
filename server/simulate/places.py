"""Where things are and how they move: degrees, metres and seconds on a small, flat piece of the earth."""

import math
from typing import Final

from msgspec import Struct

METRES_PER_DEGREE: Final = 111_320.0


class Place(Struct, frozen=True):
    """A point: degrees, WGS 84, latitude first."""

    lat: float
    lon: float


class Plane(Struct, frozen=True):
    """A plane in metres, x to the east and y to the north, that touches the earth at `origin`."""

    origin: Place

    def place(self, x: float, y: float) -> Place:
        """The point `x`, `y` metres from the origin, to a tenth of a metre."""
        east = METRES_PER_DEGREE * math.cos(math.radians(self.origin.lat))
        return Place(round(self.origin.lat + y / METRES_PER_DEGREE, 6), round(self.origin.lon + x / east, 6))

    def metres(self, place: Place) -> tuple[float, float]:
        """How many metres a point is to the east and to the north of the origin."""
        east = METRES_PER_DEGREE * math.cos(math.radians(self.origin.lat))
        return (place.lon - self.origin.lon) * east, (place.lat - self.origin.lat) * METRES_PER_DEGREE


def metres_between(a: Place, b: Place) -> float:
    """The straight way, right to a thousandth within a city."""
    shrink = math.cos(math.radians((a.lat + b.lat) / 2))
    return math.hypot(a.lat - b.lat, (a.lon - b.lon) * shrink) * METRES_PER_DEGREE


class Leg(Struct, frozen=True):
    """A straight ride that began at `began` (seconds of any clock)."""

    start: Place
    end: Place
    began: float
    metres_per_second: float

    @property
    def arrives(self) -> float:
        """When it ends, by the same clock."""
        return self.began + metres_between(self.start, self.end) / self.metres_per_second

    def at(self, now: float) -> Place:
        whole = self.arrives - self.began
        share = min(1.0, max(0.0, (now - self.began) / whole)) if whole > 0 else 1.0
        return Place(
            round(self.start.lat + (self.end.lat - self.start.lat) * share, 6),
            round(self.start.lon + (self.end.lon - self.start.lon) * share, 6),
        )

    @property
    def heading(self) -> float:
        """The course in degrees, clockwise from north."""
        east = (self.end.lon - self.start.lon) * math.cos(math.radians(self.start.lat))
        return round(math.degrees(math.atan2(east, self.end.lat - self.start.lat)) % 360, 1) % 360


def standing(place: Place) -> Leg:
    """A ride that has ended."""
    return Leg(place, place, 0.0, 1.0)
