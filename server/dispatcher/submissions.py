"""Offers and holds that the matcher submits, and what their answers mean for the backlog.

They are not waited for: a delivery is set aside until the answer, and so is the driver of an offer.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from server.contract.commit import Answer
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatcher.backlog import Backlog, Wait
from server.dispatcher.live_fleet import LiveFleet
from server.ids import new_id
from server.sockets.positions import Positions
from server.store.engine import DATABASE_ERRORS
from server.write.executor import Executor

REFUSED_SECONDS: Final = 1.0
UNSTORED_SECONDS: Final = 0.3
"""How soon a driver is asked again whose position another node has not stored yet."""

OFFERS: Final = Counter("callboard_matcher_offers", "Offers submitted by the matcher, by outcome", ["outcome"])
OFFER_LATENCY: Final = Histogram(
    "callboard_ready_to_offered_seconds",
    "From the moment a delivery waits for an offer to the commit of the offer",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120),
)

_NOT_SEEN_YET: Final = frozenset({"no_position", "position_stale", "not_present"})
"""Reasons for a driver whose position or call was not stored when the rules looked."""

log = structlog.get_logger(__name__)


class Submissions:
    """`wake` is called when an answer lets a delivery be looked at again."""

    def __init__(
        self,
        executor: Executor,
        backlog: Backlog,
        fleet: LiveFleet,
        positions: Positions,
        wake: Callable[[], None],
    ) -> None:
        self._executor = executor
        self._backlog = backlog
        self._fleet = fleet
        self._positions = positions
        self._wake = wake
        self._storing: set[asyncio.Task[None]] = set()

    def offer(self, wait: Wait, driver_id: str, lat: float, lon: float) -> None:
        """Offer it to a driver who is at `lat`, `lon` (degrees)."""
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

    def hold(self, wait: Wait, until: datetime) -> None:
        """Hold it, or move the end of its hold."""
        self._submit_hold(c.HoldDelivery(wait.delivery.id, until), wait)

    def end_hold(self, wait: Wait) -> None:
        """No driver is there: it waits like any other."""
        wait.ended_early = True
        self._submit_hold(c.EndHold(wait.delivery.id, early=True), wait)

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

    def _submit_hold(self, command: c.HoldDelivery | c.EndHold, wait: Wait) -> None:
        self._backlog.offering.add(wait.delivery.id)
        self._executor.submit(command).add_done_callback(partial(self._hold_answered, wait))

    def _hold_answered(self, wait: Wait, answer: "asyncio.Future[Answer | r.Refusal]") -> None:
        """The commit has changed the backlog already. What cannot be held is offered."""
        self._backlog.offering.discard(wait.delivery.id)
        if isinstance(answer.result(), r.Refusal) and self._backlog.still(wait):
            wait.cannot_be_held = True
            self._backlog.schedule(wait, asyncio.get_running_loop().time())
            self._wake()

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
            self._fleet.doubt(driver_id)
            if outcome.more.get("reason") in _NOT_SEEN_YET:
                wait.unstored_until = now + UNSTORED_SECONDS
                self._backlog.lose(wait, driver_id, now, UNSTORED_SECONDS)
            else:
                self._backlog.lose(wait, driver_id, now)
        elif outcome == r.DELIVERY_NOT_WAITING:
            self._backlog.drop(wait)
        else:
            self._backlog.schedule(wait, now + REFUSED_SECONDS)
        self._wake()
