"""What the check of a promise comes to."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from tests.bench.figures import at

SHOWN: Final = 20


class Verdict(Struct):
    """One promise: how much was checked, what was found broken, and what else is worth telling (lags, counts)."""

    promise: str
    checked: int = 0
    broken: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)

    def must(self, holds: bool, sentence: str) -> None:
        """Check one thing; the sentence says what is wrong if it does not hold."""
        self.checked += 1
        if not holds:
            self.broken.append(sentence)

    def lag(self, what: str, seconds: Iterable[float]) -> None:
        """Tell how late things were."""
        ordered = sorted(seconds)
        if ordered:
            p99 = f"{1000 * at(ordered, 0.99):,.0f} ms"
            self.counts.append(f"{what}: {len(ordered)}, p99 {p99}, most {1000 * ordered[-1]:,.0f} ms")
