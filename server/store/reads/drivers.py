"""Reading drivers: one, a page of them, and the history of one's availability."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from server.contract.personal import phone_digits
from server.contract.phones import FEWEST_DIGITS, LONGEST_COUNTRY_CODE, digits_in_any_spelling
from server.contract.spellings import spellings
from server.dispatch.model import ActorType, Availability, Driver
from server.dispatch.names import with_ascii_digits
from server.store.connections import Pool
from server.store.query import fetch, fetch_as, fetch_one
from server.store.rows import DRIVER_COLUMNS, driver_from
from server.store.tables import Driver as Row
from server.store.typed import is_there

_COLUMNS: Final = f"""
SELECT {DRIVER_COLUMNS}, p.lat, p.lon, p.at, p.last_call_at"""
_JOIN: Final = " LEFT JOIN driver_positions p ON p.driver_id = d.id"

ONE: Final = f"{_COLUMNS}\nFROM drivers d{_JOIN} WHERE d.id = $1"
PAGE: Final = f"""{_COLUMNS}
FROM drivers d{_JOIN}
WHERE ($1::text IS NULL OR d.availability = $1) AND ($2::text IS NULL OR d.zone = $2)
  AND ($3::uuid IS NULL OR d.id < $3)
ORDER BY d.id DESC LIMIT $4"""
_DIGITS: Final = "regexp_replace(coalesce(d.phone, ''), '[^0-9]', '', 'g')"
_DIALLED: Final = "regexp_replace(replace(coalesce(d.phone, ''), '(0)', ''), '[^0-9]', '', 'g')"
_NATIONAL: Final = f"ltrim({_DIGITS}, '0')"
# As orders find phones, and as `is_same_number` compares them: who is asked for with the code of the country is found
# by the number with a zero.
# Text parameters as they are: `position` knows no wildcards. In any spelling, and small, as people type names.
BY_NAME: Final = f"""{_COLUMNS}
FROM drivers d{_JOIN}
WHERE d.active = $1 AND ($2::text IS NULL OR d.zone = $2)
  AND ($3::text[] IS NULL
    OR EXISTS (
        SELECT FROM unnest($3) one
        WHERE position(lower(one) IN search_words(
            concat_ws(' ', d.name, d.external_ref, d.phone, d.vehicle, d.tags::text))) > 0)
    OR EXISTS (
        SELECT FROM unnest($4::text[]) digits
        WHERE position(digits IN concat_ws(' ', {_DIGITS}, {_DIALLED})) > 0)
    OR ($8::text ~ '^[1-9]' AND {_DIGITS} ~ '^0[1-9]' AND length({_NATIONAL}) >= {FEWEST_DIGITS}
        AND right($8, length({_NATIONAL})) = {_NATIONAL}
        AND length($8) - length({_NATIONAL}) <= {LONGEST_COUNTRY_CODE}))
  AND ($5::float8 IS NULL OR (d.session_id IS NULL
    AND coalesce(greatest(d.socket_lost_at, p.last_call_at, p.at), '-infinity')
        < statement_timestamp() - make_interval(secs => $5)))
  AND ($9::text IS NULL OR NOT EXISTS (SELECT FROM driver_devices v WHERE v.driver_id = d.id)
    AND ($9 = 'never' OR NOT EXISTS (
        SELECT FROM driver_invitations i WHERE i.driver_id = d.id AND i.expires_at > statement_timestamp())))
  AND ($6::uuid IS NULL OR (lower(d.name), d.id) > (SELECT lower(name), id FROM drivers WHERE id = $6))
ORDER BY lower(d.name), d.id LIMIT $7"""  # noqa: S608
OFF_SHIFT: Final = """
SELECT d.id, d.name, d.phone, d.zone FROM drivers d LEFT JOIN driver_positions p ON p.driver_id = d.id
WHERE d.zone = ANY($1::text[]) AND d.active AND d.availability IN ('offline', 'shift_ended')
ORDER BY array_position($1::text[], d.zone), d.phone IS NULL,
    greatest(d.last_availability_change, p.last_call_at) DESC
LIMIT $2"""
NAMESAKES: Final = f"""{_COLUMNS}
FROM drivers d{_JOIN}
WHERE lower(normalize(d.name)) = lower(normalize($1))
ORDER BY d.active DESC, d.id LIMIT 1"""
KNOWN: Final = f"""{_COLUMNS}
FROM drivers d{_JOIN}
WHERE d.external_ref = ANY($1::text[])
  OR regexp_replace(coalesce(d.phone, ''), '[^0-9]', '', 'g') = ANY($2::text[])
  OR lower(normalize(d.name)) IN (SELECT lower(normalize(name)) FROM unnest($3::text[]) AS name)
ORDER BY d.id"""  # noqa: S608
HISTORY: Final = """
SELECT id, from_state, to_state, reason, actor_type, actor_id, "timestamp"
FROM driver_availability_history
WHERE driver_id = $1 AND ($2::timestamptz IS NULL OR ("timestamp", id) < ($2, $3::uuid))
ORDER BY "timestamp" DESC, id DESC LIMIT $4"""


class AvailabilityChange(Struct, frozen=True):
    id: str
    from_state: Availability
    to_state: Availability
    reason: str | None
    actor_type: ActorType
    actor_id: str | None
    timestamp: datetime


class OffShift(Struct, frozen=True):
    """A driver who is off shift, and how to call them."""

    id: str
    name: str
    phone: str | None
    zone: str


async def off_shift_drivers(pool: Pool, zones: Sequence[str], limit: int) -> list[OffShift]:
    """The drivers of these zones who are off shift: zone by zone, first those with a phone, the last seen first. Raises
    DatabaseAway.
    """
    return await fetch_as(pool, OffShift, OFF_SHIFT, list(zones), limit)


async def read_driver(pool: Pool, driver_id: str) -> Driver | None:
    """The driver, with the stored position and last call."""
    row = await fetch_one(pool, ONE, driver_id)
    return driver_from(row) if row is not None else None


async def find_drivers(
    pool: Pool, availability: str | None, zone: str | None, before: str | None, limit: int
) -> list[Driver]:
    """Newest first, of an availability and a zone if given, those registered before the driver `before`."""
    return [driver_from(row) for row in await fetch(pool, PAGE, availability, zone, before, limit)]


class DriverSearch(Struct, frozen=True):
    """Which drivers of a list: `words` is part of the name, the reference, the phone, the vehicle or a tag; with
    `away_seconds` only those who were not seen for so long, or never; `signed_in` only those who never signed in
    with an invitation, or of them only those without an open one.
    """

    active: bool = True
    zone: str | None = None
    words: str | None = None
    away_seconds: float | None = None
    signed_in: Literal["never", "never_invited"] | None = None


async def search_drivers(pool: Pool, wanted: DriverSearch, after: str | None, limit: int) -> list[Driver]:
    """By name, those after the driver `after`. Raises DatabaseAway."""
    words = wanted.words or ""
    of_phone = words if not any(sign.isalpha() for sign in words) else ""
    phones = {digits_of(of_phone), digits_in_any_spelling(with_ascii_digits(of_phone))} - {"", None}
    spelled = spellings(words) if words else None
    args = (
        wanted.active, wanted.zone, spelled, list(phones), wanted.away_seconds, after, limit, phone_digits(of_phone),
        wanted.signed_in,
    )  # fmt: skip
    return [driver_from(row) for row in await fetch(pool, BY_NAME, *args)]


async def namesake(pool: Pool, name: str) -> Driver | None:
    """A driver with this name, in any case. Raises DatabaseAway."""
    row = await fetch_one(pool, NAMESAKES, name)
    return driver_from(row) if row is not None else None


async def find_known(pool: Pool, refs: Sequence[str], phones: Sequence[str], names: Sequence[str]) -> list[Driver]:
    """The drivers with one of these references, phones (their digits) or names. Raises DatabaseAway."""
    return [driver_from(row) for row in await fetch(pool, KNOWN, list(refs), list(phones), list(names))]


def digits_of(phone: str | None) -> str:
    """Its digits, of any script, as 0 to 9."""
    return "".join(sign for sign in with_ascii_digits(phone or "") if sign in "0123456789")


async def driver_exists(pool: Pool, driver_id: str) -> bool:
    return await is_there(pool, Row.id, driver_id)


async def read_history(
    pool: Pool, driver_id: str, before: tuple[datetime, str] | None, limit: int
) -> list[AvailabilityChange] | None:
    """The entries before (timestamp, id), newest first. None if there is no such driver."""
    at, entry_id = before if before is not None else (None, None)
    rows = await fetch(pool, HISTORY, driver_id, at, entry_id, limit)
    if not rows and not await driver_exists(pool, driver_id):
        return None
    return [AvailabilityChange(*row) for row in rows]


NAMES: Final = "SELECT id, name FROM drivers WHERE id = ANY($1::text[]::uuid[])"


async def read_names(pool: Pool, driver_ids: Iterable[str]) -> dict[str, str]:
    """The names of these drivers, by id. Raises DatabaseAway."""
    wanted = sorted(set(driver_ids))
    return {row[0]: row[1] for row in await fetch(pool, NAMES, wanted)} if wanted else {}
