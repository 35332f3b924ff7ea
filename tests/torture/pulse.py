"""Whether the machine paused: nothing that was due meanwhile counts as forgotten."""

import asyncio
import time
from typing import Final

from tests.torture.evidence import PAUSE, Fault

BEAT_SECONDS: Final = 0.1
PAUSE_SECONDS: Final = 1.0


class Pulse:
    """Beats beside the actors. Each beat that came too late is a fault that nobody made, in `pauses`."""

    def __init__(self) -> None:
        self.pauses: list[Fault] = []

    async def beat(self) -> None:
        """Until cancelled."""
        while True:
            before = time.time()
            await asyncio.sleep(BEAT_SECONDS)
            self.felt(before, time.time())

    def felt(self, before: float, after: float) -> None:
        """From one beat to the next."""
        if after - before - BEAT_SECONDS > PAUSE_SECONDS:
            self.pauses.append(Fault(PAUSE, before, after))
