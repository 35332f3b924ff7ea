"""Everything that answers HTTP, put together into the application."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from litestar import Litestar
from litestar.datastructures import State
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
    return [*(handler for module in API for handler in module.HANDLERS), system.Metrics, static]


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
