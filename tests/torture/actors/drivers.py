"""Drivers: they answer in time, late, twice, on two sockets, or not at all; carry out jobs, give them back, fail and
return; report without a network; vanish and come back; rest and go home.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from server.driver_client import messages as m
from server.ids import new_id
from tests.bench.fleet import somewhere
from tests.torture.actors.outbox import Outbox
from tests.torture.actors.phone import Phone, weighted
from tests.torture.actors.scene import PIN, Caller, Scene, now_and_then
from tests.torture.pictures import picture_of

ANSWERS: Final = {
    "accept": 6.0,
    "accept_twice": 1.5,
    "accept_and_reject": 1.0,
    "accept_on_two_sockets": 1.0,
    "accept_over_http": 1.0,
    "accept_both_ways": 1.0,
    "accept_and_vanish": 1.0,
    "accept_late": 1.5,
    "reject": 2.0,
    "reject_late": 0.5,
    "let_expire": 2.0,
    "vanish": 0.7,
}
"""What a driver does with an offer, and how often."""
RADIUS_KM: Final = 2.0
STORM: Final = 6
COMPLETE_EVERY_SECONDS: Final = 4.0
WRONG_CLOCKS_SECONDS: Final = (0.0, 0.0, 0.0, -3600.0, 1800.0)
"""By how much phones' clocks are off, by the number of the driver."""
RELEASES: Final = ("vehicle", "unwell", "too_far", "shop_closed", "shop_slow", "unsafe", "other")
FAILURES: Final = ("recipient_absent", "refused", "wrong_address", "damaged", "unsafe", "other")
CALM_SECONDS: Final = 0.5
PICTURES: Final = ("photo", "signature")


class Driver:
    """One driver. `live` as a task, until the scene ends; what is in hand is carried on meanwhile."""

    def __init__(self, scene: Scene, name: str, driver_id: str) -> None:
        self.id = driver_id
        self.name = name
        self._scene = scene
        self._chance = scene.chance(name)
        history = scene.histories.of(name)
        self.phone = Phone(scene, history, driver_id, self._heard)
        self._caller = Caller(scene, history, scene.chance(f"{name}/http"), "driver", driver_id)
        wrong = WRONG_CLOCKS_SECONDS[self._chance.randrange(len(WRONG_CLOCKS_SECONDS))]
        self._outbox = Outbox(scene, self.phone, self._caller, scene.chance(f"{name}/outbox"), driver_id, wrong)
        self._place = somewhere(self._chance, RADIUS_KM)
        self._seen: set[str] = set()
        self._away = 0.0
        self._marks = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.uploads = 0

    async def live(self) -> None:
        """The whole run."""
        deeds = (
            (5.0, self._report),
            (1.0, self._rest_and_return),
            (1.0, self._storm),
            (1.0, self._tunnel),
            (1.0, self._another_socket),
            (0.7, self._stop_reading),
            (0.7, self._talk_nonsense),
            (0.7, self._look_over_http),
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stay_connected())
            tasks.create_task(now_and_then(self._scene, self._chance, (0.5, 4.0), deeds))
            tasks.create_task(self._settle())
            await self._scene.over.wait()
            for task in self._tasks:
                task.cancel()
            self.phone.switch_off()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _mark(self) -> str:
        self._marks += 1
        return f"{self.name}-{self._marks}"

    # The socket

    async def _stay_connected(self) -> None:
        while not self._scene.over.is_set():
            calm = self._scene.calm.is_set()
            if self._away and not calm:
                away, self._away = self._away, 0.0
                await self._scene.rest(away, self._scene.calm)
            opened = await self.phone.open(
                self._scene.any_node(self._chance), resume=calm or self._chance.random() < 0.85
            )
            if opened:
                await self.phone.stay_on()
            await self._scene.rest(self._chance.uniform(0.05, 0.8))

    def _heard(self, message: m.ToDriver) -> None:
        for offer in list(self.phone.mirror.offers.values()):
            if offer.id not in self._seen:
                self._seen.add(offer.id)
                self._start(self._answer(offer))
        for assignment in list(self.phone.mirror.assignments.values()):
            if assignment.id not in self._seen:
                self._seen.add(assignment.id)
                self._start(self._carry_out(assignment))
        self._outbox.heard(message)
        match message:
            case m.Hello():
                self._say_where()
            case m.Error(code="try_again") if message.id and self._chance.random() < 0.7:
                self._start(self._ask_again())
            case _:
                pass

    def _say_where(self) -> None:
        lat, lon = self._place
        self.phone.say(m.Location(lat=lat, lon=lon), answered=self._chance.random() < 0.3)

    async def _ask_again(self) -> None:
        """An app that was asked to try again does so: with whatever is open still."""
        await self._scene.rest(self._chance.uniform(0.2, 1.0))
        for offer_id in self.phone.mirror.offers:
            self.phone.say(m.Accept(offer_id=offer_id))
        self._outbox.send_all()

    # Offers

    async def _answer(self, offer: m.Offer) -> None:
        chance = self._chance
        left = offer.remaining_ms / 1000
        accept, reject = m.Accept(offer_id=offer.id), m.Reject(offer_id=offer.id, reason=self._mark())
        calm = self._scene.calm.is_set()
        if calm or chance.random() < 0.8:
            self.phone.say(m.Received(offer_id=offer.id), answered=chance.random() < 0.5)
        if self._scene.keeps_silent(offer.payload.pickup_store_name, offer.id):
            return
        plan = "accept" if calm else weighted(chance, ANSWERS)
        if plan in ("accept_late", "reject_late"):
            await self._scene.rest(left + chance.uniform(-0.1, 0.6))
        else:
            await self._scene.rest(chance.uniform(0.0, min(1.5, 0.6 * left)))
        match plan:
            case "accept" | "accept_late":
                self.phone.say(accept)
            case "accept_twice":
                self.phone.say(accept)
                await self._scene.rest(chance.choice((0.0, 0.3, 3.0)))
                self.phone.say(accept)
            case "accept_and_reject":
                for message in chance.sample((accept, reject), 2):
                    self.phone.say(message)
            case "accept_on_two_sockets":
                first = self.phone.line
                await self.phone.open(self._scene.any_node(chance))
                self.phone.say(accept, line=first)
                self.phone.say(accept)
            case "accept_over_http":
                await self._caller.post(self.id, accept)
            case "accept_both_ways":
                self.phone.say(accept)
                await self._caller.post(self.id, accept)
            case "accept_and_vanish":
                self.phone.say(accept)
                await self._scene.rest(chance.choice((0.0, 0.002, 0.02)))
                self._vanish(chance.uniform(0.1, 9.0))
            case "reject" | "reject_late":
                await self._either(reject, 0.8)
            case "vanish":
                self._vanish(chance.uniform(0.1, 9.0))

    async def _either(self, message: m.FromDriver, on_socket: float = 0.75) -> None:
        """On the socket, mostly, or over HTTP."""
        if self._chance.random() < on_socket:
            self.phone.say(message)
        else:
            await self._caller.post(self.id, message)

    def _vanish(self, seconds: float) -> None:
        self._away = seconds
        self.phone.hang_up()

    # Assignments

    async def _carry_out(self, job: m.Assignment) -> None:
        """Arrive, pick up, arrive, hand over; or give it back, or fail and return; said again while it is in hand."""
        chance = self._chance
        await self._pause(0.2, 2.0)
        if job.picked_up_at is None:
            if chance.random() < 0.6:
                await self._outbox.did(m.Arrived(assignment_id=job.id, where="pickup"))
                await self._pause(0.0, 1.0)
            if not self._scene.calm.is_set() and chance.random() < 0.12:
                reason = chance.choice(RELEASES)
                await self._outbox.did(m.Release(assignment_id=job.id, reason=reason, note=self._mark()))
                await self._pause(0.2, 3.0)
            if self._scene.calm.is_set() or chance.random() < 0.85:
                await self._outbox.did(m.PickedUp(assignment_id=job.id))
                await self._pause(0.2, 2.0)
        if chance.random() < 0.5:
            await self._outbox.did(m.Arrived(assignment_id=job.id, where="dropoff"))
        if chance.random() < 0.12 and not self._scene.calm.is_set():
            await self._fail(job.id)
        taken: set[str] = set()
        if chance.random() < 0.15:
            await self._prove(job.id, "photo")
        while job.id in self.phone.mirror.assignments and not self._scene.over.is_set():
            wrong = not self._scene.calm.is_set() and chance.random() < 0.3
            for kind in PICTURES:
                if kind in job.proof_required and kind not in taken and (self._scene.calm.is_set() or not wrong):
                    await self._prove(job.id, kind)
                    taken.add(kind)
            proof = m.Proof(pin="0000" if wrong else PIN, name="Ines") if "pin" in job.proof_required else None
            await self._outbox.did(m.Completed(assignment_id=job.id, proof=proof))
            await self._scene.rest(COMPLETE_EVERY_SECONDS)
            if self._outbox.is_locked(job.id):
                await self._outbox.did(m.PickedUp(assignment_id=job.id))
                await self._fail(job.id)
        if not self._scene.calm.is_set() and chance.random() < 0.15:
            await self._prove(job.id, "photo")

    async def _prove(self, assignment_id: str, kind: str) -> None:
        """Upload a picture until there is an answer; now and then twice at the same time."""
        chance = self._chance
        action_id = str(UUID(int=chance.getrandbits(128), version=4))
        picture, about = picture_of(action_id), {"actionId": action_id, "kind": kind}
        path = f"/drivers/{self.id}/assignments/{assignment_id}/proofs?{urlencode(about)}"
        self.uploads += 1
        try:
            while not self._scene.over.is_set():
                times = chance.choice((1, 1, 2))
                answers = await asyncio.gather(*(self._caller.upload(path, picture, about) for _ in range(times)))
                if all(status not in (0, 503) for status, _ in answers):
                    return
                await self._scene.rest(chance.uniform(0.2, 1.0))
        finally:
            self.uploads -= 1

    async def _fail(self, assignment_id: str) -> None:
        then: Any = self._chance.choice(("return", "end"))
        reason = self._chance.choice(FAILURES)
        await self._outbox.did(m.Failed(assignment_id=assignment_id, reason=reason, note=self._mark(), then=then))
        await self._pause(0.2, 3.0)

    async def _pause(self, least: float, most: float) -> None:
        seconds = self._chance.uniform(least, most)
        await self._scene.rest(min(seconds, CALM_SECONDS) if self._scene.calm.is_set() else seconds)

    # Everything else

    async def _report(self) -> None:
        lat, lon = self._place
        self._place = (lat + self._chance.uniform(-0.001, 0.001), lon + self._chance.uniform(-0.001, 0.001))
        self._say_where()
        self.phone.say(m.Ping())

    async def _rest_and_return(self) -> None:
        """Off duty one way or another, and back; over the socket or over HTTP."""
        chance = self._chance
        rest = m.TakeBreak(duration_minutes=chance.randint(5, 120), reason=self._mark())
        await self._either(chance.choice((rest, rest, m.EndShift(), m.Pause())))
        await self._scene.rest(chance.uniform(0.1, 6.0), self._scene.calm)
        await self._either(m.Resume())

    async def _storm(self) -> None:
        """Connect and disconnect, again and again, hardly waiting for anything."""
        for _ in range(self._chance.randint(2, STORM)):
            resume = self._chance.random() < 0.7
            await self.phone.open(self._scene.any_node(self._chance), resume=resume, patient=False)
            await self._scene.rest(self._chance.choice((0.0, 0.01, 0.1)))
            self.phone.hang_up()

    async def _tunnel(self) -> None:
        self._vanish(self._chance.uniform(0.2, 12.0))

    async def _another_socket(self) -> None:
        await self.phone.open(self._scene.any_node(self._chance))

    async def _stop_reading(self) -> None:
        line = self.phone.line
        if line is not None and line.usable:
            line.stop_reading()
            await self._scene.rest(self._chance.uniform(1.0, 10.0), self._scene.calm)
            line.read_on()

    async def _talk_nonsense(self) -> None:
        """What no app should send: ids of nothing and of others, no JSON, an unknown kind, too many at once."""
        match self._chance.randrange(5):
            case 0:
                self.phone.say(m.Accept(offer_id=new_id()))
            case 1:
                self.phone.say(m.Completed(assignment_id=new_id()))
            case 2:
                self.phone.send("fly", to="the moon")
            case 3:
                if self.phone.line is not None and self.phone.line.usable:
                    self.phone.line.send_raw(b"{not json")
                    self.phone.line.send_raw(b"\x00\x01", text=False)
            case _:
                for _ in range(130):
                    self.phone.say(m.Ping())

    async def _look_over_http(self) -> None:
        await self._caller.call("GET", f"/drivers/{self.id}/state")

    async def _settle(self) -> None:
        """Once it is calm: ready for work, where the work is, for as long as it takes."""
        await self._scene.calm.wait()
        while not self._scene.over.is_set():
            if self.phone.connected:
                self._say_where()
                if self.phone.mirror.availability != "available":
                    self.phone.say(m.Resume())
                self._outbox.send_all()
            await self._scene.rest(2.0)
