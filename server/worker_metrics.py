"""Merges the metrics of all workers of a port: the worker that Prometheus reaches asks all others.

They communicate over Unix sockets in a private folder of the parent. Each process counts separately.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct
from prometheus_client import generate_latest

ANSWER_SECONDS: Final = 1.0
"""How long a worker may take to answer; after that, its metrics are missing."""

log = structlog.get_logger(__name__)


class Siblings(Struct, frozen=True):
    """One of several workers. `folder` is the same for all of them, `number` its own, from 0."""

    folder: str
    number: int
    count: int

    def socket(self, number: int) -> Path:
        return Path(self.folder) / str(number)

    @contextlib.asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Serve this worker's metrics to the others meanwhile."""
        server = await asyncio.start_unix_server(_answer, self.socket(self.number))
        try:
            yield
        finally:
            server.close()

    async def expositions(self) -> dict[int, bytes]:
        """What each worker that answers in time has counted."""
        others = [number for number in range(self.count) if number != self.number]
        answers = await asyncio.gather(*(self._ask(number) for number in others))
        expositions = {self.number: generate_latest()}
        expositions |= {number: answer for number, answer in zip(others, answers, strict=True) if answer is not None}
        return dict(sorted(expositions.items()))

    async def _ask(self, number: int) -> bytes | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self.socket(number))
                try:
                    return await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            log.warning("worker_metrics_missing", worker=number, reason=repr(error))
            return None


async def exposition(siblings: Siblings | None) -> bytes:
    """The text for Prometheus; of several workers each series bears the label `worker`."""
    if siblings is None:
        return generate_latest() + _workers(1, 1)
    expositions = await siblings.expositions()
    return merged(expositions) + _workers(siblings.count, len(expositions))


def merged(expositions: dict[int, bytes]) -> bytes:
    """The expositions of several workers as one: samples of a metric must be together, below one heading."""
    families: dict[str, list[str]] = {}
    for number, text in expositions.items():
        family: list[str] = []
        known = False
        for line in text.decode().splitlines():
            if line.startswith("# HELP "):
                name = line.split(" ", 3)[2]
                known = name in families
                family = families.setdefault(name, [])
            if not line.startswith("#"):
                family.append(_labelled(line, number))
            elif not known:
                family.append(line)
    return _text(line for family in families.values() for line in family)


def _labelled(sample: str, number: int) -> str:
    name, labels, rest = sample.partition("{")
    if labels:
        return f'{name}{{worker="{number}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{worker="{number}"}} {value}'


def _workers(count: int, answering: int) -> bytes:
    def family(name: str, about: str, value: int) -> Iterator[str]:
        yield from (f"# HELP {name} {about}", f"# TYPE {name} gauge", f"{name} {value}")

    return _text(
        [
            *family("callboard_workers", "Worker processes of this port", count),
            *family("callboard_workers_counted", "Worker processes whose metrics are included here", answering),
        ]
    )


def _text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


async def _answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.write(generate_latest())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
