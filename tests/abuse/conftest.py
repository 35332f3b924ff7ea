"""Connections below every client library, so that a client can be as wrong as it likes."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import pytest
from litestar.routes import HTTPRoute

from tests.conftest import Node, StartNode
from tests.waiting import PATIENCE, until
from tests.web.conftest import Site, problem

__all__ = ["problem"]

T = TypeVar("T")

THOROUGHNESS = int(os.environ.get("THOROUGHNESS", "1"))
"""How many times as many examples as in the suite are tried: `make abuse`."""


def some(of: Sequence[T], turn: int, count: int) -> list[T]:
    """A few of these, others at each turn, so that all have theirs; with THOROUGHNESS all of them at every turn."""
    if THOROUGHNESS > 1:
        return list(of)
    return [of[(turn * count + at) % len(of)] for at in range(count)]


class Answer(NamedTuple):
    """What came back: the status, the headers by their lower-case names, the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self
        body = json.loads(self.body)
        assert body["status"] == self.status
        code: str = body["code"]
        return code


class Wire:
    """One TCP connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write, unless the server has closed the connection."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError:
            pass

    async def answer(self) -> Answer:
        """The next answer. Raises IncompleteReadError or OSError if the server closes without one."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
            return Answer(int(first.split()[1]), headers, body)

    async def ended(self) -> bytes:
        """What is left until the server closes."""
        rest = b""
        async with asyncio.timeout(PATIENCE):
            try:
                while piece := await self.reader.read(65_536):
                    rest += piece
            except ConnectionError:
                pass
        return rest

    async def close(self) -> None:
        """Close the connection."""
        self.writer.transport.abort()


@asynccontextmanager
async def wire(node: Node) -> AsyncIterator[Wire]:
    """A connection to this node."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port, limit=1 << 22)
    connection = Wire(reader, writer)
    try:
        yield connection
    finally:
        await connection.close()


async def ask(node: Node, request: bytes) -> Answer:
    """The answer to these bytes."""
    async with wire(node) as connection:
        await connection.send(request)
        return await connection.answer()


def request(start: str, *headers: str, body: bytes = b"") -> bytes:
    """A request as it goes over the wire; its headers are given as lines."""
    return "\r\n".join([f"{start} HTTP/1.1", "Host: x", *headers, "", ""]).encode("latin-1") + body


def handlers(site: Site) -> Iterator[tuple[str, str, Any]]:
    """Everything the application answers over HTTP: its method, its path as `/drivers/{}`, and its handler."""
    for route in site.node.app.routes:
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            path = "/".join("{}" if part.startswith("{") else part for part in route.path.split("/"))
            for method in sorted(handler.http_methods - {"OPTIONS"}):
                yield str(method), path, handler


@pytest.fixture
async def site(node: StartNode) -> AsyncIterator[Site]:
    site = Site(await node())
    yield site
    await site.close()


@pytest.fixture
async def unharmed(site: Site, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Site]:
    """A site that has to be well afterwards: it answers, holds no connection of an enemy's, and found no bug."""
    caplog.set_level(logging.WARNING)
    yield site
    assert (await site.vic.get("/deliveries")).status_code == 200
    for client in site.clients:
        await client.aclose()
    await until(lambda: not site.node.server.server_state.connections, within=PATIENCE)
    await until(lambda: not site.node.server.server_state.tasks, within=PATIENCE)
    bugs = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert not bugs, bugs
