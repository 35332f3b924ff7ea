"""The rows of drivers' devices after sign-in (`sign_in`): their end, their list, their last use, and what is revoked.

All functions raise DatabaseAway. They get only hashes of tokens. Each change is one statement, and triggers write its
event.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from server.dispatch.model import Actor
from server.store.connections import Pool
from server.store.query import fetch, fetch_as, fetch_one_as

UNUSED_DAYS: Final = 30
"""A device that is not used for so many days is signed out, unless its driver has an active assignment."""
RECENT_SECONDS: Final = 30
"""Changes of this age are read again every second: longer than any transaction can take to commit."""

NOW: Final = "date_trunc('milliseconds', clock_timestamp())"
VALID: Final = f"""v.ended_at IS NULL
    AND (v.last_used_at > statement_timestamp() - interval '{UNUSED_DAYS} days' OR d.active_count > 0)"""

END: Final = f"""
WITH ended AS (
    UPDATE driver_devices SET ended_at = {NOW}, ended_by_type = $3, ended_by = $4, end_reason = $5
    WHERE driver_id = $1 AND id = $2 AND ended_at IS NULL
    RETURNING id),
unsubscribed AS (DELETE FROM push_subscriptions WHERE device_id IN (SELECT id FROM ended))
SELECT EXISTS (SELECT FROM ended) FROM driver_devices WHERE driver_id = $1 AND id = $2"""  # noqa: S608
HOLDER: Final = "SELECT id, driver_id FROM driver_devices WHERE family_hash = $1"
PAGE: Final = """
SELECT id, name, created_at, last_used_at, ended_at, ended_by, end_reason FROM driver_devices
WHERE driver_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"""
COUNT: Final = f"""
SELECT d.id, count(*) FROM drivers d JOIN driver_devices v ON v.driver_id = d.id
WHERE d.id = ANY($1::text[]::uuid[]) AND {VALID} GROUP BY d.id"""  # noqa: S608
# In one order and without waiting, because two nodes may save uses of the same device.
SAVE_USES: Final = """
WITH used AS MATERIALIZED (
    SELECT v.id, u.at FROM unnest($1::text[]::uuid[], $2::timestamptz[]) AS u (id, at)
    JOIN driver_devices v ON v.id = u.id AND v.last_used_at < u.at - interval '4 minutes'
    ORDER BY v.id FOR NO KEY UPDATE OF v SKIP LOCKED)
UPDATE driver_devices v SET last_used_at = used.at FROM used WHERE v.id = used.id"""
REVOKED: Final = """
SELECT 'driver', id::text, true FROM drivers WHERE NOT active
UNION ALL
SELECT 'device', id::text, true FROM driver_devices
WHERE ended_at > statement_timestamp() - make_interval(secs => $1)"""
CHANGED: Final = f"""
SELECT 'driver', id::text, NOT active FROM drivers
WHERE active_changed_at > statement_timestamp() - interval '{RECENT_SECONDS} seconds'
UNION ALL
SELECT 'device', id::text, true FROM driver_devices
WHERE ended_at > statement_timestamp() - interval '{RECENT_SECONDS} seconds'"""  # noqa: S608


EndReason = Literal["revoked", "signed_out", "token_reused", "unused", "deactivated"]


class Device(Struct, frozen=True):
    """A phone or browser on which a driver is or was signed in."""

    id: str
    name: str
    created_at: datetime
    last_used_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    end_reason: EndReason | None


class SignedIn(Struct, frozen=True):
    device_id: str
    driver_id: str


class Revoked(Struct, frozen=True):
    """Whether tokens of a driver, or of a device, are revoked."""

    kind: Literal["driver", "device"]
    id: str
    revoked: bool


async def end(pool: Pool, driver_id: str, device_id: str, by: Actor, reason: EndReason) -> bool | None:
    """End a device. False if it ended before, None if the driver has no such device."""
    return await fetch_one_as(pool, bool, END, driver_id, device_id, by.type, by.id, reason)


async def holder(pool: Pool, family_hash: str) -> SignedIn | None:
    """The device that has or had such a token, even if the device has ended."""
    return await fetch_one_as(pool, SignedIn, HOLDER, family_hash)


async def list_devices(pool: Pool, driver_id: str, before: str | None, limit: int) -> list[Device]:
    """At most `limit` devices, newest first, older than the device `before`. Includes ended devices."""
    return await fetch_as(pool, Device, PAGE, driver_id, before, limit)


async def count_devices(pool: Pool, driver_ids: Iterable[str]) -> dict[str, int]:
    """The number of devices on which each of these drivers is signed in, without drivers who have none."""
    return {row[0]: row[1] for row in await fetch(pool, COUNT, list(driver_ids))}


async def save_uses(pool: Pool, uses: Mapping[str, datetime]) -> None:
    """Save when devices were last used, by their ids."""
    if uses:
        await fetch(pool, SAVE_USES, list(uses), list(uses.values()))


async def revoked(pool: Pool, token_seconds: float) -> Collection[Revoked]:
    """All deactivated drivers, and all devices that ended within the last `token_seconds`."""
    return await fetch_as(pool, Revoked, REVOKED, token_seconds)


async def recently_changed(pool: Pool) -> Collection[Revoked]:
    """Drivers who were deactivated or reactivated, and devices that ended, within RECENT_SECONDS."""
    return await fetch_as(pool, Revoked, CHANGED)
