"""The command line: options, exit codes, and the list of commands. Each module beside this one has some of them.

Exit codes: 0 for success, and for a server ended by SIGTERM or SIGINT; 2 for wrong options or settings, with a line for
each on standard error; 1 for any other error, with one line. Heavy imports wait until a command needs them.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from server import __version__
from server.cli import access, backups, serving, upkeep
from server.setting_sources import BadSettings


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _have_a_home()
    _have_a_folder()
    code = run(arguments)
    _flush()
    sys.exit(code)


def _have_a_home() -> None:
    """A user without a home folder, as in a container, gets the folder for temporary files: libraries look for their
    cache there when they are imported, although nothing here writes one.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.gettempdir()


def _have_a_folder() -> None:
    """Who may not enter the working folder, such as a service user in the home of root, works in `/`: what reads the
    files of settings, and the servers' own programs, would fail there.
    """
    if not os.access(".", os.X_OK):
        os.chdir("/")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        done = callboard.main(arguments, prog_name="callboard", standalone_mode=False)
    except BadSettings as bad:
        return _fail(bad.mistakes, 2)
    except click.exceptions.NoArgsIsHelpError as no_arguments:
        no_arguments.show()
        return 2
    except click.ClickException as wrong:
        return _fail([" ".join(wrong.format_message().split())], wrong.exit_code)
    except click.Abort:
        return _fail(["aborted"], 1)
    except Exception as error:
        code = _expected(error)
        if code is None:
            raise
        return _fail([str(error)], code)
    return done if isinstance(done, int) else 0


def _expected(error: Exception) -> int | None:
    """The exit code for an expected error, whose text is one line for people; None for a bug."""
    from server.backups.archive import BackupRefused
    from server.embedded.programs import EmbeddedError
    from server.process.startup import StartupFailed
    from server.store.engine import DatabaseUnreachable
    from server.store.migrate import MigrationFailed
    from server.web.access.users import PersonRefused

    if isinstance(error, StartupFailed | EmbeddedError):
        return error.code
    ours = PersonRefused | DatabaseUnreachable | MigrationFailed | BackupRefused
    return 1 if isinstance(error, ours) else None


def _fail(lines: Sequence[str], code: int) -> int:
    for line in lines:
        click.echo(f"callboard: {line}", err=True)
    return code


def _flush() -> None:
    """Flush standard output. A closed pipe is not an error."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="callboard", message="%(prog)s %(version)s")
def callboard() -> None:
    """Dispatch server for delivery drivers: offers each delivery to the right driver and shows ops what happens.

    Settings come from CALLBOARD_* in the environment, from a .env file and from callboard.toml. Without
    CALLBOARD_DATABASE_URL and CALLBOARD_REDIS_URL, Callboard runs its own PostgreSQL and Valkey.
    """


for command in (
    serving.serve,
    serving.demo,
    serving.simulate,
    serving.replay,
    access.token,
    access.user,
    upkeep.migrate,
    upkeep.doctor,
    upkeep.prune,
    backups.backup,
    backups.restore,
):
    callboard.add_command(command)
