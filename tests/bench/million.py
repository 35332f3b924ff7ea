"""`python -m tests.bench.million`: a million offers, and how long what people look at takes with them.

Makes months of a city's work (history.py) on a separate PostgreSQL, starts a server on it, asks for numbers, insights
and the board, and runs every statement that reads the large tables once more for its plan.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import asyncpg

from server.embedded.servers import Embedded
from server.settings import Settings
from server.store.engine import Database
from server.store.jobs.insight_days import InsightDays
from server.store.migrate import migrate
from server.web.access.tokens import mint_token
from tests.bench import machine
from tests.bench.history import make_evening, make_history
from tests.bench.plans import Plan, plans
from tests.bench.stand import SECRET, TOKEN_SECONDS, started
from tests.bench.statements import SAMPLE, Sample, reading, writing
from tests.bench.wire import connect_http, request

ROUNDS: Final = 3
KEPT_SECONDS: Final = 10.5
"""For so long the server keeps what it found: each round must ask anew."""
PATHS: Final = (
    *(f"/admin/stats?windowMinutes={minutes}{zone}" for minutes in (60, 1440, 10_080) for zone in ("", "&zone=north")),
    *(f"/insights?window={window}{zone}" for window in ("24h", "7d", "30d", "90d") for zone in ("", "&zone=north")),
    "/insights/time.csv?window=30d&zone=south",
    "/insights/time.csv?window=90d&zone=south",
)
TABLES: Final = (
    "deliveries",
    "driver_offers",
    "assignments",
    "events",
    "driver_messages",
    "driver_availability_history",
)


def main() -> int:
    """The command; its exit code: 1 if a statement reads a large table whole."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.million", description=__doc__)
    parser.add_argument("--offers", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--drivers", type=int, default=2_000)
    parser.add_argument("--waiting", type=int, default=1_000, help="deliveries on the board")
    parser.add_argument("--keep", type=Path, help="a folder whose database is made once, and used again")
    parser.add_argument("--plans", action="store_true", help="print every plan")
    options = parser.parse_args()
    machine.many_files()
    with _folder(options.keep) as folder, Embedded(folder) as embedded:
        return asyncio.run(_run(embedded, options))


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        yield kept
    else:
        with tempfile.TemporaryDirectory(prefix="cb-million-") as folder:
            yield Path(folder)


async def _run(embedded: Embedded, options: argparse.Namespace) -> int:
    settings = Settings(
        database_url=embedded.database_url,
        redis_url=embedded.redis_url,
        secret=SECRET,
        data=embedded.data,
        log_level="warning",
    )
    await _make(settings.database_url, options)
    database = Database(settings.database_url)
    await database.open()
    began = time.monotonic()
    days = await InsightDays(database.pool, lambda: settings.time_zone, lambda: True).count()
    _say(f"{days} days counted for the insights in {time.monotonic() - began:.1f} s, rests included")
    found = await _plans(database)
    await database.close()
    print(await _tables(settings.database_url))
    print(f"\nOthers use {await machine.quiet(0.0):.2f} cores.\n\n| asked for | ms, first | ms, then |\n|---|---|---|")
    for path, times in (await _times(settings)).items():
        print(f"| `{path}` | {times[0]:.0f} | {statistics.median(times[1:] or times):.0f} |")
    print("\n| statement | ms | pages | reads whole |\n|---|---|---|---|")
    for plan in found:
        print(f"| {plan.name} | {plan.ms:.1f} | {plan.pages:,} | {', '.join(plan.whole)} |")
    for plan in found:
        if options.plans or plan.whole:
            print(f"\n{plan.name}\n" + "\n".join(f"    {line}" for line in plan.lines))
    return 1 if any(plan.whole for plan in found) else 0


async def _make(url: str, options: argparse.Namespace) -> None:
    await migrate(url)
    connection = await asyncpg.connect(url)
    try:
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM driver_offers)"):
            began = time.monotonic()
            await connection.execute("SET synchronous_commit = off")
            await make_history(connection, offers=options.offers, days=options.days, drivers=options.drivers, said=_say)
            await connection.execute("VACUUM ANALYZE")
            _say(f"made in {time.monotonic() - began:.0f} s")
        await make_evening(connection, options.waiting)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


async def _plans(database: Database) -> list[Plan]:
    reader, writer = await database.connect_apart(), await database.connect_for_writing()
    try:
        for connection in (reader, writer):
            await connection.execute("SET statement_timeout = 0")
        sample = Sample(await reader.fetchrow(SAMPLE))
        return [*await plans(reader, reading(sample)), *await plans(writer, writing(sample))]
    finally:
        await reader.close()
        await writer.close()


async def _tables(url: str) -> str:
    connection = await asyncpg.connect(url)
    lines = ["| table | rows | size |", "|---|---|---|"]
    for table in TABLES:
        rows, size = await connection.fetchrow(
            f"SELECT count(*), pg_size_pretty(pg_total_relation_size('{table}')) FROM {table}"
        )
        lines.append(f"| {table} | {rows:,} | {size} |")
    await connection.close()
    return "\n".join(lines)


async def _times(settings: Settings) -> dict[str, list[float]]:
    """Milliseconds of each request, round by round, from sending it to having all of the answer."""
    times: dict[str, list[float]] = {}
    async with _server(settings) as port:
        await _ask(port, "/health/ready")
        times["/board"] = [await _ask(port, "/board") for _ in range(ROUNDS)]
        for number in range(ROUNDS):
            for path in PATHS:
                times.setdefault(path, []).append(await _ask(port, path))
            if number < ROUNDS - 1:
                await asyncio.sleep(KEPT_SECONDS)
    return times


@contextlib.asynccontextmanager
async def _server(settings: Settings) -> AsyncIterator[int]:
    names = ("database_url", "redis_url", "secret", "data", "log_level")
    environment = {f"CALLBOARD_{name.upper()}": str(getattr(settings, name)) for name in names}
    command = [sys.executable, "-m", "server.cli", "serve", "--port", "0"]
    async with started(command, settings.data, environment) as (port, _):
        yield port


async def _ask(port: int, path: str) -> float:
    http = await connect_http(port)
    try:
        asked = request("GET", path, mint_token(SECRET, "admin", "bench", TOKEN_SECONDS)[0])
        began = time.perf_counter()
        status, answer = await http.ask(asked)
        took = 1000 * (time.perf_counter() - began)
    finally:
        http.close()
    if status != 200:
        raise RuntimeError(f"{path}: {status} {answer[:200].decode(errors='replace')}")
    return took


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
