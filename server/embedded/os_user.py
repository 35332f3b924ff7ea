"""The system user that embedded servers run as, and running their programs as that user."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

PROGRAM_SECONDS: Final = 60.0


class NoAccount(Exception):
    """There is no user to run the servers as; the text is one line."""


class Account:
    """The system user the servers run as: us, or, since PostgreSQL refuses root, an ordinary one. Raises NoAccount."""

    def __init__(self) -> None:
        self.uid, self.gid = os.geteuid(), os.getegid()
        if self.uid == 0:
            self.uid, self.gid = _ordinary_user()

    def as_this_user(self) -> dict[str, Any]:
        """Arguments for subprocess: the user, and an environment without PostgreSQL's own variables."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        switch: dict[str, Any] = {}
        if os.geteuid() == 0:
            switch = {"user": self.uid, "group": self.gid, "extra_groups": []}
        return {"env": environment, "umask": 0o077, **switch}

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

    def let_in(self, *folders: Path) -> None:
        """As root: let the servers' user pass through the folders above these (search only, not read)."""
        if os.geteuid() != 0:
            return
        opened = []
        for folder in sorted({parent for inner in folders for parent in (inner, *inner.parents)}):
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                folder.chmod(mode | stat.S_IXOTH)
                opened.append(str(folder))
        if opened:
            user = pwd.getpwuid(self.uid).pw_name
            print(f"running as root: the user {user} may now pass through {', '.join(opened)}", file=sys.stderr)  # noqa: T201


def _ordinary_user() -> tuple[int, int]:
    for attempt in range(2):
        for name in ("callboard", "postgres"):
            with suppress(KeyError):
                entry = pwd.getpwnam(name)
                return entry.pw_uid, entry.pw_gid
        if attempt == 0 and (useradd := shutil.which("useradd")):
            subprocess.run([useradd, "--system", "--user-group", "callboard"], capture_output=True, check=False)  # noqa: S603
    with suppress(KeyError):
        entry = pwd.getpwnam("nobody")
        return entry.pw_uid, entry.pw_gid
    raise NoAccount("running as root, and there is no ordinary user for PostgreSQL: add one named callboard")
