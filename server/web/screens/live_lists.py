"""What the screens of alerts, notices and webhooks have in common: they read themselves again when the stream says so,
and what is done on them works without a script too.
"""

from collections.abc import Container
from urllib.parse import urlencode

from litestar.response.base import ASGIResponse

from server.dispatch.refusals import Refusal
from server.web.http.caller import Call
from server.web.http.errors import Problem, refused
from server.web.http.forms import address_text
from server.web.screens.board_answers import done, error_fragment, in_plain_words
from server.web.screens.form_words import sentence_of
from server.web.screens.shell import flash, page_or_now, see_other


async def live(
    request: Call,
    template: str,
    status: int = 200,
    *,
    nav: str,
    topic: str | None,
    now: str,
    **context: object,
) -> ASGIResponse:
    """A whole screen. What of it changes is read again from `now` when the stream of `topic` says so; without a topic
    it does not change.
    """
    return await page_or_now(request, template, {"nav": nav, "topic": topic, "now_path": now, **context}, status)


def acted(request: Call, text: str, path: str) -> ASGIResponse:
    """What was wanted is done: said in place to a script, else on the screen at `path`."""
    return done(text) if "hx-request" in request.headers else see_other(path, flash(request, "good", text))


def not_done(request: Call, problem: Problem, path: str) -> ASGIResponse:
    """What was wanted is refused, in a sentence."""
    text = sentence_of(problem, with_field=True)
    if "hx-request" in request.headers:
        return error_fragment(text, problem.kind.status)
    return see_other(path, flash(request, "bad", text))


def refused_here(request: Call, refusal: Refusal, path: str) -> ASGIResponse:
    """The refusal of a command in plain words. Raises a problem that is not a refusal, such as 503."""
    problem = refused(refusal)
    if problem.kind.status != 409:
        raise problem
    return not_done(request, Problem(problem.kind, in_plain_words(refusal)), path)


def chosen_of(request: Call, name: str, allowed: Container[str] | None = None) -> str | None:
    """A parameter of the address, if it is one of those allowed; what nobody knows is as good as none."""
    value = address_text(request, name)
    return value if value and (allowed is None or value in allowed) else None


def address(path: str, **chosen: object) -> str:
    """A path with those parameters that have a value."""
    given = {name: value for name, value in chosen.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path
