"""The rows of users. All functions raise DatabaseAway. They see only the hash of a password."""

from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from server.ids import new_id
from server.store.connections import Queries
from server.store.query import fetch, fetch_one, fetch_one_as
from server.store.tables import User
from server.store.typed import NOW, ask, ask_one, columns_for

PersonRole = Literal["viewer", "ops", "admin"]

INSERT_FIRST: Final = """
INSERT INTO users (id, name, password_hash, role, active, created_at)
SELECT $1::uuid, $2, $3, 'admin', true, clock_timestamp() WHERE NOT EXISTS (SELECT FROM users)
ON CONFLICT DO NOTHING RETURNING id
"""
RENEW: Final = """
UPDATE users SET password_hash = $2, role = $3, active = true, sessions_valid_from = clock_timestamp()
WHERE lower(name) = lower($1)
"""
BY_NAME: Final = "SELECT id, password_hash FROM users WHERE lower(name) = lower($1)"
# A change ends all sessions of the user; a new password or a deactivation also ends their password link. The last
# active admin cannot be demoted: of two admins who demote each other at once, the second waits for the lock and finds
# no other admin.
CHANGE: Final = """
WITH admins AS MATERIALIZED (SELECT id FROM users WHERE role = 'admin' AND active ORDER BY id FOR UPDATE),
changed AS (
    UPDATE users SET role = coalesce($2, role), active = coalesce($3, active),
    password_hash = coalesce($4, password_hash),
    sessions_valid_from = CASE WHEN coalesce($2, role) <> role OR coalesce($3, active) <> active OR $4 IS NOT NULL
        THEN clock_timestamp() ELSE sessions_valid_from END
WHERE id = $1 AND (NOT (role = 'admin' AND active) OR (coalesce($2, role) = 'admin' AND coalesce($3, active))
    OR (SELECT count(*) FROM admins WHERE id <> $1) > 0)
RETURNING id, name, role, active, created_at, last_login_at),
ended AS (
    DELETE FROM password_links l USING changed
    WHERE l.user_id = changed.id AND (NOT changed.active OR $4 IS NOT NULL))
SELECT * FROM changed
"""


class Person(Struct, frozen=True):
    """A user, without their password."""

    id: str
    name: str
    role: PersonRole
    active: bool
    created_at: datetime
    last_login_at: datetime | None


_PERSON: Final = columns_for(Person, User)


async def insert_person(db: Queries, name: str, role: PersonRole, password_hash: str) -> Person | None:
    """Create a user and return them; None if the name is taken, without regard to case."""
    person = User(id=new_id(), name=name, password_hash=password_hash, role=role, created_at=NOW)
    row = await ask_one(db, User.insert(person).on_conflict(action="DO NOTHING").returning(*_PERSON))
    return None if row is None else Person(*row)


async def is_anybody(db: Queries) -> bool:
    return await ask_one(db, User.select(User.id).limit(1)) is not None


async def insert_first_admin(db: Queries, name: str, password_hash: str) -> bool:
    """Create the first user; returns whether this call did so. Of many nodes that start at once without users, one
    creates it.
    """
    return await fetch_one(db, INSERT_FIRST, new_id(), name, password_hash) is not None


async def renew_by_name(db: Queries, name: str, role: PersonRole, password_hash: str) -> None:
    """Set the role and password of the user with this name, without regard to case; activates them and ends their
    sessions.
    """
    await fetch(db, RENEW, name, password_hash, role)


async def list_people(db: Queries, after: str | None, limit: int) -> list[Person]:
    """People in the order in which they were made, those after the one with the id `after`."""
    page = User.select(*_PERSON).order_by(User.id).limit(limit)
    return [Person(*row) for row in await ask(db, page if after is None else page.where(User.id > after))]


async def find_person(db: Queries, person_id: str) -> Person | None:
    row = await ask_one(db, User.select(*_PERSON).where(User.id == person_id))
    return None if row is None else Person(*row)


async def find_password(db: Queries, name: str) -> tuple[str, str] | None:
    """The id and the password hash of the user with this name, without regard to case."""
    row = await fetch_one(db, BY_NAME, name)
    return None if row is None else (row[0], row[1])


async def update_person(
    db: Queries, person_id: str, role: PersonRole | None, active: bool | None, password_hash: str | None
) -> Person | None:
    """Change the given fields; any real change ends the user's sessions. None if there is no such user, or if no active
    admin would be left.
    """
    return await fetch_one_as(db, Person, CHANGE, person_id, role, active, password_hash)


async def note_login(db: Queries, person_id: str) -> bool:
    """Whether the user may log in; records the login."""
    mine = (User.id == person_id) & (User.active == True)  # noqa: E712 - Piccolo's way to compare
    return await ask_one(db, User.update({User.last_login_at: NOW}).where(mine).returning(User.id)) is not None


async def replace_hash(db: Queries, person_id: str, old_hash: str, new_hash: str) -> None:
    """Store a new hash of the same password, unless it was changed meanwhile."""
    same = (User.id == person_id) & (User.password_hash == old_hash)
    await ask(db, User.update({User.password_hash: new_hash}).where(same))


async def count_admins(db: Queries) -> int:
    """How many people can log in as admin."""
    admins = (User.role == "admin") & (User.active == True)  # noqa: E712
    return int((await ask_one(db, User.count().where(admins)))[0])
