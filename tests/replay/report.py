"""Writes docs/dispatch-quality.md: python -m tests.replay.report FOLDER_OF_DAYS FILE."""

import os
import sys
from pathlib import Path
from statistics import fmean
from time import process_time

from msgspec import Struct
from msgspec.structs import replace

from server.dispatch.policy import DEFAULT_POLICY, Policy
from server.replay.figures import Figures, at_best, figures
from server.replay.replay import Options, Replay
from server.simulate.day import Day, read_day

TEXT = """# How good dispatch is

`callboard replay` plays real days in virtual time: the planner proposes, the rules of the server decide, and simulated
couriers answer, ride, wait at the store and deliver (docs/planner.md). The days are public: {days} of the 240 instances
of the Meal Delivery Routing Problem (repository `grubhub/mdrplib` on GitHub, described there). They are not a part of
this repository. This page is written by `make replay-report DATA=folder-of-days`.

- **score**: minutes from order to door, the mean of all orders; an order that is not delivered counts 90.
- **over 40**: the share of orders that took more than {target:.0f} minutes, or were not delivered.
- **longest**: minutes from order to door. An order whose kitchen takes two hours cannot be faster: **at best** is what
  kitchens, the two stops and the straight way alone take.
- **to pickup**: minutes from ready to pickup. **driven**: minutes for each delivered order.
- **a run**: orders from one time with nothing on board to the next. **offers**: offers made.

A courier carries at most 3 orders. Every offer is accepted at once, except in the last line: there couriers reject
{reject:.0%} of the offers, and answer after {answer[0]:.0f} to {answer[1]:.0f} s.
"""
LONG_MINUTES = 120
WITH_NO = Options(reject=0.2, answer=(2.0, 15.0))


class Way(Struct, frozen=True):
    """A way to dispatch, with its name in the tables."""

    name: str
    options: Options = Options()
    policy: Policy = DEFAULT_POLICY


NO_HOLD = replace(DEFAULT_POLICY, planning=replace(DEFAULT_POLICY.planning, hold=False))
WAYS = (
    Way("nearest free at once", Options(dispatcher="nearest")),
    Way("best total each minute", Options(dispatcher="best_total")),
    Way("planner, no hold", policy=NO_HOLD),
    Way("planner, no add-on", Options(capacity=1)),
    Way("planner"),
    Way("planner, some reject", WITH_NO),
)


def main(folder: Path, file: Path) -> None:
    """Replay every day in every way, and write the page."""
    days = [read_day(path.parent) for path in sorted(folder.glob("*/orders.txt"))]
    if not days:
        raise SystemExit(f"{folder}: no day in it has an orders.txt")
    answer = WITH_NO.answer
    parts = [TEXT.format(days=len(days), target=days[0].target_seconds / 60, reject=WITH_NO.reject, answer=answer)]
    for day in days:
        best = sorted(at_best(day).values())
        long = sum(minutes > LONG_MINUTES for minutes in best)
        parts.append(f"\n## Day {day.name}\n\n{len(day.orders):,} orders, {len(day.couriers)} couriers. ")
        parts.append(
            f"At best: score {fmean(best):.2f}, longest {best[-1]:.0f}, {long} over {LONG_MINUTES} minutes.\n\n"
        )
        parts.append("| | score | delivered | over 40 | longest | to pickup | driven | a run | offers |\n")
        parts.append("|---|---|---|---|---|---|---|---|---|\n")
        for way in WAYS:
            found, seconds = played(day, way)
            parts.append(line(way.name, found))
            print(f"{day.name}: {way.name}: {found.score:.2f}, {seconds:.0f} s of CPU", file=sys.stderr, flush=True)
    file.write_text("".join(parts))


def played(day: Day, way: Way) -> tuple[Figures, float]:
    """The figures of a day, and the seconds of CPU."""
    began = process_time()
    replay = Replay(day, way.policy, way.options)
    replay.run()
    return figures(day, replay), process_time() - began


def line(name: str, found: Figures) -> str:
    """A line of the table."""
    cells = (
        name, f"{found.score:.2f}", f"{found.delivered:,}", f"{found.late_share:.1%}", f"{found.longest:.0f}",
        f"{found.ready_to_pickup:.2f}", f"{found.driven:.1f}", f"{found.orders_a_run:.2f}", f"{found.offers:,}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    os.nice(5)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
