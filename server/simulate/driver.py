"""A simulated driver: answers offers, carries out jobs, takes breaks, falls silent and goes home.

Time is the loop's clock, in seconds; `Pace.speed` shortens rides and handovers and nothing else.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from server.driver_client import messages as m
from server.driver_client.client import DriverClient, Refused
from server.simulate.habits import Habits, Pace
from server.simulate.job import Job, Reports, Ride
from server.simulate.places import Place
from server.simulate.tally import Tally

MOVING_REPORT_SECONDS: Final = 4.0
REPORT_METRES: Final = 1_000.0
"""A position that is further from the last one, in a city in fast motion, would not be believed."""
STANDING_REPORT_SECONDS: Final = 20.0
PAUSED_SECONDS: Final = (20.0, 60.0)
REASONS: Final = ("too_far", "shop_slow", "low_pay", "wrong_direction", "vehicle")
HOUR: Final = 3600.0


class SimulatedDriver:
    """One driver's shift. `live` as a task, `go_home` to have it end after the work in hand."""

    def __init__(
        self,
        make_client: Callable[[Callable[[m.ToDriver], None]], DriverClient],
        tally: Tally,
        start: Place,
        pace: Pace,
        habits: Habits,
        *,
        hang_out: Callable[[], Place] | None = None,
    ) -> None:
        self.client = make_client(self._heard)
        self.ride = Ride(start, pace)
        self.reports = Reports(self.client, tally, habits)
        self._tally = tally
        self._habits = habits
        self._hang_out = hang_out
        self._news = asyncio.Event()
        self._report_now = asyncio.Event()
        self._offered: dict[str, float] = {}
        self._put_off: set[str] = set()
        self._assigned: set[str] = set()
        self._going_home = False
        self._hurried = False

    @property
    def busy(self) -> bool:
        """Whether there is a delivery in hand."""
        return bool(self.client.mirror.assignments)

    def go_home(self) -> None:
        """End the shift: no more offers; what is in hand is carried out first."""
        self._going_home = True
        self._news.set()

    def end_shift_now(self) -> None:
        """End the shift now: what is in hand counts as done."""
        self._hurried = True
        self.go_home()

    async def live(self) -> None:
        """Connect and work, until the shift ends."""
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [
                    tasks.create_task(self.client.run()),
                    tasks.create_task(self._report()),
                    tasks.create_task(self._lose_network()),
                ]
                await self._work()
                for task in background:
                    task.cancel()
        finally:
            self.reports.drop()

    # What the server says

    def _heard(self, message: m.ToDriver) -> None:
        now = asyncio.get_running_loop().time()
        counts = self._tally.counts
        match message:
            case m.Hello():
                counts["connects"] += 1
                self._report_now.set()
                for offer in message.offers:
                    self._note_offer(offer, now)
                for assignment in message.assignments:
                    self._note_assignment(assignment, now)
            case m.OfferMade():
                self._note_offer(message.offer, now)
            case m.OfferClosed():
                counts[message.outcome.lower()] += 1
                offered = self._offered.pop(message.offer_id, None)
                if offered is not None and message.outcome in ("ACCEPTED", "REJECTED"):
                    self._tally.reply_seconds.append(now - offered)
            case m.AssignmentChanged():
                self._note_assignment(message.assignment, now)
            case m.Error(id=""):
                counts["errors"] += 1
            case _:
                pass
        self._news.set()

    def _note_offer(self, offer: m.Offer, now: float) -> None:
        if offer.id not in self._offered:
            self._offered[offer.id] = now
            self._tally.counts["offers"] += 1

    def _note_assignment(self, assignment: m.Assignment, now: float) -> None:
        if assignment.id not in self._assigned and assignment.picked_up_at is None:
            self._assigned.add(assignment.id)
            self._tally.assigned(assignment.delivery_id, now, assignment.source)

    # What the driver does

    async def _work(self) -> None:
        next_break = self._sometime(self._habits.breaks_per_hour)
        shift_end = self._sometime(self._habits.shift_ends_per_hour)
        while True:
            mirror = self.client.mirror
            now = asyncio.get_running_loop().time()
            assignment = next((a for a in mirror.assignments.values() if a.id not in self._put_off), None)
            offer = next((o for o in mirror.offers.values() if o.id not in self._put_off), None)
            if assignment is not None:
                await self._carry_out(assignment)
            elif self._going_home:
                await self._try(m.EndShift())
                return
            elif offer is not None:
                await self._answer(offer)
            elif mirror.availability in ("paused", "shift_ended", "on_break"):
                await self._come_back(mirror.availability)
            elif now > next_break:
                next_break = self._sometime(self._habits.breaks_per_hour)
                await self._try(m.TakeBreak(duration_minutes=random.randint(*self._habits.break_minutes)))
                await self._settle("on_break")
            elif now > shift_end:
                shift_end = self._sometime(self._habits.shift_ends_per_hour)
                await self._take_time_off()
            else:
                self._wander(now)
                await self._news_within(10.0)

    async def _answer(self, offer: m.Offer) -> None:
        """Look at the offer for a while, then take it, decline it or let it pass."""
        self.client.tell(m.Received(offer_id=offer.id))
        loop = asyncio.get_running_loop()
        chance = random.random()
        ignores = chance < self._habits.ignores
        decided_at = loop.time() + (
            offer.remaining_ms / 1000 + 5 if ignores else random.uniform(*self._habits.reply_seconds)
        )
        while offer.id in self.client.mirror.offers and loop.time() < decided_at and not self._going_home:
            await self._news_within(decided_at - loop.time())
        if ignores or self._going_home or offer.id not in self.client.mirror.offers:
            self._put_off.add(offer.id)
        elif chance < self._habits.ignores + self._habits.rejects:
            await self._try(m.Reject(offer_id=offer.id, reason=random.choice(REASONS)))
            await self._gone(offer.id)
        else:
            await self._try(m.Accept(offer_id=offer.id))
            await self._gone(offer.id)

    async def _carry_out(self, assignment: m.Assignment) -> None:
        if await Job(self, assignment, self._tally, self._habits).carry_out():
            await self._gone(assignment.id)
            return
        await self.reports.all_said()
        self._put_off.add(assignment.id)

    async def busy_until(self, at: float, assignment_id: str) -> bool:
        """Whether the assignment was ours all the time until then."""
        loop = asyncio.get_running_loop()
        while loop.time() < at and not self._hurried:
            if assignment_id not in self.client.mirror.assignments:
                self.ride.stop()
                return False
            await self._news_within(at - loop.time())
        return assignment_id in self.client.mirror.assignments

    async def _come_back(self, state: str) -> None:
        """From a break that the server ends by itself, or from a state that only `resume` ends."""
        if state == "on_break":
            await self._news_within(30.0)
            return
        if state == "paused":
            await self._rest(random.uniform(*PAUSED_SECONDS))
        if await self._try(m.Resume()):
            await self._settle(*({"available", "on_break", "paused", "shift_ended"} - {state}))

    async def _take_time_off(self) -> None:
        """Go home without a socket, and come back later."""
        if await self._try(m.EndShift()):
            seconds = random.uniform(*self._habits.away_seconds)
            self.client.lose_network(seconds)
            await self._rest(seconds)

    async def _rest(self, seconds: float) -> None:
        """Do nothing for so long, unless it is time to go home."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until and not self._going_home:
            await self._news_within(until - loop.time())

    async def _lose_network(self) -> None:
        """Tunnels, lifts and empty batteries."""
        if not self._habits.losses_per_hour:
            return
        while True:
            await asyncio.sleep(random.expovariate(self._habits.losses_per_hour / HOUR))
            self._tally.counts["lost_connections"] += 1
            self.client.lose_network(random.uniform(*self._habits.loss_seconds))

    async def _report(self) -> None:
        """Tell the server where we are: often while moving, seldom while standing, at once after connecting."""
        loop = asyncio.get_running_loop()
        reported_at = 0.0
        while True:
            await self.client.connected.wait()
            now = loop.time()
            leg = self.ride.leg
            moving = now < leg.arrives
            if moving or self._report_now.is_set() or now - reported_at > STANDING_REPORT_SECONDS:
                self._report_now.clear()
                reported_at = now
                place = leg.at(now)
                speed = min(round(leg.metres_per_second * 3.6, 1), 500.0) if moving else 0.0
                self.client.tell(m.Location(lat=place.lat, lon=place.lon, heading=leg.heading, speed_kmh=speed))
            with suppress(TimeoutError):
                every = min(MOVING_REPORT_SECONDS, REPORT_METRES / max(leg.metres_per_second, 1.0))
                async with asyncio.timeout(every * random.uniform(0.8, 1.2)):
                    await self._report_now.wait()

    # Small steps

    def _wander(self, now: float) -> None:
        """Idle drivers drift towards where orders come from."""
        if self._hang_out is not None and now > self.ride.leg.arrives + 30.0:
            spot = self._hang_out()
            self.ride.to(spot.lat, spot.lon, 0.5)

    async def _try(self, message: m.FromDriver) -> bool:
        """Ask; whether the server agreed. A refusal is counted: races with the clock and with people are normal."""
        try:
            await self.client.ask(message)
        except (Refused, TimeoutError) as why:
            self._tally.counts["refused" if isinstance(why, Refused) else "unanswered"] += 1
            return False
        return True

    async def _gone(self, key: str) -> None:
        """Wait until the stream closes this offer or assignment."""
        for _ in range(5):
            if key not in self.client.mirror.offers and key not in self.client.mirror.assignments:
                return
            await self._news_within(1.0)
        self._put_off.add(key)

    async def _settle(self, *states: str) -> None:
        """Wait a little until the stream shows one of these availabilities."""
        for _ in range(5):
            if self.client.mirror.availability in states:
                return
            await self._news_within(1.0)

    async def _news_within(self, seconds: float) -> None:
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._news.wait()

    @staticmethod
    def _sometime(per_hour: float) -> float:
        if not per_hour:
            return float("inf")
        return asyncio.get_running_loop().time() + random.expovariate(per_hour / HOUR)
