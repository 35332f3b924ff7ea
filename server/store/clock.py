"""The database's clock, as estimated by this process. Deadlines and positions use this clock only.

`DatabaseClock` is the best estimate, at most half a round trip off: for display, and for the time of messages.
`DatabaseTime` is never ahead of the real time: for acting at a deadline, since the rules refuse a command before it.
"""

import asyncio
import time
from collections import deque
from datetime import UTC, datetime
from typing import Final

from server.contract.commit import Committed
from server.store.connections import Queries

TIMEOUT_SECONDS: Final = 5.0
SAMPLES: Final = 16
"""How many of the latest times from the database count."""


def to_millisecond(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


async def time_at(connection: Queries) -> datetime:
    """The database's current time. Raises what the database raises."""
    now: datetime = await connection.fetchval("SELECT clock_timestamp()", timeout=TIMEOUT_SECONDS)
    return now


class DatabaseClock:
    """This machine's clock, corrected by the last time from the database; uncorrected until there is one."""

    def __init__(self) -> None:
        self._ahead_seconds = 0.0

    def learn(self, said: datetime, asked_at: float, answered_at: float) -> None:
        """The database returned the time `said` between `asked_at` and `answered_at` (Unix seconds of this machine)."""
        self._ahead_seconds = said.timestamp() - (asked_at + answered_at) / 2

    def seconds(self) -> float:
        """Unix seconds by the database's clock."""
        return time.time() + self._ahead_seconds

    def now(self) -> datetime:
        """The database's time now, in UTC, to the millisecond."""
        return to_millisecond(datetime.fromtimestamp(self.seconds(), UTC))


class DatabaseTime:
    """A lower bound of the database's time, on the event loop's clock.

    A time from the database was true before it arrived, so each gives a lower bound. The best of the latest few counts.
    If the database's clock was set back, the estimate follows when the older times are forgotten.
    """

    def __init__(self) -> None:
        self._ahead: deque[float] = deque(maxlen=SAMPLES)
        self._best: float | None = None

    def heard(self, said: datetime) -> None:
        """The database returned the time `said` a moment ago."""
        self._ahead.append(said.timestamp() - asyncio.get_running_loop().time())
        self._best = max(self._ahead)

    def committed(self, commit: Committed) -> None:
        """A commit of this node has the database's time."""
        self.heard(commit.at)

    def now(self) -> datetime:
        """The database's time in UTC; this machine's time until there is one."""
        if self._best is None:
            return datetime.fromtimestamp(time.time(), UTC)
        return datetime.fromtimestamp(asyncio.get_running_loop().time() + self._best, UTC)

    def on_loop(self, at: datetime) -> float:
        """When it will be `at` there, by the loop's clock here."""
        ahead = self._best if self._best is not None else time.time() - asyncio.get_running_loop().time()
        return at.timestamp() - ahead
