"""What every route does: HEAD, OPTIONS, and an answer when the node stops; and the handlers of modules, collected."""

import asyncio
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import cast

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from litestar.types import HTTPScope, LifeSpanReceive, LifeSpanScope, LifeSpanSend, Message, Receive, Scope, Send

from server.web.http.caller import Call
from server.web.http.cross_origin import allowed_origin, answer_preflight, is_preflight, readable_by
from server.web.http.errors import allowed, send_problem, try_again
from server.web.http.public_path import below, leading_below


class Application(Litestar):
    """1. HEAD works wherever GET does: the same headers and no body; a stream ends at once.
    2. A request that is cancelled before its response began, because the node stops, is answered `try_again`.
    3. Pages of `origins` may call with a token and read the responses (cross_origin.py).
    4. Addresses begin with `root`, if the public URL has a path (public_path.py).
    """

    origins: frozenset[bytes] = frozenset()
    root: Callable[[], str] = staticmethod(lambda: "")

    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
            return
        root = self.root()
        if root:
            scope = below(scope, root)
        if scope["type"] != ScopeType.HTTP:
            await super().__call__(scope, receive, send)
            return
        if root:
            send = leading_below(cast(Send, send), root)
        await self._answer(scope, cast(Receive, receive), cast(Send, send))

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        if self.origins:
            origin = allowed_origin(scope, self.origins)
            if origin is not None and is_preflight(scope):
                await answer_preflight(send, origin)
                return
            send = readable_by(send, origin)
        if scope["method"] == "HEAD":
            scope, send = cast(HTTPScope, {**scope, "method": "GET"}), _head_of(send)
        begun = False

        async def noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await super().__call__(scope, receive, noting)
        except asyncio.CancelledError:
            if begun:
                raise
            await send_problem(send, try_again())


def _head_of(send: Send) -> Send:
    """Sends the start of a response and ends it there; a streaming handler sees that the client is gone."""
    over = False

    async def send_head(message: Message) -> None:
        nonlocal over
        if message["type"] == "http.response.start" and not over:
            over = True
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_head


def handlers_in(modules: Iterable[ModuleType]) -> list[HTTPRouteHandler]:
    """All handlers that these modules declare, in that order."""
    return [found for module in modules for found in vars(module).values() if isinstance(found, HTTPRouteHandler)]


def options_handler(handlers: Iterable[HTTPRouteHandler]) -> HTTPRouteHandler:
    """The response to OPTIONS. Register it first, otherwise Litestar adds its own, which lists the methods of one
    handler only.
    """

    async def options(request: Call) -> ASGIResponse:
        found = next(route for route in request.app.routes if route.path_format == request.scope["path_template"])
        return ASGIResponse(status_code=204, headers={"Allow": allowed(map(str, found.methods))})

    paths = sorted({path for handler in handlers for path in handler.paths})
    return HTTPRouteHandler(paths, http_method=["OPTIONS"], status_code=200)(options)
