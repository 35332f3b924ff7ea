"""A made-up city on a Friday evening: restaurants, homes, how many orders come when, and how its drivers are."""

import math
import random
from typing import Final

from msgspec import Struct

from server.simulate.habits import Habits, Pace
from server.simulate.places import Place, Plane

ORIGIN: Final = Place(59.4370, 24.7536)

EVENING: Final = (0.55, 0.7, 0.9, 1.1, 1.3, 1.4, 1.4, 1.3, 1.1, 0.9, 0.75, 0.6)
"""How the rate of orders rises and falls from 17:00 to 23:00, by half hours; 1 on average."""
EVENING_SECONDS: Final = 1800.0
"""The evening is told in half an hour, then begins anew."""
OPENING_SECONDS: Final = 300.0
"""Where in it a city starts: the first rush is not far."""

METRES_PER_SECOND: Final = 11.0
HANDOVER_SECONDS: Final = 10.0
REPLY_SECONDS: Final = 6.0
USE: Final = 0.57
"""How much of their time drivers are to be busy, on average: at the peak nearly all of them are."""
RIDE_METRES: Final = range(250, 3001)
TO_PICKUP_METRES: Final = 350.0

DEMO_HABITS: Final = Habits(breaks_per_hour=0.8, break_minutes=(5, 8), losses_per_hour=1.5, shift_ends_per_hour=0.3)

KITCHENS: Final = (
    "Golden Noodle", "Casa Verde", "The Brick Oven", "Saffron House", "Blue Lantern", "Taco Norte", "Pho Corner",
    "Little Tokyo", "Bombay Kitchen", "The Green Bowl", "Burger Works", "Olive & Thyme", "Seoul Street",
    "Pasta Fina", "Dumpling Yard", "Falafel Stop", "The Fish Shack", "Crepe Lane", "Smoke & Barrel",
    "Lemon Tree", "Harbour Grill", "Midnight Diner", "Sweet Basil", "Old Mill Bakery",
)  # fmt: skip
FIRST_NAMES: Final = (
    "Alma", "Ben", "Carla", "Dario", "Elif", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kaya", "Leo", "Mira",
    "Noor", "Oskar", "Paula", "Quentin", "Rosa", "Sami", "Tara", "Uli", "Vera", "Wanda", "Xenia", "Yusuf", "Zoe",
)  # fmt: skip
LAST_NAMES: Final = (
    "Adams", "Berg", "Costa", "Diaz", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jensen", "Kim", "Lopez",
    "Moreau", "Novak", "Okafor", "Patel", "Quist", "Rossi", "Silva", "Tamm", "Usman", "Vogel", "Weber", "Yilmaz",
)  # fmt: skip


class Wish(Struct, frozen=True):
    """An order somebody makes."""

    store_name: str
    pickup: Place
    dropoff: Place
    prep_seconds: int
    price_cents: int


class City:
    """Rides are as long as `drivers` can serve at that rate of orders; beyond that the city is short of drivers."""

    def __init__(self, drivers: int, orders_per_minute: float, seed: int = 7) -> None:
        self._plane = Plane(ORIGIN)
        self._chance = random.Random(seed)
        self._ride_metres = ride_metres(drivers, orders_per_minute)
        self._radius = max(1200.0, self._ride_metres * 1.8)
        quarters = [self._somewhere(self._radius * 0.6) for _ in range(4)]
        self._kitchens = [
            (name, self._near(quarters[index % 4], self._radius * 0.25)) for index, name in enumerate(KITCHENS)
        ]

    def anywhere(self) -> Place:
        """A place to start a shift."""
        return self._plane.place(*self._somewhere(self._radius))

    def hot_spot(self) -> Place:
        """A place where orders come from."""
        _, spot = self._chance.choice(self._kitchens)
        return self._plane.place(*self._near(spot, 150.0))

    def wish(self) -> Wish:
        """The next order."""
        name, kitchen = self._chance.choice(self._kitchens)
        angle = self._chance.uniform(0, math.tau)
        metres = self._ride_metres * self._chance.uniform(0.4, 1.6)
        home = (kitchen[0] + metres * math.cos(angle), kitchen[1] + metres * math.sin(angle))
        return Wish(
            name,
            self._plane.place(*kitchen),
            self._plane.place(*home),
            self._chance.choice((0, 0, 20, 40, 60)),
            self._chance.randrange(900, 6500, 10),
        )

    def _somewhere(self, radius: float) -> tuple[float, float]:
        return self._near((0.0, 0.0), radius)

    def _near(self, centre: tuple[float, float], radius: float) -> tuple[float, float]:
        angle, metres = self._chance.uniform(0, math.tau), radius * math.sqrt(self._chance.random())
        return centre[0] + metres * math.cos(angle), centre[1] + metres * math.sin(angle)


def ride_metres(drivers: int, orders_per_minute: float) -> float:
    """How far orders are carried on average, so that the drivers are busy for their share of the time."""
    seconds_each = USE * 60 * drivers / orders_per_minute if orders_per_minute else math.inf
    riding = seconds_each - 2 * HANDOVER_SECONDS - REPLY_SECONDS
    metres = riding * METRES_PER_SECOND - TO_PICKUP_METRES
    return min(max(metres, float(RIDE_METRES[0])), float(RIDE_METRES[-1]))


def rate_factor(seconds: float) -> float:
    """How busy the evening is, `seconds` after its beginning: 1 on average."""
    at = seconds % EVENING_SECONDS / EVENING_SECONDS * len(EVENING)
    index = int(at)
    return EVENING[index] + (EVENING[(index + 1) % len(EVENING)] - EVENING[index]) * (at - index)


def pace(speed: float) -> Pace:
    """How fast the city's drivers are at so many times the usual speed."""
    return Pace(METRES_PER_SECOND * speed, HANDOVER_SECONDS / speed, HANDOVER_SECONDS / speed)


def driver_name(number: int) -> str:
    """A name for the driver of this number; the first 600 or so are all different."""
    return f"{FIRST_NAMES[number % len(FIRST_NAMES)]} {LAST_NAMES[number // len(FIRST_NAMES) % len(LAST_NAMES)]}"
