"""`python -m tests.torture.recovery`: one fault after another under a light load, and how long each is felt.

An order goes well when it is taken at once and offered to a driver within a second.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from server.driver_client import messages as m
from server.process.startup import until_signal
from tests.bench import machine
from tests.bench.fleet import somewhere
from tests.torture.actors.phone import Phone
from tests.torture.actors.scene import Caller, Scene
from tests.torture.faults import FAULTS
from tests.torture.history import Histories, now
from tests.torture.stage import Stage, Taken

POSITION_EVERY_SECONDS: Final = 10.0
ORDER_EVERY_SECONDS: Final = 0.15
GOES_WELL_SECONDS: Final = 1.0
AFTERWARDS_SECONDS: Final = 15.0
"""How long orders are watched after a fault is healed."""
RECONNECT_SECONDS: Final = (0.1, 0.6)
KEEP_SECONDS: Final = 20.0


class Order(Struct):
    """When it was posted, how that was answered, and when a driver had its offer."""

    posted: float
    node: int
    answered: float = 0.0
    status: int = 0
    code: str = ""
    offered: float | None = None

    @property
    def went_well(self) -> bool:
        """Taken at once, offered soon."""
        return self.status == 201 and self.offered is not None and self.offered - self.posted <= GOES_WELL_SECONDS


class Driver:
    """Always on the road, with one node after another, accepting everything and done at once."""

    def __init__(self, load: "Load", number: int, driver_id: str) -> None:
        self.number = number
        self.phone = Phone(load.scene, load.histories.of(f"driver-{number}"), driver_id, self._hear)
        self._load = load
        self._chance = load.scene.chance(f"driver-{number}")

    async def live(self) -> None:
        """Until cancelled."""
        for node in count(self.number):
            if await self.phone.open(node % len(self._load.scene.urls)):
                moving = asyncio.create_task(self._move())
                await self.phone.until_ended()
                moving.cancel()
            self._load.reconnects += 1
            await asyncio.sleep(self._chance.uniform(*RECONNECT_SECONDS))

    async def _move(self) -> None:
        while True:
            await asyncio.sleep(POSITION_EVERY_SECONDS)
            self._tell_position()

    def _tell_position(self) -> None:
        lat, lon = somewhere(self._chance, 1.5)
        self.phone.say(m.Location(lat=lat, lon=lon), answered=False)

    def _hear(self, message: m.ToDriver) -> None:
        match message:
            case m.Hello():
                self._tell_position()
                if message.driver.availability != "available":
                    self.phone.say(m.Resume())
                for offer in self.phone.mirror.offers.values():
                    self._load.offered(offer.payload.pickup_store_name)
                self._do_everything()
            case m.OfferMade():
                self._load.offered(message.offer.payload.pickup_store_name)
                self.phone.say(m.Accept(offer_id=message.offer.id))
            case m.AssignmentChanged() if message.assignment.status == "ACTIVE":
                self.phone.say(m.Completed(assignment_id=message.assignment.id))
            case m.Error():
                self._load.errors[message.code] += 1
                self._load.later(self._do_everything)
            case _:
                pass

    def _do_everything(self) -> None:
        """Accept what is offered, complete what is in hand; again what was refused for a while."""
        for assignment_id in self.phone.mirror.assignments:
            self.phone.say(m.Completed(assignment_id=assignment_id))
        for offer_id in self.phone.mirror.offers:
            self.phone.say(m.Accept(offer_id=offer_id))


class Load:
    """Orders one after another, to all nodes in turn, and drivers who take them."""

    def __init__(self, stage: Stage, drivers: int) -> None:
        self.histories = Histories()
        self.scene = Scene(stage.urls, stage.secret, 1, self.histories)
        self.orders: dict[str, Order] = {}
        self.errors: Counter[str] = Counter()
        self.reconnects = 0
        self._number = drivers
        self._numbers = count(1)
        self._chance = self.scene.chance("orders")
        self._caller = Caller(self.scene, self.histories.of("shop"), self._chance, "service", "shop")

    async def live(self) -> None:
        """Until cancelled."""
        made = [
            await self._caller.insist("POST", "/drivers", {"name": f"driver {number}", "externalRef": f"d{number}"})
            for number in range(self._number)
        ]
        async with asyncio.TaskGroup() as tasks:
            for number, driver in enumerate(made):
                tasks.create_task(Driver(self, number, driver["id"]).live())
            while True:
                tasks.create_task(self._order())
                await asyncio.sleep(ORDER_EVERY_SECONDS * self._chance.uniform(0.5, 1.5))

    async def _order(self) -> None:
        number = next(self._numbers)
        name, node = f"order {number}", number % len(self.scene.urls)
        (lat, lon), (to_lat, to_lon) = somewhere(self._chance, 1.5), somewhere(self._chance, 1.5)
        order = self.orders[name] = Order(now(), node)
        places = {"pickup": {"lat": lat, "lon": lon}, "dropoff": {"lat": to_lat, "lon": to_lon}}
        body = {"sellerOrderId": name, "storeName": name, **places}
        order.status, answer = await self._caller.call("POST", "/deliveries", body, node=node)
        order.answered = now()
        if order.status != 201:
            order.code = answer["code"] if isinstance(answer, dict) else "no answer"

    def offered(self, name: str) -> None:
        """A driver has the offer of this order."""
        order = self.orders.get(name)
        if order is not None and order.offered is None:
            order.offered = now()

    def later(self, what: Any) -> None:
        """In a moment."""
        asyncio.get_running_loop().call_later(0.3, what)

    def clear(self) -> None:
        """Begin to look anew."""
        self.orders = {name: order for name, order in self.orders.items() if order.posted > now() - KEEP_SECONDS}
        self.errors.clear()
        self.reconnects = 0
        for history in self.histories.by_actor.values():
            history.entries.clear()


class Felt(Struct):
    """How a fault was felt. Seconds."""

    name: str
    broken: float
    orders: int
    refused: dict[str, int]
    longest_answer: float
    longest_wait: float
    """From the POST of an order that was taken to its offer, or to the end for one that had none yet."""
    unoffered: int
    """How many had none at the end."""
    silence: float
    """The longest time without any offer."""
    wait_afterwards: float
    """The same of those that were posted once it was healed."""
    well_again: float
    """From the healing to the last order that did not go well, 0 if all did."""
    errors: dict[str, int]
    reconnects: int

    def line(self) -> str:
        """A row of the table."""
        refused = ", ".join(f"{number} {code}" for code, number in self.refused.items()) or "-"
        errors = ", ".join(f"{number} {code}" for code, number in self.errors.items()) or "-"
        wait = f"{self.longest_wait:.1f}" + (f" ({self.unoffered} never)" if self.unoffered else "")
        return (
            f"| {self.name} | {self.broken:.1f} | {self.orders} | {refused} | {self.longest_answer:.1f} | {wait} "
            f"| {self.silence:.1f} | {self.wait_afterwards:.1f} | {self.well_again:.1f} "
            f"| {errors} | {self.reconnects} |"
        )


HEAD: Final = (
    "| fault | broken s | orders | not taken | longest answer s | longest wait for an offer s "
    "| longest silence s | longest wait afterwards s | well again after s | drivers' errors | reconnects |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|"
)


async def feel(stage: Stage, load: Load, name: str, chance: random.Random) -> Felt:
    """Break it, heal it, and look for a while."""
    await stage.until_ready()
    load.clear()
    began = now()
    with suppress(Taken):
        await FAULTS[name].run(stage, chance)
    healed = now()
    await asyncio.sleep(AFTERWARDS_SECONDS)
    looked = now()
    # What was posted last is given the time in which it goes well.
    orders = [o for o in load.orders.values() if began <= o.posted <= looked - GOES_WELL_SECONDS and o.answered]
    taken = [order for order in orders if order.status == 201]
    waits = [(order, (order.offered or looked) - order.posted) for order in taken]
    offers = sorted(o.offered for o in load.orders.values() if o.offered is not None and o.offered >= began)
    bad = [order.posted for order in orders if order.posted >= healed and not order.went_well]
    return Felt(
        name=name,
        broken=healed - began,
        orders=len(orders),
        refused=dict(Counter(order.code for order in orders if order.status != 201)),
        longest_answer=max((order.answered - order.posted for order in orders), default=0.0),
        longest_wait=max((wait for _, wait in waits), default=0.0),
        unoffered=sum(order.offered is None for order in taken),
        silence=max(later - earlier for earlier, later in pairwise([began, *offers, looked])),
        wait_afterwards=max((wait for order, wait in waits if order.posted >= healed), default=0.0),
        well_again=max(bad, default=healed) - healed,
        errors=dict(load.errors),
        reconnects=load.reconnects,
    )


async def run(names: list[str], nodes: int, drivers: int, seed: int, folder: Path | None) -> None:
    """All of them, each by itself."""
    async with Stage(nodes, folder) as stage:
        load = Load(stage, drivers)
        living = asyncio.create_task(load.live())
        try:
            await asyncio.sleep(3.0)
            for name in names:
                felt = await feel(stage, load, name, random.Random(f"{seed}/{name}"))
                print(felt.line(), flush=True)
                if living.done():
                    await living
        finally:
            living.cancel()
            await asyncio.gather(living, return_exceptions=True)
        for complaint in stage.complaints:
            print(complaint, file=sys.stderr)


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.recovery", description=__doc__)
    parser.add_argument("--only", default="", help=f"some of {', '.join(FAULTS)}, with commas between")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--drivers", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a folder for the logs, kept")
    options = parser.parse_args()
    names = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}")
    possible = [name for name in names or FAULTS if not FAULTS[name].impossible]
    machine.many_files()
    print(HEAD, flush=True)
    asyncio.run(until_signal(run(possible, options.nodes, options.drivers, options.seed, options.out)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
