"""Boards that people have open: streams of server-sent events, read as they come."""

import asyncio
from contextlib import suppress
from typing import Final

from server.web.access.tokens import mint_token

OPEN_SECONDS: Final = 10.0


class Board:
    """One open stream; `events` counts what came, `ended` that the node has closed it."""

    def __init__(self, port: int, secret: str) -> None:
        self.events = 0
        self.ended = False
        self._port = port
        self._token = mint_token(secret, "viewer", "somebody", 24 * 3600)[0]
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Until the stream has begun. Raises OSError or TimeoutError."""
        async with asyncio.timeout(OPEN_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(
                f"GET /board/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
                f"Authorization: Bearer {self._token}\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            writer.close()
            raise ConnectionError(head.split(b"\r\n")[0].decode())
        self._reading = asyncio.create_task(self._read(reader, writer), name="board")

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                self.events += data.count(b"data: ")
        except ConnectionError:
            pass
        finally:
            self.ended = True
            writer.close()

    async def close(self) -> None:
        """Disconnect."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
