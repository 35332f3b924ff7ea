"""`python -m tests.bench.search`: the search of orders in a million deliveries of a thousand stores and 300 drivers.

Makes the deliveries on a separate PostgreSQL, with names, addresses, phones and notes, lets the job write the rows
for searching, and runs the statements of the screen of orders as they are, with their plans. Then once more without
the trigram index.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg

from server.embedded.servers import Embedded
from server.store.engine import Database
from server.store.jobs.search_rows import write_search_rows
from server.store.migrate import migrate
from server.store.reads.deliveries import SCHEDULED
from server.store.reads.delivery_search import DeliveryFilter, page_of
from tests.bench import machine
from tests.bench.plans import plans

ROUNDS: Final = 7
MAKE: Final = (
    """
    INSERT INTO drivers (id, name, zone, capacity, created_at, availability, last_availability_change,
                         expiries_in_a_row, stream_seq, active_count)
    SELECT uuidv7(interval '-400 days'),
           'Driver ' || (ARRAY['Mari', 'Toomas', 'Farid', 'Xenia'])[1 + n % 4] || ' ' || n,
           'default', 1, now() - interval '400 days', 'offline', now(), 0, 0, 0 FROM generate_series(1, 300) AS n""",
    """
    CREATE TEMP TABLE made AS
    SELECT n, at, uuidv7(at - clock_timestamp()) AS id, random() AS r FROM (
        SELECT n, now() - interval '365 days' + n * (interval '364 days' / $1) AS at
        FROM generate_series(1, $1::int) AS n) AS n""",
    """
    INSERT INTO deliveries (id, seller_id, seller_order_id, store_name, zone, status, pickup_lat, pickup_lon,
                            pickup_address, dropoff_lat, dropoff_lon, dropoff_address, dropoff_name, dropoff_phone,
                            notes, prep_seconds, price_cents, driver_pay_cents, currency, fingerprint, dispatch_at,
                            created_at, version, offer_acceptance_count)
    SELECT id, '', 'N-' || n, 'Store ' || n % 1000, (ARRAY['north', 'south', 'centre', 'west'])[1 + n % 4],
           CASE WHEN r < 0.95 THEN 'DELIVERED' ELSE 'CANCELLED' END, 59.4, 24.7, n % 1000 || ' Market Street',
           59.4 + r / 10, 24.7, n % 97 || ' Station Road ' || (r * 100000)::int,
           (ARRAY['Anna', 'Bert', 'Carla', 'Dmitri', 'Elena'])[1 + n % 5] || ' ' || md5(id::text)::varchar(9),
           '+372 5' || lpad((r * 10000000)::int::text, 7, '0'), CASE WHEN n % 10 = 0 THEN 'Ring twice' END,
           600, 2490, 520, 'EUR', md5(id::text), at, at, 5, 1 FROM made ORDER BY n""",
    """
    INSERT INTO events (at, type, actor_type, delivery_id, driver_id, data)
    SELECT at, 'delivery.assigned', 'system', m.id, v.ids[1 + n % 300], '{"source": "accepted"}'
    FROM made m CROSS JOIN (SELECT array_agg(id ORDER BY id) AS ids FROM drivers) v ORDER BY n""",
)
SAMPLE: Final = "SELECT id, seller_order_id, dropoff_phone, dropoff_name FROM deliveries ORDER BY id OFFSET $1 LIMIT 1"


def main() -> int:
    """The command; its exit code: 1 if a search with the index took more than 100 ms."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search", description=__doc__)
    parser.add_argument("--deliveries", type=int, default=1_000_000)
    parser.add_argument("--plans", action="store_true", help="print every plan")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cb-search-") as folder, Embedded(Path(folder)) as embedded:
        return asyncio.run(_run(embedded.database_url, options))


async def _run(url: str, options: argparse.Namespace) -> int:
    await migrate(url)
    connection = await asyncpg.connect(url)
    began = time.monotonic()
    await connection.execute("SET synchronous_commit = off")
    for statement in MAKE:
        await connection.execute(statement, *([options.deliveries] if "$1" in statement else []))
    _say(f"{options.deliveries:,} deliveries made in {time.monotonic() - began:.0f} s")
    database = Database(url)
    await database.open()
    began = time.monotonic()
    while await write_search_rows(database.pool, later_seconds=0.0, at_once=5_000):
        pass
    _say(f"their rows for searching written in {time.monotonic() - began:.0f} s")
    await connection.execute("VACUUM ANALYZE")
    row = await connection.fetchrow(SAMPLE, options.deliveries // 3)
    print(f"Others use {await machine.quiet(0.0):.2f} cores.\n")
    slowest = await _measure(database, list(_searches(row)), options)
    await connection.execute("DROP INDEX delivery_search_words")
    print("\nWithout the trigram index:\n")
    await _measure(database, [one for one in _searches(row) if one[1].words], options)
    await connection.close()
    await database.close()
    return 1 if slowest > 100 else 0


def _searches(row: Any) -> Iterator[tuple[str, DeliveryFilter, str | None]]:
    wanted = DeliveryFilter
    yield "newest", wanted(), None
    yield "a page from the middle", wanted(), row["id"]
    yield "a number", wanted(words=row["seller_order_id"]), None
    yield "a phone, as digits", wanted(words=row["dropoff_phone"].replace(" ", "")[-8:]), None
    yield "a name", wanted(words=row["dropoff_name"]), None
    yield "one word in a fifth of all", wanted(words="elena"), None
    yield "one word in all", wanted(words="station road"), None
    yield "one word in all, delivered in a zone", wanted(words="market", status="DELIVERED", zone="north"), None
    yield "one word in a tenth of all, from the middle", wanted(words="ring twice"), row["id"]
    yield "one driver by name", wanted(words="driver farid 102"), None
    yield "75 drivers by name", wanted(words="farid"), None
    yield "a driver by name, from the middle", wanted(words="driver farid 102"), row["id"]
    yield "one word in none", wanted(words="xyzzy"), None
    yield "a store", wanted(store="store 17"), None
    yield "a store, one word", wanted(store="store 17", words="anna"), None


async def _measure(
    database: Database, searches: list[tuple[str, DeliveryFilter, str | None]], options: argparse.Namespace
) -> float:
    reader = await database.connect_apart()
    await reader.execute("SET statement_timeout = 0")
    print("| search | median ms | slowest ms | rows |\n|---|---|---|---|")
    slowest = 0.0
    statements: list[tuple[str, str, list[object]]] = [
        *((name, *page_of(wanted, before, 51)) for name, wanted, before in searches),
        ("scheduled", SCHEDULED, [20]),
    ]
    for name, sql, args in statements:
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            rows = await reader.fetch(sql, *args)
            times.append(1000 * (time.perf_counter() - began))
        slowest = max(slowest, statistics.median(times))
        print(f"| {name} | {statistics.median(times):.1f} | {max(times):.1f} | {len(rows)} |", flush=True)
    if options.plans:
        for plan in await plans(reader, [(name, sql, tuple(args)) for name, sql, args in statements]):
            print(f"\n{plan.name}\n" + "\n".join(f"    {line}" for line in plan.lines))
    await reader.close()
    return slowest


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
