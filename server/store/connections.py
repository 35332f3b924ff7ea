"""The types of a connection to PostgreSQL and of a pool, as Callboard uses them; asyncpg has no types.

The values of a row are Any here and get their types where they are read.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class Record(Protocol):
    """A row: its values in the order of the columns, or by a column's name."""

    def __iter__(self) -> Iterator[Any]: ...

    def __getitem__(self, place: int | str | slice) -> Any: ...

    def __len__(self) -> int: ...

    def keys(self) -> Iterable[str]: ...


class Queries(Protocol):
    """One statement at a time; each raises what PostgreSQL and the network raise. `timeout` is in seconds."""

    async def fetch(self, query: str, *args: object, timeout: float | None = None) -> list[Any]: ...

    async def fetchrow(self, query: str, *args: object, timeout: float | None = None) -> Any: ...

    async def fetchval(self, query: str, *args: object, timeout: float | None = None) -> Any: ...

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str: ...


class ServerVersion(Protocol):
    """The version of a server, such as 18.6."""

    @property
    def major(self) -> int: ...


class Connection(Queries, Protocol):
    """A single connection: transactions, prepared plans and session settings stay on it."""

    def is_closed(self) -> bool: ...

    def get_server_version(self) -> ServerVersion: ...

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
