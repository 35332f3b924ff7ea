"""A receiver of webhooks, or a push service, on a real socket, that can be slow, wrong, gone and back."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

from standardwebhooks import Webhook

from tests.waiting import PATIENCE, until


class Heard:
    """One request as it came over the wire."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.body = body

    @cached_property
    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.body)
        return message

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified_by(self, secret: str) -> bool:
        """Whether the signature is valid, as a receiver's library sees it."""
        try:
            Webhook(secret).verify(self.body, self.headers)
        except Exception:
            return False
        return True


class Receiver:
    """Answers 200 by default. `answers` are used up first, one a request; `hold` keeps requests waiting.

    With `quotes`, an answer has what the request said.
    """

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[int] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.quotes = False
        self.hold: asyncio.Event | None = None
        self.waiting = 0
        self.most_waiting = 0
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks"

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Gone: nobody listens, what was open is cut off."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.connections += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                path = line.split()[1].decode()
                headers = {}
                while (line := await reader.readline()) not in (b"\r\n", b""):
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = await reader.readexactly(int(headers["content-length"]))
                heard = Heard(path, headers, body)
                self.heard.append(heard)
                if self.hold is not None:
                    self.waiting += 1
                    self.most_waiting = max(self.most_waiting, self.waiting)
                    await self.hold.wait()
                    self.waiting -= 1
                status = self.answer_to(heard)
                more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
                shown = b"as you wish" if status < 300 else body if self.quotes else b"not\nlike this"
                head = f"HTTP/1.1 {status} Whatever\r\n{more}Content-Length: {len(shown)}\r\n\r\n"
                writer.write(head.encode() + shown)
                await writer.drain()
        self._open.discard(writer)
        writer.close()

    def answer_to(self, heard: Heard) -> int:
        """The status for this request."""
        return self.answers.pop(0) if self.answers else self.status

    async def messages(self, count: int, within: float = PATIENCE) -> list[Heard]:
        """The first so many requests, once they have come."""
        await until(lambda: len(self.heard) >= count, within=within)
        return self.heard[:count]

    def types(self) -> list[str]:
        return [heard.message["type"] for heard in self.heard]


@asynccontextmanager
async def listening() -> AsyncIterator[Receiver]:
    """A receiver that is there; at the end it answers everybody who still waits."""
    receiver = Receiver()
    await receiver.start()
    yield receiver
    if receiver.hold is not None:
        receiver.hold.set()
    await receiver.stop()
