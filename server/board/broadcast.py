"""What is sent to open boards: numbered messages, a bounded memory of them, and a bounded queue a viewer.

It knows bytes and numbers only. Nobody waits for a viewer: one who falls behind has to read everything again.
"""

import asyncio
import re
import secrets
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable
from typing import Final

from prometheus_client import Counter, Gauge

KEPT_MESSAGES: Final = 1_000
BEHIND_BYTES: Final = 1 << 20
"""A viewer with more unsent bytes than this is too slow; a board that was cut off can catch up as far back."""

VIEWERS: Final = Gauge("callboard_board_viewers", "Open streams of boards and of pages of one delivery or driver")
MESSAGES: Final = Counter("callboard_board_messages", "Messages rendered for boards, counted once for all viewers")
RESYNCS: Final = Counter("callboard_board_resyncs", "Times that a viewer had to reload everything", ["why"])

_POSITION: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})")
_NEWLINES: Final = {10: 32, 13: 32}
PADDING: Final = b": \n\n"
"""A comment: keeps what lies between awake."""


def event(data: str, *, name: str | None = None, position: str | None = None) -> bytes:
    """One message of a stream of server-sent events. Line breaks in `data` become spaces, as good in HTML."""
    lines = [f"id: {position}\n"] if position is not None else []
    if name is not None:
        lines.append(f"event: {name}\n")
    return "".join((*lines, "data: ", data.translate(_NEWLINES), "\n\n")).encode()


def _changed(ids: Iterable[str]) -> bytes:
    return event(" ".join(sorted(ids)), name="changed")


class Viewer:
    """One open stream, of one page or of all pages of a browser. `board`: one of them is the board; `about` are the ids
    of the deliveries and drivers, and the topics, of the others.
    """

    __slots__ = ("_chunks", "_closed", "_lost", "_size", "_something", "about", "board")

    def __init__(self, about: Iterable[str], *, board: bool) -> None:
        self.about = frozenset(about)
        self.board = board
        self._chunks: list[bytes] = []
        self._size = 0
        self._lost = False
        self._closed = False
        self._something = asyncio.Event()

    def push(self, chunk: bytes) -> None:
        """Send this after what lies ready; when that is too much already, forget it all and have them look again."""
        if self._lost:
            return
        if self._size + len(chunk) > BEHIND_BYTES and self._chunks:
            RESYNCS.labels("slow").inc()
            self.lose()
            return
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._something.set()

    def lose(self) -> None:
        """The changes that this viewer missed are not kept: they have to read everything again."""
        self._chunks.clear()
        self._size = 0
        self._lost = True
        self._something.set()

    def close(self) -> None:
        """End the stream after what lies ready."""
        self._closed = True
        self._something.set()

    async def take(self) -> list[bytes] | None:
        """What lies ready, waiting for something; empty when this viewer is to look again; None at the end."""
        while True:
            await self._something.wait()
            if self._lost:
                self._lost = False
                return []
            if self._chunks:
                chunks, self._chunks, self._size = self._chunks, [], 0
                return chunks
            if self._closed:
                return None
            self._something.clear()


class Broadcast:
    """All viewers of a node. Messages are numbered from 1 within an epoch; a position is `<epoch>-<number>`."""

    def __init__(self) -> None:
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._viewers: set[Viewer] = set()
        self._open = True
        self.epoch = secrets.token_hex(4)
        self.number = 0

    @property
    def position(self) -> str:
        """Where somebody is who has everything."""
        return f"{self.epoch}-{self.number}"

    def __len__(self) -> int:
        return len(self._viewers)

    def begin(self) -> None:
        """A new epoch: nothing sent before leads here. Viewers read everything again."""
        self.epoch = secrets.token_hex(4)
        self.number = 0
        self._kept.clear()
        self._size = 0
        for viewer in self._viewers:
            RESYNCS.labels("epoch").inc()
            viewer.lose()

    def join(self, after: str | None, about: Collection[str] = (), *, board: bool = True) -> Viewer:
        """A new viewer whose board has everything up to `after`: what they missed lies ready, or the word to look
        again. What they show beside the board may have changed meanwhile: that lies ready too.
        """
        viewer = Viewer(about, board=board)
        missed = self.since(after) if board else None
        if missed is None:
            RESYNCS.labels("unknown_position" if board else "page").inc()
            viewer.lose()
        else:
            if about:
                viewer.push(_changed(viewer.about))
            for chunk in missed:
                viewer.push(chunk)
        self._viewers.add(viewer)
        VIEWERS.inc()
        if not self._open:
            viewer.close()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            VIEWERS.dec()

    def since(self, position: str | None) -> list[bytes] | None:
        """The messages after this position; None when it is of another epoch, too old, or never was."""
        match = _POSITION.fullmatch(position or "")
        if match is None or match[1] != self.epoch:
            return None
        missed = self.number - int(match[2])
        if not 0 <= missed <= len(self._kept):
            return None
        return list(self._kept)[len(self._kept) - missed :]

    def publish(self, html: str) -> None:
        """Send this to every board, the same bytes to each, and remember it."""
        self.number += 1
        message = event(html, position=self.position)
        MESSAGES.inc()
        self._kept.append(message)
        self._size += len(message)
        while len(self._kept) > KEPT_MESSAGES or (self._size > BEHIND_BYTES and len(self._kept) > 1):
            self._size -= len(self._kept.popleft())
        for viewer in self._viewers:
            if viewer.board:
                viewer.push(message)

    def watched(self) -> set[str]:
        """The deliveries, drivers and topics whose pages are open."""
        return {about for viewer in self._viewers for about in viewer.about}

    def touched(self, ids: Iterable[str]) -> None:
        """Tell the pages of these deliveries and drivers that they changed."""
        touched = set(ids)
        for viewer in self._viewers:
            if changed := viewer.about & touched:
                viewer.push(_changed(changed))

    def say(self, message: bytes) -> None:
        """Send this to everybody; it is not remembered."""
        for viewer in self._viewers:
            viewer.push(message)

    def say_to_boards(self, message: bytes) -> None:
        """Send this to every board; it is not remembered."""
        for viewer in self._viewers:
            if viewer.board:
                viewer.push(message)

    def close(self) -> None:
        """End all streams, now and from now on."""
        self._open = False
        for viewer in self._viewers:
            viewer.close()

    async def stream(self, viewer: Viewer) -> AsyncIterator[bytes]:
        """What to send to this viewer, until the end."""
        while (chunks := await viewer.take()) is not None:
            yield b"".join(chunks) if chunks else event("", name="resync", position=self.position)
