"""Checks of Redis: every kind of command that Callboard needs."""

import asyncio
import time
from typing import Any, Final

from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from server.doctor.findings import Finding, bad, note, ok
from server.redis.bus import Bus
from server.store.primary import one_line

OLDEST_REDIS: Final = (6, 2)
REDIS_SECONDS: Final = 3.0


async def check_redis(bus: Bus) -> list[Finding]:
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            began = time.perf_counter()
            await bus.redis.ping()
            took_ms = (time.perf_counter() - began) * 1000
            about: dict[str, Any] = await bus.redis.info()
            key = f"{bus.prefix}doctor"
            await bus.redis.geoadd(key, (0, 0, "doctor"))
            await bus.redis.zrem(key, "doctor")
            await bus.redis.hset(key, "doctor", "1")
            await bus.redis.set(key, "1", ex=1)
            await bus.redis.delete(key)
            async with bus.redis.pubsub() as listening:
                await listening.subscribe(key)
                await listening.get_message(timeout=REDIS_SECONDS)
                await bus.redis.publish(key, "")
    except AuthenticationError as error:
        return [
            bad("redis", f"refuses to log in: {one_line(error)}", "correct user and password in CALLBOARD_REDIS_URL")
        ]
    except OutOfMemoryError:
        todo = "raise its maxmemory, or remove what others keep there; keep maxmemory-policy noeviction"
        return [bad("redis", "takes no writes: its memory is full", todo)]
    except ReadOnlyError:
        return [bad("redis", "takes no writes: it is a replica", "set CALLBOARD_REDIS_URL to its primary")]
    except ResponseError as error:
        return [bad("redis", f"refuses a command that Callboard needs: {one_line(error)}", _how_to_let(error))]
    except (RedisError, OSError, TimeoutError) as error:
        return [bad("redis", f"cannot be reached: {one_line(error)}", "start it, or correct CALLBOARD_REDIS_URL")]
    version = str(about.get("redis_version", "0"))
    name = f"{about.get('server_name', 'redis')} {about.get('valkey_version', version)}"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST_REDIS:
        return [bad("redis", f"{name} is too old", "install Redis 6.2 or newer, or Valkey")]
    findings = [ok("redis", f"{name}, answers in {took_ms:.1f} ms")]
    policy = about.get("maxmemory_policy", "noeviction")
    if about.get("maxmemory") and policy != "noeviction":
        text = f"maxmemory-policy {policy} lets it delete keys of Callboard when its memory is full: set noeviction"
        findings.append(note("redis", text))
    return findings


def _how_to_let(error: ResponseError) -> str:
    text = str(error)
    if isinstance(error, (ClusterDownError, MovedError)) or "Hash slot" in text:
        return "set CALLBOARD_REDIS_URL to a single server: it is part of a cluster"
    if "NOREPLICAS" in text:
        return "start the replicas that min-replicas-to-write asks for, or set it to 0"
    if "MISCONF" in text:
        return 'make room on its disk, or turn persistence off: save "", appendonly no'
    if "DB index" in text:
        return "correct the number of the database in CALLBOARD_REDIS_URL"
    return "allow all commands but the dangerous ones, for keys and channels with CALLBOARD_REDIS_PREFIX"
