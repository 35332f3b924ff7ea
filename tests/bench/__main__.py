"""`python -m tests.bench`: run the benchmarks, write the results as JSON, print them as a table."""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import uvloop

from tests.bench import cycle, expiry, idle, machine, matching, planner, positions, storm, webhooks
from tests.bench.figures import Result
from tests.bench.stand import Servers, servers
from tests.bench.table import as_json, as_markdown

Benchmark = Callable[[Servers, bool], Awaitable[Result]]

BENCHMARKS: Final[dict[str, Benchmark]] = {
    "cycle": cycle.run,
    "storm": storm.run,
    "positions": positions.run,
    "idle": idle.run,
    "expiry": expiry.run,
    "matching": matching.run,
    "planner": planner.run,
    "webhooks": webhooks.run,
}
LONGEST_SECONDS: Final = 300.0
"""When a single benchmark is given up."""


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", default="", help=f"some of {', '.join(BENCHMARKS)}, with commas between")
    parser.add_argument("--out", type=Path, help="where to write the JSON, as docs/bench.json")
    parser.add_argument("--quick", action="store_true", help="small numbers: does it run at all?")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds to wait for a quiet machine before each")
    options = parser.parse_args()
    names = [name.strip() for name in options.only.split(",") if name.strip()] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    machine.many_files()
    with servers() as started:
        run = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "quick": options.quick,
            "machine": machine.facts(started.data),
        }
        results, complete = uvloop.run(_run(started, names, options.quick, options.patience))
    run["loadAverage"] = [round(load, 2) for load in os.getloadavg()]
    print(as_markdown(run, results))
    if options.out is not None:
        options.out.write_bytes(as_json(run, results))
    return 0 if complete else 1


async def _run(started: Servers, names: list[str], quick: bool, patience: float) -> tuple[list[Result], bool]:
    results: list[Result] = []
    complete = True
    for name in names:
        others = await machine.quiet(0.0 if quick else patience)
        print(f"{name}: others use {others:.2f} cores", file=sys.stderr, flush=True)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                result = await BENCHMARKS[name](started, quick)
        except Exception as error:
            print(f"{name} failed: {_causes(error)}", file=sys.stderr, flush=True)
            complete = False
            continue
        result.others_before = others
        results.append(result)
        print(f"{name}: done in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        if result.errors:
            print(f"{name}: {dict(result.errors)}", file=sys.stderr, flush=True)
    return results, complete


def _causes(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(sorted({_causes(inner) for inner in error.exceptions}))
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
