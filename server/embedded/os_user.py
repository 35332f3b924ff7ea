"""The system user that embedded servers run as, and running their programs as that user."""

import os
import pwd
import shlex
import shutil
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, TypedDict

PROGRAM_SECONDS: Final = 60.0


class AccountError(Exception):
    """The servers cannot run as an ordinary user; the text is one line."""


class ProcessOptions(TypedDict, total=False):
    """Arguments for subprocess."""

    env: dict[str, str]
    umask: int
    user: int
    group: int
    extra_groups: list[int]


class Account:
    """The system user of the servers: the current user, or for root, which PostgreSQL refuses, an ordinary one. Raises
    AccountError.
    """

    def __init__(self) -> None:
        self.uid, self.gid = os.geteuid(), os.getegid()
        if self.uid == 0:
            self.uid, self.gid = _ordinary_user()
        try:
            pwd.getpwuid(self.uid)
        except KeyError:
            raise AccountError(
                f"PostgreSQL needs a user with a name, and nobody in /etc/passwd has the id {self.uid}: add a user"
                " with it, or set CALLBOARD_DATABASE_URL and CALLBOARD_REDIS_URL"
            ) from None

    def as_this_user(self) -> ProcessOptions:
        """Arguments for subprocess: the user, and an environment without PostgreSQL's own variables."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        options: ProcessOptions = {"env": environment, "umask": 0o077}
        if os.geteuid() == 0:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def run(self, command: list[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run a short program of the wheel's to its end."""
        return subprocess.run(  # noqa: S603
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            check=False,
            timeout=PROGRAM_SECONDS,
            **self.as_this_user(),
        )

    def let_through(self, data: Path, programs: Path) -> None:
        """As root: let the servers' user pass through the folders on the path to the data and the programs.

        This does not allow anybody to list a folder. Each change is printed, with the command that reverts it.
        """
        if os.geteuid() != 0:
            return
        user = pwd.getpwuid(self.uid).pw_name
        for folder in sorted({parent for inner in (data, programs) for parent in (inner, *inner.parents)}):
            if not self._may_pass(folder):
                folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
                undo = f"chmod o-x {shlex.quote(str(folder))}"
                _say(f"the servers' user {user} may now pass through {folder} (undo: {undo})")

    def _may_pass(self, folder: Path) -> bool:
        found = folder.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & stat.S_IXUSR)
        return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == self.gid else stat.S_IXOTH))


def _say(what: str) -> None:
    print(f"running as root: {what}", file=sys.stderr)  # noqa: T201


def _ordinary_user() -> tuple[int, int]:
    for attempt in range(2):
        for name in ("callboard", "postgres"):
            with suppress(KeyError):
                entry = pwd.getpwnam(name)
                return entry.pw_uid, entry.pw_gid
        if attempt == 0 and (useradd := shutil.which("useradd")):
            _say("PostgreSQL refuses to run as root, so the system user callboard is added for the servers")
            subprocess.run([useradd, "--system", "--user-group", "callboard"], capture_output=True, check=False)  # noqa: S603
    with suppress(KeyError):
        entry = pwd.getpwnam("nobody")
        return entry.pw_uid, entry.pw_gid
    raise AccountError("running as root, but PostgreSQL needs an ordinary user: add one named callboard")
