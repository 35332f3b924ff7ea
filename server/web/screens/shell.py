"""Screens for people: their frame, what protects them, and how their errors look.

A screen is a template that extends `base.html`, rendered with what `shell()` gives beside its own. Handlers of
screens are under `screens()`.
"""

import asyncio
import base64
import gzip
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec
from jinja2 import Template
from litestar import Response, Router
from litestar.datastructures import Cookie, MutableScopeHeaders
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, ControllerRouterHandler, ExceptionHandlersMap, Message, Receive, Scope, Send

from server.board.templates import environment
from server.settings import Settings
from server.store.query import DatabaseAway
from server.texts.speech import later, said, screens_language, speak
from server.web.access.sessions import CSRF_FIELD, LoginSession, Sessions
from server.web.http.assets import asset
from server.web.http.caller import Call, Principal
from server.web.http.current_node import node_of
from server.web.http.errors import (
    CSRF_FAILED,
    FORBIDDEN,
    INTERNAL,
    NOT_FOUND,
    TOO_LARGE,
    TRY_AGAIN,
    UNAUTHORIZED,
    Problem,
    as_response,
    bug,
    from_litestar,
    kind_of,
    try_again,
)
from server.web.http.protection import PROTECTION
from server.web.http.public_path import without

NOTHING: Final[Mapping[str, object]] = {}
HTML: Final = "text/html"
NO_STORE: Final = {"Cache-Control": "no-store", "Vary": "Cookie"}
WORTH_PACKING_BYTES: Final = 16_384
FLASH_COOKIE: Final = "callboard_flash"
FLASH_SECONDS: Final = 30
FLASH_LIMIT: Final = 3000
NEXT_LIMIT: Final = 2000
LOGIN: Final = "/login"

_EVERYBODYS: Final = (
    ("board", later("Board")),
    ("orders", later("Orders")),
    ("board/drivers", later("Drivers")),
    ("alerts", later("Alerts")),
    ("insights", later("Insights")),
    ("policy", later("Policy")),
    ("zones", later("Zones")),
    ("webhooks", later("Webhooks")),
)
NAVIGATION: Final = {
    "viewer": _EVERYBODYS,
    "ops": _EVERYBODYS,
    "admin": (*_EVERYBODYS, ("users", later("People"))),
}
AGED: Final = later("This page is older than a restart of the server")
TITLES: Final = {
    401: later("Log in to see this page"),
    403: later("Your role does not allow this"),
    404: later("Page not found"),
    405: later("Nothing can be sent to this page"),
    500: later("Something went wrong"),
    503: later("Callboard is not available right now"),
}
PLAIN: Final = {
    404: later("Check the address. The page may have been removed."),
    405: later("Nothing was changed. Go back, reload the page, and try again."),
    500: later("This is an error in Callboard. It is in the server’s log."),
    503: later("The database does not answer. Try again in a moment."),
}
"""What a screen says where the API speaks to programs."""
SAID_ON_PAGES: Final = {
    CSRF_FAILED.code: later("This page was older than a restart of the server. It is up to date again: try once more."),
    UNAUTHORIZED.code: later("You are no longer logged in. Log in again."),
    FORBIDDEN.code: later("Your role does not allow this."),
    NOT_FOUND.code: later("That is no longer here. Reload the page."),
    TOO_LARGE.code: later("That is too much text."),
    INTERNAL.code: PLAIN[500],
    TRY_AGAIN.code: PLAIN[503],
}
"""The same where the script of a page shows the answer."""

Flash = tuple[str, str]
"""A message shown once on the next screen: its kind (`good`, `bad`), its text."""


def sessions_of(request: Call) -> Sessions:
    """The sessions as the node knows them."""
    sessions: Sessions = request.app.state.sessions
    return sessions


def shell(request: Call) -> dict[str, object]:
    """What the frame of a screen needs: who looks at it, their CSRF token, addresses of files, messages."""
    state = request.scope["state"]
    session: LoginSession | None = state.get("session")
    principal: Principal | None = request.scope.get("user")
    if session is not None:
        principal = session.principal
    state["flashes_shown"] = True
    return {
        "person": principal.subject if principal is not None else None,
        "role": principal.role if principal is not None else None,
        "csrf_token": sessions_of(request).csrf_token(session) if session is not None else None,
        "session_mark": sessions_of(request).mark(session) if session is not None else None,
        "navigation": NAVIGATION.get(principal.role, ()) if principal is not None else (),
        "asset": asset,
        "is_demo": node_of(request).settings.demo,
        "company": node_of(request).settings.company_name,
        "flashes": flashes_of(request),
    }


async def page(
    request: Call,
    template: str,
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    values: Mapping[str, object] = NOTHING,
    **context: object,
) -> ASGIResponse:
    """A whole screen, packed if it is large and the browser can unpack it. The template gets `values` and `context`."""
    body = rendered(request, template, **values, **context).encode()
    own = {**NO_STORE, **(headers or {})}
    if len(body) >= WORTH_PACKING_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        body = await asyncio.to_thread(gzip.compress, body, 1)
        own |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding, Cookie"}
    return ASGIResponse(body=body, status_code=status, headers=own, media_type=HTML)


def with_now(path: str) -> list[str]:
    """The addresses of a screen: `…/now` has what of it changes."""
    return [path, f"{path}/now"]


async def page_or_now(request: Call, template: str, values: Mapping[str, object], status: int = 200) -> ASGIResponse:
    """A whole screen, or what of it changes: by the address of the request."""
    if request.url.path.endswith("/now"):
        return fragment(request, f"{template}_now.html", **values)
    return await page(request, f"{template}.html", status, values=values)


def rendered(request: Call, template: str, **context: object) -> str:
    """A template with the frame's context."""
    return _template(request, template).render(**shell(request), **context)


def fragment(request: Call, template: str, **context: object) -> ASGIResponse:
    html = _template(request, template).render(role=request.user.role, **context)
    return ASGIResponse(body=html.encode(), headers=NO_STORE, media_type=HTML)


def _template(request: Call, name: str) -> Template:
    settings = node_of(request).settings
    return environment(settings.time_zone, _language(request), root=settings.root).get_template(name)


def _language(request: Call) -> str:
    return screens_language(node_of(request).settings.language)


def see_other(path: str, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> ASGIResponse:
    """303 to a path of ours."""
    more = headers.items() if isinstance(headers, Mapping) else headers
    return ASGIResponse(status_code=303, headers=[*NO_STORE.items(), *more, ("Location", path)], media_type=HTML)


# Messages for the next screen


def flash(request: Call, kind: str, text: str) -> dict[str, str]:
    """The header that says this on the next screen."""
    cookie = Cookie(
        FLASH_COOKIE,
        value=base64.urlsafe_b64encode(msgspec.json.encode([(kind, text)])).decode().rstrip("="),
        max_age=FLASH_SECONDS,
        httponly=True,
        samesite="strict",
        secure=sessions_of(request).is_secure(request),
    )
    return {"Set-Cookie": cookie.to_header(header="")}


def flashes_of(request: Call) -> list[Flash]:
    """The messages that the screen before left."""
    kept = request.cookies.get(FLASH_COOKIE)
    if not kept or len(kept) > FLASH_LIMIT:
        return []
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4)), type=list[Flash])
    except (ValueError, msgspec.MsgspecError):
        return []


# Where to go after the login


def next_of(request: Call, text: str | None, default: str) -> str:
    """The path of ours that a browser names, which sees it below the root; else `default`."""
    settings = node_of(request).settings
    path, mark, query = (text or "").partition("?")
    own = without(path, settings.root) if settings.root else None
    return local_path(text if own is None else f"{own}{mark}{query}", default)


def local_path(text: str | None, default: str) -> str:
    """`text` if it is a path on this site, else `default`.

    Browsers read `//` and `/\\` as another host, and drop tabs and line ends before they look.
    """
    if not text or len(text) > NEXT_LIMIT or not text.startswith("/") or text[1:2] in ("/", "\\"):
        return default
    if any(character <= " " or character == "\\" or character == "\x7f" for character in text) or not text.isascii():
        return default
    try:
        parts = urlsplit(text)
    except ValueError:
        return default
    if parts.scheme or parts.netloc or parts.path.rstrip("/") in (LOGIN, "/logout"):
        return default
    return text


def login_path(request: Call) -> str:
    """The login that leads back to the screen asked for."""
    query = f"?{request.url.query}" if request.url.query else ""
    settings = node_of(request).settings
    path = settings.root + quote(request.url.path) + query
    return f"{LOGIN}?next={quote(path)}" if request.method == "GET" else LOGIN


# Errors


def wants_screen(request: Call) -> bool:
    """Whether a person looks at the answer: a browser goes there, no script or program asks."""
    return "text/html" in request.headers.get("accept", "") and "hx-request" not in request.headers


def shown_error(request: Call, problem: Problem) -> Response[dict[str, object]] | Response[str]:
    """A problem as a screen, as the way to the login, or for a program as what it is."""
    kind = problem.kind
    if "hx-request" in request.headers and kind.code in SAID_ON_PAGES:
        speak(_language(request))
        return as_response(Problem(kind, said(SAID_ON_PAGES[kind.code]), problem.headers, **problem.more))
    if not wants_screen(request):
        return as_response(problem)
    if kind.status == 401:
        return Response("", status_code=303, headers={**NO_STORE, "Location": login_path(request)}, media_type=HTML)
    speak(_language(request))
    if kind is CSRF_FAILED:
        return _aged(request)
    title, text = TITLES.get(kind.status, kind.title), PLAIN.get(kind.status, problem.detail)
    html = rendered(request, "error.html", title=said(title), text=said(text))
    return Response(html, status_code=kind.status, headers={**NO_STORE, **problem.headers}, media_type=HTML)


def _aged(request: Call) -> Response[str]:
    """The form of a page that is older than a restart: nothing was done, and its person may send it again as it is.
    Only for pages of ours: nobody sends what another site has written.
    """
    fields = request.scope["state"].get("form_fields", {}) if is_from_here(request) else {}
    texts = [(name, value) for name, values in fields.items() if name != CSRF_FIELD for value in values]
    text = later("Nothing was changed. Check what you see, and do it again.")
    if texts:
        text = later("Nothing was changed yet. What you typed is still here: send it again.")
    query = f"?{request.url.query}" if request.url.query else ""
    values = {"title": said(AGED), "text": said(text), "path": quote(request.url.path) + query, "fields": texts}
    html = rendered(request, "sent_again.html" if texts else "error.html", **values)
    return Response(html, status_code=CSRF_FAILED.status, headers=NO_STORE, media_type=HTML)


def is_from_here(request: Call) -> bool:
    """Whether a page of ours, or no page at all, sent this."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:
        return False


def _away(request: Call, _: DatabaseAway) -> Response[dict[str, object]] | Response[str]:
    return shown_error(request, try_again())


def _framework(request: Call, error: HTTPException) -> Response[dict[str, object]] | Response[str]:
    kind = kind_of(error.status_code)
    return shown_error(request, Problem(kind, error.detail))


def _wrong_address(request: Call, error: HTTPException) -> Response[dict[str, object]] | Response[str]:
    """404 and 405 for the application: a screen for a person with an old link or form. No middleware runs there."""
    if not wants_screen(request):
        return from_litestar(request, error)
    shown = _framework(request, error)
    settings = node_of(request).settings
    shown.headers.update(error.headers or {})
    shown.headers.update({"Content-Security-Policy": content_security_policy(settings.map_tiles), **PROTECTION})
    return shown


WRONG_ADDRESSES: Final[ExceptionHandlersMap] = {
    NotFoundException: _wrong_address,
    MethodNotAllowedException: _wrong_address,
}


def _bug(request: Call, error: Exception) -> Response[dict[str, object]] | Response[str]:
    return shown_error(request, bug(request, error))


ERRORS: Final[ExceptionHandlersMap] = {
    Problem: shown_error,
    DatabaseAway: _away,
    HTTPException: _framework,
    Exception: _bug,
}


# What protects a screen


@cache
def content_security_policy(map_tiles: str = "") -> str:
    """Everything from here and nothing inline; pictures also from the map's tile server, if there is one."""
    images = "'self'"
    if map_tiles:
        parts = urlsplit(map_tiles)
        images += f" data: {parts.scheme}://{parts.netloc.replace('{s}', '*')}"
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; font-src 'self';"
        " connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    )


def protected(app: ASGIApp) -> ASGIApp:
    """Middleware: the language, the security headers on every answer; messages that were shown are forgotten."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        settings: Settings = scope["litestar_app"].state.node.settings
        speak(screens_language(settings.language))

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableScopeHeaders.from_message(message)
                headers.setdefault("Content-Security-Policy", content_security_policy(settings.map_tiles))
                for name, value in PROTECTION.items():
                    headers.setdefault(name, value)
                if scope["state"].get("flashes_shown"):
                    _forget_flashes(scope, headers)
            await send(message)

        await app(scope, receive, send_protected)

    return middleware


def _forget_flashes(scope: Scope, headers: MutableScopeHeaders) -> None:
    had = any(name == b"cookie" and FLASH_COOKIE.encode() + b"=" in value for name, value in scope["headers"])
    if had and not any(FLASH_COOKIE in value for value in headers.getall("set-cookie", [])):
        headers.add("set-cookie", f'{FLASH_COOKIE}=""; HttpOnly; Max-Age=0; Path=/; SameSite=strict')


def screens(handlers: Sequence[ControllerRouterHandler]) -> Router:
    return Router(path="/", route_handlers=handlers, exception_handlers=ERRORS, middleware=[protected])
