"""A simulated driver's whole job: ride, arrive, wait, pick up, ride, arrive, hand over; or give it back, or fail and
return.
"""

import asyncio
import random
from typing import Final, Protocol

from server.driver_client import messages as m
from server.driver_client.client import DriverClient, Refused, phone_time
from server.simulate.habits import Habits, Pace
from server.simulate.places import Leg, Place, standing
from server.simulate.tally import Tally

RELEASES: Final = ("vehicle", "unwell", "too_far", "unsafe")
FAILURES: Final = ("recipient_absent", "recipient_absent", "refused", "wrong_address", "damaged")
NO_PROOF: Final = frozenset({"proof_required", "pin_wrong", "pin_locked"})


class Ride:
    """Where a driver is and goes: a leg after another, at the pace of their vehicle."""

    def __init__(self, start: Place, pace: Pace) -> None:
        self.leg = standing(start)
        self.pace = pace

    def to(self, lat: float, lon: float, share_of_pace: float = 1.0) -> None:
        now = asyncio.get_running_loop().time()
        self.leg = Leg(self.leg.at(now), Place(lat, lon), now, self.pace.metres_per_second * share_of_pace)

    def stop(self) -> None:
        self.leg = standing(self.here())

    def here(self) -> Place:
        return self.leg.at(asyncio.get_running_loop().time())


class Reports:
    """A driver's reports of what they did, in order; some of it late, and without a network when there is one again."""

    def __init__(self, client: DriverClient, tally: Tally, habits: Habits) -> None:
        self._client = client
        self._tally = tally
        self._habits = habits
        self._last: asyncio.Task[bool] | None = None

    async def report(self, deed: m.Deed) -> bool:
        """Say it, at once or later; whether the server agreed, as far as is known by now."""
        late = random.random() < self._habits.reports_late
        waits = self._last is not None and not self._last.done()
        if not (late or waits) and self._client.connected.is_set():
            return await self._say(deed)
        if late:
            self._tally.counts["reported_late"] += 1
        delay = random.uniform(*self._habits.late_seconds) if late else 0.0
        self._last = asyncio.create_task(self._say_later(deed, delay, self._last))
        return True

    async def all_said(self) -> bool:
        """Wait until nothing is left to say; whether the server agreed to the last of it."""
        return self._last is None or await self._last

    async def _say_later(self, deed: m.Deed, delay: float, before: asyncio.Task[bool] | None) -> bool:
        if before is not None:
            await before
        await asyncio.sleep(delay)
        return await self._say(deed)

    async def _say(self, deed: m.Deed) -> bool:
        try:
            await self._client.ask(deed, by_http=random.random() < self._habits.reports_by_http)
        except (Refused, TimeoutError) as why:
            self._tally.counts["refused" if isinstance(why, Refused) else "unanswered"] += 1
            return False
        return True

    def drop(self) -> None:
        """Nobody wants to know any more."""
        if self._last is not None:
            self._last.cancel()


class AtWork(Protocol):
    """What a job needs of its driver."""

    client: DriverClient
    ride: Ride
    reports: Reports

    async def busy_until(self, at: float, assignment_id: str) -> bool: ...


class Job:
    """One assignment, carried out. Somebody may take it away at any time: then it ends where it is."""

    def __init__(self, driver: AtWork, assignment: m.Assignment, tally: Tally, habits: Habits) -> None:
        self._driver = driver
        self._assignment = assignment
        self._tally = tally
        self._habits = habits

    async def carry_out(self) -> bool:
        """Whether the driver ended it; not if it was taken away, or if the server did not agree."""
        a = self._assignment
        if a.picked_up_at is None and not await self._collect():
            return False
        if a.delivery_status != "RETURNING":
            handed_over = await self._hand_over()
            if handed_over is not None:
                return handed_over
        return await self._bring_back()

    async def _collect(self) -> bool:
        """Whether the goods are in hand."""
        a, driver, pace = self._assignment, self._driver, self._driver.ride.pace
        driver.ride.to(a.pickup.lat, a.pickup.lon)
        gives_back = random.random() < self._habits.releases
        arrives = driver.ride.leg.arrives
        if gives_back and random.random() < 0.5:
            begins = driver.ride.leg.began
            if await driver.busy_until(begins + random.random() * (arrives - begins), a.id):
                await self._release(random.choice(RELEASES))
            return False
        if not await driver.busy_until(arrives, a.id):
            return False
        if not await self._report(m.Arrived, where="pickup"):
            return False
        here_since = asyncio.get_running_loop().time()
        if gives_back:
            if await driver.busy_until(here_since + pace.pickup_seconds, a.id):
                ready = self._tally.ready_at(a.delivery_id) <= here_since
                await self._release("shop_closed" if ready else "shop_slow")
            return False
        leaves = max(here_since + pace.pickup_seconds, self._tally.ready_at(a.delivery_id))
        while await driver.busy_until(leaves, a.id):
            ready_at = self._tally.ready_at(a.delivery_id)
            if ready_at <= leaves:
                self._tally.picked_up(a.delivery_id, asyncio.get_running_loop().time())
                return await self._report(m.PickedUp)
            leaves = ready_at  # the shop said meanwhile that it takes longer
        return False

    async def _hand_over(self) -> bool | None:
        """Whether it has ended; None when the goods go back to the store."""
        a, driver = self._assignment, self._driver
        driver.ride.to(a.dropoff.lat, a.dropoff.lon)
        if not await driver.busy_until(driver.ride.leg.arrives, a.id):
            return False
        if not await self._report(m.Arrived, where="dropoff"):
            return False
        if not await driver.busy_until(asyncio.get_running_loop().time() + driver.ride.pace.dropoff_seconds, a.id):
            return False
        pin = self._tally.pin_of(a.delivery_id) if "pin" in a.proof_required else None
        if random.random() < self._habits.fails:
            return await self._fail(random.choice(FAILURES))
        if pin is not None and random.random() < self._habits.mistypes:
            self._tally.counts["pins_mistyped"] += 1
            await self._complete(f"{(int(pin) + 1) % 10_000:04}")
        refused = await self._complete(pin)
        if refused in NO_PROOF:
            return await self._fail("recipient_absent")
        if refused is None:
            self._tally.delivered(a.delivery_id, asyncio.get_running_loop().time())
        return refused is None

    async def _complete(self, pin: str | None) -> str | None:
        """Hand over, once all before it is reported; the code of the refusal, if there was one."""
        await self._driver.reports.all_said()
        proof = m.Proof(pin=pin) if pin is not None else None
        try:
            await self._driver.client.ask(self._deed(m.Completed, proof=proof))
        except (Refused, TimeoutError) as why:
            code = why.code if isinstance(why, Refused) else "unanswered"
            if code not in NO_PROOF:
                self._tally.counts["refused" if isinstance(why, Refused) else "unanswered"] += 1
            return code
        return None

    async def _release(self, reason: str) -> None:
        if await self._report(m.Release, reason=reason) and await self._driver.reports.all_said():
            self._tally.released(self._assignment.delivery_id)

    async def _fail(self, reason: str) -> bool | None:
        then = "return" if reason == "damaged" or random.random() < self._habits.brings_back else "end"
        note = "nobody answers the door" if reason == "recipient_absent" else None
        if not await self._report(m.Failed, reason=reason, note=note, then=then):
            return False
        if then == "return":
            return None
        over = await self._driver.reports.all_said()
        if over:
            self._tally.failed(self._assignment.delivery_id, "failed")
        return over

    async def _bring_back(self) -> bool:
        a, driver = self._assignment, self._driver
        driver.ride.to(a.pickup.lat, a.pickup.lon)
        if not await driver.busy_until(driver.ride.leg.arrives + driver.ride.pace.pickup_seconds, a.id):
            return False
        if not await driver.reports.all_said():  # else the server would take it for delivered
            return False
        returned = await self._complete(None) is None
        if returned:
            self._tally.failed(a.delivery_id, "returned")
        return returned

    async def _report(self, kind: type[m.Deed], **fields: object) -> bool:
        return await self._driver.reports.report(self._deed(kind, **fields))

    def _deed(self, kind: type[m.Deed], **fields: object) -> m.Deed:
        """Done here and now."""
        here = self._driver.ride.here()
        return kind(assignment_id=self._assignment.id, at=phone_time(), lat=here.lat, lon=here.lon, **fields)  # type: ignore[arg-type]
