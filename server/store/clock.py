"""The database's clock as this process knows it: the one clock that deadlines and positions are measured by.

`DatabaseClock` is the best guess, half a round trip off at most: for what is shown, and for when something was heard.
`DatabaseTime` is never ahead of the truth: for acting at a deadline, which the rules refuse before its time.
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
"""How many of the database's last words count."""


def to_millisecond(at: datetime) -> datetime:
    """The instant without what is finer than a millisecond."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


async def time_at(connection: Queries) -> datetime:
    """The database's time, asked now. Raises what the database raises."""
    now: datetime = await connection.fetchval("SELECT clock_timestamp()", timeout=TIMEOUT_SECONDS)
    return now


class DatabaseClock:
    """This machine's clock, corrected by what the database last said; until then the machine's alone."""

    def __init__(self) -> None:
        self._ahead_seconds = 0.0

    def learn(self, said: datetime, asked: float, answered: float) -> None:
        """The database said `said` somewhere between `asked` and `answered` (Unix seconds of this machine)."""
        self._ahead_seconds = said.timestamp() - (asked + answered) / 2

    def seconds(self) -> float:
        """Unix seconds by the database's clock."""
        return time.time() + self._ahead_seconds

    def now(self) -> datetime:
        """The database's time now, in UTC, to the millisecond."""
        return to_millisecond(datetime.fromtimestamp(self.seconds(), UTC))


class DatabaseTime:
    """What time it is at the database, at least, on the loop's clock.

    Whatever the database says was true before we heard it, so each word gives a lower bound; the best of the last
    few holds, and a clock that was set back there is followed once its older words are forgotten.
    """

    def __init__(self) -> None:
        self._ahead: deque[float] = deque(maxlen=SAMPLES)
        self._best: float | None = None

    def heard(self, said: datetime) -> None:
        """The database said `said` a moment ago."""
        self._ahead.append(said.timestamp() - asyncio.get_running_loop().time())
        self._best = max(self._ahead)

    def committed(self, commit: Committed) -> None:
        """A commit of this node brings the database's time."""
        self.heard(commit.at)

    def now(self) -> datetime:
        """The database's time, in UTC; this machine's until the database has said anything."""
        if self._best is None:
            return datetime.fromtimestamp(time.time(), UTC)
        return datetime.fromtimestamp(asyncio.get_running_loop().time() + self._best, UTC)

    def on_loop(self, at: datetime) -> float:
        """When it will be `at` there, by the loop's clock here."""
        ahead = self._best if self._best is not None else time.time() - asyncio.get_running_loop().time()
        return at.timestamp() - ahead
