"""What the planner knows: the deliveries that wait or are under way, the drivers, and where they are.

Only committed rows and positions change it. It keeps the rows that it is given.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from datetime import datetime
from math import exp
from typing import Final

import numpy as np

from server.dispatch.model import OVER, Delivery, Driver, RunStop
from server.dispatch.runs import Floats, Spot, Where
from server.dispatch.zones import NO_ZONES, Zones

PACE_SECONDS: Final = 3600.0
"""An order of so long ago counts e times less for the pace of its store."""
FORGOTTEN_SECONDS: Final = 4 * PACE_SECONDS
EXPECTED_SECONDS: Final = 600.0
"""The orders of so many seconds are expected again in the next ones."""
MOST: Final = 200
STORES: Final = 1_000
"""The limit of stores that are remembered."""


class RecentOrders:
    """The orders that came lately, from which the planner expects more: those of all zones, or of one.

    Memory is bounded. Of more than `MOST` orders in `EXPECTED_SECONDS` nothing is expected: so many orders come that
    drivers become free all the time.
    """

    def __init__(self, other: "RecentOrders | None" = None) -> None:
        """Those of another one, for a thread, or none."""
        self._pace: dict[Spot, tuple[float, float]] = dict(other._pace) if other is not None else {}
        self._recent: list[tuple[float, Spot, float, str]] = list(other._recent) if other is not None else []
        """When each recent order came, its store, its preparation time in seconds, and its zone; the oldest first."""

    def count(self, store: Spot, at: float, prep_seconds: float, zone: str) -> None:
        """One more order of a store. Orders and stores are forgotten when they are old."""
        insort(self._recent, (at, store, prep_seconds, zone))
        del self._recent[: bisect_left(self._recent, (self._recent[-1][0] - EXPECTED_SECONDS,))]
        del self._recent[: -MOST - 1]
        count, since = self._pace.pop(store, (0.0, at))
        last = max(since, at)
        self._pace[store] = (exp((at - last) / PACE_SECONDS) + count * exp((since - last) / PACE_SECONDS), last)
        oldest = next(iter(self._pace))
        if self._pace[oldest][1] < at - FORGOTTEN_SECONDS or len(self._pace) > STORES:
            del self._pace[oldest]

    def says(self, now: float) -> bool:
        """Whether anything is expected."""
        return bool(self._pace) and (len(self._recent) <= MOST or self._recent[0][0] <= now - EXPECTED_SECONDS)

    def expected(self, now: float, zone: str | None = None) -> tuple[Floats, Floats]:
        """The stores of the orders that are expected, one a row, and when the goods will be ready: as if the orders of
        the last `EXPECTED_SECONDS` came again in the next ones.
        """
        orders = [
            (store, at + EXPECTED_SECONDS + preparation)
            for at, store, preparation, of in self._recent
            if now - EXPECTED_SECONDS < at <= now and zone in (None, of) and self.says(now)
        ]
        return np.array([store for store, _ in orders]).reshape(-1, 2), np.array([ready for _, ready in orders])

    def pace(self, now: float) -> tuple[Floats, Floats]:
        """The stores with recent orders, one a row (latitude, longitude), and how many orders a second each has.

        Sorted and rounded, so that it is the same, to the last bit, in whatever order the orders came.
        """
        known = sorted(self._pace) if self.says(now) else []
        counts, since = np.array([self._pace[store] for store in known]).reshape(-1, 2).T
        rates = counts * np.exp((since - now) / PACE_SECONDS) / PACE_SECONDS
        return np.array(known).reshape(-1, 2), np.round(rates, 12)


class Fleet:
    """The deliveries that are not over, the drivers, and the places of drivers.

    `recent` are the orders that came lately, if somebody else counts them.
    """

    def __init__(self, zones: Zones = NO_ZONES, recent: RecentOrders | None = None) -> None:
        self.zones = zones
        self.deliveries: dict[str, Delivery] = {}
        self.drivers: dict[str, Driver] = {}
        self.places: dict[str, Where] = {}
        self.stored_runs: dict[str, Sequence[RunStop]] = {}
        """The stops that the rules have stored, of drivers with more than one delivery."""
        self.recent = recent if recent is not None else RecentOrders()
        self._counts = recent is None
        self._waiting: dict[str, dict[str, Delivery]] = {}
        self._waits_among: dict[str, dict[str, Delivery]] = {}
        """The part of `_waiting` that each delivery is in."""
        self._jobs: dict[str, tuple[Delivery, ...]] = {}
        self._whose: dict[str, str] = {}
        """The driver of each delivery in `_jobs`."""
        self._driver_ids: dict[str, set[str]] = {}

    def put_delivery(self, delivery: Delivery) -> None:
        self._waits_among.pop(delivery.id, {}).pop(delivery.id, None)
        driver_id = self._whose.pop(delivery.id, None)
        if driver_id is not None:
            self._jobs[driver_id] = tuple(job for job in self._jobs[driver_id] if job.id != delivery.id)
        if delivery.status in OVER:
            self.deliveries.pop(delivery.id, None)
            return
        if self._counts and delivery.id not in self.deliveries:
            store = (delivery.pickup.lat, delivery.pickup.lon)
            self.recent.count(store, delivery.created_at.timestamp(), float(delivery.prep_seconds), delivery.zone)
        self.deliveries[delivery.id] = delivery
        offer = delivery.open_offer()
        had = offer if offer is not None else delivery.active_assignment()
        if had is not None:
            self._whose[delivery.id] = had.driver_id
            self._jobs[had.driver_id] = tuple(sorted((*self._jobs.get(had.driver_id, ()), delivery), key=_by_age))
        elif delivery.status == "READY":
            group = self._waits_among[delivery.id] = self._waiting.setdefault(delivery.zone, {})
            group[delivery.id] = delivery

    def put_driver(self, driver: Driver) -> None:
        before = self.drivers.get(driver.id)
        if before is not None and before.zone != driver.zone:
            self._driver_ids[before.zone].discard(driver.id)
        self.drivers[driver.id] = driver
        self._driver_ids.setdefault(driver.zone, set()).add(driver.id)

    def put_place(self, driver_id: str, where: Where) -> None:
        self.places[driver_id] = where

    def put_run(self, driver_id: str, stops: Sequence[RunStop]) -> None:
        """The stored stops of a driver as they are after a commit."""
        self.stored_runs[driver_id] = stops

    def drivers_of(self, zone: str | None) -> list[Driver]:
        """The drivers of a zone, or of all (None), by id."""
        ids = self.drivers if zone is None else self._driver_ids.get(zone, ())
        return [self.drivers[driver_id] for driver_id in sorted(ids)]

    def jobs_of(self, driver_id: str) -> tuple[Delivery, ...]:
        """What the driver has: accepted, on board, or offered to them; the oldest first. As long as nothing of it
        changes, it is the same tuple.
        """
        return self._jobs.get(driver_id, ())

    def waiting(self, zone: str | None = None) -> list[Delivery]:
        """The deliveries of a zone, or of all (None), that wait without an offer; the oldest first."""
        zones = self._waiting.values() if zone is None else (self._waiting.get(zone, {}),)
        return sorted((delivery for waiting in zones for delivery in waiting.values()), key=_by_age)


def _by_age(delivery: Delivery) -> tuple[datetime, str]:
    return delivery.created_at, delivery.id
