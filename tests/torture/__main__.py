"""`python -m tests.torture`: one run of trouble, then the table of what was promised and what was found."""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from tests.bench import machine
from tests.torture.checker import check, table
from tests.torture.evidence import Evidence
from tests.torture.faults import FAULTS, storm
from tests.torture.promises.verdict import Verdict
from tests.torture.runner import Plan, run
from tests.torture.stage import Stage

MINUTES: Final = 5.0


def main() -> int:
    """The command; its exit code."""
    options = _options()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    names = tuple(FAULTS) if options.faults == "all" else _names(options.faults)
    machine.many_files()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left running
    folder = options.out or Path(tempfile.mkdtemp(prefix="cb-torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(seed, 60 * options.minutes, options.drivers, options.nodes, names, folder)
    size = f"{options.minutes:g} minutes, {options.nodes} nodes, {options.drivers} drivers"
    print(f"seed {seed}: {size}; faults: {', '.join(names) or 'none'}", file=sys.stderr)
    print(f"what everybody sees: {folder}", file=sys.stderr, flush=True)
    began = time.monotonic()
    evidence = asyncio.run(run(plan, Stage(options.nodes, folder / "stage"), storm))
    verdicts = check(evidence)
    broken = sum(len(verdict.broken) for verdict in verdicts)
    print(table(verdicts))
    print(_faults(evidence))
    result = f"{broken} broken" if broken else "every promise was kept"
    print(f"seed {seed}, {time.monotonic() - began:.0f} s: {result}")
    if broken:
        (folder / "broken.json").write_bytes(_as_json(seed, evidence, verdicts))
        again = f"--seed {seed} --minutes {options.minutes:g} --drivers {options.drivers} --nodes {options.nodes}"
        print(f'again: make torture ARGS="{again} --faults {options.faults}"; what everybody saw: {folder}')
    elif options.out is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long there is trouble")
    parser.add_argument("--seed", type=int, help="replays the choices of an earlier run; by default a new one")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--drivers", type=int, default=20)
    parser.add_argument(
        "--faults", default="all", help=f"some of {', '.join(FAULTS)}, with commas between; all; or none"
    )
    parser.add_argument("--out", type=Path, help="a folder for the histories, kept whatever is found")
    options = parser.parse_args()
    unknown = [name for name in _names(options.faults) if name not in FAULTS and name != "all"]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}")
    if options.out is not None and options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty")
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip() not in ("", "none"))


def _faults(evidence: Evidence) -> str:
    counts: dict[str, list[float]] = {}
    for fault in evidence.faults:
        counts.setdefault(fault.name, []).append(fault.healed - fault.began)
    lines = (f"{name} {len(lasted)}x ({sum(lasted):.0f} s)" for name, lasted in sorted(counts.items()))
    return f"faults: {', '.join(lines) or 'none'}"


def _as_json(seed: int, evidence: Evidence, verdicts: list[Verdict]) -> bytes:
    found = {"seed": seed, "faults": evidence.faults, "verdicts": verdicts}
    return msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"


if __name__ == "__main__":
    sys.exit(main())
