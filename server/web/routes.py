"""Everything that answers HTTP, put together into the application."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

from server.paths import STATIC
from server.settings import Settings
from server.web import admin, deliveries, documents, drivers, keys, system, watching
from server.web.api_keys import ApiKeys
from server.web.endpoint import BODY_LIMIT_BYTES
from server.web.errors import exception_handlers

API: Final = (deliveries, drivers, admin, watching, keys, system, documents)


def http_handlers() -> list[ControllerRouterHandler]:
    """Every handler and router of the HTTP side."""
    static = create_static_files_router(path="/static", directories=[STATIC], include_in_schema=False)
    api = [handler for module in API for handler in module.HANDLERS]
    return [options_handler(api), *api, system.Metrics, static]


def options_handler(handlers: Iterable[ControllerRouterHandler]) -> HTTPRouteHandler:
    """The answer to OPTIONS; to be registered first, or Litestar makes its own, which names one handler's methods."""

    async def options(request: Request[Any, Any, Any]) -> ASGIResponse:
        found = next(route for route in request.app.routes if route.path_format == request.scope["path_template"])
        allowed = ", ".join(sorted(found.methods))
        return ASGIResponse(status_code=204, headers={"Allow": allowed})

    paths = sorted({path for handler in handlers if isinstance(handler, HTTPRouteHandler) for path in handler.paths})
    return HTTPRouteHandler(paths, http_method=["OPTIONS"], status_code=200, include_in_schema=False)(options)


def configure(
    settings: Settings,
    *,
    route_handlers: Sequence[ControllerRouterHandler] = (),
    lifespan: Sequence[Callable[[Litestar], AbstractAsyncContextManager[None]]] = (),
) -> Litestar:
    """The application with these handlers beside the HTTP ones. `lifespan` leaves the node in `state.node`."""
    app = Litestar(
        route_handlers=[*http_handlers(), *route_handlers],
        lifespan=list(lifespan),
        state=State({"settings": settings}),
        exception_handlers=exception_handlers(),
        middleware=[system.METRICS.middleware],
        request_max_body_size=BODY_LIMIT_BYTES,
        openapi_config=None,
        logging_config=None,
    )
    app.state.api_keys = ApiKeys(lambda: app.state.node.database.pool)
    return app
