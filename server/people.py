"""People who can log in to the board: how they are made, and how their passwords are kept.

Their rows are written here and by nobody else. Hashing takes tens of milliseconds on purpose: always in a thread.
"""

import asyncio
import secrets
from typing import Any, Final, Literal, Protocol

from argon2 import PasswordHasher

from server.ids import new_id

PersonRole = Literal["viewer", "ops", "admin"]

FIRST_NAME: Final = "admin"
PASSWORD_LENGTHS: Final = range(8, 201)
NAME_LENGTHS: Final = range(1, 101)

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

_hasher = PasswordHasher()


class PersonRefused(Exception):
    """This person cannot be made; the text is one clear line."""


class Queries(Protocol):
    """What of a connection or a pool of asyncpg's is used here."""

    async def fetchval(self, query: str, *args: Any, timeout: float | None = None) -> Any: ...


async def hash_password(password: str) -> str:
    """The password as it is stored: argon2id, with a salt of its own."""
    return await asyncio.to_thread(_hasher.hash, password)


def random_password() -> str:
    """A password that nobody guesses: 120 bits, as words fit to be read out and typed."""
    return "-".join(secrets.token_hex(3) for _ in range(5))


async def add_person(db: Queries, name: str, role: PersonRole, password: str) -> None:
    """Make a person who can log in. Raises PersonRefused: the name is taken, or one of the two is not fit."""
    name = _fit(name, password)
    if await db.fetchval(INSERT, new_id(), name, await hash_password(password), role) is None:
        raise PersonRefused(f"there is a user called {name} already")


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


def _fit(name: str, password: str) -> str:
    name = name.strip()
    if len(name) not in NAME_LENGTHS or not name.isprintable():
        raise PersonRefused(f"a user's name has {NAME_LENGTHS[0]} to {NAME_LENGTHS[-1]} printable characters")
    if len(password) not in PASSWORD_LENGTHS:
        raise PersonRefused(f"a password has {PASSWORD_LENGTHS[0]} to {PASSWORD_LENGTHS[-1]} characters")
    return name
