"""A PostgreSQL that sends its last message some time before it closes the connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from tests.conftest import short_folder


class Relay:
    """A way to the database at `url` on which the ends of the server's connections are never heard, but counted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ended = 0


@asynccontextmanager
async def slow_to_hang_up(database_url: str) -> AsyncIterator[Relay]:
    """Another way to the same database."""
    parts = urlsplit(database_url)
    server = Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"
    open_ones: list[asyncio.StreamWriter] = []
    ways: list[asyncio.Task[None]] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await carry(reader, writer)
        found.ended += 1

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(server)
        open_ones.extend((writer, to_server))
        ways.append(asyncio.create_task(answer(from_server, writer)))
        ways.append(asyncio.create_task(carry(reader, to_server)))

    with short_folder() as folder:
        found = Relay(parts._replace(query=f"host={quote(str(folder))}").geturl())
        relay = await asyncio.start_unix_server(met, folder / ".s.PGSQL.5432")
        try:
            yield found
        finally:
            relay.close()
            for writer in open_ones:
                writer.close()
            await asyncio.gather(*ways)
            await relay.wait_closed()
