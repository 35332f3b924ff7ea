"""Devices that take a driver's connection from each other: how many times they did, how long the next one waits, and
when one asks its driver first.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise, takewhile
from typing import Final

from msgspec import Struct

WINDOW: Final = timedelta(minutes=10)
FREE: Final = 3
"""Take-overs within WINDOW that have no consequence: a driver who changes to another phone needs one."""
FIRST_WAIT: Final = timedelta(seconds=5)
LONGEST_WAIT: Final = timedelta(seconds=60)
SHIFT: Final = timedelta(hours=12)
"""How long the device that connected last is still the one in use, although it is not connected now."""


class Connected(Struct, frozen=True):
    """A socket of the driver was opened by this device; `superseded` if it ended another one that was open."""

    at: datetime
    device: str | None
    superseded: bool


def takeovers(connections: Sequence[Connected]) -> int:
    """How often one device ended the socket of another. `connections` are those within WINDOW, oldest first."""
    pairs = pairwise(connections)
    return sum(after.superseded and after.device != before.device for before, after in pairs)


def two_devices(connections: Sequence[Connected]) -> bool:
    """Whether devices take turns, and ops should know."""
    return takeovers(connections) >= FREE


def may_connect_at(connections: Sequence[Connected], device: str) -> datetime | None:
    """When this device may take over; None for at once.

    1. The device that connected last may always come back. 2. So may every device until there were FREE take-overs.
    3. After each further one the next waits twice as long, from FIRST_WAIT to LONGEST_WAIT since the last connection.
    """
    if not connections or connections[-1].device == device or not two_devices(connections):
        return None
    wait = FIRST_WAIT * (1 << min(takeovers(connections) - FREE, 10))
    return connections[-1].at + min(wait, LONGEST_WAIT)


class LastConnection(Struct, frozen=True):
    """The device that connected last, if that is known, since when without another one, and whether it is connected.
    `name` is None for one that has its token from a back end.
    """

    device: str | None
    name: str | None
    since: datetime
    latest: datetime
    connected: bool


def last_connection(connections: Sequence[Connected], name: str | None, connected: bool) -> LastConnection | None:
    """The device in use. `connections` are the driver's last ones, oldest first, `name` that of the last device;
    `connected`: a socket is open.
    """
    if not connections:
        return None
    last = connections[-1]
    own = takewhile(lambda one: one.device == last.device, reversed(connections))
    return LastConnection(last.device, name, min(one.at for one in own), last.at, connected)


def is_of_another(last: LastConnection | None, device: str, now: datetime) -> bool:
    """Whether another device than this one is in use: it connected last, and is connected, or was within SHIFT. Tokens
    of back ends change on one phone, so the device of one counts only while it is connected.
    """
    if last is None or last.device is None or last.device == device:
        return False
    return last.connected or (last.name is not None and now - last.latest < SHIFT)
