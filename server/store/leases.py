"""The rows of leases: which node does what only one has to do, until the lease expires by the database's clock."""

from typing import Final

from msgspec import Struct

from server.store.connections import Connection, Pool
from server.store.query import fetch_one

DISPATCHER: Final = "dispatcher"
"""The lease of the one node that dispatches."""

TAKE: Final = """
INSERT INTO leases AS l (name, holder, expires_at)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = clock_timestamp() + make_interval(secs => $3)
WHERE l.holder IS NULL OR l.expires_at IS NULL OR l.holder = excluded.holder OR l.expires_at <= clock_timestamp()
RETURNING true
"""
LEFT: Final = """
SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM leases WHERE name = $1 AND holder <> $2
"""
RELEASE: Final = "UPDATE leases SET holder = NULL, expires_at = NULL WHERE name = $1 AND holder = $2"
STATE: Final = """
SELECT coalesce((SELECT holder IS NOT NULL AND expires_at > clock_timestamp() FROM leases WHERE name = $1), false),
    current_setting('transaction_read_only') = 'on'"""


class LeaseState(Struct, frozen=True):
    """Whether a node has a lease, and whether this database accepts no writes."""

    held: bool
    read_only: bool


async def seconds_left_to_another(connection: Connection, name: str, node_id: str) -> float | None:
    """How long another node still has the lease, negative if it expired; None if no other node has it. Raises what the
    database raises.
    """
    left: float | None = await connection.fetchval(LEFT, name, node_id)
    return left


async def take_lease(connection: Connection, name: str, node_id: str, seconds: float) -> bool:
    """Take the lease if it is free, or renew it, for `seconds`. Returns whether this node has it now. Raises what the
    database raises.
    """
    return bool(await connection.fetchval(TAKE, name, node_id, seconds))


async def release_lease(pool: Pool, name: str, node_id: str, timeout_seconds: float) -> bool:
    """Give the lease back. Whether this node had it. Raises what the database raises."""
    return await pool.execute(RELEASE, name, node_id, timeout=timeout_seconds) == "UPDATE 1"


async def lease_state(pool: Pool, name: str) -> LeaseState:
    """The state of a lease now. Raises DatabaseAway."""
    return LeaseState(*await fetch_one(pool, STATE, name))
