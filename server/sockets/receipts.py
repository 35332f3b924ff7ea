"""Receipts of notices on drivers' sockets: when they were sent, and when they arrived.

No message of the contract confirms a notice. Two things prove the arrival: a driver who reconnects with its number or a
later one as `lastSeq`, and a ping that was sent after it and answered, since a socket keeps the order.
"""

import asyncio
from typing import Final

from server.sockets.hub import Hub
from server.sockets.open_socket import Socket
from server.store.connections import Pool
from server.store.queues.stream_notices import UnheardNotice, record_receipts, unheard_notices
from server.tasks import repeat

LOOK_SECONDS: Final = 1.0


class Receipts:
    """Tracks the notices to drivers who are connected to this node. Supervise `keep`."""

    def __init__(self, pool: Pool, hub: Hub) -> None:
        self._pool = pool
        self._hub = hub
        self._out: dict[str, tuple[Socket, float]] = {}
        """Sent notices: on which socket, and when that was first seen (the loop's clock)."""

    async def keep(self) -> None:
        """Look for receipts every second."""
        await repeat(self._look, LOOK_SECONDS, "receipts_not_recorded")

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
            await record_receipts(self._pool, sent, received)

    @staticmethod
    def _is_proved(notice: UnheardNotice, socket: Socket, since: float) -> bool:
        return socket.known_seq >= notice.seq or socket.pings.answered_sent_at > since
