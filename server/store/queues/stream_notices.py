"""The notices to drivers on their sockets about what others did to them, without offers, and their status.

Each is also a numbered message of the driver's stream, written with it: an order that was assigned to them or taken
from them, or a change of their availability by somebody else. Offers have their own receipts.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from server.contract.notices import driver_notice
from server.dispatch import events as e
from server.dispatch.world import World
from server.ids import new_id
from server.store.connections import Pool
from server.store.query import QUERY_TIMEOUT_SECONDS

LONGEST_HOURS: Final = 24
"""A notice that has not arrived by then has failed."""

UNHEARD: Final = f"""
SELECT n.id::text, n.driver_id::text, n.seq, n.sent_at IS NOT NULL
FROM stream_notices n JOIN drivers d ON d.id = n.driver_id
WHERE d.session_node = $1 AND n.received_at IS NULL
  AND n.created_at > now() - make_interval(hours => {LONGEST_HOURS})"""  # noqa: S608
NOTE: Final = """
UPDATE stream_notices n SET sent_at = coalesce(n.sent_at, clock_timestamp()),
    received_at = CASE WHEN n.id = ANY ($2::uuid[]) THEN clock_timestamp() END
WHERE n.id = ANY ($1::uuid[] || $2::uuid[]) AND n.received_at IS NULL"""


class StreamNoticeRow(Struct, frozen=True):
    """What of a notice is known when it is made. `seq` is its message's number in the driver's stream."""

    id: str
    kind: str
    driver_id: str
    seq: int
    delivery_id: str | None
    text: str
    created_at: datetime


class UnheardNotice(Struct, frozen=True):
    """A notice for a driver who is connected to this node, without proof that it arrived."""

    id: str
    driver_id: str
    seq: int
    sent: bool


def stream_notice(event: e.Event, seq: int, world: World) -> StreamNoticeRow | None:
    """The notice that this message of the event's driver is, if it is one."""
    text = driver_notice(event, world)
    if text is None:
        return None
    assert event.driver_id is not None
    return StreamNoticeRow(new_id(), event.type, event.driver_id, seq, event.delivery_id, text, event.at)


async def unheard_notices(pool: Pool, node_id: str) -> list[UnheardNotice]:
    """The notices of drivers who are connected to this node. Raises what the database raises."""
    return [UnheardNotice(*row) for row in await pool.fetch(UNHEARD, node_id, timeout=QUERY_TIMEOUT_SECONDS)]


async def record_receipts(pool: Pool, sent: Sequence[str], received: Sequence[str]) -> None:
    """Record which notices were sent on a socket and which arrived. Raises what the database raises."""
    await pool.execute(NOTE, sent, received, timeout=QUERY_TIMEOUT_SECONDS)
