"""The write path finds rows by their keys, also by plans that were made when the tables were empty or tiny."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from server.dispatch.policy import DEFAULT_POLICY
from server.store.engine import Database
from server.store.rows import LOCK_AND_READ, READ_IN_TRANSACTION
from server.write import load as loading
from server.write.load import EXTERNAL_REFS, LOCK, Named, NodeCopies, load
from server.write.save import SECTIONS, statement

MORE = (
    """
    INSERT INTO drivers (id, name, external_ref, zone, capacity, created_at, availability, last_availability_change,
                         expiries_in_a_row, stream_seq, active_count)
    SELECT gen_random_uuid(), 'Dan', gen_random_uuid(), 'default', 1, now(), 'available', now(), 0, 0, 0
    FROM generate_series(1, $1::int)""",
    """
    INSERT INTO deliveries (id, seller_order_id, store_name, zone, status, pickup_lat, pickup_lon, dropoff_lat,
                            dropoff_lon, prep_seconds, currency, fingerprint, dispatch_at, created_at,
                            unassigned_since, offer_acceptance_count, version)
    SELECT id, id, 'Green Bowl', 'default', 'READY', 0, 0, 0, 0, 0, 'USD', 'f', now(), now(), now(), 0, 1
    FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $1::int)) AS made""",
    """
    INSERT INTO unassigned_orders SELECT id, '', now(), now(), 0, 0, 'PENDING' FROM deliveries
    ON CONFLICT DO NOTHING""",
    """
    INSERT INTO driver_offers (id, delivery_id, driver_id, status, attempt, offer_payload, created_at, expires_at)
    SELECT gen_random_uuid(), d.id, r.id, 'PENDING', 1, '{}', now(), now() + interval '1 s'
    FROM (SELECT id, row_number() OVER () AS n FROM deliveries) d
    JOIN (SELECT id, row_number() OVER () AS n FROM drivers) r ON r.n = d.n
    ON CONFLICT DO NOTHING""",
    """
    INSERT INTO assignments (id, delivery_id, driver_id, status, source, created_at, version)
    SELECT id, delivery_id, driver_id, 'ACTIVE', 'manual', now(), 1 FROM driver_offers
    ON CONFLICT DO NOTHING""",
    """
    INSERT INTO alerts (id, kind, zone, value, threshold, raised_at)
    SELECT id, 'unassigned_count', id, 1, 0, now()
    FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $1::int)) AS made""",
    "INSERT INTO driver_positions (driver_id) SELECT id FROM drivers ON CONFLICT DO NOTHING",
    """
    INSERT INTO chat_messages (id, driver_id, by_driver, author, text, at)
    SELECT gen_random_uuid(), id, false, 'alice', 'Hello', now() FROM drivers""",
)
READ_SO_FAR = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int FROM pg_stat_xact_user_tables
WHERE schemaname = 'public'"""


ONLY_BY_COMMAND = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = off)', name);
    END LOOP;
END $$"""
"""No table is analyzed meanwhile, which would discard its plans."""


@pytest.fixture
async def writing(database_url: str) -> AsyncIterator[Any]:
    """A connection of the write path, with time for many rows on a busy machine."""
    connection = await Database(database_url).connect_for_writing()
    await connection.execute("SET statement_timeout = 0")
    await connection.execute(ONLY_BY_COMMAND)
    yield connection
    await connection.close()


async def grow(connection: Any, by: int) -> None:
    """So many more drivers, deliveries with their waits, offers, assignments and positions."""
    for query in MORE:
        await connection.execute(query, *([by] if "$1" in query else []))


async def arguments(connection: Any, query: str) -> list[Any]:
    """Three rows of each kind for the statement."""

    async def three(column: str, table: str) -> list[str]:
        found = await connection.fetch(f"SELECT {column}::text FROM {table} ORDER BY 1 LIMIT 3")
        return [row[0] for row in found]

    deliveries, drivers = await three("id", "deliveries"), await three("id", "drivers")
    if query == READ_IN_TRANSACTION:
        return [deliveries, drivers]
    if query == EXTERNAL_REFS:
        return [await three("external_ref", "drivers")]
    offers, assignments = await three("id", "driver_offers"), await three("id", "assignments")
    named: list[Any] = [deliveries, deliveries, drivers, drivers, offers, assignments]
    if query == LOCK_AND_READ:
        named = [",".join(ids) for ids in named]
    return [*named, [""] * len(deliveries), deliveries]


async def rows_read(connection: Any, query: str) -> int:
    """How many rows it looks at to find its three."""
    args = await arguments(connection, query)
    async with connection.transaction():
        before = await connection.fetchval(READ_SO_FAR)
        await connection.fetch(query, *args)
        return int(await connection.fetchval(READ_SO_FAR) - before)


@pytest.mark.parametrize(
    "query",
    [LOCK_AND_READ, LOCK, READ_IN_TRANSACTION, EXTERNAL_REFS],
    ids=["lock_and_read", "lock", "read", "external_refs"],
)
@pytest.mark.parametrize("at_first", [0, 1, 10])
async def test_locking_and_reading_look_up_their_rows_however_small_the_tables_were(
    writing: Any, at_first: int, query: str
) -> None:
    await grow(writing, at_first)
    await writing.execute("ANALYZE")
    await rows_read(writing, query)
    await grow(writing, 2_000)
    assert await rows_read(writing, query) < 100


def scans(plan: Any) -> Iterator[dict[str, Any]]:
    """Every node of a plan that reads a table."""
    if "Relation Name" in plan and "Scan" in plan["Node Type"]:
        yield plan
    for part in plan.get("Plans", ()):
        yield from scans(part)


async def read_whole(connection: Any, prepared: str) -> list[str]:
    """The tables that a prepared statement of one parameter reads without a key to look up."""
    ((text,),) = await connection.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE {prepared} ('[]')")
    return [node["Relation Name"] for node in scans(json.loads(text)[0]["Plan"]) if "Index Cond" not in node]


WHOLE = {"outbox": {"webhooks"}, "zones": {"zones"}, "new_zones": {"zones"}}
"""What may be: there are a few dozen webhooks at most, each asked whether it wants to hear, and few zones here."""


async def test_saving_looks_its_rows_up_once_there_are_more_than_a_few(writing: Any) -> None:
    await grow(writing, 200)
    await writing.execute("ANALYZE")
    for section in SECTIONS:
        await writing.execute(f"PREPARE {section.name} AS {statement([section.name])}")
        assert set(await read_whole(writing, section.name)) <= WHOLE.get(section.name, set()), section.name


async def test_loading_regularly_discards_old_plans(writing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await grow(writing, 1)
    await writing.execute("ANALYZE")
    await writing.execute(f"PREPARE changed AS {statement(['changed_drivers'])}")
    assert await read_whole(writing, "changed") == ["drivers"], "planned for a tiny table"
    await grow(writing, 2_000)
    for seconds, expected in ((3600.0, ["drivers"]), (0.0, [])):
        monkeypatch.setattr(loading, "REPLAN_SECONDS", seconds)
        for _ in range(2):
            async with writing.transaction():
                await load(writing, Named(), NodeCopies(lambda: DEFAULT_POLICY))
        assert await read_whole(writing, "changed") == expected


async def test_plans_are_kept_until_a_table_has_doubled(writing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """To plan all of it anew takes as long as many transactions."""
    monkeypatch.setattr(loading, "REPLAN_SECONDS", 0.0)
    dropped: list[str] = []
    writing.add_query_logger(lambda record: dropped.append(record.query) if "DISCARD" in record.query else None)
    for more, times in ((500, 1), (0, 1), (100, 1), (2_000, 2)):
        await grow(writing, more)
        for _ in range(2):
            async with writing.transaction():
                await load(writing, Named(), NodeCopies(lambda: DEFAULT_POLICY))
        assert len(dropped) == times, f"after {more} more"
