"""The matcher: whenever somebody waits and somebody is free, it makes pairs of them and offers.

It runs in rounds on what this node knows of deliveries and drivers, and asks nobody. What happens while a round runs
gathers for the next one. Offers are not waited for: their drivers are set aside until they are committed.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import numpy as np
import structlog
from prometheus_client import Counter, Histogram

from server.contract.commit import Committed
from server.current_policy import KnownZones, Policies
from server.dispatch.model import Delivery
from server.dispatch.offers import helping
from server.dispatch.planning.nearby import Free
from server.dispatch.policy import Policy
from server.dispatcher.backlog import Backlog, Wait, age
from server.dispatcher.failures import Failures
from server.dispatcher.holds import Holds
from server.dispatcher.live_fleet import LiveFleet
from server.dispatcher.submissions import Submissions
from server.dispatcher.zone_plans import ZonePlans
from server.lease import Lease
from server.redis.hints import read_fleet_hint
from server.sockets.positions import Positions
from server.store.clock import DatabaseTime
from server.store.engine import DATABASE_ERRORS, Database
from server.store.reads.waiting import read_deliveries, waiting_ids
from server.tasks import Turns, wait_until_set
from server.write.executor import Executor

POLL_SECONDS: Final = 1.0
AFTER_FAILURE_SECONDS: Final = 0.2
RETRY_SECONDS: Final = 0.5
"""How soon a driver is looked for again, where few wait: drivers move, and cooldowns end."""
LONGEST_RETRY_SECONDS: Final = 5.0
RETRIES_A_SECOND: Final = 2_000
STEP_SECONDS: Final = 0.1
"""Deliveries are looked at again together at these times, since a round for one costs as much as one for many."""

ROUND_LIMIT: Final = 500
READ_SLICE: Final = 50
"""So many deliveries are read at a time, so that the loop is never stopped for long."""
KNOWN_LIMIT: Final = 5_000
"""The limit of waiting deliveries in memory, oldest first; others follow as those find drivers."""
PAIRS_LIMIT: Final = 1_000_000
"""The most pairs of a delivery and a driver that are looked at together, if each must be."""
LEAST_ROWS: Final = 100
"""So many deliveries are looked at together with any number of drivers, if no shift ends."""

ROUNDS: Final = Counter("callboard_matcher_rounds", "Rounds in which the matcher looked for drivers")
CANDIDATES: Final = Histogram(
    "callboard_matcher_candidates",
    "Dispatchable drivers in the zones of a round",
    buckets=(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000),
)
WAITING: Final = Histogram(
    "callboard_matcher_deliveries", "Deliveries matched in a round", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
SEARCH_TIME: Final = Histogram(
    "callboard_matcher_search_seconds",
    "From the start of a round to the submission of its offers",
    buckets=(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1),
)

log = structlog.get_logger(__name__)


class Matcher:
    """Offers waiting deliveries to free drivers, while this node has the lease. Supervise `run`."""

    def __init__(
        self,
        *,
        database: Database,
        executor: Executor,
        policies: Policies,
        zones: KnownZones,
        lease: Lease,
        positions: Positions,
        clock: DatabaseTime,
    ) -> None:
        self._database = database
        self._policies = policies
        self._zones = zones
        self._lease = lease
        self._clock = clock
        self._backlog = Backlog(clock)
        self._something = asyncio.Event()
        self._look_at = 0.0
        self._unread: set[str] = set()
        self.fleet = LiveFleet(
            database=database,
            positions=positions,
            policies=policies,
            lease=lease,
            clock=clock,
            touch=self._something,
        )
        self._remembered = 0
        """Which time of having the lease the orders before it are counted for."""
        self._plans = ZonePlans(database, lambda: self.fleet.nearby, self._backlog, zones, clock)
        self._submissions = Submissions(executor, self._backlog, self.fleet, positions, self._something.set)
        self._holds = Holds(
            backlog=self._backlog,
            fleet=self.fleet,
            plans=self._plans,
            submissions=self._submissions,
            lease=lease,
            clock=clock,
        )
        self._failures = Failures(executor, self._backlog, self.fleet, zones, clock)

    def wake(self) -> None:
        """Deliveries may wait that this node does not know, and others may be matchable for another reason."""
        self._look_at = 0.0
        self._holds.wake()
        self._backlog.all_now(0.0)
        self._something.set()

    def heard(self, payload: bytes) -> None:
        """A hint from another node."""
        if not self._lease.held:
            return
        if not payload:  # from a node of the previous release
            self.wake()
            return
        hint = read_fleet_hint(payload)
        self.fleet.heard(hint)
        if hint.waiting:
            self._unread.update(hint.waiting)
            self._something.set()

    def committed(self, commit: Committed) -> None:
        """Drivers as they are now, deliveries that began or stopped waiting. With a new policy or other zones, others
        may be matchable.
        """
        self.fleet.committed(commit)
        if self._lease.held and self._learn(commit.deliveries):
            self._something.set()
        if commit.policy is not None or commit.zones is not None:
            self.wake()

    def _learn(self, deliveries: Iterable[Delivery], *, polled: bool = False) -> bool:
        deliveries = list(deliveries)
        for delivery in deliveries:
            self._plans.count(delivery)
        window_seconds = self._policies.current.match_window_ms / 1000
        news = self._backlog.learn(deliveries, asyncio.get_running_loop().time(), window_seconds, polled=polled)
        moved = [self._holds.moved(delivery) for delivery in deliveries]
        return news or any(moved)

    async def run(self) -> None:
        """Run one round after another."""
        self.wake()
        while True:
            if not self._lease.held or not self.fleet.ready:
                await self._until_ready()
            await self._pause()
            try:
                await self._round()
            except DATABASE_ERRORS as error:
                log.warning("round_failed", reason=repr(error))
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
                self.wake()  # what the round had taken is due again

    async def _until_ready(self) -> None:
        if not self._lease.held:
            self._backlog.forget()
            self._failures.clear()
            self._plans.forget()
            self._unread.clear()
            await self._lease.taken.wait()
        self.fleet.look()
        await self._remember()
        while self._lease.held and not self.fleet.ready:
            self._something.clear()
            await wait_until_set(self._something, AFTER_FAILURE_SECONDS)
        self.wake()

    async def _remember(self) -> None:
        """Count the orders before this node had the lease, once. Without them plans are worse, not wrong."""
        if self._remembered == self._lease.times_taken:
            return
        try:
            await self._plans.remember()
            self._remembered = self._lease.times_taken
        except DATABASE_ERRORS as error:
            log.warning("recent_orders_not_read", reason=repr(error))

    async def _pause(self) -> None:
        """Until something happens or is due."""
        soonest = min(self._look_at, self._backlog.next_due(), self._failures.next_due(), self._holds.next_due())
        wait = soonest - asyncio.get_running_loop().time()
        if wait > 0:
            await wait_until_set(self._something, wait)
        else:
            await asyncio.sleep(0)  # others get a turn on the loop between rounds
        self._something.clear()

    async def _round(self) -> None:
        """One round.

        1. Once a second, and when woken without a reason, read the ids of the waiting deliveries from the database;
           and read those that another node names.
        2. Take the deliveries that are due, and those in reach of a driver who became free, zone by zone, the oldest
           first.
        3. Match them with the free drivers of their zone. A delivery that was passed over by a younger one counts too.
        4. Turn pairs into offers, all at once; the rules check again under lock.
        5. If escalation has widened the search of a delivery and its zone has no driver for it, match it with drivers
           of the zones that help.
        6. In a zone where deliveries are held or may be, since their goods are not ready, plan all that waits and is
           held there first (`Holds.plan_zone`).
        7. Deliveries without a driver are looked at again later, and the failure is recorded.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        policy = self._policies.current
        if started >= self._look_at:
            await self._look(started)
        if self._unread:
            unread, self._unread = self._unread, set()
            await self._read(sorted(unread))
        began = loop.time()
        self._holds.just_planned.clear()
        by_zone: dict[str, dict[str, Wait]] = {}
        for wait in self._backlog.take_due(began, ROUND_LIMIT):
            by_zone.setdefault(wait.delivery.zone, {})[wait.delivery.id] = wait
        self._add_in_reach(by_zone, policy)
        if by_zone:
            matched = free = 0
            turns = Turns()
            held_in = {wait.delivery.zone for wait in self._backlog.held.values()}
            for zone, waits in by_zone.items():
                matched += len(waits)
                at_once = await self._plan_first(zone, waits, policy, some_held=zone in held_in)
                if at_once:
                    free += await self._match_zone(zone, at_once, policy)
                await turns.step()
            ROUNDS.inc()
            WAITING.observe(matched)
            CANDIDATES.observe(free)
            SEARCH_TIME.observe(loop.time() - began)
        if loop.time() >= self._holds.next_due():
            await self._holds.look(policy)
        if loop.time() >= self._failures.next_due():
            await self._failures.write(policy)

    async def _look(self, asked: float) -> None:
        """Read the waiting deliveries from the database: add unknown ones, remove those that no longer wait."""
        self._look_at = asked + POLL_SECONDS
        waiting = await waiting_ids(self._database.pool, KNOWN_LIMIT)
        if len(waiting) < KNOWN_LIMIT:
            self._backlog.keep_only(waiting, asked)
        unknown = self._backlog.unknown(waiting)
        if len(unknown) > ROUND_LIMIT:
            self._look_at = 0.0
        await self._read(unknown[:ROUND_LIMIT], polled=True)

    async def _read(self, ids: Sequence[str], *, polled: bool = False) -> None:
        for first in range(0, len(ids), READ_SLICE):
            read = await read_deliveries(self._database.pool, ids[first : first + READ_SLICE])
            self._learn(read.values(), polled=polled)
            await asyncio.sleep(0)

    def _add_in_reach(self, by_zone: dict[str, dict[str, Wait]], policy: Policy) -> None:
        """Add the deliveries that wait in reach of a driver who became free, in their zone or in one that it helps."""
        touched = self.fleet.take_touched()
        if not touched or not self._backlog.waits:
            return
        freed: dict[str, set[str]] = {}
        for driver_id in touched - self._backlog.reserved:
            driver = self.fleet.nearby.drivers.get(driver_id)
            if driver is not None:
                freed.setdefault(driver.zone, set()).add(driver_id)
        for zone in self._backlog.pickups:
            own = freed.get(zone, set())
            helpers = [helper for helper in self._zones.current.helpers(zone) if helper in freed]
            if not own and not helpers:
                continue
            among = own.union(*(freed[helper] for helper in helpers))
            free = self._free([zone, *helpers] if own else helpers, among)
            for wait in self._backlog.near(zone, free, policy):
                by_zone.setdefault(zone, {})[wait.delivery.id] = wait

    def _free(self, zones: Iterable[str], among: set[str] | None = None) -> Free:
        now, policy = self._clock.now(), self._policies.current
        return self.fleet.nearby.free(zones, now, policy, self._backlog.reserved, among)

    async def _plan_first(
        self, zone: str, waits: dict[str, Wait], policy: Policy, *, some_held: bool
    ) -> dict[str, Wait]:
        """Step 6, if there is something new to plan. Returns what is to be matched. If the last plan was a moment ago,
        what may be held waits for the next one, and nothing else does.
        """
        early = {wait.delivery.id for wait in waits.values() if self._holds.may_be_held(wait, policy)}
        if not early and (not some_held or all(wait.planned for wait in waits.values())):
            return waits
        if asyncio.get_running_loop().time() >= self._holds.rests_until:
            left = await self._holds.plan_zone(zone, list(waits.values()), policy)
            return {wait.delivery.id: wait for wait in left}
        for delivery_id in early:
            self._backlog.schedule(waits[delivery_id], self._holds.rests_until)
        return {delivery_id: wait for delivery_id, wait in waits.items() if delivery_id not in early}

    async def _match_zone(self, zone: str, waits: dict[str, Wait], policy: Policy) -> int:
        """Steps 3 to 5 and 7 for these deliveries of a zone, as many as fit into one round. Returns how many drivers
        are free.
        """
        loop = asyncio.get_running_loop()
        free = self._free([zone])
        now = loop.time()
        rows = list(waits.values())
        most = _most_rows(free)
        if len(rows) > 1:
            rows.sort(key=age)
            for wait in rows[most:]:
                self._backlog.schedule(wait, now)
            rows = rows[:most]
        pairs = await self._plans.pairs(rows, free, policy)
        if pairs and len(rows) < most:
            passed = self._passed_over(zone, waits, pairs, free, policy)
            if passed:
                rows = sorted([*rows, *passed], key=age)[:most]
                pairs = await self._plans.pairs(rows, free, policy)
        left = await self._offer_all(rows, pairs, free)
        need_help = [wait for wait in left if helping(wait.delivery, self._zones.current)]
        if need_help:
            helpers = self._free(self._zones.current.helpers(zone))
            left = [wait for wait in left if not helping(wait.delivery, self._zones.current)]
            left += await self._offer_all(need_help, await self._plans.pairs(need_help, helpers, policy), helpers)
        if left:
            again = self._again_at(loop.time())
            for wait in left:
                self._backlog.schedule(wait, again)
                if now >= wait.unstored_until:
                    self._failures.add(wait, now)
        return len(free)

    def _again_at(self, now: float) -> float:
        """When to look again for drivers for deliveries without one: later, the more wait."""
        seconds = max(RETRY_SECONDS, len(self._backlog.waits) / RETRIES_A_SECOND)
        due = now + min(seconds, LONGEST_RETRY_SECONDS)
        return due - due % STEP_SECONDS + STEP_SECONDS

    def _passed_over(
        self, zone: str, known: Collection[str], pairs: Sequence[tuple[int, int]], free: Free, policy: Policy
    ) -> list[Wait]:
        """Deliveries in reach of a driver who was found for another one, such as one who moved towards them."""
        taken = free.only([index for _, index in pairs])
        near = (wait for wait in self._backlog.near(zone, taken, policy) if wait.delivery.id not in known)
        return [wait for wait in near if not self._holds.may_be_held(wait, policy)]

    async def _offer_all(self, rows: Sequence[Wait], pairs: Sequence[tuple[int, int]], free: Free) -> list[Wait]:
        """Offer the pairs. Returns the deliveries that got no driver. What happened while a thread worked counts."""
        now = asyncio.get_running_loop().time()
        taken, turns = dict(pairs), Turns()
        left = []
        for row, wait in enumerate(rows):
            await turns.step()
            if not self._backlog.still(wait):
                continue
            index = taken.get(row)
            if index is None:
                left.append(wait)
            elif free.ids[index] in self._backlog.reserved or not self._lease.held:
                self._backlog.schedule(wait, now)
            else:
                self._submissions.offer(wait, free.ids[index], float(free.lats[index]), float(free.lons[index]))
        return left


def _most_rows(free: Free) -> int:
    """How many deliveries are looked at together with these drivers."""
    most = min(ROUND_LIMIT, max(1, PAIRS_LIMIT // max(1, len(free))))
    return most if (free.offs < np.inf).any() else max(most, LEAST_ROWS)
