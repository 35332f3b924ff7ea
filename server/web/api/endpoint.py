"""Declares handlers of the API: roles, input and responses. The OpenAPI document is generated from the same
declarations.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import Parameter, Signature
from types import NoneType
from typing import Annotated, Final, TypeAlias, TypeVar, get_args, get_type_hints

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from litestar.types import HTTPResponseStartEvent, Receive, Scope, Send
from msgspec import Struct, UnsetType

from server.dispatch.refusals import Refusal
from server.ids import canonical
from server.web.access.guards import Guard
from server.web.api.bodies import JSON, Body, Query, Upload
from server.web.api.schemas import RequestQuery
from server.web.http.caller import AsgiConnection, Call
from server.web.http.errors import Kind, existing

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

encode: Final = msgspec.json.Encoder().encode


class Download(Struct, frozen=True):
    """A response body that is a file of one of these types."""

    types: tuple[str, ...]


class Described(Struct, frozen=True):
    """The OpenAPI data of a handler, without its path and method. No roles: no authentication needed."""

    summary: str
    answers: Mapping[int, object]
    refusals: tuple[str, ...] = ()
    body: "Body[object] | None" = None
    query: "Query[object] | None" = None
    upload: Upload | None = None
    roles: tuple[str, ...] | None = None
    problems: tuple[Kind, ...] = ()


class Reply(ASGIResponse):
    """A response with headers as bytes: encoding them is most of the cost of Litestar's own responses."""

    __slots__ = ("_start",)

    def __init__(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.body = body
        self.status_code = status
        self._start: HTTPResponseStartEvent = {"type": "http.response.start", "status": status, "headers": headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(self._start)
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


_NO_STORE: Final = (b"cache-control", b"no-store")
_JSON: Final = (b"content-type", JSON.encode())


def answer(
    content: object, status: int = 200, headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()
) -> ASGIResponse:
    """A JSON response with this content, a struct or a dict of structs."""
    body = encode(content)
    fields = [_JSON, (b"content-length", b"%d" % len(body)), _NO_STORE]
    if headers:
        given = headers.items() if isinstance(headers, Mapping) else headers
        fields += [(name.lower().encode(), value.encode()) for name, value in given]
    return Reply(body, status, fields)


def no_content() -> ASGIResponse:
    """204."""
    return Reply(b"", 204, [_NO_STORE])


def given(value: T_co | UnsetType) -> T_co | None:
    """The value that was sent, or None."""
    return None if isinstance(value, UnsetType) else value


def id_in_path(text: str) -> str:
    """The id in normalized form. Raises 404 for a text that is not an id."""
    return existing(canonical(text))


async def _id(_: Call, text: str) -> str:
    return id_in_path(text)


PathId: TypeAlias = Annotated[str, _id]
"""An id in the path of an endpoint, in normalized form. Another text gets 404."""
MAY_BE_MISSING: Final = "may be missing"
MayBeMissing: TypeAlias = Annotated[T, MAY_BE_MISSING]
"""A body that the client may leave out, which counts as an empty object."""


class ApiHandler(HTTPRouteHandler):
    """A handler that passes itself to its guards. Litestar would copy it for every guard of every request."""

    async def authorize_connection(self, connection: AsgiConnection) -> None:
        for guard in self.resolve_guards():
            await guard(connection, self)  # type: ignore[misc]


Handler = Callable[..., Awaitable[object]]


def endpoint(
    route: str,
    summary: str,
    guard: Guard | None,
    *refusals: Kind | Refusal | str,
    status: int = 200,
    answers: Mapping[int, object] | None = None,
    upload: Upload | None = None,
    problems: tuple[Kind, ...] = (),
) -> Callable[[Handler], HTTPRouteHandler]:
    """Declare a handler: `route` is its method and path, and its signature says what it takes and returns. `refusals`
    are the codes of its 409 responses, `problems` further errors. Without a guard, it needs no authentication.

    After the request, it takes what these types say:

    1. A struct: the query if it is a `RequestQuery`, otherwise the body. `Annotated` can name the `Body` to use.
    2. A text in the path: `FromPath[str]` as it is, `PathId`, or `Annotated` with another function of the request and
       the text. These are called after the body and the query are decoded. One that may contain `/` is `{name:path}`
       at the end of the route.

    It returns the struct of the response, a `Page`, or None for 204. A handler with `answers`, which maps each status
    to the struct of its body, makes the response itself.
    """
    method, path = route.split()
    codes = tuple(code if isinstance(code, str) else code.code for code in refusals)

    def declare(handle: Handler) -> HTTPRouteHandler:
        types = get_type_hints(handle, include_extras=True)
        del types["request"]
        returned = types.pop("return")
        inputs = {name: found for name, kind in types.items() if (found := _input(kind)) is not None}
        in_path = {name: kind for name, kind in types.items() if name not in inputs}
        described = Described(
            summary=summary,
            answers=answers or ({204: None} if returned is NoneType else {status: returned}),
            refusals=codes,
            body=next((one for one in inputs.values() if isinstance(one, Body)), None),
            query=next((one for one in inputs.values() if isinstance(one, Query)), None),
            upload=upload,
            roles=guard.roles if guard is not None else None,
            problems=problems,
        )
        return ApiHandler(
            re.sub(r"\{(\w+)\}", r"{\1:str}", path),
            http_method=method,  # type: ignore[arg-type]
            guards=[guard] if guard is not None else None,
            status_code=200,
            opt={"described": described},
        )(_adapted(handle, inputs, in_path, status))

    return declare


def _input(kind: object) -> "Body[object] | Query[object] | None":
    """How a parameter of this type is decoded; None for one in the path."""
    struct, *more = get_args(kind) or [kind]
    if more and isinstance(more[0], Body):
        return more[0]
    if not isinstance(struct, type) or not issubclass(struct, Struct):
        return None
    return Query(struct) if issubclass(struct, RequestQuery) else Body(struct, optional=MAY_BE_MISSING in more)


def _adapted(
    handle: Handler,
    inputs: Mapping[str, "Body[object] | Query[object]"],
    in_path: Mapping[str, object],
    status: int,
) -> Callable[..., Awaitable[ASGIResponse]]:
    """The handler as Litestar calls it: with the request and the texts in the path."""
    resolvers = [(name, get_args(kind)[1]) for name, kind in in_path.items() if callable(get_args(kind)[1])]

    async def adapted(request: Call, **values: object) -> ASGIResponse:
        for name, one in inputs.items():
            values[name] = await one.of(request) if isinstance(one, Body) else one.of(request)
        for name, resolve in resolvers:
            values[name] = await resolve(request, values[name])
        result = await handle(request, **values)
        if isinstance(result, ASGIResponse):
            return result
        return no_content() if result is None else answer(result, status)

    types = {"request": Call, **dict.fromkeys(in_path, FromPath[str])}
    parameters = [Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in types.items()]
    adapted.__name__, adapted.__qualname__, adapted.__module__ = handle.__name__, handle.__qualname__, handle.__module__
    adapted.__annotations__ = {**types, "return": ASGIResponse}
    adapted.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return adapted
