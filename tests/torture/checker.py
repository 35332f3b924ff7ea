"""The checker: every promise against the evidence, and the table of what came of it."""

from collections.abc import Callable, Iterable
from typing import Final

from tests.torture.evidence import Evidence
from tests.torture.promises import (
    answers,
    endings,
    erased,
    exclusive,
    fold,
    notices,
    proofs,
    reports,
    rest,
    risks,
    runs,
    silence,
    streams,
    timely,
    webhooks,
)
from tests.torture.promises.verdict import SHOWN, Verdict

PROMISES: Final[tuple[Callable[[Evidence], Verdict], ...]] = (
    exclusive.one_driver,
    exclusive.one_offer,
    silence.silence,
    answers.answers,
    reports.reports,
    proofs.proofs,
    streams.streams,
    runs.runs,
    notices.notices,
    timely.deadlines,
    timely.escalation,
    risks.risks,
    endings.endings,
    webhooks.webhooks,
    fold.folded,
    rest.rest,
    erased.erased,
)


def check(evidence: Evidence) -> list[Verdict]:
    """A verdict a promise."""
    return [promise(evidence) for promise in PROMISES]


def table(verdicts: Iterable[Verdict]) -> str:
    """For people: a line a promise, and below it what is worth telling and what is broken."""
    lines = [f"{'promise':66}{'checked':>9}{'broken':>8}"]
    for verdict in verdicts:
        lines.append(f"{verdict.promise:66}{verdict.checked:>9,}{len(verdict.broken):>8,}")
        lines += [f"    {line}" for line in verdict.counts]
        lines += [f"  ! {sentence}" for sentence in verdict.broken[:SHOWN]]
        if len(verdict.broken) > SHOWN:
            lines.append(f"  ! and {len(verdict.broken) - SHOWN} more")
    return "\n".join(lines)
