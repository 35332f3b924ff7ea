"""Logging in and out, and where people start.

Nothing here tells whether a name exists: not the answer, not its time, not the limits.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

import structlog
from litestar import get, post
from litestar.datastructures import Cookie
from litestar.response.base import ASGIResponse
from msgspec import Struct

from server.store.query import DatabaseAway, database_errors
from server.store.users import PersonRole
from server.texts.speech import later, said
from server.web.access.login_limits import LoginLimits
from server.web.access.login_marks import LoginMarks
from server.web.access.sessions import FORM, LONGEST_SECONDS, LoginSession
from server.web.access.tokens import address_of
from server.web.access.users import Passwords
from server.web.api.bodies import Body
from server.web.api.endpoint import answer
from server.web.api.sign_in import UNNAMED, device_name
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.errors import FORBIDDEN, TOO_MANY, UNAUTHORIZED, Problem, too_many, try_again, unauthorized
from server.web.http.forms import Form, is_form, read_form
from server.web.screens.shell import (
    LOGIN,
    NO_STORE,
    is_from_here,
    next_of,
    page,
    see_other,
    sessions_of,
    wants_screen,
)

START: Final = "/board"
WAIT_SECONDS: Final = 5.0
"""How long a login may wait for others' passwords to be looked at."""
WRONG: Final = later("Wrong name or password.")
PASSWORD_LIMIT: Final = 1000

log = structlog.get_logger(__name__)


class Credentials(Struct, frozen=True, forbid_unknown_fields=True):
    """A login as a program sends it."""

    name: str
    password: str


class LoggedIn(Struct, frozen=True, rename="camel"):
    """A login as a program gets it: the session is in the cookie, unsafe requests need the token."""

    name: str
    role: PersonRole
    csrf_token: str


CREDENTIALS: Final = Body(Credentials)


@get("/")
async def start(request: Call) -> ASGIResponse:
    """To the board, or first to the login."""
    return see_other(LOGIN if await sessions_of(request).of(request) is None else START)


@get(LOGIN)
async def login_screen(request: Call) -> ASGIResponse:
    """The form. Who is logged in already is redirected."""
    wanted = next_of(request, request.query_params.get("next"), START)
    if await sessions_of(request).of(request) is not None:
        return see_other(wanted)
    return await _form(request, wanted)


@post(LOGIN, status_code=200)
async def log_in(request: Call) -> ASGIResponse:
    """A form is answered with a screen or the way on, JSON with JSON."""
    if not is_from_here(request):
        raise Problem(FORBIDDEN, later("This login was sent from another site."))
    if is_form(request):
        return await _by_form(request)
    credentials = await CREDENTIALS.of(request)
    session = await _let_in(request, credentials.name, credentials.password)
    csrf_token = sessions_of(request).csrf_token(session)
    body = LoggedIn(session.name, session.role, csrf_token)
    return answer(body, headers=logged_in_headers(request, session, credentials.name))


async def _by_form(request: Call) -> ASGIResponse:
    form = await read_form(request, Form)
    name, password = form.last("name") or form.last("username"), form.last("password")
    wanted = next_of(request, form.last("next") or request.query_params.get("next"), START)
    try:
        session = await _let_in(request, name, password)
    except Problem as problem:
        headers = {name: value for name, value in problem.headers.items() if name == "Retry-After"}
        text = said(WRONG if problem.kind is UNAUTHORIZED else problem.detail)
        if problem.kind is TOO_MANY:
            text = said("Too many requests; try again in {seconds} s.", seconds=headers["Retry-After"])
        return await _form(request, wanted, problem.kind.status, headers=headers, name=name[:200], problem=text)
    return see_other(wanted, headers=logged_in_headers(request, session, name))


async def _form(
    request: Call,
    wanted: str,
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    name: str = "",
    problem: str | None = None,
) -> ASGIResponse:
    """The form that leads to the screen `wanted`."""
    to = node_of(request).settings.root + wanted
    return await page(request, "login.html", status, headers=headers, next=to, name=name, problem=problem)


async def _let_in(request: Call, name: str, password: str) -> LoginSession:
    """1. Too many tries: 429. 2. Not right: 401. 3. A new session, and an end to the one brought along.

    Raises 503 when too many others are at it, or the database is away.
    """
    state, sessions, address = request.app.state, sessions_of(request), address_of(request)
    limits: LoginLimits = state.login_limits
    passwords: Passwords = state.passwords
    marks: LoginMarks = state.login_marks
    begun = limits.begin(name, address, time.monotonic(), marks.known(request, name))
    if isinstance(begun, int):
        log.warning("login_limited", address=address)
        raise too_many(begun)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            with database_errors():
                person = await passwords.person_of(state.node.database.pool, name, password[:PASSWORD_LIMIT])
    except DatabaseAway:
        limits.undo(begun, time.monotonic())
        raise
    except TimeoutError:
        raise try_again() from None
    if person is None:
        log.warning("login_refused", address=address)
        raise unauthorized(WRONG)
    limits.succeeded(begun, time.monotonic())
    brought = request.cookies.get(sessions.cookie_name(request))
    if brought:
        await sessions.close(brought)
    session = await sessions.find(await sessions.open(person, browser_of(request)))
    if session is None:  # ended again in this very moment
        raise unauthorized(WRONG)
    log.info("logged_in", name=session.name, role=session.role, address=address)
    return session


@post("/logout", status_code=200, opt={FORM: True})
async def log_out(request: Call) -> ASGIResponse:
    """End this session, with `?everywhere=1` all of this person's."""
    sessions = sessions_of(request)
    session = await sessions.of(request)
    if session is not None:
        await sessions.check_csrf(request, session)
        if request.query_params.get("everywhere") == "1":
            await sessions.close_all(session.user_id)
        else:
            await sessions.close(session.token)
        log.info("logged_out", name=session.name)
    headers = {"Set-Cookie": _session_cookie(request, None)}
    return (
        see_other(LOGIN, headers=headers)
        if wants_screen(request)
        else ASGIResponse(status_code=204, headers={**NO_STORE, **headers})
    )


def browser_of(request: Call) -> str | None:
    """The name of the browser, such as "Firefox on Windows"; None if it is not known."""
    name = device_name(request.headers.get("user-agent", ""))
    return None if name == UNNAMED else name


def logged_in_headers(request: Call, session: LoginSession, name: str) -> list[tuple[str, str]]:
    """The headers that keep the session's token in the browser, and make the browser known for this name."""
    marks: LoginMarks = request.app.state.login_marks
    return [
        ("Set-Cookie", _session_cookie(request, session.token)),
        ("Set-Cookie", marks.cookie(request, name).to_header(header="")),
    ]


def _session_cookie(request: Call, token: str | None) -> str:
    """The cookie that keeps the session's token in the browser, or removes it."""
    sessions = sessions_of(request)
    cookie = Cookie(
        sessions.cookie_name(request),
        value=token or "",
        max_age=round(LONGEST_SECONDS) if token else 0,
        httponly=True,
        samesite="lax",
        secure=sessions.is_secure(request),
    )
    return cookie.to_header(header="")
