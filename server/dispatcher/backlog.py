"""The state of the matcher between rounds: waiting deliveries, drivers who became free or busy, and offers in progress.

All of it comes from commits on this node and from the database. Losing it costs a read, never an order. Times are the
event loop's.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np

from server.dispatch.model import Delivery, Point
from server.dispatch.offers import exclusion, wants_offer
from server.dispatch.policy import Policy
from server.dispatch.reasons import LOST_RACE, distances_km
from server.dispatcher.search import Place, radius_km
from server.store.clock import DatabaseTime

LOST_SECONDS: Final = 1.0
"""After a delivery lost a driver to a race, it is not offered to them for this long."""


TAKEN_SECONDS: Final = 0.25
"""How long a commit here is believed more than an index that shows a driver as free."""


class Wait:
    """A waiting delivery without an open offer.

    `due` is when to search for it next; `searched` whether there was a search before; `complete` whether that search
    must read the database because the index had no driver, and `scanned` when it last did. `recorded_reason` and
    `recorded_at` are the last recorded failure, `checked_at` when its reason was last determined. `reason` is why its
    own zone had no driver. `since` is when it began to wait for this offer, `learned_at` when this node learned of it.
    `unfit` are drivers who do not fit it, with reasons.
    """

    __slots__ = (
        "checked_at",
        "complete",
        "delivery",
        "due",
        "learned_at",
        "looked_at",
        "lost",
        "reason",
        "recorded_at",
        "recorded_reason",
        "scanned",
        "searched",
        "since",
        "unfit",
    )

    def __init__(self, delivery: Delivery, now: float, due: float, clock: DatabaseTime) -> None:
        self.delivery = delivery
        self.due = due
        self.learned_at = self.since = now
        if delivery.unassigned_since is not None and not delivery.offers:
            self.since = min(now, clock.on_loop(delivery.unassigned_since))
        self.complete = self.searched = False
        self.scanned = float("-inf")
        self.lost: dict[str, float] = {}
        self.unfit: dict[str, str] = {}
        self.looked_at: set[str] = set()
        unassigned = delivery.unassigned
        self.reason: str | None = None
        self.recorded_reason: str | None = None
        self.recorded_at = self.checked_at = float("-inf")
        if unassigned is not None:
            self.recorded_reason = unassigned.failure_reason
            self.recorded_at = clock.on_loop(unassigned.last_attempt_at)

    def excluded(self, now: float, clock: DatabaseTime, policy: Policy) -> dict[str, str]:
        """The drivers who must not get this delivery now, with reasons: by the rules, and those it has just lost."""
        reasons = {driver_id: LOST_RACE for driver_id, until in self.lost.items() if until > now}
        reasons.update(self.unfit)
        delivery = self.delivery
        if delivery.offers or delivery.assignments:
            reasons.update(exclusions(delivery, clock, policy))
        return reasons


def exclusions(delivery: Delivery, clock: DatabaseTime, policy: Policy) -> dict[str, str]:
    """Driver id -> the rules' reason not to offer the delivery to them again."""
    at = clock.now()
    asked = {offer.driver_id for offer in delivery.offers.values()}
    asked.update(assignment.driver_id for assignment in delivery.assignments.values())
    reasons = {driver_id: exclusion(delivery, driver_id, at, policy) for driver_id in asked}
    return {driver_id: reason for driver_id, reason in reasons.items() if reason is not None}


class Backlog:
    """The waiting deliveries that this node knows."""

    def __init__(self, clock: DatabaseTime) -> None:
        self.waits: dict[str, Wait] = {}
        self.offering: set[str] = set()
        """Deliveries of offers that are being committed."""
        self.reserved: set[str] = set()
        """Drivers of those offers."""
        self.freed: dict[str, tuple[str, Place]] = {}
        """Drivers who became dispatchable since the last round began: id -> zone and position."""
        self.taken: dict[str, float] = {}
        """Drivers who stopped being dispatchable, and when, as long as the index may not show it yet."""
        self._clock = clock

    def forget(self) -> None:
        """Another node dispatches now."""
        self.waits.clear()
        self.freed.clear()
        self.taken.clear()

    def learn(self, deliveries: Iterable[Delivery], now: float, window_seconds: float = 0) -> bool:
        """Update the backlog from a commit; returns whether there is a new delivery to search for.

        The search for it begins at the end of the window, or with the first search before that.
        """
        news = False
        for delivery in deliveries:
            if not wants_offer(delivery):
                self.waits.pop(delivery.id, None)
                continue
            known = self.waits.get(delivery.id)
            if known is None or known.delivery.version < delivery.version:
                self.waits[delivery.id] = Wait(delivery, now, now + window_seconds, self._clock)
                news = True
        return news

    def placed(self, zone: str, driver_id: str, place: Place | None, now: float) -> None:
        """A driver, as committed: dispatchable at this place (latitude first), or not dispatchable."""
        if place is None:
            self.taken[driver_id] = now
            self.freed.pop(driver_id, None)
        else:
            self.taken.pop(driver_id, None)
            self.freed[driver_id] = (zone, place)

    def begin_round(self, now: float) -> dict[str, tuple[str, Place]]:
        """Drivers who became free since the last round began. Drivers who became busy long before are forgotten."""
        freed, self.freed = self.freed, {}
        since = now - TAKEN_SECONDS
        self.taken = {driver_id: at for driver_id, at in self.taken.items() if at > since}
        return freed

    def found_free(self, driver_ids: Iterable[str], asked: float) -> None:
        """The database returned these drivers as dispatchable at `asked` or later: forget earlier commits about
        them.
        """
        for driver_id in driver_ids:
            if self.taken.get(driver_id, asked) < asked:
                del self.taken[driver_id]

    def free(self, driver_id: str) -> bool:
        """Whether no recent commit contradicts that this driver is dispatchable."""
        return driver_id not in self.taken and driver_id not in self.reserved

    def idle(self) -> Iterator[Wait]:
        """The deliveries without an offer in progress."""
        return (wait for delivery_id, wait in self.waits.items() if delivery_id not in self.offering)

    def due(self, now: float) -> list[Wait]:
        """The deliveries to search for now, longest waiting first. If there is one, new deliveries are included."""
        found = [wait for wait in self.idle() if wait.due <= now]
        if found:
            found += [wait for wait in self.idle() if wait.due > now and not wait.searched]
        if len(found) > 1:
            found.sort(key=_age)
        return found

    def next_due(self) -> float:
        """When the next search is due."""
        return min((wait.due for wait in self.idle()), default=float("inf"))

    def near(self, freed: Mapping[str, tuple[str, Place]], now: float, policy: Policy) -> list[Wait]:
        """The deliveries without a driver that are in reach of a driver who became free; they need no new search."""
        by_zone: dict[str, list[Wait]] = {}
        if freed:
            for wait in self.idle():
                if wait.due > now and wait.searched:
                    by_zone.setdefault(wait.delivery.zone, []).append(wait)
        found = []
        for zone, waits in by_zone.items():
            places = [Point(*place) for of, place in freed.values() if of == zone]
            lats = [wait.delivery.pickup.lat for wait in waits]
            lons = [wait.delivery.pickup.lon for wait in waits]
            radii = np.array([radius_km(wait.delivery, policy) for wait in waits])
            reached = np.zeros(len(waits), dtype=bool)
            for place in places:
                reached |= distances_km(place, lats, lons) <= radii
            found += [wait for wait, reach in zip(waits, reached.tolist(), strict=True) if reach]
        return found

    def lose(self, wait: Wait, driver_id: str, now: float) -> None:
        """Another delivery got the driver found for this one: search again at once, without them."""
        wait.lost[driver_id] = now + LOST_SECONDS
        wait.due = now

    def still(self, wait: Wait) -> bool:
        """Whether it still waits unchanged, without an offer in progress."""
        delivery_id = wait.delivery.id
        return self.waits.get(delivery_id) is wait and delivery_id not in self.offering

    def drop(self, wait: Wait) -> None:
        """The delivery no longer waits, unless a newer version waits."""
        if self.waits.get(wait.delivery.id) is wait:
            del self.waits[wait.delivery.id]

    def keep_only(self, waiting: Mapping[str, int], asked: float) -> None:
        """The database returned the waiting deliveries at `asked` or later: forget others that were known before."""
        for wait in list(self.waits.values()):
            if wait.delivery.id not in waiting and wait.learned_at < asked:
                self.drop(wait)

    def unknown(self, waiting: Mapping[str, int]) -> list[str]:
        """The ids that are unknown here, or known in an older version."""
        return [
            delivery_id
            for delivery_id, version in waiting.items()
            if (known := self.waits.get(delivery_id)) is None or known.delivery.version < version
        ]


def _age(wait: Wait) -> float:
    since = wait.delivery.unassigned_since
    return since.timestamp() if since is not None else 0.0
