"""The success metrics of a window as numbers: over time, by hour of the day, by zone; answers by their seconds.

Pure: what was counted in the database comes in, what the screen and its CSV files show comes out.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from msgspec import Struct

from server.store.reads.insights import OfferGroup, start_of
from server.texts.speech import later
from server.web.screens.estimate_errors import EstimateErrors

TIMEOUTS: Final = (5, 10, 15, 20, 30, 45, 60, 90, 120)
BIN_SECONDS: Final = 5
REASONS: Final = 50


class Window(Struct, frozen=True):
    """A time that ends now, cut into hours or days of the organisation."""

    key: str
    label: str
    length: timedelta
    by_day: bool

    def start(self, now: datetime, zone: tzinfo) -> datetime:
        """The beginning of the hour or day in which it begins."""
        return start_of(now - self.length, zone, by_day=self.by_day)

    def end(self, now: datetime, zone: tzinfo) -> datetime:
        """Where it ends: now."""
        return now


class PastWindow(Window, frozen=True):
    """Yesterday, or the last whole week from Monday to Sunday, by the organisation's calendar."""

    def start(self, now: datetime, zone: tzinfo) -> datetime:
        """The midnight at which it begins."""
        return datetime.combine(self._last_day(now, zone) - self.length, time(), zone).astimezone(UTC)

    def end(self, now: datetime, zone: tzinfo) -> datetime:
        """The midnight at which it ends."""
        return datetime.combine(self._last_day(now, zone), time(), zone).astimezone(UTC)

    def _last_day(self, now: datetime, zone: tzinfo) -> date:
        today = now.astimezone(zone).date()
        return today - timedelta(days=today.weekday()) if self.length > timedelta(days=1) else today


WINDOWS: Final = {
    window.key: window
    for window in (
        Window("24h", later("24 hours"), timedelta(hours=24), by_day=False),
        PastWindow("yesterday", later("Yesterday"), timedelta(days=1), by_day=False),
        PastWindow("lastweek", later("Last week"), timedelta(days=7), by_day=True),
        Window("7d", later("7 days"), timedelta(days=7), by_day=True),
        Window("30d", later("30 days"), timedelta(days=30), by_day=True),
        Window("90d", later("90 days"), timedelta(days=90), by_day=True),
    )
}
DEFAULT_WINDOW: Final = "24h"


class Outcomes(Struct):
    """What happened in one part of the window. Shares are None where there is nothing to share."""

    accepted: int = 0
    auto_accepted: int = 0
    rejected: int = 0
    expired: int = 0
    answered: int = 0
    ms: float = 0.0
    wanted: int = 0
    late: int = 0

    @property
    def offers(self) -> int:
        """Offers that ended and were not withdrawn."""
        return self.accepted + self.auto_accepted + self.rejected + self.expired

    @property
    def acceptance(self) -> float | None:
        """Real accepts of all of them: an auto-accept is none."""
        return self.accepted / self.offers if self.offers else None

    @property
    def rejected_share(self) -> float | None:
        return self.rejected / self.offers if self.offers else None

    @property
    def response_seconds(self) -> float | None:
        """What a driver's answer took on average."""
        return self.ms / self.answered / 1000 if self.answered else None

    @property
    def late_share(self) -> float | None:
        """Deliveries that waited over five minutes of those that wanted a driver."""
        return self.late / self.wanted if self.wanted else None

    def add(self, group: OfferGroup) -> None:
        self.accepted += group.accepted
        self.auto_accepted += group.auto_accepted
        self.rejected += group.rejected
        self.expired += group.expired
        self.answered += group.answered
        self.ms += group.ms
        self.wanted += group.wanted
        self.late += group.late


class AnswersWithin(Struct, frozen=True):
    """Answers that took from `seconds` up to five more."""

    seconds: int
    accepted: int
    rejected: int


class Timeout(Struct, frozen=True):
    """What an offer that lasts this long would have caught of the answers that came."""

    seconds: int
    accepted: int
    answered: int
    share: float | None
    is_current: bool
    is_known: bool


class Insights(Struct, frozen=True):
    """All of a window."""

    since: datetime
    until: datetime
    by_day: bool
    total: Outcomes
    over_time: list[tuple[datetime, Outcomes]]
    hours: list[tuple[int, Outcomes]]
    zones: list[tuple[str, Outcomes]]
    reasons: list[tuple[str, int]]
    seconds: dict[int, tuple[int, int]]
    estimates: EstimateErrors

    def within(self, share: float) -> int | None:
        """In how many seconds this share of the answers came."""
        answers = sum(sum(pair) for pair in self.seconds.values())
        so_far = 0
        for second in sorted(self.seconds):
            so_far += sum(self.seconds[second])
            if so_far >= share * answers:
                return second + 1
        return None

    def answers(self) -> list[AnswersWithin]:
        """The distribution of the time to answer, up to the slowest answer."""
        last = max(self.seconds, default=-1) // BIN_SECONDS
        bins = [[0, 0] for _ in range(last + 1)]
        for second, pair in self.seconds.items():
            for side in (0, 1):
                bins[second // BIN_SECONDS][side] += pair[side]
        return [AnswersWithin(index * BIN_SECONDS, *pair) for index, pair in enumerate(bins)]

    def timeouts(self, current: int) -> list[Timeout]:
        """Other times to answer, and the one in force: longer ones are not known, since nobody was given them."""
        found = []
        for seconds in sorted({*TIMEOUTS, current}):
            accepted, rejected = (
                sum(pair[side] for second, pair in self.seconds.items() if second < seconds) for side in (0, 1)
            )
            share = (accepted + rejected) / self.total.offers if self.total.offers else None
            found.append(Timeout(seconds, accepted, accepted + rejected, share, seconds == current, seconds <= current))
        return found


def _parts(since: datetime, until: datetime, zone: tzinfo, *, by_day: bool) -> Iterator[datetime]:
    """The beginnings of the hours or days between. No day is longer than 25 hours, none shorter than 23."""
    at = since
    while at <= until:
        yield at
        at = start_of(at + timedelta(hours=25 if by_day else 1), zone, by_day=by_day)


def last_moment(until: datetime, now: datetime) -> datetime:
    """The last moment before the end of a window that has ended; else now."""
    return until - timedelta(microseconds=1) if until < now else now


def insights_of(
    window: Window, now: datetime, zone: tzinfo, groups: Sequence[OfferGroup], estimates: EstimateErrors
) -> Insights:
    """Put together what was counted. Every part of the window is there, also those in which nothing happened."""
    since, until = window.start(now, zone), window.end(now, zone)
    total = Outcomes()
    parts = {at: Outcomes() for at in _parts(since, last_moment(until, now), zone, by_day=window.by_day)}
    hours = [Outcomes() for _ in range(24)]
    zones: dict[str, Outcomes] = {}
    reasons: Counter[str] = Counter()
    seconds: dict[int, tuple[int, int]] = {}
    for group in groups:
        if group.reason is not None:
            reasons[group.reason] += group.rejected
        elif group.second is not None:
            accepted, rejected = seconds.get(group.second, (0, 0))
            seconds[group.second] = (accepted + group.accepted, rejected + group.rejected)
        else:
            if group.hour is not None:
                for tally in (total, _part(parts, group.hour, zone, window), hours[group.hour.astimezone(zone).hour]):
                    tally.add(group)
            if group.zone is not None:
                zones.setdefault(group.zone, Outcomes()).add(group)
    return Insights(
        since,
        until,
        window.by_day,
        total,
        list(parts.items()),
        list(enumerate(hours)),
        sorted(zones.items()),
        sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:REASONS],
        seconds,
        estimates,
    )


def _part(parts: dict[datetime, Outcomes], hour: datetime, zone: tzinfo, window: Window) -> Outcomes:
    """Where an hour belongs; the database's clock may be a moment ahead of ours."""
    return parts.setdefault(start_of(hour, zone, by_day=window.by_day), Outcomes())
