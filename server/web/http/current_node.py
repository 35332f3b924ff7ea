"""The node that handles a request, its database pool, and commands to it."""

from urllib.parse import unquote

from server.contract.commit import Answer
from server.dispatch.commands import Command
from server.node import Node
from server.store.connections import Pool
from server.web.http.caller import AsgiConnection
from server.web.http.errors import unless_refused


def node_of(connection: AsgiConnection) -> Node:
    node: Node = connection.app.state.node
    return node


def pool_of(connection: AsgiConnection) -> Pool:
    return node_of(connection).database.pool


async def submit(connection: AsgiConnection, command: Command) -> Answer:
    """Execute a command and return its result. Raises a refusal as a Problem."""
    return unless_refused(await node_of(connection).executor.submit(command))


def rest_of_path(connection: AsgiConnection, before: str) -> str:
    """The text after `before` in the path, which may contain any character: Litestar's own has no `/` at its ends."""
    return unquote(connection.scope["raw_path"].decode("latin-1").partition(before)[2])
