"""The command line: parses options, calls the code of each command, and returns exit codes.

Exit codes: 0 for success, and for a server ended by SIGTERM or SIGINT; 2 for wrong options or settings, with a line for
each on standard error; 1 for any other error, with one line. Heavy imports wait until a command needs them.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, cast

import click

from server import __version__
from server.embedded.secret import kept_secret, replace_secret
from server.settings import BadSettings, Settings, load_settings

if TYPE_CHECKING:
    from server.simulate.access import Access
    from server.simulate.run import Window
    from server.store.users import PersonRole
    from server.web.http.caller import Role

TOKEN_ROLES: Final = ("driver", "service", "viewer", "ops", "admin")
PERSON_ROLES: Final = ("viewer", "ops", "admin")
LONGEST_TOKEN_HOURS: Final = 24 * 366

PORT: Final = click.IntRange(0, 65535)
DRIVERS: Final = click.IntRange(1, 100_000)
RATE: Final = click.FloatRange(0, 100_000)
SPEED: Final = click.FloatRange(0.1, 100)

FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
OLD_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE: Final = click.Path(dir_okay=False, writable=True, path_type=Path)
REJECT_HELP: Final = "The share of offers that drivers reject."
AHEAD_HELP: Final = (
    "Start the search this many minutes before the goods are ready.  [default: when the order is placed]"
)
SPEED_HELP: Final = "Factor for the rate of orders and the speed of drivers."


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _have_a_home()
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
    from server.embedded.servers import EmbeddedError
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


def _write_logs(settings: Settings) -> None:
    from server.process.log_format import write_logs

    write_logs(settings.log_level, settings.log_format)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="callboard", message="%(prog)s %(version)s")
def callboard() -> None:
    """Dispatch server for delivery drivers: offers each delivery to the right driver and shows ops what happens.

    Settings come from CALLBOARD_* in the environment, from a .env file and from callboard.toml. Without
    CALLBOARD_DATABASE_URL and CALLBOARD_REDIS_URL, Callboard runs its own PostgreSQL and Valkey.
    """


@callboard.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=PORT, help="Port to listen on; 0 for any free port.  [default: 8000]")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes to serve with.  [default: 1]")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Migrate the database, then serve until SIGTERM or SIGINT."""
    settings = load_settings(host=host, port=port, workers=workers)
    _write_logs(settings)
    from server.process.startup import serve_here, serve_with_workers

    if settings.workers == 1:
        serve_here(settings)
    else:
        serve_with_workers(settings)


@callboard.command()
@click.option("--port", type=PORT, help="Port to listen on; 0 for any free port.  [default: 8000]")
@click.option("--drivers", type=DRIVERS, default=60, show_default=True, help="Drivers on the road.")
@click.option("--orders-per-minute", type=RATE, default=20, show_default=True, help="On average.")
@click.option("--speed", type=SPEED, default=1, show_default=True, help=SPEED_HELP)
def demo(port: int | None, drivers: int, orders_per_minute: float, speed: float) -> None:
    """Serve, with a simulated city of drivers and orders on real websockets.

    Its data is in the folder `demo` of the data folder, if Callboard runs its own servers.
    """
    # Fewer log lines, so that the address and the login stay visible.
    settings = for_demo(load_settings(port=port, usual={"log_level": "warning"}))
    _write_logs(settings)
    from server.process.startup import serve_a_city
    from server.simulate.city import DEMO_ZONES
    from server.simulate.run import Load

    serve_a_city(settings, Load(drivers, orders_per_minute, speed, zones=DEMO_ZONES))


def for_demo(settings: Settings) -> Settings:
    """The settings with a data folder for the demo alone: invented drivers and orders stay out of real data."""
    data = settings.data / "demo" if settings.embedded else settings.data
    return settings.with_changes(demo=True, data=data)


@callboard.command()
@click.option("--url", help="URL of the server, such as https://callboard.example.org.")
@click.option("--token", default="", help="A token with the role service.  [default: minted with CALLBOARD_SECRET]")
@click.option("--drivers", type=DRIVERS, default=60, show_default=True, help="Drivers on the road.")
@click.option("--orders-per-minute", type=RATE, default=20, show_default=True, help="On average.")
@click.option("--speed", type=SPEED, default=1, show_default=True, help=SPEED_HELP)
@click.option("--minutes", type=click.FloatRange(0.05, 100_000), help="How long to run.  [default: until stopped]")
@click.option("--zone", default="default", show_default=True, help="The zone of drivers and orders.")
@click.option("--day", type=FOLDER, help="A real day to replay.")
@click.option("--from", "start", help="Time of day to start at, as HH:MM.  [default: the busiest time]")
@click.option("--ahead", type=click.FloatRange(0, 1440), help=AHEAD_HELP)
@click.option("--port", type=PORT, help="Port of the server started for --day without --url.  [default: 8000]")
def simulate(
    url: str | None,
    token: str,
    drivers: int,
    orders_per_minute: float,
    speed: float,
    minutes: float | None,
    zone: str,
    day: Path | None,
    start: str | None,
    ahead: float | None,
    port: int | None,
) -> None:
    """Put load on a server: a simulated city, or (--day) a window of a real day, in real time.

    A day is a folder in the format of the public Meal Delivery Routing Problem instances. A summary is printed on
    standard output.
    """
    if day is None and url is None:
        raise click.UsageError("--url: missing; or use --day to replay a day on a new server")
    if url is not None and not url.startswith(("http://", "https://")):
        raise click.UsageError("--url: must be a URL such as http://127.0.0.1:8000")
    window = None if day is None else _window(day, start, minutes or 60.0, ahead)
    if window is not None and speed != 1:
        raise click.UsageError("--speed: a real day is replayed in real time")
    from server.process.startup import replay_here, simulate_there
    from server.simulate.run import Load

    if url is None:
        assert window is not None
        settings = load_settings(port=port)
        _write_logs(settings.with_changes(log_level="warning"))
        replay_here(settings.with_changes(log_level="warning"), window)
    else:
        simulate_there(url, _access(token), window or Load(drivers, orders_per_minute, speed, minutes, zone))


def _window(folder: Path, start: str | None, minutes: float, ahead: float | None) -> "Window":
    from server.simulate.day import BadDay, minutes_of, read_day
    from server.simulate.run import Window

    try:
        day = read_day(folder)
        begin = day.busiest(minutes * 60) if start is None else minutes_of(start) * 60.0
    except BadDay as bad:
        raise click.UsageError(f"--day: {bad}") from None
    except ValueError as bad:
        raise click.UsageError(f"--from: {bad}") from None
    return Window(day, begin, minutes * 60, None if ahead is None else ahead * 60)


@callboard.command()
@click.option("--day", type=FOLDER, required=True, help="A real day to replay.")
@click.option("--out", type=NEW_FILE, required=True, help="The file for what became of each order.")
@click.option("--offers", type=NEW_FILE, help="The file for every offer that was made.")
@click.option("--reject", type=click.FloatRange(0, 0.95), default=0, show_default=True, help=REJECT_HELP)
@click.option("--answer-seconds", default="0", show_default=True, help="How long drivers take to answer, such as 2-15.")
@click.option("--capacity", type=click.IntRange(1, 20), default=3, show_default=True, help="Orders a driver may have.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides who rejects what, and how fast.")
@click.option(
    "--policy", type=OLD_FILE, help="A policy, as GET /admin/policy returns it.  [default: the default policy]"
)
@click.option("--until", type=click.FloatRange(0, 10_000), help="Stop at this minute of the day.")
def replay(
    day: Path,
    out: Path,
    offers: Path | None,
    reject: float,
    answer_seconds: str,
    capacity: int,
    seed: int,
    policy: Path | None,
    until: float | None,
) -> None:
    """Replay a real day in virtual time, with the planner and the rules of the server. Needs no server.

    A day is a folder in the format of the public Meal Delivery Routing Problem instances. Figures are printed on
    standard output, progress on standard error.
    """
    from server.dispatch.policy import DEFAULT_POLICY
    from server.replay.replay import Options
    from server.replay.run import read_policy, replay_day
    from server.simulate.day import BadDay, read_day

    try:
        first, _, last = answer_seconds.partition("-")
        answer = float(first), float(last or first)
    except ValueError:
        answer = -1.0, -1.0
    if not 0 <= answer[0] <= answer[1] <= 599:
        raise click.UsageError("--answer-seconds: must be seconds such as 5, or a range such as 2-15, up to 599")
    for option, path in (("--out", out), ("--offers", offers)):
        if path is not None and not path.absolute().parent.is_dir():
            raise click.UsageError(f"{option}: there is no folder {path.absolute().parent}")
    try:
        chosen = DEFAULT_POLICY if policy is None else read_policy(policy)
    except ValueError as bad:
        raise click.UsageError(f"--policy: {bad}") from None
    try:
        instance = read_day(day)
    except BadDay as bad:
        raise click.UsageError(f"--day: {bad}") from None
    options = Options(reject, answer, capacity, seed, None if until is None else until * 60)
    for line in replay_day(instance, chosen, options, out, offers, lambda line: click.echo(line, err=True)):
        click.echo(line)


def _access(token: str) -> "Access":
    from server.process.startup import mint_with
    from server.simulate.access import Access

    return Access(token=token) if token else Access(mint=mint_with(_secret()))


def _secret() -> str:
    settings = load_settings(frozenset({"secret"}))
    return settings.secret or kept_secret(settings.data)


@callboard.command()
@click.option("--role", type=click.Choice(TOKEN_ROLES), required=True)
@click.option("--subject", help="The subject; for a driver, their id.  [default: the role's name]")
@click.option("--hours", type=click.FloatRange(0, LONGEST_TOKEN_HOURS, min_open=True), default=12, show_default=True)
def token(role: str, subject: str | None, hours: float) -> None:
    """Print a token on standard output."""
    from server.ids import is_id
    from server.web.access.tokens import is_subject, mint_token

    if role == "driver" and (subject is None or not is_id(subject.lower())):
        raise click.UsageError("--subject: a driver's token needs the driver's id")
    subject = role if subject is None else subject
    if not is_subject(subject):
        raise click.UsageError("--subject: must be 1 to 200 characters")
    made, _ = mint_token(_secret(), cast("Role", role), subject, hours * 3600)
    click.echo(made)


@callboard.group()
def user() -> None:
    """Manage the users of the board."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(PERSON_ROLES), required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def user_add(name: str, role: str, password_stdin: bool) -> None:
    """Add a user. Without --password-stdin, asks for a password, or prints a new one on standard output."""
    from server.process.startup import database, with_servers
    from server.web.access.users import add_person, random_password

    password = _password(password_stdin)
    generated = "" if password else random_password()
    with with_servers(load_settings(frozenset({"database"}))) as settings:

        async def add() -> None:
            async with database(settings) as db:
                await add_person(db.pool, name, cast("PersonRole", role), password or generated)

        asyncio.run(add())
    click.echo(f"{name.strip()} can now log in, with the role {role}.", err=True)
    if generated:
        click.echo(generated)


def _password(from_stdin: bool) -> str:
    """The password, or an empty text to generate one."""
    if from_stdin:
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise click.UsageError("--password-stdin: no password on standard input")
        return line
    if not sys.stdin.isatty():
        return ""
    given: str = click.prompt(
        "Password (leave empty to generate one)",
        default="",
        show_default=False,
        hide_input=True,
        confirmation_prompt=True,
        err=True,
    )
    return given


@callboard.command()
def migrate() -> None:
    """Update the database schema."""
    from server.process.startup import with_servers
    from server.store.migrate import migrate as bring_up_to_date

    with with_servers(load_settings(frozenset({"database"}))) as settings:
        asyncio.run(bring_up_to_date(settings.database_url))
    click.echo("The schema is up to date.", err=True)


@callboard.command()
@click.option("--fix", is_flag=True, help="Rebuild the index in Redis from PostgreSQL.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects: what, how, text, todo.")
def doctor(fix: bool, as_json: bool) -> None:
    """Check everything that Callboard depends on. Exit code 1 if there is a problem."""
    from msgspec.structs import asdict

    from server.doctor import examine
    from server.process.startup import with_servers

    with with_servers(load_settings()) as settings:
        findings = asyncio.run(examine(settings, fix=fix))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        for finding in findings:
            click.echo(finding.line)
    if any(finding.bad for finding in findings):
        raise click.exceptions.Exit(1)


@callboard.command()
@click.argument("file", type=NEW_FILE)
def backup(file: Path) -> None:
    """Write the database, the photos and the secret to FILE, readable by its owner only. Nodes may run meanwhile.

    An existing FILE is replaced once the new one is complete.
    """
    from server.backups.backup import make_backup
    from server.process.startup import with_servers

    if not file.absolute().parent.is_dir():
        raise click.UsageError(f"there is no folder {file.absolute().parent}")
    with with_servers(load_settings(frozenset({"database"}))) as settings:
        made = asyncio.run(make_backup(settings, file.absolute()))
    click.echo(f"Backup written to {file}: {made.dump_bytes:,} bytes of the database", err=True)
    if made.photos:
        click.echo(f"{made.photos:,} photos of the bucket are in it.", err=True)
    if not made.has_secret:
        click.echo("Without the secret: CALLBOARD_SECRET is not set here. Keep it elsewhere.", err=True)


@callboard.command()
@click.argument("file", type=OLD_FILE)
@click.option("--replace", is_flag=True, help="Replace a database that is not empty. It is kept under another name.")
def restore(file: Path, replace: bool) -> None:
    """Restore the database, the photos and the secret from FILE. Stop all nodes first.

    Refused: while nodes run, for a file of a newer release, for a damaged file, and without --replace for a database
    that is not empty. Then nothing is changed.
    """
    from server.backups.restore import restore_backup
    from server.process.startup import with_servers

    given = load_settings(frozenset({"database"}))
    with with_servers(given) as settings:
        done = asyncio.run(restore_backup(settings, file.absolute(), replace=replace))
        old = None
        if done.secret and given.embedded and not given.secret:
            old = replace_secret(given.data, done.secret)
    click.echo(f"Restored the backup of {done.created_at}, made by release {done.version}.", err=True)
    if done.kept is not None:
        click.echo(f"The old database is kept as {done.kept}; drop it when you no longer need it.", err=True)
        if old is not None:
            click.echo(f"The old secret is kept in {old}.", err=True)
    for name in done.dropped:
        click.echo(f"Dropped {name}, which a restore left that did not end.", err=True)
    if done.secret and given.secret not in ("", done.secret):
        text = "The backup has another secret than CALLBOARD_SECRET: its tokens and links are not valid here."
        click.echo(f"{text} Read it with: unzip -p {file} secret", err=True)


@callboard.command()
@click.option("--dry-run", is_flag=True, help="Only count the rows that would be deleted.")
def prune(dry_run: bool) -> None:
    """Delete rows past their retention (CALLBOARD_KEEP_…). A node does this every hour.

    The number of rows of each table is printed on standard output; `erased` is the number of deliveries whose personal
    data was erased.
    """
    from server.object_store.s3 import ObjectStore, ObjectStoreAway
    from server.process.startup import database, with_servers
    from server.store.engine import DATABASE_ERRORS
    from server.store.jobs.erasing import erase_due, would_be_erased
    from server.store.jobs.proof_objects import remove_due
    from server.store.jobs.retention import prune as remove
    from server.store.jobs.retention import would_go
    from server.store.query import DatabaseAway

    with with_servers(load_settings(frozenset({"database"}))) as settings:
        _write_logs(settings.with_changes(log_level="error"))

        async def rows() -> tuple[dict[str, int], dict[str, str]]:
            async with database(settings) as db:
                if dry_run:
                    due = await would_be_erased(db.pool, settings)
                    return await would_go(db, settings) | {"erased": due}, {}
                run = await remove(db, settings)
                try:
                    erased = await erase_due(db, settings)
                    if settings.proofs_s3_bucket:
                        run.rows["proof_objects"] = await remove_due(db.pool, ObjectStore(settings))
                except (*DATABASE_ERRORS, DatabaseAway) as error:
                    return run.rows, run.failed | {"erased": repr(error)}
                except ObjectStoreAway as error:
                    return run.rows | {"erased": erased["deliveries"]}, run.failed | {"proof_objects": str(error)}
                return run.rows | {"erased": erased["deliveries"]}, run.failed

        gone, failed = asyncio.run(rows())
    for table, count in gone.items():
        click.echo(f"{count:12,}  {table}")
    if failed:
        steps = "; ".join(f"{step}: {reason}" for step, reason in failed.items())
        raise click.ClickException(f"some rows were not deleted: {steps}")


if __name__ == "__main__":
    main()
