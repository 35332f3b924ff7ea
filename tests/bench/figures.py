"""What a benchmark finds, in numbers and in the lines of its table."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field

from tests.bench.machine import Window


class Line(Struct, frozen=True):
    """A line of the table. `wanted` is the promise, `met` whether it was kept; `limit` the text beside it."""

    what: str
    reached: str
    wanted: str = ""
    met: bool | None = None
    limit: str = ""
    window: str = ""
    """The name of the window whose CPU seconds belong to this line."""


class Result(Struct):
    """One benchmark's outcome. `errors` counts what should not have happened, by kind."""

    name: str
    title: str
    setting: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    others_before: float | None = None
    """How many cores everybody else used before it began."""

    def line(self, what: str, reached: str, wanted: str = "", met: bool | None = None, **more: str) -> None:
        """Add a line."""
        self.lines.append(Line(what, reached, wanted, met, **more))


def spread(values: Iterable[float], scale: float = 1000.0) -> dict[str, float | int]:
    """Count, p50, p95, p99 and greatest of these; of seconds, in milliseconds."""
    ordered = sorted(values)
    if not ordered:
        return {"n": 0}
    return {
        "n": len(ordered),
        **{f"p{share}": round(scale * at(ordered, share / 100), 3) for share in (50, 95, 99)},
        "max": round(scale * ordered[-1], 3),
    }


def at(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def percentiles(found: dict[str, Any], *, unit: str = "ms") -> str:
    """`p50 1.2, p95 3.4, p99 5.6 ms`."""
    if not found.get("n"):
        return "nothing"
    return ", ".join(f"{name} {short(found[name])}" for name in ("p50", "p95", "p99")) + f" {unit}"


def short(value: float | None) -> str:
    """Three digits that matter."""
    if value is None:
        return "?"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
