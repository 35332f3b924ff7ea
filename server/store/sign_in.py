"""The rows by which a driver signs in: a code is checked against its invitation and exchanged for a device, and the
device's token is renewed. All functions raise DatabaseAway. They get only hashes of codes and tokens.

Each change is one statement, and triggers write its event. The statement locks the driver first, as the write path
does, so that no driver is invited or signed in during their deactivation.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from server.dispatch.model import Actor
from server.store.connections import Pool
from server.store.devices import NOW, VALID, EndReason, SignedIn
from server.store.query import fetch_as, fetch_one, fetch_one_as

INVITATION_DAYS: Final = 7

# The row of a newer invitation is looked for before the INSERT too: one that a sign-in deletes just now is no conflict.
INVITE: Final = f"""
WITH driver AS MATERIALIZED (
    SELECT id FROM drivers WHERE id = $1 AND active
        AND ($5::timestamptz IS NULL OR active_changed_at IS NULL OR active_changed_at < $5) FOR SHARE),
invited AS (
    INSERT INTO driver_invitations AS i (driver_id, code_hash, created_by_type, created_by, created_at, expires_at)
    SELECT id, $2, $3, $4, at, at + interval '{INVITATION_DAYS} days' FROM driver, (SELECT {NOW} AS at) AS now
    WHERE $5::timestamptz IS NULL
        OR NOT EXISTS (SELECT FROM driver_devices v WHERE v.driver_id = $1 AND v.created_at >= $5)
            AND NOT EXISTS (SELECT FROM driver_invitations n WHERE n.driver_id = $1 AND n.created_at >= $5)
    ON CONFLICT (driver_id) DO UPDATE SET code_hash = excluded.code_hash, created_by_type = excluded.created_by_type,
        created_by = excluded.created_by, created_at = excluded.created_at, expires_at = excluded.expires_at
    WHERE $5::timestamptz IS NULL OR i.created_at < $5
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
    SELECT $2, driver_id, $3, $4, $5, at, at FROM taken, (SELECT {NOW} AS at) AS now
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
    SELECT v.id, v.driver_id, {VALID} AS valid, v.token_hash = $2 AS newest, v.token_hash = $3 AS again
    FROM driver_devices v JOIN drivers d ON d.id = v.driver_id
    WHERE v.family_hash = $1 AND v.ended_at IS NULL AND d.active FOR SHARE OF d FOR NO KEY UPDATE OF v),
renewed AS (
    UPDATE driver_devices v SET token_hash = $3, last_used_at = {NOW}
    FROM device WHERE v.id = device.id AND device.valid AND device.newest),
ended AS (
    UPDATE driver_devices v SET ended_at = {NOW},
        end_reason = CASE WHEN device.valid THEN 'token_reused' ELSE 'unused' END
    FROM device WHERE v.id = device.id AND NOT (device.valid AND (device.newest OR device.again))
    RETURNING v.id, v.end_reason),
unsubscribed AS (DELETE FROM push_subscriptions WHERE device_id IN (SELECT id FROM ended))
SELECT device.id, device.driver_id, ended.end_reason FROM device LEFT JOIN ended ON ended.id = device.id"""  # noqa: S608
INVITATION: Final = """
SELECT created_by, created_at, expires_at FROM driver_invitations
WHERE driver_id = $1 AND expires_at > statement_timestamp()"""

ACCESS: Final = """
SELECT d.id, d.name, d.phone, d.active, d.active_changed_at,
    (SELECT max(v.created_at) FROM driver_devices v WHERE v.driver_id = d.id),
    i.code_hash, i.created_by, i.created_at, i.expires_at, date_trunc('milliseconds', statement_timestamp())
FROM drivers d LEFT JOIN driver_invitations i ON i.driver_id = d.id AND i.expires_at > statement_timestamp()
WHERE d.id = ANY($1::text[]::uuid[]) ORDER BY lower(d.name), d.id"""


class Access(Struct, frozen=True):
    """How a driver can sign in: when they last did so with an invitation, and the invitation that can still be used.
    `read_at` is when this was so.
    """

    driver_id: str
    name: str
    phone: str | None
    active: bool
    active_changed_at: datetime | None
    signed_in_at: datetime | None
    code_hash: str | None
    invited_by: str | None
    invited_at: datetime | None
    expires_at: datetime | None
    read_at: datetime


class Invitation(Struct, frozen=True):
    """An invitation that can still be used."""

    created_by: str | None
    created_at: datetime
    expires_at: datetime


async def invite(
    pool: Pool, driver_id: str, code_hash: str, by: Actor, unless_after: datetime | None = None
) -> tuple[bool, datetime | None]:
    """Invite a driver; this replaces their previous invitation. Returns whether the driver exists, and when the
    invitation expires: None if the driver is deactivated, or if since `unless_after`, in whole milliseconds, they were
    invited, signed in, deactivated or reactivated. So a code that was issued after `unless_after`, and was used,
    replaced or revoked, is not issued again.
    """
    row = await fetch_one(pool, INVITE, driver_id, code_hash, by.type, by.id, unless_after)
    return (False, None) if row is None else (True, row[0])


async def sign_in(
    pool: Pool, code_hash: str, device_id: str, name: str, family_hash: str, token_hash: str
) -> SignedIn | None:
    """Delete the invitation with this code and create a device. None if there is no valid invitation with this code."""
    return await fetch_one_as(pool, SignedIn, SIGN_IN, code_hash, device_id, name, family_hash, token_hash)


async def signed_in_before(pool: Pool, family_hash: str, token_hash: str) -> SignedIn | None:
    """The device with exactly this token, or None if there is none or it has ended."""
    return await fetch_one_as(pool, SignedIn, AGAIN, family_hash, token_hash)


async def renew(
    pool: Pool, family_hash: str, token_hash: str, new_hash: str
) -> tuple[SignedIn, EndReason | None] | None:
    """Replace the token of a device, or end the device and return the reason. None if there is no such device, or it
    ended before.
    """
    row = await fetch_one(pool, RENEW, family_hash, token_hash, new_hash)
    return None if row is None else (SignedIn(row[0], row[1]), row[2])


async def open_invitation(pool: Pool, driver_id: str) -> Invitation | None:
    """The driver's invitation, if it can still be used."""
    return await fetch_one_as(pool, Invitation, INVITATION, driver_id)


async def read_access(pool: Pool, driver_ids: Sequence[str]) -> list[Access]:
    """How these drivers can sign in, by name."""
    return await fetch_as(pool, Access, ACCESS, list(driver_ids))
