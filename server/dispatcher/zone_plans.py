"""Plans of the live server: the planner (`dispatch/planning`) on what this node knows of a zone.

Drivers without deliveries who can get an offer now need no plan for orders that are not held: pairs are enough.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final, TypeVar

import numpy as np

from server.current_policy import KnownZones
from server.dispatch.matching import best_pairs
from server.dispatch.model import Delivery, Work
from server.dispatch.planning.fleet import RecentOrders
from server.dispatch.planning.nearby import Free, Nearby, unit
from server.dispatch.planning.part import NO_DRIVERS, NO_ORDERS, plan_part
from server.dispatch.planning.plan import NO_PLAN, Plan
from server.dispatch.policy import Policy
from server.dispatcher.backlog import Backlog, Wait, age, allowed_pairs, least_cosines, nearest_drivers_of
from server.store.clock import DatabaseTime
from server.store.engine import Database
from server.store.reads.waiting import QUERY_TIMEOUT_SECONDS, orders_lately
from server.store.rows import read_work
from server.tasks import Turns

READ_SLICE: Final = 50
"""The work of so many drivers is read at a time, so that the loop is never stopped for long."""
PLANNED_ROWS: Final = 100
"""So many deliveries are planned together where drivers have deliveries already."""
FEW_PAIRS: Final = 200
"""Up to this number of pairs, a plan is not worth a thread."""
LARGE: Final = 20_000
"""From this number of pairs on, matching runs in a thread."""
COUNTED: Final = 10_000
"""So many orders are remembered by id, so that each counts once for what is expected."""

ZONES: Final = 1_000
"""The zones with the latest orders and plans are remembered, so many: order sources choose their names freely."""

Found = TypeVar("Found")
Pairs = list[tuple[int, int]]
"""A delivery by its row, and its driver by theirs."""


class ZonePlans:
    """What was planned in each zone, and the orders that came there lately."""

    def __init__(
        self,
        database: Database,
        nearby: Callable[[], Nearby],
        backlog: Backlog,
        zones: KnownZones,
        clock: DatabaseTime,
    ) -> None:
        self._database = database
        self._nearby = nearby
        self._backlog = backlog
        self._zones = zones
        self._clock = clock
        self._recent: dict[str, RecentOrders] = {}
        self._counted: OrderedDict[str, None] = OrderedDict()
        self._planned: dict[str, dict[str, str]] = {}
        """By zone: the driver that the last plan had for each delivery."""
        self._strain: dict[str, float] = {}

    def forget(self) -> None:
        """Another node dispatches now."""
        self._recent.clear()
        self._counted.clear()
        self._planned.clear()
        self._strain.clear()

    async def remember(self) -> None:
        """Count the orders that came before this node dispatched. Raises what the database raises."""
        turns = Turns()
        for delivery_id, zone, lat, lon, at, prep_seconds in await orders_lately(self._database.pool):
            self._count(delivery_id, zone, (lat, lon), at.timestamp(), prep_seconds)
            await turns.step()

    def count(self, delivery: Delivery) -> None:
        """An order that waits or was placed: it counts once for what is expected."""
        if delivery.id not in self._counted:
            store, at = (delivery.pickup.lat, delivery.pickup.lon), delivery.created_at.timestamp()
            self._count(delivery.id, delivery.zone, store, at, delivery.prep_seconds)

    def _count(self, delivery_id: str, zone: str, store: tuple[float, float], at: float, prep_seconds: int) -> None:
        if delivery_id in self._counted:
            return
        self._counted[delivery_id] = None
        if len(self._counted) > COUNTED:
            self._counted.popitem(last=False)
        self._recent_in(zone).count(store, at, float(prep_seconds), zone)

    def _recent_in(self, zone: str) -> RecentOrders:
        """Of this zone, which is the latest from now on."""
        known = self._recent.pop(zone, None)
        recent = self._recent[zone] = known if known is not None else RecentOrders()
        if len(self._recent) > ZONES:
            oldest = next(iter(self._recent))
            for of_zones in (self._recent, self._planned, self._strain):
                of_zones.pop(oldest, None)
        return recent

    async def whole(self, zone: str, rows: Sequence[Wait], not_held: Collection[str], policy: Policy) -> Plan:
        """The plan for these deliveries of a zone and the drivers there who can get an offer now or later. What was
        planned before stays if another plan is hardly better.
        """
        drivers = self._nearby().at_work(zone, self._clock.now(), policy, self._backlog.reserved)
        if not len(drivers) or not rows:
            return NO_PLAN
        ids = {wait.delivery.id for wait in rows}
        what = partial(
            plan_part,
            not_held=not_held,
            planned={of: driver_id for of, driver_id in self._planned.get(zone, NO_DRIVERS).items() if of in ids},
            recent=RecentOrders(self._recent_in(zone)),
            strain=self._strain.get(zone, 0.0),
        )
        found = await self._plan(rows, drivers, policy, what)
        if zone not in self._recent:  # many others came meanwhile
            return found
        self._planned[zone] = {
            of: driver_id
            for driver_id, stops in found.runs.items()
            for of, is_drop in stops
            if not is_drop and of in ids
        }
        self._strain[zone] = found.strain
        return found

    async def pairs(self, rows: Sequence[Wait], free: Free, policy: Policy) -> Pairs:
        """Who gets which of these drivers now. Nothing is held."""
        if not len(free) or not rows:
            return []
        if free.loads.any():
            return await self._pairs_with_runs(rows, free, policy)
        return await self._nearest_pairs(rows, free, policy)

    async def _pairs_with_runs(self, rows: Sequence[Wait], free: Free, policy: Policy) -> Pairs:
        """Some of the drivers have deliveries: the planner proposes for the oldest rows, within the limits of the
        policy. The other rows get drivers without deliveries.
        """
        first = rows[:PLANNED_ROWS]
        row_of = {wait.delivery.id: row for row, wait in enumerate(first)}
        index_of = dict(zip(free.ids.tolist(), range(len(free)), strict=True))
        found = await self._plan(first, free, policy, partial(plan_part, not_held=row_of, recent=NO_ORDERS))
        pairs = [(row_of[one.delivery_id], index_of[one.driver_id]) for one in found.proposals]
        if len(rows) > len(first):
            idle = np.setdiff1d(np.flatnonzero(free.loads == 0), [index for _, index in pairs])
            others = await self._nearest_pairs(rows[len(first) :], free.only(idle), policy)
            pairs += [(len(first) + row, int(idle[index])) for row, index in others]
        return pairs

    async def _nearest_pairs(self, rows: Sequence[Wait], free: Free, policy: Policy) -> Pairs:
        if not len(free):
            return []
        now = self._clock.now()
        pickups = np.array([unit(wait.delivery.pickup.lat, wait.delivery.pickup.lon) for wait in rows])
        least = least_cosines(rows, policy)
        ages = np.array([max(0.0, now.timestamp() - age(wait)) for wait in rows])
        allowed = await allowed_pairs(rows, free, self._nearby(), self._clock, policy)
        what = partial(best_pairs, pickups, least, ages, free.places, policy, allowed)
        return await _in_thread(len(rows) * len(free) >= LARGE, what)

    async def _plan(self, rows: Sequence[Wait], drivers: Free, policy: Policy, what: Callable[..., Plan]) -> Plan:
        """The plan that `what` makes of these deliveries and the nearest of these drivers."""
        near = await _in_thread(len(rows) * len(drivers) >= LARGE, partial(nearest_drivers_of, rows, drivers))
        loaded = drivers.ids[near[drivers.loads[near] > 0]].tolist()
        work: dict[str, Work] = {}
        for begin in range(0, len(loaded), READ_SLICE):
            some = loaded[begin : begin + READ_SLICE]
            work |= await read_work(self._database.pool, some, timeout=QUERY_TIMEOUT_SECONDS)
        known, offered, turns = [], {}, Turns()
        for driver_id in drivers.ids[near].tolist():
            await turns.step()
            if driver_id not in self._nearby().drivers:
                continue
            driver = self._nearby().driver(driver_id)
            if driver.position is None:
                continue
            known.append(driver)
            delivery = self._backlog.offered.get(driver_id)
            if delivery is not None and delivery.current_offer_id == driver.open_offer_id:
                offered[driver_id] = delivery
        waiting, now = [wait.delivery for wait in rows], self._clock.now()
        lost = {wait.delivery.id: wait.lost_now() for wait in rows if wait.lost}
        what = partial(what, waiting, known, work, self._zones.current, now, policy, offered=offered, lost=lost)
        return await _in_thread(len(rows) * len(known) > FEW_PAIRS, what)


async def _in_thread(wanted: bool, what: Callable[[], Found]) -> Found:
    return await asyncio.to_thread(what) if wanted else what()
