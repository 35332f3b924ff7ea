"""What a driver did and the server has not answered yet: said again, over either way, until it has.

An app that keeps what it reports: with an id for each action, in order, with the phone's times of doing and of sending.
"""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from server.driver_client import messages as m
from tests.torture.actors.phone import Phone
from tests.torture.actors.scene import Caller, Scene

ANONYMOUS: Final = 0.1
"""How often an app gives a deed no id and no time, as those did that know only the first version of the contract."""


class Outbox:
    """Of one driver. `wrong_by` seconds is what the phone's clock is off by."""

    def __init__(
        self, scene: Scene, phone: Phone, caller: Caller, chance: random.Random, driver_id: str, wrong_by: float
    ) -> None:
        self._scene = scene
        self._phone = phone
        self._caller = caller
        self._chance = chance
        self._driver_id = driver_id
        self._wrong_by = timedelta(seconds=wrong_by)
        self._waiting: dict[str, m.Deed] = {}
        self._said: dict[str, m.Deed] = {}
        self._locked: set[str] = set()
        self._over_http = asyncio.Lock()

    async def did(self, deed: m.Deed) -> None:
        """The driver did this now. Without a network it waits for one; now and then it is said twice, and both ways."""
        chance = self._chance
        if chance.random() < ANONYMOUS:
            self._said_on_socket(deed)
            return
        action_id = str(UUID(int=chance.getrandbits(128), version=4))
        deed = replace(deed, action_id=action_id, at=self._phone_time())
        self._waiting[action_id] = deed
        way = chance.random()
        if way < 0.15:
            await self._say_over_http(deed)
        else:
            self._say(deed)
            if way > 0.9:
                self._say(deed)
            if way > 0.95:
                await self._say_over_http(deed)

    def send_all(self) -> None:
        """All that waits, in the order in which it was done."""
        for deed in list(self._waiting.values()):
            self._say(deed)

    def heard(self, message: m.ToDriver) -> None:
        """There is a socket again, or an answer."""
        match message:
            case m.Hello():
                self.send_all()
            case m.Ack() | m.Error() if (deed := self._said.pop(message.id, None)) is not None:
                self._answered(deed, message.code if isinstance(message, m.Error) else "")
            case _:
                pass

    def is_locked(self, assignment_id: str) -> bool:
        """Whether no PIN is looked at any more."""
        return assignment_id in self._locked

    def _answered(self, deed: m.Deed, code: str) -> None:
        if code == "pin_locked":
            self._locked.add(deed.assignment_id)
        if code != "try_again":
            self._waiting.pop(deed.action_id or "", None)

    def _say(self, deed: m.Deed) -> None:
        self._said_on_socket(replace(deed, sent_at=self._phone_time()))

    def _said_on_socket(self, deed: m.Deed) -> None:
        message_id = self._phone.say(deed)
        if message_id is not None:
            self._said[message_id] = deed

    async def _say_over_http(self, deed: m.Deed) -> None:
        async with self._over_http:
            status, answer = await self._caller.post(self._driver_id, replace(deed, sent_at=self._phone_time()))
        if status:
            self._answered(deed, answer.get("code", "") if isinstance(answer, dict) else "")

    def _phone_time(self) -> str:
        return (datetime.now(UTC) + self._wrong_by).isoformat(timespec="milliseconds")
