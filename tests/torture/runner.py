"""One run: prepare, make trouble under faults, calm down, measure at rest, gather the evidence."""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

import asyncpg
from msgspec import Struct

from tests.torture import erasing, rest
from tests.torture.actors.drivers import Driver
from tests.torture.actors.encore import Encore
from tests.torture.actors.hooks import Hook
from tests.torture.actors.people import People
from tests.torture.actors.scene import Caller, Scene
from tests.torture.actors.shop import Shop
from tests.torture.commands import commands
from tests.torture.evidence import Database, Evidence, Fault, Rest, Use, read_database, read_together
from tests.torture.history import Entry, Histories
from tests.torture.pulse import Pulse
from tests.waiting import last_seen

ORDERS_A_DRIVER: Final = 0.08
"""A second, on average: about what drivers can carry who also do other things."""
TOLD_SECONDS: Final = 15.0
SETTLE_SECONDS: Final = 90.0
"""How long it may take, once it is calm, until every delivery in reach is delivered, every webhook message sent, and
every notice of a connected driver recorded as sent.
"""

# Deliveries nobody can take stay open: those without drivers in their zone, and those that all drivers have rejected.
_OPEN: Final = """
SELECT (SELECT count(*) FROM deliveries d WHERE status IN ('SCHEDULED', 'ASSIGNED', 'PICKED_UP', 'RETURNING')
           OR (status = 'READY' AND current_offer_id IS NOT NULL)) AS deliveries,
       (SELECT count(*) FROM webhook_deliveries WHERE delivered_at IS NULL AND parked_at IS NULL) AS messages,
       (SELECT count(*) FROM stream_notices n JOIN drivers d ON d.id = n.driver_id
        WHERE n.sent_at IS NULL AND d.session_id IS NOT NULL) AS notices,
       (SELECT count(*) FROM drivers WHERE availability_until < clock_timestamp() + interval '70 s'
           AND availability = 'on_break') AS breaks"""


class Actor(Protocol):
    """Somebody who takes part from the beginning to the end."""

    async def live(self) -> None: ...


class Node(Protocol):
    """A server process."""

    @property
    def pid(self) -> int: ...


class Stage(Protocol):
    """What the actors play on: nodes, and where they keep things."""

    urls: list[str]
    database_url: str
    redis_url: str
    secret: str
    complaints: list[str]

    @property
    def nodes(self) -> Sequence[Node]: ...

    def unforeseen(self) -> list[str]: ...


Storm = Callable[[Any, random.Random, Sequence[str], float], Awaitable[Sequence[tuple[str, float, float]]]]


class Plan(Struct, frozen=True):
    """What to run. `faults` are names; none for peace."""

    seed: int
    seconds: float
    drivers: int = 20
    nodes: int = 3
    faults: tuple[str, ...] = ()
    folder: Path | None = None


async def run(plan: Plan, stage: AbstractAsyncContextManager[Any], storm: Storm | None) -> Evidence:
    """Everything of one run, from the start of the servers to their end."""
    histories = Histories(plan.folder)
    try:
        async with stage as there:
            return await _Run(plan, there, histories).whole(storm)
    finally:
        histories.close()


class _Run:
    def __init__(self, plan: Plan, stage: Stage, histories: Histories) -> None:
        self._plan = plan
        self._stage = stage
        self._scene = Scene(stage.urls, stage.secret, plan.seed, histories)
        self._histories = histories
        self._admin = Caller(self._scene, histories.of("checker"), self._scene.chance("checker"), "admin", "checker")
        self._people = People(self._scene)
        self._encore = Encore(self._scene)
        self._hooks = [
            Hook(self._scene, "hook-all", ["*"]),
            Hook(self._scene, "hook-some", ["delivery.created", "delivery.assigned", "delivery.delivered"]),
        ]
        self._shops = [Shop(self._scene, f"shop-{n}", plan.drivers * ORDERS_A_DRIVER / 2) for n in (1, 2)]

    async def whole(self, storm: Storm | None) -> Evidence:
        drivers = await self._prepare()
        pids = [node.pid for node in self._stage.nodes]
        before = await rest.use(self._admin, pids, self._stage.database_url)
        _say(f"{self._plan.drivers} drivers, {self._plan.seconds:g} s of trouble")
        faults: list[Fault] = []
        async with asyncio.TaskGroup() as tasks:
            pulse = Pulse()
            beating = tasks.create_task(pulse.beat())
            for driver in drivers:
                tasks.create_task(driver.live())
            actors: list[Actor] = [*self._shops, self._people, *self._hooks]
            until_calm = [tasks.create_task(actor.live()) for actor in actors]
            began = time.monotonic()
            if storm is not None and self._plan.faults:
                chance = self._scene.chance("storm")
                until = asyncio.get_running_loop().time() + self._plan.seconds
                try:
                    found = await storm(self._stage, chance, self._plan.faults, until)
                except AssertionError as error:
                    self._stage.complaints.append(f"after the faults: {error}")
                else:
                    faults = [Fault(*fault) for fault in found]
            await self._scene.rest(max(0.0, self._plan.seconds - (time.monotonic() - began)))
            _say("calm")
            self._scene.calm.set()
            await asyncio.wait(until_calm)
            await self._encore.play(drivers)
            await self._settle(drivers)
            _say("measuring at rest")
            database, (at_rest, entries) = await read_together(
                lambda: read_database(self._stage.database_url),
                lambda database: self._seen(database, drivers, before),
            )
            beating.cancel()
            self._scene.over.set()
        await erasing.erase(self._admin, self._stage.database_url, database.proofs.values(), at_rest)
        at_rest.after = await rest.settled_use(
            self._admin, [node.pid for node in self._stage.nodes], self._stage.database_url
        )
        for hook in self._hooks:
            await hook.stop()
        self._stage.complaints += self._stage.unforeseen()
        return Evidence(database, entries, [*faults, *pulse.pauses], at_rest, self._stage.complaints)

    async def _prepare(self) -> list[Driver]:
        """Webhooks before anything that they are to hear of; the policy; the drivers."""
        for hook in self._hooks:
            await hook.prepare(self._admin)
        await self._people.prepare()
        office = Caller(self._scene, self._histories.of("office"), self._scene.chance("office"), "service", "office")
        drivers = []
        for number in range(1, self._plan.drivers + 1):
            capacity = (3, 1, 2, 1)[number % 4]
            body = {"name": f"driver {number}", "externalRef": f"driver-{number}", "capacity": capacity}
            if number % 3 == 0:
                body["tags"] = ["cargo"]
            made = await office.insist("POST", "/drivers", body)
            drivers.append(Driver(self._scene, f"driver-{number}", made["id"]))
        return drivers

    async def _settle(self, drivers: Sequence[Driver]) -> None:
        """Until nothing is under way any more, or for as long as that may take."""
        quiet = 0

        async def under_way() -> Any:
            nonlocal quiet
            connection = await asyncpg.connect(self._stage.database_url)
            try:
                left = await connection.fetchrow(_OPEN)
            finally:
                await connection.close()
            uploading = any(driver.uploads for driver in drivers)
            quiet = quiet + 1 if not any(left) and not uploading else 0
            return left

        left = await last_seen(under_way, lambda _: quiet == 3, within=SETTLE_SECONDS, every=1.0)
        if quiet < 3:
            _say(f"not settled after {SETTLE_SECONDS:g} s: {dict(left)}")

    async def _seen(
        self, database: Database, drivers: Sequence[Driver], before: Use
    ) -> tuple[Rest, dict[str, list[Entry]]]:
        """What is measured at rest, and the histories once webhooks have heard of all that is in the database and every
        command on an open socket is answered, or after as long as that may take.
        """
        stage, sent = self._stage, {row.id for row in database.webhook_messages}
        at_rest = await rest.measure(
            drivers, self._admin, stage.database_url, stage.redis_url, before, self._plan.nodes
        )

        async def histories() -> dict[str, list[Entry]]:
            return self._histories.entries()

        def is_whole(entries: dict[str, list[Entry]]) -> bool:
            heard = {heard.id for hook in self._hooks for heard in hook.heard}
            return sent <= heard and all(c.answers or not c.socket_lasted for c in commands(entries))

        return at_rest, await last_seen(histories, is_whole, within=TOLD_SECONDS, every=0.2)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
