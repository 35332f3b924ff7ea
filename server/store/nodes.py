"""The rows of nodes: a process that serves beats once a second, and is dead when it has not for a while."""

from datetime import datetime
from typing import Final

from msgspec import Struct

from server.store.connections import Pool, Queries
from server.store.query import fetch_one
from server.store.tables import Node
from server.store.typed import ask

BEAT_TIMEOUT_SECONDS: Final = 2.0

BEAT: Final = """
INSERT INTO nodes (id, name, started_at, expires_at, words)
VALUES ($1, $2, clock_timestamp(), clock_timestamp() + make_interval(secs => $3), $4)
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at
RETURNING clock_timestamp(), (SELECT count(*) FROM nodes WHERE expires_at > clock_timestamp() AND id <> $1),
    (SELECT min(words) FROM nodes WHERE expires_at > clock_timestamp() AND id <> $1)
"""
COUNT: Final = """
SELECT count(*) FILTER (WHERE expires_at > clock_timestamp()),
       count(*) FILTER (WHERE expires_at <= clock_timestamp()),
       (SELECT count(*) FROM drivers WHERE session_id IS NOT NULL)
FROM nodes
"""


class NodeCounts(Struct, frozen=True):
    """How many nodes run, how many ended without removing their row, and how many drivers have a socket."""

    alive: int
    dead: int
    sockets: int


async def beat(
    source: Queries, node_id: str, name: str, seconds: float, version: int
) -> tuple[datetime, int, int | None]:
    """Record that a node is alive for `seconds` from now, and the version of states that it reads (`STATES_VERSION`).

    Returns the database's time, how many other nodes live, and the lowest version that one of them reads. Raises what
    the database raises.
    """
    now, others, lowest = await source.fetchrow(BEAT, node_id, name, seconds, version, timeout=BEAT_TIMEOUT_SECONDS)
    return now, others, lowest


async def forget_node(pool: Pool, node_id: str) -> None:
    """Remove the row of a node that stops. Raises DatabaseAway."""
    await ask(pool, Node.delete().where(Node.id == node_id))


async def count_nodes(pool: Pool) -> NodeCounts:
    """The counts now. Raises DatabaseAway."""
    return NodeCounts(*await fetch_one(pool, COUNT))
