"""What all actors of a run share: where the nodes are, tokens, chance out of the seed, and when to calm down."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from server.driver_client import messages as m
from server.web.access.tokens import mint_token
from server.web.http.caller import Role
from tests.bench.wire import connect_http, request, to_json
from tests.torture.history import Answered, Asked, Histories, History, now

TOKEN_SECONDS: Final = 24 * 3600
CALL_SECONDS: Final = 10.0
ZONE: Final = "default"
PIN: Final = "2718"
"""Of every delivery that has one."""
NOWHERE: Final = "nowhere"
"""A zone without drivers: what is ordered there waits and climbs the whole ladder."""
LAST_STORE: Final = "last orders"
"""Where nothing is ordered before it is calm."""


class Scene:
    """`calm` is set when nobody is to make trouble any more, `over` when everybody is to stop."""

    def __init__(self, urls: Sequence[str], secret: str, seed: int, histories: Histories) -> None:
        self.urls = urls
        self.seed = seed
        self.histories = histories
        self.calm = asyncio.Event()
        self.over = asyncio.Event()
        self._secret = secret
        self._silent_about: str | None = None

    def chance(self, name: str) -> random.Random:
        """An actor's own: it is the same for the same seed, whatever others do."""
        return random.Random(f"{self.seed}/{name}")

    def token(self, role: Role, subject: str) -> str:
        """Good for the whole run."""
        return mint_token(self._secret, role, subject, TOKEN_SECONDS)[0]

    def keeps_silent(self, store_name: str, offer_id: str) -> bool:
        """Whether this is the one offer that nobody answers: the first one of the last order."""
        if store_name == LAST_STORE and self._silent_about is None:
            self._silent_about = offer_id
        return offer_id == self._silent_about

    def port(self, node: int) -> int:
        """Where a node listens now."""
        port = urlsplit(self.urls[node]).port
        assert port is not None
        return port

    def any_node(self, chance: random.Random) -> int:
        """One of them."""
        return chance.randrange(len(self.urls))

    async def rest(self, seconds: float, until: asyncio.Event | None = None) -> None:
        """Do nothing for so long, or until the run ends, or until this."""
        try:
            async with asyncio.timeout(seconds):
                await (until or self.over).wait()
        except TimeoutError:
            return


class Caller:
    """Calls over HTTP as one subject, each on a separate connection, written down."""

    def __init__(self, scene: Scene, history: History, chance: random.Random, role: Role, subject: str) -> None:
        self._scene = scene
        self._history = history
        self._chance = chance
        self._role = role
        self._subject = subject
        self._token = scene.token(role, subject)
        self._numbers = count(1)

    async def call(self, method: str, path: str, body: Any = None, *, node: int | None = None) -> tuple[int, Any]:
        """Status and decoded body; status 0 when no answer came, for whatever reason."""
        return await self._written_down(method, path, body, b"" if body is None else to_json(body), node)

    async def upload(self, path: str, picture: bytes, about: dict[str, Any]) -> tuple[int, Any]:
        """The same of a picture; `about` says in the history what it is."""
        return await self._written_down("POST", path, about, picture, None)

    async def download(self, path: str) -> tuple[int, bytes]:
        """Status and body of a file; not written down."""
        return await self._ask("GET", path, b"", self._scene.any_node(self._chance))

    async def _written_down(self, method: str, path: str, body: Any, sent: bytes, node: int | None) -> tuple[int, Any]:
        if node is None:
            node = self._scene.any_node(self._chance)
        call = next(self._numbers)
        self._history.write(
            Asked(
                at=now(),
                call=call,
                role=self._role,
                subject=self._subject,
                node=node,
                method=method,
                path=path,
                body=body,
            )
        )
        status, content = await self._ask(method, path, sent, node)
        answer = _decoded(content) if status else None
        self._history.write(Answered(at=now(), call=call, status=status, body=answer))
        return status, answer

    async def post(self, driver_id: str, message: m.FromDriver) -> tuple[int, Any]:
        """A driver's message over HTTP."""
        call = m.as_call(driver_id, message)
        return await self.call("POST", call.path, call.body)

    async def _ask(self, method: str, path: str, sent: bytes, node: int) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                http = await connect_http(self._scene.port(node))
                try:
                    return await http.ask(request(method, path, self._token, sent))
                finally:
                    http.close()
        except (OSError, TimeoutError):
            return 0, b""

    async def insist(self, method: str, path: str, body: Any = None, *, within: float = 30.0) -> Any:
        """Ask until it is done, for what a run cannot begin without. Raises AssertionError."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while True:
            status, answer = await self.call(method, path, body)
            if status // 100 == 2:
                return answer
            if loop.time() > deadline or (400 <= status < 500):
                raise AssertionError(f"{method} {path}: {status} {answer}")
            await asyncio.sleep(0.2)


def _decoded(answer: bytes) -> Any:
    try:
        return msgspec.json.decode(answer) if answer else None
    except msgspec.DecodeError:
        return answer.decode(errors="replace")


Deed = tuple[float, Callable[[], Awaitable[None]]]
"""How often, against the others, and what."""


async def now_and_then(scene: Scene, chance: random.Random, pause: tuple[float, float], deeds: Sequence[Deed]) -> None:
    """Do one of these after another, with rests between, until it is time to calm down."""
    while not scene.calm.is_set():
        await scene.rest(chance.uniform(*pause), scene.calm)
        if not scene.calm.is_set():
            (deed,) = chance.choices([deed for _, deed in deeds], [weight for weight, _ in deeds])
            await deed()
