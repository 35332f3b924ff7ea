"""The matcher: whenever somebody waits and somebody is free, it makes pairs of them and offers.

It runs in rounds. What happens while a round runs gathers for the next one, so that under load a search, a check and
a matching serve many orders at once. Offers are not waited for: their drivers are set aside until they are committed.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from server.contract.commit import Answer, Committed
from server.current_policy import KnownZones, Policies
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.matching import Candidate, Matching, Pair, Waiting, match
from server.dispatch.model import Delivery
from server.dispatch.offers import REQUIREMENTS, UNFIT, helping
from server.dispatch.policy import Policy
from server.dispatch.reasons import ALL_BUSY, distances_km, why_not_these
from server.dispatcher.backlog import Backlog, Wait
from server.dispatcher.failures import Failures
from server.dispatcher.pace import Pace
from server.dispatcher.search import Drivers, Finder, Place, radius_km
from server.ids import new_id
from server.lease import Lease
from server.store.clock import DatabaseTime
from server.store.engine import DATABASE_ERRORS, Database
from server.store.reads.waiting import lacking_tags, read_deliveries, waiting_ids
from server.tasks import wait_until_set
from server.write.executor import Executor

POLL_SECONDS: Final = 1.0
COMPLETE_SECONDS: Final = 5.0
"""How often failed searches read the database even though Redis is available."""
AFTER_FAILURE_SECONDS: Final = 0.2
REFUSED_SECONDS: Final = 1.0
CHECK_SECONDS: Final = 1.0
"""After a driver was found who was not dispatchable, candidates are checked in the database for this long."""
SCAN_SHARE: Final = 4
"""The pause after a scan of the drivers is this many times as long as the scan."""

ROUND_LIMIT: Final = 500
KNOWN_LIMIT: Final = 5_000
"""The limit of waiting deliveries in memory, oldest first; others follow as those find drivers."""
LARGE: Final = 20_000
"""From this number of possible pairs on, matching runs in a thread."""

ROUNDS: Final = Counter("callboard_matcher_rounds", "Rounds in which the matcher searched for drivers")
CANDIDATES: Final = Histogram(
    "callboard_matcher_candidates",
    "Dispatchable drivers found in a round",
    buckets=(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000),
)
WAITING: Final = Histogram(
    "callboard_matcher_deliveries", "Deliveries matched in a round", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
SEARCH_TIME: Final = Histogram(
    "callboard_matcher_search_seconds",
    "From the start of a round to the submission of its offers",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)
OFFERS: Final = Counter("callboard_matcher_offers", "Offers submitted by the matcher, by outcome", ["outcome"])
OFFER_LATENCY: Final = Histogram(
    "callboard_ready_to_offered_seconds",
    "From the moment a delivery waits for an offer to the commit of the offer",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120),
)

log = structlog.get_logger(__name__)


class Looked:
    """Where a round searched for drivers, and for which deliveries: in the index, in the database where the index had
    too few, or everywhere.
    """

    def __init__(self) -> None:
        self.index: set[str] = set()
        self.truncated: set[str] = set()
        self.everywhere: set[str] = set()


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
        finder: Finder,
        clock: DatabaseTime,
    ) -> None:
        self._database = database
        self._executor = executor
        self._policies = policies
        self._zones = zones
        self._lease = lease
        self._finder = finder
        self._clock = clock
        self._backlog = Backlog(clock)
        self._something = asyncio.Event()
        self._look_at = 0.0
        self._retry_all = False
        self._scan_at = 0.0
        self._pace = Pace()
        self._check_until = 0.0
        self._failures = Failures(database, executor, self._backlog)

    def wake(self) -> None:
        """Something may be matchable without a commit on this node."""
        self._look_at = 0.0
        self._retry_all = True
        self._something.set()

    def committed(self, commit: Committed) -> None:
        """Deliveries that began or stopped waiting. With a new policy, others may be matchable."""
        if self._lease.held and self._learn(commit.deliveries):
            self._something.set()
        if commit.policy is not None:
            self.wake()

    def _learn(self, deliveries: Iterable[Delivery]) -> bool:
        window_seconds = self._policies.current.match_window_ms / 1000
        return self._backlog.learn(deliveries, asyncio.get_running_loop().time(), window_seconds)

    def placed(self, zone: str, driver_id: str, place: Place | None) -> None:
        """A driver was committed as dispatchable at this place, or as not dispatchable."""
        if self._lease.held:
            self._backlog.placed(zone, driver_id, place, asyncio.get_running_loop().time())
            if place is not None and self._backlog.waits:
                self._something.set()

    async def run(self) -> None:
        """Run one round after another."""
        while True:
            if not self._lease.held:
                self._backlog.forget()
                self._failures.clear()
                await self._lease.taken.wait()
                self.wake()
            await self._pause()
            try:
                await self._round()
            except DATABASE_ERRORS as error:
                log.warning("round_failed", reason=repr(error))
                await asyncio.sleep(AFTER_FAILURE_SECONDS)

    async def _pause(self) -> None:
        """Until something happens or is due."""
        soonest = min(self._look_at, self._backlog.next_due(), self._failures.next_due())
        if self._retry_all:
            soonest = min(soonest, self._scan_at)
        wait = soonest - asyncio.get_running_loop().time()
        if wait > 0:
            await wait_until_set(self._something, wait)
        self._something.clear()

    async def _round(self) -> None:
        """One round.

        1. Once a second, and when woken without a reason, read the waiting deliveries from the database.
        2. Search for deliveries that are due: in the index; in the database if Redis is down, or if the index had no
           driver for them. Drivers who became free count for deliveries that wait near them without a search.
        3. Match the drivers found, zone by zone. If the index was wrong lately, first check in the database who is
           dispatchable.
        4. Turn pairs into offers, all at once; the rules check again under lock.
        5. If escalation has widened the search of a delivery and its zone has no driver, match it with drivers of the
           zones that help.
        6. Deliveries without a driver are searched for again later, and the failure is recorded.
        """
        started = asyncio.get_running_loop().time()
        policy = self._policies.current
        if started >= self._look_at:
            await self._look(started)
        now = asyncio.get_running_loop().time()
        if self._retry_all and now >= self._scan_at:
            self._retry_all = False
            for wait in self._backlog.idle():
                if wait.searched:
                    wait.complete, wait.due = True, min(wait.due, now)
        freed = self._backlog.begin_round(now)
        due = self._backlog.due(now)
        if len(due) > ROUND_LIMIT:
            due = due[:ROUND_LIMIT]
            self._something.set()
        near = self._backlog.near(freed, now, policy)
        if due or near:
            await self._search(due, near, _candidates(freed), policy)
            took = asyncio.get_running_loop().time() - started
            if due:
                self._pace.learn(took, len(due), len(self._backlog.waits))
            ROUNDS.inc()
            WAITING.observe(len(due) + len(near))
            SEARCH_TIME.observe(took)
        if asyncio.get_running_loop().time() >= self._failures.next_due():
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
        if unknown:
            found = await read_deliveries(self._database.pool, unknown[:ROUND_LIMIT])
            self._learn(found.values())

    async def _search(self, due: list[Wait], near: list[Wait], drivers: Drivers, policy: Policy) -> None:
        """Steps 2 to 4. `drivers` are those who became free."""
        loop = asyncio.get_running_loop()
        looked = Looked()
        asked = [wait for wait in due if not wait.complete]
        around = await self._finder.in_index([wait.delivery for wait in asked], policy) if asked else None
        if around is not None:
            for zone, found in around.drivers.items():
                drivers[zone] = found | drivers.get(zone, {})
            looked.index = {wait.delivery.id for wait in asked}
            looked.truncated = around.truncated
        else:
            for wait in asked:
                wait.complete = True
        for wait in due:
            wait.searched = True
        complete = [wait for wait in due if wait.complete]
        asked_at = loop.time()
        if asked_at < self._check_until:
            drivers = await self._finder.check(policy, drivers)
            self._backlog.found_free(chain.from_iterable(drivers.values()), asked_at)
        if complete and loop.time() < self._scan_at:
            for wait in complete:
                wait.due = self._scan_at
        elif complete:
            await self._scan(complete, drivers, policy)
            looked.everywhere = {wait.delivery.id for wait in complete}
        CANDIDATES.observe(sum(map(len, drivers.values())))
        if self._lease.held:
            need_help: list[Wait] = []
            for zone, waits in _by_zone(due, near).items():
                need_help += await self._match(waits, list(drivers.get(zone, {}).values()), looked, policy)
            if need_help:
                await self._match_helpers(need_help, policy)

    async def _scan(self, waits: Sequence[Wait], drivers: Drivers, policy: Policy) -> None:
        """Add all drivers near these deliveries who are dispatchable by the database."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        for zone, found in (await self._finder.in_database((wait.delivery for wait in waits), policy)).items():
            self._backlog.found_free(found, started)
            drivers[zone] = found | drivers.get(zone, {})
        self._scan_at = loop.time() + SCAN_SHARE * (loop.time() - started)

    async def _match_helpers(self, waits: list[Wait], policy: Policy) -> None:
        """Offer deliveries whose own zone has no driver to drivers of the zones that help."""
        zones = self._zones.current
        deliveries = [wait.delivery for wait in waits]
        found = await self._finder.in_database(deliveries, policy, lambda delivery: helping(delivery, zones))
        looked = Looked()
        looked.everywhere = {delivery.id for delivery in deliveries}
        for zone, of_zone in _by_zone(waits).items():
            drivers = [driver for helper in zones.helpers(zone) for driver in found.get(helper, {}).values()]
            await self._match(of_zone, drivers, looked, policy, helped=True)

    async def _match(
        self, waits: list[Wait], drivers: list[Candidate], looked: Looked, policy: Policy, *, helped: bool = False
    ) -> list[Wait]:
        """Offer the pairs of one zone. Skips a driver who became busy since the read.

        Returns the deliveries to match with drivers of the zones that help; none if these drivers are of such zones
        (`helped`).
        """
        need_help: list[Wait] = []
        now = asyncio.get_running_loop().time()
        free = [driver for driver in drivers if self._backlog.free(driver.driver_id)]
        await self._learn_who_is_unfit(waits, free)
        excluded = [wait.excluded(now, self._clock, policy) for wait in waits]
        matching = await self._matched(waits, excluded, free, looked, policy)
        passed = [] if helped else self._passed_over(waits, matching.pairs, now, policy)
        if passed:
            await self._learn_who_is_unfit(passed, free)
            waits = waits + passed
            excluded += [wait.excluded(now, self._clock, policy) for wait in passed]
            matching = await self._matched(waits, excluded, free, looked, policy)
        pairs = {pair.delivery_id: pair for pair in matching.pairs}
        for wait, without in zip(waits, excluded, strict=True):
            if self._backlog.waits.get(wait.delivery.id) is not wait:
                continue
            pair = pairs.get(wait.delivery.id)
            if pair is not None and self._backlog.free(pair.driver_id):
                self._offer(wait, pair)
            elif pair is not None:
                wait.due = now
            elif wait.delivery.id in looked.everywhere:
                not_taken = matching.not_taken[wait.delivery.id]
                reason = why_not_these((why for _, why in not_taken), without.values())
                if reason is None and len(free) < len(drivers) and _in_reach(wait, drivers, policy):
                    reason = ALL_BUSY
                wait.complete, wait.scanned, wait.due = False, now, self._pace.next(now)
                if not helped:
                    wait.reason = reason
                if not helped and helping(wait.delivery, self._zones.current):
                    need_help.append(wait)
                else:
                    self._failures.add(wait, wait.reason or reason, now)
            elif wait.delivery.id in looked.index:
                wait.complete = wait.delivery.id in looked.truncated or now >= wait.scanned + COMPLETE_SECONDS
                wait.due = now if wait.complete else self._pace.next(now)
        return need_help

    async def _learn_who_is_unfit(self, waits: Iterable[Wait], drivers: Sequence[Candidate]) -> None:
        """For orders that require tags: the drivers nearby who lack one. The index does not have tags."""
        for wait in waits:
            required = wait.delivery.requirements
            if not required:
                continue
            unknown = [driver.driver_id for driver in drivers if driver.driver_id not in wait.looked_at]
            if unknown:
                lacking = await lacking_tags(self._database.pool, unknown, required)
                wait.looked_at.update(unknown)
                wait.unfit.update(dict.fromkeys(lacking, REQUIREMENTS))

    def _passed_over(self, waits: list[Wait], pairs: Sequence[Pair], now: float, policy: Policy) -> list[Wait]:
        """Deliveries whose search failed before, in reach of a driver who was found before a commit said that they are
        free; usually by the search for a younger order.
        """
        if not pairs:
            return []
        zone = waits[0].delivery.zone
        near = self._backlog.near({pair.driver_id: (zone, (pair.lat, pair.lon)) for pair in pairs}, now, policy)
        known = {wait.delivery.id for wait in waits}
        return [wait for wait in near if wait.delivery.id not in known]

    async def _matched(
        self,
        waits: list[Wait],
        excluded: list[dict[str, str]],
        drivers: list[Candidate],
        looked: Looked,
        policy: Policy,
    ) -> Matching:
        waiting = [_waiting(wait, without, policy) for wait, without in zip(waits, excluded, strict=True)]
        at = self._clock.now()
        if len(waiting) * len(drivers) < LARGE:
            return match(waiting, drivers, at, policy, looked.everywhere)
        return await asyncio.to_thread(match, waiting, drivers, at, policy, looked.everywhere)

    def _offer(self, wait: Wait, pair: Pair) -> None:
        self._backlog.offering.add(pair.delivery_id)
        self._backlog.reserved.add(pair.driver_id)
        command = c.OfferDelivery(pair.delivery_id, pair.driver_id, new_id(), pair.lat, pair.lon)
        self._executor.submit(command).add_done_callback(partial(self._offered, wait, pair.driver_id))

    def _offered(self, wait: Wait, driver_id: str, answer: "asyncio.Future[Answer | r.Refusal]") -> None:
        """The result of an offer. After a driver was lost to a race, try the next one at once."""
        self._backlog.offering.discard(wait.delivery.id)
        self._backlog.reserved.discard(driver_id)
        now = asyncio.get_running_loop().time()
        outcome = answer.result()
        if not isinstance(outcome, r.Refusal):
            OFFERS.labels("made").inc()
            OFFER_LATENCY.observe(now - wait.since)
            self._backlog.drop(wait)
            return
        OFFERS.labels(outcome.code).inc()
        if outcome.code in (r.DRIVER_NOT_AVAILABLE.code, r.NOT_FOUND.code):
            why = outcome.more.get("reason")
            if why in UNFIT:
                wait.unfit[driver_id] = why
                wait.due = now
            else:
                self._check_until = now + CHECK_SECONDS
                self._backlog.lose(wait, driver_id, now)
        elif outcome == r.DELIVERY_NOT_WAITING:
            self._backlog.drop(wait)
        else:
            wait.due = now + REFUSED_SECONDS
        self._something.set()


def _candidates(freed: dict[str, tuple[str, Place]]) -> Drivers:
    found: Drivers = {}
    for driver_id, (zone, place) in freed.items():
        found.setdefault(zone, {})[driver_id] = Candidate(driver_id, *place)
    return found


def _by_zone(*waits: Iterable[Wait]) -> dict[str, list[Wait]]:
    found: dict[str, list[Wait]] = {}
    for wait in chain(*waits):
        found.setdefault(wait.delivery.zone, []).append(wait)
    return found


def _waiting(wait: Wait, excluded: dict[str, str], policy: Policy) -> Waiting:
    delivery = wait.delivery
    assert delivery.unassigned_since is not None
    return Waiting(
        delivery.id,
        delivery.pickup.lat,
        delivery.pickup.lon,
        delivery.unassigned_since,
        radius_km(delivery, policy),
        excluded,
    )


def _in_reach(wait: Wait, drivers: Sequence[Candidate], policy: Policy) -> bool:
    pickup = wait.delivery.pickup
    km = distances_km(pickup, [driver.lat for driver in drivers], [driver.lon for driver in drivers])
    return bool((km <= radius_km(wait.delivery, policy)).any())
