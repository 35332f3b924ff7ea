"""How soon to search again for deliveries without a driver."""

import math
from typing import Final

RETRY_SECONDS: Final = 0.5
"""Where few wait: a position counts within a second."""
LONGEST_SECONDS: Final = 5.0
STEP_SECONDS: Final = 0.1
"""They are searched for together at these times, since a round for one costs as much as one for many."""
MANY: Final = 100
REST: Final = 9
"""After a search for all waiting deliveries, pause at least this many times as long as it took."""
FORGET: Final = 0.9


class Pace:
    """Failed searches take at most a tenth of the time, however many deliveries wait. Times are the event loop's."""

    def __init__(self) -> None:
        self.seconds = RETRY_SECONDS
        self._took = 0.0
        self._searched = 0.0

    def learn(self, took: float, searched: int, waiting: int) -> None:
        """A round took `seconds` for `searched` of all waiting deliveries."""
        self._took = FORGET * self._took + took
        self._searched = FORGET * self._searched + searched
        whole = waiting * self._took / self._searched
        self.seconds = min(max(RETRY_SECONDS, REST * whole), LONGEST_SECONDS) if waiting >= MANY else RETRY_SECONDS

    def next(self, now: float) -> float:
        """When to search again for deliveries whose search failed."""
        return math.ceil((now + self.seconds) / STEP_SECONDS) * STEP_SECONDS
