"""Which positions of a driver are used: a table of what a phone says after what it said before."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from server.dispatch.model import Point
from server.dispatch.positions import Seen, Verdict, at_stop, judge, known

KM = 1 / 111.195
"""One kilometre north, in degrees of latitude."""
NOW = 1_000_000.0
HERE = Seen(52.5, 13.4, NOW)


def seen(km: float = 0, after: float = 1, *, said: float | None = None, accuracy_m: float | None = None) -> Seen:
    """So many km north of HERE, arrived so many seconds after it; `said` is so long after it by the phone."""
    phones = NOW + said if said is not None else None
    return Seen(HERE.lat + km * KM, HERE.lon, NOW + after, accuracy_m=accuracy_m, said=phones)


SAID = replace(HERE, said=NOW)
NOWHERE = Seen(0.0, 0.0, NOW + 1)
FAR = seen(km=40)


@pytest.mark.parametrize(
    ("used", "doubtful", "now", "verdict"),
    [
        (None, None, HERE, "used"),
        (HERE, None, seen(km=1.9), "used"),
        (HERE, None, seen(accuracy_m=1000), "used"),
        (HERE, None, seen(accuracy_m=1000.1), "doubtful"),
        (None, None, seen(accuracy_m=2000), "doubtful"),
        (HERE, None, seen(km=2.1, after=37), "doubtful"),
        (HERE, None, seen(km=2.1, after=38), "used"),
        (HERE, None, seen(km=2.1, after=0), "doubtful"),
        (HERE, None, seen(km=1.9, after=0), "used"),
        (HERE, FAR, seen(km=40.9, after=2), "used"),
        (HERE, FAR, seen(km=41.1, after=2), "doubtful"),
        (HERE, FAR, seen(km=0.1, after=2), "used"),
        (HERE, FAR, seen(km=40.5, after=2, accuracy_m=3000), "used"),
        (HERE, None, seen(accuracy_m=0), "used"),
        (None, None, seen(accuracy_m=-1), "nowhere"),
        (HERE, seen(accuracy_m=-1), seen(accuracy_m=-1), "nowhere"),
        (None, None, NOWHERE, "nowhere"),
        (None, None, Seen(-1e-9, 5e-5, NOW), "nowhere"),
        (None, None, Seen(0.0, 2e-4, NOW), "used"),
        (None, NOWHERE, NOWHERE, "nowhere"),
        (None, None, replace(NOWHERE, lon=0.1), "used"),
        (None, None, replace(NOWHERE, lat=0.1), "used"),
        # A backlog: its own order counts, and its own times.
        (SAID, None, seen(after=1, said=-1), "older"),
        (SAID, None, seen(after=29, said=-600), "older"),
        (SAID, None, seen(after=30, said=-600), "used"),
        (SAID, None, seen(after=1, said=0), "used"),
        (SAID, None, seen(after=1), "used"),
        (HERE, None, seen(after=1, said=-1), "used"),
        (SAID, None, seen(km=3, after=0.01, said=60), "used"),
        (SAID, None, seen(km=3, after=60, said=10), "doubtful"),
        (SAID, None, seen(km=3, after=60, said=-3600), "used"),
        (SAID, None, seen(km=3, after=40, said=-3600), "doubtful"),
    ],
)  # fmt: skip
def test_a_position_is_used_where_a_driver_can_be(
    used: Seen | None, doubtful: Seen | None, now: Seen, verdict: Verdict
) -> None:
    assert judge(now, used, doubtful) == verdict


@pytest.mark.parametrize(("said", "value"), [(None, None), (-1.0, None), (-0.1, None), (0.0, 0.0), (90.0, 90.0)])
def test_a_heading_or_speed_below_zero_is_not_known(said: float | None, value: float | None) -> None:
    assert known(said) == value


@pytest.mark.parametrize(
    ("stops", "there"),
    [
        ([], False),
        ([Point(HERE.lat + 0.19 * KM, HERE.lon)], True),
        ([Point(HERE.lat + 0.21 * KM, HERE.lon)], False),
        ([Point(HERE.lat + KM, HERE.lon), Point(HERE.lat, HERE.lon)], True),
    ],
)
def test_who_is_near_a_stop_is_at_it(stops: Sequence[Point], there: bool) -> None:
    assert at_stop(HERE.lat, HERE.lon, *stops) is there
