"""Deadlines: everything that is due becomes an ordinary command, within milliseconds.

The database is read every second for what becomes due until shortly after the next read. Commits on this node add what
becomes due sooner. The rules check again, so a wrong or repeated command is harmless.
"""

import asyncio
import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog
from prometheus_client import Counter, Gauge, Histogram

from server.contract.commit import Answer, Committed
from server.current_policy import Policies
from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.policy import Policy
from server.ids import new_id
from server.lease import Lease
from server.store.clock import DatabaseTime
from server.store.due import Due, read_due
from server.store.engine import DATABASE_ERRORS, Database
from server.tasks import wait_until_set
from server.write.executor import Executor

SCAN_SECONDS: Final = 1.0
AHEAD_SECONDS: Final = 2.0
"""How far ahead a read looks: well beyond the next read."""
SCAN_LIMIT: Final = 2_000
IN_FLIGHT_LIMIT: Final = 500
REST_SECONDS: Final = 1.0
"""The pause before a failed command is tried again."""
TOO_EARLY_SECONDS: Final = 0.05

LAG: Final = Histogram(
    "callboard_deadline_lag_seconds",
    "From a deadline to the commit of its command",
    ["kind"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
)
OUTCOMES: Final = Counter("callboard_deadlines", "Commands submitted at deadlines", ["kind", "outcome"])
AHEAD: Final = Gauge("callboard_deadlines_ahead", "Deadlines due within the next seconds")

_NOT_DUE: Final = frozenset(
    refusal.code
    for refusal in (
        r.OFFER_NOT_DUE,
        r.BREAK_NOT_OVER,
        r.DELIVERY_NOT_DUE,
        r.NOT_ESCALATED,
        r.STILL_PRESENT,
        r.RISK_NOT_DUE,
        r.HOLD_NOT_OVER,
    )
)
_TRY_LATER: Final = frozenset({r.TRY_AGAIN.code, r.INTERNAL_ERROR.code, r.NOT_YET_SUPPORTED.code})
_CLOSING: Final = (e.OfferAccepted, e.OfferRejected, e.OfferExpired, e.OfferWithdrawn)

log = structlog.get_logger(__name__)

Key = tuple[str, str]


class Deadlines:
    """Deadlines in the near future, and two loops to supervise: `scan` reads them, `run` submits commands."""

    def __init__(
        self,
        *,
        database: Database,
        executor: Executor,
        policies: Policies,
        lease: Lease,
        clock: DatabaseTime,
    ) -> None:
        self._database = database
        self._executor = executor
        self._policies = policies
        self._lease = lease
        self._clock = clock
        self._dues: dict[Key, Due] = {}
        self._heap: list[tuple[float, Key]] = []
        self._resting: dict[Key, float] = {}
        self._in_flight: set[Key] = set()
        self._more = False
        self._sooner = asyncio.Event()
        self._scan_now = asyncio.Event()

    def committed(self, commit: Committed) -> None:
        """Deadlines that come before the next read certainly sees them, and deadlines that no longer apply. A new
        policy can move all deadlines.
        """
        if commit.policy is not None:
            self.look_now()
        if not self._lease.held:
            return
        horizon = commit.at + timedelta(seconds=AHEAD_SECONDS)
        for event in commit.events:
            if type(event) in _CLOSING:
                assert event.offer_id is not None
                self._dues.pop(("offer", event.offer_id), None)
            else:
                due = _due(event, self._policies.current)
                if due is None or due.due_at is None:
                    continue
                if due.due_at <= horizon:
                    self._add(due)
                else:
                    self._dues.pop(due.key, None)

    def look_now(self) -> None:
        """Deadlines may have changed: read them now."""
        self._scan_now.set()

    async def scan(self) -> None:
        """Read every second what becomes due soon."""
        while True:
            if not self._lease.held:
                self._forget()
                await self._lease.taken.wait()
            self._scan_now.clear()
            try:
                await self._scan()
            except DATABASE_ERRORS as error:
                log.warning("deadlines_not_read", reason=repr(error))
            await wait_until_set(self._scan_now, SCAN_SECONDS)

    def _forget(self) -> None:
        self._dues.clear()
        self._heap.clear()
        self._resting.clear()

    async def _scan(self) -> None:
        now, dues, self._more = await read_due(
            self._database.pool, self._policies.current, within_seconds=AHEAD_SECONDS, limit=SCAN_LIMIT
        )
        self._clock.heard(now)
        at = asyncio.get_running_loop().time()
        self._resting = {key: until for key, until in self._resting.items() if until > at}
        for due in dues:
            if due.key not in self._resting:
                self._add(due)
        AHEAD.set(len(self._dues))

    def _add(self, due: Due) -> None:
        """Remember it; a deadline that has moved replaces what was known of it."""
        key = due.key
        known = self._dues.get(key)
        if key in self._in_flight or (known is not None and known.due_at == due.due_at):
            return
        self._dues[key] = due
        heapq.heappush(self._heap, (self._when(due), key))
        if self._heap[0][1] == key:
            self._sooner.set()

    async def run(self) -> None:
        """Submit every command when it is due, all that are due together."""
        loop = asyncio.get_running_loop()
        while True:
            await self._lease.taken.wait()
            for due in self._take(loop.time()):
                self._send(due)
            wait = self._heap[0][0] - loop.time() if self._heap else SCAN_SECONDS
            if len(self._in_flight) >= IN_FLIGHT_LIMIT:
                wait = SCAN_SECONDS
            self._sooner.clear()
            if wait > 0:
                await wait_until_set(self._sooner, min(wait, SCAN_SECONDS))

    def _take(self, now: float) -> Iterator[Due]:
        while self._heap and self._heap[0][0] <= now and len(self._in_flight) < IN_FLIGHT_LIMIT:
            _, key = heapq.heappop(self._heap)
            due = self._dues.get(key)
            if due is None:
                continue
            when = self._when(due)
            if when > now:  # it was moved, or we know the database's time better now
                heapq.heappush(self._heap, (when, key))
                continue
            del self._dues[key]
            yield due
        if self._more and not self._dues and not self._in_flight:
            self._scan_now.set()

    def _when(self, due: Due) -> float:
        return self._clock.on_loop(due.due_at) if due.due_at is not None else 0.0

    def _send(self, due: Due, again: bool = False) -> None:
        self._in_flight.add(due.key)
        self._executor.submit(_command(due)).add_done_callback(partial(self._answered, due, again))

    def _answered(self, due: Due, again: bool, answer: "asyncio.Future[Answer | r.Refusal]") -> None:
        """The command succeeded, was not needed, came slightly too early, or failed; after a failure it pauses."""
        loop = asyncio.get_running_loop()
        self._in_flight.discard(due.key)
        self._sooner.set()
        outcome = answer.result()
        if not isinstance(outcome, r.Refusal):
            OUTCOMES.labels(due.kind, "done").inc()
            if not outcome.decided.repeated and due.due_at is not None:
                LAG.labels(due.kind).observe(max(0.0, (outcome.at - due.due_at).total_seconds()))
            return
        OUTCOMES.labels(due.kind, outcome.code).inc()
        if outcome.code in _NOT_DUE and not again:
            loop.call_later(TOO_EARLY_SECONDS, self._send, due, True)
            return
        self._resting[due.key] = loop.time() + REST_SECONDS
        if outcome.code in _TRY_LATER:
            loop.call_later(REST_SECONDS, self._add, due)


_TIMED: Final = frozenset(
    {
        e.OfferCreated, e.DeliveryCreated, e.DeliveryPostponed, e.DeliveryHeld, e.DeliveryReady, e.DeliveryReassigned,
        e.HoldEnded, e.DriverDisconnected, e.AvailabilityChanged,
    }
)  # fmt: skip


def _due(event: e.Event, policy: Policy) -> Due | None:
    """What the event lets the clock do later."""
    if type(event) not in _TIMED:
        return None
    match event:
        case e.OfferCreated(offer=offer):
            return Due("offer", offer.id, offer.expires_at)
        case e.DeliveryCreated(delivery=delivery) if delivery.dispatch_at > event.at:
            return Due("dispatch", delivery.id, delivery.dispatch_at)
        case e.DeliveryPostponed(delivery_id=str(delivery_id), until=until):
            return Due("dispatch", delivery_id, until)
        case e.DeliveryHeld(delivery_id=str(delivery_id), until=until):
            return Due("hold", delivery_id, until)
        case (
            e.DeliveryReady(delivery_id=str(delivery_id))
            | e.DeliveryReassigned(delivery_id=str(delivery_id))
            | e.HoldEnded(delivery_id=str(delivery_id))
        ):
            if policy.escalation:
                first = timedelta(seconds=policy.escalation[0].after_seconds)
                return Due("escalation", delivery_id, event.at + first)
        case e.DriverDisconnected(driver_id=str(driver_id), lost_at=lost_at):
            return Due("presence", driver_id, lost_at + timedelta(seconds=policy.presence_lapse_seconds))
        case e.AvailabilityChanged(driver_id=str(driver_id), to="on_break", until=datetime() as until):
            return Due("break", driver_id, until)
    return None


def _command(due: Due) -> c.Command:
    match due.kind:
        case "offer":
            return c.ExpireOffer(due.id, new_id())
        case "break":
            return c.EndBreak(due.id)
        case "dispatch":
            return c.DispatchDelivery(due.id)
        case "hold":
            return c.EndHold(due.id)
        case "escalation":
            return c.Escalate(due.id, new_id())
        case "pickup_late" | "delivery_late" | "driver_gone" | "stalled":
            return c.RaiseRisk(due.id, due.kind)
        case "moving":
            return c.ClearRisk(due.id, "stalled")
        case "driver_back":
            return c.ClearRisk(due.id, "driver_gone")
        case "pickup_in_time":
            return c.ClearRisk(due.id, "pickup_late")
        case "in_time":
            return c.ClearRisk(due.id, "delivery_late")
        case "risk":
            return c.EscalateRisk(due.id, new_id())
        case "gone_release":
            return c.ReleaseGone(due.id)
        case "presence":
            return c.LapsePresence(due.id)
        case "session":
            assert due.session_id is not None
            return c.DisconnectDriver(due.id, due.session_id, lost_at=due.due_at)
