"""A process of ours beside the run: it gets its orders as lines of JSON on its standard input, and ends with it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from server.paths import ROOT
from tests.bench.machine import many_files

ANSWER_SECONDS: Final = 20.0
END_SECONDS: Final = 5.0

Obey = Callable[[dict[str, Any]], Awaitable[Any]]


class Aside:
    """An async context manager: the module runs in a separate process, with its errors in `log`."""

    def __init__(self, module: str, log: Path) -> None:
        self.pid = 0
        self._module = module
        self._log = log
        self._one_at_a_time = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._module,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
                limit=1 << 24,
            )
        self.pid = self._process.pid
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def tell(self, within: float = ANSWER_SECONDS, **order: Any) -> Any:
        """Send an order and wait for its answer. If the caller is cancelled, the order is still completed."""
        return await asyncio.shield(asyncio.ensure_future(self._tell(within, order)))

    async def _tell(self, within: float, order: dict[str, Any]) -> Any:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        async with self._one_at_a_time, asyncio.timeout(within):
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            await process.stdin.drain()
            answer = await process.stdout.readline()
        if not answer:
            raise ConnectionError(f"{self._module} has ended: see {self._log}")
        return msgspec.json.decode(answer)


async def obey_orders(obey: Obey) -> None:
    """In such a process: carry out one order after another, until there are no more."""
    many_files()
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async for line in orders:
        sys.stdout.buffer.write(msgspec.json.encode(await obey(msgspec.json.decode(line))) + b"\n")
        sys.stdout.buffer.flush()
