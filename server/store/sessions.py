"""The rows of people's sessions. All of them raise DatabaseAway; of a cookie only the hash is known here."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from msgspec import Struct

from server.store.connections import Pool
from server.store.query import fetch, fetch_as
from server.store.tables import PersonSession
from server.store.typed import NOW, ask
from server.store.users import PersonRole

OPEN: Final = """
INSERT INTO sessions (token_hash, user_id, created_at, seen_at, expires_at, client)
SELECT $1, $2, at, at, at + make_interval(secs => $3), $4 FROM clock_timestamp() at"""
# A session is valid while its user may log in, and unless all of the user's sessions were ended since it was opened.
FIND: Final = """
SELECT s.token_hash, u.id, u.name, u.role, s.seen_at < clock_timestamp() - make_interval(secs => $3),
    extract(epoch FROM least(s.expires_at, s.seen_at + make_interval(secs => $2)))::float8
FROM sessions s JOIN users u ON u.id = s.user_id
WHERE s.token_hash = ANY($1::text[]) AND u.active AND s.expires_at > clock_timestamp()
    AND s.seen_at > clock_timestamp() - make_interval(secs => $2)
    AND (u.sessions_valid_from IS NULL OR s.created_at >= u.sessions_valid_from)"""
_GOOD: Final = """s.expires_at > clock_timestamp() AND s.seen_at > clock_timestamp() - make_interval(secs => $2)
    AND (u.sessions_valid_from IS NULL OR s.created_at >= u.sessions_valid_from)"""
OF_USER: Final = f"""
SELECT s.token_hash, s.created_at, s.seen_at, s.client FROM sessions s JOIN users u ON u.id = s.user_id
WHERE u.id = $1 AND {_GOOD} ORDER BY s.seen_at DESC, s.created_at DESC LIMIT $3"""  # noqa: S608 - constants
CLOSE_ALL: Final = """
WITH ended AS (DELETE FROM sessions WHERE user_id = $1)
UPDATE users SET sessions_valid_from = clock_timestamp() WHERE id = $1"""
SWEEP: Final = """
DELETE FROM sessions
WHERE expires_at < clock_timestamp() OR seen_at < clock_timestamp() - make_interval(secs => $1)"""


class OpenSession(Struct, frozen=True):
    """A valid session in a person's list: when they logged in, when it was used last, and the browser."""

    token_hash: str
    created_at: datetime
    seen_at: datetime
    client: str | None


class GoodSession(Struct, frozen=True):
    """A valid session and its user. `is_use_old`: record its use again; `expires_at` is in Unix seconds, if it is not
    used again.
    """

    token_hash: str
    user_id: str
    name: str
    role: PersonRole
    is_use_old: bool
    expires_at: float


async def find_good_sessions(
    pool: Pool, token_hashes: Iterable[str], idle_seconds: float, recorded_seconds: float
) -> list[GoodSession]:
    """The valid ones of these sessions: used within `idle_seconds`. A use recorded more than `recorded_seconds` ago is
    old.
    """
    return await fetch_as(pool, GoodSession, FIND, list(token_hashes), idle_seconds, recorded_seconds)


async def note_session_use(pool: Pool, token_hash: str) -> None:
    await ask(pool, PersonSession.update({PersonSession.seen_at: NOW}).where(PersonSession.token_hash == token_hash))


async def insert_session(pool: Pool, token_hash: str, user_id: str, seconds: float, client: str | None) -> None:
    """A new session of a user in this browser, valid for `seconds`."""
    await fetch(pool, OPEN, token_hash, user_id, seconds, client)


async def sessions_of_user(pool: Pool, user_id: str, idle_seconds: float, limit: int) -> list[OpenSession]:
    """The valid sessions of a user, those used within `idle_seconds`, the last used first."""
    return await fetch_as(pool, OpenSession, OF_USER, user_id, idle_seconds, limit)


async def delete_session(pool: Pool, token_hash: str) -> None:
    await ask(pool, PersonSession.delete().where(PersonSession.token_hash == token_hash))


async def end_sessions_of(pool: Pool, user_id: str) -> None:
    await fetch(pool, CLOSE_ALL, user_id)


async def sweep_sessions(pool: Pool, idle_seconds: float) -> None:
    """Delete sessions that expired, or were unused for `seconds`."""
    await fetch(pool, SWEEP, idle_seconds)
