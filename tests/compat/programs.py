"""Programs of others, run by tests with a configuration in a folder, as an ordinary user."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.embedded.os_user import Account
from tests.waiting import until

END_SECONDS = 20


def needs(program: str) -> pytest.MarkDecorator:
    """Skips a test where the program is missing."""
    return pytest.mark.skipif(find(program) is None, reason=f"{program} is not installed")


def find(program: str) -> str | None:
    """The path of a program, also of one that only root has in its path."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")


@contextmanager
def running(folder: Path, *command: str, log: str = "said") -> Iterator[subprocess.Popen[bytes]]:
    """The program, as the user that embedded servers have too; what it says is in the file `log` of the folder."""
    account = Account()
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, account.uid, account.gid)
    with (folder / log).open("ab") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, **account.as_this_user())
    try:
        yield process
    finally:
        process.terminate()  # one with workers ends them too
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until_open(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    """Until it listens. Raises AssertionError with what it said if it has ended."""

    def is_open() -> bool:
        assert process.poll() is None, (folder / "said").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    await until(is_open)
