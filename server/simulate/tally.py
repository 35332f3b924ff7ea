"""What a simulation amounts to: counts, and how long things took. No input or output here."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

KEPT: Final = 20_000
"""Finished orders that are remembered, for a city that goes on for days."""


class Order(Struct):
    """One order's moments, in seconds of the loop's clock; `ready_at` is when the kitchen is done.

    `placed_at` is None for an order that this simulation did not place; `dispatched_at` is when it is to get a
    driver.
    """

    placed_at: float | None
    dispatched_at: float
    ready_at: float
    accepted_at: float | None = None
    picked_up_at: float | None = None
    delivered_at: float | None = None
    pin: str | None = None
    came_to_nothing: bool = False


class Tally:
    """Counts of one simulation, and its orders. Its drivers may also carry orders of others."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.orders: dict[str, Order] = {}
        self.reply_seconds: list[float] = []
        self.failures: list[str] = []

    def placed(
        self, delivery_id: str, at: float, ready_at: float, dispatched_at: float, pin: str | None = None
    ) -> None:
        """An order was placed; its delivery may have been accepted meanwhile. `pin` is what the recipient will say."""
        self.counts["placed"] += 1
        order = self.orders.setdefault(delivery_id, Order(at, dispatched_at, ready_at))
        order.placed_at, order.dispatched_at, order.ready_at, order.pin = at, dispatched_at, ready_at, pin
        if len(self.orders) > KEPT:
            self.orders.pop(next(iter(self.orders)))

    def ready_at(self, delivery_id: str) -> float:
        """When the goods are ready: long ago for an order of somebody else."""
        order = self.orders.get(delivery_id)
        return order.ready_at if order is not None else -math.inf

    def ready_from(self, delivery_id: str, at: float) -> None:
        """The kitchen says something else."""
        if (order := self.orders.get(delivery_id)) is not None:
            order.ready_at = at

    def pin_of(self, delivery_id: str) -> str | None:
        """What the recipient says at the door, if this simulation knows."""
        order = self.orders.get(delivery_id)
        return order.pin if order is not None else None

    def assigned(self, delivery_id: str, at: float, source: str) -> None:
        """A driver has it, by accepting, by silence or by somebody's order."""
        self.counts[f"assigned_{source}"] += 1
        order = self.orders.setdefault(delivery_id, Order(None, at, at))
        if order.accepted_at is None:
            order.accepted_at = at

    def picked_up(self, delivery_id: str, at: float) -> None:
        self.counts["picked_up"] += 1
        if (order := self.orders.get(delivery_id)) is not None:
            order.picked_up_at = at

    def delivered(self, delivery_id: str, at: float) -> None:
        self.counts["delivered"] += 1
        if (order := self.orders.get(delivery_id)) is not None:
            order.delivered_at = at

    def released(self, delivery_id: str) -> None:
        """Its driver gave it back: it waits again."""
        self.counts["released"] += 1
        if (order := self.orders.get(delivery_id)) is not None:
            order.accepted_at = None

    def failed(self, delivery_id: str, how: str) -> None:
        """It was not delivered: `failed`, or `returned`."""
        self.counts[how] += 1
        if (order := self.orders.get(delivery_id)) is not None:
            order.came_to_nothing = True

    def own(self, *, accepted: bool, delivered: bool) -> int:
        """How many of the simulation's own orders that did not fail are so."""
        return sum(
            order.placed_at is not None
            and not order.came_to_nothing
            and (order.accepted_at is not None) == accepted
            and (order.delivered_at is not None) == delivered
            for order in self.orders.values()
        )

    @property
    def waiting(self) -> int:
        """Own orders that nobody has yet."""
        return self.own(accepted=False, delivered=False)

    def spans(self, start: str, end: str) -> list[float]:
        """Seconds from one moment of an order to another, of the own orders that have both."""
        own = (order for order in self.orders.values() if order.placed_at is not None)
        pairs = ((getattr(order, start), getattr(order, end)) for order in own)
        return [later - earlier for earlier, later in pairs if earlier is not None and later is not None]


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that at least this share of them does not exceed; None if there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def table(rows: Sequence[tuple[str, Iterable[float]]]) -> list[str]:
    """A line a row, with how many there are, p50, p90 and the longest."""
    lines = [f"{'':28}{'n':>7}{'p50':>11}{'p90':>11}{'max':>11}"]
    for name, values in rows:
        known = list(values)
        p50, p90 = percentile(known, 0.5), percentile(known, 0.9)
        lines.append(f"{name:28}{len(known):>7}{span(p50):>11}{span(p90):>11}{span(max(known, default=None)):>11}")
    return lines
