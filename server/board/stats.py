"""The numbers of the headline that look back over a window, against their targets."""

from datetime import datetime, timedelta
from typing import Final

from server.board.render import Stats
from server.store.connections import Pool
from server.store.reads.window_numbers import read_delivery_numbers, read_offer_numbers

WINDOW_MINUTES: Final = 60
ACCEPTANCE_TARGET: Final = 0.8
RESPONSE_TARGET_MS: Final = 10_000
LATE_TARGET: Final = 0.05
"""Of deliveries that waited over five minutes. The three targets are the product's success metrics."""


async def read_stats(pool: Pool, now: datetime) -> Stats:
    """Of the window that ends now. Raises DatabaseAway."""
    since = now - timedelta(minutes=WINDOW_MINUTES)
    offers = await read_offer_numbers(pool, since, None)
    deliveries = await read_delivery_numbers(pool, since, None)
    acceptance, late = offers.acceptance_rate, deliveries.late_share
    return Stats(
        minutes=WINDOW_MINUTES,
        acceptance=acceptance,
        acceptance_state=_state(acceptance is not None and acceptance > ACCEPTANCE_TARGET, acceptance),
        response_seconds=offers.response_ms_avg / 1000 if offers.response_ms_avg is not None else None,
        response_state=_state((offers.response_ms_avg or 0) < RESPONSE_TARGET_MS, offers.response_ms_avg),
        late=late,
        late_state=_state((late or 0) < LATE_TARGET, late),
    )


def _state(good: bool, value: float | None) -> str:
    if value is None:
        return ""
    return "good" if good else "bad"
