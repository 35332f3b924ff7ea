"""People who can log in to the board: how they are made, changed and recognised, and how passwords are kept.

Their rows are written here and by nobody else, but for the end of all their sessions (web/sessions.py). Hashing takes
tens of milliseconds on purpose: always in a thread.
"""

import asyncio
import secrets
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final, Literal, Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Struct

from server.ids import new_id

PersonRole = Literal["viewer", "ops", "admin"]

FIRST_NAME: Final = "admin"
PASSWORD_LENGTHS: Final = range(8, 201)
NAME_LENGTHS: Final = range(1, 101)
HASHES_AT_ONCE: Final = 2
"""Each takes 64 MiB and a core while it lasts."""

INSERT: Final = """
INSERT INTO users (id, name, password_hash, role, active, created_at)
VALUES ($1, $2, $3, $4, true, clock_timestamp()) ON CONFLICT DO NOTHING RETURNING id
"""
INSERT_FIRST: Final = """
INSERT INTO users (id, name, password_hash, role, active, created_at)
SELECT $1::uuid, $2, $3, 'admin', true, clock_timestamp() WHERE NOT EXISTS (SELECT FROM users)
ON CONFLICT DO NOTHING RETURNING id
"""
RENEW: Final = """
UPDATE users SET password_hash = $2, role = $3, active = true, sessions_valid_from = clock_timestamp()
WHERE lower(name) = lower($1) RETURNING id
"""
PAGE: Final = """
SELECT id, name, role, active, created_at, last_login_at FROM users
WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2
"""
FIND: Final = "SELECT id, name, role, active, created_at, last_login_at FROM users WHERE id = $1"
BY_NAME: Final = "SELECT id, password_hash FROM users WHERE lower(name) = lower($1)"
# Whoever is changed has no sessions any more. The last admin stays one: of two admins who demote each other at once
# the second waits for the lock and finds nobody else.
CHANGE: Final = """
WITH admins AS MATERIALIZED (SELECT id FROM users WHERE role = 'admin' AND active ORDER BY id FOR UPDATE)
UPDATE users SET role = coalesce($2, role), active = coalesce($3, active),
    password_hash = coalesce($4, password_hash),
    sessions_valid_from = CASE WHEN coalesce($2, role) <> role OR coalesce($3, active) <> active OR $4 IS NOT NULL
        THEN clock_timestamp() ELSE sessions_valid_from END
WHERE id = $1 AND (NOT (role = 'admin' AND active) OR (coalesce($2, role) = 'admin' AND coalesce($3, active))
    OR (SELECT count(*) FROM admins WHERE id <> $1) > 0)
RETURNING id, name, role, active, created_at, last_login_at
"""
LOGGED_IN: Final = "UPDATE users SET last_login_at = clock_timestamp() WHERE id = $1 AND active RETURNING id"
REHASHED: Final = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2 RETURNING id"

_hasher = PasswordHasher()


class PersonRefused(Exception):
    """This person cannot be made or changed so; the text is one clear line."""


class NameTaken(PersonRefused):
    """There is a user of that name, in whatever case."""


class NameUnfit(PersonRefused):
    """That is no name for a user."""


class PasswordUnfit(PersonRefused):
    """That is no password."""


class LastAdmin(PersonRefused):
    """Nobody would be left who can manage people."""


class Person(Struct, frozen=True):
    """A user, without their password."""

    id: str
    name: str
    role: PersonRole
    active: bool
    created_at: datetime
    last_login_at: datetime | None


class Queries(Protocol):
    """What of a connection or a pool of asyncpg's is used here."""

    async def fetchval(self, query: str, *args: Any, timeout: float | None = None) -> Any: ...

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Any: ...

    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> Any: ...


async def hash_password(password: str) -> str:
    """The password as it is stored: argon2id, with a salt of its own."""
    return await asyncio.to_thread(_hasher.hash, password)


def random_password() -> str:
    """A password that nobody guesses: 120 bits, as words fit to be read out and typed."""
    return "-".join(secrets.token_hex(3) for _ in range(5))


async def add_person(db: Queries, name: str, role: PersonRole, password: str) -> str:
    """Make a person who can log in, and return their id. Raises NameTaken, NameUnfit or PasswordUnfit."""
    name = fit_name(name)
    check_password(password)
    made: str | None = await db.fetchval(INSERT, new_id(), name, await hash_password(password), role)
    if made is None:
        raise NameTaken(f"there is a user called {name} already")
    return made


async def make_first_admin(db: Queries) -> str | None:
    """In a database without people: make `admin` and return the password, which is kept nowhere.

    None when there is somebody already. Of many nodes that start at once, one makes it.
    """
    if await db.fetchval("SELECT EXISTS (SELECT FROM users)"):
        return None
    password = random_password()
    made = await db.fetchval(INSERT_FIRST, new_id(), FIRST_NAME, await hash_password(password))
    return None if made is None else password


async def renew_person(db: Queries, name: str, role: PersonRole) -> str:
    """Make the person, or give them this role and a new password, which is returned; their sessions end."""
    password = random_password()
    hashed = await hash_password(password)
    if await db.fetchval(INSERT, new_id(), name, hashed, role) is None:
        await db.fetchval(RENEW, name, hashed, role)
    return password


async def list_people(db: Queries, after: str | None, limit: int) -> Sequence[Person]:
    """People in the order in which they were made, those after the one with the id `after`."""
    return [Person(*row) for row in await db.fetch(PAGE, after, limit)]


async def find_person(db: Queries, person_id: str) -> Person | None:
    """The person with this id."""
    row = await db.fetchrow(FIND, person_id)
    return None if row is None else Person(*row)


async def change_person(
    db: Queries,
    person_id: str,
    *,
    role: PersonRole | None = None,
    active: bool | None = None,
    password: str | None = None,
) -> Person | None:
    """Change what is given; any real change ends the person's sessions. None if there is no such person.

    Raises LastAdmin or PasswordUnfit.
    """
    hashed = None
    if password is not None:
        check_password(password)
        hashed = await hash_password(password)
    row = await db.fetchrow(CHANGE, person_id, role, active, hashed)
    if row is not None:
        return Person(*row)
    if await find_person(db, person_id) is None:
        return None
    raise LastAdmin("this is the only admin who can log in: make another one first")


class Passwords:
    """Recognises people by name and password, a few at a time."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(HASHES_AT_ONCE)
        self._nobodys = _nobodys()

    async def person_of(self, db: Queries, name: str, password: str) -> str | None:
        """The id of the active person with this name and password, now logged in; None else.

        It takes as long for a name that nobody has.
        """
        row = await db.fetchrow(BY_NAME, name.strip())
        hashed = row[1] if row is not None else self._nobodys
        async with self._room:
            right = await asyncio.to_thread(_verify, hashed, password)
        if row is None or not right:
            return None
        if _hasher.check_needs_rehash(hashed):
            await db.fetchval(REHASHED, row[0], hashed, await hash_password(password))
        logged_in: str | None = await db.fetchval(LOGGED_IN, row[0])
        return logged_in


@cache
def _nobodys() -> str:
    """Of a password that nobody has: compared with where there is no user, so that both take the same time."""
    return _hasher.hash(secrets.token_hex(16))


def _verify(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


def fit_name(name: str) -> str:
    """The name as it is kept. Raises NameUnfit."""
    name = name.strip()
    if len(name) not in NAME_LENGTHS or not name.isprintable():
        raise NameUnfit(f"a user's name has {NAME_LENGTHS[0]} to {NAME_LENGTHS[-1]} printable characters")
    return name


def check_password(password: str) -> None:
    """Raises PasswordUnfit."""
    if len(password) not in PASSWORD_LENGTHS:
        raise PasswordUnfit(f"a password has {PASSWORD_LENGTHS[0]} to {PASSWORD_LENGTHS[-1]} characters")
