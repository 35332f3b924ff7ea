"""Callboard as a real process: started with settings of one's own, watched, and ended by its process id."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.waiting import PATIENCE, until


class Process:
    """A running command. `out` and `err` are what it has said so far."""

    def __init__(
        self, arguments: tuple[str, ...], environment: dict[str, str], folder: Path, python: str = sys.executable
    ) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._popen = subprocess.Popen(
                [python, "-P", "-m", "server.cli", *arguments],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=environment,
            )
        self.pid = self._popen.pid

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def code(self) -> int | None:
        return self._popen.poll()

    def type(self, text: str) -> None:
        """Give it this on standard input, and nothing more."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(text.encode())
        self._popen.stdin.close()

    def kill(self, number: int) -> None:
        self._popen.send_signal(number)

    def children(self, program: str) -> list[psutil.Process]:
        """Its living children whose command line holds this word."""
        found = []
        for child in psutil.Process(self.pid).children():
            try:
                if child.status() != psutil.STATUS_ZOMBIE and program in " ".join(child.cmdline()):
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return found

    @property
    def workers(self) -> list[psutil.Process]:
        return self.children("spawn_main")

    async def ended(self, within: float = PATIENCE) -> int:
        """Its exit code, once it has ended by itself or on request."""
        if self._popen.stdin is not None and not self._popen.stdin.closed:
            self._popen.stdin.close()
        await until(lambda: self.code is not None, within=within)
        assert self.code is not None
        return self.code

    async def end(self, number: int = signal.SIGTERM, within: float = PATIENCE) -> int:
        """Tell it to end; its exit code."""
        self.kill(number)
        return await self.ended(within)

    async def ready(self) -> str:
        """The address it says it is ready at."""
        await until(lambda: "ready: http" in self.err or self.code is not None, within=PATIENCE)
        assert self.code is None, f"ended with {self.code}: {self.err}{self.out}"
        return next(word for word in self.err.split("ready: ")[1].split() if word.startswith("http"))

    def put_down(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._popen.kill()
        self._popen.wait()
        self.close()

    def close(self) -> None:
        """Make sure that it is gone, and its workers with it."""
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait()
        if self._popen.stdin is not None:
            self._popen.stdin.close()
