"""The rows of drivers' invitations and devices. All functions raise DatabaseAway. They get only hashes of codes and
tokens.

Each change is one statement, and triggers write its event. The statement locks the driver first, as the write path
does, so that no driver is invited or signed in during their deactivation.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from server.dispatch.model import Actor
from server.store.connections import Pool
from server.store.query import fetch, fetch_one

INVITATION_DAYS: Final = 7
UNUSED_DAYS: Final = 30
"""A device that is not used for so many days is signed out, unless its driver has an active assignment."""
RECENT_SECONDS: Final = 30
"""Changes of this age are read again every second: longer than any transaction can take to commit."""

_NOW: Final = "date_trunc('milliseconds', clock_timestamp())"
_VALID: Final = f"""v.ended_at IS NULL
    AND (v.last_used_at > statement_timestamp() - interval '{UNUSED_DAYS} days' OR d.active_count > 0)"""

INVITE: Final = f"""
WITH driver AS MATERIALIZED (SELECT id FROM drivers WHERE id = $1 AND active FOR SHARE),
invited AS (
    INSERT INTO driver_invitations AS i (driver_id, code_hash, created_by_type, created_by, created_at, expires_at)
    SELECT id, $2, $3, $4, at, at + interval '{INVITATION_DAYS} days' FROM driver, (SELECT {_NOW} AS at) AS now
    ON CONFLICT (driver_id) DO UPDATE SET code_hash = excluded.code_hash, created_by_type = excluded.created_by_type,
        created_by = excluded.created_by, created_at = excluded.created_at, expires_at = excluded.expires_at
    RETURNING expires_at)
SELECT (SELECT expires_at FROM invited) FROM drivers WHERE id = $1"""  # noqa: S608
SIGN_IN: Final = f"""
WITH invited AS MATERIALIZED (
    SELECT d.id FROM driver_invitations i JOIN drivers d ON d.id = i.driver_id
    WHERE i.code_hash = $1 AND i.expires_at > statement_timestamp() AND d.active FOR SHARE OF d),
taken AS (
    DELETE FROM driver_invitations WHERE code_hash = $1 AND driver_id IN (SELECT id FROM invited) RETURNING driver_id),
device AS (
    INSERT INTO driver_devices (id, driver_id, name, family_hash, token_hash, created_at, last_used_at)
    SELECT $2, driver_id, $3, $4, $5, at, at FROM taken, (SELECT {_NOW} AS at) AS now
    RETURNING id, driver_id)
SELECT id, driver_id FROM device"""  # noqa: S608
# The same sign-in again, after its answer was lost: the device still has its first token.
AGAIN: Final = """
SELECT v.id, v.driver_id FROM driver_devices v JOIN drivers d ON d.id = v.driver_id
WHERE v.family_hash = $1 AND v.token_hash = $2 AND v.ended_at IS NULL AND d.active"""
# 1. The newest token is replaced. 2. A token that this same renewal has replaced gets the same answer. 3. Any other
# token was used before, so somebody else has it: the device ends. 4. A device that was unused for too long ends.
RENEW: Final = f"""
WITH device AS MATERIALIZED (
    SELECT v.id, v.driver_id, {_VALID} AS valid, v.token_hash = $2 AS newest, v.token_hash = $3 AS again
    FROM driver_devices v JOIN drivers d ON d.id = v.driver_id
    WHERE v.family_hash = $1 AND v.ended_at IS NULL AND d.active FOR SHARE OF d FOR NO KEY UPDATE OF v),
renewed AS (
    UPDATE driver_devices v SET token_hash = $3, last_used_at = {_NOW}
    FROM device WHERE v.id = device.id AND device.valid AND device.newest),
ended AS (
    UPDATE driver_devices v SET ended_at = {_NOW},
        end_reason = CASE WHEN device.valid THEN 'token_reused' ELSE 'unused' END
    FROM device WHERE v.id = device.id AND NOT (device.valid AND (device.newest OR device.again))
    RETURNING v.id, v.end_reason),
unsubscribed AS (DELETE FROM push_subscriptions WHERE device_id IN (SELECT id FROM ended))
SELECT device.id, device.driver_id, ended.end_reason FROM device LEFT JOIN ended ON ended.id = device.id"""  # noqa: S608
END: Final = f"""
WITH ended AS (
    UPDATE driver_devices SET ended_at = {_NOW}, ended_by_type = $3, ended_by = $4, end_reason = $5
    WHERE driver_id = $1 AND id = $2 AND ended_at IS NULL
    RETURNING id),
unsubscribed AS (DELETE FROM push_subscriptions WHERE device_id IN (SELECT id FROM ended))
SELECT EXISTS (SELECT FROM ended) FROM driver_devices WHERE driver_id = $1 AND id = $2"""  # noqa: S608
HOLDER: Final = "SELECT id, driver_id FROM driver_devices WHERE family_hash = $1 AND token_hash = $2"
PAGE: Final = """
SELECT id, name, created_at, last_used_at, ended_at, ended_by, end_reason FROM driver_devices
WHERE driver_id = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3"""
INVITATION: Final = """
SELECT created_by, created_at, expires_at FROM driver_invitations
WHERE driver_id = $1 AND expires_at > statement_timestamp()"""
COUNT: Final = f"""
SELECT d.id, count(*) FROM drivers d JOIN driver_devices v ON v.driver_id = d.id
WHERE d.id = ANY($1::text[]::uuid[]) AND {_VALID} GROUP BY d.id"""  # noqa: S608
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
    """A device and its driver."""

    device_id: str
    driver_id: str


class Invitation(Struct, frozen=True):
    """An invitation that can still be used."""

    created_by: str | None
    created_at: datetime
    expires_at: datetime


class Revoked(Struct, frozen=True):
    """Whether tokens of a driver, or of a device, are revoked."""

    kind: Literal["driver", "device"]
    id: str
    revoked: bool


async def invite(pool: Pool, driver_id: str, code_hash: str, by: Actor) -> tuple[bool, datetime | None]:
    """Invite a driver; this replaces their previous invitation. Returns whether the driver exists, and when the
    invitation expires: None if the driver is deactivated.
    """
    row = await fetch_one(pool, INVITE, driver_id, code_hash, by.type, by.id)
    return (False, None) if row is None else (True, row[0])


async def sign_in(
    pool: Pool, code_hash: str, device_id: str, name: str, family_hash: str, token_hash: str
) -> SignedIn | None:
    """Delete the invitation with this code and create a device. None if there is no valid invitation with this code."""
    row = await fetch_one(pool, SIGN_IN, code_hash, device_id, name, family_hash, token_hash)
    return None if row is None else SignedIn(*row)


async def signed_in_before(pool: Pool, family_hash: str, token_hash: str) -> SignedIn | None:
    """The device with exactly this token, or None if there is none or it has ended."""
    row = await fetch_one(pool, AGAIN, family_hash, token_hash)
    return None if row is None else SignedIn(*row)


async def renew(
    pool: Pool, family_hash: str, token_hash: str, new_hash: str
) -> tuple[SignedIn, EndReason | None] | None:
    """Replace the token of a device, or end the device and return the reason. None if there is no such device, or it
    ended before.
    """
    row = await fetch_one(pool, RENEW, family_hash, token_hash, new_hash)
    return None if row is None else (SignedIn(row[0], row[1]), row[2])


async def end(pool: Pool, driver_id: str, device_id: str, by: Actor, reason: EndReason) -> bool | None:
    """End a device. False if it ended before, None if the driver has no such device."""
    row = await fetch_one(pool, END, driver_id, device_id, by.type, by.id, reason)
    return None if row is None else bool(row[0])


async def holder(pool: Pool, family_hash: str, token_hash: str) -> SignedIn | None:
    """The device with this token as its newest, even if the device has ended."""
    row = await fetch_one(pool, HOLDER, family_hash, token_hash)
    return None if row is None else SignedIn(*row)


async def list_devices(pool: Pool, driver_id: str, before: str | None, limit: int) -> list[Device]:
    """At most `limit` devices, newest first, older than the device `before`. Includes ended devices."""
    return [Device(*row) for row in await fetch(pool, PAGE, driver_id, before, limit)]


async def open_invitation(pool: Pool, driver_id: str) -> Invitation | None:
    """The driver's invitation, if it can still be used."""
    row = await fetch_one(pool, INVITATION, driver_id)
    return None if row is None else Invitation(*row)


async def count_devices(pool: Pool, driver_ids: Iterable[str]) -> dict[str, int]:
    """The number of devices on which each of these drivers is signed in, without drivers who have none."""
    return {row[0]: row[1] for row in await fetch(pool, COUNT, list(driver_ids))}


async def save_uses(pool: Pool, uses: Mapping[str, datetime]) -> None:
    """Save when devices were last used, by their ids."""
    if uses:
        await fetch(pool, SAVE_USES, list(uses), list(uses.values()))


async def revoked(pool: Pool, token_seconds: float) -> Collection[Revoked]:
    """All deactivated drivers, and all devices that ended within the last `token_seconds`."""
    return [Revoked(*row) for row in await fetch(pool, REVOKED, token_seconds)]


async def recently_changed(pool: Pool) -> Collection[Revoked]:
    """Drivers who were deactivated or reactivated, and devices that ended, within RECENT_SECONDS."""
    return [Revoked(*row) for row in await fetch(pool, CHANGED)]
