"""Hints between nodes over Redis: one supervised reader and one batched writer for each process, and the names of all
keys.

Nothing depends on it: publishing never raises, blocks or waits, and polling finds what is lost.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

import structlog
from prometheus_client import Counter, Gauge
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError, ResponseError

from server.redis.pipe import Pipe, RedisCommand, client

DISPATCH = "dispatch"
BOARD = "board"
POLICY = "policy"
LOGINS = "logins"
ZONES = "zones"
SETTINGS = "settings"
ACCESS = "access"

WRITE_TIMEOUT_SECONDS = 1.0
WRITE_SPACING_SECONDS = 0.01
"""The least time between two pipelines: under load they grow instead of multiplying."""
SILENCE_SECONDS = 3.0
PROBE_TIMEOUT_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 1.0
WRITABLE_SECONDS = 60
"""How long the key lives that shows that Redis takes writes."""

CONNECTED = Gauge("callboard_redis_connected", "1 while this node receives hints from Redis")
DROPPED = Counter("callboard_redis_dropped", "Redis commands dropped because Redis was unreachable")

log = structlog.get_logger(__name__)


def node_channel(node_id: str) -> str:
    """The channel of driver messages for the sockets of one node."""
    return f"node:{node_id}"


class Bus:
    """The connection of this process to Redis. `redis` is for commands with an answer; callers set a timeout.

    `prefix` is the prefix of every key and channel.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.redis = client(url, socket_timeout=None, socket_connect_timeout=1.0, health_check_interval=0)
        self._listening = client(url, socket_timeout=None, socket_connect_timeout=1.0, health_check_interval=15)
        self.prefix = prefix
        self.status_key = prefix + "drivers:status"
        self.geo_prefix = prefix + "drivers:geo:"
        self.connected = False
        self.on_reconnect: list[Callable[[], None]] = []
        self.on_loss: list[Callable[[], None]] = []
        self.on_dropped: list[Callable[[], None]] = []
        """Called when a pipeline was dropped, or nobody knows what of it Redis has."""
        self.sources: list[Callable[[], Iterable[RedisCommand]]] = []
        self._heard: dict[bytes, list[Callable[[bytes], None]]] = {}
        self._commands: list[RedisCommand] = []
        self._hints: set[str] = set()
        self._something = asyncio.Event()
        self._pipes: list[Pipe] = []
        self._writing = self.pipe()
        self._in_doubt = False
        """Whether Redis refused a command since it was last seen to take writes."""

    def pipe(self) -> Pipe:
        """A connection for many commands at once with answers; it closes with the bus."""
        pipe = Pipe(self.redis)
        self._pipes.append(pipe)
        return pipe

    def geo_key(self, zone: str) -> str:
        """The GEO set of a zone's dispatchable drivers."""
        return self.geo_prefix + zone

    def offer_key(self, offer_id: str) -> str:
        """The key that lives as long as an offer is open."""
        return f"{self.prefix}offer:{offer_id}"

    def subscribe(self, channel: str, heard: Callable[[bytes], None]) -> None:
        """Call `heard` with every payload on `channel`. To be called before `read` runs; `heard` must not block."""
        self._heard.setdefault((self.prefix + channel).encode(), []).append(heard)

    def publish(self, channel: str, payload: str) -> None:
        """Publish soon, in order. Never raises, never waits; lost if Redis is not there."""
        self.command("PUBLISH", self.prefix + channel, payload)

    def hint(self, channel: str) -> None:
        """Publish an empty payload soon; several calls before that cause one message."""
        self._hints.add(channel)
        self._something.set()

    def command(self, *command: object) -> None:
        """Write with the next pipeline, in order; the answer is not looked at."""
        if self.connected:
            self._commands.append(command)
            self._something.set()
        else:
            DROPPED.inc()

    def wake(self) -> None:
        """A source has something for the next pipeline."""
        self._something.set()

    async def write(self) -> None:
        """Write the collected commands, one pipeline at a time: keys first, then the hints that make others read
        them.
        """
        while True:
            await self._something.wait()
            self._something.clear()
            commands = [command for source in self.sources for command in source()]
            commands += self._commands
            commands += [("PUBLISH", self.prefix + channel, b"") for channel in self._hints]
            self._commands = []
            self._hints.clear()
            if not commands:
                continue
            if not self.connected or not await self._write(commands):
                DROPPED.inc(len(commands))
                for dropped in self.on_dropped:
                    dropped()
            await asyncio.sleep(WRITE_SPACING_SECONDS)

    async def _write(self, commands: list[RedisCommand]) -> bool:
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                answers = await self._writing.send(commands)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("redis_write_failed", reason=repr(error), commands=len(commands))
            return False
        self._in_doubt = self._in_doubt or any(isinstance(answer, ResponseError) for answer in answers)
        return True

    async def _takes_writes(self) -> None:
        """Raises what Redis refuses a write with: as a replica, when its memory or disk is full, or without the right
        to write. What it keeps is old from then on, so it counts as gone.
        """
        self._in_doubt = False
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            (answer,) = await self._writing.send([("SET", self.prefix + "writable", "1", "EX", WRITABLE_SECONDS)])
        if isinstance(answer, ResponseError):
            raise answer

    async def read(self) -> None:
        """Receive hints. After each reconnect, every subscriber reads the database again."""
        pause = 0.05
        while True:
            try:
                await self._listen()
            except (RedisError, OSError, TimeoutError) as error:
                if self.connected:
                    log.warning("redis_lost", reason=repr(error))
                    pause = 0.05
            finally:
                self._set_connected(False)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _listen(self) -> None:
        pubsub = self._listening.pubsub()
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                await pubsub.subscribe(*self._heard)
                for _ in self._heard:
                    await pubsub.get_message(timeout=SILENCE_SECONDS)
            await self._takes_writes()
            self._set_connected(True)
            for rescan in self.on_reconnect:
                rescan()
            await self._hear(pubsub)
        finally:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _hear(self, pubsub: PubSub) -> None:
        heard_at = time.monotonic()
        while True:
            message = await pubsub.get_message(timeout=1.0)
            if message is None or self._in_doubt:
                await self._takes_writes()
            if message is None:
                if time.monotonic() - heard_at > SILENCE_SECONDS:
                    raise TimeoutError("Redis is silent")
                await pubsub.ping()
                continue
            heard_at = time.monotonic()
            if message["type"] == "message":
                for heard in self._heard[message["channel"]]:
                    try:
                        heard(message["data"])
                    except Exception:
                        log.exception("hint_invalid", channel=message["channel"])

    def _set_connected(self, connected: bool) -> None:
        if self.connected and not connected:
            for lost in self.on_loss:
                lost()
        self.connected = connected
        CONNECTED.set(connected)

    async def close(self) -> None:
        """Close the connections, after `read` and `write` have ended."""
        for close in (*(pipe.close for pipe in self._pipes), self.redis.aclose, self._listening.aclose):
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                    await close()
