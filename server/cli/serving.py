"""Commands that serve, and those that simulate: a city, or a real day."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from server.cli.options import FOLDER, NEW_FILE, OLD_FILE, PORT, secret, write_logs_of
from server.setting_sources import load_settings
from server.settings import Settings

if TYPE_CHECKING:
    from server.simulate.access import Access
    from server.simulate.run import Window

DRIVERS: Final = click.IntRange(1, 100_000)
RATE: Final = click.FloatRange(0, 100_000)
SPEED: Final = click.FloatRange(0.1, 100)
REJECT_HELP: Final = "The share of offers that drivers reject."
AHEAD_HELP: Final = (
    "Start the search this many minutes before the goods are ready.  [default: when the order is placed]"
)
SPEED_HELP: Final = "Factor for the rate of orders and the speed of drivers."


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=PORT, help="Port to listen on; 0 for any free port.  [default: 8000]")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes to serve with.  [default: 1]")
def serve(host: str | None, port: int | None, workers: int | None) -> None:
    """Migrate the database, then serve until SIGTERM or SIGINT."""
    settings = load_settings(host=host, port=port, workers=workers)
    write_logs_of(settings)
    from server.process.startup import serve_here, serve_with_workers

    if settings.workers == 1:
        serve_here(settings)
    else:
        serve_with_workers(settings)


@click.command()
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
    write_logs_of(settings)
    from server.process.startup import serve_a_city
    from server.simulate.city import DEMO_ZONES
    from server.simulate.run import Load

    serve_a_city(settings, Load(drivers, orders_per_minute, speed, zones=DEMO_ZONES))


def for_demo(settings: Settings) -> Settings:
    """The settings with a data folder for the demo alone: invented drivers and orders stay out of real data."""
    data = settings.data / "demo" if settings.embedded else settings.data
    return settings.with_changes(demo=True, data=data)


@click.command()
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
        write_logs_of(settings.with_changes(log_level="warning"))
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


@click.command()
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

    return Access(token=token) if token else Access(mint=mint_with(secret()))
