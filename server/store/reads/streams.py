"""Reads drivers' streams for sockets: which ones are behind, and the missing messages. One statement for all."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from server.store.connections import Pool

QUERY_TIMEOUT_SECONDS: Final = 5.0

DIFFERING: Final = """
SELECT s.driver_id::text, d.session_id::text, d.stream_seq > s.seq AS behind,
    d.id IS NULL OR d.stream_seq < s.seq AS ahead
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[]) AS s (driver_id, session_id, seq)
LEFT JOIN drivers d ON d.id = s.driver_id
WHERE d.id IS NULL OR d.stream_seq <> s.seq OR d.session_id IS DISTINCT FROM s.session_id
"""
AFTER: Final = """
SELECT m.driver_id::text, m.seq, m.body
FROM unnest($1::uuid[], $2::bigint[]) AS s (driver_id, seq)
JOIN driver_messages m ON m.driver_id = s.driver_id AND m.seq > s.seq
ORDER BY m.driver_id, m.seq
"""


class Differing(Struct, frozen=True):
    """A stream whose session or number is another in the database than on a socket, which is `behind` or `ahead`."""

    driver_id: str
    session_id: str | None
    behind: bool | None
    ahead: bool


async def differing_streams(
    pool: Pool, driver_ids: Sequence[str], session_ids: Sequence[str], last_seqs: Sequence[int | None]
) -> list[Differing]:
    """The sockets, given as columns of the same length, that differ from the database. Raises what the database
    raises.
    """
    rows = await pool.fetch(DIFFERING, driver_ids, session_ids, last_seqs, timeout=QUERY_TIMEOUT_SECONDS)
    return [Differing(*row) for row in rows]


async def messages_after(
    pool: Pool, driver_ids: Sequence[str], last_seqs: Sequence[int | None]
) -> list[tuple[str, int, str]]:
    """The messages of these drivers after the number of each, in order, as (driver id, number, JSON). Raises what the
    database raises.
    """
    return await pool.fetch(AFTER, driver_ids, last_seqs, timeout=QUERY_TIMEOUT_SECONDS)
