"""Users of the board: create, change, authenticate, and their passwords. store/users.py has the SQL.

Hashing takes tens of milliseconds on purpose, so it always runs in a thread.
"""

import asyncio
import secrets
import unicodedata
from datetime import datetime
from functools import cache
from typing import Final, TypedDict, Unpack

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from server.store.connections import Queries
from server.store.password_links import make_link, use_link, whose_link
from server.store.users import (
    Person,
    PersonRole,
    find_password,
    find_person,
    insert_first_admin,
    insert_person,
    is_anybody,
    note_login,
    renew_by_name,
    replace_hash,
    update_person,
)
from server.web.access.tokens import hashed

FIRST_NAME: Final = "admin"
PASSWORD_LENGTHS: Final = range(8, 201)
NAME_LENGTHS: Final = range(1, 101)
LINK_HOURS: Final = 24
"""How long the link to set a new password is valid."""
CODE_LIMIT: Final = 100
HASHES_AT_ONCE: Final = 2
"""Each hash takes 64 MiB and a core."""


_hasher = PasswordHasher()


class PersonRefused(Exception):
    """This person cannot be made or changed so; the text is one clear line."""


class NameTaken(PersonRefused):
    """The user `person_id` has this name, without regard to case."""

    def __init__(self, name: str, person_id: str | None) -> None:
        super().__init__(f"the user name {name} is taken")
        self.person_id = person_id


class NameUnfit(PersonRefused):
    """That is no name for a user."""


class PasswordUnfit(PersonRefused):
    """That is no password."""


class LastAdmin(PersonRefused):
    """No active admin would be left."""


async def hash_password(password: str) -> str:
    """The stored form of a password: argon2id with a salt."""
    return await asyncio.to_thread(_hasher.hash, composed(password))


def composed(text: str) -> str:
    """A name or a password in the form in which most keyboards type it: others send `ü` as two characters."""
    return unicodedata.normalize("NFC", text)


def random_password() -> str:
    """A random password with 120 bits, as groups of letters that people can read out and type."""
    return "-".join(secrets.token_hex(3) for _ in range(5))


async def add_person(db: Queries, name: str, role: PersonRole, password: str) -> Person:
    """Create a user and return them. Raises NameTaken, NameUnfit, PasswordUnfit or DatabaseAway."""
    name = fit_name(name)
    check_password(password)
    made = await insert_person(db, name, role, await hash_password(password))
    if made is None:
        found = await find_password(db, name)
        raise NameTaken(name, found[0] if found is not None else None)
    return made


async def make_first_admin(db: Queries) -> str | None:
    """In a database without users, create `admin` and return the password, which is stored nowhere. None if there is a
    user. Of many nodes that start at once, one creates it.
    """
    if await is_anybody(db):
        return None
    password = random_password()
    made = await insert_first_admin(db, FIRST_NAME, await hash_password(password))
    return password if made else None


async def renew_person(db: Queries, name: str, role: PersonRole) -> str:
    """Make the person, or give them this role and a new password, which is returned; their sessions end."""
    password = random_password()
    hashed = await hash_password(password)
    if await insert_person(db, name, role, hashed) is None:
        await renew_by_name(db, name, role, hashed)
    return password


class PersonChanges(TypedDict, total=False):
    """What of a user can change. What is missing or None stays."""

    role: PersonRole | None
    active: bool | None
    password: str | None


async def change_person(db: Queries, person_id: str, **changes: Unpack[PersonChanges]) -> Person | None:
    """Change the given fields; any real change ends the user's sessions. None if there is no such user. Raises
    LastAdmin, PasswordUnfit or DatabaseAway.
    """
    hashed = None
    if (password := changes.get("password")) is not None:
        check_password(password)
        hashed = await hash_password(password)
    changed = await update_person(db, person_id, changes.get("role"), changes.get("active"), hashed)
    if changed is not None or await find_person(db, person_id) is None:
        return changed
    raise LastAdmin("this is the only active admin; create another one first")


async def invite_to_new_password(db: Queries, person_id: str, by: str) -> tuple[str, datetime] | None:
    """A code with which the person sets a new password, once, and until when. It replaces the one before. None if there
    is no such active user. Raises DatabaseAway.
    """
    code = secrets.token_urlsafe(16)
    expires_at = await make_link(db, person_id, hashed(code), by, LINK_HOURS)
    return None if expires_at is None else (code, expires_at)


async def is_valid_code(db: Queries, code: str) -> bool:
    """Whether a password can be set with the code now. Raises DatabaseAway."""
    return len(code) <= CODE_LIMIT and await whose_link(db, hashed(code)) is not None


async def set_password_with(db: Queries, code: str, password: str) -> str | None:
    """Set the password of the person whose code it is, and return their id; their sessions end. None for an
    invalid code. Raises PasswordUnfit or DatabaseAway.
    """
    if not await is_valid_code(db, code):
        return None
    check_password(password)
    return await use_link(db, hashed(code), await hash_password(password))


class Passwords:
    """Recognises people by name and password, a few at a time."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(HASHES_AT_ONCE)
        self._nobodys = _nobodys()

    async def person_of(self, db: Queries, name: str, password: str) -> str | None:
        """The id of the active user with this name and password, now logged in; otherwise None.

        It takes the same time for an unknown name.
        """
        name = name.strip()
        found = await find_password(db, composed(name))
        if found is None and name != composed(name):  # a user of an earlier release
            found = await find_password(db, name)
        person_id, hashed = found if found is not None else (None, self._nobodys)
        async with self._room:
            right = await asyncio.to_thread(_verify, hashed, password)
        if person_id is None or not right:
            return None
        if _hasher.check_needs_rehash(hashed):
            await replace_hash(db, person_id, hashed, await hash_password(password))
        return person_id if await note_login(db, person_id) else None


@cache
def _nobodys() -> str:
    """The hash of a random password, compared for unknown names, so that both cases take the same time."""
    return _hasher.hash(secrets.token_hex(16))


def _verify(hashed: str, password: str) -> bool:
    """As typed too: hashes of earlier releases are of that."""
    return any(_is_hash(hashed, one) for one in dict.fromkeys((composed(password), password)))


def _is_hash(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


def fit_name(name: str) -> str:
    """The normalized name. Raises NameUnfit."""
    name = composed(name.strip())
    if len(name) not in NAME_LENGTHS or not name.isprintable():
        raise NameUnfit(f"a user name must have {NAME_LENGTHS[0]} to {NAME_LENGTHS[-1]} printable characters")
    return name


def check_password(password: str) -> None:
    """Raises PasswordUnfit."""
    if len(password) not in PASSWORD_LENGTHS:
        raise PasswordUnfit(f"a password must have {PASSWORD_LENGTHS[0]} to {PASSWORD_LENGTHS[-1]} characters")
