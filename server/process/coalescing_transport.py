"""Transports that write once in each turn of the event loop: one system call for everything that a commit sends to a
client.

uvloop writes every piece at once, and uvicorn writes a response's headers, its body and every frame separately.
"""

import asyncio
from typing import Any, Final

from server.process.connection_limits import BoundedHttp
from server.process.frame_limits import BoundedWebSocket

LIMIT_BYTES: Final = 65_536
"""So much is written without waiting for the turn's end, so that a slow client is noticed."""


class Gathered:
    """A transport that collects writes until the end of the loop's turn. It forwards everything else."""

    __slots__ = ("_beneath", "_loop", "_pieces", "_size")

    def __init__(self, beneath: asyncio.Transport) -> None:
        self._beneath = beneath
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._beneath, name)

    def write(self, piece: bytes) -> None:
        """Add to the write of this turn."""
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= LIMIT_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._pieces:
            pieces, self._pieces, self._size = self._pieces, [], 0
            if self._beneath.is_closing():
                return  # the client has gone meanwhile
            self._beneath.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def close(self) -> None:
        self.flush()
        self._beneath.close()


def gathered(transport: Any) -> Any:
    """The transport, writing once a turn."""
    return transport if isinstance(transport, Gathered) else Gathered(transport)


class HttpProtocol(BoundedHttp):
    """uvicorn's with bounds, writing once a turn."""

    def connection_made(self, transport: object) -> None:
        super().connection_made(gathered(transport))


class WebSocketProtocol(BoundedWebSocket):
    """uvicorn's with bounds, writing once a turn."""

    def connection_made(self, transport: object) -> None:
        super().connection_made(gathered(transport))
