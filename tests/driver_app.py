"""A driver's app for tests: a real websocket that keeps what it heard."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import jwt

from server.driver_client.connection import Connection, Likes
from server.driver_client.messages import Frame
from tests.conftest import SECRET
from tests.waiting import PATIENCE


def token(role: str, subject: str, *, seconds: float = 3600, secret: str = SECRET) -> str:
    """A token as any back end that holds the secret may mint one."""
    now = int(time.time())
    return jwt.encode({"sub": subject, "role": role, "iat": now, "exp": now + seconds}, secret, algorithm="HS256")


class DriverApp(Connection):
    """Everything heard is in `heard`, oldest first; `closed` is the close code once the server has closed."""

    def __init__(self, url: str, bearer: str, **options: Any) -> None:
        self.heard: list[Frame] = []
        super().__init__(url, bearer, self.heard.append, **options)

    @property
    def closed(self) -> int | None:
        return self.close_code if self.ended.is_set() else None

    async def hear(self, wanted: str | Likes, within: float = PATIENCE) -> Frame:
        """The first message, past ones included, that is of this type or that the function likes."""
        likes: Likes = (lambda m: m["type"] == wanted) if isinstance(wanted, str) else wanted
        for message in self.heard:
            if likes(message):
                return message
        try:
            async with asyncio.timeout(within):
                return await self.next(likes)
        except ConnectionError:
            raise AssertionError(f"closed with {self.closed} before {wanted} was heard: {self.heard}") from None

    async def until_closed(self, within: float = PATIENCE) -> int | None:
        """Wait until the server closes the socket; its close code."""
        try:
            async with asyncio.timeout(within):
                await self.ended.wait()
        except TimeoutError:
            raise AssertionError(f"still open after {within} s; heard {self.heard}") from None
        return self.closed

    def streamed(self) -> list[Frame]:
        """What came with a number, in order."""
        return [m for m in self.heard if "seq" in m and m["type"] != "hello"]


@asynccontextmanager
async def driver_app(
    ws_url: str, driver_id: str, *, last_seq: int | None = None, bearer: str | None = None, **options: Any
) -> AsyncIterator[DriverApp]:
    """Connect as this driver and wait for `hello` or the refusal; closed at the end.

    What happens afterwards comes as separate messages: a `hello` would hold what happened before it.
    """
    app = DriverApp(ws_url, bearer or token("driver", driver_id), last_seq=last_seq, **options)
    await app.open()
    try:
        with suppress(AssertionError):  # closed
            await app.hear(lambda _: True)
        yield app
    finally:
        await app.close()
