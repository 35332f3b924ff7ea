"""The database's time on the loop's clock, never ahead of the truth: a deadline acted on too early is refused."""

import asyncio
import time
from collections import deque
from datetime import UTC, datetime
from typing import Final

from server.contract.commit import Committed

SAMPLES: Final = 16


class DatabaseTime:
    """What time it is at the database, at least.

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
