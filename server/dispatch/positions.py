"""Which of a driver's positions are used: those in their own order, from where the driver can be.

A phone's clock may be wrong and a backlog may come late, so that how fresh a position is goes by its arrival; the
phone's times only say which of two is the newer one, and how long the way between them took.
"""

from typing import Final, Literal

from msgspec import Struct

from server.dispatch.model import Point
from server.dispatch.travel import haversine_km, is_nowhere

WORST_ACCURACY_M: Final = 1000.0
JUMP_KM: Final = 2.0
FASTEST_KMH: Final = 200.0
AGREE_KM: Final = 1.0
BACKLOG_SECONDS: Final = 30.0
"""For so long after a position older ones are a backlog. A phone that sends only older ones has set its clock back."""
MOVED_KM: Final = 0.1
"""A driver who stays nearer than this to where they were has not moved."""
AT_STOP_KM: Final = 0.2
"""Nearer than this to a pickup or a drop-off a driver is at the stop."""

Verdict = Literal["used", "doubtful", "older", "nowhere"]


class Seen(Struct, frozen=True):
    """One position: degrees, Unix seconds of its arrival by the database's clock, degrees from north, km/h, metres.

    `said` is the phone's own time of it in Unix seconds, if it sent one.
    """

    lat: float
    lon: float
    at: float
    heading: float | None = None
    speed_kmh: float | None = None
    accuracy_m: float | None = None
    said: float | None = None


def judge(seen: Seen, used: Seen | None, doubtful: Seen | None) -> Verdict:
    """Whether a position that has just arrived is used, after the one `used` last and one that was `doubtful` since.

    1. (0, 0) and a negative accuracy are never used: phones send them when they do not know their position.
    2. One that is older by the phone's own times than the one in use is part of a backlog.
    3. Too inaccurate, or a jump that no driver makes: doubtful, until a second one agrees with it.
    """
    if is_nowhere(seen.lat, seen.lon) or (seen.accuracy_m is not None and seen.accuracy_m < 0):
        return "nowhere"
    if used is not None and _said_before(seen, used) and seen.at - used.at < BACKLOG_SECONDS:
        return "older"
    if not _inaccurate(seen) and (used is None or not _jumped(used, seen)):
        return "used"
    if doubtful is not None and haversine_km(doubtful.lat, doubtful.lon, seen.lat, seen.lon) <= AGREE_KM:
        return "used"
    return "doubtful"


def known(value: float | None) -> float | None:
    """A heading or a speed as phones say it: iOS says -1 for one that it does not know."""
    return value if value is not None and value >= 0 else None


def _said_before(seen: Seen, used: Seen) -> bool:
    return seen.said is not None and used.said is not None and seen.said < used.said


def _inaccurate(seen: Seen) -> bool:
    return seen.accuracy_m is not None and seen.accuracy_m > WORST_ACCURACY_M


def _jumped(used: Seen, seen: Seen) -> bool:
    km = haversine_km(used.lat, used.lon, seen.lat, seen.lon)
    if km <= JUMP_KM:
        return False
    seconds = seen.at - used.at
    if seen.said is not None and used.said is not None and seen.said >= used.said:
        seconds = seen.said - used.said
    return km * 3600 > FASTEST_KMH * seconds


def at_stop(lat: float, lon: float, *stops: Point) -> bool:
    """Whether this is at one of the stops."""
    return any(haversine_km(lat, lon, stop.lat, stop.lon) < AT_STOP_KM for stop in stops)
