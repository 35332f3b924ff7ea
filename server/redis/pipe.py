"""A connection to Redis of one's own: many commands in one write, all their answers back.

For a dozen commands the client's own pipelines cost twice as much.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import ResponseError

RedisCommand = tuple[Any, ...]


class _ReportsLoss:
    """Mixed into a connection. For a connection that was closed meanwhile uvloop raises RuntimeError, which redis-py
    passes on.
    """

    async def send_packed_command(self, command: object, check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except RuntimeError as error:
            raise ConnectionLost(str(error)) from error


def client(url: str, **options: Any) -> Redis:
    """A client without automatic retries. `options` are those of redis-py."""
    redis: Redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
    pool = redis.connection_pool
    pool.connection_class = type("Connection", (_ReportsLoss, pool.connection_class), {})
    return redis


class Pipe:
    """Commands go out in the order of the calls, one call's at a time. It connects when it is first needed."""

    def __init__(self, redis: Redis) -> None:
        self._pool = redis.connection_pool
        self._connection: AbstractConnection | None = None
        self._turn = asyncio.Lock()

    async def send(self, commands: Iterable[RedisCommand]) -> list[object]:
        """The answer to each, a `ResponseError` where Redis refused it.

        A connection that turns out to have been closed meanwhile is replaced once, so commands must be harmless to
        repeat. Raises what redis-py raises, OSError, or what cancels it; the connection is then given up with the
        answers that it may still hold, and the next call makes another.
        """
        packed = [pack_command(command) for command in commands]
        async with self._turn:
            connection = self._connection
            if connection is None:
                connection = self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            while True:
                kept = connection.is_connected
                try:
                    if not kept:
                        await connection.connect()
                    await connection.send_packed_command(packed, check_health=False)
                    return [await _answer(connection) for _ in packed]
                except ConnectionLost:
                    await connection.disconnect(nowait=True)
                    if not kept:
                        raise
                except BaseException:
                    await connection.disconnect(nowait=True)
                    raise

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)


async def _answer(connection: AbstractConnection) -> object:
    try:
        return await connection.read_response()
    except ResponseError as refused:
        return refused
