"""Pings as proof of delivery: everything that was written before an answered ping has arrived."""

import math
from collections.abc import Callable
from typing import Final

PING_SECONDS: Final = 20.0
"""How often the server pings a socket, and how long it waits for the answer."""
PINGS: Final = "callboard.pings"
"""The ASGI extension under which a socket's `Pings` are found."""


def nothing() -> None:
    """The ping of a socket that is no more."""


class Pings:
    """When the last answered ping was sent, and when the last frame arrived, by the loop's clock. `ask` sends another
    ping now.
    """

    __slots__ = ("answered_sent_at", "ask", "heard_at")

    def __init__(self, ask: Callable[[], None] = nothing) -> None:
        self.answered_sent_at = -math.inf
        self.heard_at = -math.inf
        self.ask = ask
