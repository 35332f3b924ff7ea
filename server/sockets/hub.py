"""The sockets of this node: who is connected, what is written to them, and when they are closed.

It only reads messages from the database that hints did not announce; it changes nothing there.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog
from prometheus_client import Counter, Gauge

from server.contract import messages as m
from server.contract.commit import Answer, Committed
from server.contract.replay import as_of
from server.contract.views import to_json
from server.dispatch.commands import Command, ConnectDriver, DisconnectDriver
from server.dispatch.events import DriverConnected
from server.dispatch.model import Actor
from server.dispatch.refusals import TRY_AGAIN, Refusal
from server.ids import new_id
from server.redis.hints import read_hint
from server.sockets.pings import Pings
from server.sockets.session import (
    RESTARTING,
    SUPERSEDED,
    TOKEN_EXPIRED,
    TOO_SLOW,
    UNAUTHORIZED,
    Close,
    CloseCode,
    Effects,
    FetchMissing,
    Send,
    Session,
)
from server.store.clock import DatabaseClock
from server.store.connections import Pool
from server.store.reads.streams import differing_streams, messages_after
from server.tasks import wait_until_set

QUEUE_LIMIT = 256
SEND_TIMEOUT_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 5.0
POLL_SECONDS = 1.0
POLL_WITHOUT_REDIS_SECONDS = 0.25
SPREAD_MS = (500, 5_000)
"""How long drivers wait before they reconnect; the times are spread, so that after a restart they do not all come at
once.
"""
RECONNECT = range(4200, 4300)
"""The close codes after which a driver is to reconnect."""

SOCKETS = Gauge("callboard_sockets", "Open driver sockets of this process")
CLOSED = Counter("callboard_sockets_closed", "Driver sockets that the server closed, by close code", ["code"])

log = structlog.get_logger(__name__)

Message = dict[str, Any]
AsgiSend = Callable[[Message], Awaitable[None]]


class Submit(Protocol):
    """`Executor.submit`: never raises for what the rules refuse."""

    def __call__(self, command: Command) -> Awaitable[Answer | Refusal]: ...


class Socket:
    """An open socket: its session, its waiting frames, and how it ends.

    Frames go directly to the transport while it accepts them; there is a task only while something waits.
    """

    __slots__ = (
        "_closer",
        "_expiry",
        "_flusher",
        "_hub",
        "_send",
        "_task",
        "_waiting",
        "closed",
        "connected",
        "device_id",
        "driver_id",
        "in_flight",
        "known_seq",
        "pings",
        "room",
        "session",
        "session_id",
    )

    def __init__(
        self, hub: "Hub", driver_id: str, send: AsgiSend, pings: Pings, now: float, device_id: str | None = None
    ) -> None:
        self.driver_id = driver_id
        self.device_id = device_id
        self.session_id = new_id()
        self.session = Session(driver_id, Actor("driver", driver_id), new_id, now)
        self.connected = False
        self.closed: CloseCode | None = None
        self.in_flight = 0
        self.known_seq = -1
        """The last number that the driver has confirmed."""
        self.pings = pings
        self.room: asyncio.Future[None] | None = None
        self._hub = hub
        self._send = send
        self._waiting: deque[str] | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._task = asyncio.current_task()

    def send(self, text: str) -> None:
        """Write a text frame, now or when the driver's network accepts it; close with 4201 if too many wait."""
        if self.closed is not None:
            return
        if self._waiting is None:
            try:
                if send_now(self._send, {"type": "websocket.send", "text": text}):
                    return
            except OSError:
                return
            self._waiting = deque()
            self._flusher = asyncio.create_task(self._flush(self._waiting))
        if len(self._waiting) >= QUEUE_LIMIT:
            self._waiting.clear()
            self.close(TOO_SLOW)
        else:
            self._waiting.append(text)

    async def _flush(self, waiting: deque[str]) -> None:
        try:
            while waiting:
                text = waiting.popleft()
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    await self._send({"type": "websocket.send", "text": text})
        except TimeoutError:
            waiting.clear()
            self.close(TOO_SLOW)
        except OSError:
            waiting.clear()
        finally:
            self._waiting = self._flusher = None

    def carry_out(self, effects: Effects) -> None:
        """Execute the effects that concern the socket: Send, Close and FetchMissing."""
        for effect in effects:
            if type(effect) is Send:
                self.send(effect.text)
            elif type(effect) is FetchMissing:
                self._hub.fetch_for(self)
            elif type(effect) is Close:
                self.close(effect.why)

    def deliver(self, seq: int, body: str) -> None:
        """A message of the driver's stream, live or read from the database."""
        self.carry_out(self.session.message(seq, body))

    def has_written(self, seq: int) -> bool:
        """Whether the message with this number was sent, in `hello` or separately."""
        last = self.session.last_seq
        return last is not None and last >= seq and self._waiting is None and self.closed is None

    def close_at(self, when: float) -> None:
        """Close with 4102 at this time of the loop's clock."""
        self._expiry = asyncio.get_running_loop().call_at(when, self.close, TOKEN_EXPIRED)

    def close(self, why: CloseCode) -> None:
        """Close the socket and remove it, after a `goodbye` if the driver is to reconnect. Waiting frames are still
        written, within the time limit of a close.
        """
        if self.closed is not None:
            return
        self.closed = why
        CLOSED.labels(str(why.code)).inc()
        self._hub.forget(self)
        frames = deque[Message]()
        if why.code in RECONNECT and self.session.last_seq is not None:  # `hello` comes before everything else
            wait_ms = random.randint(*SPREAD_MS)
            goodbye = to_json(m.Goodbye(reason=why.reason.replace(" ", "_"), reconnect_after_ms=wait_ms))
            frames.append({"type": "websocket.send", "text": goodbye})
        frames.append({"type": "websocket.close", "code": why.code, "reason": why.reason})
        try:
            while self._flusher is None and send_now(self._send, frames[0]):
                frames.popleft()
                if not frames:
                    return
        except OSError:
            return
        self._closer = asyncio.create_task(self._close_later(frames))

    async def _close_later(self, frames: deque[Message]) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                while self._flusher is not None and self._flusher is not asyncio.current_task():
                    await asyncio.wait((self._flusher,))
                for frame in frames:
                    await self._send(frame)
        except TimeoutError:
            if self._task is not None:
                self._task.cancel()
        except OSError:
            return

    def gone(self) -> None:
        """The handler has ended: release everything of this socket."""
        if self.closed is None:
            self.closed = CloseCode(1006, "gone")
        self._hub.forget(self)
        if self._expiry is not None:
            self._expiry.cancel()
        if self._flusher is not None:
            self._flusher.cancel()
        if self._closer is not None:
            self._closer.cancel()


def send_now(send: AsgiSend, message: Message) -> bool:
    """Whether the frame was sent without waiting. A send that would wait is given up.

    uvicorn's `send` waits only once, before it writes anything, until the transport accepts more. So a send that does
    not finish in its first step has sent nothing. Raises OSError when the client is gone.
    """
    sending = send(message).__await__()
    try:
        next(sending)
    except StopIteration:
        return True
    sending.close()
    return False


class Hub:
    """All sockets of this node by driver, at most one each."""

    def __init__(
        self,
        pool: Pool,
        submit: Submit,
        *,
        node_id: str,
        clock: DatabaseClock,
        redis_connected: Callable[[], bool],
    ) -> None:
        self.node_id = node_id
        self.clock = clock
        self.sockets: dict[str, Socket] = {}
        self.draining = False
        self.rezoned: list[Callable[[str, str], None]] = []
        """Called with the driver and the new zone when another node changed the zone of a driver with a socket here."""
        self._pool = pool
        self._submit = submit
        self._redis_connected = redis_connected
        self._behind: set[Socket] = set()
        self._fetch = asyncio.Event()
        self._look = asyncio.Event()
        self._partings: set[asyncio.Task[None]] = set()
        self._handlers = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def open(self, driver_id: str, send: AsgiSend, pings: Pings, device_id: str | None = None) -> Socket:
        """Register a socket for the running handler; it supersedes an older one of the same driver on this node."""
        older = self.sockets.get(driver_id)
        if older is not None:
            older.close(SUPERSEDED)
        socket = Socket(self, driver_id, send, pings, asyncio.get_running_loop().time(), device_id)
        self.sockets[driver_id] = socket
        self._handlers += 1
        self._empty.clear()
        SOCKETS.inc()
        return socket

    def forget(self, socket: Socket) -> None:
        """Remove a socket from the registry, if it is still there."""
        if self.sockets.get(socket.driver_id) is socket:
            del self.sockets[socket.driver_id]
        self._behind.discard(socket)

    def ended(self, socket: Socket) -> None:
        """The handler of this socket has ended: inform the rules, in a task that outlives the handler."""
        socket.gone()
        SOCKETS.dec()
        self._handlers -= 1
        parting = asyncio.create_task(self._part(DisconnectDriver(socket.driver_id, socket.session_id)))
        self._partings.add(parting)
        parting.add_done_callback(self._parted)

    def _parted(self, parting: asyncio.Task[None]) -> None:
        self._partings.discard(parting)
        if not self._handlers and not self._partings:
            self._empty.set()

    def lose(self, socket: Socket) -> None:
        """The socket is lost: reports it at once, before its handler ends."""
        socket.close(TOO_SLOW)
        parting = asyncio.create_task(self._part(DisconnectDriver(socket.driver_id, socket.session_id)))
        self._partings.add(parting)
        parting.add_done_callback(self._parted)

    async def _part(self, command: DisconnectDriver) -> None:
        """Report the end of a session until it succeeds; on a live node nobody else would."""
        pause = 0.2
        while await self._submit(command) == TRY_AGAIN:
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    def committed(self, commit: Committed) -> None:
        """What was just committed here: messages to sockets of this node, and sockets superseded by others."""
        for message in commit.messages:
            socket = self.sockets.get(message.driver_id)
            if socket is not None:
                socket.deliver(message.seq, message.body)
        for event in commit.events:
            if type(event) is DriverConnected and event.superseded is not None and event.driver_id is not None:
                self.supersede(event.driver_id, event.superseded)

    def heard(self, payload: bytes) -> None:
        """A hint on this node's channel."""
        hint = read_hint(payload)
        for driver_id, seq, body in hint.messages:
            socket = self.sockets.get(driver_id)
            if socket is not None:
                socket.deliver(seq, body)
        for driver_id, session_id in hint.superseded:
            self.supersede(driver_id, session_id)
        for driver_id, zone in hint.zones:
            for rezoned in self.rezoned:
                rezoned(driver_id, zone)

    def supersede(self, driver_id: str, session_id: str) -> None:
        """Close this session if it is open here."""
        socket = self.sockets.get(driver_id)
        if socket is not None and socket.session_id == session_id:
            socket.close(SUPERSEDED)

    def revoke(self, revoked_id: str) -> None:
        """Close the sockets of a driver or a device after its tokens were revoked."""
        driver = self.sockets.get(revoked_id)
        devices = [driver] if driver is not None else [s for s in self.sockets.values() if s.device_id == revoked_id]
        for socket in devices:
            socket.close(UNAUTHORIZED)

    def look_now(self) -> None:
        """Hints may be lost: compare with the database at once."""
        self._look.set()

    def fetch_for(self, socket: Socket) -> None:
        """Read the missing messages of this stream, together with those of other streams."""
        self._behind.add(socket)
        self._fetch.set()

    async def poll(self) -> None:
        """Compare all sockets with the database every second (four times as often without Redis)."""
        while True:
            period = POLL_SECONDS if self._redis_connected() else POLL_WITHOUT_REDIS_SECONDS
            await wait_until_set(self._look, period)
            try:
                await self._compare()
            except Exception as error:
                log.warning("hub_poll_failed", reason=repr(error))

    async def _compare(self) -> None:
        known = [s for s in self.sockets.values() if s.connected]
        if not known:
            return
        found = await differing_streams(
            self._pool,
            [s.driver_id for s in known],
            [s.session_id for s in known],
            [s.session.last_seq for s in known],
        )
        compared = {s.driver_id: s for s in known}
        for stream in found:
            socket = compared[stream.driver_id]
            if socket.closed is not None:
                continue
            if stream.ahead:
                # The database has forgotten what was sent: a fail-over to a standby that was behind. Numbers will be
                # given out again, so only a new `hello` is true.
                log.warning("stream_ahead_of_database", driverId=stream.driver_id)
                socket.close(RESTARTING)
            elif stream.session_id is None:
                self._reclaim(socket)
            elif stream.session_id != socket.session_id:
                socket.close(SUPERSEDED)
            elif stream.behind:
                self.fetch_for(socket)

    def _reclaim(self, socket: Socket) -> None:
        """Other nodes took this node for dead and ended its sessions; if the driver is not connected elsewhere, restore
        the session.
        """
        socket.connected = False
        task = asyncio.create_task(self._connect_again(socket))
        self._partings.add(task)
        task.add_done_callback(self._parted)

    async def _connect_again(self, socket: Socket) -> None:
        command = ConnectDriver(socket.driver_id, socket.session_id, self.node_id, Actor("driver", socket.driver_id))
        answer = await self._submit(command)
        if socket.closed is None:
            if isinstance(answer, Refusal):
                socket.close(RESTARTING)
            else:
                socket.connected = True

    async def fetch(self) -> None:
        """Read missing messages as soon as a stream has a gap: one query for all gaps that collected meanwhile."""
        while True:
            await self._fetch.wait()
            self._fetch.clear()
            behind = [s for s in self._behind if s.closed is None and s.session.last_seq is not None]
            self._behind.clear()
            if not behind:
                continue
            try:
                await self._fetch_rows(behind)
            except Exception as error:
                log.warning("stream_fetch_failed", reason=repr(error))
                for socket in behind:
                    socket.session.fetch_over()

    async def _fetch_rows(self, behind: list[Socket]) -> None:
        rows = await messages_after(self._pool, [s.driver_id for s in behind], [s.session.last_seq for s in behind])
        by_driver = {s.driver_id: s for s in behind}
        now = self.clock.now()
        for driver_id, seq, body in rows:
            by_driver[driver_id].deliver(seq, as_of(body, now))
        for socket in behind:
            socket.session.fetch_over()

    async def drain(self) -> None:
        """Ask every driver to reconnect to another node, close the sockets, and wait until the ends of all sessions are
        recorded.
        """
        self.draining = True
        for socket in list(self.sockets.values()):
            socket.close(RESTARTING)
        await self._empty.wait()
