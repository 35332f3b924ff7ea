"""How drivers ride and how they behave: numbers only."""

from msgspec import Struct


class Pace(Struct, frozen=True):
    """How fast a driver rides and hands over."""

    metres_per_second: float
    pickup_seconds: float
    dropoff_seconds: float


class Habits(Struct, frozen=True):
    """How a driver behaves; the `_per_hour` are means."""

    reply_seconds: tuple[float, float] = (1.5, 9.0)
    rejects: float = 0.07
    ignores: float = 0.03
    breaks_per_hour: float = 0.0
    break_minutes: tuple[int, int] = (5, 15)
    losses_per_hour: float = 0.0
    loss_seconds: tuple[float, float] = (4.0, 70.0)
    shift_ends_per_hour: float = 0.0
    away_seconds: tuple[float, float] = (120.0, 480.0)
