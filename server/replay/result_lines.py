"""What a replay writes: its results and its offers as comma-separated lines; times in minutes of the day."""

from collections.abc import Iterator

from server.replay.replay import Replay


def result_lines(replay: Replay) -> Iterator[str]:
    """What became of each order, of the offer that was accepted. A time that was not reached is empty."""
    yield "order,courier,offered_at,assigned_at,picked_up_at,delivered_at"
    for one in replay.carried.values():
        times = (one.offered_at, one.assigned_at, one.picked_up_at, one.delivered_at)
        yield ",".join([one.order, one.courier, *map(_minutes, times)])


def offer_lines(replay: Replay) -> Iterator[str]:
    """Every offer that was answered."""
    yield "order,courier,offered_at,answered_at,outcome"
    for made in replay.offers:
        yield ",".join([made.order, made.courier, _minutes(made.offered_at), _minutes(made.answered_at), made.outcome])


def _minutes(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds / 60:.7f}"
