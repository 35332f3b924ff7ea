"""Records failed searches with their reasons: at once when the reason is new, and rarely when it repeats.

However many deliveries wait, only a few records are written at a time, and one read finds the reasons of all of them.
"""

import asyncio
from itertools import islice
from typing import Final

from prometheus_client import Counter

from server.dispatch.commands import NoteFailedSearch
from server.dispatch.deliveries import SAME_FAILURE_RECORDED_EVERY
from server.dispatch.policy import Policy
from server.dispatch.reasons import AtWork, NoDriver, why_no_driver
from server.dispatcher.backlog import Backlog, Wait
from server.dispatcher.search import radius_km
from server.store.engine import Database
from server.store.reads.waiting import all_at_work
from server.write.executor import Executor

REASON_SECONDS: Final = 5.0
"""How often the reason of a failure is looked for again."""
SPACING_SECONDS: Final = 0.2
LIMIT: Final = 100
AT_WORK_SHARE: Final = 20
"""A read of all drivers at work is reused for this many times its duration."""

RECORDED: Final = Counter("callboard_matcher_failed_searches", "Failed searches recorded", ["reason"])


class Failures:
    """Failures to record, oldest first."""

    def __init__(self, database: Database, executor: Executor, backlog: Backlog) -> None:
        self._database = database
        self._executor = executor
        self._backlog = backlog
        self._found: dict[str, tuple[Wait, str | None]] = {}
        self._next_at = 0.0
        self._at_work: dict[str, AtWork] = {}
        self._at_work_until = float("-inf")

    def add(self, wait: Wait, reason: str | None, now: float) -> None:
        """A complete search found no driver. `reason` is None if no dispatchable driver was in the radius; then the
        other drivers determine the reason.
        """
        news = reason is not None and reason != wait.recorded_reason
        if news or now >= wait.checked_at + REASON_SECONDS:
            self._found[wait.delivery.id] = (wait, reason)

    def clear(self) -> None:
        """Another node dispatches now."""
        self._found.clear()

    def next_due(self) -> float:
        """When to write next, by the loop's clock."""
        return self._next_at if self._found else float("inf")

    async def write(self, policy: Policy) -> None:
        """Write some of them. Raises what the database raises."""
        now = asyncio.get_running_loop().time()
        self._next_at = now + SPACING_SECONDS
        taken = [self._found.pop(delivery_id) for delivery_id in list(islice(self._found, LIMIT))]
        failures = [(wait, reason) for wait, reason in taken if self._backlog.still(wait)]
        if any(reason is None for _, reason in failures) and now >= self._at_work_until:
            self._at_work = await all_at_work(self._database.pool, policy)
            took = asyncio.get_running_loop().time() - now
            self._at_work_until = now + took * AT_WORK_SHARE
        for wait, reason in failures:
            delivery = wait.delivery
            if reason is not None:
                why = NoDriver(reason)
            else:
                why = why_no_driver(delivery.pickup, delivery.zone, radius_km(delivery, policy), self._at_work)
            wait.checked_at = now
            again = now >= wait.recorded_at + SAME_FAILURE_RECORDED_EVERY.total_seconds()
            if self._backlog.still(wait) and (again or why.reason != wait.recorded_reason):
                wait.recorded_reason, wait.recorded_at = why.reason, now
                RECORDED.labels(why.reason).inc()
                self._executor.submit(NoteFailedSearch(delivery.id, why.reason, nearest=why.nearest))
