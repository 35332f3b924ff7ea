"""Holds on the live server: all that waits and all that is held in a zone is planned together, also with the drivers
who are busy now. Then what is planned for now is offered, and what is planned for later is held until its driver must
leave.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from server.dispatch.holds import may_be_held, must_be_offered_at
from server.dispatch.model import Delivery
from server.dispatch.planning.plan import Plan
from server.dispatch.policy import Policy
from server.dispatch.travel import to_milliseconds
from server.dispatcher.backlog import Backlog, Wait, age, radius_km
from server.dispatcher.live_fleet import LiveFleet
from server.dispatcher.submissions import Submissions
from server.dispatcher.zone_plans import ZonePlans
from server.lease import Lease
from server.store.clock import DatabaseTime
from server.tasks import Turns

HOLDS_SECONDS: Final = 2.0
"""How often it is looked at whether holds are still right: drivers move, come free and become busy."""
HOLDS_SPACING: Final = 20.0
SPACING: Final = 3.0
"""How many times as long as a plan took it is until the next one: to look at holds, and for what is new."""
MOVED_SECONDS: Final = 30.0
"""A hold is moved if its driver must leave so much sooner, or need not leave for so much longer."""
LAST_LOOK_SECONDS: Final = 10.0
"""A hold moves to a later time when it ends so soon. Sooner, a driver who comes and goes would move it to and fro."""
PLANNED_TOGETHER: Final = 50
"""So many deliveries that wait and so many that are held are planned together: those that wait for longest, and those
whose holds end first.
"""
SOON_SECONDS: Final = 1.0
"""What must be offered so soon is not held, but planned again then."""


class Holds:
    """Plans zones where deliveries are held or may be. Times are the event loop's."""

    def __init__(
        self,
        *,
        backlog: Backlog,
        fleet: LiveFleet,
        plans: ZonePlans,
        submissions: Submissions,
        lease: Lease,
        clock: DatabaseTime,
    ) -> None:
        self._backlog = backlog
        self._fleet = fleet
        self._plans = plans
        self._submissions = submissions
        self._lease = lease
        self._clock = clock
        self.rests_until = 0.0
        """Until then nothing new is planned, so plans leave time for everything else."""
        self.just_planned: set[str] = set()
        """The zones that were planned in this round."""
        self._look_at = 0.0
        self._zones: list[str] = []
        """The zones that are still to be looked at this time."""

    def wake(self) -> None:
        """Look at all holds now."""
        self._look_at = 0.0
        self._zones.clear()

    def moved(self, delivery: Delivery) -> bool:
        """Look at its zone now if this delivery is held and its pickup was changed. Returns whether it was."""
        wait = self._backlog.held.get(delivery.id)
        if wait is None or not wait.moved:
            return False
        if delivery.zone not in self._zones:
            self._zones.append(delivery.zone)
        self.just_planned.discard(delivery.zone)
        self._look_at = 0.0
        return True

    def next_due(self) -> float:
        """When to look at holds next."""
        return self._look_at if self._backlog.held else float("inf")

    def may_be_held(self, wait: Wait, policy: Policy) -> bool:
        """Whether this waiting delivery may be held."""
        return not wait.cannot_be_held and may_be_held(wait.delivery, self._clock.now(), policy)

    async def look(self, policy: Policy) -> None:
        """Look at the holds of the next zone. After a plan in the same round that would tell nothing new, and drivers
        whose offers are being committed would be missing.
        """
        loop = asyncio.get_running_loop()
        if not self._zones:
            self._zones = sorted({wait.delivery.zone for wait in self._backlog.held.values()})
        began = loop.time()
        self._look_at = began + HOLDS_SECONDS  # also if this fails
        zone = self._zones.pop()
        if zone not in self.just_planned:
            await self.plan_zone(zone, (), policy)
        pause = HOLDS_SPACING * (loop.time() - began)
        self._look_at = loop.time() + (pause if self._zones else max(pause, HOLDS_SECONDS))

    async def plan_zone(self, zone: str, due: Sequence[Wait], policy: Policy) -> list[Wait]:
        """Plan what is due in a zone, what was searched for before, and what is held, and carry the plan out. Returns
        those of `due` that must be offered at once and have no driver.

        1. What is planned for now is offered.
        2. What is planned for later is held until then, if it may be, but not longer than until its goods are ready.
           The time of a hold moves to an earlier one at once, and to a later one if the pickup was changed, or just
           before it ends.
        3. What has no driver is held until the nearest one would have to leave. A hold stays while drivers are busy or
           out of contact for a moment; it ends if nobody is there.
        """
        loop = asyncio.get_running_loop()
        began, at = loop.time(), self._clock.now()
        self.just_planned.add(zone)
        due = sorted(due, key=age)
        for wait in due[PLANNED_TOGETHER:]:
            self._backlog.schedule(wait, began)
        due = due[:PLANNED_TOGETHER]
        wanted = {wait.delivery.id for wait in due}
        others = (wait for wait in self._backlog.searched_in(zone) if wait.delivery.id not in wanted)
        waiting = [*due, *sorted(others, key=age)[: PLANNED_TOGETHER - len(due)]]
        held: list[Wait] = []
        over: list[Wait] = []
        for delivery_id, wait in self._backlog.held.items():
            if wait.delivery.zone == zone and delivery_id not in self._backlog.offering:
                (held if may_be_held(wait.delivery, at, policy) else over).append(wait)
        held = sorted(held, key=_held_until)[:PLANNED_TOGETHER]
        at_once = {wait.delivery.id for wait in waiting if not self.may_be_held(wait, policy)}
        found = await self._plans.whole(zone, [*waiting, *held], at_once, policy)
        for wait in waiting:
            wait.planned = True
        left = await self._carry_out(found, waiting, at_once, at, policy)
        over += await self._carry_out(found, held, at_once, at, policy)
        for wait in over if self._lease.held else ():
            if self._backlog.held.get(wait.delivery.id) is wait:
                self._submissions.end_hold(wait)
        self.rests_until = loop.time() + SPACING * (loop.time() - began)
        return [wait for wait in left if wait.delivery.id in wanted]

    async def _carry_out(
        self, found: Plan, waits: Sequence[Wait], at_once: set[str], at: datetime, policy: Policy
    ) -> list[Wait]:
        """Offer what is planned for now, and hold what is planned for later. Returns what is neither: of held ones
        those for which nobody is there.
        """
        loop = asyncio.get_running_loop()
        proposals, left, turns = {one.delivery_id: one for one in found.proposals}, [], Turns()
        for wait in waits:
            await turns.step()
            delivery = wait.delivery
            known = self._backlog.waits.get(delivery.id) or self._backlog.held.get(delivery.id)
            if known is not wait or delivery.id in self._backlog.offering:
                continue
            if not self._lease.held:
                left.append(wait)
                continue
            until, proposal, offer_at = delivery.held_until, proposals.get(delivery.id), found.held.get(delivery.id)
            if proposal is not None and proposal.driver_id not in self._backlog.reserved:
                self._submissions.offer(wait, proposal.driver_id, proposal.lat, proposal.lon)
                continue
            nearest_at = None
            if offer_at is None and delivery.id not in at_once:
                km = self._fleet.nearby.nearest_km(delivery, radius_km(delivery, policy))
                nearest_at = must_be_offered_at(delivery, km, policy).timestamp() if km is not None else None
            if until is None:
                hold_until = offer_at or nearest_at
                if hold_until is not None and hold_until > at.timestamp() + SOON_SECONDS:
                    self._submissions.hold(wait, _instant(hold_until, delivery))
                elif offer_at is not None:
                    self._backlog.schedule(wait, loop.time() + max(0.0, offer_at - at.timestamp()))
                else:
                    left.append(wait)
            elif offer_at is not None:
                better = _instant(max(offer_at, at.timestamp() + SOON_SECONDS), delivery)
                later = (better - until).total_seconds()
                may_be_later = wait.moved or (until - at).total_seconds() <= LAST_LOOK_SECONDS
                if later < -MOVED_SECONDS or (may_be_later and later > MOVED_SECONDS):
                    self._submissions.hold(wait, better)
                wait.moved = False
            elif proposal is None and nearest_at is None:
                left.append(wait)
        return left


def _held_until(wait: Wait) -> datetime:
    assert wait.delivery.held_until is not None
    return wait.delivery.held_until


def _instant(seconds: float, delivery: Delivery) -> datetime:
    """The end of a hold at these Unix seconds, or when the goods are ready."""
    return min(to_milliseconds(datetime.fromtimestamp(seconds, UTC)), delivery.is_ready_at())
