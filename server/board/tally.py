"""Running counts for the board: all open deliveries and all drivers, also those without a row on the screen.

It keeps a small record of each, so that the cost of a change does not grow with the fleet.
"""

import heapq
from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import Struct

from server.contract.words import STATES
from server.store.reads.board import CountedDelivery, CountedDriver

ALL = ""
"""The name under which all zones are counted together."""


class ZoneCounts(Struct, rename="camel"):
    """The numbers of one zone, or of all. `oldest` is since when the longest waiting delivery waits, `gone` counts the
    deliveries under way whose driver has gone. `waiting` are without those that are held.
    """

    waiting: int = 0
    held: int = 0
    offers: int = 0
    active: int = 0
    gone: int = 0
    alerts: int = 0
    oldest: datetime | None = None
    states: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(STATES, 0))


class Tally:
    """What is counted, by id; and the counts by zone, kept up to date with every change."""

    def __init__(self) -> None:
        self._deliveries: dict[str, CountedDelivery] = {}
        self._drivers: dict[str, CountedDriver] = {}
        self._zones: dict[str, ZoneCounts] = {ALL: ZoneCounts()}
        self._oldest: dict[str, list[tuple[datetime, str]]] = {}

    @property
    def drivers(self) -> int:
        return len(self._drivers)

    @property
    def everywhere(self) -> ZoneCounts:
        """The numbers of all zones together, without alerts and the longest wait."""
        return self._zones[ALL]

    def delivery(self, now: CountedDelivery) -> bool:
        """A delivery as it is now, open or over. Whether a number changed."""
        before = self._deliveries.get(now.id)
        if now == before or (before is None and not now.is_open):
            return False
        if before is not None:
            self._add(before, -1)
            del self._deliveries[now.id]
        if now.is_open:
            self._deliveries[now.id] = now
            self._add(now, 1)
            if now.waiting and now.since is not None:
                for zone in (ALL, now.zone):
                    heapq.heappush(self._oldest.setdefault(zone, []), (now.since, now.id))
        return True

    def driver(self, now: CountedDriver) -> bool:
        """A driver as they are now. Whether a number changed."""
        if now == self._drivers.get(now.id):
            return False
        self.forget_driver(now.id)
        self._drivers[now.id] = now
        for zone in self._of(now.zone):
            zone.states[now.state] += 1
        return True

    def forget_driver(self, driver_id: str) -> None:
        before = self._drivers.pop(driver_id, None)
        if before is not None:
            for zone in self._of(before.zone):
                zone.states[before.state] -= 1

    def zones(self, alerts: Iterable[str]) -> dict[str, ZoneCounts]:
        """The numbers of every zone, and of all of them under an empty name. `alerts`: the zone of each open alert."""
        zones = {
            name: msgspec.structs.replace(zone, oldest=self._longest(name), states=dict(zone.states))
            for name, zone in self._zones.items()
            if name == ALL or zone.waiting or zone.held or zone.active or any(zone.states.values())
        }
        for name in alerts:
            zones.setdefault(name, ZoneCounts()).alerts += 1
            zones[ALL].alerts += 1
        return zones

    def _of(self, name: str) -> tuple[ZoneCounts, ZoneCounts]:
        return self._zones[ALL], self._zones.get(name) or self._zones.setdefault(name, ZoneCounts())

    def _add(self, delivery: CountedDelivery, by: int) -> None:
        for zone in self._of(delivery.zone):
            if delivery.waiting:
                zone.waiting += by
                zone.offers += by * delivery.offered
            elif delivery.held:
                zone.held += by
            else:
                zone.active += by

    def _longest(self, name: str) -> datetime | None:
        """The earliest in the heap that still waits since then; those before it are of no more use."""
        heap = self._oldest.get(name, [])
        while heap:
            since, delivery_id = heap[0]
            known = self._deliveries.get(delivery_id)
            if known is not None and known.waiting and known.since == since and name in (ALL, known.zone):
                return since
            heapq.heappop(heap)
        return None
