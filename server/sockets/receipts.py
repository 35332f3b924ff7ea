"""Receipts of what drivers are told on their sockets: that it went out, and that it got there.

No message of the contract says that a notice was received. Two things prove it: a driver who comes back with its number
or a later one as `lastSeq`, and a ping that went out after it and was answered, since a socket keeps the order.
"""

import asyncio
from typing import Final

import structlog

from server.sockets.hub import Hub, Socket
from server.store.connections import Pool
from server.store.queues.stream_notices import UnheardNotice, note_heard, unheard_notices

LOOK_SECONDS: Final = 1.0

log = structlog.get_logger(__name__)


class Receipts:
    """Keeps what is known of notices to the drivers who are connected here. `keep` is to be supervised."""

    def __init__(self, pool: Pool, hub: Hub) -> None:
        self._pool = pool
        self._hub = hub
        self._out: dict[str, tuple[Socket, float]] = {}
        """Notices that went out: on which socket, and when that was first seen (the loop's clock)."""

    async def keep(self) -> None:
        """Look every second, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except Exception as error:
                log.warning("receipts_not_noted", reason=repr(error))

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        sent: list[str] = []
        received: list[str] = []
        out: dict[str, tuple[Socket, float]] = {}
        for notice in await unheard_notices(self._pool, self._hub.node_id):
            socket = self._hub.sockets.get(notice.driver_id)
            if socket is None or not socket.has_written(notice.seq):
                continue
            on, since = self._out.get(notice.id, (socket, now))
            out[notice.id] = (socket, since if on is socket else now)
            if self._is_proved(notice, socket, out[notice.id][1]):
                received.append(notice.id)
            elif not notice.sent:
                sent.append(notice.id)
        self._out = out
        if sent or received:
            await note_heard(self._pool, sent, received)

    @staticmethod
    def _is_proved(notice: UnheardNotice, socket: Socket, since: float) -> bool:
        return socket.known_seq >= notice.seq or socket.pings.answered_sent_at > since
