"""The screen of people: who can log in, and how an admin changes that. Plain forms, no script needed."""

from typing import Final, cast, get_args

import structlog
from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.store.query import database_errors, unless_away
from server.store.users import Person, PersonRole, find_person, list_people
from server.texts.speech import later, said
from server.web.access.guards import ADMIN
from server.web.access.sessions import FORM
from server.web.access.users import PASSWORD_LENGTHS, invite_to_new_password, random_password
from server.web.api.endpoint import id_in_path
from server.web.api.users import changed, made
from server.web.http.caller import Call
from server.web.http.current_node import pool_of
from server.web.http.errors import Problem, not_found
from server.web.http.forms import Form, read_form
from server.web.screens.form_words import sentence_of
from server.web.screens.reach import home_of, warnings_of
from server.web.screens.shell import flash, page, see_other, sessions_of

SHOWN_LIMIT: Final = 1000
ROLES: Final[dict[str, str]] = {
    "viewer": later("can see everything, cannot change anything"),
    "ops": later("can also assign, reassign, cancel and acknowledge, and set availability"),
    "admin": later(
        "can also change the policy, people, API keys and webhooks, deactivate drivers, and erase a person’s data"
    ),
}
assert set(ROLES) == set(get_args(PersonRole))

log = structlog.get_logger(__name__)


@get("/users", guards=[ADMIN])
async def people(request: Call) -> ASGIResponse:
    return await _people(request)


@post("/users", guards=[ADMIN], status_code=200, opt={FORM: True})
async def add(request: Call) -> ASGIResponse:
    """One more; a password that was made up is shown this once."""
    form = await read_form(request, Form)
    name, role, password = form.last("name"), form.last("role"), form.last("password")
    if role not in ROLES:
        return await _people(request, 422, problem=said("Choose a role."), filled_name=name)
    try:
        person = await made(request, name, cast(PersonRole, role), password or (generated := random_password()))
    except Problem as problem:
        if problem.kind.status not in (409, 422):
            raise
        return await _people(
            request, problem.kind.status, problem=sentence_of(problem), filled_name=name, filled_role=role
        )
    if password:
        return see_other(
            "/users",
            flash(request, "good", said("{name} can now log in as {role}.", name=person.name, role=said(person.role))),
        )
    return await _people(request, 201, fresh=(person, generated))


@get("/users/{user_id:str}", guards=[ADMIN])
async def one(request: Call, user_id: FromPath[str]) -> ASGIResponse:
    return await _person(request, await _found(request, user_id))


@post("/users/{user_id:str}", guards=[ADMIN], status_code=200, opt={FORM: True})
async def change(request: Call, user_id: FromPath[str]) -> ASGIResponse:
    """`do=` role, deactivate, activate, password, link or logout."""
    form = await read_form(request, Form)
    person = await _found(request, user_id)
    try:
        match form.last("do"):
            case "role" if form.last("role") in ROLES:
                await changed(request, person.id, role=cast(PersonRole, form.last("role")))
                text = said("{name} is now {role}.", name=person.name, role=said(form.last("role")))
            case "deactivate":
                await changed(request, person.id, active=False)
                text = said("{name} can no longer log in.", name=person.name)
            case "activate":
                await changed(request, person.id, active=True)
                text = said("{name} can log in again.", name=person.name)
            case "password":
                password = form.last("password") or (generated := random_password())
                person = await changed(request, person.id, password=password)
                if not form.last("password"):
                    return await _person(request, person, fresh=generated)
                text = said("{name} has a new password.", name=person.name)
            case "link":
                with database_errors():
                    made_link = await invite_to_new_password(pool_of(request), person.id, request.user.subject)
                if made_link is None:
                    return await _person(request, person, 422, problem=said("Activate this person first."))
                code, until = made_link
                log.info("password_link_made", name=person.name, by=request.user.subject)
                url = f"{home_of(request)}/new-password#{code}"
                return await _person(request, person, link=url, until=until, warnings=warnings_of(url))
            case "logout":
                await sessions_of(request).close_all(person.id)
                log.info("user_logged_out", name=person.name, by=request.user.subject)
                text = said("{name} is logged out everywhere.", name=person.name)
            case _:
                return await _person(request, person, 422, problem=said("Choose what to change."))
    except Problem as problem:
        if problem.kind.status not in (409, 422):
            raise
        return await _person(request, person, problem.kind.status, problem=sentence_of(problem))
    return see_other(f"/users/{person.id}", flash(request, "good", text))


async def _found(request: Call, user_id: str) -> Person:
    with database_errors():
        person = await find_person(pool_of(request), id_in_path(user_id))
    if person is None:
        raise not_found()
    return person


async def _people(request: Call, status: int = 200, **context: object) -> ASGIResponse:
    read = list_people(pool_of(request), None, SHOWN_LIMIT)
    with database_errors():
        everybody = await (unless_away(read) if "fresh" in context else read)
    shown: dict[str, object] = {"problem": None, "filled_name": "", "filled_role": "viewer", "fresh": None, **context}
    return await page(
        request,
        "users.html",
        status,
        nav="users",
        people=everybody,
        roles=ROLES,
        shortest=PASSWORD_LENGTHS[0],
        values=shown,
    )


async def _person(request: Call, person: Person, status: int = 200, **context: object) -> ASGIResponse:
    shown: dict[str, object] = {"problem": None, "fresh": None, "link": None, **context}
    return await page(
        request, "user.html", status, nav="users", one=person, roles=ROLES, shortest=PASSWORD_LENGTHS[0], values=shown
    )
