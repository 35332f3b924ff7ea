"""A geocoder on a real socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

PLACES = {"Torstr. 1": [(52.52, 13.4), (52.5201, 13.4001)], "Main St": [(52.5, 13.4), (40.7, -74.0)], "Nowhere": []}


class OtherServer:
    """An answering geocoder on a real socket. Without `places` it answers with `answer`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: bytes | None = None
        self.server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                while await reader.readline() not in (b"\r\n", b""):
                    pass
                body = self.answer if self.answer is not None else self.found(line.split()[1].decode())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        writer.close()

    def found(self, target: str) -> bytes:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        address = query["text" if path == "/v1/search" else "q"][0]
        self.asked.append(address)
        places = PLACES[address]
        if path == "/search":
            assert query["format"] == ["jsonv2"]
            rows: Any = [{"display_name": f"{address}, Town", "lat": str(lat), "lon": str(lon)} for lat, lon in places]
        else:
            properties = {"label": f"{address}, Town"} if path == "/v1/search" else {"name": address, "city": "Town"}
            rows = {
                "features": [{"geometry": {"coordinates": [lon, lat]}, "properties": properties} for lat, lon in places]
            }
        return json.dumps(rows).encode()


@asynccontextmanager
async def serving_places() -> AsyncIterator[OtherServer]:
    other = OtherServer()
    other.server = await asyncio.start_server(other.serve, "127.0.0.1", 0)
    try:
        yield other
    finally:
        other.server.close()
