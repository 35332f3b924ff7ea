"""How soon those for whom nobody was found are searched for again."""

import math
from typing import Final

RETRY_SECONDS: Final = 0.5
"""Where few wait: a position counts within a second."""
LONGEST_SECONDS: Final = 5.0
STEP_SECONDS: Final = 0.1
"""They are searched for together at these times, since a round for one costs as much as one for many."""
MANY: Final = 100
REST: Final = 9
"""Where many wait, so many times as long as it takes to search for all of them passes without searching."""
FORGET: Final = 0.9


class Pace:
    """Searches in vain take a tenth of the time at most, however many wait. Times are the loop's."""

    def __init__(self) -> None:
        self.seconds = RETRY_SECONDS
        self._took = 0.0
        self._searched = 0.0

    def learn(self, took: float, searched: int, waiting: int) -> None:
        """A round took so many seconds for `searched` of all that wait."""
        self._took = FORGET * self._took + took
        self._searched = FORGET * self._searched + searched
        whole = waiting * self._took / self._searched
        self.seconds = min(max(RETRY_SECONDS, REST * whole), LONGEST_SECONDS) if waiting >= MANY else RETRY_SECONDS

    def next(self, now: float) -> float:
        """When to search again for those who were searched for in vain."""
        return math.ceil((now + self.seconds) / STEP_SECONDS) * STEP_SECONDS
