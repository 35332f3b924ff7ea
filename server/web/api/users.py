"""The HTTP API of users: admins create and change them."""

from typing import Annotated, Unpack

import structlog
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType

from server.dispatch.names import INVISIBLE
from server.store.query import database_errors
from server.store.users import Person, PersonRole, list_people
from server.web.access.guards import ADMIN, VIEWERS
from server.web.access.users import (
    NAME_LENGTHS,
    PASSWORD_LENGTHS,
    LastAdmin,
    NameTaken,
    NameUnfit,
    PersonChanges,
    PersonRefused,
    add_person,
    change_person,
)
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.endpoint import endpoint, given, id_in_path
from server.web.http.caller import Call
from server.web.http.current_node import pool_of
from server.web.http.errors import LAST_ADMIN, USER_EXISTS, Problem, invalid_field, not_found
from server.web.http.paging import BY_ID, Page

UserName = Annotated[
    str, Meta(min_length=NAME_LENGTHS[0], max_length=NAME_LENGTHS[-1], pattern=rf"^[^\u0000]*[^{INVISIBLE}][^\u0000]*$")
]
Password = Annotated[
    str, Meta(min_length=PASSWORD_LENGTHS[0], max_length=PASSWORD_LENGTHS[-1], extra_json_schema=s.NO_NUL)
]

log = structlog.get_logger(__name__)


class NewUser(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A user to create."""

    name: UserName
    role: PersonRole
    password: Password


class UserChange(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The fields to change. Any change ends the user's sessions."""

    role: PersonRole | UnsetType = UNSET
    active: bool | UnsetType = UNSET
    password: Password | UnsetType = UNSET


class UserView(a.ResponseBody, frozen=True):
    """A user of the board. Only active users can log in."""

    id: a.Id
    name: str
    role: PersonRole
    active: bool
    created_at: a.InstantText
    last_login_at: a.InstantText | None


def user_view(person: Person) -> UserView:
    return a.view(UserView, person)


@endpoint("GET /admin/users", "List users, oldest first.", VIEWERS)
async def list_users(request: Call, query: s.PageQuery) -> Page[UserView]:
    with database_errors():
        found = await list_people(pool_of(request), BY_ID.only(query.cursor), query.limit + 1)
    return BY_ID.page(found, query.limit, lambda person: (person.id,), user_view)


@endpoint("POST /admin/users", "Create a user.", ADMIN, USER_EXISTS, status=201)
async def make_user(request: Call, new: NewUser) -> UserView:
    return user_view(await made(request, new.name, new.role, new.password))


@endpoint(
    "PATCH /admin/users/{user_id}",
    "Change a user's role or password, or deactivate them. Their sessions end.",
    ADMIN,
    LAST_ADMIN,
)
async def change_user(request: Call, user_id: FromPath[str], change: UserChange) -> UserView:
    person = await changed(
        request,
        user_id,
        role=given(change.role),
        active=given(change.active),
        password=given(change.password),
    )
    return user_view(person)


async def made(request: Call, name: str, role: PersonRole, password: str) -> Person:
    """Create a user. Raises 409, 422 or DatabaseAway."""
    pool = pool_of(request)
    try:
        with database_errors():
            person = await add_person(pool, name, role, password)
    except PersonRefused as refused:
        raise as_problem(refused) from None
    log.info("user_added", name=person.name, role=role, by=request.user.subject)
    return person


async def changed(request: Call, user_id: str, **changes: Unpack[PersonChanges]) -> Person:
    """Change a user, and end their sessions at once. Raises 404, 409, 422 or DatabaseAway."""
    known = id_in_path(user_id)
    try:
        with database_errors():
            person = await change_person(pool_of(request), known, **changes)
    except PersonRefused as refused:
        raise as_problem(refused) from None
    if person is None:
        raise not_found()
    request.app.state.sessions.user_changed(known)
    what = {name: value if name != "password" else "new" for name, value in changes.items() if value is not None}
    log.info("user_changed", name=person.name, by=request.user.subject, **what)
    return person


def as_problem(refused: PersonRefused) -> Problem:
    text = str(refused)
    if isinstance(refused, NameTaken):
        return Problem(USER_EXISTS, f"{text[:1].upper()}{text[1:]}.", id=refused.person_id)
    if isinstance(refused, LastAdmin):
        return Problem(LAST_ADMIN, f"{text[:1].upper()}{text[1:]}.")
    return invalid_field("name" if isinstance(refused, NameUnfit) else "password", text)
