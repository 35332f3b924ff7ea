"""What a socket's pings prove: whatever was written before one that was answered has got there."""

import math
from typing import Final

PING_SECONDS: Final = 20.0
"""How often the server pings a socket, and how long it waits for the answer."""
PINGS: Final = "callboard.pings"
"""The ASGI extension under which a socket's `Pings` are found."""


class Pings:
    """When the last ping went out that was answered, by the loop's clock."""

    __slots__ = ("answered_sent_at",)

    def __init__(self) -> None:
        self.answered_sent_at = -math.inf
