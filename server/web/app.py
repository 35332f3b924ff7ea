"""The application of one node: its routes, and its life between start and stop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from litestar import Litestar

from server.node import Node
from server.settings import Settings
from server.web.driver_socket import driver_socket
from server.web.routes import configure
from server.web.screens.board import board_handlers
from server.worker_metrics import Siblings


def create_app(settings: Settings, siblings: Siblings | None = None) -> Litestar:
    """A node as an ASGI application. The database must be migrated; both servers are named in `settings`.

    `siblings` are the other workers of the same port, if there are any.
    """
    node = Node(settings)

    @asynccontextmanager
    async def life(app: Litestar) -> AsyncIterator[None]:
        app.state.node = node
        app.state.drain = node.drain
        app.state.siblings = siblings
        async with siblings.telling() if siblings is not None else nullcontext():
            await node.start()
            try:
                yield
            finally:
                await node.stop()

    return configure(settings, route_handlers=[driver_socket, *board_handlers()], lifespan=[life])
