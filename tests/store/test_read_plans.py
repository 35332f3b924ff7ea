"""What is asked again and again finds its rows by an index, however much work lies behind."""

import asyncpg
import pytest

from server.settings import Settings
from server.store.engine import Database
from server.store.jobs.insight_days import InsightDays
from server.store.jobs.search_rows import write_search_rows
from server.store.reads.delivery_search import DeliveryFilter, page_of
from tests.bench.history import make_evening, make_history
from tests.bench.plans import plans
from tests.bench.statements import SAMPLE, Sample, reading, writing


@pytest.mark.slow
async def test_nothing_reads_a_table_whole_that_grows_with_the_work(settings: Settings) -> None:
    connection = await asyncpg.connect(settings.database_url)
    await make_history(connection, offers=20_000, days=12, drivers=100)
    await make_evening(connection, 300)
    await connection.execute("ANALYZE")
    sample = Sample(await connection.fetchrow(SAMPLE))
    await connection.close()
    database = Database(settings.database_url)
    reader, writer = await database.connect_apart(), await database.connect_for_writing()
    await database.open()
    while await write_search_rows(database.pool, later_seconds=0.0):
        pass
    await reader.execute("ANALYZE delivery_search")
    await InsightDays(database.pool, lambda: settings.time_zone, lambda: True).count()
    found = [*await plans(reader, reading(sample)), *await plans(writer, writing(sample))]
    assert {plan.name: plan.whole for plan in found if plan.whole} == {}
    assert len(found) > 60
    await reader.execute("DROP INDEX driver_offers_created")
    offers = [statement for statement in reading(sample) if statement[0] == "stats: offers, 1 h, all zones"]
    assert [plan.whole for plan in await plans(reader, offers)] == [["driver_offers"]], "it would be noticed"
    for connection in (reader, writer):
        await connection.close()
    await database.close()


async def test_a_search_begins_where_its_page_does_however_it_is_joined(settings: Settings) -> None:
    """On large tables the planner merges two orders of ids: such a join must not begin at the newest of all. And of
    what a driver had, no more is looked up than a page has.
    """
    connection = await asyncpg.connect(settings.database_url)
    await make_history(connection, offers=6_000, days=12, drivers=100)
    ids = [str(row[0]) for row in await connection.fetch("SELECT id FROM deliveries ORDER BY id")]
    (name,) = await connection.fetchrow("SELECT name FROM drivers ORDER BY id LIMIT 1")
    store = await connection.fetchval("SELECT store_name FROM deliveries WHERE id = $1", ids[100])
    await connection.close()
    database = Database(settings.database_url)
    await database.open()
    while await write_search_rows(database.pool, later_seconds=0.0):
        pass
    await database.pool.execute("ANALYZE")
    wanted = {
        "words": (DeliveryFilter(words=store, with_drivers=False), ids[200]),
        "a driver": (DeliveryFilter(words=name), None),
    }
    pages = {title: page_of(one, before, 5) for title, (one, before) in wanted.items()}
    statements = [(title, sql, tuple(arguments)) for title, (sql, arguments) in pages.items()]
    async with database.pool.acquire() as reader:
        await reader.execute("SET enable_hashjoin = off; SET enable_nestloop = off; SET enable_bitmapscan = off")
        found = await plans(reader, statements)
        await reader.execute("RESET ALL")
    await database.close()
    assert len(ids) > 3_000
    for plan in found:
        rows = [int(line.split(": ")[1].split()[0].replace(",", "")) for line in plan.lines if " deliveries " in line]
        assert max(rows) < 300, plan.lines
