"""Offers that end soon and whose driver's silence may count as a yes, for the node that has the driver's socket."""

from typing import Final

from msgspec import Struct

from server.store.connections import Pool
from server.store.query import fetch_as

ENDING: Final = """
SELECT o.id, o.driver_id, d.session_id, extract(epoch FROM o.expires_at - clock_timestamp())::float8
FROM driver_offers o JOIN drivers d ON d.id = o.driver_id
WHERE o.status = 'PENDING' AND o.expires_at < clock_timestamp() + make_interval(secs => $2)
  AND o.received_at IS NOT NULL AND d.session_node = $1::text::uuid
"""


class EndingOffer(Struct, frozen=True):
    """An open offer that the driver's app has received: the session of their socket, and how long it still runs."""

    offer_id: str
    driver_id: str
    session_id: str
    seconds_left: float


async def ending_offers(pool: Pool, node_id: str, within_seconds: float) -> list[EndingOffer]:
    """Those that end so soon, of drivers whose socket is on this node. Raises DatabaseAway."""
    return await fetch_as(pool, EndingOffer, ENDING, node_id, within_seconds)
