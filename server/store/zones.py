"""Zones: their spellings, their descriptions, and their use. Only the write path writes them."""

from typing import Final

import msgspec
from msgspec import Struct

from server.dispatch.zones import Zone
from server.store.connections import Pool, Record
from server.store.query import fetch, fetch_as, fetch_one

_DESCRIPTION: Final = "spelling, name, shape, helped_by, changed_by, changed_at"
DESCRIBED: Final = f"SELECT {_DESCRIPTION} FROM zones WHERE name IS NOT NULL"  # noqa: S608 - constants
"""Its rows are for `zone_from_row`."""
CHANGED: Final = f"SELECT version, {_DESCRIPTION} FROM zones WHERE version > $1 ORDER BY version"  # noqa: S608 - constants
SPELLINGS: Final = "SELECT key, spelling FROM zones ORDER BY name IS NULL LIMIT $1"
SPELLED: Final = "SELECT key, spelling FROM zones WHERE key = ANY($1::text[])"
CHOICES_LIMIT: Final = 500
IN_USE: Final = """
SELECT z.spelling, (SELECT count(*) FROM drivers d WHERE d.zone = z.spelling AND d.active),
       (SELECT count(*) FROM deliveries o WHERE o.zone = z.spelling AND o.status = 'READY')
FROM (SELECT spelling FROM zones ORDER BY name IS NULL, key LIMIT $1) AS z"""


class ZoneInUse(Struct, frozen=True):
    """A zone by its spelling, with the numbers of its drivers and waiting orders."""

    key: str
    drivers: int
    waiting: int


def zone_from_row(row: Record) -> Zone:
    key, name, shape, helped_by, changed_by, changed_at = row
    plain = msgspec.json.decode(shape) if shape is not None else None
    return Zone(key, name, plain, tuple(helped_by or ()), changed_by, changed_at)


async def changed_zones(pool: Pool, after: int) -> tuple[int, dict[str, Zone | None]]:
    """The changes after this version: the newest version, and the zones by spelling, None if the description was
    deleted. Raises DatabaseAway.
    """
    rows = await fetch(pool, CHANGED, after)
    newest = max((row[0] for row in rows), default=after)
    return newest, {row[1]: zone_from_row(row[1:]) if row[2] is not None else None for row in rows}


async def read_spellings(pool: Pool, limit: int) -> dict[str, str]:
    """Key -> spelling, zones with a description first. Raises DatabaseAway."""
    return dict(await fetch(pool, SPELLINGS, limit))


async def zone_choices(pool: Pool) -> list[str]:
    """The zones to choose from in a list: those with a description and those in use, at most `CHOICES_LIMIT`. Raises
    DatabaseAway.
    """
    return sorted((await read_spellings(pool, CHOICES_LIMIT)).values(), key=str.casefold)


async def read_spelling(pool: Pool, key: str) -> str | None:
    """The spelling of the zone with this key; None if nobody has named it. Raises DatabaseAway."""
    row = await fetch_one(pool, SPELLED, [key])
    return None if row is None else str(row[1])


async def zones_in_use(pool: Pool, limit: int) -> list[ZoneInUse]:
    """All zones that an order, a driver or an admin has named, those with a description first. Raises DatabaseAway."""
    return await fetch_as(pool, ZoneInUse, IN_USE, limit)
