"""Links with which a person sets a new password, once. All functions raise DatabaseAway; only hashes of codes are here.

A person has one link at most: a new one replaces it, and a new password or a deactivation ends it (`store/users.py`).
"""

from datetime import datetime
from typing import Final

from server.store.connections import Queries
from server.store.query import fetch_one, fetch_one_as

MAKE: Final = """
INSERT INTO password_links (user_id, code_hash, created_by, expires_at)
SELECT id, $2, $3, clock_timestamp() + make_interval(hours => $4) FROM users WHERE id = $1 AND active
ON CONFLICT (user_id) DO UPDATE
SET code_hash = EXCLUDED.code_hash, created_by = EXCLUDED.created_by, expires_at = EXCLUDED.expires_at
RETURNING expires_at"""
FIND: Final = """
SELECT u.name FROM password_links l JOIN users u ON u.id = l.user_id
WHERE l.code_hash = $1 AND l.expires_at > clock_timestamp() AND u.active"""
# Of two requests with one code, the second finds no row to delete.
USE: Final = """
WITH used AS (DELETE FROM password_links WHERE code_hash = $1 AND expires_at > clock_timestamp() RETURNING user_id)
UPDATE users SET password_hash = $2, sessions_valid_from = clock_timestamp() FROM used
WHERE users.id = used.user_id AND users.active RETURNING users.id"""


async def make_link(db: Queries, user_id: str, code_hash: str, created_by: str, hours: int) -> datetime | None:
    """A new link of an active user: until when it is valid. None if there is no such user."""
    row = await fetch_one(db, MAKE, user_id, code_hash, created_by, hours)
    return None if row is None else row[0]


async def whose_link(db: Queries, code_hash: str) -> str | None:
    """The name of the person whose link it is; None if it is invalid."""
    return await fetch_one_as(db, str, FIND, code_hash)


async def use_link(db: Queries, code_hash: str, password_hash: str) -> str | None:
    """Set the password, end all sessions of the person, and return their id. None for an invalid link."""
    return await fetch_one_as(db, str, USE, code_hash, password_hash)
