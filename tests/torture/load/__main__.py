"""`python -m tests.torture.load`: many drivers on this machine, a burst of orders, a node's death, hours of churn."""

import argparse
import asyncio
import math
import os
import resource
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import psutil

from server.process.startup import until_signal
from tests.bench import machine
from tests.bench.figures import Result
from tests.bench.table import as_json, as_markdown
from tests.torture.aside import Aside
from tests.torture.load.everybody import Everybody
from tests.torture.load.run import Run, Size
from tests.torture.stage import Stage

DRIVERS: Final = 20_000
CROWD: Final = 7_000
"""Drivers in one process at most: each is an open file of its."""
FILES_BESIDES: Final = 600
"""What a node opens besides its drivers' sockets."""
BYTES_A_DRIVER: Final = 60_000
"""Memory on both sides together, roughly."""


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.load", description=__doc__)
    parser.add_argument(
        "--drivers", type=int, default=DRIVERS, help=f"{DRIVERS:,} unless the machine's limits say less"
    )
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--burst", type=int, default=5000, help="orders at once")
    parser.add_argument("--boards", type=int, default=30, help="boards open meanwhile")
    parser.add_argument("--minutes", type=float, default=0.0, help="of drivers coming and going, to find leaks")
    parser.add_argument("--out", type=Path, help="a folder for the logs and the figures, kept")
    options = parser.parse_args()
    machine.many_files()
    drivers = _fitting(options.drivers, options.nodes)
    size = Size(drivers, options.nodes, options.burst, options.boards, options.minutes)
    run = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": drivers < DRIVERS,
        "machine": machine.facts(Path()),
    }
    results: list[Result] = []
    asyncio.run(until_signal(_run(size, options.out, results.append)))
    if not results:
        return 1
    run["loadAverage"] = [round(load, 2) for load in os.getloadavg()]
    print(as_markdown(run, results))
    if options.out is not None:
        (options.out / "load.json").write_bytes(as_json(run, results))
    return 1 if any(result.errors or any(line.met is False for line in result.lines) for result in results) else 0


def _fitting(wanted: int, nodes: int) -> int:
    """As many drivers as fit, while one node is dead too; what keeps others away is said."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = psutil.virtual_memory().available
    limits = {
        f"a process may open {files:,} files (ulimit -n)": max(1, nodes - 1) * (files - FILES_BESIDES),
        f"{free / 1e9:.1f} GB of memory are free": int(free / BYTES_A_DRIVER),
    }
    fit = min(wanted, *limits.values())
    for why, limit in limits.items():
        if limit < wanted:
            print(f"{wanted:,} drivers do not fit: {why}; so {fit:,}", file=sys.stderr, flush=True)
    return fit


async def _run(size: Size, folder: Path | None, keep: Callable[[Result], None]) -> None:
    others = await machine.quiet(0.0)
    async with AsyncExitStack() as open_:
        stage = await open_.enter_async_context(Stage(size.nodes, folder))
        crowds = [
            await open_.enter_async_context(Aside("tests.torture.load.crowd", stage.folder / f"crowd{number}.log"))
            for number in range(math.ceil(size.drivers / CROWD))
        ]
        result = await Run(stage, Everybody(crowds), size).whole()
    result.others_before = others
    keep(result)


if __name__ == "__main__":
    sys.exit(main())
