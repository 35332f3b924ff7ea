"""People with rights: admins and ops who reassign, assign, cancel, restore, try again, act for a driver, tune the
policy and more, often two at once.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, Final
from urllib.parse import quote

from server.web.http.caller import Role
from tests.torture.actors.scene import NOWHERE, ZONE, Caller, Scene, now_and_then

POLICY: Final[dict[str, Any]] = {
    "offerTimeoutSeconds": 4,
    "reofferCooldownSeconds": 3,
    "presenceLapseSeconds": 5,
    "callPresenceSeconds": 5,
    "escalation": [
        {"level": 1, "afterSeconds": 5, "actions": ["ticket", "notify_ops"]},
        {"level": 2, "afterSeconds": 9, "actions": ["widen_search"]},
        {"level": 3, "afterSeconds": 14, "actions": ["notify_critical"]},
    ],
    "averageSpeedKmh": 150,
    "handoverSeconds": 5,
    "planning": {
        "hold": True,
        "nextJobs": 0,
        "holdSlackMinutes": 0,
        "maxExtraMinutes": 8,
        "maxMinutesInBag": 25,
        "sameStoreOnly": False,
    },
    "watch": {"goneSeconds": 2, "lateMinutes": 0, "stalledMinutes": 1, "releaseGoneSeconds": 10},
}
"""Everything that takes minutes takes seconds."""


class People:
    """Two admins and one of ops, who know what the lists show them."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._chance = scene.chance("people")
        names: tuple[tuple[str, Role], ...] = (("ada", "admin"), ("abe", "admin"), ("olga", "ops"))
        self._callers = [
            Caller(scene, scene.histories.of(name), scene.chance(f"{name}/http"), role, name) for name, role in names
        ]
        self._marks = count(1)

    async def live(self) -> None:
        """Interfere until it is calm."""
        deeds = (
            (4.0, self._reassign),
            (2.0, self._assign),
            (2.0, self._decide_availability),
            (2.0, self._acknowledge),
            (1.5, self._tune),
            (1.0, self._cancel),
            (1.5, self._act_for_driver),
            (1.0, self._restore),
            (1.0, self._retry),
        )
        await now_and_then(self._scene, self._chance, (0.1, 1.2), deeds)

    async def prepare(self) -> None:
        """The policy of the run."""
        ada = self._callers[0]
        policy = await ada.insist("GET", "/admin/policy")
        await ada.insist("PUT", f"/admin/policy?reason={self._mark('ada')}", policy | POLICY)

    def _mark(self, name: str) -> str:
        return f"{name}-{next(self._marks)}"

    async def _list(self, path: str) -> list[dict[str, Any]]:
        status, page = await self._chance.choice(self._callers).call("GET", path)
        return page["items"] if status == 200 and isinstance(page, dict) else []

    async def _drivers(self) -> list[dict[str, Any]]:
        return await self._list(f"/drivers?zone={ZONE}&limit=200")

    async def _together(
        self, method: str, path: str, body: Callable[[str], Any], *, admins: bool, marked_path: bool = False
    ) -> None:
        """One of them does it, or two at the same time; each with a different text."""
        callers = self._callers[:2] if admins else self._callers
        some = self._chance.sample(callers, self._chance.choice((1, 1, 2)))
        async with asyncio.TaskGroup() as tasks:
            for caller in some:
                mark = self._mark("by")
                whole = f"{path}?reason={quote(mark)}" if marked_path else path
                tasks.create_task(caller.call(method, whole, body(mark)))

    async def _reassign(self) -> None:
        chance = self._chance
        taken = await self._list(f"/deliveries?status={chance.choice(('ASSIGNED', 'ASSIGNED', 'PICKED_UP'))}&limit=50")
        held = [delivery["assignment"] for delivery in taken if delivery["assignment"]]
        if not held:
            return
        assignment = chance.choice(held)
        more: dict[str, Any] = {}
        if chance.random() < 0.5:
            more["version"] = assignment["version"]
        if chance.random() < 0.3:
            more["force"] = True
        if chance.random() < 0.2:
            more["pauseDriver"] = True
        if chance.random() < 0.5 and (drivers := await self._drivers()):
            more |= {"driverId": chance.choice(drivers)["id"], "mode": chance.choice(("offer", "assign"))}
        path = f"/admin/assignments/{assignment['id']}/reassign"
        await self._together("POST", path, lambda mark: {"reason": mark, **more}, admins=True)

    async def _assign(self) -> None:
        chance = self._chance
        status = chance.choice(("READY", "READY", "SCHEDULED"))
        waiting = await self._list(f"/deliveries?status={status}&zone={ZONE}&limit=50")
        drivers = await self._drivers()
        if not waiting or not drivers:
            return
        free = [driver for driver in drivers if driver["availability"] == "available" and not driver["busy"]]
        target: dict[str, Any] = {
            "driverId": chance.choice(free or drivers)["id"],
            "mode": chance.choice(("offer", "assign")),
        }
        target["replaceOffer"] = True
        path = f"/admin/deliveries/{chance.choice(waiting)['id']}/assign"
        await self._together("POST", path, lambda mark: {"reason": mark, **target}, admins=False)

    async def _decide_availability(self) -> None:
        chance = self._chance
        drivers = await self._drivers()
        if not drivers:
            return
        wanted: dict[str, Any] = {
            "availability": chance.choice(("available", "available", "on_break", "paused", "shift_ended", "offline"))
        }
        if wanted["availability"] == "on_break" and chance.random() < 0.7:
            wanted["durationMinutes"] = 1
        path = f"/admin/drivers/{chance.choice(drivers)['id']}/availability"
        await self._together("POST", path, lambda mark: {"reason": mark, **wanted}, admins=True)

    async def _acknowledge(self) -> None:
        waiting = await self._list("/admin/unassigned-orders?limit=100")
        if waiting:
            delivery_id = self._chance.choice(waiting)["deliveryId"]
            path = f"/admin/unassigned-orders/{delivery_id}/acknowledge"
            await self._together("POST", path, lambda mark: {"note": mark}, admins=False)

    async def _tune(self) -> None:
        chance = self._chance
        status, policy = await self._callers[0].call("GET", "/admin/policy")
        if status != 200:
            return
        first = chance.randint(4, 7)
        afters = (first, first + chance.randint(3, 5), first + chance.randint(8, 11))
        rungs = [rung | {"afterSeconds": after} for rung, after in zip(POLICY["escalation"], afters, strict=True)]
        changes = {
            "offerTimeoutSeconds": chance.randint(2, 6),
            "expiryPolicy": chance.choice(("auto_accept", "next_driver")),
            "reofferCooldownSeconds": chance.randint(0, 5),
            "matchWindowMs": chance.choice((0, 0, 200)),
            "escalation": rungs,
        }
        await self._together("PUT", "/admin/policy", lambda _: policy | changes, admins=True, marked_path=True)

    async def _cancel(self) -> None:
        chance = self._chance
        status = chance.choice(("READY", "ASSIGNED", "PICKED_UP", "RETURNING", "SCHEDULED", "DELIVERED"))
        zone = chance.choice((ZONE, NOWHERE))
        found = await self._list(f"/deliveries?status={status}&zone={zone}&limit=50")
        if found:
            path = f"/deliveries/{chance.choice(found)['id']}/cancel"
            force = {"force": True} if chance.random() < 0.5 else {}
            await self._together("POST", path, lambda mark: {"reason": mark, **force}, admins=False)

    async def _act_for_driver(self) -> None:
        """For a driver who may well act at the same time."""
        chance = self._chance
        status = chance.choice(("ASSIGNED", "PICKED_UP", "PICKED_UP", "RETURNING"))
        held = [d["assignment"] for d in await self._list(f"/deliveries?status={status}&limit=50") if d["assignment"]]
        if not held:
            return
        what, body = chance.choice(
            (
                ("pickup", {}),
                ("complete", {}),
                ("release", {"reason": "vehicle"}),
                ("failed", {"reason": "refused", "then": chance.choice(("return", "end"))}),
            )
        )
        named = "note" if "reason" in body else "reason"
        path = f"/admin/assignments/{chance.choice(held)['id']}/{what}"
        await self._together("POST", path, lambda mark: {**body, named: mark}, admins=False)

    async def _restore(self) -> None:
        if cancelled := await self._list(f"/deliveries?status=CANCELLED&zone={ZONE}&limit=20"):
            path = f"/deliveries/{self._chance.choice(cancelled)['id']}/restore"
            await self._together("POST", path, lambda _: None, admins=False)

    async def _retry(self) -> None:
        status = self._chance.choice(("FAILED", "RETURNED"))
        if over := await self._list(f"/deliveries?status={status}&zone={ZONE}&limit=20"):
            path = f"/deliveries/{self._chance.choice(over)['id']}/retry"
            await self._together("POST", path, lambda mark: {"reason": mark}, admins=False)
