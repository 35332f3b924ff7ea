"""What the screens of alerts, notices and webhooks have in common: they read themselves again when the stream says so,
and what is done on them works without a script too.
"""

from collections.abc import Container, Mapping
from typing import Any
from urllib.parse import urlencode

from litestar.response.base import ASGIResponse

from server.dispatch.refusals import Refusal
from server.texts.speech import said
from server.web.http.caller import Call
from server.web.http.errors import Problem, refused
from server.web.http.forms import address_text
from server.web.screens.board_answers import done, error_fragment, in_plain_words
from server.web.screens.shell import NOTHING, flash, fragment, page, see_other


async def live(
    request: Call,
    template: str,
    status: int = 200,
    *,
    nav: str,
    topic: str | None,
    now: str,
    values: Mapping[str, object] = NOTHING,
    **context: object,
) -> ASGIResponse:
    """A whole screen. What of it changes is read again from `now` when the stream of `topic` says so; without a topic
    it does not change.
    """
    return await page(
        request, f"{template}.html", status, nav=nav, topic=topic, now_path=now, values={**values, **context}
    )


def again(request: Call, template: str, **context: object) -> ASGIResponse:
    """What of a screen changes, again."""
    return fragment(request, f"{template}_now.html", **context)


def acted(request: Call, text: str, path: str) -> ASGIResponse:
    """What was wanted is done: said in place to a script, else on the screen at `path`."""
    return done(text) if "hx-request" in request.headers else see_other(path, flash(request, "good", text))


def not_done(request: Call, problem: Problem, path: str) -> ASGIResponse:
    """What was wanted is refused, in a sentence."""
    text = in_words(problem)
    if "hx-request" in request.headers:
        return error_fragment(text, problem.kind.status)
    return see_other(path, flash(request, "bad", text))


def refused_here(request: Call, refusal: Refusal, path: str) -> ASGIResponse:
    """The refusal of a command in plain words. Raises a problem that is not a refusal, such as 503."""
    problem = refused(refusal)
    if problem.kind.status != 409:
        raise problem
    return not_done(request, Problem(problem.kind, in_plain_words(refusal)), path)


def in_words(problem: Problem) -> str:
    errors: list[Any] = problem.more.get("errors", [])
    text = f"{errors[0].field} {errors[0].message}" if errors else said(problem.detail)
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def chosen_of(request: Call, name: str, allowed: Container[str] | None = None) -> str | None:
    """A parameter of the address, if it is one of those allowed; what nobody knows is as good as none."""
    value = address_text(request, name)
    return value if value and (allowed is None or value in allowed) else None


def address(path: str, **chosen: object) -> str:
    """A path with those parameters that have a value."""
    given = {name: value for name, value in chosen.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path
