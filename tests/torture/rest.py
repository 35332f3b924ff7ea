"""Measurements at rest: what the nodes, the database and Redis hold once nobody wants anything any more."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import asyncpg
import msgspec
import psutil
import redis.asyncio

from server.dispatch.policy import Policy
from server.store.reads.waiting import DISPATCHABLE
from tests.torture.actors.drivers import Driver
from tests.torture.actors.scene import ZONE, Caller
from tests.torture.evidence import Rest, Use
from tests.waiting import last_seen

POOL_SIZE: Final = 8
"""`database_pool_size` as the nodes have it by default."""
LANES: Final = 8
"""Connections of a node besides its pool at most: the write lane, reruns, the lease, questions."""
INDEX_SECONDS: Final = 20.0
"""How long the index of Redis may take to be reconciled: it is looked at every 5 s."""
PHONES_SECONDS: Final = 10.0
"""How long it may take until every phone has heard what the database says, on the socket that it says."""
QUIET_SECONDS: Final = 10.0
"""How long it may take until nothing is under way."""
FINDABLE_SECONDS: Final = 10.0
"""How long a delivery must wait although there is a driver for it, to count as forgotten."""

_SAMPLE: Final = re.compile(r"^(\w+)(\{[^}]*\})? (\S+)$", re.MULTILINE)
_TASK: Final = re.compile(r'task="([^"]*)"')
_DISPATCHABLE: Final = f"""
SELECT d.id::text FROM drivers d JOIN driver_positions p ON p.driver_id = d.id
WHERE {DISPATCHABLE} AND d.zone = '{ZONE}'"""
_SESSIONS: Final = "SELECT id::text, session_id::text, stream_seq FROM drivers"
_USE: Final = """
SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%'),
       count(*) FILTER (WHERE wait_event_type = 'Lock'),
       (SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE a.datname = current_database() AND a.backend_type = 'client backend'
          AND a.xact_start < clock_timestamp() - interval '1 second')
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""


async def use(admin: Caller, pids: Sequence[int], database_url: str) -> Use:
    """What is held now."""
    sockets, dead = [], []
    for node in range(len(pids)):
        _, text = await admin.call("GET", "/metrics", node=node)
        samples = [(name, labels, float(value)) for name, labels, value in _SAMPLE.findall(str(text))]
        sockets.append(round(sum(value for name, _, value in samples if name == "callboard_sockets")))
        for name, labels, value in samples:
            if name == "callboard_task_alive" and not value and (found := _TASK.search(labels)):
                dead.append(f"{found[1]} of node {node}")
    processes = [psutil.Process(pid) for pid in pids]
    connection = await asyncpg.connect(database_url)
    try:
        connections, idle, waiting, locks = await connection.fetchrow(_USE)
    finally:
        await connection.close()
    return Use(
        sockets=sockets,
        files=[process.num_fds() for process in processes],
        threads=[process.num_threads() for process in processes],
        dead_tasks=dead,
        connections=connections,
        idle_in_transaction=idle,
        waiting_for_locks=waiting,
        locks=locks,
    )


async def settled_use(admin: Caller, pids: Sequence[int], database_url: str) -> Use:
    """The same once nothing is under way at this very moment, or after a while."""
    return await last_seen(
        lambda: use(admin, pids, database_url),
        lambda found: not (any(found.sockets) or found.idle_in_transaction or found.waiting_for_locks or found.locks),
        within=QUIET_SECONDS,
        every=0.5,
    )


async def measure(
    drivers: Iterable[Driver],
    admin: Caller,
    database_url: str,
    redis_url: str,
    before: Use,
    nodes: int,
) -> Rest:
    """Everything but the use afterwards, with the drivers' sockets open."""
    drivers = list(drivers)
    connection = await asyncpg.connect(database_url)
    try:
        phones, rows = await _phones(connection, drivers)
        geo, dispatchable = await _indexed(connection, redis_url)
    finally:
        await connection.close()
    shown = await _all(admin, "/drivers?limit=200")
    waiting = await _all(admin, "/admin/unassigned-orders?limit=200")
    findable = {row["deliveryId"] for row in waiting}

    async def still_findable() -> set[str]:
        nonlocal findable
        findable = {delivery_id for delivery_id in findable if await _findable(admin, delivery_id)}
        return findable

    await last_seen(still_findable, lambda left: not left, within=FINDABLE_SECONDS, every=1.0)
    return Rest(
        open_sessions={driver_id: session for driver_id, (session, _) in phones.items()},
        sessions={driver_id: session for driver_id, (session, _) in rows.items()},
        connected={row["id"]: row["connected"] for row in shown},
        last_seqs={driver_id: seq for driver_id, (_, seq) in phones.items()},
        geo=geo,
        dispatchable=dispatchable,
        waiting_shown={row["deliveryId"] for row in waiting},
        findable=findable,
        before=before,
        after=before,
        connections_allowed=nodes * (POOL_SIZE + LANES),
    )


Heard = dict[str, tuple[str | None, int | None]]


async def _phones(connection: Any, drivers: list[Driver]) -> tuple[Heard, Heard]:
    """The session of each driver and the last number of their stream, by their phone and by the database: as soon as
    the two agree, or after a while as they are. A message may be on its way, and a phone about to connect.
    """

    async def both() -> tuple[Heard, Heard]:
        rows = {driver_id: (session, seq) for driver_id, session, seq in await connection.fetch(_SESSIONS)}
        phones: Heard = {
            d.id: (d.phone.mirror.session if d.phone.connected else None, d.phone.mirror.seq) for d in drivers
        }
        return phones, rows

    def agree(seen: tuple[Heard, Heard]) -> bool:
        phones, rows = seen
        return all(session is not None and rows.get(of) == (session, seq) for of, (session, seq) in phones.items())

    return await last_seen(both, agree, within=PHONES_SECONDS, every=0.2)


async def _findable(admin: Caller, delivery_id: str) -> bool:
    """Whether it waits without an offer although the search would have somebody for it."""
    candidates = await admin.insist("GET", f"/deliveries/{delivery_id}/candidates")
    delivery = await admin.insist("GET", f"/deliveries/{delivery_id}")
    waits = delivery["status"] == "READY" and delivery["currentOfferId"] is None
    return candidates["taken"] is not None and waits


async def _indexed(connection: Any, redis_url: str) -> tuple[set[str], set[str]]:
    """Who is in the index of Redis, and who should be: as soon as the two agree, or after a while as they are."""
    async with redis.asyncio.from_url(redis_url) as client:

        async def both() -> tuple[set[str], set[str]]:
            policy = await connection.fetchval("SELECT document FROM policy ORDER BY version DESC LIMIT 1")
            dispatchable = {row[0] for row in await connection.fetch(_DISPATCHABLE, *_freshness(policy))}
            members: list[Any] = await client.zrange(f"callboard:drivers:geo:{ZONE}", 0, -1)
            return {member.decode() for member in members}, dispatchable

        return await last_seen(both, lambda seen: seen[0] == seen[1], within=INDEX_SECONDS, every=0.5)


def _freshness(document: str) -> tuple[float, float]:
    policy = msgspec.json.decode(document, type=Policy)
    return float(policy.position_fresh_seconds), float(policy.call_presence_seconds)


async def _all(admin: Caller, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await admin.insist("GET", path + cursor)
        found += page["items"]
        if not page.get("nextCursor"):
            return found
        cursor = f"&cursor={page['nextCursor']}"
