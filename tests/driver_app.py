"""A driver's app for tests: a real websocket that keeps what it heard."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import jwt
import websockets
from websockets.asyncio.client import ClientConnection

from server.ids import new_id
from tests.conftest import SECRET

Heard = dict[str, Any]


def token(role: str, subject: str, *, seconds: float = 3600, secret: str = SECRET) -> str:
    """A token as any back end that holds the secret may mint one."""
    now = int(time.time())
    return jwt.encode({"sub": subject, "role": role, "iat": now, "exp": now + seconds}, secret, algorithm="HS256")


class DriverApp:
    """Everything heard is in `heard`, oldest first; `closed` is the close code once the server has hung up."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.heard: list[Heard] = []
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for text in self.connection:
                async with self._news:
                    self.heard.append(json.loads(text))
                    self._news.notify_all()
        except websockets.ConnectionClosed:
            pass
        finally:
            async with self._news:
                self._news.notify_all()

    @property
    def closed(self) -> int | None:
        return self.connection.close_code if self._reading.done() else None

    async def send(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind} | fields))

    async def hear(self, wanted: str | Callable[[Heard], Any], within: float = 60.0) -> Heard:
        """The first message, past ones included, that is of this type or that the function likes."""
        likes = (lambda m: m["type"] == wanted) if isinstance(wanted, str) else wanted
        async with asyncio.timeout(within), self._news:
            while True:
                for message in self.heard:
                    if likes(message):
                        return message
                if self._reading.done():
                    raise AssertionError(f"closed with {self.closed} before {wanted} was heard: {self.heard}")
                await self._news.wait()

    async def ask(self, kind: str, **fields: Any) -> Heard:
        """Send with an id and wait for the one ack or error that carries it."""
        reply_id = new_id()
        await self.send(kind, id=reply_id, **fields)
        return await self.hear(lambda m: m["type"] in ("ack", "error", "pong") and m.get("id") == reply_id)

    async def hang_up(self) -> None:
        await self.connection.close()
        await asyncio.wait([self._reading])

    async def until_closed(self, within: float = 60.0) -> int | None:
        """Wait until the server hangs up; its close code."""
        await asyncio.wait([self._reading], timeout=within)
        assert self._reading.done(), f"still open after {within} s; heard {self.heard}"
        return self.closed

    def streamed(self) -> list[Heard]:
        """What came with a number, in order."""
        return [m for m in self.heard if "seq" in m and m["type"] != "hello"]


@asynccontextmanager
async def driver_app(
    ws_url: str, driver_id: str, *, last_seq: int | None = None, bearer: str | None = None, **options: Any
) -> AsyncIterator[DriverApp]:
    """Connect as this driver, who has their `hello` or was told why not; hang up at the end.

    What happens afterwards comes as messages of its own: a `hello` would hold what happened before it.
    """
    query = "" if last_seq is None else f"?lastSeq={last_seq}"
    headers = {"Authorization": f"Bearer {bearer or token('driver', driver_id)}"}
    connection = await websockets.connect(f"{ws_url}/ws/driver{query}", additional_headers=headers, **options)
    app = DriverApp(connection)
    try:
        with suppress(AssertionError):  # closed
            await app.hear(lambda _: True)
        yield app
    finally:
        await app.hang_up()
