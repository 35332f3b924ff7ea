"""The sockets of this node: who is connected, what each of them missed, and which have to end.

It only reads messages from the database that hints did not announce; it changes nothing there.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from itertools import count, groupby
from operator import itemgetter
from typing import Protocol

import structlog
from prometheus_client import Gauge

from server.contract.commit import Answer, Committed
from server.contract.replay import replayed
from server.dispatch.commands import Command, ConnectDriver, DisconnectDriver
from server.dispatch.events import DriverConnected
from server.dispatch.model import Actor
from server.dispatch.refusals import INTERNAL_ERROR, TRY_AGAIN, Refusal
from server.dispatch.takeovers import WINDOW, is_of_another, may_connect_at
from server.redis.hints import read_hint
from server.sockets.open_socket import AsgiSend, Socket
from server.sockets.pings import Pings
from server.sockets.session import RESTARTING, SUPERSEDED, TOO_SLOW, UNAUTHORIZED
from server.store.clock import DatabaseClock
from server.store.connections import Pool
from server.store.query import DatabaseAway
from server.store.reads.connections import connections_of, is_connected, last_connection_of
from server.store.reads.streams import differing_streams, messages_after
from server.tasks import wait_until_set

POLL_SECONDS = 1.0
POLL_WITHOUT_REDIS_SECONDS = 0.25

SOCKETS = Gauge("callboard_sockets", "Open driver sockets of this process")

log = structlog.get_logger(__name__)


class Submit(Protocol):
    """`Executor.submit`: never raises for what the rules refuse."""

    def __call__(self, command: Command) -> Awaitable[Answer | Refusal]: ...


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
        self._arrivals = count(1)
        self._taken_over: dict[str, float] = {}
        """When a connection that may be of another device ended a driver's socket here, by the loop's clock."""
        self._handlers = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def arrival(self) -> int:
        """The number of a handshake that has just arrived: a newer one has a higher number."""
        return next(self._arrivals)

    def has_newer(self, driver_id: str, holder: str, arrival: int, *, of_any: bool) -> bool:
        """Whether a handshake of this device, or `of_any` of the driver's, that arrived later has a socket already.

        That one had less to wait for.
        """
        socket = self.sockets.get(driver_id)
        return socket is not None and socket.arrival > arrival and (of_any or socket.holder == holder)

    def open(
        self,
        driver_id: str,
        send: AsgiSend,
        pings: Pings,
        device_id: str | None = None,
        holder: str | None = None,
        arrival: int = 0,
    ) -> Socket:
        """Register a socket for the running handler; it supersedes an older one of the same driver on this node."""
        older = self.sockets.get(driver_id)
        if older is not None and older.holder == holder:
            older.close(SUPERSEDED)
        elif older is not None:
            self._close_superseded(older)
        socket = Socket(self, driver_id, send, pings, asyncio.get_running_loop().time(), device_id, holder, arrival)
        self.sockets[driver_id] = socket
        self._handlers += 1
        self._empty.clear()
        SOCKETS.inc()
        return socket

    async def may_connect(self, driver_id: str, holder: str) -> bool:
        """False while devices of the driver take turns, and another one is connected. Reads only if that can be."""
        older = self.sockets.get(driver_id)
        lost_at = self._taken_over.get(driver_id, -math.inf)
        lately = asyncio.get_running_loop().time() - lost_at < WINDOW.total_seconds()
        if not lately and (older is None or older.holder == holder):
            return True
        try:
            allowed_at = may_connect_at(await connections_of(self._pool, driver_id), holder)
            if allowed_at is None or allowed_at <= self.clock.now():
                return True
            return not await is_connected(self._pool, driver_id)
        except DatabaseAway:
            return True  # the rules, which need the database, refuse the connection

    async def is_in_use_elsewhere(self, driver_id: str, holder: str) -> bool:
        """Whether another device of the driver connected last, so that this one asks before it takes over."""
        older = self.sockets.get(driver_id)
        if older is not None and older.holder == holder:
            return False
        try:
            last = await last_connection_of(self._pool, driver_id, seen=1)
            return is_of_another(last, holder, self.clock.now())
        except DatabaseAway:
            return False  # the rules, which need the database, refuse the connection

    def _close_superseded(self, socket: Socket) -> None:
        self._taken_over[socket.driver_id] = asyncio.get_running_loop().time()
        socket.close(SUPERSEDED)

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
        while await self._submit(command) in (TRY_AGAIN, INTERNAL_ERROR):
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
            self._close_superseded(socket)

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
                self._close_superseded(socket)
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
        actor = Actor("driver", socket.driver_id)
        command = ConnectDriver(socket.driver_id, socket.session_id, self.node_id, actor, socket.holder)
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
        for driver_id, of_driver in groupby(rows, key=itemgetter(0)):
            missing = list(of_driver)
            bodies = replayed([body for _, _, body in missing], now)
            for (_, seq, _), body in zip(missing, bodies, strict=True):
                by_driver[driver_id].deliver(seq, body)
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
