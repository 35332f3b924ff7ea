"""Receivers of webhooks: well for a while, then slow, wrong or gone."""

from tests.receiver import Heard, Receiver
from tests.torture.actors.scene import Caller, Scene
from tests.torture.history import HookCall, now

WRONG: float = 0.04
"""How often a message is refused, while there is trouble."""


class Hook(Receiver):
    """A receiver that writes down what it hears."""

    def __init__(self, scene: Scene, name: str, events: list[str]) -> None:
        super().__init__()
        self._scene = scene
        self._chance = scene.chance(name)
        self._history = scene.histories.of(name)
        self._events = events
        self._secret = ""

    async def prepare(self, admin: Caller) -> None:
        """Listen, and create the webhooks."""
        await self.start()
        made = await admin.insist("POST", "/admin/webhooks", {"url": self.url, "events": self._events})
        self._secret = made["secret"]

    def answer_to(self, heard: Heard) -> int:
        wrong = self._chance.random() < WRONG and not self._scene.calm.is_set()
        status = self._chance.choice((500, 503, 404)) if wrong else 200
        self._history.write(
            HookCall(
                at=now(),
                message_id=heard.id,
                body=heard.message,
                signed=heard.verified_by(self._secret),
                status=status,
            )
        )
        return status

    async def live(self) -> None:
        """Now and then nobody listens for a while."""
        while not self._scene.calm.is_set():
            await self._scene.rest(self._chance.uniform(3.0, 12.0), self._scene.calm)
            if self._chance.random() < 0.5 and not self._scene.calm.is_set():
                await self.stop()
                await self._scene.rest(self._chance.uniform(0.2, 4.0), self._scene.calm)
                await self.start()
