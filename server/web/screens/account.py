"""A person's own account: their password, the theme of this browser, and the browsers in which they are logged in.

A link of an admin leads to the form for a new password, without the old one.
"""

import time
from typing import Final

import structlog
from litestar import get, post
from litestar.response.base import ASGIResponse

from server.board.csv_forms import CHOICES
from server.store.query import DatabaseAway, database_errors, unless_away
from server.texts.speech import later, said
from server.web.access.guards import VIEWERS
from server.web.access.login_limits import LoginLimits
from server.web.access.sessions import FORM, LoginSession, key_of
from server.web.access.tokens import address_of, hashed
from server.web.access.users import (
    CODE_LIMIT,
    PASSWORD_LENGTHS,
    Passwords,
    PasswordUnfit,
    change_person,
    is_valid_code,
    set_password_with,
)
from server.web.api.endpoint import answer
from server.web.api.sign_in import one_try
from server.web.http.caller import Call
from server.web.http.current_node import pool_of
from server.web.http.errors import FORBIDDEN, Problem, not_found, too_many
from server.web.http.forms import Form, read_form
from server.web.screens.downloads import browsers_csv, choice_kept, csv_choice
from server.web.screens.login import browser_of, logged_in_headers
from server.web.screens.shell import LOGIN, flash, is_from_here, page, see_other, sessions_of

ACCOUNT: Final = "/account"
PASSWORD_FORM: Final = "/new-password"  # noqa: S105 - an address

log = structlog.get_logger(__name__)


@get(ACCOUNT, guards=[VIEWERS])
async def account(request: Call) -> ASGIResponse:
    """The person's own account."""
    return await _account(request, _session(request))


@post(f"{ACCOUNT}/password", guards=[VIEWERS], status_code=200, opt={FORM: True})
async def change_password(request: Call) -> ASGIResponse:
    """A new password, for who knows the old one. All other sessions end."""
    form = await read_form(request, Form)
    session = _session(request)
    now, new = form.last("now"), form.last("password")
    if len(new) not in PASSWORD_LENGTHS:
        return await _account(request, session, 422, problem=_too_short())
    if not await _is_password(request, session, now):
        return await _account(request, session, 422, problem=said("The current password is wrong."))
    with database_errors():
        await change_person(pool_of(request), session.user_id, password=new)
    sessions_of(request).user_changed(session.user_id)
    opened = await unless_away(_opened(request, session.user_id))
    log.info("password_changed", name=session.name)
    text = said("Your password is changed. You are logged out in all other browsers.")
    if opened is None:  # the database is away, or the person was deactivated in this very moment
        return see_other(LOGIN, flash(request, "good", said("Your password is changed. Log in with it.")))
    return see_other(
        ACCOUNT, [*flash(request, "good", text).items(), *logged_in_headers(request, opened, session.name)]
    )


async def _opened(request: Call, user_id: str) -> LoginSession | None:
    sessions = sessions_of(request)
    return await sessions.find(await sessions.open(user_id, browser_of(request)))


@post(f"{ACCOUNT}/sessions", guards=[VIEWERS], status_code=200, opt={FORM: True})
async def end_session(request: Call) -> ASGIResponse:
    """End one session of the person, in another browser or in this one."""
    form = await read_form(request, Form)
    session = _session(request)
    with database_errors():
        ended = await sessions_of(request).close_one(session.user_id, form.text("key"))
    if not ended:
        raise not_found()
    log.info("session_ended", name=session.name)
    return see_other(ACCOUNT, flash(request, "good", said("That browser is logged out.")))


@post(f"{ACCOUNT}/csv", guards=[VIEWERS], status_code=200, opt={FORM: True})
async def choose_csv(request: Call) -> ASGIResponse:
    """How CSV files are written in this browser: a name of CHOICES, or nothing for that of its language."""
    form = await read_form(request, Form)
    choice = form.text("csv") if form.text("csv") in CHOICES else ""
    kept, said_then = choice_kept(request, choice), flash(request, "good", said("Saved. It applies in this browser."))
    return see_other(ACCOUNT, [*kept.items(), *said_then.items()])


@get(PASSWORD_FORM)
async def new_password_form(request: Call) -> ASGIResponse:
    """The form for who has a link. The code is in the fragment, which browsers do not send."""
    return await _new_password(request)


@post(f"{PASSWORD_FORM}/check", status_code=200)
async def check_link(request: Call) -> ASGIResponse:
    """Whether the code of a link still works; it stays valid. A wrong one counts as a try."""
    _from_here(request)
    form = await read_form(request, Form)
    with one_try(request) as give_back:
        with database_errors():
            works = await is_valid_code(pool_of(request), form.text("code"))
        if works:
            give_back()
    return answer({"works": works})


@post(PASSWORD_FORM, status_code=200)
async def set_new_password(request: Call) -> ASGIResponse:
    """Set a password with the code of a link. It works once."""
    _from_here(request)
    form = await read_form(request, Form)
    code, password = form.text("code"), form.last("password")
    with one_try(request) as give_back:
        try:
            with database_errors():
                person = await set_password_with(pool_of(request), code, password)
        except PasswordUnfit:
            give_back()
            return await _new_password(request, 422, problem=_too_short(), code=code[:CODE_LIMIT])
        if person is None:
            log.warning("password_link_refused", address=address_of(request))
            return await _new_password(request, 422, over=True)
        give_back()
    sessions_of(request).user_changed(person)
    log.info("password_set_by_link", userId=person)
    return see_other(LOGIN, flash(request, "good", said("Your password is set. Log in with it.")))


def _from_here(request: Call) -> None:
    if not is_from_here(request):
        raise Problem(FORBIDDEN, later("This form was sent from another site."))


def _session(request: Call) -> LoginSession:
    """The session of a person. Raises 404: who calls with a token has no account."""
    session: LoginSession | None = request.scope["state"].get("session")
    if session is None:
        raise not_found()
    return session


async def _is_password(request: Call, session: LoginSession, password: str) -> bool:
    """Whether this is the person's password. Tries count as those of a login. Raises 429."""
    limits: LoginLimits = request.app.state.login_limits
    passwords: Passwords = request.app.state.passwords
    begun = limits.begin(session.name, address_of(request), time.monotonic())
    if isinstance(begun, int):
        raise too_many(begun)
    try:
        with database_errors():
            person = await passwords.person_of(pool_of(request), session.name, password)
    except DatabaseAway:
        limits.undo(begun, time.monotonic())
        raise
    if person != session.user_id:
        log.warning("password_change_refused", name=session.name)
        return False
    limits.succeeded(begun, time.monotonic())
    return True


def _too_short() -> str:
    return said(
        "A password must have {shortest} to {longest} characters.",
        shortest=PASSWORD_LENGTHS[0],
        longest=PASSWORD_LENGTHS[-1],
    )


async def _account(
    request: Call, session: LoginSession, status: int = 200, *, problem: str | None = None
) -> ASGIResponse:
    with database_errors():
        found = await sessions_of(request).all_of(session.user_id)
    own = hashed(session.token)
    return await page(
        request,
        "account.html",
        status,
        nav="account",
        sessions=[(key_of(one.token_hash), one, one.token_hash == own) for one in found],
        shortest=PASSWORD_LENGTHS[0],
        problem=problem,
        csv_choice=csv_choice(request),
        by_language=browsers_csv(request),
    )


async def _new_password(
    request: Call, status: int = 200, *, problem: str | None = None, code: str = "", over: bool = False
) -> ASGIResponse:
    """The form; if the link is `over`, what to do instead."""
    return await page(
        request, "new_password.html", status, code=code, shortest=PASSWORD_LENGTHS[0], problem=problem, over=over
    )
