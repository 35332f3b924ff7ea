"""Records failed searches with their reasons: soon when the reason is new, and rarely when it repeats.

However many deliveries wait, only a few records are written at a time.
"""

import asyncio
from itertools import islice
from typing import Final

import numpy as np
from prometheus_client import Counter

from server.current_policy import KnownZones
from server.dispatch.commands import NoteFailedSearch
from server.dispatch.deliveries import SAME_FAILURE_RECORDED_EVERY
from server.dispatch.offers import REQUIREMENTS, SHIFT_ENDS, helping
from server.dispatch.planning.nearby import distances
from server.dispatch.policy import Policy
from server.dispatch.search_reasons import NoDriver, why_no_driver, why_not_these
from server.dispatcher.backlog import Backlog, Wait, radius_km
from server.dispatcher.live_fleet import LiveFleet
from server.store.clock import DatabaseTime
from server.tasks import Turns
from server.write.executor import Executor

REASON_SECONDS: Final = 5.0
"""How often the reason of a failure is determined again where many wait; where few wait, at every look."""
FEW: Final = 100
SPACING_SECONDS: Final = 0.2
LIMIT: Final = 100

RECORDED: Final = Counter("callboard_matcher_failed_searches", "Failed searches recorded", ["reason"])


class Failures:
    """Failures to record, oldest first."""

    def __init__(
        self, executor: Executor, backlog: Backlog, fleet: LiveFleet, zones: KnownZones, clock: DatabaseTime
    ) -> None:
        self._executor = executor
        self._backlog = backlog
        self._fleet = fleet
        self._zones = zones
        self._clock = clock
        self._found: dict[str, Wait] = {}
        self._next_at = 0.0

    def add(self, wait: Wait, now: float) -> None:
        if len(self._backlog.waits) <= FEW or now >= wait.checked_at + REASON_SECONDS:
            self._found[wait.delivery.id] = wait

    def clear(self) -> None:
        """Another node dispatches now."""
        self._found.clear()

    def next_due(self) -> float:
        """When to write next, by the loop's clock."""
        return self._next_at if self._found else float("inf")

    async def write(self, policy: Policy) -> None:
        now = asyncio.get_running_loop().time()
        self._next_at = now + SPACING_SECONDS
        taken = [self._found.pop(delivery_id) for delivery_id in list(islice(self._found, LIMIT))]
        turns = Turns()
        for wait in taken:
            await turns.step()
            if not self._backlog.still(wait):
                continue
            why = self._why(wait, policy)
            wait.checked_at = now
            again = now >= wait.recorded_at + SAME_FAILURE_RECORDED_EVERY.total_seconds()
            if again or why.reason != wait.recorded_reason:
                wait.recorded_reason, wait.recorded_at = why.reason, now
                RECORDED.labels(why.reason).inc()
                self._executor.submit(NoteFailedSearch(wait.delivery.id, why.reason, nearest=why.nearest))

    def _why(self, wait: Wait, policy: Policy) -> NoDriver:
        """Why no driver can get it, or why there are none: in its own zone, otherwise in those that help."""
        delivery = wait.delivery
        for zones in ((delivery.zone,), helping(delivery, self._zones.current)):
            reason = self._why_not_these(wait, zones, policy)
            if reason is not None:
                return NoDriver(reason)
        radius, now = radius_km(delivery, policy), self._clock.now()
        around = self._fleet.nearby.around(delivery.pickup, delivery.zone, radius, now, policy)
        return why_no_driver(delivery.pickup, delivery.zone, radius, around)

    def _why_not_these(self, wait: Wait, zones: tuple[str, ...], policy: Policy) -> str | None:
        """Why none of the dispatchable drivers of these zones in the radius got it; None if there are none."""
        delivery, nearby, now = wait.delivery, self._fleet.nearby, self._clock.now()
        free = nearby.free(zones, now, policy)
        free = free.only(np.flatnonzero(distances(free.places, delivery.pickup) <= radius_km(delivery, policy)))
        if not len(free):
            return None
        excluded = wait.excluded(self._clock, policy)
        has_all = nearby.who_has(free.ids, delivery.requirements)
        in_time = nearby.who_is_in_time(free, delivery, now, policy)
        able = free.ids[has_all & in_time].tolist()
        reasons = {excluded.get(driver_id, "given_another") for driver_id in (able if excluded else able[:1])}
        if not has_all.all():
            reasons.add(REQUIREMENTS)
        if not in_time.all():
            reasons.add(SHIFT_ENDS)
        return why_not_these(reasons, {*excluded.values(), REQUIREMENTS, SHIFT_ENDS})
