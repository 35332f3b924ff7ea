"""PostgreSQL and Valkey out of the wheels, under the data folder; for a first look and for one machine.

Several processes may use one data folder: the first starts the servers, the last to leave stops them. If it was
killed, a watchdog does (watchdog.py). Durability is PostgreSQL's default. Both listen on Unix sockets only that their
own system user and root can reach.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self
from urllib.parse import quote

from server.embedded.os_user import Account, AccountError
from server.embedded.programs import (
    DataFolderUnusable,
    EmbeddedError,
    answers,
    last_line,
    postgres_is_ready,
    postgres_pid,
    postgres_programs,
    runs_in,
    tail_of,
    valkey_program,
    valkey_says,
)

PACKAGES: Final = Path(__file__).resolve().parents[2]
"""Where Python finds this package."""

DATABASE: Final = "callboard"
USE: Final = "embedded.use"
"""The file with the lock that every user of the servers shares."""
GATE: Final = "embedded.gate"
"""The file with the lock of the process that starts or stops servers."""
WATCH: Final = "embedded.watch"
"""The file with the lock of the watchdog."""
SOCKET_PATH_BYTES: Final = 103
"""The longest Unix socket path that works everywhere: 107 bytes on Linux, 103 on macOS."""
LOG_BYTES: Final = 10_000_000
START_SECONDS: Final = 60.0

POSTGRES_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "autovacuum_naptime": "10s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
THROWAWAY_SETTINGS: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Embedded:
    """The two servers under `data`. `start` and `stop` block; call them outside the event loop.

    `durable=False` turns fsync off, for tests.
    """

    def __init__(self, data: Path, *, durable: bool = True) -> None:
        self.data = data.expanduser().resolve()
        self._durable = durable
        self._cluster = Path("postgres")
        try:
            self._account = Account()
        except AccountError as error:
            raise EmbeddedError(str(error)) from None
        self._use: IO[bytes] | None = None
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def database_url(self) -> str:
        # All said: what is missing would come from PGPORT, PGSSLMODE and the like.
        folder = quote(str(self._postgres_socket.parent))
        return f"postgresql://{DATABASE}@/{DATABASE}?host={folder}&port=5432&sslmode=disable"

    @property
    def redis_url(self) -> str:
        return f"unix://{quote(str(self._valkey_socket))}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start what does not run yet and wait until it answers. Raises EmbeddedError."""
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            with self._gate():
                self._use = (self.data / USE).open("ab")
                fcntl.flock(self._use, fcntl.LOCK_SH)
                try:
                    self._start_watchdog()
                    self._start_postgres()
                    self._start_valkey()
                except BaseException:
                    self._leave(within=5.0)
                    raise
        except AccountError as error:
            raise EmbeddedError(str(error)) from None
        except OSError as error:
            raise DataFolderUnusable(f"cannot use the data folder {self.data}: {error}") from None

    def stop(self, within: float = 5.0) -> None:
        """Stop both servers unless another process still uses them; at most about `within` seconds each."""
        if self._use is not None:
            with self._gate():
                self._leave(within)

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """One process at a time starts or stops servers."""
        with (self.data / GATE).open("ab") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield

    def _leave(self, within: float) -> None:
        assert self._use is not None
        try:
            fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            self._stop_valkey(within)
            self._stop_postgres(within)
            watchdog = self._children.pop("watchdog", None)
            if watchdog is not None:
                watchdog.kill()
                watchdog.wait()
        self._use.close()
        self._use = None

    def stop_unused(self) -> None:
        """Stop both servers, also if another process started them. Only for who holds both locks."""
        self._stop_valkey(5.0)
        self._stop_postgres(5.0)

    def _start_watchdog(self) -> None:
        """Unless there is one."""
        with (self.data / WATCH).open("ab") as watch:
            try:
                fcntl.flock(watch, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
        self._children["watchdog"] = subprocess.Popen(  # noqa: S603
            [sys.executable, "-S", "-m", "server.embedded.watchdog", str(self.data)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PYTHONPATH": str(PACKAGES)},
            start_new_session=True,
        )

    # PostgreSQL

    @property
    def _pgdata(self) -> Path:
        return self.data / self._cluster

    @property
    def _postgres_socket(self) -> Path:
        return self._socket_folder(self._pgdata) / ".s.PGSQL.5432"

    def _start_postgres(self) -> None:
        if answers(self._postgres_socket) or self._is_coming_up():
            return
        programs = postgres_programs()
        self._account.let_through(self.data, programs)
        self._initialise(programs)
        self._run_postgres(programs)
        self._create_database(programs)

    def _run_postgres(self, programs: Path) -> None:
        options = POSTGRES_SETTINGS | ({} if self._durable else THROWAWAY_SETTINGS)
        options["unix_socket_directories"] = str(self._private(self._postgres_socket.parent))
        command: list[str | Path] = [programs / "postgres", "-D", self._pgdata]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self._spawn("postgres", command, lambda: postgres_is_ready(self._pgdata, self._postgres_socket))

    def _create_database(self, programs: Path) -> None:
        created = self._account.run(
            [
                programs / "createdb",
                "-h",
                self._postgres_socket.parent,
                "-U",
                DATABASE,
                "--maintenance-db=postgres",
                DATABASE,
            ]
        )
        if created.returncode and "already exists" not in created.stdout:
            raise EmbeddedError(f"createdb failed: {last_line(created.stdout)}")

    def _is_coming_up(self) -> bool:
        """Whether a PostgreSQL of this folder, such as one that a killed process had just started, answers in the end.

        What a power cut left of its files is removed: they may be empty, or name a process that has nothing to do with
        us, and PostgreSQL would refuse to start.
        """
        deadline = time.monotonic() + START_SECONDS
        while (pid := postgres_pid(self._pgdata)) is not None and runs_in(pid, self._pgdata):
            if postgres_is_ready(self._pgdata, self._postgres_socket):
                return True
            if time.monotonic() > deadline:
                raise EmbeddedError(f"postgres (process {pid}) does not answer: end it with `kill -QUIT {pid}`")
            time.sleep(0.05)
        for left in (
            self._pgdata / "postmaster.pid",
            self._postgres_socket.with_name(f"{self._postgres_socket.name}.lock"),
        ):
            left.unlink(missing_ok=True)
        return False

    def _initialise(self, programs: Path) -> None:
        """Create the database cluster in a temporary folder and move it, so that an incomplete one is never used."""
        version = self._pgdata / "PG_VERSION"
        if version.exists():
            ours = self._account.run([programs / "postgres", "--version"]).stdout.split()[-1].split(".")[0]
            if version.read_text().strip() != ours:
                raise EmbeddedError(
                    f"{self._pgdata} was created by PostgreSQL {version.read_text().strip()}, but this is {ours}: "
                    "move it away, or dump it with the old version first"
                )
            return
        draft = self.data / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        self._private(draft)
        command: list[str | Path] = [
            programs / "initdb",
            "-D",
            draft,
            "-U",
            DATABASE,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
        ]
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        made = self._account.run(command if self._durable else [*command, "--no-sync"])
        if made.returncode:
            raise EmbeddedError(f"initdb failed: {last_line(made.stdout)}")
        if self._pgdata.exists():
            if any(self._pgdata.iterdir()):
                raise EmbeddedError(
                    f"{self._pgdata} is damaged, it has no PG_VERSION: restore a backup, or move it away to start empty"
                )
            self._pgdata.rmdir()
        draft.rename(self._pgdata)

    def _stop_postgres(self, within: float) -> None:
        child = self._children.get("postgres")
        pid = child.pid if child else postgres_pid(self._pgdata)
        # A file left by a crash may name a process that has nothing to do with us.
        if pid is None or (child is None and not answers(self._postgres_socket)):
            return
        for how, patience in ((signal.SIGINT, within), (signal.SIGQUIT, 2.0), (signal.SIGKILL, 1.0)):
            with suppress(ProcessLookupError):
                os.kill(pid, how)
            if self._gone("postgres", patience, lambda: postgres_pid(self._pgdata) is None):
                return

    # Valkey

    @property
    def _valkey_folder(self) -> Path:
        return self.data / "valkey"

    @property
    def _valkey_socket(self) -> Path:
        return self._socket_folder(self._valkey_folder) / "valkey.sock"

    def _start_valkey(self) -> None:
        if answers(self._valkey_socket):
            return
        program = valkey_program()
        self._account.let_through(self.data, program.parent)
        self._private(self._valkey_folder)
        self._private(self._valkey_socket.parent)
        command: list[str | Path] = [
            program,
            "--port",
            "0",
            "--unixsocket",
            self._valkey_socket,
            "--unixsocketperm",
            "700",
        ]
        command += ["--dir", self._valkey_folder, "--save", "", "--appendonly", "no", "--daemonize", "no"]
        self._spawn("valkey", command, lambda: valkey_says(self._valkey_socket, b"PING") == b"+PONG")

    def _stop_valkey(self, within: float) -> None:
        if answers(self._valkey_socket):
            with suppress(OSError):
                valkey_says(self._valkey_socket, b"SHUTDOWN NOSAVE")
        child = self._children.get("valkey")
        if not self._gone("valkey", within, lambda: not answers(self._valkey_socket)) and child is not None:
            child.kill()
            child.wait()

    # Both

    def _socket_folder(self, wanted: Path) -> Path:
        """`wanted`, or a short private folder when a socket's path in there would be too long."""
        if len(os.fsencode(wanted / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES:
            return wanted
        name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
        return Path("/tmp" if len(tempfile.gettempdir()) > 40 else tempfile.gettempdir()) / f"callboard-{name}"  # noqa: S108

    def _private(self, folder: Path) -> Path:
        """Create the folder, if it is missing, with access only for the servers' user. Refuses a folder of another
        user.
        """
        folder.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0 and folder.lstat().st_uid == 0:
            os.chown(folder, self._account.uid, self._account.gid)
        if folder.is_symlink() or folder.stat().st_uid != self._account.uid:
            raise DataFolderUnusable(f"{folder} belongs to another user: move it away, or use another data folder")
        return folder

    def _spawn(self, name: str, command: list[str | Path], is_ready: Callable[[], bool]) -> None:
        path = self.data / f"{name}.log"
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            said_before = log.tell()
            # A separate session: Ctrl-C in the terminal must reach this process first, and the servers last.
            child = subprocess.Popen(  # noqa: S603
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **self._account.as_this_user(),
            )
        self._children[name] = child
        deadline = time.monotonic() + START_SECONDS
        while not is_ready():
            if child.poll() is not None:
                raise EmbeddedError(f"{name} ended at start: {last_line(tail_of(path, said_before))} (see {path})")
            if time.monotonic() > deadline:
                raise EmbeddedError(f"{name} is not ready after {START_SECONDS:.0f} s (see {path})")
            time.sleep(0.02)

    def _gone(self, name: str, within: float, is_gone: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + within
        child = self._children.get(name)
        while time.monotonic() < deadline:
            if child.poll() is not None if child else is_gone():
                self._children.pop(name, None)
                return True
            time.sleep(0.02)
        return False
