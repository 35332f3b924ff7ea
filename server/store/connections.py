"""The types of a connection to PostgreSQL and of a pool, as Callboard uses them; asyncpg has no types.

Rows are unpacked by position, so a row is Any here and gets its type where it is read.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Queries(Protocol):
    """One statement at a time; each raises what PostgreSQL and the network raise. `timeout` is in seconds."""

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Any]: ...

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Any: ...

    async def fetchval(self, query: str, *args: object, timeout: float | None = None) -> Any: ...

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str: ...


class Connection(Queries, Protocol):
    """A single connection: transactions, prepared plans and session settings stay on it."""

    def is_closed(self) -> bool: ...

    def get_server_version(self) -> Any: ...

    def transaction(self) -> AbstractAsyncContextManager[object]: ...

    async def set_type_codec(
        self,
        typename: str,
        *,
        schema: str,
        encoder: Callable[..., str],
        decoder: Callable[..., str],
        format: str,  # noqa: A002
    ) -> None: ...

    def terminate(self) -> None: ...

    async def close(self, *, timeout: float | None = None) -> None: ...


class Pool(Queries, Protocol):
    """A limited pool: each call uses any free connection for one statement."""

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Connection]: ...

    async def close(self) -> None: ...

    def terminate(self) -> None: ...
