"""One address for all nodes, as a proxy in front of them gives: a new connection goes to the next node in turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Balancer:
    """`nodes` are the addresses that new connections go to. Connections that are open stay where they are."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.url = ""
        self._taken = 0

    def next_node(self) -> tuple[str, int]:
        """Host and port. Raises `ConnectionRefusedError` when there is no node."""
        if not self.nodes:
            raise ConnectionRefusedError("no node")
        self._taken += 1
        parts = urlsplit(self.nodes[self._taken % len(self.nodes)])
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port


@asynccontextmanager
async def balancer() -> AsyncIterator[Balancer]:
    """Listens on a free port of loopback until the end."""
    found = Balancer()
    connections: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            from_node, to_node = await asyncio.open_connection(*found.next_node())
            await asyncio.gather(carry(reader, to_node), carry(from_node, writer))
        except OSError:
            pass
        finally:
            writer.close()
            connections.discard(task)

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    found.url = f"http://{host}:{port}"
    try:
        yield found
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
