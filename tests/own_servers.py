"""A PostgreSQL and a Valkey of one's own, to be stopped, killed and frozen."""

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable

import psutil

from server.embedded.servers import Embedded
from tests.standby import Standby


class OwnServers:
    """The servers of an `Embedded` that has started. What blocks is done in a thread."""

    def __init__(self, embedded: Embedded) -> None:
        self.embedded = embedded

    @property
    def postgres_runs(self) -> bool:
        """Whether its process is there."""
        return _runs(self.embedded._children.get("postgres"))

    @property
    def redis_runs(self) -> bool:
        """Whether its process is there."""
        return _runs(self.embedded._children.get("valkey"))

    @property
    def postgres_pid(self) -> int:
        """The postmaster's process id."""
        return self.embedded._children["postgres"].pid

    @property
    def redis_pid(self) -> int:
        """Valkey's process id."""
        return self.embedded._children["valkey"].pid

    def kill_redis(self) -> None:
        """At once; what it held is gone."""
        child = self.embedded._children["valkey"]
        child.kill()
        child.wait()

    async def start_redis(self) -> None:
        """Until it answers; empty."""
        await asyncio.to_thread(self.embedded._start_valkey)

    async def stop_postgres(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT as `pg_ctl stop -m fast`; SIGQUIT as `-m immediate`: a crash, recovered from at the next start."""
        child = self.embedded._children["postgres"]
        child.send_signal(how)
        await asyncio.to_thread(child.wait)

    async def start_postgres(self) -> None:
        """Until it answers."""
        await asyncio.to_thread(self.embedded._start_postgres)

    async def restart_postgres(self) -> None:
        """The planned way."""
        await self.stop_postgres()
        await self.start_postgres()

    async def fail_over(self, standby: Standby, moved: Callable[[], Awaitable[None]], seconds: float) -> None:
        """`standby` becomes the server, and `moved` is awaited; the old one stays alive for `seconds`, read-only."""
        embedded = self.embedded
        await standby.take_over()
        old = embedded._children["postgres"]
        embedded._children["postgres"] = standby.server._children.pop("postgres")
        embedded._cluster = standby.server._pgdata.relative_to(embedded.data)
        try:
            await moved()
            await asyncio.sleep(seconds)
        finally:
            old.send_signal(signal.SIGINT)
            await asyncio.to_thread(old.wait)

    def signal_postgres(self, number: signal.Signals) -> None:
        """To the postmaster and every process of its."""
        for process in self._of_postgres():
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    def _of_postgres(self) -> list[psutil.Process]:
        if not self.postgres_runs:
            return []
        postmaster = psutil.Process(self.postgres_pid)
        return [postmaster, *postmaster.children(recursive=True)]


def _runs(child: subprocess.Popen[bytes] | None) -> bool:
    return child is not None and child.poll() is None
