"""A TCP proxy that makes trouble between a client and a server, as networks do: it delays, holds back, swallows, cuts.

Up is towards the server, down towards the client.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections import deque
from pathlib import Path
from typing import Any, Final, Literal, cast

from msgspec import Struct

from tests.torture.commits import CommitWatch

Direction = Literal["", "up", "down", "both"]
Target = int | Path
"""A port of this machine, or a Unix socket."""

HELD_BYTES: Final = 1 << 20
"""A direction with more than this under way is not read from any more, as with a full window."""
CHUNK_SECONDS: Final = 0.05
"""When throttled, pieces are so small that one of them takes no longer."""
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


class Trouble(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a proxy does to its connections. The default is nothing.

    `hold` keeps bytes back and delivers them once it ends, as after a network's partition: what was sent meanwhile
    arrives late. `drop` swallows them for good; connections that lost something are reset once it ends.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    bytes_per_second: float = 0.0
    hold: Direction = ""
    drop: Direction = ""
    refuse: bool = False
    """New connections are refused; those that are open stay."""
    cut_after_bytes: int = 0
    """Every connection is reset once it has carried so many bytes from now on, in both directions together."""
    cut_commit: Literal["", "before", "after"] = ""
    """Reset a connection to PostgreSQL at its COMMIT: before the COMMIT arrives there, or instead of its answer."""
    commit_share: float = 1.0
    """How many of the COMMITs, by chance."""


class Seen(Struct, frozen=True):
    """What a proxy has carried and done since it was opened."""

    open: int
    accepted: int
    up_bytes: int
    down_bytes: int
    dropped_bytes: int
    cut: int
    commits_cut: int


class Proxy:
    """Listens on a port of 127.0.0.1 that it chooses. `postgres` says that PostgreSQL's protocol is spoken."""

    def __init__(self, target: Target, *, postgres: bool = False, seed: int = 0) -> None:
        self.target = target
        self.postgres = postgres
        self.trouble = Trouble()
        self.chance = random.Random(seed)
        self.links: set[_Link] = set()
        self.port = 0
        self.accepted = self.up_bytes = self.down_bytes = self.dropped_bytes = self.cut = self.commits_cut = 0
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None

    async def open(self) -> int:
        """Listen; the port."""
        await self._listen(_bound(0))
        return self.port

    async def _listen(self, listener: socket.socket) -> None:
        listener.listen(1024)
        self.port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Link(self).client, sock=listener)

    async def make(self, trouble: Trouble) -> None:
        """From now on, for open connections too; the trouble before ends."""
        self.trouble = trouble
        if trouble.refuse and self._server is not None:
            # A socket that is bound and does not listen keeps the port ours and refuses.
            self._server.close()
            self._server = None
            self._reserved = _bound(self.port)
        elif not trouble.refuse and self._reserved is not None:
            listener, self._reserved = self._reserved, None
            await self._listen(listener)
        for link in tuple(self.links):
            link.changed()

    def reset(self) -> None:
        """Reset all open connections."""
        for link in tuple(self.links):
            link.reset()

    def seen(self) -> Seen:
        """What happened so far."""
        return Seen(
            open=len(self.links),
            accepted=self.accepted,
            up_bytes=self.up_bytes,
            down_bytes=self.down_bytes,
            dropped_bytes=self.dropped_bytes,
            cut=self.cut,
            commits_cut=self.commits_cut,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        self.reset()
        await asyncio.sleep(0)


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)
    return bound


class _Half(asyncio.Protocol):
    """One end of a connection: what comes in here flows out at the other."""

    def __init__(self, link: "_Link") -> None:
        self.transport: asyncio.Transport | None = None
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self is self._link.client:
            self._link.accepted()

    def data_received(self, data: bytes) -> None:
        self._link.flow_from(self).feed(data)

    def eof_received(self) -> bool:
        self._link.flow_from(self).put(_END)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if exc is not None:
            self._link.flow_from(self).put(_RESET)
        self._link.forget_if_over()

    def pause_writing(self) -> None:
        self._link.flow_into(self).stop_reading(full=True)

    def resume_writing(self) -> None:
        self._link.flow_into(self).read_on(full=False)

    def hang_up(self, *, reset: bool) -> None:
        """Close, with a FIN or with a RST."""
        if self.transport is None:
            return
        if not reset:
            self.transport.close()
            return
        end = self.transport.get_extra_info("socket")
        if end.family != socket.AF_UNIX:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self.transport.abort()


class _End(Struct, frozen=True):
    """The end of a direction: an orderly one, or a reset."""

    reset: bool


_END: Final = _End(reset=False)
_RESET: Final = _End(reset=True)


class _Flow:
    """One direction of a connection: bytes, and then its end, each at its time."""

    def __init__(self, link: "_Link", up: bool) -> None:
        self._link = link
        self._up = up
        self._proxy = link.proxy
        self._source, self._sink = (link.client, link.server) if up else (link.server, link.client)
        self._queue: deque[tuple[float, bytes | _End]] = deque()
        self._queued = 0
        self._free_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._full = self._crowded = False
        self.over = False

    def _meant(self, direction: Direction) -> bool:
        return direction == "both" or direction == ("up" if self._up else "down")

    @property
    def dropping(self) -> bool:
        """Whether everything in this direction vanishes now."""
        return self._meant(self._proxy.trouble.drop)

    def feed(self, data: bytes) -> None:
        """Bytes have come."""
        if self._up:
            self._proxy.up_bytes += len(data)
        else:
            self._proxy.down_bytes += len(data)
        if self._link.carries(self._up, data):
            self.put(data)

    def put(self, item: bytes | _End) -> None:
        """Send it on, in its turn and at its time."""
        if self._link.gone or self.over:
            return
        if self.dropping:
            self._link.spoilt = True
            self._proxy.dropped_bytes += len(item) if isinstance(item, bytes) else 0
            return
        trouble = self._proxy.trouble
        if isinstance(item, bytes) and trouble.bytes_per_second:
            piece = max(1, int(trouble.bytes_per_second * CHUNK_SECONDS))
            for start in range(0, len(item), piece):
                self._queue_up(item[start : start + piece], trouble)
        else:
            self._queue_up(item, trouble)
        self.flow()

    def _queue_up(self, item: bytes | _End, trouble: Trouble) -> None:
        due = asyncio.get_running_loop().time()
        if trouble.delay_ms or trouble.jitter_ms:
            due += (trouble.delay_ms + trouble.jitter_ms * self._proxy.chance.random()) / 1000
        due = max(due, self._free_at)
        if isinstance(item, bytes):
            if trouble.bytes_per_second:
                due += len(item) / trouble.bytes_per_second
            self._queued += len(item)
            if self._queued > HELD_BYTES:
                self.stop_reading(crowded=True)
        self._free_at = due
        self._queue.append((due, item))

    def flow(self) -> None:
        """Send on what is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._queue and not self._link.gone:
            if self._sink.transport is None or self._meant(self._proxy.trouble.hold):
                return
            due, item = self._queue[0]
            if due > loop.time():
                self._timer = loop.call_at(due, self.flow)
                return
            self._queue.popleft()
            if isinstance(item, bytes):
                self._queued -= len(item)
                if self._crowded and self._queued < HELD_BYTES // 2:
                    self.read_on(crowded=False)
                self._sink.transport.write(item)
            else:
                self._end(item)

    def _end(self, end: _End) -> None:
        self.over = True
        if end.reset:
            self._link.reset()
            return
        assert self._sink.transport is not None
        if self._sink.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the other side has closed, and we have not heard of it yet
                self._sink.transport.write_eof()
        self._link.close_if_over()

    def drop_all(self) -> None:
        """Nothing of this will arrive."""
        self._queue.clear()
        self._queued = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop_reading(self, *, full: bool = False, crowded: bool = False) -> None:
        """Too much is under way."""
        self._full, self._crowded = self._full or full, self._crowded or crowded
        if self._source.transport is not None:
            self._source.transport.pause_reading()

    def read_on(self, *, full: bool = True, crowded: bool = True) -> None:
        """There is room again, in one respect."""
        self._full, self._crowded = self._full and full, self._crowded and crowded
        if not self._full and not self._crowded and self._source.transport is not None:
            self._source.transport.resume_reading()


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.gone = False
        self.spoilt = False
        self.client, self.server = _Half(self), _Half(self)
        self.up, self.down = _Flow(self, up=True), _Flow(self, up=False)
        self._commits = CommitWatch() if proxy.postgres else None
        self._commit_answered_next = False
        self._carried = 0
        self._connecting: asyncio.Task[None] | None = None

    def flow_from(self, half: _Half) -> _Flow:
        """The direction that begins there."""
        return self.up if half is self.client else self.down

    def flow_into(self, half: _Half) -> _Flow:
        """The direction that ends there."""
        return self.down if half is self.client else self.up

    def accepted(self) -> None:
        """The client is there: call the server."""
        self.proxy.accepted += 1
        self.proxy.links.add(self)
        self._connecting = asyncio.create_task(self._connect(), name="proxy connects")

    async def _connect(self) -> None:
        loop, target = asyncio.get_running_loop(), self.proxy.target
        try:
            if isinstance(target, Path):
                await loop.create_unix_connection(lambda: self.server, str(target))
            else:
                await loop.create_connection(lambda: self.server, "127.0.0.1", target)
        except OSError:
            self.reset()
            return
        if self.gone:
            self.server.hang_up(reset=True)
            return
        self.up.flow()

    def carries(self, up: bool, data: bytes) -> bool:
        """Whether these bytes go on: what is cut at them is cut here."""
        trouble = self.proxy.trouble
        if up and self._commits is not None and self._commits.feed(data) and trouble.cut_commit:
            meant = self.proxy.chance.random() < trouble.commit_share
            if meant and trouble.cut_commit == "before":
                self._cut_at_commit()
                return False
            self._commit_answered_next = meant
        elif not up and self._commit_answered_next:
            self._cut_at_commit()
            return False
        if trouble.cut_after_bytes:
            self._carried += len(data)
            if self._carried >= trouble.cut_after_bytes:
                self.reset()
                return False
        return not self.gone

    def _cut_at_commit(self) -> None:
        self.proxy.commits_cut += 1
        self.reset()

    def changed(self) -> None:
        """The proxy makes another kind of trouble now."""
        self._carried = 0
        self._commit_answered_next = self._commit_answered_next and self.proxy.trouble.cut_commit == "after"
        if self.spoilt and not (self.up.dropping or self.down.dropping):
            self.reset()
            return
        self.up.flow()
        self.down.flow()

    def reset(self) -> None:
        """Cut both ends off, at once."""
        if self.gone:
            return
        self.proxy.cut += 1
        self._hang_up(reset=True)

    def close_if_over(self) -> None:
        """Both directions have come to their end."""
        if self.up.over and self.down.over and not self.gone:
            self._hang_up(reset=False)

    def _hang_up(self, *, reset: bool) -> None:
        self.gone = True
        for flow in (self.up, self.down):
            flow.drop_all()
        for half in (self.client, self.server):
            half.hang_up(reset=reset)
        self.proxy.links.discard(self)

    def forget_if_over(self) -> None:
        """An end is gone: nobody reads there any more."""
        if self.client.transport is None and self.server.transport is None:
            self.gone = True
            self.proxy.links.discard(self)


def as_target(value: Any) -> Target:
    """Out of JSON: a port, or a path."""
    return value if isinstance(value, int) else Path(value)
