"""How far estimates were from the truth in a window: by day and by zone, each as the median and the 90th percentile.

Pure: what was counted in the database comes in, what the screen and its CSV file show comes out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Final

from msgspec import Struct, field

from server.store.reads.insight_estimates import ErrorGroup, Stage
from server.store.reads.insights import start_of

STAGES: Final[tuple[Stage, ...]] = ("assignment", "pickup")


class Errors(Struct):
    """Errors of the estimates of one stage: how many deliveries had which, in seconds; positive ones were late."""

    deliveries: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many deliveries had an estimate."""
        return self.deliveries.total()

    @property
    def median(self) -> int | None:
        """At most so many seconds, early or late, for half of them. None without any."""
        return self._within(0.5)

    @property
    def p90(self) -> int | None:
        """At most so many seconds, early or late, for 90 percent of them. None without any."""
        return self._within(0.9)

    @property
    def later(self) -> float | None:
        """The share that was handed over later than estimated, by more than a quarter of a minute."""
        late = sum(count for seconds, count in self.deliveries.items() if seconds > 0)
        return late / self.count if self.count else None

    def _within(self, share: float) -> int | None:
        so_far = 0
        for seconds in sorted({abs(seconds) for seconds in self.deliveries}):
            so_far += sum(self.deliveries[sign] for sign in {seconds, -seconds})
            if so_far >= share * self.count:
                return seconds
        return None


class BothStages(Struct):
    """The errors of the estimates at the assignment and at the pickup."""

    assignment: Errors = field(default_factory=Errors)
    pickup: Errors = field(default_factory=Errors)

    def add(self, group: ErrorGroup) -> None:
        """Count these in."""
        errors = self.assignment if group.stage == "assignment" else self.pickup
        errors.deliveries[group.seconds] += group.deliveries


class EstimateErrors(Struct, frozen=True):
    """All of a window."""

    total: BothStages
    days: list[tuple[datetime, BothStages]]
    zones: list[tuple[str, BothStages]]


def estimate_errors(since: datetime, until: datetime, zone: tzinfo, groups: Iterable[ErrorGroup]) -> EstimateErrors:
    """Put together what was counted. Every day of the window is there, also those without deliveries."""
    total = BothStages()
    days = {day: BothStages() for day in _days(since, until, zone)}
    zones: dict[str, BothStages] = {}
    for group in groups:
        if group.day is not None:
            total.add(group)
            days.setdefault(start_of(group.day, zone, by_day=True), BothStages()).add(group)
        if group.zone is not None:
            zones.setdefault(group.zone, BothStages()).add(group)
    return EstimateErrors(total, sorted(days.items()), sorted(zones.items()))


def _days(since: datetime, until: datetime, zone: tzinfo) -> Iterator[datetime]:
    at = start_of(since, zone, by_day=True)
    while at <= until:
        yield at
        at = start_of(at + timedelta(hours=25), zone, by_day=True)
