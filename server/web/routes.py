"""Everything that answers HTTP, put together into the application."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from litestar.types import ControllerRouterHandler

from server.settings import Settings
from server.tasks import stop, supervised
from server.users import Passwords
from server.web.access.api_keys import ApiKeys
from server.web.access.devices import Devices
from server.web.access.login_limits import LoginLimits
from server.web.access.sessions import Sessions
from server.web.api import admin, deliveries, documents, driver_calls, drivers, push, system, webhooks
from server.web.api import alerts as alerting
from server.web.api import api_keys as keys
from server.web.api import notices as noticing
from server.web.api import operations as watching
from server.web.api import users as people_api
from server.web.api.endpoint import BODY_LIMIT_BYTES
from server.web.http.application import Application
from server.web.http.assets import static_file
from server.web.http.errors import exception_handlers
from server.web.screens import alerts as alert_screen
from server.web.screens import insights
from server.web.screens import notices as notice_screen
from server.web.screens import policy as policy_screen
from server.web.screens import unassigned as wait_screen
from server.web.screens import webhooks as webhook_screen
from server.web.screens.login import people_handlers
from server.web.screens.shell import screens, unknown_address

API: Final = (
    deliveries,
    drivers,
    driver_calls,
    push,
    admin,
    watching,
    alerting,
    noticing,
    webhooks,
    keys,
    people_api,
    system,
    documents,
)
SCREENS: Final = (policy_screen, insights, alert_screen, notice_screen, wait_screen, webhook_screen)


def http_handlers() -> list[ControllerRouterHandler]:
    """Every handler and router of the HTTP side."""
    api = [handler for module in API for handler in module.HANDLERS]
    return [
        options_handler(api),
        *api,
        *people_handlers(),
        screens([handler for module in SCREENS for handler in module.HANDLERS]),
        system.metrics,
        static_file,
    ]


def options_handler(handlers: Iterable[ControllerRouterHandler]) -> HTTPRouteHandler:
    """The answer to OPTIONS; to be registered first, or Litestar makes its own, which names one handler's methods."""

    async def options(request: Request[Any, Any, Any]) -> ASGIResponse:
        found = next(route for route in request.app.routes if route.path_format == request.scope["path_template"])
        methods = {str(method) for method in found.methods}
        allowed = ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
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
    app = Application(
        route_handlers=[*http_handlers(), *route_handlers],
        lifespan=[*lifespan, _keep_sessions],
        state=State({"settings": settings}),
        exception_handlers={**exception_handlers(), NotFoundException: unknown_address},
        middleware=[system.METRICS.middleware],
        request_max_body_size=BODY_LIMIT_BYTES,
        openapi_config=None,
        logging_config=None,
    )
    app.state.api_keys = ApiKeys(lambda: app.state.node.database.pool)
    app.state.sessions = Sessions(
        lambda: app.state.node.database.pool, settings.secrets, secure=settings.secure_cookies
    )
    app.state.passwords = Passwords()
    app.state.login_limits = LoginLimits()
    app.state.devices = Devices(app.state.sessions, settings.secrets)
    app.state.insights = insights.InsightsReader()
    return app


@asynccontextmanager
async def _keep_sessions(app: Litestar) -> AsyncIterator[None]:
    keeping = supervised("sessions", app.state.sessions.keep)
    try:
        yield
    finally:
        await stop(keeping)
