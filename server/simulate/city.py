"""A made-up city on a Friday evening: restaurants, homes, how many orders come when, and how its drivers are."""

import math
import random
from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from server.simulate.api import NewDriver
from server.simulate.habits import Habits, Pace, ShopHabits
from server.simulate.places import Place, Plane

SEED: Final = 7
"""Every city is the same one."""
ORIGIN: Final = Place(59.4370, 24.7536)

EVENING: Final = (0.55, 0.7, 0.9, 1.1, 1.3, 1.4, 1.4, 1.3, 1.1, 0.9, 0.75, 0.6)
"""How the rate of orders rises and falls from 17:00 to 23:00, by half hours; 1 on average."""
EVENING_SECONDS: Final = 1800.0
"""The evening lasts half an hour, then the next one begins."""
OPENING_SECONDS: Final = 300.0
"""Where in it a city starts: the first rush is not far."""

METRES_PER_SECOND: Final = 11.0
HANDOVER_SECONDS: Final = 10.0
REPLY_SECONDS: Final = 6.0
USE: Final = 0.57
"""How much of their time drivers are to be busy, on average: at the peak nearly all of them are."""
RIDE_METRES: Final = range(250, 3001)
TO_PICKUP_METRES: Final = 350.0

DEMO_HABITS: Final = Habits(
    releases=0.05,
    fails=0.08,
    mistypes=0.2,
    reports_late=0.04,
    reports_by_http=0.05,
    breaks_per_hour=0.8,
    break_minutes=(5, 8),
    losses_per_hour=1.5,
    shift_ends_per_hour=0.3,
)
DEMO_SHOPS: Final = ShopHabits(ready_early=0.1, delays=0.05, delay_minutes=(1, 2))

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


STREETS: Final = (
    "Mill Lane", "Station Road", "Harbour Street", "Church Hill", "Market Street", "Orchard Way", "Bridge Street",
    "Castle Road", "Garden Row", "Linden Avenue", "Tanner Street", "North Quay", "Copper Alley", "Park Side",
)  # fmt: skip
ORDER_NOTES: Final = ("No cutlery, please", "Extra napkins", "Fragile: keep it upright", "Ring, do not knock")
STORE_NOTES: Final = ("Use the side door", "Ask at the counter", "Parking behind the house")
DOOR_NOTES: Final = ("Third floor, the lift is on the left", "The bell is broken: please call", "Gate code 4711#")
VEHICLES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("bicycle", ()), ("scooter", ()), ("cargo bike", ("cargo",)), ("scooter", ("age_check",)),
    ("car", ("cargo", "age_check")),
)  # fmt: skip
"""What drivers ride, and what they can therefore be asked for."""
PROMISE_MINUTES: Final = (15, 40)
TIGHT_MINUTES: Final = (2, 6)


DEMO_ZONES: Final = ("Old Town", "Harbour", "Garden City")
"""The zones of the demo: the west with half of the kitchens, and the north and the south of the east."""
DRIVERS_IN: Final = (0, 0, 1, 2)
"""Which of the zones a driver works in, in turn: where there are more kitchens there are more drivers."""
BEYOND_METRES: Final = 1500.0
"""How far the zones reach beyond the last kitchens."""


class CityZone(Struct, frozen=True):
    """A zone of the city, a rectangle: its edges are metres from the origin."""

    name: str
    west: float
    east: float
    south: float
    north: float
    helped_by: list[str]

    def holds(self, x: float, y: float) -> bool:
        """Whether a point is inside."""
        return self.west <= x < self.east and self.south <= y < self.north

    def shape(self) -> dict[str, object]:
        """GeoJSON."""
        west, east, south, north = self.west, self.east, self.south, self.north
        corners = [(west, south), (east, south), (east, north), (west, north), (west, south)]
        places = [Plane(ORIGIN).place(x, y) for x, y in corners]
        return {"type": "Polygon", "coordinates": [[[place.lon, place.lat] for place in places]]}


class Wish(Struct, frozen=True):
    """An order somebody makes: where from and where to, and what else it says, as on the wire."""

    store_name: str
    pickup: Place
    dropoff: Place
    prep_seconds: int
    contacts: tuple[dict[str, str], dict[str, str]]
    promised_in_minutes: int | None
    more: dict[str, Any]


class City:
    """Rides are as long as `drivers` can serve at that rate of orders; beyond that the city is short of drivers."""

    def __init__(self, drivers: int, orders_per_minute: float) -> None:
        self._plane = Plane(ORIGIN)
        self._chance = random.Random(SEED)
        self._ride_metres = ride_metres(drivers, orders_per_minute)
        self._radius = max(1200.0, self._ride_metres * 1.8)
        quarters = [self._somewhere(self._radius * 0.6) for _ in range(4)]
        self._kitchens = [
            (name, self._near(quarters[index % 4], self._radius * 0.25)) for index, name in enumerate(KITCHENS)
        ]

    def anywhere(self) -> Place:
        return self._plane.place(*self._somewhere(self._radius))

    def hot_spot(self, zone: CityZone | None = None) -> Place:
        """A place where orders come from, in this zone."""
        kitchens = [at for _, at in self._kitchens if zone is None or zone.holds(*at)]
        return self._plane.place(*self._near(self._chance.choice(kitchens), 150.0))

    def zones(self, names: Sequence[str]) -> list[CityZone]:
        """Three zones with these names, see `DEMO_ZONES`. Each helps the others."""
        if not names:
            return []
        spots = [at for _, at in self._kitchens]
        cut = _middle([x for x, _ in spots])
        across = _middle([y for x, y in spots if x >= cut])
        west, east = min(x for x, _ in spots) - BEYOND_METRES, max(x for x, _ in spots) + BEYOND_METRES
        south, north = min(y for _, y in spots) - BEYOND_METRES, max(y for _, y in spots) + BEYOND_METRES
        edges = [(west, cut, south, north), (cut, east, across, north), (cut, east, south, across)]
        return [
            CityZone(name, *edge, [other for other in names if other != name])
            for name, edge in zip(names, edges, strict=True)
        ]

    def wish(self) -> Wish:
        name, kitchen = self._chance.choice(self._kitchens)
        angle = self._chance.uniform(0, math.tau)
        metres = self._ride_metres * self._chance.uniform(0.4, 1.6)
        home = (kitchen[0] + metres * math.cos(angle), kitchen[1] + metres * math.sin(angle))
        return Wish(
            name,
            self._plane.place(*kitchen),
            self._plane.place(*home),
            self._chance.choice((0, 0, 20, 40, 60)),
            (self._contact(name, STORE_NOTES), self._contact(self._somebody(), DOOR_NOTES)),
            self._promise(),
            self._extras(),
        )

    def _promise(self) -> int | None:
        """The promised time: mostly with enough time left, sometimes hardly possible."""
        chance = self._chance.random()
        if chance < 0.4:
            return None
        return self._chance.randint(*(TIGHT_MINUTES if chance < 0.45 else PROMISE_MINUTES))

    def _extras(self) -> dict[str, object]:
        """What the goods are worth, what the driver gets, and what some orders ask for."""
        chance = self._chance
        more: dict[str, Any] = {"priceCents": chance.randrange(900, 6500, 10)}
        if chance.random() < 0.3:
            more["driverPayCents"] = chance.randrange(350, 1200, 25)
        if chance.random() < 0.35:
            more["tipCents"] = chance.randrange(50, 500, 50)
        if chance.random() < 0.3:
            more["notes"] = chance.choice(ORDER_NOTES)
        if chance.random() < 0.12:
            more["requirements"] = [chance.choice(("cargo", "age_check"))]
        if chance.random() < 0.15:
            more |= {"proofRequired": ["pin"], "pin": f"{chance.randrange(10_000):04}"}
        return more

    def _contact(self, name: str, notes: tuple[str, ...]) -> dict[str, str]:
        """Where somebody is met, and how. No such number is ever given to anybody."""
        chance = self._chance
        place = {
            "address": f"{chance.choice(STREETS)} {chance.randint(1, 120)}",
            "name": name,
            "phone": f"555-01{chance.randrange(100):02}",
        }
        return place | {"notes": chance.choice(notes)} if chance.random() < 0.25 else place

    def _somebody(self) -> str:
        return f"{self._chance.choice(FIRST_NAMES)} {self._chance.choice(LAST_NAMES)}"

    def _somewhere(self, radius: float) -> tuple[float, float]:
        return self._near((0.0, 0.0), radius)

    def _near(self, centre: tuple[float, float], radius: float) -> tuple[float, float]:
        angle, metres = self._chance.uniform(0, math.tau), radius * math.sqrt(self._chance.random())
        return centre[0] + metres * math.cos(angle), centre[1] + metres * math.sin(angle)


def zone_at(zones: Sequence[CityZone], place: Place) -> str | None:
    at = Plane(ORIGIN).metres(place)
    return next((zone.name for zone in zones if zone.holds(*at)), None)


def _middle(numbers: list[float]) -> float:
    """Half-way between the two in the middle."""
    ordered = sorted(numbers)
    half = len(ordered) // 2
    return (ordered[half - 1] + ordered[half]) / 2


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


def driver(number: int) -> NewDriver:
    """The driver of this number, as on the wire; the names of the first 600 or so are all different."""
    vehicle, tags = VEHICLES[number % len(VEHICLES)]
    name = f"{FIRST_NAMES[number % len(FIRST_NAMES)]} {LAST_NAMES[number // len(FIRST_NAMES) % len(LAST_NAMES)]}"
    return {
        "name": name,
        "externalRef": f"simulated-{number}",
        "phone": f"555-01{number % 100:02}",
        "vehicle": vehicle,
        "tags": tags,
    }
