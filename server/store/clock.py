"""The database's clock as this process knows it: the one clock that deadlines and positions are measured by."""

import time
from datetime import UTC, datetime
from typing import Final

from server.store.connections import Queries

TIMEOUT_SECONDS: Final = 5.0


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
