"""`callboard replay`: play a day, write the tables, and print progress and figures."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from server.dispatch.policy import Policy, contradictions
from server.replay.figures import figures
from server.replay.replay import Options, Replay
from server.replay.result_lines import offer_lines, result_lines
from server.simulate.day import Day


def read_policy(path: Path) -> Policy:
    """A policy document (JSON). Raises ValueError, with what is wrong."""
    try:
        policy = msgspec.json.decode(path.read_bytes(), type=Policy)
    except (OSError, msgspec.MsgspecError) as error:
        raise ValueError(f"{path}: {error}") from None
    for field, message in contradictions(policy):
        raise ValueError(f"{path}: {field} {message}")
    return policy


def replay_day(
    day: Day, policy: Policy, options: Options, out: Path, offers: Path | None, say: Callable[[str], None]
) -> Iterator[str]:
    """Play the day, write `out` and `offers`, and return lines with the figures. `say` gets a line once an hour."""
    replay = Replay(day, policy, options)

    def progress(now: float, placed: int, delivered: int) -> None:
        say(f"{int(now // 3600):02}:{int(now // 60 % 60):02}  {placed:,} orders placed, {delivered:,} delivered")

    replay.run(progress)
    _write(out, result_lines(replay))
    if offers is not None:
        _write(offers, offer_lines(replay))
    try:
        found = figures(day, replay)
    except ValueError as nothing:
        yield f"{nothing}"
        return
    yield f"{found.delivered:,} of {found.orders:,} orders delivered, {found.offers:,} offers made"
    yield f"{found.score:.2f} min from order to door on average, {found.longest:.1f} min at most"
    yield f"{found.late_share:.1%} took longer than {day.target_seconds / 60:.0f} min or were not delivered"
    yield f"{found.ready_to_pickup:.2f} min from ready to pickup, {found.driven:.1f} min driven for each order"
    yield f"{found.orders_a_run:.2f} orders a run"


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
