"""Where a company works: where a map begins that has nothing to show yet."""

from collections.abc import Sequence
from statistics import median_low
from typing import Final

from server.dispatch.model import ERASED
from server.store.connections import Pool
from server.store.query import fetch

LOOKED_AT: Final = 100
"""Drivers, and as many orders."""

# The drivers who were seen last, and the stores of the newest orders.
POINTS: Final = f"""
(SELECT lat, lon FROM driver_positions WHERE lat IS NOT NULL AND lon IS NOT NULL ORDER BY at DESC LIMIT $1)
UNION ALL
(SELECT pickup_lat, pickup_lon FROM (SELECT * FROM deliveries ORDER BY id DESC LIMIT $1) d
WHERE fingerprint <> '{ERASED}')"""  # noqa: S608 - constants


async def read_middle(pool: Pool) -> tuple[float, float] | None:
    """Where drivers and stores are, None if nothing is known. Raises DatabaseAway."""
    return middle_of([(row[0], row[1]) for row in await fetch(pool, POINTS, LOOKED_AT)])


def middle_of(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """The one of them that is nearest to their middle: a few that are far away do not move it."""
    if not points:
        return None
    lat, lon = (median_low(ends) for ends in zip(*points, strict=True))
    return min(points, key=lambda point: ((point[0] - lat) ** 2 + (point[1] - lon) ** 2, point))
