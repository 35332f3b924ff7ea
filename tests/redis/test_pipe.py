"""The pipe on a real Valkey: answers in order, refusals in their place, and never the answer to something else."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import ResponseError

from server.redis.pipe import Pipe, client


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """As the bus has it. With a timeout on its sockets, redis-py can lose what cancels it, on Python 3.11."""
    async with client(redis_url, socket_timeout=None) as redis:
        yield redis


@pytest.fixture
async def pipe(redis: Redis) -> AsyncIterator[Pipe]:
    pipe = Pipe(redis)
    yield pipe
    await pipe.close()


async def test_answers_come_in_order_and_refusals_in_their_place(pipe: Pipe) -> None:
    set_, refused, got = await pipe.send([("SET", "name", "Dan"), ("GEOPOS", "name", "x"), ("GET", "name")])
    assert set_ in (b"OK", True)
    assert isinstance(refused, ResponseError)
    assert got == b"Dan"


async def test_many_at_once_each_get_their_own(pipe: Pipe) -> None:
    answers = await asyncio.gather(*(pipe.send([("ECHO", str(n)), ("ECHO", str(-n))]) for n in range(1, 50)))
    assert answers == [[str(n).encode(), str(-n).encode()] for n in range(1, 50)]


async def test_a_connection_that_was_closed_meanwhile_is_replaced(pipe: Pipe, redis: Redis) -> None:
    (first,) = await pipe.send([("CLIENT", "ID")])
    await redis.client_kill_filter(_id=str(first))
    (second,) = await pipe.send([("CLIENT", "ID")])
    assert second != first


async def test_who_gives_up_waiting_leaves_no_answer_behind(pipe: Pipe) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pipe.send([("BLPOP", "nothing", 5), ("ECHO", "late")])
    assert await pipe.send([("ECHO", "mine")]) == [b"mine"]


async def test_uvloop_s_word_for_a_lost_connection_is_understood(redis_url: str) -> None:
    async def lose_one() -> None:
        async with client(redis_url) as redis:
            pipe = Pipe(redis)
            (first,) = await pipe.send([("CLIENT", "ID")])
            connection: Any = pipe._connection
            connection._writer.transport.abort()
            await asyncio.sleep(0)
            (second,) = await pipe.send([("CLIENT", "ID")])
            assert second != first
            connection._writer.transport.abort()
            await asyncio.sleep(0)
            with pytest.raises(ConnectionLost):
                await connection.send_packed_command([b"PING"], check_health=False)
            await pipe.close()

    await asyncio.to_thread(uvloop.run, lose_one())


async def test_without_redis_it_says_so() -> None:
    async with Redis.from_url("redis://127.0.0.1:1/0") as client:
        with pytest.raises(ConnectionLost):
            await Pipe(client).send([("PING",)])
