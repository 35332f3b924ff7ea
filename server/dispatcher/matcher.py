"""The matcher: whenever somebody waits and somebody is free, it makes pairs of them and offers.

It runs in rounds on what this node knows of deliveries and drivers, and asks nobody. What happens while a round runs
gathers for the next one. Offers are not waited for: their drivers are set aside until they are committed.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import numpy as np
import structlog
from prometheus_client import Counter, Histogram

from server.contract.commit import Answer, Committed
from server.current_policy import KnownZones, Policies
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.holds import may_be_held, must_be_offered_at
from server.dispatch.matching import best_pairs
from server.dispatch.model import Delivery, Work
from server.dispatch.offers import helping
from server.dispatch.planning.add_ons import offers_now
from server.dispatch.planning.nearby import Free, unit
from server.dispatch.policy import Policy
from server.dispatch.travel import haversine_km, to_milliseconds
from server.dispatcher.backlog import Backlog, Wait, age, allowed_pairs, least_cosines, nearest_drivers_of, radius_km
from server.dispatcher.failures import Failures
from server.dispatcher.live_fleet import LiveFleet
from server.ids import new_id
from server.lease import Lease
from server.redis.hints import read_fleet_hint
from server.sockets.positions import Positions
from server.store.clock import DatabaseTime
from server.store.engine import DATABASE_ERRORS, Database
from server.store.reads.waiting import QUERY_TIMEOUT_SECONDS, read_deliveries, waiting_ids
from server.store.rows import read_work
from server.tasks import Turns, wait_until_set
from server.write.executor import Executor

POLL_SECONDS: Final = 1.0
AFTER_FAILURE_SECONDS: Final = 0.2
REFUSED_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 0.5
"""How soon a driver is looked for again, where few wait: drivers move, and cooldowns end."""
LONGEST_RETRY_SECONDS: Final = 5.0
RETRIES_A_SECOND: Final = 2_000
STEP_SECONDS: Final = 0.1
"""Deliveries are looked at again together at these times, since a round for one costs as much as one for many."""
HOLDS_SECONDS: Final = 2.0
"""How often it is looked at whether holds are still right: drivers move, come free and become busy."""
MOVED_SECONDS: Final = 30.0
"""A hold is moved if its driver must leave so much sooner."""
FIRST_SECONDS: Final = 10.0
"""How long after a wait has begun a hold can begin without a free driver."""
SOON_SECONDS: Final = 1.0
"""What must be offered so soon is not held."""
UNSTORED_SECONDS: Final = 0.3
"""How soon a driver is asked again whose position another node has not stored yet."""

ROUND_LIMIT: Final = 500
READ_SLICE: Final = 50
"""So many deliveries are read at a time, so that the loop is never stopped for long."""
KNOWN_LIMIT: Final = 5_000
"""The limit of waiting deliveries in memory, oldest first; others follow as those find drivers."""
PLANNED_ROWS: Final = 100
"""So many deliveries are planned together where drivers have deliveries already."""
FEW_PAIRS: Final = 200
"""Up to this number of pairs, that is not worth a thread."""
PAIRS_LIMIT: Final = 1_000_000
"""The most pairs of a delivery and a driver that are looked at together, if each must be."""
LEAST_ROWS: Final = 100
"""So many deliveries are looked at together with any number of drivers, if no shift ends."""
LARGE: Final = 20_000
"""From this number of pairs on, matching runs in a thread."""

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
OFFERS: Final = Counter("callboard_matcher_offers", "Offers submitted by the matcher, by outcome", ["outcome"])
OFFER_LATENCY: Final = Histogram(
    "callboard_ready_to_offered_seconds",
    "From the moment a delivery waits for an offer to the commit of the offer",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120),
)

_NOT_SEEN_YET: Final = frozenset({"no_position", "position_stale", "not_present"})
"""Reasons for a driver whose position or call was not stored when the rules looked."""

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
        self._executor = executor
        self._policies = policies
        self._zones = zones
        self._lease = lease
        self._positions = positions
        self._clock = clock
        self._backlog = Backlog(clock)
        self._something = asyncio.Event()
        self._look_at = 0.0
        self._holds_at = 0.0
        self._planned: dict[str, str] = {}
        """The driver who is planned for each held delivery."""
        self._unread: set[str] = set()
        self._storing: set[asyncio.Task[None]] = set()
        self.fleet = LiveFleet(
            database=database,
            positions=positions,
            policies=policies,
            lease=lease,
            clock=clock,
            touch=self._something,
        )
        self._failures = Failures(executor, self._backlog, self.fleet, zones, clock)

    def wake(self) -> None:
        """Deliveries may wait that this node does not know, and others may be matchable for another reason."""
        self._look_at = self._holds_at = 0.0
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
        window_seconds = self._policies.current.match_window_ms / 1000
        return self._backlog.learn(deliveries, asyncio.get_running_loop().time(), window_seconds, polled=polled)

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
            self._unread.clear()
            await self._lease.taken.wait()
        self.fleet.look()
        while self._lease.held and not self.fleet.ready:
            self._something.clear()
            await wait_until_set(self._something, AFTER_FAILURE_SECONDS)
        self.wake()

    async def _pause(self) -> None:
        """Until something happens or is due."""
        soonest = min(self._look_at, self._backlog.next_due(), self._failures.next_due())
        if self._backlog.held:
            soonest = min(soonest, self._holds_at)
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
        6. Deliveries whose goods are not ready are held, or offered if their driver must leave (`_hold`).
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
        by_zone: dict[str, dict[str, Wait]] = {}
        for wait in self._backlog.take_due(began, ROUND_LIMIT):
            by_zone.setdefault(wait.delivery.zone, {})[wait.delivery.id] = wait
        self._add_in_reach(by_zone, policy)
        if by_zone:
            matched = free = 0
            turns = Turns()
            for zone, waits in by_zone.items():
                found = await self._match_zone(zone, waits, policy)
                matched, free = matched + len(waits), free + found
                await turns.step()
            ROUNDS.inc()
            WAITING.observe(matched)
            CANDIDATES.observe(free)
            SEARCH_TIME.observe(loop.time() - began)
        if self._backlog.held and loop.time() >= self._holds_at:
            self._holds_at = loop.time() + HOLDS_SECONDS
            self._planned = {of: driver_id for of, driver_id in self._planned.items() if of in self._backlog.held}
            for zone in {wait.delivery.zone for wait in self._backlog.held.values()}:
                await self._hold(zone, [], policy)
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

    async def _match_zone(self, zone: str, waits: dict[str, Wait], policy: Policy) -> int:
        """Steps 3 to 7 for these deliveries of a zone, as many as fit into one round. Returns how many drivers are
        free.
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
        at = self._clock.now()
        early = [wait for wait in rows if not wait.cannot_be_held and may_be_held(wait.delivery, at, policy)]
        if early:
            later = {wait.delivery.id for wait in early}
            rows = [wait for wait in rows if wait.delivery.id not in later]
        pairs = await self._pairs(rows, free, policy)
        if pairs and len(rows) < most:
            passed = self._passed_over(zone, waits, pairs, free, policy)
            if passed:
                rows = sorted([*rows, *passed], key=age)[:most]
                pairs = await self._pairs(rows, free, policy)
        left = await self._offer_all(rows, pairs, free)
        need_help = [wait for wait in left if helping(wait.delivery, self._zones.current)]
        if need_help:
            helpers = self._free(self._zones.current.helpers(zone))
            left = [wait for wait in left if not helping(wait.delivery, self._zones.current)]
            left += await self._offer_all(need_help, await self._pairs(need_help, helpers, policy), helpers)
        if early:
            not_held = await self._hold(zone, early, policy)
            loaded = free.only(np.flatnonzero(free.loads))
            left += await self._offer_all(not_held, await self._pairs(not_held, loaded, policy), loaded)
        if left:
            again = self._again_at(loop.time())
            for wait in left:
                self._backlog.schedule(wait, again)
                if now >= wait.unstored_until:
                    self._failures.add(wait, now)
        return len(free)

    async def _hold(self, zone: str, early: list[Wait], policy: Policy) -> list[Wait]:
        """Plan a driver for each delivery of a zone whose goods are not ready: those that are held, and `early` ones
        that may be. Returns those of `early` for which no driver without deliveries is there.

        1. Each keeps its driver as long as that driver is free. The others get the driver that costs least in total,
           among those who are free and get nothing else.
        2. If that driver must leave, it is offered to them. Otherwise it is held until then. The time of a hold moves
           only to an earlier one, so a driver who comes and goes does not move it to and fro.
        3. If all are busy or out of contact for a moment, the way of the nearest one counts, and a hold stays. It
           begins only with the wait, so that a delivery whose hold has ended is not held for one after another.
        4. If nobody is there, it is not held any longer.
        """
        loop = asyncio.get_running_loop()
        held = [
            wait
            for delivery_id, wait in self._backlog.held.items()
            if wait.delivery.zone == zone and delivery_id not in self._backlog.offering
        ]
        at = self._clock.now()
        rows = [*early, *(wait for wait in held if may_be_held(wait.delivery, at, policy))][:ROUND_LIMIT]
        over = [wait for wait in held if not may_be_held(wait.delivery, at, policy)]
        free = self._free([zone])
        planned = await self._plan_holds(rows, free.only(np.flatnonzero(free.loads == 0)), policy)
        left: list[Wait] = []
        for wait in rows:
            delivery = wait.delivery
            if self._backlog.waits.get(delivery.id) is not wait and self._backlog.held.get(delivery.id) is not wait:
                continue
            driver_id = planned.get(delivery.id)
            place = self.fleet.nearby.place(driver_id) if driver_id is not None else None
            if place is not None:
                km: float | None = haversine_km(place[0], place[1], delivery.pickup.lat, delivery.pickup.lon)
            else:
                km = self.fleet.nearby.nearest_km(delivery, radius_km(delivery, policy))
            until = delivery.held_until
            if until is None and place is None and not _has_just_begun(wait, at):
                km = None
            if km is None:
                (left if until is None else over).append(wait)
                continue
            offer_at = to_milliseconds(must_be_offered_at(delivery, km, policy))
            if offer_at <= at + timedelta(seconds=SOON_SECONDS):
                if driver_id is not None and place is not None and driver_id not in self._backlog.reserved:
                    self._offer(wait, driver_id, place[0], place[1])
                elif until is None:
                    left.append(wait)
            elif until is None or (place is not None and (until - offer_at).total_seconds() > MOVED_SECONDS):
                self._submit_hold(c.HoldDelivery(delivery.id, offer_at), wait)
        for wait in over:
            if self._backlog.held.get(wait.delivery.id) is not wait:
                continue
            wait.ended_early = True
            self._submit_hold(c.EndHold(wait.delivery.id, early=True), wait)
        self._holds_at = min(self._holds_at, loop.time() + HOLDS_SECONDS)
        return left

    async def _plan_holds(self, rows: Sequence[Wait], free: Free, policy: Policy) -> dict[str, str]:
        """The free driver that is planned for each of these deliveries, by id; it stays the same as long as it can."""
        index_of = dict(zip(free.ids.tolist(), range(len(free)), strict=True))
        known = [wait for wait in rows if self._planned.get(wait.delivery.id) in index_of]
        theirs = free.only([index_of[self._planned[wait.delivery.id]] for wait in known])
        pickups = np.array([unit(wait.delivery.pickup.lat, wait.delivery.pickup.lon) for wait in known]).reshape(-1, 3)
        stays = (pickups * theirs.places).sum(axis=1) >= least_cosines(known, policy)
        allowed = await allowed_pairs(known, theirs, self.fleet.nearby, self._clock, policy)
        if allowed is not None:
            stays &= allowed.diagonal()
        planned = {wait.delivery.id: str(theirs.ids[row]) for row, wait in enumerate(known) if stays[row]}
        others = [wait for wait in rows if wait.delivery.id not in planned]
        taken = set(planned.values())
        rest = free.only(
            np.delete(np.arange(len(free)), np.array([index_of[driver_id] for driver_id in taken], dtype=np.intp))
        )
        for row, index in await self._pairs(others, rest, policy) if others else ():
            planned[others[row].delivery.id] = rest.ids[index]
        for wait in rows:
            self._planned.pop(wait.delivery.id, None)
        self._planned.update(planned)
        return planned

    def _submit_hold(self, command: c.HoldDelivery | c.EndHold, wait: Wait) -> None:
        self._backlog.offering.add(wait.delivery.id)
        self._executor.submit(command).add_done_callback(partial(self._hold_answered, wait))

    def _hold_answered(self, wait: Wait, answer: "asyncio.Future[Answer | r.Refusal]") -> None:
        """The commit has changed the backlog already. What cannot be held is offered."""
        self._backlog.offering.discard(wait.delivery.id)
        if isinstance(answer.result(), r.Refusal) and self._backlog.still(wait):
            wait.cannot_be_held = True
            self._backlog.schedule(wait, asyncio.get_running_loop().time())
            self._something.set()

    def _again_at(self, now: float) -> float:
        """When to look again for drivers for deliveries without one: later, the more wait."""
        seconds = max(RETRY_SECONDS, len(self._backlog.waits) / RETRIES_A_SECOND)
        due = now + min(seconds, LONGEST_RETRY_SECONDS)
        return due - due % STEP_SECONDS + STEP_SECONDS

    async def _pairs(self, rows: Sequence[Wait], free: Free, policy: Policy) -> list[tuple[int, int]]:
        if not len(free) or not rows:
            return []
        if free.loads.any():
            return await self._pairs_with_runs(rows, free, policy)
        return await self._nearest_pairs(rows, free, policy)

    async def _pairs_with_runs(self, rows: Sequence[Wait], free: Free, policy: Policy) -> list[tuple[int, int]]:
        """Some of the drivers have deliveries: the planner proposes for the oldest rows, within the limits of the
        policy. The other rows get drivers without deliveries.
        """
        first, zones = rows[:PLANNED_ROWS], self._zones.current
        lost = {driver_id for wait in first for driver_id in wait.lost}
        if len(first) * len(free) < LARGE:
            near = nearest_drivers_of(first, free)
        else:
            near = await asyncio.to_thread(nearest_drivers_of, first, free)
        loaded = free.ids[near[free.loads[near] > 0]].tolist()
        work: dict[str, Work] = {}
        for begin in range(0, len(loaded), READ_SLICE):
            some = loaded[begin : begin + READ_SLICE]
            work |= await read_work(self._database.pool, some, timeout=QUERY_TIMEOUT_SECONDS)
        drivers, turns = [], Turns()
        for driver_id in free.ids[near].tolist():
            await turns.step()
            if driver_id in self.fleet.nearby.drivers and driver_id not in lost:
                drivers.append(self.fleet.nearby.driver(driver_id))
        arguments = ([wait.delivery for wait in first], drivers, work, zones, self._clock.now(), policy)
        few = len(first) * len(drivers) <= FEW_PAIRS
        proposals = offers_now(*arguments) if few else await asyncio.to_thread(offers_now, *arguments)
        row_of = {wait.delivery.id: row for row, wait in enumerate(first)}
        column_of = dict(zip(free.ids[near].tolist(), near.tolist(), strict=True))
        pairs = [(row_of[one.delivery_id], column_of[one.driver_id]) for one in proposals]
        if len(rows) > len(first):
            idle = np.setdiff1d(np.flatnonzero(free.loads == 0), [column for _, column in pairs])
            others = await self._nearest_pairs(rows[len(first) :], free.only(idle), policy)
            pairs += [(len(first) + row, int(idle[column])) for row, column in others]
        return pairs

    async def _nearest_pairs(self, rows: Sequence[Wait], free: Free, policy: Policy) -> list[tuple[int, int]]:
        if not len(free):
            return []
        now = self._clock.now()
        pickups = np.array([unit(wait.delivery.pickup.lat, wait.delivery.pickup.lon) for wait in rows])
        least = least_cosines(rows, policy)
        ages = np.array([max(0.0, now.timestamp() - age(wait)) for wait in rows])
        allowed = await allowed_pairs(rows, free, self.fleet.nearby, self._clock, policy)
        arguments = (pickups, least, ages, free.places, policy, allowed)
        if len(rows) * len(free) < LARGE:
            return best_pairs(*arguments)
        return await asyncio.to_thread(best_pairs, *arguments)

    def _passed_over(
        self, zone: str, known: Collection[str], pairs: Sequence[tuple[int, int]], free: Free, policy: Policy
    ) -> list[Wait]:
        """Deliveries in reach of a driver who was found for another one, such as one who moved towards them."""
        taken = free.only([index for _, index in pairs])
        return [wait for wait in self._backlog.near(zone, taken, policy) if wait.delivery.id not in known]

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
                self._offer(wait, free.ids[index], float(free.lats[index]), float(free.lons[index]))
        return left

    def _offer(self, wait: Wait, driver_id: str, lat: float, lon: float) -> None:
        self._backlog.offering.add(wait.delivery.id)
        self._backlog.reserved.add(driver_id)
        held = wait.delivery.held_until is not None
        command = c.OfferDelivery(wait.delivery.id, driver_id, new_id(), lat, lon, early=held)
        if not self._positions.must_be_stored(driver_id):
            self._submit(command, wait)
            return
        storing = asyncio.create_task(self._store_first(command, wait), name="store_before_offer")
        self._storing.add(storing)
        storing.add_done_callback(self._storing.discard)

    async def _store_first(self, command: c.OfferDelivery, wait: Wait) -> None:
        """The rules know of this driver only what is stored. If it cannot be stored, they refuse the offer."""
        try:
            await self._positions.store(everything=False)
        except DATABASE_ERRORS as error:
            log.warning("positions_not_stored", reason=repr(error))
        finally:
            self._submit(command, wait)

    def _submit(self, command: c.OfferDelivery, wait: Wait) -> None:
        self._executor.submit(command).add_done_callback(partial(self._offered, wait, command.driver_id))

    def _offered(self, wait: Wait, driver_id: str, answer: "asyncio.Future[Answer | r.Refusal]") -> None:
        """The result of an offer. After a driver was lost to a race, try the next one at once."""
        self._backlog.offering.discard(wait.delivery.id)
        self._backlog.reserved.discard(driver_id)
        now = asyncio.get_running_loop().time()
        outcome = answer.result()
        if not isinstance(outcome, r.Refusal):
            OFFERS.labels("made").inc()
            if wait.delivery.held_until is None:
                OFFER_LATENCY.observe(now - wait.since)
            self._backlog.drop(wait)
            return
        OFFERS.labels(outcome.code).inc()
        if outcome.code in (r.DRIVER_NOT_AVAILABLE.code, r.NOT_FOUND.code):
            self.fleet.doubt(driver_id)
            if outcome.more.get("reason") in _NOT_SEEN_YET:
                wait.unstored_until = now + UNSTORED_SECONDS
                self._backlog.lose(wait, driver_id, now, UNSTORED_SECONDS)
            else:
                self._backlog.lose(wait, driver_id, now)
        elif outcome == r.DELIVERY_NOT_WAITING:
            self._backlog.drop(wait)
        else:
            self._backlog.schedule(wait, now + REFUSED_SECONDS)
        self._something.set()


def _most_rows(free: Free) -> int:
    """How many deliveries are looked at together with these drivers."""
    most = min(ROUND_LIMIT, max(1, PAIRS_LIMIT // max(1, len(free))))
    return most if (free.offs < np.inf).any() else max(most, LEAST_ROWS)


def _has_just_begun(wait: Wait, at: datetime) -> bool:
    """Whether a delivery begins to wait, and not because its hold has ended."""
    since = wait.delivery.unassigned_since
    return not wait.was_held and since is not None and at <= since + timedelta(seconds=FIRST_SECONDS)
