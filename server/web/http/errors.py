"""Every error of the HTTP API as an RFC 9457 problem: its status, its stable code, and further members.

No input of a client causes a 500. Every 500 is a bug of Callboard and is logged with its traceback.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
import structlog
from litestar import Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap, Send
from msgspec import Struct

from server.dispatch import refusals as r
from server.dispatch.refusals import Refusal
from server.store.query import DatabaseAway
from server.web.http.caller import Call

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:callboard:problem:"
RETRY_AFTER_SECONDS: Final = 1
SAID_WITHIN_SECONDS: Final = 60

T = TypeVar("T")

log = structlog.get_logger(__name__)


class FieldError(Struct, frozen=True):
    """A field with an error: its name on the wire (`pickup.lat`), and what is wrong."""

    field: str
    message: str


class Kind(Struct, frozen=True):
    status: int
    code: str
    title: str


MALFORMED: Final = Kind(400, "malformed", "The body is not valid JSON")
BAD_REQUEST: Final = Kind(400, "bad_request", "Bad request")
UNAUTHORIZED: Final = Kind(401, "unauthorized", "Missing, invalid or expired credentials")
FORBIDDEN: Final = Kind(403, "forbidden", "Not allowed")
NOT_FOUND: Final = Kind(404, "not_found", "Not found")
METHOD_NOT_ALLOWED: Final = Kind(405, "method_not_allowed", "Method not allowed")
TOO_LARGE: Final = Kind(413, "too_large", "The body is too large")
UNSUPPORTED: Final = Kind(415, "unsupported_media_type", "Unsupported media type")
INVALID: Final = Kind(422, "invalid", "Invalid request")
TOO_MANY: Final = Kind(429, "too_many_requests", "Too many requests")
INTERNAL: Final = Kind(500, r.INTERNAL_ERROR.code, "Internal error")
TRY_AGAIN: Final = Kind(503, r.TRY_AGAIN.code, "Try again")
NOT_YET_SUPPORTED: Final = Kind(503, r.NOT_YET_SUPPORTED.code, "Callboard is being updated")
PAY_REQUIRED: Final = Kind(422, r.PAY_REQUIRED.code, "The driver's pay is missing")
ADDRESS_NOT_FOUND: Final = Kind(422, "address_not_found", "The address was not found")
ADDRESS_AMBIGUOUS: Final = Kind(422, "address_ambiguous", "The address is in several places")

REQUEST_TIMEOUT: Final = Kind(408, "request_timeout", "The request took too long to arrive")
UPGRADE_REQUIRED: Final = Kind(426, "upgrade_required", "Upgrade required")
HEAD_TOO_LARGE: Final = Kind(431, "head_too_large", "The request headers are too large")
"""No handler sends these: the connection refuses the request, or the address is for websockets only."""

CSRF_FAILED: Final = Kind(403, "csrf_failed", "Missing or invalid CSRF token")
USER_EXISTS: Final = Kind(409, "user_exists", "A user with this name exists")
TOO_MANY_WEBHOOKS: Final = Kind(409, "too_many_webhooks", "Too many webhooks")
WEBHOOK_NOT_ACTIVE: Final = Kind(409, "webhook_not_active", "The webhook is not active")
PERSON_SEARCH_RUNS: Final = Kind(409, "person_search_runs", "Another search for a person is running")
LAST_ADMIN: Final = Kind(409, "last_admin", "This is the last active admin")

CONFLICTS: Final = {
    code: Kind(409, code, title)
    for code, title in {
        r.OFFER_NO_LONGER_OPEN.code: "The offer is no longer open",
        r.DELIVERY_NOT_WAITING.code: "The delivery is not waiting for a driver",
        r.DELIVERY_DIFFERS.code: "A different delivery has this sellerOrderId",
        r.ALREADY_DELIVERED.code: "Already delivered",
        r.ALREADY_PICKED_UP.code: "Already picked up",
        r.NO_DRIVER_AVAILABLE.code: "No driver is available",
        r.DRIVER_NOT_AVAILABLE.code: "The driver is not available",
        r.DRIVER_EXISTS.code: "The driver already exists",
        r.ASSIGNMENT_NOT_ACTIVE.code: "The assignment is no longer active",
        r.VERSION_CHANGED.code: "Changed in the meantime",
        r.ALERT_OVER.code: "The alert is already resolved",
        r.DELIVERY_OVER.code: "The delivery has already ended",
        r.NOT_PICKED_UP.code: "Not picked up yet",
        r.ALREADY_RETURNING.code: "Already on its way back",
        r.NOT_CANCELLED.code: "Not cancelled",
        r.TOO_LATE_TO_RESTORE.code: "Too late to restore",
        r.NOT_FAILED.code: "Not failed",
        r.DELIVERY_ERASED.code: "Personal data was erased",
        r.OFFER_OPEN.code: "The delivery has an open offer",
        r.ACTION_ID_USED.code: "The actionId was used for another action",
        r.PIN_WRONG.code: "The PIN is wrong",
        r.PIN_LOCKED.code: "Too many wrong PINs",
        "proof_required": "Proof is missing",
        r.TOO_MANY_PROOFS.code: "Too many photos and signatures",
        r.HAS_ACTIVE_WORK.code: "The driver has active deliveries",
        r.TOO_MANY_UNSEEN.code: "The driver has too many unseen messages",
        r.DRIVER_DEACTIVATED.code: "The driver is deactivated",
        TOO_MANY_WEBHOOKS.code: TOO_MANY_WEBHOOKS.title,
        WEBHOOK_NOT_ACTIVE.code: WEBHOOK_NOT_ACTIVE.title,
        USER_EXISTS.code: USER_EXISTS.title,
        LAST_ADMIN.code: LAST_ADMIN.title,
        PERSON_SEARCH_RUNS.code: PERSON_SEARCH_RUNS.title,
    }.items()
}
"""The refusals that an HTTP client can get, by code."""

OTHERS: Final = {
    kind.code: kind
    for kind in (
        MALFORMED,
        BAD_REQUEST,
        UNAUTHORIZED,
        FORBIDDEN,
        CSRF_FAILED,
        NOT_FOUND,
        METHOD_NOT_ALLOWED,
        TOO_LARGE,
        UNSUPPORTED,
        INVALID,
        TOO_MANY,
        INTERNAL,
        TRY_AGAIN,
        NOT_YET_SUPPORTED,
        PAY_REQUIRED,
        ADDRESS_NOT_FOUND,
        ADDRESS_AMBIGUOUS,
    )
}
_BY_STATUS: Final = {kind.status: kind for kind in reversed(OTHERS.values())} | {400: BAD_REQUEST}


class Problem(Exception):
    """An error response. `more` are further members of the problem."""

    def __init__(self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None, **more: object) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.more: dict[str, Any] = more


def unauthorized(detail: str) -> Problem:
    """401: credentials are missing, invalid or expired."""
    return Problem(UNAUTHORIZED, detail, {"WWW-Authenticate": 'Bearer realm="callboard"'})


def forbidden(detail: str) -> Problem:
    """403: the caller is known but not allowed."""
    return Problem(FORBIDDEN, detail)


def not_found() -> Problem:
    """404: nothing has this id, or the caller may not see it."""
    return Problem(NOT_FOUND, r.NOT_FOUND.message)


def existing(found: T | None) -> T:
    """What was found. Raises 404 for None."""
    if found is None:
        raise not_found()
    return found


def invalid(errors: Sequence[FieldError]) -> Problem:
    detail = "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in errors)
    return Problem(INVALID, detail, errors=list(errors))


def invalid_field(field: str, message: str) -> Problem:
    return invalid([FieldError(field, message)])


def too_many(retry_after_seconds: int) -> Problem:
    detail = f"Too many requests; try again in {retry_after_seconds} s."
    return Problem(TOO_MANY, detail, {"Retry-After": str(retry_after_seconds)})


def try_again() -> Problem:
    """503: the client can send the same request again."""
    return Problem(TRY_AGAIN, r.TRY_AGAIN.message, {"Retry-After": str(RETRY_AFTER_SECONDS)})


def refused(refusal: Refusal, **more: object) -> Problem:
    """The problem for a refusal: 409, except for unknown ids (404) and for what can be tried again (503)."""
    match refusal.code:
        case r.NOT_FOUND.code:
            return not_found()
        case r.TRY_AGAIN.code:
            return try_again()
        case r.INTERNAL_ERROR.code:
            return Problem(INTERNAL, refusal.message)
        case r.NOT_YET_SUPPORTED.code:
            return Problem(NOT_YET_SUPPORTED, refusal.message, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        case r.TOO_MANY_MESSAGES.code:
            return too_many(SAID_WITHIN_SECONDS)
        case r.PAY_REQUIRED.code:
            return Problem(PAY_REQUIRED, refusal.message)
    return Problem(conflict(refusal.code), refusal.message, **{**refusal.more, **more})


def conflict(code: str) -> Kind:
    return CONFLICTS.get(code) or Kind(409, code, code.replace("_", " ").capitalize())


def unless_refused(answer: T | Refusal) -> T:
    """The answer, or the problem raised if it is a refusal."""
    if isinstance(answer, Refusal):
        raise refused(answer)
    return answer


def as_response(problem: Problem) -> Response[dict[str, object]]:
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(_content(problem), status_code=problem.kind.status, media_type=MEDIA_TYPE, headers=headers)


def problem_body(problem: Problem) -> bytes:
    """The problem as JSON bytes, for code outside Litestar's handlers."""
    return msgspec.json.encode(_content(problem))


async def send_problem(send: Send, problem: Problem) -> None:
    """Answer a request with the problem, for code outside Litestar's handlers."""
    body = problem_body(problem)
    headers = {**problem.headers, "Cache-Control": "no-store", "Content-Type": MEDIA_TYPE}
    fields = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    fields.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": problem.kind.status, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _content(problem: Problem) -> dict[str, object]:
    kind = problem.kind
    return {
        "type": TYPE_PREFIX + kind.code,
        "title": kind.title,
        "status": kind.status,
        "detail": problem.detail,
        "code": kind.code,
        **problem.more,
    }


def from_litestar(request: Call, error: HTTPException) -> Response[dict[str, object]]:
    """The answer to what the framework refuses before a handler runs."""
    if error.status_code >= 500:
        return as_response(bug(request, error))
    kind = kind_of(error.status_code)
    detail = {404: "There is nothing at this address.", 405: "This address does not support this method."}
    return as_response(Problem(kind, detail.get(kind.status, error.detail), _with_head(error.headers)))


def _with_head(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {
        name: allowed(method.strip() for method in value.split(",")) if name.lower() == "allow" else value
        for name, value in (headers or {}).items()
    }


def allowed(methods: Iterable[str]) -> str:
    """The value of `Allow`: HEAD works wherever GET does."""
    found = set(methods)
    return ", ".join(sorted(found | {"HEAD"} if "GET" in found else found))


def kind_of(status: int) -> Kind:
    return _BY_STATUS.get(status, BAD_REQUEST)


def bug(request: Call, error: Exception) -> Problem:
    """500; the log has the traceback."""
    log.error("request_failed", method=request.method, path=request.scope["path"], exc_info=error)
    return Problem(INTERNAL, r.INTERNAL_ERROR.message)


def exception_handlers() -> ExceptionHandlersMap:
    """The application's handlers for everything that a request can raise."""
    return {
        Problem: lambda _, problem: as_response(problem),
        DatabaseAway: lambda *_: as_response(try_again()),
        HTTPException: from_litestar,
        Exception: lambda request, error: as_response(bug(request, error)),
    }
