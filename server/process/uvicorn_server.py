"""Runs a node under uvicorn with our own signals, draining and socket options.

Of the application it needs only `state.settings` and an optional `state.drain`.
"""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

import structlog
import uvicorn
import uvloop
from litestar import Litestar

from server.process.coalescing_transport import HttpProtocol, WebSocketProtocol
from server.process.connection_limits import allow_files, look_at
from server.sockets.pings import PING_SECONDS
from server.tasks import wait_until_set

BACKLOG: Final = 4096
MAX_FRAME_BYTES: Final = 65_536
SEND_STALLED_MS: Final = 15_000
"""How long the kernel retries bytes that a client does not acknowledge before it drops the connection."""
DRAIN_SECONDS: Final = 3.0
FINISH_SECONDS: Final = 2
SHUTDOWN_SECONDS: Final = 5.0
TICK_SECONDS: Final = 0.1
TICKS_A_DAY: Final = 864_000
CLOSE_POLL_SECONDS: Final = 0.01
GARBAGE_THRESHOLD: Final = 20_000
SWITCH_SECONDS: Final = 0.001

log = structlog.get_logger("callboard.serve")


def uvicorn_config(app: Litestar, **changes: object) -> uvicorn.Config:
    """How every node runs, in production and in tests."""
    options: dict[str, Any] = {
        "app": app,
        "loop": "uvloop",
        "http": HttpProtocol,
        "ws": WebSocketProtocol,
        "ws_max_size": MAX_FRAME_BYTES,
        "ws_per_message_deflate": False,
        "ws_ping_interval": PING_SECONDS,
        "ws_ping_timeout": PING_SECONDS,
        "lifespan": "on",
        "interface": "asgi3",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "backlog": BACKLOG,
        "timeout_keep_alive": 30,
        "timeout_graceful_shutdown": FINISH_SECONDS,
    }
    return uvicorn.Config(**(options | changes))


class NodeServer(uvicorn.Server):
    """A uvicorn server that drains before it closes, and ends without raising the signal again. `on_started` is called
    once it accepts connections.
    """

    def __init__(self, app: Litestar, config: uvicorn.Config, on_started: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self._app = app
        self._on_started = on_started
        self._exit = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen."""
        await super().startup(sockets)
        if self.started and self._on_started is not None:
            self._on_started()

    async def on_tick(self, counter: int) -> bool:
        """Runs ten times a second; once a second it closes connections that are past their deadlines."""
        if counter % 10 == 0:
            look_at(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def main_loop(self) -> None:
        """Tick until the server has to stop. `handle_exit` ends the pause between two ticks."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % TICKS_A_DAY
            await wait_until_set(self._exit, TICK_SECONDS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The handler of SIGTERM and SIGINT: begin the shutdown, now if the loop runs."""
        super().handle_exit(sig, frame)
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().call_soon_threadsafe(self._exit.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, let the application disconnect its clients, then close; every step has a limit."""
        for listener in self.servers:
            listener.close()
        drain = getattr(self._app.state, "drain", None)
        if drain is not None:
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await drain()
            except TimeoutError:
                log.warning("drain_timed_out", seconds=DRAIN_SECONDS)
            except Exception:
                log.exception("drain_failed")
        try:
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                await self._close(sockets or [])
        except TimeoutError:
            log.warning("shutdown_timed_out", seconds=SHUTDOWN_SECONDS)

    async def _close(self, sockets: list[socket.socket]) -> None:
        """As uvicorn's own shutdown, which takes at least 0.1 s: a node without open connections stops at once."""
        for listener in sockets:
            listener.close()
        state, limit = self.server_state, self.config.timeout_graceful_shutdown
        for connection in list(state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(limit):
                while (state.connections or state.tasks) and not self.force_exit:  # noqa: ASYNC110 uvicorn has no event
                    await asyncio.sleep(CLOSE_POLL_SECONDS)
                for server in self.servers:
                    await server.wait_closed()
        except TimeoutError:
            log.warning("requests_cancelled", count=len(state.tasks), seconds=limit)
            for task in state.tasks:
                task.cancel()
        if not self.force_exit:
            await self.lifespan.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Exit on SIGINT and SIGTERM with code 0: uvicorn's own would end with the signal's."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def collect_rarely() -> None:
    """What was loaded stays for good: the collector need not look through it again and again, nor after every 700 of
    the many short-lived objects of a busy node. A thread that plans gives way to the event loop after a millisecond.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 20)
    sys.setswitchinterval(SWITCH_SECONDS)


def run_node(app: Litestar, listener: socket.socket, on_started: Callable[[], None] | None = None) -> bool:
    """Serve in this process until SIGTERM or SIGINT. Returns whether it had started; otherwise the log has the
    reason.
    """

    def started() -> None:
        collect_rarely()
        if on_started is not None:
            on_started()

    allow_files()
    config = uvicorn_config(app, forwarded_allow_ips=app.state.settings.trusted_proxies)
    server = NodeServer(app, config, started)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve([listener]))
    except SystemExit:
        log.debug("node_did_not_start")
    return server.started


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening-to-be socket; `shared` lets several be bound to one port (SO_REUSEPORT).

    Raises OSError.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sys.platform == "linux":
            # Accepted sockets inherit it. uvicorn's pings do not free a sender stuck on a dead client.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SEND_STALLED_MS)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
