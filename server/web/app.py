"""The application of one node: everything that answers, put together, and its life between start and stop."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from litestar import Litestar
from litestar.datastructures import State

from server.node import Node
from server.redis.bus import LOGINS
from server.settings import Settings
from server.tasks import stop, supervised
from server.web.access.api_keys import ApiKeys
from server.web.access.login_limits import SIGN_IN_TRIES, LoginLimits, Tries
from server.web.access.login_marks import LoginMarks
from server.web.access.sessions import Sessions
from server.web.access.users import Passwords
from server.web.api import system
from server.web.api.bodies import BODY_LIMIT_BYTES
from server.web.api.routes import API
from server.web.driver_socket import driver_socket
from server.web.http.assets import static_file
from server.web.http.errors import exception_handlers
from server.web.http.every_route import Application, handlers_in, options_handler
from server.web.screens.insights import InsightsReader
from server.web.screens.routes import screen_router
from server.web.screens.shell import WRONG_ADDRESSES
from server.worker_metrics import Siblings


def create_app(settings: Settings, siblings: Siblings | None = None) -> Litestar:
    """A node as an ASGI application. The database must be migrated; both servers are named in `settings`.

    `siblings` are the other workers of the same port, if there are any.
    """
    app = routed()
    become_node(app, settings, siblings)
    return app


def routed() -> Application:
    """The routes of any node. To put them together takes longer than to start the node."""
    api = handlers_in(API)
    return Application(
        route_handlers=[options_handler(api), *api, screen_router(), static_file, driver_socket],
        lifespan=[_life, _keep_sessions],
        exception_handlers={**exception_handlers(), **WRONG_ADDRESSES},
        middleware=[system.METRICS.middleware],
        request_max_body_size=BODY_LIMIT_BYTES,
        openapi_config=None,
        logging_config=None,
    )


def become_node(app: Application, settings: Settings, siblings: Siblings | None = None) -> None:
    """All that `app` has beside its routes. It may have been another node, which ended."""
    node = Node(settings)
    app.origins = settings.origins
    app.root = lambda: node.settings.root
    sessions = Sessions(lambda: node.database.pool, settings.secrets, secure=settings.secure_cookies, root=app.root)
    limits = LoginLimits()
    _share_login_limits(limits, node)
    app.state = State(
        {
            "settings": settings,
            "node": node,
            "siblings": siblings,
            "api_keys": ApiKeys(lambda: node.database.pool),
            "sessions": sessions,
            "passwords": Passwords(),
            "login_limits": limits,
            "sign_in_tries": Tries(SIGN_IN_TRIES),
            "login_marks": LoginMarks(sessions, settings.secrets),
            "insights": InsightsReader(),
        },
        deep_copy=False,
    )


@asynccontextmanager
async def _life(app: Litestar) -> AsyncIterator[None]:
    node: Node = app.state.node
    siblings: Siblings | None = app.state.siblings
    app.state.drain = node.drain
    async with siblings.telling() if siblings is not None else nullcontext():
        await node.start()
        try:
            yield
        finally:
            await node.stop()


def _share_login_limits(limits: LoginLimits, node: Node) -> None:
    """Tries to log in count on every node, while Redis carries the word."""
    limits.tell = lambda news: None if node.heartbeat.alone else node.bus.publish(LOGINS, news)
    node.bus.subscribe(LOGINS, lambda news: limits.hear(news, time.monotonic()))


@asynccontextmanager
async def _keep_sessions(app: Litestar) -> AsyncIterator[None]:
    keeping = supervised("sessions", app.state.sessions.keep)
    try:
        yield
    finally:
        await stop(keeping)
