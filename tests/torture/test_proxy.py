"""Every kind of trouble, seen over real sockets: against an echo, and against PostgreSQL."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from tests.conftest import Servers
from tests.torture.commits import CommitWatch
from tests.torture.proxies import Proxies
from tests.torture.proxy import Proxy, Trouble
from tests.waiting import until

RESET = b"<reset>"
Open = Callable[[], Awaitable["Line"]]


class Line:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, text: bytes) -> None:
        self._writer.write(text)
        await self._writer.drain()

    async def hear(self, size: int) -> bytes:
        async with asyncio.timeout(60):
            return await self._reader.readexactly(size)

    async def echo(self, text: bytes) -> bytes:
        await self.say(text)
        return await self.hear(len(text))

    async def hears_nothing(self, seconds: float = 0.15) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return not await self._reader.read(1)
        except TimeoutError:
            return True

    async def until_reset(self) -> None:
        with pytest.raises(ConnectionResetError):
            await self.rest()

    def reset(self) -> None:
        end = self._writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def finish(self) -> None:
        self._writer.write_eof()

    async def rest(self) -> bytes:
        async with asyncio.timeout(60):
            return await self._reader.read()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def an_echo(heard: bytearray) -> AsyncIterator[int]:
    """The port of a server that says back what it hears, and ends when its client does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                heard.extend(data)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            heard.extend(RESET)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def heard() -> bytearray:
    """What has come through to the echo."""
    return bytearray()


@pytest.fixture
async def proxy(heard: bytearray) -> AsyncIterator[Proxy]:
    async with an_echo(heard) as port:
        proxy = Proxy(port)
        await proxy.open()
        try:
            yield proxy
        finally:
            await proxy.close()
            await until(lambda: not proxy.links)


@pytest.fixture
async def line(proxy: Proxy) -> AsyncIterator[Open]:
    async with AsyncExitStack() as opened:

        async def open_line() -> Line:
            line = Line(*await asyncio.open_connection("127.0.0.1", proxy.port))
            opened.push_async_callback(line.close)
            return line

        yield open_line


async def test_without_trouble_bytes_pass_in_order_and_the_end_too(proxy: Proxy, line: Open) -> None:
    here = await line()
    text = bytes(range(256)) * 2000
    saying = asyncio.create_task(here.say(text))
    assert await here.hear(len(text)) == text
    await saying
    here.finish()
    assert await here.rest() == b""
    await until(lambda: not proxy.links)
    seen = proxy.seen()
    assert (seen.accepted, seen.up_bytes, seen.down_bytes, seen.cut) == (1, len(text), len(text), 0)


async def test_a_client_that_resets_is_a_reset_to_the_server(proxy: Proxy, line: Open, heard: bytearray) -> None:
    here = await line()
    await here.echo(b"hello")
    here.reset()
    await until(lambda: not proxy.links and heard == b"hello" + RESET)


async def test_latency_delays_each_way_and_keeps_the_order(proxy: Proxy, line: Open) -> None:
    here = await line()
    await here.echo(b"warm")
    await proxy.make(Trouble(delay_ms=60, jitter_ms=40))
    began = time.monotonic()
    for number in range(10):
        await here.say(b"%d" % number)
        await asyncio.sleep(0)
    assert await here.hear(10) == b"0123456789"
    assert time.monotonic() - began >= 0.12
    await proxy.make(Trouble())
    assert await here.echo(b"again") == b"again"


async def test_a_throttle_lets_so_many_bytes_a_second_pass(proxy: Proxy, line: Open) -> None:
    here = await line()
    await here.echo(b"warm")
    await proxy.make(Trouble(bytes_per_second=20_000))
    began = time.monotonic()
    assert len(await here.echo(b"x" * 10_000)) == 10_000
    assert time.monotonic() - began >= 0.5


async def test_what_is_held_back_arrives_later(proxy: Proxy, line: Open, heard: bytearray) -> None:
    here = await line()
    await here.echo(b"warm")
    await proxy.make(Trouble(hold="up"))
    await here.say(b"late")
    assert await here.hears_nothing()
    assert heard == b"warm"
    await proxy.make(Trouble(hold="down"))
    await until(lambda: heard == b"warmlate")
    assert await here.hears_nothing()
    await proxy.make(Trouble())
    assert await here.hear(4) == b"late"


async def test_what_is_held_back_arrives_even_when_its_sender_has_given_up(
    proxy: Proxy, line: Open, heard: bytearray
) -> None:
    here = await line()
    await here.echo(b"warm")
    await proxy.make(Trouble(hold="both"))
    await here.say(b"too late")
    await here.close()
    await proxy.make(Trouble())
    await until(lambda: heard == b"warmtoo late")


async def test_a_new_connection_under_a_hold_is_accepted_and_waits(proxy: Proxy, line: Open) -> None:
    await proxy.make(Trouble(hold="both"))
    here = await line()
    await here.say(b"hello")
    assert await here.hears_nothing()
    await proxy.make(Trouble())
    assert await here.hear(5) == b"hello"


@pytest.mark.parametrize(("direction", "arrives"), [("up", b"warm"), ("down", b"warmlost"), ("both", b"warm")])
async def test_a_hole_swallows_bytes_and_its_connections_end_with_it(
    proxy: Proxy, line: Open, heard: bytearray, direction: str, arrives: bytes
) -> None:
    here = await line()
    await here.echo(b"warm")
    await proxy.make(Trouble(drop=direction))  # type: ignore[arg-type]
    await here.say(b"lost")
    await until(lambda: proxy.seen().dropped_bytes == 4 and heard == arrives)
    assert await here.hears_nothing()
    await proxy.make(Trouble())
    await here.until_reset()
    assert await (await line()).echo(b"again") == b"again"


async def test_a_connection_that_lost_nothing_outlives_a_hole(proxy: Proxy, line: Open) -> None:
    here = await line()
    await here.echo(b"warm")
    await proxy.make(Trouble(drop="both"))
    await proxy.make(Trouble())
    assert await here.echo(b"again") == b"again"


async def test_a_reset_is_seen_as_one_by_both_ends(proxy: Proxy, line: Open) -> None:
    first, second = await line(), await line()
    await asyncio.gather(first.echo(b"one"), second.echo(b"two"))
    proxy.reset()
    await asyncio.gather(first.until_reset(), second.until_reset())
    assert proxy.seen().cut == 2
    assert await (await line()).echo(b"again") == b"again"


async def test_connections_are_cut_after_so_many_bytes_from_now_on(proxy: Proxy, line: Open) -> None:
    here = await line()
    await here.echo(b"x" * 1000)
    for _ in range(2):
        await proxy.make(Trouble(cut_after_bytes=100))
        assert await here.echo(b"y" * 40) == b"y" * 40
    await here.say(b"z" * 20)
    await here.until_reset()


async def test_refusing_leaves_open_connections_alone_and_keeps_the_port(proxy: Proxy, line: Open) -> None:
    here = await line()
    await here.echo(b"warm")
    await proxy.make(Trouble(refuse=True))
    with pytest.raises(ConnectionRefusedError):
        await line()
    assert await here.echo(b"still there") == b"still there"
    await proxy.make(Trouble())
    assert await (await line()).echo(b"again") == b"again"


async def test_where_nobody_listens_behind_a_proxy_clients_are_reset(proxy: Proxy, line: Open) -> None:
    async with an_echo(bytearray()) as port:
        pass
    proxy.target = port
    here = await line()
    await here.until_reset()


# PostgreSQL


@pytest.fixture
async def to_postgres(servers: Servers, database_url: str) -> AsyncIterator[Proxy]:
    folder = parse_qs(urlsplit(servers.postgres_url).query)["host"][0]
    proxy = Proxy(Path(folder) / ".s.PGSQL.5432", postgres=True)
    await proxy.open()
    yield proxy
    await proxy.close()


async def through(proxy: Proxy, database_url: str) -> asyncpg.Connection:
    name = database_url.split("?")[0].rsplit("/", 1)[1]
    return await asyncpg.connect(f"postgresql://callboard@127.0.0.1:{proxy.port}/{name}")


@pytest.mark.parametrize(("cut", "there"), [("after", [1]), ("before", [])])
@pytest.mark.parametrize("commit", ["COMMIT", "COMMIT AND CHAIN"])
async def test_a_commit_is_cut_off_before_it_arrives_or_before_its_answer_does(
    to_postgres: Proxy, database_url: str, cut: str, there: list[int], commit: str
) -> None:
    direct = await asyncpg.connect(database_url)
    await direct.execute("CREATE TABLE kept (n int)")
    connection = await through(to_postgres, database_url)
    await to_postgres.make(Trouble(cut_commit=cut))  # type: ignore[arg-type]
    await connection.execute("BEGIN")
    await connection.execute("INSERT INTO kept VALUES ($1)", 1)
    with pytest.raises((ConnectionError, asyncpg.PostgresConnectionError)):
        await connection.execute(commit)
    assert [row["n"] for row in await direct.fetch("SELECT n FROM kept")] == there
    assert to_postgres.seen().commits_cut == 1
    await direct.close()
    connection.terminate()


async def test_only_commits_are_cut(to_postgres: Proxy, database_url: str) -> None:
    connection = await through(to_postgres, database_url)
    await to_postgres.make(Trouble(cut_commit="after"))
    await connection.execute("BEGIN")
    assert await connection.fetchval("SELECT $1::text", "COMMIT; COMMIT") == "COMMIT; COMMIT"
    await connection.execute("SELECT 'COMMIT'")
    await connection.execute("ROLLBACK")
    await to_postgres.make(Trouble(cut_commit="after", commit_share=0.0))
    await connection.execute("BEGIN")
    await connection.execute("COMMIT")
    await connection.close()


def test_a_commit_is_found_however_the_bytes_are_cut() -> None:
    tls = (8).to_bytes(4) + (80877103).to_bytes(4)
    startup = (16).to_bytes(4) + (196608).to_bytes(4) + b"user\0a\0\0"

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4) + body

    harmless = message(b"P", b"\0COMMIT\0") + message(b"S", b"") + message(b"Q", b"COMMITTED\0")
    commit = message(b"Q", b"\n commit and chain;\0")
    stream = tls + startup + harmless + commit + harmless
    for size in range(1, len(stream) + 1):
        watch = CommitWatch()
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        found = [watch.feed(piece) for piece in pieces]
        end = len(stream) - len(harmless) - 1
        assert [number for number, commits in enumerate(found) if commits] == [end // size]


# The separate process


async def test_proxies_in_a_process_of_their_own_do_the_same(heard: bytearray, tmp_path: Path) -> None:
    async with an_echo(heard) as port, Proxies(tmp_path / "proxies.log") as proxies:
        proxy = await proxies.open("echo", port)
        here = Line(*await asyncio.open_connection("127.0.0.1", proxy.port))
        assert await here.echo(b"hello") == b"hello"
        await proxy.make(Trouble(hold="up"))
        await here.say(b"late")
        assert await here.hears_nothing()
        await proxy.heal()
        assert await here.hear(4) == b"late"
        await proxy.reset()
        await here.until_reset()
        seen = await proxy.seen()
        assert (seen.accepted, seen.up_bytes, seen.cut) == (1, 9, 1)
        await here.close()
