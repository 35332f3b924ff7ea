"""What a websocket and a request cost before anybody does anything: the same server configuration, no application.

`/echo` sends every frame back, `/sink` only reads. A POST is read and answered. Started by stand.py.
"""

import asyncio
import socket
import sys
from typing import Any

import uvicorn
import uvloop

from server.process.uvicorn_server import listen, uvicorn_config

ANSWER = b'{"id":"00000000-0000-0000-0000-000000000000"}'


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] == "websocket":
        await _websocket(scope, receive, send)
    elif scope["type"] == "http":
        while (await receive()).get("more_body", False):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER})


async def _websocket(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    back = scope["path"] == "/echo"
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        if back:
            await send({"type": "websocket.send", "text": message["text"]})


class Server(uvicorn.Server):
    """Says where it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen first."""
        await super().startup(sockets)
        assert sockets is not None
        print(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", file=sys.stderr, flush=True)


def main() -> None:
    """Serve until SIGTERM."""
    config = uvicorn_config(application, lifespan="off")  # type: ignore[arg-type]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Server(config).serve([listen("127.0.0.1", 0)]))


if __name__ == "__main__":
    main()
