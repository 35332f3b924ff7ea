"""A ping shortly before an offer ends, to every phone whose silence may count as a yes.

A phone that loses its network says nothing, and its connection looks open for as long as the ordinary pings take. So
one that does not answer this ping, and sends nothing else, loses its socket before the deadline.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from server.dispatch.policy import Policy
from server.sockets.hub import Hub
from server.sockets.open_socket import Socket
from server.store.connections import Pool
from server.store.query import DatabaseAway
from server.store.reads.ending_offers import EndingOffer, ending_offers

LOOK_SECONDS: Final = 1.0
ASK_SECONDS: Final = 5.0
"""How long before the deadline phones are asked, at the earliest: there is a second more or less between two looks."""
JUDGE_SECONDS: Final = 0.4
"""How long before the deadline the answer has to be there: losing the socket is a separate commit."""
LATE_SECONDS: Final = 0.1
"""A node that is so much behind first reads what has arrived meanwhile."""

log = structlog.get_logger(__name__)


class DeadlinePings:
    """`keep` is to be supervised."""

    def __init__(self, pool: Pool, hub: Hub, policy: Callable[[], Policy]) -> None:
        self._pool = pool
        self._hub = hub
        self._policy = policy
        self._asked: set[tuple[str, str]] = set()
        """Offers that end soon, and the sessions that were asked about them."""

    async def keep(self) -> None:
        """Look every second, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._hub.sockets or self._policy().expiry_policy != "auto_accept":
                continue
            try:
                self._ask(await ending_offers(self._pool, self._hub.node_id, ASK_SECONDS))
            except DatabaseAway as error:
                log.warning("ending_offers_not_read", reason=str(error))

    def _ask(self, ending: list[EndingOffer]) -> None:
        loop = asyncio.get_running_loop()
        for offer in ending:
            socket = self._hub.sockets.get(offer.driver_id)
            of = (offer.offer_id, offer.session_id)
            if of in self._asked or socket is None or socket.session_id != offer.session_id:
                continue
            left = offer.seconds_left - JUDGE_SECONDS
            if left > JUDGE_SECONDS:
                asked_at = loop.time()
                self._asked.add(of)
                socket.pings.ask()
                loop.call_later(left, self._judge, socket, asked_at, asked_at + left)
        self._asked &= {(offer.offer_id, offer.session_id) for offer in ending}

    def _judge(self, socket: Socket, asked_at: float, due_at: float) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - due_at > LATE_SECONDS:
            loop.call_soon(loop.call_soon, self._decide, socket, asked_at)
        else:
            self._decide(socket, asked_at)

    def _decide(self, socket: Socket, asked_at: float) -> None:
        if socket.closed is not None or socket.pings.heard_at >= asked_at:
            return
        log.info("phone_does_not_answer", driverId=socket.driver_id, sessionId=socket.session_id)
        self._hub.lose(socket)
