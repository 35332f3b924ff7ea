"""A board's stream for tests: a real connection that keeps what it was sent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from tests.waiting import PATIENCE
from tests.web.html_tree import Element, parse


class Sent:
    """One server-sent event."""

    def __init__(self, fields: dict[str, str], raw: bytes) -> None:
        self.id = fields.get("id")
        self.name = fields.get("event")
        self.data = fields.get("data", "")
        self.raw = raw

    @property
    def pieces(self) -> list[Element]:
        """What it does: an element for each target."""
        return parse(self.data).every("hx-partial")

    def row(self, row_id: str) -> Element | None:
        """The row with this id, if it brings one."""
        for piece in self.pieces:
            for row in piece.every("tr", id=row_id):
                return row
        return None


class BoardStream:
    """Everything sent is in `sent`, oldest first, comments apart."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.sent: list[Sent] = []
        self.comments = 0
        self.ended = False
        self._news = asyncio.Condition()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        rest = b""
        try:
            async for chunk in self.response.aiter_raw():
                *blocks, rest = (rest + chunk).split(b"\n\n")
                for block in blocks:
                    await self._heard(block)
        except httpx2.HTTPError:
            pass
        finally:
            self.ended = True
            async with self._news:
                self._news.notify_all()

    async def _heard(self, block: bytes) -> None:
        fields: dict[str, str] = {}
        for line in block.decode().split("\n"):
            name, _, value = line.partition(": ")
            if name.startswith(":"):
                self.comments += 1
            else:
                fields[name] = value
        if fields:
            async with self._news:
                self.sent.append(Sent(fields, block))
                self._news.notify_all()

    @property
    def messages(self) -> list[Sent]:
        """Those that are swapped into the page."""
        return [sent for sent in self.sent if sent.name is None]

    async def hear(self, likes: Callable[[Sent], Any], within: float = PATIENCE) -> Sent:
        """The first event, past ones included, that the function likes."""
        async with asyncio.timeout(within), self._news:
            while True:
                for sent in self.sent:
                    if likes(sent):
                        return sent
                if self.ended:
                    raise AssertionError(f"the stream ended before: {[(s.name, s.id) for s in self.sent]}")
                await self._news.wait()

    async def hear_row(self, row_id: str, likes: Callable[[Element], Any] = bool, within: float = PATIENCE) -> Element:
        """A row with this id that the function likes."""
        sent = await self.hear(lambda s: s.name is None and (row := s.row(row_id)) and likes(row), within)
        row = sent.row(row_id)
        assert row is not None
        return row

    async def hear_named(self, name: str, within: float = PATIENCE) -> Sent:
        return await self.hear(lambda s: s.name == name, within)


@asynccontextmanager
async def board_stream(
    client: httpx2.AsyncClient, *, after: str | None = None, about: str | None = None, last: str | None = None
) -> AsyncIterator[BoardStream]:
    """Open a stream after a position: as a page does (`after`), or as a reconnect does (`last`)."""
    query = {name: value for name, value in (("after", after), ("about", about)) if value is not None}
    headers = {"Last-Event-ID": last} if last is not None else {}
    async with client.stream("GET", "/board/stream", params=query, headers=headers, timeout=None) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = BoardStream(response)
        try:
            yield stream
        finally:
            stream.reading.cancel()
            await asyncio.gather(stream.reading, return_exceptions=True)


def position_of(page: Element) -> str:
    """Where a page's stream begins."""
    address = page.one(id="stream")["hx-sse:connect"]
    return address.partition("after=")[2]
