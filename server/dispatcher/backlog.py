"""The waiting deliveries that the node with the lease knows, and the offers in progress.

All of it comes from commits and from the database. Losing it costs a read, never an order. Times are the event loop's.
"""

import asyncio
import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import cos
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from server.dispatch.model import Delivery
from server.dispatch.offers import exclusion, wants_offer
from server.dispatch.planning.nearby import Columns, Flags, Free, Indexes, Nearby, unit
from server.dispatch.policy import Policy, search_radius_km
from server.dispatch.search_reasons import LOST_RACE
from server.dispatch.travel import EARTH_RADIUS_KM
from server.store.clock import DatabaseTime
from server.tasks import Turns

POLLED_SECONDS: Final = 0.25
"""How long a delivery that was found in the database waits for the hint of its node."""
LOST_SECONDS: Final = 1.0
"""After a delivery lost a driver to a race, it is not offered to them for this long."""

NEAREST: Final = 20
"""So many drivers are looked at for each delivery where some of them have deliveries already."""

TREE_PAIRS: Final = 10_000
"""From so many pairs on, it is quicker to put the drivers into a tree."""

WIDE: Final = 3
"""The column of `Backlog.pickups` after the place on the unit sphere: whether the search was widened."""


class Wait:
    """A waiting delivery without an open offer.

    `due` is when to look for a driver next (`Backlog.schedule` sets it); `searched` whether that was done before.
    `recorded_reason` and `recorded_at` are the last recorded failure, `checked_at` when its reason was last determined.
    `since` is when it began to wait for this offer, `learned_at` when this node learned of it. `lost` are drivers
    lost to a race, with the time until which they are left out. `cannot_be_held`: its hold has ended, but was not
    `ended_early` because no driver was there; or the rules refused to hold it. `planned`: it was in a plan of all of
    its zone. `moved`: it is held, and its pickup is elsewhere since the last plan. `polled`: it was found in the
    database. `unstored_until`: a driver whose position was not stored yet is asked again then.
    """

    __slots__ = (
        "cannot_be_held",
        "checked_at",
        "delivery",
        "due",
        "ended_early",
        "learned_at",
        "lost",
        "moved",
        "planned",
        "polled",
        "recorded_at",
        "recorded_reason",
        "searched",
        "since",
        "unstored_until",
    )

    def __init__(self, delivery: Delivery, now: float, clock: DatabaseTime) -> None:
        self.delivery = delivery
        self.due = now
        self.learned_at = self.since = now
        if delivery.unassigned_since is not None and not delivery.offers:
            self.since = min(now, clock.on_loop(delivery.unassigned_since))
        self.unstored_until = float("-inf")
        self.searched = self.polled = self.cannot_be_held = self.ended_early = self.planned = self.moved = False
        self.lost: dict[str, float] = {}
        unassigned = delivery.unassigned
        self.recorded_reason: str | None = None
        self.recorded_at = self.checked_at = float("-inf")
        if unassigned is not None:
            self.recorded_reason = unassigned.failure_reason
            self.recorded_at = clock.on_loop(unassigned.last_attempt_at)

    def lost_now(self) -> list[str]:
        """The drivers who are left out now because they were lost to a race."""
        now = asyncio.get_running_loop().time()
        return [driver_id for driver_id, until in self.lost.items() if until > now]

    def excluded(self, clock: DatabaseTime, policy: Policy) -> dict[str, str]:
        """The drivers who must not get this delivery now, with reasons: by the rules, and those it has just lost."""
        delivery = self.delivery
        if not self.lost and not delivery.offers and not delivery.assignments:
            return {}
        at = clock.now()
        reasons = dict.fromkeys(self.lost_now(), LOST_RACE)
        asked = {offer.driver_id for offer in delivery.offers.values()}
        asked.update(assignment.driver_id for assignment in delivery.assignments.values())
        for driver_id in asked:
            why = exclusion(delivery, driver_id, at, policy)
            if why is not None:
                reasons[driver_id] = why
        return reasons


class Backlog:
    """The waiting deliveries that this node knows."""

    def __init__(self, clock: DatabaseTime) -> None:
        self.waits: dict[str, Wait] = {}
        self.offering: set[str] = set()
        """Deliveries of offers that are being committed."""
        self.reserved: set[str] = set()
        """Drivers of those offers."""
        self.held: dict[str, Wait] = {}
        """Deliveries that are held."""
        self.offered: dict[str, Delivery] = {}
        """The last delivery that was offered to each driver."""
        self.pickups: dict[str, Columns] = {}
        """Where the deliveries of each zone wait."""
        self._new: dict[str, Wait] = {}
        self._dues: list[tuple[float, int, Wait]] = []
        self._number = itertools.count()
        self._clock = clock

    def forget(self) -> None:
        """Another node dispatches now."""
        self.waits.clear()
        self.held.clear()
        self.offered.clear()
        self.pickups.clear()
        self._new.clear()
        self._dues.clear()

    def learn(
        self, deliveries: Iterable[Delivery], now: float, window_seconds: float = 0, *, polled: bool = False
    ) -> bool:
        """Update the backlog from a commit; returns whether there is a new delivery to find a driver for.

        The search for it begins at the end of the window, or with the first search before that. If the delivery was
        only `polled`, it begins later, or when the delivery is learned of by its commit or hint: what its node knows of
        drivers is in the hints before that one.
        """
        news = False
        for delivery in deliveries:
            held = self.held.get(delivery.id)
            if held is not None and held.delivery.version <= delivery.version:
                del self.held[delivery.id]
            else:
                held = None
            if not wants_offer(delivery):
                self._remove(delivery.id)
                offer = delivery.open_offer()
                if offer is not None:
                    self.offered[offer.driver_id] = delivery
                elif delivery.status == "READY" and delivery.held_until is not None:
                    wait = self.held[delivery.id] = Wait(delivery, now, self._clock)
                    wait.moved = held is not None and (held.moved or _is_elsewhere(held.delivery, delivery))
                continue
            known = self.waits.get(delivery.id)
            if known is not None and known.polled and not polled and known.delivery.version == delivery.version:
                known.polled = False
                self._new[delivery.id] = known
                self.schedule(known, now + window_seconds)
                news = True
            if known is None or known.delivery.version < delivery.version:
                self._remove(delivery.id)
                wait = self.waits[delivery.id] = Wait(delivery, now, self._clock)
                if polled:
                    wait.polled, window_seconds = True, max(window_seconds, POLLED_SECONDS)
                else:
                    self._new[delivery.id] = wait
                if held is not None:
                    wait.cannot_be_held = not held.ended_early
                elif known is not None and delivery.is_ready_at() <= known.delivery.is_ready_at():
                    wait.cannot_be_held = known.cannot_be_held
                self.schedule(wait, now + window_seconds)
                columns = self.pickups.get(delivery.zone)
                if columns is None:
                    columns = self.pickups[delivery.zone] = Columns(WIDE + 1)
                place = unit(delivery.pickup.lat, delivery.pickup.lon)
                columns.put(delivery.id, (*place, delivery.widened_at is not None))
                news = True
        return news

    def schedule(self, wait: Wait, due: float) -> None:
        """Look for a driver at this time."""
        wait.due = due
        heapq.heappush(self._dues, (due, next(self._number), wait))

    def all_now(self, now: float) -> None:
        """Look for a driver for each delivery now that was searched for before."""
        for wait in self.waits.values():
            if wait.searched and wait.due > now:
                self.schedule(wait, now)

    def take_due(self, now: float, limit: int) -> list[Wait]:
        """The deliveries to find a driver for now, at most `limit`; the others stay due. If there is one, new
        deliveries are included as far as there is room.
        """
        found: list[Wait] = []
        while self._dues and self._dues[0][0] <= now and len(found) < limit:
            due, _, wait = heapq.heappop(self._dues)
            if wait.due == due and self.still(wait):
                found.append(wait)
                wait.due = float("inf")
        if found:
            new = (wait for wait in self._new.values() if now < wait.due < float("inf"))
            found += itertools.islice(new, limit - len(found))
            for wait in found:
                self._new.pop(wait.delivery.id, None)
                wait.searched = True
        return found

    def next_due(self) -> float:
        while self._dues and (self._dues[0][2].due != self._dues[0][0] or not self.still(self._dues[0][2])):
            heapq.heappop(self._dues)
        return self._dues[0][0] if self._dues else float("inf")

    def near(self, zone: str, free: Free, policy: Policy) -> Iterator[Wait]:
        """The deliveries of a zone that were searched for, in reach of any of these drivers, with no offer in
        progress.
        """
        columns = self.pickups.get(zone)
        if columns is None or not len(columns) or not len(free):
            return
        numbers = columns.numbers
        least = np.where(numbers[WIDE] > 0, *_cosines(policy))
        reach = (numbers[:WIDE].T @ free.places.T).max(axis=1) >= least
        for delivery_id in columns.ids[reach].tolist():
            wait = self.waits[delivery_id]
            if wait.searched and delivery_id not in self.offering:
                yield wait

    def searched_in(self, zone: str) -> Iterator[Wait]:
        """The deliveries of a zone that were searched for, with no offer in progress."""
        for delivery_id in self.pickups[zone].ids.tolist() if zone in self.pickups else ():
            wait = self.waits[delivery_id]
            if wait.searched and delivery_id not in self.offering:
                yield wait

    def lose(self, wait: Wait, driver_id: str, now: float, seconds: float = LOST_SECONDS) -> None:
        """The driver found for this one cannot get it: search again at once, without them for some seconds."""
        wait.lost[driver_id] = now + seconds
        self.schedule(wait, now)

    def still(self, wait: Wait) -> bool:
        """Whether it still waits unchanged, without an offer in progress."""
        delivery_id = wait.delivery.id
        return self.waits.get(delivery_id) is wait and delivery_id not in self.offering

    def drop(self, wait: Wait) -> None:
        """The delivery no longer waits, unless a newer version waits."""
        if self.waits.get(wait.delivery.id) is wait:
            self._remove(wait.delivery.id)

    def keep_only(self, waiting: Mapping[str, int], asked: float) -> None:
        """The database returned the waiting deliveries at `asked` or later: forget others that were known before."""
        for wait in list(self.waits.values()):
            if wait.delivery.id not in waiting and wait.learned_at < asked:
                self.drop(wait)
        for delivery_id, wait in list(self.held.items()):
            if delivery_id not in waiting and wait.learned_at < asked:
                del self.held[delivery_id]

    def unknown(self, waiting: Mapping[str, int]) -> list[str]:
        """The ids that are unknown here, or known in an older version."""
        return [
            delivery_id
            for delivery_id, version in waiting.items()
            if (known := self.waits.get(delivery_id) or self.held.get(delivery_id)) is None
            or known.delivery.version < version
        ]

    def _remove(self, delivery_id: str) -> None:
        wait = self.waits.pop(delivery_id, None)
        if wait is not None:
            self._new.pop(delivery_id, None)
            columns = self.pickups[wait.delivery.zone]
            columns.remove(delivery_id)
            if not len(columns):
                del self.pickups[wait.delivery.zone]


def _is_elsewhere(before: Delivery, after: Delivery) -> bool:
    """Whether the pickup is at another place, not only with another contact."""
    return (before.pickup.lat, before.pickup.lon) != (after.pickup.lat, after.pickup.lon)


def age(wait: Wait) -> float:
    """Since when it waits, in Unix seconds: to sort by."""
    since = wait.delivery.unassigned_since
    return since.timestamp() if since is not None else 0.0


def radius_km(delivery: Delivery, policy: Policy) -> float:
    """How far from the pickup drivers are looked for now."""
    return search_radius_km(delivery.widened_at is not None, policy)


def least_cosines(waits: Iterable[Wait], policy: Policy) -> npt.NDArray[np.float64]:
    """The cosine of the radius of each delivery's search."""
    wide, narrow = _cosines(policy)
    return np.array([wide if wait.delivery.widened_at is not None else narrow for wait in waits])


def nearest_drivers_of(waits: Sequence[Wait], free: Free) -> Indexes:
    """The rows of the drivers who are nearest to any of these deliveries: some without and some with deliveries."""
    pickups = np.array([unit(wait.delivery.pickup.lat, wait.delivery.pickup.lon) for wait in waits])
    found = []
    for rows in (np.flatnonzero(free.loads == 0), np.flatnonzero(free.loads)):
        if len(rows) > NEAREST:
            if len(pickups) * len(rows) < TREE_PAIRS:
                farness = -(pickups @ free.places[rows].T)
                nearest = np.argpartition(farness, NEAREST - 1, axis=1)[:, :NEAREST]
            else:
                tree = cKDTree(free.places[rows], balanced_tree=False, compact_nodes=False)
                nearest = tree.query(pickups, k=NEAREST)[1]
            rows = rows[np.unique(nearest)]
        found.append(rows)
    return np.sort(np.concatenate(found))


def _cosines(policy: Policy) -> tuple[float, float]:
    wide, narrow = search_radius_km(True, policy), search_radius_km(False, policy)
    return cos(wide / EARTH_RADIUS_KM), cos(narrow / EARTH_RADIUS_KM)


async def allowed_pairs(
    rows: Sequence[Wait], free: Free, nearby: Nearby, clock: DatabaseTime, policy: Policy
) -> Flags | None:
    """Which delivery may get which driver, by what happened before, by tags and by shifts. None: any."""
    allowed: Flags | None = None
    shifts_end, turns = bool((free.offs < np.inf).any()), Turns()
    for row, wait in enumerate(rows):
        await turns.step()
        delivery = wait.delivery
        past = wait.lost or delivery.offers or delivery.assignments
        if not past and not delivery.requirements and not shifts_end:
            continue
        if allowed is None:
            allowed = np.ones((len(rows), len(free)), dtype=bool)
        if past:
            for driver_id in wait.excluded(clock, policy):
                allowed[row] &= free.ids != driver_id
        if delivery.requirements:
            allowed[row] &= nearby.who_has(free.ids, delivery.requirements)
        if shifts_end:
            allowed[row] &= nearby.who_is_in_time(free, delivery, clock.now(), policy)
    return allowed
