"""How drivers ride, and how drivers and shops behave: numbers only."""

from msgspec import Struct


class Pace(Struct, frozen=True):
    """How fast a driver rides and hands over."""

    metres_per_second: float
    pickup_seconds: float
    dropoff_seconds: float


class Habits(Struct, frozen=True):
    """How a driver behaves; those per hour are means, the others shares of offers, jobs, reports or PINs."""

    reply_seconds: tuple[float, float] = (1.5, 9.0)
    rejects: float = 0.07
    ignores: float = 0.03
    releases: float = 0.0
    fails: float = 0.0
    brings_back: float = 0.7
    """Of what fails."""
    mistypes: float = 0.0
    reports_late: float = 0.0
    late_seconds: tuple[float, float] = (15.0, 60.0)
    reports_by_http: float = 0.0
    breaks_per_hour: float = 0.0
    break_minutes: tuple[int, int] = (5, 15)
    losses_per_hour: float = 0.0
    loss_seconds: tuple[float, float] = (4.0, 70.0)
    shift_ends_per_hour: float = 0.0
    away_seconds: tuple[float, float] = (120.0, 480.0)


class ShopHabits(Struct, frozen=True):
    """How a shop's kitchen keeps its word: shares of orders that take time to prepare."""

    ready_early: float = 0.0
    delays: float = 0.0
    delay_minutes: tuple[int, int] = (1, 3)
