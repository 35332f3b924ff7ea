"""Real days of meal delivery as the public MDRP instances write them: tab-separated files, metres, minutes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

MINUTE: Final = 60.0


class BadDay(Exception):
    """The folder does not hold a day; the text names the file and the line."""


class Order(Struct, frozen=True):
    """Places in metres; `placed` and `ready` in seconds from the start of the day."""

    name: str
    restaurant: str
    pickup: tuple[float, float]
    dropoff: tuple[float, float]
    placed: float
    ready: float


class Courier(Struct, frozen=True):
    """Where and when a shift starts, and when it ends: metres and seconds."""

    name: str
    start: tuple[float, float]
    on: float
    off: float


class Day(Struct, frozen=True):
    """A whole day. Speeds in metres per second, times in seconds."""

    name: str
    orders: list[Order]
    couriers: list[Courier]
    metres_per_second: float
    pickup_seconds: float
    dropoff_seconds: float
    target_seconds: float
    """Within this time of its placement an order should be at the door."""

    def window(self, start: float, seconds: float) -> "Day":
        """The orders placed in this window, and the couriers on shift at some time of it."""
        end = start + seconds
        orders = [order for order in spread(self.orders) if start <= order.placed < end]
        couriers = [c for c in self.couriers if c.on < end and c.off > start]
        return Day(
            self.name,
            orders,
            couriers,
            self.metres_per_second,
            self.pickup_seconds,
            self.dropoff_seconds,
            self.target_seconds,
        )

    def busiest(self, seconds: float) -> float:
        """The start of the window of this length with the most orders, on a whole minute."""
        starts = sorted({order.placed for order in self.orders})
        placed = [order.placed for order in self.orders]
        return max(starts, key=lambda start: sum(start <= at < start + seconds for at in placed), default=0.0)


def spread(orders: list[Order]) -> list[Order]:
    """By placement. The files know minutes only: those of one minute are spread evenly over it."""
    by_minute: dict[float, list[Order]] = {}
    for order in sorted(orders, key=lambda order: order.placed):
        by_minute.setdefault(order.placed, []).append(order)
    spread_out = []
    for minute, together in by_minute.items():
        for index, order in enumerate(together):
            placed = minute + MINUTE * index / len(together)
            spread_out.append(
                Order(order.name, order.restaurant, order.pickup, order.dropoff, placed, max(order.ready, placed))
            )
    return spread_out


def read_day(folder: Path) -> Day:
    """Read an instance. Raises BadDay."""
    restaurants = {row.text("restaurant"): row.point() for row in _rows(folder / "restaurants.txt")}
    orders = []
    for row in _rows(folder / "orders.txt"):
        restaurant = row.text("restaurant")
        if restaurant not in restaurants:
            raise row.bad(f"no restaurant {restaurant} in restaurants.txt")
        placed, ready = row.number("placement_time") * MINUTE, row.number("ready_time") * MINUTE
        orders.append(Order(row.text("order"), restaurant, restaurants[restaurant], row.point(), placed, ready))
    couriers = [
        Courier(row.text("courier"), row.point(), row.number("on_time") * MINUTE, row.number("off_time") * MINUTE)
        for row in _rows(folder / "couriers.txt")
    ]
    parameters = next(_rows(folder / "instance_parameters.txt"), None)
    if parameters is None:
        raise BadDay(f"{folder / 'instance_parameters.txt'}: has no line of values")
    return Day(
        folder.resolve().name,
        orders,
        couriers,
        parameters.number("meters_per_minute") / MINUTE,
        parameters.number("pickup service minutes") * MINUTE,
        parameters.number("dropoff service minutes") * MINUTE,
        parameters.number("target click-to-door") * MINUTE,
    )


class _Row(Struct, frozen=True):
    """One line of a file, by the names in its header."""

    where: str
    fields: dict[str, str]

    def bad(self, what: str) -> BadDay:
        return BadDay(f"{self.where}: {what}")

    def text(self, name: str) -> str:
        if not self.fields.get(name):
            raise self.bad(f"no {name}")
        return self.fields[name]

    def number(self, name: str) -> float:
        try:
            return float(self.text(name))
        except ValueError:
            raise self.bad(f"{name} is no number") from None

    def point(self) -> tuple[float, float]:
        return self.number("x"), self.number("y")


def _rows(path: Path) -> Iterator[_Row]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not text"
        raise BadDay(f"{path}: {reason}") from None
    header = [name.strip() for name in lines[0].split("\t")] if lines else []
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            yield _Row(f"{path}:{number}", dict(zip(header, line.split("\t"), strict=False)))


def minutes_of(clock: str) -> int:
    """`HH:MM` as minutes from the start of the day; after midnight the hours go on. Raises ValueError."""
    hours, colon, minutes = clock.partition(":")
    if not colon or not (hours.isdigit() and minutes.isdigit() and len(minutes) == 2) or int(minutes) > 59:
        raise ValueError(f"{clock!r} is not a time such as 18:30")
    return int(hours) * 60 + int(minutes)
