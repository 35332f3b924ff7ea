"""What `serve`, `demo` and `simulate` do around nodes: servers, schema, the first user, signals, shutdown.

This code runs in the process that was started; nodes may run in workers (supervisor.py).
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final, TypeVar, cast

import click

from server.embedded.secret import kept_secret
from server.embedded.servers import Embedded
from server.process.service_manager import notify_ready
from server.process.supervisor import Port, Workers, WorkersFailed
from server.process.uvicorn_server import listen, run_node
from server.settings import Settings
from server.simulate.access import Access
from server.simulate.api import Api, CallFailed, NewDriver
from server.simulate.city import ORIGIN
from server.simulate.crew import Crew
from server.simulate.run import Load, Window, home_zone, run_city, run_day
from server.simulate.summary import amounts_to
from server.simulate.tally import Tally
from server.store.backups import ran_migrations
from server.store.engine import Database
from server.store.migrate import migrate
from server.web.access.tokens import mint_token
from server.web.access.users import FIRST_NAME, make_first_admin, renew_person
from server.web.http.caller import Role

Done = TypeVar("Done")
Bound = TypeVar("Bound")

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
BESIDE_SECONDS: Final = 2.0
"""How long tasks beside the nodes may take to end."""
NO_TABLES: Final = "the database has no tables yet: run `callboard migrate` or `callboard serve` first"
DEMO_NAME: Final = "demo"
DEMO_DRIVER: Final[NewDriver] = {"name": "You", "externalRef": "demo-you"}


class StartupFailed(Exception):
    """The command failed: one line of text, and the exit code."""

    def __init__(self, line: str, code: int = 1) -> None:
        super().__init__(line)
        self.code = code


def say(line: str = "") -> None:
    """Print a line for the person at the terminal, on standard error; logs use standard output."""
    click.echo(line, err=True)


@contextmanager
def ended_by_signal() -> Iterator[None]:
    """End as a success on SIGTERM and SIGINT, which raise KeyboardInterrupt where no handler is set."""
    with suppress(KeyboardInterrupt):
        yield


@contextmanager
def with_servers(settings: Settings) -> Iterator[Settings]:
    """The settings with both URLs and the secret. In embedded mode, starts our own servers and stops them at the
    end.
    """
    if not settings.embedded:
        yield settings
        return
    secret = settings.secret or kept_secret(settings.data)
    embedded = Embedded(settings.data)
    embedded.start()
    try:
        yield settings.with_changes(database_url=embedded.database_url, redis_url=embedded.redis_url, secret=secret)
    finally:
        with ignore_signals():
            embedded.stop()


@contextmanager
def ignore_signals() -> Iterator[None]:
    """During the cleanup, a second Ctrl-C must not leave servers running."""
    before = [signal.signal(number, signal.SIG_IGN) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[Database]:
    """A few connections for a command that is soon over. Raises DatabaseUnreachable, or StartupFailed if the database
    has no tables yet.
    """
    opened = Database(settings.database_url, pool_size=2)
    await opened.open()
    try:
        async with opened.pool.acquire() as connection:
            if not await ran_migrations(connection):
                raise StartupFailed(NO_TABLES)
        yield opened
    finally:
        await opened.close()


def _say_ready(line: str) -> None:
    """For systemd and for people."""
    problem = notify_ready()
    if problem is not None:
        say(problem)
    say(line)


def serve_here(settings: Settings) -> None:
    from server.web.app import create_app

    listener = _bound(settings, lambda: listen(settings.host, settings.port))
    ready = f"Callboard is ready: {address(settings.host, listener.getsockname()[1])}"
    with ended_by_signal(), with_servers(settings) as complete:
        _show_first_admin(asyncio.run(_prepare(complete)))
        if not run_node(create_app(complete), listener, lambda: _say_ready(ready)):
            raise StartupFailed("the node could not start; see the log")


def serve_with_workers(settings: Settings) -> None:
    port = _bound(settings, lambda: Port(settings.host, settings.port))

    async def beside() -> None:
        _say_ready(f"Callboard is ready: {address(settings.host, port.number)} ({settings.workers} workers)")
        await asyncio.Event().wait()

    with ended_by_signal(), with_servers(settings) as complete:
        _show_first_admin(asyncio.run(_prepare(complete)))
        asyncio.run(until_signal(_beside_workers(complete, port, beside)))


def serve_a_city(settings: Settings, load: Load) -> None:
    """Serve, with a simulated city on real websockets in this process."""
    port = _bound(settings, lambda: Port(settings.host, settings.port))
    url = address("127.0.0.1", port.number)
    with ended_by_signal(), with_servers(settings) as complete:
        name, password = asyncio.run(_prepare_login(complete))
        access = Access(mint=mint_with(complete.secret))

        async def beside() -> None:
            # This machine is not in the simulated city, so the link gives the page a position.
            where = f"lat={ORIGIN.lat}&lon={ORIGIN.lon}"
            link = f"{url}/driver?{where}#token={await _demo_driver(url, access, home_zone(load))}"
            welcome = [
                "",
                "The simulated city is running.",
                f"  board   {url}/board",
                f"  login   {name} / {password}",
                *([f"  data    {settings.data}"] if settings.embedded else []),
                f"  driver  {link}",
                "  stop    Ctrl-C",
                "",
            ]
            await run_city(url, access, load, say, lambda: say("\n".join(welcome)), every=30.0, tidy=False)

        asyncio.run(until_signal(_beside_workers(complete, port, beside)))


def replay_here(settings: Settings, window: Window) -> None:
    """Replay a window of a real day against a new server, which stops afterwards."""
    port = _bound(settings, lambda: Port(settings.host, settings.port))
    with ended_by_signal(), with_servers(settings) as complete:
        asyncio.run(_prepare(complete))

        async def beside() -> None:
            url, access = address("127.0.0.1", port.number), Access(mint=mint_with(complete.secret))
            _show(amounts_to(await run_day(url, access, window, say), window.day.target_seconds))

        asyncio.run(until_signal(_beside_workers(complete, port, beside)))


def simulate_there(url: str, access: Access, what: Load | Window) -> None:
    """Simulate against a running server."""

    async def simulate() -> None:
        try:
            if isinstance(what, Window):
                _show(amounts_to(await run_day(url, access, what, say), what.day.target_seconds))
            else:
                ready = f"{what.drivers} drivers are registered at {url}"
                _show(amounts_to(await run_city(url, access, what, say, lambda: say(ready), tidy=True)))
        except CallFailed as failed:
            if failed.status in (401, 403):
                raise StartupFailed(
                    f"{url} does not accept this token: use --token, or set CALLBOARD_SECRET to its secret"
                ) from None
            raise StartupFailed(f"{url}: {failed}") from None

    with ended_by_signal():
        asyncio.run(until_signal(simulate()))


async def until_signal(work: Coroutine[object, object, None]) -> None:
    """Run it to its end, or cancel it at the first signal; later ones do not disturb its clearing up."""
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, signalled.set)
    task, waiting = asyncio.create_task(work), asyncio.create_task(signalled.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.result()


async def _beside_workers(
    settings: Settings, port: Port, beside: Callable[[], Coroutine[object, object, None]]
) -> None:
    """Run the workers, and `beside` once they are ready; all end when it does."""
    ready = asyncio.Event()
    workers = Workers(settings, port, settings.workers, ready.set)

    async def when_ready() -> None:
        await ready.wait()
        await beside()

    serving, side = asyncio.create_task(workers.run()), asyncio.create_task(when_ready())
    try:
        await asyncio.wait({serving, side}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        side.cancel()
        await asyncio.wait({side}, timeout=BESIDE_SECONDS)
        workers.stop()
        await asyncio.wait({serving})
    try:
        serving.result()
    except WorkersFailed:
        raise StartupFailed("a worker could not start; see the log") from None
    if side.done() and not side.cancelled():
        side.result()


async def _prepare(settings: Settings) -> str | None:
    """Migrate; and in a database without people make the first one. Their password, if so."""
    await migrate(settings.database_url)
    async with database(settings) as db:
        return await make_first_admin(db.pool)


async def _prepare_login(settings: Settings) -> tuple[str, str]:
    """As `_prepare`, with a name and a password in any case: the first admin's, or the demo's, newly made."""
    password = await _prepare(settings)
    if password is not None:
        return FIRST_NAME, password
    async with database(settings) as db:
        return DEMO_NAME, await renew_person(db.pool, DEMO_NAME, "admin")


async def _demo_driver(url: str, access: Access, zone: str) -> str:
    """A token for a driver who is not simulated."""
    async with Api(url, access.service) as api:
        ids = await Crew(url, access, api, Tally()).registered([DEMO_DRIVER], zone)
        return await access.driver(api, ids[0])


def _show_first_admin(password: str | None) -> None:
    if password is not None:
        say(f"The first user is {FIRST_NAME}, with the password {password} (shown only this once).")


def _show(lines: list[str]) -> None:
    click.echo("\n".join(lines))


def mint_with(secret: str) -> Callable[[str, str, int], str]:
    """A function that mints a token from a role, a subject and hours."""
    return lambda role, subject, hours: mint_token(secret, cast(Role, role), subject, hours * 3600)[0]


def address(host: str, port: int) -> str:
    """The URL of the server for a browser on this machine."""
    shown = "127.0.0.1" if host in ("", "0.0.0.0") else "::1" if host == "::" else host  # noqa: S104
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _bound(settings: Settings, bind: Callable[[], Bound]) -> Bound:
    """Bind the port before anything else starts."""
    try:
        return bind()
    except socket.gaierror as error:
        raise StartupFailed(f"--host: {settings.host}: {error.strerror}", code=2) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StartupFailed(f"cannot listen on {settings.host}, port {settings.port}: {reason}") from None
