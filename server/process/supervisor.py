"""Several nodes on one port: the parent process starts, watches, restarts and ends them.

Each worker is a separate process (spawned, not forked) with a complete node. The parent serves no requests.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Final

import structlog

from server.process.uvicorn_server import listen
from server.settings import Settings
from server.worker_metrics import Siblings

REUSE_PORT: Final = sys.platform == "linux"
"""Linux spreads connections over all sockets of a port evenly, which is what long-lived websockets need: with one
shared socket, the worker that happens to wake takes a whole burst of reconnects. Elsewhere SO_REUSEPORT does not
balance at all, and the workers share the parent's socket."""

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0
STEADY_SECONDS: Final = 10.0
END_SECONDS: Final = 8.5
"""How long a worker may take to end before it is killed: more than a drain, less than the promised 10 s."""

log = structlog.get_logger(__name__)


class WorkersFailed(Exception):
    """A worker could not start the first time: the log has the reason, and another try would not help."""


class Port:
    """The port of all workers. Raises OSError if it is in use or cannot be bound."""

    def __init__(self, host: str, port: int, *, reuse: bool = REUSE_PORT) -> None:
        listen(host, port).close()  # among sockets that share a port, somebody else's would go unnoticed
        self._host = host
        self._reuse = reuse
        self._socket = listen(host, port, shared=reuse)
        self.number: int = self._socket.getsockname()[1]

    def for_worker(self) -> socket.socket | tuple[str, int]:
        """What a worker gets: the shared socket, or the address for its own socket.

        When a worker with its own socket dies, connections in its queue are refused at once instead of waiting for a
        restart.
        """
        return (self._host, self.number) if self._reuse else self._socket

    def close(self) -> None:
        self._socket.close()


class Workers:
    """The parent of `count` workers. `settings` contain both URLs and the secret. `on_ready` is called once, when all
    workers accept connections.
    """

    def __init__(self, settings: Settings, port: Port, count: int, on_ready: Callable[[], None] | None = None) -> None:
        self._settings = settings
        self._port = port
        self._count = count
        self._on_ready = on_ready
        self._stopping = asyncio.Event()
        self._waiting_for = set(range(count))
        self._processes: dict[int, SpawnProcess] = {}
        self._failed = False
        self._meeting = ""

    def stop(self) -> None:
        """Have all workers end; `run` returns when they have."""
        self._stopping.set()

    async def run(self) -> None:
        """Run the workers until `stop`. Raises WorkersFailed."""
        with tempfile.TemporaryDirectory(prefix="callboard-", ignore_cleanup_errors=True) as self._meeting:
            keepers = [asyncio.create_task(self._keep(i), name=f"worker-{i}") for i in range(self._count)]
            try:
                await self._stopping.wait()
            finally:
                self._stopping.set()
                await self._end(keepers)
        if self._failed:
            raise WorkersFailed

    async def _keep(self, index: int) -> None:
        try:
            await self._restart_loop(index)
        finally:
            self._stopping.set()

    async def _restart_loop(self, index: int) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._run_once(index)
            if self._stopping.is_set():
                return
            if index in self._waiting_for:
                self._failed = True
                return
            log.error("worker_died", worker=index, exitCode=code)
            if time.monotonic() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            except TimeoutError:
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _run_once(self, index: int) -> int | None:
        """Start the worker and wait until it has ended; its exit code."""
        loop = asyncio.get_running_loop()
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(
            target=work,
            args=(self._settings, self._port.for_worker(), Siblings(self._meeting, index, self._count), theirs),
            name=f"callboard-{index}",
        )
        try:
            process.start()
        except OSError as error:
            log.error("worker_not_started", worker=index, reason=repr(error))
            ours.close()
            return None
        finally:
            theirs.close()
        self._processes[index] = process
        log.info("worker_started", worker=index, pid=process.pid)
        over = asyncio.Event()
        loop.add_reader(process.sentinel, over.set)
        loop.add_reader(ours.fileno(), self._heard, index, ours)
        try:
            await over.wait()
        finally:
            loop.remove_reader(process.sentinel)
            loop.remove_reader(ours.fileno())
            ours.close()
        process.join()
        del self._processes[index]
        code = process.exitcode
        process.close()
        return code

    def _heard(self, index: int, ours: Connection) -> None:
        """Wait until the worker is ready or has ended."""
        asyncio.get_running_loop().remove_reader(ours.fileno())
        try:
            ours.recv()
        except EOFError:
            return
        if index in self._waiting_for:
            self._waiting_for.remove(index)
            if not self._waiting_for and self._on_ready is not None:
                self._on_ready()

    async def _end(self, keepers: list[asyncio.Task[None]]) -> None:
        self._port.close()
        for process in self._processes.values():
            process.terminate()
        await asyncio.wait(keepers, timeout=END_SECONDS)
        for index, process in self._processes.items():
            log.error("worker_killed", worker=index, pid=process.pid)
            process.kill()
        await asyncio.gather(*keepers)


def work(settings: Settings, port: socket.socket | tuple[str, int], siblings: Siblings, ready: Connection) -> None:
    """The main function of a worker process. It ends when its parent ends, in whatever way."""
    from server.process.log_format import write_logs
    from server.process.uvicorn_server import run_node
    from server.web.app import create_app

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the parent, which ends us
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    write_logs(settings.log_level, settings.log_format)
    listener = port if isinstance(port, socket.socket) else listen(*port, shared=True)
    if not run_node(create_app(settings, siblings), listener, lambda: ready.send(True)):
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
