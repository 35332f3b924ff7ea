"""A short torture: faults of every kind for some seconds, and no promise broken."""

import random
from pathlib import Path

import pytest

from server.paths import ROOT
from tests.conftest import short_folder
from tests.torture.checker import check, table
from tests.torture.faults import FAULTS, storm
from tests.torture.runner import Plan, run
from tests.torture.stage import Stage

SECONDS = 20.0
DRIVERS = 8
NODES = 2


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_every_promise_is_kept_while_everything_fails(tmp_path: Path) -> None:
    """Another seed each time; `make torture ARGS="--seed …"` replays it for longer."""
    seed = random.randrange(1_000_000)
    with short_folder() as folder:
        plan = Plan(seed, SECONDS, DRIVERS, NODES, tuple(FAULTS), tmp_path)
        evidence = await run(plan, Stage(NODES, folder / "stage"), storm)
    verdicts = check(evidence)
    broken = [wrong for verdict in verdicts for wrong in verdict.broken]
    assert not broken, f"seed {seed}\n{table(verdicts)}"
    assert all(verdict.checked for verdict in verdicts), f"seed {seed}\n{table(verdicts)}"
    assert any(fault.name in FAULTS for fault in evidence.faults)


def test_every_fault_is_explained() -> None:
    page = (ROOT / "docs" / "torture.md").read_text()
    assert [line for line in page.splitlines() if line.startswith(tuple(f"| {name} |" for name in FAULTS))] == [
        f"| {fault.name} | {fault.summary} |" for fault in FAULTS.values()
    ]
